# SPDX-License-Identifier: BSD-2-Clause
"""``clarivid score``: PSNR, SSIM and VMAF of one clip against another."""

from __future__ import annotations

import json
from pathlib import Path

import click

EPILOG = """\b
Examples:
  clarivid score upscaled.mp4 original.mp4
  clarivid score upscaled.mp4 original.mp4 --json | jq .vmaf

\b
psnr_y    PSNR of luma in dB, at most 60 for 8 bit; mean over frames, as the others
ssim      SSIM of luma, 0..1
vmaf      VMAF, model vmaf_v0.6.1, 0..100
vmaf_neg  VMAF-NEG, model vmaf_v0.6.1neg: gives nothing for sharpening
"""


@click.command(name="score", epilog=EPILOG)
@click.argument("distorted", type=click.Path(path_type=Path))
@click.argument("reference", type=click.Path(path_type=Path))
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def command(distorted: Path, reference: Path, as_json: bool) -> None:
    """Score DISTORTED against REFERENCE with libvmaf.

    Both must have the same size and the same number of frames, which are paired by number.
    """
    from clarivid import quality

    scores = quality.compare(distorted, reference)
    if as_json:
        click.echo(json.dumps(scores.to_dict(), indent=1))
        return
    click.echo(f"frames    {scores.frames}")
    click.echo(f"psnr_y    {scores.psnr_y:.3f} dB")
    click.echo(f"ssim      {scores.ssim:.5f}")
    click.echo(f"vmaf      {scores.vmaf:.2f}")
    click.echo(f"vmaf_neg  {scores.vmaf_neg:.2f}")
