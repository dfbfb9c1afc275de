# SPDX-License-Identifier: BSD-2-Clause
"""Engines are built: what for, from what, by which runtime, and what the commands say."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from clarivid.cli.engines import command
from clarivid.engines import EngineCache, Identity, Options, Runtime, targets
from clarivid.engines.bare import with_names
from clarivid.engines.quantise import in_bf16, quantise
from clarivid.engines.status import status
from clarivid.errors import BackendError, InputError, ModelError
from clarivid.models import find_model
from clarivid.paths import sha256_of
from engine_tools import KEY, SHAPE, new_cache, put
from onnx_models import random_net
from test_tensorrt_backend import EMULATOR


@pytest.fixture
def cache(tmp_path: Path) -> EngineCache:
    return new_cache(tmp_path)


# ---------------------------------------------------------------------------------------------------- status


def test_status_tells_present_stale_and_missing(cache: EngineCache) -> None:
    model = find_model("lowrank_v1")
    onnx = sha256_of(model.folder / "model_fp16.onnx")
    t4, l4 = Identity(75, "Tesla T4", 40, 15109, 256, 4 << 20), Identity(89, "NVIDIA L4", 58, 22731, 192, 1)
    runtimes = {"tensorrt": "10.14.1", "tensorrt-rtx": "1.7"}

    def state(gpu: Identity) -> tuple[str, str]:
        row = status([gpu], [model], runtimes, cache)[0]
        assert bool(row.remedy) == (row.state != "present")
        return row.state, row.text

    assert state(t4)[0] == "missing"
    put(cache, replace(KEY, model="lowrank_v1"))
    assert state(t4) == ("stale", "the model has changed since")
    put(cache, replace(KEY, model="lowrank_v1", onnx_sha256=onnx, runtime_version="10.13"))
    put(cache, replace(KEY, model="lowrank_v1", onnx_sha256=onnx, device=l4, runtime_version="10.13"))
    assert state(l4) == ("stale", "TensorRT 10.13 built it, 10.14.1 is installed")
    entry = put(cache, replace(KEY, model="lowrank_v1", onnx_sha256=onnx))
    assert state(t4)[0] == "unproved"
    cache.set_parity(entry, {"passed": True})
    assert state(t4)[0] == "present"
    assert state(replace(t4, memory_mib=16000))[0] == "missing"  # another SKU of the same capability
    a10 = Identity(86, "NVIDIA A10", 72, 22515, 384, 6 << 20)
    rtx = replace(KEY, model="lowrank_v1", onnx_sha256=onnx, device=Identity(86), runtime="tensorrt-rtx")
    put(cache, replace(rtx, runtime_version="1.7"))
    assert state(a10) == ("missing", "1 of tensorrt-rtx, which no filter runs yet")
    assert "install NVIDIA's TensorRT" in status([a10], [model], runtimes, cache, ["tensorrt-rtx"])[0].remedy
    assert status([a10], [find_model("segment_person")], runtimes, cache) == []  # runs on the CPU


def test_status_knows_compatible_engines_and_derived_forms(cache: EngineCache) -> None:
    model = find_model("lowrank_v1")
    onnx = sha256_of(model.folder / "model_fp16.onnx")
    l4 = Identity(89, "NVIDIA L4", 58, 22731, 192, 1)

    def state(version: str) -> str:
        return status([l4], [model], {"tensorrt": version}, cache)[0].state

    wide = replace(KEY, model="lowrank_v1", onnx_sha256=onnx, device=Identity(86))
    put(cache, wide)
    assert state("10.14.1") == "missing"
    put(cache, replace(wide, arguments={"hardware_compatible": True}))
    assert (state("10.14.1"), state("10.15.0")) == ("unproved", "stale")
    put(cache, replace(wide, arguments={"hardware_compatible": True, "version_compatible": True}))
    assert [state(version) for version in ("10.15.0", "10.13.9", "11.0.0")] == ["unproved", "stale", "stale"]
    derived = replace(KEY, model="lowrank_v1", precision="int8", device=l4, onnx_sha256="5" * 64)
    for folder, made_of, expected in (
        ("mine", sha256_of(model.onnx), "unproved"),
        ("old", "6" * 64, "stale"),  # made of what the model was before
    ):
        other = EngineCache(cache.folder / folder, shared=[])
        put(other, replace(derived, arguments={"made_of": made_of}))
        assert status([l4], [model], {"tensorrt": "10.14.1"}, other)[0].state == expected


# --------------------------------------------------------------------------------------------------- targets


def test_words_for_gpus() -> None:
    assert targets.devices("t4,L4,sm_90,sm75") == [Identity(75), Identity(89), Identity(90)]
    with pytest.raises(InputError, match="no GPU"):
        targets.devices("t5")


def test_words_for_sizes() -> None:
    """On folded pictures, in positions; on luma, in samples."""
    model = find_model("lowrank_v1")
    fixed, odd, dynamic = targets.profiles("720p,321x243,dynamic", model)
    assert fixed.best == SHAPE
    assert odd.best == (1, 6, 122, 161)
    assert dynamic.takes((1, 6, 1080, 1920))
    assert dynamic.takes((1, 6, 16, 16))
    assert not dynamic.takes((1, 6, 1081, 1920))
    with pytest.raises(InputError, match="no size"):
        targets.profiles("big", model)
    with pytest.raises(InputError, match="from 32 samples of height"):
        targets.profiles("640x20", model)
    assert [found.best for found in targets.profiles("720p,321x243", find_model("game_x2"))] == [
        (1, 1, 720, 1280),
        (1, 1, 243, 321),
    ]


# --------------------------------------------------------------------------------------------------- runtime


@pytest.fixture(scope="module")
def rtx() -> Runtime:
    return Runtime("tensorrt-rtx")


def run_cli(home: Path, *words: str, code: int = 0) -> tuple[str, str]:
    """stdout and stderr of the command."""
    environment = {**os.environ, "CLARIVID_CACHE": str(home)}
    environment.pop("CLARIVID_ENGINE_PATH", None)
    done = subprocess.run(
        [sys.executable, "-m", "clarivid", "engines", *words],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == code, done.stderr
    return done.stdout, done.stderr


def test_real_engines_are_built_listed_and_verified_without_a_gpu(rtx: Runtime, tmp_path: Path) -> None:
    words = ("build", "lowrank_v1", "--for", "t4,l4", "--shapes", "480p,dynamic", "--json")
    rows = json.loads(run_cli(tmp_path, *words, "--runtime", "tensorrt-rtx")[0])
    assert [row["device"] for row in rows] == ["any sm_75"] * 2 + ["any sm_89"] * 2
    assert all(row["built"] and row["runtime_version"] == rtx.version for row in rows)
    assert len({row["sha256"] for row in rows}) == 4
    for row in rows:
        path = Path(row["path"])
        assert path.parent == tmp_path / "engines"
        assert path.stat().st_size == row["bytes"] > 10_000
    again = json.loads(run_cli(tmp_path, *words)[0])
    assert not any(row["built"] for row in again)
    assert len(json.loads(run_cli(tmp_path, "list", "--json")[0])) == 4
    assert "4 engines are what" in run_cli(tmp_path, "verify")[0]

    victim = Path(rows[1]["path"])
    data = bytearray(victim.read_bytes())
    data[len(data) // 2] ^= 0x40
    victim.write_bytes(data)
    faults = run_cli(tmp_path, "verify", code=1)[1]
    assert str(victim) in faults
    assert "with the options that made it moves it aside and builds it anew" in faults
    out, told = run_cli(tmp_path, *words)
    assert [row["built"] for row in json.loads(out)] == [False, True, False, False]
    assert "quarantine" in told
    run_cli(tmp_path, "verify")
    run_cli(tmp_path, "prune", "--older-than", "0m")
    assert json.loads(run_cli(tmp_path, "list", "--json")[0]) == []


def test_eight_commands_at_once_build_a_real_engine_once(tmp_path: Path) -> None:
    environment = {**os.environ, "CLARIVID_CACHE": str(tmp_path)}
    words = ["engines", "build", "lowrank_v1", "--for", "l4", "--shapes", "480p", "--json"]
    command = [sys.executable, "-m", "clarivid", *words]
    running = [
        subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        for _ in range(8)
    ]
    outputs = [process.communicate() for process in running]
    assert [process.returncode for process in running] == [0] * 8, outputs
    assert sorted(json.loads(out)[0]["built"] for out, _ in outputs) == [False] * 7 + [True]
    assert len({json.loads(out)[0]["sha256"] for out, _ in outputs}) == 1


@pytest.fixture(scope="module")
def video(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Eight pictures of a moving pattern."""
    imageio_ffmpeg = pytest.importorskip("imageio_ffmpeg")
    path = tmp_path_factory.mktemp("video") / "pattern.mkv"
    source = "testsrc2=size=160x96:rate=8:duration=1"
    subprocess.run(
        [imageio_ffmpeg.get_ffmpeg_exe(), "-v", "error", "-f", "lavfi", "-i", source, "-c:v", "ffv1", path],
        check=True,
    )
    return path


