# SPDX-License-Identifier: BSD-2-Clause
"""What this machine has, and what is missing for what.

:func:`examine` looks and never changes anything; each thing that cannot be found is reported with the
sentence that says how to get it.
"""

from __future__ import annotations

import ctypes
import importlib
import importlib.util
import os
import platform
import re
import subprocess
import sys
from dataclasses import asdict, dataclass, field
from importlib import metadata
from pathlib import Path
from typing import Any

from clarivid import cuda, models, paths
from clarivid.errors import BackendError, Error

BACKENDS = ("cpu", "openvino", "tensorrt", "cuda", "dummy")
OLDEST_GPU = 7.5  # compute capability: the oldest that the kernels are compiled for
OLDEST_CUDA = 13  # what their compiler is of
# Flags of /proc/cpuinfo that decide which code runs.
CPU_FLAGS = {
    "avx2": "AVX2",
    "avx512f": "AVX-512",
    "avx512_vnni": "AVX-512 VNNI",
    "avx512_bf16": "AVX-512 bf16",
    "amx_bf16": "AMX bf16",
    "amx_int8": "AMX int8",
}


@dataclass
class Part:
    """One thing that was looked for."""

    name: str
    ok: bool
    text: str
    """What was found, or why it was not."""


@dataclass
class Feature:
    """One thing that a user may want to do."""

    name: str
    ok: bool
    remedy: str
    """What to do when it is not possible; empty when it is."""


@dataclass
class Report:
    """Everything that :func:`examine` found, as plain data: ``to_json`` is what ``--json`` prints."""

    clarivid: str
    python: str
    system: str
    cpu: dict[str, Any]
    memory_gib: dict[str, float]
    gpus: list[dict[str, Any]]
    gpu_note: str
    library: Part
    backends: list[Part]
    packages: dict[str, str | None]
    ffmpeg: Part
    dropin: Part
    models: list[str]
    cache: dict[str, Any]
    engines: dict[str, Any]
    """Builders that are installed, by name; the TensorRT that filters run engines with; for each GPU and
    model which engines there are."""
    features: list[Feature] = field(default_factory=list)

    def to_json(self) -> dict[str, Any]:
        """Return the report as dictionaries and lists."""
        return asdict(self)


def _system() -> str:
    try:
        name = platform.freedesktop_os_release().get("PRETTY_NAME", platform.system())
    except OSError:
        name = platform.system()
    return f"{name}, {platform.machine()}"


def _cpu() -> dict[str, Any]:
    """Model, cores that this process may use, and the instruction sets that matter."""
    model, flags = platform.processor() or platform.machine(), set[str]()
    try:
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines():
            key, _, value = line.partition(":")
            if key.strip() == "model name":
                model = value.strip()
            elif key.strip() == "flags":
                flags = set(value.split())
                break
    except OSError:
        pass
    return {
        "model": model,
        "cores": len(os.sched_getaffinity(0)),
        "features": [title for flag, title in CPU_FLAGS.items() if flag in flags],
    }


def _memory() -> dict[str, float]:
    """Total and available memory in GiB."""
    found: dict[str, float] = {}
    try:
        for line in Path("/proc/meminfo").read_text(encoding="utf-8").splitlines():
            key, _, value = line.partition(":")
            if key in ("MemTotal", "MemAvailable"):
                found[key[3:].lower()] = round(int(value.split()[0]) / (1 << 20), 1)
    except (OSError, ValueError, IndexError):
        pass
    return found


def _gpus() -> tuple[list[dict[str, Any]], str]:
    """NVIDIA GPUs, and a sentence on the driver."""
    try:
        major, minor = cuda.driver_version()
        found = cuda.gpus()
    except BackendError as error:
        return [], str(error)
    gpus = [
        {
            "name": gpu.name,
            "memory_gib": round(gpu.memory / (1 << 30), 1),
            "compute_capability": f"{gpu.capability // 10}.{gpu.capability % 10}",
            "sm": f"sm_{gpu.capability}",
            "driver_cuda": major,
        }
        for gpu in found
    ]
    release = _driver_release()
    return gpus, f"driver {release}for CUDA {major}.{minor}"


def _driver_release() -> str:
    """ "580.82.07 ", as the kernel's module tells it; empty where it does not."""
    try:
        text = Path("/proc/driver/nvidia/version").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""
    match = re.search(r"\s(\d{3}\.\d+(?:\.\d+)?)\s", text)
    return f"{match[1]} " if match else ""


def library_path() -> Path | None:
    """Return libclarivid.so of the installed package, or None when there is none."""
    for prefix in paths.prefix_dirs():
        for found in sorted((prefix / "lib").glob("libclarivid.so*")):
            return found
    return None


