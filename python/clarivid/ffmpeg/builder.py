# SPDX-License-Identifier: BSD-2-Clause
"""Building FFmpeg with clarivid's filters, and finding what was built.

In the cache's folder ``ffmpeg/``::

    tree-<key>/     source, patched and configured, with its object files; <key>: sources, patch, flags
    <key>/          bin/ffmpeg, bin/ffprobe, lib/, share/clarivid/models/, build.json;
                    <key>: all of that, the filters, the library and the models
    .lock-<key>     held by the process that builds in tree-<key>

An edited filter compiles one file in the tree; an edited model makes only a new folder of the second kind.
Both are made in a temporary folder and renamed, so what is there is complete, and nothing in use is ever
changed.
"""

from __future__ import annotations

import fcntl
import hashlib
import itertools
import json
import os
import re
import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import get_args

from clarivid.errors import InputError, ToolError
from clarivid.ffmpeg import codec_headers, library, source
from clarivid.ffmpeg.flags import (
    BARE_TOOLS,
    DEBIAN_PACKAGES,
    OUR_FILTERS,
    PKG_CONFIG_MODULES,
    TOOLS,
    Kind,
    configure_flags,
)
from clarivid.ffmpeg.series import DEFAULT, SERIES, Series, get
from clarivid.ffmpeg.steps import Progress, Runner, tool_environment
from clarivid.paths import cache_dir

_PREFIX = "clarivid-prefix"  # in the tree: what configure finds of us, and NVIDIA's headers
_MAKE_STEP = re.compile(r"^[A-Z0-9]+\t")
_KEEP_FOLDERS = 4
_KEEP_SECONDS = 3 * 24 * 3600.0


def _say_nothing(line: str) -> None:
    pass


def _no_progress(step: str, done: int, total: int) -> None:
    pass


@dataclass(frozen=True)
class Built:
    """One build: ``root`` its folder, ``version`` FFmpeg's, ``kind`` what it has of FFmpeg's components.

    ``bare`` is whether it was built without external libraries and assembler.
    """

    root: Path
    version: str
    kind: Kind
    bare: bool = False

    @property
    def ffmpeg(self) -> Path:
        """The program ffmpeg."""
        return self.root / "bin" / "ffmpeg"

    @property
    def ffprobe(self) -> Path:
        """The program ffprobe."""
        return self.root / "bin" / "ffprobe"


def build(
    *,
    series: str | None = None,
    kind: Kind = "transcode",
    bare: bool = False,
    source_path: Path | None = None,
    headers_path: Path | None = None,
    arguments: Sequence[str] = (),
    jobs: int | None = None,
    say: Callable[[str], None] = _say_nothing,
    progress: Progress = _no_progress,
) -> Built:
    """Build FFmpeg with clarivid's filters, or return the build that is there already.

    :param series: one of :data:`clarivid.ffmpeg.series.SERIES`; None for that of ``source_path``, or 7.1.
    :param kind: which of FFmpeg's own components (:data:`clarivid.ffmpeg.flags.Kind`).
    :param bare: without libx264, libx265, zimg, zlib and an assembler: needs gcc, make and patch only.
    :param source_path: a source folder or tarball; None fetches it from the Debian archive.
    :param arguments: more options for FFmpeg's ``configure``, after ours.
    :param headers_path: a folder or tarball of nv-codec-headers; None fetches them from there too.
    :param jobs: how many compilers run at once; None for as many as this process has processors.
    :param say: takes one line about what happens.
    :param progress: see :data:`clarivid.ffmpeg.steps.Progress`.

    Raises :class:`ToolError` when something is missing or a step fails, :class:`InputError` for a useless
    ``source_path`` or ``headers_path``, :class:`DigestError` when a fetched source is not the one we know.
    """
    _check_tools(bare)
    lib = library.Library.find()
    progress("fetch the source", 0, 0)
    src = _open(series, source_path, say)
    headers = (
        codec_headers.fetch(src.series)
        if headers_path is None
        else codec_headers.open_headers(headers_path, src.series)
    )
    flags = [*configure_flags(kind, bare), *arguments]
    inputs = {
        "source": f"{src.digest} {headers.digest}",
        "patch": library.digest([_patch(src.series)]),
        "flags": " ".join(flags),
        **inputs_of(lib),
    }
    tree_key = _tree_key(inputs)
    key = key_of(inputs)
    home = cache_dir() / "ffmpeg"
    with locked(home / f".lock-{tree_key}", say):
        built = _read(home / key)
        if built is None:
            log = cache_dir() / "logs" / f"ffmpeg-{key}.log"
            log.parent.mkdir(parents=True, exist_ok=True)
            log.write_text(f"FFmpeg {src.version} from {src.origin}\n", "utf-8")
            runner = Runner(log, tool_environment(cache_dir()), progress)
            tree = make_tree(home / f"tree-{tree_key}", src, runner)
            lib.write_prefix(tree / _PREFIX)
            headers.write_prefix(tree / _PREFIX)
            library.copy_if_changed(library.shared_files("filters", "*.[ch]"), tree / "libavfilter")
            _configure(tree, bare, flags, runner)
            compile_tree(tree, jobs, runner)
            record = {"version": src.version, "kind": kind, "bare": bare, "inputs": inputs}
            _install(tree, home / key, lib, record)
            built = _read(home / key)
            assert built is not None
            _check_starts(built, log)
            _prune(home, keep=home / key)
    os.utime(built.root)
    return built


