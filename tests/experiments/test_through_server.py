"""A/A experiments through the real hash, client, server and store: what their p-values claim holds."""

from __future__ import annotations

import pytest
from bench.validity.through_server import METRICS, Compared, Told, section, size_of_ratio, through_server, too_small
from scipy import stats
from tests.support.soak import LONG, times

SURELY = 0.001


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory) -> Told:
    """A thousand experiments of three metrics when asked for the long form, else a few of one metric each."""
    directory = tmp_path_factory.mktemp("through-server") / "data"
    return through_server(directory, times(30, 1_000), times(200, 800), one_each=not LONG)


@pytest.mark.timeout(3600)
def test_p_values_of_experiments_without_a_difference_are_uniform(told: Told) -> None:
    assert section(told).faults == ()
    assert [one.metric for one in told.metrics] == list(METRICS)
    assert min(len(one.fixed) for one in told.metrics) == times(told.experiments // 3, told.experiments)
    if not LONG:  # then each experiment has one metric, and so all p-values are independent
        assert stats.kstest([p for one in told.metrics for p in one.fixed], "uniform").pvalue > SURELY
    assert stats.binomtest(told.called, told.experiments, 0.05).pvalue > SURELY


def test_the_sample_ratio_alarms_as_often_as_it_says(told: Told) -> None:
    assert len(told.ratios) == told.experiments
    assert too_small(told.ratios) == []
    assert size_of_ratio(told.units, 0.001) <= 0.001
    assert size_of_ratio(told.units, 0.05) <= 0.05


def test_p_values_that_are_too_small_or_not_uniform_would_be_told() -> None:
    crowded = tuple(0.2 * (number + 0.5) / 400 for number in range(400))
    never = Told((Compared(METRICS[0], crowded, crowded),), (0.5,) * 400, 0, 400, 200)
    faults = section(never).faults
    assert any("are not uniform" in fault for fault in faults)
    assert any("always valid, at 0.05" in fault for fault in faults)
    assert any("sample ratio" in fault for fault in faults)
