# SPDX-License-Identifier: BSD-2-Clause
"""Frames that are worth looking at, the places where A and B differ most, and maps of the differences."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from clarivid.clips import encoder
from clarivid.compare.canvas import Canvas
from clarivid.compare.media import VIDEO, Media, started
from clarivid.compare.pairing import Pairing
from clarivid.errors import ToolError, last_line
from clarivid.pages import Picture

PLACE = (256, 160)  # width, height of a place, at most half of the picture
PLACES = 3  # in each frame
HEAT_TOP = 32  # code values of difference that get the hottest colour

# Colours of the map of differences, from none to HEAT_TOP: dark to bright, so it reads without colours too.
HEAT = ("#000004", "#280b54", "#65156e", "#9f2a63", "#d44842", "#f57d15", "#fac127", "#fcffa4")


@dataclass(frozen=True)
class Chosen:
    """A pair of frames to show: its number among the pairs, and why."""

    pair: int
    why: str


@dataclass(frozen=True)
class Place:
    """Part of a picture: left, top, width, height; ``difference``: mean of it, in code values."""

    x: int
    y: int
    width: int
    height: int
    difference: float

    def of(self, picture: Picture) -> Picture:
        """That part of ``picture``."""
        return picture[self.y : self.y + self.height, self.x : self.x + self.width]


@dataclass(frozen=True)
class Shown:
    """A pair with its pictures, by label of the file, and its places, the one that differs most first."""

    chosen: Chosen
    pictures: Mapping[str, Picture]
    places: Sequence[Place]


def choose(difference: NDArray[np.float64], count: int) -> list[Chosen]:
    """``count`` pairs in their order: half of them where the difference is largest, the others evenly spaced.

    Those of the first half keep a distance, so that one bad scene does not take all of them.
    """
    pairs = len(difference)
    count = min(count, pairs)
    chosen: dict[int, str] = {}
    apart = max(pairs // (count + 1), 1)
    for number in np.argsort(-difference, kind="stable"):
        if len(chosen) >= (count + 1) // 2:
            break
        if all(abs(int(number) - other) >= apart for other in chosen):
            chosen[int(number)] = "large difference" if chosen else "largest difference"
    # The others: always the place that is farthest from every frame that is there, ends included.
    while len(chosen) < count:
        distance = np.abs(np.arange(pairs)[:, None] - np.array(list(chosen))).min(1)
        chosen[int(distance.argmax())] = "evenly spaced"
    return [Chosen(pair, chosen[pair]) for pair in sorted(chosen)]


def show(
    files: Mapping[str, Media],
    pairing: Pairing,
    canvas: Canvas,
    chosen: Sequence[Chosen],
    progress: Callable[[int], None] = lambda files: None,  # noqa: ARG005
) -> list[Shown]:
    """Decode the chosen pairs. ``progress`` gets the number of files done. Raises :class:`ToolError`."""
    pictures: list[dict[str, Picture]] = [{} for _ in chosen]
    for n, (label, media) in enumerate(files.items()):
        wanted = [int(pairing.indices[one.pair, n]) for one in chosen]
        found = frames(media, sorted(set(wanted)), canvas)
        for own, number in zip(pictures, wanted, strict=True):
            own[label] = found[number]
        progress(n + 1)
    a, b = list(files)[:2]
    return [
        Shown(one, own, places(difference_of(own[a], own[b])))
        for one, own in zip(chosen, pictures, strict=True)
    ]


def difference_of(a: Picture, b: Picture) -> NDArray[np.float32]:
    """[height, width]: mean over R', G', B' of the absolute difference, in code values."""
    change: NDArray[np.float32] = np.abs(a.astype(np.float32) - b).mean(2)
    return change


def places(
    difference: NDArray[np.float32], count: int = PLACES, size: tuple[int, int] = PLACE
) -> list[Place]:
    """Up to ``count`` places that do not overlap, by their difference; where there is none, the middle.

    ``size``: their width and height, at most half of the picture's.
    """
    height, width = difference.shape
    w, h = min(size[0], max(width // 2, 1)), min(size[1], max(height // 2, 1))
    # Sums over every w x h window from a table of sums (Crow 1984).
    table = np.zeros((height + 1, width + 1))
    table[1:, 1:] = difference.cumsum(0, dtype=np.float64).cumsum(1)
    sums = table[h:, w:] - table[:-h, w:] - table[h:, :-w] + table[:-h, :-w]
    found: list[Place] = []
    while len(found) < count:
        y, x = divmod(int(sums.argmax()), sums.shape[1])
        if sums[y, x] <= 1e-6 * w * h:
            break
        found.append(Place(x, y, w, h, float(sums[y, x]) / (w * h)))
        sums[max(y - h + 1, 0) : y + h, max(x - w + 1, 0) : x + w] = 0
    return found or [Place((width - w) // 2, (height - h) // 2, w, h, 0.0)]


def heat(difference: NDArray[np.float32]) -> Picture:
    """A map of differences in colours, at half the size; the scale is a square root, and ends at HEAT_TOP."""
    height, width = difference.shape
    even = np.pad(difference, ((0, height % 2), (0, width % 2)), mode="edge")
    small = even.reshape(even.shape[0] // 2, 2, even.shape[1] // 2, 2).max((1, 3))
    level = np.sqrt(np.clip(small / HEAT_TOP, 0, 1))
    picture: Picture = _HEAT_TABLE[(level * 255).round().astype(np.uint8)]
    return picture


def _table() -> Picture:
    """256 colours, between those of HEAT."""
    colours = np.array([[int(text[n : n + 2], 16) for n in (1, 3, 5)] for text in HEAT])
    steps, wanted = np.linspace(0, 1, len(HEAT)), np.linspace(0, 1, 256)
    channels = [np.interp(wanted, steps, colours[:, c]) for c in range(3)]
    table: Picture = np.stack(channels, 1).round().astype(np.uint8)
    return table


_HEAT_TABLE = _table()


def frames(media: Media, numbers: Sequence[int], canvas: Canvas) -> dict[int, Picture]:
    """Frames by their number, as R'G'B' of the canvas's size."""
    pick = "+".join(f"eq(n\\,{number})" for number in numbers)
    command = [encoder(), "-nostdin", "-hide_banner", "-nostats", "-loglevel", "error"]
    command += ["-i", str(media.path.resolve()), "-map", VIDEO, "-fps_mode", "passthrough"]
    command += ["-vf", f"select={pick},{canvas.picture(media)}"]
    command += ["-frames:v", str(len(numbers)), "-f", "rawvideo", "-"]
    shape = (canvas.height, canvas.width, 3)
    found = {}
    with started(command) as (process, messages):
        assert process.stdout is not None
        for number in numbers:
            data = process.stdout.read(shape[0] * shape[1] * 3)
            if len(data) < shape[0] * shape[1] * 3:
                raise ToolError(f"cannot read frame {number} of {media.path}: {last_line(messages())}")
            found[number] = np.frombuffer(data, np.uint8).reshape(shape)
    return found