def _open(series: str | None, path: Path | None, say: Callable[[str], None]) -> source.Source:
    """The source of that series, or that the user has."""
    wanted = None if series is None else get(series)
    if path is None:
        return source.fetch(wanted or get(DEFAULT), say)
    src = source.open_source(path)
    if wanted is not None and src.series != wanted:
        raise InputError(f"'{path}' is FFmpeg {src.version}, not of series {wanted.name}: leave --series out")
    return src


def find(*, series: str | None = None, kind: Kind | None = None, bare: bool | None = None) -> Built:
    """The build of what the filters, the library and the models are now.

    :param series: which of FFmpeg's; None for 7.1 and, if it was not built, any other.
    :param kind: None for that for transcodes, else the full one, else one for checks.
    :param bare: likewise; None for the one with external libraries and, if there is none, the one without.

    Raises :class:`ToolError` when it was not built, or when something has changed since.
    """
    lib = library.Library.find()
    home = cache_dir() / "ffmpeg"
    folders = sorted(
        (p.parent for p in home.glob("*/build.json")), key=lambda p: p.stat().st_mtime, reverse=True
    )
    common = inputs_of(lib)
    current = [
        (folder, record["inputs"])
        for folder in folders
        for record in [json.loads((folder / "build.json").read_text("utf-8"))]
        if common.items() <= record["inputs"].items()
    ]
    names = [DEFAULT, *(name for name in SERIES if name != DEFAULT)] if series is None else [series]
    kinds = itertools.product(
        map(get, names),
        (False, True) if bare is None else (bare,),
        get_args(Kind) if kind is None else (kind,),
    )
    for wanted, is_bare, has in kinds:
        if not library.has_shared_file("patches", wanted.patch):
            continue
        patch = library.digest([_patch(wanted)])
        flags = " ".join(configure_flags(has, is_bare))
        fitting = [(folder, inputs["flags"]) for folder, inputs in current if inputs["patch"] == patch]
        # One that was built with more options of configure's stands in where there is no other.
        for folder, given in sorted(fitting, key=lambda item: item[1] != flags):
            built = _read(folder) if given == flags or given.startswith(flags + " ") else None
            if built is not None:
                os.utime(folder)
                return built
    command = "clarivid ffmpeg build"
    command += f" --series {series}" if series else ""
    command += f" --{kind}" if kind in ("full", "checks") else ""
    command += " --bare" if bare else ""
    if folders:
        raise ToolError(
            f"FFmpeg was built before the filters, the library or the models last changed; run '{command}', "
            "which does only what is new"
        )
    raise ToolError(f"FFmpeg with clarivid's filters is not built yet; run '{command}' (a few minutes, once)")


