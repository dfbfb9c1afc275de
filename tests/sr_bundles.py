# SPDX-License-Identifier: BSD-2-Clause
"""Bundles for dnn_sr: of random weights, with two sets of them, and with one that is the mixture of both."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.numpy import load_file

from clarivid.export import export
from clarivid.nets.load import net_of
from clarivid.nets.sr import SRNet
from clarivid.train.runs import CHECKPOINT_SCHEMA
from clarivid.train.sr import Options

NAME = "mixed"  # of all of them: the name stands in the ONNX


def random_nets(channels: int = 16, blocks: int = 2, attention: bool = False) -> tuple[SRNet, SRNet]:
    """A net, and one that was trained on from it."""
    torch.manual_seed(3)
    first, second = (SRNet(channels, blocks, attention=attention) for _ in range(2))
    second.load_state_dict(first.state_dict())
    with torch.no_grad():
        for net, change in ((first, 0.05), (second, 0.05)):
            for parameter in net.parameters():
                parameter.add_(change * torch.randn_like(parameter))
    return first.eval(), second.eval()


def checkpoint(path: Path, net: SRNet, **changes: Any) -> Path:
    """What a training run would have saved."""
    path.parent.mkdir(parents=True, exist_ok=True)
    state = {
        "schema": CHECKPOINT_SCHEMA,
        "ema": net.state_dict(),
        "net": net.config(),
        "step": 12,
        "seconds": 7200.0,
        "history": [],
        "options": vars(Options(kind="game")),
        "packs": [{"file": "sr3.pack", "command": "clarivid data sr --out sr3.pack --seed 3"}],
        "score": {"game": {"psnr_y": 33.0, "lanczos": 32.0, "gain_db": 1.0, "worst_gain_db": 0.5}},
        "sources": [
            [{"source": "pictures", "version": "1", "kind": "game", "files": 3, "licence": "CC0-1.0"}]
        ],
        **changes,
    }
    torch.save(state, path)
    return path


def sr_bundle(folder: Path, **sizes: Any) -> Path:
    """An export of a random net into ``folder``; ``sizes`` as :func:`random_nets` has them."""
    net = random_nets(**sizes)[1]
    export(checkpoint(folder.with_suffix(".pt"), net), folder.name, folder)
    return folder


def bundles(folder: Path, **sizes: Any) -> dict[str, Path]:
    """``both`` with two sets, ``first`` and ``second`` with one of them, of nets of these sizes."""
    first, second = random_nets(**sizes)
    made = [checkpoint(folder / f"{name}.pt", net) for name, net in (("first", first), ("second", second))]
    export(made[0], NAME, folder / "both", perceptual=made[1])
    for path in made:
        export(path, NAME, folder / path.stem)
    return {name: folder / name for name in ("both", "first", "second")}


def mixture(folder: Path, sharpness: float, **sizes: Any) -> Path:
    """``at<sharpness>`` beside them: an export of the net whose weights are mixed here, by the formula."""
    s = np.float32(sharpness)
    first, second = (load_file(folder / name / "weights.safetensors") for name in ("first", "second"))
    net = net_of(
        random_nets(**sizes)[0].config(),
        {
            name: value if np.array_equal(value, second[name]) else (1 - s) * value + s * second[name]
            for name, value in first.items()
        },
    )
    assert isinstance(net, SRNet)
    out = folder / f"at{sharpness:g}"
    export(checkpoint(folder / f"{out.name}.pt", net), NAME, out)
    return out
