"""The simulation of docs/validity.md in a small form: methods keep their rates, and are the package's own."""

from __future__ import annotations

import numpy as np
import pytest
from bench.validity import sample_ratio, single, study
from bench.validity.draws import DISTRIBUTIONS, SPLITS, Distribution, looks_at, run
from bench.validity.methods import METHODS, by_period, periods, sequence
from bench.validity.report import Section, failures, page, with_sections

from barograph.stats.sequential import asymptotic, bounded
from barograph.stats.summary import Summary

REPETITIONS = 400
UNITS = 5500


@pytest.fixture(scope="module")
def cells() -> list[study.Cell]:
    return [
        cell
        for distribution in DISTRIBUTIONS
        for split in SPLITS
        for cell in study.peeking(distribution, split, REPETITIONS, UNITS)
    ]


def test_no_method_that_claims_its_rate_is_above_it_under_peeking(cells: list[study.Cell]) -> None:
    claimed = [cell for cell in cells if cell.claims]
    assert failures(claimed, [], []) == []
    assert {cell.method for cell in claimed if cell.reported} == {method.name for method in METHODS if method.claims}


def test_the_asymptotic_sequence_says_not_valid_here_for_heavy_tails_and_is_needed_to(cells: list[study.Cell]) -> None:
    heavy = [cell for cell in cells if cell.distribution == "lognormal s=2" and cell.split == (10, 1)]
    by_method = {(cell.method, cell.first_look): cell for cell in heavy}
    assert not any(by_method["asymptotic sequence", first].reported for first in study.FIRST_LOOKS)
    assert by_method["asymptotic, no gate", 10].rate.exceeds()


def test_looking_again_with_a_t_test_is_wrong(cells: list[study.Cell]) -> None:
    assert all(cell.rate.exceeds() for cell in cells if cell.method == "t test at every look" and cell.first_look == 2)


def test_an_interval_holds_the_effect_where_one_stops() -> None:
    name, arm, baseline, split = study.settings()[2]
    found = study.finding(name, arm, baseline, split, 200)
    assert failures([], found, []) == []
    assert all(one.power > 0.3 for one in found)


def test_the_test_by_user_holds_its_rate_and_the_naive_one_by_query_does_not() -> None:
    by_user, by_query = single.users(400)
    assert not by_user.fails
    assert by_query.rate.value > 0.5


def test_what_is_not_a_comparison_of_means_holds_its_rate_too() -> None:
    lines = [*single.one_arm(300), *single.adaptive(150), *single.quantiles(15)]
    assert failures([], [], lines) == []
    assert {line.name for line in lines if line.rate.exceeds()} == {
        line.name for line in lines if not line.claims
    }  # and what is shown beside them does not


def test_the_sample_ratio_alarms_for_nothing_at_no_look_and_sees_an_arm_that_loses_units_in_time() -> None:
    sequential, repeated = sample_ratio.false_alarms(300)
    assert not sequential.exceeds()
    assert repeated.exceeds()
    assert not any(one.blind for one in sample_ratio.delays(15))
    assert sample_ratio.once(0.55) == pytest.approx(1083, abs=1)


def test_the_bandit_loses_less_than_equal_shares() -> None:
    regret = single.bandit(5)
    assert regret.thompson < regret.equal / 2
    assert "Regret" in page([], [], [], regret, 5)


def test_a_section_takes_the_place_of_its_older_self_and_what_fails_in_it_fails_the_page() -> None:
    older, other = Section("## Measured\n\none", ("wrong",)), Section("## Another\n\nstays")
    text = page([], [], [], single.bandit(1), 5, [older, other])
    assert text.endswith("## Measured\n\none\n\n## Another\n\nstays\n")
    assert "ABOVE ITS RATE" in text
    again = with_sections(text, [Section("## Measured\n\ntwo\n"), Section("## New\n\nthree")])
    assert again == text.replace("\none\n", "\ntwo\n") + "\n## New\n\nthree\n"


@pytest.mark.parametrize("distribution", [DISTRIBUTIONS[0], DISTRIBUTIONS[3], DISTRIBUTIONS[5]], ids=lambda d: d.name)
def test_the_simulated_methods_are_those_of_the_package(distribution: Distribution) -> None:
    counts = looks_at(1500, (4, 1))
    drawn = run((distribution, distribution), counts, 3, np.random.default_rng(8))
    answer = sequence(drawn, 0.3)
    n, means, spreads = periods(drawn)
    for look in range(counts.shape[1]):
        for repetition in range(3):
            arms = [
                Summary(
                    int(counts[arm, look]), float(drawn.means[arm, look, repetition]),
                    float(drawn.spreads[arm, look, repetition]),
                )
                for arm in (0, 1)
            ]  # fmt: skip
            skew = (float(drawn.skewness[0, look, repetition]), float(drawn.skewness[1, look, repetition]))
            shifted = Summary(arms[1].n, arms[1].mean + 0.3, arms[1].m2)
            found = asymptotic.compare_means(arms[0], shifted, skew)
            assert found.absolute is not None
            assert (found.absolute.p_value is not None) == answer.reports[look, repetition]
            if found.absolute.p_value is not None:
                assert (found.absolute.p_value < 0.05) == answer.out[look, repetition]
    if distribution.bounded:
        out = by_period(drawn, 0.3).out
        for look in (1, 10, counts.shape[1] - 1):
            days = [
                [
                    Summary(int(n[day, 0, arm]), float(means[day, 0, arm]), float(spreads[day, 0, arm]))
                    for day in range(look + 1)
                ]
                for arm in (0, 1)
            ]
            p_value = bounded.played(days[0], days[1]).p_value(0.3)
            assert (p_value < 0.05) == out[look, 0]
