# SPDX-License-Identifier: BSD-2-Clause
"""Screen content: windows with code, terminals, documents, slides and forms, light and dark, drawn by pillow.

Text is antialiased in grey (no subpixel colours, which video seldom has) with fonts from Debian packages. The
words are a random generator's. What moves is what moves on screens: pages that scroll by lines or
smoothly, a line being typed, a page that changes at once, a pointer, a window being dragged; the rest stands
perfectly still.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
from PIL import Image, ImageColor, ImageDraw, ImageFont

from clarivid.packages import fetch_deb

Rng = np.random.Generator
Colour = tuple[int, int, int]
Font = ImageFont.FreeTypeFont

# package, licence, fonts of fixed width, others
FONTS: tuple[tuple[str, str, str, str], ...] = (
    ("fonts-dejavu-core", "Bitstream Vera licence", "DejaVuSansMono*", "DejaVuS*"),
    ("fonts-liberation2", "OFL-1.1", "LiberationMono-*", "LiberationS*"),
    ("fonts-hack", "Expat and Bitstream Vera licence", "Hack-*", ""),
    ("fonts-cantarell", "OFL-1.1", "", "Cantarell*"),
)
VAL_FONTS: tuple[tuple[str, str, str, str], ...] = (
    ("fonts-inconsolata", "OFL-1.0", "Inconsolata*", "Inconsolata*"),
)


@dataclass(frozen=True)
class Theme:
    """Colours of a window: ground, text, a fainter text, lines and bars, and accents for what stands out."""

    ground: Colour
    text: Colour
    faint: Colour
    bar: Colour
    accents: tuple[Colour, ...]


def _theme(ground: str, text: str, faint: str, bar: str, accents: str) -> Theme:
    """A theme of hexadecimal colours."""
    first, second, third, fourth, *rest = (
        ImageColor.getrgb(f"#{c}")[:3] for c in (ground, text, faint, bar, *accents.split())
    )
    return Theme(first, second, third, fourth, tuple(rest))


_LIGHT = (
    _theme("ffffff", "141418", "787c82", "eceef0", "0046aa a0141e 0a6e32 824600"),
    _theme("fdf6e3", "586e75", "93a1a1", "eee8d5", "268bd2 dc322f 859900 b58900"),
    _theme("f5f5f8", "32323c", "8c8c96", "dcdee4", "5a3cb4 c85014 007878 b4005a"),
)
_DARK = (
    _theme("000000", "cccccc", "6e6e6e", "282828", "50dc50 e65050 5a96ff e6c83c"),
    _theme("1e1e1e", "d4d4d4", "6a9955", "333333", "569cd6 ce9178 4ec9b0 dcdcaa"),
    _theme("002b36", "839496", "586e75", "073642", "268bd2 cb4b16 2aa198 d33682"),
)

_SYLLABLES, _COMMON, _SIGNS = (
    text.split(" ")
    for text in (
        "ra lo mi ten ver su dor ka ne pol ist er an tu gle bra con fi ex ta le ro que sh th in en um",
        "the of and to in is for that with on as are by be this from at or not it an which all",
        "= == + -> ( ) [0] { } : ; != && // % * <= , .",
    )
)


def fonts(table: Sequence[tuple[str, str, str, str]] = FONTS) -> tuple[list[str], list[str]]:
    """Fetch the packages; paths of fonts of fixed width, and of proportional ones."""
    fixed: list[str] = []
    free: list[str] = []
    for package, _, mono, other in table:
        root = fetch_deb(package)
        for pattern, found in ((mono, fixed), (other, free)):
            if pattern:
                files = [p for suffix in ("ttf", "otf") for p in root.find(f"**/{pattern}.{suffix}")]
                files = [p for p in files if not re.search("Oblique|Italic", p.name)]
                found += [str(p) for p in files if pattern is mono or "Mono" not in p.name]
    return sorted(fixed), sorted(free)


def manifest() -> list[dict[str, object]]:
    """A row a font package, as in :func:`clarivid.data.sources.collect`."""
    rows: list[dict[str, object]] = []
    for table, held in ((FONTS, False), (VAL_FONTS, True)):
        for name, licence, _, _ in table:
            package = fetch_deb(name)
            count = len([p for p in package.find("**/*.[to]tf") if not p.is_symlink()])
            files = {"files": 0 if held else count, "held_out": count if held else 0}
            row = {"source": name, "version": package.version, "kind": "screen", "role": "font", **files}
            rows.append({**row, "licence": f"{licence} (debian/copyright)", "sha256": package.sha256})
    return rows


@lru_cache(maxsize=64)
def _font(path: str, size: int) -> Font:
    return ImageFont.truetype(path, size)


class _Writer:
    """Draws pages; holds the generator and the fonts."""

    def __init__(self, rng: Rng, fixed: Sequence[str], free: Sequence[str], photos: Sequence[Path]) -> None:
        self.rng, self.fixed, self.free, self.photos = rng, fixed, free, photos

    def integer(self, low: int, high: int) -> int:
        """A number in low .. high."""
        return int(self.rng.integers(low, high + 1))

    def pick(self, choices: Sequence[str]) -> str:
        return str(choices[self.integer(0, len(choices) - 1)])

    def colour(self, choices: Sequence[Colour]) -> Colour:
        return choices[self.integer(0, len(choices) - 1)]

    def word(self) -> str:
        if self.rng.random() < 0.35:
            return self.pick(_COMMON)
        return "".join(self.pick(_SYLLABLES) for _ in range(self.integer(1, 4)))

    def sentence(self, least: int = 4, most: int = 16) -> str:
        words = " ".join(self.word() for _ in range(self.integer(least, most)))
        return words.capitalize() + self.pick((".", ".", ".", ",", "?", ":"))

    # ---------------------------------------------------------------------------------- pages

    def code(self, size: tuple[int, int], theme: Theme, numbers: bool = True) -> tuple[Image.Image, int]:
        """An editor's text with line numbers and coloured words; and the height of a line."""
        page = Image.new("RGB", size, theme.ground)
        draw = ImageDraw.Draw(page)
        font = _font(self.pick(self.fixed), self.integer(11, 20))
        step = round(font.size * float(self.rng.uniform(1.15, 1.5)))
        left = 12
        if numbers:
            left = int(font.getlength("00000")) + 10
            draw.rectangle((0, 0, left - 6, size[1]), theme.bar)
        indent, start, space = 0, self.integer(1, 900), font.getlength(" ")
        for row in range(size[1] // step + 1):
            y = row * step + 2
            if numbers:
                draw.text((left - 10, y), str(start + row), theme.faint, font, anchor="ra")
            indent = max(0, min(6, indent + self.integer(-1, 1)))
            if self.rng.random() < 0.12:
                continue
            x = left + indent * 4 * space
            if self.rng.random() < 0.12:
                draw.text((x, y), "# " + self.sentence(), theme.faint, font)
                continue
            for _ in range(self.integer(1, 9)):
                sign = self.rng.random() < 0.4
                text = self.pick(_SIGNS) if sign else self.word()
                text = text if sign or self.rng.random() < 0.8 else f"{text}_{self.word()}"
                chosen = theme.text if self.rng.random() < 0.6 else self.colour(theme.accents)
                draw.text((x, y), text, chosen, font)
                x += font.getlength(text) + space
        return page, step

    def terminal(self, size: tuple[int, int], theme: Theme) -> tuple[Image.Image, int]:
        """Commands and their output in columns."""
        page = Image.new("RGB", size, theme.ground)
        draw = ImageDraw.Draw(page)
        font = _font(self.pick(self.fixed), self.integer(11, 19))
        step = round(font.size * 1.2)
        columns = [0.0, 11.0, 20.0, 34.0, 48.0]
        for row in range(size[1] // step + 1):
            y, kind = row * step, self.rng.random()
            if kind < 0.2:
                prompt = f"{self.word()}@{self.word()}:~$"
                draw.text((4, y), prompt, theme.accents[0], font)
                draw.text((4 + font.getlength(prompt + " "), y), self.sentence(1, 6), theme.text, font)
            elif kind < 0.6:
                for column in columns:
                    text = self.word() if self.rng.random() < 0.5 else str(self.integer(0, 99999))
                    chosen = theme.text if self.rng.random() < 0.8 else self.colour(theme.accents)
                    draw.text((4 + column * font.getlength("0"), y), text, chosen, font)
            elif kind < 0.95:
                draw.text((4, y), self.sentence(4, 24), theme.text, font)
        return page, step

    def document(self, size: tuple[int, int], theme: Theme) -> tuple[Image.Image, int]:
        """Headings, justified paragraphs, a picture here and there."""
        page = Image.new("RGB", size, theme.ground)
        draw = ImageDraw.Draw(page)
        path = self.pick(self.free)
        body, margin = self.integer(12, 22), self.integer(20, max(24, size[0] // 7))
        font, y = _font(path, body), 10.0
        step = round(body * 1.4)
        while y < size[1]:
            kind = self.rng.random()
            if kind < 0.15:
                head = _font(path, round(body * float(self.rng.uniform(1.3, 2.4))))
                draw.text(
                    (margin, y), self.sentence(2, 5)[:-1], self.colour((theme.text, *theme.accents)), head
                )
                y += head.size * 1.6
            elif kind < 0.3 and self.photos:
                width = self.integer(120, max(130, size[0] // 2))
                photo = self.photo(width)
                page.paste(photo, (margin + self.integer(0, max(1, size[0] - 2 * margin - width)), int(y)))
                y += photo.height + step
            else:
                for _ in range(self.integer(2, 7)):
                    x = float(margin)
                    while True:
                        text = self.word()
                        length = font.getlength(text + " ")
                        if x + length > size[0] - margin:
                            break
                        linked = self.rng.random() < 0.03
                        draw.text((x, y), text, theme.accents[0] if linked else theme.text, font)
                        x += length
                    y += step
                y += step * 0.7
        return page, step

    def slide(self, size: tuple[int, int], theme: Theme) -> tuple[Image.Image, int]:
        """A heading, points, and a chart."""
        page = Image.new("RGB", size, theme.ground)
        draw = ImageDraw.Draw(page)
        path, (width, height) = self.pick(self.free), size
        if self.rng.random() < 0.5:
            draw.rectangle((0, 0, width, height // 7), self.colour((*theme.accents, theme.bar)))
        draw.text(
            (width // 20, height // 40),
            self.sentence(2, 5)[:-1],
            theme.text,
            _font(path, max(14, height // 13)),
        )
        font = _font(path, max(10, height // self.integer(20, 30)))
        for row in range(self.integer(2, 6)):
            where = (width // 18, int(height * 0.22 + row * font.size * 2))
            draw.ellipse(
                (
                    where[0],
                    where[1] + font.size * 0.4,
                    where[0] + font.size * 0.4,
                    where[1] + font.size * 0.8,
                ),
                theme.accents[1],
            )
            draw.text((where[0] + font.size, where[1]), self.sentence(2, 6), theme.text, font)
        self.chart(draw, (width // 2, height // 3, width - width // 20, height - height // 12), theme, path)
        return page, height

    def chart(
        self, draw: ImageDraw.ImageDraw, box: tuple[int, int, int, int], theme: Theme, path: str
    ) -> None:
        """Bars, lines or a pie, with axes and labels."""
        left, top, right, bottom = box
        font, kind = _font(path, self.integer(10, 14)), self.rng.random()
        if kind < 0.2:
            start, side = 0.0, min(right - left, bottom - top)
            while start < 360:
                end = min(360.0, start + float(self.rng.uniform(15, 110)))
                draw.pieslice(
                    (left, top, left + side, top + side), start, end, self.colour(theme.accents), theme.ground
                )
                start = end
            return
        for line in range(6):
            y = bottom - line * (bottom - top) // 6
            draw.line((left, y, right, y), theme.bar if line else theme.text)
            draw.text((left - 6, y), str(line * 25), theme.faint, font, anchor="rm")
        count = self.integer(5, 24)
        xs = np.linspace(left + 8, right - 8, count)
        for series in range(self.integer(1, 3)):
            ys = bottom - (bottom - top) * np.clip(
                0.5 + np.cumsum(self.rng.normal(0, 0.15, count)), 0.03, 0.97
            )
            chosen = theme.accents[series % len(theme.accents)]
            if kind < 0.6:
                half = (right - left) / count * 0.3
                for x, y in zip(xs, ys, strict=True):
                    draw.rectangle((x - half + 3 * series, y, x + half + 3 * series, bottom), chosen)
            else:
                draw.line(
                    [(float(x), float(y)) for x, y in zip(xs, ys, strict=True)], chosen, self.integer(1, 3)
                )

    def form(self, size: tuple[int, int], theme: Theme) -> tuple[Image.Image, int]:
        """A settings page: labels, fields, buttons, a list."""
        page = Image.new("RGB", size, theme.bar)
        draw = ImageDraw.Draw(page)
        font = _font(self.pick(self.free), self.integer(11, 16))
        step = round(font.size * 2.3)
        for row in range(size[1] // step):
            y, middle = row * step + 6, size[0] // 3
            draw.text((14, y + 4), self.sentence(1, 3)[:-1], theme.text, font)
            kind = self.rng.random()
            box = (middle, y, middle + self.integer(60, max(61, size[0] // 2)), y + round(font.size * 1.8))
            if kind < 0.4:
                draw.rectangle(box, theme.ground, theme.faint)
                draw.text((middle + 5, y + 4), self.word(), theme.text, font)
            elif kind < 0.7:
                draw.rounded_rectangle(box, 5, self.colour((theme.accents[0], theme.ground)), theme.faint)
                draw.text(((box[0] + box[2]) // 2, y + 4), self.word(), theme.text, font, anchor="ma")
            else:
                draw.rectangle((middle, y + 3, middle + 13, y + 16), theme.ground, theme.text)
                if self.rng.random() < 0.5:
                    draw.line(
                        (middle + 3, y + 9, middle + 6, y + 13, middle + 11, y + 5), theme.accents[2], 2
                    )
                draw.text((middle + 22, y + 2), self.sentence(1, 4), theme.faint, font)
        return page, step

    def photo(self, width: int) -> Image.Image:
        """A picture reduced to ``width`` pixels."""
        with Image.open(self.photos[self.integer(0, len(self.photos) - 1)]) as image:
            image.draft("RGB", (width, width))
            size = (width, round(width * image.height / image.width))
            small: Image.Image = image.convert("RGB").resize(size, Image.Resampling.LANCZOS, reducing_gap=3.0)
            return small


@dataclass
class _Window:
    """A page seen through a window: what is drawn at frame t is rows ``scroll(t)`` and below."""

    page: Image.Image
    box: tuple[int, int, int, int]
    scroll: Callable[[int], int]
    typed: tuple[int, int, int, int, float] | None  # ground over a line: x, y, right, bottom, pixels a frame
    theme: Theme
    drag: tuple[int, int]
    bar: int
    title: str
    font: Font

    def draw(self, view: Image.Image, t: int) -> None:
        """Paste frame ``t``."""
        left, top, right, bottom = self.box
        left, right = left + self.drag[0] * t, right + self.drag[0] * t
        top, bottom = top + self.drag[1] * t, bottom + self.drag[1] * t
        y = self.scroll(t)
        content = self.page.crop((0, y, right - left, y + bottom - top - self.bar))
        if self.typed:
            x, first, end, last, speed = self.typed
            ImageDraw.Draw(content).rectangle(
                (min(x + int(speed * t), end), first, end, last), self.theme.ground
            )
        draw = ImageDraw.Draw(view)
        draw.rectangle((left - 1, top - 1, right, bottom), self.theme.bar, self.theme.faint)
        if self.bar:
            draw.text((left + 8, top + self.bar // 2), self.title, self.theme.text, self.font, anchor="lm")
            for i, colour in enumerate(self.theme.accents[:3]):
                x = right - 14 - 20 * i
                draw.ellipse((x - 5, top + self.bar // 2 - 5, x + 5, top + self.bar // 2 + 5), colour)
        view.paste(content, (left, top + self.bar))


def make_screens(
    size: tuple[int, int],
    count: int,
    rng: Rng,
    fixed: Sequence[str],
    free: Sequence[str],
    photos: Sequence[Path] = (),
) -> list[Image.Image]:
    """``count`` frames of ``size`` (width, height) of a screen at work; ``photos`` may appear in it."""
    writer = _Writer(rng, fixed, free, photos)
    dark = rng.random() < 0.45
    themes = _DARK if dark else _LIGHT
    desk = _desk(writer, size, dark)
    windows = []
    number = writer.integer(1, 3)
    full = rng.random() < 0.4
    for i in range(1 if full else number):
        theme = (_LIGHT + _DARK)[writer.integer(0, 5)] if rng.random() < 0.2 else themes[writer.integer(0, 2)]
        windows.append(_window(writer, size, theme, full, last=full or i == number - 1))
    pointer = np.array([rng.uniform(0, size[0]), rng.uniform(0, size[1])])
    speed = rng.normal(0, 12, 2) if rng.random() < 0.5 else np.zeros(2)
    shown = rng.random() < 0.8
    views = []
    for t in range(count):
        view = desk.copy()
        for window in windows:
            window.draw(view, t)
        if shown:
            _pointer(view, *(pointer + speed * t))
        views.append(view)
    return views


def _desk(writer: _Writer, size: tuple[int, int], dark: bool) -> Image.Image:
    """The ground behind the windows: one colour, a gradient or a photograph; and a bar with a clock."""
    rng = writer.rng
    if rng.random() < 0.35 and writer.photos:
        desk = writer.photo(size[0])
        desk = (
            desk.resize(size, Image.Resampling.BICUBIC) if desk.height < size[1] else desk.crop((0, 0, *size))
        )
    else:
        ends = rng.integers(10, 110, (2, 3)) if dark else rng.integers(90, 230, (2, 3))
        ramp = np.linspace(0, 1 if rng.random() < 0.5 else 0, size[1])[:, None, None]
        rows = ends[0] * (1 - ramp) + ends[1] * ramp
        desk = Image.fromarray(np.broadcast_to(rows, (size[1], size[0], 3)).round().astype(np.uint8))
    draw = ImageDraw.Draw(desk)
    height = writer.integer(22, 40)
    draw.rectangle((0, 0, size[0], height), (28, 28, 30) if dark else (225, 226, 230))
    font = _font(writer.pick(writer.free), 13)
    menu = "   ".join(writer.word() for _ in range(3))
    text = f"{menu}      {writer.integer(0, 23)}:{writer.integer(10, 59)}"
    draw.text((10, height // 2), text, (230, 230, 230) if dark else (30, 30, 30), font, anchor="lm")
    return desk


def _window(writer: _Writer, size: tuple[int, int], theme: Theme, full: bool, last: bool) -> _Window:
    rng = writer.rng
    if full:
        left, top, width, height = 0, 0, *size
    else:
        width = writer.integer(size[0] // 3, size[0] * 9 // 10)
        height = writer.integer(size[1] // 3, size[1] * 9 // 10)
        left, top = writer.integer(0, size[0] - width), writer.integer(20, max(21, size[1] - height))
    makers = (writer.code, writer.terminal, writer.document, writer.document, writer.slide, writer.form)
    chosen = writer.integer(0, len(makers) - 1)
    slide = chosen == 4
    page, step = makers[chosen]((width, height if slide else height + 600), theme)
    if slide:
        page = page.crop((0, 0, width, height + 600))
    kind, first = rng.random(), 0 if slide else writer.integer(0, 200)
    smooth = float(np.exp(rng.uniform(np.log(0.7), np.log(24))))
    every, change = writer.integer(1, 4), writer.integer(1, 8)
    typed = None
    if slide or kind < 0.25 or not last:
        scroll: Callable[[int], int] = lambda t: first  # noqa: E731, ARG005
        if chosen < 2 and rng.random() < 0.5:
            row = writer.integer(2, max(3, height // step - 3)) * step
            typed = (60 + writer.integer(0, 200), row, width, row + step, float(rng.uniform(3, 14)))
    elif kind < 0.55:
        scroll = lambda t: first + int(smooth * t)  # noqa: E731
    elif kind < 0.8:
        scroll = lambda t: first + step * (t // every)  # noqa: E731
    else:
        scroll = lambda t: first + (180 if t >= change else 0)  # noqa: E731
    drag = (writer.integer(-9, 9), writer.integer(-6, 6)) if not full and rng.random() < 0.12 else (0, 0)
    bar = 0 if full and rng.random() < 0.5 else writer.integer(22, 34)
    font = _font(writer.pick(writer.free), writer.integer(11, 14))
    box = (left, top, left + width, top + height)
    return _Window(page, box, scroll, typed, theme, drag, bar, writer.sentence(2, 4)[:-1], font)


_ARROW = ((0, 0), (0, 17), (4, 13), (7, 19), (10, 18), (7, 12), (12, 12))


def _pointer(view: Image.Image, x: float, y: float) -> None:
    draw = ImageDraw.Draw(view)
    draw.polygon([(int(x) + a, int(y) + b) for a, b in _ARROW], (0, 0, 0), (255, 255, 255))
