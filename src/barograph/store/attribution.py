"""Attribution: which query a feedback or a score belongs to, decided once and journaled as a derived line.

A feedback mostly carries only a trace id. When it has been loaded, its query is looked up; pipeline, environment,
model, user and variants go into an ``attribution`` event whose id is derived from the feedback's, so that deciding
again adds nothing and a rebuild never decides. What the caller gave itself wins. What is not found is tried again
as queries come in, for a while, and is then journaled as not found. Until then it counts in the totals only.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterable
from typing import Any

import msgspec

from barograph.core.event import Attribution, Feedback, Score
from barograph.journal.entry import Entry
from barograph.journal.journal import Journal
from barograph.store.engine import Engine, Rows
from barograph.store.filters import trace_place
from barograph_client.clock import Clock
from barograph_client.identifiers import derived_id

PATIENCE = 60.0  # seconds a trace is waited for
RETRY_SECONDS = 1.0
LOOK_UP = 1000  # traces asked for in one question
PAGE = 20_000  # undecided events fetched at a time after a start

_KINDS: dict[str, type[Feedback | Score]] = {"feedback": Feedback, "score": Score}
_DECODERS = {kind: msgspec.json.Decoder(struct) for kind, struct in _KINDS.items()}
_INHERITED = ("session_id", "user_id", "pipeline", "environment", "model")


class Attributor:
    """Keeps what is undecided, and decides it. Called by the store's one loading thread or under its lock."""

    def __init__(self, journal: Journal, engine: Engine, clock: Clock) -> None:
        self._journal = journal
        self._engine = engine
        self._clock = clock
        self._undecided: dict[tuple[str, str], tuple[Feedback | Score, float]] = {}  # by project and id; give up at
        self._fresh = False
        self._recovered = False
        self._tried_at = clock.monotonic()

    @property
    def undecided(self) -> int:
        """How many wait for their trace."""
        return len(self._undecided)

    def loaded(self, kind: str, lines: bytes) -> None:
        """Told of every range that was loaded. What is loaded before ``recover`` is found by it."""
        if not self._recovered:
            return
        if kind == "query":
            self._fresh = True
        elif kind in _DECODERS:
            give_up = self._clock.monotonic() + PATIENCE
            decode = _DECODERS[kind].decode
            for line in lines.split(b"\n"):
                with contextlib.suppress(msgspec.MsgspecError, ValueError):  # not what a collector wrote: as it is
                    event = decode(line)
                    self._undecided[event.project, event.event_id] = (event, give_up)
            self._fresh = True

    def forget(self) -> None:
        """The engine is made again: what was decided is in the journal, and is not decided again."""
        self._undecided.clear()
        self._recovered = False

    def recover(self) -> None:
        """After a start, when all is loaded: find what was loaded and never decided, and decide it, page by page."""
        for kind, struct in _KINDS.items():
            after = (0, "", "")
            while self._some_undecided(kind) and (rows := self._page(kind, struct, after)):
                give_up = self._clock.monotonic() + PATIENCE
                for row in rows:
                    after = (row.pop("received_micros"), row["project"], row["event_id"])
                    with contextlib.suppress(msgspec.MsgspecError, ValueError):
                        event = msgspec.convert(row, struct, strict=False)
                        self._undecided.setdefault((event.project, event.event_id), (event, give_up))
                self._fresh = True
                self.decide()
        self._recovered = True
        self._fresh = self._fresh or bool(self._undecided)

    def _some_undecided(self, kind: str) -> bool:
        """Cheaper than looking for them: are there as many decisions as events?"""
        (row,) = self._engine.select(
            f"SELECT (SELECT count() FROM {kind}) AS events, "
            "(SELECT count() FROM attribution WHERE subject = {kind:String}) AS decided",
            {"kind": kind},
        )
        return bool(row["events"] != row["decided"])

    def _page(self, kind: str, struct: type[Feedback | Score], after: tuple[int, str, str]) -> Rows:
        """The next undecided events in the order of their arrival."""
        columns = ", ".join(name for name in struct.__struct_fields__ if name != "time")
        return self._engine.select(
            f"SELECT {columns}, toUnixTimestamp64Micro(time) / 1e6 AS time, "
            f"toUnixTimestamp64Micro(received_at) AS received_micros FROM {kind} "
            "WHERE (received_micros, project, event_id) > ({received:Int64}, {project:String}, {id:String}) "
            "AND (project, event_id) NOT IN "
            "(SELECT project, subject_id FROM attribution WHERE subject = {kind:String}) "
            f"ORDER BY received_micros, project, event_id LIMIT {PAGE}",
            {"kind": kind, "received": after[0], "project": after[1], "id": after[2]},
        )

    def decide(self) -> int:
        """Decide what can be decided now; returns how many lines were journaled, as durable as any."""
        now = self._clock.monotonic()
        if not self._undecided or not (self._fresh or now - self._tried_at >= RETRY_SECONDS):
            return 0
        self._fresh, self._tried_at = False, now
        found = self._look_up(event for event, _ in self._undecided.values())
        decided = [
            _attribution(event, found.get((event.project, event.trace_id)))
            for event, give_up in self._undecided.values()
            if not event.trace_id or (event.project, event.trace_id) in found or now >= give_up
        ]
        if decided:
            encode = msgspec.json.Encoder().encode
            self._journal.append(
                [Entry("attribution", line.event_id, encode(line)[:-1], True, line.project) for line in decided]
            )
            for line in decided:
                del self._undecided[line.project, line.subject_id]
        return len(decided)

    def _look_up(self, events: Iterable[Feedback | Score]) -> dict[tuple[str, str], dict[str, Any]]:
        wanted: dict[str, set[str]] = {}
        for event in events:
            if event.trace_id:
                wanted.setdefault(event.project, set()).add(event.trace_id)
        found = {}
        for project, traces in wanted.items():
            ids = sorted(traces)
            for at in range(0, len(ids), LOOK_UP):
                rows = self._engine.select(
                    "SELECT trace_id, session_id, user_id, pipeline, environment, model, variants FROM query "
                    "WHERE project = {project:String} AND trace_id IN {ids:Array(String)} "
                    f"AND {trace_place('{project:String}', '{ids:Array(String)}')} "
                    "ORDER BY time LIMIT 1 BY trace_id",
                    {"project": project, "ids": ids[at : at + LOOK_UP]},
                )
                found.update({(project, row["trace_id"]): row for row in rows})
        return found


def _attribution(event: Feedback | Score, query: dict[str, Any] | None) -> Attribution:
    known = query or {}
    return Attribution(
        event_id=derived_id(event.event_id, "attribution"),
        time=event.time,
        project=event.project,
        origin="internal",
        subject="feedback" if isinstance(event, Feedback) else "score",
        subject_id=event.event_id,
        name="rating" if isinstance(event, Feedback) else event.name,
        value=event.rating if isinstance(event, Feedback) else event.value,
        trace_id=event.trace_id,
        found=query is not None,
        tags=event.tags,
        variants=event.variants or known.get("variants", {}),
        **{name: getattr(event, name) or known.get(name, "") for name in _INHERITED},
    )
