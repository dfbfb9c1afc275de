# SPDX-License-Identifier: BSD-2-Clause
"""Frames of files: read by PyAV, written by PyAV, and pulled through a chain by our ffmpeg."""

from __future__ import annotations

import gc
import itertools
import os
import resource
import subprocess
import sys
import time
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest

import clarivid
from clarivid import Frame, InputError, ToolError
from clarivid.chains import Chain
from clarivid.frame import PIXEL_FORMATS, same_samples
from clarivid.video_io import ChainFrames, chain_frames, read_frames, write_frames
from filter_tools import built, run

COLOUR = "setparams=range=tv:colorspace=bt709:color_primaries=bt2020:color_trc=smpte2084"


def make(path: Path, *options: str, pix_fmt: str = "yuv420p", seconds: int = 2) -> Path:
    """2 s of 64x48 at 25 fps, with sound."""
    source = f"testsrc2=s=64x48:r=25:d={seconds},format={pix_fmt},{COLOUR}"
    run(
        *("-f", "lavfi", "-i", source, "-f", "lavfi", "-i", f"sine=d={seconds}"),
        *(options or ("-c:v", "libx264", "-crf", "30", "-g", "10", "-c:a", "aac")),
        *("-pix_fmt", pix_fmt, path),
    )
    return path


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    built()
    return make(tmp_path_factory.mktemp("clips") / "a clip.mp4")


def raw(path: Path, chain: str, pix_fmt: str) -> bytes:
    return run(
        "-i", path, "-vf", f"{chain},format={pix_fmt}", "-fps_mode", "passthrough", "-f", "rawvideo", "-"
    ).stdout


def samples(frames: Iterator[Frame] | list[Frame]) -> bytes:
    return b"".join(np.ascontiguousarray(plane).tobytes() for frame in frames for plane in frame.numpy())


def test_frames_come_with_the_samples_time_and_colour_of_the_file(clip: Path) -> None:
    with read_frames(clip) as reader:
        assert (reader.width, reader.height, reader.rate, reader.seconds) == (64, 48, 25, 2.0)
        frames = list(reader)
    assert samples(frames) == raw(clip, "null", "yuv420p")
    assert [frame.time for frame in frames] == [Fraction(i, 25) for i in range(50)]
    first = frames[0]
    assert (first.range, first.matrix, first.primaries, first.transfer) == ("limited", "bt709", 9, 16)
    assert first.sample_aspect == 1
    assert first.duration is not None
    assert first.duration * first.time_base == Fraction(1, 25)


@pytest.mark.parametrize("pix_fmt", ["yuv420p", "nv12", "yuv420p10le"])  # no container here has p010le
def test_formats_of_420_are_handed_through_untouched(tmp_path: Path, pix_fmt: str) -> None:
    path = make(tmp_path / "raw.nut", "-an", "-c:v", "rawvideo", pix_fmt=pix_fmt, seconds=1)
    frames = list(read_frames(path))
    assert {frame.pixel_format for frame in frames} == {pix_fmt}
    assert samples(frames) == raw(path, "null", pix_fmt)


def test_other_formats_are_an_error_or_converted_when_asked(tmp_path: Path) -> None:
    path = make(tmp_path / "c.mkv", "-an", "-c:v", "ffv1", pix_fmt="yuv444p", seconds=1)
    with pytest.raises(InputError, match=r"frames of yuv444p, and clarivid works on 4:2:0"):
        next(read_frames(path))
    assert next(read_frames(path, pixel_format="yuv420p10le")).pixel_format == "yuv420p10le"


def test_without_pyav_there_is_a_sentence(clip: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "av", None)
    for use in (read_frames, lambda path: chain_frames("null", path), lambda path: write_frames(path, [])):
        with pytest.raises(ToolError, match=r"pip install 'clarivid\[video\]'"):
            use(clip)


