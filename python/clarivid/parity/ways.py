# SPDX-License-Identifier: BSD-2-Clause
"""Ways from the planes of a picture to those that a net makes of them.

======== ========= =================================================================================
way      backend   what runs
======== ========= =================================================================================
module   openvino  ``clarivid.SuperResolution``, ``LowrankPre`` or ``Inpainter.paint``
filter   openvino  ``ffmpeg -vf dnn_sr`` or ``lowrank_pre``: raw video in, raw video out
cpu      cpu       as module: our own kernels, for the nets that they know
onnx     openvino  an ONNX of the precision, in OpenVINO's own interface: tensors, no pictures
cuda     cuda      a session on pictures in device memory
tensorrt tensorrt  the same, with an engine (:mod:`clarivid.parity.engine_check`)
======== ========= =================================================================================

A filter whose backend is another one has its name: ``filter cpu``, ``filter cuda``.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from clarivid import _core
from clarivid.blend import sharpness_text
from clarivid.cuda import Device
from clarivid.errors import BackendError, InputError, ToolError
from clarivid.inpaint import Inpainter
from clarivid.lowrank import LowrankPre
from clarivid.models import Model
from clarivid.parity.cases import Case, hole_of
from clarivid.parity.planes import Picture, escape, interleave, raw, run_ffmpeg, separate, unpack
from clarivid.parity.tensors import Variant, net_inputs
from clarivid.picture_filter import PRECISIONS, PictureFilter
from clarivid.sr import SuperResolution

FILTERS = {"sr": "dnn_sr", "lowrank": "lowrank_pre"}  # by task
ON_DEVICE = ("cuda", "tensorrt")  # backends that take pictures in device memory
DEVICE_FORMATS = ("yuv420p", "nv12", "p010le")  # that FFmpeg's frames in device memory have
_PIXEL_FORMATS = {"yuv420p": 1, "nv12": 2, "yuv420p10le": 3, "p010le": 4}
_GPU = ("-init_hw_device", "cuda=gpu", "-filter_hw_device", "gpu")


class Way:
    """One way, in one precision. ``fits`` tells whether it takes such pictures."""

    def __init__(self, name: str, precision: str) -> None:
        self.name, self.precision = name, precision

    def fits(self, _case: Case) -> bool:
        """Whether it can take the pictures of a case."""
        return True


class PictureWay(Way):
    """Pictures in, pictures out."""

    def run(self, pictures: Sequence[Picture], case: Case) -> list[Picture]:
        """Planes (y, u, v), codes in the low bits, as ``pictures`` are."""
        raise NotImplementedError


class ModuleWay(PictureWay):
    """The package's classes, on host memory."""

    def __init__(self, name: str, precision: str, bundle: Model, backend: str) -> None:
        super().__init__(name, precision)
        self._bundle, self._backend = bundle, backend
        self._made: dict[float, PictureFilter | Inpainter] = {}

    def run(self, pictures: Sequence[Picture], case: Case) -> list[Picture]:
        """See :class:`PictureWay`."""
        module = self._made.get(case.strength)
        if module is None:
            module = _module(self._bundle, self.precision, case.strength, self._backend)
            self._made[case.strength] = module
        results = []
        for picture in pictures:
            planes = interleave(picture, case.pix_fmt)
            if isinstance(module, Inpainter):
                options: dict[str, Any] = {"bit_depth": case.bit_depth, "full_range": case.full_range}
                module.reset()  # sizes and formats change from case to case
                out = module.paint(planes, hole_of(case), **options)
            else:
                out = module(planes, bit_depth=case.bit_depth, full_range=case.full_range)
            results.append(separate(out, case.pix_fmt))
        return results


class FilterWay(PictureWay):
    """ffmpeg, raw video to raw video; on frames in device memory when the backend takes those."""

    def __init__(self, name: str, precision: str, bundle: Model, backend: str) -> None:
        super().__init__(name, precision)
        self._bundle, self._backend = bundle, backend

    def fits(self, case: Case) -> bool:
        """See :class:`Way`. FFmpeg's upload and download leave out the last row of chroma of an odd
        height."""
        return self._backend not in ON_DEVICE or (case.pix_fmt in DEVICE_FORMATS and case.height % 2 == 0)

    def run(self, pictures: Sequence[Picture], case: Case) -> list[Picture]:
        """See :class:`PictureWay`."""
        bundle = self._bundle
        data = b"".join(
            plane.tobytes() for picture in pictures for plane in interleave(picture, case.pix_fmt)
        )
        name = FILTERS[bundle.task]
        options = f"model={escape(str(bundle.source))}:backend={self._backend}:precision={self.precision}"
        if bundle.has_strength:
            options += f":strength={case.strength:g}"
        if bundle.sharpness:
            options += f":sharpness={sharpness_text(bundle.sharpness)}"
        chain = f"{name}={options}"
        before: tuple[str, ...] = ()
        if self._backend in ON_DEVICE:
            before = _GPU
            chain = f"format={case.pix_fmt},hwupload,{chain},hwdownload,format={case.pix_fmt}"
        command = [*before, *raw(case.pix_fmt)[:-1], "-s", f"{case.width}x{case.height}", "-r", "25"]
        colour = "pc" if case.full_range else "tv"
        command += ["-i", "-", "-vf", f"setparams=range={colour},{chain}", *raw(case.pix_fmt)]
        out = run_ffmpeg(command, data, f"run {name} on {case.label}")
        scale = bundle.scale
        results = list(unpack(out, case.width * scale, case.height * scale, case.pix_fmt))
        if len(results) != len(pictures):
            raise ToolError(f"{name} gave {len(results)} frames for {len(pictures)} on {case.label}")
        return results


