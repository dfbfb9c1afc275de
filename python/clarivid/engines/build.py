# SPDX-License-Identifier: BSD-2-Clause
"""Engines for models, GPUs and picture sizes: made once, found by every process."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import clarivid
from clarivid.blend import sharpness_text
from clarivid.engines import targets
from clarivid.engines.bare import BareModel, with_names
from clarivid.engines.cache import EngineCache, Entry
from clarivid.engines.key import AMPERE, MADE_OF, SHARPNESS, Identity, Key, Profile, digest_of
from clarivid.engines.runtimes import Options, Progress, Runtime
from clarivid.errors import InputError, ModelError
from clarivid.models import Model, verify_model
from clarivid.paths import sha256_of

PRECISIONS = ("fp16", "fp32", "bf16", "int8")
FILES = {"fp32": "model.onnx", "fp16": "model_fp16.onnx"}  # of a bundle


@dataclass(frozen=True)
class Job:
    """One engine that is wanted."""

    model: Model
    device: Identity  # that was asked for
    key: Key
    onnx: bytes
    calibration: Mapping[str, Any] | None  # how near int8 is to fp32 on the CPU

    def text(self) -> str:
        """For a progress display."""
        key = self.key
        sharpness = f" sharpness {key.sharpness:g}" if key.sharpness else ""
        return f"{self.model.name}{sharpness} {key.precision} for {self.device.text()}, {key.profile.text()}"


@dataclass(frozen=True)
class Made:
    """What became of a job."""

    job: Job
    entry: Entry
    built: bool
    seconds: float


@dataclass(frozen=True)
class Failed:
    """A job that came to nothing; ``problem`` is a sentence."""

    job: Job
    problem: str


def plan(
    models: Sequence[Model],
    devices: Sequence[Identity],
    profiles: Callable[[Model], Sequence[Profile]],
    precision: str,
    runtime: Runtime,
    options: Options,
    videos: Sequence[Path] = (),
    refused: Callable[[Identity, str], None] | None = None,
) -> list[Job]:
    """The engines that this amounts to, each once. Nothing is built yet, but everything is checked.

    ``models`` may be at a sharpness (:func:`clarivid.blend.blended`).
    ``videos`` calibrate int8. ``refused`` gets each device that cannot be built for, and why, and the others
    are planned; without it that raises. Raises :class:`InputError`, :class:`ModelError` (a form that missed
    its parity gate), :class:`ToolError`.
    """
    jobs: dict[str, Job] = {}
    good_for: dict[Identity, Identity] = {}
    for device in devices:
        try:
            if precision == "bf16" and device.sm < AMPERE:
                raise InputError(
                    f"{device.text()} has no bf16, which came with sm_{AMPERE}: take fp16 or fp32"
                )
            good_for[device] = runtime.target(device, options)
        except InputError as error:
            if refused is None:
                raise
            refused(device, str(error))
    if not good_for:
        return []
    for model in models:
        bare = isinstance(model, BareModel)
        if not bare:
            verify_model(model)
        onnx, calibration = onnx_of(model, precision, videos)
        if bare:
            onnx = with_names(onnx)
        digest = hashlib.sha256(onnx).hexdigest()
        arguments = options.arguments()
        if bare or precision not in FILES:  # what the loader compares with the bundle
            arguments[MADE_OF] = sha256_of(model.onnx)
        if model.sharpness:
            arguments[SHARPNESS] = sharpness_text(model.sharpness)
        for device, target in good_for.items():
            for profile in profiles(model):
                key = Key(
                    model.name,
                    digest,
                    precision,
                    profile,
                    runtime.name,
                    runtime.version,
                    target,
                    arguments,
                )
                jobs.setdefault(key.digest, Job(model, device, key, onnx, calibration))
    return list(jobs.values())


def digests_of(model: Model) -> dict[str, str]:
    """Precision -> SHA-256 of the bundle's ONNX of it, for :meth:`Key.is_of`."""
    paths = {precision: _file(model, precision) for precision, name in FILES.items() if name in model.files}
    return {precision: sha256_of(path) for precision, path in paths.items() if path.is_file()}


def _file(model: Model, precision: str) -> Path:
    return model.onnx if precision == "fp32" else model.folder / FILES[precision]


def onnx_of(
    model: Model, precision: str, videos: Sequence[Path] = ()
) -> tuple[bytes, Mapping[str, Any] | None]:
    """The ONNX that holds the net in that precision, and its likeness to fp32 where it was made here.

    Raises :class:`InputError` when the bundle cannot have it, :class:`ModelError` when int8 misses its gate.
    """
    if precision in FILES:
        if FILES[precision] not in model.files:
            raise InputError(
                f"model {model.name} has no {FILES[precision]}, which precision {precision} needs: export it "
                "anew, or build with --precision fp32"
            )
        return _file(model, precision).read_bytes(), None
    if precision not in PRECISIONS:
        raise InputError(f'there is no precision "{precision}": it is one of {", ".join(PRECISIONS)}')
    from clarivid.engines import quantise

    if precision == "bf16":
        return quantise.in_bf16(model), None
    if not videos:
        raise InputError("int8 is calibrated on real pictures: give --calibrate a video like yours")
    made = quantise.quantise(model, videos)
    calibration = {"psnr_db": round(made.psnr_db, 2), "against": "fp32 in OpenVINO"}
    if not made.passed:
        raise ModelError(
            f"model {model.name} in int8 comes to {made.psnr_db:.1f} dB of fp32 on these pictures, "
            f"{quantise.GATE_DB:g} are asked for: calibrate with other videos, or use fp16"
        )
    return made.onnx, calibration


def build(
    jobs: Sequence[Job],
    runtime: Runtime,
    options: Options,
    cache: EngineCache,
    progress: Progress | None = None,
) -> Iterator[Made | Failed]:
    """Make what is not there, one after the other; what the builder refuses does not keep it from the rest.

    Raises as the cache does; what was made stays.
    """
    for job in jobs:
        start = time.monotonic()
        timing = _Timing(cache.folder, runtime, job.key.device)

        def make(job: Job = job, timing: _Timing = timing) -> bytes:
            key = job.key
            # What builds on the GPU takes the thread's current one: a machine may have several kinds.
            with nullcontext() if runtime.cross_builds else targets.current(job.device):
                engine, measured = runtime.build(
                    job.onnx,
                    job.model.name,
                    key.profile,
                    key.device,
                    options,
                    timing.read(),
                    progress,
                )
            timing.write(measured, cache)
            return engine

        try:
            builder: dict[str, Any] = {"clarivid": clarivid.__version__}
            if job.calibration is not None:
                builder["calibration"] = dict(job.calibration)
            entry, built = cache.get(job.key, make, builder)
        except ModelError as error:
            yield Failed(job, str(error))
            continue
        yield Made(job, entry, built, time.monotonic() - start)


class _Timing:
    """What the builder measured of single layers on a device: a file beside the engines."""

    def __init__(self, folder: Path, runtime: Runtime, device: Identity) -> None:
        name = digest_of({"runtime": runtime.name, "version": runtime.version, **vars(device)})[:16]
        self.path = folder / f"timing-{name}.bin"

    def read(self) -> bytes:
        """Empty when there is none."""
        try:
            return self.path.read_bytes()
        except OSError:
            return b""

    def write(self, measured: bytes, cache: EngineCache) -> None:
        """The last to finish wins; it had read what the others measured before it began."""
        if measured:
            cache.write_file(self.path, measured)


__all__ = ["FILES", "PRECISIONS", "Failed", "Job", "Made", "build", "digests_of", "onnx_of", "plan"]
