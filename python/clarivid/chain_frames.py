# SPDX-License-Identifier: BSD-2-Clause
"""The frames that come out of a chain, one by one.

The chain runs in our ffmpeg, so that stock filters and our own give exactly the pixels of ``chain.run``:

    file -> ffmpeg (demux, decode, filters) -> raw frames in NUT through a pipe -> PyAV's demuxer -> Frame

NUT keeps each frame's time and time base. It has no place for range, matrix and siting: those are read from
the line in which ffmpeg describes its output.
"""

from __future__ import annotations

import os
import re
import subprocess
import threading
import time
import weakref
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any

from clarivid.chains.chain import Chain
from clarivid.chains.command import check_mask
from clarivid.chains.complaints import failure, shortness
from clarivid.chains.probe import Input, exact_times, probe
from clarivid.chains.process import LOG_LEVEL, Ended, Log, Progress
from clarivid.chains.runner import programs
from clarivid.errors import InputError, ToolError
from clarivid.frame import MATRICES, Frame
from clarivid.video_read import frame_of, import_av, reason

if TYPE_CHECKING:
    from collections.abc import Generator

_FORMATS = "yuv420p|nv12|yuv420p10le"  # NUT has no word for p010le
_BUFFER = 1 << 20  # bytes that are read from the pipe at once
_PATIENCE = 5.0  # seconds for ffmpeg's last words

_RANGES = {"tv": "limited", "pc": "full"}
_SITINGS = {"left": "left", "center": "centre", "topleft": "topleft"}
_NAMES = {  # FFmpeg's name of a matrix: ours
    "smpte170m": "bt601",
    "bt2020nc": "bt2020",
    "gbr": "rgb",
    **{word: word for word in MATRICES if word not in ("bt601", "bt2020", "rgb", "unspecified")},
}
# FFmpeg's names of primaries and transfer curves: code points of ITU-T H.273.
_PRIMARIES = {
    "bt709": 1, "bt470m": 4, "bt470bg": 5, "smpte170m": 6, "smpte240m": 7, "film": 8, "bt2020": 9,
    "smpte428": 10, "smpte431": 11, "smpte432": 12, "ebu3213": 22,
}  # fmt: skip
_TRANSFERS = {
    "bt709": 1, "bt470m": 4, "bt470bg": 5, "smpte170m": 6, "smpte240m": 7, "linear": 8, "log100": 9,
    "log316": 10, "iec61966-2-4": 11, "bt1361e": 12, "iec61966-2-1": 13, "bt2020-10": 14, "bt2020-12": 15,
    "smpte2084": 16, "smpte428": 17, "arib-std-b67": 18,
}  # fmt: skip


def chain_frames(
    chain: Chain | str,
    source: str | os.PathLike[str],
    *,
    mask: str | os.PathLike[str] | None = None,
    damaged: str = "error",
    ffmpeg: str | os.PathLike[str] | None = None,
) -> ChainFrames:
    """The frames of a file after a chain, as ``chain.run`` would encode them.

        for frame in clarivid.Chain(clarivid.SuperResolution("game_x2")).frames("in.mp4"): ...

    Frames are yuv420p, nv12 or yuv420p10le. What leaves the chain in another format is converted by ffmpeg's
    ``scale`` to the nearest of these; p010le becomes yuv420p10le, with the same codes. They come in host
    memory and the chain runs there: for work on a GPU call the objects on frames (``Frame.to_device``), or
    ``chain.run`` with ``hwaccel="cuda"``.

    Args:
        chain: a chain, or text as for ffmpeg's ``-vf``.
        source: a file that ffmpeg reads.
        mask: a video or picture that says what ``mesh_inpaint`` takes away: its second input.
        damaged: ``error``: a source that is damaged or ends in the middle is an error after its last good
            frame; ``accept``: it just ends.
        ffmpeg: the program, with ffprobe beside it; None for the one that ``clarivid ffmpeg build`` made.

    Raises:
        clarivid.InputError: the source is no video, has no video stream, or chain and mask do not fit; while
            frames come also: the source is damaged or ends in the middle.
        clarivid.ToolError: there is no ffmpeg, or it fails; its last lines are in the message.
    """
    return ChainFrames(chain, source, mask, damaged, ffmpeg)


