# SPDX-License-Identifier: BSD-2-Clause
"""Chains as objects: what is written is what ffmpeg reads, and what cannot be is refused with a sentence."""

from __future__ import annotations

import random
import subprocess
import sys

import pytest

import clarivid
from clarivid import Chain, Filter, InputError, ff
from clarivid.ffmpeg import find

LETTERS = "ab0 \t'\\:=,;[]@%{}|\"$#-é漢🎞\n"


def texts(seed: int, count: int, letters: str = LETTERS) -> list[str]:
    """Random text in which everything that FFmpeg's parsers know is likely."""
    chance = random.Random(seed)
    return ["".join(chance.choices(letters, k=chance.randint(0, 9))) for _ in range(count)]


def test_a_chain_is_what_vf_takes() -> None:
    chain = Chain(ff.lowrank_pre(strength=0.8), ff.scale(1280, -2, flags="lanczos"), ff.null())
    assert chain.to_ffmpeg() == "lowrank_pre=strength=0.8,scale=1280:-2:flags=lanczos,null"
    assert Chain(ff.drawtext(text="a: b", enable="between(t,1,2)")).to_ffmpeg() == (
        "drawtext='text=a\\: b:enable=between(t,1,2)'"
    )
    assert Chain(ff.some_filter(from_=1, in_="x", on=True)).to_ffmpeg() == "some_filter=from=1:in=x:on=1"


def test_objects_stand_for_their_filters_with_what_is_not_default() -> None:
    chain = Chain(
        clarivid.SuperResolution("game_x2", threads=2, dither=True),
        clarivid.LowrankPre(strength=0.5),
        clarivid.Inpainter("none", mesh=(4, 3), segment="segment_person"),
    )
    assert chain.to_ffmpeg() == (
        "dnn_sr=model=game_x2:threads=2:dither=ordered,lowrank_pre=strength=0.5,"
        "mesh_inpaint=model=none:segment=segment_person:mesh=4x3"
    )
    assert Chain(clarivid.SuperResolution()).to_ffmpeg() == "dnn_sr=model=game_x2", (
        "the filter has no default"
    )
    assert chain.nodes[1] is not chain.filters[1]


def test_chains_are_joined_compared_and_frozen() -> None:
    one, two = ff.null(), ff.hue(s=0)
    chain = one | Chain(two) | one
    assert list(chain) == [one, two, one]
    assert chain == Chain(one, Chain(two, one))
    assert chain != Chain(one, two)
    assert hash(chain) == hash(Chain.from_ffmpeg("null,hue=s=0,null"))
    assert Filter("crop", {"w": 8, "h": 4}) == Filter("crop", {"h": "4", "w": "8"})
    assert repr(Chain(ff.scale(2, flags="x"))) == "Chain(ff.scale(2, flags='x'))"
    with pytest.raises(AttributeError):
        chain.extra = 1  # type: ignore[attr-defined]
    with pytest.raises(TypeError):
        one.options["a"] = 1  # type: ignore[index]


@pytest.mark.parametrize("seed", range(40))
def test_what_is_written_is_read_back(seed: int) -> None:
    chance = random.Random(seed)
    filters = []
    for _ in range(chance.randint(1, 4)):
        values = texts(chance.randint(0, 1 << 30), 6)
        count = chance.randint(0, 3)
        keys = [f"key_{i}" for i in range(chance.randint(0, 3))]
        name = chance.choice(["drawtext", "a1", "scale@one"])
        filters.append(Filter(name, dict(zip(keys, values[3:], strict=False)), tuple(values[:count])))
    chain = Chain(*filters)
    assert Chain.from_ffmpeg(chain.to_ffmpeg()) == chain
    assert Chain.from_ffmpeg(chain.to_ffmpeg(graph=True)) == chain
    assert chain.to_ffmpeg() == Chain.from_ffmpeg(chain.to_ffmpeg()).to_ffmpeg()


def test_ffmpeg_reads_what_was_meant() -> None:
    values = [text for text in texts(7, 80) if text]
    nodes = []
    for i, text in enumerate(values):
        named = ff.metadata(mode="add", key=f"k{i}", value=text)
        nodes.append(named if i % 2 else ff.metadata("add", f"k{i}", text))
    graph = Chain(*nodes, ff.metadata("print", file="-")).to_ffmpeg()
    command = [str(find().ffmpeg), "-v", "error", "-f", "lavfi", "-i", "color=s=16x16:d=0.04"]
    command += ["-vf", graph, "-f", "null", "-"]
    done = subprocess.run(command, capture_output=True, check=False)
    assert not done.returncode, done.stderr
    told = done.stdout.decode().partition("\n")[2]
    assert told == "".join(f"k{i}={text}\n" for i, text in enumerate(values))


