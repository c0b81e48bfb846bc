"""A Reader that answers what is asked of units from a list of event dictionaries: the questions' plain meaning."""

from __future__ import annotations

import hashlib
import math
from collections import Counter
from collections.abc import Iterator
from datetime import UTC, date, datetime, time, timedelta
from itertools import pairwise

import numpy as np
from msgspec import Struct, structs
from tests.support.dictionary_reader import DictionaryReader, Record, number

from barograph.core.metric import Metric
from barograph.core.query import EventQuery, Window
from barograph.core.shared_questions import (
    BLANKS,
    LONGEST_ANSWER,
    LONGEST_QUESTION,
    MOST_QUERIES,
    ArmAnswer,
    SharedQuery,
    SharedQuestion,
    SharedQuestions,
    cut_off,
)
from barograph.core.units import (
    EARLY_SECONDS,
    HOUR_SECONDS,
    MOST_VALUES,
    REST,
    PopulationAnswer,
    PopulationQuery,
    PreMoments,
    UnitAnswer,
    UnitMoments,
    UnitQuery,
    UnitValues,
)
from barograph.stats.summary import RatioSummary

ID_FIELDS = {"user": "user_id", "session": "session_id"}
DAY = timedelta(days=1)
Pair = tuple[float, float]


class Exposed(Struct):
    """A unit that was exposed in the window: where it belongs, from when to when it counts, and what it did."""

    unit: str
    arms: set[str]
    at: datetime
    until: datetime
    pauses: tuple[Window, ...]
    tags: dict[str, str]
    events: list[tuple[datetime, float | None, float | None]]

    def since(self) -> Pair:
        return self._between(self.at, self.until)

    def counts(self, moment: datetime) -> bool:
        """Whether what it did then counts."""
        return self.at <= moment < self.until and not self._paused(moment)

    def _between(self, low: datetime, high: datetime) -> Pair:
        return _sum([(n, d) for at, n, d in self.events if low <= at < high and not self._paused(at)])

    def _paused(self, moment: datetime) -> bool:
        return any(pause.start <= moment < pause.end for pause in self.pauses)

    def days(self, low: datetime, high: datetime) -> float:
        """How much of the time between counts, in days."""
        cuts = sorted({low, high, *(edge for pause in self.pauses for edge in (pause.start, pause.end))})
        parts = [(a, b) for a, b in pairwise(cuts) if low <= a and b <= high and not self._paused(a)]
        return sum((b - a for a, b in parts), timedelta()) / DAY

    def before(self, days: int) -> Pair:
        on, first = self.at.date(), self.at.date() - days * DAY
        return _sum([(n, d) for moment, n, d in self.events if first <= moment.date() < on])

    def earlier(self, start: datetime) -> dict[str, bool]:
        """Whether it did something before its exposure: just before, in the hour, or since an hour before the start."""
        hour = timedelta(seconds=HOUR_SECONDS)
        since = {
            "just_before": self.at - timedelta(seconds=EARLY_SECONDS),
            "hour_before": self.at - hour,
            "any_before": start - hour,
        }
        return {name: any(first <= moment < self.at for moment, _, _ in self.events) for name, first in since.items()}

    def ages(self) -> Iterator[tuple[int, Pair, float]]:
        """UTC days that it reached and that count: the number since the exposure's, the sums on it, how much counts."""
        day = self.at.date()
        while (start := datetime.combine(day, time(), UTC)) < self.until:
            low, high = max(start, self.at), min(start + DAY, self.until)
            if counted := self.days(low, high):
                yield (day - self.at.date()).days, self._between(low, high), counted
            day += DAY


