# SPDX-License-Identifier: BSD-2-Clause
"""Lossless footage of a free game: a recorded demo of Freedoom, played by dsda-doom's software renderer.

The game plays the demo that its data file carries, without a window and without a GPU, so the pictures are
the same everywhere. Freedoom is BSD-3-Clause, dsda-doom GPL-2+; both are Debian packages.
"""

from __future__ import annotations

import os
import shutil
import struct
import subprocess
import tempfile
from pathlib import Path

from clarivid.errors import ToolError
from clarivid.paths import cache_dir

PACKAGES = ("dsda-doom", "freedoom")
_WAD = Path("/usr/share/games/doom/freedoom1.wad")
SIZE = (1280, 720)


def freedoom(encoder: str, frames: int = 400, demo: str = "DEMO1") -> Path:
    """The first ``frames`` pictures of a demo, 1280x720 at 60 a second, FFV1 in RGB; kept in the cache.

    Raises :class:`ToolError` when the game is not installed or does not run.
    """
    path = cache_dir() / "clips" / f"freedoom-{demo.lower()}-{frames}.mkv"
    if path.is_file():
        return path
    game = shutil.which("dsda-doom", path=os.environ.get("PATH", "") + ":/usr/games")
    if game is None or not _WAD.is_file():
        install = f"apt-get install -y --no-install-recommends {' '.join(PACKAGES)}"
        raise ToolError(f"the game that is filmed is not installed; as root: {install}")
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".capture-", dir=path.parent) as name:
        work = Path(name)
        (work / "demo.lmp").write_bytes(_lump(_WAD, demo))
        # The game pipes its pictures to this; ffmpeg ends after `frames`, and the broken pipe ends the game.
        record = f"{encoder} -y -loglevel error -f rawvideo -pix_fmt rgb24 -r %r -s %wx%h -i pipe: "
        record += f"-frames:v {frames} -c:v ffv1 -pix_fmt gbrp -f matroska {work}/film.mkv"
        settings = {"cap_videocommand": record, "cap_soundcommand": "cat", "cap_muxcommand": "true"}
        lines = [f'{key} "{value}"' for key, value in settings.items()]
        (work / "game.cfg").write_text("\n".join(lines) + "\n", "utf-8")
        command = [game, "-config", "game.cfg", "-iwad", str(_WAD), "-geom", f"{SIZE[0]}x{SIZE[1]}w"]
        command += [
            "-vidmode",
            "Software",
            "-nosound",
            "-nomusic",
            "-timedemo",
            "demo.lmp",
            "-viddump",
            "film",
        ]
        quiet = {"SDL_VIDEODRIVER": "dummy", "SDL_AUDIODRIVER": "dummy"}
        homes = {"HOME": name, "XDG_RUNTIME_DIR": name}
        try:
            done = subprocess.run(
                command,
                cwd=work,
                env={**os.environ, **quiet, **homes},
                stdin=subprocess.DEVNULL,
                capture_output=True,
                timeout=600,
                check=False,
            )
        except subprocess.TimeoutExpired:
            raise ToolError("dsda-doom did not end within ten minutes") from None
        film = work / "film.mkv"
        if not film.is_file() or not film.stat().st_size:
            text = (done.stdout + done.stderr).decode(errors="replace").strip()
            raise ToolError(f"dsda-doom gave no film: {text.splitlines()[-1] if text else 'no reason given'}")
        film.replace(path)
    return path


def _lump(wad: Path, name: str) -> bytes:
    """One entry of a WAD file (id Software's archive: header, entries, directory of offset, size, name)."""
    data = wad.read_bytes()
    count, offset = struct.unpack_from("<ii", data, 4)
    for entry in range(count):
        start, size, label = struct.unpack_from("<ii8s", data, offset + 16 * entry)
        if label.rstrip(b"\0") == name.encode():
            return data[start : start + size]
    raise ToolError(f"{wad} has no {name}")
