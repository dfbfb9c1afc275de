# SPDX-License-Identifier: BSD-2-Clause
"""clarivid.Frame in host memory: what it takes, what it refuses, and what the filters make of it."""

from __future__ import annotations

import threading
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

import clarivid
from clarivid import Frame, Inpainter, InputError, LowrankPre, SuperResolution
from clarivid.frame import PIXEL_FORMATS, same_samples
from onnx_models import random_s2d_net

Array = NDArray[Any]
SIZES = [(64, 48), (63, 47), (1, 1), (2, 33)]


def planes_of(pixel_format: str, width: int, height: int, seed: int = 0) -> tuple[Array, ...]:
    random = np.random.default_rng([seed, width, height])
    form = PIXEL_FORMATS[pixel_format]
    shift = 6 if pixel_format == "p010le" else 0
    return tuple(
        (random.integers(0, 1 << form.bit_depth, shape) << shift).astype(form.type)
        for shape in form.shapes(width, height)
    )


def frame_of(pixel_format: str = "yuv420p", width: int = 64, height: int = 48, **properties: Any) -> Frame:
    return Frame(planes_of(pixel_format, width, height), pixel_format, width, height, **properties)


@pytest.fixture
def upscale(tmp_path: Path) -> SuperResolution:
    return SuperResolution(str(random_s2d_net(tmp_path / "random_x2.onnx")), backend="dummy")


@pytest.mark.parametrize("pixel_format", PIXEL_FORMATS)
@pytest.mark.parametrize(("width", "height"), SIZES)
def test_a_frame_gives_the_samples_that_its_planes_give(
    upscale: SuperResolution, pixel_format: str, width: int, height: int
) -> None:
    planes = planes_of(pixel_format, width, height)
    frame = Frame.from_planes(planes, range="full")
    assert (frame.pixel_format, frame.width, frame.height) == (pixel_format, width, height)
    wanted = upscale(planes, bit_depth=frame.bit_depth, full_range=True)
    result = upscale(frame)
    assert (result.width, result.height, result.pixel_format) == (2 * width, 2 * height, pixel_format)
    assert all(np.array_equal(a, b) for a, b in zip(result.planes, wanted, strict=True))


def test_time_and_colour_go_through(upscale: SuperResolution) -> None:
    said: dict[str, Any] = {
        "range": "limited",
        "matrix": "bt709",
        "siting": "topleft",
        "primaries": 9,
        "transfer": 16,
        "pts": 7,
        "duration": 2,
        "time_base": Fraction(1, 25),
        "sample_aspect": Fraction(4, 3),
    }
    result = upscale(frame_of(**said))
    assert {name: getattr(result, name) for name in said} == said
    assert result.time == Fraction(7, 25)


def test_no_copy_is_taken() -> None:
    planes = planes_of("nv12", 32, 16)
    frame = Frame.from_planes(planes)
    assert all(a is b for a, b in zip(frame.planes, planes, strict=True))
    tensors = [torch.from_numpy(plane) for plane in planes]
    seen = Frame.from_planes(tensors).numpy()
    planes[0][3, 5] ^= 255
    assert seen[0][3, 5] == planes[0][3, 5]
    assert all(np.shares_memory(a, b) for a, b in zip(seen, planes, strict=True))


@pytest.mark.parametrize("pixel_format", ["yuv420p", "p010le"])
@pytest.mark.parametrize(
    ("width", "height"), [(34, 22), (7, 2), (1, 5)]
)  # PyTorch's strides of one row are 1
def test_tensors_of_pytorch_give_the_same_samples(
    upscale: SuperResolution, pixel_format: str, width: int, height: int
) -> None:
    frame = frame_of(pixel_format, width, height)
    tensors = [torch.from_numpy(plane) for plane in frame.numpy()]
    assert same_samples(upscale(Frame.from_planes(tensors)), upscale(frame))


