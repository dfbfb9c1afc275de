# SPDX-License-Identifier: BSD-2-Clause
"""What a run consists of: clips, points (codec and rate), methods, number of frames."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from clarivid.clips import Clip
from clarivid.errors import InputError
from clarivid.ffmpeg.run import LANCZOS_X2
from clarivid.rd.plan import CODECS, escape
from clarivid.sr_bench import material

LANCZOS = "lanczos"
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.+-]*")


@dataclass(frozen=True)
class Point:
    """One encode: ``codec`` as in :mod:`clarivid.rd` (x264, x265, svtav1, at its usual preset)."""

    codec: str
    crf: float

    @classmethod
    def parse(cls, text: str) -> tuple[Point, ...]:
        """``x264=20,25,30``. Raises :class:`InputError`."""
        codec, _, rates = text.partition("=")
        if codec not in CODECS:
            raise InputError(f'codec "{codec}" is unknown: it is one of {", ".join(CODECS)}')
        try:
            points = tuple(cls(codec, float(rate)) for rate in rates.split(","))
        except ValueError:
            raise InputError(f'"{text}" is not codec=CRF,CRF, such as x264=20,25,30') from None
        for point in points:
            if not CODECS[codec].best_crf <= point.crf <= CODECS[codec].worst_crf:
                limits = f"{CODECS[codec].best_crf:g}..{CODECS[codec].worst_crf:g}"
                raise InputError(f"CRF {point.crf:g} is outside {codec}'s {limits}")
        return points

    @property
    def label(self) -> str:
        """``x264 25``."""
        return f"{self.codec} {self.crf:g}"


@dataclass(frozen=True)
class Method:
    """A way to twice the size: ``filters`` for our ffmpeg, by the net that a clip is for (``game`` and
    ``natural``), or ``python``, the name of one in :mod:`clarivid.sr_bench.easu`."""

    name: str
    filters: dict[str, str] | None = None
    python: str = ""

    def __post_init__(self) -> None:
        if not _NAME.fullmatch(self.name):
            raise InputError(f'the name "{self.name}" may hold letters, digits and _ . + - only')

    @classmethod
    def same(cls, name: str, filters: str) -> Method:
        """One chain for all clips."""
        return cls(name, {"game": filters, "natural": filters})


REFERENCE = Method.same(LANCZOS, LANCZOS_X2)
RIVALS = (
    Method.same("bicubic", "scale=2*iw:2*ih:flags=bicubic"),
    Method("easu", python="easu"),
    Method("fsr1", python="fsr1"),
)
DEFAULT_MODEL = "game_x2,natural_x2"


def model(text: str, precision: str = "auto", sharpness: float | None = None) -> Method:
    """``[NAME=]MODEL`` or ``[NAME=]MODEL,MODEL``, the second for camera footage: bundles' names or paths.

    :param sharpness: the filter's option; None leaves it out.

    Raises :class:`InputError`.
    """
    name, given, models = text.partition("=")
    if not given:
        name, models = "", text
    both = models.split(",")
    if len(both) > 2 or not all(both):
        raise InputError(f'"{text}" is neither a model nor two with a comma between')
    name = name or "+".join(dict.fromkeys(_short(one) for one in both))
    options = f"precision={precision}:threads=1"
    if sharpness is not None:
        options += f":sharpness={sharpness:g}"
        name = name if given else f"{name}-{sharpness:g}"
    filters = {
        net: f"dnn_sr=model={escape(one)}:{options}"
        for net, one in zip(("game", "natural"), (both[0], both[-1]), strict=True)
    }
    return Method(name, filters)


def _short(model: str) -> str:
    path = Path(model)
    stem = (
        path.parent.name if path.name == "model.onnx" else path.stem if path.suffix == ".onnx" else path.name
    )
    return re.sub(r"[^A-Za-z0-9_.+-]", "_", stem) or "model"


@dataclass(frozen=True)
class Preset:
    """``points`` of every clip, ``frames`` of each, ``rivals`` beside Lanczos."""

    points: tuple[Point, ...]
    frames: int
    rivals: tuple[str, ...]
    clips: tuple[str, ...] = ()


# Rates as ladders have them, from good (top rung) to poor (a rung under a bad connection).
PRESETS = {
    "quick": Preset((*Point.parse("x264=22,28"),), 12, (), material.QUICK),
    "full": Preset(
        (*Point.parse("x264=20,25,30"), *Point.parse("x265=22,28"), *Point.parse("svtav1=28,40")),
        16,
        tuple(rival.name for rival in RIVALS),
    ),
}


@dataclass(frozen=True)
class Plan:
    """A run; Lanczos is always measured. Raises :class:`InputError` for what cannot be."""

    clips: tuple[Clip, ...]
    points: tuple[Point, ...]
    methods: tuple[Method, ...]
    frames: int = 24

    def __post_init__(self) -> None:
        if not self.clips or not self.points:
            raise InputError(f"there is nothing to do: no {'rate' if self.clips else 'clip'} is given")
        names = [method.name for method in self.all_methods()]
        double = next((name for name in names if names.count(name) > 1), None)
        if double is not None:
            raise InputError(f"two methods are called {double}: name one of them, NAME={double}")
        if self.frames < 2:
            raise InputError(f"{self.frames} frames cannot flicker: give at least 2")

    def all_methods(self) -> list[Method]:
        """Lanczos first."""
        return [REFERENCE, *self.methods]

    def steps(self) -> int:
        """Results in all."""
        return len(self.clips) * len(self.points) * len(self.all_methods())


def rivals(names: Sequence[str]) -> list[Method]:
    """Those of :data:`RIVALS`. Raises :class:`InputError`."""
    known = {rival.name: rival for rival in RIVALS}
    for name in names:
        if name not in known:
            raise InputError(f'rival "{name}" is unknown: it is one of {", ".join(known)}')
    return [known[name] for name in names]
