# SPDX-License-Identifier: BSD-2-Clause
"""Scores of every pair of frames, in one pass.

One ffmpeg a file decodes and scales; we pick the frames that belong together, note how far A and B are
apart, and hand the frames on to an ffmpeg with libvmaf. So frames can be paired in any way, and nothing is
written to disk.
"""

from __future__ import annotations

import json
import os
import queue
import subprocess
import tempfile
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from clarivid.clips import encoder
from clarivid.compare.canvas import Canvas
from clarivid.compare.media import VIDEO, Media, end, started
from clarivid.compare.pairing import Pairing
from clarivid.errors import ToolError, last_line
from clarivid.quality import POOLED, VMAF_MODELS

_AHEAD = 2  # frames that wait for the scoring ffmpeg, for each of its inputs


@dataclass(frozen=True)
class Scored:
    """What the pass found.

    :ivar scores: by label of the file that is judged, then by score: a value for each pair.
    :ivar difference: [pairs]: mean square of luma A minus luma B, in 8-bit code values.
    """

    scores: Mapping[str, Mapping[str, NDArray[np.float64]]]
    difference: NDArray[np.float64]


def score(
    files: Mapping[str, Media],
    pairing: Pairing,
    canvas: Canvas,
    names: Sequence[str],
    progress: Callable[[int], None] = lambda pairs: None,  # noqa: ARG005
) -> Scored:
    """Score A and B against the third file, or B against A when there are two.

    :param files: by their labels: A, B and, when there is one, the reference.
    :param names: which scores; see :mod:`clarivid.quality`.
    :param progress: called with the number of pairs done.

    Raises :class:`ToolError` when ffmpeg fails.
    """
    labels = list(files)
    judged = labels[:2] if len(labels) == 3 else labels[1:]
    difference = np.zeros(len(pairing))
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="clarivid-compare-")))
        streams = [
            stack.enter_context(_Frames(media, pairing.indices[:, n], canvas))
            for n, media in enumerate(files.values())
        ]
        judge = stack.enter_context(_Judge(len(labels), canvas, names, folder))
        for number in range(len(pairing)):
            frames = [next(stream) for stream in streams]
            difference[number] = _apart(frames[0], frames[1], canvas)
            judge.feed(frames)
            progress(number + 1)
        judge.finish()
        scores = {label: _read(folder / f"{n}.json", names, len(pairing)) for n, label in enumerate(judged)}
    return Scored(scores, difference)


def _apart(a: bytes, b: bytes, canvas: Canvas) -> float:
    """Mean square of the difference of luma, in 8-bit code values."""
    deep = canvas.pix_fmt.endswith("le")
    count = canvas.width * canvas.height
    planes = [np.frombuffer(frame, "<u2" if deep else np.uint8, count).astype(np.float32) for frame in (a, b)]
    change = planes[0] - planes[1]
    return float(np.dot(change, change)) / count / (16 if deep else 1)


class _Frames:
    """The frames of one file that a pairing names, in turn, as they lie in a raw video."""

    def __init__(self, media: Media, indices: NDArray[np.int64], canvas: Canvas) -> None:
        self._media, self._indices, self._canvas = media, indices, canvas
        self._stack = ExitStack()
        self._at, self._number, self._frame = 0, -1, b""

    def __enter__(self) -> _Frames:
        last = int(self._indices[-1])
        command = [encoder(), "-nostdin", "-hide_banner", "-nostats", "-loglevel", "error"]
        command += [
            "-i",
            str(self._media.path.resolve()),
            "-map",
            VIDEO,
            "-vf",
            self._canvas.planes(self._media),
        ]
        command += ["-fps_mode", "passthrough", "-frames:v", str(last + 1), "-f", "rawvideo", "-"]
        self._process, self._messages = self._stack.enter_context(started(command))
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def __iter__(self) -> Iterator[bytes]:
        return self

    def __next__(self) -> bytes:
        wanted = int(self._indices[self._at])
        self._at += 1
        assert self._process.stdout is not None
        while self._number < wanted:
            frame = self._process.stdout.read(self._canvas.frame_bytes)
            if len(frame) < self._canvas.frame_bytes:
                raise ToolError(
                    f"{self._media.path} gave {self._number + 1} frames instead of {self._media.frames}: "
                    f"{last_line(self._messages())}"
                )
            assert isinstance(frame, bytes)
            self._frame, self._number = frame, self._number + 1
        return self._frame


