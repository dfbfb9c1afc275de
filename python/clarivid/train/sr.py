# SPDX-License-Identifier: BSD-2-Clause
"""Training of the super-resolution net against a time budget, resumable, on one CPU core or one GPU."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image
from torch import Tensor, nn

from clarivid.data.pack import LOW_CROP, Pack, Tiles, command, load
from clarivid.data.sr_sources import KINDS
from clarivid.errors import InputError
from clarivid.nets import rivals
from clarivid.nets.folded import LUMA, Folded, bicubic_kernel
from clarivid.nets.sr import SRNet
from clarivid.train.batches import Batch, Batches, fold, normalise, unfold_luma
from clarivid.train.critic import Judge, UNetCritic, artefact_penalty, critic_loss, deception
from clarivid.train.metrics import detail_contrast
from clarivid.train.muon import MuonAdam
from clarivid.train.runs import (
    Optimiser,
    Report,
    Run,
    RunOptions,
    computes_in_bf16,
    pick_device,
    read_checkpoint,
)

TASK = "sr"
OURS = "ours"
Net = SRNet | rivals.Rival
Codes = npt.NDArray[np.uint8]
ONE_CODE = 1 / 219  # of 8-bit limited-range luma
CRITIC_RATE = 2e-4  # Adam's
STEADY = 0.2 * ONE_CODE  # what may flicker: pictures that hardly move have no more than half a code


# Shares of the kinds of pictures, by what a model is for; "all" is the same of each.
SHARES: dict[str, dict[str, float]] = {
    "all": dict.fromkeys(KINDS, 1 / len(KINDS)),
    "game": {"game": 0.30, "art": 0.22, "cg": 0.16, "screen": 0.12, "natural": 0.05, "noisy": 0.15},
    "natural": {"natural": 0.55, "noisy": 0.25, "game": 0.05, "art": 0.05, "cg": 0.05, "screen": 0.05},
}


@dataclass(frozen=True)
class Options(RunOptions):
    """What a run is made of; the command line has the same words.

    ``net`` is "ours" or one of :data:`clarivid.nets.rivals.RIVALS`, at its own size. ``shares``
    replaces those of ``kind``, as "game=0.7,art=0.3". ``small`` is the part of the run with crops
    of half the side, four times as many, ``clean`` the part with the better coded half of the clips alone.
    ``optimiser`` is "muon" or "adam", whose ``lr`` is a twentieth. ``consistency`` weighs what flickers when
    pictures move, ``texture`` fine detail of a wrong strength, ``adversarial`` the critic's word and
    ``artefacts`` the penalty that tames it. ``branches`` False trains plain convolutions. ``compiled`` is
    "auto" (on a GPU), "yes" or "no".
    """

    net: str = OURS
    kind: str = "all"
    shares: str = ""
    optimiser: str = "muon"
    lr: float = 0.015
    small: float = 0.0
    clean: float = 0.0
    chroma_weight: float = 0.25
    edge_weight: float = 0.0
    loss: str = "psnr"
    border_weight: float = 0.3
    consistency: float = 0.0
    texture: float = 0.0
    adversarial: float = 0.0
    artefacts: float = 1.0
    channels: int = 16
    blocks: int = 9
    attention: bool = False
    branches: bool = True
    precision: str = "auto"
    compiled: str = "auto"


def train(
    options: Options,
    packs: Sequence[Path],
    out: Path,
    resume: bool = False,
    init: Path | None = None,
    progress: Callable[[Report], None] | None = None,
) -> dict[str, Any]:
    """Train and leave ``last.pt``, ``best.pt`` and ``log.jsonl`` in ``out``; returns the last validation.

    ``best.pt`` has the best validation's averaged weights; with ``adversarial`` or ``texture`` the latest's.
    ``resume`` goes on from ``out/last.pt`` (weights, optimiser, step, random state, time spent); ``init``
    starts a new run from another run's averaged weights. Raises :class:`InputError` on unusable packs or
    checkpoints.
    """
    _check(options)
    torch.set_num_threads(max(1, options.threads))
    torch.manual_seed(options.seed)
    run = _Run(options, packs, out)
    if init is not None:
        run.start_from(init)
    if resume:
        run.resume()
    return run.train(progress)


class _Run(Run):
    """Of the super-resolution net, with a critic if it is wanted."""

    def __init__(self, options: Options, paths: Sequence[Path], out: Path) -> None:
        device = pick_device(options.device)
        packs = [load(path) for path in paths]
        self.bf16 = computes_in_bf16(device, options.precision)
        self.sr = _untrained(options).to(device)
        self.sr.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.folded = on_folded(self.sr)
        self.on_luma = sees_luma_alone(self.sr)
        self.batches = Batches(
            packs,
            shares(options),
            options.batch,
            options.seed,
            device,
            pairs=options.consistency > 0,
            chroma=not self.on_luma,
            clean=options.clean > 0,
        )
        self.words, self.paths, self.packs = options, paths, packs
        super().__init__(self.sr, options, out, device)
        self.rng = self.batches.rng
        self.forward: Callable[..., Tensor] = self.folded
        self.criterion = criterion
        if options.compiled == "yes" or (options.compiled == "auto" and device.type == "cuda"):
            self.forward = torch.compile(self.folded, dynamic=False)
            self.criterion = torch.compile(criterion, dynamic=False)
        self.judge = Judge(UNetCritic().to(device), CRITIC_RATE) if options.adversarial else None
        self.seen: tuple[Tensor, Tensor] | None = None  # true and made, what the critic judges after the step
        self.validation = Validation(packs, device)

    def make_optimiser(self) -> Optimiser:
        if self.words.optimiser == "muon":
            return MuonAdam(self.sr, self.words.lr)
        return super().make_optimiser()

    def config(self) -> dict[str, Any]:
        return self.sr.config()

    def loss(self, done: float) -> Tensor:
        options = self.words
        batch, again, shift = self._draw(done)
        out = self._upscaled(batch.low, batch.mix)
        loss = self.criterion(out, batch, options)
        if again:
            loss = loss + options.consistency * flicker(out, batch, shift)
        if options.texture:
            made, true = (219 * unfold_luma(x) for x in (out, batch.high))
            loss = loss + options.texture * (1 - detail_contrast(made, true)).mean()
        if self.judge:
            with torch.autocast(self.device.type, torch.bfloat16, enabled=self.bf16):
                with torch.no_grad():
                    averaged = self._by_the_average(batch.low)
                with self.judge.at_rest():
                    fooled = deception(self.judge.critic, out)
            loss = loss + options.adversarial * fooled
            loss = loss + options.artefacts * artefact_penalty(batch.high, out, averaged)
            self.seen = (batch.high, out.detach())
        return loss

    def after_step(self) -> None:
        if not self.judge or not self.seen:
            return
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.bf16):
            judged = critic_loss(self.judge.critic, *self.seen)
        self.judge.learn(judged)

    def _draw(self, done: float) -> tuple[Batch, bool, tuple[int, int] | None]:
        """A batch; whether its second half shows the first half's scenes again, for :func:`flicker`; and by
        what shift, in pixels of the high side, where it is known.

        Scenes are shown a frame later or, every third time, shifted by a pixel of the low side. What nets on
        luma make of a picture shifts with it: they get a plain batch then.
        """
        options = self.words
        if options.consistency > 0 and done >= options.small:
            count = max(1, options.batch // 2)
            if self.step % 3 < 2:
                return self.batches.draw_pairs(count), True, None
            if not self.on_luma:
                batch, shift = self.batches.draw_shifted(count)
                return batch, True, shift
        size = LOW_CROP // 2 if done < options.small else LOW_CROP
        return self.batches.draw(size, done < options.clean), False, None

    def _by_the_average(self, low: Tensor) -> Tensor:
        inner = "" if self.folded is self.sr else "net."
        weights = {inner + name: value for name, value in self.average.items()}
        made: Tensor = torch.func.functional_call(self.folded, weights, (low,))
        return made.float()

    def _upscaled(self, low: Tensor, mix: Tensor) -> Tensor:
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.bf16):
            return self.forward(low, mix).float()

    def validate(self) -> tuple[dict[str, Any], float]:
        score = self.validation.score(self.sr, self.average, self.bf16)
        if self.words.adversarial or self.words.texture:
            return score, self.step  # PSNR falls while texture comes: the latest is the best
        gain = mean_gain(score)
        return score, -math.inf if gain is None else gain

    def load_weights(self, state: Mapping[str, Any], which: str, path: Path) -> None:
        ours = state.get("task", TASK) == TASK
        if ours and state["net"] == self.config():
            self.sr.load_state_dict(state[which])
        else:
            raise InputError(
                f"{path} is of another net than the options ask for: {state['net']}, not {self.config()}"
            )

    def details(self) -> dict[str, Any]:
        return {
            "task": TASK,
            "sources": [p.manifest["sources"] for p in self.packs],
            "packs": [
                {"file": path.name, "command": command(pack.manifest, path.name)}
                for path, pack in zip(self.paths, self.packs, strict=True)
            ],
            **(self.judge.state() if self.judge else {}),
        }

    def restore(self, state: Mapping[str, Any]) -> None:
        if self.judge:
            self.judge.restore(state)


def mean_gain(score: Mapping[str, Any]) -> float | None:
    """dB over Lanczos, mean of the kinds of a validation."""
    return float(np.mean([kind["gain_db"] for kind in score.values()])) if score else None


def criterion(out: Tensor, batch: Batch, options: Options) -> Tensor:
    """Error of luma, plus ``chroma_weight`` of chroma's, plus ``edge_weight`` of luma's Sobel edges'.

    ``loss`` "psnr" is the logarithm of each crop's mean square: a crop counts by how much better it gets in
    dB, whatever its contrast; below an error of one code value it hardly counts. "rms" is the root of each
    crop's mean square: the crops that are hard count most. "charbonnier" is the mean of a smoothed magnitude,
    a little sharper. The outermost four folded places of a crop count ``border_weight``: a crop's border is
    met far more often than a picture's.
    """
    square = (out - batch.high) ** 2
    weight = torch.full(out.shape[-2:], options.border_weight, device=out.device)
    weight[4:-4, 4:-4] = 1
    weight = weight / weight.mean()

    def error(x: Tensor) -> Tensor:
        if options.loss == "charbonnier":
            return (torch.sqrt(x + 1e-6) * weight).mean()
        mean = (x * weight).mean((1, 2, 3))
        if options.loss == "rms":
            return torch.sqrt(mean + 1e-6).mean()
        return 0.05 * torch.log(mean + ONE_CODE**2).mean()  # about as large as the others

    loss = error(square[:, :LUMA])
    if batch.chroma and options.chroma_weight:
        loss = loss + 2 * options.chroma_weight * error(square[:, LUMA:])
    if options.edge_weight:
        loss = loss + options.edge_weight * torch.sqrt(_sobel(out - batch.high) ** 2 + 1e-6).mean()
    return loss


def flicker(out: Tensor, batch: Batch, shift: tuple[int, int] | None = None) -> Tensor:
    """Loss of what flickers more than bicubic's picture: :func:`flicker_beside_bicubic` where it is above 0,
    mean of the crops. Less than bicubic's is not asked for: on noise it could only be had by blur."""
    return 0.05 * torch.relu(flicker_beside_bicubic(out, batch, shift)).mean()


