# SPDX-License-Identifier: BSD-2-Clause
"""A GPU through NVIDIA's driver, without PyTorch: memory, pictures, streams and events.

For tests, benchmarks and programs that hand pictures in device memory to a session. The driver's library is
opened when the first :class:`Device` is made; importing this needs none. ``CLARIVID_CUDA_DRIVER`` names
another library than ``libcuda.so.1``, as it does for the C++ side.

>>> device = Device()
>>> picture = device.picture(1920, 1080, "nv12")
>>> picture.upload(planes)
>>> session.process(picture.planes, output.planes)
"""

from __future__ import annotations

import ctypes
import functools
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from clarivid.errors import BackendError, InputError

Plane = NDArray[Any]

PITCH = 512  # bytes: what cuMemAllocPitch and FFmpeg's frame pools give on today's GPUs
_OUT_OF_MEMORY = 2
_CAPABILITY_MAJOR, _CAPABILITY_MINOR = 75, 76  # CUdevice_attribute
_DESCRIPTION = {  # pix_fmt: (bytes of a sample, samples of a chroma row for each of its positions, planes)
    "yuv420p": (1, 1, 3),
    "nv12": (1, 2, 2),
    "yuv420p10le": (2, 1, 3),
    "p010le": (2, 2, 2),
}


@functools.lru_cache
def driver() -> ctypes.CDLL:
    """The driver's library. Raises :class:`clarivid.BackendError` when there is none."""
    name = os.environ.get("CLARIVID_CUDA_DRIVER") or "libcuda.so.1"
    try:
        library = ctypes.CDLL(name)
    except OSError as error:
        raise BackendError(
            f"NVIDIA's driver was not found: {error}; install it, or run on a machine with a GPU"
        ) from None
    for function in ("cuMemAlloc_v2", "cuMemFree_v2", "cuMemcpyHtoD_v2", "cuMemcpyDtoH_v2"):
        getattr(library, function).restype = ctypes.c_int
    return library


def check(result: int, what: str) -> None:
    """Raises :class:`clarivid.BackendError` for a result of the driver that is none of success."""
    if result == 0:
        return
    text = ctypes.c_char_p()
    driver().cuGetErrorString(result, ctypes.byref(text))
    reason = (text.value or b"unknown error").decode()
    raise BackendError(f"CUDA could not {what}: {reason} (error {result})")


def device_count() -> int:
    """How many GPUs the driver sees.

    Raises:
        clarivid.BackendError: there is no driver, or it cannot start.
    """
    count = ctypes.c_int()
    check(driver().cuInit(0), "start")
    check(driver().cuDeviceGetCount(ctypes.byref(count)), "count the GPUs")
    return count.value


@dataclass(frozen=True)
class Gpu:
    """A GPU as the driver describes it. ``capability``: 90 for 9.0; ``memory`` in bytes."""

    name: str
    capability: int
    memory: int


def gpus() -> list[Gpu]:
    """The GPUs that the driver sees, described without opening one.

    Raises:
        clarivid.BackendError: there is no driver, it cannot start, or it sees no GPU.
    """
    cuda, found = driver(), []
    for index in range(device_count()):
        device, memory, name = ctypes.c_int(), ctypes.c_size_t(), ctypes.create_string_buffer(128)
        check(cuda.cuDeviceGet(ctypes.byref(device), index), f"find GPU {index}")
        check(cuda.cuDeviceGetName(name, len(name), device), f"name GPU {index}")
        check(cuda.cuDeviceTotalMem_v2(ctypes.byref(memory), device), f"tell the memory of GPU {index}")
        capability = 0
        for number in (_CAPABILITY_MAJOR, _CAPABILITY_MINOR):
            value = ctypes.c_int()
            check(cuda.cuDeviceGetAttribute(ctypes.byref(value), number, device), f"describe GPU {index}")
            capability = 10 * capability + value.value
        found.append(Gpu(name.value.decode(errors="replace"), capability, memory.value))
    return found


def driver_version() -> tuple[int, int]:
    """Of CUDA, what the driver is for: (13, 0). Raises :class:`clarivid.BackendError` without a driver."""
    version = ctypes.c_int()
    check(driver().cuDriverGetVersion(ctypes.byref(version)), "tell its version")
    return version.value // 1000, version.value % 1000 // 10


