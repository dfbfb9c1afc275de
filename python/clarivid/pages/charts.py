# SPDX-License-Identifier: BSD-2-Clause
"""Charts as SVG text, styled by ``base.css``: colours follow the reader's light or dark scheme."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

WIDTH, HEIGHT, STEPS_HEIGHT = 720, 330, 220
COLOURS = 8  # classes s0 .. s7 of the sheet
_LEFT, _RIGHT, _TOP, _BOTTOM = 58, 14, 24, 40
# Shape beside colour: who sees no colours, or prints, tells the curves apart all the same.
_MARKS = ("circle", "square", "diamond", "triangle", "hexagon", "ring")


@dataclass(frozen=True)
class Series:
    """A curve: ``style`` numbers its colour and mark; ``points`` are (x, y, what a pointer shows)."""

    style: int
    points: Sequence[tuple[float, float, str]]


def curves(series: Sequence[Series], label: str, unit: str, digits: int) -> str:
    """Quality over bitrate (logarithmic), one line a series."""
    xs = [x for s in series for x, _, _ in s.points]
    ys = [y for s in series for _, y, _ in s.points]
    x_axis, y_axis = _Axis(*_padded(xs, log=True), log=True), _Axis(*_padded(ys, log=False))
    parts = [
        _open(f"{label} over bitrate"),
        _grid(x_axis, y_axis, "kbit/s", f"{label} {unit}".strip(), digits),
    ]
    for one in series:
        places = [(x_axis.x(x), y_axis.y(y), text) for x, y, text in one.points]
        line = " ".join(f"{x:.1f},{y:.1f}" for x, y, _ in sorted(places))
        parts.append(f'<g class="s{one.style % COLOURS}"><polyline points="{line}"/>')
        parts += [_mark(one.style, x, y, text) for x, y, text in places]
        parts.append("</g>")
    return "".join([*parts, "</svg>"])


def steps(series: Sequence[Series], label: str) -> str:
    """Bytes over frame number (logarithmic), one stepped line a series."""
    ys = [max(y, 1.0) for s in series for _, y, _ in s.points]
    count = max(len(s.points) for s in series)
    x_axis, y_axis = _Axis(0, count), _Axis(*_padded(ys, log=True), log=True, height=STEPS_HEIGHT)
    parts = [_open(label, STEPS_HEIGHT), _grid(x_axis, y_axis, "frame", "bytes", 0)]
    for one in series:
        path = ""
        for number, (_, y, _) in enumerate(one.points):
            height = y_axis.y(max(y, 1.0))
            path += (
                f"{'M' if not path else 'L'}{x_axis.x(number):.1f},{height:.1f}H{x_axis.x(number + 1):.1f}"
            )
        parts.append(f'<g class="s{one.style % COLOURS}"><path d="{path}"/></g>')
    return "".join([*parts, "</svg>"])


def timeline(
    series: Sequence[Series], label: str, unit: str, digits: int, *, stepped: bool = False, log: bool = False
) -> str:
    """Values over seconds, one line a series; points need no text. Very many are thinned to what can be seen.

    ``data-from``, ``data-to`` (seconds) and ``data-left``, ``data-right`` (places in the drawing) tell a
    script which time lies where.

    :param stepped: a value holds until the next one; the last point's only ends the one before it.
    :param log: a logarithmic axis, for values above 0.
    """
    ys = [y for s in series for _, y, _ in s.points]
    xs = [x for s in series for x, _, _ in s.points]
    x_axis = _Axis(min(xs), max(xs) if max(xs) > min(xs) else min(xs) + 1)
    y_axis = _Axis(*_padded(ys, log=log), log=log, height=STEPS_HEIGHT)
    places = f"{x_axis.low:.6g}", f"{x_axis.high:.6g}", _LEFT, WIDTH - _RIGHT
    data = "".join(
        f' data-{name}="{value}"' for name, value in zip(("from", "to", "left", "right"), places, strict=True)
    )
    unit_text = f"{label} {unit}".strip()
    parts = [_open(label, STEPS_HEIGHT, data), _grid(x_axis, y_axis, "seconds", unit_text, digits)]
    for one in series:
        points = [(x_axis.x(x), y_axis.y(y)) for x, y in _thinned([(x, y) for x, y, _ in one.points])]
        path = f"M{points[0][0]:.1f},{points[0][1]:.1f}"
        for x, y in points[1:]:
            path += f"H{x:.1f}V{y:.1f}" if stepped else f"L{x:.1f},{y:.1f}"
        lone = _mark(one.style, *points[0], "") if len(points) == 1 else ""
        parts.append(f'<g class="s{one.style % COLOURS}"><path d="{path}"/>{lone}</g>')
    return "".join([*parts, "</svg>"])


def _thinned(points: Sequence[tuple[float, float]]) -> list[tuple[float, float]]:
    """At most some 1400 points: of each stretch its least and its greatest value, so that no peak is lost."""
    stretches = WIDTH
    if len(points) <= 2 * stretches:
        return list(points)
    kept: list[tuple[float, float]] = []
    for n in range(stretches):
        part = points[n * len(points) // stretches : (n + 1) * len(points) // stretches]
        ends = {min(part, key=lambda point: point[1]), max(part, key=lambda point: point[1])}
        kept += sorted(ends)
    return [*kept, points[-1]]


def swatch(style: int) -> str:
    """A line with its mark, for legends."""
    mark = _mark(style, 14, 7, "")
    return (
        f'<svg class="swatch" viewBox="0 0 28 14" aria-hidden="true"><g class="s{style % COLOURS}">'
        f'<polyline points="1,7 27,7"/>{mark}</g></svg>'
    )


class _Axis:
    """From values to places in a drawing of some height."""

    def __init__(self, low: float, high: float, log: bool = False, height: int = HEIGHT) -> None:
        self.low, self.high, self.log, self.height = low, high, log, height

    def share(self, value: float) -> float:
        if self.log:
            return math.log(value / self.low) / math.log(self.high / self.low)
        return (value - self.low) / (self.high - self.low)

    def x(self, value: float) -> float:
        return _LEFT + self.share(value) * (WIDTH - _LEFT - _RIGHT)

    def y(self, value: float) -> float:
        return self.height - _BOTTOM - self.share(value) * (self.height - _TOP - _BOTTOM)

    def ticks(self) -> list[float]:
        """About six round values."""
        if self.log and self.high / self.low > 5:
            found: list[float] = []
            for multiples in ((1, 2, 3, 5, 7), (1, 2, 5), (1, 3), (1,)):
                decades = range(math.floor(math.log10(self.low)), math.ceil(math.log10(self.high)) + 1)
                values = [m * 10.0**d for d in decades for m in multiples]
                found = [v for v in values if self.low <= v <= self.high]
                if len(found) <= 7:
                    break
            return found
        rough = (self.high - self.low) / 6
        power = 10.0 ** math.floor(math.log10(rough))
        step = next(m * power for m in (1, 2, 5, 10) if m * power >= rough)
        first = math.ceil(self.low / step - 1e-9)
        return [n * step for n in range(first, math.floor(self.high / step + 1e-9) + 1)]


def _padded(values: Sequence[float], log: bool) -> tuple[float, float]:
    low, high = min(values), max(values)
    if log:
        margin = max((high / low) ** 0.05, 1.05)
        return low / margin, high * margin
    margin = (high - low) * 0.05 or 0.5
    return low - margin, high + margin


def _open(label: str, height: int = HEIGHT, data: str = "") -> str:
    return f'<svg class="chart" viewBox="0 0 {WIDTH} {height}" role="img" aria-label="{escape(label)}"{data}>'


def _grid(x_axis: _Axis, y_axis: _Axis, x_label: str, y_label: str, digits: int) -> str:
    right, bottom = WIDTH - _RIGHT, y_axis.height - _BOTTOM
    lines, texts = [], []
    for value in x_axis.ticks():
        x = x_axis.x(value)
        lines.append(f"M{x:.1f},{_TOP}V{bottom}")
        texts.append(f'<text x="{x:.1f}" y="{bottom + 16}" text-anchor="middle">{value:,.10g}</text>')
    for value in y_axis.ticks():
        y = y_axis.y(value)
        lines.append(f"M{_LEFT},{y:.1f}H{right}")
        shown = f"{value:,.10g}" if digits == 0 else f"{round(value, digits):g}"
        texts.append(f'<text x="{_LEFT - 6}" y="{y + 4:.1f}" text-anchor="end">{shown}</text>')
    texts.append(
        f'<text class="unit" x="{right}" y="{y_axis.height - 6}" text-anchor="end">{escape(x_label)}</text>'
    )
    texts.append(f'<text class="unit" x="{_LEFT}" y="{_TOP - 9}">{escape(y_label)}</text>')
    return f'<path class="grid" d="{"".join(lines)}"/>{"".join(texts)}'


def _mark(style: int, x: float, y: float, text: str) -> str:
    shape = _MARKS[style % len(_MARKS)]
    title = f"<title>{escape(text)}</title>" if text else ""
    if shape in ("circle", "ring"):
        kind = ' class="hollow"' if shape == "ring" else ""
        return f'<circle{kind} cx="{x:.1f}" cy="{y:.1f}" r="4.2">{title}</circle>'
    corners = {
        "square": [(-3.8, -3.8), (3.8, -3.8), (3.8, 3.8), (-3.8, 3.8)],
        "diamond": [(0, -5.4), (5.4, 0), (0, 5.4), (-5.4, 0)],
        "triangle": [(0, -5), (4.8, 3.8), (-4.8, 3.8)],
        "hexagon": [(-2.6, -4.4), (2.6, -4.4), (5, 0), (2.6, 4.4), (-2.6, 4.4), (-5, 0)],
    }[shape]
    points = " ".join(f"{x + dx:.1f},{y + dy:.1f}" for dx, dy in corners)
    return f'<polygon points="{points}">{title}</polygon>'
