# SPDX-License-Identifier: BSD-2-Clause
"""``clarivid compare --blind``: nobody sees which is which before the last vote, and the count is right."""

from __future__ import annotations

import json
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from chromium import Browser
from clarivid import blind
from clarivid.blind import votes
from clarivid.errors import InputError
from compare_tools import make
from conftest import Run

FILM = "testsrc2=s=320x180:r=25:d=0.24"
SHOWN = "!document.getElementById('ask').hidden"


@pytest.fixture(scope="module")
def pairs(tmp_path_factory: pytest.TempPathFactory) -> list[tuple[Path, Path]]:
    """Two clips, plain and blurred; the files of a clip lie in a folder of its name."""
    made = []
    for name, filters in (("harbour", "null"), ("meadow", "negate")):
        folder = tmp_path_factory.mktemp("clips") / name
        folder.mkdir()
        plain = make(folder / "sharpish.mkv", filters, source=FILM)
        made.append((plain, make(folder / "blurred.mkv", "gblur=3", source=plain)))
    return made


@pytest.fixture(scope="module")
def written(pairs: list[tuple[Path, Path]], tmp_path_factory: pytest.TempPathFactory) -> Path:
    page = tmp_path_factory.mktemp("blind") / "vote.html"
    blind.write(pairs, page, page.with_suffix(".key.json"), pictures=4, seed=5)
    return page


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with Browser(1280, 900) as started:
        yield started


def key_of(page: Path) -> dict[str, Any]:
    return blind.read_key(page.with_suffix(".key.json"))


def test_the_page_does_not_say_which_is_which_nor_what_is_shown(written: Path) -> None:
    text = written.read_text("utf-8")
    for word in ("sharpish", "blurred", "harbour", "meadow", '"seed":5', str(written.parent)):
        assert word not in text
    assert "http" not in text.replace("http://www.w3.org", "")


def test_the_key_names_labels_clips_and_sides_and_both_sides_occur(written: Path) -> None:
    key = key_of(written)
    assert key["labels"] == ["sharpish", "blurred"]
    assert len(key["items"]) == 8
    assert {item["pair"] for item in key["items"]} == {"harbour", "meadow"}
    assert {item["left"] for item in key["items"]} == {0, 1}
    order = [item["pair"] for item in key["items"]]
    assert order != sorted(order)


def test_a_seed_gives_the_same_order_again(
    pairs: list[tuple[Path, Path]], written: Path, tmp_path: Path
) -> None:
    again = blind.write(pairs, tmp_path / "a.html", tmp_path / "a.json", pictures=4, seed=5)
    assert [(i.pair, i.frame, i.left) for i in again] == [
        (i["pair"], i["frame"], i["left"]) for i in key_of(written)["items"]
    ]


def test_masking_twice_gives_the_text_back() -> None:
    data = bytes(random.Random(1).randbytes(500))
    assert blind.mask(data, 12345) != data
    assert blind.mask(blind.mask(data, 12345), 12345) == data


def test_votes_by_keys_and_clicks_are_counted_and_told_only_at_the_end(
    written: Path, browser: Browser
) -> None:
    items = key_of(written)["items"]
    browser.open(written, "document.getElementById('i0-0').complete")
    browser.click("#go")
    for n, item in enumerate(items):
        browser.wait(SHOWN)
        seen = browser.value("document.querySelector('main').innerText")
        assert "sharpish" not in seen
        assert f"{n + 1} of 8" in seen
        sharp, soft = ("left", "right") if item["left"] == 0 else ("right", "left")
        if n == 0:  # a slip, and back
            browser.press("ArrowDown")
            browser.press("u")
        if n < 5:
            browser.press("ArrowLeft" if sharp == "left" else "ArrowRight")
        elif n == 5:
            browser.click(f"#{soft}")
        elif n == 6:
            browser.click("#choose-same")
        else:
            browser.press(" ")  # one in the other's place
            assert browser.value("getComputedStyle(document.getElementById('two').children[0]).display") in (
                "block",
                "none",
            )
            browser.press("ArrowDown")
    browser.wait("!document.getElementById('end').hidden")
    assert browser.value("document.getElementById('verdict').textContent") == (
        "You chose sharpish 5 times, blurred 1 times, and saw no difference 2 times."
    )
    last = browser.value("document.querySelector('#counts tbody tr:last-child').innerText").split()
    low, high = votes.wilson(1, 6)
    assert last[:4] == ["all", "5", "1", "2"]
    assert f"{round(100 * low)} %" in " ".join(last)
    assert f"{round(100 * high)} %" in " ".join(last)
    saved = written.parent / "votes-1.json"
    saved.write_text(browser.value("document.getElementById('json').textContent"))
    found = votes.count(written.with_suffix(".key.json"), [saved])
    assert (found.total.a, found.total.b, found.total.same) == (5, 1, 2)
    assert not browser.problems


