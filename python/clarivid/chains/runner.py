# SPDX-License-Identifier: BSD-2-Clause
"""A chain of filters on a whole file, with our ffmpeg: what ``clarivid run`` does."""

from __future__ import annotations

import os
import re
import subprocess
import tempfile
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from clarivid.errors import InputError, ToolError
from clarivid.ffmpeg import find

X264 = ("-crf", "18", "-preset", "medium")  # options that libx264 gets when none are given
MASKED = "mesh_inpaint"  # the filter that a mask is the second input of
_LINES = 40  # of ffmpeg's messages that are kept
_QUOTED = 6  # of them that an error shows

Progress = Callable[[float, float, float], None]


@dataclass(frozen=True)
class Done:
    """``frames`` written, ``seconds`` of wall clock, start-up included."""

    frames: int
    seconds: float


def run(
    chain: str,
    source: Path,
    out: Path,
    *,
    mask: Path | None = None,
    video_codec: str = "libx264",
    video_options: Sequence[str] | None = None,
    overwrite: bool = False,
    progress: Progress = lambda done, total, fps: None,  # noqa: ARG005
    ffmpeg: Path | None = None,
) -> Done:
    """Run ``source`` through ``chain`` (as for ffmpeg's ``-vf``) into ``out``; audio is copied.

    ``out`` appears when it is complete, by renaming a temporary file in its folder, which is removed when
    anything fails, an interruption included. Its suffix says which container it is.

    :param mask: a video or picture that says what ``mesh_inpaint`` takes away: its second input. The chain
        has that filter once.
    :param video_codec: one of ffmpeg's encoders.
    :param video_options: options of it as ffmpeg takes them; None for :data:`X264` with libx264, else none.
    :param overwrite: replace an ``out`` that is there.
    :param progress: called with seconds done, seconds in all (0 when not known) and frames a second.
    :param ffmpeg: the program; None for the one that ``clarivid ffmpeg build`` made.

    Raises :class:`InputError` for files and chains that cannot be, :class:`ToolError` with ffmpeg's last
    lines when it fails.
    """
    program = ffmpeg or find().ffmpeg
    for path in (source, mask):
        if path is not None and not path.is_file():
            raise InputError(f"{path} does not exist")
    if not out.suffix:
        raise InputError(f"{out} has no suffix: name a container, such as {out}.mp4")
    if not out.parent.is_dir():
        raise InputError(f"the folder {out.parent} does not exist")
    if out.exists():
        if out.resolve() in (path.resolve() for path in (source, mask) if path is not None):
            raise InputError(f"{out} is an input: name another output")
        if not overwrite:
            raise InputError(f"{out} exists: name another output, or have it replaced (--overwrite)")
    if video_options is None:
        video_options = X264 if video_codec == "libx264" else ()
    handle, draft = tempfile.mkstemp(prefix=f".{out.stem}-", suffix=out.suffix, dir=out.parent)
    os.close(handle)
    try:
        command = [str(program), "-nostdin", "-hide_banner", "-loglevel", "info", "-nostats", "-y"]
        command += ["-progress", "pipe:1", "-i", str(source)]
        if mask is not None:
            command += ["-i", str(mask)]
        command += ["-filter_complex", graph(chain, mask is not None), "-map", "[out]", "-map", "0:a?"]
        command += ["-c:v", video_codec, *video_options, "-c:a", "copy", draft]
        done = _follow(command, source, progress)
        umask = os.umask(0)
        os.umask(umask)
        Path(draft).chmod(0o666 & ~umask)
        Path(draft).replace(out)
    finally:
        Path(draft).unlink(missing_ok=True)
    return done


def graph(chain: str, masked: bool) -> str:
    """The chain between ``[0:v]`` and ``[out]``, with ``[1:v]`` as ``mesh_inpaint``'s second input.

    Raises :class:`InputError` when it is empty, has labels or several chains, or lacks that filter.
    """
    filters = _split(chain)
    if not masked:
        return f"[0:v:0]{','.join(filters)}[out]"
    places = [i for i, text in enumerate(filters) if re.match(rf"\s*{MASKED}\s*(@|=|$)", text)]
    if len(places) != 1:
        raise InputError(
            f"a mask goes into {MASKED}, which is in the chain '{chain}' {len(places)} times: have it once"
        )
    before, rest = filters[: places[0]], ",".join(filters[places[0] :])
    if not before:
        return f"[0:v:0][1:v:0]{rest}[out]"
    return f"[0:v:0]{','.join(before)}[picture];[picture][1:v:0]{rest}[out]"


def _split(chain: str) -> list[str]:
    """At the commas that are neither quoted nor escaped."""
    parts, start, quoted, i = [], 0, False, 0
    while i < len(chain):
        letter = chain[i]
        if letter == "\\" and not quoted:
            i += 1
        elif letter == "'":
            quoted = not quoted
        elif not quoted and letter in "[];":
            raise InputError(
                f"'{chain}' is a graph, not a chain: filters are joined by commas; for more, call the ffmpeg "
                "that 'clarivid ffmpeg path' prints, with -filter_complex"
            )
        elif not quoted and letter == ",":
            parts.append(chain[start:i])
            start = i + 1
        i += 1
    if quoted:
        raise InputError(f"'{chain}' has a quote that does not end")
    parts.append(chain[start:])
    if not all(part.strip() for part in parts):
        raise InputError(f"'{chain}' has an empty filter: write for example 'dnn_sr=model=game_x2'")
    return parts


def _follow(command: Sequence[str], source: Path, progress: Progress) -> Done:
    """Run ffmpeg to its end and tell how far it is; it is ended when this is interrupted."""
    start = time.monotonic()
    said: deque[str] = deque(maxlen=_LINES)
    total = [0.0]
    with subprocess.Popen(
        list(command), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        listener = threading.Thread(target=_listen, args=(process.stderr, said, total), daemon=True)
        listener.start()
        values: dict[str, str] = {}
        try:
            for line in process.stdout:
                key, _, value = line.strip().partition("=")
                values[key] = value
                if key == "progress":
                    progress(_number(values.get("out_time_us")) / 1e6, total[0], _number(values.get("fps")))
            process.wait()
        except BaseException:
            process.kill()
            raise
        finally:
            listener.join(5)
    if process.returncode:
        raise ToolError(_sentence(source, process.returncode, list(said)))
    return Done(int(_number(values.get("frame"))), time.monotonic() - start)


def _listen(stream: IO[str], said: deque[str], total: list[float]) -> None:
    """Keep the last lines, and the duration of the first input."""
    for line in stream:
        if not total[0] and (found := re.search(r"Duration: (\d+):(\d+):([\d.]+)", line)):
            total[0] = int(found[1]) * 3600 + int(found[2]) * 60 + float(found[3])
        if line.strip():
            said.append(line.rstrip())


def _sentence(source: Path, code: int, said: Sequence[str]) -> str:
    """What failed; our filter's own line first, since ffmpeg's last ones only repeat that something did."""
    ours = [line for line in said if re.match(r"\[(Parsed_)?(mesh_inpaint|dnn_sr|lowrank_pre)", line)]
    tail = [line for line in said[-_QUOTED:] if line not in ours]
    lines = "\n  ".join([*ours[-2:], *tail]) or "it gave no reason"
    return f"ffmpeg ended with code {code} on {source}; it said:\n  {lines}"


def _number(text: str | None) -> float:
    try:
        return float(text or 0)
    except ValueError:  # N/A until the first frame
        return 0.0


__all__ = ["Done", "graph", "run"]
