# SPDX-License-Identifier: BSD-2-Clause
"""``clarivid bench``: how good and how fast the filters are, against truth and against rivals."""

from __future__ import annotations

import json
import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from clarivid.bars import bar
from clarivid.cli import _bench_sr

if TYPE_CHECKING:
    from rich.console import Console

    from clarivid.inpaint_bench.gate import Check
    from clarivid.inpaint_bench.run import Outcome
    from clarivid.inpaint_bench.speed import Speed

EPILOG = """\b
Examples:
  clarivid bench inpaint                        all scenes and methods, then speed; out/bench-inpaint/
  clarivid bench inpaint sculpture room --frames 30 --no-speed
  clarivid bench inpaint --method mesh_inpaint --method telea --model none
  clarivid bench inpaint --gate                 exit code 1 when a promise is missed
  clarivid bench inpaint --only-speed --threads 2

\b
Finished results are kept in the cache; a second run does only what is missing.
docs/inpaint.md says what the scenes are and how it is scored.
"""


GROUP_EPILOG = """\b
Examples:
  clarivid bench inpaint --gate     mesh_inpaint against known backgrounds; exit code 1 when it misses
  clarivid bench sr                 dnn_sr against Lanczos on coded clips
  clarivid bench inpaint --help
"""


@click.group(name="bench", epilog=GROUP_EPILOG)
def command() -> None:
    """Measure a filter against truth and against its rivals."""


command.add_command(_bench_sr.command)


@command.command(name="inpaint", epilog=EPILOG)
@click.argument("scenes", nargs=-1, metavar="[SCENE]...")
@click.option(
    "--kind", type=click.Choice(["fixed", "moving", "parallax", "light"]), help="Scenes of one kind."
)
@click.option("--frames", type=click.IntRange(2), help="At most so many pictures of each scene.")
@click.option("--method", "names", multiple=True, metavar="NAME", help="These only; repeatable.")
@click.option(
    "--model", default="", help='Of the filter: a name, a path, or "none"; default: the filter\'s own.'
)
@click.option("--precision", default="auto", show_default=True, help="Of the net.")
@click.option("--speed/--no-speed", "timed", default=True, help="Measure speed and memory as well.")
@click.option("--only-speed", is_flag=True, help="Nothing but speed and memory.")
@click.option("--threads", default=2, show_default=True, type=click.IntRange(1), help="For the speed.")
@click.option(
    "--repeat", default=3, show_default=True, type=click.IntRange(1), help="Times that speed is measured."
)
@click.option("--videos/--no-videos", default=True, help="Write a video a scene, side by side.")
@click.option("--fresh", is_flag=True, help="Measure everything anew.")
@click.option(
    "--gate", "gated", is_flag=True, help="Exit with 1 when a promise is missed or was not measured."
)
@click.option("--json", "as_json", is_flag=True, help="Print the results as JSON.")
@click.option(
    "--out",
    type=click.Path(path_type=Path, file_okay=False),
    default=Path("out/bench-inpaint"),
    show_default=True,
    help="Where results.json, sheet.png and the videos go.",
)
def inpaint(
    scenes: tuple[str, ...],
    kind: str | None,
    frames: int | None,
    names: tuple[str, ...],
    model: str,
    precision: str,
    timed: bool,
    only_speed: bool,
    threads: int,
    repeat: int,
    videos: bool,
    fresh: bool,
    gated: bool,
    as_json: bool,
    out: Path,
) -> int:
    """Score mesh_inpaint, and what else removes objects, on scenes whose background is known.

    SCENE is a scene's name; without one all are taken.
    """
    from rich.console import Console

    from clarivid.inpaint_bench import gate, methods, pictures, run, speed
    from clarivid.inpaint_bench import scenes as stages

    model = model or methods.default_model()
    chosen = [stages.find(name) for name in scenes] if scenes else stages.scenes(kind)
    compared = methods.methods(model, names, precision)
    if only_speed:
        chosen = []
    steps = len(chosen) * (len(compared) + 2)
    if timed or only_speed:
        steps += 1 + repeat * (len(speed.MESHES) + 1)
    outcomes: list[Outcome] = []
    speeds: list[Speed] = []
    missing: list[str] = []
    out.mkdir(parents=True, exist_ok=True)
    with bar("bench") as (progress, task):
        progress.update(task, total=steps)

        def tell(note: str) -> None:
            progress.update(task, note=note, advance=1)

        if chosen:
            outcomes, missing = run.run(chosen, compared, frames=frames, fresh=fresh, progress=tell)
            shown = [method.name for method in compared]
            film = [n for n in (gate.OURS, gate.NET, gate.TELEA) if n in shown] or shown[:3]
            strips = []
            for outcome in outcomes:
                tell(f"{outcome.scene.name}: pictures")
                material = outcome.scene.make(frames)
                strips.append(pictures.strip(outcome, material, shown))
                if videos:
                    pictures.side_by_side(out / f"{outcome.scene.name}.mp4", outcome, material, film)
            if strips:
                pictures.sheet(strips, shown).save(out / "sheet.png")
        if timed or only_speed:
            speeds = speed.measure(
                model=model, threads=threads, repeat=repeat, precision=precision, progress=tell
            )
    checks = gate.gate(outcomes, speeds)
    record = _record(outcomes, speeds, checks, missing, model)
    (out / "results.json").write_text(json.dumps(record, indent=1) + "\n", "utf-8")
    if as_json:
        click.echo(json.dumps(record, indent=1))
    else:
        _show(Console(), outcomes, speeds, checks, missing)
        click.echo(str(out / "results.json"))
        if outcomes:
            click.echo(str(out / "sheet.png"))
    return 1 if gated and any(not check.passed for check in checks) else 0


