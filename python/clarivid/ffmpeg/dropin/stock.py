# SPDX-License-Identifier: BSD-2-Clause
"""The ffmpeg that a machine has: its release, how it was configured, whose libraries it is linked with."""

from __future__ import annotations

import hashlib
import os
import re
import shlex
import shutil
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from clarivid.errors import InputError, ToolError
from clarivid.ffmpeg.dropin import elf
from clarivid.ffmpeg.series import SERIES, Series, of
from clarivid.paths import sha256_of

RECORD = "dropin.json"
"""The file by which the folder of a drop-in is known."""

_LIBRARY = re.compile(r"lib(avutil|avcodec|avformat|avdevice|avfilter|swscale|swresample|postproc)\.so\.\d+$")


@dataclass(frozen=True)
class Owner:
    """The distribution's package that a file is of: its names and exact versions, source package included."""

    package: str
    version: str
    source: str
    source_version: str


@dataclass(frozen=True)
class Stock:
    """One ffmpeg with its own shared libraries.

    ``version`` is what it says itself (``5.1.9-0+deb12u1``), ``release`` upstream's part of it;
    ``configuration_text`` are the options that its libavfilter was configured with; ``libraries`` FFmpeg's
    shared libraries by SONAME, where the loader finds them; ``versions`` theirs by name.
    ``owner`` is None when libavfilter is of no package.
    """

    program: Path
    version: str
    release: str
    configuration_text: str
    libraries: dict[str, Path]
    versions: dict[str, str]
    owner: Owner | None

    @property
    def configuration(self) -> tuple[str, ...]:
        """The same one by one."""
        return tuple(shlex.split(self.configuration_text))

    @property
    def soname(self) -> str:
        """``libavfilter.so.8``."""
        return next(name for name in self.libraries if name.startswith("libavfilter."))

    @property
    def library(self) -> Path:
        """Its libavfilter."""
        return self.libraries[self.soname]

    @property
    def series(self) -> Series:
        """The series of FFmpeg's that it is of."""
        found = of(self.release)
        assert found is not None
        return found

    def digest(self) -> str:
        """SHA-256 over names, places and contents of the libraries."""
        total = hashlib.sha256(str(self.program).encode())
        for soname, path in self.libraries.items():
            total.update(f"{soname}\0{path}\0{sha256_of(path)}\0".encode())
        return total.hexdigest()

    def siblings(self) -> dict[str, Path]:
        """ffmpeg, and ffprobe and ffplay where they lie beside it."""
        names = ("ffmpeg", "ffprobe", "ffplay")
        found = {name: self.program.with_name(name) for name in names}
        return {"ffmpeg": self.program, **{n: p for n, p in found.items() if n != "ffmpeg" and p.is_file()}}


def locate(program: Path | None) -> Path:
    """The program meant: ``program``, a name on the PATH, or the machine's ffmpeg; absolute.

    Raises :class:`InputError` when there is none.
    """
    if program is None:
        found = "/usr/bin/ffmpeg" if Path("/usr/bin/ffmpeg").exists() else shutil.which("ffmpeg")
        if found is None:
            raise InputError(
                "there is no ffmpeg on this machine that the filters could be dropped into; install one "
                "(apt-get install ffmpeg), name it with --ffmpeg, or build one: 'clarivid ffmpeg build'"
            )
        return Path(found)
    named = shutil.which(str(program)) if len(program.parts) == 1 and not program.exists() else None
    path = Path(named) if named else program.expanduser().absolute()
    if not path.is_file():
        what = "is a folder" if path.is_dir() else "does not exist"
        raise InputError(f"'{program}' {what}; give the path of an ffmpeg")
    return path


def inspect(program: Path) -> Stock:
    """Read all that a drop-in has to fit. Raises :class:`InputError` for an ffmpeg that cannot have one."""
    elf.check_machine(program.resolve())
    said = _output([str(program), "-hide_banner", "-version"])
    first = re.match(r"ffmpeg version (\S+)", said)
    if first is None:
        raise InputError(f"'{program}' is not ffmpeg: it does not answer -version as ffmpeg does")
    version = first[1]
    libraries = _libraries(program)
    if not any(name.startswith("libavfilter.") for name in libraries):
        raise InputError(
            f"'{program}' is not linked with a shared libavfilter: it is static, or starts another program; "
            "no library can be put in its place. 'clarivid ffmpeg build' makes an ffmpeg with the filters"
        )
    for path in libraries.values():
        if any((folder / RECORD).is_file() for folder in path.resolve().parents):
            raise InputError(
                f"'{program}' is running with a drop-in already ({path}): leave it out of LD_LIBRARY_PATH"
            )
    release = re.match(r"n?(\d+(?:\.\d+)+)(?=$|[-+~])", version)
    if release is None or of(release[1]) is None:
        raise InputError(
            f"'{program}' is FFmpeg {version}, and clarivid has patches for releases of {', '.join(SERIES)} "
            "only; 'clarivid ffmpeg build' makes an ffmpeg with the filters beside it"
        )
    versions, configuration = _read_versions(said, program)
    library = libraries[next(name for name in libraries if name.startswith("libavfilter."))]
    return Stock(
        program=program,
        version=version,
        release=release[1],
        configuration_text=configuration,
        libraries=libraries,
        versions=versions,
        owner=_owner(library),
    )


