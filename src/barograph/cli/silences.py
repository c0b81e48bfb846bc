"""Commands for silences: hold alerts back for a while, list what is held back, end it early."""

from __future__ import annotations

from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Annotated
from zoneinfo import ZoneInfo

import typer

from barograph.cli.control import Decisions, actor, control_of
from barograph.cli.desk import desk_of
from barograph.cli.options import DEFAULT_DIRECTORY, DataDir, Json, ProjectName
from barograph.cli.output import draw, print_json, say
from barograph.core.query import parse_duration
from barograph.core.unit import counted
from barograph.core.zone import local_time
from barograph.journal.lock import server_of
from barograph.visualize.chart import Page, Text
from barograph_client.clock import SystemClock
from barograph_client.errors import InvalidInput, shorten

if TYPE_CHECKING:
    from barograph.control.silences import Silence

_STATES = {"active": "in force", "pending": "to come", "expired": "over"}
_NONE = "There are none. `barograph alerts silence alertname=NAME --for 2h` makes one."
_CANDIDATES = 5  # that a message names


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
        say(f"{made.id} holds alerts with {', '.join(made.matchers)} until {local_time(made.until, control.zone)}.")
        _tell_whom(data_dir, project, matchers)


def _tell_whom(directory: Path, project: str | None, matchers: list[str]) -> None:
    """How many alerts that are open now are such; known at once where a server has the directory."""
    from barograph.dashboard.open_alerts import Choice

    if server_of(directory) is None:
        return
    with desk_of(directory, project) as desk:
        open_now, such = (desk.alerts(Choice(matchers=of, limit=0))[0].total for of in ((), tuple(matchers)))
    if such:
        say(f"{counted(such, 'open alert')} of {open_now:,} {'is' if such == 1 else 'are'} such.")
    elif open_now:
        say(f"None of {counted(open_now, 'open alert')} is such; `barograph alerts list` shows their labels.")


def silences(project: ProjectName = None, data_dir: DataDir = Path(DEFAULT_DIRECTORY), json: Json = False) -> None:
    """List silences: those in force, to come, and of the last 30 days.

    \b
    barograph alerts silences
    """
    with control_of(data_dir) as control:
        wanted = project or control.own
        control.projects.require(wanted)
        found = control.silences.list(wanted)
    if json:
        print_json(found)
        return
    now = SystemClock().now()
    parts = [part for one in reversed(found) for part in _silence(one, now, control.zone)]
    draw(Page(title="Silences", parts=parts or [Text(text=_NONE)]), timezone=control.zone.key)


def _silence(one: Silence, now: datetime, zone: ZoneInfo) -> list[Text]:
    state = _STATES[one.state(now)]
    begin = f" from {local_time(one.starts_at, zone)}" if state == "to come" else ""
    end = f"since {local_time(one.until, zone)}" if state == "over" else f"until {local_time(one.until, zone)}"
    head = f"{one.id}  {state}{begin} {end}: {', '.join(one.matchers)}"
    why = f"by {one.author}{f': {one.comment}' if one.comment else ''}"
    return [Text(text=head, tone="plain" if state == "in force" else "muted"), Text(text=why, tone="muted")]


def unsilence(
    wanted: Annotated[
        str, typer.Argument(metavar="ID", help="Its id, which `barograph alerts silences` shows, or how it begins.")
    ],
    project: ProjectName = None,
    data_dir: DataDir = Path(DEFAULT_DIRECTORY),
    json: Json = False,
) -> None:
    """End a silence now. What it held back is told.

    \b
    barograph alerts unsilence 6f0c
    """
    with control_of(data_dir) as control:
        chosen = project or control.own
        ended = control.silences.end(_named(control, chosen, wanted), actor=actor(), project=chosen)
    print_json(ended) if json else say(f"The silence {ended.id} is over.")


def _named(control: Decisions, project: str, wanted: str) -> str:
    """The id that begins so; of those that are not over, where there are several. Raises InvalidInput."""
    now = SystemClock().now()
    found = [one for one in control.silences.list(project) if one.id.startswith(wanted.lower())]
    if len(found) > 1:
        found = [one for one in found if one.state(now) != "expired"] or found
    if len(found) > 1:
        candidates = "; ".join(f"{one.id} {shorten(', '.join(one.matchers), 60)}" for one in found[:_CANDIDATES])
        raise InvalidInput(
            f"{len(found)} silences have an id that begins so", hint=f"Write more of it: {candidates}.", value=wanted
        )
    return found[0].id if found else wanted
