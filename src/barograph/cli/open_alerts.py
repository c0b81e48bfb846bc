"""Commands for alerts that are open: list them with what is told of each, take care of one, let go of it again."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, cast

import typer

from barograph.cli.control import actor
from barograph.cli.desk import desk_of
from barograph.cli.options import DEFAULT_DIRECTORY, DataDir, Json, ProjectName, existing
from barograph.cli.output import draw, print_json, say
from barograph.core.zone import zone_of
from barograph.visualize.chart import Page, Part, Text
from barograph_client.clock import SystemClock
from barograph_client.errors import InvalidInput

if TYPE_CHECKING:
    from barograph.dashboard.open_alerts import Chosen, NamedAlert

STATES = ("pending", "firing", "held")

Fingerprint = Annotated[
    str,
    typer.Argument(metavar="FINGERPRINT", help="`barograph alerts list` shows it; four digits of it will often do."),
]


def listed(
    matchers: Annotated[
        list[str] | None,
        typer.Argument(metavar="[MATCHER]...", help="Only such: severity=critical, 'model=~gpt.*'; all must match."),
    ] = None,
    rule: Annotated[str, typer.Option("--rule", metavar="NAME", help="Only those of this rule.")] = "",
    state: Annotated[str, typer.Option("--state", help="Only those that are pending, firing or held.")] = "",
    limit: Annotated[
        int | None, typer.Option("--limit", min=1, help="The worst, so many at most. 20 in a text, all in JSON.")
    ] = None,
    project: ProjectName = None,
    data_dir: DataDir = Path(DEFAULT_DIRECTORY),
    json: Json = False,
) -> None:
    """List the alerts that wait or fire: since when, what is told of each or why it is held, and when next.

    Of a rule with many the worst few are shown; --rule shows more of one, --json has all.

    \b
    barograph alerts list
    barograph alerts list --rule "slow answers" --limit 100
    barograph alerts list --state held severity=critical
    """
    from barograph.dashboard.open_alerts import Choice
    from barograph.dashboard.page.open_alerts import EACH, SHOWN, counts, open_alert_parts

    if state and state not in STATES:
        raise InvalidInput("there is no such state of an open alert", hint=f"Write {', '.join(STATES)}.", value=state)
    few = not json and not rule and limit is None
    choice = Choice(
        rule=rule,
        state=cast("Chosen", state) if state else None,
        matchers=tuple(matchers or ()),
        limit=limit if json else limit or SHOWN,
        each=EACH if few else None,
    )
    with desk_of(existing(data_dir), project) as desk:
        (found, timezone), live = desk.alerts(choice), desk.live
    if json:
        print_json(found)
        return
    nothing = "No such alert waits or fires." if rule or state or matchers else "Nothing waits or fires."
    parts: list[Part] = [
        Text(text=f"{counts(found.by_name, of_what='alert')}.") if found.total else Text(text=nothing, tone="good")
    ]
    if found.total and not live:
        parts.append(
            Text(text="No server has the directory: nobody is told until `barograph serve` runs.", tone="warning")
        )
    zone = zone_of(timezone)
    now = f"{SystemClock().now().astimezone(zone):%Y-%m-%d %H:%M} {timezone}"
    draw(Page(title="Alerts", aside=now, parts=[*parts, *open_alert_parts(found, zone)]), timezone=timezone)


def ack(
    fingerprint: Fingerprint,
    comment: Annotated[str, typer.Option("--comment", "-m", help="What is done about it.")] = "",
    project: ProjectName = None,
    data_dir: DataDir = Path(DEFAULT_DIRECTORY),
) -> None:
    """Say that you take care of an alert: it is not repeated until it resolves, or fires anew.

    \b
    barograph alerts ack 0b11 -m "the index is being rebuilt"
    """
    with desk_of(existing(data_dir), project) as desk:
        named = desk.acknowledge(fingerprint, actor(), comment)
    say(
        f"{_told(named)} is yours; it is not repeated until it resolves. "
        f"`barograph alerts unack {named.fingerprint}` lets go of it."
    )


def unack(
    fingerprint: Fingerprint,
    comment: Annotated[str, typer.Option("--comment", "-m", help="Why, for the audit trail.")] = "",
    project: ProjectName = None,
    data_dir: DataDir = Path(DEFAULT_DIRECTORY),
) -> None:
    """Let go of an alert that somebody took care of: it is repeated again while it fires.

    \b
    barograph alerts unack 0b11 -m "it was not the index"
    """
    with desk_of(existing(data_dir), project) as desk:
        named = desk.withdraw(fingerprint, actor(), comment)
    say(f"Nobody takes care of {_told(named)} any more; it is repeated while it fires.")


def _told(named: NamedAlert) -> str:
    return f"{named.alert}, {named.fingerprint}," if named.alert else named.fingerprint
