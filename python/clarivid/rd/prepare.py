# SPDX-License-Identifier: BSD-2-Clause
"""What the encoders get: the clip's first frames, and the same after each variant's filter, lossless.

A filtered clip is looked at sample by sample before it is used: mean of Y, U and V against the source's (a
picture that drifts in colour may well score higher), whether frames have moved in time, where it changed most
(that is where the report's crops are taken), and a digest, which all later results are keyed by.
"""

from __future__ import annotations

import hashlib
import subprocess
import threading
import time
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from clarivid import ffmpeg
from clarivid.clips import encoder as program
from clarivid.errors import InputError, ToolError
from clarivid.ffmpeg.run import LOSSLESS
from clarivid.models import find_model
from clarivid.paths import sha256_of
from clarivid.rd.plan import PLAIN, Picture, Source, Variant
from clarivid.rd.scores import check_size
from clarivid.rd.store import Store
from clarivid.rd.tools import QUIET, Tools, probe

DRIFT_LIMIT = 0.2  # code values of 8 bit, mean over the clip: the guard
CROP = (192, 128)
_FORMATS = ("yuv420p", "yuv420p10le")
_BLOCK = 16


@dataclass(frozen=True)
class Clip:
    """One clip as the encoders get it.

    :param digest: SHA-256 of all decoded samples.
    :param drift: mean of Y, U, V minus the source's, in code values of 8 bit.
    :param drift_frame: the largest such difference of a single frame, as a magnitude.
    :param changed: mean absolute difference of luma from the source's, in code values of 8 bit.
    :param moved: frames resemble the source's previous or next frame more than their own.
    :param crop: frame, left, top: where it differs most; :data:`CROP` in size.
    :param seconds: what filtering took, start-up and lossless encoding included.
    """

    digest: str
    frames: int
    width: int
    height: int
    fps: float
    pix_fmt: str
    drift: tuple[float, float, float] = (0.0, 0.0, 0.0)
    drift_frame: float = 0.0
    changed: float = 0.0
    moved: bool = False
    crop: tuple[int, int, int] = (0, 0, 0)
    seconds: float = 0.0

    @classmethod
    def from_record(cls, record: dict[str, Any]) -> Clip:
        """From JSON."""
        return cls(**{**record, "drift": tuple(record["drift"]), "crop": tuple(record["crop"])})


class Prepared:
    """A :class:`Clip` and its lossless file, which is made when the first point needs it. Thread-safe."""

    def __init__(self, clip: Clip, path: Path, make: Callable[[], Clip]) -> None:
        self.clip, self.path, self._make = clip, path, make
        self._lock = threading.Lock()

    def restore(self) -> None:
        """Make the file if it is not there.

        Raises :class:`ToolError` when its samples are not the ones that are on record.
        """
        with self._lock:
            if self.path.is_file():
                return
            if self._make().digest != self.clip.digest:
                raise ToolError(
                    f"{self.path.stem} came out with other samples than before, from the same input: "
                    "a filter must be reproducible to be measured; --fresh measures it anew"
                )


