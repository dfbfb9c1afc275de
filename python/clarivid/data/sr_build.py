# SPDX-License-Identifier: BSD-2-Clause
"""Make a pack for super-resolution: which clips, cut where."""

from __future__ import annotations

import fnmatch
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from clarivid import games
from clarivid.data import screen, sr_sources
from clarivid.data.ladder import Rung
from clarivid.data.pack import LOW_CROP, NEXT, PLANES, SCHEMA, Pack, Tiles, save
from clarivid.data.parts import Part, Parts
from clarivid.data.sources import Picture
from clarivid.data.sr_clips import Clip, Film, Material, make_clip
from clarivid.data.sr_sources import KINDS
from clarivid.data.synth import Rng
from clarivid.errors import InputError

VAL_SIZE = (768, 512)
_VAL_RUNGS: tuple[tuple[str, Rung], ...] = (
    ("bicubic", Rung("libx264", 20, "medium")),
    ("area", Rung("libx264", 25, "medium")),
    ("bicubic", Rung("libx265", 24, "medium", 10)),
    ("lanczos", Rung("libx264", 29, "medium")),
    ("bicubic", Rung("libx264", 17, "medium")),
    ("bicubic", Rung("libsvtav1", 38, "8", 10)),
)
# Noisy validation pictures, in turn: what is shown, and what is wrong with it.
_VAL_NOISY = (
    ("natural", "sensor"),
    ("art", "palette"),
    ("natural", "combed"),
    ("natural", "grain"),
    ("game", "ordered"),
    ("art", "old"),
    ("natural", "deinterlaced"),
)


@dataclass(frozen=True)
class Job:
    """One clip to be made, and the numbers of crops and of pairs of frames; the first four determine it
    fully."""

    kind: str
    index: int
    seed: int
    val: bool
    crops: int = 8
    pairs: int = 1

    @property
    def name(self) -> str:
        """Name of the part that it makes."""
        return f"{self.kind}-{'val' if self.val else 'train'}-{self.index:05d}"


def build(
    out: Path,
    clips: int,
    crops: int = 8,
    pairs: int = 1,
    kinds: Sequence[str] = KINDS,
    seed: int = 0,
    jobs: int = 1,
    val: int = 5,
    films: bool = True,
    progress: Callable[[int, int], None] | None = None,
) -> dict[str, Any]:
    """Make a pack with ``clips`` clips of each kind, ``crops`` crops and ``pairs`` pairs a clip, and ``val``
    whole pictures of each kind; returns its manifest.

    Finished clips wait in ``<out>.parts``, so an interrupted run goes on where it stopped. The same
    arguments give the same pack on the same films and the same versions of pillow, numpy and ffmpeg.
    ``films`` takes the films of games and rendered scenes that are in the cache (:mod:`clarivid.games`);
    stills stand for those that are not. Raises :class:`InputError`, :class:`ToolError` (packages that cannot
    be had).
    """
    if unknown := [kind for kind in kinds if kind not in KINDS]:
        raise InputError(f"there is no kind '{unknown[0]}' of pictures; use {', '.join(KINDS)}")
    material, sources = gather(films)
    arguments = {"clips": clips, "crops": crops, "pairs": pairs, "kinds": list(kinds), "seed": seed}
    arguments |= {"val": val, "films": films}
    work = [Job(kind, i, seed, True) for i in range(val) for kind in kinds]
    # kinds in turn, so that what is there after an interruption is balanced
    work += [Job(kind, i, seed, False, crops, pairs) for i in range(clips) for kind in kinds]
    films_used = [row["sha256"] for row in sources if row["role"] == "film"]
    parts = Parts(out, {**arguments, "schema": SCHEMA, "films": films_used})
    parts.make([(job.name, job) for job in work], partial(_run, material), jobs, progress)
    manifest: dict[str, Any] = {"schema": SCHEMA, "seed": seed, "low_crop": LOW_CROP, "scale": 2}
    manifest |= {"arguments": arguments, "sources": sources, "clips": []}
    pack = Pack({}, {kind: [] for kind in kinds if val}, manifest)
    for kind in kinds:
        made = [(job, parts.load(job.name)) for job in work if job.kind == kind]
        manifest["clips"] += [json.loads(str(part["recipe"])) for _, part in made]
        pack.val |= {kind: [_planes(part, "val") for job, part in made if job.val]} if val else {}
        trained = [part for job, part in made if not job.val]
        for number, name, store in ((crops, "crop", pack.crops), (pairs, "pair", pack.pairs)):
            if number and trained:
                many = [_planes(part, name) for part in trained]
                store[kind] = {plane: np.concatenate([one[plane] for one in many]) for plane in many[0]}
    save(pack, out)
    parts.remove()
    return manifest


