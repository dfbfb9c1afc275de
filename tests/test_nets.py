# SPDX-License-Identifier: BSD-2-Clause
"""The super-resolution net: its forms agree, it starts as an interpolator, it costs what it says."""

from __future__ import annotations

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from clarivid.nets.folded import Folded, bicubic_kernel  # noqa: E402
from clarivid.nets.sr import RepConv, SRNet  # noqa: E402
from clarivid.train.batches import fold, unfold  # noqa: E402


@pytest.fixture(autouse=True)
def seed() -> None:
    torch.manual_seed(7)


def trained_net(channels: int = 16, blocks: int = 2) -> SRNet:
    """A net with gates whose every parameter has moved."""
    net = SRNet(channels, blocks, attention=True)
    with torch.no_grad():
        for parameter in net.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    return net.eval()


SIZES = [(1, 16, True), (24, 24, True), (16, 4, True), (16, 16, False)]


def moved_conv(inputs: int, outputs: int, branches: bool) -> RepConv:
    conv = RepConv(inputs, outputs, branches)
    with torch.no_grad():
        for parameter in conv.parameters():
            parameter.add_(0.2 * torch.randn_like(parameter))
    return conv


@pytest.mark.parametrize(("inputs", "outputs", "branches"), SIZES)
def test_merged_branches_equal_the_training_form(inputs: int, outputs: int, branches: bool) -> None:
    conv = moved_conv(inputs, outputs, branches).double()
    x = torch.randn(2, inputs, 19, 23, dtype=torch.float64)
    assert torch.allclose(conv(x), conv.explicit(x))
    assert torch.equal(conv.merged(), conv.k3) is not branches


@pytest.mark.parametrize(("inputs", "outputs", "branches"), SIZES)
def test_merging_leaves_gradients_as_they_were(inputs: int, outputs: int, branches: bool) -> None:
    conv = moved_conv(inputs, outputs, branches).double()
    x = torch.randn(1, inputs, 9, 9, dtype=torch.float64)
    named = {name: p for name, p in conv.named_parameters() if p.requires_grad}
    assert len(named) == (8 if branches else 2)
    merged = torch.autograd.grad((conv(x) ** 2).sum(), list(named.values()), allow_unused=True)
    explicit = torch.autograd.grad((conv.explicit(x) ** 2).sum(), list(named.values()), allow_unused=True)
    for name, a, b in zip(named, merged, explicit, strict=True):
        if name == "skip" and inputs != outputs:
            assert a is None
            assert b is None
        else:
            assert torch.allclose(a, b), name


def test_untrained_net_is_hardly_more_than_the_nearest_upsample() -> None:
    x = torch.rand(1, 1, 20, 26)
    with torch.no_grad():
        change = SRNet()(x) - torch.nn.functional.interpolate(x, scale_factor=2)
    assert 0 < float(change.abs().mean()) < 0.1


def test_folded_is_the_net_on_luma_in_another_order() -> None:
    net = SRNet(8, 2)
    y, u, v = torch.randn(2, 12, 16), torch.randn(2, 6, 8), torch.randn(2, 6, 8)
    with torch.no_grad():
        luma, *chroma = unfold(Folded(net)(fold(y, u, v)))
        want = net(y[:, None] + 0.5)[:, 0] - 0.5
    assert torch.equal(luma, want)
    for plane, from_ in zip(chroma, (u, v), strict=True):
        assert torch.equal(plane, torch.nn.functional.interpolate(from_[:, None], scale_factor=2)[:, 0])


