# SPDX-License-Identifier: BSD-2-Clause
"""Frames in CUDA memory on machines without a GPU: their tests for a GPU hold on the emulator."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest


@pytest.mark.parametrize("lazy", ["0", "1"])
def test_frames_on_the_emulator_keep_the_order_of_streams(root: Path, lazy: str) -> None:
    """A lazy stream works when somebody waits for it: what is read without waiting is old."""
    emulator = root / ".venv" / "build" / "emulator"
    if not (emulator / "libcuda.so.1").is_file():
        pytest.skip("the emulator is not built (CLARIVID_CUDA, CLARIVID_BUILD_TESTS)")
    tests = root / "tests" / "gpu" / "test_frames.py"
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", str(tests)],
        env={
            **os.environ,
            "NO_COLOR": "1",
            "LD_LIBRARY_PATH": str(emulator),
            "CLARIVID_GPU_EMULATED": "1",
            "CLARIVID_EMULATOR_LAZY": lazy,
        },
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-8000:] + done.stderr
    assert " passed" in done.stdout
    assert "skipped" not in done.stdout
