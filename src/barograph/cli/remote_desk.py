"""The desk of a data directory that a running server has open: the same answers, asked over HTTP.

The address and a token stand in the directory's lock file, which only its owner may read.
"""

from __future__ import annotations

import os
import ssl
import sys
from collections.abc import Callable, Sequence
from datetime import date, datetime
from pathlib import Path
from types import TracebackType
from typing import Any, Self, cast
from urllib.parse import quote, urlencode

import msgspec
from msgspec import Struct, field

from barograph.alerts.backtest import Backtest
from barograph.alerts.incidents import History
from barograph.cli.desk import COUNTED, Drawing, Listed, Question, Search, Span, Told, Trial
from barograph.cli.experiment_desk import RemoteExperiments
from barograph.core.query import Calendar, MetricAnswer, MetricRow, Period, Window
from barograph.core.zone import zone_of
from barograph.dashboard.asked import Asked
from barograph.dashboard.doctor import Finding
from barograph.dashboard.open_alerts import Choice, NamedAlert, OpenAlerts
from barograph.journal.lock import Owner
from barograph.server.answers import AlertsNow
from barograph.store.retention import Pruned
from barograph.store.verification import Report
from barograph.visualize.charset import choose
from barograph_client.address import parse_address
from barograph_client.errors import (
    BarographError,
    ChangedMeanwhile,
    DiskFull,
    EngineError,
    EngineUnavailable,
    InvalidEvent,
    InvalidExperiment,
    InvalidInput,
    InvalidQuery,
    JournalError,
    QueryTooExpensive,
    ServerUnavailable,
    UnknownExperiment,
    UnknownMetric,
)
from barograph_client.transport import Transport

PATIENCE = 30.0  # seconds that the server may be silent over a question
CARE_PATIENCE = 3600.0  # and over the care of the directory: making an engine again may take long
BODY_BYTES = 4 * 2**20  # of lines sent in one request

_ERRORS: dict[str, type[BarographError]] = {
    "unknown-metric": UnknownMetric,
    "invalid-query": InvalidQuery,
    "invalid-input": InvalidInput,
    "invalid-experiment": InvalidExperiment,
    "unknown-experiment": UnknownExperiment,
    "changed-meanwhile": ChangedMeanwhile,
    "unknown-project": InvalidInput,
    "unknown-query": InvalidQuery,
    "disk-full": DiskFull,
    "not-durable": JournalError,
    "too-busy": JournalError,
    "query-too-expensive": QueryTooExpensive,
    "engine-unavailable": EngineUnavailable,
    "engine-error": EngineError,
}


class _Problem(Struct):
    """As much of a problem document as an error needs."""

    type: str = ""
    detail: str = "the server did not say why"
    hint: str = ""
    field: str = ""
    reason: str = ""
    value: str | None = None


class _Result(Struct):
    outcome: str
    event_id: str = ""
    field: str = ""
    reason: str = ""
    hint: str = ""


class _Recorded(Struct):
    received: int
    stored: int
    rejected: int
    duplicate: int
    results: list[_Result]


class _Row(Struct, rename={"start": "from", "end": "to"}):
    start: datetime
    end: datetime
    value: float | None
    n: int
    group: dict[str, str] = field(default_factory=dict)

    def row(self) -> MetricRow:
        return MetricRow(start=self.start, end=self.end, value=self.value, n=self.n, group=self.group)


class _Answer(Struct):
    metric: str
    title: str
    unit: str
    timezone: str
    rows: list[_Row]
    complete_to: datetime
    before: list[_Row] = []
    notes: list[str] = []
    missing: str = ""


class _Events(Struct):
    items: list[dict[str, Any]]
    cursor: str
    complete_to: datetime


