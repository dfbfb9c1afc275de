# SPDX-License-Identifier: BSD-2-Clause
"""Why ffmpeg failed, in a sentence, with ffmpeg's own last lines below."""

from __future__ import annotations

import functools
import re
import shutil
import signal
from pathlib import Path

from clarivid.chains.chain import Chain
from clarivid.chains.probe import Input, ask
from clarivid.chains.process import Ended, Log
from clarivid.errors import Error, InputError, ToolError
from clarivid.options import FILTERS, near

_QUOTED = 6  # lines that an error shows
# What demuxers and decoders say of a file that was cut off or is damaged.
_DAMAGED = (
    r"File ended prematurely|partial file|[Pp]acket corrupt|corrupt input packet|Error during demuxing|"
    r"corrupt decoded frame|Error splitting the input|Error submitting packet to decoder|"
    r"Error processing packet in decoder|Decoding error"
)
_CUT = ("File ended prematurely", "partial file")
# Filters that leave each frame's time as it is: after them a result is as long as its source.
_TIMELESS = FILTERS.keys() | set(
    re.findall(
        r"\w+",
        "null format scale crop pad setsar setdar transpose hflip vflip hue eq unsharp hqdn3d nlmeans gblur "
        "drawbox drawtext curves colorspace zscale hwupload hwdownload hwupload_cuda scale_cuda fade boxblur "
        "cas deband noise lut lut3d colorbalance vignette realtime",
    )
)


def failure(ended: Ended, chain: Chain, source: Input, out: Path, program: Path, codec: str) -> Error:
    """The error of a run that ended with a code that is not 0."""
    log = ended.log
    at = f" (about {ended.progress.seconds:.1f} s in)" if ended.progress.seconds else ""
    end = f"ended with code {ended.code}" if ended.code >= 0 else f"was ended by {_signal(-ended.code)}"
    tail = f"ffmpeg {end} on {source.path}; it said:\n  {_quote(log)}"
    if log.find("No space left on device|Disk quota exceeded"):
        free = shutil.disk_usage(out.parent).free >> 20
        return ToolError(f"no space is left for {out}: {free} MiB are free in {out.parent}; {tail}")
    if lead := _about_chain(log, chain, program):
        return ToolError(f"{lead}; {tail}")
    if found := log.find(r"no decoder found for: (\S+)"):
        return ToolError(
            f"this ffmpeg has no decoder for {found[1]}, which {source.path} is in: 'clarivid ffmpeg build "
            f"--full' makes one that has all; {tail}"
        )
    if found := log.find(r"Unknown encoder '([^']*)'"):
        return ToolError(
            f"this ffmpeg has no encoder '{found[1]}'{near(found[1], _encoders(program))}; {tail}"
        )
    if found := log.find(r"Unrecognized option '([^']*)'"):
        option = found[1].partition(":")[0]
        return ToolError(f"the encoder {codec} has no option '{option}'; {tail}")
    if log.find("Unable to choose an output format"):
        return InputError(f"{out.suffix} is no container that ffmpeg knows: write .mp4, .mov, .mkv or .webm")
    if found := log.find(
        r"Could not find tag for codec (\S+) in stream|codec not currently supported in container|"
        r"Could not write header"
    ):
        what = found[1] or "one of the streams"
        return ToolError(
            f"{out.suffix} does not hold {what}: write another container (.mkv), or encode otherwise "
            f"(video_codec, audio='aac'; --video-codec, --audio aac); {tail}"
        )
    if log.find(_DAMAGED):
        return InputError(
            f"{source.path} is damaged or ends in the middle{at}: nothing was written; with damaged='accept' "
            f"(--damaged accept) what can be read is; {tail}"
        )
    return ToolError(tail)


def _signal(number: int) -> str:
    try:
        name = signal.Signals(number).name
    except ValueError:
        name = f"signal {number}"
    return f"{name} (out of memory?)" if name == "SIGKILL" else name


def shortness(ended: Ended, source: Input, filters: tuple[str, ...]) -> str | None:
    """Of a run that ended well: a sentence when the source ended before its time, None when it did not."""
    written = ended.progress.seconds
    said = ended.log.find(_DAMAGED)
    wanted = source.picture_seconds
    is_short = _TIMELESS.issuperset(filters) and wanted > 0 and written < wanted - max(0.5, 0.02 * wanted)
    if not said and not is_short:
        return None
    told = f" of {wanted:.1f} s" if wanted else ""
    what = (
        "ends in the middle" if is_short or (said and said[0] in _CUT) else "is damaged or ends in the middle"
    )
    return f"{source.path} {what}: {written:.1f} s{told} ({ended.progress.frames} frames) came of it"


