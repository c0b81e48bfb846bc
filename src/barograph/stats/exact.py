"""Exact tests and intervals of shares, for numbers too small for the normal distribution.

Takes counts, hands back p-values and bounds. What is exact keeps its promise at any number of units, and pays with
power: Boschloo's test is never less powerful than Fisher's. scipy.stats is imported by the functions that need it: it
takes a noticeable part of a second, and most comparisons are of larger numbers.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from barograph.stats.estimate import Alternative
from barograph_client.errors import InvalidInput

MOST_TABLES = 250_000  # tables that Barnard's and Boschloo's tests are willing to sum over: 500 units an arm


def fisher_exact(
    successes: int, n: int, baseline_successes: int, baseline_n: int, alternative: Alternative = "two-sided"
) -> float:
    """The exact p-value of a 2 by 2 table (Fisher 1935): all tables of its margins that are no likelier.

    Assumes both margins to be given, which costs power where only the arms' sizes are. Refuses impossible counts.
    """
    from scipy import stats

    table = _table(successes, n, baseline_successes, baseline_n)
    return float(stats.fisher_exact(table, alternative=alternative)[1])


def barnard_exact(
    successes: int, n: int, baseline_successes: int, baseline_n: int, alternative: Alternative = "two-sided"
) -> float:
    """The exact p-value with the arms' sizes given alone (Barnard 1947), tables ordered by the pooled score statistic.

    The largest p-value over all shares that both arms may have in common. Refuses impossible counts, an empty arm,
    and more than ``MOST_TABLES`` possible tables, where the score test is as good.
    """
    from scipy import stats

    table = _unconditional(successes, n, baseline_successes, baseline_n)
    answer = stats.barnard_exact(table, alternative=alternative)
    return min(1.0, float(answer.pvalue))


def boschloo_exact(
    successes: int, n: int, baseline_successes: int, baseline_n: int, alternative: Alternative = "two-sided"
) -> float:
    """The exact p-value with the arms' sizes given alone (Boschloo 1970), tables ordered by Fisher's p-value.

    Two-sided is twice the smaller one-sided. Refusals as for ``barnard_exact``.
    """
    from scipy import stats

    table = _unconditional(successes, n, baseline_successes, baseline_n)
    answer = stats.boschloo_exact(table, alternative=alternative)
    return min(1.0, float(answer.pvalue))


def clopper_pearson_interval(successes: int, n: int, alpha: float = 0.05) -> tuple[float, float]:
    """The interval of one share that two exact binomial tests do not reject (Clopper and Pearson 1934).

    Covers at least as often as stated, at any share and number. Refuses impossible counts, and no unit at all.
    """
    from scipy import special

    require_counts(successes, n)
    if n == 0 or not 0 < alpha < 1:
        raise InvalidInput("an interval of a share needs a unit, and a risk between 0 and 1", value=(n, alpha))
    low = float(special.betaincinv(successes, n - successes + 1, alpha / 2)) if successes else 0.0
    high = float(special.betainccinv(successes + 1, n - successes, alpha / 2)) if successes < n else 1.0
    return low, high


def require_counts(successes: int, n: int) -> None:
    """Raise InvalidInput unless 0 <= successes <= n."""
    if not 0 <= successes <= n:
        raise InvalidInput("successes must lie between 0 and the number of units", value=(successes, n))


def _table(successes: int, n: int, baseline_successes: int, baseline_n: int) -> NDArray[np.int64]:
    require_counts(successes, n)
    require_counts(baseline_successes, baseline_n)
    return np.array([[successes, n - successes], [baseline_successes, baseline_n - baseline_successes]])


def _unconditional(successes: int, n: int, baseline_successes: int, baseline_n: int) -> NDArray[np.int64]:
    """The table with arms as columns."""
    table = _table(successes, n, baseline_successes, baseline_n)
    if min(n, baseline_n) == 0:
        raise InvalidInput("an arm is empty", value=(n, baseline_n))
    if (n + 1) * (baseline_n + 1) > MOST_TABLES:
        raise InvalidInput(
            "too many units for an exact test over all tables", hint="Use the score test.", value=(n, baseline_n)
        )
    return table.T
