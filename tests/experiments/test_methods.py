"""Which estimate decides, and what stands beside it: the past, caps, equivalence, families of questions, beliefs."""

from __future__ import annotations

from datetime import timedelta

import numpy as np
import pytest
from msgspec import structs
from numpy.typing import NDArray
from tests.experiments.unit_moments import CATALOGUE, START, answer_of, experiment, moments_of

from barograph.core.units import UnitAnswer, UnitMoments
from barograph.experiments.analysis.analyse import analyse
from barograph.experiments.comparison import Comparison
from barograph.experiments.design import Experiment, Guardrail, equal_variants
from barograph.stats.covariate import compare_cuped
from barograph.stats.joint import PairSummary, RatioPairSummary
from barograph.stats.multiplicity import benjamini_hochberg, holm

Floats = NDArray[np.float64]


def compare(defined: Experiment, days: float = 10, /, **answers: UnitAnswer | list[UnitMoments]) -> Comparison:
    found = {
        name.replace("__", "."): one if isinstance(one, UnitAnswer) else answer_of(one) for name, one in answers.items()
    }
    return analyse(defined, {name: CATALOGUE.get(name) for name in found}, found, START + timedelta(days=days))


def centred(mean: float, n: int, seed: int, deviation: float = 1.0) -> Floats:
    noise = np.random.default_rng(seed).normal(0.0, deviation, n)
    return np.asarray(mean + noise - noise.mean())


