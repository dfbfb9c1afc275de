# SPDX-License-Identifier: BSD-2-Clause
"""Counting the votes on blind pages."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from clarivid.blind import read_key
from clarivid.errors import InputError

CHOICES = ("left", "right", "same")
Z = 1.959964  # 95 %, both sides


@dataclass(frozen=True)
class Tally:
    """Votes for A, for B, and for neither.

    ``share``: of B among those that chose, with its 95 % confidence interval; None when nobody chose.
    """

    a: int
    b: int
    same: int
    share: float | None
    interval: tuple[float, float] | None

    @classmethod
    def of(cls, a: int, b: int, same: int) -> Tally:
        """With share and interval."""
        return cls(a, b, same, b / (a + b), wilson(b, a + b)) if a + b else cls(a, b, same, None, None)


@dataclass(frozen=True)
class Count:
    """All votes, and those by pair; ``viewers``: how many files."""

    labels: tuple[str, str]
    viewers: int
    total: Tally
    pairs: dict[str, Tally]

    def to_dict(self) -> dict[str, Any]:
        """As a dictionary, for JSON."""
        return asdict(self)


def wilson(wins: int, tries: int) -> tuple[float, float]:
    """The 95 % interval of a share (Wilson 1927): it stays in 0..1 and holds for few tries, too."""
    share, square = wins / tries, Z * Z / tries
    middle = (share + square / 2) / (1 + square)
    half = Z * math.sqrt(share * (1 - share) / tries + square / (4 * tries)) / (1 + square)
    return max(0.0, middle - half), min(1.0, middle + half)


def count(key: Path, votes: Sequence[Path]) -> Count:
    """Count saved votes. Raises :class:`InputError` for files that are none, or of another page."""
    record = read_key(key)
    items = record["items"]
    cast: list[tuple[str, int | None]] = []  # pair, and 0 for A, 1 for B
    for path in votes:
        for item, choice in zip(items, _read(path, record), strict=True):
            side = None if choice == "same" else item["left"] ^ CHOICES.index(choice)
            cast.append((item["pair"], side))
    names = dict.fromkeys(item["pair"] for item in items)

    def tally(only: str | None) -> Tally:
        sides = [side for pair, side in cast if only in (None, pair)]
        return Tally.of(sides.count(0), sides.count(1), sides.count(None))

    a, b = record["labels"]
    return Count((a, b), len(votes), tally(None), {name: tally(name) for name in names})


def _read(path: Path, key: dict[str, Any]) -> list[str]:
    try:
        record = json.loads(path.read_text("utf-8"))
        votes = list(record["votes"])
        sheet = record["sheet"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InputError(f"{path} holds no votes: {error}") from error
    if sheet != key["sheet"]:
        raise InputError(f"the votes in {path} were cast on another page than the key is of")
    if len(votes) != len(key["items"]) or not set(votes) <= set(CHOICES):
        raise InputError(f"{path} does not hold {len(key['items'])} votes of {', '.join(CHOICES)}")
    return votes


def table(found: Count) -> str:
    """As lines of text."""
    a, b = found.labels
    wide = [max(8, len(label) + 2) for label in (a, b)]

    def line(name: str, *cells: object) -> str:
        first, second, same, share = cells
        return f"{name:<18}{first:>{wide[0]}}{second:>{wide[1]}}{same:>10}  {share}"

    lines = [line("", a, b, "neither", f"{b} among those that chose")]
    for name, tally in [*found.pairs.items(), (f"all, {found.viewers} viewers", found.total)]:
        share = "-"
        if tally.share is not None and tally.interval is not None:
            low, high = (100 * end for end in tally.interval)
            share = f"{100 * tally.share:.0f} % (95 %: {low:.0f} to {high:.0f} %)"
        lines.append(line(name, tally.a, tally.b, tally.same, share))
    return "\n".join(lines)


__all__ = ["CHOICES", "Count", "Tally", "count", "table", "wilson"]
