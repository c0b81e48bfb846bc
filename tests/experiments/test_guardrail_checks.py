"""A guardrail stops an experiment when it is surely breached, at whatever moment it is looked at, and not before."""

from __future__ import annotations

from datetime import timedelta

import numpy as np
import pytest
from msgspec import structs
from numpy.typing import NDArray
from tests.experiments.unit_moments import START, answer_of, moments_of
from tests.support.soak import times

from barograph.core.metric import Catalogue
from barograph.core.units import UnitMoments
from barograph.experiments.analysis.analyse import analyse, check_guardrails
from barograph.experiments.analysis.arms import arms_of, cells_of
from barograph.experiments.analysis.checkpoints import FIRST, GROWTH, last_checkpoint
from barograph.experiments.analysis.sequential import Sequences, Tuning
from barograph.experiments.comparison import GuardrailCheck
from barograph.experiments.design import Experiment, Guardrail, equal_variants, validated
from barograph.stats.chernoff import ratio_bounds

CATALOGUE = Catalogue()
Floats = NDArray[np.float64]


def experiment(*guardrails: Guardrail, **values: object) -> Experiment:
    base = Experiment(
        key="rerank", variants=equal_variants("control", "reranked"), primary_metric="satisfaction", state="running",
        started_at=START, planned_days=10, guardrails=guardrails,
    )  # fmt: skip
    return validated(structs.replace(base, **values), CATALOGUE)


def checked(defined: Experiment, metric: str, arms: list[UnitMoments], days: float = 3.0) -> GuardrailCheck:
    """So many days after the start, and as if nobody had done anything since the last checkpoint."""
    now = START + timedelta(days=days)
    answers, checkpoint = {metric: answer_of(arms, now)}, last_checkpoint(START, now)
    assert checkpoint is not None
    checkpoint = structs.replace(checkpoint, answers=answers)
    (found,) = check_guardrails(defined, {metric: CATALOGUE.get(metric)}, answers, checkpoint)[metric]
    return found


def exactly(mean: float, deviation: float, n: int) -> Floats:
    noise = np.random.default_rng(9).normal(0.0, 1.0, n)
    noise -= noise.mean()
    return np.asarray(mean + noise * (deviation / float(noise.std(ddof=1))))


def two(metric_of_control: float, of_treatment: float, n: int = 1500, deviation: float = 1.0) -> list[UnitMoments]:
    return [
        moments_of("control", exactly(metric_of_control, deviation, n)),
        moments_of("reranked", exactly(of_treatment, deviation, n)),
    ]


SLOWER = Guardrail(metric="response_time.mean", margin=0.1)
LESS_ACCURATE = Guardrail(metric="accuracy", margin=0.1)


