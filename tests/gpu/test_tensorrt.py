# SPDX-License-Identifier: BSD-2-Clause
"""TensorRT on a real GPU: what is installed is run, what is missing is named, and nothing missing is passed.

What needs no GPU runs on the emulator with a fake libnvinfer (tests/test_tensorrt_sessions.py).
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from clarivid.cuda import Device
from clarivid.engines import EngineCache, Failed, Options, Runtime, build, plan, targets
from clarivid.errors import BackendError, Error
from clarivid.models import find_model
from clarivid.parity.planes import net_tensor

from .tools import LEAST_DB, SHIPPED, Net, compare, expected, noise, pack, picture, unpack

Record = Callable[[str, object], None]
WIDTH, HEIGHT = 640, 360


def runtime(name: str) -> Runtime:
    """The builder; the test is left out, with its sentence, where it is not installed."""
    try:
        return Runtime(name)
    except BackendError as error:
        pytest.skip(f"not run: {error}")


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> EngineCache:
    monkeypatch.setenv("CLARIVID_CACHE", str(tmp_path))
    return EngineCache(shared=[])


def run_plan(trt: Any, device: Device, engine: bytes, model: str, values: np.ndarray) -> np.ndarray | str:
    """The output for ``values``, through the runtime's own Python bindings; or what it said in refusing."""
    said: list[str] = []

    class Logger(trt.ILogger):  # type: ignore[misc]
        def __init__(self) -> None:
            trt.ILogger.__init__(self)

        def log(self, severity: Any, message: str) -> None:
            if severity in (trt.ILogger.ERROR, trt.ILogger.INTERNAL_ERROR):
                said.append(message)

    logger = Logger()
    with device.current():
        loaded = trt.Runtime(logger).deserialize_cuda_engine(engine)
        if loaded is None:
            return "; ".join(said) or "no engine, and no reason given"
        context = loaded.create_execution_context()
        _, _, rows, columns = values.shape
        scale = find_model(model).scale
        folded = values.shape[1] == 6
        made = (1, 6 * scale * scale, rows, columns) if folded else (1, 1, scale * rows, scale * columns)
        result = np.zeros(made, np.float16)
        memory = {"input": device.memory(values.nbytes), "output": device.memory(result.nbytes)}
        memory["input"].upload(values)
        names = [loaded.get_tensor_name(i) for i in range(loaded.num_io_tensors)]
        if "strength" in names:
            memory["strength"] = device.memory(2)
            memory["strength"].upload(np.ones(1, np.float16))
        context.set_input_shape("input", values.shape)
        for name in names:
            context.set_tensor_address(name, memory[name].address)
        stream = device.stream()
        if not context.execute_async_v3(stream.handle):
            return "; ".join(said) or "the engine failed, and no reason was given"
        stream.synchronise()
        result = memory["output"].download().view(np.float16).reshape(result.shape)
        del context, loaded
    return result


@pytest.mark.parametrize("model", SHIPPED)
def test_an_engine_of_tensorrt_for_rtx_runs_here_or_is_refused_with_a_reason(
    real: Device, model: str, record_property: Record
) -> None:
    rtx = runtime("tensorrt-rtx")
    bundle = find_model(model)
    known = rtx.capabilities()
    best = max([sm for sm in known if sm <= real.capability], default=known[0])
    foreign = best != real.capability
    profile = targets.profiles(f"{WIDTH}x{HEIGHT}", bundle)[0]
    target = replace(targets.devices(f"sm_{best}")[0])
    engine, _ = rtx.build((bundle.folder / "model_fp16.onnx").read_bytes(), model, profile, target, Options())
    planes = picture(WIDTH, HEIGHT, 8)
    values = net_tensor(bundle.layout, planes, 8, False).astype(np.float16)
    got = run_plan(rtx.trt, real, engine, model, values)
    record_property("engine_of", f"sm_{best}")
    if isinstance(got, str):
        record_property("refusal", got)
        assert foreign, f"TensorRT for RTX {rtx.version} refuses its own engine for this GPU: {got}"
        return
    import torch

    from clarivid.nets.load import load_net

    with torch.inference_mode():
        wanted = load_net(bundle)(torch.from_numpy(values.astype(np.float32))).numpy()
    psnr = -10 * np.log10(np.mean((got.astype(np.float64) - wanted) ** 2))
    record_property("psnr_db", psnr)
    assert psnr >= LEAST_DB


def lean() -> Path:
    """libnvinfer_lean; the test is left out where there is none."""
    folders = [Path(entry or ".", "tensorrt_lean_libs") for entry in sys.path]
    folders += [Path(os.environ[name]) for name in ("CLARIVID_GPU_LEAN",) if os.environ.get(name)]
    for folder in folders:
        for found in sorted(folder.glob("libnvinfer_lean.so.10*")):
            return found
    pytest.skip(
        "not run: there is no libnvinfer_lean.so.10 (PyPI tensorrt-lean-cu13-libs, or gpu_pack.sh --lean)"
    )


FOREIGN = """
import json, sys
from clarivid import _core
from clarivid.cuda import Device
from clarivid.engines import EngineCache, Key, Profile
from clarivid.engines.targets import this_machine
from clarivid.errors import Error
from clarivid.models import find_model
from clarivid.paths import sha256_of

model, version, plan = sys.argv[1:4]
shape = (1, 1, 360, 640)
bundle, device = find_model(model), Device()
digest = sha256_of(bundle.folder / "model_fp16.onnx")
key = Key(model, digest, "fp16", Profile(shape, shape, shape), "tensorrt", version, this_machine()[0],
          {"version_compatible": True})
cache = EngineCache(shared=[])
cache.set_parity(cache.get(key, lambda: open(plan, "rb").read(), {})[0], {"passed": True})
stream = device.stream()
try:
    _core.Session(_core.Model(str(bundle.folder)), _core.Format(640, 360, 2, range=1, memory=1),
                  cuda=_core.CudaDevice(device.context, stream.handle), backend="tensorrt")
    print("taken")
except Error as error:
    print(error)
"""


