# SPDX-License-Identifier: BSD-2-Clause
"""clarivid parity: what it compares, and that it fails when it should."""

from __future__ import annotations

import hashlib
import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from clarivid import ModelError, parity
from clarivid.models import find_model
from clarivid.nets.load import load_net
from clarivid.parity.cases import pictures
from clarivid.parity.report import judge
from conftest import Run
from lowrank_bundle import lowrank_bundle

RANDOM = [
    parity.Case("random", 64, 48, "yuv420p", False),
    parity.Case("random", 75, 53, "p010le", True),
]
FORMATS = ("yuv420p", "nv12", "yuv420p10le", "p010le")


@pytest.fixture
def bundle(root: Path, tmp_path: Path) -> Path:
    """A copy of a bundle that ships."""
    folder = tmp_path / "models" / "game_x2"
    shutil.copytree(root / "models" / "game_x2", folder)
    return folder


def record_digest(path: Path) -> None:
    """The file's new digest into the card, as if the wrong file had been packed."""
    card = json.loads((path.parent / "card.json").read_text())
    card["files"][path.name]["sha256"] = hashlib.sha256(path.read_bytes()).hexdigest()
    (path.parent / "card.json").write_text(json.dumps(card))


def change_weights(bundle: Path, change: float) -> None:
    """Move one layer's bias."""
    path = bundle / "weights.safetensors"
    tensors = load_file(path)
    tensors["tail.bias"] = tensors["tail.bias"] + np.float32(change)
    save_file(tensors, path)
    record_digest(path)


@pytest.mark.parametrize("name", ["game_x2", "natural_x2", "game_x2_fast", "natural_x2_fast"])
def test_module_and_filter_give_the_pixels_of_pytorch(name: str) -> None:
    report = parity.check(name, chosen=RANDOM)
    assert report.passed
    assert report.max_code_error <= 1
    for row in report.rows:
        assert set(row.fp32) == {"module", "filter", "cpu"}
        for difference in row.fp32.values():
            assert difference.differing < 1e-3  # values that lie on the border between two codes
        for difference in row.bf16.values():
            assert difference.decibel > parity.GATES["bf16"].real_db


@pytest.mark.parametrize("sizes", [{}, {"change": 0.2, "limit": 2}])
def test_lowrank_gives_the_pixels_of_pytorch_at_every_strength(
    tmp_path: Path, sizes: dict[str, float]
) -> None:
    folder = lowrank_bundle(tmp_path / "tiny", **sizes)
    chosen = [replace(case, strength=strength) for case in RANDOM for strength in (0.0, 0.5, 1.0)]
    report = parity.check(find_model(folder), chosen=chosen)
    assert report.passed
    for row in report.rows:
        for way in ("module", "filter", "cpu"):
            if row.case.strength == 0:  # the picture itself, in any precision
                assert row.fp32[way].max_code_error == 0
                assert way not in row.bf16 or row.bf16[way].max_code_error == 0
            else:
                assert row.fp32[way].differing < 1e-3


def test_models_with_a_strength_are_compared_at_two(tmp_path: Path, root: Path) -> None:
    model = find_model(lowrank_bundle(tmp_path / "tiny"))
    assert {case.strength for case in parity.cases(True, parity.strengths_of(model))} == {1.0, 0.5}
    assert parity.strengths_of(find_model(root / "models" / "game_x2")) == (1.0,)


# ------------------------------------------------------------------------------------------------- pictures


def test_the_cases_cover_every_format_range_and_odd_sizes() -> None:
    cases = parity.cases()
    plain = [case for case in cases if case.source in ("random", "real")]
    assert {case.pix_fmt for case in plain} == set(FORMATS)
    assert {(case.bit_depth, case.full_range, case.source) for case in plain} == {
        (depth, full, source) for depth in (8, 10) for full in (False, True) for source in ("random", "real")
    }
    assert any(case.width % 2 and case.height % 2 for case in plain)
    for kind in parity.ADVERSARIAL:
        hard = [case for case in cases if case.source == kind]
        assert {case.pix_fmt for case in hard} == set(FORMATS)
        assert {case.full_range for case in hard} == {False, True}
        assert len({case.width for case in hard}) == 3
    quick = parity.cases(quick=True)
    assert {case.bit_depth for case in quick} == {8, 10}
    assert {case.source for case in quick} == set(parity.SOURCES)


@pytest.mark.parametrize("pix_fmt", ["yuv420p", "yuv420p10le"])
def test_adversarial_pictures_are_what_their_names_say(pix_fmt: str) -> None:
    top = 255 if pix_fmt == "yuv420p" else 1023
    made = {kind: pictures(parity.Case(kind, 75, 53, pix_fmt, False), None) for kind in parity.ADVERSARIAL}
    for found in made.values():
        assert [plane.shape for plane in found[0]] == [(53, 75), (27, 38), (27, 38)]
    assert [np.unique(planes[0]).tolist() for planes in made["flat"]] == [[0], [top]]
    black, white = (int(planes[0][0, 0]) for planes in made["legal"])
    assert (black, white) == ((16, 235) if top == 255 else (64, 940))
    assert [np.unique(planes[1]).tolist() for planes in made["saturated"]] == [[0, top], [0, 1, top - 1, top]]
    luma = made["checkerboard"][0][0].astype(int)
    assert np.all(np.abs(np.diff(luma, axis=0)) == top)
    assert np.all(np.abs(np.diff(luma, axis=1)) == top)
    for bright, planes in zip((True, False), made["dot"], strict=True):
        assert all(int((plane == (top if bright else 0)).sum()) == 1 for plane in planes)
    for planes in made["steps"]:
        for plane in planes:
            edges = [int(np.count_nonzero(np.diff(plane.astype(int), axis=axis))) for axis in (0, 1)]
            assert sorted(edges)[0] == 0
            assert max(edges) in plane.shape


