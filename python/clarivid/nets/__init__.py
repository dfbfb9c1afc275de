# SPDX-License-Identifier: BSD-2-Clause
"""PyTorch references of the nets that clarivid trains and ships."""
