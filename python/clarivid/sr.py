# SPDX-License-Identifier: BSD-2-Clause
"""Super-resolution on numpy planes: the same library and the same pixels as the ffmpeg filter ``dnn_sr``."""

from __future__ import annotations

from clarivid.picture_filter import PictureFilter


class SuperResolution(PictureFilter):
    """A super-resolution net, ready for pictures of any size and format.

    Call it with the planes of a picture to get those of the upscaled one. Sessions for the last few sizes and
    formats are kept, so that the net is compiled once for each. Messages go to the logger ``clarivid``.

    Thread-safe: calls on one object run one after the other, with the GIL released; several objects run in
    parallel.

    Args:
        model: name of a bundle (``clarivid models list``), or a path to a bundle's folder or to an ``.onnx``
            file.
        backend: ``auto``, ``openvino``, ``cpu`` (our own kernels, for the nets that they know) or ``dummy``;
            ``auto`` prefers ``cpu``. A named backend that cannot run is an error.
        device: the backend's name of a device; empty for its default.
        precision: ``fp32`` (the reference's pixels), ``bf16``, ``fp16``, or ``auto``: the fastest that this
            processor computes in and that passed the bundle's parity gate.
        threads: CPU threads; 0 for all cores that the process may use.
        dither: ``none`` rounds to the nearest code value, ``ordered`` (or True) with an 8x8 pattern.
        tile: how pictures are cut into tiles that the net is run on one by one: ``auto`` (only when a picture
            is larger than memory allows), ``none``, or ``WIDTHxHEIGHT`` in luma samples of the input. The
            result is that of the whole picture, but for nets that look at all of it at once.
        sharpness: between the two sets of weights of a bundle that has them, 0..1: 0 comes closest to the
            original picture by PSNR, 1 was trained to look sharp, between them weights are mixed. Other
            models take 0 only.
        overlap: least distance, in luma samples of the input, of what is taken from a tile to the tile's
            inner edges; -1 for what the net needs, from its card or its graph.

    Raises:
        clarivid.ModelError: the model is not found, damaged, for another task, or no net that clarivid can
            run.
        clarivid.InputError: an argument makes no sense.
    """

    filter_name = "dnn_sr"

    def __init__(
        self,
        model: str = "game_x2",
        *,
        backend: str = "auto",
        device: str = "",
        precision: str = "auto",
        threads: int = 0,
        dither: str | bool = "none",
        tile: str = "auto",
        overlap: int = -1,
        sharpness: float = 0.0,
    ) -> None:
        super().__init__(
            "sr",
            model,
            backend=backend,
            device=device,
            precision=precision,
            threads=threads,
            dither=dither,
            tile=tile,
            overlap=overlap,
            sharpness=sharpness,
        )


__all__ = ["SuperResolution"]
