# SPDX-License-Identifier: BSD-2-Clause
"""dnn_sr against swscale's Lanczos on held-out coded clips.

Every clip of ``clarivid.clips`` is halved, encoded by x264 and x265 at CRF 18, 23, 28, decoded, and brought
back by our ffmpeg twice: by ``scale=...:flags=lanczos`` and by ``dnn_sr``. Scores are against the clip
before halving. The model of a kind is judged on the clips of its kind.

    .venv/bin/python benchmarks/sr_quality.py                 all clips and rates, some minutes
    .venv/bin/python benchmarks/sr_quality.py --quick         CRF 23 by x264 only
    .venv/bin/python benchmarks/sr_quality.py --gate          non-zero exit when the gate is missed
"""

from __future__ import annotations

import json
import sys
import tempfile
from pathlib import Path
from statistics import mean
from typing import Any

import click
from rich.console import Console
from rich.progress import track
from rich.table import Table

from clarivid import clips, quality
from clarivid.errors import Error
from clarivid.ffmpeg.run import LANCZOS_X2, filter_clip
from clarivid.machine import describe

MODELS = {"game": "game_x2", "natural": "natural_x2"}
# Name and digits shown.
SCORES = {"psnr_y": 2, "ssim": 4, "vmaf": 2, "vmaf_neg": 2}
# Over the mean of each kind's clips, and for every single clip (mean over its rates).
GATE_PSNR, GATE_VMAF, GATE_WORST = 0.8, 3.0, -0.1


def measure(
    clip: clips.Clip, codec: str, crf: int, model: str, precision: str, ffmpeg: Path | None
) -> dict[str, Any]:
    """Scores of both ways for one clip at one rate."""
    low = clip.low(codec, crf)
    ways = {"lanczos": LANCZOS_X2, "dnn_sr": f"dnn_sr=model={model}:precision={precision}"}
    row: dict[str, Any] = {"clip": clip.name, "kind": clip.kind, "codec": codec, "crf": crf, "model": model}
    with tempfile.TemporaryDirectory(prefix="clarivid-bench-") as work:
        for way, filters in ways.items():
            out = Path(work) / f"{way}.mkv"
            filter_clip(low, filters, out, ffmpeg=ffmpeg)
            row[way] = quality.compare(out, clip.reference()).to_dict()
    row["gain"] = {score: row["dnn_sr"][score] - row["lanczos"][score] for score in SCORES}
    return row


def gains(rows: list[dict[str, Any]]) -> dict[str, float]:
    """Mean gain of each score."""
    return {score: mean(row["gain"][score] for row in rows) for score in SCORES}


def summarise(rows: list[dict[str, Any]]) -> dict[str, Any]:
    """Means by clip and by kind; a kind's mean is over its clips."""
    summary: dict[str, Any] = {}
    for kind in dict.fromkeys(row["kind"] for row in rows):
        own = [row for row in rows if row["kind"] == kind]
        names = dict.fromkeys(row["clip"] for row in own)
        by_clip = {name: gains([row for row in own if row["clip"] == name]) for name in names}
        kind_mean = {score: mean(clip[score] for clip in by_clip.values()) for score in SCORES}
        worst = min(by_clip, key=lambda name: by_clip[name]["psnr_y"])
        passed = (
            kind_mean["psnr_y"] >= GATE_PSNR
            and kind_mean["vmaf"] >= GATE_VMAF
            and by_clip[worst]["psnr_y"] >= GATE_WORST
        )
        summary[kind] = {"mean": kind_mean, "clips": by_clip, "worst_clip": worst, "gate_passed": passed}
    return summary


def show(summary: dict[str, Any], console: Console) -> None:
    """The gains over Lanczos, as a table."""
    table = Table(title="dnn_sr, gain over swscale's Lanczos", caption="means over codecs and rates")
    for column in ("kind", "clip", "PSNR-Y dB", "SSIM", "VMAF", "VMAF-NEG"):
        table.add_column(column, justify="left" if column in ("kind", "clip") else "right")
    for kind, entry in summary.items():
        for name, gain in [*entry["clips"].items(), ("mean", entry["mean"])]:
            cells = [f"{gain[score]:+.{digits}f}" for score, digits in SCORES.items()]
            table.add_row(kind, name, *cells, style="bold" if name == "mean" else None)
    console.print(table)


@click.command(help=__doc__, context_settings={"help_option_names": ["-h", "--help"]})
@click.option("--kind", type=click.Choice(["game", "natural"]), help="only this kind")
@click.option("--clip", "names", multiple=True, help="only this clip; may be given several times")
@click.option("--model", help="judge this model on every chosen clip (a name or a path)")
@click.option("--precision", default="auto", show_default=True, help="as the filter's option")
@click.option("--ffmpeg", type=click.Path(path_type=Path), help="a program with dnn_sr; else clarivid's own")
@click.option("--quick", is_flag=True, help="x264 at CRF 23 only")
@click.option("--gate", is_flag=True, help="exit with 1 when the gate is missed")
@click.option("--out", type=click.Path(path_type=Path), help="write the results here as JSON")
def main(
    kind: str | None,
    names: tuple[str, ...],
    model: str | None,
    precision: str,
    ffmpeg: Path | None,
    quick: bool,
    gate: bool,
    out: Path | None,
) -> None:
    """Entry point."""
    chosen = [clips.find(name) for name in names] or clips.held_out(kind)
    rates = [("x264", 23)] if quick else [(codec, crf) for codec in clips.CODECS for crf in clips.CRFS]
    console = Console()
    jobs = [(clip, codec, crf) for clip in chosen for codec, crf in rates]
    rows = []
    try:
        for clip, codec, crf in track(jobs, "clips and rates", console=Console(stderr=True)):
            rows.append(measure(clip, codec, crf, model or MODELS[clip.kind], precision, ffmpeg))
    except Error as error:
        raise SystemExit(f"sr_quality: error: {error}") from None
    summary = summarise(rows)
    show(summary, console)
    for name, entry in summary.items():
        console.print(f"gate, {name}: {'passed' if entry['gate_passed'] else 'MISSED'}")
    if out is not None:
        out.parent.mkdir(parents=True, exist_ok=True)
        record = {"command": " ".join(sys.argv), "machine": describe()}
        out.write_text(json.dumps({**record, "summary": summary, "rows": rows}, indent=1) + "\n", "utf-8")
    if gate and not all(entry["gate_passed"] for entry in summary.values()):
        raise SystemExit(1)


if __name__ == "__main__":
    main()
