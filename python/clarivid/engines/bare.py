# SPDX-License-Identifier: BSD-2-Clause
"""A single .onnx file without a card, as engines are built of it: what it holds is told by its metadata, else
by its number of channels, as the library does (csrc/core/model.cpp)."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from clarivid.errors import ModelError
from clarivid.models import ONNX, Model, find_model
from clarivid.paths import sha256_of

_LAYOUT = {1: "y", 3: "rgb", 6: "yuv420_s2d", 7: "yuv420_s2d_mask"}


@dataclass(frozen=True)
class BareModel(Model):
    """``path`` is the file; the card is made of what it says."""

    path: Path

    @property
    def onnx(self) -> Path:
        """The file."""
        return self.path

    @property
    def source(self) -> Path:
        """The file."""
        return self.path


def find(name: str) -> Model:
    """A bundle by name or path, or a single .onnx file by its path.

    Raises :class:`ModelError` when there is none, or when the file is no net that filters run.
    """
    path = Path(name)
    if path.suffix != ".onnx" or path.name == ONNX:
        return find_model(name)
    import onnx

    try:
        net = onnx.load(str(path), load_external_data=False)
    except Exception as error:  # protobuf has a family of its own
        raise ModelError(f"{path} cannot be read as ONNX: {error}") from error
    said = {entry.key: entry.value for entry in net.metadata_props}
    weights = {tensor.name for tensor in net.graph.initializer}
    inputs = [value for value in net.graph.input if value.name not in weights]
    dims = inputs[0].type.tensor_type.shape.dim if inputs else []
    layout = said.get("clarivid.layout") or _LAYOUT.get(dims[1].dim_value if len(dims) == 4 else 0, "")
    if layout not in _LAYOUT.values():
        raise ModelError(
            f"{path} is no net of pictures: its first input needs 4 dimensions, and 1 (luma), 3 (RGB), 6 "
            "(YUV 4:2:0 space-to-depth) or 7 (with a mask) channels"
        )
    card: dict[str, Any] = {
        "name": said.get("clarivid.name") or path.stem,
        "task": said.get("clarivid.task") or "sr",
        "layout": layout,
        "files": {ONNX: {"sha256": sha256_of(path)}},
        "input": {"multiple_of": 2 if layout.startswith("yuv420") else 1},
    }
    return BareModel(path.parent.absolute(), card, path.absolute())


def with_names(data: bytes) -> bytes:
    """The graph with the names that the library asks an engine for: "input" and "output"."""
    import onnx

    net = onnx.load_from_string(data)
    weights = {tensor.name for tensor in net.graph.initializer}
    names = [value.name for value in net.graph.input if value.name not in weights]
    wanted = {names[0]: "input", net.graph.output[0].name: "output"}
    if all(old == new for old, new in wanted.items()):
        return data
    taken = {name for node in net.graph.node for name in (*node.input, *node.output)} - set(wanted)
    moved = {**{name: f"{name}.inner" for name in ("input", "output") if name in taken}, **wanted}
    for value in (*net.graph.input, *net.graph.output, *net.graph.value_info, *net.graph.initializer):
        value.name = moved.get(value.name, value.name)
    for node in net.graph.node:
        for side in (node.input, node.output):
            side[:] = [moved.get(name, name) for name in side]
    return bytes(net.SerializeToString())


__all__ = ["BareModel", "find", "with_names"]