def test_results_are_taken_by_pytorch_without_a_copy_and_stay(upscale: SuperResolution) -> None:
    result = upscale(frame_of())
    kept = [plane.copy() for plane in result.numpy()]
    tensors = [torch.from_dlpack(plane) for plane in result.planes]
    assert tensors[0].data_ptr() == result.planes[0].ctypes.data
    del result
    for seed in range(3):
        upscale(Frame.from_planes(planes_of("yuv420p", 64, 48, seed=seed + 5)))
    assert all(np.array_equal(tensor.numpy(), plane) for tensor, plane in zip(tensors, kept, strict=True))


class Old:
    """A producer from before DLPack 1.0, whose __dlpack__ knows no version."""

    def __init__(self, array: Array) -> None:
        self.array = array

    def __dlpack__(self, *, stream: int | None = None) -> Any:
        assert stream is None
        return self.array.__dlpack__()

    def __dlpack_device__(self) -> tuple[int, int]:
        return (1, 0)


def test_both_kinds_of_dlpack_capsules_are_taken() -> None:
    planes = planes_of("yuv420p", 16, 16)
    old = Frame.from_planes([Old(plane) for plane in planes]).numpy()
    assert all(np.array_equal(a, b) for a, b in zip(old, planes, strict=True))


def test_read_only_arrays_are_read_and_stay_so(upscale: SuperResolution) -> None:
    frame = frame_of()
    for plane in frame.planes:
        plane.flags.writeable = False
    wanted = upscale(frame)

    class New:  # versioned capsules carry the flag
        def __init__(self, array: Array) -> None:
            self.array = array

        def __dlpack__(self, **options: Any) -> Any:
            return self.array.__dlpack__(**options)

        def __dlpack_device__(self) -> tuple[int, int]:
            return (1, 0)

    other = Frame.from_planes([New(plane) for plane in frame.planes])
    assert not any(plane.flags.writeable for plane in other.numpy())
    assert same_samples(upscale(other), wanted)
    big = frame_of(width=128, height=96)
    for plane in big.planes:
        plane.flags.writeable = False
    with pytest.raises(InputError, match="plane 0 of out is read-only"):
        upscale(frame, out=big)


def test_rows_may_lie_at_any_distance_and_upside_down(upscale: SuperResolution) -> None:
    frame = frame_of("nv12")
    padded = [np.pad(plane, ((1, 1), (4, 12)))[1:-1, 4:-12] for plane in frame.numpy()]
    flipped = [plane[::-1].copy()[::-1] for plane in frame.numpy()]
    wanted = upscale(frame)
    assert flipped[0].strides[0] < 0
    assert same_samples(upscale(Frame.from_planes(padded)), wanted)
    assert same_samples(upscale(Frame.from_planes(flipped)), wanted)


def test_pairs_of_chroma_may_be_an_axis_of_their_own(upscale: SuperResolution) -> None:
    frame = frame_of("nv12", 30, 14)
    y, uv = frame.numpy()
    shaped = Frame.from_planes([y, uv.reshape(7, 15, 2)])
    assert same_samples(upscale(shaped), upscale(frame))


def test_out_is_written_and_given_back(upscale: SuperResolution) -> None:
    frame = frame_of(pts=3, time_base=Fraction(1, 24))
    out = Frame.from_planes([torch.zeros(s, dtype=torch.uint8) for s in ((96, 128), (48, 64), (48, 64))])
    result = upscale(frame, out=out)
    assert result.planes[0] is out.planes[0]
    assert result.pts == 3
    assert same_samples(result, upscale(frame))


def test_out_that_cannot_be_written_is_refused(upscale: SuperResolution) -> None:
    frame = frame_of()
    with pytest.raises(InputError, match="out is 64x48 yuv420p, the result is 128x96 yuv420p"):
        upscale(frame, out=frame_of())
    with pytest.raises(InputError, match="give a Frame"):
        upscale(frame, out=frame.planes)  # type: ignore[call-overload]
    pre = LowrankPre(backend="cpu", precision="fp32")
    with pytest.raises(InputError, match="plane 0 of out lies on the frame itself"):
        pre(frame, out=frame)


