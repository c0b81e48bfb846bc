"""Comparisons made by hand, as ``experiments`` would make them: every part filled, or all but a few left out."""

from __future__ import annotations

import math
from datetime import UTC, date, datetime, timedelta

from msgspec.structs import replace

from barograph.experiments.analysis.second_opinions import BRUNNER_MUNZEL
from barograph.experiments.comparison import (
    ArmUnits,
    Belief,
    Comparison,
    Course,
    Details,
    Finding,
    GuardrailCheck,
    MetricComparison,
    Step,
    Verdict,
)
from barograph.experiments.design import Method
from barograph.stats.estimate import Effect, Estimate
from barograph.stats.sample_ratio import SampleRatio, sample_ratio

FIRST = date(2026, 11, 16)
SEQUENCE = "asymptotic confidence sequence"
SKEWED = "not valid here: the values are too skewed for so few units (skewness of the means 0.31)"
FEW = "not valid here: a sequence needs 100 units in each arm"


def estimate(
    before: float, change: float, error: float, p_value: float | None = None, *, arm: str = "new",
    method: str = "Welch's t", units: int = 900, refused: str = "", relative: bool = True,
) -> Estimate:  # fmt: skip
    """``arm`` is at ``before + change``, known to two ``error``; ``refused`` is why there is no interval."""

    def effect(scale: float) -> Effect:
        value, reach = change / scale, 2 * error / scale
        if refused:
            return Effect(value=value)
        return Effect(value=value, low=value - reach, high=value + reach, p_value=p_value)

    return Estimate(
        arm=arm, baseline="old", arm_value=before + change, baseline_value=before, arm_n=units + 10, baseline_n=units,
        absolute=effect(1.0), relative=effect(before) if relative else None, alpha=0.05, method=method,
        warnings=(refused,) if refused else (),
    )  # fmt: skip


def metrics() -> tuple[MetricComparison, ...]:
    """A goal that is up, an error rate on which a sequence refuses, two guardrails: one in doubt, one that holds."""
    flat = "normal effect, flat prior"
    return (
        MetricComparison(
            metric="satisfaction", title="User satisfaction", unit="rating", role="primary", better="higher",
            per_unit=False, estimates=(estimate(4.0, 0.12, 0.04, 0.003),),
            always_valid=(estimate(4.0, 0.12, 0.055, 0.04, method=SEQUENCE),),
            adjusted=(estimate(4.0, 0.11, 0.03, 0.0004, method="CUPED"),), adjusted_p_values=(0.003,),
            beliefs=(Belief(arm="new", chance_to_win=0.998, expected_loss=0.0002, low=0.04, high=0.2, method=flat),),
        ),
        MetricComparison(
            metric="error_rate", title="Error rate", unit="ratio", role="secondary", better="lower", per_unit=False,
            estimates=(estimate(0.02, 0.004, 0.001, 0.001),),
            always_valid=(estimate(0.02, 0.004, 0.001, method=SEQUENCE, refused=SKEWED),), adjusted_p_values=(0.001,),
            beliefs=(Belief(arm="new", chance_to_win=0.04, expected_loss=0.004, low=2e-4, high=0.008, method=flat),),
        ),
        MetricComparison(
            metric="response_time.mean", title="Average response time", unit="s", role="guardrail", better="lower",
            per_unit=False, estimates=(estimate(1.5, 0.13, 0.07, 0.06),),
            always_valid=(estimate(1.5, 0.13, 0.11, 0.3, method=SEQUENCE),),
            guardrails=(GuardrailCheck(arm="new", state="open", margin=0.1, relative=True, stopping="open",
                                       worsening_low=-0.02, worsening_high=0.16, auto_stop=True),),
        ),
        MetricComparison(
            metric="cost_per_query", title="Cost per query", unit="USD", role="guardrail", better="lower",
            per_unit=False, estimates=(estimate(0.012, -0.001, 0.0004, 0.01),),
            always_valid=(estimate(0.012, -0.001, 0.001, 0.3, method=SEQUENCE),), cap=0.5,
            guardrails=(GuardrailCheck(arm="new", state="held", margin=0.002, relative=False, stopping="held",
                                       worsening_low=-math.inf, worsening_high=0.0005),),
        ),
    )  # fmt: skip


