# SPDX-License-Identifier: BSD-2-Clause
"""FFmpeg's source: from the Debian archive, or from a folder or tarball that the user has.

The Debian source package is the upstream tarball, fetched by apt, which checks it against the signed index.
Where we know the release we check our own digest as well.
"""

from __future__ import annotations

import hashlib
import re
import shutil
import tarfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from clarivid import packages
from clarivid.errors import DigestError, InputError, ToolError
from clarivid.ffmpeg.series import SERIES, Series, of
from clarivid.paths import sha256_of

# What a build leaves in a source tree: a folder that was built in before is taken without it.
_LEFTOVERS = shutil.ignore_patterns(
    ".git", "*.o", "*.d", "*.a", "*.so", "*.so.*", "*.pc", "*.version", "config.h", "config_components.h",
    "config.mak", "config.log", "config.fate", "ffmpeg", "ffmpeg_g", "ffprobe", "ffprobe_g", "ffplay",
    "ffplay_g", "avconfig.h", "ffversion.h", ".config", ".version",
    # configure's lists by name: FFmpeg has sources that are called so too (packet_list.c)
    "bsf_list.c", "codec_list.c", "demuxer_list.c", "filter_list.c", "indev_list.c", "muxer_list.c",
    "outdev_list.c", "parser_list.c", "protocol_list.c",
)  # fmt: skip


@dataclass(frozen=True)
class Source:
    """One FFmpeg source.

    ``path`` is a folder or a tarball, ``version`` such as ``"7.1.5"``, ``digest`` the SHA-256 of the tarball
    or of the folder's files, ``origin`` a word on where it is from.
    """

    path: Path
    version: str
    digest: str
    origin: str

    @property
    def series(self) -> Series:
        """The series that it is of."""
        found = of(self.version)
        assert found is not None
        return found

    def unpack(self, into: Path) -> None:
        """Put the source tree at ``into``, which must not exist. Raises :class:`ToolError`."""
        if self.path.is_dir():
            shutil.copytree(self.path, into, symlinks=True, ignore=_LEFTOVERS)
            return
        inner = into.with_name(into.name + ".unpacking")
        inner.mkdir(parents=True)
        try:
            with tarfile.open(self.path) as tar:
                if hasattr(tarfile, "data_filter"):
                    tar.extractall(inner, filter="data")
                else:
                    tar.extractall(inner)
            root_of(inner).rename(into)
        except (tarfile.TarError, EOFError, OSError) as error:
            raise ToolError(f"cannot unpack {self.path}: {error}") from error
        finally:
            shutil.rmtree(inner, ignore_errors=True)


def fetch(series: Series, say: Callable[[str], None]) -> Source:
    """The newest point release of a series that the Debian archive has, which this machine's apt uses.

    :param say: takes one line for the user, such as a note that the archive has moved on.

    Raises :class:`ToolError` when no suite has the series, when apt cannot fetch it or the suite has left it,
    :class:`DigestError` when a release that we know has another digest.
    """
    if series.suite is None:
        raise ToolError(f"no Debian suite carries FFmpeg {series.name}: give its source, with --source")
    package = packages.fetch_debian_source("ffmpeg", series.suite, release=series.name)
    version = _upstream(package.version)
    if version == series.tested and package.sha256 != series.sha256:
        raise DigestError(
            f"the source of FFmpeg {version} from Debian {series.suite} has SHA-256 {package.sha256}, "
            f"expected {series.sha256}; delete {package.root.parent} and try again, and if it happens again "
            "do not build it"
        )
    if of(version) != series:
        raise ToolError(
            f"Debian {series.suite} now carries FFmpeg {version}, not {series.name}.x; give a source of that "
            "series with --source"
        )
    if version != series.tested:
        say(
            f"Debian {series.suite} now carries FFmpeg {version}; tested was {series.tested}. apt has "
            "checked it against the signed index; going on with it."
        )
    return Source(root_of(package.root), version, package.sha256, f"Debian {series.suite}")


