# SPDX-License-Identifier: BSD-2-Clause
"""Long jobs in pieces: each finished piece is a file, so that an interrupted run goes on where it stopped."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from clarivid.errors import InputError

Job = TypeVar("Job")
Part = dict[str, Any]  # names and arrays, as numpy.savez takes them


class Parts:
    """The folder ``<out>.parts`` with one file a finished job.

    ``settings`` is all that the jobs' results depend on; :class:`InputError` when the folder was begun with
    other settings.
    """

    def __init__(self, out: Path, settings: Mapping[str, Any]) -> None:
        self.folder = out.with_name(out.name + ".parts")
        self.folder.mkdir(parents=True, exist_ok=True)
        note = self.folder / "run.json"
        text = json.dumps(settings, sort_keys=True)
        if note.is_file() and note.read_text("utf-8") != text:
            raise InputError(
                f"{self.folder} was begun with other settings, {note.read_text('utf-8')}; "
                "repeat that command, or remove the folder"
            )
        note.write_text(text, "utf-8")

    def make(
        self,
        work: Sequence[tuple[str, Job]],
        run: Callable[[Job], Part],
        jobs: int = 1,
        progress: Callable[[int, int], None] | None = None,
    ) -> None:
        """Run what is missing of ``work``, pairs of a part's name and its job, in ``jobs`` processes."""
        todo = [(self._file(name), job) for name, job in work if not self._file(name).is_file()]
        done = len(work) - len(todo)
        for _ in self._each(partial(_run, run), todo, jobs):
            done += 1
            if progress:
                progress(done, len(work))

    def load(self, name: str) -> Part:
        """A finished part."""
        with np.load(self._file(name)) as part:
            return dict(part.items())

    def remove(self) -> None:
        """Remove the folder: what was to be made of the parts is made."""
        shutil.rmtree(self.folder)

    def _file(self, name: str) -> Path:
        return self.folder / f"{name}.npz"

    @staticmethod
    def _each(
        run: Callable[[tuple[Path, Job]], None], todo: list[tuple[Path, Job]], jobs: int
    ) -> Iterator[None]:
        if jobs == 1:
            yield from map(run, todo)
            return
        with ProcessPoolExecutor(jobs) as pool:
            yield from pool.map(run, todo, chunksize=2)


def _run(run: Callable[[Job], Part], item: tuple[Path, Job]) -> None:
    file, job = item
    temporary = file.with_suffix(".tmp")
    with temporary.open("wb") as stream:
        np.savez(stream, **run(job))
    temporary.replace(file)
