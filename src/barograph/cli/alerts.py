"""Commands for alert rules: play one over stored data, look at a file of them, write them for Prometheus."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Annotated
from zoneinfo import ZoneInfo

import typer

from barograph.analytics.period import recent
from barograph.cli.control import actor, control_of
from barograph.cli.desk import AlertLine, Trial, desk_of
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
from barograph.cli.output import draw, print_json, progress, say
from barograph.core.query import parse_duration
from barograph.core.settings import FILE_NAME
from barograph.core.unit import counted, format_value
from barograph.core.zone import local_time, zone_of
from barograph.visualize.chart import Column, Page, Table, Text, Tone
from barograph_client.clock import SystemClock
from barograph_client.errors import InvalidInput, shorten

if TYPE_CHECKING:
    from barograph.alerts.backtest import Backtest
    from barograph.control.silences import Silence
    from barograph.dashboard.rule_file import RuleFile, RuleProblem

USUAL = "30d"
MOST_SHOWN = 20  # firings in the table


def listed(project: ProjectName = None, data_dir: DataDir = Path(DEFAULT_DIRECTORY), json: Json = False) -> None:
    """List the alerts that wait or fire: since when, what is told of each or why it is held, and when next."""
    with desk_of(existing(data_dir), project) as desk:
        found = desk.alerts()
    if json:
        print_json(found.alerts)
        return
    zone = zone_of(found.timezone)
    parts = [part for one in found.alerts for part in _alert(one, zone)]
    draw(Page(title="Alerts", parts=parts or [Text(text="Nothing waits or fires.")]), timezone=found.timezone)


def _alert(one: AlertLine, zone: ZoneInfo) -> list[Text]:
    labels = ", ".join(f"{name} {shorten(value, 40)}" for name, value in one.labels.items() if name != "alertname")
    name = shorten(one.labels.get("alertname", "an alert without a name"))
    state = "PENDING" if one.state == "pending" else "FIRING"
    tone: Tone = "muted" if one.held_by or one.state == "pending" else "critical"
    parts = [
        Text(text=f"{state} {name}: {one.annotations.get('summary', '')}".rstrip(": "), tone=tone),
        Text(text=f"{one.fingerprint}  since {local_time(one.active_at, zone)}  {labels}", tone="muted"),
    ]
    return [*parts, *(Text(text=f"{each.receiver}: {each.why}", tone="muted") for each in one.told)]


def silence(
    matchers: Annotated[
        list[str], typer.Argument(help="Which alerts: alertname=errors, 'model=~gpt.*'; all must match.")
    ],
    lasts: Annotated[str, typer.Option("--for", help="How long: 30m, 2h, 3d.")] = "1h",
    comment: Annotated[str, typer.Option("--comment", "-m", help="Why, for those who look.")] = "",
    project: ProjectName = None,
    data_dir: DataDir = Path(DEFAULT_DIRECTORY),
    json: Json = False,
) -> None:
    """Hold alerts back for a while. It is on disk when this returns.

    \b
    barograph alerts silence alertname=errors --for 2h -m "index rebuild"
    """
    from barograph.alerts.routing.silences import create_silence

    with control_of(data_dir) as control:
        wanted = project or control.own
        control.projects.require(wanted)
        until = SystemClock().now() + timedelta(seconds=parse_duration(lasts))
        made = create_silence(
            control.silences, project=wanted, matchers=matchers, ends_at=until, author=actor(), comment=comment
        )
    if json:
        print_json(made)
    else:
        say(f"{made.id} holds alerts with {', '.join(made.matchers)} until {made.until:%Y-%m-%d %H:%M} UTC.")


def silences(project: ProjectName = None, data_dir: DataDir = Path(DEFAULT_DIRECTORY), json: Json = False) -> None:
    """List silences: those in force, to come, and of the last 30 days."""
    with control_of(data_dir) as control:
        wanted = project or control.own
        control.projects.require(wanted)
        found = control.silences.list(wanted)
    if json:
        print_json(found)
        return
    now = SystemClock().now()
    parts = [part for one in reversed(found) for part in _silence(one, now)]
    draw(Page(title="Silences", parts=parts or [Text(text="There are none.")]))


def _silence(one: Silence, now: datetime) -> list[Text]:
    state = {"active": "in force", "pending": "to come", "expired": "over"}[one.state(now)]
    head = f"{one.id}  {state}, until {one.until:%Y-%m-%d %H:%M} UTC: {', '.join(one.matchers)}"
    why = f"by {one.author}{f': {one.comment}' if one.comment else ''}"
    return [Text(text=head, tone="plain" if state == "in force" else "muted"), Text(text=why, tone="muted")]


def unsilence(
    wanted: Annotated[str, typer.Argument(metavar="ID", help="Its id, which `barograph alerts silences` shows.")],
    project: ProjectName = None,
    data_dir: DataDir = Path(DEFAULT_DIRECTORY),
    json: Json = False,
) -> None:
    """End a silence now. What it held back is told."""
    with control_of(data_dir) as control:
        ended = control.silences.end(wanted, actor=actor(), project=project or control.own)
    print_json(ended) if json else say(f"The silence {ended.id} is over.")


def ack(
    fingerprint: Annotated[str, typer.Argument(metavar="FINGERPRINT", help="`barograph alerts list` shows it.")],
    comment: Annotated[str, typer.Option("--comment", "-m", help="What is done about it.")] = "",
    project: ProjectName = None,
    data_dir: DataDir = Path(DEFAULT_DIRECTORY),
) -> None:
    """Say that you take care of an alert: it is not repeated until it resolves, or fires anew."""
    with desk_of(existing(data_dir), project) as desk:
        desk.acknowledge(fingerprint, actor(), comment)
    say(f"{fingerprint} is yours; it is not repeated until it resolves.")


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
        _draw(found, timezone)


def check(
    file: Annotated[
        Path | None, typer.Argument(help=f"A file with [[rules]]; the data directory's {FILE_NAME} if absent.")
    ] = None,
    data_dir: DataDir = Path(DEFAULT_DIRECTORY),
    json: Json = False,
) -> None:
    """Look at every rule of a file: what is wrong with which, its line, and what to write instead. 1 if any is."""
    from barograph.dashboard.rule_file import read_rules

    found = read_rules(file or data_dir / FILE_NAME)
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
        bool, typer.Option("--prometheus", help="As a rule file of Prometheus; there is no other form yet.")
    ] = False,
    data_dir: DataDir = Path(DEFAULT_DIRECTORY),
) -> None:
    """Write the rules for Prometheus, to standard output: over what this server's /metrics serves of them.

    \b
    barograph alerts export --prometheus > barograph.rules.yml
    """
    from barograph.dashboard.rule_file import export_rules

    if not prometheus:
        raise InvalidInput("rules are written in one form only", hint="Write --prometheus.")
    print(export_rules(file or data_dir / FILE_NAME), end="")


@contextlib.contextmanager
def _told_of(what: str) -> Iterator[Callable[[float], None]]:
    """A bar on a terminal, moved by the share that is done."""
    with progress(100, what) as bar:
        yield lambda share: bar.update(bar.task_ids[0], completed=round(100 * share))


def _draw(found: Backtest, timezone: str) -> None:
    zone = zone_of(timezone)

    def clock(moment: datetime) -> str:
        return local_time(moment, zone)

    times = counted(len(found.firings), "time")
    over = f"{clock(found.window.start)} to {clock(found.window.end)}"
    looked = f"Looked at every {format_value(found.step_seconds, 's')}, {over}; live it is every 15 s."
    if found.firings:
        told = (
            f"It would have fired {times}, {found.alerts_a_month:.3g} a month: "
            f"{format_value(found.firing_seconds, 's')} in all, {format_value(found.longest_seconds, 's')} the longest."
        )
    else:
        told = "It would never have fired."
    parts: list[Text | Table] = [Text(text=found.condition), Text(text=looked, tone="muted"), Text(text=told)]
    if found.blind:
        share = format_value(found.blind / max(1, found.steps), "ratio")
        parts.append(
            Text(text=f"{share} of the looks had nothing to judge by: no data, or too few events.", tone="muted")
        )
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


def _tell(found: RuleFile) -> None:
    right = counted(len(found.rules), "rule")
    if not found.problems:
        draw(Text(text=f"{found.path}: {right}, nothing wrong." if found.rules else f"{found.path} has no rules."))
        return
    parts = [
        Text(text=f"{_place(one)}{shorten(one.rule) or 'a rule without a name'}: {one.problem}. {one.hint}".rstrip())
        for one in found.problems
    ]
    wrong = counted(len(found.problems), "rule")
    parts.insert(0, Text(text=found.path, tone="muted"))
    draw(Page(title=f"{wrong} wrong, {len(found.rules)} right", parts=parts))


def _place(one: RuleProblem) -> str:
    return f"line {one.line}, " if one.line else ""
