# SPDX-License-Identifier: BSD-2-Clause
"""Bad input to dnn_sr: one clear sentence and a non-zero exit, or the frames that decode; no crash."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from onnx import TensorProto, helper, save_model

import filter_tools as tools
from onnx_models import fixed_size_net, random_s2d_net


@pytest.fixture(scope="module")
def net(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A net x2 on YUV 4:2:0 itself."""
    return random_s2d_net(tmp_path_factory.mktemp("net") / "random_x2.onnx")


@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    """A copy of the bundle game_x2 that a test may damage."""
    source = tools.built().root / "share" / "clarivid" / "models" / "game_x2"
    return Path(shutil.copytree(source, tmp_path / "game_x2"))


def refused(options: str, *words: str, size: str = "64x48", said_by_us: bool = True) -> str:
    """Run dnn_sr with ``options``; it must fail with one sentence that holds all ``words``."""
    done = tools.run(
        "-f", "lavfi", "-i", f"testsrc2=s={size}:r=10:d=0.5,format=yuv420p", "-vf", f"dnn_sr={options}",
        "-f", "null", "-", check=False,
    )  # fmt: skip
    text = tools.said(done)
    assert done.returncode > 0, text  # negative: killed by a signal
    if not said_by_us:  # ffmpeg's own option parser speaks
        assert all(word in text for word in words), text
        return text
    sentences = tools.errors(done)
    assert len(sentences) == 1, text
    assert all(word in sentences[0] for word in words), sentences[0]
    return sentences[0]


def truncate(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def test_no_model_named() -> None:
    refused("backend=dummy", "model=")


def test_a_model_that_does_not_exist() -> None:
    refused("model=no_such_net", "no_such_net", "clarivid models list")


def test_a_path_that_does_not_exist(tmp_path: Path) -> None:
    refused(f"model={tmp_path}/none.onnx", "none.onnx")


def test_a_truncated_bundle_is_named_by_its_digest(bundle: Path) -> None:
    truncate(bundle / "model.onnx")
    refused(f"model={bundle}", "model.onnx", "SHA-256")


def test_a_digest_that_does_not_match(bundle: Path) -> None:
    card = json.loads((bundle / "card.json").read_text("utf-8"))
    card["files"]["model.onnx"]["sha256"] = "0" * 64
    (bundle / "card.json").write_text(json.dumps(card), "utf-8")
    refused(f"model={bundle}", "model.onnx", "SHA-256", "000000")


def test_a_card_that_is_not_json(bundle: Path) -> None:
    truncate(bundle / "card.json")
    refused(f"model={bundle}", "card.json")


def test_a_truncated_onnx_file(net: Path, tmp_path: Path) -> None:
    broken = Path(shutil.copy(net, tmp_path / "broken.onnx"))
    truncate(broken)
    refused(f"model={broken}", "broken.onnx")


@pytest.mark.parametrize("content", [b"", b"this is text, no net", bytes(range(256)) * 40])
def test_a_file_that_is_not_onnx(tmp_path: Path, content: bytes) -> None:
    file = tmp_path / "text.onnx"
    file.write_bytes(content)
    refused(f"model={file}", "text.onnx")


@pytest.mark.parametrize("channels", [2, 4, 5, 7])
def test_a_net_with_channels_that_no_layout_has(tmp_path: Path, channels: int) -> None:
    values = [
        helper.make_tensor_value_info(name, TensorProto.FLOAT, [1, channels, "height", "width"])
        for name in ("input", "output")
    ]
    graph = helper.make_graph(
        [helper.make_node("Relu", ["input"], ["output"])], "net", values[:1], values[1:]
    )
    path = tmp_path / "odd.onnx"
    save_model(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9), str(path))
    refused(f"model={path}", "odd.onnx", f"1x{channels}x")


def test_a_layout_that_the_filter_does_not_know(bundle: Path) -> None:
    card = json.loads((bundle / "card.json").read_text("utf-8"))
    card["layout"] = "cmyk"
    (bundle / "card.json").write_text(json.dumps(card), "utf-8")
    refused(f"model={bundle}", "cmyk")


def test_a_model_for_another_task(bundle: Path) -> None:
    card = json.loads((bundle / "card.json").read_text("utf-8"))
    card["task"] = "lowrank"
    (bundle / "card.json").write_text(json.dumps(card), "utf-8")
    refused(f"model={bundle}", "lowrank", "sr")


def test_a_net_that_was_exported_for_one_size(tmp_path: Path) -> None:
    net = fixed_size_net(tmp_path / "fixed.onnx")
    refused(f"model={net}", "fixed", "80x96", size="96x80")


