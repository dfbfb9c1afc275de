# SPDX-License-Identifier: BSD-2-Clause
"""What a figure was measured on; it lives in the package, where commands need it too."""

from clarivid.machine import describe

__all__ = ["describe"]
