# SPDX-License-Identifier: BSD-2-Clause
"""Forms of a net that its bundle does not hold: its convolutions in 8-bit integers or in bf16.

int8 is explicit quantisation, as TensorRT and OpenVINO take it: weights are int8 with a scale for each output
channel, what goes into a convolution is int8 with one scale, both symmetric (Jacob et al., "Quantization and
Training of Neural Networks for Efficient Integer-Arithmetic-Only Inference", CVPR 2018; Wu et al., "Integer
Quantization for Deep Learning Inference", arXiv:2004.09602). Scales of activations come from real pictures:
the magnitude that :data:`QUANTILE` of the values do not exceed. Everything else stays in fp16: attention,
the sums of blocks, and the base that the net's output is added to, so that what the net leaves alone stays
exact.

bf16 is the f32 net with its convolutions' inputs and weights rounded to bf16.
"""

from __future__ import annotations

import subprocess
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import helper, numpy_helper

from clarivid.clips import encoder
from clarivid.errors import InputError, ToolError, last_line
from clarivid.models import Model
from clarivid.parity import GATES
from clarivid.parity.planes import Picture, net_tensor, unpack

QUANTILE = 0.99999
GATE_DB = GATES["int8"].real_db  # PSNR against fp32, of the net's values, 1 being black to white
PICTURES = 12  # of a video, spread over it
WIDTH, HEIGHT = 640, 360  # of the excerpt, from the middle
OPSET = 19  # the first in which these nodes take fp16
BF16_OPSET = 22  # the first in which convolutions take bf16
_LEVELS = 127

Tensor = NDArray[np.float32]


@dataclass(frozen=True)
class Quantised:
    """``onnx`` holds the net; ``psnr_db`` is its likeness to fp32 on the pictures it was not calibrated
    with, ``scales`` those of the activations by name."""

    onnx: bytes
    psnr_db: float
    scales: Mapping[str, float]

    @property
    def passed(self) -> bool:
        """Whether the parity gate lets it be used."""
        return self.psnr_db >= GATE_DB


def quantise(model: Model, videos: Sequence[Path]) -> Quantised:
    """Calibrate with every second picture of ``videos``, compare on the others.

    :class:`InputError` for a model that cannot be quantised and for videos without pictures,
    :class:`ToolError` when one cannot be read.
    """
    if model.layout not in ("yuv420_s2d", "y") or "model_fp16.onnx" not in model.files:
        raise InputError(
            f"model {model.name} cannot be quantised: that is for bundles of layout yuv420_s2d or y with a "
            "model_fp16.onnx"
        )
    pictures = [picture for video in videos for picture in excerpts(video, model.layout)]
    if len(pictures) < 2:
        raise InputError("int8 needs at least two pictures to calibrate with: give a longer video")
    reference = onnx.load_from_string(model.onnx.read_bytes())
    wanted = _convolutions(reference)
    if not wanted:
        raise InputError(f"model {model.name} has no convolutions that could be quantised")
    scales = _calibrate(reference, sorted({node.input[0] for node in wanted.values()}), pictures[::2])
    half = onnx.load_from_string((model.folder / "model_fp16.onnx").read_bytes())
    kernels = {t.name: numpy_helper.to_array(t) for t in reference.graph.initializer}
    made = _with_nodes(half, wanted, kernels, scales)
    return Quantised(made, _psnr(reference, made, pictures[1::2]), scales)


def in_bf16(model: Model) -> bytes:
    """The f32 net with convolutions in bf16; input and output stay f32. :class:`InputError` when there are
    none."""
    made = onnx.load_from_string(model.onnx.read_bytes())
    for number, node in enumerate(made.graph.node):
        node.name = node.name or f"node {number}"  # which ONNX leaves free
    wanted = _convolutions(made)
    if not wanted:
        raise InputError(f"model {model.name} has no convolutions that bf16 would speed up")
    graph = made.graph
    weights = {tensor.name: tensor for tensor in graph.initializer}
    nodes: list[onnx.NodeProto] = []
    done: set[str] = set()

    def cast(tensor: str, to: int, name: str) -> onnx.NodeProto:
        return helper.make_node("Cast", [tensor], [name], name=name, to=to)

    for node in graph.node:
        if node.name not in wanted:
            nodes.append(node)
            continue
        tensor, result = node.input[0], node.output[0]
        if tensor not in done:
            done.add(tensor)
            nodes.append(cast(tensor, onnx.TensorProto.BFLOAT16, f"{tensor}.bf16"))
        for place in range(1, len(node.input)):
            name = node.input[place]
            values = numpy_helper.to_array(weights[name]).astype(np.float32)
            weights[f"{name}.bf16"] = numpy_helper.from_array(
                values.astype(ml_dtypes.bfloat16), f"{name}.bf16"
            )
            node.input[place] = f"{name}.bf16"
        node.input[0], node.output[0] = f"{tensor}.bf16", f"{result}.bf16"
        nodes += [node, cast(f"{result}.bf16", onnx.TensorProto.FLOAT, result)]
    used = {name for node in nodes for name in node.input}
    del graph.node[:], graph.initializer[:]
    graph.node.extend(nodes)
    graph.initializer.extend(tensor for name, tensor in weights.items() if name in used)
    _set_opset(made, BF16_OPSET)
    onnx.checker.check_model(made, full_check=True)
    return bytes(made.SerializeToString())


