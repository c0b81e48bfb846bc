"""What a plan is asked for and what it tells, as data: ``planner`` makes it, people and programs are shown it."""

from __future__ import annotations

import math
from datetime import date, datetime
from typing import Annotated as A
from typing import Literal

from msgspec import Meta as M
from msgspec import Struct

from barograph.core.metric import Better
from barograph.experiments.design import MOST_LOOKS, SPENDINGS, Method, Spending
from barograph.experiments.variant_checks import SUM_TOLERANCE
from barograph_client.errors import InvalidInput

Basis = Literal["mean", "ratio", "share"]

LONGEST = 3660  # days, as an experiment may be planned for
LONGEST_HISTORY = 366
LEAST_TO_FORESEE = 14  # days of the past: of fewer, the days of the week are not told apart
FORESEEN = 2  # times the past, as far as ``stats.planning.units_by_day`` is to be followed
LARGEST_EFFECT = 10.0  # a thousand per cent: what finds no less finds nothing
EXPLAINED = "`barograph experiment plan --help` says what each number means."


class PlanQuestion(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The experiment that is thought of.

    ``effect`` is the relative change worth finding, a size above zero: its direction is the one that is better for
    the metric, up where neither is. ``days`` is how long it may run, None to be told. ``weights`` are the arms'
    shares, the control's first, and ``coverage`` the share of units that takes part. ``method`` is by what the verdict
    is reached; ``looks`` and ``spending`` are those of a group-sequential one. ``correlation`` is that of what a unit
    did in the pre-period and does in the experiment: what CUPED would gain. ``history_days`` are the whole UTC days of
    the past to plan by, ``minimum_units`` as an experiment has them.
    """

    metric: A[str, M(min_length=1, max_length=256, description="GET /api/v1/metrics lists them")]
    effect: A[float, M(gt=0, le=10, description="The relative change worth finding, in the better direction")] = 0.05
    days: A[A[int, M(ge=1, le=3660)] | None, M(description="How long it may run; absent to be told")] = None
    unit_kind: A[str, M(min_length=1, max_length=128, description="user, session, or what a tag names")] = "user"
    weights: A[
        tuple[A[float, M(gt=0, lt=1)], ...], M(min_length=2, max_length=50, description="The control's share first")
    ] = (0.5, 0.5)
    coverage: A[float, M(gt=0, le=1, description="The share of units that takes part")] = 1.0
    alpha: A[float, M(gt=0, lt=0.5)] = 0.05
    power: A[float, M(gt=0, lt=1)] = 0.8
    method: Method = "fixed horizon"
    looks: A[int, M(ge=2, le=MOST_LOOKS, description="How many are planned, by a group-sequential method")] = 4
    spending: Spending = "obrien-fleming"
    correlation: A[float, M(gt=-1, lt=1, description="Of a unit before and since, which CUPED takes away")] = 0.0
    history_days: A[int, M(ge=1, le=366, description="Whole UTC days of the past to plan by")] = 28
    minimum_units: A[int, M(ge=2, le=10**9, description="Each arm's, with a value, before anything is said")] = 30


class Baseline(Struct, frozen=True, kw_only=True):
    """The metric in the past, by unit, as an experiment of so many ``days`` would see it.

    ``units`` were active, the share ``measured`` of them has a value. ``value`` is the mean a unit for counts and sums
    (``basis`` "mean"), the ratio of sums ("ratio"), or the share of units with a yes ("share"); ``deviation`` the
    standard deviation of units around it, linearised for a ratio. ``skewness`` is that of the units, None where it is
    not known.
    """

    days: int
    units: int
    measured: float
    value: float
    deviation: float
    basis: Basis
    skewness: float | None = None


class Need(Struct, frozen=True, kw_only=True):
    """What it takes to find an effect with the power asked for.

    Days are None where none up to ``Plan.foreseen_days`` are enough; both are where the metric has no room for it.
    ``units`` (all arms together) and ``days`` are for one look at the planned end, or for the last of the planned
    looks, as all of them together find no less. ``any_time_days`` are for intervals that may be looked at all the time:
    after so many days that share of such experiments is settled, and half of them, or more, after
    ``half_settled_days``.
    """

    effect: float
    units: int | None
    days: int | None
    any_time_days: int | None
    half_settled_days: int | None


class Reach(Struct, frozen=True, kw_only=True):
    """What so many days at this coverage find, by the method asked for: units of all arms, and the least effect.

    None where no effect is found, or none that the metric has room for.
    """

    days: int
    coverage: float
    units: int
    effect: float | None


class Plan(Struct, frozen=True, kw_only=True):
    """The answer to a ``PlanQuestion``.

    ``need`` is for the effect asked for, ``needs`` has smaller and larger ones beside it; ``reaches`` goes through days
    and coverages. All of it is told for ``foreseen_days`` at most, the double of the past: what comes later is not
    known from it. ``most_effect`` is the change that would take the metric to the end of its range, as a rating to 5:
    none is as large (None where there is no end). ``days_with_everybody`` is what it takes at full coverage.
    ``advised_days`` is what to plan an experiment with: the days asked for where these are enough, else whole weeks;
    ``advised_units`` (all arms together) will have come by then, or sooner. They are None where twelve weeks are not
    enough, or ``foreseen_days``.
    ``baselines`` come from the past of the lengths that they name, of which the ``history_days`` from ``history_from``
    on (UTC) are the longest, and ``distinct_units`` counts who had come by the end of each of these. ``advice`` is a
    sentence; ``notes`` say what the plan rests on.
    """

    question: PlanQuestion
    title: str
    unit: str
    better: Better
    history_from: date
    history_days: int
    baselines: tuple[Baseline, ...]
    distinct_units: tuple[int, ...]
    foreseen_days: int
    need: Need
    needs: tuple[Need, ...]
    reaches: tuple[Reach, ...]
    most_effect: float | None
    days_with_everybody: int | None
    advised_days: int | None
    advised_units: int | None
    complete_to: datetime
    advice: str = ""
    notes: tuple[str, ...] = ()


def check(question: PlanQuestion) -> None:
    """Refuse numbers that are no plan. Raises InvalidInput, which names the field."""

    def require(holds: bool, what: str, value: object, hint: str = EXPLAINED) -> None:
        if not holds:
            raise InvalidInput(what, hint=hint, value=value)

    q = question
    require(0 < q.effect <= LARGEST_EFFECT, f"the effect must lie above 0 and up to {LARGEST_EFFECT:g}", q.effect,
            "It is the size of a relative change, 0.05 for 5 %; its direction is the metric's better one.")  # fmt: skip
    require(q.days is None or 1 <= q.days <= LONGEST, f"the days must lie from 1 to {LONGEST}", q.days)
    require(1 <= q.history_days <= LONGEST_HISTORY, f"the history has from 1 to {LONGEST_HISTORY} days", q.history_days)
    require(2 <= len(q.weights) <= 50, "a plan is for 2 to 50 arms", len(q.weights), "The control's share comes first.")
    require(all(0 < weight < 1 for weight in q.weights), "each arm needs a share above 0 and below 1", q.weights)
    require(abs(math.fsum(q.weights) - 1) <= SUM_TOLERANCE, "the arms' shares do not sum to one", q.weights)
    require(0 < q.coverage <= 1, "the coverage must lie above 0 and up to 1", q.coverage)
    require(0 < q.alpha < 0.5, "alpha must lie above 0 and below 0.5", q.alpha)
    require(q.alpha < q.power < 1, "the power must lie between alpha and 1", q.power)
    require(-1 < q.correlation < 1, "a correlation lies between -1 and 1", q.correlation)
    require(2 <= q.looks <= MOST_LOOKS, f"the planned looks are 2 to {MOST_LOOKS}", q.looks)
    require(q.spending in SPENDINGS, f"the spending function is {' or '.join(SPENDINGS)}", q.spending)
    require(2 <= q.minimum_units <= 10**9, "the minimum of units lies from 2 to a milliard", q.minimum_units)
