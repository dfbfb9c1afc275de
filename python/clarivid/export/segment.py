# SPDX-License-Identifier: BSD-2-Clause
"""Person segmentation: published nets, taken from the package that carries them, as bundles of ours.

The nets are MediaPipe's selfie segmentation (Apache-2.0), of the MobileNetV3 family: 106K weights in fp16,
stored as TensorFlow Lite. The graph is written again node by node, in NCHW, without their custom operator
``Convolution2DTransposeBias``, which is a transposed convolution with a bias. Heights and widths are free:
at a larger size than that of their training the same weights find smaller people.

What the new graph computes is checked against LiteRT, the runtime that the file was made for.
"""

from __future__ import annotations

import json
import os
import struct
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
from onnx import TensorProto, helper

from clarivid.errors import InputError, ModelError, ToolError, last_line
from clarivid.export import tflite
from clarivid.export.graph import IR_VERSION, OPSET, Graph
from clarivid.export.staging import digests, staged
from clarivid.packages import fetch_pypi
from clarivid.paths import sha256_of

TASK = "segment"
LAYOUT = "rgb"
STRIDE = 16  # of the coarsest layer: heights and widths are multiples of it
MAX_ERROR = 1e-3  # of a probability in fp32, against LiteRT
MAX_CHANGED = 1e-4  # share of a mask's samples that bf16 may change: it saves a tenth of the time at most
_MEDIAPIPE = "0.10.14"
_LITERT = "2.3.0"


@dataclass(frozen=True)
class Published:
    """A net in the package mediapipe: its file's name and digest, and the size it was trained at."""

    file: str
    sha256: str
    width: int
    height: int


PUBLISHED = {
    "selfie-landscape": Published(
        "selfie_segmentation_landscape.tflite",
        "a77d03f4659b9f6b6c1f5106947bf40e99d7655094b6527f214ea7d451106edd",
        256,
        144,
    ),
    "selfie-general": Published(
        "selfie_segmentation.tflite",
        "9ee168ec7c8f2a16c56fe8e1cfbc514974cbbb7e434051b455635f1bd1462f5c",
        256,
        256,
    ),
}


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
        bias = self._constant(operator.inputs[2])
        names = [self._stored(f"t{number}.weight", kernel), self._stored(f"t{number}.bias", bias)]
        return [self.values[operator.inputs[0]], *names]

    def _stored(self, name: str, value: npt.NDArray[Any]) -> str:
        """Weights stay fp16 in the file, half as large; runtimes widen them when they load it."""
        if self.graph.half or value.dtype != np.float16:
            return self.graph.constant(name, np.ascontiguousarray(value, self.graph.dtype))
        stored = self.graph.constant(f"{name}.fp16", np.ascontiguousarray(value))
        return self.graph.node("Cast", [stored], name, to=TensorProto.FLOAT)

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
        # TensorFlow's SAME: as much padding as makes ceil(size / stride) results, the odd one at the end.
        # With sizes that are multiples of the stride that is kernel - stride.
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


def export(
    published: str,
    name: str,
    out: Path,
    size: tuple[int, int] | None = None,
    scores: Mapping[str, Any] | None = None,
    summary: str = "",
) -> dict[str, Any]:
    """Write the bundle ``out`` (a folder) from a net of :data:`PUBLISHED`; returns the card.

    ``size`` is the width and height that pictures are scaled to, the net's own by default; ``scores`` go into
    the card as they are; ``summary`` is a sentence for the README. Fetches the packages mediapipe and
    ai-edge-litert (into the cache, nothing is installed).

    Raises :class:`InputError` for a size or name that does not fit, :class:`ToolError` when a package cannot
    be had, :class:`ModelError` when its file is another one or the graph does not compute what LiteRT does.
    """
    if published not in PUBLISHED:
        raise InputError(f"'{published}' is no published net; they are {', '.join(PUBLISHED)}")
    origin = PUBLISHED[published]
    width, height = size or (origin.width, origin.height)
    if width % STRIDE or height % STRIDE or not (64 <= width <= 4096 and 64 <= height <= 4096):
        raise InputError(f"a size of {width}x{height} does not fit: give multiples of {STRIDE}, 64..4096")
    package = fetch_pypi("mediapipe", _MEDIAPIPE)
    path = package.one(f"**/{origin.file}")
    if sha256_of(path) != origin.sha256:
        raise ModelError(f"{path} is not the file that was examined (SHA-256 {origin.sha256})")
    net = tflite.read(path)

    with staged(out) as work:
        onnx.save(build_onnx(net, name), work / "model.onnx")
        onnx.save(build_onnx(net, name, half=True), work / "model_fp16.onnx")
        files = digests(work)
        card = {
            "schema": 1,
            "name": name,
            "task": TASK,
            "layout": LAYOUT,
            "scale": 1,
            "precision": "fp32",
            "files": files,
            "input": {"multiple_of": STRIDE, "width": width, "height": height},
            "parameters": sum(
                t.data.size for t in net.tensors if t.data is not None and t.data.dtype == np.float16
            ),
            "gmac": round(_macs(net, width * height / (origin.width * origin.height)) / 1e9, 3),
            "licence": "Apache-2.0",
            "origin": {
                "package": f"mediapipe {_MEDIAPIPE} (PyPI)",
                "file": str(path.relative_to(package.root)),
                "sha256": origin.sha256,
                "licence": "Apache-2.0",
                "command": _command(published, name, size),
            },
            "scores": dict(scores or {}),
            "parity": check(path, work / "model.onnx"),
        }
        (work / "LICENSE").write_text(_apache(package.licence_text()), "utf-8")
        (work / "README.md").write_text(_readme(card, origin, summary), "utf-8")
        (work / "card.json").write_text(json.dumps(card, indent=2) + "\n", "utf-8")
    return card


