# SPDX-License-Identifier: BSD-2-Clause
"""ONNX graphs written node by node instead of traced: the same for every PyTorch release, and holding only
what runtimes fuse well."""

from __future__ import annotations

from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
import onnx
from onnx import TensorProto, helper, numpy_helper
from torch import Tensor

OPSET = 18
IR_VERSION = 9
LAYOUT = "yuv420_s2d"
NORMALISATION = "ycbcr_unit_centred"
STRENGTH = "strength"
Weights = dict[str, npt.NDArray[np.float32]]


def normalisation_of(layout: str, prefix: str = "clarivid.") -> dict[str, str]:
    """The entry of a card or of metadata: the layout y has 0..1 alone, and need not say so."""
    return {} if layout == "y" else {f"{prefix}normalisation": NORMALISATION}


class HasWeights(Protocol):
    """A net that knows its inference form."""

    def inference_weights(self) -> dict[str, Tensor]:
        """Merged tensors in f32, by name."""


def weights_of(net: HasWeights) -> Weights:
    """The inference form's tensors as arrays."""
    return {name: tensor.cpu().numpy() for name, tensor in net.inference_weights().items()}


class Graph:
    """Nodes and initialisers under construction; ``dtype`` is the type of pictures and weights: fp16 in the
    strongly typed twin, which ``half`` asks for, else fp32."""

    def __init__(self, half: bool) -> None:
        self.half = half
        self.dtype: type[np.floating[Any]] = np.float16 if half else np.float32
        self.nodes: list[onnx.NodeProto] = []
        self.constants: dict[str, onnx.TensorProto] = {}
        self.given: set[str] = set()  # constants that nodes make of others

    def constant(self, name: str, value: npt.NDArray[Any]) -> str:
        """An initialiser, made once."""
        if name not in self.constants and name not in self.given:
            self.constants[name] = numpy_helper.from_array(value, name)
        return name

    def node(self, op: str, inputs: list[str], output: str, **attributes: Any) -> str:
        """A node named like its one output."""
        self.nodes.append(helper.make_node(op, inputs, [output], name=output, **attributes))
        return output

    def conv(
        self,
        x: str,
        name: str,
        weights: Weights,
        dtype: type[np.floating[Any]] | None = None,
        dilation: int = 1,
        stride: int = 1,
    ) -> str:
        """A convolution padded so that only ``stride`` changes the size; kernels of two dimensions are 1x1.
        ``dtype`` as the graph's."""
        kernel = weights[f"{name}.weight"]
        if kernel.ndim == 2:
            kernel = kernel[:, :, None, None]
        dtype = dtype or self.dtype
        size = kernel.shape[2]
        dilated = {"dilations": [dilation] * 2} if dilation > 1 else {}
        strided = {"strides": [stride] * 2} if stride > 1 else {}
        return self.node(
            "Conv",
            [
                x,
                self.constant(f"{name}.weight", kernel.astype(dtype)),
                self.constant(f"{name}.bias", weights[f"{name}.bias"].astype(dtype)),
            ],
            name,
            kernel_shape=[size, size],
            pads=[size // 2 * dilation] * 4,
            **dilated,
            **strided,
        )

    def leaky(self, x: str, slope: float) -> str:
        """LeakyReLU."""
        return self.node("LeakyRelu", [x], f"{x}.act", alpha=slope)

    def clip(self, x: str, limit: float) -> str:
        """Values beyond -``limit``..``limit`` become these."""
        ends = {"minimum": -limit, "maximum": limit}
        constants = [self.constant(f"{x}.{end}", np.array(ends[end], self.dtype)) for end in ends]
        return self.node("Clip", [x, *constants], f"{x}.clip")

    def model(
        self,
        name: str,
        task: str,
        scale: int,
        strength: bool = False,
        layout: str = LAYOUT,
        in_channels: int = 6,
    ) -> onnx.ModelProto:
        """The checked model: "input" [N,in_channels,h,w], "output" as the layout has it (docs/models.md),
        "strength" [1] if there is one."""
        kind = TensorProto.FLOAT16 if self.half else TensorProto.FLOAT
        given: list[str | int] = ["batch", in_channels, "height", "width"]
        made: list[str | int] = ["batch", 6 * scale * scale, "height", "width"]
        if layout == "y":
            made = ["batch", 1, "height_out", "width_out"]
        ends = [
            helper.make_tensor_value_info(end, kind, shape)
            for end, shape in (("input", given), ("output", made))
        ]
        controls = [helper.make_tensor_value_info(STRENGTH, kind, [1])] if strength else []
        model = helper.make_model(
            helper.make_graph(
                self.nodes, name, [ends[0], *controls], ends[1:], list(self.constants.values())
            ),
            opset_imports=[helper.make_opsetid("", OPSET)],
            ir_version=IR_VERSION,
            producer_name="clarivid",
        )
        helper.set_model_props(
            model,
            {
                "clarivid.layout": layout,
                "clarivid.scale": str(scale),
                "clarivid.task": task,
                **normalisation_of(layout),
                "clarivid.name": name,
            },
        )
        onnx.checker.check_model(model, full_check=True)
        return model


__all__ = ["LAYOUT", "STRENGTH", "Graph", "HasWeights", "Weights", "normalisation_of", "weights_of"]
