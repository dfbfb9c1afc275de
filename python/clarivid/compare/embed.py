# SPDX-License-Identifier: BSD-2-Clause
"""Pictures as they go into the page: lossless while they fit into its size, else as good as fits."""

from __future__ import annotations

import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from html import escape

import numpy as np

from clarivid.compare.pictures import Shown, difference_of, heat
from clarivid.pages import Picture, data_uri, webp

BUDGET = 10_000_000  # bytes of pictures; base64 makes a third more of them
_QUALITIES = (95, 92, 88, 84, 80, 74, 66, 58, 48)
_HEAT_QUALITIES = (80, 60, 40, 20)
_HEAT_SHARE, _LEAST_SHARE = 0.2, 0.4  # of the budget: what maps of differences may take, what frames get


@dataclass(frozen=True)
class Embedded:
    """``store``: the elements that hold the pictures; ``quality``: of whole frames, None when lossless."""

    store: str
    thumbnails: list[str]
    quality: int | None


def embed(shown: Sequence[Shown], labels: Sequence[str], judged: Sequence[int]) -> Embedded:
    """All pictures of a page.

    Ids: ``f<n>-<k>`` is frame n of file k; ``p<n>-<place>-<k>`` a place of it, lossless, when frames are not;
    ``h<n>-<m>`` the map of differences of the m-th judged file against the last file (against the first when
    there are two).
    """
    against = labels[2] if len(labels) == 3 else labels[0]
    drawn = [
        heat(difference_of(one.pictures[labels[k]], one.pictures[against])) for one in shown for k in judged
    ]
    maps, _ = _fitting(drawn, _HEAT_QUALITIES, BUDGET * _HEAT_SHARE)
    left = BUDGET - sum(map(len, maps))
    pictures = [one.pictures[label] for one in shown for label in labels]
    # Lossless pictures of video take about 10 bits a sample of luma; those that cannot fit are not tried.
    frames: list[bytes] = []
    quality: int | None = None
    parts: dict[str, bytes] = {}
    if pictures[0].size * len(pictures) / 20 <= left:
        frames, _ = _fitting(pictures, [None], left, must=False)
    if not frames:
        parts = {
            f"p{n}-{p}-{k}": webp(place.of(one.pictures[label]))
            for n, one in enumerate(shown)
            for k, label in enumerate(labels)
            for p, place in enumerate(one.places)
        }
        room = max(left - sum(map(len, parts.values())), BUDGET * _LEAST_SHARE)
        frames, quality = _fitting(pictures, _QUALITIES, room)
    elements = []
    for n, one in enumerate(shown):
        name = f"frame {one.chosen.pair}"
        for k, label in enumerate(labels):
            elements.append(_element(f"f{n}-{k}", frames[n * len(labels) + k], f"{label}, {name}"))
            for p in range(len(one.places) if parts else 0):
                part = f"p{n}-{p}-{k}"
                elements.append(_element(part, parts[part], f"{label}, {name}, place {p + 1}"))
        for m, k in enumerate(judged):
            text = f"{labels[k]} less {against}, {name}"
            elements.append(_element(f"h{n}-{m}", maps[n * len(judged) + m], text))
    thumbnails = [data_uri(webp(_small(one.pictures[labels[1]]), 75)) for one in shown]
    return Embedded("".join(elements), thumbnails, quality)


def _fitting(
    pictures: Sequence[Picture], qualities: Sequence[int | None], room: float, must: bool = True
) -> tuple[list[bytes], int | None]:
    """Encoded at the first quality that fits into ``room`` bytes, and that quality.

    When none does: at the last one, or (without ``must``) nothing.

    The first and the last picture tell what all of them would take. None is lossless.
    """
    tried = [pictures[0], pictures[-1]] if len(pictures) > 1 else list(pictures)

    def encoded(some: Sequence[Picture], quality: int | None) -> list[bytes]:
        with ThreadPoolExecutor(len(os.sched_getaffinity(0))) as pool:
            return list(pool.map(lambda picture: webp(picture, quality), some))

    for quality in qualities:
        last = must and quality == qualities[-1]
        if last or sum(map(len, encoded(tried, quality))) * len(pictures) / len(tried) <= room:
            coded = encoded(pictures, quality)
            if last or sum(map(len, coded)) <= room:
                return coded, quality
    return [], None


def _small(picture: Picture, width: int = 240) -> Picture:
    """A thumbnail, by means over blocks."""
    step = max(picture.shape[1] // width, 1)
    rows, columns = picture.shape[0] // step, picture.shape[1] // step
    blocks = picture[: rows * step, : columns * step].reshape(rows, step, columns, step, 3)
    small: Picture = blocks.mean((1, 3)).round().astype(np.uint8)
    return small


def _element(name: str, data: bytes, text: str) -> str:
    return f'<img id="{name}" src="{data_uri(data)}" alt="{escape(text)}">\n'
