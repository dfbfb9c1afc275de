# SPDX-License-Identifier: BSD-2-Clause
"""The super-resolution net of ``dnn_sr``, on 4:2:0 pictures folded to half size (``yuv420_s2d``).

::

    input [N,6,h,w] ── head 3x3, 6→48, LeakyReLU ── 4 blocks ── tail 3x3, 48→24 ── + ── output [N,24,h,w]
          └────────────────────────── nearest upsample (fixed) ───────────────────┘

    block:  x ── rep. conv (skip + 1x1 + 3x3) ── LeakyReLU ── × w ── + ── out
            ├──────────────────────────────────────────────┬──────── ┘
            w = gate(mean |high-pass(y)|), one weight a channel, about 1 at the start

Published points (DESIGN.md): unshuffle head, blocks that are one 3x3 at inference, channel attention driven
by the features' high-frequency part. Choices of ours:

* The base is the nearest upsample, a copy of channels: exact in any precision, no multiply, no padding. A
  bicubic base as a 3x3 conv would cost 0.67 GMAC and an edge-padding pass. Instead the net *starts* as a
  bicubic interpolator (:meth:`SRNet.start_as_bicubic`): twelve feature channels carry plus and minus the
  input through the blocks' residual path, and the tail turns their difference into bicubic minus nearest.
* Branches are merged in weight space in the training step too: the same gradients as the explicit form
  (:meth:`RepConv.explicit`, tested), for the price of one conv.
* Convolutions pad with zeros, which is mid-grey here (values are centred); the loss sees picture borders, so
  the net learns them. Edge padding would be one more pass over memory for each of six layers.
* The gate looks at every fourth feature in both directions, a sixteenth of the work. No gradient flows from
  it into the features: it is tiny, and costs as much as two convolutions. It earned nothing
  (docs/training.md), so the shipped nets have none.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

IN_CHANNELS = 6
SLOPE = 0.1
GATE_STRIDE = 4
# The input channel that each output channel lies in: 4x4 luma, then 2x2 of U and of V.
NEAREST = [(r // 2) * 2 + c // 2 for r in range(4) for c in range(4)] + [4] * 4 + [5] * 4


class RepConv(nn.Module):
    """A 3x3 convolution trained as the sum of a channel-wise skip, a 1x1 and a 3x3 (RepVGG,
    arXiv:2101.03697); ``branches`` False leaves the first two at their start."""

    def __init__(self, channels: int, branches: bool = True) -> None:
        super().__init__()
        self.k3 = nn.Parameter(torch.empty(channels, channels, 3, 3))
        self.k1 = nn.Parameter(torch.empty(channels, channels))
        self.skip = nn.Parameter(torch.full((channels,), 0.1))
        self.bias = nn.Parameter(torch.zeros(channels))
        nn.init.kaiming_normal_(self.k3, a=SLOPE)
        nn.init.kaiming_normal_(self.k1, a=SLOPE)
        with torch.no_grad():
            self.k3.mul_(0.3)
            self.k1.mul_(0.3)
        self.k1.requires_grad_(branches)
        self.skip.requires_grad_(branches)

    def merged(self) -> Tensor:
        """The one 3x3 kernel that the three branches amount to, [C,C,3,3]."""
        centre = self.k1 + torch.diag(self.skip)
        return self.k3 + F.pad(centre[:, :, None, None], (1, 1, 1, 1))

    def forward(self, x: Tensor) -> Tensor:
        return F.conv2d(x, self.merged(), self.bias, padding=1)

    def explicit(self, x: Tensor) -> Tensor:
        """The three branches one by one; equals :meth:`forward` up to rounding."""
        return (
            F.conv2d(x, self.k3, self.bias, padding=1)
            + F.conv2d(x, self.k1[:, :, None, None])
            + x * self.skip[:, None, None]
        )


class HighPassGate(nn.Module):
    """Channel weights in 0..2 from the mean magnitude of each channel's high frequencies over the picture."""

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
        self.conv = RepConv(channels, branches)
        self.gate = HighPassGate(channels) if attention else None

    def forward(self, x: Tensor, mix: Tensor | None = None) -> Tensor:
        y = F.leaky_relu(self.conv(x), SLOPE)
        if self.gate is not None:
            y = y * self.gate(y, mix).to(y.dtype)
        return x + y


