# SPDX-License-Identifier: BSD-2-Clause
"""``clarivid mask``: a mask video from a video, for mesh_inpaint's second input."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path

import click

EPILOG = """\b
Examples:
  clarivid mask street.mp4 mask.mkv                         all that moves; the camera stands
  clarivid mask street.mp4 mask.mkv --sensitivity 2         fainter things and their shadows, too
  clarivid mask talk.mp4 mask.mkv --method person           somebody near the camera
  clarivid mask square.mp4 mask.mkv --method person --model segment_person_far

\b
Look at the masks, then use them:
  F=$(clarivid ffmpeg path)
  $F -i street.mp4 -i mask.mkv -lavfi '[0:v][1:v]mesh_inpaint=show=mask' look.mp4
  $F -i street.mp4 -i mask.mkv -lavfi '[0:v][1:v]mesh_inpaint' empty-street.mp4

\b
moving   The median over time is the background; what differs from it is the mask, with its shadow. The camera
         must stand. What stands still for half of the clip counts as background, so give it a clip that is
         long enough for everybody to walk on. Things that only sway (tape, leaves) are found as well.
person   A small net finds people; the camera may move. segment_person is for somebody who fills half of the
         picture's height or more, segment_person_far for people of a sixth to a half of it (of those of a
         tenth it finds three in four).
"""


@click.command(name="mask", epilog=EPILOG)
@click.argument("source", metavar="IN", type=click.Path(path_type=Path))
@click.argument("out", metavar="OUT.mkv", type=click.Path(path_type=Path))
@click.option(
    "--method",
    type=click.Choice(["moving", "person"]),
    default="moving",
    show_default=True,
    help="What the masks cover: all that moves before a fixed camera, or people.",
)
@click.option("--model", default="segment_person", show_default=True, help="With person: the net.")
@click.option(
    "--sensitivity",
    type=click.FloatRange(0.1, 10),
    default=1.0,
    show_default=True,
    help="With moving: 2 finds what differs half as much.",
)
@click.option(
    "--smallest",
    type=click.FloatRange(0, 100),
    default=0.015,
    show_default=True,
    help="With moving: percent of the picture; what is smaller is taken for noise.",
)
@click.option(
    "--grow",
    type=click.IntRange(0, 64),
    default=2,
    show_default=True,
    help="With moving: samples that masks grow by.",
)
@click.option(
    "--threads",
    type=click.IntRange(0, 1024),
    default=0,
    show_default=True,
    help="With person: CPU threads, 0 for all.",
)
@click.option("--json", "as_json", is_flag=True, help="Print the result as JSON.")
def command(
    source: Path,
    out: Path,
    method: str,
    model: str,
    sensitivity: float,
    smallest: float,
    grow: int,
    threads: int,
    as_json: bool,
) -> None:
    """Write a grey video of IN's size, rate and length: white where something is to vanish.

    It is lossless (FFV1), for the second input of the filter mesh_inpaint and for clarivid run. Masks are
    made at 768 samples (moving) or at the net's size (person), and stretched. Where IN's frames are not
    spaced evenly (screen recordings, some phones) make them so first: masks come at IN's mean rate.
    """
    from clarivid.bars import bar
    from clarivid.mask_video import write_masks
    from clarivid.masks import MovingOptions

    options = MovingOptions(sensitivity=sensitivity, smallest=smallest / 100, grow=grow)
    with bar(source.name) as (progress, task):
        passes = {"background": 0, "masks": 0}

        def report(what: str, frames: int) -> None:
            passes[what] = frames
            # The first pass counts the frames; the second has that many.
            total = 2 * passes["background"] if what == "masks" and passes["background"] else None
            progress.update(task, completed=sum(passes.values()), total=total, note=f"{what}, frame {frames}")

        made = write_masks(
            source, out, method, options=options, model=model, threads=threads, progress=report
        )
    if as_json:
        click.echo(json.dumps(asdict(made)))
    else:
        click.echo(
            f"{out}: {made.frames} frames, masks cover {100 * made.share:.1f} % of the picture on average, "
            f"{made.empty} are empty"
        )