class Preparer:
    """Makes references and variants: files in ``scratch``, facts about them in ``store``."""

    def __init__(
        self, store: Store, tools: Tools, scratch: Path, scores: Collection[str], fresh: bool = False
    ) -> None:
        self._store, self._tools, self._scratch, self._fresh = store, tools, scratch, fresh
        self._scores = scores

    def reference(self, source: Source, frames: int | None) -> Prepared:
        """The clip's first ``frames`` frames as they decode, 4:2:0 with 8 or 10 bits.

        Raises :class:`InputError` when the clip is missing, too small or a single frame, :class:`ToolError`.
        """
        key = self._store.key("reference", sha256_of(_existing(source.path)), frames)
        path = self._scratch / f"{source.name}.mkv"

        def make() -> Clip:
            return self._decode(source, frames, path)

        return self._prepared("references", key, path, make)

    def variant(self, source: Source, variant: Variant, reference: Prepared) -> Prepared:
        """The reference after a variant's filter.

        Raises :class:`InputError` when size, format or number of frames change, :class:`ToolError`.
        """
        if variant.name == PLAIN:
            return reference
        path = self._scratch / f"{source.name}, {variant.name}.mkv"

        def make() -> Clip:
            return self._filter(source, variant, reference, path)

        if variant.apply is not None:  # Nobody knows what a function depends on.
            return Prepared(make(), path, make)
        key = self._store.key("variant", reference.clip.digest, *self._identity(source, variant))
        return self._prepared("variants", key, path, make)

    @cached_property
    def _built(self) -> ffmpeg.Built:
        """The ffmpeg with our filters: one for the whole run, even when a newer one is built meanwhile."""
        return ffmpeg.find()

    def _identity(self, source: Source, variant: Variant) -> list[object]:
        """What the filtered samples depend on beside the reference."""
        if variant.files is not None:
            return ["file", sha256_of(_existing(variant.files[source.name]))]
        return ["filters", variant.filters, self._built.root.name, *model_digests(variant.filters)]

    def _prepared(self, kind: str, key: str, path: Path, make: Callable[[], Clip]) -> Prepared:
        record = None if self._fresh else self._store.load(kind, key)
        if record is None:
            clip = make()
            self._store.save(kind, key, asdict(clip))
        else:
            clip = Clip.from_record(record)
        return Prepared(clip, path, make)

    def _decode(self, source: Source, frames: int | None, path: Path) -> Clip:
        stream = probe(source.path, self._tools)
        check_size(stream.width, stream.height, source.name, self._scores)
        if stream.width % 2 or stream.height % 2:
            raise InputError(
                f"{source.name} has {stream.width}x{stream.height} samples, but encoders of 4:2:0 take even "
                f"sizes: crop it to {stream.width // 2 * 2}x{stream.height // 2 * 2}"
            )
        limit = [] if frames is None else ["-frames:v", str(frames)]
        with self._store.temporary() as folder:
            draft = folder / path.name
            options = ["-vf", f"format={'|'.join(_FORMATS)},setsar=1", *limit, *LOSSLESS]
            self._ffmpeg(program(), source.path, options, draft, f"cannot decode {source.name}")
            pix_fmt = probe(draft, self._tools).pix_fmt
            blank = Clip("", 0, stream.width, stream.height, stream.fps, pix_fmt)
            clip = self._inspect(draft, None, blank)
            if clip.frames < 2:
                raise InputError(f"{source.name} has {clip.frames} frame(s); 2 are the least")
            draft.replace(path)
        return clip

    def _filter(self, source: Source, variant: Variant, reference: Prepared, path: Path) -> Clip:
        reference.restore()
        what, want = f"{variant.name} failed on {source.name}", reference.clip
        options = ["-vf", f"format={want.pix_fmt}", *LOSSLESS]
        with self._store.temporary() as folder:
            draft = folder / path.name
            start = time.monotonic()
            if variant.apply is not None:
                self._apply(variant.apply, reference, draft, what)
            elif variant.files is not None:
                count = ["-frames:v", str(want.frames)]
                given = _existing(variant.files[source.name])
                self._ffmpeg(program(), given, [*options, *count], draft, what)
            else:
                options[1] = f"{variant.filters},{options[1]}"
                self._ffmpeg(str(self._built.ffmpeg), reference.path, options, draft, what)
            seconds = time.monotonic() - start
            got = probe(draft, self._tools)
            if (got.width, got.height) != (want.width, want.height):
                raise InputError(
                    f"{variant.name} makes {got.width}x{got.height} of {source.name}'s {want.width}x"
                    f"{want.height}: a variant must keep the size"
                )
            clip = self._inspect(draft, reference.path, want)
            if clip.frames != want.frames:
                raise InputError(
                    f"{variant.name} gives {clip.frames} frames for {source.name}'s {want.frames}: "
                    "a variant must keep every frame"
                )
            draft.replace(path)
        return replace(clip, seconds=seconds)

    def _ffmpeg(self, path: str, source: Path, options: Sequence[str], out: Path, what: str) -> None:
        command = [path, *QUIET, "-i", str(source), "-map", "0:v:0", "-an", "-fps_mode", "passthrough"]
        self._tools.run([*command, *options, str(out)], what)

    def _apply(
        self, function: Callable[[Picture], Picture], reference: Prepared, out: Path, what: str
    ) -> None:
        """A variant in Python: raw video through the function, into a lossless file."""
        clip = reference.clip
        command = [program(), *QUIET, "-f", "rawvideo", "-pix_fmt", clip.pix_fmt]
        command += ["-s", f"{clip.width}x{clip.height}", "-r", f"{clip.fps:g}", "-i", "-"]
        command += [*LOSSLESS, str(out)]
        with subprocess.Popen(command, stdin=subprocess.PIPE, stderr=subprocess.DEVNULL) as process:
            assert process.stdin is not None
            for picture in self._pictures(reference.path, clip):
                for before, after in zip(picture, function(picture), strict=True):
                    if after.shape != before.shape or after.dtype != before.dtype:
                        raise InputError(
                            f"{what}: it returned a plane {after.shape} of {after.dtype} for one "
                            f"{before.shape} of {before.dtype}"
                        )
                    with suppress(BrokenPipeError):  # The exit code tells it.
                        process.stdin.write(np.ascontiguousarray(after).tobytes())
        if process.returncode:
            raise ToolError(f"{what}: its pictures could not be stored")

    def _pictures(self, path: Path, clip: Clip) -> Iterator[Picture]:
        command = [program(), *QUIET, "-i", str(path), "-map", "0:v:0", "-fps_mode", "passthrough"]
        command += ["-f", "rawvideo", "-pix_fmt", clip.pix_fmt, "-"]
        with self._tools.reading(command) as stream:
            yield from read_pictures(stream, clip.width, clip.height, clip.pix_fmt)

    def _inspect(self, path: Path, reference: Path | None, clip: Clip) -> Clip:
        """Digest ``path`` and compare it with the source; ``clip`` gives size, rate and format."""
        digest, watch = hashlib.sha256(), _Watch(4.0 if clip.pix_fmt.endswith("10le") else 1.0)
        theirs = self._pictures(reference, clip) if reference is not None else iter(())
        count = 0
        for picture in self._pictures(path, clip):
            count += 1
            for plane in picture:
                digest.update(plane.tobytes())
            source = next(theirs, None)
            if source is not None:
                watch.frame(picture, source)
        return replace(clip, digest=digest.hexdigest(), frames=count, **watch.summary())


