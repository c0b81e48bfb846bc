"""What commands print: JSON for programs, tables for people, notes and progress on standard error."""

from __future__ import annotations

import os
import sys
from datetime import date, datetime
from typing import TYPE_CHECKING

import msgspec

from barograph.visualize.chart import Chart
from barograph.visualize.exports import json_text
from barograph.visualize.hostile import clean
from barograph.visualize.visualizer import Visualizer

if TYPE_CHECKING:
    from rich.console import Console
    from rich.progress import Progress


def stderr() -> Console:
    """Standard error; colours, when it is a terminal, follow NO_COLOR."""
    from rich.console import Console

    return Console(stderr=True, highlight=False, soft_wrap=True)


def progress(total: int | None, what: str, *, sized: bool = False) -> Progress:
    """A progress bar on standard error, silent when that is no terminal; ``sized`` counts bytes. A context manager."""
    from rich import progress as rich

    done = rich.DownloadColumn() if sized else rich.MofNCompleteColumn()
    columns = (rich.TextColumn(what), rich.BarColumn(), done, rich.TimeElapsedColumn(), rich.TimeRemainingColumn())
    console = stderr()
    bar = rich.Progress(*columns, console=console, transient=True, disable=not console.is_terminal)
    bar.add_task(what, total=total)
    return bar


def note(text: str) -> None:
    """A line for people on standard error; whatever it repeats cannot steer the terminal."""
    print(clean(text, 2000), file=sys.stderr)


def say(text: str) -> None:
    """A line on standard output; whatever it repeats cannot steer the terminal."""
    print(clean(text))


def print_json(value: object) -> None:
    """One JSON document on standard output; times in ISO 8601, UTC."""
    print(json_text(msgspec.to_builtins(value, enc_hook=_plain)))


def draw(chart: Chart, charset: str | None = None, width: int | None = None, timezone: str = "UTC") -> None:
    """A chart or table on standard output, in what the terminal can show."""
    print(Visualizer.for_stream(sys.stdout, os.environ, charset=charset, width=width, timezone=timezone).draw(chart))


def _plain(value: object) -> object:
    if isinstance(value, (datetime, date)):
        return value.isoformat()
    if isinstance(value, os.PathLike):
        return os.fspath(value)
    raise NotImplementedError(type(value).__name__)