class TestPast:
    def arms(self, effect: float, **left_out: bool) -> list[UnitMoments]:
        generator, found = np.random.default_rng(4), []
        for key, shift in (("control", 0.0), ("reranked", effect)):
            habit = generator.normal(3.0, 1.0, 400)
            before, since = habit + generator.normal(0, 0.3, 400), habit + shift + generator.normal(0, 0.3, 400)
            pre = None if left_out.get(key) else (before, np.ones(400))
            found.append(moments_of(key, since, pre=pre))
        return found

    def test_the_adjusted_estimate_decides_where_a_pre_period_was_declared(self) -> None:
        with_past = compare(experiment(pre_days=14), satisfaction=self.arms(0.08))
        (adjusted,) = with_past.primary.adjusted
        assert with_past.verdict.p_value == adjusted.p_value
        assert adjusted.p_value is not None
        assert adjusted.p_value < 0.01
        assert with_past.estimates[0].p_value is not None
        assert with_past.estimates[0].p_value > 0.05
        assert with_past.verdict.finding == "better"
        assert "adjusted by the days before" in with_past.verdict.sentence
        assert with_past.primary.beliefs[0].chance_to_win > 0.99  # of what decides, too

    def test_ratios_are_adjusted_as_cuped_does_their_linearised_values(self) -> None:
        generator, found, pairs = np.random.default_rng(5), [], []
        for key in ("control", "reranked"):
            d0, d1 = (generator.integers(1, 9, 300).astype(float) for _ in range(2))
            habit = generator.normal(2.0, 0.4, 300)
            n0, n1 = (habit * d + generator.normal(0, 0.2, 300) for d in (d0, d1))
            found.append(moments_of(key, n1, d1, pre=(n0, d0)))
            pairs.append(RatioPairSummary.from_values(n0, d0, n1, d1).linearised())
        (adjusted,) = compare(
            experiment(primary_metric="response_time.mean"), response_time__mean=found
        ).primary.adjusted
        expected = compare_cuped(pairs[1], pairs[0])
        assert adjusted.p_value == pytest.approx(expected.p_value, rel=1e-6)

    def test_sums_are_adjusted_by_sums(self) -> None:
        generator = np.random.default_rng(6)
        before, since = generator.exponential(1, (2, 300)), generator.exponential(1, (2, 300))
        since += before
        found = [
            moments_of(key, since[arm], pre=(before[arm], np.ones(300)))
            for arm, key in enumerate(("control", "reranked"))
        ]
        (adjusted,) = compare(experiment(primary_metric="cost"), cost=found).primary.adjusted
        pairs = [PairSummary.from_values(before[arm], since[arm]) for arm in range(2)]
        assert adjusted.p_value == pytest.approx(compare_cuped(pairs[1], pairs[0]).p_value, rel=1e-6)

    def test_where_the_past_of_an_arm_is_not_known_nothing_is_adjusted_and_that_is_said(self) -> None:
        found = compare(experiment(pre_days=14), satisfaction=self.arms(0.5, control=True))
        assert found.primary.adjusted == ()
        assert found.deciding == found.estimates
        assert any("nothing is adjusted" in warning for warning in found.warnings)

    def test_of_several_treatments_all_are_adjusted_or_none(self) -> None:
        arms = [*self.arms(0.5), moments_of("third", centred(3.0, 400, 9))]
        defined = experiment(variants=equal_variants("control", "reranked", "third"), pre_days=14)
        found = compare(defined, satisfaction=arms)
        assert found.primary.adjusted == ()
        assert len(found.arm_verdicts) == 2

    def test_a_past_that_says_little_is_warned_of(self) -> None:
        generator = np.random.default_rng(7)
        arms = [
            moments_of(key, generator.normal(3, 1, 400), pre=(generator.normal(3, 1, 400), np.ones(400)))
            for key in ("control", "reranked")
        ]
        found = compare(experiment(pre_days=14), satisfaction=arms)
        assert any("says little" in warning for warning in found.warnings)

    def test_units_that_were_measured_rarely_and_unevenly_are_not_adjusted(self) -> None:
        generator, arms = np.random.default_rng(5), []
        for key in ("control", "reranked"):
            ratings, habit = np.zeros(1000), generator.normal(3.0, 1.0, 1000)
            ratings[:40] = np.ceil(generator.lognormal(0.5, 1.5, 40))
            arms.append(moments_of(key, ratings * habit, ratings, pre=(habit, np.ones(1000))))
        found = compare(experiment(pre_days=14), satisfaction=arms)
        assert found.primary.adjusted == ()
        assert found.deciding[0].method.startswith("Fieller")
        assert any(warning.endswith("measured too rarely or unevenly") for warning in found.warnings)

    def test_a_past_that_is_the_same_for_all_has_rounding_alone_in_its_products(self) -> None:
        arms = []
        for one, mean in zip(self.arms(0.08), (0.3, 0.1 * 3), strict=True):
            assert one.pre is not None
            same = structs.replace(one.pre, numerator_mean=mean, products=(0.0, 0.0, 3e-13, -2e-13, 0.0, 1e-13, 0.0))
            arms.append(structs.replace(one, pre=same))
        found = compare(experiment(pre_days=14), satisfaction=arms).primary
        (adjusted,), (plain,) = found.adjusted, found.estimates
        assert adjusted.absolute is not None
        assert plain.absolute is not None
        assert adjusted.absolute.value == pytest.approx(plain.absolute.value)
        assert adjusted.p_value == pytest.approx(plain.p_value)


def test_capped_sums_say_so_and_where_the_cap_is() -> None:
    arms = [moments_of(key, centred(3, 200, seed)) for key, seed in (("control", 1), ("reranked", 2))]
    found = compare(
        experiment(primary_metric="cost", caps={"cost": 0.99}), cost=structs.replace(answer_of(arms), cap=4.5)
    )
    assert found.primary.cap == 4.5
    assert "sums a unit up to $4.5" in found.estimates[0].method
    assert "sums a unit up to $4.5" in found.primary.always_valid[0].method


class TestSkew:
    def test_a_few_large_values_give_no_verdict_at_a_fixed_horizon(self) -> None:
        generator = np.random.default_rng(1)
        arms = [moments_of(key, generator.lognormal(shift, 2, 300)) for key, shift in (("control", 0), ("reranked", 2))]
        found = compare(experiment(primary_metric="cost"), cost=arms)
        assert found.verdict.finding == "not valid"
        assert "a few large values decide" in found.verdict.sentence

    def test_a_little_skew_does_no_harm(self) -> None:
        generator = np.random.default_rng(1)
        arms = [moments_of(key, generator.exponential(mean, 300)) for key, mean in (("control", 1), ("reranked", 2))]
        assert compare(experiment(primary_metric="cost"), cost=arms).verdict.finding == "worse"


