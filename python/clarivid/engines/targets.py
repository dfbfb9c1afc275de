# SPDX-License-Identifier: BSD-2-Clause
"""Words of the command line into what an engine is built for: GPUs and picture sizes."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from typing import TYPE_CHECKING

from clarivid.engines.key import Identity, Profile
from clarivid.errors import BackendError, InputError
from clarivid.models import Model

if TYPE_CHECKING:
    from clarivid.cuda import Device

# What data centres and workstations call their cards -> compute capability (NVIDIA, "CUDA GPUs").
SKUS = {
    "t4": 75,
    "a100": 80,
    "a30": 80,
    "a10": 86,
    "a16": 86,
    "a40": 86,
    "rtx3090": 86,
    "l4": 89,
    "l40": 89,
    "l40s": 89,
    "rtx4090": 89,
    "h100": 90,
    "h200": 90,
    "b200": 100,
    "b300": 103,
    "rtx5090": 120,
    "rtxpro6000": 120,
}
SIZES = {
    "480p": (854, 480),
    "540p": (960, 540),
    "720p": (1280, 720),
    "1080p": (1920, 1080),
    "1440p": (2560, 1440),
    "2160p": (3840, 2160),
}
DYNAMIC = ((1920, 1080), (3840, 2160))  # best, largest; least is the model's

_CAPABILITY = re.compile(r"sm_?(\d{2,3})")
_SIZE = re.compile(r"(\d+)x(\d+)")
_ATTRIBUTES = {"multiprocessors": 16, "bus_width": 37, "l2_bytes": 38}  # CUdevice_attribute


def devices(words: str) -> list[Identity]:
    """ "this", or SKUs and capabilities with commas: "t4,sm_89". Doubles are dropped.

    :class:`InputError` for an unknown word, :class:`BackendError` when there is no GPU for "this".
    """
    found: list[Identity] = []
    for word in words.split(","):
        name = word.strip().lower()
        if name == "this":
            found += this_machine()
        elif match := _CAPABILITY.fullmatch(name):
            found.append(Identity(int(match[1])))
        elif name in SKUS:
            found.append(Identity(SKUS[name]))
        else:
            raise InputError(
                f'there is no GPU "{word}": it is "this", a capability such as sm_89, or one of '
                + ", ".join(SKUS)
            )
    return list(dict.fromkeys(found))


def this_machine() -> list[Identity]:
    """The kinds of GPU in this machine. Raises :class:`BackendError` when there is none, or no driver."""
    from clarivid.cuda import Device, device_count

    try:
        count = device_count()
    except BackendError as error:
        raise BackendError(f"{error}; or name the GPUs to build for: --for t4,l4 or --for sm_89") from None
    found = []
    for index in range(count):
        with closing(Device(index)) as device:
            found.append(_identity(device))
    if not found:
        raise BackendError("there is no GPU in this machine: name one, such as --for t4 or --for sm_89")
    return list(dict.fromkeys(found))


@contextmanager
def current(wanted: Identity) -> Iterator[None]:
    """Makes the first GPU of that kind the one that this thread's CUDA calls go to, TensorRT's too.

    Raises :class:`BackendError` when there is none.
    """
    from clarivid.cuda import Device, device_count

    for index in range(device_count()):
        with closing(Device(index)) as device:
            if _identity(device) == wanted:
                with device.current():
                    yield
                return
    raise BackendError(f"{wanted.text()} is not in this machine any more: see clarivid doctor")


def _identity(device: Device) -> Identity:
    values = {name: device.attribute(number) for name, number in _ATTRIBUTES.items()}
    memory = device.memory_info()[1] >> 20
    return Identity(device.capability, device.name, memory_mib=memory, **values)


def profiles(words: str, model: Model) -> list[Profile]:
    """ "720p,1080p", "1280x536" or "dynamic" (one engine for all sizes to 2160p), for a model's tensor.

    :class:`InputError` for another word, and for a picture smaller than the model takes.
    """
    found: list[Profile] = []
    for word in words.split(","):
        name = word.strip().lower()
        if name == "dynamic":
            least = tuple(int(model.card["input"].get(side, 32)) for side in ("min_width", "min_height"))
            best, largest = DYNAMIC
            found.append(Profile(_shape(least, model), _shape(best, model), _shape(largest, model)))
            continue
        if match := _SIZE.fullmatch(name):
            size = (int(match[1]), int(match[2]))
        elif name in SIZES:
            size = SIZES[name]
        else:
            raise InputError(
                f'there is no size "{word}": it is "dynamic", WIDTHxHEIGHT, or one of {", ".join(SIZES)}'
            )
        shape = _shape(size, model)
        found.append(Profile(shape, shape, shape))
    return list(dict.fromkeys(found))


def _shape(size: Sequence[int], model: Model) -> tuple[int, int, int, int]:
    """Of the tensor for a picture of ``size`` luma samples (width, height)."""
    needs = model.card["input"]
    for side, length in zip(("width", "height"), size, strict=True):
        least = int(needs.get(f"min_{side}", 1))
        if length < least:
            raise InputError(
                f"model {model.name} takes pictures from {least} samples of {side}, not {length}"
            )
    step = int(needs.get("multiple_of", 1))
    width, height = (-(-length // step) * step for length in size)
    channels, halved = {"yuv420_s2d": (6, 2), "yuv420_s2d_mask": (7, 2), "y": (1, 1), "rgb": (3, 1)}[
        model.layout
    ]
    return (1, channels, -(-height // halved), -(-width // halved))


__all__ = ["SIZES", "SKUS", "current", "devices", "profiles", "this_machine"]
