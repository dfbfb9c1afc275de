# SPDX-License-Identifier: BSD-2-Clause
"""One style of docstrings for the site: fields in reST's form become the sections that Google's style has.

The package has both: ``:param x:`` where a sentence says it, ``Args:`` where there are many. Sphinx roles
become code.
"""

from __future__ import annotations

import re
from typing import Any

import griffe

_FIELD = re.compile(r"^:(param|ivar|returns?|raises?)(?: +([\w, ]+?))?: *(.*)$")
_ROLE = re.compile(r":(?:py:)?(?:class|func|meth|mod|data|attr|exc|obj):`~?\.?([^`]+)`")
_SECTION = {
    "param": "Args",
    "ivar": "Attributes",
    "return": "Returns",
    "returns": "Returns",
    "raise": "Raises",
    "raises": "Raises",
}


def google(text: str) -> str:
    """A docstring with its reST fields as Google's sections, at its end."""
    text = _ROLE.sub(lambda m: f"`{m.group(1)}`", text).replace("::\n", ":\n")
    body: list[str] = []
    sections: dict[str, list[str]] = {}
    current: list[str] | None = None
    for line in text.splitlines():
        field = _FIELD.match(line)
        if field:
            kind, name, said = field.groups()
            current = sections.setdefault(_SECTION[kind], [])
            current.append(f"    {name}: {said}" if name else f"    {said}")
        elif current is not None and line.startswith((" ", "\t")):
            current.append(f"        {line.strip()}")
        else:
            current = None
            body.append(line)
    for title, lines in sections.items():
        body += ["", f"{title}:", *lines]
    return "\n".join(body).strip() + "\n"


class HouseDocstrings(griffe.Extension):
    """Rewrites each docstring before it is parsed."""

    def on_object(self, *, obj: griffe.Object, **kwargs: Any) -> None:
        if obj.docstring is not None:
            obj.docstring.value = google(obj.docstring.value)
