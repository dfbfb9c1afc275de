# SPDX-License-Identifier: BSD-2-Clause
"""The gate of benchmarks/sr_quality.py: when it passes and when it does not."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest


@pytest.fixture(scope="module")
def bench(root: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location("sr_quality", root / "benchmarks" / "sr_quality.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def row(clip: str, psnr: float, vmaf: float, kind: str = "game", crf: int = 23) -> dict[str, Any]:
    gain = {"psnr_y": psnr, "ssim": 0.01, "vmaf": vmaf, "vmaf_neg": vmaf}
    return {"clip": clip, "kind": kind, "codec": "x264", "crf": crf, "gain": gain}


@pytest.mark.parametrize(
    ("gains", "passed"),
    [
        ([(0.7, 4.0), (1.0, 3.0)], True),
        ([(0.6, 9.0), (0.9, 9.0)], False),  # mean PSNR
        ([(2.0, 2.0), (2.0, 3.9)], False),  # mean VMAF
        ([(3.0, 9.0), (-0.11, 9.0)], False),  # one clip below Lanczos
        ([(3.0, 9.0), (-0.09, 9.0)], True),
    ],
)
def test_the_gate_needs_both_means_and_every_clip(
    bench: ModuleType, gains: list[tuple[float, float]], passed: bool
) -> None:
    summary = bench.summarise([row(f"clip{i}", *gain) for i, gain in enumerate(gains)])
    assert summary["game"]["gate_passed"] is passed


def test_a_clip_counts_once_however_many_rates_it_has(bench: ModuleType) -> None:
    rows = [row("many", 0.0, 0.0, crf=crf) for crf in (18, 23, 28)] + [row("one", 2.0, 8.0)]
    summary = bench.summarise(rows)
    assert summary["game"]["mean"]["psnr_y"] == pytest.approx(1.0)
    assert summary["game"]["worst_clip"] == "many"


def test_each_kind_is_judged_by_itself(bench: ModuleType) -> None:
    summary = bench.summarise([row("a", 2.0, 8.0), row("b", 0.1, 8.0, kind="natural")])
    assert summary["game"]["gate_passed"]
    assert not summary["natural"]["gate_passed"]
