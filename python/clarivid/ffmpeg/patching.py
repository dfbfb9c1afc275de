# SPDX-License-Identifier: BSD-2-Clause
"""Putting the filters into somebody's FFmpeg source tree, and taking them out again.

Two things make a tree ours: a small patch to FFmpeg's own files, and the filters' sources in
``libavfilter/``. What was done is kept in the tree, in ``.clarivid/``: the patch as it was applied and the
digests of the files, so that a later release of clarivid can replace what an earlier one did, and nothing
that somebody has edited is lost. Nothing is changed before everything is known to fit.
"""

from __future__ import annotations

import json
import shutil
import subprocess
from dataclasses import dataclass, field
from pathlib import Path

from clarivid.errors import InputError, ToolError
from clarivid.ffmpeg import library
from clarivid.ffmpeg.series import SERIES, closest, of
from clarivid.ffmpeg.source import read_version
from clarivid.paths import sha256_of

RECORD = ".clarivid"
"""The folder in the tree that says what was done."""

_OURS = "part of clarivid's filters for FFmpeg"  # what each of our sources says of itself


@dataclass(frozen=True)
class Plan:
    """What there is to do in one tree; :meth:`carry_out` does it.

    ``undo`` and ``apply`` are patches, in that order; ``write`` are sources to copy into ``libavfilter/`` and
    ``remove`` names of files there. ``notes`` are sentences for the user.
    """

    tree: Path
    version: str
    undo: Path | None = None
    apply: Path | None = None
    write: tuple[Path, ...] = ()
    remove: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    reverse: bool = False
    files: dict[str, str] = field(default_factory=dict)

    @property
    def is_done(self) -> bool:
        """Whether the tree is already as it should be."""
        return not (self.undo or self.apply or self.write or self.remove)

    def steps(self) -> list[str]:
        """One line for each thing to do."""
        lines = [f"take out {path.name}" for path in [self.undo] if path]
        lines += [f"apply {path.name}" for path in [self.apply] if path]
        lines += [f"write libavfilter/{path.name}" for path in self.write]
        lines += [f"remove libavfilter/{name}" for name in self.remove]
        return lines

    def carry_out(self) -> None:
        """Do it. Raises :class:`ToolError` when ``patch`` fails all the same."""
        folder, record = self.tree / "libavfilter", self.tree / RECORD
        if self.undo is not None:
            _patch(self.tree, self.undo, "--reverse", check=True)
        if self.apply is not None:
            record.mkdir(exist_ok=True)
            _patch(self.tree, self.apply, "--forward", check=True)
            shutil.copyfile(self.apply, record / "applied.patch")
        for path in self.write:
            shutil.copyfile(path, folder / path.name)
        for name in self.remove:
            (folder / name).unlink(missing_ok=True)
        if self.reverse:
            shutil.rmtree(record, ignore_errors=True)
        elif not self.is_done:
            record.mkdir(exist_ok=True)
            (record / "files.json").write_text(json.dumps(self.files, indent=1) + "\n", "utf-8")


def plan(tree: Path, *, reverse: bool = False, force: bool = False) -> Plan:
    """What has to be done to put the filters into ``tree``, or to take them out.

    :param tree: the root of FFmpeg's source: a checkout or an unpacked tarball.
    :param reverse: take them out.
    :param force: try the closest patch on a release that there is none for, and overwrite files of ours that
        somebody has edited.

    Raises :class:`InputError` when the tree is none, is of an unknown series, or holds edited files;
    :class:`ToolError` when the patch does not fit, with the places.
    """
    version = read_version(tree)
    if version is None:
        raise InputError(
            f"'{tree}' is not FFmpeg's source: give the folder that holds its configure and RELEASE"
        )
    applied = _applied(tree)
    recorded = _recorded(tree)
    if reverse:
        return _out(tree, version, applied, recorded, force)
    wanted, notes = _choose(tree, version, force)
    sources = library.shared_files("filters", "*.[ch]")
    digests = {path.name: sha256_of(path) for path in sources}
    _check_edited(tree, recorded, digests, force)
    undo = apply = None
    if applied is None or applied.read_bytes() != wanted.read_bytes():
        undo, apply = applied, wanted
        if undo is None and not _fits(tree, wanted, "--forward"):
            if _fits(tree, wanted, "--reverse"):
                apply = None  # somebody has applied it by hand
            else:
                raise _misfit(tree, version, wanted)
        if undo is not None and not _fits(tree, undo, "--reverse"):
            raise ToolError(
                f"'{tree}' was patched by clarivid before and has changed since: {RECORD}/applied.patch "
                "cannot be taken out; take your changes to configure, fftools, libavfilter/Makefile and "
                "libavfilter/allfilters.c out and try again"
            )
    folder = tree / "libavfilter"
    write = [
        path
        for path in sources
        if not (folder / path.name).is_file() or sha256_of(folder / path.name) != digests[path.name]
    ]
    gone = sorted(name for name in recorded if name not in digests and (folder / name).is_file())
    return Plan(tree, version, undo, apply, tuple(write), tuple(gone), notes, files=digests)


