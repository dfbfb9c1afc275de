# SPDX-License-Identifier: BSD-2-Clause
"""``clarivid doctor``: looks, changes nothing, and gives a remedy for whatever is missing."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from clarivid import doctor


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
    def no_driver(name: str) -> None:
        raise OSError(name)

    monkeypatch.setattr(doctor.ctypes, "CDLL", no_driver)
    gpus, note = doctor._gpus()
    assert gpus == []
    assert "libcuda.so.1" in note


def test_a_gpu_is_described(clarivid: Any, tmp_path: Path) -> None:
    emulator = Path(__file__).resolve().parent.parent / ".venv" / "build" / "emulator" / "libcuda.so.1"
    if not emulator.exists():
        pytest.skip("the emulator is not built (CLARIVID_CUDA)")
    environment = {"CLARIVID_CUDA_DRIVER": str(emulator), "CLARIVID_CACHE": str(tmp_path)}
    report = json.loads(clarivid("doctor", "--json", CLARIVID_EMULATOR_SM="89", **environment).stdout)
    assert [gpu["compute_capability"] for gpu in report["gpus"]] == ["8.9"]
    assert report["gpu_note"] == "driver for CUDA 13.0"
    feature = next(f for f in report["features"] if "an NVIDIA GPU" in f["name"])
    assert "No GPU" not in feature["remedy"]
    old = json.loads(clarivid("doctor", "--json", CLARIVID_EMULATOR_SM="61", **environment).stdout)
    feature = next(f for f in old["features"] if "an NVIDIA GPU" in f["name"])
    assert "older than compute capability 7.5" in feature["remedy"]
    none = json.loads(clarivid("doctor", "--json", CLARIVID_EMULATOR_DEVICES="0", **environment).stdout)
    assert none["gpu_note"] == "the NVIDIA driver is there but there is no GPU"


def test_without_a_driver_the_gpu_feature_says_so(clarivid: Any, tmp_path: Path) -> None:
    report = json.loads(
        clarivid("doctor", "--json", CLARIVID_CUDA_DRIVER="libno.so.1", CLARIVID_CACHE=str(tmp_path)).stdout
    )
    feature = next(f for f in report["features"] if "an NVIDIA GPU" in f["name"])
    assert not feature["ok"]
    assert "No GPU was found: no NVIDIA driver (libno.so.1 is not there)." in feature["remedy"]


def test_the_text_says_yes_or_no_for_each_feature(clarivid: Any, tmp_path: Path) -> None:
    done = clarivid("doctor", CLARIVID_CACHE=str(tmp_path))
    assert done.returncode == 0, done.stderr
    assert "no   dnn_sr, lowrank_pre and mesh_inpaint in ffmpeg, on the CPU\n     " in done.stdout
    assert "\ncpu " in done.stdout