def test_a_reload_goes_on_where_it_was(written: Path, browser: Browser) -> None:
    browser.open(written, "document.getElementById('i0-0').complete")
    if browser.value("document.getElementById('go').textContent") == "Result":
        browser.click("#go")
        browser.wait("!document.getElementById('end').hidden")
        browser.click("#again")
    browser.click("#go")
    browser.press("ArrowLeft")
    browser.press("ArrowLeft")
    browser.open(written, "document.getElementById('i0-0').complete")
    assert browser.value("document.getElementById('go').textContent") == "Go on"
    browser.click("#go")
    assert "3 of 8" in browser.value("document.getElementById('where').textContent")


def test_both_pictures_are_seen_at_the_same_size_and_never_scaled_by_a_fraction(
    written: Path, browser: Browser
) -> None:
    browser.open(written, "document.getElementById('i0-0').complete")
    browser.click("#go")
    browser.wait(SHOWN)
    for width in (1280, 420):
        browser.resize(width, 900)
        sizes = browser.value(
            "['left', 'right'].map(id => { const e = document.getElementById(id);"
            "return [e.getBoundingClientRect().width / e.naturalWidth, e.getBoundingClientRect().height] })"
        )
        assert sizes[0] == sizes[1]
        assert sizes[0][0] in (1, 2, 3)
    browser.resize(1280, 900)


def test_votes_of_many_viewers_are_counted_by_clip(written: Path, tmp_path: Path) -> None:
    key = key_of(written)
    files = []
    for viewer in range(3):  # everyone prefers B in meadow, nobody sees a difference in harbour
        cast = [
            "same" if item["pair"] == "harbour" else ("right" if item["left"] == 0 else "left")
            for item in key["items"]
        ]
        files.append(tmp_path / f"votes-{viewer}.json")
        files[-1].write_text(json.dumps({"sheet": key["sheet"], "votes": cast}))
    found = votes.count(written.with_suffix(".key.json"), files)
    assert found.viewers == 3
    assert (found.pairs["meadow"].a, found.pairs["meadow"].b) == (0, 12)
    assert found.pairs["harbour"].share is None
    assert found.total.share == 1
    assert "100 % (95 %: 76 to 100 %)" in votes.table(found)


def test_wilsons_interval_is_that_of_the_tables() -> None:
    # Brown, Cai and DasGupta (2001): 95 %, 10 of 20 and 0 of 10.
    assert votes.wilson(10, 20) == pytest.approx((0.2993, 0.7007), abs=1e-4)
    assert votes.wilson(0, 10) == pytest.approx((0, 0.2775), abs=1e-4)


def test_wrong_votes_and_keys_give_sentences(written: Path, tmp_path: Path) -> None:
    key, other = written.with_suffix(".key.json"), tmp_path / "votes.json"
    other.write_text(json.dumps({"sheet": "another", "votes": []}))
    with pytest.raises(InputError, match="cast on another page"):
        votes.count(key, [other])
    other.write_text(json.dumps({"sheet": key_of(written)["sheet"], "votes": ["left"]}))
    with pytest.raises(InputError, match="does not hold 8 votes"):
        votes.count(key, [other])
    with pytest.raises(InputError, match="is no key of a blind page"):
        votes.count(other, [other])


def test_clips_that_do_not_differ_cannot_be_voted_on(pairs: list[tuple[Path, Path]], tmp_path: Path) -> None:
    same = [(pairs[0][0], make(tmp_path / "copy.mkv", source=pairs[0][0]))]
    with pytest.raises(InputError, match="there is nothing to vote on"):
        blind.write(same, tmp_path / "a.html", tmp_path / "a.json")
    assert not list(tmp_path.glob("a.*"))


def test_the_command_writes_page_and_key_and_counts(
    clarivid: Run, pairs: list[tuple[Path, Path]], tmp_path: Path
) -> None:
    page = tmp_path / "look.html"
    files = [str(path) for pair in pairs for path in pair]
    done = clarivid(
        "compare", "--blind", *files, "-o", str(page), "--pictures", "1", "--labels", "old", "new"
    )
    assert done.returncode == 0, done.stderr
    key = json.loads((tmp_path / "look.key.json").read_text())
    assert key["labels"] == ["old", "new"]
    assert done.stdout.splitlines() == ["2 questions on 2 clips", str(page), str(tmp_path / "look.key.json")]
    saved = tmp_path / "votes-a.json"
    saved.write_text(json.dumps({"sheet": key["sheet"], "votes": ["same", "same"]}))
    done = clarivid("compare", "--count", str(tmp_path / "look.key.json"), str(saved), "--json")
    assert json.loads(done.stdout)["total"]["same"] == 2
    for wrong in ([*files[:3]], [*files, "--every", "2"]):
        assert clarivid("compare", "--blind", *wrong, "-o", str(page), "-y").returncode == 2
    assert clarivid("compare", files[0]).returncode == 2
