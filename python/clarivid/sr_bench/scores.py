# SPDX-License-Identifier: BSD-2-Clause
"""How near an enlarged clip comes to its reference, and how steady it is.

=========== ======================================================================================= ======
score       what it is                                                                              better
=========== ======================================================================================= ======
psnr_y      PSNR of luma, dB, mean over frames                                                       more
psnr_uv     PSNR of chroma, mean of U's and V's                                                      more
ssim        SSIM of luma (libvmaf's)                                                                 more
vmaf        VMAF v0.6.1                                                                              more
vmaf_neg    VMAF v0.6.1neg                                                                           more
edge        root mean square error of luma where the reference has edges, codes                      less
texture     1 - contrast comparison of the fine detail away from edges, 0..1                         less
flicker     root mean square of how the error changes along the motion, codes                        less
warp        root mean square of how the picture itself changes along the motion, codes               less
=========== ======================================================================================= ======

The first five are libvmaf's (:mod:`clarivid.rd.scores`). The others, on luma in codes of 8 bit:

* ``edge`` follows the edge PSNR of ITU-T J.144 (2004): the error where the gradient of the *reference*
  exceeds a threshold. Ours: Sobel's magnitude of at least :data:`EDGE` codes a sample; left as an error in
  codes, not as dB.
* ``texture`` takes the detail finer than a Gaussian of sigma 2 from both pictures, and compares its local
  deviation s by SSIM's contrast term, (2 s t + C) / (s² + t² + C) (Wang et al. 2004, eq. 9, window 11x11,
  sigma 1.5, C = 1 code²), where the reference has texture: a deviation of at least :data:`TEXTURE` codes, no
  edge within the window. Too soft and too sharp cost alike; *where* the detail is does not matter.
* ``warp`` is the warping error of Lai et al., "Learning Blind Video Temporal Consistency" (2018), eq. 5
  and 6: the picture at t against the one at t + 1 brought back by the motion, where the motion can be
  trusted. Blur lowers it: what has no detail cannot flicker.
* ``flicker`` is the same of the *error* (result less reference): what changes along the motion beyond what
  the source itself changes, as Fan et al. (JVT-E070, 2002) subtract the original's own change. The reference
  has 0, and blur does not hide it.

The motion is that of the reference (OpenCV's DIS), where it is the same forth and back (Ruder et al. 2016).
Stills have neither ``flicker`` nor ``warp``; a reference without edges or texture has none of these.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from clarivid import optical_flow
from clarivid.optical_flow import moved_back

VERSION = 1  # part of what results are kept under: raise it when a score changes its meaning
EDGE = 16.0  # codes a sample
TEXTURE = 1.0  # codes
_C = 1.0  # codes squared
_FEW = 1e-3  # share of a picture below which an error of its edges or textures is not stated

Luma = NDArray[np.float32]
NAMES = ("psnr_y", "psnr_uv", "ssim", "vmaf", "vmaf_neg", "edge", "texture", "flicker", "warp")
LESS_IS_BETTER = frozenset({"edge", "texture", "flicker", "warp"})
LIBVMAF = ("psnr_y", "psnr_uv", "ssim", "vmaf", "vmaf_neg")


@dataclass(frozen=True)
class Motion:
    """From picture t to t + 1: ``flow`` [H,W,2] in samples, ``visible`` [H,W] where it can be trusted."""

    flow: NDArray[np.float16]
    visible: NDArray[np.bool_]


class Judge:
    """What a clip's results are compared with: edges, textures and motion of its reference, found once."""

    def __init__(self, reference: Sequence[Luma]) -> None:
        """``reference``: luma of each picture, codes of 8 bit (10 bits divided by 4)."""
        self._reference = list(reference)
        self._edges = [edges(picture) for picture in reference]
        self._details = [detail(picture) for picture in reference]
        self._textures = [
            (deviation >= TEXTURE) & ~_near(edge)
            for deviation, edge in zip(self._details, self._edges, strict=True)
        ]
        self._motions = [motion(a, b) for a, b in itertools.pairwise(reference)]

    def score(self, result: Sequence[Luma]) -> dict[str, float | None]:
        """``edge``, ``texture``, ``flicker`` and ``warp``; None where there is nothing to judge."""
        errors = [got - real for got, real in zip(result, self._reference, strict=True)]
        soft = []
        for got, real, where in zip(result, self._details, self._textures, strict=True):
            if where.mean() >= _FEW:
                s, t = detail(got)[where], real[where]
                soft.append(float(1 - ((2 * s * t + _C) / (s * s + t * t + _C)).mean()))
        outline = [
            float(np.square(error[where]).mean(dtype=np.float64))
            for error, where in zip(errors, self._edges, strict=True)
            if where.mean() >= _FEW
        ]
        return {
            "edge": float(np.sqrt(np.mean(outline))) if outline else None,
            "texture": float(np.mean(soft)) if soft else None,
            "flicker": self._change(errors),
            "warp": self._change(result),
        }

    def _change(self, pictures: Sequence[Luma]) -> float | None:
        squares = [
            float(np.square(now - moved_back(later, moved.flow))[moved.visible].mean(dtype=np.float64))
            for now, later, moved in zip(pictures, pictures[1:], self._motions, strict=False)
            if moved.visible.any()
        ]
        return float(np.sqrt(np.mean(squares))) if squares else None


def edges(picture: Luma) -> NDArray[np.bool_]:
    """Where the slope, by Sobel's operator, is at least :data:`EDGE` codes a sample."""
    x, y = (cv2.Sobel(picture, cv2.CV_32F, dx, 1 - dx, ksize=3, scale=1 / 8) for dx in (1, 0))
    found: NDArray[np.bool_] = np.asarray(x * x + y * y) >= EDGE**2
    return found


def detail(picture: Luma) -> Luma:
    """Local deviation of what is finer than a Gaussian of sigma 2, codes."""
    fine = picture - np.asarray(cv2.GaussianBlur(picture, (0, 0), 2.0), np.float32)
    return np.sqrt(np.asarray(cv2.GaussianBlur(fine * fine, (11, 11), 1.5), np.float32))


def motion(now: Luma, later: Luma) -> Motion:
    """The motion from one picture to the next."""
    a, b = (np.clip(picture + 0.5, 0, 255).astype(np.uint8) for picture in (now, later))
    flow, visible = optical_flow.motion(a, b)
    return Motion(flow.astype(np.float16), visible)


def _near(edge: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Edges and what lies within a window of them."""
    return np.asarray(cv2.dilate(edge.astype(np.uint8), np.ones((11, 11), np.uint8))).astype(bool)
