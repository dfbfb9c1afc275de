# SPDX-License-Identifier: BSD-2-Clause
"""Gains over Lanczos by clip and by kind, as JSON, CSV and Markdown.

A gain is a difference from Lanczos, or for the errors (edge, texture, flicker, warp) a quotient: 0.9 is a
tenth less. A clip's gain is the mean over its points, a kind's the mean over its clips, and the *mean* the
one over the kinds other than ``hard``, which is shown and judged apart. Means of quotients are geometric: a
half and a double make 1.
"""

from __future__ import annotations

import csv
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from statistics import geometric_mean, mean
from typing import Any

from clarivid.clips import KINDS
from clarivid.outputs import write_whole

LANCZOS, HARD = "lanczos", "hard"
FORMAT = 1
# Score -> title, digits of a gain. Those of QUOTIENTS are compared by their quotient.
TITLES: dict[str, tuple[str, int]] = {
    "psnr_y": ("PSNR-Y, dB", 2),
    "psnr_uv": ("PSNR-UV, dB", 2),
    "ssim": ("SSIM", 4),
    "vmaf": ("VMAF", 2),
    "vmaf_neg": ("VMAF-NEG", 2),
    "edge": ("edge error", 2),
    "texture": ("texture error", 2),
    "flicker": ("flicker", 3),
    "warp": ("warping error", 3),
}
QUOTIENTS = frozenset({"edge", "texture", "flicker", "warp"})
SHOWN = ("psnr_y", "psnr_uv", "ssim", "vmaf", "vmaf_neg", "edge", "texture", "flicker")

_LEAST = 1e-6  # below it an error is none

Gain = dict[str, float | None]
Rows = Sequence[Mapping[str, Any]]


def gains(rows: Rows, method: str) -> dict[str, Any]:
    """``mean``, ``kinds`` and ``clips`` (name -> gain), ``kind_of`` each clip, and ``least``: the clip with
    the least gain, by score.

    ``rows`` as :class:`clarivid.sr_bench.run.Row` as dictionaries; Lanczos must be among them.
    """
    plain = {_point(row): row["scores"] for row in rows if row["method"] == LANCZOS}
    clips: dict[str, list[Gain]] = {}
    kind_of: dict[str, str] = {}
    for row in rows:
        if row["method"] == method:
            clips.setdefault(row["clip"], []).append(_gain(row["scores"], plain[_point(row)]))
            kind_of[row["clip"]] = row["kind"]
    by_clip = {name: mean_of(own) for name, own in clips.items()}
    by_kind = {
        kind: mean_of([gain for name, gain in by_clip.items() if kind_of[name] == kind])
        for kind in KINDS
        if kind in kind_of.values()
    }
    judged = [gain for kind, gain in by_kind.items() if kind != HARD]
    return {
        "mean": mean_of(judged) if judged else None,
        "kinds": by_kind,
        "clips": by_clip,
        "kind_of": kind_of,
        "least": {score: least(by_clip, score) for score in TITLES},
    }


def least(table: Mapping[str, Gain], score: str) -> str | None:
    """The name with the least gain (of an error: the largest quotient); None when nobody has one."""
    sign = -1 if score in QUOTIENTS else 1
    known = {name: sign * value for name, gain in table.items() if (value := gain[score]) is not None}
    return min(known, key=lambda name: known[name]) if known else None


def mean_of(some: Sequence[Gain]) -> Gain:
    """Score by score, of those that have one; geometric for quotients."""
    found: Gain = {}
    for score in TITLES:
        known = [value for gain in some if (value := gain[score]) is not None]
        average = geometric_mean if score in QUOTIENTS else mean
        found[score] = average(known) if known else None
    return found


def _point(row: Mapping[str, Any]) -> tuple[Any, ...]:
    return row["clip"], row["codec"], row["crf"]


def _gain(ours: Mapping[str, float | None], plain: Mapping[str, float | None]) -> Gain:
    found: Gain = {}
    for score in TITLES:
        a, b = ours[score], plain[score]
        if a is None or b is None:
            found[score] = None
        elif score in QUOTIENTS:
            found[score] = max(a, _LEAST) / b if b > _LEAST else None
        else:
            found[score] = a - b
    return found


def text_of(gain: Gain, score: str) -> str:
    """For tables: ``+1.02``, ``0.97`` for a quotient, ``-`` when there is none."""
    value, digits = gain[score], TITLES[score][1]
    if value is None:
        return "-"
    return f"{value:.{digits}f}" if score in QUOTIENTS else f"{value:+.{digits}f}"


def write_csv(rows: Rows, path: Path) -> Path:
    """A line a result."""
    write_whole(path, csv_text(rows).encode())
    return path


def csv_text(rows: Rows) -> str:
    """The same as text."""
    lines: list[str] = []

    class Lines:
        def write(self, line: str) -> None:
            lines.append(line)

    out = csv.writer(Lines(), lineterminator="\n")
    facts = ("clip", "kind", "codec", "crf", "method", "width", "height", "frames", "kbps")
    out.writerow([*facts, *TITLES])
    for row in rows:
        values = {**row, "width": row["size"][0], "height": row["size"][1], "kbps": f"{row['kbps']:.1f}"}
        scores = ["" if (v := row["scores"][name]) is None else f"{v:.5f}" for name in TITLES]
        out.writerow([*(values[name] for name in facts), *scores])
    return "".join(lines)


