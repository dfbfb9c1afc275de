# SPDX-License-Identifier: BSD-2-Clause
"""Making people and things vanish from a video: the same library and the same pixels as the ffmpeg filter
``mesh_inpaint``.

Unlike the other classes, :class:`Inpainter` remembers: what one picture shows of the background is what
another one's hole is filled with. It is given the pictures of one video, in order.

    remover = clarivid.Inpainter()
    for planes, mask in video:
        clean = remover(planes, mask)
"""

from __future__ import annotations

import logging
import operator
import os
import threading
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any, overload

import numpy as np

from clarivid import _core, models
from clarivid.cuda import Device
from clarivid.errors import InputError, ModelError
from clarivid.frame import Frame
from clarivid.frame_work import (
    Key,
    OnDevice,
    cuda_device,
    format_key,
    frames_only,
    host_result,
    result_frame,
    stated_twice,
)
from clarivid.inpaint_boxes import read_regions
from clarivid.inpaint_masks import Box, Mask, boxes_mask, device_mask, read_mask
from clarivid.options import given
from clarivid.picture_filter import (
    MATRICES,
    PRECISIONS,
    SITINGS,
    Plane,
    choose,
    forward_log,
    read_picture,
)

if TYPE_CHECKING:
    from clarivid.chains.filter import Filter
    from clarivid.frame_cuda import Place

SHOWS = {"result": 0, "mask": 1, "mesh": 2, "tracks": 3, "age": 4}
#: What ``model="auto"`` looks for, in this order.
DEFAULT_MODELS = ("inpaint_v1_fast", "inpaint_v1")

_logger = logging.getLogger("clarivid")


@dataclass(frozen=True)
class InpaintStats:
    """What an :class:`Inpainter` has done since it was made, or since :meth:`Inpainter.reset`.

    Times are sums in milliseconds of wall clock.
    """

    pictures: int  # given back so far
    cuts: int  # scene cuts, at which the memory was emptied
    paintings: int  # runs of the net, or of the diffusion that stands in for it
    memory_bytes: int  # held for pictures, maps and masks now
    track_ms: float  # luma, features, tracking
    solve_ms: float  # the mesh
    fill_ms: float  # memory, warp, light, blend
    paint_ms: float  # painting
    # Of the last picture given back:
    features: int  # tracked
    inliers: int  # of these, those that the mesh agrees with
    residual: float  # root mean square of the inliers' reprojection error, luma samples
    cost_features: float  # the solver's energy: reprojection
    cost_shape: float  # ... deformation
    cost_time: float  # ... temporal prior
    hole: float  # share of the picture that is hole, dilated, 0..1
    remembered: float  # share of the hole that was filled from pictures, 0..1; the rest is painted