class ChainFrames(Iterator[Frame]):
    """What :func:`chain_frames` gives: an iterator with a running ffmpeg behind it.

    ffmpeg waits while nobody takes frames, and is killed by :meth:`close`, by the end of a ``with``, by
    an error, and when the iterator is let go of. Frames stay valid. Threads may share it: each frame goes to
    one of them.
    """

    def __init__(
        self,
        chain: Chain | str,
        source: str | os.PathLike[str],
        mask: str | os.PathLike[str] | None,
        damaged: str,
        ffmpeg: str | os.PathLike[str] | None,
    ) -> None:
        if damaged not in ("error", "accept"):
            raise InputError(f'damaged="{damaged}" is unknown: it is error or accept')
        import_av()
        self._chain = Chain.from_ffmpeg(chain) if isinstance(chain, str) else chain
        self._damaged = damaged
        self._program, ffprobe = programs(None if ffmpeg is None else Path(ffmpeg))
        masking = None if mask is None else Path(mask)
        check_mask(self._chain, masking)
        self._source: Input = probe(Path(source), ffprobe)
        if masking is not None:
            probe(masking, ffprobe)
        words = [str(self._program), "-nostdin", "-hide_banner", "-loglevel", LOG_LEVEL, "-nostats"]
        words += ["-xerror"] if damaged == "error" else []
        words += ["-i", f"file:{self._source.path}"]
        words += [] if masking is None else ["-i", f"file:{masking}"]
        graph = self._chain.to_ffmpeg(graph=True).removesuffix("[out]")
        words += ["-filter_complex", f"{graph},format=pix_fmts={_FORMATS}[out]", "-map", "[out]"]
        # As the runner does it: each frame at its own time, none moved to a frame rate's grid or dropped.
        words += ["-fps_mode", "vfr", *exact_times(self._program)]
        words += ["-c:v", "rawvideo", "-f", "nut", "pipe:1"]
        self._log, self._described = Log(), threading.Event()
        self._colour: dict[str, Any] = {}
        self._start, self._count, self._seconds = time.monotonic(), 0, 0.0
        try:
            self._process = subprocess.Popen(
                words, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, bufsize=0
            )
        except OSError as error:
            raise ToolError(f"{self._program} cannot be started: {error.strerror}") from error
        # Neither the listener nor the finaliser may hold this object.
        self._listener = threading.Thread(
            target=_listen, args=(self._process, self._log, self._colour, self._described), daemon=True
        )
        self._listener.start()
        self._end = weakref.finalize(self, _kill, self._process, self._listener)
        self._lock = threading.Lock()
        self._frames = _frames(self._process)

    def __next__(self) -> Frame:
        with self._lock:
            if not self._end.alive:
                raise StopIteration
            av = import_av()
            try:
                picture, stream = next(self._frames)
            except StopIteration:
                self._finish("")
                raise
            except (av.FFmpegError, OSError, ValueError) as error:
                self._finish(reason(error))
                raise StopIteration from None  # closed by another thread
            except BaseException:
                self._end()
                raise
            self._described.wait(_PATIENCE)  # the line comes before the first frame, on another pipe
            frame = frame_of(picture, stream, self._source.path, None, dict(self._colour))
            self._count += 1
            if frame.time is not None:
                step = (frame.duration or 0) * (frame.time_base or 0)
                self._seconds = max(self._seconds, float(frame.time + step))
            return frame

    def __enter__(self) -> ChainFrames:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Kills ffmpeg, if it still runs. A second call does nothing."""
        self._end()

    def _finish(self, unread: str) -> None:
        """After the last frame: what ffmpeg says of itself. Raises when it failed."""
        if not self._end.alive:
            return
        try:
            code = self._process.wait(_PATIENCE)
        except subprocess.TimeoutExpired:  # it writes what is no NUT
            code = -1
        self._listener.join(_PATIENCE)
        self._end()
        state = Progress(self._seconds, self._source.seconds, self._count, 0.0, 0.0)
        ended = Ended(code, state, time.monotonic() - self._start, self._log)
        if code:
            raise failure(ended, self._chain, self._source, self._source.path, self._program, "rawvideo")
        if unread and self._count:
            raise ToolError(f"what ffmpeg wrote cannot be read: {unread}")
        if not self._count:
            raise ToolError(f"no frame came out of the chain '{self._chain}' for {self._source.path}")
        kinds = tuple(one.kind for one in self._chain.filters)
        if self._damaged == "error" and (short := shortness(ended, self._source, kinds)):
            raise InputError(short)


def _frames(process: subprocess.Popen[bytes]) -> Generator[tuple[Any, Any], None, None]:
    av = import_av()
    assert process.stdout is not None
    with av.open(process.stdout, format="nut", buffer_size=_BUFFER) as container:
        stream = container.streams.video[0]
        for picture in container.decode(stream):
            yield picture, stream


def _kill(process: subprocess.Popen[bytes], listener: threading.Thread) -> None:
    if process.poll() is None:
        process.kill()
    process.wait()
    listener.join(_PATIENCE)
    for pipe in (process.stdout, process.stderr):
        if pipe is not None:
            pipe.close()


def _listen(
    process: subprocess.Popen[bytes], log: Log, colour: dict[str, Any], described: threading.Event
) -> None:
    """Reads all that ffmpeg says, so that it never waits for a reader."""
    assert process.stderr is not None
    output = False
    try:
        for raw in process.stderr:
            line = raw.decode("utf-8", "replace")
            log.add(line)
            if described.is_set():
                continue
            if "Output #0" in line:
                output = True
            elif output and "Stream #0:0" in line and "Video: rawvideo" in line:
                colour.update(colour_of(line))
                described.set()
    except ValueError:  # closed meanwhile
        pass
    finally:
        described.set()


def colour_of(line: str) -> dict[str, Any]:
    """Properties of a Frame from ffmpeg's description of a stream.

    Such as ``Stream #0:0: Video: rawvideo (NV12 / 0x3231564E), nv12(tv, bt709/bt709/smpte2084, left), ...``:
    matrix / primaries / transfer, or one name when all are the same.
    """
    found = re.search(rf", (?:{_FORMATS})\(([^)]*)\)", line)
    said: dict[str, Any] = {}
    for word in found[1].split(", ") if found else ():
        parts = word.split("/")
        if word in _RANGES:
            said["range"] = _RANGES[word]
        elif word in _SITINGS:
            said["siting"] = _SITINGS[word]
        elif len(parts) == 3 or word in _PRIMARIES or word in _TRANSFERS or word in _NAMES:
            matrix, primaries, transfer = parts if len(parts) == 3 else (word, word, word)
            said["matrix"] = _NAMES.get(matrix, "unspecified")
            said["primaries"] = _PRIMARIES.get(primaries, 2)
            said["transfer"] = _TRANSFERS.get(transfer, 2)
    return said


__all__ = ["ChainFrames", "chain_frames"]
