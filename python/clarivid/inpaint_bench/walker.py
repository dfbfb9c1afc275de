# SPDX-License-Identifier: BSD-2-Clause
"""A walking person, drawn: the object that is put before a known background, to be taken away again.

The figure is jointed (thighs, shins, feet, arms, torso, head); its angles follow a plain gait, so that the
silhouette changes in every frame as a real one does. Clothes have a pattern that moves with the body. All
lengths are shares of the figure's height.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from clarivid.data.synth import rgb_to_yuv420

Planes = tuple[NDArray[np.uint8], NDArray[np.uint8], NDArray[np.uint8]]
Mask = NDArray[np.uint8]  # [H, W], 255 where the person is
Colour = tuple[int, int, int]
Point = tuple[float, float]

_STRIDE = 0.85  # of the height: what one cycle of two steps covers
_FINE = 3  # drawn so many times larger, then averaged: soft edges
_SHIFT = 4  # cv2 takes fixed-point coordinates with so many fractional bits


@dataclass(frozen=True)
class Walker:
    """One person's way through a clip of ``frames`` pictures; positions and heights are its shares.

    ``start`` and ``end`` are the (x, y) of the ground below the hips in the first and the last picture,
    ``height`` and ``end_height`` the figure's share of the picture's height there. ``cycles`` is the number
    of double steps; 0 takes what the way asks for.
    """

    start: Point
    end: Point
    height: float
    end_height: float = 0.0
    cycles: float = 0.0
    shirt: Colour = (176, 58, 46)
    trousers: Colour = (44, 62, 106)
    skin: Colour = (214, 168, 138)
    hair: Colour = (58, 40, 30)

    def draw(
        self, size: tuple[int, int], t: int, frames: int
    ) -> tuple[NDArray[np.uint8], NDArray[np.float32]]:
        """Colours [H, W, 3] and coverage [H, W] (0..1) of picture ``t``; ``size`` is (width, height)."""
        width, height = size
        s = t / max(frames - 1, 1)
        x = (self.start[0] + (self.end[0] - self.start[0]) * s) * width
        y = (self.start[1] + (self.end[1] - self.start[1]) * s) * height
        tall = (self.height + ((self.end_height or self.height) - self.height) * s) * height
        way = abs(self.end[0] - self.start[0]) * width / tall
        phase = 2 * math.pi * (self.cycles or way / _STRIDE) * s
        return _figure(self, size, x, y, tall, phase, self.end[0] < self.start[0])


def add(
    frames: Sequence[Planes], walkers: Sequence[Walker], length: int = 0
) -> tuple[list[Planes], list[Mask]]:
    """The frames (yuv420p, even sizes) with the walkers before them, and the mask of what they cover.

    ``length`` is the number of pictures of the walkers' whole way, 0 for as many as there are frames.
    """
    made, masks = [], []
    for t, frame in enumerate(frames):
        height, width = frame[0].shape
        mask = np.zeros((height, width), np.uint8)
        for walker in walkers:
            colour, cover = walker.draw((width, height), t, length or len(frames))
            rows, columns = _bounds(cover.max(1)), _bounds(cover.max(0))
            if rows.stop == 0 or columns.stop == 0:
                continue
            alpha = cover[rows, columns]
            half = alpha.reshape(alpha.shape[0] // 2, 2, alpha.shape[1] // 2, 2).mean((1, 3))
            person = rgb_to_yuv420(colour[rows, columns])
            small = (slice(rows.start // 2, rows.stop // 2), slice(columns.start // 2, columns.stop // 2))
            planes = []
            for plane, front, part, at in zip(
                frame, person, (alpha, half, half), ((rows, columns), small, small), strict=True
            ):
                mixed = plane.copy()
                back = plane[at]
                mixed[at] = back + (front.astype(np.float32) - back) * part + np.float32(0.5)
                planes.append(mixed)
            frame = planes[0], planes[1], planes[2]
            mask[cover > 0] = 255
        made.append(frame)
        masks.append(mask)
    return made, masks


def _bounds(used: NDArray[np.float32]) -> slice:
    """From the first to the last that is not 0, widened to even numbers; (0, 0) when there is none."""
    where = np.flatnonzero(used)
    return slice(0, 0) if not where.size else slice(int(where[0]) // 2 * 2, (int(where[-1]) + 2) // 2 * 2)


class _Canvas:
    """Colour and coverage of one figure, ``_FINE`` times larger than it will be."""

    def __init__(self, width: int, height: int) -> None:
        self.colour = np.zeros((height * _FINE, width * _FINE, 3), np.uint8)
        self.cover = np.zeros((height * _FINE, width * _FINE), np.uint8)

    def limb(self, a: Point, b: Point, r: float, q: float, colour: Colour, check: float = 0.0) -> None:
        """A limb from ``a`` (radius ``r``) to ``b`` (radius ``q``), with bands across it if ``check`` > 0."""
        part = np.zeros_like(self.cover)
        dx, dy = b[0] - a[0], b[1] - a[1]
        length = math.hypot(dx, dy) or 1.0
        nx, ny = -dy / length, dx / length
        outline = [
            (a[0] + nx * r, a[1] + ny * r),
            (b[0] + nx * q, b[1] + ny * q),
            (b[0] - nx * q, b[1] - ny * q),
            (a[0] - nx * r, a[1] - ny * r),
        ]
        cv2.fillConvexPoly(part, _fixed(outline), (255,), shift=_SHIFT)
        for centre, radius in ((a, r), (b, q)):
            at = _fixed([centre])[0]
            cv2.circle(
                part, (int(at[0]), int(at[1])), int(radius * _FINE * 2**_SHIFT), (255,), -1, shift=_SHIFT
            )
        rows, columns = np.nonzero(part)
        if not rows.size:
            return
        along = ((columns / _FINE - a[0]) * dx + (rows / _FINE - a[1]) * dy) / length
        across = ((columns / _FINE - a[0]) * nx + (rows / _FINE - a[1]) * ny) / max(r, q)
        shade = 1.0 - 0.35 * np.clip(across, -1, 1) ** 2 - 0.1 * np.clip(across, -1, 1)
        if check:
            shade *= np.where((along / check).astype(int) % 2 == 0, 1.0, 0.72)
        self.colour[rows, columns] = np.clip(np.outer(shade, colour), 0, 255)
        self.cover[rows, columns] = 255


def _fixed(points: Sequence[Point]) -> NDArray[np.int32]:
    fixed: NDArray[np.int32] = np.round((np.asarray(points) * _FINE + (_FINE - 1) / 2) * 2**_SHIFT).astype(
        np.int32
    )
    return fixed


def _along(start: Point, angle: float, length: float) -> Point:
    """The point at ``length`` from ``start``; angle 0 points down, positive to the front (right)."""
    return start[0] + length * math.sin(angle), start[1] + length * math.cos(angle)


def _figure(
    who: Walker, size: tuple[int, int], x: float, y: float, tall: float, phase: float, mirror: bool
) -> tuple[NDArray[np.uint8], NDArray[np.float32]]:
    """The figure in a window of its own, then put where it belongs in a picture of ``size``."""
    w, h = int(tall * 0.9) + 4, int(tall * 1.08) + 4
    left, top = math.floor(x - w / 2), math.floor(y - tall * 1.04)
    ground = (x - left if not mirror else w - (x - left), y - top)
    canvas = _Canvas(w, h)
    _pose(canvas, who, ground, tall, phase)
    colour, cover = canvas.colour, canvas.cover
    if mirror:
        colour, cover = colour[:, ::-1], cover[:, ::-1]
    small = cv2.resize(np.ascontiguousarray(cover), (w, h), interpolation=cv2.INTER_AREA)
    # Colours are spread beyond the outline, so that an edge is a mixture of person and background only.
    spread = cv2.dilate(np.ascontiguousarray(colour), np.ones((2 * _FINE + 1, 2 * _FINE + 1), np.uint8))
    solid = np.where(np.ascontiguousarray(cover)[..., None] > 0, colour, spread)
    paint = cv2.resize(np.ascontiguousarray(solid), (w, h), interpolation=cv2.INTER_AREA)
    width, height = size
    full = np.full((height, width, 3), 128, np.uint8)
    alpha = np.zeros((height, width), np.float32)
    x0, y0, x1, y1 = max(left, 0), max(top, 0), min(left + w, width), min(top + h, height)
    if x1 > x0 and y1 > y0:
        cut = (slice(y0 - top, y1 - top), slice(x0 - left, x1 - left))
        full[y0:y1, x0:x1] = paint[cut]
        alpha[y0:y1, x0:x1] = small[cut] / np.float32(255)
    return full, alpha


def _pose(canvas: _Canvas, who: Walker, ground: Point, tall: float, phase: float) -> None:
    """One picture of the gait: thighs swing like a pendulum, knees bend while a leg comes forward."""
    dark: Colour = (max(who.trousers[0] - 18, 0), max(who.trousers[1] - 18, 0), max(who.trousers[2] - 18, 0))
    sleeve: Colour = (int(who.shirt[0] * 0.8), int(who.shirt[1] * 0.8), int(who.shirt[2] * 0.8))
    shoe: Colour = (30, 28, 28)
    bob = 0.012 * math.cos(2 * phase)
    hips = (ground[0], ground[1] - (0.475 + bob) * tall)
    neck = _along(hips, math.pi - 0.06, 0.32 * tall)

    def leg(swing: float, colour: Colour) -> None:
        thigh = 0.42 * math.sin(swing)
        knee = 0.12 + 0.75 * max(0.0, math.cos(swing)) ** 2
        bent = _along(hips, thigh, 0.235 * tall)
        ankle = _along(bent, thigh - knee, 0.215 * tall)
        canvas.limb(hips, bent, 0.06 * tall, 0.043 * tall, colour)
        canvas.limb(bent, ankle, 0.043 * tall, 0.026 * tall, colour)
        toe = _along(ankle, thigh - knee + 1.45, 0.075 * tall)
        canvas.limb(ankle, toe, 0.024 * tall, 0.017 * tall, shoe)

    def arm(swing: float, colour: Colour) -> None:
        shoulder = _along(neck, 0.0, 0.03 * tall)
        upper = 0.45 * math.sin(swing)
        elbow = _along(shoulder, upper, 0.15 * tall)
        wrist = _along(elbow, upper + 0.35, 0.14 * tall)
        canvas.limb(shoulder, elbow, 0.033 * tall, 0.027 * tall, colour, 0.03 * tall)
        canvas.limb(elbow, wrist, 0.026 * tall, 0.02 * tall, who.skin)

    arm(phase, sleeve)
    leg(phase + math.pi, dark)
    leg(phase, who.trousers)
    canvas.limb(hips, neck, 0.072 * tall, 0.062 * tall, who.shirt, 0.035 * tall)
    head = _along(neck, math.pi - 0.1, 0.115 * tall)
    canvas.limb(neck, head, 0.028 * tall, 0.03 * tall, who.skin)
    canvas.limb(head, _along(head, math.pi, 0.03 * tall), 0.052 * tall, 0.056 * tall, who.skin)
    canvas.limb(
        _along(head, math.pi + 0.9, 0.028 * tall),
        _along(head, math.pi, 0.05 * tall),
        0.046 * tall,
        0.05 * tall,
        who.hair,
    )
    arm(phase + math.pi, who.shirt)