def test_int8_keeps_the_picture_and_is_built(video: Path, tmp_path: Path) -> None:
    words = ("build", "lowrank_v1", "--for", "l4", "--shapes", "480p", "--precision", "int8", "--json")
    row = json.loads(run_cli(tmp_path, *words, "--calibrate", str(video))[0])[0]
    assert row["precision"] == "int8"
    assert row["parity"] is None  # of the engine nothing is known before it ran on its GPU
    assert row["builder"]["calibration"]["psnr_db"] > 50
    assert row["key"]["arguments"] == {"made_of": sha256_of(find_model("lowrank_v1").onnx)}
    assert "--calibrate" in run_cli(tmp_path, *words, code=1)[1]
    assert "cannot read" in run_cli(tmp_path, *words, "--calibrate", str(tmp_path / "none.mp4"), code=1)[1]


def test_int8_weights_are_the_nearest_levels_and_the_base_is_exact(video: Path) -> None:
    """By the definition of symmetric quantisation, channel by channel."""
    onnx = pytest.importorskip("onnx")
    model = find_model("lowrank_v1")
    made = onnx.load_from_string(quantise(model, [video]).onnx)
    values = {t.name: onnx.numpy_helper.to_array(t) for t in made.graph.initializer}
    plain = onnx.load(str(model.onnx))
    for tensor in plain.graph.initializer:
        if f"{tensor.name}.int8" not in values:
            continue
        kernel = onnx.numpy_helper.to_array(tensor)
        scale = values[f"{tensor.name}.scale"].astype(np.float32)[:, None, None, None]
        error = np.abs(values[f"{tensor.name}.int8"] * scale - kernel)
        assert (error <= 0.501 * scale).all()
    last = made.graph.node[-1]
    assert last.op_type == "Add"
    assert "input" in last.input  # in fp16, not through the levels


