# SPDX-License-Identifier: BSD-2-Clause
"""A bundle's files on disk, its card and README, and the check of its graph: what every task shares."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
import onnx
import torch
from safetensors.numpy import load, save_file
from torch import Tensor
from torch.overrides import TorchFunctionMode

from clarivid import blend, models
from clarivid.errors import InputError, ModelError
from clarivid.export.graph import LAYOUT, STRENGTH, HasWeights, normalisation_of, weights_of
from clarivid.export.staging import digests, staged
from clarivid.parity.gates import GATES
from clarivid.sr_bench.report import card_lines

CONTROLS: dict[str, Any] = {STRENGTH: {"minimum": 0, "maximum": 1, "default": 1}}
CHECKED_STRENGTHS = (1.0, 0.5)
CHECKED_SHARPNESS = (1.0, 0.5)
BF16_PSNR_DB = GATES["bf16"].probe_db
FP16_PSNR_DB = GATES["fp16"].probe_db


class Net(HasWeights, Protocol):
    """What a card tells of a net."""

    def __call__(self, x: Tensor, *strength: float) -> Tensor:
        """The net's output."""

    def config(self) -> dict[str, Any]:
        """The card's architecture."""

    def parameters_merged(self) -> int:
        """Learned values in the inference form."""

    def macs(self, width: int = 1920, height: int = 1080) -> int:
        """Multiply-accumulates for one picture."""

    def receptive_field(self) -> int:
        """In luma pixels."""


@dataclass(frozen=True)
class Source:
    """A task's part of a bundle. ``build`` gives the graph, in fp16 when its argument is true; ``strength``
    tells whether it has that input. Texts are for the README; ``cost`` follows "x GMAC".

    ``probe`` is what the graph is checked with, [1,C,h,w]; ``looked_at`` [h,w] says where (None: everywhere).
    ``best_size`` is the long side that an inpainting net paints at, in luma samples. ``stored`` is the type
    of weights.safetensors; weights that it cannot hold exactly must have been rounded."""

    name: str
    task: str
    scale: int
    net: Net
    build: Callable[[bool], onnx.ModelProto]
    strength: bool
    training: Mapping[str, Any]
    scores: Mapping[str, Any]
    summary: str
    cost: str
    usage: Sequence[str]
    score_lines: Sequence[str]
    data_text: str
    layout: str = LAYOUT
    input: Mapping[str, int] = field(
        default_factory=lambda: {"multiple_of": 2, "min_width": 32, "min_height": 32}
    )
    probe: npt.NDArray[np.float32] | None = None
    looked_at: npt.NDArray[np.bool_] | None = None
    bf16_psnr_db: float = BF16_PSNR_DB
    fp16_psnr_db: float = FP16_PSNR_DB
    best_size: int = 0
    stored: type[np.floating[Any]] = np.float32


def write(source: Source, out: Path, perceptual: Source | None = None) -> dict[str, Any]:
    """Write the bundle ``out`` (a folder); returns the card. ``perceptual`` is a second set of weights, which
    sharpness mixes in.

    Files are written beside the target and renamed, so a reader never meets half a file; the card comes last.
    Raises :class:`InputError` when the two sets are not of one architecture.
    """
    if perceptual is not None and perceptual.net.config() != source.net.config():
        raise InputError(
            f"the two sets of weights of {source.name} are not of one architecture: "
            f"{json.dumps(source.net.config())} and {json.dumps(perceptual.net.config())}"
        )
    with staged(out) as work:
        _write_set(source, work / models.ONNX, work / models.WEIGHTS)
        onnx.save(source.build(True), work / models.ONNX_HALF)
        if perceptual is not None:
            _write_set(perceptual, work / models.PERCEPTUAL_ONNX, work / models.PERCEPTUAL_WEIGHTS)
        files = digests(work)
        card = _card(source, files, check(source, work / models.ONNX))
        if perceptual is not None:
            card[models.PERCEPTUAL] = {
                "training": dict(perceptual.training),
                "scores": dict(perceptual.scores),
                "parity": _check_blends(perceptual, work),
            }
        (work / "README.md").write_text(_readme(source, card, perceptual), "utf-8")
        (work / models.CARD).write_text(json.dumps(card, indent=2) + "\n", "utf-8")
    if perceptual is None:  # of an export before, which the card no longer lists
        for name in (models.PERCEPTUAL_ONNX, models.PERCEPTUAL_WEIGHTS):
            (out / name).unlink(missing_ok=True)
    return card


def _write_set(source: Source, model: Path, weights: Path) -> None:
    onnx.save(source.build(False), model)
    save_file(
        {name: value.astype(source.stored) for name, value in weights_of(source.net).items()},
        weights,
        metadata={  # one key: they come in random order
            "clarivid.architecture": json.dumps(source.net.config())
        },
    )


