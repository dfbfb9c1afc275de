# SPDX-License-Identifier: BSD-2-Clause
"""Building a drop-in: the machine's own libavfilter once more, with clarivid's filters in it.

In the cache's folder ``dropin/``::

    <key>/          bin/clarivid-ffmpeg, clarivid-run, ...; lib/avfilter/ with libavfilter alone, the only
                    folder that goes on a library path; lib/ with what it loads; share/clarivid/models/;
                    dropin.json, report.json, report.md. <key>: the stock libraries, filters, library, models
    tree-<key>/     source, patched and configured, with its object files
    deps-<key>/     development files that were fetched for it
    .lock-<key>     held by the process that builds for these stock libraries

Only libavfilter is compiled. It is linked with the machine's own libavcodec, libavutil, ..., so what they do
not have is found by the linker. Made in a temporary folder, checked there, and renamed.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from clarivid import apt, packages
from clarivid.errors import InputError, ToolError
from clarivid.ffmpeg import builder, library, source
from clarivid.ffmpeg.dropin import build_deps, report, wrappers
from clarivid.ffmpeg.dropin.build_deps import LINK, Headers
from clarivid.ffmpeg.dropin.configuration import Wanted
from clarivid.ffmpeg.dropin.stock import RECORD, Stock, check_unchanged, filters_of, inspect, locate
from clarivid.ffmpeg.steps import Progress, Runner, tool_environment
from clarivid.paths import cache_dir, sha256_of

_PREFIX = "clarivid-prefix"
_TOOLS = ("gcc", "make", "patch", "pkg-config", "readelf")
_KEEP_SECONDS = 3 * 24 * 3600.0
_RECIPE = 1  # counts up when this module builds something else from the same
# libclarivid.so lies one folder above. The linker takes it from the environment: configure and make would
# each take a level of quoting off $ORIGIN, and not the same in every series.
_RUNPATH = "$ORIGIN/.."
_LINK_FLAGS = "-Wl,--enable-new-dtags,-z,defs"

Say = Callable[[str], None]


def _say_nothing(line: str) -> None:
    pass


def _no_progress(step: str, done: int, total: int) -> None:
    pass


@dataclass(frozen=True)
class Dropin:
    """One drop-in: ``root`` its folder, ``program`` the stock ffmpeg, ``version`` what that says it is.

    ``missing`` are filters of the stock one that it does not have, and ``poorer`` those with less in them;
    both are empty unless that was asked for.
    """

    root: Path
    program: Path
    version: str
    missing: tuple[str, ...] = ()
    poorer: tuple[str, ...] = ()

    @property
    def ffmpeg(self) -> Path:
        """The script that starts the stock ffmpeg with it."""
        return self.root / "bin" / "clarivid-ffmpeg"

    @property
    def run(self) -> Path:
        """The script that starts any program with it."""
        return self.root / "bin" / "clarivid-run"

    @property
    def report(self) -> Path:
        """What was checked, as JSON; ``report.md`` beside it is for people."""
        return self.root / "report.json"

    def to_json(self) -> dict[str, Any]:
        """For ``--json``."""
        return {
            "ffmpeg": str(self.ffmpeg),
            "run": str(self.run),
            "folder": str(self.root),
            "program": str(self.program),
            "version": self.version,
            "missing": list(self.missing),
            "poorer": list(self.poorer),
            "report": str(self.report),
        }


def build(
    *,
    program: Path | None = None,
    source_path: Path | None = None,
    with_build_deps: bool = False,
    allow_missing: bool = False,
    out: Path | None = None,
    jobs: int | None = None,
    say: Say = _say_nothing,
    progress: Progress = _no_progress,
) -> Dropin:
    """Build the drop-in for an ffmpeg that is installed, or return the one that is there already.

    :param program: the ffmpeg; None for the machine's own.
    :param source_path: its source, a folder or tarball, with all patches that it was built with; None fetches
        the distribution's.
    :param with_build_deps: fetch development files that are missing into the cache.
    :param allow_missing: go without the filters that cannot be had, instead of refusing.
    :param out: the folder to leave it in; None for the cache.
    :param jobs: how many compilers run at once; None for as many as this process has processors.

    Raises :class:`InputError` for an ffmpeg that there can be none for, :class:`ToolError` when a step fails
    or the drop-in does not do what the stock library does.
    """
    stock = inspect(locate(program))
    lib = library.Library.find()
    own_source = None if source_path is None else source.open_source(source_path)
    request = _request(stock, lib, own_source)
    home = cache_dir() / "dropin"
    root = home / builder.key_of(request) if out is None else out.absolute()
    _check_target(root)
    found = _current(root, request, allow_missing)
    if found is not None:
        return found
    _check_tools()
    with builder.locked(home / f".lock-{stock.digest()[:16]}", say):
        found = _current(root, request, allow_missing)
        if found is not None:
            return found
        started = time.monotonic()
        log = cache_dir() / "logs" / f"dropin-{builder.key_of(request)}.log"
        log.parent.mkdir(parents=True, exist_ok=True)
        log.write_text(f"drop-in for {stock.program}, FFmpeg {stock.version}\n", "utf-8")
        runner = Runner(log, tool_environment(cache_dir()), progress)
        progress("fetch the source", 0, 0)
        src = own_source or _fetch_source(stock)
        made = _compile(stock, src, lib, with_build_deps, allow_missing, jobs, say, runner)
        built = _install(stock, made, root, lib, request, jobs, started, runner)
        _prune(home, root)
        return built


def find(program: Path | None = None, out: Path | None = None) -> Dropin:
    """The drop-in for an ffmpeg as it is now. Raises :class:`ToolError` when there is none."""
    stock = inspect(locate(program))
    request = _request(stock, library.Library.find(), None)
    del request["source"]  # whoever gave one need not give it again
    home = cache_dir() / "dropin"
    folders = [out.absolute()] if out else [p.parent for p in home.glob(f"*/{RECORD}")]
    records = {folder: record for folder in folders if (record := _record(folder)) is not None}
    for folder in records:
        found = _current(folder, request, True)
        if found is not None:
            os.utime(folder)
            return found
    if any(record["program"] == str(stock.program) for record in records.values()):
        raise ToolError(
            f"the drop-in for {stock.program} was built before that ffmpeg, the filters, the library or the "
            "models last changed; run 'clarivid ffmpeg dropin' again"
        )
    raise ToolError(
        f"there is no drop-in for {stock.program} yet; run 'clarivid ffmpeg dropin' (some minutes, once)"
    )


def remove(program: Path | None = None, out: Path | None = None) -> list[Path]:
    """Remove the drop-ins of an ffmpeg from the cache, with their trees; or the one in the folder ``out``.

    :return: what was removed. Raises :class:`InputError` when ``out`` is something else.
    """
    if out is not None:
        if out.exists() and _record(out) is None:
            raise InputError(f"'{out}' is no drop-in: it holds no {RECORD}")
        folders = [out.absolute()] if out.exists() else []
    else:
        try:
            wanted = str(locate(program))
        except InputError:  # it may be gone, and what was made for it not
            wanted = str(program)
        home = cache_dir() / "dropin"
        records = {p.parent: _record(p.parent) or {} for p in home.glob(f"*/{RECORD}")}
        folders = [
            folder for folder, record in records.items() if program is None or record.get("program") == wanted
        ]
        folders += _unused(home, [record for folder, record in records.items() if folder not in folders])
    for folder in folders:
        gone = Path(tempfile.mkdtemp(prefix=f".{folder.name}.", dir=folder.parent))
        folder.rename(gone / "gone")  # at once for whoever looks for it
        shutil.rmtree(gone, ignore_errors=True)
    return sorted(folders)


def _unused(home: Path, records: Iterable[Mapping[str, Any]]) -> list[Path]:
    """The trees and development files that none of these drop-ins was made with."""
    used = {str(record.get(name)) for record in records for name in ("tree", "deps")}
    return [path for path in (*home.glob("tree-*"), *home.glob("deps-*")) if path.name not in used]


def _prune(home: Path, keep: Path) -> None:
    """Remove drop-ins in the cache that nobody has asked for in days, and what they were made with."""
    limit = time.time() - _KEEP_SECONDS
    folders = [path.parent for path in home.glob(f"*/{RECORD}") if path.parent != keep]
    old = [folder for folder in folders if folder.stat().st_mtime < limit]
    left = [_record(folder) or {} for folder in (keep, *folders) if folder not in old]
    for folder in [*old, *(path for path in _unused(home, left) if path.stat().st_mtime < limit)]:
        shutil.rmtree(folder, ignore_errors=True)


@dataclass(frozen=True)
class _Made:
    """A tree in which libavfilter was compiled."""

    tree: Path
    source: source.Source
    wanted: Wanted
    missing: dict[str, list[str]]
    poorer: dict[str, list[str]]
    headers: Headers
    lacking: list[str]


def _request(stock: Stock, lib: library.Library, own: source.Source | None) -> dict[str, str]:
    """What a drop-in is made from; its key is made of it."""
    if own is None and stock.owner is None:
        named = "none"
    else:
        named = own.digest if own else f"{stock.owner.source} {stock.owner.source_version}"  # type: ignore[union-attr]
    return {
        "stock": stock.digest(),
        "version": stock.version,
        "source": named,
        "patch": library.digest([library.shared_files("patches", stock.series.patch)[0]]),
        "recipe": str(_RECIPE),
        **builder.inputs_of(lib),
    }


def _check_target(root: Path) -> None:
    if root.exists() and _record(root) is None and (not root.is_dir() or any(root.iterdir())):
        raise InputError(f"'{root}' is there and is no drop-in; name a folder that does not exist yet")
    if not root.parent.is_dir() and root.parent != cache_dir() / "dropin":
        raise InputError(f"the folder '{root.parent}' does not exist; make it first")


def _record(root: Path) -> dict[str, Any] | None:
    try:
        record = json.loads((root / RECORD).read_text("utf-8"))
    except (OSError, ValueError):
        return None
    return record if isinstance(record, dict) else None


def _current(root: Path, request: Mapping[str, str], allow_missing: bool) -> Dropin | None:
    """The drop-in in a folder, when it was made from just that and has what is asked for."""
    record = _record(root)
    if record is None or not request.items() <= record["request"].items():
        return None
    found = Dropin(
        root, Path(record["program"]), record["version"], tuple(record["missing"]), tuple(record["poorer"])
    )
    if (found.missing or found.poorer) and not allow_missing:
        return None
    if not found.ffmpeg.is_file():
        return None
    return found


def _check_tools() -> None:
    missing = [tool for tool in _TOOLS if shutil.which(tool) is None]
    if os.uname().machine == "x86_64" and shutil.which("nasm") is None:
        missing.append("nasm")
    if missing:
        raise ToolError(
            f"cannot build a drop-in without {', '.join(missing)}; on Debian run as root: "
            "apt-get install -y --no-install-recommends gcc make nasm patch pkg-config binutils xz-utils"
        )


def _fetch_source(stock: Stock) -> source.Source:
    """The distribution's source of exactly the package that is installed, with its patches."""
    owner = stock.owner
    if owner is None:
        raise InputError(
            f"'{stock.library}' is of no package of this distribution, so that its source cannot be known: "
            f"give that of FFmpeg {stock.version} with --source, with all patches that it was built with"
        )
    check_unchanged(stock)
    try:
        package = packages.fetch_patched_source(owner.source, owner.source_version, owner.package)
    except ToolError as error:
        raise ToolError(
            f"{error}. If the distribution has moved on, upgrade {owner.package} and try again; else give "
            "that source with --source"
        ) from error
    folder = source.root_of(package.root)
    version = source.read_version(folder)
    if version != stock.release:
        raise ToolError(
            f"the source package {owner.source} {owner.source_version} is FFmpeg {version}, but "
            f"{stock.program} says that it is {stock.release}; give its source with --source"
        )
    return source.Source(folder, version, package.sha256, f"{owner.source} {owner.source_version}")


