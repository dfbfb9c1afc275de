# SPDX-License-Identifier: BSD-2-Clause
"""``clarivid temporal``: what a prefilter does to inter frames and flicker."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from clarivid.rd.temporal import Report

EPILOG = """\b
Examples:
  clarivid temporal                                      lowrank_pre on a noisy scene from a tripod
  clarivid temporal --encoder x264 --variant soft=hqdn3d=1.5 --json > temporal.json
  clarivid temporal --source noisy.mp4 --variant pre=lowrank_pre=strength=0.5

\b
inter      bits of all frames but key frames, beside the plain encode at the same CRF
skipped    share of the inter frames that is skipped; SVT-AV1 does not tell
flicker    mean change of luma from frame to frame where the scene stands still, in codes
fluct.     root mean variance in time of the same samples, in codes
clean      luma PSNR against the scene without noise, in dB
"""


@click.command(name="temporal", epilog=EPILOG)
@click.option("--clip", default="tripod", show_default=True, help="A noisy clip of the held-out set.")
@click.option(
    "--source",
    type=click.Path(path_type=Path),
    help="A clip of your own instead, of a camera on a tripod.",
)
@click.option(
    "--clean",
    type=click.Path(path_type=Path),
    help="The same scene as --source without noise; without it everything is taken to stand still.",
)
@click.option(
    "--variant",
    "variants",
    multiple=True,
    metavar="NAME=FILTERS",
    help="A chain of filters of clarivid's ffmpeg; may be given several times. [default: lowrank_pre]",
)
@click.option(
    "--encoder",
    "encoders",
    multiple=True,
    metavar="NAME[:PRESET]",
    help="x264, x265 or svtav1; may be given several times. [default: all three]",
)
@click.option("--crf", type=float, multiple=True, help="Rate points, instead of each encoder's own.")
@click.option("--frames", type=click.IntRange(2), help="At most so many frames.")
@click.option("--json", "as_json", is_flag=True, help="Print all figures as JSON.")
def command(
    clip: str,
    source: Path | None,
    clean: Path | None,
    variants: tuple[str, ...],
    encoders: tuple[str, ...],
    crf: tuple[float, ...],
    frames: int | None,
    as_json: bool,
) -> None:
    """Inter bits, skipped blocks and flicker of a still, noisy scene, with filters and without."""
    from clarivid import clips
    from clarivid.bars import bar
    from clarivid.errors import InputError
    from clarivid.rd import temporal
    from clarivid.rd.plan import Encoder, Variant, lowrank

    if clean is not None and source is None:
        raise InputError("--clean belongs to --source, which is not given")
    if source is None:
        found = clips.find_rd(clip)
        name, source, clean = found.name, found.source_file(), found.clean_file()
    else:
        name = source.name
    chosen = [Encoder.parse(text) for text in encoders or temporal.DEFAULT_ENCODERS]
    filters = [Variant.parse(text) for text in variants] or [lowrank()]
    rates = {e.name: crf or temporal.RATES[e.name] for e in chosen}
    with bar("encodes") as (progress, task):

        def show(done: int, total: int) -> None:
            progress.update(task, completed=done, total=total)

        report = temporal.check(name, source, clean, filters, chosen, rates, frames, show)
    if as_json:
        click.echo(json.dumps(report.to_dict(), indent=1))
    else:
        _print(report)


def _print(report: Report) -> None:
    from rich.console import Console
    from rich.table import Table

    console = Console(highlight=False)
    console.print(
        f"{report.clip}: {report.frames} frames, {report.still_share:.0%} of the picture stands still"
    )
    for name, before in report.before.items():
        console.print(
            f"  {name} before the encoder: flicker {before.flicker:.2f}, fluctuation {before.fluctuation:.2f}"
        )
    table = Table(box=None)
    for title in ("encoder", "CRF", "variant", "kbit", "inter", "skipped", "flicker", "fluct.", "clean"):
        table.add_column(title, justify="left" if title in ("encoder", "variant") else "right", no_wrap=True)
    for row in report.rows:
        change = report.relative(row)
        plain = not report.filters[row.variant]
        skipped = "" if row.skipped is None else f"{row.skipped:.1%}"
        table.add_row(
            row.encoder,
            f"{row.crf:g}",
            row.variant,
            f"{row.bits / 1000:.0f}",
            f"{row.inter_bits / 1000:.0f}" if plain else f"{change['inter_bits']:+.1%}",
            skipped,
            f"{row.flicker:.3f}",
            f"{row.fluctuation:.3f}",
            f"{row.psnr_clean:.2f}",
        )
    console.print(table)
