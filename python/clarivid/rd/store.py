# SPDX-License-Identifier: BSD-2-Clause
"""The work folder: what has been measured is never measured again.

::

    rd/references/<key>.json   facts of a clip's first frames as they decode
    rd/variants/<key>.json     facts of the same after a filter
    rd/points/<key>.json       one encode: bits, packets, scores, commands
    rd/points/<key>.mkv        and its stream
    rd/tmp-<pid>-*/            of a process that runs: the lossless clips, until their points are done

A key is a digest of everything that the result depends on. For a point that is the *content* of the two
clips (a digest of their decoded samples), the encoder's command and its version; so a filter that is rebuilt
and gives the same samples finds its points again, and a changed one never does. Files are written beside
their place and renamed: what is there is complete, and several runs may share the folder.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from clarivid.paths import cache_dir

FORMAT = 1  # Part of every key: raise it when a measurement changes its meaning.


class Store:
    """Records and files of ``rd``, in ``root`` (the cache's ``rd/`` by default)."""

    def __init__(self, root: Path | None = None) -> None:
        self.root = root or cache_dir() / "rd"
        self.root.mkdir(parents=True, exist_ok=True)
        self._sweep()

    @staticmethod
    def key(*parts: object) -> str:
        """A digest of ``parts``, which must be representable as JSON."""
        text = json.dumps([FORMAT, *parts], sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:32]

    def load(self, kind: str, key: str) -> dict[str, Any] | None:
        """The record, or None when there is none (or it is damaged: then it is made again)."""
        try:
            record = json.loads(self.path(kind, key, ".json").read_text("utf-8"))
        except (OSError, ValueError):
            return None
        return record if isinstance(record, dict) else None

    def save(self, kind: str, key: str, record: dict[str, Any]) -> None:
        """Write the record at once and whole."""
        with self.temporary() as folder:
            draft = folder / "record.json"
            draft.write_text(json.dumps(record, indent=1, allow_nan=False) + "\n", "utf-8")
            self.keep(draft, kind, key)

    def keep(self, file: Path, kind: str, key: str) -> Path:
        """Move a finished file to its place and return that."""
        path = self.path(kind, key, file.suffix)
        path.parent.mkdir(parents=True, exist_ok=True)
        file.replace(path)
        return path

    def path(self, kind: str, key: str, suffix: str) -> Path:
        """Where it lies, or would."""
        return self.root / kind / f"{key}{suffix}"

    @contextmanager
    def temporary(self) -> Iterator[Path]:
        """A folder of this process, on the same file system; gone afterwards."""
        with tempfile.TemporaryDirectory(prefix=f"tmp-{os.getpid()}-", dir=self.root) as name:
            yield Path(name)

    def _sweep(self) -> None:
        """Remove what processes that are no more have left."""
        for folder in self.root.glob("tmp-*-*"):
            with suppress(ValueError, PermissionError):
                try:
                    os.kill(int(folder.name.split("-")[1]), 0)
                except ProcessLookupError:
                    shutil.rmtree(folder, ignore_errors=True)
