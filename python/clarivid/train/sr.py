# SPDX-License-Identifier: BSD-2-Clause
"""Training of the super-resolution net against a time budget, resumable, on one CPU core or one GPU."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
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
    CHECKPOINT_SCHEMA,
    average_weights,
    computes_in_bf16,
    cosine,
    pick_device,
    read_checkpoint,
    save_atomically,
    summary_of,
)


@dataclass(frozen=True)
class Options:
    """What a run is made of; the command line has the same words.

    ``minutes`` is the budget of the whole run, resumed parts together; the learning rate falls over it as a
    cosine. ``steps`` replaces it by a number of steps, which makes a run repeatable to the bit on one
    machine.
    """

    kind: str = "all"
    minutes: float = 60.0
    steps: int = 0
    batch: int = 16
    lr: float = 1e-3
    other: float = 0.15
    chroma_weight: float = 0.25
    edge_weight: float = 0.0
    loss: str = "charbonnier"
    border_weight: float = 0.3
    ema: float = 0.999
    channels: int = 48
    blocks: int = 4
    attention: bool = True
    seed: int = 0
    threads: int = 1
    device: str = "auto"
    precision: str = "auto"
    save_every: float = 120.0
    validate_every: float = 120.0


@dataclass
class Report:
    """What the progress display gets after each step."""

    step: int
    done: float  # 0..1 of the budget
    loss: float
    lr: float
    patches_per_second: float
    gain: float | None  # dB over Lanczos at the last validation, mean of the kinds


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
    device = pick_device(options.device)
    bf16 = computes_in_bf16(device, options.precision)
    data = [load(path) for path in packs]
    batches = Batches(data, _shares(options), options.batch, options.seed, device)
    net = SRNet(options.channels, options.blocks, attention=options.attention).to(device)
    net.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    history: list[dict[str, Any]] = []
    if init is not None:
        state = read_checkpoint(init)
        net.load_state_dict(state["ema"])
        history = [*state.get("history", []), summary_of(state)]
    average = {name: value.detach().clone() for name, value in net.state_dict().items()}
    optimiser = torch.optim.Adam(net.parameters(), lr=options.lr, betas=(0.9, 0.99))
    out.mkdir(parents=True, exist_ok=True)
    step, spent, best = 0, 0.0, -math.inf
    if resume and (out / "last.pt").is_file():
        state = read_checkpoint(out / "last.pt")
        net.load_state_dict(state["model"])
        average = {name: value.to(device) for name, value in state["ema"].items()}
        optimiser.load_state_dict(state["optimiser"])
        batches.rng.set_state(state["rng"])
        step, spent, best = state["step"], state["seconds"], state["best"]
        history = list(state.get("history", []))
    validation = Validation(data, device)
    score: dict[str, Any] = {}
    gain: float | None = None
    loss_sum = torch.zeros((), device=device)
    mean_loss, loss_count = math.nan, 0
    clock = saved = validated = time.monotonic()
    rate = 0.0

    def save(name: str) -> None:
        save_atomically(
            out / name,
            {
                "schema": CHECKPOINT_SCHEMA,
                "model": net.state_dict(),
                "ema": average,
                "optimiser": optimiser.state_dict(),
                "rng": batches.rng.get_state(),
                "step": step,
                "seconds": spent,
                "best": best,
                "net": net.config(),
                "options": asdict(options),
                "history": history,
                "score": score,
                "sources": [p.manifest["sources"] for p in data],
                "packs": [_origin(p) for p in data],
            },
        )

    while True:
        done = step / options.steps if options.steps else spent / (60 * options.minutes)
        now = time.monotonic()
        ending = done >= 1
        if ending or now - validated >= options.validate_every:
            score = validation.score(net, average, bf16)
            gain = float(np.mean([kind["gain_db"] for kind in score.values()])) if score else None
            if loss_count:
                mean_loss = float(loss_sum) / loss_count
                loss_sum.zero_()
                loss_count = 0
            with (out / "log.jsonl").open("a", encoding="utf-8") as log:
                log.write(
                    json.dumps(
                        {
                            "step": step,
                            "minutes": round(spent / 60, 2),
                            "loss": mean_loss,
                            "lr": optimiser.param_groups[0]["lr"],
                            "patches_per_second": round(rate, 1),
                            "validation": score,
                        }
                    )
                    + "\n"
                )
            if gain is not None and gain > best:
                best = gain
                save("best.pt")
            validated = time.monotonic()
        if ending or now - saved >= options.save_every:
            save("last.pt")
            saved = time.monotonic()
        if ending:
            return score
        clock = time.monotonic()
        lr = cosine(options.lr, done, step)
        for group in optimiser.param_groups:
            group["lr"] = lr
        loss = _step(net, optimiser, batches.draw(), options, bf16)
        loss_sum += loss
        loss_count += 1
        step += 1
        average_weights(average, net, min(options.ema, (1 + step) / (10 + step)))
        took = time.monotonic() - clock
        spent += took
        rate = options.batch / took if rate == 0 else 0.98 * rate + 0.02 * options.batch / took
        if progress and step % 10 == 0:
            progress(Report(step, done, float(loss_sum) / loss_count, lr, rate, gain))


def _step(net: SRNet, optimiser: torch.optim.Optimizer, batch: Batch, options: Options, bf16: bool) -> Tensor:
    with torch.autocast(batch.low.device.type, torch.bfloat16, enabled=bf16):
        out = net(batch.low, batch.mix)
    loss = criterion(out.float(), batch, options)
    optimiser.zero_grad(set_to_none=True)
    loss.backward()  # type: ignore[no-untyped-call]
    torch.nn.utils.clip_grad_norm_(net.parameters(), 0.5)
    optimiser.step()
    return loss.detach()


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
