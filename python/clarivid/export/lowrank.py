# SPDX-License-Identifier: BSD-2-Clause
"""Pre-encoding: the graph of :class:`clarivid.nets.lowrank.LowrankNet`, and its part of the card."""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import partial
from typing import Any

import onnx

from clarivid.errors import InputError
from clarivid.export.bundle import Source, command_of, training_of
from clarivid.export.graph import STRENGTH, Graph, weights_of
from clarivid.nets.lowrank import CODES, SLOPE, LowrankNet
from clarivid.train.runs import summary_of


def build_onnx(net: LowrankNet, name: str, half: bool = False) -> onnx.ModelProto:
    """The inference graph of ``net``: input + strength * residual(input), all sizes dynamic. The residual
    ends with a Clip when the net has a limit.

    A runtime that is given the strength as a constant folds Clip and Mul into the last convolution: the
    control costs nothing. OpenVINO folds the Add too, but not behind a Clip: then it is a pass of its own.
    ``half`` gives the strongly typed fp16 twin.
    """
    weights = weights_of(net)
    graph = Graph(half)
    x = "input"
    last = len(net.layers) - 1
    for i, dilation in enumerate(net.dilation):
        x = graph.conv(x, f"layers.{i}", weights, dilation=dilation)
        if i < last:
            x = graph.leaky(x, SLOPE)
    if net.limit:
        x = graph.clip(x, net.limit / CODES)
    graph.node("Add", [graph.node("Mul", [x, STRENGTH], "scaled"), "input"], "output")
    return graph.model(name, "lowrank", scale=1, strength=True)


def weakened(state: Mapping[str, Any], gain: float) -> dict[str, Any]:
    """The checkpoint of a net whose strength 1 is strength ``gain`` (above 0, at most 1) of ``state``'s.

    Exact: the last layer and the limit are multiplied. The validation is left out, for it was another net's.
    Raises :class:`InputError` for other gains.
    """
    if not 0 < gain <= 1:
        raise InputError(f"gain is {gain:g}; it is above 0 and at most 1")
    last = f"layers.{len(state['net']['dilation']) - 1}."
    return {
        **state,
        "net": {**state["net"], "limit": gain * state["net"].get("limit", 0.0)},
        "ema": {k: v * gain if k.startswith(last) else v for k, v in state["ema"].items()},
        "score": {},
        "gain": gain,
    }


def source(state: Mapping[str, Any], name: str, scores: Mapping[str, Any], summary: str) -> Source:
    """The bundle of a checkpoint of ``clarivid train lowrank``."""
    net = LowrankNet.from_config(state["net"])
    net.load_state_dict(state["ema"])
    runs = [*state.get("history", []), summary_of(state)]
    commands = [command_of("lowrank", run) for run in runs]
    if "gain" in state:
        commands.append(f"clarivid export --gain {state['gain']:g}")
    validation = {"validation": state["score"]} if state["score"] else {}
    return Source(
        name=name,
        task="lowrank",
        scale=1,
        net=net.eval(),
        build=partial(build_onnx, net, name),
        strength=True,
        training=training_of(runs, state["sources"], commands),
        scores={**validation, **scores},
        summary=summary or "A filter before the encoder: the same quality for fewer bits.",
        cost="at 1080p",
        usage=[
            f"Use it: `ffmpeg -i in.mp4 -vf lowrank_pre=model={name} -c:v libx264 -crf 23 out.mp4`",
            "",
            "`strength=0..1` dials it, from the untouched picture to the whole change (1, the default).",
        ],
        score_lines=[f"`validation`: {json.dumps(value)}" for value in validation.values()],
        data_text=(
            "The pictures come from Debian packages. Each was deformed into a short moving clip that went "
            "through real encoders (`clarivid data lowrank`)."
        ),
    )


__all__ = ["build_onnx", "source", "weakened"]
