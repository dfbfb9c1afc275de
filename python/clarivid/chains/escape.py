# SPDX-License-Identifier: BSD-2-Clause
"""How FFmpeg writes filters: quoting, and reading back what was quoted.

A filter's text is read twice. The graph's parser (libavfilter/graphparser.c) cuts a graph into chains at
``;``, filters at ``,`` and labels at ``[ ]``, and takes one level of quotes and backslashes away. What it
leaves of a filter's options is cut at ``:`` and ``=`` (``av_opt_get_key_value``), which takes away another
level. Both read their words as ``av_get_token`` (libavutil/avstring.c) does: a backslash makes the next
character an ordinary one, single quotes all characters up to the next quote (backslashes too), and blanks at
both ends are dropped.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from clarivid.errors import InputError

BLANKS = " \n\t\r"
_KEY = frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_/.")


@dataclass(frozen=True)
class Words:
    """A filter as it was written: ``labels`` of links before and after it, without brackets."""

    name: str
    positional: tuple[str, ...]
    named: tuple[tuple[str, str], ...]
    before: tuple[str, ...] = ()
    after: tuple[str, ...] = ()


def quote_value(text: str, positional: bool = False) -> str:
    """The first level: a value that stays one value among a filter's options."""
    if not text and positional:
        return "''"
    special = "\\':=" if positional else "\\':"
    return _ends("".join("\\" + c if c in special else c for c in text), text)


def quote_options(text: str) -> str:
    """The second level: a filter's options that stay one piece in a graph."""
    if not any(c in "\\'[],;" for c in text) and text == text.strip(BLANKS):
        return text
    if "'" not in text:
        return f"'{text}'"
    return _ends("".join("\\" + c if c in "\\'[],;" else c for c in text), text)


def _ends(quoted: str, text: str) -> str:
    """Keep the blanks at both ends; only blanks can be there, as nothing else is left unescaped."""
    if text[:1] and text[0] in BLANKS:
        quoted = "\\" + quoted
    if len(text) > 1 and text[-1] in BLANKS:
        quoted = quoted[:-1] + "\\" + quoted[-1]
    return quoted


def filter_text(name: str, positional: Sequence[str], named: Sequence[tuple[str, str]]) -> str:
    """A filter as a graph has it: ``scale=1280:-2:flags=lanczos``."""
    parts = [quote_value(value, positional=True) for value in positional]
    parts += [f"{key}={quote_value(value)}" for key, value in named]
    return f"{name}={quote_options(':'.join(parts))}" if parts else name


class _Reader:
    def __init__(self, text: str) -> None:
        self.text, self.at = text, 0

    def peek(self) -> str:
        return self.text[self.at : self.at + 1]

    def skip_blanks(self) -> None:
        while self.peek() and self.peek() in BLANKS:
            self.at += 1

    def take(self, letter: str) -> bool:
        if self.peek() == letter:
            self.at += 1
            return True
        return False

    def token(self, end: str) -> str:
        """As ``av_get_token``, but a quote that does not end is an error: it is never meant."""
        self.skip_blanks()
        kept, length = [], 0
        while (letter := self.peek()) and letter not in end:
            self.at += 1
            if letter == "\\" and self.peek():
                kept.append(self.peek())
                self.at += 1
                length = len(kept)
            elif letter == "'":
                close = self.text.find("'", self.at)
                if close < 0:
                    raise InputError(f"'{self.text}' has a quote that does not end")
                kept += self.text[self.at : close]
                self.at = close + 1
                length = len(kept)
            else:
                kept.append(letter)
        while len(kept) > length and kept[-1] in BLANKS:
            kept.pop()
        return "".join(kept)

    def labels(self) -> tuple[str, ...]:
        found = []
        self.skip_blanks()
        while self.take("["):
            found.append(self.token("]"))
            if not self.take("]") or not found[-1]:
                raise InputError(f"'{self.text}' has a label that is empty or does not end")
            self.skip_blanks()
        return tuple(found)


def read_graph(text: str) -> list[list[Words]]:
    """The chains of a graph, each of filters in order. Raises :class:`InputError` for what is no graph."""
    if "\0" in text:
        raise InputError("a chain has a character with code 0")
    reader, chains = _Reader(text), []
    while True:
        chain: list[Words] = []
        while True:
            before = reader.labels()
            name = reader.token("=,;[")
            if not name:
                raise InputError(f"'{text}' has an empty filter: write for example 'dnn_sr=model=game_x2'")
            options = reader.token("[],;") if reader.take("=") else ""
            after = reader.labels()
            chain.append(Words(name, *read_options(name, options), before, after))
            if not reader.take(","):
                break
        chains.append(chain)
        if not reader.take(";"):
            break
        reader.skip_blanks()
        if not reader.peek():
            break
    if reader.peek():
        raise InputError(f"'{text}' goes on with '{reader.text[reader.at :]}' where a filter has ended")
    return chains


def read_options(name: str, text: str) -> tuple[tuple[str, ...], tuple[tuple[str, str], ...]]:
    """A filter's options after the graph's level: those without a name, then those with one."""
    reader = _Reader(text)
    positional: list[str] = []
    named: dict[str, str] = {}
    while reader.peek():
        start = reader.at
        reader.skip_blanks()
        key_at = reader.at
        while reader.peek() in _KEY:
            reader.at += 1
        key = text[key_at : reader.at]
        reader.skip_blanks()
        if key and reader.take("="):
            if key in named:
                raise InputError(f"{name} is given the option {key} twice in '{text}'")
            named[key] = reader.token(":")
        else:
            reader.at = start
            if named:
                raise InputError(
                    f"{name}: '{reader.token(':')}' in '{text}' needs the option's name before it"
                )
            positional.append(reader.token(":"))
        reader.take(":")
    return tuple(positional), tuple(named.items())


__all__ = ["BLANKS", "Words", "filter_text", "quote_options", "quote_value", "read_graph", "read_options"]
