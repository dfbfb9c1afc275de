# SPDX-License-Identifier: BSD-2-Clause
"""Inpainters on device memory, through the C ABI: the pictures of host memory, and what crosses the bus."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from clarivid import _core
from clarivid.cuda import Device
from clarivid.models import find_model

from .tools import EMULATED, compare, pack, unpack

NV12, HOST, CUDA = 2, 0, 1
WIDTH, HEIGHT = (96, 64) if EMULATED else (640, 360)
FRAMES = 4 if EMULATED else 12

Plane = NDArray[Any]


def scene(index: int) -> list[Plane]:
    """NV12 planes: a texture that moves by (2, 1) samples a picture, and a bright square in front."""
    y, x = np.mgrid[:HEIGHT, :WIDTH]
    column, row = x + 2 * index, y + index
    luma = 128 + 40 * np.sin(column / 5.3) * np.cos(row / 4.1) + 25 * np.sin((column + 2 * row) / 7.7)
    luma[20:40, 30 - index : 50 - index] = 235
    chroma = np.clip(128 + 30 * np.sin(column[::2, ::2] / 9), 0, 255)
    planes = [luma, chroma, 255 - chroma]
    return pack([np.clip(plane, 0, 255).astype(np.uint8) for plane in planes], "nv12")


def mask_of(index: int) -> NDArray[np.uint8]:
    mask = np.zeros((HEIGHT, WIDTH), np.uint8)
    mask[18:42, 28 - index : 52 - index] = 255
    return mask


def model(name: str | None) -> _core.Model | None:
    return None if name is None else _core.Model(str(find_model(name).folder))


def on_host(net: str | None, segmenter: str | None, masked: bool, **options: Any) -> list[list[Plane]]:
    """What host memory gives, in fp32."""
    look = _core.Format(WIDTH, HEIGHT, NV12, memory=HOST)
    inpainter = _core.Inpainter(model(net), model(segmenter), look, precision=1, threads=1, **options)
    out = []
    for index in range(FRAMES):
        planes = [np.empty_like(plane) for plane in scene(index)]
        assert inpainter.submit(scene(index), mask_of(index) if masked else None, planes)
        done = inpainter.receive(True)
        assert done is not None
        out.append(list(done))
    return out


def through(
    device: Device, net: str | None, segmenter: str | None, masked: bool, **options: Any
) -> tuple[list[list[Plane]], list[dict[str, int]], list[str]]:
    """The pictures, the counters after each, and what was said."""
    said: list[str] = []
    stream = device.stream()
    look = _core.Format(WIDTH, HEIGHT, NV12, memory=CUDA)
    inpainter = _core.Inpainter(
        model(net),
        model(segmenter),
        look,
        threads=1,
        cuda=_core.CudaDevice(device.context, stream.handle),
        log=lambda _level, text: said.append(text),
        **options,
    )
    out, stats = [], []
    for index in range(FRAMES):
        source, result = (device.picture(WIDTH, HEIGHT, "nv12") for _ in range(2))
        source.upload(scene(index))
        assert inpainter.submit(source.planes, mask_of(index) if masked else None, result.planes)
        assert inpainter.receive(True) is not None
        stats.append(inpainter.device_stats)
        out.append(result.download())
    return out, stats, said


def worst(got: list[list[Plane]], wanted: list[list[Plane]]) -> float:
    pairs = zip(got, wanted, strict=True)
    return min(compare(unpack(a, "nv12"), unpack(b, "nv12"), 8).db for a, b in pairs)


def test_without_a_net_the_pictures_are_those_of_host_memory(device: Device) -> None:
    got, stats, said = through(device, None, None, True)
    assert worst(got, on_host(None, None, True)) > 50
    assert any("pictures on" in line for line in said)
    steady = {key: stats[-1][key] - stats[-2][key] for key in stats[-1]}
    assert steady["copies_to_host"] == steady["synchronisations"] == 1
    assert steady["bytes_to_host"] < WIDTH * HEIGHT * 5 // 4
    assert steady["device_bytes"] == 0


def test_the_shipped_painter_runs_where_the_pictures_are(device: Device) -> None:
    name = "inpaint_v1_fast" if EMULATED else "inpaint_v1"
    got, stats, said = through(device, name, None, True)
    assert any("paints at" in line and "backend=cuda" in line for line in said), said
    # The picture that is painted costs no more reading back than others.
    assert stats[0]["copies_to_host"] == stats[1]["copies_to_host"] - stats[0]["copies_to_host"] == 1
    pytest.importorskip("openvino")  # runs the net on the host
    assert worst(got, on_host(name, None, True)) > 40


def test_a_net_that_is_asked_for_on_the_host_gets_its_excerpts_there(device: Device) -> None:
    pytest.importorskip("openvino")
    got, stats, said = through(device, "inpaint_v1_fast", None, True, backend="openvino", precision=1)
    assert any("paints at" in line and "openvino" in line for line in said), said
    assert worst(got, on_host("inpaint_v1_fast", None, True)) > 50
    assert stats[0]["copies_to_host"] > 1


def test_a_segmenter_reads_each_picture_back(device: Device) -> None:
    pytest.importorskip("openvino")
    got, stats, said = through(device, None, "segment_person", False)
    assert any("read back" in line for line in said), said
    assert worst(got, on_host(None, "segment_person", False)) > 50
    each = stats[-1]["bytes_to_host"] - stats[-2]["bytes_to_host"]
    assert each >= WIDTH * HEIGHT * 3 // 2
