# SPDX-License-Identifier: BSD-2-Clause
"""``clarivid bench inpaint``: mesh_inpaint against truth and against what people use today.

===============  =======================================================================
:mod:`scenes`    backgrounds that are known, and drawn people before them
:mod:`walker`    the people
:mod:`stage`     made camera work over stills: a camera that turns, a room with parallax
:mod:`methods`   what is compared
:mod:`scores`    how near, and how steady
:mod:`run`       every method on every scene, resumable
:mod:`speed`     speed and memory in ffmpeg
:mod:`gate`      means, and what is promised
:mod:`pictures`  contact sheet, videos
===============  =======================================================================
"""
