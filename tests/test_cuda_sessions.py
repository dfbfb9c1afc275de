# SPDX-License-Identifier: BSD-2-Clause
"""CUDA memory without a GPU: its own tests on the emulator, and what is said without a driver."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from clarivid import _core

BACKEND = Path(_core.__file__).parent / "lib" / "libclarivid_cuda.so"

# Handles that are none, but are looked at by nobody without a driver.
NO_DRIVER = """
import sys
from clarivid import _core
from clarivid.errors import BackendError
from clarivid.models import find_model

def open_model(name):
    return _core.Model(str(find_model(name).folder))

look = _core.Format(64, 48, 2, memory=1)
where = _core.CudaDevice(1, 1)
makers = {
    "session": lambda: _core.Session(open_model("lowrank_v1"), look, cuda=where),
    "inpainter": lambda: _core.Inpainter(None, None, look, cuda=where),
}
try:
    makers[sys.argv[1]]()
except BackendError as error:
    print(error)
print(_core.probe("cuda"))
host = _core.Session(open_model("lowrank_v1"), _core.Format(64, 48, 2))
print(host.backend, host.device_stats)
"""


def run(*command: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *command],
        env={**os.environ, "NO_COLOR": "1", **environment},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=900,
        check=False,
    )


@pytest.fixture
def emulator(root: Path) -> Path:
    """The folder of the emulator's libcuda.so.1."""
    folder = root / ".venv" / "build" / "emulator"
    if not (folder / "libcuda.so.1").is_file():
        pytest.skip("the emulator is not built (CLARIVID_CUDA, CLARIVID_BUILD_TESTS)")
    return folder


@pytest.mark.parametrize("part", ["sessions", "layouts", "arrays", "inpainters"])
def test_what_a_gpu_is_tested_for_holds_on_the_emulator(root: Path, emulator: Path, part: str) -> None:
    done = run(
        *("-m", "pytest", "-q", "-p", "no:cacheprovider", str(root / "tests" / "gpu" / f"test_{part}.py")),
        LD_LIBRARY_PATH=str(emulator),
        CLARIVID_GPU_EMULATED="1",
    )
    assert done.returncode == 0, done.stdout[-8000:] + done.stderr
    assert " passed" in done.stdout


@pytest.mark.skipif(not BACKEND.is_file(), reason="built without CUDA")
@pytest.mark.parametrize("maker", ["session", "inpainter"])
def test_without_a_driver_there_is_a_sentence_and_host_memory_works(maker: str) -> None:
    done = run("-c", NO_DRIVER, maker, CLARIVID_CUDA_DRIVER="/nonexistent/libcuda.so.1")
    assert done.returncode == 0, done.stderr
    said, probed, host = done.stdout.splitlines()
    assert said.startswith("no NVIDIA driver: ")
    assert "/nonexistent/libcuda.so.1" in said
    assert "not usable here: no NVIDIA driver" in probed
    backend, *counters = host.split(maxsplit=1)
    assert backend in ("cpu", "openvino")
    assert "'copies_to_host': 0" in counters[0]