def test_full_range_by_name_is_full_range(tmp_path: Path) -> None:
    path = tmp_path / "m.avi"
    run("-f", "lavfi", "-i", "testsrc2=s=64x48:d=0.2", "-c:v", "mjpeg", "-pix_fmt", "yuvj420p", path)
    assert next(read_frames(path)).range == "full"


def test_start_leaves_out_what_is_before(clip: Path) -> None:
    times = [frame.time for frame in read_frames(clip, start=0.75)]
    assert times[0] == Fraction(19, 25)
    assert len(times) == 31
    with pytest.raises(InputError, match="start=-1 is no time"):
        read_frames(clip, start=-1)


def test_frames_outlive_their_reader_and_cannot_be_written(clip: Path) -> None:
    frames = list(read_frames(clip))
    kept = samples(frames)
    gc.collect()
    list(read_frames(clip))
    assert samples(frames) == kept
    with pytest.raises(ValueError, match="read-only"):
        frames[0].planes[0][0, 0] = 0


def cut(path: Path, source: Path, share: float) -> Path:
    data = source.read_bytes()
    path.write_bytes(data[: int(len(data) * share)])
    return path


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("fast.mp4", ["-c:v", "libx264", "-c:a", "aac", "-movflags", "+faststart"]),
        ("cut.mkv", ["-c:v", "libx264", "-c:a", "aac"]),
        ("raw.nut", ["-an", "-c:v", "rawvideo"]),
    ],
)
def test_a_file_that_ends_in_the_middle_is_an_error_after_its_good_frames(
    tmp_path: Path, name: str, options: list[str]
) -> None:
    whole = make(tmp_path / f"whole-{name}", *options, seconds=3)
    broken = cut(tmp_path / name, whole, 0.6)
    seen: list[Frame] = []
    with pytest.raises(InputError, match=r"ends in the middle|is damaged") as caught:
        seen.extend(frame for frame in read_frames(broken))
    assert 10 < len(seen) < 75
    assert "\n" not in str(caught.value)
    with pytest.raises(InputError, match=r"ends in the middle|is damaged"):
        list(chain_frames("null", broken))


@pytest.mark.parametrize("reader", [read_frames, lambda path: chain_frames("null", path)])
def test_files_that_are_no_video_get_a_sentence(tmp_path: Path, clip: Path, reader: Any) -> None:
    text = tmp_path / "notes.mp4"
    text.write_text("no film at all\n" * 50)
    sound = tmp_path / "sound.mp4"
    run("-f", "lavfi", "-i", "sine=d=0.2", "-c:a", "aac", sound)
    for path, says in (
        (tmp_path / "none.mp4", "none.mp4 does not exist"),
        (tmp_path, r"is a folder|is no file"),
        (text, "notes.mp4 is no video that (FFmpeg|ffmpeg) reads"),
        (sound, "sound.mp4 has no video stream; it has audio"),
        (cut(tmp_path / "head.mp4", clip, 0.5), "is no video that .* or is cut off"),
    ):
        with pytest.raises(InputError, match=says) as caught:
            reader(path)
        assert "\n" not in str(caught.value)


@pytest.mark.parametrize("pixel_format", PIXEL_FORMATS)
def test_what_is_written_is_read_again(tmp_path: Path, pixel_format: str) -> None:
    """ffv1 is lossless; it takes no pairs of chroma, so those are stored as planes."""
    random = np.random.default_rng(1)
    form = PIXEL_FORMATS[pixel_format]
    shift = 6 if pixel_format == "p010le" else 0
    frames = [
        Frame(
            tuple(
                (random.integers(0, 1 << form.bit_depth, shape) << shift).astype(form.type)
                for shape in form.shapes(35, 21)
            ),
            pixel_format,
            35,
            21,
            pts=3 * i,
            duration=3,
            time_base=Fraction(1, 75),
            range="full",
            matrix="bt2020",
            primaries=9,
            transfer=14,
        )
        for i in range(5)
    ]
    path = tmp_path / "out.mkv"
    assert write_frames(path, iter(frames), codec="ffv1") == 5
    again = list(read_frames(path, pixel_format=pixel_format))
    assert [frame.time for frame in again] == [frame.time for frame in frames]
    assert all(same_samples(a, b) for a, b in zip(again, frames, strict=True))
    for name in ("range", "matrix", "primaries", "transfer"):
        assert getattr(again[0], name) == getattr(frames[0], name)


