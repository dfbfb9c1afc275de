# SPDX-License-Identifier: BSD-2-Clause
"""What mesh_inpaint promises beside test_filters.py: masks, the background behind them, time, and bad input.

The scene is a box that moves over a background that stands still, so that what is behind it is known.
"""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import subprocess
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import filter_tools as tools
from clarivid import Inpainter
from inpaint_models import PAINTED, bright_bundle, inpaint_bundle
from mesh_tools import (
    CHROMA,
    FORMATS,
    FRAMES,
    HEIGHT,
    KIND,
    REVEALED,
    SIZE,
    WIDTH,
    Scene,
    covered,
    inpainted,
    luma,
    moving_box,
    options_of,
    packed,
    pictures,
    raw,
    still,
    texture,
)
from test_filters_bad_input import refused


@pytest.fixture(scope="module")
def scene() -> Scene:
    """A box that moves over a background that stands still."""
    return moving_box()


@pytest.fixture(scope="module")
def mask_file(scene: Scene, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return scene.write_masks(tmp_path_factory.mktemp("masks") / "masks.gray")


@pytest.fixture(scope="module")
def plain(scene: Scene, mask_file: Path) -> list[bytes]:
    """The scene as the filter leaves it, with every default but the net."""
    return pictures(inpainted(scene.frames, [*raw(pix_fmt="gray"), mask_file]))


def test_what_was_seen_before_is_behind_the_box_to_the_sample(scene: Scene, plain: list[bytes]) -> None:
    assert len(plain) == FRAMES
    for number in range(REVEALED, FRAMES):
        assert plain[number] == scene.truth[number], number


def test_nothing_is_touched_outside_the_grown_mask(scene: Scene, plain: list[bytes]) -> None:
    for number, (before, after) in enumerate(zip(scene.frames, plain, strict=True)):
        outside = ~scene.grown(number)
        assert np.array_equal(luma(before)[outside], luma(after)[outside]), number
        # A chroma sample may change when one of its four luma samples may.
        free = outside.reshape(HEIGHT // 2, 2, WIDTH // 2, 2).all((1, 3))
        for a, b in zip(
            *(tools.planes(f, WIDTH, HEIGHT, "yuv420p")[1:] for f in (before, after)), strict=True
        ):
            assert np.array_equal(a[free], b[free]), number


def test_the_object_is_gone_from_the_first_frame_on(scene: Scene, plain: list[bytes]) -> None:
    inside = scene.masks[0] > 0
    assert np.abs(luma(plain[0])[inside].astype(int) - 235).min() > 20


def test_lookahead_shows_the_true_background_from_the_first_frame_on(scene: Scene, mask_file: Path) -> None:
    done = inpainted(scene.frames, [*raw(pix_fmt="gray"), mask_file], lookahead=REVEALED)
    assert pictures(done) == scene.truth


@pytest.mark.parametrize("pix_fmt", FORMATS)
def test_every_format_keeps_the_background_to_the_sample(scene: Scene, mask_file: Path, pix_fmt: str) -> None:
    form = f"format={pix_fmt}"
    done = inpainted(scene.frames, [*raw(pix_fmt="gray"), mask_file], before=form, after=form)
    wanted = tools.run(*raw(), "-", "-vf", form, "-f", "rawvideo", "-", stdin=b"".join(scene.truth)).stdout
    expected = tools.frames(wanted, WIDTH, HEIGHT, pix_fmt)
    places = 6 if pix_fmt == "p010le" else 0  # a converter may leave something below the ten bits
    for number in range(REVEALED, FRAMES):
        pair = (tools.planes(f[number], WIDTH, HEIGHT, pix_fmt) for f in (pictures(done, pix_fmt), expected))
        for plane, wanted_plane in zip(*pair, strict=True):
            assert np.array_equal(plane >> places, wanted_plane >> places), number


@pytest.mark.parametrize("pix_fmt", FORMATS)
@pytest.mark.parametrize("size", ["97x65", "64x48"])
def test_odd_sizes_are_filled_to_the_last_sample(pix_fmt: str, size: str) -> None:
    # The last picture of three is covered in its corner; the two before have shown what is there.
    width, height = map(int, size.split("x"))
    crop = f"crop={width}:{height}:exact=1"
    source = tools.pattern(width, height, pix_fmt).replace("N*5", "0").replace("d=0.2", "d=0.3")
    before = tools.filtered(source, crop, pix_fmt=pix_fmt)
    chain = options_of(rect=f"{width - 20}|{height - 20}|20|20", enable="'gte(t,0.2)'", mesh="1x1")
    assert tools.filtered(source, f"{crop},{chain}", pix_fmt=pix_fmt) == before


def test_two_runs_and_any_number_of_threads_give_the_same_bytes(
    scene: Scene, mask_file: Path, plain: list[bytes]
) -> None:
    for threads in (1, 3):
        done = inpainted(scene.frames, [*raw(pix_fmt="gray"), mask_file], threads=threads)
        assert pictures(done) == plain, threads


# --- masks from a second input ---


@pytest.mark.parametrize(
    "chain",
    [
        "format=yuv420p,setparams=range=tv",
        "scale=out_range=tv,format=yuv420p,setparams=range=tv",
        "format=gray10le",
        "format=yuv444p",
        "format=rgb24",
    ],
)
def test_a_mask_of_any_format_and_range_means_the_same(
    scene: Scene, mask_file: Path, plain: list[bytes], tmp_path: Path, chain: str
) -> None:
    coded = tmp_path / "mask.mkv"
    tools.run(*raw(pix_fmt="gray"), mask_file, "-vf", chain, "-c:v", "ffv1", coded)
    assert pictures(inpainted(scene.frames, ["-i", coded])) == plain


def test_a_mask_of_another_size_is_stretched_over_the_picture(
    scene: Scene, plain: list[bytes], tmp_path: Path
) -> None:
    small = tmp_path / "small.gray"
    small.write_bytes(b"".join(mask[::4, ::4].tobytes() for mask in scene.masks))
    done = inpainted(scene.frames, [*raw(f"{WIDTH // 4}x{HEIGHT // 4}", "gray"), small])
    assert pictures(done) == plain


def test_a_mask_of_another_rate_is_the_one_that_is_valid_at_a_frames_time(
    scene: Scene, tmp_path: Path
) -> None:
    slow = scene.write_masks(tmp_path / "slow.gray", 2)
    held = tmp_path / "held.gray"
    held.write_bytes(b"".join(scene.masks[number // 2 * 2].tobytes() for number in range(FRAMES)))
    twice = inpainted(scene.frames, [*raw(pix_fmt="gray"), held])
    assert pictures(inpainted(scene.frames, [*raw(pix_fmt="gray", rate="5"), slow])) == pictures(twice)


def test_a_mask_of_a_higher_rate_is_looked_up_too(scene: Scene, plain: list[bytes], tmp_path: Path) -> None:
    fast = tmp_path / "fast.gray"
    nothing = np.zeros((HEIGHT, WIDTH), np.uint8).tobytes()
    fast.write_bytes(b"".join(mask.tobytes() + 2 * nothing for mask in scene.masks))
    assert pictures(inpainted(scene.frames, [*raw(pix_fmt="gray", rate="30"), fast])) == plain


def test_a_mask_that_ends_early_is_held(scene: Scene, tmp_path: Path) -> None:
    one = Scene([], [], scene.masks[:1]).write_masks(tmp_path / "one.gray")
    done = inpainted(still(scene), [*raw(pix_fmt="gray"), one])
    assert covered(pictures(done)) == [True] * FRAMES


@pytest.mark.parametrize(
    ("option", "frames", "gone"),
    [
        ("eof_action=pass", FRAMES, 3),
        ("repeatlast=0", FRAMES, 3),
        ("shortest=1", 3, 3),
        ("eof_action=endall", 3, 3),
    ],
)
@pytest.mark.parametrize("lookahead", [0, 2])
def test_what_happens_after_a_masks_end_can_be_chosen(
    scene: Scene, tmp_path: Path, option: str, frames: int, gone: int, lookahead: int
) -> None:
    three = Scene([], [], scene.masks[:1] * 3).write_masks(tmp_path / "three.gray")
    name, value = option.split("=")
    done = inpainted(still(scene), [*raw(pix_fmt="gray"), three], lookahead=lookahead, **{name: value})
    out = pictures(done)
    assert len(out) == frames
    assert out[gone:] == still(scene)[gone:frames]
    if lookahead == 0:  # else the frames after the mask's end show the box as background
        assert covered(out) == [True] * gone + [False] * (frames - gone)


def test_a_mask_that_is_longer_adds_no_frame(scene: Scene, mask_file: Path) -> None:
    done = inpainted(scene.frames[:5], [*raw(pix_fmt="gray"), mask_file], lookahead=2)
    assert len(pictures(done)) == 5


def test_a_mask_that_starts_late_holds_before_too(scene: Scene, tmp_path: Path) -> None:
    late = Scene([], [], scene.masks[:1] * 6).write_masks(tmp_path / "late.gray")
    done = inpainted(still(scene), ["-itsoffset", "0.4", *raw(pix_fmt="gray"), late])
    assert covered(pictures(done)) == [True] * FRAMES


def test_a_mask_input_without_a_frame_is_an_error(scene: Scene, tmp_path: Path) -> None:
    (tmp_path / "empty.gray").write_bytes(bytes(WIDTH * HEIGHT))
    mask = [*raw(pix_fmt="gray"), tmp_path / "empty.gray"]
    chain = f"[1:v]trim=end_frame=0[mask];[0:v][mask]{options_of()}"
    done = tools.run(*raw(), "-", *mask, "-filter_complex", chain, "-f", "null", "-",
                     stdin=scene.frames[0], check=False)  # fmt: skip
    assert done.returncode > 0
    (sentence,) = tools.errors(done)
    assert "mask input ended before it gave a frame" in sentence
    assert "-loop 1" in sentence


def test_without_a_mask_at_all_ffmpeg_says_that_an_input_is_missing(scene: Scene) -> None:
    done = tools.run(*raw(), "-", "-vf", options_of(), "-f", "null", "-", stdin=scene.frames[0], check=False)
    assert done.returncode > 0
    assert re.search(r"it had (2|>1) input\(s\)", tools.said(done))  # >1: 5.1
    done = tools.run(*raw(), "-", "-filter_complex", f"[0:v]{options_of()}", "-f", "null", "-",
                     stdin=scene.frames[0], check=False)  # fmt: skip
    assert done.returncode > 0
    assert re.search(r"Cannot find .* unlabeled input pad", tools.said(done))


@pytest.mark.parametrize("lookahead", [0, 3])
def test_a_change_of_size_in_mid_stream_keeps_the_mask_on(tmp_path: Path, lookahead: int) -> None:
    clips = b""
    for size in ("64x48", "96x64"):
        clip = tmp_path / f"{size}.h264"
        tools.run(
            "-f", "lavfi", "-i", f"color=white:s={size}:r=25:d=0.4", "-c:v", "libx264", "-bf", "0", clip
        )
        clips += clip.read_bytes()
    # The masks are made in the graph: ffmpeg waits for a frame of each input before it makes its first graph,
    # and fails if the first input has changed its size by then.
    chain = f"color=white:s=16x16:r=25[mask];[0:v][mask]{options_of(lookahead=lookahead, show='mask')}"
    done = tools.run("-f", "h264", "-i", "-", "-filter_complex", chain, "-noautoscale",
                     "-f", "rawvideo", "-", stdin=clips)  # fmt: skip
    at = 0
    for width, height in [(64, 48)] * 10 + [(96, 64)] * 10:
        frame = done.stdout[at : at + tools.frame_bytes(width, height, "yuv420p")]
        at += len(frame)
        _, u, v = tools.planes(frame, width, height, "yuv420p")
        assert (np.abs(u.astype(int) - 128) + np.abs(v.astype(int) - 128)).min() > 5  # all is hole: tinted
    assert at == len(done.stdout)


def test_a_frame_that_waits_for_its_mask_is_not_lost_at_a_change_of_size(tmp_path: Path) -> None:
    # Masks come from a slow pipe: when the size changes, frames of the old one are still inside.
    clips = []
    for size in ("64x48", "96x64"):
        clip = tmp_path / f"{size}.h264"
        tools.run(
            "-f", "lavfi", "-i", f"color=white:s={size}:r=25:d=0.4", "-c:v", "libx264", "-bf", "0", clip
        )
        clips.append(clip.read_bytes())
    pipes = [tmp_path / "main", tmp_path / "mask"]
    for pipe in pipes:
        os.mkfifo(pipe)

    def write(pipe: Path, parts: Sequence[bytes], pause: float) -> None:
        with contextlib.suppress(BrokenPipeError), pipe.open("wb", buffering=0) as file:
            for part in parts:
                file.write(part)
                time.sleep(pause)

    for job in ((pipes[0], clips, 0.7), (pipes[1], [b"\xff" * 256] * 25, 0.1)):
        threading.Thread(target=write, args=job, daemon=True).start()
    done = tools.run(
        "-f", "h264", "-i", pipes[0], *raw("16x16", "gray", "25"), pipes[1], "-filter_complex",
        f"[0:v][1:v]{options_of(lookahead=2)}", "-noautoscale", "-f", "rawvideo", "-",
    )  # fmt: skip
    sizes = [tools.frame_bytes(*size, "yuv420p") for size in ((64, 48), (96, 64))]
    assert len(done.stdout) == 10 * sum(sizes)


# --- nets ---


def test_the_net_paints_what_no_frame_has_shown(scene: Scene, tmp_path: Path) -> None:
    net = inpaint_bundle(tmp_path / "colour")
    done = inpainted(still(scene)[:2], model=net, rect="52|40|24|48", dilate=0, feather=0)
    for frame in pictures(done):
        inside = luma(frame)[44:84, 56:72].astype(float)
        wanted = 16 + 219 * (PAINTED[0] + 0.5)
        assert abs(inside.mean() - wanted) < 6


def test_the_shipped_model_is_the_default(scene: Scene) -> None:
    done = inpainted(scene.frames[:2], model="auto", rect="52|40|24|48")
    assert "inpaint_v1_fast" in tools.said(done)
    assert not tools.warnings(done)
    assert len(pictures(done)) == 2


def test_without_a_shipped_model_it_is_diffused_with_a_warning(
    scene: Scene, plain: list[bytes], mask_file: Path, tmp_path: Path
) -> None:
    bare = Path(shutil.copytree(tools.built().root, tmp_path / "bare", symlinks=True))
    for name in ("inpaint_v1_fast", "inpaint_v1"):
        shutil.rmtree(bare / "share" / "clarivid" / "models" / name)
    chain = f"[0:v][1:v]{options_of(model='auto')}"
    done = subprocess.run(
        [bare / "bin" / "ffmpeg", "-v", "level+info", *raw(), "-", *raw(pix_fmt="gray"), mask_file,
         "-filter_complex", chain, "-f", "rawvideo", "-"],
        input=b"".join(scene.frames), capture_output=True, check=True, timeout=120,
        env={**os.environ, "AV_LOG_FORCE_NOCOLOR": "1"},
    )  # fmt: skip
    (warning,) = tools.warnings(done)
    assert "no model for inpainting was found" in warning
    assert pictures(done) == plain


@pytest.mark.parametrize("lookahead", [0, 2])
@pytest.mark.parametrize(("pix_fmt", "bits"), [("yuv420p", 8), ("p010le", 10)])
def test_the_filter_gives_the_pixels_of_the_python_class(
    scene: Scene, mask_file: Path, tmp_path: Path, pix_fmt: str, bits: int, lookahead: int
) -> None:
    options: dict[str, Any] = {"model": inpaint_bundle(tmp_path / "colour"), "mesh": "8x5", "dilate": 3}
    options |= {"precision": "fp32", "threads": 2, "lookahead": lookahead}
    form = f"format={pix_fmt}"
    source = tools.run(*raw(), "-", "-vf", form, "-f", "rawvideo", "-", stdin=b"".join(scene.frames)).stdout
    frames = [tools.planes(f, WIDTH, HEIGHT, pix_fmt) for f in tools.frames(source, WIDTH, HEIGHT, pix_fmt)]
    done = inpainted(scene.frames, [*raw(pix_fmt="gray"), mask_file], before=form, after=form, **options)
    made = list(Inpainter(**options).process(zip(frames, scene.masks, strict=True), bit_depth=bits))
    assert len(made) == FRAMES
    for number, (frame, wanted) in enumerate(zip(pictures(done, pix_fmt), made, strict=True)):
        for plane, wanted_plane in zip(tools.planes(frame, WIDTH, HEIGHT, pix_fmt), wanted, strict=True):
            assert np.array_equal(plane, wanted_plane), number


def test_a_failed_painting_is_an_error_and_never_a_frame(scene: Scene, tmp_path: Path) -> None:
    net = inpaint_bundle(tmp_path / "colour")
    done = inpainted(
        scene.frames, model=net, backend="dummy", device="fail=1", rect="52|40|24|48", check=False
    )
    assert done.returncode > 0
    assert pictures(done) == []
    assert len(tools.errors(done)) == 1
    assert "inference 1 failed" in tools.errors(done)[0]


def test_a_segmenter_makes_the_masks(scene: Scene, tmp_path: Path) -> None:
    net = bright_bundle(tmp_path / "bright")
    dark = [bytes(luma(frame) // 2 + 8) + frame[WIDTH * HEIGHT :] for frame in scene.frames]
    for number, mask in enumerate(scene.masks):
        plane = np.frombuffer(dark[number], np.uint8).copy()
        plane[: WIDTH * HEIGHT][mask.ravel() > 0] = 235
        dark[number] = plane.tobytes()
    done = inpainted(dark, segment=net)
    out = pictures(done)
    assert len(out) == FRAMES
    assert max(int(luma(frame).max()) for frame in out[REVEALED:]) < 200
    assert np.array_equal(luma(out[-1])[:, :80], luma(dark[-1])[:, :80])


def test_a_model_for_another_task_is_refused_as_a_segmenter(tmp_path: Path) -> None:
    net = inpaint_bundle(tmp_path / "colour")
    refused(KIND, f"model=none:segment={net}", "'inpaint'", "segment", "'segment'")
    refused(KIND, f"model={bright_bundle(tmp_path / 'bright')}", "'segment'", "'inpaint'")
    refused(KIND, "model=none:segment=no_such_net", "no_such_net")


# --- hard pictures ---


@pytest.mark.parametrize("lookahead", [0, 2])
def test_a_mask_that_covers_everything_gives_a_picture(scene: Scene, lookahead: int) -> None:
    done = inpainted(scene.frames, rect=f"0|0|{WIDTH}|{HEIGHT}", lookahead=lookahead)
    assert len(pictures(done)) == FRAMES
    assert not tools.errors(done)


def test_a_mask_that_covers_everything_for_a_while_shows_what_was_there(scene: Scene) -> None:
    done = inpainted(scene.truth, rect=f"0|0|{WIDTH}|{HEIGHT}", enable="'between(t,0.3,0.5)'")
    assert pictures(done)[-1] == scene.truth[-1]
    assert len(pictures(done)) == FRAMES


def test_pictures_without_texture_stay_as_they_are() -> None:
    flat = b"".join(
        bytes([code]) * count for code, count in ((100, WIDTH * HEIGHT), (120, CHROMA), (140, CHROMA))
    )
    assert pictures(inpainted([flat] * 6, rect="50|30|40|40")) == [flat] * 6


def test_after_a_cut_nothing_of_the_scene_before_is_shown(scene: Scene) -> None:
    other = packed(255 - texture(WIDTH, HEIGHT, 77) // 2, 50)
    hole = scene.masks[FRAMES // 2] > 0
    plane = np.frombuffer(other, np.uint8).copy()
    plane[: WIDTH * HEIGHT][hole.ravel()] = 16
    frames = scene.truth[: FRAMES // 2] + [plane.tobytes()] * (FRAMES // 2)
    rect = f"{16 + 6 * FRAMES}|40|24|48"
    done = inpainted(frames, rect=rect)
    first = luma(pictures(done)[FRAMES // 2])[hole].astype(float)
    around = luma(other)[scene.grown(FRAMES // 2, 12) & ~scene.grown(FRAMES // 2)].astype(float)
    assert abs(first.mean() - around.mean()) < 30
    assert not np.array_equal(first, luma(scene.truth[0])[hole])
    assert " 1 cuts" in tools.said(verbose(frames, rect=rect))


def verbose(frames: Sequence[bytes], after: str = "null", **options: Any) -> tools.Done:
    """As :func:`inpainted`, with what the filter says at level verbose."""
    return tools.run("-v", "level+verbose", *raw(), "-", "-vf", f"{options_of(**options)},{after}",
                     "-f", "rawvideo", "-", stdin=b"".join(frames))  # fmt: skip


# --- options ---


@pytest.mark.parametrize("cut", ["null", f"trim=end_frame={FRAMES}"])
def test_the_statistics_are_said_at_the_end(scene: Scene, cut: str) -> None:
    # trim ends the stream before the input does when there is more of it.
    more = scene.frames if cut == "null" else scene.frames * 2
    text = tools.said(verbose(more, after=cut, rect="52|40|24|48"))
    assert text.count(" fps in all; ms a frame") == 1
    assert re.search(
        r"\[verbose\] 1[234] frames, [\d.]+ fps in all; ms a frame: track [\d.]+, solve [\d.]+, "
        r"fill [\d.]+, paint [\d.]+; 0 cuts, \d+ paintings; memory [\d.]+ MiB",
        text,
    )
    assert re.search(r"the last frame: \d+ of \d+ features agree, [\d.]+ samples from the mesh; cost ", text)


def test_it_says_once_what_it_took(scene: Scene) -> None:
    done = inpainted(scene.frames, rect="52|40|24|48", mesh="8x5", lookahead=2, dilate=3, feather=1)
    text = tools.said(done)
    assert text.count(f"inpainting {SIZE}: mesh 8x5, lookahead 2, dilate 3, feather 1") == 1


@pytest.mark.parametrize("show", ["mask", "mesh", "tracks", "age"])
@pytest.mark.parametrize("pix_fmt", FORMATS)
def test_show_draws_how_it_comes_about(scene: Scene, show: str, pix_fmt: str) -> None:
    form = f"format={pix_fmt}"
    options: dict[str, Any] = {"before": form, "after": form, "rect": "52|40|24|48"}
    result = pictures(inpainted(scene.frames, **options), pix_fmt)
    drawn = pictures(inpainted(scene.frames, show=show, **options), pix_fmt)
    assert len(drawn) == FRAMES
    assert drawn[-1] != result[-1]


def test_enable_lets_frames_through_and_learns_from_them(scene: Scene) -> None:
    frames = scene.truth[:5] + scene.frames[5:]  # the box appears in frame 5, at 76
    out = pictures(inpainted(frames, rect="76|40|24|48", enable="'between(t,0.5,0.5)'"))
    assert out[:5] + out[6:] == frames[:5] + frames[6:]
    assert out[5] == scene.truth[5]


def test_enable_holds_for_a_segmenter_too(scene: Scene, tmp_path: Path) -> None:
    net = bright_bundle(tmp_path / "bright")
    done = inpainted(scene.frames, segment=net, enable="'gte(t,5)'", lookahead=2)
    assert pictures(done) == scene.frames


@pytest.mark.parametrize(
    ("options", "word"),
    [
        ("mesh=foo", "foo"),
        ("mesh=0x4", "0x4"),
        ("lookahead=65", "lookahead"),
        ("lookahead=-1", "lookahead"),
        ("dilate=65", "dilate"),
        ("feather=-1", "feather"),
        ("show=cats", "cats"),
    ],
)
def test_nonsense_values_are_refused(options: str, word: str) -> None:
    refused(KIND, f"model=none:{options}", word, said_by_us=False)


@pytest.mark.parametrize("mesh", ["33x2", "2x19", "1280x720"])
def test_a_mesh_that_is_too_fine_is_refused(mesh: str) -> None:
    refused(KIND, f"model=none:mesh={mesh}", f"mesh={mesh}", "32x18")


@pytest.mark.parametrize("mesh", ["1x1", "32x18"])
def test_the_coarsest_and_the_finest_mesh_know_what_stands_still(
    scene: Scene, mask_file: Path, mesh: str
) -> None:
    done = inpainted(scene.frames, [*raw(pix_fmt="gray"), mask_file], mesh=mesh)
    assert pictures(done)[REVEALED:] == scene.truth[REVEALED:]


def test_drain_lets_out_what_lookahead_holds(scene: Scene) -> None:
    holding = options_of(rect="52|40|24|48", lookahead=3)
    chain = f"sendcmd=c='0.6 mesh_inpaint drain',showinfo@in,{holding},showinfo@out"
    done = tools.run(*raw(), "-", "-vf", chain, "-f", "null", "-", stdin=b"".join(scene.frames))
    order = re.findall(r"^\[showinfo@(in|out) @ \S+\] \[info\] n: *(\d+)", tools.said(done), re.MULTILINE)
    assert order[:5] == [("in", "0"), ("in", "1"), ("in", "2"), ("in", "3"), ("out", "0")]
    assert order[-4:] == [("in", "10"), ("out", "10"), ("in", "11"), ("out", "11")]
