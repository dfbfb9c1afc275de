# SPDX-License-Identifier: BSD-2-Clause
"""The command line that runs a chain on a file."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from clarivid.chains.chain import MASKED, Chain
from clarivid.chains.probe import Input, Stream, exact_times
from clarivid.chains.process import LOG_LEVEL
from clarivid.errors import InputError
from clarivid.options import near

HWACCELS = ("cuda",)
DEFAULT_CODEC = "libx264"
CUDA_CODEC = "h264_nvenc"
X264 = {"crf": "18", "preset": "medium"}  # options that libx264 gets when none are given
DAMAGED = ("error", "accept")

_MOV = (".mp4", ".m4v", ".mov")
_MATROSKA = (".mkv", ".mka", ".webm")
# Encoders that were seen to take any time base; others are given that of a frame rate, as ffmpeg does it.
_EXACT = ("libx264", "libx265", "ffv1")
_TURNABLE = (*_MOV, ".mkv")  # containers that hold how a picture is turned


@dataclass(frozen=True)
class Encoding:
    """How a result is encoded; the arguments of :func:`clarivid.chains.run` of the same names."""

    video_codec: str | None = None
    video_options: Mapping[str, object] | Sequence[str] | None = None
    audio: str = "copy"
    hwaccel: str | None = None
    damaged: str = "error"

    def __post_init__(self) -> None:
        if self.hwaccel is not None and self.hwaccel not in HWACCELS:
            raise InputError(
                f"hwaccel={self.hwaccel!r} is unknown: it is {' or '.join(HWACCELS)}, or is left out"
            )
        if self.damaged not in DAMAGED:
            close = near(str(self.damaged), DAMAGED)
            raise InputError(f"damaged={self.damaged!r} is unknown: it is {' or '.join(DAMAGED)}{close}")
        for name, value in (("video_codec", self.codec), ("audio", self.audio)):
            if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_-]*", value):
                raise InputError(f"{name}={value!r} is no name of an encoder")
        if self.codec == "copy":
            raise InputError("video_codec='copy' cannot be: what a filter made has to be encoded")
        self.codec_arguments()

    @property
    def codec(self) -> str:
        """The video encoder."""
        return self.video_codec or (CUDA_CODEC if self.hwaccel == "cuda" else DEFAULT_CODEC)

    def codec_arguments(self) -> list[str]:
        """The video encoder and its options, as ffmpeg takes them."""
        options = self.video_options
        if options is None:
            options = X264 if self.codec == DEFAULT_CODEC else {}
        if not isinstance(options, Mapping):
            if isinstance(options, str):
                raise InputError(f"video_options={options!r}: give names with values, or a list of words")
            return ["-c:v", self.codec, *(str(word) for word in options)]
        words = ["-c:v", self.codec]
        for key, value in options.items():
            if not isinstance(key, str) or not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_-]*", key):
                raise InputError(f"{key!r} is no name of an encoder's option")
            if isinstance(value, bool):
                value = int(value)
            if not isinstance(value, str | int | float):
                raise InputError(f"{key}={value!r} is neither text nor a number")
            words += [f"-{key}:v", str(value)]
        return words


@dataclass(frozen=True)
class Command:
    """``words`` of the command without its output, which comes last; ``notes`` on what is left out."""

    words: tuple[str, ...]
    notes: tuple[str, ...]

    def to(self, out: Path) -> list[str]:
        """The whole command."""
        return [*self.words, f"file:{out}"]


def build(program: Path, chain: Chain, source: Input, mask: Path | None, out: Path, how: Encoding) -> Command:
    """The command that runs ``chain`` on ``source``. Raises :class:`InputError` for what does not fit."""
    check_mask(chain, mask)
    words = [str(program), "-nostdin", "-hide_banner", "-loglevel", LOG_LEVEL, "-nostats", "-y"]
    words += ["-progress", "pipe:1", "-stats_period", "0.25"]
    if how.damaged == "error":
        words.append("-xerror")
    if how.hwaccel == "cuda":
        words += ["-hwaccel", "cuda", "-hwaccel_output_format", "cuda"]
        if source.rotation:
            # ffmpeg would turn the pictures by a filter for host memory. Not turned, they keep the mark.
            if out.suffix.lower() not in _TURNABLE:
                raise InputError(
                    f"{source.path} is marked to be turned by {source.rotation:g} degrees, which "
                    f"{out.suffix} does not hold, and frames in CUDA memory are not turned: write .mp4, "
                    ".mov or .mkv"
                )
            words.append("-noautorotate")
    words += ["-i", f"file:{source.path}"]
    if mask is not None:
        words += ["-i", f"file:{mask}"]
    words += ["-filter_complex", chain.to_ffmpeg(graph=True), "-map", "[out]"]
    maps, notes = _others(source, out.suffix.lower(), how)
    for stream in maps:
        words += ["-map", f"0:{stream.index}"]
    words += ["-map_metadata", "0", "-map_chapters", "0"]
    for key, value in source.tags:
        words += ["-metadata:s:v:0", f"{key}={value}"]
    # No frame is doubled to keep a rate, which ffmpeg does for some containers.
    words += ["-fps_mode", "vfr", *how.codec_arguments()]
    if how.codec in _EXACT:
        words += exact_times(program)
    kinds = {stream.kind for stream in maps}
    if "audio" in kinds:
        words += ["-c:a", how.audio]
    if "subtitle" in kinds:
        words += ["-c:s", "copy"]
    return Command(tuple(words), tuple(notes))


def check_mask(chain: Chain, mask: Path | None) -> None:
    """A chain and a mask that belong together. Raises :class:`InputError`."""
    if mask is not None and not chain.needs_mask:
        there = any(one.kind == MASKED for one in chain.filters)
        reason = "has rect, boxes or segment" if there else f"is in the chain '{chain}' 0 times"
        raise InputError(f"a mask goes into {MASKED}, which {reason}: leave one of both out")
    if mask is None and chain.needs_mask:
        raise InputError(
            f"{MASKED} needs to know what is to vanish: give a mask (mask=, --mask), or the filter's option "
            "rect, boxes or segment"
        )


def _others(source: Input, suffix: str, how: Encoding) -> tuple[list[Stream], list[str]]:
    """Streams that go on beside the picture, and sentences on those that do not."""
    kept: list[Stream] = []
    notes = []
    for stream in source.others():
        if stream.kind == "audio":
            if how.audio != "none":
                kept.append(stream)
        elif (stream.kind == "subtitle" and _holds(suffix, stream.codec)) or (
            stream.kind == "attachment" and suffix == ".mkv"
        ):
            kept.append(stream)
        else:
            what = "a cover picture" if stream.cover else f"{stream.kind} ({stream.codec})"
            notes.append(f"stream {stream.index}, {what}, is not written to {suffix}")
    return kept, notes


def _holds(suffix: str, codec: str) -> bool:
    """Whether subtitles go into a container as they are."""
    if suffix in _MOV:
        return codec == "mov_text"
    if suffix == ".webm":
        return codec == "webvtt"
    return suffix in _MATROSKA and codec not in ("mov_text", "eia_608")


__all__ = [
    "CUDA_CODEC",
    "DAMAGED",
    "DEFAULT_CODEC",
    "HWACCELS",
    "X264",
    "Command",
    "Encoding",
    "build",
    "check_mask",
]
