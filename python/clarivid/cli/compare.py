# SPDX-License-Identifier: BSD-2-Clause
"""``clarivid compare``: two videos side by side, as a page to look at, a sheet for a paper, or numbers."""

from __future__ import annotations

import importlib
import json
import signal
from pathlib import Path

import click

EPILOG = """\b
Examples:
  clarivid compare before.mp4 after.mp4                       writes compare.html: open it in a browser
  clarivid compare plain.mp4 filtered.mp4 source.mkv -o look.html
  clarivid compare a.mp4 b.mp4 source.mkv --labels x264 x265 --every 10
  clarivid compare a.mp4 b.mp4 source.mkv --sheet figure.png --pictures 3
  clarivid compare a.mp4 b.mp4 source.mkv --json | jq .scores.b.vmaf.mean
  clarivid compare --blind a1.mkv b1.mkv a2.mkv b2.mkv -o vote.html   people vote, and do not know on what
  clarivid compare --count vote.key.json votes-*.json                 counts what they have saved

\b
With REF both are scored against it; without, B is scored against A. Files with as many frames are paired by
number, others by time. Pictures of another size are scaled to REF's, or to the larger one's. Whatever was
done to make files comparable is written on top of the page.

The page is one file that needs no other and no network: a divider to drag between A and B, the places where
they differ most enlarged side by side, scores and bits of each frame. docs/compare.md tells more.
"""


@click.command(name="compare", epilog=EPILOG)
@click.argument("files", type=click.Path(path_type=Path), nargs=-1, required=True, metavar="A B [REF]")
@click.option(
    "-o",
    "--out",
    type=click.Path(path_type=Path),
    help="The page.  [default: compare.html (blind.html); none with --sheet or --json]",
)
@click.option("--sheet", type=click.Path(path_type=Path), help="Write a sheet of crops, a PNG for papers.")
@click.option("--json", "as_json", is_flag=True, help="Print all numbers as JSON.")
@click.option(
    "--labels", nargs=2, metavar="A B", help="What the two are called.  [default: their file names]"
)
@click.option(
    "--frames", type=click.IntRange(1), metavar="N", help="Compare N pairs of frames at most, from the first."
)
@click.option(
    "--every", type=click.IntRange(1), default=1, show_default=True, metavar="N", help="Each N-th pair only."
)
@click.option(
    "--pair",
    "pairing",
    type=click.Choice(["auto", "number", "time"]),
    default="auto",
    show_default=True,
    help="What makes two frames a pair; auto: the number where there are as many, else the time.",
)
@click.option(
    "--shift",
    type=int,
    default=0,
    metavar="N",
    help="Pair frame n of A with frame n + N of B, where B runs late (or early: below 0).",
)
@click.option(
    "--score",
    "scores",
    multiple=True,
    type=click.Choice(["vmaf", "vmaf_neg", "ssim", "psnr_y"]),
    help="Which scores, once each.  [default: all]",
)
@click.option(
    "--scaler",
    type=click.Choice(["lanczos", "bicubic", "bilinear", "neighbor", "spline", "area"]),
    default="lanczos",
    show_default=True,
    help="For files of another size.",
)
@click.option(
    "--pictures",
    type=click.IntRange(1, 24),
    metavar="N",
    help="Frames to look at: half of them where A and B differ most.  [default: 6; --blind: 3 of each pair]",
)
@click.option(
    "--blind",
    is_flag=True,
    help="A page to vote on that hides which is which; A B pairs, one after the other.",
)
@click.option(
    "--key",
    type=click.Path(path_type=Path),
    help="With --blind: where it is written which is which.  [default: beside the page, .key.json]",
)
@click.option("--seed", type=int, help="With --blind: for the order and the sides.  [default: drawn]")
@click.option(
    "--count",
    "counted",
    type=click.Path(path_type=Path),
    metavar="KEY",
    help="Count the votes in FILES, which were saved on the blind page of this key.",
)
@click.option("-y", "--overwrite", is_flag=True, help="Replace what is there.")
def command(
    files: tuple[Path, ...],
    out: Path | None,
    sheet: Path | None,
    as_json: bool,
    labels: tuple[str, str] | None,
    frames: int | None,
    every: int,
    pairing: str,
    shift: int,
    scores: tuple[str, ...],
    scaler: str,
    pictures: int | None,
    blind: bool,
    key: Path | None,
    seed: int | None,
    counted: Path | None,
    overwrite: bool,
) -> None:
    """Compare the videos A and B, and perhaps with a reference REF, in one HTML page.

    With --blind: a page on which people choose between A and B, which may be several pairs (A B A B), without
    knowing which they look at.
    """
    if counted is not None:
        _count(counted, files, as_json)
        return
    if blind:
        if sheet is not None or as_json or scores or every != 1 or shift:
            raise click.UsageError("--blind takes none of --sheet, --json, --score, --every and --shift")
        _blind(files, out, key, labels, frames, pairing, scaler, pictures, seed, overwrite)
        return
    if key is not None or seed is not None:
        raise click.UsageError("--key and --seed are for --blind")
    if len(files) not in (2, 3):
        raise click.UsageError("give two videos A and B, and perhaps a reference REF (or --blind and pairs)")
    a, b, ref = (*files, None)[:3]
    assert a is not None
    assert b is not None
    from clarivid import compare as comparing
    from clarivid.bars import bar
    from clarivid.compare import page
    from clarivid.compare import sheet as sheets

    if out is None and sheet is None and not as_json:
        out = Path("compare.html")
    if out is not None or sheet is not None:
        importlib.import_module("PIL.Image")  # missing, that is said now and not after the scores
    outputs = [path for path in (out, sheet) if path is not None]
    comparing.check_outputs(outputs, [path for path in (a, b, ref) if path is not None], overwrite)
    # Ended by a scheduler, our ffmpegs are ended, as after Ctrl-C.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    with bar("compare") as (progress, task):

        def tell(what: str, done: int, total: int) -> None:
            progress.update(task, completed=done, total=total or None, note=f"{what}, {done}")

        found = comparing.compare(
            a,
            b,
            ref,
            labels=labels or None,
            scores=tuple(dict.fromkeys(scores)) or comparing.SCORES,
            scaler=scaler,
            pairing=pairing,
            shift=shift,
            every=every,
            frames=frames,
            progress=tell,
        )
        if outputs:
            shown = found.pictures(pictures or 6, tell)
            if out is not None:
                page.write(found, shown, out)
            if sheet is not None:
                sheets.write(found, shown, sheet)
    if as_json:
        click.echo(json.dumps(found.summary(), allow_nan=False))
        return
    for note in found.notes:
        click.echo(note, err=True)
    click.echo(comparing.table(found))
    for path in outputs:
        click.echo(path)


