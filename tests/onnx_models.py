# SPDX-License-Identifier: BSD-2-Clause
"""Small ONNX nets of every layout, with answers that numpy can give."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

OPSET = 18


def _save(
    path: Path,
    nodes: list[Any],
    constants: dict[str, NDArray[Any]],
    channels: tuple[int, int],
    metadata: dict[str, str],
    element: int = TensorProto.FLOAT,
    size: tuple[Any, Any] = ("height", "width"),
    strength: bool = False,
) -> Path:
    graph = helper.make_graph(
        nodes,
        "net",
        [
            helper.make_tensor_value_info("input", element, ["batch", channels[0], *size]),
            *([helper.make_tensor_value_info("strength", element, [1])] if strength else []),
        ],
        [helper.make_tensor_value_info("output", element, ["batch", channels[1], None, None])],
        [numpy_helper.from_array(value, name) for name, value in constants.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=9)
    helper.set_model_props(model, metadata)
    onnx.checker.check_model(model)
    path.parent.mkdir(parents=True, exist_ok=True)
    onnx.save_model(model, str(path))
    return path


def nearest_net(
    path: Path,
    channels: int,
    scale: int,
    *,
    half: bool = False,
    gain: float = 1.0,
    metadata: dict[str, str] | None = None,
) -> Path:
    """Layouts y (1 channel) and rgb (3 channels): nearest upscale times ``gain``."""
    dtype = np.float16 if half else np.float32
    weight = np.zeros((channels * scale * scale, channels, 1, 1), dtype)
    for c in range(channels):
        weight[c * scale * scale : (c + 1) * scale * scale, c] = gain
    nodes = [
        helper.make_node("Conv", ["input", "weight"], ["features"]),
        helper.make_node("DepthToSpace", ["features"], ["output"], blocksize=scale, mode="CRD"),
    ]
    element = TensorProto.FLOAT16 if half else TensorProto.FLOAT
    return _save(path, nodes, {"weight": weight}, (channels, channels), metadata or {}, element)


def random_s2d_net(path: Path, *, seed: int = 0, width: int = 16) -> Path:
    """Layout yuv420_s2d x2: nearest upscale plus a small two-layer residual with random weights."""
    random = np.random.default_rng(seed)
    base = np.zeros((24, 6, 1, 1), np.float32)
    for out in range(16):
        base[out, (out // 4 // 2) * 2 + out % 4 // 2] = 1
    base[16:20, 4] = base[20:24, 5] = 1
    constants = {
        "base": base,
        "w1": random.normal(0, 0.15, (width, 6, 3, 3)).astype(np.float32),
        "w2": random.normal(0, 0.05, (24, width, 3, 3)).astype(np.float32),
        "b2": random.normal(0, 0.01, 24).astype(np.float32),
    }
    nodes = [
        helper.make_node("Conv", ["input", "base"], ["upscaled"]),
        helper.make_node("Conv", ["input", "w1"], ["a"], pads=[1, 1, 1, 1]),
        helper.make_node("LeakyRelu", ["a"], ["b"], alpha=0.1),
        helper.make_node("Conv", ["b", "w2", "b2"], ["c"], pads=[1, 1, 1, 1]),
        helper.make_node("Add", ["c", "upscaled"], ["output"]),
    ]
    metadata = {
        "clarivid.name": "random_x2",
        "clarivid.task": "sr",
        "clarivid.layout": "yuv420_s2d",
        "clarivid.scale": "2",
        "clarivid.normalisation": "ycbcr_unit_centred",
    }
    return _save(path, nodes, constants, (6, 24), metadata)


def random_net(path: Path, channels: int, scale: int, *, tail: str = "") -> Path:
    """Layouts y and rgb: nearest upscale plus a random residual of three layers that sees 4 samples around.

    ``tail`` "pool" weights channels by the mean of the whole picture; "strided" does all of it on a grid of
    every second sample, so that sizes must be even; "flat" hides the last layer behind two Reshapes.
    """
    random = np.random.default_rng(11)
    strided = tail == "strided"
    out = channels * scale * scale * (4 if strided else 1)
    constants = {
        "w1": random.normal(0, 0.3, (12, channels, 3, 3)).astype(np.float32),
        "w2": random.normal(0, 0.15, (12, 12, 3, 3)).astype(np.float32),
        "w3": random.normal(0, 0.1, (out, 12, 3, 3)).astype(np.float32),
        "scales": np.array([1, 1, scale, scale], np.float32),
        "flat": np.array([0, -1], np.int64),
    }
    gate = [
        helper.make_node("GlobalAveragePool", ["d"], ["pooled"], name="gate"),
        helper.make_node("Mul", ["d", "pooled"], ["weighted"]),
    ]
    flat = [
        helper.make_node("Shape", ["c"], ["shape"]),
        helper.make_node("Reshape", ["c", "flat"], ["line"], name="flatten"),
        helper.make_node("Reshape", ["line", "shape"], ["c2"]),
    ]
    first: dict[str, Any] = {"strides": [2, 2]} if strided else {}
    nodes = [
        helper.make_node("Conv", ["input", "w1"], ["a"], pads=[1, 1, 1, 1], **first),
        helper.make_node("LeakyRelu", ["a"], ["b"], alpha=0.1),
        helper.make_node("Conv", ["b", "w2"], ["c"], pads=[2, 2, 2, 2], dilations=[2, 2]),
        *(flat if tail == "flat" else []),
        helper.make_node("LeakyRelu", ["c2" if tail == "flat" else "c"], ["d"], alpha=0.1),
        *(gate if tail == "pool" else []),
        helper.make_node("Conv", ["weighted" if tail == "pool" else "d", "w3"], ["e"], pads=[1, 1, 1, 1]),
        helper.make_node("DepthToSpace", ["e"], ["residual"], blocksize=scale * (2 if strided else 1)),
        helper.make_node("Resize", ["input", "", "scales"], ["upscaled"], mode="nearest"),
        helper.make_node("Add", ["residual", "upscaled"], ["output"]),
    ]
    return _save(path, nodes, constants, (channels, channels), {"clarivid.scale": str(scale)})


SHIFT = 0.22  # strength times this the dummy backend takes from each normalised value


def lowrank_s2d_net(
    path: Path, *, strength: bool = True, task: str = "lowrank", change: float = 0.05
) -> Path:
    """Layout yuv420_s2d of scale 1: the input plus ``strength`` (or 1) times a random 3x3 convolution."""
    random = np.random.default_rng(3)
    constants = {
        "w": random.normal(0, change, (6, 6, 3, 3)).astype(np.float32),
        "b": random.normal(0, change, 6).astype(np.float32),
    }
    nodes = [
        helper.make_node("Conv", ["input", "w", "b"], ["residual"], pads=[1, 1, 1, 1]),
        *([helper.make_node("Mul", ["residual", "strength"], ["scaled"])] if strength else []),
        helper.make_node("Add", ["scaled" if strength else "residual", "input"], ["output"]),
    ]
    metadata = {"clarivid.layout": "yuv420_s2d", "clarivid.scale": "1"}
    metadata |= {"clarivid.task": task} if task else {}
    return _save(path, nodes, constants, (6, 6), metadata, strength=strength)


def fixed_size_net(path: Path) -> Path:
    """Layout rgb, but exported for 64x64 with the size baked into a Reshape: it cannot take another."""
    nodes = [
        helper.make_node("Reshape", ["input", "shape"], ["flat"]),
        helper.make_node("Reshape", ["flat", "back"], ["output"]),
    ]
    constants = {"shape": np.array([1, 3 * 64 * 64], np.int64), "back": np.array([1, 3, 64, 64], np.int64)}
    return _save(path, nodes, constants, (3, 3), {}, size=(64, 64))


def flat_paint_net(path: Path) -> Path:
    """Layout yuv420_s2d_mask: the input, with one colour (0.25, -0.125, 0.125) in the blocks of hole."""
    take = np.zeros((6, 7, 1, 1), np.float32)
    take[range(6), range(6)] = 1
    take[:4, 6], take[4, 6], take[5, 6] = 0.25, -0.125, 0.125
    nodes = [helper.make_node("Conv", ["input", "take"], ["output"])]
    metadata = {
        "clarivid.name": "flat",
        "clarivid.task": "inpaint",
        "clarivid.layout": "yuv420_s2d_mask",
        "clarivid.scale": "1",
    }
    return _save(path, nodes, {"take": take}, (7, 6), metadata)


def random_paint_net(path: Path) -> Path:
    """Layout yuv420_s2d_mask: a random mixture of what lies around, which shows any shift."""
    random = np.random.default_rng(9)
    constants = {
        "w1": random.normal(0, 0.2, (16, 7, 5, 5)).astype(np.float32),
        "w2": random.normal(0, 0.2, (6, 16, 3, 3)).astype(np.float32),
    }
    nodes = [
        helper.make_node("Conv", ["input", "w1"], ["a"], pads=[2, 2, 2, 2]),
        helper.make_node("Tanh", ["a"], ["b"]),
        helper.make_node("Conv", ["b", "w2"], ["c"], pads=[1, 1, 1, 1]),
        helper.make_node("Tanh", ["c"], ["output"]),
    ]
    return _save(path, nodes, constants, (7, 6), {"clarivid.task": "inpaint"})
