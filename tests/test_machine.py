# SPDX-License-Identifier: BSD-2-Clause
"""What benchmarks measure a process by."""

from __future__ import annotations

import sys
import time
from pathlib import Path

import numpy as np
import pytest

from clarivid.errors import ToolError
from clarivid.machine import own_peak_mib, timed


def test_a_large_parent_does_not_count_as_the_childs_memory() -> None:
    large = np.ones(300 << 20, np.uint8)
    small = timed(["true"])
    own = timed([sys.executable, "-S", "-c", "x = bytearray(b'x' * (100 << 20))"])
    assert own_peak_mib() > large.nbytes >> 20
    assert small.peak_mib < 50
    assert 100 < own.peak_mib < 260


def test_wall_clock_and_processor_time_are_the_commands(tmp_path: Path) -> None:
    start = time.perf_counter()
    run = timed(["sleep", "0.2"], cwd=tmp_path)
    assert 0.2 <= run.wall <= time.perf_counter() - start
    assert run.cpu < 0.2


def test_what_failed_says_why() -> None:
    with pytest.raises(ToolError, match="bash failed with exit code 3: alas"):
        timed(["bash", "-c", "echo alas >&2; exit 3"])
    with pytest.raises(ToolError, match="no-such-program could not be started"):
        timed(["/no-such-program"])
