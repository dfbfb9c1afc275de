# SPDX-License-Identifier: BSD-2-Clause
"""FFmpeg with clarivid's filters: fetched, patched, built and kept in the cache."""

from __future__ import annotations

from clarivid.ffmpeg.builder import Built, build, find

__all__ = ["Built", "build", "find"]
