"""The definition of an experiment, and its life: what may be said, and what may still be changed.

Made by people, checked by ``validated``, kept by ``control``, read by ``assignment`` and ``analysis``. From the
start on, whatever decides a unit's arm or what the verdict rests on is frozen.
"""

from __future__ import annotations

import math
from datetime import datetime, timedelta
from typing import Literal, get_args

import msgspec
from msgspec import Struct, structs

from barograph.core.metric import Catalogue, Metric
from barograph.experiments.assignment_checks import check_assignment, default_salt
from barograph.experiments.fields import about
from barograph.experiments.interleaving_checks import preference_metrics, with_preference
from barograph.experiments.metric_checks import check_metrics
from barograph.experiments.variant_checks import check_key, check_variants
from barograph_client.errors import InvalidExperiment
from barograph_client.experiments.definition import Allocation

State = Literal["draft", "running", "paused", "stopped", "archived"]
Direction = Literal["lower", "higher"]
Method = Literal["fixed horizon", "always valid", "group sequential"]
Spending = Literal["obrien-fleming", "pocock"]
SPENDINGS: tuple[Spending, ...] = get_args(Spending)
Correction = Literal["holm", "benjamini-hochberg"]

MOVES: dict[State, tuple[State, ...]] = {
    "draft": ("running", "archived"),
    "running": ("paused", "stopped"),
    "paused": ("running", "stopped"),
    "stopped": ("archived",),
    "archived": (),
}
FROZEN = (  # from the start on: the assignment, and what the verdict rests on
    "key", "project", "control", "unit_kind", "fallback_unit_kind", "salt", "hash_version", "namespace",
    "holdout", "condition", "groups", "sticky", "bucket_version", "min_bucket_version", "primary_metric", "better",
    "alpha", "power", "method", "looks", "spending", "attribution_days", "kind", "planned_days", "planned_units",
    "minimum_units", "pre_days", "caps", "equivalence_margin", "correction",
)  # fmt: skip

RESERVED_KEYS = (".", "..", "definitions", "plan")  # parts of addresses: what they stand for is no experiment
LONGEST_TEXT = 4096
LONGEST_ATTRIBUTION = 366  # days
LONGEST_PRE_PERIOD = 90  # days
MOST_SLICES = 5
MOST_LOOKS = 10
MOST_PAUSES = 100  # each is looked at for every event that is analysed
SECONDS_A_DAY = 86_400.0


class Variant(Struct, frozen=True, kw_only=True):
    """One arm: its key, its share of the covered units, and the configuration that it stands for (JSON)."""

    key: str
    weight: float
    payload: dict[str, object] = {}


class Guardrail(Struct, frozen=True, kw_only=True):
    """A metric that must not get worse by more than ``margin``, a share of the baseline.

    With ``relative=False`` the margin is in the metric's own unit. With ``auto_stop`` a breach stops the experiment:
    everybody gets the control's configuration again, and an alert is raised.
    """

    metric: str
    margin: float
    relative: bool = True
    auto_stop: bool = True


class Reweighting(Struct, frozen=True, kw_only=True):
    """A change of the arms' weights while the experiment ran: when, and what they were before, by arm."""

    at: datetime
    before: dict[str, float]


class Pause(Struct, frozen=True, kw_only=True):
    """A time in which it was paused, from ``start`` up to, not including, ``end``."""

    start: datetime
    end: datetime

    @property
    def seconds(self) -> float:
        return (self.end - self.start).total_seconds()


