# SPDX-License-Identifier: BSD-2-Clause
"""The nets on a GPU: our kernels, whole ffmpeg commands, and the same nets in other runtimes, in one run.

\b
core       sessions of the C ABI on pictures in device memory, timed by CUDA events, launched as a graph, so
           that the GPU never waits for Python (host ms: a frame submitted from Python, for comparison); the
           pictures are more than the L2 cache holds. floor: the time that bytes (input read once, output
           written once) or operations take at what the chip was measured to reach, whichever is longer
ffmpeg     a whole command, wall clock: source, filter, nothing
peers      PyTorch eager and compiled, fp16, channels_last, planes in and planes out; TensorRT where it is
inpaint    mesh_inpaint, 720p, as an ffmpeg command

\b
  python benchmarks/gpu/run.py --seconds 120 --out bench.json
  python benchmarks/gpu/publish.py bench.json summary.json     into benchmarks/results/ and docs/cuda.md

On the emulator (CLARIVID_GPU_EMULATED) everything is tiny and nothing measured means anything.
"""

from __future__ import annotations

import contextlib
import json
import math
import os
import statistics
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import click
import commands
import numpy as np
from ceilings import Ceilings, measure
from rich.console import Console
from rich.table import Table

from clarivid import _core, ffmpeg
from clarivid.cuda import Device, DevicePicture
from clarivid.errors import Error, last_line
from clarivid.models import Model, find_model
from clarivid.picture_filter import PRECISIONS

EMULATED = bool(os.environ.get("CLARIVID_GPU_EMULATED"))
SIZES = {"720p": (1280, 720), "1080p": (1920, 1080), "2160p": (3840, 2160)}
TINY = {"tiny": (64, 48)}
MODELS = ("game_x2", "lowrank_v1")
FILTERS = {"game_x2": "dnn_sr=model=game_x2", "lowrank_v1": "lowrank_pre"}
FORMATS = {"nv12": (2, 1), "p010le": (4, 2)}  # clv_pixel_format, bytes of a sample
# DESIGN.md, "Numbers to reach", for an H100 at 1080p and nv12: frames a second.
TARGETS = {"game_x2": {"bar": 535, "aim": 1500}, "lowrank_v1": {"bar": 2800, "aim": 10000}}
PARTS = ("core", "ffmpeg", "peers", "inpaint")


@dataclass
class Row:
    """One measurement. ``ms`` is a frame's; ``floor_ms`` and what follows hold for whole frames only."""

    part: str
    what: str
    model: str
    size: str
    format: str
    ms: float
    fps: float = 0
    floor_ms: float | None = None
    gb_s: float | None = None
    tflop_s: float | None = None
    spread: tuple[float, float] | None = None
    start_ms: float | None = None
    host_ms: float | None = None
    graph: bool = False

    def __post_init__(self) -> None:
        self.fps = 1000 / self.ms if self.ms > 0 else math.inf


@dataclass
class Bench:
    """What has been measured, and what time there is left for more."""

    device: Device
    seconds: float
    ceilings: Ceilings
    console: Console
    rows: list[Row] = field(default_factory=list)
    left_out: list[str] = field(default_factory=list)
    started: float = field(default_factory=time.monotonic)

    def left(self) -> float:
        """Seconds until the end."""
        return self.seconds - (time.monotonic() - self.started)

    @contextlib.contextmanager
    def attempt(self, what: str, needs: float) -> Iterator[bool]:
        """A measurement that may fail, or not fit into the time: then it is named with the reason."""
        if self.left() < needs:
            self.left_out.append(f"{what}: no time was left ({self.left():.0f} s of {self.seconds:.0f} s)")
            yield False
            return
        try:
            yield True
        except (Error, RuntimeError, OSError, ImportError, MemoryError) as error:
            self.left_out.append(f"{what}: {type(error).__name__}: {last_line(str(error))}")

    def add(self, row: Row) -> None:
        """Keeps and prints a row."""
        self.rows.append(row)
        self.console.print(
            f"{row.part:8} {row.what:30} {row.model:11} {row.size:6} {row.format:7} {row.ms:9.4f} ms"
        )


