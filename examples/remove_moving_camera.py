# SPDX-License-Identifier: BSD-2-Clause
"""A red sculpture vanishes from a real hand-held shot with parallax; masks by colour.

\b
  .venv/bin/python examples/remove_moving_camera.py

The clip is test.avi of the source package libopenshot: somebody walks past a sculpture, so that the tower and
the houses behind it come out on its other side. Its red makes the masks; they are written as a video of grey
pictures, and our ffmpeg gets both: as `clarivid run mesh_inpaint in.mkv out.mkv --mask mask.mkv` does it.

Leaves clean.mp4, side_by_side.mp4 and sheet.png in out/examples/remove_moving_camera/.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

import click
import cv2
import numpy as np
from numpy.typing import NDArray

from clarivid import chain
from clarivid.cli._progress import bar
from clarivid.errors import Error
from clarivid.ffmpeg.run import LOSSLESS
from clarivid.inpaint_bench import run as bench
from clarivid.inpaint_bench.scenes import decode
from clarivid.inpaint_bench.walker import Planes
from clarivid.packages import fetch_debian_source
from show import write

FPS = 30
LENGTH = 490  # of test.avi, pictures
SURE, LIKELY = 178, 150  # codes of Cr: paint of the sculpture; its shaded sides and edges, if beside it
NEAR = 12  # chroma samples around the body in which further parts belong to it


def red(picture: Planes) -> NDArray[np.bool_]:
    """The largest red thing with what is near it, at full size."""
    y, _, v = picture
    sure = (v > SURE).astype(np.uint8)
    count, _, boxes, _ = cv2.connectedComponentsWithStats(cv2.dilate(sure, np.ones((3, 3), np.uint8)))
    if count < 2:
        return np.zeros(y.shape, bool)
    left, top, width, height, _ = boxes[1 + int(np.argmax(boxes[1:, cv2.CC_STAT_AREA]))]
    inside = np.zeros_like(sure)
    inside[max(top - NEAR, 0) : top + height + NEAR, max(left - NEAR, 0) : left + width + NEAR] = 1
    body = sure * inside
    beside = cv2.dilate(body, np.ones((5, 5), np.uint8)) > 0
    part = (beside & (v > LIKELY)).astype(np.uint8) | body
    full = cv2.resize(part, (y.shape[1], y.shape[0]), interpolation=cv2.INTER_NEAREST)
    return cv2.dilate(full, np.ones((5, 5), np.uint8)) > 0


def run(out: Path, frames: int, options: str) -> list[Path]:
    """The whole example; returns what it wrote. Raises :class:`clarivid.Error`."""
    out.mkdir(parents=True, exist_ok=True)
    source = fetch_debian_source("libopenshot").one("**/libopenshot-*/examples/test.avi")
    shown = decode(source, frames, "null")
    masks = [red(picture) for picture in shown]
    with (
        tempfile.TemporaryDirectory(prefix="clarivid-example-") as name,
        bar("mesh_inpaint") as (progress, task),
    ):
        folder = Path(name)
        bench.write(folder / "in.mkv", shown, LOSSLESS, FPS)
        half = np.full((shown[0][0].shape[0] // 2, shown[0][0].shape[1] // 2), 128, np.uint8)
        grey = [(mask.astype(np.uint8) * 255, half, half) for mask in masks]
        bench.write(folder / "mask.mkv", grey, ["-pix_fmt", "gray", *LOSSLESS], FPS)

        def tell(done: float, total: float, fps: float) -> None:
            progress.update(task, completed=done, total=total or None, note=f"{fps:.1f} fps")

        chain.run(
            f"mesh_inpaint={options}",
            folder / "in.mkv",
            folder / "out.mkv",
            mask=folder / "mask.mkv",
            video_codec="ffv1",
            progress=tell,
        )
        result = decode(folder / "out.mkv", frames, "null")
    moments = sorted({round(share * (frames - 1)) for share in (0.0, 0.2, 0.4, 0.6, 0.8, 1.0)})
    return write(out, shown, masks, result, FPS, moments)


@click.command(help=__doc__, context_settings={"help_option_names": ["-h", "--help"]})
@click.option("--out", type=click.Path(path_type=Path), default=Path("out/examples/remove_moving_camera"))
@click.option("--frames", default=LENGTH, show_default=True, type=click.IntRange(2, LENGTH))
@click.option("--options", default="lookahead=48", show_default=True, help="Of mesh_inpaint.")
def main(out: Path, frames: int, options: str) -> None:
    """Entry point."""
    try:
        paths = run(out, frames, options)
    except Error as error:
        sys.exit(f"remove_moving_camera: error: {error}")
    click.echo("\n".join(str(path) for path in paths))


if __name__ == "__main__":
    main()
