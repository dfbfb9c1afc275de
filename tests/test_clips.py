# SPDX-License-Identifier: BSD-2-Clause
"""The catalogue of held-out clips, and how a clip is made. Nothing is fetched: the sources are made here."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import pytest

from clarivid import InputError, ToolError, clips, quality
from clarivid.clips import Clip, NoisyScene, RdClip
from clarivid.data.sources import SOURCES
from clarivid.packages import Package


@pytest.fixture
def film(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[], Path]:
    """Twelve coded frames of 202x110; the cache is an empty folder."""
    monkeypatch.setenv("CLARIVID_CACHE", str(tmp_path / "cache"))
    path = tmp_path / "film.mp4"
    command = [clips.encoder(), "-v", "error", "-f", "lavfi", "-i", "testsrc2=s=202x110:r=30:d=0.4"]
    subprocess.run([*command, "-pix_fmt", "yuv420p", "-c:v", "libx264", str(path)], check=True)
    return lambda: path


def luma(path: Path) -> np.ndarray[tuple[int, ...], np.dtype[np.uint8]]:
    """All frames' luma, [N, H, W]."""
    command = [clips.encoder(), "-v", "error", "-i", str(path), "-fps_mode", "passthrough"]
    command += ["-f", "image2pipe", "-c:v", "pgm", "-pix_fmt", "gray", "-"]
    data = subprocess.run(command, capture_output=True, check=True).stdout
    _, size, _, _ = data.split(b"\n", 3)  # "P5", "width height", "255", samples
    width, height = (int(value) for value in size.split())
    head = len(f"P5\n{width} {height}\n255\n")
    frames = np.frombuffer(data, np.uint8).reshape(-1, head + width * height)
    return frames[:, head:].reshape(-1, height, width)


def test_clips_have_unique_names_a_kind_and_a_licence() -> None:
    every = clips.held_out()
    assert len({clip.name for clip in every}) == len(every)
    assert {clip.kind for clip in every} <= set(clips.KINDS)
    assert {clip.net for clip in clips.held_out("natural")} == {"natural"}
    assert {clip.net for clip in clips.held_out("cg")} == {"game"}
    assert all(clip.licence and clip.frames <= 40 for clip in every)
    assert clips.find(every[0].name) is every[0]


def test_no_held_out_clip_comes_from_a_package_that_training_uses() -> None:
    trained = {source.package for source in SOURCES}
    for clip in clips.held_out():
        if isinstance(clip.source, partial):
            assert not trained & {str(argument) for argument in clip.source.args}, clip.name


def test_unknown_names_give_the_known_ones(film: Callable[[], Path]) -> None:
    with pytest.raises(InputError, match=r'clip "cats" is unknown: it is one of .*bunny'):
        clips.find("cats")
    with pytest.raises(InputError, match='kind "opera" is unknown: it is one of game, cg'):
        clips.held_out("opera")
    with pytest.raises(InputError, match=r'codec "av1" is unknown: it is one of x264, x265'):
        Clip("mine", "game", film, "CC0-1.0").low("av1")


def test_a_clip_is_halved_twice_and_cut_to_its_frames(film: Callable[[], Path]) -> None:
    clip = Clip("mine", "game", film, "CC0-1.0", first=3, frames=5)
    assert luma(clip.reference()).shape == (5, 52, 100)  # 55 and 101, cut to multiples of four
    for codec in clips.CODECS:
        assert luma(clip.low(codec, 28)).shape == (5, 26, 50)
    assert quality.frame_count(clip.low()) == 5


def test_the_frames_are_those_that_were_named(film: Callable[[], Path]) -> None:
    later = Clip("later", "game", film, "CC0-1.0", first=3, frames=4, halve=False)
    every = Clip("every", "game", film, "CC0-1.0", frames=12, halve=False)
    np.testing.assert_array_equal(luma(later.reference()), luma(every.reference())[3:7])


def test_a_clip_can_have_ten_bits_or_be_spoilt(film: Callable[[], Path]) -> None:
    from clarivid.rd.tools import Tools, probe

    deep = Clip("deep", "hard", film, "CC0-1.0", frames=2, deep=True)
    assert probe(deep.reference(), Tools()).pix_fmt == "yuv420p10le"
    plain = Clip("plain", "hard", film, "CC0-1.0", frames=2)
    few = Clip("few", "hard", film, "CC0-1.0", frames=2, spoil="lutyuv=y=bitand(val\\,192)")
    assert len(np.unique(luma(few.reference()))) < 5 < len(np.unique(luma(plain.reference())))


def test_what_is_there_is_not_made_again(film: Callable[[], Path]) -> None:
    clip = Clip("mine", "game", film, "CC0-1.0", frames=2)
    before = [(path, path.stat().st_mtime_ns) for path in (clip.reference(), clip.low())]
    film().unlink()
    assert [(path, path.stat().st_mtime_ns) for path in (clip.reference(), clip.low())] == before


