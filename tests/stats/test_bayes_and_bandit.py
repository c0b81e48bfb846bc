"""Beliefs add up, losses tell what a choice costs, and weights go to the better arm whichever way is better."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from barograph.stats.bandit import (
    NormalBelief,
    Places,
    chance_best_beta,
    chance_best_normal,
    stratified_difference,
    thompson_weights,
)
from barograph.stats.bayes import BetaPosterior, NormalPrior, chance_above, compare_shares, normal_effect
from barograph.stats.comparison import welch
from barograph.stats.interleaving import sign_test
from barograph.stats.summary import Summary
from barograph_client.errors import InvalidInput

shares = st.builds(BetaPosterior, a=st.floats(0.5, 400), b=st.floats(0.5, 400))


class TestBayes:
    @settings(max_examples=40)
    @given(shares, shares)
    def test_chances_add_up_and_losses_differ_by_the_difference(self, arm: BetaPosterior, other: BetaPosterior) -> None:
        there, back = compare_shares(arm, other), compare_shares(other, arm)
        assert there.chance + back.chance == pytest.approx(1, abs=1e-9)
        assert there.loss_arm == pytest.approx(back.loss_baseline, rel=1e-6, abs=1e-12)
        assert there.loss_baseline - there.loss_arm == pytest.approx(arm.mean - other.mean, abs=1e-9)

    @pytest.mark.parametrize(("a", "b"), [(1.5, 0.5), (0.5, 0.5), (0.5, 1.5), (399.5, 0.5), (0.5, 399.5), (2.5, 7.5)])
    def test_two_equal_beliefs_are_as_likely_above_each_other_at_either_end(self, a: float, b: float) -> None:
        one = BetaPosterior(a=a, b=b)
        assert chance_above(one, one) == pytest.approx(0.5, abs=1e-12)
        assert chance_best_beta([one, one, one]) == pytest.approx([1 / 3] * 3, abs=1e-12)

    def test_the_closed_form_and_the_quadrature_agree(self) -> None:
        for a, b, c, d in itertools.product((3, 40), (5, 70), (2, 30), (9, 50)):
            closed = chance_above(BetaPosterior(a=a, b=b), BetaPosterior(a=c, b=d))
            near = chance_above(BetaPosterior(a=a + 1e-9, b=b + 1e-9), BetaPosterior(a=c + 1e-9, b=d + 1e-9))
            assert near == pytest.approx(closed, rel=1e-6)

    def test_no_conversions_are_no_reason_to_believe_in_an_arm(self) -> None:
        found = compare_shares(BetaPosterior.of(0, 50), BetaPosterior.of(0, 50))
        assert found.chance == pytest.approx(0.5)

    def test_a_prior_draws_an_effect_to_itself_and_stands_in_the_method(self) -> None:
        flat = normal_effect(0.2, 0.1)
        drawn = normal_effect(0.2, 0.1, NormalPrior(deviation=0.1))
        assert drawn.value == pytest.approx(0.1)
        assert drawn.high - drawn.low < flat.high - flat.low
        assert "prior 0 ± 0.1" in drawn.method
        assert "flat" in flat.method

    def test_where_lower_is_better_chance_and_losses_are_turned(self) -> None:
        found = normal_effect(0.2, 0.1)
        assert found.turned().chance == pytest.approx(1 - found.chance)
        assert found.turned().loss_arm == found.loss_baseline

    def test_far_out_a_chance_keeps_its_digits(self) -> None:
        assert normal_effect(-21.0, 1.0).chance == pytest.approx(3.279e-98, rel=1e-3)

    def test_refuses_errors_priors_and_counts_that_are_none(self) -> None:
        for error in (0.0, math.inf, math.nan):
            with pytest.raises(InvalidInput):
                normal_effect(1.0, error)
        with pytest.raises(InvalidInput):
            NormalPrior(deviation=0.0)
        with pytest.raises(InvalidInput):
            BetaPosterior.of(3, 2)


class TestBandit:
    @pytest.mark.parametrize("arms", [2, 3, 5])
    def test_where_lower_is_better_the_lowest_arm_gets_the_most(self, arms: int) -> None:
        means = [1.0 + 0.1 * arm for arm in range(arms)]
        beliefs = [NormalBelief(mean=mean, variance=0.01) for mean in means]
        up = thompson_weights(chance_best_normal(beliefs))
        down = thompson_weights(chance_best_normal(beliefs, higher_is_better=False))
        assert max(range(arms), key=up.__getitem__) == arms - 1
        assert max(range(arms), key=down.__getitem__) == 0
        assert sorted(down, reverse=True) == list(down)
        assert down == pytest.approx(up[::-1])  # the means lie as far apart both ways
        top_two = thompson_weights(chance_best_normal(beliefs, higher_is_better=False, places=2))
        assert top_two[0] == pytest.approx(max(top_two))

    @pytest.mark.parametrize("arms", [2, 4])
    def test_of_shares_too(self, arms: int) -> None:
        beliefs = [BetaPosterior.of(10 + 4 * arm, 100) for arm in range(arms)]
        down = chance_best_beta(beliefs, higher_is_better=False)
        assert max(range(arms), key=down.__getitem__) == 0
        assert sum(down) == pytest.approx(1)

    @settings(max_examples=40)
    @given(st.lists(st.tuples(st.floats(-5, 5), st.floats(1e-4, 9)), min_size=2, max_size=6))
    def test_chances_add_up_to_the_places(self, arms: list[tuple[float, float]]) -> None:
        beliefs = [NormalBelief(mean=mean, variance=variance) for mean, variance in arms]
        assert sum(chance_best_normal(beliefs)) == pytest.approx(1, abs=1e-7)
        assert sum(chance_best_normal(beliefs, places=2)) == pytest.approx(2, abs=1e-7)

    @pytest.mark.parametrize("places", [1, 2])
    @pytest.mark.parametrize("offset", [1e6, 1e12, -1e12])
    def test_an_offset_of_all_means_costs_no_digits(self, offset: float, places: Places) -> None:
        beliefs = [
            NormalBelief(mean=offset + mean, variance=variance)
            for mean, variance in ((0.0, 1e-6), (2**-10, 1e-6), (2**-9, 4e-6))  # such means a float holds beside 1e12
        ]
        plain = [NormalBelief(mean=one.mean - offset, variance=one.variance) for one in beliefs]
        found = chance_best_normal(beliefs, places=places)
        assert found == pytest.approx(chance_best_normal(plain, places=places), rel=1e-12)
        assert sum(found) == pytest.approx(places, abs=1e-9)

    @pytest.mark.parametrize("far", [1e12, -1e12, 1e300, -1.7e308])
    def test_an_arm_that_is_far_off_leaves_the_others_to_themselves(self, far: float) -> None:
        near = [NormalBelief(mean=0.0, variance=1.0), NormalBelief(mean=0.5, variance=1.0)]
        places: Places = 2 if far > 0 else 1
        found = chance_best_normal([*near, NormalBelief(mean=far, variance=1e-6)], places=places)
        assert found[:2] == pytest.approx(chance_best_normal(near))
        assert found[2] == pytest.approx(float(far > 0))

    def test_every_arm_is_explored(self) -> None:
        weights = thompson_weights([0.0, 1e-9, 0.06, 0.94], exploration=0.1)
        assert weights[:3] == (0.1, 0.1, 0.1)
        assert sum(weights) == pytest.approx(1)
        assert thompson_weights([1.0, 0.0], exploration=0.5) == (0.5, 0.5)

    @pytest.mark.parametrize(("chances", "floor"), [([1.0], 0.1), ([0.5, math.nan], 0.1), ([0, 0], 0.1), ([1, 1], 0.6)])
    def test_refuses_what_cannot_be_shared_out(self, chances: list[float], floor: float) -> None:
        with pytest.raises(InvalidInput):
            thompson_weights(chances, exploration=floor)

    def test_a_belief_needs_two_units_that_differ(self) -> None:
        for one in (Summary(), Summary.from_values([1.0]), Summary.from_values([1.0, 1.0])):
            with pytest.raises(InvalidInput):
                NormalBelief.of(one)
        for mean, variance in ((math.nan, 1.0), (math.inf, 1.0), (0.0, 0.0), (0.0, math.inf), (0.0, math.nan)):
            with pytest.raises(InvalidInput):
                NormalBelief(mean=mean, variance=variance)

    def test_a_prior_draws_a_belief_as_precisions_add_and_a_tiny_error_leaves_it_no_say(self) -> None:
        belief = NormalBelief.of(Summary.from_variance(100, 2.0, 4.0), prior_mean=1.0, prior_variance=0.12)
        assert (belief.mean, belief.variance) == pytest.approx((1.75, 0.03))
        tiny = NormalBelief.of(Summary.from_values([0.0, 1e-140]), prior_variance=1.0)
        assert tiny.mean == pytest.approx(5e-141)
        for mean, variance in ((0.0, 0.0), (math.nan, 1.0), (0.0, -1.0)):
            with pytest.raises(InvalidInput):
                NormalBelief.of(Summary.from_values([0.0, 1.0]), mean, variance)

    def test_a_better_day_does_not_count_for_the_arm_that_had_more_units_on_it(self) -> None:
        generator = np.random.default_rng(4)
        days = ((100, 900, 0.0), (900, 100, 1.0))  # units of the arms, and how much better the day was for both
        arm = [Summary.from_values(generator.normal(level, 0.1, n)) for n, _, level in days]
        baseline = [Summary.from_values(generator.normal(level, 0.1, n)) for _, n, level in days]
        by_day = stratified_difference(arm, baseline).absolute
        pooled, _ = welch(sum(arm, Summary()), sum(baseline, Summary()))
        assert pooled.value == pytest.approx(0.8, abs=0.02)
        assert by_day is not None
        assert by_day.low is not None
        assert by_day.high is not None
        assert by_day.low < 0 < by_day.high

    def test_says_which_periods_it_could_not_use(self) -> None:
        day = Summary.from_values([0.0, 1.0, 1.0, 0.0, 1.0] * 2)
        found = stratified_difference([day, day], [day, Summary.from_values([1.0, 0.0] * 4)])
        assert "1 periods" in found.warnings[0]
        assert stratified_difference([Summary()], [day]).absolute is None
        same = Summary.from_values([1.0] * 10)
        flat = stratified_difference([same], [same]).absolute
        assert flat is not None
        assert flat.p_value is None

    def test_one_period_is_a_welch_test(self) -> None:
        generator = np.random.default_rng(6)
        arm, baseline = (Summary.from_values(generator.normal(0, spread, n)) for spread, n in ((1, 12), (3, 40)))
        by_period, alone = stratified_difference([arm], [baseline]).absolute, welch(arm, baseline)[0]
        assert by_period is not None
        assert by_period.p_value == pytest.approx(alone.p_value)
        assert by_period.low == pytest.approx(alone.low)

    @pytest.mark.parametrize("sizes", [((10, 10),), ((10, 490), (10, 490)), ((500, 500), (10, 990))])
    def test_periods_of_few_units_keep_the_rate(self, sizes: tuple[tuple[int, int], ...]) -> None:
        generator = np.random.default_rng(7)
        found = 0
        for _ in range(1000):
            arms = [[Summary.from_values(generator.normal(size=n)) for n in arm] for arm in zip(*sizes, strict=True)]
            p_value = stratified_difference(arms[0], arms[1]).p_value
            found += p_value is not None and p_value < 0.01
        assert found <= 20  # with the normal distribution up to 31

    def test_too_few_units_in_each_period_get_no_p_value(self) -> None:
        few = [Summary.from_values([1.0, 1.1]), Summary.from_values([1.0, 1.2])]
        other = [Summary.from_values([2.0, 2.1]), Summary.from_values([1.5, 1.7])]
        found = stratified_difference(few, other)
        assert found.absolute is None
        assert "no period has 10 units in each arm" in found.warnings

    def test_refuses_arms_of_other_periods_and_an_alpha_that_is_none(self) -> None:
        day = Summary.from_values([0.0, 1.0] * 5)
        for arms, alpha in ((([day], []), 0.05), (([day], [day]), 0.0), (([day], [day]), math.nan)):
            with pytest.raises(InvalidInput):
                stratified_difference(arms[0], arms[1], alpha=alpha)


class TestSignTest:
    def test_three_of_three_are_not_enough(self) -> None:
        found = sign_test(3, 0, ties=7)
        assert found.p_value == pytest.approx(0.25)
        assert found.high == 1.0

    def test_arms_swapped_swap_the_interval(self) -> None:
        there, back = sign_test(66, 34), sign_test(34, 66)
        assert there.p_value == back.p_value
        assert there.low is not None
        assert back.high == pytest.approx(1 - there.low)

    def test_ties_alone_say_nothing(self) -> None:
        assert sign_test(0, 0, 5).p_value is None

    def test_refuses_counts_below_zero(self) -> None:
        with pytest.raises(InvalidInput):
            sign_test(-1, 3)