def test_bicubic_kernel_keeps_flat_pictures_and_ramps_in_place() -> None:
    kernel = bicubic_kernel(-0.5)  # the value that keeps ramps straight
    assert torch.allclose(kernel.sum((1, 2, 3)), torch.ones(24), atol=1e-6)
    # A luma ramp of one code a pixel must come out as a ramp of half a code: no shift, quarter-pixel phases.
    y = torch.arange(16.0).expand(1, 16, 16)
    u = torch.arange(8.0).expand(1, 8, 8)
    out = torch.nn.functional.conv2d(fold(y, u, u.transpose(1, 2)), kernel)
    luma, across, down = unfold(out)
    assert torch.allclose(luma[0, 0], (torch.arange(4.0, 28) + 0.5) / 2 - 0.5, atol=1e-4)
    # Chroma rows lie at quarter phases, columns are sited left: -1/8 and +3/8.
    assert torch.allclose(across[0, 0], torch.arange(2.0, 14) / 2 - 0.125, atol=1e-4)
    assert torch.allclose(down[0, :, 0], (torch.arange(2.0, 14) + 0.5) / 2 - 0.5, atol=1e-4)


def test_fold_is_the_layout_of_the_contract_and_unfold_its_inverse() -> None:
    y, u, v = (torch.randn(2, *size) for size in ((12, 16), (6, 8), (6, 8)))
    x = fold(y, u, v)
    assert x.shape == (2, 6, 6, 8)
    assert torch.equal(x[:, 1], y[:, 0::2, 1::2])
    assert torch.equal(x[:, 2], y[:, 1::2, 0::2])
    assert torch.equal(x[:, 4], u)
    big = fold(y, u, v, size=2)
    assert torch.equal(big[:, 7], y[:, 1::4, 3::4])
    assert torch.equal(big[:, 22], v[:, 1::2, 0::2])
    for a, b in zip(unfold(big), (y, u, v), strict=True):
        assert torch.equal(a, b)


def test_default_net_is_within_the_budget() -> None:
    net = SRNet()
    assert net.parameters_merged() == 9 * (16 + 9 * 256 + 64) + 10 * 16 + 4
    assert net.macs(1920, 1080) == 1920 * 1080 * 9 * (16 + 9 * 256 + 64) <= 50e9
    assert net.receptive_field() == 23


def test_luma_further_away_than_the_receptive_field_does_not_matter() -> None:
    net = SRNet(8, 3)
    with torch.no_grad():
        for parameter in net.parameters():
            parameter.add_(0.2 * torch.randn_like(parameter))
        x = torch.rand(1, 1, 21, 21)
        other = x.clone()
        other[..., 10, 10] += 1
        changed = (net(x) != net(other))[0, 0].nonzero()
    reach = net.receptive_field() // 2
    assert changed.min() == 2 * (10 - reach)
    assert changed.max() == 2 * (10 + reach) + 1


def test_gates_start_at_one_and_stay_between_zero_and_two() -> None:
    x = torch.rand(2, 1, 20, 20)
    plain, gated = SRNet(), SRNet(attention=True)
    gated.load_state_dict(plain.state_dict(), strict=False)
    assert torch.allclose(plain(x), gated(x), atol=1e-6)
    gate = trained_net().blocks[0].gate
    weight = gate(torch.randn(2, 16, 20, 20) * 30).detach()
    assert 0 <= weight.min().item() <= weight.max().item() <= 2


def test_statistics_of_crop_or_picture_hardly_matter() -> None:
    """Statistics of the batch's mean must be a small change, or crops and pictures would differ."""
    net, x = trained_net(), torch.randn(4, 1, 48, 48) * 0.2
    with torch.no_grad():
        own, mean = net(x), net(x, 1.0)
    assert float((own - mean).abs().mean()) < 0.05 * float(own.abs().mean())


def test_result_does_not_depend_on_the_batch_or_the_run() -> None:
    net, x = trained_net(), torch.randn(3, 1, 17, 21)
    with torch.no_grad():
        assert torch.equal(net(x), net(x))
        assert np.allclose(net(x)[1:2], net(x[1:2]), atol=1e-5)


@pytest.mark.parametrize(("channels", "blocks", "scale"), [(3, 4, 2), (16, 0, 2), (16, 4, 3)])
def test_impossible_sizes_are_refused(channels: int, blocks: int, scale: int) -> None:
    with pytest.raises(ValueError, match="channels >= 4"):
        SRNet(channels, blocks, scale)
