# SPDX-License-Identifier: BSD-2-Clause
"""Bjøntegaard's rate difference, to first order, of one crop at one quantiser.

The stand-in encoder codes the source at every QP of :data:`QPS` once: that gives the crop's rate-distortion
curve R(Q) for each metric, with its slope. A filtered crop is coded at one of them. Where its point (R', Q')
lies beside the curve, the rate at equal quality differs by::

                          Q' - Q                           ↑ quality
      d = ln R' - ln R  - ───────     (a logarithm)        │      ┌ filtered
                          dQ/dlnR                          │     x ···d···╱  source's curve
                                                           │          ╱           → ln R

A BD-rate is the mean of d along the quality axis, so each QP counts with the range of quality that it stands
for (:attr:`Curves.share`).
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from clarivid.data.lowrank import FRAMES, Crops
from clarivid.errors import InputError
from clarivid.paths import cache_dir
from clarivid.train import motion
from clarivid.train.codec import Codec, Coded, tree_offset
from clarivid.train.metrics import VmafReference, motion2, ms_ssim, ssim
from clarivid.train.runs import save_atomically

QPS = (22, 26, 30, 34, 38, 42, 46)
"""The first and the last serve the slopes alone: they are not trained at."""

METRICS = ("vmaf", "neg", "ssim_full", "ssim_2", "ssim_3", "ms_ssim", "psnr")
"""VMAF, VMAF-NEG, SSIM at full resolution and decimated as libvmaf does it at 540 (2) and 720 lines (3),
MS-SSIM; minus ln of the mean square error."""

_SSIM_SCALES = {"ssim_full": 1, "ssim_2": 2, "ssim_3": 3}
AQ = 0.7  # strength of the stand-in's adaptive quantisation
FLOOR = 150.0  # bits that a crop always has: a change from nothing to nearly nothing is none
# An intra frame in three is far more than in a video.
FRAME_WEIGHTS = tuple(w / 2.3 for w in (0.3, 1.0, 1.0))
VERSION = 2  # of what is in a table

_BATCH = 8


def rate(coded: Coded) -> Tensor:
    """ln of a crop's bits, [N]."""
    return torch.log(_over_frames(coded.bits) * FRAMES + FLOOR)


def _over_frames(x: Tensor) -> Tensor:
    """Weighted mean over the frames of [N,3]."""
    return (x * x.new_tensor(FRAME_WEIGHTS)).sum(1)


class Reference:
    """The untouched luma ``y`` [N,3,H,W] that coded crops are judged by. ``moving`` [N] is VMAF's motion."""

    def __init__(self, y: Tensor, moving: Tensor) -> None:
        self.shape = y.shape
        self.frames = y.flatten(0, 1)
        self._moving = moving.repeat_interleave(FRAMES)
        self._vmaf: VmafReference | None = None

    def quality(self, decoded: Tensor, metrics: Sequence[str] = METRICS) -> Tensor:
        """[N,len(metrics)]; scores are not limited to their ranges, where the gradient would die."""
        frames = decoded.clamp(0, 255).flatten(0, 1)
        found: dict[str, Tensor] = {}
        if {"vmaf", "neg"} & set(metrics):
            self._vmaf = self._vmaf or VmafReference(self.frames, self._moving)
            found["vmaf"], found["neg"] = self._vmaf.both(frames, clip=False)
        for name, scale in _SSIM_SCALES.items():
            if name in metrics:
                found[name] = ssim(self.frames, frames, scale)
        if "ms_ssim" in metrics:
            found["ms_ssim"] = ms_ssim(self.frames, frames)
        if "psnr" in metrics:
            found["psnr"] = ((self.frames - frames) ** 2).mean((1, 2))
        scores = [_over_frames(found[name].view(self.shape[:2])) for name in metrics]
        for i, name in enumerate(metrics):
            if name == "psnr":
                scores[i] = -torch.log(scores[i].clamp_min(0.05))
        return torch.stack(scores, 1)


@dataclass(frozen=True)
class Table:
    """What the stand-in makes of untouched crops: ``vectors`` [N,2,2,H/8,W/8] of frames 1 and 2, quarter
    samples in half precision (exact); ``moving`` [N]; ``offset`` [N,3,H/16,W/16] of QP; ``points``
    [N,QPs,1+metrics], rates and qualities."""

    vectors: Tensor
    moving: Tensor
    offset: Tensor
    points: Tensor

    @classmethod
    def joined(cls, tables: Sequence[Table]) -> Table:
        """One table of several."""
        return cls(*(torch.cat([getattr(t, name) for t in tables]) for name in _PARTS))


_PARTS = ("vectors", "moving", "offset", "points")


def sampling(vectors: Tensor) -> Tensor:
    """A table's vectors as the codec takes motion, [N,2,H,W,2]."""
    return torch.stack([motion.grid(vectors[:, t]) for t in range(vectors.shape[1])], 1)


