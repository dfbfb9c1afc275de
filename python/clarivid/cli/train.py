# SPDX-License-Identifier: BSD-2-Clause
"""``clarivid train``: train a net against a time budget."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID

    from clarivid.train.runs import Report

F = TypeVar("F", bound=Callable[..., Any])


@click.group(
    name="train",
    epilog="""\b
Example:
  clarivid data sr --out sr0.pack
  clarivid train sr --kind game --minutes 60 --out runs/game sr0.pack
  clarivid export runs/game/best.pt --name game_x2 --out models/game_x2

\b
  clarivid data lowrank --out low0.pack
  clarivid train lowrank --minutes 60 --out runs/lowrank low0.pack
  clarivid export runs/lowrank/best.pt --name lowrank_v1 --out models/lowrank_v1

\b
  clarivid data inpaint --out paint0.pack
  clarivid train inpaint --minutes 60 --out runs/paint paint0.pack
  clarivid export runs/paint/best.pt --name inpaint_v1 --out models/inpaint_v1
""",
)
def command() -> None:
    """Train a net."""


def run_options(
    *, batch: int, lr: float, ema: float, validate_every: float, best: str = "best validation"
) -> Callable[[F], F]:
    """PACKS and the options that every training run has, with a net's own defaults; ``best`` says what
    best.pt is."""
    parameters = (
        click.argument("packs", nargs=-1, required=True, type=click.Path(path_type=Path)),
        click.option(
            "--minutes",
            default=60.0,
            show_default=True,
            type=click.FloatRange(min=0, min_open=True),
            help="Time budget of the run, parts before --resume included, preparation and validation not. "
            "The learning rate falls to a trace over it, so a run that is stopped early ends above what it "
            "could reach.",
        ),
        click.option(
            "--steps",
            default=0,
            show_default=True,
            type=click.IntRange(0),
            help="Budget in steps instead of minutes; 0 for minutes. Makes a run repeatable.",
        ),
        click.option(
            "--out",
            type=click.Path(path_type=Path),
            required=True,
            help=f"Folder of the run: last.pt, best.pt ({best}), log.jsonl.",
        ),
        click.option("--resume", is_flag=True, help="Go on from OUT/last.pt when it is there."),
        click.option(
            "--init",
            type=click.Path(path_type=Path),
            help="Start from the averaged weights of another run.",
        ),
        click.option(
            "--batch", default=batch, show_default=True, type=click.IntRange(1), help="Crops a step."
        ),
        click.option(
            "--lr", default=lr, show_default=True, help="Top learning rate. Halve it if the loss jumps."
        ),
        click.option(
            "--ema",
            default=ema,
            show_default=True,
            type=click.FloatRange(0, 1, max_open=True),
            help="How slowly the averaged weights follow; they are what is validated and exported.",
        ),
        click.option(
            "--seed", default=0, show_default=True, help="Of the first weights and of the order of crops."
        ),
        click.option("--threads", default=1, show_default=True, type=click.IntRange(1), help="CPU threads."),
        click.option(
            "--device",
            default="auto",
            show_default=True,
            help="auto (a GPU when there is one), cpu, cuda, cuda:1.",
        ),
        click.option("--save-every", default=120.0, show_default=True, help="Seconds between checkpoints."),
        click.option(
            "--validate-every",
            default=validate_every,
            show_default=True,
            help="Seconds between validations.",
        ),
    )

    def decorate(function: F) -> F:
        for parameter in reversed(parameters):
            function = parameter(function)
        return function

    return decorate


precision_option = click.option(
    "--precision",
    type=click.Choice(["auto", "fp32", "bf16"]),
    default="auto",
    show_default=True,
    help="auto: bf16 where the processor has it, about twice as fast; weights stay fp32.",
)


def display(
    progress: Progress, task: TaskID, summary: Callable[[Mapping[str, Any]], str]
) -> Callable[[Report], None]:
    """Shows a run's reports; ``summary`` says in a word or two how the last validation went."""

    def show(report: Report) -> None:
        last = f", {summary(report.score)}" if report.score else ""
        progress.update(
            task,
            description="train",
            total=1.0,
            completed=report.done,
            note=f"step {report.step}, loss {report.loss:+.4f}, {report.crops_per_second:.1f} crops/s{last}",
        )

    return show


