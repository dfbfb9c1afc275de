# SPDX-License-Identifier: BSD-2-Clause
"""Small bundles for mesh_inpaint: a net that paints one colour, and one that finds what is bright."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np
from onnx import TensorProto, checker, helper, numpy_helper, save_model

PAINTED = (0.25, -0.1, 0.2)  # what the net paints: Y, U, V, normalised and centred


def inpaint_bundle(folder: Path, **changes: Any) -> Path:
    """Layout yuv420_s2d_mask: every hole gets the same colour; keyword arguments change the card."""
    weight = np.zeros((6, 7, 1, 1), np.float32)
    weight[:, 6, 0, 0] = [PAINTED[0]] * 4 + [*PAINTED[1:]]
    for channel in range(6):
        weight[channel, channel] = 1
    nodes = [helper.make_node("Conv", ["input", "weight"], ["output"])]
    sides = {"input": [1, 7, "height", "width"], "output": [1, 6, "height", "width"]}
    card = {
        "task": "inpaint",
        "layout": "yuv420_s2d_mask",
        "scale": 1,
        "normalisation": "ycbcr_unit_centred",
        "input": {"multiple_of": 16, "min_width": 64, "min_height": 64, "best_size": 128},
    }
    return _bundle(folder, nodes, {"weight": weight}, sides, {**card, **changes})


def bright_bundle(folder: Path, width: int = 96, height: int = 64, **changes: Any) -> Path:
    """Task segment: white is a person, black is none."""
    constants = {
        "weight": np.full((1, 3, 1, 1), 1 / 3, np.float32),
        "half": np.array(0.5, np.float32),
        "steep": np.array(40, np.float32),
    }
    nodes = [
        helper.make_node("Conv", ["input", "weight"], ["luma"]),
        helper.make_node("Sub", ["luma", "half"], ["centred"]),
        helper.make_node("Mul", ["centred", "steep"], ["scaled"]),
        helper.make_node("Sigmoid", ["scaled"], ["output"]),
    ]
    sides = {"input": [1, 3, height, width], "output": [1, 1, height, width]}
    card = {
        "task": "segment",
        "layout": "rgb",
        "scale": 1,
        "normalisation": "rgb_unit",
        "input": {"multiple_of": 1, "min_width": 1, "min_height": 1, "width": width, "height": height},
    }
    return _bundle(folder, nodes, constants, sides, {**card, **changes})


def _bundle(
    folder: Path,
    nodes: list[Any],
    constants: dict[str, Any],
    sides: dict[str, list[Any]],
    card: dict[str, Any],
) -> Path:
    inputs, outputs = (
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, sides[name])] for name in ("input", "output")
    )
    graph = helper.make_graph(
        nodes, "net", inputs, outputs, [numpy_helper.from_array(v, k) for k, v in constants.items()]
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    helper.set_model_props(model, {f"clarivid.{k}": str(card[k]) for k in ("task", "layout", "scale")})
    checker.check_model(model)
    folder.mkdir(parents=True)
    save_model(model, str(folder / "model.onnx"))
    digest = hashlib.sha256((folder / "model.onnx").read_bytes()).hexdigest()
    whole = {"schema": 1, "name": folder.name, "files": {"model.onnx": {"sha256": digest}}, **card}
    (folder / "card.json").write_text(json.dumps(whole), encoding="utf-8")
    return folder
