# SPDX-License-Identifier: BSD-2-Clause
"""Which engines there are for the GPUs and models of a machine, and which are missing or out of date."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from clarivid.engines.build import digests_of
from clarivid.engines.cache import EngineCache, Entry
from clarivid.engines.key import Identity
from clarivid.engines.runtimes import INSTALL, RUNTIMES
from clarivid.models import Model

TASKS = ("sr", "lowrank")  # whose nets run through engines: those of dnn_sr and lowrank_pre


@dataclass(frozen=True)
class Status:
    """Of one model on one GPU.

    Of engines that filters run, those of TensorRT. ``state`` is "present", "unproved" (engines are there,
    none of which passed its parity check), "stale" (for other bytes or another release) or "missing";
    ``text`` says what there is, ``remedy`` is the command that mends it.
    """

    gpu: str
    model: str
    state: str
    text: str
    remedy: str


def status(
    gpus: Sequence[Identity],
    models: Sequence[Model],
    runtimes: Mapping[str, str],
    cache: EngineCache,
    builders: Collection[str] = RUNTIMES,
) -> list[Status]:
    """A row for each GPU and model of :data:`TASKS`.

    ``runtimes``: name -> version of what is there; ``builders``: names of those that can build here.
    """
    entries = [entry for entry in cache.entries() if isinstance(entry, Entry)]
    return [
        _row(gpu, model, runtimes, entries, builders)
        for gpu in gpus
        for model in models
        if model.task in TASKS
    ]


def _row(
    gpu: Identity,
    model: Model,
    runtimes: Mapping[str, str],
    entries: Sequence[Entry],
    builders: Collection[str],
) -> Status:
    remedy = f"clarivid engines build {model.name} --for this --runtime tensorrt"
    if "tensorrt" not in builders:
        remedy = f"{INSTALL['tensorrt']}, then {remedy}"
    own = [  # those of other sharpness are made when somebody asks for them
        entry
        for entry in entries
        if entry.key.model == model.name and entry.key.fits(gpu) and not entry.key.sharpness
    ]
    usable = [entry for entry in own if entry.key.runtime == "tensorrt"]
    if not usable:
        text = f"{len(own)} of tensorrt-rtx, which no filter runs yet" if own else "no engine"
        return Status(gpu.text(), model.name, "missing", text, remedy)
    current = digests_of(model)
    good = [
        entry
        for entry in usable
        if entry.key.is_of(current)
        and entry.key.runs_with(runtimes.get("tensorrt", entry.key.runtime_version))
    ]
    if good:
        text = "; ".join(f"{entry.key.precision} {entry.key.profile.text()}" for entry in good)
        if any(entry.parity and entry.parity.get("passed") for entry in good):
            return Status(gpu.text(), model.name, "present", text, "")
        text += "; none passed its parity check, and precision=auto takes none"
        return Status(
            gpu.text(), model.name, "unproved", text, f"clarivid parity {model.name} --backend tensorrt"
        )
    other = usable[0].key
    why = (
        "the model has changed since"
        if not other.is_of(current)
        else f"TensorRT {other.runtime_version} built it, {runtimes['tensorrt']} is installed"
    )
    return Status(gpu.text(), model.name, "stale", why, remedy)


__all__ = ["TASKS", "Status", "status"]