@pytest.mark.usefixtures("real")
def test_the_lean_runtime_refuses_a_foreign_plan_and_says_so(tmp_path: Path, record_property: Record) -> None:
    """In a process of its own, which loads the lean library; it must survive."""
    library = lean()
    environment = {**os.environ, "CLARIVID_NVINFER": str(library), "CLARIVID_CACHE": str(tmp_path)}
    probe = "print(next(part.text for part in doctor._library()[1] if part.name == 'tensorrt'))"
    told = subprocess.run(
        [sys.executable, "-c", f"from clarivid import doctor; {probe}"],
        env=environment,
        capture_output=True,
        text=True,
        check=True,
    )
    version = told.stdout.split()[1]
    plans = {"noise": np.random.default_rng(1).bytes(100_000), "a cut plan": b"ftrt" + bytes(1000)}
    try:
        rtx = Runtime("tensorrt-rtx")
        bundle = find_model("game_x2")
        profile = targets.profiles(f"{WIDTH}x{HEIGHT}", bundle)[0]
        target = targets.devices(f"sm_{rtx.capabilities()[0]}")[0]
        onnx = (bundle.folder / "model_fp16.onnx").read_bytes()
        plans["a plan of TensorRT for RTX"] = rtx.build(onnx, "game_x2", profile, target, Options())[0]
    except BackendError as error:
        record_property("left_out", str(error))
    for name, data in plans.items():
        for found in (tmp_path / "engines").glob("*"):
            found.unlink()
        (tmp_path / "plan").write_bytes(data)
        done = subprocess.run(
            [sys.executable, "-c", FOREIGN, "game_x2", version, str(tmp_path / "plan")],
            env=environment,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        assert done.returncode == 0, f"{name}: the process died: {done.stderr[-2000:]}"
        record_property(name, done.stdout.strip()[:500])
        assert "refuses the engine" in done.stdout, name
        assert "clarivid engines build game_x2" in done.stdout


@pytest.fixture
def engines(cache: EngineCache) -> EngineCache:
    """Engines for this GPU of the full TensorRT, for both architectures."""
    full = runtime("tensorrt")
    jobs = plan(
        [find_model(name) for name in SHIPPED],
        targets.this_machine()[:1],
        lambda model: targets.profiles(f"{WIDTH}x{HEIGHT}", model),
        "fp16",
        full,
        Options(level=1),
    )
    for made in build(jobs, full, Options(level=1), cache):
        assert not isinstance(made, Failed), made
        cache.set_parity(made.entry, {"passed": True})  # which the tests are about to see
    return cache


@pytest.mark.usefixtures("real", "engines")
@pytest.mark.parametrize("model", SHIPPED)
def test_a_picture_through_tensorrt_is_that_of_pytorch(
    real: Device, model: str, record_property: Record
) -> None:
    for pix_fmt, depth in (("nv12", 8), ("p010le", 10)):
        planes = picture(WIDTH, HEIGHT, depth)
        net = Net(real, model, WIDTH, HEIGHT, pix_fmt, backend="tensorrt")
        source, result = real.picture(WIDTH, HEIGHT, pix_fmt), net.output()
        source.upload(pack(planes, pix_fmt))
        net.run(source, result)
        error = compare(unpack(result.download(), pix_fmt), expected(model, planes, depth), depth)
        record_property(f"psnr_db_{pix_fmt}", error.db)
        assert error.db >= LEAST_DB, error


@pytest.mark.usefixtures("real", "engines")
@pytest.mark.parametrize("model", SHIPPED)
def test_two_thousand_frames_replay_a_graph_at_constant_memory(
    real: Device, model: str, record_property: Record
) -> None:
    net = Net(real, model, WIDTH, HEIGHT, "nv12", backend="tensorrt")
    source, result = real.picture(WIDTH, HEIGHT, "nv12"), net.output()
    source.upload(pack(noise(WIDTH, HEIGHT, 8), "nv12"))
    net.run(source, result)
    real.synchronise()
    first, free = result.download(), real.memory_info()[0]
    assert any("is recorded as a CUDA graph" in line for line in net.messages)
    for _ in range(2000):
        net.run(source, result)
    real.synchronise()
    record_property("bytes_more", free - real.memory_info()[0])
    assert free - real.memory_info()[0] <= 0
    assert all(np.array_equal(a, b) for a, b in zip(result.download(), first, strict=True))
    assert (net.stats["copies_to_host"], net.stats["synchronisations"]) == (0, 0)


@pytest.mark.usefixtures("engines")
def test_auto_takes_the_engine_and_names_it(real: Device) -> None:
    net = Net(real, "game_x2", WIDTH, HEIGHT, "nv12", backend="auto")
    assert any("backend=tensorrt, chosen because there is an engine" in line for line in net.messages)


@pytest.mark.usefixtures("engines")
def test_another_shape_is_refused_with_the_profile(real: Device) -> None:
    with pytest.raises(Error, match=r"its profile takes tensors of 640x360, not 642x360"):
        Net(real, "game_x2", WIDTH + 2, HEIGHT, "nv12", backend="tensorrt", tile="none")
