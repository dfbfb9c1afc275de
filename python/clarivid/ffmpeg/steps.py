# SPDX-License-Identifier: BSD-2-Clause
"""Running the programs of a build: output to a log, progress to the caller, failures by name."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from clarivid.errors import ToolError

Progress = Callable[[str, int, int], None]
"""Called with a step's name, what is done and what there is to do; 0 of 0 when that is not known."""

_TAIL = 12


def _never(_line: str) -> bool:
    return False


@dataclass(frozen=True)
class Runner:
    """Runs programs for one build; everything they say goes to ``log``."""

    log: Path
    env: Mapping[str, str]
    progress: Progress

    def run(
        self,
        step: str,
        command: Sequence[str],
        cwd: Path,
        *,
        total: int = 0,
        counts: Callable[[str], bool] = _never,
        remedy: str = "",
    ) -> None:
        """Run one program to its end.

        :param step: its name for people, such as ``"configure"``.
        :param total: how many lines will count, for the progress; 0 when that is not known.
        :param counts: whether a line of output is one step ahead.
        :param remedy: what to do when it fails.

        Raises :class:`ToolError` that names the step and the log and quotes the log's last lines.
        """
        self.progress(step, 0, total)
        done = 0
        tail: list[str] = []
        with self.log.open("a", encoding="utf-8", buffering=1) as log:
            log.write(f"\n== {step}: {' '.join(command)}\n")
            log.flush()
            try:
                process = subprocess.Popen(
                    command,
                    cwd=cwd,
                    env=dict(self.env),
                    stdin=subprocess.DEVNULL,
                    stdout=subprocess.PIPE,
                    stderr=subprocess.STDOUT,
                    text=True,
                    errors="replace",
                )
            except OSError as error:
                raise ToolError(f"step '{step}' cannot start '{command[0]}': {error}") from error
            with process:
                assert process.stdout is not None
                try:
                    for line in process.stdout:
                        log.write(line)
                        tail = [*tail[1 - _TAIL :], line.rstrip()]
                        if counts(line):
                            done += 1
                            self.progress(step, min(done, total) if total else done, total)
                except BaseException:
                    process.terminate()
                    raise
        if process.returncode != 0:
            quoted = "\n".join(f"  | {line}" for line in tail)
            raise ToolError(
                f"step '{step}' failed with exit code {process.returncode}. {remedy + ' ' if remedy else ''}"
                f"The whole log is {self.log}, its last lines are:\n{quoted}"
            )
        self.progress(step, total, total)


def tool_environment(cache: Path) -> dict[str, str]:
    """This process's environment with messages in English and ccache's folder inside clarivid's cache."""
    env = dict(os.environ, LC_ALL="C.UTF-8")
    env.setdefault("CCACHE_DIR", str(cache / "ccache"))
    for name in ("CFLAGS", "CPPFLAGS", "LDFLAGS", "MAKEFLAGS", "MFLAGS", "PKG_CONFIG_SYSROOT_DIR"):
        env.pop(name, None)  # a build is what its key says, and we may run below `make`
    return env


__all__ = ["Progress", "Runner", "tool_environment"]
