# SPDX-License-Identifier: BSD-2-Clause
"""A chain of filters on a whole file, with our ffmpeg."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from clarivid.chains.chain import Chain
from clarivid.chains.command import Command, Encoding, build
from clarivid.chains.complaints import conversions, failure, shortness
from clarivid.chains.probe import Input, probe
from clarivid.chains.process import Ended, follow
from clarivid.chains.process import Progress as State
from clarivid.errors import InputError, ToolError
from clarivid.outputs import check_inputs, check_output, draft_of, finish

Progress = Callable[[State], None]

_logger = logging.getLogger("clarivid")


@dataclass(frozen=True)
class Done:
    """``frames`` written, ``seconds`` of wall clock, start-up included.

    ``notes`` are sentences on what the result has not: streams that its container does not hold, formats that
    ffmpeg converted, a source that is damaged.
    """

    frames: int
    seconds: float
    notes: tuple[str, ...] = ()


def run(
    chain: Chain | str,
    source: Path,
    out: Path,
    *,
    mask: Path | None = None,
    video_codec: str | None = None,
    video_options: Mapping[str, object] | Sequence[str] | None = None,
    audio: str = "copy",
    hwaccel: str | None = None,
    damaged: str = "error",
    overwrite: bool = False,
    progress: Progress | None = None,
    cancel: threading.Event | None = None,
    ffmpeg: Path | None = None,
) -> Done:
    """Run ``source`` through ``chain`` into ``out``, which appears when it is complete.

    It is written under another name in the same folder, brought to the disk, and then renamed; when anything
    fails, an interruption included, nothing is left of it. ``out``'s suffix says which container it is.

    The first video stream goes through the chain. Beside it go all streams of sound, chapters, the file's
    tags and the video stream's language and title; subtitles where the container takes them as they are
    (.mkv: all but those of .mp4; .mp4, .mov: ``mov_text``), attachments in .mkv. What is left out (other
    video streams, cover pictures, data) is told in ``notes``.

    Pictures that are marked to be turned are turned, as ffmpeg does it; with ``hwaccel`` they keep the mark
    instead. The sample aspect ratio is kept, and so are the frames' times: none is doubled, and with
    ``libx264``, ``libx265`` and ``ffv1`` none is moved to the grid of a frame rate.

    Args:
        chain: a chain, or text as for ffmpeg's ``-vf``.
        mask: a video or picture that says what ``mesh_inpaint`` takes away: its second input.
        video_codec: one of ffmpeg's encoders; None for ``libx264``, with ``hwaccel="cuda"`` ``h264_nvenc``.
        video_options: options of it by name, or words as ffmpeg takes them; None for ``crf=18,
            preset=medium`` with ``libx264``, else none.
        audio: ``copy``, ``none``, or an encoder.
        hwaccel: ``cuda``: decode into CUDA memory, where all filters have to work and the encoder too.
            Nothing is put between them: a filter that takes no such frames is an error.
        damaged: what a source that is damaged or ends in the middle is: ``error``, or ``accept``: what can be
            read is written, and ``notes`` tell of it. A raw stream or MPEG-TS that was cut off between two
            frames cannot be told from a whole one.
        overwrite: replace an ``out`` that is there.
        progress: called some four times a second.
        cancel: when it is set, ffmpeg is killed; from another thread.
        ffmpeg: the program, with ffprobe beside it; None for the one that ``clarivid ffmpeg build`` made.

    Raises:
        clarivid.InputError: files, options or the chain cannot be.
        clarivid.ToolError: ffmpeg failed; its last lines are in the message.
        clarivid.errors.CancelledError: ``cancel`` was set.
    """
    how = Encoding(video_codec, video_options, audio, hwaccel, damaged)
    if isinstance(chain, str):
        chain = Chain.from_ffmpeg(chain)
    program, ffprobe = programs(ffmpeg)
    check_paths(source, mask, out, overwrite)
    found, command = plan(chain, source, out, mask, how, program, ffprobe)
    with draft_of(out) as draft:
        ended = follow(command.to(draft), found.seconds, found.rate, progress or _ignore, cancel)
        if ended.code:
            raise failure(ended, chain, found, out, program, how.codec)
        if not ended.progress.frames:
            raise ToolError(f"no frame came out of the chain '{chain}' for {source}: nothing was written")
        notes = [*command.notes, *conversions(ended.log)]
        ended = _measured(ended, found, draft, ffprobe)
        if short := shortness(ended, found, tuple(one.kind for one in chain.filters)):
            if damaged == "error":
                raise InputError(
                    f"{short}: nothing was written; with damaged='accept' (--damaged accept) what there "
                    "is, is"
                )
            notes.append(short)
        check_paths(source, mask, out, overwrite)  # once more: it has taken its time
        finish(draft, out)
    for note in notes:
        _logger.info("%s: %s", out, note)
    return Done(ended.progress.frames, ended.seconds, tuple(notes))


def _measured(ended: Ended, source: Input, draft: Path, ffprobe: Path) -> Ended:
    """With the seconds that the result's pictures take: ffmpeg's own are those of its shortest stream."""
    try:
        seconds = probe(draft, ffprobe).picture_seconds
    except InputError:  # a raw stream
        seconds = 0.0
    return replace(ended, progress=replace(ended.progress, seconds=seconds or source.picture_seconds))


def plan(
    chain: Chain,
    source: Path,
    out: Path,
    mask: Path | None,
    how: Encoding,
    program: Path,
    ffprobe: Path,
) -> tuple[Input, Command]:
    """What ``source`` is, and the command for it. Raises :class:`InputError`."""
    found = probe(source, ffprobe)
    if mask is not None:
        probe(mask, ffprobe)
    return found, build(program, chain, found, mask, out, how)


def programs(ffmpeg: Path | None = None) -> tuple[Path, Path]:
    """ffmpeg, and ffprobe beside it. Raises :class:`ToolError`."""
    if ffmpeg is None:
        from clarivid.ffmpeg import find

        built = find()
        return built.ffmpeg, built.ffprobe
    beside = ffmpeg.with_name("ffprobe")
    if not beside.is_file():
        raise ToolError(f"there is no ffprobe beside {ffmpeg}")
    return ffmpeg, beside


def check_paths(source: Path, mask: Path | None, out: Path, overwrite: bool) -> None:
    """Raises :class:`InputError` for inputs that are not there, and an output that cannot be."""
    inputs = [source] if mask is None else [source, mask]
    check_inputs(inputs)
    check_output(out, inputs, overwrite, container=True)


def _ignore(state: State) -> None:
    pass


__all__ = ["Done", "Progress", "check_paths", "plan", "programs", "run"]
