# SPDX-License-Identifier: BSD-2-Clause
"""What ``clarivid compare`` measures: pairs, scores, bits, places, and what it says of files that differ."""

from __future__ import annotations

import errno
import gc
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from clarivid import InputError, clips, quality
from clarivid.compare import Comparison, check_outputs, compare, pictures, sheet
from clarivid.compare.media import read
from clarivid.compare.numbers import per_frame, per_second
from clarivid.compare.pairing import pair
from clarivid.errors import ToolError
from compare_tools import FILM, make
from conftest import Run

X264 = ("-c:v", "libx264", "-preset", "ultrafast", "-crf", "30")
CHEAP = ("ssim", "psnr_y")


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make(tmp_path_factory.mktemp("compare") / "source.mkv")


@pytest.fixture(scope="module")
def soft(source: Path) -> Path:
    return make(source.parent / "soft.mkv", "gblur=1.5", source=source)


@pytest.fixture(scope="module")
def found(source: Path, soft: Path) -> Comparison:
    """Coded, blurred, and what both were made of."""
    return compare(make(source.parent / "coded.mp4", source=source, codec=X264), soft, source)


def test_scores_are_those_that_the_files_get_one_by_one(found: Comparison, source: Path) -> None:
    for label, media in list(found.files.items())[:2]:
        alone = quality.compare(media.path, source)
        for name, values in found.scored.scores[label].items():
            assert values.mean() == pytest.approx(getattr(alone, name), abs=1e-6), (label, name)
            assert len(values) == 12


def test_without_a_reference_b_is_judged_against_a(source: Path, soft: Path) -> None:
    two = compare(source, soft, scores=CHEAP)
    assert list(two.scored.scores) == ["soft"]
    assert list(two.scored.scores["soft"]) == list(CHEAP)
    assert two.scored.scores["soft"]["psnr_y"].mean() == pytest.approx(quality.compare(soft, source).psnr_y)
    assert two.summary()["against"] == "a"


def test_the_difference_of_a_known_change_is_what_arithmetic_says(tmp_path: Path) -> None:
    dark, light = (
        make(tmp_path / f"y: {y} %d.mkv", f"format=yuv420p,lutyuv=y={y}", source="color=s=64x64:d=0.12")
        for y in (100, 103)
    )
    two = compare(dark, light, scores=("psnr_y",))
    assert two.scored.difference.tolist() == [9.0] * 3
    assert two.scored.scores["y: 103 %d"]["psnr_y"][0] == pytest.approx(10 * np.log10(255**2 / 9), abs=0.001)


def test_bits_are_those_of_the_packets_and_of_the_part_that_was_compared(
    source: Path, tmp_path: Path
) -> None:
    # Sound, which does not count; frames of different kinds, which the file holds in another order.
    film = tmp_path / "film.mp4"
    command = [clips.encoder(), "-v", "error", "-i", str(source), "-f", "lavfi", "-i", "sine=d=0.4"]
    subprocess.run([*command, "-c:v", "libx264", "-crf", "30", "-bf", "3", str(film)], check=True)
    media = read(film)
    listing = subprocess.run(
        [clips.encoder(), "-v", "error", "-i", str(film), "-map", "0:v", "-c", "copy", "-f", "framecrc", "-"],
        capture_output=True,
        text=True,
        check=True,
    )
    sizes = [int(line.split(",")[4]) for line in listing.stdout.splitlines() if not line.startswith("#")]
    assert media.video_bytes == sum(sizes)
    assert media.kbps == pytest.approx(sum(sizes) * 8 / 480)
    assert (np.diff(media.packets[:, 0]) > 0).all()
    first = media.packets[:4, 1].sum() * 8 / 160
    assert media.kbps_of(0, 3) == pytest.approx(first)
    part = compare(source, film, scores=("psnr_y",), frames=4).summary()
    assert part["files"]["b"]["compared_kbps"] == pytest.approx(first, abs=0.001)
    rows = per_frame(media)
    assert [round(kbit * 125) for _, kbit in rows[:-1]] == media.packets[:, 1].tolist()
    assert rows[-1][0] == pytest.approx(0.48)