@pytest.mark.usefixtures("film")
def test_a_still_becomes_a_moving_picture(tmp_path: Path) -> None:
    still = tmp_path / "still.png"
    command = [clips.encoder(), "-v", "error", "-f", "lavfi", "-i", "testsrc2=s=1400x800", "-frames:v", "1"]
    subprocess.run([*command, str(still)], check=True)
    clip = Clip("pan", "game", lambda: still, "CC0-1.0", frames=3, halve=False, pan=(10, 5))
    frames = luma(clip.reference())
    assert frames.shape == (3, 720, 1280)
    moved = frames[0][5:105, 10:110].astype(int) - frames[1][:100, :100]
    assert np.abs(moved).max() <= 1  # rounding of RGB to luma


def test_a_source_that_is_too_short_gives_a_sentence_and_leaves_nothing(film: Callable[[], Path]) -> None:
    clip = Clip("long", "game", film, "CC0-1.0", first=8, frames=30)
    with pytest.raises(ToolError, match=r"the source gave 4 frames instead of 30"):
        clip.reference()
    assert not list(clip._folder().iterdir())


def test_a_broken_source_gives_a_sentence_and_leaves_nothing(film: Callable[[], Path]) -> None:
    film().write_bytes(b"this is no video")
    clip = Clip("broken", "game", film, "CC0-1.0")
    with pytest.raises(ToolError, match=r"cannot make reference.mkv of broken-"):
        clip.reference()
    assert not list(clip._folder().iterdir())


def test_a_file_that_its_package_no_longer_has_gives_a_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CLARIVID_CACHE", str(tmp_path))
    package = Package("deb", "some-data", "1.0", tmp_path, "0" * 64, None)
    clip = Clip("gone", "game", lambda: package.one("**/film.mp4"), "CC0-1.0")
    with pytest.raises(ToolError, match=r"package some-data 1.0 has 0 files that match '\*\*/film.mp4'"):
        clip.reference()


# ----------------------------------------------------------------------------------- rate-distortion


def test_the_rate_distortion_set_has_all_kinds() -> None:
    every = clips.rd_clips()
    assert len({clip.name for clip in every}) == len(every)
    for kind, least in (("natural", 3), ("game", 3), ("screen", 2), ("noisy", 2)):
        assert len(clips.rd_clips(kind)) >= least, kind
    assert all(30 <= clip.frames <= 60 and clip.licence and clip.package for clip in every)
    assert clips.find_rd("dog").kind == "natural"
    with pytest.raises(
        InputError, match='kind "anime" is unknown: it is one of natural, game, screen, noisy'
    ):
        clips.rd_clips("anime")
    with pytest.raises(InputError, match=r'clip "cats" is unknown: it is one of .*tripod'):
        clips.find_rd("cats")


def test_a_coded_video_is_taken_as_it_is(film: Callable[[], Path]) -> None:
    clip = RdClip("mine", "natural", film, "CC0-1.0", first=2, frames=5)
    assert clip.coded_file() == film()
    command = [clips.encoder(), "-v", "error", "-i", str(film()), "-f", "rawvideo", "-pix_fmt", "gray", "-"]
    data = subprocess.run(command, capture_output=True, check=True).stdout
    np.testing.assert_array_equal(
        luma(clip.source_file()), np.frombuffer(data, np.uint8).reshape(-1, 110, 202)[2:7]
    )
    with pytest.raises(InputError, match="nobody knows it without noise"):
        clip.clean_file()


def test_odd_sizes_become_even_and_bars_are_cut(film: Callable[[], Path]) -> None:
    assert luma(RdClip("mine", "game", film, "CC0-1.0", frames=2, crop="101:61").source_file()).shape == (
        2,
        60,
        100,
    )


def test_what_was_never_coded_goes_through_a_mezzanine(film: Callable[[], Path]) -> None:
    clip = RdClip("mine", "game", film, "CC0-1.0", frames=3, coded=False)
    assert clip.coded_file() != film()
    np.testing.assert_array_equal(luma(clip.source_file()), luma(clip.coded_file()))


@pytest.mark.usefixtures("film")
def test_a_noisy_scene_is_the_clean_one_with_noise(tmp_path: Path) -> None:
    still = tmp_path / "still.png"
    command = [clips.encoder(), "-v", "error", "-f", "lavfi", "-i", "testsrc2=s=1408x848", "-frames:v", "1"]
    subprocess.run([*command, str(still)], check=True)
    scene = NoisyScene(lambda: still, (0, 0, 1408, 848), luma=4.0)
    clip = RdClip("scene", "noisy", scene, "CC0-1.0", frames=3)
    clean, noisy = luma(clip.clean_file()), luma(clip.source_file())
    assert clean.shape == noisy.shape == (3, 720, 1280)
    assert (clean[0] == clean[2]).all()
    assert 2.5 < (noisy[1].astype(int) - clean[1]).std() < 5.5  # the mezzanine keeps most of it
    moving = NoisyScene(lambda: still, (0, 0, 1408, 848), luma=4.0, shake=5.0, seed=1)
    first, last = (moving.frames(4)[0][i * 1382400 : i * 1382400 + 1280] for i in (0, 3))
    assert first != last
