# SPDX-License-Identifier: BSD-2-Clause
"""The pictures that training may use, and the record of where they come from.

Only what is listed here is ever trained on. Pictures and clips that serve evaluation stay out: libjxl's
flower.png, scikit-image's images, mate's Garden and LadyBird, Kleiber, renpy-demo, and every video.
"""

from __future__ import annotations

import fnmatch
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from clarivid.errors import InputError
from clarivid.packages import Package, fetch_deb

Kind = Literal["game", "natural", "art", "cg"]
Role = Literal["scene", "sprite"]
KINDS: tuple[Kind, ...] = ("game", "natural")  # of SOURCES; clarivid.data.sr_sources has more


@dataclass(frozen=True)
class Source:
    """A set of pictures inside one Debian package.

    ``role`` is "scene" for pictures that fill a frame and "sprite" for cut-outs with an alpha channel.
    ``weight`` is the set's share when scenes (or sprites) are drawn; ``clean`` says that the files are
    sharp at their own size, so that they need not be reduced before use.
    """

    package: str
    globs: tuple[str, ...]
    kind: Kind
    role: Role
    weight: float
    clean: bool
    licence: str
    exclude: tuple[str, ...] = ()


_WESNOTH = "usr/share/games/wesnoth/1.16/data/core/images"
_PLASMA_ART = (
    "Altai",
    "Canopee",
    "Cascade",
    "Cluster",
    "Elarun",
    "Flow",
    "FlyingKonqui",
    "Honeywave",
    "IceCold",
    "Kay",
    "Kokkini",
    "MilkyWay",
    "Opal",
    "PastelHills",
    "Patak",
    "SafeLanding",
    "Shell",
    "Volna",
)
_PLASMA_PHOTO = (
    "Autumn",
    "BytheWater",
    "ColdRipple",
    "ColorfulCups",
    "DarkestHour",
    "EveningGlow",
    "FallenLeaf",
    "Grey",
    "Kite",
    "OneStandsOut",
    "Path",
    "summer_1am",
)

SOURCES: tuple[Source, ...] = (
    Source(
        "wesnoth-1.16-data",
        (f"{_WESNOTH}/story/*", f"{_WESNOTH}/maps/background.jpg", f"{_WESNOTH}/maps/titlescreen.png"),
        "game",
        "scene",
        3.0,
        True,
        "GPL-2+ (debian/copyright)",
    ),
    Source(
        "wesnoth-1.16-data",
        (
            "usr/share/doc/wesnoth-1.16-data/images/**/game-screen-*",
            "usr/share/doc/wesnoth-1.16-data/images/**/recruit-*",
            "usr/share/doc/wesnoth-1.16-data/images/**/main-menu-*",
        ),
        "game",
        "scene",
        1.5,
        True,
        "GPL-2+ (debian/copyright)",
    ),
    Source(
        "wesnoth-1.16-data",
        (f"{_WESNOTH}/portraits/**/*.png",),
        "game",
        "sprite",
        3.0,
        True,
        "GPL-2+ (debian/copyright)",
    ),
    Source(
        "wesnoth-1.16-data",
        (f"{_WESNOTH}/units/**/*.png",),
        "game",
        "sprite",
        1.0,
        True,
        "GPL-2+ (debian/copyright)",
    ),
    Source(
        "plasma-workspace-wallpapers",
        tuple(f"usr/share/wallpapers/{name}/contents/images*/*" for name in _PLASMA_ART),
        "game",
        "scene",
        3.0,
        False,
        "GPL-2+ (debian/copyright); CC-BY-SA-4.0 or LGPL-3 (each picture's metadata)",
    ),
    Source(
        "renpy-thequestion",
        (
            "usr/share/games/renpy/the_question/game/images/bg *",
            "usr/share/games/renpy/the_question/game/gui/*_menu.png",
        ),
        "game",
        "scene",
        1.0,
        True,
        "Expat (debian/copyright)",
    ),
    Source(
        "renpy-thequestion",
        ("usr/share/games/renpy/the_question/game/images/sylvie *",),
        "game",
        "sprite",
        1.0,
        True,
        "Expat (debian/copyright)",
    ),
    Source(
        "ukui-wallpapers",
        ("usr/share/backgrounds/*",),
        "game",
        "scene",
        1.0,
        False,
        "CC-BY-SA-3.0 (debian/copyright)",
    ),
    Source(
        "lomiri-wallpapers-16.04",
        ("usr/share/backgrounds/*",),
        "natural",
        "scene",
        3.0,
        False,
        "CC-BY-4.0, CC-BY-SA-4.0 or CC0-1.0 by picture (debian/copyright)",
    ),
    Source(
        "plasma-workspace-wallpapers",
        tuple(f"usr/share/wallpapers/{name}/contents/images*/*" for name in _PLASMA_PHOTO),
        "natural",
        "scene",
        2.5,
        False,
        "GPL-2+ (debian/copyright); CC-BY-SA-4.0 or LGPL-3 (each picture's metadata)",
    ),
    Source(
        "mate-backgrounds",
        ("usr/share/backgrounds/mate/nature/*",),
        "natural",
        "scene",
        2.0,
        False,
        "GPL-2+ (debian/copyright)",
        exclude=("*Garden*", "*LadyBird*"),
    ),
    Source(
        "tuxpaint-stamps-default",
        ("usr/share/tuxpaint/stamps/**/*.png",),
        "natural",
        "sprite",
        1.0,
        True,
        "GPL-2 (debian/copyright)",
        exclude=("*cartoon*", "*symbols*"),
    ),
)

