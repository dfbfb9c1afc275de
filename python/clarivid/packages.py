# SPDX-License-Identifier: BSD-2-Clause
"""Fetch distribution packages that serve as data: pictures, clips, sources, runtimes.

clarivid downloads nothing but packages, through the tools that a machine already trusts:
``apt-get`` (which checks every file against the signed index) and ``pip``. Each package is
unpacked below :func:`clarivid.paths.cache_dir`\\ ``/packages/<kind>-<name>[-<version>]/``::

    package.json     name, kind, version, archive's name and SHA-256, where the licence is
    archive/         the file as it was downloaded
    tree/            the same, unpacked: Package.root

A package is made in a temporary folder and renamed into place, so a folder that is there is
complete. Asking again returns it without touching the network; several processes may ask at once.
"""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from clarivid import apt
from clarivid.errors import ToolError
from clarivid.paths import cache_dir, sha256_of

__all__ = [
    "Package",
    "apt_mirror",
    "containing",
    "fetch_deb",
    "fetch_debian_source",
    "fetch_patched_source",
    "fetch_pypi",
]

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9+._-]*")
# As root, apt would drop to the user _apt, who cannot write into a private temporary folder.
_SANDBOX = ("-oAPT::Sandbox::User=root",)
_SUITE = re.compile(r"[a-z][a-z0-9-]*")


@dataclass(frozen=True)
class Package:
    """One unpacked package.

    ``root`` is the unpacked tree, ``licence`` the file with its licence (None when it has none),
    ``sha256`` the digest of the archive as downloaded.
    """

    kind: str
    name: str
    version: str
    root: Path
    sha256: str
    licence: Path | None

    def find(self, glob: str) -> list[Path]:
        """Files below ``root`` that match ``glob`` (``**`` allowed), sorted by path."""
        return sorted(p for p in self.root.glob(glob) if p.is_file())

    def one(self, glob: str) -> Path:
        """The single file that matches ``glob``; a :class:`ToolError` if it is not exactly one."""
        found = self.find(glob)
        if len(found) != 1:
            raise ToolError(
                f"package {self.name} {self.version} has {len(found)} files that match "
                f"'{glob}', expected one; the package may have changed"
            )
        return found[0]

    def licence_text(self) -> str:
        """The licence file's text, empty when the package has none."""
        return self.licence.read_text("utf-8", "replace") if self.licence else ""


def fetch_deb(name: str, version: str | None = None, *, suite: str | None = None) -> Package:
    """A Debian binary package, from the sources this machine's apt is configured with.

    ``version`` pins it (``apt-get download name=version``); ``suite`` takes it from that suite of the same
    mirror, as :func:`fetch_debian_source` does. The licence is ``usr/share/doc/<name>/copyright``. Raises
    :class:`ToolError` when apt is missing or has no such package.
    """
    _check_name(name)
    _check_suite(suite)

    def make(work: Path) -> tuple[str, Path]:
        _need("apt-get", "dpkg-deb")
        target = f"{name}={version}" if version else name
        options = [*_SANDBOX, "-q"] if suite is None else _suite_options("deb", apt_mirror()[0], suite)
        _run(
            ["apt-get", *options, "download", target],
            cwd=work / "archive",
            hint=f"check the name with 'apt-cache policy {name}' and run 'apt-get update' as root if "
            "the package lists are old",
        )
        archive = _single(work / "archive", "*.deb", name)
        _run(["dpkg-deb", "-x", str(archive), str(work / "tree")], cwd=work)
        return _output(["dpkg-deb", "-f", str(archive), "Version"]), archive

    return _fetch("deb", name, "-".join(filter(None, [suite, _file_safe(version)])) or None, make)


