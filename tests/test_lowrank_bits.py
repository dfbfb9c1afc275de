# SPDX-License-Identifier: BSD-2-Clause
"""The shipped lowrank_v1 before real encoders: the more of it, the fewer bits; colours stay."""

from __future__ import annotations

import subprocess
from itertools import pairwise

import numpy as np
import pytest

import clarivid
from clarivid.clips import encoder
from pictures import Frame, noisy_pan, packed

STRENGTHS = (0.0, 0.25, 0.5, 0.75, 1.0)
MUXERS = {"libx264": "h264", "libx265": "hevc"}


@pytest.fixture(scope="module")
def clips() -> dict[float, list[Frame]]:
    source = noisy_pan()
    filters = {strength: clarivid.LowrankPre(strength=strength, threads=1) for strength in STRENGTHS}
    return {strength: [filters[strength](frame) for frame in source] for strength in STRENGTHS}


def coded_size(frames: list[Frame], codec: str, crf: int) -> int:
    height, width = frames[0][0].shape
    command = [encoder(), "-nostdin", "-loglevel", "error", "-f", "rawvideo", "-pix_fmt", "yuv420p"]
    command += ["-s", f"{width}x{height}", "-r", "25", "-i", "pipe:0", "-c:v", codec, "-threads", "1"]
    command += ["-crf", str(crf), "-f", MUXERS[codec], "pipe:1"]
    return len(subprocess.run(command, input=packed(frames), capture_output=True, check=True).stdout)


@pytest.mark.parametrize("codec", MUXERS)
def test_more_strength_is_fewer_bits(clips: dict[float, list[Frame]], codec: str) -> None:
    # Over three rates together: at a single one, a quarter of the change, which is mostly below half a code,
    # may cost up to a per cent more.
    sizes = [sum(coded_size(clips[strength], codec, crf) for crf in (20, 25, 30)) for strength in STRENGTHS]
    assert all(more > less for more, less in pairwise(sizes)), sizes
    assert sizes[-1] < 0.97 * sizes[0]


def test_colours_do_not_drift(clips: dict[float, list[Frame]]) -> None:
    for plane in range(3):
        before, after = (
            np.mean([frame[plane].mean() for frame in clips[strength]]) for strength in (0.0, 1.0)
        )
        assert abs(after - before) < 0.2
