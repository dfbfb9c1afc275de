# SPDX-License-Identifier: BSD-2-Clause
"""What each part of super-resolution's training earns: each is left out, or another put in, at the same
budget of steps. Published small nets are trained so, too.

Every variant starts from nothing, sees the same packs in the same order, and is judged on the packs' held-out
pictures: PSNR-Y over Lanczos, mean of the kinds, and the least gain of any picture. Beside it stands the
shimmer: by how many codes (root mean square) luma changes when a crop is shifted by a pixel. A variant that
is done is not trained again, so an interrupted comparison goes on where it stopped.

    .venv/bin/python benchmarks/sr_ablation.py --out runs/ablation sr0.pack
    .venv/bin/python benchmarks/sr_ablation.py --steps 300 --only 'recipe;adam' --out runs/quick sr0.pack
"""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path
from typing import Any

import click
import torch
from rich.console import Console
from rich.table import Table

from clarivid.bars import bar
from clarivid.data.pack import load
from clarivid.errors import Error
from clarivid.machine import describe
from clarivid.nets.rivals import RIVALS
from clarivid.train import sr
from clarivid.train.batches import Batch, Batches
from clarivid.train.runs import Report

# What differs from 'clarivid train sr', but for the size: that of the _fast nets.
SIZE = {"channels": 16, "blocks": 3}
VARIANTS: dict[str, dict[str, Any]] = {
    "recipe": {},
    "with attention": {"attention": True},
    "no branches": {"branches": False},
    "with consistency": {"consistency": 0.1},
    "no average of the weights": {"ema": 0.0},
    "with consistency, small crops first": {"consistency": 0.1, "small": 0.5},
    "adam": {"optimiser": "adam", "lr": 1e-3},
    "loss rms": {"loss": "rms"},
    "loss charbonnier": {"loss": "charbonnier"},
    "with edges": {"edge_weight": 0.1},
    "small crops first": {"small": 0.5},
    "12 x 5": {"channels": 12, "blocks": 5},
    "16 x 4": {"blocks": 4},
    "16 x 9": {"blocks": 9},
    "24 x 4": {"channels": 24, "blocks": 4},
    **{f"net {name}": {"net": name} for name in RIVALS},
}


Shifted = tuple[Batch, tuple[int, int]]


def measure(
    name: str, options: sr.Options, packs: tuple[Path, ...], shifted: list[Shifted], out: Path
) -> dict[str, Any]:
    """Train one variant, or go on with it; returns its scores."""
    with bar(name) as (progress, task):

        def show(report: Report) -> None:
            note = f"step {report.step}, {report.crops_per_second:.0f} crops/s"
            progress.update(task, description=name, total=1.0, completed=report.done, note=note)

        score = sr.train(options, packs, out, resume=True, progress=show)
    net, state = sr.net_from_checkpoint(out / "last.pt")
    return {
        "parameters": net.parameters_merged(),
        "gmac_1080p": round(net.macs() / 1e9, 1),
        "minutes": round(state["seconds"] / 60, 1),
        "gain_db": sr.mean_gain(score),
        "shimmer": shimmer(net, shifted),
        "worst_gain_db": min(kind["worst_gain_db"] for kind in score.values()),
        "kinds": score,
    }


def draw_shifted(packs: tuple[Path, ...], batches: int = 12, crops: int = 16) -> list[Shifted]:
    """Crops of all kinds alike, each seen twice, a pixel apart."""
    drawn = Batches([load(path) for path in packs], sr.SHARES["all"], crops, 1, torch.device("cpu"))
    return [drawn.draw_shifted(crops) for _ in range(batches)]


@torch.no_grad()
def shimmer(net: sr.Net, shifted: list[Shifted]) -> float:
    """In codes of 8 bits."""
    folded = sr.on_folded(net)
    squares = [
        sr.change_of(folded(batch.low) - batch.high, *sr.along_the_motion(batch.high, shift))
        for batch, shift in shifted
    ]
    return float(torch.cat(squares).mean().sqrt() / sr.ONE_CODE)


def show(rows: dict[str, dict[str, Any]], console: Console) -> None:
    """As a table, beside the recipe."""
    table = Table(title="PSNR-Y over Lanczos, dB", caption="mean of the kinds; beside the recipe")
    for column in ("variant", "parameters", "GMAC", "gain", "beside", "least", "shimmer", "minutes"):
        table.add_column(column, justify="left" if column == "variant" else "right")
    base = rows.get("recipe", {}).get("gain_db")
    for name, row in rows.items():
        beside = "" if base is None else f"{row['gain_db'] - base:+.3f}"
        cells = (f"{row['parameters']}", f"{row['gmac_1080p']}", f"{row['gain_db']:+.3f}", beside)
        least, moves = f"{row['worst_gain_db']:+.2f}", f"{row['shimmer']:.2f}"
        table.add_row(name, *cells, least, moves, f"{row['minutes']:.1f}")
    console.print(table)


@click.command(help=__doc__, context_settings={"help_option_names": ["-h", "--help"]})
@click.argument("packs", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option("--out", type=click.Path(path_type=Path), required=True, help="folder of the runs")
@click.option("--steps", default=3000, show_default=True, type=click.IntRange(1), help="of every variant")
@click.option("--only", help=f"some of: {'; '.join(VARIANTS)}")
@click.option("--threads", default=1, show_default=True, type=click.IntRange(1), help="CPU threads")
@click.option("--seed", default=0, show_default=True, help="of first weights and order of crops")
@click.option("--json", "record", type=click.Path(path_type=Path), help="write the results here, too")
def main(
    packs: tuple[Path, ...],
    out: Path,
    steps: int,
    only: str | None,
    threads: int,
    seed: int,
    record: Path | None,
) -> None:
    """Entry point."""
    names = [name.strip() for name in only.split(";")] if only else list(VARIANTS)
    unknown = [name for name in names if name not in VARIANTS]
    if unknown:
        raise SystemExit(f"sr_ablation: error: there is no variant '{unknown[0]}'")
    rows: dict[str, dict[str, Any]] = {}
    try:
        shifted = draw_shifted(packs)
        for name in names:
            options = sr.Options(
                steps=steps, threads=threads, seed=seed, validate_every=1e9, **{**SIZE, **VARIANTS[name]}
            )
            folder = "_".join(re.findall(r"\w+", name))
            rows[name] = measure(name, options, packs, shifted, out / folder)
    except Error as error:
        raise SystemExit(f"sr_ablation: error: {error}") from None
    show(rows, Console())
    if record is not None:
        found = {"command": " ".join(sys.argv), "machine": describe(), "steps": steps, "variants": rows}
        record.write_text(json.dumps(found, indent=1) + "\n", "utf-8")


if __name__ == "__main__":
    main()
