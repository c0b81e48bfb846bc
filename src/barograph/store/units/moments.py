"""Moments over units: the aggregates as SQL, and what the rows of an answer say.

Squares are centred, by Welford's recurrence in the engine, and means are compensated sums (Kahan): numbers near 1e12
keep their digits.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from msgspec import structs

from barograph.core.units import PreMoments, UnitMoments
from barograph_client.errors import InvalidQuery

_PAIRS = {"nn": ("n", "n"), "dd": ("d", "d"), "nd": ("n", "d")}
_CUBES = ("n * n * n", "n * n * d", "n * d * d", "d * d * d")
_PRE = (("p", "p"), ("p", "q"), ("p", "n"), ("p", "d"), ("q", "q"), ("q", "n"), ("q", "d"))
PRE_NUMBERS = ("p", "q")

NOBODY: dict[str, Any] = {  # the row of no units at all, of which the engine has no means
    "units": 0, "measured_units": 0, "positive_units": 0, "negative_units": 0, "own_mean": 0.0, "own_m2": 0.0,
    "cubes": [0.0] * 4, "mean_n": 0.0, "mean_d": 0.0, "m2_nn": 0.0, "m2_dd": 0.0, "m2_nd": 0.0,
}  # fmt: skip


def aggregates(*, pre: bool) -> str:
    """Aggregates over rows of units with ``n``, ``d`` and, with ``pre``, ``p`` and ``q``: sums since, and before."""
    found = {
        "units": "count()",
        "measured_units": "countIf(d != 0)",
        "positive_units": "countIf(n > 0)",
        "negative_units": "countIf(n < 0)",
        "own_mean": "avgIf(n / d, d != 0)",
        "own_m2": "varPopStableIf(n / d, d != 0) * countIf(d != 0)",
        "cubes": f"[{', '.join(f'avg({cube})' for cube in _CUBES)}]",
        **{f"mean_{x}": f"sumKahan({x}) / count()" for x in ("n", "d", *(PRE_NUMBERS if pre else ()))},
        **{f"m2_{name}": _m2(*pair) for name, pair in _PAIRS.items()},
    }
    if pre:
        found["products"] = f"[{', '.join(_m2(*pair) for pair in _PRE)}]"
    return ", ".join(f"{expression} AS {name}" for name, expression in found.items())


def _m2(x: str, y: str) -> str:
    return (f"varPopStable({x})" if x == y else f"covarPopStable({x}, {y})") + " * count()"


def moments(row: Mapping[str, Any], metric: str, **known: Any) -> UnitMoments:
    """The moments of a row; ``known`` are the fields that are no aggregates. Raises InvalidQuery for too large ones."""
    numbers = [row[name] for name in ("mean_n", "mean_d", "m2_nn", "m2_dd", "m2_nd")]
    products = row.get("products")
    if None in numbers or (products and None in products):
        raise too_large(metric)
    mean_n, mean_d, m2_nn, m2_dd, m2_nd = numbers
    pre = None
    if products:
        pre = PreMoments(numerator_mean=row["mean_p"], denominator_mean=row["mean_q"], products=tuple(products))
    return UnitMoments(
        units=row["units"],
        numerator_mean=mean_n,
        denominator_mean=mean_d,
        numerator_m2=max(0.0, m2_nn),
        denominator_m2=max(0.0, m2_dd),
        cross_m2=m2_nd,
        measured_units=row["measured_units"],
        cubes=None if None in row["cubes"] else tuple(row["cubes"]),
        own_mean=row["own_mean"] or 0.0,
        own_m2=max(0.0, row["own_m2"] or 0.0),
        positive_units=row["positive_units"],
        negative_units=row["negative_units"],
        pre=pre,
        **known,
    )


def too_large(metric: str) -> InvalidQuery:
    """The error for sums, or squares of them, that no double holds."""
    return InvalidQuery(f"the units' sums of {metric} are too large", hint="Record it in a larger unit.", value=metric)


def with_silent(moments: UnitMoments, silent: int) -> UnitMoments:
    """The same with so many more units that did nothing (Chan, Golub and LeVeque 1979)."""
    units = moments.units + silent
    share = moments.units / units
    n, d = moments.numerator_mean, moments.denominator_mean
    joined = share * silent  # a b / (a + b) of the merge
    return structs.replace(
        moments,
        units=units,
        numerator_mean=n * share,
        denominator_mean=d * share,
        numerator_m2=moments.numerator_m2 + n * n * joined,
        denominator_m2=moments.denominator_m2 + d * d * joined,
        cross_m2=moments.cross_m2 + n * d * joined,
        cubes=None if moments.cubes is None else tuple(cube * share for cube in moments.cubes),
    )
