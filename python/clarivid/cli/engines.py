# SPDX-License-Identifier: BSD-2-Clause
"""``clarivid engines``: build, list, verify and prune engines."""

from __future__ import annotations

import json
import time
from datetime import datetime, timezone
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from rich.table import Table

from clarivid.errors import InputError

if TYPE_CHECKING:
    from clarivid.engines import EngineCache, Entry, Fault

_AGES = {"m": 60, "h": 3600, "d": 86400, "w": 7 * 86400}
_LARGE = 64 << 20  # bytes of an engine that is worth a word
_SIZES = {"K": 1 << 10, "M": 1 << 20, "G": 1 << 30, "T": 1 << 40}


@click.group(
    name="engines",
    epilog="""\b
Examples:
  clarivid engines build                                    all for dnn_sr and lowrank_pre, for this GPU
  clarivid engines build game_x2 --for t4,l4 --shapes 720p,1080p --runtime tensorrt-rtx
  clarivid engines list
  clarivid engines verify && echo "all whole"
  clarivid engines prune --older-than 90d --max-size 2G
""",
)
def command() -> None:
    """Build, list, verify and prune engines: nets compiled for one GPU.

    Engines lie in the cache's engines/ (CLARIVID_CACHE); read-only folders that are looked at first are named
    in CLARIVID_ENGINE_PATH. An engine is code: use only those that you built or whose digest you know.
    """


