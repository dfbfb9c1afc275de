# SPDX-License-Identifier: BSD-2-Clause
"""What this chip reaches, measured: bytes a second of a copy, operations a second of a matrix product.

A kernel's figures are stated against these, not against a data sheet.
"""

from __future__ import annotations

import statistics
from dataclasses import dataclass

import numpy as np

from clarivid.cuda import Device

REPEAT = 10


@dataclass(frozen=True)
class Ceilings:
    """``copy_gb_s`` counts bytes read and bytes written; ``fp16_tflop_s`` is None without PyTorch."""

    copy_gb_s: float
    fp16_tflop_s: float | None


def measure(device: Device, emulated: bool) -> Ceilings:
    """Both, as medians over ``REPEAT`` runs."""
    return Ceilings(_copy(device, 1 << 22 if emulated else 1 << 30), None if emulated else _product())


def _copy(device: Device, size: int) -> float:
    source, target = device.memory(size), device.memory(size)
    source.upload(np.random.default_rng(1).integers(0, 256, size, np.uint8))
    stream = device.stream()
    start, end = device.event(), device.event()
    times = []
    for _ in range(REPEAT + 2):
        start.record(stream.handle)
        target.copy_from(source, stream.handle)
        end.record(stream.handle)
        times.append(end.milliseconds_since(start))
    return 2 * size / statistics.median(times[2:]) / 1e6


def _product(size: int = 8192) -> float | None:
    try:
        import torch
    except ModuleNotFoundError:
        return None
    if not torch.cuda.is_available():
        return None
    # Random numbers: a product of zeros draws less power and runs faster than one of data.
    a, b = (torch.randn(size, size, device="cuda", dtype=torch.float16) for _ in range(2))
    times = []
    for _ in range(REPEAT + 3):
        start, end = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
        start.record()
        torch.matmul(a, b)
        end.record()
        end.synchronize()
        times.append(start.elapsed_time(end))
    return 2 * size**3 / statistics.median(times[3:]) / 1e9
