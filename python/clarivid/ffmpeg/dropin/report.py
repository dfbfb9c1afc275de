# SPDX-License-Identifier: BSD-2-Clause
"""What is checked of a drop-in before anybody gets it: all that the stock libavfilter does, it does."""

from __future__ import annotations

import hashlib
import json
import re
import subprocess
import tempfile
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from clarivid.errors import ToolError, last_line
from clarivid.ffmpeg.dropin import elf
from clarivid.ffmpeg.dropin.cases import Case, cases
from clarivid.ffmpeg.dropin.stock import Stock, environment, filters_of
from clarivid.ffmpeg.flags import OUR_FILTERS

_OURS = {
    "dnn_sr": "dnn_sr=model=game_x2",
    "lowrank_pre": "lowrank_pre",
    "mesh_inpaint": "mesh_inpaint=rect='30|20|40|30'",
}
_SUBTITLES = "1\n00:00:00,000 --> 00:00:05,000\nThe same letters\n"


@dataclass(frozen=True)
class Frames:
    """One graph through both: digests of what came out; ``note`` says why there is nothing to compare."""

    graph: str
    before: str
    after: str
    note: str = ""

    @property
    def is_good(self) -> bool:
        """Whether the same came out, or the stock one can do it neither."""
        return bool(self.note) or self.before == self.after


@dataclass
class Report:
    """All that was checked; ``failures`` are sentences, none when the drop-in is good."""

    stock: dict[str, Any]
    filters_before: list[str] = field(default_factory=list)
    filters_after: list[str] = field(default_factory=list)
    filters_missing: dict[str, list[str]] = field(default_factory=dict)
    filters_poorer: dict[str, list[str]] = field(default_factory=dict)
    packages: list[str] = field(default_factory=list)
    exports_before: int = 0
    exports_after: int = 0
    exports_missing: list[str] = field(default_factory=list)
    exports_added: list[str] = field(default_factory=list)
    bound: dict[str, int] = field(default_factory=dict)
    needed_added: list[str] = field(default_factory=list)
    needed_dropped: list[str] = field(default_factory=list)
    frames: list[Frames] = field(default_factory=list)
    ours: dict[str, int] = field(default_factory=dict)
    options_left_out: list[str] = field(default_factory=list)
    build: dict[str, Any] = field(default_factory=dict)
    failures: list[str] = field(default_factory=list)

    @property
    def passed(self) -> bool:
        """Whether the drop-in is good."""
        return not self.failures

    def to_json(self) -> dict[str, Any]:
        """For ``report.json``."""
        return {"schema": 1, "passed": self.passed, **asdict(self)}


def check(
    stock: Stock,
    root: Path,
    missing: dict[str, list[str]],
    frames: Path,
    jobs: int,
    progress: Callable[[int, int], None],
) -> Report:
    """Check the drop-in in ``root``.

    :param missing: filters that are known to be missing and were accepted.
    :param frames: the file that keeps which frames came out: they are those of this very libavfilter and
        this stock one, and need not be compared again when only a model is another one.
    :param progress: takes how many graphs were run, and of how many.
    """
    report = Report(stock=describe(stock), filters_missing=missing)
    _check_library(stock, root / "lib" / "avfilter" / stock.soname, report)
    wrapper = str(root / "bin" / "clarivid-ffmpeg")
    before = filters_of([str(stock.program)])
    try:
        after = filters_of([wrapper])
    except ToolError as error:
        report.failures.append(f"the stock ffmpeg does not start with it: {error}")
        return report
    _check_filters(before, after, report)
    report.frames = _known_frames(frames)
    if not report.frames:
        with tempfile.TemporaryDirectory(prefix="clarivid-") as folder:
            report.frames = _compare_all(stock, wrapper, after, Path(folder), jobs, progress)
        frames.write_text(json.dumps([asdict(row) for row in report.frames]), "utf-8")
    _check_frames(report)
    _check_ours(wrapper, report)
    return report


def _known_frames(path: Path) -> list[Frames]:
    try:
        return [Frames(**row) for row in json.loads(path.read_text("utf-8"))]
    except (OSError, ValueError, TypeError):
        return []


def describe(stock: Stock) -> dict[str, Any]:
    """What a report says of the stock ffmpeg."""
    return {
        "program": str(stock.program),
        "version": stock.version,
        "libraries": {name: str(path) for name, path in stock.libraries.items()},
        "versions": stock.versions,
        "package": f"{stock.owner.package} {stock.owner.version}" if stock.owner else None,
    }


