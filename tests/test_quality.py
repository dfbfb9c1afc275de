# SPDX-License-Identifier: BSD-2-Clause
"""Scores of a clip against its reference."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest

from clarivid import InputError, ToolError, clips, quality
from conftest import Run

SOURCE = "testsrc2=s=192x108:r=25:d=0.2"  # five frames


def make(path: Path, filters: str = "null", *, source: str = SOURCE, pix_fmt: str = "yuv420p") -> Path:
    """A lossless clip of ffmpeg's test picture."""
    command = [clips.encoder(), "-v", "error", "-f", "lavfi", "-i", source, "-vf", filters]
    subprocess.run([*command, "-pix_fmt", pix_fmt, "-c:v", "ffv1", str(path)], check=True)
    return path


@pytest.fixture(scope="module")
def reference(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make(tmp_path_factory.mktemp("quality") / "reference.mkv")


def test_a_clip_is_perfect_against_itself(reference: Path) -> None:
    scores = quality.compare(reference, reference)
    assert scores.psnr_y == 60.0  # libvmaf's name for no error at 8 bit
    assert scores.ssim == pytest.approx(1.0)
    assert scores.vmaf > 95
    assert scores.frames == 5


def test_every_score_falls_with_blur_and_with_a_shift(reference: Path, tmp_path: Path) -> None:
    same = quality.compare(reference, reference)
    for name, filters in (("blur", "gblur=2"), ("shift", "scroll=hpos=0.02")):
        worse = quality.compare(make(tmp_path / f"{name}.mkv", filters), reference)
        assert worse.psnr_y < same.psnr_y - 10
        assert worse.ssim < same.ssim - 0.01
        assert worse.vmaf < same.vmaf
        assert worse.vmaf_neg < same.vmaf_neg


def test_sharpening_pleases_vmaf_more_than_neg(reference: Path, tmp_path: Path) -> None:
    soft = make(tmp_path / "soft.mkv", "gblur=0.8")
    command = [clips.encoder(), "-v", "error", "-i", str(soft), "-vf", "unsharp=5:5:1.5", "-c:v", "ffv1"]
    subprocess.run([*command, str(tmp_path / "sharp.mkv")], check=True)
    before = quality.compare(soft, reference)
    after = quality.compare(tmp_path / "sharp.mkv", reference)
    assert after.vmaf - before.vmaf > after.vmaf_neg - before.vmaf_neg


def test_the_error_of_one_code_value_has_its_textbook_psnr(tmp_path: Path) -> None:
    dark = make(tmp_path / "dark.mkv", "format=yuv420p,lutyuv=y=100", source="color=s=192x108:r=25:d=0.2")
    light = make(tmp_path / "light.mkv", "format=yuv420p,lutyuv=y=101", source="color=s=192x108:r=25:d=0.2")
    assert quality.compare(light, dark).psnr_y == pytest.approx(48.13, abs=0.01)


def test_a_different_number_of_frames_gives_a_sentence(reference: Path, tmp_path: Path) -> None:
    longer = make(tmp_path / "longer.mkv", source=SOURCE.replace("0.2", "0.28"))
    with pytest.raises(InputError, match=r"longer.mkv has 7 frames, .*reference.mkv has 5"):
        quality.compare(longer, reference)


def test_a_different_size_gives_a_sentence(reference: Path, tmp_path: Path) -> None:
    small = make(tmp_path / "small.mkv", "scale=96:54")
    with pytest.raises(InputError, match="differ in size"):
        quality.compare(small, reference)


def test_a_missing_or_broken_clip_gives_a_sentence(reference: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"nowhere.mkv does not exist"):
        quality.compare(tmp_path / "nowhere.mkv", reference)
    broken = tmp_path / "broken.mkv"
    broken.write_bytes(b"this is no video")
    with pytest.raises(ToolError, match="cannot score"):
        quality.compare(broken, reference)


def test_the_command_prints_the_scores_as_json(reference: Path, tmp_path: Path, clarivid: Run) -> None:
    blurred = make(tmp_path / "blurred.mkv", "gblur=1")
    done = clarivid("score", str(blurred), str(reference), "--json")
    assert done.returncode == 0, done.stderr
    scores = json.loads(done.stdout)
    assert set(scores) == {"psnr_y", "ssim", "vmaf", "vmaf_neg", "frames"}
    assert scores["frames"] == 5
    missing = clarivid("score", str(tmp_path / "nowhere.mkv"), str(reference))
    assert missing.returncode == 1
    assert missing.stderr.startswith("clarivid: error: ")
