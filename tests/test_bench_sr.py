# SPDX-License-Identifier: BSD-2-Clause
"""``clarivid bench sr``: scores mean what they say, gains and gate are what the docs promise, it goes on."""

from __future__ import annotations

import fnmatch
import json
import re
import subprocess
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from clarivid import clips, games
from clarivid.clips import Clip
from clarivid.data import sr_sources
from clarivid.data.sources import SOURCES
from clarivid.errors import InputError, ToolError
from clarivid.pages.sheet import FOOT, GAP, HEAD
from clarivid.rd.store import Store
from clarivid.sr_bench import easu, gate, material, plan, report, run, scores
from clarivid.sr_bench.plan import Method, Plan, Point
from conftest import MakeBundle, Run

POINT = (Point("x264", 25.0),)
SOFT = Method.same("soft", "scale=2*iw:2*ih:flags=bilinear")
SHARP = Method.same("sharp", "scale=2*iw:2*ih:flags=lanczos,unsharp=3:3:1.5")


def still(size: tuple[int, int] = (96, 128), seed: int = 1) -> scores.Luma:
    """Blocks of noise with soft edges, and fine grain in the right half."""
    rng = np.random.default_rng(seed)
    coarse = np.kron(rng.uniform(40, 210, (size[0] // 16, size[1] // 16 + 1)), np.ones((16, 16)))
    picture = coarse[:, : size[1]].astype(np.float32)
    picture[:, size[1] // 2 :] = 128 + rng.normal(0, 6, (size[0], size[1] - size[1] // 2))
    return picture


def pan(count: int = 4, step: int = 2) -> list[scores.Luma]:
    wide = still((96, 128 + step * count))
    smooth = np.asarray(wide)
    for _ in range(2):
        smooth = (
            smooth + np.roll(smooth, 1, 0) + np.roll(smooth, 1, 1) + np.roll(smooth, (1, 1), (0, 1))
        ) / 4
    return [np.ascontiguousarray(smooth[:, t * step : t * step + 128], np.float32) for t in range(count)]


# ------------------------------------------------------------------------------------------------- scores


def test_the_reference_itself_has_no_error_and_does_not_flicker() -> None:
    truth = pan()
    found = scores.Judge(truth).score(truth)
    assert found["edge"] == found["flicker"] == 0
    assert found["texture"] == pytest.approx(0, abs=1e-6)
    assert found["warp"] is not None
    assert found["warp"] > 0  # a bilinear warp is no identity: that is why flicker is judged, and not this


def test_an_error_that_stays_on_the_objects_does_not_flicker_and_one_that_changes_does() -> None:
    truth = pan()
    judge = scores.Judge(truth)
    steady = judge.score([picture + 5 for picture in truth])["flicker"]
    restless = judge.score([picture + (5 if t % 2 else -5) for t, picture in enumerate(truth)])["flicker"]
    assert steady is not None
    assert restless is not None
    assert steady < 0.01
    assert restless == pytest.approx(10, rel=0.02)


def test_blur_does_not_lower_flicker_though_it_lowers_the_warping_error() -> None:
    rng = np.random.default_rng(3)
    truth = [still() for _ in range(4)]  # nothing moves
    noisy = [picture + rng.normal(0, 4, picture.shape).astype(np.float32) for picture in truth]
    judge = scores.Judge(noisy)

    def soft(picture: scores.Luma) -> scores.Luma:
        mean = sum(np.roll(picture, (dy, dx), (0, 1)) for dy in (-1, 0, 1) for dx in (-1, 0, 1)) / 9
        return np.asarray(mean, np.float32)

    plain, blurred = judge.score(noisy), judge.score([soft(picture) for picture in noisy])
    assert blurred["warp"] is not None
    assert plain["warp"] is not None
    assert blurred["flicker"] is not None
    assert blurred["warp"] < plain["warp"] / 2
    assert blurred["flicker"] > 3


def test_texture_that_is_too_soft_or_too_strong_costs_and_edges_are_apart() -> None:
    truth = [still()]
    judge = scores.Judge(truth)
    grain, edge = truth[0].copy(), truth[0].copy()
    grain[:, 64:] = 128 + 0.3 * (grain[:, 64:] - 128)
    strong = truth[0].copy()
    strong[:, 64:] = 128 + 2.5 * (strong[:, 64:] - 128)
    edge[:, :64] += np.where(scores.edges(truth[0])[:, :64], 8, 0)
    for wrong in (grain, strong):
        assert (judge.score([wrong])["texture"] or 0) > 0.2
    found = judge.score([edge])
    assert found["edge"] == pytest.approx(8, rel=0.5)
    assert (found["texture"] or 0) < 0.05
    assert found["flicker"] is None  # a still


# --------------------------------------------------------------------------------------------------- easu


def test_easu_keeps_flat_pictures_and_ramps_and_sharpens_slanted_edges() -> None:
    flat = np.full((12, 20), 0.25, np.float32)
    np.testing.assert_allclose(easu.easu(flat), 0.25, atol=1e-6)
    np.testing.assert_allclose(easu.rcas(flat), 0.25, atol=1e-6)
    ramp = np.tile(np.linspace(0, 1, 30, dtype=np.float32), (12, 1))
    between = np.interp((np.arange(60) + 0.5) / 2 - 0.5, np.arange(30), ramp[0])
    np.testing.assert_allclose(easu.easu(ramp)[12, 4:-4], between[4:-4], atol=4e-3)
    y, x = np.mgrid[0:128, 0:128]
    fine = np.clip((x + 0.5 * y - 90) / 3 + 0.5, 0, 1).astype(np.float32)
    small = fine.reshape(64, 2, 64, 2).mean((1, 3), dtype=np.float32)
    bilinear = small.repeat(2, 0).repeat(2, 1)
    assert np.square(easu.easu(small) - fine).mean() < 0.5 * np.square(bilinear - fine).mean()


def test_easu_doubles_pictures_of_any_depth() -> None:
    planes = (
        np.full((10, 14), 940, np.uint16),
        np.full((5, 7), 512, np.uint16),
        np.full((5, 7), 64, np.uint16),
    )
    for method in easu.METHODS.values():
        y, u, v = method(planes, 10)
        assert (y.shape, u.shape, y.dtype) == ((20, 28), (10, 14), np.uint16)
        assert set(np.unique(y)) == {940}
        assert set(np.unique(v)) == {64}


# ------------------------------------------------------------------------------------------ gains and gate


def row(clip: str, kind: str, method: str, crf: float = 25, **values: float | None) -> dict[str, Any]:
    base = {"psnr_y": 30.0, "psnr_uv": 40.0, "ssim": 0.9, "vmaf": 80.0, "vmaf_neg": 78.0}
    errors: dict[str, float | None] = {"edge": 10.0, "texture": 0.2, "flicker": 2.0, "warp": 3.0}
    return asdict(run.Row(clip, kind, "x264", crf, method, (128, 96), 4, 500.0, {**base, **errors, **values}))


def rows_of(gains: dict[str, tuple[str, float]], **values: float) -> list[dict[str, Any]]:
    """Lanczos, and a net with these gains in PSNR by clip (kind, dB) and better ones in everything else."""
    better = {"ssim": 0.92, "vmaf": 86.0, "vmaf_neg": 83.0, "flicker": 1.9, "texture": 0.1, **values}
    made = []
    for clip, (kind, gain) in gains.items():
        made += [row(clip, kind, "lanczos"), row(clip, kind, "net", psnr_y=30 + gain, **better)]
    return made


ALL = {kind: (kind, 1.5) for kind in clips.KINDS}


def test_a_clip_counts_once_however_many_rates_it_has_and_a_kind_once_however_many_clips() -> None:
    rows = rows_of({"a": ("game", 1.0), "b": ("game", 2.0), "c": ("natural", 0.5), "d": ("hard", -3.0)})
    rows += [row("a", "game", "lanczos", 30), row("a", "game", "net", 30, psnr_y=30.0)]
    found = report.gains(rows, "net")
    assert found["clips"]["a"]["psnr_y"] == pytest.approx(0.5)
    assert found["kinds"]["game"]["psnr_y"] == pytest.approx(1.25)
    assert found["mean"]["psnr_y"] == pytest.approx((1.25 + 0.5) / 2)  # hard is apart
    assert found["least"]["psnr_y"] == "d"
    assert found["kinds"]["natural"]["flicker"] == pytest.approx(0.95)


def test_means_of_errors_are_geometric_so_that_half_and_double_make_one() -> None:
    rows = rows_of({"a": ("game", 1.0), "b": ("game", 1.0)})
    for one in rows:
        if one["method"] == "net":
            one["scores"]["edge"] = 5.0 if one["clip"] == "a" else 20.0
    assert report.gains(rows, "net")["kinds"]["game"]["edge"] == pytest.approx(1)


def test_stills_have_no_flicker_and_do_not_spoil_the_mean() -> None:
    rows = rows_of({"film": ("game", 1.0), "still": ("natural", 1.0)})
    for one in rows:
        if one["clip"] == "still":
            one["scores"]["flicker"] = None
    found = report.gains(rows, "net")
    assert found["clips"]["still"]["flicker"] is None
    assert found["mean"]["flicker"] == pytest.approx(0.95)


@pytest.mark.parametrize(
    ("tier", "gains", "values", "missed"),
    [
        ("fidelity", ALL, {}, ""),
        ("fidelity", ALL, {"flicker": 2.02}, "flicker"),
        ("fidelity", ALL, {"vmaf_neg": 82.4}, "VMAF-NEG, mean"),
        ("fidelity", {k: (k, 1.2) for k in ALL}, {}, "PSNR-Y, mean"),
        ("fidelity", {**ALL, "grain": ("hard", -0.01)}, {}, r"PSNR-Y: 1 of 8 clips .*grain -0.01"),
        ("fidelity", {**ALL, "hard": ("hard", -0.2)}, {}, "PSNR-Y: 1 of 7 kinds"),
        ("fast", {k: (k, 1.05) for k in ALL}, {"vmaf": 81.0}, ""),
        ("fast", {k: (k, 0.95) for k in ALL}, {}, "PSNR-Y, mean"),
        ("perceptual", {k: (k, -0.5) for k in ALL}, {"flicker": 2.3}, ""),
        ("perceptual", ALL, {"flicker": 2.5}, "flicker"),
        ("perceptual", ALL, {"texture": 0.3}, "texture"),
    ],
)
def test_the_gate_judges_means_and_every_kind_and_clip(
    tier: str, gains: dict[str, tuple[str, float]], values: dict[str, float], missed: str
) -> None:
    checks = gate.gate(tier, report.gains(rows_of(gains, **values), "net"))
    failed = "; ".join(check.sentence for check in checks if check.passed is not True)
    if missed:
        assert re.search(missed, failed), failed
    else:
        assert not failed


def test_kinds_that_were_not_measured_are_not_passed() -> None:
    checks = gate.gate(
        "fast", report.gains(rows_of({"a": ("game", 2.0)}), "net"), ["pool is left out: no game"]
    )
    assert [check.sentence for check in checks if check.passed is None] == [
        "pool is left out: no game",
        "clips of every kind: none of cg, anime, illustration, screen, natural, hard",
    ]


# ------------------------------------------------------------------------------------------------- material


def test_every_kind_has_clips_and_no_package_of_them_is_trained_on() -> None:
    every = material.material()
    assert len({clip.name for clip in every}) == len(every)
    assert set(material.QUICK) <= {clip.name for clip in every}
    for kind in clips.KINDS:
        assert len(material.material(kind)) >= 3
    sources = [*SOURCES, *sr_sources.SOURCES]
    filmed = {title.package for title in games.TITLES if not title.held_out}
    for clip in every:
        package = material.package(clip)
        assert package, clip.name
        assert clip.licence, clip.name
        assert package not in filmed, clip.name
        shared = [source for source in sources if source.package == package]
        if not shared:
            continue
        # Of a package that training uses, too, only files that it leaves out.
        file = {"noise": "Garden.jpg", "night": "LadyBird.jpg"}.get(clip.name) or str(clip.source.args[-1])  # type: ignore[attr-defined]
        for source in shared:
            globs = {glob.rpartition("/")[2] for glob in source.globs}
            taken = any(fnmatch.fnmatch(Path(file).name, glob) for glob in globs)
            assert not taken or any(fnmatch.fnmatch(file, x) for x in source.exclude), (clip.name, file)
    with pytest.raises(InputError, match=r'clip "cats" is unknown: it is one of .*bunny'):
        material.find("cats")


# ------------------------------------------------------------------------------------------------- a run


@pytest.fixture
def film(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Clip:
    """Six frames of 160x128; the cache is an empty folder."""
    monkeypatch.setenv("CLARIVID_CACHE", str(tmp_path / "cache"))
    path = tmp_path / "film.mkv"
    command = [
        clips.encoder(),
        "-v",
        "error",
        "-f",
        "lavfi",
        "-i",
        "mandelbrot=s=320x256:rate=25:end_scale=0.1",
    ]
    subprocess.run([*command, "-frames:v", "6", "-c:v", "ffv1", "-pix_fmt", "yuv420p", str(path)], check=True)
    return Clip("film", "game", lambda: path, "CC0-1.0", frames=6)


def measured(wanted: Plan, store: Store, **options: Any) -> tuple[list[run.Row], list[str]]:
    """Rows, and what was told on the way."""
    told: list[str] = []
    rows, _ = run.run(
        wanted,
        jobs=1,
        program=Path(clips.encoder()),
        store=store,
        progress=lambda done, total, note: told.append(f"{done}/{total} {note}"),
        **options,
    )
    return rows, told


def test_a_run_scores_every_method_at_every_point_and_a_second_run_has_nothing_to_do(
    film: Clip, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = Store(tmp_path / "store")
    points = (*POINT, Point("svtav1", 60))
    wanted = Plan((film,), points, (SOFT, Method("easu", python="easu")), 4)
    rows, told = measured(wanted, store)
    assert [(r.codec, r.method) for r in rows] == [
        (codec, method) for codec in ("x264", "svtav1") for method in ("lanczos", "soft", "easu")
    ]
    assert told[-1].startswith("6/6 ")
    by = {(r.codec, r.method): r for r in rows}
    good, bad = by["x264", "lanczos"], by["svtav1", "lanczos"]
    assert good.size == (160, 128)
    assert good.frames == 4
    assert good.kbps > 0
    assert bad.kbps > 0
    for name in ("psnr_y", "vmaf", "ssim"):
        assert (good.scores[name] or 0) > (bad.scores[name] or 0)
    assert (good.scores["psnr_y"] or 0) > (by["x264", "soft"].scores["psnr_y"] or 0)

    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("this was measured before")

    monkeypatch.setattr(run._Clip, "_encode", refuse)
    monkeypatch.setattr(run._Clip, "_score", refuse)
    again, _ = measured(wanted, store)
    assert again == rows


def test_ten_bits_two_encodes_and_stills_run(film: Clip, tmp_path: Path) -> None:
    wanted = Plan(
        (
            replace(film, name="deep", deep=True, frames=3),
            replace(film, name="twice", twice=True, frames=3),
            replace(film, name="one", frames=1),
            replace(film, name="plain", frames=3),
        ),
        POINT,
        (),
        3,
    )
    keep = tmp_path / "kept"
    rows, _ = measured(wanted, Store(tmp_path / "store"), keep=keep)
    found = {r.clip: r for r in rows}
    assert found["one"].frames == 1
    assert found["one"].scores["flicker"] is None
    assert found["plain"].scores["flicker"] is not None
    assert (found["twice"].scores["psnr_y"] or 0) < (found["plain"].scores["psnr_y"] or 0)
    from clarivid.rd.tools import Tools, probe

    for name, pix_fmt in (("deep", "yuv420p10le"), ("plain", "yuv420p")):
        folder = keep / f"{name}-x264-25"
        for file in ("reference.mkv", "coded.mkv", "lanczos.mkv"):
            assert probe(folder / file, Tools()).pix_fmt == pix_fmt


def test_a_clip_that_cannot_be_made_is_left_out_with_a_sentence(film: Clip, tmp_path: Path) -> None:
    def gone() -> Path:
        raise ToolError("the game that is filmed is not installed")

    wanted = Plan((replace(film, name="gone", source=gone), film), POINT, (), 2)
    rows, missing = run.run(wanted, jobs=1, program=Path(clips.encoder()), store=Store(tmp_path / "store"))
    assert {r.clip for r in rows} == {"film"}
    assert missing == ["gone is left out: the game that is filmed is not installed"]


def test_a_method_that_does_not_double_the_size_gives_a_sentence(film: Clip, tmp_path: Path) -> None:
    wanted = Plan((film,), POINT, (Method.same("thrice", "scale=3*iw:3*ih"),), 2)
    with pytest.raises(ToolError, match=r"thrice makes 240x192 of film, not 160x128"):
        measured(wanted, Store(tmp_path / "store"))


def test_wrong_plans_give_sentences(film: Clip) -> None:
    with pytest.raises(InputError, match=r'codec "vp9" is unknown: it is one of x264'):
        Point.parse("vp9=20")
    with pytest.raises(InputError, match=r"CRF 70 is outside x264's 1\.\.51"):
        Point.parse("x264=20,70")
    with pytest.raises(InputError, match="two methods are called soft"):
        Plan((film,), POINT, (SOFT, SOFT))
    with pytest.raises(InputError, match="neither a model nor two"):
        plan.model("a,b,c")
    with pytest.raises(InputError, match='rival "cats" is unknown'):
        plan.rivals(["cats"])


def test_two_models_share_the_clips_by_what_they_are_for() -> None:
    method = plan.model("mine=a_x2,/srv/b/model.onnx")
    assert method.name == "mine"
    assert method.filters is not None
    assert "model=a_x2:" in method.filters["game"]
    assert "model=/srv/b/model.onnx:" in method.filters["natural"]
    assert plan.model("a_x2,/srv/b/model.onnx").name == "a_x2+b"
    soft = plan.model("a_x2", sharpness=0.5)
    assert soft.name == "a_x2-0.5"
    assert soft.filters is not None
    assert soft.filters["game"].endswith(":sharpness=0.5")
    assert material.find("city").net == "natural"
    assert material.find("combed").net == "natural"
    assert material.find("dithered").net == "game"


def test_a_model_that_changes_is_measured_anew(tmp_path: Path, make_bundle: MakeBundle) -> None:
    plain = tmp_path / "a: net.onnx"
    plain.write_bytes(b"one")
    method = plan.model(f"mine={plain},{make_bundle('toy_x2')}")
    assert method.filters is not None
    before = [run.model_files(method.filters[net]) for net in ("game", "natural")]
    plain.write_bytes(b"another")
    after = [run.model_files(method.filters[net]) for net in ("game", "natural")]
    assert before[0] != after[0]
    assert before[1] == after[1] != before[0]
    assert run.model_files("scale=2*iw:2*ih") == []


# --------------------------------------------------------------------------------------------- the command


def test_the_command_writes_files_and_prints_what_was_asked_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, film: Clip, capsys: pytest.CaptureFixture[str]
) -> None:
    from clarivid.cli import _bench_sr as bench_sr

    monkeypatch.setattr(material, "find", lambda name: replace(film, name=name))
    monkeypatch.setattr(plan, "model", lambda text, _precision, _sharpness: replace(SHARP, name=text))
    base = ["film", "--rate", "x264=30", "--frames", "2", "--ffmpeg", clips.encoder(), "--jobs", "1"]
    base += ["--out", str(tmp_path / "out"), "--model", "net", "--filter", f"soft={SOFT.filters['game']}"]  # type: ignore[index]

    def call(*more: str) -> tuple[int, str]:
        code = bench_sr.command.main([*base, *more], standalone_mode=False)
        return int(code or 0), capsys.readouterr().out

    code, text = call("--rival", "none", "--json")
    assert code == 0
    record = json.loads(text)
    assert record["models"] == ["net"]
    assert set(record["gains"]) == {"net", "soft"}
    assert record["gains"]["soft"]["mean"]["psnr_y"] < 0
    assert {entry.name for entry in (tmp_path / "out").iterdir()} == {
        "results.json",
        "results.csv",
        "table.md",
        "scores-net.json",
    }
    lines = report.card_lines(json.loads((tmp_path / "out" / "scores-net.json").read_text())["held_out"])
    assert "on 1 held-out clips and stills after an encoder, mean over x264 at CRF 30" in lines[0]
    assert any(line.startswith("| game |") for line in lines)
    _, text = call("--csv")
    assert text.splitlines()[0].startswith("clip,kind,codec,crf,method,width,height,frames,kbps,psnr_y,")
    assert len(text.splitlines()) == 1 + 3
    _, text = call("--markdown")
    assert "| net | clips | PSNR-Y, dB |" in text
    assert "mean over x264 at CRF 30" in text
    _, text = call("--rival", "none", "--sheet", str(tmp_path / "sheet.png"))
    with Image.open(tmp_path / "sheet.png") as sheet:
        assert sheet.format == "PNG"
        assert sheet.size == (GAP + 4 * (160 + GAP), HEAD + 128 + FOOT + GAP)  # original, lanczos, net, soft
        columns = [np.asarray(sheet)[HEAD : HEAD + 128, GAP + n * (160 + GAP) :][:, :160] for n in range(4)]
    detail = [np.abs(np.diff(column.astype(int), axis=1)).mean() for column in columns]
    assert detail[3] < detail[1] < detail[2]  # soft, Lanczos, sharp
    code, text = call("--gate", "fidelity")
    assert code == 1
    assert "gate, net, not measured: clips of every kind" in text


def test_help_has_examples(clarivid: Run) -> None:
    done = clarivid("bench", "sr", "--help")
    assert done.returncode == 0
    assert "clarivid bench sr --preset full --gate fidelity" in done.stdout
