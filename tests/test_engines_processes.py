# SPDX-License-Identifier: BSD-2-Clause
"""The cache of engines among processes: killed ones, and many that want the same."""

from __future__ import annotations

import multiprocessing
import os
import random
import signal
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from clarivid.engines import EngineCache
from engine_tools import KEY, new_cache, put

FORK = multiprocessing.get_context("fork")


@pytest.fixture
def cache(tmp_path: Path) -> EngineCache:
    return new_cache(tmp_path)


def _build_many(cache: EngineCache, numbers: range, started: Any = None) -> None:
    if started is not None:
        started.set()
    for number in numbers:
        key = replace(KEY, model=f"net{number}")
        cache.get(key, lambda number=number: bytes([number % 251]) * 300_000, {})


def test_a_process_killed_at_any_moment_leaves_only_whole_entries(cache: EngineCache) -> None:
    """Fifty times SIGKILL while engines are written; what was there before stays as it was."""
    kept = [put(cache, replace(KEY, model=f"kept{i}"), bytes([i]) * 1000) for i in range(5)]
    rng = random.Random(3)
    for round_ in range(50):
        started = FORK.Event()
        numbers = range(50 * round_, 50 * round_ + 50)
        process = FORK.Process(target=_build_many, args=(cache, numbers, started))
        process.start()
        started.wait()
        time.sleep(rng.random() * 0.1)
        assert process.pid is not None
        os.kill(process.pid, signal.SIGKILL)
        process.join()
    good, faults = cache.verify()
    assert all("not finished" in fault.problem for fault in faults)
    assert {entry.path for entry in kept} <= {entry.path for entry in good}
    for entry in good:
        data = entry.path.read_bytes()
        expected = 1000 if entry.key.model.startswith("kept") else 300_000
        assert data == data[:1] * expected
    assert len(good) > 15  # the rounds did write
    cache.prune()
    assert cache.verify()[1] == []
    assert sorted(p.suffix for p in cache.folder.iterdir()) == sorted([".engine", ".json"] * len(good))
    _build_many(cache, range(20))  # no lock is left held


def _get_slowly(cache: EngineCache, counter: Path, results: Any) -> None:
    def build() -> bytes:
        with counter.open("a") as log:
            log.write("x")
        time.sleep(0.3)
        return b"engine"

    results.put(cache.get(KEY, build, {})[1])


def test_eight_processes_that_want_one_engine_build_it_once(cache: EngineCache, tmp_path: Path) -> None:
    results = FORK.Queue()
    processes = [
        FORK.Process(target=_get_slowly, args=(cache, tmp_path / "count", results)) for _ in range(8)
    ]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
        assert process.exitcode == 0
    assert sorted(results.get() for _ in range(8)) == [False] * 7 + [True]
    assert (tmp_path / "count").read_text() == "x"
