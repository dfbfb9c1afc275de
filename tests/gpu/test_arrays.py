# SPDX-License-Identifier: BSD-2-Clause
"""Arrays in device memory as clarivid._core takes them: by __cuda_array_interface__, as PyTorch has."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from clarivid import _core
from clarivid.cuda import Device, DevicePicture
from clarivid.errors import InputError
from clarivid.models import find_model

from .tools import Net, noise, pack


class View:
    """A plane with another description."""

    def __init__(self, plane: Any, **changes: Any) -> None:
        self.__cuda_array_interface__ = plane.__cuda_array_interface__ | changes


def pair(device: Device, net: Net) -> tuple[DevicePicture, DevicePicture]:
    source, result = device.picture(64, 48, "nv12", 64), net.output()
    source.upload(pack(noise(64, 48, 8), "nv12"))
    return source, result


def test_pairs_of_chroma_may_be_an_axis_of_their_own(device: Device) -> None:
    net = Net(device, "lowrank_v1", 64, 48, "nv12")
    source, result = pair(device, net)
    net.run(source, result)
    first = result.download()
    result.fill(0)
    luma, chroma = source.planes
    shaped = View(chroma, shape=(24, 32, 2), strides=None)  # contiguous: the pitch is the row
    net.session.process([luma, shaped], result.planes)
    assert all(np.array_equal(a, b) for a, b in zip(result.download(), first, strict=True))


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"shape": (24, 62)}, "24 rows of 62 bytes, not 24 of 64"),
        ({"shape": (23, 64)}, "23 rows"),
        ({"shape": (24 * 64,), "strides": None}, "no rows"),
        ({"strides": (128, 2)}, "gaps between the samples"),
        ({"typestr": "<u2", "strides": None}, "24 rows of 128 bytes"),
    ],
)
def test_planes_of_another_shape_are_refused(device: Device, changes: dict[str, Any], says: str) -> None:
    net = Net(device, "lowrank_v1", 64, 48, "nv12")
    source, result = pair(device, net)
    luma, chroma = source.planes
    with pytest.raises(ValueError, match=says):
        net.session.process([luma, View(chroma, **changes)], result.planes)


def test_a_result_is_not_written_to_what_is_read_only(device: Device) -> None:
    net = Net(device, "lowrank_v1", 64, 48, "nv12")
    source, result = pair(device, net)
    address = result.planes[0].__cuda_array_interface__["data"][0]
    read_only = View(result.planes[0], data=(address, True))
    with pytest.raises(ValueError, match="read-only"):
        net.session.process(source.planes, [read_only, result.planes[1]])


def test_host_arrays_and_device_arrays_are_not_taken_for_each_other(device: Device) -> None:
    net = Net(device, "lowrank_v1", 64, 48, "nv12")
    source, result = pair(device, net)
    planes: Any = pack(noise(64, 48, 8), "nv12")
    with pytest.raises(ValueError, match="no array in CUDA memory"):
        net.session.process(planes, result.planes)
    model = _core.Model(str(find_model("lowrank_v1").folder))
    host = _core.Session(model, _core.Format(64, 48, 2))
    with pytest.raises(TypeError, match="no array of numpy"):
        host.process(source.planes, result.planes)


@pytest.mark.usefixtures("device")
def test_cuda_memory_needs_a_device() -> None:
    model = _core.Model(str(find_model("lowrank_v1").folder))
    with pytest.raises(InputError, match=r"params\.cuda is NULL"):
        _core.Session(model, _core.Format(64, 48, 2, memory=1))
    with pytest.raises(InputError, match="has no context"):
        _core.Session(model, _core.Format(64, 48, 2, memory=1), cuda=_core.CudaDevice(0))
