"""The AlertManager: evaluates the rules in the background and keeps where each alert stands.

Reads metrics from a ``Reader``, behind its watermark, and the states of the last run from the control plane; records
each transition as an ``alert`` event through the front door it was given. Hands active alerts to status, pages and
the command line. What fires goes to the notifier, which routes it to people. Who asks for what is active at this very
moment gets a ``glance`` beside the watch, or an evaluation that is kept where nobody watches.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

from msgspec.structs import replace

from barograph.alerts.active_alert import (
    ActiveAlert,
    AlertCounters,
    RuleStatus,
    about_rules,
    active_alert,
    as_alert,
    broken_status,
    not_evaluated,
    rule_status,
    too_many,
    unusable,
    without_rule,
    worst_first,
)
from barograph.alerts.alert import Alert
from barograph.alerts.book import AlertBook, Entry
from barograph.alerts.detectors import Detectors
from barograph.alerts.evaluator import Evaluator, Reading, Together
from barograph.alerts.glance import Glance
from barograph.alerts.hearing import Hearing
from barograph.alerts.lifecycle import Condition
from barograph.alerts.notifier import Notifier
from barograph.alerts.prometheus.measurements import Newest
from barograph.alerts.rule import ThresholdRule
from barograph.alerts.rule_set import RuleSet
from barograph.alerts.rules.anomaly import AnomalyRule
from barograph.alerts.rules.expression import ExpressionRule
from barograph.alerts.schedule import INTERVAL_SECONDS, Grid, Look, Looks
from barograph.alerts.standing import Standing, standings
from barograph.control.alert_states import AlertStateRepository
from barograph.core.event import Alert as AlertEvent
from barograph.core.reader import Reader
from barograph_client.clock import Clock, as_utc
from barograph_client.errors import BarographError, ControlError, shorten

DELAY_SECONDS = 5.0  # events up to so late are in the window of their tick
RULE_SECONDS = 10.0  # a rule may take so long before the next one is evaluated
RELOAD_SECONDS = 2.0  # who changes a rule waits so long for an evaluation under way
SETTLING_SECONDS = 3600.0  # after a step of the clock a rule is held for its window, at most for so long
WATCH_SECONDS = 0.5  # between looks at a watermark that is behind
STALLED_SECONDS = 300.0  # without a tick, after which people are told that the rules are blind
REPLAY_POINTS = 8  # looks back over ``for`` when a check finds a breach that nobody watched begin
INCLUSIVE = timedelta(microseconds=1)  # windows are half-open, and to a check an event of its very moment counts

Stand = Sequence[tuple[ThresholdRule, list[Entry]]]  # the groups of each rule, and where they stand


class AlertManager:
    """Threshold alerts on catalogue metrics. Safe to share between threads.

    ``rules`` are looked at anew before each evaluation. ``record_transition`` takes each transition as an ``alert``
    event and may raise: it is tried again at the next evaluation. ``last_heard`` is when events could come last
    before now, None where that is not known. ``together`` answers many questions at once, if the Reader can.
    """

    def __init__(
        self,
        reader: Reader,
        rules: RuleSet,
        states: AlertStateRepository,
        record_transition: Callable[[AlertEvent], object],
        clock: Clock,
        project: str = "default",
        *,
        notifier: Notifier | None = None,
        last_heard: datetime | None = None,
        together: Together | None = None,
        interval: float = INTERVAL_SECONDS,
        delay: float = DELAY_SECONDS,
        rule_seconds: float = RULE_SECONDS,
    ) -> None:
        self._reader = reader
        self.rule_set = rules
        self._rules = rules.rules
        self._clock = clock
        self._interval = interval
        self._delay = timedelta(seconds=delay)
        self._project = project
        self._evaluated_at, self._evaluated_monotonic = clock.now(), clock.monotonic()
        self.notifier = notifier
        self._detectors = Detectors(self._rules, project, clock.now(), states.load_detectors(project))
        self._evaluator = Evaluator(reader, project, rule_seconds, self._detectors, together)
        self._hearing = Hearing(last_heard, clock.now())
        self._grid = Grid(clock, interval)
        self._looks = Looks()
        self._settling_from: datetime | None = None
        self._counters = AlertCounters()
        self._notes: dict[str, tuple[str, datetime]] = {}  # by rule: why some groups are left out, and since when
        self._broken: dict[str, datetime] = {}  # kept rules that cannot be used, and since when
        self._evaluating = threading.Lock()  # one evaluation at a time; it may take long
        until, learned = self._evaluator.data_until, self._detectors
        self._book = AlertBook(self._rules, states, record_transition, project, clock.now(), until, learned, rules.gone)
        self._settled = self._standing_now()
        self._judged_to = self._book.evaluated_to  # the end of the data that were judged last
        self._onlooker = Evaluator(reader, project, rule_seconds, together=together)  # which a glance may keep waiting
        self._glancing = threading.Lock()  # one glance at a time
        self._glance: Glance | None = None
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None
        if notifier is not None:
            notifier.of_rules = self.alerts
            notifier.why_over = lambda alert: without_rule(alert, rules.gone)

    def start(self) -> None:
        """Evaluate on the grid in a background thread until ``stop``."""
        if self._thread is None:
            self._stop.clear()
            self._thread = threading.Thread(target=self._run, name="barograph-alerts", daemon=True)
            self._thread.start()

    def stop(self) -> None:
        """End the thread after the rule it is evaluating, and keep all states. May be called again."""
        self._stop.set()
        if self._thread is not None:
            self._thread.join()
            self._thread = None
        with self._evaluating:
            self._evaluator.close()
            self._commit()
        with self._glancing:
            self._onlooker.close()
            self._glance = None

    def check(self, at: datetime | None = None) -> list[ActiveAlert]:
        """What is active now, on what can be queried now.

        Where the rules are watched, that is what the watch has, and what a glance finds beyond it: until the watch has
        come as far, it is shown, but nothing of it is kept, recorded, counted or told. Where nobody watches, it is an
        evaluation that is kept, as a tick is. Unlike a tick both look at events up to and including ``at``, without the
        event-time delay; and where a rule is passed and nobody has watched it lately, its ``for`` is looked back over,
        so that one check gives the answer that watching would have given.
        """
        moment = self._clock.now() if at is None else as_utc(at)
        if self._thread is not None:
            self._look(moment)
            return self.active(moment)
        with self._evaluating:
            self._look_at_rules()
            self._notice_step()
            ready = self._held_back(self._rules, moment)
            self._evaluator.ask_ahead(ready, moment + INCLUSIVE)
            for rule in ready:
                for point, reading in self._readings(rule, moment, self._evaluator, self._book):
                    self._enter(rule, reading, point, point)
            self._commit()
            self._judged_to = max(self._judged_to, moment)
        return self.active(moment)

    def active(self, at: datetime | None = None) -> list[ActiveAlert]:
        """What people are to be told of, the worst and then the oldest first. Does not evaluate."""
        moment = self._clock.now() if at is None else at
        found = [pair for pair in self._alerts(self._shown(), moment) if pair[0].state not in ("pending", "resolved")]
        back = self.notifier.kept_back([alert for _, alert in found], moment) if self.notifier else {}
        return worst_first(found, back, moment)

    def rules(self) -> list[RuleStatus]:
        """Where each rule stands: the file's in its order, the kept ones, the default ones."""
        usable = []
        for rule, entries in self._shown():
            note, source = self._notes.get(rule.name, ("",))[0], self.rule_set.source(rule.name)
            usable.append(rule_status(rule, [condition for _, condition in entries], note, source))
        return [*usable, *map(broken_status, self.rule_set.broken)]

    def rule(self, name: str) -> ThresholdRule:
        """The rule of that name. Raises InvalidRule."""
        found = next((rule for rule in self._rules if rule.name == name), None)
        if found is None:
            raise self.rule_set.unknown(name)
        return found

    def reload(self) -> None:
        """Heed rules that were added, replaced or removed: now, or at the next tick if an evaluation is under way."""
        if self._evaluating.acquire(timeout=RELOAD_SECONDS):
            try:
                self._look_at_rules()
            finally:
                self._evaluating.release()

    def _look_at_rules(self) -> None:
        """What is not known any more is resolved; an alert of a rule that was replaced goes on where it stood."""
        try:
            self.rule_set.refresh()
        except ControlError as error:  # those that are known go on
            self._failed(error)
        now, rules = self._clock.now(), self.rule_set.rules
        broken = {one.settings.name for one in self.rule_set.broken}
        self._broken = {name: self._broken.get(name, now) for name in broken}
        if rules != self._rules:
            self._rules = rules
            names = {rule.name for rule in rules}
            self._notes = {name: note for name, note in self._notes.items() if name in names}
            self._looks.forget(names)
            self._evaluator.watch(rules)
            self._book.watch_only(rules, now)

    @property
    def counters(self) -> AlertCounters:
        """What has been done since start."""
        return replace(self._counters, unrecorded=self._book.unrecorded)

    def run_due(self) -> bool:
        """Evaluate the newest tick that is due and complete, if there is one; what the thread does over and over."""
        with self._evaluating:
            self._notice_step()
            now = self._clock.now()
            tick, skipped = self._grid.take(min(now, as_utc(self._reader.watermark())))
            if tick is None or tick - self._delay < self._judged_to:
                return False
            self._look_at_rules()
            late = (now - tick).total_seconds() > self._interval / 2
            self._counters = replace(
                self._counters,
                ticks=self._counters.ticks + 1,
                missed=self._counters.missed + skipped,
                late=self._counters.late + late,
                evaluated_to=tick,
            )
            end, ready = tick - self._delay, self._held_back(self._looks.due(self._rules, tick), tick)
            self._evaluator.ask_ahead(ready, end)
            for rule in ready:
                if self._stop.is_set() and self._thread is not None:
                    break
                self._enter(rule, self._observe(self._evaluator, rule, end), tick, end)
            self._evaluated_at, self._evaluated_monotonic = now, self._clock.monotonic()
            self._commit()
            self._judged_to = end
        return True

    def samples(self) -> list[tuple[ThresholdRule, int, Newest]]:
        """The newest samples of what expressions name, a rule each, and of which second they are. From any thread."""
        return self._evaluator.samples()

    def conditions(self) -> list[tuple[ThresholdRule, dict[str, str], Condition]]:
        """Every group of every rule, and where it stands. From any thread."""
        return [(rule, labels, condition) for rule in self._rules for labels, condition in self._book.of(rule)]

    def alerts(self, at: datetime | None = None) -> list[Alert]:
        """What routing is told of: the rules' alerts that fire, and those that were resolved lately.

        As they stood when they were kept last: nothing of a tick under way is told before it is kept. From any thread.
        """
        moment = self._clock.now() if at is None else at
        return [alert for one, alert in self._alerts(self._settled, moment) if one.state != "pending"]

    def standing(self, zone: ZoneInfo, at: datetime | None = None) -> list[Standing]:
        """Every alert that waits or fires, of the rules and from outside, the worst and then the oldest first.

        Times in the explanations are of ``zone``. Raises ControlError.
        """
        moment = self._clock.now() if at is None else at
        return standings(self._alerts(self._shown(), moment), self.notifier, moment, zone)

    def _standing_now(self) -> Stand:
        return [(rule, self._book.of(rule)) for rule in self._rules]

    def _shown(self) -> Stand:
        """Where the rules' groups stand: as the watch has it, and beyond that as a glance has found it."""
        kept, glance = self._standing_now(), self._glance
        if glance is None:
            return kept
        return [(rule, glance.beside(rule, entries, self._looks.judged_to(rule))) for rule, entries in kept]

    def _alerts(self, stand: Stand, at: datetime) -> list[tuple[ActiveAlert, Alert]]:
        """The alerts of the rules, and those about them, that wait, fire or were resolved lately."""
        found = [
            (active_alert(rule, labels, condition, at), alert)
            for rule, entries in stand
            for labels, condition in entries
            if (alert := as_alert(rule, labels, condition, self._project, at)) is not None
        ]
        about: list[Alert] = []
        for rule, entries in stand:
            note, since = self._notes.get(rule.name, ("", at))
            if note:
                firing = sum(condition.has_fired for _, condition in entries)
                about.append(too_many(rule, f"{note}; {firing} of them fire", self._project, since, at))
        about += [
            unusable(one, self._project, self._broken.get(one.settings.name, at), at) for one in self.rule_set.broken
        ]
        stalled = self._clock.monotonic() - self._evaluated_monotonic  # which a step of the clock does not change
        if stalled >= STALLED_SECONDS and self._thread is not None:
            since = self._evaluated_at + timedelta(seconds=STALLED_SECONDS)
            about.append(not_evaluated(stalled, self._project, since, at))
        return [*found, *((about_rules(alert), alert) for alert in about)]

    def _run(self) -> None:
        while not self._stop.is_set():
            try:
                self.run_due()
            except Exception as error:  # an engine that is away, or whatever else: the watch goes on
                with self._evaluating:
                    self._failed(error)
            behind = self._grid.until_next()
            pause = behind if behind > 0 else min(WATCH_SECONDS, self._interval / 4)
            self._clock.wait(self._stop, min(pause, self._interval))

    def _failed(self, error: Exception) -> None:
        reason = str(error) if isinstance(error, BarographError) else f"{type(error).__name__}: {error}"
        self._counters = replace(self._counters, last_error=shorten(reason, 300))

    def _notice_step(self) -> None:
        """After a step of the wall clock: keep the time pending alerts have waited, and distrust windows across it."""
        moved = self._grid.clock_step()
        if moved:
            self._settling_from = self._clock.now()
            self._evaluated_at += timedelta(seconds=moved)
            self._judged_to = min(self._judged_to, self._settling_from)
            self._glance = None
            self._looks.forget()
            self._hearing.skip(moved, self._settling_from)
            self._book.shift(moved)
            self._detectors.cut(self._settling_from)

    def _held_back(self, rules: Sequence[ThresholdRule], at: datetime) -> list[ThresholdRule]:
        """Those of the rules to evaluate at ``at``: slow ones last, none whose window reaches across a clock step."""
        ready = [rule for rule in rules if not self._settles(rule, at)]
        self._counters = replace(self._counters, held=self._counters.held + len(rules) - len(ready))
        return sorted(ready, key=self._evaluator.is_slow)

    def _settles(self, rule: ThresholdRule, at: datetime) -> bool:
        held = timedelta(seconds=min(rule.window_seconds, SETTLING_SECONDS)) + self._delay
        return self._settling_from is not None and at < self._settling_from + held

    def _observe(self, evaluator: Evaluator, rule: ThresholdRule, end: datetime) -> Reading:
        return self._hearing.judge(rule, evaluator.observe(rule, end), end, evaluator.ever)

    def _enter(self, rule: ThresholdRule, reading: Reading, at: datetime, end: datetime) -> None:
        if not reading.note and not reading.error:
            self._notes.pop(rule.name, None)
        elif reading.note and rule.name not in self._notes:
            self._notes[rule.name] = (reading.note, at)
        failed = bool(reading.error)
        self._counters = replace(
            self._counters,
            evaluations=self._counters.evaluations + 1,
            failed=self._counters.failed + failed,
            last_error=f"rule {shorten(rule.name)}: {reading.error}" if failed else self._counters.last_error,
        )
        self._book.enter(rule, reading, at)
        self._looks.looked(Look(rule, at, end, failed))

    def _readings(
        self, rule: ThresholdRule, at: datetime, evaluator: Evaluator, book: AlertBook
    ) -> Iterator[tuple[datetime, Reading]]:
        """What the rule shows at ``at``; before that what watching would have seen, where nobody has watched."""
        last = self._observe(evaluator, rule, at + INCLUSIVE)
        broken = any(observation.outcome == "breach" for _, observation in last.groups)
        if broken and rule.for_seconds and not book.watched(rule, at, 2 * max(self._interval, rule.interval_seconds)):
            for i in range(REPLAY_POINTS):
                point = at - timedelta(seconds=rule.for_seconds * (1 - i / REPLAY_POINTS))
                yield point, self._observe(evaluator, rule, point + INCLUSIVE)
        yield at, last

    def _look(self, at: datetime) -> None:
        """Glance at the rules beside the watch. A question that fails says nothing, nor does a clock just stepped."""
        with self._glancing:
            if self._grid.stepped:
                return
            book = self._book.apart(self._onlooker.data_until)
            seen = [rule for rule in self._rules if not self._settles(rule, at)]
            seen = [rule for rule in seen if not isinstance(rule, AnomalyRule | ExpressionRule)]  # the watch remembers
            self._onlooker.ask_ahead(seen, at + INCLUSIVE)
            for rule in seen:
                for point, reading in self._readings(rule, at, self._onlooker, book):
                    if not reading.error:
                        book.enter(rule, reading, point)
            self._glance = Glance(at=at, book=book)

    def _commit(self) -> None:
        """Record the transitions, then keep the states: after a crash in between a transition is recorded again."""
        for error in self._book.commit():
            self._failed(error)
        self._settled = self._standing_now()
        if self.notifier is not None:
            self.notifier.wake()
