# SPDX-License-Identifier: BSD-2-Clause
"""Reads TensorFlow Lite files, as far as small convolutional nets need it.

A ``.tflite`` file is a FlatBuffer (schema: ``tensorflow/lite/schema/schema.fbs``, version 3). A FlatBuffer is
a tree of tables; a table begins with the signed distance back to its vtable, which holds one 16-bit offset a
field, 0 for a field that has its default::

    vtable   [size of vtable][size of table][offset of field 0][offset of field 1] ...
    table    [distance to vtable] ... fields ...          vectors and strings: [count] elements

So a reader needs no generated code: a field's number in the schema finds it.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt

from clarivid.errors import InputError

_SCHEMA = 3
_T = TypeVar("_T")
# schema.fbs, TensorType and BuiltinOperator: those that occur in the nets that we take.
_TYPES: dict[int, type[np.generic]] = {0: np.float32, 1: np.float16, 2: np.int32, 4: np.int64}
_CUSTOM = 32
_OPERATORS = {
    0: "ADD",
    1: "AVERAGE_POOL_2D",
    3: "CONV_2D",
    4: "DEPTHWISE_CONV_2D",
    6: "DEQUANTIZE",
    14: "LOGISTIC",
    18: "MUL",
    19: "RELU",
    23: "RESIZE_BILINEAR",
    40: "MEAN",
    117: "HARD_SWISH",
}


@dataclass(frozen=True)
class Tensor:
    """``data`` is None for what the net computes."""

    name: str
    shape: tuple[int, ...]
    data: npt.NDArray[Any] | None


@dataclass(frozen=True)
class Operator:
    """``kind`` is the name in the schema, or that of a custom operator; tensors are numbers, -1 for none.

    ``options`` holds what the schema's table of options has for the kinds that have one; ``custom`` the bytes
    of a custom operator's.
    """

    kind: str
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    options: dict[str, int] = field(default_factory=dict)
    custom: bytes = b""


@dataclass(frozen=True)
class Net:
    """The first (and only) graph of a file, operators in the order in which they run."""

    tensors: tuple[Tensor, ...]
    operators: tuple[Operator, ...]
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]


def read(path: Path) -> Net:
    """Read a net. Raises :class:`InputError` when the file is damaged or holds what this reader lacks."""
    try:
        data = path.read_bytes()
    except OSError as error:
        raise InputError(f"cannot read {path}: {error.strerror}") from error
    if data[4:8] != b"TFL3":
        raise InputError(f"{path} is no TensorFlow Lite file of schema {_SCHEMA}")
    try:
        return _net(_Table(data, _u32(data, 0)))
    except (struct.error, IndexError, UnicodeDecodeError, KeyError, ValueError) as error:
        raise InputError(f"{path} cannot be read as a TensorFlow Lite file: {error!r}") from error


def _u32(data: bytes, at: int) -> int:
    return int(struct.unpack_from("<I", data, at)[0])


@dataclass(frozen=True)
class _Table:
    data: bytes
    at: int

    def _field(self, number: int) -> int:
        """Where the field lies; 0 when it has its default."""
        vtable = self.at - struct.unpack_from("<i", self.data, self.at)[0]
        slot = 4 + 2 * number
        if slot >= struct.unpack_from("<H", self.data, vtable)[0]:
            return 0
        offset = struct.unpack_from("<H", self.data, vtable + slot)[0]
        return self.at + int(offset) if offset else 0

    def number(self, field_number: int, kind: str = "i", default: int = 0) -> int:
        at = self._field(field_number)
        return int(struct.unpack_from(f"<{kind}", self.data, at)[0]) if at else default

    def table(self, field_number: int) -> _Table | None:
        at = self._field(field_number)
        return _Table(self.data, at + _u32(self.data, at)) if at else None

    def _vector(self, field_number: int) -> tuple[int, int]:
        """The first element's place and the count."""
        at = self._field(field_number)
        if not at:
            return 0, 0
        at += _u32(self.data, at)
        return at + 4, _u32(self.data, at)

    def bytes(self, field_number: int) -> bytes:
        at, count = self._vector(field_number)
        if at + count > len(self.data):
            raise IndexError("a vector ends beyond the file")
        return self.data[at : at + count]

    def integers(self, field_number: int) -> tuple[int, ...]:
        at, count = self._vector(field_number)
        return struct.unpack_from(f"<{count}i", self.data, at)

    def tables(self, field_number: int) -> Iterator[_Table]:
        at, count = self._vector(field_number)
        for i in range(count):
            place = at + 4 * i
            yield _Table(self.data, place + _u32(self.data, place))


def _net(model: _Table) -> Net:
    if model.number(0, "I") != _SCHEMA:
        raise ValueError(f"schema {model.number(0, 'I')}")
    codes = [_kind(code) for code in model.tables(1)]
    buffers = [buffer.bytes(0) for buffer in model.tables(4)]
    graph = next(model.tables(2))
    return Net(
        tensors=tuple(_tensor(tensor, buffers) for tensor in graph.tables(0)),
        operators=tuple(_operator(operator, codes) for operator in graph.tables(3)),
        inputs=graph.integers(1),
        outputs=graph.integers(2),
    )


def _kind(code: _Table) -> str:
    # Operators beyond 127 came with a second, wider field.
    number = max(code.number(0, "b"), code.number(3))
    if number == _CUSTOM:
        return code.bytes(1).decode()
    return _OPERATORS.get(number, f"operator {number}")


def _tensor(tensor: _Table, buffers: list[bytes]) -> Tensor:
    shape = tensor.integers(0)
    raw = buffers[tensor.number(2, "I")]
    data = np.frombuffer(raw, _TYPES[tensor.number(1, "b")]).reshape(shape) if raw else None
    return Tensor(tensor.bytes(3).decode(), shape, data)


def _windowed(depthwise: bool) -> Callable[[_Table], dict[str, int]]:
    shift = 1 if depthwise else 0  # depth_multiplier comes before the activation

    def options(table: _Table) -> dict[str, int]:
        return {
            "valid": table.number(0, "b"),
            "stride_x": table.number(1),
            "stride_y": table.number(2),
            "activation": table.number(3 + shift, "b"),
            "dilation_x": table.number(4 + shift, default=1),
            "dilation_y": table.number(5 + shift, default=1),
        }

    return options


_OPTIONS: dict[str, Callable[[_Table], dict[str, int]]] = {
    "ADD": lambda table: {"activation": table.number(0, "b")},
    "AVERAGE_POOL_2D": lambda table: {"width": table.number(3), "height": table.number(4)},
    "CONV_2D": _windowed(False),
    "DEPTHWISE_CONV_2D": _windowed(True),
    "MEAN": lambda table: {"keep_dims": table.number(0, "b")},
    "MUL": lambda table: {"activation": table.number(0, "b")},
    "RESIZE_BILINEAR": lambda table: {
        "align_corners": table.number(2, "b"),
        "half_pixel": table.number(3, "b"),
    },
}


def _operator(operator: _Table, codes: list[str]) -> Operator:
    kind = codes[operator.number(0, "I")]
    table = operator.table(4)
    return Operator(
        kind,
        operator.integers(1),
        operator.integers(2),
        _OPTIONS[kind](table) if table and kind in _OPTIONS else {},
        operator.bytes(5),
    )


__all__ = ["Net", "Operator", "Tensor", "read"]
