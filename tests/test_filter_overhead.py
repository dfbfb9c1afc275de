# SPDX-License-Identifier: BSD-2-Clause
"""benchmarks/bench_filter_overhead.py: its arithmetic, and that it runs."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

import filter_tools


@pytest.fixture(scope="module")
def bench(root: Path) -> ModuleType:
    sys.path.insert(0, str(root / "benchmarks"))
    try:
        import bench_filter_overhead
    finally:
        sys.path.pop(0)
    return bench_filter_overhead


def test_start_up_is_not_counted_as_a_frames_cost(bench: ModuleType) -> None:
    # One second to start, 0.1 s (0.15 s of processor time) a frame.
    short, long = bench.Run(1.2, 0.3, 100.0), bench.Run(2.2, 1.8, 120.0)
    cost = bench.per_frame(short, long, 10)
    assert (cost.wall_ms, cost.cpu_ms) == (pytest.approx(100), pytest.approx(150))
    assert cost.start_ms == pytest.approx(1000)
    assert cost.peak_mib == 120


def test_the_filters_own_cost_is_what_inference_and_ffmpeg_do_not_explain(bench: ModuleType) -> None:
    costs = {
        "bare": [bench.Cost(100, 200, 0, 1), bench.Cost(200, 400, 0, 1), bench.Cost(110, 200, 0, 1)],
        "filter": [bench.Cost(104, 207, 0, 1), bench.Cost(204, 407, 0, 1), bench.Cost(114, 207, 0, 1)],
        "no_filter": [bench.Cost(1, 1, 0, 1)] * 3,
    }
    row = bench.summarise("net", "openvino", 2, "fp32", costs)
    assert row["own"]["wall_ms"] == pytest.approx(3)  # in each repetition, though they differ by 100 ms
    assert row["own"]["cpu_ms"] == pytest.approx(6)
    assert row["own"]["cpu_percent"] == pytest.approx(3)


def test_it_runs_and_writes_what_it_measured(root: Path, tmp_path: Path) -> None:
    filter_tools.built()
    out = tmp_path / "overhead.json"
    script = str(root / "benchmarks" / "bench_filter_overhead.py")
    options = ["--quick", "--size", "96x64", "--threads", "1", "--precision", "fp32", "--out", str(out)]
    done = subprocess.run([sys.executable, script, *options], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "gate, at most 3 %" in done.stdout
    record = json.loads(out.read_text())
    assert record["machine"]["cores"] >= 1
    assert [(row["model"], row["backend"]) for row in record["rows"]] == [
        (model, backend) for model in ("game_x2", "lowrank_v1") for backend in ("openvino", "cpu")
    ]
    for row in record["rows"]:
        for way in ("bare", "filter", "no_filter"):
            assert row[way]["peak_mib"] > 10
        assert row["bare"]["cpu_ms"] > 0
        assert "start_ms" in row["filter"]  # a difference of two times: its sign is noise


def test_an_unknown_model_is_one_sentence_and_a_non_zero_exit(root: Path) -> None:
    script = str(root / "benchmarks" / "bench_filter_overhead.py")
    command = [sys.executable, script, "--quick", "--model", "no_such_model"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert done.stderr.startswith('bench_filter_overhead: error: Model "no_such_model" is not in')
