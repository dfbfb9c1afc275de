# SPDX-License-Identifier: BSD-2-Clause
"""The archives that this machine's apt is configured with, read without root and without changing anything.

Sources, ``deb-src`` included, package lists and downloads lie in the cache, apart from the machine's own;
what is installed is read from the machine. apt checks every file against the signed index, with the keys that
the machine's own sources name.
"""

from __future__ import annotations

import fcntl
import os
import re
import shutil
import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from clarivid.errors import ToolError
from clarivid.paths import cache_dir

Stanza = dict[str, str]
"""One entry of apt's sources: the fields of its deb822 form, names in small letters."""

# As root, apt would drop to the user _apt, who cannot write into a private folder.
_SANDBOX = "-oAPT::Sandbox::User=root"
_ONE_LINE_OPTIONS = {"arch": "architectures", "lang": "languages", "target": "targets"}
_UPDATE_SECONDS = 600
_FRESH_SECONDS = 3600.0
_TRIES = 12
_PAUSE_SECONDS = 10.0


def parse_lines(text: str) -> list[Stanza]:
    """The entries of a ``sources.list``: ``deb [signed-by=KEY] URI SUITE COMPONENT...``."""
    found = []
    for line in text.splitlines():
        match = re.match(r"\s*(deb|deb-src)\s+(?:\[([^]]*)\]\s+)?(\S+)\s+(\S+)\s*([^#]*)", line)
        if match is None:
            continue
        stanza = {"types": match[1], "uris": match[3], "suites": match[4], "components": match[5].strip()}
        for option in (match[2] or "").split():
            name, equals, value = option.partition("=")
            if equals:
                stanza[_ONE_LINE_OPTIONS.get(name, name)] = value.replace(",", " ")
        found.append({name: value for name, value in stanza.items() if value})
    return found


def parse_deb822(text: str) -> list[Stanza]:
    """The entries of a ``.sources`` file; those that are switched off are left out."""
    found = []
    for block in re.split(r"\n[ \t]*\n", text):
        stanza: Stanza = {}
        name = ""
        for line in block.splitlines():
            if line.startswith("#"):
                continue
            if line[:1] in (" ", "\t") and name:
                stanza[name] += "\n" + line
            elif ":" in line:
                name, _, value = line.partition(":")
                name = name.strip().lower()
                stanza[name] = value.strip()
        if "uris" in stanza and stanza.get("enabled", "yes").lower() not in ("no", "false", "0"):
            found.append(stanza)
    return found


def own_sources() -> list[Stanza]:
    """What this machine's apt is configured with, without media that somebody has to insert."""
    places = dict(
        re.findall(
            r"^(\w+)='(.*)'$",
            _read(["apt-config", "shell", "L", "Dir::Etc::sourcelist/f", "P", "Dir::Etc::sourceparts/d"]),
            re.MULTILINE,
        )
    )
    parts = Path(places.get("P", "/nonexistent"))
    files = [
        Path(places.get("L", "/nonexistent")),
        *sorted(parts.glob("*.list")),
        *sorted(parts.glob("*.sources")),
    ]
    found = []
    for file in files:
        try:
            text = file.read_text("utf-8", "replace")
        except OSError:
            continue
        found += parse_deb822(text) if file.suffix == ".sources" else parse_lines(text)
    return [stanza for stanza in found if not stanza["uris"].startswith(("cdrom:", "file:/run/live"))]


def of_distribution(stanzas: Sequence[Stanza], package: str) -> list[Stanza]:
    """Those that belong to whoever publishes ``package``; all of them when apt has no lists that would tell.

    A third party's archive beside the distribution's is of no use for the distribution's sources, and not
    every one carries any.
    """
    carrying = set(re.findall(r"\| *(\S+) \S+ \S+ Packages$", _read(["apt-cache", "madison", package]), re.M))
    origins: dict[str, str] = {}
    for line in _read(["apt-get", "indextargets", "--format", "$(ORIGIN)|$(REPO_URI)"]).splitlines():
        origin, _, uri = line.partition("|")
        origins[uri.rstrip("/")] = origin
    wanted = {origins[uri.rstrip("/")] for uri in carrying if uri.rstrip("/") in origins}
    kept = [
        stanza
        for stanza in stanzas
        if any(origins.get(uri.rstrip("/")) in wanted for uri in stanza["uris"].split())
    ]
    return kept or list(stanzas)


def write_deb822(stanzas: Sequence[Stanza], types: str) -> str:
    """The text of a ``.sources`` file with these entries, each with ``types`` instead of its own."""
    blocks = dict.fromkeys(
        "".join(
            f"{name.title()}: {value}\n"
            for name, value in {**stanza, "types": types}.items()
            if name not in ("enabled", "x-repolib-name")
        )
        for stanza in stanzas
    )  # an archive is often there twice, as deb and as deb-src
    return "\n".join(blocks)


