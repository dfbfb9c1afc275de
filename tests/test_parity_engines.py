# SPDX-License-Identifier: BSD-2-Clause
"""clarivid parity on devices: the cuda backend on the emulator; engines, whose sidecars get the result."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from clarivid.clips import encoder
from clarivid.engines import EngineCache, Entry, Identity, Key, Profile
from clarivid.engines.bare import find as find_any
from clarivid.engines.cache import SHARED
from clarivid.engines.quantise import quantise
from clarivid.errors import BackendError, InputError
from clarivid.models import Model, find_model
from clarivid.parity import ADVERSARIAL, Case, Difference, Report, Row, check
from clarivid.parity.engine_check import cases_for, check_engines, fitting, only
from clarivid.paths import sha256_of
from conftest import Run
from onnx_models import random_net
from test_tensorrt_backend import EMULATOR, FIND

SHAPE, LARGE = (1, 6, 32, 48), (1, 6, 540, 960)
T4 = Identity(75, "Tesla T4", 40, 14914, 256, 4 << 20)


@pytest.fixture
def bundle() -> Model:
    return find_model("lowrank_v1")


@pytest.fixture
def cache(tmp_path: Path) -> EngineCache:
    return EngineCache(tmp_path / "engines", shared=[])


def key_for(bundle: Model) -> Key:
    digest = sha256_of(bundle.folder / "model_fp16.onnx")
    return Key(bundle.name, digest, "fp16", Profile(SHAPE, SHAPE, SHAPE), "tensorrt", "10.14.1.48", T4)


def put(cache: EngineCache, key: Key) -> Entry:
    return cache.get(key, lambda: key.digest.encode(), {})[0]


def found(decibel: float) -> Report:
    case = Case("real", 96, 64, "nv12", False)
    return Report("lowrank_v1", [Row(case, {"fp16": {"tensorrt": Difference(1, 0.1, decibel)}})])


# -------------------------------------------------------------------------------------------------- engines


@pytest.mark.parametrize(("decibel", "passed"), [(71.5, True), (43.0, False)])
def test_the_result_is_written_into_the_sidecar(
    bundle: Model, cache: EngineCache, decibel: float, passed: bool
) -> None:
    entry = put(cache, key_for(bundle))
    asked: list[Path] = []

    def comparing(which: Entry, chosen: Sequence[Case]) -> Report:
        asked.append(which.path)
        assert {(case.width, case.height) for case in chosen} == {(96, 64)}
        return found(decibel)

    (result,) = check_engines(bundle, cache=cache, gpu=T4, comparing=comparing)
    assert asked == [entry.path]
    assert (result.passed, result.recorded) == (passed, True)
    record = cache.find(entry.key).parity  # type: ignore[union-attr]
    assert record is not None
    assert record["passed"] == passed
    assert record["psnr_db"] == decibel
    assert record["against"] == "PyTorch in fp32"
    assert record["on"] == "Tesla T4 (sm_75)"
    assert ("passed" if passed else "FAILED") in result.sentence


def test_only_engines_that_this_gpu_runs_and_of_the_model_as_it_is_are_compared(
    bundle: Model, cache: EngineCache
) -> None:
    key = key_for(bundle)
    mine = put(cache, key)
    any_t4 = put(cache, replace(key, device=Identity(75)))
    fp32 = put(cache, replace(key, precision="fp32", onnx_sha256=sha256_of(bundle.onnx)))
    for other in (
        replace(key, device=Identity(89)),
        replace(key, model="other"),
        replace(key, onnx_sha256="0" * 64),  # of another release of the model
    ):
        put(cache, other)
    assert {e.path for e in fitting(bundle, T4, cache, ())} == {mine.path, any_t4.path, fp32.path}
    assert [e.path for e in fitting(bundle, T4, cache, ["fp32"])] == [fp32.path]
    with pytest.raises(BackendError, match=r"no engine of model lowrank_v1 for .* in bf16 .*engines build"):
        check_engines(bundle, cache=cache, gpu=T4, precisions=["bf16"])


def test_engines_of_a_single_onnx_file_are_compared_too(cache: EngineCache, tmp_path: Path) -> None:
    path = random_net(tmp_path / "community.onnx", 3, 2)
    shape = (1, 3, 50, 66)
    key = Key("community", "0" * 64, "fp32", Profile(shape, shape, shape), "tensorrt", "10.14.1.48", T4)
    put(cache, key)  # of a net that had the same name
    mine = put(cache, replace(key, arguments={"made_of": sha256_of(path)}))
    asked: list[Path] = []

    def comparing(which: Entry, chosen: Sequence[Case]) -> Report:
        asked.append(which.path)
        assert {(case.width, case.height) for case in chosen} == {(66, 50)}
        return Report("community", [Row(chosen[0], {"fp32": {"tensorrt": Difference(1, 0.1, 70.0)}})])

    (result,) = check_engines(find_any(str(path)), cache=cache, gpu=T4, comparing=comparing)
    assert (asked, result.passed, result.recorded) == ([mine.path], True, True)


def test_an_int8_engine_is_not_passed_without_real_pictures(bundle: Model, cache: EngineCache) -> None:
    key = replace(key_for(bundle), precision="int8", arguments={"made_of": sha256_of(bundle.onnx)})
    entry = put(cache, key)

    def comparing(_which: Entry, _chosen: Sequence[Case]) -> Report:
        raise AssertionError("it was compared with made pictures")

    (result,) = check_engines(bundle, cache=cache, gpu=T4, comparing=comparing)
    assert not result.passed
    assert "int8 is judged on real pictures only: give --source" in result.sentence
    assert cache.find(entry.key).parity is None  # type: ignore[union-attr]


def test_an_engine_that_cannot_be_compared_keeps_its_sidecar_and_the_others_go_on(
    bundle: Model, cache: EngineCache
) -> None:
    entries = [put(cache, key_for(bundle)), put(cache, replace(key_for(bundle), device=Identity(75)))]
    bad = min(entries, key=lambda entry: entry.path.name)
    bad.path.write_bytes(bad.path.read_bytes()[::-1])

    def comparing(_which: Entry, _chosen: Sequence[Case]) -> Report:
        return found(70)

    first, second = check_engines(bundle, cache=cache, gpu=T4, comparing=comparing)
    assert (first.passed, first.recorded) == (False, False)
    assert "SHA-256" in first.problem
    assert second.passed
    assert json.loads(bad.path.with_suffix(".json").read_text())["parity"] is None


def test_a_read_only_layer_is_compared_and_left_as_it_is(
    bundle: Model, cache: EngineCache, tmp_path: Path
) -> None:
    shared = EngineCache(tmp_path / "shared", shared=[])
    entry = put(shared, key_for(bundle))
    before = entry.path.with_suffix(".json").read_bytes()
    layered = EngineCache(cache.folder, shared=[shared.folder])
    (result,) = check_engines(bundle, cache=layered, gpu=T4, comparing=lambda _e, _c: found(70))
    assert (result.passed, result.recorded) == (True, False)
    assert "read-only layer" in result.sentence
    assert entry.path.with_suffix(".json").read_bytes() == before


def test_the_library_sees_the_engine_that_is_compared_first(
    bundle: Model, cache: EngineCache, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(SHARED, "/somewhere")
    entry = put(cache, key_for(bundle))
    put(cache, replace(key_for(bundle), arguments={"level": 5}))
    with only(entry) as folder:
        assert os.environ[SHARED] == f"{folder}{os.pathsep}/somewhere"
        names = sorted(path.name for path in folder.iterdir())
        assert names == [entry.path.with_suffix(".engine").name, entry.path.with_suffix(".json").name]
        assert [e.path.name for e in EngineCache(folder, shared=[]).verify()[0]] == [entry.path.name]
    assert os.environ[SHARED] == "/somewhere"
    assert not folder.exists()


def test_pictures_are_of_sizes_that_the_engine_takes(bundle: Model, cache: EngineCache) -> None:
    entry = put(cache, replace(key_for(bundle), profile=Profile((1, 6, 16, 16), LARGE, LARGE)))
    chosen = cases_for(entry, bundle, None)
    assert {(case.width, case.height) for case in chosen} == {(1920, 1080), (33, 33)}
    assert {case.source for case in chosen} == {"random", *ADVERSARIAL}
    assert {case.strength for case in chosen} == {1.0, 0.5}
    for case in chosen:
        shape = (1, 6, (case.height + 1) // 2, (case.width + 1) // 2)
        assert entry.key.profile.takes(shape)


def test_without_a_gpu_engines_and_kernels_are_refused_with_a_reason(clarivid: Run) -> None:
    for backend in ("cuda", "tensorrt"):
        done = clarivid(
            *("parity", "lowrank_v1", "--backend", backend, "--quick", "--no-real"),
            CLARIVID_CUDA_DRIVER="/nonexistent/libcuda.so.1",
        )
        assert done.returncode == 1
        assert done.stderr.startswith("clarivid: error: NVIDIA's driver was not found: /nonexistent")


@pytest.mark.skipif(EMULATOR is None or not EMULATOR.is_dir(), reason="the emulator is not built")
def test_an_engine_that_is_not_the_net_fails_through_the_backend_itself(
    clarivid: Run, tmp_path: Path
) -> None:
    """The fake libnvinfer of the backend's tests enlarges without interpolation, which is no game_x2."""
    assert FIND is not None
    shape = (1, 1, 50, 66)
    engine = {"fake": 1, "type": "f16", "scale": 2, "least": shape, "largest": shape, "weights": 4096}
    key = replace(
        key_for(find_model("game_x2")),
        profile=Profile(shape, shape, shape),
        device=Identity(90, "clarivid emulator", 8, 2048, 0, 32 << 20),
    )
    cache = EngineCache(tmp_path / "engines", shared=[])
    entry, _ = cache.get(key, lambda: json.dumps({**engine, "activations": 64}).encode(), {})
    done = clarivid(
        *("parity", "game_x2", "--backend", "tensorrt", "--no-filter", "--no-real", "--json"),
        LD_LIBRARY_PATH=str(EMULATOR),
        CLARIVID_NVINFER=str(FIND.parent / "fake" / "libnvinfer.so.10"),
        CLARIVID_CACHE=str(tmp_path),
    )
    assert done.returncode == 1, done.stderr
    (result,) = json.loads(done.stdout)["engines"]
    assert (result["passed"], result["recorded"], result["problem"]) == (False, True, "")
    record = cache.find(entry.key).parity  # type: ignore[union-attr]
    assert record == result["parity"]
    assert record["psnr_db"] < 30
    assert record["on"] == "clarivid emulator (sm_90)"


