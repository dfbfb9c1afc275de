# SPDX-License-Identifier: BSD-2-Clause
"""The options rect and boxes of the class Inpainter: those of the filter, and its pixels."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from clarivid import Chain, Inpainter, InputError
from clarivid.frame import same_samples
from clarivid.video_io import read_frames
from filter_tools import run


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("boxes") / "in.mkv"
    run("-f", "lavfi", "-i", "testsrc2=s=96x64:r=10:d=0.5,format=yuv420p", "-c:v", "ffv1", path)
    return path


@pytest.fixture
def boxes(tmp_path: Path) -> Path:
    path = tmp_path / "boxes.txt"
    path.write_text("# frame x y w h\n0 8 8 20 20\n1 10 8 20 20\n1, 50, 30, 12, 12\n3 14 8 20 20\n")
    return path


@pytest.mark.parametrize(
    "rect", [None, "60|40|16|16", "60:40:16:16, 0|0|8|8", [(60, 40, 16, 16), (0, 0, 8, 8)]]
)
def test_rect_and_boxes_mean_what_they_mean_to_the_filter(clip: Path, boxes: Path, rect: Any) -> None:
    remover = Inpainter("none", rect=rect, boxes=boxes, mesh="1x1")
    frames = [remover(frame) for frame in read_frames(clip)]
    chain = Chain(remover)
    assert not chain.needs_mask
    assert Chain.from_ffmpeg(chain.to_ffmpeg()) == chain
    for ours, theirs in zip(frames, chain.frames(clip), strict=True):
        assert same_samples(ours, theirs)
    assert any(not same_samples(a, b) for a, b in zip(frames, read_frames(clip), strict=True))


def test_reset_counts_pictures_anew_and_process_counts_them_too(clip: Path, boxes: Path) -> None:
    remover = Inpainter("none", boxes=boxes, mesh="1x1")
    first = list(remover.process((frame, None) for frame in read_frames(clip)))
    remover.reset()
    again = [remover(frame) for frame in read_frames(clip)]
    assert all(same_samples(a, b) for a, b in zip(first, again, strict=True))


def test_a_mask_beside_boxes_is_refused(clip: Path) -> None:
    remover = Inpainter("none", rect="0|0|8|8")
    frame = next(iter(read_frames(clip)))
    with pytest.raises(InputError, match="rect and boxes say what is to vanish: leave the mask out"):
        remover(frame, np.zeros((64, 96), np.uint8))


@pytest.mark.parametrize(
    ("rect", "lines", "sentence"),
    [
        ("1|2|3", None, r"rect: box 1 \('1\|2\|3'\) is no box: give x\|y\|w\|h"),
        ("1|2|3|4,1|2|0|4", None, r"box 2 \('1\|2\|0\|4'\) is empty"),
        ([], None, "rect has no box"),
        ([(1, 2, 3)], None, "box 1 is .* four whole numbers"),
        (None, "0 1 2 3\n", "line 1 of boxes file .*boxes.txt is no box: give frame x y w h"),
        (None, "x 1 2 3 4\n", "line 1 .* has 'x' for its frame"),
        (None, "\n2 1 2 3 4\n1 1 2 3 4\n", "line 3 .* has the frame 1 after frame 2"),
    ],
)
def test_boxes_that_are_none_get_a_sentence(
    tmp_path: Path, rect: Any, lines: str | None, sentence: str
) -> None:
    path = None
    if lines is not None:
        path = tmp_path / "boxes.txt"
        path.write_text(lines)
    with pytest.raises(InputError, match=sentence):
        Inpainter("none", rect=rect, boxes=path)
    with pytest.raises(InputError, match="cannot be read: No such file"):
        Inpainter("none", boxes=tmp_path / "nowhere.txt")
