# SPDX-License-Identifier: BSD-2-Clause
"""The pre-encoding net of ``lowrank_pre``, on 4:2:0 pictures folded to half size (``yuv420_s2d``).

::

    input ── 3x3, 6→C, LeakyReLU ── 3x3, C→C, LeakyReLU ── 3x3, C→6, limit ── × strength ── + ── output
       └────────────────────────────────────────────────────────────────────────────────────┘

It takes from a picture what costs bits and is not seen. There is no memory between frames: the same picture
gives the same result, so what stands still stays still. A plain chain of 3x3 convolutions keeps a tile on
chip from the first layer to the last (one fused kernel) and is what CPU runtimes do best.

The change of a sample is limited to some codes. Without a limit a chain of convolutions changes a picture in
proportion to its contrast, most of all at the edges of letters, where encoders and viewers can least bear it.

Convolutions pad with zeros, which is mid-grey here: values are centred.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import inf
from typing import Any

import torch.nn.functional as F
from torch import Tensor, nn

IN_CHANNELS = 6
SLOPE = 0.1
MAX_PARAMETERS = 3100
CODES = 219  # 8-bit luma codes of limited range, black to white: 1 in the net's values


class LowrankNet(nn.Module):
    """[N,6,h,w] to [N,6,h,w], centred values (card: ycbcr_unit_centred).

    ``channels`` is the width of the inner layers, ``layers`` the number of convolutions (at least 2),
    ``dilation`` one number a layer (all 1 by default), ``limit`` the most that a sample may change, in 8-bit
    codes of limited range (0: no limit). Raises :class:`ValueError` beyond 3,100 parameters.
    The untrained net is the identity but for a trace.
    """

    def __init__(
        self,
        channels: int = 12,
        layers: int = 3,
        dilation: Sequence[int] | None = None,
        limit: float = 0.0,
    ) -> None:
        super().__init__()
        dilation = [1] * layers if dilation is None else list(dilation)
        if channels < 1 or layers < 2 or len(dilation) != layers or min(dilation) < 1 or not 0 <= limit < inf:
            raise ValueError(
                f"LowrankNet takes channels >= 1, layers >= 2, one dilation >= 1 a layer and a limit >= 0, "
                f"not {channels}, {layers}, {dilation}, {limit}"
            )
        self.channels, self.dilation, self.limit = channels, dilation, float(limit)
        widths = [IN_CHANNELS, *[channels] * (layers - 1), IN_CHANNELS]
        self.layers = nn.ModuleList(
            nn.Conv2d(a, b, 3, padding=d, dilation=d)
            for a, b, d in zip(widths[:-1], widths[1:], dilation, strict=True)
        )
        for layer in self.layers:
            assert isinstance(layer, nn.Conv2d)
            assert layer.bias is not None
            nn.init.kaiming_normal_(layer.weight, a=SLOPE)
            nn.init.zeros_(layer.bias)
        last = self.layers[-1]
        assert isinstance(last, nn.Conv2d)
        nn.init.normal_(last.weight, std=1e-3)
        if self.parameters_merged() > MAX_PARAMETERS:
            raise ValueError(
                f"{layers} layers of {channels} channels have {self.parameters_merged()} parameters, "
                f"more than {MAX_PARAMETERS}"
            )

    def residual(self, x: Tensor) -> Tensor:
        """What is added at strength 1, [N,6,h,w]."""
        for layer in self.layers[:-1]:
            x = F.leaky_relu(layer(x), SLOPE)
        out: Tensor = self.layers[-1](x)
        return out.clamp(-self.limit / CODES, self.limit / CODES) if self.limit else out

    def forward(self, x: Tensor, strength: Tensor | float = 1.0) -> Tensor:
        """``strength`` 0..1: a number, or one a picture as [N,1,1,1]."""
        return x + strength * self.residual(x)

    def config(self) -> dict[str, Any]:
        """The card's "architecture" entry: enough to build the net again."""
        return {
            "type": "lowrank_chain",
            "channels": self.channels,
            "layers": len(self.layers),
            "dilation": self.dilation,
            "slope": SLOPE,
            "limit": self.limit,
        }

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> LowrankNet:
        """The net that :meth:`config` described."""
        return cls(config["channels"], config["layers"], config["dilation"], config.get("limit", 0.0))

    def inference_weights(self) -> dict[str, Tensor]:
        """Tensors in f32: ``layers.<i>.weight`` [out,in,3,3] and ``layers.<i>.bias`` [out]."""
        return {name: tensor.detach().float().contiguous() for name, tensor in self.state_dict().items()}

    def parameters_merged(self) -> int:
        """Number of learned values."""
        return sum(parameter.numel() for parameter in self.parameters())

    def macs(self, width: int = 1920, height: int = 1080) -> int:
        """Multiply-accumulates for one picture."""
        places = ((width + 1) // 2) * ((height + 1) // 2)
        return places * sum(parameter.numel() for parameter in self.parameters() if parameter.ndim == 4)

    def receptive_field(self) -> int:
        """Luma pixels, left and right together, that reach one output pixel."""
        return 2 * (1 + 2 * sum(self.dilation))
