# SPDX-License-Identifier: BSD-2-Clause
"""Training of ``lowrank_pre``'s net: the BD-rate of several metrics, through a stand-in for the encoder.

A step draws coded crops of three frames and a QP, filters every frame, codes the result with the stand-in
(:mod:`clarivid.train.codec`), and scores the decoded frames against the *unfiltered* ones. What is minimised
is the weighted mean of the metrics' first-order BD-rates (:mod:`clarivid.train.ratedistortion`), and how far
the colours move. Runs are resumable, on a CPU core or a GPU.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import smooth_l1_loss

from clarivid.data.lowrank import FRAMES, KINDS, Crops, LowrankPack, load
from clarivid.errors import InputError
from clarivid.nets.lowrank import LowrankNet
from clarivid.paths import sha256_of
from clarivid.train.batches import Planes, fold, normalise, unfold
from clarivid.train.codec import SHIPPED, Codec, calibrated
from clarivid.train.ratedistortion import (
    AQ,
    METRICS,
    QPS,
    Curves,
    Reference,
    Table,
    qp_index,
    rate,
    sampling,
    table_of,
)
from clarivid.train.runs import Report, Run, RunOptions, pick_device

STRENGTHS = (0.0, 0.25, 0.5, 0.75, 1.0)
_STRENGTH_QP = QPS.index(34)
_VALIDATION_BATCH = 16


@dataclass(frozen=True)
class Options(RunOptions):
    """What a run is made of; the command line has the same words.

    ``vmaf`` to ``psnr`` are the weights of the metrics' BD-rates. ``rate_target`` is a change of ln(bits):
    -0.08 wants 8 % fewer; what a crop is above it counts ``rate_weight``. ``saturation`` has one number a
    metric, in the order of the weights: a crop's gain counts ever less as it nears that (a logarithm of
    rate), so that no metric is served alone; 0 is no limit. ``steepness`` multiplies the slopes of the
    sources' curves. ``chroma`` and ``pixel`` weigh the squared change of chroma and luma, ``colour`` that of
    each plane's mean, in codes, ``screen`` the smoothed absolute change of luma in screen crops. ``round``
    codes whole code values, as the filter gives them, with the gradient of unrounded ones. ``kinds``
    of crops are drawn in equal parts, and their BD-rates count ``kind_weights``. ``vgg`` and
    ``distribution`` weigh distances of VGG features, of ``perceptual_crops`` crops every
    ``perceptual_every`` steps.
    """

    batch: int = 8
    lr: float = 2e-3
    ema: float = 0.99
    validate_every: float = 300.0
    vmaf: float = 0.15
    neg: float = 0.5
    ssim_full: float = 0.3
    ssim_2: float = 1.5
    ssim_3: float = 2.0
    ms_ssim: float = 0.0
    psnr: float = 0.0
    saturation: str = "0.12,0.06,0.3,0.3,0.3,0.3,0.3"
    steepness: float = 1.0
    rate_target: float = -0.05
    rate_weight: float = 0.6
    chroma: float = 1.0
    pixel: float = 0.0
    colour: float = 1.0
    screen: float = 0.03
    round: bool = False
    vgg: float = 0.0
    distribution: float = 0.0
    perceptual_crops: int = 2
    perceptual_every: int = 4
    channels: int = 12
    layers: int = 3
    dilation: str = ""
    limit: float = 4.0
    kinds: str = ",".join(KINDS)
    kind_weights: str = ""
    qps: str = "26,30,34,38,42"

    def weights(self) -> dict[str, float]:
        """Weights of the metrics that count; :class:`InputError` when none does."""
        found = {name: float(getattr(self, name)) for name in METRICS}
        if min(found.values()) < 0 or not any(found.values()):
            raise InputError(
                f"the metrics' weights are 0 or more, and one at least above 0, not "
                f"{', '.join(f'{name} {value:g}' for name, value in found.items())}"
            )
        return {name: value for name, value in found.items() if value}

    def limits(self) -> dict[str, float]:
        """``saturation`` by metric; :class:`InputError` when it is none."""
        return _numbers("saturation", self.saturation, METRICS)

    def by_kind(self) -> dict[str, float]:
        """``kind_weights`` of ``kinds``; when none are given 2 for screens, which lose most easily, and 1 for
        the others. :class:`InputError` when they do not fit."""
        kinds = self.kinds.split(",")
        if not self.kind_weights:
            return {kind: 2.0 if kind == "screen" else 1.0 for kind in kinds}
        return _numbers("kind-weights", self.kind_weights, kinds)


def _numbers(option: str, text: str, names: Sequence[str]) -> dict[str, float]:
    """A number of 0 or more for each of ``names``, from "1,2"; :class:`InputError` when it is none."""
    try:
        found = [float(word) for word in text.split(",")]
    except ValueError:
        found = []
    if len(found) != len(names) or min(found) < 0:
        raise InputError(
            f"{option} is a number of 0 or more for each of {', '.join(names)}, with commas, not '{text}'"
        )
    return dict(zip(names, found, strict=True))


def train(
    options: Options,
    packs: Sequence[Path],
    out: Path,
    resume: bool = False,
    init: Path | None = None,
    prices: Path = SHIPPED,
    progress: Callable[[Report], None] | None = None,
    preparing: Callable[[int, int], None] | None = None,
) -> dict[str, Any]:
    """Train and leave ``last.pt``, ``best.pt`` (least loss on the held-out crops) and ``log.jsonl`` in
    ``out``; returns the last validation.

    ``resume`` goes on from ``out/last.pt`` (weights, optimiser, step, random state, time spent); ``init``
    starts a new run from another run's averaged weights. ``prices`` are the stand-in's. ``preparing`` gets
    (crops done, crops in all) while the untouched crops are coded, once for a pack and kept in the cache.
    Raises :class:`InputError` on unusable options, packs or checkpoints.
    """
    options.weights(), options.limits(), options.by_kind(), qp_index(options.qps)
    torch.set_num_threads(max(1, options.threads))
    torch.manual_seed(options.seed)
    run = _Run(options, out, prices)
    if init is not None:
        run.start_from(init)
    if resume:
        run.resume()
    run.read(packs, preparing)
    return run.train(progress)


class _Run(Run):
    """Of the prefilter's net."""

    warm_up = 30
    least = 0.02
    clip = 0.3
    report_every = 1

    def __init__(self, options: Options, out: Path, prices: Path) -> None:
        device = pick_device(options.device)
        self.filter = _new_net(options).to(device)
        self.filter.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        super().__init__(self.filter, options, out, device)
        self.generator = self.rng = torch.Generator().manual_seed(options.seed)
        self.words = options
        self.weights = options.weights()
        self.places = qp_index(options.qps)
        self.codec = calibrated(prices).to(device)

    def read(self, packs: Sequence[Path], preparing: Callable[[int, int], None] | None) -> None:
        """Load the packs, and measure what is untouched."""
        self.data = [load(path) for path in packs]
        self.crops, self.held_out = _prepare(self.data, packs, self.codec, self.device, preparing)
        self.pools = self.crops.pools(self.words.kinds)

    def config(self) -> dict[str, Any]:
        return self.filter.config()

    def loss(self, done: float) -> Tensor:
        options = self.words
        index = draw(self.pools, options.batch, self.generator)
        place = self.places[int(torch.randint(0, len(self.places), (1,), generator=self.generator))]
        result = run(
            self.filter,
            self.crops,
            index,
            place,
            self.codec,
            list(self.weights),
            steepness=options.steepness,
            rounded=options.round,
        )
        loss = criterion(result, self.weights, options)
        if (options.vgg or options.distribution) and self.step % options.perceptual_every == 0:
            loss = loss + _perceptual(result, options)
        return loss

    def validate(self) -> tuple[dict[str, Any], float]:
        score = validate(self.filter, self.average, self.held_out, self.codec, self.words)
        return score, -score["loss"]

    def load_weights(self, state: Mapping[str, Any], which: str, path: Path) -> None:
        # A run may start from one with another limit, and goes on with its own.
        _fill(self.filter, state, which, path, but=("limit",) if which == "ema" else ())

    def details(self) -> dict[str, Any]:
        return {
            "task": "lowrank",
            "sources": [p.manifest["sources"] for p in self.data],
            "packs": [{"seed": p.manifest.get("seed", 0), "crops": len(p.train)} for p in self.data],
        }


