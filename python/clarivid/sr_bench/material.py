# SPDX-License-Identifier: BSD-2-Clause
"""The clips and stills that super-resolution is judged on: those of :mod:`clarivid.clips`, and more.

Nothing here comes from a picture that training uses; the two photographs of mate-backgrounds are left out
there by name. docs/evaluation.md says what each is.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path

from clarivid import clips, games
from clarivid.clips import KINDS, Clip
from clarivid.desktop import PROGRAMS, film
from clarivid.errors import InputError
from clarivid.packages import fetch_deb, fetch_pypi
from clarivid.sr_bench import drawn

_HARD = "hard"


def _package_file(package: str, file: str) -> Path:
    return fetch_deb(package).one(f"**/{file}")


def _image(file: str) -> Path:
    return fetch_pypi("scikit-image", "0.25.2").one(f"skimage/data/{file}")


def _drawn(name: str) -> Path:
    return Path(drawn.film(name))


def _desktop(program: str) -> Path:
    return film(program, clips.encoder())


def _game(name: str) -> Path:
    """The film of a game that training leaves out as a whole."""
    return games.film(games.find(name), clips.encoder())


def _noisy(name: str) -> Path:
    return clips.find_rd(name).source_file()


def _of(name: str) -> Path:
    """Another clip's reference."""
    return clips.find(name).reference()


_GNOME = partial(partial, _package_file, "gnome-backgrounds")
_NOVEL = partial(partial, _package_file, drawn.NOVEL)
_LETTER = partial(_package_file, drawn.GAME, "images/linux/poster.png")
_SHOWN = "LGPL-3+ (the text shown)"
_MATE = "GPL-2+"
_BSD = "BSD-3-Clause"
_GNOME_LICENCE = "CC-BY-SA-3.0"

# As game consoles and old encoders had it: 3 + 3 + 2 bits, an ordered pattern of 8x8.
_DITHERED = "scale=sws_dither=bayer,format=rgb8"
# Fields of two pictures in one, taken to be one picture.
_COMBED = "tinterlace=interleave_top,setfield=prog"

_MORE = (
    Clip("neverball", "game", partial(_game, "neverball"), "GPL-2+", first=10, frames=24),
    Clip("pingus", "game", partial(_game, "pingus"), "GPL-3+", first=20, frames=24),
    Clip("reef", "game", partial(_drawn, "reef"), "GPL-2+", frames=24, halve=False),
    Clip("dialogue", "anime", partial(_drawn, "dialogue"), "Expat", frames=24, halve=False),
    Clip("band", "anime", _NOVEL("images/concert2.png"), "Expat", frames=1),
    Clip("weave", "illustration", _GNOME("licorice-l.webp"), _GNOME_LICENCE, frames=1, crop="2560:1440"),
    Clip("mosaic", "illustration", _GNOME("grid-l.webp"), _GNOME_LICENCE, frames=1, crop="2560:1440"),
    Clip("letter", "illustration", _LETTER, "GPL-2+", frames=1, halve=False),
    Clip("terminal", "screen", partial(_desktop, "terminal"), _SHOWN, first=4, halve=False),
    Clip("editor", "screen", partial(_desktop, "editor"), _SHOWN, first=8, halve=False),
    Clip("browser", "screen", partial(_desktop, "browser"), "xfig (the text shown)", first=8, halve=False),
    Clip("flower", "natural", partial(_package_file, "libjxl-testdata", "flower/flower.png"), _BSD, frames=1),
    Clip("rocket", "natural", partial(_image, "rocket.jpg"), "CC0-1.0", frames=1, halve=False),
    Clip("coffee", "natural", partial(_image, "coffee.png"), "CC0-1.0", frames=1, halve=False),
    Clip("ladybird", "natural", partial(_package_file, "mate-backgrounds", "LadyBird.jpg"), _MATE, frames=1),
    Clip("dithered", _HARD, partial(_of, "concert"), "Expat", halve=False, spoil=_DITHERED),
    Clip(
        "dithered_still", _HARD, _NOVEL("gui/main_menu.jpg"), "Expat", frames=1, halve=False, spoil=_DITHERED
    ),
    Clip(
        "combed",
        _HARD,
        clips.find("motorway").source,
        "LGPL-3+",
        first=60,
        frames=24,
        halve=False,
        spoil=_COMBED,
        natural=True,
    ),
    Clip("noise", _HARD, partial(_noisy, "garden"), _MATE, halve=False, crop="768:432", natural=True),
    Clip("night", _HARD, partial(_noisy, "ladybird"), _MATE, halve=False, crop="768:432", natural=True),
    Clip("deep", _HARD, clips.find("castle").source, "CC-BY-3.0", first=585, crop="1280:544", deep=True),
    Clip("live", _HARD, partial(_of, "marathon"), "LGPL-3+", halve=False, twice=True, natural=True),
    Clip("stream", _HARD, partial(_of, "window"), _BSD, halve=False, twice=True),
)

QUICK = (
    "window",
    "reef",
    "bunny",
    "seabed",
    "concert",
    "dialogue",
    "panorama",
    "weave",
    "terminal",
    "browser",
    "city",
    "campus",
    "flower",
    "dithered",
    "combed",
    "noise",
)


def material(kind: str | None = None) -> list[Clip]:
    """All clips and stills, or those of one kind, by kind. Raises :class:`InputError`."""
    if kind is not None and kind not in KINDS:
        raise InputError(f'kind "{kind}" is unknown: it is one of {", ".join(KINDS)}')
    every = [*clips.held_out(), *_MORE]
    return [clip for name in KINDS for clip in every if clip.kind == name and kind in (None, name)]


def find(name: str) -> Clip:
    """The clip of that name. Raises :class:`InputError` with the known names."""
    every = material()
    for clip in every:
        if clip.name == name:
            return clip
    raise InputError(f'clip "{name}" is unknown: it is one of {", ".join(clip.name for clip in every)}')


def package(clip: Clip) -> str:
    """The package that a clip's pictures come from; empty when it is none."""
    source = clip.source
    if not isinstance(source, partial):
        return clip.package
    name = str(source.args[0])
    if source.func is _of:
        return package(clips.find(name))
    if source.func is _noisy:
        return clips.find_rd(name).package
    if source.func is _drawn:
        return {"reef": drawn.GAME, "dialogue": drawn.NOVEL}[name]
    if source.func is _game:
        return games.find(name).package
    if source.func is _desktop:
        return PROGRAMS[name]
    return "scikit-image" if source.func is _image else clip.package


__all__ = ["QUICK", "find", "material", "package"]
