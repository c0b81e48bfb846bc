"""Error rates of what is not a comparison of two means: one arm, quantiles, users, and the bandit."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from scipy import special

from barograph.stats.bandit import chance_best_beta, stratified_difference, thompson_weights
from barograph.stats.bayes import BetaPosterior
from barograph.stats.comparison import compare_ratios, welch
from barograph.stats.sequential import betting, mixtures
from barograph.stats.sequential.quantiles import quantile_p_value
from barograph.stats.summary import RatioSummary, Summary
from bench.validity.draws import MOST_QUERIES
from bench.validity.methods import ALPHA
from bench.validity.study import Rate, generator_for

ONE_ARM_UNITS = 1000
QUANTILE_UNITS = 300
USERS = 400
PERIODS, UNITS_A_PERIOD = 40, 250
SHARES = (0.10, 0.12, 0.16)  # of the arms of the bandit


class Line(NamedTuple):
    """A rate with its name; ``claims`` to be at most ``alpha``, or stands beside one that does."""

    name: str
    rate: Rate
    claims: bool = True
    alpha: float = ALPHA

    @property
    def fails(self) -> bool:
        return self.claims and self.rate.exceeds(self.alpha)


class Regret(NamedTuple):
    """Units' worth of successes lost against the best arm, by Thompson sampling and by equal shares."""

    thompson: float
    equal: float
    best_share: float
    repetitions: int


def one_arm(repetitions: int) -> list[Line]:
    """How often an interval for one mean is wrong at any of 1,000 units."""
    generator = generator_for("one arm")
    wrong: dict[str, int] = {}
    drawn = {
        "uniform": (generator.random((repetitions, ONE_ARM_UNITS)), 0.5),
        "Bernoulli 0.02": ((generator.random((repetitions, ONE_ARM_UNITS)) < 0.02).astype(np.float64), 0.02),
    }
    lines = []
    for name, (x, mean) in drawn.items():
        out = {
            "hedged betting": betting.hedged_evidence(x, mean, alpha=ALPHA) > -math.log(ALPHA),
            "empirical Bernstein": _outside(betting.empirical_bernstein(x, alpha=ALPHA), mean),
            "Hoeffding": _outside(betting.hoeffding(x, alpha=ALPHA), mean),
        }
        if name.startswith("Bernoulli"):
            n = np.arange(1, ONE_ARM_UNITS + 1, dtype=np.float64)
            variance = mean * (1 - mean)
            evidence = mixtures.beta_binomial_log_mixture(
                np.cumsum(x, axis=1) - n * mean, n * variance, variance * ONE_ARM_UNITS, mean, 1 - mean
            )
            out["Bernoulli sequence"] = evidence > -math.log(ALPHA)
        for method, mask in out.items():
            wrong[method] = int(mask.any(axis=1).sum())
            lines.append(Line(f"{method}, one arm, {name}", Rate(wrong[method], repetitions)))
    return lines


def _outside(sequence: betting.Sequence, mean: float) -> np.ndarray[tuple[int, ...], np.dtype[np.bool_]]:
    return np.asarray((sequence.low > mean) | (sequence.high < mean))


