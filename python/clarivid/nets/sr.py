# SPDX-License-Identifier: BSD-2-Clause
"""The super-resolution net of ``dnn_sr``, on luma (layout ``y``); chroma is the filter's.

::

    x ── -1/2 ── head 3x3, 1→C ── LeakyReLU ── blocks ── tail 3x3, C→4 ── + ── 2x2 pixels
    └───────────────────────── nearest upsample (fixed) ──────────────────┘
    [N,1,H,W]                                                               [N,1,2H,2W]

    block:  f ── rep. conv 3x3, C→C ── LeakyReLU ── (× w) ── + ── out
            └─────────────────────────────────────────────────┘

Published points: the plain chain of 3x3 convolutions at the input's size with the nearest upsample beside it,
and branches that know edges, are ECBSR's (Zhang, Zeng and Zhang, ACM MM 2021); blocks that are one 3x3 at
inference are RepVGG's (arXiv:2101.03697). Choices of ours; docs/training.md tells what each part earns:

* The net works on unfolded luma. Nets on pictures folded to half size, a quarter of the positions with more
  channels, see neighbours in other channels: they gained less with nine times the weights, and what they gave
  flickered, as a shift by one pixel is another picture to them.
* Blocks are residual: they train sooner, and depth beyond four blocks earns something.
* Branches are merged in weight space in the training step too: the same gradients as the explicit form
  (:meth:`RepConv.explicit`, tested), for the price of one conv.
* Convolutions pad with zeros, which is mid-grey here (a half is taken from luma first); the loss sees picture
  borders, so the net learns them. Edge padding would be one more pass over memory for each layer.
* High-pass attention (:class:`HighPassGate`) is left out of what ships: it earned nothing.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

SLOPE = 0.1
CENTRE = 0.5
GATE_STRIDE = 4
SCALE = 2
# Sobel's two and Laplace's: ECBSR's fixed kernels.
EDGES = [
    [[1.0, 0.0, -1.0], [2.0, 0.0, -2.0], [1.0, 0.0, -1.0]],
    [[1.0, 2.0, 1.0], [0.0, 0.0, 0.0], [-1.0, -2.0, -1.0]],
    [[0.0, 1.0, 0.0], [1.0, -4.0, 1.0], [0.0, 1.0, 0.0]],
]


class RepConv(nn.Module):
    """A 3x3 convolution trained as a sum: a 3x3, a 1x1 (and a channel-wise skip, where ``inputs`` and
    ``outputs`` are as many), a 1x1 to twice the channels and a 3x3 behind it, and 1x1 with a fixed kernel for
    edges behind each. ``branches`` False trains the 3x3 alone."""

    def __init__(self, inputs: int, outputs: int, branches: bool = True) -> None:
        super().__init__()
        wide = 2 * outputs
        self.k3 = nn.Parameter(torch.empty(outputs, inputs, 3, 3))
        self.k1 = nn.Parameter(torch.empty(outputs, inputs))
        self.skip = nn.Parameter(torch.full((outputs if inputs == outputs else 0,), 0.1))
        self.widen = nn.Parameter(torch.empty(wide, inputs))
        self.narrow = nn.Parameter(torch.empty(outputs, wide, 3, 3))
        self.mixes = nn.Parameter(torch.empty(len(EDGES), outputs, inputs))
        self.strengths = nn.Parameter(1e-3 * torch.randn(len(EDGES), outputs))
        self.bias = nn.Parameter(torch.zeros(outputs))
        self.register_buffer("edges", torch.tensor(EDGES), persistent=False)
        self.edges: Tensor
        nn.init.kaiming_normal_(self.k3, a=SLOPE)
        for parameter in (self.k1, self.widen, self.narrow, self.mixes):
            nn.init.kaiming_uniform_(parameter, a=5**0.5)
        self.branches = branches
        if not branches:  # a checkpoint's net has them again: then they add nothing
            for parameter in (self.k1, self.skip, self.widen, self.narrow, self.mixes, self.strengths):
                nn.init.zeros_(parameter).requires_grad_(False)

    def merged(self) -> Tensor:
        """The one 3x3 kernel that the branches amount to, [O,I,3,3]."""
        if not self.branches:
            return self.k3
        centre = self.k1 + torch.diag(self.skip) if len(self.skip) else self.k1
        return (
            self.k3
            + F.pad(centre[:, :, None, None], (1, 1, 1, 1))
            + torch.einsum("owyx,wi->oiyx", self.narrow, self.widen)
            + torch.einsum("eo,eoi,eyx->oiyx", self.strengths, self.mixes, self.edges)
        )

    def forward(self, x: Tensor) -> Tensor:
        return F.conv2d(x, self.merged(), self.bias, padding=1)

    def explicit(self, x: Tensor) -> Tensor:
        """The branches one by one; equals :meth:`forward` up to rounding."""
        sums = F.conv2d(x, self.k3, self.bias, padding=1)
        if not self.branches:
            return sums
        sums = sums + F.conv2d(x, self.k1[:, :, None, None])
        if len(self.skip):
            sums = sums + x * self.skip[:, None, None]
        sums = sums + F.conv2d(F.conv2d(x, self.widen[:, :, None, None]), self.narrow, padding=1)
        for mix, strength, edge in zip(self.mixes, self.strengths, self.edges, strict=True):
            kernels = edge.expand(len(strength), 1, 3, 3)
            found = F.conv2d(F.conv2d(x, mix[:, :, None, None]), kernels, padding=1, groups=len(strength))
            sums = sums + strength[:, None, None] * found
        return sums


class HighPassGate(nn.Module):
    """Channel weights in 0..2 from the mean magnitude of each channel's high frequencies over the picture.
    No gradient flows from them into the features: it would cost as much as two convolutions."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.down = nn.Linear(channels, channels // 2)
        self.up = nn.Linear(channels // 2, channels)
        nn.init.zeros_(self.up.weight)  # every weight starts at exactly 1
        nn.init.zeros_(self.up.bias)
        kernel = torch.full((3, 3), -1 / 9)
        kernel[1, 1] += 1
        self.register_buffer("kernel", kernel.expand(channels, 1, 3, 3).clone(), persistent=False)
        self.kernel: Tensor

    def statistics(self, x: Tensor) -> Tensor:
        """[N,C]: mean of |x - its 3x3 mean| at every fourth place of the picture's interior."""
        high = F.conv2d(x, self.kernel.to(x.dtype), stride=GATE_STRIDE, groups=x.shape[1])
        return high.abs().mean((2, 3), dtype=torch.float32)

    def forward(self, x: Tensor, mix: Tensor | None = None) -> Tensor:
        """[N,C,1,1]. ``mix`` blends each sample's statistics with the batch's, see :meth:`SRNet.forward`."""
        stats = self.statistics(x.detach())
        if mix is not None:
            stats = torch.lerp(stats, stats.mean(0, keepdim=True).expand_as(stats), mix)
        weight = 2 * torch.sigmoid(self.up(F.leaky_relu(self.down(stats), SLOPE)))
        return weight[:, :, None, None]


class Block(nn.Module):
    """out = x + gate · LeakyReLU(conv(x))."""

    def __init__(self, channels: int, attention: bool, branches: bool) -> None:
        super().__init__()
        self.conv = RepConv(channels, channels, branches)
        self.gate = HighPassGate(channels) if attention else None

    def forward(self, x: Tensor, mix: Tensor | None = None) -> Tensor:
        y = F.leaky_relu(self.conv(x), SLOPE)
        if self.gate is not None:
            y = y * self.gate(y, mix).to(y.dtype)
        return x + y


class SRNet(nn.Module):
    """Luma [N,1,H,W] in 0..1 (the legal range) to [N,1,2H,2W], see the module's text.

    ``channels`` at least 4; ``attention`` puts gates in; ``branches`` False trains plain convolutions (for
    comparison).
    """

    def __init__(
        self,
        channels: int = 16,
        blocks: int = 9,
        scale: int = SCALE,
        attention: bool = False,
        branches: bool = True,
    ) -> None:
        super().__init__()
        if channels < 4 or blocks < 1 or scale != SCALE:
            raise ValueError(
                f"SRNet takes channels >= 4, blocks >= 1 and scale 2, not {channels}, {blocks}, {scale}"
            )
        self.channels, self.scale, self.attention = channels, scale, attention
        self.head = RepConv(1, channels, branches)
        self.blocks = nn.ModuleList(Block(channels, attention, branches) for _ in range(blocks))
        self.tail = RepConv(channels, scale * scale, branches)
        with torch.no_grad():
            for block in self.blocks:
                assert isinstance(block, Block)
                for kernel in (block.conv.k3, block.conv.k1, block.conv.narrow):
                    kernel.mul_(0.3)
            for parameter in self.tail.parameters():
                parameter.mul_(0.02)  # the untrained net is the nearest upsample

    def forward(self, x: Tensor, mix: Tensor | None = None) -> Tensor:
        """``mix`` (training), [] in 0..1: 0 uses each sample's own gate statistics, 1 the batch's mean.

        Crops differ more from each other than pictures do; drawing ``mix`` at random teaches the net to work
        with statistics that come from elsewhere in the picture.
        """
        f = F.leaky_relu(self.head(x - CENTRE), SLOPE)
        for block in self.blocks:
            f = block(f, mix)
        return F.pixel_shuffle(self.tail(f) + x, self.scale)

    def config(self) -> dict[str, Any]:
        """The card's "architecture" entry: enough to build the net again."""
        return {
            "type": "sr_luma",
            "channels": self.channels,
            "blocks": len(self.blocks),
            "scale": self.scale,
            "attention": self.attention,
            "slope": SLOPE,
            "base": "nearest",
        }

    def inference_weights(self) -> dict[str, Tensor]:
        """Merged tensors, f32: ``head|blocks.<i>|tail.weight|bias``,
        ``blocks.<i>.gate.down|up.weight|bias``."""
        out: dict[str, Tensor] = {}
        convs = {"head": self.head, "tail": self.tail}
        for i, block in enumerate(self.blocks):
            assert isinstance(block, Block)
            convs[f"blocks.{i}"] = block.conv
            if block.gate is not None:
                for name, layer in (("down", block.gate.down), ("up", block.gate.up)):
                    out |= {
                        f"blocks.{i}.gate.{name}.weight": layer.weight,
                        f"blocks.{i}.gate.{name}.bias": layer.bias,
                    }
        for name, conv in convs.items():
            out |= {f"{name}.weight": conv.merged(), f"{name}.bias": conv.bias}
        return {name: tensor.detach().float().contiguous() for name, tensor in out.items()}

    def parameters_merged(self) -> int:
        """Number of learned values in the inference form."""
        return sum(t.numel() for t in self.inference_weights().values())

    def macs(self, width: int = 1920, height: int = 1080) -> int:
        """Multiply-accumulates for one picture, everything counted: convs, high-pass, scaling."""
        c = self.channels
        conv = 9 * (c + len(self.blocks) * c * c + c * self.scale**2)
        gate = len(self.blocks) * (9 * c / GATE_STRIDE**2 + c) if self.attention else 0
        return round(width * height * (conv + gate))

    def receptive_field(self) -> int:
        """Luma pixels of the source, left and right together, that reach one output pixel (gates aside)."""
        return 2 * (len(self.blocks) + 2) + 1
