# SPDX-License-Identifier: BSD-2-Clause
"""What people look at: a crop of every clip, the original beside what each method made of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from clarivid.compare.canvas import common
from clarivid.compare.media import read
from clarivid.compare.pictures import difference_of, frames, places
from clarivid.pages import Picture
from clarivid.pages.sheet import contact_sheet
from clarivid.sr_bench.plan import Plan
from clarivid.sr_bench.run import Row, folder_of

if TYPE_CHECKING:
    from PIL import Image

ORIGINAL = "original"
CROP = (128, 96)  # samples
ZOOM = 2


def sheet(plan: Plan, rows: Sequence[Row], kept: Path) -> Image.Image:
    """A row a clip, at the first point of ``plan``: the original, Lanczos and the plan's methods, with PSNR-Y
    and VMAF-NEG of the whole clip.

    The crop is of the middle frame, where Lanczos and the first method differ most. ``kept``: what a run of
    the plan was told to keep. Clips that were left out are not there.
    """
    point = plan.points[0]
    scores = {
        (row.clip, row.method): row.scores for row in rows if (row.codec, row.crf) == (point.codec, point.crf)
    }
    methods = [method.name for method in plan.all_methods()]
    clips = [clip.name for clip in plan.clips if (clip.name, methods[0]) in scores]
    shown = [_middle(folder_of(kept, name, point), methods) for name in clips]
    # One size for all, which is no more than half of the smallest.
    width, height = (
        min(length, *(p[ORIGINAL].shape[1 - n] // 2 for p in shown)) for n, length in enumerate(CROP)
    )
    cells, captions = [], []
    for name, picture in zip(clips, shown, strict=True):
        change = difference_of(picture[methods[0]], picture[methods[1]])
        place = places(change, 1, (width, height))[0]
        cells.append([place.of(picture[column]) for column in (ORIGINAL, *methods)])
        captions.append([name, *(_caption(scores[name, method]) for method in methods)])
    return contact_sheet([ORIGINAL, *methods], cells, zoom=ZOOM, captions=captions)


def _middle(folder: Path, methods: Sequence[str]) -> dict[str, Picture]:
    """The middle frame of the original and of what each method made of it."""
    files = {ORIGINAL: folder / "reference.mkv", **{name: folder / f"{name}.mkv" for name in methods}}
    media = {name: read(path) for name, path in files.items()}
    canvas = common(media, ORIGINAL)
    middle = len(media[ORIGINAL].times) // 2
    return {name: frames(one, [middle], canvas)[middle] for name, one in media.items()}


def _caption(scores: Mapping[str, float | None]) -> str:
    known = [(scores["psnr_y"], "{:.2f} dB"), (scores["vmaf_neg"], "NEG {:.1f}")]
    return ", ".join(text.format(value) for value, text in known if value is not None)
