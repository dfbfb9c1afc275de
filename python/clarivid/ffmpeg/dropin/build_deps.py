# SPDX-License-Identifier: BSD-2-Clause
"""Development files of external libraries: those that the machine has, and those fetched for a drop-in.

Fetched ones are unpacked into a folder of the cache; nothing is installed, and no root is needed. What runs
later are the libraries that the stock ffmpeg has brought itself.
"""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass
from pathlib import Path

from clarivid.apt import Archive
from clarivid.errors import ToolError
from clarivid.ffmpeg.dropin.externals import EXTERNALS, External

LINK = "clarivid-prefix/deps"
"""Where the folder is seen from FFmpeg's tree: FFmpeg's configure takes no paths with spaces."""

_SYSTEM = "system.txt"


@dataclass(frozen=True)
class Headers:
    """Where development files are looked for: in ``root`` (None: nothing was fetched), then in the system."""

    root: Path | None = None

    @property
    def key(self) -> str:
        """What tells one folder from another."""
        return "" if self.root is None else self.root.name

    def missing(self, names: Iterable[str]) -> list[str]:
        """Those of configure's external libraries whose development files are not there."""
        return [name for name in names if not self._has(name, EXTERNALS.get(name))]

    def pkg_config_path(self) -> str:
        """For ``PKG_CONFIG_PATH``."""
        if self.root is None:
            return ""
        return ":".join(str(self.root / place / "pkgconfig") for place in (*_library_folders(), "usr/share"))

    def flags(self) -> list[str]:
        """The options of configure that let it find them; for a tree with :data:`LINK`."""
        if self.root is None:
            return []
        flags = [f"--extra-cflags=-I{LINK}/{folder}" for folder in _header_folders()]
        for folder in (*_library_folders(), *self._compiler_folders()):
            flags.append(f"--extra-ldflags=-L{LINK}/{folder} -Wl,-rpath-link,{LINK}/{folder}")
        return flags

    def clang(self) -> str | None:
        """A script that runs a clang; None without one."""
        inside = [] if self.root is None else sorted(self.root.glob("usr/bin/clang*"))
        own = next((p for p in inside if re.fullmatch(r"clang(-\d+)?", p.name) and p.exists()), None)
        if own is None:
            found = shutil.which("clang") or _numbered_clang()
            return None if found is None else f'#!/bin/sh\nexec {found} "$@"\n'
        libraries = [f"$deps/{folder}" for folder in _library_folders()]
        libraries += [f"$deps/{p.relative_to(self.root)}" for p in self.root.glob("usr/lib/llvm-*/lib")]  # type: ignore[union-attr,arg-type]
        return (
            '#!/bin/sh\ndeps=$(dirname "$0")/../deps\n'
            f'LD_LIBRARY_PATH="{":".join(libraries)}" exec "$deps/usr/bin/{own.name}" "$@"\n'
        )

    def _compiler_folders(self) -> list[str]:
        """Where a compiler's own libraries lie that was fetched, such as libstdc++.so."""
        if self.root is None:
            return []
        return sorted(str(path.relative_to(self.root)) for path in self.root.glob("usr/lib/gcc/*/*"))

    def _has_cplusplus(self) -> bool:
        if any(
            (self.root / folder / "libstdc++.so").exists() for folder in self._compiler_folders() if self.root
        ):
            return True
        done = subprocess.run(
            ["gcc", "-print-file-name=libstdc++.so"], capture_output=True, text=True, check=False
        )
        return Path(done.stdout.strip()).is_absolute()

    def _has(self, name: str, external: External | None) -> bool:
        if external is None:  # of a series that is newer than the table: pkg-config may know it
            return _pkg_config(name, self) or _pkg_config(name.removeprefix("lib"), self)
        if external.cplusplus and not self._has_cplusplus():
            return False
        if external.program:
            return self.clang() is not None
        if external.header:
            folders = [Path("/usr/local/include"), Path("/usr/include"), Path("/usr/include") / _triplet()]
            if self.root is not None:
                folders += [self.root / folder for folder in _header_folders()]
            return any((folder / external.header).is_file() for folder in folders)
        return all(_pkg_config(module, self) for module in external.modules)


def packages_of(names: Iterable[str]) -> list[str]:
    """The packages that bring external libraries, sorted; without those that no package is known for."""
    return sorted({package for name in names if name in EXTERNALS for package in EXTERNALS[name].packages})


def fetched_before(names: Collection[str], home: Path) -> Headers | None:
    """What was fetched for an earlier drop-in, when it has all of ``names`` and still fits this system."""
    folders = sorted(home.glob("deps-*"), key=lambda path: path.stat().st_mtime, reverse=True)
    for folder in folders:
        headers = Headers(folder)
        try:
            fits = (folder / _SYSTEM).read_text("utf-8") == _system()
        except OSError:
            continue
        links = [p for place in _library_folders() for p in (folder / place).glob("lib*.so")]
        if fits and all(link.exists() for link in links) and not headers.missing(names):
            os.utime(folder)
            return headers
    return None


