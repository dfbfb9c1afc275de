# SPDX-License-Identifier: BSD-2-Clause
"""The release series of FFmpeg that the filters are made for: one patch and one line here for each.

A series is what FFmpeg's ABI and sources are stable within: ``7.1`` is 7.1, 7.1.1, 7.1.2, ... The filters are
one source for all of them (``filters/compat.h``); what differs in FFmpeg's own files is in
``patches/ffmpeg-<series>.patch``.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from clarivid.errors import InputError

Version = tuple[int, ...]


@dataclass(frozen=True)
class Series:
    """One series, and where its source is from.

    ``suite`` is the Debian suite that carries it, None when none does; ``tested`` the point release that
    everything is tested with, None when nothing was, ``sha256`` the digest of upstream's .tar.xz of it.
    ``headers_suite`` carries the release of nv-codec-headers to build it with, which is at least
    ``headers_least`` and below ``headers_below``.
    """

    name: str
    suite: str | None
    tested: str | None
    sha256: str | None
    headers_suite: str = "trixie"
    headers_least: Version = (12, 1, 14, 0)
    headers_below: Version = (99,)

    @property
    def patch(self) -> str:
        """The name of its patch."""
        return f"ffmpeg-{self.name}.patch"


_ALL = (
    # Its nvenc.c does not compile with headers of version 12.
    Series(
        "5.1",
        "bookworm",
        "5.1.9",
        "d9b593bb2ba93d4b50f74177e0cdcd41747e708596367deed0c30348a71dd176",
        headers_suite="bookworm",
        headers_least=(9, 1, 23, 1),
        headers_below=(12,),
    ),
    Series("6.1", None, None, None),
    Series("7.1", "trixie", "7.1.5", "de668509caf9e35e3cd162473441fdb29538c6d96ed080292b3cf9e6fc5d558f"),
    Series("8.1", "sid", "8.1.2", "464beb5e7bf0c311e68b45ae2f04e9cc2af88851abb4082231742a74d97b524c"),
    Series("9.0", "sid", "9.0.2", "8c3850283eb25fa026482078a04051e0be17347b09ef81a0849bec15a96e002e"),
)

SERIES: dict[str, Series] = {series.name: series for series in _ALL}
"""By name, oldest first."""

DEFAULT = "7.1"
"""What is built when nobody asks for another one."""

OTHERS: tuple[str, ...] = tuple(name for name, one in SERIES.items() if one.tested and name != DEFAULT)
"""The other ones that the filters are tested with."""


def get(name: str) -> Series:
    """The series called ``name``. Raises :class:`InputError` with those that there are."""
    if name not in SERIES:
        raise InputError(f"FFmpeg {name} is no series that clarivid has a patch for: {', '.join(SERIES)}")
    return SERIES[name]


def numbers(version: str) -> Version:
    """``"7.1.5"`` and ``"n7.1.5-3"`` are (7, 1, 5); () when ``version`` does not start with a number."""
    found = re.match(r"n?(\d+(?:\.\d+)*)", version)
    return tuple(map(int, found[1].split("."))) if found else ()


def of(version: str) -> Series | None:
    """The series that a release belongs to; None when clarivid has no patch for it.

    A development tree (``7.1.git``) is of the series that it left last, which it may have moved away from.
    """
    found = numbers(version)
    return SERIES.get(".".join(map(str, found[:2])) if len(found) > 1 else f"{version}.0")


def closest(version: str) -> Series:
    """The series whose sources are likely the most alike: the newest that is not newer, else the oldest."""
    found = numbers(version)[:2]
    older = [series for series in SERIES.values() if numbers(series.name) <= found]
    return older[-1] if older else next(iter(SERIES.values()))


__all__ = ["DEFAULT", "OTHERS", "SERIES", "Series", "closest", "get", "numbers", "of"]
