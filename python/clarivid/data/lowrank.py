# SPDX-License-Identifier: BSD-2-Clause
"""Training data of the prefilter: short crops of *coded* clips, as an encoder farm receives them.

A clip is made of a still by a smooth continuous deformation (:mod:`clarivid.data.motion`), drawn as a screen
(:mod:`clarivid.data.screen`), or filmed from a game; it is then encoded with x264 or x265 and decoded, so
that it carries coding noise that changes from frame to frame. A few real clips are taken as they are. From
each come crops of :data:`FRAMES` consecutive frames. A pack is a zip file, as :mod:`clarivid.data.pack`'s::

    manifest.json             schema, seed, sources with licences, one recipe a crop
    <set>/<plane>-<n>.webp    grey sheets of tiles; set is train or val
                              plane is y0, u0, v0 (first frames), y1 .. v2 (those after, or what they add to
                              the frame before, modulo 256), clean
"""

from __future__ import annotations

import json
import os
import subprocess
import zipfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache, partial
from pathlib import Path
from typing import Any, Literal

import imageio_ffmpeg
import numpy as np
import numpy.typing as npt
from PIL import Image, ImageFilter

from clarivid import capture, clips
from clarivid.data import screen
from clarivid.data.motion import random_motion
from clarivid.data.noise import Sensor, random_sensor
from clarivid.data.pack import read_tiles, write_tiles
from clarivid.data.parts import Part, Parts
from clarivid.data.sources import Picture, collect
from clarivid.data.synth import (
    Planes,
    code_clip,
    draw_picture,
    ffmpeg_exe,
    grade,
    paste_sprites,
    pipe,
    reduced,
    rgb_to_yuv420,
    split_planes,
    write_text,
)
from clarivid.errors import InputError
from clarivid.packages import containing

Bytes = npt.NDArray[np.uint8]
Content = Literal["natural", "game", "screen", "noisy"]
KINDS: tuple[Content, ...] = ("natural", "game", "screen", "noisy")
# The order in which kinds take turns: three parts natural, three game, two screen, two noisy.
_TURNS: tuple[Content, ...] = (
    *("natural", "game", "screen", "natural", "game", "noisy", "natural", "game", "screen", "noisy"),
)
SCHEMA = 1
FRAMES = 3  # of a crop
CROP = 192  # luma samples
_LENGTH = 9  # frames of a clip
_SIZES = ((960, 540), (1280, 720), (1920, 1080))
_DEMOS = ("DEMO2", "DEMO3")  # held-out clips show DEMO1
_DEMO_FRAMES = 400


@dataclass
class Crops:
    """N crops: ``y`` [N,3,192,192], ``u``, ``v`` [N,3,96,96] (coded, three consecutive frames), ``y_clean``
    [N,192,192] (the first frame before noise and coding; for real clips the frame itself), ``has_clean`` [N]
    (False for real clips), ``kinds`` [N] (:data:`KINDS`), ``titles`` [N] (what is seen)."""

    y: Bytes
    u: Bytes
    v: Bytes
    y_clean: Bytes
    has_clean: npt.NDArray[np.bool_]
    kinds: list[str]
    titles: list[str]

    def __len__(self) -> int:
        return len(self.kinds)


@dataclass
class LowrankPack:
    """Crops to train on, crops of other titles to validate with, and the manifest."""

    train: Crops
    val: Crops
    manifest: dict[str, Any]


@dataclass(frozen=True)
class Material:
    """What clips are made of: ``scenes`` and ``sprites`` by kind, photographs and fonts (fixed width, others)
    for screens, and game ``films``."""

    scenes: dict[str, tuple[Picture, ...]]
    sprites: dict[str, tuple[Picture, ...]]
    photos: tuple[Path, ...]
    fixed: tuple[str, ...]
    free: tuple[str, ...]
    films: tuple[Path, ...] = ()
    footage: tuple[tuple[str, Path], ...] = ()


@dataclass(frozen=True)
class Job:
    """One clip to be made; ``seed``, ``val`` and ``index`` determine it fully."""

    kind: Content
    index: int
    seed: int
    val: bool
    crops: int


@dataclass(frozen=True)
class _Clip:
    """Frames as decoded, the same before noise and coding (None for real clips), and how they were made."""

    coded: list[Planes]
    clean: list[Planes] | None
    recipe: dict[str, Any]


