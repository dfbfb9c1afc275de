# SPDX-License-Identifier: BSD-2-Clause
"""The builders of engines: TensorRT 10 and 11, and TensorRT for RTX, which are one API.

Networks are strongly typed: the precision is that of the ONNX file. TensorRT builds on the GPU that it builds
for. TensorRT for RTX builds for a compute capability, without any GPU; what is left is compiled when the
engine is first loaded, which takes seconds.
"""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any

from clarivid.engines.key import AMPERE, Identity, Profile
from clarivid.errors import BackendError, InputError, ModelError

RUNTIMES = {"tensorrt": ("tensorrt",), "tensorrt-rtx": ("tensorrt_rtx", "tensorrt_rtx_bindings")}
INSTALL = {
    "tensorrt": "install NVIDIA's TensorRT 10 or 11 with its Python package (NVIDIA's installation guide)",
    "tensorrt-rtx": "pip install 'clarivid[tensorrt]'",
}
Progress = Callable[[str, int, int], None]
"""Called with a phase, its steps done, and its steps."""


@dataclass(frozen=True)
class Options:
    """How to build; every field is part of the key.

    ``level`` 0..5: the higher, the longer the builder searches. ``workspace_mib`` bounds the device memory
    that a layer may take beside the tensors; 0 is the device's. ``version_compatible``: later releases of the
    same major run it too, at some cost in speed. ``hardware_compatible``: all GPUs from Ampere on run it, at
    a cost in speed. TensorRT for RTX has neither.
    """

    level: int = 3
    workspace_mib: int = 0
    version_compatible: bool = False
    hardware_compatible: bool = False

    def arguments(self) -> dict[str, Any]:
        """What is not the default, for the key."""
        plain = Options()
        return {name: value for name, value in vars(self).items() if value != getattr(plain, name)}


class Runtime:
    """One builder that is installed. Raises :class:`BackendError` when it is not."""

    def __init__(self, name: str) -> None:
        if name not in RUNTIMES:
            raise InputError(f'there is no runtime "{name}": it is one of {", ".join(RUNTIMES)}')
        self.name = name
        reasons = []
        for module in RUNTIMES[name]:
            try:
                self.trt: Any = importlib.import_module(module)
                break
            except Exception as error:  # a stub, or a library that misses its driver, raises anything
                reasons.append(f"{module}: {error}")
        else:
            raise BackendError(f"{name} is not installed ({'; '.join(reasons)}): {INSTALL[name]}")
        if not hasattr(self.trt, "Builder"):
            raise BackendError(f"{name} is not installed ({module} is an empty package): {INSTALL[name]}")
        self.version = str(self.trt.__version__)
        major = int(self.version.split(".")[0])
        if name == "tensorrt" and major not in (10, 11):
            raise BackendError(f"TensorRT {self.version} is installed; clarivid builds with 10 and 11")

    @property
    def cross_builds(self) -> bool:
        """Whether it builds for GPUs that are not there."""
        return self.name == "tensorrt-rtx"

    def capabilities(self) -> list[int]:
        """Compute capabilities that can be built for without the GPU; empty when it needs the GPU."""
        if not self.cross_builds:
            return []
        members = self.trt.ComputeCapability.__members__
        return sorted(int(name[2:]) for name in members if name.startswith("SM"))

    def target(self, device: Identity, options: Options) -> Identity:
        """For which devices an engine that is built for ``device`` is good.

        Raises :class:`InputError` when this runtime cannot build it here.
        """
        for wanted, option in (
            (options.version_compatible, "--version-compatible"),
            (options.hardware_compatible, "--hardware-compatible"),
        ):
            if wanted and self.cross_builds:
                raise InputError(
                    f"TensorRT for RTX {self.version} does not build with {option}: its engines are for its "
                    "own release and every GPU of a capability; leave it out, or take --runtime tensorrt"
                )
        if self.cross_builds:
            if device.sm not in self.capabilities():
                raise InputError(
                    f"TensorRT for RTX {self.version} does not build for {device.text()}; it does for "
                    + ", ".join(f"sm_{sm}" for sm in self.capabilities())
                    + ". There is TensorRT for that GPU, and backend=cuda for clarivid's own nets"
                )
            return Identity(device.sm)
        if not device.is_exact:
            raise InputError(
                f"TensorRT builds on the GPU that it builds for, and {device.text()} was asked for: run "
                "'clarivid engines build --for this' on such a machine, or use --runtime tensorrt-rtx"
            )
        if options.hardware_compatible and device.sm < AMPERE:
            raise InputError(
                f"--hardware-compatible engines are for GPUs from sm_{AMPERE} on, and {device.text()} is "
                "older: leave it out here"
            )
        return Identity(device.sm) if options.hardware_compatible else device

    def build(
        self,
        onnx: bytes,
        model: str,
        profile: Profile,
        target: Identity,
        options: Options,
        timing: bytes = b"",
        progress: Progress | None = None,
    ) -> tuple[bytes, bytes]:
        """The engine, and the timing cache that makes the next build shorter (b"" when there is none).

        Raises :class:`ModelError` when the builder refuses the net: the sentence has its own words.
        """
        trt = self.trt
        logger = _logger(trt)
        builder = trt.Builder(logger)
        # TensorRT 11 knows no other networks, and may know no flag for them.
        typed = getattr(trt.NetworkDefinitionCreationFlag, "STRONGLY_TYPED", None)
        network = builder.create_network(0 if typed is None else 1 << int(typed))
        parser = trt.OnnxParser(network, logger)
        if not parser.parse(onnx):
            errors = [parser.get_error(i).desc() for i in range(parser.num_errors)]
            raise ModelError(f"{self.name} cannot read the ONNX of {model}: {'; '.join(errors)}")
        config = builder.create_builder_config()
        config.builder_optimization_level = options.level
        config.profiling_verbosity = trt.ProfilingVerbosity.DETAILED
        if options.workspace_mib:
            config.set_memory_pool_limit(trt.MemoryPoolType.WORKSPACE, options.workspace_mib << 20)
        if options.version_compatible:
            config.set_flag(trt.BuilderFlag.VERSION_COMPATIBLE)
        if options.hardware_compatible:
            config.hardware_compatibility_level = trt.HardwareCompatibilityLevel.AMPERE_PLUS
        if self.cross_builds:
            config.num_compute_capabilities = 1
            config.set_compute_capability(getattr(trt.ComputeCapability, f"SM{target.sm}"), 0)
        self._set_profile(builder, config, network, profile)
        cache = None
        if not self.cross_builds:  # TensorRT for RTX measures nothing when it builds
            cache = config.create_timing_cache(timing)
            config.set_timing_cache(cache, ignore_mismatch=False)
        if progress is not None:
            config.progress_monitor = _monitor(trt, progress)
        with _said_on_stderr():
            engine = builder.build_serialized_network(network, config)
        if engine is None:
            raise ModelError(
                f"{self.name} {self.version} could not build {model} for {target.text()}: "
                + ("; ".join(logger.errors) or "it gave no reason")
            )
        return bytes(engine), bytes(cache.serialize()) if cache is not None else b""

    def _set_profile(self, builder: Any, config: Any, network: Any, profile: Profile) -> None:
        made = builder.create_optimization_profile()
        for i in range(network.num_inputs):
            tensor = network.get_input(i)
            if tensor.name == "input":
                made.set_shape(tensor.name, profile.least, profile.best, profile.largest)
        config.add_optimization_profile(made)