def quantiles(repetitions: int) -> list[Line]:
    """The sequential test of equal medians and 90th percentiles of latencies, at ten looks."""
    generator = generator_for("quantiles")
    lines = []
    for quantile in (0.5, 0.9):
        wrong = 0
        for _ in range(repetitions):
            arms = np.exp(generator.standard_normal((2, QUANTILE_UNITS)))
            looks = range(QUANTILE_UNITS // 10, QUANTILE_UNITS + 1, QUANTILE_UNITS // 10)
            wrong += any(quantile_p_value(arms[0, :n], arms[1, :n], quantile) < ALPHA for n in looks)
        lines.append(Line(f"quantile {quantile:g} of two arms, lognormal", Rate(wrong, repetitions)))
    return lines


def users(repetitions: int) -> list[Line]:
    """One user randomised with 1 to 200 queries each: the test by user, and the naive one by query beside it."""
    generator = generator_for("users")
    by_user, by_query = 0, 0
    for _ in range(repetitions):
        queries = generator.integers(1, MOST_QUERIES, USERS, endpoint=True).astype(np.float64)
        habit, noise = generator.normal(2.0, 0.5, USERS), generator.normal(0.0, 0.5, USERS)
        sums = habit * queries + noise * np.sqrt(queries)
        squares = sums**2 / queries + 0.25 * (queries - 1)  # each query's own noise, of variance 0.25
        arm = generator.permutation(USERS) < USERS // 2
        ratios = [RatioSummary.from_values(sums[one], queries[one]) for one in (arm, ~arm)]
        p_value = compare_ratios(ratios[0], ratios[1]).p_value
        by_user += p_value is not None and p_value < ALPHA
        naive = []
        for one in (arm, ~arm):
            n, mean = int(queries[one].sum()), float(sums[one].sum() / queries[one].sum())
            naive.append(Summary(n, mean, float(squares[one].sum()) - n * mean**2))
        effect, _ = welch(naive[0], naive[1])
        by_query += effect.p_value is not None and effect.p_value < ALPHA
    return [
        Line("fixed horizon, by user (the delta method)", Rate(by_user, repetitions)),
        Line("fixed horizon, by query: naive, offered nowhere", Rate(by_query, repetitions), claims=False),
    ]


def bandit(repetitions: int) -> Regret:
    """What Thompson sampling loses against the best arm, with the weights of the package."""
    generator = generator_for("bandit")
    lost, best = 0.0, 0.0
    shares = np.array(SHARES)
    for _ in range(repetitions):
        wins, seen = np.zeros(shares.size, dtype=int), np.zeros(shares.size, dtype=int)
        weights = tuple(1 / shares.size for _ in SHARES)
        for _ in range(PERIODS):
            units = generator.multinomial(UNITS_A_PERIOD, weights)
            wins += generator.binomial(units, shares)
            seen += units
            beliefs = [BetaPosterior.of(int(w), int(n)) for w, n in zip(wins, seen, strict=True)]
            weights = thompson_weights(chance_best_beta(beliefs))
        lost += float(seen @ (shares.max() - shares))
        best += float(seen[shares.argmax()] / seen.sum())
    equal = PERIODS * UNITS_A_PERIOD * float((shares.max() - shares).mean())
    return Regret(lost / repetitions, equal, best / repetitions, repetitions)


def adaptive(repetitions: int) -> list[Line]:
    """Two arms without a difference, weights that follow the data, and days that get better: by period, and pooled."""
    generator = generator_for("adaptive")
    by_period, pooled = 0, 0
    for _ in range(repetitions):
        days: tuple[list[Summary], list[Summary]] = ([], [])
        weight = 0.5
        for day in range(10):
            share = 0.3 + 0.04 * day
            for arm, n in enumerate(np.diff([0, round(weight * 500), 500])):
                wins = int(generator.binomial(n, share))
                days[arm].append(Summary.from_variance(int(n), wins / n, wins / n * (1 - wins / n) * n / (n - 1)))
            totals = [sum(one, Summary()) for one in days]
            error = math.sqrt(totals[0].mean_variance + totals[1].mean_variance)
            chance = float(special.ndtr((totals[0].mean - totals[1].mean) / error))
            weight = thompson_weights((chance, 1 - chance))[0]
        found = stratified_difference(days[0], days[1]).p_value
        by_period += found is not None and found < ALPHA
        effect, _ = welch(*(sum(one, Summary()) for one in days))
        pooled += effect.p_value is not None and effect.p_value < ALPHA
    return [
        Line("adaptive weights, by period", Rate(by_period, repetitions)),
        Line("adaptive weights, pooled over periods: offered nowhere", Rate(pooled, repetitions), claims=False),
    ]