def build(
    out: Path,
    count: int = 166,
    crops: int = 5,
    seed: int = 0,
    jobs: int = 1,
    val: int = 16,
    progress: Callable[[int, int], None] | None = None,
) -> dict[str, Any]:
    """Make a pack of ``count`` clips and ``val`` validation clips (three crops each); returns its manifest.

    Finished clips wait in ``<out>.parts``, so an interrupted run goes on where it stopped. The same
    arguments give the same pack on the same versions of pillow, numpy and ffmpeg. Raises
    :class:`InputError`, :class:`ToolError` (packages that cannot be had, a game that is not installed).
    """
    material, sources = gather()
    parts = Parts(out, {"clips": count, "crops": crops, "seed": seed, "val": val, "schema": SCHEMA})
    work: list[tuple[str, Job]] = []
    for held, number in ((True, val), (False, count)):
        for i in range(number):
            kind = KINDS[i % len(KINDS)] if held else _TURNS[i % len(_TURNS)]
            name = f"{'val' if held else 'train'}-{i:05d}"
            work.append((name, Job(kind, i, seed, held, 3 if held else crops)))
    parts.make(work, partial(_run, material), jobs, progress)
    sets = {}
    for held in (False, True):
        made = [parts.load(name) for name, job in work if job.val == held]
        sets[held] = join(made)
    manifest: dict[str, Any] = {
        "schema": SCHEMA,
        "seed": seed,
        "crop": CROP,
        "frames": FRAMES,
        "sources": sources,
        "crops": [recipe for name, _ in work for recipe in json.loads(str(parts.load(name)["recipes"]))],
    }
    save(LowrankPack(sets[False], sets[True], manifest), out)
    parts.remove()
    return manifest


# -------------------------------------------------------------------------------------------- material


def gather() -> tuple[dict[bool, Material], list[dict[str, object]]]:
    """Fetch everything; what validation (True) and training (False) are made of, and the list of sources."""
    pictures, rows = collect()
    material = {}
    for held in (False, True):
        own = [p for p in pictures if p.held_out == held]
        scenes = {
            k: tuple(p for p in own if p.source.kind == k and p.source.role == "scene")
            for k in ("natural", "game")
        }
        sprites = {
            k: tuple(p for p in own if p.source.kind == k and p.source.role == "sprite")
            for k in ("natural", "game")
        }
        fixed, free = screen.fonts(screen.VAL_FONTS if held else screen.FONTS)
        photos = tuple(p.path for p in scenes["natural"])
        films: tuple[Path, ...] = ()
        footage: tuple[tuple[str, Path], ...] = ()
        if not held:
            films = tuple(capture.freedoom(ffmpeg_exe(), _DEMO_FRAMES, demo) for demo in _DEMOS)
            footage = tuple((name, clips.find(name).source()) for name in clips.GIVEN_TO_TRAINING)
        material[held] = Material(scenes, sprites, photos, tuple(fixed), tuple(free), films, footage)
    return material, rows + more_sources()


def more_sources() -> list[dict[str, object]]:
    """Rows of fonts, films and footage, as :func:`clarivid.data.sources.collect` gives them of pictures."""
    rows = screen.manifest()
    game = {"source": "freedoom", "version": _installed("freedoom"), "kind": "game", "role": "film"}
    rows.append({**game, "files": len(_DEMOS), "held_out": 1, "licence": "BSD-3-Clause (debian/copyright)"})
    for name in clips.GIVEN_TO_TRAINING:
        clip = clips.find(name)
        row = {"source": clip.package, "kind": "natural", "role": "footage", "files": 1, "held_out": 0}
        package = containing(clip.source())
        of = {"version": package.version, "sha256": package.sha256} if package else {"version": ""}
        rows.append({**row, **of, "title": name, "licence": clip.licence})
    return rows


def _installed(package: str) -> str:
    """Version of an installed Debian package."""
    command = ["dpkg-query", "-W", "-f", "${Version}", package]
    return subprocess.run(command, capture_output=True, text=True, check=False).stdout.strip()


# ----------------------------------------------------------------------------------------------- clips