def _record(
    outcomes: list[Outcome], speeds: list[Speed], checks: list[Check], missing: list[str], model: str
) -> dict[str, Any]:
    from dataclasses import asdict

    from clarivid.inpaint_bench import gate
    from clarivid.machine import describe

    rows = [
        {
            "scene": outcome.scene.name,
            "kind": outcome.scene.kind,
            "what": outcome.scene.what,
            "licence": outcome.scene.licence,
            "size": "x".join(map(str, outcome.size)),
            "frames": outcome.frames,
            "hole": round(outcome.hole, 4),
            "scores": outcome.scores,
        }
        for outcome in outcomes
    ]
    return {
        "what": "inpaint",
        "command": shlex.join(["clarivid", *sys.argv[1:]]),
        "machine": describe(),
        "model": model,
        "scenes": rows,
        "means": gate.means(outcomes),
        "left_out": missing,
        "speed": [speed.to_dict() for speed in speeds],
        "gate": [asdict(check) for check in checks],
    }


def _show(
    console: Console, outcomes: list[Outcome], speeds: list[Speed], checks: list[Check], missing: list[str]
) -> None:
    """Means by kind, PSNR of each scene, speed, and the gate."""
    from rich.console import Console as Wide
    from rich.table import Table

    from clarivid.inpaint_bench.gate import means

    if not console.is_terminal:
        console = Wide(width=130)
    for kind, rows in means(outcomes).items():
        count = sum(outcome.scene.kind == kind for outcome in outcomes)
        table = Table(title=f"{kind}, {count} scene{'s' if count > 1 else ''}, in the hole")
        for column in ("", "PSNR-Y dB", "pooled dB", "PSNR-UV dB", "SSIM", "VMAF", "warping error"):
            table.add_column(column, justify="right" if column else "left", no_wrap=True)
        for method, values in rows.items():
            digits = (2, 2, 2, 4, 1, 1)
            cells = [_number(v, d) for v, d in zip(values.values(), digits, strict=True)]
            table.add_row(method, *cells)
        console.print(table)
    if outcomes:
        table = Table(title="PSNR-Y dB (warping error) of each scene")
        table.add_column("", no_wrap=True)
        for outcome in outcomes:
            table.add_column(outcome.scene.name, justify="right")
        for method in outcomes[0].scores:
            cells = [
                f"{_number(o.scores[method]['psnr_y'], 2)} ({_number(o.scores[method]['warp'], 1)})"
                for o in outcomes
            ]
            table.add_row(method, *cells)
        console.print(table)
    if speeds:
        table = Table(title=f"mesh_inpaint in ffmpeg, {speeds[0].size}, {speeds[0].threads} threads")
        for column in (
            "mesh",
            "hole",
            "fps",
            "processor ms a frame",
            "start s",
            "peak MiB",
            "over twice as many",
        ):
            table.add_column(column, justify="right", no_wrap=True)
        for s in speeds:
            longer = "" if s.peak_longer is None else f"{s.peak_longer:.0f}"
            table.add_row(
                s.mesh,
                f"{100 * s.hole:.1f} %",
                f"{s.fps:.1f}",
                f"{s.cpu_ms:.1f}",
                f"{s.start_s:.2f}",
                f"{s.peak_mib:.0f}",
                longer,
            )
        console.print(table)
    for sentence in missing:
        console.print(sentence, highlight=False, soft_wrap=True)
    for check in checks:
        verdict = {True: "passed", False: "MISSED", None: "not measured"}[check.passed]
        console.print(f"gate, {verdict}: {check.sentence}", highlight=False, soft_wrap=True)


def _number(value: float | None, digits: int) -> str:
    return "-" if value is None else f"{value:.{digits}f}"
