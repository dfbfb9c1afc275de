# SPDX-License-Identifier: BSD-2-Clause
"""make demo: what it leaves, on a small clip that is made here."""

from __future__ import annotations

import io
import json
import subprocess
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from rich.console import Console

import filter_tools
from clarivid import clips, demo

WIDTH, HEIGHT, FRAMES = 320, 192, 6


@pytest.fixture
def bunny(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> clips.Clip:
    """A stand-in for the demo's clip: moving test picture, lossless."""
    filter_tools.built()
    film = tmp_path / "film.mkv"
    command = [clips.encoder(), "-v", "error", "-f", "lavfi", "-i", f"testsrc2=s={WIDTH}x{HEIGHT}:r=25:d=1"]
    subprocess.run([*command, "-pix_fmt", "yuv420p", "-c:v", "ffv1", str(film)], check=True)
    clip = clips.Clip("bunny", "game", lambda: film, "CC0-1.0", frames=FRAMES)
    monkeypatch.setattr(clips.Clip, "_folder", lambda _self: tmp_path / "clips")
    monkeypatch.setattr(clips, "find", lambda _name: clip)
    monkeypatch.setattr(demo, "CROPS", ((0, 0), (WIDTH - demo.CROP[0], HEIGHT - demo.CROP[1])))
    return clip


@pytest.mark.usefixtures("bunny")
def test_the_demo_leaves_a_playable_video_a_picture_and_the_scores(tmp_path: Path) -> None:
    out = tmp_path / "out"
    text = io.StringIO()
    scores = demo.run(out, Console(file=text))
    demo.show(scores, Console(file=text, width=120))

    assert {path.name for path in out.iterdir()} == {
        "demo.mp4",
        "demo.png",
        "compare.html",
        "scores.json",
    }
    assert "dnn_sr game_x2</strong>" in (out / "compare.html").read_text("utf-8")
    assert json.loads((out / "scores.json").read_text()) == scores
    assert set(scores) == {"dnn_sr", "lanczos"}
    for row in scores.values():
        assert set(row) == {"psnr_y", "ssim", "vmaf", "fps"}
        assert 15 < row["psnr_y"] < 60
        assert 0 < row["ssim"] <= 1
        assert 0 <= row["vmaf"] <= 100
        assert row["fps"] > 0
    frames = filter_tools.probe(out / "demo.mp4")
    assert len(frames) == FRAMES
    assert {(frame["width"], frame["height"], frame["pix_fmt"]) for frame in frames} == {
        (WIDTH, HEIGHT, "yuv420p")
    }
    assert "dnn_sr" in text.getvalue()
    assert "Lanczos".lower() in text.getvalue().lower()


def test_the_picture_shows_each_crop_unblurred_under_its_name() -> None:
    random = np.random.default_rng(0)
    names = ("source", "Lanczos", "dnn_sr game_x2")
    frames = {name: random.integers(0, 256, (720, 1280, 3), dtype=np.uint8) for name in names}
    sheet = np.asarray(demo.contact_sheet(frames))
    width, height = demo.CROP[0] * demo.ZOOM, demo.CROP[1] * demo.ZOOM
    assert sheet.shape[0] > len(demo.CROPS) * height
    assert sheet.shape[1] > len(names) * width
    # Pixels are enlarged as they are: every block of ZOOM x ZOOM is one colour.
    x, y = demo.CROPS[0]
    first = frames["source"][y : y + demo.CROP[1], x : x + demo.CROP[0]]
    enlarged = first.repeat(demo.ZOOM, 0).repeat(demo.ZOOM, 1)
    top = int(np.argwhere((sheet == enlarged[0, 0]).all(-1))[0][0])
    left = int(np.argwhere((sheet[top] == enlarged[0, 0]).all(-1))[0][0])
    np.testing.assert_array_equal(sheet[top : top + height, left : left + width], enlarged)
    # Above each column there is text.
    for column in range(len(names)):
        label = sheet[:top, left + column * width : left + (column + 1) * width]
        assert (label < 100).any()


def test_a_missing_frame_gives_a_sentence(bunny: clips.Clip) -> None:
    with pytest.raises(demo.ToolError, match=r"cannot read frame 99 of .*reference.mkv"):
        demo.read_frame(bunny.reference(), 99)


@pytest.mark.usefixtures("bunny")
def test_an_error_is_one_sentence_and_a_non_zero_exit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(demo, "MODEL", "no_such_model")
    with pytest.raises(SystemExit, match=r"demo: error: .*no_such_model"):
        demo.main([str(tmp_path / "out")])


def test_read_frame_gives_the_colours_of_the_picture(tmp_path: Path) -> None:
    red = tmp_path / "red.mkv"
    command = [clips.encoder(), "-v", "error", "-f", "lavfi", "-i", "color=red:s=64x48:d=0.1"]
    command += [
        "-vf",
        "format=rgb24,scale=out_color_matrix=bt709",
        "-pix_fmt",
        "yuv420p",
        "-c:v",
        "ffv1",
        str(red),
    ]
    subprocess.run(command, check=True)
    frame = demo.read_frame(red, 1)
    assert frame.shape == (48, 64, 3)
    assert np.abs(frame.astype(int) - np.array([255, 0, 0])).max() <= 6  # BT.601 would be 24 off
    assert Image.fromarray(frame).size == (64, 48)
