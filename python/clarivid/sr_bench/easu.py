# SPDX-License-Identifier: BSD-2-Clause
"""FSR 1's enlarger, for comparison: EASU, and RCAS after it.

Written after AMD's description of FidelityFX Super Resolution 1.0 ("FSR 1.0 technical overview" and the
comments of its published shader), in numpy, for exactly twice the size. Each output sample is a sum of twelve
inputs::

        b c        the output sample lies between f g j k;
      e f g h      direction and length of the edge there: bilinear mean of those found at f, g, j, k
      i j k l
        n o

by a Lanczos-like kernel that is turned into the edge's direction, stretched along it, and limited to the
range of f g j k. Differences from the shader: it works on R'G'B' and finds edges in luma; this works on each
plane of Y'CbCr by itself, in 0..1, with exact reciprocals.

RCAS sharpens by the cross of neighbours, as much as does not clip. ``fsr1`` is EASU, then RCAS of luma at 0.2
stops, as AMD's sample has it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

VERSION = 1
SHARPNESS = 0.2  # stops below the most that RCAS does
_LIMIT = 0.25 - 1 / 16
_ROWS = 48  # worked on at once: what is between the steps stays in the processor's caches

Plane = NDArray[np.float32]
Picture = tuple[NDArray[Any], NDArray[Any], NDArray[Any]]

# Rows and columns of the twelve inputs, from f.
_TAPS = {
    "b": (-1, 0), "c": (-1, 1),
    "e": (0, -1), "f": (0, 0), "g": (0, 1), "h": (0, 2),
    "i": (1, -1), "j": (1, 0), "k": (1, 1), "l": (1, 2),
    "n": (2, 0), "o": (2, 1),
}  # fmt: skip
# Above, left, middle, right and below of each of the four, and its place in the square.
_CROSSES = (("befgj", 0, 0), ("cfghk", 0, 1), ("fijkn", 1, 0), ("gjklo", 1, 1))


def easu(plane: Plane) -> Plane:
    """[H,W] in 0..1 to [2H,2W]."""
    height, width = plane.shape
    padded = np.pad(plane, 3, mode="edge")
    out = np.empty((2 * height, 2 * width), np.float32)
    for row in range(0, height, _ROWS):
        rows = min(_ROWS, height - row)
        for r in range(2):
            for c in range(2):
                # Output sample 0 lies a quarter before its input, 1 a quarter behind it.
                x, y = (0.25, 0.75)[c == 0], (0.25, 0.75)[r == 0]
                top, left = 3 + row - (r == 0), 3 - (c == 0)
                taps = {
                    name: padded[top + dy : top + dy + rows, left + dx : left + dx + width]
                    for name, (dy, dx) in _TAPS.items()
                }
                out[2 * row + r : 2 * (row + rows) : 2, c::2] = _phase(taps, x, y)
    return out


def _phase(taps: dict[str, Plane], x: float, y: float) -> Plane:
    """The samples at (x, y) of all squares f g j k."""
    along, across, length = (np.zeros_like(taps["f"]) for _ in range(3))
    for names, r, c in _CROSSES:
        weight = np.float32((y if r else 1 - y) * (x if c else 1 - x))
        above, left, middle, right, below = (taps[name] for name in names)
        for direction, before, after in ((along, left, right), (across, above, below)):
            change = after - before
            direction += change * weight
            most = np.maximum(np.abs(after - middle), np.abs(middle - before))
            straight = np.minimum(np.abs(change) / np.maximum(most, 1e-6), 1)
            length += straight * straight * weight
    square = along * along + across * across
    flat = square < 1 / 32768
    norm = 1 / np.sqrt(np.where(flat, 1, square))
    dx, dy = np.where(flat, 1, along) * norm, across * norm
    length = np.square(length * np.float32(0.5))
    stretch = (dx * dx + dy * dy) / np.maximum(np.abs(dx), np.abs(dy))
    wide, narrow = 1 + (stretch - 1) * length, 1 - 0.5 * length
    lobe = 0.5 + (0.25 - 0.04 - 0.5) * length
    limit = 1 / lobe
    total, weights = np.zeros_like(along), np.zeros_like(along)
    for name, (row, column) in _TAPS.items():
        ox, oy = np.float32(column - x), np.float32(row - y)
        u, v = (ox * dx + oy * dy) * wide, (oy * dx - ox * dy) * narrow
        d = np.minimum(u * u + v * v, limit)
        base = np.square(0.4 * d - 1) * (25 / 16) - (25 / 16 - 1)
        weight = base * np.square(lobe * d - 1)
        total += taps[name] * weight
        weights += weight
    four = [taps[name] for name in "fgjk"]
    low, high = np.minimum.reduce(four), np.maximum.reduce(four)
    found: Plane = np.clip(total / weights, low, high).astype(np.float32)
    return found


def rcas(plane: Plane, sharpness: float = SHARPNESS) -> Plane:
    """[H,W] in 0..1, sharpened; ``sharpness`` in stops, 0 is the most."""
    padded = np.pad(plane, 1, mode="edge")
    cross = [padded[:-2, 1:-1], padded[1:-1, :-2], padded[1:-1, 2:], padded[2:, 1:-1]]
    low, high = np.minimum.reduce(cross), np.maximum.reduce(cross)
    down = low / np.maximum(4 * high, 1e-6)
    up = (1 - high) / np.minimum(4 * low - 4, -1e-6)
    lobe = np.clip(np.maximum(-down, up), -_LIMIT, 0) * 2.0**-sharpness
    found: Plane = ((lobe * sum(cross) + plane) / (4 * lobe + 1)).astype(np.float32)
    return found


def enlarge(picture: Picture, depth: int, *, sharpen: bool = False) -> Picture:
    """A 4:2:0 picture of limited range, twice the size; ``depth`` in bits."""
    top = (1 << depth) - 1
    planes = []
    for n, plane in enumerate(picture):
        found = easu(plane.astype(np.float32) / np.float32(top))
        if sharpen and n == 0:
            found = rcas(found)
        planes.append(np.clip(found * top + 0.5, 0, top).astype(plane.dtype))
    return planes[0], planes[1], planes[2]


def fsr1(picture: Picture, depth: int) -> Picture:
    """EASU, then RCAS of luma."""
    return enlarge(picture, depth, sharpen=True)


METHODS: dict[str, Callable[[Picture, int], Picture]] = {"easu": enlarge, "fsr1": fsr1}
