# SPDX-License-Identifier: BSD-2-Clause
"""Running the command lines of docs/recipes.md on small clips, and looking at what they make."""

from __future__ import annotations

import functools
import hashlib
import json
import os
import re
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

import filter_tools as tools
from clarivid.clips import encoder
from conftest import ROOT
from doc_blocks import Block, blocks
from filter_tools import Array
from onnx_models import nearest_net
from pictures import noisy_pan, packed

PAGE = ROOT / "docs" / "recipes.md"
WIDTH, HEIGHT, RATE, FRAMES = 256, 144, 24, 24
# What a line says for films of hours, for a clip of one second.
SHORTER = {
    "-segment_time 60": "-segment_time 0.4",
    "-hls_time 4": "-hls_time 0.5",
    "hls_time=4": "hls_time=0.5",
    "n_forced*2": "n_forced*0.5",
    "-g 48 -keyint_min 48": "-g 14 -keyint_min 14",
    "-g 48": "-g 14",
}
CHAPTERS = ";FFMETADATA1\ntitle=A pan\n[CHAPTER]\nTIMEBASE=1/1000\nSTART=0\nEND=500\ntitle=first half\n"
SUBTITLES = "1\n00:00:00,100 --> 00:00:00,900\nHello\n"
COLOURS = "range=tv:colorspace=bt709:color_primaries=bt709:color_trc=bt709"
LIGHT = (
    "hdr10=1:repeat-headers=1:log-level=error:range=limited:colorprim=bt2020:transfer=smpte2084:"
    "colormatrix=bt2020nc:max-cll=1000,400:"
    "master-display=G(13250,34500)B(7500,3000)R(34000,16000)WP(15635,16450)L(10000000,1)"
)


def recipes() -> dict[str, Block]:
    """The page's blocks by the headings that they stand under."""
    lines = PAGE.read_text("utf-8").splitlines()
    found: dict[str, Block] = {}
    for block in blocks(PAGE):
        heading = next(line for line in reversed(lines[: block.line]) if line.startswith("### "))[4:]
        assert heading not in found, f"{heading} has two blocks"
        found[heading] = block
    return found


def make(folder: Path, *arguments: str | Path, data: bytes = b"") -> None:
    """Run an ffmpeg that has all of FFmpeg's own components, and none of our filters."""
    words = [encoder(), "-nostdin", "-v", "error", "-y", *map(str, arguments)]
    done = subprocess.run(words, cwd=folder, input=data, capture_output=True, check=False, timeout=120)
    assert done.returncode == 0, done.stderr.decode()


def make_clips(folder: Path) -> None:
    """What the lines take: one second of a small picture, in every form that one of them is for."""
    (folder / "chapters.txt").write_text(CHAPTERS, "utf-8")
    (folder / "text.srt").write_text(SUBTITLES, "utf-8")
    raw = packed(noisy_pan(FRAMES, WIDTH, HEIGHT))
    (folder / "in.yuv").write_bytes(raw)
    pan = (
        "-f",
        "rawvideo",
        "-pix_fmt",
        "yuv420p",
        "-s",
        f"{WIDTH}x{HEIGHT}",
        "-r",
        str(RATE),
        "-i",
        "in.yuv",
    )
    x264 = ("-c:v", "libx264", "-preset", "veryfast", "-crf", "12", "-g", "12")
    lossless = ("-c:v", "ffv1")
    make(
        folder, *pan, "-f", "lavfi", "-i", "sine=d=1", "-i", "text.srt", "-i", "chapters.txt",
        "-map", "0", "-map", "1", "-map", "2", "-map_chapters", "3", "-map_metadata", "3",
        "-metadata:s:a", "language=deu", "-vf", f"setparams={COLOURS}", *x264, "-c:a", "aac", "-c:s", "srt",
        "in.mkv",
    )  # fmt: skip
    for name in ("in.mp4", "in.ts"):
        make(folder, "-i", "in.mkv", "-map", "0:v", "-map", "0:a", "-map_chapters", "-1", "-c", "copy", name)
    make(
        folder, "-i", "in.mkv", "-vf", "format=yuv420p10le", "-an", "-sn", "-frames:v", "8",
        "-c:v", "libx265", "-preset", "ultrafast", "-crf", "12", "-x265-params", LIGHT, "hdr.mkv",
    )  # fmt: skip
    make(folder, *pan, "-vf", "setpts='N*N/8+3*N'", "-fps_mode", "passthrough", "-frames:v", "10",
         "-enc_time_base", "1:24", *lossless, "vfr.mkv")  # fmt: skip
    make(folder, *pan, "-vf", "tinterlace=interleave_top,setfield=tff", *x264, "-flags", "+ilme+ildct",
         "interlaced.mkv")  # fmt: skip
    bars = f"crop={WIDTH}:96:0:24,pad={WIDTH}:{HEIGHT}:0:24"
    make(folder, *pan, "-vf", bars, *x264, "letterbox.mp4")
    make(folder, *pan, "-frames:v", "4", "-c:v", "libx264", "-crf", "16", "plain.mkv")
    (folder / "shot").mkdir()
    make(folder, *pan, "-frames:v", "3", "shot/%04d.png")
    make(folder, *pan, "-frames:v", "1", "-vf", "scale=out_range=full,format=yuvj420p", "photo.jpg")
    make_masks(folder)
    nearest_net(folder / "srv" / "nets" / "some_x4.onnx", 3, 4)
    shutil.copytree(ROOT / "models" / "game_x2", folder / "srv" / "models" / "house_x2")


