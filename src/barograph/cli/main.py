"""Where the command line starts: the list of commands, and what each error means for whoever called.

Errors of ours are one line on standard error with a hint, and an exit code of their own; anything else is a fault
and shows where it happened. Typer tells usage errors itself, with code 2.
"""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import traceback
from collections.abc import Callable, Iterator
from types import FrameType, ModuleType
from typing import Annotated, cast

import typer

import barograph
from barograph.cli import (
    alerts,
    care,
    events,
    experiments,
    incidents,
    keys,
    listing,
    open_alerts,
    projects,
    questions,
    replay,
    rules,
    serve,
    silences,
)
from barograph.cli.options import Exit
from barograph.cli.output import note
from barograph_client.errors import BarographError, DirectoryLocked, EngineError, InvalidInput, JournalError

app = typer.Typer(
    name="barograph",
    help="The recording instrument for RAG systems: records, shows, warns, explains, settles by experiment.",
    epilog="Exit codes: 0 well · 1 found something · 2 usage · 3 refused input · 4 directory in use · 5 journal · "
    "6 engine · 70 a fault · 130 Ctrl-C · 143 SIGTERM. "
    "Every command takes --data-dir (or BAROGRAPH_DATA_DIR) and --json.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


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


def code_of(error: BarographError) -> Exit:
    """The exit code that tells a program what kind of error it was."""
    if isinstance(error, DirectoryLocked):
        return Exit.LOCKED
    for kind, code in ((InvalidInput, Exit.INPUT), (JournalError, Exit.JOURNAL), (EngineError, Exit.ENGINE)):
        if isinstance(error, kind):
            return code
    return Exit.FAILED


@contextlib.contextmanager
def exit_codes() -> Iterator[None]:
    """What goes wrong inside ends the process with the code that says so. Around each command: Typer swallows some."""
    try:
        yield
        sys.stdout.flush()  # a reader who has gone is noticed here and not when the interpreter ends
    except typer.Exit:
        raise
    except KeyboardInterrupt:
        note("interrupted; what was acknowledged is kept")
        raise SystemExit(Exit.INTERRUPTED) from None
    except SystemExit as end:
        if end.code == Exit.TERMINATED:
            note("ended by SIGTERM; what was acknowledged is kept")
        raise
    except BrokenPipeError:  # whoever read our output has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except BarographError as error:
        note(f"barograph: {error}")
        raise SystemExit(code_of(error)) from None


for command in (
    replay.demo,
    events.init,
    serve.serve,
    events.record,
    events.annotate,
    questions.status,
    questions.show,
    questions.trace,
    questions.report,
    questions.query,
    listing.queries,
    questions.metrics,
    care.verify,
    care.rebuild,
    care.prune,
    care.compress,
    care.doctor,
):
    app.command()(exit_codes()(command))


GROUPS: tuple[tuple[str, str, dict[str, Callable[..., None]]], ...] = (
    (
        "alerts",
        "Alerts: what stands and why, silences, and rules before they are used.",
        {
            "list": open_alerts.listed,
            "history": incidents.history,
            "ack": open_alerts.ack,
            "unack": open_alerts.unack,
            "silence": silences.silence,
            "silences": silences.silences,
            "unsilence": silences.unsilence,
            "rules": rules.listed,
            "add": rules.add,
            "remove": rules.remove,
            "test": alerts.backtest,
            "check": alerts.check,
            "export": alerts.export,
        },
    ),
    (
        "experiment",
        "Experiments: define, start and stop them, and read the verdict.",
        experiments.VERBS,
    ),
    (
        "key",
        "API keys: who may send to a project, and who may read it.",
        {"create": keys.create, "list": keys.listed, "revoke": keys.revoke},
    ),
    (
        "project",
        "Projects: each with events, keys, alerts and experiments of its own.",
        {"create": projects.create, "list": projects.listed},
    ),
)
for name, about, verbs in GROUPS:
    group = typer.Typer(
        name=name,
        help=about,
        no_args_is_help=True,
        rich_markup_mode=None,
        context_settings={"help_option_names": ["-h", "--help"]},
    )
    for verb, run in verbs.items():
        group.command(verb)(exit_codes()(run))
    app.add_typer(group)


def main() -> None:
    """Run the command line and end the process with its exit code."""
    signal.signal(signal.SIGTERM, _end)
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # its threads spin while they wait, and nothing here needs them
    # The engine's Python layer would load it for tables that we never ask for: 27 MB and a blink. None is "not there".
    sys.modules.setdefault("pyarrow", cast("ModuleType", None))
    try:
        app(prog_name="barograph")
    except Exception:
        sys.exit(_fault())


def _fault() -> Exit:
    traceback.print_exc()
    note("barograph: this is a fault in Barograph; please report it with the lines above")
    return Exit.FAILED


def _end(signum: int, frame: FrameType | None) -> None:
    """SIGTERM ends as Ctrl-C does: what is open is closed."""
    raise SystemExit(Exit.TERMINATED)
