# SPDX-License-Identifier: BSD-2-Clause
"""Completion in shells: the scripts that are printed, driven as the shell drives them."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from clarivid import cli
from clarivid.cli.completion import SHELLS, VARIABLE


def proposals(*words: str) -> list[str]:
    """What bash is told when Tab is pressed after these words, the last of which may be unfinished."""
    done = subprocess.run(
        [sys.executable, "-m", "clarivid"],
        env={**os.environ, VARIABLE: "bash_complete", "COMP_WORDS": " ".join(("clarivid", *words)),
             "COMP_CWORD": str(len(words))},
        stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert done.stderr == ""
    return [line.partition(",")[2] for line in done.stdout.splitlines() if line]


@pytest.mark.parametrize(
    ("words", "has"),
    [
        (("",), set(cli.available())),
        (("mod",), {"models"}),
        (("models", ""), {"list", "show", "verify"}),
        (("models", "list", "--j"), {"--json"}),
        (("engines", "build", "--precision", "f"), {"fp16", "fp32"}),
        (("--ver",), {"--version"}),
    ],
)
def test_commands_options_and_values_are_proposed(words: tuple[str, ...], has: set[str]) -> None:
    assert has <= set(proposals(*words))


def test_proposals_fit_what_was_typed() -> None:
    assert proposals("mod") == ["models"]
    assert proposals("nothing-of-this-kind") == []


def test_proposing_commands_imports_none_of_them() -> None:
    code = (
        "import sys, click\n"
        "from clarivid import cli\n"
        "found = cli.cli.shell_complete(click.Context(cli.cli), 'e')\n"
        "assert [item.value for item in found] == ['engines', 'export'], found\n"
        "assert all(item.help for item in found)\n"
        "loaded = [name for name in sys.modules if name.startswith('clarivid.cli.')]\n"
        "assert not loaded, loaded\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("shell", SHELLS)
def test_each_shell_reads_its_script(clarivid: Any, shell: str, tmp_path: Path) -> None:
    done = clarivid("completion", shell)
    assert done.returncode == 0
    assert VARIABLE in done.stdout
    if shutil.which(shell) is not None:
        script = tmp_path / "script"
        script.write_text(done.stdout, encoding="utf-8")
        read = subprocess.run([shell, "-n", str(script)], capture_output=True, text=True, check=False)
        assert (read.returncode, read.stderr) == (0, "")


@pytest.mark.skipif(shutil.which("bash") is None, reason="needs bash")
def test_tab_in_bash_completes_a_subcommand(clarivid: Any, tmp_path: Path) -> None:
    program = tmp_path / "clarivid"
    program.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m clarivid "$@"\n', encoding="utf-8")
    program.chmod(0o755)
    script = clarivid("completion", "bash").stdout
    keys = (
        "complete -p clarivid >/dev/null || exit 3\n"
        "COMP_WORDS=(clarivid models ver); COMP_CWORD=2\n"
        "_clarivid_completion clarivid ver models\n"
        'echo "${COMPREPLY[@]}"\n'
    )
    done = subprocess.run(
        ["bash", "--norc", "-c", f"{script}\n{keys}"],
        env={**os.environ, "PATH": f"{tmp_path}:{os.environ['PATH']}"},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.stdout.split() == ["verify"], done.stderr


def test_an_unknown_shell_is_wrong_usage(clarivid: Any) -> None:
    done = clarivid("completion", "tcsh")
    assert done.returncode == 2
    assert "bash" in done.stderr
