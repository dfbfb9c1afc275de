# SPDX-License-Identifier: BSD-2-Clause
"""Backend cpu on the nets of dnn_sr: PyTorch's pixels, with any number of threads."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("torch")

import filter_tools as tools
from clarivid import BackendError, ModelError, SuperResolution, parity
from clarivid.blend import blended
from clarivid.models import find_model, load_model
from conftest import Run
from sr_bundles import bundles, mixture, sr_bundle
from test_super_resolution import picture

CASES = [
    parity.Case("random", 64, 48, "yuv420p", False),
    parity.Case("random", 75, 53, "yuv420p10le", True),
    parity.Case("random", 402, 34, "nv12", False),
]


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return sr_bundle(tmp_path_factory.mktemp("bundle") / "tiny")


@pytest.fixture(scope="module")
def sets(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """``both``, ``first``, ``second`` and ``at0.3``: see sr_bundles."""
    folder = tmp_path_factory.mktemp("sets")
    bundles(folder)
    mixture(folder, 0.3)
    return folder


@pytest.mark.parametrize(
    "sizes", [{}, {"channels": 32}, {"channels": 4, "blocks": 1}, {"channels": 12, "blocks": 9}]
)
def test_class_and_filter_give_the_pixels_of_pytorch(tmp_path: Path, sizes: dict[str, int]) -> None:
    report = parity.check(find_model(sr_bundle(tmp_path / "net", **sizes)), chosen=CASES, backends=["cpu"])
    assert report.passed
    assert report.max_code_error <= 1
    for row in report.rows:
        assert set(row.fp32) == {"cpu", "filter cpu"}
        for difference in row.fp32.values():
            assert difference.differing < 1e-3  # values that lie on the border between two codes


@pytest.mark.parametrize(("width", "height"), [(1, 1), (2, 33), (130, 2), (514, 22)])
@pytest.mark.parametrize("bit_depth", [8, 10])
def test_pixels_are_those_of_openvino_in_fp32(
    tmp_path: Path, width: int, height: int, bit_depth: int
) -> None:
    folder = sr_bundle(tmp_path / "any")
    card = json.loads((folder / "card.json").read_text("utf-8"))
    card["input"] |= {"min_width": 1, "min_height": 1}
    (folder / "card.json").write_text(json.dumps(card), "utf-8")
    planes = picture(width, height, bit_depth=bit_depth)
    results = [
        SuperResolution(str(folder), backend=backend, precision="fp32")(planes, bit_depth=bit_depth)
        for backend in ("cpu", "openvino")
    ]
    for ours, theirs in zip(*results, strict=True):
        assert np.abs(ours.astype(int) - theirs).max() <= 1
        assert (ours != theirs).mean() < 2e-3 or ours.size < 1000


@pytest.mark.parametrize("threads", [2, 3, 7])
def test_the_number_of_threads_does_not_show(bundle: Path, threads: int) -> None:
    planes = picture(322, 182)
    one, many = (SuperResolution(str(bundle), backend="cpu", threads=n)(planes) for n in (1, threads))
    for a, b in zip(one, many, strict=True):
        np.testing.assert_array_equal(a, b)


def test_auto_takes_it_for_nets_without_attention(
    bundle: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    fp32 = {"precision": "fp32"}
    wider = sr_bundle(tmp_path / "wider", channels=40, blocks=1)
    gated = sr_bundle(tmp_path / "gated", attention=True)
    ours: list[tuple[Path, dict[str, str]]] = [(bundle, {}), (bundle, fp32)]
    sessions = [*ours, (wider, {}), (wider, fp32), (gated, {}), (gated, fp32)]
    with caplog.at_level("INFO", logger="clarivid"):
        for model, options in sessions:
            SuperResolution(str(model), **options)(picture(32, 32))  # type: ignore[arg-type]
    lines = [line for line in caplog.text.splitlines() if "chosen because" in line]
    assert len(lines) == len(sessions)
    for line in lines[: len(ours)]:
        assert "backend=cpu, chosen because it knows this net" in line
        assert "precision=fp32" in line
    for line in lines[len(ours) :]:
        assert "backend=openvino, chosen because the pictures are in host memory" in line


def test_attention_gets_a_sentence(tmp_path: Path) -> None:
    gated = sr_bundle(tmp_path / "gated", attention=True)
    says = r"4 to 32 channels, no attention\) or .*, and model gated is none: use another backend"
    with pytest.raises(BackendError, match=says):
        SuperResolution(str(gated), backend="cpu")(picture(64, 64))


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"precision": "bf16"}, "precision=fp32 only"),
        ({"precision": "fp16"}, "precision=fp32 only"),
        ({"precision": "int8"}, "precision=fp32 only"),
        ({"device": "GPU"}, 'no device "GPU"'),
    ],
)
def test_what_it_cannot_do_gets_a_sentence(bundle: Path, options: dict[str, str], says: str) -> None:
    with pytest.raises(BackendError, match=says):
        SuperResolution(str(bundle), backend="cpu", **options)(picture(32, 32))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("architecture", "says"),
    [
        ({"channels": 56}, r"\(scale 2, 4 to 32 channels, no attention\) or .*, and model own is none"),
        ({"channels": "many"}, r'architecture.channels is "many", and backend cpu takes an integer'),
        ({"slope": 2}, "architecture.slope is 2, and backend cpu takes a number of 0 to 1"),
        ({"base": "bicubic"}, 'architecture.base is "bicubic", and backend cpu takes "nearest"'),
        ({"blocks": 3}, r'no tensor "blocks.2.weight" of f32 or f16 and shape \[16,16,3,3\]'),
    ],
)
def test_an_architecture_that_it_does_not_know_gets_a_sentence(
    tmp_path: Path, architecture: dict[str, Any], says: str
) -> None:
    folder = sr_bundle(tmp_path / "own")
    card = json.loads((folder / "card.json").read_text("utf-8"))
    card["architecture"] |= architecture
    (folder / "card.json").write_text(json.dumps(card), "utf-8")
    with pytest.raises((BackendError, ModelError), match=says):
        SuperResolution(str(folder), backend="cpu")(picture(32, 32))


def test_tiles_are_not_needed_and_change_nothing(bundle: Path) -> None:
    planes = picture(160, 120)
    whole, tiled = (
        SuperResolution(str(bundle), backend="cpu", tile=tile)(planes) for tile in ("none", "64x64")
    )
    for a, b in zip(whole, tiled, strict=True):
        assert np.abs(a.astype(int) - b).max() <= 1


# ----------------------------------------------------------------------------------------------- sharpness


def test_sharpness_blends_its_weights(sets: Path) -> None:
    def md5(name: str, options: str = "") -> str:
        chain = f"dnn_sr=model={sets / name}:backend=cpu{options}"
        return hashlib.md5(tools.filtered("testsrc2=s=66x50:r=10:d=0.2", chain)).hexdigest()

    first, second, between = (md5(name) for name in ("first", "second", "at0.3"))
    assert len({first, second, between}) == 3
    assert md5("both") == first
    assert md5("both", ":sharpness=1") == second
    assert md5("both", ":sharpness=0.3") == between


def test_parity_holds_between_two_sets(sets: Path) -> None:
    model = blended(load_model(sets / "both"), 0.5)
    assert parity.check(model, chosen=CASES[:2], backends=["cpu"]).passed


# -------------------------------------------------------------------------------------------- command line


def test_the_command_compares_it(bundle: Path, clarivid: Run) -> None:
    done = clarivid("parity", str(bundle), "--backend", "cpu", "--no-real", "--quick")
    assert done.returncode == 0, done.stderr
    assert "fp32: passed" in done.stdout
    assert "filter cpu" in done.stdout
