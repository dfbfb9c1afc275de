# SPDX-License-Identifier: BSD-2-Clause
"""For tools/gpu_check.sh: every program that compares kernels with their references, on the GPU that is here.

They reach the GPU through the driver alone, so what ctest has them do on the emulator they do here.

::

    gpu_kernels.py --build DIR --seconds N [--tool memcheck|racecheck]

With a tool they run inside compute-sanitizer, for fewer rounds. Exit code 0: nothing wrong; 1: a program
failed or did not end in time; 77: the tool is not installed.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

SANITIZER = ("compute-sanitizer", "/usr/local/cuda/bin/compute-sanitizer")
ITSELF = "check_cuda_emulator"  # does what no kernel should, to see the emulator notice
SHORT = (
    "--rounds",
    "2",
)  # programs that know no rounds ignore it; the sanitizer slows kernels down 10 to 100 times


@dataclass(frozen=True)
class Check:
    """A test of ctest: its command and what it sets in the environment."""

    name: str
    command: list[str]
    settings: dict[str, str]


def checks(build: Path) -> list[Check]:
    """Those that ctest gives to the emulator; each program once, and without those that are about itself."""
    listed = subprocess.run(
        ["ctest", "--show-only=json-v1"], cwd=build, capture_output=True, text=True, check=True
    )
    found = []
    for test in json.loads(listed.stdout)["tests"]:
        values: list[str] = next(
            (p["value"] for p in test.get("properties", []) if p["name"] == "ENVIRONMENT"), []
        )
        settings = dict(value.split("=", 1) for value in values)
        emulated = settings.pop("LD_LIBRARY_PATH", "").endswith("/emulator")
        # Another chip or another order of threads: a GPU is what it is.
        varied = {
            "CLARIVID_EMULATOR_SM",
            "CLARIVID_EMULATOR_SEED",
            "CLARIVID_EMULATOR_LAZY",
        } & settings.keys()
        if emulated and not varied and test["name"] != ITSELF:
            found.append(Check(test["name"], test["command"], settings))
    return found


def run(check: Check, before: list[str], after: list[str], seconds: float) -> str:
    """Runs it to its end; what went wrong as a few words, nothing when all is well."""
    command = [*before, *check.command, *after]
    print(f"== {' '.join(command)}", flush=True)
    try:
        done = subprocess.run(command, env={**os.environ, **check.settings}, check=False, timeout=seconds)
    except subprocess.TimeoutExpired:
        return f"not done after {seconds:.0f} s"
    except OSError as error:
        return str(error)
    return f"exit code {done.returncode}" if done.returncode else ""


def main() -> int:
    """Entry point."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--build", type=Path, required=True)
    parser.add_argument("--seconds", type=float, required=True)
    parser.add_argument("--tool", choices=("memcheck", "racecheck"))
    given = parser.parse_args()
    before: list[str] = []
    if given.tool:
        program = next(filter(None, map(shutil.which, SANITIZER)), None)
        if program is None:
            print("compute-sanitizer is not installed; it comes with the CUDA toolkit")
            return 77
        # Calls that fail are tested for, such as asking for more memory than there is: they are no finding.
        before = [program, "--tool", given.tool, "--error-exitcode", "9", "--print-limit", "20"]
        before += ["--report-api-errors", "no"] if given.tool == "memcheck" else []
    todo = checks(given.build)
    if not todo:
        print(f"no program that checks kernels was built in {given.build}")
        return 1
    deadline = time.monotonic() + given.seconds
    failed = []
    for number, check in enumerate(todo):
        left = deadline - time.monotonic()
        # A slow one may take the most of what is left, but leaves something for those behind it.
        share = max(5.0, left if number == len(todo) - 1 else 0.6 * left)
        wrong = run(check, before, list(SHORT) if given.tool else [], share)
        if wrong:
            failed.append(f"{check.name} ({wrong})")
    print(f"failed: {', '.join(failed)}" if failed else f"{len(todo)} programs, nothing wrong")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
