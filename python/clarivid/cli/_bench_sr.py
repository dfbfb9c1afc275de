# SPDX-License-Identifier: BSD-2-Clause
"""``clarivid bench sr``: what dnn_sr wins over Lanczos, by kind of video, codec and rate."""

from __future__ import annotations

import json
import shlex
import signal
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from clarivid.bars import bar
from clarivid.errors import InputError
from clarivid.outputs import check_output

if TYPE_CHECKING:
    from clarivid.sr_bench.plan import Method, Plan
    from clarivid.sr_bench.run import Row

KINDS = ("game", "cg", "anime", "illustration", "screen", "natural", "hard")
TIERS = ("fidelity", "fast", "perceptual")

EPILOG = """\b
Examples:
  clarivid bench sr                             the shipped nets on 16 clips, some minutes; out/bench-sr/
  clarivid bench sr --preset full --jobs 8      all clips, three codecs, rivals; stop and start again at will
  clarivid bench sr --preset full --gate fidelity      exit code 1 when a promise is missed
  clarivid bench sr --model mine=runs/mine --model game_x2,natural_x2 --rival fsr1
  clarivid bench sr bunny city --rate x264=20,25,30 --filter nnedi=nnedi=... --frames 24
  clarivid bench sr --kind screen --sheet look.png             crops of each clip side by side
  clarivid bench sr --kind screen --keep out/look      keeps the files, to look at
  clarivid bench sr --markdown                  the tables for a card

\b
--model A,B takes B for camera footage and A for the rest. Finished results are kept in the cache; a second
run does only what is missing. docs/evaluation.md says what the clips are and how it is scored.
"""


