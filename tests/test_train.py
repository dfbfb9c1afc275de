# SPDX-License-Identifier: BSD-2-Clause
"""Training data and training: pairs are aligned, packs lossless, runs resumable and better than Lanczos."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image, ImageDraw

torch = pytest.importorskip("torch")
pytest.importorskip("imageio_ffmpeg")

from clarivid.data import pack as packs  # noqa: E402
from clarivid.data import synth  # noqa: E402
from clarivid.data.sources import HELD_OUT, SOURCES, Picture, Source  # noqa: E402
from clarivid.errors import InputError  # noqa: E402
from clarivid.nets.sr import bicubic_kernel  # noqa: E402
from clarivid.train import sr  # noqa: E402
from clarivid.train.batches import Batches, fold, normalise, unfold  # noqa: E402
from clarivid.train.runs import Report  # noqa: E402

TINY = {"channels": 12, "blocks": 1, "batch": 4, "validate_every": 1e9, "save_every": 1e9}


def picture(height: int, width: int, seed: int = 0) -> np.ndarray:
    """An RGB picture of soft edges and texture."""
    rng = np.random.default_rng(seed)
    noise = Image.fromarray(rng.integers(0, 256, (height // 4, width // 4, 3), np.uint8))
    image = noise.resize((width, height), Image.Resampling.BICUBIC)
    draw = ImageDraw.Draw(image)
    for _ in range(height * width // 4000):  # flat shapes with hard edges
        x, y, r = rng.integers(0, width), rng.integers(0, height), rng.integers(4, 40)
        shape = draw.ellipse if rng.random() < 0.5 else draw.rectangle
        shape((x, y, x + r, y + r // 2 + 3), tuple(int(c) for c in rng.integers(0, 256, 3)))
    return np.asarray(image)


@pytest.fixture(scope="module")
def tiny_pack(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A pack of a drawn picture: 12 crops and a validation picture."""
    folder = tmp_path_factory.mktemp("pack")
    path = folder / "scene.png"
    Image.fromarray(picture(560, 720)).save(path)
    source = Source("none", ("*",), "game", "scene", 1.0, True, "CC0-1.0")
    rng = np.random.default_rng(5)
    scene = Picture(path, "scene.png", source, False)
    pairs = synth.make_pairs(scene, (), rng, (512, 448), fixed=dict(packs.VAL_RECIPES[0]))
    tiles = [tile for pair in pairs for tile in packs.cut(pair, 6, rng)]
    crops = {plane: np.stack([t[plane] for t in tiles]) for plane in packs.PLANES}
    held = synth.make_pairs(scene, (), rng, (256, 192), keep=1, fixed=dict(packs.VAL_RECIPES[0]))[0]
    val = {p: d[None] for p, d in zip(packs.PLANES, (*held.high, *held.low), strict=True)}
    manifest = {"schema": packs.SCHEMA, "sources": [], "clips": [pairs[0].recipe]}
    packs.save(packs.Pack({"game": crops}, {"game": [val]}, manifest), folder / "tiny.pack")
    return folder / "tiny.pack"


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


def test_colour_is_bt709_limited() -> None:
    for rgb, code in (
        ((255, 255, 255), (235, 128, 128)),
        ((0, 0, 0), (16, 128, 128)),
        ((255, 0, 0), (63, 102, 240)),
    ):
        planes = synth.rgb_to_yuv420(np.full((4, 4, 3), rgb, np.uint8))
        assert tuple(int(p[0, 0]) for p in planes) == code


@pytest.mark.parametrize("codec", ["libx264", "libx265"])
def test_coding_gives_every_frame_back_nearly_as_it_was(codec: str) -> None:
    frames = [synth.rgb_to_yuv420(picture(64, 96, seed)) for seed in (1, 1, 1)]
    coded = synth.code_clip(frames, codec, 12, "veryfast")
    assert len(coded) == 3
    assert sr.psnr(coded[1][0], frames[1][0]) > 36


def test_any_recipe_gives_pairs_of_one_size(tmp_path: Path) -> None:
    """Sprites, text, grain, texels, earlier encodes, half-size copies: high is always twice low."""
    Image.fromarray(picture(830, 1310)).save(tmp_path / "scene.png")
    sprite = Image.fromarray(picture(72, 72))
    sprite.putalpha(200)
    sprite.save(tmp_path / "sprite.png")
    source = Source("none", ("*",), "game", "scene", 1.0, True, "CC0-1.0")
    scene, cutout = (Picture(tmp_path / f"{name}.png", name, source, False) for name in ("scene", "sprite"))
    seen: set[str] = set()
    for seed in range(10):
        for pair in synth.make_pairs(scene, [cutout], np.random.default_rng(seed), (320, 200), keep=1):
            seen |= {key for key in ("halved", "texels", "noisy", "recoded") if pair.recipe[key]}
            for low, high in zip(pair.low, pair.high, strict=True):
                assert high.shape == (2 * low.shape[0], 2 * low.shape[1])
    assert seen == {"halved", "texels", "noisy", "recoded"}


