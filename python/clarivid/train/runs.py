# SPDX-License-Identifier: BSD-2-Clause
"""What every training run has: checkpoints, averaged weights, a learning rate that falls, a device."""

from __future__ import annotations

import math
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from clarivid.errors import InputError

CHECKPOINT_SCHEMA = 1


def read_checkpoint(path: Path) -> dict[str, Any]:
    """A checkpoint on the CPU; :class:`InputError` when it is missing, damaged or not one of ours."""
    try:
        state: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
        if state["schema"] != CHECKPOINT_SCHEMA:
            raise InputError(
                f"{path} has checkpoint schema {state['schema']}, this clarivid reads {CHECKPOINT_SCHEMA}"
            )
    except InputError:
        raise
    except Exception as error:  # torch raises many kinds for a damaged file
        raise InputError(f"cannot read the checkpoint {path}: {error}") from error
    return state


def save_atomically(path: Path, state: Mapping[str, Any]) -> None:
    """Write ``state`` beside ``path`` and rename it, so that a reader never meets half a file."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    torch.save(dict(state), temporary)
    temporary.replace(path)


def summary_of(state: Mapping[str, Any]) -> dict[str, Any]:
    """What a card tells of an earlier run."""
    return {
        "options": state["options"],
        "steps": state["step"],
        "seconds": state["seconds"],
        "packs": state.get("packs", []),
    }


def cosine(top: float, done: float, step: int, warm_up: int = 50, least: float = 0.01) -> float:
    """Learning rate at ``done`` (0..1): warm-up over some steps, then half a cosine to ``least`` of it."""
    fall = 0.5 * (1 + math.cos(math.pi * min(done, 1.0)))
    return top * min(1.0, (step + 1) / warm_up) * (least + (1 - least) * fall)


@torch.no_grad()
def average_weights(average: dict[str, Tensor], net: nn.Module, keep: float) -> None:
    """Draw ``average``, a copy of the net's state, towards the net: it keeps the share ``keep`` of itself."""
    state = net.state_dict()
    torch._foreach_lerp_(list(average.values()), [state[name] for name in average], 1 - keep)


def pick_device(name: str) -> torch.device:
    """ "auto" is a GPU when there is one; :class:`InputError` for a device that is not there."""
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    try:
        device = torch.device(name)
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError) as error:
        raise InputError(f"there is no device '{name}' to train on: {error}") from error
    return device


def computes_in_bf16(device: torch.device, precision: str) -> bool:
    """Whether "auto", "fp32" or "bf16" means bf16 there; :class:`InputError` for another word."""
    if precision not in {"auto", "fp32", "bf16"}:
        raise InputError(f"precision '{precision}' is not one of auto, fp32, bf16")
    fast = device.type == "cuda" or bool(torch.ops.mkldnn._is_mkldnn_bf16_supported())
    return precision == "bf16" or (precision == "auto" and fast)
