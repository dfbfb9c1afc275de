# SPDX-License-Identifier: BSD-2-Clause
"""``clarivid compare --blind``: a page on which people vote without knowing what they look at.

Each item is the same place of the same frame of two videos, side by side. Which is left is drawn for each
item, and so is the order. The page holds what it needs to count the votes at the end, masked, so that neither
its text nor a glance at its source tells; the *key* is a file of its own, for the one who made the page, and
with it the votes of many are counted (:func:`clarivid.blind.votes.count`).
"""

from __future__ import annotations

import base64
import json
import random
import secrets
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from html import escape
from pathlib import Path
from typing import Any

from clarivid.compare import compare
from clarivid.compare.pictures import difference_of, places
from clarivid.errors import InputError
from clarivid.outputs import write_whole
from clarivid.pages import Picture, data_uri, fill, webp

FORMAT = 1
PLACE = (480, 320)  # width, height of what is shown, at most half of the picture in either direction
BUDGET = 40_000_000  # bytes of pictures, without loss

Progress = Callable[[str, int, int], None]


@dataclass(frozen=True)
class Item:
    """One question: ``left`` is 0 when A lies left, 1 when B does; the rest says what is shown."""

    pair: str
    a: str
    b: str
    frame: int
    x: int
    y: int
    width: int
    height: int
    left: int


def write(
    pairs: Sequence[tuple[Path, Path]],
    out: Path,
    key: Path,
    *,
    labels: Sequence[str] | None = None,
    pictures: int = 3,
    seed: int | None = None,
    scaler: str = "lanczos",
    pairing: str = "auto",
    frames: int | None = None,
    progress: Progress = lambda what, done, total: None,  # noqa: ARG005
) -> list[Item]:
    """Write the page and its key; returns the items in the page's order.

    :param pairs: A and B, as often as there are clips; A is always the same method, and so is B.
    :param labels: what A and B are called when it is over; None for the first pair's file names.
    :param pictures: places of each pair: one of a frame, frames as :func:`clarivid.compare.pictures.choose`
        takes them.
    :param seed: for order and sides; None draws one.

    Raises :class:`InputError` for pairs that cannot be compared or do not differ, :class:`ToolError`.
    """
    seed = secrets.randbits(31) if seed is None else seed
    chance = random.Random(seed)
    names = _names(pairs)
    asked: list[tuple[Item, Picture, Picture]] = []
    called = tuple(labels) if labels else None
    for name, (a, b) in zip(names, pairs, strict=True):
        found = compare(
            a,
            b,
            labels=called,
            scores=("psnr_y",),
            scaler=scaler,
            pairing=pairing,
            frames=frames,
            progress=lambda what, done, total, name=name: progress(f"{name}: {what}", done, total),  # type: ignore[misc]
        )
        called = called or tuple(list(found.files)[:2])
        first, second = list(found.files)[:2]
        for one in found.pictures(pictures):
            ours = one.pictures[first], one.pictures[second]
            place = places(difference_of(*ours), 1, PLACE)[0]
            if place.difference > 0:
                where = (place.x, place.y, place.width, place.height)
                item = Item(name, str(a), str(b), one.chosen.pair, *where, chance.randrange(2))
                asked.append((item, place.of(ours[0]), place.of(ours[1])))
    if called is None or not asked:
        raise InputError(
            "there is nothing to vote on: A and B are the same in every frame that was looked at"
        )
    chance.shuffle(asked)
    items = [item for item, _, _ in asked]
    sheet = f"{secrets.randbits(64):016x}"
    shown = [(a, b) if item.left == 0 else (b, a) for item, a, b in asked]
    coded = [tuple(webp(picture) for picture in two) for two in shown]
    size = sum(len(data) for two in coded for data in two)
    if size > BUDGET:
        raise InputError(
            f"{len(items)} questions take {size / 1e6:.0f} MB of pictures, more than {BUDGET / 1e6:.0f}: "
            "take fewer (--pictures)"
        )
    record = {
        "format": FORMAT,
        "what": "blind",
        "sheet": sheet,
        "labels": list(called),
        "seed": seed,
        "items": [asdict(item) for item in items],
    }
    write_whole(key, (json.dumps(record, indent=1) + "\n").encode())
    write_whole(out, _html(sheet, called, items, coded).encode())
    return items


def _html(
    sheet: str, labels: Sequence[str], items: Sequence[Item], coded: Sequence[tuple[bytes, ...]]
) -> str:
    """The page; nothing in it but the masked part depends on which is which."""
    told = {
        "labels": list(labels),
        "items": [{"pair": item.pair, "frame": item.frame, "left": item.left} for item in items],
    }
    seed = secrets.randbits(31) | 1
    data = {
        "sheet": sheet,
        "count": len(items),
        "seed": seed,
        "masked": base64.b64encode(mask(json.dumps(told).encode(), seed)).decode("ascii"),
    }
    store = "".join(
        f'<img id="i{n}-{side}" src="{data_uri(picture)}" alt="{word}">\n'
        for n, two in enumerate(coded)
        for side, (word, picture) in enumerate(zip(("left", "right"), two, strict=True))
    )
    parts = {
        "count": str(len(items)),
        "clips": str(len({item.pair for item in items})),
        "store": store,
        "data": json.dumps(data, separators=(",", ":")).replace("<", "\\u003c"),
        "title": escape("Which is better?"),
    }
    return fill("clarivid.blind", parts)


def mask(data: bytes, seed: int) -> bytes:
    """``data`` with the bytes of Marsaglia's xorshift32 upon it; twice gives it back.

    ``page.js`` does the same. It hides nothing from someone who wants to know: the answer is out of sight.
    """
    state, out = seed & 0xFFFFFFFF, bytearray()
    for byte in data:
        state ^= (state << 13) & 0xFFFFFFFF
        state ^= state >> 17
        state ^= (state << 5) & 0xFFFFFFFF
        out.append(byte ^ (state & 0xFF))
    return bytes(out)


def _names(pairs: Sequence[tuple[Path, Path]]) -> list[str]:
    """What tells the pairs apart: A's name, or its folder's when all are called the same."""
    stems = [a.stem for a, _ in pairs]
    if len(set(stems)) == len(pairs):
        return stems
    folders = [a.resolve().parent.name for a, _ in pairs]
    if len(set(folders)) == len(pairs):
        return folders
    return [f"{n + 1} {stem}" for n, stem in enumerate(stems)]


def read_key(path: Path) -> dict[str, Any]:
    """A key. Raises :class:`InputError` when it is none."""
    try:
        record = json.loads(path.read_text("utf-8"))
    except (OSError, ValueError) as error:
        raise InputError(f"cannot read the key {path}: {error}") from error
    if not isinstance(record, dict) or record.get("what") != "blind" or record.get("format") != FORMAT:
        raise InputError(f"{path} is no key of a blind page")
    return record


__all__ = ["FORMAT", "Item", "mask", "read_key", "write"]
