# SPDX-License-Identifier: BSD-2-Clause
"""Which layer departs first? Every tensor of a net's graph, in a runtime and exactly.

The bundle's ONNX is what runtimes are given; each of its tensors becomes an output, in a precision of choice.
The reference is the same graph evaluated in double precision (:mod:`clarivid.parity.graph`) with the weights
of ``weights.safetensors``, and its end is compared with :mod:`clarivid.nets`: so what is called right is
PyTorch. A bundle without such weights is its own reference, and the report says so.

Two errors are told of each layer: against the reference's run from the net's input on (largest error, SQNR),
and its own, against the exact layer on the inputs that the runtime itself gave it, divided by what its
rounding may amount to (:mod:`clarivid.parity.bounds`). The first layer whose own error is above 1 departs.

That tensors are outputs keeps a runtime from fusing across them, so what is compared is each layer's
arithmetic; what fusion makes of them is compared end to end.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from clarivid.errors import BackendError, ModelError
from clarivid.models import Model, verify_model
from clarivid.parity.cases import Case
from clarivid.parity.check import has_net
from clarivid.parity.gates import GATES
from clarivid.parity.planes import Picture
from clarivid.parity.reference import tensor_reference, torch_net
from clarivid.parity.tensors import Inputs, OpenVino, Variant, net_inputs

if TYPE_CHECKING:
    from clarivid.parity.bounds import Arithmetic
    from clarivid.parity.graph import Graph

SIZE = (62, 46)  # of the picture, luma samples
CHAIN = 1e-4  # how near the evaluated graph must come to PyTorch in f32, black to white being 1


@dataclass(frozen=True)
class Layer:
    """One tensor. ``max_error`` and ``sqnr_db`` (None: equal) against the whole reference; ``own_error``:
    the layer's own, of what is expected."""

    name: str
    op: str
    parameters: str  # the PyTorch module that its weights are of, or ""
    shape: tuple[int, ...]
    max_error: float
    sqnr_db: float | None
    own_error: float

    @property
    def departs(self) -> bool:
        """More than its arithmetic explains."""
        return not self.own_error <= 1


@dataclass(frozen=True)
class LayerReport:
    """``chain_error``: the evaluated graph's end against PyTorch; None without a net in PyTorch."""

    model: str
    runtime: str
    precision: str
    reference: str
    layers: list[Layer]
    chain_error: float | None
    notes: list[str] = field(default_factory=list)

    @property
    def first(self) -> Layer | None:
        """The first layer that departs."""
        return next((layer for layer in self.layers if layer.departs), None)

    @property
    def passed(self) -> bool:
        """No layer departs, and the graph is the net's."""
        return self.first is None and (self.chain_error is None or self.chain_error <= CHAIN)

    @property
    def sentence(self) -> str:
        """What was found."""
        first = self.first
        if first is not None:
            where = f" (weights of {first.parameters})" if first.parameters else ""
            return (
                f"{first.name} ({first.op}){where} departs first: its error is {first.own_error:.3g} times "
                f"what {self.precision} explains"
            )
        if self.chain_error is not None and self.chain_error > CHAIN:
            return (
                f"no layer departs from its own ONNX, but that graph ends {self.chain_error:.2g} from "
                "PyTorch: its nodes or constants are not the net's"
            )
        worst = max(self.layers, key=lambda layer: layer.own_error)
        return (
            f"no layer departs: the largest error is {worst.own_error:.2g} of what {self.precision} allows, "
            f"in {worst.name}"
        )

    def to_dict(self) -> dict[str, Any]:
        """For JSON."""
        return {
            "model": self.model,
            "runtime": self.runtime,
            "precision": self.precision,
            "reference": self.reference,
            "passed": self.passed,
            "first": None if self.first is None else self.first.name,
            "sentence": self.sentence,
            "chain_error": self.chain_error,
            "notes": self.notes,
            "layers": [{**asdict(layer), "departs": layer.departs} for layer in self.layers],
        }


