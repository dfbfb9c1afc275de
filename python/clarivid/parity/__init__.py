# SPDX-License-Identifier: BSD-2-Clause
"""Do PyTorch, the runtimes and the ffmpeg filters give the same pixels?

:mod:`clarivid.nets` with the bundle's ``weights.safetensors``, in f32, planes folded and codes rounded by
numpy straight from docs/models.md, is the reference (:mod:`clarivid.parity.reference`). The ways that are
compared with it are listed in :mod:`clarivid.parity.ways`, the pictures in :mod:`clarivid.parity.cases`, what
is asked of each precision in :mod:`clarivid.parity.gates`. Models with a strength are compared at
:data:`STRENGTHS`. :mod:`clarivid.parity.layers` tells which layer departs first;
:mod:`clarivid.parity.engine_check` compares engines and writes their sidecars.

An inpainting net paints a hole in each picture: ``Inpainter.paint`` against
:mod:`clarivid.painter_reference`, in sizes that are and are not scaled for the net. Decibels are those of the
hole. The filter gives more than the net's pixels, and is left out.
"""

from clarivid.parity.cases import ADVERSARIAL, SOURCES, STRENGTHS, Case, cases, cases_of, strengths_of
from clarivid.parity.check import check
from clarivid.parity.gates import GATES, PRECISIONS, Gate
from clarivid.parity.planes import fold, spans, unfold
from clarivid.parity.reference import reference
from clarivid.parity.report import Difference, Report, Row, Verdict
from clarivid.parity.ways import FILTERS

__all__ = [
    "ADVERSARIAL",
    "FILTERS",
    "GATES",
    "PRECISIONS",
    "SOURCES",
    "STRENGTHS",
    "Case",
    "Difference",
    "Gate",
    "Report",
    "Row",
    "Verdict",
    "cases",
    "cases_of",
    "check",
    "fold",
    "reference",
    "spans",
    "strengths_of",
    "unfold",
]
