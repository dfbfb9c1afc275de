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
_REACH = 8  # frames by which a file may run late or early
_SAMPLES = 200  # frames that are looked at to find that out
_CLEAR, _SEEN = 0.6, 0.5  # a delay counts when pictures differ by so much less, and (code values) at least


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
    files: Mapping[str, Media],
    mode: str = "auto",
    *,
    shift: int = 0,
    every: int = 1,
    frames: int | None = None,
) -> Pairing:
    """Pair the frames of ``files`` (by their labels).

    As many frames in each: by number, whatever the times say, since filters and containers move times. Else
    by time: to each frame of the file with the fewest goes the nearest of every other file, where one lies
    within half a frame; what has no partner is left out. Times count from a file's first frame, which may be
    another one than the others' first: so the pictures decide whether a few frames of delay make a file run
    with the one that has the fewest.

    :param mode: ``auto``, or ``number`` or ``time`` for one of the two ways.
    :param shift: frame n of A goes with frame n + ``shift`` of B (and n of the reference); by number.
    :param every: keep each ``every``-th pair.
    :param frames: keep at most so many pairs, from the first.

    Raises :class:`InputError` when nothing goes together.
    """
    media = list(files.values())
    counts = [m.frames for m in media]
    by = ("number" if len(set(counts)) == 1 or shift else "time") if mode == "auto" else mode
    if shift and by == "time":
        raise InputError("--shift goes with pairs by number, not by time")
    notes: list[str] = []
    if by == "number":
        base = media[0]
        indices = _by_number(counts, shift)
    else:
        base = media[int(np.argmin(counts))]
        indices = _by_time(files, base, notes)
    if not len(indices):
        hint = "pair them by number (--pair number)" if by == "time" else "shift them by less (--shift)"
        raise InputError(f"{' and '.join(files)} have no frame at the same time: {hint}")
    if len(set(counts)) > 1:
        way = (
            f"The first {len(indices)} of each are compared, by their number."
            if by == "number"
            else f"They are paired by time, which gives {len(indices)} pairs."
        )
        told = ", ".join(f"{label} has {m.frames}" for label, m in files.items())
        notes.insert(0, f"The files differ in their number of frames: {told}. {way}")
    if shift:
        notes.append(f"Frames of {list(files)[1]} are {abs(shift)} {'later' if shift > 0 else 'earlier'}.")
    elif by == "number":
        notes += _suspicions(files, indices)
    times = base.times[indices[:, media.index(base)]]
    if by == "number":
        apart = max(float(np.abs(m.times[indices[:, n]] - times).max()) for n, m in enumerate(media))
        if apart > _ALIKE and not shift:
            notes.append(f"Times of frames that are compared differ by up to {apart * 1000:.0f} ms.")
    kept = slice(0, None if frames is None else frames * every, every)
    if every > 1 or (frames is not None and frames < len(times)):
        some = f"each {every}. of " if every > 1 else ""
        reach = min(len(times), frames * every) if frames is not None else len(times)
        notes.append(f"Compared: {some}the first {reach} of {len(times)} pairs.")
    return Pairing(indices[kept], times[kept], by, tuple(notes))


def _by_number(counts: Sequence[int], shift: int) -> NDArray[np.int64]:
    offsets = [0, shift, 0][: len(counts)]
    first = max(0, -shift)
    last = min(count - offset for count, offset in zip(counts, offsets, strict=True))
    return np.arange(first, max(last, first), dtype=np.int64)[:, None] + np.array(offsets, np.int64)


def _by_time(files: Mapping[str, Media], base: Media, notes: list[str]) -> NDArray[np.int64]:
    columns, good = [], np.ones(base.frames, bool)
    name = next(label for label, media in files.items() if media is base)
    for label, other in files.items():
        delays = _step(other) * np.arange(-_REACH, _REACH + 1) if other is not base else np.zeros(1)
        matches = [_match(other, base, delay) for delay in delays]
        costs = [_unlike(other, base, nearest, fits) for nearest, fits in matches]
        best = _clearly_best(costs)
        if delays[best]:
            side = "later" if delays[best] < 0 else "earlier"
            told = f"{abs(delays[best]) * 1000:.0f} ms {side} than {name}"
            notes.append(f"By its pictures, {label} starts {told}: its times were moved by that.")
        columns.append(matches[best][0])
        good &= matches[best][1]
    return np.stack(columns, 1)[good]


def _match(other: Media, base: Media, delay: float) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    """For each frame of ``base`` the nearest of ``other`` ``delay`` seconds later, and whether it is near."""
    wanted = base.times + delay
    nearest = _nearest(other.times, wanted)
    return nearest, np.abs(other.times[nearest] - wanted) <= _step(other) / 2 + _ALIKE


def _step(media: Media) -> float:
    return float(np.median(np.diff(media.times))) if media.frames > 1 else media.seconds


def _nearest(times: NDArray[np.float64], wanted: NDArray[np.float64]) -> NDArray[np.int64]:
    """The index of the time that is nearest to each wanted one."""
    after = np.clip(np.searchsorted(times, wanted), 1, max(len(times) - 1, 1))
    if len(times) == 1:
        return np.zeros(len(wanted), np.int64)
    before = after - 1
    return np.where(wanted - times[before] <= times[after] - wanted, before, after).astype(np.int64)


def _unlike(other: Media, base: Media, nearest: NDArray[np.int64], fits: NDArray[np.bool_]) -> float:
    """Mean difference of the reduced pictures that a pairing puts together; infinite when these are few."""
    if fits.sum() < max(base.frames // 2, 1):
        return np.inf
    numbers = np.flatnonzero(fits)[:: max(int(fits.sum()) // _SAMPLES, 1)]
    numbers = numbers[(numbers < len(base.thumbs)) & (nearest[numbers] < len(other.thumbs))]
    pictures = base.thumbs[numbers].astype(np.int16) - other.thumbs[nearest[numbers]]
    return float(np.abs(pictures).mean())


def _clearly_best(costs: Sequence[float]) -> int:
    """The index of the least cost, or the middle one (no delay) unless that one is much worse."""
    middle, best = len(costs) // 2, int(np.argmin(costs))
    clear = costs[best] < _CLEAR * costs[middle] and costs[middle] > _SEEN
    return best if clear else middle


def _suspicions(files: Mapping[str, Media], indices: NDArray[np.int64]) -> list[str]:
    """Files of one length whose pictures do not run together."""
    label, base = next(iter(files.items()))
    found = []
    for column, (name, other) in enumerate(files.items()):
        numbers = np.arange(len(indices))
        costs = []
        for shift in range(-_REACH, _REACH + 1):
            fits = (numbers + shift >= 0) & (numbers + shift < len(indices))
            costs.append(_unlike(other, base, np.clip(numbers + shift, 0, len(indices) - 1), fits))
        shift = _clearly_best(costs) - _REACH
        if column and shift:
            side = "late" if shift > 0 else "early"
            hint = f" (--shift {shift} pairs them so)" if column == 1 else ""
            frames = f"{abs(shift)} frame{'s' * (abs(shift) != 1)}"
            found.append(
                f"{name} looks {frames} {side} against {label}: scores are of unlike pictures{hint}."
            )
    return found
