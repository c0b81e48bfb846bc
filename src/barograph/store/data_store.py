"""``DataStore``: the journal's events in the engine, and every answer that is given from there.

It owns the engine, the loader and its thread, attribution, verification, rebuilding and retention, and is the
``Reader`` that alerts, analytics, experiments and the dashboard ask. The journal is the truth: whatever happens to
the engine, ``rebuild`` makes it again with the same answers.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import threading
from collections.abc import Iterator, Sequence
from datetime import date, datetime, timedelta
from types import TracebackType
from typing import Self

import msgspec
from msgspec import Struct

from barograph.core.durations import Durations
from barograph.core.event import EPOCH, NOT_A_QUERY
from barograph.core.metric import Catalogue
from barograph.core.query import EventPage, EventQuery, MetricAnswer, MetricQuery
from barograph.core.settings import EngineSettings
from barograph.core.shared_questions import SharedQuery, SharedQuestions
from barograph.core.units import PopulationAnswer, PopulationQuery, UnitAnswer, UnitQuery, UnitValues
from barograph.core.worker import Worker
from barograph.journal.journal import Journal
from barograph.store.archive_rollups import archived
from barograph.store.attribution import Attributor
from barograph.store.checkpoint import Checkpoint
from barograph.store.decisions import decisions
from barograph.store.engine import Engine
from barograph.store.event_answers import event_page
from barograph.store.loader import Loader
from barograph.store.metric_answers import Answerer
from barograph.store.rebuilding import import_archive, rebuild_day
from barograph.store.retention import Pruned, retire_days
from barograph.store.schema import TornMigration, drop, migrate
from barograph.store.units.answers import unit_answer, unit_values
from barograph.store.units.population import population
from barograph.store.units.retired import retired_notes
from barograph.store.units.shared_questions import shared_questions
from barograph.store.verification import Report, compare, drop_broken_parts
from barograph_client.clock import Clock
from barograph_client.errors import BarographError, EngineRefused, EngineUnavailable, QueryTooExpensive

ROOM_TO_OPEN = 64 * 2**20  # bytes: with less, an engine that does not open need not be damaged


class Health(Struct, frozen=True, kw_only=True):
    """The store in a few facts.

    ``problem`` is what stops the loader, in a sentence, or empty. ``rebuilt_days`` were found damaged at the start
    and made again from the journal; ``made_again`` says why the whole engine was.
    """

    engine: str
    ready: bool
    complete_to: datetime
    bytes_behind: int
    undecided: int
    rebuilt_days: tuple[date, ...]
    problem: str
    made_again: str = ""


class DataStore:
    """Journal to engine, and answers. ``start`` loads in the background; without it ``flush`` loads on demand.

    Every method that asks raises EngineError when the engine does not answer; nothing journaled is lost by that.
    """

    def __init__(self, journal: Journal, clock: Clock, settings: EngineSettings, catalogue: Catalogue) -> None:
        self._journal = journal
        self._clock = clock
        self._settings = settings
        self._catalogue = catalogue
        self._folder, self._archive = journal.directory / "engine", journal.directory / "archive" / "rollup"
        self._engine = Engine(settings, self._folder / "chdb")
        self._checkpoint = Checkpoint(self._folder / f"checkpoint-{settings.database}.json")
        self._attributor = Attributor(journal, self._engine, clock)
        self._loader = Loader(journal, self._engine, self._checkpoint, self._attributor.loaded)
        self._answerer = Answerer(self._engine, catalogue)
        self._thread = Worker("barograph-loader", "loading", lambda: not self._round(), clock, settings.load_interval)
        self._ready = threading.Event()  # opened, migrated, caught up and checked
        self._rebuilt: set[date] = set()
        self._made_again = ""  # why the whole engine was, in a sentence
        self._checked = False  # whether an unclean end of the last owner was dealt with
        self._closed = False

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    # loading

    def start(self) -> None:
        """Open the engine and keep it up to the journal, in a thread of its own."""
        self._thread.start()

    def flush(self) -> datetime:
        """Make everything that is durable now visible, attribution included; returns the watermark.

        Raises EngineError when the engine is away, JournalError when the journal fails.
        """
        self._journal.sync()
        goal = self._journal.snapshot().complete_to
        with self._loader.lock:
            if self._closed:
                raise EngineUnavailable("the store is closed", hint="Open it again; the journal keeps what comes.")
            while not self._round() or self._loader.watermark < goal:
                pass
            self._attributor.decide()
            self._journal.sync()  # in interval mode what was decided now, or in a round, would come too late
            while not self._loader.step():
                pass
        return self._loader.watermark

    def _round(self) -> bool:
        with self._loader.lock:
            if self._closed:
                return True
            if not self._ready.is_set():
                self._prepare()
            complete = self._loader.step()
            if complete and self._attributor.decide():
                complete = self._loader.step()
            return complete

    def _prepare(self) -> None:
        """Open, migrate, catch up; after an unclean end check the engine and make the damaged days again."""
        self._open()
        state = self._checkpoint.state
        if not self._checkpoint.known or self._outdated():
            self._start_over()
        elif not state.suspect and ((self._journal.unclean_start and not self._checked) or self._journal_lost_bytes()):
            state.suspect = True
            self._checkpoint.write()
        if self._checkpoint.state.suspect:
            self._check()
        self._checked = True
        for day in self._restored_days():
            self._rebuild_day(day)
        while not self._loader.step():
            pass
        self._attributor.recover()
        self._ready.set()

    def _open(self) -> None:
        """Open the engine; its files in the data directory are moved aside if it cannot read them."""
        try:
            self._engine.open()
        except EngineRefused as error:
            if not self._engine.in_data_directory or self._made_again or not os.access(self._folder, os.W_OK):
                raise
            if self._journal.free_bytes() < ROOM_TO_OPEN or self._engine.is_held():
                raise EngineUnavailable(
                    f"{self._folder} has no room left, or another process holds the engine: {error.message}",
                    hint="Free some space, or stop the other process; what is journaled is safe and is loaded then.",
                ) from error
            aside = self._folder / "damaged"
            shutil.rmtree(aside, ignore_errors=True)
            (self._folder / "chdb").rename(aside)
            self._checkpoint.forget()
            self._made_again = f"The engine could not be opened and was made again; its files are in {aside}. {error}"
            self._engine.open()

    def _outdated(self) -> bool:
        """Whether the engine holds another schema than this version's, or half of one."""
        try:
            return migrate(self._engine) > 0
        except TornMigration:
            return True

    def _journal_lost_bytes(self) -> bool:
        """Whether the engine holds what the journal does not have any more."""
        loaded = self._checkpoint.state.loaded
        return any(loaded.get(segment.name, 0) > segment.size for segment in self._journal.snapshot().segments)

    def _check(self) -> None:
        """Find the damaged days and make them again, or everything where that does not go. Answers wait for it."""
        watermark, self._loader.watermark = self._loader.watermark, EPOCH
        try:
            while not self._loader.step():  # first: a dropped part's block would be taken once more, and not be told
                pass
            drop_broken_parts(self._engine)
            days = self._days_that_lost_bytes()
            days |= {difference.day for difference in compare(self._journal, self._engine).differences}
            for day in sorted(days):
                self._rebuild_day(day)
                self._rebuilt.add(day)
            if days and not compare(self._journal, self._engine).ok:
                raise EngineRefused("the rebuilt days do not agree with the journal", code=0)
        except (EngineRefused, QueryTooExpensive) as error:
            self._made_again = f"The engine was damaged beyond single days and was made again. {error}"
            self._start_over()
        self._loader.watermark = watermark
        self._checkpoint.state.suspect = False
        self._checkpoint.write()

    def _days_that_lost_bytes(self) -> set[date]:
        loaded, days = self._checkpoint.state.loaded, set()
        for segment in self._journal.snapshot().segments:
            if loaded.get(segment.name, 0) > segment.size:
                days.add(segment.day)
                loaded[segment.name] = segment.size
        return days

    def _restored_days(self) -> set[date]:
        """Retired days that came back from a backup: their rollups are there, so loading them would count twice."""
        exported = {(kind, day) for day, kind, _, _ in archived(self._archive)}
        loaded, days = self._checkpoint.state.loaded, set()
        for segment in self._journal.snapshot().segments:
            if (segment.kind, segment.day) in exported and segment.size and segment.name not in loaded:
                days.add(segment.day)
                loaded[segment.name] = segment.size
        return days

    def _start_over(self) -> None:
        """An empty engine in the present schema, and nothing loaded."""
        self._checkpoint.forget()
        self._attributor.forget()
        drop(self._engine)
        migrate(self._engine)
        import_archive(self._journal, self._engine)
        self._checkpoint.write()

    # answers

    def query(self, question: MetricQuery) -> MetricAnswer:
        """Answer a metric question from rollups where they suffice, from raw events where they do not."""
        return self.query_many([question])[0]

    def query_many(self, questions: Sequence[MetricQuery]) -> list[MetricAnswer]:
        """Answers to several questions in as few statements as there can be; raises for the first that fails."""
        for question in questions:
            self._catalogue.get(question.metric)
        self._wait()
        answers = self._answerer.answers(questions, self.watermark())
        return [self._with_notes(answer, question) for answer, question in zip(answers, questions, strict=True)]

    def query_raw(self, question: MetricQuery) -> MetricAnswer:
        """The same answer from raw events alone; slower, and the proof that the rollups are right."""
        self._wait()
        return self._answerer.answers([question], self.watermark(), raw_only=True)[0]

    def events(self, question: EventQuery) -> EventPage:
        """A page of events."""
        self._wait()
        return event_page(self._engine, question, self.watermark(), self.retired(question.kind))

    def units(self, question: UnitQuery) -> UnitAnswer:
        """Per-unit moments by arm."""
        self._wait()
        answer = unit_answer(self._engine, self._catalogue, question, self.watermark())
        return msgspec.structs.replace(answer, notes=(*answer.notes, *retired_notes(question, self._pruned_before())))

    def unit_values(self, question: UnitQuery, most: int) -> tuple[UnitValues, ...]:
        """Units one by one, by arm; a sample of them where there are more than ``most``."""
        self._wait()
        return unit_values(self._engine, self._catalogue, question, most)

    def population(self, question: PopulationQuery) -> PopulationAnswer:
        """All units that were active in a window."""
        self._wait()
        answer = population(self._engine, self._catalogue, question, self.watermark())
        return msgspec.structs.replace(answer, notes=retired_notes(question, self._pruned_before()))

    def shared_questions(self, question: SharedQuery) -> SharedQuestions:
        """Questions that units of several arms asked, with an answer of each."""
        self._wait()
        return shared_questions(self._engine, self._catalogue, question, self.watermark(), self.retired("query"))

    def decisions(self, project: str, traces: Sequence[str]) -> dict[str, datetime]:
        """When those of the traces were decided for which there is a query event, or a line that says why not."""
        self._wait()
        return decisions(self._engine, project, traces, NOT_A_QUERY)

    @property
    def query_times(self) -> Durations:
        """How long the questions of this process took in the engine."""
        return self._engine.query_times

    def watermark(self) -> datetime:
        """Every event journaled with ``received_at`` up to here can be queried."""
        return self._loader.watermark

    def _wait(self) -> None:
        """Answers are given once the engine is open and checked; the first caller opens it when nobody did."""
        if self._ready.is_set():
            return
        if self._thread.problem is not None:
            raise self._thread.problem
        self._round()

    def _with_notes(self, answer: MetricAnswer, question: MetricQuery) -> MetricAnswer:
        pruned = self._pruned_before()
        if answer.read_from == "rollup" or pruned is None or question.window.start.date() > pruned:
            return answer
        note = f"Raw events that arrived up to {pruned} were retired; this answer reads raw events and may miss them."
        return msgspec.structs.replace(answer, notes=(*answer.notes, note))

    def retired(self, kind: str) -> set[date]:
        """Days of arrival whose events are gone and whose rollups stay."""
        exported = {day for day, exported, _, _ in archived(self._archive) if exported == kind}
        return exported - set(self._journal.days(kind)) if exported else exported

    def _pruned_before(self) -> date | None:
        days = [day for day, _, _, _ in archived(self._archive)]
        return max(days, default=None)

    # care

    def verify(self) -> Report:
        """Load what is there, then compare journal and engine by kind and day, rollups included."""
        with self._drained():
            return compare(self._journal, self._engine)

    def rebuild(self, day: date | None = None) -> Report:
        """Make the engine again from the journal, whole or one day of arrival; returns the verification."""
        if day is not None:
            with self._drained():
                self._rebuild_day(day)
                return compare(self._journal, self._engine)
        with self._loader.lock:
            self._loader.watermark = EPOCH
            self._ready.clear()
            self._open()
            self._start_over()
        return self.verify()

    def _rebuild_day(self, day: date) -> None:
        self._loader.settle()
        staging = Engine(self._settings, self._folder / "chdb", database=f"{self._settings.database}_staging")
        try:
            loaded = self._checkpoint.state.loaded
            rebuild_day(self._journal, self._engine, staging, self._staging_loader, loaded, day)
        finally:
            staging.close()

    def _staging_loader(self, engine: Engine, checkpoint: Checkpoint, only: dict[str, int]) -> Loader:
        return Loader(self._journal, engine, checkpoint, lambda kind, lines: None, only=only)

    def prune(self, older_than: timedelta, kinds: tuple[str, ...] = ()) -> list[Pruned]:
        """Retire raw days of arrival older than that: their final rollups are exported and go on answering.

        Only closed days that are wholly loaded go. Raises EngineError, and deletes nothing, when the export fails.
        """
        with self._drained():
            now = self._clock.now()
            return retire_days(self._journal, self._engine, self._checkpoint, self._archive, kinds, now, older_than)

    def compress_closed(self) -> int:
        """Compress the journal's closed days that are loaded; returns how many segments were packed."""
        with self._drained():
            return len(self._journal.compress_closed())

    def health(self) -> Health:
        """Facts about the store, without asking the engine."""
        problem: BarographError | None = self._thread.problem
        return Health(
            engine="embedded" if self._engine.embedded else "remote",
            ready=self._ready.is_set(),
            complete_to=self.watermark(),
            bytes_behind=self._loader.behind(),
            undecided=self._attributor.undecided,
            rebuilt_days=tuple(sorted(self._rebuilt)),
            problem=str(problem) if problem else "",
            made_again=self._made_again,
        )

    @contextlib.contextmanager
    def _drained(self) -> Iterator[None]:
        """Everything loaded, and nobody loading."""
        with self._loader.lock:
            if self._closed:
                raise EngineUnavailable("the store is closed", hint="Open it again; the journal keeps what comes.")
            self.flush()
            yield

    def close(self) -> None:
        """Load what is durable if the engine is ready, write the checkpoint, let the engine go."""
        if self._closed:
            return
        self._thread.stop()
        with self._loader.lock:
            if self._ready.is_set():
                with contextlib.suppress(BarographError):  # what is not loaded now is loaded at the next start
                    self._round()
                with contextlib.suppress(OSError):
                    self._loader.settle()
            self._closed = True
            self._engine.close()
