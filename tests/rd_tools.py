# SPDX-License-Identifier: BSD-2-Clause
"""Tiny clips and plans for the tests of ``clarivid rd``."""

from __future__ import annotations

import subprocess
from pathlib import Path

from clarivid import clips
from clarivid.rd import Encoder, Plan, Source, Variant
from clarivid.rd.plan import Picture

SIZE = 192  # MS-SSIM's least is 176.
FRAMES = 6
CHEAP = ("vmaf", "vmaf_neg", "ssim", "psnr_y")


def film(path: Path, *, size: str = f"{SIZE}x{SIZE}", frames: int = FRAMES, pix_fmt: str = "yuv420p") -> Path:
    """A zoom with some noise, coded by x264 as real sources are."""
    source = f"mandelbrot=s={size}:rate=25:end_scale=0.1,noise=alls=6:all_seed=1,format={pix_fmt}"
    command = [clips.encoder(), "-v", "error", "-f", "lavfi", "-i", source, "-frames:v", str(frames)]
    subprocess.run([*command, "-c:v", "libx264", "-preset", "ultrafast", "-crf", "10", str(path)], check=True)
    return path


def soften(picture: Picture) -> Picture:
    """A mild vertical blur that keeps the mean."""
    y, u, v = picture
    wide = y.astype("uint16")
    wide[1:-1] = (wide[:-2] + 6 * wide[1:-1] + wide[2:] + 4) // 8
    return wide.astype(y.dtype), u, v


def plan(source: Path, *variants: Variant, **changes: object) -> Plan:
    """One clip, x264's fastest preset, four points."""
    fields: dict[str, object] = {
        "sources": (Source("film", source, "game"),),
        "encoders": (Encoder("x264", "ultrafast"),),
        "variants": variants or (Variant("soft", apply=soften),),
        "scores": CHEAP,
        **changes,
    }
    return Plan(**fields)  # type: ignore[arg-type]