def test_every_class_takes_frames() -> None:
    frame = frame_of(width=96, height=64, pts=11)
    prepared = LowrankPre(strength=0.5)(frame)
    assert (prepared.width, prepared.height, prepared.pts) == (96, 64, 11)
    assert not same_samples(prepared, frame)
    remover, planes_remover = Inpainter(model="none"), Inpainter(model="none")
    mask = np.zeros((64, 96), bool)
    mask[10:30, 20:50] = True
    clean = remover(frame, torch.from_numpy(mask.astype(np.uint8) * 255))
    wanted = planes_remover(frame.numpy(), mask)
    assert all(np.array_equal(a, b) for a, b in zip(clean.numpy(), wanted, strict=True))
    assert clean.pts == 11
    painted = remover.paint(frame, mask)
    assert not same_samples(painted, frame)


def test_frames_of_a_video_come_back_in_order_from_the_inpainter() -> None:
    frames = [frame_of(width=96, height=64, pts=i) for i in range(5)]
    remover = Inpainter(model="none", lookahead=2)
    done = list(remover.process((frame, [(8, 8, 16, 16)]) for frame in frames))
    assert [frame.pts for frame in done] == [0, 1, 2, 3, 4]
    assert len({id(frame.planes[0]) for frame in done}) == 5


def _works_alone(frames: list[Frame], wanted: list[Frame], call: Callable[[Frame], Frame]) -> list[int]:
    wrong: list[int] = []

    def work(index: int) -> None:
        for _ in range(4):
            if not same_samples(call(frames[index]), wanted[index]):
                wrong.append(index)

    threads = [threading.Thread(target=work, args=(i,)) for i in range(len(frames))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return wrong


def test_threads_on_one_object_and_on_several_get_identical_results() -> None:
    frames = [frame_of("nv12", 64 + 2 * (i % 2), 48) for i in range(4)]
    shared = LowrankPre(threads=1, precision="fp32")
    wanted = [shared(frame) for frame in frames]
    own = [LowrankPre(threads=1, precision="fp32") for _ in frames]
    assert not _works_alone(frames, wanted, shared)
    assert not _works_alone(frames, wanted, lambda frame: own[frames.index(frame)](frame))


def test_other_threads_run_while_a_picture_is_worked_on(tmp_path: Path) -> None:
    """The GIL is released: while one call takes 300 ms this thread goes on counting."""
    net = SuperResolution(str(random_s2d_net(tmp_path / "n.onnx")), backend="dummy", device="delay=300")
    frame = frame_of()
    worker = threading.Thread(target=net, args=(frame,))
    worker.start()
    ticks = 0
    while worker.is_alive():
        threading.Event().wait(0.01)
        ticks += 1
    assert ticks >= 10


def test_a_frame_does_not_change() -> None:
    frame = frame_of()
    with pytest.raises(AttributeError):
        frame.pts = 5  # type: ignore[misc]
    later = frame.replace(pts=5)
    assert (frame.pts, later.pts) == (None, 5)
    smaller = frame.replace(planes=planes_of("yuv420p", 32, 16))
    assert (smaller.width, smaller.height) == (32, 16)


Y, U, V = planes_of("yuv420p", 63, 47)


@pytest.mark.parametrize(
    ("planes", "says"),
    [
        ((Y, U), r"plane 0 has 2|yuv420p has 3 planes, not 2"),
        ((Y.astype(np.float32), U, V), "plane 0 is of type float32, not uint8"),
        ((Y, U.astype(">u2"), V), "plane 1 is of type >u2, not uint8"),
        ((Y, U[:23, :31], V), r"plane 1 has shape \(23, 31\), a picture of 63x47 needs \(24, 32\)"),
        ((Y, U, V[:, :-1]), r"plane 2 has shape \(24, 31\)"),
        ((Y[None], U, V), r"plane 0 has shape \(1, 47, 63\)"),
        ((np.asfortranarray(Y), U, V), "plane 0 has strides of .* side by side"),
        ((np.repeat(Y, 2, axis=1)[:, ::2], U, V), "side by side"),
        ((Y[:, ::-1], U, V), "side by side"),
        ((Y, np.broadcast_to(U[:1], U.shape), V), "rows at a distance of 0 bytes, which overlap"),
        ((Y, U, [[1, 2], [3, 4]]), "plane 2 is a list, which is no array"),
        ((Y, U, None), "plane 2 is a NoneType"),
        ((Y, U, "samples"), "plane 2 is a str"),
        ((Y, U, torch.zeros(24, 32, dtype=torch.bfloat16)), "plane 2 is of type that numpy has not"),
        ((Y, U, torch.zeros(24, 32, device="meta", dtype=torch.uint8)), "plane 2 "),
        (Y, "planes are a ndarray: give a list or tuple"),
    ],
)
def test_planes_that_do_not_fit_get_a_sentence(planes: Any, says: str) -> None:
    with pytest.raises(InputError, match=says) as caught:
        Frame(planes, "yuv420p", 63, 47)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("planes", "says"),
    [
        ((), "no picture has 0 planes"),
        ((Y,), "no picture has 1 planes of uint8"),
        ((Y.astype(np.int16), U, V), "no picture has 3 planes of int16"),
        ((np.zeros((0, 4), np.uint8), U, V), "height=0 is not in 1..32768"),
        ((Y.ravel(), U, V), r"plane 0 has shape \(2961,\): give two dimensions"),
    ],
)
def test_planes_that_are_no_picture_get_a_sentence(planes: Any, says: str) -> None:
    with pytest.raises(InputError, match=says):
        Frame.from_planes(planes)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"range": "tv"}, 'range="tv" is unknown: it is one of unspecified, limited, full'),
        ({"matrix": "bt1886"}, 'matrix="bt1886" is unknown'),
        ({"siting": "right"}, 'siting="right" is unknown'),
        ({"pixel_format": "yuv444p"}, 'pixel_format="yuv444p" is unknown'),
        ({"pts": 1.5}, "pts=1.5 is no whole number"),
        ({"time_base": 0}, "time_base=0 is no fraction above 0"),
        ({"sample_aspect": "x"}, "sample_aspect='x' is no fraction"),
        ({"width": 40000}, "width=40000 is not in 1..32768"),
    ],
)
def test_properties_that_make_no_sense_get_a_sentence(change: dict[str, Any], says: str) -> None:
    said: dict[str, Any] = {"planes": (Y, U, V), "pixel_format": "yuv420p", "width": 63, "height": 47}
    with pytest.raises(InputError, match=says):
        Frame(**{**said, **change})