def flicker_beside_bicubic(out: Tensor, batch: Batch, shift: tuple[int, int] | None = None) -> Tensor:
    """By how much more the pictures flicker than what bicubic interpolation makes of the same: of each crop
    the logarithm of the quotient of the mean squares, [N]. What both have below :data:`STEADY` hardly counts.

    The second half of ``batch`` and of the net's ``out`` [2N,24,h,w] shows the scenes of the first half
    again, moved down and to the right by ``shift`` pixels or, where that is None, by each crop's own motion.
    """
    floor = STEADY**2
    with torch.no_grad():
        kernel = bicubic_kernel().to(batch.low)
        plain = torch.nn.functional.conv2d(batch.low, kernel, padding=1)
        where = along_the_motion(batch.high, shift)
        allowed = torch.log(change_of(plain - batch.high, *where) + floor)
    return torch.log(change_of(out - batch.high, *where) + floor) - allowed


def along_the_motion(high: Tensor, shift: tuple[int, int] | None) -> tuple[Tensor, Tensor, Tensor]:
    """Rows and columns [N] by which the second half of the true pictures is moved against the first, and
    weights of its places [N,H,W].

    An unknown motion is the whole shift that phase correlation finds (Kuglin and Hines, 1975); places where
    the pictures differ after it, by another motion or because they were hidden, count less, as in Lai et al.
    2018 (arXiv:1808.00449).
    """
    now, after = unfold_luma(high).chunk(2)
    inner = torch.zeros_like(now)
    edge = 16  # pixels that a border may reach
    inner[:, edge:-edge, edge:-edge] = 1
    if shift is None:
        rows, columns = _shifts(now, after)
        return rows, columns, inner * torch.exp(-50 * (after - _moved(now, rows, columns)).square())
    rows, columns = (torch.full((len(now),), n, device=now.device) for n in shift)
    return rows, columns, inner


