# SPDX-License-Identifier: BSD-2-Clause
"""Nets as ONNX in each precision, and the tensors that they take: what pixels have no part in.

The ONNX is what engines are built from. OpenVINO on a CPU computes an fp16 file's sums in f32, so what is
seen of fp16 here is the rounding of weights and of the tensors between nodes' types, not a GPU's kernels;
an int8 file's quantised convolutions are run as they are.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from clarivid.errors import BackendError, InputError
from clarivid.models import Model
from clarivid.parity.cases import Case, hole_of
from clarivid.parity.planes import Picture, fold

Inputs = dict[str, NDArray[np.float32]]


def net_inputs(bundle: Model, picture: Picture, case: Case) -> Inputs:
    """A net's input tensors for a picture (y, u, v), padded to what the card asks for.

    Nets on RGB get the three planes as if they were R'G'B' in 0..1: any values will do. An inpainting net
    gets the case's hole.
    """
    rule = bundle.card.get("input", {})
    height, width = picture[0].shape
    multiple = int(rule.get("multiple_of", 1))
    size = [
        -(-max(side, int(rule.get(least, 1))) // multiple) * multiple
        for side, least in ((height, "min_height"), (width, "min_width"))
    ]
    if bundle.layout.startswith("yuv420_s2d"):
        size = [side + side % 2 for side in size]
        half = [side // 2 for side in size]
        wide = (_grown(picture[0], size), _grown(picture[1], half), _grown(picture[2], half))
        tensor = fold(wide, case.bit_depth, case.full_range)
        if bundle.layout == "yuv420_s2d_mask":
            grown = _grown(hole_of(case), size).reshape(half[0], 2, half[1], 2)
            hole = np.asarray(grown.any((1, 3)))[None, None]
            tensor = np.concatenate([np.where(hole, 0, tensor), hole], axis=1).astype(np.float32)
    else:
        planes = [picture[0]]
        if bundle.layout == "rgb":
            planes += [plane.repeat(2, 0).repeat(2, 1)[:height, :width] for plane in picture[1:]]
        if "width" in rule and "height" in rule:  # a net of one size
            size = [int(rule["height"]), int(rule["width"])]
            planes = [np.resize(plane, size) for plane in planes]
        top = (1 << case.bit_depth) - 1
        values = np.stack([_grown(plane, size) for plane in planes])[None] / top
        tensor = values.astype(np.float32)
    inputs: Inputs = {"input": tensor}
    if bundle.has_strength:
        inputs["strength"] = np.array([case.strength], np.float32)
    return inputs


def _grown(plane: NDArray[Any], size: Sequence[int]) -> NDArray[Any]:
    """With the last row and column repeated up to ``size``."""
    return np.pad(plane, [(0, wanted - have) for wanted, have in zip(size, plane.shape, strict=True)], "edge")


class OpenVino:
    """An ONNX in OpenVINO on the CPU. ``hint``: the arithmetic, f32 or bf16. ``exposed``: tensors that become
    outputs too. Raises :class:`BackendError` when OpenVINO cannot."""

    def __init__(self, onnx: bytes, hint: str = "f32", exposed: Sequence[str] = ()) -> None:
        import openvino as ov

        core = ov.Core()
        if hint == "bf16" and "BF16" not in core.get_property("CPU", "OPTIMIZATION_CAPABILITIES"):
            raise BackendError(
                "precision=bf16 is not computed by device CPU of this machine: use precision=fp32"
            )
        try:
            net = core.read_model(onnx)
            outputs = {name for port in net.outputs for name in port.get_names()}
            inner = [name for name in exposed if name not in outputs]
            if inner:
                net.add_outputs(inner)
            self._compiled = core.compile_model(net, "CPU", {"INFERENCE_PRECISION_HINT": hint})
        except RuntimeError as error:
            reason = [line.strip() for line in str(error).splitlines() if line.strip()]
            raise BackendError(
                f"OpenVINO cannot run this ONNX: {reason[-1] if reason else 'it gave no reason'}"
            ) from error
        self.exposed = tuple(exposed)

    def run(self, inputs: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[np.float64]]:
        """The exposed tensors by name, and the first output under ""."""
        given = {}
        for port in self._compiled.inputs:
            kind = np.float16 if port.element_type.to_string() == "f16" else np.float32
            given[port.get_any_name()] = inputs[port.get_any_name()].astype(kind)
        results = self._compiled(given)
        found = {name: np.asarray(results[self._compiled.output(name)], np.float64) for name in self.exposed}
        return {**found, "": np.asarray(results[0], np.float64)}


class Variant:
    """The net of a bundle in one precision: its ONNX, and OpenVINO to run it.

    ``native``: compute fp32 and bf16 as backend openvino does, from ``model.onnx``; else bf16 is the ONNX
    that engines are built from. int8 is calibrated with ``videos``. Raises :class:`InputError` for a
    precision that the bundle cannot have.
    """

    def __init__(
        self, bundle: Model, precision: str, videos: Sequence[Path] = (), native: bool = False
    ) -> None:
        self.bundle, self.precision = bundle, precision
        self.hint = "bf16" if precision == "bf16" and native else "f32"
        if precision == "int8" and not videos:
            raise InputError(
                "precision int8 is calibrated on real pictures: give --calibrate a video like yours, or let "
                "the held-out clips be fetched (no --no-real)"
            )
        if self.hint == "bf16":
            self.onnx = bundle.onnx.read_bytes()
        elif precision == "int8":
            # Not onnx_of, which raises when the gate is missed: here that is a finding.
            from clarivid.engines.quantise import quantise

            self.onnx = quantise(bundle, videos).onnx
        else:
            from clarivid.engines.build import onnx_of

            self.onnx = onnx_of(bundle, precision)[0]
        self._net: OpenVino | None = None

    def run(self, inputs: Mapping[str, NDArray[Any]]) -> NDArray[np.float64]:
        """The net's output. Raises :class:`BackendError` when OpenVINO cannot run it."""
        if self._net is None:
            self._net = OpenVino(self.onnx, self.hint)
        return self._net.run(inputs)[""]


__all__ = ["Inputs", "OpenVino", "Variant", "net_inputs"]
