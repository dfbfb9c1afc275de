# SPDX-License-Identifier: BSD-2-Clause
"""Measuring: bits, scores, resuming, and what is refused."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from clarivid import InputError, ToolError, clips
from clarivid.rd import Encoder, Plan, Source, Store, Variant, lowrank, run
from clarivid.rd import encode as encoding
from clarivid.rd.plan import Picture
from clarivid.rd.scores import SCORES, score
from clarivid.rd.tools import Tools
from conftest import Run
from rd_tools import CHEAP, FRAMES, film, plan, soften


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return film(tmp_path_factory.mktemp("rd") / "film.mkv")


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "store")


@pytest.fixture
def encodes(monkeypatch: pytest.MonkeyPatch) -> list[tuple[Any, ...]]:
    """Every encode that is really done."""
    done: list[tuple[Any, ...]] = []
    real = encoding.encode

    def counted(*arguments: Any, **more: Any) -> encoding.Encoded:
        done.append(arguments[2:])
        return real(*arguments, **more)

    monkeypatch.setattr(encoding, "encode", counted)
    return done


def test_bits_are_the_packets_of_the_stream_without_the_container(source: Path, store: Store) -> None:
    point = run(plan(source), store=store).points[0]
    assert point.bits == 8 * sum(point.packets)
    assert len(point.packets) == FRAMES
    # The stream itself, out of its container: start codes instead of lengths, parameter sets in front.
    bare = store.root / "bare.h264"
    copy = [clips.encoder(), "-v", "error", "-i", str(point.stream), "-c", "copy", str(bare)]
    subprocess.run(copy, check=True)
    assert 0 <= bare.stat().st_size - sum(point.packets) < 60
    assert point.stream.stat().st_size > sum(point.packets)
    assert b"x264 - core" not in bare.read_bytes()
    assert point.kbps == pytest.approx(point.bits * 25 / FRAMES / 1000)


def test_more_rate_gives_more_quality_in_every_score(source: Path, store: Store) -> None:
    results = run(plan(source, scores=tuple(SCORES)), store=store)
    points = sorted((p for p in results.points if p.variant == "plain"), key=lambda p: p.bits)
    assert [point.rate for point in points] == [35, 30, 25, 20]
    for name in SCORES:
        values = [point.scores[name] for point in points]
        assert values == sorted(values), name


def test_a_clip_against_itself_is_perfect(source: Path, tmp_path: Path) -> None:
    found = score(source, source, FRAMES, tmp_path, Tools())
    assert set(found) == set(SCORES)
    for name in ("ssim", "ssim_full", "ms_ssim", "psnr_y", "psnr_uv", "xpsnr"):
        assert found[name] == pytest.approx(SCORES[name].top), name
    assert found["vmaf"] > 95


def test_a_variant_with_the_samples_of_plain_changes_nothing(
    source: Path, store: Store, encodes: Any
) -> None:
    results = run(plan(source, Variant("copy", apply=lambda picture: picture)), store=store, jobs=1)
    assert {cell.delta.rate for cell in results.cells} == {0.0}
    assert len(encodes) == 4  # The points of the copy are those of plain: they are keyed by content.
    assert results.guards() == []


def test_the_three_encoders_are_reproducible_to_the_bit(source: Path, store: Store) -> None:
    encoders = tuple(Encoder.parse(text) for text in ("x264:ultrafast", "x265:ultrafast", "svtav1:13"))
    both = [run(plan(source, encoders=encoders, scores=("psnr_y",)), store=store, fresh=True) for _ in "ab"]
    assert len(both[0].points) == 2 * 3 * 4
    assert [point.packets for point in both[0].points] == [point.packets for point in both[1].points]


def test_bitrates_of_the_two_pass_encodes_are_those_of_plain(source: Path, store: Store) -> None:
    encoders = tuple(Encoder.parse(text) for text in ("x264:ultrafast", "x265:ultrafast", "svtav1:13"))
    results = run(plan(source, encoders=encoders, abr=True, scores=("psnr_y",)), store=store)
    for encoder in encoders:
        plain = {
            round(p.kbps)
            for p in results.points
            if (p.encoder, p.mode, p.variant) == (encoder.label, "crf", "plain")
        }
        asked = {
            p.rate for p in results.points if (p.encoder, p.mode, p.variant) == (encoder.label, "abr", "soft")
        }
        assert asked == plain
    modes = {cell.mode for cell in results.cells}
    assert modes == {"crf", "abr"}


def test_ten_bits_stay_ten_bits(tmp_path: Path, store: Store) -> None:
    deep = film(tmp_path / "deep.mkv", pix_fmt="yuv420p10le")
    seen: list[Picture] = []

    def watch(picture: Picture) -> Picture:
        seen.append(picture)
        y, u, v = picture
        return y + np.uint16(1), u, v

    results = run(plan(deep, Variant("lighter", apply=watch), scores=("psnr_y",)), store=store)
    assert seen[0][0].dtype == np.uint16
    facts = results.clips["film", "lighter"]
    assert facts.pix_fmt == "yuv420p10le"
    assert facts.drift[0] == pytest.approx(0.25, abs=0.01)  # a code of ten bits is a quarter of one of eight


def test_a_killed_run_goes_on_where_it_was(source: Path, store: Store, encodes: Any) -> None:
    script = (
        "import os, signal, sys; sys.path.insert(0, sys.argv[3])\n"
        "from pathlib import Path; from rd_tools import plan; from clarivid.rd import Store, run\n"
        "def progress(done, total, note):\n"
        "    if done == 5: os.kill(os.getpid(), signal.SIGKILL)\n"
        "run(plan(Path(sys.argv[1])), jobs=1, store=Store(Path(sys.argv[2])), progress=progress)"
    )
    command = [sys.executable, "-c", script, str(source), str(store.root), str(Path(__file__).parent)]
    assert subprocess.run(command, check=False).returncode == -signal.SIGKILL
    kept = len(list(store.root.glob("points/*.json")))
    assert kept == 3  # Two jobs prepared clips, three encoded.
    assert list(store.root.glob("tmp-*"))
    again = Store(store.root)
    assert not list(store.root.glob("tmp-*"))
    results = run(plan(source), store=again)
    assert len(results.points) + len(results.matched) == 9
    assert len(encodes) == 9 - kept
    encodes.clear()
    assert run(plan(source), store=again).points == results.points
    assert encodes == []


def test_a_run_that_is_complete_needs_no_frame_again(
    source: Path, store: Store, encodes: Any, monkeypatch: Any
) -> None:
    soft = Variant("soft", files={"film": source})
    first = run(plan(source, soft), store=store)
    encodes.clear()
    calls: list[str] = []
    real = Tools.run

    def watched(self: Tools, command: Any, *rest: Any, **more: Any) -> tuple[str, str]:
        calls.append(command[-1])
        return real(self, command, *rest, **more)

    monkeypatch.setattr(Tools, "run", watched)
    assert run(plan(source, soft), store=store).points == first.points
    assert calls == ["-version"]


def test_a_score_that_is_asked_for_later_needs_no_encode(source: Path, store: Store, encodes: Any) -> None:
    run(plan(source, scores=("psnr_y",)), store=store)
    assert "ms_ssim" not in run(plan(source, scores=("psnr_y",)), store=store).points[0].scores
    encodes.clear()
    point = run(plan(source, scores=("psnr_y", "ms_ssim")), store=store).points[0]
    assert 0.5 < point.scores["ms_ssim"] < 1
    assert encodes == []


def test_progress_counts_every_job_once(source: Path, store: Store) -> None:
    steps: list[tuple[int, int]] = []
    own = plan(source, abr=True, scores=("psnr_y",))
    run(own, store=store, progress=lambda done, total, _note: steps.append((done, total)))
    assert [done for done, _ in steps] == list(range(1, own.steps() + 1))
    assert {total for _, total in steps} == {own.steps()}


def test_colour_that_drifts_is_told(source: Path, store: Store) -> None:
    def tinted(amount: int) -> Callable[[Picture], Picture]:
        def tint(picture: Picture) -> Picture:
            y, u, v = picture
            changed = u.copy()
            changed[: u.shape[0] * amount // 10] += 1
            return y, changed, v

        return tint

    variants = (Variant("slightly", apply=tinted(1)), Variant("badly", apply=tinted(4)))
    results = run(plan(source, *variants, scores=("psnr_y",)), store=store)
    failed = [guard for guard in results.guards() if guard.severity == "fail"]
    assert [guard.variant for guard in failed] == ["badly"]
    assert "U +0.40" in failed[0].sentence
    assert any("colour" in reason for reason in results.gate("badly"))
    assert not any("colour" in reason for reason in results.gate("slightly"))


def test_frames_that_move_in_time_are_told(source: Path, store: Store) -> None:
    held: list[Picture] = []

    def late(picture: Picture) -> Picture:
        held.append(picture)
        return held[max(len(held) - 2, 0)]

    results = run(plan(source, Variant("late", apply=late), scores=("psnr_y",)), store=store)
    assert results.clips["film", "late"].moved
    assert any("shifted in time" in guard.sentence for guard in results.guards())
    assert not run(plan(source, scores=("psnr_y",)), store=store).clips["film", "soft"].moved


def test_a_failing_encode_names_the_encoder_and_its_reason(
    source: Path, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = encoding.arguments

    def broken(encoder: Encoder, *rest: Any) -> list[str]:
        return [*real(encoder, *rest), "-profile:v", "nonsense"]

    monkeypatch.setattr(encoding, "arguments", broken)
    with pytest.raises(ToolError, match=r"^x264 ultrafast failed at CRF \d+: .*nonsense"):
        run(plan(source), store=store)
    assert not list(store.root.glob("points/*"))
    assert not list(store.root.glob("tmp-*"))


def test_a_failing_filter_names_the_variant_the_clip_and_ffmpegs_reason(source: Path, store: Store) -> None:
    with pytest.raises(ToolError, match=r"bad failed on film: .*no_such_filter"):
        run(plan(source, Variant("bad", "no_such_filter=3")), store=store)


@pytest.mark.parametrize(
    ("variant", "sentence"),
    [
        (Variant("small", "scale=iw/2:ih/2"), r"small makes 96x96 of film's 192x192"),
        (Variant("fewer", "select=not(mod(n\\,2))"), r"fewer gives 3 frames for film's 6"),
        (
            Variant("flat", apply=lambda p: (p[0][:8], p[1], p[2])),
            r"flat failed on film: it returned a plane \(8, 192\)",
        ),
        (Variant("given", files={"film": Path("nowhere.mkv")}), r"nowhere.mkv does not exist"),
    ],
)
def test_a_variant_must_keep_size_and_frames(
    source: Path, store: Store, variant: Variant, sentence: str
) -> None:
    with pytest.raises(InputError, match=sentence):
        run(plan(source, variant), store=store)


def test_clips_that_cannot_be_measured_give_a_sentence(tmp_path: Path, store: Store) -> None:
    tiny = film(tmp_path / "tiny.mkv", size="128x128")
    with pytest.raises(InputError, match=r"film has 128x128 samples; MS-SSIM needs 176"):
        run(plan(tiny, scores=("ms_ssim",)), store=store)
    assert run(plan(tiny, scores=("psnr_y",)), store=store).points
    with pytest.raises(InputError, match=r"film has 1 frame\(s\); 2 are the least"):
        run(plan(film(tmp_path / "still.mkv", frames=1)), store=store)
    with pytest.raises(InputError, match=r"nowhere.mkv does not exist"):
        run(plan(tmp_path / "nowhere.mkv"), store=store)
    text = tmp_path / "text.mkv"
    text.write_text("no film")
    with pytest.raises(InputError, match=r"text.mkv cannot be read as video"):
        run(plan(text), store=store)


@pytest.mark.parametrize(
    ("make", "sentence"),
    [
        (lambda: Encoder("x263"), r'encoder "x263" is unknown: it is one of x264, x265, svtav1'),
        (lambda: Encoder("x264", "slowest"), r'x264 has no preset "slowest": it is one of ultrafast'),
        (lambda: Encoder("svtav1", "medium"), r'svtav1 has no preset "medium"'),
        (lambda: Encoder("x264", crf=(20, 20, 25, 30)), r"x264 has 3 different rate points \(20, 25, 30\)"),
        (lambda: Encoder("x265", crf=(20, 25, 30, 60)), r"CRF 60 is outside x265's 1..51"),
        (lambda: Variant("a b", "null"), r'variant name "a b" may hold'),
        (lambda: Variant("plain", "null"), r'variant "plain" is the untouched source'),
        (lambda: Variant("mine"), r"mine has no filter"),
        (lambda: Variant("mine", "null", apply=soften), r"mine is given in 2 ways"),
        (lambda: Variant.parse("hqdn3d"), r'"hqdn3d" is not name=filters'),
        (lambda: lowrank(strength=1.5), r"strength 1.5 is outside 0..1"),
        (lambda: plan(Path("a"), encoders=()), r"no encoder is given"),
        (lambda: plan(Path("a"), encoders=(Encoder("x264"),) * 2), r"encoder x264 medium is given twice"),
        (lambda: plan(Path("a"), sources=(Source("a/b", Path("a")),)), r'clip name "a/b" has a slash'),
        (lambda: plan(Path("a"), frames=1), r"1 frames are no video"),
        (lambda: plan(Path("a"), abr=True, abr_variants=("no",)), r'two-pass .* "no", which is no variant'),
        (lambda: plan(Path("a"), abr=(100.0, 200.0)), r"2 bitrates are given; a curve needs 4"),
        (lambda: plan(Path("a"), scores=("vmaf", "lpips")), r'score "lpips" is unknown: they are vmaf,'),
        (lambda: plan(Path("a"), Variant("x", files={"b": Path("b")})), r"variant x has no file for film"),
    ],
)
def test_a_plan_that_cannot_be_run_gives_a_sentence(make: Callable[[], object], sentence: str) -> None:
    with pytest.raises(InputError, match=sentence):
        make()


def test_plain_is_always_there() -> None:
    own = Plan((Source("a", Path("a")),), (Encoder("x264"),), (Variant("soft", "gblur"),))
    assert [variant.name for variant in own.variants] == ["plain", "soft"]
    assert own.scores == tuple(SCORES)
    assert set(CHEAP) < set(own.scores)


def test_the_filter_string_names_model_and_strength() -> None:
    assert lowrank().filters == "lowrank_pre=model=lowrank_v1"
    weak = lowrank("runs/a:b", 0.25)
    assert weak.name == "lowrank_pre-0.25"
    assert weak.filters == r"lowrank_pre=model=runs/a\\:b:strength=0.25"


def test_the_command_refuses_in_sentences(source: Path, clarivid: Run, tmp_path: Path) -> None:
    cache = str(tmp_path / "cache")
    for arguments, sentence in (
        (["--encoder", "x263"], 'encoder "x263" is unknown'),
        (["--crf", "20,25,30"], "x264 has 3 different rate points"),
        (["--crf", "x264=a,b"], '"a,b" is no list of numbers'),
        (["--variant", "magic"], 'variant "magic" is unknown: give one of lowrank_pre, hqdn3d'),
        (["--variant", "plain"], "there is nothing to compare with plain"),
        (["--strength", "2"], "strength 2 is outside 0..1"),
    ):
        done = clarivid("rd", str(source), *arguments, CLARIVID_CACHE=cache)
        assert done.returncode == 1
        assert done.stderr.startswith("clarivid: error: "), done.stderr
        assert sentence in done.stderr
    missing = clarivid("rd", "nowhere", CLARIVID_CACHE=cache)
    assert '"nowhere" is neither a file nor a held-out clip' in missing.stderr