def excerpts(video: Path, layout: str) -> Iterator[Tensor]:
    """Up to :data:`PICTURES` excerpts of a video, spread evenly, as tensors of the ``layout``."""
    probe = [encoder(), "-nostdin", "-hide_banner", "-i", str(video), "-map", "0:v:0", "-f", "null", "-"]
    told = subprocess.run(probe, capture_output=True, text=True, check=False)
    counts = [line.split("frame=")[-1].split()[0] for line in told.stderr.splitlines() if "frame=" in line]
    if told.returncode or not counts or not counts[-1].isdigit():
        raise ToolError(f"cannot read {video}: {last_line(told.stderr)}")
    step = max(1, int(counts[-1]) // PICTURES)
    chain = f"select=not(mod(n\\,{step})),crop=min(iw\\,{WIDTH}):min(ih\\,{HEIGHT}),format=yuv420p"
    command = [encoder(), "-nostdin", "-loglevel", "error", "-i", str(video), "-map", "0:v:0", "-vf", chain]
    done = subprocess.run(
        [*command, "-fps_mode", "passthrough", "-f", "yuv4mpegpipe", "-strict", "-1", "-"],
        capture_output=True,
        check=False,
    )
    if done.returncode:
        raise ToolError(f"cannot read {video}: {last_line(done.stderr.decode(errors='replace'))}")
    for picture in _y4m(done.stdout):
        yield net_tensor(layout, picture, 8, False)


def _y4m(data: bytes) -> Iterator[Picture]:
    """The pictures of a stream as our encoder writes it: frames without parameters, yuv420p."""
    header, _, rest = data.partition(b"\n")
    sizes = {word[:1]: word[1:] for word in header.split()[1:]}
    width, height = int(sizes[b"W"]), int(sizes[b"H"])
    mark = len(b"FRAME\n")
    step = mark + width * height + 2 * ((width + 1) // 2) * ((height + 1) // 2)
    raw = b"".join(rest[start + mark : start + step] for start in range(0, len(rest), step))
    yield from unpack(raw, width, height, "yuv420p")


def _convolutions(model: onnx.ModelProto) -> dict[str, onnx.NodeProto]:
    """Those that cost something: 3x3 and larger, over all channels, with learnt weights."""
    weights = {tensor.name: tensor for tensor in model.graph.initializer}
    found = {}
    for node in model.graph.node:
        kernel = weights.get(node.input[1]) if node.op_type == "Conv" else None
        grouped = any(a.name == "group" and a.i > 1 for a in node.attribute)
        learnt = all(name in weights for name in node.input[1:])
        if kernel is not None and len(kernel.dims) == 4 and kernel.dims[2] > 1 and learnt and not grouped:
            found[node.name] = node
    return found


def _calibrate(model: onnx.ModelProto, names: Sequence[str], pictures: Iterable[Tensor]) -> dict[str, float]:
    """The scale of each tensor."""
    import openvino as ov

    core = ov.Core()
    net = core.read_model(model.SerializeToString())
    inner = [name for name in names if name != "input"]
    net.add_outputs(inner)
    compiled = core.compile_model(net, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    most = dict.fromkeys(names, 0.0)
    for picture in pictures:
        results = compiled(_inputs(compiled, picture))
        values = {"input": picture, **{name: results[compiled.output(name)] for name in inner}}
        for name in names:
            most[name] = max(most[name], float(np.quantile(np.abs(values[name]), QUANTILE)))
    return {name: max(value, 1e-6) / _LEVELS for name, value in most.items()}


def _inputs(compiled: Any, picture: Tensor) -> dict[str, Any]:
    given: dict[str, Any] = {"input": picture}
    for port in compiled.inputs:
        if port.get_any_name() == "strength":
            given["strength"] = np.ones(
                1, np.float32 if port.element_type.to_string() == "f32" else np.float16
            )
        elif port.element_type.to_string() == "f16":
            given["input"] = picture.astype(np.float16)
    return given


def _with_nodes(
    model: onnx.ModelProto,
    wanted: Mapping[str, Any],
    kernels: Mapping[str, NDArray[Any]],
    scales: Mapping[str, float],
) -> bytes:
    """The fp16 graph with the nodes put in; ``kernels`` are f32."""
    graph = model.graph
    constants: list[onnx.TensorProto] = []
    nodes: list[onnx.NodeProto] = []
    done: set[str] = set()
    constants.append(numpy_helper.from_array(np.array(0, np.int8), "int8.zero"))
    for node in graph.node:
        if node.name in wanted:
            tensor = node.input[0]
            if tensor not in done:
                done.add(tensor)
                constants.append(
                    numpy_helper.from_array(np.array(scales[tensor], np.float16), f"{tensor}.scale")
                )
                nodes += [
                    helper.make_node(
                        "QuantizeLinear",
                        [tensor, f"{tensor}.scale", "int8.zero"],
                        [f"{tensor}.int8"],
                        name=f"{tensor}.int8",
                    ),
                    helper.make_node(
                        "DequantizeLinear",
                        [f"{tensor}.int8", f"{tensor}.scale", "int8.zero"],
                        [f"{tensor}.rounded"],
                        name=f"{tensor}.rounded",
                    ),
                ]
            name = node.input[1]
            kernel = kernels[name]
            scale = _half_above(np.abs(kernel).max((1, 2, 3)) / _LEVELS)
            levels = np.rint(kernel / scale.astype(np.float32)[:, None, None, None]).astype(np.int8)
            constants += [
                numpy_helper.from_array(levels, f"{name}.int8"),
                numpy_helper.from_array(scale, f"{name}.scale"),
                numpy_helper.from_array(np.zeros(len(scale), np.int8), f"{name}.zero"),
            ]
            nodes.append(
                helper.make_node(
                    "DequantizeLinear",
                    [f"{name}.int8", f"{name}.scale", f"{name}.zero"],
                    [f"{name}.rounded"],
                    name=f"{name}.rounded",
                    axis=0,
                )
            )
            node.input[0], node.input[1] = f"{tensor}.rounded", f"{name}.rounded"
        nodes.append(node)
    used = {name for node in nodes for name in node.input}
    kept = [tensor for tensor in graph.initializer if tensor.name in used]
    del graph.node[:], graph.initializer[:]
    graph.node.extend(nodes)
    graph.initializer.extend([*kept, *constants])
    _set_opset(model, OPSET)
    onnx.checker.check_model(model, full_check=True)
    return bytes(model.SerializeToString())


def _half_above(values: NDArray[np.float32]) -> NDArray[np.float16]:
    """The least fp16 that is not below each value: with it as a scale no level is out of range."""
    half = values.astype(np.float16)
    below = half.astype(np.float32) < values
    half[below] = np.nextafter(half[below], np.float16(np.inf))
    least: np.float16 = np.finfo(np.float16).smallest_subnormal
    found: NDArray[np.float16] = np.maximum(half, least)
    return found


def _set_opset(model: onnx.ModelProto, version: int) -> None:
    """Of ONNX's own operators; those that our graphs use mean the same in all of these."""
    for entry in model.opset_import:
        if entry.domain == "":
            entry.version = version
    model.ir_version = max(model.ir_version, helper.find_min_ir_version_for(model.opset_import))


def _psnr(reference: onnx.ModelProto, made: bytes, pictures: Sequence[Tensor]) -> float:
    """Of the net's values over all pictures, in dB."""
    import openvino as ov

    core = ov.Core()
    plain, other = (
        core.compile_model(core.read_model(data), "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
        for data in (reference.SerializeToString(), made)
    )
    errors = [
        np.mean(
            np.square(plain(_inputs(plain, p))[0].astype(np.float64) - other(_inputs(other, p))[0]),
            dtype=np.float64,
        )
        for p in pictures
    ]
    return float(-10 * np.log10(max(float(np.mean(errors)), 1e-12)))


__all__ = ["GATE_DB", "Quantised", "excerpts", "in_bf16", "quantise"]
