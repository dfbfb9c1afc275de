# SPDX-License-Identifier: BSD-2-Clause
"""What all tests share: running the command line, making bundles, and skipping what this machine has not."""

from __future__ import annotations

import hashlib
import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NoReturn

import pytest

ROOT = Path(__file__).resolve().parent.parent

Run = Callable[..., "subprocess.CompletedProcess[str]"]
MakeBundle = Callable[..., Path]


def missing_here(sentence: str) -> NoReturn:
    """Something that tools/setup.sh fetches or builds is not there: a failure in CI, elsewhere a skip."""
    if os.environ.get("CI", "").lower() in ("1", "true", "yes"):
        pytest.fail(sentence)
    pytest.skip(sentence)


@pytest.fixture(scope="session")
def root() -> Path:
    """The checkout."""
    return ROOT


@pytest.fixture
def clarivid() -> Run:
    """Run ``clarivid ARGUMENTS`` in its own process; keyword arguments are environment."""

    def run(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "clarivid", *arguments],
            env={**os.environ, "NO_COLOR": "1", **environment},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )

    return run


@pytest.fixture
def interruptible() -> Iterator[None]:
    """Let child processes be interrupted, also when the tests started with SIGINT ignored (``make &``)."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


def card_for(name: str, contents: dict[str, bytes], /, **changes: Any) -> dict[str, Any]:
    """A valid card of schema 1; a change to None removes the key."""
    card: dict[str, Any] = {
        "schema": 1,
        "name": name,
        "task": "sr",
        "layout": "yuv420_s2d",
        "scale": 2,
        "normalisation": "ycbcr_unit_centred",
        "files": {key: {"sha256": hashlib.sha256(data).hexdigest()} for key, data in contents.items()},
        "input": {"multiple_of": 2, "min_width": 32, "min_height": 32},
        "parameters": 106000,
        "gmac_1080p": 49.0,
        "licence": "BSD-2-Clause",
        **changes,
    }
    return {key: value for key, value in card.items() if value is not None}


@pytest.fixture
def make_bundle(tmp_path: Path) -> MakeBundle:
    """Write ``<tmp_path>/models/<name>/`` with a card and dummy files; keyword arguments change the card."""

    def make(name: str = "toy_x2", /, **changes: Any) -> Path:
        folder = tmp_path / "models" / name
        folder.mkdir(parents=True)
        files = {"model.onnx": b"no graph, only bytes", "weights.safetensors": b"no weights either"}
        for file, data in files.items():
            (folder / file).write_bytes(data)
        (folder / "card.json").write_text(json.dumps(card_for(name, files, **changes)), encoding="utf-8")
        return folder

    return make
