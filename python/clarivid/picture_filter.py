# SPDX-License-Identifier: BSD-2-Clause
"""Nets on frames and planes, through the library that the ffmpeg filters use: their common part."""

from __future__ import annotations

import logging
import threading
from collections import OrderedDict
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, ClassVar, overload

import numpy as np
from numpy.typing import NDArray

from clarivid import _core, arrays
from clarivid.cuda import Device
from clarivid.errors import InputError, ModelError
from clarivid.frame import Frame
from clarivid.frame_work import (
    Key,
    OnDevice,
    check_out,
    cuda_device,
    format_key,
    frames_only,
    host_result,
    result_frame,
    stated_twice,
    warn_of_matrix,
)
from clarivid.options import FILTERS, given, plain

if TYPE_CHECKING:
    from clarivid.chains.filter import Filter

Plane = NDArray[Any]  # uint8 or uint16

PRECISIONS = {"auto": 0, "fp32": 1, "fp16": 2, "bf16": 3, "int8": 4}
MATRICES = {"unspecified": 0, "bt601": 1, "bt709": 2, "bt2020": 3}
DITHERS = {"none": 0, "ordered": 1}
SITINGS = {"unspecified": 0, "left": 1, "centre": 2, "topleft": 3}

# clv_pixel_format by (bit depth, planes)
_PIXEL_FORMATS = {(8, 3): 1, (8, 2): 2, (10, 3): 3, (10, 2): 4}
_LOG_LEVELS = {0: logging.ERROR, 1: logging.WARNING, 2: logging.INFO, 3: logging.DEBUG, 4: logging.DEBUG}
_SESSIONS_KEPT = 4
_RGB = 3  # clv_layout

_logger = logging.getLogger("clarivid")


def forward_log(level: int, message: str) -> None:
    """A message of the library to the logger ``clarivid``."""
    _logger.log(_LOG_LEVELS.get(level, logging.INFO), "%s", message)


def choose(name: str, value: str, known: dict[str, int]) -> int:
    """The number of an option's word. Raises InputError with the words that there are."""
    if value not in known:
        raise InputError(f'{name}="{value}" is unknown: it is one of {", ".join(known)}')
    return known[value]


