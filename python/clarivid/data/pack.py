# SPDX-License-Identifier: BSD-2-Clause
"""A pack: aligned crops and a few whole validation pictures in one compressed file.

A pack is a zip file (stored, not deflated) with ``manifest.json`` and lossless WebP sheets of tiles::

    manifest.json            schema, arguments, crop sizes, sources with licences, one recipe a clip
    <set>/<plane>-<n>.webp   grey sheets; set is crops/<kind>, pairs/<kind> or val/<kind>/<m>,
                             plane is y_hi, u_hi, v_hi, y_lo, u_lo or v_lo, and of pairs the same
                             with _next: the following frame of the clip at the same place

In memory every plane is a uint8 array [N, height, width].
"""

from __future__ import annotations

import io
import json
import os
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from clarivid.data.sr_sources import KINDS
from clarivid.errors import InputError

PLANES = ("y_hi", "u_hi", "v_hi", "y_lo", "u_lo", "v_lo")
NEXT = tuple(f"{plane}_next" for plane in PLANES)
Tiles = dict[str, npt.NDArray[np.uint8]]
SCHEMA = 1
LOW_CROP = 96  # luma pixels of the low side of a crop; the high side has twice as many


@dataclass
class Pack:
    """Crops by kind, validation pictures by kind, the manifest, and crops of two frames in succession by
    kind, which have the planes :data:`NEXT` too (packs made before there were any have none)."""

    crops: dict[str, Tiles]
    val: dict[str, list[Tiles]]
    manifest: dict[str, Any] = field(default_factory=dict)
    pairs: dict[str, Tiles] = field(default_factory=dict)

    @property
    def count(self) -> int:
        """Number of crops of all kinds."""
        return sum(len(t["y_lo"]) for t in self.crops.values())


def command(manifest: dict[str, Any], file: str) -> str:
    """The command line that makes a pack again, as ``file``; empty for a pack that does not know."""
    known = manifest.get("arguments", {})
    if "clips" not in known or "kinds" not in known:
        return ""
    words = ["clarivid data sr", f"--out {file}"]
    words += [f"--{name} {known[name]}" for name in ("seed", "clips", "crops", "pairs", "val")]
    if len(known["kinds"]) < len(KINDS):
        words += [f"--kind {kind}" for kind in known["kinds"]]
    return " ".join(words) + ("" if known["films"] else " --no-films")


# ------------------------------------------------------------------------------------------------ file


def save(pack: Pack, out: Path) -> None:
    """Write a pack atomically."""
    temporary = out.with_name(f".{out.name}.{os.getpid()}")
    with zipfile.ZipFile(temporary, "w", zipfile.ZIP_STORED) as file:
        sets = {f"crops/{kind}": tiles for kind, tiles in pack.crops.items()}
        sets |= {f"pairs/{kind}": tiles for kind, tiles in pack.pairs.items()}
        sets |= {f"val/{kind}/{i}": tiles for kind, many in pack.val.items() for i, tiles in enumerate(many)}
        shapes: dict[str, dict[str, list[int]]] = {}
        for name, tiles in sets.items():
            shapes[name] = {plane: list(tiles[plane].shape) for plane in tiles}
            for plane in tiles:
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
                tiles = {plane: read_tiles(file, f"{name}/{plane}", tuple(shapes[plane])) for plane in shapes}
                where = name.split("/")
                if where[0] in ("crops", "pairs"):
                    (pack.crops if where[0] == "crops" else pack.pairs)[where[1]] = tiles
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
