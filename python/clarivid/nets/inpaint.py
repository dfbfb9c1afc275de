# SPDX-License-Identifier: BSD-2-Clause
"""The painter of ``mesh_inpaint``: fills a hole of a folded 4:2:0 picture, coarse to fine.

::

    picture, hole ── diffusion ─┬─ 1/4 ── coarse: 1/8 with dilated gated blocks, 1/4 ── picture, edges
                                │                                    │ features
                                └─ full ── refine: 1/2, 1/4 with such blocks, 1/2, full ── + ── picture

The layout is ``yuv420_s2d_mask``; sizes are those of the tensor, half the luma's. What is in the hole never
enters: the input is multiplied by the hole's complement. The diffusion is a pyramid of averages over what is
known (pull-push, Gortler et al. 1996) with some relaxation, without weights: the stages learn what it lacks,
and an untrained net paints as it does. The coarse stage also guesses the outlines (EdgeConnect's idea, Nazeri
et al. 2019, learnt jointly), which the refine stage is given. In training there are two more outputs at 1/8
and 1/2 and a map of edges at full size.

The forward pass is written once against a few operations (:class:`Operations`), so that the exported graph is
the same by construction.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Generic, Protocol, TypeVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

IN_CHANNELS = 7
OUT_CHANNELS = 6
SLOPE = 0.1
MULTIPLE = 8  # of the tensor's height and width
MAX_PARAMETERS = 3_000_000
# Sides of the averages at 1/8 that fill what its own level leaves open, and the least known share.
_WIDE = (3, 7, 15, 31)
_SMOOTHINGS = (1, 3, 6, 12)  # at full size, 1/2, 1/4, 1/8
LEAST_KNOWN = 1e-4

V = TypeVar("V")


class Operations(Protocol[V]):
    """What the forward pass is made of; ``V`` is a tensor, or the name of one in a graph."""

    def conv(self, x: V, name: str, stride: int = 1, dilation: int = 1) -> V:
        """Convolution ``name``, padded by zeros so that only ``stride`` changes the size."""

    def leaky(self, x: V) -> V:
        """LeakyReLU of slope :data:`SLOPE`."""

    def sigmoid(self, x: V) -> V:
        """Logistic function."""

    def add(self, a: V, b: V) -> V:
        """Sum."""

    def mul(self, a: V, b: V) -> V:
        """Product; one channel counts for all."""

    def quotient(self, a: V, b: V) -> V:
        """a / max(b, :data:`LEAST_KNOWN`)."""

    def complement(self, x: V) -> V:
        """1 - x."""

    def gain(self, x: V, factor: float) -> V:
        """x · factor, clipped to 0..1."""

    def concat(self, parts: Sequence[V]) -> V:
        """Channels one after the other."""

    def channels(self, x: V, start: int, stop: int) -> V:
        """Some of the channels."""

    def average(self, x: V, size: int, stride: int) -> V:
        """Mean of ``size`` x ``size``; with stride 1 centred, zeros beyond the border count."""

    def blur(self, x: V) -> V:
        """Mean of the 3x3 samples about each, of those inside of the picture."""

    def enlarge(self, x: V, factor: int, smooth: bool = True) -> V:
        """Bilinear, or repeated."""


@dataclass(frozen=True)
class Outputs(Generic[V]):
    """``picture`` [N,6,h,w]; ``coarse`` [N,6,h/4,w/4] and its ``edges`` [N,1,h/4,w/4] (0..1); features from
    which training's other outputs are made: ``deep`` at 1/8, ``middle`` at 1/2, ``fine`` at full size."""

    picture: V
    coarse: V
    edges: V
    deep: V
    middle: V
    fine: V


@dataclass(frozen=True)
class Widths:
    """Channels and dilations: ``coarse`` at 1/4 and 1/8, ``refine`` at full size, 1/2 and 1/4; one gated
    block a number in ``coarse_dilations`` and ``refine_dilations``; ``smooth`` more convolutions to end."""

    coarse: tuple[int, int] = (48, 128)
    coarse_dilations: tuple[int, ...] = (1, 2, 4, 8, 4, 1)
    refine: tuple[int, int, int] = (24, 48, 96)
    refine_dilations: tuple[int, ...] = (1, 2, 4, 1)
    smooth: int = 1


# "fast" is what a CPU core paints with in some 30 ms.
CONFIGURATIONS = {
    "full": Widths(),
    "fast": Widths((24, 48), (1, 2, 4, 8), (16, 32, 48), (1, 2), 1),
}


