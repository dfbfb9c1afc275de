# SPDX-License-Identifier: BSD-2-Clause
"""``clarivid run`` on many files: nothing is done twice, nothing is lost, and what failed is told."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from clarivid import CancelledError, Chain, InputError, chains, clips, ff, quality
from clarivid.chains.batch import JOURNAL, Item, run_batch
from clarivid.chains.command import Encoding
from clarivid.chains.filter import Filter
from conftest import Run

FRAMES = 12
FAST = Encoding(video_options={"preset": "ultrafast"})


@pytest.fixture(scope="module")
def films(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Three short films and a file that is none."""
    folder = tmp_path_factory.mktemp("films")
    first = folder / "a.mkv"
    command = [clips.encoder(), "-v", "error", "-f", "lavfi", "-i", "testsrc2=s=64x48:r=25"]
    subprocess.run([*command, "-frames:v", str(FRAMES), "-c:v", "libx264", str(first)], check=True)
    paths = [first, folder / "b.mkv", folder / "c d.mkv", folder / "none.mkv"]
    for path in paths[1:3]:
        shutil.copyfile(first, path)
    paths[3].write_text("no film")
    return paths


def states(items: list[Item]) -> list[str]:
    return [item.state for item in items]


def test_a_second_run_does_only_what_is_missing(films: list[Path], tmp_path: Path) -> None:
    chain = Chain(ff.null())
    told: list[Item] = []
    seen: list[tuple[Path, int]] = []
    items = run_batch(
        chain,
        films,
        tmp_path / "out",
        suffix=".mp4",
        jobs=2,
        how=FAST,
        finished=told.append,
        progress=lambda source, state: seen.append((source, state.frames)),
    )
    assert states(items) == ["done", "done", "done", "failed"]
    assert [item.source for item in items] == films
    assert set(told) == set(items)
    assert {source for source, _ in seen} == set(films[:3])
    assert items[0].frames == FRAMES
    assert "none.mkv is no video that ffmpeg reads" in items[3].error
    outputs = sorted(path.name for path in (tmp_path / "out").iterdir())
    assert outputs == [JOURNAL, "a.mp4", "b.mp4", "c d.mp4"]
    before = (tmp_path / "out" / "a.mp4").stat().st_mtime_ns

    (tmp_path / "out" / "b.mp4").unlink()
    again = run_batch(chain, films[:3], tmp_path / "out", suffix=".mp4", how=FAST)
    assert states(again) == ["kept", "done", "kept"]
    assert again[0].frames == FRAMES
    assert (tmp_path / "out" / "a.mp4").stat().st_mtime_ns == before


def test_what_was_made_from_something_else_is_made_again(films: list[Path], tmp_path: Path) -> None:
    source = tmp_path / "s.mkv"
    shutil.copyfile(films[0], source)
    out = tmp_path / "out"

    def state(chain: str = "null", how: Encoding = FAST) -> str:
        return run_batch(chain, [source], out, how=how)[0].state

    assert [state(), state()] == ["done", "kept"]
    assert [state("scale=32:24"), state(" scale = 32:24 ")] == ["done", "kept"], "another chain"
    assert state("scale=32:24", Encoding(video_codec="ffv1")) == "done", "another encoder"
    assert "ffv1" in probe(out / "s.mkv")
    os.utime(source, (1, 1))
    assert state("scale=32:24", Encoding(video_codec="ffv1")) == "done", "another source"


def probe(path: Path) -> str:
    command = [clips.encoder(), "-hide_banner", "-i", str(path)]
    return subprocess.run(command, capture_output=True, text=True, check=False).stderr


def test_a_file_that_the_chain_names_counts_as_it_is_now(films: list[Path], tmp_path: Path) -> None:
    boxes = tmp_path / "boxes.txt"
    chain = Chain(Filter("mesh_inpaint", {"model": "none", "mesh": "1x1", "boxes": boxes}))
    for text, state in (("0 8 8 16 16\n", "done"), ("0 8 8 16 16\n", "kept"), ("3 20 8 16 16\n", "done")):
        if not boxes.exists() or boxes.read_text() != text:
            boxes.write_text(text)
        assert states(run_batch(chain, films[:1], tmp_path / "out", how=FAST)) == [state]


