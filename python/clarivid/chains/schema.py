# SPDX-License-Identifier: BSD-2-Clause
"""Chains in YAML files: what is written, and errors that say where what is read is wrong.

    version: 1
    chain:
      - filter: lowrank_pre
        options:
          strength: 0.8
      - filter: scale
        arguments: [1280, -2]

Scalars are those of YAML 1.2: only ``true`` and ``false`` are truth values, and ``1:20`` or ``on`` are text.
Anchors and several documents are refused.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

import yaml

from clarivid.chains.filter import Filter
from clarivid.errors import InputError
from clarivid.options import Value, near
from clarivid.outputs import check_output, write_whole

if TYPE_CHECKING:
    from clarivid.chains.chain import Chain

VERSION = 1
SUFFIXES = (".yaml", ".yml")
_TOP = ("version", "chain")
_NODE = ("filter", "options", "arguments")
_LARGEST = 1 << 20  # bytes of a file that is read

_STR, _INT, _FLOAT, _BOOL = (f"tag:yaml.org,2002:{name}" for name in ("str", "int", "float", "bool"))
_NUMBERS = {
    _INT: re.compile(r"[-+]?[0-9]+"),
    _FLOAT: re.compile(r"[-+]?([0-9]+(\.[0-9]*)?|\.[0-9]+)([eE][-+]?[0-9]+)?"),
}
_KINDS = {yaml.MappingNode: "a mapping", yaml.SequenceNode: "a list", yaml.ScalarNode: "a single value"}


def save(chain: Chain, path: Path, overwrite: bool) -> None:
    """Write ``chain``, whole or not at all. Raises :class:`InputError` or :class:`ToolError`."""
    check_output(path, [], overwrite)
    nodes = []
    for one in chain.filters:
        node: dict[str, Any] = {"filter": one.name}
        if one.arguments:
            node["arguments"] = list(one.arguments)
        if one.options:
            node["options"] = dict(one.options)
        nodes.append(node)
    document = {"version": VERSION, "chain": nodes}
    # PyYAML writes Unicode's line breaks as they are, and a reader makes blanks of them: then all is escaped.
    plain = not any(c in str(chain) for c in "\x85\u2028\u2029")
    text = yaml.dump(document, Dumper=_Dumper, sort_keys=False, allow_unicode=plain, width=1 << 16)
    write_whole(path, ("# A chain of filters: clarivid run THIS IN OUT\n" + text).encode())


def load(path: Path) -> list[Filter]:
    """The filters in a file. Raises :class:`InputError` with file, line and key."""
    try:
        with path.open("rb") as stream:
            data = stream.read(_LARGEST + 1)
        text = data.decode("utf-8")
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise InputError(f"{path} is no text in UTF-8 (byte {error.start})") from error
    if len(data) > _LARGEST:
        raise InputError(f"{path} is larger than a chain can be ({_LARGEST >> 20} MiB)")
    return _File(path).read(text)


class _Dumper(yaml.SafeDumper):
    """Quotes all text that YAML 1.1 or 1.2 would read as something else; writes numbers as Python does."""


_Dumper.add_representer(float, lambda dumper, value: dumper.represent_scalar(_FLOAT, repr(value)))


class _Loader(yaml.SafeLoader):
    """Every scalar is text at first: what it means is decided here, by YAML 1.2's core schema."""

    yaml_implicit_resolvers: Mapping[str, Any] = {}  # type: ignore[assignment]

    def compose_node(self, parent: Any, index: Any) -> yaml.Node | None:
        if self.check_event(yaml.AliasEvent):
            event = self.peek_event()  # type: ignore[no-untyped-call]
            raise yaml.composer.ComposerError(None, None, "aliases are not read here", event.start_mark)
        return super().compose_node(parent, index)