def fetch_debian_source(
    name: str, suite: str | None = None, version: str | None = None, *, release: str | None = None
) -> Package:
    """The upstream (``.orig``) tarballs of a Debian source package, unpacked.

    ``suite`` is a Debian suite (``trixie``, ``sid``); the default is the first one in apt's
    configuration. ``version`` pins the exact source version, epoch included; ``release`` takes the newest
    whose upstream version is that or a point release of it (``8.1``). The mirror and the
    keyring are those of apt's configuration; the package lists are kept in the cache, apart from
    the machine's own, so neither root nor a ``deb-src`` line is needed.
    """
    _check_name(name)
    mirror, default_suite = apt_mirror()
    suite = suite or default_suite
    _check_suite(suite)

    def make(work: Path) -> tuple[str, Path]:
        _need("apt-get")
        options = _suite_options("deb-src", mirror, suite)
        pinned = _newest(options, name, suite, release) if release else version
        target = f"{name}={pinned}" if pinned else name
        _run(
            ["apt-get", *options, "source", "--download-only", "--tar-only", target],
            cwd=work / "archive",
            hint=f"suite '{suite}' may have moved to another version: 'apt-cache policy {name}' or "
            "the distribution's package pages tell which one it has now",
        )
        archives = sorted(
            p
            for p in (work / "archive").iterdir()
            if ".orig" in p.name and ".tar." in p.name and p.suffix not in {".asc", ".sig"}
        )
        if not archives:
            archives = [_single(work / "archive", "*.tar.*", name)]
        for archive in archives:
            component = re.search(r"\.orig-([A-Za-z0-9-]+)\.tar", archive.name)
            _unpack_tar(archive, work / "tree" / component.group(1) if component else work / "tree")
        main = next((a for a in archives if ".orig.tar." in a.name), archives[0])
        found = pinned or re.sub(r"^[^_]*_|\.orig.*$|\.tar.*$", "", main.name)
        return found, main

    return _fetch("debsrc", name, "-".join(filter(None, [suite, _file_safe(release or version)])), make)


def fetch_patched_source(name: str, version: str, package: str) -> Package:
    """A source package of exactly that version as the distribution builds it: with its own patches.

    ``package`` is a binary package of it; the archives of whoever publishes that are asked
    (:mod:`clarivid.apt`). ``sha256`` is that of the .dsc file, which holds the digests of the rest.
    """
    _check_name(name)

    def make(work: Path) -> tuple[str, Path]:
        with apt.archive(package) as archive:
            archive.source(name, version, work / "archive")
        dsc = _single(work / "archive", "*.dsc", name)
        tarballs = [p for p in (work / "archive").iterdir() if re.search(r"\.tar\.[a-z0-9]+$", p.name)]
        changes = [p for p in tarballs if ".debian.tar." in p.name]
        for tarball in tarballs:
            if tarball not in changes:
                _unpack_tar(tarball, work / "tree")
        root = next((p for p in (work / "tree").iterdir() if p.is_dir()), work / "tree")
        for tarball in changes:
            _unpack_tar(tarball, root)
        _apply_series(root)
        return version, dsc

    return _fetch("patched", name, _file_safe(version), make)


def _apply_series(root: Path) -> None:
    """Apply the patches of a Debian source package (format 3.0, quilt)."""
    patches = root / "debian" / "patches"
    try:
        lines = (patches / "series").read_text("utf-8").splitlines()
    except OSError:
        return
    _need("patch")
    for line in lines:
        words = line.partition("#")[0].split()
        if words:
            strip = next((word for word in words[1:] if word.startswith("-p")), "-p1")
            _run(["patch", strip, "--forward", "--batch", "-s", "-i", str(patches / words[0])], cwd=root)


def fetch_pypi(name: str, version: str) -> Package:
    """A PyPI package without its dependencies: the sdist or wheel that ``pip download`` takes.

    Wheels are unpacked as zip files, nothing is installed and no build is run for wheels.
    """
    _check_name(name)
    if not re.fullmatch(r"[0-9A-Za-z.!+_-]+", version):
        raise ToolError(f"'{version}' is not a version of a Python package")

    def make(work: Path) -> tuple[str, Path]:
        base = [
            sys.executable,
            "-m",
            "pip",
            "download",
            "--no-deps",
            "--disable-pip-version-check",
            "-q",
            "--dest",
            str(work / "archive"),
            f"{name}=={version}",
        ]
        try:
            _run([*base, "--only-binary=:all:"], cwd=work)
        except ToolError:
            _run(base, cwd=work, hint="check the name and the version, and that pip reaches its index")
        archive = _single(work / "archive", "*", name)
        if archive.suffix in {".whl", ".zip"}:
            _unpack_zip(archive, work / "tree")
        else:
            _unpack_tar(archive, work / "tree")
        return version, archive

    return _fetch("pypi", name, version, make)


