# SPDX-License-Identifier: BSD-2-Clause
"""The filters on frames in CUDA memory, in the ffmpeg that was built for this machine."""

from __future__ import annotations

import contextlib
import ctypes
import os
import re
import subprocess
import threading
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

import filter_tools as ff
from clarivid.cuda import Device

from .tools import (
    DEPTH,
    EMULATED,
    LEAST_DB,
    SHIPPED,
    Net,
    Plane,
    compare,
    expected,
    filled,
    noise,
    pack,
    picture,
    unpack,
)

Record = Callable[[str, object], None]

pytestmark = pytest.mark.usefixtures("device")

FILTERS = {"game_x2": "dnn_sr=model=game_x2", "lowrank_v1": "lowrank_pre"}
SIZE = (64, 48) if EMULATED else (640, 360)
FRAMES = 2 if EMULATED else 5
UPLOAD = "format=nv12,hwupload_cuda"


def raw(planes: list[list[Plane]], pix_fmt: str) -> bytes:
    """Packed video of pictures (y, u, v)."""
    return b"".join(plane.tobytes() for p in planes for plane in pack(p, pix_fmt))


def through(data: bytes, size: tuple[int, int], pix_fmt: str, chain: str) -> ff.Done:
    """Packed video through a chain on the device, and back."""
    return ff.run(
        "-v", "level+verbose", "-f", "rawvideo", "-pix_fmt", pix_fmt, "-s", f"{size[0]}x{size[1]}", "-r",
        "25", "-i", "-", "-vf", f"hwupload_cuda,{chain},hwdownload,format={pix_fmt}", "-f", "rawvideo", "-",
        stdin=data,
    )  # fmt: skip


def on_device(done: ff.Done) -> list[dict[str, int]]:
    """What our filters counted, as they say it at the end."""
    pattern = r"device: (\d+) copies to the host \((\d+) bytes\), (\d+) synchronisations"
    keys = ("copies_to_host", "bytes_to_host", "synchronisations")
    return [dict(zip(keys, map(int, found), strict=True)) for found in re.findall(pattern, ff.said(done))]


def clip(part: str) -> Path:
    """A coded clip of the pack that tools/gpu_pack.sh made."""
    folder = Path(os.environ.get("CLARIVID_GPU_PACK", "")) / "clips"
    found = sorted(folder.glob(f"*{part}*"))
    if not found:
        pytest.skip(f"there is no pack with a clip '{part}': CLARIVID_GPU_PACK names none")
    return found[0]


def need_library(name: str) -> None:
    """Skips the test where the driver has no such library."""
    try:
        ctypes.CDLL(name)
    except OSError:
        pytest.skip(f"the driver has no {name} here")


@pytest.mark.parametrize("pix_fmt", ["nv12", "p010le", "yuv420p"])
@pytest.mark.parametrize("model", SHIPPED)
def test_the_filter_gives_the_pixels_of_pytorch(model: str, pix_fmt: str, record_property: Record) -> None:
    depth = DEPTH[pix_fmt]
    pictures = [picture(*SIZE, depth, seed) for seed in range(FRAMES)]
    done = through(raw(pictures, pix_fmt), SIZE, pix_fmt, FILTERS[model])
    scale = 2 if model == "game_x2" else 1
    frames = ff.frames(done.stdout, SIZE[0] * scale, SIZE[1] * scale, pix_fmt)
    assert len(frames) == FRAMES
    for planes, frame in zip(pictures, frames, strict=True):
        got = unpack(ff.planes(frame, SIZE[0] * scale, SIZE[1] * scale, pix_fmt), pix_fmt)
        error = compare(got, expected(model, planes, depth), depth)
        record_property("psnr_db", error.db)
        record_property("largest_error_codes", error.codes)
        assert error.db >= LEAST_DB, error


