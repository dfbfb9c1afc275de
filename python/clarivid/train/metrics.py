# SPDX-License-Identifier: BSD-2-Clause
"""Quality scores that can be trained on.

=========================  ==============================================================  ===========
function                   what it follows                                                 range
=========================  ==============================================================  ===========
:func:`ssim`               libvmaf's float_ssim (Wang et al. 2004), with its decimation     -1..1
:func:`ms_ssim`            libvmaf's float_ms_ssim (Wang et al. 2003), five scales          0..1
:func:`ssim_blocks`        FFmpeg's filter ``ssim``: 8x8 blocks, four apart                 -1..1
:func:`vmaf`, ``_both``    libvmaf's vmaf_v0.6.1 and vmaf_v0.6.1neg, float features         0..100
:func:`detail_contrast`    SSIM's contrast of detail finer than sigma 2 (``bench sr``)      0..1
=========================  ==============================================================  ===========

All take the luma of the reference and of the distorted picture as [N,H,W] float tensors of codes 0..255 and
give [N]. They compute in float32 (float64 when given), whatever autocast says. A wrong shape is an
:class:`~clarivid.errors.InputError`.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import avg_pool2d

from clarivid.train.linear import both, check_pair, height_first, operator
from clarivid.train.vmaf import TYPICAL_MOTION, VmafReference, motion2, vmaf, vmaf_both

__all__ = [
    "TYPICAL_MOTION",
    "VmafReference",
    "detail_contrast",
    "motion2",
    "ms_ssim",
    "ssim",
    "ssim_blocks",
    "ssim_scale",
    "vmaf",
    "vmaf_both",
]

_C1 = (0.01 * 255) ** 2
_C2 = (0.03 * 255) ** 2
# As libvmaf writes them (ssim_tools.h, ms_ssim.c): a Gaussian of sigma 1.5; the low-pass of the 9/7 wavelet.
_HALF = (0.001028, 0.007599, 0.036001, 0.109361, 0.213006)
_WINDOW = (*_HALF, 0.266012, *reversed(_HALF))
# A Gaussian of sigma 2, as far as it tells.
_HALF_BLUR = (0.002218, 0.008773, 0.027023, 0.064825, 0.121109, 0.176213)
_BLUR = (*_HALF_BLUR, 0.199678, *reversed(_HALF_BLUR))
_LOW_HALF = (0.026727, -0.016828, -0.078201, 0.266846)
_LOW_PASS = (*_LOW_HALF, 0.602914, *reversed(_LOW_HALF))
_EXPONENTS = (0.0448, 0.2856, 0.3001, 0.2363, 0.1333)


def ssim_scale(height: int, width: int) -> int:
    """The factor by which libvmaf's SSIM decimates a picture of this size: 1 to 383 lines, 3 at 720."""
    return max(1, int(min(height, width) / 256 + 0.5))


def ssim(x: Tensor, y: Tensor, scale: int | None = None) -> Tensor:
    """SSIM of each picture, [N].

    ``scale``: pictures are first averaged over ``scale`` x ``scale`` samples and decimated by it. None does
    what libvmaf does with a picture of this size, :func:`ssim_scale`; a crop should be given the factor of
    the picture that it is cut from; 1 is SSIM at full resolution. After decimation 11 samples must be left
    on each side.
    """
    scale = ssim_scale(*x.shape[-2:]) if scale is None else scale
    x, y = check_pair(x, y, 11 * scale, "SSIM")
    with torch.autocast(x.device.type, enabled=False):
        x, y = height_first(x), height_first(y)
        if scale > 1:
            x, y = _decimate(torch.stack([x, y], 1), (1 / scale,) * scale, scale).unbind(1)
        mean_x, mean_y, variance_x, variance_y, covariance = _moments(x, y)
        luminance = _luminance(mean_x, mean_y)
        structure = _likeness(covariance, variance_x + variance_y, _C2)
        return (luminance * structure).mean((0, 2))


def ms_ssim(x: Tensor, y: Tensor) -> Tensor:
    """Multi-scale SSIM of each picture, [N]; pictures of 176x176 and more.

    As in libvmaf contrast and structure are averaged apart, and luminance counts at the coarsest scale only.
    """
    x, y = check_pair(x, y, 176, "MS-SSIM")
    with torch.autocast(x.device.type, enabled=False):
        pair = torch.stack([height_first(x), height_first(y)], 1)
        score = torch.ones(x.shape[0], dtype=x.dtype, device=x.device)
        for index, exponent in enumerate(_EXPONENTS):
            if index:
                pair = _decimate(pair, _LOW_PASS, 2)
            luminance, contrast, structure = _parts(*pair.unbind(1))
            score = score * (contrast.clamp_min(1e-6) * structure.clamp_min(1e-6)) ** exponent
        return score * luminance.clamp_min(1e-6) ** _EXPONENTS[-1]


