# SPDX-License-Identifier: BSD-2-Clause
"""The examples run by one command each and leave what they say; a few pictures, without a net."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image

from clarivid import quality
from clarivid.chains.probe import probe
from clarivid.ffmpeg import find


@pytest.mark.parametrize(
    ("script", "options"),
    [
        ("remove_pedestrian.py", ["--frames", "5", "--model", "none"]),
        ("remove_moving_camera.py", ["--frames", "5", "--options", "model=none"]),
    ],
)
def test_an_example_leaves_a_video_a_comparison_and_a_sheet(
    script: str, options: list[str], root: Path, tmp_path: Path
) -> None:
    command = [sys.executable, str(root / "examples" / script), "--out", str(tmp_path), *options]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    names = {"clean.mp4", "side_by_side.mp4", "sheet.png"}
    assert {path.name for path in tmp_path.iterdir()} - {"boxes.txt"} == names
    assert all(str(tmp_path / name) in done.stdout for name in names)
    assert quality.frame_count(tmp_path / "clean.mp4") == 5
    with Image.open(tmp_path / "sheet.png") as sheet:
        assert sheet.width > 1000


def test_the_chain_leaves_a_film_with_sound_and_a_page(root: Path, tmp_path: Path) -> None:
    command = [sys.executable, str(root / "examples" / "chain.py"), "--out", str(tmp_path), "--frames", "4"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    names = {"small.mp4", "lanczos.mp4", "doubled.mp4", "chain.yaml", "compare.html"}
    assert {path.name for path in tmp_path.iterdir()} == names
    assert "vmaf" in done.stdout
    assert quality.frame_count(tmp_path / "doubled.mp4") == 4
    found = probe(tmp_path / "doubled.mp4", find().ffprobe)
    assert (found.width, found.height) == (1280, 720)
    assert [stream.codec for stream in found.others()] == ["aac"]
    assert "dnn_sr" in (tmp_path / "compare.html").read_text("utf-8")