def packets(path: Path, kind: str) -> list[bytes]:
    with av.open(str(path)) as container:
        stream = next(stream for stream in container.streams if stream.type == kind)
        return [bytes(packet) for packet in container.demux(stream) if packet.dts is not None]


def test_options_reach_the_encoder_and_sound_is_copied(tmp_path: Path, clip: Path) -> None:
    small, big = tmp_path / "small.mp4", tmp_path / "big.mp4"
    for path, crf in ((small, 45), (big, 10)):
        frames = (frame.replace(sample_aspect=Fraction(4, 3)) for frame in read_frames(clip))
        write_frames(path, frames, crf=crf, options={"preset": "fast"}, audio_from=clip)
    assert next(read_frames(small)).sample_aspect == Fraction(4, 3)
    assert len(packets(small, "video")) == len(packets(big, "video")) == 50
    assert sum(map(len, packets(small, "video"))) < sum(map(len, packets(big, "video"))) / 2
    assert packets(small, "audio") == packets(clip, "audio")


def test_a_container_that_does_not_hold_the_sample_aspect_is_told(
    tmp_path: Path, clip: Path, caplog: pytest.LogCaptureFixture
) -> None:
    frames = [frame.replace(sample_aspect=Fraction(4, 3)) for frame in read_frames(clip)][:2]
    for name, codec in (("a.mp4", "libx264"), ("a.mkv", "libx264"), ("b.mkv", "ffv1")):
        assert not caplog.messages
        write_frames(tmp_path / name, frames, codec=codec)
        kept = next(read_frames(tmp_path / name)).sample_aspect == Fraction(4, 3)
        assert kept == (not caplog.messages)
    assert "b.mkv does not say that a sample is 4/3 times as wide as high" in caplog.text


def test_frames_without_time_need_a_rate(tmp_path: Path, clip: Path) -> None:
    frames = [frame.replace(pts=None, duration=None, time_base=None) for frame in read_frames(clip)]
    with pytest.raises(InputError, match="the frames have no pts: say with rate="):
        write_frames(tmp_path / "o.mp4", frames)
    write_frames(tmp_path / "o.mp4", frames, rate=30)
    assert [frame.time for frame in read_frames(tmp_path / "o.mp4")][:3] == [
        0,
        Fraction(1, 30),
        Fraction(1, 15),
    ]


def broken_in_the_middle(clip: Path) -> Iterator[Frame]:
    for index, frame in enumerate(read_frames(clip)):
        if index == 20:
            raise KeyError("a bug of the caller's")
        yield frame


def test_nothing_is_left_of_what_fails(tmp_path: Path, clip: Path) -> None:
    with pytest.raises(KeyError):
        write_frames(tmp_path / "o.mp4", broken_in_the_middle(clip))
    frames = list(read_frames(clip))
    smaller = Frame.from_planes([np.zeros(s, np.uint8) for s in ((8, 8), (4, 4), (4, 4))], pts=99)
    for wrong, says in (
        ([frames[0], frames[0]], "frame 1 has the pts 0 after 0: they have to rise"),
        ([frames[0], smaller], "frame 1 is of another kind than those before: 8x8 after 64x48"),
        ([frames[0], "x"], "frame 1 is a str"),
        ([], "there are no frames"),
    ):
        with pytest.raises(InputError, match=says):
            write_frames(tmp_path / "o.mp4", wrong)  # type: ignore[arg-type]
    assert not list(tmp_path.iterdir())


