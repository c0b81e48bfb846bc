"""A pause does not dilute: what units did in it, all with the control's configuration, counts nowhere."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import pytest
from msgspec import structs
from tests.experiments.unit_moments import answer_of, moments_of
from tests.support.dictionary_reader import DictionaryReader

from barograph.core.metric import Catalogue
from barograph.core.query import Window
from barograph.core.units import UnitAnswer, UnitQuery
from barograph.dashboard.dashboard_interface import DashboardInterface
from barograph.experiments.analysis.analyse import analyse
from barograph.experiments.analysis.waiting import Traffic
from barograph.experiments.comparison import Course, MetricComparison
from barograph.experiments.design import Experiment, Guardrail, Pause, equal_variants, validated
from barograph.experiments.questions import checkpoint_of, question_of, whole_windows
from barograph_client.clock import ManualClock

START = datetime(2026, 11, 10, 9, tzinfo=UTC)
DAY, HOUR = timedelta(days=1), timedelta(hours=1)
PAUSE = Pause(start=START + 33 * HOUR, end=START + 81 * HOUR)  # from one evening to that of two days later
DAYS, UNITS = 6, 60
ARMS = ("control", "reranked")
CATALOGUE = Catalogue()


def experiment(**values: Any) -> Experiment:
    base = Experiment(
        key="rerank", variants=equal_variants(*ARMS), primary_metric="response_time.mean", state="running",
        started_at=START,
    )  # fmt: skip
    return validated(structs.replace(base, **values), CATALOGUE)


class Lab:
    """Units that come at the start of two experiments and ask each morning: treated ones once more, and it takes long.

    Those of ``paused`` also ask in its pause, with the control's configuration; those of ``plain`` stay away meanwhile.
    """

    def __init__(self, dashboard: DashboardInterface, clock: ManualClock) -> None:
        self.dashboard = dashboard
        usual = np.random.default_rng(5).uniform(1, 3, UNITS)
        for key in ("paused", "plain"):
            dashboard.experiments.create(
                Experiment(
                    key=key,
                    variants=equal_variants(*ARMS),
                    primary_metric="response_time.mean",
                    secondary_metrics=("queries",),
                    planned_days=60,
                )
            )
            dashboard.experiments.start(key)
            for unit in range(UNITS):
                exposure = {"experiment": key, "arm": ARMS[unit % 2], "unit_id": f"{key}-{unit}"}
                dashboard.collector.record_exposure(exposure)
        for _ in range(DAYS):
            resting = PAUSE.start <= clock.now() < PAUSE.end
            for key in ("paused",) if resting else ("paused", "plain"):
                for unit in range(UNITS):
                    treated = unit % 2 and not resting
                    asked = {"query": "?", "user_id": f"{key}-{unit}", "response_time": usual[unit] + 0.5 * treated}
                    for _ in range(2 + treated):
                        dashboard.record_query_execution(asked)
            clock.advance(9 * 3600)
            if clock.now() == PAUSE.start:
                dashboard.experiments.pause("paused")
            if clock.now() == PAUSE.end:
                dashboard.experiments.start("paused")
            clock.advance(15 * 3600)
        dashboard.flush()

    def compared(self, key: str) -> tuple[MetricComparison, ...]:
        return self.dashboard.experiments.compare(key).metrics

    def by_age(self, key: str) -> Course:
        return next(course for course in self.dashboard.experiments.details(key).courses if course.by == "age")


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    clock = ManualClock(START)
    with DashboardInterface(
        tmp_path_factory.mktemp("pauses") / "data", clock=clock, environment={}, background=False, default_rules=False,
        journal={"durability": "interval"},
    ) as dashboard:  # fmt: skip
        yield Lab(dashboard, clock)


class TestEffects:
    def test_are_those_of_an_experiment_without_the_pause(self, lab: Lab) -> None:
        assert lab.dashboard.experiments.get("paused").pauses == (PAUSE,)
        for found, plain in zip(lab.compared("paused"), lab.compared("plain"), strict=True):
            (one,), (other,) = found.estimates, plain.estimates
            assert (one.arm_value, one.baseline_value) == pytest.approx((other.arm_value, other.baseline_value))
            for effect, whole in ((one.absolute, other.absolute), (one.relative, other.relative)):
                assert effect is not None
                assert whole is not None
                assert whole.value > 0.1  # or nothing could be diluted
                assert (effect.value, effect.low, effect.high) == pytest.approx((whole.value, whole.low, whole.high))

    def test_by_age_have_no_day_that_was_all_pause(self, lab: Lab) -> None:
        found, plain = lab.by_age("paused"), lab.by_age("plain")
        assert [step.label for step in found.steps] == ["0", "1", "3", "4", "5", "6"]
        effects = {step.label: step.estimate.absolute for step in found.steps if step.estimate.absolute is not None}
        assert list(effects) == ["0", "1", "4", "5"]
        for step in plain.steps:
            if step.label in effects:
                effect, whole = effects[step.label], step.estimate.absolute
                assert effect is not None
                assert whole is not None
                assert (effect.value, effect.low) == pytest.approx((whole.value, whole.low))

    def test_of_sequences_have_a_clock_that_rests_with_the_experiment(self, lab: Lab) -> None:
        days = {}
        for key in ("paused", "plain"):
            question = question_of(lab.dashboard.experiments.get(key), "queries", START + 10 * DAY)
            days[key] = sum(arm.unit_days for arm in lab.dashboard.store.units(question).arms)
        assert days == {"plain": 10.0 * UNITS, "paused": 8.0 * UNITS}

    def test_rest_on_pauses_that_no_definition_changes(self, lab: Lab) -> None:
        kept = lab.dashboard.experiments.get("paused")
        revised = lab.dashboard.experiments.revise(structs.replace(kept, title="Longer answers", pauses=()))
        assert (revised.title, revised.pauses) == ("Longer answers", (PAUSE,))
        assert lab.dashboard.experiments.create(structs.replace(kept, key="copied")).pauses == ()


class Asked(DictionaryReader):
    """Keeps what it is asked of units."""

    def __init__(self) -> None:
        super().__init__([], lambda: START)
        self.questions: list[UnitQuery] = []

    def units(self, question: UnitQuery) -> UnitAnswer:
        self.questions.append(question)
        return answer_of([])


class TestQuestions:
    @pytest.mark.parametrize("by", ["day", "age", "", "tag.plan"])
    def test_leave_out_the_pauses_before_their_end(self, by: str) -> None:
        later = Pause(start=START + 10 * DAY, end=START + 11 * DAY)
        defined = experiment(pauses=(PAUSE, later))
        for until, pauses in (
            (PAUSE.start, ()),
            (PAUSE.start + HOUR, (Window(PAUSE.start, PAUSE.start + HOUR),)),
            (later.start, (Window(PAUSE.start, PAUSE.end),)),
            (START + 20 * DAY, (Window(PAUSE.start, PAUSE.end), Window(later.start, later.end))),
        ):
            assert question_of(defined, "response_time.mean", until, by=by).pauses == pauses

    def test_leave_out_a_pause_that_goes_on(self) -> None:
        resting = experiment(state="paused", paused_at=PAUSE.start)
        (window,) = question_of(resting, "queries", PAUSE.start + DAY).pauses
        assert window == Window(PAUSE.start, PAUSE.start + DAY)
        assert question_of(resting, "queries", PAUSE.start).pauses == ()

    def test_of_windows_and_checkpoints_leave_nothing_out_as_whoever_pauses_has_seen_them(self) -> None:
        reader, until = Asked(), START + 20 * DAY
        guarded = {"guardrails": (Guardrail(metric="error_rate", margin=0.05),), "pauses": (PAUSE,)}
        windowed = {**guarded, "attribution_days": 2.0}
        for values, days in ((guarded, [None]), (windowed, [2.0, 2.0]), ({**windowed, "pauses": ()}, [2.0])):
            defined = experiment(**values)
            metrics = {name: CATALOGUE.get(name) for name in defined.metrics}
            reader.complete_to = until
            whole_windows(reader, defined, metrics, until)
            checkpoint_of(reader, defined, metrics, until)
            assert [one.attribution_days for one in reader.questions] == days
            assert all((one.metric, one.pauses) == ("error_rate", ()) for one in reader.questions)
            reader.questions.clear()


@pytest.mark.parametrize("state", ["running", "paused"])
def test_how_long_it_takes_is_told_by_days_without_a_pause(state: str) -> None:
    """Forty a day in five days, then nobody for eight: at forty a day it goes on."""
    values: dict[str, Any] = {"paused_at": START + 5 * DAY}
    if state == "running":
        values = {"pauses": (Pause(start=START + 5 * DAY, end=START + 13.3 * DAY),)}
    defined = experiment(state=state, planned_units=1000, **values)
    now, metrics = START + 13.5 * DAY, {"response_time.mean": CATALOGUE.get("response_time.mean")}
    arms = [
        moments_of(arm, np.random.default_rng(day).normal(2, 1, 20), group=f"2026-11-{10 + day}")
        for day in range(5)
        for arm in ARMS
    ]
    found = analyse(defined, metrics, {"response_time.mean": answer_of(arms, now)}, now)
    assert found.needs_more_days == pytest.approx(800 / 40, abs=1)
    assert "needs about 20 more days at the present traffic (200 of 1,000 planned users)" in found.verdict.sentence


def test_units_of_days_with_a_pause_are_among_those_of_complete_days() -> None:
    """A plan of units ends with the day on which the last came, which is so also of a day with a pause."""
    by_day = (("2026-11-10", 30), ("2026-11-11", 40), ("2026-11-12", 10))
    pauses = (Pause(start=START + 8 * HOUR, end=START + 9 * HOUR),)
    traffic = Traffic.of(by_day, 80, 2.0, START + 2 * DAY, pauses)
    assert (traffic.whole, traffic.upto, traffic.elapsed) == (70, (40,), 1.375)
    assert traffic.pace == pytest.approx(40)
    assert traffic.days_until(110) == pytest.approx(1 + 40 / 40 - 1.375)  # 80 on usual days, 40 of them on the first
    only = Traffic.of(by_day[:1], 30, 0.5, START + DAY, pauses)
    assert (only.whole, only.upto, only.pace) == (30, (), 60)


def test_cohorts_whose_windows_a_pause_has_cut_short_are_taken_whole() -> None:
    """Too few units for the asymptotic sequence: the bounded one answers, by values that nobody's pause has chosen."""
    defined = experiment(primary_metric="accuracy", attribution_days=2.0, pauses=(PAUSE,))
    now, metrics = START + 40 * DAY, {"accuracy": CATALOGUE.get("accuracy")}

    def answer(lift: float) -> UnitAnswer:
        means = {"control": 0.2, "reranked": 0.2 + lift}
        return answer_of(
            [
                moments_of(arm, [means[arm] - 0.1, means[arm], means[arm] + 0.1], group=f"2026-11-{day}")
                for day in range(10, 30)
                for arm in ARMS
            ],
            now,
        )

    cut, whole = answer(0.0), answer(0.5)
    (found,) = analyse(defined, metrics, {"accuracy": cut}, now, {"accuracy": whole}).primary.always_valid
    assert found.absolute is not None
    assert found.absolute.value == pytest.approx(0.5)
    assert found.warnings[-1].endswith("of those whose 2 days are over, with what they did in pauses")
