# SPDX-License-Identifier: BSD-2-Clause
"""Masks of people: the net as its makers run it, the same masks from C++ as from Python, and wrong models."""

from __future__ import annotations

import hashlib
import json
import struct
from pathlib import Path
from typing import Any

import numpy as np
import openvino as ov
import pytest
from numpy.typing import NDArray

from clarivid import _core, models
from clarivid.errors import InputError, ModelError
from clarivid.export import segment, tflite
from clarivid.masks import PersonMasks, iou
from clarivid.paths import cache_dir

NEAR, FAR = "segment_person", "segment_person_far"

# What LiteRT 2.3.0 gives for segment.probe(height, width) where the nets are least sure: row, column, value.
LITERT: dict[str, tuple[tuple[int, int], list[tuple[int, int, float]]]] = {
    NEAR: (
        (144, 256),
        [
            (19, 145, 0.4164),
            (23, 108, 0.5430),
            (60, 103, 0.5048),
            (61, 103, 0.4494),
            (75, 106, 0.4344),
            (75, 107, 0.5765),
            (79, 110, 0.5593),
            (82, 110, 0.4532),
            (82, 111, 0.4994),
            (84, 110, 0.4646),
            (86, 113, 0.5892),
            (88, 141, 0.5273),
            (90, 115, 0.5160),
            (90, 141, 0.4204),
            (91, 116, 0.4322),
            (92, 116, 0.4044),
            (93, 110, 0.4429),
            (97, 99, 0.4859),
            (131, 67, 0.5246),
            (142, 64, 0.5028),
        ],
    ),
    FAR: (
        (256, 256),
        [
            (30, 113, 0.5322),
            (49, 106, 0.4799),
            (79, 106, 0.5120),
            (81, 102, 0.4939),
            (81, 106, 0.4988),
            (108, 106, 0.4907),
            (110, 106, 0.4952),
            (123, 104, 0.5325),
            (137, 148, 0.5076),
            (153, 114, 0.4962),
            (154, 143, 0.4917),
            (157, 141, 0.4812),
            (190, 84, 0.5000),
            (192, 173, 0.4959),
            (201, 178, 0.4697),
            (206, 76, 0.5276),
            (208, 75, 0.4689),
            (246, 191, 0.5139),
            (252, 191, 0.5269),
            (254, 191, 0.5219),
        ],
    ),
}


def rgb(height: int, width: int) -> NDArray[np.uint8]:
    """The drawn person as a picture."""
    drawn = segment.probe(height, width)[0].transpose(1, 2, 0)
    return np.asarray(drawn * 255 + 0.5, np.uint8)


