# SPDX-License-Identifier: BSD-2-Clause
"""Do PyTorch, OpenVINO and the ffmpeg filter give the same pixels?

Several ways lead from the planes of a picture to those that a net makes of them:

======== =========================================================================================
torch    :mod:`clarivid.nets` with the bundle's ``weights.safetensors``, f32; planes folded and
         codes rounded by numpy here, straight from docs/models.md. This is the reference.
module   ``clarivid.SuperResolution`` or ``LowrankPre``: the library, ``model.onnx`` in OpenVINO
filter   ``ffmpeg -vf dnn_sr`` or ``lowrank_pre``: raw video in, raw video out
cpu      as module, with ``backend=cpu``: our own kernels, for the nets that they know, fp32 only
======== =========================================================================================

In fp32, all of them must be within one code value of torch everywhere. In bf16 the error is stated in
dB, and must not fall below :data:`BF16_PSNR_DB` on any real picture. Models with a strength are compared at
:data:`STRENGTHS`.

An inpainting net paints a hole in each picture: ``Inpainter.paint`` against
:mod:`clarivid.painter_reference`, in sizes that are and are not scaled for the net. Decibels are those of the
hole, and :data:`HOLE_BF16_PSNR_DB` are enough. The filter gives more than the net's pixels, and is left out.
"""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from clarivid import ffmpeg
from clarivid.errors import BackendError, InputError, ToolError
from clarivid.inpaint import Inpainter
from clarivid.lowrank import LowrankPre
from clarivid.models import Model, find_model, verify_model
from clarivid.picture_filter import PictureFilter
from clarivid.sr import SuperResolution

if TYPE_CHECKING:
    from clarivid.nets.load import Net

Plane = NDArray[Any]  # uint8 or uint16
Picture = tuple[Plane, ...]

FRAMES = 2  # a case; the filter gets them as one stream
FP32_CODES = 1
BF16_PSNR_DB = 45.0
HOLE_BF16_PSNR_DB = 40.0  # where nothing is exact anyway
STRENGTHS = (1.0, 0.5)
FILTERS = {"sr": "dnn_sr", "lowrank": "lowrank_pre"}  # by task
WAYS = ("module", "filter", "cpu")
SIZES = ((64, 48), (75, 53), (198, 110))  # odd in both directions, and no multiple of a vector's length
INPAINT_SIZES = ((96, 64), (75, 53), (971, 545))  # the last is larger than what nets paint at
BIT_DEPTH = {"yuv420p": 8, "nv12": 8, "yuv420p10le": 10, "p010le": 10}
INTERLEAVED = ("nv12", "p010le")


@dataclass(frozen=True)
class Case:
    """Pictures of one kind: ``source`` is ``random`` or ``real``, ``pix_fmt`` is ffmpeg's name."""

    source: str
    width: int
    height: int
    pix_fmt: str
    full_range: bool
    strength: float = 1.0

    @property
    def bit_depth(self) -> int:
        """8 or 10."""
        return BIT_DEPTH[self.pix_fmt]

    @property
    def range(self) -> str:
        """``full`` or ``limited``."""
        return "full" if self.full_range else "limited"

    @property
    def label(self) -> str:
        """For tables and progress."""
        strength = "" if self.strength == 1 else f" strength {self.strength:g}"
        return f"{self.source} {self.width}x{self.height} {self.pix_fmt} {self.range}{strength}"


@dataclass(frozen=True)
class Difference:
    """One way against torch over a case: codes of all planes, and PSNR of luma in dB (peak 2^b - 1).

    ``psnr_db`` is None when the planes are equal.
    """

    max_code_error: int
    differing: float  # share of codes, 0..1
    psnr_db: float | None


@dataclass(frozen=True)
class Row:
    """One case's results: ``fp32`` and ``bf16`` hold a :class:`Difference` for each way that ran."""

    case: Case
    fp32: dict[str, Difference]
    bf16: dict[str, Difference]