class Experiment(Allocation, frozen=True, kw_only=True):
    """An experiment: what is compared, for whom, by which metric, for how long; and where it stands.

    Who takes part is told by ``Allocation``; forced units are not counted, and the weights of sticky arms may be
    changed while it runs. docs/experiments.md has the rest of assignment.

    ``control`` is the arm that the others are compared with (the first, when empty). ``better`` says which way
    the primary metric should go, where the catalogue does not. ``minimum_effect`` is the relative effect worth
    finding: it sets how long "not settled" takes. A verdict waits for ``planned_days`` and ``planned_units``
    (all arms together), where given. ``method`` says by what the verdict is reached: at the planned end and not before
    ("fixed horizon"), or at any time, by intervals that allow it ("always valid"); when it is None, an experiment with
    a planned end is the former and one without the latter. "group sequential" is at a few planned ``looks``, the last
    one at the planned end and the others at equal parts of the way there, by bounds that spend alpha as ``spending``
    says: next to none early ("obrien-fleming"), or much the same at each ("pocock").

    ``attribution_days`` counts what a unit does in so many days from its exposure on. ``pre_days`` adjusts for what
    units did in so many whole days before (CUPED). ``caps`` cuts a metric's unit sums off at a quantile of all arms'
    units together. ``equivalence_margin``, a share of the control's value, is the change that would not matter:
    arms that differ by less are equivalent. ``slices`` are tags of exposures by which the primary metric is shown
    apart; ``correction`` is for the secondary metrics, and for the slices.

    The fields from ``state`` on are kept by the framework. ``pauses`` are those that are over, oldest first, with no
    time in common; one that goes on began at ``paused_at``. ``stop_reason`` says why it was stopped, if somebody or a
    guardrail said so, and ``breached`` which guardrails it were that stopped it.
    """

    variants: tuple[Variant, ...]
    primary_metric: str = ""
    title: str = ""
    hypothesis: str = ""
    secondary_metrics: tuple[str, ...] = ()
    guardrails: tuple[Guardrail, ...] = ()
    better: Direction | None = None
    planned_days: float | None = None
    planned_units: int | None = None
    minimum_effect: float = 0.05
    alpha: float = 0.05
    power: float = 0.8
    minimum_units: int = 30
    salt: str = ""
    method: Method | None = None
    looks: int = 4
    spending: Spending = "obrien-fleming"
    attribution_days: float | None = None
    pre_days: int = 0
    caps: dict[str, float] = msgspec.field(default_factory=dict)
    equivalence_margin: float | None = None
    slices: tuple[str, ...] = ()
    correction: Correction = "holm"
    state: State = "draft"
    started_at: datetime | None = None
    paused_at: datetime | None = None
    pauses: tuple[Pause, ...] = ()
    stopped_at: datetime | None = None
    stop_reason: str = ""
    breached: tuple[str, ...] = ()
    reweighted: tuple[Reweighting, ...] = ()

    @property
    def decided_by(self) -> Method:
        """By what the verdict is reached: what was said, or what follows from the plan."""
        planned = self.planned_days is not None or self.planned_units is not None
        return self.method or ("fixed horizon" if planned else "always valid")

    @property
    def is_guarded(self) -> bool:
        """Whether it runs, and has a guardrail that would stop it."""
        return self.state == "running" and any(one.auto_stop for one in self.guardrails)

    @property
    def metrics(self) -> tuple[str, ...]:
        """All that it names: the primary one, the secondary ones, and the guardrails'; each ranker's preference."""
        if self.kind == "interleaving":
            return preference_metrics(self)
        guardrails = (guardrail.metric for guardrail in self.guardrails)
        return (self.primary_metric, *self.secondary_metrics, *guardrails)

    @property
    def split(self) -> str:
        """The weights as people say them: ``50/50``, ``90/5/5``."""
        return "/".join(f"{variant.weight * 100:.3g}" for variant in self.variants)

    @property
    def name(self) -> str:
        """What to call it: the title, or the key."""
        return self.title or self.key

    @property
    def was_paused(self) -> bool:
        """Whether it ever was, or is."""
        return bool(self.pauses) or self.paused_at is not None

    def pauses_until(self, until: datetime) -> tuple[Pause, ...]:
        """What of its pauses is before ``until``; one that goes on has no end before that."""
        known = [(one.start, one.end) for one in self.pauses]
        if self.paused_at is not None:
            known.append((self.paused_at, until))
        return tuple(Pause(start=start, end=min(end, until)) for start, end in known if start < until)

    @property
    def paused_seconds(self) -> float:
        """By how much its pauses put a planned end in days off; one that began after that end puts nothing off."""
        planned, total = (self.planned_days or math.inf) * SECONDS_A_DAY, 0.0
        for pause in self.pauses:
            if self.started_at is not None and (pause.start - self.started_at).total_seconds() - total < planned:
                total += pause.seconds
        return total

    def days_running(self, now: datetime) -> float:
        """Days since the start, without pauses, up to the stop or to ``now``."""
        if self.started_at is None:
            return 0.0
        end = self.stopped_at or self.paused_at or now
        paused = (min(one.end, end) - one.start for one in self.pauses if one.start < end)
        return max(0.0, (end - self.started_at - sum(paused, timedelta())).total_seconds()) / SECONDS_A_DAY


def equal_variants(*keys: str) -> tuple[Variant, ...]:
    """Arms of equal weight."""
    return tuple(Variant(key=key, weight=1 / len(keys)) for key in keys)


