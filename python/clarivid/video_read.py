# SPDX-License-Identifier: BSD-2-Clause
"""Frames of a file, decoded by PyAV."""

from __future__ import annotations

import contextlib
import os
import threading
from collections.abc import Generator, Iterator
from fractions import Fraction
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any

import numpy as np

from clarivid.errors import InputError, ToolError
from clarivid.frame import MATRICES, PIXEL_FORMATS, TWINS, Frame, other_order

if TYPE_CHECKING:
    import av
    import av.container
    import av.video.stream

# Full range by name: FFmpeg's formats for JPEG.
_BY_ANOTHER_NAME = {"yuvj420p": "yuv420p"}
_MATRIX_WORDS = {code: word for word, (code, _) in MATRICES.items()} | {5: "bt470bg"}
_RANGE_WORDS = {1: "limited", 2: "full"}  # AVColorRange
_LATE = 0.5  # seconds that may be missing at the end, and 2 % of the length


def import_av() -> Any:
    """The module ``av``. Raises clarivid.ToolError with what to install."""
    try:
        import av
    except ImportError as error:
        raise ToolError(
            f"files are read and written by PyAV, which cannot be imported ({error}): "
            "pip install 'clarivid[video]'"
        ) from error
    return av


def read_frames(
    path: str | os.PathLike[str], *, start: float = 0.0, pixel_format: str | None = None
) -> VideoReader:
    """The frames of a file's first video stream, in the order of presentation.

        with clarivid.read_frames("in.mp4") as frames:
            for frame in frames: ...

    Args:
        path: a file that FFmpeg reads.
        start: seconds of the stream's own time: frames before are left out.
        pixel_format: ``yuv420p``, ``nv12``, ``yuv420p10le`` or ``p010le``: what frames are converted to when
            they are of another format: by swscale, but for another order of the same samples. None: 4:2:0 of
            8 or 10 bit comes as it is coded, and another format is an error.

    Raises:
        clarivid.InputError: the file does not exist, is no video, has no video stream, or ``start`` or
            ``pixel_format`` makes no sense; while it is read also: a format that is not 4:2:0 of 8 or 10 bit,
            damaged data, or a file that ends in the middle (after the frames that can be read).
        clarivid.ToolError: PyAV is not installed.
    """
    return VideoReader(path, start=start, pixel_format=pixel_format)


