# SPDX-License-Identifier: BSD-2-Clause
"""``make demo``: a real clip, halved, encoded, and brought back by dnn_sr and by Lanczos.

Leaves in ``out/demo/`` (or the folder given as the first argument):

demo.mp4      what ``-vf dnn_sr=model=game_x2`` gives, H.264
demo.png      crops side by side: source, Lanczos, dnn_sr
compare.html  both in full, to look at in a browser: a divider to drag, crops, scores and bits
scores.json   both ways' scores against the source, and their frames per second from start to end
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from rich.console import Console
from rich.table import Table

from clarivid import clips, compare, ffmpeg, quality
from clarivid.compare import page
from clarivid.errors import Error, ToolError
from clarivid.ffmpeg.run import LANCZOS_X2, filter_clip
from clarivid.pages import Picture, sheet

MODEL = "game_x2"
CODEC, CRF = "x264", 23
DELIVERY = ("-c:v", "libx264", "-crf", "15", "-pix_fmt", "yuv420p", "-movflags", "+faststart")
# Left and top of what demo.png shows of the clip's middle frame: the face, fir needles, flowers in the grass.
CROPS = ((390, 60), (950, 190), (10, 510))
CROP, ZOOM = (160, 96), 3


def run(out: Path, console: Console) -> dict[str, dict[str, float]]:
    """Make the demo in ``out``; returns what scores.json holds. Raises :class:`clarivid.Error`."""
    ways = {"dnn_sr": f"dnn_sr=model={MODEL}", "lanczos": LANCZOS_X2}
    # At its full size: what is delivered is a 720p picture.
    clip = replace(clips.find("bunny"), halve=False)
    program = ffmpeg.find().ffmpeg
    out.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="clarivid-demo-") as work, console.status("") as status:
        status.update(f"fetching the clip and encoding its half size ({CODEC}, CRF {CRF})")
        reference, low = clip.reference(), clip.low(CODEC, CRF)
        scores: dict[str, dict[str, float]] = {}
        results = {way: Path(work) / f"{way}.mkv" for way in ways}
        for way, filters in ways.items():
            status.update(f"{way}: {clip.frames} frames")
            filter_clip(low, filters, results[way], ffmpeg=program)
            seconds = filter_clip(low, filters, None, ffmpeg=program).seconds
            status.update(f"{way}: scoring against the source")
            score = quality.compare(results[way], reference)
            scores[way] = {
                "psnr_y": round(score.psnr_y, 3),
                "ssim": round(score.ssim, 5),
                "vmaf": round(score.vmaf, 2),
                "fps": round(score.frames / seconds, 2),
            }
        status.update("writing demo.mp4 and demo.png")
        filter_clip(low, ways["dnn_sr"], out / "demo.mp4", output=DELIVERY, ffmpeg=program)
        names = {"source": reference, "Lanczos": results["lanczos"], f"dnn_sr {MODEL}": results["dnn_sr"]}
        frames = {name: read_frame(path, clip.frames // 2) for name, path in names.items()}
        contact_sheet(frames).save(out / "demo.png")
        status.update("writing compare.html")
        # Lanczos as it would be delivered, so that bits are those of like and like.
        rival = Path(work) / "lanczos.mp4"
        filter_clip(low, LANCZOS_X2, rival, output=DELIVERY, ffmpeg=program)
        labels = ("Lanczos", f"dnn_sr {MODEL}")
        found = compare.compare(rival, out / "demo.mp4", reference, labels=labels)
        page.write(found, found.pictures(), out / "compare.html")
    (out / "scores.json").write_text(json.dumps(scores, indent=2) + "\n", "utf-8")
    return scores


def read_frame(path: Path, number: int) -> Picture:
    """Frame ``number`` (from 0) of a clip as [H, W, 3] RGB."""
    select = f"select=eq(n\\,{number}),scale=in_color_matrix=bt709:flags=accurate_rnd"
    command = [clips.encoder(), "-nostdin", "-loglevel", "error", "-i", str(path), "-vf", select]
    command += ["-frames:v", "1", "-f", "image2pipe", "-c:v", "ppm", "-pix_fmt", "rgb24", "-"]
    done = subprocess.run(command, capture_output=True, check=False)
    if done.returncode or not done.stdout:
        raise ToolError(
            f"cannot read frame {number} of {path}: {done.stderr.decode(errors='replace').strip()}"
        )
    header = done.stdout.split(b"\n", 3)
    width, height = (int(value) for value in header[1].split())
    return np.frombuffer(header[3], np.uint8).reshape(height, width, 3)


def contact_sheet(frames: dict[str, Picture]) -> Image.Image:
    """Crops of each picture, a column a picture, labelled; pixels enlarged without interpolation."""
    rows = [[frame[y : y + CROP[1], x : x + CROP[0]] for frame in frames.values()] for x, y in CROPS]
    return sheet.contact_sheet(list(frames), rows, zoom=ZOOM)


def show(scores: dict[str, dict[str, float]], console: Console) -> None:
    """The scores as a table."""
    table = Table(title=f"Big Buck Bunny, 640x360 {CODEC} CRF {CRF} → 1280x720, against the source")
    table.add_column("")
    for column in ("PSNR-Y dB", "SSIM", "VMAF", "fps"):
        table.add_column(column, justify="right")
    for way, row in scores.items():
        table.add_row(
            way, f"{row['psnr_y']:.2f}", f"{row['ssim']:.4f}", f"{row['vmaf']:.1f}", f"{row['fps']:.1f}"
        )
    console.print(table)


def main(arguments: list[str] | None = None) -> None:
    """Entry point of ``python -m clarivid.demo [FOLDER]``."""
    given: list[Any] = sys.argv[1:] if arguments is None else arguments
    out = Path(given[0] if given else "out/demo")
    console = Console()
    try:
        scores = run(out, console)
    except Error as error:
        raise SystemExit(f"demo: error: {error}") from None
    show(scores, console)
    for name in ("demo.mp4", "demo.png", "compare.html", "scores.json"):
        console.print(f"{out / name}")


if __name__ == "__main__":
    main()
