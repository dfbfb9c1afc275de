# SPDX-License-Identifier: BSD-2-Clause
"""What people look at: a contact sheet of all scenes, and a video a scene with the methods side by side."""

from __future__ import annotations

import subprocess
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path

import cv2
import numpy as np
from PIL import Image, ImageDraw, ImageFont

from clarivid import clips
from clarivid.errors import ToolError, last_line
from clarivid.inpaint_bench.run import TRUTH, Outcome, read
from clarivid.inpaint_bench.scenes import Material
from clarivid.inpaint_bench.scores import window
from clarivid.inpaint_bench.stage import Picture
from clarivid.inpaint_bench.walker import Planes

SHOWN = "shown"  # what the methods get
_TILE, _GAP = (300, 300), 4
_MOMENTS = (0.35, 0.85)  # of a scene, on the sheet


def rgb(picture: Planes) -> Picture:
    """yuv420p, BT.709 limited, as [H, W, 3] RGB."""
    y, u, v = picture
    height, width = y.shape
    luma = (y.astype(np.float32) - 16) / 219
    blue, red = (
        (cv2.resize(plane, (width, height), interpolation=cv2.INTER_LINEAR).astype(np.float32) - 128) / 224
        for plane in (u, v)
    )
    r, b = luma + 1.5748 * red, luma + 1.8556 * blue
    g = (luma - 0.2126 * r - 0.0722 * b) / 0.7152
    found: Picture = (np.clip(np.stack([r, g, b], -1), 0, 1) * 255 + 0.5).astype(np.uint8)
    return found


def label(picture: Picture, text: str) -> Picture:
    """The picture with a line of text on a dark bar in its upper left corner."""
    image = Image.fromarray(picture)
    draw = ImageDraw.Draw(image)
    font = ImageFont.load_default(size=max(13, picture.shape[0] // 24))
    box = draw.textbbox((8, 5), text, font=font)
    draw.rectangle((0, 0, box[2] + 8, box[3] + 5), fill="black")
    draw.text((8, 5), text, "white", font=font)
    return np.asarray(image)


def strip(outcome: Outcome, material: Material, names: Sequence[str]) -> Image.Image:
    """Two rows: what is shown, the truth and each method, in the window around the hole."""
    known = {SHOWN: material.shown, TRUTH: material.truth}
    columns = [*known, *names]
    canvas = Image.new("RGB", (_left(len(columns)), len(_MOMENTS) * (_TILE[1] + _GAP)), "white")
    draw = ImageDraw.Draw(canvas)
    for column, name in enumerate(columns):
        pictures = known[name] if name in known else read(outcome, name)
        for row, moment in enumerate(_MOMENTS):
            t = _with_hole(material, round(moment * (outcome.frames - 1)))
            top = row * (_TILE[1] + _GAP)
            canvas.paste(Image.fromarray(_tile(pictures[t], material, t)), (_left(column), top))
            if not column:
                text = f"{outcome.scene.name}\n{outcome.scene.kind}\npicture {t}"
                draw.multiline_text((6, top + 8), text, "black", font=ImageFont.load_default(size=18))
    return canvas


def sheet(strips: Sequence[Image.Image], names: Sequence[str]) -> Image.Image:
    """The scenes' strips below each other, under the columns' names."""
    head = 30
    canvas = Image.new("RGB", (strips[0].width, head + sum(part.height for part in strips)), "white")
    draw = ImageDraw.Draw(canvas)
    for column, name in enumerate((SHOWN, TRUTH, *names)):
        at = (_left(column) + _TILE[0] // 2, head // 2)
        draw.text(at, name, "black", font=ImageFont.load_default(size=18), anchor="mm")
    top = head
    for part in strips:
        canvas.paste(part, (0, top))
        top += part.height
    return canvas


def _left(column: int) -> int:
    """Where a column of tiles begins; the first has the scene's name to its left."""
    return 120 + column * (_TILE[0] + _GAP)


def _with_hole(material: Material, t: int) -> int:
    """``t``, or the nearest picture that has a hole."""
    having = [i for i, mask in enumerate(material.masks) if mask.any()]
    return min(having, key=lambda i: abs(i - t)) if having else t


def _tile(picture: Planes, material: Material, t: int) -> Picture:
    """A square window around the hole, scaled to the tile."""
    (x, y, w, h), *_ = window([material.masks[t] >= 128], [0])
    width, height = material.size
    size = min(max(w, h), width, height)
    left = min(max(x + (w - size) // 2, 0), width - size)
    top = min(max(y + (h - size) // 2, 0), height - size)
    cut = np.ascontiguousarray(rgb(picture)[top : top + size, left : left + size])
    way = cv2.INTER_AREA if size > _TILE[0] else cv2.INTER_CUBIC
    return np.asarray(cv2.resize(cut, _TILE, interpolation=way), np.uint8)


def side_by_side(path: Path, outcome: Outcome, material: Material, names: Sequence[str]) -> None:
    """A video of a grid: what is shown, and each method; two columns. Raises :class:`ToolError`."""
    streams = {SHOWN: material.shown, **{name: read(outcome, name) for name in names}}
    width, height = material.size
    rows = (len(streams) + 1) // 2

    def frames() -> Iterator[bytes]:
        for t in range(outcome.frames):
            grid = np.zeros((rows * height, 2 * width, 3), np.uint8)
            for i, (name, pictures) in enumerate(streams.items()):
                top, left = i // 2 * height, i % 2 * width
                grid[top : top + height, left : left + width] = label(rgb(pictures[t]), name)
            yield grid.tobytes()

    film(path, frames(), (2 * width, rows * height), outcome.scene.fps)


def film(path: Path, frames: Iterable[bytes], size: tuple[int, int], fps: float) -> None:
    """RGB pictures as H.264 that everything plays; larger than 1920x1080 they are halved.

    Raises :class:`ToolError` when the encoder fails.
    """
    small = "scale=trunc(iw/4)*2:trunc(ih/4)*2:" if size[0] > 1920 or size[1] > 1080 else "scale="
    command = [clips.encoder(), "-hide_banner", "-loglevel", "error", "-y"]
    command += [
        "-f",
        "rawvideo",
        "-pix_fmt",
        "rgb24",
        "-s",
        f"{size[0]}x{size[1]}",
        "-r",
        str(fps),
        "-i",
        "-",
    ]
    command += ["-vf", f"{small}out_color_matrix=bt709:out_range=tv,format=yuv420p", "-c:v", "libx264"]
    command += ["-crf", "18", "-colorspace", "bt709", "-movflags", "+faststart", str(path)]
    with (
        tempfile.TemporaryFile() as said,
        subprocess.Popen(command, stdin=subprocess.PIPE, stderr=said) as process,
    ):
        assert process.stdin is not None
        with suppress(BrokenPipeError):  # it has failed, and says why
            for frame in frames:
                process.stdin.write(frame)
        with suppress(BrokenPipeError):
            process.stdin.close()
        if process.wait():
            said.seek(0)
            reason = last_line(said.read().decode(errors="replace"))
            raise ToolError(f"cannot write {path.name}: {reason}")
