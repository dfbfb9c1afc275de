# SPDX-License-Identifier: BSD-2-Clause
"""``clarivid run``: a chain of filters on a file."""

from __future__ import annotations

import shlex
import signal
from pathlib import Path

import click

from clarivid.cli._progress import bar

EPILOG = """\b
Examples:
  clarivid run dnn_sr=model=game_x2 in.mp4 out.mp4
  clarivid run mesh_inpaint in.mp4 out.mp4 --mask mask.mkv
  clarivid run mesh_inpaint=boxes=boxes.txt:lookahead=12 in.mp4 out.mkv
  clarivid run lowrank_pre,scale=1280:-2 in.mkv out.mp4 --video-codec libx265 --video-options "-crf 22"

\b
CHAIN is what ffmpeg's -vf takes. Audio is copied. OUT appears when it is complete.
"""


@click.command(name="run", epilog=EPILOG)
@click.argument("chain")
@click.argument("source", metavar="IN", type=click.Path(path_type=Path))
@click.argument("out", metavar="OUT", type=click.Path(path_type=Path))
@click.option(
    "--mask",
    type=click.Path(path_type=Path),
    help="A video of masks, white where something is to vanish: mesh_inpaint's second input.",
)
@click.option("--video-codec", default="libx264", show_default=True, help="One of ffmpeg's video encoders.")
@click.option(
    "--video-options", metavar="TEXT", help='The encoder\'s options; "-crf 18 -preset medium" for libx264.'
)
@click.option("-y", "--overwrite", is_flag=True, help="Replace OUT when it is there.")
def command(
    chain: str,
    source: Path,
    out: Path,
    mask: Path | None,
    video_codec: str,
    video_options: str | None,
    overwrite: bool,
) -> None:
    """Run the video IN through CHAIN and write OUT."""
    from clarivid import chains

    # Ended by a scheduler, ffmpeg is ended and the draft removed, as after Ctrl-C.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    with bar(out.name) as (progress, task):

        def tell(done: float, total: float, fps: float) -> None:
            progress.update(task, completed=done, total=total or None, note=f"{fps:.1f} fps")

        done = chains.run(
            chain,
            source,
            out,
            mask=mask,
            video_codec=video_codec,
            video_options=None if video_options is None else shlex.split(video_options),
            overwrite=overwrite,
            progress=tell,
        )
    click.echo(f"{out}: {done.frames} frames, {done.frames / done.seconds:.1f} fps")
