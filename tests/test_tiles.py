# SPDX-License-Identifier: BSD-2-Clause
"""Pictures in tiles: the same codes as whole ones, on every layout, and sentences where that cannot be."""

from __future__ import annotations

import json
import logging
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

import filter_tools as tools
from clarivid import BackendError, InputError, LowrankPre, SuperResolution
from clarivid.models import find_model
from filter_cuda_tools import counters, device, on_device, on_gpu, run, uploaded, without_driver
from onnx_models import random_net, random_s2d_net
from sr_bundles import sr_bundle

Array = NDArray[Any]
WIDTH, HEIGHT = 133, 101  # odd, several tiles in both directions


def picture(width: int = WIDTH, height: int = HEIGHT, seed: int = 5) -> list[Array]:
    """Random planes, yuv420p."""
    random = np.random.default_rng(seed)
    chroma = ((height + 1) // 2, (width + 1) // 2)
    return [random.integers(16, 235, shape).astype(np.uint8) for shape in ((height, width), chroma, chroma)]


def net(layout: str, folder: Path) -> Path:
    """A small random net; those of y and rgb see 4 samples to each side, that of s2d 4."""
    path = folder / f"{layout}.onnx"
    if layout == "yuv420_s2d":
        return random_s2d_net(path)
    return random_net(path, {"y": 1, "rgb": 3}[layout], 2)


def upscaled(path: Path | str, planes: list[Array] | None = None, **options: Any) -> tuple[Array, ...]:
    """What OpenVINO's f32 makes of a picture."""
    arguments = {"backend": "openvino", "precision": "fp32", "threads": 2, **options}
    return SuperResolution(str(path), **arguments)(planes or picture())


def worst(got: tuple[Array, ...], wanted: tuple[Array, ...]) -> int:
    """The largest difference in codes over all planes."""
    pairs = zip(got, wanted, strict=True)
    return max(int(np.abs(a.astype(int) - b.astype(int)).max()) for a, b in pairs)


@pytest.mark.parametrize("layout", ["y", "rgb", "yuv420_s2d"])
@pytest.mark.parametrize("tile", ["48x40", "30x300", "64x27"])
def test_tiled_pictures_are_untiled_ones(layout: str, tile: str, tmp_path: Path) -> None:
    path = net(layout, tmp_path)
    assert worst(upscaled(path, tile=tile), upscaled(path, tile="none")) == 0


@pytest.mark.parametrize("layout", ["y", "rgb", "yuv420_s2d"])
def test_too_small_an_overlap_is_seen_and_said(
    layout: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Without this the test above would pass for tiles that are not needed."""
    path = net(layout, tmp_path)
    with caplog.at_level(logging.WARNING):
        got = upscaled(path, tile="48x40", overlap=1)
    assert worst(got, upscaled(path, tile="none")) > 1
    assert "overlap=1 is less than the 4 samples that model" in caplog.text
    caplog.clear()
    assert worst(upscaled(path, tile="48x40", overlap=4), upscaled(path, tile="none")) == 0
    assert not caplog.text


def test_tiles_lie_on_the_grid_of_strided_layers(tmp_path: Path) -> None:
    path = random_net(tmp_path / "strided.onnx", 1, 2, tail="strided")
    planes = picture(134, 102)
    whole = upscaled(path, planes, tile="none")
    for tile in ("49x41", "50x60"):
        assert worst(upscaled(path, planes, tile=tile), whole) == 0


@pytest.mark.parametrize(
    ("name", "overlap", "whole"), [("gated", "4", True), ("game_x2", "11", False), ("lowrank_v1", "6", False)]
)
def test_the_graph_tells_what_the_card_tells(
    name: str, overlap: str, whole: bool, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """A bundle, and its ONNX without a card."""
    bundle = str(sr_bundle(tmp_path / "gated", attention=True)) if name == "gated" else name
    bare = tmp_path / "bare.onnx"
    bare.write_bytes(find_model(bundle).onnx.read_bytes())
    kind = LowrankPre if name == "lowrank_v1" else SuperResolution
    for model in (bundle, str(bare)):
        caplog.clear()
        with caplog.at_level(logging.INFO):
            kind(model, backend="openvino", precision="fp32", threads=2, tile="64x64")(picture())
        overlaps = re.findall(r"tiles of \d+x\d+ samples that overlap by (\d+)", caplog.text)
        assert overlaps == [overlap], model
        assert ("looks at the whole picture at once (ReduceMean" in caplog.text) == whole


@pytest.mark.parametrize("name", ["game_x2", "natural_x2", "game_x2_fast", "natural_x2_fast"])
def test_shipped_nets_in_tiles_are_the_whole_nets(name: str) -> None:
    assert worst(upscaled(name, tile="48x40"), upscaled(name, tile="none")) == 0


def test_lowrank_pre_in_tiles_is_lowrank_pre() -> None:
    for backend in ("openvino", "cpu"):
        made = [
            LowrankPre(backend=backend, precision="fp32", threads=2, tile=tile)(picture())
            for tile in ("none", "48x40")
        ]
        assert worst(made[1], made[0]) == 0, backend


MEMORY = """
import resource, sys
import numpy as np
from clarivid import BackendError, _core

model = _core.Model(sys.argv[1], lambda level, line: print(line) if "1600x1200" in line else None)
shapes = ((1200, 1600), (600, 800), (600, 800))
random = np.random.default_rng(5)
planes = [random.integers(16, 235, s).astype(np.uint8) for s in shapes]
whole, made = ([np.empty((2 * h, 2 * w), np.uint8) for h, w in shapes] for _ in range(2))

def upscale(out, width, height, **options):
    session = _core.Session(
        model, _core.Format(width, height, 1, range=1), backend="openvino", precision=1, threads=1, **options
    )
    halves = (1, 2, 2)
    session.process(
        [plane[: height // n, : width // n] for plane, n in zip(planes, halves)],
        [plane[: 2 * height // n, : 2 * width // n] for plane, n in zip(out, halves)],
    )

upscale(made, 64, 64)
upscale(whole, 1600, 1200)
for room in map(int, sys.argv[4].split(",")):
    now = int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (now + (room << 20), -1))
    for plane in made:
        plane[:] = 0
    try:
        upscale(made, 1600, 1200, tile=sys.argv[2], in_flight=int(sys.argv[3]))
    except (BackendError, MemoryError) as error:
        print("refused:", error)
    else:
        assert all(map(np.array_equal, whole, made)), "another picture"
    resource.setrlimit(resource.RLIMIT_AS, (-1, -1))
"""


def limited(path: Path, *rooms: int, tile: str = "auto", in_flight: int = 1) -> list[str]:
    """What is logged for a picture of 1600x1200, a line for each of ``rooms``: MiB that a process may take
    more than it has after it was upscaled without a limit. A picture that differs from that one fails."""
    arguments = [str(path), tile, str(in_flight), ",".join(map(str, rooms))]
    done = subprocess.run(
        [sys.executable, "-c", MEMORY, *arguments],
        env=os.environ | {"MALLOC_ARENA_MAX": "1"},  # each takes 64 MiB of addresses
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    whole, *lines = done.stdout.splitlines()
    assert "tiles of" not in whole
    return lines


@pytest.mark.parametrize(
    ("room", "in_flight", "why"),
    [
        # Two tensors of 12 channels are 176 MiB, and OpenVINO takes them when it compiles; four tiles: 99.
        (170, 1, "OpenVINO cannot compile .*: memory ran out: Failed to allocate"),
        # The tensors of eight pictures are 293 MiB, which are taken after that: 469 in all for 450; eight
        # tiles need 393.
        (500, 8, r"whole pictures need about \d+ MiB and \d+ MiB are to be had"),
    ],
)
def test_auto_takes_tiles_when_memory_is_limited(room: int, in_flight: int, why: str, tmp_path: Path) -> None:
    path = random_net(tmp_path / "net.onnx", 1, 2)
    (said,) = limited(path, room, in_flight=in_flight)
    assert re.search(r"\d+ tiles of \d+x\d+ samples that overlap by 4, chosen because " + why, said), said


@pytest.mark.parametrize("tile", ["auto", "none"])
def test_any_limit_of_memory_gives_the_picture_or_an_error(tile: str, tmp_path: Path) -> None:
    """Wherever OpenVINO stands when there is no more."""
    rooms = [*range(70, 290, 12), 1000]
    said = limited(random_net(tmp_path / "net.onnx", 1, 2), *rooms, tile=tile)
    assert len(said) == len(rooms)
    if tile == "none":
        assert said[0].startswith("refused: ")
    assert not said[-1].startswith("refused: ")


@pytest.mark.parametrize(
    ("options", "part"),
    [
        ({"tile": "512"}, "tile=512 is not auto, none or WIDTHxHEIGHT"),
        ({"tile": "64x-4"}, "tile=64x-4 is not"),
        ({"tile": "64x64", "overlap": -5}, "overlap=-5 is not in 0..32768"),
        ({"tile": "8x64"}, "tile=8x64 is too small for model y: with an overlap of 4 samples"),
        (
            {"tile": "64x64", "overlap": 40},
            "tile=64x64 is too small for model y: with an overlap of 40 samples",
        ),
    ],
)
def test_bad_options_name_the_value(options: dict[str, Any], part: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=re.escape(part)):
        upscaled(net("y", tmp_path), **options)


def test_a_net_that_cannot_be_followed_asks_for_overlap(tmp_path: Path) -> None:
    path = random_net(tmp_path / "flat.onnx", 1, 2, tail="flat")
    with pytest.raises(BackendError, match=r"Reshape \(flatten\) cannot be followed.*give overlap=SAMPLES"):
        upscaled(path, tile="48x40")
    assert worst(upscaled(path, tile="48x40", overlap=4), upscaled(path, tile="none")) == 0


def test_a_net_that_looks_at_the_whole_picture_warns(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = random_net(tmp_path / "pool.onnx", 1, 2, tail="pool")
    with caplog.at_level(logging.WARNING):
        upscaled(path, tile="48x40")
    assert "looks at the whole picture at once (GlobalAveragePool (gate))" in caplog.text


# ---- the filter


def filtered(path: Path, options: str) -> tools.Done:
    """Three frames through dnn_sr."""
    return tools.run(
        "-f", "lavfi", "-i", f"testsrc2=s={WIDTH + 1}x{HEIGHT + 1}:r=10:d=0.3", "-vf",
        f"format=yuv420p,dnn_sr=model={path}:precision=fp32:threads=2:{options}", "-f", "rawvideo", "-",
    )  # fmt: skip


def test_the_filter_in_tiles_gives_the_same_frames_however_many_are_in_flight(tmp_path: Path) -> None:
    path = net("yuv420_s2d", tmp_path)
    whole = filtered(path, "tile=none")
    assert len(whole.stdout) == 3 * tools.frame_bytes(2 * (WIDTH + 1), 2 * (HEIGHT + 1), "yuv420p")
    for options in ("tile=48x40", "tile=48x40:async=3", "tile=60x48:overlap=6:async=2"):
        tiled = filtered(path, options)
        assert tiled.stdout == whole.stdout
        assert "tiles of" in tools.said(tiled)


@pytest.mark.parametrize(
    ("options", "part"),
    [
        ("tile=big", "tile=big is not auto, none or WIDTHxHEIGHT in samples of the input"),
        ("tile=6x6", "tile=6x6 is too small for model random_x2"),
    ],
)
def test_the_filter_refuses_bad_tiles(options: str, part: str, tmp_path: Path) -> None:
    path = net("yuv420_s2d", tmp_path)
    done = tools.run("-f", "lavfi", "-i", "testsrc2=s=64x64:d=0.1", "-vf", f"dnn_sr=model={path}:{options}",
                     "-f", "null", "-", check=False)  # fmt: skip
    assert done.returncode != 0
    assert part in tools.errors(done)[0]


# ---- frames on a GPU: on the emulator where there is none


@on_device
@pytest.mark.parametrize("layout", ["y", "rgb", "yuv420_s2d"])
def test_frames_on_a_gpu_in_tiles_are_whole_ones(layout: str, tmp_path: Path) -> None:
    """The backend dummy's kernel, which copies the nearest sample, and conversions on the device."""
    path = net(layout, tmp_path)
    source = "testsrc2=s=66x50:r=10:d=0.2,setparams=range=tv"
    whole = on_gpu(source, f"dnn_sr=model={path}:backend=dummy:tile=none", "nv12")
    for options in ("tile=30x26", "tile=auto:device=largest=24"):
        tiled = on_gpu(source, f"dnn_sr=model={path}:backend=dummy:{options}", "nv12")
        assert tiled.stdout == whole.stdout
        assert re.search(r"\d+ tiles of \d+x\d+ samples that overlap by 4", tools.said(tiled))
        assert [line["synchronisations"] for line in counters(tiled)] == [0]
        assert [line["copies_to_host"] for line in counters(tiled)] == [0]


ONE_PICTURE = """
import sys
from clarivid import _core
from clarivid.cuda import Device

device = Device()
stream = device.stream()
look = _core.Format(66, 50, 2, range=1, memory=1)  # nv12
cuda = _core.CudaDevice(device.context, stream.handle)
session = _core.Session(_core.Model(sys.argv[1]), look, backend="dummy", cuda=cuda, tile=sys.argv[2])
source = device.picture(66, 50, "nv12")
result = device.picture(session.output.width, session.output.height, "nv12")
session.process(source.planes, result.planes)
stream.synchronise()
"""


@on_device
@without_driver
@pytest.mark.parametrize("layout", ["y", "rgb", "yuv420_s2d"])
def test_a_tile_on_a_gpu_is_cut_and_pasted_with_one_transfer_each(layout: str, tmp_path: Path) -> None:
    """However many channels it has: the emulator counts."""
    path, copies = net(layout, tmp_path), {}
    for tile in ("none", "30x26"):
        log = tmp_path / "log.json"
        subprocess.run(
            [sys.executable, "-c", ONE_PICTURE, path, tile],
            env={**os.environ, **(device() or {}), "CLARIVID_EMULATOR_LOG": str(log)},
            check=True,
        )
        copies[tile] = json.loads(log.read_text())["copies_on_device"]
    assert copies["30x26"] - copies["none"] == 2 * 9


@on_device
def test_our_own_kernels_refuse_tiles() -> None:
    """Those that work on pictures, that is."""
    chain = uploaded("lowrank_pre=backend=cuda:tile=32x32", "nv12")
    done = run("-f", "lavfi", "-i", "testsrc2=s=66x50:d=0.1", "-vf", chain, "-f", "null", "-", check=False)
    assert done.returncode != 0
    assert (
        "tile=32x32 is for nets that take tensors: backend=cuda works on whole pictures"
        in tools.errors(done)[0]
    )
