# SPDX-License-Identifier: BSD-2-Clause
"""Block spectra and their entropy: stage 2 of lowrank_pre's training as it was published.

The rank of a picture cannot be differentiated; the entropy of its blocks' spectra stands for it. The picture
is cut into n x n blocks, each is transformed (:func:`block_dct`), every frequency is weighted by its
importance (:class:`FrequencyAttention`), and :func:`spectrum_entropy` is minimised.
"""

from __future__ import annotations

import math
from functools import lru_cache

import torch
from torch import Tensor, nn

from clarivid.errors import InputError

KINDS = ("distribution", "log")


@lru_cache(maxsize=32)
def dct_matrix(
    n: int,
    dtype: torch.dtype = torch.float32,
    device: torch.device = torch.device("cpu"),  # noqa: B008
) -> Tensor:
    """Orthonormal DCT-II, [n,n]: row k holds the k-th basis function (Ahmed, Natarajan and Rao 1974)."""
    if n < 1:
        raise InputError(f"a DCT has at least one sample, not {n}")
    k = torch.arange(n, dtype=torch.float64)
    basis = torch.cos(math.pi * (2 * k[None] + 1) * k[:, None] / (2 * n)) * math.sqrt(2 / n)
    basis[0] /= math.sqrt(2)
    return basis.to(device, dtype)


def block_dct(x: Tensor, n: int = 8) -> Tensor:
    """Coefficients of the n x n blocks of ``x`` [N,H,W], H and W multiples of n: [N,H/n,W/n,n,n].

    Orthonormal: the energy of a block and of its coefficients are the same. The last two axes are the
    vertical and the horizontal frequency. The inverse is :func:`block_idct`.
    """
    if x.ndim != 3 or not x.is_floating_point():
        raise InputError(f"block_dct takes float tensors [N,H,W], not {x.dtype} {list(x.shape)}")
    count, height, width = x.shape
    if height % n or width % n:
        raise InputError(
            f"block_dct of {n}x{n} blocks takes sizes that are multiples of {n}, not {width}x{height}"
        )
    matrix = dct_matrix(n, x.dtype, x.device)
    x = x.reshape(-1, n) @ matrix.T  # along each block's rows: [N·H·W/n, n]
    x = matrix @ x.view(count * height // n, n, width)  # then along its columns
    return x.view(count, height // n, n, width // n, n).transpose(2, 3)


def block_idct(coefficients: Tensor) -> Tensor:
    """The picture [N,H,W] of coefficients [N,H/n,W/n,n,n]."""
    if coefficients.ndim != 5 or coefficients.shape[-1] != coefficients.shape[-2]:
        raise InputError(f"block_idct takes [N,H/n,W/n,n,n], not {list(coefficients.shape)}")
    count, down, along, n, _ = coefficients.shape
    matrix = dct_matrix(n, coefficients.dtype, coefficients.device)
    blocks = matrix.T @ coefficients @ matrix
    return blocks.transpose(2, 3).reshape(count, down * n, along * n)


class FrequencyAttention(nn.Module):
    """A learnable importance of each frequency of n x n blocks: a softmax over frequencies, of mean 1.

    The net under training must not be the one who learns it: it would put all importance on a frequency that
    no picture holds. Fit it to the bits that encoders spend, then hold it still.
    """

    def __init__(self, n: int = 8) -> None:
        super().__init__()
        self.logits = nn.Parameter(torch.zeros(n, n))

    def forward(self) -> Tensor:
        """Importance, [n,n], positive, of mean 1."""
        return torch.softmax(self.logits.flatten(), 0).view_as(self.logits) * self.logits.numel()


def spectrum_entropy(
    coefficients: Tensor, importance: Tensor, kind: str = "log", step: Tensor | float = 1.0
) -> Tensor:
    """Entropy of block spectra: coefficients [N,...,n,n], importance [n,n], to [N], bits a sample.

    "distribution": of each block's energy as a distribution over frequencies, p = w c² / sum of w c²; the
    entropy -sum p log2 p is 0 when all energy lies in one frequency, log2 n² when it is spread evenly. It
    does not see the energy itself.

    "log": sum of w log2(1 + |c| / step), about the bits of a coefficient that is quantised by ``step`` (a
    number, or what broadcasts against the coefficients): the differential entropy of a Laplacian of that
    size, cut off at 0.

    Both are divided by n², so that they add up to bits a sample whatever the block. Derivatives at c = 0 are
    0 ("distribution") and that of a smoothed magnitude ("log").
    """
    n = coefficients.shape[-1]
    if coefficients.ndim < 3 or coefficients.shape[-2] != n or importance.shape != (n, n):
        raise InputError(
            f"spectrum_entropy takes coefficients [N,...,n,n] and importance [n,n], "
            f"not {list(coefficients.shape)} and {list(importance.shape)}"
        )
    if kind == "distribution":
        energy = importance * coefficients.square() + 1e-12
        total = energy.sum((-2, -1), keepdim=True)
        share = energy / total
        bits = -(share * share.log2()).sum((-2, -1))
    elif kind == "log":
        size = (coefficients / step).square().add(1e-6).sqrt() - 1e-3  # 0 at 0, and smooth
        bits = (importance * torch.log1p(size)).sum((-2, -1)) / math.log(2)
    else:
        raise InputError(f"the entropy '{kind}' is not one of {', '.join(KINDS)}")
    return bits.flatten(1).mean(1) / (n * n) if bits.ndim > 1 else bits / (n * n)
