# SPDX-License-Identifier: BSD-2-Clause
"""What lowrank_pre promises beside test_filters.py: its strength, its size, its default model."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import filter_tools as tools
from ffmpeg_series import MOTION_VECTORS
from filter_tools import KINDS
from onnx_models import lowrank_s2d_net, nearest_net
from test_filters_bad_input import refused

FORMATS = ["yuv420p", "nv12", "yuv420p10le", "p010le"]
KIND = next(kind for kind in KINDS if kind.name == "lowrank_pre")


@pytest.fixture(scope="module")
def net(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return KIND.net(tmp_path_factory.mktemp("net") / "random.onnx")


@pytest.mark.parametrize("pix_fmt", FORMATS)
@pytest.mark.parametrize("strength", [0.25, 0.5])
def test_strength_scales_the_change(net: Path, pix_fmt: str, strength: float) -> None:
    source = tools.pattern(65, 49, pix_fmt)
    before = tools.filtered(source, "null", pix_fmt=pix_fmt)
    after = tools.filtered(source, f"lowrank_pre={net}:backend=dummy:strength={strength}", pix_fmt=pix_fmt)
    frames = tools.frames(before, 65, 49, pix_fmt)
    assert after == b"".join(tools.shifted(frame, 65, 49, pix_fmt, strength) for frame in frames)


def test_the_change_of_openvino_grows_with_the_strength(net: Path) -> None:
    source = tools.pattern(64, 48, "yuv420p")
    before, *others = (
        np.frombuffer(tools.filtered(source, f"lowrank_pre={net}:precision=fp32:strength={s}"), np.uint8)
        for s in (0, 0.25, 0.5, 1)
    )
    changes = [float(np.abs(other.astype(int) - before).mean()) for other in others]
    assert 0.2 < changes[0] < changes[1] < changes[2]


@pytest.mark.parametrize("pix_fmt", FORMATS)
@pytest.mark.parametrize("chain", ["", "crop=41:33:6:10:exact=1,", "vflip,"])
def test_strength_0_gives_identical_bytes(net: Path, pix_fmt: str, chain: str) -> None:
    source = tools.pattern(90, 70, pix_fmt)
    plain = tools.filtered(source, chain.rstrip(",") or "null", pix_fmt=pix_fmt)
    assert tools.filtered(source, f"{chain}lowrank_pre={net}:strength=0", pix_fmt=pix_fmt) == plain


def test_strength_0_passes_frames_on_and_runs_no_net(net: Path) -> None:
    options = f"lowrank_pre={net}:backend=dummy:device=fail=1:async=4:strength=0"
    done = tools.run("-f", "lavfi", "-i", "testsrc2=s=64x48:r=25:d=0.4,format=yuv420p", "-vf",
                     f"showinfo@in,{options},showinfo@out", "-f", "null", "-")  # fmt: skip
    assert len(tools.shown(done, "in")) > 10
    assert tools.shown(done, "out") == tools.shown(done, "in")


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ("model=no_such_net", ["no_such_net"]),
        ("model={net}:backend=nonsense", ["backend"]),
        ("model={net}:device=QUANTUM", ["QUANTUM"]),
        ("model={net}:precision=int8", ["int8"]),
    ],
)
def test_strength_0_still_refuses_what_is_wrong(net: Path, options: str, words: list[str]) -> None:
    refused(KIND, options.format(net=net) + ":strength=0", *words)


@pytest.mark.parametrize("value", ["-0.01", "1.01", "nan", "0/0", "inf", "full"])
def test_a_strength_that_is_none_is_refused(net: Path, value: str) -> None:
    refused(KIND, f"model={net}:strength={value}", "strength", said_by_us=False)


def test_a_model_without_a_strength_takes_1_only(tmp_path: Path) -> None:
    plain = lowrank_s2d_net(tmp_path / "plain.onnx", strength=False)
    tools.filtered("testsrc2=s=64x48:r=10:d=0.1", f"lowrank_pre={plain}:strength=1")
    for strength in ("0.5", "0"):
        refused(KIND, f"model={plain}:strength={strength}", "plain has no strength", f"strength={strength}")


def test_a_net_that_changes_the_size_and_names_no_task_is_refused(tmp_path: Path) -> None:
    refused(KIND, f"model={nearest_net(tmp_path / 'x3.onnx', 3, 3)}", "3 times as large", "dnn_sr")


@pytest.mark.parametrize("in_flight", [1, 3])
def test_the_command_strength_holds_from_the_next_frame_on(net: Path, in_flight: int) -> None:
    source = "testsrc2=s=64x48:r=10:d=0.8,format=yuv420p"
    lowrank = f"lowrank_pre={net}:backend=dummy:async={in_flight}"
    commands = "0.2 lowrank_pre strength 0; 0.4 lowrank_pre strength 0.5; 0.6 lowrank_pre strength 7"
    size = (64, 48, "yuv420p")
    before = tools.frames(tools.filtered(source, "null"), *size)
    done = tools.run("-f", "lavfi", "-i", source, "-vf", f"sendcmd=c='{commands}',{lowrank}",
                     "-f", "rawvideo", "-")  # fmt: skip
    assert "'strength' out of range" in tools.said(done)  # and what it was goes on
    strengths = [1.0, 1.0, 0.0, 0.0, 0.5, 0.5, 0.5, 0.5]
    expected = [tools.shifted(frame, *size, s) for frame, s in zip(before, strengths, strict=True)]
    assert tools.frames(done.stdout, *size) == expected


def test_all_side_data_stays_true_at_the_same_size(net: Path, tmp_path: Path) -> None:
    clip = tmp_path / "clip.mp4"
    tools.run("-f", "lavfi", "-i", "testsrc2=s=64x48:r=25:d=0.4", "-c:v", "libx264", clip)
    chain = f"addroi=x=8:y=4:w=16:h=20:qoffset=-1/5,showinfo@in,lowrank_pre={net}:backend=dummy,showinfo@out"
    done = tools.run("-flags2", "+export_mvs", "-export_side_data", "+venc_params", "-i", clip,
                     "-vf", chain, "-f", "null", "-")  # fmt: skip
    before, after = (
        [line for line in tools.shown(done, name) if "checksum" not in line] for name in ("in", "out")
    )
    for kind in ("User Data Unregistered", MOTION_VECTORS, "ncoding parameters", "(8, 4) -> (24, 24)"):
        assert kind in "".join(after), kind
    assert after == before


def test_the_shipped_model_is_the_default() -> None:
    done = tools.run(
        "-f", "lavfi", "-i", "testsrc2=s=64x48:r=10:d=0.1", "-vf", "lowrank_pre", "-f", "null", "-"
    )
    assert "model lowrank_v1: 64x48 -> 64x48" in tools.said(done)
    assert "strength=1," in tools.said(done)