def test_what_people_write_is_read_as_ffmpeg_does() -> None:
    chain = Chain.from_ffmpeg(" hue = s='1,2' : h = a\\,b , drawtext@x=text=it\\\\\\'s: y='w-1' ,null")
    assert [one.name for one in chain] == ["hue", "drawtext@x", "null"]
    assert chain.filters[0].options == {"s": "1,2", "h": "a,b"}
    assert chain.filters[1].options == {"text": "it's", "y": "w-1"}
    assert Chain.from_ffmpeg("dnn_sr=game_x2:dummy").filters[0].options == {
        "model": "game_x2",
        "backend": "dummy",
    }
    assert Chain.from_ffmpeg("dnn_sr=threads=2") == Chain(ff.dnn_sr(threads=2)), "numbers are numbers"


def test_a_mask_goes_into_the_filter_wherever_it_stands() -> None:
    chain = Chain.from_ffmpeg("hue=s='1,2',mesh_inpaint@a,null")
    assert chain.needs_mask
    text = chain.to_ffmpeg(graph=True)
    assert text == "[0:V:0]hue='s=1,2'[picture];[picture][1:V:0]mesh_inpaint@a,null[out]"
    assert Chain.from_ffmpeg(text) == chain
    first = Chain(ff.mesh_inpaint(mesh="8x5"))
    assert first.to_ffmpeg(graph=True) == "[0:V:0][1:V:0]mesh_inpaint=mesh=8x5[out]"
    assert not Chain(ff.mesh_inpaint(rect="1|2|3|4")).needs_mask
    with pytest.raises(InputError, match=r"-vf has not: use -filter_complex"):
        first.to_ffmpeg()
    with pytest.raises(InputError, match="2 times: have it once"):
        (first | first).to_ffmpeg(graph=True)


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("", "empty filter"),
        ("null,,null", "empty filter"),
        ("null,", "empty filter"),
        ("split[a][b];[a][b]hstack", "is a graph"),
        ("[0:v]null[a];[b]null", "is a graph"),
        ("null;null", "is a graph"),
        ("[x]null", "is a graph"),
        ("[0:v:0][1:v:0]overlay[out]", "is a graph"),
        ("hue='s", "quote that does not end"),
        ("drawtext=text=it\\'s", "quote that does not end"),
        ("[0:v", "label that is empty or does not end"),
        ("scale=w=1:w=2", "option w twice"),
        ("scale=w=1:2", "needs the option's name"),
        ("sc ale=1", "no name of a filter"),
        ("null\0", "code 0"),
        ("dnn_sr=modle=game_x2", r"no option 'modle' \(did you mean 'model'\?\)"),
        ("dnn_sr=threads=many", "not a whole number"),
        ("dnn_sr=threads=1.5", "not a whole number"),
        ("dnn_sr=threads=-1", "from 0 to 1024"),
        ("lowrank_pre=strength=2", "from 0 to 1"),
        ("lowrank_pre=strength=nan", "from 0 to 1"),
        ("dnn_sr=precision=fp23", r"one of auto, fp32, .* \(did you mean 'fp32'\?\)"),
        ("dnn_sr=tile=big", "is not what the option takes"),
        ("mesh_inpaint=mesh=16", "no size"),
        ("mesh_inpaint=mesh=33x1", "out of range"),
        ("lowrank_pre=lowrank_v1:model=x", "option model twice"),
    ],
)
def test_text_that_is_no_chain_is_refused(text: str, sentence: str) -> None:
    with pytest.raises(InputError, match=sentence):
        Chain.from_ffmpeg(text)


def test_arguments_that_are_no_filters_are_refused() -> None:
    with pytest.raises(InputError, match="one filter at least"):
        Chain()
    with pytest.raises(InputError, match="'null' is no filter"):
        Chain("null")  # type: ignore[arg-type]
    with pytest.raises(InputError, match="is no filter"):
        Chain(clarivid.LowrankPre)  # type: ignore[arg-type]
    with pytest.raises(InputError, match="neither text nor a number"):
        ff.scale([1, 2])
    with pytest.raises(InputError, match="no finite number"):
        ff.scale(float("inf"))
    with pytest.raises(InputError, match="no name of an option"):
        Filter("scale", {"w h": 1})
    with pytest.raises(InputError, match="is not a whole number"):
        ff.dnn_sr(threads=True)


def test_reading_a_chain_opens_no_model_and_loads_no_net() -> None:
    code = (
        "import sys; from clarivid import Chain; Chain.from_ffmpeg('dnn_sr=model=nowhere');"
        "print([m for m in ('clarivid._core', 'numpy', 'torch', 'yaml') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
