# SPDX-License-Identifier: BSD-2-Clause
"""Data of super-resolution: pairs are aligned and of the right colour, splits keep titles apart, packs are
lossless, the same again, and go on after an interruption."""

from __future__ import annotations

import json
import shlex
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image

torch = pytest.importorskip("torch")
pytest.importorskip("onnx")
pytest.importorskip("imageio_ffmpeg")

from clarivid import clips, games  # noqa: E402
from clarivid.cli.data import command  # noqa: E402
from clarivid.data import ladder, pack, sr_build, sr_clips, sr_sources, synth  # noqa: E402
from clarivid.data.ladder import Rung  # noqa: E402
from clarivid.data.motion import Motion, random_motion  # noqa: E402
from clarivid.errors import InputError  # noqa: E402
from clarivid.export.bundle import origins  # noqa: E402
from clarivid.nets.folded import bicubic_kernel  # noqa: E402
from clarivid.train.batches import fold, normalise, unfold  # noqa: E402
from clarivid.train.sr import psnr  # noqa: E402
from sr_pack import PLAIN, material, picture, tiny_pack  # noqa: E402

SMALL = (448, 256)


def frames(count: int, height: int = 64, width: int = 96, step: int = 1) -> list[synth.Planes]:
    """A picture that moves to the left by ``step`` samples a frame."""
    wide = picture(height, width + count * step)
    return [synth.rgb_to_yuv420(wide[:, t * step : t * step + width]) for t in range(count)]


# ------------------------------------------------------------------------------------ halving and colour


def test_low_side_lies_where_the_high_side_says() -> None:
    """Interpolating the clean low side must fit best without any shift, luma and chroma."""
    high = synth.rgb_to_yuv420(picture(256, 320))
    for kind in ("area", "bicubic", "lanczos"):
        low = synth.halve(high, kind)
        x = fold(*normalise(*(torch.from_numpy(p.copy())[None] for p in low)))
        padded = torch.nn.functional.pad(x, (1, 1, 1, 1), mode="replicate")
        up = unfold(torch.nn.functional.conv2d(padded, bicubic_kernel()))
        want = normalise(*(torch.from_numpy(p.copy())[None] for p in high))
        for name, a, b in zip("YUV", up, want, strict=True):
            errors = {
                (dy, dx): float((torch.roll(a, (dy, dx), (1, 2)) - b)[:, 8:-8, 8:-8].square().mean())
                for dy in (-1, 0, 1)
                for dx in (-1, 0, 1)
            }
            assert min(errors, key=lambda k: errors[k]) == (0, 0), (kind, name)
            for axis in ((1, 0), (0, 1)):  # a half-pixel shift would make one side far better than the other
                ratio = errors[axis] / errors[-axis[0], -axis[1]]
                assert 0.75 < ratio < 1.33, (kind, name, axis, ratio)


def test_chroma_columns_are_halved_as_sited() -> None:
    ramp = np.tile((20 + 4 * np.arange(32)).astype(np.uint8), (16, 1))
    luma = np.full((32, 64), 100, np.uint8)
    for sited, phase in ((True, 0.25), (False, 0.5)):
        low = synth.halve((luma, ramp, ramp), "bicubic", sited)[1]
        where = (low[4, 4:12].astype(float) - 20) / 4 - 2 * np.arange(4, 12)
        assert abs(where.mean() - phase) < 0.13


@pytest.mark.parametrize("kind", ["area", "bicubic", "lanczos"])
@pytest.mark.parametrize("sited", [True, False])
def test_halving_does_not_brighten(kind: str, sited: bool) -> None:
    high = synth.rgb_to_yuv420(picture(256, 320))
    for low, plane in zip(synth.halve(high, kind, sited), high, strict=True):
        assert abs(float(low.mean()) - float(plane.mean())) < 0.2


def test_colour_is_bt709_limited() -> None:
    for rgb, code in (
        ((255, 255, 255), (235, 128, 128)),
        ((0, 0, 0), (16, 128, 128)),
        ((255, 0, 0), (63, 102, 240)),
    ):
        planes = synth.rgb_to_yuv420(np.full((4, 4, 3), rgb, np.uint8))
        assert tuple(int(p[0, 0]) for p in planes) == code


# --------------------------------------------------------------------------------------------- the ladder


