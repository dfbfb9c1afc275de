# SPDX-License-Identifier: BSD-2-Clause
"""How a bundle comes to its place: whole files only, the card last."""

from __future__ import annotations

import hashlib
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def staged(out: Path) -> Iterator[Path]:
    """An empty folder beside the bundle ``out``, whose files are moved there when the block ends well.

    Each is renamed, so a reader never meets half a file; ``card.json``, which has the others' digests, comes
    last. After an exception ``out`` has what it had.
    """
    out.mkdir(parents=True, exist_ok=True)
    work = Path(tempfile.mkdtemp(prefix=".export-", dir=out.parent))
    try:
        yield work
        for file in sorted(work.iterdir(), key=lambda path: path.name == "card.json"):
            file.chmod(0o644)
            os.replace(file, out / file.name)  # noqa: PTH105
    finally:
        shutil.rmtree(work, ignore_errors=True)


def digests(folder: Path) -> dict[str, dict[str, str]]:
    """The card's "files" entry for what lies in ``folder``."""
    return {
        path.name: {"sha256": hashlib.sha256(path.read_bytes()).hexdigest()}
        for path in sorted(folder.iterdir())
    }
