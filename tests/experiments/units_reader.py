"""A Reader that answers unit questions from a list of event dictionaries: the plain meaning of a ``UnitQuery``."""

from __future__ import annotations

from datetime import datetime

from tests.support.dictionary_reader import DictionaryReader, Record, number

from barograph.core.units import UnitAnswer, UnitMoments, UnitQuery
from barograph.stats.summary import RatioSummary

ID_FIELDS = {"user": "user_id", "session": "session_id"}


class UnitsReader(DictionaryReader):
    """Exposed units by arm; each unit's sums over its events from its first exposure on."""

    def units(self, question: UnitQuery) -> UnitAnswer:
        metric = self.catalogue.get(question.metric)
        first: dict[str, datetime] = {}
        arms: dict[str, set[str]] = {}
        for event in self._inside(question, "exposure"):
            if event["experiment"] == question.experiment and event["unit_kind"] == question.unit_kind:
                unit, time = str(event["unit_id"]), event["time"]
                assert isinstance(time, datetime)
                first[unit] = min(first.get(unit, time), time)
                arms.setdefault(unit, set()).add(str(event["arm"]))
        measures = (metric.of, metric.per or metric.of)
        sums = {unit: [0.0, 0.0] for unit in first}
        for event in self._inside(question, *{measure.kind for measure in measures}):
            unit = str(event.get(ID_FIELDS[question.unit_kind], ""))
            if unit in first and event["time"] >= first[unit]:
                above, below = (number(event, measure) for measure in measures)
                sums[unit][0] += above or 0.0
                sums[unit][1] += (below or 0.0) if metric.per and metric.per.field == "" else float(below is not None)
        contaminated = sum(len(seen) > 1 for seen in arms.values())
        by_arm: dict[str, list[str]] = {}
        for unit, seen in arms.items():
            if len(seen) == 1:
                by_arm.setdefault(next(iter(seen)), []).append(unit)
        return UnitAnswer(
            arms=tuple(_moments(arm, [sums[unit] for unit in units]) for arm, units in sorted(by_arm.items())),
            contaminated=contaminated,
            first_exposure=min(first.values(), default=None),
            last_exposure=max(first.values(), default=None),
            complete_to=self.watermark(),
        )

    def _inside(self, question: UnitQuery, *kinds: str) -> list[Record]:
        window = question.window
        return [
            event
            for event in self.recorded
            if event["kind"] in kinds
            and event.get("project", "default") == question.project
            and window.start <= event["time"] < window.end
        ]


def _moments(arm: str, sums: list[list[float]]) -> UnitMoments:
    summary = RatioSummary.from_values([above for above, _ in sums], [below for _, below in sums])
    return moments(arm, summary, sum(below > 0 for _, below in sums))


def moments(arm: str, summary: RatioSummary, measured: int | None = None) -> UnitMoments:
    """A summary as the store would answer it."""
    return UnitMoments(
        arm=arm,
        units=summary.n,
        numerator_mean=summary.numerator_mean,
        denominator_mean=summary.denominator_mean,
        numerator_m2=summary.numerator_m2,
        denominator_m2=summary.denominator_m2,
        cross_m2=summary.cross_m2,
        measured_units=summary.measured_units if measured is None else measured,
    )
