# SPDX-License-Identifier: BSD-2-Clause
"""A tiny pack of drawn crops for tests of the prefilter's training."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw

from clarivid.data import lowrank

Bytes = npt.NDArray[np.uint8]


def clip(seed: int, size: int = lowrank.CROP, moving: bool = True, noise: float = 0.0) -> Bytes:
    """Luma [3,size,size] of soft texture and hard edges, moving by (3, -1) samples a frame."""
    rng = np.random.default_rng(seed)
    wide = size + 32
    scale = int(rng.integers(3, 12))
    image = Image.fromarray(rng.integers(40, 216, (wide // scale, wide // scale), np.uint8))
    image = image.resize((wide, wide), Image.Resampling.BICUBIC)
    draw = ImageDraw.Draw(image)
    for _ in range(int(rng.integers(2, 40))):
        x, y, r = rng.integers(0, wide), rng.integers(0, wide), rng.integers(3, 30)
        draw.ellipse((x, y, x + r, y + r // 2 + 3), int(rng.integers(16, 236)))
    picture = np.asarray(image, float)
    frames = []
    for t in range(lowrank.FRAMES):
        x, y = (16 - 3 * t, 16 + t) if moving else (16, 16)
        frame = picture[y : y + size, x : x + size]
        frames.append(np.clip(np.round(frame + noise * rng.standard_normal(frame.shape)), 0, 255))
    return np.stack(frames).astype(np.uint8)


def crops(count: int, seed: int) -> lowrank.Crops:
    """Half natural and half noisy, every third one still."""
    rng = np.random.default_rng(seed)
    y = np.stack([clip(seed + i, moving=i % 3 > 0, noise=3.0 * (i % 2)) for i in range(count)])
    half = lowrank.CROP // 2
    codes = rng.integers(100, 156, (2, count, 1, 1, 1), np.uint8)
    u, v = (np.ascontiguousarray(np.broadcast_to(c, (count, lowrank.FRAMES, half, half))) for c in codes)
    kinds = ["noisy" if i % 2 else "natural" for i in range(count)]
    return lowrank.Crops(y, u, v, y[:, 0].copy(), np.ones(count, bool), kinds, ["drawn"] * count)


def pack(training: int, held_out: int) -> lowrank.LowrankPack:
    """A pack in memory."""
    source = {"source": "none", "version": "1", "kind": "natural", "files": 1, "licence": "CC0-1.0"}
    manifest = {"schema": lowrank.SCHEMA, "seed": 0, "sources": [source], "crops": []}
    return lowrank.LowrankPack(crops(training, 0), crops(held_out, 1000), manifest)


def write(path: Path, training: int = 6, held_out: int = 3) -> Path:
    """A pack in a file."""
    lowrank.save(pack(training, held_out), path)
    return path
