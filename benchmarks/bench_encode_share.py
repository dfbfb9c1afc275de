# SPDX-License-Identifier: BSD-2-Clause
"""What lowrank_pre adds to an encode: processor time of ffmpeg with x264 alone, and with the filter.

The clip is 1080p, natural, and held out from training; it is decoded beforehand and repeated. Each line is a
process of its own that runs over few and over more frames: the difference is the cost of a frame.

\b
encode     ffmpeg -f rawvideo ... -c:v libx264 -preset medium -crf 23 -f null
both       the same with -vf lowrank_pre; the encoder has fewer bits to write, which is part of the result
filter     -vf lowrank_pre without an encoder
no filter  neither

The filter's share is (filter - no filter) / (encode - no filter), what it adds is (both - encode) / (encode -
no filter). Medians over the repetitions.

\b
  .venv/bin/python benchmarks/bench_encode_share.py            some minutes
  .venv/bin/python benchmarks/bench_encode_share.py --quick    to see that it works
"""

from __future__ import annotations

import json
import subprocess
import tempfile
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from statistics import median
from typing import Any

import click
from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from bench_filter_overhead import SHORT, Cost, per_frame, timed
from clarivid import clips, ffmpeg
from clarivid.errors import Error, ToolError
from clarivid.machine import describe
from clarivid.models import find_model

CLIP = "dog"
WAYS = ("encode", "both", "filter", "no_filter")


def decode(program: Path, source: Path, size: str, out: Path, frames: int) -> None:
    """Raw 4:2:0 frames of a clip, scaled to ``size``."""
    scale = f"scale={size.replace('x', ':')}:flags=bicubic,format=yuv420p"
    command = [str(program), "-nostdin", "-v", "error", "-i", str(source), "-vf", scale]
    timed([*command, "-frames:v", str(frames), "-f", "rawvideo", str(out)])


def cost(
    program: Path, source: Path, size: str, filters: str | None, encoder: str | None, frames: int
) -> Cost:
    """ffmpeg over raw frames that are read again and again; ``encoder`` is a preset of x264."""
    runs = []
    for count in (SHORT, SHORT + frames):
        command = [str(program), "-nostdin", "-v", "error", "-stream_loop", "-1", "-f", "rawvideo"]
        command += ["-pix_fmt", "yuv420p", "-s", size, "-r", "25", "-i", str(source), "-frames:v", str(count)]
        command += ["-vf", filters] if filters else []
        command += ["-c:v", "libx264", "-preset", encoder, "-crf", "23"] if encoder else []
        runs.append(timed([*command, "-f", "null", "-"]))
    return per_frame(runs[0], runs[1], frames)


def summarise(precision: str, costs: dict[str, list[Cost]]) -> dict[str, Any]:
    """One row of the result: medians, and shares in % of the encode, of each repetition's own figures."""

    def share(clock: str, more: str, less: str) -> float:
        values = [{way: getattr(costs[way][i], clock) for way in WAYS} for i in range(len(costs["encode"]))]
        return median(100 * (v[more] - v[less]) / (v["encode"] - v["no_filter"]) for v in values)

    return {
        "precision": precision,
        "share_percent": share("cpu_ms", "filter", "no_filter"),
        "added_percent": share("cpu_ms", "both", "encode"),
        "added_wall_percent": share("wall_ms", "both", "encode"),
        **{way: [asdict(cost) for cost in values] for way, values in costs.items()},
    }


def show(rows: Sequence[dict[str, Any]], preset: str, console: Console) -> None:
    """The table for people."""
    table = Table(title=f"lowrank_pre before x264 {preset}, processor time, ms a frame", caption="medians")
    for title in ("precision", *WAYS, "filter's share", "added", "fps both", "fps encode"):
        table.add_column(
            title.replace("_", " "), justify="left" if title == "precision" else "right", no_wrap=True
        )
    for row in rows:
        cells = [row["precision"]]
        cells += [f"{median(cost['cpu_ms'] for cost in row[way]):.1f}" for way in WAYS]
        cells += [f"{row['share_percent']:.1f} %", f"{row['added_percent']:+.1f} %"]
        cells += [f"{1000 / median(cost['wall_ms'] for cost in row[way]):.1f}" for way in ("both", "encode")]
        table.add_row(*cells)
    console.print(table)


@click.command(help=__doc__, context_settings={"help_option_names": ["-h", "--help"]})
@click.option("--model", default="lowrank_v1", show_default=True, help="A bundle's name or path.")
@click.option("--strength", default=1.0, show_default=True)
@click.option("--clip", default=CLIP, show_default=True, help="A held-out clip of `clarivid rd`.")
@click.option("--source", type=click.Path(path_type=Path), help="A video of yours instead.")
@click.option("--size", default="1920x1080", show_default=True, help="Even numbers.")
@click.option("--precision", multiple=True, type=click.Choice(["fp32", "bf16"]), default=("fp32", "bf16"))
@click.option("--preset", default="medium", show_default=True, help="Of x264.")
@click.option("--frames", default=60, show_default=True, help="Frames that are timed, each time.")
@click.option("--repeat", default=5, show_default=True, help="Times that everything is done.")
@click.option("--quick", is_flag=True, help="Four frames, once: shows that it works, not how fast it is.")
@click.option("--out", type=click.Path(path_type=Path), help="Write the results here as JSON.")
def main(
    model: str,
    strength: float,
    clip: str,
    source: Path | None,
    size: str,
    precision: tuple[str, ...],
    preset: str,
    frames: int,
    repeat: int,
    quick: bool,
    out: Path | None,
) -> None:
    """Entry point."""
    frames, repeat = (4, 1) if quick else (frames, repeat)
    machine = describe()
    console = Console()
    if not console.is_terminal:
        console = Console(width=120)
    costs: dict[str, dict[str, list[Cost]]] = {p: {way: [] for way in WAYS} for p in precision}
    try:
        bundle = find_model(model)
        built = ffmpeg.find()
        if source is not None and not source.is_file():
            raise ToolError(f"{source} does not exist; --source names a video")
        video = source or clips.find_rd(clip).source_file()
        with tempfile.TemporaryDirectory(prefix="clarivid-bench-") as work:
            raw = Path(work) / "frames.yuv"
            decode(built.ffmpeg, video, size, raw, 40)
            with Progress(console=Console(stderr=True)) as progress:
                task = progress.add_task("", total=repeat * len(precision) * len(WAYS))
                for round_ in range(repeat):
                    for p in precision:
                        filters = f"lowrank_pre=model={model}:precision={p}:strength={strength:g}"
                        for way in WAYS:
                            progress.update(task, description=f"{round_ + 1}/{repeat} {p} {way}")
                            chain = filters if way in ("both", "filter") else None
                            encoder = preset if way in ("encode", "both") else None
                            costs[p][way].append(cost(built.ffmpeg, raw, size, chain, encoder, frames))
                            progress.advance(task)
    except (Error, subprocess.SubprocessError) as error:
        raise SystemExit(f"bench_encode_share: error: {error}") from None
    rows = [summarise(p, found) for p, found in costs.items()]
    show(rows, preset, console)
    if out is not None:
        out.parent.mkdir(parents=True, exist_ok=True)
        record: dict[str, Any] = {"what": "encode_share", "machine": machine, "model": bundle.name}
        record |= {"strength": strength, "clip": video.name if source else clip, "size": size}
        record |= {"preset": preset, "frames": frames, "repeat": repeat, "ffmpeg": built.version}
        out.write_text(json.dumps({**record, "rows": rows}, indent=1) + "\n", "utf-8")
        console.print(str(out))


if __name__ == "__main__":
    main()