def change_of(error: Tensor, rows: Tensor, columns: Tensor, weight: Tensor) -> Tensor:
    """Mean square [N] of the change of luma's error along the motion: bench sr's flicker, squared."""
    now, after = unfold_luma(error).chunk(2)
    change = (after - _moved(now, rows, columns)).square()
    return (change * weight).sum((1, 2)) / weight.sum((1, 2)).clamp_min(1)


def _shifts(now: Tensor, after: Tensor) -> tuple[Tensor, Tensor]:
    """Rows and columns [N] by which ``now`` [N,H,W] has to be moved to lie on ``after``."""
    height, width = now.shape[1:]
    window = torch.hann_window(height, device=now.device)[:, None] * torch.hann_window(
        width, device=now.device
    )
    a, b = (torch.fft.rfft2((x - x.mean((1, 2), keepdim=True)) * window) for x in (now, after))
    cross = b * a.conj()
    peak = torch.fft.irfft2(cross / (cross.abs() + 1e-9), s=(height, width)).flatten(1).argmax(1)
    return peak // width, peak % width


def _moved(x: Tensor, rows: Tensor, columns: Tensor) -> Tensor:
    """[N,H,W], each moved by its own shift; what leaves comes in again on the other side."""
    shifts = zip(x, rows.tolist(), columns.tolist(), strict=True)
    return torch.stack([torch.roll(one, (row, column), (0, 1)) for one, row, column in shifts])


