# SPDX-License-Identifier: BSD-2-Clause
"""The options of clarivid's filters: the one place that names them.

From the tables below ``python -m clarivid.options_files --write`` makes ``filters/clarivid_options.h``, which
the filters are compiled with. Chains are checked against them before ffmpeg starts, and a test proves that a
built ffmpeg and the Python classes have the same names, ranges and defaults.
"""

from __future__ import annotations

import difflib
import math
import os
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from clarivid.errors import InputError

Kind = Literal["string", "int", "double", "size", "choice"]
Value = str | int | float | bool


@dataclass(frozen=True)
class Choice:
    """A word that an option takes: ``constant`` is its name in clarivid.h."""

    name: str
    constant: str
    help: str


@dataclass(frozen=True)
class Option:
    """An option of a filter.

    ``default`` None: a string that is not set. ``member``: where the filter's struct holds it. ``runtime``: a
    filter command of its name changes it while frames flow. ``argument``: the Python class has a parameter of
    the same name; its default is ``default``, or ``python_default`` where the filter has none.
    """

    name: str
    kind: Kind
    default: Value | None
    help: str
    member: str
    minimum: float = 0
    maximum: float = 0
    choices: tuple[Choice, ...] = ()
    runtime: bool = False
    argument: bool = True
    python_default: Value | None = None
    pattern: str = ""  # of a string's values; empty for any

    def python(self) -> Value | None:
        """The default of the Python parameter."""
        return self.default if self.python_default is None else self.python_default

    def read(self, filter_name: str, value: Value) -> Value:
        """``value`` as the type that the option has. Raises :class:`InputError` when it is none."""
        what = f"{filter_name}: {self.name}={value!r}"
        if self.kind == "choice":
            words = [choice.name for choice in self.choices]
            if isinstance(value, str) and value in words:
                return value
            number = "" if isinstance(value, bool) else str(value)
            if number.isdecimal() and int(number) < len(words):  # ffmpeg takes numbers too
                return words[int(number)]
            raise InputError(f"{what}: it is one of {', '.join(words)}{near(str(value), words)}")
        if self.kind == "string":
            if not isinstance(value, str):
                raise InputError(f"{what} is no text")
            if self.pattern and not re.fullmatch(self.pattern, value):
                raise InputError(f"{what} is not what the option takes: {self.help}")
            return value
        if self.kind == "size":
            if not isinstance(value, str) or not re.fullmatch(r"[0-9]+x[0-9]+", value):
                raise InputError(f"{what} is no size: write WxH, such as {self.default}")
            if self.pattern and not re.fullmatch(self.pattern, value):
                raise InputError(f"{what} is out of range: {self.help}")
            return value
        return self._number(what, value)

    def _number(self, what: str, value: Value) -> Value:
        kind = "a whole number" if self.kind == "int" else "a number"
        try:
            if isinstance(value, bool):
                raise ValueError
            number = int(value) if self.kind == "int" and isinstance(value, str) else float(value)
        except ValueError:
            raise InputError(f"{what} is not {kind}") from None
        if self.kind == "int" and number != math.floor(number):
            raise InputError(f"{what} is not {kind}")
        if not self.minimum <= number <= self.maximum:  # NaN too
            raise InputError(
                f"{what} is out of range: it is {kind} from {self.minimum:g} to {self.maximum:g}"
            )
        return int(number) if self.kind == "int" else float(number)


@dataclass(frozen=True)
class FilterTable:
    """A filter of ours: its options in the order in which ffmpeg takes them without names.

    ``others``: options that ffmpeg adds (framesync, timeline).
    """

    name: str
    python_class: str
    summary: str
    struct: str
    options: tuple[Option, ...]
    others: tuple[str, ...] = ()

    def __getitem__(self, name: str) -> Option:
        return next(option for option in self.options if option.name == name)

    def names(self) -> list[str]:
        """Names of all options that the filter takes, ffmpeg's own last."""
        return [option.name for option in self.options] + [*self.others, *_EVERYWHERE]


