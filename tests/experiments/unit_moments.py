"""An experiment, and the moments that a store would answer: from units one by one, since when, and from before."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime

import numpy as np
from msgspec import structs
from numpy.typing import ArrayLike, NDArray

from barograph.core.metric import Catalogue
from barograph.core.units import PreMoments, UnitAnswer, UnitMoments
from barograph.experiments.design import Experiment, equal_variants, validated
from barograph.stats.joint import RatioPairSummary
from barograph.stats.summary import RatioSummary, Summary

START = datetime(2026, 11, 10, tzinfo=UTC)

CATALOGUE = Catalogue()

Floats = NDArray[np.float64]


def experiment(**values: object) -> Experiment:
    """One that runs since ``START``, with ten days planned; ``values`` are what it has otherwise."""
    base = Experiment(
        key="rerank", variants=equal_variants("control", "reranked"), primary_metric="satisfaction", state="running",
        started_at=START, planned_days=10,
    )  # fmt: skip
    return validated(structs.replace(base, **values), CATALOGUE)


def moments_of(
    arm: str,
    numerators: ArrayLike,
    denominators: ArrayLike | None = None,
    *,
    unit_days: float | None = None,
    group: str = "",
    period: int = 0,
    pre: tuple[ArrayLike, ArrayLike] | None = None,
) -> UnitMoments:
    """One arm and group; each unit measured once, and in the experiment for a week, unless told otherwise."""
    n = np.asarray(numerators, float)
    d = np.ones(n.size) if denominators is None else np.asarray(denominators, float)
    sums = RatioSummary.from_values(n, d)
    own = Summary.from_values(n[d > 0] / d[d > 0])
    before = None
    if pre is not None:
        joint = RatioPairSummary.from_values(np.asarray(pre[0], float), np.asarray(pre[1], float), n, d)
        a, b, c, e, f, g, h = joint.products[:7]
        before = PreMoments(
            numerator_mean=joint.means[0], denominator_mean=joint.means[1], products=(a, b, c, e, f, g, h)
        )
    return UnitMoments(
        arm=arm, units=n.size, numerator_mean=sums.numerator_mean, denominator_mean=sums.denominator_mean,
        numerator_m2=sums.numerator_m2, denominator_m2=sums.denominator_m2, cross_m2=sums.cross_m2,
        measured_units=int((d > 0).sum()), own_mean=own.mean, own_m2=own.m2, pre=before, group=group, period=period,
        cubes=_cubes(n, d) if n.size else None,
        unit_days=7.0 * n.size if unit_days is None else unit_days,
    )  # fmt: skip


def _cubes(n: Floats, d: Floats) -> tuple[float, float, float, float]:
    return float((n**3).mean()), float((n * n * d).mean()), float((n * d * d).mean()), float((d**3).mean())


def answer_of(arms: Sequence[UnitMoments], complete_to: datetime = START, contaminated: int = 0) -> UnitAnswer:
    return UnitAnswer(
        arms=tuple(arms), contaminated=contaminated, first_exposure=START, last_exposure=START, complete_to=complete_to
    )