def test_files_of_others_are_kept_unless_told_otherwise(films: list[Path], tmp_path: Path) -> None:
    (tmp_path / "a.mkv").write_bytes(b"precious")
    items = run_batch("null", films[:1], tmp_path, how=FAST)
    assert states(items) == ["failed"]
    assert "exists" in items[0].error
    assert (tmp_path / "a.mkv").read_bytes() == b"precious"
    assert states(run_batch("null", films[:1], tmp_path, how=FAST, overwrite=True)) == ["done"]
    with (tmp_path / "a.mkv").open("ab") as stream:  # changed by somebody: not ours any more
        stream.write(b"x")
    assert states(run_batch("null", films[:1], tmp_path, how=FAST)) == ["failed"]


def test_half_a_line_of_a_killed_run_is_no_harm(films: list[Path], tmp_path: Path) -> None:
    run_batch("null", films[:2], tmp_path, how=FAST)
    journal = tmp_path / JOURNAL
    journal.write_text(journal.read_text()[:-20])
    (tmp_path / ".clarivid-b-12345678.mkv").write_bytes(b"a draft that was left")
    (tmp_path / "b.mkv").unlink()
    assert states(run_batch("null", films[:2], tmp_path, how=FAST)) == ["kept", "done"]
    assert states(run_batch("null", films[:2], tmp_path, how=FAST)) == ["kept", "kept"]
    assert sorted(path.name for path in tmp_path.iterdir()) == [JOURNAL, "a.mkv", "b.mkv"]


def test_names_that_clash_and_folders_that_cannot_be_are_refused(films: list[Path], tmp_path: Path) -> None:
    (tmp_path / "x").mkdir()
    twin = tmp_path / "x" / "a.mp4"
    with pytest.raises(InputError, match=r"a.mkv and .*a.mp4 would both be written to"):
        run_batch("null", [films[0], twin], tmp_path, suffix=".mp4")
    with pytest.raises(InputError, match=r"is an input: name another folder"):
        run_batch("null", films[:1], films[0].parent)
    with pytest.raises(InputError, match=r"suffix='mp4' is none"):
        run_batch("null", films[:1], tmp_path, suffix="mp4")
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(InputError, match=r"the folder .*file cannot be written"):
        run_batch("null", films[:1], tmp_path / "file")
    with pytest.raises(InputError, match=r"jobs=0"):
        run_batch("null", films[:1], tmp_path, jobs=0)


def test_two_runs_do_not_work_in_one_folder(films: list[Path], tmp_path: Path) -> None:
    def second(item: Item) -> None:
        assert item.state == "done"
        with pytest.raises(InputError, match=r"another run is at work"):
            run_batch("null", films[:1], tmp_path)

    assert states(run_batch("null", films[:1], tmp_path, how=FAST, finished=second)) == ["done"]


def test_a_cancelled_run_leaves_what_is_complete_and_nothing_else(films: list[Path], tmp_path: Path) -> None:
    cancel = threading.Event()
    chain = Chain(ff.realtime(speed=0.05))  # ten seconds for each film
    threading.Timer(1.0, cancel.set).start()
    start = time.monotonic()
    with pytest.raises(CancelledError):
        run_batch(chain, films[:3], tmp_path, jobs=2, how=FAST, cancel=cancel)
    assert time.monotonic() - start < 6
    assert [path.name for path in tmp_path.iterdir()] == [JOURNAL]


