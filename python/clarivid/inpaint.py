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
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from clarivid import _core, models
from clarivid.errors import InputError, ModelError
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

Box = tuple[int, int, int, int]  # x, y, width, height in luma samples; x and y may be negative
Mask = NDArray[np.uint8] | NDArray[np.bool_] | Sequence[Box]

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
        segment: str | os.PathLike[str] | None = None,
        backend: str = "auto",
        device: str = "",
        precision: str = "auto",
        threads: int = 0,
    ) -> None:
        self._arguments: dict[str, object] = {
            "model": model,
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
        self._key: tuple[int, ...] = ()  # arguments of the format that the core was made for
        self._fresh = True  # no picture since the beginning or reset()
        self._streaming = False  # process() is under way
        self._lock = threading.RLock()

    @property
    def name(self) -> str:
        """Name of the model that paints; "none" without one."""
        return self._net.name if self._net else "none"

    def to_filter(self) -> Filter:
        """The filter ``mesh_inpaint`` that does the same: for :class:`clarivid.Chain`.

        It names what is not default. Without ``segment`` its second input is the mask.
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
            self._fresh = True

    def __call__(
        self,
        planes: Sequence[Plane],
        mask: Mask | None = None,
        *,
        bit_depth: int = 8,
        full_range: bool = False,
        matrix: str = "unspecified",
        siting: str = "unspecified",
    ) -> tuple[Plane, ...]:
        """The next picture of the video, without what the mask covers. Needs ``lookahead=0``.

        Args:
            planes: 4:2:0 planes as for :class:`clarivid.SuperResolution`: ``(y, u, v)`` or ``(y, uv)``,
                uint8, or uint16 for 10 bit. They are not changed.
            mask: what is to vanish: an array of two dimensions, of uint8 (128 and above is the hole) or bool,
                which is stretched over the picture if it is of another size (nearest sample); or boxes
                ``(x, y, width, height)`` in luma samples, which are cut at the picture's border. None or
                ``[]``: nothing is to vanish from this picture, unless the segmenter finds something.
            bit_depth: 8 or 10.
            full_range: codes 0..2^b-1 instead of 16..235 (times 2^(b-8)).
            matrix, siting: as for :class:`clarivid.SuperResolution`; only the segmenter uses them.

        Returns:
            New planes of the same kind and size.

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
            source, key = self._read(planes, bit_depth, full_range, matrix, siting)
            hole = _read_mask(mask, source[0].shape)
            core = self._core_for(key)
            core.submit(source, hole, [np.empty_like(plane, order="C") for plane in source])
            done = core.receive(True)
        assert done is not None
        return tuple(done)

    def process(
        self,
        pictures: Iterable[tuple[Sequence[Plane], Mask | None]],
        *,
        bit_depth: int = 8,
        full_range: bool = False,
        matrix: str = "unspecified",
        siting: str = "unspecified",
    ) -> Iterator[tuple[Plane, ...]]:
        """A video's pictures with their masks in, the same number of pictures out, in order.

        Pictures are taken one by one; ``lookahead`` of them are held until later ones were seen. It goes on
        with what is remembered: call :meth:`reset` before another video. When it is given up before the end,
        or fails, everything is forgotten, as by :meth:`reset`.

        Args:
            pictures: ``(planes, mask)`` as for a call.
            bit_depth, full_range, matrix, siting: as for a call, of all pictures.

        Yields:
            New planes of the same kind and size.

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
                    source, key = self._read(planes, bit_depth, full_range, matrix, siting)
                    hole = _read_mask(mask, source[0].shape)
                    core = self._core_for(key)
                    core.submit(source, hole, [np.empty_like(plane, order="C") for plane in source])
                    done = core.receive(False)
                if done is not None:
                    yield tuple(done)
            while True:
                with self._lock:
                    done = self._core.receive(True) if self._core is not None else None
                if done is None:
                    break
                yield tuple(done)
            ended = True
        finally:
            with self._lock:
                self._streaming = False
                if not ended:
                    self.reset()

    def paint(
        self,
        planes: Sequence[Plane],
        mask: Mask,
        *,
        bit_depth: int = 8,
        full_range: bool = False,
    ) -> tuple[Plane, ...]:
        """One picture painted by the net alone (the diffusion, without a net): no memory, no dilation, no
        feather. For comparisons.

        What is remembered is neither used nor changed. Arguments, result and errors as for a call.
        """
        with self._lock:
            source, key = self._read(planes, bit_depth, full_range, "unspecified", "unspecified")
            hole = _read_mask(mask, source[0].shape)
            result = [np.array(plane, order="C") for plane in source]
            if hole is not None:
                fresh = self._fresh
                self._core_for(key).paint(result, hole)
                self._fresh = fresh
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
        )

    def _core_for(self, key: tuple[int, ...]) -> _core.Inpainter:
        if self._core is None or key != self._key:
            if not self._fresh:
                raise InputError(
                    f"the pictures changed from {_describe(self._key)} to {_describe(key)} in mid-stream: "
                    "what is remembered does not fit them; call reset() before another video"
                )
            self._core = None  # before the next one takes its memory
            self._core = _core.Inpainter(
                self._net, self._segmenter, _core.Format(*key), log=forward_log, **self._options
            )
            self._key = key
        self._fresh = False
        return self._core


def _read_mesh(mesh: str | tuple[int, int]) -> tuple[int, int]:
    parts = mesh.split("x") if isinstance(mesh, str) else list(mesh)
    try:
        columns, rows = (int(part) if isinstance(part, str) else operator.index(part) for part in parts)
    except (TypeError, ValueError):
        raise InputError(f'mesh={mesh!r} is not "COLUMNSxROWS" or a pair of whole numbers') from None
    return columns, rows


def boxes_mask(boxes: Iterable[Box], width: int, height: int) -> NDArray[np.uint8]:
    """A mask of shape [height, width], 255 where a box is, else 0. Boxes are cut at the picture's border.

    Args:
        boxes: ``(x, y, width, height)`` in luma samples, whole numbers; the size at least 1.

    Raises:
        clarivid.InputError: a box is none, or is empty.
    """
    mask = np.zeros((height, width), np.uint8)
    for number, box in enumerate(boxes, start=1):
        if not _is_box(box):
            raise InputError(f"box {number} is {box!r}: give (x, y, width, height), four whole numbers")
        x, y, columns, rows = (int(value) for value in box)
        if columns < 1 or rows < 1:
            raise InputError(
                f"box {number} ({x}, {y}, {columns}, {rows}) is empty: its size is at least 1 x 1"
            )
        mask[max(y, 0) : max(y + rows, 0), max(x, 0) : max(x + columns, 0)] = 255
    return mask


def _is_box(box: object) -> bool:
    if not isinstance(box, Sequence | np.ndarray) or isinstance(box, str) or len(box) != 4:
        return False
    return all(isinstance(value, int | np.integer) and not isinstance(value, bool) for value in box)


def _read_mask(mask: Mask | None, shape: tuple[int, ...]) -> NDArray[np.uint8] | None:
    """The mask as the core takes it: uint8, samples of a row side by side."""
    if mask is None:
        return None
    if not isinstance(mask, np.ndarray):
        if not isinstance(mask, Sequence) or isinstance(mask, str):
            raise InputError(
                f"a mask of type {type(mask).__name__} is none: give an array of uint8 or bool, or a list of "
                "boxes (x, y, width, height)"
            )
        return boxes_mask(mask, shape[1], shape[0]) if len(mask) else None
    if mask.ndim != 2 or not mask.size:
        raise InputError(
            f"a mask of shape {mask.shape} is none: give two dimensions, rows and samples, none of them 0"
        )
    if mask.dtype == np.bool_:
        return np.asarray(np.where(mask, 255, 0), np.uint8)
    if mask.dtype != np.uint8:
        raise InputError(
            f"a mask of type {mask.dtype} is none: give uint8 (128 and above is the hole) or bool; boxes as "
            "a list of tuples"
        )
    contiguous = mask.strides[1] == 1 or mask.shape[1] == 1
    rows_overlap = abs(mask.strides[0]) < mask.shape[1]
    return np.asarray(mask if contiguous and not rows_overlap else np.ascontiguousarray(mask), np.uint8)


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


def _describe(key: tuple[int, ...]) -> str:
    names = {1: "yuv420p", 2: "nv12", 3: "yuv420p10", 4: "p010"}
    width, height, pixel_format, pixel_range, *_ = key
    return f"{width}x{height} {names[pixel_format]} {'full' if pixel_range == 2 else 'limited'} range"


__all__ = ["DEFAULT_MODELS", "InpaintStats", "Inpainter", "boxes_mask"]
