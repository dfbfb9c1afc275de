# SPDX-License-Identifier: BSD-2-Clause
"""The same nets in other runtimes on the same GPU: frames of NV12 or P010 in device memory in, frames out.

A peer does all that the filter does, the fold from planes and the unfold to codes too, so that equal work is
compared. PyTorch runs in fp16 and channels_last, eager and compiled; TensorRT or TensorRT-RTX runs where it
can be imported and takes the bundle's fp16 ONNX file.
"""

from __future__ import annotations

import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from clarivid.models import Model
from clarivid.nets.load import load_net
from clarivid.nets.sr import RepConv
from clarivid.parity import spans

Frame = Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]


@dataclass(frozen=True)
class Timing:
    """Milliseconds a frame: the median over all timed runs, and the fastest and slowest of them."""

    ms: float
    least: float
    most: float


class FrameNet(nn.Module):
    """Planes (y, uv) as codes to planes (y, uv) as codes, limited range; even sizes.

    Args:
        luma: whether the net takes luma alone (layout y): chroma is then interpolated, bicubic.
        bit_depth: 8 (uint8) or 10 (int16 with the code in the high ten bits, as P010 has it).
    """

    def __init__(
        self, net: Callable[[Tensor], Tensor], luma: bool, bit_depth: int, dtype: torch.dtype
    ) -> None:
        super().__init__()
        self.net, self.luma, self.bit_depth, self.dtype = net, luma, bit_depth, dtype
        (self.off_y, self.span_y), (self.off_c, self.span_c) = spans(bit_depth, False)

    def forward(self, y: Tensor, uv: Tensor) -> tuple[Tensor, Tensor]:
        """[H,W] and [H/2,W] to s times that."""
        if self.bit_depth == 10:
            # P010's codes as int16: the shift is an arithmetic one, so the sign is masked away.
            y, uv = (y.int() >> 6) & 1023, (uv.int() >> 6) & 1023
        luma = (y[None, None].float() - self.off_y) / self.span_y
        chroma = (uv.view(1, uv.shape[0], -1, 2).permute(0, 3, 1, 2).float() - self.off_c) / self.span_c
        made = self.upscaled(luma, chroma) if self.luma else self.folded(luma - 0.5, chroma)
        top = (1 << self.bit_depth) - 1
        y = torch.clamp(torch.floor(made[0] * self.span_y + (self.off_y + 0.5)), 0, top)[0, 0]
        uv = made[1][0].permute(1, 2, 0).flatten(1)
        uv = torch.clamp(torch.floor(uv * self.span_c + (self.off_c + 0.5)), 0, top)
        if self.bit_depth == 10:
            return (y.int() << 6).to(torch.int16), (uv.int() << 6).to(torch.int16)
        return y.to(torch.uint8), uv.to(torch.uint8)

    def upscaled(self, luma: Tensor, chroma: Tensor) -> tuple[Tensor, Tensor]:
        """[1,1,H,W] and [1,2,H/2,W/2] through a net on luma."""
        made = self.net(luma.to(self.dtype)).float()
        scale = made.shape[2] // luma.shape[2]
        return made, F.interpolate(chroma, scale_factor=float(scale), mode="bicubic")

    def folded(self, luma: Tensor, chroma: Tensor) -> tuple[Tensor, Tensor]:
        """The same through a net on folded pictures, whose values are centred."""
        x = torch.cat([F.pixel_unshuffle(luma, 2), chroma], 1)
        out = self.net(x.to(self.dtype, memory_format=torch.channels_last)).float()
        scale = 2 if out.shape[1] == 24 else 1
        block = (2 * scale) ** 2
        return F.pixel_shuffle(out[:, :block], 2 * scale) + 0.5, F.pixel_shuffle(out[:, block:], scale)


def deployed(bundle: Model) -> nn.Module:
    """The net of a bundle as one would deploy it: merged kernels are plain convolutions."""
    net = load_net(bundle)
    for module in list(net.modules()):
        for name, conv in module.named_children():
            if isinstance(conv, RepConv):
                kernel = conv.merged().detach()
                plain = nn.Conv2d(kernel.shape[1], kernel.shape[0], 3, padding=1)
                plain.weight.data, plain.bias = kernel, conv.bias
                setattr(module, name, plain)
    return net.eval()


def frame_net(bundle: Model, bit_depth: int, dtype: torch.dtype, device: str = "cuda") -> FrameNet:
    """The bundle's net on frames, in ``dtype``."""
    net = deployed(bundle).to(device, dtype, memory_format=torch.channels_last)  # type: ignore[call-overload]
    return FrameNet(net, bundle.layout == "y", bit_depth, dtype)


def frames(width: int, height: int, bit_depth: int, count: int) -> list[tuple[Tensor, Tensor]]:
    """Random pictures on the GPU, as (y, uv)."""
    random = np.random.default_rng(5)
    found = []
    for _ in range(count):
        shapes = ((height, width), (height // 2, width))
        planes = [
            random.integers(0, 1 << bit_depth, shape) << (6 if bit_depth == 10 else 0) for shape in shapes
        ]
        kind = np.uint8 if bit_depth == 8 else np.uint16
        tensors = [
            torch.from_numpy(plane.astype(kind).view(np.int16 if bit_depth == 10 else np.uint8))
            for plane in planes
        ]
        found.append((tensors[0].cuda(), tensors[1].cuda()))
    return found


def time_frames(run: Frame, pictures: Sequence[tuple[Tensor, Tensor]], seconds: float) -> Timing:
    """Times ``run`` over the pictures in turn for about ``seconds``, in batches between two events."""
    with torch.inference_mode():
        for picture in pictures[:3]:
            run(*picture)
        torch.cuda.synchronize()
        start, end = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
        batch = len(pictures)
        times: list[float] = []
        while sum(times) * batch < 1000 * seconds or len(times) < 5:
            start.record()
            for picture in pictures:
                run(*picture)
            end.record()
            end.synchronize()
            times.append(start.elapsed_time(end) / batch)
            if len(times) >= 200:
                break
    return Timing(statistics.median(times), min(times), max(times))


def compiled(net: FrameNet) -> Frame:
    """``net`` through torch.compile with CUDA graphs: the first call takes tens of seconds."""
    made: Frame = torch.compile(net, mode="reduce-overhead", fullgraph=True)
    return made
