#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-2-Clause
"""Makes Debian packages of the clarivid that this Python has: library, models, development files, drop-in.

Nothing is compiled: the library is taken from where `make setup` or pip installed it, OpenVINO from its
wheel, the drop-in from a folder that `clarivid ffmpeg dropin` made. dpkg's own tools work out what the
packages depend on. Equal sources give equal packages.
"""

from __future__ import annotations

import argparse
import gzip
import hashlib
import importlib.metadata
import os
import re
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass, field
from email.utils import formatdate
from pathlib import Path

import deb_dropin
from clarivid.errors import Error, ToolError
from clarivid.ffmpeg import library
from clarivid.paths import cache_dir
from commits import ROOT, debian_version, epoch

TEMPLATES = ROOT / "packaging" / "debian"
# What lies in libclarivid's folder and is opened on demand; the dummy is for tests.
BACKENDS = re.compile(r"libclarivid_(?!dummy)\w+\.so$")
# xz -1 packs a tenth worse than -6 and six times as fast. One thread: the number of threads must not count.
COMPRESSION = {"xz": ("-Zxz", "-z1", "--threads-max=1"), "none": ("-Znone",)}
TOOLS = ("dpkg-deb", "dpkg-gencontrol", "dpkg-shlibdeps", "dpkg-architecture")