def validated(experiment: Experiment, catalogue: Catalogue) -> Experiment:
    """The experiment with its control and salt filled in. Raises InvalidExperiment, with a hint, for what is wrong."""
    try:
        experiment = msgspec.convert(msgspec.to_builtins(experiment), Experiment)
    except (msgspec.ValidationError, TypeError, UnicodeEncodeError, RecursionError) as error:
        raise InvalidExperiment(f"the experiment is not well-formed: {error}") from None
    check_key("experiment", experiment.key, "key")
    if experiment.key in RESERVED_KEYS or "/" in experiment.key:
        raise InvalidExperiment("no experiment can be called so", hint="It is part of addresses: leave slashes out.",
                                value=experiment.key, field="key")  # fmt: skip
    check_key("project", experiment.project, "project")
    check_key("unit kind", experiment.unit_kind, "unit_kind")
    if experiment.fallback_unit_kind:
        check_key("fallback unit kind", experiment.fallback_unit_kind, "fallback_unit_kind")
    if experiment.namespace is not None:
        check_key("namespace", experiment.namespace.name, "namespace.name")
    with about("variants"):
        check_variants(experiment.variants)
    keys = [variant.key for variant in experiment.variants]
    control = experiment.control or keys[0]
    if control not in keys:
        raise InvalidExperiment(
            "the control is not one of the arms", hint=f"Choose one of {', '.join(keys)}.", value=control,
            field="control",
        )  # fmt: skip
    if next(variant.weight for variant in experiment.variants if variant.key == control) == 0:
        raise InvalidExperiment(
            "the control has no weight", hint="Nothing can be compared with an empty arm.", field="control"
        )
    _check_numbers(experiment)
    check_assignment(experiment)
    experiment = with_preference(experiment)
    check_metrics(experiment, catalogue)
    for name in ("title", "hypothesis", "salt"):
        if len(getattr(experiment, name)) > LONGEST_TEXT:
            raise InvalidExperiment(f"the {name} is longer than {LONGEST_TEXT} characters", field=name)
    return structs.replace(experiment, control=control, salt=experiment.salt or default_salt(experiment))


def moved(experiment: Experiment, state: State, now: datetime) -> Experiment:
    """The experiment in its next state. Raises InvalidExperiment for a move that its state does not allow.

    Pauses are in their order and have no time in common, whatever a clock says that was set back.
    """
    if state not in MOVES[experiment.state]:
        allowed = ", ".join(MOVES[experiment.state]) or "nothing: it is the end"
        says = f"an experiment that is {experiment.state} cannot become {state}"
        raise InvalidExperiment(
            f"the experiment is {state} already" if state == experiment.state else says,
            hint=f"From here it can become {allowed}.",
        )
    pauses = experiment.pauses
    if experiment.paused_at is not None and experiment.paused_at < now:
        pauses = (*pauses, Pause(start=experiment.paused_at, end=now))
    if state == "paused" and len(pauses) >= MOST_PAUSES:
        raise InvalidExperiment(
            f"the experiment was paused {MOST_PAUSES} times, which is the most that can be analysed",
            hint="Stop it, which gives everybody the control's configuration for good.",
        )
    return structs.replace(
        experiment,
        state=state,
        started_at=experiment.started_at or (now if state == "running" else None),
        paused_at=max([now, *(one.end for one in pauses)]) if state == "paused" else None,
        pauses=pauses,
        stopped_at=now if state == "stopped" else experiment.stopped_at,
    )


def check_revision(before: Experiment, after: Experiment) -> None:
    """Refuse a change that would move units between arms or the goal after the start. Raises InvalidExperiment."""
    if before.state == "draft":
        return
    if before.state in ("stopped", "archived"):
        raise InvalidExperiment(f"the experiment is {before.state}: it is history, and history is not rewritten")
    _check_arms_stay(before, after)
    for name in FROZEN:
        if getattr(before, name) != getattr(after, name):
            raise InvalidExperiment(
                f"{name} is frozen once the experiment has started",
                hint="Stop it and start another one, under another key.",
                value=getattr(after, name),
                field=name,
            )
    if _bounds(before.guardrails) != _bounds(after.guardrails):
        raise InvalidExperiment(
            "guardrails is frozen once the experiment has started: their number divides alpha",
            hint="Only auto_stop of each may be changed.",
            field="guardrails",
        )
    dropped = [name for name in before.secondary_metrics if name not in after.secondary_metrics]
    if dropped:
        raise InvalidExperiment(
            f"{dropped[0]} cannot be dropped from secondary_metrics once the experiment has started",
            hint="Their p-values are corrected as one family, which may grow and not shrink after a look.",
            field="secondary_metrics",
        )
    if after.coverage < before.coverage:
        raise InvalidExperiment(
            "the coverage can only be raised once the experiment has started",
            hint="Units that took part would leave half-way; pause or stop it instead.",
            value=after.coverage,
            field="coverage",
        )


