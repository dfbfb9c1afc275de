# SPDX-License-Identifier: BSD-2-Clause
"""Every method on every clip at every point; what is done is kept, so that a run that was stopped goes on.

In the cache's ``sr-bench/``: ``results/<key>.json``, what a method made of an encode (a digest of its
samples, and what the encode took), and ``scores/<key>.json``, scores of these samples against those of the
reference. A filter that is rebuilt and gives the same samples finds its scores again.
"""

from __future__ import annotations

import hashlib
import os
import re
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from clarivid import ffmpeg
from clarivid.clips import Clip, encoder
from clarivid.errors import ToolError
from clarivid.ffmpeg.run import LOSSLESS
from clarivid.models import find_model
from clarivid.paths import cache_dir, sha256_of
from clarivid.rd import scores as libvmaf
from clarivid.rd.encode import encode
from clarivid.rd.plan import Encoder
from clarivid.rd.prepare import read_pictures
from clarivid.rd.run import program_version
from clarivid.rd.store import Store
from clarivid.rd.tools import QUIET, StoppedError, Stream, Tools, probe
from clarivid.sr_bench import easu, scores
from clarivid.sr_bench.plan import Method, Plan, Point

FPS = 25.0
_HALVED = "scale=iw/2:ih/2:flags=bicubic"
# The encode before, of clips that are encoded twice: what a live sender or an upload has.
_BEFORE = ("-c:v", "libx264", "-preset", "veryfast", "-crf", "21", "-threads", "1")

Progress = Callable[[int, int, str], None]
Picture = tuple[NDArray[Any], NDArray[Any], NDArray[Any]]


@dataclass(frozen=True)
class Row:
    """One result: ``size`` of the reference in luma samples, ``kbps`` of the encode, ``scores`` by
    :data:`clarivid.sr_bench.scores.NAMES`."""

    clip: str
    kind: str
    codec: str
    crf: float
    method: str
    size: tuple[int, int]
    frames: int
    kbps: float
    scores: dict[str, float | None]


def run(
    plan: Plan,
    *,
    jobs: int | None = None,
    progress: Progress = lambda _done, _total, _note: None,
    fresh: bool = False,
    program: Path | None = None,
    keep: Path | None = None,
    store: Store | None = None,
) -> tuple[list[Row], list[str]]:
    """The rows in the order of the plan, and a sentence for each clip that this machine cannot make.

    :param jobs: clips at a time; None for as many as there are cores.
    :param progress: called with results done, results in all, and what has just been done.
    :param fresh: measure what is known already, too.
    :param program: the ffmpeg with our filters; None for clarivid's own.
    :param keep: a folder for the files: reference, encode and results of each clip and point.

    Raises :class:`clarivid.Error` of the first method that fails; what was done stays done.
    """
    return _Run(plan, progress, fresh, program, keep, store or Store(cache_dir() / "sr-bench")).rows(
        jobs or len(os.sched_getaffinity(0))
    )


class _Run:
    def __init__(
        self,
        plan: Plan,
        progress: Progress,
        fresh: bool,
        program: Path | None,
        keep: Path | None,
        store: Store,
    ) -> None:
        self._plan, self._progress, self._fresh, self._keep = plan, progress, fresh, keep
        self._given, self._store, self._tools = program, store, Tools()
        self._version = program_version(self._tools)
        self._lock = threading.Lock()
        self._done = 0

    def rows(self, jobs: int) -> tuple[list[Row], list[str]]:
        missing: list[str] = []
        with ThreadPoolExecutor(jobs) as pool:
            futures = [pool.submit(self._clip, clip, missing) for clip in self._plan.clips]
            try:
                wait(futures, return_when=FIRST_EXCEPTION)
                errors = [error for f in futures if f.done() and (error := f.exception()) is not None]
                for error in sorted(errors, key=lambda error: isinstance(error, StoppedError)):
                    raise error
                return [row for future in futures for row in future.result()], missing
            finally:
                self._tools.stop()
                pool.shutdown(wait=True, cancel_futures=True)

    @cached_property
    def _built(self) -> tuple[Path, str]:
        """The program with our filters, and what stands for it in keys."""
        if self._given is not None:
            stat = self._given.resolve().stat()
            return self._given, f"{self._given.resolve()} {stat.st_size} {stat.st_mtime_ns}"
        built = ffmpeg.find()
        return built.ffmpeg, built.root.name

    @cached_property
    def _series(self) -> str:
        out, _ = self._tools.run([str(self._built[0]), "-version"], "ffmpeg does not start")
        return out.splitlines()[0].partition(" Copyright")[0]

    def _clip(self, clip: Clip, missing: list[str]) -> list[Row]:
        try:
            reference = clip.reference()
        except ToolError as error:
            with self._lock:
                missing.append(f"{clip.name} is left out: {error}")
            for _ in range(len(self._plan.points) * len(self._plan.all_methods())):
                self._tick(f"{clip.name}: left out")
            return []
        with self._store.temporary() as work:
            one = _Clip(self, clip, reference, work)
            return [row for point in self._plan.points for row in one.point(point)]

    def _tick(self, note: str) -> None:
        with self._lock:
            self._done += 1
            self._progress(self._done, self._plan.steps(), note)