# --------------------------------------------------------------------------------- cuda, on the emulator


@pytest.mark.skipif(EMULATOR is None or not EMULATOR.is_dir(), reason="the emulator is not built")
@pytest.mark.parametrize("model", ["lowrank_v1", "game_x2"])
def test_the_kernels_and_the_filter_on_cuda_frames_give_the_pixels_of_pytorch(
    clarivid: Run, model: str
) -> None:
    words = ("parity", model, "--backend", "cuda", "--quick", "--no-real", "--json")
    done = clarivid(*words, LD_LIBRARY_PATH=str(EMULATOR))
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout)
    assert report["fp16"]["passed"]
    assert report["fp16"]["psnr_db"] >= 60
    assert {case["case"]["source"] for case in report["cases"]} == {"random", *ADVERSARIAL}
    ways = [set(case["fp16"]) for case in report["cases"]]
    assert all("cuda" in found for found in ways)
    assert {"cuda", "filter cuda"} in ways


# ----------------------------------------------------------------------------------- the ONNX of engines


def test_each_precision_of_the_onnx_is_compared(bundle: Model, tmp_path: Path) -> None:
    video = tmp_path / "pattern.mkv"
    source = "testsrc2=size=160x96:rate=8:duration=1"
    command = [encoder(), "-v", "error", "-f", "lavfi", "-i", source, "-c:v", "ffv1", str(video)]
    subprocess.run(command, check=True)
    chosen = [Case("real", 64, 48, "nv12", False), Case("flat", 64, 48, "p010le", True)]
    report = check(
        bundle,
        source=video,
        chosen=chosen,
        backends=["openvino"],
        precisions=["fp16", "int8"],
        with_filter=False,
        videos=[video],
    )
    assert report.passed
    assert report.precisions == ["fp16", "int8"]
    assert all(set(row.found[p]) == {"onnx"} for row in report.rows for p in ("fp16", "int8"))
    int8 = report.verdict("int8")
    assert int8 is not None
    assert int8.psnr_db is not None
    assert 45 <= int8.psnr_db < 90  # it is quantised
    assert quantise(bundle, [video]).psnr_db == pytest.approx(int8.psnr_db, abs=10)
    with pytest.raises(InputError, match="--calibrate"):
        check(bundle, chosen=chosen, precisions=["int8"])
    with pytest.raises(InputError, match="int8 is judged on real pictures only"):
        check(bundle, chosen=chosen, backends=["openvino"], precisions=["int8"], videos=[video])


def test_a_word_that_is_no_backend_is_named() -> None:
    with pytest.raises(InputError, match='backend="rocm" is unknown: it is one of openvino, cpu, cuda'):
        check("lowrank_v1", backends=["rocm"])
    with pytest.raises(BackendError, match="backend cpu computes in precision=fp32 only"):
        check("lowrank_v1", backends=["cpu"], precisions=["fp16"])


def test_a_value_that_is_no_number_is_a_large_error() -> None:
    from clarivid.parity.report import tensor_difference

    bad = np.array([[0.5, np.nan]])
    assert tensor_difference([bad], [np.array([[0.5, 0.5]])]).max_code_error > 1e5
