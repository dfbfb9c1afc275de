# SPDX-License-Identifier: BSD-2-Clause
"""How near a filled hole comes to the background that was really there, and how steady it is.

=========== ===================================================================================== ==========
score       what it is                                                                            better
=========== ===================================================================================== ==========
psnr_y      PSNR of luma over the hole's samples, dB, at most 60; mean over pictures              more
psnr_y_all  the same from the mean squared error of all holes of the clip: bad pictures weigh more more
psnr_uv     PSNR of chroma (mean of U's and V's squared errors), as psnr_y                        more
ssim        SSIM of luma (11x11 Gaussian window, sigma 1.5), mean over the hole's samples         more
vmaf        VMAF v0.6.1 of a window around the hole, which goes with it; mean over pictures       more
warp        warping error: what is shown at t against t+1 brought back by the true motion,        less
            mean square over the hole's visible samples, code values squared, mean over pictures
=========== ===================================================================================== ==========

The hole of a picture is its mask, grown as the methods grow it. The warping error is that of Lai et al.,
"Learning Blind Video Temporal Consistency" (2018), eq. 5 and 6, in the hole only: the flow (DIS) is that of
the true background, and samples count where it is the same forth and back (Ruder et al. 2016). The truth
itself does not have zero: noise, and what flow cannot follow.
"""

from __future__ import annotations

import json
import subprocess
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from clarivid import clips, optical_flow
from clarivid.errors import ToolError, last_line
from clarivid.inpaint_bench.walker import Mask, Planes
from clarivid.optical_flow import Flow, moved_back

NAMES = ("psnr_y", "psnr_y_all", "psnr_uv", "ssim", "vmaf", "warp")
VERSION = 1  # part of what results are kept under: raise it when a score changes its meaning
CAP = 60.0
_VMAF_MARGIN, _VMAF_LEAST = 24, 160  # of the window around the hole, samples
_SSIM_MARGIN = 16  # more than the window's half
_FLOW_MARGIN = 80
_FEW = 16  # samples that a picture's warping error is worth stating for

Hole = NDArray[np.bool_]


def grow(mask: Mask, by: int) -> Hole:
    """The mask's hole (128 and above), ``by`` samples larger on every side, as the filter's ``dilate``."""
    hole: NDArray[np.uint8] = (mask >= 128).astype(np.uint8)
    if by:
        hole = cv2.dilate(hole, np.ones((2 * by + 1, 2 * by + 1), np.uint8)).astype(np.uint8)
    return hole.astype(bool)


@dataclass(frozen=True)
class Motion:
    """From picture t to t + 1 of the truth, around the hole of t.

    ``at``: rows and columns of the part that was looked at; ``flow`` [h, w, 2] in samples; ``visible`` [h, w]
    where it can be trusted.
    """

    at: tuple[slice, slice]
    flow: Flow
    visible: Hole


def motions(truth: Sequence[Planes], holes: Sequence[Hole]) -> list[Motion | None]:
    """True motion between neighbours, one less than there are pictures; None where there is no hole."""
    found: list[Motion | None] = []
    for t, hole in enumerate(holes[:-1]):
        if not hole.any():
            found.append(None)
            continue
        at = _around(hole, _FLOW_MARGIN)
        now, later = (np.ascontiguousarray(truth[i][0][at]) for i in (t, t + 1))
        found.append(Motion(at, *optical_flow.motion(now, later)))
    return found