def test_lowrank_pre_on_the_device_is_that_on_the_processor(record_property: Record) -> None:
    pictures = [picture(*SIZE, 8, seed) for seed in range(FRAMES)]
    data = raw(pictures, "nv12")
    there = through(data, SIZE, "nv12", "lowrank_pre").stdout
    here = ff.run(
        "-f", "rawvideo", "-pix_fmt", "nv12", "-s", f"{SIZE[0]}x{SIZE[1]}", "-r", "25", "-i", "-",
        "-vf", "lowrank_pre=backend=cpu", "-f", "rawvideo", "-", stdin=data,
    ).stdout  # fmt: skip
    a, b = np.frombuffer(there, np.uint8), np.frombuffer(here, np.uint8)
    error = compare([a], [b], 8)
    record_property("psnr_db", error.db)
    record_property("largest_error_codes", error.codes)
    assert error.db >= LEAST_DB, error


@pytest.mark.parametrize("model", SHIPPED)
def test_the_filter_gives_the_bytes_of_a_session(device: Device, model: str) -> None:
    size = (70, 50) if EMULATED else (642, 362)
    planes = noise(*size, 8)
    net = Net(device, model, *size, "nv12")
    source, result = device.picture(*size, "nv12"), net.output()
    source.upload(pack(planes, "nv12"))
    net.run(source, result)
    done = through(raw([planes], "nv12"), size, "nv12", FILTERS[model])
    assert done.stdout == b"".join(plane.tobytes() for plane in result.download())


def test_both_filters_in_one_chain_keep_frames_on_the_device() -> None:
    data = raw([noise(*SIZE, 8, seed) for seed in range(FRAMES)], "nv12")
    both = through(data, SIZE, "nv12", f"{FILTERS['lowrank_v1']},{FILTERS['game_x2']}")
    first = through(data, SIZE, "nv12", FILTERS["lowrank_v1"]).stdout
    assert both.stdout == through(first, SIZE, "nv12", FILTERS["game_x2"]).stdout
    assert len(on_device(both)) == 2


def test_two_filters_on_one_gpu_at_once_do_not_disturb_each_other() -> None:
    data = raw([noise(*SIZE, 8, seed) for seed in range(FRAMES)], "nv12")
    sr = FILTERS["game_x2"]
    chain = f"split[a][b];[a]{sr},hwdownload,format=nv12[c];[b]{sr},hwdownload,format=nv12[d];[c][d]vstack"
    done = ff.run(
        "-f", "rawvideo", "-pix_fmt", "nv12", "-s", f"{SIZE[0]}x{SIZE[1]}", "-r", "25", "-i", "-",
        "-filter_complex", f"[0:v]hwupload_cuda,{chain}", "-f", "rawvideo", "-", stdin=data,
    )  # fmt: skip
    alone = through(data, SIZE, "nv12", sr).stdout
    size = (SIZE[0] * 2, SIZE[1] * 2)
    for frame, wanted in zip(
        ff.frames(done.stdout, size[0], size[1] * 2, "nv12"), ff.frames(alone, *size, "nv12"), strict=True
    ):
        luma, chroma = ff.planes(frame, size[0], size[1] * 2, "nv12")
        one = ff.planes(wanted, *size, "nv12")
        assert np.array_equal(luma, np.concatenate([one[0]] * 2))
        assert np.array_equal(chroma, np.concatenate([one[1]] * 2))


def test_two_processes_on_one_gpu_at_once_do_not_disturb_each_other() -> None:
    data = raw([noise(*SIZE, 8, seed) for seed in range(FRAMES)], "nv12")
    alone = {model: through(data, SIZE, "nv12", chain).stdout for model, chain in FILTERS.items()}
    found: dict[str, bytes] = {}

    def work(model: str) -> None:
        found[model] = through(data, SIZE, "nv12", FILTERS[model]).stdout

    threads = [threading.Thread(target=work, args=(model,)) for model in FILTERS]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == alone


@pytest.mark.parametrize("model", SHIPPED)
def test_no_byte_goes_to_the_host_and_nothing_waits(model: str) -> None:
    data = raw([noise(*SIZE, 8, seed) for seed in range(FRAMES)], "nv12")
    counted = on_device(through(data, SIZE, "nv12", FILTERS[model]))
    assert len(counted) == 1
    assert counted[0]["copies_to_host"] == counted[0]["bytes_to_host"] == 0
    # The filter waits once, for the device to be done with its memory, when it is freed; never for a frame.
    assert counted[0]["synchronisations"] <= 1


