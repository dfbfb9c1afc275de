# SPDX-License-Identifier: BSD-2-Clause
"""``clarivid models``: list, show and verify model bundles."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import click
from rich.console import Console
from rich.table import Table

from clarivid import models
from clarivid.errors import Error, ModelError


def console() -> Console:
    """A console that does not fold a table to 80 columns when its output goes into a file or a pipe."""
    plain = Console(highlight=False, markup=False)
    return plain if plain.is_terminal else Console(highlight=False, markup=False, width=200)


@click.group(
    name="models",
    epilog="""\b
Examples:
  clarivid models list                 names for model=, with size and cost
  clarivid models show game_x2         the whole card: data, licences, scores
  clarivid models verify               check the digest of every file
  CLARIVID_MODEL_PATH=/srv/nets clarivid models list
""",
)
def command() -> None:
    """List, show and verify model bundles.

    A model is found by name in the folders of CLARIVID_MODEL_PATH, then in those that came with clarivid,
    or by its path.
    """


def _takes(model: models.Model) -> list[str]:
    """Options that only some models have."""
    known = {"strength": model.has_strength, "sharpness": model.has_sharpness}
    return [option for option, has in known.items() if has]


def _number(value: object, scale: float = 1.0, digits: int = 0) -> str:
    return f"{value / scale:,.{digits}f}" if isinstance(value, int | float) else "-"


@command.command("list", epilog="\b\nExample:\n  clarivid models list --json | jq -r '.[].name'\n")
@click.option("--json", "as_json", is_flag=True, help="Print JSON: a list of objects.")
def list_command(as_json: bool) -> int:
    """List the models that can be named in model=.

    Exits with 1 when a card on the search path is wrong, after listing the others.
    """
    found: list[models.Model] = []
    failed = 0
    for folder in models.bundle_folders():
        try:
            found.append(models.load_model(folder))
        except ModelError as error:
            click.echo(f"clarivid: error: {error}", err=True)
            failed = 1
    if as_json:
        keys = ("task", "layout", "scale", "parameters", "gmac_1080p", "licence")
        rows = [
            {
                "name": m.name,
                "folder": str(m.folder),
                **{k: m.card.get(k) for k in keys},
                "takes": _takes(m),
            }
            for m in found
        ]
        click.echo(json.dumps(rows, indent=2))
        return failed
    if not found:
        looked = "\n  ".join(str(folder) for folder in models.search_path())
        click.echo(f"No models. Looked in:\n  {looked}\nCLARIVID_MODEL_PATH adds folders.")
        return failed
    table = Table(box=None, pad_edge=False)
    for title, right in (
        ("model", False),
        ("task", False),
        ("scale", True),
        ("layout", False),
        ("parameters", True),
        ("GMAC at 1080p", True),
        ("takes", False),
        ("licence", False),
        ("folder", False),
    ):
        table.add_column(
            title, justify="right" if right else "left", no_wrap=title != "folder", overflow="fold"
        )
    for model in found:
        card = model.card
        table.add_row(
            model.name,
            model.task,
            f"x{model.scale}",
            model.layout,
            _number(card.get("parameters")),
            _number(card.get("gmac_1080p"), digits=1),
            ", ".join(_takes(model)),
            str(card.get("licence", "-")),
            str(model.folder),
        )
    console().print(table)
    return failed


def _flatten(value: Any, prefix: str = "") -> list[tuple[str, str]]:
    """Turn nested JSON into (dotted key, text) rows; lists of plain values stay on one line."""
    if isinstance(value, dict) and value:
        return [
            row for key, item in value.items() for row in _flatten(item, f"{prefix}.{key}" if prefix else key)
        ]
    if isinstance(value, list) and any(isinstance(item, dict | list) for item in value):
        return [row for i, item in enumerate(value, 1) for row in _flatten(item, f"{prefix}[{i}]")]
    return [(prefix, value if isinstance(value, str) else json.dumps(value))]


@command.command("show", epilog="\b\nExample:\n  clarivid models show game_x2 --json | jq .scores\n")
@click.argument("name")
@click.option("--json", "as_json", is_flag=True, help="Print the card as it is, with its folder.")
def show_command(name: str, as_json: bool) -> None:
    """Show everything that the card of model NAME (or of the bundle at a path) says."""
    model = models.find_model(name)
    if as_json:
        click.echo(json.dumps({"folder": str(model.folder), **model.card}, indent=2))
        return
    table = Table(box=None, pad_edge=False, show_header=False)
    table.add_column(no_wrap=True)
    table.add_column(overflow="fold")
    table.add_row("folder", str(model.folder))
    if model.has_sharpness:
        table.add_row("sharpness", "0..1: two sets of weights, and what lies between them")
    for key, text in _flatten(model.card):
        table.add_row(key, text)
    console().print(table)


@command.command(
    "verify", epilog="\b\nExamples:\n  clarivid models verify\n  clarivid models verify game_x2\n"
)
@click.argument("names", nargs=-1, metavar="[NAME]...")
@click.option("--json", "as_json", is_flag=True, help="Print JSON: a list of objects.")
def verify_command(names: tuple[str, ...], as_json: bool) -> int:
    """Check the SHA-256 of every file of the models NAME, or of all models.

    Exits with 1 when a file is missing or is not the one that its card lists, and names it.
    """
    rows: list[dict[str, Any]] = []
    for name in names or [str(folder) for folder in models.bundle_folders()]:
        row: dict[str, Any] = {"name": Path(name).name, "ok": True, "error": None}
        try:
            model = models.find_model(name)
            row.update(name=model.name, folder=str(model.folder), files=len(model.files))
            models.verify_model(model)
        except Error as error:
            row.update(ok=False, error=str(error))
        rows.append(row)
        if not as_json and row["ok"]:
            click.echo(f"{row['name']}: {row['files']} files are what the card says")
        elif not as_json:
            click.echo(f"clarivid: error: {row['name']}: {row['error']}", err=True)
    if as_json:
        click.echo(json.dumps(rows, indent=2))
    elif not rows:
        click.echo("No models to verify.")
    return 0 if all(row["ok"] for row in rows) else 1