def filters_of(program: Sequence[str], library_path: Path | None = None) -> dict[str, str]:
    """What an ffmpeg lists as filters: names, and their inputs and outputs (``VV->V``)."""
    listed = _output([*program, "-hide_banner", "-filters"], environment(library_path))
    return dict(re.findall(r"^ [T.][S.][C.]? +(\w+) +([AVN|]+->[AVN|]+) ", listed, re.M))


def environment(library_path: Path | None = None) -> dict[str, str]:
    """This process's environment for a program that reads our settings from none; with a library path."""
    env = {**os.environ, "LC_ALL": "C.UTF-8", "AV_LOG_FORCE_NOCOLOR": "1"}
    if library_path is not None:
        env["LD_LIBRARY_PATH"] = ":".join(filter(None, [str(library_path), env.get("LD_LIBRARY_PATH")]))
    return env


def _libraries(program: Path) -> dict[str, Path]:
    """FFmpeg's shared libraries, where the loader finds them."""
    found: dict[str, Path] = {}
    for line in _output(["ldd", str(program)], check=False).splitlines():
        match = re.match(r"\s*(\S+) => (/.*) \(0x", line)
        if match and _LIBRARY.match(match[1]):
            found[match[1]] = Path(match[2])
    return dict(sorted(found.items()))


def _read_versions(said: str, program: Path) -> tuple[dict[str, str], str]:
    """The libraries' versions, and libavfilter's configuration, from what ``-version`` says."""
    versions: dict[str, str] = {}
    pattern = r"^lib(\w+) +(\d+)\. *(\d+)\. *(\d+) / +(\d+)\. *(\d+)\. *(\d+)"
    for name, *numbers in re.findall(pattern, said, re.M):
        compiled, running = ".".join(numbers[:3]), ".".join(numbers[3:])
        if compiled != running and name == "avfilter":
            raise InputError(
                f"'{program}' was compiled with libavfilter {compiled} and runs with {running}: its "
                "libraries are of another release, whose source is not known"
            )
        versions[name] = running
    whole = re.search(r"^configuration: ?(.*)$", said, re.M)
    # A library that was configured otherwise, such as Debian's libavfilter-extra, is listed by itself.
    own = re.search(r"^\s*libavfilter +configuration: ?(.*)$", said, re.M)
    found = own or whole
    return versions, found[1] if found else ""


def _owner(path: Path) -> Owner | None:
    """The package that a file is of; None without dpkg, and for files of no package."""
    if shutil.which("dpkg-query") is None:
        return None
    # On a merged /usr the loader says /lib/..., and dpkg knows /usr/lib/..., or the other way round.
    spellings = [path, path.resolve(), Path("/usr" + str(path)), Path(str(path).removeprefix("/usr"))]
    for spelling in dict.fromkeys(spellings):
        said = _output(["dpkg-query", "--search", str(spelling)], check=False)
        name = re.match(r"(\S+?)(?::\w+)?: ", said.split(",")[0] + ": ") if said else None
        if name is None:
            continue
        fields = _output(
            ["dpkg-query", "-W", "-f", "${Package}|${Version}|${source:Package}|${source:Version}\n", name[1]]
        )
        rows = [line.split("|") for line in fields.splitlines() if line.count("|") == 3]
        if rows:
            return Owner(*rows[0])
    return None


def check_unchanged(stock: Stock) -> None:
    """Raises :class:`InputError` when somebody has replaced libavfilter's file of the package."""
    if stock.owner is None:
        return
    for line in _output(["dpkg", "--verify", stock.owner.package], check=False).splitlines():
        if line[2:3] == "5" and Path(line.split()[-1]).name == stock.library.resolve().name:
            raise InputError(
                f"'{stock.library}' is not the file that the package {stock.owner.package} installed: "
                "somebody has replaced it, and its source is not known; give it with --source, or install "
                "the package again"
            )


def _output(command: Sequence[str], env: dict[str, str] | None = None, *, check: bool = True) -> str:
    try:
        done = subprocess.run(
            command, env=env or environment(), stdin=subprocess.DEVNULL, capture_output=True, text=True,
            errors="replace", check=False, timeout=120,
        )  # fmt: skip
    except (OSError, subprocess.TimeoutExpired) as error:
        raise ToolError(f"'{command[0]}' does not run: {error}") from error
    if done.returncode != 0 and check:
        reason = done.stderr.strip().splitlines()[-1:] or [f"exit code {done.returncode}"]
        raise ToolError(f"'{' '.join(command)}' failed: {reason[0]}")
    return done.stdout


__all__ = [
    "RECORD",
    "Owner",
    "Stock",
    "check_unchanged",
    "environment",
    "filters_of",
    "inspect",
    "locate",
]