class TestStopping:
    @pytest.mark.parametrize(
        ("control", "treatment", "stopping"),
        [(10.0, 10.1, "held"), (10.0, 12.0, "breached"), (10.0, 11.0, "open"), (10.0, 8.0, "held")],
    )
    def test_of_which_less_is_better(self, control: float, treatment: float, stopping: str) -> None:
        found = checked(experiment(SLOWER), "response_time.mean", two(control, treatment))
        assert found.stopping == stopping
        assert found.worsening_low is not None
        assert found.worsening_high is not None
        assert found.worsening_low < treatment / control - 1 < found.worsening_high

    @pytest.mark.parametrize(
        ("control", "treatment", "stopping"),
        [(0.8, 0.79, "held"), (0.8, 0.6, "breached"), (0.8, 0.72, "open"), (0.8, 0.9, "held")],
    )
    def test_of_which_more_is_better(self, control: float, treatment: float, stopping: str) -> None:
        found = checked(experiment(LESS_ACCURATE), "accuracy", two(control, treatment, deviation=0.1))
        assert found.stopping == stopping
        assert found.worsening_low is not None
        assert found.worsening_high is not None
        assert found.worsening_low < 1 - treatment / control < found.worsening_high

    def test_harm_is_seen_in_the_first_hours(self) -> None:
        arms = [structs.replace(one, unit_days=one.units * 0.04) for one in two(10.0, 11.45)]  # an hour each
        defined, metric = experiment(SLOWER), CATALOGUE.get("response_time.mean")
        sequences = structs.replace(Sequences.of(defined, metric, answer_of(arms)), tuning=Tuning.of(defined))
        by_key = arms_of(metric, defined, cells_of(arms)).by_key
        at_the_end = sequences.compare(by_key, "reranked", "control", defined.alpha, "greater").relative
        assert at_the_end is not None
        assert at_the_end.low is not None
        assert at_the_end.low < SLOWER.margin  # tuned for the planned end it would wait
        assert checked(defined, metric.name, arms).stopping == "breached"

    def test_an_absolute_margin_is_in_the_metrics_unit(self) -> None:
        arms = two(10.0, 10.6)
        strict = Guardrail(metric="response_time.mean", margin=0.2, relative=False)
        loose = Guardrail(metric="response_time.mean", margin=1.2, relative=False)
        assert checked(experiment(strict), strict.metric, arms).stopping == "breached"
        held = checked(experiment(loose), loose.metric, arms)
        assert held.stopping == "held"
        assert held.worsening_low is not None
        assert held.worsening_low < 0.6

    def test_each_guardrail_and_treatment_has_its_share_of_alpha(self) -> None:
        arms = two(10.0, 11.0)
        alone = checked(experiment(SLOWER), "response_time.mean", arms)
        among = checked(experiment(SLOWER, LESS_ACCURATE), "response_time.mean", arms)
        strict = checked(experiment(SLOWER, alpha=0.025), "response_time.mean", arms)
        assert among.worsening_low == strict.worsening_low
        assert among.worsening_high == strict.worsening_high
        assert alone.worsening_low is not None
        assert among.worsening_low is not None
        assert among.worsening_low < alone.worsening_low

    def test_two_treatments_have_half_of_it_each(self) -> None:
        name, arms = "response_time.mean", two(10.0, 11.0)
        defined = experiment(SLOWER, variants=equal_variants("control", "reranked", "third"), planned_units=7_500)
        answers = {name: answer_of([*arms, moments_of("third", exactly(10.0, 1.0, 1500))])}
        both = {one.arm: one for one in check_guardrails(defined, {name: CATALOGUE.get(name)}, answers)[name]}
        strict = checked(experiment(SLOWER, alpha=0.025, planned_units=5_000), name, arms)
        assert both["reranked"].worsening_low == strict.worsening_low
        assert both["reranked"].worsening_high == strict.worsening_high

    def test_a_rate_has_half_of_its_share_for_each_way_to_test_it(self) -> None:
        guardrail = Guardrail(metric="error_rate", margin=0.5)
        defined, metric = experiment(guardrail), CATALOGUE.get("error_rate")
        generator = np.random.default_rng(5)
        for rates, way in (((0.4, 0.5), "asymptotic"), ((0.0, 0.3), "at a checkpoint")):
            arms = [
                moments_of(key, generator.binomial(2, rate, 360).astype(float), np.full(360, 2.0), unit_days=540.0)
                for key, rate in zip(("control", "reranked"), rates, strict=True)
            ]
            found, answer = checked(defined, metric.name, arms, 8.0), answer_of(arms)
            if way == "asymptotic":
                sequences = Sequences.of(defined, metric, answer)
                sequences = structs.replace(sequences, tuning=sequences.tuning.part(1 / 20))
                by_key, names = arms_of(metric, defined, cells_of(arms)).by_key, ("reranked", "control")
                effect = sequences.asymptotic(by_key["reranked"], by_key["control"], names, 0.025, "greater").relative
                assert effect is not None
                assert found.worsening_low == effect.low
            else:
                checkpoint = last_checkpoint(START, START + timedelta(days=8))
                assert checkpoint is not None
                pairs = structs.replace(checkpoint, answers={metric.name: answer}).pairs(
                    metric.name, "reranked", "control"
                )
                low, high = ratio_bounds(pairs, alpha=0.025 * checkpoint.share)
                assert found.worsening_low == low - 1
                assert (high, found.worsening_high) == (np.inf, None)

    def test_it_is_not_tested_before_there_is_enough_to_test_and_says_why(self) -> None:
        found = checked(experiment(SLOWER), "response_time.mean", two(10.0, 20.0, n=60))
        assert found.stopping == "not yet"
        assert found.state == "breached"
        assert found.worsening_low is None
        assert found.worsening_high is None
        assert "100 units in each arm" in found.reason

    @pytest.mark.parametrize("baseline", [0.0, 0.001])
    def test_a_share_of_what_is_as_good_as_zero_stops_nothing(self, baseline: float) -> None:
        found = checked(experiment(SLOWER), "response_time.mean", two(baseline, 5.0))
        assert found.stopping == "not yet"
        assert found.reason

    @pytest.mark.parametrize("window", [None, 7.0])
    @pytest.mark.parametrize("rates", [(0.0, 1.0), (0.05, 1.0), (0.0, 0.5), (1.0, 0.5)])
    @pytest.mark.parametrize("relative", [True, False])
    def test_what_an_arm_always_or_never_does_is_tested_too(
        self, relative: bool, rates: tuple[float, float], window: float | None
    ) -> None:
        guardrail = Guardrail(
            metric="error_rate" if rates[1] > rates[0] else "accuracy", margin=0.05, relative=relative
        )
        arms = [
            moments_of(key, np.repeat([1.0, 0.0], [round(rate * 60), 60 - round(rate * 60)]), unit_days=5.0)
            for key, rate in zip(("control", "reranked"), rates, strict=True)
        ]
        found = checked(experiment(guardrail, attribution_days=window), guardrail.metric, arms, 0.2)
        assert found.stopping == "breached"
        assert found.worsening_low is not None
        share = rates[0] if relative else 1.0
        assert 0.05 < found.worsening_low < (abs(rates[1] - rates[0]) / share if share else np.inf)
        early = [structs.replace(one, units=3, measured_units=3) for one in arms]
        assert checked(experiment(guardrail), guardrail.metric, early, 0.2).stopping == "open"

    def test_each_period_of_constant_weights_has_a_control_of_its_own(self) -> None:
        """Everything fails more often in the second period, which the treatment has most of."""
        guardrail = Guardrail(metric="error_rate", margin=0.1, relative=False)
        sizes, rates = {"control": (180, 20), "reranked": (20, 180)}, (0.1, 0.9)
        arms = [
            moments_of(key, np.repeat([1.0, 0.0], [round(n * rate), n - round(n * rate)]), period=period, unit_days=n)
            for key, by_period in sizes.items()
            for period, (n, rate) in enumerate(zip(by_period, rates, strict=True))
        ]
        assert checked(experiment(guardrail), "error_rate", arms).stopping == "open"
        mixed = [structs.replace(one, period=0) for one in arms]
        assert checked(experiment(guardrail), "error_rate", mixed).stopping == "breached"

    def test_what_is_no_share_has_no_checkpoint(self) -> None:
        arms = [moments_of(key, np.full(300, value)) for key, value in (("control", 0.0), ("reranked", 1.0))]
        found = checked(experiment(SLOWER), "response_time.mean", arms)
        assert (found.stopping, found.worsening_low) == ("not yet", None)

    @pytest.mark.parametrize("better", ["lower", "higher"])
    def test_at_the_relative_margin_itself_a_rare_case_stops_no_more_experiments_than_alpha(self, better: str) -> None:
        if better == "lower":
            guardrail, rates = Guardrail(metric="error_rate", margin=0.5), (0.02, 0.03)
        else:
            guardrail, rates = Guardrail(metric="accuracy", margin=0.5), (0.04, 0.02)
        generator, repetitions, stopped = np.random.default_rng(11), times(10, 2_000), 0
        for _ in range(repetitions):
            arms = []
            for day in range(12):
                for key, rate in zip(("control", "reranked"), rates, strict=True):
                    failed = generator.binomial(1, rate, 60 if key == "control" else 15).astype(float)
                    group = f"2026-11-{10 + day}"
                    arms.append(moments_of(key, failed, np.ones(failed.size), unit_days=failed.size, group=group))
                if (
                    day % 3 == 2
                    and checked(experiment(guardrail), guardrail.metric, arms, day + 3.0).stopping == "breached"
                ):
                    stopped += 1
                    break
        assert stopped <= 0.05 * repetitions + 3 * (0.05 * 0.95 * repetitions) ** 0.5

    def test_it_stops_whatever_the_sample_ratio_says(self) -> None:
        defined = experiment(SLOWER)
        arms = [moments_of("control", exactly(10, 1, 1500)), moments_of("reranked", exactly(13, 1, 900))]
        answers = {name: answer_of(arms) for name in ("satisfaction", "response_time.mean")}
        found = analyse(defined, {name: CATALOGUE.get(name) for name in answers}, answers, START + timedelta(days=2))
        assert found.sample_ratio.mismatch
        assert found.verdict.finding == "not valid"
        assert found.metrics[1].guardrails[0].stopping == "breached"

    def test_whether_it_stops_is_told_with_the_check(self) -> None:
        told = structs.replace(SLOWER, auto_stop=False)
        assert not checked(experiment(told), "response_time.mean", two(10, 20)).auto_stop
        assert checked(experiment(SLOWER), "response_time.mean", two(10, 20)).auto_stop