def _library() -> tuple[Part, list[Part]]:
    """The native library, and what each backend says about its runtime (the C ABI, through ctypes)."""
    path = library_path()
    if path is None:
        return Part(
            "libclarivid", False, "not built: run `make setup` in a checkout, or reinstall clarivid"
        ), []
    try:
        library = ctypes.CDLL(str(path))
    except OSError as error:
        return Part("libclarivid", False, f"{path} cannot be loaded: {error}"), []
    library.clv_version_string.restype = ctypes.c_char_p
    library.clv_context_create.restype = ctypes.c_void_p
    library.clv_context_create.argtypes = [ctypes.c_void_p, ctypes.c_void_p]
    library.clv_context_destroy.argtypes = [ctypes.c_void_p]
    library.clv_last_error.argtypes = [ctypes.c_void_p, ctypes.c_char_p, ctypes.c_size_t]
    library.clv_last_error.restype = ctypes.c_size_t
    library.clv_backend_probe.argtypes = [ctypes.c_void_p, ctypes.c_char_p, ctypes.c_char_p, ctypes.c_size_t]
    version = library.clv_version_string().decode()
    context = ctypes.c_void_p(library.clv_context_create(None, None))
    backends = []
    for name in BACKENDS:
        text = ctypes.create_string_buffer(1024)
        status = library.clv_backend_probe(context, name.encode(), text, len(text))
        if status != 0:
            library.clv_last_error(context, text, len(text))
        backends.append(Part(name, status == 0, text.value.decode(errors="replace")))
    library.clv_context_destroy(ctypes.byref(context))
    try:
        importlib.import_module("clarivid._core")
    except ImportError as error:
        return Part(
            "libclarivid", False, f"{version}, but its Python module does not load: {error}"
        ), backends
    return Part("libclarivid", True, f"{version} ({path})"), backends


def _packages() -> dict[str, str | None]:
    """Versions of the Python packages that matter; None for those that are not installed."""
    found: dict[str, str | None] = {}
    for name in ("numpy", "openvino", "torch", "onnx", "safetensors", "pillow", "imageio-ffmpeg"):
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            found[name] = None
    return found


def _ffmpeg() -> Part:
    """Our FFmpeg, asked itself whether it has the filters."""
    try:
        tool = importlib.import_module("clarivid.ffmpeg")
        path = tool.find().ffmpeg
    except (Error, ImportError) as error:
        return Part("ffmpeg", False, str(error))
    try:
        lacking, _ = tool.lacking_filters(path)
    except (OSError, subprocess.SubprocessError) as error:
        return Part("ffmpeg", False, f"{path} does not run: {error}")
    filters = f"without {', '.join(lacking)}" if lacking else f"with {', '.join(tool.OUR_FILTERS)}"
    return Part("ffmpeg", not lacking, f"{path} ({filters})")


def _dropin() -> Part:
    """The ffmpeg that is installed: whether it has a drop-in, and one that still fits."""
    try:
        found = importlib.import_module("clarivid.ffmpeg.dropin").find()
    except (Error, ImportError) as error:
        return Part("dropin", False, str(error))
    missing = f", without {', '.join(found.missing)}" if found.missing else ""
    return Part("dropin", True, f"{found.ffmpeg} ({found.program}, FFmpeg {found.version}{missing})")


def _engines(has_gpu: bool, backends: list[Part]) -> dict[str, Any]:
    """Builders, what runs engines, what is in the cache, and what the GPUs here miss."""
    from clarivid import engines
    from clarivid.engines.status import status

    cache = engines.EngineCache()
    builders = {runtime.name: runtime.version for runtime in engines.installed()}
    loader = next(
        (part for part in backends if part.name == "tensorrt"), Part("tensorrt", False, "not built")
    )
    runs = re.match(r"TensorRT (\S+)", loader.text) if loader.ok else None
    versions = {**builders, **({"tensorrt": runs[1]} if runs else {})}
    found = list(cache.entries())
    faults = [entry.problem for entry in found if isinstance(entry, engines.Fault)]
    entries = len(found) - len(faults)
    if versions.get("tensorrt") != builders.get("tensorrt", versions.get("tensorrt")):
        faults.append(
            f"TensorRT {builders['tensorrt']} builds engines here, {versions['tensorrt']} runs them: install "
            "one release of both"
        )
    rows: list[dict[str, Any]] = []
    if has_gpu:
        try:
            gpus = engines.targets.this_machine()
            rows = [asdict(row) for row in status(gpus, models.list_models(), versions, cache, builders)]
        except Error as error:
            faults.append(str(error))
    return {
        "folder": str(cache.folder),
        "shared": [str(folder) for folder in cache.shared],
        "builders": builders,
        "runs": runs[1] if runs else None,
        "entries": entries,
        "faults": faults,
        "status": rows,
    }


