"""The desk: where commands record and ask, whoever has the data directory open.

``LocalDesk`` opens it here, ``RemoteDesk`` speaks to the server that has it. Commands are written once, against the
``Desk``; ``desk_of`` finds out which it is.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from datetime import date, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import msgspec
from msgspec import Struct

from barograph.core.query import MetricAnswer
from barograph.core.settings import RuleSettings
from barograph.journal.lock import server_of

if TYPE_CHECKING:
    from barograph.alerts.backtest import Backtest
    from barograph.alerts.incidents import History
    from barograph.cli.experiment_desk import ExperimentDesk
    from barograph.dashboard.asked import Asked
    from barograph.dashboard.doctor import Finding
    from barograph.dashboard.open_alerts import Choice, NamedAlert, OpenAlerts
    from barograph.store.retention import Pruned
    from barograph.store.verification import Report
    from barograph_client.errors import InvalidEvent

UNKNOWN_TRACE = "`barograph queries` lists them; a trace is there after its grace of a few seconds."
COUNTED = ("received", "stored", "rejected", "duplicate")


class Told(Struct, kw_only=True):
    """The status for programs; the reasons, the alerts and the store as they were given."""

    state: str
    reasons: list[Any]
    alerts: list[Any]
    account: dict[str, Any]
    complete_to: datetime
    store: Any
    timezone: str = "UTC"

    def sentences(self) -> list[str]:
        """The reasons in words; alerts are among them."""
        return [reason["sentence"] for reason in msgspec.to_builtins(self.reasons)]


class Span(Struct, frozen=True, kw_only=True):
    """A window as it was asked for, or nothing of it."""

    last: str | None = None
    start: str | None = None
    end: str | None = None


class Drawing(Struct, frozen=True, kw_only=True):
    """How to draw: the form, and for text the charset and the columns."""

    format: str = "text"
    charset: str | None = None
    width: int | None = None


class Question(Struct, frozen=True, kw_only=True):
    """A metric question as the command line has it."""

    metric: str
    window: tuple[datetime, datetime]
    every: float | str | None = None
    by: list[str] = []
    where: list[str] = []
    compare: str | None = None
    limit: int = 50


class Search(Struct, frozen=True, kw_only=True):
    """A question for single events as the command line has it."""

    kind: str
    window: tuple[datetime, datetime]
    where: list[str] = []
    order: str = "time"
    ascending: bool = False
    limit: int = 20


class Listed(Struct, frozen=True, kw_only=True):
    """The events, each a row of its fields; whether there are more; and the zone of the settings."""

    items: list[dict[str, Any]]
    more: bool
    complete_to: datetime
    timezone: str


class Trial(Struct, frozen=True, kw_only=True):
    """A rule to be tried on stored data: one in use by its name, or one that is only defined."""

    window: tuple[datetime, datetime]
    rule: str = ""
    definition: RuleSettings | None = None


class Desk(Protocol):
    """What commands need. Everything raises BarographError; what was just recorded is in the answers.

    A text beside an answer is the zone of the settings.
    """

    directory: Path
    live: bool  # whether a server has the directory: it evaluates rules and tells people

    @property
    def experiments(self) -> ExperimentDesk: ...

    def status(self) -> Told: ...
    def page(self, name: str, span: Span, experiment: str, drawing: Drawing) -> str: ...
    def trace(self, wanted: str, drawing: Drawing) -> str: ...
    def report(self, hours: float, drawing: Drawing) -> str: ...
    def query(self, question: Question) -> tuple[MetricAnswer, Asked]: ...
    def events(self, search: Search) -> Listed: ...
    def record(self, kind: str, fields: dict[str, object]) -> str: ...
    def record_lines(self, lines: Sequence[bytes], kind: str | None) -> Sequence[str | InvalidEvent]: ...
    def counts(self) -> dict[str, int]: ...
    def verify(self) -> Report: ...
    def rebuild(self, day: date | None) -> Report: ...
    def prune(self, older_than: str, kinds: Sequence[str]) -> Sequence[Pruned]: ...
    def compress(self) -> int: ...
    def findings(self) -> Sequence[Finding]: ...
    def alerts(self, choice: Choice) -> tuple[OpenAlerts, str]: ...
    def history(self, window: tuple[datetime, datetime], limit: int) -> tuple[History, str]: ...
    def acknowledge(self, beginning: str, by: str, comment: str) -> NamedAlert: ...
    def withdraw(self, beginning: str, by: str, comment: str) -> NamedAlert: ...
    def backtest(self, trial: Trial, progress: Callable[[float], None]) -> tuple[Backtest, str]: ...


@contextlib.contextmanager
def desk_of(directory: Path, project: str | None = None) -> Iterator[Desk]:
    """The desk of a directory: the server's if one has it open, else our own."""
    server = server_of(directory)
    if server is not None:
        from barograph.cli.remote_desk import RemoteDesk

        with RemoteDesk(directory, server, project or "") as remote:
            yield remote
    else:
        from barograph.cli.local_desk import LocalDesk
        from barograph.cli.options import opened

        with opened(directory, project=project) as dashboard:
            yield LocalDesk(directory, dashboard)
