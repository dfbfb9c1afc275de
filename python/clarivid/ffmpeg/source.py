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
from clarivid.paths import sha256_of

SERIES = "7.1"
"""The release series that patches/ffmpeg-7.1.patch is for."""

KNOWN_VERSION = "7.1.5"
"""The point release that everything is tested with."""

KNOWN_SHA256 = {"7.1.5": "de668509caf9e35e3cd162473441fdb29538c6d96ed080292b3cf9e6fc5d558f"}
"""SHA-256 of upstream's .tar.xz, by version."""

_SUITE = "trixie"

# What a build leaves in a source tree: a folder that was built in before is taken without it.
_LEFTOVERS = shutil.ignore_patterns(
    ".git", "*.o", "*.d", "*.a", "*.so", "*.so.*", "*.pc", "*.version", "config.h", "config_components.h",
    "config.mak", "config.log", "config.fate", "ffmpeg", "ffmpeg_g", "ffprobe", "ffprobe_g", "ffplay",
    "ffplay_g", "*_list.c", "avconfig.h", "ffversion.h", ".config", ".version",
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
            _root(inner).rename(into)
        except (tarfile.TarError, EOFError, OSError) as error:
            raise ToolError(f"cannot unpack {self.path}: {error}") from error
        finally:
            shutil.rmtree(inner, ignore_errors=True)


def fetch(say: Callable[[str], None]) -> Source:
    """FFmpeg 7.1 from the Debian archive that this machine's apt uses.

    :param say: takes one line for the user, such as a note that the archive has moved on.

    Raises :class:`ToolError` when apt cannot fetch it or the suite has left the series, :class:`DigestError`
    when a release that we know has another digest.
    """
    package = packages.fetch_debian_source("ffmpeg", _SUITE)
    version = _upstream(package.version)
    known = KNOWN_SHA256.get(version)
    if known is not None and known != package.sha256:
        raise DigestError(
            f"the source of FFmpeg {version} from Debian {_SUITE} has SHA-256 {package.sha256}, expected "
            f"{known}; delete {package.root.parent} and try again, and if it happens again do not build it"
        )
    if not _is_series(version):
        raise ToolError(
            f"Debian {_SUITE} now carries FFmpeg {version}, not {SERIES}.x; give a {SERIES}.x source with "
            "--source"
        )
    if known is None:
        say(
            f"Debian {_SUITE} now carries FFmpeg {version}; tested was {KNOWN_VERSION}. apt has checked it "
            "against the signed index; going on with it."
        )
    return Source(_root(package.root), version, package.sha256, f"Debian {_SUITE}")


def open_source(path: Path) -> Source:
    """A source folder or tarball of the user's.

    Raises :class:`InputError` when it is none, or of another series.
    """
    if path.is_dir():
        version = _read_version(path)
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
    if not _is_series(version):
        raise InputError(
            f"'{path}' is FFmpeg {version}, but clarivid has a patch for {SERIES}.x only; give such a "
            "source, or leave --source out to have it fetched"
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


def _root(folder: Path) -> Path:
    """The folder itself, or the single folder in it, whichever holds FFmpeg's configure."""
    if (folder / "configure").is_file():
        return folder
    inner = [p for p in folder.iterdir() if (p / "configure").is_file()]
    if len(inner) != 1:
        raise ToolError(f"'{folder}' does not hold one FFmpeg source tree")
    return inner[0]


def _read_version(root: Path) -> str | None:
    if not (root / "configure").is_file():
        return None
    try:
        return (root / "RELEASE").read_text("ascii", "replace").strip()
    except OSError:
        return None


def _is_series(version: str) -> bool:
    return version == SERIES or version.startswith(SERIES + ".")


def _upstream(debian: str) -> str:
    """``7:7.1.5-0+deb13u1`` is upstream's ``7.1.5``."""
    return debian.rpartition(":")[2].partition("-")[0]


__all__ = ["KNOWN_VERSION", "SERIES", "Source", "fetch", "open_source"]