class Set:
    """Crops with what was measured on them, on one device."""

    def __init__(self, crops: Sequence[Crops], tables: Sequence[Table], device: torch.device) -> None:
        self.y, self.u, self.v = (
            torch.cat([torch.from_numpy(getattr(c, plane)) for c in crops]).to(device) for plane in "yuv"
        )
        self.kinds = [kind for c in crops for kind in c.kinds]
        table = Table.joined(tables)
        self.vectors, self.moving, self.offset = (
            x.to(device) for x in (table.vectors, table.moving, table.offset)
        )
        curves = Curves.of(table.points, self.kinds)
        self.curves = Curves(*(x.to(device) for x in vars(curves).values()))

    def __len__(self) -> int:
        return len(self.kinds)

    def pools(self, kinds: str) -> list[Tensor]:
        """Indices of the crops of each of ``kinds`` ("natural,game"). Raises :class:`InputError`."""
        wanted = kinds.split(",")
        unknown = [kind for kind in wanted if kind not in KINDS]
        if unknown:
            raise InputError(f"there is no kind '{unknown[0]}' of crops; use some of {', '.join(KINDS)}")
        found = [[i for i, own in enumerate(self.kinds) if own == kind] for kind in wanted]
        if not any(found):
            raise InputError(f"the training packs have no crops of kind {' or '.join(wanted)}")
        return [torch.tensor(indices) for indices in found if indices]


