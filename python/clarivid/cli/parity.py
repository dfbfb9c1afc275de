# SPDX-License-Identifier: BSD-2-Clause
"""``clarivid parity``: do PyTorch, the runtimes and the filters give the same pixels?"""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from clarivid.bars import bar
from clarivid.errors import InputError, ToolError

if TYPE_CHECKING:
    from clarivid.models import Model
    from clarivid.parity import Difference, Report
    from clarivid.parity.engine_check import EngineResult
    from clarivid.parity.layers import LayerReport

EPILOG = """\b
Examples:
  clarivid parity game_x2                       all cases on this machine's processor, about a minute
  clarivid parity lowrank_v1 --quick            some of them
  clarivid parity runs/mine --source my.mp4     a bundle by its path, real pictures out of my.mp4
  clarivid parity game_x2 --backend cuda        our kernels on the GPU, and the filter on CUDA frames
  clarivid parity game_x2 --precision int8 --calibrate my.mp4
  clarivid parity game_x2 --sharpness 0.5       what lies between its two sets of weights
  clarivid parity game_x2 --layers              which layer departs first?
  clarivid parity game_x2 --backend tensorrt    every engine for this GPU; their sidecars get the result
  clarivid parity game_x2 --json | jq .fp32
"""
CLIP = "concert"  # of clarivid.clips: a picture with lines, text, gradients and motion
CALIBRATION = "castle"  # another one, for int8
EMULATED = 75 * 53  # luma samples; what is larger takes minutes on the emulator


