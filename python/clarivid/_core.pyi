# SPDX-License-Identifier: BSD-2-Clause
from collections.abc import Callable, Sequence
from typing import Any, Protocol, overload

import numpy as np
from numpy.typing import NDArray

def version() -> str: ...
def probe(backend: str) -> str: ...

class SupportsCudaArray(Protocol):
    """An array in CUDA memory: tensors of PyTorch and CuPy, and others."""

    @property
    def __cuda_array_interface__(self) -> dict[str, Any]: ...

def dlpack_export(
    owner: object,
    address: int,
    shape: Sequence[int],
    strides: Sequence[int],
    *,
    code: int,
    bits: int,
    device_type: int,
    device_id: int,
    read_only: bool,
    versioned: bool,
) -> Any:
    """A capsule of DLPack for an array in memory that ``owner`` keeps; strides in elements."""

class DlpackImport:
    """An array that came by DLPack, held until this goes."""

    def __init__(self, capsule: object) -> None: ...
    @property
    def address(self) -> int: ...
    @property
    def shape(self) -> list[int]: ...
    @property
    def strides(self) -> list[int]: ...
    @property
    def type(self) -> str: ...
    @property
    def device(self) -> tuple[int, int]: ...
    @property
    def read_only(self) -> bool: ...
    def numpy(self) -> NDArray[Any]: ...

class CudaDevice:
    def __init__(self, context: int, stream: int = 0) -> None: ...

class Format:
    def __init__(
        self,
        width: int,
        height: int,
        pixel_format: int,
        range: int = 0,
        matrix: int = 0,
        siting: int = 0,
        memory: int = 0,
    ) -> None: ...
    @property
    def width(self) -> int: ...
    @property
    def height(self) -> int: ...

class RgbConverter:
    """Pictures of one format <-> R'G'B'. One thread at a time; the GIL is released."""

    def __init__(self, format: Format, dither: int = 0) -> None: ...
    def from_picture(self, planes: Sequence[NDArray[Any]]) -> NDArray[np.float32]: ...
    def to_picture(self, rgb: NDArray[np.float32], planes: Sequence[NDArray[Any]]) -> None: ...

class Model:
    def __init__(self, name: str, log: Callable[[int, str], None] | None = None) -> None: ...
    @property
    def name(self) -> str: ...
    @property
    def path(self) -> str: ...
    @property
    def task(self) -> str: ...
    @property
    def layout(self) -> int: ...
    @property
    def scale(self) -> int: ...
    @property
    def has_card(self) -> bool: ...
    @property
    def has_strength(self) -> bool: ...
    @property
    def has_sharpness(self) -> bool: ...

class Session:
    def __init__(
        self,
        model: Model,
        format: Format,
        backend: str = "auto",
        device: str = "",
        precision: int = 0,
        threads: int = 0,
        in_flight: int = 1,
        dither: int = 0,
        strength: float = 1.0,
        cuda: CudaDevice | None = None,
        tile: str = "auto",
        overlap: int = -1,
        sharpness: float = 0.0,
    ) -> None: ...
    @overload
    def process(self, input: Sequence[NDArray[Any]], output: Sequence[NDArray[Any]]) -> None: ...
    @overload
    def process(self, input: Sequence[SupportsCudaArray], output: Sequence[SupportsCudaArray]) -> None: ...
    @property
    def scale(self) -> int: ...
    @property
    def backend(self) -> str: ...
    @property
    def runtime(self) -> str: ...
    @property
    def precision(self) -> int: ...
    @property
    def threads(self) -> int: ...
    @property
    def output(self) -> Format: ...
    @property
    def device_stats(self) -> dict[str, int]: ...

class Inpainter:
    def __init__(
        self,
        net: Model | None,
        segmenter: Model | None,
        format: Format,
        *,
        backend: str = "auto",
        device: str = "",
        precision: int = 0,
        threads: int = 0,
        mesh_columns: int = 16,
        mesh_rows: int = 9,
        lookahead: int = 0,
        dilate: int = 4,
        feather: int = 4,
        show: int = 0,
        cuda: CudaDevice | None = None,
        log: Callable[[int, str], None] | None = None,
    ) -> None: ...
    @overload
    def submit(
        self, input: Sequence[NDArray[Any]], mask: NDArray[Any] | None, output: Sequence[NDArray[Any]]
    ) -> bool: ...
    @overload
    def submit(
        self,
        input: Sequence[SupportsCudaArray],
        mask: SupportsCudaArray | NDArray[Any] | None,
        output: Sequence[SupportsCudaArray],
    ) -> bool: ...
    def receive(self, flush: bool) -> list[Any] | None: ...
    @overload
    def paint(self, planes: Sequence[NDArray[Any]], mask: NDArray[Any]) -> None: ...
    @overload
    def paint(self, planes: Sequence[SupportsCudaArray], mask: SupportsCudaArray | NDArray[Any]) -> None: ...
    def reset(self) -> None: ...
    @property
    def pending(self) -> int: ...
    @property
    def stats(self) -> dict[str, Any]: ...
    @property
    def device_stats(self) -> dict[str, int]: ...
