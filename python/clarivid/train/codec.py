# SPDX-License-Identifier: BSD-2-Clause
"""Stage 2 of ``lowrank_pre``'s training: a differentiable stand-in for a hybrid video encoder.

::

    frame 0     DCT ── quantise ── bits              (intra: only DC is predicted)
                        └── decoded ─ motion ┐
    frame t     minus prediction ── DCT ── quantise ── bits      (each 16x16: intra or inter,
                        └── decoded ─ motion ┐ ...                blocks of 4, 8 or 16)

As it was published, the rebuilt picture is cut into blocks, each is transformed, every frequency is weighted
by a learnt importance, and the entropy of the spectra is minimised (:mod:`clarivid.train.spectrum`). Here the
spectra are those of what an encoder codes (the prediction error, after motion), quantised as an encoder does
it, at a quantiser drawn at random. The importance of each frequency is not learnt with the net, which would
put it where no picture has anything, but beforehand, from the bits that real encoders spent
(:mod:`clarivid.train.calibrate`); the result is in ``codec.json`` beside this file.

All pictures are luma in codes (8 bit, 0..255), float [N,T,H,W], H and W multiples of 16.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from clarivid.errors import InputError
from clarivid.train.motion import warp
from clarivid.train.spectrum import dct_matrix

SHIPPED = Path(__file__).with_name("codec.json")
"""Prices fitted to x264 and x265."""

SCHEMA = 1
SIZES = (4, 8, 16)
SIDES = ("intra", "inter")
REGION = 16  # a macroblock: the unit of mode decisions
SOFTNESS = 0.12  # of the quantiser's threshold in gradients, in steps


def block_transform(x: Tensor, matrix: Tensor) -> Tensor:
    """``matrix`` applied to the rows and columns of each n x n block of ``x`` [B,H,W].

    The result has the shape of ``x``: each block's coefficients lie where the block lies.
    """
    batch, height, width = x.shape
    n = matrix.shape[0]
    x = matrix @ x.reshape(batch * height // n, n, width)
    return (x.reshape(-1, n) @ matrix.T).reshape(batch, height, width)


def step_of(qp: Tensor) -> Tensor:
    """Quantiser step on orthonormal coefficients, in codes (ITU-T H.264, 8.5.9: doubles every 6 QP)."""
    return 0.625 * torch.exp2(qp / 6)


@dataclass(frozen=True)
class Spectra:
    """What was coded in one frame, summed over its blocks.

    ``sums`` has one [N,3,n,n] a mode, for each frequency: entropy of the significance in bits, number of
    coded coefficients, bits of their magnitudes. ``regions`` [N,modes]: number of 16x16 with anything coded.
    ``modes``: block size, and whether inter.
    """

    sums: list[Tensor]
    regions: Tensor
    modes: tuple[tuple[int, bool], ...]


@dataclass(frozen=True)
class Coded:
    """What the stand-in made of a clip: ``decoded`` [N,T,H,W], ``bits`` [N,T], ``spectra`` of each frame."""

    decoded: Tensor
    bits: Tensor
    spectra: list[Spectra]


class Codec(nn.Module):
    """The stand-in encoder; see the module's text.

    Bits of a coefficient z (in steps): the cross-entropy of "is it coded" under a probability that follows
    both its frequency (over the clip's frame) and its neighbourhood (its 16x16), as adaptive arithmetic
    coders' contexts do, plus sign and magnitude. The prices are learnt from real encoders: the importance of
    each frequency by block size and by intra/inter, the weights of the three parts, and what a 16x16 costs
    on top. A new codec has plain ones; :func:`calibrated` has those that are shipped.
    """

    def __init__(self, sizes: Sequence[int] = SIZES) -> None:
        super().__init__()
        self.sizes = tuple(sizes)
        # Logarithms, [intra/inter] each: prices stay positive.
        self.importance = nn.ParameterDict({str(n): nn.Parameter(torch.zeros(2, n, n)) for n in self.sizes})
        self.parts = nn.Parameter(torch.zeros(2, 4))
        for n in self.sizes:
            self.register_buffer(f"dct{n}", dct_matrix(n), persistent=False)

    def prices(self) -> dict[str, Any]:
        """The prices as ``codec.json`` has them."""
        parts = self.parts.detach().exp().cpu()
        tables = {n: table.detach().exp().cpu() for n, table in self.importance.items()}

        def rounded(x: Tensor) -> Any:
            return [rounded(row) for row in x] if x.ndim else round(float(x), 4)

        return {
            "schema": SCHEMA,
            "parts": {side: rounded(parts[i]) for i, side in enumerate(SIDES)},
            "importance": {
                n: {side: rounded(table[i]) for i, side in enumerate(SIDES)} for n, table in tables.items()
            },
        }

    @torch.no_grad()
    def set_prices(self, prices: Mapping[str, Any]) -> None:
        """Take over what :meth:`prices` gave; :class:`InputError` when it is something else."""
        try:
            if prices["schema"] != SCHEMA:
                raise InputError(
                    f"the codec's prices have schema {prices['schema']}, this clarivid reads {SCHEMA}"
                )
            for i, side in enumerate(SIDES):
                self.parts[i] = torch.tensor(prices["parts"][side]).log()
                for n, table in self.importance.items():
                    table[i] = torch.tensor(prices["importance"][n][side]).log()
        except (KeyError, TypeError, ValueError, RuntimeError) as error:
            raise InputError(f"the codec's prices are damaged: {error!r}") from error

    def forward(self, clip: Tensor, motion: Tensor, qp: Tensor, aq: Tensor | None = None) -> Coded:
        """Code ``clip`` [N,T,H,W] at ``qp`` [N].

        ``motion`` [N,T-1,H,W,2] is where each sample of frame t lies in frame t-1, as grid_sample takes it.
        ``aq`` [N] is the strength of variance-adaptive quantisation (x264's aq-mode 1).
        """
        decoded: list[Tensor] = []
        spectra: list[Spectra] = []
        for t in range(clip.shape[1]):
            frame = clip[:, t]
            local = qp[:, None, None].expand(-1, frame.shape[1] // REGION, frame.shape[2] // REGION)
            if aq is not None:
                local = local + aq[:, None, None] * adaptive_offset(frame.detach())
            last = warp(decoded[-1], motion[:, t - 1]) if t else None
            out, spectrum = self._frame(frame, last, spread(step_of(local)))
            decoded.append(out)
            spectra.append(spectrum)
        bits = torch.stack([self.price(spectrum) for spectrum in spectra], 1)
        return Coded(torch.stack(decoded, 1), bits, spectra)

    def _frame(self, frame: Tensor, last: Tensor | None, step: Tensor) -> tuple[Tensor, Spectra]:
        """Decoded frame [N,H,W] and its spectra; ``last`` is the motion-compensated prediction."""
        modes = (
            [(n, False) for n in self.sizes]
            if last is None
            else [(n, True) for n in self.sizes] + [(8, False)]
        )
        with torch.no_grad():
            masks, bases = self._decide(frame, last, step, modes)
        inter = sum((m for m, (_, i) in zip(masks, modes, strict=True) if i), torch.zeros_like(masks[0]))
        prediction = torch.zeros_like(frame) if last is None else last * inter
        rest = frame - prediction
        z = torch.zeros_like(frame)
        base = torch.zeros_like(frame)
        for mask, dc, (n, _) in zip(masks, bases, modes, strict=True):
            z = z + mask * block_transform(rest, self._dct(n))
            if dc is not None:
                base = base + mask * dc
        z = z / step - base
        threshold = 0.7 + 0.1 * inter
        rounded = quantise(z, threshold)
        spectra = self._spectra(z, threshold, rounded, masks, modes)
        levels = (rounded + base) * step
        out = prediction
        for mask, (n, _) in zip(masks, modes, strict=True):
            out = out + block_transform(mask * levels, self._dct(n).T)
        return out, spectra

    def _dct(self, n: int) -> Tensor:
        matrix: Tensor = getattr(self, f"dct{n}")
        return matrix

    def _decide(
        self, frame: Tensor, last: Tensor | None, step: Tensor, modes: Sequence[tuple[int, bool]]
    ) -> tuple[list[Tensor], list[Tensor | None]]:
        """Each region's mode, the one of the least distortion + lambda · bits, as a mask [N,H,W] a mode; and
        the prediction of DC for intra modes."""
        losses, bases = [], []
        for n, inter in modes:
            assert last is not None or not inter
            source = frame - last if inter and last is not None else frame
            z = block_transform(source, self._dct(n)) / step
            base = None if inter else predict_dc(z, n)
            bases.append(base)
            if base is not None:
                z = z - base
            rounded = quantise(z, torch.tensor(0.8 if inter else 0.7))
            size = rounded.abs()
            # lambda of the reference encoder, 0.85 · 2^((QP-12)/3), is 0.136 step² a bit.
            bits = (size > 0) * 4.0 + 1.5 * torch.log2(size.clamp_min(1))
            cost = F.avg_pool2d(((z - rounded) ** 2 + 0.136 * bits)[:, None], REGION)[:, 0] * REGION**2
            losses.append(cost + 0.136 * (0 if inter else 8))
        choice = torch.stack(losses).argmin(0)
        return [spread((choice == i).to(frame.dtype)) for i in range(len(modes))], bases

    def _spectra(
        self,
        z: Tensor,
        threshold: Tensor,
        rounded: Tensor,
        masks: Sequence[Tensor],
        modes: Sequence[tuple[int, bool]],
    ) -> Spectra:
        height, width = z.shape[1:]
        size = z.abs()
        hard = (rounded.detach() != 0).to(z.dtype)
        soft = torch.sigmoid((size - threshold) / SOFTNESS)
        coded = hard + soft - soft.detach()  # hard forward, soft backward
        # Probability by frequency and by place, combined in the logarithmic odds.
        local = F.avg_pool2d(coded[:, None], REGION)[:, 0]
        odds = spread(_logit(local)) - _logit(coded.mean((1, 2)))[:, None, None]
        counts: list[Tensor] = []
        for mask, (n, _) in zip(masks, modes, strict=True):
            blocks = (len(z), height // n, n, width // n, n)
            counts.append(mask.view(blocks).mean((1, 3)).clamp_min(1e-6))
            often = (coded * mask).view(blocks).mean((1, 3)) / counts[-1]
            odds = odds + mask * _logit(often).repeat(1, height // n, width // n)
        entropy = F.binary_cross_entropy_with_logits(odds, coded, reduction="none") / math.log(2)
        magnitude = torch.log2(1 + F.relu(size - 1)) * coded
        spectra = []
        for mask, (n, _) in zip(masks, modes, strict=True):
            blocks = (len(z), height // n, n, width // n, n)
            spectra.append(
                torch.stack([(x * mask).view(blocks).sum((1, 3)) for x in (entropy, coded, magnitude)], 1)
            )
        used = 1 - torch.exp(-local * REGION**2)
        regions = torch.stack([(used * mask[:, ::REGION, ::REGION]).sum((1, 2)) for mask in masks], 1)
        return Spectra(spectra, regions, tuple(modes))

    def price(self, spectra: Spectra) -> Tensor:
        """Bits of what was coded, [N]."""
        parts = self.parts.exp()
        bits = torch.zeros_like(spectra.regions[:, 0])
        for i, (sums, (n, inter)) in enumerate(zip(spectra.sums, spectra.modes, strict=True)):
            importance = self.importance[str(n)][int(inter)].exp()
            weights = parts[int(inter), :3].view(3, 1, 1) * importance
            bits = bits + (sums * weights).sum((1, 2, 3)) + 4 * parts[int(inter), 3] * spectra.regions[:, i]
        return bits


def calibrated(path: Path = SHIPPED) -> Codec:
    """The stand-in with the prices in ``path``, held still. Raises :class:`InputError`."""
    codec = Codec()
    try:
        codec.set_prices(json.loads(path.read_text("utf-8")))
    except (OSError, ValueError) as error:
        raise InputError(f"cannot read the codec's prices {path}: {error}") from error
    return codec.requires_grad_(False)


def spread(x: Tensor) -> Tensor:
    """A value a region to a value a sample: [N,h,w] to [N,16h,16w]."""
    return x.repeat_interleave(REGION, 1).repeat_interleave(REGION, 2)


def _logit(p: Tensor) -> Tensor:
    p = p.clamp(1 / 512, 1 - 1 / 512)
    return torch.log(p) - torch.log1p(-p)


def quantise(z: Tensor, threshold: Tensor) -> Tensor:
    """Rounding with a dead zone: values below ``threshold`` give 0, others the next integer down from
    |z| + 1 - threshold.

    The gradient is that of z · sigmoid((|z| - threshold) / SOFTNESS): none deep in the dead zone, because
    what is not coded does not change the result; 1 far outside.
    """
    hard = torch.sign(z) * torch.floor(z.abs() + 1 - threshold)
    soft = z * torch.sigmoid((z.abs() - threshold) / SOFTNESS)
    return soft + (hard - soft).detach()


def predict_dc(z: Tensor, n: int) -> Tensor:
    """What each block's DC is predicted to be: the mean of its left and upper neighbours', rounded. 0 for the
    other coefficients."""
    dc = z[:, ::n, ::n]
    padded = F.pad(dc[:, None], (1, 0, 1, 0), mode="replicate")[:, 0]
    base = torch.zeros_like(z)
    base[:, ::n, ::n] = torch.round((padded[:, 1:, :-1] + padded[:, :-1, 1:]) / 2)
    return base


def adaptive_offset(frame: Tensor) -> Tensor:
    """QP offset of each region by its energy, [N,h,w], strength 1 (x264, aq-mode 1)."""
    mean = F.avg_pool2d(frame[:, None], REGION)
    square = F.avg_pool2d(frame[:, None] ** 2, REGION)
    energy = ((square - mean**2) * REGION**2).clamp_min(1)[:, 0]
    return 1.0397 * (torch.log2(energy) - 14.427)
