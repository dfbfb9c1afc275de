# SPDX-License-Identifier: BSD-2-Clause
"""Smooth continuous deformation of a still: pan, zoom, turn, perspective, shake and elastic waves.

A motion maps a pixel of frame t to a place in the still. At t = 0 it is the identity but for the waves; it is
drawn as a mesh of quads, within which pillow interpolates the mapping bilinearly and the samples bicubically.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
from PIL import Image

Rng = np.random.Generator
Points = npt.NDArray[np.float64]  # [..., 2], x and y in pixels
_GRID = (17, 11)  # corners of the mesh across and down


@dataclass(frozen=True)
class Motion:
    """One motion of a frame of ``size`` (width, height).

    ``velocity`` and ``acceleration`` in pixels a frame; ``zoom`` (natural logarithm of the scale) and
    ``turn`` (radians) a frame; ``tilt`` change of the perspective divisor across the frame, a frame;
    ``shake`` [T,2] pixels; ``waves`` rows of (amplitude x, amplitude y, cycles across, cycles down, phase,
    phase a frame).
    """

    size: tuple[int, int]
    velocity: tuple[float, float] = (0.0, 0.0)
    acceleration: tuple[float, float] = (0.0, 0.0)
    zoom: float = 0.0
    turn: float = 0.0
    tilt: tuple[float, float] = (0.0, 0.0)
    shake: tuple[tuple[float, float], ...] = ()
    waves: tuple[tuple[float, ...], ...] = ()

    def source(self, points: Points, t: int) -> Points:
        """Where ``points`` of frame ``t`` lie in the still; the still's frame has its corner at (0, 0)."""
        width, height = self.size
        centre = np.array([width / 2, height / 2])
        p = points - centre
        cos, sin = np.exp(self.zoom * t) * np.array([np.cos(self.turn * t), np.sin(self.turn * t)])
        q = np.stack([cos * p[..., 0] - sin * p[..., 1], sin * p[..., 0] + cos * p[..., 1]], -1)
        q = q / (1 + t * (self.tilt[0] * p[..., :1] / width + self.tilt[1] * p[..., 1:] / height))
        q = q + np.array(self.velocity) * t + np.array(self.acceleration) * (0.5 * t * t)
        if self.shake:
            q = q + np.array(self.shake[t % len(self.shake)])
        for ax, ay, across, down, phase, step in self.waves:
            angle = 2 * np.pi * (across * points[..., 0] / width + down * points[..., 1] / height)
            q = q + np.sin(angle + phase + step * t)[..., None] * np.array([ax, ay])
        moved: Points = q + centre
        return moved

    def margin(self, count: int, first: int = 0) -> int:
        """How far frames ``first`` .. ``first + count - 1`` look beyond the frame's own area, in pixels."""
        corners = self._corners()
        far = 0.0
        for t in range(first, first + count):
            where = self.source(corners, t)
            far = max(far, -float(where.min()), float((where - np.array(self.size)).max()))
        return int(np.ceil(far)) + 2

    def weaker(self, factor: float) -> Motion:
        """The same motion with every part of it scaled."""
        return replace(
            self,
            velocity=(self.velocity[0] * factor, self.velocity[1] * factor),
            acceleration=(self.acceleration[0] * factor, self.acceleration[1] * factor),
            zoom=self.zoom * factor,
            turn=self.turn * factor,
            tilt=(self.tilt[0] * factor, self.tilt[1] * factor),
            shake=tuple((x * factor, y * factor) for x, y in self.shake),
            waves=tuple((w[0] * factor, w[1] * factor, *w[2:]) for w in self.waves),
        )

    def frame(
        self,
        canvas: Image.Image,
        margin: int,
        t: int,
        method: Image.Resampling = Image.Resampling.BICUBIC,
    ) -> Image.Image:
        """Frame ``t``, drawn from ``canvas``: the still with ``margin`` pixels more on each side."""
        corners = self._corners()
        where = self.source(corners, t) + margin
        if np.allclose(where, corners + margin, atol=1e-9):  # no resampling of what does not move
            return canvas.crop((margin, margin, margin + self.size[0], margin + self.size[1]))
        mesh = []
        for i in range(_GRID[1] - 1):
            for j in range(_GRID[0] - 1):
                box = tuple(int(c) for c in (*corners[i, j], *corners[i + 1, j + 1]))
                quad = (*where[i, j], *where[i + 1, j], *where[i + 1, j + 1], *where[i, j + 1])
                mesh.append((box, tuple(float(c) for c in quad)))
        return canvas.transform(self.size, Image.Transform.MESH, mesh, method)

    def _corners(self) -> Points:
        xs = np.linspace(0, self.size[0], _GRID[0]).round()
        ys = np.linspace(0, self.size[1], _GRID[1]).round()
        corners: Points = np.stack(np.meshgrid(xs, ys), -1)
        return corners


def hand_shake(count: int, rng: Rng, sigma: float) -> tuple[tuple[float, float], ...]:
    """A hand-held camera: a damped random walk of about ``sigma`` pixels, from (0, 0)."""
    place, speed = np.zeros(2), rng.normal(0, sigma / 4, 2)
    path = [(0.0, 0.0)]
    for _ in range(count - 1):
        speed = 0.8 * speed - 0.08 * place + rng.normal(0, sigma / 5, 2)
        place = place + speed
        path.append((float(place[0]), float(place[1])))
    return tuple(path)


def random_motion(size: tuple[int, int], count: int, rng: Rng) -> Motion:
    """A motion as video has it: one in eight stands still, most are slow, a few fast; speeds grow with
    size."""
    if rng.random() < 0.125:
        return Motion(size)
    unit = size[1] / 720
    speed, push = unit * float(np.exp(rng.uniform(np.log(0.15), np.log(14)))), unit * abs(rng.normal(0, 0.15))
    angle = float(rng.uniform(0, 2 * np.pi)) if rng.random() < 0.5 else float(rng.normal(0, 0.15))
    lean = float(rng.uniform(0, 2 * np.pi))
    parts = rng.random(6) < (0.75, 0.45, 0.3, 0.3, 0.35, 0.4)
    waves = []
    for _ in range(int(rng.integers(1, 4)) if parts[5] else 0):
        amplitude = rng.normal(0, unit * float(rng.uniform(0.5, 3)), 2)
        waves.append(
            (*amplitude, *rng.uniform(-2, 2, 2), rng.uniform(0, 2 * np.pi), rng.choice([-1, 1]) * 0.4)
        )
    return Motion(
        size,
        velocity=(speed * np.cos(angle), speed * np.sin(angle)) if parts[0] else (0.0, 0.0),
        acceleration=(push * np.cos(lean), push * np.sin(lean)),
        zoom=float(rng.normal(0, 0.004)) if parts[1] else 0.0,
        turn=float(rng.normal(0, 0.003)) if parts[2] else 0.0,
        tilt=(float(rng.normal(0, 0.006)), float(rng.normal(0, 0.006))) if parts[3] else (0.0, 0.0),
        shake=hand_shake(count, rng, unit * float(rng.uniform(0.3, 2))) if parts[4] else (),
        waves=tuple(tuple(float(v) for v in wave) for wave in waves),
    )
