# SPDX-License-Identifier: BSD-2-Clause
"""Lossless footage of free games and rendered scenes on a virtual screen, for training.

The programs draw with OpenGL in software, which is slow; so a small library is loaded into them (``stage.c``)
that moves their clock on by one frame with every picture that they show, and hands the picture over: the film
has its own rate, whatever the machine's. Players are scripts that press keys. A film is not the same to the
bit when it is made again (games draw lots); its digest is recorded beside it.

Titles that :mod:`clarivid.clips` shows (Freedoom, the desktop programs) are not here.
"""

from __future__ import annotations

import itertools
import json
import os
import random
import select
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import BinaryIO

from clarivid.errors import InputError, ToolError, last_line
from clarivid.paths import cache_dir, sha256_of

TOOLS = ("gcc", "xvfb", "xdotool", "libgl1-mesa-dri")
FPS = 30  # of a film
_PATIENCE = 120.0  # seconds for the next picture


@dataclass(frozen=True)
class Title:
    """One game or scene.

    ``package`` holds it and is under ``licence``; ``command`` starts it on a screen of ``size``; ``kind`` is
    "game" or "cg"; ``skip`` pictures pass before the ``frames`` that are kept. ``files`` are written into its
    home folder first. ``opening`` is what a player does before the film: seconds to wait, keys (X names,
    space between, all pressed at once and let go) or ``click`` and a place. ``held`` are keys held down
    during the film, ``tapped`` keys of which one is pressed now and then. ``held_out`` titles validate.
    """

    name: str
    kind: str
    package: str
    licence: str
    command: tuple[str, ...]
    opening: tuple[float | str, ...] = (8.0,)
    held: tuple[str, ...] = ()
    tapped: tuple[str, ...] = ()
    files: dict[str, str] = field(default_factory=dict)
    size: tuple[int, int] = (1280, 720)
    frames: int = 180
    skip: int = 0
    held_out: bool = False

    @property
    def path(self) -> Path:
        """The film in the cache, FFV1 in RGB; it may not be there yet."""
        return cache_dir() / "clips" / "games" / f"{self.name}-{self.frames}.mkv"


_SCENES = "/usr/libexec/xscreensaver"


def _scene(name: str, held_out: bool = False, frames: int = 90) -> Title:
    return Title(
        f"scene-{name}",
        "cg",
        "xscreensaver-gl",
        "X11-like and MIT by file (debian/copyright)",
        (f"{_SCENES}/{name}", "--root"),
        opening=(4.0,),
        frames=frames,
        held_out=held_out,
    )


_CG = (
    *("glschool", "gleidescope", "lavalite", "moebiusgears", "cubestorm", "molecule", "energystream"),
    *("hydrostat", "romanboy"),
)
_CG_HELD_OUT = ("engine", "glknots")