class TestEquivalence:
    def arms(self, effect: float, n: int = 4000) -> list[UnitMoments]:
        return [moments_of("control", centred(4.0, n, 1)), moments_of("reranked", centred(4.0 + effect, n, 2))]

    @pytest.mark.parametrize("method", ["fixed horizon", "always valid"])
    def test_arms_that_differ_by_less_than_the_margin_are_equivalent(self, method: str) -> None:
        defined = experiment(method=method, equivalence_margin=0.03)
        found = compare(defined, satisfaction=self.arms(0.01))
        assert found.verdict.finding == "equivalent"
        assert "within the ±3 % that do not matter" in found.verdict.sentence
        assert found.needs_more_days is None
        assert ("90 % interval" in found.verdict.sentence) == (method == "fixed horizon")

    def test_not_before_the_planned_end(self) -> None:
        assert (
            compare(experiment(equivalence_margin=0.03), 5, satisfaction=self.arms(0.0)).verdict.finding
            == "not settled"
        )

    def test_not_where_the_interval_passes_the_margin_on_either_side(self) -> None:
        for effect in (0.04, -0.04):  # of 4: one per cent, give or take 0.9
            defined = experiment(equivalence_margin=0.015)
            assert compare(defined, satisfaction=self.arms(effect)).verdict.finding == "not settled"

    def test_not_without_a_margin(self) -> None:
        assert compare(experiment(), satisfaction=self.arms(0.0)).verdict.finding == "not settled"

    def test_a_difference_that_is_sure_but_small_is_said_to_be_both(self) -> None:
        found = compare(experiment(equivalence_margin=0.05), satisfaction=self.arms(0.1))
        assert found.verdict.finding == "better"
        assert "though within the ±5 % that do not matter" in found.verdict.sentence

    @pytest.mark.parametrize(("method", "level"), [("fixed horizon", "95"), ("always valid", "97.5")])
    def test_several_treatments_share_alpha(self, method: str, level: str) -> None:
        """At one look 1 - 2 * 0.05 / 2, at any time 1 - 0.05 / 2: a half of the risk that one treatment has alone."""
        arms = [*self.arms(0.0), moments_of("third", centred(4.0, 4000, 3))]
        defined = experiment(
            variants=equal_variants("control", "reranked", "third"), equivalence_margin=0.04, method=method
        )
        sentence = compare(defined, satisfaction=arms).verdict.sentence
        assert sentence.startswith("Equivalent")
        assert f" {level} % interval" in sentence

    def test_what_units_did_before_makes_it_known_sooner(self) -> None:
        generator, arms = np.random.default_rng(4), []
        for key in ("control", "reranked"):
            habit = centred(3.0, 400, generator.integers(100))
            since = habit + centred(0.0, 400, generator.integers(100), 0.3)
            arms.append(moments_of(key, since, pre=(habit, np.ones(400))))
        found = {
            days: compare(experiment(pre_days=days, equivalence_margin=0.025), satisfaction=arms).verdict
            for days in (0, 14)
        }
        assert found[14].finding == "equivalent"
        assert "adjusted by the days before" in found[14].sentence

    def test_many_treatments_share_alpha_at_any_time_too(self) -> None:
        names = [f"ranker{n}" for n in range(8)]
        arms = [moments_of("control", centred(4.0, 4000, 1))]
        arms += [moments_of(name, centred(4.0, 4000, seed + 2)) for seed, name in enumerate(names)]
        defined = experiment(variants=equal_variants("control", *names), equivalence_margin=0.03, method="always valid")
        sentence = compare(defined, satisfaction=arms).verdict.sentence
        assert sentence.startswith("Equivalent")
        assert "always valid 99.4 % interval" in sentence  # 1 - 0.05 / 8


