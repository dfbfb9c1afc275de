# SPDX-License-Identifier: BSD-2-Clause
"""One clip for super-resolution: moving pictures at full size, and the same at half size after coding.

Stills move by :mod:`clarivid.data.motion`; screens are drawn by :mod:`clarivid.data.screen`; games and
rendered scenes are filmed by :mod:`clarivid.games`. What a source is like (:mod:`clarivid.data.ladder`) comes
before the halving, so it is part of what the net is to restore; the rung of the ladder comes after it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageFilter

from clarivid.data import ladder, screen
from clarivid.data.motion import Motion, random_motion
from clarivid.data.noise import Sensor
from clarivid.data.sources import Picture
from clarivid.data.synth import (
    Planes,
    Rng,
    draw_picture,
    ffmpeg_exe,
    grade,
    halve,
    paste_sprites,
    pipe,
    reduced,
    rgb_to_yuv420,
    texels,
    write_text,
)
from clarivid.errors import InputError

LENGTH = 9  # frames of a clip
_SIZE, _BIG = (1024, 640), (1280, 720)
_RATES = (24, 25, 30, 50, 60)


@dataclass(frozen=True)
class Film:
    """Lossless footage: ``frames`` pictures of ``size`` at ``fps``; ``title`` is the game or scene."""

    title: str
    path: Path
    frames: int
    fps: int
    size: tuple[int, int] = (1280, 720)


@dataclass(frozen=True)
class Material:
    """What clips are made of: scenes, cut-outs and films by kind, and fonts (fixed width, others)."""

    scenes: Mapping[str, tuple[Picture, ...]]
    sprites: Mapping[str, tuple[Picture, ...]]
    fixed: tuple[str, ...] = ()
    free: tuple[str, ...] = ()
    films: Mapping[str, tuple[Film, ...]] = field(default_factory=dict)


@dataclass(frozen=True)
class Clip:
    """``high`` and ``low``, as many frames each; ``sharp`` are the frames whose high side no motion has
    resampled; ``recipe`` says how it was made."""

    high: list[Planes]
    low: list[Planes]
    sharp: tuple[int, ...]
    recipe: dict[str, Any]


@dataclass
class _Views:
    """Pictures in RGB, two for every frame when it will be interlaced."""

    pictures: list[Image.Image]
    sharp: tuple[int, ...]
    recipe: dict[str, Any]


def make_clip(
    material: Material,
    kind: str,
    rng: Rng,
    fixed: Mapping[str, Any] | None = None,
    size: tuple[int, int] = _SIZE,
) -> Clip:
    """A clip of one kind of :data:`clarivid.data.sr_sources.KINDS`.

    ``fixed`` overrides parts of the random recipe, so that validation is comparable: ``rung`` (a
    :class:`clarivid.data.ladder.Rung`), ``down``, ``blemish``, ``content`` and ``scene`` (which of the kind's
    scenes and films). With it, nothing else is done to the picture. ``size`` is the full (width, height),
    multiples of 4, smaller when the picture is smaller. Raises :class:`InputError`, :class:`ToolError`.
    """
    fixed = fixed or {}
    plain = bool(fixed)
    content = str(fixed.get("content") or _content(kind, rng))
    blemish = str(fixed.get("blemish", "")) if plain else _blemish(kind, content, rng)
    fields = 2 if blemish in ("combed", "deinterlaced") else 1
    halved = not plain and rng.random() < (0.2 if kind == "noisy" else 0.4)
    views = _views(material, content, rng, _BIG if halved else size, LENGTH * fields, fixed)
    width, height = views.pictures[0].size
    if halved and (width < 2 * 256 or height < 2 * 256):
        halved = False
    fps = int(views.recipe["fps"])
    high = _sourced(views.pictures, blemish, content, rng, plain)
    recoded = None
    if not plain and rng.random() < (0.35 if kind in ("natural", "noisy") else 0.25):
        recoded = ladder.old_codec(rng, fps) if rng.random() < 0.1 else ladder.contribution(rng, fps)
    if blemish == "old":
        recoded = ladder.old_codec(rng, fps)
    if recoded:  # most video has been coded before, at its full size; that is then the target
        high = ladder.code(high, recoded)
    sited = bool(rng.random() < 0.5)
    if halved:
        high = [halve(_fit(frame, 8), "area", sited) for frame in high]
    high = [_fit(frame, 4) for frame in high]
    down = str(fixed.get("down") or rng.choice(["area", "bicubic", "lanczos"], p=[0.3, 0.45, 0.25]))
    low = [halve(frame, down, sited) for frame in high]
    first = None
    if not plain and rng.random() < 0.2:  # a live source: coded at this size, and transcoded
        first = ladder.contribution(rng, fps)
        low = ladder.code(low, first)
    rung = fixed.get("rung") or ladder.random_rung(rng, fps)
    low = ladder.code(low, rung)
    recipe = {**views.recipe, "kind": kind, "fps": fps, "down": down, "rung": rung.recipe(), "sited": sited}
    for key, value in (("blemish", blemish), ("halved", halved)):
        recipe |= {key: value} if value else {}
    for key, used in (("recoded", recoded), ("first", first)):
        recipe |= {key: used.recipe()} if used else {}
    sharp = tuple(range(LENGTH)) if halved else tuple(sorted({s // fields for s in views.sharp}))
    return Clip(high, low, sharp, recipe)


def _content(kind: str, rng: Rng) -> str:
    if kind != "noisy":
        return kind
    content = ("natural", "art", "game", "cg", "screen")
    return str(rng.choice(content, p=[0.5, 0.2, 0.15, 0.1, 0.05]))


def _blemish(kind: str, content: str, rng: Rng) -> str:
    """What is wrong with the source: always something of kind noisy, seldom of the others."""
    if kind == "noisy":
        shares = [0.22, 0.18, 0.1, 0.1, 0.14, 0.14, 0.12]
        if content == "natural":
            shares = [0.3, 0.2, 0.03, 0.03, 0.16, 0.16, 0.12]
        return str(rng.choice(ladder.BLEMISHES, p=shares))
    if rng.random() < (0.1 if content == "natural" else 0.06) and content != "screen":
        return str(rng.choice(["sensor", "grain", "ordered", "deinterlaced"], p=[0.4, 0.4, 0.1, 0.1]))
    return ""


def _sourced(
    pictures: Sequence[Image.Image], blemish: str, content: str, rng: Rng, plain: bool
) -> list[Planes]:
    """The clip as its source has it."""
    if blemish == "palette":
        pictures = ladder.palette(pictures, rng)
    elif blemish == "ordered":
        pictures = ladder.ordered(pictures, rng)
    frames = [rgb_to_yuv420(np.asarray(picture)) for picture in pictures]
    if blemish == "sensor":
        return ladder.sensor(frames, rng)
    if blemish == "grain":
        return ladder.grain(frames, rng)
    if blemish == "combed":
        return ladder.combed(frames)
    if blemish == "deinterlaced":
        return ladder.deinterlaced(frames, rng)
    if content == "natural" and not plain and rng.random() < 0.3:  # no camera is without
        return Sensor(float(rng.uniform(0.4, 1.4))).add(frames, rng)
    return frames


def _fit(frame: Planes, unit: int) -> Planes:
    """The frame cut to a multiple of ``unit`` luma samples each way."""
    height, width = (n // unit * unit for n in frame[0].shape)
    y, u, v = frame
    half = slice(0, height // 2), slice(0, width // 2)
    return y[:height, :width], u[half], v[half]


# ----------------------------------------------------------------------------------------------- pictures


def _views(
    material: Material, content: str, rng: Rng, size: tuple[int, int], count: int, fixed: Mapping[str, Any]
) -> _Views:
    """``count`` pictures in succession of at most ``size``."""
    if content == "screen":
        photos = tuple(p.path for p in material.scenes["natural"])
        views = screen.make_screens(size, count, rng, material.fixed, material.free, photos)
        fps = int(rng.choice(_RATES))
        return _Views(views, tuple(range(count)), {"title": "screen", "fps": fps})
    films = material.films.get(content, ())
    scenes = material.scenes.get(content, ())
    known: list[Film | Picture] = [*films, *scenes]
    if "scene" in fixed:
        scene = known[int(fixed["scene"]) % len(known)]
    elif films and (not scenes or rng.random() < (0.35 if content == "cg" else 0.7)):
        scene = films[int(rng.integers(len(films)))]
    else:
        if content == "game" and rng.random() < 0.6:  # painted backgrounds of games
            scenes = material.scenes.get("art", ()) or scenes
        scene = draw_picture(scenes, rng)
    if isinstance(scene, Film):
        return _filmed(scene, rng, size, count)
    return _deformed(material, scene, content, rng, size, count, bool(fixed))


def _filmed(film: Film, rng: Rng, size: tuple[int, int], count: int) -> _Views:
    """Consecutive pictures of a film, a window of ``size`` of them."""
    if film.frames < count:
        raise InputError(f"{film.path} has {film.frames} frames, {count} are needed")
    start = int(rng.integers(0, film.frames - count + 1))
    width, height = film.size
    w, h = min(size[0], width), min(size[1], height)
    left, top = (2 * int(rng.integers(0, (n - m) // 2 + 1)) for n, m in ((width, w), (height, h)))
    quiet = [ffmpeg_exe(), "-hide_banner", "-loglevel", "error", "-nostdin", "-threads", "1"]
    seek = ["-ss", f"{max(start - 0.5, 0) / film.fps:.6f}", "-i", str(film.path), "-frames:v", str(count)]
    raw = ["-vf", f"crop={w}:{h}:{left}:{top}", "-an", "-fps_mode", "passthrough", "-f", "rawvideo"]
    data = pipe([*quiet, *seek, *raw, "-pix_fmt", "rgb24", "-"])
    pictures = np.frombuffer(data, np.uint8).reshape(-1, h, w, 3)
    if len(pictures) != count:
        raise InputError(f"{film.path} gave {len(pictures)} of {count} frames from number {start} on")
    recipe = {"title": film.title, "start": start, "fps": film.fps}
    return _Views([Image.fromarray(p) for p in pictures], tuple(range(count)), recipe)


def _deformed(
    material: Material, scene: Picture, content: str, rng: Rng, size: tuple[int, int], count: int, plain: bool
) -> _Views:
    """A still under a motion; the frame that is sharp has none of it, so it lies in the middle."""
    natural = content == "natural"
    with Image.open(scene.path) as header:
        width, height = header.size
    spare = 0.94 if min(width, height) > 400 else 1.0  # room to move in
    size = (
        min(size[0], int(spare * width - 24) // 4 * 4),
        min(size[1], int(spare * height - 24) // 4 * 4),
    )
    anchor = int(rng.integers(0, count - 1))
    fps = 25 if plain else int(rng.choice(_RATES))
    motion = _centred(random_motion(size, count, rng), anchor, count).weaker(25 / fps)
    room = max(min((width - size[0]) / 2, (height - size[1]) / 2), 8)
    while motion.margin(count, -anchor) > room:
        motion = motion.weaker(0.6)
    margin = motion.margin(count, -anchor)
    canvas, factor = reduced(scene, (size[0] + 2 * margin, size[1] + 2 * margin), rng)
    method = Image.Resampling.BICUBIC
    recipe: dict[str, Any] = {"title": scene.title, "fps": fps, "factor": round(factor, 2)}
    if not plain:
        chance = rng.random()
        if chance < (0.25 if natural else 0.08):  # lenses and cameras are softer than wallpapers
            canvas = canvas.filter(ImageFilter.GaussianBlur(float(rng.uniform(0.4, 1.6))))
        elif chance > 0.9:  # and cameras sharpen
            canvas = canvas.filter(
                ImageFilter.UnsharpMask(float(rng.uniform(0.7, 1.5)), int(rng.integers(30, 120)), 0)
            )
        if content == "game" and rng.random() < 0.35:
            canvas, method = texels(canvas, rng), Image.Resampling.NEAREST
            recipe["texels"] = True
    views = [motion.frame(canvas, margin, t - anchor, method) for t in range(count)]
    if not plain:
        _decorate(material, content, views, rng)
        if rng.random() < 0.4:
            views = grade(views, rng)
    where = np.array([[size[0] / 2, size[1] / 2]])
    recipe["speed"] = round(float(np.hypot(*(motion.source(where, 1) - motion.source(where, 0))[0])), 2)
    return _Views(views, (anchor,), recipe)


def _decorate(material: Material, content: str, views: list[Image.Image], rng: Rng) -> None:
    """Cut-outs that move by themselves, and text that stands."""
    share, most = {"game": (0.7, 5), "art": (0.45, 3), "cg": (0.6, 4)}.get(content, (0.12, 1))
    sprites = material.sprites.get(content, ())
    if sprites and rng.random() < share:
        number = int(rng.integers(1, most + 1))
        paste_sprites(views, [draw_picture(sprites, rng) for _ in range(number)], rng)
    if rng.random() < {"game": 0.45, "art": 0.2}.get(content, 0.1):
        write_text(views, rng, material.free)


def _centred(motion: Motion, anchor: int, count: int) -> Motion:
    """The motion with frame ``anchor`` as its beginning: a shake goes through zero there."""
    if not motion.shake:
        return replace(motion, waves=())
    path = np.array(motion.shake)[:count]
    moved = np.roll(path - path[anchor], -anchor, axis=0)  # Motion takes number t modulo the path's length
    return replace(motion, waves=(), shake=tuple((float(x), float(y)) for x, y in moved))