def test_bf16_is_built_and_close(tmp_path: Path) -> None:
    import openvino as ov

    words = ("build", "lowrank_v1", "--for", "l4", "--shapes", "480p", "--precision", "bf16", "--json")
    assert json.loads(run_cli(tmp_path, *words)[0])[0]["precision"] == "bf16"
    model, core = find_model("lowrank_v1"), ov.Core()
    x = (np.random.default_rng(1).random((1, 6, 24, 40)) - 0.5).astype(np.float32)
    plain, rounded = (
        core.compile_model(core.read_model(data), "CPU", {"INFERENCE_PRECISION_HINT": "f32"})(
            {"input": x, "strength": np.ones(1, np.float32)}
        )[0]
        for data in (model.onnx.read_bytes(), in_bf16(model))
    )
    error = np.sqrt(np.mean((plain - rounded) ** 2))
    assert 0 < error < 1e-3


def test_engines_are_built_of_a_single_onnx_file_too(tmp_path: Path) -> None:
    """Which dnn_sr runs as it is: the library finds the engine by the file's name and digest."""
    onnx = pytest.importorskip("onnx")
    path = random_net(tmp_path / "community.onnx", 3, 2)
    words = ("build", str(path), "--for", "l4", "--shapes", "480p,66x50", "--json", "--precision")
    for precision in ("fp32", "bf16"):
        rows = json.loads(run_cli(tmp_path, *words, precision)[0])
        assert [row["model"] for row in rows] == ["community"] * 2
        assert rows[1]["key"]["profile"]["best"] == [1, 3, 50, 66]
        assert rows[1]["key"]["arguments"] == {"made_of": sha256_of(path)}
    assert "build with --precision fp32" in run_cli(tmp_path, *words, "fp16", code=1)[1]
    path.write_bytes(b"no ONNX")
    assert "cannot be read as ONNX" in run_cli(tmp_path, *words, "fp32", code=1)[1]
    flat = onnx.helper.make_tensor_value_info("x", 1, [1, 2])
    net = onnx.helper.make_graph([onnx.helper.make_node("Relu", ["x"], ["y"])], "g", [flat], [flat])
    onnx.save(onnx.helper.make_model(net), str(path))
    assert "is no net of pictures" in run_cli(tmp_path, *words, "fp32", code=1)[1]


