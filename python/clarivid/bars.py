# SPDX-License-Identifier: BSD-2-Clause
"""Progress bars: on stderr, silent when that is no terminal."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeElapsedColumn, TimeRemainingColumn

if TYPE_CHECKING:
    from clarivid.chains import Progress as State


@contextmanager
def bar(what: str) -> Iterator[tuple[Progress, TaskID]]:
    """A bar with elapsed and remaining time; ``{task.fields[note]}`` may be updated at its end."""
    columns = (
        TextColumn("{task.description}", markup=False),  # a file may be called [b].mp4
        BarColumn(),
        TextColumn("{task.percentage:>3.0f} %"),
        TimeElapsedColumn(),
        TextColumn("left"),
        TimeRemainingColumn(),
        TextColumn("{task.fields[note]}"),
    )
    with Progress(*columns, console=Console(stderr=True), disable=not sys.stderr.isatty()) as progress:
        yield progress, progress.add_task(what, total=None, note="")


@contextmanager
def film(name: str) -> Iterator[Callable[[State], None]]:
    """A bar for a run of a chain: what ``progress`` of :func:`clarivid.chains.run` is to be."""
    with bar(name) as (drawn, task):

        def tell(state: State) -> None:
            drawn.update(
                task, completed=state.seconds, total=state.total or None, note=f"{state.fps:.1f} fps"
            )

        yield tell


__all__ = ["bar", "film"]
