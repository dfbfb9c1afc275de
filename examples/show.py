# SPDX-License-Identifier: BSD-2-Clause
"""What both examples leave for people to look at: the result, a video side by side, a contact sheet."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from clarivid.inpaint_bench.pictures import film, label, rgb
from clarivid.inpaint_bench.walker import Planes

TINT = np.array([255, 0, 255], np.float32)


def write(
    out: Path,
    shown: Sequence[Planes],
    masks: Sequence[NDArray[np.bool_]],
    result: Sequence[Planes],
    fps: float,
) -> list[Path]:
    """``clean.mp4``, ``side_by_side.mp4`` and ``sheet.png`` (six pictures, evenly spread) in ``out``."""
    height, width = shown[0][0].shape
    paths = [out / "clean.mp4", out / "side_by_side.mp4", out / "sheet.png"]
    film(paths[0], (rgb(picture).tobytes() for picture in result), (width, height), fps)
    pairs = (
        np.concatenate([label(rgb(before), "before"), label(rgb(after), "after")], 1).tobytes()
        for before, after in zip(shown, result, strict=True)
    )
    film(paths[1], pairs, (2 * width, height), fps)
    rows = []
    for t in sorted({round(share * (len(shown) - 1)) for share in (0.0, 0.2, 0.4, 0.6, 0.8, 1.0)}):
        picture = rgb(shown[t])
        tinted = picture.astype(np.float32)
        tinted[masks[t]] = 0.5 * tinted[masks[t]] + 0.5 * TINT
        tiles = {f"picture {t}": picture, "mask": tinted.astype(np.uint8), "after": rgb(result[t])}
        rows.append(np.concatenate([label(tile, text) for text, tile in tiles.items()], 1))
    sheet = Image.fromarray(np.concatenate(rows, 0))
    if sheet.width > 2400:
        sheet = sheet.resize((2400, round(sheet.height * 2400 / sheet.width)), Image.Resampling.LANCZOS)
    sheet.save(paths[2])
    return paths
