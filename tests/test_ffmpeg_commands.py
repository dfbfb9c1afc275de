# SPDX-License-Identifier: BSD-2-Clause
"""The command lines of docs/recipes.md: each does what is said of it there."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

import filter_tools as tools
from doc_blocks import commands
from recipe_tools import (
    FRAMES,
    HEIGHT,
    LOGO,
    MOVING,
    RATE,
    SHAPE,
    STANDING,
    WIDTH,
    Made,
    make_clips,
    recipes,
    run_block,
    script,
)

RECIPES = recipes()
RUN = {heading: block for heading, block in RECIPES.items() if not block.skip}
Check = Callable[[Made], None]
CHECKS: dict[str, Check] = {}


def promise(heading: str) -> Callable[[Check], Check]:
    """What the text under a heading says of what comes out."""

    def register(check: Check) -> Check:
        CHECKS[heading] = check
        return check

    return register


@pytest.fixture(scope="module")
def clips(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("recipes")
    make_clips(folder)
    return folder


@pytest.fixture
def page(clips: Path, tmp_path: Path) -> Path:
    """A folder with the clips, for one recipe."""
    return shutil.copytree(clips, tmp_path / "page", copy_function=os.link)


def test_every_command_line_has_a_check_of_what_it_gives() -> None:
    assert CHECKS.keys() == RUN.keys()
    assert len(RUN) >= 20


@pytest.mark.parametrize("heading", RUN)
def test_a_command_line_does_what_the_page_says(heading: str, page: Path) -> None:
    made = run_block(RUN[heading].text, page)
    assert not complaints(made.said), made.said
    CHECKS[heading](made)


def test_every_line_starts_with_the_program_that_it_is_about() -> None:
    """Nothing on the page needs what a transcode engineer would not have at hand."""
    programs = {"ffmpeg", "cat", "for", "printf", "mkdir", "grep", "taskset"}
    for heading, block in RECIPES.items():
        first = re.sub(r"^(\w+=\S+ )+", "", next(commands(block.text))).split()[0]
        assert first in programs, heading


def complaints(said: str) -> list[str]:
    """What ffmpeg warned about, but for what is so in every ffmpeg."""
    found = [line for line in said.splitlines() if re.match(r"(\[[^]]+\] )?\[(warning|error|fatal)\]", line)]
    return [line for line in found if "deprecated pixel format used" not in line]  # JPEG's, in swscale


def close(a: float, b: float) -> bool:
    return abs(a - b) < 0.002


def same_times(made: Made, source: str, result: str) -> None:
    before, after = made.times(source), made.times(result)
    assert len(before) == len(after)
    assert all(map(close, before, after))


def doubled(made: Made, source: str, result: str, frames: int = FRAMES) -> None:
    """Twice the size, every frame at its time, and the picture of the source: not any other."""
    width, height = made.size(source)
    assert made.size(result) == (2 * width, 2 * height)
    assert made.count(result) == frames
    same_times(made, source, result)
    alike(made.luma(result)[:, ::2, ::2], made.luma(source))


def alike(a: tools.Array, b: tools.Array, limit: float = 12.0) -> None:
    """The same scene at the same times: far nearer than the next frame, which is two samples further."""
    assert a.shape == b.shape
    assert np.abs(a.astype(float) - b).mean() < limit


@promise("Twice the size, all else copied")
def _copied(made: Made) -> None:
    doubled(made, "in.mkv", "out.mkv")
    kinds = [(one["codec_type"], one["codec_name"]) for one in made.streams("out.mkv")]
    assert kinds == [("video", "h264"), ("audio", "aac"), ("subtitle", "subrip")]
    for stream in ("a", "s"):
        assert made.coded("out.mkv", stream) == made.coded("in.mkv", stream)
    assert made.container("out.mkv") == made.container("in.mkv")
    assert made.container("out.mkv")["chapters"][0]["tags"]["title"] == "first half"
    assert made.streams("out.mkv")[1]["tags"]["language"] == "deu"
    for name in ("color_range", "color_space", "color_primaries", "color_transfer"):
        assert made.video("out.mkv")[name] == made.video("in.mkv")[name] != "unknown"


@promise("Fewer bits")
def _fewer_bits(made: Made) -> None:
    line = RUN["Fewer bits"].text.replace("-vf lowrank_pre ", "").replace("out.mp4", "without.mp4")
    words = line.split()[1:]
    tools.run(*(str(made.path(word)) if word.endswith(".mp4") else word for word in words))
    assert made.bytes_of("out.mp4", "v") < 0.97 * made.bytes_of("without.mp4", "v")
    alike(made.luma("out.mp4"), made.luma("in.mp4"))
    same_times(made, "in.mp4", "out.mp4")


@promise("HDR in 10 bits")
def _hdr(made: Made) -> None:
    before, after = made.video("hdr.mkv"), made.video("out.mkv")
    assert (after["codec_name"], after["pix_fmt"]) == ("hevc", "yuv420p10le")
    for name in ("color_range", "color_space", "color_primaries", "color_transfer"):
        assert after[name] == before[name]
    assert after["color_transfer"] == "smpte2084"

    def light(name: str) -> list[dict[str, object]]:
        return [side for side in made.frames(name)[0]["side_data_list"] if "ight" in side["side_data_type"]
                or "display" in side["side_data_type"]]  # fmt: skip

    assert len(light("hdr.mkv")) == 2
    assert light("out.mkv") == light("hdr.mkv")
    assert (made.luma("out.mkv", "yuv420p10le") % 4 != 0).any()


@promise("10 bits out of 8")
def _ten_bits(made: Made) -> None:
    doubled(made, "in.mp4", "out.mp4")
    assert made.video("out.mp4")["pix_fmt"] == "yuv420p10le"
    assert (made.luma("out.mp4", "yuv420p10le") % 4 != 0).mean() > 0.5
    assert made.coded("out.mp4", "a") == made.coded("in.mp4", "a")


@promise("AV1, by another ffmpeg")
def _av1(made: Made) -> None:
    video, audio = made.streams("out.mkv")
    assert (video["codec_name"], audio["codec_name"]) == ("av1", "aac")
    assert (video["width"], video["height"]) == (WIDTH, HEIGHT)
    assert int(video["nb_read_packets"]) == FRAMES
    assert made.coded("out.mkv", "a") == made.coded("in.mp4", "a")


@promise("A bit rate, in two passes")
def _two_passes(made: Made) -> None:
    assert made.path("ffmpeg2pass-0.log").stat().st_size > 0
    assert made.count("out.mp4") == FRAMES
    assert 0.75 < made.bytes_of("out.mp4", "v") * 8 / 400_000 < 1.25
    assert "2pass" not in made.said or "error" not in made.said


@promise("Variable frame rate")
def _variable(made: Made) -> None:
    times = made.times("vfr.mkv")
    gaps = np.diff(times)
    assert gaps.max() > 1.4 * gaps.min()
    doubled(made, "vfr.mkv", "out.mkv", len(times))


@promise("A long file in pieces, on several machines")
def _pieces(made: Made) -> None:
    pieces = sorted(made.folder.glob("big_piece_*.mkv"))
    assert len(pieces) == 2
    assert sum(made.count(piece.name) for piece in pieces) == FRAMES
    assert made.size("out.mp4") == (2 * WIDTH, 2 * HEIGHT)
    assert made.count("out.mp4") == FRAMES
    assert np.allclose(np.diff(made.times("out.mp4")), 1 / RATE, atol=0.002)
    alike(made.luma("out.mp4")[:, ::2, ::2], made.luma("in.mp4"))
    assert made.coded("out.mp4", "a") == made.coded("in.mp4", "a")


@promise("A ladder from one decode")
def _ladder(made: Made) -> None:
    rungs = {"top.mp4": 2.0, "middle.mp4": 1.0, "low.mp4": 0.5}
    for name, scale in rungs.items():
        assert made.size(name) == (WIDTH * scale, HEIGHT * scale)
        same_times(made, "in.mp4", name)
        assert made.coded(name, "a") == made.coded("in.mp4", "a")
        assert made.keys(name) == made.keys("top.mp4")
    assert len(made.keys("top.mp4")) == 2
    assert len(re.findall(r"\(h264 \(native\)\)|h264 \(native\) ->", made.said)) <= 1
    assert made.said.count("[Parsed_lowrank_pre") >= 3


@promise("HLS with two variants")
def _hls(made: Made) -> None:
    main = made.path("main.m3u8").read_text("utf-8")
    assert re.findall(r"RESOLUTION=(\d+x\d+)", main) == [f"{2 * WIDTH}x{2 * HEIGHT}", f"{WIDTH}x{HEIGHT}"]
    for number, size in enumerate([(2 * WIDTH, 2 * HEIGHT), (WIDTH, HEIGHT)]):
        playlist = made.path(f"live_{number}.m3u8").read_text("utf-8")
        assert playlist.count("#EXTINF") == 2
        assert "#EXT-X-INDEPENDENT-SEGMENTS" in playlist
        assert made.size(f"live_{number}.m3u8") == size
        assert made.count(f"live_{number}.m3u8") == FRAMES


@promise("One encode, two outputs")
def _tee(made: Made) -> None:
    assert made.path("stream.m3u8").read_text("utf-8").count("#EXTINF") == 2
    assert made.count("archive.mp4") == made.count("stream.m3u8") == FRAMES
    assert made.pictures("archive.mp4") == made.pictures("stream.m3u8")
    assert made.said.count("[libx264 @") > 0
    assert made.said.count("using cpu capabilities") == 1  # one encoder


@promise("A transport stream, with little delay")
def _live(made: Made) -> None:
    same_count = made.count("out.ts")
    assert same_count == FRAMES
    alike(made.luma("out.ts"), made.luma("in.ts"))
    assert made.coded("out.ts", "a") == made.coded("in.ts", "a")
    assert {frame["pict_type"] for frame in made.frames("out.ts")} == {"I", "P"}


def test_live_frames_come_out_while_the_source_is_still_on(page: Path) -> None:
    """Of a stream that has not ended all frames but those that its B-frames keep in demuxer and decoder."""
    line = script(RUN["A transport stream, with little delay"].text).replace("\\\n", " ")
    words = re.sub(r"cat in.ts \| ffmpeg |> out.ts", "", line).split()
    process = subprocess.Popen(
        [str(tools.built().ffmpeg), "-nostdin", "-v", "error", *words],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE,
    )  # fmt: skip
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdin.write((page / "in.ts").read_bytes())
    process.stdin.flush()
    os.set_blocking(process.stdout.fileno(), False)
    data, end = b"", time.monotonic() + 60
    while frames_in(data) < FRAMES - 5 and time.monotonic() < end:
        time.sleep(0.1)
        data += process.stdout.read() or b""
    assert process.poll() is None
    process.kill()
    process.communicate()
    assert frames_in(data) >= FRAMES - 5


def frames_in(data: bytes) -> int:
    """How many pictures a transport stream has up to here."""
    words = ["-v", "quiet", "-select_streams", "v", "-show_entries", "packet=pts", "-of", "csv=p=0", "-"]
    done = subprocess.run(
        [str(tools.built().ffprobe), *words], input=data, capture_output=True, check=False, timeout=60
    )
    return len(done.stdout.split())


@promise("Raw frames through pipes")
def _raw(made: Made) -> None:
    assert made.path("out.yuv").stat().st_size == FRAMES * tools.frame_bytes(2 * WIDTH, 2 * HEIGHT, "yuv420p")


@promise("To an exact size")
def _exact(made: Made) -> None:
    assert made.size("out.mp4") == (384, 216)
    same_times(made, "in.mp4", "out.mp4")


@promise("Black bars off")
def _cropped(made: Made) -> None:
    assert made.size("out.mp4") == (512, 192)
    alike(made.luma("out.mp4")[:, ::2, ::2], made.luma("letterbox.mp4", before="crop=256:96:0:24"))


@promise("Interlaced video")
def _interlaced(made: Made) -> None:
    assert made.video("interlaced.mkv")["field_order"] not in ("progressive", "unknown")
    assert made.count("out.mkv") == 2 * made.count("interlaced.mkv")
    assert not any(frame["interlaced_frame"] for frame in made.frames("out.mkv"))
    assert made.size("out.mkv") == (2 * WIDTH, 2 * HEIGHT)
    without = tools.run("-i", made.path("interlaced.mkv"), "-vf", "dnn_sr=model=game_x2", "-f", "null", "-")
    assert any("interlaced" in line for line in tools.warnings(without))


@promise("Colours that the source does not name")
def _named_colours(made: Made) -> None:
    assert made.video("plain.mkv").get("color_space", "unknown") == "unknown"
    after = made.video("out.mkv")
    assert {after["color_space"], after["color_primaries"], after["color_transfer"]} == {"bt709"}
    assert after["color_range"] == "tv"
    assert made.size("out.mkv") == (4 * WIDTH, 4 * HEIGHT)


@promise("An image sequence")
def _sequence(made: Made) -> None:
    assert sorted(path.name for path in made.path("big").iterdir()) == ["0001.png", "0002.png", "0003.png"]
    for number in (1, 3):
        assert made.size(f"big/000{number}.png") == (2 * WIDTH, 2 * HEIGHT)
        alike(
            made.luma(f"big/000{number}.png", "yuv420p")[:, ::2, ::2],
            made.luma(f"shot/000{number}.png", "yuv420p"),
        )


@promise("One still picture")
def _still(made: Made) -> None:
    assert made.video("photo.jpg")["color_range"] == "pc"
    assert made.size("photo.png") == (2 * WIDTH, 2 * HEIGHT)
    alike(made.luma("photo.png", "yuv420p")[:, ::2, ::2], made.luma("photo.jpg", "yuv420p"), 6.0)


def vanished(made: Made, box: tuple[int, int, int, int], frames: range, shift: int = 0) -> None:
    """What stood in a box is gone from these frames, as if it had never been there; all else is as it was."""
    after, film, pan = (made.luma(name).astype(float) for name in ("out.mp4", "film.mp4", "in.mp4"))
    x, y, width, height = box
    for number in range(len(after)):
        hole = np.zeros((HEIGHT, WIDTH), bool)
        hole[y : y + height, x + shift * number : x + shift * number + width] = True
        around = np.zeros((HEIGHT, WIDTH), bool)  # the mask grows by 4, and an encoder blurs its border
        around[y - 8 : y + height + 8, x + shift * number - 8 : x + shift * number + width + 8] = True
        assert np.abs(after[number] - film[number])[~around].mean() < 3, number
        if number in frames:
            there, left = (np.abs(one[number] - pan[number])[hole].mean() for one in (film, after))
            assert left < there / 4, (number, there, left)
        else:
            assert np.abs(after[number] - film[number])[hole].mean() < 5, number


@promise("A logo in a corner, for a while")
def _logo(made: Made) -> None:
    same_times(made, "film.mp4", "out.mp4")
    vanished(made, LOGO, range(6, 15))


@promise("Boxes of each frame, then larger")
def _boxes(made: Made) -> None:
    doubled(made, "film.mp4", "out.mp4")
    made.path("large.mp4").write_bytes(made.path("out.mp4").read_bytes())
    tools.run("-i", made.path("large.mp4"), "-vf", "scale=iw/2:-2", "-crf", "12", made.path("out.mp4"))
    vanished(made, MOVING, range(FRAMES), shift=3)


@promise("A mask video")
def _mask_video(made: Made) -> None:
    assert made.count("out.mp4") in (11, 12)  # half a second, as the mask
    vanished(made, STANDING, range(FRAMES))


@promise("The alpha channel of a picture as the mask")
def _alpha(made: Made) -> None:
    assert made.count("out.mp4") == FRAMES
    vanished(made, SHAPE, range(FRAMES))
    assert made.coded("out.mp4", "a") == made.coded("film.mp4", "a")


@promise("A net of your own, by its path, in tiles")
def _tiles(made: Made) -> None:
    assert made.size("out.mp4") == (4 * WIDTH, 4 * HEIGHT)
    assert "tiles of 128x96" in made.said
    net = made.path("srv/nets/some_x4.onnx")

    def sums(tile: str) -> bytes:
        chain = f"dnn_sr=model={net}:tile={tile}:precision=fp32"
        return tools.run("-i", made.path("in.mp4"), "-map", "0:v", "-vf", chain, "-f", "framemd5", "-").stdout

    assert sums("128x96") == sums("none")


@promise("A folder with models")
def _folder(made: Made) -> None:
    doubled(made, "in.mp4", "out.mp4")
    chain = "dnn_sr=model=game_x2"  # whose copy it is
    tools.run("-i", made.path("in.mp4"), "-vf", chain, "-crf", "18", made.path("known.mp4"))
    assert made.pictures("out.mp4") == made.pictures("known.mp4")


@promise("The same samples on every run")
def _same(made: Made) -> None:
    one, two = (made.path(name).read_text("utf-8") for name in ("one.txt", "two.txt"))
    assert one == two
    assert len([line for line in one.splitlines() if not line.startswith("#")]) == FRAMES
    assert "precision=fp32, threads=1" in made.said.replace("strength=1, ", "")
    assert "threads=2" in made.said


@promise("A share of the cores")
def _share(made: Made) -> None:
    doubled(made, "in.mp4", "out.mp4")
    assert re.findall(
        r"threads=(\d+)", "".join(line for line in made.said.splitlines() if "model " in line)
    ) == [
        "1",
        "1",
    ]


@promise("Several frames at once")
def _several(made: Made) -> None:
    doubled(made, "in.mp4", "out.mp4")
    assert "4 in flight" in made.said

    def sums(count: int) -> bytes:
        chain = f"dnn_sr=model=natural_x2:async={count}"
        return tools.run("-i", made.path("in.mp4"), "-map", "0:v", "-vf", chain, "-f", "framemd5", "-").stdout

    assert sums(4) == sums(1)


@promise("Strength by time")
def _by_time(made: Made) -> None:
    before, after = made.luma("in.mp4"), made.luma("out.mkv")
    untouched = [np.array_equal(a, b) for a, b in zip(before, after, strict=True)]
    assert untouched == [time >= 0.5 for time in made.times("in.mp4")]


@promise("Which engine was taken")
def _report(made: Made) -> None:
    log = made.path("job.log").read_text("utf-8")
    for name in ("dnn_sr", "lowrank_pre"):
        line = next(line for line in log.splitlines() if f"Parsed_{name}" in line and "backend=" in line)
        assert re.search(r"backend=\w+, chosen because .*precision=\w+.*threads=\d", line)
        assert line in made.said  # what grep found


@promise("Before and after, side by side")
def _both(made: Made) -> None:
    assert made.size("both.mp4") == (4 * WIDTH, 2 * HEIGHT)
    picture = made.luma("both.mp4")
    alike(picture[:, :, : 2 * WIDTH], picture[:, :, 2 * WIDTH :])
    assert (picture[:, :, : 2 * WIDTH] != picture[:, :, 2 * WIDTH :]).mean() > 0.2
