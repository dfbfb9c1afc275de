# SPDX-License-Identifier: BSD-2-Clause
"""The net alone in TensorRT or TensorRT-RTX, from the bundle's fp16 ONNX file, where one of them is there.

Fold and unfold are left out, so the figure flatters it; nothing is built that the runtime refuses.
"""

from __future__ import annotations

import importlib
from typing import Any

import torch
from peers import Timing, time_frames

from clarivid.models import Model

MODULES = ("tensorrt", "tensorrt_rtx", "tensorrt_rtx_bindings")


def find() -> Any | None:
    """The Python module of the runtime; None when there is none."""
    for name in MODULES:
        try:
            return importlib.import_module(name)
        except (ImportError, OSError):
            continue
    return None


def time_net(trt: Any, bundle: Model, width: int, height: int, seconds: float) -> Timing:
    """Builds an engine for this size and GPU, and times it on random input.

    Raises :class:`RuntimeError` with what the runtime refused.
    """
    logger = trt.Logger(trt.Logger.ERROR)
    builder = trt.Builder(logger)
    network = builder.create_network(1 << int(trt.NetworkDefinitionCreationFlag.STRONGLY_TYPED))
    parser = trt.OnnxParser(network, logger)
    if not parser.parse((bundle.folder / "model_fp16.onnx").read_bytes()):
        raise RuntimeError(f"the ONNX parser: {parser.get_error(0)}")
    config, profile = builder.create_builder_config(), builder.create_optimization_profile()
    luma = bundle.layout == "y"
    size = (1, 1, height, width) if luma else (1, 6, height // 2, width // 2)
    shapes = {"input": size, "strength": (1,)}
    inputs = [network.get_input(i).name for i in range(network.num_inputs)]
    for name in inputs:
        profile.set_shape(name, shapes[name], shapes[name], shapes[name])
    config.add_optimization_profile(profile)
    plan = builder.build_serialized_network(network, config)
    if plan is None:
        raise RuntimeError("the builder gave no engine")
    engine = trt.Runtime(logger).deserialize_cuda_engine(plan)
    if engine is None:
        raise RuntimeError("the engine does not run on this GPU")
    context = engine.create_execution_context()
    scale = bundle.scale
    made = (1, 1, scale * height, scale * width) if luma else (1, 6 * scale * scale, *size[2:])
    out = torch.empty(made, dtype=torch.float16, device="cuda")
    context.set_tensor_address("output", out.data_ptr())
    if "strength" in inputs:
        one = torch.ones(1, dtype=torch.float16, device="cuda")
        context.set_tensor_address("strength", one.data_ptr())
    stream = torch.cuda.current_stream().cuda_stream

    def run(x: torch.Tensor, _: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        context.set_tensor_address("input", x.data_ptr())
        if not context.execute_async_v3(stream):
            raise RuntimeError("the engine failed")
        return out, out

    pictures = [torch.randn(shapes["input"], dtype=torch.float16, device="cuda") for _ in range(4)]
    return time_frames(run, [(picture, picture) for picture in pictures], seconds)
