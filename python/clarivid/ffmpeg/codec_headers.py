# SPDX-License-Identifier: BSD-2-Clause
"""The headers with which FFmpeg calls NVIDIA's decoders, encoders and driver: ``ffnvcodec``, MIT licence.

FFmpeg opens the libraries themselves at run time: a build needs no CUDA and no GPU, and what was built starts
on a machine without a driver.
"""

from __future__ import annotations

import hashlib
import re
import tarfile
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from clarivid import packages
from clarivid.errors import InputError
from clarivid.ffmpeg.series import Series, numbers

_NEEDED = frozenset({"nvEncodeAPI.h", "dynlink_cuda.h", "dynlink_cuviddec.h", "dynlink_nvcuvid.h"})
_REMEDY = "give the folder or tarball of nv-codec-headers, as 'clarivid ffmpeg build' fetches it from Debian"


@dataclass(frozen=True)
class CodecHeaders:
    """``files`` (names and contents of ``ffnvcodec/*.h``) and ``version``, such as ``"12.1.14.0"``."""

    files: tuple[tuple[str, bytes], ...]
    version: str

    @property
    def digest(self) -> str:
        """SHA-256 over names and contents."""
        total = hashlib.sha256(self.version.encode())
        for name, data in self.files:
            total.update(name.encode() + b"\0" + hashlib.sha256(data).digest())
        return total.hexdigest()

    def write_prefix(self, prefix: Path) -> None:
        """Write ``include/ffnvcodec/`` and ``lib/pkgconfig/ffnvcodec.pc`` below ``prefix``.

        The .pc file is for builds that run in the folder above it. Headers that are the same keep their time.
        """
        folder = prefix / "include" / "ffnvcodec"
        folder.mkdir(parents=True, exist_ok=True)
        for name, data in self.files:
            if not (folder / name).is_file() or (folder / name).read_bytes() != data:
                (folder / name).write_bytes(data)
        pc = prefix / "lib" / "pkgconfig" / "ffnvcodec.pc"
        pc.parent.mkdir(parents=True, exist_ok=True)
        pc.write_text(
            f"prefix={prefix.name}\n"
            "includedir=${prefix}/include\n"
            "\n"
            "Name: ffnvcodec\n"
            "Description: headers of NVIDIA's codec interfaces\n"
            f"Version: {self.version}\n"
            "Cflags: -I${includedir}\n",
            "utf-8",
        )


def fetch(series: Series) -> CodecHeaders:
    """The headers for a series, from the Debian archive that this machine's apt uses.

    Raises :class:`ToolError`.
    """
    return open_headers(packages.fetch_deb("libffmpeg-nvenc-dev", suite=series.headers_suite).root, series)


def open_headers(path: Path, series: Series) -> CodecHeaders:
    """The headers in a folder or tarball: the source of nv-codec-headers, or where they are installed.

    Raises :class:`InputError` when there are none, or when ``series`` does not take them.
    """
    if path.is_dir():
        found = _choose((str(p.relative_to(path)), p.read_bytes()) for p in _candidates(path))
    elif path.is_file():
        try:
            with tarfile.open(path) as tar:
                found = _choose(
                    (member.name, file.read())
                    for member in tar
                    if _is_wanted(member.name) and (file := tar.extractfile(member)) is not None
                )
        except (tarfile.TarError, EOFError, OSError) as error:
            raise InputError(f"cannot read '{path}' as a tarball ({error}); {_REMEDY}") from error
    else:
        raise InputError(f"'{path}' does not exist; {_REMEDY}")
    files, version = found
    missing = sorted(_NEEDED - files.keys())
    if missing or not version:
        what = ", ".join(missing) if missing else "ffnvcodec.pc.in, which names the version"
        raise InputError(f"'{path}' does not hold ffnvcodec's headers: no {what}; {_REMEDY}")
    if not series.headers_least <= numbers(version) < series.headers_below:
        least = ".".join(map(str, series.headers_least))
        below = f", older than {series.headers_below[0]}" if series.headers_below < (99,) else ""
        raise InputError(
            f"the headers in '{path}' are ffnvcodec {version}, but FFmpeg {series.name} needs {least} or "
            f"newer{below}"
        )
    return CodecHeaders(tuple(sorted(files.items())), version)


def _is_wanted(name: str) -> bool:
    path = PurePosixPath(name)
    return path.name in {"ffnvcodec.pc", "ffnvcodec.pc.in"} or (
        path.suffix == ".h" and path.parent.name == "ffnvcodec"
    )


def _candidates(root: Path) -> list[Path]:
    return sorted(p for p in root.rglob("*") if p.is_file() and _is_wanted(p.as_posix()))


def _choose(contents: Iterable[tuple[str, bytes]]) -> tuple[dict[str, bytes], str]:
    files: dict[str, bytes] = {}
    version = ""
    for name, data in contents:
        if name.endswith(".h"):
            files.setdefault(PurePosixPath(name).name, data)
        else:
            found = re.search(rb"^Version: (\d+(?:\.\d+)+)\s*$", data, re.MULTILINE)
            version = version or (found[1].decode() if found else "")
    return files, version


__all__ = ["CodecHeaders", "fetch", "open_headers"]
