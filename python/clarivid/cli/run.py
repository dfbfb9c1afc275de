# SPDX-License-Identifier: BSD-2-Clause
"""``clarivid run``: a chain of filters on a file, or on many."""

from __future__ import annotations

import json
import shlex
import signal
import sys
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from clarivid.chains import Chain
    from clarivid.chains.batch import Item
    from clarivid.chains.command import Encoding

EPILOG = """\b
Examples:
  clarivid run dnn_sr=model=game_x2 in.mp4 out.mp4
  clarivid run mesh_inpaint in.mp4 out.mp4 --mask mask.mkv
  clarivid run mesh_inpaint=boxes=boxes.txt:lookahead=12 in.mp4 out.mkv
  clarivid run lowrank_pre,scale=1280:-2 in.mkv out.mp4 --video-codec libx265 --video-options "-crf 22"
  clarivid run chain.yaml in.mp4 out.mp4 --hwaccel cuda
  clarivid run chain.yaml *.mkv --out-dir done --suffix .mp4 --jobs 2 --json
  clarivid run --options dnn_sr

\b
CHAIN is what ffmpeg's -vf takes, or a YAML file that Chain.save() wrote:
  version: 1
  chain:
    - filter: lowrank_pre
      options: {strength: 0.8}
    - filter: scale
      arguments: [1280, -2]

Sound is copied, chapters and tags are kept, and subtitles where the container takes them. OUT appears when it
is complete. With --out-dir a second call goes on where the first was interrupted: what is complete, and was
made from the same source, chain and encoding, is kept.

Exit codes: 0 done, 1 an error (with --out-dir: a file failed), 2 wrong usage, 130 interrupted.
"""


def _print_options(ctx: click.Context, _param: click.Parameter, value: str | None) -> None:
    if value is None or ctx.resilient_parsing:
        return
    from clarivid.options_files import help_text

    click.echo(help_text(value))
    ctx.exit()


