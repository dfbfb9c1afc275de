# SPDX-License-Identifier: BSD-2-Clause
"""Frame.from_rgb and Frame.to_rgb: by the book, as dnn_sr's layout rgb has it, and as zscale and swscale."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from clarivid import Frame, InputError, SuperResolution
from clarivid.frame import PIXEL_FORMATS
from filter_tools import run
from onnx_models import nearest_net

Array = NDArray[Any]
WEIGHTS = {"bt601": (0.299, 0.114), "bt709": (0.2126, 0.0722), "bt2020": (0.2627, 0.0593)}
WIDTH, HEIGHT = 96, 64


def scene(width: int = WIDTH, height: int = HEIGHT, seed: int = 0) -> Array:
    """float64 [H, W, 3], smooth, in 0.05..0.95: chroma filters agree on what has no edges."""
    y, x = np.mgrid[:height, :width]
    waves = [np.sin(x / (9.0 + i) + seed) * np.cos(y / (7.0 + 2 * i)) for i in range(3)]
    return 0.5 + 0.45 * np.stack(waves, axis=-1)


def by_the_book(rgb: Array, matrix: str, full: bool, depth: int) -> tuple[Array, Array, Array]:
    """Y, U, V codes at full size, not rounded (BT.601-7, BT.709-6, BT.2020-2)."""
    red, green, blue = np.moveaxis(rgb, -1, 0)
    kr, kb = WEIGHTS[matrix]
    y = kr * red + (1 - kr - kb) * green + kb * blue
    u, v = (blue - y) / (2 * (1 - kb)), (red - y) / (2 * (1 - kr))
    unit, top = 1 << (depth - 8), (1 << depth) - 1
    if full:
        return y * top, u * top + 128 * unit, v * top + 128 * unit
    return (219 * y + 16) * unit, (224 * u + 128) * unit, (224 * v + 128) * unit


def codes(frame: Frame) -> list[Array]:
    """Y, U, V in the low bits."""
    planes = list(frame.numpy())
    if frame.pixel_format == "p010le":
        planes = [plane >> 6 for plane in planes]
    if len(planes) == 2:
        planes = [planes[0], planes[1][:, ::2], planes[1][:, 1::2]]
    return planes


@pytest.mark.parametrize("pixel_format", PIXEL_FORMATS)
@pytest.mark.parametrize("matrix", WEIGHTS)
@pytest.mark.parametrize("value_range", ["limited", "full"])
def test_flat_colours_are_those_of_the_standards(pixel_format: str, matrix: str, value_range: str) -> None:
    depth = PIXEL_FORMATS[pixel_format].bit_depth
    for colour in ((0.0, 0.0, 0.0), (1.0, 1.0, 1.0), (0.8, 0.3, 0.1), (0.0, 0.0, 1.0)):
        rgb = np.empty((15, 21, 3), np.float32)
        rgb[:] = colour
        frame = Frame.from_rgb(rgb, matrix=matrix, range=value_range, pixel_format=pixel_format)
        wanted = by_the_book(rgb[:1, :1].astype(np.float64), matrix, value_range == "full", depth)
        for plane, value in zip(codes(frame), wanted, strict=True):
            top = (1 << depth) - 1
            assert np.ptp(plane) == 0
            assert abs(float(plane[0, 0]) - min(float(value[0, 0]), top)) <= 0.501  # float32's rounding
        back = frame.to_rgb(dtype="float32")
        assert np.abs(back - rgb).max() < 1.7 / (1 << depth)


@pytest.mark.parametrize("kind", ["uint8", "uint16", "float16", "float32", "float64"])
@pytest.mark.parametrize("chw", [False, True])
def test_every_type_and_order_of_rgb_gives_the_same_picture(kind: str, chw: bool) -> None:
    eight = np.rint(scene() * 255)
    peak = {"uint8": 255, "uint16": 65535}.get(kind, 1)
    rgb = (eight / 255 * peak).round(0 if peak > 1 else 9).astype(kind)
    rgb = np.ascontiguousarray(rgb.transpose(2, 0, 1)) if chw else rgb
    wanted = Frame.from_rgb(eight.astype(np.uint8), matrix="bt709")
    found = Frame.from_rgb(rgb, matrix="bt709")
    for a, b in zip(found.planes, wanted.planes, strict=True):
        assert np.abs(a.astype(int) - b).max() <= (1 if kind == "float16" else 0)


def test_types_and_orders_of_the_result_agree() -> None:
    frame = Frame.from_rgb(scene(), matrix="bt601", pixel_format="yuv420p10le", pts=4)
    assert frame.pts == 4
    exact = frame.to_rgb(dtype="float32", layout="chw")
    assert exact.shape == (3, HEIGHT, WIDTH)
    eight, sixteen = frame.to_rgb(), frame.to_rgb(dtype="uint16")
    assert eight.dtype == np.uint8
    assert np.abs(eight / 255 - exact.transpose(1, 2, 0)).max() <= 0.5 / 255 + 1e-6
    assert np.abs(sixteen / 65535 - exact.transpose(1, 2, 0)).max() <= 0.5 / 65535 + 1e-6


def test_what_lies_beyond_the_legal_range_is_kept_in_floats_and_clipped_in_codes() -> None:
    planes = [np.full((8, 8), 250, np.uint8), *(np.full((4, 4), 128, np.uint8) for _ in range(2))]
    frame = Frame.from_planes(planes, matrix="bt709", range="limited")
    assert np.allclose(frame.to_rgb(dtype="float32"), (250 - 16) / 219, atol=1e-5)
    assert (frame.to_rgb() == 255).all()


def test_it_is_the_conversion_that_dnn_sr_gives_nets_on_rgb(tmp_path: Path) -> None:
    """A net that repeats each value twice: its picture is that of the repeated R'G'B'."""
    frame = Frame.from_rgb(scene(), matrix="bt2020", range="full", siting="topleft", pixel_format="p010le")
    net = SuperResolution(str(nearest_net(tmp_path / "rgb.onnx", 3, 2)), precision="fp32")
    by_net = net(frame)
    rgb = frame.to_rgb(dtype="float32").repeat(2, 0).repeat(2, 1)
    by_hand = Frame.from_rgb(rgb, matrix="bt2020", range="full", siting="topleft", pixel_format="p010le")
    assert all(np.array_equal(a, b) for a, b in zip(by_net.planes, by_hand.planes, strict=True))


