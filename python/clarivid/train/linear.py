# SPDX-License-Identifier: BSD-2-Clause
"""Separable filters of pictures as products with banded matrices.

A filter along one axis, its border rule and its decimation are one banded matrix, built once for each
length. On a CPU the product of its pieces, 32 outputs each, with the rows or the columns of many pictures is
20 to 60 times faster than a convolution of one channel; it is exact at the borders, and the gradient is a
product with the transpose.

Pictures are held as [H,...,W], height first and the batch between, so that one matrix product filters the
rows of all of them, and one the columns::

    rows     [H·N, W] x [W, w]      columns     [h, H] x [H, N·w]

Products must keep float32's digits: leave ``torch.set_float32_matmul_precision`` at "highest".
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from itertools import pairwise
from typing import Any

import numpy as np
import torch
from torch import Tensor

from clarivid.errors import InputError

BORDERS = ("valid", "mirror", "symmetric", "mirror-symmetric")
_PIECE = 32
Matrix = np.ndarray[tuple[int, int], np.dtype[np.float64]]


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


def height_first(x: Tensor) -> Tensor:
    """[N,H,W] to [H,N,W], the layout of everything here."""
    return x.transpose(0, 1).contiguous()


class Operator:
    """A matrix [m,n] for one axis, cut into pieces of rows with the spans of columns that they use.

    ``breaks`` are the rows and the columns where the band starts anew, as between two filters laid one below
    the other: no piece runs over them.
    """

    def __init__(
        self,
        matrix: Matrix,
        dtype: torch.dtype,
        device: torch.device,
        breaks: tuple[tuple[int, ...], tuple[int, ...]] = ((), ()),
    ) -> None:
        self.matrix, self.dtype, self.device, self.breaks = matrix, dtype, device, breaks
        self.outputs, self.inputs = matrix.shape
        self._pieces: list[_Piece] = []
        # A GPU is kept busy by one product and slowed by many small ones.
        step = _PIECE if device.type == "cpu" else max(matrix.shape)
        edges = [0, *breaks[0], self.outputs]
        for start, stop in pairwise(edges):
            for first in range(start, stop, step):
                self._pieces += self._cut(first, min(first + step, stop))

    def _cut(self, first: int, last: int) -> list[_Piece]:
        edges = [0, *self.breaks[1], self.inputs]
        pieces: list[_Piece] = []
        for start, stop in pairwise(edges):
            used = np.flatnonzero(np.abs(self.matrix[first:last, start:stop]).max(0))
            if len(used):
                a, b = start + int(used[0]), start + int(used[-1]) + 1
                block = torch.from_numpy(self.matrix[first:last, a:b].copy()).to(self.device, self.dtype)
                pieces.append(_Piece(first, last, a, b, block, block.T.contiguous(), bool(pieces)))
        if not pieces:  # nothing but zeros
            zero = torch.zeros(last - first, 1, dtype=self.dtype, device=self.device)
            pieces.append(_Piece(first, last, 0, 1, zero, zero.T.contiguous(), False))
        return pieces

    @cached_property
    def transposed(self) -> Operator:
        """The transpose, for the gradient."""
        matrix = np.ascontiguousarray(self.matrix.T)
        return Operator(matrix, self.dtype, self.device, self.breaks[::-1])

    def rows(self, x: Tensor) -> Tensor:
        """Along the last axis: [...,n] to [...,m]. Knows no gradient."""
        flat = x.reshape(-1, self.inputs)
        out = x.new_empty(len(flat), self.outputs)
        for piece in self._pieces:
            part, source = out[:, piece.first : piece.last], flat[:, piece.a : piece.b]
            if piece.adds:
                torch.addmm(part, source, piece.transposed, out=part)
            else:
                torch.mm(source, piece.transposed, out=part)
        return out.view(*x.shape[:-1], self.outputs)

    def columns(self, x: Tensor) -> Tensor:
        """Along the first axis: [n,...] to [m,...]. Knows no gradient."""
        flat = x.reshape(self.inputs, -1)
        out = x.new_empty(self.outputs, flat.shape[1])
        for piece in self._pieces:
            part, source = out[piece.first : piece.last], flat[piece.a : piece.b]
            if piece.adds:
                torch.addmm(part, piece.block, source, out=part)
            else:
                torch.mm(piece.block, source, out=part)
        return out.view(self.outputs, *x.shape[1:])


@dataclass(frozen=True)
class _Piece:
    """Outputs ``first`` to ``last`` from inputs ``a`` to ``b``; ``adds`` to what an earlier piece gave."""

    first: int
    last: int
    a: int
    b: int
    block: Tensor
    transposed: Tensor
    adds: bool


@lru_cache(maxsize=512)
def operator(
    taps: tuple[float, ...],
    length: int,
    border: str = "valid",
    stride: int = 1,
    first: int | None = None,
    count: int | None = None,
    dtype: torch.dtype = torch.float32,
    device: torch.device = torch.device("cpu"),  # noqa: B008
) -> Operator:
    """The operator [count, length] whose row r is ``taps`` laid at ``r * stride + first``.

    ``border`` says what lies beyond the ends: "valid" nothing (every tap falls inside), "mirror" the
    samples about the end one (``2 1 | 0 1 2``), "symmetric" with the end one twice (``1 0 | 0 1 2``),
    "mirror-symmetric" mirrored before the first, symmetric after the last, as libvmaf's wavelet has it.
    ``first`` defaults to 0 for "valid", else to a centred filter; ``count`` to all that fit.
    """
    return Operator(dense(taps, length, border, stride, first, count), dtype, device)


def dense(
    taps: Sequence[float],
    length: int,
    border: str = "valid",
    stride: int = 1,
    first: int | None = None,
    count: int | None = None,
) -> Matrix:
    """:func:`operator`'s matrix."""
    if border not in BORDERS:
        raise ValueError(f"border '{border}' is not one of {', '.join(BORDERS)}")
    valid = border == "valid"
    if first is None:
        first = 0 if valid else -(len(taps) // 2)
    if count is None:
        count = (length - len(taps)) // stride + 1 if valid else -(-length // stride)
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


def both(x: Tensor, down: Operator, along: Operator) -> Tensor:
    """``down`` on the columns and ``along`` on the rows of [H,...,W]; differentiable in ``x``."""
    result: Tensor = _Both.apply(x, down, along)  # type: ignore[no-untyped-call]
    return result


class _Both(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, down: Operator, along: Operator) -> Tensor:
        ctx.down, ctx.along = down, along
        return down.columns(along.rows(x))

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, None]:
        return both(gradients[0], ctx.down.transposed, ctx.along.transposed), None, None