def containing(file: Path) -> Package | None:
    """The fetched package that ``file`` belongs to; None when it is of none."""
    folder = next((f for f in file.parents if (f / "package.json").is_file()), None)
    return _load(folder) if folder else None


def _fetch(kind: str, name: str, version: str | None, make: Callable[[Path], tuple[str, Path]]) -> Package:
    folder = cache_dir() / "packages" / "-".join(x for x in (kind, name, _file_safe(version)) if x)
    if (folder / "package.json").is_file():
        return _load(folder)
    folder.parent.mkdir(parents=True, exist_ok=True)
    work = Path(tempfile.mkdtemp(prefix=f".{folder.name}.", dir=folder.parent))
    try:
        for sub in ("archive", "tree"):
            (work / sub).mkdir()
        found, archive = make(work)
        licence = _licence(work / "tree", kind, name)
        record = {
            "kind": kind,
            "name": name,
            "version": found,
            "archive": archive.name,
            "sha256": sha256_of(archive),
            "licence": str(licence.relative_to(work)) if licence else None,
        }
        (work / "package.json").write_text(json.dumps(record, indent=1) + "\n", "utf-8")
        try:
            work.rename(folder)
        except OSError:
            if not (folder / "package.json").is_file():  # left by a crash of an older version
                shutil.rmtree(folder, ignore_errors=True)
                work.rename(folder)
    finally:
        shutil.rmtree(work, ignore_errors=True)
    return _load(folder)


def _load(folder: Path) -> Package:
    try:
        record = json.loads((folder / "package.json").read_text("utf-8"))
        licence = folder / record["licence"] if record["licence"] else None
        return Package(
            record["kind"], record["name"], record["version"], folder / "tree", record["sha256"], licence
        )
    except (ValueError, KeyError) as error:
        raise ToolError(
            f"{folder}/package.json is damaged ({error}); remove the folder and try again"
        ) from error


def _licence(tree: Path, kind: str, name: str) -> Path | None:
    """The licence file: debian/copyright for a .deb, the shallowest COPYING-like file otherwise."""
    if kind == "deb":
        doc = tree / "usr/share/doc" / name / "copyright"
        if doc.is_file():
            return doc
        others = sorted(tree.glob("usr/share/doc/*/copyright"))
        return others[0] if others else None
    pattern = re.compile(r"(?i)^(copying|licen[cs]e|copyright)")
    found = [
        p
        for depth in ("*", "*/*", "*/*/*")
        for p in sorted(tree.glob(depth))
        if p.is_file() and pattern.match(p.name)
    ]
    return found[0] if found else None


def apt_mirror() -> tuple[str, str]:
    """The mirror and the suite of the first Debian archive in apt's configuration."""
    text = _output(
        ["apt-get", "indextargets", "--format", "$(ORIGIN)|$(SITE)|$(REPO_URI)|$(CODENAME)|$(RELEASE)"]
    )
    for line in text.splitlines():
        fields = line.split("|")
        if len(fields) == 5 and fields[0] == "Debian" and "security" not in fields[2]:
            return fields[2].rstrip("/"), (fields[3] or fields[4]).removesuffix("-updates")
    raise ToolError(
        "apt has no Debian archive among its sources, so source packages cannot be fetched; "
        "add one to /etc/apt/sources.list and run 'apt-get update'"
    )


def _newest(options: Sequence[str], name: str, suite: str, release: str) -> str:
    """The newest source version of a suite, fit for apt, that is ``release`` or a point release of it."""
    known = re.findall(r"^Version: (\S+)$", _output(["apt-cache", *options, "showsrc", name]), re.MULTILINE)
    upstream = {version: version.partition(":")[2] or version for version in known}
    fitting = [v for v in known if re.match(rf"{re.escape(release)}(?![0-9])", upstream[v])]
    if not fitting:
        raise ToolError(
            f"Debian {suite} no longer carries {name} {release}: it has {', '.join(known) or 'none'}"
        )
    newest: str = max(fitting, key=lambda v: [int(number) for number in re.findall(r"\d+", upstream[v])])
    return newest


