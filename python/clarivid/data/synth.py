# SPDX-License-Identifier: BSD-2-Clause
"""What made clips are made with: colour conversion, halving, encoding, stills with sprites and text.

All pictures are yuv420p, BT.709, limited range, chroma sited left as MPEG-2, H.264 and H.265 have it by
default:

    luma   o   o   o   o        chroma C lies on every second luma column, half-way between two rows; at
           C       C            half size the luma sample lies between 2 by 2 old ones, and so the new
           o   o   o   o        chroma column i lies at 2i + 0.25 in units of old chroma columns

That is the standard, but swscale, which most half-size video in the world has met, halves the chroma planes
about their own centres (2i + 0.5, whatever the frame says of its siting). So half of the clips are made the
one way and half the other; the net has luma to tell them apart by.
"""

from __future__ import annotations

import subprocess
from collections.abc import Sequence
from functools import lru_cache

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw, ImageFont

from clarivid.data.sources import Picture
from clarivid.errors import ToolError

Image.MAX_IMAGE_PIXELS = None  # wallpapers are large, and their packages are signed

Plane = npt.NDArray[np.uint8]
Planes = tuple[Plane, Plane, Plane]  # Y [H,W], U [H/2,W/2], V [H/2,W/2]
Rng = np.random.Generator

_FILTERS = {
    "area": Image.Resampling.BOX,
    "bicubic": Image.Resampling.BICUBIC,
    "lanczos": Image.Resampling.LANCZOS,
}


# ------------------------------------------------------------------------------------------------ colour


def rgb_to_yuv420(rgb: npt.NDArray[np.uint8]) -> Planes:
    """[H,W,3] RGB (H, W even) to yuv420p, BT.709 limited, chroma sited left."""
    x = rgb.astype(np.float32) * (1 / 255)
    luma = x @ np.array([0.2126, 0.7152, 0.0722], np.float32)
    planes = [_code(luma * 219 + 16)]
    for channel, scale in ((2, 1.8556), (0, 1.5748)):
        chroma = (x[:, :, channel] - luma) / np.float32(scale)
        rows = 0.5 * (chroma[0::2] + chroma[1::2])
        left = np.concatenate([rows[:, :1], rows[:, 1:-1:2]], axis=1)  # the column left of each even one
        planes.append(_code((0.5 * rows[:, 0::2] + 0.25 * (left + rows[:, 1::2])) * 224 + 128))
    return planes[0], planes[1], planes[2]


def _code(x: npt.NDArray[np.float32]) -> Plane:
    code: Plane = np.clip(x + 0.5, 0, 255).astype(np.uint8)
    return code


