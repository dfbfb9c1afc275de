# SPDX-License-Identifier: BSD-2-Clause
"""Child processes that can all be ended at once, and what ffmpeg says about a file."""

from __future__ import annotations

import re
import subprocess
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from clarivid.clips import encoder
from clarivid.errors import InputError, ToolError, last_line

QUIET = ("-nostdin", "-hide_banner", "-nostats", "-loglevel", "error", "-y")


class StoppedError(ToolError):
    """A job was ended because another one failed, or the user interrupted."""


class Tools:
    """Starts programs for the jobs of one run; :meth:`stop` ends those that run and refuses new ones.

    Thread-safe.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._running: set[subprocess.Popen[bytes]] = set()
        self._stopped = False

    def run(self, command: Sequence[str], what: str, cwd: Path | None = None) -> tuple[str, str]:
        """Run to the end; returns stdout and stderr.

        Raises :class:`ToolError` with ``what`` and the program's last line when it fails.
        """
        with self._started(command, cwd, subprocess.PIPE) as process:
            out, err = process.communicate()
        messages = err.decode(errors="replace")
        if process.returncode:
            if self._stopped:
                raise StoppedError("stopped")
            raise ToolError(f"{what}: {reason(messages)}")
        return out.decode(errors="replace"), messages

    @contextmanager
    def reading(self, command: Sequence[str], cwd: Path | None = None) -> Iterator[IO[bytes]]:
        """The stdout of a program that runs meanwhile; it is ended when the block is left."""
        with self._started(command, cwd, subprocess.DEVNULL) as process:
            assert process.stdout is not None
            yield process.stdout

    @contextmanager
    def _started(
        self, command: Sequence[str], cwd: Path | None, errors: int
    ) -> Iterator[subprocess.Popen[bytes]]:
        with self._lock:
            if self._stopped:
                raise StoppedError("stopped")
            process = subprocess.Popen(
                list(command), cwd=cwd, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=errors
            )
            self._running.add(process)
        try:
            yield process
        finally:
            with self._lock:
                self._running.discard(process)
            if process.poll() is None:
                process.kill()
            for stream in (process.stdout, process.stderr):
                if stream is not None:
                    stream.close()
            process.wait()

    def stop(self) -> None:
        """End what runs; every later call raises :class:`StoppedError`."""
        with self._lock:
            self._stopped = True
            for process in self._running:
                process.kill()


def reason(messages: str) -> str:
    """The line of ffmpeg's messages that says why: a filter's or an encoder's own, else the last one."""
    telling = ("[Parsed_", "[lib", "x265 [error]", "Svt[error]", "Error applying option")
    own = [
        line
        for line in messages.splitlines()
        if line.startswith(telling) or "Error parsing filterchain" in line
    ]
    return own[0] if own else last_line(messages)


@dataclass(frozen=True)
class Stream:
    """A file's first video stream: size in luma samples, frames per second (mean), ffmpeg's pixel format."""

    width: int
    height: int
    fps: float
    pix_fmt: str


def probe(path: Path, tools: Tools) -> Stream:
    """What is in ``path``. Raises :class:`InputError` when it is missing or holds no video."""
    if not path.is_file():
        raise InputError(f"{path} does not exist")
    # ffmpeg without an output ends with 1 after it has described its input; -t 0 to null ends with 0.
    command = [encoder(), "-nostdin", "-hide_banner", "-nostats", "-i", str(path)]
    try:
        _, text = tools.run([*command, "-map", "0:v:0", "-t", "0", "-f", "null", "-"], "")
    except StoppedError:
        raise
    except ToolError as error:
        raise InputError(f"{path} cannot be read as video{error}") from None
    line = next((line for line in text.splitlines() if "Stream #0" in line and "Video:" in line), "")
    size = re.search(r", (\d+)x(\d+)", line)
    rate = re.search(r"([\d.]+)(k?) fps", line) or re.search(r"([\d.]+)(k?) tbr", line)
    pix_fmt = re.search(r"Video: .*?, (\w+?)(?:\(|,)", re.sub(r"\([^)]*\)", "", line, count=2) + ",")
    if size is None or rate is None or pix_fmt is None:
        raise InputError(f"{path} does not state its size and frame rate: {line.strip() or 'no video'}")
    fps = float(rate[1]) * (1000 if rate[2] else 1)
    return Stream(int(size[1]), int(size[2]), fps, pix_fmt[1])
