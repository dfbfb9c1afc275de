# SPDX-License-Identifier: BSD-2-Clause
"""ffmpeg with filters on frames in CUDA memory: on a GPU where there is a driver, else on the emulator."""

from __future__ import annotations

import ctypes
import functools
import re
from pathlib import Path

import pytest

import filter_tools as tools

EMULATOR = Path(__file__).resolve().parent.parent / ".venv" / "build" / "emulator"


@functools.lru_cache
def device() -> dict[str, str] | None:
    """The environment in which ffmpeg finds a CUDA driver; None without driver and emulator."""
    try:
        ctypes.CDLL("libcuda.so.1")
    except OSError:
        return {"LD_LIBRARY_PATH": str(EMULATOR)} if (EMULATOR / "libcuda.so.1").is_file() else None
    return {}


on_device = pytest.mark.skipif(
    device() is None,
    reason="neither an NVIDIA driver nor the emulator (built with CLARIVID_CUDA and the tests)",
)
without_driver = pytest.mark.skipif(device() == {}, reason="there is an NVIDIA driver")
GPU = ("-init_hw_device", "cuda=gpu", "-filter_hw_device", "gpu")


def run(*arguments: str | Path, check: bool = True, level: str = "info", **environment: str) -> tools.Done:
    """Run ffmpeg with a device called gpu."""
    return tools.run(
        "-nostats", "-v", f"level+{level}", *GPU, *arguments, check=check, **(device() or {}), **environment
    )


def uploaded(chain: str, pix_fmt: str) -> str:
    """A chain of hardware filters for pictures of this format in host memory."""
    return f"format={pix_fmt},hwupload,{chain},hwdownload,format={pix_fmt}"


def on_gpu(source: str, chain: str, pix_fmt: str, *more: str) -> tools.Done:
    """Raw video out of a source, through filters on the device."""
    return run("-f", "lavfi", "-i", source, "-vf", uploaded(chain, pix_fmt), *more, "-f", "rawvideo", "-",
               level="verbose")  # fmt: skip


def counters(done: tools.Done) -> list[dict[str, int]]:
    """What each of our filters had to do with the device."""
    found = re.findall(
        r"\[verbose\] device: (\d+) copies to the host \((\d+) bytes\), (\d+) synchronisations",
        tools.said(done),
    )
    names = ("copies_to_host", "bytes_to_host", "synchronisations")
    return [dict(zip(names, map(int, line), strict=True)) for line in found]