def tree_of(built: Built) -> Path:
    """The source tree that a build was compiled in, while the cache holds it."""
    inputs = json.loads((built.root / "build.json").read_text("utf-8"))["inputs"]
    return cache_dir() / "ffmpeg" / f"tree-{_tree_key(inputs)}"


def _tree_key(inputs: dict[str, str]) -> str:
    return key_of({name: inputs[name] for name in ("source", "patch", "flags")})


def inputs_of(lib: library.Library) -> dict[str, str]:
    """What a build of any series depends on: names and digests."""
    return {
        "filters": library.digest(library.shared_files("filters", "*.[ch]")),
        "library": library.digest([lib.header, *lib.files]),
        "models": library.digest(library.model_folders()),
    }


def _patch(series: Series) -> Path:
    return library.shared_files("patches", series.patch)[0]


def key_of(inputs: Mapping[str, str]) -> str:
    """A short name for what something was made from."""
    return hashlib.sha256(json.dumps(inputs, sort_keys=True).encode()).hexdigest()[:16]


def _check_tools(bare: bool) -> None:
    missing = [tool for tool in (BARE_TOOLS if bare else TOOLS) if shutil.which(tool) is None]
    if not bare and "pkg-config" not in missing:
        missing += [
            f"{module} (development files)"
            for module in PKG_CONFIG_MODULES
            if subprocess.run(["pkg-config", "--exists", module], check=False).returncode != 0
        ]
    if missing:
        raise ToolError(
            f"cannot build FFmpeg without {', '.join(missing)}; on Debian run as root: "
            f"apt-get install -y --no-install-recommends {' '.join(DEBIAN_PACKAGES)}"
        )