def _check_blends(perceptual: Source, work: Path) -> dict[str, Any]:
    """:func:`check` of the second set in ``work``, and of what lies half way to it: the worse of the two.
    Raises :class:`ModelError` when the two sets cannot be blended."""
    from clarivid.nets.load import net_of

    name = f"model {perceptual.name}"
    model, second, weights, others = (
        (work / file).read_bytes()
        for file in (models.ONNX, models.PERCEPTUAL_ONNX, models.WEIGHTS, models.PERCEPTUAL_WEIGHTS)
    )
    worst: dict[str, Any] = {}
    blended = work / "blended.onnx"
    for sharpness in CHECKED_SHARPNESS:
        blended.write_bytes(blend.blend_onnx(model, second, sharpness, name))
        tensors = load(blend.blend_safetensors(weights, others, sharpness, name))
        found = check(replace(perceptual, net=net_of(perceptual.net.config(), tensors)), blended)
        for precision, entry in found.items():
            known = worst.setdefault(precision, entry)
            for key, value in entry.items():
                known[key] = (max if key == "max_code_error" else min)(known[key], value)
    blended.unlink()
    return worst


class Halves(TorchFunctionMode):
    """Operands of convolutions and products are rounded to halves, their sums are not: what the kernels for
    GPUs compute (all but the order of sums)."""

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        """Called for every function of torch."""
        if func in (torch.conv2d, torch.nn.functional.linear):
            args = (*(operand.half().float() for operand in args[:2]), *args[2:])
        return func(*args, **(kwargs or {}))


def psnr_in_halves(
    net: Net,
    x: npt.NDArray[np.float32],
    controls: Sequence[tuple[float, ...]] = ((),),
    where: npt.NDArray[np.bool_] | None = None,
) -> float:
    """The net with :class:`Halves` against itself in f32, dB, the worst of ``controls``."""
    worst = 0.0
    with torch.no_grad():
        for values in controls:
            want = net(torch.from_numpy(x), *values).numpy()
            with Halves():
                got = net(torch.from_numpy(x), *values).numpy()
            squares = ((got.astype(np.float64) - want) ** 2)[:, :, ... if where is None else where]
            worst = max(worst, float(squares.mean()))
    return round(float(10 * np.log10(1 / max(worst, 1e-12))), 1)


def check(source: Source, model: Path) -> dict[str, Any]:
    """The card's "parity" entry: OpenVINO on the CPU against PyTorch, on the source's probe (a picture with
    edges, ramps and noise), at each of :data:`CHECKED_STRENGTHS` when there is a strength.

    fp32 must agree within one 8-bit code value everywhere, bf16 within the source's ``bf16_psnr_db``, fp16
    within its ``fp16_psnr_db``; fp16 is PyTorch with :class:`Halves`, so that no GPU is needed. Raises
    :class:`ModelError` when fp32 does not agree.
    """
    import openvino as ov

    x = probe_picture(90, 118) if source.probe is None else source.probe
    where = ... if source.looked_at is None else source.looked_at
    controls = [(value,) for value in CHECKED_STRENGTHS] if source.strength else [()]
    with torch.no_grad():
        wanted = [source.net(torch.from_numpy(x), *values).numpy() for values in controls]
    core = ov.Core()
    worst = {"f32": (0, 0.0), "bf16": (0, 0.0)}
    for precision in worst:
        compiled = core.compile_model(
            str(model), "CPU", {"INFERENCE_PRECISION_HINT": precision, "INFERENCE_NUM_THREADS": 1}
        )
        for values, full in zip(controls, wanted, strict=True):
            got = compiled([x, *(np.array([value], np.float32) for value in values)])[0][:, :, where]
            want = full[:, :, where]
            error = np.abs(np.floor(got * 219 + 0.5) - np.floor(want * 219 + 0.5))
            mse = float(np.mean((got.astype(np.float64) - want) ** 2))
            worst[precision] = (max(worst[precision][0], int(error.max())), max(worst[precision][1], mse))
    codes = worst["f32"][0]
    halves = psnr_in_halves(source.net, x, controls, source.looked_at)
    decibel = round(float(10 * np.log10(1 / max(worst["bf16"][1], 1e-12))), 1)
    if codes > 1:
        raise ModelError(
            f"the exported graph differs from the net by {codes} code values; "
            "this is a fault of clarivid.export"
        )
    return {
        "fp32": {"max_code_error": codes, "passed": True},
        "bf16": {"psnr_db": decibel, "passed": decibel >= source.bf16_psnr_db},
        "fp16": {"psnr_db": halves, "passed": halves >= source.fp16_psnr_db},
    }


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


def origins(packs: Sequence[Sequence[Mapping[str, Any]]]) -> list[dict[str, Any]]:
    """One row a package, kind and licence, of what was trained on. Packs draw on the same files, but not all
    had all films: the last one that had the most files of a package tells."""
    best: dict[tuple[str, str], dict[str, dict[str, Any]]] = {}
    for pack in packs:
        found: dict[tuple[str, str], dict[str, dict[str, Any]]] = {}
        for row in pack:
            if row["files"]:  # else it is of held-out titles alone
                told = {k: row[k] for k in ("source", "version", "kind", "files", "licence")}
                licences = found.setdefault((row["source"], row["kind"]), {})
                licences.setdefault(row["licence"], {**told, "files": 0})["files"] += row["files"]
        for key, licences in found.items():
            known = sum(row["files"] for row in best.get(key, {}).values())
            if sum(row["files"] for row in licences.values()) >= known:
                best[key] = licences
    return [row for licences in best.values() for row in licences.values()]


