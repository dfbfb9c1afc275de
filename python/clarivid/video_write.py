# SPDX-License-Identifier: BSD-2-Clause
"""Frames into a file, encoded by PyAV."""

from __future__ import annotations

import contextlib
import logging
import os
from collections.abc import Iterable, Iterator, Mapping
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np

from clarivid.errors import InputError, ToolError
from clarivid.frame import MATRICES, PIXEL_FORMATS, RANGES, TWINS, Frame, other_order
from clarivid.outputs import check_inputs, check_output, draft_of, finish
from clarivid.video_read import import_av, reason

_SITINGS = {"left": "left", "centre": "center", "topleft": "topleft"}
_logger = logging.getLogger("clarivid")
_NOMINAL = Fraction(25)  # for encoders' rate control, where frames bring no duration


def write_frames(
    path: str | os.PathLike[str],
    frames: Iterable[Frame],
    *,
    codec: str = "libx264",
    crf: float | None = None,
    options: Mapping[str, object] | None = None,
    rate: Fraction | float | None = None,
    audio_from: str | os.PathLike[str] | None = None,
    overwrite: bool = False,
) -> int:
    """Encodes frames into a new file, which appears when it is complete.

    It is written under another name in the same folder and then renamed; when anything fails, ``frames``
    included, nothing is left of it. Time, colour and sample aspect are the frames' (a container that does not
    get the sample aspect is told of in a warning). Frames in CUDA memory are copied to the host.

    Args:
        path: the new file; its suffix says which container it is.
        frames: all of one size, format, time base and colour; ``pts`` rise.
        codec: one of the encoders in PyAV, such as ``libx264``, ``libx265``, ``libsvtav1`` or ``ffv1``.
        crf: the encoder's option of that name.
        options: others of its options.
        rate: frames a second: for frames without a time it says it; for others it only guides the encoder.
        audio_from: a file whose streams of sound are copied.
        overwrite: replace a file that is there.

    Returns:
        The number of frames written.

    Raises:
        clarivid.InputError: paths, codec or frames cannot be.
        clarivid.ToolError: the encoder or the container refuses, the disk is full, or PyAV is not installed.
    """
    av = import_av()
    out = Path(path)
    inputs = [] if audio_from is None else [Path(audio_from)]
    check_inputs(inputs)
    check_output(out, inputs, overwrite, container=True)
    if codec not in av.codecs_available:
        raise InputError(f'codec="{codec}" is no encoder that PyAV has')
    said = {**({} if crf is None else {"crf": f"{crf:g}"}), **{k: str(v) for k, v in (options or {}).items()}}
    if rate is not None and not rate > 0:
        raise InputError(f"rate={rate} is no number of frames a second")
    source = iter(frames)
    first = next(source, None)
    if first is None:
        raise InputError(f"there are no frames to write to {out}")
    with draft_of(out) as draft:
        try:
            with contextlib.ExitStack() as stack:
                container = stack.enter_context(av.open(f"file:{draft}", "w"))
                stream = _video_stream(container, codec, said, first, rate)
                sound = _Sound(audio_from, container, stack)
                count = _encode(container, stream, first, source, sound)
        except (av.FFmpegError, OSError, ValueError) as error:
            raise ToolError(f"{out} cannot be written: {reason(error)}") from error
        _warn_of_aspect(draft, out, first)
        finish(draft, out)
    return count


def _warn_of_aspect(draft: Path, out: Path, first: Frame) -> None:
    """PyAV writes the shape of samples by encoders only, which not all of them do."""
    if first.sample_aspect in (None, 1):
        return
    av = import_av()
    try:
        with av.open(f"file:{draft}") as container:
            found = container.streams.video[0].sample_aspect_ratio
    except (av.FFmpegError, IndexError):  # a muxer for checksums, say
        return
    if found != first.sample_aspect:
        _logger.warning(
            "%s does not say that a sample is %s times as wide as high: write .mp4 or .mov, or take libx264 "
            "or libx265",
            out,
            first.sample_aspect,
        )


