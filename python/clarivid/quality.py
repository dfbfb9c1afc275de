# SPDX-License-Identifier: BSD-2-Clause
"""Scores of a clip against its reference, by libvmaf.

=========== ======================================================================= ==========
score       what it is                                                              range
=========== ======================================================================= ==========
psnr_y      PSNR of luma in dB, mean over frames (libvmaf caps it at 60 for 8 bit)   0..60
ssim        SSIM of luma (Wang et al. 2004; libvmaf's float_ssim), mean over frames  0..1
vmaf        VMAF, model vmaf_v0.6.1, mean over frames                                0..100
vmaf_neg    VMAF-NEG, model vmaf_v0.6.1neg: no gain from sharpening                  0..100
=========== ======================================================================= ==========
"""

from __future__ import annotations

import json
import os
import subprocess
import tempfile
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from clarivid.clips import encoder
from clarivid.errors import InputError, ToolError, last_line

# For the filter libvmaf: the usual model, and the one that sharpening does not please.
VMAF_MODELS = r"version=vmaf_v0.6.1\\:name=vmaf|version=vmaf_v0.6.1neg\\:name=vmaf_neg"
# A score -> its name in libvmaf's logs.
POOLED = {"psnr_y": "psnr_y", "ssim": "float_ssim", "vmaf": "vmaf", "vmaf_neg": "vmaf_neg"}


@dataclass(frozen=True)
class Scores:
    """Means over ``frames`` frames; see the module's table."""

    psnr_y: float
    ssim: float
    vmaf: float
    vmaf_neg: float
    frames: int

    def to_dict(self) -> dict[str, float]:
        """As a dictionary, for JSON."""
        return asdict(self)


def compare(distorted: Path, reference: Path) -> Scores:
    """Score ``distorted`` against ``reference``: any files that ffmpeg reads, of the same size and length.

    Frames are paired by their number, whatever their times say.

    Raises :class:`InputError` when a file is missing or sizes or lengths differ, :class:`ToolError` when
    ffmpeg fails.
    """
    for path in (distorted, reference):
        if not path.is_file():
            raise InputError(f"{path} does not exist")
    threads = os.cpu_count() or 1
    with tempfile.TemporaryDirectory(prefix="clarivid-quality-") as work:
        align = "settb=1/25,setpts=N"
        graph = (
            f"[0:v]{align}[a];[1:v]{align}[b];[a][b]libvmaf=log_fmt=json:log_path=scores.json:"
            f"model={VMAF_MODELS}:feature=name=psnr|name=float_ssim:n_threads={threads}:shortest=0"
        )
        command = [encoder(), "-nostdin", "-hide_banner", "-loglevel", "info"]
        for path in (distorted, reference):
            command += ["-i", str(path.resolve())]
        command += ["-filter_complex", graph, "-f", "null", "-"]
        done = subprocess.run(command, cwd=work, capture_output=True, text=True, check=False)
        log = Path(work) / "scores.json"
        if done.returncode or not log.is_file():
            if "must match" in done.stderr.lower():
                raise InputError(f"{distorted} and {reference} differ in size or pixel format")
            raise ToolError(f"cannot score {distorted}: {last_line(done.stderr)}")
        scores: dict[str, Any] = json.loads(log.read_text("utf-8"))
    counts = [frame_count(path) for path in (distorted, reference)]
    if counts[0] != counts[1]:
        raise InputError(f"{distorted} has {counts[0]} frames, {reference} has {counts[1]}")
    pooled = scores["pooled_metrics"]
    values = {name: float(pooled[key]["mean"]) for name, key in POOLED.items()}
    return Scores(frames=len(scores["frames"]), **values)


def frame_count(path: Path) -> int:
    """Number of frames that decode. Raises :class:`ToolError`."""
    command = [encoder(), "-nostdin", "-hide_banner", "-loglevel", "error", "-i", str(path)]
    command += ["-map", "0:v:0", "-fps_mode", "passthrough", "-f", "framecrc", "-"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise ToolError(f"cannot read {path}: {last_line(done.stderr)}")
    return sum(1 for line in done.stdout.splitlines() if line and not line.startswith("#"))
