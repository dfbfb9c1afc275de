# SPDX-License-Identifier: BSD-2-Clause
"""Crops side by side, as they go into the page: the source, and every variant at about the same bits."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from clarivid.demo import read_frame
from clarivid.pages import Picture, data_uri, webp
from clarivid.rd.plan import PLAIN, Source
from clarivid.rd.prepare import CROP
from clarivid.rd.report import anchor_of
from clarivid.rd.results import Point, Results


@dataclass(frozen=True)
class Crop:
    """``uri``: a data URI; ``kbps`` and ``scores`` are those of the whole encode, absent for the source."""

    variant: str
    uri: str
    rate: float | None = None
    kbps: float | None = None
    scores: Mapping[str, float] | None = None


def crops(
    results: Results, found: Mapping[str, Any], source: Source
) -> tuple[tuple[int, int, int], list[Crop]]:
    """Where (frame, left, top), and the crops: source, plain, then each variant.

    The place is where the first variant changes the picture most.
    """
    place = results.clips[source.name, results.variants()[0]].crop
    anchor = anchor_of(found, source.name)
    plain = next(
        p
        for p in results.points
        if (p.clip, p.encoder, p.mode, p.variant) == (source.name, anchor["encoder"], "crf", PLAIN)
        and p.rate == anchor["rate"]
    )
    shown: list[Point] = [plain, *(p for p in results.matched if p.clip == source.name)]
    made = [Crop("source", _uri(read_frame(source.path, place[0]), place))]
    for point in shown:
        picture = read_frame(point.stream, place[0])
        made.append(Crop(point.variant, _uri(picture, place), point.rate, point.kbps, point.scores))
    return place, made


def _uri(picture: Picture, place: tuple[int, int, int]) -> str:
    _, left, top = place
    return data_uri(webp(picture[top : top + CROP[1], left : left + CROP[0]]))