@click.command(name="run", epilog=EPILOG)
@click.argument("chain")
@click.argument("files", metavar="IN... [OUT]", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option(
    "--out-dir",
    metavar="DIR",
    type=click.Path(path_type=Path),
    help="Where the results of many files go; each keeps its name.",
)
@click.option(
    "--suffix", metavar=".EXT", help="With --out-dir: the results' suffix; the sources' by default."
)
@click.option(
    "--jobs", default=1, show_default=True, type=click.IntRange(1, 256), help="With --out-dir: files at once."
)
@click.option(
    "--mask",
    type=click.Path(path_type=Path),
    help="A video of masks, white where something is to vanish: mesh_inpaint's second input.",
)
@click.option(
    "--video-codec", help="One of ffmpeg's video encoders; libx264, with --hwaccel cuda h264_nvenc."
)
@click.option(
    "--video-options", metavar="TEXT", help='The encoder\'s options; "-crf 18 -preset medium" for libx264.'
)
@click.option("--audio", default="copy", show_default=True, help="copy, none, or an encoder such as aac.")
@click.option("--hwaccel", type=click.Choice(["cuda"]), help="Decode, filter and encode in a GPU's memory.")
@click.option(
    "--damaged",
    type=click.Choice(["error", "accept"]),
    default="error",
    show_default=True,
    help="What a source that is damaged or ends in the middle is.",
)
@click.option("-y", "--overwrite", is_flag=True, help="Replace OUT when it is there.")
@click.option("--dry-run", is_flag=True, help="Print ffmpeg's command and run nothing.")
@click.option("--json", "as_json", is_flag=True, help="Print the result as JSON.")
@click.option(
    "--options",
    metavar="FILTER",
    is_eager=True,
    expose_value=False,
    callback=_print_options,
    help="Print the options of one of our filters and exit.",
)
def command(
    chain: str,
    files: tuple[Path, ...],
    out_dir: Path | None,
    suffix: str | None,
    jobs: int,
    mask: Path | None,
    video_codec: str | None,
    video_options: str | None,
    audio: str,
    hwaccel: str | None,
    damaged: str,
    overwrite: bool,
    dry_run: bool,
    as_json: bool,
) -> int | None:
    """Run the video IN through CHAIN and write OUT; with --out-dir, as many as are given."""
    from clarivid.chains.batch import Job, commands, jobs_of
    from clarivid.chains.command import Encoding
    from clarivid.chains.runner import check_paths

    if out_dir is None and (suffix is not None or jobs != 1):
        raise click.UsageError("--suffix and --jobs are for many files: give --out-dir")
    if out_dir is None and len(files) != 2:
        raise click.UsageError(f"one IN and one OUT, or many IN and --out-dir; {len(files)} files are given")
    filters = _chain(chain)
    try:
        words = None if video_options is None else shlex.split(video_options)
    except ValueError:
        raise click.BadParameter(
            f"{video_options} has a quote that does not end", param_hint="--video-options"
        ) from None
    how = Encoding(video_codec, words, audio, hwaccel, damaged)
    if dry_run:
        todo = [Job(*files)] if out_dir is None else jobs_of(files, out_dir, suffix)
        if out_dir is None:
            check_paths(files[0], mask, files[1], overwrite)
        found = commands(filters, todo, mask, how)
        lines = json.dumps(found, indent=2) if as_json else "\n".join(shlex.join(words) for words in found)
        click.echo(lines)
        return None
    # Ended by a scheduler, ffmpeg is ended and the draft removed, as after Ctrl-C.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    if out_dir is None:
        _one(filters, files[0], files[1], mask, how, overwrite, as_json)
        return None
    return _many(filters, files, out_dir, suffix, jobs, mask, how, overwrite, as_json)


def _chain(text: str) -> Chain:
    from clarivid.chains import Chain
    from clarivid.chains.schema import SUFFIXES

    return Chain.load(text) if text.lower().endswith(SUFFIXES) else Chain.from_ffmpeg(text)


def _one(
    chain: Chain, source: Path, out: Path, mask: Path | None, how: Encoding, overwrite: bool, as_json: bool
) -> None:
    from clarivid.bars import film
    from clarivid.chains import run

    with film(out.name) as tell:
        done = run(
            chain,
            source,
            out,
            mask=mask,
            video_codec=how.video_codec,
            video_options=how.video_options,
            audio=how.audio,
            hwaccel=how.hwaccel,
            damaged=how.damaged,
            overwrite=overwrite,
            progress=tell,
        )
    for note in done.notes:
        click.echo(f"{out}: {note}", err=True)
    if as_json:
        told = {"out": str(out), "frames": done.frames, "seconds": done.seconds, "notes": done.notes}
        click.echo(json.dumps(told, indent=2))
    else:
        click.echo(f"{out}: {done.frames} frames, {done.frames / done.seconds:.1f} fps")


def _many(
    chain: Chain,
    sources: tuple[Path, ...],
    folder: Path,
    suffix: str | None,
    jobs: int,
    mask: Path | None,
    how: Encoding,
    overwrite: bool,
    as_json: bool,
) -> int:
    from clarivid.chains.batch import as_json as told
    from clarivid.chains.batch import run_batch

    with _Bars(len(sources)) as bars:
        items = run_batch(
            chain,
            sources,
            folder,
            suffix=suffix,
            jobs=jobs,
            mask=mask,
            how=how,
            overwrite=overwrite,
            progress=bars.tell,
            finished=bars.end,
        )
    for item in items:
        for note in item.notes:
            click.echo(f"{item.out}: {note}", err=True)
    failed = [item for item in items if item.state == "failed"]
    if as_json:
        click.echo(json.dumps([told(item) for item in items], indent=2))
    else:
        counts = {state: sum(item.state == state for item in items) for state in ("done", "kept", "failed")}
        click.echo(f"{folder}: " + ", ".join(f"{count} {state}" for state, count in counts.items()))
    if failed:
        _table(failed)
    return 1 if failed else 0


def _table(failed: list[Item]) -> None:
    """What failed and why, on stderr; whole sentences, whatever the terminal's width."""
    from rich.console import Console
    from rich.table import Table

    alike: dict[str, list[Item]] = {}
    for item in failed:  # a chain that cannot be fails in the same way on every file
        alike.setdefault(item.error.replace(str(item.source), "the file"), []).append(item)
    table = Table("file", "why it failed", title=f"{len(failed)} failed", title_justify="left")
    for error, items in alike.items():
        names = "\n".join(str(item.source) for item in items)
        table.add_row(names, error if len(items) > 1 else items[0].error)
    width = None if sys.stderr.isatty() else 160
    Console(stderr=True, width=width, markup=False, emoji=False, highlight=False).print(table)


class _Bars:
    """A bar for all files and one for each that is being worked on; silent when stderr is no terminal."""

    def __init__(self, count: int) -> None:
        self._count = count
        self._tasks: dict[Path, Any] = {}
        self._lock = threading.Lock()

    def __enter__(self) -> _Bars:
        from clarivid.bars import bar

        self._bar = bar("files")
        self._drawn, self._all = self._bar.__enter__()
        self._drawn.update(self._all, total=self._count)
        return self

    def __exit__(self, *error: Any) -> None:
        self._bar.__exit__(*error)

    def tell(self, source: Path, state: Any) -> None:
        with self._lock:
            if source not in self._tasks:
                self._tasks[source] = self._drawn.add_task(source.name, total=None, note="")
            task = self._tasks[source]
        note = f"{state.fps:.1f} fps"
        self._drawn.update(task, completed=state.seconds, total=state.total or None, note=note)

    def end(self, item: Item) -> None:
        with self._lock:
            task = self._tasks.pop(item.source, None)
        if task is not None:
            self._drawn.remove_task(task)
        self._drawn.update(self._all, advance=1)
