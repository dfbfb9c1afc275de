# SPDX-License-Identifier: BSD-2-Clause
"""The true motion between two pictures, for scores in time. Needs OpenCV."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

Flow = NDArray[np.float32]
Mask = NDArray[np.bool_]


def motion(now: NDArray[np.uint8], later: NDArray[np.uint8]) -> tuple[Flow, Mask]:
    """Flow [H,W,2] (x, y) in samples from ``now`` [H,W] to ``later``, and where it can be trusted [H,W].

    DIS (Kroeger et al. 2016). Trusted is what is the same forth and back (Ruder et al. 2016,
    arXiv:1604.08610) and stays within the picture.
    """
    dis = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM)
    forth = np.asarray(dis.calc(now, later, None), np.float32)  # type: ignore[call-overload]
    back = np.asarray(dis.calc(later, now, None), np.float32)  # type: ignore[call-overload]
    returned = moved_back(back, forth)
    gap = ((forth + returned) ** 2).sum(2)
    visible = gap <= 0.01 * ((forth**2).sum(2) + (returned**2).sum(2)) + 0.5
    height, width = now.shape
    x, y = _grid(height, width)
    visible &= (x + forth[..., 0] >= 0) & (x + forth[..., 0] <= width - 1)
    visible &= (y + forth[..., 1] >= 0) & (y + forth[..., 1] <= height - 1)
    return forth, visible


def moved_back(later: NDArray[np.float32], flow: NDArray[Any]) -> NDArray[np.float32]:
    """``later`` [H,W] or [H,W,C] at every point moved by ``flow`` [H,W,2], bilinear: as it lay before."""
    x, y = _grid(*flow.shape[:2])
    moved = cv2.remap(
        later, x + flow[..., 0], y + flow[..., 1], cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE
    )
    return np.asarray(moved, np.float32)


def _grid(height: int, width: int) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    y, x = np.mgrid[0:height, 0:width].astype(np.float32)
    return x, y
