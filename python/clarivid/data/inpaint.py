# SPDX-License-Identifier: BSD-2-Clause
"""Training data of the inpainting net: tiles of clean pictures, from simple to complex.

What the net paints is a picture reduced to some 400 or 500 samples, most of it seen at once; so a tile is a
large part of a wallpaper, photograph or drawing, reduced to 512x512 luma samples, and a training crop is a
square of it, reduced again. Holes are no part of a pack: they are drawn while training
(:mod:`clarivid.data.silhouette`). A pack is a zip file, as :mod:`clarivid.data.pack`'s::

    manifest.json             schema, seed, sources with licences; of each tile its kind, title, complexity
    <set>/<plane>-<n>.webp    grey sheets of tiles; set is train or val, plane is y, u or v
"""

from __future__ import annotations

import json
import os
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from clarivid.data.pack import read_tiles, write_tiles
from clarivid.data.parts import Part, Parts
from clarivid.data.sources import KINDS, Kind, Picture, collect
from clarivid.data.synth import Planes, reduced, rgb_to_yuv420
from clarivid.errors import InputError

Bytes = npt.NDArray[np.uint8]
TILE = 512  # luma samples
SCHEMA = 1
# Photographs are few and what a camera sees, so they get more views each.
_VIEWS: dict[Kind, int] = {"natural": 7, "game": 2}
_VAL_VIEWS = 2
_LEAST = 400  # luma samples of a picture's shorter side


@dataclass
class Tiles:
    """N tiles in ascending ``complexity`` [N]: ``y`` [N,512,512], ``u``, ``v`` [N,256,256], ``kinds`` [N]
    (natural or game), ``titles`` [N] (the files)."""

    y: Bytes
    u: Bytes
    v: Bytes
    kinds: list[str]
    titles: list[str]
    complexity: npt.NDArray[np.float64]

    def __len__(self) -> int:
        return len(self.kinds)


@dataclass
class InpaintPack:
    """Tiles to train on, tiles of other titles to validate with, and the manifest."""

    train: Tiles
    val: Tiles
    manifest: dict[str, Any]


@dataclass(frozen=True)
class Job:
    """The views of one picture; ``seed`` and ``index`` determine them."""

    picture: Picture
    index: int
    seed: int
    views: int


def build(
    out: Path,
    views: float = 1.0,
    seed: int = 0,
    jobs: int = 1,
    progress: Callable[[int, int], None] | None = None,
) -> dict[str, Any]:
    """Make a pack; returns its manifest.

    A photograph gives 7 tiles and a drawn picture 2, times ``views`` (at least one). Finished pictures wait
    in ``<out>.parts``, so an interrupted run goes on where it stopped; the same arguments give the same pack
    on the same versions of pillow and numpy. Raises :class:`InputError` and
    :class:`~clarivid.errors.ToolError` (packages that cannot be had).
    """
    pictures, sources = collect(KINDS)
    pictures = [p for p in pictures if p.source.role == "scene"]
    parts = Parts(out, {"views": views, "seed": seed, "schema": SCHEMA})
    work: list[tuple[str, Job]] = []
    for index, picture in enumerate(pictures):
        many = _VAL_VIEWS if picture.held_out else max(1, round(views * _VIEWS[picture.source.kind]))
        name = f"{'val' if picture.held_out else 'train'}-{index:04d}"
        work.append((name, Job(picture, index, seed, many)))
    parts.make(work, _run, jobs, progress)
    sets = {}
    for held in (False, True):
        made = [(job.picture, parts.load(name)) for name, job in work if job.picture.held_out == held]
        sets[held] = _join(made)
    manifest = {
        "schema": SCHEMA,
        "task": "inpaint",
        "seed": seed,
        "tile": TILE,
        "views": views,
        "tiles": len(sets[False]),
        "sources": [row for row in sources if row["role"] == "scene"],
    }
    save(InpaintPack(sets[False], sets[True], manifest), out)
    parts.remove()
    return manifest


