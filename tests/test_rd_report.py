# SPDX-License-Identifier: BSD-2-Clause
"""What ``clarivid rd`` says: tables, guards, gate, and three kinds of files with the same numbers in them."""

from __future__ import annotations

import contextlib
import csv
import json
import re
import subprocess
import sys
import time
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from clarivid.pages import charts as drawing
from clarivid.rd import Encoder, Plan, Point, Results, Source, Store, Variant, bd_table, page, report, run
from clarivid.rd.plan import CODECS
from clarivid.rd.prepare import Clip
from clarivid.rd.presets import encoders, numbers
from clarivid.rd.run import crf_for
from conftest import Run
from rd_tools import film, plan, soften

VOID = {"meta", "br", "img", "link", "input", "hr"}


def made(changes: dict[str, dict[str, float]], clips: tuple[str, ...] = ("a", "b")) -> Results:
    """Results out of thin air: bits at equal quality differ by ``changes[variant][score]`` per cent.

    A key ``score@clip`` is for one clip only.
    """
    names = ("vmaf", "vmaf_neg", "ssim")
    own = Plan(
        tuple(Source(name, Path(name), "game") for name in clips),
        tuple(Encoder(name) for name in CODECS),
        tuple(Variant(name, "null") for name in changes),
        scores=names,
    )
    points = []
    for clip in clips:
        for encoder in own.encoders:
            for variant in own.variants:
                for n, crf in enumerate(encoder.crf[::-1]):
                    bits = 8000 * 2**n
                    scores = {}
                    for score in names:
                        change = changes.get(variant.name, {})
                        percent = change.get(f"{score}@{clip}", change.get(score, 0.0))
                        # Quality grows by 5 when bits double; the same bits give more where fewer are needed.
                        base = {"vmaf": 70.0, "vmaf_neg": 68.0, "ssim": 0.90}[score]
                        step = 0.02 if score == "ssim" else 5.0
                        scores[score] = base + step * (n - _log2(1 + percent / 100))
                    record = {
                        "bits": bits,
                        "packets": [bits // 16, bits // 16],
                        "scores": scores,
                        "seconds": 1.0,
                        "commands": ["ffmpeg"],
                    }
                    points.append(
                        Point(clip, encoder.label, "crf", crf, variant.name, 25.0, Path("none"), record)
                    )
    facts = {(clip, v.name): Clip("0", 2, 192, 192, 25.0, "yuv420p") for clip in clips for v in own.variants}
    return Results(own, facts, points, [], "ffmpeg")


def _log2(value: float) -> float:
    import math

    return math.log2(value)


GOOD = {"vmaf": -12.0, "vmaf_neg": -5.0, "ssim": -4.0}


def test_means_are_over_encoders_of_means_over_clips() -> None:
    results = made({"x": {"vmaf@a": -10.0, "vmaf@b": -20.0, "ssim": 1.0}})
    assert results.mean("x", "vmaf") == pytest.approx(-15)
    assert results.mean("x", "vmaf", clip="b") == pytest.approx(-20)
    assert results.mean("x", "vmaf", encoder="x265 medium") == pytest.approx(-15)
    assert results.mean("x", "vmaf", kind="game") == pytest.approx(-15)
    assert results.worst("x", "vmaf") == ("a", pytest.approx(-10))
    own = [row["bd_rate"] for row in bd_table(results) if row["score"] == "ssim"]
    assert own == pytest.approx([1.0] * 6)


def test_the_gate_passes_what_is_good_enough() -> None:
    assert made({"x": GOOD}).gate("x") == []


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"vmaf": -9.9}, r"^VMAF: -9.90 %, at most -10 % is asked for$"),
        ({"vmaf_neg": -1.0}, r"^VMAF-NEG: -1.00 %"),
        ({"ssim": -2.0}, r"^SSIM: -2.00 %"),
        ({"ssim@a": -20.0, "ssim@b": 4.0}, r"^SSIM of b: \+4.00 %, at most \+3 % is allowed$"),
    ],
)
def test_the_gate_says_what_misses(change: dict[str, float], sentence: str) -> None:
    missed = made({"x": {**GOOD, **change}}).gate("x")
    assert len(missed) == 1
    assert re.search(sentence, missed[0])


def test_the_gate_does_not_pass_what_it_cannot_judge() -> None:
    results = made({"x": GOOD})
    for point in results.points:
        if (point.clip, point.variant) == ("a", "x"):
            point.record["scores"]["ssim"] -= 0.5  # no quality in common any more
    assert any("3 curve(s) gave no BD-rate" in reason for reason in results.gate("x"))
    assert any("share no quality" in guard.sentence for guard in results.guards() if guard.severity == "fail")


