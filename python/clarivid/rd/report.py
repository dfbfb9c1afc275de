# SPDX-License-Identifier: BSD-2-Clause
"""Results as files: ``results.json`` holds everything, ``results.csv`` the points, ``bd.csv`` the BD-rates.

:func:`summary` is made once; JSON, CSV and the page take their numbers from it, so that they cannot differ.
"""

from __future__ import annotations

import csv
import json
import os
import platform
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from datetime import datetime, timezone
from importlib import metadata
from pathlib import Path
from typing import Any

from clarivid.errors import InputError
from clarivid.rd.bd import LOW_OVERLAP, METHOD, MIN_OVERLAP
from clarivid.rd.plan import PLAIN
from clarivid.rd.results import GATE, GATE_WORST_SSIM, Point, Results, bd_table
from clarivid.rd.scores import SCORES

FORMAT = 1


def summary(results: Results, command: str = "") -> dict[str, Any]:
    """Everything that a report shows, as JSON takes it; see :func:`write`.

    Raises :class:`InputError` when there is no variant to compare with plain.
    """
    plan = results.plan
    if not results.variants():
        raise InputError("there is nothing to report: no variant but plain was measured")
    kinds = {source.name: source.kind for source in plan.sources}
    return {
        "format": FORMAT,
        "command": command,
        "date": datetime.now(timezone.utc).isoformat(timespec="minutes"),
        "machine": machine(),
        "versions": {"encoding ffmpeg": results.version, **versions()},
        "method": {
            "interpolation": METHOD,
            "least overlap": MIN_OVERLAP,
            "overlap worth a note": LOW_OVERLAP,
        },
        "scores": {name: asdict(SCORES[name]) for name in plan.scores},
        "modes": list(plan.modes),
        "encoders": [{"name": e.label, "crf": list(e.crf)} for e in plan.encoders],
        "variants": [{"name": v.name, "what": v.description} for v in plan.variants],
        "clips": [
            {
                "name": source.name,
                "kind": source.kind,
                "source": source.path.name,
                "variants": {
                    name: asdict(c) for (clip, name), c in results.clips.items() if clip == source.name
                },
            }
            for source in plan.sources
        ],
        "means": means(results),
        "gate": {
            "limits": {**GATE, "ssim of the worst clip": GATE_WORST_SSIM},
            "missed": {name: results.gate(name) for name in results.variants()},
        },
        "guards": [asdict(guard) for guard in results.guards()],
        "bd": bd_table(results),
        "points": [_point(point, kinds) for point in results.points],
        "matched": [_point(point, kinds) for point in results.matched],
    }


def means(results: Results) -> list[dict[str, Any]]:
    """Mean BD-rates: a row for each variant, mode and (encoder, clip, kind or all of them).

    ``missing`` counts the curves that gave no BD-rate: the mean is over the others.
    """
    rows = []
    for variant in results.variants():
        for mode in results.plan.modes:
            if not results.select(variant=variant, mode=mode):
                continue
            scopes: list[dict[str, str]] = [{}]
            scopes += [{"encoder": encoder.label} for encoder in results.plan.encoders]
            scopes += [{"clip": source.name} for source in results.plan.sources]
            scopes += [{"kind": kind} for kind in dict.fromkeys(s.kind for s in results.plan.sources)]
            for scope in scopes:
                rows.append(
                    {
                        "variant": variant,
                        "mode": mode,
                        "encoder": "",
                        "clip": "",
                        "kind": "",
                        **scope,
                        "bd": {
                            name: results.mean(variant, name, mode, **scope) for name in results.plan.scores
                        },
                        "missing": {
                            name: results.missing(variant, name, mode, **scope)
                            for name in results.plan.scores
                        },
                    }
                )
    return rows


def write(found: Mapping[str, Any], folder: Path) -> list[Path]:
    """Write ``results.json``, ``results.csv``, ``bd.csv`` of a :func:`summary`; returns their paths."""
    folder.mkdir(parents=True, exist_ok=True)
    paths = [folder / name for name in ("results.json", "results.csv", "bd.csv")]
    paths[0].write_text(json.dumps(found, indent=1, allow_nan=False) + "\n", "utf-8")
    points = [
        {
            **{key: point[key] for key in _POINT_COLUMNS},
            **{name: point["scores"][name] for name in found["scores"]},
        }
        for point in found["points"]
    ]
    _write_csv(paths[1], [*_POINT_COLUMNS, *found["scores"]], points)
    _write_csv(paths[2], _BD_COLUMNS, [{**row, "notes": "; ".join(row["notes"])} for row in found["bd"]])
    return paths


_POINT_COLUMNS = ["clip", "kind", "encoder", "mode", "rate", "variant", "frames", "bits", "kbps"]
_BD_COLUMNS = [
    "clip",
    "kind",
    "encoder",
    "mode",
    "variant",
    "score",
    "bd_rate",
    "overlap",
    "problem",
    "notes",
]


def _point(point: Point, kinds: Mapping[str, str]) -> dict[str, Any]:
    return {
        "clip": point.clip,
        "kind": kinds[point.clip],
        "encoder": point.encoder,
        "mode": point.mode,
        "rate": point.rate,
        "variant": point.variant,
        "frames": len(point.packets),
        "bits": point.bits,
        "kbps": round(point.kbps, 3),
        "scores": point.scores,
        "packets": point.packets,
        "seconds": point.record["seconds"],
        "commands": point.record["commands"],
    }


def _write_csv(path: Path, columns: Sequence[str], rows: Iterable[Mapping[str, Any]]) -> None:
    with path.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.DictWriter(stream, columns)
        writer.writeheader()
        writer.writerows(rows)


def versions() -> dict[str, str]:
    """Of the packages whose arithmetic is in the numbers."""
    found = {}
    for name in ("clarivid", "bjontegaard", "imageio-ffmpeg", "numpy", "openvino"):
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            found[name] = "not installed"
    return found


def machine() -> dict[str, Any]:
    """Processor, cores that this process may use, memory, system. BD-rates do not depend on it."""
    name = platform.machine()
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.is_file():
        for line in cpuinfo.read_text("utf-8").splitlines():
            if line.startswith("model name"):
                name = line.partition(":")[2].strip()
                break
    return {
        "processor": name,
        "cores": len(os.sched_getaffinity(0)),
        "memory_gib": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30, 1),
        "system": f"{platform.system()} {platform.release()}",
        "python": platform.python_version(),
    }


def anchor_of(found: Mapping[str, Any], clip: str) -> dict[str, Any]:
    """The plain point that pictures of ``clip`` are shown of, as :func:`~clarivid.rd.results.shown_point`."""
    encoder = found["encoders"][0]["name"]
    curve = [
        p
        for p in found["points"]
        if (p["clip"], p["encoder"], p["mode"], p["variant"]) == (clip, encoder, "crf", PLAIN)
    ]
    point: dict[str, Any] = sorted(curve, key=lambda p: int(p["bits"]))[1]
    return point