class SRNet(nn.Module):
    """[N,6,h,w] to [N,6 s²,h,w] for scale s, see the module's text. Values are centred (card:
    ycbcr_unit_centred).

    ``channels`` at least 12; ``attention`` False leaves the gates out;
    ``branches`` False trains plain convolutions (for comparison).
    """

    def __init__(
        self,
        channels: int = 48,
        blocks: int = 4,
        scale: int = 2,
        attention: bool = True,
        branches: bool = True,
    ) -> None:
        super().__init__()
        if channels < 2 * IN_CHANNELS or blocks < 1 or scale != 2:
            raise ValueError(
                f"SRNet takes channels >= 12, blocks >= 1 and scale 2, not {channels}, {blocks}, {scale}"
            )
        self.channels, self.scale, self.attention = channels, scale, attention
        self.head = nn.Conv2d(IN_CHANNELS, channels, 3, padding=1)
        self.blocks = nn.ModuleList(Block(channels, attention, branches) for _ in range(blocks))
        self.tail = nn.Conv2d(channels, IN_CHANNELS * scale * scale, 3, padding=1)
        self.register_buffer("base", torch.tensor(NEAREST), persistent=False)
        self.base: Tensor
        nn.init.kaiming_normal_(self.head.weight, a=SLOPE)
        nn.init.zeros_(self.head.bias) if self.head.bias is not None else None
        self.start_as_bicubic()

    @torch.no_grad()
    def start_as_bicubic(self) -> None:
        """Make the untrained net interpolate: see the module's text."""
        head, tail = self.head.weight, self.tail.weight
        head[: 2 * IN_CHANNELS] = 0
        tail.mul_(0.02)
        assert self.head.bias is not None
        assert self.tail.bias is not None
        self.head.bias.zero_()
        self.tail.bias.zero_()
        want = bicubic_kernel()
        want[torch.arange(len(NEAREST)), torch.tensor(NEAREST), 1, 1] -= 1
        for c in range(IN_CHANNELS):
            plus, minus = 2 * c, 2 * c + 1
            head[plus, c, 1, 1] = 1
            head[minus, c, 1, 1] = -1
            # LeakyReLU(x) - LeakyReLU(-x) = (1 + slope) x, and the residual path keeps it.
            tail[:, plus] = want[:, c] / (1 + SLOPE)
            tail[:, minus] = -want[:, c] / (1 + SLOPE)
        for block in self.blocks:
            conv = block.conv
            assert isinstance(conv, RepConv)
            for parameter in (conv.k3, conv.k1, conv.skip):
                parameter[: 2 * IN_CHANNELS] *= 0.05  # hardly touch what is carried through

    def forward(self, x: Tensor, mix: Tensor | None = None) -> Tensor:
        """``mix`` (training), [] in 0..1: 0 uses each sample's own gate statistics, 1 the batch's mean.

        Crops differ more from each other than pictures do; drawing ``mix`` at random teaches the net to work
        with statistics that come from elsewhere in the picture.
        """
        f = F.leaky_relu(self.head(x), SLOPE)
        for block in self.blocks:
            f = block(f, mix)
        return torch.add(self.tail(f), x[:, self.base])

    @torch.no_grad()
    def without_attention(self, pictures: Iterable[Tensor]) -> SRNet:
        """A net of the same weights whose gates are constants: what they are in the mean of ``pictures``
        ([N,6,h,w] each).

        A gate is never negative and LeakyReLU lets positive factors through, so the constants go into the
        kernels before it.
        """
        sums = [torch.zeros(self.channels) for _ in self.blocks]
        count = 0
        for x in pictures:
            f = F.leaky_relu(self.head(x), SLOPE)
            for total, block in zip(sums, self.blocks, strict=True):
                assert isinstance(block, Block)
                assert block.gate is not None
                y = F.leaky_relu(block.conv(f), SLOPE)
                weight = block.gate(y)
                total += weight.sum((0, 2, 3)).cpu()
                f = f + y * weight
            count += len(x)
        plain = SRNet(self.channels, len(self.blocks), self.scale, attention=False)
        plain.load_state_dict({k: v for k, v in self.state_dict().items() if ".gate." not in k})
        for total, block in zip(sums, plain.blocks, strict=True):
            assert isinstance(block, Block)
            for parameter in block.conv.parameters():
                parameter.mul_((total / count).reshape(-1, *[1] * (parameter.ndim - 1)))
        return plain

    def config(self) -> dict[str, Any]:
        """The card's "architecture" entry: enough to build the net again."""
        return {
            "type": "sr_hpca",
            "channels": self.channels,
            "blocks": len(self.blocks),
            "scale": self.scale,
            "attention": self.attention,
            "gate_stride": GATE_STRIDE,
            "slope": SLOPE,
            "base": "nearest",
        }

    def inference_weights(self) -> dict[str, Tensor]:
        """Merged tensors, f32: ``head|blocks.<i>|tail.weight|bias``,
        ``blocks.<i>.gate.down|up.weight|bias``."""
        out: dict[str, Tensor] = {"head.weight": self.head.weight, "tail.weight": self.tail.weight}
        assert self.head.bias is not None
        assert self.tail.bias is not None
        out |= {"head.bias": self.head.bias, "tail.bias": self.tail.bias}
        for i, block in enumerate(self.blocks):
            assert isinstance(block, Block)
            out |= {f"blocks.{i}.weight": block.conv.merged(), f"blocks.{i}.bias": block.conv.bias}
            if block.gate is not None:
                for name, layer in (("down", block.gate.down), ("up", block.gate.up)):
                    out |= {
                        f"blocks.{i}.gate.{name}.weight": layer.weight,
                        f"blocks.{i}.gate.{name}.bias": layer.bias,
                    }
        return {name: tensor.detach().float().contiguous() for name, tensor in out.items()}

    def parameters_merged(self) -> int:
        """Number of learned values in the inference form."""
        return sum(t.numel() for t in self.inference_weights().values())

    def macs(self, width: int = 1920, height: int = 1080) -> int:
        """Multiply-accumulates for one picture, everything counted: convs, base, high-pass, scaling."""
        c, places = self.channels, ((width + 1) // 2) * ((height + 1) // 2)
        conv = 9 * (IN_CHANNELS * c + len(self.blocks) * c * c + c * IN_CHANNELS * self.scale**2)
        base = IN_CHANNELS * IN_CHANNELS * self.scale**2  # a copy here, a 1x1 conv in ONNX
        gate = len(self.blocks) * (9 * c / GATE_STRIDE**2 + c) if self.attention else 0
        return round(places * (conv + base + gate))

    def receptive_field(self) -> int:
        """Luma pixels of the source, left and right together, that reach one output pixel (gates aside)."""
        return 2 * (2 * (len(self.blocks) + 2) + 1)


def bicubic_kernel(a: float = -0.6) -> Tensor:
    """[24,6,3,3]: 2x interpolation in the folded layout; ``a`` as swscale's bicubic has it.

    Luma: Keys' cubic, 4x4 taps at quarter-pixel phases; they fit into 3x3 folded places exactly. Chroma: rows
    at quarter phases, columns sited left, that is at phases -1/8 and +3/8; quadratic, three taps.
    """
    kernel = torch.zeros(24, 6, 3, 3)
    luma = torch.zeros(4, 6)  # output offset in the 4-block, input column -2..3 relative to the 2-block
    for out in range(4):
        centre = (out + 0.5) / 2 - 0.5
        for tap in range(-2, 4):
            luma[out, tap + 2] = _cubic(tap - centre, a)
    for r in range(4):
        for c in range(4):
            for i in range(6):
                for j in range(6):
                    channel = (i % 2) * 2 + j % 2
                    kernel[r * 4 + c, channel, i // 2, j // 2] = luma[r, i] * luma[c, j]
    rows, columns = [_quadratic(t) for t in (-0.25, 0.25)], [_quadratic(t) for t in (-0.125, 0.375)]
    for plane in range(2):
        for r in range(2):
            for c in range(2):
                kernel[16 + 4 * plane + 2 * r + c, 4 + plane] = torch.outer(rows[r], columns[c])
    return kernel


def _cubic(t: float, a: float) -> float:
    t = abs(t)
    if t <= 1:
        return (a + 2) * t**3 - (a + 3) * t**2 + 1
    return a * t**3 - 5 * a * t**2 + 8 * a * t - 4 * a if t < 2 else 0.0


def _quadratic(t: float) -> Tensor:
    """Lagrange's parabola through samples at -1, 0, 1, evaluated at ``t``."""
    return torch.tensor([t * (t - 1) / 2, 1 - t * t, t * (t + 1) / 2])
