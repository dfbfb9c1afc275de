# SPDX-License-Identifier: BSD-2-Clause
"""Chains in YAML files: they come back as they were, and what is wrong is named with file, line and key."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from clarivid import Chain, Filter, InputError, ff
from test_chain import LETTERS, texts

# What one version of YAML or the other takes for something else than text.
TRICKY = [
    "on",
    "yes",
    "no",
    "true",
    "null",
    "~",
    "",
    "012",
    "0x1f",
    "0o14",
    "1_000",
    "1:20",
    "1e3",
    ".5",
    "1.10",
]
TRICKY += [
    "+.inf",
    ".nan",
    "2001-01-01",
    "=",
    "<<",
    "- a",
    "a: b",
    "#c",
    "&a",
    "*a",
    "!x",
    "%",
    "@",
    "`",
    "{",
    "000000",
]


@pytest.mark.parametrize("seed", range(15))
def test_a_chain_comes_back_as_it_was(seed: int, tmp_path: Path) -> None:
    chance = random.Random(seed)
    values: list[str | int | float | bool] = [
        *texts(seed, 5, LETTERS + "\r\x7f\x85\u2028"),
        *chance.choices(TRICKY, k=6),
    ]
    values += [chance.randint(-9, 9**20), chance.uniform(-1, 1), 10.0 ** chance.randint(-30, 30), True, False]
    chance.shuffle(values)
    options = {f"key{i}": value for i, value in enumerate(values[3:])}
    chain = Chain(Filter("some@id", options, tuple(values[:3])), ff.null(), ff.lowrank_pre(strength=0.8))
    chain.save(tmp_path / "x.yaml")
    assert Chain.load(tmp_path / "x.yaml") == chain
    assert list(tmp_path.iterdir()) == [tmp_path / "x.yaml"]


def test_a_file_is_for_people_to_read_and_to_write(tmp_path: Path) -> None:
    path = tmp_path / "x.yaml"
    Chain(ff.lowrank_pre(strength=0.8), ff.scale(1280, -2)).save(path)
    assert path.read_text("utf-8").splitlines()[1:6] == [
        "version: 1",
        "chain:",
        "- filter: lowrank_pre",
        "  options:",
        "    strength: 0.8",
    ]
    path.write_text(
        "# mine\nversion: 1\nchain:\n  - filter: null\n  - {filter: scale, arguments: [1280, -2]}\n"
        "  - filter: drawbox\n    options: {color: 000000, t: fill, x: 1.10, enable: 'between(t, 1, 2)'}\n"
    )
    assert Chain.load(path).to_ffmpeg() == (
        "null,scale=1280:-2,drawbox='color=000000:t=fill:x=1.10:enable=between(t, 1, 2)'"
    )


def test_an_overwritten_file_is_whole_or_the_old_one(tmp_path: Path) -> None:
    path = tmp_path / "x.yaml"
    Chain(ff.null()).save(path)
    with pytest.raises(InputError, match="exists"):
        Chain(ff.hue()).save(path, overwrite=False)
    assert Chain.load(path) == Chain(ff.null())
    with pytest.raises(InputError, match=r"the folder .*nowhere does not exist"):
        Chain(ff.null()).save(tmp_path / "nowhere" / "x.yaml")


HEAD = "version: 1\nchain:\n"


@pytest.mark.parametrize(
    ("text", "line", "sentence"),
    [
        ("", None, "is empty: it has the keys version and chain"),
        ("# nothing\n", None, "is empty"),
        ("dnn_sr=model=game_x2", 1, "is a single value, not keys with values"),
        ("chain: []", 1, "the key version is missing: write 'version: 1'"),
        ("version: 1", 1, "the key chain is missing"),
        ("version: 2\nchain: []\nnew: 1", 1, "reads up to 1: a newer one wrote this file"),
        ("chain: []\nversion: one", 2, "version is 'one', not a whole number"),
        ("version: true\nchain: []", 1, "version is True"),
        ("version: 1\nversion: 1", 2, "the key version is there twice"),
        ("version: 1\nchian: []", 2, r"no key 'chian' \(did you mean 'chain'\?\)"),
        ("version: 1\nchain: null", 2, "chain is a single value, not a list"),
        ("version: 1\nchain: {}", 2, "chain is a mapping, not a list"),
        ("version: 1\nchain: []", 2, "chain has no filter"),
        (HEAD + "  - dnn_sr", 3, "'dnn_sr' stands alone: write '- filter: dnn_sr'"),
        (HEAD + "  - options: {}", 3, "the key filter is missing"),
        (HEAD + "  - filter: x\n    opts: {}", 4, "a filter has no key 'opts'"),
        (HEAD + "  - filter: 3", 3, "filter is 3, not text"),
        (HEAD + "  - filter: x\n    options: [1]", 4, "options of x is a list, not keys"),
        (HEAD + "  - filter: x\n    arguments: 1", 4, "arguments of x are a single value, not a list"),
        (HEAD + "  - filter: x\n    options:\n      a: [1]", 5, "a is a list, not a single value"),
        (HEAD + "  - filter: x\n    options:\n      a:\n", 5, "a has no value"),
        (HEAD + "  - filter: x y", 3, "'x y' is no name of a filter"),
        (
            HEAD + "  - filter: dnn_sr\n    options:\n      model: a\n      thraeds: 3",
            6,
            "no option 'thraeds'",
        ),
        (HEAD + "  - filter: lowrank_pre\n    options:\n      strength: lots", 5, "'lots' is not a number"),
        (HEAD + "  - filter: lowrank_pre\n    options:\n      strength: 3", 5, "from 0 to 1"),
        (HEAD + "  - filter: dnn_sr\n    options:\n      threads: true", 5, "True is not a whole number"),
        (HEAD + "  - filter: dnn_sr\n    arguments: [a]\n    options: {model: b}", 3, "option model twice"),
        (HEAD + "  - filter: 'x\n", 4, "is no YAML: .*unexpected end of stream"),
        (HEAD + "  - &a {filter: x}\n  - *a", 4, "aliases are not read here"),
        (HEAD + "  - filter: !!python/name:os.system x", 3, "neither text nor a number"),
        (HEAD + "  - filter: x\n---\nversion: 1", 4, "another document"),
        ("\x01", None, "is no YAML"),
        ("[" * 5000, None, "is no YAML for a chain: it is nested too deep"),
    ],
)
def test_what_is_wrong_is_named_with_its_line(
    text: str, line: int | None, sentence: str, tmp_path: Path
) -> None:
    path = tmp_path / "x.yaml"
    path.write_text(text, encoding="utf-8")
    where = rf"{path}, line {line}\b" if line else str(path)
    with pytest.raises(InputError, match=rf"^{where}.*{sentence}"):
        Chain.load(path)


def test_files_that_are_none_are_sentences(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"nowhere.yaml cannot be read: No such file"):
        Chain.load(tmp_path / "nowhere.yaml")
    with pytest.raises(InputError, match=r"cannot be read: Is a directory"):
        Chain.load(tmp_path)
    (tmp_path / "b.yaml").write_bytes(b"version: \xff")
    with pytest.raises(InputError, match=r"b.yaml is no text in UTF-8 \(byte 9\)"):
        Chain.load(tmp_path / "b.yaml")
    (tmp_path / "big.yaml").write_bytes(b"#" * (2 << 20))
    with pytest.raises(InputError, match=r"larger than a chain can be"):
        Chain.load(tmp_path / "big.yaml")
