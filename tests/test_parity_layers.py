# SPDX-License-Identifier: BSD-2-Clause
"""clarivid parity --layers: the layer that is wrong is named, and no other."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper
from openvino import Core

from clarivid.errors import BackendError, ModelError
from clarivid.models import Model, find_model
from clarivid.nets.load import load_net
from clarivid.parity import cases, check
from clarivid.parity.bounds import Arithmetic, bound
from clarivid.parity.graph import Graph
from clarivid.parity.layers import CHAIN, LayerReport, check_layers, probe
from clarivid.parity.nvidia import with_outputs
from clarivid.parity.tensors import OpenVino, net_inputs
from conftest import Run
from sr_bundles import sr_bundle
from test_parity import record_digest

SHIPPED = ("game_x2", "lowrank_v1", "inpaint_v1_fast")


def departing(report: LayerReport) -> list[str]:
    return [layer.name for layer in report.layers if layer.departs]


def broken(root: Path, folder: Path, name: str, tensor: str, change: float) -> Model:
    """A copy of a bundle, one weight of whose ONNX was changed; PyTorch's are as they were."""
    if name == "gated":
        sr_bundle(folder, attention=True)
    else:
        shutil.copytree(root / "models" / name, folder)
    path = folder / "model.onnx"
    model = onnx.load(path)
    for found in model.graph.initializer:
        if found.name == tensor:
            value = numpy_helper.to_array(found).copy()
            value.flat[value.size // 2] += np.asarray(change, value.dtype)
            found.CopyFrom(numpy_helper.from_array(value, tensor))
            break
    else:
        raise AssertionError(tensor)
    onnx.save(model, path)
    record_digest(path)
    return find_model(folder)


@pytest.mark.parametrize("name", SHIPPED)
def test_the_evaluated_graph_is_the_net_in_pytorch(name: str) -> None:
    bundle = find_model(name)
    inputs = net_inputs(bundle, *probe())
    graph = Graph(bundle.onnx.read_bytes())
    with torch.no_grad():
        wanted = load_net(bundle)(torch.from_numpy(inputs["input"])).numpy()
    got = graph.run(inputs)[graph.outputs[0]].numpy()
    assert got.shape == wanted.shape
    assert np.abs(got - wanted).max() < 2e-6


@pytest.mark.parametrize(
    ("name", "precision"),
    [
        ("lowrank_v1", "fp32"),
        ("lowrank_v1", "fp16"),
        ("game_x2", "fp32"),
        ("game_x2", "bf16"),
        ("inpaint_v1_fast", "fp32"),
    ],
)
def test_no_layer_of_a_shipped_net_departs(name: str, precision: str) -> None:
    if precision == "bf16" and "BF16" not in Core().get_property("CPU", "OPTIMIZATION_CAPABILITIES"):
        with pytest.raises(BackendError, match="of this machine"):
            check_layers(find_model(name), "openvino", precision)
        return
    report = check_layers(find_model(name), "openvino", precision)
    assert departing(report) == []
    assert report.passed
    assert report.layers[-1].name == "output"
    assert report.chain_error is not None
    assert report.chain_error < 2e-6


@pytest.mark.parametrize(
    ("name", "tensor", "change", "layer"),
    [
        ("gated", "blocks.1.gate.up.bias", 1e-4, "blocks.1.gate.up"),
        ("game_x2", "tail.bias", 1e-5, "tail"),  # a four-hundredth of a code
        ("lowrank_v1", "layers.1.weight", 1e-3, "layers.1"),
    ],
)
def test_a_layer_with_a_wrong_weight_is_named_and_no_other(
    root: Path, tmp_path: Path, name: str, tensor: str, change: float, layer: str
) -> None:
    report = check_layers(broken(root, tmp_path / name, name, tensor, change))
    assert departing(report) == [layer]
    assert not report.passed
    assert layer in report.sentence
    assert tensor.rsplit(".", 1)[0] in report.sentence


def test_a_constant_that_pytorch_has_in_its_code_breaks_the_chain(root: Path, tmp_path: Path) -> None:
    report = check_layers(broken(root, tmp_path / "game_x2", "game_x2", "centre", 0.5))
    assert report.chain_error is not None
    assert report.chain_error > CHAIN
    assert not report.passed
    assert "from PyTorch" in report.sentence


def test_a_broken_layer_gives_its_name_and_exit_1(root: Path, tmp_path: Path, clarivid: Run) -> None:
    bundle = broken(root, tmp_path / "net", "lowrank_v1", "layers.0.bias", 0.01)
    out = tmp_path / "layers.json"
    done = clarivid("parity", str(bundle.folder), "--layers", "--out", str(out))
    assert done.returncode == 1, done.stderr
    assert "layers.0 (Conv) (weights of layers.0) departs first" in done.stdout
    record = json.loads(out.read_text())
    assert not record["passed"]
    assert record["layers"][0]["first"] == "layers.0"
    assert [layer["name"] for layer in record["layers"][0]["layers"]][:2] == ["layers.0", "layers.0.act"]


@pytest.mark.parametrize("backend", ["cuda", "cpu"])
def test_fused_kernels_say_that_they_show_no_layers(backend: str) -> None:
    with pytest.raises(BackendError, match=f"backend {backend} computes the whole net in fused kernels"):
        check_layers(find_model("lowrank_v1"), backend)


def community(path: Path) -> Model:
    """A bundle with an ONNX and no weights: what people bring along."""
    random = np.random.default_rng(1)
    weights = [random.normal(0, 0.2, shape).astype(np.float32) for shape in ((8, 3, 3, 3), (12, 8, 3, 3))]
    nodes = [
        helper.make_node("Conv", ["input", "w0"], ["a"], "first", pads=[1, 1, 1, 1]),
        helper.make_node("PRelu", ["a", "slope"], ["b"], "act"),
        helper.make_node("Conv", ["b", "w1"], ["c"], "second", pads=[1, 1, 1, 1]),
        helper.make_node("DepthToSpace", ["c"], ["output"], "shuffle", blocksize=2, mode="CRD"),
    ]
    slope = numpy_helper.from_array(np.full((8, 1, 1), 0.2, np.float32), "slope")
    constants = [numpy_helper.from_array(w, f"w{i}") for i, w in enumerate(weights)]
    sizes = {"input": ["n", 3, "h", "w"], "output": ["n", 3, "h2", "w2"]}
    ends = [helper.make_tensor_value_info(n, TensorProto.FLOAT, s) for n, s in sizes.items()]
    graph = helper.make_graph(nodes, "net", ends[:1], ends[1:], [slope, *constants])
    path.mkdir()
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    onnx.save(model, path / "model.onnx")
    card = {
        "schema": 1,
        "name": "community_x2",
        "task": "sr",
        "layout": "rgb",
        "scale": 2,
        "files": {"model.onnx": {}},
        "input": {"multiple_of": 1, "min_width": 16, "min_height": 16},
    }
    (path / "card.json").write_text(json.dumps(card))
    record_digest(path / "model.onnx")
    return find_model(path)


def test_a_net_without_weights_is_compared_with_its_own_onnx(tmp_path: Path) -> None:
    bundle = community(tmp_path / "net")
    report = check_layers(bundle)
    assert [layer.name for layer in report.layers] == ["first", "act", "second", "shuffle"]
    assert report.passed
    assert "no weights.safetensors: its ONNX is the reference" in report.notes[0]
    compared = check(bundle, chosen=cases(quick=True))
    assert compared.passed
    assert compared.max_code_error <= 1
    assert "no weights.safetensors" in compared.skipped[0]
    with pytest.raises(BackendError, match="only clarivid's own nets run in backend cuda"):
        check(bundle, backends=["cuda"])


def test_an_operator_that_is_not_known_is_named() -> None:
    node = helper.make_node("Det", ["input"], ["output"], "strange")
    ends = [helper.make_tensor_value_info(n, TensorProto.FLOAT, [1, 2, 2]) for n in ("input", "output")]
    model = helper.make_model(helper.make_graph([node], "net", ends[:1], ends[1:]))
    graph = Graph(model.SerializeToString())
    with pytest.raises(ModelError, match="strange is a Det"):
        graph.run({"input": np.ones((1, 2, 2), np.float32)})


def test_the_bound_holds_and_is_no_hundred_times_too_wide() -> None:
    """Operands rounded to bf16 and fp16 by numpy: the error is below the bound, and not far below."""
    import ml_dtypes

    random = np.random.default_rng(3)
    x = random.normal(0, 1, (1, 32, 20, 20)).astype(np.float32)
    w = random.normal(0, 0.1, (32, 32, 3, 3)).astype(np.float32)
    ends = [
        helper.make_tensor_value_info("input", TensorProto.FLOAT, x.shape),
        helper.make_tensor_value_info("output", TensorProto.FLOAT, [1, 32, 18, 18]),
    ]
    node = helper.make_node("Conv", ["input", "w"], ["output"], "conv")
    made = helper.make_graph([node], "net", ends[:1], ends[1:], [numpy_helper.from_array(w, "w")])
    graph = Graph(helper.make_model(made).SerializeToString())
    values = graph.run({"input": x})
    for kind, bits in ((ml_dtypes.bfloat16, 8), (np.float16, 11)):
        rounded = [torch.from_numpy(a.astype(kind).astype(np.float64)) for a in (x, w)]
        error = (torch.nn.functional.conv2d(*rounded) - values["output"]).abs()
        share = error / bound(graph.nodes[0], values, values["output"], Arithmetic(2.0**-bits))
        assert 0.01 < float(share.max()) < 1


def test_tensors_become_outputs_of_the_graph_that_a_builder_gets() -> None:
    bundle = find_model("lowrank_v1")
    shown = with_outputs(bundle.onnx.read_bytes(), ["layers.0", "layers.1.act", "output"])
    assert [o.name for o in onnx.load_from_string(shown).graph.output] == [
        "layers.0",
        "layers.1.act",
        "output",
    ]
    inputs = net_inputs(bundle, *probe())
    names = ["layers.0", "output"]
    got, wanted = (OpenVino(b, "f32", names).run(inputs) for b in (shown, bundle.onnx.read_bytes()))
    for name in names:
        np.testing.assert_allclose(got[name], wanted[name], atol=1e-6)
