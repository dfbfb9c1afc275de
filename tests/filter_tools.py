# SPDX-License-Identifier: BSD-2-Clause
"""Running the ffmpeg that has clarivid's filters, and reading what it says and writes."""

from __future__ import annotations

import functools
import json
import os
import re
import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from clarivid import ffmpeg
from clarivid.errors import ToolError
from clarivid.ffmpeg.series import DEFAULT
from ffmpeg_series import SERIES
from inpaint_models import inpaint_bundle
from onnx_models import SHIFT, lowrank_s2d_net, random_s2d_net

Array = NDArray[Any]
Done = subprocess.CompletedProcess[bytes]

CHROMA_INTERLEAVED = {"nv12", "p010le"}
SIXTEEN_BIT = {"yuv420p10le", "p010le"}


@functools.lru_cache
def built() -> ffmpeg.Built:
    """The ffmpeg of the filters and the library as they are now; built when it is not there."""
    try:
        return ffmpeg.find(series=os.environ.get("CLARIVID_TEST_SERIES"))
    except ToolError:
        if SERIES == DEFAULT:
            return ffmpeg.build()
        return ffmpeg.build(series=SERIES, kind="checks")


def run(*arguments: str | Path, stdin: bytes = b"", check: bool = True, **environment: str) -> Done:
    """Run ffmpeg; its messages come back with level and name. Keyword arguments are environment."""
    done = subprocess.run(
        [str(built().ffmpeg), "-hide_banner", "-nostats", "-v", "level+info", "-y", *map(str, arguments)],
        env={**os.environ, "AV_LOG_FORCE_NOCOLOR": "1", **environment},
        input=stdin,
        capture_output=True,
        timeout=120,
        check=False,
    )
    if check and done.returncode != 0:
        raise AssertionError(f"ffmpeg {' '.join(map(str, arguments))}\n{said(done)}")
    return done


def said(done: Done) -> str:
    """What ffmpeg wrote to stderr."""
    return done.stderr.decode("utf-8", "replace")


def errors(done: Done) -> list[str]:
    """What our filters said at level error or worse; without what libavfilter adds in their name."""
    found = re.findall(
        r"^\[(?:Parsed_)?(?:dnn_sr|lowrank_pre|mesh_inpaint)[^]]*\] \[(?:error|fatal|panic)\] (.*)$",
        said(done),
        re.MULTILINE,
    )
    return [str(line) for line in found if not line.startswith("Failed to configure ")]


def warnings(done: Done) -> list[str]:
    """What our filters said at level warning."""
    found = re.findall(
        r"^\[(?:Parsed_)?(?:dnn_sr|lowrank_pre|mesh_inpaint)[^]]*\] \[warning\] (.*)$",
        said(done),
        re.MULTILINE,
    )
    return [str(line) for line in found]


def filtered(source: str, filters: str, *output: str, pix_fmt: str | None = None) -> bytes:
    """Raw video out of a lavfi source through a filter chain, from stdout."""
    chain = filters + (f",format={pix_fmt}" if pix_fmt else "")
    return run("-f", "lavfi", "-i", source, "-vf", chain, *output, "-f", "rawvideo", "-").stdout


def frame_bytes(width: int, height: int, pix_fmt: str) -> int:
    """Bytes of one packed frame."""
    chroma = (width + 1) // 2 * ((height + 1) // 2) * 2
    return (width * height + chroma) * (2 if pix_fmt in SIXTEEN_BIT else 1)


def planes(data: bytes, width: int, height: int, pix_fmt: str) -> list[Array]:
    """The planes of one packed frame."""
    samples: Array = np.frombuffer(data, np.dtype("<u2" if pix_fmt in SIXTEEN_BIT else "u1"))
    w, h = (width + 1) // 2, (height + 1) // 2
    luma, chroma = samples[: width * height].reshape(height, width), samples[width * height :]
    if pix_fmt in CHROMA_INTERLEAVED:
        return [luma, chroma.reshape(h, w * 2)]
    return [luma, chroma[: w * h].reshape(h, w), chroma[w * h :].reshape(h, w)]


def nearest(data: bytes, width: int, height: int, pix_fmt: str) -> bytes:
    """One packed frame at twice its size by nearest neighbour, cropped to exactly 2W x 2H."""
    out = []
    for index, plane in enumerate(planes(data, width, height, pix_fmt)):
        channels = 2 if index and pix_fmt in CHROMA_INTERLEAVED else 1
        split = plane.reshape(plane.shape[0], -1, channels).repeat(2, 0).repeat(2, 1)
        rows, columns = (2 * height, 2 * width) if index == 0 else (height, width)
        out.append(split[:rows, :columns].tobytes())
    return b"".join(out)


