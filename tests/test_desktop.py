# SPDX-License-Identifier: BSD-2-Clause
"""Films of real programs: the screen is read rightly, a missing program is named."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest

from clarivid import desktop
from clarivid.errors import ToolError

needs_screen = pytest.mark.skipif(
    not (shutil.which("Xvfb") and shutil.which("xterm")), reason="Xvfb or xterm is not installed"
)


@needs_screen
def test_the_screen_shows_what_a_program_draws(tmp_path: Path) -> None:
    with desktop.Screen(tmp_path) as screen:
        assert screen.picture().shape == (720, 1280, 3)
        assert not screen.picture().any()
        screen.start("xterm", "-b", "0", "-bw", "0", "-bg", "#102030", "-geometry", "80x24+0+0", "-e", "cat")
        shown = screen.picture()
        assert tuple(shown[100, 200]) == (0x10, 0x20, 0x30)
        assert not shown[719, 1279].any()
    assert all(program.returncode is not None for program in screen._programs)


def test_a_missing_program_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CLARIVID_CACHE", str(tmp_path))
    monkeypatch.setattr(shutil, "which", lambda name: None if name == "dillo" else f"/usr/bin/{name}")
    with pytest.raises(ToolError, match=r"dillo of the programs .* apt-get install .*xvfb"):
        desktop.film("browser", "ffmpeg")
    assert not list(tmp_path.iterdir())


def test_a_film_that_is_there_is_not_made_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CLARIVID_CACHE", str(tmp_path))
    path = tmp_path / "clips" / f"desktop-editor-{desktop.FRAMES}.mkv"
    path.parent.mkdir()
    path.touch()
    assert desktop.film("editor", "ffmpeg") == path


def test_code_is_coloured_for_the_terminal() -> None:
    line = desktop._coloured('return x + 12; // the "sum"')
    plain = line
    for code in (0, 32, 33, 35, 36):
        plain = plain.replace(f"\033[{code}m", "")
    assert plain == 'return x + 12; // the "sum"'
    assert line.count("\033[0m") == 3
    assert np.all([f"\033[{code}m" in line for code in (35, 36, 32)])