@dataclass(frozen=True)
class Report:
    """What :func:`check` found. ``skipped`` says in sentences what could not be compared, and why."""

    model: str
    rows: list[Row]
    skipped: list[str] = field(default_factory=list)
    bf16_least_db: float = BF16_PSNR_DB  # the gate of bf16

    @property
    def max_code_error(self) -> int:
        """The largest error of fp32, over all cases and ways."""
        return max(d.max_code_error for row in self.rows for d in row.fp32.values())

    @property
    def bf16_psnr_db(self) -> float | None:
        """The lowest PSNR of bf16, on real pictures if there are any; None when bf16 did not run."""
        pools = [[r for r in self.rows if r.case.source == "real"], self.rows]
        for rows in pools:
            values = [d.psnr_db for row in rows for d in row.bf16.values()]
            if values:
                return min((v for v in values if v is not None), default=100.0)
        return None

    @property
    def fp32_passed(self) -> bool:
        """Every fp32 code is within :data:`FP32_CODES`."""
        return self.max_code_error <= FP32_CODES

    @property
    def bf16_passed(self) -> bool:
        """bf16 reaches its gate, or this machine has no bf16."""
        return self.bf16_psnr_db is None or self.bf16_psnr_db >= self.bf16_least_db

    @property
    def passed(self) -> bool:
        """Both gates."""
        return self.fp32_passed and self.bf16_passed

    def to_dict(self) -> dict[str, Any]:
        """For JSON; ``fp32`` and ``bf16`` have the shape of the card's ``parity`` entry."""
        bf16 = None
        if self.bf16_psnr_db is not None:
            bf16 = {"psnr_db": round(self.bf16_psnr_db, 2), "passed": self.bf16_passed}
        return {
            "model": self.model,
            "passed": self.passed,
            "fp32": {"max_code_error": self.max_code_error, "passed": self.fp32_passed},
            "bf16": bf16,
            "skipped": self.skipped,
            "cases": [asdict(row) for row in self.rows],
        }


def cases(
    quick: bool = False,
    strengths: Sequence[float] = (1.0,),
    sizes: Sequence[tuple[int, int]] = SIZES,
) -> list[Case]:
    """All combinations of source, size, format, range and strength; ``quick`` keeps one in seven of them."""
    every = [
        Case(source, width, height, pix_fmt, full, strength)
        for strength in strengths
        for width, height in sizes
        for pix_fmt in BIT_DEPTH
        for full in (False, True)
        for source in ("random", "real")
    ]
    return every[3::7] if quick else every


def cases_of(bundle: Model, quick: bool = False) -> list[Case]:
    """Those in which a bundle is compared."""
    return cases(quick, strengths_of(bundle), INPAINT_SIZES if bundle.task == "inpaint" else SIZES)


def check(
    model: str | Model,
    *,
    source: Path | None = None,
    chosen: Sequence[Case] | None = None,
    ways: Sequence[str] = WAYS,
    progress: Callable[[str, int, int], None] = lambda _label, _done, _total: None,
) -> Report:
    """Compare the ways on every case.

    :param model: a bundle with ``weights.safetensors`` and an architecture that :mod:`clarivid.nets` has.
    :param source: video that real pictures are cut from; None leaves the real cases out.
    :param chosen: None for :func:`cases_of` the model.
    :param ways: of :data:`WAYS`, those to compare with torch; "cpu" is left out when it knows no such net.
    :param progress: called with a case's label, the number done and the total.

    Raises :class:`ModelError` when the bundle cannot be compared, :class:`DigestError` when it is damaged,
    :class:`ToolError` when ffmpeg fails.
    """
    bundle = model if isinstance(model, Model) else find_model(model)
    verify_model(bundle)
    net = _net(bundle)
    chosen = chosen or cases_of(bundle)
    plan = [case for case in chosen if case.source == "random" or source is not None]
    if not plan or not set(ways) <= set(WAYS) or not ways:
        raise InputError(f"nothing to compare: {len(plan)} cases, ways {', '.join(ways) or 'none'}")
    skipped = [] if source is not None else ["real pictures: no clip was given"]
    inpaints = bundle.task == "inpaint"
    if inpaints and "filter" in ways:
        ways = [way for way in ways if way != "filter"]
        skipped.append("the filter: mesh_inpaint blends what the net paints into what it remembers")
    precisions = ["fp32", "bf16"] if _has_bf16(bundle, skipped) else ["fp32"]
    strengths = {case.strength for case in plan}
    modules = {(p, s): _module(bundle, p, s) for p in precisions for s in strengths}
    if "cpu" in ways and not _runs(bundle, "fp32", "cpu"):
        ways = [way for way in ways if way != "cpu"]
    own = {s: _module(bundle, "fp32", s, "cpu") for s in strengths} if "cpu" in ways else {}
    rows = []
    for number, case in enumerate(plan):
        progress(case.label, number, len(plan))
        pictures = _pictures(case, source)
        wanted = [
            _paint_reference(net, bundle, picture, case) if inpaints else reference(net, picture, case)
            for picture in pictures
        ]
        found: dict[str, dict[str, Difference]] = {"fp32": {}, "bf16": {}}
        for precision in precisions:
            for way in ways:
                if way == "module":
                    got = _by_module(modules[precision, case.strength], pictures, case)
                elif way == "cpu":
                    if precision != "fp32":
                        continue
                    got = _by_module(own[case.strength], pictures, case)
                else:
                    got = _by_filter(bundle, pictures, case, precision)
                found[precision][way] = _difference(got, wanted, case, _hole(case) if inpaints else None)
        rows.append(Row(case, found["fp32"], found["bf16"]))
    progress("done", len(plan), len(plan))
    return Report(bundle.name, rows, skipped, HOLE_BF16_PSNR_DB if inpaints else BF16_PSNR_DB)


