# SPDX-License-Identifier: BSD-2-Clause
"""Super-resolution: the graph of :class:`clarivid.nets.sr.SRNet`, and the card's part of its checkpoint."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
import torch
from onnx import TensorProto

from clarivid.errors import InputError
from clarivid.export.bundle import Source, command_of, probe_picture, training_of
from clarivid.export.graph import Graph, Weights, weights_of
from clarivid.nets.sr import CENTRE, GATE_STRIDE, SLOPE, SRNet
from clarivid.train.batches import unfold_luma
from clarivid.train.runs import summary_of
from clarivid.train.sr import Options, net_of

LAYOUT = "y"
_OF_THE_MACHINE = ("threads", "device", "save_every", "validate_every", "compiled")


def build_onnx(net: SRNet, name: str, half: bool = False) -> onnx.ModelProto:
    """The inference graph of ``net``, [N,1,H,W] to [N,1,2H,2W], all three sizes dynamic.

    ``half`` gives the strongly typed fp16 twin: weights, input and output are fp16; only the gates' averages
    over the picture and their two tiny layers stay in fp32, because a sum over a 4K picture overflows fp16.
    """
    weights = weights_of(net)
    graph = Graph(half)
    centred = graph.node("Sub", ["input", graph.constant("centre", np.array(CENTRE, graph.dtype))], "centred")
    x = graph.leaky(graph.conv(centred, "head", weights), SLOPE)
    for i in range(len(net.blocks)):
        block = f"blocks.{i}"
        y = graph.leaky(graph.conv(x, block, weights), SLOPE)
        if net.attention:
            y = graph.node("Mul", [y, _gate(graph, y, block, weights, net.channels)], f"{block}.scaled")
        x = graph.node("Add", [x, y], f"{block}.out")
    # The nearest upsample: luma is added to all four pixels.
    pixels = graph.node("Add", [graph.conv(x, "tail", weights), "input"], "pixels")
    graph.node("DepthToSpace", [pixels], "output", blocksize=net.scale)
    return graph.model(name, "sr", net.scale, layout=LAYOUT, in_channels=1)


def probe() -> npt.NDArray[np.float32]:
    """Luma [1,1,h,w] that a graph is checked with."""
    return np.asarray((unfold_luma(torch.from_numpy(probe_picture(90, 118)))[:, None] + CENTRE).numpy())


def _gate(graph: Graph, y: str, block: str, weights: Weights, channels: int) -> str:
    """Channel weights [N,C,1,1] from the mean magnitude of the strided high-pass of ``y``."""
    kernel = np.full((channels, 1, 3, 3), -1 / 9, np.float32)
    kernel[:, :, 1, 1] += 1
    z = graph.node(
        "Conv",
        [y, graph.constant("high_pass", kernel.astype(graph.dtype))],
        f"{block}.high",
        group=channels,
        kernel_shape=[3, 3],
        strides=[GATE_STRIDE] * 2,
    )
    z = graph.node("Abs", [z], f"{z}.abs")
    if graph.half:
        z = graph.node("Cast", [z], f"{z}.f32", to=TensorProto.FLOAT)
    z = graph.node(
        "ReduceMean",
        [z, graph.constant("picture_axes", np.array([2, 3], np.int64))],
        f"{block}.mean",
        keepdims=1,
    )
    z = graph.leaky(graph.conv(z, f"{block}.gate.down", weights, np.float32), SLOPE)
    z = graph.node("Sigmoid", [graph.conv(z, f"{block}.gate.up", weights, np.float32)], f"{block}.sigmoid")
    z = graph.node("Mul", [z, graph.constant("two", np.array(2, np.float32))], f"{block}.weight_of_channel")
    return graph.node("Cast", [z], f"{block}.weight_f16", to=TensorProto.FLOAT16) if graph.half else z


def source(state: Mapping[str, Any], name: str, scores: Mapping[str, Any], summary: str) -> Source:
    """The bundle of a checkpoint of ``clarivid train sr``."""
    config = state["net"]
    if not isinstance(net := net_of(state), SRNet):
        raise InputError(
            f"the checkpoint is of the published net {config['type'].removeprefix('rival_')}, which makes no "
            "bundle; clarivid.nets.rivals.write_onnx writes it for dnn_sr=model=FILE.onnx"
        )
    runs = [*state.get("history", []), summary_of(state)]
    validation = {"validation": state["score"]} if state["score"] else {}
    return Source(
        name=name,
        task="sr",
        scale=net.scale,
        net=net,
        build=partial(build_onnx, net, name),
        strength=False,
        layout=LAYOUT,
        input={"multiple_of": 1, "min_width": 32, "min_height": 32},
        probe=probe(),
        training=training_of(runs, state["sources"], _commands(runs)),
        scores={**validation, **scores},
        summary=summary or "2x super-resolution of video.",
        cost="from 1080p to 4K",
        usage=[f"Use it: `ffmpeg -i in.mp4 -vf dnn_sr=model={name} out.mp4`"],
        score_lines=_score_lines(state["score"] or {}),
        data_text=(
            "The pictures come from Debian packages. Each became a short moving clip whose half-size side "
            "went through x264 or x265 (`clarivid data sr`)."
        ),
    )


def _score_lines(validation: Mapping[str, Any]) -> list[str]:
    lines = [
        "PSNR-Y in dB, Lanczos beside it; the pictures are of titles that training did not see.",
        "",
    ]
    if validation:
        lines += ["| held-out pictures, coded | net | Lanczos | gain | least gain |", "|---|---|---|---|---|"]
        lines += [
            f"| {kind} | {s['psnr_y']:.2f} | {s['lanczos']:.2f} | {s['gain_db']:+.2f} | "
            f"{s['worst_gain_db']:+.2f} |"
            for kind, s in validation.items()
        ]
    return lines


def _commands(runs: list[Mapping[str, Any]]) -> list[str]:
    """The commands that train such a net again: first the packs, then one run after the other.

    Checkpoints from before packs knew their commands have none of theirs.
    """
    packs = {pack["file"]: pack["command"] for run in runs for pack in run.get("packs", []) if "file" in pack}
    lines = [command for command in packs.values() if command]
    for i, run in enumerate(runs):
        words = [_command(run["options"])]
        if i:
            words.append(f"--init run{i - 1}/last.pt")
        files = [pack["file"] for pack in run.get("packs", []) if "file" in pack]
        lines.append(" ".join([*words, f"--out run{i}", *files]))
    return lines


def _command(options: Mapping[str, Any]) -> str:
    """Of a run: its budget, and what is not as it is by default."""
    usual = vars(Options())
    words = {key: options[key] for key in usual if key in options and key not in _OF_THE_MACHINE}
    del words["minutes" if options["steps"] else "steps"]
    budget = next(iter(words))  # it comes first, and is said even when it is the usual one
    return command_of("sr", {"options": words}, {key: usual[key] for key in usual if key != budget})


__all__ = ["build_onnx", "source"]