def test_bits_of_each_second_add_up(tmp_path: Path) -> None:
    media = read(make(tmp_path / "long.mkv", source="testsrc2=s=64x48:r=10:d=2.5", codec=X264))
    rows = per_second(media)
    assert [row[0] for row in rows] == pytest.approx([0, 1, 2, 2.5])
    assert rows[0][1] + rows[1][1] + rows[2][1] / 2 == pytest.approx(media.video_bytes * 8 / 1000)


def test_files_of_other_length_are_paired_by_their_times(tmp_path: Path) -> None:
    # Lossless, so that any wrong pair would show: half the rate, and frames left out at random.
    fast = make(tmp_path / "fast.mkv", source="testsrc2=s=192x108:r=50:d=0.48")
    slow = make(tmp_path / "slow.mkv", r"select=not(mod(n\,2))", source=fast)
    holes = make(tmp_path / "holes.mkv", r"select=gt(random(0)\,0.3)", source=fast)
    three = compare(slow, holes, fast, scores=("psnr_y",))
    assert three.pairing.by == "time"
    assert 4 <= len(three.pairing) < 12
    for values in three.scored.scores.values():
        assert values["psnr_y"].tolist() == [60.0] * len(three.pairing)
    assert "slow has 12, holes has" in three.notes[0]
    assert f"which gives {len(three.pairing)} pairs" in three.notes[0]


def test_files_of_one_length_are_paired_by_number_whatever_their_rate(source: Path, tmp_path: Path) -> None:
    faster = make(tmp_path / "faster.mkv", "setpts=PTS*24/25", source=source)
    two = compare(source, faster, scores=("psnr_y",))
    assert two.pairing.by == "number"
    assert two.scored.scores["faster"]["psnr_y"].tolist() == [60.0] * 12
    assert two.notes == ["Times of frames that are compared differ by up to 18 ms."]
    apart = compare(source, faster, scores=("psnr_y",), pairing="time")
    assert apart.pairing.by == "time"


def test_a_file_that_runs_late_is_told_and_can_be_shifted(source: Path, tmp_path: Path) -> None:
    late = make(tmp_path / "late.mkv", "tpad=start=2,trim=end_frame=12", source=source)
    two = compare(source, late, scores=("psnr_y",))
    assert two.notes == [
        "late looks 2 frames late against source: scores are of unlike pictures (--shift 2 pairs them so)."
    ]
    shifted = compare(source, late, scores=("psnr_y",), shift=2)
    assert shifted.scored.scores["late"]["psnr_y"].tolist() == [60.0] * 10
    assert shifted.pairing.indices[0].tolist() == [0, 2]
    back = compare(late, source, scores=("psnr_y",), shift=-2)
    assert back.scored.scores["source"]["psnr_y"].tolist() == [60.0] * 10


def test_a_file_that_lost_its_first_frames_is_found_by_its_pictures(source: Path, tmp_path: Path) -> None:
    rest = make(tmp_path / "rest.mkv", r"select=gte(n\,3),setpts=PTS-STARTPTS", source=source)
    two = compare(source, rest, scores=("psnr_y",))
    assert two.pairing.indices[:, 0].tolist() == list(range(3, 12))
    assert two.scored.scores["rest"]["psnr_y"].tolist() == [60.0] * 9
    assert "By its pictures, source starts 120 ms earlier than rest" in two.notes[1]


def test_every_and_frames_take_what_they_say(source: Path) -> None:
    media = {"a": read(source), "b": read(source)}
    assert pair(media, every=5).indices[:, 1].tolist() == [0, 5, 10]
    assert pair(media, every=5, frames=2).indices[:, 1].tolist() == [0, 5]
    assert pair(media, frames=100).notes == ()
    assert pair(media, every=3, frames=2).notes == ("Compared: each 3. of the first 6 of 12 pairs.",)


