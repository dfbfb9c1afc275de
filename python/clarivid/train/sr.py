# SPDX-License-Identifier: BSD-2-Clause
"""Training of the super-resolution net against a time budget, resumable, on one CPU core or one GPU."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from clarivid.data.pack import Pack, Tiles, load
from clarivid.data.sources import KINDS
from clarivid.errors import InputError
from clarivid.nets.sr import SRNet
from clarivid.train.batches import Batch, Batches, fold, normalise, unfold
from clarivid.train.runs import (
    Report,
    Run,
    RunOptions,
    computes_in_bf16,
    pick_device,
    read_checkpoint,
)

TASK = "sr"


@dataclass(frozen=True)
class Options(RunOptions):
    """What a run is made of; the command line has the same words."""

    kind: str = "all"
    other: float = 0.15
    chroma_weight: float = 0.25
    edge_weight: float = 0.0
    loss: str = "charbonnier"
    border_weight: float = 0.3
    channels: int = 48
    blocks: int = 4
    attention: bool = True
    precision: str = "auto"


def train(
    options: Options,
    packs: Sequence[Path],
    out: Path,
    resume: bool = False,
    init: Path | None = None,
    progress: Callable[[Report], None] | None = None,
) -> dict[str, Any]:
    """Train and leave ``last.pt``, ``best.pt`` and ``log.jsonl`` in ``out``; returns the last validation.

    ``resume`` goes on from ``out/last.pt`` (weights, optimiser, step, random state, time spent); ``init``
    starts a new run from another run's averaged weights. Raises :class:`InputError` on unusable packs or
    checkpoints.
    """
    if options.loss not in ("charbonnier", "rms"):
        raise InputError(f"loss '{options.loss}' is not one of charbonnier, rms")
    torch.set_num_threads(max(1, options.threads))
    torch.manual_seed(options.seed)
    run = _Run(options, [load(path) for path in packs], out)
    if init is not None:
        run.start_from(init)
    if resume:
        run.resume()
    return run.train(progress)


class _Run(Run):
    """Of the super-resolution net."""

    def __init__(self, options: Options, packs: Sequence[Pack], out: Path) -> None:
        device = pick_device(options.device)
        self.bf16 = computes_in_bf16(device, options.precision)
        self.batches = Batches(packs, _shares(options), options.batch, options.seed, device)
        self.sr = SRNet(options.channels, options.blocks, attention=options.attention).to(device)
        self.sr.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        super().__init__(self.sr, options, out, device)
        self.rng = self.batches.rng
        self.words, self.packs = options, packs
        self.validation = Validation(packs, device)

    def config(self) -> dict[str, Any]:
        return self.sr.config()

    def loss(self, done: float) -> Tensor:
        batch = self.batches.draw()
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.bf16):
            out = self.sr(batch.low, batch.mix)
        return criterion(out.float(), batch, self.words)

    def validate(self) -> tuple[dict[str, Any], float]:
        score = self.validation.score(self.sr, self.average, self.bf16)
        gain = mean_gain(score)
        return score, -math.inf if gain is None else gain

    def load_weights(self, state: Mapping[str, Any], which: str, path: Path) -> None:
        if state.get("task", TASK) != TASK or state["net"] != self.config():
            raise InputError(
                f"{path} is of another net than the options ask for: {state['net']}, not {self.config()}"
            )
        self.sr.load_state_dict(state[which])

    def details(self) -> dict[str, Any]:
        return {
            "task": TASK,
            "sources": [p.manifest["sources"] for p in self.packs],
            "packs": [_origin(p) for p in self.packs],
        }


def mean_gain(score: Mapping[str, Any]) -> float | None:
    """dB over Lanczos, mean of the kinds of a validation."""
    return float(np.mean([kind["gain_db"] for kind in score.values()])) if score else None


def criterion(out: Tensor, batch: Batch, options: Options) -> Tensor:
    """Error of luma, plus ``chroma_weight`` of chroma's, plus ``edge_weight`` of luma's Sobel edges'.

    ``loss`` "rms" is the root of each crop's mean square, averaged over crops: square inside a crop, because
    PSNR is judged, but no crop outweighs the others by its contrast. "charbonnier" is the mean of a smoothed
    magnitude, a little sharper. The outermost four folded places of a crop count ``border_weight``: a crop's
    border is met far more often than a picture's.
    """
    square = (out - batch.high) ** 2
    weight = torch.full(out.shape[-2:], options.border_weight, device=out.device)
    weight[4:-4, 4:-4] = 1
    weight = weight / weight.mean()

    def error(x: Tensor) -> Tensor:
        if options.loss == "rms":
            return torch.sqrt((x * weight).mean((1, 2, 3)) + 1e-6).mean()
        return (torch.sqrt(x + 1e-6) * weight).mean()

    loss = error(square[:, :16])
    if batch.chroma and options.chroma_weight:
        loss = loss + 2 * options.chroma_weight * error(square[:, 16:])
    if options.edge_weight:
        loss = loss + options.edge_weight * torch.sqrt(_sobel(out - batch.high) ** 2 + 1e-6).mean()
    return loss


def _sobel(difference: Tensor) -> Tensor:
    """Both Sobel gradients of the luma difference, [N,2,H-2,W-2]; Sobel is linear, so of the pictures'
    too."""
    y = unfold(difference)[0][:, None]
    kernel = torch.tensor([[-1.0, 0, 1], [-2, 0, 2], [-1, 0, 1]], device=y.device) / 4
    return torch.nn.functional.conv2d(y, torch.stack([kernel, kernel.T])[:, None])


class Validation:
    """Whole pictures of held-out titles; Lanczos is pillow's, which agrees with swscale's to some 0.01 dB."""

    def __init__(self, packs: Sequence[Pack], device: torch.device) -> None:
        self.device = device
        self.pictures: dict[str, list[tuple[Tiles, float]]] = {}
        for pack in packs:
            for kind, pictures in pack.val.items():
                for tiles in pictures:
                    high, low = tiles["y_hi"][0], tiles["y_lo"][0]
                    size = (high.shape[1], high.shape[0])
                    lanczos = np.asarray(Image.fromarray(low).resize(size, Image.Resampling.LANCZOS))
                    self.pictures.setdefault(kind, []).append((tiles, psnr(lanczos, high)))

    @torch.no_grad()
    def score(self, net: SRNet, weights: dict[str, Tensor], bf16: bool) -> dict[str, dict[str, float]]:
        """By kind: mean PSNR-Y of ``weights``, of Lanczos, mean and least gain, all in dB."""
        trained = {name: value.clone() for name, value in net.state_dict().items()}
        net.load_state_dict(weights)
        result = {}
        for kind, pictures in self.pictures.items():
            ours = [psnr(self._upscale(net, tiles, bf16), tiles["y_hi"][0]) for tiles, _ in pictures]
            gains = [a - b for a, (_, b) in zip(ours, pictures, strict=True)]
            result[kind] = {
                "psnr_y": round(float(np.mean(ours)), 3),
                "lanczos": round(float(np.mean([b for _, b in pictures])), 3),
                "gain_db": round(float(np.mean(gains)), 3),
                "worst_gain_db": round(min(gains), 3),
            }
        net.load_state_dict(trained)
        return result

    def _upscale(self, net: SRNet, tiles: Tiles, bf16: bool) -> np.ndarray[Any, np.dtype[np.uint8]]:
        low = fold(
            *normalise(*(torch.from_numpy(tiles[p]).to(self.device) for p in ("y_lo", "u_lo", "v_lo")))
        )
        with torch.autocast(self.device.type, torch.bfloat16, enabled=bf16):
            y = unfold(net(low.contiguous(memory_format=torch.channels_last)).float())[0][0]
        code = ((y + 0.5) * 219 + 16.5).floor().clamp(0, 255)
        return code.to(torch.uint8).cpu().numpy()


def psnr(a: np.ndarray[Any, np.dtype[np.uint8]], b: np.ndarray[Any, np.dtype[np.uint8]]) -> float:
    """PSNR in dB of two 8-bit planes."""
    mse = float(np.mean((a.astype(np.float64) - b) ** 2))
    return 10 * math.log10(255**2 / max(mse, 1e-9))


def net_from_checkpoint(path: Path) -> tuple[SRNet, dict[str, Any]]:
    """The net with averaged weights, in eval mode, and the checkpoint."""
    state = read_checkpoint(path)
    config = state["net"]
    net = SRNet(config["channels"], config["blocks"], config["scale"], config["attention"])
    net.load_state_dict(state["ema"])
    return net.eval(), state


def _origin(pack: Pack) -> dict[str, Any]:
    """Seed, kind and clips a kind, which make the pack again."""
    clips = [c for c in pack.manifest.get("clips", []) if not c.get("val")]
    scenes = len(clips) // 2  # two frames of a clip are kept
    kind = next(iter(pack.crops)) if len(pack.crops) == 1 else "all"
    seed = int(pack.manifest.get("seed", 0))
    return {"seed": seed, "kind": kind, "clips": scenes // max(1, len(pack.crops))}


def _shares(options: Options) -> dict[str, float]:
    if options.kind == "all":
        return dict.fromkeys(KINDS, 1 / len(KINDS))
    if options.kind not in KINDS:
        raise InputError(f"there is no kind '{options.kind}' of pictures; use {', '.join(KINDS)} or all")
    rest = [kind for kind in KINDS if kind != options.kind]
    return {options.kind: 1 - options.other, **dict.fromkeys(rest, options.other / len(rest))}
