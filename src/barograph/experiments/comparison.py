"""What an experiment has shown so far, as data: what ``analysis`` fills in and people are shown.

Everything a page needs stands here as numbers; the verdict is one sentence beside them.
"""

from __future__ import annotations

from datetime import datetime
from typing import Literal

from msgspec import Struct

from barograph.experiments.design import Direction
from barograph.stats.estimate import Estimate
from barograph.stats.sample_ratio import SampleRatio

Role = Literal["primary", "secondary", "guardrail"]
Finding = Literal["better", "worse", "not settled", "not valid"]
GuardrailState = Literal["held", "breached", "open"]


class GuardrailCheck(Struct, frozen=True, kw_only=True):
    """One arm against a guardrail: ``held`` and ``breached`` are settled at alpha, ``open`` is neither yet."""

    arm: str
    state: GuardrailState
    margin: float
    relative: bool


class MetricComparison(Struct, frozen=True, kw_only=True):
    """One metric over the arms: an estimate for each arm but the control.

    ``unit`` is that of the values; ``per_unit`` says that they are sums or counts a unit (a user, a session).
    """

    metric: str
    title: str
    unit: str
    role: Role
    better: Direction | None
    per_unit: bool
    estimates: tuple[Estimate, ...]
    guardrails: tuple[GuardrailCheck, ...] = ()


class Verdict(Struct, frozen=True, kw_only=True):
    """What is known of one arm, or of the whole experiment, in a word and in a sentence.

    ``p_value`` is that of the primary metric, adjusted (Holm) where there are several treatments.
    """

    finding: Finding
    sentence: str
    arm: str = ""
    p_value: float | None = None


class Comparison(Struct, frozen=True, kw_only=True):
    """The arms of an experiment compared, as of ``complete_to``.

    ``units`` counts the exposed units of each arm; ``contaminated`` ones were seen in two arms and are in none.
    ``verdict`` sums up ``arm_verdicts``, one for each treatment. ``needs_more_days`` is None where no number of
    days can be given.
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

    @property
    def primary(self) -> MetricComparison:
        """The metric that the verdict rests on."""
        return self.metrics[0]

    @property
    def estimates(self) -> tuple[Estimate, ...]:
        """The primary metric's estimates, one for each treatment."""
        return self.primary.estimates
