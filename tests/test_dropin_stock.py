# SPDX-License-Identifier: BSD-2-Clause
"""The machine's own ffmpeg with a drop-in: what it could, it can, and it has our filters.

tools/setup.sh stock installs the former and builds the latter, with all of its filters.
"""

from __future__ import annotations

import json
import os
import resource
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

import filter_tools as tools
from clarivid import doctor
from clarivid.errors import Error
from clarivid.ffmpeg import dropin

STOCK = Path("/usr/bin/ffmpeg")
OURS = ("dnn_sr", "lowrank_pre", "mesh_inpaint")


@pytest.fixture(scope="module")
def made() -> dropin.Dropin:
    """The drop-in; built when it is not there."""
    if not STOCK.exists():
        sentence = "Debian's ffmpeg is not installed: tools/setup.sh stock"
        if os.environ.get("CI", "").lower() in ("1", "true", "yes"):
            pytest.fail(sentence)
        pytest.skip(sentence)
    try:
        return dropin.find(STOCK)
    except Error:
        return dropin.build(program=STOCK, with_build_deps=True)


def output(*command: str | Path, timeout: float = 300) -> str:
    done = subprocess.run(
        [*map(str, command)],
        capture_output=True,
        text=True,
        timeout=timeout,
        check=False,
        stdin=subprocess.DEVNULL,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def filters(program: Path) -> set[str]:
    """The names that an ffmpeg lists."""
    rows = [line.split() for line in output(program, "-hide_banner", "-filters").splitlines()]
    return {row[1] for row in rows if len(row) > 2 and "->" in row[2]}


def test_every_filter_of_the_stock_one_is_there_and_ours(made: dropin.Dropin) -> None:
    before, after = filters(STOCK), filters(made.ffmpeg)
    assert after - before == set(OURS)
    assert before - after == set()
    assert (made.missing, made.poorer) == ((), ())


def test_nothing_that_is_installed_was_changed(made: dropin.Dropin) -> None:
    assert not set(OURS) & filters(STOCK)
    package = json.loads(made.report.read_text())["stock"]["package"].split()[0]
    assert output("dpkg", "--verify", "ffmpeg", package) == ""
    said = output(made.ffmpeg, "-version")
    assert said == output(STOCK, "-version")
    assert "mismatch" not in said


def test_the_report_proves_that_stock_filters_give_the_same_frames(made: dropin.Dropin) -> None:
    report = json.loads(made.report.read_text())
    assert report["passed"] is True
    assert report["failures"] == []
    assert report["exports_missing"] == report["exports_added"] == []
    assert [name for name in report["needed_added"] if not name.startswith("libclarivid")] == []
    compared = [row for row in report["frames"] if not row["note"]]
    assert len(compared) >= 100
    assert all(row["before"] == row["after"] for row in compared)
    graphs = " ".join(row["graph"] for row in compared)
    families = (
        "scale hue nlmeans curves yadif overlay drawtext subtitles zscale fieldmatch palettegen loudnorm amix"
    )
    assert [name for name in families.split() if name not in graphs] == []


def test_a_transcode_keeps_the_sound_and_is_encoded_by_the_stock_x264(
    made: dropin.Dropin, tmp_path: Path
) -> None:
    clip, out = tmp_path / "in.mp4", tmp_path / "out.mp4"
    output(
        STOCK, "-v", "error", "-f", "lavfi", "-i", "testsrc2=s=160x120:r=25:d=1", "-f", "lavfi", "-i",
        "sine=d=1:r=48000", "-c:v", "libx264", "-pix_fmt", "yuv420p", "-c:a", "aac", clip,
    )  # fmt: skip
    output(
        made.ffmpeg, "-v", "error", "-i", clip, "-vf", "dnn_sr=model=game_x2,lowrank_pre", "-c:v", "libx264",
        "-c:a", "copy", out,
    )  # fmt: skip
    probe = made.ffmpeg.with_name("clarivid-ffprobe")
    words = ["-v", "error", "-count_frames", "-show_streams", "-of", "json"]
    video, sound = json.loads(output(probe, *words, out))["streams"]
    assert (video["codec_name"], video["width"], video["height"]) == ("h264", 320, 240)
    assert video["nb_read_frames"] == "25"
    assert sound["codec_name"] == "aac"
    assert b"x264 - core" in out.read_bytes()
    packets = [
        output(STOCK, "-v", "error", "-i", f, "-map", "0:a", "-c", "copy", "-f", "md5", "-")
        for f in (clip, out)
    ]
    assert packets[0] == packets[1]


def test_the_samples_are_those_of_our_own_build(made: dropin.Dropin, tmp_path: Path) -> None:
    clip = tmp_path / "clip.y4m"
    source = "testsrc2=s=160x120:r=10:d=0.5,format=yuv420p"
    output(STOCK, "-v", "error", "-f", "lavfi", "-i", source, clip)
    for words in ("dnn_sr=model=game_x2", "lowrank_pre", "mesh_inpaint=rect='30|20|40|30'"):
        command = ["-v", "error", "-i", clip, "-vf", words, "-f", "md5", "-"]
        assert output(made.ffmpeg, *command) == output(tools.built().ffmpeg, *command), words


def test_a_second_run_takes_no_time(
    made: dropin.Dropin, clarivid: Callable[..., subprocess.CompletedProcess[str]]
) -> None:
    state = made.report.stat()
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    done = clarivid("ffmpeg", "dropin", "--json")
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    assert after.ru_utime - before.ru_utime < 2  # half a second; a comparison alone takes half a minute
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["ffmpeg"] == str(made.ffmpeg)
    assert done.stderr == ""
    assert made.report.stat() == state


def test_path_and_doctor_tell_where_it_is(
    made: dropin.Dropin, clarivid: Callable[..., subprocess.CompletedProcess[str]]
) -> None:
    assert clarivid("ffmpeg", "path", "--dropin").stdout == f"{made.ffmpeg}\n"
    assert clarivid("ffmpeg", "path", "--dropin", "--bare").returncode == 2
    part = doctor._dropin()
    assert part.ok
    assert str(made.ffmpeg) in part.text


def test_an_error_of_a_filter_is_the_exit_code(made: dropin.Dropin) -> None:
    done = subprocess.run(
        [made.ffmpeg, "-v", "error", "-f", "lavfi", "-i", "testsrc2=d=1,dnn_sr=model=nowhere",
         "-f", "null", "-"],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode != 0
    assert "nowhere" in done.stderr
