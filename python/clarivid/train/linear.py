# SPDX-License-Identifier: BSD-2-Clause
"""Separable filters of pictures as matrix products.

A filter along one axis, its border rule and its decimation are one banded matrix, built once for each
length. On the crops of a training (some 200 samples) the product with the whole matrix is faster than a
convolution of one channel, exact at the borders, and its gradient is a product too. Long axes are cut into
pieces so that only the band is multiplied.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

import numpy as np
import torch
from torch import Tensor

from clarivid.errors import InputError

BORDERS = ("valid", "mirror", "symmetric", "mirror-symmetric")
_PIECE = 128  # outputs a product, on an axis longer than _WHOLE
_WHOLE = 256


def check_pair(x: Tensor, y: Tensor, least: int, name: str) -> tuple[Tensor, Tensor]:
    """Both pictures as float32 (or float64 when given so), [N,H,W]; :class:`InputError` for anything else."""
    for picture in (x, y):
        if picture.ndim != 3 or not picture.is_floating_point():
            raise InputError(
                f"{name} takes float tensors [N,H,W] of luma codes, not {picture.dtype} {list(picture.shape)}"
            )
    if x.shape != y.shape:
        raise InputError(f"{name} compares pictures of one size, not {list(x.shape)} and {list(y.shape)}")
    if x.shape[0] == 0 or min(x.shape[1:]) < least:
        raise InputError(f"{name} needs at least one picture of {least}x{least}, not {list(x.shape)}")
    kind = torch.float64 if torch.float64 in (x.dtype, y.dtype) else torch.float32
    return x.to(kind), y.to(kind)


@lru_cache(maxsize=512)
def _dense(
    taps: tuple[float, ...], length: int, border: str, stride: int, first: int, count: int
) -> np.ndarray[tuple[int, int], np.dtype[np.float64]]:
    if border not in BORDERS:
        raise ValueError(f"border '{border}' is not one of {', '.join(BORDERS)}")
    matrix = np.zeros((count, length))
    for row in range(count):
        for k, tap in enumerate(taps):
            place = row * stride + first + k
            if place < 0:
                place = -1 - place if border == "symmetric" else -place
            elif place >= length:
                place = 2 * length - (2 if border == "mirror" else 1) - place
            matrix[row, place] += tap
    return matrix


@lru_cache(maxsize=512)
def operator(
    taps: tuple[float, ...],
    length: int,
    border: str = "valid",
    stride: int = 1,
    first: int | None = None,
    count: int | None = None,
    dtype: torch.dtype = torch.float32,
    device: torch.device | str = "cpu",
) -> Tensor:
    """The matrix [count, length] whose row r is ``taps`` laid at ``r * stride + first``.

    ``border`` says what lies beyond the ends: "valid" nothing (every tap falls inside), "mirror" the
    samples about the end one (``2 1 | 0 1 2``), "symmetric" with the end one twice (``1 0 | 0 1 2``),
    "mirror-symmetric" mirrored before the first, symmetric after the last, as libvmaf's wavelet has it.
    ``first`` defaults to 0 for "valid", else to a centred filter; ``count`` to all that fit.
    """
    valid = border == "valid"
    if first is None:
        first = 0 if valid else -(len(taps) // 2)
    if count is None:
        count = (length - len(taps)) // stride + 1 if valid else -(-length // stride)
    return torch.from_numpy(_dense(taps, length, border, stride, first, count)).to(device, dtype)


def rows(x: Tensor, matrix: Tensor) -> Tensor:
    """``matrix`` [m,W] along the last axis: [...,W] to [...,m]."""
    if x.shape[-1] <= _WHOLE:
        return x @ matrix.T
    return torch.cat([x[..., a:b] @ matrix[r : r + _PIECE, a:b].T for r, a, b in _pieces(matrix)], -1)


def columns(x: Tensor, matrix: Tensor) -> Tensor:
    """``matrix`` [m,H] along the last but one axis: [...,H,W] to [...,m,W]."""
    if x.shape[-2] <= _WHOLE:
        return matrix @ x
    return torch.cat([matrix[r : r + _PIECE, a:b] @ x[..., a:b, :] for r, a, b in _pieces(matrix)], -2)


def both(x: Tensor, down: Tensor, along: Tensor) -> Tensor:
    """``down`` [m,H] on the columns and ``along`` [n,W] on the rows: [...,H,W] to [...,m,n]."""
    return columns(rows(x, along), down)


def _pieces(matrix: Tensor) -> Sequence[tuple[int, int, int]]:
    """First row of each piece, and the span of columns where its rows are not zero."""
    key = id(matrix)
    found = _SPANS.get(key)
    if found is None or found[0] is not matrix:
        spans = []
        for r in range(0, matrix.shape[0], _PIECE):
            used = matrix[r : r + _PIECE].abs().amax(0).nonzero()
            spans.append((r, int(used.min()), int(used.max()) + 1))
        found = _SPANS[key] = (matrix, spans)
    return found[1]


_SPANS: dict[int, tuple[Tensor, list[tuple[int, int, int]]]] = {}