class RemoteDesk:
    """Asks the server; see ``Desk``. A context manager."""

    live = True

    def __init__(self, directory: Path, server: Owner, project: str) -> None:
        self.directory = directory
        self._server = server
        context = _trusting(server.certificate) if server.certificate else None
        self._transport = Transport(parse_address(server.address), PATIENCE, context)
        self._headers = {
            "Authorization": f"Bearer {server.token}",
            **({"Barograph-Project": project} if project else {}),
        }
        self._counts = dict.fromkeys(COUNTED, 0)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._transport.close()

    @property
    def experiments(self) -> RemoteExperiments:
        return RemoteExperiments(self._ask)

    def _ask(
        self, method: str, path: str, parameters: dict[str, Any] | None = None, body: bytes | None = None,
        media: str = "application/json", patience: float | None = None,
    ) -> bytes:  # fmt: skip
        given = {name: value for name, value in (parameters or {}).items() if value is not None}
        target = f"/api/v1/{path}?{urlencode(given, doseq=True)}" if given else f"/api/v1/{path}"
        headers = self._headers if body is None else {**self._headers, "Content-Type": media}
        self._transport.timeout = PATIENCE if patience is None else patience
        try:
            reply = self._transport.request(method, target, headers, body)
        except ServerUnavailable as error:
            pid = self._server.pid
            raise ServerUnavailable(
                f"the server of {self.directory}, process {pid}, gave no answer: {error.message}",
                hint=f"Look at what it logs; `kill {pid}` ends it, and what was acknowledged is kept.",
            ) from None
        if reply.status != 200:
            raise _error(reply.body)
        return reply.body

    def status(self) -> Told:
        return msgspec.json.decode(self._ask("GET", "status", {"fresh": "true"}), type=Told)

    def page(self, name: str, span: Span, experiment: str, drawing: Drawing) -> str:
        asked = {"last": span.last, "from": span.start, "to": span.end, "experiment": experiment or None}
        return self._ask("GET", f"pages/{quote(name, safe='')}", {**asked, **_look(drawing)}).decode()

    def trace(self, wanted: str, drawing: Drawing) -> str:
        return self._ask("GET", f"queries/{quote(wanted, safe='')}", _look(drawing)).decode()

    def report(self, hours: float, drawing: Drawing) -> str:
        return self._ask("GET", "report", {"hours": hours, **_look(drawing)}).decode()

    def query(self, question: Question) -> tuple[MetricAnswer, Asked]:
        start, end = question.window
        asked = {
            "metric": question.metric, "from": start, "to": end, "every": question.every, "by": question.by,
            "where": question.where, "compare": question.compare, "limit": question.limit, "fresh": True,
        }  # fmt: skip
        found = msgspec.json.decode(self._ask("POST", "query", body=msgspec.json.encode(asked)), type=_Answer)
        answer = MetricAnswer(
            metric=found.metric,
            unit=found.unit,
            rows=tuple(row.row() for row in found.rows),
            complete_to=found.complete_to,
            before=tuple(row.row() for row in found.before),
            notes=tuple(note for note in found.notes if note != found.missing),
        )
        return answer, Asked(
            title=found.title,
            window=Window(start, end),
            zone=zone_of(found.timezone),
            every=cast("float | Calendar | None", question.every),
            compare=cast("Period | None", question.compare),
            missing=found.missing,
        )

    def events(self, search: Search) -> Listed:
        start, end = search.window
        asked = {
            "kind": search.kind, "from": start.isoformat(), "to": end.isoformat(), "where": search.where,
            "order": search.order, "ascending": str(search.ascending).lower(), "limit": search.limit, "fresh": "true",
        }  # fmt: skip
        page = msgspec.json.decode(self._ask("GET", "events", asked), type=_Events)
        told = msgspec.json.decode(self._ask("GET", "status"), type=Told)
        return Listed(items=page.items, more=bool(page.cursor), complete_to=page.complete_to, timezone=told.timezone)

    def record(self, kind: str, fields: dict[str, object]) -> str:
        body = msgspec.json.encode({**fields, "kind": kind})
        answer = msgspec.json.decode(self._ask("POST", "events", body=body), type=_Recorded)
        return answer.results[0].event_id

    def record_lines(self, lines: Sequence[bytes], kind: str | None) -> Sequence[str | InvalidEvent]:
        results: list[str | InvalidEvent] = []
        waiting: list[bytes] = []
        for line in lines:
            if waiting and sum(map(len, waiting)) + len(line) > BODY_BYTES:
                results += self._send(waiting, kind)
                waiting = []
            waiting.append(line)
        return [*results, *self._send(waiting, kind)] if waiting else results

    def _send(self, lines: Sequence[bytes], kind: str | None) -> list[str | InvalidEvent]:
        body = b"\n".join(line.rstrip(b"\r\n") for line in lines)
        found = self._ask("POST", "events", {"kind": kind}, body, "application/x-ndjson")
        answer = msgspec.json.decode(found, type=_Recorded)
        for name in COUNTED:
            self._counts[name] += getattr(answer, name)
        return [
            InvalidEvent(one.field, one.reason, hint=one.hint) if one.outcome == "rejected" else one.event_id
            for one in answer.results
        ]

    def counts(self) -> dict[str, int]:
        return dict(self._counts)

    def _care(self, what: str, body: bytes = b"{}") -> bytes:
        return self._ask("POST", f"care/{what}", body=body, patience=CARE_PATIENCE)

    def verify(self) -> Report:
        return msgspec.json.decode(self._care("verify"), type=Report)

    def rebuild(self, day: date | None) -> Report:
        body = msgspec.json.encode({"day": day.isoformat() if day else None})
        return msgspec.json.decode(self._care("rebuild", body), type=Report)

    def prune(self, older_than: str, kinds: Sequence[str]) -> Sequence[Pruned]:
        body = msgspec.json.encode({"older_than": older_than, "kinds": list(kinds)})
        return msgspec.json.decode(self._care("prune", body), type=list[Pruned])

    def compress(self) -> int:
        return int(msgspec.json.decode(self._care("compress"))["segments"])

    def findings(self) -> Sequence[Finding]:
        return msgspec.json.decode(self._care("doctor"), type=list[Finding])

    def alerts(self, choice: Choice) -> tuple[OpenAlerts, str]:
        told = msgspec.json.decode(self._ask("GET", "status", {"fresh": "true"}), type=Told)
        asked = {"rule": choice.rule or None, "state": choice.state, "filter": choice.matchers or None,
                 "limit": choice.limit, "each": choice.each}  # fmt: skip
        return msgspec.json.decode(self._ask("GET", "alerts", asked), type=AlertsNow).data, told.timezone

    def history(self, window: tuple[datetime, datetime], limit: int) -> tuple[History, str]:
        start, end = window
        told = msgspec.json.decode(self._ask("GET", "status", {"fresh": "true"}), type=Told)
        asked = {"from": start.isoformat(), "to": end.isoformat(), "limit": limit, "fresh": "true"}
        return msgspec.json.decode(self._ask("GET", "incidents", asked), type=History), told.timezone

    def acknowledge(self, beginning: str, by: str, comment: str) -> NamedAlert:
        return self._about("acknowledge", beginning, by, comment)

    def withdraw(self, beginning: str, by: str, comment: str) -> NamedAlert:
        return self._about("unacknowledge", beginning, by, comment)

    def _about(self, action: str, beginning: str, by: str, comment: str) -> NamedAlert:
        body = {"fingerprint": beginning, "author": by, "comment": comment}
        found = self._ask("POST", f"alerts/{action}", body=msgspec.json.encode(body))
        return msgspec.json.decode(found, type=NamedAlert)

    def backtest(self, trial: Trial, progress: Callable[[float], None]) -> tuple[Backtest, str]:
        start, end = trial.window
        if trial.definition is not None and trial.definition.kind == "function":
            raise InvalidInput(
                "a server has this data directory open, and runs no code that somebody sends it",
                hint="Stop it to try a function rule of a file; one that stands in its own barograph.toml it plays.",
                value=trial.definition.function,
            )
        asked = {"rule": trial.rule, "definition": trial.definition, "from": start, "to": end, "fresh": True}
        found = self._ask("POST", "alerts/test", body=msgspec.json.encode(asked), patience=CARE_PATIENCE)
        told = msgspec.json.decode(self._ask("GET", "status"), type=Told)
        return msgspec.json.decode(found, type=Backtest), told.timezone


