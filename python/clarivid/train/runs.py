# SPDX-License-Identifier: BSD-2-Clause
"""What every training run has: the loop, checkpoints, averaged weights, a learning rate that falls, a
device."""

from __future__ import annotations

import json
import math
import os
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from clarivid.errors import InputError

CHECKPOINT_SCHEMA = 1


class Optimiser(Protocol):
    """What a run needs of an optimiser; all of :mod:`torch.optim` have it.

    A group's "share", where there is one, multiplies the schedule's rate.
    """

    @property
    def param_groups(self) -> list[dict[str, Any]]: ...
    def zero_grad(self, set_to_none: bool = True) -> None: ...
    def step(self) -> Any: ...
    def state_dict(self) -> dict[str, Any]: ...
    def load_state_dict(self, state: dict[str, Any]) -> None: ...


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


@dataclass(frozen=True)
class RunOptions:
    """What a run of any net is made of; the command line has the same words.

    ``minutes`` is the budget of the whole run, resumed parts together, validation not counted; the learning
    rate falls over it as a cosine. ``steps`` replaces it by a number of steps, which makes a run repeatable
    to the bit on one machine. ``batch`` crops a step. ``ema`` says how slowly the averaged weights follow;
    they are what is validated and exported. ``save_every`` and ``validate_every`` in seconds.
    """

    minutes: float = 60.0
    steps: int = 0
    batch: int = 16
    lr: float = 1e-3
    ema: float = 0.999
    seed: int = 0
    threads: int = 1
    device: str = "auto"
    save_every: float = 120.0
    validate_every: float = 120.0


@dataclass(frozen=True)
class Report:
    """What a progress display gets."""

    step: int
    done: float  # 0..1 of the budget
    loss: float  # mean since the last validation
    crops_per_second: float
    score: Mapping[str, Any]  # the last validation; empty before the first


