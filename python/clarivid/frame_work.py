# SPDX-License-Identifier: BSD-2-Clause
"""What objects that work on frames share: a frame as the core takes it, and where the result goes."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from clarivid import _core, arrays
from clarivid.arrays import View
from clarivid.cuda import Device, Stream
from clarivid.errors import InputError
from clarivid.frame import MATRICES, PIXEL_FORMATS, RANGES, SITINGS, Frame

_logger = logging.getLogger("clarivid")

Key = tuple[int, ...]  # arguments of _core.Format


def format_key(frame: Frame) -> Key:
    """Arguments of ``_core.Format``; a matrix that the library knows not counts as unspecified."""
    return (
        frame.width,
        frame.height,
        PIXEL_FORMATS[frame.pixel_format].number,
        RANGES[frame.range],
        MATRICES[frame.matrix][1] or 0,
        SITINGS[frame.siting],
        0 if frame.device is None else 1,
    )


def warn_of_matrix(frame: Frame) -> None:
    """For nets on RGB, as the filters do."""
    if MATRICES[frame.matrix][1] is None:
        _logger.warning(
            "the matrix %s is not known to nets on RGB: taking BT.%s for it",
            frame.matrix,
            "709" if frame.height >= 720 else "601",
        )


def stated_twice(**arguments: Any) -> None:
    """Raises clarivid.InputError for arguments that a frame brings itself."""
    said = [name for name, (value, default) in arguments.items() if value != default]
    if said:
        raise InputError(
            f"{', '.join(said)} cannot be given with a Frame, which says it itself: see Frame.replace()"
        )


def frames_only(stream: Any, out: Frame | None) -> None:
    """Raises clarivid.InputError for arguments that only frames have a use for."""
    for name, value in (("stream", stream), ("out", out)):
        if value is not None:
            raise InputError(f"{name} is for frames: give a clarivid.Frame instead of planes")


@dataclass(eq=False)
class OnDevice:
    """A core object on a context, with a stream of its own, so that it serves callers on any stream.

    The caller's stream and this one wait for each other around each piece of work; the host waits for none.
    """

    core: Any  # destroyed first: it waits for its stream
    device: Device
    stream: Stream
    marks: Any

    def __del__(self) -> None:
        self.core = None


def cuda_device(device: Device) -> tuple[_core.CudaDevice, Stream]:
    """A new stream, and what a core object takes to work on it."""
    stream = device.stream()
    return _core.CudaDevice(device.context, stream.handle), stream


def host_result(pixel_format: str, width: int, height: int) -> tuple[Any, ...]:
    """New planes of numpy with anything in them."""
    form = PIXEL_FORMATS[pixel_format]
    return tuple(np.empty(shape, form.type) for shape in form.shapes(width, height))


def check_out(source: Frame, out: Frame, width: int, height: int) -> None:
    """Raises clarivid.InputError unless ``out`` can take the result of ``source``."""
    if not isinstance(out, Frame):
        raise InputError(f"out is a {type(out).__name__}: give a Frame")
    wanted = (source.pixel_format, width, height)
    if (out.pixel_format, out.width, out.height) != wanted:
        raise InputError(
            f"out is {out.width}x{out.height} {out.pixel_format}, the result is {width}x{height} "
            f"{source.pixel_format}"
        )
    if out.device != source.device:
        raise InputError("out lies elsewhere than the frame: have both in host memory or both on one GPU")
    for index, view in enumerate(out._views):
        if arrays.look(out.planes[index], f"plane {index} of out").read_only:  # now, whatever it was then
            raise InputError(f"plane {index} of out is read-only")
        if any(_overlap(view, other) for other in source._views):
            raise InputError(f"plane {index} of out lies on the frame itself: give other memory")


def _overlap(one: View, other: View) -> bool:
    first, second = _extent(one), _extent(other)
    return first[0] < second[1] and second[0] < first[1]


def _extent(view: View) -> tuple[int, int]:
    ends = [stride * (length - 1) for stride, length in zip(view.strides, view.shape, strict=True)]
    low = view.address + sum(end for end in ends if end < 0)
    return low, view.address + sum(end for end in ends if end > 0) + view.item_bytes


def result_frame(source: Frame, planes: Sequence[Any], width: int, height: int) -> Frame:
    """The source's properties on other planes."""
    return source.replace(planes=tuple(planes), width=width, height=height)


__all__ = [
    "Key",
    "OnDevice",
    "check_out",
    "cuda_device",
    "format_key",
    "frames_only",
    "host_result",
    "result_frame",
]
