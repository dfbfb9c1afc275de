# SPDX-License-Identifier: BSD-2-Clause
"""A bundle for lowrank_pre with random weights, whose change is large enough to see."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from clarivid.export import export
from clarivid.nets.lowrank import LowrankNet


def random_net(channels: int = 12, layers: int = 3, change: float = 0.02, limit: float = 0.0) -> LowrankNet:
    """A net whose last layer has weights of about ``change``."""
    torch.manual_seed(5)
    net = LowrankNet(channels, layers, limit=limit)
    with torch.no_grad():
        for layer in net.layers:
            assert isinstance(layer.bias, torch.Tensor)
            layer.bias.normal_(std=0.02)
        last = net.layers[-1].weight
        assert isinstance(last, torch.Tensor)
        last.normal_(std=change)
    return net.eval()


def checkpoint_of(net: LowrankNet) -> dict[str, Any]:
    """What a training run would have saved."""
    return {
        "schema": 1,
        "task": "lowrank",
        "net": net.config(),
        "ema": net.state_dict(),
        "step": 12,
        "seconds": 7200.0,
        "options": {"minutes": 60.0, "steps": 0, "codec": "h264", "resume": True},
        "history": [{"options": {"minutes": 30.0}, "steps": 5, "seconds": 3600.0}],
        "score": {"bits": -0.1},
        "sources": [
            [{"source": "pictures", "version": "1", "kind": "game", "files": 3, "licence": "CC0-1.0"}]
        ],
    }


def lowrank_bundle(folder: Path, **sizes: Any) -> Path:
    """Export such a net to ``folder``, whose last part is the model's name."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    checkpoint = folder.parent / f"{folder.name}.pt"
    torch.save(checkpoint_of(random_net(**sizes)), checkpoint)
    export(checkpoint, folder.name, folder)
    return folder
