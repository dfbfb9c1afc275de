# SPDX-License-Identifier: BSD-2-Clause
"""A tower vanishes from a shaky hand-held shot with parallax; boxes that follow it, from a sidecar file.

\b
  .venv/bin/python examples/remove_moving_camera.py

The clip is test.avi of the source package libopenshot: somebody walks past a sculpture, with a tower behind.
The tower's head is looked for in every picture; boxes over head and shaft are written into a sidecar file,
which the filter reads: as `clarivid run mesh_inpaint=boxes=boxes.txt in.mkv out.mkv` does it.

Leaves boxes.txt, clean.mp4, side_by_side.mp4 and sheet.png in out/examples/remove_moving_camera/.
"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

import click
import cv2

from clarivid import chains
from clarivid.bars import bar
from clarivid.errors import Error
from clarivid.ffmpeg.run import LOSSLESS
from clarivid.inpaint import Box, boxes_mask
from clarivid.inpaint_bench import run as bench
from clarivid.inpaint_bench.scenes import decode
from clarivid.inpaint_bench.walker import Planes
from clarivid.packages import fetch_debian_source
from show import write

LENGTH, FPS = 66, 30  # of test.avi: later the sculpture is before the tower
HEAD: Box = (256, 40, 68, 48)  # of the tower, in picture 0
REACH = 24  # samples that it moves by at most from picture to picture
# What is covered, from the head's corner: the head with its antenna, and the shaft.
COVER: tuple[Box, ...] = ((-2, -20, 72, 70), (15, 44, 40, 106))


def follow(pictures: Sequence[Planes]) -> list[list[Box]]:
    """The boxes of each picture: where luma looks most like the tower's head in the first one."""
    x, y, w, h = HEAD
    head = pictures[0][0][y : y + h, x : x + w]
    found = []
    for luma, _, _ in pictures:
        left, top = max(x - REACH, 0), max(y - REACH, 0)
        near = luma[top : y + h + REACH, left : x + w + REACH]
        _, _, _, best = cv2.minMaxLoc(cv2.matchTemplate(near, head, cv2.TM_CCOEFF_NORMED))
        x, y = left + best[0], top + best[1]
        found.append([(x + dx, y + dy, width, height) for dx, dy, width, height in COVER])
    return found


def run(out: Path, frames: int, options: str) -> list[Path]:
    """The whole example; returns what it wrote. Raises :class:`clarivid.Error`."""
    out.mkdir(parents=True, exist_ok=True)
    source = fetch_debian_source("libopenshot").one("**/libopenshot-*/examples/test.avi")
    shown = decode(source, frames, "null")
    boxes = follow(shown)
    sidecar = out / "boxes.txt"
    lines = [f"{t} {x} {y} {w} {h}" for t, several in enumerate(boxes) for x, y, w, h in several]
    sidecar.write_text("# frame x y width height\n" + "\n".join(lines) + "\n", "utf-8")
    with (
        tempfile.TemporaryDirectory(prefix="clarivid-example-") as name,
        bar("mesh_inpaint") as (progress, task),
    ):
        folder = Path(name)
        bench.write(folder / "in.mkv", shown, LOSSLESS, FPS)

        def tell(state: chains.Progress) -> None:
            total = state.total or None
            progress.update(task, completed=state.seconds, total=total, note=f"{state.fps:.1f} fps")

        chains.run(
            f"mesh_inpaint=boxes='{sidecar}':{options}",
            folder / "in.mkv",
            folder / "out.mkv",
            video_codec="ffv1",
            progress=tell,
        )
        result = decode(folder / "out.mkv", frames, "null")
    height, width = shown[0][0].shape
    masks = [boxes_mask(several, width, height) > 0 for several in boxes]
    return [sidecar, *write(out, shown, masks, result, FPS)]


@click.command(help=__doc__, context_settings={"help_option_names": ["-h", "--help"]})
@click.option("--out", type=click.Path(path_type=Path), default=Path("out/examples/remove_moving_camera"))
@click.option("--frames", default=LENGTH, show_default=True, type=click.IntRange(2, LENGTH))
@click.option("--options", default="lookahead=24", show_default=True, help="Of mesh_inpaint.")
def main(out: Path, frames: int, options: str) -> None:
    """Entry point."""
    try:
        paths = run(out, frames, options)
    except Error as error:
        sys.exit(f"remove_moving_camera: error: {error}")
    click.echo("\n".join(str(path) for path in paths))


if __name__ == "__main__":
    main()
