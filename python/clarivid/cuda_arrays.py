# SPDX-License-Identifier: BSD-2-Clause
"""Arrays in CUDA memory that own it, and the order of work between streams of several libraries.

Nothing here makes the host wait but :meth:`DeviceArray.to_host`, and freeing memory that was lent to another
stream than its own. A stream is a number as DLPack has it: the handle of a CUstream, 1 for the legacy default
stream, 2 for the thread's.
"""

from __future__ import annotations

import ctypes
import operator
import sys
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from clarivid import _core
from clarivid.arrays import NO_SYNCHRONISATION, View
from clarivid.cuda import PITCH, Device, Stream, check, check_allocation, driver
from clarivid.errors import InputError

LEGACY = 1  # CU_STREAM_LEGACY: waits for all blocking streams, and they for it
_ATTRIBUTE_CONTEXT, _ATTRIBUTE_ORDINAL = 1, 9  # CUpointer_attribute
_POOLS = 115  # CU_DEVICE_ATTRIBUTE_MEMORY_POOLS_SUPPORTED
_NO_TIMING = 2  # CU_EVENT_DISABLE_TIMING
_CUDA = 2  # kDLCUDA

_devices: dict[int, Device] = {}  # by context
_lock = threading.Lock()


class _Lent(Device):
    """A context that somebody else made, and keeps."""

    def __init__(self, index: int, context: int) -> None:
        self._device = ctypes.c_int(index)
        self.index, self.context = index, context

    def close(self) -> None:
        """Nothing: it is not ours."""


def _attribute(address: int, number: int, kind: Any) -> int | None:
    value = kind()
    check(driver().cuInit(0), "start")
    result = driver().cuPointerGetAttribute(ctypes.byref(value), number, ctypes.c_uint64(address))
    return None if result else value.value


def ordinal(address: int) -> int:
    """The number of the GPU that an address belongs to.

    Raises:
        clarivid.InputError: to none.
        clarivid.BackendError: there is no driver.
    """
    number = _attribute(address, _ATTRIBUTE_ORDINAL, ctypes.c_int)
    if number is None:
        raise InputError(f"address 0x{address:x} is not in CUDA memory of this process")
    return number


def device_of(view: View) -> Device:
    """The context that an array's memory belongs to: the GPU's primary one where the driver names none."""
    assert view.device is not None
    context = _attribute(view.address, _ATTRIBUTE_CONTEXT, ctypes.c_void_p)  # none: from a pool
    return device_at(view.device, context)


def device_at(index: int, context: int | None = None) -> Device:
    """One object for each context; None is the GPU's primary one."""
    with _lock:
        if context in _devices:
            return _devices[context]
        primary = next((d for d in _devices.values() if d.index == index and not isinstance(d, _Lent)), None)
        if primary is None:
            primary = Device(index)
            _devices[primary.context] = primary
        if context is None or context == primary.context:
            return primary
        return _devices.setdefault(context, _Lent(index, context))


@dataclass(frozen=True)
class Order:
    """The stream that a caller orders its work by; ``keeper`` keeps it alive.

    ``asked``: it is the arrays' own library that named it, so that memory which this library frees later is
    not used again before the stream has passed.
    """

    stream: int
    keeper: Any
    asked: bool = False


def order(stream: Any, arrays: Sequence[Any], index: int) -> Order:
    """What a ``stream=`` argument means for arrays on GPU ``index``.

    Raises:
        clarivid.InputError: it is no stream.
    """
    if stream is None:
        return _current(arrays, index)
    handle = _handle(stream)
    if handle is None or handle < 0:
        raise InputError(
            f"stream={stream!r} is no stream: give one of PyTorch or CuPy, the address of a CUstream, or "
            "None for the current one of the arrays' library"
        )
    return Order(handle or LEGACY, stream)


def _handle(stream: Any) -> int | None:
    if isinstance(stream, bool):
        return None
    protocol = getattr(stream, "__cuda_stream__", None)  # CUDA Python's: (version, handle)
    if protocol is not None:
        return int((protocol() if callable(protocol) else protocol)[1])
    for name in ("cuda_stream", "ptr", "handle"):  # PyTorch, CuPy, clarivid.cuda
        value = getattr(stream, name, None)
        if isinstance(value, int):
            return value
    try:
        return operator.index(stream)
    except TypeError:
        return None