def ssim_blocks(x: Tensor, y: Tensor) -> Tensor:
    """SSIM over 8x8 blocks laid every four samples, as FFmpeg's filter ``ssim`` has it for luma; [N]."""
    x, y = check_pair(x, y, 8, "SSIM of blocks")
    with torch.autocast(x.device.type, enabled=False):
        x, y = x - 128, y - 128  # the blocks' variances are the same, in more digits
        maps = avg_pool2d(torch.stack([x, y, x * x + y * y, x * y], 1), 8, 4)
        mean_x, mean_y, squares, product = maps.unbind(1)
        c2 = _C2 * 63 / 64  # the filter divides by one sample less
        variances = squares - mean_x * mean_x - mean_y * mean_y
        structure = _likeness(product - mean_x * mean_y, variances, c2)
        return (_luminance(mean_x + 128, mean_y + 128) * structure).mean((1, 2))


def detail_contrast(x: Tensor, y: Tensor) -> Tensor:
    """How alike the strength of fine detail is, wherever it lies exactly, [N]: 1 where it is the same.

    Detail is what a Gaussian of sigma 2 takes away; its local deviations are compared by SSIM's contrast term
    (Wang et al. 2004, eq. 9) with a constant of one code squared. Too soft and too sharp cost alike. The
    texture error of :mod:`clarivid.sr_bench.scores` is 1 less this where a picture has texture; here all
    places count, so that none is made where there is none. Not within 11 samples of the border.
    """
    x, y = check_pair(x, y, 23, "contrast of detail")
    with torch.autocast(x.device.type, enabled=False):
        pair = torch.stack([height_first(x), height_first(y)], 1)
        edge = len(_BLUR) // 2
        fine = pair[edge:-edge, ..., edge:-edge] - _filter(pair, _BLUR)
        variance_x, variance_y = _filter(fine * fine).unbind(1)
        product = (variance_x * variance_y + 1e-6).sqrt()  # never 0, where the root has no gradient
        return _likeness(product, variance_x + variance_y, 1.0).mean((0, 2))


def _parts(x: Tensor, y: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Means over each picture of luminance, contrast and structure (_iqa_ssim in iqa/ssim_tools.c)."""
    mean_x, mean_y, variance_x, variance_y, covariance = _moments(x, y)
    deviations = (variance_x * variance_y + 1e-6).sqrt()  # never 0, where the root has no gradient
    luminance = _luminance(mean_x, mean_y)
    contrast = _likeness(deviations, variance_x + variance_y, _C2)
    structure = (covariance + _C2 / 2) / (deviations + _C2 / 2)
    return luminance.mean((0, 2)), contrast.mean((0, 2)), structure.mean((0, 2))


def _moments(x: Tensor, y: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    """Local means, variances and covariance. The window's sum is a little above 1, so that in flat places a
    variance falls below 0: cut, as libvmaf does."""
    mean_x, mean_y, square_x, square_y, product = _filter(torch.stack([x, y, x * x, y * y, x * y], 1)).unbind(
        1
    )
    variance_x = torch.relu(square_x - mean_x * mean_x)
    variance_y = torch.relu(square_y - mean_y * mean_y)
    covariance = product - mean_x * mean_y
    nothing = (covariance < 0) & (variance_x * variance_y <= 0)
    return mean_x, mean_y, variance_x, variance_y, torch.where(nothing, 0.0, covariance)


def _luminance(mean_x: Tensor, mean_y: Tensor) -> Tensor:
    return _likeness(mean_x * mean_y, mean_x * mean_x + mean_y * mean_y, _C1)


def _likeness(product: Tensor, squares: Tensor, constant: float) -> Tensor:
    """The quotient that each term of SSIM is: 1 where twice the product is the sum of the squares."""
    return (2 * product + constant) / (squares + constant)


def _filter(x: Tensor, taps: tuple[float, ...] = _WINDOW) -> Tensor:
    """A window where it fits, [H,...,W] to [H-10,...,W-10] for the Gaussian of SSIM."""
    down, along = (operator(taps, n, dtype=x.dtype, device=x.device) for n in (x.shape[0], x.shape[-1]))
    return both(x, down, along)


def _decimate(x: Tensor, taps: tuple[float, ...], factor: int) -> Tensor:
    """Filter and take every ``factor``-th sample of [H,...,W], from the first (iqa/decimate.c)."""
    down, along = (
        operator(taps, n, "symmetric", factor, count=n // factor + n % 2, dtype=x.dtype, device=x.device)
        for n in (x.shape[0], x.shape[-1])
    )
    return both(x, down, along)
