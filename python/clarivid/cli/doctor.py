# SPDX-License-Identifier: BSD-2-Clause
"""``clarivid doctor``: what this machine has, and what is missing for what."""

from __future__ import annotations

import json

import click

from clarivid import doctor


def _line(title: str, text: str) -> None:
    click.echo(f"{title:<12} {text}")


def _print(report: doctor.Report) -> None:
    _line("clarivid", f"{report.clarivid}, Python {report.python}")
    _line("system", report.system)
    _line(
        "cpu",
        f"{report.cpu['model']}, {report.cpu['cores']} cores, {', '.join(report.cpu['features']) or '-'}",
    )
    memory = report.memory_gib
    _line("memory", f"{memory.get('total', 0)} GiB, {memory.get('available', 0)} GiB of it available")
    for gpu in report.gpus:
        capability = f"compute capability {gpu['compute_capability']} ({gpu['sm']})"
        _line("gpu", f"{gpu['name']}, {gpu['memory_gib']} GiB, {capability}")
    _line("gpu driver" if report.gpus else "gpu", report.gpu_note)
    _line("library", report.library.text)
    for part in report.backends:
        _line("  " + part.name, part.text if part.ok else f"no: {part.text}")
    _line("packages", ", ".join(f"{name} {version or '-'}" for name, version in report.packages.items()))
    _line("ffmpeg", report.ffmpeg.text)
    _line("drop-in", report.dropin.text)
    _line("models", ", ".join(report.models) or "none")
    _line("cache", f"{report.cache['folder']}, {report.cache['bytes'] / (1 << 20):,.0f} MiB")
    engines = report.engines
    builders = ", ".join(f"{name} {version}" for name, version in engines["builders"].items())
    folders = ", ".join([*engines["shared"], engines["folder"]])
    runs = f"TensorRT {engines['runs']}" if engines["runs"] else "none"
    _line("engines", f"{engines['entries']} in {folders}; builders: {builders or 'none'}; run by: {runs}")
    for row in engines["status"]:
        _line("", f"{row['gpu']}: {row['model']}: {row['state']}: {row['text']}")
        if row["remedy"]:
            _line("", f"  {row['remedy']}")
    for problem in engines["faults"]:
        _line("", f"no: {problem}")
    click.echo()
    for feature in report.features:
        mark = click.style("yes", fg="green") if feature.ok else click.style("no ", fg="red")
        click.echo(f"{mark}  {feature.name}")
        if not feature.ok:
            click.echo(f"     {feature.remedy}")


@click.command(
    name="doctor",
    epilog="""\b
Examples:
  clarivid doctor
  clarivid doctor --json | jq '.features[] | select(.ok | not)'
""",
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def command(as_json: bool) -> None:
    """Say what this machine has, and what is missing for what.

    Looks at the processor, GPUs, runtimes, FFmpeg, models and the cache; changes nothing. For everything that
    is not possible here it says why and what to do.
    """
    report = doctor.examine()
    if as_json:
        click.echo(json.dumps(report.to_json(), indent=2))
    else:
        _print(report)
