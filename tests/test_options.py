# SPDX-License-Identifier: BSD-2-Clause
"""Filters, Python, files and help have the same options: they come from one table, and none has drifted."""

from __future__ import annotations

import inspect
import re
import subprocess
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import click
import pytest

import clarivid
from clarivid import InputError, ff, options_files
from clarivid.cli import cli
from clarivid.ffmpeg.series import DEFAULT
from clarivid.options import FILTERS, FilterTable, Option
from conftest import Run
from ffmpeg_series import SERIES, differs
from filter_tools import built
from written_pages import assert_written

EVERY_FILTER = pytest.mark.parametrize("table", FILTERS.values(), ids=FILTERS)
# Words of the command line that mean what an option of the filters means.
SHARED = ("backend", "device", "precision", "threads", "strength", "dither", "tile", "overlap")


def test_generated_files_are_those_of_the_table(root: Path) -> None:
    for path, text in options_files.files().items():
        assert (root / path).read_text("utf-8") == text, "run 'python -m clarivid.options_files --write'"


def as_ffmpeg_says(option: Option) -> tuple[str, str, str, str, str]:
    """Type, flags, help with its range and default, as ``ffmpeg -h`` prints an option."""
    kind = {"choice": "int", "size": "image_size"}.get(option.kind, option.kind)
    limits = default = ""
    if option.kind in ("int", "double", "choice"):
        high = len(option.choices) - 1 if option.choices else option.maximum
        limits = f" (from {option.minimum:g} to {high:g})"
        default = f" (default {option.default if isinstance(option.default, str) else f'{option.default:g}'})"
    elif option.default is not None:
        default = f' (default "{option.default}")'
    return (
        option.name,
        kind,
        "..FV.....T." if option.runtime else "..FV.......",
        option.help,
        limits + default,
    )


@EVERY_FILTER
def test_a_built_ffmpeg_has_these_options(table: FilterTable) -> None:
    command = [str(built().ffmpeg), "-hide_banner", "-h", f"filter={table.name}"]
    told = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    assert f"  {table.summary}\n" in told
    own = told.partition(f"{table.name} AVOptions:\n")[2].partition("\n\n")[0].splitlines()
    wanted = []
    for option in table.options:
        name, kind, flags, text, rest = as_ffmpeg_says(option)
        wanted.append((name, f"<{kind}>", flags, text + rest))
        wanted += [(c.name, str(i), "..FV.......", c.help) for i, c in enumerate(option.choices)]
    assert [tuple(line.split(maxsplit=3)) for line in own] == wanted
    framesync = re.findall(r"^   (\w+) +<", told.partition("framesync AVOptions:\n")[2], re.MULTILINE)
    timeline = ["enable"] if "support for timeline" in told else []
    lacking = {"ts_sync_mode"} if differs("sync") else set()
    assert sorted(set(table.others) - lacking) == sorted(framesync + timeline)


@EVERY_FILTER
def test_the_python_class_has_these_options(table: FilterTable) -> None:
    kind = getattr(clarivid, table.python_class)
    given = inspect.signature(kind).parameters
    assert set(given) == {option.name for option in table.options if option.argument}
    for name, parameter in given.items():
        assert parameter.default == table[name].python(), name
        assert re.search(rf"\b{name}\b[\w, ]*:", kind.__doc__), f"{name} is not in the docstring"


@EVERY_FILTER
def test_the_numbers_of_choices_are_those_of_the_library(table: FilterTable, root: Path) -> None:
    header = (root / "csrc/include/clarivid/clarivid.h").read_text("utf-8")
    for option in table.options:
        for number, choice in enumerate(option.choices):
            assert re.search(rf"\b{choice.constant}\s*=\s*{number}\b", header), choice.constant


@dataclass(frozen=True)
class Told:
    """An option as ``ffmpeg -h filter=NAME`` prints it."""

    name: str
    kind: str
    flags: str
    help: str
    default: str
    limits: tuple[str, str] | None
    choices: tuple[tuple[str, str], ...] = ()

    def value(self) -> str:
        if self.choices:
            return ", ".join(f"`{name}`" for name, _ in self.choices)
        if self.kind in ("int", "double"):
            assert self.limits is not None
            return "..".join(self.limits)
        return {"string": "text", "image_size": "WxH", "boolean": "`true`, `false`"}[self.kind]

    def meaning(self) -> str:
        text = self.help.rstrip(". ").replace("|", "\\|")
        if self.choices:
            text += ": " + "; ".join(f"`{name}` {what.rstrip('. ')}" for name, what in self.choices)
        if "T" in self.flags:
            text += "; a filter command changes it while frames flow"
        return text


