# SPDX-License-Identifier: BSD-2-Clause
"""The ``clarivid`` command: a table of subcommands, each loaded only when it is called.

A subcommand is one module ``clarivid/cli/<name>.py`` with a ``command: click.Command``. Modules here parse
and print; the work is done by library modules. Errors of the library reach the user as one line on stderr.
"""

from __future__ import annotations

import importlib
import importlib.util
import os
import sys
from typing import TYPE_CHECKING, Any

import click

from clarivid.errors import Error

if TYPE_CHECKING:
    from click.shell_completion import CompletionItem

# Name -> one line of help. Kept here so that `clarivid --help` imports no subcommand.
COMMANDS: dict[str, str] = {
    "ffmpeg": "Build FFmpeg with clarivid's filters; print where it is.",
    "models": "List, show and verify model bundles.",
    "engines": "Build, list, verify and prune engines: nets compiled for one GPU.",
    "doctor": "What this machine has, and what is missing for what.",
    "train": "Train a net.",
    "data": "Fetch and pack training pictures.",
    "export": "Turn trained weights into a model bundle.",
    "parity": "Check that PyTorch, the runtime and the filter give the same pixels.",
    "mask": "Masks of what moves, or of people, for mesh_inpaint.",
    "score": "PSNR, SSIM and VMAF of one clip against another.",
    "compare": "Two videos side by side: a page with pictures, scores and bits.",
    "temporal": "Inter bits, skipped blocks and flicker of a still, noisy scene.",
    "rd": "Rate-distortion: what a filter before the encoder saves.",
    "bench": "A filter against truth and against its rivals.",
    "run": "Run a chain of filters on a file.",
    "completion": "Print the script for completion in bash, zsh or fish.",
}

EXAMPLES = """\b
Examples:
  clarivid ffmpeg build          get FFmpeg, add the filters, build it (once)
  clarivid models list           the models that can be named in model=
  clarivid doctor                what this machine can run, and why not
  clarivid run dnn_sr=model=game_x2 in.mp4 out.mp4
  $(clarivid ffmpeg path) -i in.mp4 -vf dnn_sr=model=game_x2 out.mp4
  eval "$(clarivid completion bash)"

\b
Exit codes:
  0    done
  1    an error, or a check that did not pass; stderr says which in one sentence
  2    wrong usage: an unknown command or option, a value of the wrong kind
  130  interrupted (Ctrl-C)

\b
Results go to stdout, everything else to stderr. CLARIVID_CACHE says where built and fetched things lie, and
CLARIVID_MODEL_PATH adds folders with models.
"""

# Imported by commands that a base installation has no packages for -> what pip installs.
EXTRAS = {
    "PIL": "compare",
    "bjontegaard": "train",
    "cv2": "train",
    "imageio_ffmpeg": "compare",
    "onnx": "train",
    "safetensors": "train",
    "torch": "train",
}

EXIT_ERROR = 1
EXIT_INTERRUPTED = 130  # 128 + SIGINT, as shells report it


def available() -> dict[str, str]:
    """Return the subcommands whose module is there, with their line of help."""
    return {name: text for name, text in COMMANDS.items() if importlib.util.find_spec(f"clarivid.cli.{name}")}


class LazyGroup(click.Group):
    """A click group that imports ``clarivid.cli.<name>`` when that subcommand is called, not before."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(available())

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in available():
            return None
        command = importlib.import_module(f"clarivid.cli.{cmd_name}").command
        assert isinstance(command, click.Command)
        return command

    def shell_complete(self, ctx: click.Context, incomplete: str) -> list[CompletionItem]:
        """Commands out of the table, so that the Tab key imports no subcommand; and options."""
        from click.shell_completion import CompletionItem

        names = {name: text for name, text in available().items() if name.startswith(incomplete)}
        found = [CompletionItem(name, help=text) for name, text in names.items()]
        return found + click.Command.shell_complete(self, ctx, incomplete)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        rows = list(available().items())
        if rows:
            with formatter.section("Commands"):
                formatter.write_dl(rows)


def _print_version(ctx: click.Context, _param: click.Parameter, value: bool) -> None:
    if not value or ctx.resilient_parsing:
        return
    import clarivid

    click.echo(f"clarivid {clarivid.__version__}")
    ctx.exit()


@click.group(
    cls=LazyGroup,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110},
    epilog=EXAMPLES,
)
@click.option("--debug", is_flag=True, help="Show the Python traceback of an error.")
@click.option(
    "--version",
    is_flag=True,
    expose_value=False,
    is_eager=True,
    callback=_print_version,
    help="Print the version and exit.",
)
@click.pass_context
def cli(ctx: click.Context, debug: bool) -> None:
    """Neural video filters for FFmpeg.

    `clarivid COMMAND --help` explains a command and gives examples.
    """
    ctx.obj = {"debug": debug}


def main(args: list[str] | None = None) -> None:
    """Run the command line and exit: 0 done, 1 an error, 2 wrong usage, 130 interrupted.

    :param args: arguments without the program's name; None takes those of the process.
    """
    arguments = sys.argv[1:] if args is None else args
    try:
        result: Any = cli.main(args=arguments, prog_name="clarivid", standalone_mode=False)
    except (Exception, KeyboardInterrupt) as error:
        if "--debug" in arguments or os.environ.get("CLARIVID_DEBUG"):
            raise
        sys.exit(_report(error))
    sys.exit(result if isinstance(result, int) else 0)


def _report(error: BaseException) -> int:
    """Say what failed in one line on stderr and return the exit code; raise again what is a bug of ours."""
    if isinstance(error, click.exceptions.Abort | KeyboardInterrupt):  # Abort: Ctrl-C or EOF at a prompt
        click.echo("clarivid: interrupted", err=True)
        return EXIT_INTERRUPTED
    if isinstance(error, click.UsageError):
        error.show()
        return error.exit_code
    if isinstance(error, BrokenPipeError):
        # `clarivid models list | head`: the reader has gone; that is not our error. The interpreter would
        # try to flush stdout once more at exit, so give it somewhere to flush to.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return EXIT_ERROR
    if isinstance(error, click.ClickException):
        sentence = error.format_message()
    elif isinstance(error, Error):
        sentence = str(error)
    elif (
        isinstance(error, ModuleNotFoundError) and (package := (error.name or "").partition(".")[0]) in EXTRAS
    ):
        sentence = f"This needs the Python package {package}: pip install 'clarivid[{EXTRAS[package]}]'"
    elif isinstance(error, OSError) and error.filename is not None:
        sentence = f"{error.filename}: {error.strerror}"  # a full disk, a folder that may not be written, ...
    else:
        raise error
    click.echo(f"clarivid: error: {sentence}", err=True)
    return EXIT_ERROR


__all__ = ["COMMANDS", "available", "cli", "main"]
