# SPDX-License-Identifier: BSD-2-Clause
"""What an engine depends on: nothing may be left out, or a wrong engine is served.

An engine is executable code for one GPU (or one kind of GPU) and one release of a runtime. Its key holds all
that went in; the SHA-256 of the key, as canonical JSON, names the entry in the cache.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from typing import Any

from clarivid.errors import InputError

SCHEMA = 1
AMPERE = 80  # compute capability of the first GPUs that run hardware-compatible engines, and have bf16
MADE_OF = "made_of"  # among the arguments of forms that no bundle holds: SHA-256 of the fp32 ONNX behind them
SHARPNESS = "sharpness"  # among the arguments, as text: what the ONNX was blended with, above 0
PREFIX = 16  # hexadecimal digits of the digest in a file's name


@dataclass(frozen=True)
class Identity:
    """The device that an engine is for.

    ``sm`` is the compute capability, 89 for 8.9. The other fields identify a SKU; they are empty (0) for an
    engine that any GPU of that capability may run, which only some runtimes build.
    """

    sm: int
    name: str = ""
    multiprocessors: int = 0
    memory_mib: int = 0
    bus_width: int = 0  # bits
    l2_bytes: int = 0

    @property
    def is_exact(self) -> bool:
        """Whether it is one SKU."""
        return bool(self.name)

    def text(self) -> str:
        """For people: "Tesla T4 (sm_75)", "any sm_89"."""
        return f"{self.name} (sm_{self.sm})" if self.is_exact else f"any sm_{self.sm}"


@dataclass(frozen=True)
class Profile:
    """Least, best and largest shape of the net's input, NCHW."""

    least: tuple[int, int, int, int]
    best: tuple[int, int, int, int]
    largest: tuple[int, int, int, int]

    def takes(self, shape: tuple[int, ...]) -> bool:
        """Whether a picture of that shape lies within."""
        return len(shape) == 4 and all(
            low <= size <= high for low, size, high in zip(self.least, shape, self.largest, strict=True)
        )

    def text(self) -> str:
        """For people, in positions of the tensor: "960x540", "32x32 .. 1920x1080"."""

        def size(shape: tuple[int, int, int, int]) -> str:
            return f"{shape[3]}x{shape[2]}"

        if self.least == self.largest:
            return size(self.best)
        return f"{size(self.least)} .. {size(self.largest)}, best at {size(self.best)}"


@dataclass(frozen=True)
class Key:
    """Everything that an engine depends on.

    ``onnx_sha256`` of the bytes that were built from (which fix the precision: networks are strongly typed);
    ``arguments`` that the builder was given, by name; ``runtime`` and its full ``runtime_version``.
    """

    model: str
    onnx_sha256: str
    precision: str
    profile: Profile
    runtime: str
    runtime_version: str
    device: Identity
    arguments: Mapping[str, Any] = field(default_factory=dict)

    def as_dict(self) -> dict[str, Any]:
        """As the sidecar holds it: JSON's own types only."""
        found: dict[str, Any] = json.loads(json.dumps({"schema": SCHEMA, **asdict(self)}))
        return found

    @property
    def digest(self) -> str:
        """SHA-256 of the canonical JSON (sorted, no blanks, ASCII), in hexadecimal."""
        return digest_of(self.as_dict())

    def is_of(self, bundle: Mapping[str, str]) -> bool:
        """Whether it was built from a bundle's ONNX (``bundle``: precision -> SHA-256), or from what was made
        of one; likewise."""
        if MADE_OF in self.arguments:
            return bool(bundle.get("fp32") == self.arguments[MADE_OF])
        return bundle.get(self.precision) == self.onnx_sha256

    @property
    def sharpness(self) -> float:
        """What the weights were blended with; 0: the first set of the bundle, or its only one."""
        return float(self.arguments.get(SHARPNESS, 0))

    @property
    def version_compatible(self) -> bool:
        """Whether later releases of the runtime's major run it too."""
        return bool(self.arguments.get("version_compatible"))

    @property
    def hardware_compatible(self) -> bool:
        """Whether every GPU from Ampere on runs it."""
        return bool(self.arguments.get("hardware_compatible"))

    def fits(self, gpu: Identity) -> bool:
        """Whether ``gpu`` runs it; the loader (csrc/backends/tensorrt/engine_files.cpp) thinks the same."""
        if self.hardware_compatible:
            return gpu.sm >= AMPERE
        return self.device == gpu if self.device.is_exact else self.device.sm == gpu.sm

    def runs_with(self, version: str) -> bool:
        """Whether release ``version`` of its runtime runs it; likewise."""
        if version == self.runtime_version:
            return True
        built, other = _numbers(self.runtime_version), _numbers(version)
        return self.version_compatible and built[:1] == other[:1] and built <= other

    def device_text(self) -> str:
        """For people: "Tesla T4 (sm_75)", "any sm_89", "any from sm_80"."""
        return f"any from sm_{AMPERE}" if self.hardware_compatible else self.device.text()

    @property
    def stem(self) -> str:
        """The name of the entry's files, without their suffix."""
        return f"{self.model}-{self.digest[:PREFIX]}"

    @staticmethod
    def from_dict(record: Mapping[str, Any]) -> Key:
        """The inverse of :meth:`as_dict`; :class:`InputError` when it is none."""
        try:
            if record["schema"] != SCHEMA:
                raise InputError(f"the key has schema {record['schema']}; this clarivid knows {SCHEMA}")
            values = {name: record[name] for name in (f.name for f in fields(Key))}
            shapes = {name: tuple(int(n) for n in shape) for name, shape in values["profile"].items()}
            values["profile"] = Profile(**shapes)  # type: ignore[arg-type]
            values["device"] = Identity(**values["device"])
            key = Key(**values)
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise InputError(f"the key is not one of an engine: {error!r}") from error
        if key.as_dict() != dict(record):
            raise InputError("the key has fields of other types than an engine's")
        return key


def _numbers(version: str) -> list[int]:
    return [int(part) if part.isdigit() else 0 for part in version.split(".")]


def digest_of(record: Mapping[str, Any]) -> str:
    """SHA-256 of canonical JSON."""
    text = json.dumps(record, sort_keys=True, separators=(",", ":"), ensure_ascii=True, allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()


def differences(wanted: Key, found: Key) -> list[str]:
    """What of ``found`` is not as wanted, a phrase each: "runtime_version is 10.1, not 10.2"."""
    a, b = wanted.as_dict(), found.as_dict()
    return [f"{name} is {b[name]}, not {a[name]}" for name in a if a[name] != b[name]]


__all__ = [
    "AMPERE",
    "MADE_OF",
    "PREFIX",
    "SCHEMA",
    "SHARPNESS",
    "Identity",
    "Key",
    "Profile",
    "differences",
    "digest_of",
]
