# SPDX-License-Identifier: BSD-2-Clause
"""Whole ffmpeg commands: what a frame costs in a process, from source to filter to nothing.

Each command runs twice, over few and over more frames: the difference is a frame's cost, the rest start-up.
"""

from __future__ import annotations

import ctypes
from dataclasses import dataclass
from pathlib import Path

from clarivid.machine import timed


@dataclass(frozen=True)
class Command:
    """``source`` is what stands before -vf, ``prefix`` the filters before ours; ``{n}``... are filled in."""

    name: str
    source: list[str]
    prefix: str


def sources(width: int, height: int, pix_fmt: str, clip: Path | None) -> list[Command]:
    """Where frames come from: they lie on the device already; a decoder on it; a decoder on the host."""
    bits = "p010le" if pix_fmt == "p010le" else "nv12"
    drawn = ["-f", "lavfi", "-i", f"testsrc2=s={width}x{height}:r=25,noise=alls=8"]
    found = [Command("frames on the device", drawn, f"format={bits},hwupload_cuda,loop=loop=-1:size=16")]
    if clip is None:
        return found
    looped = ["-stream_loop", "-1", "-i", str(clip)]
    if _loads("libnvcuvid.so.1"):
        cuda = ["-hwaccel", "cuda", "-hwaccel_output_format", "cuda", *looped]
        found.append(Command("NVDEC", cuda, "null"))
    found.append(Command("decoded on the host, uploaded", looped, f"format={bits},hwupload_cuda"))
    return found


def milliseconds(
    ffmpeg: Path, command: Command, filters: str, short: int, frames: int
) -> tuple[float, float]:
    """Wall clock a frame, and of the start-up, in ms."""
    seconds = []
    for count in (short, short + frames):
        chain = ",".join(part for part in (command.prefix, filters) if part)
        line = [str(ffmpeg), "-nostdin", "-v", "error", *command.source, "-an", "-vf", chain]
        seconds.append(timed([*line, "-frames:v", str(count), "-f", "null", "-"]).wall)
    each = (seconds[1] - seconds[0]) / frames
    return 1000 * each, 1000 * (seconds[0] - short * each)


def inpaint_chain(frames: int, width: int, height: int, options: str, upload: bool) -> str:
    """A clip forth and back without an end, through mesh_inpaint with a box of 11 % of the picture."""
    box = f"rect={width // 3}|{height // 3}|{width // 3}|{height // 3}"
    there = "hwupload_cuda," if upload else ""
    return (
        f"format=nv12,trim=end_frame={frames},split[a][b];[b]reverse[r];[a][r]concat=n=2:v=1,{there}"
        f"loop=loop=-1:size={2 * frames},mesh_inpaint={options}{box}"
    )


def _loads(library: str) -> bool:
    try:
        ctypes.CDLL(library)
    except OSError:
        return False
    return True