# Titles that training never sees: they validate it.
HELD_OUT: dict[Kind, tuple[str, ...]] = {
    "game": (
        "*SafeLanding*",
        "*Flow*",
        "*bg lecturehall*",
        "*story/landscape-cast*",
        "*portraits/elves*",
        "*game-screen-1.14*",
    ),
    "natural": ("*EveningGlow*", "*life_by*", "*Dragonfly*", "*YellowFlower*", "*Wine_by*"),
}

_SUFFIXES = {".png", ".jpg", ".jpeg", ".webp"}


@dataclass(frozen=True)
class Picture:
    """One picture file and the source it belongs to; ``held_out`` ones serve validation only."""

    path: Path
    title: str
    source: Source
    held_out: bool


def collect(
    kinds: tuple[Kind, ...] = KINDS,
    sources: tuple[Source, ...] = SOURCES,
    held_out: Mapping[Kind, tuple[str, ...]] = HELD_OUT,
) -> tuple[list[Picture], list[dict[str, object]]]:
    """Fetch the packages and list their pictures.

    Returns the pictures (symbolic links and doubles left out, sorted) and the manifest: a row a source with
    ``source`` (package), ``version``, ``kind``, ``files``, ``licence``, ``sha256`` of the package.
    Raises :class:`InputError` when a source has no picture, which means that its package has changed.
    """
    pictures: list[Picture] = []
    manifest: list[dict[str, object]] = []
    packages: dict[str, Package] = {}
    for source in sources:
        if source.kind not in kinds:
            continue
        package = packages.setdefault(source.package, fetch_deb(source.package))
        found: list[Picture] = []
        for path in sorted({p for glob in source.globs for p in package.find(glob)}):
            title = path.relative_to(package.root).as_posix()
            if path.is_symlink() or path.suffix.lower() not in _SUFFIXES or path.stat().st_size < 2048:
                continue
            if any(fnmatch.fnmatch(title, pattern) for pattern in source.exclude):
                continue
            held = any(fnmatch.fnmatch(title, pattern) for pattern in held_out[source.kind])
            found.append(Picture(path, title, source, held))
        if not found:
            raise InputError(
                f"package {package.name} {package.version} has no picture that matches "
                f"{', '.join(source.globs)}; clarivid.data.sources must be adapted to it"
            )
        pictures += found
        manifest.append(
            {
                "source": package.name,
                "version": package.version,
                "kind": source.kind,
                "role": source.role,
                "files": sum(not p.held_out for p in found),
                "held_out": sum(p.held_out for p in found),
                "licence": source.licence,
                "sha256": package.sha256,
            }
        )
    return pictures, manifest