@command.command(
    name="sr",
    epilog="""\b
Examples:
  clarivid train sr --kind all --minutes 40 --out runs/base sr0.pack
  clarivid train sr --kind game --minutes 25 --init runs/base/best.pt --lr 5e-3 --out runs/game sr0.pack
  clarivid train sr --kind game --blocks 3 --minutes 25 --out runs/fast sr0.pack
  clarivid train sr --kind game --minutes 15 --init runs/game/best.pt --batch 8 --lr 1.5e-3 --texture 0.05 \\
      --adversarial 0.25 --artefacts 0.25 --out runs/sharp sr0.pack
  clarivid train sr --kind game --minutes 25 --out runs/game --resume sr0.pack      after an interruption
  tail -f runs/game/log.jsonl | jq -c .validation
""",
)
@click.option(
    "--kind",
    type=click.Choice(["all", "game", "natural"]),
    default="all",
    show_default=True,
    help="Which pictures to learn from. all: every kind alike, a base to start the others from; game: games, "
    "art, CG and screens first; natural: camera pictures first.",
)
@click.option(
    "--shares",
    default="",
    metavar="KIND=NUMBER,...",
    help="Shares of the kinds of pictures, in place of --kind's: game, art, cg, screen, natural, noisy.",
)
@click.option(
    "--net",
    type=click.Choice(["ours", "espcn", "ecbsr", "bicubic_pp", "rt4ksr", "span"]),
    default="ours",
    show_default=True,
    help="The others are published nets, at their own sizes, to compare with.",
)
@click.option("--channels", default=16, show_default=True, type=click.IntRange(4), help="Width of the net.")
@click.option("--blocks", default=9, show_default=True, type=click.IntRange(1), help="Depth of the net.")
@click.option(
    "--attention/--no-attention",
    default=False,
    show_default=True,
    help="Weigh channels by their high frequencies over the picture. It earned nothing, and such nets are "
    "slower on a CPU and not exact in tiles.",
)
@click.option(
    "--branches/--no-branches",
    default=True,
    show_default=True,
    help="Train each layer as a sum of 3x3, 1x1 and edges' kernels; either way one 3x3 is left.",
)
@click.option(
    "--optimiser",
    type=click.Choice(["muon", "adam"]),
    default="muon",
    show_default=True,
    help="muon: further than adam in as many steps; adam wants --lr 1e-3.",
)
@click.option(
    "--small",
    default=0.0,
    show_default=True,
    type=click.FloatRange(0, 1),
    help="Part of the run, at its start, with four times as many crops of half the side.",
)
@click.option(
    "--clean",
    default=0.0,
    show_default=True,
    type=click.FloatRange(0, 1),
    help="Part of the run, at its start, with the better coded half of the clips alone.",
)
@click.option("--chroma-weight", default=0.25, show_default=True, help="Weight of U and V in the loss.")
@click.option(
    "--edge-weight",
    default=0.0,
    show_default=True,
    help="Weight of the Sobel edges of luma in the loss; 0.1 is sharper, at some cost in PSNR.",
)
@click.option(
    "--loss",
    type=click.Choice(["psnr", "rms", "charbonnier"]),
    default="psnr",
    show_default=True,
    help="psnr: every crop counts by its dB; rms: by its root mean square, hard crops most; charbonnier: a "
    "smoothed magnitude, sharper.",
)
@click.option(
    "--consistency",
    default=0.0,
    show_default=True,
    type=click.FloatRange(0),
    help="Weight of what flickers: errors that change from frame to frame along the motion. Wants packs with "
    "pairs.",
)
@click.option(
    "--texture",
    default=0.0,
    show_default=True,
    type=click.FloatRange(0),
    help="Weight of fine detail that is weaker or stronger than it should be, wherever it lies. Start from "
    "--init.",
)
@click.option(
    "--adversarial",
    default=0.0,
    show_default=True,
    type=click.FloatRange(0),
    help="Weight of a critic's word (U-Net). It makes texture, and costs PSNR and SSIM. Start from --init.",
)
@click.option(
    "--artefacts",
    default=1.0,
    show_default=True,
    type=click.FloatRange(0),
    help="Weight of the penalty of what the critic brings forth beside detail (LDL); with --adversarial.",
)
@click.option(
    "--compile",
    "compiled",
    type=click.Choice(["auto", "yes", "no"]),
    default="auto",
    show_default=True,
    help="Compile net and loss: some 25 s at the start, then a sixth faster on a CPU. auto: on a GPU.",
)
@precision_option
@run_options(batch=16, lr=0.015, ema=0.999, validate_every=120.0)
def sr(packs: tuple[Path, ...], out: Path, resume: bool, init: Path | None, **words: Any) -> None:
    """Train the super-resolution net on PACKS made by 'clarivid data sr'.

    Prints the last validation: PSNR-Y on held-out coded pictures beside Lanczos, by kind.
    """
    from clarivid.bars import bar
    from clarivid.train.sr import Options, mean_gain, train

    with bar("train") as (progress, task):
        show = display(progress, task, lambda score: f"{mean_gain(score) or 0:+.2f} dB")
        score = train(Options(**words), packs, out, resume, init, show)
    for kind, row in score.items():
        click.echo(
            f"{kind}: {row['psnr_y']:.2f} dB, Lanczos {row['lanczos']:.2f}, gain {row['gain_db']:+.2f}, "
            f"least {row['worst_gain_db']:+.2f}"
        )


