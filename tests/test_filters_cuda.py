# SPDX-License-Identifier: BSD-2-Clause
"""Our filters between hwupload and hwdownload: the software filters' pictures, without a copy to the host.

On a GPU where there is a driver, else on the emulator that the build makes of the kernels: it is slow, so the
pictures are tiny.
"""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import filter_tools as tools
from ffmpeg_series import HDR, setparams
from filter_cuda_tools import counters, device, on_device, on_gpu, run, without_driver
from lowrank_bundle import lowrank_bundle

FORMATS = ["nv12", "p010le", "yuv420p"]
WIDTH, HEIGHT = 66, 50
SOURCE = f"testsrc2=s={WIDTH}x{HEIGHT}:r=10:d=0.3,setparams=range=tv"
SR = "dnn_sr=model=game_x2:precision=fp16"


def host(chain: str) -> str:
    """The same filters for frames in host memory, in the reference's arithmetic."""
    return chain.replace("precision=fp16", "precision=fp32")


@pytest.fixture(scope="module")
def lowrank(tmp_path_factory: pytest.TempPathFactory) -> str:
    """lowrank_pre with a net whose change is large enough to see, which has passed no gate."""
    return f"lowrank_pre=model={lowrank_bundle(tmp_path_factory.mktemp('models') / 'loud')}:precision=fp16"


@pytest.fixture(params=["lowrank_pre", "dnn_sr"])
def chain(request: pytest.FixtureRequest, lowrank: str) -> str:
    """A filter that runs a net on each frame, with its model."""
    return lowrank if request.param == "lowrank_pre" else SR


def compare(got: bytes, wanted: bytes, width: int, height: int, pix_fmt: str, bottom: int = 0) -> None:
    """Frames as 16-bit arithmetic leaves them; the last ``bottom`` rows of luma are not looked at."""
    pairs = list(zip(*(tools.frames(data, width, height, pix_fmt) for data in (got, wanted)), strict=True))
    assert len(pairs) == 3
    bits, places = (10 if pix_fmt in tools.SIXTEEN_BIT else 8), (6 if pix_fmt == "p010le" else 0)
    for pair in pairs:
        a, b = (tools.planes(frame, width, height, pix_fmt) for frame in pair)
        for number, (plane, other) in enumerate(zip(a, b, strict=True)):
            rows = height - bottom if number == 0 else (height - bottom) // 2
            difference = (plane[:rows] >> places).astype(int) - (other[:rows] >> places)
            assert np.abs(difference).max() <= 1 << bits - 7, number
            assert np.sqrt((difference**2).mean()) < (1 << bits) / 1000, number  # 60 dB


SIZES = [(66, 50), (65, 49), (35, 64)]
# The larger net runs once a format: the emulator is slow.
CASES = [("lowrank_pre", pix_fmt, size) for pix_fmt in FORMATS for size in SIZES]
CASES += [("dnn_sr", pix_fmt, size) for pix_fmt, size in zip(FORMATS, SIZES, strict=True)]


@on_device
@pytest.mark.parametrize(("name", "pix_fmt", "size"), CASES)
def test_pictures_are_those_of_the_software_filter(
    lowrank: str, name: str, pix_fmt: str, size: tuple[int, int]
) -> None:
    chain, scale = (lowrank, 1) if name == "lowrank_pre" else (SR, 2)
    width, height = size
    source = f"{SOURCE},format={pix_fmt},scale={width}:{height}"
    wanted = tools.filtered(source, f"format={pix_fmt},{host(chain)}", pix_fmt=pix_fmt)
    done = on_gpu(source, chain, pix_fmt)
    # FFmpeg uploads and downloads no last row of chroma of an odd height: what depends on it is undefined.
    bottom = 32 if height % 2 else 0
    compare(done.stdout, wanted, width * scale, height * scale, pix_fmt, bottom)
    assert (bottom > 0) == ("no last row of chroma" in tools.said(done))
    if scale == 1:
        assert wanted != tools.filtered(source, f"format={pix_fmt}", pix_fmt=pix_fmt)
    (count,) = counters(done)
    assert count == {"copies_to_host": 0, "bytes_to_host": 0, "synchronisations": 0}


@on_device
def test_two_filters_in_a_row_hand_frames_on_in_device_memory(lowrank: str) -> None:
    chain = f"{lowrank},{SR}"
    wanted = tools.filtered(SOURCE, f"format=nv12,{host(chain)}", pix_fmt="nv12")
    done = on_gpu(SOURCE, chain, "nv12")
    compare(done.stdout, wanted, 2 * WIDTH, 2 * HEIGHT, "nv12")
    assert [count["copies_to_host"] for count in counters(done)] == [0, 0]


