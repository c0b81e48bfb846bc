"""The verdict says what the data allows, and nothing more."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
import numpy as np
import pytest
from msgspec import structs
from scipy import stats
from tests.experiments.unit_moments import moments_of
from tests.experiments.units_reader import moments

from barograph.core.metric import Catalogue, Measure, Metric
from barograph.core.units import UnitAnswer, UnitMoments
from barograph.experiments.advice import days_text
from barograph.experiments.analysis.analyse import analyse
from barograph.experiments.analysis.arms import arms_of, cells_of
from barograph.experiments.comparison import Comparison
from barograph.experiments.design import Experiment, Guardrail, Pause, Variant, equal_variants, validated
from barograph.experiments.verdict import range_text
from barograph.stats.estimate import Effect, Estimate
from barograph.stats.summary import RatioSummary

START = datetime(2026, 11, 10, 9, tzinfo=UTC)
CATALOGUE = Catalogue()
TWO_DAYS = (Pause(start=START + timedelta(days=1), end=START + timedelta(days=3)),)


def experiment(days: float = 10.0, **values: object) -> Experiment:
    base = Experiment(
        key="rerank", variants=equal_variants("control", "reranked"), primary_metric="satisfaction", planned_days=days,
        state="running", started_at=START,
    )  # fmt: skip
    return validated(structs.replace(base, **values), CATALOGUE)


def once_each(values: np.ndarray) -> RatioSummary:
    return RatioSummary.from_values(values, np.ones(len(values)))


def answer(*arms: UnitMoments, contaminated: int = 0) -> UnitAnswer:
    return UnitAnswer(
        arms=arms, contaminated=contaminated, first_exposure=START, last_exposure=START, complete_to=START
    )


def compare(
    defined: Experiment, days: float, contaminated: int = 0, guards: dict[str, list[UnitMoments]] | None = None,
    **arms: RatioSummary | np.ndarray | UnitMoments,
) -> Comparison:  # fmt: skip
    found = [_moments(key, arm) for key, arm in arms.items()]
    answers = {defined.primary_metric: answer(*found, contaminated=contaminated)}
    answers |= {name: answer(*those) for name, those in (guards or {}).items()}
    metrics: dict[str, Metric] = {name: CATALOGUE.get(name) for name in answers}
    return analyse(defined, metrics, answers, START + timedelta(days=days))


def compare_earlier(
    defined: Experiment,
    hour: tuple[int, int] = (0, 0),
    ever: tuple[int, int] = (0, 0),
    units: tuple[int, int] = (800, 800),
) -> Comparison:
    """The second arm is better; so many units of each did something in the hour before, or at any time before."""
    arms = [
        structs.replace(
            moments_of(key, ratings(3.8 + 0.4 * n, units[n], n)), hour_before=hour[n], any_before=max(hour[n], ever[n]),
        )
        for n, key in enumerate(("control", "reranked"))
    ]  # fmt: skip
    answers = {"satisfaction": answer(*arms)}
    return analyse(defined, {"satisfaction": CATALOGUE.get("satisfaction")}, answers, START + timedelta(days=10))


def _moments(key: str, arm: RatioSummary | np.ndarray | UnitMoments) -> UnitMoments:
    if isinstance(arm, UnitMoments):
        return structs.replace(arm, arm=key)
    return moments_of(key, arm) if isinstance(arm, np.ndarray) else moments(key, arm)


def ratings(mean: float, n: int, seed: int) -> np.ndarray:
    noise = np.random.default_rng(seed).normal(0.0, 1.0, n)
    return mean + noise - noise.mean()


def test_what_the_reader_says_of_its_answer_is_among_the_warnings() -> None:
    defined = experiment()
    found = [moments(key, once_each(ratings(4.0, 50, seed))) for key, seed in (("control", 1), ("reranked", 2))]
    told = structs.replace(answer(*found), notes=("The raw events of 2026-11-01 were retired.",))
    compared = analyse(defined, {"satisfaction": CATALOGUE.get("satisfaction")}, {"satisfaction": told}, START)
    assert "The raw events of 2026-11-01 were retired" in compared.warnings


def test_a_comparison_is_as_old_as_the_oldest_of_its_answers() -> None:
    defined = experiment(secondary_metrics=("accuracy",))
    values = moments("control", once_each(ratings(4.0, 50, 1)))
    answers = {name: answer(values) for name in ("satisfaction", "accuracy")}
    answers["accuracy"] = structs.replace(answers["accuracy"], complete_to=START - timedelta(hours=1))
    found = analyse(defined, {name: CATALOGUE.get(name) for name in answers}, answers, START + timedelta(days=2))
    assert found.complete_to == START - timedelta(hours=1)


class TestVerdict:
    def test_better_is_said_with_values_interval_and_p(self) -> None:
        found = compare(experiment(), 10, control=ratings(3.8, 800, 1), reranked=ratings(4.2, 800, 2))
        assert found.verdict.finding == "better"
        assert found.verdict.sentence.startswith("Better: reranked raises user satisfaction from 3.8/5.0 to 4.2/5.0 (+")
        assert "95 % interval +" in found.verdict.sentence
        assert found.verdict.sentence.endswith("p < 0.0001); stop the experiment and ship reranked.")
        assert found.needs_more_days is None

    def test_no_interval_that_holds_zero_is_told_with_a_difference_that_is_found(self) -> None:
        metric, defined = CATALOGUE.get("satisfaction"), experiment(method="always valid")
        found = Estimate(
            arm="reranked", baseline="control", arm_value=0.721, baseline_value=0.659, arm_n=294, baseline_n=276,
            absolute=Effect(value=0.062, low=0.0004, high=0.1236, p_value=0.045),
            relative=Effect(value=0.094, low=-0.003, high=0.191), alpha=0.05, method="asymptotic confidence sequence",
            warnings=(),
        )  # fmt: skip
        assert range_text(defined, metric, found).endswith("interval +0.0004 to +0.124")
        sure = structs.replace(found, relative=Effect(value=0.094, low=0.003, high=0.191))
        assert range_text(defined, metric, sure) == "+9.4 %, always valid 95 % interval +0.3 % to +19.1 %"

    def test_an_interval_that_tells_nothing_is_not_told(self) -> None:
        accuracy, defined = CATALOGUE.get("accuracy"), experiment(method="always valid")
        found = Estimate(
            arm="reranked", baseline="control", arm_value=0.03, baseline_value=0.01, arm_n=294, baseline_n=276,
            absolute=Effect(value=0.02, low=-0.01, high=0.05, p_value=1.0),
            relative=Effect(value=2.0, low=-1.0, high=5.0), alpha=0.05, method="", warnings=(),
        )  # fmt: skip
        assert range_text(defined, accuracy, found) == "+0.02, always valid 95 % interval −0.01 to +0.05"
        wide = structs.replace(found, absolute=Effect(value=0.02, low=-1.0, high=1.0))
        assert range_text(defined, accuracy, wide) == "+0.02, with an interval too wide to tell anything"
        assert range_text(defined, CATALOGUE.get("cost"), wide).endswith("interval −$1.00 to +$1.00")
        sure = structs.replace(
            found, relative=Effect(value=2.0, low=1.2, high=2.9), absolute=Effect(value=0.02, low=0.01, high=0.03)
        )
        assert range_text(defined, accuracy, sure).startswith("+200 %, ")

    def test_the_same_difference_the_other_way_is_worse(self) -> None:
        found = compare(experiment(), 10, control=ratings(4.2, 800, 1), reranked=ratings(3.8, 800, 2))
        assert found.verdict.finding == "worse"

    def test_a_metric_of_which_less_is_better_turns_the_verdict(self) -> None:
        defined = experiment(primary_metric="response_time.mean")
        found = compare(defined, 10, control=ratings(3.0, 800, 1), reranked=ratings(2.5, 800, 2))
        assert found.verdict.finding == "better"
        assert "lowers average response time from 3 s to 2.5 s" in found.verdict.sentence

    def test_before_the_planned_end_nothing_is_better_whatever_the_interval_says(self) -> None:
        found = compare(experiment(), 4, control=ratings(3.0, 800, 1), reranked=ratings(4.5, 800, 2))
        assert found.estimates[0].p_value is not None
        assert found.estimates[0].p_value < 1e-50
        assert found.verdict.finding == "not settled"
        assert "needs about 6 more days" in found.verdict.sentence
        assert "not adjusted for looking early" in found.verdict.sentence
        assert found.needs_more_days == pytest.approx(6)
        assert any("not adjusted" in warning for warning in found.warnings)

    def test_planned_units_are_waited_for_at_the_present_traffic(self) -> None:
        defined = experiment(planned_days=None, planned_units=4000)
        found = compare(defined, 5, control=ratings(3.0, 500, 1), reranked=ratings(4.5, 500, 2))
        assert found.verdict.finding == "not settled"
        assert found.needs_more_days == pytest.approx(15)
        assert "1,000 of 4,000 planned users" in found.verdict.sentence

    def test_what_has_shown_so_far_is_said_of_the_arm_where_there_are_several(self) -> None:
        defined = experiment(variants=equal_variants("control", "a", "b"))
        found = compare(defined, 4, control=ratings(3.8, 300, 1), a=ratings(4.2, 300, 2), b=ratings(3.7, 300, 3))
        first, second = (verdict.sentence for verdict in found.arm_verdicts)
        assert "; so far a is at +10.5 %, 95 % interval +" in first
        assert "; so far b is at −2.6 %, 95 % interval −" in second
        alone = compare(experiment(), 4, control=ratings(3.8, 300, 1), reranked=ratings(4.2, 300, 2))
        assert "; so far +10.5 %, 95 % interval +" in alone.verdict.sentence

    def test_days_and_units_are_both_waited_for(self) -> None:
        found = compare(experiment(planned_units=4000), 12, control=ratings(3, 500, 1), reranked=ratings(4, 500, 2))
        assert found.verdict.finding == "not settled"

    def test_a_fixed_horizon_without_a_plan_gives_a_verdict_with_a_warning(self) -> None:
        defined = experiment(planned_days=None, method="fixed horizon")
        found = compare(defined, 1, control=ratings(3.8, 800, 1), reranked=ratings(4.2, 800, 2))
        assert found.verdict.finding == "better"
        assert any("no end was planned" in warning for warning in found.warnings)

    def test_no_difference_at_the_end_is_not_settled_and_says_what_it_would_take(self) -> None:
        found = compare(experiment(), 10, control=ratings(4.0, 60, 1), reranked=ratings(4.0, 60, 2))
        assert found.verdict.finding == "not settled"
        needed = found.enough_units
        assert needed is not None
        sd = np.std(ratings(4.0, 60, 1), ddof=1)
        wanted = 2 * (1.96 + 0.8416) ** 2 * (sd / (0.05 * ratings(4.0, 60, 1).mean())) ** 2
        assert needed / 2 == pytest.approx(wanted, rel=0.02)
        again = "; stop the experiment, and if a change of 5 % matters, start a new one with about 600 users."
        assert found.verdict.sentence.endswith(again)
        assert found.needs_more_days is None  # what comes later is not counted

    def test_more_arms_need_more_units(self) -> None:
        two = compare(experiment(), 10, control=ratings(4.0, 60, 1), reranked=ratings(4.0, 60, 2))
        arms = {"control": ratings(4.0, 60, 1), "a": ratings(4.0, 60, 2), "b": ratings(4.0, 60, 3)}
        three = compare(experiment(variants=equal_variants("control", "a", "b")), 10, **arms)
        assert two.enough_units is not None
        assert three.enough_units is not None
        assert three.enough_units > 1.1 * 1.5 * two.enough_units

    def test_no_difference_with_plenty_of_units_says_so(self) -> None:
        found = compare(experiment(), 10, control=ratings(4.0, 9000, 1), reranked=ratings(4.0, 9000, 4))
        assert found.verdict.finding == "not settled"
        assert "would most likely have shown" in found.verdict.sentence
        assert "keep control unless a smaller one matters" in found.verdict.advice
        assert found.needs_more_days is None

    def test_stopped_early_stays_unsettled(self) -> None:
        defined = experiment(state="stopped", stopped_at=START + timedelta(days=3))
        found = compare(defined, 40, control=ratings(3, 500, 1), reranked=ratings(4, 500, 2))
        assert "it was stopped after 3 of 10 planned days" in found.verdict.sentence
        assert found.days_running == 3


@pytest.mark.parametrize("pause", [{"pauses": TWO_DAYS}, {"state": "paused", "paused_at": START}, {}])
def test_it_is_told_that_what_was_done_in_a_pause_is_not_counted(pause: dict[str, Any]) -> None:
    found = compare(experiment(**pause), 10, control=ratings(4.0, 60, 1), reranked=ratings(4.2, 60, 2))
    said = "it was paused: what users did meanwhile, all with the control's configuration, is not counted; "
    assert any(warning.startswith(said) for warning in found.warnings) == bool(pause)


@pytest.mark.parametrize(
    ("values", "told"),
    [
        ({"pauses": TWO_DAYS}, True), ({"pauses": TWO_DAYS, "method": "always valid"}, False),
        ({"pauses": TWO_DAYS, "planned_days": None, "planned_units": 100}, False), ({}, False),
    ],
)  # fmt: skip
def test_a_pause_that_put_the_planned_end_off_is_told_where_the_verdict_rests_on_that_end(
    values: dict[str, Any], told: bool
) -> None:
    found = compare(experiment(**values), 12, control=ratings(4.0, 60, 1), reranked=ratings(4.2, 60, 2))
    said = "a pause put the planned end off by 2 d: the verdict holds if what had shown did not decide the pause"
    assert (said in found.warnings) == told


class TestGate:
    def test_a_sample_ratio_mismatch_comes_before_everything(self) -> None:
        found = compare(experiment(), 10, control=ratings(3.0, 800, 1), reranked=ratings(4.5, 1000, 2))
        assert found.sample_ratio.mismatch
        assert found.verdict.finding == "not valid"
        assert found.verdict.sentence.startswith("Not valid: the arms did not get their shares of users: 800 instead")
        assert found.verdict.p_value is None

    @pytest.mark.parametrize("method", ["fixed horizon", "always valid", "group sequential"])
    def test_units_that_did_more_before_their_exposure_in_one_arm_close_it(self, method: str) -> None:
        found = compare_earlier(experiment(method=method), hour=(24, 80))
        assert found.verdict.finding == "not valid"
        assert found.verdict.sentence.startswith(
            "Not valid: 80 of 800 users of reranked did something in the hour before their exposure, 24 of 800 users "
            "of control (p = "
        )
        assert not any("exposure" in warning for warning in found.warnings)
        found = compare_earlier(experiment(method=method), ever=(700, 500))
        assert "700 of 800 users of control did something before their exposure, since the start" in (
            found.verdict.sentence
        )

    @pytest.mark.parametrize(("hour", "told"), [((480, 480), 0), ((480, 440), 0), ((0, 10), 1), ((24, 50), 1)])
    def test_a_little_more_before_the_exposure_is_told_at_most(self, hour: tuple[int, int], told: int) -> None:
        found = compare_earlier(experiment(), hour=hour)
        assert found.verdict.finding == "better"
        assert sum("which no arm can cause: it is chance, or" in one for one in found.warnings) == told

    def test_a_mismatch_of_the_sample_ratio_is_not_told_as_clocks_that_differ(self) -> None:
        found = compare_earlier(experiment(), hour=(480, 300), units=(800, 500))
        assert "shares of users" in found.verdict.sentence
        assert "before their exposure" not in found.verdict.sentence

    def test_another_metric_whose_clocks_differ_is_not_believed_and_named(self) -> None:
        arms = {key: ratings(4.0, 400, n) for n, key in enumerate(("control", "reranked"))}
        rows = [moments(key, once_each(np.resize([0.0, 1.0], 400))) for key in arms]
        rows[1] = structs.replace(rows[1], hour_before=200)
        found = compare(experiment(secondary_metrics=("error_rate",)), 10, guards={"error_rate": rows}, **arms)
        (said,) = (one for one in found.warnings if "exposure" in one)
        assert said.startswith("error_rate is not to be believed: 200 of 400 users of reranked did something")
        assert found.verdict.finding == "not settled"

    def test_few_units_settle_nothing(self) -> None:
        found = compare(experiment(), 10, control=ratings(3.0, 29, 1), reranked=ratings(4.5, 29, 2))
        assert found.verdict.finding == "not settled"
        assert "29 users" in found.verdict.sentence
        assert found.verdict.p_value is None

    def test_what_waiting_mends_is_no_fault_and_a_fault_is_told_first(self) -> None:
        waits = compare(experiment(), 0)
        assert waits.verdict.sentence.startswith("Not settled yet: control has 0 users with a measurement")
        both = compare(experiment(), 10, control=ratings(3.0, 29, 1), reranked=ratings(4.5, 90, 2))
        assert both.verdict.finding == "not valid"
        assert "their shares of users" in both.verdict.sentence
        assert both.verdict.sentence.index("their shares") < both.verdict.sentence.index("29 users with a measurement")

    def test_an_arm_nobody_was_exposed_to_is_no_arm(self) -> None:
        found = compare(experiment(), 10, control=ratings(3.0, 500, 1))
        assert found.units == {"control": 500, "reranked": 0}
        assert found.verdict.finding == "not valid"
        assert found.sample_ratio.mismatch

    def test_nothing_at_all_settles_nothing_and_is_no_error(self) -> None:
        found = compare(experiment(), 0)
        assert found.verdict.finding == "not settled"
        assert found.sample_ratio.p_value is None

    def test_units_in_two_arms_are_counted_and_many_close_the_gate(self) -> None:
        arms = {"control": ratings(3.0, 500, 1), "reranked": ratings(4.5, 500, 2)}
        some = compare(experiment(), 10, contaminated=9, **arms)
        assert some.verdict.finding == "better"
        assert some.contaminated == 9
        assert "9 users were seen in two arms and are left out" in some.warnings
        many = compare(experiment(), 10, contaminated=20, **arms)
        assert many.verdict.finding == "not valid"
        assert "20 of 1,020 users" in many.verdict.sentence

    def test_a_few_units_in_an_arm_that_the_definition_does_not_have_are_left_out_and_many_close_the_gate(self) -> None:
        arms = {"control": ratings(3, 500, 1), "reranked": ratings(4, 500, 2)}
        some = compare(experiment(), 10, **arms, **{"\x1b[2Jren": ratings(4, 10, 3)})
        assert some.verdict == compare(experiment(), 10, **arms).verdict
        assert some.verdict.finding == "better"
        assert some.units == {"control": 500, "reranked": 500}
        (told,) = (warning for warning in some.warnings if "arms that the definition does not have" in warning)
        assert told.startswith("10 users exposed")
        assert told.isprintable()
        many = compare(experiment(), 10, **arms, **{"\x1b[2Jren": ratings(4, 11, 3)})
        assert many.verdict.finding == "not valid"
        assert "11 of 1,011 users were exposed to arms that the definition does not have" in many.verdict.sentence
        assert many.verdict.sentence.isprintable()
        assert not any("definition" in warning for warning in many.warnings)

    @pytest.mark.parametrize("value", [4.0, 0.1, 0.0])
    def test_equal_values_everywhere_settle_nothing(self, value: float) -> None:
        constant = np.full(100, value)
        found = compare(experiment(), 10, control=constant, reranked=constant)
        assert found.verdict.finding == "not settled"
        assert found.estimates[0].p_value is None

    def test_exposed_units_without_a_measurement_do_not_count_towards_the_minimum(self) -> None:
        few = RatioSummary.from_values([4.0, 3.0, 5.0] + [0.0] * 500, [1.0] * 3 + [0.0] * 500)
        found = compare(experiment(), 10, control=few, reranked=few)
        assert found.verdict.finding == "not settled"
        assert "3 users with a measurement" in found.verdict.sentence
        assert found.units == {"control": 503, "reranked": 503}


class TestMethods:
    def test_a_rate_with_many_events_a_unit_is_a_clustered_ratio(self) -> None:
        generator = np.random.default_rng(3)
        queries = generator.integers(1, 50, 400).astype(float)
        errors = generator.binomial(queries.astype(int), 0.1).astype(float)
        arm = RatioSummary.from_values(errors, queries)
        found = compare(experiment(primary_metric="error_rate"), 10, control=arm, reranked=arm)
        assert found.estimates[0].method.startswith("delta method")
        assert found.estimates[0].arm_value == pytest.approx(errors.sum() / queries.sum())

    def test_a_rate_with_one_event_a_unit_is_a_share_that_holds_at_zero(self) -> None:
        arms = {"control": np.zeros(50), "reranked": np.array([1.0] * 4 + [0.0] * 46)}
        found = compare(experiment(primary_metric="error_rate"), 10, **arms)
        assert found.estimates[0].method.startswith("Boschloo's exact")
        expected = stats.boschloo_exact([[4, 0], [46, 50]]).pvalue
        assert found.estimates[0].p_value == pytest.approx(expected)
        assert found.verdict.finding == "not settled"

    def test_a_rate_that_never_happens_in_an_arm_of_busy_units_is_not_called_certain(self) -> None:
        never = RatioSummary.from_values([0.0] * 50, [3.0] * 50)
        some = RatioSummary.from_values([1.0] * 4 + [0.0] * 46, [3.0] * 50)
        found = compare(experiment(primary_metric="error_rate"), 10, control=never, reranked=some)
        assert found.verdict.finding == "not settled"
        assert "every user of control has the same value" in found.verdict.sentence

    def test_a_sum_is_compared_a_unit_and_units_without_any_count_as_zero(self) -> None:
        generator = np.random.default_rng(3)
        cost = generator.exponential(0.1, 300)
        some = np.append(np.ones(300), np.zeros(50))
        control, treated = (moments_of("", np.append(cost * scale, np.zeros(50)), some) for scale in (1, 2))
        found = compare(experiment(primary_metric="cost"), 10, control=control, reranked=treated)
        expected = stats.ttest_ind(np.append(cost * 2, np.zeros(50)), np.append(cost, np.zeros(50)), equal_var=False)
        assert found.estimates[0].p_value == pytest.approx(expected.pvalue)
        assert found.estimates[0].arm_n == 350
        assert found.verdict.finding == "worse"
        assert "cost a user" in found.verdict.sentence
        assert found.primary.per_unit

    def test_amounts_that_happen_to_be_0_or_1_are_no_shares(self) -> None:
        spent = np.repeat([0.0, 1.0], 40)
        found = compare(experiment(primary_metric="cost"), 10, control=spent, reranked=spent)
        assert found.estimates[0].method == "Welch's t"

    def test_parts_of_one_a_unit_are_no_shares_of_units(self) -> None:
        own = Metric(
            name="spent", title="Spent", unit="USD", aggregation="ratio", better="lower", sentence="Dollars a query.",
            of=Measure("query", "cost"), per=Measure("query"), user_defined=True,
        )  # fmt: skip
        parts = moments("control", once_each(np.repeat([0.2, 0.4], 40)))
        arms = arms_of(own, experiment(), cells_of([parts, structs.replace(parts, arm="reranked")])).by_key
        assert [arm.successes for arm in arms.values()] == [None, None]
        assert arms["control"].ratio is not None

    def test_several_arms_are_several_chances_to_be_wrong(self) -> None:
        alone = compare(experiment(), 10, control=ratings(4.0, 400, 1), reranked=ratings(4.15, 400, 2))
        assert alone.verdict.finding == "better"
        defined = experiment(variants=equal_variants("control", "a", "b"))
        arms = {"control": ratings(4.0, 400, 1), "a": ratings(4.15, 400, 2), "b": ratings(3.85, 400, 3)}
        found = compare(defined, 10, **arms)
        assert all(estimate.p_value is not None and estimate.p_value < 0.05 for estimate in found.estimates)
        assert [verdict.finding for verdict in found.arm_verdicts] == ["not settled", "not settled"]

    def test_each_of_three_arms_is_judged_and_the_best_news_comes_first(self) -> None:
        defined = experiment(variants=equal_variants("control", "a", "b"))
        arms = {"control": ratings(4.0, 400, 1), "a": ratings(3.5, 400, 2), "b": ratings(4.3, 400, 3)}
        found = compare(defined, 10, **arms)
        assert {verdict.arm: verdict.finding for verdict in found.arm_verdicts} == {"a": "worse", "b": "better"}
        assert found.verdict.arm == "b"

    def test_a_comparison_can_be_written_as_json_and_read_back(self) -> None:
        found = compare(experiment(), 10, control=ratings(4.0, 400, 1), reranked=ratings(4.15, 400, 2))
        assert msgspec.json.decode(msgspec.json.encode(found), type=Comparison) == found

    def test_an_arm_of_weight_zero_is_left_out(self) -> None:
        arms = (Variant(key="control", weight=0.5), Variant(key="off", weight=0.0), Variant(key="reranked", weight=0.5))
        found = compare(experiment(variants=arms), 10, control=ratings(3, 500, 1), reranked=ratings(4, 500, 2))
        assert [estimate.arm for estimate in found.estimates] == ["reranked"]
        assert found.sample_ratio.degrees in (None, 1)
        assert found.verdict.finding == "better"


class TestGuardrails:
    def guarded(self, slower: float, n: int = 800) -> Comparison:
        defined = experiment(guardrails=(Guardrail(metric="response_time.mean", margin=0.1),))
        times = {"control": ratings(10.0, n, 5), "reranked": ratings(10.0 * (1 + slower), n, 6)}
        guards = {"response_time.mean": [moments(key, once_each(values)) for key, values in times.items()]}
        return compare(defined, 10, guards=guards, control=ratings(3.8, 800, 1), reranked=ratings(4.2, 800, 2))

    def test_within_the_margin_holds_though_it_is_worse(self) -> None:
        found = self.guarded(0.04)
        assert found.metrics[1].guardrails[0].state == "held"
        assert "guardrail" not in found.verdict.sentence

    def test_beyond_the_margin_is_breached_and_said_in_the_verdict(self) -> None:
        found = self.guarded(0.3)
        assert found.metrics[1].guardrails[0].state == "breached"
        assert "but a guardrail is breached: Average response time" in found.verdict.sentence

    def test_is_one_sided_at_alpha_and_so_settled_sooner_than_a_two_sided_interval(self) -> None:
        found = self.guarded(0.1 - 1.8 * 0.1 * 2**0.5 / 800**0.5)  # 1.8 standard errors inside: 1.64 < 1.8 < 1.96
        assert found.metrics[1].guardrails[0].state == "held"
        relative = found.metrics[1].estimates[0].relative
        assert relative is not None
        assert relative.high is not None
        assert relative.high > 0.1

    def test_too_little_data_is_neither(self) -> None:
        found = self.guarded(0.09, n=20)
        assert found.metrics[1].guardrails[0].state == "open"
        assert "not yet known" in found.verdict.sentence


@pytest.mark.parametrize(
    ("days", "text"),
    [
        (None, "a number of days that cannot be told yet"), (0.2, "less than a day more"), (1.0, "about 1 more day"),
        (3.2, "about 4 more days"), (99999.0, "years"),
    ],
)  # fmt: skip
def test_waits_are_said_as_people_say_them(days: float | None, text: str) -> None:
    assert days_text(days) == text