@command.command(
    name="lowrank",
    epilog="""\b
Examples:
  clarivid train lowrank --minutes 60 --out runs/a low0.pack
  clarivid train lowrank --minutes 60 --ssim-2 1 --neg 1 --vmaf 0.2 --out runs/b low0.pack low1.pack
  clarivid train lowrank --minutes 60 --out runs/a --resume low0.pack      after an interruption
  clarivid train lowrank --minutes 20 --init runs/a/best.pt --lr 5e-4 --rate-weight 4 --rate-target -0.08 \\
      --out runs/c low0.pack
  tail -f runs/a/log.jsonl | jq -c .validation.all
""",
)
@click.option(
    "--vmaf", default=0.15, show_default=True, help="Weight of VMAF's BD-rate, earned by sharpening."
)
@click.option("--neg", default=0.5, show_default=True, help="Weight of VMAF-NEG's BD-rate.")
@click.option("--ssim-full", default=0.3, show_default=True, help="Weight of SSIM's at full resolution.")
@click.option("--ssim-2", default=1.5, show_default=True, help="Weight of SSIM's, decimated as at 540p.")
@click.option("--ssim-3", default=2.0, show_default=True, help="Weight of SSIM's, decimated as at 720p.")
@click.option("--ms-ssim", default=0.0, show_default=True, help="Weight of MS-SSIM's.")
@click.option("--psnr", default=0.0, show_default=True, help="Weight of PSNR's.")
@click.option(
    "--saturation",
    default="0.12,0.06,0.3,0.3,0.3,0.3,0.3",
    show_default=True,
    help="Where a crop's gain ceases to count, by metric in the order above, as ln of rate; 0: never.",
)
@click.option(
    "--steepness", default=1.0, show_default=True, help="Multiplies the slopes of the sources' curves."
)
@click.option(
    "--rate-weight",
    default=0.6,
    show_default=True,
    type=click.FloatRange(0),
    help="What bits above --rate-target count.",
)
@click.option(
    "--rate-target",
    default=-0.05,
    show_default=True,
    help="The change of ln(bits) that is wanted: -0.08 is 8 % fewer.",
)
@click.option(
    "--chroma", default=1.0, show_default=True, type=click.FloatRange(0), help="Weight of chroma's change."
)
@click.option(
    "--pixel", default=0.0, show_default=True, type=click.FloatRange(0), help="Weight of luma's change."
)
@click.option(
    "--colour",
    default=1.0,
    show_default=True,
    type=click.FloatRange(0),
    help="Weight of a drift of the mean of Y, U or V.",
)
@click.option(
    "--screen",
    default=0.03,
    show_default=True,
    type=click.FloatRange(0),
    help="Weight of luma's change in screen crops.",
)
@click.option(
    "--round/--no-round",
    default=False,
    show_default=True,
    help="Code whole code values, as the filter gives them. Validation always does.",
)
@click.option(
    "--vgg",
    default=0.0,
    show_default=True,
    type=click.FloatRange(0),
    help="Weight of the distance of VGG features. Dear.",
)
@click.option(
    "--distribution",
    default=0.0,
    show_default=True,
    type=click.FloatRange(0),
    help="Weight of the Fréchet distance of VGG features' distributions. Dear.",
)
@click.option(
    "--perceptual-crops",
    default=2,
    show_default=True,
    type=click.IntRange(1),
    help="Crops for these two, a step.",
)
@click.option(
    "--perceptual-every",
    default=4,
    show_default=True,
    type=click.IntRange(1),
    help="Steps from one such step to the next.",
)
@click.option("--channels", default=12, show_default=True, help="Width of the net's inner layers.")
@click.option("--layers", default=3, show_default=True, help="Convolutions of the net.")
@click.option("--dilation", default="", help="One number a layer, as 1,2,1. [default: all 1]")
@click.option(
    "--limit",
    default=4.0,
    show_default=True,
    type=click.FloatRange(0),
    help="The most that a sample may change, in 8-bit codes; 0: no limit.",
)
@click.option(
    "--kinds",
    default="natural,game,screen,noisy",
    show_default=True,
    help="Crops to learn from, in equal parts; all validate.",
)
@click.option(
    "--kind-weights",
    default="",
    help="What the BD-rates of each kind count. [default: 2 for screens, which lose most easily, else 1]",
)
@click.option("--qps", default="26,30,34,38,42", show_default=True, help="QPs to learn at, of these.")
@click.option(
    "--prices",
    type=click.Path(path_type=Path),
    help="Prices of the stand-in encoder, from 'clarivid train codec'. [default: the shipped ones]",
)
@run_options(batch=8, lr=2e-3, ema=0.99, validate_every=300.0, best="least loss on held-out crops")
def lowrank(
    packs: tuple[Path, ...],
    out: Path,
    resume: bool,
    init: Path | None,
    prices: Path | None,
    **words: Any,
) -> None:
    """Train the prefilter's net on PACKS made by 'clarivid data lowrank'.

    First the untouched crops are coded by the stand-in encoder at seven QPs: some minutes for a pack, kept in
    the cache. Prints the last validation: BD-rates estimated on held-out crops through the stand-in, and the
    change of bits, in per cent.
    """
    from clarivid.bars import bar
    from clarivid.train.codec import SHIPPED
    from clarivid.train.lowrank import Options, train
    from clarivid.train.ratedistortion import METRICS

    with bar("prepare") as (progress, task):

        def prepare(done: int, total: int) -> None:
            progress.update(task, description="prepare", total=total, completed=done)

        show = display(progress, task, lambda score: f"BD {100 * score['bd']:+.1f} %")
        score = train(Options(**words), packs, out, resume, init, prices or SHIPPED, show, prepare)
    names = (*METRICS, "bits")
    click.echo(" " * 9 + "".join(f"{name:>10}" for name in names))
    for kind, row in score.items():
        if isinstance(row, dict) and "bits" in row:
            click.echo(f"{kind:9}" + "".join(f"{row[name]:+10.2f}" for name in names))
    by_strength = ", ".join(f"{strength}: {bits:+.2f}" for strength, bits in score["strength"].items())
    click.echo(f"bits by strength: {by_strength}" + ("" if score["monotone"] else " (not monotone)"))