class _Watch:
    """Sums over a filtered clip and its source."""

    def __init__(self, scale: float) -> None:
        self._scale = scale
        self._drifts: list[tuple[float, ...]] = []
        self._changed: list[float] = []
        self._own = self._late = self._early = 0.0
        self._crop, self._most = (0, 0, 0), -1.0
        self._before: tuple[NDArray[Any], NDArray[Any]] | None = None  # luma of picture and source

    def frame(self, picture: Picture, source: Picture) -> None:
        """Take the next frame in."""
        number = len(self._drifts)
        means = [float(a.mean() - b.mean()) / self._scale for a, b in zip(picture, source, strict=True)]
        self._drifts.append(tuple(means))
        difference = np.abs(picture[0].astype(np.int32) - source[0])
        self._changed.append(float(difference.mean()) / self._scale)
        if self._before is not None:
            picture_before, source_before = self._before
            self._own += _distance(picture[0], source[0])
            self._late += _distance(picture[0], source_before)
            self._early += _distance(picture_before, source[0])
        self._before = picture[0], source[0]
        left, top, change = _busiest(difference)
        if change > self._most:
            self._most, self._crop = change, (number, left, top)

    def summary(self) -> dict[str, Any]:
        """Fields of :class:`Clip`; none when no frame came."""
        if not self._drifts:
            return {}
        return {
            "drift": tuple(float(value) for value in np.mean(self._drifts, axis=0)),
            "drift_frame": float(np.abs(self._drifts).max()),
            "changed": float(np.mean(self._changed)),
            "moved": min(self._late, self._early) < self._own / 2,
            "crop": self._crop,
        }


def _distance(a: NDArray[Any], b: NDArray[Any]) -> float:
    """Mean squared difference of every fourth sample."""
    return float(np.mean(np.square(a[::2, ::2].astype(np.float32) - b[::2, ::2])))


def _busiest(difference: NDArray[Any]) -> tuple[int, int, float]:
    """Left, top and sum of the window of :data:`CROP` in which ``difference`` is largest."""
    height, width = (size // _BLOCK for size in difference.shape)
    blocks = difference[: height * _BLOCK, : width * _BLOCK]
    sums = blocks.reshape(height, _BLOCK, width, _BLOCK).sum(axis=(1, 3), dtype=np.int64)
    total = np.pad(sums.cumsum(0).cumsum(1), ((1, 0), (1, 0)))
    w, h = min(CROP[0] // _BLOCK, width), min(CROP[1] // _BLOCK, height)
    windows = total[h:, w:] - total[:-h, w:] - total[h:, :-w] + total[:-h, :-w]
    top, left = np.unravel_index(int(windows.argmax()), windows.shape)
    return int(left) * _BLOCK, int(top) * _BLOCK, float(windows[top, left])


def read_pictures(stream: IO[bytes], width: int, height: int, pix_fmt: str) -> Iterator[Picture]:
    """Raw planar 4:2:0 pictures from a pipe, to its end."""
    dtype = np.dtype("<u2" if pix_fmt.endswith("10le") else "u1")
    chroma = ((height + 1) // 2, (width + 1) // 2)
    luma, quarter = height * width, chroma[0] * chroma[1]
    size = (luma + 2 * quarter) * dtype.itemsize
    while len(data := stream.read(size)) == size:
        samples = np.frombuffer(data, dtype)
        yield (
            samples[:luma].reshape(height, width),
            samples[luma : luma + quarter].reshape(chroma),
            samples[luma + quarter :].reshape(chroma),
        )


def model_digests(filters: str) -> list[str]:
    """Digests of the models that a filter chain names with ``model=``. Raises :class:`ModelError`."""
    digests = []
    for step in filters.split(","):
        name, _, options = step.strip().partition("=")
        if name not in ("lowrank_pre", "dnn_sr"):
            continue
        for option in options.replace("\\", "").split(":"):
            key, _, value = option.partition("=")
            if key == "model" and value:
                digests.append(sha256_of(find_model(value).onnx))
    return digests


def _existing(path: Path) -> Path:
    if not path.is_file():
        raise InputError(f"{path} does not exist")
    return path
