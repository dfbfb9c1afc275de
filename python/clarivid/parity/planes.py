# SPDX-License-Identifier: BSD-2-Clause
"""Planes of 4:2:0 pictures: to tensors and back by the book (docs/models.md), and through ffmpeg."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from clarivid import ffmpeg
from clarivid.errors import ToolError

Plane = NDArray[Any]  # uint8 or uint16
Picture = tuple[Plane, ...]

BIT_DEPTH = {"yuv420p": 8, "nv12": 8, "yuv420p10le": 10, "p010le": 10}
INTERLEAVED = ("nv12", "p010le")


def spans(bit_depth: int, full_range: bool) -> tuple[tuple[int, int], tuple[int, int]]:
    """(offset, span) of luma and of chroma, in codes."""
    if full_range:
        return (0, (1 << bit_depth) - 1), (1 << bit_depth - 1, (1 << bit_depth) - 1)
    return (16 << bit_depth - 8, 219 << bit_depth - 8), (128 << bit_depth - 8, 224 << bit_depth - 8)


def fold(picture: Sequence[Plane], bit_depth: int, full_range: bool) -> NDArray[np.float32]:
    """Planes (y, u, v) to the tensor [1,6,ceil(H/2),ceil(W/2)]."""
    y, u, v = picture
    (off_y, span_y), (off_c, span_c) = spans(bit_depth, full_range)
    height, width = y.shape
    even = np.pad(y, ((0, height % 2), (0, width % 2)), "edge").astype(np.float64)
    luma = (even - off_y) / span_y - 0.5
    chroma = [(plane.astype(np.float64) - off_c) / span_c for plane in (u, v)]
    return np.stack([luma[r::2, c::2] for r in (0, 1) for c in (0, 1)] + chroma)[None].astype(np.float32)


def luma_tensor(luma: Plane, bit_depth: int, full_range: bool) -> NDArray[np.float32]:
    """Luma to the tensor [1,1,H,W] of the layout y."""
    offset, span = spans(bit_depth, full_range)[0]
    return ((luma.astype(np.float64) - offset) / span).astype(np.float32)[None, None]


def net_tensor(
    layout: str, picture: Sequence[Plane], bit_depth: int, full_range: bool
) -> NDArray[np.float32]:
    """Planes (y, u, v) to the tensor of the ``layout``: y or yuv420_s2d."""
    if layout == "y":
        return luma_tensor(picture[0], bit_depth, full_range)
    return fold(picture, bit_depth, full_range)


def luma_codes(
    tensor: NDArray[np.float32], width: int, height: int, bit_depth: int, full_range: bool
) -> Plane:
    """The tensor [1,1,H,W] of the layout y to luma of ``width`` x ``height``."""
    offset, span = spans(bit_depth, full_range)[0]
    values = tensor[0, 0, :height, :width].astype(np.float64)
    codes: Plane = np.clip(np.floor(values * span + offset + 0.5), 0, (1 << bit_depth) - 1)
    return codes.astype(np.uint8 if bit_depth == 8 else np.uint16)


def unfold(tensor: NDArray[np.float32], width: int, height: int, bit_depth: int, full_range: bool) -> Picture:
    """The tensor [1,6s²,h,w] to planes (y, u, v) of s times ``width`` x ``height`` (of the source)."""
    (off_y, span_y), (off_c, span_c) = spans(bit_depth, full_range)
    top, (_, channels, h, w) = (1 << bit_depth) - 1, tensor.shape
    scale = round((channels / 6) ** 0.5)

    def plane(first: int, block: int, offset: int, span: int, centre: float, size: tuple[int, int]) -> Plane:
        values = tensor[0, first : first + block * block].astype(np.float64)
        values = values.reshape(block, block, h, w).transpose(2, 0, 3, 1).reshape(h * block, w * block)
        codes: Plane = np.clip(np.floor((values + centre) * span + offset + 0.5), 0, top)
        return codes[: size[0], : size[1]].astype(np.uint8 if bit_depth == 8 else np.uint16)

    big = (height * scale, width * scale)
    half = ((big[0] + 1) // 2, (big[1] + 1) // 2)
    luma = (2 * scale) ** 2
    return (
        plane(0, 2 * scale, off_y, span_y, 0.5, big),
        plane(luma, scale, off_c, span_c, 0.0, half),
        plane(luma + scale * scale, scale, off_c, span_c, 0.0, half),
    )


def interleave(picture: Picture, pix_fmt: str) -> Picture:
    """(y, u, v) as the planes that ``pix_fmt`` has; p010 carries its ten bits on top."""
    if pix_fmt not in INTERLEAVED:
        return picture
    y, u, v = picture
    uv = np.stack([u, v], axis=-1).reshape(u.shape[0], -1)
    return (y << 6, uv << 6) if pix_fmt == "p010le" else (y, uv)


def separate(planes: Sequence[Plane], pix_fmt: str) -> Picture:
    """The reverse of :func:`interleave`."""
    if pix_fmt not in INTERLEAVED:
        return tuple(planes)
    y, uv = planes if pix_fmt == "nv12" else (plane >> 6 for plane in planes)
    return y, uv[:, ::2], uv[:, 1::2]


def unpack(data: bytes, width: int, height: int, pix_fmt: str) -> Iterator[Picture]:
    """The pictures of packed raw video, as (y, u, v)."""
    samples: Plane = np.frombuffer(data, np.uint8 if BIT_DEPTH[pix_fmt] == 8 else np.dtype("<u2"))
    rows, columns = (height + 1) // 2, (width + 1) // 2
    size = width * height + 2 * rows * columns
    for start in range(0, samples.size - size + 1, size):
        luma = samples[start : start + width * height].reshape(height, width)
        chroma = samples[start + width * height : start + size]
        if pix_fmt in INTERLEAVED:
            yield separate((luma, chroma.reshape(rows, 2 * columns)), pix_fmt)
        else:
            u, v = chroma.reshape(2, rows, columns)
            yield luma, u, v


def raw(pix_fmt: str) -> list[str]:
    """Options of ffmpeg for raw video on a pipe."""
    return ["-f", "rawvideo", "-pix_fmt", pix_fmt, "-"]


def escape(value: str) -> str:
    """A value inside a filter's options inside a graph: two levels of ffmpeg's quoting."""
    for level in ("\\':", "\\'[],;"):
        value = "".join(f"\\{char}" if char in level else char for char in value)
    return value


def run_ffmpeg(arguments: Sequence[str], data: bytes, what: str) -> bytes:
    """What our ffmpeg writes, given ``data``. Raises :class:`ToolError`: "cannot ``what``: ..."."""
    command = [str(ffmpeg.find().ffmpeg), "-hide_banner", "-v", "error", "-nostdin", *arguments]
    if data:
        command.remove("-nostdin")
    done = subprocess.run(command, input=data, capture_output=True, check=False)
    if done.returncode:
        lines = [line for line in done.stderr.decode("utf-8", "replace").splitlines() if line.strip()]
        raise ToolError(f"cannot {what}: {lines[0] if lines else 'ffmpeg gave no reason'}")
    return done.stdout


__all__ = [
    "BIT_DEPTH",
    "INTERLEAVED",
    "Picture",
    "Plane",
    "escape",
    "fold",
    "interleave",
    "luma_codes",
    "luma_tensor",
    "net_tensor",
    "raw",
    "run_ffmpeg",
    "separate",
    "spans",
    "unfold",
    "unpack",
]
