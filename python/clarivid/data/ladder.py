# SPDX-License-Identifier: BSD-2-Clause
"""What happens to video on its way to a viewer: encoders at the rates of real ladders (8 or 10 bits, once or
twice) and the blemishes of sources that were never clean (noise, dither, interlacing, old codecs).

A rung of a ladder is drawn by :func:`random_rung` and run by :func:`code`. All of it gets and gives 8-bit
planes: what was coded with ten bits is rounded after decoding, because packs hold bytes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from PIL import Image

from clarivid.data.noise import Sensor, random_sensor
from clarivid.data.synth import Planes, ffmpeg_exe, pipe, split_planes
from clarivid.errors import InputError, ToolError

Rng = np.random.Generator
_LIBRARY = {
    "libx264": [],
    "libx265": ["-x265-params", "log-level=none:pools=1:frame-threads=1"],
    "libsvtav1": ["-svtav1-params", "lp=1"],
    "mpeg2video": [],
    "mpeg4": [],
}
# Quantisers (CRF) that are drawn; the upper end is not.
_QUALITIES = {
    "libx264": (15, 35),
    "libx265": (16, 36),
    "libsvtav1": (22, 54),
    "mpeg2video": (2, 11),
    "mpeg4": (2, 11),
}


@dataclass(frozen=True)
class Rung:
    """One encode: ``codec`` as ffmpeg calls it, ``quality`` its CRF (the quantiser of MPEG-2 and MPEG-4),
    ``preset`` its speed, ``depth`` bits a sample, ``tune`` of x264, ``fps`` the frame rate, which the rate
    control of some encoders looks at."""

    codec: str
    quality: int
    preset: str = ""
    depth: int = 8
    tune: str = ""
    fps: int = 25

    def recipe(self) -> dict[str, Any]:
        """What the manifest says of it: all that is not left out."""
        return {key: value for key, value in asdict(self).items() if value}


def random_rung(rng: Rng, fps: int = 25) -> Rung:
    """As ladders are: three in five H.264, one in four H.265 (half of it with ten bits), the rest AV1 (most
    of it with ten).

    Stills under a smooth motion cost an encoder less than real video does, so rates go a few CRF beyond those
    that services use; one rung in twelve is nearly clean.
    """
    chance = rng.random()
    clean = rng.random() < 0.08
    if chance < 0.6:
        preset = str(
            rng.choice(["veryfast", "faster", "fast", "medium", "slow"], p=[0.2, 0.15, 0.2, 0.35, 0.1])
        )
        tune = str(rng.choice(["", "film", "animation", "zerolatency"], p=[0.76, 0.06, 0.08, 0.1]))
        quality = int(rng.integers(6, 15) if clean else rng.integers(*_QUALITIES["libx264"]))
        return Rung("libx264", quality, preset, 8, tune, fps)
    if chance < 0.85:
        quality = int(rng.integers(6, 16) if clean else rng.integers(*_QUALITIES["libx265"]))
        preset = str(rng.choice(["veryfast", "faster", "medium"], p=[0.3, 0.3, 0.4]))
        return Rung("libx265", quality, preset, 10 if rng.random() < 0.5 else 8, "", fps)
    quality = int(rng.integers(10, 22) if clean else rng.integers(*_QUALITIES["libsvtav1"]))
    return Rung("libsvtav1", quality, str(rng.integers(7, 11)), 10 if rng.random() < 0.6 else 8, "", fps)


def contribution(rng: Rng, fps: int = 25) -> Rung:
    """What a live encoder or a camera sends in: fast H.264 at a good rate."""
    return Rung("libx264", int(rng.integers(16, 27)), "veryfast" if rng.random() < 0.7 else "medium", fps=fps)


def old_codec(rng: Rng, fps: int = 25) -> Rung:
    """DVDs, broadcasts and files of twenty years ago: MPEG-2 or MPEG-4 ASP with a visible quantiser."""
    codec = str(rng.choice(["mpeg2video", "mpeg4"]))
    return Rung(codec, int(rng.integers(*_QUALITIES[codec])), fps=fps)


def place(codec: str, quality: int) -> float:
    """How coarsely a rung quantises, whatever its encoder: 0 to 1 over the range that is drawn for it, below
    0 for a nearly clean one."""
    low, high = _QUALITIES[codec]
    return (quality - low) / (high - 1 - low)


def code(frames: Sequence[Planes], rung: Rung) -> list[Planes]:
    """Encode and decode a clip, one thread; the same number of 8-bit frames comes back.

    Raises :class:`ToolError` when the encoder fails.
    """
    height, width = frames[0][0].shape
    raw = b"".join(plane.tobytes() for frame in frames for plane in frame)
    quiet = [ffmpeg_exe(), "-hide_banner", "-loglevel", "error", "-nostdin"]
    if rung.codec not in _LIBRARY:
        raise InputError(f'codec "{rung.codec}" is unknown: it is one of {", ".join(_LIBRARY)}')
    old = rung.codec.startswith("mpeg")
    options = ["-q:v" if old else "-crf", str(rung.quality), *_LIBRARY[rung.codec]]
    if rung.codec.startswith("mpeg2"):
        options += ["-bf", "2", "-g", "15"]
    for key, value in (("-preset", rung.preset), ("-tune", rung.tune)):
        options += [key, value] if value else []
    layout = "yuv420p10le" if rung.depth == 10 else "yuv420p"
    video = ["-f", "rawvideo", "-pix_fmt", "yuv420p", "-s", f"{width}x{height}", "-r", str(rung.fps)]
    command = [*quiet, *video, "-i", "-", "-c:v", rung.codec, "-threads", "1", "-pix_fmt", layout, *options]
    coded = pipe([*command, "-f", "matroska", "-"], raw)
    decode = [*quiet, "-threads", "1", "-f", "matroska", "-i", "-", "-f", "rawvideo", "-pix_fmt", layout]
    plain = pipe([*decode, "-fps_mode", "passthrough", "-"], coded)
    if rung.depth == 10:
        deep = np.frombuffer(plain, "<u2")
        even = (deep + 1 + (deep >> 2 & 1)) >> 2  # halves to the even code: rounding up would brighten
        plain = np.minimum(even, 255).astype(np.uint8).tobytes()
    size = width * height * 3 // 2
    if len(plain) != size * len(frames):
        raise ToolError(
            f"{rung.codec} gave back {len(plain) / size:g} frames of {len(frames)} at {width}x{height}"
        )
    return [split_planes(plain[i * size : (i + 1) * size], width, height) for i in range(len(frames))]


# ---------------------------------------------------------------------------------------------- blemishes
# Each takes the full-size frames, two for every frame that it gives when it is interlacing, and leaves what
# the net is to restore: a viewer's source has its noise, and so has the target.

BLEMISHES = ("sensor", "grain", "palette", "ordered", "combed", "deinterlaced", "old")


def sensor(frames: Sequence[Planes], rng: Rng) -> list[Planes]:
    """A camera's noise, from a little to a phone at night."""
    return random_sensor(rng).add(frames, rng)