def _about_chain(log: Log, chain: Chain, program: Path) -> str | None:
    """What the chain has done wrong."""
    if found := log.find(r"No such filter: '([^']*)'"):
        return f"this ffmpeg has no filter '{found[1]}'{near(found[1], filter_names(program))}"
    if found := log.find(r"Error applying option '([^']*)' to filter '([^']*)': Option not found"):
        option, name = found[1], found[2].partition("@")[0]
        return f"the filter {name} has no option '{option}'{near(option, option_names(program, name))}"
    if found := log.find(
        r"Impossible to convert between the formats supported by the filter '([^']*)' "
        r"and the filter '([^']*)'"
    ):
        before, after = _joint(chain, found[1], found[2])
        return (
            f"{before} gives frames that {after} does not take: one has them in GPU memory and the other in "
            "host memory (put hwdownload,format=nv12 or format=nv12,hwupload between them), or a format= "
            "leaves none that both have"
        )
    if log.find("Error parsing a filter description"):
        known = filter_names(program)
        strange = next((one.kind for one in chain.filters if known and one.kind not in known), None)
        if strange:  # given values without names, ffmpeg complains of these instead
            return f"this ffmpeg has no filter '{strange}'{near(strange, known)}"
    if log.find(r"Cannot load libcuda|Device creation failed|No device available for decoder"):
        return "this machine has no GPU that CUDA can use ('clarivid doctor' says more): run without hwaccel"
    return None


def _joint(chain: Chain, before: str, after: str) -> tuple[str, str]:
    """What stands before and behind a place where formats do not meet.

    ffmpeg names the instances, ``Parsed_hue_1`` for the filter 1 of the chain; ``auto_scale_0`` is a
    conversion that it has put in itself.
    """
    names = ["the decoder", *(one.name for one in chain.filters), "the encoder"]
    places = [re.fullmatch(r"Parsed_.+_(\d+)", name) for name in (before, after)]
    if places[0]:
        first = int(places[0][1]) + 1
    elif places[1]:
        first = int(places[1][1])
    else:
        first = 0
    return tuple(names[first : first + 2]) if first + 1 < len(names) else (before, after)  # type: ignore[return-value]


def _quote(log: Log) -> str:
    """Our filters' own lines first, since ffmpeg's last ones only repeat that something did."""
    ours = [line for line in log.problems if re.match(rf"\[(Parsed_)?({'|'.join(FILTERS)})", line)]
    others = [line for line in log.problems if line not in ours] or list(log.warnings)[-2:]
    lines = [*ours[-2:], *others[-_QUOTED:]]
    return "\n  ".join(lines) or "it gave no reason"


def conversions(log: Log) -> list[str]:
    """What ffmpeg converted between filters without being told to."""
    found = []
    for line in log.rest:
        match = re.search(r"\[auto_scale_\d+\] w:\d+ h:\d+ fmt:(\w+) .* -> w:\d+ h:\d+ fmt:(\w+)", line)
        if match and match[1] != match[2]:
            found.append(f"ffmpeg converted frames from {match[1]} to {match[2]}")
    return list(dict.fromkeys(found))


@functools.lru_cache(maxsize=8)
def filter_names(program: Path) -> tuple[str, ...]:
    """All filters of an ffmpeg; none when it does not say."""
    return tuple(re.findall(r"^ [T.][S.][C.]? +(\w+) +\S+->", _ask(program, "-filters"), re.MULTILINE))


@functools.lru_cache(maxsize=64)
def option_names(program: Path, name: str) -> tuple[str, ...]:
    """All options of one of its filters."""
    return tuple(re.findall(r"^  {1,3}([\w-]+) +<\w+>", _ask(program, "-h", f"filter={name}"), re.MULTILINE))


@functools.lru_cache(maxsize=8)
def _encoders(program: Path) -> tuple[str, ...]:
    return tuple(re.findall(r"^ [VAS][\w.]{5} (\w+) ", _ask(program, "-encoders"), re.MULTILINE))


def _ask(program: Path, *question: str) -> str:
    try:
        return ask(program, "-hide_banner", *question).stdout
    except OSError:
        return ""


__all__ = ["conversions", "failure", "filter_names", "option_names", "shortness"]
