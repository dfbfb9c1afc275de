# SPDX-License-Identifier: BSD-2-Clause
"""Fits the stand-in encoder's prices to the bits that x264 and x265 spend, and says how well they follow.

Crops of a training pack, plain and altered (blurred, sharpened, denoised, with less contrast), are encoded at
constant QP as one intra and two inter frames, chroma grey. What a grey clip costs, headers, is taken away.
Prices are fitted on three quarters of the crops; rank correlations are of the
remaining quarter, which shows other clips. The change of bits that an alteration makes is what a prefilter is
trained on, so it counts most in the fit.
"""

from __future__ import annotations

import json
import math
import os
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.nn.functional import conv2d, pad

from clarivid.data.lowrank import FRAMES, LowrankPack
from clarivid.data.synth import ffmpeg_exe, pipe
from clarivid.errors import InputError, ToolError
from clarivid.train import motion
from clarivid.train.codec import Codec, Spectra

ENCODERS: dict[str, tuple[str, ...]] = {
    "x264": (
        *("-c:v", "libx264", "-preset", "medium", "-threads", "1", "-x264-params"),
        "qp={qp}:ipratio=1:aq-mode=0:bframes=0:scenecut=0:keyint=3:min-keyint=3",
    ),
    "x265": (
        *("-c:v", "libx265", "-preset", "medium", "-x265-params"),
        "qp={qp}:ipratio=1:aq-mode=0:bframes=0:scenecut=0:keyint=3:min-keyint=3:open-gop=0:info=0"
        ":log-level=none:pools=1:frame-threads=1",
    ),
}
ALTERATIONS = ("plain", "blurred", "sharpened", "denoised", "less contrast")
QPS = (18, 40)
FLOOR = 150.0  # bits, as in training: differences of nearly nothing do not count

Bytes = npt.NDArray[np.uint8]
Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Samples:
    """Coded clips, ``each`` of one crop in a row, the plain one first: ``y`` [M,3,H,W] and what encoders
    spent on its luma, ``bits`` [M,encoders,3]; ``qp`` [M]; ``held_out`` [M]."""

    y: Bytes
    qp: npt.NDArray[np.int64]
    bits: Floats
    held_out: npt.NDArray[np.bool_]
    each: int = 3


