# SPDX-License-Identifier: BSD-2-Clause
"""Nets on pictures in device memory, through the C ABI: the cuda backend's promises."""

from __future__ import annotations

import threading
from collections.abc import Callable

import numpy as np
import pytest

from clarivid.cuda import Device
from clarivid.errors import Error

from .tools import (
    DEPTH,
    EMULATED,
    FORMATS,
    LEAST_DB,
    SHIPPED,
    Net,
    compare,
    expected,
    filled,
    noise,
    pack,
    picture,
    unpack,
)  # fmt: skip

Record = Callable[[str, object], None]

# The last is more than one tile of any kernel, in both directions; odd ones end inside a 2x2 block.
SIZES = [(64, 48), (75, 53)] if EMULATED else [(32, 32), (75, 53), (198, 110), (641, 363), (1920, 1080)]
FRAMES = 6 if EMULATED else 2000


def random_cases(count: int) -> list[tuple[int, int, str, int, bool]]:
    """(width, height, pix_fmt, bytes more in a row than needed, full range): no net may care."""
    random = np.random.default_rng(20)
    most = 90 if EMULATED else 700
    return [
        (
            int(random.integers(32, most)),
            int(random.integers(32, most)),
            list(FORMATS)[index % 4],
            int(random.choice([0, 2, 6, 16, 34, 250])) * 2,
            bool(random.integers(0, 2)),
        )
        for index in range(count)
    ]


@pytest.mark.parametrize("model", SHIPPED)
@pytest.mark.parametrize("pix_fmt", FORMATS)
@pytest.mark.parametrize("size", SIZES, ids=lambda size: f"{size[0]}x{size[1]}")
def test_a_picture_is_that_of_pytorch(
    device: Device, model: str, pix_fmt: str, size: tuple[int, int], record_property: Record
) -> None:
    depth = DEPTH[pix_fmt]
    planes = picture(*size, depth)
    net = Net(device, model, *size, pix_fmt)
    source, result = device.picture(*size, pix_fmt), net.output()
    source.upload(pack(planes, pix_fmt))
    result.fill(0xA5)
    net.run(source, result)
    error = compare(unpack(result.download(), pix_fmt), expected(model, planes, depth), depth)
    record_property("psnr_db", error.db)
    record_property("largest_error_codes", error.codes)
    assert error.db >= LEAST_DB, error


