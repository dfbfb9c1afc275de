# SPDX-License-Identifier: BSD-2-Clause
"""One picture of a video: planes of 4:2:0 samples, and what they mean.

>>> frame = clarivid.Frame.from_planes([y, u, v], matrix="bt709", range="limited")
>>> bigger = clarivid.SuperResolution("game_x2")(frame)
>>> rgb = bigger.to_rgb()
"""

from __future__ import annotations

import dataclasses
import operator
from collections.abc import Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any

import numpy as np
from numpy.typing import NDArray

from clarivid import arrays
from clarivid.arrays import View
from clarivid.errors import InputError


@dataclass(frozen=True)
class PixelFormat:
    """``number`` is the library's; ``pairs``: U and V in turn in one plane."""

    number: int
    bit_depth: int
    type: str
    planes: int
    pairs: bool

    def shapes(self, width: int, height: int) -> list[tuple[int, int]]:
        """Rows and samples of each plane; chroma of an odd size is rounded up."""
        chroma = ((height + 1) // 2, (width + 1) // 2 * (2 if self.pairs else 1))
        return [(height, width)] + [chroma] * (self.planes - 1)


PIXEL_FORMATS = {
    "yuv420p": PixelFormat(1, 8, "uint8", 3, False),
    "nv12": PixelFormat(2, 8, "uint8", 2, True),
    "yuv420p10le": PixelFormat(3, 10, "uint16", 3, False),
    "p010le": PixelFormat(4, 10, "uint16", 2, True),
}
#: The same samples in another order.
TWINS = {"yuv420p": "nv12", "nv12": "yuv420p", "yuv420p10le": "p010le", "p010le": "yuv420p10le"}
RANGES = {"unspecified": 0, "limited": 1, "full": 2}
#: Words of matrices: code point of ITU-T H.273, and the library's number; None: nets on RGB know it not.
MATRICES: dict[str, tuple[int, int | None]] = {
    "unspecified": (2, 0),
    "bt601": (6, 1),
    "bt470bg": (5, 1),  # BT.601's arithmetic by the name of 625 lines
    "bt709": (1, 2),
    "bt2020": (9, 3),
    "rgb": (0, None),
    "fcc": (4, None),
    "smpte240m": (7, None),
    "ycgco": (8, None),
    "bt2020c": (10, None),
    "smpte2085": (11, None),
    "chroma-derived-nc": (12, None),
    "chroma-derived-c": (13, None),
    "ictcp": (14, None),
}
SITINGS = {"unspecified": 0, "left": 1, "centre": 2, "topleft": 3}
LARGEST = 32768  # luma samples, each way


def _word(name: str, value: str, known: Sequence[str]) -> None:
    if value not in known:
        raise InputError(f'{name}="{value}" is unknown: it is one of {", ".join(known)}')


@dataclass(frozen=True, eq=False)
class Frame:
    """One picture of a video, 4:2:0, 8 or 10 bit, in host or in CUDA memory. It never changes.

    No samples are copied or looked at when it is made; it holds the arrays that it was given, and who changes
    what they hold changes the picture. Any number of threads may use one at once.

    Attributes:
        planes: ``(y, u, v)``, or ``(y, uv)`` with U and V in turn: arrays of numpy, PyTorch, CuPy or anybody
            else who speaks DLPack or ``__cuda_array_interface__``. ``y`` has the shape [H, W], ``u`` and
            ``v`` [ceil(H/2), ceil(W/2)], ``uv`` [ceil(H/2), 2 * ceil(W/2)] or [ceil(H/2), ceil(W/2), 2].
            Samples of a row lie side by side; rows may lie at any distance that holds one, on the host also
            upside down.
        pixel_format: ``yuv420p`` and ``nv12`` (uint8), ``yuv420p10le`` (uint16, ten low bits), ``p010le``
            (uint16, ten high bits).
        width, height: luma samples, 1..32768; odd is allowed.
        range: ``limited`` (16..235), ``full`` (0..255) or ``unspecified``, which counts as limited.
        matrix: ``bt601``, ``bt709``, ``bt2020``, one of the other words of :data:`MATRICES`, which is only
            passed on, or ``unspecified``: BT.709 from 720 lines on, BT.601 below, where RGB is needed.
        siting: where chroma sits: ``left``, ``centre``, ``topleft``, or ``unspecified``, taken as left.
        primaries, transfer: code points of ITU-T H.273, passed on; 2 is unspecified.
        pts: time of presentation in units of ``time_base`` seconds; None where there is none.
        duration: in units of ``time_base``; None where it is not known.
        time_base: seconds; None where there is no time.
        sample_aspect: width of a sample / its height; None where it is not known.

    Raises:
        clarivid.InputError: number, types, shapes, strides or places of the planes do not fit, or a word is
            unknown.
    """

    planes: tuple[Any, ...] = field(repr=False)
    pixel_format: str
    width: int
    height: int
    range: str = "unspecified"
    matrix: str = "unspecified"
    siting: str = "unspecified"
    primaries: int = 2
    transfer: int = 2
    pts: int | None = None
    duration: int | None = None
    time_base: Fraction | None = None
    sample_aspect: Fraction | None = None
    _views: tuple[View, ...] = field(init=False, repr=False, default=())

    def __post_init__(self) -> None:
        _word("pixel_format", self.pixel_format, list(PIXEL_FORMATS))
        _word("range", self.range, list(RANGES))
        _word("matrix", self.matrix, list(MATRICES))
        _word("siting", self.siting, list(SITINGS))
        for name in ("width", "height"):
            value = _whole(name, getattr(self, name))
            if not 1 <= value <= LARGEST:
                raise InputError(f"{name}={value} is not in 1..{LARGEST}")
            object.__setattr__(self, name, value)
        for name in ("primaries", "transfer"):
            object.__setattr__(self, name, _whole(name, getattr(self, name)))
        for name in ("pts", "duration"):
            if getattr(self, name) is not None:
                object.__setattr__(self, name, _whole(name, getattr(self, name)))
        for name in ("time_base", "sample_aspect"):
            if getattr(self, name) is not None:
                object.__setattr__(self, name, _positive(name, getattr(self, name)))
        object.__setattr__(self, "planes", _as_tuple(self.planes))
        object.__setattr__(self, "_views", self._check_planes())

    @classmethod
    def from_planes(cls, planes: Sequence[Any], pixel_format: str | None = None, **properties: Any) -> Frame:
        """A frame whose size, and if need be pixel format, are those of its planes.

        Args:
            planes: as the attribute.
            pixel_format: None: by type and number of the planes.
            properties: the other attributes.

        Raises:
            clarivid.InputError: as the class.
        """
        planes = _as_tuple(planes)
        views = [arrays.look(plane, f"plane {index}") for index, plane in enumerate(planes)]
        if pixel_format is None:
            kinds = {(form.type, form.planes): name for name, form in PIXEL_FORMATS.items()}
            kind = (views[0].type if views else "", len(views))
            if kind not in kinds:
                raise InputError(
                    f"no picture has {kind[1]} planes of {kind[0] or 'nothing'}: give (y, u, v) or (y, uv), "
                    "uint8 for 8 bit or uint16 for 10"
                )
            pixel_format = kinds[kind]
        if not views or len(views[0].shape) != 2:
            shape = views[0].shape if views else ()
            raise InputError(f"plane 0 has shape {shape}: give two dimensions, rows and samples")
        height, width = views[0].shape
        return cls(planes, pixel_format, width, height, **properties)

    @classmethod
    def from_rgb(
        cls,
        rgb: Any,
        *,
        matrix: str,
        range: str = "limited",  # noqa: A002
        siting: str = "left",
        pixel_format: str = "yuv420p",
        dither: bool = False,
        **properties: Any,
    ) -> Frame:
        """A frame in host memory from R'G'B', by the conversion that nets on RGB get back from.

        Args:
            rgb: an array in host memory of shape [H, W, 3] or [3, H, W]: uint8 (0..255), uint16 (0..65535)
                or a float type (0..1). Primaries and transfer curve are taken as they are.
            matrix: ``bt601``, ``bt709`` or ``bt2020``.
            range: ``limited`` or ``full``.
            siting: ``left``, ``centre`` or ``topleft``.
            dither: 8x8 ordered dither instead of rounding to nearest.
            properties: the other attributes.

        Raises:
            clarivid.InputError: shape, type or place of the array, or a word, does not fit.
        """
        from clarivid import frame_rgb

        planes = frame_rgb.planes_from_rgb(rgb, pixel_format, range, matrix, siting, dither)
        height, width = planes[0].shape
        return cls(
            tuple(planes),
            pixel_format,
            width,
            height,
            range=range,
            matrix=matrix,
            siting=siting,
            **properties,
        )

    def to_rgb(self, *, dtype: str = "uint8", layout: str = "hwc", matrix: str | None = None) -> NDArray[Any]:
        """The picture as R'G'B': a new array of numpy, by the conversion that nets on RGB get.

        Range, matrix and siting are honoured; primaries and transfer curve stay as they are.

        Args:
            dtype: ``uint8`` and ``uint16`` (0..255, 0..65535, clipped) or ``float32`` (0..1 for legal
                colours; what lies beyond stays beyond).
            layout: ``hwc`` for [H, W, 3], ``chw`` for [3, H, W].
            matrix: another one than the frame's.

        Raises:
            clarivid.InputError: the frame is in CUDA memory (:meth:`to_host` copies it), or a word is
                unknown.
        """
        from clarivid import frame_rgb

        return frame_rgb.rgb_of(self, dtype, layout, matrix)

    @property
    def bit_depth(self) -> int:
        """8 or 10."""
        return PIXEL_FORMATS[self.pixel_format].bit_depth

    @property
    def device(self) -> int | None:
        """Number of the GPU that the planes lie on; None in host memory."""
        return self._views[0].device

    @property
    def time(self) -> Fraction | None:
        """``pts`` in seconds."""
        return None if self.pts is None or self.time_base is None else self.pts * self.time_base

    def replace(self, **changes: Any) -> Frame:
        """The same frame with other attributes; ``planes`` bring their size."""
        if "planes" in changes and not {"width", "height"} & changes.keys():
            values = {f.name: getattr(self, f.name) for f in dataclasses.fields(self) if f.init}
            for name in ("width", "height"):
                del values[name]
            return Frame.from_planes(**{**values, **changes})
        return dataclasses.replace(self, **changes)

    def numpy(self) -> tuple[NDArray[Any], ...]:
        """The planes as arrays of numpy with two dimensions, on the same memory.

        Raises:
            clarivid.InputError: they are in CUDA memory: :meth:`to_host` copies them.
        """
        if self.device is not None:
            raise InputError(
                f"the frame is in the memory of GPU {self.device}: copy it with to_host() before "
                "numpy reads it"
            )
        return tuple(_rows(view.numpy()) for view in self._views)

    def to_host(self, *, stream: Any = None) -> Frame:
        """The frame in host memory, copied there from CUDA memory in the order of ``stream``; else itself.

        Waits for the copy. ``stream`` as for :class:`clarivid.SuperResolution`.
        """
        if self.device is None:
            return self
        from clarivid import frame_cuda

        return self.replace(planes=frame_cuda.download(self, stream))

    def to_device(self, device: int = 0, *, stream: Any = None) -> Frame:
        """The frame in the memory of a GPU, as arrays that clarivid owns; itself where it is there already.

        Args:
            device: number of the GPU.
            stream: the order that the new arrays belong to; None: the legacy default stream.

        Raises:
            clarivid.BackendError: there is no driver, no such GPU, or not enough memory.
            clarivid.InputError: the frame lies on another GPU.
        """
        if self.device == device:
            return self
        from clarivid import frame_cuda

        return self.replace(planes=frame_cuda.upload(self, device, stream))

    def _check_planes(self) -> tuple[View, ...]:
        form = PIXEL_FORMATS[self.pixel_format]
        if len(self.planes) != form.planes:
            raise InputError(f"{self.pixel_format} has {form.planes} planes, not {len(self.planes)}")
        views = []
        for index, shape in enumerate(form.shapes(self.width, self.height)):
            which = f"plane {index}"
            view = arrays.look(self.planes[index], which)
            _check_plane(view, which, form, shape, self.width, self.height)
            views.append(view)
        places = {view.device for view in views}
        if len(places) > 1:
            names = ["host memory" if view.device is None else f"GPU {view.device}" for view in views]
            raise InputError(f"the planes lie apart, on {', '.join(names)}: have all of them in one place")
        return tuple(views)


def _check_plane(
    view: View, which: str, form: PixelFormat, wanted: tuple[int, int], width: int, height: int
) -> None:
    if view.type != form.type:
        raise InputError(
            f"{which} is of type {view.type or 'that numpy has not'}, not {form.type}, in the machine's byte "
            "order"
        )
    shape = view.shape
    pairs = form.pairs and wanted[1] % 2 == 0 and len(shape) == 3 and not which.endswith(" 0")
    if shape != wanted and not (pairs and shape == (wanted[0], wanted[1] // 2, 2)):
        raise InputError(f"{which} has shape {shape}, a picture of {width}x{height} needs {wanted}")
    step = view.item_bytes
    for length, stride in zip(reversed(shape[1:]), reversed(view.strides[1:]), strict=True):
        if length > 1 and stride != step:
            raise InputError(
                f"{which} has strides of {view.strides} bytes, so that samples of a row do not lie side by "
                "side: make it contiguous first"
            )
        step *= length
    if shape[0] > 1 and abs(view.strides[0]) < step:
        raise InputError(
            f"{which} has rows at a distance of {view.strides[0]} bytes, which overlap, as a row has {step}: "
            "copy it first"
        )
    if view.device is not None:
        if shape[0] > 1 and view.strides[0] < 0:
            raise InputError(f"{which} is upside down in CUDA memory: flip it there first")
        if (view.address | view.strides[0]) % view.item_bytes:
            raise InputError(f"{which} has 16-bit samples at an odd address or stride: align both to 2 bytes")


def _rows(plane: NDArray[Any]) -> NDArray[Any]:
    """Two dimensions; the distance of rows says how long one is, even if there is only one."""
    if plane.ndim == 3:
        plane = plane.reshape(plane.shape[0], -1)
    if plane.shape[0] == 1:
        strides = (plane.shape[1] * plane.itemsize, plane.itemsize)
        plane = np.lib.stride_tricks.as_strided(plane, strides=strides, writeable=plane.flags.writeable)
    return plane


def _as_tuple(planes: Any) -> tuple[Any, ...]:
    if isinstance(planes, tuple):
        return planes
    if not isinstance(planes, list):
        raise InputError(
            f"planes are a {type(planes).__name__}: give a list or tuple of arrays, (y, u, v) or (y, uv)"
        )
    return tuple(planes)


def _whole(name: str, value: Any) -> int:
    try:
        return operator.index(value)
    except TypeError:
        raise InputError(f"{name}={value!r} is no whole number") from None


def _positive(name: str, value: Any) -> Fraction:
    try:
        fraction = Fraction(value)
    except (TypeError, ValueError, ZeroDivisionError):
        fraction = Fraction(0)
    if fraction <= 0:
        raise InputError(f"{name}={value!r} is no fraction above 0")
    return fraction


def other_order(planes: tuple[NDArray[Any], ...], bit_depth: int) -> tuple[NDArray[Any], ...]:
    """Planes as those of the pixel format's twin: three as two, or two as three; p010 has its bits on top."""
    shift = 6 if bit_depth == 10 else 0
    if len(planes) == 3:
        y, u, v = planes
        pairs = np.empty((u.shape[0], 2 * u.shape[1]), u.dtype)
        pairs[:, ::2], pairs[:, 1::2] = u, v
        return y << shift, pairs << shift
    y, pairs = planes
    return y >> shift, pairs[:, ::2] >> shift, pairs[:, 1::2] >> shift


def same_samples(one: Frame, other: Frame) -> bool:
    """Whether two frames in host memory have the same size, format and samples."""
    if (one.pixel_format, one.width, one.height) != (other.pixel_format, other.width, other.height):
        return False
    return all(np.array_equal(a, b) for a, b in zip(one.numpy(), other.numpy(), strict=True))


__all__ = [
    "MATRICES",
    "PIXEL_FORMATS",
    "RANGES",
    "SITINGS",
    "TWINS",
    "Frame",
    "PixelFormat",
    "other_order",
    "same_samples",
]
