# SPDX-License-Identifier: BSD-2-Clause
"""clarivid.Frame with PyTorch's and CuPy's own arrays and streams, on a GPU."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from clarivid import Frame, LowrankPre, SuperResolution
from clarivid.cuda import Device
from clarivid.frame import same_samples

from .tools import noise, pack

SIZE = (322, 182)


@pytest.fixture
def frame() -> Frame:
    return Frame(tuple(pack(noise(*SIZE, 8), "nv12")), "nv12", *SIZE)


@pytest.fixture
def torch(real: Device) -> Any:
    assert real.context
    module = pytest.importorskip("torch")
    if not module.cuda.is_available():
        pytest.fail("PyTorch sees no GPU, though the driver shows one")
    return module


@pytest.fixture
def cupy(real: Device) -> Any:
    assert real.context
    return pytest.importorskip("cupy")


def test_tensors_of_pytorch_go_in_and_come_out_without_a_copy(torch: Any, frame: Frame) -> None:
    net = LowrankPre(backend="cuda")
    wanted = net(frame.to_device()).to_host()
    tensors = [torch.from_numpy(plane).cuda() for plane in frame.numpy()]
    given = Frame.from_planes(tensors, "nv12")
    assert given.planes[0] is tensors[0]
    result = net(given)
    assert result.planes[0].stream == (torch.cuda.current_stream().cuda_stream or 1)
    back = [torch.from_dlpack(plane) for plane in result.planes]
    address = result.planes[0].__cuda_array_interface__["data"][0]
    assert back[0].data_ptr() == address
    del result
    assert all(np.array_equal(a.cpu().numpy(), b) for a, b in zip(back, wanted.numpy(), strict=True))


def test_work_is_in_the_order_of_the_current_stream(torch: Any, frame: Frame) -> None:
    """Nobody waits, and what comes late on PyTorch's stream is seen, and is seen by PyTorch afterwards."""
    net = SuperResolution("game_x2", backend="cuda")
    wanted = net(frame.to_device()).to_host().numpy()[0]
    source = [torch.from_numpy(plane).cuda() for plane in frame.numpy()]
    stream = torch.cuda.Stream()
    stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(stream):
        late = [torch.zeros_like(plane) for plane in source]
        busy = torch.randn(4096, 4096, device="cuda")
        for _ in range(10):
            busy = torch.tanh(busy @ busy)  # keeps the stream behind the host
        for target, plane in zip(late, source, strict=True):
            target.copy_(plane)
        result = net(Frame.from_planes(late, "nv12"))
        assert result.planes[0].stream == stream.cuda_stream
        luma = torch.from_dlpack(result.planes[0]).clone()
    stream.synchronize()
    assert np.array_equal(luma.cpu().numpy(), wanted)


def test_a_stream_of_pytorch_can_be_named(torch: Any, frame: Frame) -> None:
    net = LowrankPre(backend="cuda")
    stream = torch.cuda.Stream()
    tensors = [torch.from_numpy(plane).cuda() for plane in frame.numpy()]
    result = net(Frame.from_planes(tensors, "nv12"), stream=stream)
    del tensors
    assert result.planes[0].stream == stream.cuda_stream
    assert same_samples(result.to_host(), net(frame.to_device()).to_host())


def test_out_may_be_tensors(torch: Any, frame: Frame) -> None:
    net = LowrankPre(backend="cuda")
    tensors = [torch.from_numpy(plane).cuda() for plane in frame.numpy()]
    out = Frame.from_planes([torch.zeros_like(plane) for plane in tensors], "nv12")
    result = net(Frame.from_planes(tensors, "nv12"), out=out)
    torch.cuda.synchronize()
    assert result.planes[0] is out.planes[0]
    assert same_samples(result.to_host(), net(frame.to_device()).to_host())


def test_arrays_of_cupy_go_in_and_come_out_without_a_copy(cupy: Any, frame: Frame) -> None:
    net = LowrankPre(backend="cuda")
    wanted = net(frame.to_device()).to_host().numpy()
    with cupy.cuda.Stream(non_blocking=True) as stream:
        arrays = [cupy.asarray(plane) for plane in frame.numpy()]
        result = net(Frame.from_planes(arrays, "nv12"))
        assert result.planes[0].stream == stream.ptr
        back = [cupy.from_dlpack(plane) for plane in result.planes]
        del result
        found = [cupy.asnumpy(plane) for plane in back]
    assert all(np.array_equal(a, b) for a, b in zip(found, wanted, strict=True))
