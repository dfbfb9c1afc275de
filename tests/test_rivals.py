# SPDX-License-Identifier: BSD-2-Clause
"""Nets of others: they merge into what they are in training, cost what they say, and run as ONNX."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch")

import torch.nn.functional as F  # noqa: E402

from clarivid.nets import rivals  # noqa: E402
from clarivid.nets.rivals import RIVALS, EdgeOriented, Expanded  # noqa: E402


@pytest.fixture(autouse=True)
def seed() -> None:
    torch.manual_seed(3)


def moved(name: str) -> rivals.Rival:
    """A net whose every parameter is away from where it started."""
    net = RIVALS[name]()
    with torch.no_grad():
        for parameter in net.parameters():
            parameter.add_(0.05 * torch.randn_like(parameter))
    return net.eval()


@pytest.mark.parametrize("identity", [True, False])
def test_expanded_branches_are_the_merged_convolution(identity: bool) -> None:
    conv = Expanded(6, identity=identity)
    torch.nn.init.normal_(conv.first_bias)
    torch.nn.init.normal_(conv.inner_bias)
    x = torch.randn(2, 6, 9, 11)
    wide = F.conv2d(x, conv.first[:, :, None, None], conv.first_bias)
    # The paper pads with the first convolution's bias: that is what it makes of zeros.
    padded = conv.first_bias[None, :, None, None].expand(2, -1, 11, 13).clone()
    padded[:, :, 1:-1, 1:-1] = wide
    inner = F.conv2d(padded, conv.weight, conv.inner_bias)
    if identity:
        inner = inner + wide
    out = F.conv2d(inner, conv.last[:, :, None, None], conv.bias)
    out = out + (x if conv.skip is None else F.conv2d(x, conv.skip[:, :, None, None]))
    torch.testing.assert_close(conv(x), out, atol=1e-4, rtol=1e-4)


def test_edge_oriented_branches_are_the_merged_convolution() -> None:
    conv = EdgeOriented(4, 5)
    torch.nn.init.normal_(conv.scales)
    x = torch.randn(1, 4, 8, 8)
    out = F.conv2d(x, conv.weight, conv.bias, padding=1)
    out = out + F.conv2d(F.conv2d(x, conv.first[:, :, None, None]), conv.inner, padding=1)
    for scale, mix, kernel in zip(conv.scales, conv.mixes, conv.masks, strict=True):
        mixed = F.conv2d(x, mix[:, :, None, None])
        kernels = (scale[:, None, None] * kernel)[:, None]
        out = out + F.conv2d(mixed, kernels, padding=1, groups=5)
    torch.testing.assert_close(conv(x), out, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("name", RIVALS)
def test_an_untrained_net_is_about_the_nearest_upsample_and_trains(name: str) -> None:
    net = RIVALS[name]()
    x = torch.rand(2, 6, 12, 14) - 0.5
    out = net(x, 0.5)
    assert out.shape == (2, 24, 12, 14)
    assert (out[:, :16] - x[:, net.base][:, :16]).abs().max().item() < 0.3
    out.square().mean().backward()
    for parameter_name, parameter in net.named_parameters():
        assert parameter.grad is not None, parameter_name
        assert torch.isfinite(parameter.grad).all(), parameter_name


@pytest.mark.parametrize("name", RIVALS)
def test_luma_and_chroma_go_where_they_belong(name: str) -> None:
    x = torch.zeros(1, 6, 16, 16)
    x[:, 4], x[:, 5] = 0.25, -0.25
    net = RIVALS[name]().eval()
    out = net(x)[..., 6:-6, 6:-6]
    for channels, value in ((slice(16, 20), 0.25), (slice(20, 24), -0.25)):
        assert (out[:, channels] - value).abs().max().item() < 0.15


@pytest.mark.parametrize("name", RIVALS)
def test_the_config_builds_the_net_again_and_merging_keeps_its_pictures(name: str) -> None:
    net = moved(name)
    x = torch.rand(1, 6, 10, 12) - 0.5
    again = rivals.from_config(net.config())
    again.load_state_dict(net.state_dict())
    torch.testing.assert_close(again.eval()(x), net(x))
    merged = rivals.merged(net)
    torch.testing.assert_close(merged(x), net(x), atol=1e-4, rtol=1e-4)
    assert sum(p.numel() for p in merged.parameters()) == net.parameters_merged()


@pytest.mark.parametrize(
    ("name", "parameters", "gmac", "field"),
    [
        ("espcn", 21_284, 44.0, 9),
        ("ecbsr", 10_100, 20.6, 13),
        ("bicubic_pp", 27_072, 14.0, 18),
        ("rt4ksr", 32_808, 16.8, 30),
        ("span", 81_616, 42.1, 50),
    ],
)
def test_nets_cost_what_the_table_says(name: str, parameters: int, gmac: float, field: int) -> None:
    net = RIVALS[name]()
    assert net.parameters_merged() == parameters
    assert net.macs() / 1e9 == pytest.approx(gmac, abs=0.06)
    assert net.receptive_field() == field


@pytest.mark.parametrize("name", ["espcn", "span"])
def test_no_input_beyond_the_receptive_field_reaches_an_output(name: str) -> None:
    net = moved(name)
    x = (torch.rand(1, 6, 40, 40) - 0.5).requires_grad_()
    net(x)[0, :16, 20, 20].sum().backward()
    assert x.grad is not None
    rows = torch.nonzero(x.grad[0, :4].abs().sum((0, 2))).flatten()
    reach = int(rows.max() - rows.min()) + 1
    assert reach <= (net.receptive_field() + 3) // 2 + 1
    assert reach > net.receptive_field() // 3


@pytest.mark.parametrize("name", RIVALS)
def test_onnx_gives_the_nets_pictures_at_any_size(name: str, tmp_path: Path) -> None:
    ov = pytest.importorskip("openvino")
    net = moved(name)
    path = rivals.write_onnx(net, tmp_path / f"{name}.onnx")
    compiled = ov.Core().compile_model(str(path), "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    for size in ((2, 6, 18, 26), (1, 6, 31, 17)):
        x = torch.rand(size) - 0.5
        found = compiled([x.numpy()])[0]
        np.testing.assert_allclose(found, net(x).detach().numpy(), atol=2e-3)
