# SPDX-License-Identifier: BSD-2-Clause
"""Training: runs are repeatable, resumable and better than Lanczos. The data: test_sr_data.py."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

torch = pytest.importorskip("torch")
pytest.importorskip("imageio_ffmpeg")

import sr_pack  # noqa: E402
from clarivid.data import pack as packs  # noqa: E402
from clarivid.errors import InputError  # noqa: E402
from clarivid.train import sr  # noqa: E402
from clarivid.train.batches import Batches, unfold  # noqa: E402
from clarivid.train.runs import Report  # noqa: E402

TINY = {
    "channels": 12,
    "blocks": 1,
    "batch": 4,
    "validate_every": 1e9,
    "save_every": 1e9,
    "shares": "game=1",
}


@pytest.fixture(scope="module")
def tiny_pack(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A pack of a drawn picture: 12 crops and a validation picture."""
    return sr_pack.tiny_pack(tmp_path_factory.mktemp("pack"))


def test_chroma_is_not_learnt_from_mirrored_batches(tiny_pack: Path) -> None:
    """In a batch with chroma, columns keep their order: only whole rows may be turned over."""
    pack = packs.load(tiny_pack)
    batches = Batches([pack], {"game": 1.0}, 2, 0, torch.device("cpu"))
    known = {t.tobytes() for plane in pack.crops["game"]["u_hi"] for t in (plane, plane[::-1])}
    seen = set()
    for _ in range(16):
        batch = batches.draw()
        seen.add(batch.chroma)
        u = unfold(batch.high)[1] * 224 + 128
        kept = all(np.ascontiguousarray(t).tobytes() in known for t in u.round().to(torch.uint8).numpy())
        assert kept or not batch.chroma
    assert seen == {True, False}


def test_run_is_repeatable_and_resumes_exactly(tiny_pack: Path, tmp_path: Path) -> None:
    def weights(folder: Path) -> dict[str, torch.Tensor]:
        return dict(sr.read_checkpoint(folder / "last.pt")["model"])

    options = sr.Options(steps=12, precision="fp32", **TINY)  # type: ignore[arg-type]
    sr.train(options, [tiny_pack], tmp_path / "a")
    sr.train(options, [tiny_pack], tmp_path / "b")
    a, b = weights(tmp_path / "a"), weights(tmp_path / "b")
    assert all(torch.equal(a[k], b[k]) for k in a)

    class StopError(Exception):
        pass

    def stop(_: Report) -> None:
        raise StopError

    broken = sr.Options(**{**vars(options), "save_every": 0.0})
    with pytest.raises(StopError):  # after step 10; the checkpoint is that of step 9
        sr.train(broken, [tiny_pack], tmp_path / "c", progress=stop)
    assert sr.read_checkpoint(tmp_path / "c" / "last.pt")["step"] == 9
    sr.train(options, [tiny_pack], tmp_path / "c", resume=True)
    c = weights(tmp_path / "c")
    assert all(torch.equal(a[k], c[k]) for k in a)


def test_some_steps_beat_lanczos_and_the_log_says_so(tiny_pack: Path, tmp_path: Path) -> None:
    options = sr.Options(**{**TINY, "channels": 24, "steps": 100, "optimiser": "adam", "lr": 3e-3})
    score = sr.train(options, [tiny_pack], tmp_path)
    assert score["game"]["gain_db"] > 0.1
    last = json.loads((tmp_path / "log.jsonl").read_text("utf-8").splitlines()[-1])
    assert last["step"] == 100
    assert last["validation"] == score
    assert (tmp_path / "best.pt").is_file()


def test_command_line_trains_from_an_earlier_run(tiny_pack: Path, tmp_path: Path) -> None:
    from clarivid.cli.train import command

    first = sr.Options(**{**TINY, "channels": 16, "blocks": 9, "steps": 2})
    sr.train(first, [tiny_pack], tmp_path / "base")
    arguments = ["sr", str(tiny_pack), "--shares", "game=1", "--steps", "1", "--batch", "2"]
    arguments += ["--out", str(tmp_path / "game"), "--init", str(tmp_path / "base" / "best.pt")]
    result = CliRunner().invoke(command, arguments, catch_exceptions=False)
    assert result.exit_code == 0
    assert "Lanczos" in result.output
    assert [run["steps"] for run in sr.read_checkpoint(tmp_path / "game" / "last.pt")["history"]] == [2]


def test_missing_pack_and_missing_kind_are_sentences(tiny_pack: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="clarivid data sr"):
        sr.train(sr.Options(steps=1), [tmp_path / "none.pack"], tmp_path)
    with pytest.raises(InputError, match="no crops of kind 'natural'"):
        sr.train(sr.Options(steps=1, shares="natural=1"), [tiny_pack], tmp_path)