_EVERYWHERE = ("thread_type", "extra_hw_frames")  # of every AVFilterContext

PRECISION = (
    Choice("auto", "CLV_PRECISION_AUTO", "the fastest here that passed the model's parity gate"),
    Choice("fp32", "CLV_PRECISION_FP32", "the reference's pixels"),
    Choice("fp16", "CLV_PRECISION_FP16", "16 bit floating point"),
    Choice(
        "bf16",
        "CLV_PRECISION_BF16",
        "16 bit floating point with 8 bits of exponent, as some CPUs have it",
    ),
    Choice("int8", "CLV_PRECISION_INT8", "8 bit integers, for models that were quantised"),
)
DITHER = (
    Choice("none", "CLV_DITHER_NONE", "to the nearest"),
    Choice("ordered", "CLV_DITHER_ORDERED", "with an 8x8 pattern"),
)
SHOW = (
    Choice("result", "CLV_SHOW_RESULT", "the picture without what is masked"),
    Choice("mask", "CLV_SHOW_MASK", "the input, with the grown mask tinted"),
    Choice("mesh", "CLV_SHOW_MESH", "the result under the solved grid"),
    Choice("tracks", "CLV_SHOW_TRACKS", "the result with the features and where they moved"),
    Choice(
        "age", "CLV_SHOW_AGE", "the result, coloured by how old each sample is, or whether it was painted"
    ),
)

_MODEL = Option(
    "model",
    "string",
    None,
    "name of a model bundle (see 'clarivid models list'), or path of a bundle or .onnx file",
    "common.model_name",
)
_COMMON = (
    Option(
        "backend",
        "string",
        "auto",
        "what runs the model: auto, openvino, cpu, cuda, dummy, or another that is installed",
        "common.backend",
    ),
    Option("device", "string", "", "the backend's name of a device; empty for its default", "common.device"),
    Option("precision", "choice", "auto", "arithmetic of the net", "common.precision", choices=PRECISION),
    Option(
        "threads",
        "int",
        0,
        "CPU threads; 0 for all cores that the process may use",
        "common.threads",
        0,
        1024,
    ),
)
_SESSION = (
    Option(
        "async",  # no argument: a call gives one picture and waits for it
        "int",
        1,
        "frames worked on at once; above 1, async-1 frames stay inside until the end or the command 'drain'",
        "async",
        1,
        64,
        argument=False,
    ),
    Option("dither", "choice", "none", "how results are rounded to code values", "dither", choices=DITHER),
    Option(
        "tile",
        "string",
        "auto",
        "cut pictures into tiles: auto (when they are too large for an engine or for memory), none, or WxH",
        "tile",
        pattern="auto|none|[0-9]+x[0-9]+",
    ),
    Option(
        "overlap",
        "int",
        -1,
        "samples of the input that tiles have to spare at inner edges; -1 for what the net needs",
        "overlap",
        -1,
        32768,
    ),
)
_STRENGTH = Option(
    "strength",
    "double",
    1.0,
    "how much of the net's change is applied; 0 passes frames on untouched",
    "strength",
    0,
    1,
    runtime=True,
)
_SHARPNESS = Option(
    "sharpness",
    "double",
    0.0,
    "between a model's two sets of weights: 0 is closest to the original, 1 looks sharpest",
    "sharpness",
    0,
    1,
)

