# SPDX-License-Identifier: BSD-2-Clause
"""Bad input to our filters: one clear sentence and a non-zero exit, or the frames that decode; no crash."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from onnx import TensorProto, helper, save_model

import filter_tools as tools
from ffmpeg_series import was_written
from onnx_models import fixed_size_net


@pytest.fixture(scope="module", params=tools.KINDS, ids=lambda kind: kind.name)
def kind(request: pytest.FixtureRequest) -> tools.Kind:
    """The filter under test."""
    found: tools.Kind = request.param
    return found


@pytest.fixture(scope="module")
def net(kind: tools.Kind, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A net for it, on YUV 4:2:0 itself."""
    return kind.net(tmp_path_factory.mktemp("net") / "random.onnx")


@pytest.fixture
def bundle(kind: tools.Kind, tmp_path: Path) -> Path:
    """A copy of a bundle that ships, which a test may damage."""
    if not kind.bundle:
        return kind.net(tmp_path / "small")
    source = tools.built().root / "share" / "clarivid" / "models" / kind.bundle
    return Path(shutil.copytree(source, tmp_path / kind.bundle))


def refused(kind: tools.Kind, options: str, *words: str, size: str = "64x48", said_by_us: bool = True) -> str:
    """Run the filter with ``options``; it must fail with one sentence that holds all ``words``."""
    done = tools.run(
        "-f", "lavfi", "-i", f"testsrc2=s={size}:r=10:d=0.5,format=yuv420p", "-vf", kind.chain(options),
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


per_frame = pytest.mark.parametrize("kind", tools.PER_FRAME, indirect=True, ids=lambda kind: kind.name)


def truncate(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def test_no_model_named(kind: tools.Kind) -> None:
    refused(kind, "model=:backend=dummy", "model=")


def test_a_model_that_does_not_exist(kind: tools.Kind) -> None:
    refused(kind, "model=no_such_net", "no_such_net", "clarivid models list")


def test_a_path_that_does_not_exist(kind: tools.Kind, tmp_path: Path) -> None:
    refused(kind, f"model={tmp_path}/none.onnx", "none.onnx")


def test_a_truncated_bundle_is_named_by_its_digest(kind: tools.Kind, bundle: Path) -> None:
    truncate(bundle / "model.onnx")
    refused(kind, f"model={bundle}", "model.onnx", "SHA-256")


def test_a_digest_that_does_not_match(kind: tools.Kind, bundle: Path) -> None:
    card = json.loads((bundle / "card.json").read_text("utf-8"))
    card["files"]["model.onnx"]["sha256"] = "0" * 64
    (bundle / "card.json").write_text(json.dumps(card), "utf-8")
    refused(kind, f"model={bundle}", "model.onnx", "SHA-256", "000000")


def test_a_card_that_is_not_json(kind: tools.Kind, bundle: Path) -> None:
    truncate(bundle / "card.json")
    refused(kind, f"model={bundle}", "card.json")


def test_a_truncated_onnx_file(kind: tools.Kind, net: Path, tmp_path: Path) -> None:
    whole = net / "model.onnx" if net.is_dir() else net
    broken = Path(shutil.copy(whole, tmp_path / "broken.onnx"))
    truncate(broken)
    refused(kind, f"model={broken}", "broken.onnx")


@pytest.mark.parametrize("content", [b"", b"this is text, no net", bytes(range(256)) * 40])
def test_a_file_that_is_not_onnx(kind: tools.Kind, tmp_path: Path, content: bytes) -> None:
    file = tmp_path / "text.onnx"
    file.write_bytes(content)
    refused(kind, f"model={file}", "text.onnx")


@pytest.mark.parametrize("channels", [2, 4, 5, 8])
def test_a_net_with_channels_that_no_layout_has(kind: tools.Kind, tmp_path: Path, channels: int) -> None:
    values = [
        helper.make_tensor_value_info(name, TensorProto.FLOAT, [1, channels, "height", "width"])
        for name in ("input", "output")
    ]
    graph = helper.make_graph(
        [helper.make_node("Relu", ["input"], ["output"])], "net", values[:1], values[1:]
    )
    path = tmp_path / "odd.onnx"
    save_model(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9), str(path))
    refused(kind, f"model={path}", "odd.onnx", f"1x{channels}x")


def test_a_layout_that_the_filter_does_not_know(kind: tools.Kind, bundle: Path) -> None:
    card = json.loads((bundle / "card.json").read_text("utf-8"))
    card["layout"] = "cmyk"
    (bundle / "card.json").write_text(json.dumps(card), "utf-8")
    refused(kind, f"model={bundle}", "cmyk")


def test_a_model_for_another_task(kind: tools.Kind) -> None:
    other = next(one for one in tools.KINDS if one.task != kind.task)
    refused(kind, f"model={other.bundle}", f"'{other.task}'", f"'{kind.task}'")


@per_frame
def test_a_net_that_was_exported_for_one_size(kind: tools.Kind, tmp_path: Path) -> None:
    net = fixed_size_net(tmp_path / "fixed.onnx")
    refused(kind, f"model={net}", "fixed", "80x96", size="96x80")


def test_a_backend_whose_library_is_missing(kind: tools.Kind, net: Path) -> None:
    refused(kind, f"model={net}:backend=tensorrt", "tensorrt")


@pytest.mark.parametrize("name", ["nonsense", "../evil"])
def test_a_backend_that_does_not_exist(kind: tools.Kind, net: Path, name: str) -> None:
    refused(kind, f"model={net}:backend={name}", "backend")


def test_a_device_that_the_backend_has_not(kind: tools.Kind, net: Path) -> None:
    refused(kind, f"model={net}:device=QUANTUM", "QUANTUM")


def test_a_precision_that_the_backend_has_not(kind: tools.Kind, net: Path) -> None:
    refused(kind, f"model={net}:precision=int8", "int8")


@per_frame
def test_a_picture_smaller_than_the_net_needs(kind: tools.Kind, bundle: Path) -> None:
    refused(kind, f"model={bundle}", "16x16", "32", size="16x16")


@per_frame
def test_a_change_to_a_size_that_the_net_cannot_take_ends_with_the_frames_before_it(
    kind: tools.Kind, bundle: Path, tmp_path: Path
) -> None:
    clips = []
    for size in ("64x48", "16x16"):
        clip = tmp_path / f"{size}.h264"
        tools.run("-f", "lavfi", "-i", f"testsrc2=s={size}:r=25:d=0.2", "-c:v", "libx264", "-bf", "0", clip)
        clips.append(clip.read_bytes())
    done = tools.run(
        "-f", "h264", "-i", "-", "-vf", f"{kind.name}=model={bundle}:backend=dummy:async=3",
        "-f", "framecrc", "-", stdin=b"".join(clips), check=False,
    )  # fmt: skip
    assert done.returncode > 0
    assert was_written([pts for pts, _, _ in tools.packets(done)], range(5))
    assert len(tools.errors(done)) == 1
    assert "16x16" in tools.errors(done)[0]


@pytest.mark.parametrize(
    ("options", "word"),
    [
        ("precision=fp99", "fp99"),
        ("threads=-1", "threads"),
        ("threads=100000", "threads"),
        ("colour=blue", "colour"),
    ],
)
def test_nonsense_option_values(kind: tools.Kind, net: Path, options: str, word: str) -> None:
    refused(kind, f"model={net}:{options}", word, said_by_us=False)


@per_frame
@pytest.mark.parametrize(
    ("options", "word"), [("async=0", "async"), ("async=1000", "async"), ("dither=maybe", "maybe")]
)
def test_nonsense_values_of_options_that_not_all_have(
    kind: tools.Kind, net: Path, options: str, word: str
) -> None:
    refused(kind, f"model={net}:{options}", word, said_by_us=False)


@per_frame
@pytest.mark.parametrize("in_flight", [1, 3])
def test_a_failed_inference_is_an_error_and_never_a_frame(
    kind: tools.Kind, net: Path, in_flight: int
) -> None:
    done = tools.run(
        "-f", "lavfi", "-i", "testsrc2=s=64x48:r=10:d=1", "-vf",
        f"{kind.name}=model={net}:backend=dummy:device=fail=4:async={in_flight}",
        "-f", "framecrc", "-", check=False,
    )  # fmt: skip
    assert done.returncode > 0
    assert was_written([pts for pts, _, _ in tools.packets(done)], [0, 1, 2])
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
    kind: tools.Kind, net: Path, tmp_path: Path, damage: Damage, in_flight: int
) -> None:
    clip = tmp_path / "clip.h264"
    tools.run("-f", "lavfi", "-i", "testsrc2=s=96x64:r=25:d=2", "-c:v", "libx264", "-g", "10", clip)
    corrupt = damage(clip.read_bytes())
    options = ["-f", "h264", "-i", "-", "-noautoscale"]
    plain = tools.run(*options, "-f", "framecrc", "-", stdin=corrupt, check=False)
    chain = kind.chain(f"model={net}:backend=dummy:{kind.hold(in_flight)}")
    done = tools.run(
        *options, "-vf", chain, "-f", "framecrc", "-",
        stdin=corrupt, check=False,
    )  # fmt: skip
    assert done.returncode == plain.returncode == 0
    assert not tools.errors(done)
    assert len(tools.packets(plain)) > 10
    assert [pts for pts, _, _ in tools.packets(done)] == [pts for pts, _, _ in tools.packets(plain)]
