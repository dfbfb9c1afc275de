# SPDX-License-Identifier: BSD-2-Clause
"""FFmpeg with clarivid's filters: fetched, patched, built and kept in the cache."""

from __future__ import annotations

from clarivid.ffmpeg.builder import Built, build, find, lacking_filters
from clarivid.ffmpeg.flags import OUR_FILTERS

__all__ = ["OUR_FILTERS", "Built", "build", "find", "lacking_filters"]
