# SPDX-License-Identifier: BSD-2-Clause
"""The stub of the binary module names all that it has, and no more."""

from __future__ import annotations

import ast
from pathlib import Path

import clarivid
from clarivid import _core

STUB = Path(clarivid.__file__).with_name("_core.pyi")
ONLY_TYPES = {"SupportsCudaArray"}


def public(names: list[str]) -> set[str]:
    return {name for name in names if not name.startswith("_")}


def test_every_name_of_the_binary_module_has_a_type() -> None:
    stub = ast.parse(STUB.read_text(encoding="utf-8"))
    functions = {node.name for node in stub.body if isinstance(node, ast.FunctionDef)}
    classes = {node.name: node for node in stub.body if isinstance(node, ast.ClassDef)}
    assert functions | classes.keys() - ONLY_TYPES == public(dir(_core))
    for name in classes.keys() - ONLY_TYPES:
        members = {node.name for node in classes[name].body if isinstance(node, ast.FunctionDef)}
        assert public(sorted(members)) == public(dir(getattr(_core, name))), name


def test_the_package_says_that_it_is_typed() -> None:
    assert STUB.with_name("py.typed").is_file()
