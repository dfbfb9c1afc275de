#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-2-Clause
"""Makes a wheel of this checkout from the CMake build that is there, and gives it its manylinux tag.

Nothing is compiled twice: scikit-build-core is pointed at the folder in which ``tools/setup.sh`` builds, so
that only what has changed since is compiled. ``--raw`` leaves auditwheel out.
"""

from __future__ import annotations

import argparse
import fcntl
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from commits import ROOT, epoch

# Comes with its own wheel, which ours requires: the backend's RUNPATH leads there.
NOT_OURS = ("libopenvino.so.*",)


def run(*command: str | Path) -> str:
    """Run a command; what it said is returned, or shown when it fails."""
    words = [str(word) for word in command]
    # auditwheel and ninja are looked for in PATH.
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', os.defpath)}"
    done = subprocess.run(
        words,
        cwd=ROOT,
        env={**os.environ, "PATH": path, "SOURCE_DATE_EPOCH": epoch()},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    if done.returncode != 0:
        sys.exit(f"{done.stdout[-4000:]}\nwheel: '{' '.join(words)}' failed with exit code {done.returncode}")
    return done.stdout


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--out", type=Path, default=ROOT / "out" / "dist", help="where the wheel goes")
    parser.add_argument(
        "--build", type=Path, default=ROOT / ".venv" / "build", help="the CMake build; default: setup's"
    )
    parser.add_argument("--raw", action="store_true", help="without auditwheel: a wheel for this machine")
    arguments = parser.parse_args()
    build = arguments.build.resolve()
    if not (build / "CMakeCache.txt").is_file():
        sys.exit(f"wheel: there is no CMake build in {build}: run 'make setup' first")
    arguments.out.mkdir(parents=True, exist_ok=True)
    # The lock of tools/setup.sh: one of the two at a time in a build folder.
    with build.with_name(f"{build.name}.lock").open("w") as lock, tempfile.TemporaryDirectory() as folder:
        fcntl.flock(lock, fcntl.LOCK_EX)
        made = Path(folder)
        run(
            *(sys.executable, "-m", "pip", "wheel", "--no-input", "--disable-pip-version-check"),
            *("--no-build-isolation", "--no-deps", "--no-cache-dir", "--wheel-dir", made / "raw"),
            *(f"--config-settings=build-dir={build}", ROOT),
        )
        (wheel,) = (made / "raw").glob("*.whl")
        if not arguments.raw:
            exclude = [f"--exclude={name}" for name in NOT_OURS]
            run(sys.executable, "-m", "auditwheel", "repair", *exclude, "-w", made / "tagged", wheel)
            (wheel,) = (made / "tagged").glob("*.whl")
        for old in arguments.out.glob("clarivid-*.whl"):
            old.unlink()
        target = Path(shutil.move(wheel, arguments.out / wheel.name))
    print(f"{target} ({target.stat().st_size / (1 << 20):.1f} MiB)")


if __name__ == "__main__":
    main()
