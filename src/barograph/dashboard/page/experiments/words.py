"""What is said of an effect: its interval, how a row of the plot is judged, and how far an experiment is.

Reads the structs of ``experiments.comparison``; hands texts to the other modules of this folder and to ``overview``.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from datetime import UTC

from msgspec.structs import replace

from barograph.core.unit import MINUS, format_value
from barograph.experiments.comparison import Comparison, Finding, GuardrailCheck, MetricComparison
from barograph.experiments.design import Experiment
from barograph.experiments.verdict import NOT_VALID_HERE
from barograph.stats.estimate import Effect, Estimate
from barograph.visualize.chart import Tone

_NUMBER = f"{MINUS}+0123456789.,$"  # what a number begins with
LONGEST_WAIT = 3650.0  # days; more is said as years
TONES: dict[Finding, Tone] = {
    "better": "good", "worse": "critical", "equivalent": "plain", "not settled": "plain", "not valid": "warning",
}  # fmt: skip


def progress_note(compared: Comparison | None) -> str:
    """``day 3, needs about 4 more``; or what is known already."""
    if compared is None:
        return "cannot be compared now"
    day = f"day {math.floor(compared.days_running) + 1}"
    if compared.verdict.finding == "not valid":
        return f"{day}, {'arms out of balance' if compared.sample_ratio.mismatch else 'no verdict yet'}"
    if compared.verdict.finding != "not settled":
        return f"{day}, {compared.verdict.finding}"
    more = compared.needs_more_days
    if not more:
        return f"{day}, not settled"
    if more > LONGEST_WAIT:
        return f"{day}, would need years"
    if compared.look < compared.planned_looks:
        return f"{day}, next look in {more_days(more)}"
    return f"{day}, needs {'less than one' if more < 1 else f'about {math.ceil(more - 1e-9):,}'} more"


def more_days(more: float | None) -> str | None:
    """``5 days``; None where nothing can be said."""
    if not more:
        return None
    if more > LONGEST_WAIT:
        return "years"
    days = math.ceil(more - 1e-9)
    return f"{days:,} day{'' if days == 1 else 's'}"


def reached_end(compared: Comparison) -> bool:
    """Whether all that was planned has come. A plan of units ends with the UTC day of the last one."""
    days, units = compared.planned_days, compared.planned_units
    counted = sum(compared.units.values())
    if compared.exposed_by_day and compared.state in ("running", "paused"):
        today = f"{compared.complete_to.astimezone(UTC):%Y-%m-%d}"
        counted = sum(count for day, count in compared.exposed_by_day if day < today)
    enough = units is None or counted >= units
    return (days is None or compared.days_running >= days) and enough


def finding_of(compared: Comparison, metric: MetricComparison, index: int) -> Finding:
    """What is known of a metric for one treatment.

    The goal has the experiment's own verdict; the others are told from their p-value, corrected where they have one
    that is, and at a fixed horizon not before the planned end, nor before the first planned look.
    """
    estimate = metric.deciding(compared.decided_by)[index]
    if metric.role == "primary":
        verdicts = [verdict.finding for verdict in compared.arm_verdicts if verdict.arm == estimate.arm]
        return verdicts[0] if verdicts else "not settled"
    if compared.verdict.finding == "not valid":
        return "not valid"
    if all(verdict.p_value is None for verdict in compared.arm_verdicts):
        return "not settled"  # the goal could not be tested yet
    corrected = metric.adjusted_p_values
    p_value = corrected[index] if index < len(corrected) else estimate.p_value
    early = compared.early or (compared.decided_by == "fixed horizon" and not reached_end(compared))
    return settled(estimate, None if early else p_value, metric, compared.alpha)


def settled(estimate: Estimate, p_value: float | None, metric: MetricComparison, alpha: float) -> Finding:
    """Better or worse where the p-value says that there is a difference, and somebody has said which way is better."""
    effect = estimate.absolute or estimate.relative
    if effect is None or p_value is None or p_value >= alpha or metric.better is None or effect.value == 0:
        return "not settled"
    return "better" if (effect.value > 0) == (metric.better == "higher") else "worse"


def arm_names(compared: Comparison) -> str:
    names = [estimate.arm for estimate in compared.deciding]
    return names[0] if len(names) == 1 else f"{len(names)} arms"


def difference(effect: Effect | None, unit: str) -> str | None:
    """A difference with its interval in the metric's own unit, ``+132 ms [−40, +305]``; of shares, in points."""
    return None if effect is None else _three(effect, lambda x: _amount(x, unit))


def in_points(effect: Effect | None, unit: str) -> Effect | None:
    """The effect in the unit in which its differences are told: those of two shares are in points."""
    if effect is None or unit != "ratio":
        return effect
    low, high = (None if end is None else 100 * end for end in (effect.low, effect.high))
    return replace(effect, value=100 * effect.value, low=low, high=high)


