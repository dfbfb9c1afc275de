# SPDX-License-Identifier: BSD-2-Clause
"""What a build of FFmpeg takes from clarivid itself: header, libraries, models, and the runtimes they load.

Everything is copied, so that a built ffmpeg goes on working when the checkout or the .venv it came from is
gone.
"""

from __future__ import annotations

import hashlib
import importlib.metadata
import importlib.util
import re
import shutil
import tempfile
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from clarivid.errors import ToolError
from clarivid.paths import prefix_dirs, share_dirs

_RUNTIME_FILES = (
    "libopenvino.so*",
    "libopenvino_intel_cpu_plugin.so*",
    "libopenvino_onnx_frontend.so*",
    "libtbb*.so*",
    "libhwloc.so*",
)


@dataclass(frozen=True)
class Library:
    """One installed libclarivid: ``header`` (clarivid.h), ``files`` (libclarivid*.so*, links included)."""

    header: Path
    files: tuple[Path, ...]

    @classmethod
    def find(cls) -> Library:
        """The one that this Python package came with. Raises :class:`ToolError` when it was not built."""
        for prefix in prefix_dirs():
            header = prefix / "include" / "clarivid" / "clarivid.h"
            files = tuple(sorted((prefix / "lib").glob("libclarivid*.so*")))
            if header.is_file() and files:
                return cls(header, files)
        raise ToolError(
            "libclarivid is not installed beside the Python package; in a checkout run 'make setup', "
            "elsewhere 'pip install clarivid'"
        )

    @property
    def version(self) -> str:
        """``"0.1.0"``, read from the header."""
        text = self.header.read_text("utf-8")
        parts = [
            re.search(rf"#define CLV_VERSION_{part} (\d+)", text) for part in ("MAJOR", "MINOR", "PATCH")
        ]
        return ".".join(m.group(1) for m in parts if m)

    def write_prefix(self, prefix: Path) -> None:
        """Copy header and libraries to ``prefix`` and write ``lib/pkgconfig/clarivid.pc`` for it.

        The .pc file is for builds that run in the folder above it: relative paths survive a space in the
        path of the cache.
        Files that are the same already keep their time, so that nothing is compiled again for them.
        """
        copy_if_changed([self.header], prefix / "include" / "clarivid")
        copy_if_changed(self.files, prefix / "lib")
        # A Python package holds no links; the linker looks for this name.
        link = prefix / "lib" / "libclarivid.so"
        if not any(file.name == link.name for file in self.files):
            link.unlink(missing_ok=True)
            link.symlink_to(next(file.name for file in self.files if file.name.startswith(f"{link.name}.")))
        pc = prefix / "lib" / "pkgconfig" / "clarivid.pc"
        pc.parent.mkdir(parents=True, exist_ok=True)
        pc.write_text(
            f"prefix={prefix.name}\n"
            "libdir=${prefix}/lib\n"
            "includedir=${prefix}/include\n"
            "\n"
            "Name: clarivid\n"
            "Description: neural video filters\n"
            f"Version: {self.version}\n"
            "Libs: -L${libdir} -lclarivid\n"
            "Cflags: -I${includedir}\n",
            "utf-8",
        )


PKG_CONFIG_STUB = """\
#!/bin/sh
# Stands in for pkg-config where there is none: it knows the packages of this build only.
prefix=$(dirname "$0")/..
action= name=
for word in "$@"; do
    case $word in
    --version) echo 1.0 && exit ;;
    --exists | --cflags | --libs | --variable=includedir) action=$word ;;
    -*) ;;
    *) name=${name:-${word%% *}} ;;
    esac
done
[ -f "$prefix/lib/pkgconfig/$name.pc" ] || exit 1
case $action in
--cflags) echo "-I$prefix/include" ;;
--libs) [ "$name" != clarivid ] || echo "-L$prefix/lib -lclarivid" ;;
--variable=includedir) echo "$prefix/include" ;;
esac
"""
"""What a bare build has for pkg-config; it lies in ``bin/`` of the prefix."""


def shared_files(kind: str, pattern: str = "*") -> list[Path]:
    """The files of ``filters`` or ``patches`` that match, sorted. Raises :class:`ToolError` when none do."""
    for folder in share_dirs(kind):
        found = sorted(p for p in folder.glob(pattern) if p.is_file())
        if found:
            return found
    raise ToolError(f"the folder '{kind}' of clarivid is missing or empty; install the package again")


def has_shared_file(kind: str, name: str) -> bool:
    """Whether ``filters`` or ``patches`` has that file."""
    return any((folder / name).is_file() for folder in share_dirs(kind))


def model_folders() -> list[Path]:
    """The bundles that come with clarivid, one folder each, sorted by name."""
    found: dict[str, Path] = {}
    for folder in share_dirs("models"):
        for bundle in folder.iterdir():
            if (bundle / "model.onnx").is_file():
                found.setdefault(bundle.name, bundle)
    return [found[name] for name in sorted(found)]


def digest(paths: Iterable[Path]) -> str:
    """SHA-256 over names and contents; folders with all below them, links by where they lead."""
    total = hashlib.sha256()
    for path in paths:
        for file in sorted(path.rglob("*")) if path.is_dir() else [path]:
            name = str(file.relative_to(path.parent)).encode()
            if file.is_symlink():
                total.update(name + b"\0link\0" + str(file.readlink()).encode() + b"\0")
            elif file.is_file():
                total.update(name + b"\0" + hashlib.sha256(file.read_bytes()).digest())
    return total.hexdigest()


def copy_if_changed(files: Iterable[Path], into: Path) -> None:
    """Copy files and links into a folder; a file that is there with the same bytes is left alone."""
    into.mkdir(parents=True, exist_ok=True)
    for file in files:
        target = into / file.name
        if file.is_symlink():
            target.unlink(missing_ok=True)
            target.symlink_to(file.readlink())
        elif target.is_symlink() or not target.is_file() or target.read_bytes() != file.read_bytes():
            target.unlink(missing_ok=True)
            shutil.copyfile(file, target)


def keep_openvino(cache: Path) -> Path | None:
    """Copy the OpenVINO of this Python to ``runtimes/openvino-<version>`` in the cache, once.

    :return: that folder; None when this Python has no OpenVINO.
    """
    spec = importlib.util.find_spec("openvino")
    if spec is None or not spec.submodule_search_locations:
        return None
    libs = Path(next(iter(spec.submodule_search_locations))) / "libs"
    folder = cache / "runtimes" / f"openvino-{importlib.metadata.version('openvino')}"
    if folder.is_dir():
        return folder
    folder.parent.mkdir(parents=True, exist_ok=True)
    work = Path(tempfile.mkdtemp(prefix=f".{folder.name}.", dir=folder.parent))
    try:
        for pattern in _RUNTIME_FILES:
            copy_if_changed(libs.glob(pattern), work)
        work.chmod(0o755)
        try:
            work.rename(folder)
        except OSError:
            if not folder.is_dir():  # else another process was first, with the same files
                raise
    finally:
        shutil.rmtree(work, ignore_errors=True)
    return folder


__all__ = [
    "PKG_CONFIG_STUB",
    "Library",
    "copy_if_changed",
    "digest",
    "has_shared_file",
    "keep_openvino",
    "model_folders",
    "shared_files",
]