def test_a_gain_by_sharpening_is_called_that() -> None:
    def notes(vmaf: float, neg: float) -> list[str]:
        results = made({"x": {"vmaf": vmaf, "vmaf_neg": neg}})
        return [g.sentence for g in results.guards() if "sharpening" in g.sentence]

    assert notes(-15.0, 7.0) == ["VMAF says -15.0 %, VMAF-NEG +7.0 %: most of VMAF's gain is sharpening"]
    assert notes(-12.0, -3.0)
    assert notes(-12.0, -5.0) == []
    assert notes(4.0, 3.0) == []


def test_colour_drift_misses_the_gate() -> None:
    results = made({"x": GOOD})
    results.clips["a", "x"] = replace(results.clips["a", "x"], drift=(0.0, -0.21, 0.0))
    assert results.gate("x") == ["a: colour drifts by more than 0.2 code values"]


def test_the_matching_crf_is_interpolated_in_log_rate() -> None:
    points = [p for p in made({"x": {}}, ("a",)).points if (p.encoder, p.variant) == ("x264 medium", "x")]
    assert crf_for(points[0].kbps, points) == 35.0
    assert crf_for(points[0].kbps * 2**0.5, points) == 32.5
    assert crf_for(points[0].kbps / 100, points) == 35.0  # never outside what was measured


def test_crf_options_are_for_all_encoders_or_for_one() -> None:
    chosen = encoders(("x264:slow", "svtav1"), ("20,24,28,32", "svtav1=30,40,50,60"))
    assert [(e.label, e.crf) for e in chosen] == [
        ("x264 slow", (20, 24, 28, 32)),
        ("svtav1 8", (30, 40, 50, 60)),
    ]
    assert [len(encoder.crf) for encoder in encoders()] == [4] * 3
    assert numbers("1,2.5") == (1, 2.5)