TITLES: tuple[Title, ...] = (
    Title(
        "etr",
        "game",
        "extremetuxracer",
        "GPL-2+ (debian/copyright)",
        ("/usr/games/etr",),
        opening=(10.0, "Return", 4.0, "Down", 1.0, "Return", 4.0, "Return", 4.0, "Return", 12.0),
        held=("Up",),
        tapped=("Left", "Right", "Left", "Right", "e"),
        frames=240,
    ),
    Title(
        "neverball",
        "game",
        "neverball",
        "GPL-2+ (debian/copyright)",
        ("/usr/games/neverball",),
        opening=(12.0,),
        tapped=("Left", "Right", "Up", "Down"),
        files={".neverball/neverballrc": "fullscreen 0\nwidth 1280\nheight 720\nmultisample 0\n"},
        frames=60,
        held_out=True,
    ),
    Title(
        "chromium",
        "game",
        "chromium-bsu",
        "Clarified Artistic License (debian/copyright)",
        ("/usr/games/chromium-bsu", "--window", "--noaudio", "--vidmode", "3"),
        opening=(8.0, "Return", 8.0),
        held=("space",),
        tapped=("Left", "Right", "Left", "Right", "Up", "Down"),
        size=(1024, 768),
        frames=240,
    ),
    Title(
        "gltron",
        "game",
        "gltron",
        "GPL-2+ (debian/copyright)",
        ("/usr/games/gltron", "-5", "-s", "-i"),
        opening=(8.0, "Return", 2.0, "Return", 6.0),
        tapped=("a", "s", "F1", "a"),
        size=(1024, 768),
        frames=180,
    ),
    Title(
        "pingus",
        "game",
        "pingus",
        "GPL-2+ (debian/copyright)",
        (
            *("/usr/games/pingus", "-w", "-g", "1280x720", "-r", "opengl", "-m", "-s"),
            "/usr/share/games/pingus/data/levels/crystal/crystal1.pingus",
        ),
        opening=(10.0, "click 917 545", 10.0, "click 640 700", 3.0),
        tapped=("Right", "Left", "1", "2", "Right"),
        frames=90,
        held_out=True,
    ),
    *(
        Title(
            f"supertux-{level}",
            "game",
            "supertux",
            "GPL-3+, GPL-2+, CC-BY-SA-4.0 and CC-BY-SA-3.0 by file (debian/copyright)",
            (
                *("/usr/games/supertux2", "-w", "-g", "1280x720", "--renderer", "opengl"),
                *("--disable-sound", f"/usr/share/games/supertux2/levels/{file}.stl"),
            ),
            opening=(14.0,),
            held=("Right",),
            tapped=("space",),
            frames=180,
            skip=75,
        )
        for level, file in (
            ("frosted", "world1/frosted_fields"),
            ("forest", "world2/beside_bushes"),
            ("night", "world1/night_chill"),
        )
    ),
    Title(
        "minetest",
        "game",
        "minetest",
        "LGPL-2.1+, CC-BY-SA-4.0, CC-BY-SA-3.0 and MIT by file (debian/copyright)",
        (*("/usr/games/minetest", "--go", "--gameid", "minetest", "--world", "world", "--random-input"),),
        opening=(60.0,),
        held=("w",),
        files={
            ".minetest/minetest.conf": "screen_w = 1280\nscreen_h = 720\nvideo_driver = opengl\n"
            "viewing_range = 60\nenable_sound = false\n",
            "world/world.mt": "gameid = minetest\nbackend = sqlite3\nplayer_backend = sqlite3\n"
            "auth_backend = sqlite3\nmod_storage_backend = sqlite3\n",
        },
        frames=150,
    ),
    *(_scene(name) for name in _CG),
    *(_scene(name, held_out=True) for name in _CG_HELD_OUT),
)


def find(name: str) -> Title:
    """The title of that name. Raises :class:`InputError` with the known names."""
    for title in TITLES:
        if title.name == name:
            return title
    raise InputError(f'title "{name}" is unknown: it is one of {", ".join(t.name for t in TITLES)}')


def made() -> list[Title]:
    """The titles whose films are in the cache."""
    return [t for t in TITLES if t.path.is_file() and t.path.with_suffix(".json").is_file()]


def manifest() -> list[dict[str, object]]:
    """A row for each film that is in the cache, as :func:`clarivid.data.sources.collect` gives them of
    pictures."""
    rows = []
    for title in made():
        about = record(title)
        count = {"files": int(not title.held_out), "held_out": int(title.held_out)}
        row = {"source": title.package, "version": about["version"], "kind": title.kind, "role": "film"}
        row |= {"title": title.name, "licence": title.licence, "sha256": about["sha256"]}
        rows.append({**row, **count})
    return rows


def installed(title: Title) -> bool:
    """Whether a title and all that filming needs are on this machine."""
    return not _missing(title)


def _missing(title: Title) -> list[str]:
    return [p for p in ("gcc", "Xvfb", "xdotool", title.command[0]) if shutil.which(p) is None]


