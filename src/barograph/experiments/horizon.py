"""Up to when the data of an experiment count.

A verdict at a fixed horizon is made of what there was at the planned end, and one at a planned look of what there was
then, whenever one looks: each later look at more data would be another test, and each has its own chance to be wrong.
Days are those on which it ran: a pause puts the end off, and whoever pauses it must not do so for what has shown. Asked
by the framework before it asks the store.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta

from barograph.experiments.analysis.sequential import day_of
from barograph.experiments.design import Experiment

_ONE_DAY = timedelta(days=1)


def horizon(
    experiment: Experiment, now: datetime, by_day: Sequence[tuple[str, int]] = (), share: float = 1.0
) -> datetime | None:
    """The planned end, where it has come and the verdict rests on it; None where all data until now count.

    What happens at the end itself is past it. ``share`` is the part of the plan that it is the end of.

    ``by_day`` counts the units exposed on each UTC day, oldest first. A plan of units ends with the UTC day on which
    the last of them came.
    """
    if experiment.decided_by == "always valid" or experiment.started_at is None:
        return None
    ends = []
    if experiment.planned_days is not None:
        days = share * experiment.planned_days
        if experiment.days_running(now) < days:
            return None
        ends.append(_moment(experiment, experiment.started_at, days))
    if experiment.planned_units is not None:
        full = _day_of_unit(share * experiment.planned_units, by_day)
        if full is None:
            return None
        ends.append(full + _ONE_DAY)
    return max(ends) if ends and max(ends) <= now else None


def _moment(experiment: Experiment, started: datetime, days: float) -> datetime:
    """When it had run so many days; a pause that began before then puts it off."""
    end = started + timedelta(days=days)
    for pause in experiment.pauses:
        if pause.start < end:
            end += pause.end - pause.start
    return end


def looks_passed(
    experiment: Experiment, now: datetime, by_day: Sequence[tuple[str, int]] = ()
) -> tuple[tuple[int, datetime], ...]:
    """The planned looks that have come, by number, and their ends, the first one first; ``by_day`` as for ``horizon``.

    Of looks that come at the same time, as where the units of two of them come on one day, there is the last.
    """
    found: dict[datetime, int] = {}
    for look in range(1, experiment.looks + 1):
        end = horizon(experiment, now, by_day, look / experiment.looks)
        if end is not None:
            found[end] = look
    return tuple((look, end) for end, look in found.items())


def _day_of_unit(planned: float, by_day: Sequence[tuple[str, int]]) -> datetime | None:
    """The first moment of the UTC day on which so many units had come."""
    units = 0
    for day, count in by_day:
        units += count
        if units >= planned:
            return day_of(day)
    return None
