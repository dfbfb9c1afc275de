# SPDX-License-Identifier: BSD-2-Clause
"""Running one clip through a filter chain of our ffmpeg."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from clarivid.errors import ToolError, last_line
from clarivid.ffmpeg.builder import find

LANCZOS_X2 = "scale=2*iw:2*ih:flags=lanczos"
LOSSLESS = ("-c:v", "ffv1", "-level", "3", "-slices", "4")


@dataclass(frozen=True)
class Result:
    """How a run went: ``seconds`` of wall clock from start to end, start-up included."""

    seconds: float
    log: str


def filter_clip(
    source: Path,
    filters: str,
    out: Path | None,
    *,
    output: Sequence[str] = LOSSLESS,
    ffmpeg: Path | None = None,
) -> Result:
    """Run ``source`` through ``-vf filters`` into ``out``, or into nothing when ``out`` is None.

    :param output: encoder options, used when ``out`` is given; lossless by default.
    :param ffmpeg: the program; None for the one that ``clarivid ffmpeg build`` made.

    Raises :class:`ToolError` with ffmpeg's last line when it fails.
    """
    program = ffmpeg or find().ffmpeg
    command = [str(program), "-nostdin", "-hide_banner", "-loglevel", "info", "-nostats", "-y"]
    command += ["-i", str(source), "-an", "-fps_mode", "passthrough", "-vf", filters]
    command += [*output, str(out)] if out is not None else ["-f", "null", "-"]
    start = time.monotonic()
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    seconds = time.monotonic() - start
    if done.returncode:
        ours = [line for line in done.stderr.splitlines() if line.startswith("[Parsed_")]
        reason = ours[0] if ours else last_line(done.stderr)
        raise ToolError(f"ffmpeg could not run {source.name} through {filters}: {reason}")
    return Result(seconds, done.stderr)
