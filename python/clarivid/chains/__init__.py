# SPDX-License-Identifier: BSD-2-Clause
"""Chains of filters: written, read, kept in files, and run."""

from __future__ import annotations

from clarivid.chains.filter import Filter, ff
from clarivid.chains.runner import Done, graph, run

__all__ = ["Done", "Filter", "ff", "graph", "run"]
