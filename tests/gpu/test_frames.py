# SPDX-License-Identifier: BSD-2-Clause
"""clarivid.Frame in device memory: whose order is kept, who owns what, and what is refused.

No library of arrays has memory on the emulator, so a producer of our own stands in, which speaks the same
protocols; with PyTorch and CuPy on a GPU: test_frame_libraries.py.
"""

from __future__ import annotations

import ctypes
import gc
import sys
import threading
import types
from fractions import Fraction
from typing import Any

import numpy as np
import pytest

from clarivid import Frame, Inpainter, InputError, LowrankPre, SuperResolution, _core, cuda_arrays
from clarivid.cuda import Device, DevicePicture, Stream, check, driver
from clarivid.cuda_arrays import DeviceArray
from clarivid.frame import same_samples
from clarivid.models import find_model

from .tools import EMULATED, noise, pack

SIZE = (64, 48)


class Plane:
    """A plane of a producer that works on a stream of its own, as PyTorch's tensors do."""

    def __init__(self, plane: Any, stream: int, log: list[Any], *, versioned: bool = True) -> None:
        self.interface = plane.__cuda_array_interface__
        self.keeper, self.stream, self.log, self.versioned = plane, stream, log, versioned

    def __dlpack_device__(self) -> tuple[int, int]:
        return (2, 0)

    def __dlpack__(self, *, stream: int | None = None, max_version: Any = None) -> Any:
        self.log.append((stream, max_version))
        if stream not in (None, -1):
            assert stream is not None
            cuda_arrays.wait(cuda_arrays.device_at(0), stream, self.stream)
        kind = np.dtype(self.interface["typestr"])
        return _core.dlpack_export(
            self,
            self.interface["data"][0],
            list(self.interface["shape"]),
            [stride // kind.itemsize for stride in self.interface["strides"]],
            code=1,
            bits=8 * kind.itemsize,
            device_type=2,
            device_id=0,
            read_only=False,
            versioned=self.versioned and max_version is not None,
        )


class OldPlane(Plane):
    """From before DLPack 1.0."""

    def __dlpack__(self, *, stream: int | None = None) -> Any:  # type: ignore[override]
        return super().__dlpack__(stream=stream)


class CudaPlane:
    """A plane that speaks __cuda_array_interface__ only, version 3 with its stream, or version 2 without."""

    def __init__(self, plane: Any, stream: int | None = None, **changes: Any) -> None:
        self.keeper = plane
        self.__cuda_array_interface__ = {**plane.__cuda_array_interface__, "stream": stream, **changes}


def upload_late(picture: DevicePicture, planes: list[Any], stream: Stream) -> Any:
    """Enqueues the picture's samples on a stream; on a lazy emulator they come when that is worked off."""
    staging = picture.device.picture(picture.width, picture.height, picture.pix_fmt)
    staging.upload(planes)
    picture.memory.copy_from(staging.memory, stream.handle)
    return staging


def source(device: Device, pix_fmt: str = "nv12", seed: int = 0) -> tuple[DevicePicture, Frame]:
    depth = 8 if pix_fmt in ("nv12", "yuv420p") else 10
    planes = pack(noise(*SIZE, depth, seed), pix_fmt)
    picture = device.picture(*SIZE, pix_fmt)
    picture.upload(planes)
    return picture, Frame(tuple(planes), pix_fmt, *SIZE, pts=5, time_base=Fraction(1, 25))


def on_device(picture: DevicePicture) -> Frame:
    return Frame(tuple(picture.planes), picture.pix_fmt, picture.width, picture.height)


@pytest.fixture
def net() -> LowrankPre:
    return LowrankPre(backend="cuda")


def close(found: Frame, wanted: Frame) -> bool:
    """fp16 against fp32: within one code."""
    ten = 64 if wanted.pixel_format == "p010le" else 1
    pairs = zip(found.to_host().numpy(), wanted.numpy(), strict=True)
    return all(np.abs(a.astype(int) - b).max() <= 2 * ten for a, b in pairs)


@pytest.mark.parametrize("pix_fmt", ["yuv420p", "nv12", "yuv420p10le", "p010le"])
def test_a_frame_on_the_device_gives_the_picture_of_one_on_the_host(
    device: Device, net: LowrankPre, pix_fmt: str
) -> None:
    _, frame = source(device, pix_fmt)
    there = frame.to_device()
    assert there.device == 0
    assert same_samples(there.to_host(), frame)
    result = net(there)
    assert isinstance(result.planes[0], DeviceArray)
    assert (result.pts, result.time_base) == (5, Fraction(1, 25))
    assert close(result, LowrankPre(precision="fp32")(frame))


def test_frames_get_larger_on_the_device(device: Device) -> None:
    _, frame = source(device)
    result = SuperResolution("game_x2", backend="cuda")(frame.to_device())
    assert (result.width, result.height) == (128, 96)
    assert [plane.shape for plane in result.planes] == [(96, 128), (48, 128)]


@pytest.mark.parametrize("kind", [Plane, OldPlane])
@pytest.mark.parametrize("explicit", [False, True])
def test_what_the_producer_enqueued_before_is_seen(
    device: Device, net: LowrankPre, kind: type[Plane], explicit: bool
) -> None:
    """The samples come late on the producer's stream; the call is on another, or on the legacy one."""
    picture, frame = source(device)
    wanted = net(on_device(picture)).to_host()
    picture.fill(0)
    writer, caller = device.stream(), device.stream()
    staging = upload_late(picture, list(frame.planes), writer)
    log: list[Any] = []
    planes = tuple(kind(plane, writer.handle, log) for plane in picture.planes)
    result = net(Frame(planes, "nv12", *SIZE), stream=caller.handle if explicit else None)
    assert log[-1][0] == (caller.handle if explicit else 1)  # the protocol's number
    assert log[-1][1] == ((1, 0) if kind is Plane else None)
    (entry,) = net._sessions.values()
    entry.stream.synchronise()  # type: ignore[union-attr]  # a lazy stream of the net's goes first
    assert same_samples(result.to_host(), wanted)
    assert staging.memory.address


def test_the_stream_of_a_cuda_array_interface_is_waited_for(device: Device, net: LowrankPre) -> None:
    picture, frame = source(device)
    wanted = net(on_device(picture)).to_host()
    picture.fill(0)
    writer = device.stream()
    staging = upload_late(picture, list(frame.planes), writer)
    planes = tuple(CudaPlane(plane, writer.handle) for plane in picture.planes)
    assert same_samples(net(Frame(planes, "nv12", *SIZE)).to_host(), wanted)
    assert staging.memory.address


def test_what_is_enqueued_after_the_call_sees_the_result(device: Device, net: LowrankPre) -> None:
    picture, _ = source(device)
    wanted = net(on_device(picture)).to_host()
    caller = device.stream()
    result = net(on_device(picture), stream=caller)
    first = result.planes[0]
    copy = device.memory(first.strides[0] * first.shape[0])
    view = first.view()
    with device.current():
        check(
            driver().cuMemcpyDtoDAsync_v2(
                ctypes.c_uint64(copy.address),
                ctypes.c_uint64(view.address),
                ctypes.c_size_t(copy.size),
                ctypes.c_void_p(caller.handle),
            ),
            "copy",
        )
    caller.synchronise()
    rows = copy.download().reshape(first.shape[0], -1)[:, : first.shape[1]]
    assert np.array_equal(rows, wanted.numpy()[0])


def test_the_host_waits_for_nothing_and_no_picture_passes_through_it(device: Device, net: LowrankPre) -> None:
    picture, _ = source(device)
    frame = on_device(picture)
    net(frame)
    (entry,) = net._sessions.values()
    core = entry.core  # type: ignore[union-attr]
    before = core.device_stats
    for _ in range(3):
        frame = net(frame)
    after = core.device_stats
    assert {name: after[name] - before[name] for name in ("copies_to_host", "synchronisations")} == {
        "copies_to_host": 0,
        "synchronisations": 0,
    }


class Taken:
    """What a consumer of DLPack makes of an array."""

    def __init__(self, array: Any, stream: int, **options: Any) -> None:
        self.view = _core.DlpackImport(array.__dlpack__(stream=stream, **options))


@pytest.mark.parametrize("options", [{}, {"max_version": (1, 0)}, {"dl_device": (2, 0), "copy": False}])
def test_results_are_arrays_of_dlpack_that_own_their_memory(
    device: Device, net: LowrankPre, options: dict[str, Any]
) -> None:
    picture, _ = source(device)
    result = net(on_device(picture))
    wanted = result.to_host().numpy()[0]
    pitch = result.planes[0].strides[0]
    reader = device.stream()
    taken = Taken(result.planes[0], reader.handle, **options).view
    assert (taken.device, taken.shape, taken.strides) == ((2, 0), [48, 64], [pitch, 1])
    del result
    gc.collect()
    for seed in range(3):
        net(on_device(source(device, seed=seed + 1)[0]))
    interface = {"data": (taken.address, True), "shape": (48, 64), "strides": (pitch, 1), "typestr": "|u1"}
    kept = types.SimpleNamespace(__cuda_array_interface__=interface)
    chroma = device.picture(*SIZE, "nv12").planes[1]
    again = Frame((kept, chroma), "nv12", *SIZE).to_host()
    assert np.array_equal(again.numpy()[0], wanted)


def test_memory_goes_back_when_nobody_holds_it(device: Device, net: LowrankPre) -> None:
    picture, _ = source(device)
    net(on_device(picture)).to_host()
    device.synchronise()
    gc.collect()
    free = device.memory_info()[0]
    result = net(on_device(picture))
    reader = device.stream()
    taken = Taken(result.planes[1], reader.handle)
    unused = result.planes[0].__dlpack__(stream=-1)
    del result
    gc.collect()
    assert device.memory_info()[0] < free
    del taken, unused
    gc.collect()
    device.synchronise()
    if EMULATED:  # a driver gives memory back in larger pieces, and not at once
        assert device.memory_info()[0] == free
    later = net(on_device(picture))
    assert later.to_host().numpy()[0].shape == (48, 64)


@pytest.mark.parametrize("pools", [0, 1])
def test_memory_that_was_lent_is_freed_after_all_who_read_it(
    device: Device, net: LowrankPre, pools: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A reader on another stream has not been worked off when the last holder lets go."""
    attribute = Device.attribute
    monkeypatch.setattr(
        Device, "attribute", lambda self, number: pools if number == 115 else attribute(self, number)
    )
    picture, _ = source(device)
    result = net(on_device(picture))
    wanted = result.to_host().numpy()[0]
    reader = device.stream()
    taken = Taken(result.planes[0], reader.handle)
    pitch = result.planes[0].strides[0]
    copy = device.memory(pitch * 48)
    with device.current():
        check(
            driver().cuMemcpyDtoDAsync_v2(
                ctypes.c_uint64(copy.address),
                ctypes.c_uint64(taken.view.address),
                ctypes.c_size_t(copy.size),
                ctypes.c_void_p(reader.handle),
            ),
            "copy",
        )
    del result, taken
    gc.collect()
    assert np.array_equal(copy.download().reshape(48, -1)[:, :64], wanted)


def test_consumers_on_other_streams_are_made_to_wait(device: Device, net: LowrankPre) -> None:
    picture, frame = source(device)
    wanted = net(on_device(picture)).to_host()
    picture.fill(0)
    writer, reader = device.stream(), device.stream()
    staging = upload_late(picture, list(frame.planes), writer)
    result = net(on_device(picture), stream=writer)
    assert result.planes[0].stream == writer.handle
    again = [Plane(plane, writer.handle, []) for plane in result.planes]
    assert same_samples(Frame(tuple(again), "nv12", *SIZE).to_host(stream=reader), wanted)
    interface = result.planes[0].__cuda_array_interface__
    assert interface["stream"] == writer.handle
    assert interface["version"] == 3
    assert staging.memory.address


@pytest.mark.parametrize(
    "options", [{"stream": 0}, {"stream": -2}, {"stream": "1"}, {"copy": True}, {"dl_device": (1, 0)}]
)
def test_consumers_that_ask_for_what_cannot_be_get_a_buffer_error(
    device: Device, options: dict[str, Any]
) -> None:
    plane = source(device)[1].to_device().planes[0]
    with pytest.raises(BufferError, match=r"DeviceArray|none that DLPack has"):
        plane.__dlpack__(**options)


def test_the_current_stream_of_the_arrays_library_is_asked_for(
    device: Device, net: LowrankPre, monkeypatch: pytest.MonkeyPatch
) -> None:
    picture, _ = source(device)
    wanted = net(on_device(picture)).to_host()
    current = device.stream()
    torch = types.ModuleType("torch")
    torch.cuda = types.SimpleNamespace(  # type: ignore[attr-defined]
        current_stream=lambda _: types.SimpleNamespace(cuda_stream=current.handle)
    )
    monkeypatch.setitem(sys.modules, "torch", torch)
    tensor = type("Tensor", (Plane,), {"__module__": "torch"})
    planes = tuple(tensor(plane, current.handle, []) for plane in picture.planes)
    result = net(Frame(planes, "nv12", *SIZE))
    assert result.planes[0].stream == current.handle
    assert same_samples(result.to_host(), wanted)


def test_streams_of_all_libraries_are_understood(device: Device, net: LowrankPre) -> None:
    picture, _ = source(device)
    frame, handle = on_device(picture), device.stream()
    number = handle.handle
    for stream in (
        handle,
        number,
        types.SimpleNamespace(cuda_stream=number),  # PyTorch
        types.SimpleNamespace(ptr=number),  # CuPy
        types.SimpleNamespace(__cuda_stream__=lambda: (0, number)),  # CUDA Python
    ):
        assert net(frame, stream=stream).planes[0].stream == number
    assert net(frame, stream=0).planes[0].stream == 1
    for wrong in (-1, "default", 2.5, True):
        with pytest.raises(InputError, match="is no stream"):
            net(frame, stream=wrong)


def test_out_may_be_memory_of_the_producers(device: Device, net: LowrankPre) -> None:
    picture, _ = source(device)
    wanted = net(on_device(picture)).to_host()
    target = device.picture(*SIZE, "nv12")
    target.fill(0)
    result = net(on_device(picture), out=on_device(target))
    assert same_samples(result.to_host(), wanted)
    assert np.array_equal(target.download()[0], wanted.numpy()[0])
    with pytest.raises(InputError, match="out lies elsewhere"):
        net(on_device(picture), out=wanted)
    with pytest.raises(InputError, match="lies on the frame itself"):
        net(on_device(picture), out=on_device(picture))


def test_sessions_of_one_object_serve_any_stream_and_thread(device: Device, net: LowrankPre) -> None:
    frames = [on_device(source(device, seed=seed)[0]) for seed in range(3)]
    wanted = [net(frame).to_host() for frame in frames]
    wrong: list[int] = []

    def work(index: int) -> None:
        stream = device.stream()
        for _ in range(3):
            if not same_samples(net(frames[index], stream=stream).to_host(), wanted[index]):
                wrong.append(index)

    threads = [threading.Thread(target=work, args=(i,)) for i in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong
    assert len(net._sessions) == 1


def test_the_inpainter_takes_frames_and_masks_on_the_device(device: Device) -> None:
    picture, frame = source(device)
    mask = np.zeros((48, 64), np.uint8)
    mask[10:30, 20:40] = 255
    memory = device.picture(64, 48, "nv12")
    memory.upload([mask, np.zeros((24, 64), np.uint8)])
    there, here = Inpainter(model="none"), Inpainter(model="none")
    boxes, arrays = there(on_device(picture), [(20, 10, 20, 20)]), here(frame, mask)
    assert close(boxes, arrays)
    there.reset()
    assert same_samples(there(on_device(picture), memory.planes[0]).to_host(), boxes.to_host())
    with pytest.raises(InputError, match="copy the mask to the host"):
        here(frame, Plane(memory.planes[0], 1, []))
    with pytest.raises(InputError, match=r"changed from 64x48 nv12 .* to 64x48 nv12 .* in CUDA memory"):
        here(on_device(picture))
    later = Inpainter(model="none", lookahead=1)
    done = list(later.process((on_device(picture).replace(pts=i), None) for i in range(3)))
    assert [one.pts for one in done] == [0, 1, 2]
    assert all(same_samples(one.to_host(), frame) for one in done)


def test_the_inpainter_sees_what_was_enqueued_before(device: Device) -> None:
    picture, frame = source(device)
    picture.fill(0)
    writer = device.stream()
    staging = upload_late(picture, list(frame.planes), writer)
    result = Inpainter(model="none")(on_device(picture), None, stream=writer)
    assert same_samples(result.to_host(), frame)
    assert staging.memory.address


def test_planes_in_two_places_are_refused(device: Device) -> None:
    picture, frame = source(device)
    with pytest.raises(InputError, match=r"plane 0 is in CUDA memory: make a clarivid\.Frame"):
        LowrankPre()(picture.planes)  # type: ignore[call-overload]
    with pytest.raises(InputError, match="the planes lie apart, on GPU 0, host memory"):
        Frame((picture.planes[0], frame.planes[1]), "nv12", *SIZE)


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"shape": (24, 62)}, "plane 1 has shape"),
        ({"strides": (128, 2)}, "side by side"),
        ({"strides": (-512, 1)}, "upside down in CUDA memory"),
        ({"strides": (32, 1)}, "which overlap"),
        ({"typestr": "<u2"}, "plane 1 is of type uint16"),
        ({"data": (4096, False)}, "is not in CUDA memory of this process"),
        ({"typestr": "nonsense"}, "has a __cuda_array_interface__ that is none"),
    ],
)
def test_planes_on_the_device_that_do_not_fit_get_a_sentence(
    device: Device, changes: dict[str, Any], says: str
) -> None:
    picture, _ = source(device)
    luma, chroma = picture.planes
    with pytest.raises(InputError, match=says):
        Frame((luma, CudaPlane(chroma, None, **changes)), "nv12", *SIZE)


@pytest.mark.usefixtures("device")
def test_a_single_row_may_have_any_stride() -> None:
    """PyTorch says 1 for an axis of one element."""
    planes = pack(noise(64, 2, 8), "nv12")
    frame = Frame(tuple(planes), "nv12", 64, 2).to_device()
    luma, chroma = frame.planes
    odd = CudaPlane(chroma, chroma.stream, strides=(1, 1))
    there = Frame((luma, odd), "nv12", 64, 2)
    assert there._views[1].strides == (64, 1)
    assert same_samples(there.to_host(), frame.to_host())


def test_the_host_cannot_follow_device_memory(device: Device) -> None:
    frame = source(device)[1].to_device()
    with pytest.raises(TypeError, match="copy it with to_host"):
        np.asarray(frame.planes[0])
    for look in (frame.numpy, frame.to_rgb):
        with pytest.raises(InputError, match="copy it with to_host"):
            look()
    with pytest.raises(InputError, match="rgb lies in the memory of GPU 0"):
        Frame.from_rgb(frame.planes[0], matrix="bt709")


def test_other_backends_say_that_they_are_for_the_host(device: Device) -> None:
    from clarivid import BackendError

    picture, _ = source(device)
    with pytest.raises(BackendError, match="host"):
        SuperResolution(str(find_model("game_x2").folder), backend="openvino")(on_device(picture))
