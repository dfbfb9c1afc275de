# SPDX-License-Identifier: BSD-2-Clause
"""Adversarial training: a critic that learns beside the net; super-resolution's, and LDL's penalty of
artefacts."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Generic, TypeVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils.parametrizations import spectral_norm

from clarivid.nets.folded import LUMA
from clarivid.train.batches import unfold_luma

SLOPE = 0.2
WINDOW = 7  # luma pixels a side, of the local variance in :func:`artefacts`


Critic = TypeVar("Critic", bound=nn.Module)


class Judge(Generic[Critic]):
    """A critic that learns beside the net, by Adam, and lies in the run's checkpoint."""

    def __init__(self, critic: Critic, rate: float) -> None:
        self.critic = critic
        self._optimiser = torch.optim.Adam(critic.parameters(), rate)

    @contextmanager
    def at_rest(self) -> Iterator[None]:
        """Within, gradients flow through the critic and none stay with it."""
        self.critic.requires_grad_(False)
        yield
        self.critic.requires_grad_(True)

    def learn(self, loss: Tensor) -> None:
        """One step down ``loss``."""
        self._optimiser.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        self._optimiser.step()

    def state(self) -> dict[str, Any]:
        """For a checkpoint."""
        return {"critic": self.critic.state_dict(), "critic_optimiser": self._optimiser.state_dict()}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Take back what :meth:`state` gave; a checkpoint without a critic leaves this as it is."""
        if state.get("critic"):
            self.critic.load_state_dict(state["critic"])
            self._optimiser.load_state_dict(state["critic_optimiser"])


class UNetCritic(nn.Module):
    """Judges luma at every place of a picture: folded [N,24,h,w] (of a x2 net) to logits [N,1,h,w], above 0
    for true.

    A U-Net with skips and spectral normalisation, as Real-ESRGAN has it (Wang et al. 2021,
    arXiv:2107.10833), on the folded picture: a sixteenth of the places, phases as channels. It does not see
    chroma: of a quarter of the samples only coloured specks come. ``h`` and ``w`` are multiples of 4.
    """

    def __init__(self, channels: int = 48) -> None:
        super().__init__()

        def conv(a: int, b: int, stride: int = 1) -> nn.Module:
            module: nn.Module = spectral_norm(nn.Conv2d(a, b, 3, stride, 1, bias=False))
            return module

        c = channels
        self.head = nn.Conv2d(LUMA, c, 3, padding=1)
        self.down1, self.down2 = conv(c, 2 * c, 2), conv(2 * c, 4 * c, 2)
        self.up1, self.up2 = conv(4 * c, 2 * c), conv(2 * c, c)
        self.last, self.out = conv(c, c), nn.Conv2d(c, 1, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        def act(y: Tensor) -> Tensor:
            return F.leaky_relu(y, SLOPE)

        def twice(y: Tensor) -> Tensor:
            return F.interpolate(y, scale_factor=2, mode="bilinear", align_corners=False)

        a = act(self.head(x[:, :LUMA]))
        b = act(self.down1(a))
        c = act(self.down2(b))
        b = act(self.up1(twice(c))) + b
        a = act(self.up2(twice(b))) + a
        result: Tensor = self.out(act(self.last(a)))
        return result


def critic_loss(critic: UNetCritic, true: Tensor, made: Tensor) -> Tensor:
    """Cross-entropy of the critic's judgement of a true and of a made batch; no gradient flows to the
    latter."""
    real, fake = critic(true), critic(made.detach())
    return F.softplus(-real).mean() + F.softplus(fake).mean()


def deception(critic: UNetCritic, made: Tensor) -> Tensor:
    """What the net wants of the critic: that it takes ``made`` for true."""
    return F.softplus(-critic(made)).mean()


def _errors(true: Tensor, *made: Tensor) -> list[Tensor]:
    """Magnitudes of luma's errors, [N,1,H,W], in units of the first one's root mean square over its crop."""
    target = unfold_luma(true)
    found = [(target - unfold_luma(x)).abs()[:, None] for x in made]
    unit = found[0].detach().square().mean((2, 3), keepdim=True).sqrt().clamp(min=1e-4)
    return [error / unit for error in found]


@torch.no_grad()
def artefacts(true: Tensor, made: Tensor, averaged: Tensor) -> Tensor:
    """LDL's map of artefacts, [N,1,H,W] of luma (Liang et al. 2022, arXiv:2203.09195).

    ``true``, ``made`` and ``averaged`` are folded pictures [N,24,h,w]: the target, the net's, and its
    averaged weights'. Where the net's error varies from pixel to pixel it probably makes artefacts; where it
    is smaller than the steadier averaged net's it makes detail, and is left alone. Unlike the paper's, errors
    are relative to their crop's, as our pixel loss is: a faint picture's artefacts count as a strong one's.
    """
    return _artefacts(*_errors(true, made, averaged))


@torch.no_grad()
def _artefacts(error: Tensor, steady: Tensor) -> Tensor:
    pad = (WINDOW // 2,) * 4
    padded = F.pad(error, pad, mode="reflect")
    mean = F.avg_pool2d(padded, WINDOW, 1)
    local = F.avg_pool2d(padded.square(), WINDOW, 1) - mean.square()
    whole = error.var((2, 3), keepdim=True).clamp(min=1e-12) ** 0.2
    return torch.where(error < steady, 0.0, whole * local.clamp(min=0))


def artefact_penalty(true: Tensor, made: Tensor, averaged: Tensor) -> Tensor:
    """Mean relative error of luma, weighted by :func:`artefacts`."""
    error, steady = _errors(true, made, averaged)
    return (_artefacts(error, steady) * error).mean()
