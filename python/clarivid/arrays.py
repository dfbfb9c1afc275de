# SPDX-License-Identifier: BSD-2-Clause
"""Arrays of other libraries, taken without a copy: what they say of themselves.

An array is taken by the first of these that it speaks:

=============================  ============================================================================
``numpy.ndarray``              as it is
``__dlpack__``                 PyTorch, CuPy, JAX and others, in host memory and in CUDA memory
``__cuda_array_interface__``   CUDA memory: Numba and older CuPy
``__array_interface__``        host memory; and whatever else has the buffer protocol
=============================  ============================================================================
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from clarivid import _core
from clarivid.errors import InputError

_HOST = {1: "CPU", 3: "pinned host memory"}  # DLDeviceType
_CUDA = {2: "CUDA", 13: "CUDA managed memory"}
_ELSEWHERE = {4: "OpenCL", 7: "Vulkan", 8: "Metal", 10: "ROCm", 14: "oneAPI", 15: "WebGPU"}
NO_SYNCHRONISATION = -1  # __dlpack__(stream=-1): the consumer orders its work itself


class SupportsDlpack(Protocol):
    """An array that can be handed over without a copy, as the Python array API standard has it."""

    def __dlpack__(self, *, stream: int | None = None) -> Any: ...
    def __dlpack_device__(self) -> tuple[int, int]: ...


class SupportsCudaArray(Protocol):
    """An array in CUDA memory, as Numba's documentation has it."""

    @property
    def __cuda_array_interface__(self) -> dict[str, Any]: ...


Array = NDArray[Any] | SupportsDlpack | SupportsCudaArray


@dataclass(frozen=True, eq=False)
class View:
    """Where the samples of an array lie; keeps the array.

    ``strides`` are in bytes; ``type`` is numpy's name of the samples' type, empty for types that numpy has
    not; ``device`` is the number of the GPU, None in host memory.
    """

    address: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]
    type: str
    device: int | None
    read_only: bool
    owner: Any = field(repr=False)

    def __post_init__(self) -> None:
        """Axes of one element may have any stride: here they have that of a contiguous array."""
        if 1 in self.shape and 0 not in self.shape and self.type:
            settled, step = list(self.strides), self.item_bytes
            for axis in reversed(range(len(self.shape))):
                if self.shape[axis] == 1:
                    settled[axis] = step
                step = abs(settled[axis]) * self.shape[axis]
            object.__setattr__(self, "strides", tuple(settled))

    @property
    def item_bytes(self) -> int:
        """Bytes of a sample."""
        return np.dtype(self.type).itemsize

    @property
    def __cuda_array_interface__(self) -> dict[str, Any]:
        if self.device is None:
            raise AttributeError("an array in host memory has no __cuda_array_interface__")
        return {
            "data": (self.address, self.read_only),
            "shape": self.shape,
            "strides": self.strides,
            "typestr": np.dtype(self.type).str,
            "version": 3,
        }

    def numpy(self) -> NDArray[Any]:
        """The same memory as an array of numpy; host memory only."""
        if self.device is not None:
            raise InputError("an array in CUDA memory has to be copied before numpy can have it")
        array: NDArray[Any] = self.owner if isinstance(self.owner, np.ndarray) else self.owner.numpy()
        return array


def look(array: Any, which: str) -> View:
    """What an array is, without waiting for work on it and without a copy.

    Args:
        which: begins the sentence of an error, such as "plane 1".

    Raises:
        clarivid.InputError: it is no array, or lies where nobody here can read.
    """
    return _read(array, which, NO_SYNCHRONISATION)


def ready(array: Any, which: str, stream: int) -> tuple[View, int | None]:
    """As :func:`look`; what is enqueued on ``stream`` from now on sees what was written to the array.

    Args:
        stream: a CUstream as DLPack numbers it: 1 for the legacy default stream.

    Returns:
        The view, and a stream that the caller must make ``stream`` wait for, if there is one.
    """
    view = _read(array, which, stream)
    if isinstance(view.owner, _core.DlpackImport) or view.device is None:
        return view, None
    writer = view.owner.__cuda_array_interface__.get("stream")
    return view, None if writer is None else int(writer)


def _read(array: Any, which: str, stream: int) -> View:
    if isinstance(array, np.ndarray):
        return _of_numpy(array)
    if isinstance(array, View):
        return array
    if hasattr(array, "__dlpack_device__"):
        return _by_dlpack(array, which, stream)
    if getattr(array, "__cuda_array_interface__", None) is not None:
        return _by_cuda_interface(array, which)
    if hasattr(array, "__array_interface__") or _has_buffer(array):
        return _of_numpy(np.asarray(array))
    raise InputError(
        f"{which} is a {type(array).__name__}, which is no array: give one of numpy, PyTorch or CuPy, or "
        "another with __dlpack__ or __cuda_array_interface__"
    )


def _has_buffer(array: Any) -> bool:
    if isinstance(array, bytes | bytearray | str):  # nobody's picture
        return False
    try:
        memoryview(array)
    except TypeError:
        return False
    return True


def _of_numpy(array: NDArray[Any]) -> View:
    kind = array.dtype
    name = kind.name if kind.isnative and kind.kind in "biufc" else str(kind)
    return View(array.ctypes.data, array.shape, array.strides, name, None, not array.flags.writeable, array)


def _by_dlpack(array: Any, which: str, stream: int) -> View:
    try:
        kind, number = (int(value) for value in array.__dlpack_device__())
    except Exception as error:  # whatever another library raises
        raise InputError(f"{which} does not say where it lies: {error}") from error
    if kind not in _HOST and kind not in _CUDA:
        name = _ELSEWHERE.get(kind, f"device type {kind} of DLPack")
        raise InputError(f"{which} lies in memory of {name}: copy it to the host or to CUDA memory")
    options = {} if kind in _HOST else {"stream": stream}
    try:
        view = _core.DlpackImport(_capsule(array, options))
    except Exception as error:
        raise InputError(f"{which} cannot be handed over by DLPack: {error}") from error
    return View(
        view.address,
        tuple(view.shape),
        tuple(view.strides),
        view.type,
        number if kind in _CUDA else None,
        view.read_only,
        view,
    )


def _capsule(array: Any, options: dict[str, int]) -> Any:
    try:
        return array.__dlpack__(**options, max_version=(1, 0))
    except TypeError:  # from before DLPack 1.0
        return array.__dlpack__(**options)


def _by_cuda_interface(array: Any, which: str) -> View:
    try:
        interface = array.__cuda_array_interface__
        address, read_only = interface["data"]
        shape = tuple(int(length) for length in interface["shape"])
        kind = np.dtype(interface["typestr"])
        strides = interface.get("strides") or _contiguous(shape, kind.itemsize)
    except (KeyError, TypeError, ValueError) as error:
        raise InputError(f"{which} has a __cuda_array_interface__ that is none: {error!r}") from error
    from clarivid.cuda_arrays import ordinal

    name = kind.name if kind.isnative else str(kind)
    return View(
        int(address or 0),
        shape,
        tuple(int(stride) for stride in strides),
        name,
        ordinal(int(address or 0)) if 0 not in shape else 0,
        bool(read_only),
        array,
    )


def _contiguous(shape: Sequence[int], item: int) -> tuple[int, ...]:
    strides = []
    for length in reversed(shape):
        strides.append(item)
        item *= length
    return tuple(reversed(strides))


__all__ = ["Array", "SupportsCudaArray", "SupportsDlpack", "View", "look", "ready"]
