# SPDX-License-Identifier: BSD-2-Clause
"""The page of ``clarivid compare``: it stands alone, and a real browser is clicked, dragged and typed at."""

from __future__ import annotations

import base64
import errno
import io
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from chromium import INSTALL, Browser, program
from clarivid.compare import Comparison, compare, embed, page
from clarivid.compare.pictures import Shown
from clarivid.errors import ToolError
from clarivid.outputs import write_whole
from clarivid.pages import charts
from compare_tools import make
from test_rd_report import Page

READY = "document.body.dataset.ready !== undefined"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("page")


@pytest.fixture(scope="module")
def found(folder: Path) -> Comparison:
    """A coarse and a blurred version of a moving picture, whose name has to be escaped."""
    source = make(folder / "source.mkv", source="testsrc2=s=320x180:r=25:d=0.48")
    coarse = make(folder / "coarse.mp4", source=source, codec=("-c:v", "libx264", "-crf", "45"))
    soft = make(folder / "soft <b>&.mkv", "gblur=2", source=source)
    return compare(coarse, soft, source, labels=("coarse", "soft <b>&"))


@pytest.fixture(scope="module")
def shown(found: Comparison) -> list[Shown]:
    return found.pictures(3)


@pytest.fixture(scope="module")
def written(found: Comparison, shown: list[Shown], folder: Path) -> Path:
    return page.write(found, shown, folder / "page.html")


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with Browser(1280, 1000) as started:
        yield started


@pytest.fixture
def opened(browser: Browser, written: Path) -> Iterator[Browser]:
    """The page, just opened; whatever a test does, its script must not fail."""
    browser.problems.clear()
    browser.requests.clear()
    browser.open(written, READY)
    yield browser
    assert browser.problems == []


def test_the_page_stands_alone(written: Path) -> None:
    text = written.read_text("utf-8")
    code = re.sub(r"data:image/webp;base64,[A-Za-z0-9+/=]+", "", text)
    # The one address is a name, not a place: that of SVG, for elements which the script makes.
    assert not re.search(r"https?:|[\"']//|@import|url\(", code.replace("http://www.w3.org/2000/svg", ""))
    seen = Page(text)
    assert seen.open == []
    assert all(link.startswith(("data:image/webp;base64,", "#")) for link in seen.links)
    assert len(seen.ids) == len(set(seen.ids))
    assert "soft <b>" not in code
    assert "soft &lt;b&gt;&amp;" in code


def test_the_page_tells_the_numbers_of_the_json(found: Comparison, written: Path) -> None:
    text = written.read_text("utf-8")
    numbers = found.summary()
    assert numbers["scores"].keys() == {"a", "b"}
    change = numbers["scores"]["b"]["vmaf"]["mean"] - numbers["scores"]["a"]["vmaf"]["mean"]
    assert f"{change:+.2f}".replace("-", page.MINUS) in text
    for role in ("a", "b"):
        for key in ("mean", "low", "least"):
            assert f"<td>{numbers['scores'][role]['vmaf'][key]:.2f}</td>" in text
        assert f"<td>{numbers['files'][role]['video_bytes']:,}</td>" in text
    told = re.search(r'<script type="application/json" id="data">(.*?)</script>', text, re.DOTALL)
    assert told
    data = json.loads(told[1])
    assert data["plots"]["plot-vmaf"]["series"][1] == ["soft <b>&", numbers["scores"]["b"]["vmaf"]["values"]]
    assert json.loads(json.dumps(numbers, allow_nan=False)) == numbers


def test_pictures_too_large_for_the_page_lose_quality_but_their_places_do_not(
    shown: list[Shown], monkeypatch: pytest.MonkeyPatch
) -> None:
    labels = list(shown[0].pictures)
    assert embed.embed(shown, labels, [0, 1]).quality is None
    monkeypatch.setattr(embed, "BUDGET", 150_000)
    small = embed.embed(shown, labels, [0, 1])
    assert small.quality is not None
    assert len(small.store) < 400_000
    uri = re.search(r'<img id="p1-0-1" src="data:image/webp;base64,([^"]+)"', small.store)
    assert uri
    part = np.asarray(Image.open(io.BytesIO(base64.b64decode(uri[1]))).convert("RGB"))
    np.testing.assert_array_equal(part, shown[1].places[0].of(shown[1].pictures[labels[1]]))


def test_the_page_opens_from_disk_without_asking_for_anything_else(opened: Browser, written: Path) -> None:
    assert opened.requests == [written.resolve().as_uri()]
    assert opened.value("document.title") == "coarse and soft <b>&"


