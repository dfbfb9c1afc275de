# SPDX-License-Identifier: BSD-2-Clause
"""``clarivid rd``: what a filter before the encoder saves at equal quality."""

from __future__ import annotations

import json
import shlex
import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from clarivid.bars import bar
from clarivid.errors import InputError

if TYPE_CHECKING:
    from clarivid.rd.plan import Variant

EPILOG = """\b
Examples:
  clarivid rd                                  lowrank_pre and its rivals, minutes; out/rd/index.html
  clarivid rd --preset full --jobs 8           everything, hours; stop and start again at will
  clarivid rd my.mp4 --frames 60 --variant lowrank_pre --strength 0.5 --strength 1
  clarivid rd my.mp4 --variant soft=gblur=0.7 --encoder x264:slow --crf 18,23,28,33
  clarivid rd --model runs/mine --score vmaf --score vmaf_neg --score ssim     quick looks in research
  clarivid rd --preset full --gate             exit code 1 when the model misses the gate

\b
Reading it: BD-rate is the mean difference in bits at equal quality; -10 % means a tenth fewer bits.
A gain in VMAF that VMAF-NEG does not share comes from sharpening, not from a better picture.
Finished encodes are kept in the cache; a second run does only what is missing.
docs/evaluation.md says how it measures, and what can go wrong.
"""
FEW = 8  # notes that are printed; more of them are for the report


@click.command(name="rd", epilog=EPILOG)
@click.argument("clips", nargs=-1, metavar="[CLIP|FILE]...")
@click.option(
    "--preset",
    type=click.Choice(["quick", "full"]),
    default="quick",
    show_default=True,
    help="quick: one clip of each kind, no MS-SSIM. full: all clips, one more rival, all scores, and our "
    "filter at two-pass bitrates too. Both: 24 frames, 4 CRF points. Other options change it.",
)
@click.option(
    "--encoder", "encoders", multiple=True, metavar="NAME[:PRESET]", help="x264, x265 or svtav1; repeatable."
)
@click.option(
    "--crf",
    multiple=True,
    metavar="[NAME=]N,N,N,N",
    help="At least four rate points, for all encoders or for one.",
)
@click.option(
    "--abr",
    metavar="match|none|KBIT,...",
    help="Two-pass encodes at mean bitrates as well: those that the plain clip got at each CRF, or kbit/s.",
)
@click.option(
    "--variant",
    "variants",
    multiple=True,
    metavar="NAME[=FILTERS]",
    help="What to compare with the plain encode: lowrank_pre, hqdn3d, nlmeans, unsharp, or a name and any "
    "chain for ffmpeg's -vf. Repeatable; replaces the preset's.",
)
@click.option(
    "--model", default="lowrank_v1", show_default=True, help="lowrank_pre's model: a name or a path."
)
@click.option(
    "--strength", "strengths", type=float, multiple=True, help="lowrank_pre's strength, 0..1; repeatable."
)
@click.option(
    "--score",
    "scores",
    multiple=True,
    metavar="NAME",
    help="These only: vmaf, vmaf_neg, ssim, ssim_full, ms_ssim (the slow one), psnr_y, psnr_uv, xpsnr.",
)
@click.option("--frames", type=int, help="At most so many frames of each clip.")
@click.option("--jobs", type=click.IntRange(1), help="Encodes at a time; by default one a core.")
@click.option(
    "--out",
    type=click.Path(path_type=Path, file_okay=False),
    default=Path("out/rd"),
    show_default=True,
    help="Where index.html, results.json, results.csv and bd.csv go.",
)
@click.option("--fresh", is_flag=True, help="Measure everything anew.")
@click.option("--gate", is_flag=True, help="Exit with 1 when the first variant misses the gate.")
@click.option("--json", "as_json", is_flag=True, help="Print mean BD-rates, guards and the gate as JSON.")
def command(
    clips: tuple[str, ...],
    preset: str,
    encoders: tuple[str, ...],
    crf: tuple[str, ...],
    abr: str | None,
    variants: tuple[str, ...],
    model: str,
    strengths: tuple[float, ...],
    scores: tuple[str, ...],
    frames: int | None,
    jobs: int | None,
    out: Path,
    fresh: bool,
    gate: bool,
    as_json: bool,
) -> int:
    """Measure rate-distortion curves of clips with and without a filter before the encoder.

    CLIP is a held-out clip's name, FILE any video; without them the preset's clips are taken. Every clip is
    filtered, encoded at several rates by several encoders, and scored against the untouched source.
    """
    from clarivid.rd import page, presets, report
    from clarivid.rd.plan import Plan
    from clarivid.rd.run import run

    chosen = presets.PRESETS[preset]
    compared = _variants(variants or ("lowrank_pre", *chosen.rivals), model, strengths or chosen.strengths)
    plan = Plan(
        sources=presets.sources(preset, clips),
        encoders=presets.encoders(encoders, crf),
        variants=compared,
        frames=chosen.frames if frames is None else frames,
        abr=_abr(abr, chosen.abr),
        abr_variants=() if variants else tuple(v.name for v in compared if v.name not in chosen.rivals),
        scores=scores or chosen.scores,
    )
    # Ended by a scheduler, the encodes that run are ended too, as after Ctrl-C.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    with bar("rd") as (progress, task):

        def tell(done: int, total: int, note: str) -> None:
            progress.update(task, completed=done, total=total, note=note)

        results = run(plan, jobs=jobs, progress=tell, fresh=fresh)
    found = report.summary(results, shlex.join(["clarivid", *sys.argv[1:]]))
    paths = report.write(found, out)
    paths.append(page.write(results, found, out / "index.html"))
    missed = found["gate"]["missed"][results.variants()[0]]
    if as_json:
        shown = {key: found[key] for key in ("means", "guards", "gate")}
        click.echo(json.dumps(shown, indent=1))
    else:
        _show(found)
        click.echo("\n".join(str(path) for path in paths))
    return 1 if gate and missed else 0