def convert(frame: Frame, chain: str) -> Array:
    """[H, W, 3] from our ffmpeg."""
    source = ["-f", "rawvideo", "-pix_fmt", frame.pixel_format, "-s", f"{frame.width}x{frame.height}"]
    pixels = b"".join(np.ascontiguousarray(plane).tobytes() for plane in frame.numpy())
    done = run(*source, "-i", "-", "-vf", chain, "-f", "rawvideo", "-", stdin=pixels)
    planes = np.frombuffer(done.stdout, np.uint8).reshape(3, frame.height, frame.width)
    return planes[[2, 0, 1]].transpose(1, 2, 0)  # gbrp


SITINGS = {"left": "left", "centre": "center", "topleft": "topleft"}
SPACES = {"bt601": ("170m", "bt601"), "bt709": ("709", "bt709"), "bt2020": ("2020_ncl", "bt2020")}


@pytest.mark.parametrize("matrix", WEIGHTS)
@pytest.mark.parametrize(
    ("value_range", "siting"), [("limited", "left"), ("full", "centre"), ("limited", "topleft")]
)
def test_zscale_and_swscale_give_the_same_rgb_within_stated_codes(
    matrix: str, value_range: str, siting: str
) -> None:
    """zscale (the same library, its own filter): 2 codes of 255; swscale: 4, and 1 on the mean."""
    frame = Frame.from_rgb(scene(), matrix=matrix, range=value_range, siting=siting)
    ours = frame.to_rgb().astype(int)
    z, sws = SPACES[matrix]
    by_zimg = convert(
        frame,
        f"zscale=matrixin={z}:rangein={value_range}:chromalin={SITINGS[siting]}:matrix=gbr:range=full"
        ":filter=bicubic,format=gbrp",
    ).astype(int)
    assert np.abs(ours - by_zimg).max() <= 2
    if siting == "left":
        by_sws = convert(
            frame,
            f"scale=in_color_matrix={sws}:in_range={value_range}:out_range=full:in_chroma_loc={SITINGS[siting]}"
            ":flags=bicubic+accurate_rnd+full_chroma_int+full_chroma_inp,format=gbrp",
        ).astype(int)
        assert np.abs(ours - by_sws).max() <= 4
        assert np.abs(ours - by_sws).mean() <= 1


def test_another_matrix_can_be_asked_for() -> None:
    frame = Frame.from_rgb(scene(), matrix="bt709")
    unknown = frame.replace(matrix="smpte240m")
    with pytest.raises(InputError, match='matrix="smpte240m" is not converted'):
        unknown.to_rgb()
    assert np.array_equal(unknown.to_rgb(matrix="bt709"), frame.to_rgb())
    assert (frame.to_rgb(matrix="bt601") != frame.to_rgb()).any()


@pytest.mark.parametrize(
    ("rgb", "change", "says"),
    [
        (np.zeros((4, 4), np.uint8), {}, r"rgb has shape \(4, 4\)"),
        (np.zeros((4, 4, 4), np.uint8), {}, r"give \[H, W, 3\] or \[3, H, W\]"),
        (np.zeros((0, 4, 3), np.uint8), {}, r"rgb has shape \(0, 4, 3\): a picture has 1 to 32768"),
        (np.zeros((4, 4, 3), np.int32), {}, "rgb is of type int32"),
        ([[1, 2, 3]], {}, "rgb is a list, which is no array"),
        (
            np.zeros((4, 4, 3)),
            {"matrix": "unspecified"},
            'matrix="unspecified" is none to make a picture with',
        ),
        (np.zeros((4, 4, 3)), {"range": "tv"}, 'range="tv" is none'),
        (np.zeros((4, 4, 3)), {"siting": "unspecified"}, 'siting="unspecified" is none'),
        (np.zeros((4, 4, 3)), {"pixel_format": "rgb24"}, 'pixel_format="rgb24" is unknown'),
    ],
)
def test_rgb_that_makes_no_picture_gets_a_sentence(rgb: Any, change: dict[str, Any], says: str) -> None:
    with pytest.raises(InputError, match=says):
        Frame.from_rgb(rgb, **{"matrix": "bt709", **change})


@pytest.mark.parametrize("asked", [{"dtype": "int8"}, {"layout": "nchw"}, {"matrix": "bt1886"}])
def test_results_that_cannot_be_get_a_sentence(asked: dict[str, str]) -> None:
    with pytest.raises(InputError, match="is unknown: it is one of"):
        Frame.from_rgb(scene(), matrix="bt709").to_rgb(**asked)
