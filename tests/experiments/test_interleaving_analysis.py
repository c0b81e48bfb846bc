"""Interleaved rankers compared: the verdict says whom readers prefer, and many queries of one user are one user."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from msgspec import structs
from tests.experiments.units_reader import UnitsReader

from barograph.control.database import ControlPlane
from barograph.control.experiments import ExperimentRepository
from barograph.core.event import Exposure
from barograph.core.metric import Catalogue
from barograph.dashboard.page.experiments.page import in_full
from barograph.experiments.ab_test_framework import ABTestFramework
from barograph.experiments.comparison import Comparison, Details
from barograph.experiments.design import Experiment, Variant, equal_variants, validated
from barograph.experiments.interleaving import compare_preferences, preference_details
from barograph.experiments.interleaving_checks import preference_metric
from barograph.experiments.preview import preview
from barograph.experiments.questions import question_of
from barograph.testing import temporary_dashboard
from barograph_client.clock import ManualClock
from barograph_client.errors import InvalidExperiment
from barograph_client.experiments.assignment import Assigner
from barograph_client.experiments.current import CurrentDefinitions
from barograph_client.experiments.definition import INTERLEAVED, Definitions
from barograph_client.experiments.experiments import Experiments
from barograph_client.experiments.outcome import preference_of
from barograph_client.experiments.sticky import MemoryStickyStore

START = datetime(2026, 11, 10, 9, tzinfo=UTC)
CATALOGUE = Catalogue()
RANKING = Experiment(
    key="ranking", kind="interleaving", variants=equal_variants("bm25", "dense"), planned_days=7, state="running",
    started_at=START,
)  # fmt: skip


def ranking(**values: Any) -> Experiment:
    return validated(structs.replace(RANKING, **values), CATALOGUE)


def records(
    chance: float, users: int = 200, queries: int = 1, seed: int = 1, arms: tuple[str, ...] = ("dense",)
) -> list[dict[str, object]]:
    """Users who come evenly over the week, and the ranker that each of their queries prefers: the arm by ``chance``."""
    generator = np.random.default_rng(seed)
    found: list[dict[str, object]] = []
    for number in range(users):
        user, at = f"u{number}", START + timedelta(days=7 * number / users)
        found.append({
            "kind": "exposure", "experiment": "ranking", "arm": INTERLEAVED, "unit_id": user, "unit_kind": "user",
            "time": at,
        })  # fmt: skip
        for arm in arms:
            wins = generator.random() < chance
            found += [
                {"kind": "score", "name": preference_of("ranking", arm), "value": 1.0 if wins else -1.0,
                 "user_id": user, "time": at + timedelta(seconds=1 + n)}
                for n in range(queries)
            ]  # fmt: skip
    return found


def asked(experiment: Experiment, events: list[dict[str, object]], days: float) -> Any:
    now = START + timedelta(days=days)
    reader = UnitsReader(events, lambda: now)
    names = [preference_metric(experiment, one.key) for one in experiment.variants if one.key != experiment.control]
    return {name: reader.units(question_of(experiment, name, now)) for name in names}, now


def compare(experiment: Experiment, events: list[dict[str, object]], days: float = 8) -> Comparison:
    answers, now = asked(experiment, events, days)
    return compare_preferences(experiment, {name: CATALOGUE.get(name) for name in answers}, answers, now)


def test_better_is_said_with_the_preference_its_interval_and_how_many_users_took_sides() -> None:
    found = compare(ranking(), records(0.7))
    assert found.verdict.finding == "better"
    assert re.fullmatch(
        r"Better: users prefer dense to bm25 \(preference for dense \+0\.39, 95 % interval \+0\.\d+ to \+0\.\d+, "
        r"p < 0\.0001\); 1\d\d of the 200 users who took sides do \(sign test, p < 0\.0001\); "
        r"stop the experiment and ship dense\.",
        found.verdict.sentence,
    )
    (estimate,) = found.estimates
    assert (estimate.arm, estimate.baseline, estimate.baseline_value) == ("dense", "bm25", 0.0)
    assert found.primary.title == "Preference over bm25"
    assert found.units == {INTERLEAVED: 200}
    assert not found.sample_ratio.mismatch
    assert len(found.exposed_by_day) == 8


def test_worse_names_the_control_as_the_one_that_is_preferred() -> None:
    found = compare(ranking(), records(0.3))
    assert found.verdict.finding == "worse"
    assert found.verdict.sentence.startswith("Worse: users prefer bm25 to dense (preference for dense −0.")


def test_before_the_planned_end_and_without_a_preference_nothing_is_settled() -> None:
    early = compare(ranking(), records(0.7), days=3)
    assert early.verdict.finding == "not settled"
    assert "needs about 4 more days" in early.verdict.sentence
    assert early.needs_more_days == pytest.approx(4)
    even = compare(ranking(), records(0.5))
    assert even.verdict.finding == "not settled"
    assert "users may prefer either" in even.verdict.sentence
    assert re.search(r"if a preference of 0\.05 matters, start a new one with about [\d,]+ users", even.verdict.advice)
    assert "most likely have shown" in compare(ranking(minimum_effect=0.5), records(0.5)).verdict.sentence


def test_two_hundred_queries_of_a_user_are_one_user() -> None:
    once, often = (compare(ranking(), records(0.6, queries=n)) for n in (1, 20))
    assert often.verdict.p_value == pytest.approx(once.verdict.p_value)
    assert [one.absolute for one in often.estimates] != []
    assert often.estimates[0].arm_n == 200


def test_at_any_time_the_verdict_needs_no_end_and_its_interval_is_wider() -> None:
    experiment = ranking(planned_days=None)
    assert experiment.decided_by == "always valid"
    found = compare(experiment, records(0.75, users=300), days=7.5)
    assert found.verdict.finding == "better"
    assert "always valid 95 % interval" in found.verdict.sentence
    assert "sign test" not in found.verdict.sentence
    once, always = found.primary.estimates[0].absolute, found.primary.always_valid[0].absolute
    assert once is not None
    assert always is not None
    assert once.low is not None
    assert always.low is not None
    assert 0 < always.low < once.low
    assert found.course is not None
    assert [step.label for step in found.course.steps] == [day for day, _ in found.exposed_by_day]
    few = compare(experiment, records(0.75, users=60), days=7.5)
    assert few.verdict.sentence == (
        "Not settled yet: a sequence needs 100 units with a judged query; leave it running, and look again in a day."
    )


@pytest.mark.parametrize(
    ("more", "says"),
    [
        ([], "0 users with a credited query, of 30 at least"),
        (records(0.5, users=20), "20 users with a credited query, of 30 at least"),
        (records(1.0, users=50), "every unit has the same preference"),
    ],
)
def test_too_little_settles_nothing_and_says_why(more: list[dict[str, object]], says: str) -> None:
    found = compare(ranking(), more)
    assert (found.verdict.finding, found.verdict.p_value) == ("not settled", None)
    assert says in found.verdict.sentence


def test_units_that_were_shown_one_ranker_alone_are_told_and_left_out() -> None:
    events = records(0.7)
    alone = {**events[0], "arm": "dense", "unit_id": "stranger"}
    judged = {**events[1], "user_id": "stranger", "time": START + timedelta(hours=1)}
    found = compare(ranking(), [*events, alone, judged, {**events[0], "arm": "dense"}])
    assert found.estimates[0].arm_n == 199
    assert found.verdict.finding == "better"
    assert "1 user exposed to dense alone, and not to interleaved lists: left out" in found.warnings
    assert sum(units for _, units in found.exposed_by_day) == 199
    many = compare(ranking(), [*events, *({**alone, "unit_id": f"stranger-{n}"} for n in range(3))])
    assert many.verdict.finding == "not valid"
    assert "3 of 203 users were exposed to dense alone" in many.verdict.sentence
    assert (found.contaminated, found.units) == (1, {INTERLEAVED: 199})
    assert "1 users were seen with another arm too and are left out" in found.warnings


@pytest.mark.parametrize("method", ["fixed horizon", "always valid"])
def test_several_rankers_need_more_days(method: str) -> None:
    waits = []
    for arms in (("dense",), ("dense", "hybrid")):
        events = records(0.5, arms=arms, users=100)
        for number, one in enumerate(events):
            if one["kind"] == "score":  # every other user prefers the control
                one["value"] = 1.0 if number // (1 + len(arms)) % 2 else -1.0
        rankers = ranking(variants=equal_variants("bm25", *arms), method=method, planned_days=None)
        waits.append(compare(rankers, events).needs_more_days)
    assert waits[0] is not None
    assert waits[1] is not None
    assert 1.05 * waits[0] < waits[1] < 1.6 * waits[0]


def test_each_of_several_rankers_has_its_own_preference_and_p_values_are_corrected() -> None:
    experiment = ranking(variants=equal_variants("bm25", "dense", "hybrid"))
    events = records(0.68, arms=("dense",)) + [
        one for one in records(0.5, arms=("hybrid",), seed=4) if one["kind"] == "score"
    ]
    found = compare(experiment, events)
    assert [(one.arm, one.finding) for one in found.arm_verdicts] == [("dense", "better"), ("hybrid", "not settled")]
    assert found.verdict.arm == "dense"
    raw = [one.p_value or 1.0 for one in found.estimates]
    assert found.primary.adjusted_p_values[0] == pytest.approx(2 * raw[0])


def test_the_sign_test_is_a_second_opinion() -> None:
    experiment = ranking()
    details: Details = preference_details(experiment, asked(experiment, records(0.7), 8)[0])
    (opinion,) = details.second_opinions
    assert (opinion.method, opinion.arm_n, opinion.baseline_value) == ("sign test of units", 200, 0.5)
    assert opinion.absolute is not None
    assert opinion.absolute.low is not None
    assert opinion.absolute.low > 0
    nobody = preference_details(experiment, asked(experiment, [], 8)[0]).second_opinions[0]
    assert nobody.warnings == ("no unit prefers either",)


def test_the_framework_exposes_to_all_rankers_and_compares_them_as_any_experiment(tmp_path: Path) -> None:
    clock = ManualClock(START)
    plane = ControlPlane(tmp_path / "control.db", clock)
    events = records(0.7)
    exposed: list[Exposure] = []
    credits: list[Mapping[str, object]] = []
    framework = ABTestFramework(
        UnitsReader(events, clock.now), ExperimentRepository(plane), exposed.append, clock, CATALOGUE,
        record_score=credits.append,
    )  # fmt: skip
    rankers = Variant(key="bm25", weight=0.5, payload={"k1": 1.2}), Variant(key="dense", weight=0.5)
    framework.create(Experiment(key="ranking", kind="interleaving", variants=rankers))
    framework.start("ranking")
    assert framework.expose("ranking", "somebody") == INTERLEAVED
    told = preview(framework, "ranking", {"user": "somebody"}, {})
    assert (told.arm, told.payload) == (INTERLEAVED, {"k1": 1.2})  # the control's configuration
    lists = {"bm25": ["a", "b"], "dense": ["x", "y"]}
    for user in ("somebody", "another"):
        outcome = framework.interleave("ranking", lists, {"user": user}, query_id=f"q of {user}")
        assert outcome.clicked("x") == {"dense": 1.0}
    assert [(one.unit_id, one.arm) for one in exposed] == [("somebody", INTERLEAVED), ("another", INTERLEAVED)]
    assert [(one["user_id"], one["trace_id"], one["value"]) for one in credits] == [
        ("somebody", "q of somebody", 1.0), ("another", "q of another", 1.0),
    ]  # fmt: skip
    with pytest.raises(InvalidExperiment, match="a ranker has no list"):
        framework.interleave("ranking", {"bm25": ["a"]}, {"user": "u"}, query_id="q")
    with pytest.raises(InvalidExperiment, match="lies from 1 to 5"):
        outcome.rated({"x": 7})
    clock.advance(8 * 86_400)
    compared, details = framework.compare("ranking"), framework.details("ranking")
    assert compared.verdict.finding == "better"
    assert [one.method for one in details.second_opinions] == ["sign test of units"]
    page = "\n".join(str(part) for part in in_full(framework.get("ranking"), compared, details))
    assert "users prefer dense to bm25" in page
    plane.close()


def test_what_a_program_records_of_interleaved_lists_is_compared_on_the_real_store() -> None:
    clock = ManualClock(START)
    with temporary_dashboard(clock) as dashboard:
        framework = dashboard.experiments
        framework.create(structs.replace(RANKING, planned_days=1.0))
        framework.create(structs.replace(RANKING, key="tenants", unit_kind="tenant", planned_days=1.0))
        for key in ("ranking", "tenants"):
            framework.start(key)
        told: list[dict[str, object]] = []

        def record(kind: str, fields: Mapping[str, object]) -> None:
            told.append({"kind": kind, "time": clock.now().isoformat(), **fields})

        program = Experiments(Known(framework.definitions()), record)
        for number in range(120):
            clock.advance(60)
            user, query = f"u{number}", f"q{number}"
            record("query", {"trace_id": query, "user_id": user})
            lists = {"bm25": ["a", "b", "c"], "dense": ["x", "y", "z"]}
            outcome = program.interleave("ranking", lists, user=user, query_id=query, length=4)
            clock.advance(1)
            dense = [one for one, team in outcome.teams.items() if team == "dense"]
            outcome.clicked(*(dense if number % 2 else [outcome.items[0]]))
            outcome.clicked(*outcome.items)
            program.interleave("tenants", lists, tenant=f"t{number}", query_id=query, length=4).clicked("x")
        assert all(isinstance(one, str) for one in dashboard.collector.record_many(told))
        clock.advance(86_400)
        dashboard.flush()
        found = framework.compare("ranking")
        assert found.verdict.finding == "better", found.verdict.sentence
        assert found.units == {INTERLEAVED: 120}
        outcome = framework.interleave("ranking", lists, {"user": "u0"}, query_id="q0", length=4)
        assert outcome.clicked("x") == {"dense": 1.0}  # recorded by the collector, and known already
        (estimate,) = found.estimates
        assert estimate.arm_n == 120
        assert estimate.arm_value is not None
        assert 0.3 < estimate.arm_value < 0.7
        (by_tenant,) = framework.compare("tenants").estimates
        assert (by_tenant.arm_n, by_tenant.arm_value) == (120, 1.0)
        (opinion,) = framework.details("ranking").second_opinions
        assert opinion.arm_n == 120


class Known(CurrentDefinitions):
    """Definitions that are never looked for again."""

    def __init__(self, definitions: Definitions) -> None:
        self.table = {one.key: Assigner(one) for one in definitions.experiments}
        self.sticky, self.problem = MemoryStickyStore(), ""

    def start(self) -> None:
        """There is nothing to look for."""
