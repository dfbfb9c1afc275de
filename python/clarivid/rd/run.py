# SPDX-License-Identifier: BSD-2-Clause
"""Running a plan: several jobs at a time, each result kept as soon as it is there."""

from __future__ import annotations

import math
import os
import threading
from collections.abc import Callable, Collection
from concurrent.futures import FIRST_EXCEPTION, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from clarivid.clips import encoder as program
from clarivid.rd import encode, scores
from clarivid.rd.plan import PLAIN, Encoder, Plan, Source, Variant
from clarivid.rd.prepare import Clip, Prepared, Preparer
from clarivid.rd.results import Point, Results, shown_point
from clarivid.rd.store import Store
from clarivid.rd.tools import StoppedError, Tools

T = TypeVar("T")
Progress = Callable[[int, int, str], None]
"""Called with jobs done, jobs in all, and what has just been done. From any thread, one at a time."""


def run(
    plan: Plan,
    *,
    jobs: int | None = None,
    progress: Progress = lambda _done, _total, _note: None,
    fresh: bool = False,
    store: Store | None = None,
) -> Results:
    """Measure what the store does not have yet, and return everything.

    :param jobs: how many encodes at a time; None for the number of cores that this process may use.
    :param fresh: measure everything anew.

    Raises :class:`clarivid.Error` of the first job that fails, after the running ones have been ended. What
    was done stays done.
    """
    return _Run(plan, jobs or len(os.sched_getaffinity(0)), progress, fresh, store or Store()).results()


@dataclass(frozen=True)
class _Job:
    """A point that is to be there."""

    encoder: Encoder
    mode: str
    rate: float
    variant: Variant


@dataclass(frozen=True)
class _Found:
    """Of one clip; see :class:`Results`."""

    clips: dict[tuple[str, str], Clip]
    points: list[Point]
    matched: list[Point]