def complexity(y: Bytes) -> float:
    """How hard a picture is to guess: mean magnitude of the luma's differences at half size, in codes."""
    small = y.astype(np.float32)
    small = small.reshape(small.shape[0] // 2, 2, small.shape[1] // 2, 2).mean((1, 3))
    return float(np.abs(np.diff(small, axis=0)).mean() + np.abs(np.diff(small, axis=1)).mean())


def view(picture: Picture, rng: np.random.Generator, size: int = TILE) -> Planes:
    """One view: a random part of the picture, as small or as large as its resolution allows, as 4:2:0."""
    image, _ = reduced(picture, (size, size), rng)
    return rgb_to_yuv420(np.asarray(image))


def _run(job: Job) -> Part:
    from PIL import Image

    rng = np.random.default_rng([job.seed, job.index])
    with Image.open(job.picture.path) as header:
        small = min(header.size) < _LEAST
    views: list[Planes] = []
    while not small and len(views) < job.views:
        # The busier of two, so that skies and walls, which are everywhere, do not fill the pack.
        two = [view(job.picture, rng) for _ in range(2)]
        views.append(max(two, key=lambda planes: complexity(planes[0])))
    side = {"y": TILE, "u": TILE // 2, "v": TILE // 2}
    return {
        plane: np.stack([v[i] for v in views]) if views else np.empty((0, side[plane], side[plane]), np.uint8)
        for i, plane in enumerate("yuv")
    }


def _join(made: list[tuple[Picture, Part]]) -> Tiles:
    planes = {plane: np.concatenate([part[plane] for _, part in made]) for plane in "yuv"}
    titles = [p.title for p, part in made for _ in part["y"]]
    kinds = [str(p.source.kind) for p, part in made for _ in part["y"]]
    values = np.array([complexity(y) for y in planes["y"]])
    order = np.argsort(values, kind="stable")
    y, u, v = (planes[plane][order] for plane in "yuv")
    return Tiles(
        y=y,
        u=u,
        v=v,
        kinds=[kinds[i] for i in order],
        titles=[titles[i] for i in order],
        complexity=values[order],
    )


# ------------------------------------------------------------------------------------------------ file


def save(pack: InpaintPack, out: Path) -> None:
    """Write a pack atomically."""
    temporary = out.with_name(f".{out.name}.{os.getpid()}")
    sets: dict[str, Any] = {}
    with zipfile.ZipFile(temporary, "w", zipfile.ZIP_STORED) as file:
        for name, tiles in (("train", pack.train), ("val", pack.val)):
            for plane in "yuv":
                write_tiles(file, f"{name}/{plane}", getattr(tiles, plane))
            sets[name] = {
                "count": len(tiles),
                "size": tiles.y.shape[1],
                "kinds": tiles.kinds,
                "titles": tiles.titles,
                "complexity": [round(float(c), 4) for c in tiles.complexity],
            }
        file.writestr("manifest.json", json.dumps({**pack.manifest, "sets": sets}, indent=1))
    temporary.replace(out)


def load(path: Path) -> InpaintPack:
    """Read a pack into memory; :class:`InputError` when the file is missing, damaged or of another kind."""
    try:
        with zipfile.ZipFile(path) as file:
            manifest = json.loads(file.read("manifest.json"))
            if manifest.get("schema") != SCHEMA or manifest.get("task") != "inpaint":
                raise InputError(f"{path} is no pack for inpainting that this clarivid can read")
            sets = {name: _read(file, name, told) for name, told in manifest.pop("sets").items()}
            return InpaintPack(sets["train"], sets["val"], manifest)
    except (OSError, zipfile.BadZipFile, KeyError, ValueError) as error:
        raise InputError(
            f"cannot read the training pack {path}: {error}; make one with 'clarivid data inpaint'"
        ) from error


def _read(file: zipfile.ZipFile, name: str, told: dict[str, Any]) -> Tiles:
    count, size = int(told["count"]), int(told["size"])
    y = read_tiles(file, f"{name}/y", (count, size, size))
    u, v = (read_tiles(file, f"{name}/{plane}", (count, size // 2, size // 2)) for plane in "uv")
    return Tiles(y, u, v, told["kinds"], told["titles"], np.array(told["complexity"], np.float64))


__all__ = ["TILE", "InpaintPack", "Tiles", "build", "complexity", "load", "save", "view"]
