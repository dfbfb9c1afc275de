# SPDX-License-Identifier: BSD-2-Clause
"""One filter of a chain: its name and its options."""

from __future__ import annotations

import math
import os
import re
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any

from clarivid import options as tables
from clarivid.chains.escape import Words, filter_text
from clarivid.errors import InputError
from clarivid.options import Value

_NAME = re.compile(r"[A-Za-z0-9_]+(@[A-Za-z0-9_.-]+)?")
_KEY = re.compile(r"[A-Za-z0-9_./-]+")


class Filter:
    """A filter of FFmpeg, ours or another, with its options; frozen.

    Two filters are equal when ffmpeg reads the same from them: ``Filter("crop", {"w": 8})`` and
    ``Filter("crop", {"w": "8"})`` are. Options of our own filters are checked here, and get the names and
    types that the filter has; those of others are left to ffmpeg.

    Args:
        name: as ``ffmpeg -filters`` lists it, with ``@id`` behind it if it is to have one.
        options: by name. True and False are written as 1 and 0, paths as text.
        arguments: options without a name, which come first.

    Raises:
        clarivid.InputError: a name or a value that cannot be.
    """

    __slots__ = ("_arguments", "_name", "_options")

    def __init__(
        self,
        name: str,
        options: Mapping[str, Value | os.PathLike[str]] = MappingProxyType({}),
        arguments: tuple[Value | os.PathLike[str], ...] = (),
    ) -> None:
        if not isinstance(name, str) or not _NAME.fullmatch(name):
            raise InputError(f"{name!r} is no name of a filter: it has letters, digits and '_'")
        for key in options:
            if not isinstance(key, str) or not _KEY.fullmatch(key):
                raise InputError(f"{name}: {key!r} is no name of an option")
        positional = tuple(_plain(name, "an argument", value) for value in arguments)
        named = {key: _plain(name, key, value) for key, value in options.items()}
        kind = name.partition("@")[0]
        if kind in tables.FILTERS:
            named, positional = tables.check(kind, positional, named), ()
        self._name = name
        self._options: Mapping[str, Value] = MappingProxyType(named)
        self._arguments = positional

    @property
    def name(self) -> str:
        """Name, with ``@id`` if it has one."""
        return self._name

    @property
    def kind(self) -> str:
        """Name without ``@id``: which filter it is."""
        return self._name.partition("@")[0]

    @property
    def options(self) -> Mapping[str, Value]:
        """Options by name."""
        return self._options

    @property
    def arguments(self) -> tuple[Value, ...]:
        """Options without a name. Always empty for our own filters, where every option has its name."""
        return self._arguments

    def to_filter(self) -> Filter:
        """Itself: what :class:`clarivid.Chain` asks of everything that it is made of."""
        return self

    @classmethod
    def of(cls, words: Words) -> Filter:
        """The filter that was written as ``words``."""
        return cls(words.name, dict(words.named), words.positional)

    def _words(self) -> tuple[str, tuple[str, ...], tuple[tuple[str, str], ...]]:
        named = tuple((key, _text(value)) for key, value in self._options.items())
        return self._name, tuple(_text(value) for value in self._arguments), named

    def __str__(self) -> str:
        """As a graph of FFmpeg has it, quoted where that is needed."""
        return filter_text(*self._words())

    def __repr__(self) -> str:
        parts = [repr(value) for value in self._arguments]
        parts += [f"{key}={value!r}" for key, value in self._options.items()]
        return f"ff.{self._name}({', '.join(parts)})"

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Filter):
            return NotImplemented
        return self._key() == other._key()

    def __hash__(self) -> int:
        return hash(self._key())

    def _key(self) -> tuple[object, ...]:
        name, positional, named = self._words()
        return name, positional, tuple(sorted(named))


def _plain(name: str, key: str, value: object) -> Value:
    if isinstance(value, os.PathLike):
        value = os.fspath(value)
    if isinstance(value, float) and not math.isfinite(value):
        raise InputError(f"{name}: {key}={value} is no finite number")
    if not isinstance(value, str | int | float):
        raise InputError(f"{name}: {key}={value!r} is neither text nor a number")
    if isinstance(value, str) and "\0" in value:
        raise InputError(f"{name}: {key}={value!r} has a character with code 0")
    return value


def _text(value: Value) -> str:
    return str(int(value)) if isinstance(value, bool) else str(value)


class Filters:
    """``ff``: makes a :class:`Filter` of any name: ``ff.scale(1280, -2, flags="lanczos")``.

    A word that Python keeps for itself gets an underscore: ``ff.some_filter(from_=1)``.
    """

    def __getattr__(self, name: str) -> Callable[..., Filter]:
        if name.startswith("_"):
            raise AttributeError(name)

        def make(*arguments: Any, **options: Any) -> Filter:
            return Filter(_word(name), {_word(key): value for key, value in options.items()}, arguments)

        return make


def _word(name: str) -> str:
    return name[:-1] if name.endswith("_") else name


ff = Filters()

__all__ = ["Filter", "Filters", "ff"]