def test_the_command_tells_what_failed_and_why(films: list[Path], tmp_path: Path, clarivid: Run) -> None:
    chain = tmp_path / "chain.yaml"
    Chain(ff.scale(32, 24)).save(chain)
    sources = [str(path) for path in films]
    words = ["run", str(chain), *sources, "--out-dir", str(tmp_path / "out"), "--jobs", "2"]
    done = clarivid(*words)
    assert done.returncode == 1
    assert f"{tmp_path / 'out'}: 3 done, 0 kept, 1 failed" in done.stdout
    assert "1 failed" in done.stderr
    assert "is no video that" in done.stderr
    assert quality.frame_count(tmp_path / "out" / "c d.mkv") == FRAMES

    again = clarivid(*words, "--json")
    assert again.returncode == 1
    told = json.loads(again.stdout)
    assert [item["state"] for item in told] == ["kept", "kept", "kept", "failed"]
    assert told[3]["error"].startswith(sources[3])
    well = clarivid("run", str(chain), *sources[:3], "--out-dir", str(tmp_path / "out"))
    assert well.returncode == 0, well.stderr


def test_what_fails_alike_is_told_once_and_as_it_is(films: list[Path], tmp_path: Path, clarivid: Run) -> None:
    names = [str(film) for film in films[:3]]
    done = clarivid("run", "scale=foo=2", *names, "--out-dir", str(tmp_path / "out"))
    assert done.returncode == 1
    assert done.stderr.count("the filter scale has no option 'foo'") == 1
    assert "[0:V:0]scale" in done.stderr  # :V: is no emoji
    assert all(Path(name).name in done.stderr for name in names)


def test_usage_that_makes_no_sense_has_code_2(clarivid: Run) -> None:
    for words in (["a.mp4"], ["a", "b", "c"], ["a", "b", "--jobs", "2"], ["a", "b", "--suffix", ".mp4"]):
        done = clarivid("run", "null", *words)
        assert done.returncode == 2, words
        assert "--out-dir" in done.stderr
    done = clarivid("run", "null", "a", "b.mp4", "--video-options", "-x264-params 'a=1")
    assert done.returncode == 2
    assert "has a quote that does not end" in done.stderr


@pytest.mark.usefixtures("interruptible")
def test_an_interrupted_command_goes_on_where_it_was(films: list[Path], tmp_path: Path) -> None:
    # Each film takes more than a second.
    slow = tmp_path / "z slow.mkv"
    shutil.copyfile(films[0], slow)
    words = [sys.executable, "-m", "clarivid", "run", "realtime=speed=0.4", str(films[0]), str(slow)]
    words += ["--out-dir", str(tmp_path / "out")]
    with subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        until = time.monotonic() + 20
        while not (tmp_path / "out" / "a.mkv").exists() and time.monotonic() < until:
            time.sleep(0.02)
        time.sleep(0.2)
        process.send_signal(signal.SIGINT)
        _, messages = process.communicate(timeout=20)
    assert process.returncode == 130, messages
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == [JOURNAL, "a.mkv"]
    items = run_batch("realtime=speed=0.4", [films[0], slow], tmp_path / "out")
    assert states(items) == ["kept", "done"]
    assert chains.Progress(1.0, 3.0, 5, 2.0, 0.5).eta == 4.0


def test_ffmpeg_does_not_outlive_a_run_that_was_killed(films: list[Path], tmp_path: Path) -> None:
    words = [sys.executable, "-m", "clarivid", "run", "realtime=speed=0.02", str(films[0])]
    with subprocess.Popen([*words, str(tmp_path / "o.mkv")]) as process:
        children = Path(f"/proc/{process.pid}/task/{process.pid}/children")
        deadline = time.monotonic() + 20
        ffmpeg = None
        while ffmpeg is None and time.monotonic() < deadline:
            time.sleep(0.05)
            for pid in children.read_text().split():
                with contextlib.suppress(OSError):  # ffprobe's, and it has ended
                    if Path("/proc", pid, "comm").read_text() == "ffmpeg\n":
                        ffmpeg = Path("/proc", pid)
        assert ffmpeg is not None
        process.kill()
    while _runs(ffmpeg):
        assert time.monotonic() < deadline, "ffmpeg goes on"
        time.sleep(0.05)


def _runs(process: Path) -> bool:
    """Whether it does more than wait for somebody to ask how it ended."""
    try:
        return (process / "stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False
