# SPDX-License-Identifier: BSD-2-Clause
"""What the library has a net paint, against painter_reference and OpenVINO or PyTorch."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import openvino
import pytest
from numpy.typing import NDArray

from clarivid import Inpainter, models, painter_reference, parity
from clarivid.inpaint import DEFAULT_MODELS
from onnx_models import random_paint_net
from test_inpainter import Planes, as_format, background

CASES = [
    parity.Case("random", 75, 53, "yuv420p", False),
    parity.Case("random", 971, 545, "p010le", True),
]


def in_openvino(path: Path) -> Callable[[NDArray[np.float32]], NDArray[np.float32]]:
    model = openvino.Core().read_model(path)
    compiled = openvino.compile_model(model, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    return lambda tensor: np.asarray(compiled(tensor)[0])


@pytest.mark.parametrize("full_range", [False, True])
@pytest.mark.parametrize("kind", ["yuv420p", "nv12", "yuv420p10", "p010"])
@pytest.mark.parametrize(
    ("size", "box"),
    [
        ((160, 96), (60, 20, 40, 50)),  # the picture is smaller than what the net takes
        ((75, 53), (0, 0, 30, 53)),
        ((1200, 700), (300, 200, 90, 120)),  # a small hole is not scaled
        ((1200, 700), (100, 50, 411, 603)),  # a large one is, by a step that is no whole number
        ((701, 1203), (1, 1, 699, 1001)),
    ],
)
def test_the_library_paints_as_the_book_says(
    tmp_path: Path, size: tuple[int, int], box: tuple[int, int, int, int], kind: str, full_range: bool
) -> None:
    net = random_paint_net(tmp_path / "paint.onnx")
    bit_depth = 10 if "10" in kind else 8
    even = background(size[0] + size[0] % 2, size[1] + size[1] % 2, bit_depth)
    scene: Planes = (even[0][: size[1], : size[0]], *even[1:])
    hole = np.zeros((size[1], size[0]), bool)
    hole[box[1] : box[1] + box[3], box[0] : box[0] + box[2]] = True
    net_size = painter_reference.net_size(*size, {"multiple_of": 2})
    wanted = painter_reference.paint(
        in_openvino(net), scene, hole, net_size, parity.spans(bit_depth, full_range), bit_depth
    )
    found = Inpainter(net, backend="openvino", precision="fp32").paint(
        as_format(scene, kind), hole, bit_depth=bit_depth, full_range=full_range
    )
    for got, expected in zip(found, as_format(wanted, kind), strict=True):
        error = np.abs(got.astype(int) - expected) >> (6 if kind == "p010" else 0)
        assert error.max() <= 1
        assert (error > 0).mean() < 1e-3
    assert (found[0][hole] != as_format(scene, kind)[0][hole]).mean() > 0.8


@pytest.mark.parametrize("name", DEFAULT_MODELS)
def test_the_shipped_nets_paint_the_pixels_of_pytorch(name: str) -> None:
    if name not in models.model_names():
        pytest.skip(f"{name} is not there")
    report = parity.check(name, chosen=CASES)
    assert report.passed
    assert report.max_code_error <= 1
    assert any("the filter: mesh_inpaint" in sentence for sentence in report.skipped)
    for row in report.rows:
        assert set(row.fp32) == {"module"}
        for difference in row.fp32.values():
            assert difference.differing < 1e-3
