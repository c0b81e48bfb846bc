"""Commands for API keys: ``key create``, ``key list``, ``key revoke``."""

from __future__ import annotations

import re
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, cast

import msgspec
import typer

from barograph.cli.control import actor, control_of
from barograph.cli.options import DEFAULT_DIRECTORY, DataDir, Json, ProjectName
from barograph.cli.output import draw, note, print_json, say
from barograph.core.query import parse_duration
from barograph.visualize.chart import Column, Table
from barograph_client.clock import SystemClock
from barograph_client.errors import InvalidInput

if TYPE_CHECKING:
    from barograph.control.keys import Key, Scope

MAY = {
    "ingest": "may send events and read nothing",
    "read": "may read and send nothing",
    "admin": "may send, read and decide",
}

FIRST = (
    "It is the first key of this directory: from now on every request to a server of it needs a key, those to other "
    "projects too. Programs that send or ask without one are refused until they have theirs."
)
_ID = re.compile(r"(?:barograph_[a-z]+_)?([0-9a-f]{12})(?:_[0-9a-f]*)?")  # alone, or in a key's text


def create(
    scope: Annotated[str, typer.Option("--scope", help=f"{', '.join(MAY)}.")],
    name: Annotated[str, typer.Option("--name", help="What it is for, to know it again.")] = "",
    expires: Annotated[
        str | None, typer.Option("--expires", help="Opens nothing after so long: 90d. Else it never expires.")
    ] = None,
    project: ProjectName = None,
    data_dir: DataDir = Path(DEFAULT_DIRECTORY),
    json: Json = False,
) -> None:
    """Make a key for one project. It is printed once and kept only as a hash.

    \b
    barograph key create --scope ingest --name checkout --expires 90d
    """
    with control_of(data_dir) as control:
        wanted = project or control.own
        control.projects.require(wanted)
        first = not control.keys.any()
        key, text = control.keys.create(
            project=wanted, scope=cast("Scope", scope), name=name, actor=actor(), expires_at=_end(expires)
        )
    if json:
        print_json({"key": text, **_document(key)})
    else:
        say(text)
        until = f", until {key.expires_at:%Y-%m-%d %H:%M} UTC" if key.expires_at else ""
        note(f"It {MAY[key.scope]}, in the project {key.project}{until}. It is shown this once: keep it now.")
    if first:
        note(FIRST)


def listed(project: ProjectName = None, data_dir: DataDir = Path(DEFAULT_DIRECTORY), json: Json = False) -> None:
    """List the keys: what each is for, its state, when it was last used. Never their text."""
    with control_of(data_dir) as control:
        if project is not None:
            control.projects.require(project)
        keys = control.keys.list(project)
    if json:
        print_json([_document(key) for key in keys])
        return
    columns = [Column(title=title) for title in ("id", "scope", "project", "name", "state", "made", "used")]
    rows = [
        (key.id, key.scope, key.project, key.name, _state(key), _day(key.created_at), _day(key.last_used_at, "never"))
        for key in keys
    ]
    draw(Table(title="API keys", columns=columns, rows=rows))


def revoke(
    wanted: Annotated[
        str, typer.Argument(metavar="ID", help="Its id, which `barograph key list` shows, or its whole text.")
    ],
    data_dir: DataDir = Path(DEFAULT_DIRECTORY),
    json: Json = False,
) -> None:
    """Let a key open nothing from now on. The keys that are left, or none, open what they did."""
    found = _ID.fullmatch(wanted.strip())
    if found is None:  # it may be a part of a secret, so it is not repeated
        raise InvalidInput("that is neither a key's id nor a key", hint="`barograph key list` shows the ids.")
    with control_of(data_dir) as control:
        key = control.keys.revoke(found[1], actor())
    print_json(_document(key)) if json else say(f"The key {key.id} opens nothing any more.")


def _end(expires: str | None) -> datetime | None:
    if expires is None:
        return None
    try:
        return SystemClock().now() + timedelta(seconds=parse_duration(expires))
    except OverflowError:
        raise InvalidInput("a key cannot expire so late", hint="Leave --expires out.", value=expires) from None


def _state(key: Key) -> str:
    if key.revoked_at is not None:
        return f"revoked {_day(key.revoked_at)}"
    if key.expires_at is None:
        return "valid"
    return f"{'until' if key.is_valid(SystemClock().now()) else 'expired'} {_day(key.expires_at)}"


def _day(moment: datetime | None, without: str = "") -> str:
    return f"{moment:%Y-%m-%d}" if moment else without


def _document(key: Key) -> dict[str, object]:
    return {**msgspec.structs.asdict(key), "valid": key.is_valid(SystemClock().now())}
