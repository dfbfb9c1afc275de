# SPDX-License-Identifier: BSD-2-Clause
"""clarivid: neural video filters for FFmpeg, and the Python around them.

Importing the package costs next to nothing: the names below are loaded when they are first used.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from clarivid.errors import (
    BackendError,
    CancelledError,
    DigestError,
    Error,
    InputError,
    ModelError,
    ToolError,
)

if TYPE_CHECKING:
    from clarivid.chains import Chain as Chain
    from clarivid.chains import Filter as Filter
    from clarivid.chains import ff as ff
    from clarivid.frame import Frame as Frame
    from clarivid.inpaint import Inpainter as Inpainter
    from clarivid.inpaint import InpaintStats as InpaintStats
    from clarivid.lowrank import LowrankPre as LowrankPre
    from clarivid.models import Model as Model
    from clarivid.models import find_model as find_model
    from clarivid.models import list_models as list_models
    from clarivid.sr import SuperResolution as SuperResolution
    from clarivid.video_io import read_frames as read_frames
    from clarivid.video_io import write_frames as write_frames

# Public name -> module that defines it.
_LAZY = {
    "Chain": "clarivid.chains",
    "Filter": "clarivid.chains",
    "Frame": "clarivid.frame",
    "InpaintStats": "clarivid.inpaint",
    "Inpainter": "clarivid.inpaint",
    "LowrankPre": "clarivid.lowrank",
    "Model": "clarivid.models",
    "SuperResolution": "clarivid.sr",
    "ff": "clarivid.chains",
    "find_model": "clarivid.models",
    "list_models": "clarivid.models",
    "read_frames": "clarivid.video_io",
    "write_frames": "clarivid.video_io",
}


def _version() -> str:
    from importlib import metadata

    try:
        return metadata.version("clarivid")
    except metadata.PackageNotFoundError:
        return "0.0.0+uninstalled"


def __getattr__(name: str) -> Any:
    if name == "__version__":
        return _version()
    module = _LAZY.get(name)
    if module is None:
        raise AttributeError(f"module 'clarivid' has no attribute {name!r}")
    value = getattr(importlib.import_module(module), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *_LAZY, "__version__"})


__all__ = [
    "BackendError",
    "CancelledError",
    "Chain",
    "DigestError",
    "Error",
    "Filter",
    "InpaintStats",
    "Inpainter",
    "InputError",
    "LowrankPre",
    "Model",
    "ModelError",
    "SuperResolution",
    "ToolError",
    "ff",
    "find_model",
    "list_models",
    "read_frames",
    "write_frames",
]
