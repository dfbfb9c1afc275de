# SPDX-License-Identifier: BSD-2-Clause
"""Tiny clips for the tests of ``clarivid compare``."""

from __future__ import annotations

import subprocess
from pathlib import Path

from clarivid import clips

LOSSLESS = ("-c:v", "ffv1")
FILM = "testsrc2=s=192x108:r=25:d=0.48"  # twelve frames


def make(
    path: Path,
    filters: str = "null",
    *,
    source: str | Path = FILM,
    pix_fmt: str = "yuv420p",
    codec: tuple[str, ...] = LOSSLESS,
) -> Path:
    """``filters`` over a test picture that moves, or over another clip."""
    given = ["-i", str(source)] if isinstance(source, Path) else ["-f", "lavfi", "-i", source]
    command = [clips.encoder(), "-nostdin", "-v", "error", *given, "-vf", filters, "-fps_mode", "passthrough"]
    times = ["-enc_time_base", "1/1000"]  # not rounded to the frame rate
    subprocess.run([*command, *times, "-pix_fmt", pix_fmt, *codec, str(path)], check=True)
    return path
