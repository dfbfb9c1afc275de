# SPDX-License-Identifier: BSD-2-Clause
"""The pictures that are compared: random, real, and those that are hard on purpose.

=============== ==================================================================================
random          every code is as likely as any other
real            cut from a video, scaled so that 10-bit codes are no multiples of four
flat            every sample 0, then every sample the highest code: far outside of limited range
legal           black, then white, as the range has them
saturated       0 and the highest code at random, then also their neighbours
checkerboard    0 and the highest code in turn, in both directions: the highest frequency there is
dot             one bright sample in the dark, then one dark in the light
steps           edges from 0 to the highest code: in luma upright, in chroma level, then the other way
=============== ==================================================================================
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from clarivid.errors import InputError
from clarivid.models import Model
from clarivid.parity.planes import BIT_DEPTH, Picture, raw, run_ffmpeg, spans, unpack

FRAMES = 2  # a case; the filter gets them as one stream
STRENGTHS = (1.0, 0.5)
SIZES = ((64, 48), (75, 53), (198, 110))  # odd in both directions, and no multiple of a vector's length
INPAINT_SIZES = ((96, 64), (75, 53), (971, 545))  # the last is larger than what nets paint at
ADVERSARIAL = ("flat", "legal", "saturated", "checkerboard", "dot", "steps")
SOURCES = ("random", "real", *ADVERSARIAL)


@dataclass(frozen=True)
class Case:
    """Pictures of one kind: ``source`` is one of :data:`SOURCES`, ``pix_fmt`` is ffmpeg's name."""

    source: str
    width: int
    height: int
    pix_fmt: str
    full_range: bool
    strength: float = 1.0

    @property
    def bit_depth(self) -> int:
        """8 or 10."""
        return BIT_DEPTH[self.pix_fmt]

    @property
    def range(self) -> str:
        """``full`` or ``limited``."""
        return "full" if self.full_range else "limited"

    @property
    def label(self) -> str:
        """For tables and progress."""
        strength = "" if self.strength == 1 else f" strength {self.strength:g}"
        return f"{self.source} {self.width}x{self.height} {self.pix_fmt} {self.range}{strength}"