def _check_versions(tree: Path, stock: Stock) -> None:
    """The libraries' versions in the source are those that run here, to the micro version."""
    for name, running in stock.versions.items():
        text = "".join(
            path.read_text("utf-8", "replace")
            for path in (tree / f"lib{name}" / "version_major.h", tree / f"lib{name}" / "version.h")
            if path.is_file()
        )
        numbers = [
            re.search(rf"#define\s+LIB{name.upper()}_VERSION_{part}\s+(\d+)", text)
            for part in ("MAJOR", "MINOR", "MICRO")
        ]
        found = ".".join(match[1] for match in numbers if match)
        if found != running:
            raise InputError(
                f"the source's lib{name} is {found or 'missing'}, and {stock.program} runs with {running}: "
                "it is not the source that this ffmpeg was built from"
            )


def _compile(
    stock: Stock,
    src: source.Source,
    lib: library.Library,
    with_build_deps: bool,
    allow_missing: bool,
    jobs: int | None,
    say: Say,
    runner: Runner,
) -> _Made:
    if src.version != stock.release:
        raise InputError(
            f"{src.origin} is FFmpeg {src.version}, and {stock.program} is {stock.release}: a drop-in is "
            "built from the same release"
        )
    home = cache_dir() / "dropin"
    wanted, headers, lacking = _resolve(stock, src, with_build_deps, home, say)
    missing, poorer = wanted.lost_without(lacking), wanted.poorer_without(lacking)
    if (missing or poorer) and not allow_missing:
        raise ToolError(_refusal(stock, missing, poorer, lacking, with_build_deps))
    flags = [*wanted.flags(lacking), *headers.flags(), f"--extra-ldsoflags={_LINK_FLAGS}", "--disable-debug"]
    if "cuda_llvm" in wanted.externals and "cuda_llvm" not in lacking:
        flags.append(f"--nvcc={_PREFIX}/bin/clang")
    key = builder.key_of(
        {
            "source": src.digest,
            "patch": library.digest([library.shared_files("patches", src.series.patch)[0]]),
            "flags": " ".join(flags),
            "headers": headers.key,
            "stock": stock.digest(),
        }
    )
    tree = builder.make_tree(home / f"tree-{key}", src, runner)
    _check_versions(tree, stock)
    _write_prefix(tree, stock, lib, headers)
    library.copy_if_changed(library.shared_files("filters", "*.[ch]"), tree / "libavfilter")
    _configure(tree, flags, stock, headers, runner)
    # Linked anew each time: a library of ours may have another name than the last time. The libraries of
    # FFmpeg's that it is linked with are there; they are not made.
    (tree / "libavfilter" / stock.soname).unlink(missing_ok=True)
    linking = Runner(runner.log, {**runner.env, "LD_RUN_PATH": _RUNPATH}, runner.progress)
    builder.compile_tree(tree, jobs, linking, [f"libavfilter/{stock.soname}", "DEP_LIBS="])
    return _Made(tree, src, wanted, missing, poorer, headers, lacking)