def test_a_click_moves_the_divider_and_both_pictures_with_it(opened: Browser) -> None:
    assert _divider(opened) == 50
    opened.click("#stage", dx=-300)
    width = opened.value("document.querySelector('#stage').getBoundingClientRect().width")
    expected = 50 - 300 / width * 100
    assert _divider(opened) == pytest.approx(expected, abs=1)
    left = opened.value("document.querySelector('#handle').getBoundingClientRect().x")
    stage = opened.value("document.querySelector('#stage').getBoundingClientRect().x")
    half = opened.value("document.querySelector('#handle').getBoundingClientRect().width / 2")
    assert (left + half - stage) / width * 100 == pytest.approx(expected, abs=1)
    shape = opened.value("getComputedStyle(document.querySelector('#right')).clipPath")
    assert float(re.findall(r"[\d.]+", shape)[-1]) == pytest.approx(expected, abs=1)


def test_what_is_seen_left_and_right_of_the_divider_are_the_two_pictures(
    opened: Browser, found: Comparison, shown: list[Shown]
) -> None:
    # At the width of the picture itself a sample is a pixel of the screenshot.
    place = "{position: 'fixed', left: 0, top: 0, width: '320px', margin: 0, zIndex: 9}"
    opened.value(f"Object.assign(document.querySelector('#stage').style, {place})")
    opened.press("2")
    drawn = Image.open(io.BytesIO(opened.screenshot())).convert("RGB")
    seen = np.asarray(drawn)[:180, :320].astype(int)
    worst = shown[int(opened.value("document.body.dataset.ready"))]
    names = list(found.files)
    # Beside the divider, the names and the frame of what is enlarged.
    region = opened.value(
        "['left','top','width','height'].map((k) => parseFloat(document.querySelector('#region').style[k]))"
    )
    free = np.ones((180, 320), bool)
    free[:40] = free[:, 135:185] = False
    left, top, width, height = (round(v / 100 * n) for v, n in zip(region, (320, 180, 320, 180), strict=True))
    free[max(top - 25, 0) : top + height + 5, max(left - 5, 0) : left + width + 5] = False
    for part, name in ((slice(0, 160), names[0]), (slice(160, 320), names[1])):
        where = free[:, part]
        assert where.sum() > 2000
        error = np.abs(seen[:, part] - worst.pictures[name][:, part])[where]
        assert error.max() <= 2, name


def test_dragging_and_the_keyboard_move_the_divider(opened: Browser) -> None:
    opened.drag("#handle", 120)
    moved = _divider(opened)
    assert moved > 55
    opened.value("document.querySelector('#handle').focus()")
    opened.press("ArrowLeft")
    assert _divider(opened) == moved - 2
    opened.press("Home")
    assert _divider(opened) == 0
    opened.press(" ")
    assert _divider(opened) == 100


def test_arrows_and_thumbnails_change_the_frame(opened: Browser, shown: list[Shown]) -> None:
    first = int(opened.value("document.body.dataset.ready"))
    opened.press("ArrowRight" if first == 0 else "ArrowLeft")
    other = 1 if first == 0 else first - 1
    opened.wait(f"document.body.dataset.ready === '{other}'")
    opened.click("#strip button:nth-child(3)")
    opened.wait("document.body.dataset.ready === '2'")
    assert f"frame {shown[2].chosen.pair}," in opened.value("document.querySelector('#what').textContent")
    assert opened.value("document.querySelectorAll('#strip [aria-pressed=true]').length") == 1


def test_enlarged_pictures_show_the_worst_place_and_move_together(
    opened: Browser, shown: list[Shown], found: Comparison
) -> None:
    worst = shown[int(opened.value("document.body.dataset.ready"))]
    place = worst.places[0]
    opened.hover("#panels figure:nth-child(2) canvas")
    at = [int(v) for v in re.findall(r"\d+", opened.value("document.querySelector('#pixel').textContent"))]
    assert abs(at[0] - (place.x + place.width / 2)) <= 40  # or as near as the picture's border lets it be
    told = opened.value("[...document.querySelectorAll('#panels span')].map((e) => e.textContent)")
    for text, label in zip(told, found.files, strict=True):
        assert [int(v) for v in text.split()] == worst.pictures[label][at[1], at[0]].tolist()
    before = _pixels(opened)
    opened.drag("#panels figure:nth-child(1) canvas", 60, 30)
    after = _pixels(opened)
    assert all(a != b for a, b in zip(before, after, strict=True))  # every one of them moved
    opened.click("#more")
    assert opened.value("document.querySelector('#zoom').textContent") == "8\u00d7"
    assert opened.value("document.querySelectorAll('#panels canvas').length") == 3


def test_differences_can_be_shown_and_hidden(opened: Browser) -> None:
    plain = _pixels(opened)
    opened.click("#heat")
    assert opened.value("document.querySelector('#heat').getAttribute('aria-pressed')") == "true"
    assert not opened.value("document.querySelector('#scale').hidden")
    heat = _pixels(opened)
    assert [a == b for a, b in zip(plain, heat, strict=True)] == [False, False, True]  # not the reference
    opened.press("d")
    assert _pixels(opened) == plain


