# SPDX-License-Identifier: BSD-2-Clause
"""What our filters promise inside ffmpeg: every frame comes out, and what the net does not change stays.

Most tests run the dummy backend through the real conversions, so that each sample is known.
"""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest

import filter_tools as tools
from clarivid import LowrankPre, SuperResolution
from ffmpeg_series import HDR, setparams

FORMATS = ["yuv420p", "nv12", "yuv420p10le", "p010le"]
CLASSES = {"dnn_sr": SuperResolution, "lowrank_pre": LowrankPre}


@pytest.fixture(scope="module", params=tools.KINDS, ids=lambda kind: kind.name)
def kind(request: pytest.FixtureRequest) -> tools.Kind:
    """The filter under test."""
    found: tools.Kind = request.param
    return found


@pytest.fixture(scope="module")
def net(kind: tools.Kind, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A net for it, on YUV 4:2:0 itself."""
    return kind.net(tmp_path_factory.mktemp("net") / "random.onnx")


@pytest.fixture
def dummy(kind: tools.Kind, net: Path) -> str:
    return kind.chain(f"model={net}:backend=dummy")


@pytest.mark.parametrize("pix_fmt", FORMATS)
@pytest.mark.parametrize(("width", "height"), [(64, 48), (65, 49), (33, 32), (1, 1)])
def test_output_has_exactly_its_size_in_every_format(
    kind: tools.Kind, dummy: str, pix_fmt: str, width: int, height: int
) -> None:
    source = tools.pattern(width, height, pix_fmt)
    before = tools.filtered(source, "null", pix_fmt=pix_fmt)
    after = tools.filtered(source, dummy, pix_fmt=pix_fmt)
    frames = tools.frames(before, width, height, pix_fmt)
    assert len(frames) == 2
    assert after == b"".join(kind.expected(frame, width, height, pix_fmt) for frame in frames)


@pytest.mark.parametrize("pix_fmt", FORMATS)
def test_cropped_and_flipped_frames_are_read_where_they_lie(
    kind: tools.Kind, dummy: str, pix_fmt: str
) -> None:
    # crop moves pointers off their alignment, vflip makes strides negative; neither copies.
    source, one = tools.pattern(90, 70, pix_fmt), ("-frames:v", "1")
    cut = tools.filtered(source, "crop=41:33:6:10:exact=1", *one, pix_fmt=pix_fmt)
    assert tools.filtered(source, f"crop=41:33:6:10:exact=1,{dummy}", *one) == kind.expected(
        cut, 41, 33, pix_fmt
    )
    upright = tools.filtered(source, "crop=41:34:6:26:exact=1", *one, pix_fmt=pix_fmt)
    flipped = tools.filtered(source, f"vflip,crop=41:34:6:10:exact=1,{dummy},vflip", *one)
    assert flipped == kind.expected(upright, 41, 34, pix_fmt)


@pytest.mark.parametrize(
    ("given", "taken"),
    [
        ("yuv444p", "yuv420p"),
        ("yuv422p", "yuv420p"),
        ("yuv422p10le", "yuv420p10le"),
        ("yuv444p10le", "yuv420p10le"),
        ("yuv420p12le", "yuv420p10le"),
        ("rgb24", "yuv420p"),
        ("yuvj420p", "yuvj420p"),
    ],
)
def test_other_formats_come_as_the_nearest_native_one(dummy: str, given: str, taken: str) -> None:
    done = tools.run(
        "-f", "lavfi", "-i", f"testsrc2=s=64x48:r=1:d=1,format={given}",
        "-vf", f"{dummy},showinfo@out", "-f", "null", "-",
    )  # fmt: skip
    assert f" fmt:{taken} " in "".join(tools.shown(done, "out"))


def test_output_keeps_time_aspect_and_colour(kind: tools.Kind, dummy: str) -> None:
    done = tools.run(
        "-f", "lavfi", "-i", "testsrc2=s=64x48:r=25:d=0.4", "-vf",
        "setpts='N*N+3*N',setsar=4/3,"
        + setparams(HDR)
        + f",showinfo@in,{dummy},showinfo@out",
        "-fps_mode", "passthrough", "-f", "null", "-",
    )  # fmt: skip
    assert len(tools.kept(done, "in")) == 2 * 10
    assert tools.kept(done, "out") == tools.kept(done, "in")
    assert f"sar:4/3 s:{64 * kind.scale}x{48 * kind.scale}" in "".join(tools.shown(done, "out"))


def test_output_keeps_the_times_and_durations_of_a_file(kind: tools.Kind, dummy: str, tmp_path: Path) -> None:
    clip, out = tmp_path / "in.mov", tmp_path / "out.mov"
    passthrough = ["-fps_mode", "passthrough", "-c:v", "png"]
    tools.run("-f", "lavfi", "-i", "testsrc2=s=64x48:r=25:d=0.5", "-vf", "setpts='N*N/25/TB'",
              *passthrough, clip)  # fmt: skip
    chain = f"format=yuv420p,showinfo@in,{dummy}:{kind.hold(3)},showinfo@out"
    done = tools.run("-i", clip, "-vf", chain, *passthrough, out)
    assert len(tools.kept(done, "in")) > 5  # with durations, from 6.1 on
    assert tools.kept(done, "out") == tools.kept(done, "in")
    before, after = tools.probe(clip), tools.probe(out)
    assert len({tools.duration(f) for f in before}) > 5
    assert [tools.duration(f) for f in after] == [tools.duration(f) for f in before]
    assert [f["pts_time"] for f in after] == [f["pts_time"] for f in before]
    assert {(f["width"], f["height"]) for f in after} == {(64 * kind.scale, 48 * kind.scale)}


@pytest.mark.parametrize("in_flight", [1, 2, 3, 5, 8])
@pytest.mark.parametrize("frames", [1, 3, 12])
def test_every_frame_comes_out_in_order_at_the_end(
    kind: tools.Kind, dummy: str, in_flight: int, frames: int
) -> None:
    # Each inference takes its time on a thread of its own, so several really are under way.
    source = f"testsrc2=s=64x48:r=25:d={frames / 25}"
    plain = tools.filtered(source, dummy)
    assert len(plain) == frames * tools.frame_bytes(64 * kind.scale, 48 * kind.scale, "yuv420p")
    assert tools.filtered(source, f"{dummy}:{kind.hold(in_flight)}:device=delay=5") == plain


@pytest.mark.parametrize("in_flight", [1, 4])
def test_a_change_of_size_in_mid_stream_loses_no_frame(
    kind: tools.Kind, dummy: str, tmp_path: Path, in_flight: int
) -> None:
    clips = []
    for number, size in enumerate(("64x48", "96x64", "64x48")):
        clip = tmp_path / f"{number}.h264"
        tools.run("-f", "lavfi", "-i", f"testsrc2=s={size}:r=25:d=0.4", "-c:v", "libx264", "-bf", "0", clip)
        clips.append(clip.read_bytes())

    def packets(data: bytes) -> list[tuple[int, str]]:
        # scale complains about commands that it does not know
        done = tools.run(
            "-f", "h264", "-i", "-", "-vf", f"scale,{dummy}:{kind.hold(in_flight)}:device=delay=3",
            "-noautoscale", "-f", "framecrc", "-", stdin=data,
        )  # fmt: skip
        assert "[error]" not in tools.said(done)
        return [(size, crc) for _, size, crc in tools.packets(done)]

    alone = [packets(clip) for clip in clips]
    assert [len(part) for part in alone] == [10, 10, 10]
    assert packets(b"".join(clips)) == alone[0] + alone[1] + alone[2]


def test_a_change_of_size_beside_a_source_in_the_graph_loses_no_frame(
    kind: tools.Kind, dummy: str, tmp_path: Path
) -> None:
    # With a source in the graph ffmpeg takes one frame at a time out of it.
    clips = b""
    for size in ("64x48", "96x64"):
        clip = tmp_path / f"{size}.h264"
        tools.run("-f", "lavfi", "-i", f"testsrc2=s={size}:r=25:d=0.4", "-c:v", "libx264", "-bf", "0", clip)
        clips += clip.read_bytes()
    graph = f"[0:v]{dummy}:{kind.hold(4)}:device=delay=3[a];color=s=16x16:r=25[b];[a][b]overlay=shortest=1"
    done = tools.run("-f", "h264", "-i", "-", "-filter_complex", graph, "-noautoscale", "-f", "framecrc", "-",
                     stdin=clips)  # fmt: skip
    assert [pts for pts, _, _ in tools.packets(done)] == list(range(20))


def test_a_change_of_format_and_range_in_mid_stream_loses_no_frame(
    kind: tools.Kind, dummy: str, tmp_path: Path
) -> None:
    clips = []
    for pix_fmt, colour in (("yuv420p", "tv"), ("yuv420p10le", "tv"), ("yuv420p", "pc")):
        clip = tmp_path / f"{pix_fmt}-{colour}.h264"
        tools.run("-f", "lavfi", "-i", "testsrc2=s=64x48:r=25:d=0.2", "-vf", f"scale=out_range={colour}",
                  "-pix_fmt", pix_fmt, "-c:v", "libx264", "-bf", "0", clip)  # fmt: skip
        clips.append(clip.read_bytes())
    done = tools.run("-f", "h264", "-i", "-", "-vf", f"{dummy}:{kind.hold(3)}", "-f", "framecrc", "-",
                     stdin=b"".join(clips))  # fmt: skip
    assert len(tools.packets(done)) == 15


def test_the_command_drain_ends_holding_back(kind: tools.Kind, dummy: str) -> None:
    done = tools.run(
        "-f", "lavfi", "-i", "testsrc2=s=64x48:r=25:d=0.4", "-vf",
        f"sendcmd=c='0.2 {kind.name} drain',showinfo@in,"
        f"{dummy}:{kind.hold(4)}:device=delay=200,showinfo@out", "-f", "null", "-",
    )  # fmt: skip
    order = re.findall(r"^\[showinfo@(in|out) @ \S+\] \[info\] n: *(\d+)", tools.said(done), re.MULTILINE)
    assert order[:5] == [("in", "0"), ("in", "1"), ("in", "2"), ("in", "3"), ("out", "0")]
    # From 0.2 s, frame 5, on every frame leaves before the next comes.
    assert order[-4:] == [("in", "8"), ("out", "8"), ("in", "9"), ("out", "9")]


def test_instances_in_one_graph_do_not_disturb_each_other(kind: tools.Kind, dummy: str) -> None:
    source = "testsrc2=s=64x48:r=25:d=0.2"
    three, two = f"{dummy}:{kind.hold(3)}", f"{dummy}:{kind.hold(2)}:device=delay=2"
    chain = f"split[a][b];[a]{three}[c];[b]hflip,{two}[d];[c][d]hstack"
    one = tools.filtered(source, dummy)
    other = tools.filtered(source, f"hflip,{dummy}")
    both = tools.filtered(source, chain)
    w, h, pix_fmt = 64 * kind.scale, 48 * kind.scale, "yuv420p"
    halves = zip(tools.frames(one, w, h, pix_fmt), tools.frames(other, w, h, pix_fmt), strict=True)
    wide = tools.frames(both, 2 * w, h, pix_fmt)
    assert len(wide) == 5
    for (left, right), whole in zip(halves, wide, strict=True):
        for a, b, plane in zip(
            tools.planes(left, w, h, pix_fmt),
            tools.planes(right, w, h, pix_fmt),
            tools.planes(whole, 2 * w, h, pix_fmt),
            strict=True,
        ):
            assert np.array_equal(plane, np.hstack([a, b]))


def test_nothing_but_video_goes_to_stdout(kind: tools.Kind, net: Path) -> None:
    data = tools.filtered("testsrc2=s=64x48:r=25:d=0.2", kind.chain(f"model={net}:precision=fp32"))
    assert len(data) == 5 * tools.frame_bytes(64 * kind.scale, 48 * kind.scale, "yuv420p")


@pytest.mark.parametrize("kind", tools.PER_FRAME, indirect=True, ids=lambda kind: kind.name)
@pytest.mark.parametrize("colour", ["tv", "pc"])
@pytest.mark.parametrize(("pix_fmt", "bits"), [("yuv420p", 8), ("yuv420p10le", 10)])
def test_the_filter_gives_the_pixels_of_the_python_class(
    kind: tools.Kind, net: Path, pix_fmt: str, bits: int, colour: str
) -> None:
    # In the chain, not in the source: between the two 5.1 loses what frames say of their range.
    source, made = "testsrc2=s=66x50:r=10:d=0.1", f"scale=out_range={colour},format={pix_fmt}"
    before = tools.filtered(source, made, pix_fmt=pix_fmt)
    filter_ = f"{kind.name}=model={net}:precision=fp32:threads=1"
    after = tools.filtered(source, f"{made},{filter_}", pix_fmt=pix_fmt)
    model = CLASSES[kind.name](str(net), precision="fp32", threads=1)
    expected = model(
        tools.planes(before, 66, 50, pix_fmt),
        bit_depth=bits,
        full_range=colour == "pc",
    )
    size = (66 * kind.scale, 50 * kind.scale)
    for plane, wanted in zip(tools.planes(after, *size, pix_fmt), expected, strict=True):
        assert np.array_equal(plane, wanted)


def test_threads_is_the_option_of_this_filter(kind: tools.Kind, net: Path) -> None:
    done = tools.run("-f", "lavfi", "-i", "testsrc2=s=64x48:r=10:d=0.1", "-vf",
                     kind.chain(f"model={net}:threads=1:precision=fp32"), "-f", "null", "-")  # fmt: skip
    assert re.search(rf"{kind.name}\S* @ \S+\] \[info\] .*threads=1\b", tools.said(done))


def test_interlaced_video_is_warned_about_once(dummy: str) -> None:
    done = tools.run("-f", "lavfi", "-i", "testsrc2=s=64x48:r=10:d=0.5", "-vf",
                     f"setfield=tff,{dummy}", "-f", "null", "-")  # fmt: skip
    assert tools.said(done).count("marked as interlaced") == 1


@pytest.mark.parametrize("in_flight", [1, 4])
def test_a_consumer_that_stops_early_ends_it_cleanly(kind: tools.Kind, dummy: str, in_flight: int) -> None:
    chain = f"{dummy}:{kind.hold(in_flight)}:device=delay=2,trim=end_frame=7"
    done = tools.run("-f", "lavfi", "-i", "testsrc2=s=64x48:r=25", "-vf", chain, "-f", "framecrc", "-")
    assert [pts for pts, _, _ in tools.packets(done)] == list(range(7))
