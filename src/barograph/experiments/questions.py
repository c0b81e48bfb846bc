"""What is asked of the units of an experiment: one question a metric, the same for a comparison and for a guardrail."""

from __future__ import annotations

from datetime import datetime, timedelta

from barograph.core.query import Window
from barograph.core.units import UnitQuery
from barograph.experiments.design import Experiment
from barograph_client.errors import InvalidExperiment

_INSTANT = timedelta(microseconds=1)


def question_of(experiment: Experiment, metric: str, now: datetime, *, by: str = "day") -> UnitQuery:
    """The units' sums of one metric, from the start of the experiment up to its end or ``now``.

    Guardrails are not adjusted by what units did before, so that nothing is asked of it. Raises InvalidExperiment when
    it never started.
    """
    started = experiment.started_at
    if started is None:
        raise InvalidExperiment("the experiment has not started", hint="Start it; then there is something to compare.")
    # Half-open, and never empty: what happened in the very microsecond of the end belongs to it.
    window = Window(started, max(experiment.stopped_at or now, started) + _INSTANT)
    adjusted = by == "day" and metric not in [guardrail.metric for guardrail in experiment.guardrails]
    return UnitQuery(
        experiment=experiment.key,
        metric=metric,
        window=window,
        unit_kind=experiment.unit_kind,
        project=experiment.project,
        by=by,
        attribution_days=experiment.attribution_days,
        pre_days=experiment.pre_days if adjusted else 0,
        cap=experiment.caps.get(metric) if by != "age" else None,
        changed_at=tuple(change.at for change in experiment.reweighted),
    )
