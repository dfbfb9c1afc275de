# SPDX-License-Identifier: BSD-2-Clause
"""``clarivid doctor``: looks, changes nothing, and gives a remedy for whatever is missing."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from clarivid import cuda, doctor
from clarivid.engines import EngineCache, Identity, Key, Profile
from clarivid.models import find_model
from clarivid.paths import sha256_of


def test_json_has_every_part(clarivid: Any, tmp_path: Path) -> None:
    done = clarivid("doctor", "--json", CLARIVID_CACHE=str(tmp_path / "cache"))
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout)
    assert report["cpu"]["cores"] >= 1
    assert report["memory_gib"]["total"] > 0
    assert report["packages"]["numpy"]
    assert report["cache"] == {"folder": str(tmp_path / "cache"), "bytes": 0}
    assert not (tmp_path / "cache").exists(), "doctor changes nothing"


def test_whatever_is_missing_comes_with_a_remedy(clarivid: Any, tmp_path: Path) -> None:
    report = json.loads(clarivid("doctor", "--json", CLARIVID_CACHE=str(tmp_path)).stdout)
    for feature in report["features"]:
        assert feature["ok"] == (feature["remedy"] == "")
    sentence = next(f for f in report["features"] if " in ffmpeg" in f["name"])
    assert not sentence["ok"], "an empty cache holds no ffmpeg"
    assert "clarivid ffmpeg build" in sentence["remedy"]


def test_missing_training_packages_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    packages = {"numpy": "2", "openvino": "1", "torch": None, "onnx": "1", "safetensors": None, "pillow": "1"}
    monkeypatch.setattr(doctor, "_packages", lambda: packages)
    feature = next(f for f in doctor.examine().features if f.name.startswith("train"))
    assert not feature.ok
    assert "torch, safetensors" in feature.remedy
    assert "clarivid[train]" in feature.remedy


def test_a_machine_without_a_driver_is_told_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CLARIVID_CUDA_DRIVER", "libno.so.1")
    cuda.driver.cache_clear()
    gpus, note = doctor._gpus()
    assert gpus == []
    assert note.startswith("NVIDIA's driver was not found: libno.so.1")


def test_a_gpu_is_described(clarivid: Any, tmp_path: Path) -> None:
    emulator = Path(__file__).resolve().parent.parent / ".venv" / "build" / "emulator" / "libcuda.so.1"
    if not emulator.exists():
        pytest.skip("the emulator is not built (CLARIVID_CUDA)")
    environment = {"CLARIVID_CUDA_DRIVER": str(emulator), "CLARIVID_CACHE": str(tmp_path)}
    report = json.loads(clarivid("doctor", "--json", CLARIVID_EMULATOR_SM="89", **environment).stdout)
    assert [(gpu["compute_capability"], gpu["sm"]) for gpu in report["gpus"]] == [("8.9", "sm_89")]
    assert report["gpu_note"] == "driver for CUDA 13.0"
    feature = next(f for f in report["features"] if "an NVIDIA GPU" in f["name"])
    assert "No GPU" not in feature["remedy"]
    old = json.loads(clarivid("doctor", "--json", CLARIVID_EMULATOR_SM="61", **environment).stdout)
    feature = next(f for f in old["features"] if "an NVIDIA GPU" in f["name"])
    assert "older than compute capability 7.5" in feature["remedy"]
    none = json.loads(clarivid("doctor", "--json", CLARIVID_EMULATOR_DEVICES="0", **environment).stdout)
    assert none["gpu_note"] == "CUDA could not start: no CUDA-capable device is detected (error 100)"


def test_missing_stale_and_present_engines_are_told_with_what_mends_them(
    clarivid: Any, tmp_path: Path
) -> None:
    """With the emulator and the fake libnvinfer of the backend's tests."""
    build = Path(__file__).resolve().parent.parent / ".venv" / "build"
    if not (build / "emulator").is_dir():
        pytest.skip("the emulator is not built (CLARIVID_CUDA)")
    fake = build / "csrc" / "backends" / "tensorrt" / "tests" / "fake" / "libnvinfer.so.10"
    environment = {
        "LD_LIBRARY_PATH": str(build / "emulator"),
        "CLARIVID_NVINFER": str(fake),
        "CLARIVID_CACHE": str(tmp_path),
    }

    def row(**more: str) -> dict[str, str]:
        report = json.loads(clarivid("doctor", "--json", **environment, **more).stdout)
        assert report["engines"]["runs"] == "10.14.1.48"
        found: dict[str, str] = next(r for r in report["engines"]["status"] if r["model"] == "game_x2")
        assert found["gpu"] == "clarivid emulator (sm_90)"
        return found

    missing = row()
    assert missing["state"] == "missing"
    assert missing["remedy"].endswith("clarivid engines build game_x2 --for this --runtime tensorrt")
    shape = (1, 1, 1080, 1920)
    gpu = Identity(90, "clarivid emulator", 8, 2048, 0, 32 << 20)
    digest = sha256_of(find_model("game_x2").folder / "model_fp16.onnx")
    cache = EngineCache(tmp_path / "engines", shared=[])
    for version, state in (("10.13.0.1", "stale"), ("10.14.1.48", "unproved")):
        key = Key("game_x2", digest, "fp16", Profile(shape, shape, shape), "tensorrt", version, gpu)
        entry = cache.get(key, lambda: b"engine", {})[0]
        assert row()["state"] == state
    assert row()["remedy"] == "clarivid parity game_x2 --backend tensorrt"
    cache.set_parity(entry, {"passed": True})
    assert row()["state"] == "present"
    text = clarivid("doctor", **environment).stdout
    assert "clarivid emulator (sm_90): game_x2: present: fp16 1920x1080" in text
    assert "run by: TensorRT 10.14.1.48" in text


def test_without_a_driver_the_gpu_feature_says_so(clarivid: Any, tmp_path: Path) -> None:
    report = json.loads(
        clarivid("doctor", "--json", CLARIVID_CUDA_DRIVER="libno.so.1", CLARIVID_CACHE=str(tmp_path)).stdout
    )
    feature = next(f for f in report["features"] if "an NVIDIA GPU" in f["name"])
    assert not feature["ok"]
    assert "No GPU was found: NVIDIA's driver was not found: libno.so.1" in feature["remedy"]


def test_the_text_says_yes_or_no_for_each_feature(clarivid: Any, tmp_path: Path) -> None:
    done = clarivid("doctor", CLARIVID_CACHE=str(tmp_path))
    assert done.returncode == 0, done.stderr
    assert "no   dnn_sr, lowrank_pre and mesh_inpaint in ffmpeg, on the CPU\n     " in done.stdout
    assert "\ncpu " in done.stdout
