# SPDX-License-Identifier: BSD-2-Clause
"""A chain on many files: several at once, going on where an interruption ended it.

In the outputs' folder a journal (``.clarivid.jsonl``) holds a line for each result that is complete: what
it was made from, and its size and time. A result whose line still fits is kept; one that was made from
something else is made again; a file that is in no line is never replaced without being told.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import json
import os
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import IO, Any, Literal

from clarivid import models
from clarivid.chains.chain import Chain
from clarivid.chains.command import Encoding, check_mask
from clarivid.chains.process import Progress
from clarivid.chains.runner import plan, programs, run
from clarivid.errors import CancelledError, Error, InputError
from clarivid.options import FILTERS
from clarivid.outputs import remove_drafts

JOURNAL = ".clarivid.jsonl"
_VERSION = 1
State = Literal["done", "kept", "failed"]
Tell = Callable[[Path, Progress], None]


@dataclass(frozen=True)
class Item:
    """What became of a source: ``done`` now, ``kept`` from before, or ``failed`` with an ``error``."""

    source: Path
    out: Path
    state: State
    frames: int = 0
    seconds: float = 0.0
    error: str = ""
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Job:
    """A source and its output."""

    source: Path
    out: Path


def jobs_of(sources: Sequence[Path], folder: Path, suffix: str | None) -> list[Job]:
    """The output of each source: its name in ``folder``, with another ``suffix`` if that is given.

    Raises :class:`InputError` when two would be the same, or one a source.
    """
    if suffix is not None and (not suffix.startswith(".") or "/" in suffix or len(suffix) < 2):
        raise InputError(f"suffix={suffix!r} is none: write for example .mp4")
    taken: dict[Path, Path] = {}
    inputs = {source.resolve() for source in sources}
    for source in sources:
        out = folder / (source.name if suffix is None else source.stem + suffix)
        if out in taken:
            raise InputError(
                f"{taken[out]} and {source} would both be written to {out}: give them other folders"
            )
        if out.resolve() in inputs:
            raise InputError(f"{out} is an input: name another folder")
        taken[out] = source
    return [Job(source, out) for out, source in taken.items()]


def run_batch(
    chain: Chain | str,
    sources: Sequence[Path],
    folder: Path,
    *,
    suffix: str | None = None,
    jobs: int = 1,
    mask: Path | None = None,
    how: Encoding | None = None,
    overwrite: bool = False,
    progress: Tell | None = None,
    finished: Callable[[Item], None] | None = None,
    cancel: threading.Event | None = None,
    ffmpeg: Path | None = None,
) -> list[Item]:
    """Run each of ``sources`` through ``chain`` into ``folder``, which is made if it is not there.

    One that fails does not end the others. Interrupted and started again, it goes on: results that are
    complete, and were made from the same source, chain, models, mask and encoding, are kept.

    Args:
        suffix: of the outputs, such as ``.mp4``; None for each source's own.
        jobs: how many run at once.
        how: the encoding; None for x264 as :func:`clarivid.chains.run` does it.
        overwrite: replace files that are there and are not from such a run.
        progress: called with a source and how far it is, from several threads.
        finished: called with each result, from the calling thread.
        cancel: when it is set, what runs is ended, and what has not begun does not begin.

    Returns:
        What became of each source, in their order.

    Raises:
        clarivid.InputError: names that clash, a folder that cannot be written, another run at work in it.
        clarivid.errors.CancelledError: ``cancel`` was set.
    """
    if jobs < 1:
        raise InputError(f"jobs={jobs}: one at least")
    if isinstance(chain, str):
        chain = Chain.from_ffmpeg(chain)
    how = how or Encoding()
    check_mask(chain, mask)
    todo = jobs_of(sources, folder, suffix)
    program = programs(ffmpeg)[0]
    recipe = identity(chain, mask, how)
    stop = cancel or threading.Event()
    items: dict[Path, Item] = {}
    with _Journal.open(folder) as journal:
        for job in todo:
            remove_drafts(job.out)

        def work(job: Job) -> Item:
            if stop.is_set():
                raise CancelledError("the run was cancelled")
            try:
                key = _key(recipe, job.source)
                if journal.has(job.out, key):
                    return Item(job.source, job.out, "kept", journal.frames(job.out))
                done = run(
                    chain,
                    job.source,
                    job.out,
                    mask=mask,
                    **_arguments(how),
                    overwrite=overwrite or journal.made(job.out),
                    progress=None if progress is None else lambda state: progress(job.source, state),
                    cancel=stop,
                    ffmpeg=program,
                )
                journal.add(job.out, key, done.frames)
            except CancelledError:
                raise
            except (Error, OSError) as error:
                return Item(job.source, job.out, "failed", error=str(error))
            return Item(job.source, job.out, "done", done.frames, done.seconds, notes=done.notes)

        with ThreadPoolExecutor(jobs) as pool:
            waiting: set[Future[Item]] = set()
            try:
                waiting = {pool.submit(work, job) for job in todo}
                while waiting:
                    # With a timeout, so that an interruption is seen at once.
                    ready, waiting = wait(waiting, timeout=0.2, return_when=FIRST_COMPLETED)
                    for future in ready:
                        item = future.result()
                        items[item.source] = item
                        if finished is not None:
                            finished(item)
            except BaseException:
                stop.set()  # ffmpeg is killed, and drafts are removed, before this is left
                for future in waiting:
                    future.cancel()
                raise
    return [items[job.source] for job in todo]


def commands(
    chain: Chain, todo: Sequence[Job], mask: Path | None, how: Encoding, ffmpeg: Path | None = None
) -> list[list[str]]:
    """The ffmpeg commands that would be run, with their outputs' own names. Raises :class:`InputError`."""
    program, ffprobe = programs(ffmpeg)
    return [plan(chain, job.source, job.out, mask, how, program, ffprobe)[1].to(job.out) for job in todo]