def installed() -> list[Runtime]:
    """The runtimes that can build here."""
    found = []
    for name in RUNTIMES:
        with suppress(BackendError):
            found.append(Runtime(name))
    return found


@contextmanager
def _said_on_stderr() -> Iterator[None]:
    """What the builder's inner compiler prints on stdout goes to stderr: --json must stay JSON."""
    sys.stdout.flush()
    kept = os.dup(1)
    os.dup2(2, 1)
    try:
        yield
    finally:
        os.dup2(kept, 1)
        os.close(kept)


def _logger(trt: Any) -> Any:
    class Logger(trt.ILogger):  # type: ignore[misc]
        """Keeps errors for our own sentence; the rest is the builder's talk."""

        def __init__(self) -> None:
            trt.ILogger.__init__(self)
            self.errors: list[str] = []

        def log(self, severity: Any, message: str) -> None:
            if severity in (trt.ILogger.ERROR, trt.ILogger.INTERNAL_ERROR):
                self.errors.append(message)

    return Logger()


def _monitor(trt: Any, progress: Progress) -> Any:
    class Monitor(trt.IProgressMonitor):  # type: ignore[misc]
        """Phases of the builder, nested; the outermost is shown."""

        def __init__(self) -> None:
            trt.IProgressMonitor.__init__(self)
            self.phases: dict[str, int] = {}

        def phase_start(self, phase_name: str, parent_phase: str | None, num_steps: int) -> None:
            if parent_phase is None:
                self.phases[phase_name] = num_steps
                progress(phase_name, 0, num_steps)

        def step_complete(self, phase_name: str, step: int) -> bool:
            if phase_name in self.phases:
                progress(phase_name, step + 1, self.phases[phase_name])
            return True

        def phase_finish(self, phase_name: str) -> None:
            if phase_name in self.phases:
                progress(phase_name, self.phases[phase_name], self.phases[phase_name])

    return Monitor()


__all__ = ["RUNTIMES", "Options", "Runtime", "installed"]
