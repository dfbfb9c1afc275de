# SPDX-License-Identifier: BSD-2-Clause
"""tools/setup.sh: names the step that fails, does nothing twice, and keeps its builds out of the checkout."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="setup.sh is for Debian")


def setup(checkout: Path, cache: Path, *steps: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["bash", str(checkout / "tools" / "setup.sh"), *steps],
        env={**os.environ, "CLARIVID_CACHE": str(cache), "PYTHON": sys.executable, **environment},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )


def wait_for(condition: Callable[[], bool], seconds: float = 30.0) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.02)


@pytest.fixture
def checkout(root: Path, tmp_path: Path) -> Path:
    """A checkout with a .venv that holds nothing but links to this one's Python."""
    copy = tmp_path / "checkout"
    (copy / "tools").mkdir(parents=True)
    shutil.copy(root / "tools" / "setup.sh", copy / "tools")
    (copy / "requirements.lock").write_text("pip==0.0.0\n", encoding="utf-8")
    (copy / "requirements-alone.lock").write_text("", encoding="utf-8")
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(copy / ".venv")], check=True)
    (copy / ".venv" / "bin" / "pip").touch(mode=0o755)
    return copy


def test_a_failed_step_names_itself_its_last_lines_and_the_log(checkout: Path, tmp_path: Path) -> None:
    done = setup(
        checkout, tmp_path / "cache", "venv", "packages", PIP_NO_INDEX="1", PIP_FIND_LINKS=str(tmp_path)
    )
    assert done.returncode == 1
    assert "[2/2] Python packages … failed" in done.stdout
    assert 'step "Python packages" failed' in done.stderr
    assert "No module named pip" in done.stderr
    log = Path(done.stderr.rsplit("The whole log: ", 1)[1].strip())
    assert log.is_relative_to(tmp_path / "cache" / "logs")
    assert "No module named pip" in log.read_text(encoding="utf-8")


def test_a_failed_step_is_tried_again_next_time(checkout: Path, tmp_path: Path) -> None:
    for _ in range(2):
        assert setup(checkout, tmp_path / "cache", "packages").returncode == 1


def fake_pip(checkout: Path, code: str) -> None:
    """Make ``python -m pip`` of the checkout's .venv run ``code``."""
    folder = checkout / ".venv" / "lib" / f"python3.{sys.version_info.minor}" / "site-packages" / "pip"
    folder.mkdir(parents=True)
    (folder / "__main__.py").write_text(code, encoding="utf-8")


def test_a_failed_build_shows_the_compilers_words_and_not_pips(checkout: Path, tmp_path: Path) -> None:
    fake_pip(
        checkout,
        "import sys\n"
        "print('x.cpp:1: error: the cause')\n"
        "print('error: subprocess-exited-with-error')\n"
        "print('noise\\n' * 40)\n"
        "sys.exit(1)\n",
    )
    done = setup(checkout, tmp_path / "cache", "packages")
    assert done.returncode == 1
    assert "x.cpp:1: error: the cause" in done.stderr
    assert "noise" not in done.stderr


@pytest.mark.usefixtures("interruptible")
def test_an_interrupt_ends_the_step_that_runs(checkout: Path, tmp_path: Path) -> None:
    pid = tmp_path / "pid"
    fake_pip(checkout, f"import os, time\nopen({str(pid)!r}, 'w').write(str(os.getpid()))\ntime.sleep(60)\n")
    process = subprocess.Popen(
        ["bash", str(checkout / "tools" / "setup.sh"), "packages"],
        env={**os.environ, "CLARIVID_CACHE": str(tmp_path / "cache")},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    wait_for(lambda: pid.exists() and pid.read_text() != "")
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=30)
    assert process.returncode == 130
    assert "interrupted" in errors
    wait_for(lambda: not Path("/proc", pid.read_text()).exists())


def test_a_second_setup_of_the_same_checkout_waits_for_the_first(checkout: Path, tmp_path: Path) -> None:
    fake_pip(checkout, f"open({str(tmp_path / 'calls')!r}, 'a').write('x')\nimport time\ntime.sleep(1)\n")
    command = ["bash", str(checkout / "tools" / "setup.sh"), "packages"]
    environment = {**os.environ, "CLARIVID_CACHE": str(tmp_path / "cache")}
    both = [
        subprocess.Popen(
            command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        )
        for _ in range(2)
    ]
    said = [process.communicate(timeout=60)[0] for process in both]
    assert [process.returncode for process in both] == [0, 0]
    assert sum("waiting for it" in text for text in said) == 1
    assert (tmp_path / "calls").read_text() == "xxx", "pip itself and the two locks, each once"


@pytest.mark.skipif(shutil.which("script") is None, reason="needs script(1) for a terminal")
def test_on_a_terminal_the_seconds_and_the_last_line_are_shown(checkout: Path, tmp_path: Path) -> None:
    fake_pip(checkout, "import time\nprint('unpacking wheels', flush=True)\ntime.sleep(1.5)\n")
    done = subprocess.run(
        ["script", "-qec", f"bash {checkout}/tools/setup.sh packages", "/dev/null"],
        env={**os.environ, "CLARIVID_CACHE": str(tmp_path / "cache")},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stdout
    assert "Python packages … 1 s" in done.stdout
    assert "unpacking wheels" in done.stdout


def test_an_unknown_step_is_a_usage_error(checkout: Path, tmp_path: Path) -> None:
    done = setup(checkout, tmp_path / "cache", "coffee")
    assert done.returncode == 2
    assert '"coffee"' in done.stderr


def test_without_root_the_exact_apt_command_is_printed(checkout: Path, tmp_path: Path) -> None:
    # A dpkg-query that knows no package, and an id that is not root's.
    fake = tmp_path / "bin"
    fake.mkdir()
    (fake / "dpkg-query").write_text("#!/bin/sh\nexit 1\n", encoding="utf-8")
    (fake / "dpkg-query").chmod(0o755)
    script = checkout / "tools" / "setup.sh"
    script.write_text(script.read_text(encoding="utf-8").replace("((EUID != 0))", "((1))"), encoding="utf-8")
    done = setup(checkout, tmp_path / "cache", "debian", PATH=f"{fake}:{os.environ['PATH']}")
    assert done.returncode == 1
    assert "sudo apt-get install -y --no-install-recommends build-essential cmake" in done.stderr


def test_setup_of_this_checkout_has_nothing_left_to_do_and_is_quick(root: Path) -> None:
    if not (root / ".venv" / ".clarivid-native").exists():
        pytest.skip("this Python was not set up by tools/setup.sh")
    steps = ("debian", "venv", "packages", "native")
    environment = {k: v for k, v in os.environ.items() if k != "PYTHON"}
    start = time.monotonic()
    done = subprocess.run(
        [str(root / "tools" / "setup.sh"), *steps],
        env=environment,
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )
    took = time.monotonic() - start
    assert done.returncode == 0, done.stderr
    assert done.stdout == "", "a second run has nothing to say"
    assert took < 5.0


def test_the_lock_pins_every_package_that_is_installed(root: Path) -> None:
    lines = (root / "requirements.lock").read_text(encoding="utf-8").splitlines()
    pins = [line for line in lines if line and not line.startswith("#")]
    assert all("==" in line for line in pins)
    assert "torch==2.13.0" in pins, "no local version: a CPU wheel at hand must satisfy the pin"
    assert not any("://" in line or line.startswith("-") for line in pins), "the lock names no index"
