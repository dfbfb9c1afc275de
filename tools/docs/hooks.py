# SPDX-License-Identifier: BSD-2-Clause
"""What the site has beside its pages: every command, as its own ``--help`` tells it."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click
from mkdocs.structure.files import File, Files

from clarivid import cli

WIDTH = 100


def walk(command: click.Command, name: str) -> Iterator[tuple[str, click.Command]]:
    """A command and all below it, with their full names."""
    yield name, command
    if isinstance(command, click.Group):
        context = click.Context(command)
        for sub in command.list_commands(context):
            found = command.get_command(context, sub)
            assert found is not None
            yield from walk(found, f"{name} {sub}")


def commands_page() -> str:
    """The page of all commands: a heading and a help text each."""
    parts = ["# Commands\n\n`clarivid COMMAND --help` prints what stands here.\n"]
    for name, command in walk(cli.cli, "clarivid"):
        with click.Context(command, info_name=name, max_content_width=WIDTH, terminal_width=WIDTH) as context:
            text = command.get_help(context)
        level = "##" if name.count(" ") < 2 else "###"
        parts.append(f"{level} {name}\n\n```text\n{text.strip()}\n```\n")
    return "\n".join(parts)


def on_files(files: Files, *, config: Any) -> Files:
    """Add the page of commands."""
    files.append(File.generated(config, "reference/commands.md", content=commands_page()))
    return files


def on_post_page(output: str, *, page: Any, **_: Any) -> str:
    """What lets the search run from disk is our own, and lies beside the page."""
    up = "../" * page.url.count("/")
    return output.replace("https://unpkg.com/iframe-worker/shim", f"{up}javascripts/worker_from_disk.js")


def on_post_build(*, config: Any) -> None:
    """Take out what the theme would fetch from elsewhere, for diagrams and for browsers that we have not."""
    Path(config.site_dir, "404.html").unlink(missing_ok=True)  # for servers, with absolute paths
    for script in Path(config.site_dir, "assets", "javascripts").glob("*.js*"):
        if script.suffix == ".map":
            script.unlink()
        else:
            text = script.read_text(encoding="utf-8")
            script.write_text(re.sub(r"https://unpkg\.com/[\w@./-]+", "", text), encoding="utf-8")
