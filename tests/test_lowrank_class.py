# SPDX-License-Identifier: BSD-2-Clause
"""clarivid.LowrankPre: what it adds to the machinery that test_super_resolution.py tests."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from clarivid import BackendError, InputError, LowrankPre, ModelError, SuperResolution
from onnx_models import SHIFT, lowrank_s2d_net, nearest_net, random_s2d_net
from test_super_resolution import picture

Array = NDArray[Any]


@pytest.fixture
def net(tmp_path: Path) -> Path:
    return lowrank_s2d_net(tmp_path / "random.onnx")


def shifted(plane: Array, share: float, span: int, bit_depth: int) -> Array:
    """What the dummy backend makes of a plane whose values span ``span`` codes."""
    codes = np.floor(plane.astype(np.float64) - share * SHIFT * span + 0.5)
    return np.clip(codes, 0, (1 << bit_depth) - 1).astype(plane.dtype)


@pytest.mark.parametrize("strength", [0.25, 0.5, 1.0])
@pytest.mark.parametrize("bit_depth", [8, 10])
@pytest.mark.parametrize("full_range", [False, True])
def test_strength_scales_the_change_and_the_size_stays(
    net: Path, strength: float, bit_depth: int, full_range: bool
) -> None:
    planes = picture(63, 47, bit_depth=bit_depth)
    out = LowrankPre(str(net), strength=strength, backend="dummy")(
        planes, bit_depth=bit_depth, full_range=full_range
    )
    top = (1 << bit_depth) - 1
    spans = [top, top, top] if full_range else [219 << bit_depth - 8, *[224 << bit_depth - 8] * 2]
    for before, after, span in zip(planes, out, spans, strict=True):
        np.testing.assert_array_equal(after, shifted(before, strength, span, bit_depth))


@pytest.mark.parametrize("precision", ["fp32", "auto"])
@pytest.mark.parametrize("bit_depth", [8, 10])
@pytest.mark.parametrize("semi_planar", [False, True])
def test_strength_0_gives_the_samples_themselves(
    net: Path, precision: str, bit_depth: int, semi_planar: bool
) -> None:
    planes = picture(65, 33, bit_depth=bit_depth, semi_planar=semi_planar)
    out = LowrankPre(str(net), strength=0, precision=precision)(planes, bit_depth=bit_depth)
    for before, after in zip(planes, out, strict=True):
        np.testing.assert_array_equal(after, before)
        assert after is not before


def test_the_change_grows_with_the_strength(net: Path) -> None:
    planes = picture(96, 64)
    whole, half = (
        LowrankPre(str(net), strength=strength, precision="fp32")(planes)[0].astype(float) - planes[0]
        for strength in (1.0, 0.5)
    )
    inside = (planes[0] > 80) & (planes[0] < 170)  # nothing is cut off at black or white there
    assert np.abs(half - whole / 2)[inside].max() <= 1
    assert np.abs(whole).mean() > 1


def test_the_shipped_model_is_the_default() -> None:
    assert LowrankPre().name == "lowrank_v1"


@pytest.mark.parametrize("strength", [-0.01, 1.01, float("nan"), float("inf")])
def test_a_strength_out_of_range_gets_a_sentence(net: Path, strength: float) -> None:
    with pytest.raises(InputError, match=r"strength=.* is not in 0\.\.1"):
        LowrankPre(str(net), strength=strength)(picture(32, 32))


def test_a_model_without_a_strength_takes_1_only(tmp_path: Path) -> None:
    net = lowrank_s2d_net(tmp_path / "plain.onnx", strength=False)
    LowrankPre(str(net))(picture(32, 32))
    with pytest.raises(BackendError, match=r"model plain has no strength: strength=0\.5"):
        LowrankPre(str(net), strength=0.5)(picture(32, 32))


def test_each_class_refuses_the_models_of_the_other(tmp_path: Path, net: Path) -> None:
    with pytest.raises(ModelError, match="for the task 'lowrank', but SuperResolution runs models for 'sr'"):
        SuperResolution(str(net))
    sr = random_s2d_net(tmp_path / "random_x2.onnx")
    with pytest.raises(ModelError, match="for the task 'sr', but LowrankPre runs models for 'lowrank'"):
        LowrankPre(str(sr))


def test_a_net_that_changes_the_size_and_names_no_task_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="3 times as large, but LowrankPre keeps their size"):
        LowrankPre(str(nearest_net(tmp_path / "x3.onnx", 1, 3)))(picture(32, 32))
