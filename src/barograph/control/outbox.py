"""The outbox: what is to be told to people, kept until it has been told, one row for each notification and target.

A notification is put into it in the transaction that saves the state it follows from, so that a crash loses neither and
doubles none. ``alerts/delivery`` puts and sends; pages and the command line read what waits, was sent or failed. Rows
that have come to an end are kept for a while: a key that comes again is known, and is no second row.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Sequence
from datetime import datetime, timedelta
from typing import Any, Literal

from msgspec import Struct
from sqlalchemy import (
    ColumnElement,
    Connection,
    Select,
    and_,
    bindparam,
    case,
    delete,
    exists,
    func,
    insert,
    or_,
    select,
    tuple_,
    update,
)

from barograph.control.database import ControlPlane
from barograph.control.tables import JsonObject, outbox

State = Literal["waiting", "sent", "failed"]

MOST_WAITING = 1000  # of a project for one target; when one more comes, the oldest is given up, and says so
MOST_OF_ALL = 10_000  # of all projects for one target; beyond, whoever has the most there gives up the oldest
MOST_ENDED = 10_000  # rows that have come to an end and are kept
LONGEST_WAIT = timedelta(hours=1)  # between two attempts; a later time is one from before a step of the clock
_AT_ONCE = 200  # keys in one question
_GROUPS_AT_ONCE = 5_000

_earlier = outbox.alias("earlier")


class OutboxEntry(Struct, frozen=True, kw_only=True):
    """A notification for one target. ``key`` tells notifications apart, ``group_key`` those that must stay in order."""

    key: str
    project: str
    group_key: str
    receiver: str
    target: str
    body: JsonObject


class OutboxRow(Struct, frozen=True, kw_only=True):
    """An entry and what has become of it. ``attempts`` counts those that are over; ``ended_at`` is when it was sent or
    given up."""

    id: int
    key: str
    project: str
    group_key: str
    receiver: str
    target: str
    body: JsonObject
    attempts: int
    next_at: datetime
    state: State
    last_error: str
    created_at: datetime
    ended_at: datetime | None


class Reached(Struct, frozen=True, kw_only=True):
    """What has become of the messages about a group at one target.

    ``state`` is that of the newest, or ``waiting`` as long as any waits: then ``attempts`` (those that are over),
    ``next_at`` and ``error`` are of the oldest that waits, since they go in order. ``delivered_at`` is when one was
    delivered last.
    """

    target: str
    state: State
    delivered_at: datetime | None = None
    attempts: int = 0
    next_at: datetime | None = None
    error: str = ""


ByGroup = dict[str, list[Reached]]


class Outbox:
    """The rows, by target. Safe to share between threads. Every method may raise ControlError."""

    def __init__(self, plane: ControlPlane) -> None:
        self._plane = plane

    def put(self, entries: Iterable[OutboxEntry], also: Callable[[Connection], object] | None = None) -> int:
        """Keep the entries, and what ``also`` writes, in one transaction: all of it or nothing. How many were new."""
        with self._plane.writing() as connection:
            new = self.add(connection, entries)
            if also is not None:
                also(connection)
        return new

    def add(self, connection: Connection, entries: Iterable[OutboxEntry]) -> int:
        """Add the entries to the transaction under way. How many were new: the same key and target is no second row."""
        now = self._plane.clock.now()
        new: dict[tuple[str, str], OutboxEntry] = {}
        for entry in entries:
            new.setdefault((entry.key, entry.target), entry)
        asked = list(new)
        for start in range(0, len(asked), _AT_ONCE):
            part = asked[start : start + _AT_ONCE]
            known = select(outbox.c.key, outbox.c.target).where(tuple_(outbox.c.key, outbox.c.target).in_(part))
            for key, target in connection.execute(known).all():
                del new[key, target]
        rows = [
            {
                **{name: getattr(entry, name) for name in OutboxEntry.__struct_fields__},
                "attempts": 0,
                "next_at": now,
                "state": "waiting",
                "last_error": "",
                "created_at": now,
            }
            for entry in new.values()
        ]
        if rows:
            connection.execute(insert(outbox), rows)
            for target, project in sorted({(entry.target, entry.project) for entry in new.values()}):
                self._make_room(connection, target, project, now)
        return len(rows)

    def _make_room(self, connection: Connection, target: str, project: str, now: datetime) -> None:
        """Give up what is beyond the bounds. A project has room of its own: no storm of one pushes out another's."""
        of_target = and_(outbox.c.state == "waiting", outbox.c.target == target)
        reason = f"given up: {MOST_WAITING:,} later ones of its project wait for this target"
        self._give_up(connection, and_(of_target, outbox.c.project == project), MOST_WAITING, reason, now)
        counted = select(outbox.c.project, func.count()).where(of_target).group_by(outbox.c.project)
        waiting: dict[str, int] = dict(connection.execute(counted).all())
        reason = f"given up: {MOST_OF_ALL:,} wait for this target, and no project has more there than its own"
        for name, keep in _levelled(waiting, MOST_OF_ALL).items():
            self._give_up(connection, and_(of_target, outbox.c.project == name), keep, reason, now)

    def _give_up(
        self, connection: Connection, chosen: ColumnElement[bool], keep: int, reason: str, now: datetime
    ) -> None:
        """All of those but the newest so many."""
        newest = select(outbox.c.id).where(chosen).order_by(outbox.c.id.desc()).offset(keep).limit(1)
        last = connection.execute(newest).scalar()
        if last is not None:
            ended = update(outbox).where(chosen, outbox.c.id <= last)
            connection.execute(ended.values(state="failed", last_error=reason, ended_at=now))

    def due_targets(self) -> set[str]:
        """The targets for which something could be sent now."""
        with self._plane.reading() as connection:
            return set(connection.execute(select(outbox.c.target).where(self._due()).distinct()).scalars())

    def due(self, target: str, *, least_tried: bool = False) -> OutboxRow | None:
        """The oldest whose time has come at a target, if any; or the oldest of those that were tried least often."""
        order = (outbox.c.attempts, outbox.c.id) if least_tried else (outbox.c.id,)
        return self._first(select(outbox).where(outbox.c.target == target, self._due()).order_by(*order))

    def oldest(self, target: str) -> OutboxRow | None:
        """The oldest that waits for a target, whether its time has come or not."""
        of_target = and_(outbox.c.state == "waiting", outbox.c.target == target)
        return self._first(select(outbox).where(of_target).order_by(outbox.c.id))

    def _first(self, chosen: Select[*tuple[Any, ...]]) -> OutboxRow | None:
        with self._plane.reading() as connection:
            row = connection.execute(chosen.limit(1)).mappings().first()
            return None if row is None else OutboxRow(**row)

    def _due(self) -> ColumnElement[bool]:
        """Waiting, the oldest of its group and target, and its time has come or lies beyond any that is ever set."""
        now = self._plane.clock.now()
        held_up = exists().where(
            _earlier.c.state == "waiting",
            _earlier.c.target == outbox.c.target,
            _earlier.c.group_key == outbox.c.group_key,
            _earlier.c.id < outbox.c.id,
        )
        timely = or_(outbox.c.next_at <= now, outbox.c.next_at > now + LONGEST_WAIT)
        return and_(outbox.c.state == "waiting", timely, ~held_up)

    def sent(self, row: OutboxRow) -> None:
        """Note that it has been delivered, even if it was given up while that went on."""
        self._note(row, state="sent", last_error="", ended_at=self._plane.clock.now())

    def failed(self, row: OutboxRow, error: str) -> None:
        """Note that it was not delivered and will not be tried again."""
        self._note(row, state="failed", last_error=error, ended_at=self._plane.clock.now())

    def later(self, row: OutboxRow, error: str, seconds: float) -> None:
        """Note that an attempt failed and when the next one may be made, at most ``LONGEST_WAIT`` from now."""
        wait = min(timedelta(seconds=seconds), LONGEST_WAIT)
        self._note(row, last_error=error, next_at=self._plane.clock.now() + wait)

    def _note(self, row: OutboxRow, **values: object) -> None:
        states = ("waiting", "failed") if values.get("state") == "sent" else ("waiting",)
        with self._plane.writing() as connection:
            connection.execute(
                update(outbox)
                .where(outbox.c.id == row.id, outbox.c.state.in_(states))
                .values(attempts=outbox.c.attempts + 1, **values)
            )

    def hasten(self, target: str) -> None:
        """The target takes messages again: the time of all that wait for it has come."""
        now = self._plane.clock.now()
        of_target = and_(outbox.c.state == "waiting", outbox.c.target == target)
        with self._plane.writing() as connection:
            connection.execute(update(outbox).where(of_target, outbox.c.next_at > now).values(next_at=now))

    def shift(self, seconds: float) -> None:
        """The wall clock was stepped by so much: what waits keeps the time that is really left, and its age."""
        by = timedelta(seconds=seconds)
        waiting = select(outbox.c.id, outbox.c.next_at, outbox.c.created_at).where(outbox.c.state == "waiting")
        with self._plane.writing() as connection:
            moved = [
                {"this": row_id, "due": next_at + by, "made": created_at + by}
                for row_id, next_at, created_at in connection.execute(waiting)
            ]
            if moved:
                changed = update(outbox).where(outbox.c.id == bindparam("this"))
                connection.execute(changed.values(next_at=bindparam("due"), created_at=bindparam("made")), moved)

    def drop_unknown(self, targets: Collection[str]) -> int:
        """Give up what waits for other targets than these: nobody would ever send it. How many that were."""
        unknown = and_(outbox.c.state == "waiting", outbox.c.target.not_in(targets))
        reason = "given up: its target is no longer among the receivers"
        with self._plane.writing() as connection:
            changed = update(outbox).where(unknown).values(
                state="failed", last_error=reason, ended_at=self._plane.clock.now()
            )  # fmt: skip
            return connection.execute(changed).rowcount

    def forget(self, keep: timedelta) -> int:
        """Delete rows that came to an end longer ago than ``keep``, and the oldest beyond ``MOST_ENDED``."""
        ended = outbox.c.state != "waiting"
        with self._plane.writing() as connection:
            beyond = select(outbox.c.id).where(ended).order_by(outbox.c.id.desc()).offset(MOST_ENDED).limit(1)
            last = connection.execute(beyond).scalar() or 0
            old = or_(outbox.c.ended_at < self._plane.clock.now() - keep, outbox.c.id <= last)
            return connection.execute(delete(outbox).where(ended, old)).rowcount

    def list(
        self, state: State | None = None, target: str | None = None, key: str | None = None, limit: int = 100
    ) -> Sequence[OutboxRow]:
        """The newest rows, newest first."""
        chosen = select(outbox).order_by(outbox.c.id.desc()).limit(limit)
        for column, value in ((outbox.c.state, state), (outbox.c.target, target), (outbox.c.key, key)):
            if value is not None:
                chosen = chosen.where(column == value)
        with self._plane.reading() as connection:
            return [OutboxRow(**row) for row in connection.execute(chosen).mappings()]

    def reached(self, group_keys: Collection[str]) -> ByGroup:
        """What has become of the messages about those groups, by group; the targets by name. One question."""
        found: ByGroup = {}
        keys = sorted(group_keys)
        first, delivered = outbox.alias("first"), outbox.alias("delivered")
        with self._plane.reading() as connection:
            for start in range(0, len(keys), _GROUPS_AT_ONCE):
                at = _whereabouts(keys[start : start + _GROUPS_AT_ONCE]).subquery()
                one = func.coalesce(at.c.waits, at.c.newest)
                asked = (
                    select(
                        at.c.group_key, at.c.target, first.c.state, delivered.c.ended_at, first.c.attempts,
                        first.c.next_at, first.c.last_error,
                    )
                    .join(first, first.c.id == one)
                    .outerjoin(delivered, delivered.c.id == at.c.sent)
                    .order_by(at.c.group_key, at.c.target)
                )  # fmt: skip
                for group_key, target, state, ended_at, attempts, next_at, error in connection.execute(asked):
                    found.setdefault(group_key, []).append(
                        Reached(
                            target=target,
                            state=state,
                            delivered_at=ended_at,
                            attempts=attempts,
                            next_at=next_at if state == "waiting" else None,
                            error=error,
                        )
                    )
        return found

    def counts(self) -> dict[str, dict[State, int]]:
        """How many rows there are, by target and state."""
        counted = select(outbox.c.target, outbox.c.state, func.count()).group_by(outbox.c.target, outbox.c.state)
        found: dict[str, dict[State, int]] = {}
        with self._plane.reading() as connection:
            for target, state, number in connection.execute(counted):
                found.setdefault(target, {})[state] = number
        return found


def _whereabouts(group_keys: Sequence[str]) -> Select[str, str, int, int | None, int | None]:
    """By group and target the newest row, the newest that was delivered, the oldest that waits."""

    def of(state: State) -> ColumnElement[int | None]:
        return case((outbox.c.state == state, outbox.c.id))

    return (
        select(
            outbox.c.group_key,
            outbox.c.target,
            func.max(outbox.c.id).label("newest"),
            func.max(of("sent")).label("sent"),
            func.min(of("waiting")).label("waits"),
        )
        .where(outbox.c.group_key.in_(group_keys))
        .group_by(outbox.c.group_key, outbox.c.target)
    )


def _levelled(waiting: dict[str, int], most: int) -> dict[str, int]:
    """How many the projects keep that have to give up some, so that all have ``most`` together: the largest give."""
    left = dict(waiting)
    while (beyond := sum(left.values()) - most) > 0:
        first, *others = sorted(left, key=lambda name: (-left[name], name))
        above = left[first] - max((left[name] for name in others), default=0)
        left[first] -= min(beyond, max(1, above))
    return {name: keep for name, keep in left.items() if keep < waiting[name]}