def _resolve(
    stock: Stock, src: source.Source, with_build_deps: bool, home: Path, say: Say
) -> tuple[Wanted, Headers, list[str]]:
    """What the stock library is made with, where that is found, and what of it is missing."""
    wanted = Wanted.of(
        source.read_file(src, "configure"), stock.configuration, filters_of([str(stock.program)])
    )
    headers = Headers()
    lacking = headers.missing(wanted.externals)
    if lacking:
        before = build_deps.fetched_before(wanted.externals, home)
        if before is not None:
            return wanted, before, []
    if lacking and with_build_deps:
        owner = stock.owner.package if stock.owner else "ffmpeg"
        with apt.archive(owner) as archive:
            headers = build_deps.fetch(lacking, archive, home, say)
        lacking = headers.missing(wanted.externals)
    return wanted, headers, lacking


def _refusal(
    stock: Stock,
    missing: Mapping[str, list[str]],
    poorer: Mapping[str, list[str]],
    lacking: list[str],
    with_build_deps: bool,
) -> str:
    """Which filters would be missing, and which packages bring them."""
    lines = [
        f"{len(missing)} of the filters that {stock.program} has would be missing, and {len(poorer)} would "
        "have less in them, for want of development files:"
    ]
    for name in lacking:
        lost = [f for f, needs in missing.items() if name in needs] + [
            f"{f} (less)" for f, needs in poorer.items() if name in needs
        ]
        brought = " ".join(build_deps.packages_of([name])) or "no package is known"
        if lost:
            lines.append(f"  {name} ({brought}): {', '.join(lost)}")
    if not with_build_deps:
        lines.append(
            "--with-build-deps fetches these packages into the cache and installs nothing; or install them: "
            f"apt-get install --no-install-recommends {' '.join(build_deps.packages_of(lacking))}; "
            "--allow-missing goes without"
        )
    else:
        lines.append("they could not be fetched either; --allow-missing goes without these filters")
    return "\n".join(lines)


