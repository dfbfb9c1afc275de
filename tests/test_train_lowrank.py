# SPDX-License-Identifier: BSD-2-Clause
"""Training of the prefilter: its loss is a BD-rate, runs resume exactly, bad options are sentences."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

torch = pytest.importorskip("torch")
pytest.importorskip("imageio_ffmpeg")

import lowrank_pack  # noqa: E402
from clarivid.data import lowrank as data  # noqa: E402
from clarivid.errors import InputError  # noqa: E402
from clarivid.train import lowrank, ratedistortion  # noqa: E402
from clarivid.train.codec import calibrated  # noqa: E402
from clarivid.train.ratedistortion import METRICS, QPS, Curves  # noqa: E402
from clarivid.train.runs import Report, read_checkpoint  # noqa: E402

CPU = torch.device("cpu")
# VMAF's model would have to be fetched, so most runs here do without.
TINY = lowrank.Options(
    rate_weight=0.0,
    screen=0.0,
    vmaf=0, neg=0, ssim_2=0, ssim_3=0, psnr=0.5, batch=2, steps=6, kinds="natural,noisy",
    device="cpu", validate_every=1e9, save_every=1e9,
)  # fmt: skip


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(autouse=True)
def _tables_in(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    torch.set_num_threads(1)
    monkeypatch.setattr(ratedistortion, "cache_dir", lambda: cache)


@pytest.fixture(scope="module")
def tiny_pack(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return lowrank_pack.write(tmp_path_factory.mktemp("pack") / "tiny.pack", 4, 2)


def weights(folder: Path) -> dict[str, torch.Tensor]:
    return dict(read_checkpoint(folder / "last.pt")["model"])


# --- The loss ---


def curve(shift: np.ndarray, bend: float = 0.0) -> tuple[np.ndarray, np.ndarray]:
    """ln R and quality at each QP; ``shift`` is added to ln R at the same quality."""
    steps = np.arange(len(QPS))
    quality = 90.0 - 4 * steps - 0.3 * steps**2
    return 12 - 0.45 * steps - bend * steps**2 + shift, quality


@pytest.mark.parametrize("shift", ["even", "falling"])
def test_loss_is_the_bd_rate_to_first_order(shift: str) -> None:
    bjontegaard = pytest.importorskip("bjontegaard")
    steps = np.arange(len(QPS))
    delta = np.full(len(QPS), -0.08) if shift == "even" else -0.02 * steps
    rate, quality = curve(np.zeros(len(QPS)), 0.01)
    filtered_rate, _ = curve(delta, 0.01)
    # The same QP gives the filtered clip other qualities: move along its own curve.
    filtered_quality = quality - 0.5
    filtered_rate = np.interp(-filtered_quality, -quality, filtered_rate)
    points = torch.zeros(1, len(QPS), 1 + len(METRICS))
    points[0, :, 0] = torch.from_numpy(rate)
    points[0, :, 1:] = torch.from_numpy(quality)[:, None]
    curves = Curves.of(points, ["natural"])
    inner = range(1, len(QPS) - 1)
    found = [
        float(
            curves.difference(
                torch.tensor([0]),
                qp,
                torch.tensor([filtered_rate[qp]], dtype=torch.float32),
                torch.tensor([[filtered_quality[qp]]], dtype=torch.float32),
                ["psnr"],
            )[0]
        )
        for qp in inner
    ]
    keep = slice(1, len(QPS) - 1)
    pair = [np.exp(rate[keep])[::-1], quality[keep][::-1]]
    pair += [np.exp(filtered_rate[keep])[::-1], filtered_quality[keep][::-1]]
    percent = bjontegaard.bd_rate(*pair, method="pchip", require_matching_points=False, min_overlap=0)
    assert 100 * np.expm1(np.mean(found)) == pytest.approx(percent, abs=0.6)


def test_slopes_stay_near_those_of_the_kind() -> None:
    """A flat crop, whose quality hardly changes, must not count for ten."""
    points = torch.zeros(4, len(QPS), 1 + len(METRICS))
    points[..., 0] = 12 - 0.4 * torch.arange(len(QPS))
    points[..., 1:] = (90 - 3 * torch.arange(len(QPS)))[:, None]
    points[3, :, 1:] = 90 - 0.01 * torch.arange(len(QPS))[:, None]
    slope = Curves.of(points, ["natural"] * 4).slope[:, 1:-1]
    mean = float((3 * 7.5 + 0.025) / 4)
    assert float(slope[3].min()) == pytest.approx(0.4 * mean, rel=1e-3)
    assert float(slope[0].min()) == pytest.approx(7.5, rel=1e-3)


def test_an_untouched_crop_has_no_loss(tiny_pack: Path) -> None:
    pack = data.load(tiny_pack)
    codec = calibrated()
    table = ratedistortion.table_of(pack.val, "digest", codec, CPU)
    crops = lowrank.Set([pack.val], [table], CPU)
    index = torch.arange(len(crops))
    net = lowrank._new_net(TINY)
    done = lowrank.run(net, crops, index, 3, codec, ["ssim_full", "psnr"], strength=0.0)
    for part in (done.bd, done.change, done.luma, done.chroma, done.drift):
        assert float(part.detach().abs().max()) < 2e-3
    assert float(lowrank.criterion(done, TINY.weights(), TINY).detach()) == pytest.approx(0, abs=2e-3)


def test_gains_saturate_and_losses_are_damped() -> None:
    x = torch.tensor([[-9.0, -9.0], [-0.001, -0.001], [0.0, 0.0], [0.4, 0.4], [5.0, 5.0]])
    y = lowrank._squash(x, torch.tensor([0.12, 0.0]))
    assert y[0, 0] == pytest.approx(-0.12)
    assert -4 < y[0, 1] < -2
    assert y[1].tolist() == pytest.approx([-0.001, -0.001], abs=1e-5)
    assert y[2].tolist() == [0, 0]
    assert y[3].tolist() == pytest.approx([0.4, 0.4])
    assert 1 < y[4, 0] < 3


def test_loss_punishes_drifting_colours_and_bits_above_the_target(tiny_pack: Path) -> None:
    pack = data.load(tiny_pack)
    codec = calibrated()
    crops = lowrank.Set([pack.val], [ratedistortion.table_of(pack.val, "digest", codec, CPU)], CPU)
    net = lowrank._new_net(TINY)
    with torch.no_grad():
        net.layers[-1].weight.zero_()
        net.layers[-1].bias[4] = 2 / 224  # U goes up by two codes
        net.layers[-1].bias[0] = 1 / 219  # and a quarter of luma by one
        done = lowrank.run(net, crops, torch.arange(2), 3, codec, ["psnr"])
    assert done.drift[:, 1].mean() == pytest.approx(2, abs=0.01)
    base = lowrank.Options(**{**vars(TINY), "ssim_full": 0, "colour": 0, "chroma": 0})
    plain = float(lowrank.criterion(done, base.weights(), base))
    for change, least in (({"colour": 1}, 0.05), ({"chroma": 1}, 0.02), ({"pixel": 1}, 0.0)):
        more = replace(base, **change)  # type: ignore[arg-type]
        assert float(lowrank.criterion(done, more.weights(), more)) > plain + least
    wanted = replace(base, rate_weight=4.0, rate_target=-0.1)
    change = done.change.mean()
    assert float(lowrank.criterion(done, wanted.weights(), wanted)) == pytest.approx(
        plain + 4 * float(change + 0.1), abs=0.02
    )


# --- Runs ---


def test_run_is_repeatable_and_resumes_exactly(tiny_pack: Path, tmp_path: Path) -> None:
    lowrank.train(TINY, [tiny_pack], tmp_path / "a")
    a = weights(tmp_path / "a")
    assert list((tmp_path / "a").glob("*.pt"))

    class StopError(Exception):
        pass

    def stop(report: Report) -> None:
        if report.step == 4:
            raise StopError

    broken = replace(TINY, save_every=0.0)
    with pytest.raises(StopError):  # after step 4; the checkpoint is that of step 3
        lowrank.train(broken, [tiny_pack], tmp_path / "c", progress=stop)
    assert read_checkpoint(tmp_path / "c" / "last.pt")["step"] == 3
    lowrank.train(TINY, [tiny_pack], tmp_path / "c", resume=True)
    c = weights(tmp_path / "c")
    assert all(torch.equal(a[k], c[k]) for k in a)


def test_tables_are_measured_once(tiny_pack: Path, tmp_path: Path, cache: Path) -> None:
    def measured() -> list[Path]:
        return sorted((cache / "data" / "tables").glob("*.pt"))

    lowrank.train(replace(TINY, steps=1), [tiny_pack], tmp_path / "a")
    before = measured()
    told: list[tuple[int, int]] = []
    lowrank.train(
        replace(TINY, steps=1),
        [tiny_pack],
        tmp_path / "b",
        preparing=lambda done, total: told.append((done, total)),
    )
    assert measured() == before
    assert told[-1] == (6, 6)
    for path in before:
        path.write_bytes(b"damaged")
    lowrank.train(replace(TINY, steps=1), [tiny_pack], tmp_path / "c")
    assert measured() == before
    assert sum(path.stat().st_size > 100 for path in before) == 2  # those of this pack's two sets


def test_validation_tells_every_metric_by_kind_and_the_strengths(tiny_pack: Path, tmp_path: Path) -> None:
    options = replace(TINY, steps=2, qps="34")
    score = lowrank.train(options, [tiny_pack], tmp_path)
    assert set(score["all"]) == {*METRICS, "bits"}
    assert set(score) == {"loss", "bd", "all", "natural", "noisy", "strength", "monotone"}
    assert score["strength"]["0"] == pytest.approx(0, abs=0.1)
    last = json.loads((tmp_path / "log.jsonl").read_text("utf-8").splitlines()[-1])
    assert last["step"] == 2
    assert last["validation"] == score
    assert read_checkpoint(tmp_path / "best.pt")["merit"] == -score["loss"]


def test_checkpoint_is_what_export_takes(tiny_pack: Path, tmp_path: Path) -> None:
    from clarivid.export import export

    options = replace(TINY, steps=1, channels=8, layers=3, dilation="1,2,1", qps="34")
    lowrank.train(options, [tiny_pack], tmp_path / "run")
    card = export(tmp_path / "run" / "last.pt", "tiny", tmp_path / "tiny")
    assert card["task"] == "lowrank"
    assert card["architecture"]["dilation"] == [1, 2, 1]
    assert "clarivid train lowrank" in card["training"]["command"]
    assert "--dilation 1,2,1" in card["training"]["command"]


def test_command_line_trains_from_an_earlier_run(tiny_pack: Path, tmp_path: Path) -> None:
    from clarivid.cli.train import command

    words = ["lowrank", str(tiny_pack), "--steps", "1", "--batch", "2", "--qps", "34", "--device", "cpu"]
    words += ["--kinds", "natural,noisy", "--kind-weights", "1,2", "--vmaf", "0", "--neg", "0", "--psnr", "1"]
    first = CliRunner().invoke(command, [*words, "--out", str(tmp_path / "a")], catch_exceptions=False)
    assert first.exit_code == 0, first.output
    assert "bits by strength: 0: " in first.output
    words += ["--init", str(tmp_path / "a" / "last.pt"), "--out", str(tmp_path / "b")]
    assert CliRunner().invoke(command, words, catch_exceptions=False).exit_code == 0
    assert [run["steps"] for run in read_checkpoint(tmp_path / "b" / "last.pt")["history"]] == [1]


def test_vgg_and_distribution_are_added_every_few_steps(
    tiny_pack: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    called = []

    def distances(crops: lowrank.Pass, options: lowrank.Options) -> torch.Tensor:
        called.append(options.vgg)
        return crops.luma.sum() * 0

    monkeypatch.setattr(lowrank, "_perceptual", distances)
    options = replace(TINY, steps=6, qps="34", vgg=0.1, perceptual_every=3)
    lowrank.train(options, [tiny_pack], tmp_path)
    assert called == [0.1, 0.1]


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"limit": -1.0}, "a limit >= 0"),
        ({"psnr": 0.0, "ssim_full": 0.0}, "one at least above 0"),
        ({"psnr": -1.0}, "0 or more"),
        ({"qps": "27"}, "26, 30, 34, 38, 42"),
        ({"qps": "22"}, "26, 30, 34, 38, 42"),
        ({"qps": "fine"}, "not 'fine'"),
        ({"kinds": "cartoon"}, "no kind 'cartoon'"),
        ({"kinds": "screen"}, "no crops of kind screen"),
        ({"kind_weights": "1"}, "for each of natural, noisy"),
        ({"saturation": "0.1"}, "for each of vmaf"),
        ({"layers": 9}, "more than 3100"),
        ({"dilation": "1,2"}, "one dilation"),
        ({"device": "abacus"}, "no device 'abacus'"),
    ],
)
def test_bad_options_are_sentences(
    tiny_pack: Path, tmp_path: Path, change: dict[str, object], sentence: str
) -> None:
    with pytest.raises(InputError, match=sentence):
        lowrank.train(replace(TINY, **change), [tiny_pack], tmp_path)  # type: ignore[arg-type]


def test_init_may_change_the_limit_but_not_the_shape(tiny_pack: Path, tmp_path: Path) -> None:
    short = replace(TINY, steps=1, qps="34")
    lowrank.train(replace(short, limit=0.0), [tiny_pack], tmp_path / "a")
    lowrank.train(replace(short, limit=3.0), [tiny_pack], tmp_path / "b", init=tmp_path / "a" / "last.pt")
    assert read_checkpoint(tmp_path / "b" / "last.pt")["net"]["limit"] == 3
    with pytest.raises(InputError, match="another net"):
        lowrank.train(short, [tiny_pack], tmp_path / "a", resume=True)


def test_rounding_codes_whole_values_and_keeps_the_gradient(tiny_pack: Path) -> None:
    """A change of a tenth of a code is nothing once rounded, but the net still learns from it."""
    pack = data.load(tiny_pack)
    codec = calibrated()
    crops = lowrank.Set([pack.val], [ratedistortion.table_of(pack.val, "digest", codec, CPU)], CPU)
    net = lowrank._new_net(TINY)
    with torch.no_grad():
        net.layers[-1].weight.zero_()
        net.layers[-1].bias.fill_(0.1 / 219)
    done = lowrank.run(net, crops, torch.arange(2), 3, codec, ["psnr"], rounded=True)
    assert float(done.change.detach().abs().max()) < 1e-5
    done.change.mean().backward()
    assert float(net.layers[-1].bias.grad.abs().max()) > 0


def test_bad_packs_and_checkpoints_are_sentences(tiny_pack: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="clarivid data lowrank"):
        lowrank.train(TINY, [tmp_path / "none.pack"], tmp_path)
    lowrank.train(replace(TINY, steps=1, channels=4, qps="34"), [tiny_pack], tmp_path / "other")
    with pytest.raises(InputError, match="another net"):
        lowrank.train(TINY, [tiny_pack], tmp_path / "x", init=tmp_path / "other" / "last.pt")
