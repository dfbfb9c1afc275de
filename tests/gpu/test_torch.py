# SPDX-License-Identifier: BSD-2-Clause
"""Sessions on PyTorch's tensors and streams, against the same net in PyTorch on the same GPU."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from clarivid import _core
from clarivid.cuda import Device
from clarivid.models import find_model
from clarivid.nets.load import load_net
from clarivid.parity import unfold
from clarivid.parity.planes import luma_codes, net_tensor

from .tools import LEAST_DB, SHIPPED, compare, expected, pack, picture, unpack

torch = pytest.importorskip("torch")

Record = Callable[[str, object], None]

SIZE = (1282, 722)
NV12 = 2


def session(device: Device, model: str, stream: int) -> Any:
    look = _core.Format(*SIZE, NV12, range=1, memory=1)
    where = _core.CudaDevice(device.context, stream)
    return _core.Session(_core.Model(str(find_model(model).folder)), look, backend="cuda", cuda=where)


@pytest.fixture
def exact(real: Device) -> Any:
    """PyTorch's arithmetic in full fp32, which is not its default on a GPU."""
    if not torch.cuda.is_available():
        pytest.fail("PyTorch sees no GPU, though the driver shows one")
    before = torch.backends.cudnn.allow_tf32, torch.backends.cuda.matmul.allow_tf32
    torch.backends.cudnn.allow_tf32 = torch.backends.cuda.matmul.allow_tf32 = False
    yield real
    torch.backends.cudnn.allow_tf32, torch.backends.cuda.matmul.allow_tf32 = before


@pytest.mark.parametrize("model", SHIPPED)
def test_pytorch_on_the_same_gpu_gives_the_same_picture(
    exact: Device, model: str, record_property: Record
) -> None:
    planes, bundle = picture(*SIZE, 8), find_model(model)
    values = net_tensor(bundle.layout, planes, 8, False)
    with torch.no_grad():
        tensor = load_net(bundle).cuda()(torch.from_numpy(values).cuda()).cpu().numpy()
    if bundle.layout == "y":
        wanted = expected(model, planes, 8)
        wanted[0] = luma_codes(tensor, *tensor.shape[:1:-1], 8, False)
    else:
        wanted = list(unfold(tensor, *SIZE, 8, False))
    y, uv = (torch.from_numpy(plane).cuda() for plane in pack(planes, "nv12"))
    scale = find_model(model).scale
    out = [
        torch.full((SIZE[1] * scale, SIZE[0] * scale), 0xA5, dtype=torch.uint8, device="cuda"),
        torch.full((SIZE[1] * scale // 2, SIZE[0] * scale), 0xA5, dtype=torch.uint8, device="cuda"),
    ]
    session(exact, model, torch.cuda.current_stream().cuda_stream).process([y, uv], out)
    error = compare(unpack([plane.cpu().numpy() for plane in out], "nv12"), wanted, 8)
    record_property("psnr_db", error.db)
    record_property("largest_error_codes", error.codes)
    assert error.db >= LEAST_DB, error


@pytest.mark.parametrize("model", SHIPPED)
def test_work_is_in_the_order_of_pytorchs_stream(exact: Device, model: str) -> None:
    """What is drawn before is read, and what reads the result comes after, though nobody waits."""
    scale = find_model(model).scale
    stream = torch.cuda.Stream()
    with torch.cuda.stream(stream):
        net = session(exact, model, stream.cuda_stream)
        busy = torch.randn(4096, 4096, device="cuda")
        noise = torch.randint(0, 256, (12, SIZE[1] * 3 // 2, SIZE[0]), device="cuda", dtype=torch.uint8)
        sums = []
        source = torch.empty_like(noise[0])
        result = torch.empty(SIZE[1] * scale * 3 // 2, SIZE[0] * scale, device="cuda", dtype=torch.uint8)
        halves = (
            [source[: SIZE[1]], source[SIZE[1] :]],
            [result[: SIZE[1] * scale], result[SIZE[1] * scale :]],
        )
        for _ in range(2):
            for frame in noise:
                busy = torch.tanh(busy @ busy)  # keeps the stream behind the host
                source.copy_(frame)
                result.zero_()
                net.process(*halves)
                sums.append(result.long().sum())
        stream.synchronize()
    found = [int(value) for value in sums]
    assert found[: len(noise)] == found[len(noise) :]
    assert len(set(found)) == len(noise)
    assert np.all(np.array(found) > 0)