class Device:
    """One GPU's primary context, which PyTorch and the CUDA runtime use too; kept until :meth:`close`.

    Args:
        index: the number of the GPU, as the driver counts them.

    Raises:
        clarivid.BackendError: there is no driver, or no such GPU.
    """

    def __init__(self, index: int = 0) -> None:
        cuda = driver()
        check(cuda.cuInit(0), "start")
        self._device = ctypes.c_int()
        check(cuda.cuDeviceGet(ctypes.byref(self._device), index), f"find GPU {index}")
        handle = ctypes.c_void_p()
        check(cuda.cuDevicePrimaryCtxRetain(ctypes.byref(handle), self._device), f"open GPU {index}")
        self.index = index
        self.context = int(handle.value or 0)
        """The CUcontext, as a number."""

    def close(self) -> None:
        """Gives the context back; what was made of this device must be gone. A second call does nothing."""
        if self.context:
            self.context = 0
            driver().cuDevicePrimaryCtxRelease_v2(self._device)

    @contextmanager
    def current(self) -> Iterator[None]:
        """Makes the context current in this thread."""
        check(driver().cuCtxPushCurrent_v2(ctypes.c_void_p(self.context)), "make its context current")
        try:
            yield
        finally:
            driver().cuCtxPopCurrent_v2(ctypes.byref(ctypes.c_void_p()))

    @property
    def name(self) -> str:
        """Such as "NVIDIA H100 80GB HBM3"."""
        text = ctypes.create_string_buffer(128)
        check(driver().cuDeviceGetName(text, len(text), self._device), "name the GPU")
        return text.value.decode()

    def attribute(self, number: int) -> int:
        """A CUdevice_attribute."""
        value = ctypes.c_int()
        check(
            driver().cuDeviceGetAttribute(ctypes.byref(value), number, self._device),
            f"tell attribute {number}",
        )
        return value.value

    @property
    def capability(self) -> int:
        """Compute capability: 90 for 9.0."""
        return 10 * self.attribute(_CAPABILITY_MAJOR) + self.attribute(_CAPABILITY_MINOR)

    def memory_info(self) -> tuple[int, int]:
        """Free and total bytes."""
        free, total = ctypes.c_size_t(), ctypes.c_size_t()
        with self.current():
            check(driver().cuMemGetInfo_v2(ctypes.byref(free), ctypes.byref(total)), "tell free memory")
        return free.value, total.value

    def synchronise(self) -> None:
        """Waits for all work."""
        with self.current():
            check(driver().cuCtxSynchronize(), "finish its work")

    def memory(self, size: int) -> Memory:
        """``size`` bytes with anything in them."""
        return Memory(self, size)

    def stream(self) -> Stream:
        """A stream that waits for no other."""
        return Stream(self)

    def event(self) -> Event:
        """A mark in a stream, with its time."""
        return Event(self)

    def picture(self, width: int, height: int, pix_fmt: str, pitch: int = 0) -> DevicePicture:
        """A 4:2:0 picture; see :class:`DevicePicture`."""
        return DevicePicture(self, width, height, pix_fmt, pitch)


def check_allocation(result: int, device: Device, size: int, advice: str, purpose: str = "") -> None:
    """As :func:`check`, for an allocation: where memory ran out the error tells how much is free.

    ``purpose`` begins with a blank: " for a result".
    """
    if result == _OUT_OF_MEMORY:
        free, total = device.memory_info()
        raise BackendError(
            f"CUDA could not allocate {size >> 20} MiB{purpose}: {free >> 20} of {total >> 20} MiB are free; "
            f"{advice}"
        )
    check(result, f"allocate {size} bytes")


class Memory:
    """Device memory; freed with the object, which waits for the device's work.

    Raises:
        clarivid.BackendError: there is not that much.
    """

    def __init__(self, device: Device, size: int) -> None:
        self.device, self.size, self.address = device, size, 0
        pointer = ctypes.c_uint64()
        with device.current():
            result = driver().cuMemAlloc_v2(ctypes.byref(pointer), ctypes.c_size_t(size))
        check_allocation(result, device, size, "take smaller or fewer pictures")
        self.address = pointer.value

    def free(self) -> None:
        """Frees it now. A second call does nothing."""
        address, self.address = self.address, 0
        if address and self.device.context:
            with self.device.current():
                driver().cuMemFree_v2(ctypes.c_uint64(address))

    def __del__(self) -> None:
        self.free()

    def upload(self, data: NDArray[Any]) -> None:
        """Copies contiguous ``data`` to the beginning, after all work so far."""
        data = np.ascontiguousarray(data)
        if data.nbytes > self.size:
            raise InputError(f"{data.nbytes} bytes do not fit into device memory of {self.size}")
        self.device.synchronise()
        with self.device.current():
            check(
                driver().cuMemcpyHtoD_v2(
                    ctypes.c_uint64(self.address),
                    data.ctypes.data_as(ctypes.c_void_p),
                    ctypes.c_size_t(data.nbytes),
                ),
                "copy to the GPU",
            )

    def download(self) -> NDArray[np.uint8]:
        """All bytes, after all work so far."""
        data = np.empty(self.size, np.uint8)
        self.device.synchronise()
        with self.device.current():
            check(
                driver().cuMemcpyDtoH_v2(
                    data.ctypes.data_as(ctypes.c_void_p),
                    ctypes.c_uint64(self.address),
                    ctypes.c_size_t(self.size),
                ),
                "copy from the GPU",
            )
        return data

    def copy_from(self, source: Memory, stream: int = 0) -> None:
        """Enqueues a copy of all of ``source`` on the stream with that handle."""
        if source.size > self.size:
            raise InputError(f"{source.size} bytes do not fit into device memory of {self.size}")
        with self.device.current():
            check(
                driver().cuMemcpyDtoDAsync_v2(
                    ctypes.c_uint64(self.address),
                    ctypes.c_uint64(source.address),
                    ctypes.c_size_t(source.size),
                    ctypes.c_void_p(stream),
                ),
                "copy on the GPU",
            )


