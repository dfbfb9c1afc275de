# SPDX-License-Identifier: BSD-2-Clause
"""Frames in CUDA memory: read in the order of a stream, and allocated."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from clarivid import arrays, cuda_arrays
from clarivid.arrays import View
from clarivid.cuda import Device
from clarivid.cuda_arrays import DeviceArray, Order
from clarivid.errors import InputError
from clarivid.frame import PIXEL_FORMATS, Frame


@dataclass(frozen=True, eq=False)
class Place:
    """Where a call works: the context that the planes belong to, and whose order it keeps."""

    device: Device
    order: Order


def place_of(frame: Frame, stream: Any) -> Place:
    """Raises clarivid.InputError when ``stream`` is none."""
    view = frame._views[0]
    assert view.device is not None
    return Place(cuda_arrays.device_of(view), cuda_arrays.order(stream, frame.planes, view.device))


def read(planes: Sequence[Any], place: Place, names: str = "plane") -> list[View]:
    """The planes, readable by what is enqueued on the place's stream from now on; nobody waits."""
    views = []
    for index, plane in enumerate(planes):
        if isinstance(plane, DeviceArray):
            cuda_arrays.wait(place.device, place.order.stream, plane.stream)
            views.append(plane.view())
            if plane.stream != place.order.stream:
                plane.lend()
            continue
        view, writer = arrays.ready(plane, f"{names} {index}", place.order.stream)
        if writer is not None:
            cuda_arrays.wait(place.device, place.order.stream, writer or cuda_arrays.LEGACY)
        views.append(view)
    return views


def new_planes(pixel_format: str, width: int, height: int, place: Place) -> tuple[DeviceArray, ...]:
    """Planes for a result; raises clarivid.BackendError when memory runs out."""
    form = PIXEL_FORMATS[pixel_format]
    return cuda_arrays.allocate(place.device, form.shapes(width, height), form.type, place.order)


def download(frame: Frame, stream: Any) -> tuple[Any, ...]:
    """Copies in host memory; waits for them."""
    place = place_of(frame, stream)
    views = read(frame.planes, place)
    return tuple(cuda_arrays.copy_to_host(view, place.device, place.order.stream) for view in views)


def upload(frame: Frame, index: int, stream: Any) -> tuple[DeviceArray, ...]:
    """Copies on a GPU."""
    if frame.device is not None:
        raise InputError(f"the frame is on GPU {frame.device}, not {index}: copy it by to_host() first")
    place = Place(cuda_arrays.device_at(index), cuda_arrays.order(stream, (), index))
    planes = new_planes(frame.pixel_format, frame.width, frame.height, place)
    for plane, source in zip(planes, frame.numpy(), strict=True):
        cuda_arrays.copy_to_device(source, plane)
    return planes


__all__ = ["Place", "download", "new_planes", "place_of", "read", "upload"]
