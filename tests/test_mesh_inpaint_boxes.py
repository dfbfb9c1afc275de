# SPDX-License-Identifier: BSD-2-Clause
"""mesh_inpaint's options rect and boxes."""

from __future__ import annotations

from pathlib import Path

import pytest

import filter_tools as tools
from mesh_tools import FRAMES, KIND, SIZE, Scene, covered, inpainted, luma, moving_box, pictures, raw, still
from test_filters_bad_input import refused


@pytest.fixture(scope="module")
def scene() -> Scene:
    """A box that moves over a background that stands still."""
    return moving_box()


@pytest.fixture(scope="module")
def mask_file(scene: Scene, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return scene.write_masks(tmp_path_factory.mktemp("masks") / "masks.gray")


def test_rect_and_a_mask_of_the_same_box_give_the_same_bytes(scene: Scene, tmp_path: Path) -> None:
    box = scene.masks[3]
    mask = Scene([], [], [box] * FRAMES).write_masks(tmp_path / "box.gray")
    wanted = pictures(inpainted(scene.frames, [*raw(pix_fmt="gray"), mask]))
    for rect in ("52|40|24|48", r"52\\:40\\:24\\:48", "'52|40|24|20,52|60|24|28'"):
        assert pictures(inpainted(scene.frames, rect=rect)) == wanted, rect


def sidecar(path: Path) -> Path:
    """The scene's masks as a boxes file."""
    lines = [f"{number} {16 + 12 * number} 40 24 48" for number in range(FRAMES)]
    path.write_text("# frame x y w h\n" + "\n".join(lines) + "\n")
    return path


@pytest.mark.parametrize("lookahead", [0, 2])
def test_a_file_of_boxes_goes_by_the_number_of_the_frame(
    scene: Scene, mask_file: Path, tmp_path: Path, lookahead: int
) -> None:
    boxes = sidecar(tmp_path / "boxes.txt")
    wanted = inpainted(scene.frames, [*raw(pix_fmt="gray"), mask_file], lookahead=lookahead)
    assert inpainted(scene.frames, boxes=boxes, lookahead=lookahead).stdout == wanted.stdout


def test_a_frame_without_a_line_has_no_box(scene: Scene, tmp_path: Path) -> None:
    boxes = tmp_path / "boxes.txt"
    boxes.write_text("0 16 40 24 48\n1 16 40 24 48\n")
    out = pictures(inpainted(still(scene), boxes=boxes))
    assert covered(out) == [True] * 2 + [False] * (FRAMES - 2)
    assert out[2:] == scene.frames[:1] * (FRAMES - 2)


@pytest.mark.parametrize(
    ("rect", "words"),
    [
        ("", ["empty"]),
        ("10|10|0|20", ["width", "0"]),
        ("10|10|20|-3", ["height", "-3"]),
        ("10|10|20", ["3 numbers"]),
        ("10|10|20|x", ["x", "height"]),
        ("'1|1|2|2,10|10|0|20'", ["box 2"]),
    ],
)
def test_boxes_that_are_none_are_refused(rect: str, words: list[str]) -> None:
    refused(KIND, f"model=none:rect={rect}", *words)


@pytest.mark.parametrize("rect", ["192|0|20|20", "-30|0|20|20", "0|500|1|1"])
def test_boxes_outside_the_picture_change_nothing_and_are_warned_about(scene: Scene, rect: str) -> None:
    done = inpainted(scene.frames, rect=rect)
    assert pictures(done) == scene.frames
    (warning,) = tools.warnings(done)
    assert f"no box of rect={rect} lies in the picture, which is {SIZE}" in warning


def test_boxes_over_the_border_are_cut_there(scene: Scene) -> None:
    frames = scene.frames[:3]
    done = inpainted(frames, rect="-10|-10|30|30", dilate=0)
    assert not tools.warnings(done)
    for before, after in zip(frames, pictures(done), strict=True):
        changed = luma(before) != luma(after)
        assert changed[:20, :20].any()
        changed[:20, :20] = False
        assert not changed.any()


@pytest.mark.parametrize(
    ("lines", "number"),
    [
        ("0 1 2 3 4\n1 1 2 3\n", 2),
        ("# boxes\n\n0 1 2 0 4\n", 3),
        ("0 1 2 3 4\n1 1 2 three 4\n", 2),
        ("5 1 2 3 4\n4 1 2 3 4\n", 2),
        ("-1 1 2 3 4\n", 1),
    ],
    ids=["short", "zero area", "no number", "out of order", "negative frame"],
)
def test_a_bad_line_of_a_boxes_file_is_named(tmp_path: Path, lines: str, number: int) -> None:
    boxes = tmp_path / "boxes.txt"
    boxes.write_text(lines)
    refused(KIND, f"model=none:boxes={boxes}", "boxes.txt", f"line {number}")


def test_a_boxes_file_that_is_not_there_is_refused(tmp_path: Path) -> None:
    refused(KIND, f"model=none:boxes={tmp_path}/none.txt", "none.txt")


def test_a_boxes_file_that_touches_no_frame_is_warned_about(scene: Scene, tmp_path: Path) -> None:
    boxes = tmp_path / "boxes.txt"
    boxes.write_text("0 500 500 10 10\n100 10 10 10 10\n")
    done = inpainted(scene.frames, boxes=boxes)
    assert pictures(done) == scene.frames
    (warning,) = tools.warnings(done)
    assert f"boxes.txt lay in one of the {FRAMES} frames" in warning
