# SPDX-License-Identifier: BSD-2-Clause
"""The temporal check: measures on signals with known answers, encoders' logs, a tiny scene end to end."""

from __future__ import annotations

import json
import subprocess
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

pytest.importorskip("imageio_ffmpeg")

from clarivid import clips
from clarivid.cli.temporal import command
from clarivid.errors import InputError
from clarivid.ffmpeg.run import filter_clip
from clarivid.rd import temporal
from clarivid.rd.plan import Encoder, Variant

SIZE = (160, 96)
FRAMES = 10


def store(path: Path, frames: list[np.ndarray[tuple[int, ...], np.dtype[np.uint8]]]) -> Path:
    """Luma planes as lossless yuv420p."""
    height, width = frames[0].shape
    data = b"".join(f.tobytes() + b"\x80" * (width * height // 2) for f in frames)
    command = [clips.encoder(), "-v", "error", "-f", "rawvideo", "-pix_fmt", "yuv420p"]
    command += ["-s", f"{width}x{height}", "-i", "-", "-c:v", "ffv1", str(path)]
    subprocess.run(command, input=data, check=True)
    return path


@pytest.fixture
def scene(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Path, Path]:
    """A noisy scene and the same without noise: a gradient that stands still, a square that crosses it."""
    rng = np.random.default_rng(0)
    clean = []
    for t in range(FRAMES):
        frame = np.tile(np.linspace(60, 180, SIZE[0]), (SIZE[1], 1))
        frame[8:24, 10 * t : 10 * t + 16] = 220
        clean.append(frame.astype(np.uint8))
    noisy = [np.clip(f + rng.normal(0, 4, f.shape), 0, 255).astype(np.uint8) for f in clean]
    monkeypatch.setattr(temporal, "filter_clip", partial(filter_clip, ffmpeg=Path(clips.encoder())))
    return store(tmp_path / "noisy.mkv", noisy), store(tmp_path / "clean.mkv", clean)


def test_flicker_of_known_signals() -> None:
    mask = np.ones((4, 4), bool)
    swing = [np.full((4, 4), 100 + 3 * (t % 2), np.uint8) for t in range(10)]
    assert temporal.flicker(swing, mask) == temporal.Flicker(3.0, 1.5)
    assert temporal.flicker([swing[0]] * 5, mask) == temporal.Flicker(0.0, 0.0)
    drift = temporal.flicker([np.full((4, 4), 100 + t, np.uint8) for t in range(10)], mask)
    assert drift.flicker == 1.0
    assert drift.fluctuation == pytest.approx(np.arange(10).std())


def test_what_moves_is_left_out() -> None:
    clean = [np.zeros((4, 8), np.uint8) for _ in range(3)]
    clean[2][:, 4:] = 50
    mask = temporal.still_area(clean)
    assert mask[:, :4].all()
    assert not mask[:, 4:].any()
    assert temporal.flicker(clean, mask).flicker == 0


def test_psnr_is_that_of_the_mean_error() -> None:
    black, grey = np.zeros((4, 4), np.uint8), np.full((4, 4), 5, np.uint8)
    assert temporal.psnr([grey, black], [black, black]) == pytest.approx(10 * np.log10(255**2 / 12.5))
    assert temporal.psnr([black], [black]) == 100


def test_skipped_blocks_are_read_from_x264s_summary() -> None:
    log = """[libx264 @ 0x1] frame I:1     Avg QP:26.11  size:115633
[libx264 @ 0x1] frame P:3     Avg QP:27.44  size: 26672
[libx264 @ 0x1] frame B:9     Avg QP:28.06  size:  9292
[libx264 @ 0x1] mb P  I16..4:  0.0%  2.0%  0.1%  P16..4: 44.3% 20.7% 16.3%  0.0%  0.0%    skip:20.0%
[libx264 @ 0x1] mb B  I16..4:  0.0%  0.3%  0.0%  B16..8: 35.0%  3.0%  0.7%  direct: 4.8%  skip:60.0%  L0:40%
"""
    assert temporal.x264_skipped(log) == pytest.approx((3 * 0.2 + 9 * 0.6) / 12)
    assert temporal.x264_skipped("[libx264 @ 0x1] frame I:4 Avg QP:20 size:100") is None


def test_skipped_area_is_read_from_x265s_log() -> None:
    """A quarter of the units are skipped ones of 32x32, three quarters coded ones of 16x16."""
    log = "Layer , Type, POC, Intra 16x16 DC, Inter 16x16, Skip 32x32, Merge 32x32, Skip 32x32\n"
    log += "0, I-SLICE, 0, 100.00%, 0.00%, 0.00%, 0.00%, 7.0%\n"
    log += "0, b-SLICE, 1, 25.00%, 50.00%, 5.00%, 20.00%, 99.0%\n"
    area = 25 * 32**2
    assert temporal.x265_skipped(log) == pytest.approx(area / (area + 75 * 16**2))
    assert temporal.x265_skipped(log.rsplit("\n", 2)[0]) is None


def test_a_denoiser_saves_inter_bits_and_flicker(scene: tuple[Path, Path]) -> None:
    noisy, clean = scene
    rates = {"x264": (20.0,), "x265": (22.0,), "svtav1": (30.0,)}
    encoders = [Encoder("x264", "veryfast"), Encoder("x265", "ultrafast"), Encoder("svtav1", "13")]
    steps: list[tuple[int, int]] = []
    report = temporal.check(
        "scene",
        noisy,
        clean,
        [Variant("soft", "hqdn3d=8")],
        encoders,
        rates,
        progress=lambda done, total: steps.append((done, total)),
    )
    assert steps[-1] == (8, 8)
    assert report.frames == FRAMES
    assert 0.6 < report.still_share < 0.95
    assert report.before["soft"].flicker < report.before["plain"].flicker
    assert report.before["plain"].fluctuation == pytest.approx(4, rel=0.1)
    assert len(report.rows) == 6
    for row in report.rows:
        assert 0 < row.inter_bits < row.bits
        assert (row.skipped is None) == row.encoder.startswith("svtav1")
        change = report.relative(row)
        if row.variant == "plain":
            assert change["bits"] == change["inter_bits"] == change["flicker"] == 0
        else:
            assert change["flicker"] < 0
            if row.skipped is not None:  # SVT-AV1's rates on so small a picture are erratic
                assert change["inter_bits"] < 0
                assert change["skipped"] >= 0
    assert json.loads(json.dumps(report.to_dict()))["schema"] == temporal.SCHEMA


def test_clips_that_do_not_fit_give_sentences(scene: tuple[Path, Path], tmp_path: Path) -> None:
    noisy, clean = scene
    x264 = [Encoder("x264", "ultrafast")]
    small = store(tmp_path / "small.mkv", [np.zeros((64, 64), np.uint8)] * FRAMES)
    with pytest.raises(InputError, match=r"small.mkv has 64x64 samples, the noisy clip 160x96"):
        temporal.check("scene", noisy, small, [], x264)
    short = store(tmp_path / "short.mkv", [np.zeros(SIZE[::-1], np.uint8)] * 3)
    with pytest.raises(InputError, match=r"short.mkv has 3 frames, the noisy clip 10"):
        temporal.check("scene", noisy, short, [], x264)
    moving = store(tmp_path / "moving.mkv", [np.full(SIZE[::-1], 20 * t, np.uint8) for t in range(FRAMES)])
    with pytest.raises(InputError, match="scene moves everywhere"):
        temporal.check("scene", noisy, moving, [], x264)
    with pytest.raises(InputError, match="variant mine is no filter"):
        temporal.check("scene", noisy, clean, [Variant("mine", files={"scene": noisy})], x264)


def test_the_command_prints_a_table_or_json(scene: tuple[Path, Path]) -> None:
    noisy, clean = scene
    arguments = ["--source", str(noisy), "--clean", str(clean), "--variant", "soft=hqdn3d=8"]
    arguments += ["--encoder", "x264:ultrafast", "--crf", "24", "--frames", "5"]
    done = CliRunner().invoke(command, arguments)
    assert done.exit_code == 0, done.output
    assert "soft" in done.output
    report = json.loads(CliRunner().invoke(command, [*arguments, "--json"]).stdout)
    assert report["frames"] == 5
    assert {row["variant"] for row in report["rows"]} == {"plain", "soft"}