def read_picture(planes: Sequence[Plane], bit_depth: int) -> tuple[list[Plane], tuple[int, int, int]]:
    """Checks the planes of a 4:2:0 picture.

    Returns:
        The planes, copied where samples of a row are not side by side; width, height and clv_pixel_format.

    Raises:
        clarivid.InputError: number, types or shapes do not fit.
    """
    kind = (bit_depth, len(planes))
    if kind not in _PIXEL_FORMATS:
        raise InputError(
            f"no picture has {len(planes)} planes of {bit_depth} bit: give (y, u, v) or (y, uv), 8 or 10"
        )
    dtype = np.dtype(np.uint8 if bit_depth == 8 else np.uint16)
    source = [_plane(plane, index, dtype) for index, plane in enumerate(planes)]
    height, width = source[0].shape
    wanted = ((height + 1) // 2, (width + 1) // 2 * (1 if len(planes) == 3 else 2))
    for index, plane in enumerate(source[1:], start=1):
        if plane.shape != wanted:
            raise InputError(
                f"plane {index} has shape {plane.shape}, luma of {source[0].shape} needs {wanted}"
            )
    return source, (width, height, _PIXEL_FORMATS[kind])


def _plane(plane: Plane, index: int, dtype: np.dtype[Any]) -> Plane:
    if not isinstance(plane, np.ndarray) and arrays.look(plane, f"plane {index}").device is not None:
        raise InputError(f"plane {index} is in CUDA memory: make a clarivid.Frame of the planes")
    array = np.asarray(plane)
    if array.dtype != dtype:
        raise InputError(f"plane {index} is of type {array.dtype}, not {dtype}")
    if array.ndim != 2 or not array.size:
        raise InputError(f"plane {index} has shape {array.shape}: give two dimensions, rows and samples")
    contiguous = array.strides[1] == array.itemsize or array.shape[1] == 1
    rows_overlap = abs(array.strides[0]) < array.shape[1] * array.itemsize
    return array if contiguous and not rows_overlap else np.ascontiguousarray(array)


class PictureFilter:
    """A net of one task, ready for pictures of any size and format: what the classes for users share.

    Sessions for the last few sizes and formats are kept, so that the net is compiled once for each. Messages
    go to the logger ``clarivid``.

    Thread-safe: calls on one object run one after the other, with the GIL released; several objects run in
    parallel.

    Args:
        task: what the model's card must name, if it names one.
        model, backend, device, precision, threads, dither, tile, overlap: see
            :class:`clarivid.SuperResolution`.
        strength: see :class:`clarivid.LowrankPre`; models without one take 1 only.
        sharpness: see :class:`clarivid.SuperResolution`.

    Raises:
        clarivid.ModelError: the model is not found, damaged, or for another task.
        clarivid.InputError: an argument makes no sense.
    """

    filter_name: ClassVar[str]
    """The ffmpeg filter that does the same."""

    def __init__(
        self,
        task: str,
        model: str,
        *,
        backend: str,
        device: str,
        precision: str,
        threads: int,
        dither: str | bool,
        strength: float = 1.0,
        tile: str = "auto",
        overlap: int = -1,
        sharpness: float = 0.0,
    ) -> None:
        self._arguments: dict[str, object] = {
            "model": model,
            "backend": backend,
            "device": device,
            "precision": precision,
            "threads": threads,
            "dither": dither,
            "tile": tile,
            "overlap": overlap,
        }
        own = {"lowrank_pre": {"strength": strength}, "dnn_sr": {"sharpness": sharpness}}
        self._arguments |= own.get(self.filter_name, {})
        self._model = _core.Model(str(model), forward_log)
        if self._model.task not in ("", task):
            raise ModelError(
                f"model {self._model.name} is for the task '{self._model.task}', but {type(self).__name__} "
                f"runs models for '{task}'"
            )
        self._options: dict[str, Any] = {
            "backend": backend,
            "device": device,
            "precision": choose("precision", precision, PRECISIONS),
            "threads": threads,
            "dither": choose("dither", str(plain(FILTERS["dnn_sr"]["dither"], dither)), DITHERS),
            "strength": strength,
            "tile": tile,
            "overlap": overlap,
            "sharpness": sharpness,
        }
        self._sessions: OrderedDict[Key, _core.Session | OnDevice] = OrderedDict()
        self._lock = threading.Lock()

    @property
    def name(self) -> str:
        """Name of the model."""
        return self._model.name

    def to_filter(self) -> Filter:
        """The ffmpeg filter that does the same: for :class:`clarivid.Chain`. It names what is not default."""
        from clarivid.chains.filter import Filter

        return Filter(self.filter_name, given(self.filter_name, self._arguments))

    @overload
    def __call__(self, planes: Frame, *, stream: Any = None, out: Frame | None = None) -> Frame: ...

    @overload
    def __call__(
        self,
        planes: Sequence[Plane],
        *,
        bit_depth: int = 8,
        full_range: bool = False,
        matrix: str = "unspecified",
        siting: str = "unspecified",
    ) -> tuple[Plane, ...]: ...

    def __call__(
        self,
        planes: Frame | Sequence[Plane],
        *,
        bit_depth: int = 8,
        full_range: bool = False,
        matrix: str = "unspecified",
        siting: str = "unspecified",
        stream: Any = None,
        out: Frame | None = None,
    ) -> Frame | tuple[Plane, ...]:
        """Runs the net on one 4:2:0 picture: a :class:`clarivid.Frame`, or planes of numpy.

        A frame in host memory gives one with new arrays of numpy. A frame in CUDA memory gives one with
        :class:`clarivid.cuda_arrays.DeviceArray`, which own their memory and speak DLPack and
        ``__cuda_array_interface__``; the host does not wait: what was enqueued on ``stream`` before is seen,
        and what is enqueued on it after sees the result. Nothing that was returned is ever written again.
        The result keeps the frame's time, colour and sample aspect.

        Args:
            planes: a frame; or ``(y, u, v)`` with ``y`` of shape [H, W] and ``u``, ``v`` of [ceil(H/2),
                ceil(W/2)], or ``(y, uv)`` with ``uv`` of [ceil(H/2), 2 * ceil(W/2)] (U and V in turn). uint8
                for 8 bit; uint16 for 10 bit: in the low bits with three planes (yuv420p10), in the high bits
                with two (p010).
                Rows may be strided; samples of a row must be contiguous, else the plane is copied (a frame's
                is not: it is an error).
            bit_depth: 8 or 10. This and the next three are for planes: a frame says them itself.
            full_range: codes 0..2^b-1 instead of 16..235 (times 2^(b-8)).
            matrix: ``bt601``, ``bt709``, ``bt2020`` or ``unspecified``; only RGB nets use it.
            siting: where chroma sits: ``left``, ``centre``, ``topleft`` or ``unspecified`` (left); only RGB
                and luma nets use it.
            stream: for frames in CUDA memory, whose order the call keeps: a stream of PyTorch or CuPy, any
                object with ``__cuda_stream__``, or the address of a CUstream, which must live as long as the
                result. None: the current stream of the library that the planes are of (PyTorch, CuPy), the
                own one of results of clarivid, else the legacy default stream.
            out: a frame of the result's size and format in the same memory, for what is to be written to
                arrays of one's own; the planes of the result are then its.

        Returns:
            A frame, or new planes, of the same kind, of the model's ``scale`` times the width and height.

        Raises:
            clarivid.InputError: shapes, types or options do not fit.
            clarivid.BackendError: the model cannot run on pictures of this size, or the runtime failed.
        """
        if isinstance(planes, Frame):
            stated_twice(
                bit_depth=(bit_depth, 8),
                full_range=(full_range, False),
                matrix=(matrix, "unspecified"),
                siting=(siting, "unspecified"),
            )
            return (
                self._run_host(planes, out) if planes.device is None else self._run_cuda(planes, stream, out)
            )
        frames_only(stream, out)
        source, size_and_format = read_picture(planes, bit_depth)
        key = (
            *size_and_format,
            2 if full_range else 1,
            choose("matrix", matrix, MATRICES),
            choose("siting", siting, SITINGS),
            0,
        )
        with self._lock:
            session = self._host_session(key)
            look = session.output
            chroma = ((look.height + 1) // 2, (look.width + 1) // 2 * (1 if len(planes) == 3 else 2))
            shapes = [(look.height, look.width)] + [chroma] * (len(planes) - 1)
            result = [np.empty(shape, source[0].dtype) for shape in shapes]
            session.process(source, result)
        return tuple(result)

    def _run_host(self, frame: Frame, out: Frame | None) -> Frame:
        with self._lock:
            session = self._host_session(format_key(frame), frame)
            width, height = session.output.width, session.output.height
            if out is None:
                planes = host_result(frame.pixel_format, width, height)
                session.process(frame.numpy(), planes)
            else:
                check_out(frame, out, width, height)
                planes = out.planes
                session.process(frame.numpy(), out.numpy())
        return result_frame(frame, planes, width, height)

    def _run_cuda(self, frame: Frame, stream: Any, out: Frame | None) -> Frame:
        from clarivid import frame_cuda
        from clarivid.cuda_arrays import wait

        place = frame_cuda.place_of(frame, stream)
        with self._lock:
            on = self._device_session(frame, place.device)
            width, height = on.core.output.width, on.core.output.height
            sources = frame_cuda.read(frame.planes, place)
            if out is None:
                planes: tuple[Any, ...] = frame_cuda.new_planes(frame.pixel_format, width, height, place)
                targets = [plane.view() for plane in planes]
            else:
                check_out(frame, out, width, height)
                planes = out.planes
                targets = frame_cuda.read(planes, place)
            wait(place.device, on.stream.handle, place.order.stream)
            on.core.process(sources, targets)
            wait(place.device, place.order.stream, on.stream.handle)
            if not place.order.asked:  # whoever frees these arrays may not know that stream
                on.marks.keep([*sources, *targets])
        return result_frame(frame, planes, width, height)

    def _host_session(self, key: Key, frame: Frame | None = None) -> _core.Session:
        session = self._sessions.pop(key, None)
        if session is None:
            self._make_room(frame)
            session = self._create_session(_core.Format(*key))
        self._sessions[key] = session
        assert isinstance(session, _core.Session)
        return session

    def _device_session(self, frame: Frame, device: Device) -> OnDevice:
        key = (*format_key(frame), device.context)
        on = self._sessions.pop(key, None)
        if on is None:
            from clarivid.cuda_arrays import Marks

            self._make_room(frame)
            where, stream = cuda_device(device)
            session = self._create_session(_core.Format(*key[:-1]), where)
            on = OnDevice(session, device, stream, Marks(device, stream))
        self._sessions[key] = on
        assert isinstance(on, OnDevice)
        return on

    def _make_room(self, frame: Frame | None) -> None:
        if frame is not None and self._model.layout == _RGB:
            warn_of_matrix(frame)
        while len(self._sessions) >= _SESSIONS_KEPT:
            self._sessions.popitem(last=False)

    def _create_session(self, picture: _core.Format, cuda: _core.CudaDevice | None = None) -> _core.Session:
        return _core.Session(self._model, picture, in_flight=1, cuda=cuda, **self._options)
