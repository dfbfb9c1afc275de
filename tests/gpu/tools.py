# SPDX-License-Identifier: BSD-2-Clause
"""What the tests on a device share: sessions on device pictures, pictures, and what to compare with."""

from __future__ import annotations

import functools
import logging
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from clarivid import _core
from clarivid.cuda import Device, DevicePicture
from clarivid.errors import BackendError
from clarivid.models import find_model
from clarivid.parity import Case, reference
from clarivid.parity.reference import luma_reference
from clarivid.parity.ways import ModuleWay

Plane = NDArray[Any]

EMULATED = bool(os.environ.get("CLARIVID_GPU_EMULATED"))
SHIPPED = ("game_x2", "lowrank_v1")  # a net of each of the cuda backend's architectures
FORMATS = {"yuv420p": 1, "nv12": 2, "yuv420p10le": 3, "p010le": 4}
DEPTH = {"yuv420p": 8, "nv12": 8, "yuv420p10le": 10, "p010le": 10}
LEAST_DB = 60.0  # fp16 on the device against f32: what issue and README promise


def _logger(messages: list[str]) -> Callable[[int, str], None]:
    """Keeps what is said. It knows no Net: the model holds it, and that circle would never be collected."""

    def log(_level: int, text: str) -> None:
        messages.append(text)
        logging.getLogger("clarivid").info("%s", text)

    return log


class Net:
    """A bundle on pictures of one format in device memory, on a stream of its own.

    Args:
        options: of ``_core.Session``: backend, precision, strength, dither.
    """

    def __init__(
        self,
        device: Device,
        model: str,
        width: int,
        height: int,
        pix_fmt: str,
        *,
        full_range: bool = False,
        **options: Any,
    ) -> None:
        self.device, self.stream = device, device.stream()
        self.messages: list[str] = []
        self.model = _core.Model(str(find_model(model).folder), _logger(self.messages))
        look = _core.Format(width, height, FORMATS[pix_fmt], range=2 if full_range else 1, memory=1)
        where = _core.CudaDevice(device.context, self.stream.handle)
        self.session = _core.Session(self.model, look, cuda=where, **{"backend": "cuda", **options})
        self.size = (self.session.output.width, self.session.output.height)
        self.pix_fmt = pix_fmt

    def output(self, pitch: int = 0) -> DevicePicture:
        """A picture for a result."""
        return self.device.picture(*self.size, self.pix_fmt, pitch)

    def run(self, source: DevicePicture, result: DevicePicture) -> None:
        """Enqueues one picture."""
        self.session.process(source.planes, result.planes)

    @property
    def stats(self) -> dict[str, int]:
        """The counters of the C ABI."""
        return self.session.device_stats


@dataclass(frozen=True)
class Error:
    """``db``: PSNR over all planes (100: equal); ``codes``: the largest difference; ``share`` that differ."""

    db: float
    codes: int
    share: float


def compare(got: list[Plane], wanted: list[Plane], bit_depth: int) -> Error:
    """Planes (y, u, v) with codes in the low bits."""
    errors = [np.abs(a.astype(np.int64) - b) for a, b in zip(got, wanted, strict=True)]
    count = sum(error.size for error in errors)
    square = sum(float((error**2).sum()) for error in errors) / count
    peak = (1 << bit_depth) - 1
    db = 10 * np.log10(peak * peak / square) if square else 100.0
    return Error(
        float(db), max(int(error.max()) for error in errors), sum(int((e > 0).sum()) for e in errors) / count
    )


def picture(width: int, height: int, bit_depth: int, seed: int = 0) -> list[Plane]:
    """(y, u, v): a gradient with edges, texture and some noise, codes in the low bits."""
    random = np.random.default_rng([width, height, bit_depth, seed])
    top = (1 << bit_depth) - 1

    def plane(rows: int, columns: int, phase: float) -> Plane:
        y, x = np.mgrid[:rows, :columns]
        value = 0.5 + 0.2 * np.sin(x / 7.3 + phase) * np.cos(y / 5.1) + 0.15 * ((x // 9 + y // 6) % 2)
        value += 0.1 * (x / max(columns, 1) - 0.5) + random.normal(0, 0.02, (rows, columns))
        codes = np.clip(value * top, 0, top)
        return codes.astype(np.uint8 if bit_depth == 8 else np.uint16)

    half = ((height + 1) // 2, (width + 1) // 2)
    return [plane(height, width, seed), plane(*half, 1.0 + seed), plane(*half, 2.0 + seed)]


def noise(width: int, height: int, bit_depth: int, seed: int = 0) -> list[Plane]:
    """(y, u, v): every code of the depth, at random: what is hardest to compute."""
    random = np.random.default_rng([seed, width, height])
    half = ((height + 1) // 2, (width + 1) // 2)
    kind = np.uint8 if bit_depth == 8 else np.uint16
    return [random.integers(0, 1 << bit_depth, shape).astype(kind) for shape in ((height, width), half, half)]


def pack(planes: list[Plane], pix_fmt: str) -> list[Plane]:
    """(y, u, v) as the planes of ``pix_fmt``."""
    if pix_fmt in ("yuv420p", "yuv420p10le"):
        return planes
    y, u, v = planes
    uv = np.stack([u, v], axis=-1).reshape(u.shape[0], -1)
    return [y << 6, uv << 6] if pix_fmt == "p010le" else [y, uv]


def unpack(planes: list[Plane], pix_fmt: str) -> list[Plane]:
    """The reverse of :func:`pack`; a bit below P010's ten is an error."""
    if pix_fmt == "p010le":
        assert not any(np.any(plane & 63) for plane in planes), "P010 has six zero bits below its ten"
        planes = [plane >> 6 for plane in planes]
    if pix_fmt in ("yuv420p", "yuv420p10le"):
        return planes
    y, uv = planes
    return [y, uv[:, ::2], uv[:, 1::2]]


@contextmanager
def filled(device: Device, crumbs: int = 1 << 20) -> Iterator[None]:
    """The device with no more free memory than pieces of ``crumbs`` bytes."""
    taken = []
    size = device.memory_info()[0] // 2
    try:
        while size > crumbs:
            try:
                taken.append(device.memory(size))
            except BackendError:
                size //= 2
        yield
    finally:
        for memory in taken:
            memory.free()


@functools.lru_cache
def _torch_net(model: str) -> Any:
    from clarivid.nets.load import load_net

    return load_net(find_model(model))


def expected(
    model: str, planes: list[Plane], bit_depth: int, full_range: bool = False, strength: float = 1.0
) -> list[Plane]:
    """What PyTorch makes of (y, u, v) in f32 on the CPU, by docs/models.md; of a net on luma, chroma is the
    library's in host memory."""
    height, width = planes[0].shape
    pix_fmt = "yuv420p" if bit_depth == 8 else "yuv420p10le"
    case = Case("random", width, height, pix_fmt, full_range, strength)
    bundle = find_model(model)
    if bundle.layout != "y":
        return list(reference(_torch_net(model), planes, case))
    _, *chroma = ModuleWay("module", "fp32", bundle, "cpu").run([tuple(planes)], case)[0]
    return [luma_reference(_torch_net(model), planes[0], case), *chroma]
