# SPDX-License-Identifier: BSD-2-Clause
"""Model bundles: found by name, validated with sentences, verified by digest."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from clarivid import models
from clarivid.errors import DigestError, ModelError


@pytest.fixture(autouse=True)
def only_these_models(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CLARIVID_MODEL_PATH", str(tmp_path / "models"))


def test_model_path_comes_before_the_models_that_came_with_clarivid(make_bundle: Any, tmp_path: Path) -> None:
    make_bundle("toy_x2")
    assert models.search_path()[0] == tmp_path / "models"
    assert models.find_model("toy_x2").folder == tmp_path / "models" / "toy_x2"


def test_first_folder_on_the_search_path_wins(
    make_bundle: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = make_bundle("toy_x2")
    second = tmp_path / "other" / "toy_x2"
    second.mkdir(parents=True)
    (second / "card.json").write_text("not even JSON", encoding="utf-8")
    monkeypatch.setenv("CLARIVID_MODEL_PATH", f"{tmp_path / 'models'}:{tmp_path / 'other'}")
    assert [m.folder for m in models.list_models() if m.name == "toy_x2"] == [first]


def test_unknown_model_names_the_search_path_and_the_known_models(make_bundle: Any, tmp_path: Path) -> None:
    make_bundle("toy_x2")
    with pytest.raises(ModelError) as caught:
        models.find_model("tpy_x2")
    sentence = str(caught.value)
    assert '"tpy_x2"' in sentence
    assert str(tmp_path / "models") in sentence
    assert "toy_x2" in sentence
    assert "CLARIVID_MODEL_PATH" in sentence


@pytest.mark.parametrize("part", ["", "card.json", "model.onnx"])
def test_a_bundle_opens_by_its_folder_card_or_onnx(make_bundle: Any, part: str) -> None:
    assert models.find_model(make_bundle() / part).name == "toy_x2"


def test_a_folder_without_a_card_is_no_bundle(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"card\.json"):
        models.load_model(tmp_path)


@pytest.mark.parametrize(
    ("changes", "key"),
    [
        ({"schema": None}, "schema"),
        ({"schema": 2}, "schema 2"),
        ({"name": ""}, "name"),
        ({"task": None}, "task"),
        ({"layout": "yuv444"}, "layout"),
        ({"normalisation": "imagenet"}, "normalisation"),
        ({"layout": "yuv420_s2d_mask"}, "belong together"),
        ({"task": "inpaint"}, "belong together"),
        ({"task": "inpaint", "layout": "yuv420_s2d_mask", "normalisation": None}, "normalisation"),
        ({"task": "segment"}, 'must be "rgb" for the task "segment"'),
        ({"input": {"best_size": 8}}, r"input.best_size"),
        ({"input": {"width": 5000}}, r"input.width"),
        ({"scale": 7}, "scale"),
        ({"scale": True}, "scale"),
        ({"scale": "2"}, "scale"),
        ({"files": {}}, "files"),
        ({"files": {"model.onnx": {"sha256": "beef"}}}, r"files.model.onnx.sha256"),
        ({"files": {"model.onnx": {"sha256": "0" * 64}, "../x": {"sha256": "0" * 64}}}, r"\.\./x"),
        ({"input": {"multiple_of": 0}}, r"input.multiple_of"),
        ({"parameters": -1}, "parameters"),
        ({"scores": [1]}, "scores"),
    ],
)
def test_a_wrong_card_is_refused_naming_file_and_key(
    make_bundle: Any, changes: dict[str, Any], key: str
) -> None:
    folder = make_bundle(**changes)
    with pytest.raises(ModelError, match=key) as caught:
        models.load_model(folder)
    assert str(folder / "card.json") in str(caught.value)


@pytest.mark.parametrize("text", ["", "{", "[1, 2]", "\xff"])
def test_a_card_that_is_no_json_object_is_refused(make_bundle: Any, text: str) -> None:
    folder = make_bundle()
    (folder / "card.json").write_bytes(text.encode("latin-1"))
    with pytest.raises(ModelError, match=r"card\.json"):
        models.load_model(folder)


def test_layouts_other_than_ours_need_no_normalisation(make_bundle: Any) -> None:
    assert models.load_model(make_bundle(layout="rgb", normalisation=None, scale=4)).scale == 4


def test_cards_of_nets_that_paint_and_that_find_people_are_read(make_bundle: Any) -> None:
    sizes = {"multiple_of": 16, "best_size": 512}
    paints = make_bundle("paints", task="inpaint", layout="yuv420_s2d_mask", scale=1, input=sizes)
    assert models.load_model(paints).task == "inpaint"
    finds = make_bundle("finds", task="segment", layout="rgb", scale=1, input={"width": 256, "height": 144})
    assert models.load_model(finds).layout == "rgb"


def test_verify_names_the_file_whose_digest_differs(make_bundle: Any) -> None:
    folder = make_bundle()
    model = models.load_model(folder)
    models.verify_model(model)
    (folder / "weights.safetensors").write_bytes(b"changed")
    with pytest.raises(DigestError) as caught:
        models.verify_model(model)
    assert str(folder / "weights.safetensors") in str(caught.value)
    assert model.files["weights.safetensors"] in str(caught.value)


def test_verify_names_a_missing_file(make_bundle: Any) -> None:
    folder = make_bundle()
    (folder / "model.onnx").unlink()
    with pytest.raises(ModelError, match=r"model\.onnx"):
        models.verify_model(models.load_model(folder))


def test_list_prints_json_for_scripts(make_bundle: Any, clarivid: Any) -> None:
    folder = make_bundle()
    done = clarivid("models", "list", "--json")
    assert done.returncode == 0, done.stderr
    row = next(row for row in json.loads(done.stdout) if row["name"] == "toy_x2")
    assert row["folder"] == str(folder)
    assert row["scale"] == 2


def test_list_shows_the_good_models_beside_a_bad_one(make_bundle: Any, clarivid: Any) -> None:
    make_bundle("good_x2")
    bad = make_bundle("bad_x2", scale=9)
    done = clarivid("models", "list")
    assert done.returncode == 1
    assert "good_x2" in done.stdout
    assert str(bad / "card.json") in done.stderr


def test_show_prints_the_whole_card(make_bundle: Any, clarivid: Any) -> None:
    make_bundle(training={"data": [{"source": "some [package]", "licence": "CC0-1.0"}]})
    done = clarivid("models", "show", "toy_x2")
    assert done.returncode == 0, done.stderr
    assert "some [package]" in done.stdout
    assert "CC0-1.0" in done.stdout
    assert json.loads(clarivid("models", "show", "toy_x2", "--json").stdout)["scale"] == 2


def test_verify_command_fails_and_names_the_bad_file(make_bundle: Any, clarivid: Any) -> None:
    folder = make_bundle()
    assert clarivid("models", "verify", "toy_x2").returncode == 0
    (folder / "model.onnx").write_bytes(b"x")
    done = clarivid("models", "verify", "toy_x2")
    assert done.returncode == 1
    assert str(folder / "model.onnx") in done.stderr
    rows = json.loads(clarivid("models", "verify", "--json").stdout)
    assert [row["ok"] for row in rows if row["name"] == "toy_x2"] == [False]


def test_shipped_bundles_are_what_their_cards_say(root: Path) -> None:
    shipped = sorted(root.glob("models/*/card.json"))
    for card in shipped:
        model = models.load_model(card)
        models.verify_model(model)
        assert model.name == card.parent.name, "a bundle is found by its folder's name"
        assert model.card.get("licence"), f"{card} names no licence"