@click.command(name="sr", epilog=EPILOG)
@click.argument("names", nargs=-1, metavar="[CLIP]...")
@click.option(
    "--preset",
    type=click.Choice(["quick", "full"]),
    default="quick",
    show_default=True,
    help="quick: 16 clips, 12 frames, x264 at 2 rates. full: all clips, 16 frames, 7 points of x264, x265 "
    "and SVT-AV1, rivals. Other options change it.",
)
@click.option("--kind", "kinds", multiple=True, type=click.Choice(KINDS), help="Clips of these; repeatable.")
@click.option(
    "--model",
    "models",
    multiple=True,
    metavar="[NAME=]MODEL[,MODEL]",
    help="A name or a path; of two, the second is for camera footage. Repeatable.  "
    "[default: game_x2,natural_x2]",
)
@click.option(
    "--rival",
    "rivals",
    multiple=True,
    metavar="NAME",
    help="bicubic, easu or fsr1 (FSR 1 without and with its sharpening), or none; repeatable.",
)
@click.option(
    "--filter",
    "filters",
    multiple=True,
    metavar="NAME=FILTERS",
    help="Any chain for ffmpeg's -vf that doubles the size; repeatable.",
)
@click.option(
    "--rate",
    "rates",
    multiple=True,
    metavar="CODEC=CRF,CRF",
    help="Instead of the preset's; repeatable.",
)
@click.option("--frames", type=click.IntRange(2), help="At most so many of each clip.")
@click.option("--precision", default="auto", show_default=True, help="Of the models.")
@click.option("--sharpness", type=click.FloatRange(0, 1), help="Of the models, as the filter's option.")
@click.option("--jobs", type=click.IntRange(1), help="Clips at a time; by default one a core.")
@click.option("--ffmpeg", type=click.Path(path_type=Path, exists=True), help="A program with dnn_sr.")
@click.option("--keep", type=click.Path(path_type=Path, file_okay=False), help="Keep all files here.")
@click.option(
    "--sheet",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Draw a PNG of crops: the original, Lanczos and every method, at the first rate.",
)
@click.option("--fresh", is_flag=True, help="Measure everything anew.")
@click.option(
    "--gate",
    "tier",
    type=click.Choice(TIERS),
    help="Exit with 1 when the first model misses what this tier promises.",
)
@click.option("--json", "as_json", is_flag=True, help="Print the results as JSON.")
@click.option("--csv", "as_csv", is_flag=True, help="Print every score of every encode as CSV.")
@click.option("--markdown", "as_markdown", is_flag=True, help="Print tables for a card.")
@click.option(
    "--out",
    type=click.Path(path_type=Path, file_okay=False),
    default=Path("out/bench-sr"),
    show_default=True,
    help="Where results.json, results.csv, table.md and scores for cards go.",
)
def command(
    names: tuple[str, ...],
    preset: str,
    kinds: tuple[str, ...],
    models: tuple[str, ...],
    rivals: tuple[str, ...],
    filters: tuple[str, ...],
    rates: tuple[str, ...],
    frames: int | None,
    precision: str,
    sharpness: float | None,
    jobs: int | None,
    ffmpeg: Path | None,
    keep: Path | None,
    sheet: Path | None,
    fresh: bool,
    tier: str | None,
    as_json: bool,
    as_csv: bool,
    as_markdown: bool,
    out: Path,
) -> int:
    """Score dnn_sr, and what else doubles the size, on held-out clips after an encoder.

    CLIP is a clip's name; without one the preset's are taken. Each is halved, encoded, decoded and doubled
    again, and scored against what it was before. Gains are over swscale's Lanczos.
    """
    if as_json + as_csv + as_markdown > 1:
        raise click.UsageError("--json, --csv and --markdown exclude each other")
    if sheet is not None:
        check_output(sheet, (), overwrite=True)
    from clarivid.sr_bench import material, plan, report
    from clarivid.sr_bench.run import run

    chosen = plan.PRESETS[preset]
    clips = [material.find(name) for name in names or chosen.clips] or material.material()
    if kinds:
        clips = [clip for clip in (clips if names else material.material()) if clip.kind in kinds]
    judged = [plan.model(text, precision, sharpness) for text in models or (plan.DEFAULT_MODEL,)]
    wanted = plan.Plan(
        clips=tuple(dict.fromkeys(clips)),
        points=tuple(point for text in rates for point in plan.Point.parse(text)) or chosen.points,
        methods=(
            *judged,
            *plan.rivals([name for name in rivals or chosen.rivals if name != "none"]),
            *(_filter(text) for text in filters),
        ),
        frames=chosen.frames if frames is None else frames,
    )
    # Ended by a scheduler, what runs is ended too, as after Ctrl-C.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    with bar("bench") as (progress, task), _kept(keep, sheet) as kept:

        def tell(done: int, total: int, note: str) -> None:
            progress.update(task, completed=done, total=total, note=note)

        rows, missing = run(wanted, jobs=jobs, progress=tell, fresh=fresh, program=ffmpeg, keep=kept)
        if sheet is not None and kept is not None and rows:
            _save_sheet(wanted, rows, kept, sheet)
    record = _record(wanted, [asdict(row) for row in rows], missing, [m.name for m in judged], tier)
    paths = report.write(record, out)
    if as_json:
        click.echo(json.dumps(record, indent=1))
    elif as_csv:
        click.echo(report.csv_text(record["rows"]), nl=False)
    elif as_markdown:
        click.echo(report.markdown(record), nl=False)
    else:
        _show(record)
        click.echo("\n".join(str(path) for path in paths))
    verdicts = [check["passed"] for checks in record["gate"].values() for check in checks]
    return 1 if tier and not (verdicts and all(verdicts)) else 0


@contextmanager
def _kept(keep: Path | None, sheet: Path | None) -> Iterator[Path | None]:
    """The folder for the files; one for the while when they are only wanted for a sheet."""
    if keep is not None or sheet is None:
        yield keep
        return
    with tempfile.TemporaryDirectory(prefix="clarivid-bench-") as folder:
        yield Path(folder)


def _save_sheet(wanted: Plan, rows: Sequence[Row], kept: Path, path: Path) -> None:
    from clarivid.outputs import draft_of, finish
    from clarivid.sr_bench import pictures

    with draft_of(path) as draft:
        pictures.sheet(wanted, rows, kept).save(draft, "PNG", optimize=True)
        finish(draft, path)


