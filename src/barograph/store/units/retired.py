"""What an answer about units misses where raw events were retired, in sentences for people."""

from __future__ import annotations

from datetime import date

from barograph.core.units import PopulationQuery, UnitQuery
from barograph.store.units.sums import rolled_up


def retired_notes(question: UnitQuery | PopulationQuery, last: date | None) -> tuple[str, ...]:
    """The notes on a question; ``last`` is the newest day of arrival whose raw events are gone, None for none."""
    if last is None or question.window.start.date() > last:
        return ()
    gone = f"raw events that arrived up to {last} were retired"
    if not rolled_up(question.unit_kind):
        return (f"{gone}; what a {question.unit_kind} did is read from these alone.",)
    if isinstance(question, PopulationQuery):
        return ()
    missing = f"{gone}; a unit exposed before misses what it did on the day of its exposure"
    if question.attribution_days is not None:
        missing += ", and on the day on which its attribution ends"
    if any(pause.start.date() <= last for pause in question.pauses):
        missing += ", and on days with a pause"
    if question.by.startswith("tag."):
        missing += ", and has no tag"
    return (f"{missing}.",)
