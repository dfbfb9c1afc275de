# SPDX-License-Identifier: BSD-2-Clause
"""Batches from packs held in memory: everything is vectorised, nothing is decoded during training."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from clarivid.data.pack import PLANES, Pack
from clarivid.errors import InputError

Planes = tuple[Tensor, Tensor, Tensor]  # Y [N,H,W], U and V [N,H/2,W/2]


def fold(y: Tensor, u: Tensor, v: Tensor, size: int = 1) -> Tensor:
    """Planes to the folded layout: luma blocks of 2·size, chroma blocks of size; [N, 6·size², h, w].

    ``size`` 1 is the net's input, 2 the target of a x2 net. Inverse: :func:`unfold`.
    """
    return torch.cat(
        [
            torch.nn.functional.pixel_unshuffle(y[:, None], 2 * size),
            torch.nn.functional.pixel_unshuffle(u[:, None], size),
            torch.nn.functional.pixel_unshuffle(v[:, None], size),
        ],
        1,
    )


def unfold(x: Tensor) -> Planes:
    """The folded layout back to planes, [N, 6·size², h, w] for any size."""
    size = round((x.shape[1] / 6) ** 0.5)
    luma, chroma = 4 * size * size, size * size
    shuffle = torch.nn.functional.pixel_shuffle
    return (
        shuffle(x[:, :luma], 2 * size)[:, 0],
        shuffle(x[:, luma : luma + chroma], size)[:, 0],
        shuffle(x[:, luma + chroma :], size)[:, 0],
    )


def normalise(y: Tensor, u: Tensor, v: Tensor) -> Planes:
    """8-bit limited-range codes to "ycbcr_unit_centred": luma -0.5..0.5, chroma likewise about 0."""
    return ((y.float() - 16) * (1 / 219) - 0.5, (u.float() - 128) * (1 / 224), (v.float() - 128) * (1 / 224))


@dataclass(frozen=True)
class Batch:
    """``low`` [N,6,h,w], ``high`` [N,24,h,w]; ``chroma`` False when the chroma of this batch must not be
    learnt."""

    low: Tensor
    high: Tensor
    chroma: bool
    mix: float = 0.0


class Batches:
    """Draws batches at random, with flips and transposition.

    Chroma is sited left: mirrored left to right or transposed it lies elsewhere, and a net that learnt from
    such pictures would shift it. So half of the batches are only flipped upside down, and in the other half,
    which gets all eight orientations, ``Batch.chroma`` is False.
    """

    def __init__(
        self, packs: Sequence[Pack], shares: Mapping[str, float], batch: int, seed: int, device: torch.device
    ) -> None:
        self.batch, self.device = batch, device
        self.rng = torch.Generator().manual_seed(seed)
        tiles: list[list[Tensor]] = [[] for _ in PLANES]
        weights: list[Tensor] = []
        for kind, share in shares.items():
            own = [pack.crops[kind] for pack in packs if kind in pack.crops]
            count = sum(len(t["y_lo"]) for t in own)
            if share <= 0:
                continue
            if count == 0:
                raise InputError(
                    f"the training packs have no crops of kind '{kind}'; make a pack with that kind"
                )
            for t in own:
                for plane, store in zip(PLANES, tiles, strict=True):
                    store.append(torch.from_numpy(t[plane]))
            weights.append(torch.full((count,), share / count))
        self.planes = [torch.cat(store).to(device) for store in tiles]
        self.weights = torch.cat(weights)

    def __len__(self) -> int:
        return len(self.weights)

    def draw(self) -> Batch:
        index = torch.multinomial(self.weights, self.batch, replacement=True, generator=self.rng).to(
            self.device
        )
        turn = torch.randint(0, 8, (2,), generator=self.rng).tolist()
        chroma = turn[0] < 4
        planes = [self._turn(plane[index], turn[1] & 1 if chroma else turn[1]) for plane in self.planes]
        y_hi, u_hi, v_hi, y_lo, u_lo, v_lo = planes
        layout = torch.channels_last
        return Batch(
            fold(*normalise(y_lo, u_lo, v_lo)).contiguous(memory_format=layout),
            fold(*normalise(y_hi, u_hi, v_hi), size=2).contiguous(memory_format=layout),
            chroma,
            float(torch.rand((), generator=self.rng)),
        )

    @staticmethod
    def _turn(x: Tensor, how: int) -> Tensor:
        if how & 4:
            x = x.transpose(1, 2)
        dims = [d for d, bit in ((1, 1), (2, 2)) if how & bit]
        return x.flip(dims) if dims else x
