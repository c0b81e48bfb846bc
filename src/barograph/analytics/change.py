"""A value against an earlier period's: how much, is it good, and is it more than noise.

The judgement needs no raw events: shares are compared by Newcombe's interval, everything else by cutting both
periods into pieces and looking at how much the pieces differ among themselves (batch means; the pieces take in that
neighbouring queries resemble each other and that a day has a rhythm). A total is never better or worse by itself:
it follows how many there were. With a period that the records do not reach back over nothing is compared. Called by
``summary`` and ``breakdown``; the command line asks ``nothing_to_compare``.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from typing import Literal

from msgspec import Struct

from barograph.core.event import EARLIEST
from barograph.core.metric import Metric
from barograph.core.query import MetricQuery, MetricRow, Window, buckets
from barograph.core.reader import Reader
from barograph.stats.comparison import compare_means, compare_ratios
from barograph.stats.estimate import Estimate
from barograph.stats.proportions import newcombe_interval
from barograph.stats.summary import RatioSummary, Summary

Direction = Literal["better", "worse", "neutral", "same"]

FEW = 20  # with fewer events in either period a change is noise until shown otherwise
PIECES = 12  # that a period is cut into, about
FEWEST_PIECES = 4  # that have data, for the differences among them to mean anything
ADDITIVE = ("count", "sum", "rate")  # a piece without events counts as zero
UNJUDGED = ("distinct", "last", "min", "max")
TOTALS = (*ADDITIVE, "distinct")  # as large as the time and the traffic they are counted over
_MISSED_BY_TOTALS = 0.05  # of the earlier period may lie before the first record: a total is then off by as much
_MISSED_BY_OTHERS = 0.9
_RECORDS = {"query": "queries", "feedback": "feedback"}  # what counts the events of a kind


class Change(Struct, frozen=True, kw_only=True):
    """From ``before`` to the value now.

    ``relative`` is None when there is nothing to divide by; ``direction`` follows the metric's polarity, and is
    neutral for a total;
    ``inside_noise`` is None when it was not judged; ``note`` says in a sentence how it was, or why not.
    """

    before: float | None
    before_n: int
    window: Window
    absolute: float | None = None
    relative: float | None = None
    direction: Direction = "neutral"
    inside_noise: bool | None = None
    note: str = ""


def compare(
    metric: Metric,
    now: MetricRow,
    before: MetricRow | None,
    earlier: Window,
    pieces: tuple[Sequence[MetricRow], Sequence[MetricRow]] | None = None,
    every: float = 0.0,
) -> Change:
    """The change between two rows; ``pieces`` are both periods cut into buckets of ``every`` seconds."""
    if before is None or before.value is None or now.value is None:
        missing = "this" if now.value is None else "the earlier"
        n = before.n if before else 0
        value = before.value if before else None
        return Change(before=value, before_n=n, window=earlier, note=f"Nothing was measured in {missing} period.")
    absolute = now.value - before.value
    noise, note = _judge(metric, now, before, earlier, pieces, every)
    return Change(
        before=before.value,
        before_n=before.n,
        window=earlier,
        absolute=absolute,
        relative=absolute / abs(before.value) if before.value else None,
        direction=_direction(metric, absolute),
        inside_noise=noise,
        note=note,
    )


def nothing_to_compare(reader: Reader, metric: Metric, earlier: Window, project: str = "default") -> str:
    """Why the earlier period cannot be compared with, in a sentence; '' when the records reach back over it.

    Totals need all of it, anything else a tenth. Raises EngineError.
    """
    missed = _MISSED_BY_TOTALS if metric.aggregation in TOTALS else _MISSED_BY_OTHERS
    counted = _RECORDS.get(metric.of.kind, metric.name)

    def recorded(window: Window) -> bool:
        return reader.query(MetricQuery(metric=counted, window=window, project=project)).n > 0

    needed = earlier.start + timedelta(seconds=missed * earlier.seconds)
    if needed > EARLIEST and recorded(Window(EARLIEST, needed)):
        return ""
    if recorded(earlier):
        return "The records begin inside the earlier period: there is no whole one to compare with."
    return "There are no records of the earlier period to compare with."


def piece_seconds(window: Window) -> float:
    """The length of the pieces: a twelfth of the window, in whole minutes where it is long enough for them."""
    exact = window.seconds / PIECES
    return max(60.0, round(exact / 60) * 60.0) if window.seconds >= 720 else exact


def _direction(metric: Metric, absolute: float) -> Direction:
    if absolute == 0:
        return "same"
    if metric.better == "neutral" or metric.aggregation in TOTALS:
        return "neutral"
    return "better" if (absolute > 0) == (metric.better == "higher") else "worse"


def _judge(
    metric: Metric,
    now: MetricRow,
    before: MetricRow,
    earlier: Window,
    pieces: tuple[Sequence[MetricRow], Sequence[MetricRow]] | None,
    every: float,
) -> tuple[bool | None, str]:
    if metric.aggregation in UNJUDGED:
        return None, f"A change of a {metric.aggregation} value is shown without a judgement."
    if min(now.n, before.n) < FEW:
        return True, f"Fewer than {FEW} events in one of the periods ({now.n} now, {before.n} before)."
    shares = metric.aggregation == "ratio" and 0 <= (now.value or 0) <= 1 and 0 <= (before.value or 0) <= 1
    if shares:
        counts = (round((now.value or 0) * now.n), now.n, round((before.value or 0) * before.n), before.n)
        low, high = newcombe_interval(*counts)
        return low <= 0 <= high, "Newcombe's 95 % interval of the difference of two shares."
    if pieces is None:
        return None, "Not judged: the periods were not cut into pieces."
    estimate = _over_pieces(metric, Window(now.start, now.end), earlier, pieces, every)
    effect = estimate.absolute
    if effect is None or effect.low is None or effect.high is None:
        return None, f"Not judged: {'; '.join(estimate.warnings) or 'too few pieces have data'}."
    return effect.low <= 0 <= effect.high, f"95 % interval over pieces of {every / 60:g} min of both periods."


def _over_pieces(
    metric: Metric,
    window: Window,
    earlier: Window,
    pieces: tuple[Sequence[MetricRow], Sequence[MetricRow]],
    every: float,
) -> Estimate:
    if metric.aggregation in ADDITIVE:
        return compare_means(_rates(metric, pieces[0], window, every), _rates(metric, pieces[1], earlier, every))
    measured = [[(row.value, row.n) for row in rows if row.value is not None and row.n] for rows in pieces]
    if min(map(len, measured)) < FEWEST_PIECES:
        return compare_means(Summary(), Summary())
    if metric.aggregation == "quantile":  # of a piece with few events it is coarse, and the spread among pieces says so
        return compare_means(*(Summary.from_values([value for value, _ in rows]) for rows in measured))
    now, before = (
        RatioSummary.from_values([value * n for value, n in rows], [float(n) for _, n in rows]) for rows in measured
    )
    return compare_ratios(now, before)


def _rates(metric: Metric, rows: Sequence[MetricRow], window: Window, every: float) -> Summary:
    """Per second of each piece that is at least half as long as it should be; a piece without a row is zero."""
    found = {row.start: row.value for row in rows}
    values: list[float] = []
    for piece in buckets(window, every):
        if piece.seconds >= every / 2:
            value = found.get(piece.start) or 0.0
            values.append(value if metric.aggregation == "rate" else value / piece.seconds)
    return Summary.from_values(values)