def _current(arrays: Sequence[Any], index: int) -> Order:
    for array in arrays:
        if isinstance(array, DeviceArray):
            return Order(array.stream, array, asked=True)
        library = type(array).__module__.partition(".")[0]
        module = sys.modules.get(library)
        if module is None or library not in ("torch", "cupy"):
            continue
        if library == "torch":
            found = module.cuda.current_stream(index)
            return Order(int(found.cuda_stream) or LEGACY, found, asked=True)
        with module.cuda.Device(index):
            found = module.cuda.get_current_stream()
        return Order(int(found.ptr) or LEGACY, found, asked=True)
    return Order(LEGACY, None)


def wait(device: Device, waiter: int, done: int) -> None:
    """Makes stream ``waiter`` wait for what stream ``done`` was given so far; the host does not."""
    if waiter == done:
        return
    event = ctypes.c_void_p()
    cuda = driver()
    with device.current():
        check(cuda.cuEventCreate(ctypes.byref(event), _NO_TIMING), "create an event")
        try:
            check(cuda.cuEventRecord(event, ctypes.c_void_p(done)), "record an event")
            check(cuda.cuStreamWaitEvent(ctypes.c_void_p(waiter), event, 0), "make a stream wait")
        finally:
            cuda.cuEventDestroy_v2(event)  # the device keeps it until it has passed


class Marks:
    """Objects that are kept until a stream has passed the place where they were handed over."""

    def __init__(self, device: Device, stream: Stream) -> None:
        self._device, self._stream = device, stream
        self._kept: list[tuple[Any, Any]] = []

    def keep(self, views: Sequence[Any]) -> None:
        """Keeps arrays of others until the work so far is done, which the next call or :meth:`sweep` sees.

        Arrays of ours see to it themselves when they are freed.
        """
        self.sweep()
        foreign = [
            view for view in views if isinstance(view, View) and not isinstance(view.owner, DeviceArray)
        ]
        if foreign:
            event = self._device.event()
            event.record(self._stream.handle)
            self._kept.append((event, foreign))

    def sweep(self) -> None:
        """Lets go of what is done."""
        with self._device.current():
            while self._kept and driver().cuEventQuery(ctypes.c_void_p(self._kept[0][0].handle)) == 0:
                self._kept.pop(0)


class _Block:
    """Device memory that belongs to a stream: it is given back in the stream's order.

    Where others were lent it on streams of their own, which nobody here can follow, the host waits for the
    device before it is freed.
    """

    def __init__(self, device: Device, size: int, order_of: Order) -> None:
        self.device, self.size, self.address = device, size, 0
        self.stream, self._keeper = order_of.stream, order_of.keeper
        self.lent = False
        self._pooled = bool(device.attribute(_POOLS))
        pointer, cuda = ctypes.c_uint64(), driver()
        with device.current():
            if self._pooled:
                result = cuda.cuMemAllocAsync(
                    ctypes.byref(pointer), ctypes.c_size_t(size), ctypes.c_void_p(self.stream)
                )
            else:
                result = cuda.cuMemAlloc_v2(ctypes.byref(pointer), ctypes.c_size_t(size))
        advice = "let go of frames that are done with, or take smaller pictures"
        check_allocation(result, device, size, advice, " for a result")
        self.address = pointer.value

    def __del__(self) -> None:
        address, self.address = self.address, 0
        if not address or sys.is_finalizing():
            return
        cuda = driver()
        with self.device.current():
            if self.lent:
                cuda.cuCtxSynchronize()
            if self._pooled:
                cuda.cuMemFreeAsync(ctypes.c_uint64(address), ctypes.c_void_p(self.stream))
            else:
                cuda.cuMemFree_v2(ctypes.c_uint64(address))


