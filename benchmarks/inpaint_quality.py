# SPDX-License-Identifier: BSD-2-Clause
"""Inpainting nets against OpenCV's Telea (2004) and Navier-Stokes (2001) on held-out pictures.

Photographs, drawn pictures and frames of clips, none of them ever trained on, get person-shaped holes from
fixed seeds. Everybody is given the same pictures and holes; scores are PSNR and SSIM of luma inside the hole.
A net paints as the filter has it paint: the picture is reduced until its long side is the card's best_size,
and the painting is enlarged again.

    .venv/bin/python benchmarks/inpaint_quality.py                           60 pictures of 512 samples
    .venv/bin/python benchmarks/inpaint_quality.py --long 1280               as large as 720p
    .venv/bin/python benchmarks/inpaint_quality.py --out sheet.png --json scores.json
    .venv/bin/python benchmarks/inpaint_quality.py --gate                    non-zero exit when a rival wins
"""

from __future__ import annotations

import io
import json
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click
import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw
from rich.console import Console
from rich.progress import track
from rich.table import Table

from clarivid import clips, models
from clarivid.data.silhouette import hole as draw_hole
from clarivid.data.synth import rgb_to_yuv420
from clarivid.errors import Error
from clarivid.machine import describe
from clarivid.packages import fetch_deb, fetch_pypi

Plane = npt.NDArray[np.uint8]
Planes = tuple[Plane, Plane, Plane]
Hole = npt.NDArray[np.bool_]
RADIUS = 5  # of OpenCV's methods: at 3 both score lower
RIVALS = ("telea", "ns")
MULTIPLE = 16
FRAME = 12  # of each clip

DEB = {
    "libjxl-testdata": ("flower/flower.png",),
    "mate-backgrounds": ("mate/nature/Garden.jpg", "mate/nature/LadyBird.jpg"),
    "renpy-demo": ("images/bg washington.jpg", "images/bg whitehouse.jpg", "images/bg cave.jpg"),
}
SKIMAGE = ("astronaut.png", "chelsea.png", "coffee.png", "rocket.jpg", "motorcycle_left.png", "brick.png")
SKIMAGE += ("grass.png", "gravel.png")
CLIPS = ("dog", "motorway", "marathon", "city", "campus", "bikes", "castle", "dragon", "bunny", "seabed")
CLIPS += ("cabin",)


@dataclass(frozen=True)
class Case:
    """A picture and its hole, whole 2x2 blocks of luma."""

    name: str
    planes: Planes
    hole: Hole


# --------------------------------------------------------------------------------------------- pictures


def pictures() -> Iterator[tuple[str, Image.Image]]:
    """The held-out pictures at their own size, by name."""
    for package, files in DEB.items():
        for file in files:
            with Image.open(fetch_deb(package).one(f"**/{file}")) as image:
                yield Path(file).stem, image.convert("RGB")
    skimage = fetch_pypi("scikit-image", "0.25.2")
    for file in SKIMAGE:
        with Image.open(skimage.one(f"**/skimage/data/{file}")) as image:
            yield Path(file).stem, image.convert("RGB")
    for name in CLIPS:
        yield name, frame_of(clips.find(name).reference())


def frame_of(path: Path) -> Image.Image:
    """One picture of a video."""
    command = [clips.encoder(), "-nostdin", "-loglevel", "error", "-i", str(path)]
    command += ["-vf", f"select=gte(n\\,{FRAME})", "-frames:v", "1", "-f", "image2pipe", "-c:v", "png", "-"]
    data = subprocess.run(command, capture_output=True, check=True).stdout
    if not data:
        raise Error(f"{path} has no picture number {FRAME}")
    with Image.open(io.BytesIO(data)) as image:
        return image.convert("RGB")


