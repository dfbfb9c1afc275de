# SPDX-License-Identifier: BSD-2-Clause
"""For tools/gpu_check.sh, with nothing but Python: what this machine is, and what the steps gave, as JSON.

::

    gpu_report.py device           the compute capability of the first GPU, such as 90; exit code 1: no GPU
    gpu_report.py environment      what this machine is, and one line on it
    gpu_report.py summary --steps TSV --results DIR --seconds N

With CLARIVID_GPU_EMULATED in the environment the device is the CPU emulator; what is written says so.
"""

from __future__ import annotations

import argparse
import ctypes
import hashlib
import json
import os
import platform
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

_PACKAGES = ("torch", "triton", "numpy", "onnx", "pytest", "pybind11", "click", "rich", "tensorrt_rtx")
ROOT = Path(__file__).resolve().parent.parent
SOURCES = ("csrc", "filters", "patches", "models", "python", "tests/gpu", "benchmarks/gpu")
EMULATED = bool(os.environ.get("CLARIVID_GPU_EMULATED"))
_MAJOR, _MINOR, _PROCESSORS, _L2 = 75, 76, 16, 38  # CUdevice_attribute


def devices() -> list[dict[str, Any]]:
    """Every GPU that the driver shows: name, compute capability, multiprocessors, memory and L2 in MiB."""
    try:
        cuda = ctypes.CDLL(os.environ.get("CLARIVID_CUDA_DRIVER", "libcuda.so.1"))
    except OSError:
        return []
    count, version = ctypes.c_int(), ctypes.c_int()
    if cuda.cuInit(0) or cuda.cuDeviceGetCount(ctypes.byref(count)):
        return []
    cuda.cuDriverGetVersion(ctypes.byref(version))
    found = []
    for index in range(count.value):
        device, name, memory = ctypes.c_int(), ctypes.create_string_buffer(128), ctypes.c_size_t()
        cuda.cuDeviceGet(ctypes.byref(device), index)
        cuda.cuDeviceGetName(name, len(name), device)
        cuda.cuDeviceTotalMem_v2(ctypes.byref(memory), device)
        values = []
        for attribute in (_MAJOR, _MINOR, _PROCESSORS, _L2):
            value = ctypes.c_int()
            cuda.cuDeviceGetAttribute(ctypes.byref(value), attribute, device)
            values.append(value.value)
        found.append(
            {
                "name": name.value.decode(),
                "compute_capability": f"{values[0]}.{values[1]}",
                "multiprocessors": values[2],
                "memory_mib": memory.value >> 20,
                "l2_mib": values[3] / 2**20,
                "cuda_of_driver": f"{version.value // 1000}.{version.value % 1000 // 10}",
            }
        )
    return found


def said(*command: str) -> str:
    """The first line with a number that a program prints; why not when it does not run."""
    if shutil.which(command[0]) is None:
        return "not installed"
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=20, check=False)
    except (OSError, subprocess.TimeoutExpired) as error:
        return f"does not run: {error}"
    lines = (done.stdout or done.stderr).strip().splitlines()
    if command[0] == "nvcc":
        lines = lines[-2:]
    return next((line for line in lines if re.search(r"\d", line)), "says nothing")


def loads(library: str) -> bool:
    """Whether a shared library is there and opens."""
    try:
        ctypes.CDLL(library)
    except OSError:
        return False
    return True


def versions() -> dict[str, str]:
    """The Python packages that matter, with their versions; they are not imported."""
    from importlib import metadata, util

    found = {}
    for name in _PACKAGES:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            found[name] = "without metadata" if util.find_spec(name) else "not installed"
    return found


def environment() -> dict[str, Any]:
    """What this machine is."""
    query = "driver_version,clocks.sm,clocks.mem,clocks.max.sm,clocks.max.mem,power.limit,temperature.gpu"
    smi = "not asked" if EMULATED else said("nvidia-smi", f"--query-gpu={query}", "--format=csv,noheader")
    programs = ("nvcc", "gcc", "cmake", "ninja", "compute-sanitizer")
    return {
        "emulated": EMULATED,
        "devices": devices(),
        "state": dict(zip(query.split(","), smi.split(", "), strict=False)) if "," in smi else smi,
        "nvdec": loads("libnvcuvid.so.1"),
        "nvenc": loads("libnvidia-encode.so.1"),
        **{program: said(program, "--version") for program in programs},
        "python": platform.python_version(),
        "packages": versions(),
        "system": f"{platform.system()} {platform.release()} {platform.machine()}",
        "libc": platform.libc_ver()[1],
        "processors": len(os.sched_getaffinity(0)),
    }


