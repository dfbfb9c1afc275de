# SPDX-License-Identifier: BSD-2-Clause
"""BD-rate that refuses to guess.

The mean difference in rate between two curves at equal quality, in per cent; negative: fewer bits
(Bjøntegaard, ITU-T VCEG-M33, 2001). The logarithm of the rate is interpolated over quality by PCHIP, as in
JCT-VC's common test conditions: between points that rise it rises. Akima's method, which Herglotz et al.
found closer on the usual curves of codecs ("The Bjøntegaard Bible", IEEE Transactions on Image Processing,
2024), overshoots where the rate falls steeply, as it does when an encoder stops coding noise; so it is the
check, not the number. The arithmetic is Herglotz's package, ``bjontegaard``.

What it says is only as good as the curves, so these are checked first:

- qualities that both curves reach are integrated over, nothing is extrapolated; when there are none, or
  when they are less than :data:`MIN_OVERLAP` of the shorter curve's, there is no number but a reason;
- quality must rise with rate; where it does not, there is no number;
- points at a score's ceiling (VMAF 100) are left out: there quality has stopped telling anything;
- the same by Akima's method: when both disagree by more than :data:`METHODS_GAP`, the curves have too few
  points to say more.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

from clarivid.rd.plan import MIN_POINTS

METHOD, SECOND_METHOD = "pchip", "akima"
MIN_OVERLAP = 0.5  # Below it most of what was measured would not count.
LOW_OVERLAP = 0.75  # bjontegaard's own threshold for a warning
METHODS_GAP = (1.0, 0.1)  # percentage points, or that share of the BD-rate, whichever is more

Curve = Sequence[tuple[float, float]]
"""(rate, quality) pairs in any order."""


@dataclass(frozen=True)
class Delta:
    """``rate``: the BD-rate in per cent, None with a reason in ``problem``.

    :param overlap: qualities that both curves reach, as a share of the shorter curve's range, 0..1.
    :param notes: what should be known about the number.
    """

    rate: float | None
    overlap: float
    problem: str = ""
    notes: tuple[str, ...] = ()


def bd_rate(anchor: Curve, test: Curve, top: float = math.inf) -> Delta:
    """BD-rate of ``test`` against ``anchor``. ``top``: the score's ceiling."""
    notes = []
    curves = []
    for name, curve in (("plain", anchor), ("the variant", test)):
        below = sorted(point for point in curve if point[1] < top - 1e-9)
        if len(below) < len(curve):
            notes.append(f"{len(curve) - len(below)} point(s) of {name} at the score's ceiling left out")
        if len(below) < MIN_POINTS:
            return Delta(None, 0.0, f"{name} has {len(below)} usable points, {MIN_POINTS} are needed")
        if any(b[1] <= a[1] or b[0] <= a[0] for a, b in pairwise(below)):
            return Delta(None, 0.0, f"quality of {name} does not rise with rate")
        curves.append(below)
    low = max(curve[0][1] for curve in curves)
    high = min(curve[-1][1] for curve in curves)
    shortest = min(curve[-1][1] - curve[0][1] for curve in curves)
    overlap = max(0.0, (high - low) / shortest)
    if overlap == 0:
        return Delta(None, 0.0, "the curves share no quality")
    if overlap < MIN_OVERLAP:
        return Delta(None, overlap, f"the curves share only {overlap:.0%} of their qualities")
    if overlap < LOW_OVERLAP:
        notes.append(f"the curves share {overlap:.0%} of their qualities")
    rate, other = (_bd_rate(curves[0], curves[1], method) for method in (METHOD, SECOND_METHOD))
    if not math.isfinite(rate):
        return Delta(None, overlap, "bjontegaard found no number")
    if abs(rate - other) > max(METHODS_GAP[0], METHODS_GAP[1] * abs(rate)):
        notes.append(f"{METHOD} says {rate:+.1f} %, {SECOND_METHOD} {other:+.1f} %: too few rate points")
    return Delta(rate, overlap, notes=tuple(notes))


def _bd_rate(anchor: Curve, test: Curve, method: str) -> float:
    from bjontegaard import bd_rate as bjontegaard

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # about overlap, which has been judged
        value: float = bjontegaard(
            [rate for rate, _ in anchor],
            [quality for _, quality in anchor],
            [rate for rate, _ in test],
            [quality for _, quality in test],
            method=method,
            require_matching_points=False,
            min_overlap=0,
        )
    return float(value)
