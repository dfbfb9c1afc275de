# SPDX-License-Identifier: BSD-2-Clause
"""``clarivid export``: a model bundle from a training checkpoint."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click

EPILOG = """\b
Examples:
  clarivid export runs/game/best.pt --name game_x2 --out models/game_x2
  clarivid export runs/game/best.pt --name game_x2 --out models/game_x2 --scores scores-mine.json
  clarivid export runs/game/best.pt --perceptual runs/gan/best.pt --name game_x2 --out models/game_x2
  clarivid export runs/lowrank/best.pt --name lowrank_v1 --out models/lowrank_v1
  clarivid export runs/paint/best.pt --name inpaint_v1 --out models/inpaint_v1
  clarivid export selfie-landscape --name segment_person --out models/segment_person
"""


@click.command(name="export", epilog=EPILOG)
@click.argument("checkpoint", type=click.Path(path_type=Path))
@click.option("--name", required=True, help="The model's name, as in -vf dnn_sr=model=NAME.")
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    required=True,
    help="Folder of the bundle; made if absent, its files are replaced one by one, the card last.",
)
@click.option(
    "--perceptual",
    type=click.Path(path_type=Path),
    help="Checkpoint of a second set of weights, trained on from CHECKPOINT to look sharp: the bundle then "
    "takes sharpness=0..1.",
)
@click.option(
    "--scores",
    type=click.Path(path_type=Path),
    help="JSON object with evaluation results; it is copied into the card's scores, and what is below its "
    "key perceptual into those of the second set.",
)
@click.option("--summary", default="", help="A sentence for the bundle's README: what the model is for.")
@click.option(
    "--gain",
    default=1.0,
    show_default=True,
    help="Of a prefilter: the share of its change that strength 1 of the bundle applies, up to 1.",
)
@click.option("--size", help="Of a published net: WIDTHxHEIGHT that pictures are scaled to, multiples of 16.")
def command(
    checkpoint: Path,
    name: str,
    out: Path,
    perceptual: Path | None,
    scores: Path | None,
    summary: str,
    gain: float,
    size: str | None,
) -> None:
    """Turn CHECKPOINT (best.pt or last.pt of a training run) into a model bundle.

    The checkpoint says for which task: sr, lowrank or inpaint. Branches of a block are merged into one
    convolution, and the run's averaged weights are written as ONNX in fp32 and fp16 and as safetensors, with
    card and README. The fp32 file is then run in OpenVINO and must agree with PyTorch; the result stands in
    the card.

    CHECKPOINT may also be selfie-landscape or selfie-general: published nets for the masks of people, which
    are fetched, written as ONNX and compared with the runtime that they were made for.
    """
    from clarivid.errors import InputError
    from clarivid.export import export, segment

    extra = {}
    if scores is not None:
        try:
            extra = json.loads(scores.read_text("utf-8"))
        except (OSError, ValueError) as error:
            raise InputError(f"cannot read scores from {scores}: {error}") from error
        if not isinstance(extra, dict):
            raise InputError(f"{scores} must hold a JSON object, name of the test to its results")
    if str(checkpoint) in segment.PUBLISHED and not checkpoint.exists():
        card = segment.export(str(checkpoint), name, out, _size(size), extra, summary)
        fp32, bf16 = card["parity"]["fp32"], card["parity"]["bf16"]
        click.echo(
            f"{out}: {card['parameters']:,} parameters, {card['gmac']} GMAC a picture, fp32 within "
            f"{fp32['max_error']:g} of {fp32['against']}, bf16 changes "
            f"{100 * bf16['mask_changed']:.2f} % of a mask"
        )
        return
    if size is not None:
        raise InputError(f"--size is for published nets: {', '.join(segment.PUBLISHED)}")
    card = export(checkpoint, name, out, extra, summary, gain, perceptual)
    click.echo(
        f"{out}: {card['parameters']:,} parameters, {card['gmac_1080p']} GMAC at 1080p, "
        f"{_parity(card['parity'])}"
    )
    if perceptual is not None:
        click.echo(f"at sharpness 0.5 and 1, the worse: {_parity(card['perceptual']['parity'])}")


def _parity(parity: Mapping[str, Any]) -> str:
    return (
        f"fp32 within {parity['fp32']['max_code_error']} code values of PyTorch, "
        f"bf16 at {parity['bf16']['psnr_db']} dB"
    )


def _size(text: str | None) -> tuple[int, int] | None:
    from clarivid.errors import InputError

    if text is None:
        return None
    width, _, height = text.partition("x")
    if not (width.isdecimal() and height.isdecimal()):
        raise InputError(f"--size {text} is no WIDTHxHEIGHT, such as 256x144")
    return int(width), int(height)