DNN_SR = FilterTable(
    "dnn_sr",
    "SuperResolution",
    "Enlarge video by a neural network.",
    "ClarividSessionContext",
    (replace(_MODEL, python_default="game_x2"), *_COMMON, *_SESSION, _SHARPNESS),
)
LOWRANK_PRE = FilterTable(
    "lowrank_pre",
    "LowrankPre",
    "Prepare video for an encoder by a neural network: fewer bits.",
    "ClarividSessionContext",
    (replace(_MODEL, default="lowrank_v1"), *_COMMON, *_SESSION, _STRENGTH),
)
MESH_INPAINT = FilterTable(
    "mesh_inpaint",
    "Inpainter",
    "Make what a mask covers vanish from video.",
    "MeshInpaintContext",
    (
        replace(
            _MODEL,
            default="auto",
            help=f"{_MODEL.help}; auto: the shipped one; none: diffuse from around",
        ),
        *_COMMON,
        Option(
            "rect",
            "string",
            None,
            "boxes that vanish from every frame: x|y|w|h, several with ',' between them; "
            "no second input then",
            "rect",
        ),
        Option(
            "boxes",
            "string",
            None,
            "file of the boxes of each frame, in lines 'frame x y w h'; no second input then",
            "boxes_path",
        ),
        Option(
            "segment",
            "string",
            None,
            "model bundle that finds what is to vanish in each frame; no second input then",
            "segment",
        ),
        Option(
            "mesh",
            "size",
            "16x9",
            "cells of the grid that carries the background along, 1x1 to 32x18; 1x1 is one homography",
            "mesh_w",
            pattern="0*([1-9]|[12][0-9]|3[0-2])x0*([1-9]|1[0-8])",
        ),
        Option(
            "lookahead",
            "int",
            0,
            "frames that are waited for because they may show what is hidden now; they stay inside until the "
            "end or the command 'drain'",
            "lookahead",
            0,
            64,
        ),
        Option("dilate", "int", 4, "luma samples that a mask grows by on every side", "dilate", 0, 64),
        Option(
            "feather",
            "int",
            4,
            "luma samples over which the border inside the hole is blended",
            "feather",
            0,
            64,
        ),
        Option(
            "show",
            "choice",
            "result",
            "what is drawn: the result, or how it comes about",
            "show",
            choices=SHOW,
        ),
    ),
    ("eof_action", "shortest", "repeatlast", "ts_sync_mode", "enable"),
)
FILTERS: Mapping[str, FilterTable] = {table.name: table for table in (DNN_SR, LOWRANK_PRE, MESH_INPAINT)}


def near(word: str, words: Iterable[str]) -> str:
    """``" (did you mean 'x'?)"`` for the closest of ``words``, nothing when none is close."""
    found = difflib.get_close_matches(word, list(words), n=1, cutoff=0.6)
    return f" (did you mean '{found[0]}'?)" if found else ""


def check(name: str, positional: Sequence[Value], named: Mapping[str, Value]) -> dict[str, Value]:
    """The options of one of :data:`FILTERS` with their names and types.

    Raises :class:`InputError` for names and values that the filter does not take.
    """
    table = FILTERS[name]
    if len(positional) > len(table.options):
        raise InputError(f"{name} has {len(table.options)} options, and {len(positional)} values are given")
    given: dict[str, Value] = {}
    pairs = [(option.name, value) for option, value in zip(table.options, positional, strict=False)]
    for key, value in [*pairs, *named.items()]:
        if key in given:
            raise InputError(f"{name} is given the option {key} twice")
        if key.removeprefix("/") not in table.names():
            raise InputError(f"{name} has no option '{key}'{near(key, table.names())}")
        ours = any(option.name == key for option in table.options)  # not "/key": the value lies in a file
        given[key] = table[key].read(name, value) if ours else value
    return given


def given(name: str, arguments: Mapping[str, object]) -> dict[str, Value]:
    """Of a Python class's arguments those that are not the filter's defaults, as the filter's options."""
    found: dict[str, Value] = {}
    for option in FILTERS[name].options:
        if option.name in arguments:
            text = plain(option, arguments[option.name])
            if text is not None and text != option.default:
                found[option.name] = text
    return found


def plain(option: Option, value: object) -> Value | None:
    """What a Python argument is as the filter's option: paths as text, a pair as WxH, a bool as its word."""
    if value is None or isinstance(value, str | int | float):
        if option.kind == "choice" and isinstance(value, bool):
            return option.choices[int(value)].name
        return value
    if option.kind == "size" and isinstance(value, Sequence):
        return "x".join(str(number) for number in value)
    if isinstance(value, os.PathLike):
        return str(os.fspath(value))
    raise InputError(f"{option.name}={value!r} is neither text nor a number")
