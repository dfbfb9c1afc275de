# SPDX-License-Identifier: BSD-2-Clause
"""What a program or shared library asks of others and offers them, as ``readelf`` tells."""

from __future__ import annotations

import platform
import re
import subprocess
from dataclasses import dataclass
from pathlib import Path

from clarivid.errors import InputError, ToolError

# e_machine of the ELF header, and what uname calls it
_MACHINES = {
    3: "i386", 8: "mips", 20: "ppc", 21: "ppc64le", 22: "s390x", 40: "arm", 62: "x86_64", 183: "aarch64",
    243: "riscv64", 258: "loongarch64",
}  # fmt: skip


@dataclass(frozen=True)
class Elf:
    """One file: ``exports`` and ``imports`` are names with versions, ``av_free@LIBAVUTIL_57``.

    ``soname`` is empty for a program. An import without a version is the bare name.
    """

    soname: str
    needed: tuple[str, ...]
    runpath: str
    exports: frozenset[str]
    imports: frozenset[str]


def check_machine(path: Path) -> None:
    """Raises :class:`InputError` for what this machine cannot load: scripts, other systems' programs."""
    try:
        with path.open("rb") as file:
            head = file.read(64)
    except OSError as error:
        raise InputError(f"'{path}' cannot be read: {error.strerror}; give the path of an ffmpeg") from error
    if head[:2] == b"#!":
        raise InputError(f"'{path}' is a script; give the path of the ffmpeg that it starts")
    if head[:4] != b"\x7fELF" or len(head) < 20:
        raise InputError(f"'{path}' is no program for Linux; give the path of an ffmpeg")
    number = int.from_bytes(head[18:20], "little" if head[5] == 1 else "big")
    found = _MACHINES.get(number, f"machine {number}")
    if found != platform.machine() and not (found == "ppc64le" and platform.machine().startswith("ppc64")):
        raise InputError(
            f"'{path}' is for {found}, and this machine is {platform.machine()}: a drop-in is built on a "
            "machine of the kind that it is for"
        )


def read(path: Path) -> Elf:
    """Read a program or shared library. Raises :class:`ToolError`."""
    dynamic = _readelf("--dynamic", path)
    exports, imports = set(), set()
    for line in _readelf("--dyn-syms", path).splitlines():
        #  Num:    Value  Size Type    Bind   Vis      Ndx Name
        fields = line.split()
        if len(fields) < 8 or fields[4] not in ("GLOBAL", "WEAK", "UNIQUE") or not fields[0].endswith(":"):
            continue
        name = fields[7].replace("@@", "@")
        if fields[6] == "UND":
            imports.add(name)
        elif fields[6] != "ABS":  # the names of the versions themselves
            exports.add(name)
    return Elf(
        soname=next(iter(re.findall(r"\(SONAME\).*\[(.*)\]", dynamic)), ""),
        needed=tuple(re.findall(r"\(NEEDED\).*\[(.*)\]", dynamic)),
        runpath=next(iter(re.findall(r"\((?:RUNPATH|RPATH)\).*\[(.*)\]", dynamic)), ""),
        exports=frozenset(exports),
        imports=frozenset(imports),
    )


def _readelf(option: str, path: Path) -> str:
    try:
        done = subprocess.run(
            ["readelf", "--wide", option, str(path)],
            stdin=subprocess.DEVNULL, capture_output=True, text=True, errors="replace", check=False,
            env={"LC_ALL": "C", "PATH": "/usr/local/bin:/usr/bin:/bin"},
        )  # fmt: skip
    except OSError as error:
        raise ToolError("readelf is missing; on Debian run as root: apt-get install -y binutils") from error
    if done.returncode != 0:
        raise ToolError(f"readelf cannot read '{path}': {done.stderr.strip()}")
    return done.stdout


__all__ = ["Elf", "check_machine", "read"]
