# SPDX-License-Identifier: BSD-2-Clause
"""What is compared: our filter in several settings, and what people use today.

All get the shown pictures and the same masks, and see a hole that is :data:`DILATE` samples larger.
"""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import cv2
import numpy as np

from clarivid import clips
from clarivid.data.synth import split_planes
from clarivid.errors import InputError, ModelError, ToolError, last_line
from clarivid.ffmpeg.library import Library, digest
from clarivid.inpaint_bench.scenes import Material
from clarivid.inpaint_bench.scores import Hole, grow
from clarivid.inpaint_bench.walker import Planes
from clarivid.models import find_model

DILATE = 4  # mesh_inpaint's own default
_RADIUS = 5  # of Telea's neighbourhood

Fill = Callable[[Material], list[Planes]]


@dataclass(frozen=True)
class Method:
    """``key`` is everything that the result depends on beside the pictures; ``what`` goes into the report."""

    name: str
    what: str
    fill: Fill
    key: tuple[Any, ...] = ()
    ours: bool = False


def default_model() -> str:
    """What the filter takes when nothing is said; "none" when no such model is there."""
    for name in ("inpaint_v1_fast", "inpaint_v1"):
        try:
            return find_model(name).name
        except ModelError:
            continue
    return "none"


def methods(model: str, names: tuple[str, ...] = (), precision: str = "auto") -> list[Method]:
    """Those of the names given, or all, ours with this model ("none": what was never seen is diffused).

    Raises :class:`InputError` for an unknown name, :class:`ModelError` when there is no such model.
    """
    known = {method.name: method for method in _all(model, precision)}
    for name in names:
        if name not in known:
            raise InputError(f'method "{name}" is unknown: it is one of {", ".join(known)}')
    return [method for name, method in known.items() if not names or name in names]


def _all(model: str, precision: str) -> list[Method]:
    identity = (_library(), _weights(model), precision)
    ours = partial(fill, model=model, precision=precision)

    def variant(name: str, what: str, **options: Any) -> Method:
        key = (*identity, sorted((k, str(v)) for k, v in options.items()))
        return Method(name, what, partial(ours, **options), key, ours=True)

    return [
        variant("mesh_inpaint", "the filter with its defaults, mesh=16x9", mesh=(16, 9)),
        variant("mesh=1x1", "the filter with one global homography", mesh=(1, 1)),
        variant("lookahead=12", "the filter, which may wait for 12 pictures", mesh=(16, 9), lookahead=12),
        Method(
            "net per frame",
            "the filter's net for each picture alone, without memory",
            partial(paint_each, model=model, precision=precision),
            identity,
            ours=True,
        ),
        Method(
            "telea",
            f"OpenCV's inpaint(), Telea 2004, radius {_RADIUS}, each picture alone",
            telea,
            (cv2.__version__,),
        ),
        Method("delogo", "ffmpeg's delogo over the mask's box, each picture alone", delogo),
    ]


def _library() -> str:
    return digest(file for file in Library.find().files if not file.is_symlink())


def _weights(model: str) -> str:
    return "" if model == "none" else digest([find_model(model).onnx])


# ------------------------------------------------------------------------------------------------- ours


def fill(
    material: Material, *, model: str, precision: str, mesh: tuple[int, int], lookahead: int = 0
) -> list[Planes]:
    """The pictures through :class:`clarivid.Inpainter`, in order."""
    import clarivid

    inpainter = clarivid.Inpainter(model, mesh=mesh, lookahead=lookahead, dilate=DILATE, precision=precision)
    return [_three(planes) for planes in inpainter.process(zip(material.shown, material.masks, strict=True))]


def paint_each(material: Material, *, model: str, precision: str) -> list[Planes]:
    """Every picture painted by itself."""
    import clarivid

    inpainter = clarivid.Inpainter(model, precision=precision)
    return [
        _three(inpainter.paint(shown, grow(mask, DILATE)))
        for shown, mask in zip(material.shown, material.masks, strict=True)
    ]


def _three(planes: Any) -> Planes:
    y, u, v = planes
    return y, u, v


# ----------------------------------------------------------------------------------------------- rivals


def telea(material: Material) -> list[Planes]:
    """Each plane of each picture by itself; chroma's hole is that of its 2x2 luma samples."""
    filled = []
    for picture, mask in zip(material.shown, material.masks, strict=True):
        hole = grow(mask, DILATE)
        planes = [
            np.asarray(cv2.inpaint(plane, part.astype(np.uint8), _RADIUS, cv2.INPAINT_TELEA), np.uint8)
            for plane, part in zip(picture, (hole, half(hole), half(hole)), strict=True)
        ]
        filled.append(_three(planes))
    return filled


def half(hole: Hole) -> Hole:
    """The chroma samples of which any luma sample is hole."""
    return hole[::2, ::2] | hole[1::2, ::2] | hole[::2, 1::2] | hole[1::2, 1::2]


def delogo(material: Material) -> list[Planes]:
    """The mask's bounding box for each picture, as an expression of the picture's number."""
    width, height = material.size
    values: dict[str, list[int]] = {"x": [], "y": [], "w": [], "h": []}
    shown = []
    for t, mask in enumerate(material.masks):
        hole = grow(mask, DILATE)
        rows, columns = np.flatnonzero(hole.any(1)), np.flatnonzero(hole.any(0))
        if not rows.size:
            continue
        # One sample around the box must be inside the picture: delogo interpolates from it.
        left, top = max(int(columns[0]), 1), max(int(rows[0]), 1)
        right, bottom = min(int(columns[-1]) + 1, width - 1), min(int(rows[-1]) + 1, height - 1)
        for name, value in zip("xywh", (left, top, max(right - left, 1), max(bottom - top, 1)), strict=True):
            values[name].append(value)
        shown.append(t)
    if not shown:
        return list(material.shown)
    terms = {
        name: "+".join(f"{value}*eq(n\\,{i})" for i, value in enumerate(numbers))
        for name, numbers in values.items()
    }
    data = b"".join(plane.tobytes() for t in shown for plane in material.shown[t])
    chain = "delogo=" + ":".join(f"{name}={text}" for name, text in terms.items())
    command = [clips.encoder(), "-loglevel", "error", "-f", "rawvideo", "-pix_fmt", "yuv420p"]
    command += ["-s", f"{width}x{height}", "-r", "25", "-i", "-", "-vf", chain, "-f", "rawvideo", "-"]
    done = subprocess.run(command, input=data, capture_output=True, check=False)
    size = width * height * 3 // 2
    if done.returncode or len(done.stdout) != size * len(shown):
        raise ToolError(f"delogo failed: {last_line(done.stderr.decode(errors='replace'))}")
    filled = list(material.shown)
    for i, t in enumerate(shown):
        filled[t] = split_planes(done.stdout[i * size : (i + 1) * size], width, height)
    return filled
