"""Regressions that compare arms: on a pre-period unit by unit, and on an arm query by query, clustered by unit.

The first needs values, as the sandwich weighs each unit by its leverage; ``covariate.compare_lin`` does with moments.
The second needs the moments that a ratio needs: with the arm as only regressor, least squares over all queries is
the difference of two ratios.
"""

from __future__ import annotations

import math
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from barograph.stats.comparison import DEFAULT_ALPHA, t_effect
from barograph.stats.estimate import Effect
from barograph.stats.summary import Numbers, RatioSummary, centred
from barograph_client.errors import InvalidInput

Design = Literal["ancova", "lin_interacted"]
Covariance = Literal["nonrobust", "HC0", "HC1", "HC2", "HC3"]
_LEVERAGE_POWER = {"HC0": 0, "HC1": 0, "HC2": 1, "HC3": 2}
LEAST_FREE = 1e-9  # a unit whose residual has less room than this is fitted by a coefficient of its own


def regression_adjustment(
    pre: Numbers,
    post: Numbers,
    baseline_pre: Numbers,
    baseline_post: Numbers,
    *,
    design: Design = "lin_interacted",
    covariance: Covariance = "HC2",
    alpha: float = DEFAULT_ALPHA,
) -> Effect:
    """The coefficient of the arm in a regression of post on arm and pre, which is centred at its mean over all units.

    "ancova" has one slope, "lin_interacted" one an arm (Lin 2013). Standard errors: HC2 is unbiased where all units
    vary alike, HC3 errs on the safe side (MacKinnon and White 1985), "nonrobust" assumes that they vary alike.
    Student's t with as many degrees of freedom as there are units beyond coefficients. Refuses columns that do not
    pair, too few units, a pre-period that does not vary, and a unit that a coefficient fits alone.
    """
    columns = [np.asarray(column if isinstance(column, np.ndarray) else list(column), dtype=np.float64)
               for column in (pre, post, baseline_pre, baseline_post)]  # fmt: skip
    if columns[0].shape != columns[1].shape or columns[2].shape != columns[3].shape:
        raise InvalidInput("each unit needs a number from before and one since")
    before, after = np.concatenate(columns[::2]), np.concatenate(columns[1::2])
    _, around = centred(before)
    _, response = centred(after)  # the fit of deviations keeps the digits that a large mean would take
    treated = np.concatenate([np.ones(columns[0].size), np.zeros(columns[2].size)])
    regressors = [np.ones_like(treated), treated, around]
    if design == "lin_interacted":
        regressors.append(treated * around)
    matrix = np.column_stack(regressors)
    degrees = matrix.shape[0] - matrix.shape[1]
    if degrees < 1 or np.linalg.matrix_rank(matrix) < matrix.shape[1]:
        raise InvalidInput("a regression needs more units than coefficients, and a pre-period that varies in each arm")
    basis, triangle = np.linalg.qr(matrix)
    solver = np.linalg.solve(triangle, basis.T)
    coefficients = solver @ response
    variance = _variance(solver[1], basis, response - matrix @ coefficients, degrees, covariance)
    if variance <= 0:
        return Effect(value=float(coefficients[1]))
    return t_effect(float(coefficients[1]), math.sqrt(variance), degrees, alpha)


def cluster_robust(arm: RatioSummary, baseline: RatioSummary, *, alpha: float = DEFAULT_ALPHA) -> Effect:
    """Least squares of every query's value on the arm, with standard errors clustered by unit (CR1).

    Numerators are sums over a unit's queries, denominators their number. Source: Liang and Zeger, "Longitudinal data
    analysis using generalized linear models" (1986), with the factor G / (G - 1) * (N - 1) / (N - 2) for G units and
    N queries, and Student's t with G - 1 degrees of freedom. Much the same as ``compare_ratios``, for those who are
    used to it. Assumes independent units. Refuses fewer than two units in an arm, and arms without any query.
    """
    if min(arm.measured_units, baseline.measured_units) < 2 or arm.ratio is None or baseline.ratio is None:
        raise InvalidInput("an arm needs two units with queries at least", value=(arm.n, baseline.n))
    units = arm.measured_units + baseline.measured_units
    queries = sum(one.n * one.denominator_mean for one in (arm, baseline))
    sandwich = sum(one.linearised().m2 / one.measured_units**2 for one in (arm, baseline))
    if not math.isfinite(queries):
        raise InvalidInput("the numbers are too large", hint="Scale them down.", value=queries)
    if sandwich == 0 or queries <= 2:
        return Effect(value=arm.ratio - baseline.ratio)
    factor = units / (units - 1) * (queries - 1) / (queries - 2)
    return t_effect(arm.ratio - baseline.ratio, math.sqrt(sandwich * factor), units - 1, alpha)


def _variance(
    weights: NDArray[np.float64],
    basis: NDArray[np.float64],
    residuals: NDArray[np.float64],
    degrees: int,
    covariance: Covariance,
) -> float:
    """The variance of the coefficient that is the sum of the responses with these weights."""
    if covariance == "nonrobust":
        return float(weights @ weights * (residuals @ residuals) / degrees)
    free = 1 - np.square(basis).sum(axis=1)
    power = _LEVERAGE_POWER[covariance]
    if power and free.min() < LEAST_FREE:
        raise InvalidInput("one unit alone decides a coefficient", hint="Leave it out, or take the plain difference.")
    scale = residuals.size / degrees if covariance == "HC1" else 1.0
    return float(np.square(weights * residuals) @ (1 / free**power) * scale)
