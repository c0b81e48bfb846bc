"""A plan keeps its word: experiments that run as long as it says find the change as often as it says.

The past and the experiments come from the same kind of users, who differ in how often they come and in how well they
are answered; experiments are drawn anew and analysed with the tests that the product makes.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Sequence
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from msgspec import structs
from numpy.typing import NDArray
from tests.experiments.units_reader import UnitsReader, moments

from barograph.core.metric import Catalogue
from barograph.core.units import PopulationAnswer, PopulationQuery
from barograph.experiments.past import Past, ask_past, at, baselines
from barograph.experiments.plan import Plan, PlanQuestion
from barograph.experiments.planner import plan
from barograph.stats.comparison import compare_means, compare_ratios
from barograph.stats.power import detectable_effect, sample_size
from barograph.stats.proportions import compare_proportions
from barograph.stats.sequential import asymptotic
from barograph.stats.summary import RatioSummary, Summary
from barograph_client.errors import InvalidInput

Floats = NDArray[np.float64]
NOW = datetime(2026, 11, 28, 15, 30, tzinfo=UTC)
USERS = 1500
CATALOGUE = Catalogue()


def drawn(days: int, generator: np.random.Generator, often: float = 0.35) -> tuple[Floats, Floats]:
    """Queries and sums of accuracy by day and user, of users who differ."""
    rates = generator.gamma(0.8, often, USERS)
    well = generator.normal(0.7, 0.12, USERS)
    queries = generator.poisson(rates, (days, USERS)).astype(np.float64)
    return queries, queries * well + np.sqrt(queries) * 0.15 * generator.standard_normal((days, USERS))


def drawn_once(days: int, generator: np.random.Generator, often: float) -> tuple[Floats, Floats]:
    """As ``drawn``, the sums over the days alone."""
    queries = generator.poisson(generator.gamma(0.8, often, USERS) * days).astype(np.float64)
    well = generator.normal(0.7, 0.12, USERS)
    return queries, queries * well + np.sqrt(queries) * 0.15 * generator.standard_normal(USERS)


def past_of(numerators: Floats, denominators: Floats, lengths: Sequence[int] = (7, 14, 28)) -> Past:
    """What the store would tell of the last days of these."""
    answers: dict[int, PopulationAnswer] = {}
    for days in (length for length in lengths if length <= len(numerators)):
        below = denominators[-days:]
        came = below.sum(axis=0) > 0
        n, d = numerators[-days:].sum(axis=0)[came], below.sum(axis=0)[came]
        cubes = (float(np.mean(n**3)), float(np.mean(n * n * d)), float(np.mean(n * d * d)), float(np.mean(d**3)))
        distinct = (np.cumsum(below, axis=0) > 0).sum(axis=1).tolist()
        told = structs.replace(moments("", RatioSummary.from_values(n, d)), cubes=cubes)
        answers[days] = PopulationAnswer(moments=told, distinct_units=tuple(distinct), complete_to=NOW)
    return Past(date(2026, 11, 28), answers)


def planned(metric: str, past: Past, **asked: object) -> Plan:
    question = structs.replace(PlanQuestion(metric=metric), **asked)
    return plan(question, CATALOGUE.get(metric), past)


def split(users: int, found: Plan, generator: np.random.Generator) -> NDArray[np.int64]:
    """The arm of each user; -1 for who is not covered."""
    shares = [weight * found.question.coverage for weight in found.question.weights]
    return generator.choice([*range(len(shares)), -1], users, p=[*shares, 1 - sum(shares)])


@pytest.fixture(scope="module")
def past() -> Past:
    queries, accuracy = drawn(28, np.random.default_rng(1))
    return past_of(accuracy, queries)


@pytest.fixture(scope="module")
def queries_past() -> Past:
    queries, _ = drawn(28, np.random.default_rng(1))
    return past_of(queries, queries)


class TestPower:
    @pytest.mark.parametrize(("effect", "coverage", "weights"), [(0.1, 0.25, (0.5, 0.5)), (0.08, 1.0, (0.6, 0.2, 0.2))])
    def test_a_ratio_is_found_as_often_as_planned(
        self, past: Past, effect: float, coverage: float, weights: tuple[float, ...]
    ) -> None:
        found = planned("accuracy", past, effect=effect, coverage=coverage, weights=weights)
        assert found.need.days is not None
        assert 2 <= found.need.days <= 28
        generator, hits = np.random.default_rng(2), 0
        for _ in range(300):
            queries, accuracy = (one.sum(axis=0) for one in drawn(found.need.days, generator))
            arms = split(USERS, found, generator)
            arms[queries == 0] = -1
            control, arm = (RatioSummary.from_values(accuracy[arms == k], queries[arms == k]) for k in (0, 1))
            treated = RatioSummary.from_values(accuracy[arms == 1] * (1 + effect), queries[arms == 1])
            assert arm.n == treated.n
            p_value = compare_ratios(treated, control).p_value
            hits += p_value is not None and p_value <= 0.05 / (len(weights) - 1)
        assert 0.75 <= hits / 300 <= 0.9

    def test_a_count_whose_spread_grows_with_the_days_is_found_as_often_as_planned(self, queries_past: Past) -> None:
        found = planned("queries", queries_past, effect=0.17)
        assert found.need.days is not None
        generator, hits = np.random.default_rng(3), 0
        for _ in range(300):
            queries = drawn(found.need.days, generator)[0].sum(axis=0)
            arms = np.where(queries > 0, split(USERS, found, generator), -1)
            treated, control = (Summary.from_values(queries[arms == k] * (1 + 0.17 * k)) for k in (1, 0))
            p_value = compare_means(treated, control).p_value
            hits += p_value is not None and p_value <= 0.05
        assert 0.74 <= hits / 300 <= 0.93

    @pytest.mark.parametrize(("times", "promised"), [(0.93, True), (0.7, False)])
    def test_what_is_promised_beyond_the_past_is_kept_and_what_would_not_be_is_not_promised(
        self, times: float, promised: bool
    ) -> None:
        generator, hits, lengths = np.random.default_rng(8), 0, []
        for _ in range(10):  # each past tells the spread in its own way
            queries, accuracy = drawn(14, generator, often=0.05)
            past = past_of(accuracy, queries)
            reaches = {(one.days, one.coverage): one.effect for one in planned("accuracy", past, effect=0.1).reaches}
            effect = (reaches[14, 1.0] or 0) * times
            found = planned("accuracy", past, effect=effect)
            assert found.foreseen_days == 28
            assert (found.need.days is not None) == promised
            lengths.append(found.need.days or found.foreseen_days)
            for _ in range(50):
                queries, accuracy = drawn_once(lengths[-1], generator, often=0.05)
                arms = np.where(queries > 0, split(USERS, found, generator), -1)
                treated, control = (
                    RatioSummary.from_values(accuracy[arms == k] * (1 + effect * k), queries[arms == k]) for k in (1, 0)
                )
                p_value = compare_ratios(treated, control).p_value
                hits += p_value is not None and p_value <= 0.05
        assert 14 < min(lengths) <= max(lengths) <= 28
        assert (0.75 if promised else 0.5) <= hits / 500 <= (0.87 if promised else 0.75)

    def test_a_share_of_users_is_found_as_often_as_planned(self) -> None:
        yes = np.zeros((28, USERS))
        yes[0, : USERS // 5] = 1
        answer = past_of(yes, np.ones_like(yes)).longest
        told = Past(date(2026, 11, 28), {28: answer})
        found = planned("feedback", told, effect=0.3)
        assert found.baselines[-1].basis == "share"
        assert found.need.units is not None
        n = found.need.units // 2
        counts = np.random.default_rng(4).binomial(n, (0.26, 0.2), (1000, 2))
        hits = [compare_proportions(int(x), n, int(y), n).p_value for x, y in counts]
        assert np.mean([p is not None and p <= 0.05 for p in hits]) == pytest.approx(0.8, abs=0.04)

    def test_planned_looks_take_what_their_last_bound_does(self, past: Past) -> None:
        asked: dict[str, Any] = {"effect": 0.08}
        once = planned("accuracy", past, **asked)
        assert once.need.units is not None
        most = once.need.units
        for spending, dearer in (("obrien-fleming", 1.1), ("pocock", 1.5)):
            found = planned("accuracy", past, method="group sequential", spending=spending, **asked)
            assert found.need.units is not None
            assert most < found.need.units < dearer * once.need.units
            most = found.need.units
            assert f"looked at 4 times, {found.advised_days / 4:.3g} days apart" in " ".join(found.notes)
        with pytest.raises(InvalidInput, match="spending function"):
            planned("accuracy", past, method="group sequential", spending="evenly")
        with pytest.raises(InvalidInput, match="2 to 10"):
            planned("accuracy", past, method="group sequential", looks=1)

    def test_intervals_that_may_be_looked_at_settle_by_the_days_that_are_told(self, past: Past) -> None:
        effect = 0.1
        found = planned("accuracy", past, effect=effect, coverage=0.5, method="always valid")
        days, half = found.need.any_time_days, found.need.half_settled_days
        assert days is not None
        assert half is not None
        assert found.need.days is not None
        assert found.need.days < half < days <= 28
        generator, settled = np.random.default_rng(5), []
        for _ in range(150):
            queries, accuracy = (np.cumsum(one, axis=0) for one in drawn(days, generator))
            arms = split(USERS, found, generator)
            tuning = found.distinct_units[days - 1] * 0.5 * days / 2
            settled.append(self._settled(queries, accuracy, arms, effect, tuning))
        assert 0.8 <= np.mean([day <= days for day in settled]) <= 0.95
        assert 0.5 <= np.mean([day <= half for day in settled]) <= 0.75

    @staticmethod
    def _settled(queries: Floats, accuracy: Floats, arms: NDArray[np.int64], effect: float, tuning: float) -> float:
        """The first day at whose end the sequence does not hold zero."""
        for day, (n, sums) in enumerate(zip(queries, accuracy, strict=True), start=1):
            came = [(arms == k) & (n > 0) for k in (0, 1)]
            control, treated = (RatioSummary.from_values(sums[came[k]] * (1 + effect * k), n[came[k]]) for k in (0, 1))
            clock = sum(float((queries[:day][:, one] > 0).sum()) - one.sum() / 2 for one in came)
            estimate = asymptotic.compare_means(
                treated.linearised(), control.linearised(), (0.0, 0.0), clock=clock, tuning_n=tuning
            )
            if estimate.p_value is not None and estimate.p_value <= 0.05:
                return day
        return math.inf


def of_values(values: Floats, days: int = 14, per_day: int = 100) -> Past:
    """A past of one length, in which each unit has one value and as many come each day."""
    told = moments("", RatioSummary.from_values(values, np.ones_like(values)))
    distinct = tuple(per_day * day for day in range(1, days + 1))
    return Past(date(2026, 11, 28), {days: PopulationAnswer(moments=told, distinct_units=distinct, complete_to=NOW)})


def of_two(mean: float, deviation: float, units: int = 10_000) -> Past:
    """A past of units of which half are above the mean by the deviation, and half below."""
    values = mean + deviation * np.tile([1.0, -1.0], units // 2)
    return of_values(values * math.sqrt((units - 1) / units) + mean * (1 - math.sqrt((units - 1) / units)))


class TestNumbers:
    CASES = json.loads((Path(__file__).parents[1] / "data" / "experiment_statistics.json").read_text(encoding="utf-8"))

    @pytest.mark.parametrize(
        "case", [one for one in CASES if one["kind"] == "sample_size_t"], ids=lambda one: one["id"]
    )
    def test_units_are_those_of_statsmodels(self, case: dict[str, Any]) -> None:
        given, ratio = case["inputs"], case["inputs"]["ratio_n2_over_n1"]
        found = planned(
            "cost", of_two(1.0, 0.5), effect=given["effect_size_cohen_d"] / 2, alpha=given["alpha"],
            power=given["power"], weights=(1 / (1 + ratio), ratio / (1 + ratio)), minimum_units=2,
        )  # fmt: skip
        assert found.need.units == math.ceil(case["expected"]["n1"] * (1 + ratio) - 1e-6)

    @pytest.mark.parametrize("case", [one for one in CASES if one["kind"] == "mde_tt"], ids=lambda one: one["id"])
    def test_the_change_that_is_found_is_that_of_tea_tasting(self, case: dict[str, Any]) -> None:
        given = case["inputs"]
        past = of_two(given["mean"], math.sqrt(given["var"]))
        per_day = int(given["n_total"]) // 14 + 1
        answer = structs.replace(past.longest, distinct_units=tuple(per_day * day for day in range(1, 15)))
        found = planned("cost", Past(past.until, {14: answer}), days=14, power=given["power"])
        reach = next(one for one in found.reaches if one.days == 14 and one.coverage == 1)
        expected = case["expected"]["results"][0]["rel_effect_size"] * math.sqrt(given["n_total"] / reach.units)
        assert reach.effect == pytest.approx(expected, rel=1e-4)

    def test_the_pre_period_takes_away_what_it_explains(self) -> None:
        plain, adjusted = (planned("cost", of_two(1, 0.5), correlation=rho).need.units for rho in (0.0, 0.6))
        assert plain is not None
        assert adjusted is not None
        assert adjusted / plain == pytest.approx(1 - 0.36, rel=0.01)

    def test_who_has_no_value_counts_among_those_who_must_come(self) -> None:
        values = np.tile([0.6, 1.4], 500)
        nobody = np.zeros(3000)
        half = of_values(values)
        told = moments("", RatioSummary.from_values(np.append(values, nobody), np.append(np.ones(1000), nobody)))
        quarter = Past(half.until, {14: structs.replace(half.longest, moments=told)})
        whole, fourfold = (planned("retrieval.documents", past).need.units for past in (half, quarter))
        assert whole is not None
        assert fourfold == pytest.approx(4 * whole, rel=0.01)

    def test_what_is_found_is_what_the_formula_says_and_coverage_is_traffic(self) -> None:
        found = planned("cost", of_two(1, 0.5), days=14, coverage=0.5)
        reaches = {(one.days, one.coverage): one for one in found.reaches}
        assert reaches[14, 0.5].units == 700
        effect = reaches[14, 0.5].effect
        assert effect == pytest.approx(detectable_effect(350, 350) / 2, rel=1e-4)
        assert reaches[7, 1.0].effect == pytest.approx(effect)

    def test_a_few_large_values_take_as_many_units_as_the_gate_of_the_analysis_asks_for(self) -> None:
        values = np.random.default_rng(6).lognormal(0.0, 1.2, (1, 3000))
        answer = past_of(values, np.ones_like(values), [1]).longest
        past = Past(date(2026, 11, 28), {2: structs.replace(answer, distinct_units=(3000, 6000))})
        found = planned("tokens.input", past, effect=2.0, method="always valid")
        skewness = found.baselines[-1].skewness
        assert skewness is not None
        assert found.need.units == 2 * math.ceil((skewness / 0.4) ** 2)
        assert any(note.startswith("A few users make most of it: no verdict comes before") for note in found.notes)
        assert found.need.any_time_days == math.ceil(2 * math.ceil((skewness / 0.15) ** 2) / 3000)

    def test_several_treatments_share_alpha_and_the_smallest_decides(self) -> None:
        found = planned("cost", of_two(1, 0.5), weights=(0.5, 0.3, 0.2))
        n = sample_size(0.1, alpha=0.025, ratio=0.4)
        assert found.need.units == math.ceil(n / 0.5)

    def test_a_metric_that_should_fall_falls(self) -> None:
        yes = of_values(np.tile([1.0, 0.0, 0.0, 0.0, 0.0], 200))
        down, up = (planned(name, yes, effect=0.5).need.units for name in ("error_rate", "priced_rate"))
        assert down is not None
        assert up is not None
        assert down < up  # of 20 %, 10 % are nearer to never than 30 % are to half


def said(found: Plan) -> str:
    return found.advice.replace("\u202f", " ")


class TestAdvice:
    def test_says_how_long_and_in_whole_weeks(self) -> None:
        found = planned("cost", of_two(1, 0.35), effect=0.06)
        assert found.need.days == 11
        assert (found.advised_days, found.advised_units) == (14, 1400)
        assert said(found) == (
            "Plan 14 days (whole weeks): a change of 6 % takes 1,071 users in all, who come in 11 days."
        )

    def test_says_what_the_days_that_there_are_find_instead(self) -> None:
        found = planned("cost", of_two(1, 0.35), effect=0.06, days=7, coverage=0.5)
        assert found.advised_days == 28
        assert said(found) == (
            "7 days are not enough for a change of 6 %: it takes 22 days at 50 % coverage (11 with every user in it); "
            "7 days find 10.5 % or more."
        )

    def test_says_that_the_days_that_there_are_are_enough(self) -> None:
        assert said(planned("cost", of_two(1, 0.35), effect=0.06, days=12)).startswith("12 days are enough: a change")
        day = planned("cost", of_two(1, 0.35), effect=0.5, days=1)
        assert said(day).startswith("1 day is enough: ")
        assert any(note.startswith("Whole weeks are safer") for note in day.notes)

    def test_says_how_much_longer_it_takes_to_look_at_any_time(self) -> None:
        found = planned("cost", of_two(1, 0.35), effect=0.06, method="always valid")
        need = found.need
        assert need.any_time_days is not None
        assert 1.5 < need.any_time_days / 11 < 3
        assert (
            f"are settled by day {need.any_time_days}, half of them or more by day {need.half_settled_days}; one"
            in (found.advice)
        )

    def test_says_so_where_no_time_is_enough_and_where_it_would_take_too_long(self) -> None:
        answer = of_two(1, 0.35).longest
        stopped = Past(date(2026, 11, 28), {14: structs.replace(answer, distinct_units=(*range(40, 54),))})
        steady = Past(stopped.until, {60: structs.replace(answer, distinct_units=tuple(range(10, 610, 10)))})
        few = Past(stopped.until, {13: structs.replace(answer, distinct_units=tuple(range(80, 1041, 80)))})
        slow, *unknown = (planned("cost", past, effect=0.06) for past in (steady, stopped, few))
        assert slow.advised_days is None
        assert said(slow) == "To find a change of 6 % takes 108 days; 28 days find 11.8 % or more."
        assert any("Of more than 120 days it says nothing" in note for note in slow.notes)
        for found, past, most in zip(unknown, (14, 13), (28, 13), strict=True):
            assert found.need.days is found.advised_days is None
            assert said(found).startswith(
                f"To find a change of 6 % takes more than {most} days, which is as far as {past} days of past can say; "
            )
            assert said(found).endswith(
                "You could look for a larger change, adjust for the pre-period, cap the largest values or take a "
                "metric that spreads less."
            )
        assert said(planned("cost", stopped, effect=0.06, days=90)) == said(unknown[0])
        ways = said(planned("cost", stopped, effect=0.06, history_days=14))
        assert ways.endswith("a metric that spreads less or plan by a longer past.")

    def test_more_days_than_are_foreseen_are_enough_where_fewer_are(self) -> None:
        found = planned("cost", of_two(1, 0.35), effect=0.06, days=90)
        assert said(found).startswith("90 days are enough: ")
        assert (found.advised_days, found.advised_units) == (90, 2800)
        assert {one.days for one in found.reaches} == {7, 14, 28}
        assert (
            f"90 days are called enough as {found.need.days} are: what more than {found.foreseen_days} find is not "
            "known, so that they have no row."
        ) in found.notes
        assert not any("no row" in note for note in planned("cost", of_two(1, 0.35), effect=0.06, days=28).notes)


class TestPast:
    def test_between_two_lengths_lies_a_straight_line_and_beyond_the_longest_spread_goes_on_to_grow(
        self, queries_past: Past
    ) -> None:
        known = baselines(CATALOGUE.get("queries"), "user", queries_past)
        assert [one.days for one in known] == [7, 14, 28]
        assert known[0].value < known[1].value < known[2].value
        assert at(known, 3) == known[0]
        assert at(known, 14) == known[1]
        half, whole, twice = (at(known, days) for days in (14, 28, 56))
        spread = [one.deviation / one.value for one in (half, whole, twice)]
        assert spread[2] - spread[1] == pytest.approx(spread[1] - spread[0])
        assert (twice.value, twice.units, twice.days) == (known[2].value, known[2].units, 56)
        falls = [structs.replace(one, deviation=one.value / one.days) for one in known]
        assert at(falls, 56) == structs.replace(falls[2], days=56)
        assert at(known[2:], 56) == structs.replace(known[2], days=56)
        assert at(known, 21).value == pytest.approx((known[1].value + known[2].value) / 2)
        assert at(known, 21).deviation == pytest.approx((known[1].deviation + known[2].deviation) / 2)

    def test_whole_days_are_asked_for_and_none_before_the_first_record(self) -> None:
        reader = Told(of_two(1, 0.5).longest, days=10)
        found = ask_past(PlanQuestion(metric="cost", days=9), reader, NOW, "ours")
        assert sorted(found.answers) == [7, 9, 10]
        assert found.longest.distinct_units == tuple(range(10, 110, 10))
        end = datetime(2026, 11, 28, tzinfo=UTC)
        assert {one.window.end for one in reader.populations} == {end}
        assert [(end - one.window.start).days for one in reader.populations] == [28, 7, 9]
        assert {one.project for one in reader.populations} == {"ours"}

    def test_without_a_whole_day_there_is_nothing_to_plan_by(self) -> None:
        with pytest.raises(InvalidInput, match="no user was active on the last 28 whole days"):
            ask_past(PlanQuestion(metric="cost"), Told(of_two(1, 0.5).longest, days=0), NOW, "ours")

    @pytest.mark.parametrize(
        ("metric", "values", "why"),
        [
            ("cost", [1.0], "one user alone has a value of cost on the last 14 whole days"),
            ("accuracy", [], "no user has a value of accuracy"),
            ("cost", [0.0, 0.0, 0.0], "cost is zero for all users together"),
            ("error_rate", [0.0, 0.0, 0.0], "error_rate is zero"),
            ("cost", [2.0, 2.0, 2.0], "every user has the same cost"),
            ("error_rate", [1.0, 1.0], "every user has the same error_rate"),
            ("cost", [-1.0, 1.0], "cost is zero for all users together"),
        ],
    )
    def test_a_past_that_says_nothing_is_refused_with_a_way_out(
        self, metric: str, values: list[float], why: str
    ) -> None:
        with pytest.raises(InvalidInput, match=why) as refused:
            planned(metric, of_values(np.asarray(values, dtype=np.float64)))
        assert "longer history" in refused.value.hint


class TestQuestion:
    @pytest.mark.parametrize(
        "asked",
        [
            {"effect": 0.0}, {"effect": -0.1}, {"effect": math.nan}, {"effect": 11.0}, {"days": 0}, {"days": 10_000},
            {"weights": (1.0,)}, {"weights": (0.5, 0.6)}, {"weights": (1.0, 0.0)}, {"coverage": 0.0}, {"coverage": 2.0},
            {"alpha": 0.5}, {"power": 1.0}, {"power": 0.01}, {"correlation": 1.0}, {"history_days": 0},
            {"minimum_units": 1},
        ],
        ids=str,
    )  # fmt: skip
    def test_what_is_no_plan_is_refused(self, asked: dict[str, object]) -> None:
        with pytest.raises(InvalidInput):
            planned("cost", of_two(1, 0.5), **asked)

    def test_a_share_has_only_so_much_room(self) -> None:
        with pytest.raises(InvalidInput, match=r"is 75\s% of users, which leaves no room") as refused:
            planned("priced_rate", of_values(np.tile([1.0, 1.0, 1.0, 0.0], 100)), effect=0.4)
        assert "less than 33.3" in refused.value.hint

    @pytest.mark.parametrize(
        ("metric", "value", "effect", "says", "most"),
        [("satisfaction", 2.9, 2.0, "2.9 and never above 5", "72.4"), ("cost", 0.5, 1.0, "never below $0", "100"),
         ("accuracy", 0.693, 0.5, "0.693 and never above 1", "44.3")],
    )  # fmt: skip
    def test_a_change_that_takes_a_metric_beyond_its_range_is_refused(
        self, metric: str, value: float, effect: float, says: str, most: str
    ) -> None:
        past = of_two(value, value / 10)
        with pytest.raises(InvalidInput, match="leaves no room") as refused:
            planned(metric, past, effect=effect)
        assert says in str(refused.value)
        assert f"less than {most}" in refused.value.hint
        found = planned(metric, past, effect=effect / 4)
        assert found.most_effect == pytest.approx(float(most) / 100, rel=1e-3)
        for need in found.needs:
            assert (need.units is None) == (need.days is None) == (need.effect >= found.most_effect)
        assert planned("response_time.mean", of_two(1, 0.1), effect=0.2).most_effect == pytest.approx(1)
        assert planned("queries", of_two(4, 0.1), effect=9.0).most_effect is None

    def test_larger_changes_beside_it_that_a_share_cannot_have_are_told_as_none(self) -> None:
        found = planned("priced_rate", of_values(np.tile([1.0, 1.0, 1.0, 0.0], 100)), effect=0.2)
        assert found.needs[-1].units is found.needs[-1].days is None


def test_the_page_s_simulation_runs(capsys: pytest.CaptureFixture[str]) -> None:
    page = (Path(__file__).parents[2] / "docs" / "experiments.md").read_text(encoding="utf-8")
    (program,) = re.findall(
        r"```python\n(.*?)```", page.partition("\n## Planning\n")[2].partition("\n## ")[0], re.DOTALL
    )
    exec(program, {})
    assert capsys.readouterr().out == "80%, between 73% and 85%\n"


class Told(UnitsReader):
    """Has the same answer for every window, with units on the last days alone."""

    def __init__(self, answer: PopulationAnswer, days: int) -> None:
        super().__init__([], lambda: NOW)
        self._answer = answer
        self._days = days
        self.populations: list[PopulationQuery] = []

    def population(self, question: PopulationQuery) -> PopulationAnswer:
        self.populations.append(question)
        length = (question.window.end - question.window.start).days
        distinct = [max(0, 10 * (day + self._days - length)) for day in range(1, length + 1)]
        return structs.replace(self._answer, distinct_units=tuple(distinct))
