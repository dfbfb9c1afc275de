# SPDX-License-Identifier: BSD-2-Clause
"""Nets on RGB and on luma alone, in device memory: the pictures of the same net in host memory.

The nets are the dummy backend's nearest neighbours, so that all of what differs comes from the conversions.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from clarivid import _core
from clarivid.cuda import Device

from .tools import DEPTH, EMULATED, FORMATS, compare, noise, pack, unpack

Record = Callable[[str, object], None]

onnx_models = pytest.importorskip("onnx_models", reason="needs the package onnx")

CHANNELS = {"rgb": 3, "y": 1}
SIZES = [(64, 48), (75, 53)] if EMULATED else [(64, 48), (75, 53), (641, 363), (1920, 1080)]


@dataclass(frozen=True)
class Look:
    """A format of pictures but for its size; numbers as in clarivid.h."""

    pix_fmt: str
    range: int
    matrix: int
    siting: int

    def format(self, width: int, height: int, memory: int) -> _core.Format:
        return _core.Format(
            width, height, FORMATS[self.pix_fmt], self.range, self.matrix, self.siting, memory=memory
        )


def looks(seed: int) -> list[Look]:
    """Each format with ranges, matrices and sitings in turn."""
    return [
        Look(pix_fmt, 1 + (seed + i) % 2, 1 + (seed + i) % 3, 1 + (seed + i // 2) % 3)
        for i, pix_fmt in enumerate(FORMATS)
    ]


@pytest.fixture(scope="module")
def net(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str, int], _core.Model]:
    folder = tmp_path_factory.mktemp("nets")

    def make(layout: str, scale: int) -> _core.Model:
        path: Path = folder / f"{layout}{scale}.onnx"
        metadata = {"clarivid.layout": layout, "clarivid.scale": str(scale)}
        return _core.Model(str(onnx_models.nearest_net(path, CHANNELS[layout], scale, metadata=metadata)))

    return make


@pytest.mark.parametrize("scale", [1, 2, 3, 4])
@pytest.mark.parametrize("layout", ["rgb", "y"])
def test_pictures_are_those_of_host_memory(
    device: Device,
    net: Callable[[str, int], _core.Model],
    layout: str,
    scale: int,
    record_property: Record,
) -> None:
    model = net(layout, scale)
    share = 0.0
    for index, look in enumerate(looks(scale)):
        width, height = SIZES[index % len(SIZES)]
        depth, dither = DEPTH[look.pix_fmt], index % 2
        planes = noise(width, height, depth, index)
        host = _core.Session(model, look.format(width, height, 0), backend="dummy", threads=1, dither=dither)
        size = (host.output.width, host.output.height)
        wanted = pack(noise(*size, depth), look.pix_fmt)  # for its shapes
        host.process(pack(planes, look.pix_fmt), wanted)

        stream = device.stream()
        where = _core.CudaDevice(device.context, stream.handle)
        session = _core.Session(
            model, look.format(width, height, 1), backend="dummy", dither=dither, cuda=where
        )
        source, result = device.picture(width, height, look.pix_fmt), device.picture(*size, look.pix_fmt)
        source.upload(pack(planes, look.pix_fmt))
        for _ in range(3):
            session.process(source.planes, result.planes)
        assert session.device_stats["copies_to_host"] == 0
        assert session.device_stats["copies_to_device"] == 0
        assert session.device_stats["synchronisations"] == 0
        stream.synchronise()
        error = compare(unpack(result.download(), look.pix_fmt), unpack(wanted, look.pix_fmt), depth)
        share = max(share, error.share)
        if layout == "y":
            assert error.codes == 0, (look, error)
        assert error.codes <= 1, (look, error)
        assert error.share < 1e-3, (look, error)
    record_property("share_of_codes_that_differ", share)
