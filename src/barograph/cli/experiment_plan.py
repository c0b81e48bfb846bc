"""``barograph experiment plan``: what an experiment would take, from the system's own past."""

from __future__ import annotations

from pathlib import Path
from shlex import quote
from typing import TYPE_CHECKING, Annotated

import typer

from barograph.cli.desk import desk_of
from barograph.cli.options import DEFAULT_DIRECTORY, Charset, DataDir, Json, ProjectName, Width, existing
from barograph.cli.output import draw, note, print_json
from barograph.core.query import parse_duration
from barograph.core.unit import counted, format_value
from barograph.visualize.chart import Cell, Column, Page, Table, Text
from barograph_client.errors import InvalidInput

if TYPE_CHECKING:
    from barograph.experiments.design import Method, Spending
    from barograph.experiments.plan import Baseline, Plan

METHODS: dict[str, Method] = {
    "fixed-horizon": "fixed horizon", "always-valid": "always valid", "group-sequential": "group sequential",
}  # fmt: skip
SECONDS_A_DAY = 86400.0
MOST_ARMS = 50


def plan(
    metric: Annotated[str, typer.Option("--metric", "-m", help="What is to change; `barograph metrics` lists them.")],
    effect: Annotated[
        str, typer.Option("--effect", help="The relative change worth finding, in the better direction: 5% or 0.05.")
    ] = "5%",
    arms: Annotated[
        str, typer.Option("--arms", help="How many, of equal shares; or their shares, the control's first: 0.8,0.2.")
    ] = "2",
    days: Annotated[
        int | None, typer.Option("--days", help="How long it may run; told if absent.", min=1, max=3660)
    ] = None,
    coverage: Annotated[
        str, typer.Option("--coverage", help="The share of units that takes part, whatever keeps others out.")
    ] = "100%",
    power: Annotated[str, typer.Option("--power", help="How often the change is to be found, where it is there.")] = (
        "80%"
    ),
    alpha: Annotated[str, typer.Option("--alpha", help="How often one may be found that is not there.")] = "5%",
    unit: Annotated[str, typer.Option("--unit", help="What gets an arm: user, session, or what a tag names.")] = "user",
    history: Annotated[str, typer.Option("--history", help="The past to plan by, in whole days.")] = "28d",
    method: Annotated[
        str,
        typer.Option(
            "--method",
            help="fixed-horizon: one look at the planned end; group-sequential: a few planned looks; always-valid: a "
            "look at any time.",
        ),
    ] = "fixed-horizon",
    looks: Annotated[
        int, typer.Option("--looks", help="How many are planned, if group-sequential.", min=2, max=10)
    ] = 4,
    spending: Annotated[
        str, typer.Option("--spending", help="Of alpha over the looks: obrien-fleming, next to none early, or pocock.")
    ] = "obrien-fleming",
    correlation: Annotated[
        float,
        typer.Option("--correlation", help="Of what units do before and in it, for one with pre_days.", min=-1, max=1),
    ] = 0.0,
    charset: Charset = None,
    width: Width = None,
    project: ProjectName = None,
    data_dir: DataDir = Path(DEFAULT_DIRECTORY),
    json: Json = False,
) -> None:
    """Plan an experiment by the past: units, days, and what it can find.

    The spread of the metric from unit to unit, and how many different ones come by the day, are those of the past.
    A user's sums grow with the days that the user is watched, and who comes back is no new user: so two weeks are
    not twice one week, and the past is looked at in windows of 7, 14 and 28 days. It says nothing of more than twice
    its own days.

    \b
    barograph experiment plan --metric accuracy
    barograph experiment plan --metric accuracy --effect 2% --days 14 --coverage 50%
    barograph experiment plan --metric error_rate --arms 0.6,0.2,0.2 --method always-valid
    """
    from barograph.experiments.plan import PlanQuestion, check

    question = PlanQuestion(
        metric=metric, effect=share_of(effect, "effect"), days=days, unit_kind=unit, weights=_weights(arms),
        coverage=share_of(coverage, "coverage"), alpha=share_of(alpha, "alpha"), power=share_of(power, "power"),
        method=method_of(method), looks=looks, spending=spending_of(spending), correlation=correlation,
        history_days=_days(history),
    )  # fmt: skip
    check(question)
    with desk_of(existing(data_dir), project) as desk:
        found = desk.experiments.plan(question)
    if json:
        print_json(found)
    else:
        draw(picture(found), charset, width)
        if found.advised_days is not None:
            note(f"`{next_command(found)}` makes one.")
            if question.correlation:
                note("DAYS is how long before it the correlation was taken over.")


