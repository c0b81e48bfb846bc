"""What an experiment has shown so far, as data: what ``analysis`` fills in and people are shown.

Everything a page needs stands here as numbers; the verdict is one sentence beside them.
"""

from __future__ import annotations

from datetime import datetime
from typing import Literal

from msgspec import Struct

from barograph.experiments.design import Direction, Method
from barograph.stats.estimate import Estimate
from barograph.stats.sample_ratio import SampleRatio

REPEATED = "repeated interval"  # in an estimate's method: it is held against the bound of a planned look
Role = Literal["primary", "secondary", "guardrail"]
Finding = Literal["better", "worse", "equivalent", "not settled", "not valid"]
GuardrailState = Literal["held", "breached", "open"]


class GuardrailCheck(Struct, frozen=True, kw_only=True):
    """One arm against a guardrail.

    ``held`` and ``breached`` are settled at alpha, ``open`` is neither yet. ``stopping`` says so of the test that may
    be made at any time, at alpha over the number of guardrails and arms: "breached" there is what stops an experiment,
    and "not yet" that the test cannot be made yet, for the ``reason``. ``worsening_low`` and ``worsening_high`` are
    that test's bounds on how much worse it got, in the margin's unit; None where one is not known.
    """

    arm: str
    state: GuardrailState
    margin: float
    relative: bool
    stopping: Literal["held", "breached", "open", "not yet"] = "not yet"
    worsening_low: float | None = None
    worsening_high: float | None = None
    auto_stop: bool = False
    reason: str = ""


class Belief(Struct, frozen=True, kw_only=True):
    """The Bayesian reading of one arm: given the prior that ``method`` states, and no p-value.

    ``expected_loss`` is what choosing the arm would cost on average, in the metric's unit.
    """

    arm: str
    chance_to_win: float
    expected_loss: float
    low: float
    high: float
    method: str


class MetricComparison(Struct, frozen=True, kw_only=True):
    """One metric over the arms: an estimate for each arm but the control, by each method.

    ``estimates`` hold at a fixed horizon, ``always_valid`` at any time; ``adjusted`` use what units did before (CUPED),
    and are empty where no pre-period was asked for. ``repeated`` hold at each planned look, with a repeated interval
    and p-value of those that would decide at a fixed horizon; that of an arm of the primary metric that is settled is
    as of the look that settled it. They are empty before the first look. ``adjusted_p_values`` are those of the
    ``deciding`` estimates, corrected over the family the metric belongs to: the treatments for the primary metric, all
    of the secondary metrics; none for a guardrail. ``unit`` is that of the values; ``per_unit`` says that they are sums
    or counts a unit (a user, a session). ``cap`` is the value at which units' sums were cut off.
    """

    metric: str
    title: str
    unit: str
    role: Role
    better: Direction | None
    per_unit: bool
    estimates: tuple[Estimate, ...]
    always_valid: tuple[Estimate, ...] = ()
    adjusted: tuple[Estimate, ...] = ()
    repeated: tuple[Estimate, ...] = ()
    adjusted_p_values: tuple[float | None, ...] = ()
    beliefs: tuple[Belief, ...] = ()
    guardrails: tuple[GuardrailCheck, ...] = ()
    cap: float | None = None

    def deciding(self, method: Method) -> tuple[Estimate, ...]:
        """The estimates that a verdict rests on: at the planned end the adjusted ones, where there are any."""
        if method == "always valid":
            return self.always_valid
        if method == "group sequential" and self.repeated:
            return self.repeated
        return self.adjusted or self.estimates


class Step(Struct, frozen=True, kw_only=True):
    """One point of a course: ``label`` is a UTC day, a number of days since exposure, or a slice."""

    label: str
    arm: str
    estimate: Estimate
    p_value: float | None = None