@command.command(
    name="inpaint",
    epilog="""\b
Examples:
  clarivid train inpaint --minutes 60 --out runs/full paint0.pack
  clarivid train inpaint --minutes 60 --out runs/full --resume paint0.pack      after an interruption
  clarivid train inpaint --size fast --minutes 30 --teacher runs/full/best.pt --out runs/fast paint0.pack
  clarivid train inpaint --minutes 20 --init runs/full/best.pt --lr 2e-4 --adversarial 0.01 --out runs/gan \\
      paint0.pack
  tail -f runs/full/log.jsonl | jq -c .validation
""",
)
@click.option(
    "--size",
    type=click.Choice(["full", "fast"]),
    default="full",
    show_default=True,
    help="full: 2.9 million parameters; fast: 0.4 million, for one CPU core.",
)
@click.option(
    "--teacher",
    type=click.Path(path_type=Path),
    help="Checkpoint of a net whose paintings are imitated as well, by the weight --distil.",
)
@click.option("--crop", default=256, show_default=True, help="Luma samples of a crop's side, 16 by 16.")
@click.option(
    "--natural",
    default=0.7,
    show_default=True,
    type=click.FloatRange(0, 1),
    help="Share of photographs; the rest is drawn.",
)
@click.option(
    "--curriculum",
    default=0.25,
    show_default=True,
    type=click.FloatRange(0, 1),
    help="Share of the run after which the most complex tiles are drawn too; it starts with the simplest "
    "third.",
)
@click.option("--pixel", default=1.0, show_default=True, help="Weight of the mean error in the hole.")
@click.option("--chroma", default=0.5, show_default=True, help="Weight of U and V, as a share of luma's.")
@click.option("--relative", default=0.15, show_default=True, help="Weight of PSNR, crop by crop.")
@click.option("--ssim", default=0.8, show_default=True, help="Weight of 1 - SSIM at three scales.")
@click.option("--scales", default=0.3, show_default=True, help="Weight of the outputs at 1/8, 1/4 and 1/2.")
@click.option("--edge", default=0.05, show_default=True, help="Weight of the maps of edges.")
@click.option(
    "--perceptual",
    default=0.05,
    show_default=True,
    help="Weight of the distance of VGG's features (the weights are fetched once, 55 MB); 0 for none.",
)
@click.option("--perceptual-every", default=4, show_default=True, type=click.IntRange(1), help="Steps.")
@click.option("--perceptual-crops", default=2, show_default=True, type=click.IntRange(1), help="Crops.")
@click.option(
    "--adversarial",
    default=0.0,
    show_default=True,
    help="Weight of a critic of patches (PatchGAN). It makes texture, and costs PSNR and SSIM.",
)
@click.option("--distil", default=1.0, show_default=True, help="Weight of the difference from the teacher.")
@click.option("--distil-every", default=2, show_default=True, type=click.IntRange(1), help="Steps.")
@precision_option
@run_options(batch=8, lr=1e-3, ema=0.998, validate_every=180.0)
def inpaint(
    packs: tuple[Path, ...],
    out: Path,
    resume: bool,
    init: Path | None,
    teacher: Path | None,
    **words: Any,
) -> None:
    """Train the inpainting net on PACKS made by 'clarivid data inpaint'.

    Holes are drawn on the way: people, strokes, boxes, 2 to 30 % of a crop. Prints the last validation: PSNR
    and SSIM of luma in person-shaped holes of held-out pictures, beside the diffusion that the net builds on.
    """
    from clarivid.bars import bar
    from clarivid.train.inpaint import Options, gain_over_diffusion, train

    with bar("train") as (progress, task):
        show = display(progress, task, lambda score: f"{gain_over_diffusion(score):+.2f} dB")
        score = train(Options(**words), packs, out, resume, init, teacher, show)
    for kind, row in score.items():
        click.echo(f"{kind:10}{row['psnr_y']:7.2f} dB, SSIM {row['ssim']:.4f}")