def collect(
    packs: Sequence[LowrankPack],
    crops: int = 300,
    seed: int = 0,
    progress: Callable[[int, int], None] | None = None,
) -> Samples:
    """Alter and encode ``crops`` random crops; raises :class:`InputError`, :class:`ToolError`."""
    rng = np.random.default_rng(seed)
    where = [(p, i) for p, pack in enumerate(packs) for i in range(len(pack.train))]
    if len(where) < 8:
        raise InputError(f"a calibration needs some crops, the packs have {len(where)}")
    chosen = np.sort(rng.choice(len(where), min(crops, len(where)), replace=False))
    # A pack has the crops of a clip one after another: a run of them shows clips that no others show.
    held_out = (np.arange(len(chosen)) * 4 // len(chosen)) == 2
    qps = rng.integers(QPS[0], QPS[1] + 1, len(chosen))
    others = [rng.choice(np.arange(1, len(ALTERATIONS)), 2, replace=False) for _ in chosen]
    luma = []
    for index, other in zip(chosen, others, strict=True):
        pack, crop = where[index]
        own = packs[pack].train
        luma += [alter(own.y[crop], ALTERATIONS[kind]) for kind in (0, *other)]
    y = np.stack(luma)
    each = len(y) // len(chosen)
    bits = np.zeros((len(y), len(ENCODERS), FRAMES))
    work = [(e, qp) for e in range(len(ENCODERS)) for qp in sorted(set(qps.tolist()))]
    for done, (encoder, qp) in enumerate(work):
        own_clips = np.flatnonzero(np.repeat(qps, each) == qp)
        spent = encode([np.full_like(y[0], 128), *y[own_clips]], list(ENCODERS)[encoder], qp)
        bits[own_clips, encoder] = spent[1:] - spent[0]
        if progress:
            progress(done + 1, len(work))
    return Samples(y, np.repeat(qps, each), bits, np.repeat(held_out, each), each)


def alter(y: Bytes, how: str) -> Bytes:
    """A clip's luma [T,H,W] altered as a prefilter might, one of :data:`ALTERATIONS`."""
    x = torch.from_numpy(y.astype(np.float32))
    if how == "blurred":
        x = _blur(x, 0.6)
    elif how == "sharpened":
        x = x + 0.5 * (x - _blur(x, 1.0))
    elif how == "denoised":
        smooth = _blur(x, 1.5)
        detail = x - smooth
        x = smooth + torch.sign(detail) * (detail.abs() - 1.5).clamp_min(0)
    elif how == "less contrast":
        smooth = _blur(x, 1.5)
        x = smooth + 0.85 * (x - smooth)
    elif how != "plain":
        raise InputError(f"there is no alteration '{how}'; use one of {', '.join(ALTERATIONS)}")
    altered: Bytes = x.round().clamp(0, 255).to(torch.uint8).numpy()
    return altered


def _blur(x: Tensor, sigma: float) -> Tensor:
    reach = math.ceil(4 * sigma)
    taps = torch.exp(-0.5 * (torch.arange(-reach, reach + 1) / sigma) ** 2)
    taps = taps / taps.sum()
    x = pad(x[:, None], [reach] * 4, mode="replicate")
    return conv2d(conv2d(x, taps.view(1, 1, 1, -1)), taps.view(1, 1, -1, 1))[:, 0]


def encode(clips: Sequence[Bytes], encoder: str, qp: int) -> Floats:
    """Bits of each frame of clips of luma [3,H,W], [N,3], encoded with grey chroma: in one stream, but each
    clip begins with a key frame."""
    height, width = clips[0].shape[1:]
    chroma = bytes([128]) * (height * width // 2)
    greeting = np.full_like(clips[0], 128)  # encoders write more into their first packet
    frames = [frame.tobytes() + chroma for clip in (greeting, *clips) for frame in clip]
    command = [
        *(ffmpeg_exe(), "-hide_banner", "-loglevel", "error", "-f", "rawvideo", "-pix_fmt", "yuv420p"),
        *("-s", f"{width}x{height}", "-r", "25", "-i", "-"),
        *(word.format(qp=qp) for word in ENCODERS[encoder]),
        *("-flags", "+global_header", "-f", "framecrc", "-"),
    ]
    rows = [
        line.split(",") for line in pipe(command, b"".join(frames)).decode().splitlines() if line[0] != "#"
    ]
    if len(rows) != FRAMES * (1 + len(clips)):
        raise ToolError(f"{encoder} gave {len(rows)} frames for {FRAMES * (1 + len(clips))}")
    sizes = np.array([8.0 * int(row[4]) for row in rows])
    return sizes.reshape(-1, FRAMES)[1:]


@torch.no_grad()
def spectra_of(
    samples: Samples, codec: Codec, progress: Callable[[int, int], None] | None = None
) -> list[Spectra]:
    """What the stand-in codes of the samples, one entry a frame. It is the same whatever the prices."""
    found: list[list[Spectra]] = [[] for _ in range(FRAMES)]
    for start in range(0, len(samples.y), 16):
        y = torch.from_numpy(samples.y[start : start + 16]).float()
        where = [motion.grid(motion.estimate(y[:, t], y[:, t + 1])) for t in range(FRAMES - 1)]
        coded = codec(y, torch.stack(where, 1), torch.from_numpy(samples.qp[start : start + 16]).float())
        for t, spectrum in enumerate(coded.spectra):
            found[t].append(spectrum)
        if progress:
            progress(min(start + 16, len(samples.y)), len(samples.y))
    return [_joined(parts) for parts in found]


def _joined(parts: Sequence[Spectra]) -> Spectra:
    sums = [torch.cat([part.sums[mode] for part in parts]) for mode in range(len(parts[0].sums))]
    return Spectra(sums, torch.cat([part.regions for part in parts]), parts[0].modes)


def fit(
    codec: Codec, samples: Samples, spectra: Sequence[Spectra], steps: int = 500, regularise: float = 0.3
) -> None:
    """Fit ``codec``'s prices on the samples that are not held out.

    The error is that of ln(bits), intra and inter apart, against the mean of the encoders, plus four times
    that of its change by an alteration. ``regularise`` draws each frequency's importance towards 1: there
    are more frequencies than samples.
    """
    mean = torch.from_numpy(samples.bits.mean(1)).float().clamp_min(8)
    target = torch.log(torch.stack([mean[:, 0], mean[:, 1:].sum(1)], 1) + FLOOR)
    plain = torch.arange(len(target)) // samples.each * samples.each
    use = torch.from_numpy(~samples.held_out)
    codec.requires_grad_(True)
    optimiser = torch.optim.Adam(
        [
            {"params": [codec.parts], "lr": 0.03},
            {"params": list(codec.importance.values()), "lr": 0.004},
        ]
    )
    for _ in range(steps):
        spent = torch.stack([codec.price(spectrum) for spectrum in spectra], 1)
        found = torch.log(torch.stack([spent[:, 0], spent[:, 1:].sum(1)], 1) + FLOOR)
        error = found - target
        loss = error[use].abs().mean() + 4 * (error - error[plain])[use].abs().mean()
        for table in codec.importance.values():
            loss = loss + regularise * table.square().mean()
        loss = loss + 0.02 * codec.parts.square().mean()
        optimiser.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimiser.step()
    codec.requires_grad_(False)


@torch.no_grad()
def report(
    codec: Codec, samples: Samples, spectra: Sequence[Spectra], held_out: bool = True
) -> dict[str, Any]:
    """Spearman's rank correlation of the stand-in's bits with each encoder's, on the held-out samples or on
    the others: ``intra``, ``inter``, ``inter_moving`` (clips on whose inter frames the encoder spent more
    than :data:`FLOOR`; below, ranks are noise), ``total``, and ``change`` of ln(bits) by an alteration."""
    spent = torch.stack([codec.price(spectrum) for spectrum in spectra], 1).double().numpy()
    use = samples.held_out == held_out
    plain = np.arange(len(spent)) // samples.each * samples.each
    altered = use & (np.arange(len(spent)) != plain)
    rows: dict[str, Any] = {}
    for i, encoder in enumerate(ENCODERS):
        real = samples.bits[:, i].clip(min=0)
        inter = [x[:, 1:].sum(1) for x in (spent, real)]
        moving = use & (inter[1] > FLOOR)
        logs = [np.log(x.sum(1) + FLOOR) for x in (spent, real)]
        changes = [(x - x[plain])[altered] for x in logs]
        rows[encoder] = {
            "intra": _rounded(spearman(spent[use, 0], real[use, 0])),
            "inter": _rounded(spearman(*(x[use] for x in inter))),
            "inter_moving": _rounded(spearman(*(x[moving] for x in inter))),
            "total": _rounded(spearman(logs[0][use], logs[1][use])),
            "change": _rounded(spearman(*changes)),
            # Regression of the real change on the stand-in's: 1 when it neither over- nor understates.
            "change_slope": _rounded(float((changes[0] * changes[1]).sum() / (changes[0] ** 2).sum())),
        }
    return {"clips": int(use.sum()), "crops": int(use.sum()) // samples.each, **rows}


def calibrate(
    packs: Sequence[LowrankPack],
    out: Path,
    crops: int = 300,
    seed: int = 0,
    steps: int = 500,
    progress: Callable[[str, int, int], None] | None = None,
) -> dict[str, Any]:
    """Collect, fit, and write prices and report to ``out``, as ``codec.json`` has them; returns the report.

    ``progress`` gets what is being done, how much of it is done, and of how much.
    """

    def tell(what: str) -> Callable[[int, int], None]:
        return lambda done, total: progress(what, done, total) if progress else None

    samples = collect(packs, crops, seed, tell("encode"))
    codec = Codec()
    spectra = spectra_of(samples, codec, tell("transform"))
    fit(codec, samples, spectra, steps)
    found = {
        "held_out": report(codec, samples, spectra),
        "fitted": report(codec, samples, spectra, held_out=False),
    }
    how = {"crops": len(samples.y) // samples.each, "seed": seed, "steps": steps}
    encoders = {name: " ".join(words) for name, words in ENCODERS.items()}
    write_prices(out, {**codec.prices(), "report": found, "fit": {**how, "encoders": encoders}})
    return found


def write_prices(path: Path, prices: dict[str, Any]) -> None:
    """Write JSON with a list of numbers a line; never half a file."""
    text = re.sub(
        r"\[\s+([^\[\]]*?)\s+\]",
        lambda match: "[" + re.sub(r"\s+", " ", match[1]) + "]",
        json.dumps(prices, indent=1),
    )
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    temporary.write_text(text + "\n", "utf-8")
    temporary.replace(path)


def spearman(a: Floats, b: Floats) -> float:
    """Spearman's rank correlation, equal values sharing their mean rank."""
    return float(np.corrcoef(_ranks(a), _ranks(b))[0, 1])


def _ranks(x: Floats) -> Floats:
    _, inverse, counts = np.unique(x, return_inverse=True, return_counts=True)
    last = np.cumsum(counts).astype(np.float64)
    ranks: Floats = (last - (counts - 1) / 2)[inverse]
    return ranks


def _rounded(x: float) -> float:
    return round(x, 4)
