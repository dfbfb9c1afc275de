# SPDX-License-Identifier: BSD-2-Clause
"""What a comparison found, and whether that passes the gates."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from clarivid.parity.cases import Case
from clarivid.parity.gates import GATES, Gate
from clarivid.parity.planes import Picture

EQUAL_DB = 100.0  # stands for planes without any difference


@dataclass(frozen=True)
class Difference:
    """One way against the reference over a case: codes of all planes, and PSNR of luma in dB (peak 2^b - 1;
    way ``onnx``: of the net's values, peak 1).

    ``psnr_db`` is None when the planes are equal.
    """

    max_code_error: int
    differing: float  # share of codes, 0..1
    psnr_db: float | None
    worst: float = 0.0  # max_code_error as a share of all codes

    @property
    def decibel(self) -> float:
        """``psnr_db`` with :data:`EQUAL_DB` for equal planes."""
        return EQUAL_DB if self.psnr_db is None else self.psnr_db


@dataclass(frozen=True)
class Row:
    """One case's results: a :class:`Difference` by precision and way."""

    case: Case
    found: Mapping[str, Mapping[str, Difference]]

    @property
    def fp32(self) -> Mapping[str, Difference]:
        """Of each way that ran in fp32."""
        return self.found.get("fp32", {})

    @property
    def bf16(self) -> Mapping[str, Difference]:
        """Of each way that ran in bf16."""
        return self.found.get("bf16", {})

    def to_dict(self) -> dict[str, Any]:
        """For JSON: "case", "fp32" and "bf16", and what else there is."""
        found = {"fp32": {}, "bf16": {}, **self.found}
        return {
            "case": asdict(self.case),
            **{p: {way: asdict(d) for way, d in ways.items()} for p, ways in found.items()},
        }


@dataclass(frozen=True)
class Verdict:
    """On one precision. ``psnr_db``: the lowest on real pictures (on all, without any); ``synthetic_db``: on
    the made ones, None when there are none; both None in fp32, which is judged by codes. ``worst``: the
    largest error of a sample as a share of all codes, and ``most`` what is allowed (0: anything).
    """

    precision: str
    max_code_error: int
    psnr_db: float | None
    synthetic_db: float | None
    least_db: float  # the gate on psnr_db; 0: judged by codes
    least_synthetic_db: float
    worst: float
    most: float
    passed: bool

    def to_dict(self) -> dict[str, Any]:
        """With the keys of a card's "parity" entry."""
        if self.psnr_db is None:
            return {"max_code_error": self.max_code_error, "passed": self.passed}
        rounded = {"psnr_db": round(self.psnr_db, 2)}
        if self.synthetic_db is not None:
            rounded["synthetic_db"] = round(self.synthetic_db, 2)
        return {**rounded, "max_code_error": self.max_code_error, "passed": self.passed}


def judge(precision: str, found: Sequence[tuple[str, Difference]], inpaints: bool = False) -> Verdict:
    """``found``: differences with the source of their pictures ("real", "random", ...)."""
    gate: Gate = GATES[precision]
    codes = max(d.max_code_error for _, d in found)
    most = max(d.worst for _, d in found)
    if gate.codes:
        return Verdict(precision, codes, None, None, 0, 0, most, 0, codes <= gate.codes)
    real = [d.decibel for source, d in found if source == "real"]
    made = [d.decibel for source, d in found if source != "real"]
    least = gate.hole_db if inpaints else gate.real_db
    # Without a real picture the made ones are all there is, and they are held to what they are held to.
    least = least if real else min(least, gate.synthetic_db)
    worst, synthetic = min(real or made), min(made) if made else None
    allowed = 0 if inpaints else gate.worst
    passed = worst >= least and (synthetic is None or synthetic >= gate.synthetic_db)
    passed = passed and (not allowed or most <= allowed) and bool(real or not gate.needs_real)
    return Verdict(precision, codes, worst, synthetic, least, gate.synthetic_db, most, allowed, passed)


@dataclass(frozen=True)
class Report:
    """What :func:`clarivid.parity.check` found. ``skipped`` says in sentences what could not be compared, and
    why; ``reference`` what everything was compared with."""

    model: str
    rows: list[Row]
    skipped: list[str] = field(default_factory=list)
    inpaints: bool = False
    reference: str = "PyTorch in fp32"

    @property
    def precisions(self) -> list[str]:
        """Those that ran."""
        return [p for p in GATES if any(row.found.get(p) for row in self.rows)]

    def verdict(self, precision: str) -> Verdict | None:
        """None when nothing ran in that precision."""
        found = [(row.case.source, d) for row in self.rows for d in row.found.get(precision, {}).values()]
        return judge(precision, found, self.inpaints) if found else None

    @property
    def verdicts(self) -> list[Verdict]:
        """One for each of :attr:`precisions`."""
        found = (self.verdict(precision) for precision in self.precisions)
        return [verdict for verdict in found if verdict is not None]

    @property
    def max_code_error(self) -> int:
        """The largest error of fp32, over all cases and ways; 0 when it did not run."""
        return max((d.max_code_error for row in self.rows for d in row.fp32.values()), default=0)

    @property
    def passed(self) -> bool:
        """Every gate, of the precisions that ran."""
        return bool(self.verdicts) and all(verdict.passed for verdict in self.verdicts)

    def to_dict(self) -> dict[str, Any]:
        """For JSON; the entries named after precisions have the shape of the card's ``parity`` entry."""
        verdicts = {p: self.verdict(p) for p in GATES}
        return {
            "model": self.model,
            "reference": self.reference,
            "passed": self.passed,
            **{p: v.to_dict() for p, v in verdicts.items() if v is not None},
            "bf16": verdicts["bf16"].to_dict() if verdicts["bf16"] is not None else None,
            "skipped": self.skipped,
            "cases": [row.to_dict() for row in self.rows],
        }


def difference(
    got: Sequence[Picture], wanted: Sequence[Picture], bit_depth: int, hole: NDArray[np.bool_] | None = None
) -> Difference:
    """Of pictures (y, u, v); decibels count the samples of ``hole`` only, when there is one."""
    errors = [
        np.abs(a.astype(np.int64) - b)
        for g, w in zip(got, wanted, strict=True)
        for a, b in zip(g, w, strict=True)
    ]
    counted = [error if hole is None else error[hole] for error in errors[::3]]
    luma = float(np.mean([np.mean(error.astype(np.float64) ** 2) for error in counted]))
    peak = float((1 << bit_depth) - 1)
    decibel = float(10 * np.log10(peak * peak / luma)) if luma else None
    codes, share = _codes(errors)
    return Difference(codes, share, decibel, codes / peak)


def tensor_difference(
    got: Iterable[NDArray[Any]], wanted: Iterable[NDArray[Any]], span: int = 255
) -> Difference:
    """Of a net's values; codes are those of a range of ``span`` steps from black to white. A value that is no
    number counts as the largest error."""
    pairs = [(np.nan_to_num(g.astype(np.float64), nan=1e4), w) for g, w in zip(got, wanted, strict=True)]
    codes = [np.abs(np.floor(g * span + 0.5) - np.floor(w * span + 0.5)) for g, w in pairs]
    square = float(np.mean([np.mean((g - w) ** 2) for g, w in pairs]))
    largest, share = _codes(codes)
    return Difference(largest, share, float(10 * np.log10(1 / square)) if square else None, largest / span)


def _codes(errors: Sequence[NDArray[Any]]) -> tuple[int, float]:
    """The largest, and the share that is not 0."""
    differing = sum(int((error > 0).sum()) for error in errors) / sum(error.size for error in errors)
    return int(max(error.max() for error in errors)), differing


__all__ = ["Difference", "Report", "Row", "Verdict", "difference", "judge", "tensor_difference"]