def picture_bytes(width: int, height: int, item: int) -> int:
    """Of all samples of a 4:2:0 picture."""
    return (width * height + 2 * ((width + 1) // 2) * ((height + 1) // 2)) * item


def operations(bundle: Model, width: int, height: int) -> float:
    """Floating-point operations of a frame: two for each multiplication and addition."""
    return 2e9 * float(bundle.card["gmac_1080p"]) * width * height / (1920 * 1080)


def random_picture(device: Device, width: int, height: int, pix_fmt: str, seed: int) -> DevicePicture:
    """A picture of noise."""
    random = np.random.default_rng(seed)
    ten = pix_fmt == "p010le"
    shapes = ((height, width), ((height + 1) // 2, 2 * ((width + 1) // 2)))
    planes = [random.integers(0, 1024 if ten else 256, shape) << (6 if ten else 0) for shape in shapes]
    made = device.picture(width, height, pix_fmt)
    made.upload([plane.astype(np.uint16 if ten else np.uint8) for plane in planes])
    return made


def time_core(
    bench: Bench, name: str, size: tuple[int, int], pix_fmt: str, seconds: float, backend: str = "cuda"
) -> tuple[list[float], float, bool]:
    """Milliseconds a frame of each batch, what submitting one costs the host, and whether a graph was it."""
    device = bench.device
    code, item = FORMATS[pix_fmt]
    stream = device.stream()
    model = _core.Model(str(find_model(name).folder))
    look = _core.Format(*size, code, range=1, memory=1)
    where = _core.CudaDevice(device.context, stream.handle)
    # By name: auto takes engines that passed `clarivid parity` only.
    session = _core.Session(model, look, backend=backend, precision=PRECISIONS["fp16"], cuda=where)
    out = (session.output.width, session.output.height)
    each = picture_bytes(*size, item) + picture_bytes(*out, item)
    count = 2 if EMULATED else min(64, max(8, math.ceil(3 * device.attribute(38) / each)))
    pairs = [
        (random_picture(device, *size, pix_fmt, seed), device.picture(*out, pix_fmt)) for seed in range(count)
    ]
    planes = [(source.planes, result.planes) for source, result in pairs]

    def submit() -> None:
        for source, result in planes:
            session.process(source, result)

    submit()  # warms up
    stream.synchronise()
    began = time.perf_counter()
    submit()
    host_ms = 1000 * (time.perf_counter() - began) / count
    work = submit
    with contextlib.suppress(Error, AttributeError):  # what cannot be recorded is timed call by call
        work = stream.capture(submit).launch
    start, end = device.event(), device.event()
    times: list[float] = []
    began = time.monotonic()
    while len(times) < (1 if EMULATED else 9) or (not EMULATED and time.monotonic() - began < seconds):
        start.record(stream.handle)
        work()
        end.record(stream.handle)
        times.append(max(end.milliseconds_since(start) / count, 1e-6))
    return times[min(2, len(times) - 1) :], host_ms, work != submit


def core(bench: Bench, sizes: dict[str, tuple[int, int]]) -> None:
    """Our kernels alone."""
    order = sorted(sizes, key=lambda size: size != "1080p")  # what the promises are about comes first
    for size in order:
        for pix_fmt, (_, item) in FORMATS.items():
            for name in MODELS:
                with bench.attempt(f"core {name} {size} {pix_fmt}", 3) as go:
                    if not go:
                        continue
                    bundle, (width, height) = find_model(name), sizes[size]
                    times, row_host, graph = time_core(bench, name, (width, height), pix_fmt, 0.5)
                    ms = statistics.median(times)
                    moved = picture_bytes(width, height, item) * (1 + bundle.scale**2)
                    work = operations(bundle, width, height)
                    row = Row(
                        "core", "clarivid cuda", name, size, pix_fmt, ms, spread=(min(times), max(times))
                    )
                    row.host_ms, row.graph = row_host, graph
                    row.gb_s, row.tflop_s = moved / ms / 1e6, work / ms / 1e9
                    floors = [moved / bench.ceilings.copy_gb_s / 1e6]
                    if bench.ceilings.fp16_tflop_s:
                        floors.append(work / bench.ceilings.fp16_tflop_s / 1e9)
                    row.floor_ms = max(floors)
                    bench.add(row)


def engines(bench: Bench, sizes: dict[str, tuple[int, int]]) -> None:
    """The same nets through backend=tensorrt, in fp16, beside backend=cuda's rows of :func:`core`."""
    from clarivid.engines import EngineCache, Failed, Options, Runtime, build, plan, targets

    size = "1080p" if "1080p" in sizes else next(iter(sizes))
    words = "x".join(map(str, sizes[size]))
    for name in MODELS:
        with bench.attempt(f"backend tensorrt, {name} {size}", 60) as go:
            if not go:
                continue
            runtime, bundle = Runtime("tensorrt"), find_model(name)
            jobs = plan(
                [bundle],
                targets.this_machine()[:1],
                lambda model: targets.profiles(words, model),
                "fp16",
                runtime,
                Options(),
            )
            for made in build(jobs, runtime, Options(), EngineCache()):
                if isinstance(made, Failed):
                    raise RuntimeError(made.problem)
            times, host_ms, graph = time_core(bench, name, sizes[size], "nv12", 0.5, "tensorrt")
            row = Row("core", "clarivid tensorrt", name, size, "nv12", statistics.median(times))
            row.spread, row.host_ms, row.graph = (min(times), max(times)), host_ms, graph
            bench.add(row)


def whole_commands(bench: Bench, sizes: dict[str, tuple[int, int]], clips: dict[str, Path]) -> None:
    """ffmpeg, with each of the sources."""
    program = ffmpeg.find().ffmpeg
    short, frames = (1, 1) if EMULATED else (20, 2000)
    size = "1080p" if "1080p" in sizes else next(iter(sizes))
    for command in commands.sources(*sizes[size], "nv12", clips.get(size)):
        slow = command.name != "frames on the device"
        for name in (*MODELS, ""):
            what = f"ffmpeg: {command.name}"
            with bench.attempt(f"{what}, {name or 'no filter'}", 12) as go:
                if go:
                    count = max(1, frames // 5) if slow or name == "game_x2" else frames
                    ms, start = commands.milliseconds(program, command, FILTERS.get(name, ""), short, count)
                    row = Row("ffmpeg", command.name, name or "no filter", size, "nv12", max(ms, 1e-6))
                    row.start_ms = start
                    bench.add(row)


def peers(bench: Bench, sizes: dict[str, tuple[int, int]]) -> None:
    """PyTorch and TensorRT on 1080p, nv12."""
    import peers as others
    import tensorrt_peer as tensorrt
    import torch

    if not torch.cuda.is_available():
        bench.left_out.append("peers: PyTorch sees no GPU")
        return
    size = "1080p"
    ways: list[tuple[str, float, Callable[[Any], Any]]] = [
        ("PyTorch eager fp16", 5, lambda net: net),
        ("PyTorch compiled fp16", 45, others.compiled),
    ]
    pictures = others.frames(*sizes[size], 8, 12)
    for what, needs, make in ways:
        for name in MODELS:
            with bench.attempt(f"{what} {name}", needs) as go:
                if go:
                    net = others.frame_net(find_model(name), 8, torch.float16)
                    timing = others.time_frames(make(net), pictures, 1.0)
                    spread = (timing.least, timing.most)
                    bench.add(Row("peers", what, name, size, "nv12", timing.ms, spread=spread))
    runtime = tensorrt.find()
    if runtime is None:
        bench.left_out.append(f"TensorRT: none of {', '.join(tensorrt.MODULES)} can be imported here")
        return
    for name in MODELS:
        what = f"{runtime.__name__} {runtime.__version__}, net alone"
        with bench.attempt(f"{what} {name}", 20) as go:
            if go:
                timing = tensorrt.time_net(runtime, find_model(name), *sizes[size], 1.0)
                bench.add(
                    Row("peers", what, name, size, "fp16", timing.ms, spread=(timing.least, timing.most))
                )


def inpaint(bench: Bench, clips: dict[str, Path]) -> None:
    """mesh_inpaint at 720p on the device and on the processor."""
    clip = clips.get("720p")
    if clip is None:
        bench.left_out.append("inpaint: there is no pack with a 720p clip")
        return
    program = ffmpeg.find().ffmpeg
    # On the processor the net needs a runtime that may not be here; without it both do the same work.
    ways = (
        ("on the device", "", True),
        ("on the device", "model=none:", True),
        ("on the processor", "model=none:", False),
    )
    for where, options, upload in ways:
        what = f"mesh_inpaint {where}"
        net = "none" if options else "default"
        with bench.attempt(f"{what}, model {net}", 12) as go:
            if go:
                chain = commands.inpaint_chain(40, 1280, 720, options, upload)
                if EMULATED:
                    small = chain.replace("format=nv12,", "scale=96:64,format=nv12,", 1)
                    chain = small.replace("rect=426|240|426|240", "rect=32|20|24|18")
                command = commands.Command(what, ["-i", str(clip)], "")
                counts = (1, 2) if EMULATED else (40, 200)
                ms, start = commands.milliseconds(program, command, chain, *counts)
                size = "tiny" if EMULATED else "720p"
                bench.add(Row("inpaint", what, net, size, "nv12", max(ms, 1e-6), start_ms=start))


def find_clips() -> dict[str, Path]:
    """The coded clips of the pack, by size."""
    folder = Path(os.environ.get("CLARIVID_GPU_PACK", "out/gpu-pack")) / "clips"
    found = {}
    for size in ("720p", "1080p"):
        files = sorted(folder.glob(f"clip-{size}-*"))
        if files:
            found[size] = files[0]
    return found


def highlights(bench: Bench) -> dict[str, Any]:
    """What was promised, beside what came out: nv12 at 1080p."""
    found: dict[str, Any] = {}
    if EMULATED:
        return found
    for name in MODELS:
        rows = [
            row for row in bench.rows if row.model == name and row.size == "1080p" and row.format != "p010le"
        ]
        ours = next((row for row in rows if row.part == "core"), None)
        if ours is None:
            continue
        found[name] = {"fps": round(ours.fps, 1), "ms": ours.ms, "floor_ms": ours.floor_ms, **TARGETS[name]}
        found[name]["times faster than"] = {
            row.what: round(row.ms / ours.ms, 2) for row in rows if row.part == "peers"
        }
        found[name]["whole command fps"] = {
            row.what: round(row.fps, 1) for row in rows if row.part == "ffmpeg"
        }
    return found


def show(bench: Bench) -> None:
    """The table for people."""
    title = "EMULATED: no figure here is that of a GPU" if EMULATED else bench.device.name
    limits = f"measured: copy {bench.ceilings.copy_gb_s:.0f} GB/s"
    if bench.ceilings.fp16_tflop_s:
        limits += f", matrix product fp16 {bench.ceilings.fp16_tflop_s:.0f} TFLOP/s"
    table = Table(title=title, caption=limits)
    for column in ("what", "model", "size", "format"):
        table.add_column(column, no_wrap=True)
    for column in ("ms", "fps", "floor ms", "of floor", "GB/s", "TFLOP/s", "host ms"):
        table.add_column(column, justify="right", no_wrap=True)
    for row in bench.rows:
        cells = [row.what, row.model, row.size, row.format, f"{row.ms:.4f}", f"{row.fps:.0f}"]
        if row.floor_ms is not None:
            cells += [
                f"{row.floor_ms:.4f}",
                f"{row.ms / row.floor_ms:.2f}x",
                f"{row.gb_s:.0f}",
                f"{row.tflop_s:.1f}",
                f"{row.host_ms:.4f}",
            ]
        table.add_row(*cells)
    bench.console.print(table)
    for line in bench.left_out:
        bench.console.print(f"left out: {line}")


@click.command(help=__doc__, context_settings={"help_option_names": ["-h", "--help"]})
@click.option("--seconds", default=120.0, show_default=True, help="After that nothing new is begun.")
@click.option("--part", "parts", multiple=True, type=click.Choice(PARTS), default=PARTS, show_default=True)
@click.option("--out", type=click.Path(path_type=Path), help="Write the results here as JSON.")
def main(seconds: float, parts: tuple[str, ...], out: Path | None) -> None:
    """Entry point."""
    console = Console(width=150)
    try:
        device = Device()
    except Error as error:
        raise SystemExit(f"benchmarks/gpu: error: {error}") from None
    bench = Bench(device, seconds, measure(device, EMULATED), console)
    sizes, clips = (TINY if EMULATED else SIZES), find_clips()
    work: dict[str, Callable[[], None]] = {
        "core": lambda: core(bench, sizes),
        "engines": lambda: (
            bench.left_out.append("engines: not on the emulator") if EMULATED else engines(bench, sizes)
        ),
        "ffmpeg": lambda: whole_commands(bench, sizes, clips),
        "peers": lambda: (
            bench.left_out.append("peers: not on the emulator") if EMULATED else peers(bench, sizes)
        ),
        "inpaint": lambda: inpaint(bench, clips),
    }
    for part in parts:
        with bench.attempt(part, 0) as go:
            if go:
                work[part]()
    show(bench)
    if out is not None:
        out.parent.mkdir(parents=True, exist_ok=True)
        record = {
            "what": "gpu_bench",
            "emulated": EMULATED,
            "date": datetime.now(timezone.utc).date().isoformat(),
            "gpu": device.name,
            "capability": device.capability,
            "ceilings": asdict(bench.ceilings),
            "highlights": highlights(bench),
            "rows": [asdict(row) for row in bench.rows],
            "left_out": bench.left_out,
        }
        out.write_text(json.dumps(record, indent=1) + "\n", "utf-8")
        console.print(str(out))
    if not any(row.part == "core" for row in bench.rows) and "core" in parts:
        raise SystemExit(1)


if __name__ == "__main__":
    main()