def test_a_change_of_size_in_mid_stream_loses_no_frame(tmp_path: Path) -> None:
    clips = []
    for number, size in enumerate(("64x48", "96x64", "64x48")):
        path = tmp_path / f"{number}.mjpeg"  # no frame waits for another, as with MPEG-2 or H.264
        source = f"testsrc2=s={size}:r=25:d=0.08"
        ff.run("-f", "lavfi", "-i", source, "-c:v", "mjpeg", "-qscale", "2", "-f", "image2pipe", path)
        clips.append(path.read_bytes())

    def packets(data: bytes, model: str) -> list[tuple[int, str]]:
        chain = f"{UPLOAD},{FILTERS[model]},hwdownload,format=nv12"
        done = ff.run(
            "-f", "mjpeg", "-i", "-", "-vf", chain, "-noautoscale", "-f", "framecrc", "-", stdin=data
        )
        assert not ff.errors(done)
        return [(size, crc) for _, size, crc in ff.packets(done)]

    for model in SHIPPED:
        alone = [packets(data, model) for data in clips]
        assert [len(part) for part in alone] == [2, 2, 2]
        assert packets(b"".join(clips), model) == alone[0] + alone[1] + alone[2]


def test_device_memory_is_constant_while_ffmpeg_runs_2000_frames(
    real: Device, record_property: Record
) -> None:
    """Free memory as this process sees it, while the other one works."""
    command = [
        str(ff.built().ffmpeg), "-hide_banner", "-nostdin", "-v", "error", "-f", "lavfi", "-i",
        "testsrc2=s=1280x720", "-vf", f"{UPLOAD},lowrank_pre,dnn_sr=model=game_x2", "-frames:v", "2000",
        "-progress", "pipe:1", "-stats_period", "0.1", "-f", "null", "-",
    ]  # fmt: skip
    seen: list[tuple[int, int]] = []
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        for line in process.stdout:
            if line.startswith("frame="):
                seen.append((int(line[6:]), real.memory_info()[0]))
    assert process.returncode == 0
    settled = [free for frame, free in seen if 200 <= frame < 2000]
    record_property("free_mib_first_last", f"{settled[0] >> 20} {settled[-1] >> 20}")
    assert len(settled) >= 3, seen
    assert max(settled) - min(settled) <= 2 << 20, seen


def test_out_of_memory_is_a_sentence_that_says_what_to_lower(device: Device) -> None:
    data = raw([noise(*SIZE, 8)], "nv12")
    big = (1920, 1080) if not EMULATED else SIZE
    # In the emulator each process has a device of its own.
    with contextlib.nullcontext() if EMULATED else filled(device, 16 << 20):
        done = ff.run(
            "-f", "lavfi", "-i", f"testsrc2=s={big[0]}x{big[1]}:d=0.2", "-vf",
            f"{UPLOAD},dnn_sr=model=game_x2,hwdownload,format=nv12", "-f", "null", "-", check=False,
            **({"CLARIVID_EMULATOR_MEMORY": str(400 << 10)} if EMULATED else {}),
        )  # fmt: skip
    assert done.returncode != 0
    said = " ".join(ff.errors(done))
    if said:  # else the device had not even room for a context, which ffmpeg itself reports
        assert "memory" in said, said
        assert any(word in said for word in ("lower", "smaller", "less", "fewer")), said
    else:
        assert re.search(r"(?i)memory", ff.said(done)), ff.said(done)
    assert through(data, SIZE, "nv12", FILTERS["game_x2"]).stdout


@pytest.mark.usefixtures("real")
@pytest.mark.parametrize("part", ["h264", "hevc10"])
def test_frames_of_nvdec_give_the_bytes_of_frames_that_were_uploaded(part: str) -> None:
    need_library("libnvcuvid.so.1")
    source = clip(part)
    pix_fmt = "p010le" if part == "hevc10" else "nv12"
    tail = ["-frames:v", "6", "-f", "framecrc", "-"]
    for chain in FILTERS.values():
        ours = ff.run(
            "-hwaccel", "cuda", "-hwaccel_output_format", "cuda", "-i", source,
            "-vf", f"{chain},hwdownload,format={pix_fmt}", *tail,
        )  # fmt: skip
        theirs = ff.run(
            "-i", source, "-vf", f"format={pix_fmt},hwupload_cuda,{chain},hwdownload,format={pix_fmt}", *tail
        )
        assert ff.packets(ours) == ff.packets(theirs)
        assert len(ff.packets(ours)) == 6