def told(name: str) -> list[Told]:
    """The options of a filter of the built ffmpeg, its own first."""
    command = [str(built().ffmpeg), "-hide_banner", "-h", f"filter={name}"]
    text = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    found: list[Told] = []
    for line in text.splitlines():
        if option := re.fullmatch(
            r" {3}(\w+) +<(\w+)> +(\S+) (.*?) *(?:\(from (\S+) to (\S+)\))?(?: \(default \"?(.*?)\"?\))?",
            line,
        ):
            word, kind, flags, what, low, high, default = option.groups()
            found.append(Told(word, kind, flags, what, default or "", (low, high) if low else None))
        elif choice := re.fullmatch(r" {5}(\w+) +\d+ +\S+ (.*)", line):
            last = found[-1]
            found[-1] = replace(last, choices=(*last.choices, (choice[1], choice[2])))
    if "support for timeline" in text:
        what = "when the filter works; at other times frames pass through as they are"
        found.append(Told("enable", "string", "", what, "", None))
    return found


def table_of_options() -> str:
    """What stands in docs/ffmpeg.md: one row for options that are the same in several filters."""
    rows: dict[Told, list[str]] = {}
    for name, table in FILTERS.items():
        options = told(name)
        assert [option.name for option in options] == [*(one.name for one in table.options), *table.others]
        for option in options:
            rows.setdefault(option, []).append(name)
    order = list(dict.fromkeys(option.name for option in rows))
    lines = ["| option | of | value | default | what it does |", "|---|---|---|---|---|"]
    for option, names in sorted(rows.items(), key=lambda row: order.index(row[0].name)):
        of = "all" if len(names) == len(FILTERS) else ", ".join(f"`{name}`" for name in names)
        default = f"`{option.default}`" if option.default else ""
        lines.append(f"| `{option.name}` | {of} | {option.value()} | {default} | {option.meaning()} |")
    return "\n".join(lines) + "\n"


@pytest.mark.skipif(SERIES != DEFAULT, reason="the page is about the series that everybody builds")
def test_the_table_in_the_documentation_is_what_the_filters_say(root: Path) -> None:
    test = "test_options.py::test_the_table_in_the_documentation_is_what_the_filters_say"
    assert_written(root / "docs" / "ffmpeg.md", "options", test, table_of_options())


def commands(group: click.Group) -> list[tuple[str, click.Command]]:
    found: list[tuple[str, click.Command]] = []
    context = click.Context(group)
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        assert command is not None
        found += (
            [(f"{name} {sub}", one) for sub, one in commands(command)]
            if isinstance(command, click.Group)
            else [(name, command)]
        )
    return found


def test_the_command_line_has_the_same_words() -> None:
    known = {option.name: option for table in FILTERS.values() for option in table.options}
    seen = set()
    for where, command in commands(cli):
        for parameter in command.params:
            if parameter.name not in SHARED or not isinstance(parameter.type, click.Choice):
                continue
            option = known[parameter.name]
            if option.choices:
                seen.add(parameter.name)
                words = {str(choice) for choice in parameter.type.choices}
                assert words <= {choice.name for choice in option.choices}, f"clarivid {where}"
    assert "precision" in seen


@pytest.mark.parametrize("name", FILTERS)
def test_help_tells_every_option(name: str, clarivid: Run) -> None:
    done = clarivid("run", "--options", name)
    assert done.returncode == 0, done.stderr
    for option in FILTERS[name].options:
        assert f"  {option.name}=" in done.stdout
        assert option.help in done.stdout


def test_help_for_a_filter_of_others_says_where_it_is(clarivid: Run) -> None:
    done = clarivid("run", "--options", "dnn_rs")
    assert done.returncode == 1
    assert "(did you mean 'dnn_sr'?)" in done.stderr
    assert "-h filter=dnn_rs" in done.stderr


@pytest.mark.parametrize(
    ("value", "read"), [("3", 3), (3.0, 3), ("bf16", "bf16"), ("2", "fp16"), (2, "fp16")]
)
def test_values_get_the_types_that_options_have(value: Any, read: Any) -> None:
    name = "precision" if isinstance(read, str) else "threads"
    assert ff.dnn_sr(**{name: value}).options == {name: read}


def test_options_that_ffmpeg_adds_are_let_through() -> None:
    assert (
        ff.mesh_inpaint(enable="gt(t,3)", eof_action="pass", extra_hw_frames=4).options["eof_action"]
        == "pass"
    )
    with pytest.raises(InputError, match="no option 'enable'"):
        ff.dnn_sr(enable=1)
