#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-2-Clause
"""Rehearses a deployment, as root: packages in a minimal Debian made for it, and an image with buildah.

packages   a signed repository, a node with the distribution's ffmpeg: install, transcode, damage, upgrade
           while a job runs, roll back, purge
container  packaging/Dockerfile built and run by buildah, without a registry

The packages are those that `make deb` would make, of two versions. Each step says what holds after it; the
first that fails ends the rehearsal with exit code 1.
"""

from __future__ import annotations

import argparse
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import chroots
import rehearse_container
import rehearse_packages
from clarivid.errors import Error, ToolError
from clarivid.ffmpeg import dropin as dropins
from clarivid.paths import cache_dir
from commits import ROOT

VERSIONS = ("0.1.0~rehearsal1", "0.1.0~rehearsal2")
# Of lintian's: the maintainer has no address, and what is thrown away is not compressed.
LEFT_OUT = "bogus-mail-host,uses-no-compression-for-control-tarball,uses-no-compression-for-data-tarball"
PARTS = {"packages": rehearse_packages.rehearse, "container": rehearse_container.rehearse}


@contextmanager
def step(what: str) -> Iterator[None]:
    """Say what is tried, and that it held."""
    start = time.monotonic()
    print(f"{what} …", end="", flush=True)
    yield
    print(f" {time.monotonic() - start:.1f} s", flush=True)


def build(folder: Path, dropin: Path) -> dict[str, Path]:
    """Packages of both versions, each in a folder."""
    found = {}
    for version in VERSIONS:
        found[version] = folder / version
        subprocess.run(
            [sys.executable, str(ROOT / "tools/deb.py"), "--out", str(found[version]), "--version", version,
             "--compression", "none", "--dropin", str(dropin)], check=True, stdout=subprocess.DEVNULL,
        )  # fmt: skip
    return found


def lint(folder: Path) -> None:
    """Raises :class:`ToolError` for anything that lintian calls an error or warns of."""
    done = subprocess.run(
        ["lintian", "--allow-root", "--fail-on", "error,warning", "--suppress-tags", LEFT_OUT,
         *map(str, folder.glob("*.deb"))], capture_output=True, text=True, check=False,
    )  # fmt: skip
    if done.returncode != 0:
        raise ToolError(f"lintian: {done.stdout}{done.stderr}")


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("parts", nargs="*", metavar="PART", help=f"{' or '.join(PARTS)}; default: both")
    parser.add_argument("--dropin", type=Path, metavar="DIR", help="default: that of this machine's ffmpeg")
    given = parser.parse_args()
    for name in set(given.parts) - set(PARTS):
        parser.error(f"there is no part '{name}': {' or '.join(PARTS)}")
    home = cache_dir() / "rehearsal"
    try:
        chroots.check()
        with step("minimal Debian 12"):
            chroots.minimal("bookworm")
        work = Path(tempfile.mkdtemp(prefix="work-", dir=home))
        work.chmod(0o755)
        try:
            with step("packages of two versions, and lintian has nothing to say"):
                packages = build(work / "packages", given.dropin or dropins.find().root)
                lint(packages[VERSIONS[0]])
            for name in given.parts or PARTS:
                print(f"== {name}")
                PARTS[name](work / name, packages, step)
        finally:
            shutil.rmtree(work, ignore_errors=True)
    except Error as error:
        sys.exit(f"\nrehearse: {error}")
    print("rehearse: everything held")


if __name__ == "__main__":
    main()
