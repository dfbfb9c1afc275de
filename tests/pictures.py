# SPDX-License-Identifier: BSD-2-Clause
"""Pictures that are made of formulas, and behave before encoders as real ones do."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Frame = tuple[NDArray[np.uint8], ...]


def noisy_pan(frames: int = 10, width: int = 320, height: int = 192) -> list[Frame]:
    """Shapes, edges and fine texture that move by two samples a frame, under a little noise; 4:2:0."""
    rng = np.random.default_rng(0)
    y, x = np.mgrid[0:height, 0 : width + 2 * frames].astype(np.float32)
    art = 110 + 50 * np.sin(x / 17 + y / 29) + 25 * ((x // 24 + y // 18) % 2)
    art += 14 * np.sin(x * 1.1) * np.sin(y * 0.9) * (x > width // 2)
    grey = np.full((height // 2, width // 2), 128, np.uint8)
    luma = (art[:, 2 * t : 2 * t + width] + 1.5 * rng.standard_normal((height, width)) for t in range(frames))
    return [(np.clip(plane, 16, 235).astype(np.uint8), grey, grey) for plane in luma]


def packed(frames: list[Frame]) -> bytes:
    """The frames as raw video."""
    return b"".join(plane.tobytes() for frame in frames for plane in frame)