def test_an_output_that_is_there_stays(tmp_path: Path, clip: Path) -> None:
    path = tmp_path / "o.mp4"
    path.write_text("mine")
    with pytest.raises(InputError, match="exists"):
        write_frames(path, read_frames(clip))
    with pytest.raises(KeyError):
        write_frames(path, broken_in_the_middle(clip), overwrite=True)
    assert path.read_text() == "mine"
    assert write_frames(path, read_frames(clip), overwrite=True) == 50
    assert [p.name for p in tmp_path.iterdir()] == ["o.mp4"]


@pytest.mark.parametrize(
    ("name", "change", "error", "says"),
    [
        ("o.mp4", {"codec": "libx266"}, InputError, 'codec="libx266" is no encoder'),
        ("o", {}, InputError, "has no suffix"),
        ("gone/o.mp4", {}, InputError, "the folder .* does not exist"),
        ("o.xyz", {}, ToolError, "cannot be written"),
        ("o.mp4", {"options": {"preset": "nonsense"}}, ToolError, "cannot be written"),
        ("o.mp4", {"audio_from": "/nonexistent/sound.mp4"}, InputError, "does not exist"),
        ("o.webm", {}, ToolError, "cannot be written"),
    ],
)
def test_outputs_that_cannot_be_get_a_sentence(
    tmp_path: Path, clip: Path, name: str, change: dict[str, Any], error: type[Exception], says: str
) -> None:
    with pytest.raises(error, match=says):
        write_frames(tmp_path / name, read_frames(clip), **change)
    assert not list(tmp_path.iterdir())


FULL = """
import resource, sys
import clarivid
resource.setrlimit(resource.RLIMIT_FSIZE, (20000, 20000))  # a disk that is full after 20 kB
try:
    clarivid.write_frames(sys.argv[2], clarivid.read_frames(sys.argv[1]), codec="ffv1")
except clarivid.ToolError as error:
    print(error)
"""


