# SPDX-License-Identifier: BSD-2-Clause
"""Run clang-tidy on the C++ sources under csrc/, and only on those that changed since they last passed.

usage: tools/tidy.py BUILD_FOLDER CACHE_FOLDER

A source counts as passed for as long as clang-tidy, its rules and the preprocessed source are the same; a
mark in CACHE_FOLDER, named by the digest of all that, remembers it. Needs nothing but the standard library.
"""

from __future__ import annotations

import hashlib
import json
import os
import shlex
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

TIDY = "clang-tidy-14"
EXTRA = ("-Wno-unknown-warning-option",)  # -Wno-maybe-uninitialized is GCC's
ROOT = Path(__file__).resolve().parent.parent


def digest(entry: dict[str, str], rules: bytes) -> str:
    """SHA-256 over the rules, the command and the preprocessed source of one compile command."""
    command = shlex.split(entry["command"])
    if Path(command[0]).name == "ccache":
        command = command[1:]
    output = command.index("-o")
    source = subprocess.run(
        [*command[:output], *command[output + 2 :], "-E"],
        cwd=entry["directory"],
        capture_output=True,
        check=True,
    ).stdout
    return hashlib.sha256(rules + "\0".join(command).encode() + source).hexdigest()


def check(entry: dict[str, str], build: Path, marks: Path, rules: bytes) -> str | None:
    """Check one source: None when it passed before, "" when it passes now, else what clang-tidy says."""
    mark = marks / digest(entry, rules)
    if mark.exists():
        return None
    command = [
        TIDY,
        "--quiet",
        f"-p={build}",
        *(f"--extra-arg={argument}" for argument in EXTRA),
        entry["file"],
    ]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode == 0:
        mark.touch()
        return ""
    return done.stdout or done.stderr


def main() -> int:
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    build, marks = Path(sys.argv[1]).resolve(), Path(sys.argv[2]) / "build" / "tidy"
    marks.mkdir(parents=True, exist_ok=True)
    version = subprocess.run([TIDY, "--version"], capture_output=True, check=True).stdout
    rules = version + (ROOT / ".clang-tidy").read_bytes() + "\0".join(EXTRA).encode()
    entries = json.loads((build / "compile_commands.json").read_text(encoding="utf-8"))
    # Not the CUDA sources: nvcc and g++ compile them with warnings as errors.
    entries = [
        entry
        for entry in entries
        if Path(entry["file"]).is_relative_to(ROOT / "csrc") and Path(entry["file"]).suffix in (".c", ".cpp")
    ]
    with ThreadPoolExecutor(len(os.sched_getaffinity(0))) as pool:
        results = list(pool.map(lambda entry: check(entry, build, marks, rules), entries))
    failed = [text for text in results if text]
    for text in failed:
        print(text)
    checked = sum(result is not None for result in results)
    print(f"clang-tidy: {len(entries)} sources, {checked} of them checked now, {len(failed)} failed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
