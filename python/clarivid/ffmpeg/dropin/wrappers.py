# SPDX-License-Identifier: BSD-2-Clause
"""The scripts that start a program with a drop-in: shell alone, so that they run without Python.

Only the program that is started gets the library path. Before that the script looks whether the machine's
FFmpeg is still the one that the drop-in was built for: sizes and times first (one call of ``stat``), and the
digests only when these differ.
"""

from __future__ import annotations

import shlex
from pathlib import Path

from clarivid.ffmpeg.dropin.stock import Stock
from clarivid.paths import sha256_of

_RUN = """\
#!/bin/sh
# SPDX-License-Identifier: BSD-2-Clause
# Runs a program with clarivid's filters in its libavfilter, in place of the system's {soname}.
# Written by 'clarivid ffmpeg dropin' for FFmpeg {version}; nothing here is for this machine's Python.
if [ $# -eq 0 ]; then
    echo 'usage: clarivid-run PROGRAM [ARGUMENT...]' >&2
    exit 2
fi
self=$(readlink -f -- "$0") || exit 1
root=${{self%/bin/*}}
# FFmpeg's libraries as they were when this was built: place, bytes, time.
expected={expected}
found=$(stat -L -c '%n %s %.9Y' -- {libraries} 2>/dev/null)
if [ "$found" != "$expected" ]; then
    # Times change without the files when a system is copied: the bytes decide.
    if ! sha256sum --status --strict -c - 2>/dev/null <<'DIGESTS'
{digests}
DIGESTS
    then
        echo "clarivid: error: FFmpeg's libraries changed since this drop-in was built, for {version}:" \\
            "run 'clarivid ffmpeg dropin' again, or $1 without clarivid's filters" >&2
        exit 1
    fi
fi
LD_LIBRARY_PATH=$root/lib/avfilter${{LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}}
export LD_LIBRARY_PATH
exec "$@"
"""

_PROGRAM = """\
#!/bin/sh
# SPDX-License-Identifier: BSD-2-Clause
# {name} of this machine with clarivid's filters.
self=$(readlink -f -- "$0") || exit 1
exec "${{self%/*}}/clarivid-run" {program} "$@"
"""


def _seconds(nanoseconds: int) -> str:
    """As stat's %.9Y has it."""
    return f"{nanoseconds // 10**9}.{nanoseconds % 10**9:09d}"


def write(folder: Path, stock: Stock) -> None:
    """Write ``clarivid-run``, and ``clarivid-ffmpeg`` and its like, into ``folder``."""
    folder.mkdir(parents=True, exist_ok=True)
    # libavdevice stands above libavfilter, and not every machine that plays or encodes has it.
    paths = [path for name, path in stock.libraries.items() if not name.startswith("libavdevice.")]
    states = [(path, path.stat()) for path in paths]
    expected = "\n".join(f"{path} {state.st_size} {_seconds(state.st_mtime_ns)}" for path, state in states)
    _script(
        folder / "clarivid-run",
        _RUN.format(
            soname=stock.soname,
            version=stock.version,
            expected=shlex.quote(expected),
            libraries=" ".join(shlex.quote(str(path)) for path in paths),
            digests="\n".join(f"{sha256_of(path)}  {path}" for path in paths),
        ),
    )
    for name, program in stock.siblings().items():
        text = _PROGRAM.format(name=name, program=shlex.quote(str(program)))
        _script(folder / f"clarivid-{name}", text)


def _script(path: Path, text: str) -> None:
    path.write_text(text, "utf-8")
    path.chmod(0o755)


__all__ = ["write"]
