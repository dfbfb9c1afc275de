# SPDX-License-Identifier: BSD-2-Clause
"""Contact sheets: pictures in rows and labelled columns, enlarged pixel by pixel, for papers and READMEs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from clarivid.pages import Picture

if TYPE_CHECKING:
    from PIL import Image, ImageFont

GAP, HEAD, FOOT = 8, 40, 24
_SIZE, _SMALL = 22, 15


def contact_sheet(
    columns: Sequence[str],
    rows: Sequence[Sequence[Picture]],
    *,
    zoom: int = 1,
    captions: Sequence[Sequence[str]] | None = None,
) -> Image.Image:
    """A picture with ``rows`` below the names of ``columns``.

    :param rows: a picture a column; those of one column have one width, those of one row one height.
    :param zoom: every pixel becomes a square of so many.
    :param captions: a line below each picture; without them there is no room for any.
    """
    from PIL import Image, ImageDraw, ImageFont

    font, small = (ImageFont.load_default(size=size) for size in (_SIZE, _SMALL))
    foot = FOOT if captions is not None else 0
    widths = [picture.shape[1] * zoom for picture in rows[0]]
    heights = [row[0].shape[0] * zoom for row in rows]
    lefts = np.cumsum([GAP, *(width + GAP for width in widths)]).tolist()
    size = (lefts[-1], HEAD + sum(heights) + len(rows) * (foot + GAP))
    sheet = Image.new("RGB", size, "white")
    draw = ImageDraw.Draw(sheet)
    for name, left, width in zip(columns, lefts, widths, strict=False):
        shown = _fitted(name, font, width)
        draw.text((left + width // 2, HEAD // 2), shown, "black", font=font, anchor="mm")
    top = HEAD
    for n, (row, height) in enumerate(zip(rows, heights, strict=True)):
        for column, (picture, left, width) in enumerate(zip(row, lefts, widths, strict=False)):
            cell = Image.fromarray(np.ascontiguousarray(picture))
            sheet.paste(cell.resize((width, height), Image.Resampling.NEAREST), (left, top))
            if captions is not None:
                at = (left + width // 2, top + height + foot // 2)
                draw.text(at, _fitted(captions[n][column], small, width), "#444", font=small, anchor="mm")
        top += height + foot + GAP
    return sheet


def _fitted(text: str, font: ImageFont.FreeTypeFont | ImageFont.ImageFont, width: int) -> str:
    """The text, or as much of it as is not wider than ``width``, and an ellipsis."""
    if font.getlength(text) <= width:
        return text
    while text and font.getlength(text + "\N{HORIZONTAL ELLIPSIS}") > width:
        text = text[:-1]
    return text + "\N{HORIZONTAL ELLIPSIS}"
