# SPDX-License-Identifier: BSD-2-Clause
"""A pack: aligned crops and a few whole validation pictures in one compressed file.

A pack is a zip file (stored, not deflated) with ``manifest.json`` and lossless WebP sheets of tiles::

    manifest.json            schema, seed, crop sizes, sources with licences, one recipe a clip
    <set>/<plane>-<n>.webp   grey sheets; set is crops/<kind> or val/<kind>/<m>,
                             plane is y_hi, u_hi, v_hi, y_lo, u_lo or v_lo

In memory every plane is a uint8 array [N, height, width].
"""

from __future__ import annotations

import fnmatch
import io
import json
import os
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from clarivid.data.parts import Part, Parts
from clarivid.data.sources import HELD_OUT, KINDS, Kind, Picture, collect
from clarivid.data.synth import Pair, make_pairs
from clarivid.errors import InputError

PLANES = ("y_hi", "u_hi", "v_hi", "y_lo", "u_lo", "v_lo")
Tiles = dict[str, npt.NDArray[np.uint8]]
SCHEMA = 1
LOW_CROP = 96  # luma pixels of the low side of a crop; the high side has twice as many
VAL_SIZE = (768, 512)
VAL_RECIPES: tuple[dict[str, Any], ...] = (
    {"codec": "libx264", "crf": 20, "down": "bicubic", "preset": "medium", "plain": True},
    {"codec": "libx264", "crf": 25, "down": "area", "preset": "medium", "plain": True},
    {"codec": "libx265", "crf": 24, "down": "bicubic", "preset": "medium", "plain": True},
    {"codec": "libx264", "crf": 29, "down": "lanczos", "preset": "medium", "plain": True},
    {"codec": "libx264", "crf": 17, "down": "bicubic", "preset": "medium", "plain": True},
)


@dataclass
class Pack:
    """Crops by kind, validation pictures by kind, and the manifest."""

    crops: dict[str, Tiles]
    val: dict[str, list[Tiles]]
    manifest: dict[str, Any] = field(default_factory=dict)

    @property
    def count(self) -> int:
        """Number of crops of all kinds."""
        return sum(len(t["y_lo"]) for t in self.crops.values())


@dataclass(frozen=True)
class Job:
    """One clip to be made. ``index`` and ``seed`` determine it fully."""

    kind: Kind
    index: int
    seed: int
    crops: int
    scenes: tuple[Picture, ...]
    sprites: tuple[Picture, ...]
    val: bool = False

    @property
    def name(self) -> str:
        """Name of the part that it makes."""
        return f"{self.kind}-{'val' if self.val else 'train'}-{self.index:05d}"


def build(
    out: Path,
    clips: int,
    crops: int = 5,
    kinds: tuple[Kind, ...] = KINDS,
    seed: int = 0,
    jobs: int = 1,
    val: int = 5,
    progress: Callable[[int, int], None] | None = None,
) -> dict[str, Any]:
    """Make a pack with ``clips`` clips of each kind and ``crops`` crops a clip; returns its manifest.

    Finished clips wait in ``<out>.parts``, so an interrupted run goes on where it stopped. The same
    arguments give the same pack on the same versions of pillow, numpy and ffmpeg.
    """
    pictures, sources = collect(kinds)
    work: list[Job] = []
    for kind in kinds:
        for held, number in ((True, val), (False, clips)):
            own = [p for p in pictures if p.source.kind == kind and p.held_out == held]
            scenes = tuple(p for p in own if p.source.role == "scene")
            if held:  # one picture a title
                scenes = tuple(
                    next(p for p in scenes if fnmatch.fnmatch(p.title, pattern))
                    for pattern in HELD_OUT[kind]
                    if any(fnmatch.fnmatch(p.title, pattern) for p in scenes)
                )
            sprites = tuple(p for p in own if p.source.role == "sprite")
            work += [Job(kind, i, seed, crops, scenes, sprites, held) for i in range(number)]
    work.sort(key=lambda job: (not job.val, job.index))  # kinds in turn: what is there is balanced
    parts = Parts(out, {"clips": clips, "crops": crops, "seed": seed, "val": val, "kinds": list(kinds)})
    parts.make([(job.name, job) for job in work], _run, jobs, progress)
    manifest = {
        "schema": SCHEMA,
        "seed": seed,
        "low_crop": LOW_CROP,
        "scale": 2,
        "sources": sources,
        "clips": [],
    }
    pack = Pack({}, {kind: [] for kind in kinds}, manifest)
    for kind in kinds:
        tiles: list[Tiles] = []
        for job in (j for j in work if j.kind == kind):
            part = parts.load(job.name)
            manifest["clips"] += json.loads(str(part["recipes"]))
            one = {plane: part[plane] for plane in PLANES}
            if job.val:
                pack.val[kind].append(one)
            else:
                tiles.append(one)
        if tiles:
            pack.crops[kind] = {plane: np.concatenate([t[plane] for t in tiles]) for plane in PLANES}
    save(pack, out)
    parts.remove()
    return manifest


