# SPDX-License-Identifier: BSD-2-Clause
"""clarivid.Inpainter: what a user is promised, on pictures made here and a net that paints one colour."""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from clarivid import BackendError, Inpainter, InpaintStats, InputError, ModelError, SuperResolution
from clarivid.inpaint import DEFAULT_MODELS, boxes_mask
from onnx_models import flat_paint_net, random_s2d_net
from test_super_resolution import picture

Array = NDArray[Any]
Planes = tuple[Array, ...]

WIDTH, HEIGHT = 160, 96


@pytest.fixture
def net(tmp_path: Path) -> Path:
    return flat_paint_net(tmp_path / "flat.onnx")


def background(width: int, height: int, bit_depth: int = 8, seed: int = 0) -> Planes:
    """Smooth noise on several scales: a picture that can be followed, of which no two places are alike."""
    random = np.random.default_rng(seed)
    luma = np.zeros((height, width))
    for cell in (4, 8, 32):
        coarse = random.normal(0, 1, (height // cell + 3, width // cell + 3))
        rows, columns = np.arange(height) / cell, np.arange(width) / cell
        r, c = rows.astype(int)[:, None], columns.astype(int)[None]
        y, x = (rows % 1)[:, None], (columns % 1)[None]
        top = coarse[r, c] * (1 - x) + coarse[r, c + 1] * x
        bottom = coarse[r + 1, c] * (1 - x) + coarse[r + 1, c + 1] * x
        luma += top * (1 - y) + bottom * y
    dtype, top_code = (np.uint8, 255) if bit_depth == 8 else (np.uint16, 1023)
    codes = np.clip((0.45 + 0.12 * luma) * top_code, 0, top_code).astype(dtype)
    half = codes[::2, ::2]
    return codes, half // 2 + top_code // 4, (top_code - half) // 2 + top_code // 8


def with_object(scene: Planes, x: int, y: int, width: int, height: int) -> Planes:
    """A black box on the scene."""
    planes = [plane.copy() for plane in scene]
    planes[0][y : y + height, x : x + width] = 16
    for plane in planes[1:]:
        plane[y // 2 : (y + height + 1) // 2, x // 2 : (x + width + 1) // 2] = 128
    return tuple(planes)


def walk(scene: Planes, steps: int, size: tuple[int, int] = (24, 40)) -> Iterator[tuple[Planes, list[Any]]]:
    """Somebody walks through the scene from left to right; the masks are boxes."""
    for step in range(steps):
        box = (10 + 8 * step, 30, *size)
        yield with_object(scene, *box), [box]


def same(left: Planes, right: Planes) -> bool:
    return all(np.array_equal(a, b) for a, b in zip(left, right, strict=True))


def as_format(planes: Planes, kind: str) -> Planes:
    y, u, v = planes
    if kind in ("yuv420p", "yuv420p10"):
        return planes
    uv = np.stack([u, v], axis=-1).reshape(u.shape[0], -1)
    return (y << 6, uv << 6) if kind == "p010" else (y, uv)


def hole_of(boxes: list[Any], grown: int, width: int = WIDTH, height: int = HEIGHT) -> Array:
    """Where a sample may change: the hole, grown, and whole blocks of 2x2 for chroma's sake."""
    wide = [(x - grown, y - grown, w + 2 * grown, h + 2 * grown) for x, y, w, h in boxes]
    mask = boxes_mask(wide, width, height) > 0
    blocks = np.pad(mask, ((0, height % 2), (0, width % 2)))
    blocks = blocks.reshape((height + 1) // 2, 2, (width + 1) // 2, 2).any(axis=(1, 3))
    return np.repeat(np.repeat(blocks, 2, 0), 2, 1)[:height, :width]


# ---- what it is for


@pytest.mark.parametrize("kind", ["yuv420p", "nv12", "yuv420p10", "p010"])
@pytest.mark.parametrize("full_range", [False, True])
def test_a_fixed_camera_shows_exactly_what_was_behind(kind: str, full_range: bool) -> None:
    bit_depth = 10 if "10" in kind else 8
    scene = background(WIDTH, HEIGHT, bit_depth)
    remover = Inpainter("none")
    options: dict[str, Any] = {"bit_depth": bit_depth, "full_range": full_range}
    remover(as_format(scene, kind), **options)
    for planes, boxes in walk(scene, 8):
        clean = remover(as_format(planes, kind), boxes, **options)
        assert same(clean, as_format(scene, kind))
    assert remover.stats.paintings == 0
    assert remover.stats.remembered == 1


def test_what_was_uncovered_is_shown_when_it_is_covered_again() -> None:
    scene = background(WIDTH, HEIGHT)
    remover = Inpainter("none")
    *_, last = (remover(planes, boxes) for planes, boxes in walk(scene, 12))
    box = (10, 30, 24, 40)  # where somebody stood at first, painted then, seen since
    clean = remover(with_object(scene, *box), [box])
    assert same(clean, scene)
    assert not same(last, with_object(scene, *box))


def test_lookahead_shows_what_is_revealed_later() -> None:
    scene = background(WIDTH, HEIGHT)
    steps = list(walk(scene, 10))
    without = list(Inpainter("none").process(steps))
    ahead = list(Inpainter("none", lookahead=6).process(steps))
    assert not same(without[0], scene)
    assert same(ahead[0], scene)
    assert len(ahead) == len(steps)


@pytest.mark.parametrize("lookahead", [0, 1, 4, 20])
def test_process_gives_a_picture_for_each_in_order(lookahead: int) -> None:
    pictures = [background(64, 48, seed=seed) for seed in range(9)]
    out = list(Inpainter("none", lookahead=lookahead).process((planes, None) for planes in pictures))
    assert len(out) == len(pictures)
    assert all(same(before, after) for before, after in zip(pictures, out, strict=True))


def test_process_takes_no_more_pictures_than_it_looks_ahead() -> None:
    taken = []

    def source() -> Iterator[tuple[Planes, None]]:
        for index in range(10):
            taken.append(index)
            yield background(64, 48), None

    stream = Inpainter("none", lookahead=3).process(source())
    next(stream)
    assert len(taken) == 4
    next(stream)
    assert len(taken) == 5


def test_a_call_and_process_give_the_same_pixels() -> None:
    steps = list(walk(background(WIDTH, HEIGHT), 6))
    remover = Inpainter("none")
    called = [remover(planes, boxes) for planes, boxes in steps]
    for left, right in zip(called, Inpainter("none").process(steps), strict=True):
        assert same(left, right)


@pytest.mark.parametrize("kind", ["yuv420p", "p010"])
@pytest.mark.parametrize("size", [(WIDTH, HEIGHT), (75, 53)])
def test_outside_of_the_grown_hole_nothing_changes(net: Path, kind: str, size: tuple[int, int]) -> None:
    width, height = size
    bit_depth = 10 if kind == "p010" else 8
    random = np.random.default_rng(1)
    remover = Inpainter(net, dilate=5)
    for _ in range(4):
        planes = picture(width, height, bit_depth=bit_depth, semi_planar=kind == "p010")
        boxes = [(int(random.integers(-9, width)), int(random.integers(-9, height)), 20, 15)]
        before = [plane.copy() for plane in planes]
        clean = remover(planes, boxes, bit_depth=bit_depth)
        assert all(np.array_equal(a, b) for a, b in zip(planes, before, strict=True))  # not written to
        changed = clean[0] != planes[0]
        assert not (changed & ~hole_of(boxes, 5, width, height)).any()
        assert clean[0].shape == planes[0].shape
        assert clean[0].dtype == planes[0].dtype


def test_no_mask_leaves_pictures_as_they_are() -> None:
    remover = Inpainter("none")
    for mask in (
        None,
        [],
        np.zeros((48, 64), np.uint8),
        np.zeros((3, 5), bool),
        np.full((48, 64), 127, np.uint8),
    ):
        planes = background(64, 48)
        assert same(remover(planes, mask), planes)


@pytest.mark.parametrize("show", ["mask", "mesh", "tracks", "age"])
def test_overlays_draw_something(show: str) -> None:
    scene = background(WIDTH, HEIGHT)
    plain, drawn = Inpainter("none"), Inpainter("none", show=show)
    for planes, boxes in walk(scene, 4):
        result, overlay = plain(planes, boxes), drawn(planes, boxes)
        assert [plane.shape for plane in overlay] == [plane.shape for plane in result]
    assert not same(result, overlay)


# ---- masks


def test_boxes_and_masks_of_any_size_and_type_mean_the_same() -> None:
    scene = background(WIDTH, HEIGHT)
    box = (40, 24, 32, 48)
    planes = with_object(scene, *box)
    mask = boxes_mask([box], WIDTH, HEIGHT)
    small = mask[::8, ::8]  # the box is made of whole blocks of 8x8
    large = np.repeat(np.repeat(mask, 3, 0), 3, 1)
    strided = np.zeros((HEIGHT, 2 * WIDTH), np.uint8)
    strided[:, ::2] = mask
    wanted = Inpainter("none")(planes, [box])
    for other in (mask, mask > 0, mask // 2 + 1, small, small > 0, large, strided[:, ::2], mask[::-1][::-1]):
        assert same(Inpainter("none")(planes, other), wanted)
    assert not same(wanted, planes)


def test_boxes_outside_of_the_picture_are_cut() -> None:
    planes = background(64, 48)
    cut = Inpainter("none")(planes, [(-10, -10, 20, 20)])
    assert same(cut, Inpainter("none")(planes, [(0, 0, 10, 10)]))
    for outside in [(64, 0, 5, 5), (0, 48, 5, 5), (-5, 0, 5, 5), (-(10**12), 0, 5, 5)]:
        assert same(Inpainter("none")(planes, [outside]), planes)
    np.testing.assert_array_equal(
        boxes_mask([(10**12, 0, 1, 1), (1, 0, 10**12, 1)], 3, 2), [[0, 255, 255], [0] * 3]
    )


@pytest.mark.parametrize(
    ("mask", "says"),
    [
        ([(3, 3, 0, 5)], r"box 1 \(3, 3, 0, 5\) is empty"),
        ([(0, 0, 1, 1), (3, 3, 5, -1)], r"box 2 \(3, 3, 5, -1\) is empty"),
        ([(3, 3, 5)], r"box 1 is \(3, 3, 5\): give \(x, y, width, height\)"),
        ([(3, 3.5, 5, 5)], r"box 1 is .* four whole numbers"),
        ((3, 3, 5, 5), r"box 1 is 3: give \(x, y, width, height\)"),
        ("0:0:5:5", "a mask of type str is none"),
        (7, "a mask of type int is none"),
        (np.zeros((48, 64, 1), np.uint8), r"a mask of shape \(48, 64, 1\)"),
        (np.zeros((0, 64), np.uint8), r"a mask of shape \(0, 64\)"),
        (np.zeros((48, 64), np.float32), "a mask of type float32 .* uint8 .* or bool"),
        (np.zeros((2, 4), np.int64), "a mask of type int64 .* list of tuples"),
    ],
)
def test_bad_masks_get_a_sentence_and_the_next_picture_goes_on(mask: Any, says: str) -> None:
    remover = Inpainter("none")
    planes = background(64, 48)
    with pytest.raises(InputError, match=says):
        remover(planes, mask)
    assert same(remover(planes), planes)
    assert remover.stats.pictures == 1


# ---- hard pictures


def test_a_mask_over_everything_gives_what_is_remembered_else_grey(net: Path) -> None:
    scene = background(64, 48)
    everything = np.ones((1, 1), bool)
    for model in ("none", net):
        remover = Inpainter(model)
        grey = remover(scene, everything)
        assert all(int(np.ptp(plane)) == 0 for plane in grey)
        assert all(abs(int(plane[0, 0]) - 127) <= 2 for plane in grey)
    remover = Inpainter("none")
    remover(scene)
    remover(scene, everything)  # nothing can be followed, and nothing says that the camera moved
    assert same(remover(scene), scene)


def test_flat_pictures_without_anything_to_follow_stay_flat() -> None:
    flat = [
        np.full(shape, code, np.uint8) for shape, code in (((96, 160), 90), ((48, 80), 110), ((48, 80), 140))
    ]
    remover = Inpainter("none")
    for planes, boxes in walk(tuple(flat), 6):
        assert same(remover(planes, boxes), tuple(flat))
    assert remover.stats.features == 0


def test_a_cut_empties_the_memory() -> None:
    first, second = background(WIDTH, HEIGHT, seed=1), background(WIDTH, HEIGHT, seed=2)
    second = (255 - second[0] // 2, second[2], second[1])
    remover = Inpainter("none")
    for _ in range(3):
        remover(first)
    box = (60, 30, 24, 40)
    clean = remover(with_object(second, *box), [box])
    assert remover.stats.cuts == 1
    assert remover.stats.remembered == 0
    inside = np.s_[36:64, 66:78]
    assert (
        np.abs(clean[0][inside].astype(int) - second[0][inside]).mean()
        < np.abs(clean[0][inside].astype(int) - first[0][inside]).mean()
    )


@pytest.mark.parametrize("size", [(1, 1), (2, 2), (3, 5), (16, 16), (17, 200), (333, 9)])
def test_pictures_of_odd_sizes_go_through(size: tuple[int, int], net: Path) -> None:
    width, height = size
    for model in ("none", net):
        remover = Inpainter(model, mesh="3x2")
        for step in range(3):
            planes = picture(width, height)
            clean = remover(planes, [(step, 0, 2, 2)])
            assert [plane.shape for plane in clean] == [plane.shape for plane in planes]


# ---- the net


def test_what_nobody_saw_is_painted_by_the_net(net: Path) -> None:
    scene = background(WIDTH, HEIGHT)
    box = (60, 20, 40, 50)
    remover = Inpainter(net, feather=0, dilate=0)
    assert remover.name == "flat"
    painted = remover.paint(with_object(scene, *box), [box])
    assert remover.stats.pictures == 0
    hole = boxes_mask([box], WIDTH, HEIGHT) > 0
    # 0.25 and -0.125, 0.125 of the spans (docs/models.md)
    assert set(np.unique(painted[0][hole])) == {180}
    assert set(np.unique(painted[1][hole[::2, ::2]])) == {100}
    assert set(np.unique(painted[2][hole[::2, ::2]])) == {156}
    assert np.array_equal(painted[0][~hole], scene[0][~hole])
    remover(with_object(scene, *box), [box])
    assert remover.stats.paintings == 1
    assert remover.stats.remembered == 0


def test_a_failed_net_loses_its_picture_only(net: Path) -> None:
    scene = background(WIDTH, HEIGHT)
    box = (60, 20, 40, 50)
    remover = Inpainter(net, backend="dummy", device="fail=1")
    with pytest.raises(BackendError, match="inference 1 failed"):
        remover(with_object(scene, *box), [box])
    clean = remover(with_object(scene, *box), [box])
    assert not same(clean, with_object(scene, *box))


def test_auto_takes_the_shipped_model_or_says_that_it_has_none(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, tmp_path: Path
) -> None:
    from clarivid import models

    with caplog.at_level(logging.WARNING, "clarivid"):
        name = Inpainter().name
    shipped = [name for name in DEFAULT_MODELS if name in models.model_names()]
    assert name == (shipped[0] if shipped else "none")
    monkeypatch.setattr(models, "search_path", lambda: [tmp_path])
    caplog.clear()
    with caplog.at_level(logging.WARNING, "clarivid"):
        assert Inpainter().name == "none"
    assert "no model for inpainting was found" in caplog.text
    caplog.clear()
    with caplog.at_level(logging.WARNING, "clarivid"):
        assert Inpainter("none").name == "none"
    assert not caplog.text


def test_models_for_other_tasks_are_refused(tmp_path: Path, net: Path) -> None:
    sr = random_s2d_net(tmp_path / "random_x2.onnx")
    with pytest.raises(ModelError, match="random_x2 is for the task 'sr', but one for 'inpaint' is needed"):
        Inpainter(sr)
    with pytest.raises(ModelError, match="flat is for the task 'inpaint', but one for 'segment' is needed"):
        Inpainter("none", segment=net)
    with pytest.raises(ModelError, match="task 'inpaint', but SuperResolution runs models for 'sr'"):
        SuperResolution(str(net))
    with pytest.raises(ModelError, match="no_such_model"):
        Inpainter("no_such_model")


# ---- options and state


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"mesh": (0, 9)}, r"mesh=0x9 is not in 1x1\.\.32x18"),
        ({"mesh": (33, 9)}, "mesh=33x9"),
        ({"mesh": "16x19"}, "mesh=16x19"),
        ({"mesh": "16"}, "mesh='16' is not"),
        ({"mesh": (16, 9.5)}, "a pair of whole numbers"),
        ({"mesh": (16, 9, 1)}, "a pair of whole numbers"),
        ({"dilate": -1}, "dilate=-1"),
        ({"feather": 65}, r"feather=65 is not in 0\.\.64"),
        ({"threads": -1}, "threads=-1"),
        ({"show": "depth"}, 'show="depth" is unknown: it is one of result, mask, mesh, tracks, age'),
        ({"precision": "fp64"}, 'precision="fp64" is unknown'),
    ],
)
def test_bad_options_get_a_sentence(options: dict[str, Any], says: str) -> None:
    with pytest.raises(InputError, match=says):
        Inpainter("none", **options)(background(64, 48))


@pytest.mark.parametrize("lookahead", [65, -1])
def test_a_bad_lookahead_gets_a_sentence(lookahead: int) -> None:
    with pytest.raises(InputError, match=rf"lookahead={lookahead} is not in 0\.\.64"):
        list(Inpainter("none", lookahead=lookahead).process([(background(64, 48), None)]))


def test_lookahead_needs_process() -> None:
    with pytest.raises(InputError, match="lookahead=2 needs pictures that come later: use process"):
        Inpainter("none", lookahead=2)(background(64, 48))


def test_a_change_of_size_or_format_needs_a_reset() -> None:
    remover = Inpainter("none")
    remover(background(64, 48))
    with pytest.raises(InputError, match=r"changed from 64x48 yuv420p limited range to 96x48 .* call reset"):
        remover(background(96, 48))
    with pytest.raises(InputError, match="to 64x48 nv12 limited"):
        remover(as_format(background(64, 48), "nv12"))
    with pytest.raises(InputError, match="to 64x48 yuv420p full"):
        remover(background(64, 48), full_range=True)
    remover(background(64, 48))
    assert remover.stats.pictures == 2
    remover.reset()
    remover(background(96, 48))
    assert remover.stats.pictures == 1


def test_reset_forgets_the_video() -> None:
    scene = background(WIDTH, HEIGHT)
    box = (60, 20, 40, 50)
    planes = with_object(scene, *box)
    remover = Inpainter("none")
    first = remover(planes, [box])
    remover.reset()
    remover(scene)
    assert same(remover(planes, [box]), scene)
    remover.reset()
    assert remover.stats == InpaintStats(*[0] * 16) or remover.stats.pictures == 0
    assert same(remover(planes, [box]), first)


def test_a_video_that_is_given_up_is_forgotten() -> None:
    remover = Inpainter("none", lookahead=2)
    scene = background(64, 48)
    stream = remover.process((scene, None) for _ in range(10))
    next(stream)
    with pytest.raises(InputError, match="under way on this Inpainter"):
        next(remover.process([(scene, None)]))
    stream.close()  # type: ignore[attr-defined]
    assert remover.stats.pictures == 0
    assert len(list(remover.process([(background(96, 48), None)] * 3))) == 3


def test_bad_pictures_get_a_sentence() -> None:
    y, u, v = background(64, 48)
    remover = Inpainter("none")
    with pytest.raises(InputError, match="plane 1 has shape"):
        remover((y, u[:-1], v))
    with pytest.raises(InputError, match="plane 0 is of type float64"):
        remover((y.astype(float), u, v))
    with pytest.raises(InputError, match="1 planes of 8 bit"):
        remover((y,))


def test_statistics_tell_what_happened() -> None:
    remover = Inpainter("none")
    assert remover.stats == InpaintStats(*[0] * 16)
    scene = background(WIDTH, HEIGHT)
    for planes, boxes in walk(scene, 5):
        remover(planes, boxes)
    stats = remover.stats
    assert stats.pictures == 5
    assert stats.features >= stats.inliers > 0
    assert 0 < stats.hole < 0.2
    assert 0 < stats.remembered <= 1
    assert stats.memory_bytes > 0
    assert stats.track_ms > 0
    assert stats.residual < 0.1


def test_memory_does_not_grow_with_the_video() -> None:
    remover = Inpainter("none")
    scene = background(96, 64)
    sizes = []
    for step in range(120):
        moved = tuple(np.roll(plane, -step // (1 + (i > 0)), axis=1) for i, plane in enumerate(scene))
        box = (30 + step % 20, 20, 20, 30)
        remover(with_object(moved, *box), [box])
        sizes.append(remover.stats.memory_bytes)
    assert sizes[-1] == sizes[60]


def test_several_run_at_once_and_one_is_safe_to_share(net: Path) -> None:
    scene = background(WIDTH, HEIGHT)
    steps = list(walk(scene, 6))
    wanted = list(Inpainter(net, threads=1).process(steps))
    failures: list[str] = []

    def run() -> None:
        found = list(Inpainter(net, threads=2).process(steps))
        if not all(same(a, b) for a, b in zip(wanted, found, strict=True)):
            failures.append("another result")

    shared = Inpainter("none")
    shared(scene)

    def share() -> None:
        for _ in range(5):
            if not same(shared(scene), scene):
                failures.append("a picture without a mask changed")

    threads = [threading.Thread(target=target) for target in (run, run, share, share, share)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failures
    assert shared.stats.pictures == 16