def picture(plan: Plan) -> Page:
    """The advice, what different changes take, what different times and coverages find, and what it rests on."""
    parts: list[Text | Table] = [Text(text=plan.advice), Text(text=_baseline(plan), tone="muted")]
    parts += [_needs(plan), _reaches(plan)]
    parts += [Text(text=note, tone="muted") for note in plan.notes]
    return Page(title=f"Plan: {plan.title}", parts=parts)


def next_command(plan: Plan) -> str:
    """What makes the experiment that was planned, but for its key and, where the plan counts on it, the pre-period."""
    from barograph.experiments.plan import PlanQuestion

    q, usual = plan.question, PlanQuestion(metric="")
    arms = ["control", *(f"treatment{number}" for number in range(1, len(q.weights)))]
    if len(set(q.weights)) > 1:
        arms = [f"{arm}:{weight!r}" for arm, weight in zip(arms, q.weights, strict=True)]
    words = ["barograph experiment create --key KEY", f"--arms {','.join(arms)}", f"--metric {quote(q.metric)}"]
    if q.unit_kind != usual.unit_kind:
        words.append(f"--unit {quote(q.unit_kind)}")
    words.append(f"--days {plan.advised_days}")
    if q.method == "always valid":
        words.append(f"--units {plan.advised_units} --method always-valid")
    if q.method == "group sequential":
        words.append("--method group-sequential")
        words += [f"--looks {q.looks}"] if q.looks != usual.looks else []
        words += [f"--spending {q.spending}"] if q.spending != usual.spending else []
    for option, share, standard in (
        ("coverage", q.coverage, usual.coverage), ("effect", q.effect, usual.effect), ("alpha", q.alpha, usual.alpha),
        ("power", q.power, usual.power),
    ):  # fmt: skip
        if share != standard:
            words.append(f"--{option} {_written(share)}")
    if q.correlation:
        words.append("--pre-days DAYS")
    return " ".join(words)


def _written(share: float) -> str:
    """The share as an option takes it, in per cent where that is as exact."""
    percent = f"{share * 100:g}"
    return f"{percent}%" if float(percent) / 100 == share else repr(share)


def _needs(plan: Plan) -> Table:
    question = plan.question
    split = "/".join(f"{weight * 100:.3g}" for weight in question.weights)
    return Table(
        title="What a change takes",
        subtitle=f"coverage {_percent(question.coverage)} · arms {split} · power {_percent(question.power)}",
        columns=[
            Column(title="change", unit="ratio"),
            Column(title=f"{question.unit_kind}s"),
            Column(title="days"),
            Column(title="days, looked at any time"),
            Column(title="half settled by day"),
        ],
        rows=[[need.effect, need.units, need.days, need.any_time_days, need.half_settled_days] for need in plan.needs],
        note=_beyond(plan),
    )


def _beyond(plan: Plan) -> str:
    """Which changes of the table cannot be, as the metric has no room for them, and which take too long to say."""
    most, said = plan.most_effect, []
    if any(None in (need.days, need.any_time_days) for need in plan.needs if most is None or need.effect < most):
        said.append(f"Where no days stand, it takes more than {counted(plan.foreseen_days, 'day')}.")
    if most is not None and any(need.effect >= most for need in plan.needs):
        title = plan.title.lower()
        said.append(f"A change of {_percent(most)} or more is impossible: it would take {title} beyond its range.")
    return " ".join(said)