def halve(planes: Planes, kind: str, sited: bool = True) -> Planes:
    """Half-size planes by ``kind`` ("area", "bicubic" or "lanczos"); sizes must be multiples of 4.

    Luma and chroma rows are reduced about their centres; chroma columns stay sited left when ``sited``, else
    they are reduced about their centres as swscale does, see above.
    """
    y, u, v = planes
    method = _FILTERS[kind]
    size = y.shape[1] // 2, y.shape[0] // 2
    small = [_mean(y) if kind == "area" else np.asarray(Image.fromarray(y).resize(size, method))]
    for plane in (u, v):
        if kind == "area" and not sited:
            small.append(_mean(plane))
            continue
        height, width = plane.shape
        padded = Image.fromarray(np.pad(plane, ((0, 0), (1, 0)), "edge"))
        # Centres of a plain halving lie at 2i + 0.5: a box moved by -0.25 puts them at 2i + 0.25.
        left = 0.75 if sited else 1.0
        if kind == "area":  # pillow's box takes whole pixels only; the triangle honours the phase
            method = Image.Resampling.BILINEAR
        box = (left, 0, width + left, height)
        small.append(np.asarray(padded.resize((width // 2, height // 2), method, box=box)))
    return small[0], small[1], small[2]


def _mean(plane: Plane) -> Plane:
    """The mean of each 2x2 block, rounded once. (Pillow's box rounds rows and columns up one after the other,
    which is half a code too bright.)"""
    wide = plane.astype(np.uint16)
    total = wide[0::2, 0::2] + wide[0::2, 1::2] + wide[1::2, 0::2] + wide[1::2, 1::2]
    mean: Plane = ((total + 2) >> 2).astype(np.uint8)
    return mean


# ------------------------------------------------------------------------------------------------ coding


@lru_cache(maxsize=1)
def ffmpeg_exe() -> str:
    """Path of the static FFmpeg in the imageio-ffmpeg wheel; :class:`ToolError` when it is not installed."""
    try:
        import imageio_ffmpeg
    except ImportError as error:
        raise ToolError(
            "making training data needs the package imageio-ffmpeg: pip install 'clarivid[train]'"
        ) from error
    return str(imageio_ffmpeg.get_ffmpeg_exe())


def code_clip(
    frames: Sequence[Planes], codec: str, crf: int, preset: str, extra: Sequence[str] = ()
) -> list[Planes]:
    """Encode and decode a clip (``codec`` "libx264" or "libx265"), one thread, same number of frames back."""
    height, width = frames[0][0].shape
    raw = b"".join(plane.tobytes() for frame in frames for plane in frame)
    quiet = [ffmpeg_exe(), "-hide_banner", "-loglevel", "error", "-nostdin"]
    video = ["-f", "rawvideo", "-pix_fmt", "yuv420p"]
    library = ["-x265-params", "log-level=none:pools=1:frame-threads=1"] if codec == "libx265" else []
    coded = pipe(
        [
            *quiet,
            *video,
            "-s",
            f"{width}x{height}",
            "-r",
            "25",
            "-i",
            "-",
            "-c:v",
            codec,
            "-threads",
            "1",
            "-preset",
            preset,
            "-crf",
            str(crf),
            *library,
            *extra,
            "-f",
            "matroska",
            "-",
        ],
        raw,
    )
    plain = pipe(
        [*quiet, "-threads", "1", "-f", "matroska", "-i", "-", *video, "-fps_mode", "passthrough", "-"], coded
    )
    size = width * height * 3 // 2
    if len(plain) != size * len(frames):
        raise ToolError(
            f"{codec} gave back {len(plain) / size:g} frames of {len(frames)} at {width}x{height}"
        )
    return [split_planes(plain[i * size : (i + 1) * size], width, height) for i in range(len(frames))]


def split_planes(frame: bytes, width: int, height: int) -> Planes:
    """One yuv420p frame in memory as three planes; width and height even."""
    flat = np.frombuffer(frame, np.uint8)
    luma, chroma = width * height, width * height // 4
    return (
        flat[:luma].reshape(height, width),
        flat[luma : luma + chroma].reshape(height // 2, width // 2),
        flat[luma + chroma :].reshape(height // 2, width // 2),
    )


def pipe(command: Sequence[str], data: bytes = b"") -> bytes:
    """What ``command`` writes when it is fed ``data``; :class:`ToolError` with its message when it fails."""
    try:
        done = subprocess.run(command, input=data, capture_output=True, check=False)
    except OSError as error:
        raise ToolError(f"cannot start {command[0]}: {error}") from error
    if done.returncode != 0:
        raise ToolError(
            f"ffmpeg failed while it made training data: {done.stderr.decode('utf-8', 'replace')[-400:]}"
        )
    return done.stdout


# ------------------------------------------------------------------------------------------------ pictures


@lru_cache(maxsize=24)
def _load(path: str, rgba: bool) -> Image.Image:
    image = Image.open(path)
    return image.convert("RGBA") if rgba else image.convert("RGBA").convert("RGB")


def draw_picture(pictures: Sequence[Picture], rng: Rng) -> Picture:
    """A picture; each source has its weight, shared by its pictures."""
    counts: dict[int, int] = {}
    for p in pictures:
        counts[id(p.source)] = counts.get(id(p.source), 0) + 1
    weights = np.array([p.source.weight / counts[id(p.source)] for p in pictures])
    return pictures[int(rng.choice(len(pictures), p=weights / weights.sum()))]


def reduced(picture: Picture, need: tuple[int, int], rng: Rng) -> tuple[Image.Image, float]:
    """A part of the picture reduced by a random factor to ``need`` (width, height); and that factor."""
    image = _load(str(picture.path), False)
    if rng.random() < 0.5:
        image = image.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    if rng.random() < 0.1 and image.width >= need[1] and image.height >= need[0]:
        image = image.transpose(Image.Transpose.ROTATE_90)
    most = min(image.width / need[0], image.height / need[1])
    least = 1.0 if picture.source.clean else 1.6
    factor = 1.0 if most <= least else float(np.exp(rng.uniform(np.log(least), np.log(min(most, 5.0)))))
    box_w, box_h = need[0] * factor, need[1] * factor
    x = rng.uniform(0, max(image.width - box_w, 0))
    y = rng.uniform(0, max(image.height - box_h, 0))
    method = Image.Resampling.BOX if factor > 1.5 and rng.random() < 0.5 else Image.Resampling.LANCZOS
    return image.resize(
        need, method, box=(x, y, min(x + box_w, image.width), min(y + box_h, image.height))
    ), factor


def texels(canvas: Image.Image, rng: Rng) -> Image.Image:
    """The picture as an old game shows it: a coarse texture, seen aslant, sampled without interpolation."""
    factor = float(np.exp(rng.uniform(np.log(1.5), np.log(7.0))))
    width, height = int(canvas.width / factor), int(canvas.height / factor)
    small = canvas.resize((width, height), Image.Resampling.BOX)
    corners = np.array([(0, 0), (0, height), (width, height), (width, 0)], float)
    corners += rng.uniform(0, 0.3, (4, 2)) * (width, height) * np.array([(1, 1), (1, -1), (-1, -1), (-1, 1)])
    quad = tuple(float(c) for c in corners.flat)
    return small.transform(canvas.size, Image.Transform.QUAD, quad, Image.Resampling.NEAREST)


def paste_sprites(views: list[Image.Image], sprites: Sequence[Picture], rng: Rng) -> None:
    """Cut-outs that move on their own over the scene, in whole pixels so that they stay as drawn."""
    for picture in sprites:
        sprite = _load(str(picture.path), True)
        if rng.random() < 0.5:
            sprite = sprite.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
        if min(sprite.size) > 200:
            factor = float(rng.uniform(1.0, 2.2))
            sprite = sprite.resize(
                (max(8, int(sprite.width / factor)), max(8, int(sprite.height / factor))),
                Image.Resampling.LANCZOS if rng.random() < 0.5 else Image.Resampling.BOX,
            )
        elif max(sprite.size) < 100 and rng.random() < 0.3:  # pixel art at twice its size, as games show it
            sprite = sprite.resize((sprite.width * 2, sprite.height * 2), Image.Resampling.NEAREST)
        width, height = views[0].size
        x = rng.integers(-sprite.width // 3, max(width - sprite.width // 2, 1))
        y = rng.integers(-sprite.height // 3, max(height - sprite.height // 2, 1))
        vx, vy = rng.integers(-3, 4), rng.integers(-1, 2)
        for t, view in enumerate(views):
            view.paste(sprite, (int(x + vx * t), int(y + vy * t)), sprite)


def grade(views: list[Image.Image], rng: Rng) -> list[Image.Image]:
    """Another gamma and contrast: film and games are darker and flatter than wallpapers."""
    gamma, contrast = float(np.exp(rng.uniform(-0.3, 0.9))), float(rng.uniform(0.4, 1.0))
    floor = float(rng.uniform(0, 1 - contrast))
    table = [round(255 * (floor + contrast * (i / 255) ** gamma)) for i in range(256)] * 3
    return [view.point(table) for view in views]


_WORDS = (
    *(
        "level",
        "score",
        "1280",
        "health",
        "mana",
        "quest",
        "save",
        "load",
        "exit",
        "the",
        "of",
        "and",
        "to",
        "in",
    ),
    *(
        "that",
        "river",
        "mountain",
        "forest",
        "NEW GAME",
        "Press any key",
        "00:12:47",
        "+250 XP",
        "chapter",
        "one",
    ),
    *("where did", "you", "go", "tonight?", "I never", "said so.", "HP 87/100"),
)


def write_text(views: list[Image.Image], rng: Rng, fonts: Sequence[str] = ()) -> None:
    """Subtitles and screen text: sharp strokes that stand still while the picture moves; ``fonts`` are files
    that serve beside pillow's own."""
    width, height = views[0].size
    for _ in range(int(rng.integers(1, 4))):
        words = " ".join(str(w) for w in rng.choice(_WORDS, int(rng.integers(1, 7))))
        font = ImageFont.load_default(size=float(rng.integers(13, 40)))
        if fonts and rng.random() < 0.6:
            font = ImageFont.truetype(fonts[int(rng.integers(len(fonts)))], int(rng.integers(13, 40)))
        where = (int(rng.integers(0, width // 2)), int(rng.integers(0, height - 20)))
        bright = rng.random() < 0.7
        fill = tuple(int(c) for c in (rng.integers(190, 256, 3) if bright else rng.integers(0, 90, 3)))
        stroke = int(rng.integers(0, 3))
        for view in views:
            ImageDraw.Draw(view).text(
                where,
                words,
                fill=fill,
                font=font,
                stroke_width=stroke,
                stroke_fill=(0, 0, 0) if bright else (255, 255, 255),
            )
