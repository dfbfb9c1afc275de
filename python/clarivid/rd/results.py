# SPDX-License-Identifier: BSD-2-Clause
"""What a run found, and the tables made of it: BD-rates, means, guards, the gate."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from statistics import mean
from typing import Any

from clarivid.rd.bd import Delta, bd_rate
from clarivid.rd.plan import PLAIN, Plan
from clarivid.rd.prepare import DRIFT_LIMIT, Clip
from clarivid.rd.scores import SCORES

# The gate, in per cent of rate; SSIM of the worst clip.
GATE = {"vmaf": -10.0, "vmaf_neg": -2.0, "ssim": -3.0}
GATE_WORST_SSIM = 3.0
# VMAF may gain more than NEG; beyond this ratio most of the gain is sharpening.
SHARPENING = 3.0


@dataclass(frozen=True)
class Point:
    """One encode. ``rate`` is the CRF or the kbit/s that was asked for; ``stream`` the encoded file."""

    clip: str
    encoder: str
    mode: str
    rate: float
    variant: str
    fps: float
    stream: Path
    record: dict[str, Any]

    @property
    def bits(self) -> int:
        """Of all video packets."""
        return int(self.record["bits"])

    @property
    def packets(self) -> list[int]:
        """Bytes of each frame's packet, in order of display."""
        return list(self.record["packets"])

    @property
    def kbps(self) -> float:
        """Mean bitrate in kbit/s."""
        return self.bits / len(self.packets) * self.fps / 1000

    @property
    def scores(self) -> dict[str, float]:
        """By their names in :data:`clarivid.rd.scores.SCORES`."""
        return dict(self.record["scores"])


@dataclass(frozen=True)
class Cell:
    """BD-rate of one variant against plain, for one clip, encoder, mode and score."""

    clip: str
    kind: str
    encoder: str
    mode: str
    variant: str
    score: str
    delta: Delta


@dataclass(frozen=True)
class Guard:
    """A check that failed or deserves a look: ``severity`` is ``fail`` or ``note``."""

    severity: str
    variant: str
    sentence: str


