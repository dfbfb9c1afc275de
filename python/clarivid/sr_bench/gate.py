# SPDX-License-Identifier: BSD-2-Clause
"""What a tier of models promises over Lanczos, judged on :func:`clarivid.sr_bench.report.gains`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from clarivid.clips import KINDS
from clarivid.sr_bench.report import HARD, QUOTIENTS, TITLES, Gain, text_of

# Of the mean over the kinds; of an error, the most that its quotient may be.
MEANS: dict[str, dict[str, float]] = {
    "fidelity": {"psnr_y": 1.3, "vmaf": 5.0, "vmaf_neg": 4.5, "flicker": 1.0},
    "fast": {"psnr_y": 1.0, "flicker": 1.0},
    "perceptual": {"flicker": 1.2, "texture": 1.0},
}
# No kind and no clip below Lanczos in these.
EVERYWHERE: dict[str, tuple[str, ...]] = {
    "fidelity": ("psnr_y", "ssim", "vmaf_neg"),
    "fast": ("psnr_y", "ssim", "vmaf_neg"),
    "perceptual": (),
}
TIERS = tuple(MEANS)


@dataclass(frozen=True)
class Check:
    """One promise: ``passed`` is None when it was not measured."""

    sentence: str
    passed: bool | None


def gate(tier: str, gained: Mapping[str, Any], left_out: Sequence[str] = ()) -> list[Check]:
    """All promises of a tier, in the order of the report; ``left_out`` are sentences on missing clips."""
    checks = [Check(sentence, None) for sentence in left_out]
    missing = [kind for kind in KINDS if kind not in gained["kinds"]]
    if missing:
        checks.append(Check(f"clips of every kind: none of {', '.join(missing)}", None))
    for score, bar in MEANS[tier].items():
        value = gained["mean"][score] if gained["mean"] is not None else None
        name = TITLES[score][0].partition(",")[0]
        if value is None:
            checks.append(Check(f"{name}, mean of the kinds, was not measured", None))
        elif score in QUOTIENTS:
            sentence = f"{name}, mean of the kinds: {value:.3f} of Lanczos's, at most {bar:g}"
            checks.append(Check(sentence, value <= bar))
        else:
            shown = text_of(gained["mean"], score)
            checks.append(Check(f"{name}, mean of the kinds: {shown}, at least {bar:+g}", value >= bar))
    for score in EVERYWHERE[tier]:
        checks += [_nowhere_below(what, gained[f"{what}s"], score) for what in ("kind", "clip")]
    return checks


def _nowhere_below(what: str, table: Mapping[str, Gain], score: str) -> Check:
    known = {name: value for name, gain in table.items() if (value := gain[score]) is not None}
    name = TITLES[score][0].partition(",")[0]
    if not known:
        return Check(f"{name} of every {what} was not measured", None)
    below = sorted((name for name in known if known[name] < 0), key=lambda n: known[n])
    worst = min(known, key=lambda n: known[n])
    least = f"{worst} {text_of(table[worst], score)}"
    if not below:
        return Check(f"{name}: no {what} below Lanczos (least: {least})", True)
    listed = ", ".join(f"{n} {text_of(table[n], score)}" for n in below)
    return Check(f"{name}: {len(below)} of {len(known)} {what}s below Lanczos ({listed})", False)


__all__ = ["EVERYWHERE", "HARD", "MEANS", "TIERS", "Check", "gate"]
