# SPDX-License-Identifier: BSD-2-Clause
"""The filters' tests on every series of FFmpeg, and the table of it in docs/ffmpeg.md.

The suite itself runs them on the series that everybody builds. Here they run once more on each of the
others, in processes of their own, several at a time. What became of them is what the table says.
"""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
import xml.etree.ElementTree as ElementTree
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from functools import cache
from pathlib import Path

import pytest

from clarivid import ffmpeg
from clarivid.errors import ToolError
from clarivid.ffmpeg.builder import tree_of
from clarivid.ffmpeg.flags import OUR_FILTERS
from clarivid.ffmpeg.series import DEFAULT, OTHERS, SERIES
from ffmpeg_series import DIFFERENCES, misfit, not_here
from filter_cuda_tools import device
from written_pages import assert_written, writing

FILES = (
    "test_options.py::test_a_built_ffmpeg_has_these_options",
    "test_filters.py",
    "test_filters_bad_input.py",
    "test_dnn_sr.py",
    "test_lowrank_pre.py",
    "test_mesh_inpaint.py",
    "test_mesh_inpaint_boxes.py",
    "test_filters_cuda.py",
    "test_cuda_layouts.py",
)
CHECKS = (  # the first whose pattern is found in "file::test" has the test
    ("listed, with their options", r"^test_options"),
    ("frames in CUDA memory, on the emulator: pictures, what is negotiated, errors", r"cuda"),
    (
        "size, format and range change in mid-stream, no frame is lost",
        r"::.*(change_of|change_to|waits)",
    ),
    ("software frames in every format, odd sizes, cropped and flipped", r"::.*(size|formats?|cropped)_"),
    ("the samples of the Python classes", r"::.*pixels_of_the_python_class"),
    ("time, duration, aspect, colour, side data", r"::.*(keeps?_|side_data|regions_of)"),
    ("nonsense, damaged files, failures: a sentence", r"^test_filters_bad_input"),
    ("all else: options, nets, commands, masks, boxes, threads", r""),
)
BUILT = "compiles without a warning"
FITS = "the patch fits the release to the line"
NEVER = "derived, never tested"
Outcome = dict[str, set[str]]  # check -> what became of its tests: passed, skipped, failed


def run_on(series: str, report: Path) -> tuple[Outcome, str]:
    """The filters' tests on one series."""
    here = Path(__file__).parent
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-m", "not gpu", "-p", "no:cacheprovider",
         f"--junitxml={report}", *(str(here / name) for name in FILES)],
        env={**os.environ, "CLARIVID_TEST_SERIES": series}, stdin=subprocess.DEVNULL,
        capture_output=True, text=True, check=False, timeout=900,
    )  # fmt: skip
    outcome: Outcome = {}
    for case in ElementTree.parse(report).iter("testcase"):
        test = f"{case.get('classname', '').rpartition('.')[2]}::{case.get('name')}"
        check = next(name for name, pattern in CHECKS if re.search(pattern, test))
        became = next((child.tag for child in case if child.tag in ("failure", "error", "skipped")), "passed")
        outcome.setdefault(check, set()).add(became)
    return outcome, done.stdout[-4000:]


@pytest.fixture(scope="module")
def outcomes(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], tuple[Outcome, str]]:
    """What became of the tests on a series; those of all that are built run at once."""
    folder = tmp_path_factory.mktemp("series")
    pool = ThreadPoolExecutor(len(os.sched_getaffinity(0)))
    runs: dict[str, Future[tuple[Outcome, str]]] = {
        name: pool.submit(run_on, name, folder / f"{name}.xml") for name in OTHERS if find(name)
    }

    def outcome(series: str) -> tuple[Outcome, str]:
        built(series)
        if series not in runs:
            runs[series] = pool.submit(run_on, series, folder / f"{series}.xml")
        return runs[series].result()

    return outcome


@cache
def find(series: str) -> ffmpeg.Built | None:
    try:
        return ffmpeg.find(series=series)
    except ToolError:
        return None


