# SPDX-License-Identifier: BSD-2-Clause
"""What a prefilter does in time: bits of inter frames, skipped blocks and flicker on a still scene.

On a tripod's noisy scene nothing moves but the noise. An encoder spends its inter frames on noise above its
quantiser and skips the rest, so a good prefilter shows as fewer inter bits, more skipped blocks and less
flicker. For each encode:

inter_bits     bits of all packets that are no key frames
skipped        share of the inter frames' area that is skipped: by x264's summary (P and B weighted by their
               number), by x265's frame log; None for SVT-AV1, which does not tell
flicker        mean magnitude of the change of luma from one decoded frame to the next, in codes of 8 bit,
               where the clean scene does not change. Fan, Gao, Lu and Zhao (JVT-E070, 2002) compare decoded
               frames where the original stands still in this way; they square, we do not, so that the figure
               reads as codes. It knows nothing of what is visible.
fluctuation    root mean over the same samples of the variance in time, in codes: slow drift counts as well
psnr_source    luma PSNR against the source in dB, to see what the bits bought
psnr_clean     the same against the scene without noise

Both measures of what the encoder gets (``before``) tell what is the filter's work and what the encoder's.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from numpy.typing import NDArray

from clarivid.clips import encoder as program
from clarivid.errors import InputError, ToolError
from clarivid.ffmpeg.run import filter_clip
from clarivid.rd.encode import arguments, packets
from clarivid.rd.plan import PLAIN, Encoder, Variant
from clarivid.rd.prepare import read_pictures
from clarivid.rd.tools import QUIET, Stream, Tools, probe

SCHEMA = 1
STILL = (
    1.0  # codes: a sample of the clean scene that stays within this range over the whole clip stands still
)
# Two rates an encoder: what delivery uses, and one at which a plain encode still keeps some of the noise.
RATES: Mapping[str, tuple[float, ...]] = {"x264": (18, 23, 28), "x265": (20, 25, 30), "svtav1": (25, 35, 45)}
DEFAULT_ENCODERS = ("x264:medium", "x265:medium", "svtav1:8")
Luma = NDArray[np.uint8]


@dataclass(frozen=True)
class Flicker:
    """``flicker`` and ``fluctuation`` of the module's table, in codes of 8 bit."""

    flicker: float
    fluctuation: float


@dataclass(frozen=True)
class Row:
    """One encode of one variant; see the module's table."""

    encoder: str
    crf: float
    variant: str
    bits: int
    inter_bits: int
    skipped: float | None
    flicker: float
    fluctuation: float
    psnr_source: float
    psnr_clean: float


@dataclass(frozen=True)
class Report:
    """All rows, and ``before``: flicker of what the encoder gets, by variant."""

    clip: str
    frames: int
    still_share: float
    before: dict[str, Flicker]
    filters: dict[str, str]
    rows: list[Row]

    def to_dict(self) -> dict[str, Any]:
        """As a dictionary, for JSON."""
        return {"schema": SCHEMA, **asdict(self)}

    def relative(self, row: Row) -> dict[str, float]:
        """Changes of a row from the plain encode at the same rate: ``bits`` and ``inter_bits`` as shares
        (-0.1 is a tenth less), ``skipped`` in points, ``flicker`` as a share."""
        plain = next(r for r in self.rows if (r.encoder, r.crf, r.variant) == (row.encoder, row.crf, PLAIN))
        change = {
            key: getattr(row, key) / getattr(plain, key) - 1 if getattr(plain, key) else 0.0
            for key in ("bits", "inter_bits", "flicker")
        }
        if row.skipped is not None and plain.skipped is not None:
            change["skipped"] = row.skipped - plain.skipped
        return change