@pytest.mark.parametrize("model", SHIPPED)
def test_any_size_pitch_depth_and_range_is_exact_to_the_last_column(
    device: Device, model: str, record_property: Record
) -> None:
    worst_db, worst_codes = 100.0, 0
    for index, (width, height, pix_fmt, more, full) in enumerate(random_cases(4 if EMULATED else 40)):
        depth = DEPTH[pix_fmt]
        planes = noise(width, height, depth, index)
        net = Net(device, model, width, height, pix_fmt, full_range=full)
        row = 2 * ((width + 1) // 2) * (depth // 8 if depth == 8 else 2)
        source = device.picture(width, height, pix_fmt, row + more)
        result = net.output(2 * ((net.size[0] + 1) // 2) * (1 if depth == 8 else 2) + more)
        source.upload(pack(planes, pix_fmt), fill=0x5A)
        result.fill(0xA5)
        net.run(source, result)
        error = compare(unpack(result.download(), pix_fmt), expected(model, planes, depth, full), depth)
        what = f"{width}x{height} {pix_fmt}, {more} bytes more in a row, full range {full}: {error}"
        worst_db, worst_codes = min(worst_db, error.db), max(worst_codes, error.codes)
        assert error.db >= LEAST_DB, what
        assert np.all(result.between_rows() == 0xA5), f"{what}: bytes between rows were written"
        assert np.all(source.between_rows() == 0x5A), what
    record_property("psnr_db", worst_db)
    record_property("largest_error_codes", worst_codes)


def test_the_input_is_left_as_it_was(device: Device) -> None:
    for model in SHIPPED:
        planes = pack(noise(70, 50, 8), "nv12")
        net = Net(device, model, 70, 50, "nv12")
        source, result = device.picture(70, 50, "nv12"), net.output()
        source.upload(planes)
        net.run(source, result)
        assert all(np.array_equal(a, b) for a, b in zip(source.download(), planes, strict=True))


def test_strength_is_applied(device: Device) -> None:
    planes = picture(75, 53, 8)
    for strength in (0.0, 0.5):
        net = Net(device, "lowrank_v1", 75, 53, "nv12", strength=strength)
        source, result = device.picture(75, 53, "nv12"), net.output()
        source.upload(pack(planes, "nv12"))
        net.run(source, result)
        got = unpack(result.download(), "nv12")
        error = compare(got, expected("lowrank_v1", planes, 8, strength=strength), 8)
        assert error.db >= LEAST_DB, (strength, error)
        assert strength or error.codes == 0


def test_the_same_picture_gives_the_same_bytes_each_time(device: Device) -> None:
    """A race on the device would show here before it shows to the eye."""
    size = (75, 53) if EMULATED else (1283, 723)
    for model in SHIPPED:
        net = Net(device, model, *size, "nv12")
        source, result = device.picture(*size, "nv12"), net.output()
        source.upload(pack(noise(*size, 8), "nv12"))
        seen = set()
        for _ in range(2 if EMULATED else 50):
            result.fill(0xA5)
            net.run(source, result)
            seen.add(b"".join(plane.tobytes() for plane in result.download()))
        assert len(seen) == 1, f"{model} gave {len(seen)} different results"


@pytest.mark.parametrize("model", SHIPPED)
def test_steady_state_copies_nothing_to_the_host_and_waits_for_nothing(device: Device, model: str) -> None:
    net = Net(device, model, 64, 48, "nv12")
    source, result = device.picture(64, 48, "nv12"), net.output()
    source.upload(pack(noise(64, 48, 8), "nv12"))
    net.run(source, result)
    before = net.stats
    for _ in range(4 if EMULATED else 100):
        net.run(source, result)
    assert net.stats == before
    assert before["copies_to_host"] == before["bytes_to_host"] == 0
    assert before["device_bytes"] > 0


@pytest.mark.parametrize("model", SHIPPED)
def test_device_memory_is_constant_over_2000_frames(
    device: Device, model: str, record_property: Record
) -> None:
    size = (64, 48) if EMULATED else (640, 360)
    net = Net(device, model, *size, "nv12")
    source, result = device.picture(*size, "nv12"), net.output()
    source.upload(pack(noise(*size, 8), "nv12"))
    net.run(source, result)
    device.synchronise()
    before, held = device.memory_info()[0], net.stats["device_bytes"]
    for _ in range(FRAMES):
        net.run(source, result)
    device.synchronise()
    record_property("frames", FRAMES)
    record_property("device_bytes", held)
    assert device.memory_info()[0] == before
    assert net.stats["device_bytes"] == held


def test_sessions_leave_no_memory_behind(device: Device) -> None:
    def use() -> int:
        for model in SHIPPED:
            net = Net(device, model, 320 if not EMULATED else 64, 180 if not EMULATED else 48, "nv12")
            source, result = (
                device.picture(net.size[0] // net.session.scale, net.size[1] // net.session.scale, "nv12"),
                net.output(),
            )
            net.run(source, result)
        device.synchronise()
        del net, source, result
        return device.memory_info()[0]

    use()
    after = [use() for _ in range(2 if EMULATED else 5)]
    assert len(set(after)) == 1, f"free bytes after each use: {after}"


def test_two_filters_on_one_gpu_at_once_do_not_disturb_each_other(device: Device) -> None:
    size = (75, 53) if EMULATED else (642, 362)
    results: dict[str, set[bytes]] = {model: set() for model in SHIPPED}
    alone: dict[str, bytes] = {}
    nets = {model: Net(device, model, *size, "nv12") for model in SHIPPED}
    pictures = {model: (device.picture(*size, "nv12"), net.output()) for model, net in nets.items()}
    failures: list[BaseException] = []

    def look(model: str) -> bytes:
        nets[model].stream.synchronise()
        return b"".join(plane.tobytes() for plane in pictures[model][1].download())

    def work(model: str) -> None:
        try:
            for _ in range(2 if EMULATED else 100):
                nets[model].run(*pictures[model])
            results[model].add(look(model))
        except BaseException as error:
            failures.append(error)

    for model, net in nets.items():
        pictures[model][0].upload(pack(noise(*size, 8), "nv12"))
        net.run(*pictures[model])
        alone[model] = look(model)
        pictures[model][1].fill(0)
    threads = [threading.Thread(target=work, args=(model,)) for model in SHIPPED]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failures
    assert {model: {alone[model]} for model in SHIPPED} == results


def test_out_of_memory_is_a_sentence_and_everything_goes_on(device: Device) -> None:
    net = Net(device, "game_x2", 64, 48, "nv12")
    source, result = device.picture(64, 48, "nv12"), net.output()
    source.upload(pack(picture(64, 48, 8), "nv12"))
    net.run(source, result)
    first = result.download()
    with filled(device), pytest.raises((MemoryError, Error)) as caught:
        Net(device, "game_x2", 1920, 1080, "nv12", tile="none")
    said = str(caught.value)
    assert "memory" in said, said
    assert "MiB" in said or "bytes" in said, said
    assert any(word in said for word in ("lower", "smaller", "less", "fewer", "close", "free")), said
    net.run(source, result)  # the one that was there goes on
    assert all(np.array_equal(a, b) for a, b in zip(result.download(), first, strict=True))
    if not EMULATED:
        again = Net(device, "game_x2", 1920, 1080, "nv12")
        big = device.picture(1920, 1080, "nv12")
        again.run(big, again.output())
        device.synchronise()


def test_what_the_backend_cannot_do_is_an_error_that_says_so(device: Device) -> None:
    for options, word in (
        ({"precision": 1}, "fp32"),
        ({"backend": "cpu"}, "host memory"),
        ({"backend": "none"}, "none"),
    ):
        with pytest.raises(Exception, match=word):
            Net(device, "game_x2", 64, 48, "nv12", **options)


def test_auto_takes_our_kernels_and_says_so(device: Device) -> None:
    net = Net(device, "lowrank_v1", 64, 48, "nv12", backend="auto")
    assert net.session.backend == "cuda"
    assert any("cuda" in line for line in net.messages)


@pytest.mark.parametrize("model", SHIPPED)
def test_frames_can_be_captured_as_a_graph(real: Device, model: str) -> None:
    """Nothing that a frame takes waits for the device or allocates: no graph could hold that."""
    net = Net(real, model, 642, 362, "nv12")
    source, result = real.picture(642, 362, "nv12"), net.output()
    source.upload(pack(noise(642, 362, 8), "nv12"))
    net.run(source, result)
    first = result.download()
    graph = net.stream.capture(lambda: net.run(source, result))
    result.fill(0xA5)
    graph.launch()
    net.stream.synchronise()
    assert all(np.array_equal(a, b) for a, b in zip(result.download(), first, strict=True))
