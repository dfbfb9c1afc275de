# SPDX-License-Identifier: BSD-2-Clause
"""Which series of FFmpeg the filters' tests run on, and what FFmpeg itself does otherwise in some of them.

``CLARIVID_TEST_SERIES=5.1`` runs them on another one than that which everybody builds. Nothing is skipped
there: where FFmpeg lacks what a test uses, the test does with less, and the table says with what.
"""

from __future__ import annotations

import os
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NoReturn

import pytest

from clarivid.errors import ToolError
from clarivid.ffmpeg import library, source
from clarivid.ffmpeg.series import DEFAULT, get
from clarivid.paths import cache_dir
from conftest import missing_here

SERIES = os.environ.get("CLARIVID_TEST_SERIES") or DEFAULT

# What showinfo calls motion vectors: 5.1 has no name for them.
MOTION_VECTORS = "unknown side data type 8" if SERIES == "5.1" else "otion vectors"

# For setparams(): everything that a frame says of its colours, and none of it what is assumed without it.
HDR = "range=pc:colorspace=bt2020nc:color_primaries=bt2020:color_trc=smpte2084:chroma_location=topleft"


@dataclass(frozen=True)
class Difference:
    """Something of FFmpeg's own that is so in ``series``, and what is tested there ``instead``."""

    series: tuple[str, ...]
    what: str
    instead: str


DIFFERENCES = {
    "siting": Difference(
        ("5.1",),
        "`setparams` cannot set the siting of chroma",
        "frames of unspecified siting; range, matrix, primaries and transfer are compared",
    ),
    "queue": Difference(
        ("5.1",),
        "when a filter fails, ffmpeg ends without writing what is queued for the muxer",
        "what was written is a beginning of what is expected, and never a frame more",
    ),
    "colour": Difference(
        ("5.1",),
        "links carry neither matrix nor range: frames do",
        "the same tests; the filters look at the frames in every series",
    ),
    "threads": Difference(
        ("5.1",),
        "the option `threads` of all filters takes what is given to ours",
        "the same tests; the filters take the value from there",
    ),
    "drain": Difference(
        ("5.1", "6.1", "7.1", "8.1", "9.0"),
        "before ffmpeg replaces a graph it takes no frame out of it (5.1, 6.1), one (9.0), or one if the "
        "graph has a source (7.1, 8.1)",
        "the same tests; the patch asks until there is none",
    ),
    "sync": Difference(
        ("5.1",),
        "filters with two inputs have no option `ts_sync_mode`",
        "`mesh_inpaint` without it: the mask holds that is not later",
    ),
    "frames": Difference(
        ("9.0",),
        "`-frames:v N` lets N + 1 frames or more into a graph",
        "tests count frames that come out",
    ),
}


def not_here(series: str, sentence: str) -> NoReturn:
    """A series that tools/setup.sh fetches and builds is not there: a failure in CI, elsewhere a skip.

    When Debian has left the series behind there is nothing that could be built, and that is the reason told.
    """
    try:
        source.fetch(get(series), lambda _: None)
    except ToolError as error:
        if "no longer carries" in str(error):
            pytest.skip(str(error))
    missing_here(sentence)


def misfit(series: str) -> str:
    """What ``patch`` says of our patch and the source that Debian has, if it is not "fits to the line"."""
    fetched = sorted((cache_dir() / "packages").glob(f"debsrc-ffmpeg-*-{series}/tree"))
    if not fetched:
        not_here(
            series, f"the source of FFmpeg {series} is not fetched: 'tools/setup.sh series' builds with it"
        )
    tree = next(path.parent for path in fetched[0].rglob("configure") if (path.parent / "RELEASE").is_file())
    patch = library.shared_files("patches", f"ffmpeg-{series}.patch")[0]
    done = subprocess.run(
        ["patch", "-p1", "--force", "--dry-run", "--fuzz=0", "-i", str(patch.absolute())],
        cwd=tree, capture_output=True, text=True, check=False,
    )  # fmt: skip
    exact = (tree / "RELEASE").read_text("utf-8").strip() == get(series).tested
    fits = done.returncode == 0 and not (exact and "offset" in done.stdout)
    return "" if fits else done.stdout


def differs(name: str) -> bool:
    """Whether a difference holds in the series under test."""
    return SERIES in DIFFERENCES[name].series


def setparams(options: str) -> str:
    """The filter ``setparams`` with these options, as far as the series has them."""
    words = options.split(":")
    if differs("siting"):
        words = [word for word in words if not word.startswith("chroma_location=")]
    return f"setparams={':'.join(words)}"


def was_written(found: Sequence[object], expected: Sequence[object]) -> bool:
    """Whether an ffmpeg whose filter failed wrote what it had to: all that is ``expected``, where it can."""
    whole = expected[: len(found)] if differs("queue") else expected
    return list(found) == list(whole)
