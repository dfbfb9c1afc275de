# SPDX-License-Identifier: BSD-2-Clause
"""``clarivid data``: training packs from pictures in Debian packages."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import click

from clarivid.errors import ToolError

Options = Callable[[Callable[..., None]], Callable[..., None]]


def _out(parts: str) -> Options:
    return click.option(
        "--out",
        type=click.Path(path_type=Path),
        required=True,
        help=f"The pack, one file. Finished {parts} wait in OUT.parts: after an interruption the same "
        "command goes on where it stopped.",
    )


def _crops(what: str) -> Options:
    return click.option("--crops", default=5, show_default=True, type=click.IntRange(1), help=what)


def _seed(others: str) -> Options:
    return click.option("--seed", default=0, show_default=True, help=f"Another seed gives other {others}.")


_jobs: Options = click.option(
    "--jobs", default=1, show_default=True, type=click.IntRange(1), help="Processes at work."
)


@contextmanager
def _progress(parts: str) -> Iterator[Callable[[int, int], None]]:
    """A bar; what is given takes how many parts are done, of how many."""
    from clarivid.bars import bar

    with bar(parts) as (progress, task):
        yield lambda done, total: progress.update(task, completed=done, total=total)


@click.group(
    name="data",
    epilog="""\b
Examples:
  clarivid data sources                   which pictures are used, under which licences
  clarivid data capture                   film the games that are installed, for 'data sr'
  clarivid data sr --out sr0.pack         coded pairs for 'clarivid train sr', some minutes
  clarivid data lowrank --out low0.pack   coded clips for 'clarivid train lowrank', some minutes
  clarivid data inpaint --out paint0.pack tiles for 'clarivid train inpaint', a minute
""",
)
def command() -> None:
    """Fetch and pack training pictures.

    All pictures come from Debian packages, fetched with apt-get into the cache; games are filmed where they
    are installed.
    """


@command.command(
    name="sources",
    epilog="""\b
Examples:
  clarivid data sources | grep CC0
  clarivid data sources --pack lowrank
  clarivid data sources --json | jq -r '.[].licence' | sort -u
""",
)
@click.option(
    "--pack",
    type=click.Choice(["sr", "lowrank"]),
    default="sr",
    show_default=True,
    help="Both have fonts and films of games; lowrank has real footage as well.",
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON: a list of objects.")
def sources(pack: str, as_json: bool) -> None:
    """List packages, versions, numbers of pictures and licences."""
    from rich.console import Console
    from rich.table import Table

    if pack == "lowrank":
        from clarivid.data.lowrank import more_sources
        from clarivid.data.sources import collect

        rows = collect()[1] + more_sources()
    else:
        from clarivid.data.sr_build import gather

        rows = gather()[1]
    if as_json:
        click.echo(json.dumps(rows, indent=2))
        return
    table = Table("package", "version", "kind", "role", "files", "held out", "licence", box=None)
    for row in rows:
        table.add_row(
            *(str(row[k]) for k in ("source", "version", "kind", "role", "files", "held_out", "licence"))
        )
    Console(highlight=False).print(table)


@command.command(
    name="capture",
    epilog="""\b
Examples:
  clarivid data capture --list
  clarivid data capture etr chromium
  clarivid data capture --json | jq -r '.[] | [.title, .licence, .sha256] | @tsv'
""",
)
@click.argument("titles", nargs=-1)
@click.option("--list", "only_list", is_flag=True, help="Film nothing; list what there is.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON: a list of the films in the cache.")
def capture(titles: tuple[str, ...], only_list: bool, as_json: bool) -> None:
    """Film games and rendered scenes, losslessly, for 'clarivid data sr'.

    Without TITLES all that are installed are filmed and not in the cache yet. A virtual screen, xdotool and
    gcc are needed; the games are Debian packages.
    """
    from clarivid import games
    from clarivid.data.synth import ffmpeg_exe

    chosen = [games.find(name) for name in titles] or list(games.TITLES)
    if not only_list:
        work = chosen if titles else [t for t in chosen if games.installed(t)]
        failed = []
        with _progress("films") as show:
            for number, title in enumerate(work):
                show(number, len(work))
                try:
                    games.film(title, ffmpeg_exe())
                except ToolError as error:
                    failed.append(str(error))
            show(len(work), len(work))
        if failed:
            raise ToolError("; ".join(failed))
    rows = games.manifest()
    if as_json:
        click.echo(json.dumps(rows, indent=2))
        return
    from rich.console import Console
    from rich.table import Table

    versions = {str(row["title"]): str(row["version"]) for row in rows}
    table = Table("title", "kind", "package", "version", "held out", "filmed", "licence", box=None)
    for title in chosen:
        state = "yes" if title.name in versions else "no" if games.installed(title) else "not installed"
        held = "yes" if title.held_out else ""
        table.add_row(
            title.name, title.kind, title.package, versions.get(title.name, ""), held, state, title.licence
        )
    Console(highlight=False).print(table)


@command.command(
    name="sr",
    epilog="""\b
Examples:
  clarivid data sr --out sr0.pack
  clarivid data sr --out sr1.pack --seed 1 --clips 80 --val 0     a larger one, other clips
  clarivid data sr --out tiny.pack --clips 2 --kind art --kind noisy --no-films
