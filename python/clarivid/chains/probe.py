# SPDX-License-Identifier: BSD-2-Clause
"""What an input file is: its streams and its length, as ffprobe tells them."""

from __future__ import annotations

import functools
import json
import re
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from clarivid.errors import InputError, ToolError


@dataclass(frozen=True)
class Stream:
    """One stream: ``index`` in its file, ``kind`` (video, audio, subtitle, data, attachment), ``codec``."""

    index: int
    kind: str
    codec: str
    cover: bool = False


@dataclass(frozen=True)
class Input:
    """A video file: ``picture`` is the stream that a chain works on.

    ``seconds`` is the file's length, ``picture_seconds`` that of the stream; 0 where it is not written down.
    ``rotation`` in degrees is how players turn it; ``rate`` its frames a second, on average, 0 where that is
    not known; ``tags`` are language and title of the stream.
    """

    path: Path
    streams: tuple[Stream, ...]
    picture: Stream
    width: int
    height: int
    seconds: float
    picture_seconds: float
    rotation: float
    rate: float
    tags: tuple[tuple[str, str], ...]

    def others(self) -> list[Stream]:
        """All streams but the picture's."""
        return [stream for stream in self.streams if stream != self.picture]


def probe(path: Path, ffprobe: Path) -> Input:
    """Raises :class:`InputError` for a file that is no video or has no video stream."""
    if not path.exists():
        raise InputError(f"{path} does not exist")
    if not path.is_file():
        raise InputError(f"{path} is no file")
    # file: says that a colon in the name is no protocol.
    words = ("-v", "error", "-show_format", "-show_streams", "-of", "json", f"file:{path}")
    try:
        done = ask(ffprobe, *words)
    except OSError as error:
        raise ToolError(f"{ffprobe} cannot be started: {error.strerror}") from error
    if done.returncode:
        lines = [line for line in done.stderr.splitlines() if line.strip()]
        # The last line is "<file>: Invalid data found when processing input"; those before it know more.
        told = [line.partition("] ")[2] or line for line in lines[:-1]] or [
            line.rpartition(": ")[2] for line in lines
        ]
        reason = ": ".join(dict.fromkeys(told)) or "it gave no reason"
        if done.stderr.rstrip().endswith("Permission denied"):
            raise InputError(f"{path} may not be read (permission denied)")
        raise InputError(f"{path} is no video that ffmpeg reads, or is cut off: {reason}")
    found = json.loads(done.stdout)
    listed = found.get("streams", [])
    streams = tuple(_stream(stream) for stream in listed)
    pictures = [stream for stream in streams if stream.kind == "video" and not stream.cover]
    if not pictures:
        held = ", ".join(f"{stream.kind} ({stream.codec})" for stream in streams) or "no stream"
        raise InputError(f"{path} has no video stream; it has {held}")
    picture = next(stream for stream in listed if stream["index"] == pictures[0].index)
    tags = {key.lower(): str(value) for key, value in picture.get("tags", {}).items()}
    turned = [data["rotation"] for data in picture.get("side_data_list", []) if "rotation" in data]
    return Input(
        path,
        streams,
        pictures[0],
        int(picture.get("width", 0)),
        int(picture.get("height", 0)),
        _seconds(found.get("format", {}).get("duration")),
        _seconds(picture.get("duration")) or _clock(tags.get("duration", "")),
        float(turned[0]) if turned else 0.0,
        _ratio(str(picture.get("avg_frame_rate", ""))),
        tuple((key, tags[key]) for key in ("language", "title") if tags.get(key, "und") != "und"),
    )


def ask(program: Path, *words: str) -> subprocess.CompletedProcess[str]:
    """What ffmpeg or ffprobe answer, whatever their exit code. Raises OSError when it cannot be started."""
    return subprocess.run(
        [str(program), *words],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        encoding="utf-8",
        errors="replace",
        check=False,
    )


@functools.lru_cache(maxsize=8)
def exact_times(program: Path) -> tuple[str, str]:
    """The option of ffmpeg with which frames reach an encoder at their own times.

    Without it these are rounded to the grid of a frame rate. FFmpeg before 6.1 knows only the source's base.
    """
    try:
        found = re.match(r"ffmpeg version n?(\d+)\.(\d+)", ask(program, "-version").stdout)
    except OSError as error:
        raise ToolError(f"{program} cannot be started: {error.strerror}") from error
    old = found is not None and (int(found[1]), int(found[2])) < (6, 1)
    return "-enc_time_base:v", "-1" if old else "filter"


def _stream(told: dict[str, Any]) -> Stream:
    disposition = told.get("disposition", {})
    return Stream(
        int(told["index"]),
        str(told.get("codec_type", "unknown")),
        str(told.get("codec_name", told.get("codec_tag_string", "unknown"))),
        bool(disposition.get("attached_pic")),
    )


def _seconds(text: object) -> float:
    try:
        return max(float(str(text)), 0.0)
    except ValueError:
        return 0.0


def _ratio(text: str) -> float:
    above, _, below = text.partition("/")
    return _seconds(above) / _seconds(below) if _seconds(below) else 0.0


def _clock(text: str) -> float:
    """Matroska's tag: 00:00:04.000000000."""
    parts = text.split(":")
    if len(parts) != 3:
        return 0.0
    return _seconds(parts[0]) * 3600 + _seconds(parts[1]) * 60 + _seconds(parts[2])


__all__ = ["Input", "Stream", "ask", "exact_times", "probe"]
