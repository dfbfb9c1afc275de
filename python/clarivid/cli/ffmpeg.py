# SPDX-License-Identifier: BSD-2-Clause
"""``clarivid ffmpeg``: build FFmpeg with the filters, and say where it is."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import click

from clarivid.ffmpeg.flags import Kind
from clarivid.ffmpeg.series import DEFAULT, SERIES


@click.group(
    epilog="""\b
Examples:
  clarivid ffmpeg build
  $(clarivid ffmpeg path) -i in.mp4 -vf dnn_sr=model=game_x2 out.mp4
"""
)
def command() -> None:
    """Build FFmpeg with clarivid's filters, put them into a source tree of yours; print where it is."""


@command.command(
    epilog="""\b
Examples:
  clarivid ffmpeg build                                what a transcode needs
  clarivid ffmpeg build --full                         all of FFmpeg's own components
  clarivid ffmpeg build --series 9.0                   another release: 5.1, 7.1, 8.1, 9.0
  clarivid ffmpeg build --source ffmpeg-6.1.tar.xz     a source of yours
  clarivid ffmpeg build --configure-arg=--enable-libsvtav1 --configure-arg=--enable-libdav1d
  clarivid ffmpeg build --bare --source DIR --codec-headers DIR
                                                       with gcc, make and patch only, without a network
"""
)
@click.option(
    "--series",
    type=click.Choice(list(SERIES)),
    help=f"Release series of FFmpeg.  [default: that of --source, else {DEFAULT}]",
)
@click.option(
    "--full",
    "kind",
    flag_value="full",
    help="All of FFmpeg's own components, not only what a transcode needs.",
)
@click.option(
    "--checks",
    "kind",
    flag_value="checks",
    help="Only what checks of the filters need: H.264, raw video and FFmpeg's filters.",
)
@click.option(
    "--source",
    "source_path",
    type=click.Path(path_type=Path),
    metavar="DIR|TARBALL",
    help="FFmpeg source to build; without it, it is fetched from the Debian archive that apt uses.",
)
@click.option(
    "--codec-headers",
    type=click.Path(path_type=Path),
    metavar="DIR|TARBALL",
    help="nv-codec-headers for NVIDIA's decoders and encoders; without it, they are fetched likewise.",
)
@click.option(
    "--bare", is_flag=True, help="Without libx264, libx265, zimg, zlib and nasm: for machines without."
)
@click.option(
    "--configure-arg",
    "arguments",
    multiple=True,
    metavar="OPTION",
    help="One more option for FFmpeg's configure; as often as you like.",
)
@click.option("--jobs", type=click.IntRange(1), help="Compilers at once.  [default: as many as processors]")
def build(
    series: str | None,
    kind: Kind | None,
    source_path: Path | None,
    codec_headers: Path | None,
    bare: bool,
    arguments: tuple[str, ...],
    jobs: int | None,
) -> None:
    """Get FFmpeg, add the filters, build it into the cache, print the path of its ffmpeg.

    What was done before is not done again. The build is GPL (libx264, libx265), never nonfree.
    """
    from clarivid import ffmpeg

    reporter = _Reporter()
    built = ffmpeg.build(
        series=series,
        kind=kind or "transcode",
        bare=bare,
        source_path=source_path,
        headers_path=codec_headers,
        arguments=arguments,
        jobs=jobs,
        say=reporter.say,
        progress=reporter.progress,
    )
    reporter.finish()
    click.echo(built.ffmpeg)


@command.command(
    epilog="""\b
Examples:
  $(clarivid ffmpeg path) -i in.mp4 -vf dnn_sr=model=game_x2 out.mp4
  $(clarivid ffmpeg path --probe) out.mp4
  $(clarivid ffmpeg path --dropin) -i in.mp4 -vf lowrank_pre out.mp4
  clarivid ffmpeg path --json | jq -r .version
"""
)
@click.option(
    "--series", type=click.Choice(list(SERIES)), help=f"Which release.  [default: {DEFAULT}, else any]"
)
@click.option("--full", "kind", flag_value="full", help="The build with all components.")
@click.option("--checks", "kind", flag_value="checks", help="The build for checks.")
@click.option("--bare", is_flag=True, help="The build without external libraries.")
@click.option(
    "--dropin",
    "is_dropin",
    is_flag=True,
    help="The machine's own ffmpeg with the drop-in that was made for it.",
)
@click.option("--probe", is_flag=True, help="Print the path of ffprobe instead.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON: both paths, FFmpeg's version, the kind.")
def path(
    series: str | None, kind: Kind | None, bare: bool, is_dropin: bool, probe: bool, as_json: bool
) -> None:
    """Print the path of the built ffmpeg, for use in a command line."""
    from clarivid import ffmpeg

    if is_dropin:
        from clarivid.ffmpeg import dropin as dropins

        if series or kind or bare:
            raise click.UsageError("--dropin is for the ffmpeg that is installed: no other option chooses it")
        found = dropins.find()
        script = found.ffmpeg.with_name("clarivid-ffprobe") if probe else found.ffmpeg
        click.echo(json.dumps(found.to_json(), indent=2) if as_json else script)
        return
    built = ffmpeg.find(series=series, kind=kind, bare=True if bare else None)
    if as_json:
        row = {"ffmpeg": str(built.ffmpeg), "ffprobe": str(built.ffprobe), "folder": str(built.root)}
        click.echo(
            json.dumps({**row, "version": built.version, "kind": built.kind, "bare": built.bare}, indent=2)
        )
        return
    click.echo(built.ffprobe if probe else built.ffmpeg)