class Inpainter:
    """Removes what masks cover from the pictures of one video, in order.

    The background that earlier pictures showed (with ``lookahead``, later ones too) is carried along by a
    mesh of local homographies; what no picture shows is painted by a net. Outside of the hole, grown by
    ``dilate``, every sample stays as it is, to the bit. Memory does not grow with the video's length. Scene
    cuts are found, and empty what is remembered.

    It keeps state: call it with every picture of one video in order, those without a hole included, for they
    teach it the background. :meth:`reset` begins another video. A picture of another size or format than the
    last one is an error until then.

    Thread-safe: calls on one object run one after the other, with the GIL released; several objects run in
    parallel. Messages go to the logger ``clarivid``.

    Args:
        model: name of a bundle for the task "inpaint", or a path to its folder or to an ``.onnx`` file.
            "auto" is the first of :data:`DEFAULT_MODELS` that is found, else "none" with a warning. "none":
            what was never seen is diffused from around.
        mesh: columns and rows of the grid, "1x1" to "32x18", or a pair of numbers. 1x1 is one homography for
            the whole picture.
        lookahead: pictures that are waited for because they may reveal background, 0..64; above 0 needs
            :meth:`process`.
        dilate: luma samples that the hole grows by on every side, 0..64.
        feather: width of the blend at the hole's inner border in luma samples, 0..64.
        show: "result"; or for people who tune it: "mesh" and "tracks" draw on the result, "age" colours the
            hole by where it comes from, "mask" is the input with the grown hole tinted.
        rect: boxes that vanish from every picture, as text ("x|y|w|h", several with a comma between them) or
            as a list of ``(x, y, width, height)``, in luma samples. With this or the next one calls get no
            mask.
        boxes: file of the boxes of each picture, in lines "frame x y w h"; pictures are counted from 0 since
            the beginning or :meth:`reset`.
        segment: name or path of a bundle for the task "segment" that makes the masks; masks that are given
            are added to its own.
        backend, device, precision, threads: as in :class:`clarivid.SuperResolution`, for all nets;
            ``threads`` for everything else too.

    Raises:
        clarivid.ModelError: a model is not found, damaged, or for another task.
        clarivid.InputError: an argument makes no sense. Ranges of numbers are checked with the first picture.
    """

    def __init__(
        self,
        model: str | os.PathLike[str] = "auto",
        *,
        mesh: str | tuple[int, int] = "16x9",
        lookahead: int = 0,
        dilate: int = 4,
        feather: int = 4,
        show: str = "result",
        rect: str | Sequence[Box] | None = None,
        boxes: str | os.PathLike[str] | None = None,
        segment: str | os.PathLike[str] | None = None,
        backend: str = "auto",
        device: str = "",
        precision: str = "auto",
        threads: int = 0,
    ) -> None:
        self._regions, text = read_regions(rect, boxes)
        self._arguments: dict[str, object] = {
            "model": model,
            "rect": text,
            "boxes": boxes,
            "mesh": mesh,
            "lookahead": lookahead,
            "dilate": dilate,
            "feather": feather,
            "show": show,
            "segment": segment,
            "backend": backend,
            "device": device,
            "precision": precision,
            "threads": threads,
        }
        columns, rows = _read_mesh(mesh)
        self._lookahead = lookahead
        self._options: dict[str, Any] = {
            "mesh_columns": columns,
            "mesh_rows": rows,
            "lookahead": lookahead,
            "dilate": dilate,
            "feather": feather,
            "show": choose("show", show, SHOWS),
            "backend": backend,
            "device": device,
            "precision": choose("precision", precision, PRECISIONS),
            "threads": threads,
        }
        self._net = _open(_default_model() if model == "auto" else model, "inpaint")
        self._segmenter = _open(segment, "segment")
        self._core: _core.Inpainter | None = None
        self._on: OnDevice | None = None  # the same, with its stream, for pictures in CUDA memory
        self._number = 0  # of the next picture
        self._waiting: deque[_Waiting] = deque()  # handed over, not given back
        self._key: Key = ()  # arguments of the format that the core was made for
        self._fresh = True  # no picture since the beginning or reset()
        self._streaming = False  # process() is under way
        self._lock = threading.RLock()

    @property
    def name(self) -> str:
        """Name of the model that paints; "none" without one."""
        return self._net.name if self._net else "none"

    def to_filter(self) -> Filter:
        """The filter ``mesh_inpaint`` that does the same: for :class:`clarivid.Chain`.

        It names what is not default. Without ``rect``, ``boxes`` and ``segment`` its second input is the
        mask.
        """
        from clarivid.chains.filter import Filter

        return Filter("mesh_inpaint", given("mesh_inpaint", self._arguments))

    @property
    def stats(self) -> InpaintStats:
        """What it has done; zeros before the first picture."""
        with self._lock:
            if self._core is None:
                return InpaintStats(*(0 for _ in fields(InpaintStats)))
            return InpaintStats(**self._core.stats)

    def reset(self) -> None:
        """Forgets everything: for the next video, which may be of another size and format.

        Pictures that :meth:`process` has taken and not given back yet are dropped.
        """
        with self._lock:
            if self._core is not None:
                self._core.reset()
            self._waiting.clear()
            self._fresh = True
            self._number = 0

    @overload
    def __call__(self, planes: Frame, mask: Mask | None = None, *, stream: Any = None) -> Frame: ...

    @overload
    def __call__(
        self,
        planes: Sequence[Plane],
        mask: Mask | None = None,
        *,
        bit_depth: int = 8,
        full_range: bool = False,
        matrix: str = "unspecified",
        siting: str = "unspecified",
    ) -> tuple[Plane, ...]: ...

    def __call__(
        self,
        planes: Frame | Sequence[Plane],
        mask: Mask | None = None,
        *,
        bit_depth: int = 8,
        full_range: bool = False,
        matrix: str = "unspecified",
        siting: str = "unspecified",
        stream: Any = None,
    ) -> Frame | tuple[Plane, ...]:
        """The next picture of the video, without what the mask covers. Needs ``lookahead=0``.

        Args:
            planes: a :class:`clarivid.Frame` in host or in CUDA memory, or 4:2:0 planes as for
                :class:`clarivid.SuperResolution`: ``(y, u, v)`` or ``(y, uv)``, uint8, or uint16 for 10 bit.
                They are not changed.
            mask: what is to vanish: an array of two dimensions, of uint8 (128 and above is the hole) or bool,
                which is stretched over the picture if it is of another size (nearest sample); or boxes
                ``(x, y, width, height)`` in luma samples, which are cut at the picture's border. None or
                ``[]``: nothing is to vanish from this picture, unless the segmenter finds something. For a
                frame in CUDA memory the array (uint8) may be there, too.
            bit_depth: 8 or 10. This and the next three are for planes: a frame says them itself.
            full_range: codes 0..2^b-1 instead of 16..235 (times 2^(b-8)).
            matrix, siting: as for :class:`clarivid.SuperResolution`; only the segmenter uses them.
            stream: for frames in CUDA memory, as for :class:`clarivid.SuperResolution`; but the host waits
                for the reduced luma in which motion is tracked.

        Returns:
            A frame, or new planes, of the same kind and size, which nobody writes again.

        Raises:
            clarivid.InputError: shapes, types or options do not fit, or the size or format changed.
            clarivid.BackendError: a net cannot run, or failed on this picture; the next one can be given.
        """
        with self._lock:
            if self._lookahead:
                raise InputError(
                    f"lookahead={self._lookahead} needs pictures that come later: use process(), or "
                    "lookahead=0"
                )
            if self._streaming:
                raise InputError("process() is under way on this Inpainter: use another one")
            self._submit(planes, mask, (bit_depth, full_range, matrix, siting), stream)
            done = self._receive(True)
        assert isinstance(done, Frame | tuple)
        return done

    @overload
    def process(
        self, pictures: Iterable[tuple[Frame, Mask | None]], *, stream: Any = None
    ) -> Iterator[Frame]: ...

    @overload
    def process(
        self,
        pictures: Iterable[tuple[Sequence[Plane], Mask | None]],
        *,
        bit_depth: int = 8,
        full_range: bool = False,
        matrix: str = "unspecified",
        siting: str = "unspecified",
    ) -> Iterator[tuple[Plane, ...]]: ...

    def process(
        self,
        pictures: Iterable[tuple[Any, Mask | None]],
        *,
        bit_depth: int = 8,
        full_range: bool = False,
        matrix: str = "unspecified",
        siting: str = "unspecified",
        stream: Any = None,
    ) -> Iterator[Any]:
        """A video's pictures with their masks in, the same number of pictures out, in order.

        Pictures are taken one by one; ``lookahead`` of them are held until later ones were seen. It goes on
        with what is remembered: call :meth:`reset` before another video. When it is given up before the end,
        or fails, everything is forgotten, as by :meth:`reset`.

        Args:
            pictures: ``(frame, mask)`` or ``(planes, mask)`` as for a call.
            bit_depth, full_range, matrix, siting: as for a call, of all pictures.
            stream: as for a call.

        Yields:
            Frames, or new planes, of the same kind and size.

        Raises:
            clarivid.InputError, clarivid.BackendError: as a call.
        """
        with self._lock:
            if self._streaming:
                raise InputError("process() is under way on this Inpainter: use another one")
            self._streaming = True
        ended = False
        try:
            for planes, mask in pictures:
                with self._lock:
                    self._submit(planes, mask, (bit_depth, full_range, matrix, siting), stream)
                    done = self._receive(False)
                if done is not None:
                    yield done
            while True:
                with self._lock:
                    done = self._receive(True)
                if done is None:
                    break
                yield done
            ended = True
        finally:
            with self._lock:
                self._streaming = False
                if not ended:
                    self.reset()

    @overload
    def paint(self, planes: Frame, mask: Mask) -> Frame: ...

    @overload
    def paint(
        self, planes: Sequence[Plane], mask: Mask, *, bit_depth: int = 8, full_range: bool = False
    ) -> tuple[Plane, ...]: ...

    def paint(
        self,
        planes: Frame | Sequence[Plane],
        mask: Mask,
        *,
        bit_depth: int = 8,
        full_range: bool = False,
    ) -> Frame | tuple[Plane, ...]:
        """One picture painted by the net alone (the diffusion, without a net): no memory, no dilation, no
        feather. For comparisons, in host memory.

        What is remembered is neither used nor changed. Arguments, result and errors as for a call.
        """
        with self._lock:
            if isinstance(planes, Frame):
                stated_twice(bit_depth=(bit_depth, 8), full_range=(full_range, False))
                source, key = planes.numpy(), format_key(planes)
            else:
                read, key = self._read(planes, bit_depth, full_range, "unspecified", "unspecified")
                source = tuple(read)
            hole = read_mask(mask, source[0].shape)
            result = [np.array(plane, order="C") for plane in source]
            if hole is not None:
                fresh = self._fresh
                self._core_for(key).paint(result, hole)
                self._fresh = fresh
        if isinstance(planes, Frame):
            return result_frame(planes, result, planes.width, planes.height)
        return tuple(result)

    def _read(
        self, planes: Sequence[Plane], bit_depth: int, full_range: bool, matrix: str, siting: str
    ) -> tuple[list[Plane], tuple[int, ...]]:
        """Checked planes, and the arguments of their format."""
        source, size_and_format = read_picture(planes, bit_depth)
        return source, (
            *size_and_format,
            2 if full_range else 1,
            choose("matrix", matrix, MATRICES),
            choose("siting", siting, SITINGS),
            0,
        )

    def _submit(self, picture: Any, mask: Any, said: tuple[int, bool, str, str], stream: Any) -> None:
        """Hands over a frame, or planes with what was said of them."""
        if self._regions is not None:
            if mask is not None:
                raise InputError("rect and boxes say what is to vanish: leave the mask out, or them")
            mask = self._regions.at(self._number)
        self._hand_over(picture, mask, said, stream)
        self._number += 1

    def _hand_over(self, picture: Any, mask: Any, said: tuple[int, bool, str, str], stream: Any) -> None:
        if not isinstance(picture, Frame):
            frames_only(stream, None)
            source, key = self._read(picture, *said)
            hole = read_mask(mask, source[0].shape)
            planes = tuple(np.empty_like(plane, order="C") for plane in source)
            self._core_for(key).submit(source, hole, planes)
            self._waiting.append(_Waiting(planes))
            return
        names = ("bit_depth", "full_range", "matrix", "siting")
        usual = (8, False, "unspecified", "unspecified")
        stated_twice(**{name: pair for name, *pair in zip(names, said, usual, strict=True)})
        size = (picture.width, picture.height)
        if picture.device is None:
            result = host_result(picture.pixel_format, *size)
            hole = read_mask(mask, size[::-1])
            self._core_for(format_key(picture)).submit(picture.numpy(), hole, result)
            self._waiting.append(_Waiting(result_frame(picture, result, *size)))
        else:
            self._submit_on_device(picture, mask, stream)

    def _submit_on_device(self, picture: Frame, mask: Any, stream: Any) -> None:
        from clarivid import frame_cuda
        from clarivid.cuda_arrays import wait

        place = frame_cuda.place_of(picture, stream)
        size = (picture.width, picture.height)
        hole = device_mask(mask, place) or read_mask(mask, size[::-1])
        core = self._core_for(format_key(picture), place.device)
        on = self._on
        assert on is not None
        sources = frame_cuda.read(picture.planes, place)
        result = frame_cuda.new_planes(picture.pixel_format, *size, place)
        wait(place.device, on.stream.handle, place.order.stream)
        core.submit(sources, hole, [plane.view() for plane in result])
        wait(place.device, place.order.stream, on.stream.handle)  # it has read what may go now
        if not place.order.asked:
            on.marks.keep([*sources, hole])
        self._waiting.append(_Waiting(result_frame(picture, result, *size), place))

    def _receive(self, flush: bool) -> Any:
        """The oldest picture's result, or None when it must wait or there is none."""
        if self._core is None:
            return None
        try:
            done = self._core.receive(flush)
        finally:
            last = None
            while len(self._waiting) > self._core.pending:  # a picture that failed is gone too
                last = self._waiting.popleft()
        if done is None:
            return None
        assert last is not None
        if last.place is not None and self._on is not None:
            from clarivid.cuda_arrays import wait

            wait(last.place.device, last.place.order.stream, self._on.stream.handle)
        return last.result

    def _core_for(self, key: Key, device: Device | None = None) -> _core.Inpainter:
        full = key if device is None else (*key, device.context)
        if self._core is None or full != self._key:
            if not self._fresh:
                raise InputError(
                    f"the pictures changed from {_describe(self._key)} to {_describe(full)} in mid-stream: "
                    "what is remembered does not fit them; call reset() before another video"
                )
            self._core = self._on = None  # before the next one takes its memory
            where = stream = None
            if device is not None:
                where, stream = cuda_device(device)
            self._core = _core.Inpainter(
                self._net, self._segmenter, _core.Format(*key), cuda=where, log=forward_log, **self._options
            )
            if device is not None:
                from clarivid.cuda_arrays import Marks

                assert stream is not None
                self._on = OnDevice(self._core, device, stream, Marks(device, stream))
            self._key = full
        self._fresh = False
        return self._core


