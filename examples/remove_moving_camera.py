# SPDX-License-Identifier: BSD-2-Clause
"""A wanderer vanishes from a crane shot over dunes, shadow and all; boxes drawn by hand at some frames.

\b
  .venv/bin/python examples/remove_moving_camera.py

The shot is from the trailer of Sintel (CC-BY-3.0, Blender Foundation; in the source package libopenshot): the
camera rises, near and far dunes move against each other, and the light fades. The boxes between the key
frames are interpolated and written into a sidecar file, one line a frame, which the filter reads: as
`clarivid run mesh_inpaint=boxes=boxes.txt in.mkv out.mkv` does it.

Leaves boxes.txt, clean.mp4, side_by_side.mp4 and sheet.png in out/examples/remove_moving_camera/.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

import click
import numpy as np

from clarivid import chain
from clarivid.cli._progress import bar
from clarivid.errors import Error
from clarivid.ffmpeg.run import LOSSLESS
from clarivid.inpaint import Box, boxes_mask
from clarivid.inpaint_bench import run as bench
from clarivid.inpaint_bench.scenes import decode
from clarivid.packages import fetch_debian_source
from show import write

FIRST, LENGTH, FPS = 880, 86, 24  # of sintel_trailer-720p.mp4
# Frame -> where the wanderer's back and the shadow's lower edge are. Before frame 3 a dune hides him.
KEYS = {
    3: (450, 402),
    6: (436, 403),
    10: (416, 405),
    15: (397, 388),
    20: (381, 371),
    25: (366, 360),
    30: (354, 352),
    35: (343, 347),
    40: (335, 344),
    50: (328, 344),
    60: (322, 345),
    70: (325, 347),
    80: (328, 347),
    86: (328, 347),
}
LEFT, ABOVE, WIDTH, HEIGHT = 6, 58, 66, 66  # of the box beside that point; the staff is long


def box(frame: int) -> Box | None:
    """The box at a frame, between the key frames by interpolation."""
    if frame < min(KEYS):
        return None
    x, y = (np.interp(frame, list(KEYS), [point[i] for point in KEYS.values()]) for i in (0, 1))
    return round(float(x)) - LEFT, round(float(y)) - ABOVE, WIDTH, HEIGHT


def run(out: Path, frames: int, options: str) -> list[Path]:
    """The whole example; returns what it wrote. Raises :class:`clarivid.Error`."""
    out.mkdir(parents=True, exist_ok=True)
    source = fetch_debian_source("libopenshot").one("**/libopenshot-*/examples/sintel_trailer-720p.mp4")
    shown = decode(source, frames, "crop=1280:544", FIRST)
    boxes = [found for t in range(frames) if (found := box(t)) is not None]
    first = frames - len(boxes)
    sidecar = out / "boxes.txt"
    lines = [f"{t} {x} {y} {w} {h}" for t, (x, y, w, h) in enumerate(boxes, first)]
    sidecar.write_text("# frame x y width height\n" + "\n".join(lines) + "\n", "utf-8")
    with (
        tempfile.TemporaryDirectory(prefix="clarivid-example-") as name,
        bar("mesh_inpaint") as (progress, task),
    ):
        folder = Path(name)
        bench.write(folder / "in.mkv", shown, LOSSLESS, FPS)

        def tell(done: float, total: float, fps: float) -> None:
            progress.update(task, completed=done, total=total or None, note=f"{fps:.1f} fps")

        chain.run(
            f"mesh_inpaint=boxes='{sidecar}':{options}",
            folder / "in.mkv",
            folder / "out.mkv",
            video_codec="ffv1",
            progress=tell,
        )
        result = decode(folder / "out.mkv", frames, "null")
    height, width = shown[0][0].shape
    masks = [boxes_mask([b] if (b := box(t)) else [], width, height) > 0 for t in range(frames)]
    moments = sorted({round(share * (frames - 1)) for share in (0.0, 0.12, 0.3, 0.5, 0.75, 1.0)})
    return [sidecar, *write(out, shown, masks, result, FPS, moments, window=(420, 236))]


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
