# SPDX-License-Identifier: BSD-2-Clause
"""Masks of what is to vanish, from numpy frames: what moves before a fixed camera, or people.

Two ways, for two kinds of video:

:class:`MovingMasks`, :func:`moving_mask`
    The camera stands. The background is the median over time; what differs from it is the mask. Finds
    anything that moves, of any size, with its shadow; knows nothing of people. Fails where the camera moves,
    and on what stands still for half of the clip.
:class:`PersonMasks`
    Any camera. A small net that was made for one person before a webcam: people who fill a good part of the
    picture, seen from the front. The card of its model says where it fails.

``python/clarivid/mask_video.py`` and ``clarivid mask`` apply both to files.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from clarivid.errors import InputError, ModelError
from clarivid.models import find_model

Frame = NDArray[np.uint8]  # [H, W, C] or [H, W]
Mask = NDArray[np.bool_]  # [H, W]

PERSON = "segment_person"
THRESHOLD = 0.5  # of the probability
PREVIOUS = 0.7  # as csrc/core/segmenter.cpp: the share of the last picture where the net knows nothing


# ---- what moves


@dataclass(frozen=True)
class MovingOptions:
    """How :class:`MovingMasks` decides.

    ``sensitivity`` scales all thresholds: 2 finds half the difference. ``smallest`` is the least area that
    counts, as a share of the picture; ``grow`` widens masks at the end by so many samples on every side;
    ``strong`` and ``weak`` are in standard deviations of a sample's own noise: a mask is what exceeds
    ``weak`` and is connected with enough that exceeds ``strong``. ``shake`` is what a fixed camera still
    moves, in samples: edges of the background are allowed to differ by as much.
    """

    sensitivity: float = 1.0
    smallest: float = 1.5e-4
    grow: int = 2
    strong: float = 6.0
    weak: float = 2.6
    shake: float = 0.3

    def __post_init__(self) -> None:
        for name, low, high in (
            ("sensitivity", 0.1, 10.0),
            ("smallest", 0.0, 1.0),
            ("grow", 0, 64),
            ("shake", 0.0, 16.0),
        ):
            value = getattr(self, name)
            if not low <= value <= high:
                raise InputError(f"{name}={value} is not in {low}..{high}")


@dataclass(frozen=True)
class Background:
    """``median`` over time and ``noise`` (standard deviation, of the same unit), both float32 [H,W,C]."""

    median: NDArray[np.float32]
    noise: NDArray[np.float32]

    @staticmethod
    def of(frames: Sequence[Frame] | NDArray[np.uint8], shake: float = MovingOptions.shake) -> Background:
        """From pictures spread over the clip, 5 or more; 30 to 60 are good.

        The noise of a sample is the median of its distance to the median (times 1.4826, which makes it a
        standard deviation), at least that of 8-bit video, and ``shake`` times the slope there.

        Raises :class:`InputError` when there are fewer, or they differ in size.
        """
        if len(frames) < 5:
            raise InputError(f"a background needs 5 frames or more, there are {len(frames)}")
        if len({np.shape(frame) for frame in frames}) != 1:
            raise InputError("the frames of one background must have one size")
        stack = np.stack([_channels(frame) for frame in frames])
        median = np.empty(stack.shape[1:], np.float32)
        spread = np.empty_like(median)
        for top in range(0, stack.shape[1], 64):  # the sort's copies stay small
            rows = stack[:, top : top + 64].astype(np.int16)
            median[top : top + 64] = np.median(rows, axis=0)
            spread[top : top + 64] = np.median(np.abs(rows - median[top : top + 64]), axis=0)
        slope = np.zeros_like(median)
        slope[:, 1:-1] += np.abs(median[:, 2:] - median[:, :-2]) / 2
        slope[1:-1] += np.abs(median[2:] - median[:-2]) / 2
        noise = np.sqrt(np.square(1.4826 * _box(spread, 2)) + np.square(shake * slope) + 2.0**2)
        return Background(median, noise.astype(np.float32))

    def difference(self, frame: Frame) -> NDArray[np.float32]:
        """How far a picture is from the background, in standard deviations, [H,W]; light is matched first.

        Raises :class:`InputError` when its size differs.
        """
        picture = _channels(frame).astype(np.float32)
        if picture.shape != self.median.shape:
            raise InputError(f"a frame of {picture.shape} does not fit a background of {self.median.shape}")
        squares = np.zeros(picture.shape[:2], np.float32)
        for channel in range(picture.shape[2]):
            now, known = picture[..., channel], self.median[..., channel]
            gain, offset = _light(known, now)
            squares += np.square((now - gain * known - offset) / self.noise[..., channel])
        # The average over 3x3: noise is not connected, objects are.
        return np.asarray(np.sqrt(_box(squares[..., None], 1)[..., 0] / picture.shape[2]), np.float32)


class MovingMasks:
    """Masks of what moves, picture after picture; each comes one picture late, for it is checked against its
    neighbours in time: a blob that is in one picture only is dropped, a gap of one picture is closed."""

    def __init__(self, background: Background, options: MovingOptions | None = None) -> None:
        self.background = background
        self.options = options or MovingOptions()
        self._known: deque[Mask] = deque(maxlen=3)

    def push(self, frame: Frame) -> Mask | None:
        """The mask of the picture before this one; None for the first. Raises :class:`InputError`."""
        self._known.append(self._blobs(self.background.difference(frame)))
        return self._settled(len(self._known) - 2) if len(self._known) > 1 else None

    def finish(self) -> Mask:
        """The mask of the last picture. Raises :class:`InputError` when there was none."""
        if not self._known:
            raise InputError("no frame was given")
        mask = self._settled(len(self._known) - 1)
        self._known.clear()
        return mask

    def _blobs(self, difference: NDArray[np.float32]) -> Mask:
        """One picture by itself."""
        options, size = self.options, difference.shape
        weak = difference > options.weak / options.sensitivity
        strong = difference > options.strong / options.sensitivity
        reach = max(1, round(min(size) / 200))
        weak = erode(dilate(weak, reach), reach)
        least = options.smallest * difference.size
        kept = _select(weak, strong, max(least, 4.0), max(least / 4, 2.0))
        kept = ~_select(~kept, None, 100 * least, 0.0, keep_at_border=True)  # holes of a body are filled
        return dilate(kept, options.grow)

    def _settled(self, at: int) -> Mask:
        mask = self._known[at]
        before = self._known[at - 1] if at else None
        after = self._known[at + 1] if at + 1 < len(self._known) else None
        neighbours = [m for m in (before, after) if m is not None]
        if not neighbours:
            return mask
        # What moves is near where it was. Twice its own reach: a small thing moves by more than its size.
        near = dilate(np.logical_or.reduce(neighbours), max(2, round(min(mask.shape) / 48)))
        kept = _select(mask, near, 0.0, 1.0)
        if before is not None and after is not None:
            kept |= before & after
        return kept


def moving_mask(
    frames: Sequence[Frame] | NDArray[np.uint8],
    options: MovingOptions | None = None,
    background: Background | None = None,
) -> list[Mask]:
    """Masks of what moves in a clip of a fixed camera, one a frame.

    :param frames: [N,H,W,C] or [N,H,W] or a sequence of such pictures, 8 bit, any channels (Y'CbCr is good).
    :param background: what the scene looks like when it is empty; by default the median of up to 60 frames
        spread over the clip, so that what stands still for half of it belongs to the background.

    Raises :class:`InputError`.
    """
    options = options or MovingOptions()
    if background is None:
        places = np.unique(np.linspace(0, len(frames) - 1, min(len(frames), 60)).round().astype(int))
        background = Background.of([frames[i] for i in places], options.shake)
    masks = MovingMasks(background, options)
    found = [masks.push(frame) for frame in frames]
    return [mask for mask in (*found, masks.finish()) if mask is not None]


def _channels(frame: Frame) -> Frame:
    frame = np.asarray(frame)
    if frame.dtype != np.uint8 or frame.ndim not in (2, 3):
        raise InputError(f"a frame is uint8 of [H,W,C] or [H,W], not {frame.dtype} of {frame.shape}")
    return frame if frame.ndim == 3 else frame[..., None]


def _light(known: NDArray[np.float32], now: NDArray[np.float32]) -> tuple[float, float]:
    """Gain and offset that make a channel of the background look like now's, from every seventh sample: least
    squares, twice, the second time without what differs most."""
    x, y = known[::7, ::7].ravel(), now[::7, ::7].ravel()
    gain, offset = 1.0, float(np.median(y - x))
    for _ in range(2):
        rest = np.abs(y - gain * x - offset)
        near = rest <= 2.5 * np.median(rest) + 2
        a, b = x[near], y[near]
        variance = float(np.var(a))
        if variance < 4:  # a flat channel has no gain
            return 1.0, float(np.median(b - a))
        gain = float(np.mean((a - a.mean()) * (b - b.mean()))) / variance
        gain = min(max(gain, 0.5), 2.0)
        offset = float(b.mean() - gain * a.mean())
    return gain, offset


def _box(values: NDArray[np.float32], radius: int) -> NDArray[np.float32]:
    """Mean over (2 radius + 1)² neighbours of each channel, edges repeated."""
    for axis in (0, 1):
        pad = [(radius, radius) if i == axis else (0, 0) for i in range(values.ndim)]
        padded = np.pad(values, pad, mode="edge")
        length = values.shape[axis]
        total = np.zeros_like(values)
        for shift in range(2 * radius + 1):
            total += np.take(padded, range(shift, shift + length), axis)
        values = total / np.float32(2 * radius + 1)
    return values


# ---- morphology


def dilate(mask: Mask, radius: int) -> Mask:
    """Wider by ``radius`` samples on every side (a square)."""
    for axis in (0, 1):
        mask = _spread(mask, radius, axis)
    return mask


def erode(mask: Mask, radius: int) -> Mask:
    """Narrower by ``radius`` samples on every side; beyond the picture all counts as mask."""
    return ~dilate(~mask, radius)


def _spread(mask: Mask, radius: int, axis: int) -> Mask:
    """The window of 2 radius + 1 is doubled from 1: a few ORs instead of one a sample."""
    if radius <= 0:
        return mask
    length = mask.shape[axis]
    pad = [(radius, radius) if i == axis else (0, 0) for i in range(2)]
    wide = np.pad(mask, pad)
    view = np.moveaxis(wide, axis, 0)
    window = 1
    while window < 2 * radius + 1:
        step = min(window, 2 * radius + 1 - window)
        view[:-step] |= view[step:].copy()
        window += step
    return np.ascontiguousarray(np.moveaxis(view[:length], 0, axis))


def _select(mask: Mask, marked: Mask | None, area: float, marks: float, keep_at_border: bool = False) -> Mask:
    """The connected parts of ``mask`` that have at least ``area`` samples, ``marks`` of them ``marked``; with
    ``keep_at_border`` those as well that touch the picture's border, however small.

    A row's runs of samples are the nodes; runs of neighbouring rows that touch (diagonals count) are linked,
    and every part takes the least number of its runs.
    """
    height, width = mask.shape
    step = width + 2  # a column of background on both sides: runs end with their row
    padded = np.zeros((height, step), np.int8)
    padded[:, 1:-1] = mask
    edges = np.flatnonzero(np.diff(padded.ravel(), prepend=np.int8(0)))
    starts, ends = edges[::2], edges[1::2]
    if not len(starts):
        return np.zeros_like(mask)
    first = np.searchsorted(ends, starts + step - 1, "left")
    count = np.searchsorted(starts, ends + step, "right") - first
    count = np.maximum(count, 0)
    above = np.repeat(np.arange(len(starts)), count)
    below = np.arange(len(above)) - np.repeat(np.cumsum(count) - count, count) + np.repeat(first, count)
    labels = _parts(len(starts), above, below)

    good = np.bincount(labels, ends - starts, len(starts)) >= area
    if marked is not None:
        sums = np.zeros(height * step + 1, np.int64)
        wide = np.zeros((height, step), np.int64)
        wide[:, 1:-1] = marked
        np.cumsum(wide.ravel(), out=sums[1:])
        good &= np.bincount(labels, sums[ends] - sums[starts], len(starts)) >= marks
    if keep_at_border:
        row, column = starts // step, starts % step
        at_border = (row == 0) | (row == height - 1) | (column == 1) | (ends % step == width + 1)
        good[labels[at_border]] = True
    kept = good[labels]
    change = np.zeros(height * step, np.int8)
    change[starts[kept]] = 1
    change[ends[kept]] = -1
    return np.cumsum(change, dtype=np.int8).reshape(height, step)[:, 1:-1].astype(bool)


def _parts(nodes: int, one: NDArray[np.intp], other: NDArray[np.intp]) -> NDArray[np.intp]:
    """For every node the least number in its connected part of the graph with those links."""
    labels = np.arange(nodes)
    while True:
        least = np.minimum(labels[one], labels[other])
        new = labels.copy()
        np.minimum.at(new, labels[one], least)
        np.minimum.at(new, labels[other], least)
        while not np.array_equal(new, shorter := new[new]):
            new = shorter
        if np.array_equal(new, labels):
            return labels
        labels = new


# ---- people


class PersonMasks:
    """Masks of people by a bundle for the task ``segment``, picture after picture of one video.

    The same net, size and smoothing as ``segment=`` of the filter ``mesh_inpaint``; pictures are RGB here.

    Args:
        model: name or path of the bundle.
        threads: CPU threads of the net; 0 for all.

    Raises:
        clarivid.ModelError: the model is not found, or makes no masks.
    """

    def __init__(self, model: str | Path = PERSON, *, threads: int = 0) -> None:
        import openvino as ov

        bundle = find_model(model)
        size = bundle.card.get("input", {})
        if bundle.task != "segment" or "width" not in size or "height" not in size:
            raise ModelError(
                f"model {bundle.name} is for the task '{bundle.task}': it makes no masks. Name a model such "
                f"as {PERSON}."
            )
        self.name = bundle.name
        self.width, self.height = int(size["width"]), int(size["height"])
        core = ov.Core()
        net = core.read_model(str(bundle.onnx))
        net.reshape([1, 3, self.height, self.width])
        properties: dict[str, Any] = {"INFERENCE_PRECISION_HINT": "f32", "ENABLE_CPU_PINNING": False}
        if threads:
            properties["INFERENCE_NUM_THREADS"] = threads
        self._net = core.compile_model(net, "CPU", properties)
        self._smooth: NDArray[np.float32] | None = None

    def probability(self, frame: Frame) -> NDArray[np.float32]:
        """The net's answer for an RGB picture [H,W,3] of any size, not smoothed; of the model's size.

        Raises :class:`InputError` when it is no RGB picture.
        """
        frame = np.asarray(frame)
        if frame.dtype != np.uint8 or frame.ndim != 3 or frame.shape[2] != 3:
            raise InputError(f"a frame is RGB, uint8 of [H,W,3], not {frame.dtype} of {frame.shape}")
        planes = frame.transpose(2, 0, 1).astype(np.float32) / np.float32(255)
        rows = triangle_weights(frame.shape[0], self.height)
        columns = triangle_weights(frame.shape[1], self.width)
        tensor = np.ascontiguousarray(rows @ planes @ columns.T)[None]
        return np.asarray(self._net([tensor])[0][0, 0], np.float32)

    def reset(self) -> None:
        """Forget the pictures before: the next one begins another video."""
        self._smooth = None

    def push(self, frame: Frame) -> NDArray[np.float32]:
        """As :meth:`probability`, smoothed with the pictures before."""
        now = self.probability(frame)
        if self._smooth is not None:
            now = now + np.float32(PREVIOUS) * 4 * now * (1 - now) * (self._smooth - now)
        self._smooth = now
        return now

    def __call__(self, frame: Frame) -> Mask:
        """The mask of the next picture, of its size."""
        smooth = self.push(frame)
        rows, columns = (
            _linear_weights(net, picture) for net, picture in zip(smooth.shape, frame.shape[:2], strict=True)
        )
        return np.asarray(rows @ smooth @ columns.T >= THRESHOLD)


def triangle_weights(source: int, target: int) -> NDArray[np.float32]:
    """[target, source]: resampling by a triangle as wide as the step, or as 2 samples where lines grow."""
    ratio = source / target
    width = max(ratio, 1.0)
    centres = (np.arange(target) + 0.5) * ratio - 0.5
    weights = np.maximum(0.0, 1.0 - np.abs(np.arange(source)[None] - centres[:, None]) / width)
    return np.asarray(weights / weights.sum(1, keepdims=True), np.float32)


def _linear_weights(source: int, target: int) -> NDArray[np.float32]:
    """[target, source]: linear interpolation, centres aligned, edges repeated."""
    at = np.clip((np.arange(target) + 0.5) * source / target - 0.5, 0, source - 1)
    weights = np.maximum(0.0, 1.0 - np.abs(np.arange(source)[None] - at[:, None]))
    return np.asarray(weights, np.float32)


def iou(one: Iterable[Mask], other: Iterable[Mask]) -> float:
    """Intersection over union of two series of masks; 1 when both are empty."""
    pairs = list(zip(one, other, strict=True))
    union = sum(int((a | b).sum()) for a, b in pairs)
    return sum(int((a & b).sum()) for a, b in pairs) / union if union else 1.0


__all__ = [
    "Background",
    "MovingMasks",
    "MovingOptions",
    "PersonMasks",
    "dilate",
    "erode",
    "iou",
    "moving_mask",
    "triangle_weights",
]