@pytest.mark.parametrize(
    "rung",
    [
        Rung("libx264", 12, "veryfast"),
        Rung("libx264", 12, "medium", tune="animation", fps=50),
        Rung("libx265", 12, "veryfast", 10),
        Rung("libsvtav1", 12, "10", 10),
        Rung("libsvtav1", 12, "10"),
        Rung("mpeg2video", 2),
        Rung("mpeg4", 2),
    ],
    ids=lambda rung: f"{rung.codec}-{rung.depth}",
)
def test_coding_gives_every_frame_back_where_it_was(rung: Rung) -> None:
    """Also through ten bits: nothing shifts in time, place or level."""
    sent = frames(7, step=2)
    coded = ladder.code(sent, rung)
    assert len(coded) == 7
    for t in range(7):
        match = [psnr(coded[t][0], other[0]) for other in sent]
        assert int(np.argmax(match)) == t
        assert match[t] > 31
        for a, b in zip(coded[t], sent[t], strict=True):
            assert abs(float(a.mean()) - float(b.mean())) < 1.0


def test_an_unknown_codec_is_a_sentence() -> None:
    with pytest.raises(InputError, match='codec "h266" is unknown'):
        ladder.code(frames(2), Rung("h266", 20))


def test_ladders_are_mixed_as_services_mix_them() -> None:
    rungs = [ladder.random_rung(np.random.default_rng(seed), 30) for seed in range(600)]
    share = {
        codec: np.mean([r.codec == codec for r in rungs]) for codec in ("libx264", "libx265", "libsvtav1")
    }
    assert share["libx264"] == pytest.approx(0.6, abs=0.06)
    assert share["libx265"] == pytest.approx(0.25, abs=0.06)
    assert {r.depth for r in rungs if r.codec == "libx264"} == {8}
    assert {r.depth for r in rungs if r.codec == "libx265"} == {8, 10}
    crf = [r.quality for r in rungs if r.codec == "libx264"]
    assert min(crf) < 12
    assert np.quantile(crf, 0.9) > 29
    assert {r.fps for r in rungs} == {30}


def test_combed_frames_have_the_rows_of_two() -> None:
    sent = frames(6)
    woven = ladder.combed(sent)
    assert len(woven) == 3
    for plane in range(3):
        assert np.array_equal(woven[1][plane][::2], sent[2][plane][::2])
        assert np.array_equal(woven[1][plane][1::2], sent[3][plane][1::2])


def test_deinterlacers_give_a_frame_for_two_fields() -> None:
    sent = frames(8, step=0)
    for seed in range(6):
        out = ladder.deinterlaced(sent, np.random.default_rng(seed))
        assert len(out) == 4
        assert (
            psnr(out[2][0][8:-8, 8:-8], sent[4][0][8:-8, 8:-8]) > 24
        )  # a still comes out as it was, or nearly


def test_dithered_pictures_keep_their_mean_and_lose_their_colours() -> None:
    view = Image.fromarray(np.tile(np.linspace(40, 200, 128).astype(np.uint8)[None, :, None], (96, 1, 3)))
    for seed in range(6):
        drawn = np.asarray(ladder.ordered([view], np.random.default_rng(seed))[0])
        assert len(np.unique(drawn)) <= 32
        assert abs(float(drawn.mean()) - float(np.asarray(view).mean())) < 4
    few = np.asarray(ladder.palette([view, view], np.random.default_rng(1))[1])
    assert len(np.unique(few.reshape(-1, 3), axis=0)) <= 96
    assert abs(float(few.mean()) - float(np.asarray(view).mean())) < 4


# ------------------------------------------------------------------------------------------------- clips


