"""What one may ask of units (users, sessions): their sums of a metric by arm, their values, and how many come.

Asked by ``experiments`` through a ``UnitReader``, answered by ``store``. A unit has a numerator and a denominator: what
it summed, and how often it was measured. Moments are centred where they are squares, so that they merge.
"""

from __future__ import annotations

from datetime import datetime

from msgspec import Struct

from barograph.core.query import Window

EARLY_SECONDS = 10  # before its exposure: what a unit did then may be late by a clock, or by the order of two calls
HOUR_SECONDS = 3600  # a unit's doings shortly before its exposure, which no arm can have caused
MOST_VALUES = 50  # of a tag that stand alone, those with most units
REST = "(the rest)"  # the group of all others


class UnitQuery(Struct, frozen=True, kw_only=True):
    """Per-unit sums of one metric in an experiment, over units exposed in the window, from exposure on.

    ``metric`` must be a count, sum, mean or ratio: each unit has a numerator and a denominator. ``by`` splits each
    arm: ``"day"`` by the UTC day of the first exposure, ``"age"`` by whole UTC days since that day (each unit is then
    in one group for every day of age that it reached, with what it did on that day; 0 is the rest of the day of its
    exposure), ``"tag.<name>"`` by a tag of the first exposure: "" where that has none or was retired, ``REST`` for all
    values but the ``MOST_VALUES`` most frequent. ``attribution_days`` counts only what happened in so many days from
    the exposure on. ``pre_days`` adds what the unit did in so many whole UTC days before the day of its exposure.
    ``cap`` is the quantile (between two units by a straight line) of all arms' units together at which their numerators
    are cut off. By age there is neither ``pre_days`` nor ``cap``. ``changed_at`` are moments, ascending, at which the
    arms' weights changed: units exposed before and from one on are kept apart.

    ``pauses``, ascending and with no time in common, are when all units had the same configuration: what a unit did in
    one does not count, and its time is in no ``unit_days``. It still counts among what a unit did before its exposure,
    and ``attribution_days`` go on meanwhile. By age a unit is in no group of which it spent all the day in pauses.

    A unit is where its first exposure ever was, and it was seen in two arms if it ever was, also outside of the window.
    ``unit_kind`` is user or session, known by ``user_id`` and ``session_id``; or any other, known by a tag
    ``<kind>_id`` or ``<kind>`` of the events (feedback and scores need it themselves).
    """

    experiment: str
    metric: str
    window: Window
    unit_kind: str = "user"
    project: str = "default"
    by: str = ""
    attribution_days: float | None = None
    pre_days: int = 0
    cap: float | None = None
    changed_at: tuple[datetime, ...] = ()
    pauses: tuple[Window, ...] = ()


class PreMoments(Struct, frozen=True, kw_only=True):
    """What the same units did before: means of numerator and denominator, and all sums of products of deviations.

    ``products`` pair them with each other and with the sums since: pre numerator with pre numerator, pre denominator,
    numerator, denominator; then pre denominator with pre denominator, numerator, denominator.
    """

    numerator_mean: float
    denominator_mean: float
    products: tuple[float, float, float, float, float, float, float]


class UnitMoments(Struct, frozen=True, kw_only=True):
    """Centred moments over the units of one arm: of each unit's numerator sum and denominator sum.

    ``numerator_m2`` is the sum of squared deviations from the mean, ``cross_m2`` the sum of products of
    deviations. ``units`` counts exposed units, also those without a single measurement (their sums are zero).
    ``cubes`` are the means of n*n*n, n*n*d, n*d*d and d*d*d, not centred: enough for a skewness, where the numbers vary
    beside their mean. ``own_mean`` and ``own_m2`` are of numerator over denominator, over measured units.
    ``positive_units`` and ``negative_units`` count the signs of the numerators. ``unit_days`` sums the days from each
    unit's exposure to the end of what was counted, without pauses. ``group`` is what ``by`` asked for (an ISO day, a
    number of days, a tag's value), ``period`` how many changes of weights were before the exposure.

    ``just_before``, ``hour_before`` and ``any_before`` count units with an event of the metric before their exposure:
    in the ``EARLY_SECONDS`` before, in the ``HOUR_SECONDS`` before, and at any time from ``HOUR_SECONDS`` before the
    window on. Raw events alone are looked at, also those in pauses; by age nothing is told of it.
    """

    arm: str
    units: int
    numerator_mean: float
    denominator_mean: float
    numerator_m2: float
    denominator_m2: float
    cross_m2: float
    measured_units: int
    cubes: tuple[float, float, float, float] | None = None
    own_mean: float = 0.0
    own_m2: float = 0.0
    positive_units: int = 0
    negative_units: int = 0
    unit_days: float = 0.0
    just_before: int = 0
    hour_before: int = 0
    any_before: int = 0
    pre: PreMoments | None = None
    group: str = ""
    period: int = 0


class UnitAnswer(Struct, frozen=True, kw_only=True):
    """The arms' moments; ``contaminated`` units were seen in two arms and are in none of them.

    One entry an arm, group and period that has units. ``cap`` is the value at which numerators were cut off, where one
    was asked for. ``notes`` are sentences for people, such as that raw events of partial days were retired.
    """

    arms: tuple[UnitMoments, ...]
    contaminated: int
    first_exposure: datetime | None
    last_exposure: datetime | None
    complete_to: datetime
    cap: float | None = None
    notes: tuple[str, ...] = ()


class UnitValues(Struct, frozen=True, kw_only=True):
    """The units of one arm, one by one: what each summed and how often it was measured, in no meaningful order.

    ``units`` counts those that the arm has; there are fewer numbers than that where only a sample was asked for, which
    is chosen by a hash of the unit's id: the same units each time.
    """

    arm: str
    units: int
    numerators: tuple[float, ...]
    denominators: tuple[float, ...]


class PopulationQuery(Struct, frozen=True, kw_only=True):
    """Per-unit sums of one metric over all units that were active in the window: what a plan is made from.

    The window is taken in whole UTC days, all that it touches. A unit is active by a query, a feedback or a score.
    """

    metric: str
    window: Window
    unit_kind: str = "user"
    project: str = "default"


class PopulationAnswer(Struct, frozen=True, kw_only=True):
    """``moments`` over the window's active units (the arm is ""), measured or not; unit-days from their first day on.

    ``distinct_units`` counts how many different units had been active by the end of each of its UTC days.
    """

    moments: UnitMoments
    distinct_units: tuple[int, ...]
    complete_to: datetime
    notes: tuple[str, ...] = ()
