# SPDX-License-Identifier: BSD-2-Clause
"""Sensor noise as cameras leave it in 4:2:0 video."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

Plane = npt.NDArray[np.uint8]
Planes = tuple[Plane, Plane, Plane]
Rng = np.random.Generator


@dataclass(frozen=True)
class Sensor:
    """A camera at one setting.

    ``luma`` is the standard deviation of luma noise at middle grey, in codes; ``chroma`` its share in the
    chroma planes; ``blur`` (0..1) how strongly neighbours are correlated, as demosaicing and denoising leave
    them; ``read`` the share of the variance that does not depend on the signal.
    """

    luma: float
    chroma: float = 0.5
    blur: float = 0.4
    read: float = 0.3

    def add(self, frames: Sequence[Planes], rng: Rng) -> list[Planes]:
        """The frames with fresh noise in each.

        Photons arrive by a Poisson process, so the variance in linear light grows with the signal; the
        transfer curve (about a square root) turns that into noise of nearly constant size that rises toward
        the shadows, where read noise is lifted. Variance at luma x (0..1): luma^2 (1 - read + read / 2x).
        """
        noisy = []
        for y, u, v in frames:
            light = np.clip((y.astype(np.float32) - 16) / 219, 0.06, 1)
            size = np.sqrt(1 - self.read + self.read * 0.5 / light)
            fade = np.clip((250 - y.astype(np.float32)) / 20, 0, 1)  # a saturated sensor has no noise left
            small = 0.25 * (size[::2, ::2] + size[::2, 1::2] + size[1::2, ::2] + size[1::2, 1::2])
            noisy.append(
                (
                    self._plane(y, self.luma * size * fade, rng),
                    self._plane(u, self.luma * self.chroma * small, rng),
                    self._plane(v, self.luma * self.chroma * small, rng),
                )
            )
        return noisy

    def _plane(self, plane: Plane, sigma: npt.NDArray[Any], rng: Rng) -> Plane:
        height, width = plane.shape
        field = rng.standard_normal((height + 2, width + 2), np.float32)
        a = self.blur / 2
        rows = field[1:-1] + a * (field[:-2] + field[2:])
        field = (rows[:, 1:-1] + a * (rows[:, :-2] + rows[:, 2:])) / np.float32(1 + 2 * a * a)
        code: Plane = np.clip(plane + sigma * field + 0.5, 0, 255).astype(np.uint8)
        return code


def random_sensor(rng: Rng) -> Sensor:
    """From a little grain to a phone at night: luma noise of 1.2 to 7 codes."""
    return Sensor(
        luma=float(np.exp(rng.uniform(np.log(1.2), np.log(7)))),
        chroma=float(rng.uniform(0.25, 0.8)),
        blur=float(rng.uniform(0, 1)),
        read=float(rng.uniform(0.1, 0.6)),
    )