def _system() -> str:
    """The release of the distribution and the processor: headers of another one do not count."""
    try:
        lines = Path("/etc/os-release").read_text("utf-8", "replace").splitlines()
    except OSError:
        lines = []
    named = sorted(line for line in lines if line.startswith(("ID=", "VERSION_ID=", "VERSION_CODENAME=")))
    return "\n".join([*named, os.uname().machine]) + "\n"


def fetch(names: Collection[str], archive: Archive, home: Path, say: Callable[[str], None]) -> Headers:
    """Fetch the development files of ``names`` and all that these need, and unpack them.

    :param home: the folder to keep them in, as ``deps-<key>``. Raises :class:`ToolError`.
    """
    packages = archive.known(packages_of(names))
    if not packages:
        return Headers()
    plan = archive.plan(packages)
    if not plan:
        return Headers()
    folder = home / f"deps-{hashlib.sha256(' '.join(plan).encode()).hexdigest()[:16]}"
    if folder.is_dir():
        os.utime(folder)
        return Headers(folder)
    home.mkdir(parents=True, exist_ok=True)
    work = Path(tempfile.mkdtemp(prefix=".deps.", dir=home))
    try:
        debs = archive.missing(packages, work / "debs")
        size = sum(deb.stat().st_size for deb in debs)
        say(f"fetched {len(debs)} packages with headers, {size / 1e6:.0f} MB; nothing was installed")
        (work / "root").mkdir()
        for deb in debs:
            _unpack(deb, work / "root")
        _mend(work / "root")
        (work / "root" / "packages.txt").write_text("\n".join(plan) + "\n", "utf-8")
        (work / "root" / _SYSTEM).write_text(_system(), "utf-8")
        (work / "root").rename(folder)
    finally:
        shutil.rmtree(work, ignore_errors=True)
    return Headers(folder)


def _unpack(deb: Path, root: Path) -> None:
    done = subprocess.run(
        ["dpkg-deb", "-x", str(deb), str(root)], capture_output=True, text=True, errors="replace", check=False
    )
    if done.returncode != 0:
        raise ToolError(f"cannot unpack {deb.name}: {done.stderr.strip()}")


def _mend(root: Path) -> None:
    """Let links and pkg-config's files lead to where things are now."""
    if (root / "lib").is_dir() and not (root / "lib").is_symlink():  # a merged /usr
        shutil.copytree(root / "lib", root / "usr/lib", symlinks=True, dirs_exist_ok=True)
    for path in [p for p in root.rglob("*") if p.is_symlink()]:
        target = path.readlink()
        meant = Path("/") / path.parent.relative_to(root) / target  # as it would be when installed
        inside = root / os.path.normpath(meant).lstrip("/")
        if target.is_absolute() and inside.exists():
            path.unlink()
            path.symlink_to(os.path.relpath(inside, path.parent))
        elif not path.exists() and meant.exists():  # libass.so leads to the library that is installed
            path.unlink()
            path.symlink_to(meant)
    for path in [*root.rglob("pkgconfig/*.pc")]:
        if path.is_file():
            text = path.read_text("utf-8", "replace")
            mended = re.sub(r"(?<![\w.}/-])/usr(?=/|\s|$)|(?<=-[IL])/usr(?=/|\s|$)", f"{LINK}/usr", text)
            if path.is_symlink():
                path.unlink()
            path.write_text(mended, "utf-8")


def _pkg_config(module: str, headers: Headers) -> bool:
    env = dict(os.environ)
    env["PKG_CONFIG_PATH"] = ":".join(filter(None, [headers.pkg_config_path(), env.get("PKG_CONFIG_PATH")]))
    return subprocess.run(["pkg-config", "--exists", module], env=env, check=False).returncode == 0


def _numbered_clang() -> str | None:
    """A clang that is there under its release's name only."""
    names = {
        path.name
        for folder in os.environ.get("PATH", "").split(":")
        for path in Path(folder or "/nonexistent").glob("clang-*")
        if re.fullmatch(r"clang-\d+", path.name)
    }
    newest = max(names, key=lambda name: int(name.partition("-")[2]), default=None)
    return None if newest is None else shutil.which(newest)


def _triplet() -> str:
    """``x86_64-linux-gnu``: the folder of this architecture's files on Debian; empty elsewhere."""
    try:
        done = subprocess.run(["gcc", "-print-multiarch"], capture_output=True, text=True, check=False)
    except OSError:
        return ""
    return done.stdout.strip()


def _header_folders() -> list[str]:
    return list(dict.fromkeys(["usr/include", f"usr/include/{_triplet()}".rstrip("/")]))


def _library_folders() -> list[str]:
    return list(dict.fromkeys([f"usr/lib/{_triplet()}".rstrip("/"), "usr/lib"]))


__all__ = ["LINK", "Headers", "fetch", "packages_of"]