def _check_library(stock: Stock, path: Path, report: Report) -> None:
    """Names, versions of symbols, and that nothing is bound to what the system's libraries do not have."""
    ours, theirs = elf.read(path), elf.read(stock.library)
    report.exports_before, report.exports_after = len(theirs.exports), len(ours.exports)
    report.exports_missing = sorted(theirs.exports - ours.exports)
    report.exports_added = sorted(ours.exports - theirs.exports)
    report.needed_added = sorted(set(ours.needed) - set(theirs.needed))
    report.needed_dropped = sorted(set(theirs.needed) - set(ours.needed))
    if ours.soname != theirs.soname:
        report.failures.append(f"its SONAME is {ours.soname}, the stock one's is {theirs.soname}")
    if report.exports_missing:
        report.failures.append(
            f"it lacks {len(report.exports_missing)} exported symbols: {_some(report.exports_missing)}"
        )
    for soname, library in stock.libraries.items():
        match = re.fullmatch(r"lib(\w+)\.so\.(\d+)", soname)
        assert match is not None
        version = f"LIB{match[1].upper()}_{match[2]}"
        bound = {name for name in ours.imports if name.endswith(f"@{version}")}
        lacking = sorted(bound - elf.read(library).exports) if bound else []
        if bound:
            report.bound[soname] = len(bound)
        if lacking:
            report.failures.append(f"the system's {soname} lacks {_some(lacking)}, which it is bound to")
    foreign = {name.partition("@")[2] for name in ours.imports if re.search(r"@LIB(AV|SW|POSTPROC)", name)}
    known = {f"LIB{s[3:].partition('.')[0].upper()}_{s.rpartition('.')[2]}" for s in stock.libraries}
    if foreign - known:
        report.failures.append(
            f"it is bound to other releases of FFmpeg's libraries: {_some(foreign - known)}"
        )
    strange = [name for name in report.needed_added if not name.startswith("libclarivid")]
    if strange:
        report.failures.append(f"it needs libraries that the stock one does not: {_some(strange)}")


def _check_filters(before: dict[str, str], after: dict[str, str], report: Report) -> None:
    report.filters_before, report.filters_after = sorted(before), sorted(after)
    lacking = [name for name in before if name not in after and name not in report.filters_missing]
    if lacking:
        report.failures.append(f"it lacks filters that the stock one has: {_some(lacking)}")
    other = [name for name in before if name in after and before[name] != after[name]]
    if other:
        report.failures.append(f"filters have other inputs or outputs than before: {_some(other)}")
    ours = [name for name in OUR_FILTERS if name not in after]
    if ours:
        report.failures.append(f"it lacks clarivid's own filters: {_some(ours)}")


def _compare_all(
    stock: Stock,
    wrapper: str,
    filters: Iterable[str],
    folder: Path,
    jobs: int,
    progress: Callable[[int, int], None],
) -> list[Frames]:
    (folder / "words.srt").write_text(_SUBTITLES, "utf-8")
    _run(str(stock.program), "testsrc2=s=128x96:r=25:d=0.4[out];sine=d=0.4[sound]", folder / "clip.nut")
    todo = cases(filters)
    rows: list[Frames] = []
    progress(0, len(todo))
    with ThreadPoolExecutor(max(1, jobs)) as pool:
        for row in pool.map(lambda case: _compare(str(stock.program), wrapper, case, folder), todo):
            rows.append(row)
            progress(len(rows), len(todo))
    return rows


def _check_frames(report: Report) -> None:
    wrong = [row.graph for row in report.frames if not row.is_good]
    if wrong:
        report.failures.append(f"{len(wrong)} graphs of stock filters give something else: {_some(wrong, 3)}")
    if sum(not row.note for row in report.frames) < 10:
        reason = next((row.note for row in report.frames if row.note), "it has too few filters")
        report.failures.append(f"fewer than ten graphs could be compared: {reason}")


def _compare(stock: str, wrapper: str, case: Case, folder: Path) -> Frames:
    graph = case.graph.replace("{subtitles}", str(folder / "words.srt")).replace(
        "{clip}", str(folder / "clip.nut")
    )
    before, reason = _run(stock, graph)
    if not before:
        return Frames(case.shown, "", "", f"the stock ffmpeg cannot run it here: {reason}")
    after, reason = _run(wrapper, graph)
    if after != before:
        again, _ = _run(stock, graph)
        if again != before:
            return Frames(case.shown, before, after, "the stock ffmpeg gives something else every time")
    return Frames(case.shown, before, after or f"failed: {reason}")


