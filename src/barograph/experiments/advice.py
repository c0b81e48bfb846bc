"""What to do, given what is known: the end of a verdict's sentence, and what the command line says comes next.

Takes what is ``Known`` of every arm, hands back ``Verdict``s. Waiting is advised only where later data would count.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from msgspec import Struct

from barograph.core.unit import counted, format_value
from barograph.experiments.analysis.waiting import LONGEST_WAIT, Progress
from barograph.experiments.comparison import Finding, Verdict
from barograph.experiments.design import Experiment
from barograph_client.errors import shorten

LONGEST_REASON = 200  # characters of why an experiment was stopped
MOST_UNITS = 1e9  # more of them are not told as a number
FINDINGS: tuple[Finding, ...] = ("better", "worse", "equivalent", "not settled", "not valid")


class Known(Struct, frozen=True, kw_only=True):
    """What is known of an arm: a finding, and a ``text`` without the stop at its end.

    ``breached`` and ``unsure`` are the guardrails that the arm breaches, and those that are not known to hold.
    ``small`` says that the change is within the margin that does not matter. ``repair`` is what to do about what keeps
    from a verdict, where waiting does not mend it. ``p_value`` is None where there was no test.
    """

    arm: str
    finding: Finding
    text: str
    p_value: float | None = None
    breached: tuple[str, ...] = ()
    unsure: tuple[str, ...] = ()
    small: bool = False
    repair: str = ""


def verdicts(experiment: Experiment, progress: Progress, known: Sequence[Known]) -> tuple[Verdict, ...]:
    """The verdict on each arm, with what to do, and why the experiment was stopped, where somebody said so."""
    stopped = ""
    if experiment.stop_reason:
        stopped = f" It was stopped: {shorten(experiment.stop_reason, LONGEST_REASON).rstrip('.')}."
    given = []
    for one in known:
        advice = _advice(experiment, progress, one, known)
        given.append(
            Verdict(
                finding=one.finding, sentence=f"{one.text}; {advice}.{stopped}", arm=one.arm, p_value=one.p_value,
                advice=advice,
            )
        )  # fmt: skip
    return tuple(given)


def overall(given: Sequence[Verdict], known: Sequence[Known]) -> Verdict:
    """One verdict for all treatments: any that is better counts, then any that is worse.

    Of several the one whose guardrails hold, then the one with the smallest p-value.
    """

    def rank(place: int) -> tuple[int, bool, bool, float]:
        one = known[place]
        p_value = 1.0 if one.p_value is None else one.p_value
        return FINDINGS.index(one.finding), bool(one.breached), bool(one.unsure), p_value

    return given[min(range(len(known)), key=rank)]


def waits(experiment: Experiment, progress: Progress, whole: Verdict, known: Sequence[Known]) -> float | None:
    """How many more days it takes; None where no number of them can be given, or none would change anything."""
    ended = any(one.breached for one in known if one.arm == whole.arm)
    if whole.finding != "not settled" or ended or not progress.goes_on(experiment):
        return None
    days = progress.more_days(experiment)
    untold = days is None or math.isinf(days) or (days == 0 and whole.p_value is None)
    return None if untold else days


def days_text(days: float | None) -> str:
    """``about 4 more days``; ``less than a day more``; ``years``; ``a number of days that cannot be told yet``."""
    if days is None:
        return "a number of days that cannot be told yet"
    if not math.isfinite(days) or days > LONGEST_WAIT:
        return "years"
    if days < 1:
        return "less than a day more"
    whole = math.ceil(days - 1e-9)
    return f"about {whole:,} more day{'' if whole == 1 else 's'}"


def wanted_text(experiment: Experiment) -> str:
    """The effect worth finding: ``a change of 5 %``; of rankers a preference."""
    if experiment.kind == "interleaving":
        return f"a preference of {experiment.minimum_effect:.3g}"
    return f"a change of {experiment.minimum_effect * 100:.3g} %"


def _advice(experiment: Experiment, progress: Progress, one: Known, known: Sequence[Known]) -> str:
    if one.finding == "not valid" and not one.breached:
        return one.repair
    lost = [other.arm for other in known if other.finding == "worse" or other.breached]
    waiting = [other.arm for other in known if other.finding == "not settled" and other.arm not in lost]
    leave = f"{_leave(experiment)} for {_or(waiting)}" if waiting and progress.goes_on(experiment) else ""
    if one.arm in lost:
        then = f", then {one.repair}" if one.finding == "not valid" else ""
        return _lost(experiment, one, leave, keep=len(lost) == len(known), better=bool(_to_ship(known))) + then
    if one.finding == "better":
        return _better(experiment, one, known)
    if one.finding == "equivalent":
        return _equivalent(experiment, one, leave)
    return _untested(experiment, progress, one) if one.p_value is None else _open(experiment, progress)


def _lost(experiment: Experiment, one: Known, leave: str, *, keep: bool, better: bool) -> str:
    """Of an arm that is worse, or breaches a guardrail: ``keep`` says so of all, ``better`` that another is to ship."""
    avoid = f"do not ship {one.arm}"
    if keep:
        stop = _stop(experiment, f"keep {experiment.control}")
        return f"{avoid}: {stop}" if one.finding == "better" else stop
    if leave or better:
        return f"{avoid}, and {leave}" if leave else avoid
    return _stop(experiment, avoid)


def _better(experiment: Experiment, one: Known, known: Sequence[Known]) -> str:
    if one.unsure:
        return f"do not ship {one.arm} {_once_held(experiment)}"
    several = _to_ship(known)
    if len(several) > 1:
        return _stop(experiment, f"ship one of {' and '.join(several)}, which are not compared with each other")
    return _stop(experiment, f"ship {one.arm}{', if it costs no more' if one.small else ''}")


def _to_ship(known: Sequence[Known]) -> list[str]:
    """The arms that are better, and whose guardrails hold."""
    return [one.arm for one in known if one.finding == "better" and not one.breached and not one.unsure]


def _equivalent(experiment: Experiment, one: Known, leave: str) -> str:
    which = f"take {one.arm} or {experiment.control}, whichever costs less"
    if one.unsure:
        return f"keep {experiment.control} {_once_held(experiment)}"
    return f"{which}, and {leave}" if leave else _stop(experiment, which)


def _once_held(experiment: Experiment) -> str:
    """The guardrail is open: waiting tells, but of a fixed horizon, after which nothing counts."""
    if experiment.decided_by != "fixed horizon" and experiment.stopped_at is None:
        return f"yet: {_leave(experiment)} until it is known whether the guardrail holds"
    return "before a longer experiment shows that the guardrail holds"


def _untested(experiment: Experiment, progress: Progress, one: Known) -> str:
    """There was no test yet: wait where that helps, else a new experiment."""
    if not progress.goes_on(experiment):
        return one.repair or _stop(experiment, f"start a new one with {_units(experiment, progress)}")
    if experiment.decided_by == "fixed horizon" and _planned(experiment):
        return f"{_wait(experiment, progress)}, {days_text(progress.more_days(experiment))}"
    if one.repair and experiment.decided_by == "always valid":
        return f"{_leave(experiment)}, or {one.repair}"
    return _wait(experiment, progress)


def _open(experiment: Experiment, progress: Progress) -> str:
    """A test that shows neither a difference nor that there is none."""
    always, wanted, days = experiment.decided_by == "always valid", wanted_text(experiment), progress.enough_days
    if not always and _planned(experiment) and progress.goes_on(experiment):
        return _wait(experiment, progress)
    running = experiment.stopped_at is None
    if days == 0:
        shown = f"{wanted} would most likely have shown by now"
        if always and running:
            return f"{shown}: stop the experiment, or {_leave(experiment)} to find a smaller one"
        return f"{shown}: {_stop(experiment, f'keep {experiment.control} unless a smaller one matters')}"
    if not always:
        new = f"start a new {'one' if running else 'experiment'} with {_units(experiment, progress)}"
        return f"stop the experiment, and if {wanted} matters, {new}" if running else f"if {wanted} matters, {new}"
    if not running:
        return f"if {wanted} matters, start a new experiment that runs longer"
    if days is not None and days > LONGEST_WAIT:
        return f"stop the experiment: to find {wanted} it needs years at the present traffic"
    return f"{_leave(experiment)}: to find {wanted} it needs {days_text(days)} at the present traffic"


def _wait(experiment: Experiment, progress: Progress) -> str:
    leave = _leave(experiment)
    if experiment.decided_by == "group sequential":
        look = f"look {progress.next_look(experiment)} of {experiment.looks}"
        return f"{leave} until {look}, which comes {_when(progress.more_days(experiment))}"
    if experiment.decided_by == "fixed horizon" and _planned(experiment):
        return f"{leave} to its planned end"
    return f"{leave}, and look again in a day"


def _planned(experiment: Experiment) -> bool:
    return experiment.planned_days is not None or experiment.planned_units is not None


def _when(days: float | None) -> str:
    if days is None:
        return "at a time that cannot be told yet"
    if days <= 1:
        return "within a day"
    return "in years" if days > LONGEST_WAIT else f"in about {counted(math.ceil(days - 1e-9), 'day')}"


def _leave(experiment: Experiment) -> str:
    return "start it again and leave it running" if experiment.state == "paused" else "leave it running"


def _stop(experiment: Experiment, then: str) -> str:
    """``then``, and to stop the experiment where it goes on."""
    return then if experiment.stopped_at is not None else f"stop the experiment and {then}"


def _units(experiment: Experiment, progress: Progress) -> str:
    """How many units a new experiment needs, rounded up to two digits."""
    kind, needed = experiment.unit_kind, progress.enough_units
    if needed is None:
        return f"more {kind}s"
    if needed > MOST_UNITS:
        return f"more than a billion {kind}s"
    step = 10 ** max(0, math.floor(math.log10(max(needed, 1.0))) - 1)
    return f"about {format_value(float(math.ceil(needed / step) * step))} {kind}s"


def _or(arms: Sequence[str]) -> str:
    return " or ".join(filter(None, (", ".join(arms[:-1]), arms[-1])))