@pytest.mark.parametrize(("treatment", "state"), [(0.79, "held"), (0.6, "breached"), (0.72, "open"), (0.9, "held")])
def test_at_the_end_more_may_be_better_too(treatment: float, state: str) -> None:
    assert checked(experiment(LESS_ACCURATE), "accuracy", two(0.8, treatment, deviation=0.1)).state == state


def test_both_looks_at_a_guardrail_say_the_same() -> None:
    defined, arms = experiment(SLOWER), two(10.0, 11.2)
    answers = {name: answer_of(arms) for name in ("satisfaction", "response_time.mean")}
    metrics = {name: CATALOGUE.get(name) for name in answers}
    whole = analyse(defined, metrics, answers, START + timedelta(days=2)).metrics[1].guardrails[0]
    assert whole == checked(defined, "response_time.mean", arms)


class TestCheckpoints:
    def test_share_the_risk_without_an_end(self) -> None:
        found = [last_checkpoint(START, START + FIRST * GROWTH**number) for number in range(60)]
        shares = [one.share for one in found if one is not None]
        assert len(shares) == 60
        assert shares == sorted(shares, reverse=True)
        assert sum(shares) == pytest.approx(1 - 20 / 80)
        assert shares[0] < 2 * shares[8]

    def test_are_the_same_whenever_one_looks(self) -> None:
        assert last_checkpoint(START, START + FIRST - timedelta(microseconds=1)) is None
        first, second = START + FIRST, START + FIRST * GROWTH
        for until, at in ((first, first), (second - timedelta(seconds=1), first), (second, second)):
            found = last_checkpoint(START, until)
            assert found is not None
            assert found.at == at