def _run(program: str, graph: str, out: Path | None = None) -> tuple[str, str]:
    """The digest over ``framemd5`` of all that a graph gives, and the last line said; "" for a failure."""
    command = [program, "-nostdin", "-hide_banner", "-v", "error", "-filter_complex", graph, "-map", "[out]"]
    command += ["-map", "[sound]", "-y", "-c:v", "ffv1", "-c:a", "pcm_s16le", str(out)] if out else []
    command += [] if out else ["-fflags", "+bitexact", "-f", "framemd5", "-"]
    try:
        done = subprocess.run(
            command, env=environment(), stdin=subprocess.DEVNULL, capture_output=True, text=True,
            errors="replace", check=False, timeout=120,
        )  # fmt: skip
    except subprocess.TimeoutExpired:
        return "", "it did not end within two minutes"
    said = last_line(done.stderr) if done.stderr.strip() else f"exit code {done.returncode}"
    frames = done.stdout.encode()
    return ("" if done.returncode or b"\n0," not in frames else hashlib.sha256(frames).hexdigest()), said


def _check_ours(wrapper: str, report: Report) -> None:
    """Our filters on a small clip: frames have to come out."""
    for name, words in _OURS.items():
        graph = f"testsrc2=s=160x120:r=10:d=0.4,format=yuv420p,{words},showinfo[out]"
        command = [wrapper, "-nostdin", "-hide_banner", "-v", "info", "-nostats", "-filter_complex", graph]
        try:
            done = subprocess.run(
                [*command, "-map", "[out]", "-f", "null", "-"], env=environment(), stdin=subprocess.DEVNULL,
                capture_output=True, text=True, errors="replace", check=False, timeout=300,
            )  # fmt: skip
        except subprocess.TimeoutExpired:
            report.failures.append(f"{name} did not end within five minutes")
            continue
        report.ours[name] = len(re.findall(r"\] n: *\d+ ", done.stderr))
        if done.returncode != 0 or report.ours[name] < 4:
            said = [line for line in done.stderr.splitlines() if name in line and "Parsed_" in line]
            reason = said[0] if said else last_line(done.stderr)
            report.failures.append(f"{name} does not run: {reason}")


def _some(names: Sequence[str] | set[str], most: int = 12) -> str:
    ordered = sorted(names)
    rest = f" and {len(ordered) - most} more" if len(ordered) > most else ""
    return ", ".join(ordered[:most]) + rest


def to_markdown(report: Report) -> str:
    """The same for people."""
    compared = [row for row in report.frames if not row.note]
    good = sum(row.is_good for row in compared)
    added = sorted(set(report.filters_after) - set(report.filters_before))
    lines = [
        f"# Drop-in for {report.stock['program']}, FFmpeg {report.stock['version']}",
        "",
        "Good: all checks passed." if report.passed else "NOT GOOD:",
        *(f"- {sentence}" for sentence in report.failures),
        "",
        "| | stock | drop-in |",
        "|---|---|---|",
        f"| filters | {len(report.filters_before)} | {len(report.filters_after)} |",
        f"| exported symbols | {report.exports_before} | {report.exports_after} |",
        f"| graphs with the same frames | {len(compared)} | {good} |",
        "",
        f"Filters added: {', '.join(added) or 'none'}.",
        f"Filters missing: {', '.join(report.filters_missing) or 'none'}.",
        f"Filters with less in them: {', '.join(report.filters_poorer) or 'none'}.",
        f"Exported symbols missing: {', '.join(report.exports_missing) or 'none'}; "
        f"added: {', '.join(report.exports_added) or 'none'}.",
        "Bound to the system's libraries: "
        + ", ".join(f"{name} ({count} symbols)" for name, count in report.bound.items())
        + ".",
        f"Libraries it needs that the stock one does not: {', '.join(report.needed_added) or 'none'}; "
        f"the other way round: {', '.join(report.needed_dropped) or 'none'}.",
        "Frames that clarivid's filters gave: "
        + ", ".join(f"{name} {count}" for name, count in report.ours.items())
        + ".",
        "Options of the stock one's configure that are nothing to libavfilter: "
        + (" ".join(report.options_left_out) or "none")
        + ".",
        "",
        "| graph | frames of both |",
        "|---|---|",
    ]
    for row in report.frames:
        state = row.note or ("the same" if row.is_good else "DIFFERENT")
        lines.append(f"| `{row.graph.replace('|', chr(92) + '|')}` | {state} |")
    return "\n".join(lines) + "\n"


__all__ = ["Frames", "Report", "check", "describe", "to_markdown"]
