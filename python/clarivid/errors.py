# SPDX-License-Identifier: BSD-2-Clause
"""The one family of exceptions that clarivid raises.

Every message is a sentence for the person who has to act on it: what failed, with which value, what to do.
The command line prints it as ``clarivid: error: <sentence>`` and exits with code 1.
"""

from __future__ import annotations


class Error(Exception):
    """Root of all errors that clarivid raises on purpose."""


class InputError(Error):
    """A picture, clip, option or argument that cannot be used."""


class ModelError(Error):
    """A model bundle that is missing, incomplete or contradicts itself."""


class DigestError(ModelError):
    """A file whose SHA-256 is not the one that was recorded for it."""


class BackendError(Error):
    """An inference runtime that is missing or refused to run."""


class ToolError(Error):
    """A program or download that clarivid drives (ffmpeg, make, apt, ...) failed."""


class CancelledError(Error):
    """Work was ended because the caller asked for it; what it had begun is removed."""


def last_line(text: str) -> str:
    """The last line of a program's messages that says something: what a :class:`ToolError` quotes."""
    lines = [line for line in text.splitlines() if line.strip()]
    return lines[-1] if lines else "ffmpeg gave no reason"


__all__ = [
    "BackendError",
    "CancelledError",
    "DigestError",
    "Error",
    "InputError",
    "ModelError",
    "ToolError",
    "last_line",
]
