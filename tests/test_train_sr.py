# SPDX-License-Identifier: BSD-2-Clause
"""The recipe of super-resolution: optimiser, shares of kinds, curriculum, consistency, critic, LDL."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from clarivid.data import pack as packs  # noqa: E402
from clarivid.errors import InputError  # noqa: E402
from clarivid.nets.folded import bicubic_kernel  # noqa: E402
from clarivid.nets.rivals import RIVALS, BicubicPP  # noqa: E402
from clarivid.nets.sr import SRNet  # noqa: E402
from clarivid.train import critic, sr  # noqa: E402
from clarivid.train.batches import Batch, Batches, fold, unfold  # noqa: E402
from clarivid.train.metrics import detail_contrast  # noqa: E402
from clarivid.train.muon import MuonAdam  # noqa: E402

QUIET = {"batch": 4, "channels": 16, "blocks": 1, "validate_every": 1e9, "save_every": 1e9}
CPU = torch.device("cpu")


def drawn(seed: int, n: int) -> np.ndarray:
    """Luma codes of soft waves and hard edges."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:n, :n]
    waves = sum(25 * np.sin((a * x + b * y) / n * 6 + p) for a, b, p in rng.uniform(-9, 9, (4, 3)))
    box = 60 * ((x // int(rng.integers(9, 30)) + y // int(rng.integers(9, 30))) % 2)
    return np.clip(90 + waves + box, 16, 235)


def tiles_of(count: int, seed: int) -> packs.Tiles:
    """Crops whose low side is the high side's mean of 2x2, with some noise, and the next frame of each."""
    rng = np.random.default_rng(seed)
    tiles: dict[str, list[np.ndarray]] = {}
    for i in range(count):
        for suffix in ("", "_next"):
            high = drawn(100 * seed + i, 2 * packs.LOW_CROP)
            for plane in "yuv":
                full = high if plane == "y" else high[::2, ::2]
                low = full.reshape(len(full) // 2, 2, -1, 2).mean((1, 3))
                low = low + rng.normal(0, 2, low.shape)
                for name, data in ((f"{plane}_hi", full), (f"{plane}_lo", low)):
                    tiles.setdefault(name + suffix, []).append(np.rint(data).astype(np.uint8))
    return {name: np.stack(many) for name, many in tiles.items()}


@pytest.fixture(scope="module")
def pack(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A pack of drawn waves: six crops, pairs of frames that differ by noise alone, a picture to validate."""
    path = tmp_path_factory.mktemp("pack") / "waves.pack"
    crops, pairs, val = tiles_of(6, 1), tiles_of(4, 2), tiles_of(1, 3)
    plain = {plane: crops[plane] for plane in packs.PLANES}
    held = {plane: val[plane] for plane in packs.PLANES}
    manifest = {"schema": packs.SCHEMA, "sources": [], "clips": []}
    packs.save(packs.Pack({"game": plain}, {"game": [held]}, manifest, {"game": pairs}), path)
    return path


def run(
    pack: Path, out: Path, *, init: Path | None = None, resume: bool = False, **words: Any
) -> dict[str, Any]:
    options = sr.Options(**{**QUIET, "shares": "game=1", **words})
    return sr.train(options, [pack], out, resume=resume, init=init)


def test_muon_gets_further_than_adam_in_the_same_steps(pack: Path, tmp_path: Path) -> None:
    muon = run(pack, tmp_path / "muon", steps=40)["game"]["gain_db"]
    adam = run(pack, tmp_path / "adam", steps=40, optimiser="adam", lr=1e-3)["game"]["gain_db"]
    assert muon > adam + 0.05


def test_muon_steps_kernels_and_adam_the_rest() -> None:
    """Kernels move by orthogonal matrices times the rate, whatever the size of the gradient."""
    net = SRNet(16, 1)
    net.to(memory_format=torch.channels_last)
    optimiser = MuonAdam(net, 0.01)
    before = {name: p.detach().clone() for name, p in net.named_parameters()}
    x = torch.rand(2, 1, 16, 16)
    (1e-3 * net(x).square().mean()).backward()
    optimiser.step()
    moved = {name: p.detach() - before[name] for name, p in net.named_parameters()}
    assert all(step.abs().max() > 0 for step in moved.values() if len(step))
    singular = torch.linalg.svdvals(moved["head.k3"].flatten(1)) / 0.01
    assert 0.5 < float(singular.median()) <= float(singular.max()) < 1.6  # a gradient's would be far apart
    assert float(moved["head.bias"].abs().max()) < 0.0006  # Adam's first step is its rate, a twentieth


def test_muon_wants_kernels_that_it_can_share() -> None:
    with pytest.raises(ValueError, match="channels_last"):
        MuonAdam(SRNet(16, 1), 0.01)


def test_shares_are_words_of_the_kinds() -> None:
    for kind in ("all", "game", "natural"):
        assert sum(sr.shares(sr.Options(kind=kind)).values()) == pytest.approx(1)
    assert sr.shares(sr.Options(shares="game=3, art=1")) == {"game": 0.75, "art": 0.25}
    for bad in ("game", "game=x", "games=1", "game=-1,art=2", "game=0", "game=nan"):
        with pytest.raises(InputError, match="KIND=NUMBER"):
            sr.shares(sr.Options(shares=bad))


@pytest.mark.parametrize("name", sorted(RIVALS))
def test_rivals_train_by_the_same_recipe(pack: Path, tmp_path: Path, name: str) -> None:
    """They are offered by name, and a checkpoint gives the same net back, whose pictures are near to true."""
    from clarivid.cli.train import command

    assert name in next(o for o in command.commands["sr"].params if o.name == "net").type.choices
    run(pack, tmp_path, steps=4, net=name)
    net, state = sr.net_from_checkpoint(tmp_path / "last.pt")
    assert net.config() == state["net"]
    batch = Batches([packs.load(pack)], {"game": 1.0}, 1, 0, CPU).draw()
    with torch.no_grad():
        assert float((net(batch.low) - batch.high)[:, :16].abs().mean()) < 0.05


def test_a_run_goes_on_with_the_same_net_only(pack: Path, tmp_path: Path) -> None:
    run(pack, tmp_path / "gated", steps=1, attention=True)
    for words in ({"resume": True}, {"init": tmp_path / "gated" / "last.pt"}):
        with pytest.raises(InputError, match="of another net"):
            run(pack, tmp_path / "gated", steps=2, **words)


@pytest.mark.parametrize(
    "words", [{"loss": "l3"}, {"optimiser": "sgd"}, {"compiled": "maybe"}, {"net": "edsr"}]
)
def test_unknown_words_are_refused(pack: Path, tmp_path: Path, words: dict[str, str]) -> None:
    with pytest.raises(InputError, match="is not one of"):
        run(pack, tmp_path, steps=1, **words)


def test_small_crops_are_parts_of_the_crops(pack: Path) -> None:
    """Low and high sides of a part lie where they lay: each pixel of low is the mean of its four."""
    batches = Batches([packs.load(pack)], {"game": 1.0}, 3, 0, CPU)
    for size, count in ((96, 3), (48, 12)):
        batch = batches.draw(size)
        assert batch.low.shape == (count, 6, size // 2, size // 2)
        assert batch.high.shape == (count, 24, size // 2, size // 2)
        low, high = unfold(batch.low)[0], unfold(batch.high)[0]
        mean = torch.nn.functional.avg_pool2d(high[:, None], 2)[:, 0]
        assert float((mean - low).abs().mean()) < 0.02  # the noise


def test_the_better_coded_clips_can_come_first(tmp_path: Path, pack: Path) -> None:
    """Of clips by several encoders those below the median of their encoders' ranges; a pack that does not
    know how it was coded is refused."""
    whole = packs.load(pack)
    rungs = [("libx264", 34), ("libx265", 17), ("libsvtav1", 22)]  # two crops each
    clips = [{"kind": "game", "val": False, "rung": {"codec": c, "quality": q}} for c, q in rungs]
    held = {"kind": "game", "val": True, "rung": {"codec": "libx264", "quality": 20}}
    told = packs.Pack(whole.crops, whole.val, {**whole.manifest, "clips": [held, *clips]}, whole.pairs)
    batches = Batches([told], {"game": 1.0}, 64, 0, CPU, clean=True)

    def drawn_from(clean: bool) -> set[int]:
        """Which crops, known by what is the same in every orientation."""
        known = [round(float(y.mean()), 3) for y in whole.crops["game"]["y_hi"].astype(np.float64)]
        made = (unfold(batches.draw(clean=clean).high)[0].double().mean((1, 2)) + 0.5) * 219 + 16
        return {int(np.abs(np.subtract(known, mean)).argmin()) for mean in made.tolist()}

    assert drawn_from(clean=True) == {2, 3, 4, 5}
    assert drawn_from(clean=False) == set(range(6))
    with pytest.raises(InputError, match="does not say how its clips were coded"):
        run(pack, tmp_path, steps=1, clean=0.5)


@pytest.mark.parametrize("net", ["ours", "ecbsr", "bicubic_pp"])
def test_nets_on_luma_learn_from_all_orientations(pack: Path, tmp_path: Path, net: str) -> None:
    """Chroma forbids half of them, and is nothing to a net that does not see it."""
    options = sr.Options(**{**QUIET, "shares": "game=1", "net": net})
    training = sr._Run(options, [pack], tmp_path)
    learnt = {training.batches.draw().chroma for _ in range(16)}
    assert learnt == ({True, False} if net == "bicubic_pp" else {False})


@pytest.mark.parametrize("net", ["ours", "bicubic_pp"])
def test_nets_on_luma_are_not_shown_shifts(pack: Path, tmp_path: Path, net: str) -> None:
    """Two steps of three show a scene a frame later, the third a shift, which such a net follows anyway."""
    options = sr.Options(**{**QUIET, "shares": "game=1", "net": net, "consistency": 0.1})
    training = sr._Run(options, [pack], tmp_path)
    shown = []
    for training.step in range(3):
        batch, again, shift = training._draw(0.5)
        assert len(batch.low) == QUIET["batch"]
        shown.append((again, shift is not None))
    assert shown == [(True, False), (True, False), (True, True) if net == "bicubic_pp" else (False, False)]


def test_pairs_are_the_same_place_seen_alike(pack: Path) -> None:
    batches = Batches([packs.load(pack)], {"game": 1.0}, 3, 0, CPU, pairs=True)
    for _ in range(4):
        batch = batches.draw_pairs(2)
        (now, after), (low, beyond) = batch.high.chunk(2), batch.low.chunk(2)
        assert torch.equal(now, after)
        assert not torch.equal(low, beyond)


def test_pairs_are_asked_for_when_a_pack_has_none(tmp_path: Path, pack: Path) -> None:
    whole = packs.load(pack)
    packs.save(packs.Pack(whole.crops, whole.val, whole.manifest), tmp_path / "old.pack")
    with pytest.raises(InputError, match="no pairs of frames of kind 'game'"):
        run(tmp_path / "old.pack", tmp_path / "out", steps=1, consistency=1.0)


@pytest.fixture(scope="module")
def plain_and_steady(pack: Path, tmp_path_factory: pytest.TempPathFactory) -> list[sr.Net]:
    """The same short run twice, without the loss of flicker and with it, of a net on folded pictures, which
    has more of it."""
    folder = tmp_path_factory.mktemp("runs")
    run(pack, folder / "plain", steps=200, net="bicubic_pp")
    run(pack, folder / "steady", steps=200, net="bicubic_pp", consistency=1.0)
    return [sr.net_from_checkpoint(folder / name / "last.pt")[0] for name in ("plain", "steady")]


def test_consistency_makes_a_steadier_picture(pack: Path, plain_and_steady: list[sr.Net]) -> None:
    """Frames that differ by noise alone come out more alike, and so do pictures shifted by a pixel."""
    batches = Batches([packs.load(pack)], {"game": 1.0}, 4, 7, CPU, pairs=True)
    pair = batches.draw_pairs(4)
    with torch.no_grad():
        plain, steady = (
            float(torch.sub(*net(pair.low)[:, :16].chunk(2)).abs().mean()) for net in plain_and_steady
        )
        assert steady < 0.9 * plain
        for _ in range(3):
            batch, shift = batches.draw_shifted(8)
            plain, steady = (float(sr.flicker(net(batch.low), batch, shift)) for net in plain_and_steady)
            assert 0 < steady < 0.7 * plain


def test_the_strength_of_texture_can_be_asked_for(pack: Path, tmp_path: Path) -> None:
    """Two runs go on from the same net: where texture counts, its strength is nearer to the true."""
    run(pack, tmp_path / "base", steps=60)
    batch = Batches([packs.load(pack)], {"game": 1.0}, 6, 3, CPU).draw()
    contrast = {}
    for weight in (0.0, 4.0):
        out = tmp_path / f"{weight}"
        run(
            pack,
            out,
            steps=40,
            lr=0.005,
            texture=weight,
            validate_every=0,
            init=tmp_path / "base" / "last.pt",
        )
        net = sr.on_folded(sr.net_from_checkpoint(out / "last.pt")[0])
        with torch.no_grad():
            made, true = (219 * unfold(x)[0] for x in (net(batch.low), batch.high))
        contrast[weight] = float(detail_contrast(made, true).mean())
    assert 1 - contrast[4.0] < 0.95 * (1 - contrast[0.0])
    best, last = (torch.load(tmp_path / "4.0" / name)["step"] for name in ("best.pt", "last.pt"))
    assert best == last  # PSNR alone would choose an earlier one


def test_flicker_is_the_change_of_the_error_along_the_motion() -> None:
    """An error that moves with the picture is steady; one that stays while the picture moves is not. Moving
    pictures are found to move as they are told to, and what bicubic does is not counted."""
    y = torch.from_numpy(np.stack([drawn(seed, 128) for seed in (1, 2)])).float() / 219 - 0.5
    rng = torch.Generator().manual_seed(0)
    error = 0.05 * torch.randn(y.shape, generator=rng)
    chroma = torch.zeros(4, 64, 64)

    def folded(first: torch.Tensor, second: torch.Tensor) -> torch.Tensor:
        return fold(torch.cat((first, second)), chroma, chroma, 2)

    def codes(error: torch.Tensor, high: torch.Tensor, shift: tuple[int, int] | None) -> float:
        """Root of the mean square that the loss is the logarithm of, beside bicubic's, which is nothing of a
        grey picture; what nobody sees is free."""
        if shift is None:  # the true pictures are needed to find it, and bicubic's error is theirs
            where = sr.along_the_motion(high, None)
            return 219 * math.sqrt(float(sr.change_of(error, *where).mean()))
        grey = Batch(torch.zeros(4, 6, 32, 32), torch.zeros_like(high), True, torch.ones(()))
        return 219 * sr.STEADY * math.exp(float(sr.flicker(error, grey, shift)) / 0.1)

    for shift in ((3, -10), (0, 0)):
        true = folded(y, torch.roll(y, shift, (1, 2)))
        moving, fixed = folded(error, torch.roll(error, shift, (1, 2))), folded(error, error)
        assert codes(moving, true, None) < 0.01
        assert codes(moving, true, shift) == pytest.approx(219 * sr.STEADY, rel=0.001)
        if any(shift):
            for known in (None, shift):
                assert codes(fixed, true, known) == pytest.approx(219 * 0.05 * math.sqrt(2), rel=0.05)


def test_shifted_crops_are_the_same_picture_a_pixel_further(pack: Path) -> None:
    """Bicubic gives the same picture wherever it begins, and so does a net on luma; one on folded pictures
    that is not trained for it does not."""
    batches = Batches([packs.load(pack)], {"game": 1.0}, 1, 0, CPU)
    torch.manual_seed(0)
    luma, moved = sr.on_folded(SRNet(16, 1)), BicubicPP(16)
    with torch.no_grad():
        moved.last.weight.add_(0.02 * torch.randn_like(moved.last.weight))
    seen = set()
    for _ in range(12):
        batch, shift = batches.draw_shifted(2)
        assert not batch.chroma
        seen.add(shift)
        down, right = shift
        first, second = unfold(batch.high)[0].chunk(2)
        assert torch.equal(second[:, down:, right:], first[:, : 176 - down, : 176 - right])
        steady = torch.nn.functional.conv2d(batch.low, bicubic_kernel(), padding=1)
        assert float(sr.flicker(steady, batch, shift)) == 0
        where = sr.along_the_motion(batch.high, shift)
        assert float(sr.change_of(steady - batch.high, *where).mean()) < (0.1 / 219) ** 2
        with torch.no_grad():
            assert float(sr.flicker(moved(batch.low), batch, shift)) > 0.01
            assert float(sr.change_of(luma(batch.low) - batch.high, *where).mean()) < (0.1 / 219) ** 2
    assert seen == {(0, 2), (2, 0), (2, 2)}


def test_artefacts_are_where_the_error_varies_and_the_average_is_better() -> None:
    rng = torch.Generator().manual_seed(0)
    y, chroma = torch.zeros(1, 64, 64), torch.zeros(1, 32, 32)
    noisy, offset = y.clone(), y.clone()
    noisy[:, 8:24, 8:24] = 0.2 * torch.randn(1, 16, 16, generator=rng)
    offset[:, 40:56, 40:56] = 0.2
    true, averaged = (fold(z, chroma, chroma, 2) for z in (y, 0.01 + y))
    weight = critic.artefacts(true, fold(noisy + offset, chroma, chroma, 2), averaged)[0, 0]
    assert float(weight[8:24, 8:24].mean()) > 20 * float(
        weight[44:52, 44:52].mean()
    )  # flat errors hardly count
    assert float(weight[:4].max()) == 0  # no error there
    better = critic.artefacts(true, fold(noisy, chroma, chroma, 2), true + 1)
    assert float(better.max()) == 0  # the net is nearer to the truth than its average: detail


def test_artefacts_of_faint_errors_weigh_as_those_of_strong_ones() -> None:
    noise = fold(*(torch.randn(1, 64 // n, 64 // n) for n in (1, 2, 2)), 2)
    true = torch.zeros_like(noise)

    def penalties(average: float) -> list[float]:
        """The average's error is so many times the net's."""
        return [
            float(critic.artefact_penalty(true, strength * noise, average * strength * noise))
            for strength in (0.004, 0.04)
        ]

    assert penalties(2) == [0, 0]  # nearer to the truth than the average
    faint, strong = penalties(0.5)
    assert faint == pytest.approx(strong, rel=1e-4)
    assert faint > 0.1


def test_the_critic_moves_luma_only() -> None:
    torch.manual_seed(0)
    made = torch.randn(1, 24, 16, 16, requires_grad=True)
    critic.deception(critic.UNetCritic(16), made).backward()
    assert made.grad is not None
    assert float(made.grad[:, :16].abs().min()) > 0
    assert float(made.grad[:, 16:].abs().max()) == 0


def test_critic_learns_to_tell_true_from_blurred(pack: Path) -> None:
    torch.manual_seed(0)
    judge = critic.UNetCritic(16)
    optimiser = torch.optim.Adam(judge.parameters(), 1e-3)
    batches = Batches([packs.load(pack)], {"game": 1.0}, 2, 0, CPU)

    def pictures() -> tuple[torch.Tensor, torch.Tensor]:
        batch = batches.draw(48)
        return batch.high, batch.low.repeat_interleave(4, 1)

    for _ in range(25):
        loss = critic.critic_loss(judge, *pictures())
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    true, made = pictures()
    judge.requires_grad_(False)
    assert float(judge(true).mean()) > float(judge(made).mean()) + 0.5
    assert float(critic.deception(judge, made)) > float(critic.deception(judge, true))


def test_adversarial_run_resumes_with_its_critic(pack: Path, tmp_path: Path) -> None:
    words = {"adversarial": 0.01, "lr": 1e-3, "precision": "fp32"}

    class StopError(Exception):
        pass

    def stop(_: object) -> None:
        raise StopError

    options = sr.Options(**{**QUIET, "shares": "game=1", "steps": 20, "save_every": 0.0, **words})
    with pytest.raises(StopError):
        sr.train(options, [pack], tmp_path / "cut", progress=stop)
    first = sr.read_checkpoint(tmp_path / "cut" / "last.pt")
    assert first["step"] == 9
    assert first["critic"]
    sr.train(options, [pack], tmp_path / "cut", resume=True)
    whole = sr.Options(**{**vars(options), "save_every": 1e9})
    sr.train(whole, [pack], tmp_path / "again")
    a, b = (sr.read_checkpoint(tmp_path / name / "last.pt") for name in ("cut", "again"))
    assert all(torch.equal(a["critic"][k], b["critic"][k]) for k in a["critic"])
    assert all(torch.equal(a["model"][k], b["model"][k]) for k in a["model"])


def test_a_net_without_branches_is_the_same_net_after_loading(pack: Path, tmp_path: Path) -> None:
    """A checkpoint does not say whether there were any; what is exported is what was trained."""
    score = run(pack, tmp_path, steps=3, branches=False)
    net, state = sr.net_from_checkpoint(tmp_path / "last.pt")
    again = sr.Validation([packs.load(pack)], CPU).score(net, state["ema"], sr.computes_in_bf16(CPU, "auto"))
    assert again == score
