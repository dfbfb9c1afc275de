# SPDX-License-Identifier: BSD-2-Clause
"""Two films that are composed here, as the programs that the pictures belong to would: a game's level, and a
visual novel with speech. Stored without loss, kept in the cache."""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Iterator

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from clarivid.clips import encoder
from clarivid.errors import ToolError, last_line
from clarivid.outputs import draft_of, finish
from clarivid.packages import fetch_deb
from clarivid.paths import cache_dir

SIZES = {"reef": (640, 520), "dialogue": (1280, 720)}
FRAMES = 24
_VERSION = 2

GAME, NOVEL = "fillets-ng-data", "renpy-demo"


def film(name: str) -> str:
    """Path of the film ``reef`` or ``dialogue``. Raises :class:`ToolError`."""
    path = cache_dir() / "clips" / f"drawn-{name}-{_VERSION}.mkv"
    if not path.is_file():
        path.parent.mkdir(parents=True, exist_ok=True)
        raw = b"".join(np.asarray(picture.convert("RGB")).tobytes() for picture in _FILMS[name]())
        with draft_of(path) as draft:
            command = [encoder(), "-v", "error", "-y", "-f", "rawvideo", "-pix_fmt", "rgb24", "-r", "25"]
            command += [
                "-s",
                "x".join(map(str, SIZES[name])),
                "-i",
                "-",
                "-c:v",
                "ffv1",
                "-pix_fmt",
                "gbrp",
                str(draft),
            ]
            done = subprocess.run(command, input=raw, capture_output=True, check=False)
            if done.returncode:
                raise ToolError(f"cannot store the film {name}: {last_line(done.stderr.decode())}")
            finish(draft, path)
    return str(path)


def _font(size: int) -> ImageFont.FreeTypeFont:
    return ImageFont.truetype(str(fetch_deb("fonts-dejavu-core").one("**/DejaVuSans.ttf")), size)


def _reef() -> Iterator[Image.Image]:
    """A level of a game: a ground that waves, walls, creatures, two fish, and what one of them says."""
    package = fetch_deb(GAME)
    folder = "usr/share/games/fillets-ng/images"

    def sprite(name: str) -> Image.Image:
        return Image.open(package.one(f"{folder}/{name}")).convert("RGBA")

    ground, walls = (sprite(f"creatures/koraly-{layer}.png") for layer in "pw")
    squid = [sprite(f"creatures/sepie_{n:02}.png") for n in range(13)]
    crab = [sprite(f"creatures/krab_{n:02}.png") for n in range(10)]
    anemone = [sprite(f"creatures/sasanka_{n:02}.png") for n in range(8)]
    big = [sprite(f"fishes/big/right/body_swam_{n:02}.png") for n in range(6)]
    small = [sprite(f"fishes/small/left/body_swam_{n:02}.png") for n in range(6)]
    said, font = "I have never seen so many of them in one place.", _font(16)
    rows = np.arange(ground.height)
    for t in range(FRAMES):
        # The game shifts whole rows, by whole samples.
        shifts = np.rint(5 * np.sin(rows / 26 + t / 7)).astype(int)
        pixels = np.asarray(ground)
        waved = np.stack([np.roll(pixels[y], int(shifts[y]), 0) for y in rows])
        picture = Image.fromarray(waved)
        for one, x, y in (
            (squid[t % 13], 250, 330),
            (squid[(t + 5) % 13], 430, 90),
            (crab[t // 2 % 10], 330, 150),
            (anemone[t // 3 % 8], 90, 240),
            (anemone[(t // 3 + 4) % 8], 480, 380),
            (big[t // 2 % 6], 60 + 3 * t, 400),
            (small[t // 2 % 6], 470 - 3 * t, 200),
        ):
            picture.alpha_composite(one, (x, y))
        picture.alpha_composite(walls)
        ImageDraw.Draw(picture).text((90, 470), said[: 2 * t], font=font, fill=(255, 197, 102, 255))
        yield picture.crop((0, 0, *SIZES["reef"]))


def _dialogue() -> Iterator[Image.Image]:
    """Two persons before a garden: one comes in, the other stands; what is said appears letter by letter."""
    package = fetch_deb(NOVEL)

    def sprite(name: str) -> Image.Image:
        return Image.open(package.one(f"usr/share/games/renpy/demo/game/images/{name}")).convert("RGBA")

    ground, speaker, other = sprite("bg whitehouse.jpg"), sprite("eileen happy.png"), sprite("lucy mad.png")
    size = SIZES["dialogue"]
    small, large = _font(22), _font(26)
    said = "By the way, did you know that every one of these frames is drawn anew?"
    for t in range(FRAMES):
        picture = ground.copy()
        picture.alpha_composite(other, (800, 0))
        place = (1, 0, -(20 + 13.5 * t), 0, 1, 0)  # between samples, bilinear, as a graphics card draws it
        picture.alpha_composite(
            speaker.transform(size, Image.Transform.AFFINE, place, Image.Resampling.BILINEAR)
        )
        shade = Image.new("RGBA", size, (0, 0, 0, 0))
        draw = ImageDraw.Draw(shade)
        draw.rounded_rectangle((140, 540, 1140, 700), 12, fill=(20, 24, 40, 190))
        draw.text((180, 552), "Eileen", font=large, fill=(200, 255, 200, 255))
        draw.text((180, 596), said[: 3 * t + 2], font=small, fill=(255, 255, 255, 255))
        picture.alpha_composite(shade)
        yield picture


_FILMS: dict[str, Callable[[], Iterator[Image.Image]]] = {"reef": _reef, "dialogue": _dialogue}