@pytest.mark.usefixtures("real")
def test_nvenc_takes_the_filters_frames(tmp_path: Path) -> None:
    need_library("libnvidia-encode.so.1")
    out = tmp_path / "out.mp4"
    done = ff.run(
        "-f", "lavfi", "-i", "testsrc2=s=640x360:d=0.4", "-vf",
        f"{UPLOAD},dnn_sr=model=game_x2", "-c:v", "hevc_nvenc", out, check=False,
    )  # fmt: skip
    if done.returncode and re.search(
        r"No capable devices|unsupported device|OpenEncodeSession", ff.said(done)
    ):
        pytest.skip("this GPU has no encoder")
    assert done.returncode == 0, ff.said(done)
    assert [(frame["width"], frame["height"]) for frame in ff.probe(out)] == [(1280, 720)] * 10


def test_a_backend_for_host_memory_is_refused_with_a_sentence() -> None:
    done = ff.run(
        "-f", "lavfi", "-i", "testsrc2=s=64x48:d=0.1", "-vf", f"{UPLOAD},lowrank_pre=backend=cpu",
        "-f", "null", "-", check=False,
    )  # fmt: skip
    assert done.returncode != 0
    assert any("host memory" in line for line in ff.errors(done)), ff.said(done)


def test_other_formats_in_cuda_memory_are_refused_with_a_sentence() -> None:
    done = ff.run(
        "-f", "lavfi", "-i", "testsrc2=s=64x48:d=0.1", "-vf", "format=yuv444p,hwupload_cuda,lowrank_pre",
        "-f", "null", "-", check=False,
    )  # fmt: skip
    assert done.returncode != 0
    assert any("yuv444p" in line and "nv12" in line for line in ff.errors(done)), ff.said(done)


def test_mesh_inpaint_on_the_device_is_that_on_the_processor(record_property: Record) -> None:
    size = (96, 64) if EMULATED else (640, 360)
    box = (30, 20, 24, 18) if EMULATED else (220, 120, 120, 90)
    options = f"mesh_inpaint=model=none:rect={'|'.join(map(str, box))}"
    source = f"testsrc2=s={size[0]}x{size[1]}:r=25:d={0.16 if EMULATED else 0.8},format=nv12"
    tail = ["-f", "rawvideo", "-"]
    there = ff.run(
        "-f", "lavfi", "-i", source, "-vf", f"hwupload_cuda,{options},hwdownload,format=nv12", *tail
    )
    here = ff.run("-f", "lavfi", "-i", source, "-vf", options, *tail)
    plain = ff.run("-f", "lavfi", "-i", source, *tail)
    x, y, w, h = box
    grown = 4 + 2  # dilate, and the chroma samples at its border
    outside = np.ones((size[1], size[0]), bool)
    outside[y - grown : y + h + grown, x - grown : x + w + grown] = False
    worst = 100.0
    for a, b, c in zip(
        *(ff.frames(done.stdout, *size, "nv12") for done in (there, here, plain)), strict=True
    ):
        ours, theirs, given = (ff.planes(data, *size, "nv12")[0] for data in (a, b, c))
        assert np.array_equal(ours[outside], given[outside])
        inside = slice(y, y + h), slice(x, x + w)
        worst = min(worst, compare([ours[inside]], [theirs[inside]], 8).db)
    record_property("worst_psnr_db_in_the_hole", worst)
    assert worst >= 35


@pytest.mark.usefixtures("real")
def test_a_process_starts_within_two_seconds(record_property: Record) -> None:
    """From the program's start to the first frame and its end, CUDA's own start included."""
    times = []
    for _ in range(3):
        start = time.monotonic()
        ff.run(
            "-f", "lavfi", "-i", "testsrc2=s=1920x1080", "-vf", f"{UPLOAD},dnn_sr=model=game_x2",
            "-frames:v", "1", "-f", "null", "-",
        )  # fmt: skip
        times.append(time.monotonic() - start)
    record_property("seconds", min(times))
    assert min(times) < 2
