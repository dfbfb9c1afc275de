# SPDX-License-Identifier: BSD-2-Clause
"""Masks of what moves before a fixed camera: who walks is covered, what stands or only shimmers is not."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from clarivid import masks
from clarivid.clips import encoder
from clarivid.errors import InputError
from clarivid.mask_video import _rate, write_masks
from clarivid.masks import Background, MovingMasks, MovingOptions, dilate, erode, iou, moving_mask
from conftest import Run

H, W, N = 120, 160, 40
Clip = NDArray[np.uint8]


def scene(seed: int = 0) -> NDArray[np.float64]:
    """A room with structure, [H,W,3], Y'CbCr."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[0:H, 0:W]
    luma = (
        110 + 30 * np.sin(x / 7) * np.cos(y / 9) + 25 * ((x // 20 + y // 20) % 2) + rng.normal(0, 4, (H, W))
    )
    return np.stack([luma, 120 + 6 * np.sin(y / 15), 134 + 6 * np.cos(x / 19)], -1)


def walk(noise: float = 2.0, drift: float = 0.0, blink: int = -1) -> tuple[Clip, NDArray[np.bool_]]:
    """A figure of 12x30 that crosses the room, 4 samples a frame; ``drift`` dims the light by so many codes
    over the clip; ``blink`` is a frame with a flash in a corner. Frames and where the figure is."""
    rng = np.random.default_rng(1)
    room, frames, truth = scene(), [], []
    for t in range(N):
        where = np.zeros((H, W), bool)
        where[50:80, max(0, 4 * t - 8) : max(0, 4 * t + 4)] = True
        picture = room.copy()
        picture[where] = (60 + 8 * np.sin(np.arange(where.sum())))[:, None] * [1, 0, 0] + [0, 140, 118]
        if t == blink:
            picture[5:25, 100:120, 0] += 60
        picture[..., 0] -= drift * t / N
        picture += rng.normal(0, noise, picture.shape)
        frames.append(np.clip(picture + 0.5, 0, 255).astype(np.uint8))
        truth.append(where)
    return np.stack(frames), np.stack(truth)


def video(path: Path, frames: Clip, rate: str = "30000/1001") -> Path:
    """A clip of Y'CbCr pictures, FFV1."""
    command = [encoder(), "-loglevel", "error", "-y", "-f", "rawvideo", "-pix_fmt", "yuv444p"]
    command += ["-s", f"{W}x{H}", "-r", rate, "-i", "-", "-pix_fmt", "yuv420p", "-c:v", "ffv1", str(path)]
    subprocess.run(command, input=frames.transpose(0, 3, 1, 2).tobytes(), check=True)
    return path


def grey(path: Path) -> Clip:
    command = [encoder(), "-loglevel", "error", "-i", str(path), "-f", "rawvideo", "-pix_fmt", "gray", "-"]
    data = subprocess.run(command, capture_output=True, check=True).stdout
    return np.frombuffer(data, np.uint8).reshape(-1, H, W)


@pytest.mark.parametrize("drift", [0.0, 30.0])
def test_who_walks_is_covered_and_nothing_else(drift: float) -> None:
    frames, truth = walk(drift=drift)
    found = np.stack(moving_mask(frames))
    assert len(found) == N
    assert (found & truth).sum() > 0.98 * truth.sum()
    grown = np.stack([dilate(mask, 7) for mask in truth])
    assert not (found & ~grown).any()


def test_an_empty_room_gives_empty_masks() -> None:
    rng = np.random.default_rng(3)
    frames = np.clip(scene()[None] + rng.normal(0, 5, (20, H, W, 3)), 0, 255).astype(np.uint8)
    assert not np.any(moving_mask(frames))


def test_a_flash_of_one_frame_is_no_mask() -> None:
    frames, _ = walk(blink=20)
    assert not moving_mask(frames)[20][5:25, 100:120].any()


def test_what_is_missing_in_one_frame_is_closed() -> None:
    class Blinking(MovingMasks):
        def _blobs(self, difference: NDArray[np.float32]) -> masks.Mask:
            here = np.zeros(difference.shape, bool)
            here[10:30, 10:30] = self.count != 2
            self.count += 1
            return here

        count = 0

    frames, _ = walk()
    blinking = Blinking(Background.of(frames))
    found = [
        mask for mask in (*(blinking.push(f) for f in frames[:5]), blinking.finish()) if mask is not None
    ]
    assert [bool(mask[20, 20]) for mask in found] == [True] * 5


def test_streaming_gives_what_the_whole_clip_gives() -> None:
    frames, _ = walk()
    background = Background.of(frames)
    stream = MovingMasks(background)
    first = stream.push(frames[0])
    assert first is None
    late = [stream.push(frame) for frame in frames[1:]]
    found = np.stack([*(mask for mask in late if mask is not None), stream.finish()])
    assert np.array_equal(found, np.stack(moving_mask(frames, background=background)))


def test_more_sensitivity_finds_fainter_things() -> None:
    frames, truth = walk()
    noise = np.random.default_rng(2).normal(0, 1.5, frames.shape)
    shown = scene()[None] + 0.25 * (frames - scene()[None]) + noise
    faint = np.asarray(np.clip(shown, 0, 255), np.uint8)
    less, more = (np.stack(moving_mask(faint, MovingOptions(sensitivity=s))) & truth for s in (0.7, 2.0))
    assert less.sum() < more.sum()
    assert more.sum() > 0.8 * truth.sum()


def test_holes_of_a_body_are_filled_and_specks_are_dropped() -> None:
    frames, _ = walk()
    background = Background.of(frames)
    picture = background.median.copy()
    picture[40:80, 40:80, 0] += 80
    picture[55:62, 55:62] = background.median[55:62, 55:62]
    picture[100, 100, 0] += 90
    mask = moving_mask([np.clip(picture, 0, 255).astype(np.uint8)], background=background)[0]
    assert mask[40:80, 40:80].all()
    assert not mask[95:106, 95:106].any()


def test_morphology_is_that_of_a_square() -> None:
    rng = np.random.default_rng(5)
    mask = rng.random((40, 50)) < 0.1
    for radius in (0, 1, 2, 5):
        padded = np.pad(mask, radius)
        window = (2 * radius + 1, 2 * radius + 1)
        wanted = np.lib.stride_tricks.sliding_window_view(padded, window).any((2, 3))
        assert np.array_equal(dilate(mask, radius), wanted)
        assert np.array_equal(erode(~mask, radius), ~wanted)


def test_connected_parts_are_told_apart() -> None:
    mask = np.zeros((30, 40), bool)
    mask[2:10, 2:4] = mask[2:4, 2:12] = mask[2:10, 10:12] = True  # an arch, two legs of one part
    mask[10, 12] = True  # touches it at a corner
    mask[20:24, 39] = mask[20, 0:3] = True  # ends of rows that follow each other do not touch
    marked = np.zeros_like(mask)
    marked[9, 2] = True
    arch = masks._select(mask, marked, 0, 1)
    assert arch.sum() == mask[:15].sum()
    assert arch[10, 12]
    assert masks._select(mask, None, 4, 0)[20:24, 39].all()
    assert not masks._select(mask, None, 4, 0)[20, :3].any()
    assert not masks._select(np.zeros_like(mask), None, 0, 0).any()


@pytest.mark.parametrize(
    ("call", "says"),
    [
        (lambda: Background.of([np.zeros((4, 4), np.uint8)] * 4), "5 frames or more"),
        (lambda: Background.of([*[np.zeros((4, 4), np.uint8)] * 4, np.zeros((4, 5), np.uint8)]), "one size"),
        (lambda: moving_mask(np.zeros((9, 4, 4), np.float32)), "uint8"),
        (lambda: MovingOptions(grow=-1), "grow=-1"),
        (lambda: MovingOptions(sensitivity=float("nan")), "sensitivity=nan"),
        (lambda: MovingMasks(Background.of(np.zeros((5, 4, 4), np.uint8))).finish(), "no frame"),
        (
            lambda: MovingMasks(Background.of(np.zeros((5, 4, 4), np.uint8))).push(
                np.zeros((4, 5), np.uint8)
            ),
            "does not fit",
        ),
    ],
)
def test_misuse_is_an_error_with_a_sentence(call: object, says: str) -> None:
    assert callable(call)
    with pytest.raises(InputError, match=says):
        call()


# ---- files


def test_mask_video_has_size_length_and_rate_of_its_source(tmp_path: Path, clarivid: Run) -> None:
    frames, truth = walk()
    source = video(tmp_path / "walk.mkv", frames)
    done = clarivid("mask", str(source), str(tmp_path / "mask.mkv"), "--json")
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout)
    assert result["frames"] == N
    found = grey(tmp_path / "mask.mkv")
    assert found.shape == (N, H, W)
    assert set(np.unique(found)) == {0, 255}
    assert ((found == 255) & truth).sum() > 0.97 * truth.sum()
    probed = subprocess.run(
        [encoder(), "-i", str(tmp_path / "mask.mkv")], capture_output=True, text=True, check=False
    )
    assert "29.97 fps" in probed.stderr
    assert "ffv1" in probed.stderr


def test_people_are_masked_in_a_file(tmp_path: Path) -> None:
    pytest.importorskip("onnx")
    from clarivid.export import segment

    person = segment.probe(H, W)[0]
    luma = np.tensordot([0.299, 0.587, 0.114], person, 1)
    planes = [16 + 219 * luma, 128 + 224 * (person[2] - luma) / 1.772, 128 + 224 * (person[0] - luma) / 1.402]
    frame = np.stack(planes, -1).astype(np.uint8)
    source = video(tmp_path / "talk.mkv", np.stack([frame] * 3))
    made = write_masks(source, tmp_path / "mask.mkv", "person")
    assert (made.frames, made.empty) == (3, 0)
    found = grey(tmp_path / "mask.mkv") == 255
    assert found[:, 45:55, 75:85].all()
    assert not found[:, :, :25].any()


def test_errors_of_files_are_sentences_and_leave_nothing_behind(tmp_path: Path, clarivid: Run) -> None:
    frames, _ = walk()
    source = video(tmp_path / "short.mkv", frames[:3])
    cases = {
        (str(tmp_path / "none.mkv"), "out.mkv"): "does not exist",
        (str(source), "out.mkv"): "5 frames or more, there are 3",
        (str(source), "out.mp4"): ".mkv",
    }
    before = {p.name for p in tmp_path.iterdir()}
    for (given, out), says in cases.items():
        done = clarivid("mask", given, str(tmp_path / out))
        assert done.returncode == 1
        assert says in done.stderr
        assert done.stderr.count("\n") == 1
    assert {p.name for p in tmp_path.iterdir()} == before


def test_help_teaches(clarivid: Run) -> None:
    text = clarivid("mask", "--help").stdout
    for word in ("camera", "mesh_inpaint", "segment_person_far", "Examples"):
        assert word in text


@pytest.mark.parametrize(
    ("fps", "rate"), [(29.97, "30000/1001"), (23.98, "24000/1001"), (25.0, "25"), (12.5, "25/2")]
)
def test_rates_are_exact_again(fps: float, rate: str) -> None:
    assert _rate(fps) == rate


def test_iou_counts_all_frames() -> None:
    one, two = np.zeros((2, 2), bool), np.ones((2, 2), bool)
    assert iou([one, two], [one, two]) == 1
    assert iou([one], [one]) == 1
    assert iou([one, two], [two, two]) == 0.5
