# SPDX-License-Identifier: BSD-2-Clause
"""Files that appear when they are complete: checked before the work, written beside, renamed at its end."""

from __future__ import annotations

import contextlib
import glob
import os
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

from clarivid.errors import InputError, ToolError

_DRAFT = ".clarivid-"  # what names of unfinished outputs begin with


def check_inputs(paths: Sequence[Path]) -> None:
    """Raises :class:`InputError` for files that are not there."""
    for path in paths:
        if not path.is_file():
            raise InputError(f"{path} is a folder" if path.is_dir() else f"{path} does not exist")


def check_output(out: Path, inputs: Sequence[Path], overwrite: bool, *, container: bool = False) -> None:
    """Raises :class:`InputError` for an output that cannot be, before any work is done.

    With ``container`` its suffix says what is written, so that it has to have one.
    """
    if container and not out.suffix:
        raise InputError(f"{out} has no suffix: name a container, such as {out}.mp4")
    if not out.parent.is_dir():
        raise InputError(f"the folder {out.parent} does not exist")
    if out.is_dir():
        raise InputError(f"{out} is a folder: name a file")
    if not os.access(out.parent, os.W_OK):
        raise InputError(f"the folder {out.parent} may not be written")
    if out.exists():
        if out.resolve() in (path.resolve() for path in inputs):
            raise InputError(f"{out} is an input: name another output")
        if not overwrite:
            raise InputError(f"{out} exists: name another output, or have it replaced (--overwrite)")


@contextlib.contextmanager
def draft_of(out: Path) -> Iterator[Path]:
    """A file beside ``out`` that is gone afterwards, unless it was renamed."""
    try:
        handle, name = tempfile.mkstemp(prefix=_draft_name(out), suffix=out.suffix, dir=out.parent)
    except OSError as error:
        raise InputError(f"nothing can be written into the folder {out.parent}: {error.strerror}") from error
    os.close(handle)
    draft = Path(name)
    try:
        yield draft
    finally:
        draft.unlink(missing_ok=True)


def finish(draft: Path, out: Path) -> None:
    """Brings the draft to the disk, and gives it its name. Raises :class:`ToolError`."""
    umask = os.umask(0)
    os.umask(umask)
    try:
        handle = os.open(draft, os.O_RDONLY)
        try:
            os.fchmod(handle, 0o666 & ~umask)
            os.fsync(handle)
        finally:
            os.close(handle)
        draft.replace(out)
        folder = os.open(out.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
    except OSError as error:
        raise ToolError(f"{out} cannot be written: {error.strerror}") from error


def write_whole(out: Path, data: bytes) -> None:
    """A whole file at once. Raises :class:`InputError` or :class:`ToolError`; then ``out`` is as it was."""
    with draft_of(out) as draft:
        try:
            draft.write_bytes(data)
        except OSError as error:
            raise ToolError(f"{out} cannot be written: {error.strerror}") from error
        finish(draft, out)


def remove_drafts(out: Path) -> None:
    """Removes what work on ``out`` has left that was killed; nobody else may be writing it."""
    for path in out.parent.glob(f"{glob.escape(_draft_name(out))}????????{glob.escape(out.suffix)}"):
        path.unlink(missing_ok=True)


def _draft_name(out: Path) -> str:
    return f"{_DRAFT}{out.stem[:60]}-"


__all__ = ["check_inputs", "check_output", "draft_of", "finish", "remove_drafts", "write_whole"]