def test_names_of_a_single_file_become_those_that_engines_have() -> None:
    """Also where something within has one of these names."""
    onnx = pytest.importorskip("onnx")
    ort = pytest.importorskip("openvino")
    info = onnx.helper.make_tensor_value_info
    nodes = [
        onnx.helper.make_node("Neg", ["x"], ["input"]),
        onnx.helper.make_node("Relu", ["input"], ["output"]),
        onnx.helper.make_node("Sub", ["output", "x"], ["y"]),
    ]
    shape = [1, 1, 4, 4]
    graph = onnx.helper.make_graph(nodes, "g", [info("x", 1, shape)], [info("y", 1, shape)])
    data = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 18)]).SerializeToString()
    renamed = with_names(data)
    core = ort.Core()
    x = np.random.default_rng(3).normal(size=shape).astype(np.float32)
    before, after = (core.compile_model(core.read_model(model), "CPU") for model in (data, renamed))
    assert (after.input(0).any_name, after.output(0).any_name) == ("input", "output")
    assert np.array_equal(before(x)[0], after(x)[0])
    assert with_names(renamed) == renamed


def test_what_cannot_be_built_is_a_sentence(tmp_path: Path) -> None:
    for words, part in (
        (("game_x2", "--for", "h100"), "does not build for any sm_90"),
        (("game_x2", "--for", "voodoo"), "there is no GPU"),
        (("game_x2", "--for", "t4", "--shapes", "huge"), "there is no size"),
        (("nothing", "--for", "t4"), "nothing"),
    ):
        error = run_cli(tmp_path, "build", *words, "--runtime", "tensorrt-rtx", code=1)[1]
        assert part in error
        assert error.count("\n") <= 6
    assert not (tmp_path / "engines").exists() or not list((tmp_path / "engines").glob("*.engine"))
    assert "older-than" in run_cli(tmp_path, "prune", "--older-than", "soon", code=1)[1]


def test_what_can_be_built_of_a_fleet_is_built_and_the_rest_is_named(tmp_path: Path) -> None:
    words = ("build", "lowrank_v1", "--runtime", "tensorrt-rtx", "--shapes", "480p", "--json")
    out, error = run_cli(tmp_path, *words, "--for", "t4,a10,h100,sm_86", code=1)
    assert [row["device"] for row in json.loads(out)] == ["any sm_75", "any sm_86"]
    assert "does not build for any sm_90" in error
    out, error = run_cli(tmp_path, *words, "--for", "t4,l4", "--precision", "bf16", code=1)
    assert [row["device"] for row in json.loads(out)] == ["any sm_89"]
    assert "any sm_75 has no bf16" in error


def test_stdout_holds_json_only_whatever_the_builder_prints(tmp_path: Path) -> None:
    words = ("build", "inpaint_v1_fast", "--runtime", "tensorrt-rtx", "--for", "l4", "--shapes", "480p")
    out, error = run_cli(tmp_path, *words, "--json")
    assert len(json.loads(out)) == 1
    assert "WARNING" in error  # which the builder's compiler writes to stdout