def check_layers(
    bundle: Model, backend: str = "openvino", precision: str = "fp32", videos: Sequence[Path] = ()
) -> LayerReport:
    """Compare every layer of a bundle's net.

    :param backend: ``openvino``, or ``tensorrt``, which needs a GPU and builds an engine for the comparison.
    :param precision: the ONNX of that precision; in ``openvino``, fp32 and bf16 are computed from
        ``model.onnx``, as the backend does.
    :param videos: to calibrate int8 with.

    Raises :class:`BackendError` for a backend that shows no layers or cannot run here, :class:`ModelError`
    for a graph that cannot be evaluated.
    """
    verify_model(bundle)
    if backend in ("cuda", "cpu"):
        raise BackendError(
            f"backend {backend} computes the whole net in fused kernels and shows no layers: leave --layers "
            "away to compare it end to end, or compare layers with --backend openvino"
        )
    from clarivid.parity.graph import Graph

    weights = _weights(bundle)
    graph = Graph(bundle.onnx.read_bytes(), weights)
    variant = Variant(bundle, precision, videos, native=backend == "openvino")
    inputs = net_inputs(bundle, *probe())
    names = _shown(graph, variant.onnx)
    if backend == "openvino":
        runtime = f"OpenVINO on the CPU ({variant.hint} arithmetic)"
        got: Mapping[str, NDArray[np.float64]] = OpenVino(variant.onnx, variant.hint, names).run(inputs)
    else:
        from clarivid.parity.nvidia import run_with_outputs

        runtime, got = run_with_outputs(variant.onnx, bundle.name, names, inputs)
    reference, chain, notes = "its own ONNX", None, []
    if weights is None:
        notes.append("The bundle has no weights.safetensors: its ONNX is the reference.")
    else:
        reference = "PyTorch's weights"
    wanted = graph.run(inputs)
    if weights is not None:
        strength = float(inputs["strength"][0]) if "strength" in inputs else 1.0
        by_torch = tensor_reference(torch_net(bundle), inputs["input"], strength)
        chain = float(np.abs(by_torch - wanted[graph.outputs[0]].numpy()).max())
        notes.append(f"The evaluated graph ends within {chain:.1e} of clarivid.nets in PyTorch.")
    hidden = [node.name for node in graph.depending if node.output not in names]
    if hidden:
        notes.append(f"Not in the graph of {precision}, so not compared: {', '.join(hidden)}.")
    layers = _compare(graph, names, got, wanted, inputs, _arithmetic(variant, precision))
    return LayerReport(bundle.name, runtime, precision, reference, layers, chain, notes)


def probe() -> tuple[Picture, Case]:
    """A picture with edges, ramps, texture and noise."""
    width, height = SIZE
    random = np.random.default_rng(6)

    def plane(rows: int, columns: int, phase: float) -> NDArray[np.uint8]:
        y, x = np.mgrid[:rows, :columns]
        value = 0.5 + 0.2 * np.sin(x / 9 + y / 23 + phase) + 0.15 * ((x // 16 + y // 12) % 2)
        value += random.normal(0, 0.03, (rows, columns))
        return np.asarray(np.clip(16 + 219 * value, 0, 255), np.uint8)

    half = ((height + 1) // 2, (width + 1) // 2)
    picture = (plane(height, width, 0), plane(*half, 1), plane(*half, 2))
    return picture, Case("random", width, height, "yuv420p", False)


def _weights(bundle: Model) -> dict[str, NDArray[Any]] | None:
    if not has_net(bundle):
        return None
    torch_net(bundle)  # which raises what there is to say
    from safetensors.numpy import load_file

    tensors = load_file(bundle.folder / "weights.safetensors")
    return {name: value.astype(np.float32) for name, value in tensors.items()}


def _shown(graph: Graph, onnx: bytes) -> list[str]:
    """The tensors that the reference and the graph of a precision have in common, in order."""
    from clarivid.parity.graph import Graph as Other

    there = {node.output for node in Other(onnx).nodes}
    return [node.output for node in graph.depending if node.output in there]


def _arithmetic(variant: Variant, precision: str) -> Arithmetic:
    import torch

    from clarivid.parity.bounds import Arithmetic
    from clarivid.parity.graph import Graph

    scales: dict[str, torch.Tensor] = {}
    if precision == "int8":
        graph = Graph(variant.onnx)
        makers = {node.output: node for node in graph.nodes}
        for node in graph.nodes:
            if node.op != "DequantizeLinear":
                continue
            maker = makers.get(node.inputs[0])
            # A tensor's own name, or that of weights: "blocks.0.weight.int8" for "blocks.0.weight".
            name = maker.inputs[0] if maker is not None else node.inputs[0].removesuffix(".int8")
            scales[name] = graph.constants[node.inputs[1]]
    return Arithmetic(GATES[precision].roundoff, scales)


def _compare(
    graph: Graph,
    names: Sequence[str],
    got: Mapping[str, NDArray[np.float64]],
    wanted: Mapping[str, Any],
    inputs: Inputs,
    arithmetic: Arithmetic,
) -> list[Layer]:
    import torch

    from clarivid.parity.bounds import bound

    # What the runtime gave each node: its own tensors, where it shows them.
    values = {**wanted, **{name: torch.from_numpy(value) for name, value in got.items() if name}}
    values |= {name: torch.from_numpy(value).double() for name, value in inputs.items()}
    layers = []
    for node in graph.depending:
        if node.output not in names:
            # Hidden: what comes after it gets what this node makes of the runtime's tensors.
            values[node.output] = graph.evaluate(node, values)
            continue
        made, right = values[node.output], wanted[node.output]
        if made.shape != right.shape:
            raise ModelError(
                f"{node.name} is {tuple(made.shape)} in the runtime and {tuple(right.shape)} in the reference"
            )
        error = (made - right).abs()
        noise = float((error**2).mean())
        signal = float((right**2).mean())
        exact = graph.evaluate(node, values)
        own = (made - exact).abs() / bound(node, values, exact, arithmetic)
        finite = bool(torch.isfinite(made).all())
        layers.append(
            Layer(
                node.name,
                node.op,
                graph.parameters_of(node),
                tuple(made.shape),
                float(error.max()),
                float(10 * np.log10(max(signal, 1e-30) / noise)) if noise else None,
                float(own.max()) if finite else float("inf"),
            )
        )
    return layers


__all__ = ["CHAIN", "Layer", "LayerReport", "check_layers", "probe"]
