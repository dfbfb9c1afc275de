# SPDX-License-Identifier: BSD-2-Clause
"""Lossless footage of real programs on a virtual screen: a terminal, an editor, a browser.

Xvfb keeps its screen in a file, which is read after each step of a script (a line arrives, a key is pressed),
once the picture has come to rest. So every frame is one step, however slow the machine is. What is shown
comes from packages too: libopenshot's sources and xfig's manual.
"""

from __future__ import annotations

import os
import re
import shutil
import signal
import struct
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from types import TracebackType

import numpy as np
import numpy.typing as npt

from clarivid.errors import ToolError, last_line
from clarivid.packages import fetch_deb, fetch_debian_source
from clarivid.paths import cache_dir

PACKAGES = ("xvfb", "xdotool", "xterm", "scite", "dillo", "fonts-dejavu-core")
PROGRAMS = {"terminal": "xterm", "editor": "scite", "browser": "dillo"}
SIZE = (1280, 720)
FRAMES = 48
Picture = npt.NDArray[np.uint8]  # [H,W,3], RGB
_PATIENCE = 20.0  # seconds for a program to show something


class Screen:
    """A virtual screen of :data:`SIZE` with its own home folder; a context manager."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._programs: list[subprocess.Popen[bytes]] = []
        read, write = os.pipe()
        command = ["Xvfb", "-displayfd", str(write), "-screen", "0", f"{SIZE[0]}x{SIZE[1]}x24"]
        command += ["-fbdir", str(folder), "-nolisten", "tcp", "-noreset", "-dpi", "96"]
        self._server = self._start(command, {**os.environ}, pass_fds=(write,))
        os.close(write)
        with os.fdopen(read) as told:
            number = told.readline().strip()
        if not number:
            raise ToolError("Xvfb, the virtual screen, did not start")
        quiet = {"NO_AT_BRIDGE": "1", "GTK_OVERLAY_SCROLLING": "0", "LC_ALL": "C.UTF-8", "LANG": "C.UTF-8"}
        homes = {"HOME": str(folder), "XDG_CONFIG_HOME": str(folder), "XDG_RUNTIME_DIR": str(folder)}
        self._environment = {**os.environ, "DISPLAY": f":{number}", **quiet, **homes}

    def __enter__(self) -> Screen:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for program in reversed(self._programs):
            if program.poll() is None:
                os.killpg(program.pid, signal.SIGTERM)
            try:
                program.wait(5)
            except subprocess.TimeoutExpired:
                os.killpg(program.pid, signal.SIGKILL)
                program.wait()

    def start(self, *command: str) -> None:
        """Run a program on the screen and wait for its first picture to come to rest."""
        before = self.picture()
        self._start(command, self._environment)
        self.wait(before, _PATIENCE, rest=0.7)

    def press(self, *keys: str) -> None:
        """Press and release keys, by their X names, wherever the focus is."""
        done = subprocess.run(
            ["xdotool", "key", "--clearmodifiers", "--delay", "0", *keys],
            env=self._environment,
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode:
            raise ToolError(f"xdotool cannot press {' '.join(keys)}: {last_line(done.stderr)}")

    def wait(self, before: Picture, patience: float, rest: float = 0.06) -> Picture:
        """The picture once it differs from ``before`` (or ``patience`` seconds have passed) and has been the
        same for ``rest`` seconds."""
        limit = time.monotonic() + patience
        shown = self.picture()
        while np.array_equal(shown, before) and time.monotonic() < limit:
            time.sleep(0.01)
            shown = self.picture()
        limit, since = time.monotonic() + _PATIENCE, time.monotonic()
        while time.monotonic() < min(limit, since + rest):
            time.sleep(0.01)
            later = self.picture()
            if not np.array_equal(later, shown):
                shown, since = later, time.monotonic()
        return shown

    def picture(self) -> Picture:
        """What the screen shows now: X's window dump format, 32 bits a pixel, blue first."""
        data = (self.folder / "Xvfb_screen0").read_bytes()
        header, *fields = struct.unpack_from(">25I", data)
        width, height, stride, colours = fields[3], fields[4], fields[11], fields[18]
        pixels = np.frombuffer(data, np.uint8, stride * height, header + 12 * colours)
        return pixels.reshape(height, stride // 4, 4)[:, :width, 2::-1]

    def _start(
        self, command: Sequence[str], environment: dict[str, str], pass_fds: tuple[int, ...] = ()
    ) -> subprocess.Popen[bytes]:
        null = subprocess.DEVNULL
        program = subprocess.Popen(
            command,
            cwd=self.folder,
            env=environment,
            stdin=null,
            stdout=null,
            stderr=null,
            start_new_session=True,
            pass_fds=pass_fds,
        )
        self._programs.append(program)
        return program


def film(name: str, encoder: str) -> Path:
    """:data:`FRAMES` pictures of ``terminal``, ``editor`` or ``browser``, FFV1 in RGB; kept in the cache.

    Raises :class:`ToolError` when a program is not installed or does not run.
    """
    path = cache_dir() / "clips" / f"desktop-{name}-{FRAMES}.mkv"
    if path.is_file():
        return path
    missing = [p for p in ("Xvfb", "xdotool", PROGRAMS[name]) if shutil.which(p) is None]
    if missing:
        install = f"apt-get install -y --no-install-recommends {' '.join(PACKAGES)}"
        raise ToolError(f"{', '.join(missing)} of the programs to be filmed are missing; as root: {install}")
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".capture-", dir=path.parent) as folder:
        work = Path(folder)
        with Screen(work) as screen:
            pictures = list(_SCRIPTS[name](screen))
        if len({p.tobytes() for p in pictures}) < FRAMES // 4:
            raise ToolError(f"{name} shows next to nothing: it did not react to what the script did")
        command = [encoder, "-v", "error", "-y", "-f", "rawvideo", "-pix_fmt", "rgb24", "-r", "25"]
        command += ["-s", f"{SIZE[0]}x{SIZE[1]}", "-i", "-", "-c:v", "ffv1", "-pix_fmt", "gbrp"]
        command.append(str(work / "film.mkv"))
        raw = b"".join(p.tobytes() for p in pictures)
        done = subprocess.run(command, input=raw, capture_output=True, check=False)
        if done.returncode:
            raise ToolError(f"cannot store the film of {name}: {last_line(done.stderr.decode())}")
        (work / "film.mkv").replace(path)
    return path


