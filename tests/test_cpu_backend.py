# SPDX-License-Identifier: BSD-2-Clause
"""Backend cpu: our own kernels give OpenVINO's pixels, without OpenVINO, for the bundles that they know."""

from __future__ import annotations

import hashlib
import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import openvino
import pytest
from safetensors.numpy import load_file, save_file

from clarivid import BackendError, LowrankPre, ModelError, SuperResolution
from lowrank_bundle import lowrank_bundle
from onnx_models import lowrank_s2d_net
from sr_bundles import sr_bundle
from test_super_resolution import picture

LIMITED = {"change": 0.2, "limit": 2}


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return lowrank_bundle(tmp_path_factory.mktemp("bundle") / "tiny")


@pytest.fixture
def own(tmp_path: Path) -> Path:
    """A bundle that a test may damage."""
    return lowrank_bundle(tmp_path / "own")


def rewrite(bundle: Path, weights: bytes | None = None, **architecture: Any) -> None:
    """Change a bundle's weights or architecture; its digests fit again."""
    card = json.loads((bundle / "card.json").read_text("utf-8"))
    if weights is not None:
        (bundle / "weights.safetensors").write_bytes(weights)
        card["files"]["weights.safetensors"]["sha256"] = hashlib.sha256(weights).hexdigest()
    card["architecture"] |= architecture
    (bundle / "card.json").write_text(json.dumps(card), "utf-8")


@pytest.mark.parametrize("sizes", [{}, {"channels": 16, "layers": 2}, {"channels": 7, "layers": 5}, LIMITED])
@pytest.mark.parametrize(("width", "height"), [(64, 48), (75, 53), (1, 1), (322, 180)])
@pytest.mark.parametrize("strength", [0.5, 1.0])
def test_pixels_are_those_of_openvino_in_fp32(
    tmp_path: Path, sizes: dict[str, Any], width: int, height: int, strength: float
) -> None:
    folder = lowrank_bundle(tmp_path / "net", **sizes)
    card = json.loads((folder / "card.json").read_text("utf-8"))
    card["input"] |= {"min_width": 1, "min_height": 1}
    (folder / "card.json").write_text(json.dumps(card), "utf-8")
    planes = picture(width, height, bit_depth=10)
    results = [
        LowrankPre(str(folder), backend=backend, precision="fp32", strength=strength)(planes, bit_depth=10)
        for backend in ("cpu", "openvino")
    ]
    for ours, theirs in zip(*results, strict=True):
        error = np.abs(ours.astype(int) - theirs)
        assert error.max() <= 1
        assert (error > 0).mean() < 2e-3 or ours.size < 1000


@pytest.mark.parametrize("backend", ["cpu", "openvino"])
@pytest.mark.parametrize("sizes", [{}, {"channels": 7, "layers": 5}])
@pytest.mark.parametrize("strength", [0.5, 1.0])
def test_a_limit_bounds_the_change(
    tmp_path: Path, backend: str, sizes: dict[str, int], strength: float
) -> None:
    folder = lowrank_bundle(tmp_path / "net", change=0.5, limit=4, **sizes)
    planes = picture(75, 53, bit_depth=10)
    luma = LowrankPre(str(folder), backend=backend, precision="fp32", strength=strength)(
        planes, bit_depth=10
    )[0]
    bound = round(4 * 4 * strength)  # codes of 10 bits
    change = np.abs(luma.astype(int) - planes[0])
    assert change.max() == bound
    assert (change == bound).mean() > 0.2
    rewrite(folder, limit=0)
    free = LowrankPre(str(folder), backend="cpu", precision="fp32", strength=strength)(planes, bit_depth=10)
    assert np.abs(free[0].astype(int) - planes[0]).max() > 2 * bound


@pytest.mark.parametrize("threads", [2, 3, 7])
def test_the_number_of_threads_does_not_show(bundle: Path, threads: int) -> None:
    planes = picture(322, 182)
    one, many = (LowrankPre(str(bundle), backend="cpu", threads=n)(planes) for n in (1, threads))
    for a, b in zip(one, many, strict=True):
        np.testing.assert_array_equal(a, b)


