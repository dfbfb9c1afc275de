# SPDX-License-Identifier: BSD-2-Clause
"""Small super-resolution nets that others have published, to be trained on our data under our budget.

Written after the papers, without their code:

============  ==========================================================================  ========  =========
name          net                                                                         works on  GMAC
============  ==========================================================================  ========  =========
espcn         ESPCN (Shi et al., CVPR 2016) as FFmpeg's filter ``sr`` has it: 5x5 1→64,   luma      44.0
              3x3 64→32, 3x3 32→4, tanh
ecbsr         ECBSR-M4C16 (Zhang, Zeng and Zhang, ACM MM 2021): plain 3x3 convolutions,   luma      20.6
              trained with branches for edges, PReLU
bicubic_pp    Bicubic++ (Bilecen and Ayazoglu, CVPRW 2023): 32 channels at half size,     4:2:0     14.0
              four convolutions
rt4ksr        RT4KSR-Rep (Zamfir, Conde and Timofte, CVPRW 2023): 24 channels at half     4:2:0     16.8
              size, four blocks of LayerNorm, merged 3x3 and GELU
span          SPAN (Wan et al., CVPRW 2024), cut to our budget: 28 channels, 3 blocks of  4:2:0     42.1
              three merged 3x3, attention by a sigmoid without parameters
============  ==========================================================================  ========  =========

All take and give folded 4:2:0 pictures (``yuv420_s2d``), as :class:`clarivid.nets.folded.Folded` does. Those
for luma see the picture unfolded; their chroma is bicubic. The others get 6 channels in place of the 12 that
an unshuffle of RGB has (Bicubic++ and RT4KSR begin with one too). To all of them the nearest upsample is
added, as in ECBSR's paper and in SRNet: without it they spend a short training on learning to copy. GMAC are
for 1080p to 4K, merged.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from clarivid.nets.folded import NEAREST, bicubic_kernel

IN_CHANNELS, OUT_CHANNELS = 6, 24


class Conv(nn.Module):
    """A convolution of stride 1 that keeps the size (zeros outside).

    Subclasses train it as a sum of branches: :meth:`kernel` and :meth:`offset` are what these amount to.
    """

    def __init__(self, inputs: int, outputs: int, size: int = 3, bias: bool = True) -> None:
        super().__init__()
        self.inputs, self.outputs, self.size = inputs, outputs, size
        self.weight = nn.Parameter(torch.empty(outputs, inputs, size, size))
        self.bias = nn.Parameter(torch.zeros(outputs)) if bias else None
        nn.init.kaiming_normal_(self.weight, a=0.1)

    def kernel(self) -> Tensor:
        """[outputs, inputs, size, size]."""
        return self.weight

    def offset(self) -> Tensor | None:
        """[outputs], or None."""
        return self.bias

    def forward(self, x: Tensor) -> Tensor:
        return F.conv2d(x, self.kernel(), self.offset(), padding=self.size // 2)


class Expanded(Conv):
    """3x3 trained as 1x1 (to ``ratio`` times the channels), 3x3, 1x1, and a skip.

    RT4KSR's has the identity around the inner 3x3 and around all; SPAN's a 1x1 around all. In the papers the
    inner convolution pads with the first one's bias, which makes it the same as the merged one everywhere.
    """

    def __init__(self, channels: int, ratio: int = 2, identity: bool = True) -> None:
        super().__init__(channels, channels)
        wide = ratio * channels
        self.identity = identity
        self.weight = nn.Parameter(torch.empty(wide, wide, 3, 3))
        self.first = nn.Parameter(torch.empty(wide, channels))
        self.first_bias = nn.Parameter(torch.zeros(wide))
        self.inner_bias = nn.Parameter(torch.zeros(wide))
        self.last = nn.Parameter(torch.empty(channels, wide))
        self.skip = None if identity else nn.Parameter(torch.empty(channels, channels))
        for parameter in (self.weight, self.first, self.last, self.skip):
            if parameter is not None:
                nn.init.kaiming_uniform_(parameter, a=math.sqrt(5))

    def kernel(self) -> Tensor:
        inner: Tensor = self.weight
        if self.identity:
            inner = inner + _centre(torch.eye(inner.shape[0], device=inner.device))
        merged = torch.einsum("ow,wvyx,vi->oiyx", self.last, inner, self.first)
        around = self.skip if self.skip is not None else torch.eye(self.outputs, device=inner.device)
        return merged + _centre(around)

    def offset(self) -> Tensor:
        assert self.bias is not None
        inner = self.weight.sum((2, 3)) @ self.first_bias + self.inner_bias
        if self.identity:
            inner = inner + self.first_bias
        return self.last @ inner + self.bias


class EdgeOriented(Conv):
    """ECBSR's block: 3x3, 1x1 then 3x3, and 1x1 then fixed Sobel x, Sobel y and Laplacian with scales."""

    def __init__(self, inputs: int, outputs: int, ratio: int = 2) -> None:
        super().__init__(inputs, outputs)
        wide = ratio * outputs
        self.first = nn.Parameter(torch.empty(wide, inputs))
        self.inner = nn.Parameter(torch.empty(outputs, wide, 3, 3))
        self.mixes = nn.Parameter(torch.empty(3, outputs, inputs))
        self.scales = nn.Parameter(torch.randn(3, outputs) * 1e-3)
        for parameter in (self.first, self.inner, self.mixes):
            nn.init.kaiming_uniform_(parameter, a=math.sqrt(5))
        masks = torch.tensor(
            [
                [[1.0, 0, -1], [2, 0, -2], [1, 0, -1]],
                [[1.0, 2, 1], [0, 0, 0], [-1, -2, -1]],
                [[0.0, 1, 0], [1, -4, 1], [0, 1, 0]],
            ]
        )
        self.register_buffer("masks", masks, persistent=False)
        self.masks: Tensor

    def kernel(self) -> Tensor:
        merged = self.weight + torch.einsum("owyx,wi->oiyx", self.inner, self.first)
        return merged + torch.einsum("mo,moi,myx->oiyx", self.scales, self.mixes, self.masks)