""",
)
@_out("clips")
@click.option(
    "--clips",
    default=40,
    show_default=True,
    type=click.IntRange(1),
    help="Clips of each kind. 40 make a pack of less than 60 MiB.",
)
@click.option(
    "--crops",
    default=8,
    show_default=True,
    type=click.IntRange(1),
    help="Crops a clip, 96x96 luma pixels on the low side.",
)
@click.option(
    "--pairs",
    default=1,
    show_default=True,
    type=click.IntRange(0),
    help="Crops of two frames in succession a clip, for the loss of steadiness.",
)
@click.option(
    "--kind",
    "kinds",
    type=click.Choice(["game", "art", "cg", "screen", "natural", "noisy"]),
    multiple=True,
    help="Kinds of video; all when it is not given. art: anime and illustration; noisy: any of them with "
    "noise, grain, dither, interlacing or an old codec.",
)
@_seed("views, motions, encodes and crops of the same pictures")
@click.option(
    "--val",
    default=5,
    show_default=True,
    type=click.IntRange(0),
    help="Whole validation pictures of each kind, of titles that no crop shows.",
)
@click.option(
    "--films/--no-films",
    default=True,
    show_default=True,
    help="Use the films of 'clarivid data capture' that are in the cache.",
)
@_jobs
def sr(
    out: Path,
    clips: int,
    crops: int,
    pairs: int,
    kinds: tuple[str, ...],
    seed: int,
    val: int,
    films: bool,
    jobs: int,
) -> None:
    """Make pairs for super-resolution: full size, and half size after the encoders of real ladders.

    Stills become clips of nine frames under a pan, zoom, turn, perspective and shake, with cut-outs and text;
    games and rendered scenes are filmed, screens drawn. The source may be noisy, interlaced or coded
    already; the low side is scaled by area, bicubic or Lanczos, at times coded once before, and goes through
    x264, x265 or SVT-AV1 with 8 or 10 bits.
    """
    from clarivid.data.sr_build import build
    from clarivid.data.sr_sources import KINDS

    chosen = tuple(k for k in KINDS if k in kinds) or KINDS
    with _progress("clips") as show:
        manifest = build(out, clips, crops, pairs, chosen, seed, jobs, val, films, show)
    filmed = sum(row["role"] == "film" for row in manifest["sources"])
    click.echo(
        f"{out}: {out.stat().st_size / 2**20:.1f} MiB, {clips * crops * len(chosen)} crops and "
        f"{clips * pairs * len(chosen)} pairs from {len(manifest['clips'])} clips; {filmed} films were there"
    )


@command.command(
    name="lowrank",
    epilog="""\b
Examples:
  clarivid data lowrank --out lowrank-0.pack
  clarivid data lowrank --out lowrank-1.pack --seed 1 --jobs 4     other clips of the same pictures
  clarivid data lowrank --out tiny.pack --clips 10 --val 4
""",
)
@_out("clips")
@click.option(
    "--clips",
    default=166,
    show_default=True,
    type=click.IntRange(1),
    help="Clips: three parts natural, three game, two screen, two noisy. 166 make a pack of about 42 MiB.",
)
@_crops("Crops a clip: 192x192 luma samples of three consecutive frames.")
@_seed("views, motions, encodes and crops of the same pictures")
@click.option(
    "--val",
    default=16,
    show_default=True,
    type=click.IntRange(4),
    help="Validation clips, three crops each, of titles that no other clip shows.",
)
@_jobs
def lowrank(out: Path, clips: int, crops: int, seed: int, val: int, jobs: int) -> None:
    """Make coded clips for the prefilter.

    Photographs and art under a smooth continuous deformation, camera noise, drawn screens and films of a
    game, all after x264 or x265 at CRF 12 to 26, and some real clips. The game must be installed: packages
    dsda-doom and freedoom.
    """
    from clarivid.data.lowrank import build

    with _progress("clips") as show:
        manifest = build(out, clips, crops, seed, jobs, val, show)
    click.echo(f"{out}: {out.stat().st_size / 2**20:.1f} MiB, {len(manifest['crops'])} crops")


@command.command(
    name="inpaint",
    epilog="""\b
Examples:
  clarivid data inpaint --out inpaint-0.pack
  clarivid data inpaint --out inpaint-1.pack --seed 1 --jobs 4     other views of the same pictures
  clarivid data inpaint --out small.pack --views 0.3
""",
)
@_out("pictures")
@click.option(
    "--views",
    default=1.0,
    show_default=True,
    type=click.FloatRange(min=0, min_open=True),
    help="Times 7 views of each photograph and 2 of each drawn picture. 1 makes a pack of about 52 MiB.",
)
@_seed("views")
@_jobs
def inpaint(out: Path, views: float, seed: int, jobs: int) -> None:
    """Make tiles for inpainting, 512x512 luma samples in 4:2:0, ordered from simple to complex.

    Views of the pictures of 'clarivid data sr', without its cut-outs, reduced by a random factor; nothing is
    coded. Holes are drawn while training.
    """
    from clarivid.data.inpaint import build

    with _progress("pictures") as show:
        manifest = build(out, views, seed, jobs, show)
    click.echo(
        f"{out}: {out.stat().st_size / 2**20:.1f} MiB, {manifest['tiles']} tiles from "
        f"{sum(int(s['files']) for s in manifest['sources'])} pictures"
    )