def _sobel(difference: Tensor) -> Tensor:
    """Both Sobel gradients of the luma difference, [N,2,H-2,W-2]; Sobel is linear, so of the pictures'
    too."""
    y = unfold_luma(difference)[:, None]
    kernel = torch.tensor([[-1.0, 0, 1], [-2, 0, 2], [-1, 0, 1]], device=y.device) / 4
    return torch.nn.functional.conv2d(y, torch.stack([kernel, kernel.T])[:, None])


@dataclass(frozen=True)
class Held:
    """A held-out picture: its planes, and luma [H,W] as Lanczos enlarges it (pillow's, which agrees with
    swscale's to some 0.01 dB)."""

    tiles: Tiles
    lanczos: Codes

    @property
    def high(self) -> Codes:
        """The true luma [H,W]."""
        luma: Codes = self.tiles["y_hi"][0]
        return luma

    @cached_property
    def lanczos_psnr(self) -> float:
        """PSNR-Y of Lanczos's picture, dB."""
        return psnr(self.lanczos, self.high)


class Validation:
    """Whole pictures of held-out titles, by kind."""

    def __init__(self, packs: Sequence[Pack], device: torch.device) -> None:
        self.device = device
        self.pictures: dict[str, list[Held]] = {}
        for pack in packs:
            for kind, pictures in pack.val.items():
                for tiles in pictures:
                    high, low = tiles["y_hi"][0], tiles["y_lo"][0]
                    size = (high.shape[1], high.shape[0])
                    lanczos = np.asarray(Image.fromarray(low).resize(size, Image.Resampling.LANCZOS))
                    self.pictures.setdefault(kind, []).append(Held(tiles, lanczos))

    @torch.no_grad()
    def score(self, net: Net, weights: dict[str, Tensor], bf16: bool) -> dict[str, dict[str, float]]:
        """By kind: mean PSNR-Y of ``weights``, of Lanczos, mean and least gain, all in dB."""
        trained = {name: value.clone() for name, value in net.state_dict().items()}
        net.load_state_dict(weights)
        folded = on_folded(net)
        result = {}
        for kind, pictures in self.pictures.items():
            ours = [psnr(self.upscale(folded, held, bf16), held.high) for held in pictures]
            lanczos = [held.lanczos_psnr for held in pictures]
            gains = [a - b for a, b in zip(ours, lanczos, strict=True)]
            result[kind] = {
                "psnr_y": round(float(np.mean(ours)), 3),
                "lanczos": round(float(np.mean(lanczos)), 3),
                "gain_db": round(float(np.mean(gains)), 3),
                "worst_gain_db": round(min(gains), 3),
            }
        net.load_state_dict(trained)
        return result

    @torch.no_grad()
    def upscale(self, net: nn.Module, held: Held, bf16: bool) -> Codes:
        """Luma [H,W] of a picture by a net on folded pictures."""
        planes = (torch.from_numpy(held.tiles[p]).to(self.device) for p in ("y_lo", "u_lo", "v_lo"))
        low = fold(*normalise(*planes))
        with torch.autocast(self.device.type, torch.bfloat16, enabled=bf16):
            y = unfold_luma(net(low.contiguous(memory_format=torch.channels_last)).float())[0]
        code = ((y + 0.5) * 219 + 16.5).floor().clamp(0, 255)
        return code.to(torch.uint8).cpu().numpy()


