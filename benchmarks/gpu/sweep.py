# SPDX-License-Identifier: BSD-2-Clause
"""Kernels with other constants, side by side: tiles, orders, stages, what is kept and what is computed again.

Constants of kernels are in their sources, where the comments on top say which of them are worth a try. A
variant is a replacement of text in a copy of the sources; all variants are compiled at the same time, then
measured one after the other and, as the first and last line, what is there now.

\b
  tools/gpu_check.sh pack library          once: the work folder, with Python module and headers
  . out/gpu-work/environment               what it sets
  python benchmarks/gpu/sweep.py \\
      --variant forwards csrc/backends/cuda/sr.cpp "kSerpentine = true" "kSerpentine = false" \\
      --variant 640 csrc/backends/cuda/lowrank_layout.h "kMostThreads = 512" "kMostThreads = 640"

Speed is all that is looked at here: tools/gpu_check.sh has to pass with the one that is taken.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import click
from rich.console import Console
from rich.table import Table

ROOT = Path(__file__).resolve().parent.parent.parent
BASE = "as it is"


def copy(folder: Path, change: tuple[str, str, str] | None) -> None:
    """Copies the sources and changes one."""
    for part in ("csrc", "filters", "patches", "models", "CMakeLists.txt"):
        source = ROOT / part
        (shutil.copytree if source.is_dir() else shutil.copy)(source, folder / part)
    if change:
        name, old, new = change
        text = (folder / name).read_text("utf-8")
        if text.count(old) != 1:
            raise click.ClickException(f"{name} holds {old!r} {text.count(old)} times, not once")
        (folder / name).write_text(text.replace(old, new), "utf-8")


def make(folder: Path, build: Path) -> Path:
    """Compiles the backend in a copy, as ``build`` is configured; returns where the library lies."""
    keep = ("CLARIVID_CUDA_ARCHITECTURES", "CMAKE_PREFIX_PATH", "CLARIVID_NVCC", "Python_EXECUTABLE")
    cache = (build / "CMakeCache.txt").read_text("utf-8").splitlines()
    defines = ["-D" + line for line in cache if line.partition(":")[0] in keep]
    defines += ["-DCLARIVID_OPENVINO=OFF", "-DCLARIVID_PYTHON=OFF", "-DCLARIVID_BUILD_TESTS=OFF"]
    for command in (
        ["cmake", "-S", str(folder), "-B", str(folder / "build"), "-G", "Ninja", *defines],
        ["cmake", "--build", str(folder / "build"), "--target", "clarivid_cuda"],
    ):
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            raise click.ClickException(
                f"{folder.name} does not build:\n{(done.stdout + done.stderr)[-2000:]}"
            )
    return folder / "build" / "csrc"


def measure(library: Path, seconds: float) -> dict[tuple[str, str, str], float]:
    """Milliseconds a frame by (model, size, format), with the backends of that folder."""
    with tempfile.TemporaryDirectory() as scratch:
        out = Path(scratch) / "bench.json"
        command = [sys.executable, str(Path(__file__).with_name("run.py")), "--part", "core"]
        done = subprocess.run(
            [*command, "--seconds", str(seconds), "--out", str(out)],
            env={**os.environ, "CLARIVID_BACKEND_PATH": str(library)},
            capture_output=True, text=True, check=False,
        )  # fmt: skip
        if done.returncode:
            raise click.ClickException(f"{library}: {(done.stdout + done.stderr)[-1000:]}")
        rows = json.loads(out.read_text("utf-8"))["rows"]
    return {(row["model"], row["size"], row["format"]): row["ms"] for row in rows}


@click.command(help=__doc__, context_settings={"help_option_names": ["-h", "--help"]})
@click.option("--variant", "variants", nargs=4, multiple=True, required=True, metavar="NAME FILE OLD NEW")
@click.option(
    "--work", type=click.Path(path_type=Path), default=ROOT / "out/gpu-work", help="Of gpu_check.sh."
)
@click.option("--seconds", default=40.0, show_default=True, help="For measuring one variant.")
def main(variants: tuple[tuple[str, str, str, str], ...], work: Path, seconds: float) -> None:
    """Entry point."""
    build = work / "build"
    if not (build / "CMakeCache.txt").is_file():
        raise click.ClickException(f"{build} is no build; run 'tools/gpu_check.sh pack library' first")
    named: dict[str, tuple[str, str, str] | None] = {BASE: None}
    named |= {name: (file, old, new) for name, file, old, new in variants}
    folders = [Path(tempfile.mkdtemp(prefix=f"sweep-{number}-", dir=work)) for number in range(len(named))]
    try:
        for folder, change in zip(folders, named.values(), strict=True):
            copy(folder, change)
        with ThreadPoolExecutor(len(named)) as pool:
            built = list(pool.map(make, folders, [build] * len(named)))
        libraries = dict(zip(named, built, strict=True))
        found = [(name, measure(libraries[name], seconds)) for name in [*named, BASE]]
    finally:
        for folder in folders:
            shutil.rmtree(folder, ignore_errors=True)
    base = found[0][1]
    table = Table(title="ms a frame; the spread of the first and last line is noise")
    table.add_column("variant")
    for model, size, form in base:
        table.add_column(f"{model}\n{size} {form}", justify="right")
    for name, times in found:
        cells = [f"{times[key]:.4f}\n{times[key] / base[key]:.3f}x" if key in times else "" for key in base]
        table.add_row(name, *cells)
    Console(width=200).print(table)


if __name__ == "__main__":
    main()