class UnitsReader(DictionaryReader):
    """Exposed units by arm; each unit's sums over its events from its first exposure on."""

    def units(self, question: UnitQuery) -> UnitAnswer:
        exposed = self._exposed(question)
        clean = [one for one in exposed if len(one.arms) == 1]
        cap = None
        if question.cap is not None and clean:
            cap = float(np.quantile([one.since()[0] for one in clean], question.cap))
        arms: dict[tuple[str, int, str], list[tuple[Pair, float, Pair]]] = {}
        earlier: dict[tuple[str, int, str], Counter[str]] = {}
        values = Counter(one.tags.get(question.by.removeprefix("tag."), "") for one in clean)
        frequent = sorted(values, key=lambda value: (-values[value], value))[:MOST_VALUES]
        for one in clean:
            period, (arm,) = sum(change <= one.at for change in question.changed_at), one.arms
            if question.by == "age":
                for age, sums, days in one.ages():
                    arms.setdefault((arm, period, str(age)), []).append((sums, days, (0.0, 0.0)))
                continue
            group = one.at.date().isoformat() if question.by == "day" else ""
            if question.by.startswith("tag."):
                value = one.tags.get(question.by.removeprefix("tag."), "")
                group = value if value in frequent else REST
            n, d = one.since()
            days = one.days(one.at, one.until)
            row = (n if cap is None else min(n, cap), d), days, one.before(question.pre_days)
            arms.setdefault((arm, period, group), []).append(row)
            earlier.setdefault((arm, period, group), Counter()).update(one.earlier(question.window.start))
        return UnitAnswer(
            arms=tuple(
                structs.replace(_moments(*place, rows, pre=question.pre_days > 0), **earlier.get(place, {}))
                for place, rows in sorted(arms.items())
            ),
            contaminated=len(exposed) - len(clean),
            first_exposure=min((one.at for one in exposed), default=None),
            last_exposure=max((one.at for one in exposed), default=None),
            complete_to=self.watermark(),
            cap=cap,
        )

    def unit_values(self, question: UnitQuery, most: int) -> tuple[UnitValues, ...]:
        clean = [one for one in self._exposed(question) if len(one.arms) == 1]
        share = min(1.0, most / max(1, len(clean)))
        arms: dict[str, list[Exposed]] = {}
        for one in clean:
            arms.setdefault(min(one.arms), []).append(one)
        found = []
        for arm, members in sorted(arms.items()):
            sums = [one.since() for one in members if _place(one.unit) < share]
            above, below = tuple(n for n, _ in sums), tuple(d for _, d in sums)
            found.append(UnitValues(arm=arm, units=len(members), numerators=above, denominators=below))
        return tuple(one for one in found if one.numerators)

    def population(self, question: PopulationQuery) -> PopulationAnswer:
        metric = self.catalogue.get(question.metric)
        first = question.window.start.date()
        days = ((question.window.end - timedelta(microseconds=1)).date() - first).days + 1
        active: dict[str, list[tuple[date, float | None, float | None]]] = {}
        for event in self.recorded:
            unit, moment = _unit_of(event, question.unit_kind), event["time"]
            assert isinstance(moment, datetime)
            inside = first <= moment.date() < first + days * DAY and event["kind"] in ("query", "feedback", "score")
            if unit and inside and event.get("project", "default") == question.project:
                active.setdefault(unit, []).append((moment.date(), *_numbers(event, metric)))
        begun = [(min(day for day, _, _ in events) - first).days for events in active.values()]
        rows = [
            (_sum([(n, d) for _, n, d in events]), float(days - start), (0.0, 0.0))
            for start, events in zip(begun, active.values(), strict=True)
        ]
        return PopulationAnswer(
            moments=_moments("", 0, "", rows, pre=False),
            distinct_units=tuple(sum(start <= day for start in begun) for day in range(days)),
            complete_to=self.watermark(),
        )

    def shared_questions(self, question: SharedQuery) -> SharedQuestions:
        of, metric, judged = question.of, self.catalogue.get(question.of.metric), dict[str, list[Record]]()
        newest = self._newest("query", of, MOST_QUERIES)
        for kind in ("feedback", "score"):
            for event in self._newest(kind, of, len(self.recorded)):
                if newest and str(event["time"]) >= str(newest[-1]["time"]):
                    judged.setdefault(str(event.get("trace_id", "")), []).append(event)
        judged.pop("", None)
        units = {one.unit: one for one in self._exposed(of) if one.arms in [{arm} for arm in question.arms]}
        queries, worded = 0, dict[str, str]()
        answers: dict[str, dict[str, ArmAnswer]] = {}
        for event in reversed(newest):
            unit, moment = units.get(_unit_of(event, of.unit_kind)), event["time"]
            assert isinstance(moment, datetime)
            if unit is None or not unit.counts(moment):
                continue
            queries += 1
            if text := str(event.get("query", "")).strip(BLANKS):
                worded[str(event["event_id"])] = cut_off(text, LONGEST_QUESTION)
                rows = [event, *judged.get(str(event.get("trace_id", "")), [])]
                answer = _arm_answer(min(unit.arms), moment, event, metric, rows)
                known = answers.setdefault(text.lower(), {}).get(answer.arm)
                if known is None or known.value is None or answer.value is not None:
                    answers[text.lower()][answer.arm] = answer
        told = [sorted(by_arm.values(), key=lambda one: question.arms.index(one.arm)) for by_arm in answers.values()]
        shared = [SharedQuestion(question=worded[one[0].event_id], answers=tuple(one)) for one in told if len(one) > 1]
        shared.sort(key=lambda one: (one.spread or 0, max(a.time for a in one.answers)))
        return SharedQuestions(
            questions=tuple(shared[::-1][: question.most]), queries=queries, texts=len(worded),
            complete_to=self.watermark(),
        )  # fmt: skip

    def _newest(self, kind: str, of: UnitQuery, most: int) -> tuple[Record, ...]:
        return self.events(EventQuery(kind=kind, window=of.window, project=of.project, limit=most)).items

    def _exposed(self, question: UnitQuery) -> list[Exposed]:
        metric, window = self.catalogue.get(question.metric), question.window
        found: dict[str, Exposed] = {}
        exposures = [
            event for event in self.recorded
            if event["kind"] == "exposure" and event.get("project", "default") == question.project
            and event["experiment"] == question.experiment and event.get("unit_kind", "user") == question.unit_kind
        ]  # fmt: skip
        for event in sorted(exposures, key=lambda event: str(event["time"])):
            unit, at, tags = str(event["unit_id"]), event["time"], event.get("tags")
            assert isinstance(at, datetime)
            held = {str(name): str(text) for name, text in tags.items()} if isinstance(tags, dict) else {}
            one = Exposed(unit, set(), at, _until(at, question), question.pauses, held, [])
            found.setdefault(unit, one).arms.add(str(event["arm"]))
        for event in self.recorded:
            unit = _unit_of(event, question.unit_kind)
            above, below = _numbers(event, metric)
            if unit in found and event.get("project", "default") == question.project and (above, below) != (None, None):
                moment = event["time"]
                assert isinstance(moment, datetime)
                found[unit].events.append((moment, above, below))
        return [one for one in found.values() if window.start <= one.at < window.end]