# What is to vanish from film.mp4: x, y, width, height.
LOGO, MOVING, STANDING, SHAPE = (200, 8, 40, 24), (40, 62, 24, 20), (60, 100, 36, 26), (180, 60, 50, 30)


def make_masks(folder: Path) -> None:
    """film.mp4: the pan with four things that do not belong there; and a mask of each of them."""

    def box(x: int | str, y: int, width: int, height: int, when: str = "1") -> str:
        return f"drawbox=x='{x}':y={y}:w={width}:h={height}:color=white:t=fill:enable='{when}'"

    things = ",".join(
        (
            box(*LOGO, "between(t,0.25,0.6)"),
            *(box(x, *MOVING[1:], f"eq(n,{number})") for number, x in enumerate(moving())),
            box(*STANDING),
        )
    )
    make(folder, "-i", "in.mp4", "-vf", things, "-map", "0", "-c:v", "libx264", "-crf", "12", "-c:a", "copy",
         "without_shape.mp4")  # fmt: skip
    x, y, width, height = SHAPE
    inside = f"between(X,{x},{x + width - 1})*between(Y,{y},{y + height - 1})"
    shape = f"color=red:s={WIDTH}x{HEIGHT}:d=0.1:r=10,format=rgba,geq=r=255:g=0:b=0:a='255*{inside}'"
    make(folder, "-f", "lavfi", "-i", shape, "-frames:v", "1", "logo.png")
    make(folder, "-i", "without_shape.mp4", "-i", "logo.png", "-filter_complex", "[0][1]overlay=format=auto",
         "-c:v", "libx264", "-crf", "12", "-c:a", "copy", "film.mp4")  # fmt: skip
    hole = f"color=black:s={WIDTH}x{HEIGHT}:r=12:d=0.5,format=gray,{box(*STANDING)}"
    make(folder, "-f", "lavfi", "-i", hole, "-c:v", "ffv1", "mask.mkv")
    boxes = (f"{number} {x} {' '.join(map(str, MOVING[1:]))}\n" for number, x in enumerate(moving()))
    (folder / "boxes.txt").write_text("".join(boxes), "utf-8")


def moving() -> list[int]:
    """Where the moving thing is, frame by frame."""
    return [MOVING[0] + 3 * number for number in range(FRAMES)]