def film(title: Title, encoder: str) -> Path:
    """The film of ``title``, made when it is not in the cache; beside it a ``.json`` with ``sha256``,
    ``package``, ``version``, ``fps``, ``frames`` and ``size``.

    Raises :class:`ToolError` when a program is not installed, or shows nothing that moves.
    """
    if title.path.is_file() and title.path.with_suffix(".json").is_file():
        return title.path
    missing = _missing(title)
    if missing:
        install = f"apt-get install -y --no-install-recommends {' '.join((*TOOLS, title.package))}"
        raise ToolError(f"{', '.join(missing)} of the programs to be filmed are missing; as root: {install}")
    title.path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".capture-", dir=title.path.parent) as folder:
        work = Path(folder)
        for name, text in title.files.items():
            (work / name).parent.mkdir(parents=True, exist_ok=True)
            (work / name).write_text(text, "utf-8")
        with _Stage(work, title.size) as stage:
            stage.play(title)
            stage.record(work / "film.mkv", title, encoder)
        different = _different(work / "film.mkv", encoder)
        if different < title.frames // 4:
            raise ToolError(f"{title.name} hardly moves: {different} of {title.frames} pictures differ")
        about: dict[str, object] = {"sha256": sha256_of(work / "film.mkv"), "package": title.package}
        about |= {"version": _version(title.package), "title": title.name}
        about |= {"fps": FPS, "frames": title.frames, "size": list(title.size), "different": different}
        (work / "film.json").write_text(json.dumps(about, indent=1) + "\n", "utf-8")
        (work / "film.json").replace(title.path.with_suffix(".json"))
        (work / "film.mkv").replace(title.path)
    return title.path


def record(title: Title) -> dict[str, object]:
    """What is noted of a film that is there."""
    about: dict[str, object] = json.loads(title.path.with_suffix(".json").read_text("utf-8"))
    return about


def _library() -> Path:
    """``stage.c``, compiled. Raises :class:`ToolError`."""
    source = Path(__file__).with_name("stage.c")
    path = cache_dir() / "build" / f"stage-{sha256_of(source)[:12]}.so"
    if not path.is_file():
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = path.with_suffix(f".{os.getpid()}")
        command = ["gcc", "-O2", "-shared", "-fPIC", "-o", str(temporary), str(source), "-ldl"]
        try:
            done = subprocess.run(command, capture_output=True, text=True, check=False)
        except OSError as error:
            raise ToolError(f"cannot start gcc, which filming needs: {error}") from error
        if done.returncode:
            raise ToolError(f"cannot compile {source.name}: {last_line(done.stderr)}")
        temporary.replace(path)
    return path


def _opened(pipe: Path, name: str) -> BinaryIO:
    """The reading end of a pipe, once somebody writes to it."""
    handle = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
    if not select.select([handle], [], [], _PATIENCE)[0]:
        os.close(handle)
        raise ToolError(f"{name} shows no picture within {_PATIENCE:g} seconds")
    os.set_blocking(handle, True)
    return os.fdopen(handle, "rb")


def _exactly(stream: BinaryIO, count: int) -> bytes | None:
    """``count`` bytes, or None when the stream ends before, or nothing comes for too long."""
    parts: list[bytes] = []
    while count:
        if not select.select([stream], [], [], _PATIENCE)[0]:
            return None
        part = os.read(stream.fileno(), count)
        if not part:
            return None
        parts.append(part)
        count -= len(part)
    return b"".join(parts)


