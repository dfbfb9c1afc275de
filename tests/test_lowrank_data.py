# SPDX-License-Identifier: BSD-2-Clause
"""Training data of the prefilter: smooth motions, a sensor's noise, packs lossless and reproducible."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageFont

pytest.importorskip("imageio_ffmpeg")

from clarivid import capture, clips
from clarivid.data import lowrank, screen
from clarivid.data.lowrank import CROP, FRAMES, Crops, LowrankPack, Material
from clarivid.data.motion import Motion, hand_shake, random_motion
from clarivid.data.noise import Sensor, random_sensor
from clarivid.data.parts import Part, Parts
from clarivid.data.sources import SOURCES, Picture, Source
from clarivid.errors import InputError


def photo(width: int, height: int, seed: int = 0) -> Image.Image:
    """Soft blobs of colour."""
    noise = np.random.default_rng(seed).integers(0, 256, (height // 8, width // 8, 3), np.uint8)
    return Image.fromarray(noise).resize((width, height), Image.Resampling.BICUBIC)


@pytest.fixture(scope="module")
def material(tmp_path_factory: pytest.TempPathFactory) -> Material:
    """Small pictures and pillow's own font."""
    folder = tmp_path_factory.mktemp("material")
    scenes = {}
    for kind in ("natural", "game"):
        path = folder / f"{kind}.png"
        photo(330, 270, len(kind)).save(path)
        source = Source("none", ("*",), kind, "scene", 1.0, True, "CC0-1.0")  # type: ignore[arg-type]
        scenes[kind] = (Picture(path, f"{kind}.png", source, False),)
    font = folder / "font.ttf"
    font.write_bytes(ImageFont.load_default(20).path.getvalue())
    photos = (scenes["natural"][0].path,)
    return Material(scenes, {"natural": (), "game": ()}, photos, (str(font),), (str(font),))


@pytest.fixture
def small_screens(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lowrank, "_SIZES", ((320, 240),))


# --------------------------------------------------------------------------------------------- motion


def test_what_does_not_move_is_not_resampled() -> None:
    canvas = photo(360, 280)
    still = Motion((320, 240))
    assert np.array_equal(still.frame(canvas, 20, 5), canvas.crop((20, 20, 340, 260)))
    moving = Motion((320, 240), velocity=(3.7, 1.2), turn=0.01)
    assert np.array_equal(moving.frame(canvas, 20, 0), canvas.crop((20, 20, 340, 260)))


def test_a_pan_by_whole_pixels_shifts_the_picture() -> None:
    canvas = photo(400, 300)
    frame = Motion((320, 240), velocity=(4, -2)).frame(canvas, 40, 3)
    want = np.asarray(canvas.crop((52, 34, 372, 274))).astype(int)
    assert np.abs(np.asarray(frame) - want)[4:-4, 4:-4].max() <= 1


def test_a_motion_never_looks_beyond_its_margin() -> None:
    canvas_of = {}
    for seed in range(40):
        rng = np.random.default_rng(seed)
        motion = random_motion((320, 180), 9, rng)
        while motion.margin(9) > 60:
            assert motion.weaker(0.6).margin(9) <= motion.margin(9)
            motion = motion.weaker(0.6)
        margin = motion.margin(9)
        canvas = canvas_of.setdefault(margin, Image.new("L", (320 + 2 * margin, 180 + 2 * margin), 255))
        for t in range(9):  # pillow paints black what lies outside
            assert np.asarray(motion.frame(canvas, margin, t)).min() == 255, (seed, t)


def test_a_hand_shakes_smoothly_from_where_it_is() -> None:
    path = np.array(hand_shake(200, np.random.default_rng(1), 2.0))
    assert tuple(path[0]) == (0.0, 0.0)
    assert 0.5 < path.std() < 20
    assert np.abs(np.diff(path, axis=0)).mean() < 2.0


# ---------------------------------------------------------------------------------------------- noise


def test_noise_has_the_size_that_was_asked_for_and_is_new_in_each_frame() -> None:
    grey = np.full((256, 256), 126, np.uint8)
    frame = (grey, np.full((128, 128), 128, np.uint8), np.full((128, 128), 128, np.uint8))
    for blur in (0.0, 1.0):
        one, two = Sensor(4.0, chroma=0.5, blur=blur).add([frame, frame], np.random.default_rng(0))
        assert one[0].astype(float).std() == pytest.approx(4.0, rel=0.05)
        assert one[1].astype(float).std() == pytest.approx(2.0, rel=0.1)
        assert one[0].mean() == pytest.approx(126, abs=0.1)
        assert abs(np.corrcoef(one[0].ravel(), two[0].ravel())[0, 1]) < 0.02


