# SPDX-License-Identifier: BSD-2-Clause
"""The package clarivid-dropin: what `clarivid ffmpeg dropin` made, but for what libclarivid's package has."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

from clarivid.errors import InputError
from clarivid.paths import sha256_of
from commits import ROOT

if TYPE_CHECKING:
    from deb import Build

PACKAGE = "clarivid-dropin"


def stage(build: Build, folder: Path) -> list[str]:
    """Put it together; what control's ``${stock:…}`` stand for is returned.

    Raises :class:`InputError` for a folder that is no drop-in, or not for the ffmpeg of this machine as it is
    now: then nobody knows which package's version it was built for.
    """
    try:
        record = json.loads((folder / "dropin.json").read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise InputError(
            f"'{folder}' is no drop-in: make one with 'clarivid ffmpeg dropin --out DIR'"
        ) from error
    stock = {Path(path): digest for path, digest in record["libraries"].items()}
    for path, digest in stock.items():
        if not path.is_file() or sha256_of(path) != digest:
            raise InputError(
                f"{path} is not what the drop-in in '{folder}' was built for: 'clarivid ffmpeg dropin' "
                "builds it anew"
            )
    library = next(path for path in stock if path.name.startswith("libavfilter."))
    owner, version = _package_of(library)
    program, _ = _package_of(Path(record["program"]))

    home = f"usr/lib/{build.triplet}/clarivid/dropin"
    build.put(folder / "lib/avfilter" / library.name, PACKAGE, f"{home}/lib/avfilter/{library.name}")
    build.put(folder / "dropin.json", PACKAGE, f"{home}/dropin.json")
    (build.root(PACKAGE) / "usr/bin").mkdir(parents=True)
    manual = (ROOT / "packaging/debian/clarivid-ffmpeg.1").read_text(encoding="utf-8")
    pages = f"{PACKAGE}", "usr/share/man/man1"
    build.write(manual, pages[0], f"{pages[1]}/clarivid-ffmpeg.1.gz")
    for script in sorted((folder / "bin").iterdir()):
        build.put(script, PACKAGE, f"{home}/bin/{script.name}", 0o755)
        link = build.root(PACKAGE) / "usr/bin" / script.name
        link.symlink_to(os.path.relpath(f"/{home}/bin/{script.name}", "/usr/bin"))
        if script.name != "clarivid-ffmpeg":
            page = build.root(PACKAGE) / pages[1] / f"{script.name}.1.gz"
            page.symlink_to("clarivid-ffmpeg.1.gz")
    report = (folder / "report.md").read_text(encoding="utf-8")
    build.write(report, PACKAGE, f"usr/share/doc/{PACKAGE}/report.md.gz")
    for example in sorted((ROOT / "packaging/examples").iterdir()):
        build.put(example, PACKAGE, f"usr/share/doc/{PACKAGE}/examples/{example.name}")
    return [f"stock:Program={program}", f"stock:Library={owner}", f"stock:Version={version}"]


def _package_of(path: Path) -> tuple[str, str]:
    """The installed package that a file is of, without its architecture, and its version."""
    for name in (path, path.resolve(), Path("/usr", *path.resolve().parts[1:])):
        found = subprocess.run(["dpkg-query", "-S", str(name)], capture_output=True, text=True, check=False)
        if found.returncode == 0:
            package = found.stdout.partition(": ")[0].partition(",")[0]
            version = subprocess.run(
                ["dpkg-query", "-W", "-f", "${Version}", package], capture_output=True, text=True, check=True
            )
            return package.partition(":")[0], version.stdout
    raise InputError(f"{path} is of no Debian package, so that a package cannot depend on it")