def _different(path: Path, encoder: str) -> int:
    """How many pictures differ from the one before."""
    command = [encoder, "-v", "error", "-i", str(path), "-f", "framemd5", "-"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    sums = [line.rpartition(",")[2] for line in done.stdout.splitlines() if not line.startswith("#")]
    return sum(a != b for a, b in itertools.pairwise(sums))


def _version(package: str) -> str:
    command = ["dpkg-query", "-W", "-f", "${Version}", package]
    return subprocess.run(command, capture_output=True, text=True, check=False).stdout.strip()


class _Stage:
    """A virtual screen with a slow clock; a context manager that ends what it started."""

    def __init__(self, folder: Path, size: tuple[int, int]) -> None:
        self.folder, self.size = folder, size
        self._programs: list[subprocess.Popen[bytes]] = []
        read, write = os.pipe()
        screen = ["-screen", "0", f"{size[0]}x{size[1]}x24", "-nolisten", "tcp", "-noreset", "-nocursor"]
        self._environment = dict(os.environ)
        self._start(["Xvfb", "-displayfd", str(write), *screen], pass_fds=(write,))
        os.close(write)
        with os.fdopen(read) as told:
            number = told.readline().strip()
        if not number:
            raise ToolError("Xvfb, the virtual screen, did not start")
        self.display = f":{number}"
        quiet = {"SDL_AUDIODRIVER": "dummy", "ALSOFT_DRIVERS": "null", "SDL_VIDEODRIVER": "x11"}
        homes = {"HOME": str(folder), "XDG_RUNTIME_DIR": str(folder), "LC_ALL": "C.UTF-8"}
        drawing = {"LIBGL_ALWAYS_SOFTWARE": "1", "LP_NUM_THREADS": "0", "vblank_mode": "0"}
        self._environment |= {"DISPLAY": self.display, **quiet, **homes, **drawing}

    def __enter__(self) -> _Stage:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for program in reversed(self._programs):
            with suppress(ProcessLookupError):
                os.killpg(program.pid, signal.SIGKILL)  # what it has to save is thrown away anyway
            program.wait()

    def play(self, title: Title) -> None:
        """Start the program and do its opening."""
        os.mkfifo(self.folder / "pictures")
        width, height = self.size
        self._environment |= {
            "LD_PRELOAD": str(_library()),
            "CLARIVID_STAGE_GO": str(self.folder / "go"),
            "CLARIVID_STAGE_PIPE": str(self.folder / "pictures"),
            "CLARIVID_STAGE_SIZE": f"{width}x{height}",
            "CLARIVID_STAGE_FPS": str(FPS),
        }
        program = self._start(title.command)
        del self._environment["LD_PRELOAD"]
        for step in title.opening:
            if isinstance(step, float):
                time.sleep(step)
            elif step.startswith("click"):
                self.press("mousemove", *step.split()[1:], "click", "1")
            else:
                self.press("key", *step.split())
            if program.poll() is not None:
                raise ToolError(f"{title.name} ended at once, with exit code {program.returncode}")

    def record(self, path: Path, title: Title, encoder: str) -> None:
        """Film what is shown while keys are pressed."""
        width, height = self.size
        for key in title.held:
            self.press("keydown", key)
        command = [encoder, "-v", "error", "-y", "-f", "rawvideo", "-pix_fmt", "rgba", "-r", str(FPS)]
        command += ["-s", f"{width}x{height}", "-i", "-", "-vf", "vflip", "-c:v", "ffv1", "-pix_fmt", "gbrp"]
        camera = subprocess.Popen(
            [*command, str(path)], stdin=subprocess.PIPE, stderr=subprocess.PIPE, start_new_session=True
        )
        self._programs.append(camera)
        assert camera.stdin is not None
        assert camera.stderr is not None
        lots = random.Random(title.name)
        pressed, until = "", 0
        (self.folder / "go").touch()
        with _opened(self.folder / "pictures", title.name) as pictures:
            for number in range(title.skip + title.frames):
                picture = _exactly(pictures, width * height * 4)
                if picture is None:
                    raise ToolError(f"{title.name} ended after {number} pictures")
                if number >= title.skip:
                    camera.stdin.write(picture)
                if title.tapped and number >= until:
                    if pressed:
                        self.press("keyup", pressed)
                    pressed = "" if pressed else lots.choice(title.tapped)
                    if pressed:
                        self.press("keydown", pressed)
                    until = number + lots.randrange(6, 40)
        camera.stdin.close()
        if camera.wait():
            raise ToolError(f"cannot film {title.name}: {last_line(camera.stderr.read().decode())}")

    def press(self, what: str, *keys: str) -> None:
        """Press (``keydown``), let go (``keyup``) or both (``key``), wherever the focus is; or what else
        xdotool knows."""
        command = ["xdotool", what, *keys]
        subprocess.run(command, env=self._environment, capture_output=True, check=False)

    def _start(self, command: Sequence[str], pass_fds: tuple[int, ...] = ()) -> subprocess.Popen[bytes]:
        log = (self.folder / f"log-{len(self._programs)}.txt").open("wb")
        program = subprocess.Popen(
            command,
            cwd=self.folder,
            env=self._environment,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
            pass_fds=pass_fds,
        )
        log.close()
        self._programs.append(program)
        return program
