# SPDX-License-Identifier: BSD-2-Clause
"""Pictures folded to half size (``yuv420_s2d``, docs/models.md), which training's batches are made of: nets
on luma in that layout, and interpolation in it."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

LUMA = 16  # channels of a picture of twice the size; chroma's come behind
# The input channel that each output channel lies in: 4x4 luma, then 2x2 of U and of V.
NEAREST = [(r // 2) * 2 + c // 2 for r in range(4) for c in range(4)] + [4] * 4 + [5] * 4


class Folded(nn.Module):
    """A net on luma in 0..1, [N,1,H,W] to [N,1,2H,2W], as one on folded pictures whose values are centred,
    [N,6,H/2,W/2] to [N,24,H/2,W/2]; chroma is the nearest upsample."""

    def __init__(self, net: nn.Module) -> None:
        super().__init__()
        self.net = net

    def forward(self, x: Tensor, mix: Tensor | None = None) -> Tensor:
        """``mix`` is the net's."""
        luma = self.net(F.pixel_shuffle(x[:, :4], 2) + 0.5, mix) - 0.5
        return torch.cat((F.pixel_unshuffle(luma, 4), x[:, NEAREST[LUMA:]]), 1)


def bicubic_kernel(a: float = -0.6) -> Tensor:
    """[24,6,3,3]: 2x interpolation in the folded layout; ``a`` as swscale's bicubic has it.

    Luma: Keys' cubic, 4x4 taps at quarter-pixel phases; they fit into 3x3 folded places exactly. Chroma: rows
    at quarter phases, columns sited left, that is at phases -1/8 and +3/8; quadratic, three taps.
    """
    kernel = torch.zeros(24, 6, 3, 3)
    luma = torch.zeros(4, 6)  # output offset in the 4-block, input column -2..3 relative to the 2-block
    for out in range(4):
        centre = (out + 0.5) / 2 - 0.5
        for tap in range(-2, 4):
            luma[out, tap + 2] = _cubic(tap - centre, a)
    for r in range(4):
        for c in range(4):
            for i in range(6):
                for j in range(6):
                    channel = (i % 2) * 2 + j % 2
                    kernel[r * 4 + c, channel, i // 2, j // 2] = luma[r, i] * luma[c, j]
    rows, columns = [_quadratic(t) for t in (-0.25, 0.25)], [_quadratic(t) for t in (-0.125, 0.375)]
    for plane in range(2):
        for r in range(2):
            for c in range(2):
                kernel[16 + 4 * plane + 2 * r + c, 4 + plane] = torch.outer(rows[r], columns[c])
    return kernel


def _cubic(t: float, a: float) -> float:
    t = abs(t)
    if t <= 1:
        return (a + 2) * t**3 - (a + 3) * t**2 + 1
    return a * t**3 - 5 * a * t**2 + 8 * a * t - 4 * a if t < 2 else 0.0


def _quadratic(t: float) -> Tensor:
    """Lagrange's parabola through samples at -1, 0, 1, evaluated at ``t``."""
    return torch.tensor([t * (t - 1) / 2, 1 - t * t, t * (t + 1) / 2])