def strengths_of(bundle: Model) -> Sequence[float]:
    """The strengths at which a bundle is compared."""
    return STRENGTHS if bundle.has_strength else (1.0,)


def reference(net: Net, picture: Sequence[Plane], case: Case) -> Picture:
    """One 4:2:0 picture (y, u, v) through the net in f32, by the book (docs/models.md)."""
    import torch

    control = [] if case.strength == 1 else [case.strength]
    with torch.no_grad():
        result = net(torch.from_numpy(fold(picture, case.bit_depth, case.full_range)), *control).numpy()
    height, width = picture[0].shape
    return unfold(result, width, height, case.bit_depth, case.full_range)


def _hole(case: Case) -> NDArray[np.bool_]:
    """An ellipse in the middle and a box at the right border: [H, W]."""
    y, x = np.mgrid[: case.height, : case.width]
    ellipse = ((x - 0.45 * case.width) / (0.22 * case.width)) ** 2 + (
        (y - 0.5 * case.height) / (0.3 * case.height)
    ) ** 2 < 1
    box = (x > 0.9 * case.width) & (y > 0.6 * case.height) & (y < 0.8 * case.height)
    return np.asarray(ellipse | box)


def _paint_reference(net: Net, bundle: Model, picture: Sequence[Plane], case: Case) -> Picture:
    import torch

    from clarivid import painter_reference

    def run(tensor: NDArray[np.float32]) -> NDArray[np.float32]:
        with torch.no_grad():
            return np.asarray(net(torch.from_numpy(tensor)).numpy())

    size = painter_reference.net_size(case.width, case.height, bundle.card.get("input", {}))
    ranges = spans(case.bit_depth, case.full_range)
    return painter_reference.paint(run, picture, _hole(case), size, ranges, case.bit_depth)


def _net(bundle: Model) -> Net:
    try:
        from clarivid.nets.load import load_net
    except ModuleNotFoundError as error:
        raise ToolError(
            f"parity needs PyTorch and safetensors ({error}): pip install 'clarivid[train]'"
        ) from None
    return load_net(bundle)


def _module(
    bundle: Model, precision: str, strength: float = 1.0, backend: str = "openvino"
) -> PictureFilter | Inpainter:
    if bundle.task == "inpaint":
        return Inpainter(bundle.folder, backend=backend, precision=precision)
    if bundle.task == "lowrank":
        return LowrankPre(str(bundle.folder), strength=strength, backend=backend, precision=precision)
    return SuperResolution(str(bundle.folder), backend=backend, precision=precision)


def _runs(bundle: Model, precision: str, backend: str) -> bool:
    try:
        _try(bundle, precision, backend)
    except BackendError:
        return False
    return True


def _try(bundle: Model, precision: str, backend: str) -> None:
    flat = [np.full(shape, 100, np.uint8) for shape in ((64, 64), (32, 32), (32, 32))]
    module = _module(bundle, precision, backend=backend)
    if isinstance(module, Inpainter):
        module.paint(flat, [(8, 8, 16, 16)])
    else:
        module(flat)


def spans(bit_depth: int, full_range: bool) -> tuple[tuple[int, int], tuple[int, int]]:
    """(offset, span) of luma and of chroma, in codes."""
    if full_range:
        return (0, (1 << bit_depth) - 1), (1 << bit_depth - 1, (1 << bit_depth) - 1)
    return (16 << bit_depth - 8, 219 << bit_depth - 8), (128 << bit_depth - 8, 224 << bit_depth - 8)


