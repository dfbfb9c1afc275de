# SPDX-License-Identifier: BSD-2-Clause
"""The painting net of the cuda backend against PyTorch: the same weights, the same tensor.

On a GPU where there is a driver, else on the emulator that the build makes of the kernels.
"""

from __future__ import annotations

import ctypes
import math
import os
import subprocess
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from clarivid.models import load_model  # noqa: E402
from clarivid.nets.load import load_net  # noqa: E402

ROOT = Path(__file__).resolve().parent.parent
BUILD = ROOT / ".venv" / "build"
PROGRAM = BUILD / "csrc" / "backends" / "cuda" / "tests" / "check_cuda_inpaint"
LEAST_PSNR_DB = 60.0  # in the hole, of values one unit wide; measured: 88.8 and 89.8


def environment() -> dict[str, str] | None:
    """Where a CUDA driver is found; None without driver and emulator."""
    try:
        ctypes.CDLL("libcuda.so.1")
    except OSError:
        emulator = BUILD / "emulator"
        found = (emulator / "libcuda.so.1").is_file()
        return {**os.environ, "LD_LIBRARY_PATH": str(emulator)} if found else None
    return dict(os.environ)


def picture_with_hole(height: int, width: int) -> np.ndarray:
    """[7, height, width] f32: slopes, edges and some noise; what is in the hole is random."""
    random = np.random.default_rng(5)
    y, x = np.mgrid[0:height, 0:width]
    planes = [0.3 * np.sin(0.2 * x + 0.1 * c * y) + 0.2 * ((x // 11 + y // 7) % 2) - 0.1 for c in range(6)]
    picture = np.stack(planes) + random.normal(0, 0.01, (6, height, width))
    hole = np.zeros((1, height, width))
    hole[:, height // 4 : height // 2 + 3, width // 3 : width - 5] = 1
    picture = np.where(hole > 0, random.uniform(-0.5, 0.5, picture.shape), picture)
    return np.concatenate([picture, hole]).astype(np.float32)


@pytest.mark.skipif(environment() is None, reason="neither an NVIDIA driver nor the emulator")
@pytest.mark.skipif(not PROGRAM.is_file(), reason="the C++ tests are not built with CLARIVID_CUDA")
@pytest.mark.parametrize(("name", "height", "width"), [("inpaint_v1_fast", 48, 80), ("inpaint_v1", 32, 40)])
def test_the_device_paints_what_pytorch_paints(name: str, height: int, width: int, tmp_path: Path) -> None:
    bundle = load_model(ROOT / "models" / name)
    net = load_net(bundle)
    given = picture_with_hole(height, width)
    with torch.no_grad():
        wanted = net(torch.from_numpy(given)[None])[0].numpy()

    given.tofile(tmp_path / "in")
    command: list[str | Path] = [
        PROGRAM,
        "--run",
        bundle.folder,
        str(height),
        str(width),
        tmp_path / "in",
        tmp_path / "out",
    ]
    subprocess.run(command, env=environment(), check=True, timeout=300)
    got = np.fromfile(tmp_path / "out", np.float32).reshape(6, height, width)

    hole = np.broadcast_to(given[6] > 0, got.shape)
    error = float(np.mean((got[hole] - wanted[hole]) ** 2))
    assert 10 * math.log10(1 / max(error, 1e-20)) >= LEAST_PSNR_DB
    assert np.array_equal(got[~hole], given[:6][~hole])
