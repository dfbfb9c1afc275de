# SPDX-License-Identifier: BSD-2-Clause
"""``clarivid parity``: do PyTorch, the runtime and the filter give the same pixels?"""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import click

from clarivid.cli._progress import bar
from clarivid.errors import InputError, ToolError

if TYPE_CHECKING:
    from clarivid.parity import Difference, Report

EPILOG = """\b
Examples:
  clarivid parity game_x2                     all cases, about a minute
  clarivid parity lowrank_v1 --quick          some of them
  clarivid parity runs/mine --source my.mp4   a bundle by its path, real pictures out of my.mp4
  clarivid parity game_x2 --json | jq .fp32
"""
CLIP = "concert"  # of clarivid.clips: a picture with lines, text, gradients and motion


@click.command(name="parity", epilog=EPILOG)
@click.argument("model")
@click.option(
    "--source",
    type=click.Path(path_type=Path),
    help=f"Video that the real pictures are cut from; by default the held-out clip '{CLIP}'.",
)
@click.option("--no-real", is_flag=True, help="Random pictures only: nothing is fetched.")
@click.option("--no-filter", is_flag=True, help="Leave the ffmpeg filter out: PyTorch and the module only.")
@click.option("--quick", is_flag=True, help="A few of the cases.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def command(
    model: str, source: Path | None, no_real: bool, no_filter: bool, quick: bool, as_json: bool
) -> int:
    """Check that PyTorch, OpenVINO and the ffmpeg filter give the same pixels for MODEL.

    MODEL is a bundle's name or path. Random and real pictures, 8 and 10 bit, planar and interleaved chroma,
    odd sizes, limited and full range; at two strengths if the model has one. An inpainting net paints a hole
    in each, without the filter. Exits with 1 when an fp32 code
    differs from PyTorch's by more than one, or bf16 is too far off.
    """
    from clarivid import clips, models, parity

    bundle = models.find_model(model)
    if source is not None and not source.is_file():
        raise InputError(f"{source} does not exist; --source names a video")
    if not no_real and source is None:
        try:
            source = clips.find(CLIP).low()
        except ToolError as error:
            raise ToolError(
                f"{error}. --source takes a video of yours, --no-real compares random pictures only"
            ) from error
    with bar("parity") as (progress, task):

        def show(label: str, done: int, total: int) -> None:
            progress.update(task, completed=done, total=total, note=label)

        report = parity.check(
            bundle,
            source=None if no_real else source,
            chosen=parity.cases_of(bundle, quick),
            ways=[way for way in parity.WAYS if way != "filter" or not no_filter],
            progress=show,
        )
    if as_json:
        click.echo(json.dumps(report.to_dict(), indent=1))
    else:
        _print(report)
    return 0 if report.passed else 1


def _print(report: Report) -> None:
    from rich.table import Table

    from clarivid.cli.models import console
    from clarivid.parity import FP32_CODES

    out = console()
    table = Table(
        title=f"{report.model} against PyTorch in fp32", box=None, pad_edge=False, title_justify="left"
    )
    for title in ("pictures", "size", "format", "range", "strength"):
        table.add_column(title, no_wrap=True)
    for way in report.rows[0].fp32:
        table.add_column(f"fp32 {way}:\nmax, differ", justify="right")
    for way in report.rows[0].bf16:
        table.add_column(f"bf16 {way}:\nPSNR-Y dB, max", justify="right")
    for row in report.rows:
        case = row.case
        cells = [
            case.source,
            f"{case.width}x{case.height}",
            case.pix_fmt,
            case.range,
            f"{case.strength:g}",
        ]
        cells += [f"{d.max_code_error}, {100 * d.differing:.3f} %" for d in row.fp32.values()]
        cells += [f"{_decibel(d)}, {d.max_code_error}" for d in row.bf16.values()]
        table.add_row(*cells)
    out.print(table)
    for sentence in report.skipped:
        out.print(f"Not compared: {sentence}")
    out.print(
        f"fp32: {_verdict(report.fp32_passed)}, largest error {report.max_code_error} code values "
        f"(allowed {FP32_CODES})"
    )
    if report.bf16_psnr_db is not None:
        out.print(
            f"bf16: {_verdict(report.bf16_passed)}, {report.bf16_psnr_db:.1f} dB at worst on real pictures "
            f"(at least {report.bf16_least_db:.0f})"
        )


def _decibel(difference: Difference) -> str:
    return "equal" if difference.psnr_db is None else f"{difference.psnr_db:.1f}"


def _verdict(passed: bool) -> str:
    return "passed" if passed else "FAILED"
