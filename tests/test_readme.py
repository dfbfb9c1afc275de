# SPDX-License-Identifier: BSD-2-Clause
"""The README says what is so: the filter's options, the commands, the files it points at."""

from __future__ import annotations

import re
from pathlib import Path

import click
import pytest

from clarivid import cli


@pytest.fixture(scope="module")
def readme(root: Path) -> str:
    return (root / "README.md").read_text(encoding="utf-8")


def test_options_table_has_exactly_the_options_of_the_filter(root: Path, readme: str) -> None:
    headers = (root / "filters" / f"clarivid_{part}.h" for part in ("common", "session"))
    source = "".join(header.read_text(encoding="utf-8") for header in headers)
    options = re.findall(r'\{ "(\w+)",[^{]*?AV_OPT_TYPE_(?!CONST)\w+', source)
    table = re.findall(r"^\| `(\w+)` \|", readme.partition("| option |")[2].partition("\n\n")[0], flags=re.M)
    assert table == options


def test_every_command_it_names_is_there(readme: str) -> None:
    for name, sub in set(re.findall(r"\bclarivid ([a-z]+)(?: ([a-z]+))?\b", readme)):
        command = cli.cli.get_command(click.Context(cli.cli), name)
        assert command is not None, f"the README names clarivid {name}"
        if isinstance(command, click.Group):
            assert sub in command.list_commands(click.Context(command)), (
                f"the README names clarivid {name} {sub}"
            )


def test_every_file_it_links_to_is_there(root: Path, readme: str) -> None:
    for target in re.findall(r"\]\(([^)#:]+)\)", readme):
        assert (root / target).exists(), f"the README links to {target}"


def test_every_make_target_it_names_is_there(root: Path, readme: str) -> None:
    makefile = (root / "Makefile").read_text(encoding="utf-8")
    for target in re.findall(r"\bmake ([a-z]+)\b", readme):
        assert re.search(rf"^{target}:", makefile, flags=re.M), f"the README names make {target}"
