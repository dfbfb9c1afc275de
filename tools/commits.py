# SPDX-License-Identifier: BSD-2-Clause
"""What git says of the commit that something is built from; equal commits give equal bytes."""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent


def _git(*arguments: str) -> str:
    """What git prints; empty where there is no git or no repository."""
    try:
        done = subprocess.run(
            ["git", "-C", str(ROOT), *arguments], capture_output=True, text=True, check=False
        )
    except OSError:
        return ""
    return done.stdout.strip() if done.returncode == 0 else ""


def epoch() -> str:
    """The time of the last commit, or SOURCE_DATE_EPOCH. Zip files know no time before 1980."""
    return os.environ.get("SOURCE_DATE_EPOCH") or _git("log", "-1", "--format=%ct") or "315532800"


def debian_version() -> str:
    """``0.1.0`` at the tag ``v0.1.0``, else ``0.1.0~git20261123.001851.8701689``, which comes before it.

    The time is UTC: of two commits the later one is the newer version.
    """
    project = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    found = re.search(r'^version = "([^"]+)"', project, re.MULTILINE)
    assert found is not None
    version = found[1]
    if f"v{version}" in _git("tag", "--points-at", "HEAD").split():
        return version
    commit = _git("-c", "log.showSignature=false", "log", "-1", "--format=%cd.%h", "--abbrev=7",
                  "--date=format-local:%Y%m%d.%H%M%S")  # fmt: skip
    return f"{version}~git{commit}" if commit else version
