# SPDX-License-Identifier: BSD-2-Clause
"""All scores of an encode against the untouched source, from one pass over both.

Luma unless said otherwise; means over frames, except XPSNR, which FFmpeg's filter takes over the clip.
docs/evaluation.md says what each one is for.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

from clarivid.clips import encoder as program
from clarivid.errors import InputError, ToolError
from clarivid.quality import VMAF_MODELS
from clarivid.rd.tools import Tools

# libvmaf's MS-SSIM halves the picture four times and then lays an 11x11 window: 11 * 16.
MIN_SIDE_MS_SSIM = 176
MIN_SIDE = 64  # SVT-AV1's least; VMAF would do with less.
PERFECT_DB = 100.0  # What stands for infinite XPSNR.


@dataclass(frozen=True)
class Score:
    """``top``: what a perfect picture has; ``digits``: shown."""

    label: str
    unit: str
    top: float
    digits: int
    what: str


SCORES = {
    "vmaf": Score("VMAF", "", 100, 2, "VMAF v0.6.1; rewards sharpening"),
    "vmaf_neg": Score("VMAF-NEG", "", 100, 2, "VMAF v0.6.1neg; gains from sharpening are clipped"),
    "ssim": Score("SSIM", "", 1, 5, "SSIM as its authors compute it: at about 256 lines"),
    "ssim_full": Score("SSIM full", "", 1, 5, "SSIM at full resolution (FFmpeg's ssim filter)"),
    "ms_ssim": Score("MS-SSIM", "", 1, 5, "multi-scale SSIM"),
    "psnr_y": Score("PSNR-Y", "dB", 60, 3, "PSNR of luma; 60 at most for 8 bit"),
    "psnr_uv": Score("PSNR-UV", "dB", 60, 3, "PSNR of chroma, mean of U and V: nobody else looks at it"),
    "xpsnr": Score("XPSNR", "dB", PERFECT_DB, 3, "PSNR weighted by how visible an error is (luma)"),
}

_POOLED = {"vmaf": "vmaf", "vmaf_neg": "vmaf_neg", "ssim": "float_ssim", "ms_ssim": "float_ms_ssim"}


def score(
    distorted: Path, reference: Path, frames: int, folder: Path, tools: Tools, names: Collection[str] = SCORES
) -> dict[str, float]:
    """Scores by their names in :data:`SCORES`; frames are paired by their number.

    :param folder: a scratch folder.
    :param names: which; ``ms_ssim`` takes two thirds of the time, the others come nearly together.

    Raises :class:`ToolError` when ffmpeg fails or the number of frames is not ``frames``.
    """
    align = "settb=1/25,setpts=N,split=3"
    features = "feature=name=psnr|name=float_ssim" + ("|name=float_ms_ssim" if "ms_ssim" in names else "")
    graph = (
        f"[0:v]{align}[a0][a1][a2];[1:v]{align}[b0][b1][b2];"
        f"[a0][b0]libvmaf=log_fmt=json:log_path=scores.json:model={VMAF_MODELS}:{features}:n_threads=0[v];"
        "[a1][b1]xpsnr[x];[a2][b2]ssim[s]"
    )
    command = [program(), "-nostdin", "-hide_banner", "-nostats", "-loglevel", "info"]
    for path in (distorted, reference):
        command += ["-threads", "1", "-i", str(path.resolve())]
    command += ["-filter_complex_threads", "1", "-filter_complex", graph]
    command += ["-map", "[v]", "-map", "[x]", "-map", "[s]", "-f", "null", "-"]
    _, text = tools.run(command, f"cannot score {distorted.name}", cwd=folder)
    log = json.loads((folder / "scores.json").read_text("utf-8"))
    if len(log["frames"]) != frames:
        raise ToolError(f"{distorted.name} was scored over {len(log['frames'])} frames instead of {frames}")
    pooled = {name: float(entry["mean"]) for name, entry in log["pooled_metrics"].items()}
    xpsnr = re.search(r"XPSNR\s+y: (\S+)", text)
    ssim = re.search(r"SSIM Y:(\S+)", text)
    if xpsnr is None or ssim is None:
        raise ToolError(f"ffmpeg printed no {'SSIM' if xpsnr else 'XPSNR'} for {distorted.name}")
    found = {name: pooled[key] for name, key in _POOLED.items() if key in pooled}
    found |= {
        "ssim_full": float(ssim[1]),
        "psnr_y": pooled["psnr_y"],
        "psnr_uv": (pooled["psnr_cb"] + pooled["psnr_cr"]) / 2,
        "xpsnr": min(float(xpsnr[1]), PERFECT_DB),
    }
    if not all(math.isfinite(value) for value in found.values()):
        raise ToolError(f"{distorted.name} has a score that is no number: {found}")
    return {name: found[name] for name in SCORES if name in found}


def check_size(width: int, height: int, name: str, names: Collection[str] = SCORES) -> None:
    """Raises :class:`InputError` when a picture is too small for the scores."""
    if "ms_ssim" in names and min(width, height) < MIN_SIDE_MS_SSIM:
        raise InputError(
            f"{name} has {width}x{height} samples; MS-SSIM needs {MIN_SIDE_MS_SSIM} in both directions: "
            "take a larger clip, or leave ms_ssim out of the scores"
        )
    if min(width, height) < MIN_SIDE:
        raise InputError(f"{name} has {width}x{height} samples; {MIN_SIDE} in both directions are the least")
