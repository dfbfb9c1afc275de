# SPDX-License-Identifier: BSD-2-Clause
"""Holes to learn inpainting with: people, strokes and boxes, drawn at random.

A person is a jointed figure: head, torso, arms and legs as tapered limbs between joints whose angles are
drawn (standing, walking, sitting, arms in any pose), with hair, a hat, a bag, a skirt, a coat, an umbrella or
a dog at times, seen whole or cut off by the picture's border, alone or in a group. All lengths are in units
of the figure's height.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw, ImageFilter

Hole = npt.NDArray[np.bool_]
Rng = np.random.Generator
Point = tuple[float, float]
LEAST, MOST = 0.02, 0.30  # share of the picture
_SHARES = {"people": 0.7, "strokes": 0.18, "boxes": 0.12}


class _Pen:
    """Draws shapes given in a figure's own coordinates; y points down, the origin lies between the hips."""

    def __init__(self, image: Image.Image, origin: Point, height: float, lean: float, mirror: bool) -> None:
        self.draw = ImageDraw.Draw(image)
        self.origin, self.height = origin, height
        self.cos, self.sin = math.cos(lean), math.sin(lean)
        self.sign = -1.0 if mirror else 1.0

    def at(self, p: Point) -> Point:
        x, y = self.sign * p[0], p[1]
        return (
            self.origin[0] + self.height * (self.cos * x - self.sin * y),
            self.origin[1] + self.height * (self.sin * x + self.cos * y),
        )

    def polygon(self, points: list[Point]) -> None:
        self.draw.polygon([self.at(p) for p in points], fill=255)

    def disc(self, centre: Point, radius: float, squeeze: float = 1.0) -> None:
        x, y = self.at(centre)
        r = max(radius * self.height, 0.6)
        self.draw.ellipse((x - r * squeeze, y - r, x + r * squeeze, y + r), fill=255)

    def limb(self, a: Point, b: Point, thick_a: float, thick_b: float) -> None:
        """A tapered limb with round ends; thickness is the radius."""
        dx, dy = b[0] - a[0], b[1] - a[1]
        length = math.hypot(dx, dy) or 1.0
        nx, ny = -dy / length, dx / length
        self.polygon(
            [
                (a[0] + nx * thick_a, a[1] + ny * thick_a),
                (b[0] + nx * thick_b, b[1] + ny * thick_b),
                (b[0] - nx * thick_b, b[1] - ny * thick_b),
                (a[0] - nx * thick_a, a[1] - ny * thick_a),
            ]
        )
        self.disc(a, thick_a)
        self.disc(b, thick_b)


class _Body(NamedTuple):
    """Where the head is, half the width at the hips and at the shoulders."""

    head: Point
    hips: float
    shoulders: float


def _along(start: Point, angle: float, length: float) -> Point:
    """The point at ``length`` from ``start``; angle 0 points down, positive to the front."""
    return start[0] + length * math.sin(angle), start[1] + length * math.cos(angle)


def _figure(pen: _Pen, rng: Rng) -> None:
    """One person. Proportions are those of an adult, eight heads high, within some per cent of chance."""
    normal, uniform = rng.normal, rng.uniform
    stout = uniform(0.8, 1.45)
    frontal = uniform(0.5, 1.0)  # 1 seen from the front, 0.5 from the side
    hips, shoulders = 0.07 * frontal * stout, 0.105 * frontal * stout
    neck = (normal(0, 0.015), -0.30)
    pen.polygon(
        [
            (-hips - 0.015, 0.03),
            (-hips * uniform(0.7, 1.0), -0.13),
            (-shoulders, -0.27),
            (-0.03, -0.325),
            (0.03, -0.325),
            (shoulders, -0.27),
            (hips * uniform(0.7, 1.0), -0.13),
            (hips + 0.015, 0.03),
        ]
    )
    pen.limb((0, -0.06), (0, -0.24), 0.055 * stout, 0.06 * stout)
    head = (neck[0] + normal(0, 0.012), -0.395)
    pen.limb(neck, head, 0.03, 0.03)
    pen.disc(head, uniform(0.06, 0.075), uniform(0.75, 0.95))
    pose = rng.choice(["stand", "walk", "sit", "any"], p=[0.35, 0.35, 0.12, 0.18])
    spread = {"stand": 0.1, "walk": 0.4, "sit": 0.25, "any": 0.7}[str(pose)]
    for side in (-1, 1):
        start = (side * hips * 0.7, 0.0)
        thigh = side * abs(normal(0, spread)) if pose != "sit" else uniform(0.9, 1.5)
        knee = thigh - abs(normal(0, spread)) if pose != "sit" else normal(0, 0.2)
        middle = _along(start, thigh, 0.245)
        foot = _along(middle, knee, 0.235)
        pen.limb(start, middle, 0.052 * stout, 0.036 * stout)
        pen.limb(middle, foot, 0.036 * stout, 0.024)
        pen.limb(foot, (foot[0] + 0.06 * (1.2 - frontal), foot[1] + 0.012), 0.025, 0.018)
        start = (side * shoulders * 0.95, -0.26)
        wild = rng.random() < 0.3
        upper = side * abs(normal(0.15, 0.25)) if not wild else uniform(-math.pi, math.pi)
        lower = upper + (normal(0.2, 0.5) if not wild else uniform(-1.8, 1.8))
        elbow = _along(start, upper, 0.165)
        hand = _along(elbow, lower, 0.155)
        pen.limb(start, elbow, 0.034 * stout, 0.026 * stout)
        pen.limb(elbow, hand, 0.026 * stout, 0.018)
        pen.disc(hand, 0.024)
        if rng.random() < 0.1:  # a bag, a stick
            if rng.random() < 0.6:
                w, h = uniform(0.04, 0.12), uniform(0.06, 0.16)
                x, y = hand
                pen.polygon([(x - w, y), (x + w, y), (x + w * 1.1, y + h), (x - w * 1.1, y + h)])
            else:
                pen.limb(hand, _along(hand, normal(0, 0.6), uniform(0.2, 0.5)), 0.01, 0.01)
    for chance, add in _EXTRAS:
        if rng.random() < chance:
            add(pen, rng, _Body(head, hips, shoulders))


