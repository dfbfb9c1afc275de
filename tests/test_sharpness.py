# SPDX-License-Identifier: BSD-2-Clause
"""sharpness: bundles with two sets of weights, and what lies between them, the same everywhere."""

from __future__ import annotations

import hashlib
import json
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("torch")

import filter_tools as tools
from clarivid import InputError, SuperResolution, ff, parity
from clarivid.blend import blend_onnx, blend_safetensors, blended, renew_twin
from clarivid.engines import EngineCache, Identity, Key, Options, Profile, Runtime, targets
from clarivid.engines.build import plan
from clarivid.errors import BackendError, DigestError, Error, ModelError
from clarivid.export import export
from clarivid.models import Model, find_model, load_model, verify_model
from clarivid.nets.sr import SRNet
from clarivid.parity.check import compare
from clarivid.parity.engine_check import check_engines
from clarivid.parity.reference import torch_net
from clarivid.parity.ways import ModuleWay
from clarivid.paths import sha256_of
from conftest import Run
from filter_cuda_tools import on_device, on_gpu
from onnx_models import random_s2d_net
from sr_bundles import NAME, bundles, checkpoint, mixture, random_nets
from test_tensorrt_filter import BUILD, DEVICE, FAKE, SHAPE

BLEND = BUILD / "csrc" / "core" / "tests" / "blend_test"
WIDTH, HEIGHT = 66, 50
SOURCE = f"testsrc2=s={WIDTH}x{HEIGHT}:r=10:d=0.2,setparams=range=tv"
FP32 = "backend=openvino:precision=fp32"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """``both``, ``first``, ``second`` and ``at0.3``: see sr_bundles."""
    folder = tmp_path_factory.mktemp("sets")
    bundles(folder)
    mixture(folder, 0.3)
    return folder


@pytest.fixture
def both(folder: Path, tmp_path: Path) -> Path:
    """A copy that may be damaged."""
    return Path(shutil.copytree(folder / "both", tmp_path / "both"))


def md5(bundle: Path, options: str = FP32) -> str:
    return hashlib.md5(tools.filtered(SOURCE, f"dnn_sr=model={bundle}:{options}")).hexdigest()


def record_digests(bundle: Path) -> None:
    """New digests into the card, as if the wrong files had been packed."""
    card = json.loads((bundle / "card.json").read_text())
    for name, entry in card["files"].items():
        entry["sha256"] = hashlib.sha256((bundle / name).read_bytes()).hexdigest()
    (bundle / "card.json").write_text(json.dumps(card))


# ----------------------------------------------------------------------------------------------------- bytes


@pytest.mark.skipif(not BLEND.is_file(), reason="the C++ tests are not built")
@pytest.mark.parametrize("sharpness", ["0.1", "0.5", "0.33333334", "1"])
def test_the_library_and_python_blend_to_the_same_bytes(folder: Path, tmp_path: Path, sharpness: str) -> None:
    both, s = folder / "both", float(sharpness)
    first, second, twin = (both / name for name in ("model.onnx", "model_perceptual.onnx", "model_fp16.onnx"))
    out, half = tmp_path / "out.onnx", tmp_path / "half.onnx"
    subprocess.run([BLEND, first, second, sharpness, out, twin, half], check=True)
    assert out.read_bytes() == blend_onnx(first.read_bytes(), second.read_bytes(), s)
    assert half.read_bytes() == renew_twin(twin.read_bytes(), first.read_bytes(), out.read_bytes())
    first, second = both / "weights.safetensors", both / "weights_perceptual.safetensors"
    table = tmp_path / "out.safetensors"
    subprocess.run([BLEND, first, second, sharpness, table], check=True)
    assert table.read_bytes() == blend_safetensors(first.read_bytes(), second.read_bytes(), s)


def test_a_blend_is_what_an_export_of_mixed_weights_would_be(folder: Path) -> None:
    """model.onnx and its fp16 twin to the byte; of the safetensors the tensors (metadata is the first's)."""
    for sharpness, name in ((0.3, "at0.3"), (1, "second")):
        made = blended(load_model(folder / "both"), sharpness)
        for file in ("model.onnx", "model_fp16.onnx", "weights.safetensors"):
            assert (made.folder / file).read_bytes() == (folder / name / file).read_bytes(), (name, file)
        assert made.source == folder / "both"
        verify_model(made)


def test_blended_files_go_when_nobody_needs_them(folder: Path) -> None:
    model = load_model(folder / "both")
    assert blended(model, 0) is model
    made = blended(model, 0.5)
    place = made.folder
    assert place.is_dir()
    del made
    assert not place.exists()