def fitted(image: Image.Image, long: int) -> Image.Image:
    """Reduced until its long side is ``long`` or less, and cropped to whole multiples of 16."""
    factor = min(1.0, long / max(image.size))
    size = tuple(max(64, round(side * factor)) for side in image.size)
    small = image.resize((size[0], size[1]), Image.Resampling.BOX) if factor < 1 else image
    width, height = (side // MULTIPLE * MULTIPLE for side in small.size)
    left, top = (small.width - width) // 2, (small.height - height) // 2
    return small.crop((left, top, left + width, top + height))


def cases(count: int, long: int, seed: int) -> list[Case]:
    """``count`` cases, the pictures in turn."""
    stock = [(name, rgb_to_yuv420(np.asarray(fitted(image, long)))) for name, image in pictures()]
    found = []
    for i in range(count):
        name, planes = stock[i % len(stock)]
        height, width = planes[0].shape
        # Drawn at one size and enlarged, so that the same seed is the same hole at any size.
        h, w = 2 * round(height * 256 / width), 512
        drawn = draw_hole(h, w, np.random.default_rng([seed, i]), "people")
        hole = Image.fromarray(drawn).resize((width // 2, height // 2), Image.Resampling.NEAREST)
        found.append(Case(name, planes, np.asarray(hole).repeat(2, 0).repeat(2, 1)))
    return found


# ------------------------------------------------------------------------------------------------- ways


def opencv(which: str) -> Callable[[Case], Planes]:
    """One of OpenCV's methods, plane by plane."""
    import cv2

    method = {"telea": cv2.INPAINT_TELEA, "ns": cv2.INPAINT_NS}[which]

    def paint(case: Case) -> Planes:
        y, u, v = (
            np.asarray(cv2.inpaint(plane, case.hole[::step, ::step].astype(np.uint8), RADIUS, method))
            for plane, step in zip(case.planes, (1, 2, 2), strict=True)
        )
        return y, u, v

    return paint


class Net:
    """A bundle in OpenVINO, f32; ``seconds`` is the CPU time of each painting."""

    def __init__(self, name: str) -> None:
        import openvino as ov

        self.model = models.find_model(name)
        if self.model.task != "inpaint":
            raise Error(f'model "{name}" is for the task "{self.model.task}", not "inpaint"')
        self.size = int(self.model.card["input"]["best_size"])
        self.core = ov.Core()
        self.compiled: dict[tuple[int, ...], Any] = {}
        self.seconds: list[float] = []

    def __call__(self, case: Case) -> Planes:
        height, width = case.planes[0].shape
        factor = min(1.0, self.size / max(height, width))
        # Sizes of the folded picture: chroma's.
        small = tuple(
            max(MULTIPLE // 2, round(n * factor / MULTIPLE) * (MULTIPLE // 2)) for n in (width, height)
        )
        x = fold(case, (small[0], small[1]))
        request = self._request(x.shape)
        start = time.process_time()
        out = request.infer([x])[0][0]
        self.seconds.append(time.process_time() - start)
        luma = out[:4].reshape(2, 2, *out.shape[1:]).transpose(2, 0, 3, 1).reshape(2 * out.shape[1], -1)
        planes = []
        for plane, true, mul, add, step in (
            (luma + 0.5, case.planes[0], 219, 16, 1),
            (out[4], case.planes[1], 224, 128, 2),
            (out[5], case.planes[2], 224, 128, 2),
        ):
            size = (width // step, height // step)
            image = Image.fromarray(plane * mul + add)
            full = image if image.size == size else image.resize(size, Image.Resampling.BICUBIC)
            code = np.clip(np.floor(np.asarray(full) + 0.5), 0, 255).astype(np.uint8)
            planes.append(np.where(case.hole[::step, ::step], code, true))
        return planes[0], planes[1], planes[2]

    def _request(self, shape: tuple[int, ...]) -> Any:
        if shape not in self.compiled:
            model = self.core.read_model(self.model.onnx)
            model.reshape(list(shape))
            options = {"INFERENCE_PRECISION_HINT": "f32", "INFERENCE_NUM_THREADS": 1}
            self.compiled[shape] = self.core.compile_model(model, "CPU", options).create_infer_request()
        return self.compiled[shape]


def fold(case: Case, size: tuple[int, int]) -> npt.NDArray[np.float32]:
    """The net's input [1,7,h,w] for a folded ``size`` (w, h): averages of what is known."""
    width, height = size
    known = ~case.hole
    parts = []
    for plane, mul, add, step in zip(case.planes, (219, 224, 224), (16, 128, 128), (1, 2, 2), strict=True):
        there = known[::step, ::step].astype(np.float32)
        value = ((plane.astype(np.float32) - add) / mul - (0.5 if step == 1 else 0)) * there
        many = (width * 2 // step, height * 2 // step)
        if (plane.shape[1], plane.shape[0]) != many:
            value, there = (
                np.asarray(Image.fromarray(z).resize(many, Image.Resampling.BOX)) for z in (value, there)
            )
            value = value / np.maximum(there, 1e-3)
        parts.append((value, there))
    luma, seen = (
        (p.reshape(height, 2, width, 2).transpose(1, 3, 0, 2).reshape(4, height, width)) for p in parts[0]
    )
    hole = (np.concatenate([seen, parts[1][1][None]]) < 0.99).any(0)
    x = np.concatenate([luma, parts[1][0][None], parts[2][0][None]])
    return np.concatenate([np.where(hole, 0, x), hole[None]])[None].astype(np.float32)


# ----------------------------------------------------------------------------------------------- scores


def measure(found: list[Case], ways: dict[str, Callable[[Case], Planes]]) -> list[dict[str, Any]]:
    """Of each case, each way's PSNR and SSIM in the hole."""
    from clarivid.train.inpaint import scores_in_hole

    rows = []
    for case in track(found, "pictures", console=Console(stderr=True), disable=not sys.stderr.isatty()):
        row: dict[str, Any] = {"picture": case.name, "hole": round(float(case.hole.mean()), 4)}
        for name, way in ways.items():
            psnr, ssim = scores_in_hole(way(case)[0], case.planes[0], case.hole)
            row[name] = {"psnr_y": round(psnr, 3), "ssim": round(ssim, 4)}
        rows.append(row)
    return rows


def summarise(rows: list[dict[str, Any]], ways: list[str]) -> dict[str, Any]:
    """Mean of each way, and for the nets the share of cases won against each rival."""
    result: dict[str, Any] = {}
    for way in ways:
        result[way] = {
            score: round(float(np.mean([row[way][score] for row in rows])), 4) for score in ("psnr_y", "ssim")
        }
        for rival in (r for r in RIVALS if way not in RIVALS):
            for score in ("psnr_y", "ssim"):
                won = np.mean([row[way][score] > row[rival][score] for row in rows])
                result[way][f"wins_{score}_{rival}"] = round(float(won), 3)
    return result


def gate(summary: dict[str, Any]) -> bool:
    """Every net beats both rivals in both means."""
    nets = [way for way in summary if way not in RIVALS]
    return all(summary[n][s] > summary[r][s] for n in nets for r in RIVALS for s in ("psnr_y", "ssim"))


# ------------------------------------------------------------------------------------------------ sheet


def rgb(planes: Planes) -> npt.NDArray[np.uint8]:
    """BT.709, limited range, chroma repeated."""
    y = (planes[0].astype(np.float32) - 16) / 219
    u, v = ((p.astype(np.float32).repeat(2, 0).repeat(2, 1) - 128) / 224 for p in planes[1:])
    red, blue = y + 1.5748 * v, y + 1.8556 * u
    green = (y - 0.2126 * red - 0.0722 * blue) / 0.7152
    return np.clip(np.stack([red, green, blue], -1) * 255 + 0.5, 0, 255).astype(np.uint8)


def sheet(found: list[Case], ways: dict[str, Callable[[Case], Planes]], out: Path, width: int = 320) -> None:
    """A row a case: with its hole, each way, the truth."""
    rows = []
    for case in found:
        masked = rgb(case.planes)
        masked[case.hole] = (255, 0, 255)
        views = [masked, *(rgb(way(case)) for way in ways.values()), rgb(case.planes)]
        height = round(width * case.hole.shape[0] / case.hole.shape[1])
        height = min(height, width)
        row = Image.new("RGB", (len(views) * (width + 4), height + 4), "white")
        for i, view in enumerate(views):
            tall = round(width * view.shape[0] / view.shape[1])
            image = Image.fromarray(view).resize((width, tall), Image.Resampling.LANCZOS)
            top = (tall - height) // 2
            row.paste(image.crop((0, top, width, top + height)), (i * (width + 4), 0))
        rows.append(row)
    full = Image.new("RGB", (rows[0].width, 18 + sum(row.height for row in rows)), "white")
    draw = ImageDraw.Draw(full)
    for i, name in enumerate(("hole", *ways, "truth")):
        draw.text((i * (width + 4) + 4, 3), name, fill="black")
    top = 18
    for row in rows:
        full.paste(row, (0, top))
        top += row.height
    out.parent.mkdir(parents=True, exist_ok=True)
    full.save(out)


@click.command()
@click.option("--model", "names", multiple=True, default=("inpaint_v1_fast", "inpaint_v1"), show_default=True)
@click.option("--count", default=60, show_default=True, type=click.IntRange(1), help="Cases.")
@click.option("--long", default=512, show_default=True, type=click.IntRange(128), help="Long side, samples.")
@click.option("--seed", default=2026, show_default=True, help="Of the holes.")
@click.option("--out", type=click.Path(path_type=Path), help="PNG: a sheet of twelve cases.")
@click.option("--json", "result", type=click.Path(path_type=Path), help="JSON with every case.")
@click.option("--gate", "gated", is_flag=True, help="Fail unless every net beats both rivals in the mean.")
def main(
    names: tuple[str, ...],
    count: int,
    long: int,
    seed: int,
    out: Path | None,
    result: Path | None,
    gated: bool,
) -> None:
    """PSNR and SSIM in person-shaped holes of held-out pictures."""
    found = cases(count, long, seed)
    nets = {name: Net(name) for name in names}
    ways: dict[str, Callable[[Case], Planes]] = {rival: opencv(rival) for rival in RIVALS}
    ways |= nets
    rows = measure(found, ways)
    summary = summarise(rows, list(ways))
    table = Table("", "PSNR-Y", "SSIM", "wins Telea (PSNR, SSIM)", "wins NS (PSNR, SSIM)", "CPU ms", box=None)
    for way, row in summary.items():
        cells = [f"{row['psnr_y']:.2f}", f"{row['ssim']:.4f}"]
        for rival in RIVALS:
            wins = [row.get(f"wins_{score}_{rival}") for score in ("psnr_y", "ssim")]
            cells.append(" ".join(f"{100 * w:.0f} %" for w in wins if w is not None))
        if way in nets:
            row["cpu_ms"] = round(1000 * float(np.median(nets[way].seconds)), 1)
            cells.append(f"{row['cpu_ms']:.0f}")
        table.add_row(way, *cells)
    Console().print(table)
    if result:
        entry = {
            "machine": describe(),
            "count": count,
            "long": long,
            "seed": seed,
            "mean": summary,
            "cases": rows,
        }
        result.parent.mkdir(parents=True, exist_ok=True)
        result.write_text(json.dumps(entry, indent=1) + "\n", "utf-8")
    if out:
        shown = list({case.name: case for case in reversed(found)}.values())[::-1]  # a picture once
        sheet(shown[:: max(1, len(shown) // 12)][:12], ways, out)
    if gated and not gate(summary):
        raise SystemExit("inpaint_quality: error: a net does not beat both rivals in mean PSNR and SSIM")


if __name__ == "__main__":
    try:
        main()
    except Error as error:
        raise SystemExit(f"inpaint_quality: error: {error}") from error