class DeviceArray:
    """A plane in CUDA memory that clarivid allocated: rows at a pitch of whole :data:`clarivid.cuda.PITCH`.

    ``torch.from_dlpack(array)`` and ``cupy.from_dlpack(array)`` give a tensor on the same memory, without a
    copy, which keeps it; ``__cuda_array_interface__`` does so too. Nothing that clarivid does later writes to
    it: every call makes new ones.

    It was written in the order of :attr:`stream`. A consumer on another stream is made to wait, which DLPack
    and version 3 of ``__cuda_array_interface__`` see to. The memory is given back in the order of that stream
    when nothing holds it any more; if it was handed to another stream, the host waits for the device first.

    Attributes:
        shape: rows and samples.
        dtype: numpy's uint8 or uint16.
        strides: in bytes.
        stream: the CUstream whose order it belongs to, 1 for the legacy default stream.
    """

    def __init__(self, block: _Block, offset: int, shape: tuple[int, int], pitch: int, kind: str) -> None:
        self._block, self._offset = block, offset
        self.shape, self.dtype = shape, np.dtype(kind)
        self.strides = (pitch, self.dtype.itemsize)
        self.stream = block.stream

    def __repr__(self) -> str:
        return f"<DeviceArray {self.shape[0]}x{self.shape[1]} {self.dtype} on GPU {self.device}>"

    @property
    def device(self) -> int:
        """Number of the GPU."""
        return self._block.device.index

    @property
    def ndim(self) -> int:
        """2."""
        return 2

    @property
    def nbytes(self) -> int:
        """Bytes of its samples, without what fills rows up."""
        return self.shape[0] * self.shape[1] * self.dtype.itemsize

    def view(self) -> View:
        """For whoever enqueues on :attr:`stream` or has waited for it."""
        address = self._block.address + self._offset
        return View(address, self.shape, self.strides, self.dtype.name, self.device, False, self)

    def lend(self) -> None:
        """It is read on another stream than its own: whoever frees the memory waits for the device first."""
        self._block.lent = True

    @property
    def __cuda_array_interface__(self) -> dict[str, Any]:
        self.lend()  # to a stream that is not told
        return {**self.view().__cuda_array_interface__, "stream": self.stream}

    def __dlpack_device__(self) -> tuple[int, int]:
        return (_CUDA, self.device)

    def __dlpack__(
        self,
        *,
        stream: int | None = None,
        max_version: tuple[int, int] | None = None,
        dl_device: tuple[int, int] | None = None,
        copy: bool | None = None,
    ) -> Any:
        """A capsule on the same memory.

        Args:
            stream: where the consumer works, which is made to wait for this array's: None or 1 for the legacy
                default stream, 2 for the thread's, -1 for no waiting, else a CUstream.
            max_version: the consumer's version of DLPack; from (1, 0) on the capsule tells its version.

        Raises:
            BufferError: a copy, or another device, is asked for.
        """
        if copy:
            raise BufferError("a DeviceArray is handed over without a copy: copy it on the consumer's side")
        if dl_device is not None and tuple(dl_device) != self.__dlpack_device__():
            raise BufferError(f"a DeviceArray on GPU {self.device} is handed over there: see to_host()")
        if stream is None:
            stream = LEGACY
        if isinstance(stream, bool) or not isinstance(stream, int) or stream == 0 or stream < -1:
            raise BufferError(f"stream={stream!r} is none that DLPack has for CUDA")
        if stream != NO_SYNCHRONISATION:
            wait(self._block.device, stream, self.stream)
        if stream != self.stream:
            self.lend()
        item = self.dtype.itemsize
        return _core.dlpack_export(
            self,
            self._block.address + self._offset,
            list(self.shape),
            [stride // item for stride in self.strides],
            code=1,
            bits=8 * item,
            device_type=_CUDA,
            device_id=self.device,
            read_only=False,
            versioned=max_version is not None and max_version[0] >= 1,
        )

    def __array__(self, *_: Any, **__: Any) -> NDArray[Any]:
        raise TypeError("a DeviceArray is in CUDA memory: copy it with to_host() before numpy reads it")

    def to_host(self) -> NDArray[Any]:
        """A copy in host memory; waits for :attr:`stream`."""
        return copy_to_host(self.view(), self._block.device, self.stream)


class _Copy2D(ctypes.Structure):
    """CUDA_MEMCPY2D."""

    _fields_ = (
        ("src_x", ctypes.c_size_t),
        ("src_y", ctypes.c_size_t),
        ("src_type", ctypes.c_uint),
        ("src_host", ctypes.c_void_p),
        ("src_device", ctypes.c_uint64),
        ("src_array", ctypes.c_void_p),
        ("src_pitch", ctypes.c_size_t),
        ("dst_x", ctypes.c_size_t),
        ("dst_y", ctypes.c_size_t),
        ("dst_type", ctypes.c_uint),
        ("dst_host", ctypes.c_void_p),
        ("dst_device", ctypes.c_uint64),
        ("dst_array", ctypes.c_void_p),
        ("dst_pitch", ctypes.c_size_t),
        ("width", ctypes.c_size_t),
        ("height", ctypes.c_size_t),
    )


_ON_HOST, _ON_DEVICE = 1, 2  # CUmemorytype


def _copy(
    device: Device,
    stream: int,
    rows: int,
    row_bytes: int,
    to: tuple[int, int, int],
    src: tuple[int, int, int],
) -> None:
    """Rows from (kind, address, pitch) to (kind, address, pitch), in the order of the stream."""
    what = _Copy2D(src_type=src[0], src_pitch=src[2], dst_type=to[0], dst_pitch=to[2])
    what.src_host, what.src_device = (src[1], 0) if src[0] == _ON_HOST else (None, src[1])
    what.dst_host, what.dst_device = (to[1], 0) if to[0] == _ON_HOST else (None, to[1])
    what.width, what.height = row_bytes, rows
    with device.current():
        check(driver().cuMemcpy2DAsync_v2(ctypes.byref(what), ctypes.c_void_p(stream)), "copy a plane")


def copy_to_host(view: View, device: Device, stream: int) -> NDArray[Any]:
    """A plane of two or three dimensions in host memory, after what was enqueued on the stream; waits."""
    result = np.empty(view.shape, view.type)
    row = result.nbytes // view.shape[0]
    source = (_ON_DEVICE, view.address, view.strides[0] if view.shape[0] > 1 else row)
    _copy(device, stream, view.shape[0], row, (_ON_HOST, result.ctypes.data, row), source)
    with device.current():
        check(driver().cuStreamSynchronize(ctypes.c_void_p(stream)), "finish its work")
    return result


def copy_to_device(plane: NDArray[Any], target: DeviceArray) -> None:
    """A plane of numpy's of the same shape and type, in the order of the target's stream; waits for it."""
    plane = np.ascontiguousarray(plane)
    device = target._block.device
    row = target.shape[1] * target.dtype.itemsize
    view = target.view()
    _copy(
        device,
        target.stream,
        target.shape[0],
        row,
        (_ON_DEVICE, view.address, target.strides[0]),
        (_ON_HOST, plane.ctypes.data, row),
    )
    with device.current():  # the source may go when this returns
        check(driver().cuStreamSynchronize(ctypes.c_void_p(target.stream)), "finish its work")


def allocate(
    device: Device, shapes: Sequence[tuple[int, int]], kind: str, order_of: Order
) -> tuple[DeviceArray, ...]:
    """Planes of one picture with anything in them, in one allocation, which the last of them frees."""
    item = np.dtype(kind).itemsize
    pitches = [-(-columns * item // PITCH) * PITCH for _, columns in shapes]
    offsets = [0]
    for (rows, _), pitch in zip(shapes, pitches, strict=True):
        offsets.append(offsets[-1] + rows * pitch)
    block = _Block(device, offsets[-1], order_of)
    return tuple(
        DeviceArray(block, offset, shape, pitch, kind)
        for offset, shape, pitch in zip(offsets, shapes, pitches, strict=False)
    )


__all__ = ["LEGACY", "DeviceArray", "Marks", "Order", "allocate", "device_at", "device_of", "order", "wait"]
