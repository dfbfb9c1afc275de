# SPDX-License-Identifier: BSD-2-Clause
"""Bundles: the exported graph computes what PyTorch computes, and the card tells the truth."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

torch = pytest.importorskip("torch")
onnx = pytest.importorskip("onnx")
ov = pytest.importorskip("openvino")

from safetensors.numpy import load_file  # noqa: E402

from clarivid import models  # noqa: E402
from clarivid.errors import InputError  # noqa: E402
from clarivid.export import export, lowrank  # noqa: E402
from clarivid.export.bundle import probe_picture  # noqa: E402
from clarivid.export.sr import build_onnx  # noqa: E402
from clarivid.nets.load import load_net  # noqa: E402
from clarivid.nets.lowrank import LowrankNet  # noqa: E402
from clarivid.nets.sr import SRNet  # noqa: E402
from clarivid.train.batches import unfold_luma  # noqa: E402
from lowrank_bundle import checkpoint_of, lowrank_bundle, random_net  # noqa: E402
from sr_bundles import checkpoint as sr_checkpoint  # noqa: E402


def moved_net(channels: int = 16, blocks: int = 2, attention: bool = True) -> SRNet:
    torch.manual_seed(3)
    net = SRNet(channels, blocks, attention=attention)
    with torch.no_grad():
        for parameter in net.parameters():
            parameter.add_(0.05 * torch.randn_like(parameter))
    return net.eval()


def luma(height: int, width: int) -> np.ndarray:
    """[1,1,height,width], in 0..1 and a little beyond."""
    folded = torch.from_numpy(probe_picture(height // 2 + 1, width // 2 + 1))
    return np.ascontiguousarray(unfold_luma(folded)[:, None, :height, :width].numpy() + 0.5)


@pytest.fixture
def checkpoint(tmp_path: Path) -> Path:
    once = {"minutes": 60.0, "steps": 5, "seed": 0, "lr": 0.01, "gone": 0.15}  # options as they were
    packs = [{"seed": 3, "kind": "all", "clips": 5}]
    history = [{"options": once, "steps": 5, "seconds": 3600.0, "packs": packs}]
    return sr_checkpoint(tmp_path / "best.pt", moved_net(), history=history)


def run_openvino(model: bytes, x: np.ndarray) -> np.ndarray:
    core = ov.Core()
    config = {"INFERENCE_PRECISION_HINT": "f32", "INFERENCE_NUM_THREADS": 1}
    return np.asarray(core.compile_model(core.read_model(model), "CPU", config)(x)[0])


@pytest.mark.parametrize("attention", [True, False])
@pytest.mark.parametrize("size", [(16, 16), (17, 33), (54, 31)])
def test_graph_agrees_with_pytorch_at_any_size(attention: bool, size: tuple[int, int]) -> None:
    net = moved_net(attention=attention)
    x = luma(*size)
    with torch.no_grad():
        want = net(torch.from_numpy(x)).numpy()
    got = run_openvino(build_onnx(net, "t").SerializeToString(), x)
    assert got.shape == (1, 1, 2 * size[0], 2 * size[1])
    assert np.abs(got - want).max() < 2e-5


def test_merged_weights_equal_the_explicit_branches() -> None:
    """The issue's promise: the training form, branch by branch, against the exported form, to 1e-5."""
    net = moved_net(16, 4)
    x = torch.from_numpy(luma(48, 40))
    with torch.no_grad():
        for conv in (net.head, net.tail, *(block.conv for block in net.blocks)):
            conv.forward = conv.explicit
        want = net(x).numpy()
    got = run_openvino(build_onnx(moved_net(16, 4), "t").SerializeToString(), x.numpy())
    assert np.abs(got - want).max() < 1e-5 * max(1.0, float(np.abs(want).max()))


def test_half_graph_is_strongly_typed() -> None:
    model = build_onnx(moved_net(), "t", half=True)
    half = onnx.TensorProto.FLOAT16
    assert model.graph.input[0].type.tensor_type.elem_type == half
    assert model.graph.output[0].type.tensor_type.elem_type == half
    kinds = {c.name: c.data_type for c in model.graph.initializer}
    assert kinds["head.weight"] == kinds["blocks.0.weight"] == kinds["centre"] == half
    assert kinds["blocks.0.gate.up.weight"] == onnx.TensorProto.FLOAT
    onnx.checker.check_model(model, full_check=True)  # infers every type: a mixture would fail