def _size(folder: Path) -> int:
    """Bytes of all files below a folder; links are not followed."""
    total = 0
    for parent, _, names in os.walk(folder):
        for name in names:
            try:
                total += Path(parent, name).lstat().st_size
            except OSError:
                continue
    return total


def _gpu(report: Report) -> list[tuple[bool, str]]:
    """What frames on a GPU need; of what is wrong with the GPU, the first thing only."""
    backend = next((part for part in report.backends if part.name == "cuda"), None)
    there = (
        backend is not None and backend.ok,
        "The library has no CUDA backend (libclarivid_cuda.so): build it with -DCLARIVID_CUDA=ON.",
    )
    conditions = [
        (bool(report.gpus), f"No GPU was found: {report.gpu_note}. Filters take the CPU."),
        (
            any(float(gpu["compute_capability"]) >= OLDEST_GPU for gpu in report.gpus),
            f"The GPU is older than compute capability {OLDEST_GPU} (Turing). Filters take the CPU.",
        ),
        (
            any(gpu["driver_cuda"] >= OLDEST_CUDA for gpu in report.gpus),
            f"The NVIDIA driver is older than CUDA {OLDEST_CUDA}: install driver 580 or newer.",
        ),
    ]
    return [there, *[condition for condition in conditions if not condition[0]][:1]]


def _features(report: Report) -> list[Feature]:
    """For each thing that a user may want: is all of it there, and if not, what to do."""
    runs = {part.name: part for part in report.backends}

    def missing(*names: str) -> list[str]:
        return [name for name in names if not report.packages.get(name)]

    def feature(name: str, *conditions: tuple[bool, str]) -> Feature:
        remedies = [remedy for ok, remedy in conditions if not ok]
        return Feature(name, not remedies, " ".join(remedies))

    library = (
        report.library.ok,
        "The native library does not work: run `make setup`, or reinstall clarivid.",
    )
    backend = runs.get("openvino")
    openvino = (
        backend is not None and backend.ok,
        "Inference on the CPU needs OpenVINO: `pip install openvino`, then `clarivid doctor` again.",
    )
    bundle = (bool(report.models), "No model was found: reinstall clarivid or set CLARIVID_MODEL_PATH.")
    filter_ = (report.ffmpeg.ok, "Build FFmpeg with the filters: `clarivid ffmpeg build`.")
    features = report.cpu["features"]
    wheels = missing("torch", "onnx", "safetensors", "pillow")
    return [
        feature("dnn_sr, lowrank_pre and mesh_inpaint in ffmpeg, on the CPU", filter_, openvino, bundle),
        feature("SuperResolution and LowrankPre in Python", library, openvino, bundle),
        feature(
            "bf16 on the CPU (about twice the speed)",
            (
                "AVX-512 bf16" in features or "AMX bf16" in features,
                "This processor has no bf16 instructions; precision=auto takes fp32.",
            ),
        ),
        feature("the same on an NVIDIA GPU, frames in its memory", *_gpu(report), filter_, bundle),
        feature(
            "train and export nets",
            (not wheels, f"Missing: {', '.join(wheels)}. Run `pip install 'clarivid[train]'`."),
        ),
        feature(
            "scores (PSNR, SSIM, VMAF)",
            (not missing("imageio-ffmpeg"), "Missing: imageio-ffmpeg. Run `pip install 'clarivid[train]'`."),
        ),
    ]


def examine() -> Report:
    """Look at this machine. Takes a second or two, most of it for loading the runtimes; changes nothing."""
    from clarivid import __version__

    gpus, gpu_note = _gpus()
    library, backends = _library()
    cache = paths.cache_dir()
    report = Report(
        clarivid=__version__,
        python=f"{platform.python_version()} ({sys.executable})",
        system=_system(),
        cpu=_cpu(),
        memory_gib=_memory(),
        gpus=gpus,
        gpu_note=gpu_note,
        library=library,
        backends=backends,
        packages=_packages(),
        ffmpeg=_ffmpeg(),
        dropin=_dropin(),
        models=models.model_names(),
        cache={"folder": str(cache), "bytes": _size(cache)},
        engines=_engines(bool(gpus), backends),
    )
    report.features = _features(report)
    return report


__all__ = ["Feature", "Part", "Report", "examine", "library_path"]
