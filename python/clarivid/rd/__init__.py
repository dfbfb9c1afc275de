# SPDX-License-Identifier: BSD-2-Clause
"""Rate-distortion: what a filter before the encoder saves, at equal quality.

    from clarivid.rd import Encoder, Plan, Source, Variant, bd_table, lowrank, run
    plan = Plan((Source("dog", path),), (Encoder("x264"), Encoder("svtav1", "8")), (lowrank(strength=0.5),))
    results = run(plan, progress=lambda done, total, note: print(done, total, note))
    results.mean("lowrank_pre-0.5", "vmaf_neg"), bd_table(results)

docs/evaluation.md says how it measures and why.
"""

from __future__ import annotations

from clarivid.rd.bd import Delta, bd_rate
from clarivid.rd.plan import RIVALS, Encoder, Plan, Source, Variant, lowrank
from clarivid.rd.results import Cell, Guard, Point, Results, bd_table
from clarivid.rd.run import run
from clarivid.rd.scores import SCORES
from clarivid.rd.store import Store

__all__ = [
    "RIVALS",
    "SCORES",
    "Cell",
    "Delta",
    "Encoder",
    "Guard",
    "Plan",
    "Point",
    "Results",
    "Source",
    "Store",
    "Variant",
    "bd_rate",
    "bd_table",
    "lowrank",
    "run",
]