def _run(job: Job) -> Part:
    """Make one clip and cut it."""
    rng = np.random.default_rng([job.seed, KINDS.index(job.kind), int(job.val), job.index])
    recipes: list[dict[str, Any]] = []
    if job.val:
        scene = job.scenes[job.index % len(job.scenes)]
        pairs = make_pairs(scene, (), rng, VAL_SIZE, keep=1, fixed=VAL_RECIPES[job.index % len(VAL_RECIPES)])
        tiles = [dict(zip(PLANES, (*p.high, *p.low), strict=True)) for p in pairs]
    else:
        scene = draw_picture(job.scenes, rng)
        most = 4 if job.kind == "game" else 1
        number = int(rng.integers(0, most + 1)) if rng.random() < (0.6 if job.kind == "game" else 0.2) else 0
        pairs = make_pairs(scene, [draw_picture(job.sprites, rng) for _ in range(number)], rng)
        tiles = []
        for i, pair in enumerate(pairs):
            share = job.crops // len(pairs) + (i < job.crops % len(pairs))
            tiles += cut(pair, share, rng)
    recipes += [{**pair.recipe, "val": job.val} for pair in pairs]
    arrays = {plane: np.stack([t[plane] for t in tiles]) for plane in PLANES}
    return {**arrays, "recipes": np.array(json.dumps(recipes))}


def draw_picture(pictures: tuple[Picture, ...], rng: np.random.Generator) -> Picture:
    """A picture; each source has its weight, shared by its pictures."""
    counts: dict[int, int] = {}
    for p in pictures:
        counts[id(p.source)] = counts.get(id(p.source), 0) + 1
    weights = np.array([p.source.weight / counts[id(p.source)] for p in pictures])
    return pictures[int(rng.choice(len(pictures), p=weights / weights.sum()))]