# --------------------------------------------------------------------------------------------- scripts


def _source(file: str) -> Path:
    return fetch_debian_source("libopenshot").one(f"**/libopenshot-*/src/{file}")


_TOKENS = re.compile(
    r"(?P<comment>//.*|/\*.*)|(?P<string>\"[^\"]*\"|<[a-z.]+>)|(?P<number>\b\d[\w.]*)"
    r"|(?P<word>\b(?:if|else|for|while|return|new|void|int|bool|double|float|const|auto|std|class|using)\b)"
)
_COLOURS = {"comment": 32, "string": 33, "number": 36, "word": 35}


def _coloured(line: str) -> str:
    """A line of C++ with a terminal's colours."""
    return _TOKENS.sub(lambda m: f"\033[{_COLOURS[str(m.lastgroup)]}m{m[0]}\033[0m", line)


def _terminal(screen: Screen) -> Iterator[Picture]:
    """A dark terminal: a listing runs through, a command is typed, a log comes by several lines at once."""
    lines = [_coloured(x) for x in _source("Timeline.cpp").read_text("utf-8", "replace").splitlines()[30:]]
    pipe = screen.folder / "text"
    os.mkfifo(pipe)
    look = ["-fa", "DejaVu Sans Mono", "-fs", "11", "-bg", "#1d1f21", "-fg", "#c5c8c6"]
    look += ["-geometry", "142x40+0+0", "-b", "0", "-bw", "0"]  # a character has 9x18 pixels
    screen.start("xterm", *look, "-e", "cat", str(pipe))
    with pipe.open("w", encoding="utf-8") as out:

        def say(text: str) -> Picture:
            before = screen.picture()
            out.write(text)
            out.flush()
            return screen.wait(before, 1.0 if text else 0.0)

        say("\r\n".join(lines[:60]) + "\r\n")
        at = 60
        for _ in range(14):
            yield say(lines[at] + "\r\n")
            at += 1
        say("\033[32muser@host\033[0m:\033[34m~/src\033[0m$ ")
        for letter in "grep -n frame *":
            yield say(letter)
        say("\r\n")
        while True:
            yield say("\r\n".join(lines[at : at + 3]) + "\r\n")
            yield say("")
            at += 3


def _editor(screen: Screen) -> Iterator[Picture]:
    """A light editor with line numbers: scrolling by lines, typing, a page at a time."""
    settings = {
        "position.left": "0",
        "position.top": "0",
        "position.width": str(SIZE[0]),
        "position.height": str(SIZE[1]),
        "caret.period": "0",
        "line.margin.visible": "1",
        "line.margin.width": "4+",
        "statusbar.visible": "1",
        "tabbar.visible": "1",
        "toolbar.visible": "1",
        "font.monospace": "font:!DejaVu Sans Mono,size:11",
        "font.base": "$(font.monospace)",
        "font.small": "$(font.monospace)",
        "font.comment": "$(font.monospace)",
        "caret.line.back": "#EEF4FF",
    }
    text = "\n".join(f"{key}={value}" for key, value in settings.items())
    (screen.folder / ".SciTEUser.properties").write_text(text + "\n", "utf-8")
    (screen.folder / "FrameMapper.cpp").write_bytes(_source("FrameMapper.cpp").read_bytes())
    screen.start("scite", "-open:FrameMapper.cpp")
    press = _presser(screen)
    for _ in range(60):
        press("Down")
    for _ in range(16):
        yield press("ctrl+Down")
    press("Home", "Return")
    for key in [*"int", "space", *"frames", "space", "equal", "space", *"24", "semicolon"]:
        yield press(key)
    while True:
        yield press("Next")
        for _ in range(5):
            yield screen.picture()


def _browser(screen: Screen) -> Iterator[Picture]:
    """A manual with pictures: scrolled in small steps, a pause, larger steps."""
    page = fetch_deb("xfig-doc").one("usr/share/doc/xfig/html/editing.html")
    screen.start("dillo", "-f", "-g", f"{SIZE[0]}x{SIZE[1]}+0+0", page.as_uri())
    press = _presser(screen)
    for _ in range(20):
        yield press("Down")
    for _ in range(6):
        yield screen.picture()
    while True:
        yield press("Next")
        yield screen.picture()
        yield press("Down")
        yield press("Down")


def _presser(screen: Screen) -> Callable[..., Picture]:
    def press(*keys: str) -> Picture:
        before = screen.picture()
        screen.press(*keys)
        return screen.wait(before, 0.4)

    return press


def _cut(script: Callable[[Screen], Iterator[Picture]]) -> Callable[[Screen], Iterator[Picture]]:
    """The first :data:`FRAMES` pictures of a script."""

    def run(screen: Screen) -> Iterator[Picture]:
        steps = script(screen)
        for _ in range(FRAMES):
            yield next(steps).copy()
        steps.close()  # type: ignore[attr-defined]

    return run


_SCRIPTS = {"terminal": _cut(_terminal), "editor": _cut(_editor), "browser": _cut(_browser)}
