# SPDX-License-Identifier: BSD-2-Clause
"""Training of the nets that clarivid ships."""