def markdown(record: Mapping[str, Any]) -> str:
    """Tables for a card or the README: every model by kind, then all methods side by side."""
    lines: list[str] = []
    counts = {kind: sum(clip["kind"] == kind for clip in record["clips"]) for kind in KINDS}
    for method in record["models"]:
        lines += [*kind_table(method, record["gains"][method], counts), ""]
    lines += method_table(record["gains"])
    points = ", ".join(_points(record["points"]))
    lines += ["", f"Gain over swscale's Lanczos, mean over {points}; {record['frames']} frames of each clip."]
    lines += ["Errors (edge, texture, flicker) are quotients: below 1 is less than Lanczos has."]
    return "\n".join(lines) + "\n"


def kind_table(title: str, gained: Mapping[str, Any], counts: Mapping[str, int]) -> list[str]:
    """Markdown, a line a kind."""
    head = [title, "clips", *(TITLES[score][0] for score in SHOWN), "least clip, PSNR-Y"]
    rows = []
    for kind, gain in gained["kinds"].items():
        rows.append([kind, str(counts[kind]), *(text_of(gain, s) for s in SHOWN), _least(gained, kind)])
    if gained["mean"] is not None:
        judged = sum(counts[kind] for kind in gained["kinds"] if kind != HARD)
        cells = [text_of(gained["mean"], s) for s in SHOWN]
        rows.append(["**mean of the kinds**, without hard", str(judged), *cells, ""])
    return _table(head, rows)


def method_table(every: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """Markdown, a line a method: means over the kinds, least clip."""
    head = ["method", *(TITLES[score][0] for score in SHOWN), "least clip, PSNR-Y"]
    rows = []
    for method, gained in every.items():
        if gained["mean"] is not None:
            name = gained["least"]["psnr_y"]
            low = f"{text_of(gained['clips'][name], 'psnr_y')} {name}"
            rows.append([method, *(text_of(gained["mean"], s) for s in SHOWN), low])
    return _table(head, rows)


def _least(gained: Mapping[str, Any], kind: str) -> str:
    own = {name: gain for name, gain in gained["clips"].items() if gained["kind_of"][name] == kind}
    name = least(own, "psnr_y")
    return f"{text_of(own[name], 'psnr_y')} {name}" if name else "-"


def _points(points: Iterable[Mapping[str, Any]]) -> list[str]:
    rates: dict[str, list[str]] = {}
    for point in points:
        rates.setdefault(point["codec"], []).append(f"{point['crf']:g}")
    return [f"{codec} at CRF {' '.join(crfs)}" for codec, crfs in rates.items()]


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    lines = [f"| {' | '.join(head)} |", f"|{'---|' * len(head)}"]
    return [*lines, *(f"| {' | '.join(row)} |" for row in rows)]


def card_scores(record: Mapping[str, Any], method: str) -> dict[str, Any]:
    """What a card says of a model, for ``clarivid export --scores``."""
    gained = record["gains"][method]

    def short(gain: Gain | None) -> dict[str, float | None]:
        return {s: None if gain is None or (v := gain[s]) is None else round(v, TITLES[s][1]) for s in SHOWN}

    least_of = gained["least"]["psnr_y"]
    return {
        "against": "swscale's Lanczos",
        "points": _points(record["points"]),
        "frames": record["frames"],
        "clips": len(gained["clips"]),
        "mean": short(gained["mean"]),
        "kinds": {kind: short(gain) for kind, gain in gained["kinds"].items()},
        "least_clip": {least_of: short(gained["clips"][least_of])} if least_of else {},
    }


def card_lines(scores: Mapping[str, Any]) -> list[str]:
    """Markdown of :func:`card_scores`, for a model's README."""
    head = ["held-out clips", *(TITLES[score][0] for score in SHOWN)]
    rows = [[name, *(text_of(gain, s) for s in SHOWN)] for name, gain in scores["kinds"].items()]
    rows.append(["**mean**, without hard", *(text_of(scores["mean"], s) for s in SHOWN)])
    rows += [[f"least: {name}", *(text_of(g, s) for s in SHOWN)] for name, g in scores["least_clip"].items()]
    points = ", ".join(scores["points"])
    return [
        f"Gain over {scores['against']} on {scores['clips']} held-out clips and stills after an encoder, "
        f"mean over {points} (`clarivid bench sr`). Errors are quotients: below 1 is less.",
        "",
        *_table(head, rows),
    ]


def write(record: Mapping[str, Any], out: Path) -> list[Path]:
    """``results.json``, ``results.csv``, ``table.md`` and, for each model, ``scores-NAME.json`` (for the
    card) in a folder, which is made."""
    out.mkdir(parents=True, exist_ok=True)
    files: dict[str, Callable[[], str]] = {
        "results.json": lambda: json.dumps(record, indent=1, allow_nan=False) + "\n",
        "results.csv": lambda: csv_text(record["rows"]),
        "table.md": lambda: markdown(record),
    }
    for model in record["models"]:
        held = {"held_out": card_scores(record, model)}
        files[f"scores-{model}.json"] = lambda held=held: json.dumps(held, indent=1) + "\n"  # type: ignore[misc]
    for name, text in files.items():
        write_whole(out / name, text().encode())
    return [out / name for name in files]