def probe(height: int, width: int) -> npt.NDArray[np.float32]:
    """A picture [1,3,height,width] that a segmenter is not sure about: head and shoulders, drawn."""
    y, x = np.mgrid[0:height, 0:width].astype(np.float32)
    u, v = (x / width - 0.5) * 2, y / height
    noise = np.random.default_rng(1).standard_normal((3, height, width)).astype(np.float32)
    room = np.stack([0.55 + 0.2 * u, 0.6 - 0.15 * v, 0.5 + 0.1 * np.sin(9 * u)])
    shirt = np.stack([0.15 + 0.05 * np.sin(40 * u), 0.2 + 0.1 * v, 0.4 - 0.1 * u])
    skin = np.stack([0.8 - 0.25 * np.abs(u), 0.6 - 0.2 * np.abs(u), 0.5 - 0.2 * np.abs(u)])
    hair = np.full_like(room, 0.12)

    def ellipse(cx: float, cy: float, rx: float, ry: float) -> npt.NDArray[np.bool_]:
        return np.asarray(((u - cx) / rx) ** 2 + ((v - cy) / ry) ** 2 < 1)

    picture = room
    for where, colour in (
        (ellipse(0, 1.05, 0.5, 0.42), shirt),
        (ellipse(0, 0.36, 0.21, 0.29), hair),
        (ellipse(0, 0.62, 0.09, 0.15), skin),
        (ellipse(0, 0.4, 0.17, 0.25), skin),
        (ellipse(-0.07, 0.36, 0.025, 0.02), hair),
        (ellipse(0.07, 0.36, 0.025, 0.02), hair),
        (ellipse(0, 0.52, 0.06, 0.015), hair),
    ):
        picture = np.where(where, colour, picture)
    return np.asarray(np.clip(picture + 0.02 * noise, 0, 1)[None], np.float32)


def check(file: Path, model: Path) -> dict[str, Any]:
    """The card's "parity" entry: ``model`` (ONNX, in OpenVINO on the CPU) against LiteRT on ``file``.

    fp32 must give the same probabilities within :data:`MAX_ERROR`, else :class:`ModelError`; bf16 passes when
    it changes at most :data:`MAX_CHANGED` of the mask.
    """
    import openvino as ov

    net = tflite.read(file)
    shape = net.tensors[net.inputs[0]].shape
    x = probe(*shape[1:3])
    wanted = _litert(file, x)
    found = {}
    for precision in ("f32", "bf16"):
        properties = {"INFERENCE_PRECISION_HINT": precision, "INFERENCE_NUM_THREADS": 1}
        found[precision] = ov.Core().compile_model(str(model), "CPU", properties)([x])[0][0, 0]
    error = float(np.abs(found["f32"] - wanted).max())
    if error > MAX_ERROR:
        raise ModelError(f"the exported graph differs from LiteRT by {error:.2g}; a fault of clarivid.export")
    changed = float(np.mean((found["bf16"] >= 0.5) != (wanted >= 0.5)))
    return {
        "fp32": {"against": f"ai-edge-litert {_LITERT}", "max_error": float(f"{error:.1g}"), "passed": True},
        "bf16": {"mask_changed": round(changed, 5), "passed": changed <= MAX_CHANGED},
    }


