# SPDX-License-Identifier: BSD-2-Clause
"""tools/gpu_check.sh and what belongs to it, as far as they go without a GPU."""

from __future__ import annotations

import itertools
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from clarivid.cuda import Device
from clarivid.errors import BackendError

Done = subprocess.CompletedProcess[str]


def run(*command: str | Path, **environment: str) -> Done:
    return subprocess.run(
        [str(part) for part in command],
        env={**{k: v for k, v in os.environ.items() if k != "OUT"}, "PYTHON": sys.executable, **environment},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


@pytest.fixture
def no_gpu() -> None:
    try:
        Device()
    except BackendError:
        return
    pytest.skip("there is a GPU here")


@pytest.fixture
def check(root: Path, tmp_path: Path) -> Any:
    def start(*arguments: str | Path, **environment: str) -> Done:
        folders = ["--out", tmp_path / "out", "--work", tmp_path / "work", "--pack", tmp_path / "pack"]
        return run(root / "tools" / "gpu_check.sh", *folders, *arguments, **environment)

    return start


@pytest.mark.usefixtures("no_gpu")
def test_without_a_gpu_it_says_so_and_ends_with_77(check: Any, tmp_path: Path) -> None:
    done = check("environment", "kernels", "tests", "bench", "memcheck", "racecheck")
    assert done.returncode == 77, done.stdout + done.stderr
    assert "there is no NVIDIA GPU" in done.stdout
    summary = json.loads((tmp_path / "out" / "summary.json").read_text())
    assert {step["step"]: step["result"] for step in summary["steps"]} == {
        "environment": "passed", "kernels": "skipped", "tests": "skipped", "bench": "skipped",
        "memcheck": "skipped", "racecheck": "skipped",
    }  # fmt: skip
    assert summary["environment"]["devices"] == []
    assert summary["emulated"] is False
    assert "no GPU" in (tmp_path / "out" / "gpu_check.log").read_text()


def test_a_failed_step_fails_the_run_and_names_the_remedy(check: Any, tmp_path: Path) -> None:
    done = check("pack", "library", "environment")
    assert done.returncode == 1
    steps = json.loads((tmp_path / "out" / "summary.json").read_text())["steps"]
    assert [step["result"] for step in steps] == ["failed", "skipped", "passed"]
    assert "tools/gpu_pack.sh" in steps[0]["said"]
    assert "'pack' did not pass" in steps[1]["said"]


def test_a_pack_that_was_changed_on_the_way_is_refused(check: Any, tmp_path: Path) -> None:
    pack = tmp_path / "pack"
    pack.mkdir()
    (pack / "clip.mp4").write_bytes(b"another clip")
    (pack / "SHA256SUMS").write_text(f"{'0' * 64}  ./clip.mp4\n")
    done = check("pack")
    assert done.returncode == 1
    assert "not those that were packed" in done.stdout


@pytest.mark.parametrize(
    ("arguments", "word"),
    [(["brew"], "no step 'brew'"), (["--cofee"], "no option '--cofee'"), (["--minutes", "soon"], "'soon'"),
     (["--out"], "--out needs a value")],
)  # fmt: skip
def test_wrong_usage_is_a_sentence_and_exit_code_2(check: Any, arguments: list[str], word: str) -> None:
    done = check(*arguments)
    assert done.returncode == 2
    assert word in done.stderr


def test_a_pack_is_not_written_where_git_would_see_it(root: Path, tmp_path: Path) -> None:
    done = run(root / "tools" / "gpu_pack.sh", root / "docs" / "pack")
    assert done.returncode == 1
    assert "git would see it" in done.stderr
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").write_text("the only copy")
    done = run(root / "tools" / "gpu_pack.sh", tmp_path / "mine")
    assert done.returncode == 1
    assert "holds other files" in done.stderr


@pytest.fixture
def measured(root: Path, tmp_path: Path) -> dict[str, Any]:
    """A checkout with a page that has the marks of docs/cuda.md, and results as they come back."""
    marks = ["<!-- measured: begin -->", "<!-- measured: end -->"]
    assert all(mark in (root / "docs" / "cuda.md").read_text() for mark in marks)
    (tmp_path / "docs").mkdir()
    (tmp_path / "benchmarks" / "results").mkdir(parents=True)
    (tmp_path / "docs" / "cuda.md").write_text(f"before\n{marks[0]}\nNot measured yet.\n{marks[1]}\nafter\n")
    row = {
        "part": "core", "what": "clarivid cuda", "model": "game_x2", "size": "1080p", "format": "nv12",
        "ms": 0.5, "fps": 2000.0, "floor_ms": 0.25, "gb_s": 31.1, "tflop_s": 199.8,
    }  # fmt: skip
    return {
        "bench.json": {
            "what": "gpu_bench", "emulated": False, "date": "2000-01-01", "gpu": "Example GPU 1",
            "rows": [row], "left_out": ["TensorRT: not here"],
            "ceilings": {"copy_gb_s": 3000.0, "fp16_tflop_s": 700.0},
        },
        "summary.json": {
            "what": "gpu_check", "emulated": False, "sources": "0123456789abcdef",
            "environment": {"state": {"driver_version": "580.1"}}, "tests": {"failed": []},
            "steps": [{"step": "tests", "result": "passed"}],
        },
    }  # fmt: skip


def publish(root: Path, folder: Path, records: dict[str, Any]) -> Done:
    for name, record in records.items():
        (folder / name).write_text(json.dumps(record))
    script = root / "benchmarks" / "gpu" / "publish.py"
    return run(sys.executable, script, folder / "bench.json", folder / "summary.json", "--root", folder)


def test_results_of_a_gpu_are_put_into_the_page_each_time(
    root: Path, tmp_path: Path, measured: dict[str, Any]
) -> None:
    for fps in (2000.0, 2500.0):
        measured["bench.json"]["rows"][0]["fps"] = fps
        done = publish(root, tmp_path, measured)
        assert done.returncode == 0, done.stderr
    page = (tmp_path / "docs" / "cuda.md").read_text()
    assert "| clarivid cuda | game_x2 | 1080p | nv12 | 0.500 | 2500 | 0.250 | 31 | 199.8 |" in page
    assert "Example GPU 1, driver 580.1, 2000-01-01, sources `0123456789ab`" in page
    assert "Left out: TensorRT: not here" in page
    assert "Not measured yet" not in page
    assert page.startswith("before\n<!--")
    assert page.endswith("-->\nafter\n")
    assert "2000 |" not in page
    assert (tmp_path / "benchmarks" / "results" / "gpu_example_gpu_1.json").is_file()


def test_results_of_the_emulator_or_of_a_failed_run_are_refused(
    root: Path, tmp_path: Path, measured: dict[str, Any]
) -> None:
    measured["bench.json"]["emulated"] = True
    done = publish(root, tmp_path, measured)
    assert done.returncode == 1
    assert "emulator" in done.stderr
    measured["bench.json"]["emulated"] = False
    measured["summary.json"]["steps"].append({"step": "racecheck", "result": "failed"})
    done = publish(root, tmp_path, measured)
    assert done.returncode == 1
    assert "racecheck" in done.stderr
    assert "Not measured yet" in (tmp_path / "docs" / "cuda.md").read_text()


@pytest.mark.parametrize("bit_depth", [8, 10])
@pytest.mark.parametrize("model", ["game_x2", "lowrank_v1"])
def test_what_we_are_compared_with_in_pytorch_computes_the_same_picture(
    root: Path, model: str, bit_depth: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A peer that does less, or something else, would make a comparison worthless."""
    monkeypatch.syspath_prepend(str(root / "benchmarks" / "gpu"))
    import peers
    import torch

    from clarivid.models import find_model
    from gpu.tools import expected, noise, pack, unpack

    planes = noise(70, 48, bit_depth)
    pix_fmt = "nv12" if bit_depth == 8 else "p010le"
    kind = np.uint8 if bit_depth == 8 else np.int16
    given = [torch.from_numpy(plane.view(kind)) for plane in pack(planes, pix_fmt)]
    net = peers.frame_net(find_model(model), bit_depth, torch.float32, "cpu")
    with torch.inference_mode():
        made = [plane.numpy() for plane in net(*given)]
    got = unpack([plane.view(np.uint16) if bit_depth == 10 else plane for plane in made], pix_fmt)
    wanted = expected(model, planes, bit_depth)
    assert [plane.shape for plane in got] == [plane.shape for plane in wanted]
    compared = 1 if model == "game_x2" else 3  # chroma of a net on luma is bicubic there, which costs as much
    for ours, theirs in itertools.islice(zip(got, wanted, strict=True), compared):
        assert np.abs(ours.astype(int) - theirs).max() <= 1
        assert np.mean(ours != theirs) < 0.001