class Stream:
    """A CUstream; ``handle`` is a number."""

    def __init__(self, device: Device) -> None:
        self.device, self.handle = device, 0
        pointer = ctypes.c_void_p()
        with device.current():
            check(driver().cuStreamCreate(ctypes.byref(pointer), 1), "create a stream")
        self.handle = int(pointer.value or 0)

    def __del__(self) -> None:
        handle, self.handle = self.handle, 0
        if handle and self.device.context:
            with self.device.current():
                driver().cuStreamDestroy_v2(ctypes.c_void_p(handle))

    def capture(self, work: Callable[[], None]) -> Graph:
        """What ``work`` enqueues here, as a graph to launch again and again; it is not run now.

        Raises:
            clarivid.BackendError: ``work`` did what no graph can hold, such as waiting for the device.
        """
        handle, graph, program = ctypes.c_void_p(self.handle), ctypes.c_void_p(), ctypes.c_void_p()
        cuda = driver()
        with self.device.current():
            check(cuda.cuStreamBeginCapture_v2(handle, 1), "begin to capture a stream")
            try:
                work()
            finally:
                result = cuda.cuStreamEndCapture(handle, ctypes.byref(graph))
            check(result, "capture a stream")
            try:
                check(
                    cuda.cuGraphInstantiateWithFlags(ctypes.byref(program), graph, ctypes.c_uint64(0)),
                    "make a graph",
                )
            finally:
                cuda.cuGraphDestroy(graph)
        return Graph(self, int(program.value or 0))

    def synchronise(self) -> None:
        """Waits for what was enqueued here."""
        with self.device.current():
            check(driver().cuStreamSynchronize(ctypes.c_void_p(self.handle)), "finish its work")


class Graph:
    """Work that was captured from a stream; what it reads and writes must be alive when it is launched."""

    def __init__(self, stream: Stream, handle: int) -> None:
        self.stream, self.handle = stream, handle

    def __del__(self) -> None:
        handle, self.handle = self.handle, 0
        if handle and self.stream.device.context:
            with self.stream.device.current():
                driver().cuGraphExecDestroy(ctypes.c_void_p(handle))

    def launch(self) -> None:
        """Enqueues all of it on its stream."""
        with self.stream.device.current():
            check(
                driver().cuGraphLaunch(ctypes.c_void_p(self.handle), ctypes.c_void_p(self.stream.handle)),
                "launch a graph",
            )


class Event:
    """A CUevent."""

    def __init__(self, device: Device) -> None:
        self.device, self.handle = device, 0
        pointer = ctypes.c_void_p()
        with device.current():
            check(driver().cuEventCreate(ctypes.byref(pointer), 0), "create an event")
        self.handle = int(pointer.value or 0)

    def __del__(self) -> None:
        handle, self.handle = self.handle, 0
        if handle and self.device.context:
            with self.device.current():
                driver().cuEventDestroy_v2(ctypes.c_void_p(handle))

    def record(self, stream: int) -> None:
        """Marks the end of what was enqueued on the stream with that handle so far."""
        with self.device.current():
            check(
                driver().cuEventRecord(ctypes.c_void_p(self.handle), ctypes.c_void_p(stream)),
                "record an event",
            )

    def milliseconds_since(self, start: Event) -> float:
        """Time between two events; waits for this one."""
        value = ctypes.c_float()
        with self.device.current():
            check(driver().cuEventSynchronize(ctypes.c_void_p(self.handle)), "wait for an event")
            check(
                driver().cuEventElapsedTime_v2(
                    ctypes.byref(value), ctypes.c_void_p(start.handle), ctypes.c_void_p(self.handle)
                ),
                "tell the time between events",
            )
        return value.value