def _until(at: datetime, question: UnitQuery) -> datetime:
    if question.attribution_days is None:
        return question.window.end
    return min(question.window.end, at + timedelta(days=question.attribution_days))


def _unit_of(event: Record, kind: str) -> str:
    if kind in ID_FIELDS:
        return str(event.get(ID_FIELDS[kind], ""))
    tags = event.get("tags")
    return str(tags.get(f"{kind}_id") or tags.get(kind) or "") if isinstance(tags, dict) else ""


def _numbers(event: Record, metric: Metric) -> tuple[float | None, float | None]:
    """What an event adds to the numerator and the denominator; None for a measure that it does not carry."""
    above = number(event, metric.of)
    below = number(event, metric.per or metric.of)
    return above, 1.0 if below is not None and (metric.per is None or metric.per.where) else below


def _arm_answer(arm: str, at: datetime, query: Record, metric: Metric, rows: list[Record]) -> ArmAnswer:
    above, below = _sum([_numbers(row, metric) for row in rows])
    seconds = query.get("response_time")
    return ArmAnswer(
        arm=arm, time=at, event_id=str(query["event_id"]), trace_id=str(query.get("trace_id", "")),
        answer=cut_off(str(query.get("answer", "")), LONGEST_ANSWER), status=str(query.get("status", "ok")),
        error_type=str(query.get("error_type", "")), response_time=None if seconds is None else float(str(seconds)),
        value=above / below if below and metric.aggregation != "count" else None,
    )  # fmt: skip


def _sum(events: list[tuple[float | None, float | None]]) -> Pair:
    return math.fsum(n or 0.0 for n, _ in events), math.fsum(d or 0.0 for _, d in events)


def _place(unit: str) -> float:
    """Where a unit's hash is between 0 and 1."""
    return int.from_bytes(hashlib.blake2b(unit.encode(), digest_size=8).digest()) / 2**64


def _moments(arm: str, period: int, group: str, rows: list[tuple[Pair, float, Pair]], *, pre: bool) -> UnitMoments:
    sums = [pair for pair, _, _ in rows]
    n, d = np.array([above for above, _ in sums]), np.array([below for _, below in sums])
    own = n[d != 0] / d[d != 0]
    p, q = (np.array([pair[index] for _, _, pair in rows]) for index in (0, 1))

    def product(x: np.ndarray, y: np.ndarray) -> float:
        return float((x - x.mean()) @ (y - y.mean()))

    if not rows:
        return moments(arm, RatioSummary())
    before = PreMoments(
        numerator_mean=float(p.mean()), denominator_mean=float(q.mean()),
        products=(
            product(p, p), product(p, q), product(p, n), product(p, d), product(q, q), product(q, n), product(q, d),
        ),
    )  # fmt: skip
    return UnitMoments(
        arm=arm, period=period, group=group, units=len(rows),
        numerator_mean=float(n.mean()), denominator_mean=float(d.mean()),
        numerator_m2=product(n, n), denominator_m2=product(d, d), cross_m2=product(n, d),
        measured_units=int((d != 0).sum()),
        cubes=(float((n * n * n).mean()), float((n * n * d).mean()), float((n * d * d).mean()), float((d**3).mean())),
        own_mean=float(own.mean()) if own.size else 0.0, own_m2=product(own, own) if own.size else 0.0,
        positive_units=int((n > 0).sum()), negative_units=int((n < 0).sum()),
        unit_days=math.fsum(days for _, days, _ in rows), pre=before if pre else None,
    )  # fmt: skip


def moments(arm: str, summary: RatioSummary, measured: int | None = None) -> UnitMoments:
    """A summary as the store would answer it."""
    return UnitMoments(
        arm=arm,
        units=summary.n,
        numerator_mean=summary.numerator_mean,
        denominator_mean=summary.denominator_mean,
        numerator_m2=summary.numerator_m2,
        denominator_m2=summary.denominator_m2,
        cross_m2=summary.cross_m2,
        measured_units=summary.measured_units if measured is None else measured,
    )
