# SPDX-License-Identifier: BSD-2-Clause
"""tools/setup.sh: names the step that fails, does nothing twice, and keeps its builds out of the checkout."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
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


@pytest.fixture
def checkout(root: Path, tmp_path: Path) -> Path:
    """A checkout with a .venv that holds nothing but links to this one's Python."""
    copy = tmp_path / "checkout"
    (copy / "tools").mkdir(parents=True)
    shutil.copy(root / "tools" / "setup.sh", copy / "tools")
    (copy / "requirements.lock").write_text("pip==0.0.0\n", encoding="utf-8")
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


def test_a_failed_build_shows_the_compilers_words_and_not_pips(checkout: Path, tmp_path: Path) -> None:
    bad = checkout / ".venv" / "lib" / f"python3.{sys.version_info.minor}" / "site-packages" / "pip"
    bad.mkdir(parents=True)
    (bad / "__main__.py").write_text(
        "import sys\n"
        "print('x.cpp:1: error: the cause')\n"
        "print('error: subprocess-exited-with-error')\n"
        "print('noise\\n' * 40)\n"
        "sys.exit(1)\n",
        encoding="utf-8",
    )
    done = setup(checkout, tmp_path / "cache", "packages")
    assert done.returncode == 1
    assert "x.cpp:1: error: the cause" in done.stderr
    assert "noise" not in done.stderr


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