def test_clips_of_every_kind_are_aligned_and_of_one_size(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever happens to a source: high is twice low, and fits it best where it lies."""
    monkeypatch.setattr(sr_clips, "_BIG", (896, 512))
    made = material(tmp_path, (600, 1000))
    seen: set[str] = set()
    for kind in sr_sources.KINDS:
        for seed in range(4):
            clip = sr_clips.make_clip(made, kind, np.random.default_rng(seed), None, SMALL)
            seen |= {key for key in ("halved", "recoded", "first", "blemish") if clip.recipe.get(key)}
            assert len(clip.high) == len(clip.low) == sr_clips.LENGTH
            assert clip.recipe["kind"] == kind
            assert clip.sharp
            t = clip.sharp[-1]
            for low, high in zip(clip.low[t], clip.high[t], strict=True):
                assert high.shape == (2 * low.shape[0], 2 * low.shape[1])
            small = synth.halve(clip.high[t], "area")[0].astype(float)
            errors = {
                (dy, dx): np.square(np.roll(small, (dy, dx), (0, 1)) - clip.low[t][0])[4:-4, 4:-4].mean()
                for dy in (-1, 0, 1)
                for dx in (-1, 0, 1)
            }
            if small.std() > 8:
                assert min(errors, key=lambda k: errors[k]) == (0, 0), (clip.recipe, errors)
    assert seen == {"halved", "recoded", "first", "blemish"}


def test_the_sharp_frame_has_no_motion_and_the_others_go_on_from_it() -> None:
    points = np.array([[0.0, 0.0], [100.0, 50.0], [320.0, 180.0]])
    shaken = 0
    for seed in range(30):
        motion = random_motion((320, 180), 9, np.random.default_rng(seed))
        centred = sr_clips._centred(motion, 4, 9)
        assert np.allclose(centred.source(points, 0), points)
        if motion.shake:
            shaken += 1
            path = np.array(motion.shake)
            bare = sr_clips._centred(Motion((320, 180), shake=motion.shake), 4, 9)
            for t in range(9):
                assert np.allclose(bare.source(points, t - 4) - points, path[t] - path[4])
    assert shaken


@pytest.mark.parametrize("blemish", ladder.BLEMISHES)
def test_what_is_wrong_with_a_source_is_in_the_target(tmp_path: Path, blemish: str) -> None:
    made = material(tmp_path)
    clean = sr_clips.make_clip(made, "art", np.random.default_rng(1), PLAIN, SMALL)
    fixed = {**PLAIN, "blemish": blemish, "content": "art"}
    clip = sr_clips.make_clip(made, "noisy", np.random.default_rng(1), fixed, SMALL)
    assert clip.recipe["blemish"] == blemish
    assert clip.high[4][0].shape == clean.high[4][0].shape
    rough = [float(np.abs(np.diff(c.high[4][0].astype(int), 2, axis=0)).mean()) for c in (clean, clip)]
    if blemish in ("sensor", "grain", "ordered"):
        assert rough[1] > rough[0]


def test_films_are_cut_at_consecutive_frames(tmp_path: Path) -> None:
    shown = [picture(240, 320, 7)[:, t : t + 288] for t in range(20)]
    raw = b"".join(np.ascontiguousarray(p).tobytes() for p in shown)
    command = [
        synth.ffmpeg_exe(),
        "-v",
        "error",
        "-f",
        "rawvideo",
        "-pix_fmt",
        "rgb24",
        "-s",
        "288x240",
        "-r",
        "30",
    ]
    synth.pipe([*command, "-i", "-", "-c:v", "ffv1", "-pix_fmt", "gbrp", str(tmp_path / "film.mkv")], raw)
    film = sr_clips.Film("a game", tmp_path / "film.mkv", 20, 30, (288, 240))
    made = sr_clips.Material({}, {}, films={"game": (film,)})
    for seed in range(4):
        clip = sr_clips.make_clip(made, "game", np.random.default_rng(seed), PLAIN, (288, 240))
        start = clip.recipe["start"]
        for t in (0, 4, 8):
            assert np.array_equal(clip.high[t][0], synth.rgb_to_yuv420(shown[start + t])[0])
    assert clip.sharp == tuple(range(9))


# ------------------------------------------------------------------------------------------------- crops


def test_pairs_show_the_next_frame_at_the_same_place() -> None:
    """The picture of time t lies 2 luma samples further left in the frame after it."""
    wide = picture(400, 700, 3)
    high = [synth.rgb_to_yuv420(wide[:, 4 * t : 4 * t + 512]) for t in range(9)]
    low = [synth.halve(frame, "area") for frame in high]
    clip = sr_clips.Clip(high, low, tuple(range(9)), {})
    for one in sr_build.cut(clip, 5, np.random.default_rng(0), True):
        assert list(one) == [*pack.PLANES, *pack.NEXT]
        assert one["y_lo"].shape == one["y_lo_next"].shape == (96, 96)
        assert one["u_hi"].shape == one["u_hi_next"].shape == (96, 96)
        assert np.array_equal(one["y_hi"][:, 4:], one["y_hi_next"][:, :-4])
        assert np.array_equal(one["y_lo"][:, 2:], one["y_lo_next"][:, :-2])


def test_a_crop_lies_at_one_place_in_all_planes() -> None:
    rows = np.arange(200)[:, None] + np.zeros((1, 240), int)
    low = (
        rows.astype(np.uint8),
        (rows[::2, ::2] // 2).astype(np.uint8),
        (rows[::2, ::2] // 2).astype(np.uint8),
    )
    big = np.repeat(np.repeat(rows, 2, 0), 2, 1).astype(np.uint8)
    high = (big, low[0][:, :240], low[0][:, :240])
    clip = sr_clips.Clip([high] * 9, [low] * 9, (), {})
    for one in sr_build.cut(clip, 4, np.random.default_rng(1), False):
        top = int(one["y_lo"][0, 0])
        assert top % 2 == 0
        assert int(one["y_hi"][0, 0]) == top
        assert int(one["u_lo"][0, 0]) == int(one["v_lo"][0, 0]) == top // 2
        assert int(one["u_hi"][0, 0]) == top


# ------------------------------------------------------------------------------------------------- packs


def test_packs_are_lossless(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    tiles, pairs = {}, {}
    for plane in pack.PLANES:
        n = pack.LOW_CROP * (2 if plane.endswith("hi") else 1) // (1 if plane[0] == "y" else 2)
        tiles[plane] = rng.integers(0, 256, (70, n, n), np.uint8)
        pairs[plane], pairs[f"{plane}_next"] = (rng.integers(0, 256, (3, n, n), np.uint8) for _ in "ab")
    pack.save(pack.Pack({"game": tiles}, {}, {"schema": pack.SCHEMA}, {"art": pairs}), tmp_path / "p")
    back = pack.load(tmp_path / "p")
    assert all(np.array_equal(back.crops["game"][plane], tiles[plane]) for plane in pack.PLANES)
    assert all(np.array_equal(back.pairs["art"][plane], pairs[plane]) for plane in (*pack.PLANES, *pack.NEXT))
    assert back.count == 70


def test_a_tiny_pack_has_crops_pairs_and_a_picture(tmp_path: Path) -> None:
    made = pack.load(tiny_pack(tmp_path))
    assert made.crops["game"]["y_hi"].shape == (12, 192, 192)
    assert made.pairs["game"]["v_lo_next"].shape == (3, 48, 48)
    assert made.val["game"][0]["y_hi"].shape == (1, 192, 256)


@pytest.fixture
def drawn(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """The build with drawn pictures instead of packages; the rows of its sources."""
    folder = tmp_path / "material"
    folder.mkdir()
    both = {held: material(folder, (320, 480), held) for held in (False, True)}
    rows: list[dict[str, Any]] = [{"source": "none", "role": "scene", "licence": "CC0-1.0"}]
    monkeypatch.setattr(sr_build, "gather", lambda _films: (both, rows))
    monkeypatch.setattr(sr_build, "VAL_SIZE", (256, 192))
    monkeypatch.setattr(sr_clips, "_SIZE", SMALL)
    monkeypatch.setattr(sr_clips, "_BIG", (896, 512))
    return rows


def test_the_same_seed_gives_the_same_pack(tmp_path: Path, drawn: list[dict[str, Any]]) -> None:
    for name, jobs in (("a", 1), ("b", 2)):
        manifest = sr_build.build(tmp_path / name, 1, 2, 1, seed=3, jobs=jobs, val=1)
        assert manifest["sources"] == drawn
    assert (tmp_path / "a").read_bytes()[:4] == b"PK\x03\x04"
    one, two = pack.load(tmp_path / "a"), pack.load(tmp_path / "b")
    assert one.manifest == two.manifest
    assert set(one.crops) == set(one.pairs) == set(one.val) == set(sr_sources.KINDS)
    for kind in sr_sources.KINDS:
        for ours, theirs in ((one.crops, two.crops), (one.pairs, two.pairs)):
            assert all(np.array_equal(ours[kind][plane], theirs[kind][plane]) for plane in ours[kind])
    assert one.count == 2 * len(sr_sources.KINDS)
    other = sr_build.build(tmp_path / "c", 1, 2, 1, ("art",), seed=4, val=0)
    assert [c["kind"] for c in other["clips"]] == ["art"]
    assert not np.array_equal(pack.load(tmp_path / "c").crops["art"]["y_hi"], one.crops["art"]["y_hi"])


@pytest.mark.usefixtures("drawn")
def test_an_interrupted_build_goes_on(tmp_path: Path) -> None:
    class EnoughError(Exception):
        """Thrown by the second clip."""

    def stop(done: int, _total: int) -> None:
        if done == 2:
            raise EnoughError

    with pytest.raises(EnoughError):
        sr_build.build(tmp_path / "p", 2, 2, 1, ("art", "cg"), val=1, progress=stop)
    assert len(list((tmp_path / "p.parts").glob("*.npz"))) == 2
    counted: list[int] = []
    kinds = ("art", "cg")
    sr_build.build(tmp_path / "p", 2, 2, 1, kinds, val=1, progress=lambda done, _: counted.append(done))
    assert counted == [3, 4, 5, 6]
    sr_build.build(tmp_path / "q", 2, 2, 1, kinds, val=1)
    one, two = pack.load(tmp_path / "p"), pack.load(tmp_path / "q")
    assert all(np.array_equal(one.crops["cg"][plane], two.crops["cg"][plane]) for plane in pack.PLANES)


@pytest.mark.usefixtures("drawn")
def test_what_validates_is_never_trained_on(tmp_path: Path) -> None:
    manifest = sr_build.build(tmp_path / "p", 3, 1, 0, ("game", "noisy"), val=7)
    shown = {held: {c["title"] for c in manifest["clips"] if c["val"] == held} for held in (False, True)}
    for titles in shown.values():
        titles.discard("screen")  # which is drawn with other fonts
    assert not shown[False] & shown[True]
    assert all("held" in title for title in shown[True])
    blemishes = {c["blemish"] for c in manifest["clips"] if c["val"] and c["kind"] == "noisy"}
    assert blemishes == set(ladder.BLEMISHES)


def test_a_pack_knows_the_command_that_makes_it_again(tmp_path: Path, drawn: list[dict[str, Any]]) -> None:
    assert drawn
    manifest = sr_build.build(tmp_path / "p", 1, 2, 1, ("art",), seed=4, val=0)
    assert pack.command(manifest, "x.pack") == (
        "clarivid data sr --out x.pack --seed 4 --clips 1 --crops 2 --pairs 1 --val 0 --kind art"
    )
    assert pack.command({}, "x.pack") == ""
    CliRunner().invoke(
        command, shlex.split(pack.command(manifest, str(tmp_path / "q")))[2:], catch_exceptions=False
    )
    assert pack.load(tmp_path / "q").manifest == pack.load(tmp_path / "p").manifest


def test_unknown_kinds_are_sentences(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="there is no kind 'cartoon'"):
        sr_build.build(tmp_path / "p", 1, kinds=("cartoon",))


# ----------------------------------------------------------------------------------------------- sources


def test_what_serves_evaluation_is_not_trained_on() -> None:
    names = {source.package for source in sr_sources.SOURCES} | {title.package for title in games.TITLES}
    assert not names & {
        "libjxl-testdata",
        "renpy-demo",
        "lomiri-wallpapers-20.04",
        "fillets-ng-data",
        "freedoom",
    }
    shown = {clip.package for clip in clips.held_out()} | {clip.package for clip in clips.rd_clips()}
    assert names & shown <= {"mate-backgrounds"}
    mate = next(s for s in sr_sources.SOURCES if s.package == "mate-backgrounds")
    assert {"*Garden*", "*LadyBird*"} <= set(mate.exclude)


def test_every_kind_holds_titles_out_and_every_source_has_a_licence() -> None:
    assert all(sr_sources.HELD_OUT[kind] for kind in ("game", "art", "cg", "natural"))
    for kind in ("game", "cg"):
        held = {t.held_out for t in games.TITLES if t.kind == kind}
        assert held == {True, False}
    assert all(source.licence for source in sr_sources.SOURCES)
    assert all(title.licence for title in games.TITLES)
    assert len({title.name for title in games.TITLES}) == len(games.TITLES)


def test_films_in_the_cache_are_listed_with_their_licences(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CLARIVID_CACHE", str(tmp_path))
    assert games.made() == []
    title = games.find("chromium")
    title.path.parent.mkdir(parents=True)
    title.path.write_bytes(b"film")
    title.path.with_suffix(".json").write_text(json.dumps({"sha256": "ab", "version": "1.0"}), "utf-8")
    (row,) = games.manifest()
    assert row["source"] == "chromium-bsu"
    assert row["licence"] == title.licence
    assert (row["files"], row["held_out"], row["role"], row["sha256"]) == (1, 0, "film", "ab")
    with pytest.raises(InputError, match='title "pong" is unknown'):
        games.find("pong")


def test_a_card_names_every_source_of_all_packs_once() -> None:
    def row(source: str, files: int, licence: str = "CC0-1.0", kind: str = "game") -> dict[str, Any]:
        return {"source": source, "version": "1", "kind": kind, "files": files, "licence": licence}

    first = [row("art", 3), row("art", 4), row("photos", 2, "GPL-2"), row("fonts", 1)]
    later = [row("art", 7), row("photos", 2, "GPL-2+"), row("film", 1), row("film", 1), row("held-out", 0)]
    told = {(r["source"], r["files"], r["licence"]) for r in origins([first, later])}
    assert told == {
        ("art", 7, "CC0-1.0"),
        ("photos", 2, "GPL-2+"),
        ("film", 2, "CC0-1.0"),
        ("fonts", 1, "CC0-1.0"),
    }
    assert origins([]) == []
