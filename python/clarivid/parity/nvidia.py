# SPDX-License-Identifier: BSD-2-Clause
"""Engines run through the runtimes' Python bindings, for what the library cannot run or does not show.

These are TensorRT for RTX, of which there are no headers to build a backend with, and layers. Only on a GPU.
No test has run this on hardware yet: the builder's half is tested, the rest follows the bindings' manual.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import ml_dtypes
import numpy as np
from numpy.typing import NDArray

from clarivid.cuda import Device
from clarivid.engines.key import Identity, Profile
from clarivid.engines.runtimes import Options, Runtime, installed
from clarivid.errors import BackendError, ModelError

Tensors = dict[str, NDArray[np.float64]]
# DataType's names -> numpy; TensorRT's own function for this refuses bf16
_TYPES: Mapping[str, Any] = {
    "FLOAT": np.float32,
    "HALF": np.float16,
    "BF16": ml_dtypes.bfloat16,
    "INT8": np.int8,
    "INT32": np.int32,
    "INT64": np.int64,
    "BOOL": np.bool_,
}


class Engine:
    """An engine on a device. Raises :class:`BackendError` when the runtime refuses it."""

    def __init__(self, runtime: Runtime, engine: bytes, device: Device) -> None:
        self._trt, self._device = runtime.trt, device
        errors: list[str] = []

        class Logger(self._trt.ILogger):  # type: ignore[name-defined,misc]
            """Keeps errors for our own sentence."""

            def __init__(self) -> None:
                runtime.trt.ILogger.__init__(self)

            def log(self, severity: Any, message: str) -> None:
                if severity in (runtime.trt.ILogger.ERROR, runtime.trt.ILogger.INTERNAL_ERROR):
                    errors.append(message)

        self._logger, self._errors = Logger(), errors
        with device.current():
            self._runtime = self._trt.Runtime(self._logger)
            self._engine = self._runtime.deserialize_cuda_engine(engine)
        if self._engine is None:
            raise BackendError(f"{runtime.name} {runtime.version} refuses the engine: {self._reason()}")

    def run(self, inputs: Mapping[str, NDArray[Any]]) -> Tensors:
        """Every output by name. Raises :class:`BackendError` when a shape does not fit or the run fails."""
        device, stream = self._device, self._device.stream()
        with device.current():
            context = self._engine.create_execution_context()
            if context is None:
                raise BackendError(f"the engine gives no context: {self._reason()}")
            names = [self._engine.get_tensor_name(i) for i in range(self._engine.num_io_tensors)]
            kinds = {name: _TYPES[self._engine.get_tensor_dtype(name).name] for name in names}
            ins = [n for n in names if self._engine.get_tensor_mode(n) == self._trt.TensorIOMode.INPUT]
            memory = {}
            for name in ins:
                value = np.ascontiguousarray(inputs[name].astype(kinds[name]))
                if not context.set_input_shape(name, value.shape):
                    raise BackendError(f"the engine does not take {name} of {value.shape}: {self._reason()}")
                memory[name] = device.memory(value.nbytes)
                memory[name].upload(value.view(np.uint8))
                context.set_tensor_address(name, memory[name].address)
            shapes = {n: tuple(context.get_tensor_shape(n)) for n in names if n not in ins}
            for name, shape in shapes.items():
                memory[name] = device.memory(max(1, int(np.prod(shape))) * np.dtype(kinds[name]).itemsize)
                context.set_tensor_address(name, memory[name].address)
            if not context.execute_async_v3(stream.handle):
                raise BackendError(f"the engine failed: {self._reason()}")
            stream.synchronise()
            return {
                name: memory[name].download().view(kinds[name]).reshape(shape).astype(np.float64)
                for name, shape in shapes.items()
            }

    def _reason(self) -> str:
        return "; ".join(self._errors) or "it gave no reason"


def this_gpu() -> tuple[Device, Identity]:
    """The first GPU. Raises :class:`BackendError` without a driver or GPU."""
    from clarivid.engines.targets import this_machine

    device = Device()
    return device, this_machine()[0]


def with_outputs(onnx: bytes, names: Sequence[str]) -> bytes:
    """The graph with these tensors as outputs, in order, before its own.

    Raises :class:`ModelError` when one of them has no type that ONNX can tell.
    """
    import onnx as library

    model = library.shape_inference.infer_shapes(library.load_from_string(onnx))
    graph = model.graph
    there = {output.name for output in graph.output}
    known = {value.name: value for value in graph.value_info}
    own = list(graph.output)
    del graph.output[:]
    for name in names:
        if name in there:
            continue
        if name not in known:
            raise ModelError(f"the type of tensor {name} is not known: it cannot be shown")
        graph.output.append(known[name])
    graph.output.extend(own)
    return bytes(model.SerializeToString())


def run_with_outputs(
    onnx: bytes, model: str, names: Sequence[str], inputs: Mapping[str, NDArray[Any]]
) -> tuple[str, Tensors]:
    """Build an engine that shows these tensors, and run it: what ran, and the tensors.

    Raises :class:`BackendError` without a GPU or a builder.
    """
    device, gpu = this_gpu()
    found = installed()
    if not found:
        raise BackendError(
            "neither TensorRT nor TensorRT for RTX is installed, and layers are shown by an engine that is "
            "built for it: run 'clarivid doctor'"
        )
    runtime, options = found[0], Options(level=1)
    shape = inputs["input"].shape
    profile = Profile(shape, shape, shape)
    engine, _ = runtime.build(
        with_outputs(onnx, names), model, profile, runtime.target(gpu, options), options
    )
    return f"{runtime.name} {runtime.version} on {gpu.text()}", Engine(runtime, engine, device).run(inputs)


__all__ = ["Engine", "run_with_outputs", "this_gpu", "with_outputs"]