def _trusting(certificate: str) -> ssl.SSLContext:
    """Trusts the certificate that the server was started with and no other; the name in it is the one for others."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
    try:
        context.load_verify_locations(certificate)
    except (OSError, ssl.SSLError) as error:
        raise InvalidInput(
            f"the server's certificate cannot be read: {error}", value=certificate,
            hint="It is the file that the server was started with.",
        ) from None  # fmt: skip
    return context


def _look(drawing: Drawing) -> dict[str, Any]:
    """How this terminal is to be drawn for."""
    terminal = choose(sys.stdout, os.environ, charset=drawing.charset, width=drawing.width)
    return {
        "format": drawing.format,
        "charset": terminal.charset,
        "width": terminal.width,
        "colour": "true" if terminal.colour else "false",
        "fresh": "true",
    }


def _error(body: bytes) -> BarographError:
    """The error that a problem document tells of, of the kind that it would be here."""
    try:
        problem = msgspec.json.decode(body, type=_Problem)
    except (msgspec.MsgspecError, ValueError):
        return BarographError("the server's answer cannot be read", value=body[:200])
    name = problem.type.rpartition(":")[2]
    hint = "" if problem.hint.startswith("GET ") else problem.hint  # that is for those who speak HTTP
    if name == "invalid-event":
        return InvalidEvent(problem.field, problem.reason, hint=hint, value=problem.value)
    return _ERRORS.get(name, BarographError)(problem.detail, hint=hint, value=problem.value)
