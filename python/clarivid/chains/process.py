# SPDX-License-Identifier: BSD-2-Clause
"""ffmpeg while it runs: how far it is, what it says, and how it is ended."""

from __future__ import annotations

import contextlib
import functools
import os
import queue
import re
import subprocess
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import IO

from clarivid.errors import CancelledError, InputError, ToolError

LOG_LEVEL = "repeat+level+verbose"
_LINES = 60  # of each severity that are kept
_PATIENCE = 0.1  # seconds between looks at whether to stop

# Lines that only repeat that something failed, or that the end has come.
_ECHOES = re.compile(
    r"Task finished with error|Terminating thread|Nothing was written into output|Could not open encoder "
    r"before EOF|Error parsing global options|Conversion failed|Error splitting the argument list"
)
# With which ffmpeg goes on, at some quality that nobody asked for.
_UNUSED = re.compile(r"Codec AVOption (\S+?)(?::\S+)? .*has not been used for any stream")
_LEVEL = re.compile(r"\[(panic|fatal|error|warning|info|verbose)\] ?")


@dataclass(frozen=True)
class Progress:
    """How far a run is.

    ``seconds`` of the result that are written, ``total`` of the input (0: not known), ``frames`` written,
    ``fps`` so far, ``speed`` in times of playing speed.
    """

    seconds: float
    total: float
    frames: int
    fps: float
    speed: float

    @property
    def eta(self) -> float | None:
        """Seconds that it will take, None as long as that is not known."""
        if not self.total or not self.speed:
            return None
        return max(self.total - self.seconds, 0.0) / self.speed


@dataclass
class Log:
    """What ffmpeg said: ``problems`` are errors, ``warnings`` are warnings; ``rest`` the lines below that.

    ``unused`` is an encoder's option that nothing took.
    """

    problems: deque[str] = field(default_factory=lambda: deque(maxlen=_LINES))
    warnings: deque[str] = field(default_factory=lambda: deque(maxlen=_LINES))
    rest: deque[str] = field(default_factory=lambda: deque(maxlen=10 * _LINES))
    unused: str = ""

    def add(self, line: str) -> None:
        """Take a line with ``[level]`` in it; libraries write some without."""
        text = line.rstrip()
        if not text:
            return
        found = _LEVEL.search(text)
        level = found[1] if found else ("error" if "[error]" in text else "info")
        clean = re.sub(r" @ 0x[0-9a-f]+", "", _LEVEL.sub("", text, count=1))
        if level in ("panic", "fatal", "error"):
            if not _ECHOES.search(clean):
                self.problems.append(clean)
        elif level == "warning":
            self.warnings.append(clean)
            if found := _UNUSED.search(clean):
                self.unused = found[1]
        else:
            self.rest.append(clean)

    def find(self, pattern: str) -> re.Match[str] | None:
        """The first match in what went wrong."""
        matches = (re.search(pattern, line) for line in (*self.problems, *self.warnings))
        return next((match for match in matches if match), None)


@dataclass(frozen=True)
class Ended:
    """A run that came to its end: ffmpeg's exit ``code``, the last ``progress``, wall-clock ``seconds``."""

    code: int
    progress: Progress
    seconds: float
    log: Log


def follow(
    command: Sequence[str],
    total: float,
    rate: float,
    progress: Callable[[Progress], None],
    cancel: threading.Event | None,
) -> Ended:
    """Run ffmpeg to its end. It is killed when this is interrupted, or when ``cancel`` is set.

    ``total`` and ``rate`` are the source's seconds and frames a second; 0: not known.

    Raises :class:`CancelledError`, :class:`ToolError` when it cannot be started, and :class:`InputError` for
    an option that the encoder does not have.
    """
    start = time.monotonic()
    log = Log()
    last = Progress(0.0, total, 0, 0.0, 0.0)
    if not os.access(command[0], os.X_OK):
        raise ToolError(f"{command[0]} cannot be started: it is no program")
    try:
        process = subprocess.Popen(
            [*_leash(), *command],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            encoding="utf-8",
            errors="replace",
        )
    except OSError as error:
        raise ToolError(f"{command[0]} cannot be started: {error.strerror}") from error
    with process:
        assert process.stdout is not None
        assert process.stderr is not None
        lines: queue.Queue[str | None] = queue.Queue()
        threads = [
            threading.Thread(target=_listen, args=(process.stderr, log.add), daemon=True),
            threading.Thread(target=_pass, args=(process.stdout, lines), daemon=True),
        ]
        try:
            for thread in threads:
                thread.start()
            values: dict[str, str] = {}
            while True:
                if cancel is not None and cancel.is_set():
                    raise CancelledError("the run was cancelled; nothing was written")
                if log.unused:
                    raise _unused(log.unused)
                with contextlib.suppress(queue.Empty):
                    line = lines.get(timeout=_PATIENCE)
                    if line is None:
                        break
                    key, _, value = line.strip().partition("=")
                    values[key] = value
                    if key == "progress":
                        last = _read(values, total, rate)
                        progress(last)
            process.wait()
            if log.unused and not process.returncode:
                raise _unused(log.unused)
        except BaseException:
            process.kill()
            process.wait()
            raise
        finally:
            for thread in threads:
                if thread.ident is not None:
                    thread.join(5)
    return Ended(process.returncode, last, time.monotonic() - start, log)


@functools.lru_cache(maxsize=1)
def _leash() -> tuple[str, ...]:
    """What goes before a command that the kernel is to end when we are killed ourselves.

    Such an ffmpeg would go on for hours, seen by nobody. (A preexec_fn is not safe beside threads.)
    """
    words = ("setpriv", "--pdeathsig", "KILL", "--")
    try:
        done = subprocess.run([*words, "true"], stdin=subprocess.DEVNULL, capture_output=True, check=False)
    except OSError:
        return ()
    return () if done.returncode else words  # another one than util-linux's


def _unused(option: str) -> InputError:
    return InputError(
        f"the encoder has no option '{option}', and would go on without it: leave it out, or name another "
        "encoder"
    )


def _listen(stream: IO[str], add: Callable[[str], None]) -> None:
    with contextlib.suppress(ValueError):  # closed meanwhile
        for line in stream:
            add(line)


def _pass(stream: IO[str], lines: queue.Queue[str | None]) -> None:
    try:
        _listen(stream, lines.put)
    finally:
        lines.put(None)


def _read(values: dict[str, str], total: float, rate: float) -> Progress:
    frames, fps = int(number(values.get("frame"))), number(values.get("fps"))
    # ffmpeg's time is that of the stream that is furthest behind: of the last subtitle, or none at all.
    seconds, speed = number(values.get("out_time_us")) / 1e6, number((values.get("speed") or "").rstrip("x"))
    if rate and frames / rate > seconds:
        seconds, speed = frames / rate, fps / rate
    return Progress(min(seconds, total) if total else seconds, total, frames, fps, speed)


def number(text: str | None) -> float:
    """0 for what is no number: N/A until the first frame."""
    try:
        return float(text or 0)
    except ValueError:
        return 0.0


__all__ = ["LOG_LEVEL", "Ended", "Log", "Progress", "follow", "number"]