@on_device
def test_two_filters_on_one_device_at_once(lowrank: str) -> None:
    graph = (
        f"[0:v]format=nv12,hwupload,split[a][b];[a]{lowrank},hwdownload,format=nv12[x];"
        f"[b]{lowrank}:strength=0.5,hwdownload,format=nv12[y];[x][y]hstack"
    )
    done = run("-f", "lavfi", "-i", SOURCE, "-filter_complex", graph, "-f", "rawvideo", "-")
    soft = host(graph.replace("hwupload,", "").replace(",hwdownload", ""))
    wanted = tools.run("-f", "lavfi", "-i", SOURCE, "-filter_complex", soft, "-f", "rawvideo", "-").stdout
    compare(done.stdout, wanted, 2 * WIDTH, HEIGHT, "nv12")


@on_device
def test_time_aspect_colour_and_side_data_stay(chain: str) -> None:
    scale = 2 if chain.startswith("dnn_sr") else 1
    before = "setpts='N*N+3*N',setsar=4/3,addroi=2:4:8:6:0.5," + setparams(HDR)
    done = run(
        "-f", "lavfi", "-i", f"{SOURCE},format=nv12", "-vf",
        f"{before},showinfo@in,hwupload,{chain},hwdownload,format=nv12,showinfo@out",
        "-fps_mode", "passthrough", "-f", "null", "-",
    )  # fmt: skip
    assert len(tools.kept(done, "in")) == 2 * 3
    assert tools.kept(done, "out") == tools.kept(done, "in")
    out = "".join(tools.shown(done, "out"))
    assert f"sar:4/3 s:{WIDTH * scale}x{HEIGHT * scale}" in out
    roi = f"({2 * scale}, {4 * scale}) -> ({10 * scale}, {10 * scale})"
    assert roi in out


@on_device
@pytest.mark.parametrize("options", ["", ":async=4", ":extra_hw_frames=3"])
def test_every_frame_comes_out_in_order(lowrank: str, options: str) -> None:
    source = SOURCE.replace("d=0.3", "d=0.8")
    plain = on_gpu(source, lowrank, "nv12").stdout
    assert len(plain) == 8 * tools.frame_bytes(WIDTH, HEIGHT, "nv12")
    assert on_gpu(source, lowrank + options, "nv12").stdout == plain


@on_device
@pytest.mark.parametrize("filter_", ["lowrank_pre", "lowrank_pre, async=4", "mesh_inpaint, lookahead=2"])
def test_a_change_of_size_in_mid_stream_loses_no_frame(lowrank: str, tmp_path: Path, filter_: str) -> None:
    name, _, option = filter_.partition(", ")
    chain = lowrank if name == "lowrank_pre" else "mesh_inpaint=model=none:mesh=1x1:rect=20|16|12|10"
    clips = []
    for number, size in enumerate(("64x48", "96x64", "64x48")):
        clip = tmp_path / f"{number}.h264"
        tools.run("-f", "lavfi", "-i", f"testsrc2=s={size}:r=10:d=0.2", "-c:v", "libx264", "-bf", "0", clip)
        clips.append(clip.read_bytes())
    (tmp_path / "all.h264").write_bytes(b"".join(clips))
    graph = f"format=nv12,hwupload,{chain}{':' * bool(option)}{option},hwdownload,format=nv12,showinfo@out"
    done = run("-i", tmp_path / "all.h264", "-vf", graph, "-noautoscale", "-f", "null", "-")
    sizes = re.findall(r" s:(\d+x\d+)", "".join(tools.shown(done, "out")))
    assert sizes == ["64x48"] * 2 + ["96x64"] * 2 + ["64x48"] * 2


@on_device
def test_strength_0_passes_frames_on_and_may_change_while_they_flow(lowrank: str) -> None:
    source = SOURCE.replace("d=0.3", "d=0.6")
    plain = tools.frames(tools.filtered(source, "format=nv12", pix_fmt="nv12"), WIDTH, HEIGHT, "nv12")
    loud = tools.frames(on_gpu(source, lowrank, "nv12").stdout, WIDTH, HEIGHT, "nv12")
    assert on_gpu(source, f"{lowrank}:strength=0", "nv12").stdout == b"".join(plain)
    for first, then in ((1, 0), (0, 1)):
        chain = f"sendcmd=c='0.25 lowrank_pre strength {then}',{lowrank}:strength={first}"
        got = tools.frames(on_gpu(source, chain, "nv12").stdout, WIDTH, HEIGHT, "nv12")
        wanted = (plain[:3] + loud[3:]) if then else (loud[:3] + plain[3:])
        assert got == wanted


