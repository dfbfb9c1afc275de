# SPDX-License-Identifier: BSD-2-Clause
"""``clarivid bench sr``: twice the size, against truth, Lanczos, and rivals.

===============  =======================================================================
:mod:`material`  clips and stills, by kind
:mod:`drawn`     two of them that are composed here
:mod:`plan`      points (codec and rate), methods, presets
:mod:`easu`      FSR 1's enlarger
:mod:`scores`    edges, textures and steadiness; the other scores are libvmaf's
:mod:`run`       every method on every clip at every point, resumable
:mod:`report`    gains by clip and kind; JSON, CSV, Markdown
:mod:`gate`      what a tier of models promises
===============  =======================================================================
"""