def test_files_without_a_common_moment_give_a_sentence(source: Path, tmp_path: Path) -> None:
    # A sound from 0 on keeps the film's own start where it is.
    late = tmp_path / "late.mkv"
    command = [clips.encoder(), "-v", "error", "-itsoffset", "5", "-i", str(source), "-f", "lavfi"]
    subprocess.run(
        [*command, "-i", "sine=d=9", "-frames:v", "9", "-c:v", "ffv1", "-copyts", str(late)], check=True
    )
    with pytest.raises(InputError, match=r"have no frame at the same time: .*--pair number"):
        compare(source, late)


@pytest.mark.parametrize(("reference", "expected"), [(False, (192, 108)), (True, (96, 54))])
def test_other_sizes_are_scaled_to_the_reference_or_to_the_largest(
    source: Path, tmp_path: Path, reference: bool, expected: tuple[int, int]
) -> None:
    small = make(tmp_path / "small.mkv", "scale=96:54", source=source)
    both = compare(source, small, small if reference else None, scaler="bicubic", scores=("psnr_y",))
    assert (both.canvas.width, both.canvas.height) == expected
    name = (
        "source is 192x108: it was scaled to 96x54"
        if reference
        else "small is 96x54: it was scaled to 192x108"
    )
    assert both.notes == [f"{name} (bicubic), for scores and pictures."]
    picture = both.pictures(1)[0].pictures["small"]
    assert picture.shape == (expected[1], expected[0], 3)


def test_what_differs_in_shape_depth_or_colours_is_told(source: Path, tmp_path: Path) -> None:
    tags = "setparams=range=tv:colorspace=bt709:color_primaries=bt2020:color_trc=smpte2084"
    wide = make(tmp_path / "wide.mkv", f"scale=192:100,{tags}", source=source, pix_fmt="yuv420p10le")
    old = make(tmp_path / "old.mkv", "setparams=colorspace=smpte170m", source=source)
    notes = compare(old, wide, scores=("psnr_y",)).notes
    assert "wide is 192x100: it was scaled to 192x108 (lanczos), which makes it 7 % narrower" in notes[0]
    assert notes[1].startswith("Scores are of 10-bit samples, those of old were 8-bit")
    assert notes[2].startswith("Colour matrices differ (old bt601, wide bt709)")
    assert notes[3] == "HDR (PQ) is shown without tone mapping, so it looks flat: wide."


def test_full_range_rgb_and_odd_sizes_lose_nothing_to_the_comparison(tmp_path: Path) -> None:
    film = make(tmp_path / "odd.mkv", source="testsrc2=s=161x93:r=25:d=0.12", pix_fmt="yuv444p")
    rgb = make(tmp_path / "rgb.mkv", source=film, pix_fmt="gbrp")
    full = make(tmp_path / "full.mkv", "scale=out_range=pc", source=film, pix_fmt="yuvj444p")
    three = compare(rgb, full, film, scores=("psnr_y",))
    assert [values["psnr_y"].min() > 42 for values in three.scored.scores.values()] == [True, True]
    shown = three.pictures(1)[0].pictures
    for label in ("rgb", "full"):
        assert np.abs(shown[label].astype(int) - shown["reference"]).mean() < 2