def built(series: str) -> ffmpeg.Built:
    found = find(series)
    if found is None:
        not_here(series, f"FFmpeg {series} is not built: 'tools/setup.sh series' does it")
    return found


def failed(outcome: Outcome) -> list[str]:
    """The checks of which not all tests passed."""
    # With a driver those for machines without one are skipped, and without emulator all of CUDA's.
    may_skip = set() if device() else {"skipped"}
    return [check for check, _ in CHECKS if outcome.get(check, set()) - may_skip != {"passed"}]


@pytest.mark.parametrize("series", OTHERS)
def test_the_filters_keep_their_promises_on_every_series(
    series: str, outcomes: Callable[[str], tuple[Outcome, str]]
) -> None:
    outcome, said = outcomes(series)
    assert outcome.keys() == {check for check, _ in CHECKS}, said
    assert failed(outcome) == [], said


@pytest.mark.parametrize("series", [DEFAULT, *OTHERS])
def test_the_filters_compile_without_a_warning(series: str) -> None:
    assert complaints(series) == ""


@cache
def complaints(series: str) -> str:
    """What the compiler says of the filters with the series' own flags."""
    tree = tree_of(built(series))
    objects = [
        f"libavfilter/{name}.o"
        for name in ("clarivid_common", "clarivid_cuda", "clarivid_masks", "clarivid_session",
                     *(f"vf_{name}" for name in OUR_FILTERS))
    ]  # fmt: skip
    asked = subprocess.run(
        ["make", "-n", "-B", "V=1", *objects], cwd=tree, capture_output=True, text=True, check=False
    ).stdout
    commands = [
        line for line in asked.splitlines() if re.search(r" -c .*libavfilter/(vf|clarivid)_\w+\.c$", line)
    ]
    assert len(commands) == len(objects), asked[-2000:]
    said = ""
    for command in commands:
        words = re.sub(r" -o \S+\.o ", " ", command.replace("ccache ", "", 1))
        words = re.sub(r" -MMD -MF \S+ -MT \S+| -MMD", "", words)
        done = subprocess.run(
            [*shlex.split(words), "-fsyntax-only", "-Werror"],
            cwd=tree, capture_output=True, text=True, check=False,
        )  # fmt: skip
        said += done.stderr or (f"exit code {done.returncode}\n" if done.returncode else "")
    return said


def table(passed: Callable[[str, str], bool]) -> str:
    """What stands in docs/ffmpeg.md; ``passed`` tells whether a series passed a check."""
    lines = ["| | " + " | ".join(SERIES) + " |", "|---|" + "---|" * len(SERIES)]
    tested = [one.tested or NEVER for one in SERIES.values()]
    lines.append("| release | " + " | ".join(tested) + " |")
    for check in (FITS, BUILT, *(check for check, _ in CHECKS)):
        cells = ("yes" if one.tested and passed(name, check) else "no" for name, one in SERIES.items())
        lines.append(f"| {check} | " + " | ".join(cells) + " |")
    lines += ["", "| in | FFmpeg itself | what the tests do there |", "|---|---|---|"]
    lines += [f"| {', '.join(one.series)} | {one.what} | {one.instead} |" for one in DIFFERENCES.values()]
    return "\n".join(lines) + "\n"


def test_the_table_in_the_documentation_is_what_became_of_the_tests(
    root: Path, outcomes: Callable[[str], tuple[Outcome, str]]
) -> None:
    write = writing()

    def passed(series: str, check: str) -> bool:
        if check == FITS:
            return misfit(series) == ""
        if check == BUILT:
            return complaints(series) == ""
        if series == DEFAULT and not write:
            return True  # the suite runs these tests itself, and fails with them
        return check not in failed(outcomes(series)[0])

    test = "test_series.py::test_the_table_in_the_documentation_is_what_became_of_the_tests"
    assert_written(root / "docs" / "ffmpeg.md", "series", test, table(passed))
