# SPDX-License-Identifier: BSD-2-Clause
"""dnn_sr with backend=tensorrt in ffmpeg, on the CPU emulator with the fake libnvinfer of the backend's."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import filter_tools as tools
from clarivid.engines import EngineCache, Identity, Key, Profile
from clarivid.models import find_model
from clarivid.paths import sha256_of

BUILD = Path(__file__).resolve().parent.parent / ".venv" / "build"
FAKE = BUILD / "csrc" / "backends" / "tensorrt" / "tests" / "fake" / "libnvinfer.so.10"
WIDTH, HEIGHT = 64, 48
SHAPE = (1, 1, HEIGHT, WIDTH)
DEVICE = Identity(90, "clarivid emulator", 8, 2048, 0, 32 << 20)  # csrc/cuda/emulator

pytestmark = pytest.mark.skipif(not (BUILD / "emulator").is_dir(), reason="the emulator is not built")


@pytest.fixture
def cache(tmp_path: Path) -> EngineCache:
    return EngineCache(tmp_path / "engines", shared=[])


def put(cache: EngineCache, **changes: Any) -> Path:
    """An engine of the fake's."""
    engine = {"fake": 1, "type": "f16", "scale": 2, "least": SHAPE, "largest": SHAPE, "weights": 4096,
              "activations": 8, **changes}  # fmt: skip
    digest = sha256_of(find_model("game_x2").folder / "model_fp16.onnx")
    key = Key("game_x2", digest, "fp16", Profile(SHAPE, SHAPE, SHAPE), "tensorrt", "10.14.1.48", DEVICE)
    entry, _ = cache.get(key, lambda: json.dumps(engine).encode(), {})
    return cache.set_parity(entry, {"passed": True}).path


def run(cache: EngineCache, options: str, *, check: bool = True) -> tools.Done:
    """Three frames through the filter, raw video on stdout."""
    chain = f"format=nv12,hwupload,dnn_sr=model=game_x2:{options},hwdownload,format=nv12"
    return tools.run(
        *("-nostats", "-v", "level+verbose", "-init_hw_device", "cuda=gpu", "-filter_hw_device", "gpu"),
        *("-f", "lavfi", "-i", f"testsrc2=s={WIDTH}x{HEIGHT}:r=10:d=0.3,setparams=range=tv", "-vf", chain),
        *("-f", "rawvideo", "-"),
        check=check,
        LD_LIBRARY_PATH=str(BUILD / "emulator"),
        CLARIVID_NVINFER=str(FAKE),
        CLARIVID_ENGINE_PATH=str(cache.folder),
    )


def test_frames_go_through_the_engine_and_nothing_touches_the_host(cache: EngineCache) -> None:
    path = put(cache, say=[2, "this engine is a fake"])
    done = run(cache, "backend=tensorrt")
    said = tools.said(done)
    assert f"engine {path}" in said
    assert "[warning] TensorRT: this engine is a fake" in said
    assert "MiB for activations of 1x1x48x64" in said
    assert "is recorded as a CUDA graph" in said
    assert "device: 0 copies to the host (0 bytes), 0 synchronisations" in said
    assert said.count("copies to the host") == 1  # told once
    frames = tools.frames(done.stdout, 2 * WIDTH, 2 * HEIGHT, "nv12")
    assert len(frames) == 3
    for frame in frames:
        luma = tools.planes(frame, 2 * WIDTH, 2 * HEIGHT, "nv12")[0]
        assert np.array_equal(luma, luma[::2, ::2].repeat(2, 0).repeat(2, 1))
        assert luma.std() > 10


def test_a_refused_engine_ends_the_command_with_the_sentence(cache: EngineCache) -> None:
    put(cache, fake=2)
    done = run(cache, "backend=tensorrt", check=False)
    assert done.returncode != 0
    assert "refuses the engine" in tools.said(done)
    assert "magic tag does not match" in tools.said(done)
    assert "clarivid engines build game_x2 --for this" in tools.said(done)
