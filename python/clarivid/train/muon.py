# SPDX-License-Identifier: BSD-2-Clause
"""Muon for convolution kernels, Adam for everything else, as one optimiser.

Muon (K. Jordan et al., 2024, https://kellerjordan.github.io/posts/muon/) orthogonalises the momentum of a
matrix before it steps along it, so that no direction of a layer waits for the others. A kernel [O,I,h,w] is
the matrix [O, I·h·w]. PyTorch's takes matrices only: it gets each kernel as a matrix that shares its memory.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

ADAM_SHARE = 0.05  # Adam's rate as a share of Muon's: 1e-3 beside 0.02


class MuonAdam:
    """The part of :class:`torch.optim.Optimizer`'s interface that a run uses.

    ``lr`` is Muon's; each group of ``param_groups`` has a "share", which multiplies a schedule's rate.
    Kernels are the parameters of four dimensions. The net must be on its device, in channels_last, before
    this is made, and stay so; ValueError otherwise.
    """

    def __init__(self, net: nn.Module, lr: float) -> None:
        parameters = list(net.parameters())
        self._kernels = [p for p in parameters if p.ndim == 4]
        self._matrices = [nn.Parameter(_matrix(p.detach())) for p in self._kernels]
        rest = [p for p in parameters if p.ndim != 4]
        muon = torch.optim.Muon(self._matrices, lr=lr, weight_decay=0.0)
        self._parts: list[torch.optim.Optimizer] = [muon]
        muon.param_groups[0]["share"] = 1.0
        if rest:
            adam = torch.optim.Adam(rest, lr=lr * ADAM_SHARE, betas=(0.9, 0.99))
            adam.param_groups[0]["share"] = ADAM_SHARE
            self._parts.append(adam)

    @property
    def param_groups(self) -> list[dict[str, Any]]:
        """Muon's group, then Adam's if it has anything to do."""
        return [group for part in self._parts for group in part.param_groups]

    def zero_grad(self, set_to_none: bool = True) -> None:
        """Forget the gradients."""
        for kernel in self._kernels:
            kernel.grad = None
        for part in self._parts:
            part.zero_grad(set_to_none)

    def step(self) -> None:
        """One step of both along the parameters' gradients."""
        for kernel, matrix in zip(self._kernels, self._matrices, strict=True):
            matrix.grad = None if kernel.grad is None else _rows(kernel.grad)
        for part in self._parts:
            part.step()

    def state_dict(self) -> dict[str, Any]:
        """Of both, for a checkpoint."""
        return {"parts": [part.state_dict() for part in self._parts]}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take back what :meth:`state_dict` gave."""
        for part, own in zip(self._parts, state["parts"], strict=True):
            part.load_state_dict(own)


def _rows(kernel: Tensor) -> Tensor:
    """[O,I,h,w] as [O, h·w·I]: no copy when the memory format is channels_last."""
    return kernel.permute(0, 2, 3, 1).flatten(1)


def _matrix(kernel: Tensor) -> Tensor:
    matrix = _rows(kernel)
    if matrix.data_ptr() != kernel.data_ptr():
        raise ValueError("MuonAdam wants its net in torch.channels_last")
    return matrix