@dataclass(frozen=True)
class Made:
    """What a recipe left in its folder, and what was said on stderr and stdout."""

    folder: Path
    said: str

    def path(self, name: str) -> Path:
        return self.folder / name

    def streams(self, name: str) -> list[dict[str, Any]]:
        """The streams of a file, as ffprobe tells them, with how many packets each has."""
        streams: list[dict[str, Any]] = self._probe(name, "-show_streams", "-count_packets")["streams"]
        return streams

    def video(self, name: str) -> dict[str, Any]:
        """The video stream of a file."""
        return next(one for one in self.streams(name) if one["codec_type"] == "video")

    def size(self, name: str) -> tuple[int, int]:
        return self.video(name)["width"], self.video(name)["height"]

    def count(self, name: str) -> int:
        """How many pictures can be decoded."""
        return len(self.frames(name))

    def frames(self, name: str) -> list[dict[str, Any]]:
        return tools.probe(self.path(name))

    def container(self, name: str) -> dict[str, Any]:
        """Tags and chapters."""
        return self._probe(name, "-show_chapters", "-show_entries", "format_tags=title")

    def times(self, name: str) -> list[float]:
        return [float(frame["pts_time"]) for frame in self.frames(name)]

    def keys(self, name: str) -> list[float]:
        """When key frames come."""
        return [float(frame["pts_time"]) for frame in self.frames(name) if frame["key_frame"]]

    def coded(self, name: str, stream: str) -> str:
        """A digest of a stream's packets as they are coded."""
        return tools.run(
            "-i", self.path(name), "-map", f"0:{stream}", "-c", "copy", "-f", "md5", "-"
        ).stdout.decode()

    def bytes_of(self, name: str, stream: str) -> int:
        """How many bytes a stream's packets have."""
        packets = tools.run("-i", self.path(name), "-map", f"0:{stream}", "-c", "copy", "-f", "framecrc", "-")
        return sum(size for _, size, _ in tools.packets(packets))

    def luma(self, name: str, pix_fmt: str = "yuv420p", before: str = "null") -> Array:
        """The luma of all frames, [N, H, W]; ``before``: filters of FFmpeg's on the way."""
        done = tools.run(
            "-i", self.path(name), "-map", "0:v", "-vf", f"{before},format={pix_fmt}",
            "-fps_mode", "passthrough", "-f", "rawvideo", "-",
        )  # fmt: skip
        width, height = self._size_after(name, before)
        each = tools.frame_bytes(width, height, pix_fmt)
        sixteen = pix_fmt in tools.SIXTEEN_BIT
        samples: Array = np.frombuffer(done.stdout, np.dtype("<u2" if sixteen else "u1"))
        frames = samples.reshape(-1, each // (2 if sixteen else 1))
        return frames[:, : width * height].reshape(-1, height, width)

    def _size_after(self, name: str, before: str) -> tuple[int, int]:
        width, height = self.size(name)
        crop = re.fullmatch(r"crop=(\d+):(\d+).*", before)
        return (int(crop[1]), int(crop[2])) if crop else (width, height)

    def pictures(self, name: str) -> str:
        """A digest of all decoded samples."""
        done = tools.run("-i", self.path(name), "-map", "0:v", "-fps_mode", "passthrough", "-f", "md5", "-")
        return done.stdout.decode()

    def _probe(self, name: str, *what: str) -> dict[str, Any]:
        done = subprocess.run(
            [str(tools.built().ffprobe), "-v", "error", *what, "-of", "json", str(self.path(name))],
            stdin=subprocess.DEVNULL, capture_output=True, check=True, timeout=60,
        )  # fmt: skip
        found: dict[str, Any] = json.loads(done.stdout)
        return found


@functools.lru_cache
def script(text: str) -> str:
    """A block of the page for clips of one second and this machine."""
    for long, short in SHORTER.items():
        text = text.replace(long, short)
    text = text.replace("/usr/bin/ffmpeg", f"'{encoder()}' -nostdin -v error")
    return text.replace("taskset -c 0 ", f"taskset -c {min(os.sched_getaffinity(0))} ")


def run_block(text: str, folder: Path, **environment: str) -> Made:
    """Run a block in a folder with clips, as a reader would who calls our ffmpeg ``ffmpeg``."""
    programs = folder / "bin"
    programs.mkdir()
    wrapper = programs / "ffmpeg"
    wrapper.write_text(
        f'#!/bin/sh\nexec "{tools.built().ffmpeg}" -nostdin -hide_banner -nostats -v level+info -y "$@"\n',
        "utf-8",
    )
    wrapper.chmod(0o755)
    done = subprocess.run(
        ["bash", "-eu", "-o", "pipefail", "-c", script(text).replace("/srv/", f"{folder}/srv/")],
        cwd=folder,
        env={
            **os.environ,
            "PATH": f"{programs}:{os.environ['PATH']}",
            "AV_LOG_FORCE_NOCOLOR": "1",
            **environment,
        },
        stdin=subprocess.DEVNULL,
        capture_output=True,
        timeout=120,
        check=False,
    )
    said = (done.stdout + done.stderr).decode("utf-8", "replace")
    assert done.returncode == 0, f"{text}\n{said}"
    return Made(folder, said)


def digest(path: Path) -> str:
    """Of a file's bytes."""
    return hashlib.sha256(path.read_bytes()).hexdigest()
