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
from torch.autograd.function import once_differentiable

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
            matrix = torch.block_diag(*[dct_matrix(n)] * (REGION // n))  # type: ignore[no-untyped-call]
            self.register_buffer(f"dct{n}", matrix, persistent=False)

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

    def forward(
        self,
        clip: Tensor,
        motion: Tensor,
        qp: Tensor,
        aq: Tensor | None = None,
        offset: Tensor | None = None,
    ) -> Coded:
        """Code ``clip`` [N,T,H,W] at ``qp`` [N].

        ``motion`` [N,T-1,H,W,2] is where each sample of frame t lies in frame t-1, as grid_sample takes it.
        ``aq`` [N] is the strength of variance-adaptive quantisation (x264's aq-mode 1), ``offset`` [N,T,h,w]
        is added to the QP of each 16x16, as :func:`tree_offset` gives it.
        """
        decoded: list[Tensor] = []
        spectra: list[Spectra] = []
        for t in range(clip.shape[1]):
            frame = clip[:, t]
            local = qp[:, None, None].expand(-1, frame.shape[1] // REGION, frame.shape[2] // REGION)
            if aq is not None:
                local = local + aq[:, None, None] * adaptive_offset(frame.detach())
            if offset is not None:
                local = local + offset[:, t]
            last = regions(warp(decoded[-1], motion[:, t - 1])) if t else None
            out, spectrum = self._frame(regions(frame), last, step_of(local)[..., None, None])
            decoded.append(whole(out))
            spectra.append(spectrum)
        bits = torch.stack([self.price(spectrum) for spectrum in spectra], 1)
        return Coded(torch.stack(decoded, 1), bits, spectra)

    def _frame(self, frame: Tensor, last: Tensor | None, step: Tensor) -> tuple[Tensor, Spectra]:
        """Decoded frame and its spectra; ``last`` is the motion-compensated prediction. Pictures are
        [N,h,w,16,16], ``step`` [N,h,w,1,1]."""
        modes = self._modes(last is not None)
        with torch.no_grad():
            choice, base = self._decide(frame, last, step, modes)
        is_inter = torch.tensor([inter for _, inter in modes], device=frame.device)[choice]
        inter = is_inter.to(frame.dtype)[..., None, None]
        transform = torch.stack([self._dct(n) for n, _ in modes])[choice]
        back = transform.mT
        rest = frame if last is None else frame - last * inter
        z = transform @ rest @ back / step
        if base is not None:
            z = z - base
        rounded, coded = quantise(z, 0.7 + 0.1 * inter)
        spectra = self._spectra(z, coded, choice, modes)
        levels = rounded if base is None else rounded + base
        out = back @ (levels * step) @ transform
        return out if last is None else out + last * inter, spectra

    def _modes(self, inter: bool) -> tuple[tuple[int, bool], ...]:
        """Block size, and whether inter."""
        if inter:
            return (*((n, True) for n in self.sizes), (8, False))
        return tuple((n, False) for n in self.sizes)

    def _dct(self, n: int) -> Tensor:
        """The transform of 16 samples in blocks of n, [16,16]."""
        matrix: Tensor = getattr(self, f"dct{n}")
        return matrix

    def _decide(
        self, frame: Tensor, last: Tensor | None, step: Tensor, modes: Sequence[tuple[int, bool]]
    ) -> tuple[Tensor, Tensor | None]:
        """Each region's mode, the one of the least distortion + lambda · bits, [N,h,w]; and the prediction of
        its DCs, [N,h,w,16,16], when there are intra regions."""
        costs, bases = [], []
        rest = None if last is None else (frame - last) / step
        plain = frame / step
        for n, inter in modes:
            source = rest if inter else plain
            assert source is not None
            z = self._dct(n) @ source @ self._dct(n).T
            base = None
            if not inter:
                base = predict_dc(z, n)
                z[..., ::n, ::n] -= base
            bases.append(base)
            z = z.abs_()
            size = (z + (0.2 if inter else 0.3)).floor_()
            # lambda of the reference encoder, 0.85 · 2^((QP-12)/3), is 0.136 step² a bit. A coefficient is
            # taken as 4 bits and 1.5 for each doubling.
            cost = z.sub_(size).square_().sum((-2, -1))
            some = size.clamp_max(1).sum((-2, -1))
            doublings = size.clamp_min_(1).log2_().sum((-2, -1))
            cost += 0.136 * (4.0 * some + 1.5 * doublings + (0 if inter else 8))
            costs.append(cost)
        choice = torch.stack(costs).argmin(0)
        if last is not None and not bool((choice == len(modes) - 1).any()):
            return choice, None
        predicted = torch.zeros_like(frame)
        for i, ((n, _), base) in enumerate(zip(modes, bases, strict=True)):
            if base is not None:
                predicted[..., ::n, ::n] += base * (choice == i)[..., None, None]
        return choice, predicted

    def _spectra(
        self,
        z: Tensor,
        coded: Tensor,
        choice: Tensor,
        modes: Sequence[tuple[int, bool]],
    ) -> Spectra:
        count = len(z)
        mask = F.one_hot(choice.flatten(1), len(modes)).to(z.dtype)  # [N,regions,modes]
        by_mode = mask.mT
        # Probability by frequency and by place, combined in the logarithmic odds.
        flat = coded.reshape(count, -1, REGION**2)
        local = flat.mean(2)
        share = mask.mean(1).clamp_min(1e-6)  # [N,modes]
        often = _periodic(by_mode @ flat, modes) / (share[..., None] * flat.shape[1])
        odds = mask @ _logit(often) + (_logit(local) - _logit(local.mean(1, keepdim=True)))[..., None]
        entropy = F.binary_cross_entropy_with_logits(odds, flat, reduction="none") / math.log(2)
        magnitude = torch.log2(1 + F.relu(z.abs() - 1)).view_as(flat) * flat
        sums = [_folded(by_mode @ x, modes) for x in (entropy, flat, magnitude)]
        spectra = [torch.stack(of_mode, 1) for of_mode in zip(*sums, strict=True)]
        used = 1 - torch.exp(-local * REGION**2)
        return Spectra(spectra, (used[..., None] * mask).sum(1), tuple(modes))

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


def regions(x: Tensor) -> Tensor:
    """[N,H,W] as [N,h,w,16,16]."""
    count, height, width = x.shape
    return x.view(count, height // REGION, REGION, width // REGION, REGION).transpose(2, 3).contiguous()


def whole(x: Tensor) -> Tensor:
    """The inverse of :func:`regions`."""
    count, height, width = x.shape[:3]
    return x.transpose(2, 3).reshape(count, height * REGION, width * REGION)


def _periodic(x: Tensor, modes: Sequence[tuple[int, bool]]) -> Tensor:
    """Sums [N,modes,256] over regions to means over each frequency's places in a region, repeated there."""
    found = []
    for i, (n, _) in enumerate(modes):
        places = REGION // n
        mean = x[:, i].view(-1, places, n, places, n).mean((1, 3), keepdim=True)
        found.append(mean.expand(-1, places, n, places, n).reshape(len(x), -1))
    return torch.stack(found, 1)


def _folded(x: Tensor, modes: Sequence[tuple[int, bool]]) -> list[Tensor]:
    """Sums [N,modes,256] over regions to sums by frequency, [N,n,n] a mode."""
    found = []
    for i, (n, _) in enumerate(modes):
        places = REGION // n
        found.append(x[:, i].view(-1, places, n, places, n).sum((1, 3)))
    return found


def _logit(p: Tensor) -> Tensor:
    p = p.clamp(1 / 512, 1 - 1 / 512)
    return torch.log(p) - torch.log1p(-p)


def quantise(z: Tensor, threshold: Tensor) -> tuple[Tensor, Tensor]:
    """Rounding with a dead zone, and whether anything is left (1 or 0).

    Values below ``threshold`` (0..1) give 0, others the next integer down from |z| + 1 - threshold. With
    s = sigmoid((|z| - threshold) / SOFTNESS) the gradients are those of z · s and of s: none deep in the dead
    zone, because what is not coded does not change the result; far outside 1 and none.
    """
    result: tuple[Tensor, Tensor] = _Quantise.apply(z, threshold)  # type: ignore[no-untyped-call]
    return result


class _Quantise(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, z: Tensor, threshold: Tensor) -> tuple[Tensor, Tensor]:
        ctx.save_for_backward(z, threshold)
        size = z.abs().add_(1 - threshold).floor_()
        return torch.copysign(size, z), size.clamp_max_(1)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, to_rounded: Tensor, to_coded: Tensor) -> tuple[Tensor, None]:
        z, threshold = ctx.saved_tensors
        soft = z.abs().sub_(threshold).div_(SOFTNESS).sigmoid_()
        slope = (soft * (1 - soft)).div_(SOFTNESS)  # of the sigmoid
        # d(z s)/dz = s + |z| s' and ds/dz = sign(z) s': the latter's sign brings z into both.
        return to_rounded * soft + slope * torch.sign(z) * torch.addcmul(to_coded, z, to_rounded), None


def predict_dc(z: Tensor, n: int) -> Tensor:
    """What each block's DC is predicted to be: the mean of its left and upper neighbours', rounded.

    Coefficients [N,h,w,16,16] to [N,h,w,16/n,16/n].
    """
    dc = z[..., ::n, ::n]
    shape = dc.transpose(2, 3).shape  # [N,h,16/n,w,16/n]
    dc = dc.transpose(2, 3).reshape(len(z), shape[1] * shape[2], shape[3] * shape[4])
    padded = F.pad(dc[:, None], (1, 0, 1, 0), mode="replicate")[:, 0]
    mean = torch.round((padded[:, 1:, :-1] + padded[:, :-1, 1:]) / 2)
    return mean.view(shape).transpose(2, 3)


def adaptive_offset(frame: Tensor) -> Tensor:
    """QP offset of each region by its energy, [N,h,w], strength 1 (x264, aq-mode 1)."""
    mean = F.avg_pool2d(frame[:, None], REGION)
    square = F.avg_pool2d(frame[:, None] ** 2, REGION)
    energy = ((square - mean**2) * REGION**2).clamp_min(1)[:, 0]
    return 1.0397 * (torch.log2(energy) - 14.427)


@torch.no_grad()
def tree_offset(clip: Tensor, motion: Tensor, horizon: int = 30) -> Tensor:
    """QP offset of each region of a clip [N,T,H,W] by how long it will be predicted from, [N,T,h,w].

    Follows x264's macroblock tree (Garrett-Glaser 2009), as if the clip went on for ``horizon`` frames like
    this: a share of a region's information reaches the next frame, a share of that the one after, and so on;
    the sum of this series lowers the QP by 2 for each doubling (x264's strength at qcomp 0.6). The first
    frame, a key frame, has 2 less.
    """
    shares = []
    for t in range(1, clip.shape[1]):
        rest = clip[:, t] - warp(clip[:, t - 1], motion[:, t - 1])
        mean = F.avg_pool2d(clip[:, t][:, None], 8).repeat_interleave(8, 2).repeat_interleave(8, 3)[:, 0]
        inter = F.avg_pool2d(rest.abs()[:, None], REGION)[:, 0]
        intra = 0.6 * F.avg_pool2d((clip[:, t] - mean).abs()[:, None], REGION)[:, 0]
        shares.append(1 - torch.minimum(inter, intra) / intra.clamp_min(0.05))
    share = torch.stack(shares).mean(0).clamp(0, 0.97)
    reach = share * (1 - share**horizon) / (1 - share)
    offset = (-2 * torch.log2(1 + reach))[:, None].repeat(1, clip.shape[1], 1, 1)
    offset[:, 0] -= 2
    return offset
