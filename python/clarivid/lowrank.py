# SPDX-License-Identifier: BSD-2-Clause
"""Preparing pictures for an encoder: the same library and the same pixels as the filter ``lowrank_pre``."""

from __future__ import annotations

from clarivid import _core
from clarivid.errors import ModelError
from clarivid.picture_filter import PictureFilter


class LowrankPre(PictureFilter):
    """A net that takes from pictures what costs an encoder bits and is not seen.

    Call it with the planes of a picture to get those of the prepared one, of the same size. Each picture is
    worked on by itself. Sessions, logging and threads as in :class:`clarivid.SuperResolution`.

    Args:
        model: name of a bundle (``clarivid models list``), or a path to a bundle's folder or to an ``.onnx``
            file.
        strength: how much of the net's change is applied, 0..1; 0 gives the picture's own samples.
        backend, device, precision, threads, dither, tile, overlap: as in :class:`clarivid.SuperResolution`.

    Raises:
        clarivid.ModelError: the model is not found, damaged, for another task, or no net that clarivid can
            run.
        clarivid.InputError: an argument makes no sense.
    """

    filter_name = "lowrank_pre"

    def __init__(
        self,
        model: str = "lowrank_v1",
        *,
        strength: float = 1.0,
        backend: str = "auto",
        device: str = "",
        precision: str = "auto",
        threads: int = 0,
        dither: str | bool = "none",
        tile: str = "auto",
        overlap: int = -1,
    ) -> None:
        super().__init__(
            "lowrank",
            model,
            backend=backend,
            device=device,
            precision=precision,
            threads=threads,
            dither=dither,
            strength=strength,
            tile=tile,
            overlap=overlap,
        )

    def _create_session(self, picture: _core.Format, cuda: _core.CudaDevice | None = None) -> _core.Session:
        session = super()._create_session(picture, cuda)
        if session.scale != 1:  # an .onnx file need not name its task
            raise ModelError(
                f"model {self.name} makes pictures {session.scale} times as large, but LowrankPre keeps "
                "their size: use SuperResolution for it, or a model for the task 'lowrank' here"
            )
        return session


__all__ = ["LowrankPre"]
