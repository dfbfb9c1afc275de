# SPDX-License-Identifier: BSD-2-Clause
"""Programs of others that use libavfilter have the filters by the drop-in: mpv of Debian, without a screen.

The lines are those of docs/ffmpeg.md.
"""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
from pathlib import Path

import pytest

import filter_tools as tools
from clarivid.errors import ToolError
from clarivid.ffmpeg import dropin
from conftest import ROOT, missing_here
from doc_blocks import blocks, commands
from recipe_tools import FRAMES, HEIGHT, STANDING, WIDTH, Made, make, make_clips

SECTION = (ROOT / "docs" / "ffmpeg.md").read_text("utf-8").partition("## Other programs")[0].count("\n")
LINES = list(
    commands(next(block for block in blocks(ROOT / "docs" / "ffmpeg.md") if block.line > SECTION).text)
)
SCREENLESS = "mpv --no-config --vo=null --ao=null --untimed "
FP32 = "dnn_sr=model=game_x2:precision=fp32"


@pytest.fixture(scope="module")
def starter() -> Path:
    """``clarivid-run`` of the drop-in for the FFmpeg that mpv uses."""
    if shutil.which("mpv") is None:
        missing_here("mpv is not installed: 'tools/setup.sh programs' does it")
    try:
        return dropin.find().run
    except ToolError as error:
        missing_here(f"{error} ('tools/setup.sh stock' does it)")


@pytest.fixture(scope="module")
def clips(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("programs")
    make_clips(folder)
    mask = (
        "-f",
        "lavfi",
        "-i",
        f"color=black:s={WIDTH}x{HEIGHT}:r=24:d=1,drawbox={box(STANDING)}:white:fill",
    )
    make(folder, *mask, "-c:v", "libx264", "-pix_fmt", "yuv420p", "mask.mkv")
    return folder


def box(place: tuple[int, int, int, int]) -> str:
    return ":".join(map(str, place))


def play(starter: Path | None, folder: Path, line: str) -> tuple[int, str]:
    """Run a line of the page, with nothing on a screen: exit code and what was said."""
    if "--o=" not in line:
        line = line.replace("mpv ", SCREENLESS)
    words = shlex.split(line)
    assert words[:2] == ["clarivid-run", "mpv"], line
    words = [*([] if starter is None else [str(starter)]), *words[1:]]
    done = subprocess.run(
        words, cwd=folder, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False, timeout=120,
        env={key: value for key, value in os.environ.items() if key != "DISPLAY"},
    )  # fmt: skip
    return done.returncode, done.stdout + done.stderr


@pytest.mark.parametrize("line", LINES)
def test_the_lines_of_the_page_run(line: str, starter: Path, clips: Path) -> None:
    code, said = play(starter, clips, line)
    assert code == 0, said
    scale = 1 if "mesh_inpaint" in line else 2
    if "--o=" not in line:
        assert f"VO: [null] {WIDTH * scale}x{HEIGHT * scale} yuv420p" in said
        return
    made = Made(clips, said)
    assert made.size("out.mp4") == (2 * WIDTH, 2 * HEIGHT)
    assert made.count("out.mp4") in (FRAMES - 1, FRAMES)  # mpv keeps the picture with the sound
    assert {stream["codec_name"] for stream in made.streams("out.mp4")} == {"h264", "aac"}


RAW = "--no-config --no-audio --of=rawvideo --ovc=rawvideo --o=mpv.yuv"


@pytest.mark.parametrize(
    "chain", [FP32, f"lavfi=[{FP32},lowrank_pre]", "lavfi=[mesh_inpaint=rect=60|100|36|26:precision=fp32]"]
)
def test_mpv_has_the_samples_of_ffmpeg(chain: str, starter: Path, clips: Path) -> None:
    code, said = play(starter, clips, f"clarivid-run mpv {RAW} --vf='{chain}' film.mp4")
    assert code == 0, said
    plain = re.sub(r"lavfi=\[(.*)\]", r"\1", chain)
    ours = tools.run("-i", clips / "film.mp4", "-map", "0:v", "-vf", plain, "-f", "rawvideo", "-").stdout
    assert len(ours) == FRAMES * tools.frame_bytes(
        *((2 * WIDTH, 2 * HEIGHT) if "dnn_sr" in chain else (WIDTH, HEIGHT)), "yuv420p"
    )
    assert (clips / "mpv.yuv").read_bytes() == ours


def test_a_filter_that_fails_ends_mpv_with_its_sentence(starter: Path, clips: Path) -> None:
    code, said = play(starter, clips, "clarivid-run mpv --vf=dnn_sr=model=no_such_model in.mp4")
    assert code != 0
    assert 'model "no_such_model" is not in' in said


def test_mpv_started_in_any_other_way_is_what_it_was(starter: Path, clips: Path) -> None:
    code, said = play(None, clips, LINES[0])
    assert code != 0
    assert "dnn_sr doesn't exist" in said
    words = ["mpv", *RAW.split(), "--vf=hue=h=20", "in.mp4"]
    sums = set()
    for start in ([], [str(starter)]):
        subprocess.run([*start, *words], cwd=clips, check=True, capture_output=True, timeout=60)
        sums.add((clips / "mpv.yuv").read_bytes())
    assert len(sums) == 1
