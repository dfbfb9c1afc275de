# SPDX-License-Identifier: BSD-2-Clause
"""What all ways are compared with: the bundle's net in PyTorch, in f32, by the book (docs/models.md)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from clarivid.errors import ToolError
from clarivid.models import Model
from clarivid.parity.cases import Case, hole_of
from clarivid.parity.planes import Picture, Plane, fold, luma_codes, luma_tensor, spans, unfold

if TYPE_CHECKING:
    from clarivid.nets.load import Net


def torch_net(bundle: Model) -> Net:
    """The bundle's net. Raises :class:`ModelError` when it has none, :class:`ToolError` without PyTorch."""
    try:
        from clarivid.nets.load import load_net
    except ModuleNotFoundError as error:
        raise ToolError(
            f"parity needs PyTorch and safetensors ({error}): pip install 'clarivid[train]'"
        ) from None
    return load_net(bundle)


def tensor_reference(net: Net, tensor: NDArray[np.float32], strength: float = 1.0) -> NDArray[np.float32]:
    """A net's input tensor through it."""
    import torch

    control = [] if strength == 1 else [strength]
    with torch.no_grad():
        return np.asarray(net(torch.from_numpy(tensor), *control).numpy())


def reference(net: Net, picture: Sequence[Plane], case: Case) -> Picture:
    """One 4:2:0 picture (y, u, v) through a net of the layout yuv420_s2d in f32, by the book
    (docs/models.md)."""
    result = tensor_reference(net, fold(picture, case.bit_depth, case.full_range), case.strength)
    height, width = picture[0].shape
    return unfold(result, width, height, case.bit_depth, case.full_range)


def luma_reference(net: Net, luma: Plane, case: Case) -> Plane:
    """Luma through a net of the layout y, likewise."""
    made = tensor_reference(net, luma_tensor(luma, case.bit_depth, case.full_range))
    height, width = made.shape[2:]
    return luma_codes(made, width, height, case.bit_depth, case.full_range)


def paint_reference(net: Net, bundle: Model, picture: Sequence[Plane], case: Case) -> Picture:
    """A picture with the case's hole painted."""
    from clarivid import painter_reference

    size = painter_reference.net_size(case.width, case.height, bundle.card.get("input", {}))
    ranges = spans(case.bit_depth, case.full_range)
    return painter_reference.paint(
        lambda tensor: tensor_reference(net, tensor), picture, hole_of(case), size, ranges, case.bit_depth
    )


__all__ = ["luma_reference", "paint_reference", "reference", "tensor_reference", "torch_net"]
