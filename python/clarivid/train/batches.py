# SPDX-License-Identifier: BSD-2-Clause
"""Batches from packs held in memory: everything is vectorised, nothing is decoded during training."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from clarivid.data.pack import LOW_CROP, PLANES, Pack, Tiles
from clarivid.errors import InputError

_LOW = (("y_lo", 1), ("u_lo", 2), ("v_lo", 2))  # planes, and luma samples to one of theirs
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
    learnt; ``mix`` 0..1 [] as :meth:`clarivid.nets.sr.SRNet.forward` takes it."""

    low: Tensor
    high: Tensor
    chroma: bool
    mix: Tensor


class _Crops:
    """Crops of packs on a device, from which some are drawn by the shares of their kinds."""

    def __init__(
        self, kinds: Mapping[str, Sequence[Tiles]], shares: Mapping[str, float], device: torch.device
    ) -> None:
        counts = {kind: sum(len(tiles["y_lo"]) for tiles in own) for kind, own in kinds.items()}
        self.weights = torch.cat([torch.full((n,), shares[kind] / n) for kind, n in counts.items()])
        tiles = [t for own in kinds.values() for t in own]
        self.planes = {
            name: torch.cat([torch.from_numpy(t[name]) for t in tiles]).to(device) for name in tiles[0]
        }
        self.device = device

    def draw(self, count: int, rng: torch.Generator) -> dict[str, Tensor]:
        index = torch.multinomial(self.weights, count, replacement=True, generator=rng).to(self.device)
        return {name: plane[index] for name, plane in self.planes.items()}


class Batches:
    """Draws batches at random, with flips and transposition; ``shares`` are those of the kinds of pictures.

    Chroma is sited left: mirrored left to right or transposed it lies elsewhere, and a net that learnt from
    such pictures would shift it. So half of the batches are only flipped upside down, and in the other half,
    which gets all eight orientations, ``Batch.chroma`` is False.
    """

    def __init__(
        self,
        packs: Sequence[Pack],
        shares: Mapping[str, float],
        batch: int,
        seed: int,
        device: torch.device,
        pairs: bool = False,
    ) -> None:
        self.batch = batch
        self.rng = torch.Generator().manual_seed(seed)
        self._crops = _Crops(_by_kind([pack.crops for pack in packs], shares, "crops"), shares, device)
        self._pairs: _Crops | None = None
        if pairs:
            of_pairs = _by_kind([pack.pairs for pack in packs], shares, "pairs of frames")
            self._pairs = _Crops(of_pairs, shares, device)

    def __len__(self) -> int:
        return len(self._crops.weights)

    def draw(self, size: int = LOW_CROP) -> Batch:
        """A batch of crops of the low side's ``size`` (even): the smaller, the more, for the same work."""
        count = self.batch * (LOW_CROP // size) ** 2
        planes = self._crops.draw(count, self.rng)
        if size < LOW_CROP:
            planes = self._part(planes, size)
        return self._batches(planes, ("",))[0]

    def draw_pairs(self, count: int) -> tuple[Batch, Batch]:
        """Crops of frames in succession, seen alike; ``pairs`` must have been asked for."""
        assert self._pairs is not None
        now, after = self._batches(self._pairs.draw(count, self.rng), ("", "_next"))
        return now, after

    def draw_shifted(self, count: int) -> tuple[Tensor, Tensor, tuple[int, int]]:
        """The same low pictures twice, [N,6,h,w], the second seen from some luma pixels further down and to
        the right (0 or 1, not both 0).

        A net of folded pictures sees other channels then. Chroma, which lies between two samples after an odd
        shift, is interpolated.
        """
        planes = self._crops.draw(count, self.rng)
        down, right = ((0, 1), (1, 0), (1, 1))[int(torch.randint(0, 3, (), generator=self.rng))]
        size = LOW_CROP - 2

        def seen(plane: Tensor, part: int, down: int, right: int) -> Tensor:
            n, x = size // part, plane.float()
            if part == 1:
                return x[:, down : down + n, right : right + n]
            corners = [x[:, i : i + n, j : j + n] for i in {0, down} for j in {0, right}]
            return torch.stack(corners).mean(0)

        def low(down: int, right: int) -> Tensor:
            y, u, v = (seen(planes[name], part, down, right) for name, part in _LOW)
            return fold(*normalise(y, u, v)).contiguous(memory_format=torch.channels_last)

        return low(0, 0), low(down, right), (down, right)

    def _part(self, planes: dict[str, Tensor], size: int) -> dict[str, Tensor]:
        """The same part of all crops."""
        top, left = (2 * torch.randint(0, (LOW_CROP - size) // 2 + 1, (2,), generator=self.rng)).tolist()

        def cut(name: str, plane: Tensor) -> Tensor:
            unit = (4 if "hi" in name else 2) // (1 if name[0] == "y" else 2)  # of two luma pixels of low
            a, b, n = top * unit // 2, left * unit // 2, size * unit // 2
            return plane[:, a : a + n, b : b + n]

        return {name: cut(name, plane) for name, plane in planes.items()}

    def _batches(self, planes: dict[str, Tensor], suffixes: Sequence[str]) -> list[Batch]:
        turn = torch.randint(0, 8, (2,), generator=self.rng).tolist()
        chroma = turn[0] < 4
        how = turn[1] & 1 if chroma else turn[1]
        mix = torch.rand((), generator=self.rng)
        batches = []
        for suffix in suffixes:
            y_hi, u_hi, v_hi, y_lo, u_lo, v_lo = (self._turn(planes[p + suffix], how) for p in PLANES)
            low = fold(*normalise(y_lo, u_lo, v_lo)).contiguous(memory_format=torch.channels_last)
            high = fold(*normalise(y_hi, u_hi, v_hi), size=2).contiguous(memory_format=torch.channels_last)
            batches.append(Batch(low, high, chroma, mix.to(low.device)))
        return batches

    @staticmethod
    def _turn(x: Tensor, how: int) -> Tensor:
        if how & 4:
            x = x.transpose(1, 2)
        dims = [d for d, bit in ((1, 1), (2, 2)) if how & bit]
        return x.flip(dims) if dims else x


def _by_kind(
    sets: Sequence[Mapping[str, Tiles]], shares: Mapping[str, float], what: str
) -> dict[str, list[Tiles]]:
    kinds = {kind: [s[kind] for s in sets if kind in s] for kind, share in shares.items() if share > 0}
    missing = [kind for kind, tiles in kinds.items() if not tiles]
    if missing:
        raise InputError(
            f"the training packs have no {what} of kind '{missing[0]}'; make a pack with that kind, "
            "or set its share to 0"
        )
    return kinds
