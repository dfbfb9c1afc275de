# SPDX-License-Identifier: BSD-2-Clause
"""Bundles with two sets of weights, and what lies between them: ``sharpness``.

Weights are blended in weight space, ``w = (1 - s) first + s second`` in f32, as in Wang et al., "ESRGAN:
Enhanced Super-Resolution Generative Adversarial Networks" (ECCV Workshops 2018, section 3.4) and "Deep
Network Interpolation for Continuous Imagery Effect Transition" (CVPR 2019). That works where one set was
trained on from the other. csrc/core/blend.cpp does the same when a session is made, to the byte: engines are
found by the digest of the blended ONNX.

Files are not written anew: what is given back is the first file with other values in the places of its own. A
tensor that is the same in both sets stays as it is, and s = 1 gives the second's values.
"""

from __future__ import annotations

import hashlib
import json
import math
import shutil
import tempfile
import weakref
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from clarivid.errors import InputError, ModelError
from clarivid.models import (
    CARD,
    ONNX,
    ONNX_HALF,
    PERCEPTUAL,
    PERCEPTUAL_ONNX,
    PERCEPTUAL_WEIGHTS,
    WEIGHTS,
    Model,
    verify_model,
)

_FLOAT: np.dtype[Any] = np.dtype("<f4")
_HALF: np.dtype[Any] = np.dtype("<f2")
_TYPES = {1: _FLOAT, 10: _HALF}  # TensorProto.DataType
Span = tuple[int, int]  # from, to: within a file


@dataclass(frozen=True)
class BlendedModel(Model):
    """A bundle at a sharpness above 0: ``folder`` holds its blended files, as long as this object lives;
    ``bundle`` is the folder of the bundle, which the library opens."""

    bundle: Path
    blend: float

    @property
    def source(self) -> Path:
        """The bundle's folder."""
        return self.bundle

    @property
    def sharpness(self) -> float:
        """What its weights were blended with."""
        return self.blend


def check_sharpness(model: Model, sharpness: float) -> float:
    """``sharpness`` as the library takes it: the nearest f32.

    Raises :class:`InputError` when it is not in 0..1, :class:`ModelError` when it is above 0 and the model
    has one set of weights only.
    """
    if not 0 <= sharpness <= 1:  # NaN too
        raise InputError(f"sharpness={sharpness:g} is not in 0..1")
    value = float(np.float32(sharpness))
    if value and not model.has_sharpness:
        raise ModelError(
            f"model {model.name} has one set of weights, and sharpness={sharpness:g} mixes two: leave it "
            "out, or take a bundle whose card has a \"perceptual\" set ('clarivid models list' tells)"
        )
    return value


def sharpness_text(sharpness: float) -> str:
    """The shortest decimal that is the same f32 again, as the library's messages have it."""
    return np.format_float_positional(np.float32(sharpness), trim="-")


def sharpness_option(model: Model) -> str:
    """ " --sharpness 0.5", for commands about a model as it is; nothing at 0."""
    return f" --sharpness {sharpness_text(model.sharpness)}" if model.sharpness else ""


def blended(model: Model, sharpness: float) -> Model:
    """The model at that sharpness: itself at 0, else one whose files lie in a temporary folder.

    Raises as :func:`check_sharpness` and :func:`blend_onnx`; :class:`DigestError` when the bundle is damaged.
    """
    value = check_sharpness(model, sharpness)
    if not value:
        return model
    verify_model(model)
    read = {name: (model.folder / name).read_bytes() for name in model.files}
    what = f"model {model.name}"
    made = {ONNX: blend_onnx(read[ONNX], read[PERCEPTUAL_ONNX], value, what)}
    if ONNX_HALF in read:
        made[ONNX_HALF] = renew_twin(read[ONNX_HALF], read[ONNX], made[ONNX], what)
    if WEIGHTS in read:
        made[WEIGHTS] = blend_safetensors(read[WEIGHTS], read[PERCEPTUAL_WEIGHTS], value, what)
    card: dict[str, Any] = {key: entry for key, entry in model.card.items() if key != PERCEPTUAL}
    card["files"] = {name: {"sha256": hashlib.sha256(data).hexdigest()} for name, data in made.items()}
    folder = Path(tempfile.mkdtemp(prefix="clarivid-blend-"))
    found = BlendedModel(folder, card, model.source, value)
    weakref.finalize(found, shutil.rmtree, folder, ignore_errors=True)
    for name, data in made.items():
        (folder / name).write_bytes(data)
    (folder / CARD).write_text(json.dumps(card), "utf-8")
    return found


