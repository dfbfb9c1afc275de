# SPDX-License-Identifier: BSD-2-Clause
"""Mask videos from videos: :mod:`clarivid.masks` on files, in constant memory.

Pictures are read at the size at which masks are made (768 luma samples wide or high at most for what moves,
the net's for people); ffmpeg stretches the masks to the video's size and makes them 0 or 255 there.
"""

from __future__ import annotations

import os
import subprocess
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from clarivid.clips import encoder
from clarivid.errors import InputError, ToolError, last_line
from clarivid.masks import PERSON, Background, Frame, MovingMasks, MovingOptions, PersonMasks
from clarivid.rd.tools import Stream, Tools, probe

METHODS = ("moving", "person")
CONTAINERS = (".mkv", ".avi", ".mov", ".nut")
_LONGEST = 768
_BACKGROUND_FRAMES = 60
_LOSSLESS = ("-c:v", "ffv1", "-level", "3", "-pix_fmt", "gray")

Progress = Callable[[str, int], None]  # what is done, frames so far
_Grey = NDArray[np.uint8]  # [h, w]: 128 and above is mask


@dataclass(frozen=True)
class MaskVideo:
    """What was written: frames, the mean share of the picture that is mask, frames without any."""

    frames: int
    share: float
    empty: int


def write_masks(
    source: Path,
    out: Path,
    method: str,
    *,
    options: MovingOptions | None = None,
    model: str = PERSON,
    threads: int = 0,
    progress: Progress | None = None,
) -> MaskVideo:
    """Write a grey video of ``source``'s size, rate and length: 255 where a mask is, 0 elsewhere (FFV1).

    :param method: ``moving`` or ``person``; see :mod:`clarivid.masks`.
    :param options: for ``moving``; ``model`` and ``threads`` are for ``person``.
    :param progress: called with what is being done and the number of frames.

    Raises :class:`InputError` (no video, a container that cannot hold FFV1, too short for a background),
    :class:`ModelError`, :class:`ToolError` (ffmpeg failed). ``out`` is then as it was.
    """
    if method not in METHODS:
        raise InputError(f'method "{method}" is unknown: it is one of {", ".join(METHODS)}')
    if out.suffix.lower() not in CONTAINERS:
        raise InputError(f"{out}: a lossless grey mask needs a file of {', '.join(CONTAINERS)}")
    stream = probe(source, Tools())
    report = progress or (lambda _what, _frames: None)
    if method == "moving":
        greys = _moving(source, stream, options or MovingOptions(), report)
    else:
        greys = _people(source, PersonMasks(model, threads=threads), report)
    return _write(greys, out, stream)


def _moving(source: Path, stream: Stream, options: MovingOptions, report: Progress) -> Iterator[_Grey]:
    shrink = min(1.0, _LONGEST / max(stream.width, stream.height))
    width, height = (max(1, round(n * shrink)) for n in (stream.width, stream.height))
    kept: list[Frame] = []
    step = 1  # of frames spread evenly over a clip of unknown length: when there are twice as many, halve
    for number, frame in enumerate(read_pictures(source, "yuv444p", width, height)):
        if number % step == 0:
            kept.append(frame)
            if len(kept) == 2 * _BACKGROUND_FRAMES:
                kept, step = kept[::2], 2 * step
        report("background", number + 1)
    masks = MovingMasks(Background.of(kept, options.shake), options)
    kept.clear()
    for number, frame in enumerate(read_pictures(source, "yuv444p", width, height)):
        if (mask := masks.push(frame)) is not None:
            yield mask.astype(np.uint8) * np.uint8(255)
        report("masks", number + 1)
    yield masks.finish().astype(np.uint8) * np.uint8(255)


def _people(source: Path, net: PersonMasks, report: Progress) -> Iterator[_Grey]:
    for number, frame in enumerate(read_pictures(source, "rgb24", net.width, net.height)):
        yield np.asarray(np.clip(net.push(frame), 0, 1) * 255 + 0.5, np.uint8)
        report("masks", number + 1)


