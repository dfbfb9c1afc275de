# SPDX-License-Identifier: BSD-2-Clause
"""How near a precision must come to PyTorch in fp32: one table, for pictures, engines and cards.

fp32 is judged by codes, as only the order of sums differs: an error of 1 is a value on the border between two
codes. The other precisions are judged by the PSNR of luma (of a net's values where no picture is made) over
real pictures. ``synthetic_db`` bounds them on random and adversarial pictures, which are rougher than
anything that a camera sees, and ``worst`` bounds each sample: they are there to find overflow and faults at
borders, not to tell quality. int8 is judged on real pictures only: its scales come from those, and what they
never show is clipped.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from types import MappingProxyType

from clarivid.errors import InputError


@dataclass(frozen=True)
class Gate:
    """The bounds of one precision; 0 where one does not apply.

    ``codes``: largest error, everywhere. ``real_db``, ``synthetic_db``: least PSNR. ``hole_db``: that of an
    inpainting net, in the hole, where nothing is exact anyway. ``worst``: largest error of one sample, as a
    share of all codes; not of what is painted into a hole. ``probe_db``: what a card's "parity" entry asks of
    export's probe picture. ``roundoff``: unit roundoff of the arithmetic, 2^-p for p significant
    bits.
    """

    roundoff: float
    codes: int = 0
    real_db: float = 0
    synthetic_db: float = 0
    hole_db: float = 0
    worst: float = 0
    probe_db: float = 0

    @property
    def needs_real(self) -> bool:
        """Whether only real pictures judge it."""
        return not self.codes and not self.synthetic_db


GATES: Mapping[str, Gate] = MappingProxyType(
    {
        "fp32": Gate(2.0**-24, codes=1),
        "fp16": Gate(2.0**-11, real_db=60, synthetic_db=50, hole_db=50, worst=1 / 64, probe_db=60),
        "bf16": Gate(2.0**-8, real_db=45, synthetic_db=35, hole_db=40, worst=1 / 8, probe_db=48),
        # The roundoff of what is not quantised: the grids of what is are in the graph.
        "int8": Gate(2.0**-11, real_db=45, hole_db=40),
    }
)
PRECISIONS = tuple(GATES)


def need_real(precisions: Iterable[str], source: object) -> None:
    """Raises :class:`InputError` when one of them is judged on real pictures and there is no ``source``."""
    for precision in precisions:
        if source is None and GATES[precision].needs_real:
            raise InputError(
                f"{precision} is judged on real pictures only: give --source a video, and leave --no-real out"
            )


__all__ = ["GATES", "PRECISIONS", "Gate", "need_real"]
