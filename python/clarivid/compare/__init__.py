# SPDX-License-Identifier: BSD-2-Clause
"""Two videos side by side, in numbers and to look at: what ``clarivid compare`` does.

>>> found = compare(Path("a.mp4"), Path("b.mp4"), Path("source.mkv"))
>>> found.summary()["scores"]["b"]["vmaf"]["mean"]
>>> page.write(found, found.pictures(6), Path("compare.html"))
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from clarivid.compare.canvas import Canvas, common
from clarivid.compare.media import Media, read
from clarivid.compare.pairing import Pairing, pair
from clarivid.compare.pictures import Shown, choose, show
from clarivid.compare.scoring import Scored, score
from clarivid.errors import InputError
from clarivid.outputs import check_output

SCORES = ("vmaf", "vmaf_neg", "ssim", "psnr_y")
REFERENCE = "reference"

Progress = Callable[[str, int, int], None]


@dataclass(frozen=True)
class Comparison:
    """What is known about the files; ``files`` by their labels: A, B and perhaps the reference."""

    files: Mapping[str, Media]
    pairing: Pairing
    canvas: Canvas
    scored: Scored

    @property
    def reference(self) -> str | None:
        """The reference's label."""
        return list(self.files)[2] if len(self.files) > 2 else None

    @property
    def notes(self) -> list[str]:
        """Sentences on what was done to make the files comparable; the reader has to know them."""
        return [*self.pairing.notes, *self.canvas.notes]

    def pictures(self, count: int = 6, progress: Progress = lambda what, done, total: None) -> list[Shown]:  # noqa: ARG005
        """The pairs where A and B differ most, and others evenly spaced. Raises :class:`ToolError`."""
        chosen = choose(self.scored.difference, count)
        return show(
            self.files,
            self.pairing,
            self.canvas,
            chosen,
            lambda done: progress("pictures", done, len(self.files)),
        )

    def summary(self) -> dict[str, Any]:
        """All numbers, as JSON takes them; see :mod:`clarivid.compare.numbers`."""
        from clarivid.compare.numbers import summary

        return summary(self)


def compare(
    a: Path,
    b: Path,
    reference: Path | None = None,
    *,
    labels: Sequence[str] | None = None,
    scores: Sequence[str] = SCORES,
    scaler: str = "lanczos",
    pairing: str = "auto",
    shift: int = 0,
    every: int = 1,
    frames: int | None = None,
    progress: Progress = lambda what, done, total: None,  # noqa: ARG005
) -> Comparison:
    """Score ``a`` and ``b`` against ``reference``, or ``b`` against ``a`` without one.

    :param labels: what A and B are called; None for their file names as far as they differ.
    :param scores: names of :mod:`clarivid.quality`.
    :param scaler: how pictures of another size are brought to the reference's, or to the largest one's.
    :param pairing: ``auto``, ``number`` or ``time``; see :func:`clarivid.compare.pairing.pair`.
    :param shift: frame n of A goes with frame n + ``shift`` of B.
    :param every: take each ``every``-th pair.
    :param frames: take at most so many pairs.
    :param progress: called with what is being done, how much is done, and of how much (0: not known).

    Raises :class:`InputError` for files that cannot be compared, :class:`ToolError` when ffmpeg fails.
    """
    paths = [a, b, *([reference] if reference is not None else [])]
    names = [*(labels or _labels(a, b)), REFERENCE][: len(paths)]
    if len(set(names)) < len(names) or not all(name.strip() for name in names):
        raise InputError(f"the labels {', '.join(names)} do not tell the files apart: give others (--labels)")
    files = {}
    for name, path in zip(names, paths, strict=True):
        files[name] = read(path, lambda done, path=path: progress(f"reading {path.name}", done, 0))  # type: ignore[misc]
    canvas = common(files, REFERENCE if reference is not None else None, scaler)
    pairs = pair(files, pairing, shift=shift, every=every, frames=frames)
    found = score(files, pairs, canvas, list(scores), lambda done: progress("scoring", done, len(pairs)))
    return Comparison(files, pairs, canvas, found)


def check_outputs(outputs: Sequence[Path], inputs: Sequence[Path], overwrite: bool) -> None:
    """Raises :class:`InputError` before any work is done when an output cannot be written."""
    for path in outputs:
        check_output(path, inputs, overwrite)
    if len({path.resolve() for path in outputs}) < len(outputs):
        raise InputError(f"{outputs[0]} cannot be both the page and the sheet")


def table(found: Comparison) -> str:
    """Means and bits as lines of text, for a terminal."""
    from clarivid.rd.scores import SCORES as KNOWN

    labels = list(found.files)[:2]
    wide = max(12, *(len(label) + 2 for label in labels))
    lines = [" " * 10 + "".join(f"{label:>{wide}}" for label in labels)]
    for name in found.scored.scores[labels[1]]:
        cells = ""
        for label in labels:
            values = found.scored.scores.get(label, {}).get(name)
            cells += f"{'':>{wide}}" if values is None else f"{values.mean():>{wide}.{KNOWN[name].digits}f}"
        lines.append(f"{name:<10}{cells}")
    lines.append(f"{'kbit/s':<10}" + "".join(f"{found.files[label].kbps:>{wide}.1f}" for label in labels))
    return "\n".join(lines)


def _labels(a: Path, b: Path) -> list[str]:
    for names in ([a.stem, b.stem], [a.name, b.name], [f"{p.parent.name}/{p.name}" for p in (a, b)]):
        if len(set(names)) == 2 and REFERENCE not in names:
            return names
    return ["A", "B"]


__all__ = ["Comparison", "Progress", "REFERENCE", "SCORES", "check_outputs", "compare", "table"]
