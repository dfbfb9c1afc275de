# SPDX-License-Identifier: BSD-2-Clause
"""``clarivid run``: what goes in, what comes out, and what is left when it does not work."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from clarivid import chains, clips, quality
from clarivid.errors import InputError, ToolError
from conftest import Run

FRAMES = 30


@pytest.fixture(scope="module")
def film(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A little over a second with sound."""
    path = tmp_path_factory.mktemp("film") / "in.mp4"
    command = [clips.encoder(), "-v", "error", "-f", "lavfi", "-i", "testsrc2=s=128x96:r=25", "-f", "lavfi"]
    command += ["-i", "sine=d=1.2", "-frames:v", str(FRAMES), "-c:v", "libx264", "-c:a", "aac", str(path)]
    subprocess.run(command, check=True)
    return path


def streams(path: Path) -> str:
    """What ffmpeg says about a file."""
    command = [clips.encoder(), "-hide_banner", "-i", str(path)]
    return subprocess.run(command, capture_output=True, text=True, check=False).stderr


def packets(path: Path) -> str:
    """Digests of the audio packets."""
    command = [
        clips.encoder(),
        "-v",
        "error",
        "-i",
        str(path),
        "-map",
        "0:a",
        "-c",
        "copy",
        "-f",
        "streamhash",
        "-",
    ]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


def test_pictures_are_filtered_and_audio_is_copied(film: Path, tmp_path: Path, clarivid: Run) -> None:
    out = tmp_path / "out.mp4"
    done = clarivid("run", "scale=64:48", str(film), str(out))
    assert done.returncode == 0, done.stderr
    assert f"{out}: {FRAMES} frames" in done.stdout
    assert "64x48" in streams(out)
    assert packets(out) == packets(film)
    assert quality.frame_count(out) == FRAMES
    assert sorted(tmp_path.iterdir()) == [out], "a draft is left"
    umask = os.umask(0)
    os.umask(umask)
    assert out.stat().st_mode & 0o777 == 0o666 & ~umask


def test_progress_ends_at_the_whole_film(film: Path, tmp_path: Path) -> None:
    seen: list[chains.Progress] = []
    done = chains.run("null", film, tmp_path / "o.mkv", progress=seen.append)
    assert done.frames == FRAMES
    assert seen[-1].total == pytest.approx(1.2, abs=0.1)
    assert seen[-1].seconds == pytest.approx(seen[-1].total, abs=0.15)


def test_encoder_and_its_options_are_those_asked_for(film: Path, tmp_path: Path) -> None:
    chains.run("null", film, tmp_path / "o.mkv", video_codec="ffv1", video_options=["-slices", "4"])
    assert "Video: ffv1" in streams(tmp_path / "o.mkv")


def test_a_failure_carries_what_ffmpeg_said_and_leaves_nothing(film: Path, tmp_path: Path) -> None:
    with pytest.raises(ToolError, match=r"No such filter: 'nosuch'"):
        chains.run("nosuch", film, tmp_path / "o.mp4")
    with pytest.raises(ToolError, match=r"(?s)ended with code .* on .*in.mp4; it said:.*Undefined constant"):
        chains.run("hue=s='a,b'", film, tmp_path / "o.mp4")
    assert not list(tmp_path.iterdir())


def test_an_output_that_is_there_is_kept_unless_told_otherwise(film: Path, tmp_path: Path) -> None:
    out = tmp_path / "o.mp4"
    out.write_bytes(b"precious")
    with pytest.raises(InputError, match=r"exists: name another output"):
        chains.run("null", film, out)
    with pytest.raises(ToolError):
        chains.run("nosuch", film, out, overwrite=True)
    assert out.read_bytes() == b"precious"
    chains.run("null", film, out, overwrite=True)
    assert quality.frame_count(out) == FRAMES


def test_bad_files_are_sentences(film: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"nowhere.mp4 does not exist"):
        chains.run("null", tmp_path / "nowhere.mp4", tmp_path / "o.mp4")
    with pytest.raises(InputError, match=r"has no suffix"):
        chains.run("null", film, tmp_path / "o")
    with pytest.raises(InputError, match=r"the folder .* does not exist"):
        chains.run("null", film, tmp_path / "no" / "o.mp4")
    with pytest.raises(InputError, match=r"is an input"):
        chains.run("null", film, film, overwrite=True)


@pytest.mark.usefixtures("interruptible")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interruption_ends_ffmpeg_and_leaves_nothing(
    film: Path, tmp_path: Path, number: signal.Signals
) -> None:
    command = [
        sys.executable,
        "-m",
        "clarivid",
        "run",
        "realtime=speed=0.02",
        str(film),
        str(tmp_path / "o.mp4"),
    ]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True, stdin=subprocess.DEVNULL) as process:
        until = time.monotonic() + 20
        while not list(tmp_path.iterdir()) and time.monotonic() < until:
            time.sleep(0.02)
        time.sleep(0.3)
        process.send_signal(number)
        _, messages = process.communicate(timeout=20)
    assert process.returncode == 130, messages
    assert not list(tmp_path.iterdir())


def test_a_mask_takes_an_object_away(film: Path, tmp_path: Path, clarivid: Run) -> None:
    mask = tmp_path / "mask.mkv"
    source = "color=black:s=128x96:r=25,drawbox=40:30:30:30:white:fill,format=gray"
    command = [clips.encoder(), "-v", "error", "-f", "lavfi", "-i", source, "-frames:v", str(FRAMES)]
    subprocess.run([*command, "-c:v", "ffv1", str(mask)], check=True)
    out = tmp_path / "out.mkv"
    codec = ("--video-codec", "ffv1")
    done = clarivid("run", "mesh_inpaint=model=none", str(film), str(out), "--mask", str(mask), *codec)
    assert done.returncode == 0, done.stderr
    assert quality.frame_count(out) == FRAMES
    assert quality.compare(out, film).psnr_y < 45
