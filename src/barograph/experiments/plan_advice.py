"""What a plan says in words: what to do, in a sentence, and what it rests on."""

from __future__ import annotations

from barograph.core.unit import counted, format_value
from barograph.experiments.past import gated_until
from barograph.experiments.plan import LONGEST_HISTORY, Plan
from barograph.stats.sequential.asymptotic import FEWEST_UNITS

WEEK = 7


def advice(plan: Plan) -> str:
    """How long to run, or what the time that there is finds instead."""
    question, need = plan.question, plan.need
    always = question.method == "always valid"
    takes = need.any_time_days if always else need.days
    change = f"a change of {_share(question.effect)}"
    days, are = counted(question.days or 0, "day"), "is" if question.days == 1 else "are"
    if takes is None:
        start = f"To find {change} takes more than {counted(plan.foreseen_days, 'day')}"
        past = f"which is as far as {counted(plan.history_days, 'day')} of past can say"
        return f"{start}, {past}; {_found(plan)}. You could {_ways_out(plan)}."
    if plan.advised_days is None:
        return f"To find {change} takes {counted(takes, 'day')}{_everybody(plan, takes)}; {_found(plan)}."
    if question.days is not None and question.days < takes:
        instead = f"it takes {counted(takes, 'day')}{_everybody(plan, takes)}"
        return f"{days} {are} not enough for {change}: {instead}; {_found(plan)}."
    whole = " (whole weeks)" if plan.advised_days > takes else ""
    start = f"Plan {counted(plan.advised_days, 'day')}{whole}" if question.days is None else f"{days} {are} enough"
    if always:
        half = f", half of them or more by day {need.half_settled_days}" if need.half_settled_days else ""
        once = f"; one look at a planned end takes {counted(need.days, 'day')}" if need.days else ""
        return f"{start}: {_share(question.power)} of experiments with {change} are settled by day {takes}{half}{once}."
    units = counted(need.units or 0, question.unit_kind)
    return f"{start}: {change} takes {units} in all, who come in {counted(takes, 'day')}{_everybody(plan, takes)}."


def notes(plan: Plan) -> tuple[str, ...]:
    """What the numbers rest on, and where they are guesses."""
    question, found = plan.question, []
    unit, days = question.unit_kind, plan.history_days
    if days < question.history_days:
        found.append(f"Records of {unit}s begin {counted(days, 'whole day')} ago: it is planned by these.")
    if days < 2 * WEEK:
        found.append("With less than two weeks of past, days of the week are not told apart, nor later days foreseen.")
    if plan.advised_days is not None and plan.advised_days % WEEK:
        found.append("Whole weeks are safer: users of a Sunday may be others than those of a Monday.")
    takes = plan.need.any_time_days if question.method == "always valid" else plan.need.days
    if max(takes or 0, *(one.days for one in plan.reaches)) > days:
        found.append(
            f"Beyond the past's {counted(days, 'day')} new {unit}s are taken to come ever more slowly, as the curve "
            f"of these goes on, and {unit}s to differ no less than in them. Of more than {plan.foreseen_days} days it "
            "says nothing."
        )
    if plan.advised_days is not None and plan.advised_days > plan.foreseen_days:
        found.append(
            f"{plan.advised_days} days are called enough as {takes} are: what more than {plan.foreseen_days} find is "
            "not known, so that they have no row."
        )
    if len(plan.baselines) > 1 and plan.baselines[0].basis == "mean":
        lengths = [str(one.days) for one in plan.baselines]
        told = f"{', '.join(lengths[:-1])} and {lengths[-1]} days"
        found.append(f"A {unit}'s sum grows with the days: the spread is that of {told}, in between a straight line.")
    if question.method == "always valid" and plan.advised_days is not None:
        found.append(
            f"Declare it with planned_days = {plan.advised_days} and planned_units = {plan.advised_units}: intervals "
            "for looking at any time are narrowest at the end that is planned."
        )
    if question.method == "group sequential" and plan.advised_days is not None:
        each = plan.advised_days / question.looks
        found.append(
            f"It is looked at {question.looks} times, {each:.3g} days apart: this is what the last look takes, and "
            "larger changes are settled at earlier ones."
        )
    treatments = len(question.weights) - 1
    if treatments > 1:
        found.append(f"{treatments} treatments share alpha: each is tested at {question.alpha / treatments:.3g}.")
    if question.correlation:
        kept = 1 - question.correlation**2
        found.append(f"Adjusted for the pre-period (CUPED), which leaves {_share(kept)} of the variance.")
    last = plan.baselines[-1]
    once, at_any_time = gated_until(last, "fixed horizon"), gated_until(last, "always valid")
    if last.skewness is None:
        found.append("How skewed the values are is not known: where they are, it takes longer.")
    elif once > question.minimum_units:
        found.append(
            f"A few {unit}s make most of it: no verdict comes before each arm has {once:,} {unit}s, and none at any "
            f"time before {at_any_time:,}."
        )
    elif at_any_time > FEWEST_UNITS:
        found.append(
            f"Intervals for looking at any time wait for {at_any_time:,} {unit}s in each arm: the values are skewed."
        )
    return tuple(found)


def _found(plan: Plan) -> str:
    """What is found in the days asked for, or in the most that are shown, at the coverage asked for."""
    question = plan.question
    shown = {one.days for one in plan.reaches}
    days = question.days if question.days in shown else max(shown)
    found = {(one.days, one.coverage): one.effect for one in plan.reaches}
    effect = found[days, question.coverage]
    verb = "finds" if days == 1 else "find"
    return f"{counted(days, 'day')} {verb} {'none at all' if effect is None else f'{_share(effect)} or more'}"


def _everybody(plan: Plan, takes: int) -> str:
    days, coverage = plan.days_with_everybody, plan.question.coverage
    if coverage == 1 or days is None or days >= takes:
        return ""
    return f" at {_share(coverage)} coverage ({days} with every {plan.question.unit_kind} in it)"


def _ways_out(plan: Plan) -> str:
    question, ways = plan.question, ["look for a larger change"]
    if question.coverage < 1:
        ways.append("raise the coverage")
    if not question.correlation:
        ways.append("adjust for the pre-period")
    if plan.baselines[-1].basis == "mean":
        ways.append("cap the largest values")
    ways.append("take a metric that spreads less")
    if question.history_days <= plan.history_days < LONGEST_HISTORY:
        ways.append("plan by a longer past")
    return f"{', '.join(ways[:-1])} or {ways[-1]}"


def _share(value: float) -> str:
    return format_value(value, "ratio")
