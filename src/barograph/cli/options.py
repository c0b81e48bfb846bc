"""What commands share: the data directory, the output's form, opening a dashboard, the meaning of exit codes.

The command line imports the engine, numpy and the pages when a command needs them: help, version and usage errors
come at once.
"""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Iterator
from enum import IntEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

import barograph
from barograph.analytics.period import recent
from barograph.core.query import Window, parse_moment
from barograph.core.settings import Settings
from barograph.journal.disk import journal_error
from barograph.visualize.visualizer import Visualizer
from barograph_client.clock import SystemClock
from barograph_client.errors import InvalidInput, InvalidSettings, JournalReadOnly

if TYPE_CHECKING:
    from barograph.dashboard.dashboard_interface import DashboardInterface

DEFAULT_DIRECTORY = "rag-data"


class Exit(IntEnum):
    """Exit codes; docs/cli.md explains each."""

    OK = 0
    FOUND = 1  # the command worked and found what it looks for: differences, problems, a critical state
    USAGE = 2
    INPUT = 3  # something handed in was refused
    LOCKED = 4  # another process owns the data directory
    JOURNAL = 5  # not made durable: disk full, read-only, …
    ENGINE = 6  # the engine did not answer
    FAILED = 70  # a fault in Barograph
    INTERRUPTED = 130
    TERMINATED = 143


DataDir = Annotated[
    Path,
    typer.Option(
        "--data-dir", "-d", envvar="BAROGRAPH_DATA_DIR", help="The data directory.", show_default=True, file_okay=False
    ),
]
Json = Annotated[bool, typer.Option("--json", help="Print JSON, for programs.")]
ProjectName = Annotated[
    str | None,
    typer.Option("--project", envvar="BAROGRAPH_PROJECT", help="Another project than the one of the settings."),
]
Last = Annotated[str | None, typer.Option("--last", help="A window up to now: 90s, 15m, 24h, 7d.", metavar="DURATION")]
From = Annotated[str | None, typer.Option("--from", help="Its beginning: ISO 8601 or -7d.", metavar="MOMENT")]
To = Annotated[str | None, typer.Option("--to", help="Its end: ISO 8601, -1d or now.", metavar="MOMENT")]
Form = Annotated[str, typer.Option("--format", "-f", help="text, json or csv.")]
Charset = Annotated[
    str | None,
    typer.Option("--charset", envvar="BAROGRAPH_CHARSET", help="ascii, unicode or braille; chosen for the terminal."),
]
Width = Annotated[int | None, typer.Option("--width", help="Columns to draw in.", min=20, max=500)]


_OURS = ("control.db", "journal", "archive")  # any of them will do: a backup may hold the journal alone


def is_data_directory(directory: Path) -> bool:
    """Whether Barograph has been there."""
    return any(os.path.exists(directory / name) for name in _OURS)  # pathlib would raise where a folder may not be read


def existing(directory: Path) -> Path:
    """The directory, which must be there: asking questions of nothing is a slip of the hand. Raises InvalidInput."""
    if not is_data_directory(directory):
        raise InvalidInput(
            f"there is no data directory at {directory}",
            hint="Name another with --data-dir or BAROGRAPH_DATA_DIR, make one with `barograph init`, "
            "or try `barograph demo`.",
        )
    return directory


@contextlib.contextmanager
def opened(
    directory: Path,
    *,
    project: str | None = None,
    background: bool = False,
    charset: str | None = None,
    width: int | None = None,
) -> Iterator[DashboardInterface]:
    """The dashboard of a directory, closed at the end whatever happens, seen from a project.

    Raises JournalReadOnly with a way out, and InvalidInput for a project that is not there.
    """
    try:
        dashboard = barograph.DashboardInterface(directory, background=background)
    except JournalReadOnly as error:
        raise _read_only(directory, error) from None
    try:
        seen = dashboard if project is None else dashboard.for_project(project)
        seen.draw_with(visualizer_for(dashboard.settings, charset, width))
        yield seen
    except OSError as error:  # of the engine's folder, which is written when it is first asked
        refused = journal_error(error, f"writing {error.filename}")
        if isinstance(refused, JournalReadOnly) and str(error.filename).startswith(str(directory.absolute())):
            raise _read_only(directory, refused) from error
        raise
    finally:
        dashboard.close()


def _read_only(directory: Path, error: JournalReadOnly) -> JournalReadOnly:
    return JournalReadOnly(
        f"{directory} cannot be used, because it may not be written ({error.message})",
        hint="Barograph writes there also to answer: its lock, its engine, where alerts stand. Get write access, or "
        f"ask a copy: cp -r {directory} COPY, then --data-dir COPY.",
    )


def visualizer_for(settings: Settings, charset: str | None = None, width: int | None = None) -> Visualizer:
    """What draws for standard output as it is now, in the zone of the settings."""
    return Visualizer.for_stream(sys.stdout, os.environ, charset=charset, width=width, timezone=settings.timezone)


def window_of(last: str | None, start: str | None, end: str | None) -> Window | None:
    """The window of the options; None when none was asked for. Raises InvalidQuery or InvalidSettings."""
    now = SystemClock().now()
    if start is not None or end is not None:
        if last is not None:
            raise InvalidSettings("--last and --from/--to exclude each other", hint="Use one of them.")
        if start is None:
            raise InvalidSettings("--to needs --from", hint="Say where the window begins.")
        return Window(parse_moment(start, now), parse_moment(end or "now", now))
    return recent(last, now) if last else None
