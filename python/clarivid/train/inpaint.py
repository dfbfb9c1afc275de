# SPDX-License-Identifier: BSD-2-Clause
"""Training of the inpainting net against a time budget, resumable, on one CPU core or one GPU."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
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
from clarivid.train.critic import Judge
from clarivid.train.metrics import ssim
from clarivid.train.runs import (
    Report,
    Run,
    RunOptions,
    computes_in_bf16,
    pick_device,
    read_checkpoint,
)

TASK = "inpaint"
_SSIM_SCALES = ((1,), (2, 4))  # in turn: full size costs as much as all the rest
_WINDOW = 11  # of SSIM
_VGG_CROP = 128  # luma samples
_FLOOR = 1e-4  # mean square of an error that nobody sees, 2.2 codes squared


@dataclass(frozen=True)
class Options(RunOptions):
    """What a run is made of; the command line has the same words.

    Weights of losses: see :func:`criterion`. ``curriculum`` is the share of the run after which all tiles are
    drawn from; it starts with the simplest third of each kind.
    """

    batch: int = 8
    ema: float = 0.998
    validate_every: float = 180.0
    size: str = "full"
    crop: int = 256
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
    precision: str = "auto"


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
    run = _Run(options, [load(path) for path in packs], out, teacher)
    if init is not None:
        run.start_from(init)
    if resume:
        run.resume()
    return run.train(progress)


class _Run(Run):
    """Of the inpainting net, with a teacher and a critic if they are wanted."""

    warm_up = 100

    def __init__(
        self, options: Options, packs: Sequence[InpaintPack], out: Path, teacher: Path | None
    ) -> None:
        device = pick_device(options.device)
        self.bf16 = computes_in_bf16(device, options.precision)
        self.draws = Draws(packs, options, device)
        self.painter = InpaintNet(options.size).to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        super().__init__(self.painter, options, out, device)
        self.words, self.packs = options, packs
        self.guide = net_from_checkpoint(teacher)[0].to(device) if teacher else None
        self.teacher = teacher.parent.name if teacher else ""
        self.judge = Judge(PatchCritic().to(device), options.lr) if options.adversarial else None
        self.validation = Validation(packs, device)
        self.base = self.validation.score(_untrained(self.painter), None, False)
        self.seen: tuple[Tensor, Batch] | None = None  # what the critic judges after the step

    def config(self) -> dict[str, Any]:
        config: dict[str, Any] = self.painter.config()
        return config

    def loss(self, done: float) -> Tensor:
        options = self.words
        batch = self.draws.draw(self.step, done)
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.bf16):
            output = self.painter.outputs(batch.x)
            loss = criterion(output, self.painter.extra, batch, options)
            picture = output.picture.float()
            if self.guide is not None and self.step % options.distil_every == 0:
                with torch.no_grad():
                    shown = self.guide(batch.x).float()
                weight = options.distil * options.distil_every
                loss = loss + weight * _l1((picture - shown).abs(), batch.hole, options.chroma)
            if options.perceptual and self.step % options.perceptual_every == 0:
                rng = np.random.default_rng([options.seed, self.step, 1])
                weight = options.perceptual * options.perceptual_every
                loss = loss + weight * perceptual_loss(picture, batch, options, rng)
            if self.judge:
                with self.judge.at_rest():
                    loss = loss + options.adversarial * adversarial_loss(self.judge.critic, picture, batch)
        self.seen = (picture, batch)
        return loss

    def after_step(self) -> None:
        if not self.judge or not self.seen:
            return
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.bf16):
            judged = critic_loss(self.judge.critic, *self.seen)
        self.judge.learn(judged)

    def validate(self) -> tuple[dict[str, Any], float]:
        if not self.validation.cases:
            return {}, -math.inf
        score = {
            **self.validation.score(self.painter, self.average, self.bf16),
            "diffusion": self.base["all"],
        }
        # A hundredth of SSIM counts as much as 0.2 dB: neither may be bought with the other.
        return score, score["all"]["psnr_y"] + 20 * score["all"]["ssim"]

    def load_weights(self, state: Mapping[str, Any], which: str, path: Path) -> None:
        if state.get("task") != TASK or state.get("net") != self.config():
            raise InputError(
                f"{path} is for the task '{state.get('task', 'sr')}' and the net {state.get('net')}; "
                f"this run's is {self.config()}"
            )
        self.painter.load_state_dict(state[which])

    def details(self) -> dict[str, Any]:
        return {
            "task": TASK,
            **(self.judge.state() if self.judge else {}),
            "sources": [p.manifest["sources"] for p in self.packs],
            "packs": [{"seed": p.manifest["seed"], "views": p.manifest["views"]} for p in self.packs],
            "teacher": self.teacher,
        }

    def restore(self, state: Mapping[str, Any]) -> None:
        if self.judge:
            self.judge.restore(state)


def gain_over_diffusion(score: Mapping[str, Any]) -> float:
    """dB of luma in the hole, of a validation."""
    gain: float = score["all"]["psnr_y"] - score["diffusion"]["psnr_y"]
    return gain


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
    "Validation",
    "adversarial_loss",
    "batch_of",
    "criterion",
    "critic_loss",
    "edge_map",
    "gain_over_diffusion",
    "net_from_checkpoint",
    "perceptual_loss",
    "scores_in_hole",
    "train",
]
