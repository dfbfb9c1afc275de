# SPDX-License-Identifier: BSD-2-Clause
"""What dnn_sr promises beside test_filters.py: side data of a larger picture, and nets of other people."""

from __future__ import annotations

from pathlib import Path

import pytest

import filter_tools as tools
from ffmpeg_series import MOTION_VECTORS
from onnx_models import nearest_net, random_s2d_net


@pytest.fixture
def dummy(tmp_path: Path) -> str:
    return f"dnn_sr=model={random_s2d_net(tmp_path / 'random_x2.onnx')}:backend=dummy"


def test_regions_of_interest_grow_with_the_picture(dummy: str) -> None:
    done = tools.run(
        "-f", "lavfi", "-i", "testsrc2=s=64x48:r=1:d=1", "-vf",
        f"addroi=x=8:y=4:w=16:h=20:qoffset=-1/5,addroi=x=1:y=2:w=3:h=4:qoffset=1/9,{dummy},showinfo@out",
        "-f", "null", "-",
    )  # fmt: skip
    text = "".join(tools.shown(done, "out"))
    assert "index: 0, region: (16, 8) -> (48, 48), qp offset: -1/5" in text
    assert "index: 1, region: (2, 4) -> (8, 12), qp offset: 1/9" in text


def test_side_data_that_stays_true_is_kept_and_what_does_not_is_dropped(dummy: str, tmp_path: Path) -> None:
    clip = tmp_path / "clip.mp4"
    tools.run("-f", "lavfi", "-i", "testsrc2=s=64x48:r=25:d=0.4", "-c:v", "libx264", clip)
    done = tools.run("-flags2", "+export_mvs", "-export_side_data", "+venc_params", "-i", clip,
                     "-vf", f"showinfo@in,{dummy},showinfo@out", "-f", "null", "-")  # fmt: skip
    before, after = "".join(tools.shown(done, "in")), "".join(tools.shown(done, "out"))
    for kind, stays in (
        ("User Data Unregistered", True),
        (MOTION_VECTORS, False),
        ("ncoding parameters", False),
    ):
        assert kind in before
        assert (kind in after) == stays, kind


def test_two_in_a_row_make_four_times_the_size(dummy: str) -> None:
    data = tools.filtered("testsrc2=s=64x48:r=25:d=0.2", f"{dummy}:async=3,{dummy}:async=2")
    assert len(data) == 5 * tools.frame_bytes(256, 192, "yuv420p")


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("scale", [2, 3, 4])
def test_a_community_net_runs_by_path(tmp_path: Path, channels: int, scale: int) -> None:
    net = nearest_net(tmp_path / "community.onnx", channels, scale)
    data = tools.filtered(tools.pattern(65, 49, "yuv420p"), f"dnn_sr={net}:precision=fp32")
    assert len(data) == 2 * tools.frame_bytes(65 * scale, 49 * scale, "yuv420p")
