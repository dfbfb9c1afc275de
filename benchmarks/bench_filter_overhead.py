# SPDX-License-Identifier: BSD-2-Clause
"""What a filter itself costs, beside the inference that it wraps, on 1080p: dnn_sr to 4K, lowrank_pre.

For each model, backend, precision and thread count, in one run and interleaved:

\b
bare       OpenVINO on model.onnx, as the filter configures it, tensors allocated once; nothing else
filter     ffmpeg -f rawvideo ... -vf dnn_sr (or lowrank_pre) -f null: decoded frames in, frames thrown away
no filter  the same ffmpeg line without -vf

Each is a process of its own. ffmpeg runs twice, over few and over more frames: the difference is the cost
of a frame, the rest is start-up. The filter's own cost is filter - no filter - bare, stated as a share of
bare; medians over the repetitions. Processor time is the figure to trust on a busy machine; the gate uses it.

\b
  .venv/bin/python benchmarks/bench_filter_overhead.py             some minutes
  .venv/bin/python benchmarks/bench_filter_overhead.py --quick     to see that it works
  .venv/bin/python benchmarks/bench_filter_overhead.py --gate --out benchmarks/results/filter_overhead.json
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median
from typing import Any

import click
from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from clarivid import ffmpeg
from clarivid.errors import Error, ToolError
from clarivid.machine import Run, describe, own_peak_mib, timed
from clarivid.models import Model, find_model
from clarivid.parity import FILTERS

GATE_PERCENT = 3.0
SHORT = 2  # frames of the run that is subtracted
# How many frames are timed for one of --frames, so that each run takes about as long.
RATES = {("sr", "fp32"): 1, ("sr", "bf16"): 3, ("lowrank", "fp32"): 15, ("lowrank", "bf16"): 30}


@dataclass(frozen=True)
class Cost:
    """A frame's cost in ms, and the start-up and peak memory of the process."""

    wall_ms: float
    cpu_ms: float
    start_ms: float
    peak_mib: float


def per_frame(short: Run, long: Run, frames: int) -> Cost:
    """The cost of one of the ``frames`` by which the runs differ."""
    wall, cpu = (long.wall - short.wall) / frames, (long.cpu - short.cpu) / frames
    return Cost(1000 * wall, 1000 * cpu, 1000 * (short.wall - SHORT * wall), long.peak_mib)


def ffmpeg_cost(program: Path, source: Path, size: str, filters: str | None, frames: int) -> Cost:
    """ffmpeg over raw frames that are read again and again."""
    runs = []
    for count in (SHORT, SHORT + frames):
        command = [str(program), "-nostdin", "-v", "error", "-stream_loop", "-1", "-f", "rawvideo"]
        command += ["-pix_fmt", "yuv420p", "-s", size, "-r", "25", "-i", str(source), "-frames:v", str(count)]
        command += ["-vf", filters] if filters else []
        runs.append(timed([*command, "-f", "null", "-"]))
    return per_frame(runs[0], runs[1], frames)


