# SPDX-License-Identifier: BSD-2-Clause
"""An ONNX graph, node by node in PyTorch: what a runtime's layers are compared with.

Values are float64 whatever type the graph gives them (a Cast between floating types does nothing), so what is
found is the graph's mathematics; rounding is the runtime's. The nodes are those that clarivid's exports use
and the usual ones of community nets; another one is a :class:`ModelError` that names it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import onnx
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from onnx import helper, numpy_helper
from torch import Tensor

from clarivid.errors import ModelError

Values = dict[str, Tensor]
Attributes = dict[str, Any]


@dataclass(frozen=True)
class Node:
    """``inputs`` are names, "" where an optional one is left out; ``output`` is the first one's name."""

    name: str
    op: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    attributes: Attributes = field(repr=False)

    @property
    def output(self) -> str:
        """The name of the tensor that it makes."""
        return self.outputs[0]


class Graph:
    """``weights``: values that take the place of initialisers, by name (without a final ".fp16"), in any
    shape of the right size. Raises :class:`ModelError` when they do not fit.
    """

    def __init__(self, model: bytes, weights: Mapping[str, NDArray[Any]] | None = None) -> None:
        graph = onnx.load_from_string(model).graph
        self.constants: Values = {}
        self.replaced: set[str] = set()
        for tensor in graph.initializer:
            value = numpy_helper.to_array(tensor)
            given = (weights or {}).get(tensor.name.removesuffix(".fp16"))
            if given is not None:
                if given.size != value.size:
                    raise ModelError(
                        f"{tensor.name} has {given.size} values in weights.safetensors and {value.size} in "
                        "the ONNX: they are of different nets"
                    )
                value = given.reshape(value.shape)
                self.replaced.add(tensor.name)
            self.constants[tensor.name] = _tensor(value)
        self.nodes = [_node(node, number) for number, node in enumerate(graph.node)]
        self.inputs = [i.name for i in graph.input if i.name not in self.constants]
        self.outputs = [o.name for o in graph.output]
        self.depending = self._depending()

    def _depending(self) -> list[Node]:
        """The nodes that depend on an input; the others only prepare constants, and are known."""
        known = set(self.inputs)
        found = []
        for node in self.nodes:
            if known & set(node.inputs):
                known.add(node.output)
                found.append(node)
            elif self.replaced & set(node.inputs):
                self.replaced.add(node.output)
        return found

    def run(self, inputs: Mapping[str, NDArray[Any]]) -> Values:
        """Every tensor of the graph, constants included."""
        values = {**self.constants, **{name: _tensor(np.asarray(value)) for name, value in inputs.items()}}
        for node in self.nodes:
            values[node.output] = self.evaluate(node, values)
        return values

    def evaluate(self, node: Node, values: Mapping[str, Tensor]) -> Tensor:
        """What one node makes of the tensors that it takes."""
        if len(node.outputs) != 1:
            raise ModelError(f"{node.name} ({node.op}) makes {len(node.outputs)} tensors: not compared yet")
        run = OPERATORS.get(node.op)
        if run is None:
            raise ModelError(
                f"{node.name} is a {node.op}, which clarivid.parity does not evaluate: compare the whole net "
                "(without --layers)"
            )
        given = [values[name] if name else None for name in node.inputs]
        return run(given, node.attributes)

    def parameters_of(self, node: Node) -> str:
        """The PyTorch module that a node's weights are of: "blocks.0" for "blocks.0.weight"; or ""."""
        for name in node.inputs[1:]:
            if name in self.replaced:
                return name.removesuffix(".fp16").rsplit(".", 1)[0]
        return ""


def _tensor(value: NDArray[Any]) -> Tensor:
    kind = value.dtype.kind
    if kind == "f" or value.dtype.name == "bfloat16":
        return torch.from_numpy(value.astype(np.float64))
    return torch.from_numpy(value.astype(np.int64) if kind in "iu" else value.copy())


def _node(node: onnx.NodeProto, number: int) -> Node:
    attributes = {a.name: helper.get_attribute_value(a) for a in node.attribute}
    name = node.name or f"{node.op_type}.{number}"
    return Node(name, node.op_type, tuple(node.input), tuple(node.output), attributes)


# ------------------------------------------------------------------------------------------------ operators

Given = Sequence["Tensor | None"]
Operator = Callable[[Sequence[Any], Attributes], Tensor]


