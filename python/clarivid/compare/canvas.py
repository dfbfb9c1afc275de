# SPDX-License-Identifier: BSD-2-Clause
"""The common ground of files that differ in size, depth, range or colours, and what was done to get there."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from clarivid.compare.media import Media
from clarivid.errors import InputError

SCALERS = ("lanczos", "bicubic", "bilinear", "neighbor", "spline", "area")
MIN_SIDE = 32  # libvmaf's scores crash on less
MAX_SIDE = 16383  # WebP's


@dataclass(frozen=True)
class Canvas:
    """What every frame is brought to, and with which of ffmpeg's scalers."""

    width: int
    height: int
    pix_fmt: str
    matrix: str
    scaler: str
    notes: tuple[str, ...]

    @property
    def frame_bytes(self) -> int:
        """Of one frame in ``pix_fmt``."""
        chroma = ((self.width + 1) // 2) * ((self.height + 1) // 2)
        return (self.width * self.height + 2 * chroma) * (2 if self.pix_fmt.endswith("le") else 1)

    def planes(self, media: Media) -> str:
        """The filters that give Y'CbCr 4:2:0 of limited range."""
        colours = ""
        if media.is_rgb:
            colours = f":out_color_matrix={self.matrix}"
        elif (media.matrix or self.matrix) != self.matrix:
            colours = f":in_color_matrix={media.matrix}:out_color_matrix={self.matrix}"
        return f"{self._scale}:out_range=tv{colours},format={self.pix_fmt}"

    def picture(self, media: Media) -> str:
        """The filters that give R'G'B' of 8 bits."""
        colours = "" if media.is_rgb else f":in_color_matrix={media.matrix or self.matrix}"
        return f"{self._scale}+full_chroma_int+full_chroma_inp:out_range=pc{colours},format=rgb24"

    @property
    def _scale(self) -> str:
        return f"scale={self.width}:{self.height}:flags={self.scaler}+accurate_rnd"


def common(files: Mapping[str, Media], reference: str | None, scaler: str = "lanczos") -> Canvas:
    """The canvas of ``files`` (by their labels): the reference's size, else that of the largest picture.

    A file that does not state its matrix is taken to have that of the others, else BT.709 from 720 lines on
    and BT.601 below.

    Raises :class:`InputError` when pictures are too small or too large to compare.
    """
    media = list(files.values())
    largest = files[reference] if reference else max(media, key=lambda m: m.width * m.height)
    width, height = largest.width, largest.height
    if min(width, height) < MIN_SIDE or max(width, height) > MAX_SIDE:
        raise InputError(
            f"{largest.path} has {width}x{height} samples; {MIN_SIDE} to {MAX_SIDE} in each direction "
            "can be compared"
        )
    stated = [m.matrix for m in ([largest, *media] if reference else media) if m.matrix]
    matrix = stated[0] if stated else ("bt709" if height >= 720 else "bt601")
    deep = any(m.deep for m in media)
    notes = [note for label, m in files.items() if (note := _resized(label, m, width, height, scaler))]
    if deep and not all(m.deep for m in media):
        shallow = _listed([label for label, m in files.items() if not m.deep])
        notes.append(
            f"Scores are of 10-bit samples, those of {shallow} were 8-bit; pictures are shown with 8."
        )
    if len(set(stated)) > 1:
        told = ", ".join(f"{label} {m.matrix}" for label, m in files.items() if m.matrix)
        notes.append(f"Colour matrices differ ({told}): scores are of samples converted to {matrix}.")
    for kind in sorted({m.hdr for m in media} - {""}):
        labels = _listed([label for label, m in files.items() if m.hdr == kind])
        notes.append(f"HDR ({kind}) is shown without tone mapping, so it looks flat: {labels}.")
    notes += [_damage(label, m) for label, m in files.items() if m.complaints]
    return Canvas(width, height, "yuv420p10le" if deep else "yuv420p", matrix, scaler, tuple(notes))


def _resized(label: str, media: Media, width: int, height: int, scaler: str) -> str:
    if (media.width, media.height) == (width, height):
        return ""
    text = f"{label} is {media.width}x{media.height}: it was scaled to {width}x{height} ({scaler})"
    change = media.width * height / (media.height * width)
    if abs(change - 1) > 0.01:
        text += f", which makes it {abs(1 / change - 1) * 100:.0f} % {'wider' if change < 1 else 'narrower'}"
    return text + ", for scores and pictures."


def _damage(label: str, media: Media) -> str:
    more = len(media.complaints) - 1
    rest = f" (and {more} more)" if more else ""
    return f'{label} is damaged; ffmpeg said "{media.complaints[0]}"{rest}.'


def _listed(labels: list[str]) -> str:
    return " and ".join(labels)
