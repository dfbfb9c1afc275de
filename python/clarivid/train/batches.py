# SPDX-License-Identifier: BSD-2-Clause
"""Batches from packs held in memory: everything is vectorised, nothing is decoded during training."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

import torch
from torch import Tensor

from clarivid.data import ladder
from clarivid.data.pack import LOW_CROP, PLANES, Pack, Tiles
from clarivid.errors import InputError

T = TypeVar("T")
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


def unfold_luma(x: Tensor) -> Tensor:
    """Luma [N,H,W] of the folded layout [N, 6·size², h, w]: :func:`unfold` for a third of its time."""
    size = round((x.shape[1] / 6) ** 0.5)
    return torch.nn.functional.pixel_shuffle(x[:, : 4 * size * size], 2 * size)[:, 0]


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
        self.clean: Tensor | None = None  # weights of the better coded ones alone
        tiles = [t for own in kinds.values() for t in own]
        self.planes = {
            name: torch.cat([torch.from_numpy(t[name]) for t in tiles]).to(device) for name in tiles[0]
        }
        self.device = device

    def prefer(self, quantisers: Tensor) -> None:
        """Give every crop the place of its quantiser in the encoder's range, for :meth:`draw` of the better
        half of them."""
        self.clean = self.weights * (quantisers <= quantisers.median())

    def draw(self, count: int, rng: torch.Generator, clean: bool = False) -> dict[str, Tensor]:
        weights = self.clean if clean else self.weights
        assert weights is not None
        index = torch.multinomial(weights, count, replacement=True, generator=rng).to(self.device)
        return {name: plane[index] for name, plane in self.planes.items()}


class Batches:
    """Draws batches at random, with flips and transposition; ``shares`` are those of the kinds of pictures.
    ``pairs`` and ``clean`` prepare what :meth:`draw_pairs` and :meth:`draw` need for them.

    Chroma is sited left: mirrored left to right or transposed it lies elsewhere, and a net that learnt from
    such pictures would shift it. So half of the batches are only flipped upside down, and in the other half,
    which gets all eight orientations, ``Batch.chroma`` is False. With ``chroma`` False all batches are so.
    """

    def __init__(
        self,
        packs: Sequence[Pack],
        shares: Mapping[str, float],
        batch: int,
        seed: int,
        device: torch.device,
        pairs: bool = False,
        chroma: bool = True,
        clean: bool = False,
    ) -> None:
        self.batch = batch
        self.chroma = chroma
        self.rng = torch.Generator().manual_seed(seed)
        self._crops = _Crops(_by_kind([pack.crops for pack in packs], shares, "crops"), shares, device)
        if clean:
            places = _by_kind([_quantisers(pack) for pack in packs], shares, "crops")
            self._crops.prefer(torch.cat([place for own in places.values() for place in own]))
        self._pairs: _Crops | None = None
        if pairs:
            of_pairs = _by_kind([pack.pairs for pack in packs], shares, "pairs of frames")
            self._pairs = _Crops(of_pairs, shares, device)

    def __len__(self) -> int:
        return len(self._crops.weights)

    def draw(self, size: int = LOW_CROP, clean: bool = False) -> Batch:
        """A batch of crops of the low side's ``size`` (even): the smaller, the more, for the same work.
        ``clean`` draws from the better coded half alone; it must have been asked for."""
        count = self.batch * (LOW_CROP // size) ** 2
        planes = self._crops.draw(count, self.rng, clean)
        if size < LOW_CROP:
            planes = self._part(planes, size)
        return self._batches(planes, ("",))[0]

    def draw_pairs(self, count: int) -> Batch:
        """``count`` crops, then the same places a frame later, seen alike; ``pairs`` must have been asked
        for."""
        assert self._pairs is not None
        return _joined(*self._batches(self._pairs.draw(count, self.rng), ("", "_next")))

    def draw_shifted(self, count: int) -> tuple[Batch, tuple[int, int]]:
        """``count`` crops, then the same again from a luma pixel of low further up or to the left or both,
        and by how many pixels of high they are so moved down and to the right.

        A net of folded pictures is blind to shifts by two pixels, not by one, where it sees other channels.
        Chroma lies between two samples then: it is interpolated in the low pictures and not to be learnt.
        """
        planes = self._crops.draw(count, self.rng)
        how = int(torch.randint(0, 8, (), generator=self.rng))
        planes = {name: self._turn(plane, how) for name, plane in planes.items()}
        down, right = ((0, 1), (1, 0), (1, 1))[int(torch.randint(0, 3, (), generator=self.rng))]
        mix = torch.rand((), generator=self.rng).to(self._crops.device)
        size = LOW_CROP - 8

        def part(name: str, down: int, right: int) -> Tensor:
            """Seen from (1, 1) less the shift, in luma pixels of low; half places are interpolated."""
            y, x = 1 - down, 1 - right
            unit, n = (2, 2 * size) if "hi" in name else (1, size)  # pixels of luma
            if name[0] == "y":
                return planes[name][:, unit * y : unit * y + n, unit * x : unit * x + n]
            if "hi" in name:
                return planes[name][:, y : y + n // 2, x : x + n // 2]
            plane = planes[name].float()
            corners = [plane[:, i : i + n // 2, j : j + n // 2] for i in {0, y} for j in {0, x}]
            return torch.stack(corners).mean(0)

        def view(down: int, right: int) -> Batch:
            y_hi, u_hi, v_hi, y_lo, u_lo, v_lo = (part(p, down, right) for p in PLANES)
            return _batch((y_lo, u_lo, v_lo), (y_hi, u_hi, v_hi), False, mix)

        return _joined(view(0, 0), view(down, right)), (2 * down, 2 * right)

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
        chroma = self.chroma and turn[0] < 4
        how = turn[1] & 1 if chroma else turn[1]
        mix = torch.rand((), generator=self.rng)
        batches = []
        for suffix in suffixes:
            y_hi, u_hi, v_hi, y_lo, u_lo, v_lo = (self._turn(planes[p + suffix], how) for p in PLANES)
            batches.append(_batch((y_lo, u_lo, v_lo), (y_hi, u_hi, v_hi), chroma, mix.to(y_lo.device)))
        return batches

    @staticmethod
    def _turn(x: Tensor, how: int) -> Tensor:
        if how & 4:
            x = x.transpose(1, 2)
        dims = [d for d, bit in ((1, 1), (2, 2)) if how & bit]
        return x.flip(dims) if dims else x


def _batch(low: Planes, high: Planes, chroma: bool, mix: Tensor) -> Batch:
    """Of 8-bit codes."""
    return Batch(
        fold(*normalise(*low)).contiguous(memory_format=torch.channels_last),
        fold(*normalise(*high), size=2).contiguous(memory_format=torch.channels_last),
        chroma,
        mix,
    )


def _joined(first: Batch, second: Batch) -> Batch:
    """One after the other, with the mix of the first."""
    low, high = (
        torch.cat(pair).contiguous(memory_format=torch.channels_last)
        for pair in ((first.low, second.low), (first.high, second.high))
    )
    return Batch(low, high, first.chroma, first.mix)


def _by_kind(sets: Sequence[Mapping[str, T]], shares: Mapping[str, float], what: str) -> dict[str, list[T]]:
    kinds = {kind: [s[kind] for s in sets if kind in s] for kind, share in shares.items() if share > 0}
    missing = [kind for kind, found in kinds.items() if not found]
    if missing:
        raise InputError(
            f"the training packs have no {what} of kind '{missing[0]}'; make a pack with that kind, "
            "or set its share to 0"
        )
    return kinds


def _quantisers(pack: Pack) -> dict[str, Tensor]:
    """Of each crop, by kind: where its quantiser lies in its encoder's range."""
    places = {}
    for kind, crops in pack.crops.items():
        clips = [c for c in pack.manifest.get("clips", []) if c["kind"] == kind and not c["val"]]
        count = len(crops["y_lo"])
        if not clips or count % len(clips):
            raise InputError("a training pack does not say how its clips were coded; make it again")
        each = torch.tensor([ladder.place(c["rung"]["codec"], c["rung"]["quality"]) for c in clips])
        places[kind] = each.repeat_interleave(count // len(clips))
    return places