def yuv420(picture: NDArray[np.uint8]) -> tuple[NDArray[np.uint8], ...]:
    """BT.601, limited range, chroma centred in its 2x2 blocks."""
    r, g, b = picture.astype(np.float64).transpose(2, 0, 1) / 255
    y = 0.299 * r + 0.587 * g + 0.114 * b
    u, v = (b - y) / 1.772, (r - y) / 1.402
    half = [c.reshape(c.shape[0] // 2, 2, c.shape[1] // 2, 2).mean((1, 3)) for c in (u, v)]
    planes = [16 + 219 * y, *(128 + 224 * c for c in half)]
    return tuple(np.asarray(plane + 0.5, np.uint8) for plane in planes)


@pytest.mark.parametrize("name", [NEAR, FAR])
def test_the_bundle_gives_the_probabilities_that_litert_gives(name: str) -> None:
    size, values = LITERT[name]
    net = ov.Core().compile_model(
        str(models.find_model(name).onnx), "CPU", {"INFERENCE_PRECISION_HINT": "f32"}
    )
    found = net([segment.probe(*size)])[0][0, 0]
    assert max(abs(float(found[row, column]) - value) for row, column, value in values) < 1e-3


def test_fp16_twin_draws_the_same_mask() -> None:
    bundle = models.find_model(NEAR)
    x = segment.probe(144, 256)
    full, half = (
        ov.Core().compile_model(str(bundle.folder / file), "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
        for file in ("model.onnx", "model_fp16.onnx")
    )
    one, two = full([x])[0], half([x.astype(np.float16)])[0]
    assert two.dtype == np.float16
    assert np.mean((one >= 0.5) != (two >= 0.5)) < 1e-3


def test_bundles_carry_licence_origin_and_size() -> None:
    for name in (NEAR, FAR):
        bundle = models.find_model(name)
        models.verify_model(bundle)
        assert bundle.card["licence"] == "Apache-2.0"
        assert "Apache License" in (bundle.folder / "LICENSE").read_text("utf-8")
        assert "mediapipe" in bundle.card["origin"]["package"]
        assert {"width", "height"} <= set(bundle.card["input"])
        assert "no weight" in (bundle.folder / "README.md").read_text("utf-8")


def test_a_drawn_person_is_masked_whole_and_the_room_is_not() -> None:
    mask = PersonMasks(NEAR)(rgb(288, 512))
    assert mask.shape == (288, 512)
    assert mask[90:110, 240:270].all()  # face
    assert mask[240:, 200:310].mean() > 0.98  # shirt
    assert mask[:, :100].mean() < 0.01
    assert mask[:, -100:].mean() < 0.01


def test_a_mask_does_not_lag_behind_who_moves() -> None:
    masks = PersonMasks(NEAR)
    person = rgb(144, 256)
    masks(person)
    moved = np.roll(person, 60, axis=1)
    now, alone = masks(moved), PersonMasks(NEAR)(moved)
    assert iou([now], [alone]) > 0.97


def shown_mask(planes: tuple[NDArray[np.uint8], ...], **options: Any) -> NDArray[np.bool_]:
    """What segment= of the library masks: where show=mask changes a sample."""
    from clarivid import Inpainter

    show = Inpainter("none", segment=NEAR, show="mask", dilate=0, **options)
    out = show(planes, matrix="bt601", siting="centre")
    changed = [a != b for a, b in zip(out, planes, strict=True)]
    return np.asarray(changed[0] | (changed[1] | changed[2]).repeat(2, 0).repeat(2, 1))


@pytest.mark.skipif(not hasattr(_core, "Inpainter"), reason="the library is older than these sources")
def test_the_library_masks_what_python_masks() -> None:
    picture = rgb(288, 512)
    from_python = PersonMasks(NEAR)(picture)
    from_library = shown_mask(yuv420(picture), backend="openvino", precision="fp32")
    assert iou([from_python], [from_library]) > 0.97


@pytest.mark.skipif(not hasattr(_core, "Inpainter"), reason="the library is older than these sources")
@pytest.mark.parametrize("size", [(143, 255), (720, 1280), (400, 224)])
def test_any_size_of_picture_is_masked(size: tuple[int, int]) -> None:
    height, width = size
    planes = yuv420(rgb(height + height % 2, width + width % 2))
    planes = (planes[0][:height, :width], *planes[1:])
    show_planes = tuple(np.ascontiguousarray(plane) for plane in planes)
    from clarivid import Inpainter

    out = Inpainter("none", segment=NEAR, show="mask", dilate=0)(show_planes, matrix="bt601")
    changed = out[0] != show_planes[0]
    assert 0.1 < changed.mean() < 0.4
    assert not changed[: height // 20].any()


# ---- models that make no masks


def test_python_refuses_a_model_for_another_task() -> None:
    with pytest.raises(ModelError, match=r"'lowrank'.*segment_person"):
        PersonMasks("lowrank_v1")


@pytest.mark.skipif(not hasattr(_core, "Inpainter"), reason="the library is older than these sources")
def test_the_library_refuses_a_model_for_another_task() -> None:
    from clarivid import Inpainter

    with pytest.raises(ModelError, match="lowrank"):
        Inpainter("none", segment="lowrank_v1")


def bad_bundle(folder: Path, channels: int, **size: int) -> Path:
    """A bundle for segmentation whose net gives ``channels`` values a sample."""
    from onnx import TensorProto, helper, numpy_helper

    kernel = np.full((channels, 3, 1, 1), 0.1, np.float32)
    ends = [
        helper.make_tensor_value_info(end, TensorProto.FLOAT, [1, c, "h", "w"])
        for end, c in (("input", 3), ("output", channels))
    ]
    nodes = [helper.make_node("Conv", ["input", "kernel"], ["output"])]
    graph = helper.make_graph(nodes, "bad", ends[:1], ends[1:], [numpy_helper.from_array(kernel, "kernel")])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    folder.mkdir(parents=True)
    data = model.SerializeToString()
    (folder / "model.onnx").write_bytes(data)
    card = {
        "schema": 1,
        "name": folder.name,
        "task": "segment",
        "layout": "rgb",
        "scale": 1,
        "files": {"model.onnx": {"sha256": hashlib.sha256(data).hexdigest()}},
        "input": size,
    }
    (folder / "card.json").write_text(json.dumps(card), "utf-8")
    return folder


@pytest.mark.skipif(not hasattr(_core, "Inpainter"), reason="the library is older than these sources")
def test_the_library_says_what_a_wrong_net_gives(tmp_path: Path) -> None:
    from clarivid import Error, Inpainter

    planes = yuv420(rgb(64, 96))
    with pytest.raises(Error, match=r"1x2x64x96.*1x1x64x96"):
        Inpainter("none", segment=bad_bundle(tmp_path / "two", 2, width=96, height=64))(planes)
    with pytest.raises(Error, match="which size"):
        Inpainter("none", segment=bad_bundle(tmp_path / "sizeless", 1))(planes)


def test_pictures_that_are_not_rgb_are_refused() -> None:
    masks = PersonMasks(NEAR)
    for wrong in (np.zeros((8, 8), np.uint8), np.zeros((8, 8, 4), np.uint8), np.zeros((8, 8, 3), np.float32)):
        with pytest.raises(InputError, match="RGB"):
            masks(wrong)  # type: ignore[arg-type]


# ---- reading TensorFlow Lite, and the export's arguments


def test_a_file_that_is_no_net_is_refused_with_a_sentence(tmp_path: Path) -> None:
    path = tmp_path / "net.tflite"
    with pytest.raises(InputError, match="cannot read"):
        tflite.read(path)
    path.write_bytes(b"\0" * 64)
    with pytest.raises(InputError, match="no TensorFlow Lite file"):
        tflite.read(path)
    path.write_bytes(struct.pack("<I4s", 4000, b"TFL3"))
    with pytest.raises(InputError, match="cannot be read as"):
        tflite.read(path)


@pytest.mark.parametrize(("name", "published"), [(NEAR, "selfie-landscape"), (FAR, "selfie-general")])
def test_export_makes_the_shipped_graph_again(name: str, published: str, tmp_path: Path) -> None:
    packages = cache_dir() / "packages"
    if not (packages / "pypi-mediapipe-0.10.14").is_dir() or not list(packages.glob("pypi-ai-edge-litert-*")):
        pytest.skip("the packages mediapipe and ai-edge-litert are not in the cache")
    shipped = models.find_model(name).card
    size = shipped["input"]["width"], shipped["input"]["height"]
    card = segment.export(published, name, tmp_path / name, size)
    assert card["files"] == shipped["files"]
    assert card["parity"]["fp32"] == shipped["parity"]["fp32"]


@pytest.mark.parametrize(
    ("published", "size", "says"),
    [("selfie-upside-down", None, "no published net"), ("selfie-general", (250, 144), "multiples of 16")],
)
def test_export_refuses_what_there_is_not(
    published: str, size: tuple[int, int] | None, says: str, tmp_path: Path
) -> None:
    with pytest.raises(InputError, match=says):
        segment.export(published, "x", tmp_path / "x", size)
    assert not (tmp_path / "x").exists()