def blend_onnx(first: bytes, second: bytes, sharpness: float, what: str = "the model") -> bytes:
    """The ONNX file ``first`` with the weights of ``second``, of the same graph, blended into its own.
    Weights of fp16 are blended in f32 and rounded.

    Raises :class:`ModelError` when the two are not files of one net: nodes, ends, operators, or the names,
    types and shapes of weights differ.
    """
    a, b = _read_net(first, what), _read_net(second, what)
    _check_same_graph(a, b, what)
    out = bytearray(first)
    for name, tensor in a.tensors.items():
        other = b.tensors[name]
        if tensor.values is None or other.values is None:
            if tensor.whole != other.whole:
                raise _different(
                    what,
                    f'"{name}" ({tensor.text()}) differs, and is not weights in fp32 or fp16 within the file',
                )
        elif not np.array_equal(tensor.values.view(np.uint8), other.values.view(np.uint8)):
            _store(out, tensor, _mixed(tensor.values, other.values, sharpness))
    return bytes(out)


def renew_twin(twin: bytes, first: bytes, now: bytes, what: str = "the model") -> bytes:
    """The fp16 twin of ``now``, which was blended from ``first``: ``twin``, that of ``first``, with the
    weights in which the two differ taken from ``now``, and rounded. Raises as :func:`blend_onnx`."""
    before, after = _read_net(first, what).tensors, _read_net(now, what).tensors
    halves = _read_net(twin, what).tensors
    out = bytearray(twin)
    for name, tensor in after.items():
        if tensor.whole == before[name].whole:
            continue
        half = halves.get(name)
        if half is None or half.values is None or tensor.values is None or half.shape != tensor.shape:
            raise _different(what, f'weights "{name}" of {ONNX} are not in its fp16 twin')
        _store(out, half, tensor.values)
    return bytes(out)


def blend_safetensors(first: bytes, second: bytes, sharpness: float, what: str = "the model") -> bytes:
    """As :func:`blend_onnx`, of two ``.safetensors`` files."""
    a, b = _read_table(first, what), _read_table(second, what)
    if a.keys() != b.keys():
        raise _different(what, "their .safetensors files have other tensors")
    out = bytearray(first)
    for name, (entry, start, end) in a.items():
        other, other_start, other_end = b[name]
        if (entry["dtype"], entry["shape"]) != (other["dtype"], other["shape"]):
            raise _different(what, f'weights "{name}" have another type or shape in the second')
        mine, its = first[start:end], second[other_start:other_end]
        if mine == its:
            continue
        kind = {"F32": _FLOAT, "F16": _HALF}.get(entry["dtype"])
        if kind is None or len(mine) != len(its):
            raise _different(what, f'"{name}" differs, and is not weights in fp32 or fp16')
        mixed = _mixed(np.frombuffer(mine, kind), np.frombuffer(its, kind), sharpness)
        out[start:end] = mixed.astype(kind).tobytes()
    return bytes(out)


def _mixed(first: NDArray[Any], second: NDArray[Any], sharpness: float) -> NDArray[np.float32]:
    """In f32, each product rounded before the sum is."""
    s = np.float32(sharpness)
    if s >= 1:
        return second.astype(np.float32)
    a, b = first.astype(np.float32), second.astype(np.float32)
    mixed: NDArray[np.float32] = (np.float32(1) - s) * a + s * b
    return mixed


# ---- ONNX: the wire format of protobuf, as far as onnx.proto needs it


@dataclass(frozen=True)
class _Tensor:
    """An initialiser. ``values`` None: it is not f32 or f16 that lies in the file byte by byte."""

    whole: bytes
    type: int
    shape: tuple[int, ...]
    values: NDArray[Any] | None
    place: Span

    def text(self) -> str:
        return f"{'x'.join(map(str, self.shape)) or 'one value'} of type {self.type}"


@dataclass
class _Net:
    """``fixed`` is what has to be the same in both sets: all but weights, names and metadata."""

    fixed: list[tuple[str, bytes]] = field(default_factory=list)
    tensors: dict[str, _Tensor] = field(default_factory=dict)


def _fields(data: bytes, start: int, end: int) -> Iterator[tuple[int, int, int, int]]:
    """Number, wire type, and where the body is (wire type 2) or value and 0 (wire type 0)."""
    while start < end:
        key, start = _varint(data, start, end)
        number, wire = key >> 3, key & 7
        if wire == 0:
            value, start = _varint(data, start, end)
            yield number, wire, value, 0
            continue
        if wire == 2:
            length, start = _varint(data, start, end)
        elif wire in (1, 5):
            length = 8 if wire == 1 else 4
        else:
            raise ValueError
        if length > end - start or not number:
            raise ValueError
        yield number, wire, start, start + length
        start += length