def _blind(
    files: tuple[Path, ...],
    out: Path | None,
    key: Path | None,
    labels: tuple[str, str] | None,
    frames: int | None,
    pairing: str,
    scaler: str,
    pictures: int | None,
    seed: int | None,
    overwrite: bool,
) -> None:
    """Write a blind page and its key."""
    from clarivid import blind
    from clarivid.bars import bar
    from clarivid.compare import check_outputs

    if len(files) % 2:
        raise click.UsageError(
            "--blind takes pairs of videos: A B A B ..., each A made in one way, each B in another"
        )
    importlib.import_module("PIL.Image")
    page = out or Path("blind.html")
    key = key or page.with_suffix(".key.json")
    check_outputs([page, key], files, overwrite)
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    with bar("compare") as (progress, task):

        def tell(what: str, done: int, total: int) -> None:
            progress.update(task, completed=done, total=total or None, note=f"{what}, {done}")

        items = blind.write(
            list(zip(files[::2], files[1::2], strict=True)),
            page,
            key,
            labels=labels or None,
            pictures=pictures or 3,
            seed=seed,
            scaler=scaler,
            pairing=pairing,
            frames=frames,
            progress=tell,
        )
    click.echo(f"{len(items)} questions on {len(files) // 2} clips")
    click.echo(page)
    click.echo(key)


def _count(key: Path, files: tuple[Path, ...], as_json: bool) -> None:
    """Count saved votes."""
    from clarivid.blind import votes

    found = votes.count(key, files)
    click.echo(json.dumps(found.to_dict()) if as_json else votes.table(found))
