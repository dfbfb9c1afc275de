# SPDX-License-Identifier: BSD-2-Clause
"""How far one node's result may be from the exact one, for each of its values.

A runtime's node is compared with the node evaluated exactly on the *same* inputs, those that the runtime
itself gave it, so that errors of earlier nodes do not count. What is left is the rounding of one node. For a
dot product of n terms in an arithmetic of unit roundoff u that sums in fp32 (u32 = 2^-24)

    |y' - y| <= sum (|x| e_w + e_x |w| + e_x e_w)  +  A u32 sqrt(n) sum |x| |w|  +  u |y|

where e_x and e_w are the errors of the operands: u |x| and u |w| when they are rounded to the arithmetic,
nothing in fp32; s/2 (plus what is clipped) when they are quantised with scale s. The sqrt(n) in place of n is
Higham and Mary's probabilistic bound ("A New Approach to Probabilistic Rounding Error Analysis", SIAM J. Sci.
Comput. 41(5), 2019, theorem 2.4); :data:`LAMBDA` is its constant with room for blocked and transformed
convolutions. Elementwise nodes follow from the first term. The bound holds for each value by itself, so a
fault of one row at the border shows as well as a wrong weight.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from clarivid.parity.graph import OPERATORS, Node

FP32 = 2.0**-24
LAMBDA = 8.0
_FLOOR = 2.0**-6  # of the roundoff, absolute: results near 0, and operands near fp16's subnormals
# Elementwise functions are computed by polynomials: a few units in the last place of fp32, absolute.
_FUNCTION = 32 * FP32
_SLOPES = {"Abs": 1.0, "Relu": 1.0, "Clip": 1.0, "HardSwish": 1.5, "Sigmoid": 0.25, "Tanh": 1.0}
# Sums with weights that are not negative and amount to one, or a choice of values: errors pass through.
_AVERAGES = {"AveragePool", "GlobalAveragePool", "ReduceMean", "Resize"}
_CHOICES = {"Cast", "Concat", "DepthToSpace", "Identity", "Pad", "Reshape", "Slice", "Transpose"}


@dataclass(frozen=True)
class Arithmetic:
    """``roundoff`` of operands and results; ``scales``: that of quantised tensors, by name, with the axis of
    its channels for weights (scalar: one for all)."""

    roundoff: float
    scales: Mapping[str, Tensor] = field(default_factory=dict)

    def operand(self, name: str, value: Tensor) -> Tensor:
        """The largest error of an operand as the runtime uses it."""
        scale = self.scales.get(name)
        if scale is not None:
            wide = scale.reshape(-1, *[1] * (value.dim() - 1)) if scale.dim() else scale
            return wide / 2 + (value.abs() - 127 * wide).clamp(min=0)
        return value.abs() * (self.roundoff if self.roundoff > FP32 else 0.0)


def bound(node: Node, values: Mapping[str, Tensor], exact: Tensor, arithmetic: Arithmetic) -> Tensor:
    """Of each value of a node's result: ``exact`` it is for the tensors that the node takes."""
    given = [values[name] if name else None for name in node.inputs]
    errors = [
        arithmetic.operand(name, value) if name and value is not None and value.is_floating_point() else None
        for name, value in zip(node.inputs, given, strict=True)
    ]
    inner = _inner(node, given, errors, exact)
    floor = max(FP32, _FLOOR * arithmetic.roundoff)
    return inner + arithmetic.roundoff * exact.abs() + floor


def _inner(node: Node, given: Sequence[Any], errors: Sequence[Any], exact: Tensor) -> Tensor:
    """The bound without the rounding of the result."""
    op = node.op
    ulp = FP32 * exact.abs()  # of an elementwise operation
    found: Tensor = torch.zeros_like(exact)
    if op in ("Conv", "ConvTranspose"):
        found = _products(node, given, errors)
    elif op in ("Add", "Sub"):
        found = errors[0] + errors[1] + ulp
    elif op == "Mul":
        a, b = given[0].abs(), given[1].abs()
        found = a * errors[1] + b * errors[0] + errors[0] * errors[1] + ulp
    elif op == "Div":
        least = (given[1].abs() - errors[1]).clamp(min=1e-9)
        found = (errors[0] + exact.abs() * errors[1]) / least + 4 * ulp
    elif op in ("LeakyRelu", "PRelu"):
        found = errors[0] + ulp
    elif op in _SLOPES:
        found = _SLOPES[op] * errors[0] + _FUNCTION
    elif op in _AVERAGES:
        passed = OPERATORS[op]([errors[0], *given[1:]], node.attributes)
        magnitude = OPERATORS[op]([given[0].abs(), *given[1:]], node.attributes)
        share = max(1.0, given[0].numel() / max(exact.numel(), 1))
        found = passed + LAMBDA * FP32 * share**0.5 * magnitude
    elif op == "Concat":
        found = OPERATORS[op](list(errors), node.attributes)
    elif op in _CHOICES and errors[0] is not None:
        found = OPERATORS[op]([errors[0], *given[1:]], node.attributes)
    elif op == "MaxPool":
        found = torch.full_like(exact, float(errors[0].max()))
    return found


def _products(node: Node, given: Sequence[Any], errors: Sequence[Any]) -> Tensor:
    """Of a convolution: the same convolution of magnitudes."""
    run = OPERATORS[node.op]
    x, w = given[0].abs(), given[1].abs()
    e_x, e_w = errors[0], errors[1]
    terms = w[0].numel() if node.op == "Conv" else w.shape[0] * w[0][0].numel()
    biased = len(given) > 2 and given[2] is not None
    bias = given[2].abs().reshape(1, -1, 1, 1) if biased else torch.zeros(1)
    e_bias = errors[2].reshape(1, -1, 1, 1) if biased else torch.zeros(1)
    rounded: Tensor = run([x, e_w], node.attributes) + run([e_x, w + e_w], node.attributes) + e_bias
    sums: Tensor = LAMBDA * FP32 * (terms + 1) ** 0.5 * (run([x, w], node.attributes) + bias)
    return rounded + sums


__all__ = ["FP32", "LAMBDA", "Arithmetic", "bound"]
