"""Commands for alert rules: play one over stored data, look at a file of them, write them for Prometheus."""

from __future__ import annotations

import contextlib
import math
import os
from collections.abc import Callable, Iterator
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from barograph.analytics.period import recent
from barograph.cli.desk import Trial, desk_of
from barograph.cli.options import (
    DEFAULT_DIRECTORY,
    DataDir,
    Exit,
    From,
    Json,
    Last,
    ProjectName,
    To,
    existing,
    window_of,
)
from barograph.cli.output import draw, print_json, progress
from barograph.core.settings import FILE_NAME
from barograph.core.unit import counted, format_value
from barograph.core.zone import local_time, zone_of
from barograph.visualize.chart import Column, Page, Panel, Table, Text
from barograph_client.clock import SystemClock
from barograph_client.errors import shorten

if TYPE_CHECKING:
    from barograph.alerts.backtest import Backtest
    from barograph.dashboard.rule_file import RuleFile, RuleProblem

USUAL = "30d"
MOST_SHOWN = 20  # firings in the table
MUCH = 0.1  # of the time it fires, from which on it is said that there were no data in it
LEAST_JUDGED = 86400.0  # seconds, from which on it is said how often a month that is


def backtest(
    rule: Annotated[str, typer.Argument(help="The rule's name.", metavar="RULE")],
    last: Last = None,
    start: From = None,
    end: To = None,
    file: Annotated[
        Path | None, typer.Option("--file", help="Take the rule from this file: one that is not in use yet.")
    ] = None,
    project: ProjectName = None,
    data_dir: DataDir = Path(DEFAULT_DIRECTORY),
    json: Json = False,
) -> None:
    """Say when a rule would have fired on stored data, for how long, and how often a month. 30 days unless asked.

    \b
    barograph alerts test "slow responses" --last 7d
    barograph alerts test "costly hour" --file draft.toml
    """
    from barograph.dashboard.rule_file import read_rules

    window = window_of(last, start, end) or recent(USUAL, SystemClock().now())
    definition = read_rules(file).rule(rule) if file is not None else None
    trial = Trial(window=(window.start, window.end), rule="" if definition else rule, definition=definition)
    with desk_of(existing(data_dir), project) as desk, _told_of("looking back") as tell:
        found, timezone = desk.backtest(trial, tell)
    if json:
        print_json(found)
    else:
        draw_backtest(found, timezone)


def check(
    file: Annotated[
        Path | None, typer.Argument(help=f"A file of settings; the data directory's {FILE_NAME} if absent.")
    ] = None,
    data_dir: DataDir = Path(DEFAULT_DIRECTORY),
    json: Json = False,
) -> None:
    """Say all that would keep a server from starting with a file: what, its line, what to write instead. 1 if any is.

    Rules, receivers with their secrets, routes and all other settings, with the variables that are set here.

    \b
    barograph alerts check draft.toml
    """
    found = checked(file or data_dir / FILE_NAME, data_dir)
    if json:
        print_json(found)
    else:
        _tell(found)
    if found.problems:
        raise typer.Exit(Exit.FOUND)


def export(
    file: Annotated[
        Path | None, typer.Argument(help=f"A file with [[rules]]; the data directory's {FILE_NAME} if absent.")
    ] = None,
    prometheus: Annotated[
        bool,
        typer.Option("--prometheus", help="As a rule file of Prometheus: the one form there is, also without this."),
    ] = False,
    data_dir: DataDir = Path(DEFAULT_DIRECTORY),
) -> None:
    """Write the rules for Prometheus, to standard output: over what this server's /metrics serves of them.

    \b
    barograph alerts export --prometheus > barograph.rules.yml
    """
    from barograph.dashboard.rule_file import export_rules

    print(export_rules(file or data_dir / FILE_NAME), end="")


def checked(file: Path, directory: Path) -> RuleFile:
    """What a file holds, and all that would keep a server of that data directory from starting with it here."""
    from barograph.control.database import CONTROL, ControlPlane
    from barograph.control.keys import KeyRepository
    from barograph.dashboard.rule_file import check_file
    from barograph.server.serve import check as serving

    keys_exist = True  # whether they do is only known where there is a directory
    if (directory / CONTROL).is_file():
        with ControlPlane(directory / CONTROL, SystemClock()) as plane:
            keys_exist = KeyRepository(plane).any()
    return check_file(file, os.environ, lambda server: serving(server, keys_exist=keys_exist))