# ---------------------------------------------------------------------------------------------------- pixels


def test_the_filter_gives_the_first_set_the_second_and_what_lies_between(folder: Path) -> None:
    both = folder / "both"
    first, second, between = (md5(folder / name) for name in ("first", "second", "at0.3"))
    assert len({first, second, between}) == 3
    assert md5(both) == first
    assert md5(both, f"{FP32}:sharpness=0") == first
    assert md5(both, f"{FP32}:sharpness=1") == second
    assert md5(both, f"{FP32}:sharpness=0.3") == between


def test_python_gives_the_same(folder: Path) -> None:
    random = np.random.default_rng(1)
    shapes = ((HEIGHT, WIDTH), (HEIGHT // 2, WIDTH // 2), (HEIGHT // 2, WIDTH // 2))
    planes = [random.integers(0, 256, shape).astype(np.uint8) for shape in shapes]

    def through(name: str, **options: float) -> list[bytes]:
        net = SuperResolution(str(folder / name), precision="fp32", **options)  # type: ignore[arg-type]
        return [plane.tobytes() for plane in net(planes)]

    for name, sharpness in (("first", 0), ("second", 1), ("at0.3", 0.3)):
        assert through("both", sharpness=sharpness) == through(name)
    assert through("both") == through("first")


@on_device
def test_kernels_for_gpus_give_the_same(folder: Path) -> None:
    def data(name: str, more: str = "") -> bytes:
        done = on_gpu(SOURCE, f"dnn_sr=model={folder / name}:backend=cuda:precision=fp16{more}", "nv12")
        return bytes(done.stdout)

    made = {name: data(name) for name in ("first", "second", "at0.3")}
    assert len(set(made.values())) == 3
    assert data("both") == made["first"]
    assert data("both", ":sharpness=0.3") == made["at0.3"]
    assert data("both", ":sharpness=1") == made["second"]


@pytest.mark.parametrize("sharpness", [0.0, 0.5, 1.0])
def test_parity_holds_at_both_ends_and_between(folder: Path, sharpness: float) -> None:
    cases = [
        parity.Case("random", 64, 48, "yuv420p", False),
        parity.Case("random", 75, 53, "p010le", True),
    ]
    report = parity.check(blended(load_model(folder / "both"), sharpness), chosen=cases, precisions=["fp32"])
    assert report.passed
    assert {way for row in report.rows for way in row.found["fp32"]} == {"module", "filter", "cpu"}


def test_parity_notices_when_the_library_blends_otherwise(folder: Path) -> None:
    """The reference at 0.5, the filter at 1: this comparison sees the difference."""
    half, one = (blended(load_model(folder / "both"), sharpness) for sharpness in (0.5, 1))
    case = parity.Case("random", 64, 48, "yuv420p", False)
    report = compare(half, torch_net(half), [ModuleWay("module", "fp32", one, "openvino")], [case], None)
    assert not report.passed


# ---------------------------------------------------------------------------------------------------- errors


@pytest.mark.parametrize("value", ["-0.1", "1.5", "nan"])
def test_values_that_are_none_are_refused(folder: Path, value: str) -> None:
    done = tools.run(
        "-f", "lavfi", "-i", SOURCE, "-vf", f"dnn_sr=model={folder / 'both'}:sharpness={value}", "-f", "null",
        "-", check=False,
    )  # fmt: skip
    assert done.returncode != 0
    assert "sharpness" in tools.said(done)
    planes = [np.zeros(shape, np.uint8) for shape in ((64, 64), (32, 32), (32, 32))]
    with pytest.raises(InputError, match=rf"sharpness={value} is not in 0\.\.1"):
        SuperResolution(str(folder / "both"), sharpness=float(value))(planes)
    with pytest.raises(InputError, match=r"is not in 0\.\.1"):
        blended(load_model(folder / "both"), float(value))
    with pytest.raises(InputError, match="sharpness"):
        ff.dnn_sr(sharpness=float(value))


def test_models_with_one_set_take_0_only(folder: Path, tmp_path: Path) -> None:
    bare = random_s2d_net(tmp_path / "mine.onnx")
    for model, name in ((folder / "first", NAME), (bare, "random_x2")):
        assert md5(model, "sharpness=0")
        done = tools.run(
            "-f", "lavfi", "-i", SOURCE, "-vf", f"dnn_sr=model={model}:sharpness=0.5", "-f", "null", "-",
            check=False,
        )  # fmt: skip
        assert done.returncode != 0
        (sentence,) = tools.errors(done)
        assert f"model {name} has one set of weights, and sharpness=0.5 mixes two" in sentence
        assert "leave sharpness out" in sentence
    with pytest.raises(ModelError, match="has one set of weights"):
        blended(find_model(folder / "first"), 0.5)


def test_a_second_set_of_another_net_is_refused(both: Path, tmp_path: Path) -> None:
    other = checkpoint(tmp_path / "other.pt", SRNet(16, 3))
    export(other, NAME, tmp_path / "other")
    shutil.copyfile(tmp_path / "other" / "model.onnx", both / "model_perceptual.onnx")
    record_digests(both)
    assert md5(both) == md5(both, f"{FP32}:sharpness=0")
    done = tools.run(
        "-f", "lavfi", "-i", SOURCE, "-vf", f"dnn_sr=model={both}:sharpness=0.5", "-f", "null", "-",
        check=False,
    )  # fmt: skip
    (sentence,) = tools.errors(done)
    assert "has two sets of weights that are not of one net" in sentence
    with pytest.raises(ModelError, match="not of one net"):
        blended(load_model(both), 0.5)
    first = checkpoint(tmp_path / "first.pt", random_nets()[0])
    with pytest.raises(InputError, match="not of one architecture"):
        export(first, NAME, tmp_path / "never", perceptual=other)
    assert not (tmp_path / "never" / "card.json").exists()


@pytest.mark.parametrize("name", ["model_perceptual.onnx", "weights_perceptual.safetensors"])
def test_a_damaged_second_set_is_never_used(both: Path, name: str) -> None:
    data = bytearray((both / name).read_bytes())
    data[-1] ^= 1
    (both / name).write_bytes(data)
    with pytest.raises(Error, match="SHA-256"):
        SuperResolution(str(both))
    with pytest.raises(DigestError):
        verify_model(load_model(both))
    with pytest.raises(DigestError):
        blended(load_model(both), 0.5)


@pytest.mark.parametrize("name", ["model_perceptual.onnx", "weights_perceptual.safetensors"])
def test_a_card_that_promises_a_second_set_must_list_its_files(both: Path, name: str) -> None:
    card = json.loads((both / "card.json").read_text())
    del card["files"][name]
    (both / "card.json").write_text(json.dumps(card))
    with pytest.raises(ModelError, match=name):
        load_model(both)
    with pytest.raises(ModelError, match=f'"files" lacks {name}'):
        SuperResolution(str(both))


# --------------------------------------------------------------------------------------- export and commands


def test_export_writes_both_sets_and_tells_of_each(folder: Path, tmp_path: Path, clarivid: Run) -> None:
    out = tmp_path / NAME
    scores = tmp_path / "scores.json"
    scores.write_text('{"clips": {"psnr_y": 33}, "perceptual": {"clips": {"psnr_y": 32}}}')
    done = clarivid(
        "export", str(folder / "first.pt"), "--perceptual", str(folder / "second.pt"), "--name", NAME,
        "--out", str(out), "--scores", str(scores),
    )  # fmt: skip
    assert "at sharpness 0.5 and 1, the worse: fp32 within" in done.stdout
    card = load_model(out).card
    assert (card["scores"]["clips"], card["perceptual"]["scores"]["clips"]) == (
        {"psnr_y": 33},
        {"psnr_y": 32},
    )
    assert card["perceptual"]["parity"]["fp32"]["passed"]
    assert card["perceptual"]["training"]["steps"] == 12
    readme = (out / "README.md").read_text()
    assert "At `sharpness=1`" in readme
    assert "The second set of weights:" in readme
    for name in ("model.onnx", "model_fp16.onnx", "model_perceptual.onnx"):
        assert (out / name).read_bytes() == (folder / "both" / name).read_bytes()
    export(folder / "first.pt", NAME, out)  # over it, with one set
    assert not list(out.glob("*perceptual*"))
    assert not load_model(out).has_sharpness


def test_models_list_and_show_tell_of_it(folder: Path, clarivid: Run) -> None:
    assert "two sets of weights" in clarivid("models", "show", str(folder / "both")).stdout
    assert "two sets of weights" not in clarivid("models", "show", str(folder / "first")).stdout
    listed = json.loads(clarivid("models", "list", "--json", CLARIVID_MODEL_PATH=str(folder)).stdout)
    takes = {Path(row["folder"]).name: row["takes"] for row in listed}
    assert (takes["both"], takes["first"], takes["lowrank_v1"]) == (["sharpness"], [], ["strength"])


def test_a_reduced_precision_is_automatic_only_when_both_sets_passed(both: Path) -> None:
    card = json.loads((both / "card.json").read_text())
    card["parity"]["bf16"]["passed"] = True
    for passed in (False, True):
        card["perceptual"]["parity"]["bf16"]["passed"] = passed
        (both / "card.json").write_text(json.dumps(card))
        told = tools.said(
            tools.run(
                "-f", "lavfi", "-i", SOURCE, "-vf", f"dnn_sr=model={both}:sharpness=0.5", "-f", "null", "-"
            )
        )
        assert "sharpness=0.5" in told
        if not passed:
            assert "precision=fp32" in told


# --------------------------------------------------------------------------------------------------- engines


class Builder(Runtime):
    """Plans only."""

    def __init__(self) -> None:
        self.name, self.version = "tensorrt", "10.14.1.48"

    def target(self, device: Identity, _options: Options) -> Identity:
        return device


def test_engines_are_keyed_by_the_blended_net(folder: Path) -> None:
    model = load_model(folder / "both")
    runtime = Builder()
    gpu = Identity(90, "some GPU", 8, 2048, 0, 32 << 20)

    def profiles(model: Model) -> list[Profile]:
        return targets.profiles("1080p", model)

    keys = {
        (sharpness, precision): plan(
            [blended(model, sharpness)], [gpu], profiles, precision, runtime, Options()
        )[0].key
        for sharpness in (0, 0.3, 1)
        for precision in ("fp16", "fp32", "bf16")
    }  # fmt: skip
    names = {0: "first", 0.3: "at0.3", 1: "second"}
    for (sharpness, precision), key in keys.items():
        file = {"fp16": "model_fp16.onnx", "fp32": "model.onnx"}.get(precision)
        digest = hashlib.sha256((folder / names[sharpness] / (file or "model.onnx")).read_bytes()).hexdigest()
        assert (key.arguments["made_of"] if precision == "bf16" else key.onnx_sha256) == digest
        assert key.sharpness == sharpness
        assert ("sharpness" in key.arguments) == (sharpness > 0)
    with pytest.raises(BackendError, match=r"engines build mixed --for this --sharpness 0\.3"):
        check_engines(blended(model, 0.3), cache=EngineCache(folder / "none", shared=[]), gpu=gpu)


@pytest.mark.skipif(not FAKE.is_file(), reason="the emulator and the fake libnvinfer are not built")
def test_the_filter_takes_the_engine_of_its_sharpness_and_no_other(folder: Path, tmp_path: Path) -> None:
    model = load_model(folder / "both")
    cache = EngineCache(tmp_path / "engines", shared=[])
    profile = Profile(SHAPE, SHAPE, SHAPE)
    engine = {"fake": 1, "type": "f16", "scale": 2, "least": SHAPE, "largest": SHAPE, "weights": 4096,
              "activations": 8}  # fmt: skip
    paths = {}
    for sharpness in (0.0, 0.3):
        made = blended(model, sharpness)
        digest = sha256_of(made.folder / "model_fp16.onnx")
        arguments = {"sharpness": f"{sharpness:g}"} if sharpness else {}
        key = Key(NAME, digest, "fp16", profile, "tensorrt", "10.14.1.48", DEVICE, arguments)
        entry, _ = cache.get(key, lambda: json.dumps(engine).encode(), {})
        paths[sharpness] = cache.set_parity(entry, {"passed": True}).path

    def told(sharpness: float) -> str:
        chain = f"dnn_sr=model={model.folder}:backend=tensorrt:sharpness={sharpness}"
        done = tools.run(
            *("-nostats", "-v", "level+verbose", "-init_hw_device", "cuda=gpu", "-filter_hw_device", "gpu"),
            *("-f", "lavfi", "-i", "testsrc2=s=64x48:r=10:d=0.1,setparams=range=tv", "-vf"),
            *(f"format=nv12,hwupload,{chain},hwdownload,format=nv12", "-f", "null", "-"),
            check=False,
            LD_LIBRARY_PATH=str(BUILD / "emulator"),
            CLARIVID_NVINFER=str(FAKE),
            CLARIVID_ENGINE_PATH=str(cache.folder),
        )
        assert (done.returncode == 0) == (sharpness in paths)
        return tools.said(done)

    for sharpness, path in paths.items():
        assert f"engine {path}" in told(sharpness)
    sentence = told(0.5)
    assert "sharpness is 0.3, not 0.5" in sentence
    assert "sharpness is 0, not 0.5" in sentence
    assert (
        "clarivid engines build mixed --for this --runtime tensorrt --shapes 64x48 --sharpness 0.5"
        in sentence
    )
