# SPDX-License-Identifier: BSD-2-Clause
"""The options ``rect`` and ``boxes`` of ``mesh_inpaint`` in Python: boxes of every picture, and of each."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from clarivid.errors import InputError
from clarivid.inpaint_masks import Box, boxes_mask

_SEPARATORS = re.compile(r"\s*,\s*|\s+")


@dataclass(frozen=True)
class Regions:
    """``always``: boxes of every picture; ``of``: those of pictures by their number."""

    always: tuple[Box, ...] = ()
    of: dict[int, list[Box]] = field(default_factory=dict)

    def at(self, number: int) -> list[Box]:
        """All boxes of picture ``number``."""
        return [*self.always, *self.of.get(number, ())]


def read_regions(
    rect: str | Sequence[Box] | None, boxes: str | os.PathLike[str] | None
) -> tuple[Regions | None, str | None]:
    """What the two options say, and ``rect`` as the filter takes it. Raises clarivid.InputError."""
    if rect is None and boxes is None:
        return None, None
    always = () if rect is None else tuple(_rect(rect) if isinstance(rect, str) else rect)
    if rect is not None:
        if not always:
            raise InputError("rect has no box: give x|y|w|h in luma samples, a comma between boxes")
        boxes_mask(always, 1, 1)  # checks them
    text = None if rect is None else ",".join("|".join(str(int(value)) for value in box) for box in always)
    return Regions(always, {} if boxes is None else _file(Path(boxes))), text


def _rect(text: str) -> list[Box]:
    return [
        _box(item.split("|" if "|" in item else ":"), f"rect: box {number} ('{item.strip()}')", "x|y|w|h")
        for number, item in enumerate(text.split(","), start=1)
    ]


def _file(path: Path) -> dict[int, list[Box]]:
    try:
        lines = path.read_text("utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is no text"
        raise InputError(f"the boxes file {path} cannot be read: {reason}") from error
    found: dict[int, list[Box]] = {}
    last = 0
    for number, whole in enumerate(lines, start=1):
        line = whole.partition("#")[0].strip()
        if not line:
            continue
        where = f"line {number} of boxes file {path}"
        frame, *parts = _SEPARATORS.split(line)
        if not frame.isdecimal():
            raise InputError(f"{where} has '{frame}' for its frame: a whole number from 0 is needed")
        if int(frame) < last:
            raise InputError(f"{where} has the frame {frame} after frame {last}: sort the lines (sort -n)")
        last = int(frame)
        found.setdefault(last, []).append(_box(parts, where, "frame x y w h"))
    return found


def _box(parts: Sequence[str], where: str, wanted: str) -> Box:
    try:
        x, y, width, height = (int(part) for part in parts)
    except ValueError:
        raise InputError(f"{where} is no box: give {wanted}, whole numbers of luma samples") from None
    if width < 1 or height < 1:
        raise InputError(f"{where} is empty: its size is at least 1 x 1")
    return x, y, width, height


__all__ = ["Regions", "read_regions"]