def test_a_full_disk_is_an_error_and_leaves_nothing(tmp_path: Path, clip: Path) -> None:
    assert resource.getrlimit(resource.RLIMIT_FSIZE)[0] < 0  # no limit for us
    done = subprocess.run(
        [sys.executable, "-c", FULL, str(clip), str(tmp_path / "o.mkv")],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert "o.mkv cannot be written" in done.stdout, done.stderr
    assert not list(tmp_path.iterdir())


def test_a_chain_gives_the_pixels_that_ffmpeg_gives(clip: Path) -> None:
    chain = Chain(clarivid.LowrankPre(strength=0.5, precision="fp32", threads=1))
    frames = list(chain.frames(clip))
    assert len(frames) == 50
    assert samples(frames) == raw(clip, str(chain.to_ffmpeg()), "yuv420p")
    assert [frame.time for frame in frames] == [Fraction(i, 25) for i in range(50)]
    first = frames[0]
    assert (first.range, first.matrix, first.primaries, first.transfer) == ("limited", "bt709", 9, 16)
    assert first.siting == "left"


def test_frames_of_a_chain_keep_uneven_times_and_none_is_dropped(tmp_path: Path, clip: Path) -> None:
    source = tmp_path / "uneven.mp4"
    uneven = ("-an", "-vf", "setpts='(N+0.3*mod(N,3))/25/TB',settb=1/90000", "-fps_mode", "passthrough")
    run("-i", clip, *uneven, source)
    times = [frame.time for frame in read_frames(source)]
    assert len(times) == 50
    assert len({after - before for before, after in itertools.pairwise(times)}) > 1
    assert [frame.time for frame in Chain.from_ffmpeg("null").frames(source)] == times


def test_an_object_on_frames_gives_the_pixels_of_its_filter(clip: Path) -> None:
    pre = clarivid.LowrankPre(precision="fp32", threads=1)
    for ours, theirs in zip(read_frames(clip), Chain(pre).frames(clip), strict=True):
        assert same_samples(pre(ours), theirs)
        assert ours.time == theirs.time


def test_stock_filters_change_size_format_and_colour(clip: Path) -> None:
    chain = (
        "scale=30:22,format=p010le,setsar=4/3,setparams=range=pc:colorspace=bt470bg,select='not(mod(n,5))'"
    )
    frames = list(chain_frames(chain, clip))
    assert len(frames) == 10
    assert {(f.width, f.height, f.pixel_format, f.range, f.matrix) for f in frames} == {
        (30, 22, "yuv420p10le", "full", "bt470bg")
    }
    assert samples(frames) == raw(clip, chain, "yuv420p10le")
    assert frames[1].sample_aspect == Fraction(4, 3)
    assert frames[1].time == Fraction(5, 25)


def test_what_leaves_the_chain_in_another_format_is_converted(clip: Path) -> None:
    assert next(chain_frames("format=yuv444p10le", clip)).pixel_format == "yuv420p10le"


def test_a_chain_may_have_a_mask(tmp_path: Path, clip: Path) -> None:
    mask = tmp_path / "mask.mkv"
    run(
        "-f",
        "lavfi",
        "-i",
        "color=black:s=64x48:r=25:d=2,drawbox=10:10:20:16:white:fill",
        "-c:v",
        "ffv1",
        mask,
    )
    frames = list(chain_frames("mesh_inpaint=model=none", clip, mask=mask))
    assert len(frames) == 50
    assert samples(frames) != raw(clip, "null", "yuv420p")
    with pytest.raises(InputError, match="a mask goes into mesh_inpaint"):
        chain_frames("null", clip, mask=mask)


def gone(frames: ChainFrames) -> bool:
    return frames._process.poll() is not None


def test_ffmpeg_is_gone_when_the_iterator_is_closed_early(clip: Path) -> None:
    frames = chain_frames("loop=loop=-1:size=1", clip)  # endless
    next(frames)
    frames.close()
    assert gone(frames)
    assert list(frames) == []
    with chain_frames("loop=loop=-1:size=1", clip) as again:
        kept = next(again)
    assert gone(again)
    assert kept.numpy()[0].shape == (48, 64)


def test_ffmpeg_is_gone_when_the_iterator_is_let_go_of(clip: Path) -> None:
    frames = chain_frames("loop=loop=-1:size=1", clip)
    process = frames._process
    for _ in frames:
        break
    del frames, _
    gc.collect()
    assert process.poll() is not None


def test_an_error_has_the_last_lines_of_ffmpeg(clip: Path) -> None:
    with pytest.raises(ToolError, match="crop") as caught:
        list(chain_frames("crop=9000:9000", clip))
    assert "Invalid too big or non positive size" in str(caught.value)
    with pytest.raises(ToolError, match="nonesuch_x2"):
        next(chain_frames("dnn_sr=model=nonesuch_x2", clip))


def test_much_that_ffmpeg_says_does_not_stop_it(clip: Path) -> None:
    """More than a pipe holds: showinfo says some 300 bytes a frame, and a line for each plane."""
    assert sum(1 for _ in chain_frames("loop=loop=20:size=50,showinfo", clip)) == 21 * 50


def test_frames_go_from_file_to_file_in_a_few_lines(tmp_path: Path, clip: Path) -> None:
    upscale = clarivid.LowrankPre()
    out = tmp_path / "out.mp4"
    done = clarivid.write_frames(
        out, (upscale(frame) for frame in clarivid.read_frames(clip)), crf=21, audio_from=clip
    )
    assert done == 50
    with av.open(str(out)) as container:
        assert [stream.type for stream in container.streams] == ["video", "audio"]
        assert container.streams.video[0].frames == 50


def test_pictures_are_decoded_while_others_work(clip: Path) -> None:
    """Reading holds no lock that another reader needs."""
    readers = [read_frames(clip) for _ in range(3)]
    start = time.monotonic()
    for triple in zip(*readers, strict=True):
        assert same_samples(triple[0], triple[1])
        assert same_samples(triple[0], triple[2])
    assert time.monotonic() - start < 30
    assert os.cpu_count()
