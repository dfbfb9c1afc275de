# SPDX-License-Identifier: BSD-2-Clause
"""The inpainting net: its size, what it may know, its holes, its training and its export."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image

torch = pytest.importorskip("torch")
pytest.importorskip("imageio_ffmpeg")

from clarivid.cli.train import command as train_command  # noqa: E402
from clarivid.data import inpaint as data  # noqa: E402
from clarivid.data import silhouette  # noqa: E402
from clarivid.errors import InputError  # noqa: E402
from clarivid.export import export  # noqa: E402
from clarivid.export import inpaint as exporter  # noqa: E402
from clarivid.models import load_model, verify_model  # noqa: E402
from clarivid.nets.inpaint import CONFIGURATIONS, MAX_PARAMETERS, InpaintNet, Widths  # noqa: E402
from clarivid.nets.load import load_net  # noqa: E402
from clarivid.train import inpaint as training  # noqa: E402
from clarivid.train.runs import read_checkpoint  # noqa: E402

CPU = torch.device("cpu")
SMALL = Widths((4, 6), (1, 2), (4, 4, 6), (1,), 1)
TINY = training.Options(
    size="tiny", steps=4, batch=2, crop=64, perceptual=0, device="cpu", precision="fp32",
    validate_every=1e9, save_every=1e9,
)  # fmt: skip


@pytest.fixture(autouse=True)
def _small(monkeypatch: pytest.MonkeyPatch) -> None:
    torch.set_num_threads(1)
    monkeypatch.setitem(CONFIGURATIONS, "tiny", SMALL)


def tile(seed: int, size: int) -> np.ndarray[Any, np.dtype[np.uint8]]:
    rng = np.random.default_rng(seed)
    small = Image.fromarray(rng.integers(30, 220, (4 + seed, 4 + seed), np.uint8))
    return np.asarray(small.resize((size, size), Image.Resampling.BICUBIC))


def tiles(count: int, start: int) -> data.Tiles:
    size = 96
    y = np.stack([tile(start + i, size) for i in range(count)])
    u, v = (np.stack([tile(start + i + n, size // 2) for i in range(count)]) for n in (1, 2))
    kinds = ["natural" if i % 2 else "game" for i in range(count)]
    hard = np.array([data.complexity(plane) for plane in y])
    return data.Tiles(y, u, v, kinds, [f"drawn {start + i}" for i in range(count)], hard)


@pytest.fixture(scope="module")
def pack(tmp_path_factory: pytest.TempPathFactory) -> Path:
    source = {"source": "none", "version": "1", "kind": "natural", "files": 4, "licence": "CC0-1.0"}
    manifest = {"schema": data.SCHEMA, "task": "inpaint", "seed": 0, "views": 1.0, "sources": [source]}
    path = tmp_path_factory.mktemp("pack") / "tiny.pack"
    data.save(data.InpaintPack(tiles(6, 1), tiles(2, 50), manifest), path)
    return path


def net_of(widths: Widths | str = SMALL, seed: int = 0) -> InpaintNet:
    """A net whose every layer does something, as after training."""
    torch.manual_seed(seed)
    net = InpaintNet(widths).eval()
    with torch.no_grad():
        for layer in net.convs.values():
            layer.bias.normal_(0, 0.05)
            layer.weight.add_(0.02 * torch.randn_like(layer.weight))
    return net


def probe(height: int, width: int, batch: int = 1) -> torch.Tensor:
    return torch.from_numpy(np.concatenate([exporter.probe(height, width, i + 1) for i in range(batch)]))


# --- The net ---


@pytest.mark.parametrize(
    ("size", "parameters", "gmac"), [("full", MAX_PARAMETERS, 12), ("fast", 400_000, 2.5)]
)
def test_the_shipped_sizes_keep_their_limits(size: str, parameters: int, gmac: float) -> None:
    net = InpaintNet(size)
    assert sum(p.numel() for p in net.parameters()) <= parameters
    best = exporter.BEST_SIZE
    assert net.macs(best, best * 9 // 16) <= gmac * 1e9


def test_macs_are_those_of_the_convolutions_that_run() -> None:
    net = net_of()
    counted = 0

    original = torch.nn.functional.conv2d

    def spy(x: Any, weight: Any, bias: Any = None, stride: int = 1, *rest: Any) -> torch.Tensor:
        out = original(x, weight, bias, stride, *rest)
        nonlocal counted
        counted += out.shape[2] * out.shape[3] * weight.numel()
        return out

    torch.nn.functional.conv2d = spy
    try:
        net(probe(32, 48))
    finally:
        torch.nn.functional.conv2d = original
    assert net.macs(96, 64) == counted


@pytest.mark.parametrize(("height", "width"), [(32, 32), (40, 72), (136, 64)])
def test_any_multiple_of_eight_is_painted_at_its_size(height: int, width: int) -> None:
    x = probe(height, width, 2)
    with torch.no_grad():
        out = net_of().outputs(x)
    assert out.picture.shape == (2, 6, height, width)
    assert out.coarse.shape == (2, 6, height // 4, width // 4)
    assert out.edges.shape == (2, 1, height // 4, width // 4)
    assert 0 <= float(out.edges.min()) <= float(out.edges.max()) <= 1
    assert (out.deep.shape[2], out.middle.shape[2], out.fine.shape[2]) == (height // 8, height // 2, height)


@pytest.mark.parametrize("shape", [(1, 6, 32, 32), (1, 7, 36, 32), (7, 32, 32)])
def test_another_shape_is_refused_by_name(shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="multiples of 8"):
        net_of()(torch.zeros(shape))


def test_what_lies_under_the_hole_never_matters() -> None:
    x = probe(64, 96)
    other = x.clone()
    hole = x[:, 6:] > 0
    other[:, :6] = torch.where(hole, torch.rand_like(x[:, :6]) - 0.5, x[:, :6])
    net = net_of()
    assert torch.equal(net(x), net(other))


def test_known_places_come_out_as_they_went_in() -> None:
    x = probe(64, 96)
    known = (x[:, 6:] == 0).expand(-1, 6, -1, -1)
    assert torch.equal(net_of()(x)[known], x[:, :6][known])


def test_a_hole_over_everything_and_no_hole_give_numbers() -> None:
    x = probe(32, 32)
    net = net_of()
    whole = x.clone()
    whole[:, :6], whole[:, 6] = 0, 1
    assert net(whole).isfinite().all()
    whole[:, :6], whole[:, 6] = x[:, :6], 0
    assert torch.equal(net(whole), whole[:, :6])


def test_an_untrained_net_fills_a_flat_and_a_sloping_picture() -> None:
    net = training._untrained(InpaintNet(SMALL))
    x = probe(96, 96)
    hole = x[:, 6:]
    slope = torch.linspace(-0.4, 0.4, 96).expand(1, 6, 96, 96)
    for true, most in ((torch.full((1, 6, 96, 96), 0.3), 1e-4), (slope, 0.06)):
        with torch.no_grad():
            out = net(torch.cat([true * (1 - hole), hole], 1))
        assert float((out - true).abs().max().detach()) < most


def test_too_wide_a_net_is_refused() -> None:
    with pytest.raises(ValueError, match="parameters"):
        InpaintNet(Widths(coarse=(48, 400)))
    with pytest.raises(ValueError, match="configuration"):
        InpaintNet("huge")


def test_config_and_weights_make_the_net_again() -> None:
    net = net_of()
    again = InpaintNet.from_config(json.loads(json.dumps(net.config())))
    again.load_inference_weights(net.inference_weights())
    x = probe(32, 48)
    assert torch.equal(again(x), net(x))


# --- Holes and tiles ---


@pytest.mark.parametrize("kind", ["", "people", "strokes", "boxes"])
def test_holes_cover_their_share_of_the_picture(kind: str) -> None:
    rng = np.random.default_rng(5)
    shares = []
    for _ in range(40):
        hole = silhouette.hole(96, 160, rng, kind)
        assert hole.shape == (96, 160)
        assert hole.dtype == bool
        shares.append(float(hole.mean()))
    assert min(shares) >= silhouette.LEAST
    assert max(shares) <= silhouette.MOST
    assert max(shares) > 3 * min(shares)


def test_the_same_seed_draws_the_same_hole() -> None:
    a, b, c = (silhouette.hole(128, 128, np.random.default_rng(seed)) for seed in (1, 1, 2))
    assert np.array_equal(a, b)
    assert not np.array_equal(a, c)


def test_a_pack_is_read_as_it_was_written(pack: Path, tmp_path: Path) -> None:
    read, wanted = data.load(pack).train, tiles(6, 1)
    for plane in "yuv":
        assert np.array_equal(getattr(read, plane), getattr(wanted, plane))
    assert (read.kinds, read.titles) == (wanted.kinds, wanted.titles)
    bad = tmp_path / "bad.pack"
    bad.write_bytes(b"PK nonsense")
    with pytest.raises(InputError, match="clarivid data inpaint"):
        data.load(bad)


def test_training_starts_with_the_simplest_tiles(pack: Path) -> None:
    draws = training.Draws([data.load(pack)], replace(TINY, batch=1, natural=0.0), CPU)
    simplest = sorted(i for _, i in draws.order["game"][:1])
    seen: list[int] = []
    original = training._crop
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(training, "_crop", lambda t, i, s, r: seen.append(i) or original(t, i, s, r))
        for step in range(20):
            draws.draw(step, 0.0)
        assert set(seen) == set(simplest)
        for step in range(20):
            draws.draw(step, 1.0)
    assert len(set(seen)) == 3


def test_a_batch_hides_its_holes_and_depends_on_seed_and_step_only(pack: Path) -> None:
    draws = training.Draws([data.load(pack)], TINY, CPU)
    a, b, c = draws.draw(3, 0.5), draws.draw(3, 0.5), draws.draw(4, 0.5)
    assert torch.equal(a.x, b.x)
    assert not torch.equal(a.x, c.x)
    assert float((a.x[:, :6] * a.hole).abs().max()) == 0
    assert torch.equal(a.x[:, 6:], a.hole)
    assert torch.equal(a.x[:, :6], a.true * (1 - a.hole))


# --- Losses ---


@pytest.mark.parametrize("term", ["pixel", "relative", "ssim", "scales", "edge"])
def test_each_loss_pulls_the_painting_towards_the_truth(term: str) -> None:
    weights = dict.fromkeys(("pixel", "relative", "ssim", "scales", "edge"), 0.0) | {term: 1.0}
    options = replace(TINY, **weights)
    net = net_of()
    x = probe(32, 40, 2)
    true = torch.from_numpy(np.concatenate([exporter.probe_picture(32, 40, i + 1) for i in range(2)]))
    batch = training.Batch(x, true, x[:, 6:])
    before = training.criterion(net.outputs(x), net.extra, batch, options)
    before.backward()  # type: ignore[no-untyped-call]
    named = dict(net.named_parameters())
    moved = [name for name, p in named.items() if p.grad is not None and float(p.grad.abs().max()) > 0]
    assert "convs.coarse_in.weight" in moved
    assert all(named[name].grad.isfinite().all() for name in moved)  # type: ignore[union-attr]
    norm = torch.sqrt(sum(p.grad.square().sum() for p in named.values() if p.grad is not None))
    with torch.no_grad():
        for p in named.values():
            if p.grad is not None:
                p -= 1e-3 * p.grad / norm
    assert float(training.criterion(net.outputs(x), net.extra, batch, options).detach()) < float(
        before.detach()
    )


def test_no_loss_looks_outside_of_the_hole() -> None:
    net = net_of()
    x = probe(32, 40)
    true = torch.from_numpy(exporter.probe_picture(32, 40, 1))
    batch = training.Batch(x, true, x[:, 6:])
    out = net.outputs(x)
    changed = out.picture + 0.1 * (1 - batch.hole)
    options = replace(TINY, ssim=0.0)  # its windows reach beyond the hole
    losses = [
        float(training.criterion(replace(out, picture=p), net.extra, batch, options).detach())
        for p in (out.picture, changed)
    ]
    assert losses[0] == pytest.approx(losses[1], abs=1e-6)


def test_the_critic_learns_and_the_net_learns_from_it() -> None:
    torch.manual_seed(0)
    critic = training.PatchCritic(4)
    x = probe(32, 40)
    true = torch.from_numpy(exporter.probe_picture(32, 40, 1))
    batch = training.Batch(x, true, x[:, 6:])
    painted = torch.where(batch.hole > 0, torch.full_like(true, 0.1), true)
    optimiser = torch.optim.Adam(critic.parameters(), 1e-2)
    first = last = 0.0
    for step in range(15):
        loss = training.critic_loss(critic, painted, batch)
        optimiser.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimiser.step()
        first, last = (float(loss.detach()), last) if step == 0 else (first, float(loss.detach()))
    assert last < 0.7 * first
    ours = painted.clone().requires_grad_()
    training.adversarial_loss(critic, ours, batch).backward()  # type: ignore[no-untyped-call]
    assert ours.grad is not None
    assert float(ours.grad.abs().max()) > 0


def test_scores_in_the_hole_ignore_the_rest() -> None:
    rng = np.random.default_rng(0)
    true = rng.integers(16, 236, (64, 64)).astype(np.uint8)
    hole = np.zeros((64, 64), bool)
    hole[20:40, 20:40] = True
    painted = true.copy()
    painted[hole] += 5
    psnr, ssim = training.scores_in_hole(painted, true, hole)
    assert psnr == pytest.approx(20 * np.log10(255 / 5), abs=1e-3)
    assert 0.9 < ssim < 1
    painted[0:5] = 0  # beyond the reach of SSIM's windows
    assert training.scores_in_hole(painted, true, hole) == (pytest.approx(psnr), pytest.approx(ssim))


# --- Runs ---


def weights(folder: Path, key: str = "model") -> dict[str, torch.Tensor]:
    return dict(read_checkpoint(folder / "last.pt")[key])


@pytest.mark.parametrize("adversarial", [0.0, 0.01])
def test_a_resumed_run_is_the_uninterrupted_one(
    pack: Path, tmp_path: Path, adversarial: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    options = replace(TINY, adversarial=adversarial)
    training.train(options, [pack], tmp_path / "whole")
    calls = 0
    original = training.Draws.draw

    def stop(self: training.Draws, step: int, done: float) -> training.Batch:
        nonlocal calls
        calls += 1
        if calls == 3:
            raise KeyboardInterrupt
        return original(self, step, done)

    monkeypatch.setattr(training.Draws, "draw", stop)
    with pytest.raises(KeyboardInterrupt):
        training.train(replace(options, save_every=0.0), [pack], tmp_path / "parts")
    training.train(options, [pack], tmp_path / "parts", resume=True)
    whole, parts = weights(tmp_path / "whole"), weights(tmp_path / "parts")
    assert all(torch.equal(whole[name], parts[name]) for name in whole)
    first = InpaintNet(SMALL).state_dict()
    assert any(not torch.equal(whole[name], first[name]) for name in whole)


def test_a_teacher_draws_the_net_to_its_paintings(pack: Path, tmp_path: Path) -> None:
    training.train(TINY, [pack], tmp_path / "teacher")
    training.train(TINY, [pack], tmp_path / "alone")
    training.train(
        replace(TINY, distil=5.0), [pack], tmp_path / "taught", teacher=tmp_path / "teacher" / "last.pt"
    )
    alone, taught = weights(tmp_path / "alone"), weights(tmp_path / "taught")
    assert any(not torch.equal(alone[name], taught[name]) for name in alone)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"size": "huge"}, "full, fast"),
        ({"precision": "int8"}, "precision 'int8'"),
        ({"crop": 70}, "crop is 70"),
        ({"steps": 0, "minutes": -1.0}, "minutes is -1"),
    ],
)
def test_bad_options_are_sentences(pack: Path, tmp_path: Path, change: dict[str, Any], says: str) -> None:
    with pytest.raises(InputError, match=says):
        training.train(replace(TINY, **change), [pack], tmp_path)


def test_a_run_of_another_size_is_not_gone_on_with(pack: Path, tmp_path: Path) -> None:
    training.train(TINY, [pack], tmp_path / "run")
    CONFIGURATIONS["tiny"] = replace(SMALL, smooth=0)
    with pytest.raises(InputError, match="this run's is"):
        training.train(TINY, [pack], tmp_path / "run", resume=True)


def test_the_command_has_the_words_of_the_options() -> None:
    result = CliRunner().invoke(train_command, ["inpaint", "--help"])
    assert result.exit_code == 0
    for name in training.Options.__dataclass_fields__:
        assert f"--{name.replace('_', '-')}" in result.output
    parameters = {p.name: p.default for p in train_command.commands["inpaint"].params}
    defaults = training.Options()
    for name in training.Options.__dataclass_fields__:
        assert parameters[name] == getattr(defaults, name), name


# --- Export ---


@pytest.fixture
def run(pack: Path, tmp_path: Path) -> Path:
    training.train(TINY, [pack], tmp_path / "run")
    return tmp_path / "run" / "last.pt"


def test_an_exported_bundle_is_the_net(run: Path, tmp_path: Path) -> None:
    import openvino as ov

    card = export(run, "tiny", tmp_path / "tiny")
    bundle = load_model(tmp_path / "tiny")
    verify_model(bundle)
    assert (card["task"], card["layout"], card["scale"]) == ("inpaint", "yuv420_s2d_mask", 1)
    assert card["input"] == {"multiple_of": 16, "min_width": 64, "min_height": 64, "best_size": 512}
    assert card["training"]["data"][0]["licence"] == "CC0-1.0"
    assert card["training"]["command"].startswith("clarivid train inpaint ")
    assert "--size tiny " in card["training"]["command"]
    assert card["parity"]["fp32"]["passed"]
    net = load_net(bundle)
    compiled = ov.Core().compile_model(str(bundle.onnx), "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    for height, width in ((32, 32), (40, 88)):
        x = exporter.probe(height, width, 3)
        with torch.no_grad():
            want = net(torch.from_numpy(x)).numpy()
        assert np.abs(compiled(x)[0] - want).max() < 2e-4


def test_the_fp16_twin_paints_the_same(run: Path, tmp_path: Path) -> None:
    import onnx
    import openvino as ov

    export(run, "tiny", tmp_path / "tiny")
    model = onnx.load(tmp_path / "tiny" / "model_fp16.onnx")
    assert model.graph.input[0].type.tensor_type.elem_type == onnx.TensorProto.FLOAT16
    x = exporter.probe(48, 64)
    core = ov.Core()
    outs = [
        core.compile_model(str(tmp_path / "tiny" / name), "CPU", {"INFERENCE_PRECISION_HINT": "f32"})(
            x.astype(kind)
        )[0].astype(np.float32)
        for name, kind in (("model.onnx", np.float32), ("model_fp16.onnx", np.float16))
    ]
    assert np.abs(outs[0] - outs[1]).max() < 0.02


def test_nonsense_is_not_exported(run: Path, tmp_path: Path) -> None:
    state = read_checkpoint(run)
    broken = {
        "gone": {k: v for k, v in state["ema"].items() if "refine_in" not in k},
        "diverged": {k: v * float("nan") for k, v in state["ema"].items()},
    }
    for name, ema in broken.items():
        torch.save({**state, "ema": ema}, tmp_path / f"{name}.pt")
        with pytest.raises(InputError, match="the checkpoint"):
            export(tmp_path / f"{name}.pt", "bad", tmp_path / "bad")
    with pytest.raises(InputError, match="gain"):
        export(run, "bad", tmp_path / "bad", gain=0.5)
    assert not (tmp_path / "bad").exists()