def _filter(text: str) -> Method:
    from clarivid.sr_bench.plan import Method

    name, separator, filters = text.partition("=")
    if not separator or not filters.strip():
        raise InputError(f'"{text}" is not NAME=FILTERS, such as spline=scale=2*iw:2*ih:flags=spline')
    return Method.same(name, filters)


def _record(
    wanted: Any, rows: list[dict[str, Any]], missing: list[str], models: list[str], tier: str | None
) -> dict[str, Any]:
    from clarivid.machine import describe
    from clarivid.sr_bench import gate, report

    measured = {row["clip"]: row for row in rows}
    gained = {}
    for method in wanted.methods:
        gained[method.name] = report.gains(rows, method.name) if rows else None
    known = {name: gain for name, gain in gained.items() if gain is not None}
    return {
        "format": report.FORMAT,
        "what": "sr",
        "command": shlex.join(["clarivid", *sys.argv[1:]]),
        "machine": describe(),
        "frames": wanted.frames,
        "points": [asdict(point) for point in wanted.points],
        "clips": [
            {
                "name": clip.name,
                "kind": clip.kind,
                "licence": clip.licence,
                "size": "x".join(map(str, measured[clip.name]["size"])),
                "frames": measured[clip.name]["frames"],
            }
            for clip in wanted.clips
            if clip.name in measured
        ],
        "left_out": missing,
        "models": [name for name in models if name in known],
        "methods": {method.name: method.filters or method.python for method in wanted.methods},
        "gains": known,
        "gate": {
            name: [asdict(check) for check in gate.gate(tier, known[name], missing)]
            for name in models[:1]
            if tier and name in known
        },
        "rows": rows,
    }


def _show(record: dict[str, Any]) -> None:
    """The first model by clip and kind, all methods side by side, and the gate."""
    from rich.console import Console
    from rich.table import Table

    from clarivid.sr_bench.report import SHOWN, TITLES, text_of

    console = Console()
    if not console.is_terminal:
        console = Console(width=140)
    for method in record["models"]:
        gained = record["gains"][method]
        table = Table(title=f"{method}: gain over Lanczos; edge, texture, flicker: of Lanczos's")
        for column in ("kind", "clip", *(TITLES[score][0] for score in SHOWN)):
            table.add_column(column, justify="left" if column in ("kind", "clip") else "right", no_wrap=True)
        for kind, mean in gained["kinds"].items():
            for clip in record["clips"]:
                if clip["kind"] == kind:
                    gain = gained["clips"][clip["name"]]
                    table.add_row(kind, clip["name"], *(text_of(gain, score) for score in SHOWN))
            table.add_row(kind, "mean", *(text_of(mean, score) for score in SHOWN), style="bold")
        if gained["mean"] is not None:
            cells = [text_of(gained["mean"], score) for score in SHOWN]
            table.add_row("all but hard", "mean", *cells, style="bold")
        console.print(table)
    if len(record["gains"]) > 1:
        table = Table(title="mean over the kinds")
        for column in ("method", *(TITLES[score][0] for score in SHOWN), "least clip, PSNR-Y"):
            table.add_column(column, justify="left" if column == "method" else "right", no_wrap=True)
        for method, gained in record["gains"].items():
            if gained["mean"] is not None:
                low = gained["least"]["psnr_y"]
                cells = [text_of(gained["mean"], score) for score in SHOWN]
                table.add_row(method, *cells, f"{text_of(gained['clips'][low], 'psnr_y')} {low}")
        console.print(table)
    for sentence in record["left_out"]:
        console.print(sentence, highlight=False, soft_wrap=True)
    for method, checks in record["gate"].items():
        for check in checks:
            verdict = {True: "passed", False: "MISSED", None: "not measured"}[check["passed"]]
            console.print(f"gate, {method}, {verdict}: {check['sentence']}", highlight=False, soft_wrap=True)
