# SPDX-License-Identifier: BSD-2-Clause
"""A libavfilter with clarivid's filters for the ffmpeg that a machine has; nothing there is changed."""

from __future__ import annotations

from clarivid.ffmpeg.dropin.making import Dropin, build, find, remove

__all__ = ["Dropin", "build", "find", "remove"]