def draw(pools: Sequence[Tensor], count: int, rng: torch.Generator) -> Tensor:
    """Indices of ``count`` random crops, as many of each pool, or one more of the first ones."""
    parts = []
    for i, pool in enumerate(pools):
        share = count // len(pools) + (i < count % len(pools))
        parts.append(pool[torch.randint(0, len(pool), (share,), generator=rng)])
    return torch.cat(parts)


@dataclass(frozen=True)
class Pass:
    """One pass of n crops.

    BD-rates [n,metrics], ``bd`` with the options' steepness, ``estimate`` without, and ``change`` of rate
    [n], all logarithms. Changes in codes: ``luma`` [n,3,H,W], ``chroma`` [n,3,2,H/2,W/2], ``drift`` [n,3] of
    the means of Y, U and V. ``source`` and ``filtered``: planes [3n,..] in codes. ``kinds`` [n].
    """

    bd: Tensor
    estimate: Tensor
    change: Tensor
    luma: Tensor
    chroma: Tensor
    drift: Tensor
    source: Planes
    filtered: Planes
    kinds: list[str]


def run(
    net: LowrankNet,
    crops: Set,
    index: Tensor,
    place: int,
    codec: Codec,
    metrics: Sequence[str],
    strength: float = 1.0,
    steepness: float = 1.0,
    rounded: bool = False,
) -> Pass:
    """Filter crops ``index``, code them at ``QPS[place]``, and compare with their sources' curves.

    With ``rounded`` what is coded are whole code values; the gradient is that of unrounded ones.
    """
    kinds = [crops.kinds[i] for i in index.tolist()]
    index = index.to(crops.y.device)
    y, u, v = (plane[index] for plane in (crops.y, crops.u, crops.v))
    count = len(y)
    luma = y.float()
    folded = fold(*normalise(y.flatten(0, 1), u.flatten(0, 1), v.flatten(0, 1)))
    folded = folded.contiguous(memory_format=torch.channels_last)
    out = net(folded, strength)
    planes = unfold(out)
    filtered = ((planes[0] + 0.5) * 219 + 16).view_as(luma)
    given = filtered
    if rounded:
        given = filtered + (torch.floor(filtered + 0.5).clamp(0, 255) - filtered).detach()
    qp = luma.new_full((count,), QPS[place])
    coded = codec(given, sampling(crops.vectors[index]), qp, torch.full_like(qp, AQ), crops.offset[index])
    quality = Reference(luma, crops.moving[index]).quality(coded.decoded, metrics)
    spent = rate(coded)
    bd, change = crops.curves.difference(index, place, spent, quality, metrics, steepness)
    estimate, _ = crops.curves.difference(index, place, spent, quality, metrics)
    chroma = ((out - folded)[:, 4:] * 224).view(count, FRAMES, 2, *out.shape[2:])
    moved = filtered - luma
    drift = torch.cat([moved.mean((1, 2, 3))[:, None], chroma.mean((1, 3, 4))], 1)
    source = (luma.flatten(0, 1), u.flatten(0, 1).float(), v.flatten(0, 1).float())
    after = (filtered.flatten(0, 1), planes[1] * 224 + 128, planes[2] * 224 + 128)
    return Pass(bd, estimate, change, moved, chroma, drift, source, after, kinds)


