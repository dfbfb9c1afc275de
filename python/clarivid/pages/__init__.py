# SPDX-License-Identifier: BSD-2-Clause
"""What our HTML pages share: their style, their charts, and how pictures and files get into one page.

A page is one file that needs no other and no network. ``base.css`` has colours (light and dark by the
reader's scheme, or by ``color-scheme`` on the root), type, tables, figures and charts; a page adds its own.
"""

from __future__ import annotations

import base64
import io
from collections.abc import Mapping
from importlib import resources
from string import Template

import numpy as np
from numpy.typing import NDArray

Picture = NDArray[np.uint8]  # [height, width, 3], R'G'B'


def fill(package: str, parts: Mapping[str, str]) -> str:
    """``page.html`` of ``package`` with its style, its script and ``parts``.

    The template's ``$style`` is ``base.css`` and the package's ``page.css``; ``$script`` its ``page.js``.
    """
    folder = resources.files(package)
    base = resources.files("clarivid.pages").joinpath("base.css").read_text("utf-8")
    return Template(folder.joinpath("page.html").read_text("utf-8")).substitute(
        style=base + folder.joinpath("page.css").read_text("utf-8"),
        script=folder.joinpath("page.js").read_text("utf-8"),
        **parts,
    )


def webp(picture: Picture, quality: int | None = None) -> bytes:
    """A picture as WebP: lossless, or with a ``quality`` of 0..100."""
    from PIL import Image

    stream = io.BytesIO()
    image = Image.fromarray(np.ascontiguousarray(picture))
    if quality is None:
        # The effort, here called quality: four times of it would save a tenth of a per cent.
        image.save(stream, "WEBP", lossless=True, quality=25, method=4)
    else:
        image.save(stream, "WEBP", quality=quality, method=4)
    return stream.getvalue()


def data_uri(data: bytes, kind: str = "image/webp") -> str:
    """As the ``src`` of an element."""
    return f"data:{kind};base64," + base64.b64encode(data).decode("ascii")


__all__ = ["Picture", "data_uri", "fill", "webp"]