def _hair(pen: _Pen, rng: Rng, body: _Body) -> None:
    pen.disc((body.head[0] - 0.01, body.head[1] - 0.01), rng.uniform(0.07, 0.095), rng.uniform(0.8, 1.1))
    if rng.random() < 0.5:
        pen.limb(body.head, (body.head[0] - rng.uniform(0, 0.05), -0.25), 0.065, 0.05)


def _hat(pen: _Pen, rng: Rng, body: _Body) -> None:
    wide, top = rng.uniform(0.06, 0.13), body.head[1] - rng.uniform(0.07, 0.12)
    pen.limb(
        (body.head[0] - wide, body.head[1] - 0.04), (body.head[0] + wide, body.head[1] - 0.04), 0.012, 0.012
    )
    pen.polygon(
        [(body.head[0] + dx, y) for dx, y in ((-0.06, -0.43), (-0.05, top), (0.05, top), (0.06, -0.43))]
    )


def _skirt(pen: _Pen, rng: Rng, body: _Body) -> None:
    low, wide = rng.uniform(0.15, 0.42), rng.uniform(1.3, 2.6) * (body.hips + 0.03)
    pen.polygon([(-body.hips, -0.1), (body.hips, -0.1), (wide, low), (-wide, low)])


def _coat(pen: _Pen, rng: Rng, body: _Body) -> None:
    low, wide = rng.uniform(0.05, 0.3), rng.uniform(1.0, 1.5) * (body.shoulders + 0.02)
    pen.polygon([(-body.shoulders - 0.02, -0.28), (body.shoulders + 0.02, -0.28), (wide, low), (-wide, low)])


def _backpack(pen: _Pen, rng: Rng, body: _Body) -> None:
    x = -body.shoulders - rng.uniform(0.0, 0.06)
    pen.limb((x, -0.25), (x, -0.25 + rng.uniform(0.1, 0.22)), 0.055, 0.065)


def _umbrella(pen: _Pen, rng: Rng, body: _Body) -> None:
    top, wide = body.head[1] - rng.uniform(0.1, 0.2), rng.uniform(0.18, 0.32)
    pen.limb((0.05, -0.2), (0.05, top), 0.008, 0.008)
    arc = [math.pi * i / 12 for i in range(13)]
    pen.polygon([(0.05 + wide * math.cos(a), top + 0.06 - 0.14 * math.sin(a)) for a in arc])


def _dog(pen: _Pen, rng: Rng, body: _Body) -> None:
    x, y, size = rng.uniform(0.25, 0.5) + body.hips - 0.05, 0.40, rng.uniform(0.5, 1.1)
    back, front = (x - 0.13 * size, y), (x + 0.13 * size, y - 0.01)
    pen.limb(back, front, 0.055 * size, 0.06 * size)
    pen.limb(front, (front[0] + 0.07 * size, y - 0.1 * size), 0.035 * size, 0.04 * size)
    for leg in (back, front):
        pen.limb(leg, (leg[0] + rng.normal(0, 0.02), y + 0.13 * size), 0.025 * size, 0.018 * size)
    pen.limb(back, (back[0] - 0.08, y - 0.08), 0.01, 0.01)