def fold(picture: Sequence[Plane], bit_depth: int, full_range: bool) -> NDArray[np.float32]:
    """Planes (y, u, v) to the tensor [1,6,ceil(H/2),ceil(W/2)]."""
    y, u, v = picture
    (off_y, span_y), (off_c, span_c) = spans(bit_depth, full_range)
    height, width = y.shape
    even = np.pad(y, ((0, height % 2), (0, width % 2)), "edge").astype(np.float64)
    luma = (even - off_y) / span_y - 0.5
    chroma = [(plane.astype(np.float64) - off_c) / span_c for plane in (u, v)]
    return np.stack([luma[r::2, c::2] for r in (0, 1) for c in (0, 1)] + chroma)[None].astype(np.float32)


def unfold(tensor: NDArray[np.float32], width: int, height: int, bit_depth: int, full_range: bool) -> Picture:
    """The tensor [1,6s²,h,w] to planes (y, u, v) of s times ``width`` x ``height`` (of the source)."""
    (off_y, span_y), (off_c, span_c) = spans(bit_depth, full_range)
    top, (_, channels, h, w) = (1 << bit_depth) - 1, tensor.shape
    scale = round((channels / 6) ** 0.5)

    def plane(first: int, block: int, offset: int, span: int, centre: float, size: tuple[int, int]) -> Plane:
        values = tensor[0, first : first + block * block].astype(np.float64)
        values = values.reshape(block, block, h, w).transpose(2, 0, 3, 1).reshape(h * block, w * block)
        codes: Plane = np.clip(np.floor((values + centre) * span + offset + 0.5), 0, top)
        return codes[: size[0], : size[1]].astype(np.uint8 if bit_depth == 8 else np.uint16)

    big = (height * scale, width * scale)
    half = ((big[0] + 1) // 2, (big[1] + 1) // 2)
    luma = (2 * scale) ** 2
    return (
        plane(0, 2 * scale, off_y, span_y, 0.5, big),
        plane(luma, scale, off_c, span_c, 0.0, half),
        plane(luma + scale * scale, scale, off_c, span_c, 0.0, half),
    )


def _has_bf16(bundle: Model, skipped: list[str]) -> bool:
    try:
        _try(bundle, "bf16", "openvino")
    except BackendError as error:
        skipped.append(f"bf16: {error}")
        return False
    return True


def _pictures(case: Case, source: Path | None) -> list[Picture]:
    """:data:`FRAMES` pictures (y, u, v), codes in the low bits."""
    if case.source == "random":
        random = np.random.default_rng([case.width, case.height, case.bit_depth])
        dtype = np.uint8 if case.bit_depth == 8 else np.uint16
        chroma = ((case.height + 1) // 2, (case.width + 1) // 2)
        return [
            tuple(
                random.integers(0, 1 << case.bit_depth, shape).astype(dtype)
                for shape in ((case.height, case.width), chroma, chroma)
            )
            for _ in range(FRAMES)
        ]
    assert source is not None
    planar = "yuv420p" if case.bit_depth == 8 else "yuv420p10le"
    # Scaling before the crop gives 10-bit codes that are no multiples of four; the crop keeps real detail.
    size = f"max(iw*3/4\\,{case.width + 1})"
    filters = f"scale={size}:-2:flags=bicubic:out_range={'pc' if case.full_range else 'tv'}"
    # exact=1 allows an odd size; at an odd place it would cut 10-bit chroma in the middle of a sample.
    filters += f",format={planar},crop={case.width}:{case.height}"
    filters += ":floor((iw-ow)/4)*2:floor((ih-oh)/4)*2:exact=1"
    command = ["-i", str(source), "-vf", filters, "-frames:v", str(FRAMES), *_raw(planar)]
    data = _run(command, b"", f"cut pictures of {case.width}x{case.height} from {source}")
    pictures = list(_unpack(data, case.width, case.height, planar))
    if len(pictures) < FRAMES:
        raise InputError(f"{source} has {len(pictures)} frames; parity needs {FRAMES}")
    return pictures[:FRAMES]


def _by_module(module: PictureFilter | Inpainter, pictures: Sequence[Picture], case: Case) -> list[Picture]:
    results = []
    for picture in pictures:
        planes = _interleave(picture, case.pix_fmt)
        if isinstance(module, Inpainter):
            options: dict[str, Any] = {"bit_depth": case.bit_depth, "full_range": case.full_range}
            out = module.paint(planes, _hole(case), **options)
        else:
            out = module(planes, bit_depth=case.bit_depth, full_range=case.full_range)
        results.append(_separate(out, case.pix_fmt))
    return results


def _by_filter(bundle: Model, pictures: Sequence[Picture], case: Case, precision: str) -> list[Picture]:
    data = b"".join(plane.tobytes() for picture in pictures for plane in _interleave(picture, case.pix_fmt))
    colour = "pc" if case.full_range else "tv"
    name = FILTERS[bundle.task]
    options = f"model={_escape(str(bundle.folder))}:backend=openvino:precision={precision}"
    if bundle.has_strength:
        options += f":strength={case.strength:g}"
    command = [*_raw(case.pix_fmt)[:-1], "-s", f"{case.width}x{case.height}", "-r", "25", "-i", "-"]
    command += ["-vf", f"setparams=range={colour},{name}={options}", *_raw(case.pix_fmt)]
    out = _run(command, data, f"run {name} on {case.label}")
    scale = bundle.scale
    results = list(_unpack(out, case.width * scale, case.height * scale, case.pix_fmt))
    if len(results) != len(pictures):
        raise ToolError(f"{name} gave {len(results)} frames for {len(pictures)} on {case.label}")
    return results


def _difference(
    got: Sequence[Picture], wanted: Sequence[Picture], case: Case, hole: NDArray[np.bool_] | None = None
) -> Difference:
    errors = [
        np.abs(a.astype(np.int64) - b)
        for g, w in zip(got, wanted, strict=True)
        for a, b in zip(g, w, strict=True)
    ]
    counted = [error if hole is None else error[hole] for error in errors[::3]]
    luma = float(np.mean([np.mean(error.astype(np.float64) ** 2) for error in counted]))
    peak = float((1 << case.bit_depth) - 1)
    return Difference(
        max_code_error=int(max(error.max() for error in errors)),
        differing=sum(int((error > 0).sum()) for error in errors) / sum(error.size for error in errors),
        psnr_db=float(10 * np.log10(peak * peak / luma)) if luma else None,
    )


def _interleave(picture: Picture, pix_fmt: str) -> Picture:
    """(y, u, v) as the planes that ``pix_fmt`` has; p010 carries its ten bits on top."""
    if pix_fmt not in INTERLEAVED:
        return picture
    y, u, v = picture
    uv = np.stack([u, v], axis=-1).reshape(u.shape[0], -1)
    return (y << 6, uv << 6) if pix_fmt == "p010le" else (y, uv)


def _separate(planes: Sequence[Plane], pix_fmt: str) -> Picture:
    """The reverse of :func:`_interleave`."""
    if pix_fmt not in INTERLEAVED:
        return tuple(planes)
    y, uv = planes if pix_fmt == "nv12" else (plane >> 6 for plane in planes)
    return y, uv[:, ::2], uv[:, 1::2]


def _unpack(data: bytes, width: int, height: int, pix_fmt: str) -> Iterator[Picture]:
    """The pictures of packed raw video, as (y, u, v)."""
    samples: Plane = np.frombuffer(data, np.uint8 if BIT_DEPTH[pix_fmt] == 8 else np.dtype("<u2"))
    rows, columns = (height + 1) // 2, (width + 1) // 2
    size = width * height + 2 * rows * columns
    for start in range(0, samples.size - size + 1, size):
        luma = samples[start : start + width * height].reshape(height, width)
        chroma = samples[start + width * height : start + size]
        if pix_fmt in INTERLEAVED:
            yield _separate((luma, chroma.reshape(rows, 2 * columns)), pix_fmt)
        else:
            u, v = chroma.reshape(2, rows, columns)
            yield luma, u, v


def _raw(pix_fmt: str) -> list[str]:
    return ["-f", "rawvideo", "-pix_fmt", pix_fmt, "-"]


def _escape(value: str) -> str:
    """A value inside a filter's options inside a graph: two levels of ffmpeg's quoting."""
    for level in ("\\':", "\\'[],;"):
        value = "".join(f"\\{char}" if char in level else char for char in value)
    return value


def _run(arguments: Sequence[str], data: bytes, what: str) -> bytes:
    command = [str(ffmpeg.find().ffmpeg), "-hide_banner", "-v", "error", "-nostdin", *arguments]
    if data:
        command.remove("-nostdin")
    done = subprocess.run(command, input=data, capture_output=True, check=False)
    if done.returncode:
        lines = [line for line in done.stderr.decode("utf-8", "replace").splitlines() if line.strip()]
        raise ToolError(f"cannot {what}: {lines[0] if lines else 'ffmpeg gave no reason'}")
    return done.stdout


__all__ = [
    "BF16_PSNR_DB",
    "HOLE_BF16_PSNR_DB",
    "STRENGTHS",
    "Case",
    "Difference",
    "Report",
    "Row",
    "cases",
    "cases_of",
    "check",
    "reference",
    "strengths_of",
]
