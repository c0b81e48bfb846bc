"""Where the command line starts: the list of commands, and what each error means for whoever called.

Errors of ours are one line on standard error with a hint, and an exit code of their own; anything else is a fault
and shows where it happened.
"""

from __future__ import annotations

import os
import signal
import sys
from types import FrameType
from typing import Annotated

import click
import typer

import barograph
from barograph.cli import care, events, questions, replay
from barograph.cli.options import Exit
from barograph.cli.output import note
from barograph.core.errors import BarographError, DirectoryLocked, EngineError, InvalidInput, JournalError

app = typer.Typer(
    name="barograph",
    help="The recording instrument for RAG systems: records, shows, warns, explains, settles by experiment.",
    epilog="Exit codes: 0 well · 1 found something · 2 usage · 3 refused input · 4 directory in use · 5 journal · "
    "6 engine · 130 interrupted. Every command takes --data-dir (or BAROGRAPH_DATA_DIR) and --json.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
for command in (
    replay.demo,
    events.init,
    events.record,
    events.annotate,
    questions.status,
    questions.show,
    questions.report,
    questions.query,
    questions.metrics,
    care.verify,
    care.rebuild,
    care.prune,
    care.compress,
    care.doctor,
):
    app.command()(command)


def _version(wanted: bool) -> None:
    if wanted:
        print(f"barograph {barograph.__version__}")
        raise typer.Exit


@app.callback()
def start(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """The recording instrument for RAG systems: records, shows, warns, explains, settles by experiment."""


def main() -> None:
    """Run the command line and end the process with its exit code."""
    signal.signal(signal.SIGTERM, _end)
    try:
        code = app(standalone_mode=False) or Exit.OK
    except click.ClickException as error:
        error.show()
        code = Exit.USAGE
    except (KeyboardInterrupt, click.Abort):
        note("interrupted; what was acknowledged is kept")
        code = Exit.INTERRUPTED
    except BrokenPipeError:  # whoever read our output has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        code = Exit.OK
    except BarographError as error:
        note(f"barograph: {error}")
        code = code_of(error)
    sys.exit(int(code))


def code_of(error: BarographError) -> Exit:
    """The exit code that tells a program what kind of error it was."""
    if isinstance(error, DirectoryLocked):
        return Exit.LOCKED
    for kind, code in ((InvalidInput, Exit.INPUT), (JournalError, Exit.JOURNAL), (EngineError, Exit.ENGINE)):
        if isinstance(error, kind):
            return code
    return Exit.FAILED


def _end(signum: int, frame: FrameType | None) -> None:
    """SIGTERM ends as Ctrl-C does: what is open is closed."""
    raise SystemExit(128 + signum)
