# SPDX-License-Identifier: BSD-2-Clause
"""``clarivid completion``: what a shell has to know to complete commands, options and their values."""

from __future__ import annotations

import click

SHELLS = ("bash", "zsh", "fish")
VARIABLE = "_CLARIVID_COMPLETE"  # set by the script when the shell wants proposals


@click.command(
    name="completion",
    epilog="""\b
Examples:
  eval "$(clarivid completion bash)"                                      in ~/.bashrc
  eval "$(clarivid completion zsh)"                                       in ~/.zshrc, after compinit
  clarivid completion fish > ~/.config/fish/completions/clarivid.fish
""",
)
@click.argument("shell", type=click.Choice(SHELLS))
def command(shell: str) -> None:
    """Print the script that makes SHELL complete clarivid's commands, options and files.

    The script asks clarivid itself, so it stays right when clarivid is upgraded.
    """
    from click.shell_completion import get_completion_class

    from clarivid.cli import cli

    kind = get_completion_class(shell)
    assert kind is not None
    made = kind(cli, {}, "clarivid", VARIABLE)
    # Not made.source(): for bash it runs bash first, to warn of old versions, where there may be none.
    click.echo(made.source_template % made.source_vars())


__all__ = ["command"]