def gather(films: bool = True) -> tuple[dict[bool, Material], list[dict[str, object]]]:
    """Fetch everything; what validation (True) and training (False) are made of, and the list of sources."""
    pictures, rows = sr_sources.gather()
    material = {}
    for held in (False, True):
        own = [p for p in pictures if p.held_out == held]
        scenes: dict[str, Any] = {}
        sprites: dict[str, Any] = {}
        for kind, patterns in sr_sources.HELD_OUT.items():
            of = [p for p in own if p.source.kind == kind]
            scenes[kind] = tuple(p for p in of if p.source.role == "scene" and _large(p))
            if held:  # one picture a title
                fitting = ([p for p in scenes[kind] if fnmatch.fnmatch(p.title, t)] for t in patterns)
                scenes[kind] = tuple(found[0] for found in fitting if found)
            sprites[kind] = tuple(p for p in of if p.source.role == "sprite")
        fixed, free = screen.fonts(screen.VAL_FONTS if held else screen.FONTS)
        shown: dict[str, tuple[Film, ...]] = {}
        for kind in ("game", "cg"):
            titles = [t for t in (games.made() if films else []) if t.kind == kind and t.held_out == held]
            shown[kind] = tuple(Film(t.name, t.path, t.frames, games.FPS, t.size) for t in titles)
        material[held] = Material(scenes, sprites, tuple(fixed), tuple(free), shown)
    return material, rows + screen.manifest() + (games.manifest() if films else [])


def _large(picture: Picture) -> bool:
    """Whether a crop can be cut out of the picture while it moves."""
    with Image.open(picture.path) as header:
        return bool(min(header.size) >= 2 * LOW_CROP + 64)


# ------------------------------------------------------------------------------------------------ clips


def _run(material: dict[bool, Material], job: Job) -> Part:
    """Make one clip and cut it."""
    rng = np.random.default_rng([job.seed, KINDS.index(job.kind), int(job.val), job.index])
    if job.val:
        down, rung = _VAL_RUNGS[job.index % len(_VAL_RUNGS)]
        fixed: dict[str, Any] = {"down": down, "rung": rung, "scene": job.index}
        if job.kind == "noisy":
            content, blemish = _VAL_NOISY[job.index % len(_VAL_NOISY)]
            fixed |= {"content": content, "blemish": blemish}
        clip = make_clip(material[True], job.kind, rng, fixed, VAL_SIZE)
        sets = {"val": [tile(clip, clip.sharp[-1], 0, 0, None)]}
    else:
        clip = make_clip(material[False], job.kind, rng)
        sets = {"crop": cut(clip, job.crops, rng, False), "pair": cut(clip, job.pairs, rng, True)}
    part: Part = {"recipe": np.array(json.dumps({**clip.recipe, "val": job.val}))}
    for name, tiles in sets.items():
        for plane in tiles[0] if tiles else ():
            part[f"{name}.{plane}"] = np.stack([t[plane] for t in tiles])
    return part


def _planes(part: Part, name: str) -> Tiles:
    """One set of tiles of a part."""
    return {plane: part[f"{name}.{plane}"] for plane in (*PLANES, *NEXT) if f"{name}.{plane}" in part}


def cut(clip: Clip, count: int, rng: Rng, pairs: bool) -> list[Tiles]:
    """``count`` crops, each the most textured of four tries (one in eight is taken as it falls).

    Every other one is of a frame that was not resampled, as far as there are any; ``pairs`` have the
    frame after it too. The first frame, an encoder's best, is taken no oftener than another.
    """
    height, width = clip.low[0][0].shape
    n = LOW_CROP
    last = len(clip.low) - (2 if pairs else 1)
    sharp = [t for t in clip.sharp if t <= last]
    tiles = []
    for i in range(count):
        t = sharp[int(rng.integers(len(sharp)))] if sharp and i % 2 == 0 else int(rng.integers(0, last + 1))
        best, best_score = (0, 0), -1.0
        for _ in range(1 if rng.random() < 0.125 else 4):
            top = 2 * int(rng.integers(0, (height - n) // 2 + 1))
            left = 2 * int(rng.integers(0, (width - n) // 2 + 1))
            view = clip.low[t][0][top : top + n, left : left + n].astype(np.int16)
            score = float(np.abs(np.diff(view, axis=0)).mean() + np.abs(np.diff(view, axis=1)).mean())
            if score > best_score:
                best, best_score = (top, left), score
        one = tile(clip, t, *best, n)
        if pairs:
            after = tile(clip, t + 1, *best, n)
            one |= {name: after[plane] for plane, name in zip(PLANES, NEXT, strict=True)}
        tiles.append(one)
    return tiles


def tile(clip: Clip, t: int, top: int, left: int, side: int | None) -> Tiles:
    """Frame ``t`` in the square of ``side`` low luma samples at (``top``, ``left``), both even; the whole
    frame when ``side`` is None."""
    planes: Tiles = {}
    for name, data in zip(PLANES, (*clip.high[t], *clip.low[t]), strict=True):
        step = (2 if name.endswith("hi") else 1) * (1 if name[0] == "y" else 0.5)
        a, b = int(top * step), int(left * step)
        planes[name] = data.copy()
        if side is not None:
            m = int(side * step)
            planes[name] = np.ascontiguousarray(data[a : a + m, b : b + m])
    return planes