def cut(pair: Pair, count: int, rng: np.random.Generator) -> list[Tiles]:
    """``count`` crops, each the more textured of three tries (one in five is taken as it falls)."""
    y, height, width = pair.low[0], *pair.low[0].shape
    n = LOW_CROP
    tiles = []
    for _ in range(count):
        best, best_score = (0, 0), -1.0
        for _ in range(1 if rng.random() < 0.2 else 3):
            top = 2 * int(rng.integers(0, (height - n) // 2 + 1))
            left = 2 * int(rng.integers(0, (width - n) // 2 + 1))
            view = y[top : top + n, left : left + n].astype(np.int16)
            score = float(np.abs(np.diff(view, axis=0)).mean() + np.abs(np.diff(view, axis=1)).mean())
            if score > best_score:
                best, best_score = (top, left), score
        top, left = best
        tile: Tiles = {}
        for plane, data in zip(PLANES, (*pair.high, *pair.low), strict=True):
            step = (2 if plane.endswith("hi") else 1) * (1 if plane[0] == "y" else 0.5)
            a, b, m = int(top * step), int(left * step), int(n * step)
            tile[plane] = np.ascontiguousarray(data[a : a + m, b : b + m])
        tiles.append(tile)
    return tiles


# ------------------------------------------------------------------------------------------------ file


def save(pack: Pack, out: Path) -> None:
    """Write a pack atomically."""
    temporary = out.with_name(f".{out.name}.{os.getpid()}")
    with zipfile.ZipFile(temporary, "w", zipfile.ZIP_STORED) as file:
        sets = {f"crops/{kind}": tiles for kind, tiles in pack.crops.items()}
        sets |= {f"val/{kind}/{i}": tiles for kind, many in pack.val.items() for i, tiles in enumerate(many)}
        shapes: dict[str, dict[str, list[int]]] = {}
        for name, tiles in sets.items():
            shapes[name] = {plane: list(tiles[plane].shape) for plane in PLANES}
            for plane in PLANES:
                write_tiles(file, f"{name}/{plane}", tiles[plane])
        file.writestr("manifest.json", json.dumps({**pack.manifest, "shapes": shapes}, indent=1))
    temporary.replace(out)


def load(path: Path) -> Pack:
    """Read a pack into memory; :class:`InputError` when the file is missing, damaged or of another schema."""
    try:
        with zipfile.ZipFile(path) as file:
            manifest = json.loads(file.read("manifest.json"))
            if manifest.get("schema") != SCHEMA:
                raise InputError(
                    f"{path} has schema {manifest.get('schema')}, this clarivid reads {SCHEMA}; "
                    "make it again with 'clarivid data sr'"
                )
            pack = Pack({}, {}, manifest)
            for name, shapes in manifest["shapes"].items():
                tiles = {plane: read_tiles(file, f"{name}/{plane}", tuple(shapes[plane])) for plane in PLANES}
                where = name.split("/")
                if where[0] == "crops":
                    pack.crops[where[1]] = tiles
                else:
                    pack.val.setdefault(where[1], []).append(tiles)
    except (OSError, zipfile.BadZipFile, KeyError, ValueError) as error:
        raise InputError(
            f"cannot read the training pack {path}: {error}; make one with 'clarivid data sr'"
        ) from error
    return pack


def _grid(shape: tuple[int, ...]) -> tuple[int, int]:
    """Tiles across and down a sheet: about 1536 pixels a side."""
    return max(1, 1536 // shape[2]), max(1, 1536 // shape[1])


def _sheets(tiles: npt.NDArray[np.uint8]) -> Iterator[npt.NDArray[np.uint8]]:
    count, height, width = tiles.shape
    across, down = _grid(tiles.shape)
    for start in range(0, count, across * down):
        some = tiles[start : start + across * down]
        rows = -(-len(some) // across)
        full = np.zeros((rows * across, height, width), np.uint8)
        full[: len(some)] = some
        yield full.reshape(rows, across, height, width).swapaxes(1, 2).reshape(rows * height, across * width)


def write_tiles(file: zipfile.ZipFile, name: str, tiles: npt.NDArray[np.uint8]) -> None:
    """Store tiles [N, height, width] as lossless WebP sheets ``<name>-<n>.webp``."""
    for n, sheet in enumerate(_sheets(tiles)):
        buffer = io.BytesIO()
        Image.fromarray(sheet).save(buffer, "webp", lossless=True, quality=60, method=4)
        file.writestr(f"{name}-{n}.webp", buffer.getvalue())


def read_tiles(file: zipfile.ZipFile, name: str, shape: tuple[int, ...]) -> npt.NDArray[np.uint8]:
    """Tiles of that ``shape`` [N, height, width], as :func:`write_tiles` stored them."""
    count, height, width = shape
    across, down = _grid(shape)
    tiles = np.empty((count, height, width), np.uint8)
    for n, start in enumerate(range(0, count, across * down)):
        with Image.open(io.BytesIO(file.read(f"{name}-{n}.webp"))) as image:
            sheet = np.asarray(image.convert("RGB"))[:, :, 1]
        rows = sheet.shape[0] // height
        some = sheet.reshape(rows, height, across, width).swapaxes(1, 2).reshape(-1, height, width)
        some = some[: count - start]
        tiles[start : start + len(some)] = some
    return tiles