def _bounds(guardrails: tuple[Guardrail, ...]) -> set[Guardrail]:
    """What each of them tests, whether or not it stops the experiment."""
    return {structs.replace(one, auto_stop=False) for one in guardrails}


def _check_arms_stay(before: Experiment, after: Experiment) -> None:
    """Arms stay as they are once units are in them; only their weights may change, and only where units are kept."""
    if before.variants == after.variants:
        return
    kept = {variant.key: variant for variant in after.variants}
    gone = [variant.key for variant in before.variants if variant.key not in kept]
    new = sorted(kept.keys() - {variant.key for variant in before.variants})
    other = [one.key for one in before.variants if one.key in kept and one.payload != kept[one.key].payload]
    if gone:
        what = f"arm {gone[0]} was removed or renamed"
    elif new:
        what = f"arm {new[0]} was added"
    elif other:
        what = f"the payload of arm {other[0]} is another"
    elif before.sticky:
        return
    else:
        what = "the weights are others, and without sticky=True units would change their arms"
    raise InvalidExperiment(
        f"variants is frozen once the experiment has started: {what}",
        hint="Stop it and start another one, under another key.",
        field="variants",
    )


def direction_of(experiment: Experiment, metric: Metric) -> Direction | None:
    """Which way is better for this metric in this experiment; None when nobody has said."""
    if experiment.better is not None and metric.name == experiment.primary_metric:
        return experiment.better
    return None if metric.better == "neutral" else metric.better


def _check_numbers(experiment: Experiment) -> None:
    def require(holds: bool, field: str, what: str, value: object) -> None:
        if not holds:
            raise InvalidExperiment(what, value=value, field=field)

    e = experiment
    require(0 < e.coverage <= 1, "coverage", "the coverage must lie above 0 and up to 1", e.coverage)
    require(0 < e.alpha <= 0.5, "alpha", "alpha must lie above 0 and up to 0.5", e.alpha)
    require(e.alpha < e.power < 1, "power", "the power must lie between alpha and 1", e.power)
    require(0 < e.minimum_effect < math.inf, "minimum_effect", "the minimum effect must be above 0", e.minimum_effect)
    require(e.minimum_units >= 2, "minimum_units", "the minimum of units is 2 at least", e.minimum_units)
    days, units = e.planned_days, e.planned_units
    require(days is None or 0 < days <= 3660, "planned_days", "the planned days must lie above 0 and up to 3660", days)
    require(units is None or units >= 4, "planned_units", "the planned units are 4 at least", units)
    require(2 <= e.looks <= MOST_LOOKS, "looks", f"the planned looks are 2 to {MOST_LOOKS}", e.looks)
    if e.method == "group sequential":
        ended = days is not None or units is not None
        require(ended, "method", "planned looks need planned_days or planned_units", e.method)
    else:
        usual = (e.looks, e.spending) == (4, "obrien-fleming")
        require(usual, "looks", 'looks and spending are for method = "group sequential"', (e.looks, e.spending))
    require(
        e.attribution_days is None or 0 < e.attribution_days <= LONGEST_ATTRIBUTION,
        "attribution_days", f"attribution_days must lie above 0 and up to {LONGEST_ATTRIBUTION}", e.attribution_days,
    )  # fmt: skip
    require(
        0 <= e.pre_days <= LONGEST_PRE_PERIOD, "pre_days", f"pre_days must lie from 0 to {LONGEST_PRE_PERIOD}",
        e.pre_days,
    )  # fmt: skip
    margin = e.equivalence_margin
    require(
        margin is None or 0 < margin < math.inf, "equivalence_margin", "the equivalence margin must be above 0", margin
    )
    apart = len(set(e.slices)) == len(e.slices) and all(e.slices)
    require(len(e.slices) <= MOST_SLICES, "slices", f"an experiment has {MOST_SLICES} slices at most", len(e.slices))
    require(apart, "slices", "each slice names a tag of its own", e.slices)
    for name in e.slices:
        check_key("slice", name, "slices")
    for quantile in e.caps.values():
        require(0.5 < quantile < 1, "caps", "a cap is a quantile above 0.5 and below 1", quantile)