class DeviceWay(PictureWay):
    """A session of the library, or an inpainter, on pictures in the memory of a GPU."""

    def __init__(
        self, name: str, precision: str, bundle: Model, backend: str, device: Device | None = None
    ) -> None:
        super().__init__(name, precision)
        self._bundle, self._backend = bundle, backend
        self.device = device or Device()
        self._stream = self.device.stream()
        self._model = _core.Model(str(bundle.source))

    def run(self, pictures: Sequence[Picture], case: Case) -> list[Picture]:
        """See :class:`PictureWay`."""
        look = _core.Format(
            case.width,
            case.height,
            _PIXEL_FORMATS[case.pix_fmt],
            range=2 if case.full_range else 1,
            memory=1,
        )
        options: dict[str, Any] = {
            "backend": self._backend,
            "precision": PRECISIONS[self.precision],
            "cuda": _core.CudaDevice(self.device.context, self._stream.handle),
        }
        if self._bundle.task == "inpaint":
            return self._paint(_core.Inpainter(self._model, None, look, **options), pictures, case)
        session = _core.Session(
            self._model, look, strength=case.strength, sharpness=self._bundle.sharpness, **options
        )
        results = []
        for picture in pictures:
            source = self.device.picture(case.width, case.height, case.pix_fmt)
            result = self.device.picture(session.output.width, session.output.height, case.pix_fmt)
            source.upload(interleave(picture, case.pix_fmt))
            session.process(source.planes, result.planes)
            self._stream.synchronise()
            results.append(separate(result.download(), case.pix_fmt))
        return results

    def _paint(self, inpainter: _core.Inpainter, pictures: Sequence[Picture], case: Case) -> list[Picture]:
        hole = np.where(hole_of(case), 255, 0).astype(np.uint8)
        results = []
        for picture in pictures:
            canvas = self.device.picture(case.width, case.height, case.pix_fmt)
            canvas.upload(interleave(picture, case.pix_fmt))
            inpainter.paint(canvas.planes, hole)
            self._stream.synchronise()
            results.append(separate(canvas.download(), case.pix_fmt))
        return results


class TensorWay(Way):
    """An ONNX in OpenVINO's own interface: the net's values, without pixels."""

    def __init__(self, variant: Variant, bundle: Model) -> None:
        super().__init__("onnx", variant.precision)
        self._variant, self._bundle = variant, bundle

    def run(self, pictures: Sequence[Picture], case: Case) -> list[NDArray[np.float64]]:
        """What the net gives."""
        return [self._variant.run(net_inputs(self._bundle, picture, case)) for picture in pictures]


def _module(
    bundle: Model, precision: str, strength: float = 1.0, backend: str = "openvino"
) -> PictureFilter | Inpainter:
    if bundle.task == "inpaint":
        return Inpainter(bundle.source, backend=backend, precision=precision)
    if bundle.task == "lowrank":
        return LowrankPre(str(bundle.source), strength=strength, backend=backend, precision=precision)
    return SuperResolution(
        str(bundle.source), backend=backend, precision=precision, sharpness=bundle.sharpness
    )


def obstacle(bundle: Model, precision: str, backend: str) -> str:
    """Why the bundle cannot run so on host memory here; "" when it can."""
    flat = [np.full(shape, 100, np.uint8) for shape in ((64, 64), (32, 32), (32, 32))]
    try:
        module = _module(bundle, precision, backend=backend)
        if isinstance(module, Inpainter):
            module.paint(flat, [(8, 8, 16, 16)])
        else:
            module(flat)
    except BackendError as error:
        return str(error)
    return ""


def ways_on_device(bundle: Model, backend: str, precision: str, with_filter: bool) -> list[PictureWay]:
    """Session and filter on device memory. Raises :class:`BackendError` without a driver, or when the net
    cannot run so."""
    way = DeviceWay(backend, precision, bundle, backend)
    flat = tuple(np.full(shape, 100, np.uint8) for shape in ((64, 64), (32, 32), (32, 32)))
    way.run([flat], Case("flat", 64, 64, "yuv420p", False))
    ways: list[PictureWay] = [way]
    if with_filter and bundle.task in FILTERS:
        ways.append(FilterWay(f"filter {backend}", precision, bundle, backend))
    return ways


def ways_on_host(bundle: Model, backend: str, precision: str, with_filter: bool) -> list[PictureWay]:
    """Class and filter on host memory. Raises :class:`BackendError` when the net cannot run so."""
    problem = obstacle(bundle, precision, backend)
    if problem:
        raise BackendError(problem)
    plain = backend == "openvino"
    ways: list[PictureWay] = [ModuleWay("module" if plain else backend, precision, bundle, backend)]
    if with_filter and bundle.task in FILTERS:
        ways.append(FilterWay("filter" if plain else f"filter {backend}", precision, bundle, backend))
    return ways


def check_names(backends: Sequence[str], precisions: Sequence[str], known: Sequence[str]) -> None:
    """Raises :class:`InputError` for a word that is none."""
    for what, given, words in (
        ("backend", backends, ("openvino", "cpu", *ON_DEVICE)),
        ("precision", precisions, known),
    ):
        for word in given:
            if word not in words:
                raise InputError(f'{what}="{word}" is unknown: it is one of {", ".join(words)}')


__all__ = [
    "FILTERS",
    "ON_DEVICE",
    "DeviceWay",
    "FilterWay",
    "ModuleWay",
    "PictureWay",
    "TensorWay",
    "Way",
    "check_names",
    "obstacle",
    "ways_on_device",
    "ways_on_host",
]