def criterion(crops: Pass, weights: dict[str, float], options: Options) -> Tensor:
    """The loss of a pass whose metrics are those of ``weights``."""
    weight = crops.bd.new_tensor(list(weights.values()))
    limits = options.limits()
    limit = crops.bd.new_tensor([limits[name] for name in weights])
    of_kind = options.by_kind()
    share = crops.bd.new_tensor([of_kind.get(kind, 1.0) for kind in crops.kinds])
    loss = ((_squash(crops.bd, limit) * weight).sum(1) * share).mean() / weight.sum()
    loss = loss + 0.02 * options.chroma * crops.chroma.square().mean()
    loss = loss + 0.05 * options.colour * crops.drift.square().mean()
    if options.pixel:
        loss = loss + 0.02 * options.pixel * crops.luma.square().mean()
    screens = [i for i, kind in enumerate(crops.kinds) if kind == "screen"]
    if options.screen and screens:
        moved = crops.luma[screens]
        loss = loss + options.screen * smooth_l1_loss(moved, torch.zeros_like(moved), beta=0.3)
    if options.rate_weight:
        loss = loss + options.rate_weight * torch.relu(crops.change - options.rate_target).mean()
    return loss


def _squash(x: Tensor, limit: Tensor) -> Tensor:
    """Losses above 0.5 grow as a logarithm only, so that no crop outweighs the others. Gains (below 0) tend
    to ``limit`` [metrics] as an exponential; where it is 0 they are as losses are."""
    size = x.abs()
    loss = torch.where(size < 0.5, x, torch.sign(x) * (0.5 + torch.log1p((size - 0.5).clamp_min(0))))
    scale = limit.clamp_min(1e-6)
    gain = scale * torch.expm1(x.clamp_max(0) / scale)
    return torch.where((x < 0) & (limit > 0), gain, loss)


def _perceptual(crops: Pass, options: Options) -> Tensor:
    """Distances of VGG features between the source and the filtered picture, one frame of the first few
    crops."""
    from clarivid.train.perceptual import feature_distribution_distance, vgg_distance, vgg_features

    frames = slice(1, FRAMES * options.perceptual_crops, FRAMES)
    source = tuple(plane[frames] for plane in crops.source)
    filtered = tuple(plane[frames] for plane in crops.filtered)
    with torch.no_grad():
        wanted = vgg_features((source[0], source[1], source[2]), 3)
    loss = crops.bd.new_zeros(())
    picture = (filtered[0], filtered[1], filtered[2])
    if options.vgg:
        loss = loss + options.vgg * vgg_distance(wanted, picture).mean()
    if options.distribution:
        distances = [
            feature_distribution_distance(a, b, diagonal=True) / a.shape[1]
            for a, b in zip(wanted, vgg_features(picture, 3), strict=True)
        ]
        loss = loss + options.distribution * torch.stack(distances).mean()
    return loss