def pkg_config_folder() -> Path:
    """The folder of ``clarivid.pc``, for ``PKG_CONFIG_PATH``. Raises :class:`ToolError` without a library."""
    return library.Library.find().header.parent.parent.parent / "lib" / "pkgconfig"


def _out(tree: Path, version: str, applied: Path | None, recorded: dict[str, str], force: bool) -> Plan:
    """The plan that takes everything out."""
    undo = applied
    if undo is None:
        series = of(version)
        known = [] if series is None else library.shared_files("patches", series.patch)
        undo = next((path for path in known if _fits(tree, path, "--reverse")), None)
    elif not _fits(tree, undo, "--reverse"):
        raise ToolError(
            f"the patch cannot be taken out of '{tree}': the places that it changed have changed since; it "
            f"is {tree / RECORD / 'applied.patch'}"
        )
    names = recorded or {
        path.name: sha256_of(path)
        for path in library.shared_files("filters", "*.[ch]")
        if (tree / "libavfilter" / path.name).is_file()
    }
    _check_edited(tree, names, names, force)
    there = sorted(name for name in names if (tree / "libavfilter" / name).is_file())
    return Plan(tree, version, undo=undo, remove=tuple(there), reverse=True)


def _choose(tree: Path, version: str, force: bool) -> tuple[Path, tuple[str, ...]]:
    """The patch for a release, and what to say about it."""
    series = of(version)
    if series is not None:
        notes = () if series.tested else (
            f"FFmpeg {series.name}: the patch was derived from those for other series and was never tested",
        )  # fmt: skip
        return library.shared_files("patches", series.patch)[0], notes
    near = closest(version)
    if not force:
        raise InputError(
            f"'{tree}' is FFmpeg {version}, and clarivid has patches for {', '.join(SERIES)}; --force tries "
            f"the closest, {near.name}, and changes nothing if it does not fit"
        )
    note = f"FFmpeg {version} is unknown: trying the patch for {near.name}, at your own risk"
    return library.shared_files("patches", near.patch)[0], (note,)


def _check_edited(tree: Path, recorded: dict[str, str], wanted: dict[str, str], force: bool) -> None:
    """Refuse to overwrite or remove what is not as we wrote it."""
    foreign: list[str] = []
    edited: list[str] = []
    for name in {**recorded, **wanted}:
        path = tree / "libavfilter" / name
        if not path.is_file() or sha256_of(path) in (recorded.get(name), wanted.get(name)):
            continue
        text = path.read_text("utf-8", "replace")
        (edited if name in recorded or _OURS in text else foreign).append(name)
    if foreign:
        raise InputError(
            f"'{tree}' has its own libavfilter/{', '.join(sorted(foreign))}, which clarivid would overwrite: "
            "rename it first"
        )
    if edited and not force:
        raise InputError(
            f"libavfilter/{', '.join(sorted(edited))} in '{tree}' is not as clarivid wrote it: keep a copy "
            "of your changes, then go on with --force"
        )


def _applied(tree: Path) -> Path | None:
    path = tree / RECORD / "applied.patch"
    return path if path.is_file() else None


def _recorded(tree: Path) -> dict[str, str]:
    """Names and digests of the files that were written; {} when none were, or the record is damaged."""
    try:
        files = json.loads((tree / RECORD / "files.json").read_text("utf-8"))
    except (OSError, ValueError):
        return {}
    return {str(name): str(digest) for name, digest in files.items()} if isinstance(files, dict) else {}


def _fits(tree: Path, patch: Path, direction: str) -> bool:
    return _patch(tree, patch, direction, "--dry-run").returncode == 0


def _misfit(tree: Path, version: str, patch: Path) -> ToolError:
    said = _patch(tree, patch, "--forward", "--dry-run").stdout
    failed = [line.strip() for line in said.splitlines() if "FAILED" in line or "can't find" in line]
    return ToolError(
        f"{patch.name} does not fit '{tree}' (FFmpeg {version}): "
        f"{'; '.join(failed[:4]) or said.strip()[-200:]}. Nothing was changed"
    )


def _patch(tree: Path, patch: Path, *options: str, check: bool = False) -> subprocess.CompletedProcess[str]:
    program = shutil.which("patch")
    if program is None:
        raise ToolError("the program patch is missing; on Debian run as root: apt-get install -y patch")
    # --force: it asks nothing and never turns a patch round by itself.
    command = [program, "-p1", "--force", "--no-backup-if-mismatch", "--fuzz=2"]
    done = subprocess.run(
        [*command, *options, "-i", str(patch.absolute())],
        cwd=tree,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        check=False,
        env={"LC_ALL": "C", "PATH": str(Path(program).parent)},
    )
    if check and done.returncode:
        raise ToolError(f"patch failed in '{tree}': {done.stdout.strip()[-300:]}")
    return done


__all__ = ["RECORD", "Plan", "pkg_config_folder", "plan"]