class _Judge:
    """An ffmpeg with libvmaf that reads raw frames from one pipe a file."""

    def __init__(self, inputs: int, canvas: Canvas, names: Sequence[str], folder: Path) -> None:
        self._folder = folder
        pipes = [os.pipe() for _ in range(inputs)]
        command = [encoder(), "-nostdin", "-hide_banner", "-nostats", "-loglevel", "error"]
        size = f"{canvas.width}x{canvas.height}"
        for out, _ in pipes:
            command += ["-f", "rawvideo", "-pix_fmt", canvas.pix_fmt, "-video_size", size, "-framerate", "25"]
            command += ["-i", f"pipe:{out}"]
        command += ["-filter_complex", _graph(inputs, names)]
        for number in range(max(inputs - 1, 1)):
            command += ["-map", f"[o{number}]", "-f", "null", "-"]
        self._errors = tempfile.TemporaryFile()  # noqa: SIM115
        try:
            self._process = subprocess.Popen(
                command,
                cwd=folder,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=self._errors,
                pass_fds=[out for out, _ in pipes],
            )
        except OSError as error:
            for _, into in pipes:
                os.close(into)
            self._errors.close()
            raise ToolError(f"{command[0]} cannot be started: {error.strerror}") from error
        finally:
            for out, _ in pipes:
                os.close(out)
        self._queues: list[queue.Queue[bytes | None]] = [queue.Queue(_AHEAD) for _ in pipes]
        self._writers = [
            threading.Thread(target=_write, args=(into, waiting), daemon=True)
            for (_, into), waiting in zip(pipes, self._queues, strict=True)
        ]
        for writer in self._writers:
            writer.start()

    def __enter__(self) -> _Judge:
        return self

    def __exit__(self, *_: object) -> None:
        end(self._process)  # its pipes break, so that writers drain their queues and come to the end
        for waiting, writer in zip(self._queues, self._writers, strict=True):
            if writer.is_alive():
                waiting.put(None)
                writer.join()
        self._errors.close()

    def feed(self, frames: Sequence[bytes]) -> None:
        """Hand on one pair; waits while the judge is busy."""
        if self._process.poll() is not None:
            self.finish()
        for frame, waiting in zip(frames, self._queues, strict=True):
            waiting.put(frame)

    def finish(self) -> None:
        """No more frames; wait for the logs. Raises :class:`ToolError`."""
        for waiting in self._queues:
            waiting.put(None)
        for writer in self._writers:
            writer.join()
        if self._process.wait():
            self._errors.seek(0)
            said = self._errors.read().decode(errors="replace")
            raise ToolError(f"cannot score the frames: {last_line(said)}")


def _write(into: int, waiting: queue.Queue[bytes | None]) -> None:
    """Write frames until there are no more; when nobody reads them, drop them."""
    broken = False
    with open(into, "wb", buffering=0) as pipe:
        while (frame := waiting.get()) is not None:
            view = memoryview(frame)
            while view and not broken:
                try:
                    view = view[pipe.write(view) or 0 :]
                except BrokenPipeError:
                    broken = True


def _graph(inputs: int, names: Sequence[str]) -> str:
    """Each judged input against the last one (of three), or the second against the first (of two)."""
    options = f"log_fmt=json:shortest=0:n_threads={len(os.sched_getaffinity(0))}"
    models = [model for model in VMAF_MODELS.split("|") if model.rpartition("=")[2] in names]
    # Without a model libvmaf takes its default one: so the cheaper of ours stands in when none is wanted.
    options += f":model={'|'.join(models or [VMAF_MODELS.split('|')[0]])}"
    features = {"psnr_y": "name=psnr", "ssim": "name=float_ssim"}
    if wanted := [features[name] for name in names if name in features]:
        options += f":feature={'|'.join(wanted)}"
    if inputs == 2:
        return f"[1:v][0:v]libvmaf={options}:log_path=0.json[o0]"
    judged = ";".join(f"[{n}:v][r{n}]libvmaf={options}:log_path={n}.json[o{n}]" for n in range(2))
    return f"[2:v]split[r0][r1];{judged}"


def _read(log: Path, names: Sequence[str], pairs: int) -> dict[str, NDArray[np.float64]]:
    if not log.is_file():
        raise ToolError("libvmaf wrote no scores")
    frames: list[dict[str, Any]] = json.loads(log.read_text("utf-8"))["frames"]
    if len(frames) != pairs:
        raise ToolError(f"libvmaf scored {len(frames)} frames instead of {pairs}")
    return {name: np.array([float(frame["metrics"][POOLED[name]]) for frame in frames]) for name in names}