def test_what_is_cut_short_is_compared_as_far_as_it_goes(source: Path, tmp_path: Path) -> None:
    whole = make(tmp_path / "whole.mkv", source=source, codec=X264)
    short = tmp_path / "short.mkv"
    short.write_bytes(whole.read_bytes()[: whole.stat().st_size * 2 // 3])
    two = compare(source, short, scores=("psnr_y",))
    assert 3 <= len(two.pairing) < 12
    assert two.notes[0].startswith("The files differ in their number of frames: source has 12, short has")
    assert two.notes[-1] == 'short is damaged; ffmpeg said "File ended prematurely".'


@pytest.mark.parametrize(
    ("kind", "sentence"),
    [
        ("missing", "clip does not exist"),
        ("folder", "clip is not a file"),
        ("text", "clip cannot be compared: it is damaged, or no video that ffmpeg knows"),
        ("sound", "clip cannot be compared: it has no video stream"),
        ("tiny", "clip has 16x16 samples; 32 to 16383"),
    ],
)
def test_what_is_no_video_gives_a_sentence(tmp_path: Path, kind: str, sentence: str) -> None:
    clip = tmp_path / "clip"
    match kind:
        case "folder":
            clip.mkdir()
        case "text":
            clip.write_text("no video at all", "utf-8")
        case "sound":
            command = [
                clips.encoder(),
                "-v",
                "error",
                "-f",
                "lavfi",
                "-i",
                "sine=d=0.1",
                "-f",
                "wav",
                str(clip),
            ]
            subprocess.run(command, check=True)
        case "tiny":
            make(clip, source="testsrc2=s=16x16:d=0.1", codec=("-c:v", "ffv1", "-f", "matroska"))
    with pytest.raises(InputError, match=sentence):
        compare(clip, clip, labels=("a", "b"))


def test_frames_to_look_at_are_the_worst_and_some_evenly_spaced() -> None:
    difference = np.zeros(100)
    difference[[40, 41, 42, 90]] = (5, 9, 8, 6)
    chosen = pictures.choose(difference, 4)
    assert {one.pair: one.why for one in chosen if "difference" in one.why} == {
        41: "largest difference",
        90: "large difference",
    }
    assert [one.pair for one in chosen] == sorted(one.pair for one in chosen)
    assert {one.pair for one in chosen} >= {0, 41, 90}
    assert len(pictures.choose(np.zeros(2), 6)) == 2


def test_places_are_where_pictures_differ_most() -> None:
    difference = np.zeros((400, 800), np.float32)
    difference[300:320, 600:640] = 50
    difference[40:60, 100:120] = 20
    first, second = pictures.places(difference)[:2]
    assert first.x <= 600
    assert first.x + first.width >= 640
    assert first.y <= 300
    assert first.y + first.height >= 320
    assert first.difference == pytest.approx(20 * 40 * 50 / (first.width * first.height))
    assert second.x <= 100 <= 120 <= second.x + second.width
    assert len(pictures.places(difference)) == 2  # there is no third
    assert len(pictures.places(np.zeros((50, 60), np.float32))) == 1


def test_the_map_of_differences_ends_at_its_top_and_begins_at_black() -> None:
    difference = np.array([[0, 0, 64, 0], [0, 0, 0, 0]], np.float32)
    colours = pictures.heat(difference)
    assert colours.shape == (1, 2, 3)
    assert colours[0, 0].tolist() == [0, 0, 4]
    assert colours[0, 1].tolist() == [252, 255, 164]


def test_the_sheet_shows_the_samples_themselves(found: Comparison, tmp_path: Path) -> None:
    shown = found.pictures(3)
    path = sheet.write(found, shown, tmp_path / "sheet.png", zoom=2)
    drawn = np.asarray(Image.open(path))
    width, height = sheet.CROP
    whole = round(192 * 2 * height / 108)
    assert drawn.shape[1] == 8 + whole + 8 + 3 * (2 * width + 8)
    # The last column of the first row is B, every sample a square of two.
    cell = drawn[40 : 40 + 2 * height, -8 - 2 * width : -8]
    np.testing.assert_array_equal(cell[::2, ::2], cell[1::2, 1::2])
    b = shown[0].pictures["soft"]
    cuts = np.lib.stride_tricks.sliding_window_view(b, (height, width, 3)).reshape(-1, height, width, 3)
    assert (cuts == cell[::2, ::2]).all((1, 2, 3)).any()


def test_an_output_that_cannot_be_is_refused_before_any_work(source: Path, tmp_path: Path) -> None:
    there = tmp_path / "there.html"
    there.write_text("mine", "utf-8")
    for outputs, overwrite, sentence in (
        ([there], False, r"exists: name another output, or have it replaced \(--overwrite\)"),
        ([tmp_path / "no" / "page.html"], False, "the folder .*no does not exist"),
        ([tmp_path], True, "is a folder"),
        ([source], True, "is an input"),
        ([tmp_path / "x", tmp_path / "x"], False, "both the page and the sheet"),
    ):
        with pytest.raises(InputError, match=sentence):
            check_outputs(outputs, [source], overwrite)
    check_outputs([there], [source], True)


def test_a_scorer_that_dies_gives_a_sentence_and_leaves_nothing_running(
    source: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("clarivid.compare.scoring._graph", lambda *_: "[0:v][1:v]nosuchfilter[o0]")
    with pytest.raises(ToolError, match="cannot score the frames"):
        compare(source, source, labels=("a", "b"))
    assert not _children(os.getpid())


def test_a_scorer_that_does_not_start_gives_a_sentence_and_leaves_no_pipe(
    source: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    start = subprocess.Popen

    def refuse(command: list[str], **keywords: Any) -> Any:
        if "pass_fds" in keywords:
            raise OSError(errno.EAGAIN, "Resource temporarily unavailable")
        return start(command, **keywords)

    before = sorted(Path("/proc/self/fd").iterdir())
    monkeypatch.setattr(subprocess, "Popen", refuse)
    with pytest.raises(ToolError, match="cannot be started: Resource temporarily unavailable"):
        compare(source, source, labels=("a", "b"))
    gc.collect()
    assert sorted(Path("/proc/self/fd").iterdir()) == before
    assert not _children(os.getpid())


def test_the_command_prints_numbers_or_writes_files(
    source: Path, soft: Path, tmp_path: Path, clarivid: Run
) -> None:
    common = ["compare", str(source), str(soft), "--score", "psnr_y"]
    done = clarivid(*common, "--json", "--labels", "one", "two")
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert told["files"]["b"]["label"] == "two"
    assert told["scores"]["b"]["psnr_y"]["mean"] == pytest.approx(
        np.mean(told["scores"]["b"]["psnr_y"]["values"]), abs=0.001
    )
    assert told["paired"]["frames"]["b"] == list(range(12))
    assert not list(tmp_path.iterdir())
    page, figure = tmp_path / "page.html", tmp_path / "figure.png"
    both = [*common, "-o", str(page), "--sheet", str(figure), "--pictures", "2"]
    done = clarivid(*both)
    assert done.returncode == 0, done.stderr
    assert {path.name for path in tmp_path.iterdir()} == {"page.html", "figure.png"}
    assert "psnr_y" in done.stdout
    assert str(page) in done.stdout
    again = clarivid(*both)
    assert again.returncode == 1
    assert again.stderr.startswith("clarivid: error: ")
    assert "--overwrite" in again.stderr
    assert clarivid(*both, "--overwrite").returncode == 0


def test_a_terminated_command_leaves_no_process_and_no_page(tmp_path: Path) -> None:
    film = make(tmp_path / "film.mkv", source=FILM.replace("0.48", "4").replace("192x108", "640x360"))
    page = tmp_path / "page.html"
    command = [
        sys.executable,
        "-m",
        "clarivid",
        "compare",
        str(film),
        str(film),
        "--labels",
        "a",
        "b",
        "-o",
        str(page),
    ]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    deadline = time.monotonic() + 60
    while len(children := _children(process.pid)) < 3 and time.monotonic() < deadline:
        time.sleep(0.01)
    process.send_signal(signal.SIGTERM)
    assert process.wait(timeout=30) == 130
    assert process.stderr is not None
    assert "clarivid: interrupted" in process.stderr.read()
    assert len(children) == 3
    # One that had only just been started ends by itself, since nobody holds its pipes any more.
    while any(_runs(pid) for pid in children) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not any(_runs(pid) for pid in children)
    assert {path.name for path in tmp_path.iterdir()} == {"film.mkv"}


def _runs(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text("utf-8").rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def _children(parent: int) -> list[int]:
    """Running ffmpegs of that process."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            state = (folder / "stat").read_text("utf-8").rpartition(")")[2].split()
            if int(state[1]) == parent and b"ffmpeg" in (folder / "cmdline").read_bytes():
                found.append(int(folder.name))
        except (OSError, IndexError):
            continue
    return found