def _centre(matrix: Tensor) -> Tensor:
    """A matrix of channels as a 3x3 kernel."""
    return F.pad(matrix[:, :, None, None], (1, 1, 1, 1))


class ChannelNorm(nn.Module):
    """LayerNorm over the channels of each place."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(channels, 1, 1))
        self.bias = nn.Parameter(torch.zeros(channels, 1, 1))

    def forward(self, x: Tensor) -> Tensor:
        mean = x.mean(1, keepdim=True)
        centred = x - mean
        variance = (centred * centred).mean(1, keepdim=True)
        return centred * torch.rsqrt(variance + 1e-6) * self.weight + self.bias


class Rival(nn.Module):
    """[N,6,h,w] to [N,24,h,w], values centred; scale 2.

    :cvar name: in :data:`RIVALS`.
    :cvar luma: whether :meth:`net` takes unfolded luma, [N,1,2h,2w] to [N,4,2h,2w], or folded pictures.
    """

    name: ClassVar[str]
    luma: ClassVar[bool] = False
    scale = 2

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("base", torch.tensor(NEAREST), persistent=False)
        self.base: Tensor
        if self.luma:
            self.register_buffer("chroma", bicubic_kernel()[16:, 4:].clone(), persistent=False)
            self.chroma: Tensor

    def net(self, x: Tensor) -> Tensor:
        """What is added to the nearest upsample."""
        raise NotImplementedError

    def path(self) -> Iterator[Conv]:
        """The convolutions on the longest way from input to output."""
        for module in self.modules():
            if isinstance(module, Conv):
                yield module

    def forward(self, x: Tensor, mix: Tensor | None = None) -> Tensor:
        """``mix`` is what SRNet's gates take in training; there are none here."""
        if not self.luma:
            return self.net(x) + x[:, self.base]
        y = F.pixel_shuffle(x[:, :4], 2)
        found = F.pixel_shuffle(self.net(y) + y, 2)
        colour = F.conv2d(F.pad(x[:, 4:], (1, 1, 1, 1), mode="replicate"), self.chroma.to(x.dtype))
        return torch.cat((F.pixel_unshuffle(found, 4), colour), 1)

    def config(self) -> dict[str, Any]:
        """The card's "architecture" entry; :func:`from_config` builds the net again."""
        return {"type": f"rival_{self.name}", "scale": 2, "base": "nearest"}

    def inference_weights(self) -> dict[str, Tensor]:
        """Merged tensors, f32."""
        found: dict[str, Tensor] = {}
        for name, module in self.named_modules():
            if isinstance(module, Conv):
                found[f"{name}.weight"] = module.kernel()
                if (offset := module.offset()) is not None:
                    found[f"{name}.bias"] = offset
            elif not list(module.children()):
                found |= {f"{name}.{key}": value for key, value in module.named_parameters()}
        return {name: tensor.detach().float().contiguous() for name, tensor in found.items()}

    def parameters_merged(self) -> int:
        """Number of learned values in the inference form."""
        return sum(tensor.numel() for tensor in self.inference_weights().values())

    def macs(self, width: int = 1920, height: int = 1080) -> int:
        """Multiply-accumulates for one picture: convolutions, merged, and chroma's interpolation."""
        places = ((width + 1) // 2) * ((height + 1) // 2)
        each = sum(c.inputs * c.outputs * c.size**2 for c in self.modules() if isinstance(c, Conv))
        return places * (4 * each + 8 * 9 if self.luma else each)

    def receptive_field(self) -> int:
        """Luma pixels of the source, left and right together, that reach one output pixel."""
        reach = 2 * sum(conv.size // 2 for conv in self.path()) + 1
        return reach if self.luma else 2 * reach


class ESPCN(Rival):
    """See the module's table."""

    name, luma = "espcn", True

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second, self.last = Conv(1, 64, 5), Conv(64, 32), Conv(32, 4)
        _quiet(self.last)

    def net(self, x: Tensor) -> Tensor:
        found: Tensor = self.last(torch.tanh(self.second(torch.tanh(self.first(x)))))
        return found


class ECBSR(Rival):
    """See the module's table."""

    name, luma = "ecbsr", True

    def __init__(self, channels: int = 16, blocks: int = 4) -> None:
        super().__init__()
        self.channels = channels
        sizes = [(1, channels), *[(channels, channels)] * blocks]
        self.blocks = nn.ModuleList(EdgeOriented(*size) for size in sizes)
        self.slopes = nn.ModuleList(nn.PReLU(channels) for _ in sizes)
        self.last = EdgeOriented(channels, 4)
        _quiet(self.last)

    def net(self, x: Tensor) -> Tensor:
        for block, slope in zip(self.blocks, self.slopes, strict=True):
            x = slope(block(x))
        found: Tensor = self.last(x)
        return found

    def config(self) -> dict[str, Any]:
        return {**super().config(), "channels": self.channels, "blocks": len(self.blocks) - 1}


class BicubicPP(Rival):
    """See the module's table."""

    name = "bicubic_pp"

    def __init__(self, channels: int = 32) -> None:
        super().__init__()
        self.channels = channels
        self.first = Conv(IN_CHANNELS, channels, bias=False)
        self.second, self.third = (Conv(channels, channels, bias=False) for _ in range(2))
        self.last = Conv(channels, OUT_CHANNELS, bias=False)
        _quiet(self.last)

    def net(self, x: Tensor) -> Tensor:
        first = F.leaky_relu(self.first(x), 0.1)
        deep = F.leaky_relu(self.third(F.leaky_relu(self.second(first), 0.1)), 0.1)
        found: Tensor = self.last(deep + first)
        return found

    def config(self) -> dict[str, Any]:
        return {**super().config(), "channels": self.channels}


class RT4KSR(Rival):
    """See the module's table. The paper's branch for high frequencies is off, as in its published weights."""

    name = "rt4ksr"

    def __init__(self, channels: int = 24, blocks: int = 4) -> None:
        super().__init__()
        self.channels = channels
        self.first = Conv(IN_CHANNELS, channels)
        self.norms = nn.ModuleList(ChannelNorm(channels) for _ in range(blocks + 1))
        self.blocks = nn.ModuleList(Expanded(channels) for _ in range(blocks + 1))
        self.last = Conv(channels, OUT_CHANNELS)
        _quiet(self.last)

    def net(self, x: Tensor) -> Tensor:
        x = self.first(x)
        for n, (norm, block) in enumerate(zip(self.norms, self.blocks, strict=True)):
            x = block(norm(x))
            if n + 1 < len(self.blocks):
                x = F.gelu(x)
        found: Tensor = self.last(x)
        return found

    def config(self) -> dict[str, Any]:
        return {**super().config(), "channels": self.channels, "blocks": len(self.blocks) - 1}


class SpanBlock(nn.Module):
    """Three merged 3x3; what comes out is weighted by its own sigmoid less a half."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.convs = nn.ModuleList(Expanded(channels, identity=False) for _ in range(3))

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """The block's output, and its first convolution's."""
        first = self.convs[0](x)
        last = self.convs[2](F.silu(self.convs[1](F.silu(first))))
        return (last + x) * (torch.sigmoid(last) - 0.5), first


class SPAN(Rival):
    """See the module's table."""

    name = "span"

    def __init__(self, channels: int = 28, blocks: int = 3) -> None:
        super().__init__()
        self.channels = channels
        self.first = Conv(IN_CHANNELS, channels)
        self.blocks = nn.ModuleList(SpanBlock(channels) for _ in range(blocks))
        self.after = Expanded(channels, identity=False)
        self.join = Conv(4 * channels, channels, 1)
        self.last = Conv(channels, OUT_CHANNELS)
        _quiet(self.last)

    def net(self, x: Tensor) -> Tensor:
        features = self.first(x)
        y, early, inner = features, features, features
        for n, block in enumerate(self.blocks):
            y, inner = block(y)
            if n == 0:
                early = y
        found: Tensor = self.last(self.join(torch.cat((features, self.after(y), early, inner), 1)))
        return found

    def config(self) -> dict[str, Any]:
        return {**super().config(), "channels": self.channels, "blocks": len(self.blocks)}


@torch.no_grad()
def _quiet(conv: Conv) -> None:
    """A last layer that starts near nothing: the untrained net is the nearest upsample."""
    for parameter in conv.parameters():
        parameter.mul_(0.02)


RIVALS: dict[str, type[Rival]] = {net.name: net for net in (ESPCN, ECBSR, BicubicPP, RT4KSR, SPAN)}


def from_config(config: dict[str, Any]) -> Rival:
    """The net of a :meth:`Rival.config`, untrained. Raises ``KeyError`` for a type that is no rival's."""
    net = RIVALS[str(config["type"]).removeprefix("rival_")]
    return net(**{key: config[key] for key in ("channels", "blocks") if key in config})


class _Merged(Conv):
    """A convolution as inference has it."""

    def __init__(self, conv: Conv) -> None:
        super().__init__(conv.inputs, conv.outputs, conv.size)
        offset = conv.offset()
        self.weight = nn.Parameter(conv.kernel().detach().clone())
        self.bias = None if offset is None else nn.Parameter(offset.detach().clone())


def merged(net: Rival) -> Rival:
    """A copy with every convolution merged, in eval mode: the same pictures, fewer operations."""
    copy = from_config(net.config())
    copy.load_state_dict(net.state_dict())
    for module in list(copy.modules()):
        for name, child in module.named_children():
            if isinstance(child, Conv):
                setattr(module, name, _Merged(child))
    return copy.eval()


def write_onnx(net: Rival, path: Path) -> Path:
    """The merged net as ONNX in the layout ``yuv420_s2d``, all sizes dynamic: ``dnn_sr=model=PATH`` runs it.

    Needs the package onnx.
    """
    example = torch.zeros(1, IN_CHANNELS, 16, 24)
    axes = {name: {0: "batch", 2: "height", 3: "width"} for name in ("input", "output")}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of the exporter, that it will be replaced
        torch.onnx.export(
            merged(net),
            (example,),
            str(path),
            input_names=["input"],
            output_names=["output"],
            dynamic_axes=axes,
            opset_version=18,
            dynamo=False,
        )
    return path


__all__ = ["RIVALS", "Rival", "from_config", "merged", "write_onnx"]
