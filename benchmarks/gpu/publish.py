# SPDX-License-Identifier: BSD-2-Clause
"""Puts what tools/gpu_check.sh measured into benchmarks/results/ and into the table of docs/cuda.md.

  python benchmarks/gpu/publish.py out/gpu/bench.json out/gpu/summary.json

Results of the emulator, and those of a run in which a test failed, are refused.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import click

ROOT = Path(__file__).resolve().parent.parent.parent
BEGIN, END = "<!-- measured: begin -->", "<!-- measured: end -->"


def read(path: Path, what: str) -> dict[str, Any]:
    """A JSON file that says that it is ``what``, of a real GPU."""
    record: dict[str, Any] = json.loads(path.read_text("utf-8"))
    if record.get("what") != what:
        raise click.ClickException(f"{path} is no {what} but {record.get('what')}")
    if record.get("emulated", True):
        raise click.ClickException(f"{path} is of the emulator: it says nothing about a GPU")
    return record


def origin(summary: dict[str, Any], root: Path) -> str:
    """What was measured: this checkout's commit when its sources are the same, else the sources' digest."""
    sys.path.insert(0, str(ROOT / "tools"))
    from gpu_report import sources_digest

    digest = str(summary["sources"])
    command = ["git", "-C", str(root), "rev-parse", "--short=12", "HEAD"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode == 0 and sources_digest(root) == digest:
        return f"commit `{done.stdout.strip()}`"
    return f"sources `{digest[:12]}`"


def table(bench: dict[str, Any], summary: dict[str, Any], sources: str) -> str:
    """The lines between the marks of docs/cuda.md."""
    limits, about = bench["ceilings"], summary["environment"]
    state = about["state"]
    driver = f", driver {state['driver_version']}" if isinstance(state, dict) else ""
    product = limits["fp16_tflop_s"]
    lines = [
        f"{bench['gpu']}{driver}, {bench['date']}, {sources}. Measured there: "
        f"a copy moves {limits['copy_gb_s']:.0f} GB/s, read and written"
        + (f"; a matrix product in fp16 does {product:.0f} TFLOP/s." if product else "."),
        "",
        "| what | net | size | format | ms | fps | floor, ms | GB/s | TFLOP/s |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for row in bench["rows"]:
        cells = [
            row["what"],
            row["model"],
            row["size"],
            row["format"],
            f"{row['ms']:.3f}",
            f"{row['fps']:.0f}",
        ]
        if row["floor_ms"] is not None:
            cells += [f"{row['floor_ms']:.3f}", f"{row['gb_s']:.0f}", f"{row['tflop_s']:.1f}"]
        else:
            cells += ["", "", ""]
        lines.append("| " + " | ".join(cells) + " |")
    lines += ["", *(f"- Left out: {line}" for line in bench["left_out"])]
    return "\n".join(lines).rstrip()


@click.command(help=__doc__, context_settings={"help_option_names": ["-h", "--help"]})
@click.argument("bench_file", type=click.Path(path_type=Path, exists=True))
@click.argument("summary_file", type=click.Path(path_type=Path, exists=True))
@click.option(
    "--root", type=click.Path(path_type=Path), default=ROOT, help="The checkout that is written to."
)
def main(bench_file: Path, summary_file: Path, root: Path) -> None:
    """Entry point."""
    bench, summary = read(bench_file, "gpu_bench"), read(summary_file, "gpu_check")
    bad = [step["step"] for step in summary["steps"] if step["result"] in ("failed", "overdue")]
    bad += [failure["test"] for failure in (summary["tests"] or {}).get("failed", [])]
    if bad:
        raise click.ClickException(f"in that run failed: {', '.join(bad)}; what is wrong has no speed")
    name = re.sub(r"[^a-z0-9]+", "_", bench["gpu"].lower()).strip("_")
    out = root / "benchmarks" / "results" / f"gpu_{name}.json"
    out.write_text(json.dumps({"bench": bench, "check": summary}, indent=1) + "\n", "utf-8")
    page = root / "docs" / "cuda.md"
    text = page.read_text("utf-8")
    before, begin, rest = text.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise click.ClickException(f"{page} has lost the marks {BEGIN} and {END}")
    page.write_text(f"{before}{BEGIN}\n{table(bench, summary, origin(summary, root))}\n{END}{after}", "utf-8")
    click.echo(f"{out}\n{page}")


if __name__ == "__main__":
    main()