def score(
    result: Sequence[Planes],
    truth: Sequence[Planes],
    holes: Sequence[Hole],
    moved: Sequence[Motion | None],
) -> dict[str, Any]:
    """All scores of :data:`NAMES`, and ``frames``: psnr_y, ssim, vmaf, warp of each picture (none: no hole).

    Pictures without a hole count nowhere; when there is none with one, the scores are None.
    """
    seen = [t for t, hole in enumerate(holes) if hole.any()]
    frames: list[dict[str, float]] = [{} for _ in holes]
    squares, colours = [], []
    for t in seen:
        at = _around(holes[t], _SSIM_MARGIN)
        hole = holes[t][at]
        got, real = result[t][0][at], truth[t][0][at]
        error = (got.astype(np.float32) - real)[hole] ** 2
        squares.append((float(error.sum(dtype=np.float64)), error.size))
        frames[t]["psnr_y"] = _psnr(float(error.mean(dtype=np.float64)))
        frames[t]["ssim"] = float(_ssim(got, real)[hole].mean())
        rows, columns = (slice(s.start // 2, s.stop // 2) for s in at)
        small = hole[::2, ::2] | hole[1::2, ::2] | hole[::2, 1::2] | hole[1::2, 1::2]
        errors = [
            (result[t][i][rows, columns].astype(np.float32) - truth[t][i][rows, columns])[small] ** 2
            for i in (1, 2)
        ]
        colours.append(_psnr(float(np.mean(errors))))
    for t, motion in enumerate(moved):
        if motion is None:
            continue
        where = holes[t][motion.at] & motion.visible
        if where.sum() >= _FEW:
            returned = moved_back(result[t + 1][0][motion.at].astype(np.float32), motion.flow)
            frames[t]["warp"] = float(((result[t][0][motion.at] - returned)[where] ** 2).mean())
    if seen:
        for t, value in zip(seen, _vmaf(result, truth, holes, seen), strict=True):
            frames[t]["vmaf"] = value

    def mean(name: str) -> float | None:
        values = [frame[name] for frame in frames if name in frame]
        return float(np.mean(values)) if values else None

    total = sum(n for _, n in squares)
    return {
        "psnr_y": mean("psnr_y"),
        "psnr_y_all": _psnr(sum(s for s, _ in squares) / total) if total else None,
        "psnr_uv": float(np.mean(colours)) if colours else None,
        "ssim": mean("ssim"),
        "vmaf": mean("vmaf"),
        "warp": mean("warp"),
        "frames": [{key: round(v, 4) for key, v in frame.items()} for frame in frames],
    }


def _around(hole: Hole, margin: int) -> tuple[slice, slice]:
    """Rows and columns of the hole and so many samples around it: even numbers, inside the picture (even)."""
    found = []
    for used in (hole.any(1), hole.any(0)):
        where = np.flatnonzero(used)
        low, high = max(int(where[0]) - margin, 0) // 2 * 2, min(int(where[-1]) + 1 + margin, used.size)
        found.append(slice(low, (high + 1) // 2 * 2))
    return found[0], found[1]


def window(holes: Sequence[Hole], seen: Sequence[int]) -> list[tuple[int, int, int, int]]:
    """(left, top, width, height) around the hole of each picture in ``seen``: even, one size, inside."""
    height, width = holes[0].shape
    boxes = []
    for t in seen:
        rows, columns = np.flatnonzero(holes[t].any(1)), np.flatnonzero(holes[t].any(0))
        boxes.append((int(columns[0]), int(rows[0]), int(columns[-1]) + 1, int(rows[-1]) + 1))

    def side(low: int, high: int, whole: int) -> int:
        longest = max(b[high] - b[low] for b in boxes)
        return min(max(longest + 2 * _VMAF_MARGIN, _VMAF_LEAST), whole) // 2 * 2

    w, h = side(0, 2, width), side(1, 3, height)
    found = []
    for box in boxes:
        x = min(max((box[0] + box[2] - w) // 2, 0), width - w) // 2 * 2
        y = min(max((box[1] + box[3] - h) // 2, 0), height - h) // 2 * 2
        found.append((x, y, w, h))
    return found


def _vmaf(
    result: Sequence[Planes], truth: Sequence[Planes], holes: Sequence[Hole], seen: Sequence[int]
) -> list[float]:
    boxes = window(holes, seen)
    w, h = boxes[0][2:]
    with tempfile.TemporaryDirectory(prefix="clarivid-inpaint-") as name:
        work = Path(name)
        for file, pictures in (("result.yuv", result), ("truth.yuv", truth)):
            with (work / file).open("wb") as out:
                for t, (x, y, _, _) in zip(seen, boxes, strict=True):
                    for plane, shift in zip(pictures[t], (0, 1, 1), strict=True):
                        rows = slice(y >> shift, (y + h) >> shift)
                        out.write(plane[rows, x >> shift : (x + w) >> shift].tobytes())
        raw = ["-f", "rawvideo", "-pix_fmt", "yuv420p", "-s", f"{w}x{h}", "-r", "25"]
        command = [clips.encoder(), "-nostdin", "-hide_banner", "-loglevel", "error"]
        command += [*raw, "-i", "result.yuv", *raw, "-i", "truth.yuv", "-lavfi"]
        command += ["libvmaf=log_fmt=json:log_path=v.json:model=version=vmaf_v0.6.1", "-f", "null", "-"]
        done = subprocess.run(command, cwd=work, capture_output=True, text=True, check=False)
        if done.returncode:
            raise ToolError(f"cannot compute VMAF of {w}x{h}: {last_line(done.stderr)}")
        log = json.loads((work / "v.json").read_text("utf-8"))
    return [float(frame["metrics"]["vmaf"]) for frame in log["frames"]]


def _psnr(square: float) -> float:
    return CAP if square <= 255**2 / 10 ** (CAP / 10) else float(10 * np.log10(255**2 / square))


def _ssim(a: NDArray[np.uint8], b: NDArray[np.uint8]) -> NDArray[np.float32]:
    """The map of SSIM, [H, W]."""
    x, y = a.astype(np.float32), b.astype(np.float32)

    def blur(plane: NDArray[np.float32]) -> NDArray[np.float32]:
        return np.asarray(
            cv2.GaussianBlur(plane, (11, 11), 1.5, borderType=cv2.BORDER_REFLECT_101), np.float32
        )

    mx, my = blur(x), blur(y)
    vx, vy, both = blur(x * x) - mx * mx, blur(y * y) - my * my, blur(x * y) - mx * my
    c1, c2 = (0.01 * 255) ** 2, (0.03 * 255) ** 2
    ratio = (2 * mx * my + c1) * (2 * both + c2) / ((mx * mx + my * my + c1) * (vx + vy + c2))
    return ratio.astype(np.float32)