class DevicePlane:
    """One plane of a picture, as PyTorch and CuPy know arrays of others."""

    def __init__(self, picture: DevicePicture, address: int, pitch: int, shape: tuple[int, int]) -> None:
        self._picture = picture  # keeps the memory
        self._address, self._pitch, self._shape = address, pitch, shape

    @property
    def __cuda_array_interface__(self) -> dict[str, Any]:
        kind = self._picture.dtype
        return {
            "data": (self._address, False),
            "shape": self._shape,
            "strides": (self._pitch, kind.itemsize),
            "typestr": kind.str,
            "version": 3,
        }


class DevicePicture:
    """A 4:2:0 picture on the device, its planes one after the other.

    Args:
        width, height: in luma samples; odd is allowed.
        pix_fmt: ``yuv420p``, ``nv12``, ``yuv420p10le`` or ``p010le``.
        pitch: bytes from one luma row to the next; 0 for the next multiple of :data:`PITCH`. Planar chroma
            has half of it.
    """

    def __init__(self, device: Device, width: int, height: int, pix_fmt: str, pitch: int = 0) -> None:
        if pix_fmt not in _DESCRIPTION:
            raise InputError(f'pix_fmt "{pix_fmt}" is unknown: it is one of {", ".join(_DESCRIPTION)}')
        sample, interleaved, count = _DESCRIPTION[pix_fmt]
        row = width * sample
        chroma = (width + 1) // 2 * sample * interleaved
        pitch = pitch or -(-max(row, chroma) // PITCH) * PITCH
        pitches = [pitch] if count == 2 else [pitch // 2] * 2
        if pitch < max(row, chroma) or min(pitches) < chroma or pitch % sample or pitches[0] % sample:
            raise InputError(f"a pitch of {pitch} bytes does not hold {width} columns of {pix_fmt}")
        self.device, self.width, self.height, self.pix_fmt = device, width, height, pix_fmt
        self.dtype = np.dtype(np.uint8 if sample == 1 else np.uint16)
        heights = [height] + [(height + 1) // 2] * (count - 1)
        self._shapes = [(height, width)] + [(heights[1], chroma // sample)] * (count - 1)
        self.pitches = [pitch, *pitches]
        """Bytes between rows, of each plane."""
        offsets = np.cumsum([0] + [p * h for p, h in zip(self.pitches, heights, strict=True)])
        self._offsets = [int(offset) for offset in offsets[:-1]]
        self.memory = Memory(device, int(offsets[-1]))

    @property
    def planes(self) -> list[DevicePlane]:
        """What a session takes; they are valid as long as the picture lives."""
        return [
            DevicePlane(self, self.memory.address + offset, pitch, shape)
            for offset, pitch, shape in zip(self._offsets, self.pitches, self._shapes, strict=True)
        ]

    @property
    def bytes_used(self) -> int:
        """Bytes of all samples, without what fills rows up."""
        return sum(rows * columns * self.dtype.itemsize for rows, columns in self._shapes)

    def _views(self, data: NDArray[np.uint8]) -> list[NDArray[np.uint8]]:
        ends = [*self._offsets[1:], self.memory.size]
        return [
            data[start:end].reshape(-1, pitch)
            for start, end, pitch in zip(self._offsets, ends, self.pitches, strict=True)
        ]

    def upload(self, planes: Sequence[Plane], fill: int = 0) -> None:
        """Copies planes of the right shape and type; the bytes between rows become ``fill``."""
        data = np.full(self.memory.size, fill, np.uint8)
        for view, plane, shape in zip(self._views(data), planes, self._shapes, strict=True):
            if plane.shape != shape or plane.dtype != self.dtype:
                raise InputError(f"a plane is {plane.dtype} {plane.shape}, not {self.dtype} {shape}")
            view[:, : shape[1] * self.dtype.itemsize] = np.ascontiguousarray(plane).view(np.uint8)
        self.memory.upload(data)

    def fill(self, value: int) -> None:
        """Sets every byte, those between rows too."""
        self.memory.upload(np.full(self.memory.size, value, np.uint8))

    def download(self) -> list[Plane]:
        """The planes, without what lies between rows."""
        data = self.memory.download()
        size = self.dtype.itemsize
        return [
            np.ascontiguousarray(view[:, : shape[1] * size]).view(self.dtype)
            for view, shape in zip(self._views(data), self._shapes, strict=True)
        ]

    def between_rows(self) -> NDArray[np.uint8]:
        """The bytes that belong to no sample; nobody may write them."""
        data = self.memory.download()
        size = self.dtype.itemsize
        return np.concatenate(
            [
                view[:, shape[1] * size :].ravel()
                for view, shape in zip(self._views(data), self._shapes, strict=True)
            ]
        )


__all__ = [
    "PITCH",
    "Device",
    "DevicePicture",
    "DevicePlane",
    "Event",
    "Graph",
    "Memory",
    "Stream",
    "check",
    "driver",
]
