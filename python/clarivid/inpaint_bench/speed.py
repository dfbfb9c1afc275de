# SPDX-License-Identifier: BSD-2-Clause
"""Speed and memory of ``mesh_inpaint`` in ffmpeg.

Decoded 720p frames go in (a made pan over a still, to and fro for ever, so that there is no cut) with
a mask as the second input, and are thrown away. Each figure is the difference of two processes that run over
few and over more frames: start-up and the first picture, which the net paints, are in both.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median
from typing import Any

import cv2
import numpy as np

from clarivid import ffmpeg
from clarivid.inpaint_bench.scenes import find
from clarivid.inpaint_bench.scores import grow
from clarivid.inpaint_bench.walker import Mask, Planes
from clarivid.machine import Run, timed

MESHES = ("1x1", "8x5", "16x9", "32x18")
_SHORT = 10  # frames of the run that is subtracted
_PICTURES = 50  # that there are; they are shown to and fro


@dataclass(frozen=True)
class Speed:
    """One setting: ``hole`` is the dilated mask's share, ``cpu_ms`` processor time a frame of all threads."""

    mesh: str
    threads: int
    size: str
    hole: float
    frames: int
    fps: float
    cpu_ms: float
    start_s: float  # until the first frames are done, start-up of the process included
    peak_mib: float
    peak_longer: float | None = None  # over twice as many frames

    def to_dict(self) -> dict[str, Any]:
        """As a dictionary, for JSON."""
        return asdict(self)


def measure(
    *,
    model: str,
    meshes: Sequence[str] = MESHES,
    threads: int = 2,
    frames: int = 150,
    repeat: int = 3,
    precision: str = "auto",
    progress: Callable[[str], None] = print,
) -> list[Speed]:
    """A row for each mesh with a hole of about 14 %, then mesh=16x9 with a person's hole.

    Raises :class:`clarivid.Error` when our ffmpeg is not built or the filter fails.
    """
    program = ffmpeg.find().ffmpeg
    found = []
    with tempfile.TemporaryDirectory(prefix="clarivid-speed-") as name:
        folder = Path(name)
        progress("speed: making the pictures")
        material = find("plaza").make(_PICTURES)
        width, height = material.size
        _save(folder / "pictures.yuv", material.shown)
        big = [_ellipse(width, height, t) for t in range(_PICTURES)]
        for file, masks in (("big.gray", big), ("person.gray", material.masks)):
            (folder / file).write_bytes(b"".join(mask.tobytes() for mask in _to_and_fro(masks)))
        jobs = [(mesh, "big.gray", big) for mesh in meshes] + [("16x9", "person.gray", material.masks)]
        for mesh, file, masks in jobs:
            hole = float(np.mean([grow(mask, 4).mean() for mask in masks]))
            chain = f"mesh_inpaint=model={model}:mesh={mesh}:threads={threads}:precision={precision}"
            last = mesh == "16x9" and file == "big.gray"
            runs = []
            for turn in range(repeat):
                progress(f"speed: mesh={mesh}, {100 * hole:.0f} % hole, {turn + 1}/{repeat}")
                few = _timed(program, folder, file, f"{width}x{height}", chain, _SHORT)
                many = _timed(program, folder, file, f"{width}x{height}", chain, _SHORT + frames)
                runs.append((few, many))
            longer = None
            if last:
                longer = _timed(
                    program, folder, file, f"{width}x{height}", chain, 2 * (_SHORT + frames)
                ).peak_mib
            wall = median(many.wall - few.wall for few, many in runs) / frames
            cpu = median(many.cpu - few.cpu for few, many in runs) / frames
            start = median(few.wall for few, _ in runs)
            peak = max(many.peak_mib for _, many in runs)
            size = f"{width}x{height}"
            found.append(
                Speed(mesh, threads, size, hole, _SHORT + frames, 1 / wall, 1000 * cpu, start, peak, longer)
            )
    return found


def _ellipse(width: int, height: int, t: int) -> Mask:
    """A seventh of the picture, going to the right."""
    mask = np.zeros((height, width), np.uint8)
    centre = (round(width * (0.35 + 0.3 * t / _PICTURES)), height // 2)
    axes = (round(0.16 * width), round(0.264 * height))
    return np.asarray(cv2.ellipse(mask, centre, axes, 0, 0, 360, (255,), -1), np.uint8)


def _to_and_fro(items: Sequence[Any]) -> list[Any]:
    """0 1 2 3 2 1: repeated, it has no jump."""
    return [*items, *items[-2:0:-1]]


def _save(path: Path, pictures: Sequence[Planes]) -> None:
    with path.open("wb") as out:
        for picture in _to_and_fro(pictures):
            for plane in picture:
                out.write(plane.tobytes())


def _timed(program: Path, folder: Path, mask: str, size: str, chain: str, frames: int) -> Run:
    raw = ["-stream_loop", "-1", "-f", "rawvideo", "-s", size, "-r", "25"]
    command = [str(program), "-nostdin", "-v", "error", *raw, "-pix_fmt", "yuv420p", "-i", "pictures.yuv"]
    command += [*raw, "-pix_fmt", "gray", "-i", mask, "-filter_complex", f"[0:v][1:v]{chain}"]
    return timed([*command, "-frames:v", str(frames), "-f", "null", "-"], cwd=folder)
