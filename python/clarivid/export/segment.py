# SPDX-License-Identifier: BSD-2-Clause
"""Person segmentation: a published net, taken from the package that carries it, as an ONNX graph of ours.

The nets are MediaPipe's selfie segmentation (Apache-2.0), of the MobileNetV3 family: 107K parameters in fp16,
stored as TensorFlow Lite. The graph is written again node by node, in NCHW, without their custom operator
``Convolution2DTransposeBias``, which is a transposed convolution with a bias.
"""

from __future__ import annotations

import struct
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
from onnx import TensorProto, helper

from clarivid.errors import InputError
from clarivid.export import tflite
from clarivid.export.graph import IR_VERSION, OPSET, Graph

TASK = "segment"
LAYOUT = "rgb"
STRIDE = 16  # of the coarsest layer: heights and widths are multiples of it


class _Writer:
    """Operators of a :class:`tflite.Net` as ONNX nodes. Values keep the numbers of their tensors."""

    def __init__(self, net: tflite.Net, half: bool) -> None:
        self.net = net
        self.graph = Graph(half)
        self.values: dict[int, str] = {}
        self.constants: dict[int, npt.NDArray[Any]] = {}

    def write(self) -> Graph:
        """All of the net, "input" to "output"."""
        (first,), (last,) = self.net.inputs, self.net.outputs
        if self.net.tensors[first].shape[3:] != (3,) or self.net.tensors[last].shape[3:] != (1,):
            raise InputError(
                "a net for segmentation takes RGB and gives one value a pixel; this one does not"
            )
        self.values[first] = "input"
        for operator in self.net.operators:
            method = getattr(self, f"_{operator.kind.lower()}", None)
            if method is None:
                raise InputError(f"the net holds {operator.kind}, which this exporter does not know")
            method(operator)
        self.graph.nodes[-1].output[0] = self.graph.nodes[-1].name = "output"
        return self.graph

    # ---- operands

    def _constant(self, number: int) -> npt.NDArray[Any]:
        if number in self.constants:
            return self.constants[number]
        data = self.net.tensors[number].data
        if data is None:
            raise InputError(f"tensor {number} of the net is computed where a constant is expected")
        return data

    def _add_node(self, op: str, inputs: list[str], operator: tflite.Operator, **attributes: Any) -> None:
        (number,) = operator.outputs
        self.values[number] = self._activated(
            self.graph.node(op, inputs, f"t{number}", **attributes), operator.options.get("activation", 0)
        )

    def _activated(self, value: str, activation: int) -> str:
        if activation > 1:
            raise InputError(f"the net fuses activation {activation}, which this exporter does not know")
        return self.graph.node("Relu", [value], f"{value}.relu") if activation else value

    def _weights(self, operator: tflite.Operator, kernel: npt.NDArray[Any]) -> list[str]:
        (number,) = operator.outputs
        names = [
            self.graph.constant(f"t{number}.weight", np.ascontiguousarray(kernel, self.graph.dtype)),
            self.graph.constant(
                f"t{number}.bias", self._constant(operator.inputs[2]).astype(self.graph.dtype)
            ),
        ]
        return [self.values[operator.inputs[0]], *names]

    # ---- operators

    def _dequantize(self, operator: tflite.Operator) -> None:
        """fp16 weights; nothing else is quantised in these nets."""
        self.constants[operator.outputs[0]] = self._constant(operator.inputs[0])

    def _conv_2d(self, operator: tflite.Operator) -> None:
        kernel = self._constant(operator.inputs[1]).transpose(0, 3, 1, 2)  # OHWI
        self._convolution(operator, kernel, 1)

    def _depthwise_conv_2d(self, operator: tflite.Operator) -> None:
        kernel = self._constant(operator.inputs[1]).transpose(3, 0, 1, 2)  # 1HWC
        self._convolution(operator, kernel, kernel.shape[0])

    def _convolution(self, operator: tflite.Operator, kernel: npt.NDArray[Any], group: int) -> None:
        options = operator.options
        if options["dilation_x"] != 1 or options["dilation_y"] != 1:
            raise InputError("the net has a dilated convolution, which this exporter does not know")
        strides = [options["stride_y"], options["stride_x"]]
        # TensorFlow's SAME: as much padding as makes ceil(size / stride) results, the odd one at the end. With
        # sizes that are multiples of the stride that is kernel - stride.
        pads = [
            0 if options["valid"] else max(k - s, 0) for k, s in zip(kernel.shape[2:], strides, strict=True)
        ]
        self._add_node(
            "Conv",
            self._weights(operator, kernel),
            operator,
            kernel_shape=list(kernel.shape[2:]),
            strides=strides,
            pads=[*(p // 2 for p in pads), *(p - p // 2 for p in pads)],
            group=group,
        )

    def _convolution2dtransposebias(self, operator: tflite.Operator) -> None:
        # TfLiteTransposeConvParams: padding, 1 for SAME; stride_width; stride_height.
        _, stride_x, stride_y = struct.unpack("<3i", operator.custom[:12])
        kernel = self._constant(operator.inputs[1]).transpose(3, 0, 1, 2)  # OHWI -> IOHW
        if kernel.shape[2:] != (stride_y, stride_x):
            raise InputError("the net's transposed convolution overlaps, which this exporter does not know")
        self._add_node(
            "ConvTranspose",
            self._weights(operator, kernel),
            operator,
            kernel_shape=list(kernel.shape[2:]),
            strides=[stride_y, stride_x],
        )

    def _unary(self, op: str, operator: tflite.Operator) -> None:
        self._add_node(op, [self.values[operator.inputs[0]]], operator)

    def _relu(self, operator: tflite.Operator) -> None:
        self._unary("Relu", operator)

    def _hard_swish(self, operator: tflite.Operator) -> None:
        self._unary("HardSwish", operator)

    def _logistic(self, operator: tflite.Operator) -> None:
        self._unary("Sigmoid", operator)

    def _binary(self, op: str, operator: tflite.Operator) -> None:
        self._add_node(op, [self.values[number] for number in operator.inputs], operator)

    def _add(self, operator: tflite.Operator) -> None:
        self._binary("Add", operator)

    def _mul(self, operator: tflite.Operator) -> None:
        self._binary("Mul", operator)

    def _average_pool_2d(self, operator: tflite.Operator) -> None:
        shape = self.net.tensors[operator.inputs[0]].shape
        if (operator.options["height"], operator.options["width"]) != shape[1:3]:
            raise InputError("the net averages over windows, which this exporter does not know")
        self._mean_over_picture(operator)

    def _mean(self, operator: tflite.Operator) -> None:
        if self._constant(operator.inputs[1]).tolist() != [1, 2] or not operator.options["keep_dims"]:
            raise InputError("the net averages over other axes than the picture's, which is not supported")
        self._mean_over_picture(operator)

    def _mean_over_picture(self, operator: tflite.Operator) -> None:
        """In fp32 in the fp16 twin as well: a sum over a picture overflows fp16."""
        graph, (number,) = self.graph, operator.outputs
        value = self.values[operator.inputs[0]]
        if graph.half:
            value = graph.node("Cast", [value], f"t{number}.f32", to=TensorProto.FLOAT)
        axes = graph.constant("picture_axes", np.array([2, 3], np.int64))
        mean = graph.node("ReduceMean", [value, axes], f"t{number}", keepdims=1)
        self.values[number] = (
            graph.node("Cast", [mean], f"t{number}.f16", to=TensorProto.FLOAT16) if graph.half else mean
        )

    def _resize_bilinear(self, operator: tflite.Operator) -> None:
        options = operator.options
        before = self.net.tensors[operator.inputs[0]].shape
        after = self.net.tensors[operator.outputs[0]].shape
        if options["align_corners"] or not options["half_pixel"]:
            raise InputError("the net resizes with another rule than half_pixel_centers; not supported")
        scales = np.array([1, 1, after[1] / before[1], after[2] / before[2]], np.float32)
        self._add_node(
            "Resize",
            [self.values[operator.inputs[0]], "", self.graph.constant("twice", scales)],
            operator,
            mode="linear",
            coordinate_transformation_mode="half_pixel",
        )


def build_onnx(net: tflite.Net, name: str, half: bool = False) -> onnx.ModelProto:
    """The graph: "input" [N,3,h,w] R'G'B' 0..1, "output" [N,1,h,w] probability; h, w multiples of 16.

    ``half`` gives the strongly typed fp16 twin.
    """
    graph = _Writer(net, half).write()
    kind = TensorProto.FLOAT16 if half else TensorProto.FLOAT
    ends = [
        helper.make_tensor_value_info(end, kind, ["batch", channels, "height", "width"])
        for end, channels in (("input", 3), ("output", 1))
    ]
    model = helper.make_model(
        helper.make_graph(graph.nodes, name, ends[:1], ends[1:], list(graph.constants.values())),
        opset_imports=[helper.make_opsetid("", OPSET)],
        ir_version=IR_VERSION,
        producer_name="clarivid",
    )
    helper.set_model_props(
        model,
        {"clarivid.layout": LAYOUT, "clarivid.scale": "1", "clarivid.task": TASK, "clarivid.name": name},
    )
    onnx.checker.check_model(model, full_check=True)
    return model
