# SPDX-License-Identifier: BSD-2-Clause
"""Blocks of code in Markdown pages: finding them, and checking those that are not run.

Invisible comments before a block steer it::

    <!-- not run: trains for an hour -->                       the whole block
    <!-- not run, "clarivid bench": takes ten minutes -->      its lines that begin so
    <!-- run with: y, u, v = planes() -->                      Python that stands before a block

What is not run is still checked: commands, options and values, make targets, files, extras, imports.
"""

from __future__ import annotations

import ast
import importlib
import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import click

from clarivid import cli
from clarivid.options import FILTERS

FENCE = re.compile(r"^( *)(`{3,})(\w*)(.*)$")
NOT_RUN = re.compile(r'<!-- not run(?:, "([^"]+)")?: (.+?) -->', re.DOTALL)
RUN_WITH = re.compile(r"<!-- run with:(.+?)-->", re.DOTALL)
TITLE = re.compile(r'title="([^"]+)"')
# Programs of others, whose options are theirs; only in lines that are not run.
OTHERS = {
    *("apt-ftparchive", "apt-get", "apt-mark", "dpkg", "gpg", "docker", "taskset"),
    *("cd", "cmake", "ctest", "echo", "export", "git", "install", "jq", "mv", "sha256sum", "tail", "tar"),
}


@dataclass
class Block:
    """One block: ``skip`` is why it is not run, ``skip_lines`` the beginnings of its lines that are not."""

    page: Path
    line: int
    language: str
    text: str
    title: str = ""
    skip: str = ""
    skip_lines: dict[str, str] = field(default_factory=dict)
    before: str = ""

    @property
    def name(self) -> str:
        return f"{self.page.name}:{self.line}"


def blocks(page: Path) -> list[Block]:
    """All fenced blocks of a page, in order. A fence that is not closed is an error."""
    found: list[Block] = []
    comments = ""
    lines = iter(enumerate(page.read_text(encoding="utf-8").splitlines(), 1))
    for number, line in lines:
        opening = FENCE.match(line)
        if not opening:
            # Comments count while nothing but comments stands between them and the block.
            inside = comments.count("<!--") > comments.count("-->")
            comments = f"{comments}{line}\n" if inside or line.startswith("<!--") or not line.strip() else ""
            continue
        indent, ticks, language, rest = opening.groups()
        body: list[str] = []
        for _, inner in lines:
            if inner.strip() == ticks:
                break
            body.append(inner.removeprefix(indent))
        else:
            raise AssertionError(f"{page.name}:{number}: the block is not closed")
        block = Block(page, number, language, "\n".join(body) + "\n")
        title = TITLE.search(rest)
        block.title = title.group(1) if title else ""
        for only, why in NOT_RUN.findall(comments):
            if only:
                block.skip_lines[only] = why
            else:
                block.skip = why
        with_ = RUN_WITH.search(comments)
        if with_:
            first, _, more = with_.group(1).partition("\n")
            block.before = f"{first.strip()}\n{more}"
        comments = ""
        found.append(block)
    return found


def commands(text: str) -> Iterator[str]:
    """Lines of a shell script; one that ends in a backslash goes on, comments are left out."""
    for line in text.replace("\\\n", " ").splitlines():
        if line.strip() and not line.lstrip().startswith("#"):
            yield line.strip()


def split(line: str) -> Iterator[list[str]]:
    """The simple commands of one line, as words: what stands between pipes, ``&&``, ``||`` and ``;``."""
    lexer = shlex.shlex(line, posix=True, punctuation_chars="|&;<>")
    lexer.whitespace_split = True
    lexer.commenters = "#"
    words: list[str] = []
    for token in lexer:
        if token and set(token) <= set("|&;"):
            yield words
            words = []
        else:
            words.append(token)
    yield words


def check_command(words: list[str], root: Path) -> None:
    """A command that is not run names what is there: subcommands, options, values, targets, files, extras."""
    while words and re.fullmatch(r"\w+=.*", words[0]):  # environment
        words = words[1:]
    if not words:
        return
    program = words[0]
    if program in ("clarivid", ".venv/bin/clarivid"):
        check_clarivid(words[1:])
    elif program == "make":
        makefile = (root / "Makefile").read_text(encoding="utf-8")
        for target in (word for word in words[1:] if "=" not in word):
            assert re.search(rf"^{re.escape(target)}:", makefile, flags=re.M), f"make {target} is not there"
    elif program == "pip":
        project = (root / "pyproject.toml").read_text(encoding="utf-8")
        for extra in re.findall(r"clarivid\[(\w+)\]", " ".join(words)):
            assert re.search(rf"^{extra} = \[", project, flags=re.MULTILINE), f"there is no extra {extra}"
    elif program in ("ffmpeg", "$F", "clarivid-ffmpeg", "clarivid-run") or program.startswith("$("):
        for filters in re.findall(r"\b((?:dnn_sr|lowrank_pre|mesh_inpaint)=[^,\s\"]+)", " ".join(words)):
            check_filter(filters)
    elif "/" in program:
        for word in words:
            if "/" in word and re.match(r"(tools|benchmarks|examples|tests)/", word):
                assert (root / word).exists(), f"{word} is not there"
    else:
        assert program in OTHERS, f"{program} is no command that we know: {' '.join(words)}"


def check_clarivid(arguments: list[str]) -> None:
    """Parse a command line of ours as it would be, but for files, which need not be there."""
    command: click.Command = cli.cli
    context = click.Context(command, info_name="clarivid")
    while isinstance(command, click.Group):
        assert arguments, f"{context.command_path} needs a subcommand"
        name, *arguments = arguments
        if name in ("-h", "--help", "--version"):
            return
        found = command.get_command(context, name)
        assert found is not None, f"there is no command '{context.command_path} {name}'"
        command, context = found, click.Context(found, info_name=name, parent=context)
    values, _, _ = command.make_parser(context).parse_args(list(arguments))
    for parameter in command.params:
        value = values.get(str(parameter.name))
        if value is None or isinstance(parameter.type, click.Path) or repr(value) == "Sentinel.UNSET":
            continue
        parameter.type_cast_value(context, value)


def check_filter(text: str) -> None:
    """The options that a filter is given are its own."""
    name, _, options = text.partition("=")
    for option in re.findall(r"(?:^|:)(\w+)=", options):
        assert option in FILTERS[name].names(), f"{name} has no option {option}"


def check_python(text: str) -> None:
    """Python that is not run compiles, and what it imports is there."""
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Import):
            for alias in node.names:
                importlib.import_module(alias.name)
        elif isinstance(node, ast.ImportFrom) and node.module:
            module = importlib.import_module(node.module)
            for alias in node.names:
                if not hasattr(module, alias.name):
                    importlib.import_module(f"{node.module}.{alias.name}")
        elif (
            isinstance(node, ast.Attribute)
            and isinstance(node.value, ast.Name)
            and node.value.id == "clarivid"
        ):
            assert hasattr(importlib.import_module("clarivid"), node.attr), f"clarivid has no {node.attr}"
