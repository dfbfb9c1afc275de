# SPDX-License-Identifier: BSD-2-Clause
"""The types that the package tells are those that it has."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest


def test_the_stub_of_the_binary_module_says_what_the_module_has(root: Path) -> None:
    pytest.importorskip("mypy")
    done = subprocess.run(
        [sys.executable, "-m", "mypy.stubtest", "clarivid._core", "--concise"],
        cwd=root,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    told = [
        line
        for line in done.stdout.splitlines()
        # pybind11's classes have a metaclass of their own; the protocol is for readers of the stub only.
        if line
        and not line.endswith(("metaclass differs", "_core.SupportsCudaArray is not present at runtime"))
    ]
    assert not told, "\n".join(told)
    assert "metaclass differs" in done.stdout or done.returncode == 0, done.stdout + done.stderr


def test_the_package_says_that_it_is_typed(root: Path) -> None:
    assert (root / "python" / "clarivid" / "py.typed").is_file()