def test_noise_is_stronger_in_shadows_and_absent_where_the_sensor_is_saturated() -> None:
    levels = [np.full((128, 128), level, np.uint8) for level in (30, 126, 252)]
    half = np.full((64, 64), 128, np.uint8)
    dark, middle, white = Sensor(4.0).add([(y, half, half) for y in levels], np.random.default_rng(0))
    assert dark[0].astype(float).std() > 1.2 * middle[0].astype(float).std()
    assert white[0].astype(float).std() == 0


def test_random_sensors_stay_within_what_cameras_do() -> None:
    for seed in range(50):
        sensor = random_sensor(np.random.default_rng(seed))
        assert 1.2 <= sensor.luma <= 7
        assert sensor.chroma < 1


# --------------------------------------------------------------------------------------------- screens


def test_screens_are_reproducible_and_most_of_them_stands_still(material: Material) -> None:
    moving = 0
    for seed in range(12):
        arguments = ((640, 360), 5, np.random.default_rng(seed), material.fixed, material.free)
        views = screen.make_screens(*arguments, material.photos)
        assert [view.size for view in views] == [(640, 360)] * 5
        again = screen.make_screens(
            (640, 360), 5, np.random.default_rng(seed), material.fixed, material.free, material.photos
        )
        assert all(np.array_equal(a, b) for a, b in zip(views, again, strict=True))
        moving += any(not np.array_equal(views[0], view) for view in views[1:])
    assert 4 <= moving <= 12


def test_validation_has_other_fonts_than_training() -> None:
    assert not {row[0] for row in screen.FONTS} & {row[0] for row in screen.VAL_FONTS}


# ----------------------------------------------------------------------------------------------- parts


def _square(number: int) -> Part:
    if number == 3:
        raise ValueError("three is wrong")
    return {"value": np.array(number * number)}


def test_an_interrupted_run_goes_on_where_it_stopped(tmp_path: Path) -> None:
    work = [(f"n{i}", i) for i in range(5)]
    parts = Parts(tmp_path / "out", {"seed": 1})
    with pytest.raises(ValueError, match="three is wrong"):
        parts.make(work, _square)
    made = []

    def again(number: int) -> Part:
        made.append(number)
        return {"value": np.array(number * number)}

    seen: list[tuple[int, int]] = []
    again_parts = Parts(tmp_path / "out", {"seed": 1})
    again_parts.make(work, again, progress=lambda done, total: seen.append((done, total)))
    assert made == [3, 4]
    assert seen == [(4, 5), (5, 5)]
    assert [int(again_parts.load(name)["value"]) for name, _ in work] == [0, 1, 4, 9, 16]
    again_parts.remove()
    assert not list(tmp_path.iterdir())


def test_parts_of_another_run_are_not_mixed_in(tmp_path: Path) -> None:
    Parts(tmp_path / "out", {"seed": 1})
    with pytest.raises(InputError, match="was begun with other settings"):
        Parts(tmp_path / "out", {"seed": 2})


# ----------------------------------------------------------------------------------------------- clips