@torch.no_grad()
def measure(
    crops: Crops, codec: Codec, device: torch.device, progress: Callable[[int], None] | None = None
) -> Table:
    """Code all crops at all QPs; ``progress`` gets the number of crops done."""
    parts = []
    for start in range(0, len(crops), _BATCH):
        y = torch.from_numpy(crops.y[start : start + _BATCH]).to(device).float()
        pairs = [motion.estimate(y[:, t], y[:, t + 1]) for t in range(FRAMES - 1)]
        vectors = torch.stack(pairs, 1).half()
        moving = torch.stack([motion2(clip)[1:].mean() for clip in y])
        reference, where = Reference(y, moving), sampling(vectors)
        offset = tree_offset(y, where)
        rows = []
        for qp in QPS:
            coded = codec(y, where, y.new_full((len(y),), qp), y.new_full((len(y),), AQ), offset)
            rows.append(torch.cat([rate(coded)[:, None], reference.quality(coded.decoded)], 1))
        points = torch.stack(rows, 1)
        parts.append(Table(*(x.cpu() for x in (vectors, moving, offset, points))))
        if progress:
            progress(start + len(y))
    return Table.joined(parts)


def table_of(
    crops: Crops,
    pack_digest: str,
    codec: Codec,
    device: torch.device,
    progress: Callable[[int], None] | None = None,
) -> Table:
    """:func:`measure`, kept in the cache under the pack's digest, the codec's prices and all constants."""
    key = {
        "pack": pack_digest,
        "crops": len(crops),
        "titles": hashlib.sha256(crops.y[:, 0].tobytes()).hexdigest(),
        "prices": codec.prices(),
        "constants": [VERSION, QPS, METRICS, _SSIM_SCALES, AQ, FLOOR, FRAME_WEIGHTS],
    }
    name = hashlib.sha256(json.dumps(key, sort_keys=True).encode()).hexdigest()[:24]
    path = cache_dir() / "data" / "tables" / f"{name}.pt"
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
        table = Table(*(state[name] for name in _PARTS))
        if len(table.points) == len(crops):
            return table
    except Exception:  # absent, or damaged in one of torch's many ways: made again
        pass
    table = measure(crops, codec, device, progress)
    path.parent.mkdir(parents=True, exist_ok=True)
    save_atomically(path, {name: getattr(table, name) for name in _PARTS})
    return table


@dataclass(frozen=True)
class Curves:
    """The sources' curves: ``rate`` [N,QPs], ``quality``, ``slope`` (dQ/dlnR) and ``share`` [N,QPs,metrics].

    ``share`` is the range of quality that a QP stands for, over its mean along the curve (1 on average); 0
    at the ends.
    """

    rate: Tensor
    quality: Tensor
    slope: Tensor
    share: Tensor

    @classmethod
    def of(cls, points: Tensor, kinds: Sequence[str]) -> Curves:
        """From a table's points. A crop's slopes are kept within 0.4 to 3 times the mean of its kind: in
        flat crops a metric hardly changes, and dividing by that would outweigh all others."""
        rate, quality = points[..., 0], points[..., 1:]
        less = (rate[:, :-2] - rate[:, 2:]).clamp_min(0.05)
        gap = quality[:, :-2] - quality[:, 2:]
        inner = gap / less[..., None]
        slope = torch.zeros_like(quality)
        names = np.array(kinds)
        for kind in sorted(set(kinds)):
            own = torch.from_numpy(names == kind)
            mean = inner[own].mean(0, keepdim=True).clamp_min(1e-3)
            slope[own, 1:-1] = torch.minimum(torch.maximum(inner[own], 0.4 * mean), 3 * mean)
        gap = gap.clamp_min(0)
        share = torch.zeros_like(quality)
        share[:, 1:-1] = (gap / gap.mean(1, keepdim=True).clamp_min(1e-6)).clamp(0.1, 2.5)
        return cls(rate, quality, slope, share)

    def difference(
        self,
        index: Tensor,
        qp: int,
        rate: Tensor,
        quality: Tensor,
        metrics: Sequence[str],
        steepness: float = 1.0,
    ) -> tuple[Tensor, Tensor]:
        """(d, change of rate) of crops ``index`` [n] coded at ``QPS[qp]``: [n,metrics], [n], logarithms.

        ``rate`` [n] and ``quality`` [n,metrics] are those of the filtered crops; ``steepness`` multiplies
        the slopes.
        """
        columns = [METRICS.index(name) for name in metrics]
        change = rate - self.rate[index, qp]
        gain = (quality - self.quality[index, qp][:, columns]) / (
            steepness * self.slope[index, qp][:, columns]
        )
        return (change[:, None] - gain) * self.share[index, qp][:, columns], change


def qp_index(text: str) -> list[int]:
    """Places in :data:`QPS` of QPs "22,26,30"; :class:`InputError` for others than the inner ones."""
    inner = QPS[1:-1]
    try:
        found = [QPS.index(int(word)) for word in text.split(",")]
    except ValueError:
        found = []
    if not found or not set(found) <= set(range(1, len(QPS) - 1)):
        known = ", ".join(map(str, inner))
        raise InputError(f"QPs to train at are some of {known} with commas, not '{text}'")
    return found
