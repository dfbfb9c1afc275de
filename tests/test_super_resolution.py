# SPDX-License-Identifier: BSD-2-Clause
"""clarivid.SuperResolution: numpy planes in and out, through the library that the filter uses."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import openvino
import pytest
from numpy.typing import NDArray
from onnx.reference import ReferenceEvaluator

import clarivid
from clarivid import BackendError, InputError, ModelError, SuperResolution
from onnx_models import fixed_size_net, nearest_net, random_s2d_net

Array = NDArray[Any]
SIZES = [(64, 48), (63, 47), (1, 1), (2, 33), (130, 2)]


def picture(
    width: int, height: int, *, bit_depth: int = 8, semi_planar: bool = False, seed: int = 0
) -> list[Array]:
    """Random planes; p010 carries its ten bits on top."""
    random = np.random.default_rng(seed)
    dtype = np.uint8 if bit_depth == 8 else np.uint16
    chroma = ((height + 1) // 2, (width + 1) // 2 * (2 if semi_planar else 1))
    shapes = [(height, width), chroma] + ([] if semi_planar else [chroma])
    planes = [random.integers(0, 1 << bit_depth, shape).astype(dtype) for shape in shapes]
    return [plane << 6 for plane in planes] if semi_planar and bit_depth == 10 else planes


def flat_picture(width: int, height: int, y: int, u: int, v: int) -> list[Array]:
    """One colour, yuv420p."""
    chroma = (height // 2, width // 2)
    return [np.full((height, width), y, np.uint8), np.full(chroma, u, np.uint8), np.full(chroma, v, np.uint8)]


def nearest(plane: Array, height: int, width: int, channels: int = 1) -> Array:
    """2x nearest neighbour of a plane with ``channels`` samples interleaved, cropped."""
    split = plane.reshape(plane.shape[0], -1, channels)
    return split.repeat(2, 0).repeat(2, 1)[:height, :width].reshape(height, -1)


@pytest.fixture
def s2d_net(tmp_path: Path) -> Path:
    return random_s2d_net(tmp_path / "random_x2.onnx")


@pytest.mark.parametrize(("width", "height"), SIZES)
@pytest.mark.parametrize("bit_depth", [8, 10])
@pytest.mark.parametrize("semi_planar", [False, True])
def test_every_format_and_odd_size_goes_through_sample_for_sample(
    s2d_net: Path, width: int, height: int, bit_depth: int, semi_planar: bool
) -> None:
    planes = picture(width, height, bit_depth=bit_depth, semi_planar=semi_planar)
    out = SuperResolution(str(s2d_net), backend="dummy")(planes, bit_depth=bit_depth)
    assert out[0].shape == (2 * height, 2 * width)
    np.testing.assert_array_equal(out[0], nearest(planes[0], 2 * height, 2 * width))
    for before, after in zip(planes[1:], out[1:], strict=True):
        np.testing.assert_array_equal(after, nearest(before, height, width, 2 if semi_planar else 1))


@pytest.mark.parametrize("bit_depth", [8, 10])
@pytest.mark.parametrize("full_range", [False, True])
def test_openvino_f32_gives_the_pixels_of_onnx_by_the_book(
    s2d_net: Path, bit_depth: int, full_range: bool
) -> None:
    width, height = 75, 53
    planes = picture(width, height, bit_depth=bit_depth)
    wide = [np.pad(planes[0], ((0, 1), (0, 1)), "edge"), planes[1], planes[2]]
    top = (1 << bit_depth) - 1
    spans = [(0, top), ((top + 1) // 2, top)]
    if not full_range:
        spans = [
            (16 << (bit_depth - 8), 219 << (bit_depth - 8)),
            (128 << (bit_depth - 8), 224 << (bit_depth - 8)),
        ]
    luma = (wide[0].astype(np.float64) - spans[0][0]) / spans[0][1] - 0.5
    chroma = [(p.astype(np.float64) - spans[1][0]) / spans[1][1] for p in wide[1:]]
    tensor = np.stack([luma[r::2, c::2] for r in (0, 1) for c in (0, 1)] + chroma)[None].astype(np.float32)

    (answer,) = ReferenceEvaluator(onnx.load(str(s2d_net))).run(None, {"input": tensor})
    expected = np.empty((4 * answer.shape[2], 4 * answer.shape[3]))
    for channel in range(16):
        expected[channel // 4 :: 4, channel % 4 :: 4] = answer[0, channel]
    expected = np.clip(np.floor((expected + 0.5) * spans[0][1] + spans[0][0] + 0.5), 0, top)

    net = SuperResolution(str(s2d_net), backend="openvino", precision="fp32", threads=2)
    out = net(planes, bit_depth=bit_depth, full_range=full_range)
    error = np.abs(out[0].astype(int) - expected[: 2 * height, : 2 * width])
    assert error.max() <= 1
    assert (error > 0).mean() < 1e-3  # only values that lie on the border between two codes may differ


@pytest.mark.parametrize("scale", [2, 3, 4])
@pytest.mark.parametrize("half", [False, True])
def test_a_community_rgb_net_runs_by_its_path_alone(tmp_path: Path, scale: int, half: bool) -> None:
    path = nearest_net(tmp_path / "community.onnx", 3, scale, half=half)
    flat = [
        np.full((20, 30), 120, np.uint8),
        np.full((10, 15), 90, np.uint8),
        np.full((10, 15), 160, np.uint8),
    ]
    out = SuperResolution(str(path), precision="fp32")(flat, matrix="bt709")
    assert out[0].shape == (20 * scale, 30 * scale)
    for before, after in zip(flat, out, strict=True):  # there and back: a flat colour stays what it was
        assert np.abs(after.astype(int) - before.flat[0]).max() <= 1


def test_rgb_nets_see_the_matrix_and_the_range(tmp_path: Path) -> None:
    """A net that halves R'G'B': what comes back follows by arithmetic."""
    path = nearest_net(tmp_path / "half.onnx", 3, 2, gain=0.5)
    y, u, v = 180, 100, 150
    planes = flat_picture(16, 16, y, u, v)
    net = SuperResolution(str(path), precision="fp32")
    for full_range, wanted in (
        (False, ((y - 16) / 2 + 16, (u - 128) / 2 + 128, (v - 128) / 2 + 128)),
        (True, (y / 2, (u - 128) / 2 + 128, (v - 128) / 2 + 128)),
    ):
        for matrix in ("bt601", "bt709", "bt2020"):
            out = net(planes, full_range=full_range, matrix=matrix)
            for plane, value in zip(out, wanted, strict=True):
                assert np.abs(plane.astype(int) - value).max() <= 1


