# SPDX-License-Identifier: BSD-2-Clause
"""Which frame of one file belongs to which of the others."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from clarivid.compare.media import Media
from clarivid.errors import InputError

MODES = ("auto", "number", "time")
_ALIKE = 0.001  # seconds; times within it count as the same (containers round to milliseconds)


@dataclass(frozen=True)
class Pairing:
    """Frames that belong together.

    :ivar indices: [pairs, files]: the number of each file's frame; each column rises or stays.
    :ivar times: [pairs]: seconds, of the file with the fewest frames.
    :ivar by: ``number`` or ``time``.
    :ivar notes: sentences about what was left out, and how far the times are apart.
    """

    indices: NDArray[np.int64]
    times: NDArray[np.float64]
    by: str
    notes: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.times)


def pair(
    files: Mapping[str, Media], mode: str = "auto", *, every: int = 1, frames: int | None = None
) -> Pairing:
    """Pair the frames of ``files`` (by their labels).

    As many frames in each: by number, whatever the times say, since filters and containers move times. Else
    by time: to each frame of the file with the fewest goes the nearest of every other file, where one lies
    within half a frame; what has no partner is left out.

    :param mode: ``auto``, or ``number`` or ``time`` for one of the two ways.
    :param every: keep each ``every``-th pair.
    :param frames: keep at most so many pairs, from the first.

    Raises :class:`InputError` when nothing goes together.
    """
    media = list(files.values())
    counts = [m.frames for m in media]
    by = ("number" if len(set(counts)) == 1 else "time") if mode == "auto" else mode
    notes = []
    if by == "number":
        indices = np.repeat(np.arange(min(counts))[:, None], len(media), 1)
        base = media[0]
    else:
        base = media[int(np.argmin(counts))]
        indices = _by_time(media, base)
    if len(set(counts)) > 1:
        way = (
            f"The first {len(indices)} of each are compared, by their number."
            if by == "number"
            else f"They are paired by time, which gives {len(indices)} pairs."
        )
        told = ", ".join(f"{label} has {m.frames}" for label, m in files.items())
        notes.append(f"The files differ in their number of frames: {told}. {way}")
    if not len(indices):
        raise InputError(
            f"{' and '.join(files)} have no frame at the same time: pair them by number (--pair number)"
        )
    times = base.times[indices[:, media.index(base)]]
    apart = max(float(np.abs(m.times[indices[:, n]] - times).max()) for n, m in enumerate(media))
    if apart > _ALIKE:
        notes.append(f"Times of frames that are compared differ by up to {apart * 1000:.0f} ms.")
    kept = slice(0, None if frames is None else frames * every, every)
    if every > 1 or (frames is not None and frames < len(times)):
        some = f"each {every}. of " if every > 1 else ""
        reach = min(len(times), frames * every) if frames is not None else len(times)
        notes.append(f"Compared: {some}the first {reach} of {len(times)} pairs.")
    return Pairing(indices[kept], times[kept], by, tuple(notes))


def _by_time(media: Sequence[Media], base: Media) -> NDArray[np.int64]:
    columns, good = [], np.ones(base.frames, bool)
    for other in media:
        nearest = _nearest(other.times, base.times)
        step = float(np.median(np.diff(other.times))) if other.frames > 1 else other.seconds
        good &= np.abs(other.times[nearest] - base.times) <= step / 2 + _ALIKE
        columns.append(nearest)
    return np.stack(columns, 1)[good]


def _nearest(times: NDArray[np.float64], wanted: NDArray[np.float64]) -> NDArray[np.int64]:
    """The index of the time that is nearest to each wanted one."""
    after = np.clip(np.searchsorted(times, wanted), 1, max(len(times) - 1, 1))
    if len(times) == 1:
        return np.zeros(len(wanted), np.int64)
    before = after - 1
    return np.where(wanted - times[before] <= times[after] - wanted, before, after).astype(np.int64)
