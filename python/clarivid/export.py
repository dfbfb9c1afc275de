# SPDX-License-Identifier: BSD-2-Clause
"""From a training checkpoint to a model bundle: one clean ONNX graph, its fp16 twin, raw weights, card,
README.

The graph is written node by node instead of traced, so that it is the same for every PyTorch release and
holds only what runtimes fuse well: Conv, LeakyRelu, and per block the few small nodes of the channel gate.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
import torch
from onnx import TensorProto, helper, numpy_helper
from safetensors.numpy import save_file

from clarivid.errors import ModelError
from clarivid.nets.sr import GATE_STRIDE, IN_CHANNELS, NEAREST, SLOPE, SRNet
from clarivid.train.sr import net_from_checkpoint, summary_of

OPSET = 18
IR_VERSION = 9
LAYOUT = "yuv420_s2d"
NORMALISATION = "ycbcr_unit_centred"
Weights = dict[str, npt.NDArray[np.float32]]


class _Graph:
    """Nodes and initialisers under construction; ``dtype`` is the type of pictures and weights."""

    def __init__(self, dtype: type[np.floating[Any]]) -> None:
        self.dtype = dtype
        self.nodes: list[onnx.NodeProto] = []
        self.constants: dict[str, onnx.TensorProto] = {}

    def constant(self, name: str, value: npt.NDArray[Any]) -> str:
        if name not in self.constants:
            self.constants[name] = numpy_helper.from_array(value, name)
        return name

    def node(self, op: str, inputs: list[str], output: str, **attributes: Any) -> str:
        self.nodes.append(helper.make_node(op, inputs, [output], name=output, **attributes))
        return output

    def conv(self, x: str, name: str, weights: Weights, dtype: type[np.floating[Any]] | None = None) -> str:
        kernel = weights[f"{name}.weight"]
        if kernel.ndim == 2:
            kernel = kernel[:, :, None, None]
        dtype = dtype or self.dtype
        size = kernel.shape[2]
        return self.node(
            "Conv",
            [
                x,
                self.constant(f"{name}.weight", kernel.astype(dtype)),
                self.constant(f"{name}.bias", weights[f"{name}.bias"].astype(dtype)),
            ],
            name,
            kernel_shape=[size, size],
            pads=[size // 2] * 4,
        )

    def leaky(self, x: str) -> str:
        return self.node("LeakyRelu", [x], f"{x}.act", alpha=SLOPE)


def build_onnx(net: SRNet, name: str, half: bool = False) -> onnx.ModelProto:
    """The inference graph of ``net``, [N,6,h,w] to [N,24,h,w], all three sizes dynamic.

    ``half`` gives the strongly typed fp16 twin: weights, input and output are fp16; only the gates' averages
    over the picture and their two tiny layers stay in fp32, because a sum over a 4K picture overflows fp16.
    """
    weights: Weights = {k: v.cpu().numpy() for k, v in net.inference_weights().items()}
    graph = _Graph(np.float16 if half else np.float32)
    x = graph.leaky(graph.conv("input", "head", weights))
    for i in range(len(net.blocks)):
        block = f"blocks.{i}"
        y = graph.leaky(graph.conv(x, block, weights))
        if net.attention:
            y = graph.node("Mul", [y, _gate(graph, y, block, weights, net.channels, half)], f"{block}.scaled")
        x = graph.node("Add", [x, y], f"{block}.out")
    residual = graph.conv(x, "tail", weights)
    # The copy of channels as a 1x1 conv of zeros and ones: on OpenVINO 8 % of the net's time less than
    # Gather, which leaves the convolutions' memory layout.
    nearest = np.eye(IN_CHANNELS, dtype=graph.dtype)[NEAREST][:, :, None, None]
    base = graph.node("Conv", ["input", graph.constant("nearest", nearest)], "base", kernel_shape=[1, 1])
    graph.node("Add", [residual, base], "output")
    kind = TensorProto.FLOAT16 if half else TensorProto.FLOAT
    ends = [
        helper.make_tensor_value_info(end, kind, ["batch", channels, "height", "width"])
        for end, channels in (("input", 6), ("output", len(NEAREST)))
    ]
    model = helper.make_model(
        helper.make_graph(graph.nodes, name, ends[:1], ends[1:], list(graph.constants.values())),
        opset_imports=[helper.make_opsetid("", OPSET)],
        ir_version=IR_VERSION,
        producer_name="clarivid",
    )
    helper.set_model_props(
        model,
        {
            "clarivid.layout": LAYOUT,
            "clarivid.scale": str(net.scale),
            "clarivid.task": "sr",
            "clarivid.normalisation": NORMALISATION,
            "clarivid.name": name,
        },
    )
    onnx.checker.check_model(model, full_check=True)
    return model


def _gate(graph: _Graph, y: str, block: str, weights: Weights, channels: int, half: bool) -> str:
    """Channel weights [N,C,1,1] from the mean magnitude of the strided high-pass of ``y``."""
    kernel = np.full((channels, 1, 3, 3), -1 / 9, np.float32)
    kernel[:, :, 1, 1] += 1
    z = graph.node(
        "Conv",
        [y, graph.constant("high_pass", kernel.astype(graph.dtype))],
        f"{block}.high",
        group=channels,
        kernel_shape=[3, 3],
        strides=[GATE_STRIDE] * 2,
    )
    z = graph.node("Abs", [z], f"{z}.abs")
    if half:
        z = graph.node("Cast", [z], f"{z}.f32", to=TensorProto.FLOAT)
    z = graph.node(
        "ReduceMean",
        [z, graph.constant("picture_axes", np.array([2, 3], np.int64))],
        f"{block}.mean",
        keepdims=1,
    )
    z = graph.leaky(graph.conv(z, f"{block}.gate.down", weights, np.float32))
    z = graph.node("Sigmoid", [graph.conv(z, f"{block}.gate.up", weights, np.float32)], f"{block}.sigmoid")
    z = graph.node("Mul", [z, graph.constant("two", np.array(2, np.float32))], f"{block}.weight_of_channel")
    return graph.node("Cast", [z], f"{block}.weight_f16", to=TensorProto.FLOAT16) if half else z


def export(
    checkpoint: Path, name: str, out: Path, scores: Mapping[str, Any] | None = None, summary: str = ""
) -> dict[str, Any]:
    """Write the bundle ``out`` (a folder) from ``checkpoint``; returns the card.

    ``scores`` (evaluation results) go into the card as they are. Files are written beside the target and
    renamed, so a reader never meets half a bundle's file; the card comes last.
    """
    net, state = net_from_checkpoint(checkpoint)
    out.mkdir(parents=True, exist_ok=True)
    work = Path(tempfile.mkdtemp(prefix=".export-", dir=out.parent))
    try:
        onnx.save(build_onnx(net, name), work / "model.onnx")
        onnx.save(build_onnx(net, name, half=True), work / "model_fp16.onnx")
        save_file(
            {k: v.cpu().numpy() for k, v in net.inference_weights().items()},
            work / "weights.safetensors",
            metadata={
                "clarivid.architecture": json.dumps(net.config())
            },  # one key: they come in random order
        )
        files = {
            path.name: {"sha256": hashlib.sha256(path.read_bytes()).hexdigest()}
            for path in sorted(work.iterdir())
        }
        card = _card(net, state, name, files, scores or {}, check(net, work / "model.onnx"))
        (work / "README.md").write_text(_readme(card, summary), "utf-8")
        (work / "card.json").write_text(json.dumps(card, indent=2) + "\n", "utf-8")
        for path in sorted(work.iterdir(), key=lambda p: p.name == "card.json"):
            path.chmod(0o644)
            os.replace(path, out / path.name)  # noqa: PTH105
    finally:
        shutil.rmtree(work, ignore_errors=True)
    return card


def check(net: SRNet, model: Path) -> dict[str, Any]:
    """The card's "parity" entry: OpenVINO on the CPU against PyTorch, on a picture with edges, ramps and
    noise.

    fp32 must agree within one 8-bit code value everywhere, bf16 within 48 dB. Raises :class:`ModelError` when
    fp32 does not.
    """
    import openvino as ov

    x = probe_picture(90, 118)
    with torch.no_grad():
        want = net(torch.from_numpy(x)).numpy()
    core = ov.Core()
    result: dict[str, Any] = {}
    for precision in ("f32", "bf16"):
        compiled = core.compile_model(
            str(model), "CPU", {"INFERENCE_PRECISION_HINT": precision, "INFERENCE_NUM_THREADS": 1}
        )
        got = compiled(x)[0]
        error = np.abs(np.floor(got * 219 + 0.5) - np.floor(want * 219 + 0.5))
        mse = float(np.mean((got.astype(np.float64) - want) ** 2))
        if precision == "f32":
            result["fp32"] = {"max_code_error": int(error.max()), "passed": bool(error.max() <= 1)}
        else:
            decibel = round(float(10 * np.log10(1 / max(mse, 1e-12))), 1)
            result["bf16"] = {"psnr_db": decibel, "passed": bool(decibel >= 48)}
    if not result["fp32"]["passed"]:
        raise ModelError(
            f"the exported graph differs from the net by {result['fp32']['max_code_error']} code values; "
            "this is a fault of clarivid.export"
        )
    return result


def probe_picture(height: int, width: int, seed: int = 1) -> npt.NDArray[np.float32]:
    """A folded picture [1,6,height,width] with steps, ramps and noise, in the net's range."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[0 : 2 * height, 0 : 2 * width].astype(np.float32)
    luma = (
        0.25 * np.sin(x / 9 + y / 23) + 0.15 * ((x // 16 + y // 12) % 2) + 0.03 * rng.standard_normal(x.shape)
    )
    chroma = 0.2 * np.stack([np.sin(x[::2, ::2] / 31), np.cos(y[::2, ::2] / 17)])
    blocks = luma.reshape(height, 2, width, 2).transpose(1, 3, 0, 2).reshape(4, height, width)
    return np.concatenate([blocks, chroma])[None].astype(np.float32)


def _card(
    net: SRNet,
    state: Mapping[str, Any],
    name: str,
    files: Mapping[str, Any],
    scores: Mapping[str, Any],
    parity: Mapping[str, Any],
) -> dict[str, Any]:
    runs = [*state.get("history", []), summary_of(state)]
    merged = net.parameters_merged()
    return {
        "schema": 1,
        "name": name,
        "task": "sr",
        "layout": LAYOUT,
        "scale": net.scale,
        "normalisation": NORMALISATION,
        "precision": "fp32",
        "files": dict(files),
        "input": {"multiple_of": 2, "min_width": 32, "min_height": 32},
        "receptive_field": net.receptive_field(),
        "parameters": merged,
        "gmac_1080p": round(net.macs() / 1e9, 2),
        "architecture": net.config(),
        "licence": "BSD-2-Clause",
        "training": {
            "data": _data(state),
            "command": " && ".join(_commands(runs)),
            "steps": sum(run["steps"] for run in runs),
            "hours": round(sum(run["seconds"] for run in runs) / 3600, 2),
        },
        "scores": {**({"validation": state["score"]} if state["score"] else {}), **scores},
        "parity": dict(parity),
    }


def _data(state: Mapping[str, Any]) -> list[dict[str, Any]]:
    """One row a package, kind and licence; packs draw on the same files, so the first one tells."""
    rows: dict[tuple[str, str, str], dict[str, Any]] = {}
    for row in state["sources"][0] if state["sources"] else []:
        key = row["source"], row["kind"], row["licence"]
        known = rows.setdefault(
            key, {**{k: row[k] for k in ("source", "version", "kind", "files", "licence")}, "files": 0}
        )
        known["files"] += row["files"]
    return list(rows.values())


def _commands(runs: list[Mapping[str, Any]]) -> list[str]:
    """The commands that train such a net again: first the packs, then one run after the other."""
    packs: dict[tuple[int, str, int], str] = {}
    for run in runs:
        for p in run.get("packs", []):
            packs[p["seed"], p["kind"], p["clips"]] = f"sr-{p['kind']}-{p['seed']}-{p['clips']}.pack"
    lines = [
        f"clarivid data sr --seed {seed} --kind {kind} --clips {clips} --out {file}"
        for (seed, kind, clips), file in packs.items()
    ]
    for i, run in enumerate(runs):
        options = run["options"]
        words = [f"clarivid train sr --kind {options['kind']}"]
        steps = options["steps"]
        words.append(f"--steps {steps}" if steps else f"--minutes {options['minutes']:g}")
        words.append(f"--loss {options.get('loss', 'charbonnier')}")
        for key in ("lr", "other", "batch", "edge_weight", "seed"):
            words.append(f"--{key.replace('_', '-')} {options[key]:g}")
        if i:
            words.append(f"--init run{i - 1}/last.pt")
        words.append(f"--out run{i}")
        words += [packs[p["seed"], p["kind"], p["clips"]] for p in run.get("packs", [])]
        lines.append(" ".join(words))
    return lines


def _readme(card: Mapping[str, Any], summary: str) -> str:
    lines = [
        f"# {card['name']}",
        "",
        summary or "2x super-resolution of 4:2:0 video.",
        "",
        f"- {card['parameters']:,} parameters, {card['gmac_1080p']} GMAC from 1080p to 4K, "
        f"{card['receptive_field']} luma pixels receptive field",
        f"- layout `{card['layout']}`, normalisation `{card['normalisation']}`",
        "- `model.onnx` is f32; `model_fp16.onnx` is strongly typed fp16, input and output too; "
        "`weights.safetensors` holds the merged f32 weights, `card.json` says how they fit together",
        "",
        "Use it: `ffmpeg -i in.mp4 -vf dnn_sr=model=" + str(card["name"]) + " out.mp4`",
        "",
        "## Scores",
        "",
        "PSNR-Y in dB, Lanczos beside it; the pictures are of titles that training did not see.",
        "",
    ]
    rows = [(kind, s) for kind, s in card["scores"].get("validation", {}).items()]
    if rows:
        lines += ["| held-out pictures, coded | net | Lanczos | gain | least gain |", "|---|---|---|---|---|"]
        lines += [
            f"| {kind} | {s['psnr_y']:.2f} | {s['lanczos']:.2f} | {s['gain_db']:+.2f} | "
            f"{s['worst_gain_db']:+.2f} |"
            for kind, s in rows
        ]
    for title, entry in card["scores"].items():
        if title != "validation":
            lines += ["", f"`{title}`: {json.dumps(entry)}"]
    lines += [
        "",
        "## Training",
        "",
        f"{card['training']['steps']:,} steps in {card['training']['hours']} hours:",
        "",
        "```",
        *card["training"]["command"].split(" && "),
        "```",
        "",
        "The pictures come from Debian packages. Each became a short moving clip whose half-size side went "
        "through x264 or x265 (`clarivid data sr`).",
        "",
        "| package | version | kind | files | licence |",
        "|---|---|---|---|---|",
    ]
    lines += [
        f"| {d['source']} | {d['version']} | {d['kind']} | {d['files']} | {d['licence']} |"
        for d in card["training"]["data"]
    ]
    lines += ["", f"Licence of the weights: {card['licence']}.", ""]
    return "\n".join(lines)