def open_source(path: Path) -> Source:
    """A source folder or tarball of the user's.

    Raises :class:`InputError` when it is none, or of another series.
    """
    if path.is_dir():
        version = read_version(path)
        if version is None:
            raise InputError(
                f"'{path}' is not FFmpeg's source: it has no file RELEASE or no configure; give the folder "
                "that holds FFmpeg's configure"
            )
        digest = _digest_of_folder(path)
    elif path.is_file():
        version, digest = _inspect_tarball(path)
    else:
        raise InputError(f"the FFmpeg source '{path}' does not exist; give a folder or a tarball")
    if of(version) is None:
        raise InputError(
            f"'{path}' is FFmpeg {version}, but clarivid has patches for {', '.join(SERIES)} only; give such "
            "a source, or leave --source out to have it fetched"
        )
    return Source(path.absolute(), version, digest, str(path))


def _inspect_tarball(path: Path) -> tuple[str, str]:
    try:
        with tarfile.open(path) as tar:
            release = next((m for m in tar if re.fullmatch(r"(\./)?[^/]+/RELEASE", m.name)), None)
            file = tar.extractfile(release) if release is not None else None
            if file is None:
                raise InputError(
                    f"'{path}' is a tarball, but not of FFmpeg's source: it holds no file RELEASE"
                )
            version = file.read(64).decode("ascii", "replace").strip()
    except (tarfile.TarError, EOFError, OSError) as error:
        raise InputError(
            f"cannot read '{path}' as a tarball ({error}); give FFmpeg's source as .tar.xz, .tar.gz, "
            ".tar.bz2 or a folder"
        ) from error
    return version, sha256_of(path)


def _digest_of_folder(root: Path) -> str:
    digest = hashlib.sha256()
    for path in sorted(root.rglob("*")):
        relative = path.relative_to(root)
        if any(_LEFTOVERS("", [part]) for part in relative.parts) or not path.is_file():
            continue
        digest.update(str(relative).encode() + b"\0" + hashlib.sha256(path.read_bytes()).digest())
    return digest.hexdigest()


def root_of(folder: Path) -> Path:
    """The folder itself, or the single folder in it, whichever holds FFmpeg's configure."""
    if (folder / "configure").is_file():
        return folder
    inner = [p for p in folder.iterdir() if (p / "configure").is_file()]
    if len(inner) != 1:
        raise ToolError(f"'{folder}' does not hold one FFmpeg source tree")
    return inner[0]


def read_version(root: Path) -> str | None:
    """The release that the source tree ``root`` is of, such as ``"7.1.5"``; None when it is none."""
    if not (root / "configure").is_file():
        return None
    try:
        return (root / "RELEASE").read_text("ascii", "replace").strip()
    except OSError:
        return None


def read_file(src: Source, name: str) -> str:
    """One file of a source as text, such as its ``configure``. Raises :class:`InputError` without it."""
    try:
        if src.path.is_dir():
            return (src.path / name).read_text("utf-8", "replace")
        with tarfile.open(src.path) as tar:
            member = next((m for m in tar if re.fullmatch(rf"(\./)?[^/]+/{re.escape(name)}", m.name)), None)
            file = tar.extractfile(member) if member is not None else None
            if file is not None:
                return file.read().decode("utf-8", "replace")
    except (tarfile.TarError, EOFError, OSError) as error:
        raise InputError(f"cannot read '{name}' in {src.path}: {error}") from error
    raise InputError(f"{src.path} holds no file '{name}'")


def _upstream(debian: str) -> str:
    """``7:7.1.5-0+deb13u1`` is upstream's ``7.1.5``."""
    return debian.rpartition(":")[2].partition("-")[0]


__all__ = ["Source", "fetch", "open_source", "read_file", "read_version", "root_of"]
