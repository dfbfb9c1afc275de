# SPDX-License-Identifier: BSD-2-Clause
"""A comparison's numbers, once: the page and ``--json`` take them from here, so that they cannot differ."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from clarivid.compare.media import Media
from clarivid.rd.scores import SCORES as KNOWN

if TYPE_CHECKING:
    from clarivid.compare import Comparison

FORMAT = 1
ROLES = ("a", "b", "reference")
LOW = 5  # per cent: the mean of so many worst frames


def summary(found: Comparison) -> dict[str, Any]:
    """Everything as JSON takes it.

    ============ ==========================================================================================
    ``files``    by role (``a``, ``b``, ``reference``): label, path, size, frames, seconds, fps, bytes, kbps;
                 ``compared_kbps``: of the part from the first to the last frame that was compared
    ``paired``   ``by`` number or time, ``pairs``, ``times`` (seconds) and ``frames`` (numbers by role)
    ``canvas``   width, height, pixel format, matrix and scaler that everything was brought to
    ``notes``    what was done to make the files comparable
    ``scores``   by role of the judged file and score: ``mean``, ``low`` (mean of the worst 5 %), ``least``,
                 ``least_pair``, and ``values`` of each pair
    ``bits``     change of B's ``compared_kbps`` against A's, in per cent; None without a length
    ============ ==========================================================================================
    """
    roles = dict(zip(found.files, ROLES, strict=False))
    files = {
        roles[label]: _file(label, media, found.pairing.indices[:, n])
        for n, (label, media) in enumerate(found.files.items())
    }
    a, b = (files[role]["compared_kbps"] for role in ("a", "b"))
    return {
        "format": FORMAT,
        "files": files,
        "paired": {
            "by": found.pairing.by,
            "pairs": len(found.pairing),
            "times": _rounded(found.pairing.times, 4),
            "frames": {role: found.pairing.indices[:, n].tolist() for n, role in enumerate(roles.values())},
        },
        "canvas": {
            "width": found.canvas.width,
            "height": found.canvas.height,
            "pix_fmt": found.canvas.pix_fmt,
            "matrix": found.canvas.matrix,
            "scaler": found.canvas.scaler,
        },
        "notes": found.notes,
        "against": "reference" if found.reference else "a",
        "scores": {
            roles[label]: {name: _score(values, KNOWN[name].digits) for name, values in own.items()}
            for label, own in found.scored.scores.items()
        },
        "difference": _rounded(found.scored.difference, 4),
        "bits": round(100 * (b / a - 1), 3) if a > 0 and b > 0 else None,
    }


def per_frame(media: Media) -> list[tuple[float, float]]:
    """Seconds and kbit of each packet; the last row only ends the one before it."""
    rows = [(float(time), float(size) * 8 / 1000) for time, size in media.packets]
    return [*rows, (max(media.times[0] + media.seconds, rows[-1][0]), rows[-1][1])]


def per_second(media: Media) -> list[tuple[float, float]]:
    """Kbit a second over each second; the last one, which may be shorter, is over what there is of it."""
    start = float(media.packets[0, 0])
    length = max(media.seconds, 1e-9)
    count = max(int(np.ceil(length - 0.05)), 1)
    which = np.clip((media.packets[:, 0] - start).astype(int), 0, count - 1)
    sums = np.bincount(which, weights=media.packets[:, 1], minlength=count) * 8 / 1000
    rows = [(start + n, float(sums[n]) / (length - n if n == count - 1 else 1.0)) for n in range(count)]
    return [*rows, (start + length, rows[-1][1])]


def _file(label: str, media: Media, compared: NDArray[np.int64]) -> dict[str, Any]:
    return {
        "label": label,
        "path": str(media.path),
        "width": media.width,
        "height": media.height,
        "frames": media.frames,
        "seconds": round(media.seconds, 4),
        "fps": round(media.fps, 4),
        "codec": media.codec,
        "video_bytes": media.video_bytes,
        "kbps": round(media.kbps, 3),
        "compared_kbps": round(media.kbps_of(int(compared[0]), int(compared[-1])), 3),
        "file_bytes": media.file_bytes,
        "damage": list(media.complaints),
    }


def _score(values: NDArray[np.float64], digits: int) -> dict[str, Any]:
    worst = np.sort(values)[: max(len(values) * LOW // 100, 1)]
    return {
        "mean": round(float(values.mean()), digits),
        "low": round(float(worst.mean()), digits),
        "least": round(float(values.min()), digits),
        "least_pair": int(values.argmin()),
        "values": _rounded(values, digits),
    }


def _rounded(values: NDArray[np.float64], digits: int) -> list[float]:
    return [round(float(value), digits) for value in values]