def graph_of(
    device_mask: bool, device_main: bool = True, mask_format: str = "nv12", options: str = ""
) -> str:
    """mesh_inpaint with a second input for the mask, each on the device or not."""
    main = "format=nv12,hwupload" if device_main else "format=nv12"
    mask = f"format={mask_format},hwupload" if device_mask else "format=gray"
    down = ",hwdownload,format=nv12" if device_main else ""
    return f"[0:v]{main}[m];[1:v]{mask}[k];[m][k]mesh_inpaint=model=none:mesh=1x1{options}{down}"


MASK = f"color=black:s={WIDTH}x{HEIGHT}:r=10:d=0.3,drawbox=20:16:12:10:white:fill"


def inpainted(graph: str, check: bool = True, source: str = SOURCE) -> tools.Done:
    return run(
        "-f", "lavfi", "-i", source, "-f", "lavfi", "-i", MASK,
        "-filter_complex", graph, "-f", "rawvideo", "-", check=check, level="verbose",
    )  # fmt: skip


@on_device
@pytest.mark.parametrize("device_mask", [False, True], ids=["mask in host memory", "mask on the device"])
@pytest.mark.parametrize("lookahead", [0, 2])
def test_mesh_inpaint_fills_what_a_mask_covers(device_mask: bool, lookahead: int) -> None:
    done = inpainted(graph_of(device_mask, options=f":lookahead={lookahead}"))
    frames = tools.frames(done.stdout, WIDTH, HEIGHT, "nv12")
    before = tools.frames(tools.filtered(SOURCE, "format=nv12", pix_fmt="nv12"), WIDTH, HEIGHT, "nv12")
    assert len(frames) == 3
    grown = np.zeros((HEIGHT, WIDTH), bool)
    grown[16 - 4 : 26 + 4, 20 - 4 : 32 + 4] = True
    for after, old in zip(frames, before, strict=True):
        luma, was = (tools.planes(frame, WIDTH, HEIGHT, "nv12")[0] for frame in (after, old))
        assert np.array_equal(luma[~grown], was[~grown])
        assert not np.array_equal(luma[grown], was[grown])
    (count,) = counters(done)
    assert count["copies_to_host"] == len(frames)  # a reduced luma, with what is needed of the mask


@on_device
@pytest.mark.parametrize("pix_fmt", FORMATS)
@pytest.mark.parametrize("model", ["none", "inpaint_v1_fast"])
def test_mesh_inpaint_gives_the_pictures_of_the_software_filter(pix_fmt: str, model: str) -> None:
    source = f"testsrc2=s=130x98:r=10:d=0.4,format={pix_fmt}"
    chain = f"mesh_inpaint=model={model}:mesh=2x2:rect=20|16|22|20"
    done = on_gpu(source, chain, pix_fmt)
    wanted = tools.filtered(source, f"{chain}:precision=fp32", pix_fmt=pix_fmt)
    pairs = zip(*(tools.frames(data, 130, 98, pix_fmt) for data in (done.stdout, wanted)), strict=True)
    places = 6 if pix_fmt == "p010le" else 0
    for a, b in pairs:
        for plane, other in zip(*(tools.planes(frame, 130, 98, pix_fmt) for frame in (a, b)), strict=True):
            difference = np.abs((plane >> places).astype(int) - (other >> places))
            assert difference.max() <= 1
            assert (difference > 0).mean() < 0.01
    (count,) = counters(done)
    assert count["copies_to_host"] <= 4 + (6 if model != "none" else 0)


@on_device
def test_mesh_inpaint_with_boxes_keeps_time_and_lets_frames_through_while_disabled() -> None:
    chain = "mesh_inpaint=model=none:mesh=1x1:rect=20|16|12|10:enable='lt(t,0.15)'"
    done = run(
        "-f", "lavfi", "-i", SOURCE,
        "-vf", f"format=nv12,showinfo@in,hwupload,{chain},hwdownload,format=nv12,showinfo@out",
        "-f", "rawvideo", "-",
    )  # fmt: skip
    assert tools.kept(done, "out") == tools.kept(done, "in")
    before = tools.frames(tools.filtered(SOURCE, "format=nv12", pix_fmt="nv12"), WIDTH, HEIGHT, "nv12")
    after = tools.frames(done.stdout, WIDTH, HEIGHT, "nv12")
    assert [a == b for a, b in zip(after, before, strict=True)] == [False, False, True]


def refused(done: tools.Done, *words: str) -> str:
    """ffmpeg has failed with one sentence of ours that holds all words."""
    assert done.returncode > 0, tools.said(done)  # negative: killed by a signal
    sentences = tools.errors(done)
    assert len(sentences) == 1, tools.said(done)
    assert all(word in sentences[0] for word in words), sentences[0]
    return sentences[0]