def tests(path: Path) -> dict[str, Any] | None:
    """What a JUnit file counts, with reasons of what did not pass, and what tests measured; None: no file."""
    if not path.is_file():
        return None
    counts: dict[str, Any] = {"passed": 0, "failed": [], "skipped": [], "measured": {}}
    for case in ElementTree.parse(path).getroot().iter("testcase"):
        name = f"{case.get('classname')}::{case.get('name')}"
        properties = {str(p.get("name")): str(p.get("value")) for p in case.iter("property")}
        if properties:
            counts["measured"][name] = properties
        bad = case.find("failure") if case.find("failure") is not None else case.find("error")
        skip = case.find("skipped")
        if bad is not None:
            counts["failed"].append({"test": name, "why": (bad.get("message") or "")[:500]})
        elif skip is not None:
            counts["skipped"].append({"test": name, "why": (skip.get("message") or "")[:300]})
        else:
            counts["passed"] += 1
    return counts


def read(path: Path) -> Any:
    """A JSON file; None when it is not there."""
    return json.loads(path.read_text("utf-8")) if path.is_file() else None


def sources_digest(root: Path) -> str:
    """SHA-256 over names and contents of what is built and run: a bare machine has no git to ask."""
    total = hashlib.sha256()
    files = [
        p
        for part in SOURCES
        for p in (root / part).rglob("*")
        if p.is_file() and "__pycache__" not in p.parts
    ]
    for file in sorted(files):
        total.update(
            str(file.relative_to(root)).encode() + b"\0" + hashlib.sha256(file.read_bytes()).digest()
        )
    return total.hexdigest()


def summary(steps: Path, results: Path, seconds: float) -> dict[str, Any]:
    """All of a run in one object."""
    rows = [line.split("\t", 3) for line in steps.read_text("utf-8").splitlines()]
    bench = results / "bench.json"
    measured = json.loads(bench.read_text("utf-8")) if bench.is_file() else {}
    note = "Run on the CPU emulator: it tries out the scripts, and says nothing about a GPU."
    return {
        "what": "gpu_check",
        "emulated": EMULATED,
        "note": note if EMULATED else "",
        "sources": sources_digest(ROOT),
        "seconds": seconds,
        "steps": [{"step": r[0], "result": r[1], "seconds": int(r[2]), "said": r[3]} for r in rows],
        "environment": environment(),
        "tests": tests(results / "junit.xml"),
        "bench": measured.get("highlights"),
    }


def main() -> int:
    """Entry point."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    verbs = parser.add_subparsers(dest="verb", required=True)
    verbs.add_parser("device")
    verbs.add_parser("environment")
    summary_parser = verbs.add_parser("summary")
    summary_parser.add_argument("--steps", type=Path, required=True)
    summary_parser.add_argument("--results", type=Path, required=True)
    summary_parser.add_argument("--seconds", type=float, required=True)
    given = parser.parse_args()
    if given.verb == "device":
        found = devices()
        if found:
            print(found[0]["compute_capability"].replace(".", ""))
        return 0 if found else 1
    if given.verb == "environment":
        about = environment()
        print(json.dumps(about, indent=1))
        first = about["devices"][0]["name"] if about["devices"] else "no GPU"
        print(f"{first}; NVDEC {'there' if about['nvdec'] else 'missing'}; nvcc: {about['nvcc']}")
        return 0
    whole = summary(given.steps, given.results, given.seconds)
    (given.results / "summary.json").write_text(json.dumps(whole, indent=1) + "\n", "utf-8")
    for failure in (whole["tests"] or {}).get("failed", []):
        print(f"  failed: {failure['test']}: {failure['why'].splitlines()[0] if failure['why'] else ''}")
    for skip in (whole["tests"] or {}).get("skipped", []):
        print(f"  not run: {skip['test']}: {skip['why'].removeprefix('not run: ').splitlines()[0]}")
    print(f"{given.results / 'summary.json'}, after {given.seconds:.0f} s")
    return 0


if __name__ == "__main__":
    sys.exit(main())