def unit_of(metric: MetricComparison) -> str:
    """In which a difference of the metric is told."""
    return "points" if metric.unit in ("ratio", "%") else metric.unit


def change(estimate: Estimate, unit: str) -> str | None:
    """The relative change with its interval, ``+3.2 % [+1.4, +5.1]``; where there is none, the difference."""
    relative = estimate.relative
    if relative is None:
        return difference(estimate.absolute, unit)
    return _three(relative, lambda x: format_value(x, "ratio", signed=True))


def _three(effect: Effect, write: Callable[[float], str]) -> str:
    """The value, and its bounds in brackets where one is known; a unit that all of them have is written once."""
    bounds = finite(effect.low), finite(effect.high)
    value = write(effect.value)
    if bounds == (None, None):
        return value
    ends = [f"{sign}∞" if end is None else write(end) for sign, end in zip((MINUS, "+"), bounds, strict=True)]
    unit = value.lstrip(_NUMBER)
    if all(end.lstrip(_NUMBER) in (unit, "∞") for end in ends):
        ends = [end.removesuffix(unit).replace("$", "") for end in ends]
    return f"{value} [{ends[0]}, {ends[1]}]"


def _amount(value: float, unit: str) -> str:
    """A signed difference; of shares, in points."""
    if unit in ("ratio", "%"):
        return f"{format_value(value * (100 if unit == 'ratio' else 1), '', signed=True)} points"
    return format_value(value, unit, signed=True, headed=True)


def span(low: float, high: float, unit: str) -> str:
    """From one difference to another, in the metric's own unit."""
    return f"{_amount(low, unit)} to {_amount(high, unit)}".replace(" points to", " to")


def finite(bound: float | None) -> float | None:
    """The bound, or None where it is infinite."""
    return bound if bound is not None and math.isfinite(bound) else None


def chance(effect: Effect | None) -> str | None:
    """A chance with its interval, ``56 % [52, 60]``."""
    return None if effect is None else _three(effect, lambda x: format_value(x, "ratio"))


def likelihood(share: float) -> str:
    """A chance of one model, never told as certain: ``97.6 %``, ``> 99.9 %``."""
    if 0.001 <= share <= 0.999:
        return format_value(share, "ratio")
    side, end = ("<", 0.001) if share < 0.001 else (">", 0.999)
    return f"{side} {format_value(end, 'ratio')}"


def split_of(experiment: Experiment) -> str:
    """How the arms share what there is: ``50/50``; rankers share each list."""
    return "interleaved" if experiment.kind == "interleaving" else experiment.split


def in_each_list(experiment: Experiment) -> str:
    """That rankers do not divide the units among themselves."""
    arms = "both rankers" if len(experiment.variants) == 2 else f"all {len(experiment.variants)} rankers"
    return f"each {experiment.unit_kind}'s lists hold passages of {arms}"


def probability(p_value: float | None) -> str | None:
    """``0.032``, ``< 0.0001``."""
    if p_value is None:
        return None
    return "< 0.0001" if p_value < 0.0001 else f"{p_value:.2g}"


def margin_text(metric: MetricComparison, check: GuardrailCheck) -> str:
    """The limit of a guardrail as a change: ``+10 %``, ``−0.05``."""
    return _margin(limit_of(metric, check), metric, check)


def limit_of(metric: MetricComparison, check: GuardrailCheck) -> float:
    """The change that a guardrail does not allow to be passed, with its sign."""
    return -check.margin if metric.better == "higher" else check.margin


def worsening(metric: MetricComparison, check: GuardrailCheck) -> str | None:
    """The bounds of the stopping test on how much worse it got; None where it gives none."""
    low, high = finite(check.worsening_low), finite(check.worsening_high)
    if low is None:
        return None if high is None else f"up to {_margin(high, metric, check)}"
    if high is None:
        return f"at least {_margin(low, metric, check)}"
    return f"{_margin(low, metric, check)} to {_margin(high, metric, check)}".replace(" points to", " to")


def _margin(value: float, metric: MetricComparison, check: GuardrailCheck) -> str:
    return format_value(value, "ratio", signed=True) if check.relative else _amount(value, metric.unit)


def sentences(texts: Iterable[str]) -> list[str]:
    """Texts without those that say nothing or the same again; of why there is no interval, the reason alone.

    That a test "is not valid here" would read as the finding, which waiting does not mend.
    """
    return list(dict.fromkeys(text.replace(NOT_VALID_HERE, "").rstrip(".") for text in texts if text))


def days_text(days: float, planned: float | None) -> str:
    """``2.3 of 7 days``, ``1 day``, ``9 days (8 planned)``."""
    ran, end = (f"{number:.1f}".removesuffix(".0") for number in (days, days if planned is None else planned))
    if planned is not None and days <= planned:
        return f"{ran} of {end} day{'' if end == '1' else 's'}"
    return f"{ran} day{'' if ran == '1' else 's'}{'' if planned is None else f' ({end} planned)'}"