class _Clip:
    """The work on one clip, in one thread: its reference is read once."""

    def __init__(self, run: _Run, clip: Clip, reference: Path, work: Path) -> None:
        self._run, self._clip, self._work = run, clip, work
        self._tools, self._store = run._tools, run._store
        self._frames = min(run._plan.frames, clip.frames)
        self._reference = work / "reference.mkv"
        self._ffmpeg(reference, ["-frames:v", str(self._frames), *LOSSLESS], self._reference)
        self._stream = probe(self._reference, self._tools)
        self._digest = self._digest_of(self._reference)

    @cached_property
    def _judge(self) -> scores.Judge:
        return scores.Judge(list(self._luma(self._reference)))

    @cached_property
    def _half(self) -> Path:
        """The low side before the encode that counts."""
        path = self._work / "half.mkv"
        self._ffmpeg(self._reference, ["-vf", _HALVED, *LOSSLESS], path)
        if not self._clip.twice:
            return path
        coded, again = self._work / "before.mkv", self._work / "again.mkv"
        self._ffmpeg(path, [*_BEFORE], coded)
        self._ffmpeg(coded, [*LOSSLESS], again)
        return again

    def point(self, point: Point) -> list[Row]:
        """All methods after one encode."""
        low: list[Any] = []  # path and bits, made when the first method needs it

        def encoded() -> tuple[Path, float]:
            if not low:
                low.extend(self._encode(point))
            return low[0], low[1]

        rows = []
        for method in self._run._plan.all_methods():
            kbps, found = self._result(point, method, encoded)
            rows.append(
                Row(
                    self._clip.name,
                    self._clip.kind,
                    point.codec,
                    point.crf,
                    method.name,
                    (self._stream.width, self._stream.height),
                    self._frames,
                    kbps,
                    found,
                )
            )
            self._run._tick(f"{self._clip.name} {point.label} {method.name}")
        return rows

    def _result(
        self, point: Point, method: Method, encoded: Callable[[], tuple[Path, float]]
    ) -> tuple[float, dict[str, float | None]]:
        run = self._run
        key = self._store.key(
            "result",
            self._digest,
            point.codec,
            point.crf,
            self._clip.twice,
            run._version,
            *self._identity(method),
        )
        made: Path | None = None
        record = None if run._fresh or run._keep else self._store.load("results", key)
        if record is None:
            made, kbps = self._make(point, method, encoded)
            record = {"digest": self._digest_of(made), "kbps": kbps}
            self._store.save("results", key, record)
        score_key = self._store.key("score", scores.VERSION, self._digest, record["digest"], run._version)
        known = None if run._fresh else self._store.load("scores", score_key)
        if known is None:
            if made is None:
                made, _ = self._make(point, method, encoded)
            known = self._score(made)
            self._store.save("scores", score_key, known)
        if made is not None and run._keep is None:
            made.unlink()
        return float(record["kbps"]), {name: known[name] for name in scores.NAMES}

    def _identity(self, method: Method) -> list[object]:
        """What a method's samples depend on."""
        if method.python:
            return [method.python, easu.VERSION]
        assert method.filters is not None
        filters = method.filters[self._clip.net]
        if "dnn_sr" in filters:
            return [filters, self._run._built[1], *model_files(filters)]
        return [filters, self._run._series]

    def _make(
        self, point: Point, method: Method, encoded: Callable[[], tuple[Path, float]]
    ) -> tuple[Path, float]:
        low, kbps = encoded()
        folder = self._folder(point)
        out = folder / f"{method.name}.mkv"
        if method.python:
            self._python(method, low, out)
        else:
            assert method.filters is not None
            program = str(self._run._built[0])
            options = ["-vf", method.filters[self._clip.net], *LOSSLESS]
            what = f"{method.name} failed on {self._clip.name}"
            self._ffmpeg(low, options, out, program, what)
        got = probe(out, self._tools)
        if (got.width, got.height) != (self._stream.width, self._stream.height):
            raise ToolError(
                f"{method.name} makes {got.width}x{got.height} of {self._clip.name}, not "
                f"{self._stream.width}x{self._stream.height}"
            )
        return out, kbps

    def _folder(self, point: Point) -> Path:
        keep = self._run._keep
        folder = folder_of(keep, self._clip.name, point) if keep else self._work
        folder.mkdir(parents=True, exist_ok=True)
        if keep:
            target = folder / "reference.mkv"
            target.unlink(missing_ok=True)
            target.write_bytes(self._reference.read_bytes())
        return folder

    def _encode(self, point: Point) -> tuple[Path, float]:
        folder = self._folder(point)
        coded, low = folder / "coded.mkv", self._work / f"low-{point.codec}-{point.crf:g}.mkv"
        done = encode(
            self._half,
            coded,
            Encoder(point.codec),
            "crf",
            point.crf,
            frames=self._frames,
            fps=FPS,
            tools=self._tools,
        )
        self._ffmpeg(coded, [*LOSSLESS], low)
        return low, 8e-3 * sum(done.packets) * FPS / self._frames

    def _python(self, method: Method, low: Path, out: Path) -> None:
        stream = probe(low, self._tools)
        pictures = [
            easu.METHODS[method.python](picture, _depth(stream)) for picture in self._pictures(low, stream)
        ]
        raw = out.with_suffix(".yuv")
        raw.write_bytes(b"".join(plane.tobytes() for picture in pictures for plane in picture))
        command = [encoder(), *QUIET, "-f", "rawvideo", "-pix_fmt", stream.pix_fmt, "-r", f"{FPS:g}"]
        command += ["-s", f"{2 * stream.width}x{2 * stream.height}", "-i", str(raw), *LOSSLESS, str(out)]
        self._tools.run(command, f"cannot store what {method.name} made of {self._clip.name}")
        raw.unlink()

    def _score(self, path: Path) -> dict[str, Any]:
        with self._store.temporary() as folder:
            found = libvmaf.score(path, self._reference, self._frames, folder, self._tools, scores.LIBVMAF)
        result = list(self._luma(path))
        if len(result) != self._frames:
            raise ToolError(f"{path.stem} gave {len(result)} of {self._frames} frames of {self._clip.name}")
        return {**found, **self._judge.score(result)}

    def _ffmpeg(
        self, source: Path, options: Sequence[str], out: Path, program: str = "", what: str = ""
    ) -> None:
        command = [program or encoder(), *QUIET, "-i", str(source), "-map", "0:v:0", "-an"]
        command += ["-fps_mode", "passthrough", *options, str(out)]
        self._tools.run(command, what or f"cannot make {out.name} of {self._clip.name}")

    def _pictures(self, path: Path, stream: Stream) -> Iterator[Picture]:
        command = [encoder(), *QUIET, "-i", str(path), "-map", "0:v:0", "-fps_mode", "passthrough"]
        command += ["-f", "rawvideo", "-pix_fmt", stream.pix_fmt, "-"]
        with self._tools.reading(command) as pipe:
            yield from read_pictures(pipe, stream.width, stream.height, stream.pix_fmt)

    def _luma(self, path: Path) -> Iterator[scores.Luma]:
        scale = 2.0 ** (8 - _depth(self._stream))
        for picture in self._pictures(path, self._stream):
            yield picture[0].astype(np.float32) * np.float32(scale)

    def _digest_of(self, path: Path) -> str:
        digest = hashlib.sha256(f"{self._stream.width}x{self._stream.height} {self._stream.pix_fmt}".encode())
        for picture in self._pictures(path, self._stream):
            for plane in picture:
                digest.update(plane.tobytes())
        return digest.hexdigest()


def folder_of(keep: Path, clip: str, point: Point) -> Path:
    """Where the files of a clip at a point are kept: reference.mkv, coded.mkv, and METHOD.mkv of each."""
    return keep / f"{clip}-{point.codec}-{point.crf:g}"


def model_files(filters: str) -> list[str]:
    """Digests of what the models in a chain consist of: an ONNX file, or a bundle's card, which has those of
    its files.

    Raises :class:`clarivid.errors.ModelError` for names that are unknown.
    """
    found = []
    # Values are escaped for the list of options, and all of it for the graph.
    options = re.sub(r"\\(.)", r"\1", filters)
    for value in re.findall(r"\bmodel=((?:[^:,\\]|\\.)+)", options):
        name = re.sub(r"\\(.)", r"\1", value)
        path = Path(name)
        found.append(sha256_of(path if path.is_file() else find_model(name).folder / "card.json"))
    return found


def _depth(stream: Stream) -> int:
    return 10 if stream.pix_fmt.endswith("10le") else 8