def test_charts_tell_values_and_lead_to_pictures(opened: Browser, found: Comparison) -> None:
    opened.hover("#plot-vmaf .chart", dx=-60)
    told = opened.value("[...document.querySelectorAll('.plot output')].map((e) => e.textContent)")
    frame = re.match(r"frame (\d+), ", told[0])
    assert frame
    assert len({text.partition(":")[0] for text in told}) == 1  # one moment in all charts
    values = [scores["vmaf"][int(frame[1])] for scores in found.scored.scores.values()]
    assert told[0].endswith(f"coarse {values[0]:.2f}, soft <b>& {values[1]:.2f} ")
    opened.click("#plot-vmaf .chart", dx=320)
    opened.wait("document.body.dataset.ready === '2'")
    opened.click("[data-rate=by-second]")
    assert opened.value("document.querySelector('#by-frame').hidden")
    assert not opened.value("document.querySelector('#by-second').hidden")


def test_other_files_can_be_put_left_and_right(opened: Browser) -> None:
    opened.value(
        "(() => { const s = document.querySelector('#pick-left'); s.value = '2';"
        "s.dispatchEvent(new Event('change')); })()"
    )
    assert opened.value("document.querySelector('#tag-left').textContent") == "reference"
    assert opened.value("document.querySelector('#left').getAttribute('aria-label')").startswith(
        "reference, "
    )


@pytest.mark.parametrize(("scheme", "dark"), [("light", False), ("dark", True)])
def test_colours_follow_the_reader_and_the_button(opened: Browser, scheme: str, dark: bool) -> None:
    opened.prefer(scheme)
    assert (_background(opened) < 128) is dark
    opened.click("#theme")
    assert (_background(opened) < 128) is not dark


def test_the_page_fits_a_telephone(opened: Browser) -> None:
    opened.resize(390, 800)
    try:
        assert opened.value("document.documentElement.scrollWidth") <= 390
    finally:
        opened.resize(1280, 1000)


def test_one_picture_each_makes_a_page_too(browser: Browser, shown: list[Shown], tmp_path: Path) -> None:
    for name, picture in shown[0].pictures.items():
        Image.fromarray(picture).save(tmp_path / f"{name[:4]}.png")
    stills = compare(tmp_path / "coar.png", tmp_path / "soft.png")
    browser.problems.clear()
    browser.open(page.write(stills, stills.pictures(), tmp_path / "stills.html"), READY)
    browser.click("#stage", dx=100)
    assert _divider(browser) > 55
    before = _pixels(browser)
    browser.press("d")  # two files: the map of differences takes the place of the second
    assert [a == b for a, b in zip(before, _pixels(browser), strict=True)] == [True, False]
    assert browser.problems == []


def test_a_full_disk_leaves_the_old_page_and_no_draft(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    target = tmp_path / "page.html"
    target.write_text("old", "utf-8")

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device", str(target))

    monkeypatch.setattr(Path, "replace", full)
    with pytest.raises(ToolError, match=r"page.html cannot be written: No space left"):
        write_whole(target, b"new")
    assert [path.read_text("utf-8") for path in tmp_path.iterdir()] == ["old"]


def test_a_long_film_keeps_its_peaks_in_the_chart() -> None:
    points = [(float(n), 50.0, "") for n in range(100_000)]
    points[70_001] = (70_001.0, 3.0, "")
    text = charts.timeline([charts.Series(1, points)], "VMAF", "", 2)
    assert len(text) < 40_000
    heights = [float(v) for v in re.findall(r"[ML][\d.]+,([\d.]+)", text.partition('class="s1"')[2])]
    assert max(heights) - min(heights) > 100


def test_without_a_browser_a_test_fails_in_ci_and_says_what_installs_one(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    monkeypatch.delenv("CHROMIUM", raising=False)
    monkeypatch.setenv("CI", "true")
    with pytest.raises(pytest.fail.Exception, match=INSTALL):
        program()
    monkeypatch.setenv("CI", "")
    with pytest.raises(pytest.skip.Exception, match=INSTALL):
        program()


def _divider(browser: Browser) -> float:
    return float(browser.value("document.querySelector('#handle').getAttribute('aria-valuenow')"))


def _pixels(browser: Browser) -> list[str]:
    found: Any = browser.value("[...document.querySelectorAll('#panels canvas')].map((c) => c.toDataURL())")
    return [str(text) for text in found]


def _background(browser: Browser) -> int:
    colour = browser.value("getComputedStyle(document.body).backgroundColor")
    return int(re.findall(r"\d+", colour)[0])
