# SPDX-License-Identifier: BSD-2-Clause
"""Every method on every scene; what is done is kept, so that a run that was stopped goes on.

In the cache's ``inpaint-bench/``: ``scores/<key>.json`` and ``results/<key>.mkv`` (what the method made).
A key is a digest of the pictures, the masks, the method with its settings, of our library and the model, and
of the version of the scores.
"""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from clarivid import clips
from clarivid.errors import ToolError, last_line
from clarivid.ffmpeg.run import LOSSLESS
from clarivid.inpaint_bench import scores
from clarivid.inpaint_bench.methods import DILATE, Method
from clarivid.inpaint_bench.scenes import Material, Scene, decode
from clarivid.inpaint_bench.walker import Planes
from clarivid.paths import cache_dir
from clarivid.rd.store import Store

TRUTH = "truth"  # stands for the background itself among the methods: what the scores of a perfect result are


@dataclass
class Outcome:
    """One scene: ``scores`` by the method's name (and :data:`TRUTH`), ``videos`` of what the methods made."""

    scene: Scene
    frames: int
    size: tuple[int, int]
    hole: float  # share of the picture, mean
    scores: dict[str, dict[str, Any]] = field(default_factory=dict)
    videos: dict[str, Path] = field(default_factory=dict)


Tell = Callable[[str], None]


def run(
    scenes: Iterable[Scene],
    methods: Sequence[Method],
    *,
    frames: int | None = None,
    fresh: bool = False,
    progress: Tell = print,
    keep: Store | None = None,
) -> tuple[list[Outcome], list[str]]:
    """The outcomes, and a sentence for each scene that this machine cannot make.

    :param frames: at most so many pictures of each scene.
    :param fresh: measure what is known already, too.
    :param progress: called before each step with what it is.

    Raises :class:`clarivid.Error` when a method fails.
    """
    store = keep or Store(cache_dir() / "inpaint-bench")
    outcomes, missing = [], []
    for scene in scenes:
        progress(f"{scene.name}: making it")
        try:
            material = scene.make(frames)
        except ToolError as error:
            if not scene.needs:
                raise
            missing.append(f"{scene.name} is left out: {error}")
            for _ in methods:
                progress(f"{scene.name}: left out")
            continue
        outcomes.append(_one(scene, material, methods, store, fresh, progress))
    return outcomes, missing


def _one(
    scene: Scene, material: Material, methods: Sequence[Method], store: Store, fresh: bool, progress: Tell
) -> Outcome:
    holes = [scores.grow(mask, DILATE) for mask in material.masks]
    share = sum(float(hole.mean()) for hole in holes) / len(holes)
    outcome = Outcome(scene, len(material.truth), material.size, share)
    digest = material.digest()
    motion: list[scores.Motion | None] = []

    def judge(pictures: Sequence[Planes]) -> dict[str, Any]:
        if not motion:
            motion.extend(scores.motions(material.truth, holes))
        return scores.score(pictures, material.truth, holes, motion)

    key = store.key(scores.VERSION, DILATE, digest, TRUTH)
    record = None if fresh else store.load("scores", key)
    if record is None:
        record = judge(material.truth)
        store.save("scores", key, record)
    outcome.scores[TRUTH] = record
    for method in methods:
        progress(f"{scene.name}: {method.name}")
        key = store.key(scores.VERSION, DILATE, digest, method.name, method.key)
        video = store.path("results", key, ".mkv")
        record = None if fresh else store.load("scores", key)
        if record is None or not video.is_file():
            pictures = method.fill(material)
            if len(pictures) != len(material.truth):
                raise ToolError(
                    f"{method.name} gave {len(pictures)} of {len(material.truth)} pictures of {scene.name}"
                )
            record = judge(pictures)
            with store.temporary() as folder:
                write(folder / "result.mkv", pictures, LOSSLESS)
                store.keep(folder / "result.mkv", "results", key)
            store.save("scores", key, record)
        outcome.scores[method.name] = record
        outcome.videos[method.name] = video
    return outcome


def write(path: Path, pictures: Sequence[Planes], encode: Sequence[str], fps: int = 25) -> None:
    """Pictures as a video. Raises :class:`ToolError` when the encoder fails."""
    height, width = pictures[0][0].shape
    command = [clips.encoder(), "-hide_banner", "-loglevel", "error", "-y", "-f", "rawvideo"]
    command += [
        "-pix_fmt",
        "yuv420p",
        "-s",
        f"{width}x{height}",
        "-r",
        str(fps),
        "-i",
        "-",
        *encode,
        str(path),
    ]
    data = b"".join(plane.tobytes() for picture in pictures for plane in picture)
    done = subprocess.run(command, input=data, capture_output=True, check=False)
    if done.returncode:
        raise ToolError(f"cannot write {path.name}: {last_line(done.stderr.decode(errors='replace'))}")


def read(outcome: Outcome, method: str) -> list[Planes]:
    """What a method made of a scene."""
    return decode(outcome.videos[method], outcome.frames, "null")
