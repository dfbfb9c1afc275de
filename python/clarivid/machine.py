# SPDX-License-Identifier: BSD-2-Clause
"""What benchmarks share: what a figure was measured on, and what a process took."""

from __future__ import annotations

import json
import os
import platform
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timezone
from importlib import metadata
from pathlib import Path
from typing import Any

from clarivid.errors import ToolError, last_line

FLAGS = ("avx2", "avx512f", "avx512_bf16", "avx512_vnni", "amx_bf16", "amx_int8")


def describe() -> dict[str, Any]:
    """Processor, cores that this process may use, memory, versions, and how busy the machine was."""
    fields: dict[str, str] = {}
    with Path("/proc/cpuinfo").open(encoding="utf-8") as lines:
        for line in lines:
            key, _, value = line.partition(":")
            fields.setdefault(key.strip(), value.strip())
    flags = fields.get("flags", "").split()
    return {
        "processor": fields.get("model name", platform.machine()),
        "cores": len(os.sched_getaffinity(0)),
        "memory_gib": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30, 1),
        "flags": [flag for flag in FLAGS if flag in flags],
        "kernel": platform.release(),
        "openvino": metadata.version("openvino"),
        "load_average_before": round(os.getloadavg()[0], 2),
        "date": datetime.now(timezone.utc).date().isoformat(),
    }


@dataclass(frozen=True)
class Run:
    """One process: wall clock and processor time in seconds, peak resident memory in MiB."""

    wall: float
    cpu: float
    peak_mib: float


# The peak that Linux reports for a process begins with that of its parent at the time of the fork, so a
# large parent hides a small child: the command is started by a small process, which has no other child.
_LAUNCHER = """
import json, os, subprocess, sys, time
start = time.perf_counter()
child = subprocess.Popen(sys.argv[2:], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
_, status, usage = os.wait4(child.pid, 0)
wall = time.perf_counter() - start
child.returncode = code = os.waitstatus_to_exitcode(status)
with open(sys.argv[1], "w") as report:
    json.dump([code, wall, usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024], report)
"""


def timed(command: Sequence[str], cwd: Path | None = None) -> Run:
    """Run a command to its end; what it prints is dropped. A peak below about 10 MiB is reported as that.

    Raises :class:`ToolError` with the last thing it said on stderr when it fails.
    """
    with tempfile.NamedTemporaryFile("r", encoding="utf-8") as report, tempfile.TemporaryFile() as said:
        launcher = [sys.executable, "-I", "-S", "-c", _LAUNCHER, report.name, *command]
        done = subprocess.run(launcher, cwd=cwd, stderr=said, check=False)
        said.seek(0)
        text = last_line(said.read().decode("utf-8", "replace"))
        if done.returncode:
            raise ToolError(f"{Path(command[0]).name} could not be started: {text}")
        code, wall, cpu, peak = json.load(report)
    if code:
        raise ToolError(f"{Path(command[0]).name} failed with exit code {code}: {text}")
    return Run(wall, cpu, peak)


def own_peak_mib() -> float:
    """Peak resident memory of this process in MiB, without what its parent had when it was forked."""
    status = Path("/proc/self/status").read_text("utf-8")
    return int(status.partition("VmHWM:")[2].split()[0]) / 1024