class Page(HTMLParser):
    """Checks that tags nest, and gathers what the tests look at."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.ids: list[str] = []
        self.links: list[str] = []
        self.labels = self.selects = self.images = 0
        self.cells: list[tuple[str, ...]] = []
        self.caption = ""
        self._row: list[str] = []
        self._in = ""
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        known = dict(attrs)
        if "id" in known:
            self.ids.append(str(known["id"]))
        self.links += [str(value) for key, value in attrs if key in ("src", "href", "action", "data")]
        self.selects += tag == "select"
        self.labels += tag == "label"
        if tag == "img":
            self.images += 1
            assert known["alt"]
        if tag == "tr":
            self._row = []
        if tag in ("td", "th", "caption"):
            self._in = tag
            self._row.append("") if tag != "caption" else None
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        pass  # <path/>, <circle/>: nothing to close

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag
        if tag in ("td", "th", "caption"):
            self._in = ""
        if tag == "tr":
            self.cells.append((self.caption, *(text.strip() for text in self._row)))

    def handle_data(self, data: str) -> None:
        if self._in == "caption":
            self.caption = data
        elif self._in:
            self._row[-1] += data


@pytest.fixture(scope="module")
def real(tmp_path_factory: pytest.TempPathFactory) -> tuple[dict[str, Any], Path]:
    """A real run of two variants, written out."""
    folder = tmp_path_factory.mktemp("report")
    clip = film(folder / "film <b>.mkv")
    variants = (Variant("soft", apply=soften), Variant("same", apply=lambda picture: picture))
    own = plan(clip, *variants, sources=(Source("film <b>", clip, "game"),), abr=True, abr_variants=("soft",))
    results = run(own, store=Store(folder / "store"))
    found = report.summary(results, "clarivid rd 'film <b>.mkv'")
    report.write(found, folder / "out")
    page.write(results, found, folder / "out" / "index.html")
    return found, folder / "out"


def test_csv_json_and_page_hold_the_same_numbers(real: tuple[dict[str, Any], Path]) -> None:
    found, folder = real
    assert json.loads((folder / "results.json").read_text("utf-8")) == json.loads(json.dumps(found))
    with (folder / "bd.csv").open(encoding="utf-8") as stream:
        rows = list(csv.DictReader(stream))
    assert [row["bd_rate"] for row in rows] == [str(row["bd_rate"]) for row in found["bd"]]
    with (folder / "results.csv").open(encoding="utf-8") as stream:
        points = list(csv.DictReader(stream))
    assert len(points) == 3 * 4 + 2 * 4
    assert {(p["variant"], p["mode"]) for p in points} == {
        *((name, "crf") for name in ("plain", "soft", "same")),
        *((name, "abr") for name in ("plain", "soft")),
    }
    for row, point in zip(points, found["points"], strict=True):
        assert int(row["bits"]) == point["bits"]
        assert float(row["vmaf"]) == point["scores"]["vmaf"]
    shown = Page((folder / "index.html").read_text("utf-8"))
    for mean in found["means"]:
        if mean["encoder"] or mean["clip"] or mean["kind"]:
            continue
        caption = f"Mean BD-rate against plain, {page.MODE_NAMES[mean['mode']]}"
        cells = tuple(f"{mean['bd'][s]:+.1f} %".replace("-", page.MINUS) for s in found["scores"])
        assert (caption, mean["variant"], *cells) in shown.cells


def test_the_page_stands_alone(real: tuple[dict[str, Any], Path]) -> None:
    text = (real[1] / "index.html").read_text("utf-8")
    code = re.sub(r"data:image/webp;base64,[A-Za-z0-9+/=]+", "", text)
    assert not re.search(r"https?:|[\"']//|@import|url\(", code)
    shown = Page(text)
    assert shown.open == []
    assert all(link.startswith(("data:image/webp;base64,", "#")) for link in shown.links)
    assert len(shown.ids) == len(set(shown.ids))
    assert shown.selects == shown.labels == 3  # each menu has a label
    assert shown.images == 4  # source, plain, two variants
    assert "film <b>" not in text  # names are escaped
    assert "film &lt;b&gt;" in text


def test_the_page_is_readable_without_javascript(real: tuple[dict[str, Any], Path]) -> None:
    found, folder = real
    figures = re.findall(r'<figure id="rd-[^"]+"( hidden)?>', (folder / "index.html").read_text("utf-8"))
    assert len(figures) == 2 * len(found["scores"])  # one clip, two modes
    assert figures.count("") == 1  # one curve is shown, the menus are hidden until the script is there
    assert '<form class="pickers" hidden' in (folder / "index.html").read_text("utf-8")


def test_a_picture_is_shown_at_the_bits_of_plain(real: tuple[dict[str, Any], Path]) -> None:
    found, _ = real
    anchor = report.anchor_of(found, "film <b>")
    soft = next(point for point in found["matched"] if point["variant"] == "soft")
    assert soft["kbps"] == pytest.approx(anchor["kbps"], rel=0.1)


def test_axes_have_a_handful_of_round_ticks() -> None:
    for low, high in ((3.0, 4.0), (100.0, 9000.0), (800.0, 1300.0), (1.0, 1e6)):
        series = [drawing.Series(0, [(low, 0.9, ""), (high, 0.99, "")])]
        text = drawing.curves(series, "SSIM", "", 5)
        marks = re.findall(r'text-anchor="middle">([^<]+)<', text)
        assert 2 <= len(marks) <= 7, (low, high, marks)


def test_the_command_writes_everything_and_judges(tmp_path: Path, clarivid: Run) -> None:
    clip = film(tmp_path / "film.mkv")
    arguments = ["rd", str(clip), "--encoder", "x264:ultrafast", "--variant", "blur=gblur=0.4"]
    arguments += ["--score", "vmaf", "--score", "vmaf_neg", "--score", "ssim", "--out", str(tmp_path / "out")]
    cache = {"CLARIVID_CACHE": str(tmp_path / "cache")}
    done = clarivid(*arguments, "--json", "--gate", **cache)
    # A cache of its own has no ffmpeg of ours: the sentence says how to get it.
    assert done.returncode == 1
    assert "clarivid ffmpeg build" in done.stderr
    done = clarivid(*arguments, "--json", "--gate")
    assert done.returncode == 1, done.stderr  # a blur does not pass
    told = json.loads(done.stdout)
    assert told["gate"]["missed"]["blur"]
    assert {path.name for path in (tmp_path / "out").iterdir()} == {
        "index.html",
        "results.json",
        "results.csv",
        "bd.csv",
    }
    table = clarivid(*arguments)
    assert table.returncode == 0, table.stderr
    assert "blur: BD-rate in %, CRF" in table.stdout
    assert "gate, blur: missed: VMAF" in table.stdout


def test_a_terminated_command_leaves_no_encode_behind(tmp_path: Path) -> None:
    clip = film(tmp_path / "film.mkv", size="480x320", frames=30)
    command = [sys.executable, "-m", "clarivid", "rd", str(clip), "--encoder", "x265:placebo", "--jobs", "1"]
    command += ["--variant", "blur=gblur=0.4", "--score", "psnr_y", "--frames", "30"]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, cwd=tmp_path, text=True)
    deadline = time.monotonic() + 60
    while not (encoding := _encodes_of(process.pid)) and time.monotonic() < deadline:
        time.sleep(0.05)
    process.terminate()
    assert process.wait(timeout=30) == 130
    assert process.stderr is not None
    assert "clarivid: interrupted" in process.stderr.read()
    assert encoding
    assert not any(Path(f"/proc/{pid}").exists() for pid in encoding)


def _encodes_of(parent: int) -> list[int]:
    """Processes of that parent whose command names the encoder."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError, IndexError):
            state = (folder / "stat").read_text("utf-8").rpartition(")")[2].split()
            if int(state[1]) == parent and b"libx265" in (folder / "cmdline").read_bytes():
                found.append(int(folder.name))
    return found


def test_help_teaches(clarivid: Run) -> None:
    text = clarivid("rd", "--help").stdout
    for word in ("BD-rate", "VMAF-NEG", "--preset full", "docs/evaluation.md", "Examples:"):
        assert word in text
