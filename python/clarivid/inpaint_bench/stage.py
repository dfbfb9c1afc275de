# SPDX-License-Identifier: BSD-2-Clause
"""Made camera work over stills, with exact geometry: a camera that turns, and one that travels."""

from __future__ import annotations

import math
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from clarivid.data.synth import rgb_to_yuv420
from clarivid.inpaint_bench.walker import Planes

Picture = NDArray[np.uint8]  # [H, W, 3] RGB
Matrix = NDArray[np.float64]

_FINE = 2  # pictures are drawn so many times larger and averaged


def flight(still: Picture, size: tuple[int, int], frames: int) -> list[Planes]:
    """Views of a still by a camera that turns right and up, rolls and zooms in.

    The still stands upright before the camera: pictures are related by homographies exactly.
    """
    f = 0.9 * size[0]
    # The still is a wall at distance f, so that it is seen at about its own size.
    wall = _Quad(
        still,
        np.array([-0.5 * still.shape[1], -0.5 * still.shape[0], f]),
        np.array([still.shape[1], 0.0, 0.0]),
        np.array([0.0, still.shape[0], 0.0]),
    )
    made = []
    for t in range(frames):
        s = t / 90
        zoom = f * (1.12 + 0.12 * s)
        turn = _turn(yaw=-0.16 + 0.34 * s, pitch=0.02 * math.sin(5 * s), roll=0.02 * math.sin(7 * s))
        made.append(_render([wall], turn, np.zeros(3), zoom, size))
    return made


def room(backdrop: Picture, texture: Picture, size: tuple[int, int], frames: int) -> list[Planes]:
    """A camera that goes sideways and a little forward through a stage: backdrop, floor and posts.

    Distances: backdrop 9, posts 5.5 and 4, the floor from 1.5 to 9, in units of the camera's height over it.
    """
    stone = np.ascontiguousarray(texture[60:420, 20:520])
    tile = np.concatenate([np.concatenate([stone, stone[:, ::-1]], 1)] * 2, 1)
    floor = np.concatenate([np.concatenate([tile, tile[::-1]], 0)] * 2, 0)
    petals = np.ascontiguousarray(texture[300:1400, 700:1300])
    quads = [
        _Quad(
            np.ascontiguousarray(backdrop[:, 900:4300]),
            np.array([-9.0, -3.6, 9.0]),
            np.array([18.0, 0.0, 0.0]),
            np.array([0.0, 4.6, 0.0]),
        ),
        _Quad(floor, np.array([-9.0, 1.0, 9.0]), np.array([18.0, 0.0, 0.0]), np.array([0.0, 0.0, -7.5])),
        _Quad(petals, np.array([-1.5, -2.0, 5.5]), np.array([0.8, 0.0, 0.0]), np.array([0.0, 3.0, 0.0])),
        _Quad(petals, np.array([2.0, -2.0, 5.5]), np.array([0.8, 0.0, 0.0]), np.array([0.0, 3.0, 0.0])),
        _Quad(stone, np.array([0.2, -0.1, 4.0]), np.array([1.0, 0.0, 0.0]), np.array([0.0, 1.1, 0.0])),
    ]
    made = []
    for t in range(frames):
        s = t / 90
        eye = np.array([-0.7 + 1.4 * s, 0.04 * math.sin(6 * s), 0.5 * s])
        turn = _turn(yaw=0.03 * math.sin(3 * s), pitch=0.01 * math.sin(9 * s), roll=0.008 * math.sin(5 * s))
        made.append(_render(quads, turn, eye, 0.9 * size[0], size))
    return made


@dataclass(frozen=True)
class _Quad:
    """A textured rectangle in space: corner (texture's top left), and two sides. x right, y down, z away."""

    texture: Picture
    corner: Matrix
    across: Matrix
    down: Matrix

    def homography(self, turn: Matrix, eye: Matrix, camera: Matrix) -> Matrix:
        """From the texture's pixel centres to the picture's."""
        height, width = self.texture.shape[:2]
        half = np.array([[1.0, 0.0, 0.5], [0.0, 1.0, 0.5], [0.0, 0.0, 1.0]])  # pixel (0, 0) ends at (1, 1)
        plane = np.stack([self.across / width, self.down / height, self.corner - eye], axis=1)
        found: Matrix = camera @ turn @ plane @ half
        return found


def _turn(yaw: float, pitch: float, roll: float) -> Matrix:
    cy, sy, cp, sp, cr, sr = (f(a) for a in (yaw, pitch, roll) for f in (math.cos, math.sin))
    turn: Matrix = (
        np.array([[cr, sr, 0], [-sr, cr, 0], [0, 0, 1.0]])
        @ np.array([[1.0, 0, 0], [0, cp, -sp], [0, sp, cp]])
        @ np.array([[cy, 0, -sy], [0, 1.0, 0], [sy, 0, cy]])
    )
    return turn


def _render(quads: list[_Quad], turn: Matrix, eye: Matrix, zoom: float, size: tuple[int, int]) -> Planes:
    """Far to near; ``zoom`` is the focal length in pixels."""
    width, height = size[0] * _FINE, size[1] * _FINE
    f = zoom * _FINE
    camera = np.array([[f, 0.0, width / 2 - 0.5], [0.0, f, height / 2 - 0.5], [0.0, 0.0, 1.0]])
    picture = np.zeros((height, width, 3), np.uint8)
    for quad in quads:
        h = quad.homography(turn, eye, camera)
        cv2.warpPerspective(
            quad.texture,
            h,
            (width, height),
            dst=picture,
            flags=cv2.INTER_LINEAR,
            borderMode=cv2.BORDER_TRANSPARENT,
        )
    small = cv2.resize(picture, size, interpolation=cv2.INTER_AREA)
    return rgb_to_yuv420(np.asarray(small, np.uint8))