@dataclass(frozen=True)
class Results:
    """Everything that a run found. ``clips`` are keyed by (clip, variant).

    ``matched`` are not on the curves: each variant at about the bits of :func:`shown_point`, by the first
    encoder, for pictures side by side. ``version`` is the encoding ffmpeg's.
    """

    plan: Plan
    clips: dict[tuple[str, str], Clip]
    points: list[Point]
    matched: list[Point]
    version: str

    @cached_property
    def cells(self) -> list[Cell]:
        """All BD-rates, in the order of clips, encoders, modes, variants, scores."""
        curves: dict[tuple[str, str, str, str], list[Point]] = {}
        for point in self.points:
            curves.setdefault((point.clip, point.encoder, point.mode, point.variant), []).append(point)
        kinds = {source.name: source.kind for source in self.plan.sources}
        cells = []
        for (clip, encoder, mode, variant), points in curves.items():
            if variant == PLAIN:
                continue
            anchor = curves[clip, encoder, mode, PLAIN]
            for name in self.plan.scores:
                pair = [[(p.kbps, p.scores[name]) for p in own] for own in (anchor, points)]
                delta = bd_rate(pair[0], pair[1], SCORES[name].top)
                cells.append(Cell(clip, kinds[clip], encoder, mode, variant, name, delta))
        return cells

    def variants(self) -> list[str]:
        """Names of the variants but plain."""
        return [variant.name for variant in self.plan.variants if variant.name != PLAIN]

    def select(self, **fields: str) -> list[Cell]:
        """The cells whose fields have these values."""
        return [
            cell for cell in self.cells if all(getattr(cell, key) == value for key, value in fields.items())
        ]

    def mean(self, variant: str, score: str, mode: str = "crf", **fields: str) -> float | None:
        """Mean BD-rate over encoders of the mean over clips; None when an encoder has no number at all.

        ``fields`` choose among the cells: ``encoder``, ``clip``, ``kind``. Cells without a number are left
        out (and reported by :meth:`guards`).
        """
        cells = self.select(variant=variant, score=score, mode=mode, **fields)
        by_encoder = [
            _mean(cell.delta.rate for cell in cells if cell.encoder == encoder.label)
            for encoder in self.plan.encoders
            if fields.get("encoder", encoder.label) == encoder.label
        ]
        return None if None in by_encoder else _mean(by_encoder)

    def missing(self, variant: str, score: str, mode: str = "crf", **fields: str) -> int:
        """How many BD-rates that :meth:`mean` should be over do not exist."""
        cells = self.select(variant=variant, score=score, mode=mode, **fields)
        return sum(1 for cell in cells if cell.delta.rate is None)

    def worst(self, variant: str, score: str, mode: str = "crf") -> tuple[str, float] | None:
        """The clip with the largest BD-rate (mean over encoders), and that."""
        found = [
            (value, source.name)
            for source in self.plan.sources
            if (value := self.mean(variant, score, mode, clip=source.name)) is not None
        ]
        return (max(found)[1], max(found)[0]) if found else None

    def guards(self) -> list[Guard]:
        """What a sceptic would ask, answered."""
        found = []
        for variant in self.variants():
            for (clip, name), facts in self.clips.items():
                if name != variant:
                    continue
                if max(abs(value) for value in facts.drift) > DRIFT_LIMIT:
                    drift = ", ".join(
                        f"{plane} {v:+.2f}" for plane, v in zip("YUV", facts.drift, strict=True)
                    )
                    text = f"{clip}: colour drifts by {drift} code values; the limit is {DRIFT_LIMIT}"
                    found.append(Guard("fail", variant, text))
                if facts.moved:
                    found.append(Guard("fail", variant, f"{clip}: frames are shifted in time"))
            found += self._cell_guards(variant)
            vmaf, neg = self.mean(variant, "vmaf"), self.mean(variant, "vmaf_neg")
            if vmaf is not None and neg is not None and vmaf < -1 and vmaf < SHARPENING * min(neg, 0):
                text = f"VMAF says {vmaf:+.1f} %, VMAF-NEG {neg:+.1f} %: most of VMAF's gain is sharpening"
                found.append(Guard("note", variant, text))
        return found

    def _cell_guards(self, variant: str) -> list[Guard]:
        found = []
        for cell in self.select(variant=variant):
            where = f"{cell.clip}, {cell.encoder} {cell.mode}, {SCORES[cell.score].label}"
            if cell.delta.problem:
                found.append(Guard("fail", variant, f"{where}: no BD-rate, {cell.delta.problem}"))
            found += [Guard("note", variant, f"{where}: {note}") for note in cell.delta.notes]
        return found

    def gate(self, variant: str) -> list[str]:
        """Why ``variant`` misses the gate, in sentences; empty when it passes."""
        missed = []
        for score, limit in GATE.items():
            value, label = self.mean(variant, score), SCORES[score].label
            if score not in self.plan.scores:
                missed.append(f"{label}: not measured")
            elif value is None:
                missed.append(f"{label}: some curve gave no BD-rate")
            elif value > limit:
                missed.append(f"{label}: {value:+.2f} %, at most {limit:+g} % is asked for")
            if unknown := self.missing(variant, score):
                missed.append(f"{label}: {unknown} curve(s) gave no BD-rate")
        worst = self.worst(variant, "ssim")
        if worst is not None and worst[1] > GATE_WORST_SSIM:
            missed.append(f"SSIM of {worst[0]}: {worst[1]:+.2f} %, at most {GATE_WORST_SSIM:+g} % is allowed")
        for (clip, name), facts in self.clips.items():
            if name == variant and max(abs(value) for value in facts.drift) > DRIFT_LIMIT:
                missed.append(f"{clip}: colour drifts by more than {DRIFT_LIMIT} code values")
        return missed


def shown_point(curve: list[Point]) -> Point:
    """The point of a curve that pictures are shown of: the second worst, where encoding is visible."""
    return sorted(curve, key=lambda point: point.bits)[1]


def bd_table(results: Results) -> list[dict[str, Any]]:
    """Each BD-rate as a flat row: clip, kind, encoder, mode, variant, score, bd_rate, overlap, problem."""
    return [
        {
            "clip": cell.clip,
            "kind": cell.kind,
            "encoder": cell.encoder,
            "mode": cell.mode,
            "variant": cell.variant,
            "score": cell.score,
            "bd_rate": cell.delta.rate,
            "overlap": cell.delta.overlap,
            "problem": cell.delta.problem,
            "notes": list(cell.delta.notes),
        }
        for cell in results.cells
    ]


def _mean(values: Iterable[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return mean(known) if known else None