class _Run:
    def __init__(self, plan: Plan, jobs: int, progress: Progress, fresh: bool, store: Store) -> None:
        self._plan, self._jobs, self._progress, self._fresh = plan, jobs, progress, fresh
        self._store, self._tools = store, Tools()
        self._version = program_version(self._tools)
        self._lock = threading.Lock()
        self._keys: dict[str, threading.Lock] = {}
        self._renewed: set[str] = set()
        self._done, self._total = 0, plan.steps()

    def results(self) -> Results:
        with self._store.temporary() as scratch:
            self._preparer = Preparer(self._store, self._tools, scratch, self._plan.scores, self._fresh)
            return self._results()

    def _results(self) -> Results:
        sources = self._plan.sources
        # One cheap thread a clip hands out its jobs; few clips at a time: few filtered files lie about.
        clip_threads = ThreadPoolExecutor(min(len(sources), max(2, self._jobs)))
        self._pool = ThreadPoolExecutor(self._jobs)
        futures = [clip_threads.submit(self._clip, source) for source in sources]
        try:
            wait(futures, return_when=FIRST_EXCEPTION)
            errors = [error for f in futures if f.done() and (error := f.exception()) is not None]
            # When one job fails the others are stopped; the cause is what should be told.
            for error in sorted(errors, key=lambda error: isinstance(error, StoppedError)):
                raise error
            found = [future.result() for future in futures]
        finally:
            self._tools.stop()
            for pool in (clip_threads, self._pool):
                pool.shutdown(wait=True, cancel_futures=True)
        return Results(
            self._plan,
            {key: clip for one in found for key, clip in one.clips.items()},
            [point for one in found for point in one.points],
            [point for one in found for point in one.matched],
            self._version,
        )

    def _clip(self, source: Source) -> _Found:
        try:
            return self._all_points(source)
        except BaseException:
            self._tools.stop()
            raise

    def _all_points(self, source: Source) -> _Found:
        plan = self._plan
        reference = self._submit(self._preparer.reference, source, plan.frames).result()
        prepared: dict[str, Prepared] = {}
        waiting = {
            variant.name: self._submit(self._prepare, source, variant, reference) for variant in plan.variants
        }
        for name, future in waiting.items():
            prepared[name] = future.result()
        points = self._measure(source, reference, prepared, self._crf_jobs())
        if plan.abr:
            points += self._measure(source, reference, prepared, self._abr_jobs(points))
        matched = self._measure(source, reference, prepared, self._matched_jobs(points))
        for entry in prepared.values():
            entry.path.unlink(missing_ok=True)
        return _Found({(source.name, name): entry.clip for name, entry in prepared.items()}, points, matched)

    def _crf_jobs(self) -> list[_Job]:
        return [
            _Job(encoder, "crf", rate, variant)
            for encoder in self._plan.encoders
            for variant in self._plan.variants
            for rate in encoder.crf
        ]

    def _abr_jobs(self, points: list[Point]) -> list[_Job]:
        """At the mean bitrates that the plain clip got at each CRF, or at those that the plan names."""
        jobs = []
        for encoder in self._plan.encoders:
            if isinstance(self._plan.abr, tuple):
                rates = sorted(set(self._plan.abr))
            else:
                own = [p for p in points if p.encoder == encoder.label and p.variant == PLAIN]
                rates = [float(max(1, round(p.kbps))) for p in own]
            jobs += [_Job(encoder, "abr", rate, v) for v in self._plan.variants_of("abr") for rate in rates]
        return jobs

    def _matched_jobs(self, points: list[Point]) -> list[_Job]:
        """For pictures side by side: each variant at the CRF that should give plain's bitrate."""
        encoder = self._plan.encoders[0]
        curves: dict[str, list[Point]] = {}
        for point in points:
            if point.encoder == encoder.label and point.mode == "crf":
                curves.setdefault(point.variant, []).append(point)
        target = shown_point(curves[PLAIN]).kbps
        return [
            _Job(encoder, "crf", crf_for(target, curves[variant.name]), variant)
            for variant in self._plan.variants
            if variant.name != PLAIN
        ]

    def _measure(
        self, source: Source, reference: Prepared, prepared: dict[str, Prepared], jobs: list[_Job]
    ) -> list[Point]:
        futures = [
            self._submit(self._point, source, reference, prepared[job.variant.name], job) for job in jobs
        ]
        return [future.result() for future in futures]

    def _prepare(self, source: Source, variant: Variant, reference: Prepared) -> Prepared:
        result = self._preparer.variant(source, variant, reference)
        self._tick(f"{source.name} {variant.name}")
        return result

    def _point(self, source: Source, reference: Prepared, prepared: Prepared, job: _Job) -> Point:
        """One encode with its scores, from the store or by work."""
        options = encode.arguments(job.encoder, job.mode, job.rate)
        key = self._store.key(
            "point",
            reference.clip.digest,
            prepared.clip.digest,
            f"{reference.clip.fps:g}",
            options,
            self._version,
        )
        stream = self._store.path("points", key, ".mkv")
        with self._lock:
            mine = self._keys.setdefault(key, threading.Lock())
        with mine:  # A variant may have the samples of another one: the second to come finds it done.
            record = self._store.load("points", key)
            if record is None or not stream.is_file() or (self._fresh and key not in self._renewed):
                record = self._encode(reference, prepared, job, key)
                self._renewed.add(key)
            elif missing := [name for name in self._plan.scores if name not in record["scores"]]:
                record["scores"] |= self._score(reference, stream, missing)
                self._store.save("points", key, record)
        self._tick(f"{source.name} {job.encoder.label} {job.mode} {job.rate:g} {job.variant.name}")
        name, fps = job.variant.name, reference.clip.fps
        return Point(source.name, job.encoder.label, job.mode, job.rate, name, fps, stream, record)

    def _encode(self, reference: Prepared, prepared: Prepared, job: _Job, key: str) -> dict[str, Any]:
        prepared.restore()
        with self._store.temporary() as folder:
            draft = folder / "encode.mkv"
            done = encode.encode(
                prepared.path,
                draft,
                job.encoder,
                job.mode,
                job.rate,
                frames=reference.clip.frames,
                fps=reference.clip.fps,
                tools=self._tools,
            )
            record: dict[str, Any] = {
                "bits": 8 * sum(done.packets),
                "packets": done.packets,
                "scores": self._score(reference, draft, self._plan.scores),
                "seconds": round(done.seconds, 3),
                "commands": done.commands,
            }
            self._store.keep(draft, "points", key)
        self._store.save("points", key, record)
        return record

    def _score(self, reference: Prepared, stream: Path, names: Collection[str]) -> dict[str, float]:
        reference.restore()
        with self._store.temporary() as folder:
            return scores.score(stream, reference.path, reference.clip.frames, folder, self._tools, names)

    def _submit(self, function: Callable[..., T], *arguments: Any) -> Future[T]:
        return self._pool.submit(function, *arguments)

    def _tick(self, note: str) -> None:
        with self._lock:
            self._done += 1
            self._progress(self._done, self._total, note)


def crf_for(kbps: float, curve: list[Point]) -> float:
    """The CRF at which a curve reaches a bitrate: interpolated in its logarithm, to a tenth."""
    known = sorted((math.log(point.kbps), point.rate) for point in curve)
    rates = [rate for _, rate in known]
    return round(float(np.interp(math.log(kbps), [place for place, _ in known], rates)), 1)


def program_version(tools: Tools) -> str:
    """The first line of ``ffmpeg -version``: part of each point's key, for its encoders come with it."""
    out, _ = tools.run([program(), "-version"], "ffmpeg does not start")
    return out.splitlines()[0].partition(" Copyright")[0]
