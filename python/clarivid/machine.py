# SPDX-License-Identifier: BSD-2-Clause
"""What a figure was measured on, for the JSON that benchmarks write."""

from __future__ import annotations

import os
import platform
from datetime import datetime, timezone
from importlib import metadata
from pathlib import Path
from typing import Any

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
