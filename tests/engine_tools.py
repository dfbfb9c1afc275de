# SPDX-License-Identifier: BSD-2-Clause
"""What the tests of engines share."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from clarivid.engines import EngineCache, Entry, Identity, Key, Profile

SHAPE = (1, 6, 360, 640)
KEY = Key(
    "net",
    "0" * 64,
    "fp16",
    Profile(SHAPE, SHAPE, SHAPE),
    "tensorrt",
    "10.14.1",
    Identity(75, "Tesla T4", 40, 15109, 256, 4 << 20),
)


def new_cache(tmp_path: Path) -> EngineCache:
    """Empty, without shared layers; what it says is kept in ``said``."""
    said: list[str] = []
    made = EngineCache(tmp_path / "engines", shared=[], say=said.append)
    made.said = said  # type: ignore[attr-defined]
    return made


def put(cache: EngineCache, key: Key = KEY, engine: bytes = b"engine") -> Entry:
    entry, built = cache.get(key, lambda: engine, {"clarivid": "test"})
    assert built
    return entry


def edit(path: Path, change: Any) -> None:
    """Rewrites a sidecar."""
    record = json.loads(path.read_text())
    change(record)
    path.write_text(json.dumps(record))
