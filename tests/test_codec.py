# SPDX-License-Identifier: BSD-2-Clause
"""The stand-in encoder: it behaves as an encoder does, its gradients are right, its bits follow x264's."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("imageio_ffmpeg")

import lowrank_pack  # noqa: E402
from clarivid.errors import InputError  # noqa: E402
from clarivid.train import calibrate, codec, motion  # noqa: E402
from clarivid.train.codec import Codec, calibrated  # noqa: E402
from clarivid.train.spectrum import block_dct  # noqa: E402


@pytest.fixture(autouse=True)
def _one_thread() -> None:
    torch.set_num_threads(1)


def luma(seed: int = 1, size: int = 96, **how: object) -> torch.Tensor:
    return torch.from_numpy(lowrank_pack.clip(seed, size, **how))[None].float()  # type: ignore[arg-type]


def where(clip: torch.Tensor) -> torch.Tensor:
    pairs = zip(clip.unbind(1)[:-1], clip.unbind(1)[1:], strict=True)
    return torch.stack([motion.grid(motion.estimate(a, b)) for a, b in pairs], 1)


def code(clip: torch.Tensor, qp: float, aq: float | None = None) -> codec.Coded:
    strength = None if aq is None else torch.full((len(clip),), aq)
    return calibrated()(clip, where(clip), torch.full((len(clip),), qp), strength)


def test_a_higher_qp_costs_fewer_bits_and_more_error() -> None:
    clip = luma(noise=2.0)
    coded = [code(clip, qp) for qp in (16.0, 22.0, 28.0, 34.0, 40.0)]
    bits = [float(c.bits.sum()) for c in coded]
    errors = [float((c.decoded - clip).square().mean()) for c in coded]
    assert bits == sorted(bits, reverse=True)
    assert errors == sorted(errors)
    assert bits[0] > 5 * bits[-1]


def test_what_stands_still_costs_next_to_nothing_after_its_first_frame() -> None:
    bits = code(luma(moving=False), 30.0).bits[0]
    assert float(bits[1:].max()) < 0.03 * float(bits[0])


def test_what_moves_is_predicted() -> None:
    bits = code(luma(moving=True), 30.0).bits[0]
    assert float(bits[1:].max()) < 0.4 * float(bits[0])  # the border brings new things


def test_a_fine_quantiser_gives_the_source_back() -> None:
    clip = luma(noise=3.0)
    assert float((code(clip, -24.0).decoded - clip).abs().max()) < 0.2


def test_adaptive_quantisation_is_finer_where_the_picture_is_flat() -> None:
    flat = torch.full((1, 32, 64), 100.0)
    flat[:, :, 32:] += 60 * torch.rand(1, 32, 32, generator=torch.Generator().manual_seed(1))
    offset = codec.adaptive_offset(flat)
    assert float(offset[..., :2].max()) < 0 < float(offset[..., 2:].min())


def test_regions_and_their_transforms_are_the_blocks_of_the_picture() -> None:
    picture = torch.randn(2, 32, 48, generator=torch.Generator().manual_seed(1))
    cut = codec.regions(picture)
    assert torch.equal(codec.whole(cut), picture)
    for n in codec.SIZES:
        matrix = getattr(Codec(), f"dct{n}")
        mine = codec.whole(matrix @ cut @ matrix.T)
        blocks = block_dct(picture, n).transpose(2, 3).reshape_as(picture)
        torch.testing.assert_close(mine, blocks, atol=1e-5, rtol=0)


def test_quantiser_has_a_dead_zone() -> None:
    z = torch.tensor([0.0, 0.69, -0.69, 0.71, -0.71, 1.69, 1.71, -2.75])
    rounded, coded = codec.quantise(z, torch.tensor(0.7))
    assert rounded.tolist() == [0, 0, 0, 1, -1, 1, 2, -3]
    assert coded.tolist() == [0, 0, 0, 1, 1, 1, 1, 1]


def test_gradients_of_the_quantiser_are_those_of_its_smooth_twins() -> None:
    z = torch.linspace(-2.5, 2.5, 101, dtype=torch.float64).requires_grad_()
    threshold = torch.tensor(0.8, dtype=torch.float64)
    a, b = torch.randn(2, 101, dtype=torch.float64, generator=torch.Generator().manual_seed(3))
    rounded, coded = codec.quantise(z, threshold)
    (found,) = torch.autograd.grad((a * rounded + b * coded).sum(), z)

    def smooth(x: torch.Tensor) -> torch.Tensor:
        s = torch.sigmoid((x.abs() - threshold) / codec.SOFTNESS)
        return a * x * s + b * s

    with torch.no_grad():
        difference = (smooth(z + 1e-6) - smooth(z - 1e-6)) / 2e-6
    smooth_places = z.detach().abs() > 1e-3  # |z| has a corner at 0
    torch.testing.assert_close(found[smooth_places], difference[smooth_places], atol=1e-5, rtol=1e-5)


def test_a_small_step_against_the_gradient_saves_real_bits_of_the_stand_in() -> None:
    clip = luma(seed=4, noise=3.0)
    field, qp, encoder = where(clip), torch.tensor([26.0]), calibrated()
    x = clip.clone().requires_grad_()
    bits = encoder(x, field, qp).bits.sum()
    (gradient,) = torch.autograd.grad(bits, x)
    before = float(bits.detach())
    step = 0.3 * gradient / gradient.square().mean().sqrt()
    noise = torch.randn(clip.shape, generator=torch.Generator().manual_seed(5)) * 0.3
    with torch.no_grad():
        after = float(encoder(clip - step, field, qp).bits.sum())
        opposite = float(encoder(clip + step, field, qp).bits.sum())
        aimless = float(encoder(clip + noise, field, qp).bits.sum())
    assert after < 0.97 * before
    assert after < aimless
    assert opposite > before


def test_dc_is_predicted_from_the_left_and_above() -> None:
    z = torch.zeros(1, 2, 2, 16, 16)
    z[..., ::8, ::8] = 10.0
    z[0, 1, 1, 8, 8] = 50.0  # predicted from its neighbours, not from itself
    z[0, 0, 1, 0, 0] = 20.0
    predicted = codec.predict_dc(z, 8)
    assert predicted[0, 1, 1, 1, 1] == 10
    assert predicted[0, 0, 1, 0, 1] == 15  # half 20 to the left, half 10 above (the border is repeated)
    flat = torch.full((1, 3, 64, 64), 77.0)
    assert float(code(flat, 30.0).bits[0, 0]) < 16  # a bit a macroblock


def test_motion_finds_a_shift_and_a_quarter_of_a_sample() -> None:
    before = luma(seed=2, size=128, noise=5.0)[:, 0]
    for shift in ((5.0, -3.0), (-11.0, 8.0), (2.25, -0.75)):
        vectors = torch.tensor(shift).view(1, 2, 1, 1).expand(1, 2, 16, 16)
        after = motion.warp(before, motion.grid(vectors))
        found = motion.estimate(before, after)[0, :, 3:-3, 3:-3]
        right = (found - torch.tensor(shift)[:, None, None]).abs().amax(0) <= 0.25
        assert float(right.float().mean()) > 0.7, shift


def test_prices_come_back_as_they_were_written(tmp_path: Path) -> None:
    shipped = calibrated()
    calibrate.write_prices(tmp_path / "prices.json", shipped.prices())
    again = calibrated(tmp_path / "prices.json")
    for name, value in shipped.state_dict().items():
        torch.testing.assert_close(again.state_dict()[name], value, atol=1e-3, rtol=0)


def test_damaged_prices_are_sentences(tmp_path: Path) -> None:
    path = tmp_path / "prices.json"
    with pytest.raises(InputError, match="cannot read the codec's prices"):
        calibrated(path)
    prices = calibrated().prices()
    del prices["importance"]["8"]
    path.write_text(json.dumps(prices), "utf-8")
    with pytest.raises(InputError, match="damaged"):
        calibrated(path)
    path.write_text(json.dumps({**prices, "schema": 99}), "utf-8")
    with pytest.raises(InputError, match="schema 99"):
        calibrated(path)


def test_spearman_shares_ranks_of_equal_values() -> None:
    scipy = pytest.importorskip("scipy.stats")
    rng = np.random.default_rng(0)
    a, b = rng.integers(0, 9, (2, 50)).astype(float)
    assert calibrate.spearman(a, b) == pytest.approx(scipy.spearmanr(a, b)[0])


def test_shipped_prices_follow_x264_and_x265() -> None:
    """Pictures that were not fitted: their bits' ranks, and those of the change that an alteration makes."""
    samples = calibrate.collect([lowrank_pack.pack(10, 1)], 10, seed=1)
    everything = calibrate.Samples(samples.y, samples.qp, samples.bits, np.ones(len(samples.y), bool))
    encoder = calibrated()
    found = calibrate.report(encoder, everything, calibrate.spectra_of(everything, encoder))
    for name in calibrate.ENCODERS:
        assert found[name]["total"] > 0.93, found
        assert found[name]["change"] > 0.75, found


def test_a_fit_lowers_the_error_of_plain_prices(tmp_path: Path) -> None:
    found = calibrate.calibrate([lowrank_pack.pack(8, 1)], tmp_path / "prices.json", crops=8, steps=30)
    assert set(found["held_out"]) >= set(calibrate.ENCODERS)
    assert found["held_out"]["crops"] == 2
    assert found["fitted"]["crops"] == 6
    assert calibrated(tmp_path / "prices.json").prices() != calibrated().prices()
    with pytest.raises(InputError, match="needs some crops"):
        calibrate.collect([lowrank_pack.pack(2, 1)])
