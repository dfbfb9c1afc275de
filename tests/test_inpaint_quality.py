# SPDX-License-Identifier: BSD-2-Clause
"""benchmarks/inpaint_quality.py: its gate, and how it shows a picture to a net."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

pytest.importorskip("torch")
pytest.importorskip("imageio_ffmpeg")


@pytest.fixture(scope="module")
def bench(root: Path) -> ModuleType:
    sys.path.insert(0, str(root / "benchmarks"))
    spec = importlib.util.spec_from_file_location(
        "inpaint_quality", root / "benchmarks" / "inpaint_quality.py"
    )
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # dataclasses look their module up
    spec.loader.exec_module(module)
    sys.path.pop(0)
    return module


@pytest.mark.parametrize(
    ("psnr", "ssim", "passed"), [(22.0, 0.62, True), (21.0, 0.62, False), (22.0, 0.59, False)]
)
def test_the_gate_needs_both_scores_against_both_rivals(
    bench: ModuleType, psnr: float, ssim: float, passed: bool
) -> None:
    score = {
        "telea": {"psnr_y": 20.0, "ssim": 0.60},
        "ns": {"psnr_y": 21.5, "ssim": 0.58},
        "net": {"psnr_y": psnr, "ssim": ssim},
    }
    rows = [score] * 3
    assert bench.gate(bench.summarise(rows, list(score))) is passed


def test_a_net_is_shown_nothing_of_the_hole(bench: ModuleType) -> None:
    rng = np.random.default_rng(0)
    y, u, v = (rng.integers(16, 236, (n, 2 * n), np.uint8) for n in (96, 48, 48))
    hole = np.zeros((96, 192), bool)
    hole[20:60, 40:100] = True
    other = [np.where(hole[::s, ::s], 255, plane).astype(np.uint8) for plane, s in ((y, 1), (u, 2), (v, 2))]
    for size in ((96, 48), (64, 32)):
        a = bench.fold(bench.Case("a", (y, u, v), hole), size)
        b = bench.fold(bench.Case("b", tuple(other), hole), size)
        assert a.shape == (1, 7, size[1], size[0])
        assert np.array_equal(a, b)
        assert not a[:, :6][:, :, a[0, 6] > 0].any()
        assert abs(float(a[0, 6].mean()) - float(hole.mean())) < 0.05