@pytest.mark.usefixtures("small_screens")
@pytest.mark.parametrize("kind", lowrank.KINDS)
def test_every_kind_gives_coded_frames_beside_clean_ones(material: Material, kind: lowrank.Content) -> None:
    clip = lowrank.make_clip(material, kind, np.random.default_rng(2))
    assert clip.clean is not None
    assert len(clip.coded) == len(clip.clean) == 9
    assert clip.recipe["kind"] == kind
    for coded, clean in zip(clip.coded, clip.clean, strict=True):
        assert [p.shape for p in coded] == [p.shape for p in clean]
        assert 0 < np.abs(coded[0].astype(int) - clean[0]).mean() < 12  # coded, and the same frame
    for tile in lowrank.cut(clip, 3, np.random.default_rng(0)):
        assert tile["y"].shape == (FRAMES, CROP, CROP)
        assert tile["u"].shape == tile["v"].shape == (FRAMES, CROP // 2, CROP // 2)


def test_a_crop_lies_at_one_place_in_all_planes() -> None:
    rows = np.arange(240)[:, None] + np.zeros((1, 320), int)
    luma, chroma = rows.astype(np.uint8), (rows[::2, ::2] // 2 + 10).astype(np.uint8)
    frames = [(luma, chroma, chroma)] * 9
    clip = lowrank._Clip(frames, frames, {"kind": "game", "title": "ramp"})
    tile = lowrank.cut(clip, 1, np.random.default_rng(3))[0]
    assert tile["y"][0, 0, 0] % 2 == 0
    assert tile["u"][0, 0, 0] == tile["y"][0, 0, 0] // 2 + 10
    assert np.array_equal(tile["y_clean"], tile["y"][0])


# ----------------------------------------------------------------------------------------------- packs


def crops(count: int, seed: int) -> Crops:
    """Noise, still noise (which is stored as differences) and a real one."""
    rng = np.random.default_rng(seed)
    y = rng.integers(0, 256, (count, FRAMES, CROP, CROP), np.uint8)
    u, v = (rng.integers(0, 256, (count, FRAMES, CROP // 2, CROP // 2), np.uint8) for _ in "uv")
    y[1] = y[1, :1]
    clean = rng.integers(0, 256, (count, CROP, CROP), np.uint8)
    has_clean = np.ones(count, bool)
    has_clean[0], clean[0] = False, y[0, 0]
    return Crops(y, u, v, clean, has_clean, ["natural"] * count, [f"title {i}" for i in range(count)])


def test_packs_are_lossless(tmp_path: Path) -> None:
    pack = LowrankPack(crops(5, 0), crops(2, 1), {"schema": lowrank.SCHEMA, "seed": 7})
    lowrank.save(pack, tmp_path / "p")
    back = lowrank.load(tmp_path / "p")
    assert back.manifest == pack.manifest
    for a, b in ((pack.train, back.train), (pack.val, back.val)):
        for field in ("y", "u", "v", "y_clean", "has_clean"):
            assert np.array_equal(getattr(a, field), getattr(b, field)), field
        assert (a.kinds, a.titles, len(a)) == (b.kinds, b.titles, len(b))


def test_a_file_that_is_no_pack_gives_a_sentence(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="clarivid data lowrank"):
        lowrank.load(tmp_path / "nothing")
    (tmp_path / "text").write_text("no zip")
    with pytest.raises(InputError, match="clarivid data lowrank"):
        lowrank.load(tmp_path / "text")


@pytest.mark.usefixtures("small_screens")
def test_the_same_seed_gives_the_same_pack(
    material: Material, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sources: list[dict[str, Any]] = [{"source": "none", "licence": "CC0-1.0"}]
    monkeypatch.setattr(lowrank, "gather", lambda: ({False: material, True: material}, sources))
    packs = []
    for name, jobs in (("a", 1), ("b", 2)):
        manifest = lowrank.build(tmp_path / name, count=3, crops=2, seed=3, val=4, jobs=jobs)
        assert manifest["sources"] == sources
        packs.append(lowrank.load(tmp_path / name))
    one, two = packs
    assert np.array_equal(one.train.y, two.train.y)
    assert np.array_equal(one.val.u, two.val.u)
    assert one.train.kinds == ["natural", "natural", "game", "game", "screen", "screen"]
    assert one.val.kinds == [kind for kind in lowrank.KINDS for _ in range(3)]
    assert len(one.manifest["crops"]) == 12 + 6
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a", "b"]
    assert json.dumps(one.manifest) == json.dumps(two.manifest)


# ------------------------------------------------------------------------------------------- held out


def test_the_rate_distortion_set_is_not_trained_on() -> None:
    names = {clip.name for clip in clips.rd_clips()}
    assert not names & set(clips.GIVEN_TO_TRAINING)
    given = {clips.find(name).source for name in clips.GIVEN_TO_TRAINING}
    assert not given & {clip.source for clip in clips.rd_clips()}
    assert "DEMO1" not in lowrank._DEMOS  # which the held-out clips show
    trained = {source.package for source in SOURCES} | {row[0] for row in screen.FONTS}
    shared = {clip.package for clip in clips.rd_clips()} & trained
    assert shared == {"mate-backgrounds"}  # of which training leaves out the two pictures that are shown
    excluded = next(s for s in SOURCES if s.package == "mate-backgrounds").exclude
    assert {"*Garden*", "*LadyBird*"} <= set(excluded)
    assert capture.SIZE == (1280, 720)