@command.command(
    name="codec",
    epilog="""\b
Examples:
  clarivid train codec --out runs/codec.json low0.pack
  clarivid train lowrank --prices runs/codec.json --out runs/a low0.pack
""",
)
@click.argument("packs", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option("--out", type=click.Path(path_type=Path), required=True, help="The JSON file to write.")
@click.option(
    "--crops",
    default=300,
    show_default=True,
    type=click.IntRange(8),
    help="Crops, each plain and altered in two ways. A few minutes for the default.",
)
@click.option("--steps", default=500, show_default=True, type=click.IntRange(1), help="Steps of the fit.")
@click.option("--seed", default=0, show_default=True, help="Of crops, QPs and alterations.")
@click.option("--threads", default=1, show_default=True, type=click.IntRange(1), help="CPU threads.")
def codec(packs: tuple[Path, ...], out: Path, crops: int, steps: int, seed: int, threads: int) -> None:
    """Fit the prices of the stand-in encoder to what x264 and x265 spend on crops of PACKS.

    'clarivid train lowrank' has prices already; new ones are for other encoders or other pictures. Prints how
    well the stand-in's bits follow each encoder's on crops that were not fitted: Spearman's rank correlation
    of intra bits, of inter bits (of all clips, and of those that move), of their total, and of the change of
    the total that an alteration of the picture makes; and the slope of the real change on the stand-in's.
    """
    import torch

    from clarivid.bars import bar
    from clarivid.data.lowrank import load
    from clarivid.train.calibrate import calibrate

    torch.set_num_threads(threads)
    with bar("encode") as (progress, task):

        def show(what: str, done: int, total: int) -> None:
            progress.update(task, description=what, total=total, completed=done)

        found = calibrate([load(path) for path in packs], out, crops, seed, steps, show)
    names = ("intra", "inter", "inter_moving", "total", "change", "change_slope")
    for group, rows in found.items():
        click.echo(f"{group.replace('_', ' ')}: {rows['crops']} crops, {rows['clips']} clips")
        click.echo(" " * 6 + "".join(f"{name:>14}" for name in names))
        for encoder, row in rows.items():
            if isinstance(row, dict):
                click.echo(f"{encoder:6}" + "".join(f"{row[name]:14.3f}" for name in names))