def test_auto_takes_it_for_the_nets_it_knows_in_fp32(
    bundle: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    bare = lowrank_s2d_net(tmp_path / "bare.onnx")
    gated = sr_bundle(tmp_path / "gated", attention=True)
    with caplog.at_level("INFO", logger="clarivid"):
        LowrankPre(str(bundle))(picture(32, 32))
        LowrankPre(str(bare))(picture(32, 32))
        SuperResolution(str(gated))(picture(32, 32))
    chosen = re.findall(r"model (\S+): .*backend=(\w+), chosen because (\w+)", caplog.text)
    assert chosen == [("tiny", "cpu", "it"), ("bare", "openvino", "the"), ("gated", "openvino", "the")]


def test_auto_leaves_bf16_to_openvino(bundle: Path, caplog: pytest.LogCaptureFixture) -> None:
    if "BF16" not in openvino.Core().get_property("CPU", "OPTIMIZATION_CAPABILITIES"):
        pytest.skip("this processor computes in no bf16")
    with caplog.at_level("INFO", logger="clarivid"):
        LowrankPre(str(bundle), precision="bf16")(picture(32, 32))
    assert "backend=openvino" in caplog.text


def test_it_needs_no_openvino(bundle: Path) -> None:
    code = (
        "import sys, numpy as np; from clarivid import LowrankPre\n"
        "planes = [np.full(s, 99, np.uint8) for s in ((32, 32), (16, 16), (16, 16))]\n"
        "LowrankPre(sys.argv[1])(planes)\n"
        "print('libopenvino' in open('/proc/self/maps').read())"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(bundle)], capture_output=True, text=True, check=True
    )
    assert done.stdout == "False\n"


def test_a_net_that_it_does_not_know_gets_a_sentence(tmp_path: Path) -> None:
    bare = lowrank_s2d_net(tmp_path / "bare.onnx")
    says = r'"sr_luma" \(scale 2, 4 to 32 channels, no attention\) or "lowrank_chain", and model bare is none'
    with pytest.raises(BackendError, match=says):
        LowrankPre(str(bare), backend="cpu")(picture(64, 64))


@pytest.mark.parametrize(
    ("options", "says"),
    [({"precision": "bf16"}, "precision=fp32 only"), ({"device": "GPU"}, 'no device "GPU"')],
)
def test_what_it_cannot_do_gets_a_sentence(bundle: Path, options: dict[str, str], says: str) -> None:
    with pytest.raises(BackendError, match=says):
        LowrankPre(str(bundle), backend="cpu", **options)(picture(32, 32))


@pytest.mark.parametrize(
    ("architecture", "says"),
    [
        ({"channels": "many"}, r'architecture.channels is "many", not an integer'),
        ({"layers": 0}, "architecture.layers is 0"),
        ({"dilation": [1]}, "one dilation a layer"),
        ({"dilation": [1, 0, 1]}, "architecture.dilation is 0"),
        ({"slope": 2}, r"a slope in 0\.\.1"),
        ({"limit": -1}, "architecture.limit is -1, not a number of 8-bit codes"),
        ({"limit": "4"}, 'architecture.limit is "4", not a number'),
        ({"channels": 13}, r'no tensor "layers.0.weight" of f32 or f16 and shape \[13,6,3,3\]'),
    ],
)
def test_an_architecture_that_makes_no_sense_gets_a_sentence(
    own: Path, architecture: dict[str, Any], says: str
) -> None:
    rewrite(own, **architecture)
    with pytest.raises(ModelError, match=says):
        LowrankPre(str(own))(picture(32, 32))


@pytest.mark.parametrize("cut", [4, 100, 3000])
def test_weights_that_are_cut_off_are_refused(own: Path, cut: int) -> None:
    data = (own / "weights.safetensors").read_bytes()
    rewrite(own, data[:cut])
    with pytest.raises(ModelError, match=r"weights\.safetensors"):
        LowrankPre(str(own), backend="cpu")(picture(32, 32))


def test_damaged_weights_never_crash(own: Path) -> None:
    good = (own / "weights.safetensors").read_bytes()
    header = 8 + int.from_bytes(good[:8], "little")
    random = np.random.default_rng(1)
    refused = 0
    for _ in range(150):
        bad = bytearray(good)
        for at in random.integers(0, header, int(random.integers(1, 4))):
            bad[at] = int(random.integers(0, 256))
        rewrite(own, bytes(bad))
        try:
            LowrankPre(str(own), backend="cpu")(picture(32, 32))
        except ModelError as error:
            refused += "weights.safetensors" in str(error)
    assert refused > 100


def test_weights_of_another_type_are_refused(own: Path, tmp_path: Path) -> None:
    tensors = load_file(own / "weights.safetensors")
    tensors["layers.1.bias"] = tensors["layers.1.bias"].astype(np.float64)
    save_file(tensors, tmp_path / "double.safetensors")
    rewrite(own, (tmp_path / "double.safetensors").read_bytes())
    with pytest.raises(ModelError, match=r'no tensor "layers\.1\.bias" of f32 or f16 and shape \[12\]'):
        LowrankPre(str(own))(picture(32, 32))