def _varint(data: bytes, start: int, end: int) -> tuple[int, int]:
    value = 0
    for shift in range(0, 64, 7):
        if start >= end:
            raise ValueError
        value |= (data[start] & 0x7F) << shift
        start += 1
        if not data[start - 1] & 0x80:
            return value, start
    raise ValueError


def _read_net(data: bytes, what: str) -> _Net:
    net = _Net()
    try:
        # ModelProto { graph = 7; opset_import = 8; functions = 25 }
        for number, wire, start, end in _fields(data, 0, len(data)):
            if number in (8, 25):
                net.fixed.append((f"model {number}", data[start:end]))
            if number != 7 or wire != 2:
                continue
            # GraphProto { name = 2; initializer = 5; doc_string = 10 }
            for part, kind, begin, stop in _fields(data, start, end):
                if part == 5 and kind == 2:
                    name, tensor = _read_tensor(data, begin, stop)
                    net.tensors[name] = tensor
                elif part not in (2, 10):
                    net.fixed.append((f"graph {part}", data[begin:stop]))
    except (ValueError, UnicodeDecodeError):
        raise ModelError(f"{what} is truncated: install the bundle again") from None
    return net


def _read_tensor(data: bytes, start: int, end: int) -> tuple[str, _Tensor]:
    # TensorProto { dims = 1; data_type = 2; float_data = 4; name = 8; raw_data = 9 }
    name, kind, shape = "", 0, []
    floats = raw = (0, 0)
    for number, wire, begin, stop in _fields(data, start, end):
        if number == 1 and wire == 0:
            shape.append(begin)
        elif number == 1 and wire == 2:
            while begin < stop:
                size, begin = _varint(data, begin, stop)
                shape.append(size)
        elif number == 2 and wire == 0:
            kind = begin
        elif number == 4 and wire == 2:
            floats = begin, stop  # packed: little-endian f32, one after the other
        elif number == 8 and wire == 2:
            name = data[begin:stop].decode()
        elif number == 9 and wire == 2:
            raw = begin, stop
    place = floats if raw == (0, 0) and kind == 1 else raw
    values = None
    if kind in _TYPES and place[1] - place[0] == math.prod(shape) * _TYPES[kind].itemsize:
        values = np.frombuffer(data[slice(*place)], _TYPES[kind])
    return name, _Tensor(data[start:end], kind, tuple(shape), values, place)


def _check_same_graph(first: _Net, second: _Net, what: str) -> None:
    for name, tensor in first.tensors.items():
        other = second.tensors.get(name)
        if other is None:
            raise _different(what, f'the second has no weights "{name}"')
        if (tensor.shape, tensor.type) != (other.shape, other.type):
            raise _different(
                what, f'weights "{name}" are {tensor.text()} in the first and {other.text()} in the second'
            )
    for name in second.tensors.keys() - first.tensors.keys():
        raise _different(what, f'the first has no weights "{name}"')
    if first.fixed != second.fixed:
        raise _different(what, "their graphs have other nodes, inputs, outputs or operators")


def _store(out: bytearray, tensor: _Tensor, values: NDArray[Any]) -> None:
    out[slice(*tensor.place)] = values.astype(_TYPES[tensor.type]).tobytes()


def _different(what: str, why: str) -> ModelError:
    return ModelError(
        f"{what} has two sets of weights that are not of one net: {why}; export both from checkpoints of one "
        "architecture"
    )


# ---- safetensors: 8 bytes with the length of a JSON header, the header, the data


def _read_table(data: bytes, what: str) -> dict[str, tuple[dict[str, Any], int, int]]:
    """Name -> its entry and where its values are."""
    try:
        start = 8 + int.from_bytes(data[:8], "little")
        header = json.loads(data[8:start])
        header.pop("__metadata__", None)
        table = {}
        for name, entry in header.items():
            begin, end = (start + int(offset) for offset in entry["data_offsets"])
            if not (start <= begin <= end <= len(data) and {"dtype", "shape"} <= entry.keys()):
                raise ValueError
            table[name] = (entry, begin, end)
    except (ValueError, KeyError, TypeError, AttributeError):
        raise ModelError(f"{what} has damaged .safetensors files: install the bundle again") from None
    return table


__all__ = [
    "BlendedModel",
    "blend_onnx",
    "blend_safetensors",
    "blended",
    "check_sharpness",
    "renew_twin",
    "sharpness_option",
    "sharpness_text",
]
