# SPDX-License-Identifier: BSD-2-Clause
"""dnn_sr with nets on RGB and on luma alone, on frames in CUDA memory: the pictures of software frames.

The dummy backend gives nearest neighbours in either memory, so that all of what differs comes from the
conversions. Sessions have the same promises in tests/gpu/test_layouts.py, kernels in check_cuda_colour.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

import filter_tools as tools
from ffmpeg_series import differs, setparams
from filter_cuda_tools import counters, on_device, on_gpu
from onnx_models import nearest_net

CHANNELS = {"rgb": 3, "y": 1}
WIDTH, HEIGHT = 67, 50  # FFmpeg uploads no last row of chroma of an odd height
SOURCE = f"testsrc2=s=66x50:r=10:d=0.2,scale={WIDTH}:{HEIGHT}"  # testsrc2 has even sizes only
LOOKS = [
    "range=tv:colorspace=bt709:chroma_location=left",
    "range=pc:colorspace=smpte170m:chroma_location=center",
    "range=tv:colorspace=bt2020nc:chroma_location=topleft",
]


@pytest.fixture(scope="module")
def chain(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str, int], str]:
    """dnn_sr with a net of a layout and scale."""
    folder = tmp_path_factory.mktemp("nets")

    def make(layout: str, scale: int) -> str:
        metadata = {"clarivid.layout": layout, "clarivid.scale": str(scale)}
        path: Path = folder / f"{layout}{scale}.onnx"
        return f"dnn_sr=model={nearest_net(path, CHANNELS[layout], scale, metadata=metadata)}:backend=dummy"

    return make


def apart(got: bytes, wanted: bytes, width: int, height: int, pix_fmt: str) -> tuple[int, float]:
    """The largest difference of codes, and the share of samples that differ."""
    places = 6 if pix_fmt == "p010le" else 0
    most, different, samples = 0, 0, 0
    pairs = list(zip(*(tools.frames(data, width, height, pix_fmt) for data in (got, wanted)), strict=True))
    assert pairs
    for pair in pairs:
        planes = (tools.planes(frame, width, height, pix_fmt) for frame in pair)
        for a, b in zip(*planes, strict=True):
            off = np.abs((a >> places).astype(int) - (b >> places))
            most, different, samples = (
                max(most, int(off.max())),
                different + int((off > 0).sum()),
                samples + off.size,
            )
    return most, different / samples


CASES = [
    (layout, scale, pix_fmt, LOOKS[(scale + place) % 3])
    for layout in CHANNELS
    for scale, place, pix_fmt in [(1, 0, "nv12"), (2, 0, "p010le"), (3, 1, "yuv420p"), (4, 1, "nv12")]
]


@on_device
@pytest.mark.parametrize(("layout", "scale", "pix_fmt", "look"), CASES)
def test_pictures_are_those_of_software_frames(
    chain: Callable[[str, int], str], layout: str, scale: int, pix_fmt: str, look: str
) -> None:
    source = f"{SOURCE},format={pix_fmt}"
    filters = f"{setparams(look)},{chain(layout, scale)}"
    done = on_gpu(source, filters, pix_fmt)
    wanted = tools.filtered(source, filters, pix_fmt=pix_fmt)
    most, share = apart(done.stdout, wanted, WIDTH * scale, HEIGHT * scale, pix_fmt)
    assert most <= (1 if layout == "rgb" else 0)
    assert share < 1e-3
    sessions = counters(done)  # colours that the first frame tells make a second one
    assert sessions
    assert not any(any(session.values()) for session in sessions)


@on_device
def test_matrix_range_and_siting_of_the_frames_are_honoured(chain: Callable[[str, int], str]) -> None:
    pictures = {look: on_gpu(SOURCE, f"{setparams(look)},{chain('rgb', 2)}", "nv12").stdout for look in LOOKS}
    # Of the three only the siting shows in what nearest neighbours make.
    assert len(set(pictures.values())) == (1 if differs("siting") else len(LOOKS))


@on_device
@pytest.mark.parametrize("layout", CHANNELS)
def test_tiles_give_the_whole_picture(chain: Callable[[str, int], str], layout: str) -> None:
    source = f"{SOURCE},format=nv12"
    whole = on_gpu(source, chain(layout, 2), "nv12").stdout
    assert on_gpu(source, f"{chain(layout, 2)}:tile=32x32:overlap=0", "nv12").stdout == whole
