# SPDX-License-Identifier: BSD-2-Clause
"""Masks as callers of :class:`clarivid.Inpainter` give them: arrays of any library, and boxes."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from clarivid import arrays
from clarivid.errors import InputError

if TYPE_CHECKING:
    from clarivid.frame_cuda import Place

Box = tuple[int, int, int, int]  # x, y, width, height in luma samples; x and y may be negative
Mask = (
    NDArray[np.uint8] | NDArray[np.bool_] | arrays.SupportsDlpack | arrays.SupportsCudaArray | Sequence[Box]
)


def boxes_mask(boxes: Iterable[Box], width: int, height: int) -> NDArray[np.uint8]:
    """A mask of shape [height, width], 255 where a box is, else 0. Boxes are cut at the picture's border.

    Args:
        boxes: ``(x, y, width, height)`` in luma samples, whole numbers; the size at least 1.

    Raises:
        clarivid.InputError: a box is none, or is empty.
    """
    mask = np.zeros((height, width), np.uint8)
    for number, box in enumerate(boxes, start=1):
        if not _is_box(box):
            raise InputError(f"box {number} is {box!r}: give (x, y, width, height), four whole numbers")
        x, y, columns, rows = (int(value) for value in box)
        if columns < 1 or rows < 1:
            raise InputError(
                f"box {number} ({x}, {y}, {columns}, {rows}) is empty: its size is at least 1 x 1"
            )
        mask[max(y, 0) : max(y + rows, 0), max(x, 0) : max(x + columns, 0)] = 255
    return mask


def _is_box(box: object) -> bool:
    if not isinstance(box, Sequence | np.ndarray) or isinstance(box, str) or len(box) != 4:
        return False
    return all(isinstance(value, int | np.integer) and not isinstance(value, bool) for value in box)


def read_mask(mask: Mask | None, shape: tuple[int, ...]) -> NDArray[np.uint8] | None:
    """The mask as the core takes it: uint8, samples of a row side by side."""
    if mask is None:
        return None
    if hasattr(mask, "__dlpack_device__") and not isinstance(mask, np.ndarray):
        view = arrays.look(mask, "the mask")
        if view.device is not None:
            raise InputError("the mask is in CUDA memory and the picture is not: copy the mask to the host")
        mask = view.numpy()
    if not isinstance(mask, np.ndarray):
        if not isinstance(mask, Sequence) or isinstance(mask, str):
            raise InputError(
                f"a mask of type {type(mask).__name__} is none: give an array of uint8 or bool, or a list of "
                "boxes (x, y, width, height)"
            )
        return boxes_mask(mask, shape[1], shape[0]) if len(mask) else None
    if mask.ndim != 2 or not mask.size:
        raise InputError(
            f"a mask of shape {mask.shape} is none: give two dimensions, rows and samples, none of them 0"
        )
    if mask.dtype == np.bool_:
        return np.asarray(np.where(mask, 255, 0), np.uint8)
    if mask.dtype != np.uint8:
        raise InputError(
            f"a mask of type {mask.dtype} is none: give uint8 (128 and above is the hole) or bool; boxes as "
            "a list of tuples"
        )
    contiguous = mask.strides[1] == 1 or mask.shape[1] == 1
    rows_overlap = abs(mask.strides[0]) < mask.shape[1]
    return np.asarray(mask if contiguous and not rows_overlap else np.ascontiguousarray(mask), np.uint8)


def device_mask(mask: Any, place: Place) -> Any:
    """A mask in CUDA memory, readable on the place's stream; None for other masks."""
    if mask is None or isinstance(mask, np.ndarray | Sequence):
        return None
    view = arrays.look(mask, "the mask")
    if view.device is None:
        return None
    from clarivid import frame_cuda

    if view.type != "uint8" or len(view.shape) != 2 or 0 in view.shape:
        raise InputError(
            f"a mask in CUDA memory of type {view.type} and shape {view.shape} is none: give uint8 (128 and "
            "above is the hole), two dimensions, rows and samples"
        )
    if view.device != place.device.index:
        raise InputError(f"the mask is on GPU {view.device}, the frame on GPU {place.device.index}")
    return frame_cuda.read([mask], place, "mask")[0]


__all__ = ["Box", "Mask", "boxes_mask", "device_mask", "read_mask"]