def diffusion(ops: Operations[V], picture: V, known: V) -> V:
    """The hole filled by averages of what is known, the nearest scale first, and smoothed at each scale with
    what is known held (some steps towards the membrane). ``known`` is 1 or 0."""
    levels = [ops.concat([picture, known])]
    for _ in range(3):
        levels.append(ops.average(levels[-1], 2, 2))
    here, _ = _known(ops, ops.average(levels[3], _WIDE[-1], 1), 8.0)
    filled = here
    for size in reversed(_WIDE[:-1]):
        here, open_ = _known(ops, ops.average(levels[3], size, 1), 8.0)
        filled = ops.add(here, ops.mul(filled, open_))
    for level in (3, 2, 1, 0):
        if level < 3:
            filled = ops.enlarge(filled, 2)
        here, open_ = _known(ops, levels[level], 4.0 if level else 1.0)
        filled = ops.add(here, ops.mul(filled, open_))
        for _ in range(_SMOOTHINGS[level]):
            filled = ops.add(here, ops.mul(ops.blur(filled), open_))
    return filled


def _known(ops: Operations[V], pair: V, factor: float) -> tuple[V, V]:
    """Of a level's sums: its averages times how far they are to be trusted, and what that leaves open."""
    weight = ops.channels(pair, OUT_CHANNELS, OUT_CHANNELS + 1)
    mean = ops.quotient(ops.channels(pair, 0, OUT_CHANNELS), weight)
    trust = ops.gain(weight, factor)
    return ops.mul(mean, trust), ops.complement(trust)


def paint(ops: Operations[V], x: V, widths: Widths) -> Outputs[V]:
    """The forward pass. ``x`` [N,7,h,w]: the folded picture, and 1 in the hole."""
    hole = ops.channels(x, OUT_CHANNELS, OUT_CHANNELS + 1)
    known = ops.complement(hole)
    picture = ops.mul(ops.channels(x, 0, OUT_CHANNELS), known)
    start = diffusion(ops, picture, known)

    def layer(value: V, name: str, stride: int = 1) -> V:
        return ops.leaky(ops.conv(value, name, stride))

    def gated(value: V, name: str, dilation: int) -> V:
        """What a place adds depends on how far it is known (gated convolution, Yu et al. 2019)."""
        features = ops.leaky(ops.conv(value, f"{name}_features", dilation=dilation))
        gate = ops.sigmoid(ops.conv(value, f"{name}_gate", dilation=dilation))
        return ops.add(value, ops.mul(features, gate))

    small = ops.average(ops.concat([start, hole]), 4, 4)
    a = layer(small, "coarse_in")
    deep = layer(a, "coarse_down", 2)
    for i, dilation in enumerate(widths.coarse_dilations):
        deep = gated(deep, f"coarse_{i}", dilation)
    context = layer(ops.concat([ops.enlarge(deep, 2, False), a]), "coarse_up")
    change = ops.conv(context, "coarse_picture")
    coarse = ops.add(ops.channels(small, 0, OUT_CHANNELS), change)
    edges = ops.sigmoid(ops.conv(context, "coarse_edges"))

    # What the coarse stage changes is enlarged, not its picture, which would lose the hole's border.
    guess = ops.add(start, ops.mul(ops.enlarge(change, 4), hole))
    full = layer(ops.concat([guess, start, hole, ops.enlarge(edges, 4)]), "refine_in")
    half = layer(layer(full, "refine_down1", 2), "refine_half")
    quarter = layer(ops.concat([layer(half, "refine_down2", 2), context]), "refine_join")
    for i, dilation in enumerate(widths.refine_dilations):
        quarter = gated(quarter, f"refine_{i}", dilation)
    middle = layer(ops.concat([ops.enlarge(quarter, 2, False), half]), "refine_up1")
    fine = layer(ops.concat([ops.enlarge(middle, 2, False), full]), "refine_up2")
    for i in range(widths.smooth):
        fine = layer(fine, f"refine_smooth{i}")
    painted = ops.add(guess, ops.mul(ops.conv(fine, "refine_picture"), hole))
    return Outputs(painted, coarse, edges, deep, middle, fine)


