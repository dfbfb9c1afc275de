# SPDX-License-Identifier: BSD-2-Clause
"""The scene that tests of mesh_inpaint share, and how its frames go through the filter."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

import filter_tools as tools
from inpaint_models import inpaint_bundle

KIND = tools.Kind("mesh_inpaint", 1, "inpaint", "", inpaint_bundle, tools.unchanged)
FORMATS = ["yuv420p", "nv12", "yuv420p10le", "p010le"]
WIDTH, HEIGHT, FRAMES = 192, 128, 12
SIZE = f"{WIDTH}x{HEIGHT}"
DILATE = 4
CHROMA = WIDTH * HEIGHT // 4

Picture = NDArray[np.uint8]


def texture(width: int, height: int, seed: int) -> Picture:
    """Smooth random spots, as a tracker likes them, 40..200."""
    random = np.random.default_rng(seed)
    total = np.zeros((height, width))
    for cell in (4, 8, 16, 32):
        small = random.random((height // cell + 2, width // cell + 2))
        total += np.kron(small, np.ones((cell, cell)))[:height, :width] * cell**0.5
    for axis in (0, 1):
        total = (np.roll(total, 1, axis) + total * 2 + np.roll(total, -1, axis)) / 4
    total -= total.min()
    scaled: Picture = (40 + 160 * total / total.max()).astype(np.uint8)
    return scaled


def packed(luma: Picture, seed: int = 9) -> bytes:
    """A yuv420p frame of that luma, with spots in its chroma."""
    height, width = ((side + 1) // 2 for side in luma.shape)
    return b"".join([luma.tobytes(), *(texture(width, height, seed + i).tobytes() for i in range(2))])


@dataclass(frozen=True)
class Scene:
    """Raw video in 8 bit yuv420p: with the object, without it; and where it is (height x width, 0 or 255)."""

    frames: list[bytes]
    truth: list[bytes]
    masks: list[Picture]

    def write_masks(self, path: Path, step: int = 1) -> Path:
        """Grey raw video of every ``step``-th mask."""
        path.write_bytes(b"".join(mask.tobytes() for mask in self.masks[::step]))
        return path

    def grown(self, number: int, by: int = DILATE) -> NDArray[np.bool_]:
        """Where the filter may change luma samples: the mask with ``by`` samples around it."""
        rows, columns = (np.flatnonzero(self.masks[number].any(axis)) for axis in (1, 0))
        hole = np.zeros((HEIGHT, WIDTH), bool)
        hole[max(rows[0] - by, 0) : rows[-1] + by + 1, max(columns[0] - by, 0) : columns[-1] + by + 1] = True
        return hole


def moving_box() -> Scene:
    """A grey box of 24x48 that moves 12 samples a frame: from the third frame on, all was seen before."""
    background = packed(texture(WIDTH, HEIGHT, 1))
    frames, masks = [], []
    for number in range(FRAMES):
        mask = np.zeros((HEIGHT, WIDTH), np.uint8)
        mask[40:88, 16 + 12 * number : 40 + 12 * number] = 255
        luma, u, v = (plane.copy() for plane in tools.planes(background, WIDTH, HEIGHT, "yuv420p"))
        luma[mask > 0] = 235
        for chroma in (u, v):
            chroma[mask[::2, ::2] > 0] = 128
        frames.append(b"".join(plane.tobytes() for plane in (luma, u, v)))
        masks.append(mask)
    return Scene(frames, [background] * FRAMES, masks)


REVEALED = 4  # frames after which the box has left its first place, with what dilation and feather add


def raw(size: str = SIZE, pix_fmt: str = "yuv420p", rate: str = "10") -> list[str]:
    """Options of a raw video input, up to its name."""
    return ["-f", "rawvideo", "-video_size", size, "-pixel_format", pix_fmt, "-framerate", rate, "-i"]


def options_of(**options: Any) -> str:
    """``mesh_inpaint`` with these options; nets are left out unless one is given."""
    given = {"model": "none", **options}
    return "mesh_inpaint=" + ":".join(f"{name}={value}" for name, value in given.items())


def inpainted(
    frames: Sequence[bytes],
    mask: Sequence[str | Path] = (),
    before: str = "null",
    after: str = "null",
    check: bool = True,
    **options: Any,
) -> tools.Done:
    """Run raw frames of the scene's size through the filter; ``mask`` is the second input and its options."""
    chain = f"[0:v]{before}[main];[main]{'[1:v]' if mask else ''}{options_of(**options)},{after}"
    return tools.run(
        *raw(), "-", *mask, "-filter_complex", chain, "-fps_mode", "passthrough", "-f", "rawvideo", "-",
        stdin=b"".join(frames), check=check,
    )  # fmt: skip


def pictures(done: tools.Done, pix_fmt: str = "yuv420p") -> list[bytes]:
    """What came out, frame by frame."""
    return tools.frames(done.stdout, WIDTH, HEIGHT, pix_fmt)


def luma(frame: bytes) -> Picture:
    """The first plane of an 8 bit frame of the scene's size."""
    plane: Picture = tools.planes(frame, WIDTH, HEIGHT, "yuv420p")[0]
    return plane


def covered(frames: Sequence[bytes], value: int = 235) -> list[bool]:
    """For each frame whether the box of the first mask is gone (its centre is not of its colour)."""
    return [bool(luma(frame)[64, 28] != value) for frame in frames]


def still(scene: Scene) -> list[bytes]:
    """The first frame, again and again."""
    return scene.frames[:1] * FRAMES
