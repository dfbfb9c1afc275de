# SPDX-License-Identifier: BSD-2-Clause
"""The command line: teaches by --help, fails in one line, loads nothing that it does not need."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click
import pytest

import clarivid as package
from clarivid import cli
from clarivid.errors import Error, ModelError
from filter_tools import built


def walk(command: click.Command, name: str = "") -> Iterator[tuple[str, click.Command]]:
    """Every command and subcommand with its full name."""
    yield name, command
    if isinstance(command, click.Group):
        context = click.Context(command)
        for sub in command.list_commands(context):
            found = command.get_command(context, sub)
            assert found is not None
            yield from walk(found, f"{name} {sub}".strip())


ALL = dict(walk(cli.cli))


@pytest.mark.parametrize("name", ALL, ids=lambda name: name or "clarivid")
def test_help_of_every_command_explains_and_gives_an_example(name: str) -> None:
    command = ALL[name]
    with click.Context(command, info_name=f"clarivid {name}".strip()) as context:
        text = command.get_help(context)
    assert command.help, f"clarivid {name} says not what it does"
    assert "Example" in text, f"clarivid {name} --help shows no example"
    for parameter in command.params:
        if isinstance(parameter, click.Option):
            assert parameter.help, f"clarivid {name} {parameter.opts[-1]} says not what it does"


@pytest.mark.parametrize("name", ALL, ids=lambda name: name or "clarivid")
def test_every_command_has_a_summary_of_one_line(name: str) -> None:
    summary = ALL[name].get_short_help_str(limit=1000)
    assert 10 < len(summary) <= 110, f"clarivid {name}: {summary}"
    assert (ALL[name].help or "").split("\n\n")[0].rstrip().endswith("."), f"clarivid {name}: {summary}"


# For scripts: every command that answers a question. Those that make a file say where it is.
ASKED = [
    *("bench inpaint", "compare", "data sources", "doctor", "ffmpeg path", "parity", "rd", "run", "score"),
    "temporal",
    *(f"engines {name}" for name in ("build", "list", "prune", "verify")),
    *(f"models {name}" for name in ("list", "show", "verify")),
]


@pytest.mark.parametrize("name", ASKED)
def test_what_a_script_asks_has_json(name: str) -> None:
    assert "--json" in {option for parameter in ALL[name].params for option in parameter.opts}


def test_json_goes_to_stdout_and_names_no_file() -> None:
    asked = [p for command in ALL.values() for p in command.params if "--json" in p.opts]
    assert len(asked) > 10
    assert all(isinstance(parameter, click.Option) and parameter.is_flag for parameter in asked)


@pytest.mark.parametrize(
    "words",
    ["models list", "models show game_x2", "models verify game_x2", "engines list", "engines verify",
     "engines prune --dry-run", "doctor", "run dnn_sr=model=game_x2 in.mp4 out.mp4 --dry-run"],
)  # fmt: skip
def test_json_is_json_and_alone_on_stdout(clarivid: Any, words: str, tmp_path: Path) -> None:
    if words.startswith("run"):
        built()
        subprocess.run(
            [str(built().ffmpeg), "-v", "error", "-f", "lavfi", "-i", "testsrc2=s=64x48:d=0.1", "in.mp4"],
            cwd=tmp_path,
            check=True,
        )
        words = words.replace("in.mp4", str(tmp_path / "in.mp4")).replace(
            "out.mp4", str(tmp_path / "out.mp4")
        )
        done = clarivid(*words.split(), "--json")
    else:
        done = clarivid(*words.split(), "--json", CLARIVID_CACHE=str(tmp_path))
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) is not None


def test_where_ffmpeg_is_as_json(clarivid: Any) -> None:
    found = json.loads(clarivid("ffmpeg", "path", "--json").stdout)
    assert Path(found["ffmpeg"]) == built().ffmpeg
    assert found["version"] == built().version
    missing = clarivid("ffmpeg", "path", "--json", CLARIVID_CACHE="/nonexistent")
    assert (missing.returncode, missing.stdout) == (1, "")


def test_help_lists_exactly_the_commands_that_are_there(clarivid: Any) -> None:
    done = clarivid("--help")
    assert done.returncode == 0
    for name in cli.available():
        assert f"\n  {name} " in done.stdout
    assert "dnn_sr=model=game_x2" in done.stdout


def test_every_command_module_is_in_the_table(root: Path) -> None:
    modules = {path.stem for path in (root / "python" / "clarivid" / "cli").glob("[a-z]*.py")}
    assert modules <= set(cli.COMMANDS)


@pytest.mark.parametrize(
    ("raised", "sentence"),
    [
        (
            "ModuleNotFoundError('x', name='torch')",
            "needs the Python package torch: pip install 'clarivid[train]'",
        ),
        ("PermissionError(13, 'Permission denied', '/srv/x')", "/srv/x: Permission denied"),
        ("InputError('The sentence.')", "The sentence."),
    ],
)
def test_what_a_user_can_mend_is_one_line_without_a_traceback(raised: str, sentence: str) -> None:
    code = (
        "from clarivid import cli\nfrom clarivid.errors import InputError\n"
        f"def fail(**_): raise {raised}\n"
        "cli.cli.main = fail\ncli.main([])\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 1
    assert done.stderr.startswith("clarivid: error: ")
    assert done.stderr.strip().endswith(sentence)
    assert len(done.stderr.splitlines()) == 1


def test_version_is_printed(clarivid: Any) -> None:
    done = clarivid("--version")
    assert done.returncode == 0
    assert done.stdout.strip() == f"clarivid {package.__version__}"


def test_an_error_is_one_line_on_stderr_and_exit_code_1(clarivid: Any) -> None:
    done = clarivid("models", "show", "no_such_model")
    assert done.returncode == 1
    assert done.stdout == ""
    assert done.stderr.startswith('clarivid: error: Model "no_such_model" is not in ')
    assert len(done.stderr.splitlines()) == 1


def test_debug_shows_the_traceback(clarivid: Any) -> None:
    done = clarivid("--debug", "models", "show", "no_such_model")
    assert done.returncode == 1
    assert "Traceback" in done.stderr
    assert "ModelError" in done.stderr


@pytest.mark.parametrize(
    "arguments", [("nonsense",), ("models", "nonsense"), ("models", "show"), ("--nonsense",)]
)
def test_wrong_usage_exits_with_2_and_points_at_help(clarivid: Any, arguments: tuple[str, ...]) -> None:
    done = clarivid(*arguments)
    assert done.returncode == 2
    assert "--help" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.usefixtures("interruptible")
def test_interrupt_exits_with_130_and_no_traceback() -> None:
    code = (
        "import time, click\n"
        "from clarivid import cli\n"
        "@click.command()\n"
        "def wait():\n"
        "    print('ready', flush=True); time.sleep(60)\n"
        "cli.cli.add_command(wait)\n"
        "cli.LazyGroup.get_command = lambda self, ctx, name: wait\n"
        "cli.main(['wait'])\n"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=30)
    assert process.returncode == 130
    assert errors.strip() == "clarivid: interrupted"


def test_a_reader_that_leaves_early_is_no_traceback() -> None:
    reading, writing = os.pipe()
    os.close(reading)
    done = subprocess.run(
        [sys.executable, "-m", "clarivid", "models", "list", "--json"],
        stdout=writing,
        stderr=subprocess.PIPE,
        text=True,
        timeout=60,
        check=False,
    )
    os.close(writing)
    assert "Traceback" not in done.stderr
    assert "Exception" not in done.stderr


@pytest.mark.parametrize(
    "statement",
    ["import clarivid", "from clarivid.cli import cli; cli.get_help(__import__('click').Context(cli))"],
)
def test_importing_the_package_and_asking_for_help_load_nothing_heavy(statement: str) -> None:
    heavy = "{'torch', 'numpy', 'openvino', 'rich'} & set(sys.modules)"
    code = f"import sys\n{statement}\nassert not {heavy}, {heavy}"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr


def test_every_public_name_can_be_had() -> None:
    for name in package.__all__:
        assert getattr(package, name) is not None
    assert issubclass(ModelError, Error)
    with pytest.raises(AttributeError, match="no_such_name"):
        _ = package.no_such_name
