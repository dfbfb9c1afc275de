# SPDX-License-Identifier: BSD-2-Clause
"""Chains of filters: written, read, kept in files, and run."""

from __future__ import annotations

from clarivid.chains.chain import Chain
from clarivid.chains.filter import Filter, ff
from clarivid.chains.process import Progress
from clarivid.chains.runner import Done, run

__all__ = ["Chain", "Done", "Filter", "Progress", "ff", "run"]
