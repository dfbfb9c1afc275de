# SPDX-License-Identifier: BSD-2-Clause
"""Engines against PyTorch, on the GPU that they are for; the result goes into their sidecars.

``precision=auto`` takes an engine only when its sidecar says that it passed. An engine of TensorRT is run by
backend ``tensorrt`` on pictures in device memory, and by the filter; one of TensorRT for RTX, which the
library cannot run, by that runtime's Python bindings on tensors. Pictures are of the size that the engine is
best at, and of an odd one when it takes several.
"""

from __future__ import annotations

import os
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

import clarivid
from clarivid.blend import sharpness_option
from clarivid.cuda import Device
from clarivid.engines import EngineCache, Entry, Identity, Runtime
from clarivid.engines.bare import BareModel
from clarivid.engines.build import digests_of
from clarivid.engines.cache import SHARED, SIDECAR
from clarivid.engines.cache import read as read_entry
from clarivid.errors import BackendError, Error
from clarivid.models import Model, verify_model
from clarivid.parity.cases import ADVERSARIAL, Case
from clarivid.parity.check import Progress, compare, has_net
from clarivid.parity.gates import need_real
from clarivid.parity.nvidia import Engine, this_gpu
from clarivid.parity.planes import Picture
from clarivid.parity.reference import torch_net
from clarivid.parity.report import Report
from clarivid.parity.tensors import net_inputs
from clarivid.parity.ways import FILTERS, DeviceWay, FilterWay, TensorWay, Way

Compare = Callable[[Entry, Sequence[Case]], Report]
_FORMATS = ("nv12", "p010le")


@dataclass(frozen=True)
class EngineResult:
    """Of one engine. ``record`` is what its sidecar says now (or would, when it may not be written);
    ``problem``: why it could not be compared, "" when it could."""

    path: Path
    precision: str
    runtime: str
    record: Mapping[str, Any]
    problem: str
    recorded: bool

    @property
    def passed(self) -> bool:
        """Compared, and good."""
        return not self.problem and bool(self.record.get("passed"))

    @property
    def sentence(self) -> str:
        """For people."""
        name = f"{self.path.name} ({self.precision}, {self.runtime})"
        if self.problem:
            return f"{name}: not compared: {self.problem}"
        measure = (
            f"{self.record['psnr_db']} dB"
            if "psnr_db" in self.record
            else f"largest error {self.record['max_code_error']} codes"
        )
        where = "" if self.recorded else "; its sidecar was not changed: it lies in a read-only layer"
        return f"{name}: {'passed' if self.passed else 'FAILED'}, {measure}{where}"

    def to_dict(self) -> dict[str, Any]:
        """For JSON."""
        return {
            "path": str(self.path),
            "precision": self.precision,
            "runtime": self.runtime,
            "passed": self.passed,
            "parity": dict(self.record),
            "problem": self.problem,
            "recorded": self.recorded,
        }


def check_engines(
    bundle: Model,
    *,
    precisions: Sequence[str] = (),
    source: Path | None = None,
    with_filter: bool = True,
    cache: EngineCache | None = None,
    gpu: Identity | None = None,
    comparing: Compare | None = None,
    progress: Progress = lambda _label, _done, _total: None,
) -> list[EngineResult]:
    """Compare every engine of a bundle that this machine's GPU runs, and write the results.

    :param precisions: empty for all.
    :param source: video for real pictures; without one a result counts for less, and says so.
    :param gpu, comparing: for tests: the GPU, and what compares an engine with the reference.

    Raises :class:`BackendError` without a GPU, or when no engine fits it.
    """
    bare = isinstance(bundle, BareModel)
    if not bare:
        verify_model(bundle)
    device: Device | None = None
    if gpu is None:
        device, gpu = this_gpu()
    cache = cache or EngineCache()
    entries = fitting(bundle, gpu, cache, precisions)
    if not entries:
        folders = " ".join(str(folder) for folder in (*cache.shared, cache.folder))
        wanted = f" in {' or '.join(precisions)}" if precisions else ""
        raise BackendError(
            f"there is no engine of model {bundle.name} for {gpu.text()}{wanted} in {folders}: run 'clarivid "
            f"engines build {bundle.name} --for this{sharpness_option(bundle)}'"
        )
    if comparing is None:
        assert device is not None
        comparing = _Comparing(bundle, device, source, with_filter and not bare)
    results = []
    for number, entry in enumerate(entries):
        progress(entry.path.name, number, len(entries))
        results.append(_check(bundle, entry, gpu, source, cache, comparing))
    progress("done", len(entries), len(entries))
    return results


def fitting(bundle: Model, gpu: Identity, cache: EngineCache, precisions: Sequence[str]) -> list[Entry]:
    """Engines of the bundle as it is, for that GPU, in one of the precisions (or any)."""
    current = digests_of(bundle)
    return [
        entry
        for entry in cache.entries()
        if isinstance(entry, Entry)
        and entry.key.model == bundle.name
        and entry.key.fits(gpu)
        and entry.key.is_of(current)
        and (not precisions or entry.key.precision in precisions)
    ]