def test_bundle_is_complete_and_loads(checkpoint: Path, tmp_path: Path) -> None:
    out = tmp_path / "models" / "tiny"
    export(checkpoint, "tiny", out, {"clips": {"psnr_gain": 1.2}})
    model = models.load_model(out)
    models.verify_model(model)
    card = json.loads((out / "card.json").read_text("utf-8"))
    names = {"model.onnx", "model_fp16.onnx", "weights.safetensors", "card.json", "README.md"}
    assert {p.name for p in out.iterdir()} == names
    assert (
        card["files"]["model.onnx"]["sha256"] == hashlib.sha256((out / "model.onnx").read_bytes()).hexdigest()
    )
    assert card["training"]["steps"] == 17
    assert card["training"]["hours"] == 3.0
    assert card["training"]["command"].count("clarivid train sr") == 2
    assert "clarivid data sr --out sr3.pack --seed 3" in card["training"]["command"]
    last = "clarivid train sr --minutes 60 --kind game --init run0/last.pt --out run1 sr3.pack"
    assert card["training"]["command"].endswith(last)
    first = "clarivid train sr --steps 5 --lr 0.01 --out run0"
    assert first in card["training"]["command"]
    assert card["training"]["data"][0]["licence"] == "CC0-1.0"
    assert card["scores"]["clips"]["psnr_gain"] == 1.2
    assert card["parity"]["fp32"]["passed"]
    assert card["parity"]["fp16"]["passed"]
    props = {p.key: p.value for p in onnx.load(out / "model.onnx").metadata_props}
    assert props["clarivid.layout"] == "y"
    assert props["clarivid.scale"] == "2"
    weights = load_file(out / "weights.safetensors")
    assert weights["blocks.1.weight"].shape == (16, 16, 3, 3)
    assert sum(w.size for w in weights.values()) == card["parameters"]
    readme = (out / "README.md").read_text("utf-8")
    assert "CC0-1.0" in readme
    assert "+1.00" in readme


def test_same_checkpoint_gives_the_same_files(checkpoint: Path, tmp_path: Path) -> None:
    first, second = (export(checkpoint, "tiny", tmp_path / n)["files"] for n in ("a", "b"))
    assert first == second