class TestSentence:
    def arms(self, effect: float = 0.3) -> list[UnitMoments]:
        return [moments_of("control", centred(4.0, 500, 1)), moments_of("reranked", centred(4.0 + effect, 500, 2))]

    def test_why_it_was_stopped_is_told_with_every_finding(self) -> None:
        stopped = {"state": "stopped", "stop_reason": "cost_per_query\x1b[31m is too high.", "method": "always valid"}
        for effect, minimum, finding in ((0.3, 30, "better"), (0.0, 30, "not settled"), (0.3, 900, "not settled")):
            defined = structs.replace(
                experiment(minimum_units=minimum), stopped_at=START + timedelta(days=3), **stopped
            )
            found = compare(defined, satisfaction=self.arms(effect))
            assert found.verdict.finding == finding
            assert found.verdict.sentence.endswith(" is too high.")
            assert "It was stopped: cost_per_query" in found.verdict.sentence
            assert found.verdict.sentence.isprintable()
            assert found.needs_more_days is None
            assert found.stop_reason

    @pytest.mark.parametrize(
        ("slower", "said"),
        [(1.0, ""), (1.3, "but a guardrail is breached: Average response time"), (1.099, "not yet known to be within")],
    )
    def test_an_always_valid_verdict_tells_of_guardrails_by_the_test_that_may_be_made_now(
        self, slower: float, said: str
    ) -> None:
        guardrail = Guardrail(metric="response_time.mean", margin=0.1)
        seconds = [moments_of("control", centred(10, 500, 3)), moments_of("reranked", centred(10 * slower, 500, 4))]
        for method in ("always valid", "fixed horizon"):
            defined = experiment(method=method, guardrails=(guardrail,))
            found = compare(defined, satisfaction=self.arms(), response_time__mean=seconds)
            check = found.metrics[1].guardrails[0]
            state = check.stopping if method == "always valid" else check.state
            assert state == {1.0: "held", 1.3: "breached", 1.099: "open"}[slower]
            assert said in found.verdict.sentence
            assert ("guardrail" in found.verdict.sentence) == bool(said)

    def test_before_the_sequence_knows_the_guardrail_is_not_said_to_hold(self) -> None:
        guardrail = Guardrail(metric="response_time.mean", margin=0.1)
        seconds = [moments_of(key, centred(10, 60, seed)) for key, seed in (("control", 3), ("reranked", 4))]
        found = compare(
            experiment(method="always valid", guardrails=(guardrail,)), satisfaction=self.arms(0.5),
            response_time__mean=seconds,
        )  # fmt: skip
        assert found.metrics[1].guardrails[0].state == "held"
        assert found.metrics[1].guardrails[0].stopping == "not yet"
        assert "not yet known to be within its guardrail" in found.verdict.sentence


class TestFamilies:
    def given(self, correction: str) -> tuple[Comparison, list[float]]:
        defined = experiment(
            variants=equal_variants("control", "a", "b"), secondary_metrics=("accuracy", "response_time.mean"),
            correction=correction,
        )  # fmt: skip
        answers = {
            name: [moments_of(key, centred(4.0 + shift, 200, seed)) for key, shift, seed in arms]
            for name, arms in {
                "satisfaction": (("control", 0.0, 1), ("a", 0.2, 2), ("b", 0.3, 3)),
                "accuracy": (("control", 0.0, 4), ("a", 0.19, 5), ("b", 0.25, 6)),
                "response_time__mean": (("control", 0.0, 7), ("a", 0.22, 8), ("b", 0.0, 9)),
            }.items()
        }
        found = compare(defined, 10, **answers)
        return found, [one.p_value or 0.0 for metric in found.metrics[1:] for one in metric.estimates]

    @pytest.mark.parametrize(("correction", "by"), [("holm", holm), ("benjamini-hochberg", benjamini_hochberg)])
    def test_secondary_metrics_and_treatments_are_one_family(self, correction: str, by: object) -> None:
        found, plain = self.given(correction)
        expected = holm(plain) if by is holm else benjamini_hochberg(plain)
        assert [p for metric in found.metrics[1:] for p in metric.adjusted_p_values] == pytest.approx(expected)
        assert expected != plain

    def test_the_primary_metric_is_a_family_of_its_treatments_by_holm(self) -> None:
        found, _ = self.given("benjamini-hochberg")
        plain = [one.p_value or 0.0 for one in found.estimates]
        assert found.primary.adjusted_p_values == pytest.approx(holm(plain))
        assert [verdict.p_value for verdict in found.arm_verdicts] == pytest.approx(holm(plain))


