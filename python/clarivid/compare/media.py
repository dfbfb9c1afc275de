# SPDX-License-Identifier: BSD-2-Clause
"""What is in a video file: its frames' times, the bytes of each packet, its size and colours."""

from __future__ import annotations

import re
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from clarivid.clips import encoder
from clarivid.errors import InputError

THUMB = (32, 18)  # width, height of the pictures that tell whether files run together
# The first stream that is a video; the picture on an album's cover is none.
VIDEO = "0:V:0"

# As FFmpeg names a stream's matrix -> as its filter `scale` does.
_MATRICES = {
    "bt709": "bt709",
    "bt470bg": "bt601",
    "smpte170m": "bt601",
    "smpte240m": "smpte240m",
    "bt2020nc": "bt2020",
    "bt2020c": "bt2020",
    "fcc": "fcc",
}
_NO_TIME = -(2.0**40)  # framecrc prints the least 64-bit number (times the time base) for a packet without
_TRANSFERS = {"smpte2084": "PQ", "arib-std-b67": "HLG"}


@dataclass(frozen=True)
class Media:
    """One file.

    :ivar width, height: luma samples of a decoded frame, turned upright when the file asks for it.
    :ivar matrix: as ``scale`` names it; empty when the file does not say.
    :ivar hdr: ``PQ``, ``HLG`` or empty.
    :ivar codec: as ffmpeg describes the stream, for people.
    :ivar times: seconds of each frame that decodes, in order of display.
    :ivar packets: [packets, 2]: seconds and bytes of each packet of the video, in order of display.
    :ivar seconds: how long the video lasts, the last frame included.
    :ivar thumbs: [frames, 576]: luma of each frame, reduced to 32x18.
    :ivar complaints: what ffmpeg said of damage while it decoded.
    """

    path: Path
    width: int
    height: int
    pix_fmt: str
    matrix: str
    hdr: str
    codec: str
    times: NDArray[np.float64]
    packets: NDArray[np.float64]
    seconds: float
    file_bytes: int
    thumbs: NDArray[np.uint8]
    complaints: tuple[str, ...]

    @property
    def frames(self) -> int:
        """How many decode."""
        return len(self.times)

    @property
    def fps(self) -> float:
        """Frames a second, mean; 0 for a single frame of no length."""
        return self.frames / self.seconds if self.seconds > 0 else 0.0

    @property
    def video_bytes(self) -> int:
        """Of the video stream, without container and sound."""
        return int(self.packets[:, 1].sum())

    @property
    def kbps(self) -> float:
        """Mean kbit a second of the video stream; 0 for a single frame of no length."""
        return self.video_bytes * 8 / 1000 / self.seconds if self.seconds > 0 else 0.0

    def kbps_of(self, first: int, last: int) -> float:
        """Mean kbit a second of the frames ``first`` to ``last``; 0 when they have no length."""
        start = self.times[first] if first > 0 else -np.inf
        end = self.times[last + 1] if last + 1 < self.frames else np.inf
        inside = (self.packets[:, 0] >= start - 1e-6) & (self.packets[:, 0] < end - 1e-6)
        seconds = min(end, self.times[0] + self.seconds) - max(start, self.times[0])
        return float(self.packets[inside, 1].sum()) * 8 / 1000 / seconds if seconds > 0 else 0.0

    @property
    def deep(self) -> bool:
        """More than 8 bits a sample."""
        # Only samples of more than one byte have an order of bytes; of these a few share 16 bits.
        return self.pix_fmt.endswith(("le", "be")) and not re.search(r"(rgb|bgr)[45]", self.pix_fmt)

    @property
    def is_rgb(self) -> bool:
        """Decodes to R'G'B'."""
        return re.match(r"gbr|[0ax]?rgb|[0ax]?bgr|pal8|x2", self.pix_fmt) is not None


