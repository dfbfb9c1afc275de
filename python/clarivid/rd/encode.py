# SPDX-License-Identifier: BSD-2-Clause
"""One encode, reproducible to the bit, and the sizes of its packets.

Each encoder runs on one thread, because with more of them x264's and x265's decisions (and so the bits)
depend on how many there are; ``rd`` keeps the cores busy by running several encodes at a time. GOP,
psychovisual settings and everything else are the encoder's defaults for its preset.

Bits are the sum of the video packets, without the container. x264 and x265 put a text with their settings
into the first packet (about 700 bytes: 5 % of a short clip at a low rate); it says nothing about the picture
and is left out.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from clarivid.clips import encoder as program
from clarivid.errors import ToolError
from clarivid.rd.plan import Encoder
from clarivid.rd.tools import QUIET, Tools

_X265 = "pools=none:frame-threads=1:info=0:log-level=error"


@dataclass(frozen=True)
class Encoded:
    """What an encode gave: bytes of each packet in display order, seconds of wall clock, the commands."""

    packets: list[int]
    seconds: float
    commands: list[str]


def arguments(encoder: Encoder, mode: str, rate: float, passes: int = 0) -> list[str]:
    """ffmpeg's options for one encode.

    :param mode: ``crf``, where ``rate`` is the CRF, or ``abr``, where it is kbit/s.
    :param passes: 1 or 2 for the passes of ``abr``; log files are relative to the working folder.
    """
    if mode == "crf":
        control = ["-crf", f"{rate:g}"]
    else:
        control = ["-b:v", f"{round(rate)}k"]
        if encoder.name != "x265":
            control += ["-pass", str(passes), "-passlogfile", "log"]
    if encoder.name == "x264":
        # SEI is NAL unit type 6: H.264, table 7-1.
        strip = ["-bsf:v", "filter_units=remove_types=6"]
        return ["-c:v", "libx264", "-preset", encoder.preset, *control, "-threads", "1", *strip]
    if encoder.name == "x265":
        settings = _X265 if mode == "crf" else f"{_X265}:pass={passes}:stats=log"
        return ["-c:v", "libx265", "-preset", encoder.preset, *control, "-x265-params", settings]
    settings = "lp=1" if mode == "crf" else "lp=1:rc=1"
    return ["-c:v", "libsvtav1", "-preset", encoder.preset, *control, "-svtav1-params", settings]


def encode(
    source: Path,
    out: Path,
    encoder: Encoder,
    mode: str,
    rate: float,
    *,
    frames: int,
    fps: float,
    tools: Tools,
) -> Encoded:
    """Encode ``source`` into ``out`` (Matroska), in a folder where pass logs may be written.

    Frames get equidistant times, ``fps`` a second, whatever times they have: rate control looks at them.

    Raises :class:`ToolError` that names the encoder and its last line, or when frames are lost.
    """
    what = f"{encoder.label} failed at {'CRF' if mode == 'crf' else 'kbit/s'} {rate:g}"
    begin = [program(), *QUIET, "-threads", "1", "-r", f"{fps:g}", "-i", str(source), "-map", "0:v:0"]
    begin += ["-fps_mode", "passthrough"]
    commands = []
    start = time.monotonic()
    for passes in (0,) if mode == "crf" else (1, 2):
        target = ["-f", "null", "-"] if passes == 1 else [str(out)]
        options = arguments(encoder, mode, rate, passes)
        if passes == 1 and "-bsf:v" in options:
            options = options[: options.index("-bsf:v")]
        tools.run([*begin, *options, *target], what, cwd=out.parent)
        shown = "/dev/null" if passes == 1 else f"out{out.suffix}"
        commands.append(" ".join(["ffmpeg", "-i", "INPUT", *options, *target[:-1], shown]))
    seconds = time.monotonic() - start
    sizes = [packet.size for packet in packets(out, tools)]
    if len(sizes) != frames:
        raise ToolError(f"{what}: it wrote {len(sizes)} packets for {frames} frames")
    return Encoded(sizes, seconds, commands)


class Packet(NamedTuple):
    """``size`` in bytes; ``key``: a key frame."""

    size: int
    key: bool


def packets(path: Path, tools: Tools) -> list[Packet]:
    """The video packets of a file, in order of display. Raises :class:`ToolError`."""
    command = [program(), *QUIET, "-i", str(path), "-map", "0:v:0", "-c", "copy", "-f", "framecrc", "-"]
    out, _ = tools.run(command, f"cannot read the packets of {path.name}")
    rows = [line.split(",") for line in out.splitlines() if line and not line.startswith("#")]
    # framecrc: stream, dts, pts, duration, size, checksum; then F=<flags> unless these are "key frame" alone.
    rows.sort(key=lambda row: int(row[2]))
    return [Packet(int(row[4]), not any(field.strip().startswith("F=") for field in row[6:])) for row in rows]