def _write_prefix(tree: Path, stock: Stock, lib: library.Library, headers: Headers) -> None:
    """What configure and the linker find: libclarivid, the fetched headers, the machine's own libraries."""
    lib.write_prefix(tree / _PREFIX)
    link = tree / LINK
    link.unlink(missing_ok=True)
    if headers.root is not None:
        link.symlink_to(headers.root)
    script = headers.clang()
    if script is not None:
        (tree / _PREFIX / "bin").mkdir(exist_ok=True)
        (tree / _PREFIX / "bin" / "clang").write_text(script, "utf-8")
        (tree / _PREFIX / "bin" / "clang").chmod(0o755)
    for soname, path in stock.libraries.items():
        name = soname.partition(".so")[0]
        if name == "libavfilter":
            continue
        target = tree / name / f"{name}.so"
        target.unlink(missing_ok=True)
        target.symlink_to(path)


def _configure(tree: Path, flags: list[str], stock: Stock, headers: Headers, runner: Runner) -> None:
    stamp = tree / ".clarivid-configured"
    if stamp.is_file():
        return
    env = dict(runner.env)
    folders = [str(tree / _PREFIX / "lib/pkgconfig"), headers.pkg_config_path(), env.get("PKG_CONFIG_PATH")]
    env["PKG_CONFIG_PATH"] = ":".join(filter(None, folders))
    cc = "ccache gcc" if shutil.which("ccache") else "gcc"
    Runner(runner.log, env, runner.progress).run(
        "configure",
        ["./configure", f"--cc={cc}", *flags],
        tree,
        remedy="What configure tried is at the end of ffbuild/config.log in " + str(tree) + ".",
    )
    # ffmpeg warns at every start when libraries were configured with other words than itself.
    config = (tree / "config.h").read_text("utf-8")
    words = stock.configuration_text.replace("\\", "\\\\").replace('"', '\\"')
    line = f'#define FFMPEG_CONFIGURATION "{words}"'
    config = re.sub(r"^#define FFMPEG_CONFIGURATION .*$", lambda _: line, config, flags=re.M)
    (tree / "config.h").write_text(config, "utf-8")
    stamp.touch()