class Run(ABC):
    """A net's way through its budget, which can be cut anywhere and gone on with.

    ``net`` lies on ``device``; ``out`` gets ``last.pt``, ``best.pt`` (most merit) and ``log.jsonl``. Beyond
    the five methods, a subclass sets ``rng`` when what it draws depends on a generator's state.
    """

    warm_up = 50  # steps
    least = 0.01  # of the learning rate, at the end
    clip = 0.5  # of the gradient's norm
    report_every = 10  # steps: a report waits for the device

    def __init__(self, net: nn.Module, options: RunOptions, out: Path, device: torch.device) -> None:
        self.net, self.options, self.out, self.device = net, options, out, device
        self.average = {name: value.detach().clone() for name, value in net.state_dict().items()}
        self.optimiser = self.make_optimiser()
        self.rng: torch.Generator | None = None
        self.step, self.seconds, self.merit = 0, 0.0, -math.inf
        self.history: list[dict[str, Any]] = []
        self.score: dict[str, Any] = {}

    @abstractmethod
    def config(self) -> dict[str, Any]:
        """The net's, from which it can be built again."""

    @abstractmethod
    def loss(self, done: float) -> Tensor:
        """Draw a batch, ``done`` (0..1) of the way, and say how wrong the net is on it."""

    @abstractmethod
    def validate(self) -> tuple[dict[str, Any], float]:
        """Scores of the averaged weights on what is held out, and their merit: more is better, -inf none."""

    @abstractmethod
    def load_weights(self, state: Mapping[str, Any], which: str, path: Path) -> None:
        """Give the net the weights ``state[which]``; :class:`InputError` when they are another net's."""

    def make_optimiser(self) -> Optimiser:
        """Of the net's parameters."""
        return torch.optim.Adam(self.net.parameters(), lr=self.options.lr, betas=(0.9, 0.99))

    def details(self) -> dict[str, Any]:
        """What else belongs in a checkpoint: "task", "sources", "packs", and what :meth:`restore` reads."""
        return {}

    def restore(self, state: Mapping[str, Any]) -> None:  # noqa: B027 - not every run has more
        """Take back from a checkpoint what :meth:`details` put there beyond its descriptions."""

    def after_step(self) -> None:  # noqa: B027 - not every run has a critic
        """What follows the net's own step, such as a critic's."""

    def start_from(self, path: Path) -> None:
        """Begin with the averaged weights of another run."""
        state = read_checkpoint(path)
        self.load_weights(state, "ema", path)
        self.average = {name: value.detach().clone() for name, value in self.net.state_dict().items()}
        self.history = [*state.get("history", []), summary_of(state)]

    def resume(self) -> None:
        """Go on from ``last.pt``, when it is there."""
        path = self.out / "last.pt"
        if not path.is_file():
            return
        state = read_checkpoint(path)
        self.load_weights(state, "model", path)
        self.average = {name: value.to(self.device) for name, value in state["ema"].items()}
        self.optimiser.load_state_dict(state["optimiser"])
        if self.rng is not None:
            self.rng.set_state(state["rng"])
        self.step, self.seconds = state["step"], state["seconds"]
        self.merit = state.get("merit", -math.inf)
        self.history = list(state.get("history", []))
        self.restore(state)

    def save(self, name: str) -> None:
        """Write a checkpoint of now."""
        state = {
            "schema": CHECKPOINT_SCHEMA,
            "model": self.net.state_dict(),
            "ema": self.average,
            "optimiser": self.optimiser.state_dict(),
            "rng": self.rng.get_state() if self.rng is not None else None,
            "step": self.step,
            "seconds": self.seconds,
            "merit": self.merit,
            "net": self.config(),
            "options": asdict(self.options),
            "history": self.history,
            "score": self.score,
            **self.details(),
        }
        save_atomically(self.out / name, state)

    def train(self, progress: Callable[[Report], None] | None = None) -> dict[str, Any]:
        """Train to the budget's end; returns the last validation."""
        self.out.mkdir(parents=True, exist_ok=True)
        options = self.options
        mean = _Mean(self.device)
        rate = 0.0
        saved = validated = time.monotonic()
        while True:
            done = self.step / options.steps if options.steps else self.seconds / (60 * options.minutes)
            ending = done >= 1
            if ending or time.monotonic() - validated >= options.validate_every:
                self._validate(mean, rate)
                validated = time.monotonic()
            if ending or time.monotonic() - saved >= options.save_every:
                self.save("last.pt")
                saved = time.monotonic()
            if ending:
                return self.score
            clock = time.monotonic()
            mean.add(self._step(done))
            took = time.monotonic() - clock
            self.seconds += took
            rate = options.batch / took if rate == 0 else 0.98 * rate + 0.02 * options.batch / took
            if progress and self.step % self.report_every == 0:
                progress(Report(self.step, done, mean.now(), rate, self.score))

    def _validate(self, mean: _Mean, rate: float) -> None:
        self.score, merit = self.validate()
        line = {
            "step": self.step,
            "minutes": round(self.seconds / 60, 2),
            "loss": mean.take(),
            "lr": self.optimiser.param_groups[0]["lr"],
            "crops_per_second": round(rate, 1),
            "validation": self.score,
        }
        with (self.out / "log.jsonl").open("a", encoding="utf-8") as log:
            log.write(json.dumps(line) + "\n")
        if merit > self.merit:
            self.merit = merit
            self.save("best.pt")

    def _step(self, done: float) -> Tensor:
        for group in self.optimiser.param_groups:
            rate = cosine(self.options.lr, done, self.step, self.warm_up, self.least)
            group["lr"] = group.get("share", 1.0) * rate
        loss = self.loss(done)
        self.optimiser.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(self.net.parameters(), self.clip)
        self.optimiser.step()
        self.after_step()
        self.step += 1
        average_weights(self.average, self.net, min(self.options.ema, (1 + self.step) / (10 + self.step)))
        return loss.detach()


class _Mean:
    """Of losses that stay on their device until somebody asks."""

    def __init__(self, device: torch.device) -> None:
        self.sum, self.count, self.last = torch.zeros((), device=device), 0, math.nan

    def add(self, loss: Tensor) -> None:
        self.sum += loss
        self.count += 1

    def now(self) -> float:
        return float(self.sum) / self.count if self.count else self.last

    def take(self) -> float:
        """The mean, and begin anew."""
        self.last = self.now()
        self.sum.zero_()
        self.count = 0
        return self.last