def read_pictures(source: Path, pix_fmt: str, width: int, height: int) -> Iterator[Frame]:
    """The pictures [height, width, 3] of a video in order, scaled; ``pix_fmt`` is rgb24 or yuv444p.

    Raises :class:`ToolError` when it cannot be read.
    """
    command = [
        encoder(),
        "-nostdin",
        "-hide_banner",
        "-loglevel",
        "error",
        "-i",
        str(source),
        "-map",
        "0:v:0",
    ]
    command += ["-vf", f"scale={width}:{height}:flags=bilinear", "-fps_mode", "passthrough"]
    command += ["-f", "rawvideo", "-pix_fmt", pix_fmt, "-"]
    size = 3 * width * height
    with _running(command, f"cannot read {source}", stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        while len(data := process.stdout.read(size)) == size:
            frame = np.frombuffer(data, np.uint8)
            if pix_fmt == "rgb24":
                yield frame.reshape(height, width, 3)
            else:
                yield np.ascontiguousarray(frame.reshape(3, height, width).transpose(1, 2, 0))


def _write(greys: Iterator[_Grey], out: Path, stream: Stream) -> MaskVideo:
    out.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(suffix=out.suffix, prefix=".", dir=out.parent)
    os.close(handle)
    frames, empty, share = 0, 0, 0.0
    try:
        first = next(greys, None)
        if first is None:
            raise InputError("the source holds no frame")
        height, width = first.shape
        command = [
            encoder(),
            "-hide_banner",
            "-loglevel",
            "error",
            "-y",
            "-f",
            "rawvideo",
            "-pix_fmt",
            "gray",
        ]
        command += ["-s", f"{width}x{height}", "-r", _rate(stream.fps), "-i", "-"]
        filters = f"scale={stream.width}:{stream.height}:flags=bilinear,lut=y=if(gte(val\\,128)\\,255\\,0)"
        command += ["-vf", filters, *_LOSSLESS, name]
        with _running(command, f"cannot write {out}", stdin=subprocess.PIPE) as process:
            assert process.stdin is not None
            for grey in _chain(first, greys):
                covered = float((grey >= 128).mean())
                frames, empty, share = frames + 1, empty + (covered == 0), share + covered
                try:
                    process.stdin.write(np.ascontiguousarray(grey).data)
                except BrokenPipeError:  # ffmpeg has ended: its exit code says why
                    break
        Path(name).chmod(0o644)
        Path(name).replace(out)
    finally:
        Path(name).unlink(missing_ok=True)
    return MaskVideo(frames, share / frames, empty)


def _chain(first: _Grey, rest: Iterator[_Grey]) -> Iterator[_Grey]:
    yield first
    yield from rest


@contextmanager
def _running(
    command: Sequence[str], what: str, *, stdin: int | None = None, stdout: int | None = None
) -> Iterator[subprocess.Popen[bytes]]:
    """A program that runs while the block does; it is ended with an error, or must succeed in the end."""
    with tempfile.TemporaryFile() as messages:
        process = subprocess.Popen(list(command), stdin=stdin, stdout=stdout, stderr=messages)
        try:
            yield process
        except BaseException:
            process.kill()
            raise
        finally:
            for pipe in (process.stdin, process.stdout):
                if pipe is not None:
                    with suppress(BrokenPipeError):  # what was still buffered; the exit code says why
                        pipe.close()
            process.wait()
        if process.returncode:
            messages.seek(0)
            raise ToolError(f"{what}: {last_line(messages.read().decode(errors='replace'))}")


def _rate(fps: float) -> str:
    """ffmpeg states 30000/1001 as 29.97."""
    whole = round(fps * 1.001)
    if abs(whole / 1.001 - fps) < 0.005 and abs(fps - round(fps)) > 0.005:
        return f"{whole * 1000}/1001"
    return str(Fraction(fps).limit_denominator(1001))


__all__ = ["CONTAINERS", "METHODS", "MaskVideo", "write_masks"]