def training_of(
    runs: Sequence[Mapping[str, Any]],
    packs: Sequence[Sequence[Mapping[str, Any]]],
    commands: Sequence[str],
) -> dict[str, Any]:
    """The card's "training" entry from the runs' summaries, the packs' sources, and the commands."""
    return {
        "data": origins(packs),
        "command": " && ".join(commands),
        "steps": sum(run["steps"] for run in runs),
        "hours": round(sum(run["seconds"] for run in runs) / 3600, 2),
    }


def command_of(task: str, run: Mapping[str, Any], usual: Mapping[str, Any] | None = None) -> str:
    """The command of one run: its options have the words of the command line, but for those that are as
    ``usual`` has them."""
    words = [f"clarivid train {task}"]
    for key, value in run["options"].items():
        flag = key.replace("_", "-")
        if usual is not None and key in usual and usual[key] == value:
            continue
        if isinstance(value, bool):
            words.append(f"--{flag}" if value else f"--no-{flag}")
        elif isinstance(value, (int, float)):
            words.append(f"--{flag} {value:g}")
        elif isinstance(value, str) and value:
            words.append(f"--{flag} {value}")
    return " ".join(words)


def _card(source: Source, files: Mapping[str, Any], parity: Mapping[str, Any]) -> dict[str, Any]:
    net = source.net
    return {
        "schema": 1,
        "name": source.name,
        "task": source.task,
        "layout": source.layout,
        "scale": source.scale,
        **normalisation_of(source.layout, ""),
        "precision": "fp32",
        "files": dict(files),
        "input": dict(source.input),
        **({"controls": CONTROLS} if source.strength else {}),
        "receptive_field": net.receptive_field(),
        "parameters": net.parameters_merged(),
        "gmac_1080p": round(net.macs() / 1e9, 2),
        **_at_best_size(source),
        "architecture": net.config(),
        "licence": "BSD-2-Clause",
        "training": dict(source.training),
        "scores": dict(source.scores),
        "parity": dict(parity),
    }


def _note(source: Source) -> str:
    return "" if source.stored is np.float32 else ", its weights rounded to fp16 and stored so"


def _at_best_size(source: Source) -> dict[str, Any]:
    """Multiply-accumulates for a 16:9 excerpt of the size that an inpainting net paints at."""
    if not source.best_size:
        return {}
    step = source.input["multiple_of"]
    height = -(-source.best_size * 9 // 16 // step) * step
    return {"gmac": round(source.net.macs(source.best_size, height) / 1e9, 2)}


def _readme(source: Source, card: Mapping[str, Any], perceptual: Source | None) -> str:
    gmac = card["gmac"] if source.best_size else card["gmac_1080p"]
    lines = [
        f"# {card['name']}",
        "",
        source.summary,
        "",
        f"- {card['parameters']:,} parameters, {gmac} GMAC {source.cost}, "
        f"{card['receptive_field']} luma pixels receptive field",
        f"- layout `{card['layout']}`, normalisation `{card.get('normalisation', '0..1')}`",
        f"- `model.onnx` is f32{_note(source)}; `model_fp16.onnx` is strongly typed fp16, input and output "
        f"too; `weights.safetensors` holds the merged {'fp16' if _note(source) else 'f32'} weights, "
        "`card.json` says how they fit together",
        "",
        *source.usage,
        *_sharpness_lines(card),
        "",
        "## Scores",
        "",
        *source.score_lines,
        *_other_scores(card["scores"]),
    ]
    if perceptual is not None:
        lines += ["", "At `sharpness=1`:", "", *perceptual.score_lines]
        lines += _other_scores(card[models.PERCEPTUAL]["scores"])
    lines += ["", "## Training", "", *_training_lines(card["training"])]
    if perceptual is not None:
        lines += ["", "The second set of weights:", "", *_training_lines(card[models.PERCEPTUAL]["training"])]
    lines += [
        "",
        source.data_text,
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


def _sharpness_lines(card: Mapping[str, Any]) -> list[str]:
    if models.PERCEPTUAL not in card:
        return []
    return [
        "",
        "Two sets of weights: `sharpness=0`, the default, comes closest to the original by PSNR; "
        f"`sharpness=1` (`{models.PERCEPTUAL_ONNX}`, `{models.PERCEPTUAL_WEIGHTS}`) was trained to look "
        "sharp; between them weights are mixed.",
    ]


def _other_scores(scores: Mapping[str, Any]) -> list[str]:
    found: list[str] = []
    for title, entry in scores.items():
        if title == "held_out":
            found += ["", *card_lines(entry)]
        elif title != "validation":
            found += ["", f"`{title}`: {json.dumps(entry)}"]
    return found


def _training_lines(training: Mapping[str, Any]) -> list[str]:
    return [
        f"{training['steps']:,} steps in {training['hours']} hours:",
        "",
        "```",
        *training["command"].split(" && "),
        "```",
    ]


__all__ = ["CONTROLS", "Source", "check", "command_of", "probe_picture", "training_of", "write"]