def read(path: Path, progress: Callable[[int], None] = lambda frames: None) -> Media:  # noqa: ARG005
    """Decode ``path`` once.

    :param progress: called with the number of frames decoded.

    Raises :class:`InputError` when it is missing, is no video, has no video stream or no frame that decodes.
    """
    if not path.is_file():
        raise InputError(f"{path} does not exist" if not path.exists() else f"{path} is not a file")
    with tempfile.TemporaryDirectory(prefix="clarivid-compare-") as work:
        packets, thumbs = Path(work) / "packets", Path(work) / "thumbs"
        command = [encoder(), "-nostdin", "-hide_banner", "-nostats", "-loglevel", "level+info", "-y"]
        command += ["-i", str(path.resolve()), "-map", VIDEO, "-c", "copy", "-f", "framecrc", str(packets)]
        # enc_time_base: the file's own, else times would be rounded to the mean frame rate.
        command += ["-map", VIDEO, "-fps_mode", "passthrough", "-enc_time_base", "demux"]
        command += ["-f", "framecrc", "-", "-map", VIDEO, "-fps_mode", "passthrough"]
        reduced = f"scale={THUMB[0]}:{THUMB[1]}:flags=area,format=gray"
        command += ["-vf", reduced, "-f", "rawvideo", str(thumbs)]
        times: list[float] = []
        facts: dict[str, str] = {}
        duration = 0.0
        with started(command) as (process, messages):
            assert process.stdout is not None
            for line in map(bytes.decode, process.stdout):
                if line.startswith("#"):
                    key, _, value = line[1:].partition(":")
                    facts[key] = value.strip()
                    continue
                fields = line.split(",")
                base = _ratio(facts["tb 0"])
                times.append(int(fields[2]) * base)
                duration = int(fields[3]) * base
                progress(len(times))
            process.wait()
            said = messages()
        if not times:
            raise InputError(f"{path} cannot be compared: {_why(said)}")
        sizes = _packets(packets.read_text("utf-8"), times)
        reduced_frames = np.fromfile(thumbs, np.uint8).reshape(-1, THUMB[0] * THUMB[1])
    width, height = (int(value) for value in facts["dimensions 0"].split("x"))
    shown = np.array(times)
    if len(shown) > 1 and not (np.diff(shown) > 0).all():
        raise InputError(f"{path} has frames whose times do not increase: write it anew by ffmpeg -i IN OUT")
    if duration <= 0 and len(shown) > 1:
        duration = float(np.median(np.diff(shown)))
    codec, pix_fmt, colours = _described(said)
    return Media(
        path=path,
        width=width,
        height=height,
        pix_fmt=pix_fmt,
        matrix=next((_MATRICES[c] for c in colours if c in _MATRICES), ""),
        hdr=next((_TRANSFERS[c] for c in colours if c in _TRANSFERS), ""),
        codec=codec,
        times=shown,
        packets=sizes,
        seconds=float(shown[-1] - shown[0] + duration),
        file_bytes=path.stat().st_size,
        thumbs=reduced_frames,
        complaints=tuple(_complaints(said)),
    )


@contextmanager
def started(command: list[str]) -> Iterator[tuple[subprocess.Popen[bytes], Callable[[], str]]]:
    """A program whose stdout is read, and what gives its messages; it is ended when the block is left."""
    with tempfile.TemporaryFile() as errors:

        def messages() -> str:
            errors.seek(0)
            return errors.read().decode(errors="replace")

        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=errors)
        try:
            yield process, messages
        finally:
            end(process)


def end(process: subprocess.Popen[bytes]) -> None:
    """Kill it when it runs, and close what it writes into."""
    if process.poll() is None:
        process.kill()
    if process.stdout is not None:
        process.stdout.close()
    process.wait()


def _ratio(text: str) -> float:
    above, _, below = text.partition("/")
    return int(above) / int(below)


def _packets(listing: str, times: list[float]) -> NDArray[np.float64]:
    """From framecrc: stream, dts, pts, duration, size, checksum, ..."""
    base, rows = 1.0, []
    for line in listing.splitlines():
        if line.startswith("#tb 0:"):
            base = _ratio(line.partition(":")[2].strip())
        elif line and not line.startswith("#"):
            fields = line.split(",")
            rows.append((int(fields[2]) * base, float(fields[4])))
    if any(time < _NO_TIME for time, _ in rows):  # a bare stream: its own order, at the times of its frames
        rows = [(times[min(n, len(times) - 1)], size) for n, (_, size) in enumerate(rows)]
    return np.array(sorted(rows, key=lambda row: row[0]) or [(0.0, 0.0)])


def _described(said: str) -> tuple[str, str, list[str]]:
    """Of ffmpeg's own description: the stream in words, pixel format and colours of the decoded frames."""
    source = re.search(r"Stream #(0:\d+) -> #1:0", said)
    number = re.escape(source[1]) if source else r"0:\d+"
    stream = re.search(rf"Stream #{number}.*?: Video: (.*)", said)
    words = stream[1] if stream else "unknown"
    needless = r" \(\S+ / 0x[0-9A-F]+\)| \(default\)| \[SAR [^\]]*\]|, [\d.]+k? tb[rn]"
    codec = re.sub(needless, "", words)
    decoded = re.search(r"Stream #1:0.*?: Video: rawvideo[^,]*, (\w+)(?:\(([^)]*)\))?", said)
    colours = re.split(r"[,/ ]+", decoded[2] or "") if decoded else []
    return codec.strip(), decoded[1] if decoded else "unknown", colours


def _complaints(said: str) -> list[str]:
    """Lines of what went wrong, without the addresses of objects."""
    lines = [line for line in said.splitlines() if re.search(r"\[(error|fatal)\]", line)]
    return [_plain(line) for line in lines]


def _plain(line: str) -> str:
    return re.sub(r"^(\[[^\]]*\] )+", "", line).strip()


def _why(said: str) -> str:
    if "matches no streams" in said:
        return "it has no video stream"
    if "Invalid data found" in said or "Unknown input format" in said:
        return "it is damaged, or no video that ffmpeg knows"
    complaints = [line for line in _complaints(said) if "Error opening" not in line]
    return complaints[-1] if complaints else "no frame of it decodes"