def _reaches(plan: Plan) -> Table:
    """A row for each number of days, a column for each coverage."""
    found = {(one.days, one.coverage): one.effect for one in plan.reaches}
    days, coverages = (sorted({key[place] for key in found}) for place in (0, 1))
    rows: list[list[Cell]] = [
        [counted(int(day), "day"), *(found[int(day), share] for share in coverages)] for day in days
    ]
    looks: dict[Method, str] = {
        "fixed horizon": "one look at the end",
        "always valid": "at any time",
        "group sequential": f"by the last of {plan.question.looks} looks",
    }
    return Table(
        title="The least change that is found",
        subtitle=f"by coverage · {looks[plan.question.method]}",
        columns=[Column(title="in"), *(Column(title=_percent(share), unit="ratio") for share in coverages)],
        rows=rows,
    )


def _baseline(plan: Plan) -> str:
    """What the plan starts from: the longest past."""
    base, unit = plan.baselines[-1], plan.question.unit_kind
    until = plan.history_from.toordinal() + plan.history_days - 1
    last = type(plan.history_from).fromordinal(until)
    over = f"{counted(plan.history_days, 'whole day')}, {plan.history_from:%Y-%m-%d} to {last:%Y-%m-%d} UTC"
    measured = "" if base.measured > 0.9995 else f", {_percent(base.measured)} of them with a value"
    return f"{_value(plan, base)}. {counted(base.units, unit)} in {over}{measured}."


def _value(plan: Plan, base: Baseline) -> str:
    unit = plan.question.unit_kind
    if base.basis == "share":
        return f"{plan.title} now: {format_value(base.value, 'ratio')} of {unit}s"
    value, deviation = format_value(base.value, plan.unit), format_value(base.deviation, plan.unit, headed=True)
    a_unit = f" a {unit}" if base.basis == "mean" else ""
    return f"{plan.title} now: {value}{a_unit}, with a standard deviation of {deviation} between {unit}s"


def _percent(share: float) -> str:
    return format_value(share, "ratio")


def method_of(text: str) -> Method:
    """``always-valid``, as options say it. Raises InvalidInput."""
    if text not in METHODS:
        raise InvalidInput("there is no such method", hint=f"Use one of {', '.join(METHODS)}.", value=text)
    return METHODS[text]


def spending_of(text: str) -> Spending:
    """``pocock``. Raises InvalidInput."""
    from barograph.experiments.design import SPENDINGS

    for known in SPENDINGS:
        if text == known:
            return known
    raise InvalidInput("there is no such spending function", hint=f"Use one of {', '.join(SPENDINGS)}.", value=text)


def share_of(text: str, what: str) -> float:
    """``5%`` or ``0.05``, of the option that is called ``what``. Raises InvalidInput."""
    number = text.strip()
    try:
        return float(number[:-1]) / 100 if number.endswith("%") else float(number)
    except ValueError:
        raise InvalidInput(f"--{what} is no number", hint="Write it as 5% or 0.05.", value=text) from None


def _weights(text: str) -> tuple[float, ...]:
    """``3`` or ``0.6,0.2,0.2``. Raises InvalidInput."""
    if "," in text:
        return tuple(share_of(one, "arms") for one in text.split(","))
    try:
        arms = int(text)
    except ValueError:
        arms = 0
    if not 2 <= arms <= MOST_ARMS:
        raise InvalidInput(
            f"--arms is from 2 to {MOST_ARMS}, or their shares", hint="Write it as 3 or 0.6,0.2,0.2.", value=text
        )
    return (1 / arms,) * arms


def _days(text: str) -> int:
    days = parse_duration(text) / SECONDS_A_DAY
    if days != int(days):
        raise InvalidInput("the history is a number of whole days", hint="Write it as 28d or 8w.", value=text)
    return int(days)