def test_fold_and_unfold_undo_each_other_in_the_shape_that_the_filter_uses() -> None:
    random = np.random.default_rng(1)
    picture = [random.integers(0, 1024, shape, dtype=np.uint16) for shape in ((53, 75), (27, 38), (27, 38))]
    tensor = parity.fold(picture, 10, False)
    assert tensor.shape == (1, 6, 27, 38)
    back = parity.unfold(tensor, 75, 53, 10, False)  # six channels are scale 1
    for before, after in zip(picture, back, strict=True):
        np.testing.assert_array_equal(before, after)


# ---------------------------------------------------------------------------------------------------- gates


def difference(db: float, worst: float = 0.0) -> parity.Difference:
    return parity.Difference(1, 0.1, db, worst)


@pytest.mark.parametrize(
    ("precision", "real", "made", "worst", "passed"),
    [
        ("fp16", 61, 51, 0.0, True),
        ("fp16", 59, 70, 0.0, False),
        ("fp16", 61, 49, 0.0, False),  # no quality, but a sign that something overflows
        ("fp16", 61, 51, 0.02, False),  # one sample of a border
        ("bf16", 46, 36, 0.1, True),
        ("bf16", 44, 60, 0.0, False),
        ("int8", 46, 12, 0.9, True),  # what calibration never saw is clipped
        ("int8", 44, 60, 0.0, False),
    ],
)
def test_gates_hold_for_real_and_made_pictures(
    precision: str, real: float, made: float, worst: float, passed: bool
) -> None:
    found = [("real", difference(real)), ("steps", difference(made, worst)), ("real", difference(99))]
    verdict = judge(precision, found)
    assert verdict.passed == passed
    assert (verdict.psnr_db, verdict.synthetic_db) == (real, made)


def test_what_only_real_pictures_judge_does_not_pass_without_one() -> None:
    assert not judge("int8", [("random", difference(99))]).passed
    assert judge("fp16", [("random", difference(99))]).passed


def test_fp32_is_judged_by_codes() -> None:
    for codes in (0, 1, 2):
        found = [("checkerboard", parity.Difference(codes, 1.0, 20.0))]
        assert judge("fp32", found).passed == (codes <= 1)
        assert judge("fp32", found).to_dict() == {"max_code_error": codes, "passed": codes <= 1}


# ------------------------------------------------------------------------------------------- faults, errors


def test_weights_and_onnx_that_disagree_give_a_non_zero_exit(
    bundle: Path, clarivid: Run, tmp_path: Path
) -> None:
    change_weights(bundle, 3 / 219)  # three code values
    out = tmp_path / "parity.json"
    words = ("--no-real", "--no-filter", "--quick", "--json", "--out", str(out))
    done = clarivid("parity", str(bundle), *words)
    assert done.returncode == 1, done.stderr
    report = json.loads(done.stdout)
    assert report == json.loads(out.read_text())
    assert not report["passed"]
    assert not report["fp32"]["passed"]
    assert report["fp32"]["max_code_error"] >= 3


def test_a_fitting_bundle_gives_a_table_and_exit_0(bundle: Path, clarivid: Run) -> None:
    done = clarivid("parity", str(bundle), "--no-real", "--no-filter", "--quick")
    assert done.returncode == 0, done.stderr
    assert "fp32: passed" in done.stdout
    assert "checkerboard" in done.stdout
    assert "Not compared: real pictures" in done.stdout


def test_a_changed_file_is_found_before_anything_is_compared(bundle: Path, clarivid: Run) -> None:
    (bundle / "weights.safetensors").write_bytes(b"nothing")
    done = clarivid("parity", str(bundle), "--no-real", "--no-filter")
    assert done.returncode == 1
    assert "SHA-256" in done.stderr


def test_a_bundle_without_a_net_in_pytorch_gives_a_sentence(bundle: Path) -> None:
    card = json.loads((bundle / "card.json").read_text())
    card["architecture"] = {"type": "espcn"}
    (bundle / "card.json").write_text(json.dumps(card))
    with pytest.raises(ModelError, match='its architecture is "espcn"'):
        load_net(find_model(bundle))


def test_a_missing_source_gives_a_sentence(clarivid: Run) -> None:
    done = clarivid("parity", "game_x2", "--source", "nowhere.mp4")
    assert done.returncode == 1
    assert "nowhere.mp4 does not exist" in done.stderr


def test_a_clip_that_cannot_be_fetched_gives_a_way_out(clarivid: Run, tmp_path: Path) -> None:
    done = clarivid("parity", "game_x2", CLARIVID_CACHE=str(tmp_path), PATH=str(tmp_path))
    assert done.returncode == 1
    assert "--no-real leaves real pictures out" in done.stderr
