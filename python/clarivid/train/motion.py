# SPDX-License-Identifier: BSD-2-Clause
"""Motion by block matching, for the stand-in encoder: about what a real encoder's search would find."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

BLOCK = 8


@torch.no_grad()
def estimate(previous: Tensor, frame: Tensor, reach: int = 24) -> Tensor:
    """Where each 8x8 block of ``frame`` [N,H,W] lies in ``previous``: [N,2,H/8,W/8], (x, y) in samples.

    Full search at half size up to ``reach`` samples, then refined to a quarter sample; the cost is the sum of
    absolute differences over the 16x16 around the block, plus a little for the length of the vector.
    """
    small = [F.avg_pool2d(x[:, None], 2)[:, 0] for x in (previous, frame)]
    r = reach // 2
    offsets = [(float(x), float(y)) for y in range(-r, r + 1) for x in range(-r, r + 1)]
    vectors = (
        _search(small[0], small[1], frame.new_zeros(len(frame), 2, *_grid(frame)), offsets, BLOCK // 2, 1.0)
        * 2
    )
    for step, around in ((1.0, 2), (0.5, 1), (0.25, 1)):
        offsets = [
            (x * step, y * step) for y in range(-around, around + 1) for x in range(-around, around + 1)
        ]
        vectors = _search(previous, frame, vectors, offsets, BLOCK, 0.25)
    return vectors


def _grid(x: Tensor) -> tuple[int, int]:
    return x.shape[1] // BLOCK, x.shape[2] // BLOCK


def _search(
    previous: Tensor,
    frame: Tensor,
    start: Tensor,
    offsets: list[tuple[float, float]],
    block: int,
    price: float,
) -> Tensor:
    best = torch.full_like(start[:, 0], torch.inf)
    found = start.clone()
    still = not bool(start.any())
    for x, y in offsets:
        vector = start + start.new_tensor([x, y]).view(1, 2, 1, 1)
        # Where all blocks have the same vector it is a plain shift.
        moved = _shift(previous, round(x), round(y)) if still else warp(previous, grid(vector, block))
        error = (moved - frame).abs()[:, None]
        half = block // 2
        cost = (
            F.avg_pool2d(F.pad(error, [half] * 4, mode="replicate"), 2 * block, block)[:, 0]
            * (2 * block) ** 2
        )
        cost = cost + price * vector.abs().sum(1) * block / BLOCK
        better = cost < best
        best = torch.where(better, cost, best)
        found = torch.where(better[:, None], vector, found)
    return found


def _shift(x: Tensor, dx: int, dy: int) -> Tensor:
    """Sample (i, j) of the result is (i + dy, j + dx) of ``x``, borders repeated."""
    padded = F.pad(x[:, None], [abs(dx), abs(dx), abs(dy), abs(dy)], mode="replicate")[:, 0]
    height, width = x.shape[1:]
    top, left = abs(dy) + dy, abs(dx) + dx
    return padded[:, top : top + height, left : left + width]


def grid(vectors: Tensor, block: int = BLOCK) -> Tensor:
    """Vectors of blocks [N,2,h,w] to the sampling grid of grid_sample, [N,h·block,w·block,2]."""
    wide = vectors.float().repeat_interleave(block, 2).repeat_interleave(block, 3)
    height, width = wide.shape[2:]
    x = torch.arange(width, device=wide.device) + wide[:, 0]
    y = torch.arange(height, device=wide.device)[:, None] + wide[:, 1]
    return torch.stack([(2 * x + 1) / width - 1, (2 * y + 1) / height - 1], -1)


def warp(x: Tensor, where: Tensor) -> Tensor:
    """``x`` [N,H,W] sampled at ``where`` [N,H,W,2] by bicubic interpolation."""
    return F.grid_sample(x[:, None], where, mode="bicubic", padding_mode="border", align_corners=False)[:, 0]