@dataclass(frozen=True)
class _Waiting:
    """A picture that was handed over: what the caller gets, and whose stream must wait for it."""

    result: Any
    place: Place | None = None


def _read_mesh(mesh: str | tuple[int, int]) -> tuple[int, int]:
    parts = mesh.split("x") if isinstance(mesh, str) else list(mesh)
    try:
        columns, rows = (int(part) if isinstance(part, str) else operator.index(part) for part in parts)
    except (TypeError, ValueError):
        raise InputError(f'mesh={mesh!r} is not "COLUMNSxROWS" or a pair of whole numbers') from None
    return columns, rows


def _default_model() -> str | os.PathLike[str]:
    known = models.model_names()
    for name in DEFAULT_MODELS:
        if name in known:
            return models.find_model(name).folder
    _logger.warning(
        "no model for inpainting was found (looked for %s): what was never seen is diffused from around; "
        'model="none" says that this is meant',
        " and ".join(DEFAULT_MODELS),
    )
    return "none"


def _open(name: str | os.PathLike[str] | None, task: str) -> _core.Model | None:
    if name is None or name == "none":
        return None
    model = _core.Model(os.fspath(name), forward_log)
    if model.task != task:
        is_for = f"is for the task '{model.task}'" if model.task else "names no task"
        raise ModelError(f"model {model.name} {is_for}, but one for '{task}' is needed here")
    return model


def _describe(key: Key) -> str:
    names = {1: "yuv420p", 2: "nv12", 3: "yuv420p10", 4: "p010"}
    width, height, pixel_format, pixel_range, _, _, memory, *_ = key
    where = " in CUDA memory" if memory else ""
    return f"{width}x{height} {names[pixel_format]} {'full' if pixel_range == 2 else 'limited'} range{where}"


__all__ = ["DEFAULT_MODELS", "Box", "Mask", "InpaintStats", "Inpainter", "boxes_mask"]
