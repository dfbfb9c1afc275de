# SPDX-License-Identifier: BSD-2-Clause
"""Frames and R'G'B', by the library's own conversion: that of nets on RGB in ``dnn_sr``."""

from __future__ import annotations

import threading
from collections import OrderedDict
from typing import Any

import numpy as np
from numpy.typing import NDArray

from clarivid import _core, arrays
from clarivid.errors import InputError
from clarivid.frame import LARGEST, MATRICES, PIXEL_FORMATS, RANGES, SITINGS, Frame

_PEAKS = {"uint8": 255.0, "uint16": 65535.0}
_FLOATS = ("float16", "float32", "float64")
_LAYOUTS = ("hwc", "chw")
_KEPT = 8

# Converters that nobody uses now: to make one costs more than a small picture's conversion.
_idle: OrderedDict[tuple[int, ...], list[_core.RgbConverter]] = OrderedDict()
_lock = threading.Lock()


def _take(key: tuple[int, ...]) -> _core.RgbConverter:
    with _lock:
        spare = _idle.get(key)
        if spare:
            return spare.pop()
    *picture, dither = key
    return _core.RgbConverter(_core.Format(*picture), dither)


def _give_back(key: tuple[int, ...], converter: _core.RgbConverter) -> None:
    with _lock:
        _idle.setdefault(key, []).append(converter)
        _idle.move_to_end(key)
        while len(_idle) > _KEPT:
            _idle.popitem(last=False)


def _matrix(word: str) -> int:
    if word not in MATRICES:
        raise InputError(f'matrix="{word}" is unknown: it is one of {", ".join(MATRICES)}')
    number = MATRICES[word][1]
    if number is None:
        raise InputError(
            f"matrix=\"{word}\" is not converted to R'G'B' or back: bt601, bt709 and bt2020 are; "
            "to_rgb(matrix=...) takes another one"
        )
    return number


def rgb_of(frame: Frame, dtype: str, layout: str, matrix: str | None) -> NDArray[Any]:
    """See :meth:`clarivid.Frame.to_rgb`."""
    if dtype not in (*_PEAKS, "float32"):
        raise InputError(f'dtype="{dtype}" is unknown: it is one of uint8, uint16, float32')
    if layout not in _LAYOUTS:
        raise InputError(f'layout="{layout}" is unknown: it is one of {", ".join(_LAYOUTS)}')
    planes = frame.numpy()
    key = (
        frame.width,
        frame.height,
        PIXEL_FORMATS[frame.pixel_format].number,
        RANGES[frame.range],
        _matrix(matrix or frame.matrix),
        SITINGS[frame.siting],
        0,
        0,
    )
    converter = _take(key)
    rgb: NDArray[Any] = converter.from_picture(planes)
    _give_back(key, converter)
    if dtype != "float32":
        peak = _PEAKS[dtype]
        rgb *= peak
        np.rint(rgb, out=rgb)
        rgb = np.clip(rgb, 0.0, peak, out=rgb).astype(dtype)
    return np.ascontiguousarray(rgb.transpose(1, 2, 0)) if layout == "hwc" else rgb


def planes_from_rgb(
    rgb: Any, pixel_format: str, value_range: str, matrix: str, siting: str, dither: bool
) -> list[NDArray[Any]]:
    """See :meth:`clarivid.Frame.from_rgb`."""
    if pixel_format not in PIXEL_FORMATS:
        raise InputError(f'pixel_format="{pixel_format}" is unknown: it is one of {", ".join(PIXEL_FORMATS)}')
    for name, word, words in (
        ("matrix", matrix, [word for word, (_, number) in MATRICES.items() if number]),
        ("range", value_range, ["limited", "full"]),
        ("siting", siting, ["left", "centre", "topleft"]),
    ):
        if word not in words:
            raise InputError(
                f'{name}="{word}" is none to make a picture with: give one of {", ".join(words)}'
            )
    values = _read_rgb(rgb)
    form = PIXEL_FORMATS[pixel_format]
    _, height, width = values.shape
    planes: list[NDArray[Any]] = [np.empty(shape, form.type) for shape in form.shapes(width, height)]
    key = (width, height, form.number, RANGES[value_range], _matrix(matrix), SITINGS[siting], 0, int(dither))
    converter = _take(key)
    converter.to_picture(values, planes)
    _give_back(key, converter)
    return planes


def _read_rgb(rgb: Any) -> NDArray[np.float32]:
    """float32 [3, H, W], contiguous."""
    view = arrays.look(rgb, "rgb")
    if view.device is not None:
        raise InputError(
            f"rgb lies in the memory of GPU {view.device}, and colours are converted in host memory: "
            "copy it there"
        )
    if view.type not in (*_PEAKS, *_FLOATS):
        raise InputError(
            f"rgb is of type {view.type or 'that numpy has not'}: give uint8, uint16, or a float type "
            "with 0..1"
        )
    values = view.numpy()
    if values.ndim != 3 or 3 not in (values.shape[0], values.shape[2]):
        raise InputError(f"rgb has shape {values.shape}: give [H, W, 3] or [3, H, W]")
    if values.shape[2] == 3:  # the usual one, also for pictures of 3 rows
        values = values.transpose(2, 0, 1)
    if not values.size or max(values.shape) > LARGEST:
        raise InputError(f"rgb has shape {view.shape}: a picture has 1 to {LARGEST} rows and columns")
    if view.type in _PEAKS:
        values = np.multiply(values, 1.0 / _PEAKS[view.type], dtype=np.float32)
    return np.ascontiguousarray(values, np.float32)


__all__ = ["planes_from_rgb", "rgb_of"]
