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
_PARTS = 0.25  # of the budget, roughly, for lossless places and maps: what the frames do not get
_HEAT_QUALITY = 80


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
    frames, quality = _whole([one.pictures[label] for one in shown for label in labels])
    elements = []
    for n, one in enumerate(shown):
        name = f"frame {one.chosen.pair}"
        for k, label in enumerate(labels):
            elements.append(_element(f"f{n}-{k}", frames[n * len(labels) + k], f"{label}, {name}"))
            for p, place in enumerate(one.places if quality is not None else ()):
                part = webp(place.of(one.pictures[label]))
                elements.append(_element(f"p{n}-{p}-{k}", part, f"{label}, {name}, place {p + 1}"))
        against = labels[2] if len(labels) == 3 else labels[0]
        for m, k in enumerate(judged):
            change = difference_of(one.pictures[labels[k]], one.pictures[against])
            drawn = webp(heat(change), _HEAT_QUALITY)
            elements.append(_element(f"h{n}-{m}", drawn, f"{labels[k]} less {against}, {name}"))
    thumbnails = [data_uri(webp(_small(one.pictures[labels[1]]), 75)) for one in shown]
    return Embedded("".join(elements), thumbnails, quality)


def _whole(pictures: Sequence[Picture]) -> tuple[list[bytes], int | None]:
    """Encoded, and the quality. The first and the last picture tell what all of them would take."""
    room = BUDGET * (1 - _PARTS)
    tried = [pictures[0], pictures[-1]] if len(pictures) > 1 else list(pictures)

    def encoded(some: Sequence[Picture], quality: int | None) -> list[bytes]:
        with ThreadPoolExecutor(len(os.sched_getaffinity(0))) as pool:
            return list(pool.map(lambda picture: webp(picture, quality), some))

    # Lossless pictures of video take about 10 bits a sample of luma; those that cannot fit are not tried.
    qualities: list[int | None] = [None, *_QUALITIES]
    if pictures[0].size * len(pictures) / 20 > room:
        qualities = list(_QUALITIES)
    for quality in qualities:
        last = quality == _QUALITIES[-1]
        if last or sum(map(len, encoded(tried, quality))) * len(pictures) / len(tried) <= room:
            coded = encoded(pictures, quality)
            if last or sum(map(len, coded)) <= room * 1.1:
                return coded, quality
    raise AssertionError("the last quality is taken whatever it gives")


def _small(picture: Picture, width: int = 240) -> Picture:
    """A thumbnail, by means over blocks."""
    step = max(picture.shape[1] // width, 1)
    rows, columns = picture.shape[0] // step, picture.shape[1] // step
    blocks = picture[: rows * step, : columns * step].reshape(rows, step, columns, step, 3)
    small: Picture = blocks.mean((1, 3)).round().astype(np.uint8)
    return small


def _element(name: str, data: bytes, text: str) -> str:
    return f'<img id="{name}" src="{data_uri(data)}" alt="{escape(text)}">\n'
