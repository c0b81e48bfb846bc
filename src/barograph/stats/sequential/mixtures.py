"""Time-uniform boundaries: how far a centred sum may wander at any time, with probability ``alpha`` at most.

A boundary is a function of ``v``, the intrinsic time of the sum (its accumulated variance): the probability that the
sum ever lies above ``bound(v)`` is at most ``alpha``. Which sums a boundary holds for stands in its docstring. Each
mixture is tuned to be tightest at ``v_opt``; its validity does not depend on it. Read by ``betting`` and ``quantiles``.

Source: Howard, Ramdas, McAuliffe, Sekhon, "Time-uniform, nonparametric, nonasymptotic confidence sequences" (Annals of
Statistics 2021), cited below as HRMS. All of it refuses (InvalidInput) an ``alpha`` outside (0, 1), times and scales
that are not positive, and what is not finite, or too large or small to compute with.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from barograph.stats.distributions import require_risk
from barograph_client.errors import InvalidInput

Floats = NDArray[np.float64]
LogMixture = Callable[[Floats, Floats], Floats]  # of the sum and its intrinsic time

_SCALES = 1e-15, 1e15
_HALVINGS = 200  # of a bracket: until it holds two neighbours in double precision
_DOUBLINGS = 60  # of the intrinsic time, in search of a sum that lies above the boundary
_TIMES = 1e-100, 1e100  # intrinsic times, and roots of them, beyond which squares over- or underflow
_MOST_UNITS = 1e12  # intrinsic time in units of a squared scale or step: beyond, gamma functions have no digits left
_LEAST_WEIGHT = 1e-3  # of a beta mixture's prior against g * h, where the tuning asks for a negative one


def normal_precision(v_opt: float, alpha_opt: float = 0.05, *, one_sided: bool = False) -> float:
    """The precision of the normal mixture that is tightest at ``v_opt`` (HRMS, proposition 3, approximately).

    A one-sided mixture is tuned as the two-sided one at twice the alpha.
    """
    _require_positive(v_opt)
    alpha = 2 * alpha_opt if one_sided else alpha_opt
    require_risk(alpha)
    return v_opt / (2 * math.log(1 / alpha) + math.log1p(2 * math.log(1 / alpha)))


def normal_log_mixture(s: float, v: float, v_opt: float, *, alpha_opt: float = 0.05, one_sided: bool = False) -> float:
    """The logarithm of the normal mixture at the sum ``s``: evidence against a mean of zero (HRMS, section 3.5).

    Its exponential starts at one and is a supermartingale under the null, so one over it is a p-value that is valid
    at any time (Ville 1939). Assumes a sub-Gaussian sum. One-sided: against means above zero only.
    """
    _require_positive(v)
    _require_numbers(np.asarray(s, float), np.zeros(1))
    rho = normal_precision(v_opt, alpha_opt, one_sided=one_sided)
    return float(_normal(rho, one_sided)(np.asarray(s, float), np.asarray(v, float)))


def normal_mixture_bound(
    v: float, v_opt: float, *, alpha: float = 0.05, alpha_opt: float = 0.05, one_sided: bool = False
) -> float:
    """The boundary of the normal mixture; the two-sided one bounds the absolute sum. Assumes a sub-Gaussian sum."""
    require_risk(alpha)
    _require_positive(v)
    rho = normal_precision(v_opt, alpha_opt, one_sided=one_sided)
    if not one_sided:
        return math.sqrt((v + rho) * (math.log1p(v / rho) - 2 * math.log(alpha)))
    return float(_solved(_normal(rho, one_sided=True), np.asarray([v], float), alpha)[0])


def gamma_exponential_bound(
    v: float | Floats, v_opt: float, *, alpha: float = 0.05, scale: float = 1.0, alpha_opt: float = 0.05
) -> Floats:
    """The one-sided boundary of the gamma-exponential mixture, for each ``v`` (HRMS, proposition 9).

    Assumes a sub-exponential sum with this ``scale``: for values in [0, 1] around a predictable guess, with the
    squared errors of the guess as intrinsic time, the scale is 1 (HRMS, theorem 4).
    """
    require_risk(alpha)
    times = np.atleast_1d(np.asarray(v, dtype=np.float64))
    if not _SCALES[0] <= scale <= _SCALES[1] or not v_opt <= _MOST_UNITS * scale * scale:
        raise InvalidInput("a scale is a number above zero that fits its times", value=(scale, v_opt))
    _require_numbers(np.zeros(1), times, scale * scale)
    rho = normal_precision(v_opt, alpha_opt, one_sided=True)
    return _solved(_gamma_exponential(rho, scale), times, alpha)


def beta_binomial_log_mixture(
    s: float | Floats,
    v: float | Floats,
    v_opt: float,
    below: float,
    above: float,
    *,
    alpha_opt: float = 0.05,
    one_sided: bool = False,
) -> Floats:
    """The logarithm of the beta-binomial mixture at the sums ``s`` (HRMS, propositions 7 and 8).

    Assumes a sum of values from ``-below`` to ``above`` with mean zero and ``v`` = their number times below * above:
    centred Bernoulli values, and any that are as bounded.
    """
    mixture = _beta_binomial(v_opt, below, above, alpha_opt, one_sided)
    sums, times = np.asarray(s, dtype=np.float64), np.asarray(v, dtype=np.float64)
    _require_numbers(sums, times, below * above)
    return mixture(sums, times)


def beta_binomial_bound(
    v: float, v_opt: float, below: float, above: float, *, alpha: float = 0.05, alpha_opt: float = 0.05,
    one_sided: bool = True,
) -> float:  # fmt: skip
    """The boundary of the beta-binomial mixture; ``v / below``, the most that a sum can be, where none is lower."""
    require_risk(alpha)
    _require_positive(v)
    mixture = _beta_binomial(v_opt, below, above, alpha_opt, one_sided)
    _require_numbers(np.zeros(1), np.asarray(v, float), below * above)
    most = v / below
    if float(mixture(np.asarray(most), np.asarray(v))) < -math.log(alpha):
        return most
    return float(_bisected(mixture, np.asarray([v], float), np.asarray([most], float), -math.log(alpha))[0])


def stitched_bound(
    v: float, v_min: float, *, alpha: float = 0.05, scale: float = 0.0, s: float = 1.4, eta: float = 2.0
) -> float:
    """The polynomial stitched boundary, of the rate of the iterated logarithm (HRMS, theorem 1 and equation 10).

    One-sided, for sub-gamma sums with this ``scale``. Epochs grow by ``eta``, and the risk is spent over them as
    1 / k**s. Times before ``v_min`` are bounded as that one.
    """
    require_risk(alpha)
    _require_positive(v_min)
    if not (s > 1 and eta > 1):
        raise InvalidInput("stitching needs s and eta above one", value=(s, eta))
    from scipy.special import zeta  # loaded when needed, as in ``distributions``

    if not math.isfinite(eta * (v / v_min)):
        raise InvalidInput("intrinsic time is finite, and not so far beyond its least", value=(v, v_min))
    time = max(v, v_min)
    level = s * math.log(math.log(eta * (time / v_min))) + math.log(float(zeta(s)) / (alpha * math.log(eta) ** s))
    slope = (eta**0.25 + eta**-0.25) / math.sqrt(2)
    drift = (math.sqrt(eta) + 1) / 2 * scale * level
    return math.sqrt(slope * slope * time * level + drift * drift) + drift


def bernoulli_sequence(
    successes: int, n: int, t_opt: float, *, alpha: float = 0.05, alpha_opt: float = 0.05
) -> tuple[float, float]:
    """The interval of a share that holds at any time: all shares against which the evidence is below 1 / alpha.

    The beta-binomial mixture, tuned for ``t_opt`` units (HRMS, section 3.5 and proposition 7). Exact for independent
    units of yes or no, and for values in [0, 1] in general. Nothing is known before the first unit: (0, 1).
    """
    require_risk(alpha)
    if not 0 <= successes <= n:
        raise InvalidInput("successes must lie between 0 and the number of units", value=(successes, n))
    if n == 0:
        return 0.0, 1.0
    from scipy.optimize import brentq

    share = successes / n

    def excess(p: float) -> float:
        variance = p * (1 - p)
        mixture = beta_binomial_log_mixture(
            (share - p) * n, variance * n, variance * t_opt, p, 1 - p, alpha_opt=alpha_opt
        )
        return float(mixture) + math.log(alpha)

    edge = 1e-12  # a share this near to 0 or 1 is not told from it
    low, high = 0.0, 1.0
    if share > edge and excess(edge) > 0:
        low = float(brentq(excess, edge, min(share, 1 - edge), xtol=1e-16))
    if share < 1 - edge and excess(1 - edge) > 0:
        high = float(brentq(excess, max(share, edge), 1 - edge, xtol=1e-16))
    return low, high


def _normal(rho: float, one_sided: bool) -> LogMixture:
    from scipy.special import log_ndtr

    def two_sided(s: Floats, v: Floats) -> Floats:
        return np.asarray(-0.5 * np.log1p(v / rho) + s * s / (2 * (v + rho)))

    def upper(s: Floats, v: Floats) -> Floats:
        return np.asarray(math.log(2) + two_sided(s, v) + log_ndtr(s / np.sqrt(v + rho)))

    return upper if one_sided else two_sided


def _gamma_exponential(rho: float, scale: float) -> LogMixture:
    from scipy.special import gammainc, gammaln

    square = scale * scale
    prior = rho / square
    constant = prior * math.log(prior) - gammaln(prior) - math.log(gammainc(prior, prior))

    def mixture(s: Floats, v: Floats) -> Floats:
        seen = (scale * s + v) / square
        shape = v / square + prior
        return np.asarray(
            constant + gammaln(shape) + np.log(gammainc(shape, seen + prior)) - shape * np.log(seen + prior) + seen
        )

    return mixture


def _beta_binomial(v_opt: float, below: float, above: float, alpha_opt: float, one_sided: bool) -> LogMixture:
    from scipy.special import betainc, betaln

    if not all(_SCALES[0] <= one <= _SCALES[1] for one in (below, above)):
        raise InvalidInput("a beta-binomial mixture needs values on both sides of zero", value=(below, above))
    if not v_opt <= _MOST_UNITS * below * above:
        raise InvalidInput("intrinsic time is not longer than any experiment", value=v_opt)
    g, h, span = below, above, below + above
    r = max(normal_precision(v_opt, alpha_opt, one_sided=one_sided) - g * h, _LEAST_WEIGHT * g * h)

    def log_beta(a: Floats, b: Floats) -> Floats:
        whole = betaln(a, b)
        if not one_sided:
            return np.asarray(whole)
        with np.errstate(divide="ignore"):  # no weight at all is a logarithm of minus infinity, and right as that
            return np.asarray(whole + np.log(betainc(a, b, h / span)))

    normaliser = log_beta(np.asarray(r / (g * span)), np.asarray(r / (h * span)))

    def mixture(s: Floats, v: Floats) -> Floats:
        weight = log_beta((r + v - g * s) / (g * span), (r + v + h * s) / (h * span))
        powers = v / (g * h) * math.log(span) - (v + h * s) / (h * span) * math.log(g)
        return np.asarray(powers - (v - g * s) / (g * span) * math.log(h) + weight - normaliser)

    return mixture


def _solved(mixture: LogMixture, times: Floats, alpha: float) -> Floats:
    """Where an increasing mixture reaches 1 / alpha, for each time."""
    threshold = -math.log(alpha)
    most = np.maximum(times, 1.0)
    for _ in range(_DOUBLINGS):
        short = mixture(most, times) < threshold
        if not short.any():
            break
        most = np.where(short, 2 * most, most)
    return _bisected(mixture, times, most, threshold)


def _bisected(mixture: LogMixture, times: Floats, most: Floats, threshold: float) -> Floats:
    low, high = np.zeros_like(times), most
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        if ((middle == low) | (middle == high)).all():
            break
        above = mixture(middle, times) > threshold
        low, high = np.where(above, low, middle), np.where(above, middle, high)
    return high


def _require_positive(v: float) -> None:
    if not _TIMES[0] <= v <= _TIMES[1]:
        raise InvalidInput("intrinsic time must be above zero and finite", value=v)


def _require_numbers(sums: Floats, times: Floats, unit: float = 1.0) -> None:
    """``unit`` is the intrinsic time that counts as one unit."""
    if not (np.abs(sums) <= _TIMES[1]).all():
        raise InvalidInput("a sum is a finite number")
    if not ((times >= 0) & (times <= _MOST_UNITS * unit)).all():
        raise InvalidInput("intrinsic time is not negative, nor longer than any experiment")