def bare_cost(model: Model, source: Path, size: str, precision: str, threads: int, frames: int) -> Cost:
    """Inference alone, in a process of its own."""
    command = [sys.executable, __file__, "--bare", str(model.onnx), str(source), size]
    command += [precision, str(threads), str(frames)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise ToolError(f"bare inference failed: {done.stderr.strip().splitlines()[-1:]}")
    return Cost(**json.loads(done.stdout))


def bind_strength(model: Any) -> None:
    """Make the input "strength" the constant 1, as the filter's backend does."""
    import numpy as np
    from openvino import opset13

    parameter = next(p for p in model.get_parameters() if "strength" in p.output(0).get_names())
    parameter.output(0).replace(opset13.constant(np.ones(1, np.float32)).output(0))
    model.remove_parameter(parameter)


def bare(arguments: Sequence[str]) -> None:
    """The process that :func:`bare_cost` starts; prints a :class:`Cost` as JSON."""
    start = time.perf_counter()
    import numpy as np
    import openvino as ov

    from clarivid.parity.planes import net_tensor

    onnx, source, size = arguments[:3]
    precision, threads, frames = arguments[3], int(arguments[4]), int(arguments[5])
    width, height = (int(value) for value in size.split("x"))
    data = np.fromfile(source, np.uint8, width * height * 3 // 2)
    chroma = data[width * height :].reshape(2, height // 2, width // 2)
    model = ov.Core().read_model(onnx)
    layout = "y" if model.inputs[0].partial_shape[1] == 1 else "yuv420_s2d"
    planes = [data[: width * height].reshape(height, width), chroma[0], chroma[1]]
    tensor = net_tensor(layout, planes, 8, False)
    if len(model.inputs) > 1:
        bind_strength(model)
    model.reshape(list(tensor.shape))
    options: dict[str, Any] = {"INFERENCE_PRECISION_HINT": "f32" if precision == "fp32" else precision}
    options |= {"INFERENCE_NUM_THREADS": threads, "NUM_STREAMS": 1, "ENABLE_CPU_PINNING": False}
    request = ov.Core().compile_model(model, "CPU", options).create_infer_request()
    # The request's own tensors: allocated once, and aligned, which arrays of numpy are not.
    request.get_input_tensor().data[:] = tensor
    for _ in range(SHORT):
        request.infer()
    wall, cpu = time.perf_counter(), time.process_time()
    started = wall - start
    for _ in range(frames):
        request.infer()
    each = [
        1000 * (end - begin) / frames
        for begin, end in ((wall, time.perf_counter()), (cpu, time.process_time()))
    ]
    peak = own_peak_mib()
    print(json.dumps(asdict(Cost(each[0], each[1], 1000 * started - SHORT * each[0], peak))))


def backends_for(model: Model, precision: str) -> tuple[str, ...]:
    """OpenVINO, and our own kernels where they know the net; what is bare is OpenVINO for both."""
    architecture = model.card.get("architecture", {})
    upscaler = architecture.get("type") == "sr_luma" and not architecture["attention"]
    own = upscaler or architecture.get("type") == "lowrank_chain"
    return ("openvino", "cpu") if own and precision == "fp32" else ("openvino",)


def middle(costs: Sequence[Cost]) -> Cost:
    """The median of each figure."""
    columns = zip(*(asdict(cost).values() for cost in costs), strict=True)
    return Cost(*(median(column) for column in columns))


def summarise(
    model: str, backend: str, threads: int, precision: str, costs: dict[str, list[Cost]]
) -> dict[str, Any]:
    """One row of the result: medians, and what the filter itself adds, in % of bare inference.

    What it adds is the median of each repetition's difference: repetitions differ more than their parts.
    """
    found = {way: middle(values) for way, values in costs.items()}
    own = {}
    for clock in ("wall_ms", "cpu_ms"):
        ms = [[float(getattr(cost, clock)) for cost in costs[way]] for way in ("filter", "no_filter", "bare")]
        own[clock] = median(whole - idle - net for whole, idle, net in zip(*ms, strict=True))
        own[clock.replace("ms", "percent")] = 100 * own[clock] / float(getattr(found["bare"], clock))
    return {
        "model": model,
        "backend": backend,
        "threads": threads,
        "precision": precision,
        "fps": 1000 / found["filter"].wall_ms,
        "own": own,
        **{way: asdict(cost) for way, cost in found.items()},
        "samples": {way: [asdict(cost) for cost in values] for way, values in costs.items()},
    }


def show(rows: Sequence[dict[str, Any]], console: Console) -> None:
    """The table for people."""
    table = Table(
        title="1080p (dnn_sr: to 4K), ms a frame", caption="medians; filter's own = filter - no filter - bare"
    )
    keys = ("model", "backend", "precision", "threads")
    titles = ("clock", "bare", "filter", "no filter", "filter's own", "share", "fps", "start ms", "peak MiB")
    for title in (*keys, *titles):
        left = title == "clock" or title in keys[:3]
        table.add_column(title, justify="left" if left else "right", no_wrap=True)
    for row in rows:
        for clock, name in (("cpu_ms", "processor"), ("wall_ms", "wall")):
            cells = [str(row[key]) if clock == "cpu_ms" else "" for key in keys]
            cells.append(name)
            cells += [f"{row[way][clock]:.1f}" for way in ("bare", "filter", "no_filter", "own")]
            cells.append(f"{row['own'][clock.replace('ms', 'percent')]:+.2f} %")
            if clock == "wall_ms":
                filter_ = row["filter"]
                cells += [f"{row['fps']:.2f}", f"{filter_['start_ms']:.0f}", f"{filter_['peak_mib']:.0f}"]
            table.add_row(*cells, end_section=clock == "wall_ms")
    console.print(table)


@click.command(help=__doc__, context_settings={"help_option_names": ["-h", "--help"]})
@click.option(
    "--model",
    "models",
    multiple=True,
    default=("game_x2", "lowrank_v1"),
    show_default=True,
    help="A bundle's name or path.",
)
@click.option("--size", default="1920x1080", show_default=True, help="Of the source; even numbers.")
@click.option("--threads", multiple=True, type=int, default=(1, 2), show_default=True)
@click.option("--precision", multiple=True, type=click.Choice(["fp32", "bf16"]), default=("fp32", "bf16"))
@click.option(
    "--frames", default=8, show_default=True, help="Frames that are timed, each time; more of fast nets."
)
@click.option("--repeat", default=5, show_default=True, help="Times that everything is done.")
@click.option("--quick", is_flag=True, help="Two frames, once: shows that it works, not how fast it is.")
@click.option(
    "--gate", is_flag=True, help=f"Exit with 1 when the filter's own cost is over {GATE_PERCENT:g} %."
)
@click.option("--out", type=click.Path(path_type=Path), help="Write the results here as JSON.")
def main(
    models: tuple[str, ...],
    size: str,
    threads: tuple[int, ...],
    precision: tuple[str, ...],
    frames: int,
    repeat: int,
    quick: bool,
    gate: bool,
    out: Path | None,
) -> None:
    """Entry point."""
    frames, repeat = (2, 1) if quick else (frames, repeat)
    machine = describe()
    console = Console()
    if not console.is_terminal:
        console = Console(width=150)
    try:
        bundles = {name: find_model(name) for name in models}
        configurations = [
            (name, backend, p, t)
            for name in models
            for p in precision
            for backend in backends_for(bundles[name], p)
            for t in threads
        ]
        costs: dict[tuple[str, str, str, int], dict[str, list[Cost]]] = {
            configuration: {"bare": [], "filter": [], "no_filter": []} for configuration in configurations
        }
        built = ffmpeg.find()
        with tempfile.TemporaryDirectory(prefix="clarivid-bench-") as work:
            source = Path(work) / "frames.yuv"
            command = [
                str(built.ffmpeg),
                "-v",
                "error",
                "-f",
                "lavfi",
                "-i",
                f"testsrc2=s={size},noise=alls=8",
            ]
            timed([*command, "-frames:v", "4", "-f", "rawvideo", "-pix_fmt", "yuv420p", str(source)])
            with Progress(console=Console(stderr=True)) as progress:
                task = progress.add_task("", total=repeat * len(configurations))
                for round_ in range(repeat):
                    for name, backend, p, t in configurations:
                        what = f"{round_ + 1}/{repeat} {name} {backend} {p}, threads {t}"
                        progress.update(task, description=what)
                        # threads= of ffmpeg's own parts does not matter here: raw frames, no encoder.
                        bundle = bundles[name]
                        filters = f"{FILTERS[bundle.task]}=model={name}:precision={p}:threads={t}"
                        filters += f":backend={backend}"
                        found = costs[name, backend, p, t]
                        count = frames * (1 if quick else RATES[bundle.task, p])
                        found["bare"].append(bare_cost(bundle, source, size, p, t, count))
                        found["filter"].append(ffmpeg_cost(built.ffmpeg, source, size, filters, count))
                        found["no_filter"].append(ffmpeg_cost(built.ffmpeg, source, size, None, 10 * frames))
                        progress.advance(task)
    except Error as error:
        raise SystemExit(f"bench_filter_overhead: error: {error}") from None
    rows = [summarise(name, backend, t, p, found) for (name, backend, p, t), found in costs.items()]
    show(rows, console)
    slow = [row for row in rows if row["own"]["cpu_percent"] > GATE_PERCENT]
    console.print(f"gate, at most {GATE_PERCENT:g} % of processor time: {'MISSED' if slow else 'passed'}")
    if out is not None:
        out.parent.mkdir(parents=True, exist_ok=True)
        record: dict[str, Any] = {
            "what": "filter_overhead",
            "machine": machine,
            "size": size,
        }
        record |= {"frames": frames, "repeat": repeat, "ffmpeg": built.version, "rows": rows}
        out.write_text(json.dumps(record, indent=1) + "\n", "utf-8")
        console.print(str(out))
    if gate and slow:
        raise SystemExit(1)


if __name__ == "__main__":
    if sys.argv[1:2] == ["--bare"]:
        bare(sys.argv[2:])
    else:
        main()