@torch.no_grad()
def validate(
    net: LowrankNet, weights: dict[str, Tensor], crops: Set, codec: Codec, options: Options
) -> dict[str, Any]:
    """Score ``weights`` on held-out crops at the run's QPs, with code values rounded as the filter does.

    ``loss`` is the training's criterion, by which the best weights are chosen; ``bd`` the weighted mean of
    the BD-rates. ``all`` and each kind have every metric's estimated BD-rate and the change of bits, in
    per cent (hundredths of a logarithm). ``strength`` has the change of bits at QP 34 by strength, and
    ``monotone`` says whether it falls all the way or rises all the way.
    """
    trained = {name: value.clone() for name, value in net.state_dict().items()}
    net.load_state_dict(weights)
    counted = options.weights()
    columns = [METRICS.index(name) for name in counted]
    rows: list[Tensor] = []
    losses: list[float] = []
    batches = torch.split(torch.arange(len(crops)), _VALIDATION_BATCH)
    for place in qp_index(options.qps):
        for index in batches:
            done = run(net, crops, index, place, codec, METRICS, steepness=options.steepness, rounded=True)
            rows.append(torch.cat([done.estimate, done.change[:, None]], 1).cpu())
            part = Pass(**{**vars(done), "bd": done.bd[:, columns]})
            losses += [float(criterion(part, counted, options))] * len(index)
    by_crop = torch.cat(rows).view(-1, len(crops), len(METRICS) + 1).mean(0)
    by_strength = [_bits_at(net, crops, batches, codec, strength) for strength in STRENGTHS]
    net.load_state_dict(trained)
    weight = torch.tensor(list(counted.values()))
    means = by_crop.mean(0)
    kinds = {kind: [i for i, own in enumerate(crops.kinds) if own == kind] for kind in KINDS}
    steps = np.diff(by_strength)
    return {
        "loss": round(float(np.mean(losses)), 5),
        "bd": round(float((means[columns] * weight).sum() / weight.sum()), 5),
        "all": _named(means),
        **{kind: _named(by_crop[own].mean(0)) for kind, own in kinds.items() if own},
        "strength": {f"{s:g}": round(100 * b, 2) for s, b in zip(STRENGTHS, by_strength, strict=True)},
        "monotone": bool((steps <= 1e-4).all() or (steps >= -1e-4).all()),
    }


def _bits_at(net: LowrankNet, crops: Set, batches: Sequence[Tensor], codec: Codec, strength: float) -> float:
    """Mean change of rate."""
    changes = [
        run(net, crops, index, _STRENGTH_QP, codec, ["psnr"], strength, rounded=True).change
        for index in batches
    ]
    return float(torch.cat(changes).mean())


def _named(row: Tensor) -> dict[str, float]:
    return {name: round(100 * float(value), 2) for name, value in zip((*METRICS, "bits"), row, strict=True)}


def _prepare(
    data: Sequence[LowrankPack],
    paths: Sequence[Path],
    codec: Codec,
    device: torch.device,
    preparing: Callable[[int, int], None] | None,
) -> tuple[Set, Set]:
    """Training and held-out crops with their tables."""
    total = sum(len(p.train) + len(p.val) for p in data)
    ready = 0
    sets: list[tuple[list[Crops], list[Table]]] = [([], []), ([], [])]
    for pack, path in zip(data, paths, strict=True):
        digest = sha256_of(path)
        for (crops, tables), own in zip(sets, (pack.train, pack.val), strict=True):
            if len(own) == 0:
                continue

            def tell(done: int, before: int = ready) -> None:
                if preparing:
                    preparing(before + done, total)

            crops.append(own)
            tables.append(table_of(own, digest, codec, device, tell))
            ready += len(own)
            tell(0, ready)
    training, held_out = (Set(crops, tables, device) if crops else None for crops, tables in sets)
    if training is None or held_out is None:
        raise InputError(
            "the packs need crops to train on and crops held out; make one with 'clarivid data lowrank'"
        )
    return training, held_out


def _new_net(options: Options) -> LowrankNet:
    try:
        dilation = [int(word) for word in options.dilation.split(",")] if options.dilation else None
        return LowrankNet(options.channels, options.layers, dilation, options.limit)
    except ValueError as error:
        raise InputError(f"the net cannot be made: {error}") from error


def _fill(net: LowrankNet, state: Mapping[str, Any], which: str, path: Path, but: Sequence[str] = ()) -> None:
    """Give ``net`` a checkpoint's weights, if they are of the same net, ``but`` for these settings."""

    def compared(config: dict[str, Any]) -> dict[str, Any]:
        return {name: value for name, value in config.items() if name not in but}

    if state.get("task") != "lowrank" or compared(state["net"]) != compared(net.config()):
        raise InputError(
            f"{path} is of another net than the options ask for: {state['net']}, not {net.config()}"
        )
    net.load_state_dict(state[which])
