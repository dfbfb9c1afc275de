# SPDX-License-Identifier: BSD-2-Clause
"""The super-resolution net: its forms agree, it starts as an interpolator, it costs what it says."""

from __future__ import annotations

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from clarivid.nets.sr import RepConv, SRNet, bicubic_kernel  # noqa: E402
from clarivid.train.batches import fold, unfold  # noqa: E402


@pytest.fixture(autouse=True)
def seed() -> None:
    torch.manual_seed(7)


def trained_net(channels: int = 16, blocks: int = 2) -> SRNet:
    """A net whose every parameter has moved, gates included."""
    net = SRNet(channels, blocks)
    with torch.no_grad():
        for parameter in net.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    return net.eval()


def test_merged_branches_equal_the_training_form() -> None:
    conv = RepConv(48)
    with torch.no_grad():
        for parameter in conv.parameters():
            parameter.add_(0.2 * torch.randn_like(parameter))
    x = torch.randn(2, 48, 19, 23)
    assert torch.allclose(conv(x), conv.explicit(x), atol=1e-5, rtol=1e-5)


def test_merging_leaves_gradients_as_they_were() -> None:
    conv = RepConv(12).double()
    x = torch.randn(1, 12, 9, 9, dtype=torch.float64)
    names = [name for name, _ in conv.named_parameters()]
    merged = torch.autograd.grad((conv(x) ** 2).sum(), list(conv.parameters()))
    explicit = torch.autograd.grad((conv.explicit(x) ** 2).sum(), list(conv.parameters()))
    for name, a, b in zip(names, merged, explicit, strict=True):
        assert torch.allclose(a, b), name


def test_untrained_net_interpolates_like_bicubic() -> None:
    x = torch.nn.functional.avg_pool2d(torch.randn(1, 6, 44, 44), 5, 1)
    want = torch.nn.functional.conv2d(x, bicubic_kernel())
    got = SRNet()(x)[:, :, 1:-1, 1:-1]
    centre = (slice(None), slice(None), slice(6, -6), slice(6, -6))
    assert (got - want)[centre].abs().max() < 0.05 * x.abs().max()


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


def test_default_net_has_the_published_size() -> None:
    net = SRNet()
    assert 100_000 <= net.parameters_merged() <= 110_000
    assert net.macs(1920, 1080) <= 50e9


def test_gates_start_at_one_and_stay_between_zero_and_two() -> None:
    x = torch.randn(2, 6, 20, 20)
    plain, gated = SRNet(attention=False), SRNet()
    gated.load_state_dict(plain.state_dict(), strict=False)
    assert torch.allclose(plain(x), gated(x), atol=1e-6)
    gate = trained_net().blocks[0].gate
    weight = gate(torch.randn(2, 16, 20, 20) * 30).detach()
    assert 0 <= weight.min().item() <= weight.max().item() <= 2


def test_statistics_of_crop_or_picture_hardly_matter() -> None:
    """Statistics of the batch's mean must be a small change, or crops and pictures would differ."""
    net, x = trained_net(), torch.randn(4, 6, 24, 24) * 0.2
    with torch.no_grad():
        own, mean = net(x), net(x, 1.0)
    assert float((own - mean).abs().mean()) < 0.05 * float(own.abs().mean())


def test_result_does_not_depend_on_the_batch_or_the_run() -> None:
    net, x = trained_net(), torch.randn(3, 6, 17, 21)
    with torch.no_grad():
        assert torch.equal(net(x), net(x))
        assert np.allclose(net(x)[1:2], net(x[1:2]), atol=1e-5)


@pytest.mark.parametrize(("channels", "blocks", "scale"), [(8, 4, 2), (48, 0, 2), (48, 4, 3)])
def test_impossible_sizes_are_refused(channels: int, blocks: int, scale: int) -> None:
    with pytest.raises(ValueError, match="channels >= 12"):
        SRNet(channels, blocks, scale)


def test_gates_that_do_not_change_can_become_constants() -> None:
    """On the picture that they were taken from, the net without attention gives the same."""
    net = trained_net()
    x = 0.3 * torch.randn(1, 6, 24, 20)
    plain = net.without_attention([x])
    assert plain.config() == {**net.config(), "attention": False}
    with torch.no_grad():
        assert torch.allclose(plain(x), net(x), atol=1e-5)
        other = 5 * torch.randn(1, 6, 24, 20)
        assert not torch.allclose(plain(other), net(other), atol=1e-3)