_Extra = Callable[[_Pen, Rng, _Body], None]
_EXTRAS: tuple[tuple[float, _Extra], ...] = (
    (0.35, _hair),
    (0.12, _hat),
    (0.15, _skirt),
    (0.2, _coat),
    (0.12, _backpack),
    (0.05, _umbrella),
    (0.05, _dog),
)


def people(height: int, width: int, rng: Rng, share: float) -> Hole:
    """One to three figures of about that ``share`` of the picture, with smooth outlines, [height,width]."""
    number = int(rng.choice([1, 2, 3], p=[0.7, 0.2, 0.1]))
    # A figure covers some 0.14 of its height squared; what the border cuts off is made up for below.
    tall = math.sqrt(share * height * width / (0.14 * number))
    seed = int(rng.integers(1 << 62))
    hole = np.zeros((height, width), bool)
    for _ in range(3):
        again = np.random.default_rng(seed)  # the same figures in another size
        image = Image.new("L", (width, height))
        for _ in range(number):
            one = tall * again.uniform(0.75, 1.2)
            low, high = (-0.05, 0.25) if one < 0.9 * height else (-0.1, 0.1)
            top = again.uniform(low, high) * height
            floor = max(0.0, height - one) * again.uniform(0.3, 1.0)
            x = again.uniform(0.1, 0.9) * width
            y = (floor if one < height else top) + 0.48 * one
            _figure(_Pen(image, (x, y), one, again.normal(0, 0.08), again.random() < 0.5), again)
        image = image.filter(ImageFilter.GaussianBlur(max(0.8, tall / 130)))
        hole = np.asarray(image) > rng.uniform(50, 128)
        found = float(hole.mean())
        if 0.7 * share <= found <= 1.4 * share or found == 0:
            break
        tall *= min(2.0, max(0.5, math.sqrt(share / found)))
    return hole


def strokes(height: int, width: int, rng: Rng, share: float) -> Hole:
    """Thick broken lines, as a hand wipes something away."""
    image = Image.new("L", (width, height))
    draw = ImageDraw.Draw(image)
    size = math.sqrt(height * width)
    for _ in range(40):
        thick = size * rng.uniform(0.03, 0.12)
        x, y, angle = rng.uniform(0, width), rng.uniform(0, height), rng.uniform(0, 2 * math.pi)
        for _ in range(int(rng.integers(1, 6))):
            angle += rng.normal(0, 0.7)
            length = size * rng.uniform(0.05, 0.25)
            to = x + length * math.cos(angle), y + length * math.sin(angle)
            draw.line((x, y, *to), fill=255, width=max(1, round(thick)))
            for centre in ((x, y), to):
                r = thick / 2
                draw.ellipse((centre[0] - r, centre[1] - r, centre[0] + r, centre[1] + r), fill=255)
            x, y = to
        if np.asarray(image).mean() > 255 * 0.8 * share:
            break
    return np.asarray(image) > 127


def boxes(height: int, width: int, rng: Rng, share: float) -> Hole:
    """One to three boxes, as a detector gives them."""
    hole = np.zeros((height, width), bool)
    number = int(rng.integers(1, 4))
    for _ in range(number):
        area, aspect = share * height * width / number, math.exp(rng.normal(-0.3, 0.5))
        w, h = min(width, round(math.sqrt(area * aspect))), min(height, round(math.sqrt(area / aspect)))
        x, y = int(rng.integers(0, width - w + 1)), int(rng.integers(0, height - h + 1))
        hole[y : y + h, x : x + w] = True
    return hole


_KINDS = {"people": people, "strokes": strokes, "boxes": boxes}


def hole(height: int, width: int, rng: Rng, kind: str = "") -> Hole:
    """A hole [height,width] of :data:`LEAST` to :data:`MOST` of the picture.

    ``kind`` is people, strokes or boxes; by default 70, 18 and 12 in a hundred. Sides of 32 and more.
    """
    chosen = kind or str(rng.choice(list(_SHARES), p=list(_SHARES.values())))
    for _ in range(20):
        # Small ones more often than large ones.
        share = LEAST * (MOST / LEAST) ** rng.uniform(0.1, 0.95)
        drawn = _KINDS[chosen](height, width, rng, share)
        if LEAST <= drawn.mean() <= MOST:
            return drawn
    return boxes(height, width, rng, 0.1)


__all__ = ["LEAST", "MOST", "hole"]