def cases(
    quick: bool = False,
    strengths: Sequence[float] = (1.0,),
    sizes: Sequence[tuple[int, int]] = SIZES,
) -> list[Case]:
    """Random and real pictures in all combinations of size, format, range and strength, adversarial ones in
    every format, with a size and a range in turn. ``quick`` keeps one in seven of the first, and one of each
    kind of the others, in the smaller sizes.
    """
    every = [
        Case(source, width, height, pix_fmt, full, strength)
        for strength in strengths
        for width, height in sizes
        for pix_fmt in BIT_DEPTH
        for full in (False, True)
        for source in ("random", "real")
    ]
    hard = [
        Case(kind, *sizes[(i + j) % (2 if quick else len(sizes))], pix_fmt, (i + j // 2) % 2 == 1)
        for i, kind in enumerate(ADVERSARIAL)
        for j, pix_fmt in enumerate(BIT_DEPTH)
        if not quick or i % len(BIT_DEPTH) == j
    ]
    return (every[3::7] if quick else every) + hard


def strengths_of(bundle: Model) -> Sequence[float]:
    """The strengths at which a bundle is compared."""
    return STRENGTHS if bundle.has_strength else (1.0,)


def cases_of(bundle: Model, quick: bool = False, largest: int = 0) -> list[Case]:
    """Those in which a bundle is compared; with ``largest`` luma samples in a picture, if that is not 0."""
    sizes = INPAINT_SIZES if bundle.task == "inpaint" else SIZES
    kept = [size for size in sizes if not largest or size[0] * size[1] <= largest]
    return cases(quick, strengths_of(bundle), kept or sizes[:1])


def hole_of(case: Case) -> NDArray[np.bool_]:
    """An ellipse in the middle and a box at the right border: [H, W]."""
    y, x = np.mgrid[: case.height, : case.width]
    ellipse = ((x - 0.45 * case.width) / (0.22 * case.width)) ** 2 + (
        (y - 0.5 * case.height) / (0.3 * case.height)
    ) ** 2 < 1
    box = (x > 0.9 * case.width) & (y > 0.6 * case.height) & (y < 0.8 * case.height)
    return np.asarray(ellipse | box)


def pictures(case: Case, source: Path | None) -> list[Picture]:
    """:data:`FRAMES` pictures (y, u, v), codes in the low bits.

    Raises :class:`ToolError` when ffmpeg cannot read the video, :class:`InputError` when it is too short.
    """
    if case.source == "real":
        assert source is not None
        return _real(case, source)
    dtype = np.uint8 if case.bit_depth == 8 else np.uint16
    chroma = ((case.height + 1) // 2, (case.width + 1) // 2)
    shapes = ((case.height, case.width), chroma, chroma)
    random = np.random.default_rng([case.width, case.height, case.bit_depth])
    return [
        tuple(_plane(case, random, frame, plane, shape).astype(dtype) for plane, shape in enumerate(shapes))
        for frame in range(FRAMES)
    ]


def _plane(
    case: Case, random: np.random.Generator, frame: int, plane: int, shape: tuple[int, int]
) -> NDArray[np.int64]:
    top = (1 << case.bit_depth) - 1
    y, x = np.mgrid[: shape[0], : shape[1]]
    on: NDArray[np.bool_]
    if case.source == "random":
        return random.integers(0, top + 1, shape)
    if case.source == "saturated":
        codes = np.array([0, top] if frame == 0 else [0, 1, top - 1, top])
        return codes[random.integers(0, len(codes), shape)]
    if case.source == "legal":
        offset, span = spans(case.bit_depth, case.full_range)[plane > 0]
        return np.full(shape, offset + (0 if plane else frame * span))
    if case.source == "flat":
        on = np.zeros(shape, bool)
    elif case.source == "checkerboard":
        on = (x + y + plane) % 2 == 0
    elif case.source == "dot":
        on = (y == shape[0] // 2 | 1) & (x == shape[1] // 3 | 1)
    elif case.source == "steps":
        on = (x > shape[1] // 2) if (plane > 0) == (frame > 0) else (y > shape[0] // 2)
    else:
        raise InputError(f'there are no pictures "{case.source}": they are {", ".join(SOURCES)}')
    return np.where(on ^ (frame > 0), top, 0)


def _real(case: Case, source: Path) -> list[Picture]:
    planar = "yuv420p" if case.bit_depth == 8 else "yuv420p10le"
    # Scaling before the crop gives 10-bit codes that are no multiples of four; the crop keeps real detail.
    size = f"max(iw*3/4\\,{case.width + 1})"
    filters = f"scale={size}:-2:flags=bicubic:out_range={'pc' if case.full_range else 'tv'}"
    # exact=1 allows an odd size; at an odd place it would cut 10-bit chroma in the middle of a sample.
    filters += f",format={planar},crop={case.width}:{case.height}"
    filters += ":floor((iw-ow)/4)*2:floor((ih-oh)/4)*2:exact=1"
    command = ["-i", str(source), "-vf", filters, "-frames:v", str(FRAMES), *raw(planar)]
    data = run_ffmpeg(command, b"", f"cut pictures of {case.width}x{case.height} from {source}")
    found = list(unpack(data, case.width, case.height, planar))
    if len(found) < FRAMES:
        raise InputError(f"{source} has {len(found)} frames; parity needs {FRAMES}")
    return found[:FRAMES]


__all__ = [
    "ADVERSARIAL",
    "FRAMES",
    "SOURCES",
    "STRENGTHS",
    "Case",
    "cases",
    "cases_of",
    "hole_of",
    "pictures",
    "strengths_of",
]