class VideoReader(Iterator[Frame]):
    """What :func:`read_frames` gives: an iterator, closed at its end, by ``with`` or by :meth:`close`.

    Frames hold their own memory and stay when the reader is gone; their planes are read-only. They come as
    they are coded: not turned, and with interlaced fields as they are. ``siting`` is ``unspecified``, since
    PyAV does not tell it. Threads may share it: each frame goes to one of them.

    Attributes:
        width, height: as the stream declares them; luma samples.
        rate: frames a second on average; None where it is not known.
        time_base: seconds; the unit of the frames' ``pts``.
        seconds: length of the video stream, 0 where it is not written down.
    """

    def __init__(
        self, path: str | os.PathLike[str], *, start: float = 0.0, pixel_format: str | None = None
    ) -> None:
        if pixel_format is not None and pixel_format not in PIXEL_FORMATS:
            raise InputError(
                f'pixel_format="{pixel_format}" is unknown: it is one of {", ".join(PIXEL_FORMATS)}'
            )
        if not 0 <= start < float("inf"):
            raise InputError(f"start={start} is no time in a file: give seconds from 0 on")
        self.path = Path(path)
        self._container, stream = open_video(self.path)
        self.width, self.height = stream.codec_context.width, stream.codec_context.height
        self.rate = stream.average_rate
        self.time_base = stream.time_base
        self.seconds = stream_seconds(stream)
        stream.thread_type = "AUTO"
        self._lock = threading.Lock()
        self._frames: Generator[Frame, None, None] = self._read(stream, Fraction(start), pixel_format)

    def __next__(self) -> Frame:
        with self._lock:
            return next(self._frames)

    def __enter__(self) -> VideoReader:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Lets go of the file. A second call does nothing."""
        with self._lock:
            self._frames.close()
            self._container.close()

    def _read(self, stream: Any, start: Fraction, pixel_format: str | None) -> Generator[Frame, None, None]:
        av = import_av()
        ends = Fraction(0)
        with contextlib.closing(self._container) as container:
            try:
                if start:
                    container.seek(int(start / stream.time_base), stream=stream)
                for packet in container.demux(stream):
                    if packet.is_corrupt:
                        raise InputError(f"{self.path} {cut_off(ends, self.seconds)}")
                    for picture in packet.decode():
                        if picture.pts is not None:
                            here = picture.pts * picture.time_base
                            ends = max(ends, here + (picture.duration or 0) * picture.time_base)
                            if here < start:
                                continue
                        yield frame_of(picture, stream, self.path, pixel_format)
            except av.FFmpegError as error:
                raise InputError(f"{self.path} is damaged {told(ends)}: {reason(error)}") from error
            first = (stream.start_time or 0) * stream.time_base
            late = max(_LATE, 0.02 * self.seconds)
            if self.seconds and ends - first < self.seconds - late:
                raise InputError(f"{self.path} {cut_off(ends - first, self.seconds)}")


def told(ends: Fraction) -> str:
    """Where something went wrong, in words."""
    return f"{float(ends):.2f} s in" if ends else "at its beginning"


def cut_off(ends: Fraction, seconds: float) -> str:
    """That a file ends before its time."""
    whole = f" of {seconds:.2f} s" if seconds else ""
    return f"ends in the middle: {float(ends):.2f} s{whole} can be read"


def reason(error: Exception) -> str:
    """What FFmpeg says, without numbers and names that PyAV puts around it."""
    return str(getattr(error, "strerror", None) or error).rstrip(".")


def open_video(path: Path) -> tuple[av.container.InputContainer, av.video.stream.VideoStream]:
    """A file and its first video stream that is no cover picture. Raises clarivid.InputError."""
    av = import_av()
    if not path.exists():
        raise InputError(f"{path} does not exist")
    if path.is_dir():
        raise InputError(f"{path} is a folder")
    try:
        container = av.open(f"file:{path}")
    except PermissionError:
        raise InputError(f"{path} may not be read (permission denied)") from None
    except (av.FFmpegError, OSError, ValueError) as error:
        raise InputError(f"{path} is no video that FFmpeg reads, or is cut off: {reason(error)}") from None
    covers = av.stream.Disposition.attached_pic
    for stream in container.streams.video:
        if not stream.disposition & covers:
            return container, stream
    held = ", ".join(stream.type for stream in container.streams) or "no stream"
    container.close()
    raise InputError(f"{path} has no video stream; it has {held}")


def stream_seconds(stream: Any) -> float:
    """Length of the stream as the file declares it, 0 where it does not."""
    if stream.duration:
        return float(stream.duration * stream.time_base)
    parts = stream.metadata.get("DURATION", "").split(":")  # Matroska: 00:00:04.000000000
    try:
        hours, minutes, seconds = (float(part) for part in parts)
    except ValueError:
        return 0.0
    return 3600 * hours + 60 * minutes + seconds


def frame_of(
    picture: Any,
    stream: Any,
    path: Path,
    pixel_format: str | None,
    colour: dict[str, Any] | None = None,
) -> Frame:
    """PyAV's frame as one of ours, on the same memory.

    Args:
        colour: what is known better than PyAV says it: properties of Frame.
    """
    name = picture.format.name
    said: dict[str, Any] = {
        "range": "full" if name == "yuvj420p" else _RANGE_WORDS.get(int(picture.color_range), "unspecified"),
        "matrix": _MATRIX_WORDS.get(int(picture.colorspace), "unspecified"),
        "primaries": int(picture.color_primaries),
        "transfer": int(picture.color_trc),
    }
    name = _BY_ANOTHER_NAME.get(name, name)
    twin = pixel_format is not None and TWINS.get(name) == pixel_format
    if pixel_format is not None and name != pixel_format and not twin:
        picture = picture.reformat(format=pixel_format)
        name = pixel_format
    if name not in PIXEL_FORMATS:
        raise InputError(
            f"{path} has frames of {name}, and clarivid works on 4:2:0 of 8 and 10 bit: "
            'pixel_format="yuv420p10le" (or another of its formats) has them converted'
        )
    form = PIXEL_FORMATS[name]
    planes = tuple(
        _plane(picture.planes[index], shape, form.type)
        for index, shape in enumerate(form.shapes(picture.width, picture.height))
    )
    if twin and pixel_format is not None:
        planes, name = other_order(planes, form.bit_depth), pixel_format
    return Frame(
        planes,
        name,
        picture.width,
        picture.height,
        pts=picture.pts,
        duration=picture.duration or None,
        time_base=picture.time_base,
        sample_aspect=stream.sample_aspect_ratio or None,
        **{**said, **(colour or {})},
    )


def _plane(plane: Any, shape: tuple[int, int], kind: str) -> np.ndarray[Any, Any]:
    """A read-only view: decoders may still look at what they gave."""
    samples = np.frombuffer(plane, kind)
    pitch = plane.line_size // samples.itemsize
    return np.lib.stride_tricks.as_strided(
        samples, shape, (pitch * samples.itemsize, samples.itemsize), writeable=False
    )


__all__ = ["VideoReader", "read_frames"]