def run(*command: str | Path, cwd: Path | None = None) -> str:
    """Run a command; what it printed is returned, or shown when it fails."""
    words = [str(word) for word in command]
    done = subprocess.run(
        words,
        cwd=cwd,
        env={**os.environ, "SOURCE_DATE_EPOCH": epoch(), "LC_ALL": "C.UTF-8"},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode != 0:
        raise ToolError(f"{done.stderr[-3000:]}\n'{' '.join(words)}' failed with exit code {done.returncode}")
    return done.stdout


@dataclass
class Build:
    """Packages in the making, in ``folder`` as dpkg's tools want it: ``debian/<package>/`` each."""

    folder: Path
    version: str
    maintainer: str
    abi: str = ""
    """What the SONAME ends in, ``0.1``."""
    triplet: str = field(default_factory=lambda: run("dpkg-architecture", "-qDEB_HOST_MULTIARCH").strip())
    arch: str = field(default_factory=lambda: run("dpkg-architecture", "-qDEB_HOST_ARCH").strip())
    substitutions: list[str] = field(default_factory=list)

    @property
    def library(self) -> str:
        """The name of the library's package."""
        return f"libclarivid{self.abi}"

    def root(self, package: str) -> Path:
        """What becomes ``/`` of a package."""
        return self.folder / "debian" / package

    def lib(self, package: str) -> Path:
        """Its ``/usr/lib/<triplet>``."""
        return self.root(package) / "usr/lib" / self.triplet

    def put(self, source: Path, package: str, target: str, mode: int = 0o644) -> Path:
        """Copy a file to a path of a package."""
        path = self.root(package) / target
        path.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(source, path)
        path.chmod(mode)
        return path

    def write(self, text: str, package: str, target: str, mode: int = 0o644) -> None:
        """Write a file of a package; one whose name ends in .gz is compressed."""
        path = self.root(package) / target
        path.parent.mkdir(parents=True, exist_ok=True)
        data = text.encode()
        path.write_bytes(gzip.compress(data, mtime=0) if path.suffix == ".gz" else data)
        path.chmod(mode)

    def fill(self, text: str) -> str:
        """A template with what stands between @ signs."""
        licence = (ROOT / "LICENSE").read_text(encoding="utf-8").partition("\n\n")[2]
        licence = "\n".join(f" {line}" if line else " ." for line in licence.strip().splitlines())
        values = {"MAINTAINER": self.maintainer, "ABI": self.abi, "LICENSE": licence}
        return re.sub(r"@([A-Z]+)@", lambda found: values[found[1]], text)


def stage_library(build: Build) -> None:
    """Library and backends; OpenVINO, in a folder of its own."""
    files = library.Library.find().files
    (main,) = (file for file in files if re.fullmatch(r"libclarivid\.so\.\d+\.\d+", file.name))
    build.abi = main.name.partition(".so.")[2]
    name, lib = build.library, f"usr/lib/{build.triplet}"
    build.put(main, name, f"{lib}/{main.name}")
    for file in files:
        if BACKENDS.match(file.name):
            build.put(file, name, f"{lib}/clarivid/{file.name}")
    openvino = library.keep_openvino(cache_dir())
    if openvino is None:
        raise ToolError("OpenVINO is not installed beside clarivid: pip install openvino, then try again")
    for file in sorted(openvino.iterdir()):
        build.put(file, name, f"{lib}/clarivid/openvino/{file.name}")
    notices = [
        Path(str(file.locate()))
        for file in importlib.metadata.files("openvino") or []
        if file.name.endswith("third-party-programs.txt")
    ]
    if not notices:
        raise ToolError("the package openvino has no licences of others in it: its layout has changed")
    for notice in notices:
        target = f"usr/share/doc/{name}/OpenVINO-{notice.name}.gz"
        build.write(notice.read_text(encoding="latin-1"), name, target)
    third = ROOT / "LICENSE-THIRD-PARTY"
    build.write(third.read_text(encoding="utf-8"), name, f"usr/share/doc/{name}/{third.name}.gz")
    # Who links with it needs this version or a later one: while the major version is 0, functions are added.
    build.write(f"libclarivid {build.abi} {name} (>= {build.version})\n", name, "DEBIAN/shlibs")
    build.write("activate-noawait ldconfig\n", name, "DEBIAN/triggers")


def stage_models(build: Build) -> None:
    """The bundles, as they lie in models/."""
    for bundle in library.model_folders():
        for file in sorted(bundle.iterdir()):
            if file.name != "LICENSE":  # it stands in the copyright file
                build.put(file, "clarivid-models", f"usr/share/clarivid/models/{bundle.name}/{file.name}")


def stage_development(build: Build) -> None:
    """Header, link and clarivid.pc; the filters and patches for a source of FFmpeg."""
    name = "libclarivid-dev"
    lib = library.Library.find()
    build.put(lib.header, name, "usr/include/clarivid/clarivid.h")
    build.write(
        "prefix=/usr\n"
        f"libdir=${{prefix}}/lib/{build.triplet}\n"
        "includedir=${prefix}/include\n"
        "\n"
        "Name: clarivid\n"
        "Description: neural video filters\n"
        f"Version: {lib.version}\n"
        "Libs: -L${libdir} -lclarivid\n"
        "Cflags: -I${includedir}\n",
        name,
        f"usr/lib/{build.triplet}/pkgconfig/clarivid.pc",
    )
    (build.lib(name) / "libclarivid.so").symlink_to(f"libclarivid.so.{build.abi}")
    for kind, pattern in (("filters", "*.[ch]"), ("patches", "*.patch")):
        for file in library.shared_files(kind, pattern):
            build.put(file, name, f"usr/share/clarivid/{kind}/{file.name}")


def document(build: Build, package: str) -> None:
    """Copyright and changelog; what lintian is told not to mind."""
    folder = f"usr/share/doc/{package}"
    build.write(
        build.fill((TEMPLATES / "copyright").read_text(encoding="utf-8")), package, f"{folder}/copyright"
    )
    build.write((build.folder / "debian/changelog").read_text("utf-8"), package, f"{folder}/changelog.gz")
    name = re.sub(r"[\d.]+$", "", package)
    overrides = TEMPLATES / f"{name}.lintian-overrides"
    if overrides.is_file():
        text = overrides.read_text(encoding="utf-8").replace("@PACKAGE@", package)
        build.write(text, package, f"usr/share/lintian/overrides/{package}")


def depend(build: Build, package: str) -> None:
    """Have dpkg work out which packages' libraries it needs."""
    objects = [path for path in sorted(build.root(package).rglob("*")) if path.is_file() and _is_elf(path)]
    if not objects:
        return
    private = {f"-l{path.parent}" for path in objects if path.parent != build.lib(package)}
    run(
        "dpkg-shlibdeps",
        f"-Tdebian/{package}.substvars",
        f"-S{build.root(build.library)}",
        f"-l{build.lib(build.library)}",
        *sorted(private),
        f"-x{package}",
        "--ignore-missing-info",  # OpenVINO's libraries, which lie in this package
        "--warnings=0",
        *objects,
        cwd=build.folder,
    )


def _is_elf(path: Path) -> bool:
    with path.open("rb") as file:
        return file.read(4) == b"\x7fELF"


def finish(build: Build, package: str, out: Path, compression: str) -> Path:
    """md5sums, control, the times of the commit; then the package."""
    root = build.root(package)
    sums = "".join(
        f"{hashlib.md5(path.read_bytes()).hexdigest()}  {path.relative_to(root)}\n"
        for path in sorted(root.rglob("*"))
        if path.is_file() and not path.is_symlink() and "DEBIAN" not in path.relative_to(root).parts
    )
    build.write(sums, package, "DEBIAN/md5sums")
    run(
        *(
            "dpkg-gencontrol",
            f"-p{package}",
            f"-P{root}",
            f"-Tdebian/{package}.substvars",
            f"-v{build.version}",
        ),
        *(f"-V{value}" for value in build.substitutions),
        cwd=build.folder,
    )
    for path in [root, *root.rglob("*")]:
        if path.is_dir() and not path.is_symlink():
            path.chmod(0o755)
        os.utime(path, (int(epoch()), int(epoch())), follow_symlinks=False)
    arch = "all" if package == "clarivid-models" else build.arch
    name = f"{package}_{build.version.partition(':')[2] or build.version}_{arch}.deb"
    run("dpkg-deb", "--root-owner-group", *COMPRESSION[compression], "--build", root, out / name)
    return out / name


def build_all(build: Build, out: Path, dropin: Path | None, compression: str) -> list[Path]:
    """Every package, in ``out``."""
    stage_library(build)
    stage_models(build)
    stage_development(build)
    packages = [build.library, "clarivid-models", "libclarivid-dev"]
    if dropin is not None:
        build.substitutions += deb_dropin.stage(build, dropin)
        packages.append(deb_dropin.PACKAGE)
    debian = build.folder / "debian"
    (debian / "control").write_text(
        build.fill((TEMPLATES / "control").read_text(encoding="utf-8")), encoding="utf-8"
    )
    (debian / "changelog").write_text(
        f"clarivid ({build.version}) unstable; urgency=medium\n\n"
        "  * Built from clarivid's sources of this time.\n\n"
        f" -- {build.maintainer}  {formatdate(int(epoch()))}\n",
        encoding="utf-8",
    )
    for package in packages:
        document(build, package)
        depend(build, package)
    return [finish(build, package, out, compression) for package in packages]


def arguments() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--out", type=Path, default=ROOT / "out" / "dist", help="where the packages go")
    parser.add_argument("--dropin", type=Path, help="a folder that `clarivid ffmpeg dropin` made")
    parser.add_argument(
        "--version", help="the packages' version; default: the project's, with the commit's time"
    )
    parser.add_argument("--compression", choices=sorted(COMPRESSION), default="xz", help="none is for tests")
    return parser.parse_args()


def main() -> None:
    given = arguments()
    missing = [tool for tool in TOOLS if shutil.which(tool) is None]
    if missing:
        sys.exit(f"deb: {', '.join(missing)} is missing: install dpkg-dev, on Debian or Ubuntu")
    given.out.mkdir(parents=True, exist_ok=True)
    maintainer = os.environ.get("DEBFULLNAME", "clarivid maintainers")
    address = os.environ.get("DEBEMAIL", "maintainers@clarivid.invalid")
    with tempfile.TemporaryDirectory() as folder:
        work, made = Path(folder) / "work", Path(folder) / "made"
        (work / "debian").mkdir(parents=True)
        made.mkdir()
        try:
            build = Build(work, given.version or debian_version(), f"{maintainer} <{address}>")
            packages = build_all(build, made, given.dropin, given.compression)
        except Error as error:
            sys.exit(f"deb: {error}")
        # All of one build or none: packages of two builds side by side would be installed together.
        for old in [*given.out.glob("*clarivid*.deb"), given.out / "SHA256SUMS"]:
            old.unlink(missing_ok=True)
        sums = ""
        for package in packages:
            target = given.out / package.name
            shutil.move(package, target)
            sums += f"{hashlib.sha256(target.read_bytes()).hexdigest()}  {target.name}\n"
            print(f"{target} ({target.stat().st_size / (1 << 20):.1f} MiB)")
        (given.out / "SHA256SUMS").write_text(sums, encoding="utf-8")


if __name__ == "__main__":
    main()
