"""Commands for whoever runs it: ``verify``, ``rebuild``, ``prune``, ``compress``, ``doctor``."""

from __future__ import annotations

import os
import platform
import sys
from collections.abc import Iterator
from datetime import date
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import msgspec
import typer

import barograph
from barograph.cli.alerts import checked
from barograph.cli.desk import desk_of
from barograph.cli.options import DEFAULT_DIRECTORY, DataDir, Exit, Json, existing, is_data_directory
from barograph.cli.output import draw, print_json, stderr
from barograph.core.event import KINDS
from barograph.core.query import parse_duration
from barograph.core.settings import FILE_NAME
from barograph.core.unit import counted
from barograph.visualize.charset import choose, test_pattern
from barograph.visualize.chart import Column, Table
from barograph_client.errors import BarographError, InvalidInput

if TYPE_CHECKING:
    from barograph.dashboard.doctor import Finding
    from barograph.store.verification import Report

LONGEST = 600  # characters of what doctor has found
_START = "a server can start"
_MADE = "`barograph init` makes it"


def verify(data_dir: DataDir = Path(DEFAULT_DIRECTORY), json: Json = False) -> None:
    """Compare journal and engine by kind and day, rollups included. Exit code 1 when they differ."""
    with desk_of(existing(data_dir)) as desk, stderr().status("comparing journal and engine"):
        found = desk.verify()
    _tell(found, json)


def rebuild(
    day: Annotated[str | None, typer.Option("--day", help="Only this day of arrival, YYYY-MM-DD.")] = None,
    data_dir: DataDir = Path(DEFAULT_DIRECTORY),
    json: Json = False,
) -> None:
    """Make the engine again from the journal, whole or one day, and verify it."""
    try:
        wanted = date.fromisoformat(day) if day else None
    except ValueError:
        raise InvalidInput("not a day", hint="Write YYYY-MM-DD.", value=day) from None
    with desk_of(existing(data_dir)) as desk, stderr().status("making the engine again from the journal"):
        found = desk.rebuild(wanted)
    _tell(found, json)


def prune(
    older_than: Annotated[str, typer.Option("--older-than", help="Age by day of arrival, such as 30d.")],
    kind: Annotated[list[str] | None, typer.Option("--kind", "-k", help="Only these kinds of events.")] = None,
    data_dir: DataDir = Path(DEFAULT_DIRECTORY),
    json: Json = False,
) -> None:
    """Retire raw events of days older than that. Their rollups are exported first and go on answering."""
    unknown = [name for name in kind or () if name not in KINDS]
    if unknown:
        raise InvalidInput("no such kind of event", hint=f"Use {', '.join(KINDS)}.", value=unknown[0])
    parse_duration(older_than)
    with desk_of(existing(data_dir)) as desk, stderr().status("retiring raw days"):
        done = desk.prune(older_than, kind or ())
    if json:
        print_json(done)
    elif done:
        columns = [Column(title="day"), Column(title="kind"), Column(title="events")]
        draw(Table(title="Retired", columns=columns, rows=[(str(p.day), p.kind, p.events) for p in done]))
    else:
        print(f"No raw day is older than {older_than}.")


def compress(data_dir: DataDir = Path(DEFAULT_DIRECTORY), json: Json = False) -> None:
    """Compress the journal's closed days; they are read as before. A running Barograph does this by itself."""
    with desk_of(existing(data_dir)) as desk, stderr().status("compressing closed days"):
        count = desk.compress()
    print_json({"segments": count}) if json else print(f"{counted(count, 'segment')} compressed.")


def doctor(data_dir: DataDir = Path(DEFAULT_DIRECTORY), json: Json = False) -> None:
    """Check the installation, the data directory and the terminal. Exit code 1 when something is wrong."""
    findings = [*_installation(), *_directory(data_dir)]
    if json:
        print_json(findings)
    else:
        rows = [("ok" if f.ok else "PROBLEM", f.about, f.says) for f in findings]
        columns = [Column(title=""), Column(title="what"), Column(title="found", most=LONGEST, wraps=True)]
        draw(Table(title=f"Barograph {barograph.__version__}", columns=columns, rows=rows))
        terminal = choose(sys.stdout, os.environ)
        print(f"\nThis terminal is drawn in {terminal.charset}, {terminal.width} columns. It should show:")
        print(test_pattern(terminal.charset))
    if not all(finding.ok for finding in findings):
        raise typer.Exit(Exit.FOUND)


def _installation() -> list[Finding]:
    from barograph.dashboard.doctor import Finding

    parts = ("chdb-core", "clickhouse-connect", "msgspec", "numpy")
    return [
        Finding(about="python", ok=sys.version_info >= (3, 11), says=platform.python_version()),
        Finding(about="libraries", ok=True, says=", ".join(f"{part} {version(part)}" for part in parts)),
    ]


def _directory(directory: Path) -> list[Finding]:
    from barograph.dashboard.doctor import Finding

    found = list(_settings(directory))
    if not is_data_directory(directory):
        return [*found, Finding(about="data directory", ok=True, says=f"{directory} is not there yet; {_MADE}")]
    try:
        with desk_of(directory) as desk:
            found += desk.findings()
    except BarographError as error:
        if not (isinstance(error, InvalidInput) and any(not one.ok for one in found)):  # of which it is told already
            found.append(Finding(about="data directory", ok=False, says=str(error)))
    return found


def _settings(directory: Path) -> Iterator[Finding]:
    """What would keep a server from starting with the settings as they are now."""
    from barograph.dashboard.doctor import Finding

    file = directory / FILE_NAME
    try:
        problems = checked(file, directory).problems if file.is_file() else ()
    except BarographError as error:
        yield Finding(about=_START, ok=False, says=f"no; {error}")
        return
    for one in problems:
        line = f"line {one.line}: " if one.line else ""
        yield Finding(about=_START, ok=False, says=f"no; {line}{one.about}{one.problem}. {one.hint}")
    if not problems:
        yield Finding(about=_START, ok=True, says="yes, with these settings")


def _tell(found: Report, json: bool) -> None:
    if json:
        print_json({"ok": found.ok, **msgspec.to_builtins(found)})
    else:
        kinds = sorted(found.journal.keys() | found.engine.keys())
        rows = [(kind, found.journal.get(kind, 0), found.engine.get(kind, 0)) for kind in kinds]
        columns = [Column(title="kind"), Column(title="journal"), Column(title="engine")]
        note = f"{counted(found.days, 'day')} of arrival, {counted(found.set_aside, 'line')} set aside"
        draw(Table(title="Journal and engine", columns=columns, rows=rows, note=note))
        for difference in found.differences:
            print(
                f"{difference.day} {difference.kind}: {difference.table} holds {difference.found}, "
                f"the journal {difference.expected}"
            )
        print("They agree." if found.ok else "They differ. `barograph rebuild` makes the engine again.")
    if not found.ok:
        raise typer.Exit(Exit.FOUND)