def test_pack_is_lossless(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    tiles = {}
    for plane in packs.PLANES:
        n = packs.LOW_CROP * (2 if plane.endswith("hi") else 1) // (1 if plane[0] == "y" else 2)
        tiles[plane] = rng.integers(0, 256, (70, n, n), np.uint8)
    packs.save(packs.Pack({"game": tiles}, {}, {"schema": packs.SCHEMA}), tmp_path / "p")
    back = packs.load(tmp_path / "p").crops["game"]
    assert all(np.array_equal(back[plane], tiles[plane]) for plane in packs.PLANES)


def test_what_serves_evaluation_is_not_trained_on() -> None:
    names = {source.package for source in SOURCES}
    assert not names & {"libjxl-testdata", "renpy-demo", "lomiri-wallpapers-20.04", "fillets-ng-data"}
    mate = next(s for s in SOURCES if s.package == "mate-backgrounds")
    assert {"*Garden*", "*LadyBird*"} <= set(mate.exclude)
    assert all(HELD_OUT.values())


def test_chroma_is_not_learnt_from_mirrored_batches(tiny_pack: Path) -> None:
    """In a batch with chroma, columns keep their order: only whole rows may be turned over."""
    pack = packs.load(tiny_pack)
    batches = Batches([pack], {"game": 1.0}, 2, 0, torch.device("cpu"))
    known = {t.tobytes() for plane in pack.crops["game"]["u_hi"] for t in (plane, plane[::-1])}
    seen = set()
    for _ in range(16):
        batch = batches.draw()
        seen.add(batch.chroma)
        u = unfold(batch.high)[1] * 224 + 128
        kept = all(np.ascontiguousarray(t).tobytes() in known for t in u.round().to(torch.uint8).numpy())
        assert kept or not batch.chroma
    assert seen == {True, False}


def test_run_is_repeatable_and_resumes_exactly(tiny_pack: Path, tmp_path: Path) -> None:
    def weights(folder: Path) -> dict[str, torch.Tensor]:
        return dict(sr.read_checkpoint(folder / "last.pt")["model"])

    options = sr.Options(steps=12, precision="fp32", **TINY)  # type: ignore[arg-type]
    options = sr.Options(**{**vars(options), "kind": "game", "other": 0.0})
    sr.train(options, [tiny_pack], tmp_path / "a")
    sr.train(options, [tiny_pack], tmp_path / "b")
    a, b = weights(tmp_path / "a"), weights(tmp_path / "b")
    assert all(torch.equal(a[k], b[k]) for k in a)

    class StopError(Exception):
        pass

    def stop(_: Report) -> None:
        raise StopError

    broken = sr.Options(**{**vars(options), "save_every": 0.0})
    with pytest.raises(StopError):  # after step 10; the checkpoint is that of step 9
        sr.train(broken, [tiny_pack], tmp_path / "c", progress=stop)
    assert sr.read_checkpoint(tmp_path / "c" / "last.pt")["step"] == 9
    sr.train(options, [tiny_pack], tmp_path / "c", resume=True)
    c = weights(tmp_path / "c")
    assert all(torch.equal(a[k], c[k]) for k in a)


def test_some_steps_beat_lanczos_and_the_log_says_so(tiny_pack: Path, tmp_path: Path) -> None:
    options = sr.Options(**{**TINY, "channels": 24, "kind": "game", "other": 0.0, "steps": 100, "lr": 3e-3})
    score = sr.train(options, [tiny_pack], tmp_path)
    assert score["game"]["gain_db"] > 0.1
    last = json.loads((tmp_path / "log.jsonl").read_text("utf-8").splitlines()[-1])
    assert last["step"] == 100
    assert last["validation"] == score
    assert (tmp_path / "best.pt").is_file()


def test_command_line_trains_from_an_earlier_run(tiny_pack: Path, tmp_path: Path) -> None:
    from clarivid.cli.train import command

    first = sr.Options(**{**TINY, "channels": 48, "blocks": 4, "kind": "game", "other": 0.0, "steps": 2})
    sr.train(first, [tiny_pack], tmp_path / "base")
    arguments = ["sr", str(tiny_pack), "--kind", "game", "--other", "0", "--steps", "1", "--batch", "2"]
    arguments += ["--out", str(tmp_path / "game"), "--init", str(tmp_path / "base" / "best.pt")]
    result = CliRunner().invoke(command, arguments, catch_exceptions=False)
    assert result.exit_code == 0
    assert "Lanczos" in result.output
    assert [run["steps"] for run in sr.read_checkpoint(tmp_path / "game" / "last.pt")["history"]] == [2]


def test_missing_pack_and_missing_kind_are_sentences(tiny_pack: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="clarivid data sr"):
        sr.train(sr.Options(steps=1), [tmp_path / "none.pack"], tmp_path)
    with pytest.raises(InputError, match="no crops of kind 'natural'"):
        sr.train(sr.Options(steps=1, kind="natural"), [tiny_pack], tmp_path)
