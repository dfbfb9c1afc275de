# SPDX-License-Identifier: BSD-2-Clause
"""Which engines there are for the GPUs and models of a machine, and which are missing or out of date."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from clarivid.engines.build import FILES
from clarivid.engines.cache import EngineCache, Entry
from clarivid.engines.key import Identity, Key
from clarivid.models import Model
from clarivid.paths import sha256_of


@dataclass(frozen=True)
class Status:
    """Of one model on one GPU.

    ``state`` is "present", "stale" (engines are there, for other bytes or another release of the runtime) or
    "missing"; ``text`` says what there is, ``remedy`` is the command that mends it.
    """

    gpu: str
    model: str
    state: str
    text: str
    remedy: str


def fits(key: Key, gpu: Identity) -> bool:
    """Whether an engine runs on ``gpu``: it is the SKU's own, or any GPU's of that capability."""
    return key.device == gpu or (not key.device.is_exact and key.device.sm == gpu.sm)


def status(
    gpus: Sequence[Identity],
    models: Sequence[Model],
    runtimes: dict[str, str],
    cache: EngineCache,
) -> list[Status]:
    """A row for each GPU and model. ``runtimes``: name -> version of those that are installed."""
    entries = [entry for entry in cache.entries() if isinstance(entry, Entry)]
    return [_row(gpu, model, runtimes, entries) for gpu in gpus for model in models]


def _row(gpu: Identity, model: Model, runtimes: dict[str, str], entries: Sequence[Entry]) -> Status:
    remedy = f"clarivid engines build {model.name} --for this"
    own = [entry for entry in entries if entry.key.model == model.name and fits(entry.key, gpu)]
    if not own:
        return Status(gpu.text(), model.name, "missing", "no engine", remedy)
    files = [model.folder / name for name in FILES.values() if (model.folder / name).is_file()]
    current = {sha256_of(path) for path in files}
    good = [
        entry.key
        for entry in own
        if entry.key.onnx_sha256 in current
        and runtimes.get(entry.key.runtime, entry.key.runtime_version) == entry.key.runtime_version
    ]
    if good:
        text = "; ".join(f"{key.precision} {key.profile.text()} ({key.runtime})" for key in good)
        return Status(gpu.text(), model.name, "present", text, "")
    other = own[0].key
    why = (
        "the model has changed since"
        if other.onnx_sha256 not in current
        else f"{other.runtime} {other.runtime_version} built it, {runtimes[other.runtime]} is installed"
    )
    return Status(gpu.text(), model.name, "stale", why, remedy)


__all__ = ["Status", "fits", "status"]
