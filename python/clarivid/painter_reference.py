# SPDX-License-Identifier: BSD-2-Clause
"""How the library has an inpainting net paint a hole (csrc/core/net_painter.cpp), by the book, in numpy.

It is what ``clarivid parity`` compares the library with; nothing else runs it. The net is called once, at one
size: the picture's shape with the card's ``input.best_size`` as its long side. It sees the hole
and a margin, averaged down where that is too large; what it paints goes back by cubic interpolation.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Run = Callable[[NDArray[np.float32]], NDArray[np.float32]]

CONTEXT = 1.5  # width of what the net sees over the width of the hole
BEST_SIZE = 512  # for cards that do not say theirs
_TOUCHES = 1e-6


def net_size(width: int, height: int, card_input: Mapping[str, Any]) -> tuple[int, int]:
    """Width and height, in luma samples, at which the net runs for pictures of a size.

    Args:
        width, height: of the picture, in luma samples.
        card_input: the card's entry ``input``.
    """
    shrink = max(1.0, max(width, height) / int(card_input.get("best_size", BEST_SIZE)))
    multiple = int(card_input.get("multiple_of", 1))

    def side(size: int, least: int) -> int:
        fitting = max(math.floor(size / shrink + 0.5), least)
        return -(-(-(-fitting // multiple) * multiple) // 2) * 2

    return side(width, int(card_input.get("min_width", 1))), side(
        height, int(card_input.get("min_height", 1))
    )


def paint(
    run: Run,
    picture: Sequence[NDArray[Any]],
    hole: NDArray[np.bool_],
    size: tuple[int, int],
    spans: tuple[tuple[int, int], tuple[int, int]],
    bit_depth: int,
) -> tuple[NDArray[Any], ...]:
    """Planes (y, u, v) with the hole painted.

    Args:
        run: the net: [1,7,h,w] to [1,6,h,w].
        picture: planes (y, u, v), codes in the low bits.
        hole: [H, W], at least one sample and not all of them.
        size: see :func:`net_size`.
        spans: (offset, span) of luma and of chroma, in codes.
        bit_depth: of the planes.
    """
    height, width = picture[0].shape
    rows, columns = np.nonzero(hole)
    left, right = int(columns.min()) & ~1, int(columns.max()) + 1
    top, bottom = int(rows.min()) & ~1, int(rows.max()) + 1
    wanted = CONTEXT * max((right - left) / size[0], (bottom - top) / size[1])
    step = max(1.0, min(wanted, max(width / size[0], height / size[1])))
    x = _place(left, right, width, size[0] * step)
    y = _place(top, bottom, height, size[1] * step)

    even = np.pad(hole, ((0, height % 2), (0, width % 2)))
    chroma_hole = np.asarray(even.reshape(picture[1].shape[0], 2, -1, 2).any(axis=(1, 3)))
    centres = (0.5, 0.0, 0.0)
    averaged: list[Floats] = []
    for plane, codes in enumerate(picture):
        divide = 1 if plane == 0 else 2
        offset, span = spans[min(plane, 1)]
        down = _areas(y // divide, step, size[1] // divide, codes.shape[0])
        across = _areas(x // divide, step, size[0] // divide, codes.shape[1])
        averaged.append((down @ codes.astype(np.float64) @ across.T - offset) / span - centres[plane])
    touched = [
        _areas(origin // 2, step, count // 2, length) > 0
        for origin, count, length in ((y, size[1], chroma_hole.shape[0]), (x, size[0], chroma_hole.shape[1]))
    ]
    blocks = (touched[0].astype(float) @ chroma_hole.astype(float) @ touched[1].T.astype(float)) > 0

    luma, u, v = averaged
    tensor = np.stack([*(luma[r::2, c::2] for r in (0, 1) for c in (0, 1)), u, v])
    tensor = np.concatenate([np.where(blocks, 0, tensor), blocks[None]])[None].astype(np.float32)
    painted = np.where(blocks, run(tensor)[0], tensor[0, :6]).astype(np.float64)
    merged = [np.empty_like(luma), painted[4], painted[5]]
    for r in (0, 1):
        for c in (0, 1):
            merged[0][r::2, c::2] = painted[2 * r + c]

    result = []
    for plane, codes in enumerate(picture):
        divide = 1 if plane == 0 else 2
        offset, span = spans[min(plane, 1)]
        down = _taps(y // divide, step, codes.shape[0], merged[plane].shape[0])
        across = _taps(x // divide, step, codes.shape[1], merged[plane].shape[1])
        values = (down @ merged[plane] @ across.T + centres[plane]) * span + offset
        new = np.clip(np.floor(values + 0.5), 0, (1 << bit_depth) - 1).astype(codes.dtype)
        result.append(np.where(hole if plane == 0 else chroma_hole, new, codes))
    return tuple(result)


def _place(first: int, last: int, size: int, extent: float) -> int:
    """Where the excerpt begins: the hole in its middle, all of it in the picture if it fits; even."""
    return int(min(max(0.5 * (first + last) - 0.5 * extent, 0.0), max(0.0, size - extent))) & ~1


def _areas(start: float, step: float, count: int, size: int) -> Floats:
    """[count, size]: row i averages samples start + i * step to start + (i + 1) * step."""
    matrix = np.zeros((count, size))
    for i in range(count):
        begin, end = start + i * step, start + (i + 1) * step
        first = min(max(math.floor(begin + _TOUCHES), 0), size - 1)
        last = min(max(math.ceil(end - _TOUCHES) - 1, first), size - 1)
        for k in range(first, last + 1):
            low = begin if k == 0 else max(begin, k)
            high = end if k == size - 1 else min(end, k + 1)
            matrix[i, k] = max(0.0, high - low) / step
    return matrix


def _taps(start: float, step: float, count: int, size: int) -> Floats:
    """[count, size]: row i takes Catmull-Rom's cubic at sample i's place among ``size`` larger ones."""
    matrix = np.zeros((count, size))
    for i in range(count):
        at = (i + 0.5 - start) / step - 0.5
        base = math.floor(at)
        t = at - base
        weights = (
            t * (-0.5 + t * (1 - 0.5 * t)),
            1 + t * t * (-2.5 + 1.5 * t),
            t * (0.5 + t * (2 - 1.5 * t)),
            t * t * (-0.5 + 0.5 * t),
        )
        for k, weight in enumerate(weights):
            matrix[i, min(max(base - 1 + k, 0), size - 1)] += weight
    return matrix


__all__ = ["BEST_SIZE", "CONTEXT", "net_size", "paint"]