def attempt(chain: str, **environment: str) -> tools.Done:
    return run("-f", "lavfi", "-i", SOURCE, "-vf", chain, "-f", "null", "-", check=False, **environment)


@on_device
@pytest.mark.parametrize("backend", ["openvino", "cpu"])
def test_a_backend_for_host_memory_refuses_frames_on_the_device(lowrank: str, backend: str) -> None:
    done = attempt(f"format=nv12,hwupload,{lowrank}:backend={backend}")
    refused(done, "host memory", "hwdownload")


@pytest.mark.parametrize("filter_", ["lowrank_pre=backend=cuda", "dnn_sr=model=game_x2:backend=cuda"])
def test_backend_cuda_refuses_frames_in_host_memory(filter_: str) -> None:
    done = tools.run("-f", "lavfi", "-i", SOURCE, "-vf", filter_, "-f", "null", "-", check=False)
    refused(done, "cuda", "hwupload")


@on_device
def test_another_format_on_the_device_is_refused_with_what_to_put_before(chain: str) -> None:
    refused(attempt(f"format=yuv444p,hwupload,{chain}"), "yuv444p in CUDA memory", "nv12", "format=nv12")


def switched(second: str, chain: str) -> tools.Done:
    """Frames of the second upload, over a link that was set up for those of the first."""
    graph = (
        f"[0:v]format=nv12,hwupload[a];[1:v]{second}[b];[a][b]streamselect=inputs=2:map=1,"
        f"{chain},hwdownload,format=nv12"
    )
    return run(
        "-f", "lavfi", "-i", SOURCE.replace("testsrc2", "testsrc"), "-f", "lavfi", "-i", SOURCE,
        "-filter_complex", graph, "-f", "rawvideo", "-", check=False,
    )  # fmt: skip


@on_device
@pytest.mark.parametrize("strength", [0, 1])
def test_frames_of_another_pool_of_the_same_device_are_taken(lowrank: str, strength: int) -> None:
    chain = f"{lowrank}:strength={strength}"
    assert switched("format=nv12,hwupload", chain).stdout == on_gpu(SOURCE, chain, "nv12").stdout


@on_device
@pytest.mark.parametrize("filter_", ["lowrank_pre", "mesh_inpaint"])
def test_frames_of_another_context_or_format_are_refused(lowrank: str, filter_: str) -> None:
    chain = lowrank if filter_ == "lowrank_pre" else "mesh_inpaint=model=none:rect=20|16|12|10"
    refused(switched("format=nv12,hwupload_cuda", chain), "another CUDA context", "rebuild the graph")
    refused(switched("format=p010le,hwupload", chain), "p010le in CUDA memory", "set up for nv12")


@on_device
def test_device_memory_that_runs_out_is_a_sentence() -> None:
    if device() == {}:
        pytest.skip("a GPU's memory is not small")
    done = attempt(f"format=nv12,hwupload,{SR}", CLARIVID_EMULATOR_MEMORY=str(300_000))
    assert done.returncode > 0, tools.said(done)
    sentences = tools.errors(done)
    assert sentences, tools.said(done)
    assert any("memory" in line and ("lower" in line or "smaller" in line) for line in sentences), sentences


@on_device
def test_masks_that_do_not_fit_are_refused() -> None:
    refused(
        inpainted(graph_of(True, device_main=False), check=False), "the mask is in CUDA memory", "hwdownload"
    )
    refused(
        inpainted(graph_of(True, mask_format="p010le"), check=False), "the mask is p010le", "nv12 or yuv420p"
    )
    apart = graph_of(True).replace("format=nv12,hwupload[k]", "format=nv12,hwupload_cuda[k]")
    refused(inpainted(apart, check=False), "the mask is of another CUDA context", "-filter_hw_device")


@without_driver
@pytest.mark.parametrize("upload", ["hwupload_cuda", "hwupload"])
def test_without_a_driver_ffmpeg_says_so_and_software_frames_go_on(upload: str) -> None:
    environment: dict[str, Any] = {"LD_LIBRARY_PATH": os.environ.get("LD_LIBRARY_PATH", "")}
    done = tools.run(
        "-f", "lavfi", "-i", SOURCE, "-vf", f"format=nv12,{upload},lowrank_pre", "-f", "null", "-",
        check=False, **environment,
    )  # fmt: skip
    assert done.returncode > 0
    said = tools.said(done)
    assert ("libcuda.so.1" in said) if upload == "hwupload_cuda" else ("device" in said)
    assert len(tools.filtered(SOURCE, "lowrank_pre", pix_fmt="nv12")) == 3 * tools.frame_bytes(66, 50, "nv12")
