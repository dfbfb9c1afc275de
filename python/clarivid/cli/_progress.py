# SPDX-License-Identifier: BSD-2-Clause
"""The progress bar of the long commands: on stderr, silent when that is no terminal."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeElapsedColumn, TimeRemainingColumn


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