class TestBeliefs:
    def test_the_chance_to_win_turns_with_the_direction(self) -> None:
        arms = [moments_of("control", centred(4.0, 400, 1)), moments_of("reranked", centred(4.2, 400, 2))]
        more = compare(experiment(), satisfaction=arms).primary.beliefs[0]
        less = compare(experiment(primary_metric="response_time.mean"), response_time__mean=arms).primary.beliefs[0]
        assert more.chance_to_win > 0.99
        assert less.chance_to_win == pytest.approx(1 - more.chance_to_win)
        assert less.expected_loss > 0.15 > more.expected_loss
        assert (more.low, more.high) == (less.low, less.high)
        assert "prior 0 ± 50 % of the control" in more.method

    def test_shares_have_a_beta_posterior(self) -> None:
        arms = [
            moments_of(key, np.repeat([1.0, 0.0], (hits, 200 - hits)))
            for key, hits in (("control", 20), ("reranked", 40))
        ]
        found = compare(experiment(primary_metric="error_rate"), error_rate=arms).primary.beliefs[0]
        assert found.method.startswith("Beta-Binomial")
        assert found.chance_to_win < 0.01

    def test_few_units_are_believed_nothing_of(self) -> None:
        arms = [moments_of(key, centred(4.0, 29, seed)) for key, seed in (("control", 1), ("reranked", 2))]
        assert compare(experiment(), satisfaction=arms).primary.beliefs == ()


class TestSampleRatio:
    def by_day(self, share: float) -> list[UnitMoments]:
        return [
            moments_of(key, centred(4.0, round(200 * part), 10 * day + arm), group=f"2026-11-{10 + day}")
            for day in range(10)
            for arm, (key, part) in enumerate((("control", 1 - share), ("reranked", share)))
        ]

    def test_a_mismatch_of_any_day_is_kept_where_the_verdict_is_always_valid(self) -> None:
        days = self.by_day(0.2)[:8] + [structs.replace(one, group=f"2026-12-{day:02}") for day in range(1, 5)
                                       for one in self.by_day(0.8)[8:10]]  # fmt: skip
        always = compare(experiment(method="always valid"), satisfaction=days)
        once = compare(experiment(method="fixed horizon"), satisfaction=days)
        assert not once.sample_ratio.mismatch
        assert always.sample_ratio.mismatch
        assert "valid at any time" in always.sample_ratio.method
        assert always.verdict.finding == "not valid"

    def test_an_arm_that_loses_units_gets_no_verdict_at_the_sizes_at_which_there_are_any(self) -> None:
        lossy = [
            moments_of(key, centred(mean, units, seed), group="2026-11-10")
            for seed, (key, mean, units) in enumerate((("control", 4.0, 293), ("reranked", 4.5, 162)))
        ]
        found = compare(experiment(method="always valid"), satisfaction=lossy)
        assert found.verdict.finding == "not valid"
        assert "293 instead of 228, 162 instead of 228" in found.verdict.sentence

    def test_right_shares_pass_both(self) -> None:
        for method in ("always valid", "fixed horizon"):
            assert not compare(experiment(method=method), satisfaction=self.by_day(0.5)).sample_ratio.mismatch