def course() -> Course:
    """Nine days on which the interval narrows; for the first two there is none."""
    steps = tuple(
        Step(
            label=str(FIRST + timedelta(days=day)), arm="new",
            estimate=estimate(4.0, 0.12 + 0.1 / (day + 1), 0.2 / (day + 1) ** 0.7, units=100 * (day + 1),
                              method=SEQUENCE, refused=FEW if day < 2 else ""),
        )
        for day in range(9)
    )  # fmt: skip
    return Course(by="day", steps=steps, sentence="The interval excludes no change since 2026-11-20.")


def comparison(
    finding: Finding = "not settled", sentence: str = "", *, decided_by: Method = "fixed horizon", **changed: object
) -> Comparison:
    """The first nine days of fourteen, with everything that a comparison can tell."""
    verdict = Verdict(
        finding=finding, arm="new", p_value=0.003,
        sentence=sentence or "Not settled: needs about 5 more days at the present traffic (8.6 of 14 planned days).",
    )  # fmt: skip
    some = metrics()
    if decided_by == "always valid":
        some = tuple(replace(one, adjusted_p_values=(one.always_valid[0].p_value,)) for one in some)
    came = (210, 190, 205, 180, 170, 90, 80, 0, 195)
    made = Comparison(
        experiment="vector-db", title="Vector DB comparison", hypothesis="The new index finds better passages.",
        state="running", control="old", unit_kind="user", split="50/50", alpha=0.05,
        units={"old": 652, "new": 668}, contaminated=3, sample_ratio=sample_ratio([652, 668], [0.5, 0.5]),
        metrics=some, verdict=verdict, arm_verdicts=(verdict,), days_running=8.6, planned_days=14.0,
        planned_units=None, needs_more_days=5.0, warnings=("3 users were seen in two arms and are left out",),
        first_exposure=datetime(2026, 11, 16, 9, tzinfo=UTC), complete_to=datetime(2026, 11, 24, 14, tzinfo=UTC),
        decided_by=decided_by, course=course(),
        exposed_by_day=tuple((str(FIRST + timedelta(days=day)), count) for day, count in enumerate(came) if count),
    )  # fmt: skip
    return replace(made, **changed)


def details() -> Details:
    """An effect that fades, three countries, two arms' spread, four second opinions."""
    age = Course(
        by="age", sentence="The effect was +7.5 % on the first day and +0.94 % on the eighth: it may fade.",
        steps=tuple(
            Step(label=str(day), arm="new",
                 estimate=estimate(4.0, 0.3 / (day + 1), 0.05 * (1 + day / 3), units=900 - 100 * day))
            for day in range(8)
        ),
    )  # fmt: skip
    countries = (("DE", 0.2, 0.05, 400, 0.0001), ("FR", 0.05, 0.06, 300, 0.4), ("", -0.1, 0.2, 40, 0.5))
    by_country = Course(
        by="tag.country", sentence="One of 3 values differs from no change",
        steps=tuple(
            Step(label=name, arm="new", estimate=estimate(4.0, change, error, p_value, units=units),
                 p_value=min(1.0, 3 * p_value))
            for name, change, error, units, p_value in countries
        ),
    )  # fmt: skip
    arms = tuple(
        ArmUnits(arm=arm, units=units, mean=4.0 + more, deviation=0.8,
                 quantiles=tuple(min(5.0, 1 + more + 4.2 * (place / 20) ** 0.6) for place in range(21)))
        for arm, units, more in (("old", 652, 0.0), ("new", 668, 0.12))
    )  # fmt: skip
    opinions = (
        estimate(4.0, 0.1, 0.05, 0.03, method="trimmed means (Yuen)"),
        estimate(4.0, 0.09, 0.06, 0.06, method="winsorised means"),
        estimate(4.0, 0.2, 0.1, 0.04, method="medians", relative=False),
        replace(
            estimate(
                4.0,
                0.56,
                0.02,
                0.003,
                method=BRUNNER_MUNZEL,
                relative=False,
            ),
            arm_value=None,
            baseline_value=None,
        ),
        estimate(4.0, 0.1, 0.1, method="bootstrap of units (BCa)", refused="too few units"),
    )
    return Details(
        experiment="vector-db", courses=(age, by_country), arms=arms, second_opinions=opinions, sampled=True,
        warnings=("users who were exposed yesterday have had one day only",),
    )  # fmt: skip