def check(
    name: str,
    source: Path,
    clean: Path | None,
    variants: Sequence[Variant],
    encoders: Sequence[Encoder],
    rates: Mapping[str, Sequence[float]] = RATES,
    frames: int | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Report:
    """Encode ``source`` plain and after each variant's filter, at each of ``rates`` of each encoder.

    :param clean: the scene without noise, frame by frame, which says where nothing changes; None when the
        camera and all that it sees stand still, so that every sample counts.
    :param variants: with ``filters``; the plain one is added.
    :param frames: at most so many.

    Raises :class:`InputError` when files do not fit or nothing stands still, :class:`ToolError`.
    """
    tools = Tools()
    plain = Variant(PLAIN)
    chosen = [plain, *(v for v in variants if v.name != PLAIN)]
    for variant in chosen[1:]:
        if not variant.filters:
            raise InputError(f"variant {variant.name} is no filter: only filters can be checked in time")
    stream = _stream(source, tools)
    total = len(chosen) + len(chosen) * sum(len(rates[e.name]) for e in encoders)
    done = 0

    def step() -> None:
        nonlocal done
        done += 1
        if progress:
            progress(done, total)

    with TemporaryDirectory(prefix="clarivid-temporal-") as work:
        folder = Path(work)
        reference = folder / "source.mkv"
        _cut(source, reference, frames, tools)
        originals = list(luma(reference, stream, tools))
        cleans = _clean(clean, stream, len(originals), tools) if clean else None
        mask = still_area(cleans) if cleans else np.ones((stream.height, stream.width), bool)
        share = float(mask.mean())
        if share < 0.01:
            raise InputError(f"{name} moves everywhere: flicker needs a scene with areas that stand still")
        before, files, rows = {}, {}, []
        for variant in chosen:
            files[variant.name] = path = reference if variant is plain else folder / f"{variant.name}.mkv"
            if variant is not plain:
                filter_clip(reference, f"{variant.filters},format=yuv420p", path)
            pictures = list(luma(path, stream, tools))
            if len(pictures) != len(originals):
                raise InputError(f"{variant.name} gives {len(pictures)} frames for {len(originals)}")
            before[variant.name] = flicker(pictures, mask)
            step()
        for encoder in encoders:
            for rate in rates[encoder.name]:
                for variant in chosen:
                    out = folder / "out.mkv"
                    skipped = _encode(files[variant.name], encoder, rate, out, tools)
                    pictures = list(luma(out, stream, tools))
                    coded = packets(out, tools)
                    if not len(pictures) == len(coded) == len(originals):
                        raise ToolError(f"{encoder.label} wrote {len(coded)} of {len(originals)} frames")
                    shown = flicker(pictures, mask)
                    rows.append(
                        Row(
                            encoder.label,
                            rate,
                            variant.name,
                            8 * sum(packet.size for packet in coded),
                            8 * sum(packet.size for packet in coded if not packet.key),
                            skipped,
                            shown.flicker,
                            shown.fluctuation,
                            psnr(pictures, originals),
                            psnr(pictures, cleans or originals),
                        )
                    )
                    step()
    described = {v.name: v.filters for v in chosen}
    return Report(name, len(originals), share, before, described, rows)


# ------------------------------------------------------------------------------------------- measures


def still_area(clean: Sequence[Luma]) -> NDArray[np.bool_]:
    """Samples of the clean scene that stay within :data:`STILL` over the whole clip, [H, W]."""
    stack = np.stack(clean)
    still: NDArray[np.bool_] = stack.max(0).astype(np.int16) - stack.min(0) <= STILL
    return still


def flicker(pictures: Sequence[Luma], mask: NDArray[np.bool_]) -> Flicker:
    """Both measures where ``mask`` is set. One picture does not flicker."""
    if len(pictures) < 2:
        return Flicker(0.0, 0.0)
    samples = np.stack([picture[mask] for picture in pictures]).astype(np.float32)
    change = float(np.abs(np.diff(samples, axis=0)).mean())
    return Flicker(change, float(np.sqrt(samples.var(axis=0, dtype=np.float64).mean())))


def psnr(pictures: Sequence[Luma], reference: Sequence[Luma]) -> float:
    """PSNR over all frames in dB, at most 100."""
    errors = [
        np.square(a.astype(np.float32) - b).mean(dtype=np.float64)
        for a, b in zip(pictures, reference, strict=True)
    ]
    return float(min(100.0, 10 * np.log10(255**2 / max(float(np.mean(errors)), 1e-12))))


# -------------------------------------------------------------------------------------------- encodes


def _encode(source: Path, encoder: Encoder, rate: float, out: Path, tools: Tools) -> float | None:
    """Encode as ``clarivid rd`` does; the share of skipped blocks in inter frames."""
    options = arguments(encoder, "crf", rate)
    log = out.with_name("x265.csv")
    log.unlink(missing_ok=True)
    if encoder.name == "x265":
        options[-1] += f":csv={log.name}:csv-log-level=2"
    level = "info" if encoder.name == "x264" else "error"
    command = [program(), *QUIET, "-loglevel", level, "-threads", "1", "-i", str(source), "-map", "0:v:0"]
    command += ["-fps_mode", "passthrough", *options, str(out)]
    _, said = tools.run(command, f"{encoder.label} failed at CRF {rate:g}", cwd=out.parent)
    if encoder.name == "x264":
        return x264_skipped(said)
    return x265_skipped(log.read_text("utf-8")) if encoder.name == "x265" else None


def x264_skipped(log: str) -> float | None:
    """Share of skipped macroblocks in P and B frames from x264's summary; None without inter frames."""
    total = weight = 0.0
    for kind in "PB":
        count = re.search(rf"frame {kind}:(\d+)", log)
        share = re.search(rf"mb {kind} .*skip:\s*([\d.]+)%", log)
        if count and share:
            total += int(count[1]) * float(share[1]) / 100
            weight += int(count[1])
    return total / weight if weight else None


def x265_skipped(log: str) -> float | None:
    """Share of the area of P and B frames in skipped coding units, from x265's frame log (CSV, level 2).

    The log has the number of units of each kind and size as shares of all units, whatever their size, and
    sorts skipped ones under "Skip" or "Merge" (frameencoder.cpp, collectCTUStatistics). Most names come once
    more further right, for prediction units: the first ones count.
    """
    head, *lines = csv.reader(log.splitlines())
    names = [name.strip() for name in head]
    units: dict[int, tuple[bool, int]] = {}  # column -> skipped or not, area
    for column, name in enumerate(names):
        kind = re.fullmatch(r"(Intra|Inter|Skip|Merge) (\d+)x\2( DC| Planar| Ang)?", name)
        if kind and (kind[3] or kind[1] != "Intra") and names.index(name) == column:
            units[column] = kind[1] in ("Skip", "Merge"), int(kind[2]) ** 2
        elif name == "4x4" and names.index(name) == column:  # units of 8x8 with four intra predictions
            units[column] = False, 64
    frame, shares = names.index("Type"), []
    for line in lines:
        if len(line) <= max(units) or line[frame].strip()[:1] not in "PBb":
            continue
        areas = {
            column: float(line[column].strip().rstrip("%")) * area for column, (_, area) in units.items()
        }
        shares.append(sum(areas[c] for c, (skipped, _) in units.items() if skipped) / sum(areas.values()))
    return float(np.mean(shares)) if shares else None


def luma(path: Path, stream: Stream, tools: Tools) -> Iterator[Luma]:
    """Luma of each decoded frame, [H, W] of 8 bit."""
    command = [program(), *QUIET, "-i", str(path), "-map", "0:v:0", "-fps_mode", "passthrough"]
    command += ["-f", "rawvideo", "-pix_fmt", "yuv420p", "-"]
    with tools.reading(command) as pipe:
        for picture in read_pictures(pipe, stream.width, stream.height, "yuv420p"):
            yield picture[0]


def _stream(path: Path, tools: Tools) -> Stream:
    stream = probe(path, tools)
    if stream.width % 2 or stream.height % 2:
        raise InputError(f"{path} has {stream.width}x{stream.height} samples: encoders take even sizes")
    return stream


def _cut(source: Path, out: Path, frames: int | None, tools: Tools) -> None:
    """The source's first frames, lossless, 8 bit 4:2:0."""
    limit = [] if frames is None else ["-frames:v", str(frames)]
    command = [program(), *QUIET, "-i", str(source), "-map", "0:v:0", "-an", "-fps_mode", "passthrough"]
    command += ["-vf", "format=yuv420p", *limit, "-c:v", "ffv1", str(out)]
    tools.run(command, f"cannot decode {source.name}")


def _clean(path: Path, stream: Stream, frames: int, tools: Tools) -> list[Luma]:
    """The scene's first frames. Raises :class:`InputError` when size or length differ."""
    found = probe(path, tools)
    if (found.width, found.height) != (stream.width, stream.height):
        raise InputError(
            f"{path.name} has {found.width}x{found.height} samples, "
            f"the noisy clip {stream.width}x{stream.height}"
        )
    pictures = list(luma(path, stream, tools))[:frames]
    if len(pictures) < frames:
        raise InputError(f"{path.name} has {len(pictures)} frames, the noisy clip {frames}")
    return pictures
