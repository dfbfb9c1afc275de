# SPDX-License-Identifier: BSD-2-Clause
"""Training of the inpainting net against a time budget, resumable, on one CPU core or one GPU."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor, nn

from clarivid.data.inpaint import InpaintPack, Tiles, load
from clarivid.data.silhouette import hole as draw_hole
from clarivid.data.sources import KINDS
from clarivid.errors import InputError
from clarivid.nets.inpaint import CONFIGURATIONS, MULTIPLE, InpaintNet, Outputs
from clarivid.train.batches import fold, normalise, unfold
from clarivid.train.metrics import ssim
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

TASK = "inpaint"
_SSIM_SCALES = ((1,), (2, 4))  # in turn: full size costs as much as all the rest
_WINDOW = 11  # of SSIM
_VGG_CROP = 128  # luma samples
_FLOOR = 1e-4  # mean square of an error that nobody sees, 2.2 codes squared


@dataclass(frozen=True)
class Options:
    """What a run is made of; the command line has the same words.

    ``minutes`` is the budget of the whole run, resumed parts together, validation not counted; the learning
    rate falls over it as a cosine. ``steps`` replaces it by a number of steps, which makes a run repeatable
    to the bit on one machine. Weights of losses: see :func:`criterion`. ``curriculum`` is the share of the
    run after which all tiles are drawn from; it starts with the simplest third of each kind.
    """

    size: str = "full"
    minutes: float = 60.0
    steps: int = 0
    batch: int = 8
    crop: int = 256
    lr: float = 1e-3
    natural: float = 0.7
    curriculum: float = 0.25
    pixel: float = 1.0
    chroma: float = 0.5
    relative: float = 0.15
    ssim: float = 0.8
    scales: float = 0.3
    edge: float = 0.05
    perceptual: float = 0.05
    perceptual_every: int = 4
    perceptual_crops: int = 2
    adversarial: float = 0.0
    distil: float = 1.0
    distil_every: int = 2
    ema: float = 0.998
    seed: int = 0
    threads: int = 1
    device: str = "auto"
    precision: str = "auto"
    save_every: float = 120.0
    validate_every: float = 180.0


@dataclass
class Report:
    """What the progress display gets after each tenth step."""

    step: int
    done: float  # 0..1 of the budget
    loss: float
    crops_per_second: float
    gain: float | None  # dB in the hole over the diffusion, last validation


@dataclass(frozen=True)
class Batch:
    """``x`` [N,7,h,w] as the net takes it, ``true`` [N,6,h,w], ``hole`` [N,1,h,w]; the step it is for."""

    x: Tensor
    true: Tensor
    hole: Tensor
    step: int = 0


class Draws:
    """Batches by number: the same seed and number give the same batch, so a run can go on anywhere."""

    def __init__(self, packs: Sequence[InpaintPack], options: Options, device: torch.device) -> None:
        if options.crop < 64 or options.crop % (2 * MULTIPLE):
            raise InputError(
                f"crop is {options.crop}; it is at least 64 and a multiple of {2 * MULTIPLE} luma samples"
            )
        self.options, self.device = options, device
        self.tiles = [pack.train for pack in packs]
        # Of each kind (pack, tile), from simple to complex.
        self.order: dict[str, list[tuple[int, int]]] = {}
        for kind in KINDS:
            found = [
                (float(tiles.complexity[i]), p, i)
                for p, tiles in enumerate(self.tiles)
                for i in range(len(tiles))
                if tiles.kinds[i] == kind
            ]
            self.order[kind] = [(p, i) for _, p, i in sorted(found)]
        if not any(self.order.values()):
            raise InputError("the training packs have no tiles; make one with 'clarivid data inpaint'")

    def draw(self, step: int, done: float) -> Batch:
        """Batch number ``step`` when ``done`` (0..1) of the run is over."""
        rng = np.random.default_rng([self.options.seed, step])
        start = 1 / 3
        share = min(1.0, start + (1 - start) * done / max(self.options.curriculum, 1e-6))
        planes, holes = [], []
        size = self.options.crop
        for _ in range(self.options.batch):
            first, second = (
                ("natural", "game") if rng.random() < self.options.natural else ("game", "natural")
            )
            order = self.order[first] or self.order[second]
            p, i = order[int(rng.integers(max(1, math.ceil(share * len(order)))))]
            planes.append(_crop(self.tiles[p], i, size, rng))
            holes.append(draw_hole(size, size, rng))
        return replace(batch_of(planes, holes, self.device), step=step)


def _crop(tiles: Tiles, index: int, size: int, rng: np.random.Generator) -> list[npt.NDArray[np.uint8]]:
    """A square of the tile, reduced to ``size``, mirrored half of the time."""
    full = tiles.y.shape[1]
    side = min(full, round(size * math.exp(rng.uniform(0, math.log(max(1.0, full / size))))))
    x, y = (2 * int(rng.integers(0, (full - side) // 2 + 1)) for _ in range(2))
    method = Image.Resampling.BOX if rng.random() < 0.6 else Image.Resampling.BICUBIC
    mirror = rng.random() < 0.5
    planes = []
    for data, step in ((tiles.y[index], 1), (tiles.u[index], 2), (tiles.v[index], 2)):
        box = (x / step, y / step, (x + side) / step, (y + side) / step)
        image = Image.fromarray(data).resize((size // step, size // step), method, box=box)
        plane = np.asarray(image)
        planes.append(plane[:, ::-1] if mirror else plane)
    return planes


def batch_of(
    planes: Sequence[Sequence[npt.NDArray[np.uint8]]],
    holes: Sequence[npt.NDArray[np.bool_]],
    device: torch.device,
) -> Batch:
    """Pictures (Y, U, V of 8 bits, limited range) and holes in luma samples, as the net takes them."""
    y, u, v = (torch.from_numpy(np.stack([p[i] for p in planes])).to(device) for i in range(3))
    true = fold(*normalise(y, u, v))
    hole = torch.from_numpy(np.stack(holes)).to(device)
    hole = F.max_pool2d(hole.float()[:, None], 2)
    x = torch.cat([true * (1 - hole), hole], 1)
    layout = torch.channels_last
    return Batch(x.contiguous(memory_format=layout), true.contiguous(memory_format=layout), hole.contiguous())


# ---------------------------------------------------------------------------------------------- losses


def criterion(out: Outputs[Tensor], extra: nn.ModuleDict, batch: Batch, options: Options) -> Tensor:
    """The loss, all of it inside the hole:

    - ``pixel``: L1, ``chroma`` times that of U and V; a place counts less the deeper it lies in the hole,
      where nobody can know what is there;
    - ``relative``: half the logarithm of each crop's mean square, so that easy crops count as hard ones do;
    - ``ssim``: 1 - SSIM of luma at full size, and at half and quarter size, in turn;
    - ``scales``: L1 of the coarse picture and of the outputs at 1/8 and 1/2;
    - ``edge``: cross-entropy of the maps of edges with Sobel's, at 1/4 and at full size.
    """
    hole, true = batch.hole, batch.true
    picture = out.picture.float()
    # The share that is known within 32 luma samples, doubled: 1 at the border, 0 deep inside.
    near = (2 * F.avg_pool2d(1 - hole, 17, 1, 8, count_include_pad=False)).clamp(0, 1)
    weight = hole * (0.5 + 0.5 * near)
    error = (picture - true).abs()
    loss = options.pixel * _l1(error, weight, options.chroma)
    if options.relative:
        square = ((picture - true)[:, :4].square() * hole).sum((1, 2, 3)) / (4 * hole.sum((1, 2, 3)) + 1e-6)
        loss = loss + options.relative * 0.5 * torch.log(square + _FLOOR).mean()
    if options.ssim:
        loss = loss + options.ssim * _ssim_loss(picture, true, hole, _SSIM_SCALES[batch.step % 2])
    if options.scales:
        parts = torch.zeros((), device=true.device)
        guesses = ((out.coarse, 4), (extra["deep"](out.deep), 8), (extra["middle"](out.middle), 2))
        for guess, factor in guesses:
            small, share = F.avg_pool2d(true, factor), F.avg_pool2d(hole, factor)
            parts = parts + _l1((guess.float() - small).abs(), share, options.chroma)
        loss = loss + options.scales * parts / 3
    if options.edge:
        wanted = edge_map(true)
        fine = F.pixel_shuffle(extra["edges"](out.fine).float(), 2)
        luma_hole = F.interpolate(hole, scale_factor=2.0)
        entropy = F.binary_cross_entropy_with_logits(fine, wanted, weight=luma_hole, reduction="sum")
        small = F.max_pool2d(wanted, 8)
        share = F.avg_pool2d(hole, 4)
        guess = out.edges.float().clamp(1e-4, 1 - 1e-4)
        coarse = -(small * guess.log() + (1 - small) * (1 - guess).log()) * share
        loss = loss + options.edge * (
            entropy / (luma_hole.sum() + 1e-6) + coarse.sum() / (share.sum() + 1e-6)
        )
    return loss


def _l1(error: Tensor, weight: Tensor, chroma: float) -> Tensor:
    """Weighted mean of |error| [N,6,h,w] of luma, plus ``chroma`` times that of U and V."""
    total = weight.sum() + 1e-6
    luma = (error[:, :4] * weight).sum() / (4 * total)
    result: Tensor = luma + chroma * (error[:, 4:] * weight).sum() / (2 * total)
    return result


def _ssim_loss(picture: Tensor, true: Tensor, hole: Tensor, scales: Sequence[int]) -> Tensor:
    """1 - SSIM of luma, mean over the windows that the hole touches, mean of the scales."""
    x, y = ((unfold(z)[0] + 0.5) * 219 + 16 for z in (picture, true))
    parts = []
    for scale in scales:
        touched = F.interpolate(hole, scale_factor=2.0)
        touched = F.max_pool2d(F.max_pool2d(touched, scale), _WINDOW, 1, _WINDOW // 2)
        share = touched.mean((1, 2, 3)).clamp(min=0.01)
        parts.append(((1 - ssim(x, y, scale)) / share).mean())
    return torch.stack(parts).mean()


def edge_map(folded: Tensor) -> Tensor:
    """Sobel's magnitude of luma as 0..1, [N,1,2h,2w]; half a picture's range across one sample is 1."""
    y = F.pad(unfold(folded)[0][:, None], (1, 1, 1, 1), mode="replicate")
    down = y[:, :, :-2] + 2 * y[:, :, 1:-1] + y[:, :, 2:]
    across = y[..., :-2] + 2 * y[..., 1:-1] + y[..., 2:]
    dx, dy = down[..., 2:] - down[..., :-2], across[:, :, 2:] - across[:, :, :-2]
    return (dx.square() + dy.square() + 1e-7).sqrt().clamp(0, 1)


def perceptual_loss(picture: Tensor, batch: Batch, options: Options, rng: np.random.Generator) -> Tensor:
    """VGG's distance of some crops of 128x128 luma samples about a place in the hole."""
    from clarivid.train.perceptual import vgg_distance

    size = min(_VGG_CROP // 2, picture.shape[2], picture.shape[3])
    ours, theirs = [], []
    for i in range(min(options.perceptual_crops, len(picture))):
        places = batch.hole[i, 0].nonzero()
        y, x = places[int(rng.integers(len(places)))].tolist() if len(places) else (0, 0)
        top = min(max(0, y - size // 2), picture.shape[2] - size)
        left = min(max(0, x - size // 2), picture.shape[3] - size)
        ours.append(picture[i, :, top : top + size, left : left + size])
        theirs.append(batch.true[i, :, top : top + size, left : left + size])
    a, b = (_codes(torch.stack(part)) for part in (ours, theirs))
    return vgg_distance(a, b, 3).mean()


def _codes(folded: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    y, u, v = unfold(folded)
    return (y + 0.5) * 219 + 16, u * 224 + 128, v * 224 + 128


class PatchCritic(nn.Module):
    """Judges patches of a painted picture (PatchGAN, Isola et al. 2017; spectral normalisation, Miyato et al.
    2018): [N,7,h,w], picture and hole, to a map of scores at 1/8."""

    def __init__(self, channels: int = 32) -> None:
        super().__init__()
        widths = (7, channels, 2 * channels, 4 * channels)
        layers: list[nn.Module] = []
        for a, b in pairwise(widths):
            layers += [nn.utils.parametrizations.spectral_norm(nn.Conv2d(a, b, 4, 2, 1)), nn.LeakyReLU(0.2)]
        layers.append(nn.utils.parametrizations.spectral_norm(nn.Conv2d(widths[-1], 1, 3, 1, 1)))
        self.layers = nn.Sequential(*layers)

    def forward(self, picture: Tensor, hole: Tensor) -> Tensor:
        result: Tensor = self.layers(torch.cat([picture, hole], 1))
        return result


def critic_loss(critic: PatchCritic, painted: Tensor, batch: Batch) -> Tensor:
    """Hinge loss of the critic: true pictures above 1, painted ones below -1, where the hole is."""
    weight = F.max_pool2d(batch.hole, 8)
    real = F.relu(1 - critic(batch.true, batch.hole))
    fake = F.relu(1 + critic(painted.detach(), batch.hole))
    result: Tensor = ((real + fake) * weight).sum() / (weight.sum() + 1e-6)
    return result


def adversarial_loss(critic: PatchCritic, painted: Tensor, batch: Batch) -> Tensor:
    """What the net wants of the critic: high scores where the hole is."""
    weight = F.max_pool2d(batch.hole, 8)
    result: Tensor = -(critic(painted, batch.hole) * weight).sum() / (weight.sum() + 1e-6)
    return result


# -------------------------------------------------------------------------------------------- validation


def scores_in_hole(
    painted: npt.NDArray[Any], true: npt.NDArray[Any], hole: npt.NDArray[np.bool_]
) -> tuple[float, float]:
    """PSNR (dB) and SSIM of luma codes [H,W] over the samples of the hole.

    SSIM's windows (Gaussian of sigma 1.5, 11 samples, as Wang et al. 2004) are centred at the hole's samples
    and reach beyond it; pictures are mirrored at their borders.
    """
    a, b = (torch.from_numpy(np.array(z, np.float32))[None, None] for z in (painted, true))
    where = torch.from_numpy(hole)
    mse = float((a - b).square()[0, 0][where].mean())
    line = torch.exp(-((torch.arange(_WINDOW) - _WINDOW // 2) ** 2) / (2 * 1.5**2))
    line = line / line.sum()
    stack = torch.cat([a, b, a * a, b * b, a * b]).double()
    stack = F.pad(stack, (_WINDOW // 2,) * 4, mode="reflect")
    line = line.double()
    stack = F.conv2d(F.conv2d(stack, line[None, None, :, None]), line[None, None, None, :])
    ma, mb, aa, bb, ab = stack[:, 0]
    c1, c2 = (0.01 * 255) ** 2, (0.03 * 255) ** 2
    value = (2 * ma * mb + c1) * (2 * (ab - ma * mb) + c2)
    value = value / ((ma * ma + mb * mb + c1) * (aa - ma * ma + bb - mb * mb + c2))
    return 10 * math.log10(255**2 / max(mse, 1e-3)), float(value[where].mean())


class Validation:
    """Held-out titles, whole tiles reduced to 256x256, each with one figure cut out; always the same."""

    def __init__(self, packs: Sequence[InpaintPack], device: torch.device, size: int = 256) -> None:
        self.device = device
        self.cases: list[tuple[str, Batch, npt.NDArray[np.uint8], npt.NDArray[np.bool_]]] = []
        for pack in packs:
            tiles = pack.val
            for i in range(len(tiles)):
                planes = [
                    np.asarray(Image.fromarray(data).resize((size // s, size // s), Image.Resampling.BOX))
                    for data, s in ((tiles.y[i], 1), (tiles.u[i], 2), (tiles.v[i], 2))
                ]
                hole = draw_hole(size, size, np.random.default_rng([77, i]), "people")
                hole = hole.reshape(size // 2, 2, size // 2, 2).any((1, 3)).repeat(2, 0).repeat(2, 1)
                batch = batch_of([planes], [hole], device)
                self.cases.append((tiles.kinds[i], batch, planes[0], hole))

    @torch.no_grad()
    def score(self, net: InpaintNet, weights: dict[str, Tensor] | None, bf16: bool) -> dict[str, Any]:
        """By kind and for all: mean PSNR-Y and SSIM in the hole, of ``weights`` (None: as the net is)."""
        trained = {name: value.clone() for name, value in net.state_dict().items()}
        if weights is not None:
            net.load_state_dict(weights)
        rows: dict[str, list[tuple[float, float]]] = {}
        for kind, batch, true, hole in self.cases:
            with torch.autocast(self.device.type, torch.bfloat16, enabled=bf16):
                y = unfold(net(batch.x).float())[0][0]
            code = ((y + 0.5) * 219 + 16.5).floor().clamp(0, 255).cpu().numpy()
            found = scores_in_hole(code, true, hole)
            rows.setdefault(kind, []).append(found)
            rows.setdefault("all", []).append(found)
        net.load_state_dict(trained)
        return {
            kind: {
                "psnr_y": round(float(np.mean([r[0] for r in row])), 3),
                "ssim": round(float(np.mean([r[1] for r in row])), 4),
            }
            for kind, row in rows.items()
        }


# ---------------------------------------------------------------------------------------------- the run


def train(
    options: Options,
    packs: Sequence[Path],
    out: Path,
    resume: bool = False,
    init: Path | None = None,
    teacher: Path | None = None,
    progress: Callable[[Report], None] | None = None,
) -> dict[str, Any]:
    """Train and leave ``last.pt``, ``best.pt`` and ``log.jsonl`` in ``out``; returns the last validation.

    ``resume`` goes on from ``out/last.pt``; ``init`` starts from another run's averaged weights; ``teacher``
    is the checkpoint of a net whose paintings are imitated (weight ``distil``). Raises :class:`InputError` on
    unusable options, packs or checkpoints.
    """
    _check(options)
    torch.set_num_threads(max(1, options.threads))
    torch.manual_seed(options.seed)
    device = pick_device(options.device)
    bf16 = computes_in_bf16(device, options.precision)
    data = [load(path) for path in packs]
    draws = Draws(data, options, device)
    net = InpaintNet(options.size).to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    history: list[dict[str, Any]] = []
    if init is not None:
        state = read_checkpoint(init)
        _load(net, state, init)
        history = [*state.get("history", []), summary_of(state)]
    guide = net_from_checkpoint(teacher)[0].to(device) if teacher else None
    average = {name: value.detach().clone() for name, value in net.state_dict().items()}
    optimiser = torch.optim.Adam(net.parameters(), lr=options.lr, betas=(0.9, 0.99))
    critic = PatchCritic().to(device) if options.adversarial else None
    critic_optimiser = torch.optim.Adam(critic.parameters(), options.lr) if critic else None
    out.mkdir(parents=True, exist_ok=True)
    step, spent, best = 0, 0.0, -math.inf
    if resume and (out / "last.pt").is_file():
        state = read_checkpoint(out / "last.pt")
        _load(net, state, out / "last.pt", "model")
        average = {name: value.to(device) for name, value in state["ema"].items()}
        optimiser.load_state_dict(state["optimiser"])
        if critic and critic_optimiser and state.get("critic"):
            critic.load_state_dict(state["critic"])
            critic_optimiser.load_state_dict(state["critic_optimiser"])
        step, spent, best = state["step"], state["seconds"], state["best"]
        history = list(state.get("history", []))
    validation = Validation(data, device)
    base = Validation.score(validation, _untrained(net), None, False) if validation.cases else {}
    score: dict[str, Any] = {}
    gain: float | None = None
    loss_sum, loss_count, mean_loss = torch.zeros((), device=device), 0, math.nan
    saved = validated = time.monotonic()
    rate = 0.0

    def save(name: str) -> None:
        state = {
            "schema": CHECKPOINT_SCHEMA,
            "task": TASK,
            "model": net.state_dict(),
            "ema": average,
            "optimiser": optimiser.state_dict(),
            "critic": critic.state_dict() if critic else None,
            "critic_optimiser": critic_optimiser.state_dict() if critic_optimiser else None,
            "step": step,
            "seconds": spent,
            "best": best,
            "net": net.config(),
            "options": asdict(options),
            "history": history,
            "score": score,
            "sources": [p.manifest["sources"] for p in data],
            "packs": [{"seed": p.manifest["seed"], "views": p.manifest["views"]} for p in data],
            "teacher": teacher.parent.name if teacher else "",
        }
        save_atomically(out / name, state)

    while True:
        done = step / options.steps if options.steps else spent / (60 * options.minutes)
        now = time.monotonic()
        ending = done >= 1
        if ending or now - validated >= options.validate_every:
            score = {}
            if validation.cases:
                score = {**validation.score(net, average, bf16), "diffusion": base["all"]}
                gain = score["all"]["psnr_y"] - base["all"]["psnr_y"]
            if loss_count:
                mean_loss = float(loss_sum) / loss_count
                loss_sum.zero_()
                loss_count = 0
            line = {
                "step": step,
                "minutes": round(spent / 60, 2),
                "loss": round(mean_loss, 5),
                "crops_per_second": round(rate, 1),
                "validation": score,
            }
            with (out / "log.jsonl").open("a", encoding="utf-8") as log:
                log.write(json.dumps(line) + "\n")
            # A hundredth of SSIM counts as much as 0.2 dB: neither may be bought with the other.
            merit = score["all"]["psnr_y"] + 20 * score["all"]["ssim"] if score else -math.inf
            if merit > best:
                best = merit
                save("best.pt")
            validated = time.monotonic()
        if ending or now - saved >= options.save_every:
            save("last.pt")
            saved = time.monotonic()
        if ending:
            return score
        clock = time.monotonic()
        lr = cosine(options.lr, done, step, warm_up=100)
        for group in optimiser.param_groups:
            group["lr"] = lr
        batch = draws.draw(step, done)
        with torch.autocast(device.type, torch.bfloat16, enabled=bf16):
            output = net.outputs(batch.x)
            loss = criterion(output, net.extra, batch, options)
            picture = output.picture.float()
            if guide is not None and step % options.distil_every == 0:
                with torch.no_grad():
                    shown = guide(batch.x).float()
                weight = options.distil * options.distil_every
                loss = loss + weight * _l1((picture - shown).abs(), batch.hole, options.chroma)
            if options.perceptual and step % options.perceptual_every == 0:
                rng = np.random.default_rng([options.seed, step, 1])
                weight = options.perceptual * options.perceptual_every
                loss = loss + weight * perceptual_loss(picture, batch, options, rng)
            if critic and critic_optimiser:
                critic.requires_grad_(False)
                loss = loss + options.adversarial * adversarial_loss(critic, picture, batch)
                critic.requires_grad_(True)
        optimiser.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(net.parameters(), 0.5)
        optimiser.step()
        if critic and critic_optimiser:
            with torch.autocast(device.type, torch.bfloat16, enabled=bf16):
                judged = critic_loss(critic, picture, batch)
            critic_optimiser.zero_grad(set_to_none=True)
            judged.backward()  # type: ignore[no-untyped-call]
            critic_optimiser.step()
        loss_sum += loss.detach()
        loss_count += 1
        step += 1
        average_weights(average, net, min(options.ema, (1 + step) / (10 + step)))
        took = time.monotonic() - clock
        spent += took
        rate = options.batch / took if rate == 0 else 0.98 * rate + 0.02 * options.batch / took
        if progress and step % 10 == 0:
            progress(Report(step, done, float(loss_sum) / loss_count, rate, gain))


def net_from_checkpoint(path: Path) -> tuple[InpaintNet, dict[str, Any]]:
    """The net with averaged weights, in eval mode, and the checkpoint.

    :class:`InputError` when it is none of ours or for another task.
    """
    state = read_checkpoint(path)
    if state.get("task") != TASK:
        raise InputError(f"{path} is for the task '{state.get('task', 'sr')}', not {TASK}")
    net = InpaintNet.from_config(state["net"])
    net.load_state_dict(state["ema"])
    return net.eval(), state


def _untrained(net: InpaintNet) -> InpaintNet:
    """A net of that size that adds nothing to the diffusion."""
    plain = InpaintNet(net.widths)
    for name, layer in plain.convs.items():
        if name.endswith("_picture"):
            assert isinstance(layer, nn.Conv2d)
            assert layer.bias is not None
            nn.init.zeros_(layer.weight)
            nn.init.zeros_(layer.bias)
    device = next(net.parameters()).device
    return plain.to(device, memory_format=torch.channels_last)  # type: ignore[call-overload, no-any-return]


def _load(net: InpaintNet, state: dict[str, Any], path: Path, key: str = "ema") -> None:
    if state.get("task") != TASK or state.get("net") != net.config():
        raise InputError(
            f"{path} is for the task '{state.get('task', 'sr')}' and the net {state.get('net')}; "
            f"this run's is {net.config()}"
        )
    net.load_state_dict(state[key])


def _check(options: Options) -> None:
    if options.size not in CONFIGURATIONS:
        raise InputError(f"size '{options.size}' is not one of {', '.join(CONFIGURATIONS)}")
    if options.minutes <= 0 and options.steps <= 0:
        raise InputError(f"minutes is {options.minutes:g}; a run needs minutes or steps above 0")
    for name in ("batch", "perceptual_every", "perceptual_crops", "distil_every"):
        if getattr(options, name) < 1:
            raise InputError(f"{name} is {getattr(options, name)}; it is at least 1")


__all__ = [
    "Batch",
    "Draws",
    "Options",
    "PatchCritic",
    "Report",
    "Validation",
    "adversarial_loss",
    "batch_of",
    "criterion",
    "critic_loss",
    "edge_map",
    "net_from_checkpoint",
    "perceptual_loss",
    "scores_in_hole",
    "train",
]
