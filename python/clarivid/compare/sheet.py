# SPDX-License-Identifier: BSD-2-Clause
"""A comparison as one picture for a paper: a row a frame, a column a file, the frame itself on the left."""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from clarivid.compare.pictures import Place, Shown
from clarivid.outputs import write_whole
from clarivid.pages import Picture
from clarivid.pages.sheet import contact_sheet
from clarivid.rd.scores import SCORES as KNOWN

if TYPE_CHECKING:
    from clarivid.compare import Comparison

CROP = (120, 90)  # samples that a cell shows, at the middle of the frame's first place
_BOX = (255, 214, 10)  # the colour of the box in the frame
_CAPTION = ("vmaf", "ssim", "psnr_y")  # the scores below a crop


def write(found: Comparison, shown: Sequence[Shown], path: Path, zoom: int = 3) -> Path:
    """Write the sheet as PNG; it appears when it is complete.

    :param zoom: every sample of a crop becomes a square of so many.
    """
    stream = io.BytesIO()
    draw(found, shown, zoom).save(stream, "PNG", optimize=True)
    write_whole(path, stream.getvalue())
    return path


def draw(found: Comparison, shown: Sequence[Shown], zoom: int = 3) -> Any:
    """The sheet as a ``PIL.Image.Image``: the frame, the reference when there is one, A, B."""
    labels = list(found.files)
    order = [*labels[2:], *labels[:2]]
    width, height = min(CROP[0], found.canvas.width), min(CROP[1], found.canvas.height)
    rows, captions = [], []
    for one in shown:
        crop = _crop(one.places[0], width, height, found.canvas.width, found.canvas.height)
        whole = _whole(one.pictures[order[0]], crop, height * zoom)
        enlarged = [crop.of(one.pictures[label]).repeat(zoom, 0).repeat(zoom, 1) for label in order]
        rows.append([whole, *enlarged])
        pair = one.chosen.pair
        time = f"frame {found.pairing.indices[pair, 0]}, {found.pairing.times[pair]:.2f} s"
        captions.append([time, *(_scores(found, label, pair) for label in order)])
    return contact_sheet(["frame", *order], rows, captions=captions)


def _crop(place: Place, width: int, height: int, right: int, bottom: int) -> Place:
    x = min(max(place.x + (place.width - width) // 2, 0), right - width)
    y = min(max(place.y + (place.height - height) // 2, 0), bottom - height)
    return Place(x, y, width, height, place.difference)


def _whole(picture: Picture, crop: Place, height: int) -> Picture:
    """The frame at that height, with a box around the crop."""
    from PIL import Image

    width = max(round(picture.shape[1] * height / picture.shape[0]), 1)
    image = Image.fromarray(np.ascontiguousarray(picture)).resize((width, height), Image.Resampling.LANCZOS)
    small = np.array(image)
    scale = height / picture.shape[0]
    left, top = round(crop.x * scale), round(crop.y * scale)
    right = min(round((crop.x + crop.width) * scale), width) - 1
    bottom = min(round((crop.y + crop.height) * scale), height) - 1
    for shift in (0, 1):
        small[top + shift, left : right + 1] = small[bottom - shift, left : right + 1] = _BOX
        small[top : bottom + 1, left + shift] = small[top : bottom + 1, right - shift] = _BOX
    return small


def _scores(found: Comparison, label: str, pair: int) -> str:
    """Of that frame; nothing for what is not judged."""
    own = found.scored.scores.get(label, {})
    parts = []
    for name in _CAPTION:
        if name in own:
            digits = 4 if name == "ssim" else 1
            parts.append(f"{KNOWN[name].label} {own[name][pair]:.{digits}f} {KNOWN[name].unit}".strip())
    return ", ".join(parts)