def _install(
    stock: Stock,
    made: _Made,
    root: Path,
    lib: library.Library,
    request: Mapping[str, str],
    jobs: int | None,
    started: float,
    runner: Runner,
) -> Dropin:
    """Put it together beside ``root``, check it, and rename it. What fails its checks is taken away."""
    cached = root.parent == cache_dir() / "dropin"
    work = Path(tempfile.mkdtemp(prefix=f".{root.name}.", dir=root.parent))
    try:
        _fill(work, stock, made, lib, cached)
        runner.progress("check", 0, 0)
        digest = sha256_of(work / "lib" / "avfilter" / stock.soname)
        checked = report.check(
            stock, work, made.missing, made.tree / f".clarivid-frames-{digest[:16]}.json",
            jobs or len(os.sched_getaffinity(0)), lambda done, total: runner.progress("check", done, total),
        )  # fmt: skip
        checked.filters_poorer = made.poorer
        checked.packages = build_deps.packages_of(made.lacking)
        checked.options_left_out = made.wanted.left_out()
        checked.build = {
            "source": made.source.origin,
            "seconds": round(time.monotonic() - started, 1),
            "library_bytes": (work / "lib" / "avfilter" / stock.soname).stat().st_size,
            "sha256": digest,
        }
        for name, text in (
            ("report.json", json.dumps(checked.to_json(), indent=1) + "\n"),
            ("report.md", report.to_markdown(checked)),
        ):
            (work / name).write_text(text, "utf-8")
        if not checked.passed:
            kept = runner.log.with_suffix(".report.md")
            shutil.copyfile(work / "report.md", kept)
            raise ToolError(
                f"the drop-in for {stock.program} is not as good as what it stands in for, and was taken "
                f"away: {'; '.join(checked.failures[:3])}. The whole report is {kept}"
            )
        record = {
            "schema": 1,
            "program": str(stock.program),
            "version": stock.version,
            "missing": sorted(made.missing),
            "poorer": sorted(made.poorer),
            "tree": made.tree.name,
            "deps": made.headers.key,
            "libraries": {str(path): sha256_of(path) for path in stock.libraries.values()},
            "request": dict(request),
        }
        (work / RECORD).write_text(json.dumps(record, indent=1) + "\n", "utf-8")
        work.chmod(0o755)
        _replace(root, work)
    finally:
        shutil.rmtree(work, ignore_errors=True)
    return Dropin(root, stock.program, stock.version, tuple(sorted(made.missing)), tuple(sorted(made.poorer)))