def grain(frames: Sequence[Planes], rng: Rng) -> list[Planes]:
    """Film grain: soft, the same in shadows and lights, hardly any of it in chroma."""
    size = float(np.exp(rng.uniform(np.log(1.2), np.log(7))))
    return Sensor(size, float(rng.uniform(0, 0.2)), float(rng.uniform(0.5, 1)), 0.0).add(frames, rng)


def palette(views: Sequence[Image.Image], rng: Rng) -> list[Image.Image]:
    """One palette of 8 to 96 colours for the clip, and error diffusion, as animated pictures have it."""
    colours = int(np.exp(rng.uniform(np.log(8), np.log(96))))
    table = views[0].quantize(colours)
    diffused = (view.quantize(palette=table, dither=Image.Dither.FLOYDSTEINBERG) for view in views)
    return [view.convert("RGB") for view in diffused]


def ordered(views: Sequence[Image.Image], rng: Rng) -> list[Image.Image]:
    """3 to 5 bits a colour by Bayer's pattern, 2x2 to 8x8, as consoles and old video cards drew."""
    order = int(rng.integers(1, 4))
    levels = 2 ** int(rng.integers(3, 6)) - 1
    pattern = np.zeros((1, 1))
    for _ in range(order):
        pattern = np.block([[4 * pattern, 4 * pattern + 2], [4 * pattern + 3, 4 * pattern + 1]])
    threshold = (pattern + 0.5) / pattern.size
    width, height = views[0].size
    side = len(threshold)
    tiled = np.tile(threshold, (-(-height // side), -(-width // side)))[:height, :width, None]
    drawn = []
    for view in views:
        level = np.floor(np.asarray(view, np.float32) * np.float32(levels / 255) + tiled.astype(np.float32))
        drawn.append(Image.fromarray((level * (255 / levels) + 0.5).astype(np.uint8)))
    return drawn


def combed(fields: Sequence[Planes]) -> list[Planes]:
    """Two frames become one: even rows of the first, odd rows of the second."""
    woven = []
    for first, second in zip(fields[::2], fields[1::2], strict=True):
        planes = []
        for a, b in zip(first, second, strict=True):
            plane = a.copy()
            plane[1::2] = b[1::2]
            planes.append(plane)
        woven.append((planes[0], planes[1], planes[2]))
    return woven


def deinterlaced(fields: Sequence[Planes], rng: Rng) -> list[Planes]:
    """Interlaced, and deinterlaced by one of ffmpeg's filters."""
    frames = combed(fields)
    height, width = frames[0][0].shape
    raw = b"".join(plane.tobytes() for frame in frames for plane in frame)
    filters = ("yadif=0:0:0", "bwdif=0:0:0", "w3fdif=complex:frame:tff", "estdif=frame:tff")
    chosen = str(rng.choice(filters))
    video = ["-f", "rawvideo", "-pix_fmt", "yuv420p"]
    command = [ffmpeg_exe(), "-hide_banner", "-loglevel", "error", "-nostdin", "-filter_threads", "1", *video]
    command += ["-s", f"{width}x{height}", "-r", "25", "-i", "-", "-vf", f"setfield=tff,{chosen}", *video]
    plain = pipe([*command, "-fps_mode", "passthrough", "-"], raw)
    size = width * height * 3 // 2
    if len(plain) != size * len(frames):
        raise ToolError(f"the filter {chosen} gave back {len(plain) / size:g} frames of {len(frames)}")
    return [split_planes(plain[i * size : (i + 1) * size], width, height) for i in range(len(frames))]
