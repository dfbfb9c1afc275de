# SPDX-License-Identifier: BSD-2-Clause
"""Drawn pictures and a tiny pack of them, for tests of super-resolution's data and training."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw, ImageFont

from clarivid.data import pack, sr_build, sr_clips
from clarivid.data.ladder import Rung
from clarivid.data.sources import Picture, Source

PLAIN = {"down": "bicubic", "rung": Rung("libx264", 20, "medium"), "scene": 0}


def picture(height: int, width: int, seed: int = 0) -> npt.NDArray[np.uint8]:
    """An RGB picture of soft edges and texture."""
    rng = np.random.default_rng(seed)
    noise = Image.fromarray(rng.integers(0, 256, (height // 4, width // 4, 3), np.uint8))
    image = noise.resize((width, height), Image.Resampling.BICUBIC)
    draw = ImageDraw.Draw(image)
    for _ in range(height * width // 4000):  # flat shapes with hard edges
        x, y, r = rng.integers(0, width), rng.integers(0, height), rng.integers(4, 40)
        shape = draw.ellipse if rng.random() < 0.5 else draw.rectangle
        shape((x, y, x + r, y + r // 2 + 3), tuple(int(c) for c in rng.integers(0, 256, 3)))
    return np.asarray(image)


def material(folder: Path, size: tuple[int, int] = (560, 720), held_out: bool = False) -> sr_clips.Material:
    """One drawn scene of ``size`` (height, width) and one cut-out a kind, and pillow's own font."""
    scenes, sprites = {}, {}
    for number, kind in enumerate(("game", "art", "cg", "natural")):
        name = f"{kind}{'-held' if held_out else ''}"
        Image.fromarray(picture(*size, number + 9 * held_out)).save(folder / f"{name}.png")
        sprite = Image.fromarray(picture(72, 72, number))
        sprite.putalpha(200)
        sprite.save(folder / f"{name}-sprite.png")
        source = Source("none", ("*",), kind, "scene", 1.0, True, "CC0-1.0")  # type: ignore[arg-type]
        scenes[kind] = (Picture(folder / f"{name}.png", f"{name}.png", source, held_out),)
        sprites[kind] = (Picture(folder / f"{name}-sprite.png", f"{name}-sprite.png", source, held_out),)
    font = folder / "font.ttf"
    font.write_bytes(ImageFont.load_default(20).path.getvalue())
    return sr_clips.Material(scenes, sprites, (str(font),), (str(font),))


def tiny_pack(folder: Path) -> Path:
    """A pack of a drawn picture: 12 crops, 3 pairs and a validation picture, all of kind "game"."""
    rng = np.random.default_rng(5)
    made = material(folder)
    clip = sr_clips.make_clip(made, "game", rng, PLAIN, (512, 448))
    sets = []
    for count, pairs in ((12, False), (3, True)):
        tiles = sr_build.cut(clip, count, rng, pairs)
        sets.append({plane: np.stack([t[plane] for t in tiles]) for plane in tiles[0]})
    held = sr_clips.make_clip(made, "game", rng, PLAIN, (256, 192))
    val = {plane: data[None] for plane, data in sr_build.tile(held, 4, 0, 0, None).items()}
    manifest = {"schema": pack.SCHEMA, "sources": [], "clips": [clip.recipe], "arguments": {"clips": 1}}
    path = folder / "tiny.pack"
    pack.save(pack.Pack({"game": sets[0]}, {"game": [val]}, manifest, {"game": sets[1]}), path)
    return path
