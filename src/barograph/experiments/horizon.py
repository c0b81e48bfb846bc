"""Up to when the data of an experiment count.

A verdict at a fixed horizon is made of what there was at the planned end, whenever one looks: each later look at more
data would be another test, and each has its own chance to be wrong. Days are those on which it ran: a pause puts the
end off, and whoever pauses it must not do so for what has shown. Asked by the framework before it asks the store.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta

from barograph.experiments.analysis.sequential import day_of
from barograph.experiments.design import Experiment

_ONE_DAY = timedelta(days=1)


def horizon(experiment: Experiment, now: datetime, by_day: Sequence[tuple[str, int]] = ()) -> datetime | None:
    """The planned end, where it has come and the verdict rests on it; None where all data until now count.

    What happens at the end itself is past it.

    ``by_day`` counts the units exposed on each UTC day, oldest first. A plan of units ends with the UTC day on which
    the last of them came.
    """
    if experiment.decided_by == "always valid" or experiment.started_at is None:
        return None
    ends = []
    if experiment.planned_days is not None:
        if experiment.days_running(now) < experiment.planned_days:
            return None
        pauses = timedelta(seconds=experiment.paused_seconds)
        ends.append(experiment.started_at + timedelta(days=experiment.planned_days) + pauses)
    if experiment.planned_units is not None:
        full = _day_of_unit(experiment.planned_units, by_day)
        if full is None:
            return None
        ends.append(full + _ONE_DAY)
    return max(ends) if ends and max(ends) <= now else None


def _day_of_unit(planned: int, by_day: Sequence[tuple[str, int]]) -> datetime | None:
    """The first moment of the UTC day on which so many units had come."""
    units = 0
    for day, count in by_day:
        units += count
        if units >= planned:
            return day_of(day)
    return None
