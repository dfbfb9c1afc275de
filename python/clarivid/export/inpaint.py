# SPDX-License-Identifier: BSD-2-Clause
"""Inpainting: the graph of :class:`clarivid.nets.inpaint.InpaintNet`, and its part of the card."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
import torch

from clarivid.data.silhouette import hole as draw_hole
from clarivid.errors import InputError
from clarivid.export.bundle import Source, command_of, probe_picture, training_of
from clarivid.export.graph import Graph, weights_of
from clarivid.nets.inpaint import IN_CHANNELS, LEAST_KNOWN, MULTIPLE, SLOPE, InpaintNet, paint
from clarivid.parity.gates import GATES
from clarivid.train.runs import summary_of

LAYOUT = "yuv420_s2d_mask"
BEST_SIZE = 512  # long side, in luma samples, of what the nets paint
BF16_PSNR_DB = GATES["bf16"].hole_db  # in the hole, where nothing is exact anyway


class GraphOperations:
    """:class:`clarivid.nets.inpaint.Operations` on the names of a graph's values; ``outputs`` maps the last
    value to the graph's output."""

    def __init__(self, graph: Graph, weights: Mapping[str, npt.NDArray[np.float32]]) -> None:
        self.graph, self.weights = graph, dict(weights)
        self.count = 0

    def conv(self, x: str, name: str, stride: int = 1, dilation: int = 1) -> str:
        if not self.graph.half:
            self._widen(name)
        return self.graph.conv(x, name, self.weights, dilation=dilation, stride=stride)

    def _widen(self, name: str) -> None:
        """Weights that are fp16 numbers are stored as such, half as large; runtimes widen them at load."""
        weight = self.weights[f"{name}.weight"]
        if np.array_equal(weight.astype(np.float16), weight):
            stored = self.graph.constant(f"{name}.weight.fp16", weight.astype(np.float16))
            self.graph.node("Cast", [stored], f"{name}.weight", to=onnx.TensorProto.FLOAT)
            self.graph.given.add(f"{name}.weight")

    def leaky(self, x: str) -> str:
        return self.graph.leaky(x, SLOPE)

    def sigmoid(self, x: str) -> str:
        return self._node("Sigmoid", [x])

    def add(self, a: str, b: str) -> str:
        return self._node("Add", [a, b])

    def mul(self, a: str, b: str) -> str:
        return self._node("Mul", [a, b])

    def quotient(self, a: str, b: str) -> str:
        return self._node("Div", [a, self._node("Clip", [b, self._number(LEAST_KNOWN)])])

    def complement(self, x: str) -> str:
        return self._node("Sub", [self._number(1.0), x])

    def gain(self, x: str, factor: float) -> str:
        scaled = self._node("Mul", [x, self._number(factor)]) if factor != 1 else x
        return self._node("Clip", [scaled, self._number(0.0), self._number(1.0)])

    def concat(self, parts: Sequence[str]) -> str:
        return self._node("Concat", list(parts), axis=1)

    def channels(self, x: str, start: int, stop: int) -> str:
        ends = [self.graph.constant(f"index_{i}", np.array([i], np.int64)) for i in (start, stop, 1)]
        return self._node("Slice", [x, ends[0], ends[1], ends[2]])

    def average(self, x: str, size: int, stride: int) -> str:
        return self._node(
            "AveragePool",
            [x],
            kernel_shape=[size, size],
            strides=[stride, stride],
            pads=[size // 2 if stride == 1 else 0] * 4,
            count_include_pad=1,
        )

    def blur(self, x: str) -> str:
        return self._node("AveragePool", [x], kernel_shape=[3, 3], pads=[1] * 4, count_include_pad=0)

    def enlarge(self, x: str, factor: int, smooth: bool = True) -> str:
        scales = self.graph.constant(f"times_{factor}", np.array([1, 1, factor, factor], np.float32))
        how = (
            {"mode": "linear", "coordinate_transformation_mode": "half_pixel"}
            if smooth
            else {"mode": "nearest", "coordinate_transformation_mode": "asymmetric", "nearest_mode": "floor"}
        )
        return self._node("Resize", [x, "", scales], **how)

    def _number(self, value: float) -> str:
        return self.graph.constant(f"number_{value:g}", np.array(value, self.graph.dtype))

    def _node(self, op: str, inputs: list[str], **attributes: Any) -> str:
        self.count += 1
        return self.graph.node(op, inputs, f"{op.lower()}.{self.count}", **attributes)


def build_onnx(net: InpaintNet, name: str, half: bool = False) -> onnx.ModelProto:
    """The inference graph of ``net``: "input" [N,7,h,w] to "output" [N,6,h,w], h and w multiples of 8.

    ``half`` gives the strongly typed fp16 twin.
    """
    graph = Graph(half)
    operations = GraphOperations(graph, weights_of(net))
    picture = paint(operations, "input", net.widths).picture
    _keep_what_counts(graph, picture)
    return graph.model(name, "inpaint", scale=1, layout=LAYOUT, in_channels=IN_CHANNELS)


def _keep_what_counts(graph: Graph, result: str) -> None:
    """Name the node that makes ``result`` "output", and drop nodes that nothing uses."""
    last = next(node for node in graph.nodes if node.output[0] == result)
    last.output[0] = last.name = "output"
    used = {"output"}
    kept = []
    for node in reversed(graph.nodes):
        if node.output[0] in used:
            used |= set(node.input)
            kept.append(node)
    graph.nodes[:] = reversed(kept)


def probe(height: int = 96, width: int = 136, seed: int = 1) -> npt.NDArray[np.float32]:
    """A picture with a person-shaped hole as the net takes it, [1,7,height,width]."""
    picture = probe_picture(height, width, seed)
    hole = draw_hole(height, width, np.random.default_rng(seed), "people")[None, None]
    return np.concatenate([np.where(hole, 0, picture), hole], 1).astype(np.float32)


def source(state: Mapping[str, Any], name: str, scores: Mapping[str, Any], summary: str) -> Source:
    """The bundle of a checkpoint of ``clarivid train inpaint``; :class:`InputError` when it is none."""
    try:
        net = InpaintNet.from_config(state["net"])
        net.load_state_dict(state["ema"])
    except (KeyError, TypeError, ValueError, RuntimeError) as error:
        raise InputError(f"the checkpoint holds no inpainting net that fits its weights: {error}") from error
    if not all(bool(value.isfinite().all()) for value in state["ema"].values()):
        raise InputError("the checkpoint's weights are not all finite: its training diverged")
    with torch.no_grad():  # what is stored in fp16 is what is checked
        for parameter in net.convs.parameters():
            parameter.copy_(parameter.half())
    net.eval()
    runs = [*state.get("history", []), summary_of(state)]
    commands = [command_of("inpaint", run) for run in runs]
    if state.get("teacher"):
        commands[-1] += f" --teacher runs/{state['teacher']}/best.pt"
    validation = {"validation": state["score"]} if state["score"] else {}
    x = probe()
    return Source(
        name=name,
        task="inpaint",
        scale=1,
        net=net,
        build=partial(build_onnx, net, name),
        strength=False,
        training=training_of(runs, state["sources"], commands),
        scores={**validation, **scores},
        summary=summary or "Paints what is behind a person or an object that is taken out of a picture.",
        cost=f"at its best size, {BEST_SIZE} luma samples along the long side of 16:9",
        usage=[
            f'Use it: `ffmpeg -i in.mp4 -i mask.mp4 -filter_complex "[0:v][1:v]mesh_inpaint=model={name}" '
            "out.mp4`",
            "",
            "Input channels 0..5 are the picture with the hole set to 0, channel 6 is 1 in the hole. Known "
            "places come out as they went in. Only the hole is to be used.",
        ],
        score_lines=[f"`validation`: {json.dumps(value)}" for value in validation.values()],
        data_text=(
            "The pictures come from Debian packages (`clarivid data inpaint`); the holes are drawn people, "
            "strokes and boxes."
        ),
        layout=LAYOUT,
        input={"multiple_of": 2 * MULTIPLE, "min_width": 64, "min_height": 64, "best_size": BEST_SIZE},
        probe=x,
        looked_at=x[0, 6] > 0,
        bf16_psnr_db=BF16_PSNR_DB,
        best_size=BEST_SIZE,
        stored=np.float16,
    )


__all__ = ["BEST_SIZE", "LAYOUT", "GraphOperations", "build_onnx", "probe", "source"]
