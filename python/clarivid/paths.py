# SPDX-License-Identifier: BSD-2-Clause
"""Where clarivid keeps and finds its files.

Three places matter: the *cache* (everything that can be made again), the *package* folder (an install prefix
with ``lib/``, ``include/`` and ``share/`` inside), and, for developers, the *checkout*.
"""

from __future__ import annotations

import hashlib
import os
from pathlib import Path


def cache_dir() -> Path:
    """Return the cache folder, an absolute path that need not exist yet.

    ``CLARIVID_CACHE``, else ``$XDG_CACHE_HOME/clarivid``, else ``~/.cache/clarivid``. Its sub-folders are
    ``packages``, ``ffmpeg``, ``runtimes``, ``data``, ``logs``, ``build`` and ``clips``; all of it may be
    deleted at any time and is made again when needed.
    """
    own = os.environ.get("CLARIVID_CACHE")
    if own:
        return Path(own).expanduser().absolute()
    xdg = os.environ.get("XDG_CACHE_HOME")
    # The XDG specification says that a relative path in XDG_CACHE_HOME is to be ignored.
    if xdg and Path(xdg).is_absolute():
        return Path(xdg) / "clarivid"
    return Path.home() / ".cache" / "clarivid"


def package_dir() -> Path:
    """Return the folder of the installed Python sources (``.../clarivid``)."""
    return Path(__file__).resolve().parent


def checkout_dir() -> Path | None:
    """Return the root of the checkout that this package runs from, None when it was installed as a wheel."""
    root = package_dir().parent.parent
    if (root / "pyproject.toml").is_file() and (root / "csrc").is_dir():
        return root
    return None


def prefix_dirs() -> list[Path]:
    """Return the install prefixes that may hold ``lib/``, ``include/`` and ``share/``, best first.

    A wheel has everything in the package folder. An editable install keeps the Python sources in the checkout
    and the built files in site-packages, so both folders called ``clarivid`` are looked at.
    """
    found = [package_dir()]
    import clarivid

    for entry in getattr(clarivid, "__path__", []):
        folder = Path(entry).resolve()
        if folder not in found:
            found.append(folder)
    import sysconfig

    site = Path(sysconfig.get_path("platlib")) / "clarivid"
    if site.is_dir() and site.resolve() not in found:
        found.append(site.resolve())
    return found


def share_dirs(kind: str) -> list[Path]:
    """Return the existing folders that hold shared files of one kind, best first.

    :param kind: ``"models"``, ``"filters"`` or ``"patches"``.

    In a checkout the sources come first, so that an edit counts at once.
    """
    candidates = [prefix / "share" / "clarivid" / kind for prefix in prefix_dirs()]
    root = checkout_dir()
    if root is not None:
        candidates.insert(0, root / kind)
    return [folder for folder in candidates if folder.is_dir()]


def sha256_of(path: Path) -> str:
    """The SHA-256 of a file in lower-case hexadecimal. Raises :class:`OSError`."""
    digest = hashlib.sha256()
    with path.open("rb") as stream:
        while block := stream.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


__all__ = ["cache_dir", "checkout_dir", "package_dir", "prefix_dirs", "sha256_of", "share_dirs"]