class _Torch:
    """The operations in PyTorch."""

    def __init__(self, convs: nn.ModuleDict) -> None:
        self.convs = convs

    def conv(self, x: Tensor, name: str, stride: int = 1, dilation: int = 1) -> Tensor:
        layer = self.convs[name]
        assert isinstance(layer, nn.Conv2d)
        padding = dilation * (layer.kernel_size[0] // 2)
        return F.conv2d(x, layer.weight, layer.bias, stride, padding, dilation)

    def leaky(self, x: Tensor) -> Tensor:
        return F.leaky_relu(x, SLOPE)

    def sigmoid(self, x: Tensor) -> Tensor:
        return torch.sigmoid(x)

    def add(self, a: Tensor, b: Tensor) -> Tensor:
        return a + b

    def mul(self, a: Tensor, b: Tensor) -> Tensor:
        return a * b

    def quotient(self, a: Tensor, b: Tensor) -> Tensor:
        return a / b.clamp(min=LEAST_KNOWN)

    def complement(self, x: Tensor) -> Tensor:
        return 1 - x

    def gain(self, x: Tensor, factor: float) -> Tensor:
        return (x * factor).clamp(0, 1)

    def concat(self, parts: Sequence[Tensor]) -> Tensor:
        return torch.cat(list(parts), 1)

    def channels(self, x: Tensor, start: int, stop: int) -> Tensor:
        return x[:, start:stop]

    def average(self, x: Tensor, size: int, stride: int) -> Tensor:
        return F.avg_pool2d(x, size, stride, size // 2 if stride == 1 else 0)

    def blur(self, x: Tensor) -> Tensor:
        return F.avg_pool2d(x, 3, 1, 1, count_include_pad=False)

    def enlarge(self, x: Tensor, factor: int, smooth: bool = True) -> Tensor:
        if not smooth:
            return F.interpolate(x, scale_factor=float(factor), mode="nearest")
        return F.interpolate(x, scale_factor=float(factor), mode="bilinear", align_corners=False)


class InpaintNet(nn.Module):
    """[N,7,h,w] to [N,6,h,w], centred values (card: ycbcr_unit_centred), h and w multiples of 8.

    Channels 0..5 are the folded picture, channel 6 is 1 in the hole and 0 elsewhere. Known places are given
    back as they came. Raises :class:`ValueError` beyond 3,000,000 parameters.
    """

    def __init__(self, widths: Widths | str = "full") -> None:
        super().__init__()
        if isinstance(widths, str):
            if widths not in CONFIGURATIONS:
                raise ValueError(f"there is no configuration '{widths}'; use {', '.join(CONFIGURATIONS)}")
            widths = CONFIGURATIONS[widths]
        self.widths = widths
        shapes = _shapes(widths)
        self.convs = nn.ModuleDict({name: nn.Conv2d(a, b, k) for name, (a, b, k) in shapes.items()})
        # Outputs that only training has: the picture at 1/8 and 1/2, and the edges of the luma's 2x2 blocks.
        self.extra = nn.ModuleDict(
            {
                "deep": nn.Conv2d(widths.coarse[1], OUT_CHANNELS, 1),
                "middle": nn.Conv2d(widths.refine[1], OUT_CHANNELS, 1),
                "edges": nn.Conv2d(widths.refine[0], 4, 1),
            }
        )
        for name, layer in [*self.convs.items(), *self.extra.items()]:
            assert isinstance(layer, nn.Conv2d)
            assert layer.bias is not None
            nn.init.kaiming_normal_(layer.weight, a=SLOPE)
            nn.init.zeros_(layer.bias)
            with torch.no_grad():
                if name.endswith(("_picture", "_edges")) or name in self.extra:
                    layer.weight *= 0.03
                elif name.endswith("_features"):
                    layer.weight *= 0.5  # residual blocks: the sum must not grow
        if self.parameters_merged() > MAX_PARAMETERS:
            raise ValueError(
                f"{widths} has {self.parameters_merged()} parameters, more than {MAX_PARAMETERS}"
            )

    def forward(self, x: Tensor) -> Tensor:
        """The painted picture."""
        return self.outputs(x).picture

    def outputs(self, x: Tensor) -> Outputs[Tensor]:
        """Everything that training looks at."""
        if x.ndim != 4 or x.shape[1] != IN_CHANNELS or x.shape[2] % MULTIPLE or x.shape[3] % MULTIPLE:
            raise ValueError(
                f"InpaintNet takes [N,{IN_CHANNELS},h,w] with h and w multiples of {MULTIPLE}, "
                f"not {list(x.shape)}"
            )
        return paint(_Torch(self.convs), x, self.widths)

    def config(self) -> dict[str, Any]:
        """The card's "architecture" entry: enough to build the net again."""
        w = self.widths
        return {
            "type": "inpaint_coarse_refine",
            "coarse": list(w.coarse),
            "coarse_dilations": list(w.coarse_dilations),
            "refine": list(w.refine),
            "refine_dilations": list(w.refine_dilations),
            "smooth": w.smooth,
            "slope": SLOPE,
        }

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> InpaintNet:
        """The net that :meth:`config` described."""
        a, b = config["coarse"]
        c, d, e = config["refine"]
        dilations = tuple(config["coarse_dilations"]), tuple(config["refine_dilations"])
        return cls(Widths((a, b), dilations[0], (c, d, e), dilations[1], config["smooth"]))

    def inference_weights(self) -> dict[str, Tensor]:
        """Tensors in f32: ``<layer>.weight`` [out,in,k,k] and ``<layer>.bias`` [out]."""
        state = self.convs.state_dict()
        return {name: tensor.detach().float().contiguous() for name, tensor in state.items()}

    def load_inference_weights(self, tensors: dict[str, Tensor]) -> None:
        """The inverse of :meth:`inference_weights`; training's other outputs stay as they are."""
        self.convs.load_state_dict(tensors)

    def parameters_merged(self) -> int:
        """Number of learned values that painting needs."""
        return sum(parameter.numel() for parameter in self.convs.parameters())

    def macs(self, width: int = 1920, height: int = 1080) -> int:
        """Multiply-accumulates of the convolutions for one picture (the diffusion is left out)."""
        places = ((width + 1) // 2) * ((height + 1) // 2)
        half = ("refine_down1", "refine_half", "refine_up1")
        quarter = ("coarse_picture", "coarse_edges", "coarse_in", "coarse_up", "refine_down2", "refine_join")
        scale = {"coarse_down": 64, **dict.fromkeys(half, 4), **dict.fromkeys(quarter, 16)}
        total = 0
        for name, layer in self.convs.items():
            assert isinstance(layer, nn.Conv2d)
            block = name.split("_")[1].isdigit()
            divisor = (64 if name.startswith("coarse") else 16) if block else scale.get(name, 1)
            total += places * layer.weight.numel() // divisor
        return total

    def receptive_field(self) -> int:
        """Luma pixels, left and right together, that the convolutions join; the diffusion reaches further."""
        w = self.widths
        coarse = 4 * (2 + 2 * 2 + 2 * 2 * sum(w.coarse_dilations) + 2 * 2) + 4 * 2
        refine = 2 + 2 * 2 + 2 * 2 + 4 * (2 + 2 * sum(w.refine_dilations)) + 2 * 2 + 2 + 2 * (1 + w.smooth)
        return 2 * (1 + coarse + refine)


def _shapes(w: Widths) -> dict[str, tuple[int, int, int]]:
    """Of each convolution of :func:`paint`: channels in and out, size of the kernel."""
    sizes = [*w.coarse, *w.refine]
    if min(sizes) < 1 or min([1, *w.coarse_dilations, *w.refine_dilations]) < 1 or w.smooth < 0:
        raise ValueError(f"widths and dilations are at least 1, not {w}")
    k0, k1 = w.coarse
    c0, c1, c2 = w.refine
    shapes = {"coarse_in": (7, k0, 3), "coarse_down": (k0, k1, 3)}
    for i in range(len(w.coarse_dilations)):
        shapes |= {f"coarse_{i}_{part}": (k1, k1, 3) for part in ("features", "gate")}
    shapes |= {
        "coarse_up": (k1 + k0, k0, 3),
        "coarse_picture": (k0, OUT_CHANNELS, 3),
        "coarse_edges": (k0, 1, 3),
        "refine_in": (2 * OUT_CHANNELS + 2, c0, 3),
        "refine_down1": (c0, c1, 3),
        "refine_half": (c1, c1, 3),
        "refine_down2": (c1, c2, 3),
        "refine_join": (c2 + k0, c2, 3),
    }
    for i in range(len(w.refine_dilations)):
        shapes |= {f"refine_{i}_{part}": (c2, c2, 3) for part in ("features", "gate")}
    shapes |= {"refine_up1": (c2 + c1, c1, 3), "refine_up2": (c1 + c0, c0, 3)}
    shapes |= {f"refine_smooth{i}": (c0, c0, 3) for i in range(w.smooth)}
    shapes["refine_picture"] = (c0, OUT_CHANNELS, 3)
    return shapes


__all__ = ["CONFIGURATIONS", "InpaintNet", "Operations", "Outputs", "Widths", "diffusion", "paint"]