def cases_for(entry: Entry, bundle: Model, source: Path | None) -> list[Case]:
    """Random, real and adversarial pictures of sizes that the engine takes."""
    profile = entry.key.profile
    step = 2 if bundle.layout.startswith("yuv420_s2d") else 1
    sizes = [(step * profile.best[3], step * profile.best[2])]
    if profile.least != profile.largest:
        # One position more than the least, less a sample where two make a position: odd, and padded.
        small = tuple(step * (profile.least[i] + 1) - (step - 1) for i in (3, 2))
        if all(profile.least[i] + 1 <= profile.largest[i] for i in (2, 3)):
            sizes.append((small[0], small[1]))
    strengths = (1.0, 0.5) if bundle.has_strength else (1.0,)
    found = [
        Case(kind, *size, pix_fmt, full, strength)
        for size in sizes
        for pix_fmt, full in zip(_FORMATS, (False, True), strict=True)
        for kind in (("random", "real") if source is not None else ("random",))
        for strength in strengths
    ]
    return found + [
        Case(kind, *sizes[i % len(sizes)], _FORMATS[i % 2], i % 4 > 1) for i, kind in enumerate(ADVERSARIAL)
    ]


def _check(
    bundle: Model,
    entry: Entry,
    gpu: Identity,
    source: Path | None,
    cache: EngineCache,
    comparing: Compare,
) -> EngineResult:
    key = entry.key
    try:
        need_real([key.precision], source)
        read_entry(entry.path, entry.writable)  # the digest, before a runtime sees the bytes
        report = comparing(entry, cases_for(entry, bundle, source))
    except Error as error:
        return EngineResult(entry.path, key.precision, key.runtime, entry.parity or {}, str(error), False)
    verdict = report.verdict(key.precision)
    assert verdict is not None
    record = {
        **verdict.to_dict(),
        "against": report.reference,
        "on": gpu.text(),
        "real_pictures": source is not None,
        "cases": len(report.rows),
        "clarivid": clarivid.__version__,
        "checked": time.time(),
    }
    if entry.writable:
        cache.set_parity(entry, record)
    return EngineResult(entry.path, key.precision, key.runtime, record, "", entry.writable)


class _Comparing:
    """One engine against the bundle's reference."""

    def __init__(self, bundle: Model, device: Device, source: Path | None, with_filter: bool) -> None:
        self._bundle, self._device, self._source = bundle, device, source
        self._with_filter = with_filter
        self._net = torch_net(bundle) if has_net(bundle) else None

    def __call__(self, entry: Entry, chosen: Sequence[Case]) -> Report:
        with only(entry):
            ways = self._ways(entry)
            return compare(self._bundle, self._net, ways, chosen, self._source)

    def _ways(self, entry: Entry) -> list[Way]:
        precision = entry.key.precision
        if entry.key.runtime != "tensorrt":
            return [_BindingsWay(entry, self._bundle, self._device)]
        ways: list[Way] = [DeviceWay("tensorrt", precision, self._bundle, "tensorrt", self._device)]
        if self._with_filter and self._bundle.task in FILTERS:
            ways.append(FilterWay("filter tensorrt", precision, self._bundle, "tensorrt"))
        return ways


class _BindingsWay(TensorWay):
    """An engine in its runtime's Python bindings, on tensors."""

    def __init__(self, entry: Entry, bundle: Model, device: Device) -> None:
        Way.__init__(self, entry.key.runtime, entry.key.precision)
        self._bundle = bundle
        runtime = Runtime(entry.key.runtime)
        if not entry.key.runs_with(runtime.version):
            raise BackendError(
                f"it was built by {runtime.name} {entry.key.runtime_version}, {runtime.version} is installed"
            )
        self._engine = Engine(runtime, entry.path.read_bytes(), device)

    def run(self, pictures: Sequence[Picture], case: Case) -> list[NDArray[np.float64]]:
        """What the net gives."""
        found = [self._engine.run(net_inputs(self._bundle, picture, case)) for picture in pictures]
        return [outputs["output"] for outputs in found]


@contextmanager
def only(entry: Entry) -> Iterator[Path]:
    """Makes the library find this engine and no other before it: a folder with it alone goes first in
    ``CLARIVID_ENGINE_PATH``, also for processes that are started within."""
    before = os.environ.get(SHARED)
    with tempfile.TemporaryDirectory(prefix="clarivid-parity-") as name:
        folder = Path(name)
        for path in (entry.path, entry.path.with_suffix(SIDECAR)):
            shutil.copy2(path, folder / path.name)
        os.environ[SHARED] = os.pathsep.join([name, *([before] if before else [])])
        try:
            yield folder
        finally:
            if before is None:
                del os.environ[SHARED]
            else:
                os.environ[SHARED] = before


__all__ = ["EngineResult", "cases_for", "check_engines", "fitting", "only"]