@contextlib.contextmanager
def _told_of(what: str) -> Iterator[Callable[[float], None]]:
    """A bar on a terminal, moved by the share that is done; a server does not tell it, and then it says how long."""
    with progress(None, what) as bar:
        yield lambda share: bar.update(bar.task_ids[0], total=100, completed=round(100 * share))


def draw_backtest(found: Backtest, timezone: str) -> None:
    """What a rule would have done, for people."""
    from barograph.alerts.schedule import INTERVAL_SECONDS

    zone = zone_of(timezone)

    def clock(moment: datetime) -> str:
        return local_time(moment, zone)

    times = counted(len(found.firings), "time")
    over = f"{clock(found.window.start)} to {clock(found.window.end)}"
    live = "as when it is live" if found.step_seconds == INTERVAL_SECONDS else "live it is every 15 s"
    looked = f"Looked at every {format_value(found.step_seconds, 's')}, {over}; {live}."
    if found.coarse_until is not None:
        every = format_value(found.coarse_seconds, "s")
        looked += f" Up to {clock(found.coarse_until)} it was every {every}: raw events of that time are gone."
    if found.firings:
        often = f"at least {times}" if found.gap_seconds else f"{times}{_a_month(found)}"
        told = (
            f"It would have fired {often}: "
            f"{format_value(found.firing_seconds, 's')} in all, {format_value(found.longest_seconds, 's')} the longest."
        )
    else:
        told = (
            "It would never have fired." if not found.gap_seconds else "It cannot be said whether it would have fired."
        )
    if found.gap_seconds:
        told += f" {_gaps(found)}"
    parts: list[Text | Table] = [Text(text=found.condition), Text(text=looked, tone="muted"), Text(text=told)]
    if found.blind:
        share = format_value(found.blind / max(1, found.steps), "ratio")
        parts.append(
            Text(text=f"{share} of the looks had nothing to judge by: no data, or too few events.", tone="muted")
        )
    if found.blind_seconds > found.firing_seconds * MUCH:
        blind = format_value(found.blind_seconds, "s")
        said = f'{blind} long something fired on without data to judge it by: no_data = "ok" would resolve it then.'
        parts.append(Text(text=said, tone="warning"))
    if found.firings:
        columns = [Column(title=title) for title in ("fired", "for", "worst", "group")]
        rows = [
            (
                clock(one.fired_at),
                format_value(((one.resolved_at or found.window.end) - one.fired_at).total_seconds(), "s")
                + ("" if one.resolved_at else ", still firing"),
                format_value(one.worst, found.unit),
                ", ".join(f"{name} {shorten(value, 40)}" for name, value in one.labels.items()) or "all",
            )
            for one in found.firings[-MOST_SHOWN:]
        ]
        more = len(found.firings) - len(rows)
        note = f"The last {len(rows)}; {more} before them are in --json." if more else ""
        parts.append(Table(title="Alerts", columns=columns, rows=rows, note=note))
    draw(Page(title=f"Rule: {shorten(found.rule)}", parts=parts), timezone=timezone)


def _a_month(found: Backtest) -> str:
    """How often that is a month; less than a day says nothing of a month."""
    from barograph.alerts.backtest import MONTH

    judged = len(found.firings) * MONTH / found.alerts_a_month
    if judged < LEAST_JUDGED:
        return ""
    often = format_value(found.alerts_a_month, "1")
    return f", {often} a month"


def _gaps(found: Backtest) -> str:
    """What was not looked at, and how long a time could be looked at whole."""
    step = format_value(found.step_seconds, "s")
    told = f"Of each {step} between two looks {format_value(found.gap_seconds, 's')} are in no window of the rule"
    if found.gapless_seconds is None:
        return f"{told}."
    hours = found.gapless_seconds / 3600
    length = f"{math.floor(hours)}h" if hours >= 1 else f"{math.floor(60 * hours)}m"
    return f"{told}: ask for less, --last {length}."


def _tell(found: RuleFile) -> None:
    right = counted(len(found.rules), "rule")
    if not found.problems:
        draw(Text(text=f"{found.path}: {right}, nothing wrong."))
        return
    parts = [
        Panel(
            title="",
            parts=[
                Text(text=f"{_where(found, one)}  {one.about}{one.problem}."),
                *([Text(text=one.hint, tone="muted")] if one.hint else []),
            ],
        )
        for one in found.problems
    ]
    draw(Page(title=f"{counted(len(found.problems), 'problem')}; {right} in order", parts=parts))


def _where(found: RuleFile, one: RuleProblem) -> str:
    """Where editors and terminals open it."""
    return f"{found.path}:{one.line}" if one.line else found.path