def _variants(names: tuple[str, ...], model: str, strengths: tuple[float, ...]) -> tuple[Variant, ...]:
    from clarivid.rd import presets
    from clarivid.rd.plan import PLAIN, Variant, lowrank

    chosen: list[Variant] = []
    for name in names:
        if name == "lowrank_pre":
            chosen += [lowrank(model, strength) for strength in dict.fromkeys(strengths)]
        elif name != PLAIN:
            chosen.append(Variant.parse(name) if "=" in name else presets.rival(name))
    if not chosen:
        raise InputError(f"there is nothing to compare with {PLAIN}: give another --variant")
    return tuple(chosen)


def _abr(text: str | None, default: bool) -> bool | tuple[float, ...]:
    from clarivid.rd.presets import numbers

    if text is None:
        return default
    return text == "match" if text in ("match", "none") else numbers(text)


def _show(found: dict[str, Any]) -> None:
    """A table a variant: mean BD-rates by score, over all encoders and each, and the worst clip."""
    from rich.console import Console
    from rich.table import Table

    console = Console()
    names = [encoder["name"] for encoder in found["encoders"]]
    for variant in found["gate"]["missed"]:
        for mode in found["modes"]:
            rows = [r for r in found["means"] if (r["variant"], r["mode"]) == (variant, mode)]
            if not rows:
                continue
            table = Table(title=f"{variant}: BD-rate in %, {'CRF' if mode == 'crf' else 'two-pass bitrates'}")
            for column in ("", "mean", *names, "worst clip"):
                table.add_column(column, justify="right" if column else "left", no_wrap=True)
            for score, entry in found["scores"].items():
                by_encoder = {
                    row["encoder"]: row["bd"][score] for row in rows if not row["clip"] + row["kind"]
                }
                cells = [_per_cent(by_encoder[name]) for name in ("", *names)]
                table.add_row(entry["label"], *cells, _worst(rows, score))
            console.print(table)
    notes = [guard for guard in found["guards"] if guard["severity"] == "note"]
    for guard in found["guards"]:
        if guard["severity"] == "fail" or len(notes) <= FEW:
            text = f"{guard['severity']}: {guard['variant']}: {guard['sentence']}"
            console.print(text, highlight=False, soft_wrap=True)
    if len(notes) > FEW:
        console.print(f"{len(notes)} notes are in the report", highlight=False)
    for variant, missed in found["gate"]["missed"].items():
        verdict = "passed" if not missed else "missed: " + "; ".join(missed)
        console.print(f"gate, {variant}: {verdict}", highlight=False, soft_wrap=True)


def _per_cent(value: float | None) -> str:
    return "-" if value is None else f"{value:+.2f}"


def _worst(rows: list[dict[str, Any]], score: str) -> str:
    """The clip with the largest BD-rate."""
    known = [(row["bd"][score], row["clip"]) for row in rows if row["clip"] and row["bd"][score] is not None]
    return f"{max(known)[0]:+.1f} {max(known)[1]}" if known else "-"
