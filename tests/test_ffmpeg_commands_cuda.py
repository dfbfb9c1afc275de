# SPDX-License-Identifier: BSD-2-Clause
"""The command lines for a GPU in docs/recipes.md, on the emulator of NVIDIA's driver.

It has neither NVDEC nor NVENC: the host decodes and encodes in their places. With the host's decoder only,
the lines run until NVENC's library is missing, which is when the first frame has come out of the filters.
"""

from __future__ import annotations

import re
import shlex
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

import filter_tools as tools
from filter_cuda_tools import counters, device, on_device
from recipe_tools import Made, make, make_clips, recipes

GPU = {heading: block for heading, block in recipes().items() if block.skip}
HWACCEL = "-hwaccel cuda -hwaccel_output_format cuda"
NO_ENCODER = "Cannot load libnvidia-encode.so.1"
FRAMES = 3

emulated = pytest.mark.skipif(
    device() == {}, reason="there is an NVIDIA driver: the lines are for people then"
)
lines = pytest.mark.parametrize("heading", GPU)


@pytest.fixture(scope="module")
def clips(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """As small as the emulator is slow."""
    large, folder = tmp_path_factory.mktemp("large"), tmp_path_factory.mktemp("small")
    make_clips(large)
    for name, coder in {"in.mp4": "libx264", "hdr.mkv": "libx265", "mask.mkv": "ffv1"}.items():
        before = "scale=64:48" if name == "mask.mkv" else "crop=64:48"
        make(folder, "-i", large / name, "-map", "0", "-vf", before, "-frames:v", str(FRAMES), "-c:v", coder,
             "-crf", "8", "-c:a", "copy", name)  # fmt: skip
    return folder


def words(heading: str) -> list[str]:
    """The line's words, without the program's name."""
    program, *rest = shlex.split(GPU[heading].text.replace("\\\n", " "))
    assert program == "ffmpeg"
    return rest


def depth(heading: str) -> str:
    return "p010le" if "10 bits" in heading else "nv12"


def decoded_on_host(heading: str) -> list[str]:
    """The line with frames that are uploaded before its filters, where NVDEC would have left them."""
    line = shlex.join(words(heading))
    if HWACCEL not in line:
        return words(heading)
    found = shlex.split(line.replace(HWACCEL, "-init_hw_device cuda=gpu -filter_hw_device gpu"))
    upload = f"format={depth(heading)},hwupload"
    for place, word in enumerate(found):
        if found[place - 1] == "-vf":
            found[place] = f"{upload},{word}"
        if found[place - 1] == "-filter_complex":
            found[place] = f"[0:v]{upload}[up];" + word.replace("[0:v]", "[up]")
    return found


def encoded_on_host(line: list[str], pix_fmt: str) -> list[str]:
    """The line with frames that come down behind its filters, and FFV1, which keeps each sample."""
    text = re.sub(r"-c:v \S+( -(preset|cq|crf|profile:v) \S+)*", "-c:v ffv1", shlex.join(line))
    found = shlex.split(re.sub(r"(?<!-i )\b(\w+)\.mp4", r"\1.mkv", text))
    download = f",hwdownload,format={pix_fmt}"
    for place, word in enumerate(found):
        if found[place - 1] == "-vf" and "hwdownload" not in word:
            found[place] += download
        if found[place - 1] == "-filter_complex":
            for end in (label for flag, label in pairwise(found) if flag == "-map"):
                found[place] = found[place].replace(end, download + end)
    return found


def all_on_host(line: list[str]) -> list[str]:
    """The same filters for frames in host memory."""
    text = re.sub(r"-init_hw_device \S+ -filter_hw_device \S+ ", "", shlex.join(line))
    return shlex.split(re.sub(r"[:=]backend=cuda|,?hwupload|,hwdownload", "", text))


def run_in(clips: Path, out: Path, line: list[str], check: bool, **environment: str) -> tools.Done:
    """Inputs from the one folder, outputs into the other."""
    folders = [(str(clips) if before == "-i" else str(out)) for before in ["", *line]]
    files = [
        f"{folder}/{word}" if word.endswith((".mp4", ".mkv")) else word
        for folder, word in zip(folders, line, strict=False)
    ]
    return tools.run("-v", "level+verbose", *files, check=check, **environment)


@emulated
@on_device
@lines
def test_a_line_for_a_gpu_runs_until_the_encoder_is_missing(
    heading: str, clips: Path, tmp_path: Path
) -> None:
    done = run_in(clips, tmp_path, decoded_on_host(heading), False, **(device() or {}))
    said = tools.said(done)
    assert tools.errors(done) == tools.warnings(done) == [], said
    has_nvenc = any(word.endswith("_nvenc") for word in words(heading))
    assert (NO_ENCODER in said) == has_nvenc == (done.returncode != 0), said


@emulated
@on_device
@lines
def test_a_line_for_a_gpu_gives_the_pictures_of_the_host(heading: str, clips: Path, tmp_path: Path) -> None:
    pix_fmt = depth(heading)
    whole = "yuv420p10le" if pix_fmt == "p010le" else "yuv420p"
    line = encoded_on_host(decoded_on_host(heading), pix_fmt)
    for name in ("device", "host"):
        (tmp_path / name).mkdir()
    done = run_in(clips, tmp_path / "device", line, True, **(device() or {}))
    run_in(clips, tmp_path / "host", all_on_host(line), True)
    if "mesh_inpaint" not in heading and "mask" not in heading:
        assert {count["copies_to_host"] for count in counters(done)} == {0}
    on_device, on_host = (Made(tmp_path / name, "") for name in ("device", "host"))
    outputs = sorted(path.name for path in (tmp_path / "device").iterdir())
    assert outputs
    for name in outputs:
        assert on_device.count(name) == FRAMES
        assert on_device.size(name) == on_host.size(name)
        a, b = (made.luma(name, whole).astype(int) for made in (on_device, on_host))
        assert np.sqrt(((a - b) ** 2).mean()) < (4 if pix_fmt == "p010le" else 1), name


@emulated
@on_device
def test_with_backend_cuda_it_is_an_error_when_the_gpu_does_not_decode(clips: Path, tmp_path: Path) -> None:
    """The emulator decodes nothing: ffmpeg goes on with frames in host memory."""
    line = words("Decoder, filters and encoder on the GPU")
    done = run_in(clips, tmp_path, line, False, **(device() or {}))
    (sentence,) = tools.errors(done)
    assert "hwupload" in sentence
    line = [word.replace(":backend=cuda", "") for word in line]
    done = run_in(clips, tmp_path, line, False, **(device() or {}))
    assert "pictures are in host memory" in tools.said(done)
    assert NO_ENCODER in tools.said(done)
