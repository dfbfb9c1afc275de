# SPDX-License-Identifier: BSD-2-Clause
"""From a training checkpoint to a model bundle: one clean ONNX graph, its fp16 twin, raw weights, card,
README."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from clarivid.errors import InputError
from clarivid.export import bundle, inpaint, lowrank, sr
from clarivid.train.runs import read_checkpoint

# Checkpoints that name no task are super-resolution's.
_SOURCES = {"sr": sr.source, "lowrank": lowrank.source, "inpaint": inpaint.source}


def export(
    checkpoint: Path,
    name: str,
    out: Path,
    scores: Mapping[str, Any] | None = None,
    summary: str = "",
    gain: float = 1.0,
    perceptual: Path | None = None,
) -> dict[str, Any]:
    """Write the bundle ``out`` (a folder) from ``checkpoint``, whose task says how; returns the card.

    ``scores`` (evaluation results) go into the card as they are; ``summary`` is a sentence for the README;
    ``gain`` is the share of a prefilter's change that strength 1 of the bundle applies
    (:func:`clarivid.export.lowrank.weakened`); ``perceptual`` is the checkpoint of a second set of weights
    for super-resolution, which sharpness mixes in. Scores of the second set are those of ``scores`` below
    "perceptual".

    Raises :class:`InputError` when a checkpoint is damaged or none of ours, when a gain does not fit it, or
    when the two are not of one architecture, :class:`ModelError` when a graph does not compute what the net
    does.
    """
    state, task = _read(checkpoint)
    if gain != 1:
        if task != "lowrank":
            raise InputError(f"gain is for nets before the encoder; {checkpoint} is for the task '{task}'")
        state = lowrank.weakened(state, gain)
    given = dict(scores or {})
    second = None
    if perceptual is not None:
        other, its_task = _read(perceptual)
        if (task, its_task) != ("sr", "sr"):
            raise InputError(
                f"a second set of weights is for super-resolution; {checkpoint} is for the task '{task}', "
                f"{perceptual} for '{its_task}'"
            )
        second = _SOURCES["sr"](other, name, given.pop("perceptual", {}), summary)
    return bundle.write(_SOURCES[task](state, name, given, summary), out, second)


def _read(checkpoint: Path) -> tuple[dict[str, Any], str]:
    """A checkpoint and its task."""
    state = read_checkpoint(checkpoint)
    task = state.get("task", "sr")
    if task not in _SOURCES:
        raise InputError(f"{checkpoint} is for the task '{task}'; export knows {', '.join(_SOURCES)}")
    return state, task


__all__ = ["export"]
