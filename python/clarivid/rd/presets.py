# SPDX-License-Identifier: BSD-2-Clause
"""The two runs that the model's card and the README speak of."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from clarivid import clips
from clarivid.errors import InputError
from clarivid.rd.plan import CODECS, RIVALS, Encoder, Source, Variant
from clarivid.rd.scores import SCORES


@dataclass(frozen=True)
class Preset:
    """``frames`` of each clip; ``abr``: two-pass bitrates as well, of
    plain and ours.

    Which clips: :func:`sources`.
    """

    frames: int
    abr: bool
    rivals: tuple[str, ...]
    strengths: tuple[float, ...]
    scores: tuple[str, ...] = tuple(SCORES)


PRESETS = {
    "quick": Preset(
        frames=24,
        abr=False,
        rivals=("hqdn3d", "unsharp"),
        strengths=(1.0,),
        scores=tuple(name for name in SCORES if name != "ms_ssim"),
    ),
    "full": Preset(
        frames=24,
        abr=True,
        rivals=tuple(variant.name for variant in RIVALS),
        strengths=(1.0,),
    ),
}

# Of each kind a clip that is cheap to encode; of the noisy ones the one whose noise is usual.
_QUICK = {"natural": "motorway", "game": "bunny", "noisy": "garden"}


def sources(preset: str, names: tuple[str, ...] = ()) -> tuple[Source, ...]:
    """The clips of a preset, or those that ``names`` gives: held-out clips, or files.

    Raises :class:`InputError` for a name that is neither, :class:`ToolError` when a clip cannot be made.
    """
    if names:
        return tuple(_source(name) for name in names)
    chosen = clips.rd_clips()
    if preset == "quick":
        kinds = dict.fromkeys(clip.kind for clip in chosen)
        by_kind = {kind: [clip for clip in chosen if clip.kind == kind] for kind in kinds}
        chosen = [
            next((clip for clip in own if clip.name == _QUICK.get(kind)), own[0])
            for kind, own in by_kind.items()
        ]
    return tuple(Source(clip.name, clip.source_file(), clip.kind) for clip in chosen)


def encoders(names: tuple[str, ...] = (), crf: tuple[str, ...] = ()) -> tuple[Encoder, ...]:
    """Encoders by ``name`` or ``name:preset``; all three when none is named.

    :param crf: ``20,25,30,35`` for all of them, or ``x264=20,25,30,35`` for one.

    Raises :class:`InputError`.
    """
    points: dict[str, tuple[float, ...]] = {}
    for text in crf:
        name, separator, values = text.rpartition("=")
        if separator and name not in CODECS:
            raise InputError(f'encoder "{name}" is unknown: it is one of {", ".join(CODECS)}')
        points |= dict.fromkeys([name] if separator else CODECS, numbers(values))
    given = names or tuple(CODECS)
    return tuple(Encoder.parse(text, points.get(text.partition(":")[0], ())) for text in given)


def numbers(text: str) -> tuple[float, ...]:
    """``20,25.5,30`` as numbers. Raises :class:`InputError`."""
    try:
        return tuple(float(part) for part in text.split(","))
    except ValueError:
        raise InputError(f'"{text}" is no list of numbers such as 20,25,30,35') from None


def rival(name: str) -> Variant:
    """One of :data:`RIVALS` by its name. Raises :class:`InputError`."""
    for variant in RIVALS:
        if variant.name == name:
            return variant
    known = ", ".join(["lowrank_pre", *(variant.name for variant in RIVALS)])
    raise InputError(f'variant "{name}" is unknown: give one of {known}, or name=filters')


def _source(name: str) -> Source:
    path = Path(name)
    if path.is_file():
        return Source(path.stem, path)
    known = {clip.name: clip for clip in clips.rd_clips()}
    if name not in known:
        raise InputError(f'"{name}" is neither a file nor a held-out clip ({", ".join(known)})')
    return Source(name, known[name].source_file(), known[name].kind)
