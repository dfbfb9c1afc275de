# SPDX-License-Identifier: BSD-2-Clause
"""The pictures that super-resolution is trained on, by the kind of video that they become.

It is :data:`clarivid.data.sources.SOURCES` sorted anew, and more packages. Titles that match
:data:`HELD_OUT` validate a training and are never trained on. What :mod:`clarivid.clips` shows is in neither.
"""

from __future__ import annotations

from dataclasses import replace

from clarivid.data.sources import HELD_OUT as _HELD_OUT
from clarivid.data.sources import SOURCES as _SOURCES
from clarivid.data.sources import Kind, Picture, Source, collect

KINDS = ("game", "art", "cg", "screen", "natural", "noisy")

_WESNOTH_KINDS: tuple[Kind, ...] = ("art", "game", "art", "game")


def _sorted_anew() -> tuple[Source, ...]:
    """Story art and portraits are art, screenshots and units game; all other drawn pictures are art."""
    rows = []
    wesnoth = iter(_WESNOTH_KINDS)
    for source in _SOURCES:
        if source.kind == "natural":
            rows.append(source)
        else:
            rows.append(replace(source, kind=next(wesnoth) if "wesnoth" in source.package else "art"))
    return tuple(rows)


_SKY = "usr/share/games/endless-sky/images"
_SKY_LICENCE = "CC-BY-SA-4.0, CC-BY-SA-3.0, CC-BY-4.0 or public domain by picture (debian/copyright)"
_BLUPI = "usr/share/planetblupi/image"
_GNOME = ("adwaita", "pixels", "vnc", "symbolic", "truchet", "wood")

SOURCES: tuple[Source, ...] = (
    *_sorted_anew(),
    Source(
        "endless-sky-data",
        (f"{_SKY}/land/*.jpg", f"{_SKY}/scene/*.jpg"),
        "natural",
        "scene",
        4.0,
        True,
        _SKY_LICENCE,
    ),
    Source(
        "endless-sky-data",
        (f"{_SKY}/ui/galaxy.jpg", f"{_SKY}/star/nova+.jpg"),
        "cg",
        "scene",
        1.0,
        True,
        _SKY_LICENCE,
    ),
    Source(
        "endless-sky-data",
        (f"{_SKY}/planet/*.png", f"{_SKY}/ship/**/*.png", f"{_SKY}/outfit/**/*.png"),
        "cg",
        "sprite",
        1.0,
        True,
        _SKY_LICENCE,
    ),
    Source(
        "gnome-backgrounds",
        tuple(f"usr/share/backgrounds/gnome/{name}-?.webp" for name in _GNOME),
        "cg",
        "scene",
        1.5,
        False,
        "CC-BY-SA-3.0 or GPL-2+ by picture (debian/copyright)",
    ),
    Source(
        "planetblupi-common",
        tuple(f"{_BLUPI}/{n}.png" for n in ("init", "build", "win", "lost", "read", "play", "history?")),
        "cg",
        "scene",
        1.0,
        True,
        "GPL-3+ (debian/copyright)",
    ),
    Source(
        "ardentryst",
        ("usr/share/games/ardentryst/Data/StorySceneImages/*.png",),
        "art",
        "scene",
        0.3,
        True,
        "GPL-3+ and CC-BY-SA-3.0 (debian/copyright)",
        exclude=("*black.png", "*part1.png", "*dark.png", "*Fade.png"),
    ),
)

# The held-out titles of the older packs stay held out, whatever kind they are of now.
HELD_OUT: dict[Kind, tuple[str, ...]] = {
    "game": ("*game-screen-1.14*",),
    "art": tuple(p for p in _HELD_OUT["game"] if "game-screen" not in p),
    "cg": ("*gnome/truchet*", "*planetblupi*win*", "*ship/hai*"),
    "natural": (*_HELD_OUT["natural"], "*land/snow*", "*land/city*", "*scene/loc*"),
}


def gather() -> tuple[list[Picture], list[dict[str, object]]]:
    """Fetch the packages; the pictures and the rows of the manifest, as
    :func:`clarivid.data.sources.collect`."""
    return collect(("game", "art", "cg", "natural"), SOURCES, HELD_OUT)