def _padded(x: Tensor, attributes: Attributes, kernel: Sequence[int], value: float = 0.0) -> Tensor:
    """With the pads that a node asks for, [top, left, bottom, right] in ONNX."""
    pads = list(attributes.get("pads", [0, 0, 0, 0]))
    if attributes.get("auto_pad", b"NOTSET") in (b"SAME_UPPER", b"SAME_LOWER"):
        strides = attributes.get("strides", [1, 1])
        dilations = attributes.get("dilations", [1, 1])
        upper = attributes["auto_pad"] == b"SAME_UPPER"
        total = [
            max((-(-size // step) - 1) * step + (k - 1) * d + 1 - size, 0)
            for size, step, k, d in zip(x.shape[2:], strides, kernel, dilations, strict=True)
        ]
        before = [t // 2 if upper else -(-t // 2) for t in total]
        pads = [*before, *(t - b for t, b in zip(total, before, strict=True))]
    top, left, bottom, right = pads
    return F.pad(x, (left, right, top, bottom), value=value) if any(pads) else x


def _conv(given: Sequence[Any], attributes: Attributes) -> Tensor:
    x, weight = given[:2]
    bias = given[2] if len(given) > 2 else None
    return F.conv2d(
        _padded(x, attributes, weight.shape[2:]),
        weight,
        bias,
        stride=attributes.get("strides", [1, 1]),
        dilation=attributes.get("dilations", [1, 1]),
        groups=attributes.get("group", 1),
    )


def _conv_transpose(given: Sequence[Any], attributes: Attributes) -> Tensor:
    x, weight = given[:2]
    top, left, bottom, right = attributes.get("pads", [0, 0, 0, 0])
    if (top, left) != (bottom, right) or attributes.get("auto_pad", b"NOTSET") != b"NOTSET":
        raise ModelError("a ConvTranspose with uneven pads is not evaluated by clarivid.parity")
    return F.conv_transpose2d(
        x,
        weight,
        given[2] if len(given) > 2 else None,
        stride=attributes.get("strides", [1, 1]),
        padding=[top, left],
        output_padding=attributes.get("output_padding", [0, 0]),
        groups=attributes.get("group", 1),
        dilation=attributes.get("dilations", [1, 1]),
    )


def _average(given: Sequence[Any], attributes: Attributes) -> Tensor:
    x = given[0]
    kernel, strides = attributes["kernel_shape"], attributes.get("strides", [1, 1])
    ceil = bool(attributes.get("ceil_mode", 0))
    wide = F.avg_pool2d(_padded(x, attributes, kernel), kernel, strides, ceil_mode=ceil)
    if attributes.get("count_include_pad", 0) or not any(attributes.get("pads", [])):
        return wide
    return wide / F.avg_pool2d(_padded(torch.ones_like(x), attributes, kernel), kernel, strides)


def _max_pool(given: Sequence[Any], attributes: Attributes) -> Tensor:
    kernel = attributes["kernel_shape"]
    x = _padded(given[0], attributes, kernel, -torch.inf)
    return F.max_pool2d(x, kernel, attributes.get("strides", [1, 1]))


def _mean(given: Sequence[Any], attributes: Attributes) -> Tensor:
    axes = given[1].tolist() if len(given) > 1 and given[1] is not None else attributes.get("axes")
    found: Tensor = given[0].mean(axes, keepdim=bool(attributes.get("keepdims", 1)))
    return found


def _clip(given: Sequence[Any], attributes: Attributes) -> Tensor:
    low, high = ([*given[1:], None, None])[:2]
    x: Tensor = given[0]
    if low is None and "min" in attributes:
        low = torch.tensor(attributes["min"], dtype=x.dtype)
    if high is None and "max" in attributes:
        high = torch.tensor(attributes["max"], dtype=x.dtype)
    return x if low is None and high is None else torch.clamp(x, low, high)


def _slice(given: Sequence[Any], _attributes: Attributes) -> Tensor:
    x: Tensor = given[0]
    starts, ends = given[1].tolist(), given[2].tolist()
    axes = given[3].tolist() if len(given) > 3 and given[3] is not None else list(range(len(starts)))
    steps = given[4].tolist() if len(given) > 4 and given[4] is not None else [1] * len(starts)
    index: list[slice] = [slice(None)] * x.dim()
    for axis, start, end, step in zip(axes, starts, ends, steps, strict=True):
        if step < 1:
            raise ModelError("a Slice that goes backwards is not evaluated by clarivid.parity")
        index[axis] = slice(start, end, step)
    return x[tuple(index)]


def _resize(given: Sequence[Any], attributes: Attributes) -> Tensor:
    x: Tensor = given[0]
    sizes = given[3] if len(given) > 3 else None
    scales = given[2] if len(given) > 2 else None
    if sizes is not None:
        size = sizes.tolist()[2:]
    else:
        assert scales is not None
        size = [int(n * s) for n, s in zip(x.shape[2:], scales.tolist()[2:], strict=True)]
    mode = attributes.get("mode", b"nearest")
    place = attributes.get("coordinate_transformation_mode", b"half_pixel")
    if mode == b"nearest" and all(new % old == 0 for new, old in zip(size, x.shape[2:], strict=True)):
        return F.interpolate(x, size, mode="nearest")
    if mode == b"linear" and place in (b"half_pixel", b"pytorch_half_pixel", b"align_corners"):
        return F.interpolate(x, size, mode="bilinear", align_corners=place == b"align_corners")
    raise ModelError(f"a Resize {mode.decode()} with {place.decode()} is not evaluated by clarivid.parity")


def _depth_to_space(given: Sequence[Any], attributes: Attributes) -> Tensor:
    x: Tensor = given[0]
    block = attributes["blocksize"]
    if attributes.get("mode", b"DCR") == b"CRD":
        return F.pixel_shuffle(x, block)
    n, c, h, w = x.shape
    split = x.reshape(n, block, block, c // block**2, h, w).permute(0, 3, 4, 1, 5, 2)
    return split.reshape(n, c // block**2, h * block, w * block)


def _cast(given: Sequence[Any], attributes: Attributes) -> Tensor:
    x: Tensor = given[0]
    kind = onnx.TensorProto.DataType.Name(attributes["to"])
    if kind in ("FLOAT", "FLOAT16", "BFLOAT16", "DOUBLE"):
        return x.double()
    if kind in ("INT32", "INT64"):
        return x.long()
    raise ModelError(f"a Cast to {kind} is not evaluated by clarivid.parity")


def _pad(given: Sequence[Any], attributes: Attributes) -> Tensor:
    modes = {b"constant": "constant", b"reflect": "reflect", b"edge": "replicate"}
    pads = given[1].tolist()
    if len(pads) != 8 or any(pads[i] for i in (0, 1, 4, 5)):
        raise ModelError("a Pad of other axes than height and width is not evaluated by clarivid.parity")
    mode = modes[attributes.get("mode", b"constant")]
    value = float(given[2]) if len(given) > 2 and given[2] is not None else 0.0
    around = (pads[3], pads[7], pads[2], pads[6])
    return F.pad(given[0], around, mode) if mode != "constant" else F.pad(given[0], around, value=value)


def _prelu(given: Sequence[Any], _attributes: Attributes) -> Tensor:
    x, slope = given
    return torch.where(x < 0, x * slope, x)


def _constant(_given: Sequence[Any], attributes: Attributes) -> Tensor:
    if "value" in attributes:
        return _tensor(numpy_helper.to_array(attributes["value"]))
    (value,) = attributes.values()
    return _tensor(np.asarray(value))


def _axis(scale: Tensor, x: Tensor, axis: int) -> Tensor:
    return scale.reshape([-1 if i == axis else 1 for i in range(x.dim())]) if scale.dim() else scale


def _quantise(given: Sequence[Any], attributes: Attributes) -> Tensor:
    x, scale, zero = given
    axis = attributes.get("axis", 1)
    levels = torch.round(x / _axis(scale, x, axis)) + _axis(zero, x, axis)
    return levels.clamp(-128, 127)


def _dequantise(given: Sequence[Any], attributes: Attributes) -> Tensor:
    x, scale, zero = given
    axis = attributes.get("axis", 1)
    found: Tensor = (x - _axis(zero, x, axis)).double() * _axis(scale, x, axis)
    return found


OPERATORS: Mapping[str, Operator] = {
    "Abs": lambda g, _: g[0].abs(),
    "Add": lambda g, _: g[0] + g[1],
    "AveragePool": _average,
    "Cast": _cast,
    "Clip": _clip,
    "Concat": lambda g, a: torch.cat(list(g), a["axis"]),
    "Constant": _constant,
    "Conv": _conv,
    "ConvTranspose": _conv_transpose,
    "DepthToSpace": _depth_to_space,
    "DequantizeLinear": _dequantise,
    "Div": lambda g, _: g[0] / g[1],
    "GlobalAveragePool": lambda g, _: g[0].mean((2, 3), keepdim=True),
    "HardSwish": lambda g, _: g[0] * (g[0] / 6 + 0.5).clamp(0, 1),
    "Identity": lambda g, _: g[0],
    "LeakyRelu": lambda g, a: F.leaky_relu(g[0], a.get("alpha", 0.01)),
    "MaxPool": _max_pool,
    "Mul": lambda g, _: g[0] * g[1],
    "PRelu": _prelu,
    "Pad": _pad,
    "QuantizeLinear": _quantise,
    "ReduceMean": _mean,
    "Relu": lambda g, _: g[0].relu(),
    "Reshape": lambda g, _: g[0].reshape(
        [g[0].shape[i] if n == 0 else n for i, n in enumerate(g[1].tolist())]
    ),
    "Resize": _resize,
    "Sigmoid": lambda g, _: g[0].sigmoid(),
    "Slice": _slice,
    "Sub": lambda g, _: g[0] - g[1],
    "Tanh": lambda g, _: g[0].tanh(),
    "Transpose": lambda g, a: g[0].permute(a["perm"]),
}

__all__ = ["OPERATORS", "Graph", "Node", "Values"]