@contextmanager
def locked(path: Path, say: Callable[[str], None]) -> Iterator[None]:
    """Let one process at a time work on what ``path`` stands for; the others wait, and say so."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            say("another process is building this FFmpeg; waiting for it")
            fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def make_tree(tree: Path, src: source.Source, runner: Runner) -> Path:
    """The patched source at ``tree``, made unless it is there."""
    if tree.is_dir():
        return tree
    work = Path(tempfile.mkdtemp(prefix=f".{tree.name}.", dir=tree.parent))
    try:
        runner.progress("unpack the source", 0, 0)
        src.unpack(work / "tree")
        runner.run(
            "apply the patch",
            ["patch", "-p1", "--forward", "--batch", "-i", str(_patch(src.series).absolute())],
            work / "tree",
            remedy=f"The source is FFmpeg {src.version}; the patch was tested with {src.series.tested}.",
        )
        (work / "tree").rename(tree)
    finally:
        shutil.rmtree(work, ignore_errors=True)
    return tree


def _configure(tree: Path, bare: bool, flags: Sequence[str], runner: Runner) -> None:
    stamp = tree / ".clarivid-configured"
    if stamp.is_file():
        return
    cc = "ccache gcc" if shutil.which("ccache") else "gcc"
    env = dict(runner.env)
    env["PKG_CONFIG_PATH"] = ":".join(
        filter(None, [str(tree / _PREFIX / "lib/pkgconfig"), env.get("PKG_CONFIG_PATH")])
    )
    paths = [f"--cc={cc}"]
    if bare:
        stub = tree / _PREFIX / "bin" / "pkg-config"
        stub.parent.mkdir(exist_ok=True)
        stub.write_text(library.PKG_CONFIG_STUB, "utf-8")
        stub.chmod(0o755)
        paths.append(f"--pkg-config={stub.relative_to(tree)}")
    Runner(runner.log, env, runner.progress).run(
        "configure",
        ["./configure", *paths, *flags],
        tree,
        remedy="What configure tried is at the end of ffbuild/config.log in " + str(tree) + ".",
    )
    stamp.touch()


def compile_tree(tree: Path, jobs: int | None, runner: Runner, targets: Sequence[str] = ()) -> None:
    """Run ``make`` in a configured tree, for all or for ``targets``; with progress."""
    count = jobs if jobs is not None else len(os.sched_getaffinity(0))
    plan = subprocess.run(
        ["make", "-n", *targets],
        cwd=tree,
        env=dict(runner.env),
        capture_output=True,
        text=True,
        errors="replace",
        check=False,
    )
    total = sum(line.startswith("printf") for line in plan.stdout.splitlines())
    runner.run(
        "compile",
        ["make", f"-j{count}", *targets],
        tree,
        total=total,
        counts=lambda line: bool(_MAKE_STEP.match(line)),
    )


def _install(tree: Path, root: Path, lib: library.Library, record: dict[str, object]) -> None:
    """Copy what runs to ``root``; nothing there leads to a checkout, a .venv or the tree."""
    openvino = library.keep_openvino(cache_dir())
    work = Path(tempfile.mkdtemp(prefix=f".{root.name}.", dir=root.parent))
    try:
        (work / "bin").mkdir()
        for name in ("ffmpeg", "ffprobe"):
            shutil.copy2(tree / name, work / "bin" / name)
        library.copy_if_changed(lib.files, work / "lib")
        if openvino is not None:
            (work / "lib" / "openvino").symlink_to(os.path.relpath(openvino, root / "lib"))
        for bundle in library.model_folders():
            shutil.copytree(bundle, work / "share" / "clarivid" / "models" / bundle.name)
        (work / "build.json").write_text(json.dumps(record, indent=1) + "\n", "utf-8")
        work.chmod(0o755)
        if root.exists():  # left by a crash: without build.json it would not be here otherwise
            shutil.rmtree(root)
        work.rename(root)
    finally:
        shutil.rmtree(work, ignore_errors=True)


def _read(root: Path) -> Built | None:
    try:
        record = json.loads((root / "build.json").read_text("utf-8"))
    except (OSError, ValueError):
        return None
    built = Built(root, record["version"], record.get("kind", "transcode"), record.get("bare", False))
    return built if built.ffmpeg.is_file() else None


def _check_starts(built: Built, log: Path) -> None:
    """A build that cannot start is worse than none: say so, and take it away."""
    lacking, said = lacking_filters(built.ffmpeg)
    if lacking:
        shutil.rmtree(built.root, ignore_errors=True)
        raise ToolError(
            f"step 'check' failed: the ffmpeg that was built does not start or lacks {', '.join(lacking)}: "
            f"{said[-500:]}. The log of the build is {log}"
        )


def lacking_filters(program: Path) -> tuple[list[str], str]:
    """Which of our filters an ffmpeg does not list (all of them when it does not start), and what it said.

    Raises :class:`OSError` when there is no such program.
    """
    done = subprocess.run(
        [str(program), "-hide_banner", "-filters"],
        stdin=subprocess.DEVNULL, capture_output=True, text=True, errors="replace", check=False, timeout=60,
    )  # fmt: skip
    has = {line.split()[1] for line in done.stdout.splitlines() if len(line.split()) > 2}
    return [name for name in OUR_FILTERS if name not in has], done.stderr.strip()


def _prune(home: Path, keep: Path) -> None:
    """Remove builds that nobody has asked for in days; the newest few stay whatever their age."""
    folders = [p.parent for p in home.glob("*/build.json") if p.parent != keep]
    trees = sorted(home.glob("tree-*"), key=lambda p: p.stat().st_mtime, reverse=True)
    folders.sort(key=lambda p: p.stat().st_mtime, reverse=True)
    for old in [*folders[_KEEP_FOLDERS:], *trees[_KEEP_FOLDERS:]]:
        if time.time() - old.stat().st_mtime > _KEEP_SECONDS:
            shutil.rmtree(old, ignore_errors=True)


__all__ = ["Built", "build", "compile_tree", "find", "inputs_of", "key_of", "locked", "make_tree", "tree_of"]
