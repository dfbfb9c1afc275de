# SPDX-License-Identifier: BSD-2-Clause
"""What a rate-distortion run consists of: clips, encoders with their rate points, variants.

Everything is checked when a :class:`Plan` is made, before the first frame is decoded.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from clarivid.errors import InputError
from clarivid.rd.scores import SCORES

PLAIN = "plain"
MIN_POINTS = 4  # A curve through fewer points is no curve: ITU-T VCEG-M33 (Bjøntegaard) fits a cubic to four.

Picture = tuple[NDArray[Any], NDArray[Any], NDArray[Any]]
"""Planes y, u, v of a 4:2:0 picture: uint8, or uint16 for 10 bits."""

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.+-]*")
_X_PRESETS = (
    "ultrafast",
    "superfast",
    "veryfast",
    "faster",
    "fast",
    "medium",
    "slow",
    "slower",
    "veryslow",
    "placebo",
)


@dataclass(frozen=True)
class Codec:
    """An encoder that ``rd`` knows.

    ``crf`` are the default rate points.
    """

    presets: tuple[str, ...]
    preset: str
    crf: tuple[float, ...]
    best_crf: float
    worst_crf: float


# Rate points: what delivery uses, from visually good to visibly bad (VMAF about 95 to 60 on 720p).
CODECS = {
    "x264": Codec(_X_PRESETS, "medium", (20, 25, 30, 35), 1, 51),
    "x265": Codec(_X_PRESETS, "medium", (20, 25, 30, 35), 1, 51),
    "svtav1": Codec(tuple(str(n) for n in range(14)), "8", (25, 36, 47, 57), 1, 63),
}


@dataclass(frozen=True)
class Source:
    """A clip: ``path`` is the untouched source; ``kind`` is natural, game, screen, noisy or anything."""

    name: str
    path: Path
    kind: str = "other"


@dataclass(frozen=True)
class Encoder:
    """One encoder at one preset; ``crf`` are its rate points (empty: the codec's own)."""

    name: str
    preset: str = ""
    crf: tuple[float, ...] = ()

    def __post_init__(self) -> None:
        codec = CODECS.get(self.name)
        if codec is None:
            raise InputError(f'encoder "{self.name}" is unknown: it is one of {", ".join(CODECS)}')
        if not self.preset:
            object.__setattr__(self, "preset", codec.preset)
        if self.preset not in codec.presets:
            known = ", ".join(codec.presets)
            raise InputError(f'{self.name} has no preset "{self.preset}": it is one of {known}')
        points = tuple(sorted(set(self.crf or codec.crf)))
        object.__setattr__(self, "crf", points)
        if len(points) < MIN_POINTS:
            given = ", ".join(f"{value:g}" for value in points)
            raise InputError(
                f"{self.name} has {len(points)} different rate points ({given}); a curve needs {MIN_POINTS}"
            )
        for value in points:
            if not codec.best_crf <= value <= codec.worst_crf:
                limits = f"{codec.best_crf:g}..{codec.worst_crf:g}"
                raise InputError(f"CRF {value:g} is outside {self.name}'s {limits}")

    @classmethod
    def parse(cls, text: str, crf: tuple[float, ...] = ()) -> Encoder:
        """``x264:medium``, ``svtav1:8`` or ``x265``. Raises :class:`InputError`."""
        name, _, preset = text.partition(":")
        return cls(name, preset, crf)

    @property
    def label(self) -> str:
        """For tables: ``x264 medium``."""
        return f"{self.name} {self.preset}"


@dataclass(frozen=True)
class Variant:
    """What happens to the source before the encoder: at most one of the three ways below.

    :param filters: an ffmpeg filter chain, run by clarivid's ffmpeg (``-vf``).
    :param apply: a function that gets each picture in turn and returns one of the same shape and type.
    :param files: ready-made files, by clip name.

    None of them: the source itself.
    """

    name: str
    filters: str = ""
    apply: Callable[[Picture], Picture] | None = field(default=None, compare=False)
    files: Mapping[str, Path] | None = field(default=None, compare=False)

    def __post_init__(self) -> None:
        if not _NAME.fullmatch(self.name):
            raise InputError(f'variant name "{self.name}" may hold letters, digits and _ . + - only')
        ways = sum(1 for way in (self.filters, self.apply, self.files) if way)
        if ways > 1:
            raise InputError(f"variant {self.name} is given in {ways} ways; give filters, apply or files")
        if (ways == 0) != (self.name == PLAIN):
            raise InputError(
                f'variant "{PLAIN}" is the untouched source and nothing else is; '
                f"{self.name} {'has no filter' if ways == 0 else 'has one'}"
            )

    @classmethod
    def parse(cls, text: str) -> Variant:
        """``name=filters``, e.g. ``soft=hqdn3d=1.5``. Raises :class:`InputError`."""
        name, separator, filters = text.partition("=")
        if not separator or not filters.strip():
            raise InputError(f'variant "{text}" is not name=filters, such as denoise=hqdn3d=2')
        return cls(name, filters)

    @property
    def description(self) -> str:
        """What it does, in a word or as ffmpeg's filter chain."""
        if self.filters:
            return self.filters
        if self.apply is not None:
            return f"Python: {getattr(self.apply, '__name__', type(self.apply).__name__)}"
        return "ready-made files" if self.files is not None else "the source as it is"


def lowrank(model: str = "lowrank_v1", strength: float = 1.0, name: str = "") -> Variant:
    """The variant that runs our filter. ``model`` is a bundle's name or path, ``strength`` 0..1."""
    if not 0 <= strength <= 1:
        raise InputError(f"strength {strength:g} is outside 0..1")
    text = f"lowrank_pre=model={escape(model)}"
    if strength != 1:
        text += f":strength={strength:g}"
        name = name or f"lowrank_pre-{strength:g}"
    return Variant(name or "lowrank_pre", text)


def escape(value: str) -> str:
    """A value for a filter's option: escaped once for the option list and once for the graph."""
    for special in ("\\':", "\\'[],;"):
        value = "".join(f"\\{character}" if character in special else character for character in value)
    return value


# The honest rivals, at strengths that an operator would dare: what a free filter gives is the bar.
RIVALS = (
    Variant("hqdn3d", "hqdn3d=1.5"),
    Variant("nlmeans", "nlmeans=s=1:p=5:r=9"),
    Variant("unsharp", "unsharp=5:5:0.4:5:5:0"),
)


@dataclass(frozen=True)
class Plan:
    """A run. The variant ``plain`` is added when it is missing: every other one is compared with it.

    :param frames: at most so many from each clip's start; None for all.
    :param abr: also encode at mean bitrates, in two passes: True for those that the plain clip got at
        the encoder's CRF points (so that the curves overlap), or kbit/s.
    :param abr_variants: names of those that are encoded in two passes beside plain; empty for all.
    :param scores: names in :data:`clarivid.rd.scores.SCORES`. Without ``ms_ssim`` scoring takes a third.
    """

    sources: tuple[Source, ...]
    encoders: tuple[Encoder, ...]
    variants: tuple[Variant, ...]
    frames: int | None = None
    abr: bool | tuple[float, ...] = False
    abr_variants: tuple[str, ...] = ()
    scores: tuple[str, ...] = tuple(SCORES)

    def __post_init__(self) -> None:
        if all(variant.name != PLAIN for variant in self.variants):
            object.__setattr__(self, "variants", (Variant(PLAIN), *self.variants))
        for what, names in (
            ("clip", [source.name for source in self.sources]),
            ("encoder", [encoder.label for encoder in self.encoders]),
            ("variant", [variant.name for variant in self.variants]),
        ):
            if not names:
                raise InputError(f"there is nothing to do: no {what} is given")
            if wrong := [name for name in names if "/" in name]:
                raise InputError(f'{what} name "{wrong[0]}" has a slash')
            double = next((name for name in names if names.count(name) > 1), None)
            if double is not None:
                raise InputError(f"{what} {double} is given twice")
        for name in self.abr_variants:
            if all(variant.name != name for variant in self.variants):
                raise InputError(
                    f'two-pass encodes are asked for of "{name}", which is no variant of this run'
                )
        if self.frames is not None and self.frames < 2:
            raise InputError(f"{self.frames} frames are no video: give at least 2")
        if isinstance(self.abr, tuple):
            if len(set(self.abr)) < MIN_POINTS:
                raise InputError(f"{len(set(self.abr))} bitrates are given; a curve needs {MIN_POINTS}")
            if min(self.abr) < 1:
                raise InputError(f"a bitrate of {min(self.abr):g} kbit/s is too small: the least is 1")
        unknown = [name for name in self.scores if name not in SCORES]
        if unknown or not self.scores:
            given = f'score "{unknown[0]}" is unknown' if unknown else "no score is given"
            raise InputError(f"{given}: they are {', '.join(SCORES)}")
        for variant in self.variants:
            missing = [
                s.name for s in self.sources if variant.files is not None and s.name not in variant.files
            ]
            if missing:
                raise InputError(f"variant {variant.name} has no file for {', '.join(missing)}")

    @property
    def plain(self) -> Variant:
        """The variant that the others are compared with."""
        return next(variant for variant in self.variants if variant.name == PLAIN)

    @property
    def modes(self) -> tuple[str, ...]:
        """``crf``, and ``abr`` when it is asked for."""
        return ("crf", "abr") if self.abr else ("crf",)

    def variants_of(self, mode: str) -> tuple[Variant, ...]:
        """Those that are encoded in a mode."""
        if mode == "crf" or not self.abr_variants:
            return self.variants
        return tuple(v for v in self.variants if v.name == PLAIN or v.name in self.abr_variants)

    def steps(self) -> int:
        """How many jobs a run has: each clip's variants to prepare, each point, each picture to show."""
        variants = len(self.variants)
        crf = sum(len(encoder.crf) for encoder in self.encoders)
        abr = crf if self.abr is True else len(set(self.abr or ())) * len(self.encoders)
        points = variants * crf + len(self.variants_of("abr")) * abr
        return len(self.sources) * (variants + points + variants - 1)