def shifted(data: bytes, width: int, height: int, pix_fmt: str, strength: float = 1.0) -> bytes:
    """One packed frame, limited range, as the dummy backend changes it with a net that has a strength."""
    out = []
    depth = 10 if pix_fmt in SIXTEEN_BIT else 8
    places = 6 if pix_fmt == "p010le" else 0
    for index, plane in enumerate(planes(data, width, height, pix_fmt)):
        span = (224 if index else 219) << depth - 8
        codes = np.floor((plane >> places).astype(np.float64) - strength * SHIFT * span + 0.5)
        codes = np.clip(codes, 0, (1 << depth) - 1)
        out.append((codes.astype(plane.dtype) << places).tobytes())
    return b"".join(out)


def unchanged(data: bytes, _width: int, _height: int, _pix_fmt: str) -> bytes:
    """One packed frame as it was."""
    return data


@dataclass(frozen=True)
class Kind:
    """One of our filters, with a small net for it.

    ``expected`` gives what the filter with the dummy backend makes of a packed frame, from
    (frame, width, height, pix_fmt). ``holding`` is the option by which frames stay inside, with how many are
    inside at once for {count} and how many of these are later ones for {later}. ``always`` is added to the
    options of every run.
    """

    name: str
    scale: int
    task: str
    bundle: str  # a shipped one; "": the small net is a bundle
    net: Callable[[Path], Path]
    expected: Callable[[bytes, int, int, str], bytes]
    holding: str = "async={count}"
    always: str = ""

    def hold(self, count: int) -> str:
        """The option with which ``count`` frames are inside at once."""
        return self.holding.format(count=count, later=count - 1)

    def chain(self, options: str) -> str:
        """The filter with ``options``, for a filtergraph."""
        return f"{self.name}={options}{self.always}"


KINDS = (
    Kind("dnn_sr", 2, "sr", "game_x2", random_s2d_net, nearest),
    Kind("lowrank_pre", 1, "lowrank", "lowrank_v1", lowrank_s2d_net, shifted),
    # A box beside the picture: all frames go through it, and none changes.
    Kind(
        "mesh_inpaint", 1, "inpaint", "", lambda path: inpaint_bundle(path.with_suffix("")), unchanged,
        "lookahead={later}", ":rect=-9|-9|4|4",
    ),
)  # fmt: skip
PER_FRAME = KINDS[:2]  # those that run a net on each frame by itself


def pattern(width: int, height: int, pix_fmt: str) -> str:
    """A source of two frames of any size and depth; testsrc2, and in 5.1 color, have even sizes only."""
    geq = "geq=lum='mod(X*37+Y*11+N*5,219)+16':cb=X+9:cr=Y+7"
    # What geq makes must not depend on what each series would convert to for it.
    planar = "yuv420p10le" if pix_fmt in SIXTEEN_BIT else "yuv420p"
    return f"nullsrc=s={width}x{height}:r=10:d=0.2,format={planar},{geq},format={planar},format={pix_fmt}"


def frames(data: bytes, width: int, height: int, pix_fmt: str) -> list[bytes]:
    """Packed raw video, frame by frame."""
    size = frame_bytes(width, height, pix_fmt)
    return [data[at : at + size] for at in range(0, len(data), size)]


def kept(done: Done, name: str) -> list[str]:
    """What ``showinfo@NAME`` tells of each frame, without size and checksums."""
    lines = [line for line in shown(done, name) if line.startswith(("n:", "color_range:"))]
    return [re.sub(r" s:\d+x\d+| checksum.*", "", line) for line in lines]


def shown(done: Done, name: str) -> list[str]:
    """The lines of the filter ``showinfo@NAME``, without its address."""
    return [str(line) for line in re.findall(rf"^\[showinfo@{name} @ \S+\] \[info\] (.*)$", said(done), re.M)]


def probe(path: Path) -> list[dict[str, Any]]:
    """The video frames of a file, as ffprobe tells them."""
    done = subprocess.run(
        [
            str(built().ffprobe),
            "-v",
            "error",
            "-show_frames",
            "-select_streams",
            "v",
            "-of",
            "json",
            str(path),
        ],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        timeout=120,
        check=True,
    )
    frames: list[dict[str, Any]] = json.loads(done.stdout)["frames"]
    return frames


def duration(frame: dict[str, Any]) -> float:
    """A frame's duration in seconds, as ffprobe of any series calls it."""
    return float(frame.get("duration_time") or frame["pkt_duration_time"])


def packets(done: Done) -> list[tuple[int, int, str]]:
    """What the muxer framecrc wrote: (pts, bytes, checksum) of each frame."""
    rows = [
        line.split(",") for line in done.stdout.decode().splitlines() if line and not line.startswith("#")
    ]
    return [(int(row[2]), int(row[4]), row[5].strip()) for row in rows]