@pytest.mark.parametrize("scale", [2, 3, 4])
def test_a_luma_net_takes_luma_and_a_resampler_takes_chroma(tmp_path: Path, scale: int) -> None:
    path = nearest_net(tmp_path / "luma.onnx", 1, scale)
    planes = picture(33, 21)
    planes[1][:], planes[2][:] = 77, 200
    out = SuperResolution(str(path), precision="fp32")(planes)
    np.testing.assert_array_equal(out[0], planes[0].repeat(scale, 0).repeat(scale, 1))
    assert out[1].shape == ((21 * scale + 1) // 2, (33 * scale + 1) // 2)
    assert (out[1] == 77).all()
    assert (out[2] == 200).all()


def test_dither_keeps_the_mean_where_rounding_loses_it(tmp_path: Path) -> None:
    path = nearest_net(tmp_path / "gain.onnx", 1, 2, gain=1.003)
    planes = [
        np.full((64, 64), 100, np.uint8),
        np.full((32, 32), 128, np.uint8),
        np.full((32, 32), 128, np.uint8),
    ]
    exact = (100 - 16) * 1.003 + 16
    plain = SuperResolution(str(path), precision="fp32")(planes)[0]
    dithered = SuperResolution(str(path), precision="fp32", dither=True)(planes)[0]
    assert np.ptp(plain) == 0
    assert abs(dithered.mean() - exact) < 0.02 < abs(plain.mean() - exact)


def test_strided_rows_are_read_in_place_and_other_strides_are_copied(s2d_net: Path) -> None:
    net = SuperResolution(str(s2d_net), backend="dummy")
    planes = picture(40, 30)
    wanted = net(planes)
    big = [np.zeros((p.shape[0] + 4, p.shape[1] + 24), np.uint8) for p in planes]
    for frame, plane in zip(big, planes, strict=True):
        frame[2:-2, 10:-14] = plane
    views = [frame[2:-2, 10:-14] for frame in big]
    flipped = [plane[::-1].copy()[::-1] for plane in planes]  # negative strides
    columns = [np.asfortranarray(plane) for plane in planes]
    for same in (views, flipped, columns):
        for a, b in zip(net(same), wanted, strict=True):
            np.testing.assert_array_equal(a, b)


def test_the_result_belongs_to_the_caller(s2d_net: Path) -> None:
    net = SuperResolution(str(s2d_net), backend="dummy")
    first = net(picture(32, 32, seed=1))
    kept = [plane.copy() for plane in first]
    net(picture(32, 32, seed=2))
    for a, b in zip(first, kept, strict=True):
        np.testing.assert_array_equal(a, b)


def test_one_object_and_several_objects_work_from_many_threads(s2d_net: Path) -> None:
    shared = SuperResolution(str(s2d_net), precision="fp32", threads=1)
    pictures = [picture(48 + 2 * i, 40, seed=i) for i in range(6)]
    wanted = [shared(planes) for planes in pictures]
    wrong: list[int] = []

    def work(index: int, net: SuperResolution) -> None:
        for _ in range(5):
            out = net(pictures[index])
            if any(not np.array_equal(a, b) for a, b in zip(out, wanted[index], strict=True)):
                wrong.append(index)

    own = [SuperResolution(str(s2d_net), precision="fp32", threads=1) for _ in range(2)]
    threads = [threading.Thread(target=work, args=(i, own[i] if i < 2 else shared)) for i in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


def test_nothing_is_printed(s2d_net: Path, capfd: pytest.CaptureFixture[str]) -> None:
    SuperResolution(str(s2d_net))(picture(32, 32))
    assert capfd.readouterr() == ("", "")


def test_what_was_chosen_and_why_is_logged(s2d_net: Path, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level("INFO", logger="clarivid"):
        SuperResolution(str(s2d_net))(picture(32, 32))
    assert "backend=openvino, chosen because" in caplog.text
    assert "precision=fp32" in caplog.text  # no card: no record of a parity gate, so auto takes the reference


@pytest.mark.parametrize(
    ("change", "error", "says"),
    [
        ({"backend": "tensorrt"}, BackendError, "backend tensorrt|TensorRT"),
        ({"backend": "nonsense"}, ModelError, "one of auto, openvino"),
        ({"device": "NPU7"}, BackendError, "no device"),
        ({"precision": "fp17"}, InputError, "fp17"),
        ({"precision": "int8"}, BackendError, "quantised"),
        ({"threads": -3}, InputError, "threads=-3"),
    ],
)
def test_nonsense_options_get_a_sentence(
    s2d_net: Path, change: dict[str, Any], error: type[Exception], says: str
) -> None:
    with pytest.raises(error, match=says):
        SuperResolution(str(s2d_net), **change)(picture(32, 32))


@pytest.mark.parametrize(
    ("planes", "options", "says"),
    [
        (picture(8, 8)[:1], {}, "1 planes"),
        (picture(8, 8), {"bit_depth": 12}, "12 bit"),
        (picture(8, 8), {"bit_depth": 10}, "uint8, not uint16"),
        ([p.astype(np.float32) for p in picture(8, 8)], {}, "float32"),
        ([picture(8, 8)[0], *picture(10, 8)[1:]], {}, "plane 1 has shape"),
        ([p[None] for p in picture(8, 8)], {}, "two dimensions"),
        (picture(8, 8), {"matrix": "bt1886"}, "bt1886"),
    ],
)
def test_planes_that_do_not_fit_get_a_sentence(
    s2d_net: Path, planes: list[Array], options: dict[str, Any], says: str
) -> None:
    with pytest.raises(InputError, match=says):
        SuperResolution(str(s2d_net), backend="dummy")(planes, **options)


def test_a_net_exported_for_one_size_is_refused_for_another(tmp_path: Path) -> None:
    net = SuperResolution(str(fixed_size_net(tmp_path / "fixed.onnx")))
    with pytest.raises(BackendError, match=r"its shape is fixed.*incompatible with input shape"):
        net(picture(96, 80))


def test_a_file_with_a_damaged_graph_is_refused(tmp_path: Path, s2d_net: Path) -> None:
    model = onnx.load(str(s2d_net))
    model.graph.node[1].op_type = "Convolve"
    broken = tmp_path / "broken.onnx"
    broken.write_bytes(model.SerializeToString())
    with pytest.raises((ModelError, BackendError), match=r"OpenVINO cannot read model random_x2: .*Convolve"):
        SuperResolution(str(broken))(picture(32, 32))


def test_importing_the_package_loads_neither_torch_nor_openvino() -> None:
    import subprocess
    import sys

    code = "import sys, clarivid, clarivid.sr; print(sorted({'torch', 'openvino'} & set(sys.modules)))"
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert out.strip() == "[]"
    assert clarivid.__all__


def test_bf16_stays_close_to_fp32_or_is_refused_where_the_processor_lacks_it(s2d_net: Path) -> None:
    planes = picture(96, 64, bit_depth=10)
    wanted = SuperResolution(str(s2d_net), precision="fp32")(planes, bit_depth=10)
    net = SuperResolution(str(s2d_net), precision="bf16")
    if "BF16" not in openvino.Core().get_property("CPU", "OPTIMIZATION_CAPABILITIES"):
        with pytest.raises(BackendError, match="precision=bf16 is not computed by"):
            net(planes, bit_depth=10)
        return
    out = net(planes, bit_depth=10)
    for a, b in zip(out, wanted, strict=True):
        error_db = 10 * np.log10(1023**2 / max(1e-9, np.mean((a.astype(float) - b) ** 2)))
        assert error_db > 50
    assert any((a != b).any() for a, b in zip(out, wanted, strict=True))  # it is another arithmetic