class Course(Struct, frozen=True, kw_only=True):
    """How the primary metric's effect goes along something, and what is to be said of it in a sentence.

    ``by`` is "day" (units exposed up to each day's end, with what they did until now; always-valid intervals), "age"
    (what units did on each day since their exposure: a novelty fades), or a slice's tag (p-values corrected over its
    values and arms).
    """

    by: str
    steps: tuple[Step, ...]
    sentence: str = ""


class ArmUnits(Struct, frozen=True, kw_only=True):
    """How one arm's units spread over the primary metric: values at the quantiles from 0 to 1 in steps of 0.05."""

    arm: str
    units: int
    mean: float | None
    deviation: float | None
    quantiles: tuple[float, ...] = ()


class Details(Struct, frozen=True, kw_only=True):
    """What costs further questions: the course since exposure, slices, the arms' spread, and second opinions.

    ``second_opinions`` are the primary metric compared by other methods (ranks, trimmed and winsorised means,
    quantiles, bootstrap), from units one by one; where there are more than can be held, from a sample of them. Those
    by ranks have no ``arm_value``: their effect is the chance to be above a unit of the control, a half for no effect.
    """

    experiment: str
    courses: tuple[Course, ...]
    arms: tuple[ArmUnits, ...]
    second_opinions: tuple[Estimate, ...]
    sampled: bool
    warnings: tuple[str, ...] = ()


class Verdict(Struct, frozen=True, kw_only=True):
    """What is known of one arm, or of the whole experiment, in a word and in a sentence.

    ``p_value`` is that of the primary metric, adjusted (Holm) where there are several treatments. ``advice`` is what to
    do, the end of the sentence: to ship, to stop, to wait where later data count, or what to mend.
    """

    finding: Finding
    sentence: str
    arm: str = ""
    p_value: float | None = None
    advice: str = ""


class Comparison(Struct, frozen=True, kw_only=True):
    """The arms of an experiment compared, as of ``complete_to``.

    ``units`` counts the exposed units of each arm; ``contaminated`` ones were seen in two arms and are in none.
    ``verdict`` sums up ``arm_verdicts``, one for each treatment. ``needs_more_days`` is None where no number of
    days can be given, or none would change anything; with planned looks it is the days to the next one.
    ``enough_units`` is how many units of all arms find an effect of ``minimum_effect`` with the power that was asked
    for, at one look; None where that is not known, and of sequences. ``exposed_by_day`` counts units by the UTC day
    of their first exposure; ``course`` is the effect as they came in. ``look`` is the number of the planned look that
    it is as of, 0 before the first one or where none is planned, of ``planned_looks``.
    """

    experiment: str
    title: str
    hypothesis: str
    state: str
    control: str
    unit_kind: str
    split: str
    alpha: float
    units: dict[str, int]
    contaminated: int
    sample_ratio: SampleRatio
    metrics: tuple[MetricComparison, ...]
    verdict: Verdict
    arm_verdicts: tuple[Verdict, ...]
    days_running: float
    planned_days: float | None
    planned_units: int | None
    needs_more_days: float | None
    warnings: tuple[str, ...]
    first_exposure: datetime | None
    complete_to: datetime
    decided_by: Method = "fixed horizon"
    stop_reason: str = ""
    exposed_by_day: tuple[tuple[str, int], ...] = ()
    course: Course | None = None
    look: int = 0
    planned_looks: int = 0
    enough_units: float | None = None

    @property
    def early(self) -> bool:
        """Whether looks are planned and none of them has passed."""
        return self.planned_looks > self.look == 0

    @property
    def primary(self) -> MetricComparison:
        """The metric that the verdict rests on."""
        return self.metrics[0]

    @property
    def estimates(self) -> tuple[Estimate, ...]:
        """The primary metric's estimates at a fixed horizon, one for each treatment."""
        return self.primary.estimates

    @property
    def deciding(self) -> tuple[Estimate, ...]:
        """The primary metric's estimates that the verdict rests on, one for each treatment."""
        return self.primary.deciding(self.decided_by)