def test_a_backend_whose_library_is_missing(net: Path) -> None:
    refused(f"model={net}:backend=tensorrt", "tensorrt")


@pytest.mark.parametrize("name", ["nonsense", "../evil"])
def test_a_backend_that_does_not_exist(net: Path, name: str) -> None:
    refused(f"model={net}:backend={name}", "backend")


def test_a_device_that_the_backend_has_not(net: Path) -> None:
    refused(f"model={net}:device=QUANTUM", "QUANTUM")


def test_a_precision_that_the_backend_has_not(net: Path) -> None:
    refused(f"model={net}:precision=int8", "int8")


def test_a_picture_smaller_than_the_net_needs(bundle: Path) -> None:
    refused(f"model={bundle}", "16x16", "32", size="16x16")


def test_a_change_to_a_size_that_the_net_cannot_take_ends_with_the_frames_before_it(
    bundle: Path, tmp_path: Path
) -> None:
    clips = []
    for size in ("64x48", "16x16"):
        clip = tmp_path / f"{size}.h264"
        tools.run("-f", "lavfi", "-i", f"testsrc2=s={size}:r=25:d=0.2", "-c:v", "libx264", "-bf", "0", clip)
        clips.append(clip.read_bytes())
    done = tools.run(
        "-f", "h264", "-i", "-", "-vf", f"dnn_sr=model={bundle}:backend=dummy:async=3",
        "-f", "framecrc", "-", stdin=b"".join(clips), check=False,
    )  # fmt: skip
    assert done.returncode > 0
    assert len(tools.packets(done)) == 5
    assert len(tools.errors(done)) == 1
    assert "16x16" in tools.errors(done)[0]


@pytest.mark.parametrize(
    ("options", "word"),
    [
        ("precision=fp99", "fp99"),
        ("threads=-1", "threads"),
        ("threads=100000", "threads"),
        ("async=0", "async"),
        ("async=1000", "async"),
        ("dither=maybe", "maybe"),
        ("colour=blue", "colour"),
    ],
)
def test_nonsense_option_values(net: Path, options: str, word: str) -> None:
    refused(f"model={net}:{options}", word, said_by_us=False)


@pytest.mark.parametrize("in_flight", [1, 3])
def test_a_failed_inference_is_an_error_and_never_a_frame(net: Path, in_flight: int) -> None:
    done = tools.run(
        "-f", "lavfi", "-i", "testsrc2=s=64x48:r=10:d=1", "-vf",
        f"dnn_sr=model={net}:backend=dummy:device=fail=4:async={in_flight}",
        "-f", "framecrc", "-", check=False,
    )  # fmt: skip
    assert done.returncode > 0
    assert [pts for pts, _, _ in tools.packets(done)] == [0, 1, 2]
    assert len(tools.errors(done)) == 1
    assert "inference 4 failed" in tools.errors(done)[0]


Damage = Callable[[bytes], bytes]


def flip_bits(data: bytes) -> bytes:
    """Some bytes of the middle changed, by a fixed seed."""
    random = np.random.default_rng(1)
    damaged = bytearray(data)
    for at in random.integers(len(data) // 4, len(data), len(data) // 400):
        damaged[at] ^= int(random.integers(1, 256))
    return bytes(damaged)


@pytest.mark.parametrize("in_flight", [1, 4])
@pytest.mark.parametrize(
    "damage",
    [flip_bits, lambda data: data[: len(data) // 2], lambda data: data[: len(data) // 3] + data[-900:]],
)
def test_a_corrupt_clip_is_filtered_as_far_as_it_decodes(
    net: Path, tmp_path: Path, damage: Damage, in_flight: int
) -> None:
    clip = tmp_path / "clip.h264"
    tools.run("-f", "lavfi", "-i", "testsrc2=s=96x64:r=25:d=2", "-c:v", "libx264", "-g", "10", clip)
    corrupt = damage(clip.read_bytes())
    options = ["-f", "h264", "-i", "-", "-noautoscale"]
    plain = tools.run(*options, "-f", "framecrc", "-", stdin=corrupt, check=False)
    done = tools.run(
        *options, "-vf", f"dnn_sr=model={net}:backend=dummy:async={in_flight}", "-f", "framecrc", "-",
        stdin=corrupt, check=False,
    )  # fmt: skip
    assert done.returncode == plain.returncode == 0
    assert not tools.errors(done)
    assert len(tools.packets(plain)) > 10
    assert [pts for pts, _, _ in tools.packets(done)] == [pts for pts, _, _ in tools.packets(plain)]
