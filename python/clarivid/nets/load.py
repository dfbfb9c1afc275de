# SPDX-License-Identifier: BSD-2-Clause
"""The PyTorch net of a bundle, from its card and ``weights.safetensors``."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from safetensors.numpy import load_file
from torch import Tensor

from clarivid.errors import ModelError
from clarivid.models import Model
from clarivid.nets.inpaint import InpaintNet
from clarivid.nets.lowrank import LowrankNet
from clarivid.nets.sr import RepConv, SRNet

Net = SRNet | LowrankNet | InpaintNet


def load_net(bundle: Model) -> Net:
    """The net of a bundle in eval mode, with its merged weights.

    Raises :class:`ModelError` when the bundle has no weights, or no architecture of ours, or when they do not
    fit each other.
    """
    architecture = bundle.card.get("architecture", {})
    weights = bundle.folder / "weights.safetensors"
    make = _MAKERS.get(architecture.get("type"))
    if make is None or not weights.is_file():
        raise ModelError(
            f'model "{bundle.name}" has no net in PyTorch to compare with: its architecture is '
            f'"{architecture.get("type", "not stated")}" and weights.safetensors is '
            f"{'there' if weights.is_file() else 'missing'}; parity compares bundles of type "
            f"{' and '.join(_MAKERS)}"
        )
    try:
        return net_of(architecture, load_file(weights))
    except (KeyError, TypeError, ValueError, RuntimeError) as error:
        raise ModelError(f"{weights} does not fit the architecture in card.json: {error}") from error


def net_of(architecture: dict[str, Any], weights: dict[str, Any]) -> Net:
    """The net, in eval mode, of the arrays of a weights.safetensors. Raises what PyTorch does when they do
    not fit each other."""
    make = _MAKERS[architecture["type"]]
    return make(architecture, {name: torch.from_numpy(value) for name, value in weights.items()}).eval()


def _sr(architecture: dict[str, Any], tensors: dict[str, Tensor]) -> SRNet:
    keys = ("channels", "blocks", "scale", "attention")
    net = SRNet(**{key: architecture[key] for key in keys if key in architecture})
    state: dict[str, Tensor] = {}
    for name, module in net.named_modules():
        if isinstance(module, RepConv):
            # A merged kernel is the 3x3 of a layer whose other branches are zero.
            state |= {f"{name}.{key}": torch.zeros_like(value) for key, value in module.state_dict().items()}
            for key, merged in (("k3", "weight"), ("bias", "bias")):
                state[f"{name}.{key}"] = tensors.pop(f"{name.removesuffix('.conv')}.{merged}")
    net.load_state_dict(state | tensors)
    return net


def _lowrank(architecture: dict[str, Any], tensors: dict[str, Tensor]) -> LowrankNet:
    net = LowrankNet.from_config(architecture)
    net.load_state_dict(tensors)
    return net


def _inpaint(architecture: dict[str, Any], tensors: dict[str, Tensor]) -> InpaintNet:
    net = InpaintNet.from_config(architecture)
    net.load_inference_weights({name: value.float() for name, value in tensors.items()})
    return net


_MAKERS: dict[Any, Callable[[dict[str, Any], dict[str, Tensor]], Net]] = {
    "sr_luma": _sr,
    "lowrank_chain": _lowrank,
    "inpaint_coarse_refine": _inpaint,
}

__all__ = ["load_net", "net_of"]