def _run(material: dict[bool, Material], job: Job) -> Part:
    """Make one clip and cut it."""
    rng = np.random.default_rng([job.seed, int(job.val), job.index])
    clip = make_clip(material[job.val], job.kind, rng, turn=job.index // len(_TURNS) + job.index)
    tiles = cut(clip, job.crops, rng)
    recipes = [{**clip.recipe, "val": job.val} for _ in range(job.crops)]
    return {
        **{k: np.stack([t[k] for t in tiles]) for k in tiles[0]},
        "recipes": np.array(json.dumps(recipes)),
    }


def make_clip(material: Material, kind: Content, rng: np.random.Generator, turn: int = 0) -> _Clip:
    """A clip of one kind. Every fourth natural one is real footage and every third game one a film, as far as
    there are any, by ``turn``."""
    if kind == "natural" and material.footage and turn % 4 == 0:
        return _footage(material, rng)
    recipe: dict[str, Any] = {"kind": kind}
    if kind == "screen":
        size = _SIZES[int(rng.integers(len(_SIZES)))]
        views = screen.make_screens(size, _LENGTH, rng, material.fixed, material.free, material.photos)
        recipe["title"] = "screen"
    elif kind == "game" and material.films and turn % 3 == 0:
        views = _film(material, rng)
        recipe["title"] = "freedoom"
    else:
        views = _deformed(material, kind, rng, recipe)
    clean = [rgb_to_yuv420(np.asarray(v)) for v in views]
    frames = clean
    if kind == "noisy":
        sensor = random_sensor(rng)
        recipe["noise"] = round(sensor.luma, 2)
        frames = sensor.add(clean, rng)
    elif kind == "natural" and rng.random() < 0.3:  # no camera is without
        frames = Sensor(float(rng.uniform(0.4, 1.2))).add(clean, rng)
    codec = "libx264" if rng.random() < 0.65 else "libx265"
    crf = int(rng.integers(12, 27))
    preset = str(rng.choice(["veryfast", "faster", "fast", "medium"], p=[0.3, 0.2, 0.2, 0.3]))
    recipe |= {"size": list(views[0].size), "codec": codec, "crf": crf, "preset": preset}
    return _Clip(code_clip(frames, codec, crf, preset), clean, recipe)


def _deformed(
    material: Material, kind: Content, rng: np.random.Generator, recipe: dict[str, Any]
) -> list[Image.Image]:
    """A still under a motion, with sprites, text, blur and another gamma at times."""
    pictures = kind if kind != "noisy" else ("natural" if rng.random() < 0.7 else "game")
    natural = pictures == "natural"
    scene = draw_picture(material.scenes[pictures], rng)
    with Image.open(scene.path) as header:
        width, height = header.size
    least = 1.0 if scene.source.clean else 1.4
    fitting = [s for s in _SIZES if s[0] + 16 <= width / least and s[1] + 16 <= height / least]
    size = fitting[int(rng.integers(len(fitting)))] if fitting else _within(width, height)
    motion = random_motion(size, _LENGTH, rng)
    spare = min((width - size[0]) / 2, (height - size[1]) / 2)
    while motion.margin(_LENGTH) > max(spare, 4):
        motion = motion.weaker(0.6)
    margin = motion.margin(_LENGTH)
    canvas, factor = reduced(scene, (size[0] + 2 * margin, size[1] + 2 * margin), rng)
    chance = rng.random()
    if chance < (0.3 if natural else 0.1):  # lenses are softer than wallpapers
        canvas = canvas.filter(ImageFilter.GaussianBlur(float(rng.uniform(0.4, 1.6))))
    elif chance > 0.9:  # and cameras sharpen
        canvas = canvas.filter(ImageFilter.UnsharpMask(1.0, int(rng.integers(30, 100)), 0))
    views = [motion.frame(canvas, margin, t) for t in range(_LENGTH)]
    sprites = material.sprites[pictures]  # of held-out titles there may be none
    if rng.random() < (0.15 if natural else 0.5) and sprites:
        number = int(rng.integers(1, 2 if natural else 4))
        paste_sprites(views, [draw_picture(sprites, rng) for _ in range(number)], rng)
    if rng.random() < (0.06 if natural else 0.15):
        write_text(views, rng)
    if rng.random() < 0.4:
        views = grade(views, rng)
    speed = motion.source(np.array([[size[0] / 2, size[1] / 2]]), 1) - np.array(size) / 2
    recipe |= {
        "title": scene.title,
        "factor": round(factor, 2),
        "speed": round(float(np.hypot(*speed[0])), 2),
    }
    return views


def _within(width: int, height: int) -> tuple[int, int]:
    """The frame for a picture that is smaller than all frame sizes."""
    return min(1280, (width - 24) // 4 * 4), min(720, (height - 24) // 4 * 4)


def _film(material: Material, rng: np.random.Generator) -> list[Image.Image]:
    """Consecutive frames of a game's film."""
    film = material.films[int(rng.integers(len(material.films)))]
    start = int(rng.integers(0, _DEMO_FRAMES - _LENGTH))
    width, height = capture.SIZE
    seek = ["-ss", f"{(start - 0.5) / 60 if start else 0:.5f}", "-i", str(film), "-frames:v", str(_LENGTH)]
    data = _decode(seek, "rgb24")
    frames = np.frombuffer(data, np.uint8).reshape(-1, height, width, 3)
    if len(frames) != _LENGTH:
        raise InputError(f"{film} is too short: frames {start} to {start + _LENGTH - 1} are not there")
    return [Image.fromarray(frame) for frame in frames]


def _footage(material: Material, rng: np.random.Generator) -> _Clip:
    """Consecutive frames of a real clip, as it is coded."""
    name, path = material.footage[int(rng.integers(len(material.footage)))]
    width, height, count = _probe(path)
    start = int(rng.integers(0, count - _LENGTH))
    data = _decode(["-i", str(path), "-vf", f"select=gte(n\\,{start})", "-frames:v", str(_LENGTH)], "yuv420p")
    size = width * height * 3 // 2
    frames = [split_planes(data[i * size : (i + 1) * size], width, height) for i in range(_LENGTH)]
    recipe = {"kind": "natural", "title": name, "start": start, "size": [width, height], "codec": "its own"}
    return _Clip(frames, None, recipe)


def _decode(source: Sequence[str], layout: str) -> bytes:
    quiet = [ffmpeg_exe(), "-hide_banner", "-loglevel", "error", "-nostdin", "-threads", "1"]
    raw = ["-an", "-fps_mode", "passthrough", "-f", "rawvideo", "-pix_fmt", layout, "-"]
    return pipe([*quiet, *source, *raw])


@lru_cache
def _probe(path: Path) -> tuple[int, int, int]:
    """Width, height and number of frames of a video."""
    reader = imageio_ffmpeg.read_frames(str(path))
    width, height = next(reader)["source_size"]
    reader.close()
    return width, height, int(imageio_ffmpeg.count_frames_and_secs(str(path))[0])


# ------------------------------------------------------------------------------------------------ crops


def cut(clip: _Clip, count: int, rng: np.random.Generator) -> list[dict[str, npt.NDArray[Any]]]:
    """``count`` crops; each the busiest of three tries by texture and motion, one in four as it falls."""
    height, width = clip.coded[0][0].shape
    tiles = []
    for _ in range(count):
        best, most = (0, 0, 0), -1.0
        for _ in range(1 if rng.random() < 0.25 else 3):
            t = int(rng.integers(0, len(clip.coded) - FRAMES + 1))
            top = 2 * int(rng.integers(0, (height - CROP) // 2 + 1))
            left = 2 * int(rng.integers(0, (width - CROP) // 2 + 1))
            a, b = (
                clip.coded[t + k][0][top : top + CROP, left : left + CROP].astype(np.int16) for k in (0, 1)
            )
            texture = np.abs(np.diff(a, axis=0)).mean() + np.abs(np.diff(a, axis=1)).mean()
            score = float(texture + 0.5 * np.abs(b - a).mean())
            if score > most:
                best, most = (t, top, left), score
        tiles.append(_tile(clip, *best))
    return tiles


def _tile(clip: _Clip, t: int, top: int, left: int) -> dict[str, npt.NDArray[Any]]:
    def window(plane: Bytes, step: int) -> Bytes:
        return plane[top // step : (top + CROP) // step, left // step : (left + CROP) // step]

    tile: dict[str, npt.NDArray[Any]] = {}
    for i, plane in enumerate("yuv"):
        frames = [window(frame[i], 2 if i else 1) for frame in clip.coded[t : t + FRAMES]]
        tile[plane] = np.stack(frames)
    tile["y_clean"] = window((clip.clean or clip.coded)[t][0], 1).copy()
    tile["has_clean"] = np.array(clip.clean is not None)
    tile["kinds"] = np.array(clip.recipe["kind"])
    tile["titles"] = np.array(clip.recipe["title"])
    return tile


def join(made: Sequence[Part]) -> Crops:
    """The crops of several parts as one set."""
    whole = {k: np.concatenate([part[k] for part in made]) for k in made[0] if k != "recipes"}
    kinds, titles = ([str(x) for x in whole.pop(k)] for k in ("kinds", "titles"))
    return Crops(
        whole["y"],
        whole["u"],
        whole["v"],
        whole["y_clean"],
        whole["has_clean"].astype(np.bool_),
        kinds,
        titles,
    )


# ------------------------------------------------------------------------------------------------- file


def save(pack: LowrankPack, out: Path) -> None:
    """Write a pack atomically. ``manifest["crops"]`` must have a recipe a crop, validation first."""
    temporary = out.with_name(f".{out.name}.{os.getpid()}")
    sets: dict[str, Any] = {}
    with zipfile.ZipFile(temporary, "w", zipfile.ZIP_STORED) as file:
        for name, crops in (("train", pack.train), ("val", pack.val)):
            still = _still(crops)
            for plane in "yuv":
                frames = getattr(crops, plane)
                write_tiles(file, f"{name}/{plane}0", frames[:, 0])
                for t in range(1, FRAMES):
                    write_tiles(file, f"{name}/{plane}{t}", _less(frames[:, t], frames[:, t - 1], still))
            real = ~crops.has_clean
            write_tiles(
                file, f"{name}/clean", np.where(real[:, None, None], 0, crops.y_clean).astype(np.uint8)
            )
            sets[name] = {
                "count": len(crops),
                "kinds": crops.kinds,
                "titles": crops.titles,
                "has_clean": crops.has_clean.tolist(),
                "differences": still.tolist(),
            }
        file.writestr("manifest.json", json.dumps({**pack.manifest, "sets": sets}))
    temporary.replace(out)


def _still(crops: Crops) -> npt.NDArray[np.bool_]:
    """Which crops change less from frame to frame than from sample to sample."""
    y = crops.y.astype(np.int16)
    time = np.abs(np.diff(y, axis=1)).mean((1, 2, 3))
    space = np.minimum(np.abs(np.diff(y, axis=2)).mean((1, 2, 3)), np.abs(np.diff(y, axis=3)).mean((1, 2, 3)))
    still: npt.NDArray[np.bool_] = time < 0.8 * space
    return still


def _less(frame: Bytes, before: Bytes, still: npt.NDArray[np.bool_]) -> Bytes:
    """Frames with the one before taken away (modulo 256, so nothing is lost) where ``still`` says so."""
    return np.where(still[:, None, None], frame - before + np.uint8(128), frame)


def _more(kept: Bytes, before: Bytes, still: npt.NDArray[np.bool_]) -> Bytes:
    """The inverse of :func:`_less`."""
    return np.where(still[:, None, None], kept + before - np.uint8(128), kept)


def load(path: Path) -> LowrankPack:
    """Read a pack into memory; :class:`InputError` when the file is missing, damaged or of another schema."""
    try:
        with zipfile.ZipFile(path) as file:
            manifest = json.loads(file.read("manifest.json"))
            if manifest.get("schema") != SCHEMA or "sets" not in manifest:
                raise InputError(f"{path} is no pack of lowrank crops that this clarivid can read")
            sets = {name: _read(file, name, told) for name, told in manifest.pop("sets").items()}
            return LowrankPack(sets["train"], sets["val"], manifest)
    except (OSError, zipfile.BadZipFile, KeyError, ValueError) as error:
        raise InputError(
            f"cannot read the training pack {path}: {error}; make one with 'clarivid data lowrank'"
        ) from error


def _read(file: zipfile.ZipFile, name: str, told: dict[str, Any]) -> Crops:
    count, still = int(told["count"]), np.array(told["differences"], bool)
    planes: dict[str, Bytes] = {}
    for plane in "yuv":
        side = CROP if plane == "y" else CROP // 2
        frames = np.empty((count, FRAMES, side, side), np.uint8)
        for t in range(FRAMES):
            frames[:, t] = read_tiles(file, f"{name}/{plane}{t}", (count, side, side))
            if t:
                frames[:, t] = _more(frames[:, t], frames[:, t - 1], still)
        planes[plane] = frames
    real = ~np.array(told["has_clean"], bool)
    clean = read_tiles(file, f"{name}/clean", (count, CROP, CROP))
    clean[real] = planes["y"][real, 0]
    return Crops(**planes, y_clean=clean, has_clean=~real, kinds=told["kinds"], titles=told["titles"])
