# SPDX-License-Identifier: BSD-2-Clause
"""What is made from :mod:`clarivid.options`: the filters' C header, and help texts.

python -m clarivid.options_files           # says when the header is not what the tables give; exit code 1
python -m clarivid.options_files --write   # writes it

The table in docs/ffmpeg.md is made by tests/test_options.py, from what a built ffmpeg says of its filters.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

from clarivid.errors import Error, InputError, ToolError
from clarivid.options import FILTERS, FilterTable, Option, near
from clarivid.paths import checkout_dir

_HEADER = "filters/clarivid_options.h"
_MADE = "made by 'python -m clarivid.options_files --write' from python/clarivid/options.py"

_TOP_OF_HEADER = f"""\
// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * This file is part of clarivid's filters for FFmpeg.
 *
 * It is free software; you can redistribute it and/or modify it under the
 * terms of the GNU Lesser General Public License as published by the Free
 * Software Foundation; either version 2.1 of the License, or (at your option)
 * any later version.
 */

/**
 * @file
 * The filters' options. This file is {_MADE.split(" from ")[0]}
 * from {_MADE.split(" from ")[1]}: change them there.
 */

#ifndef AVFILTER_CLARIVID_OPTIONS_H
#define AVFILTER_CLARIVID_OPTIONS_H

#include <stddef.h>

#include "libavutil/opt.h"

#define CLARIVID_FLAGS (AV_OPT_FLAG_FILTERING_PARAM | AV_OPT_FLAG_VIDEO_PARAM)
#define CLARIVID_CONST(name, help, value, set) \\
    {{ name, help, 0, AV_OPT_TYPE_CONST, {{ .i64 = value }}, 0, 0, CLARIVID_FLAGS, .unit = set }}
"""


def files() -> dict[str, str]:
    """What is made, by its path in the checkout."""
    return {_HEADER: header()}


def header() -> str:
    """``filters/clarivid_options.h``: a macro of AVOptions for each filter."""
    most = FILTERS["mesh_inpaint"]["lookahead"].maximum
    parts = [_TOP_OF_HEADER, f"#define CLARIVID_MAX_LOOKAHEAD {most:g}\n"]
    for table in FILTERS.values():
        lines = [f"#define CLARIVID_{table.name.upper()}_OPTIONS"]
        for option in table.options:
            lines += _c_option(table, option)
        lines.append("    { NULL }")
        parts.append(" \\\n".join(lines) + "\n")
    parts.append("#endif /* AVFILTER_CLARIVID_OPTIONS_H */\n")
    return "\n".join(parts)


def _c_option(table: FilterTable, option: Option) -> list[str]:
    types = {"string": "STRING", "int": "INT", "choice": "INT", "double": "DOUBLE", "size": "IMAGE_SIZE"}
    low, high = f"{option.minimum:g}", f"{option.maximum:g}"
    if option.kind == "choice":
        chosen = next(choice for choice in option.choices if choice.name == option.default)
        default = f".i64 = {chosen.constant}"
        low, high = option.choices[0].constant, option.choices[-1].constant
    elif option.kind == "int":
        default = f".i64 = {option.default}"
    elif option.kind == "double":
        default = f".dbl = {option.default}"
    else:
        default = f".str = {'NULL' if option.default is None else json.dumps(option.default)}"
    flags = "CLARIVID_FLAGS" + (" | AV_OPT_FLAG_RUNTIME_PARAM" if option.runtime else "")
    unit = f', .unit = "{option.name}"' if option.choices else ""
    lines = [
        f'    {{ "{option.name}", {json.dumps(option.help)},',
        f"        offsetof({table.struct}, {option.member}), AV_OPT_TYPE_{types[option.kind]}, "
        f"{{ {default} }},",
        f"        {low}, {high}, {flags}{unit} }},",
    ]
    for choice in option.choices:
        text = json.dumps(choice.help)
        lines.append(f'        CLARIVID_CONST("{choice.name}", {text}, {choice.constant}, "{option.name}"),')
    return lines


def help_text(name: str) -> str:
    """The options of a filter for a terminal. Raises :class:`InputError` for a filter that is not ours."""
    if name not in FILTERS:
        raise InputError(
            f"'{name}' is none of our filters ({', '.join(FILTERS)}){near(name, FILTERS)}; ffmpeg tells "
            f"others' options: $(clarivid ffmpeg path) -h filter={name}"
        )
    table = FILTERS[name]
    lines = [f"{name}: {table.summary}"]
    for option in table.options:
        if option.kind == "choice":
            value = "|".join(choice.name for choice in option.choices)
        elif option.kind in ("int", "double"):
            value = f"{option.minimum:g}..{option.maximum:g}"
        else:
            value = {"string": "TEXT", "size": "WxH"}[option.kind]
        default = "" if option.default in (None, "") else f"  (default {_plain(option.default)})"
        lines += [f"  {option.name}={value}{default}", f"      {option.help}"]
        lines += [f"      {choice.name}: {choice.help}" for choice in option.choices]
    return "\n".join(lines)


def _plain(value: object) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)


def main() -> None:
    """Entry point."""
    root = checkout_dir()
    if root is None:
        raise ToolError("this is for a checkout of clarivid: the files are part of its sources")
    changed = [path for path, text in files().items() if _read(root / path) != text]
    if "--write" in sys.argv[1:]:
        for path in changed:
            (root / path).write_text(files()[path], encoding="utf-8")
            print(f"{path} is written")
    elif changed:
        raise ToolError(
            f"{' and '.join(changed)} differ from python/clarivid/options.py: run "
            "'python -m clarivid.options_files --write'"
        )


def _read(path: Path) -> str:
    return path.read_text(encoding="utf-8") if path.is_file() else ""


if __name__ == "__main__":
    try:
        main()
    except Error as error:
        sys.exit(f"options_files: error: {error}")