def test_what_a_frame_says_is_not_said_twice(upscale: SuperResolution) -> None:
    with pytest.raises(InputError, match="bit_depth, matrix cannot be given with a Frame"):
        upscale(frame_of(), bit_depth=10, matrix="bt709")  # type: ignore[call-overload]
    with pytest.raises(InputError, match="stream is for frames"):
        upscale(planes_of("yuv420p", 8, 8), stream=1)  # type: ignore[call-overload]


class Elsewhere:
    """An array of another vendor's device."""

    def __dlpack_device__(self) -> tuple[int, int]:
        return (10, 0)

    def __dlpack__(self, **_: Any) -> Any:
        raise AssertionError("nobody may ask for its samples")


def test_arrays_on_devices_that_nobody_reads_get_a_sentence() -> None:
    with pytest.raises(InputError, match="plane 1 lies in memory of ROCm: copy it"):
        Frame((Y, Elsewhere(), V), "yuv420p", 63, 47)


def test_cuda_arrays_without_a_driver_get_a_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CLARIVID_CUDA_DRIVER", "/nonexistent/libcuda.so.1")
    from clarivid.cuda import driver

    driver.cache_clear()

    class Numba:
        __cuda_array_interface__ = {"data": (4096, False), "shape": (8, 8), "typestr": "|u1", "version": 3}  # noqa: RUF012

    with pytest.raises(clarivid.BackendError, match="NVIDIA's driver was not found"):
        Frame.from_planes([Numba(), Numba()])
    driver.cache_clear()
