# SPDX-License-Identifier: BSD-2-Clause
"""Filming games: their clock goes on by one frame with every picture, and pictures arrive whole.

No game and no screen is needed: a program with a stub of OpenGL stands for them.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import time
from pathlib import Path

import pytest
from click.testing import CliRunner

from clarivid import games
from clarivid.cli.data import command
from clarivid.errors import ToolError

pytestmark = pytest.mark.skipif(shutil.which("gcc") is None, reason="gcc is not installed")

# Pictures are 4x2; each is filled with its number. Drawing takes 20 ms, and the game waits for its next
# sixtieth of a second as games do.
GL = """
#include <string.h>
#include <unistd.h>
static int shown;
void glPixelStorei(unsigned name, int value) { (void)name; (void)value; }
void glReadPixels(int x, int y, int w, int h, unsigned f, unsigned t, void *p) {
    (void)x, (void)y, (void)f, (void)t;
    memset(p, shown, (size_t)w * h * 4);
}
void glXSwapBuffers(void *display, unsigned long window) { (void)display, (void)window; shown++; }
"""
GAME = """
#include <stdio.h>
#include <time.h>
#include <unistd.h>
void glXSwapBuffers(void *, unsigned long);
static double now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec + t.tv_nsec / 1e9;
}
int main(void) {
    double before = now();
    for (int i = 0; i < 1000; i++) {
        for (volatile int j = 0; j < 20000000; j++) {}
        struct timespec rest = {0, 16000000};
        nanosleep(&rest, NULL);
        glXSwapBuffers(NULL, 0);
        double after = now();
        printf("%.4f\\n", after - before);
        fflush(stdout);
        before = after;
    }
}
"""


@pytest.fixture(scope="module")
def game(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder with ``game`` and the ``libGL.so.1`` that it is linked with."""
    folder = tmp_path_factory.mktemp("game")
    (folder / "gl.c").write_text(GL)
    (folder / "game.c").write_text(GAME)
    library = ["-shared", "-fPIC", "-Wl,-soname,libGL.so.1", "-o", "libGL.so.1", "gl.c"]
    for arguments in (library, ["-O1", "-o", "game", "game.c", "libGL.so.1", "-Wl,-rpath,$ORIGIN"]):
        subprocess.run(["gcc", *arguments], cwd=folder, check=True)
    return folder


def test_the_clock_goes_by_frames_and_every_picture_arrives(
    game: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CLARIVID_CACHE", str(tmp_path))
    pipe = tmp_path / "pictures"
    os.mkfifo(pipe)
    words = {"GO": tmp_path / "go", "PIPE": pipe, "SIZE": "4x2", "FPS": "25"}
    settings = {f"CLARIVID_STAGE_{key}": str(value) for key, value in words.items()}
    (tmp_path / "go").touch()
    with subprocess.Popen(
        [game / "game"],
        env={**os.environ, "LD_PRELOAD": str(games._library()), **settings},
        stdout=subprocess.PIPE,
        text=True,
    ) as program:
        with games._opened(pipe, "game") as pictures:
            for number in range(6):
                assert games._exactly(pictures, 32) == bytes([number]) * 32
                time.sleep(0.1)  # somebody is slow
        assert program.stdout is not None
        steps = [float(line) for line in program.stdout.read().split()]
        program.wait(20)
    assert program.returncode == 0  # it ended when nobody read any more
    assert len(steps) >= 5
    assert steps[1:5] == pytest.approx([1 / 25] * 4, abs=2e-4)


def test_without_the_word_to_begin_nothing_changes(
    game: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CLARIVID_CACHE", str(tmp_path))
    settings = {"CLARIVID_STAGE_GO": str(tmp_path / "go"), "CLARIVID_STAGE_PIPE": str(tmp_path / "none")}
    with subprocess.Popen(
        [game / "game"],
        env={**os.environ, "LD_PRELOAD": str(games._library()), "CLARIVID_STAGE_SIZE": "4x2", **settings},
        stdout=subprocess.PIPE,
        text=True,
    ) as program:
        assert program.stdout is not None
        begun = time.monotonic()
        steps = [float(program.stdout.readline()) for _ in range(4)]
        took = time.monotonic() - begun
        program.kill()
    assert min(steps) >= 0.016
    assert sum(steps) < took + 0.5


def test_a_game_that_is_not_there_is_a_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CLARIVID_CACHE", str(tmp_path))
    title = games.Title("pong", "game", "pong", "GPL-2", ("/usr/games/no-such-game",))
    assert not games.installed(title)
    with pytest.raises(ToolError, match=r"as root: apt-get install .* pong"):
        games.film(title, "ffmpeg")


def test_the_command_lists_titles_with_licences_and_films_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("imageio_ffmpeg")
    monkeypatch.setenv("CLARIVID_CACHE", str(tmp_path))
    monkeypatch.setenv("COLUMNS", "250")
    listed = CliRunner().invoke(command, ["capture", "--list"], catch_exceptions=False)
    assert listed.exit_code == 0
    for title in games.TITLES:
        line = next(row for row in listed.stdout.splitlines() if row.split()[:1] == [title.name])
        assert title.package in line
        assert title.licence in line
    as_json = CliRunner().invoke(command, ["capture", "--list", "--json"], catch_exceptions=False)
    assert json.loads(as_json.stdout) == []
    assert not list(tmp_path.iterdir())
