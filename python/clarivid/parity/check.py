# SPDX-License-Identifier: BSD-2-Clause
"""The comparison itself: every way on every case, against the reference."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from clarivid.errors import BackendError, InputError
from clarivid.models import Model, find_model, verify_model
from clarivid.parity.cases import Case, cases_of, hole_of, pictures
from clarivid.parity.gates import GATES, need_real
from clarivid.parity.planes import Picture
from clarivid.parity.reference import (
    luma_reference,
    paint_reference,
    reference,
    tensor_reference,
    torch_net,
)
from clarivid.parity.report import Difference, Report, Row, difference, tensor_difference
from clarivid.parity.tensors import Variant, net_inputs
from clarivid.parity.ways import (
    ON_DEVICE,
    ModuleWay,
    PictureWay,
    TensorWay,
    Way,
    check_names,
    obstacle,
    ways_on_device,
    ways_on_host,
)

if TYPE_CHECKING:
    from clarivid.nets.load import Net

Progress = Callable[[str, int, int], None]
NATIVE = {"openvino": ("fp32", "bf16"), "cpu": ("fp32",), "cuda": ("fp16",)}  # precisions, without a choice


@dataclass
class _Plan:
    ways: list[Way] = field(default_factory=list)
    skipped: list[str] = field(default_factory=list)


def check(
    model: str | Model,
    *,
    source: Path | None = None,
    chosen: Sequence[Case] | None = None,
    backends: Sequence[str] = (),
    precisions: Sequence[str] = (),
    with_filter: bool = True,
    videos: Sequence[Path] = (),
    progress: Progress = lambda _label, _done, _total: None,
) -> Report:
    """Compare the ways on every case.

    :param model: a bundle. Without ``weights.safetensors``, or with an architecture that
        :mod:`clarivid.nets` has not, its ONNX is the reference, and only tensors are compared.
    :param source: video that real pictures are cut from; None leaves the real cases out.
    :param chosen: None for :func:`cases_of` the model.
    :param backends: of openvino, cpu and cuda; empty for what runs on host memory here. What is asked for and
        cannot run is an error; what is not asked for and cannot is named in the report.
    :param precisions: empty for those that a backend computes in by itself: openvino fp32 and bf16, cpu fp32,
        cuda fp16. With fp16, bf16 or int8, ``openvino`` compares the ONNX of that precision too (way
        ``onnx``).
    :param with_filter: also through ffmpeg.
    :param videos: to calibrate int8 with.
    :param progress: called with a case's label, the number done and the total.

    Raises :class:`ModelError` when the bundle cannot be compared, :class:`DigestError` when it is damaged,
    :class:`BackendError` when a backend cannot run it, :class:`ToolError` when ffmpeg fails.
    """
    bundle = model if isinstance(model, Model) else find_model(model)
    verify_model(bundle)
    check_names(backends, precisions, tuple(GATES))
    plan = _Plan()
    if has_net(bundle):
        net = torch_net(bundle)
        _plan_pictures(plan, bundle, backends, precisions, with_filter)
        _plan_tensors(plan, bundle, backends, precisions, videos)
    else:
        net = None
        _plan_community(plan, bundle, backends, precisions, videos)
    chosen = chosen or cases_of(bundle)
    kept = [case for case in chosen if case.source != "real" or source is not None]
    if source is None:
        need_real(precisions, source)
        plan.skipped.append("real pictures: no clip was given")
    if not kept or not plan.ways:
        raise InputError(
            f"nothing to compare: {len(kept)} cases, {len(plan.ways)} ways"
            + "".join(f"; {sentence}" for sentence in plan.skipped)
        )
    return compare(bundle, net, plan.ways, kept, source, plan.skipped, progress)


def compare(
    bundle: Model,
    net: Net | None,
    ways: Sequence[Way],
    chosen: Sequence[Case],
    source: Path | None,
    skipped: Sequence[str] = (),
    progress: Progress = lambda _label, _done, _total: None,
) -> Report:
    """What :func:`check` does once it knows the ways. ``net`` None: the bundle has none in PyTorch."""
    against = _Reference(bundle, net)
    rows = []
    for number, case in enumerate(chosen):
        progress(case.label, number, len(chosen))
        rows.append(_row(ways, against, case, pictures(case, source)))
    progress("done", len(chosen), len(chosen))
    return Report(bundle.name, rows, list(skipped), bundle.task == "inpaint", against.text)


def has_net(bundle: Model) -> bool:
    """Whether a bundle claims to have a net in PyTorch; else its ONNX is all there is."""
    return "type" in bundle.card.get("architecture", {}) or "weights.safetensors" in bundle.files


class _Reference:
    """Pictures and tensors, each made when a way asks for them."""

    def __init__(self, bundle: Model, net: Net | None) -> None:
        self.bundle, self.net = bundle, net
        self.text = "PyTorch in fp32" if net is not None else "its ONNX, evaluated in double precision"
        self._graph: Any = None
        self._host: ModuleWay | None = None

    def pictures(self, given: Sequence[Picture], case: Case) -> list[Picture]:
        if self.net is None:  # conversions are the library's own on the host
            self.text = "backend openvino in fp32"
            return self._on_the_host(given, case)
        if self.bundle.layout == "y":  # so is chroma, which the net has no part in
            net = self.net
            made = self._on_the_host(given, case)
            return [
                (luma_reference(net, picture[0], case), *chroma)
                for picture, (_, *chroma) in zip(given, made, strict=True)
            ]
        if self.bundle.task == "inpaint":
            return [paint_reference(self.net, self.bundle, picture, case) for picture in given]
        return [reference(self.net, picture, case) for picture in given]

    def _on_the_host(self, given: Sequence[Picture], case: Case) -> list[Picture]:
        self._host = self._host or ModuleWay("module", "fp32", self.bundle, "openvino")
        return self._host.run(given, case)

    def tensors(self, given: Sequence[Picture], case: Case) -> list[NDArray[Any]]:
        found: list[NDArray[Any]] = []
        for picture in given:
            inputs = net_inputs(self.bundle, picture, case)
            if self.net is not None:
                found.append(tensor_reference(self.net, inputs["input"], case.strength))
                continue
            if self._graph is None:
                from clarivid.parity.graph import Graph

                self._graph = Graph(self.bundle.onnx.read_bytes())
            found.append(self._graph.run(inputs)[self._graph.outputs[0]].numpy())
        return found


def _row(ways: Sequence[Way], against: _Reference, case: Case, given: Sequence[Picture]) -> Row:
    bundle = against.bundle
    hole = hole_of(case) if bundle.task == "inpaint" else None
    span = 255 if bundle.layout == "rgb" else 219
    wanted: list[Picture] = []
    tensors: list[NDArray[Any]] = []
    found: dict[str, dict[str, Difference]] = {}
    for way in ways:
        if not way.fits(case):
            continue
        if isinstance(way, PictureWay):
            wanted = wanted or against.pictures(given, case)
            made = difference(way.run(given, case), wanted, case.bit_depth, hole)
        else:
            assert isinstance(way, TensorWay)
            tensors = tensors or against.tensors(given, case)
            made = tensor_difference(way.run(given, case), tensors, span)
        found.setdefault(way.precision, {})[way.name] = made
    return Row(case, found)


def _plan_pictures(
    plan: _Plan, bundle: Model, backends: Sequence[str], precisions: Sequence[str], with_filter: bool
) -> None:
    if with_filter and bundle.task == "inpaint":
        plan.skipped.append("the filter: mesh_inpaint blends what the net paints into what it remembers")
    for backend in backends or ("openvino", "cpu"):
        for precision in precisions or NATIVE.get(backend, ()):
            if backend in ON_DEVICE:
                plan.ways += ways_on_device(bundle, backend, precision, with_filter)
                if len(plan.ways) > 1:
                    plan.skipped.append(
                        "the filter on CUDA frames in yuv420p10le, which FFmpeg does not upload, and of odd "
                        "heights, whose last row of chroma it leaves out"
                    )
                continue
            if backend == "openvino" and precision not in NATIVE["openvino"]:
                continue  # its ONNX is compared
            problem = obstacle(bundle, precision, backend)
            if not problem:
                # Without a choice the filter is compared once: it is the same library.
                also = with_filter and (bool(backends) or backend == "openvino")
                plan.ways += ways_on_host(bundle, backend, precision, also)
            elif precision in precisions and backend in backends:
                raise BackendError(problem)
            elif backend == "openvino" or backend in backends:
                if precision == "fp32":
                    raise BackendError(problem)
                plan.skipped.append(f"{precision}: {problem}")


def _plan_tensors(
    plan: _Plan, bundle: Model, backends: Sequence[str], precisions: Sequence[str], videos: Sequence[Path]
) -> None:
    """The ONNX of other precisions than fp32, when they are asked for."""
    if backends and "openvino" not in backends:
        return
    for precision in precisions:
        if precision == "fp32":
            continue
        variant = Variant(bundle, precision, videos)
        try:
            variant.run(net_inputs(bundle, *_small()))
        except BackendError as error:
            if precision not in NATIVE["openvino"]:
                raise
            plan.skipped.append(f"the ONNX in {precision}: {error}")
            continue
        plan.ways.append(TensorWay(variant, bundle))


def _plan_community(
    plan: _Plan, bundle: Model, backends: Sequence[str], precisions: Sequence[str], videos: Sequence[Path]
) -> None:
    """A net that is known by its ONNX only."""
    if any(backend != "openvino" for backend in backends):
        raise BackendError(
            f"model {bundle.name} has no weights.safetensors, and only clarivid's own nets run in backend "
            f"{' or '.join(backend for backend in backends if backend != 'openvino')}: use openvino, or "
            "tensorrt for its engines"
        )
    plan.skipped.append(
        "pictures: the bundle has no weights.safetensors, so its ONNX is the reference, of tensors only"
    )
    usual = NATIVE["openvino"]
    if bundle.task == "segment" and not precisions:
        usual = ("fp32",)
        plan.skipped.append("bf16: a net of task segment is judged by its masks, when it is exported")
    for precision in precisions or usual:
        variant = Variant(bundle, precision, videos, native=True)
        try:
            variant.run(net_inputs(bundle, *_small()))
        except BackendError as error:
            if precisions:
                raise
            plan.skipped.append(f"{precision}: {error}")
            continue
        plan.ways.append(TensorWay(variant, bundle))


def _small() -> tuple[Picture, Case]:
    """A picture to try a net with."""
    grey = tuple(np.full(shape, 100, np.uint8) for shape in ((64, 64), (32, 32), (32, 32)))
    return grey, Case("flat", 64, 64, "yuv420p", False)


__all__ = ["NATIVE", "Progress", "check", "compare", "has_net"]
