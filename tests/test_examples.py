# SPDX-License-Identifier: BSD-2-Clause
"""The examples run by one command each and leave what they say; a few pictures, without a net."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image

from clarivid import quality


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
