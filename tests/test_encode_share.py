# SPDX-License-Identifier: BSD-2-Clause
"""benchmarks/bench_encode_share.py: its arithmetic, and that it runs."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

import filter_tools


def test_shares_are_of_what_the_encoder_alone_takes(root: Path) -> None:
    sys.path.insert(0, str(root / "benchmarks"))
    try:
        import bench_encode_share as bench
    finally:
        sys.path.pop(0)
    ms = {"encode": 110, "both": 135, "filter": 30, "no_filter": 10}
    row = bench.summarise("fp32", {way: [bench.Cost(value, value, 0, 1)] * 3 for way, value in ms.items()})
    assert row["share_percent"] == pytest.approx(20)
    assert row["added_percent"] == pytest.approx(25)


def test_it_runs_and_writes_what_it_measured(root: Path, tmp_path: Path) -> None:
    clip, out = tmp_path / "clip.mkv", tmp_path / "share.json"
    filter_tools.run("-f", "lavfi", "-i", "testsrc2=s=96x64:r=25:d=0.4", "-c:v", "ffv1", clip)
    script = str(root / "benchmarks" / "bench_encode_share.py")
    options = ["--quick", "--size", "96x64", "--source", str(clip), "--precision", "fp32", "--out", str(out)]
    done = subprocess.run([sys.executable, script, *options], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    (row,) = json.loads(out.read_text())["rows"]
    assert all(len(row[way]) == 1 for way in ("encode", "both", "filter", "no_filter"))


def test_a_missing_source_is_one_sentence_and_a_non_zero_exit(root: Path) -> None:
    script = str(root / "benchmarks" / "bench_encode_share.py")
    command = [sys.executable, script, "--quick", "--source", "nowhere.mp4"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert done.stderr == "bench_encode_share: error: nowhere.mp4 does not exist; --source names a video\n"
