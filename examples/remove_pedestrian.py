# SPDX-License-Identifier: BSD-2-Clause
"""Everybody vanishes from a real scene before a fixed camera; masks by background subtraction.

\b
  .venv/bin/python examples/remove_pedestrian.py

The clip is vtest.avi of Debian's opencv-doc: a campus, passers-by, one man who stands and waits. What differs
from the median of the whole film is masked (clarivid.masks), shadows included, and clarivid.Inpainter, which
is the filter mesh_inpaint on numpy pictures, fills it with what was behind.

Leaves clean.mp4, side_by_side.mp4 and sheet.png in out/examples/remove_pedestrian/.
"""

from __future__ import annotations

import sys
from pathlib import Path

import click
import cv2
import numpy as np

import clarivid
from clarivid.bars import bar
from clarivid.errors import Error
from clarivid.inpaint_bench.scenes import decode
from clarivid.inpaint_bench.walker import Planes
from clarivid.masks import Background, Frame, MovingOptions, moving_mask
from clarivid.packages import fetch_deb
from show import write

FIRST, FPS = 460, 10  # of vtest.avi
LENGTH = 795


def full(picture: Planes) -> Frame:
    """Y'CbCr at full size, [H, W, 3]: what differences are looked for in."""
    y, *chroma = picture
    height, width = y.shape
    return np.dstack([y, *(cv2.resize(plane, (width, height)) for plane in chroma)])


def run(out: Path, frames: int, model: str) -> list[Path]:
    """The whole example; returns what it wrote. Raises :class:`clarivid.Error`."""
    out.mkdir(parents=True, exist_ok=True)
    source = fetch_deb("opencv-doc").one("**/vtest.avi")
    shown = decode(source, frames, "null", FIRST)
    # Sixty pictures spread over the film: who waits for ten seconds is no background then.
    spread = decode(source, 60, f"select=not(mod(n\\,{LENGTH // 60}))")
    options = MovingOptions()
    background = Background.of([full(picture) for picture in spread], options.shake)
    masks = moving_mask([full(picture) for picture in shown], options, background)
    inpainter = clarivid.Inpainter(model)
    result = []
    with bar("mesh_inpaint") as (progress, task):
        progress.update(task, total=frames)
        for planes in inpainter.process(zip(shown, masks, strict=True)):
            result.append((planes[0], planes[1], planes[2]))
            progress.update(task, advance=1)
    stats = inpainter.stats
    click.echo(
        f"{stats.pictures} pictures, model {inpainter.name}, {stats.paintings} of them painted in part"
    )
    return write(out, shown, masks, result, FPS)


@click.command(help=__doc__, context_settings={"help_option_names": ["-h", "--help"]})
@click.option("--out", type=click.Path(path_type=Path), default=Path("out/examples/remove_pedestrian"))
@click.option("--frames", default=150, show_default=True, type=click.IntRange(5, LENGTH - FIRST))
@click.option("--model", default="auto", show_default=True, help='Of the Inpainter; "none": no net.')
def main(out: Path, frames: int, model: str) -> None:
    """Entry point."""
    try:
        paths = run(out, frames, model)
    except Error as error:
        sys.exit(f"remove_pedestrian: error: {error}")
    click.echo("\n".join(str(path) for path in paths))


if __name__ == "__main__":
    main()