@command.command(
    epilog="""\b
Examples:
  clarivid ffmpeg patch ~/src/ffmpeg             then: ./configure --enable-libclarivid ... && make
  clarivid ffmpeg patch ~/src/ffmpeg --check     say what would be done; exit code 1 when something would
  clarivid ffmpeg patch ~/src/ffmpeg --reverse   take the filters out again

\b
A second run has nothing to do; after an upgrade of clarivid it brings the tree up to date. What was done
is kept in DIR/.clarivid. Nothing is changed unless all of it fits.
"""
)
@click.argument("tree", metavar="DIR", type=click.Path(path_type=Path))
@click.option("--check", is_flag=True, help="Only say what would be done.")
@click.option("--reverse", is_flag=True, help="Take the filters out.")
@click.option(
    "--force",
    is_flag=True,
    help="Try the closest patch on an unknown release; overwrite files of ours that were edited.",
)
def patch(tree: Path, check: bool, reverse: bool, force: bool) -> None:
    """Put the filters into FFmpeg's source in DIR: a checkout or an unpacked tarball of 5.1 to 9.0."""
    from clarivid.ffmpeg import patching

    plan = patching.plan(tree, reverse=reverse, force=force)
    for note in plan.notes:
        click.echo(f"note: {note}", err=True)
    if plan.is_done:
        click.echo(f"{tree} (FFmpeg {plan.version}): nothing to do")
        return
    for step in plan.steps():
        click.echo(f"{'would ' if check else ''}{step}")
    if check:
        click.get_current_context().exit(1)
    plan.carry_out()
    if not reverse:
        click.echo(
            f"{tree} (FFmpeg {plan.version}) has the filters. Configure it with libclarivid:\n"
            f'  PKG_CONFIG_PATH="{patching.pkg_config_folder()}" ./configure --enable-libclarivid ...'
        )


@command.command(
    epilog="""\b
Examples:
  clarivid ffmpeg dropin                        for the machine's own ffmpeg; says what is missing for it
  clarivid ffmpeg dropin --with-build-deps      fetches that, into the cache
  $(clarivid ffmpeg dropin) -i in.mp4 -vf lowrank_pre,dnn_sr=model=game_x2 -c:a copy out.mp4
  clarivid ffmpeg dropin --out /opt/clarivid    then: /opt/clarivid/bin/clarivid-run mpv ...
  clarivid ffmpeg dropin --remove
"""
)
@click.option(
    "--ffmpeg",
    "program",
    type=click.Path(path_type=Path),
    metavar="PROGRAM",
    help="The ffmpeg that is installed.  [default: /usr/bin/ffmpeg, else that on the PATH]",
)
@click.option(
    "--with-build-deps",
    is_flag=True,
    help="Fetch headers that are missing, with apt, into the cache; nothing is installed, no root is needed.",
)
@click.option(
    "--allow-missing", is_flag=True, help="Go without filters that cannot be had, instead of refusing."
)
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    metavar="DIR",
    help="Folder to leave it in; may be copied to machines with the same FFmpeg.  [default: in the cache]",
)
@click.option(
    "--source",
    "source_path",
    type=click.Path(path_type=Path),
    metavar="DIR|TARBALL",
    help="The source it was built from; without it, the distribution's source package is fetched.",
)
@click.option("--jobs", type=click.IntRange(1), help="Compilers at once.  [default: as many as processors]")
@click.option("--remove", is_flag=True, help="Remove the drop-ins from the cache, or the one in --out.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON: paths, what is missing, the report.")
def dropin(
    program: Path | None,
    with_build_deps: bool,
    allow_missing: bool,
    out: Path | None,
    source_path: Path | None,
    jobs: int | None,
    remove: bool,
    as_json: bool,
) -> None:
    """Make a libavfilter with the filters for the ffmpeg that is installed, and print how to start it.

    Nothing that is installed is changed: a script starts the same ffmpeg with another libavfilter, built from
    the same source, with every filter that the installed one has. Frames of more than a hundred graphs are
    compared before anybody gets it; report.md in its folder tells.
    """
    from clarivid.ffmpeg import dropin as dropins

    if remove:
        gone = dropins.remove(program, out)
        if as_json:
            click.echo(json.dumps({"removed": [str(folder) for folder in gone]}, indent=2))
        else:
            click.echo("\n".join(f"removed {folder}" for folder in gone) or "there is nothing to remove")
        return
    reporter = _Reporter()
    made = dropins.build(
        program=program,
        source_path=source_path,
        with_build_deps=with_build_deps,
        allow_missing=allow_missing,
        out=out,
        jobs=jobs,
        say=reporter.say,
        progress=reporter.progress,
    )
    reporter.finish()
    for what, names in (("missing", made.missing), ("with less in them", made.poorer)):
        if names:
            click.echo(f"ffmpeg: filters {what}: {', '.join(names)}", err=True)
    click.echo(json.dumps(made.to_json(), indent=2) if as_json else made.ffmpeg)


class _Reporter:
    """Progress on stderr: one line that is written over on a terminal, else a line for each tenth."""

    def __init__(self) -> None:
        self._terminal = sys.stderr.isatty()
        self._last = ""
        self._open = False

    def progress(self, step: str, done: int, total: int) -> None:
        percent = 100 * done // total if total else None
        if not self._terminal and percent is not None:
            percent -= percent % 10
        text = step if percent is None else f"{step} {percent} %"
        if text == self._last:
            return
        self._last = text
        if self._terminal:
            click.echo(f"\r\x1b[Kffmpeg: {text}", err=True, nl=False)
            self._open = True
        else:
            click.echo(f"ffmpeg: {text}", err=True)

    def say(self, line: str) -> None:
        self.finish()
        click.echo(f"ffmpeg: {line}", err=True)

    def finish(self) -> None:
        if self._open:
            click.echo("\r\x1b[K", err=True, nl=False)
            self._open = False


__all__ = ["command"]
