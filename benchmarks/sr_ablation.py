# SPDX-License-Identifier: BSD-2-Clause
"""What each part of super-resolution's training earns: each is left out, or another put in, at the same
budget of steps. Published small nets are trained so, too.

Every variant starts from nothing, sees the same packs in the same order, and is judged on the packs' held-out
pictures: PSNR-Y over Lanczos, mean of the kinds, and the least gain of any picture; the error of fine texture
(that of 'clarivid bench sr') as a share of Lanczos's; and flicker, by how much luma's error changes along the
motion in the packs' pairs of frames, as a share of bicubic's. Variants of a finished net go on from the
recipe's with a third of its steps and half its batch, and are to be compared with "more steps". A variant
that is done is not trained again, so an interrupted comparison goes on where it stopped.

    .venv/bin/python benchmarks/sr_ablation.py --out runs/ablation sr0.pack
    .venv/bin/python benchmarks/sr_ablation.py --steps 300 --only 'recipe;adam' --out runs/quick sr0.pack
"""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path
from statistics import geometric_mean
from typing import Any

import click
import numpy as np
import torch
from rich.console import Console
from rich.table import Table
from torch import nn

from clarivid.bars import bar
from clarivid.data.pack import load
from clarivid.errors import Error
from clarivid.machine import describe
from clarivid.nets.rivals import RIVALS
from clarivid.sr_bench.scores import Judge
from clarivid.train import sr
from clarivid.train.batches import Batches
from clarivid.train.runs import Report

CPU = torch.device("cpu")
# What differs from 'clarivid train sr', but for the size: that of the _fast nets.
SIZE = {"channels": 16, "blocks": 3}
RECIPE = "recipe"
VARIANTS: dict[str, dict[str, Any]] = {
    RECIPE: {},
    "adam": {"optimiser": "adam", "lr": 1e-3},
    "no branches": {"branches": False},
    "with attention": {"attention": True},
    "no average of the weights": {"ema": 0.0},
    "small crops first": {"small": 0.5},
    "clean clips first": {"clean": 0.3},
    "with edges": {"edge_weight": 0.1},
    "loss rms": {"loss": "rms"},
    "loss charbonnier": {"loss": "charbonnier"},
    "with consistency": {"consistency": 0.1},
    "12 x 5": {"channels": 12, "blocks": 5},
    "16 x 9": {"blocks": 9},
    **{f"net {name}": {"net": name} for name in RIVALS},
}
# Of the recipe's net, once it is trained.
LATER = {"lr": 0.003, "batch": 8}
CRITIC = {**LATER, "adversarial": 0.25}
FURTHER: dict[str, dict[str, Any]] = {
    "more steps": {**LATER},
    "more steps, with consistency": {**LATER, "consistency": 0.1},
    "more steps, with texture": {**LATER, "texture": 0.1},
    "critic": {**CRITIC, "artefacts": 0.0},
    "critic and LDL": {**CRITIC, "artefacts": 0.25},
    "critic and more LDL": {**CRITIC, "artefacts": 1.0},
    "critic, LDL and texture": {**CRITIC, "artefacts": 0.25, "texture": 0.1},
}
NAMES = [*VARIANTS, *FURTHER]
COLUMNS = ("variant", "parameters", "GMAC", "gain", "beside", "least", "texture", "flicker", "minutes")


def texture_error(judge: Judge, picture: sr.Codes) -> float | None:
    """None where the reference has no texture."""
    return judge.score([picture.astype(np.float32)])["texture"]


class Material:
    """What all variants are judged on."""

    def __init__(self, packs: tuple[Path, ...], batches: int = 12, pairs: int = 16) -> None:
        """``batches`` of so many ``pairs`` of frames are drawn, of all kinds alike."""
        loaded = [load(path) for path in packs]
        self._validation = sr.Validation(loaded, CPU)
        drawn = Batches(loaded, sr.SHARES["all"], pairs, 1, CPU, pairs=True, chroma=False)
        self._pairs = [drawn.draw_pairs(pairs) for _ in range(batches)]
        pictures = [held for many in self._validation.pictures.values() for held in many]
        self._judged = []  # where there is texture: what Lanczos's error of it is
        for held in pictures:
            judge = Judge([held.high.astype(np.float32)])
            lanczos = texture_error(judge, held.lanczos)
            if lanczos:
                self._judged.append((held, judge, lanczos))

    def texture(self, net: nn.Module) -> float:
        """Geometric mean over the pictures that have texture."""
        upscale = self._validation.upscale
        errors = (
            (texture_error(judge, upscale(net, held, False)), lanczos)
            for held, judge, lanczos in self._judged
        )
        return geometric_mean(ours / lanczos for ours, lanczos in errors if ours)

    @torch.no_grad()
    def flicker(self, net: nn.Module) -> float:
        """Geometric mean over the crops; 1 is bicubic's."""
        excess = torch.stack([sr.flicker_beside_bicubic(net(batch.low), batch) for batch in self._pairs])
        return float(torch.exp(excess.mean() / 2))


