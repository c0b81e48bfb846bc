"""Silences: who wants to hear nothing of which alerts, from when to when, and why.

A silence is on disk when ``create`` returns. It is never deleted: one that ended stays as history, beside the audit
trail. Routing reads the ones in force; it also checks the texts of the matchers, which are kept here as they are.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from typing import Literal

from msgspec import Struct, structs
from sqlalchemy import ColumnElement, RowMapping, insert, or_, select, true, update

from barograph.control.audit import write_audit
from barograph.control.changes import count_change, count_of
from barograph.control.database import ControlPlane
from barograph.control.tables import silences
from barograph_client.clock import as_utc
from barograph_client.errors import InvalidInput

MOST_MATCHERS = 50
LONGEST = timedelta(days=366)
TEXT_LENGTH = 1000  # characters of a comment; an author's name has at most 128
KEPT = timedelta(days=30)  # how long an ended silence is listed by default
_AUTHOR_LENGTH = 128
_ID_BYTES = 8


class Silence(Struct, frozen=True, kw_only=True):
    """One silence. ``matchers`` are texts such as ``severity="info"``; an alert that all of them match is held."""

    id: str
    project: str
    matchers: tuple[str, ...]
    starts_at: datetime
    ends_at: datetime
    author: str
    comment: str = ""
    created_at: datetime
    ended_at: datetime | None = None
    ended_by: str | None = None

    @property
    def until(self) -> datetime:
        """When it is over, or was."""
        return self.ends_at if self.ended_at is None else min(self.ended_at, self.ends_at)

    def is_active(self, at: datetime) -> bool:
        """Whether it holds alerts at that moment; at its end it no longer does."""
        return self.starts_at <= at < self.until

    def state(self, at: datetime) -> Literal["active", "pending", "expired"]:
        """Whether it holds alerts at that moment, is still to come, or is over, also one ended before it began."""
        return "expired" if self.until <= at else "active" if self.starts_at <= at else "pending"


class SilenceRepository:
    """Creates, ends and lists silences; safe to share between threads. All methods may raise ControlError."""

    def __init__(self, plane: ControlPlane, random_bytes: Callable[[int], bytes] = os.urandom) -> None:
        self._plane = plane
        self._random = random_bytes

    def create(
        self,
        *,
        project: str,
        matchers: Sequence[str],
        ends_at: datetime,
        author: str,
        comment: str = "",
        starts_at: datetime | None = None,
    ) -> Silence:
        """Keep a new silence, from now on or from ``starts_at``. Raises InvalidInput."""
        now = self._plane.clock.now()
        begin, end = as_utc(starts_at) if starts_at is not None else now, as_utc(ends_at)
        _check(tuple(matchers), begin, end, now, author, comment)
        with self._plane.writing() as connection:
            while True:
                silence_id = self._random(_ID_BYTES).hex()
                if connection.execute(select(silences.c.id).where(silences.c.id == silence_id)).first() is None:
                    break
            silence = Silence(
                id=silence_id, project=project, matchers=tuple(matchers), starts_at=begin, ends_at=end,
                author=author, comment=comment, created_at=now,
            )  # fmt: skip
            row = structs.asdict(silence) | {"matchers": {"all": list(silence.matchers)}}
            connection.execute(insert(silences).values(row))
            count_change(connection, "silences")
            write_audit(
                connection, time=now, project=project, actor=author, action="create", subject=f"silence:{silence_id}",
                detail={
                    "matchers": list(silence.matchers), "starts_at": begin.isoformat(), "ends_at": end.isoformat(),
                    "comment": comment,
                },
            )  # fmt: skip
        return silence

    def end(self, silence_id: str, *, actor: str, project: str) -> Silence:
        """End a silence of the project now. Raises InvalidInput for an unknown id and for one that is over already."""
        now = self._plane.clock.now()
        with self._plane.writing() as connection:
            chosen = select(silences).where(silences.c.id == silence_id, silences.c.project == project)
            row = connection.execute(chosen).mappings().first()
            if row is None:
                raise InvalidInput(
                    "there is no such silence", hint="List the silences to see their ids.", value=silence_id[:40]
                )
            silence = _silence(row)
            if silence.until <= now:
                by = f" by {silence.ended_by}" if silence.ended_by else ""
                raise InvalidInput(
                    f"the silence is over already: it ended at {silence.until.isoformat(timespec='seconds')}{by}",
                    hint="It holds nothing back any more, so there is nothing to end.",
                    value=silence_id,
                )
            connection.execute(update(silences).where(silences.c.id == silence_id).values(ended_at=now, ended_by=actor))
            count_change(connection, "silences")
            write_audit(
                connection, time=now, project=silence.project, actor=actor, action="end",
                subject=f"silence:{silence_id}", detail={"matchers": list(silence.matchers)},
            )  # fmt: skip
        return structs.replace(silence, ended_at=now, ended_by=actor)

    def current(self, project: str) -> list[Silence]:
        """Those in force or still to come."""
        return self._read(silences.c.project == project, self._plane.clock.now())

    def current_of_all(self) -> list[Silence]:
        """Those of every project."""
        return self._read(true(), self._plane.clock.now())

    def changes(self) -> int:
        """A number that is another one after each silence that was made or ended, by whatever process."""
        return count_of(self._plane, "silences")

    def _read(self, chosen: ColumnElement[bool], after: datetime) -> list[Silence]:
        found = (
            select(silences)
            .where(chosen, silences.c.ends_at > after)
            .where(or_(silences.c.ended_at.is_(None), silences.c.ended_at > after))
            .order_by(silences.c.ends_at, silences.c.id)
        )
        with self._plane.reading() as connection:
            return [_silence(row) for row in connection.execute(found).mappings()]

    def list(self, project: str, *, since: datetime | None = None) -> list[Silence]:
        """The project's silences that were not over at ``since`` (30 days ago when not given), by their end."""
        after = self._plane.clock.now() - KEPT if since is None else as_utc(since)
        return self._read(silences.c.project == project, after)


def _silence(row: RowMapping) -> Silence:
    return Silence(**{**row, "matchers": tuple(row["matchers"]["all"])})


def _check(matchers: tuple[str, ...], begin: datetime, end: datetime, now: datetime, author: str, comment: str) -> None:
    if not 1 <= len(matchers) <= MOST_MATCHERS:
        raise InvalidInput(
            f"a silence has 1 to {MOST_MATCHERS} matchers", hint='Write some, such as alertname="errors".'
        )
    if end <= max(begin, now):
        raise InvalidInput("the silence would be over already", hint="Give a later end.", value=end.isoformat())
    if end - begin > LONGEST:
        raise InvalidInput(
            f"a silence of more than {LONGEST.days} days",
            hint="Remove the rule if nobody wants to hear of it.",
            value=end.isoformat(),
        )
    if not 1 <= len(author.strip()) <= _AUTHOR_LENGTH:
        raise InvalidInput(f"a silence has an author, of at most {_AUTHOR_LENGTH} characters", value=author)
    if len(comment) > TEXT_LENGTH:
        raise InvalidInput(f"a comment has at most {TEXT_LENGTH} characters", value=comment)