def psnr(a: Codes, b: Codes) -> float:
    """PSNR in dB of two 8-bit planes."""
    mse = float(np.mean((a.astype(np.float64) - b) ** 2))
    return 10 * math.log10(255**2 / max(mse, 1e-9))


def net_from_checkpoint(path: Path) -> tuple[Net, dict[str, Any]]:
    """The net with averaged weights, in eval mode, and the checkpoint; :class:`InputError` when it is no
    checkpoint of this training."""
    state = read_checkpoint(path)
    if state.get("task", TASK) != TASK:
        raise InputError(f"{path} is of the task '{state['task']}', not of {TASK}")
    return net_of(state), state


def sees_luma_alone(net: Net) -> bool:
    """Whether the net's luma depends on luma unfolded, and its chroma learns nothing."""
    return isinstance(net, SRNet) or net.luma


def on_folded(net: Net) -> nn.Module:
    """The net as training uses it, [N,6,h,w] to [N,24,h,w]: itself, where it takes folded pictures."""
    return Folded(net) if isinstance(net, SRNet) else net


def net_of(state: Mapping[str, Any]) -> Net:
    """The net of a checkpoint with its averaged weights, in eval mode."""
    config = state["net"]
    net: Net
    if config["type"].startswith("rival_"):
        net = rivals.from_config(config)
    else:
        net = SRNet(config["channels"], config["blocks"], config["scale"], config["attention"])
    net.load_state_dict(state["ema"])
    return net.eval()


def _untrained(options: Options) -> Net:
    if options.net == OURS:
        return SRNet(options.channels, options.blocks, attention=options.attention, branches=options.branches)
    return rivals.RIVALS[options.net]()


def shares(options: Options) -> dict[str, float]:
    """Of the kinds of pictures: ``options.shares`` or those of ``options.kind``; they add up to 1."""
    if options.kind not in SHARES:
        raise InputError(f"there is no kind '{options.kind}' of model; use {', '.join(SHARES)}")
    if not options.shares:
        return SHARES[options.kind]
    given: dict[str, float] = {}
    for item in options.shares.split(","):
        kind, _, text = item.partition("=")
        try:
            given[kind.strip()] = float(text)
        except ValueError:
            given[kind.strip()] = -1.0
    total = sum(given.values())
    if not set(given) <= set(KINDS) or not all(0 <= x < math.inf for x in given.values()) or not total:
        raise InputError(
            f"shares '{options.shares}' are not KIND=NUMBER,... with numbers from 0 up and kinds of "
            f"{', '.join(KINDS)}"
        )
    return {kind: share / total for kind, share in given.items()}


def _check(options: Options) -> None:
    for word, value, known in (
        ("net", options.net, (OURS, *rivals.RIVALS)),
        ("loss", options.loss, ("psnr", "rms", "charbonnier")),
        ("optimiser", options.optimiser, ("muon", "adam")),
        ("compiled", options.compiled, ("auto", "yes", "no")),
    ):
        if value not in known:
            raise InputError(f"{word} '{value}' is not one of {', '.join(known)}")