def measure(
    name: str, options: sr.Options, packs: tuple[Path, ...], material: Material, out: Path, init: Path | None
) -> dict[str, Any]:
    """Train one variant, or go on with it; returns its scores."""
    with bar(name) as (progress, task):

        def show(report: Report) -> None:
            note = f"step {report.step}, {report.crops_per_second:.0f} crops/s"
            progress.update(task, description=name, total=1.0, completed=report.done, note=note)

        score = sr.train(options, packs, out, resume=True, init=init, progress=show)
    net, state = sr.net_from_checkpoint(out / "last.pt")
    folded = sr.on_folded(net)
    return {
        "parameters": net.parameters_merged(),
        "gmac_1080p": round(net.macs() / 1e9, 1),
        "minutes": round(state["seconds"] / 60, 1),
        "gain_db": sr.mean_gain(score),
        "worst_gain_db": min(kind["worst_gain_db"] for kind in score.values()),
        "texture": round(material.texture(folded), 3),
        "flicker": round(material.flicker(folded), 3),
        "kinds": score,
    }


def folder_of(name: str) -> str:
    """Of a variant's run."""
    return "_".join(re.findall(r"\w+", name))


def show(rows: dict[str, dict[str, Any]], console: Console) -> None:
    """As a table, beside the recipe."""
    table = Table(title="PSNR-Y over Lanczos, dB", caption="beside: the recipe, or more steps of it")
    for column in COLUMNS:
        table.add_column(column, justify="left" if column == "variant" else "right")
    for name, row in rows.items():
        base = rows.get("more steps" if name in FURTHER else RECIPE, {}).get("gain_db")
        beside = "" if base is None else f"{row['gain_db'] - base:+.3f}"
        cells = (f"{row['parameters']}", f"{row['gmac_1080p']}", f"{row['gain_db']:+.3f}", beside)
        least, others = f"{row['worst_gain_db']:+.2f}", (f"{row['texture']:.2f}", f"{row['flicker']:.2f}")
        table.add_row(name, *cells, least, *others, f"{row['minutes']:.1f}")
    console.print(table)


@click.command(help=__doc__, context_settings={"help_option_names": ["-h", "--help"]})
@click.argument("packs", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option("--out", type=click.Path(path_type=Path), required=True, help="folder of the runs")
@click.option("--steps", default=3000, show_default=True, type=click.IntRange(1), help="of every variant")
@click.option("--only", help=f"some of: {'; '.join(NAMES)}")
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
    names = [name.strip() for name in only.split(";")] if only else NAMES
    unknown = [name for name in names if name not in NAMES]
    if unknown:
        raise SystemExit(f"sr_ablation: error: there is no variant '{unknown[0]}'")
    rows: dict[str, dict[str, Any]] = {}
    try:
        material = Material(packs)
        for name in names:
            words, budget, init = VARIANTS.get(name, {}), steps, None
            if name in FURTHER:
                words, budget, init = FURTHER[name], -(-steps // 3), out / folder_of(RECIPE) / "last.pt"
            options = sr.Options(
                steps=budget, threads=threads, seed=seed, validate_every=1e9, **{**SIZE, **words}
            )
            rows[name] = measure(name, options, packs, material, out / folder_of(name), init)
    except Error as error:
        raise SystemExit(f"sr_ablation: error: {error}") from None
    show(rows, Console())
    if record is not None:
        found = {"command": " ".join(sys.argv), "machine": describe(), "steps": steps, "variants": rows}
        record.write_text(json.dumps(found, indent=1) + "\n", "utf-8")


if __name__ == "__main__":
    main()