@command.command(
    "build",
    epilog="""\b
Examples:
  clarivid engines build game_x2 --for this --shapes 1080p
  clarivid engines build game_x2 lowrank_v1 --for t4,a10,l4 --runtime tensorrt-rtx --precision fp16
  clarivid engines build game_x2 --precision int8 --calibrate mine.mp4
  clarivid engines build game_x2 --sharpness 0.5              what dnn_sr=model=game_x2:sharpness=0.5 takes
  clarivid engines build mine.onnx --precision fp32           a single file, as model=mine.onnx of dnn_sr
  clarivid engines build --for sm_89 --shapes dynamic --json | jq -r '.[].path'
""",
)
@click.argument("models", nargs=-1)
@click.option(
    "--for",
    "devices",
    default="this",
    show_default=True,
    help="GPUs, with commas: this (those of this machine), SKUs (t4, a10, l4, h100, ...), capabilities "
    "(sm_89). What is not here needs a runtime that builds without the GPU.",
)
@click.option(
    "--precision",
    type=click.Choice(["fp16", "fp32", "bf16", "int8"]),
    default="fp16",
    show_default=True,
    help="Of the net's convolutions. fp16 and fp32 are in the bundle, bf16 and int8 are made of them.",
)
@click.option(
    "--sharpness",
    default=0.0,
    show_default=True,
    help="0..1: between the two sets of weights of a bundle that has them, as the option of dnn_sr. An "
    "engine is for one value of it.",
)
@click.option(
    "--calibrate",
    "videos",
    multiple=True,
    type=click.Path(path_type=Path),
    help="A video like yours, for int8; repeatable. Twelve pictures of each: half set the scales, half are "
    "compared with fp32.",
)
@click.option(
    "--shapes",
    default="1080p",
    show_default=True,
    help="Pictures, with commas: 480p, 540p, 720p, 1080p, 1440p, 2160p, WIDTHxHEIGHT (an engine each, the "
    "fastest), or dynamic (one for all sizes to 2160p, a little slower).",
)
@click.option(
    "--runtime",
    "runtime_name",
    type=click.Choice(["tensorrt", "tensorrt-rtx"]),
    help="What builds and runs the engine. [default: the first of these that is installed]",
)
@click.option(
    "--level",
    default=3,
    show_default=True,
    type=click.IntRange(0, 5),
    help="How hard the builder searches: minutes at 5, seconds at 1.",
)
@click.option(
    "--workspace", default=0, type=click.IntRange(0), help="MiB of device memory a layer may take; 0: all."
)
@click.option(
    "--version-compatible",
    is_flag=True,
    help="Later releases of the runtime's major run it too, and libnvinfer_lean does (tensorrt only). It is "
    "larger, starts later, and some layers are slower.",
)
@click.option(
    "--hardware-compatible",
    is_flag=True,
    help="Every GPU from Ampere on runs it (tensorrt only). Slower: it may use no more than what all have.",
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON: a list of objects.")
def build_command(
    models: tuple[str, ...],
    devices: str,
    precision: str,
    sharpness: float,
    videos: tuple[Path, ...],
    shapes: str,
    runtime_name: str | None,
    level: int,
    workspace: int,
    version_compatible: bool,
    hardware_compatible: bool,
    as_json: bool,
) -> int:
    """Build engines of MODELS (without any: of every model that dnn_sr and lowrank_pre run) into the cache.

    What is there already, whole, is not built again. Several of these commands may run at once. Exits with 1
    when there is one that could not be built, which is named, after building the others.
    """
    from clarivid.bars import bar
    from clarivid.blend import blended
    from clarivid.engines import Failed, Options, Runtime, build, installed, plan, targets
    from clarivid.engines.bare import find
    from clarivid.engines.runtimes import INSTALL
    from clarivid.engines.status import TASKS
    from clarivid.models import list_models

    if runtime_name is None:
        found = installed()
        if not found:
            raise InputError("no builder of engines is installed: " + "; or ".join(INSTALL.values()))
        runtime = found[0]
    else:
        runtime = Runtime(runtime_name)
    chosen = [find(name) for name in models] or [
        m for m in list_models() if m.task in TASKS and (m.has_sharpness or not sharpness)
    ]
    chosen = [blended(model, sharpness) for model in chosen]
    options = Options(level, workspace, version_compatible, hardware_compatible)
    problems: list[str] = []
    jobs = plan(
        chosen,
        targets.devices(devices),
        lambda model: targets.profiles(shapes, model),
        precision,
        runtime,
        options,
        videos,
        lambda _device, problem: problems.append(problem),
    )
    cache = _cache()
    rows: list[dict[str, Any]] = []
    with bar("build") as (progress, task):
        finished = 0

        def tell(phase: str, done: int, total: int) -> None:
            share = 0.99 * done / total if total else 0
            note = f"{jobs[finished].text()}: {phase}"
            progress.update(task, total=len(jobs), completed=finished + share, note=note)

        for made in build(jobs, runtime, options, cache, tell):
            finished += 1
            progress.update(task, total=len(jobs), completed=finished, note=made.job.text())
            if isinstance(made, Failed):
                problems.append(made.problem)
                continue
            rows.append({**_row(made.entry), "built": made.built, "seconds": round(made.seconds, 2)})
            if made.entry.size > _LARGE and made.entry.size > 20 * len(made.job.onnx):
                click.echo(
                    f"clarivid: {made.entry.path.name} has {_mib(made.entry.size)}: {runtime.name} stores "
                    f"values for each position; --shapes dynamic is small for {made.job.device.text()}",
                    err=True,
                )
    for problem in problems:
        click.echo(f"clarivid: error: {problem}", err=True)
    if as_json:
        click.echo(json.dumps(rows, indent=1))
        return 1 if problems else 0
    if not rows:
        return 1
    table = Table(title=f"{len(rows)} engines, {runtime.name} {runtime.version}")
    for column in ("model", "precision", "for", "shape", "size", "", "file"):
        table.add_column(column, no_wrap=True)
    for row in rows:
        done = f"built in {row['seconds']:.1f} s" if row["built"] else "was there"
        table.add_row(
            _name(row),
            row["precision"],
            row["device"],
            row["shape"],
            _mib(row["bytes"]),
            done,
            Path(row["path"]).name,
        )
    _console().print(table)
    click.echo(f"in {cache.folder}")
    if runtime.name == "tensorrt":
        also = f" --sharpness {sharpness:g}" if sharpness else ""
        for name in sorted({row["model"] for row in rows if not (row["parity"] or {}).get("passed")}):
            click.echo(f"for precision=auto to take them: clarivid parity {name} --backend tensorrt{also}")
    return 1 if problems else 0


@command.command("list", epilog="\b\nExample:\n  clarivid engines list --json | jq -r '.[].path'\n")
@click.option("--json", "as_json", is_flag=True, help="Print JSON: a list of objects.")
def list_command(as_json: bool) -> int:
    """List the engines that are there.

    Exits with 1 when an entry cannot be read, after listing the others.
    """
    from clarivid.engines import Fault

    entries: list[Entry] = []
    faults: list[Fault] = []
    for found in _cache().entries():
        if isinstance(found, Fault):
            faults.append(found)
        else:
            entries.append(found)
    if as_json:
        click.echo(json.dumps([_row(entry) for entry in entries], indent=1))
    else:
        table = Table()
        for column in ("model", "precision", "for", "shape", "runtime", "size", "age", "parity", "file"):
            table.add_column(column, no_wrap=True)
        for entry in entries:
            row = _row(entry)
            parity = "-" if entry.parity is None else "passed" if entry.parity.get("passed") else "failed"
            table.add_row(
                _name(row),
                row["precision"],
                row["device"],
                row["shape"],
                f"{row['runtime']} {row['runtime_version']}",
                _mib(row["bytes"]),
                _age(time.time() - entry.created),
                parity,
                str(entry.path),
            )
        _console().print(table)
    return _tell(faults)


@command.command("verify", epilog="\b\nExample:\n  clarivid engines verify || clarivid engines build\n")
@click.option("--json", "as_json", is_flag=True, help="Print JSON: an object with good and bad.")
def verify_command(as_json: bool) -> int:
    """Hash every engine and check every sidecar; exits with 1 and names what is bad.

    Nothing is changed: a bad entry is moved aside when somebody asks for it, or by a new build.
    """
    good, faults = _cache().verify()
    if as_json:
        bad = [{"path": str(fault.path), "problem": fault.problem} for fault in faults]
        click.echo(json.dumps({"good": [_row(entry) for entry in good], "bad": bad}, indent=1))
        return 1 if faults else 0
    click.echo(f"{len(good)} engines are what their sidecars say")
    told = _tell(faults)
    if any(fault.path.suffix in (".engine", ".json") for fault in faults):
        click.echo(
            "clarivid: a bad entry is never used: 'clarivid engines build' with the options that made it "
            "moves it aside and builds it anew, or remove its .engine and .json",
            err=True,
        )
    return told


@command.command(
    "prune",
    epilog="""\b
Examples:
  clarivid engines prune --dry-run --orphaned        that the runtimes as installed do not run
  clarivid engines prune --older-than 90d --max-size 2G
""",
)
@click.option("--older-than", metavar="AGE", help="Not built or used for so long: 12h, 90d, 8w.")
@click.option(
    "--max-size", metavar="SIZE", help="The longest unused go until the rest is no larger: 500M, 2G."
)
@click.option("--orphaned", is_flag=True, help="For versions that the runtimes as installed do not run.")
@click.option("--dry-run", is_flag=True, help="Say what would go.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON: a list of paths.")
def prune_command(
    older_than: str | None, max_size: str | None, orphaned: bool, dry_run: bool, as_json: bool
) -> int:
    """Remove engines, and always what killed processes left behind. Read-only layers are not touched."""
    from clarivid.engines import installed

    gone = _cache().prune(
        older_than=None if older_than is None else _number("--older-than", older_than, _AGES),
        max_bytes=None if max_size is None else int(_number("--max-size", max_size, _SIZES)),
        keep_versions={r.name: r.version for r in installed()} if orphaned else None,
        dry_run=dry_run,
    )
    if as_json:
        click.echo(json.dumps([str(found.path) for found in gone], indent=1))
        return 0
    for found in gone:
        click.echo(f"{'would remove' if dry_run else 'removed'} {found.path}")
    click.echo(f"{len(gone)} files or engines {'would be' if dry_run else 'were'} removed")
    return 0


def _cache() -> EngineCache:
    from clarivid.engines import EngineCache

    return EngineCache(say=lambda sentence: click.echo(f"clarivid: {sentence}", err=True))


def _row(entry: Entry) -> dict[str, Any]:
    key = entry.key
    return {
        "model": key.model,
        "sharpness": key.sharpness,
        "precision": key.precision,
        "device": key.device_text(),
        "shape": key.profile.text(),
        "runtime": key.runtime,
        "runtime_version": key.runtime_version,
        "bytes": entry.size,
        "sha256": entry.sha256,
        "created": datetime.fromtimestamp(entry.created, timezone.utc).isoformat(timespec="seconds"),
        "path": str(entry.path),
        "key": key.as_dict(),
        "parity": entry.parity,
        "builder": entry.sidecar.get("builder"),
    }


def _name(row: dict[str, Any]) -> str:
    return f"{row['model']} at sharpness {row['sharpness']:g}" if row["sharpness"] else str(row["model"])


def _tell(faults: list[Fault]) -> int:
    for fault in faults:
        click.echo(f"clarivid: error: {fault.problem}", err=True)
    return 1 if faults else 0


def _number(option: str, text: str, units: dict[str, int]) -> float:
    try:
        value = float(text[:-1]) * units[text[-1]]
    except (ValueError, KeyError, IndexError):
        raise InputError(f"{option} is a number with one of {', '.join(units)}, not '{text}'") from None
    if not 0 <= value < float("inf"):
        raise InputError(f"{option} is 0 or more, not '{text}'")
    return value


def _mib(size: int) -> str:
    return f"{size / (1 << 20):.1f} MiB"


def _age(seconds: float) -> str:
    for unit, length in reversed(_AGES.items()):
        if seconds >= 2 * length:
            return f"{seconds / length:.0f} {unit}"
    return "now"


def _console() -> Any:
    from clarivid.cli.models import console

    return console()
