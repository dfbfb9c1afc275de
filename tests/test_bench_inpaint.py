# SPDX-License-Identifier: BSD-2-Clause
"""The bench of inpainting: its scores mean what they say, its scenes are what they promise, it goes on."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from clarivid.errors import InputError, ToolError
from clarivid.inpaint_bench import gate, methods, pictures, run, scenes, scores, stage
from clarivid.inpaint_bench.methods import Method
from clarivid.inpaint_bench.scenes import Material, Scene
from clarivid.inpaint_bench.speed import Speed
from clarivid.inpaint_bench.walker import Planes, Walker, add
from clarivid.rd.store import Store
from conftest import Run

SIZE = (192, 128)
COUNT = 5


def quiet(_note: str) -> None:
    """Progress that nobody looks at."""


def texture(seed: int = 1, size: tuple[int, int] = SIZE) -> Planes:
    """Smooth noise with detail that a flow can follow."""
    rng = np.random.default_rng(seed)
    width, height = size
    coarse = rng.uniform(40, 210, (height // 8 + 2, width // 8 + 2)).astype(np.float32)
    y = np.kron(coarse, np.ones((8, 8), np.float32))[:height, :width]
    for _ in range(3):
        y = (y + np.roll(y, 1, 0) + np.roll(y, 1, 1) + np.roll(y, -1, 0) + np.roll(y, -1, 1)) / 5
    half = np.full((height // 2, width // 2), 128, np.uint8)
    return y.astype(np.uint8), half, half.copy()


def moved(count: int, step: int) -> list[Planes]:
    """A camera that goes to the right by ``step`` samples a picture (even)."""
    wide = texture(size=(SIZE[0] + step * count, SIZE[1]))
    made = []
    for t in range(count):
        left = t * step
        made.append(
            (
                wide[0][:, left : left + SIZE[0]].copy(),
                wide[1][:, left // 2 : (left + SIZE[0]) // 2].copy(),
                wide[2][:, left // 2 : (left + SIZE[0]) // 2].copy(),
            )
        )
    return made


def holes_of(count: int) -> list[scores.Hole]:
    hole = np.zeros((SIZE[1], SIZE[0]), bool)
    hole[40:90, 60:110] = True
    return [hole.copy() for _ in range(count)]


def lighter(planes: Planes, by: float, where: scores.Hole) -> Planes:
    y = planes[0].astype(np.float32)
    y[where] += by
    return np.clip(y, 0, 255).astype(np.uint8), planes[1], planes[2]


# ------------------------------------------------------------------------------------------------- scores


def test_the_truth_has_perfect_scores() -> None:
    truth, holes = moved(COUNT, 2), holes_of(COUNT)
    found = scores.score(truth, truth, holes, scores.motions(truth, holes))
    assert found["psnr_y"] == found["psnr_uv"] == found["psnr_y_all"] == 60
    assert found["ssim"] == pytest.approx(1)
    assert found["vmaf"] > 95
    assert found["warp"] < 1
    assert len(found["frames"]) == COUNT


def test_psnr_is_that_of_the_hole_alone() -> None:
    truth, holes = moved(COUNT, 2), holes_of(COUNT)
    inside = [lighter(p, 10, h) for p, h in zip(truth, holes, strict=True)]
    outside = [lighter(p, 10, ~h) for p, h in zip(truth, holes, strict=True)]
    still: list[scores.Motion | None] = [None] * (COUNT - 1)
    assert scores.score(inside, truth, holes, still)["psnr_y"] == pytest.approx(28.13, abs=0.01)
    found = scores.score(outside, truth, holes, still)
    assert found["psnr_y"] == 60
    assert found["warp"] is None


def test_one_bad_picture_weighs_more_in_the_pooled_psnr() -> None:
    truth, holes = moved(COUNT, 2), holes_of(COUNT)
    result = [lighter(truth[0], 40, holes[0]), *truth[1:]]
    found = scores.score(result, truth, holes, [None] * (COUNT - 1))
    assert found["psnr_y"] > 50
    assert found["psnr_y_all"] < 25


@pytest.mark.parametrize("step", [0, 4])
def test_warping_error_sees_flicker_and_not_motion(step: int) -> None:
    truth, holes = moved(COUNT, step), holes_of(COUNT)
    motion = scores.motions(truth, holes)
    floor = scores.score(truth, truth, holes, motion)["warp"]
    flicker = [lighter(p, 12 * (t % 2), h) for t, (p, h) in enumerate(zip(truth, holes, strict=True))]
    constant = [lighter(p, 12, np.ones_like(h)) for p, h in zip(truth, holes, strict=True)]
    assert scores.score(flicker, truth, holes, motion)["warp"] > floor + 60
    assert scores.score(constant, truth, holes, motion)["warp"] < floor + 2


def test_pictures_without_a_hole_count_nowhere() -> None:
    truth, holes = moved(COUNT, 2), holes_of(COUNT)
    for t in (0, 3):
        holes[t][:] = False
    result = [
        lighter(p, 30, np.ones_like(h)) if t in (0, 3) else p
        for t, (p, h) in enumerate(zip(truth, holes, strict=True))
    ]
    found = scores.score(result, truth, holes, scores.motions(truth, holes))
    assert found["psnr_y"] == 60
    assert found["frames"][0] == {}
    none = [np.zeros_like(h) for h in holes]
    assert scores.score(truth, truth, none, scores.motions(truth, none))["psnr_y"] is None


def test_the_window_goes_with_the_hole_and_stays_inside() -> None:
    holes = [np.zeros((300, 400), bool) for _ in range(3)]
    holes[0][0:50, 0:30] = True
    holes[1][250:300, 390:400] = True
    boxes = scores.window(holes, [0, 1])
    assert len({box[2:] for box in boxes}) == 1
    for x, y, w, h in boxes:
        assert x % 2 == y % 2 == w % 2 == h % 2 == 0
        assert 0 <= x <= 400 - w
        assert 0 <= y <= 300 - h
    assert boxes[1][0] > 200


def test_the_hole_grows_as_the_filter_grows_it() -> None:
    mask = np.zeros((20, 20), np.uint8)
    mask[10, 10] = 128
    mask[3, 3] = 127
    assert scores.grow(mask, 0).sum() == 1
    assert scores.grow(mask, 4).sum() == 81


# ------------------------------------------------------------------------------------------------- scenes


def test_a_walker_covers_what_the_mask_says_and_nothing_else() -> None:
    frames = [texture()] * 12
    walker = Walker((-0.1, 0.95), (1.1, 0.95), 0.7)
    shown, masks = add(frames, [walker])
    assert not masks[0].any(), "it comes in from outside"
    assert not masks[-1].any(), "and goes out"
    middle = masks[6] > 0
    assert 0.02 < middle.mean() < 0.2
    for picture, mask in zip(shown, masks, strict=True):
        assert np.array_equal(picture[0][mask == 0], frames[0][0][mask == 0])
    assert np.abs(shown[6][0][middle].astype(int) - frames[0][0][middle]).mean() > 10
    changed = (masks[6] > 0) ^ np.roll(masks[5] > 0, round(1.2 / 11 * SIZE[0]), 1)
    assert changed.sum() > 0.1 * middle.sum(), "its outline changes while it walks"


def test_a_shorter_scene_is_the_beginning_of_the_whole_one() -> None:
    scene = Scene(
        "s", "fixed", "", "", lambda n: [texture()] * n, (Walker((0.3, 0.95), (0.7, 0.95), 0.6),), 8
    )
    whole, part = scene.make(), scene.make(3)
    assert len(part.masks) == 3
    assert all(np.array_equal(a, b) for a, b in zip(part.masks, whole.masks, strict=False))
    assert part.digest() != whole.digest()
    with pytest.raises(InputError, match="frames=1"):
        scene.make(1)


def test_a_camera_that_turns_is_explained_by_one_homography_and_one_that_travels_is_not() -> None:
    import cv2

    still = np.stack([texture(seed, (800, 400))[0] for seed in (2, 3, 4)], -1)

    def residual(frames: Sequence[Planes]) -> float:
        a, b = frames[0][0], frames[-1][0]
        points = cv2.goodFeaturesToTrack(a, 400, 0.01, 5)
        there, found, _ = cv2.calcOpticalFlowPyrLK(a, b, points, None)
        back, again, _ = cv2.calcOpticalFlowPyrLK(b, a, there, None)
        good = (found * again).ravel().astype(bool) & (np.abs(back - points).max((1, 2)) < 0.3)
        one, other = points[good].reshape(-1, 2), there[good].reshape(-1, 2)
        h, _ = cv2.findHomography(one, other, cv2.RANSAC, 1.0)
        projected = cv2.perspectiveTransform(one[None].astype(np.float64), h)[0]
        return float(np.quantile(np.linalg.norm(projected - other, axis=1), 0.85))

    turn = stage.flight(still, (320, 180), 8)
    wide = np.ascontiguousarray(np.tile(still, (4, 6, 1)))
    travel = stage.room(wide[:1000], wide, (320, 180), 8)
    assert residual(turn) < 0.4
    assert residual(travel) > 3 * residual(turn), residual(travel)


def test_scenes_have_names_kinds_and_licences_and_unknown_ones_are_refused() -> None:
    names = [scene.name for scene in scenes.SCENES]
    assert len(set(names)) == len(names)
    assert {scene.kind for scene in scenes.SCENES} == set(scenes.KINDS)
    assert all(scene.licence and scene.what for scene in scenes.SCENES)
    with pytest.raises(InputError, match="it is one of campus"):
        scenes.find("nowhere")
    with pytest.raises(InputError, match="kind"):
        scenes.scenes("wobbly")


# ------------------------------------------------------------------------------------------------ methods


def material() -> Material:
    truth = moved(COUNT, 2)
    shown, masks = add(truth, [Walker((0.4, 0.95), (0.6, 0.95), 0.6)], COUNT)
    return Material(truth, shown, masks)


@pytest.mark.parametrize("fill", [methods.telea, methods.delogo])
def test_rivals_fill_the_hole_and_telea_leaves_the_rest(fill: methods.Fill) -> None:
    given = material()
    filled = fill(given)
    assert len(filled) == COUNT
    for result, shown, mask in zip(filled, given.shown, given.masks, strict=True):
        hole = scores.grow(mask, methods.DILATE)
        assert [plane.shape for plane in result] == [plane.shape for plane in shown]
        assert (result[0][mask > 0] != shown[0][mask > 0]).mean() > 0.5
        if fill is methods.telea:
            assert np.array_equal(result[0][~hole], shown[0][~hole])


def test_delogo_passes_pictures_without_a_hole() -> None:
    given = material()
    given.masks[1][:] = 0
    filled = methods.delogo(given)
    assert np.array_equal(filled[1][0], given.shown[1][0])
    assert not np.array_equal(filled[2][0], given.shown[2][0])


def test_ours_fills_through_the_class_for_users() -> None:
    given = material()
    filled = methods.fill(given, model="none", precision="auto", mesh=(4, 3), lookahead=2)
    assert len(filled) == COUNT
    outside = ~scores.grow(given.masks[2], methods.DILATE)
    assert np.array_equal(filled[2][0][outside], given.shown[2][0][outside])
    each = methods.paint_each(given, model="none", precision="auto")
    assert len(each) == COUNT


def test_unknown_methods_are_refused() -> None:
    with pytest.raises(InputError, match='method "magic" is unknown: it is one of mesh_inpaint'):
        methods.methods("none", ("magic",))


# ---------------------------------------------------------------------------------------------------- run


def tiny(name: str = "tiny", kind: str = "fixed") -> Scene:
    return Scene(name, kind, "", "", lambda n: moved(n, 2), (Walker((0.4, 0.95), (0.6, 0.95), 0.6),), COUNT)


def test_what_is_done_is_not_done_again(tmp_path: Path) -> None:
    calls: list[str] = []

    def copy(given: Material) -> list[Planes]:
        calls.append("copy")
        return given.truth

    store = Store(tmp_path)
    method = Method("copy", "", copy)
    first, _ = run.run([tiny()], [method], keep=store, progress=calls.append)
    again, _ = run.run([tiny()], [method], keep=store, progress=quiet)
    assert calls.count("copy") == 1
    assert first[0].scores == again[0].scores
    assert again[0].scores["copy"]["psnr_y"] == 60
    kept = run.read(again[0], "copy")
    assert all(np.array_equal(a[0], b[0]) for a, b in zip(kept, tiny().make().truth, strict=True))
    run.run([tiny()], [replace(method, key=("other",))], keep=store, progress=quiet)
    run.run([tiny()], [method], keep=store, fresh=True, progress=quiet)
    assert calls.count("copy") == 3


def test_a_scene_that_needs_what_is_not_there_is_left_out_and_named(tmp_path: Path) -> None:
    def gone(_frames: int) -> list[Planes]:
        raise ToolError("the game is not installed")

    store = Store(tmp_path)
    scene = replace(tiny("game"), truth=gone, needs="the game")
    outcomes, missing = run.run([scene], [], keep=store, progress=quiet)
    assert not outcomes
    assert missing == ["game is left out: the game is not installed"]
    with pytest.raises(ToolError):
        run.run([replace(scene, needs="")], [], keep=store, progress=quiet)


def test_a_method_that_loses_pictures_is_an_error(tmp_path: Path) -> None:
    method = Method("short", "", lambda given: given.truth[1:])
    with pytest.raises(ToolError, match="short gave 4 of 5 pictures of tiny"):
        run.run([tiny()], [method], keep=Store(tmp_path), progress=quiet)


# --------------------------------------------------------------------------------------------------- gate


def outcome(kind: str, **psnr_and_warp: tuple[float, float]) -> run.Outcome:
    names = {"ours": gate.OURS, "one": gate.ONE, "net": gate.NET, "telea": gate.TELEA}
    found = run.Outcome(tiny(kind, kind), COUNT, SIZE, 0.03)
    for short, (psnr, warp) in psnr_and_warp.items():
        found.scores[names[short]] = dict.fromkeys(scores.NAMES, 0.0) | {"psnr_y": psnr, "warp": warp}
    return found


def test_the_gate_passes_and_misses_where_it_should() -> None:
    good = {"ours": (30.0, 10.0), "one": (29.0, 11.0), "net": (24.0, 30.0), "telea": (26.0, 25.0)}
    speed = Speed("16x9", 2, "1280x720", 0.14, 160, 40.0, 40.0, 0.5, 100.0, 100.5)
    outcomes = [outcome(kind, **good) for kind in gate.KINDS]
    assert all(check.passed for check in gate.gate(outcomes, [speed]))
    worse = {**good, "ours": (28.5, 20.0)}
    checks = gate.gate(
        [outcome("parallax", **worse), *outcomes[:2]], [replace(speed, fps=20.0, peak_longer=120.0)]
    )
    assert sum(check.passed is False for check in checks) == 5
    assert gate.gate([], [])[0].passed is None


# ---------------------------------------------------------------------------------------------- from outside


def test_the_command_writes_results_sheet_and_video(tmp_path: Path, clarivid: Run) -> None:
    out = tmp_path / "out"
    wanted = ("--frames", "3", "--method", "telea", "--method", "delogo", "--no-speed", "--out", str(out))
    done = clarivid("bench", "inpaint", "sculpture", *wanted, "--gate")
    assert done.returncode == 1, "a gate that was not measured is not passed"
    assert "telea" in done.stdout
    assert "gate, not measured" in done.stdout
    record = json.loads((out / "results.json").read_text("utf-8"))
    assert record["scenes"][0]["scores"]["telea"]["psnr_y"] > 10
    assert {path.name for path in out.iterdir()} == {"results.json", "sheet.png", "sculpture.mp4"}


def test_labels_and_sheet_are_pictures(tmp_path: Path) -> None:
    method = Method("copy", "", lambda given: given.truth)
    outcomes, _ = run.run([tiny()], [method], keep=Store(tmp_path), progress=quiet)
    image = pictures.sheet([pictures.strip(outcomes[0], tiny().make(), ["copy"])], ["copy"])
    assert image.width > 900
    assert np.asarray(image).std() > 10
    film = tmp_path / "film.mp4"
    pictures.side_by_side(film, outcomes[0], tiny().make(), ["copy"])
    assert film.stat().st_size > 1000