@pytest.mark.parametrize("sizes", [(12, 3, None), (8, 4, [1, 2, 4, 1])])
@pytest.mark.parametrize("strength", [0.0, 0.3, 1.0])
def test_lowrank_graph_agrees_with_pytorch_at_any_size_and_strength(
    sizes: tuple[int, int, list[int] | None], strength: float
) -> None:
    torch.manual_seed(2)
    net = LowrankNet(*sizes).eval()
    with torch.no_grad():
        net.layers[-1].weight.mul_(50)
    model = lowrank.build_onnx(net, "t").SerializeToString()
    core = ov.Core()
    compiled = core.compile_model(core.read_model(model), "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    for size in ((17, 33), (54, 31)):
        x = probe_picture(*size)
        with torch.no_grad():
            want = net(torch.from_numpy(x), strength).numpy()
        got = compiled({"input": x, "strength": np.array([strength], np.float32)})[0]
        assert np.abs(got - want).max() < 2e-5
        assert (np.abs(want - x).max() > 0.01) == (strength > 0)


@pytest.mark.parametrize("strength", [0.5, 1.0])
@pytest.mark.parametrize("half", [False, True])
def test_lowrank_graph_keeps_the_limit(strength: float, half: bool) -> None:
    net = random_net(change=0.2, limit=2)
    model = lowrank.build_onnx(net, "t", half)
    onnx.checker.check_model(model, full_check=True)  # infers every type: a mixture would fail
    assert [node.op_type for node in model.graph.node][-3:] == ["Clip", "Mul", "Add"]
    kind = onnx.TensorProto.FLOAT16 if half else onnx.TensorProto.FLOAT
    assert {constant.data_type for constant in model.graph.initializer} == {kind}
    dtype = np.float16 if half else np.float32
    core = ov.Core()
    compiled = core.compile_model(
        core.read_model(model.SerializeToString()), "CPU", {"INFERENCE_PRECISION_HINT": "f32"}
    )
    x = probe_picture(54, 31).astype(dtype).astype(np.float32)
    with torch.no_grad():
        want = net(torch.from_numpy(x), strength).numpy()
        free = random_net(change=0.2).residual(torch.from_numpy(x)).numpy()
    got = compiled({"input": x.astype(dtype), "strength": np.array([strength], dtype)})[0]
    assert np.abs(got - want).max() < (4e-3 if half else 2e-5)
    beyond = np.abs(free) > 2.2 / 219
    assert 0.2 < beyond.mean() < 0.99
    change = np.abs(got.astype(np.float32) - x)[beyond]
    np.testing.assert_allclose(change, strength * 2 / 219, atol=1e-3 if half else 1e-6)


def test_a_net_without_a_limit_has_no_clip() -> None:
    assert "Clip" not in {node.op_type for node in lowrank.build_onnx(random_net(), "t").graph.node}


def test_the_limit_goes_through_the_card(tmp_path: Path) -> None:
    model = models.load_model(lowrank_bundle(tmp_path / "tiny", change=0.2, limit=1.5))
    assert model.card["architecture"]["limit"] == 1.5
    assert model.card["parity"]["fp32"]["passed"]
    net = load_net(model)
    assert isinstance(net, LowrankNet)
    assert net.limit == 1.5
    del model.card["architecture"]["limit"]  # as in cards from before there was one
    assert getattr(load_net(model), "limit", None) == 0


def test_a_gain_makes_a_share_of_the_change_the_whole_strength() -> None:
    net = random_net(change=0.2, limit=1.5)
    state = lowrank.weakened(checkpoint_of(net), 0.4)
    weak = LowrankNet.from_config(state["net"])
    weak.load_state_dict(state["ema"])
    x = torch.rand(1, 6, 20, 24) - 0.5
    assert float(net.residual(x).detach().abs().max()) == pytest.approx(1.5 / 219)  # the limit bites
    torch.testing.assert_close(weak(x), net(x, 0.4))
    assert state["score"] == {}  # that was another net's


@pytest.mark.parametrize("gain", [0, -1, 1.5, float("nan")])
def test_a_gain_that_is_no_share_is_refused(gain: float) -> None:
    with pytest.raises(InputError, match="above 0 and at most 1"):
        lowrank.weakened(checkpoint_of(random_net()), gain)


def test_lowrank_bundle_tells_of_its_strength(tmp_path: Path) -> None:
    model = models.load_model(lowrank_bundle(tmp_path / "tiny"))
    models.verify_model(model)
    assert model.task == "lowrank"
    assert model.scale == 1
    assert model.has_strength
    assert model.card["controls"] == {"strength": {"minimum": 0, "maximum": 1, "default": 1}}
    assert model.card["training"]["steps"] == 17
    assert model.card["training"]["command"].endswith("--minutes 60 --steps 0 --codec h264 --resume")
    assert model.card["parity"]["fp32"]["passed"]
    for file, kind in (("model.onnx", onnx.TensorProto.FLOAT), ("model_fp16.onnx", onnx.TensorProto.FLOAT16)):
        graph = onnx.load(model.folder / file).graph
        assert [value.name for value in graph.input] == ["input", "strength"]
        assert {value.type.tensor_type.elem_type for value in [*graph.input, *graph.output]} == {kind}
        assert {constant.data_type for constant in graph.initializer} == {kind}
    weights = load_file(model.folder / "weights.safetensors")
    assert weights["layers.1.weight"].shape == (12, 12, 3, 3)
    assert sum(w.size for w in weights.values()) == model.card["parameters"]
    assert "lowrank_pre=model=tiny" in (model.folder / "README.md").read_text("utf-8")


def test_a_checkpoint_for_another_task_is_one_sentence(tmp_path: Path) -> None:
    torch.save({"schema": 1, "task": "dance"}, tmp_path / "other.pt")
    with pytest.raises(InputError, match="for the task 'dance'; export knows sr, lowrank, inpaint"):
        export(tmp_path / "other.pt", "x", tmp_path / "x")


def test_damaged_checkpoint_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "bad.pt").write_bytes(b"nonsense")
    with pytest.raises(InputError, match=r"cannot read the checkpoint .*bad\.pt"):
        export(tmp_path / "bad.pt", "x", tmp_path / "x")


def test_command_line_exports(checkpoint: Path, tmp_path: Path) -> None:
    from clarivid.cli.export import command

    arguments = [str(checkpoint), "--name", "tiny", "--out", str(tmp_path / "tiny")]
    result = CliRunner().invoke(command, arguments, catch_exceptions=False)
    assert result.exit_code == 0
    assert "parameters" in result.output