def test_tensorrt_builds_for_the_gpu_that_is_there_only(rtx: Runtime) -> None:
    class Here(Runtime):
        def __init__(self) -> None:
            self.name, self.version = "tensorrt", "10.14.1"

    exact = KEY.device
    assert Here().target(exact, Options()) == exact
    ampere = replace(exact, sm=86)
    assert Here().target(ampere, Options(hardware_compatible=True)) == Identity(86)
    with pytest.raises(InputError, match="from sm_80 on, and Tesla T4"):
        Here().target(exact, Options(hardware_compatible=True))
    with pytest.raises(InputError, match="on the GPU that it builds for"):
        Here().target(Identity(89), Options())
    assert rtx.target(exact, Options()) == Identity(75)
    for options in (Options(version_compatible=True), Options(hardware_compatible=True)):
        with pytest.raises(InputError, match=r"does not build with --.*-compatible"):
            rtx.target(exact, options)


TWO_GPUS = """
import ctypes, sys
from pathlib import Path
from clarivid.cuda import driver
from clarivid.engines import EngineCache, Identity, Options, Runtime, build, plan, targets
from clarivid.models import find_model

class Here(Runtime):
    cross_builds = False
    def __init__(self):
        self.name, self.version = "tensorrt", "10.14.1"
    def build(self, onnx, model, profile, target, *others):
        device = ctypes.c_int(-1)
        driver().cuCtxGetDevice(ctypes.byref(device))
        return f"{target.sm} on GPU {device.value}".encode(), b""

targets._identity = lambda device: Identity(75 + 14 * device.index, f"GPU {device.index}")
model, options = find_model("lowrank_v1"), Options()
jobs = plan([model], targets.devices("this"), lambda m: targets.profiles("480p", m), "fp16", Here(), options)
for made in build(jobs, Here(), options, EngineCache(Path(sys.argv[1]), shared=[])):
    print(made.entry.path.read_bytes().decode())
"""


def test_each_engine_is_built_on_the_gpu_that_it_is_for(tmp_path: Path) -> None:
    """A machine with a T4 and an L4: TensorRT builds on the GPU that is current."""
    assert EMULATOR is not None
    environment = {**os.environ, "LD_LIBRARY_PATH": str(EMULATOR), "CLARIVID_EMULATOR_DEVICES": "2"}
    done = subprocess.run(
        [sys.executable, "-c", TWO_GPUS, str(tmp_path / "engines")],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == ["75 on GPU 0", "89 on GPU 1"]


def test_a_runtime_that_is_not_installed_says_how_to_get_it() -> None:
    with pytest.raises(InputError, match="no runtime"):
        Runtime("onnx")
    if not any(Path(entry, "tensorrt").is_dir() for entry in sys.path):
        with pytest.raises(BackendError, match="install"):
            Runtime("tensorrt")


def test_a_broken_onnx_is_a_sentence(rtx: Runtime) -> None:
    with pytest.raises(ModelError, match="cannot read the ONNX of net"):
        rtx.build(b"no net", "net", KEY.profile, Identity(89), Options())


def test_progress_reaches_the_end(rtx: Runtime) -> None:
    model = find_model("lowrank_v1")
    profile = targets.profiles("480p", model)[0]
    seen: list[tuple[str, int, int]] = []
    onnx = (model.folder / "model_fp16.onnx").read_bytes()
    engine, timing = rtx.build(
        onnx, model.name, profile, Identity(89), Options(), progress=lambda *step: seen.append(step)
    )
    assert len(engine) > 10_000
    assert timing == b""
    assert seen
    assert all(0 <= done <= total for _, done, total in seen)


def test_help_teaches() -> None:
    for words in ([], ["build"], ["list"], ["verify"], ["prune"]):
        result = CliRunner().invoke(command, [*words, "--help"])
        assert result.exit_code == 0
        assert "Example" in result.output
