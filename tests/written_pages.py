# SPDX-License-Identifier: BSD-2-Clause
"""Parts of the documentation that tests write, and hold against what they find."""

from __future__ import annotations

import os
from pathlib import Path


def writing() -> bool:
    """Whether the pages are to be written anew: CLARIVID_WRITE_DOCS=1."""
    return bool(os.environ.get("CLARIVID_WRITE_DOCS"))


def assert_written(page: Path, part: str, test: str, content: str) -> None:
    """``page`` has ``content`` where it says so: between ``<!-- PART: written by tests/FILE.py -->`` and
    ``<!-- end of PART -->``.

    ``test`` is the test that calls this, as "FILE.py::NAME".
    """
    text = page.read_text("utf-8")
    begin = f"<!-- {part}: written by tests/{test.partition('::')[0]} -->\n"
    end = f"<!-- end of {part} -->"
    before, found, rest = text.partition(begin)
    assert found, f"{page} has lost its line {begin!r}"
    wanted = f"{before}{begin}{content}{end}{rest.partition(end)[2]}"
    if writing():
        page.write_text(wanted, "utf-8")
    assert page.read_text("utf-8") == wanted, f"run CLARIVID_WRITE_DOCS=1 pytest tests/{test}"
