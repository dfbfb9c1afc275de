# SPDX-License-Identifier: BSD-2-Clause
"""Means over the kinds of scenes, and the promises that the filter is judged by."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from clarivid.inpaint_bench.run import Outcome
from clarivid.inpaint_bench.scores import NAMES
from clarivid.inpaint_bench.speed import Speed

OURS, ONE, NET, TELEA = "mesh_inpaint", "mesh=1x1", "net per frame", "telea"
KINDS = ("fixed", "moving", "parallax")  # "light" is shown, not judged
GAIN_DB = 3.0
WARP = 0.5
FPS = 30.0


@dataclass(frozen=True)
class Check:
    """One promise: ``passed`` is None when it was not measured."""

    sentence: str
    passed: bool | None


def means(outcomes: Sequence[Outcome]) -> dict[str, dict[str, dict[str, float | None]]]:
    """kind -> method -> score, the mean over the kind's scenes; None where a scene has none."""
    found: dict[str, dict[str, dict[str, float | None]]] = {}
    for kind in dict.fromkeys(outcome.scene.kind for outcome in outcomes):
        same = [outcome for outcome in outcomes if outcome.scene.kind == kind]
        found[kind] = {}
        for method in same[0].scores:
            found[kind][method] = {}
            for name in NAMES:
                values = [outcome.scores[method][name] for outcome in same]
                known = [value for value in values if value is not None]
                found[kind][method][name] = sum(known) / len(known) if len(known) == len(values) else None
    return found


def gate(outcomes: Sequence[Outcome], speeds: Sequence[Speed]) -> list[Check]:
    """All promises, in the order of the report."""
    table = means(outcomes)

    def value(kind: str, method: str, name: str) -> float | None:
        return table.get(kind, {}).get(method, {}).get(name)

    checks = []
    for kind in KINDS:
        ours, telea = value(kind, OURS, "psnr_y"), value(kind, TELEA, "psnr_y")
        if ours is None or telea is None:
            checks.append(Check(f"{kind}: PSNR-Y against per-frame Telea was not measured", None))
            continue
        checks.append(
            Check(
                f"{kind}: {ours - telea:+.2f} dB PSNR-Y over per-frame Telea, at least {GAIN_DB:+.1f}",
                ours - telea >= GAIN_DB,
            )
        )
    ours, one = value("parallax", OURS, "psnr_y"), value("parallax", ONE, "psnr_y")
    if ours is None or one is None:
        checks.append(Check("parallax: PSNR-Y against mesh=1x1 was not measured", None))
    else:
        checks.append(Check(f"parallax: {ours - one:+.2f} dB PSNR-Y over mesh=1x1, more than 0", ours > one))
    for kind in KINDS:
        warps = {name: value(kind, name, "warp") for name in (OURS, NET, TELEA)}
        mine, net, telea = warps[OURS], warps[NET], warps[TELEA]
        if mine is None or not net:
            checks.append(Check(f"{kind}: warping error against the net per frame was not measured", None))
            continue
        beside = f", {mine / telea:.2f} of Telea's" if telea else ""
        checks.append(
            Check(
                f"{kind}: warping error {mine:.1f}, {mine / net:.2f} of the net per frame{beside}; "
                f"at most {WARP:g} of the net's",
                mine <= WARP * net,
            )
        )
    full = [s for s in speeds if s.mesh == "16x9" and s.hole <= 0.15]
    if not full:
        checks.append(Check("speed of mesh=16x9 was not measured", None))
    else:
        slowest = min(full, key=lambda s: s.fps)
        checks.append(
            Check(
                f"{slowest.fps:.1f} fps at {slowest.size}, {slowest.threads} threads, "
                f"{100 * slowest.hole:.0f} % hole, after the first picture; at least {FPS:g}",
                slowest.fps >= FPS,
            )
        )
    lengths = [s for s in speeds if s.peak_longer is not None]
    if lengths:
        most = max(lengths, key=lambda s: (s.peak_longer or 0) - s.peak_mib)
        grown = (most.peak_longer or 0) - most.peak_mib
        checks.append(
            Check(
                f"peak memory {most.peak_mib:.0f} MiB over {most.frames} pictures, "
                f"{most.peak_longer:.0f} MiB over {2 * most.frames}; at most 2 % more",
                grown <= 0.02 * most.peak_mib,
            )
        )
    return checks