class _File:
    """Reading one file; errors carry its name and the line."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def fail(self, node: yaml.Node, sentence: str) -> NoReturn:
        raise InputError(f"{self.path}, line {node.start_mark.line + 1}: {sentence}")

    def read(self, text: str) -> list[Filter]:
        try:
            root = yaml.compose(text, Loader=_Loader)
        except yaml.MarkedYAMLError as error:
            mark = error.problem_mark or error.context_mark
            line = f", line {mark.line + 1}" if mark else ""
            reason = ": ".join(part for part in (error.context, error.problem) if part)
            raise InputError(f"{self.path}{line} is no YAML: {reason}") from error
        except RecursionError:
            raise InputError(f"{self.path} is no YAML for a chain: it is nested too deep") from None
        except yaml.YAMLError as error:  # a character that YAML does not have
            raise InputError(f"{self.path} is no YAML: {' '.join(str(error).split())}") from error
        if root is None:
            raise InputError(f"{self.path} is empty: it has the keys version and chain")
        self.version(root, self.mapping(root, "a chain's file"))  # first: a newer one may have other keys
        top = self.mapping(root, "a chain's file", _TOP)
        if "chain" not in top:
            self.fail(root, "the key chain is missing: a list of filters")
        nodes = top["chain"]
        if not isinstance(nodes, yaml.SequenceNode):
            self.fail(nodes, f"chain is {_KINDS[type(nodes)]}, not a list of filters")
        if not nodes.value:
            self.fail(nodes, "chain has no filter")
        return [self.filter(node) for node in nodes.value]

    def version(self, root: yaml.Node, top: Mapping[str, yaml.Node]) -> None:
        if "version" not in top:
            self.fail(root, f"the key version is missing: write 'version: {VERSION}'")
        value = self.scalar(top["version"], "version")
        if isinstance(value, bool) or not isinstance(value, int) or value < 1:
            self.fail(top["version"], f"version is {value!r}, not a whole number from 1")
        if value > VERSION:
            self.fail(
                top["version"],
                f"version is {value}, and this clarivid reads up to {VERSION}: a newer one wrote this file",
            )

    def filter(self, node: yaml.Node) -> Filter:
        if isinstance(node, yaml.ScalarNode):
            self.fail(node, f"'{node.value}' stands alone: write '- filter: {node.value}'")
        keys = self.mapping(node, "a filter", _NODE)
        if "filter" not in keys:
            self.fail(node, "the key filter is missing: the name of a filter")
        named = keys["filter"]
        name = "null" if named.value == "null" else self.text(named, "filter")  # ffmpeg has one of this name
        options: dict[str, Value] = {}
        lines: dict[str, yaml.Node] = {}
        if "options" in keys:
            lines = self.mapping(keys["options"], f"options of {name}")
            options = {key: self.scalar(value, key) for key, value in lines.items()}
        arguments: tuple[Value, ...] = ()
        if "arguments" in keys:
            listed = keys["arguments"]
            if not isinstance(listed, yaml.SequenceNode):
                self.fail(listed, f"arguments of {name} are {_KINDS[type(listed)]}, not a list")
            arguments = tuple(self.scalar(value, "arguments") for value in listed.value)
        # One at a time, so that the error has the line of the option that it is about.
        try:
            Filter(name, {}, arguments)
        except InputError as error:
            self.fail(keys.get("arguments", keys["filter"]), str(error))
        for key, value in options.items():
            try:
                Filter(name, {key: value})
            except InputError as error:
                self.fail(lines[key], str(error))
        try:
            return Filter(name, options, arguments)
        except InputError as error:
            self.fail(node, str(error))

    def mapping(self, node: yaml.Node, what: str, known: tuple[str, ...] = ()) -> dict[str, yaml.Node]:
        if not isinstance(node, yaml.MappingNode):
            self.fail(node, f"{what} is {_KINDS[type(node)]}, not keys with values")
        found: dict[str, yaml.Node] = {}
        for key, value in node.value:
            name = self.text(key, "a key")
            if name in found:
                self.fail(key, f"the key {name} is there twice")
            if known and name not in known:
                close = near(name, known) or f"; the keys are {', '.join(known)}"
                self.fail(key, f"{what} has no key '{name}'{close}")
            found[name] = value
        return found

    def text(self, node: yaml.Node, key: str) -> str:
        value = self.scalar(node, key)
        if not isinstance(value, str):
            self.fail(node, f"{key} is {value!r}, not text")
        return value

    def scalar(self, node: yaml.Node, key: str) -> Value:
        if not isinstance(node, yaml.ScalarNode):
            self.fail(node, f"{key} is {_KINDS[type(node)]}, not a single value")
        text = str(node.value)
        tag = node.tag
        if node.style is None and tag == _STR:  # neither quoted nor a block
            if text in ("true", "false"):
                return text == "true"
            if text in ("", "~", "null"):
                self.fail(node, f"{key} has no value")
            tag = next((tag for tag, pattern in _NUMBERS.items() if pattern.fullmatch(text)), _STR)
        if tag == _STR:
            return text
        if tag in _NUMBERS and _NUMBERS[tag].fullmatch(text):
            number = int(text) if tag == _INT else float(text)
            # A colour 000000 and a version 1.10 are text for ffmpeg, and must reach it as they are.
            return number if str(number) == text else text
        return self.fail(node, f"{key}: {text!r} with the tag {tag} is neither text nor a number")


__all__ = ["SUFFIXES", "VERSION", "load", "save"]