def three_arms() -> Comparison:
    """Two treatments, of which one is better and the other worse."""

    def both(metric: MetricComparison) -> MetricComparison:
        second = [replace(one, arm="newer", absolute=_turned(one.absolute), relative=_turned(one.relative))
                  for one in metric.estimates]  # fmt: skip
        checks = [replace(one, arm="newer", state="breached", stopping="breached") for one in metric.guardrails]
        return replace(
            metric, estimates=(*metric.estimates, *second), guardrails=(*metric.guardrails, *checks),
            adjusted_p_values=metric.adjusted_p_values * 2, always_valid=(), adjusted=(),
        )  # fmt: skip

    verdicts = (
        Verdict(finding="better", sentence="Better: new raises user satisfaction.", arm="new", p_value=0.006),
        Verdict(finding="worse", sentence="Worse: newer lowers user satisfaction.", arm="newer", p_value=0.006),
    )
    units = {"old": 900, "new": 880, "newer": 910}
    return comparison(
        metrics=tuple(map(both, metrics())), arm_verdicts=verdicts, verdict=verdicts[0], units=units, days_running=15.0,
        split="33.3/33.3/33.3", sample_ratio=sample_ratio(list(units.values()), [1 / 3] * 3), needs_more_days=None,
    )  # fmt: skip


def _turned(effect: Effect | None) -> Effect | None:
    if effect is None or effect.low is None or effect.high is None:
        return effect
    return replace(effect, value=-effect.value, low=-effect.high, high=-effect.low)


def nobody_yet() -> Comparison:
    """Started, and no unit has come."""
    nothing = replace(estimate(1.0, 0.0, 1.0), arm_value=None, baseline_value=None, arm_n=0, baseline_n=0,
                      absolute=None, relative=None, warnings=("an arm is empty",))  # fmt: skip
    verdict = Verdict(finding="not valid", sentence="Not valid: old has 0 users with a measurement, of 30 at least.",
                      arm="new")  # fmt: skip
    empty = tuple(
        replace(one, estimates=(nothing,), always_valid=(nothing,), adjusted=(), adjusted_p_values=(None,), beliefs=(),
                guardrails=tuple(replace(check, state="open", stopping="not yet", reason=FEW,
                                         worsening_low=None, worsening_high=None) for check in one.guardrails))
        for one in metrics()
    )  # fmt: skip
    return comparison(
        metrics=empty, units={"old": 0, "new": 0}, sample_ratio=sample_ratio([0, 0], [0.5, 0.5]), verdict=verdict,
        arm_verdicts=(verdict,), contaminated=0, warnings=(), exposed_by_day=(), course=None, first_exposure=None,
        days_running=0.1, needs_more_days=None,
    )  # fmt: skip


def interleaved() -> Comparison:
    """Two rankers in one list: the preference for one of them, which is no share of anything."""
    preferred = replace(estimate(0.0, 0.06, 0.02, 0.003, method="t test of preferences", relative=False))
    goal = MetricComparison(
        metric="score.preference", title="Preference over bm25", unit="score", role="primary", better="higher",
        per_unit=False, estimates=(preferred,), always_valid=(preferred,), adjusted_p_values=(0.003,),
    )  # fmt: skip
    found = comparison(
        "better", "Better: users prefer dense to bm25.", units={"interleaved": 1320}, metrics=(goal,), split="all",
        control="bm25", days_running=14.0,
        sample_ratio=SampleRatio(counts=(1320,), expected=(1320.0,), p_value=1.0, method="every unit saw all rankers"),
    )  # fmt: skip
    assert found.course is not None
    steps = [
        replace(one, estimate=replace(one.estimate, relative=None, absolute=_scaled(one.estimate.absolute)))
        for one in found.course.steps
    ]
    return replace(found, course=replace(found.course, steps=tuple(steps)))


def _scaled(effect: Effect | None) -> Effect | None:
    """The effect as a preference between -1 and 1."""
    if effect is None or effect.low is None or effect.high is None:
        return effect
    return replace(effect, value=effect.value / 2, low=effect.low / 2, high=effect.high / 2)