def _fill(work: Path, stock: Stock, made: _Made, lib: library.Library, cached: bool) -> None:
    """Everything but the reports."""
    folder = work / "lib" / "avfilter"
    folder.mkdir(parents=True)
    shutil.copyfile(made.tree / "libavfilter" / stock.soname, folder / stock.soname)
    if shutil.which("strip"):
        subprocess.run(["strip", "--strip-unneeded", str(folder / stock.soname)], check=False)
    library.copy_if_changed(lib.files, work / "lib")
    openvino = library.keep_openvino(cache_dir())
    if openvino is not None and cached:
        (work / "lib" / "openvino").symlink_to(os.path.relpath(openvino, work / "lib"))
    elif openvino is not None:  # a folder that may be taken to another machine
        shutil.copytree(openvino, work / "lib" / "openvino", symlinks=True)
    for bundle in library.model_folders():
        shutil.copytree(bundle, work / "share" / "clarivid" / "models" / bundle.name)
    wrappers.write(work / "bin", stock)


def _replace(root: Path, work: Path) -> None:
    """Give ``work`` the name ``root``; what was there is gone a moment later."""
    if root.exists():
        old = Path(tempfile.mkdtemp(prefix=f".{root.name}.old.", dir=root.parent))
        root.rename(old / "old")
        work.rename(root)
        shutil.rmtree(old, ignore_errors=True)
    else:
        work.rename(root)


__all__ = ["Dropin", "build", "find", "remove"]