def _arguments(how: Encoding) -> dict[str, Any]:
    return {
        name: getattr(how, name) for name in ("video_codec", "video_options", "audio", "hwaccel", "damaged")
    }


def identity(chain: Chain, mask: Path | None, how: Encoding) -> str:
    """What of a run decides its results, besides the source: a digest of chain, models, mask and encoding.

    Files that the chain names (boxes, a table of colours, subtitles) count as they are now.
    """
    nets, files = {}, {}
    for one in chain.filters:
        known = FILTERS[one.kind].options if one.kind in FILTERS else ()
        defaults = {option.name: option.default for option in known}
        for key in ("model", "segment"):
            name = one.options.get(key) or defaults.get(key)
            if isinstance(name, str):
                nets[name] = _model(name)
        for value in (*one.arguments, *one.options.values()):
            if isinstance(value, str) and os.path.isfile(value):  # noqa: PTH113, any text, too long for a Path
                files[value] = _file(Path(value))
    told = {
        "chain": str(chain),
        "models": nets,
        "files": files,
        "mask": None if mask is None else _file(mask),
        "encoding": [*how.codec_arguments(), how.audio, how.hwaccel, how.damaged],
    }
    return hashlib.sha256(json.dumps(told, sort_keys=True).encode()).hexdigest()


def _model(name: str) -> object:
    """A bundle's card names the digests of its files."""
    try:
        folder = models.find_model(name).folder
    except Error:  # auto, none, an .onnx file, or an error that ffmpeg tells
        path = Path(name)
        return _file(path) if path.exists() else None
    card = folder / "card.json"
    return hashlib.sha256(card.read_bytes()).hexdigest() if card.is_file() else _file(folder)


def _file(path: Path) -> list[object]:
    """A file is the same when its place, size and time are."""
    try:
        found = path.stat()
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror}") from error
    return [str(path.resolve()), found.st_size, found.st_mtime_ns]


def _key(recipe: str, source: Path) -> str:
    return hashlib.sha256(json.dumps([_VERSION, recipe, _file(source)]).encode()).hexdigest()


class _Journal:
    """Which results in a folder are complete, and from what. Locked as long as it is open."""

    def __init__(self, stream: IO[str], folder: Path) -> None:
        self._stream, self._folder = stream, folder
        self._lock = threading.Lock()
        self._lines: dict[str, dict[str, object]] = {}
        stream.seek(0)
        for text in stream:
            # The last line of a run that was killed may be half one.
            with contextlib.suppress(ValueError, TypeError, KeyError):
                line = json.loads(text)
                self._lines[str(line["out"])] = line
        stream.seek(0, os.SEEK_END)

    @classmethod
    @contextlib.contextmanager
    def open(cls, folder: Path) -> Iterator[_Journal]:
        try:
            folder.mkdir(parents=True, exist_ok=True)
            stream = (folder / JOURNAL).open("a+", encoding="utf-8")
        except OSError as error:
            raise InputError(f"the folder {folder} cannot be written: {error.strerror}") from error
        with stream:
            try:
                fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:
                raise InputError(
                    f"another run is at work in {folder}: wait for it, or name another folder"
                ) from None
            yield cls(stream, folder)

    def has(self, out: Path, key: str) -> bool:
        """Whether ``out`` is complete, untouched since, and made of what ``key`` stands for."""
        line = self._lines.get(out.name)
        return line is not None and line["key"] == key and self.made(out)

    def made(self, out: Path) -> bool:
        """Whether ``out`` is as a run has left it."""
        line = self._lines.get(out.name)
        return line is not None and out.is_file() and line["is"] == _file(out)[1:]

    def frames(self, out: Path) -> int:
        return int(str(self._lines[out.name].get("frames", 0)))

    def add(self, out: Path, key: str, frames: int) -> None:
        line: dict[str, object] = {"out": out.name, "key": key, "is": _file(out)[1:], "frames": frames}
        with self._lock:
            self._lines[out.name] = line
            # A blank line first: the one before may be half one.
            self._stream.write("\n" + json.dumps(line) + "\n")
            self._stream.flush()
            os.fsync(self._stream.fileno())


def as_json(item: Item) -> dict[str, object]:
    """For ``--json``: names as text."""
    return {**asdict(item), "source": str(item.source), "out": str(item.out), "notes": list(item.notes)}


__all__ = ["JOURNAL", "Item", "Job", "as_json", "commands", "identity", "jobs_of", "run_batch"]