@click.command(name="parity", epilog=EPILOG)
@click.argument("model")
@click.option(
    "--backend",
    "backends",
    multiple=True,
    type=click.Choice(["openvino", "cpu", "cuda", "tensorrt"]),
    help="What runs the net; repeatable. One that cannot run here is an error. [default: openvino, and cpu "
    "for the nets that it knows]",
)
@click.option(
    "--precision",
    "precisions",
    multiple=True,
    type=click.Choice(["fp32", "fp16", "bf16", "int8"]),
    help="Repeatable. [default: what the backend computes in: openvino fp32 and bf16, cpu fp32, cuda fp16, "
    "tensorrt that of each engine]",
)
@click.option(
    "--sharpness",
    default=0.0,
    show_default=True,
    help="0..1: between the two sets of weights of a bundle that has them, blended for PyTorch too.",
)
@click.option("--layers", is_flag=True, help="Compare layer by layer, and name the first that departs.")
@click.option(
    "--source",
    type=click.Path(path_type=Path),
    help=f"Video that the real pictures are cut from; by default the held-out clip '{CLIP}'.",
)
@click.option(
    "--calibrate",
    "videos",
    multiple=True,
    type=click.Path(path_type=Path),
    help=f"Video that int8 is calibrated with; repeatable. By default the held-out clip '{CALIBRATION}'.",
)
@click.option("--no-real", is_flag=True, help="No real pictures: nothing is fetched.")
@click.option("--no-filter", is_flag=True, help="Leave the ffmpeg filter out.")
@click.option("--quick", is_flag=True, help="A few of the cases.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.option("--out", type=click.Path(path_type=Path), help="Also write the JSON into this file.")
def command(
    model: str,
    backends: tuple[str, ...],
    precisions: tuple[str, ...],
    sharpness: float,
    layers: bool,
    source: Path | None,
    videos: tuple[Path, ...],
    no_real: bool,
    no_filter: bool,
    quick: bool,
    as_json: bool,
    out: Path | None,
) -> int:
    """Check that the runtimes and the ffmpeg filter give PyTorch's pixels for MODEL.

    MODEL is a bundle's name or path; with --backend tensorrt alone also the path of a single .onnx file.
    Random, real and adversarial pictures (saturated, checkerboards, edges, single bright samples), 8 and 10
    bit, planar and interleaved chroma, odd sizes, limited and full range; at two strengths if the model has
    one. An inpainting net paints a hole in each, without the filter.

    Exits with 1 when a gate fails: an fp32 code that differs from PyTorch's by more than one, or a real
    picture of fp16 below 60 dB, of bf16 or int8 below 45 dB (docs/parity.md has the table); with --layers,
    when a layer departs; and when something that was asked for cannot run here.
    """
    from clarivid import models
    from clarivid.blend import blended
    from clarivid.engines import bare

    # Engines are built of single files too; everything else is about bundles.
    bundle = bare.find(model) if set(backends) == {"tensorrt"} and not layers else models.find_model(model)
    bundle = blended(bundle, sharpness)
    for video in (*videos, *([source] if source is not None else [])):
        if not video.is_file():
            raise InputError(f"{video} does not exist; --source and --calibrate name videos")
    if layers:
        return _layers(bundle, backends, precisions, _calibration(precisions, videos, no_real), as_json, out)
    if not no_real and source is None:
        source = _clip(CLIP, "--source takes a video of yours, --no-real leaves real pictures out")
    source = None if no_real else source
    others = tuple(backend for backend in backends if backend != "tensorrt")
    report: Report | None = None
    engines: list[EngineResult] = []
    if others or not backends:
        videos = _calibration(precisions, videos, no_real)
        report = _pictures(bundle, others, precisions, source, videos, quick, not no_filter)
    if "tensorrt" in backends:
        engines = _engines(bundle, precisions, source, not no_filter)
    record: dict[str, Any] = report.to_dict() if report is not None else {"model": bundle.name}
    if engines:
        passed = all(engine.passed for engine in engines) and (report is None or report.passed)
        record |= {"passed": passed, "engines": [engine.to_dict() for engine in engines]}
    record["sharpness"] = bundle.sharpness
    _write(record, as_json, out)
    if not as_json:
        if report is not None:
            _print(report, bundle)
        _print_engines(engines)
    return 0 if record["passed"] else 1


def _pictures(
    bundle: Model,
    backends: tuple[str, ...],
    precisions: tuple[str, ...],
    source: Path | None,
    videos: tuple[Path, ...],
    quick: bool,
    with_filter: bool,
) -> Report:
    from clarivid import parity

    largest = EMULATED if "cuda" in backends and _emulated() else 0
    with bar("parity") as (progress, task):
        return parity.check(
            bundle,
            source=source,
            chosen=parity.cases_of(bundle, quick, largest),
            backends=backends,
            precisions=precisions,
            with_filter=with_filter,
            videos=videos,
            progress=lambda label, done, total: progress.update(
                task, completed=done, total=total, note=label
            ),
        )


def _layers(
    bundle: Model,
    backends: tuple[str, ...],
    precisions: tuple[str, ...],
    videos: tuple[Path, ...],
    as_json: bool,
    out: Path | None,
) -> int:
    from clarivid.parity.layers import check_layers

    reports = []
    with bar("layers") as (progress, task):
        for backend in backends or ("openvino",):
            for precision in precisions or ("fp32",):
                note = f"{backend} {precision}"
                progress.update(task, total=1, completed=0, note=note)
                reports.append(check_layers(bundle, backend, precision, videos))
    passed = all(report.passed for report in reports)
    record = {
        "model": bundle.name,
        "sharpness": bundle.sharpness,
        "passed": passed,
        "layers": [report.to_dict() for report in reports],
    }
    _write(record, as_json, out)
    if not as_json:
        for report in reports:
            _print_layers(report, bundle)
    return 0 if passed else 1


def _engines(
    bundle: Model, precisions: tuple[str, ...], source: Path | None, with_filter: bool
) -> list[EngineResult]:
    from clarivid.parity.engine_check import check_engines

    with bar("engines") as (progress, task):
        return check_engines(
            bundle,
            precisions=precisions,
            source=source,
            with_filter=with_filter,
            progress=lambda label, done, total: progress.update(
                task, completed=done, total=total, note=label
            ),
        )


def _emulated() -> bool:
    """Whether the GPU is the emulator of our tests; False without a driver, which is told elsewhere."""
    from clarivid.cuda import Device
    from clarivid.errors import BackendError

    try:
        return "emulator" in Device().name.lower()
    except BackendError:
        return False


def _clip(name: str, way_out: str) -> Path:
    from clarivid import clips

    try:
        return clips.find(name).low()
    except ToolError as error:
        raise ToolError(f"{error}. {way_out}") from error


def _calibration(precisions: tuple[str, ...], videos: tuple[Path, ...], no_real: bool) -> tuple[Path, ...]:
    if "int8" not in precisions or videos or no_real:
        return videos
    return (_clip(CALIBRATION, "--calibrate takes a video of yours"),)


def _write(record: dict[str, Any], as_json: bool, out: Path | None) -> None:
    text = json.dumps(record, indent=1)
    if out is not None:
        try:
            out.write_text(text + "\n", "utf-8")
        except OSError as error:
            raise InputError(f"--out {out} cannot be written: {error.strerror}") from error
    if as_json:
        click.echo(text)


def _print(report: Report, bundle: Model) -> None:
    from rich.table import Table

    from clarivid.cli.models import console
    from clarivid.parity import GATES

    out = console()
    table = Table(
        title=f"{report.model}{_at(bundle)} against {report.reference}",
        box=None,
        pad_edge=False,
        title_justify="left",
    )
    for title in ("pictures", "size", "format", "range", "strength"):
        table.add_column(title, no_wrap=True)
    columns = {(p, way): None for row in report.rows for p, found in row.found.items() for way in found}
    columns = {key: None for p in GATES for key in columns if key[0] == p}
    for precision, way in columns:
        what = "max, differ" if GATES[precision].codes else "PSNR-Y dB, max"
        table.add_column(f"{precision} {way}:\n{what}", justify="right")
    for row in report.rows:
        case = row.case
        size = f"{case.width}x{case.height}"
        cells = [case.source, size, case.pix_fmt, case.range, f"{case.strength:g}"]
        cells += [_cell(precision, row.found.get(precision, {}).get(way)) for precision, way in columns]
        table.add_row(*cells)
    out.print(table)
    for sentence in report.skipped:
        out.print(f"Not compared: {sentence}")
    for verdict in report.verdicts:
        text = f"{verdict.precision}: {_verdict(verdict.passed)}, "
        if verdict.psnr_db is None:
            text += f"largest error {verdict.max_code_error} code values (allowed {GATES['fp32'].codes})"
        else:
            kind = "real" if any(row.case.source == "real" for row in report.rows) else "made"
            text += f"{verdict.psnr_db:.1f} dB at worst on {kind} pictures (at least {verdict.least_db:g})"
            if kind == "real" and verdict.synthetic_db is not None:
                least = verdict.least_synthetic_db
                text += f", {verdict.synthetic_db:.1f} on made ones "
                text += f"(at least {least:g})" if least else "(not judged)"
            text += f"; a sample's error up to {100 * verdict.worst:.1f} % of all codes"
            text += f" (at most {100 * verdict.most:.1f})" if verdict.most else ""
        out.print(text)


def _cell(precision: str, difference: Difference | None) -> str:
    from clarivid.parity import GATES

    if difference is None:
        return "-"
    if GATES[precision].codes:
        return f"{difference.max_code_error}, {100 * difference.differing:.3f} %"
    decibel = "equal" if difference.psnr_db is None else f"{difference.psnr_db:.1f}"
    return f"{decibel}, {difference.max_code_error}"


def _print_layers(report: LayerReport, bundle: Model) -> None:
    from rich.table import Table

    from clarivid.cli.models import console

    out = console()
    title = f"{report.model}{_at(bundle)} in {report.runtime}, {report.precision}, against {report.reference}"
    table = Table(title=title, box=None, pad_edge=False, title_justify="left")
    for column in ("layer", "what", "weights of", "shape"):
        table.add_column(column, no_wrap=True)
    for column in ("largest\nerror", "SQNR\ndB", "own error\n/ expected", ""):
        table.add_column(column, justify="right")
    for layer in report.layers:
        table.add_row(
            layer.name,
            layer.op,
            layer.parameters or "",
            "x".join(str(n) for n in layer.shape),
            f"{layer.max_error:.2e}",
            "exact" if layer.sqnr_db is None else f"{layer.sqnr_db:.1f}",
            f"{layer.own_error:.2g}",
            "departs" if layer.departs else "",
        )
    out.print(table)
    for sentence in report.notes:
        out.print(sentence)
    out.print(report.sentence)


def _at(bundle: Model) -> str:
    return f" at sharpness {bundle.sharpness:g}" if bundle.sharpness else ""


def _print_engines(engines: list[EngineResult]) -> None:
    for engine in engines:
        click.echo(engine.sentence)


def _verdict(passed: bool) -> str:
    return "passed" if passed else "FAILED"