_RUN_LITERT = """
import sys
import numpy as np
from ai_edge_litert.interpreter import Interpreter
file, values = sys.argv[1:]
net = Interpreter(file)
net.allocate_tensors()
net.set_tensor(net.get_input_details()[0]["index"], np.load(values))
net.invoke()
np.save(values, net.get_tensor(net.get_output_details()[0]["index"]))
"""


def _litert(file: Path, x: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """What LiteRT makes of [1,3,h,w]: [h,w]. In a process of its own, with the package from the cache."""
    package = fetch_pypi("ai-edge-litert", _LITERT)
    with tempfile.TemporaryDirectory() as folder:
        values = Path(folder) / "values.npy"
        np.save(values, np.ascontiguousarray(x.transpose(0, 2, 3, 1)))
        done = subprocess.run(
            [sys.executable, "-c", _RUN_LITERT, str(file), str(values)],
            env={**os.environ, "PYTHONPATH": str(package.root)},
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode:
            raise ToolError(f"LiteRT could not run {file.name}: {last_line(done.stderr)}")
        return np.asarray(np.load(values)[0, ..., 0], np.float32)


def _macs(net: tflite.Net, larger: float) -> float:
    """Multiply-accumulates of the convolutions for a picture ``larger`` times that of the file."""
    total = 0.0
    for operator in net.operators:
        if operator.kind not in ("CONV_2D", "DEPTHWISE_CONV_2D", "Convolution2DTransposeBias"):
            continue
        kernel = net.tensors[operator.inputs[1]].shape
        where = net.tensors[operator.outputs[0]].shape
        if operator.kind == "Convolution2DTransposeBias":  # every input sample meets the kernel once
            where = net.tensors[operator.inputs[0]].shape
        positions = where[1] * where[2]
        total += float(np.prod(kernel)) * positions * (larger if positions > 1 else 1)
    return total


def _command(published: str, name: str, size: tuple[int, int] | None) -> str:
    words = ["clarivid export", published, "--name", name, "--out", f"models/{name}"]
    return " ".join([*words, *(["--size", f"{size[0]}x{size[1]}"] if size else [])])


def _apache(text: str) -> str:
    """The licence without those of other files in the package, which follow after a line of '='."""
    licence = text.split("\n====", 1)[0].rstrip() + "\n"
    if "Apache License" not in licence or "END OF TERMS AND CONDITIONS" not in licence:
        raise ModelError(f"the package mediapipe {_MEDIAPIPE} does not carry the Apache licence as expected")
    return licence


def _readme(card: Mapping[str, Any], origin: Published, summary: str) -> str:
    size = f"{card['input']['width']}x{card['input']['height']}"
    fp32, bf16 = card["parity"]["fp32"], card["parity"]["bf16"]
    source = card["origin"]
    lines = [
        f"# {card['name']}",
        "",
        summary or "Masks of people: where somebody is in a picture.",
        "",
        f"- {card['parameters']:,} parameters, {card['gmac']} GMAC a picture; the whole picture is stretched "
        f"to {size} (the net was trained at {origin.width}x{origin.height})",
        "- layout `rgb`; out comes the probability of a person, a value a sample; the mask is 0.5 and above",
        "- `model.onnx` is f32, its weights stored in fp16, as they were published; `model_fp16.onnx` is "
        "strongly typed fp16, input and output too",
        f"- against {fp32['against']}: within {fp32['max_error']:g} in fp32; bf16 changes "
        f"{100 * bf16['mask_changed']:.2f} % of a mask"
        + ("" if bf16["passed"] else " and saves little time, so `precision=auto` computes in fp32"),
        "",
        f"Use it: `ffmpeg -i in.mp4 -vf mesh_inpaint=segment={card['name']} out.mp4`, or look at its masks: "
        f"`clarivid mask in.mp4 mask.mkv --method person --model {card['name']}`",
        "",
        "## What it can do, measured",
        "",
        *(f"- {line}" for line in card["scores"].get("findings", ["not measured"])),
        "",
        "## Origin and licence",
        "",
        f"MediaPipe's selfie segmentation by Google: `{source['file']}` of {source['package']}, SHA-256",
        f"`{source['sha256']}`. Licence of the weights: Apache-2.0",
        "([LICENSE](LICENSE)). Changed here: the format (TensorFlow Lite to ONNX) and, with it, the order of",
        "the dimensions; no weight. Its training data is Google's and was not published. Made by:",
        "",
        "```",
        source["command"],
        "```",
        "",
    ]
    return "\n".join(lines)


__all__ = ["PUBLISHED", "build_onnx", "check", "export", "probe"]