def _suite_options(kind: str, mirror: str, suite: str) -> list[str]:
    """apt options for a private list, ``deb`` or ``deb-src``, of one suite; refreshes its index."""
    state = cache_dir() / "packages" / (f".apt-{suite}" if kind == "deb-src" else f".apt-{suite}-{kind}")
    for sub in ("lists/partial", "cache/archives/partial"):
        (state / sub).mkdir(parents=True, exist_ok=True)
    (state / "sources.list").write_text(f"{kind} {mirror} {suite} main\n", "utf-8")
    options = [
        f"-oDir::Etc::SourceList={state}/sources.list",
        "-oDir::Etc::SourceParts=/nonexistent",
        f"-oDir::State::Lists={state}/lists",
        f"-oDir::Cache={state}/cache",
        "-oDir::State::status=/dev/null",
        *_SANDBOX,
        "-q",
    ]
    _run(
        ["apt-get", *options, "update"],
        cwd=state,
        hint=f"the mirror may not carry suite '{suite}', or the network is down",
    )
    return options


def _unpack_tar(archive: Path, into: Path) -> None:
    into.mkdir(parents=True, exist_ok=True)
    try:
        with tarfile.open(archive) as tar:
            if hasattr(tarfile, "data_filter"):
                tar.extractall(into, filter="data")
            else:  # Python 3.10 and 3.11 before their security releases
                root = into.resolve()
                for member in tar.getmembers():
                    if not (into / member.name).resolve().is_relative_to(root):
                        raise ToolError(f"{archive.name} holds the path '{member.name}' that leads out of it")
                tar.extractall(into)
    except (tarfile.TarError, EOFError, OSError) as error:
        raise ToolError(f"cannot unpack {archive.name}: {error}") from error


def _unpack_zip(archive: Path, into: Path) -> None:
    try:
        with zipfile.ZipFile(archive) as pack:  # extractall drops absolute paths and '..' itself
            pack.extractall(into)
    except (zipfile.BadZipFile, OSError) as error:
        raise ToolError(f"cannot unpack {archive.name}: {error}") from error


def _single(folder: Path, glob: str, name: str) -> Path:
    found = sorted(p for p in folder.glob(glob) if p.is_file())
    if len(found) != 1:
        raise ToolError(f"fetching {name} left {len(found)} files instead of one")
    return found[0]


def _file_safe(version: str | None) -> str:
    return version.replace(":", "%3a").replace("/", "_") if version else ""


def _check_name(name: str) -> None:
    if not _NAME.fullmatch(name):
        raise ToolError(f"'{name}' is not the name of a package")


def _check_suite(suite: str | None) -> None:
    if suite is not None and not _SUITE.fullmatch(suite):
        raise ToolError(f"'{suite}' is not the name of a Debian suite; use one such as 'trixie' or 'sid'")


def _need(*tools: str) -> None:
    for tool in tools:
        if shutil.which(tool) is None:
            raise ToolError(f"'{tool}' is not installed; packages are fetched with it on Debian and Ubuntu")


def _run(command: Sequence[str], cwd: Path, hint: str = "") -> None:
    try:
        done = subprocess.run(
            command,
            cwd=cwd,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            check=False,
        )
    except OSError as error:
        raise ToolError(f"cannot start '{command[0]}': {error}") from error
    if done.returncode != 0:
        lines = [line for line in done.stdout.splitlines() if line.strip()]
        wrong = [line for line in lines if line.startswith(("E:", "ERROR", "Err:"))] or lines[-1:]
        said = "; ".join(wrong[:3]) or f"exit code {done.returncode}"
        raise ToolError(
            f"'{' '.join(_brief(command))}' failed: {said}" + (f". To solve it, {hint}" if hint else "")
        )


def _brief(command: Sequence[str]) -> list[str]:
    """The command without the long -oDir:: options."""
    return [part for part in command if not part.startswith("-o")]


def _output(command: Sequence[str]) -> str:
    _need(command[0])
    done = subprocess.run(
        command, stdin=subprocess.DEVNULL, capture_output=True, text=True, errors="replace", check=False
    )
    if done.returncode != 0:
        raise ToolError(f"'{' '.join(command)}' failed: {done.stderr.strip() or done.returncode}")
    return done.stdout.strip()