@dataclass(frozen=True)
class Archive:
    """apt with lists of its own; :func:`archive` makes it."""

    folder: Path
    options: tuple[str, ...]

    def source(self, name: str, version: str, into: Path) -> None:
        """Download the source package ``name`` of exactly that version into a folder.

        Raises :class:`ToolError` when the archive has it no longer.
        """
        target = f"{name}={version}"
        done = _run(["apt-get", *self.options, "source", "--download-only", target], into)
        if done.returncode != 0:
            self._forget()
            raise ToolError(
                f"the archives that apt is configured with do not have the source of {name} {version} "
                f"({_complaint(done)})"
            )

    def plan(self, packages: Sequence[str]) -> list[str]:
        """What :meth:`missing` would download, as ``name version``, sorted. Raises :class:`ToolError`."""
        command = ["apt-get", *self.options, "-y", "--no-install-recommends", "--simulate", "install"]
        done = _run([*command, *packages], self.folder)
        for _ in range(_TRIES):  # while another apt is at work, what is installed does not fit together
            if "Unmet dependencies" not in done.stdout:
                break
            time.sleep(_PAUSE_SECONDS)
            done = _run([*command, *packages], self.folder)
        if done.returncode != 0:
            raise ToolError(f"apt cannot install {' '.join(packages)} here: {_complaint(done)}")
        return sorted(
            f"{name} {version}"
            for name, version in re.findall(r"^Inst (\S+) (?:\[\S+\] )?\((\S+) ", done.stdout, re.M)
        )

    def missing(self, packages: Sequence[str], into: Path) -> list[Path]:
        """Download what would have to be installed for ``packages``: them, and what they need that is not.

        :return: the .deb files, sorted by name. Raises :class:`ToolError`.
        """
        (into / "partial").mkdir(parents=True, exist_ok=True)
        command = ["apt-get", *self.options, f"-oDir::Cache::archives={into}", "-y"]
        done = _run([*command, "--no-install-recommends", "--download-only", "install", *packages], into)
        if done.returncode != 0:
            self._forget()
            raise ToolError(f"apt cannot fetch {' '.join(packages)}: {_complaint(done)}")
        return sorted(into.glob("*.deb"))

    def _forget(self) -> None:
        """The lists may be old: the next one asks anew."""
        (self.folder / "fresh").unlink(missing_ok=True)

    def known(self, packages: Sequence[str]) -> list[str]:
        """Those of ``packages`` that can be installed."""
        said = _run(["apt-cache", *self.options, "madison", *packages], self.folder).stdout
        found = set(re.findall(r"^ *(\S+) *\| *\S+ *\| *\S+ \S+ \S+ Packages$", said, re.M))
        return [package for package in packages if package in found]


@contextmanager
def archive(package: str) -> Iterator[Archive]:
    """The archives of whoever publishes ``package``, with fresh lists; for one process at a time.

    Raises :class:`ToolError` where there is no apt, or when it cannot reach them.
    """
    if shutil.which("apt-get") is None:
        raise ToolError("there is no apt on this machine to fetch packages with")
    folder = cache_dir() / "packages" / ".apt-own"
    for sub in ("parts", "lists/partial", "cache/archives/partial"):
        (folder / sub).mkdir(parents=True, exist_ok=True)
    with (folder / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        stanzas = of_distribution(own_sources(), package)
        if not stanzas:
            raise ToolError(
                "apt is configured with no archives: neither /etc/apt/sources.list nor a file in "
                "/etc/apt/sources.list.d/ names one"
            )
        options = (
            "-oDir::Etc::SourceList=/nonexistent",
            f"-oDir::Etc::SourceParts={folder}/parts",
            f"-oDir::State::Lists={folder}/lists",
            f"-oDir::Cache={folder}/cache",
            "-oDebug::NoLocking=true",  # what is installed is only read
            _SANDBOX,
            "-q",
        )
        text = write_deb822(stanzas, "deb deb-src")
        if (folder / "parts" / "own.sources").is_file() and _is_fresh(folder, text):
            yield Archive(folder, options)
            return
        (folder / "fresh").unlink(missing_ok=True)
        (folder / "parts" / "own.sources").write_text(text, "utf-8")
        done = _run(["apt-get", *options, "update"], folder)
        if done.returncode != 0:
            raise ToolError(f"apt cannot read the archives that it is configured with: {_complaint(done)}")
        (folder / "fresh").touch()
        yield Archive(folder, options)


def _is_fresh(folder: Path, sources: str) -> bool:
    """Whether the lists are of these sources and of this hour."""
    try:
        age = time.time() - (folder / "fresh").stat().st_mtime
    except OSError:
        return False
    return 0 <= age < _FRESH_SECONDS and (folder / "parts" / "own.sources").read_text("utf-8") == sources


def _complaint(done: subprocess.CompletedProcess[str]) -> str:
    lines = [line.strip() for line in done.stdout.splitlines() if line.strip()]
    wrong = [line for line in lines if line.startswith("E:")] or lines[-1:]
    return "; ".join(wrong[:3]) or f"exit code {done.returncode}"


def _run(command: Sequence[str], cwd: Path) -> subprocess.CompletedProcess[str]:
    try:
        return subprocess.run(
            command,
            cwd=cwd,
            env={**_environment(), "DEBIAN_FRONTEND": "noninteractive"},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            check=False,
            timeout=_UPDATE_SECONDS,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise ToolError(f"'{command[0]}' does not run: {error}") from error


def _read(command: Sequence[str]) -> str:
    """What a program prints; nothing when it fails."""
    try:
        done = subprocess.run(
            command, env=_environment(), stdin=subprocess.DEVNULL, capture_output=True, text=True,
            errors="replace", check=False, timeout=_UPDATE_SECONDS,
        )  # fmt: skip
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout if done.returncode == 0 else ""


def _environment() -> dict[str, str]:
    return {**os.environ, "LC_ALL": "C.UTF-8"}


__all__ = [
    "Archive",
    "Stanza",
    "archive",
    "of_distribution",
    "own_sources",
    "parse_deb822",
    "parse_lines",
    "write_deb822",
]