def _video_stream(
    container: Any, codec: str, said: dict[str, str], first: Frame, rate: Fraction | float | None
) -> Any:
    if not isinstance(first, Frame):
        raise InputError(f"a {type(first).__name__} is no clarivid.Frame")
    if rate is None and first.pts is None:
        raise InputError("the frames have no pts: say with rate= how many there are a second")
    base = first.time_base if first.pts is not None else None
    if first.pts is not None and base is None:
        raise InputError("the frames have a pts and no time_base: give them one")
    step = (first.duration or 0) * (base or 0)
    nominal = (
        Fraction(rate).limit_denominator(100000) if rate is not None else (1 / step if step else _NOMINAL)
    )
    if first.siting in _SITINGS:
        said = {"chroma_sample_location": _SITINGS[first.siting], **said}
    stream = container.add_stream(codec, rate=nominal, options=said)
    known = [form.name for form in stream.codec_context.codec.video_formats or ()]
    name = first.pixel_format
    if known and name not in known:
        name = TWINS[name]
        if name not in known:
            raise InputError(
                f"the encoder {codec} takes neither {first.pixel_format} nor {name}: it takes "
                f"{', '.join(known)}"
            )
    context = stream.codec_context
    stream.width, stream.height, stream.pix_fmt = first.width, first.height, name
    stream.time_base = context.time_base = base or 1 / nominal
    context.color_range = RANGES[first.range]
    context.colorspace = MATRICES[first.matrix][0]
    context.color_primaries, context.color_trc = first.primaries, first.transfer
    if first.sample_aspect:
        context.sample_aspect_ratio = first.sample_aspect
    return stream


def _look(frame: Frame) -> tuple[object, ...]:
    return (
        f"{frame.width}x{frame.height}",
        frame.pixel_format,
        frame.range,
        frame.matrix,
        frame.siting,
        frame.time_base,
    )


def _encode(
    container: Any,
    stream: Any,
    first: Frame,
    rest: Iterator[Frame],
    sound: _Sound,
) -> int:
    count, last = 0, None
    wanted = _look(first)
    frame: Frame | None = first
    while frame is not None:
        if not isinstance(frame, Frame):
            raise InputError(f"frame {count} is a {type(frame).__name__}, not a clarivid.Frame")
        if _look(frame) != wanted:
            told = ", ".join(f"{b} after {a}" for a, b in zip(wanted, _look(frame), strict=True) if a != b)
            raise InputError(f"frame {count} is of another kind than those before: {told}")
        pts = count if first.pts is None else frame.pts
        if pts is None or (last is not None and pts <= last):
            raise InputError(f"frame {count} has the pts {pts} after {last}: they have to rise")
        last = pts
        picture = _picture(frame, stream.pix_fmt)
        picture.pts = pts
        picture.time_base = stream.codec_context.time_base
        for packet in stream.encode(picture):
            sound.up_to(packet)
            container.mux(packet)
        count += 1
        frame = next(rest, None)
    for packet in stream.encode(None):
        sound.up_to(packet)
        container.mux(packet)
    sound.up_to(None)
    return count


def _picture(frame: Frame, pix_fmt: str) -> Any:
    """A copy as PyAV has it, in the encoder's order of samples."""
    av = import_av()
    picture = av.VideoFrame(frame.width, frame.height, pix_fmt)
    planes = frame.to_host().numpy()
    if pix_fmt != frame.pixel_format:
        planes = other_order(planes, PIXEL_FORMATS[frame.pixel_format].bit_depth)
    for target, plane in zip(picture.planes, planes, strict=True):
        rows = np.frombuffer(target, plane.dtype).reshape(-1, target.line_size // plane.itemsize)
        rows[: plane.shape[0], : plane.shape[1]] = plane
    picture.color_range = RANGES[frame.range]
    picture.colorspace = MATRICES[frame.matrix][0]
    return picture


class _Sound:
    """The streams of sound of another file, copied as the picture goes on."""

    def __init__(
        self, path: str | os.PathLike[str] | None, container: Any, stack: contextlib.ExitStack
    ) -> None:
        self._container = container
        self._packets: Iterator[Any] = iter(())
        self._next: Any = None
        self._streams: dict[int, Any] = {}
        if path is None:
            return
        av = import_av()
        try:
            source = stack.enter_context(av.open(f"file:{path}"))
        except (av.FFmpegError, OSError, ValueError) as error:
            raise InputError(f"{path} has no sound that can be read: {reason(error)}") from error
        for stream in source.streams.audio:
            self._streams[stream.index] = container.add_stream_from_template(stream)
        if self._streams:
            self._packets = (
                packet for packet in source.demux(source.streams.audio) if packet.dts is not None
            )
            self._advance()

    def _advance(self) -> None:
        self._next = next(self._packets, None)

    def up_to(self, packet: Any | None) -> None:
        """What comes before a packet of the picture; None: all that is left."""
        until = None if packet is None or packet.dts is None else packet.dts * packet.time_base
        while self._next is not None:
            if packet is not None and until is not None and self._next.dts * self._next.time_base > until:
                return
            sound = self._next
            index = sound.stream.index
            sound.stream = self._streams[index]
            self._container.mux(sound)
            self._advance()


__all__ = ["write_frames"]
