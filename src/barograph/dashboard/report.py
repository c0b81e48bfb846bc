"""A report on the last hours: findings, key numbers, charts, the experiments, the worst queries, and the method.

Asks what the pages ask, in the order in which somebody reads who was not there. Handed to ``dashboard_interface``,
which draws it.
"""

from __future__ import annotations

from msgspec.structs import replace

from barograph import __version__
from barograph.analytics.change import Change
from barograph.analytics.summary import MetricSummary
from barograph.core.query import Filter, Period, Window
from barograph.core.unit import counted, format_value
from barograph.dashboard.material import Material
from barograph.dashboard.page.experiments.courses import day_course
from barograph.dashboard.page.experiments.page import MOST_SHOWN, comparison_of
from barograph.dashboard.page.experiments.summary import experiment_parts
from barograph.dashboard.page.overview import by_day, modelled_line
from barograph.dashboard.page.shapes import (
    AGAINST,
    DAY,
    earlier_period,
    guarded,
    marks_of,
    nothing_yet,
    span_text,
    tile_of,
    worst_table,
)
from barograph.dashboard.page.traffic import Traffic, errors_chart, latency_chart, traffic, volume_chart
from barograph.experiments.comparison import Comparison
from barograph.visualize.chart import Page, Panel, Part, Text, Tile, Tiles
from barograph_client.errors import InvalidQuery, shorten

MOST_HOURS = 366 * 24.0
MOST_FINDINGS = 5
METRICS = ("queries", "response_time.p95", "error_rate", "satisfaction", "cost")
WORST = 8
_PERIODS: dict[Period, str] = {
    "day": "the same time a day earlier", "week": "the same time a week earlier", "previous": "the time just before",
}  # fmt: skip


def build_report(material: Material, hours: float) -> Page:
    """The report. Raises InvalidQuery for a time that cannot be reported on, or EngineError."""
    if not 0 < hours <= MOST_HOURS:
        raise InvalidQuery("a report is on some hours, a year at most", hint="168 is a week.", value=hours)
    window = material.recent(hours * 3600.0)
    start, end = material.local(window.start), material.local(min(window.end, material.now()))
    title, aside = f"Report on the {span_text(material, window)}", f"{start:%Y-%m-%d %H:%M} to {end:%Y-%m-%d %H:%M %Z}"
    seen = traffic(material, window, compare="week" if window.seconds <= 7 * DAY else "previous")
    if seen.total == 0:
        return Page(title=title, aside=aside, parts=nothing_yet(material, "query", "queries", window))
    period = earlier_period(window)
    found = [material.analytics.summary(metric, window, compare=period) for metric in METRICS]
    running = material.experiments.list("running")
    compared = [told for one in running[:MOST_SHOWN] if (told := comparison_of(material, one.key))]
    parts: list[Part] = [
        Panel(title="Findings", parts=_findings(material, found, period, compared, window)),
        Tiles(tiles=[_box(one, period) for one in found if one.n], layout="boxes"),
        *_charts(material, seen, window),
        *[
            Panel(title=f"Experiment: {one.title}", parts=[*experiment_parts(one), *day_course(one)])
            for one in compared
        ],
        *_more(len(running) - MOST_SHOWN),
        *guarded(lambda: _worst(material, window)),
        Panel(title="Method", parts=_method(material, seen, window, period)),
    ]
    return Page(title=title, aside=aside, parts=parts)


def _more(experiments: int) -> list[Part]:
    """How many running experiments the report leaves out."""
    if experiments <= 0:
        return []
    are = counted(experiments, "more experiment runs", "more experiments run")
    return [Text(text=f"{are}; `barograph show experiments` lists them.", tone="muted")]


def _box(summary: MetricSummary, period: Period) -> Tile:
    """A tile that fits a box: the relative change alone, where there is one."""
    tile = tile_of(summary, against=AGAINST[period])
    return replace(tile, delta_absolute=None) if tile.delta is not None else tile


def _findings(
    material: Material, found: list[MetricSummary], period: Period, compared: list[Comparison], window: Window
) -> list[Part]:
    """Three to five sentences, what is more than noise first."""
    told = sorted((one for one in found if one.n), key=_weight)
    sentences = [finding(one, period) for one in told]
    fired = material.events("alert", window, where=(Filter("state", "eq", ("firing",)),), limit=100)
    extra: list[str] = []
    changes = [one.change for one in told if one.change]
    if changes and not any(change.before_n for change in changes):
        extra.append(f"Not compared with {_PERIODS[period]}. {changes[0].note}")
    extra += [f"{one.title}: {one.verdict.sentence}" for one in compared[:1]]
    if fired.items:
        count = f"{len(fired.items)}{' or more' if fired.cursor else ''}"
        rules = sorted({shorten(item.get("rule") or "", 40) for item in fired.items})
        named = ", ".join(rules[:3]) + (" …" if len(rules) > 3 else "")
        extra.append(f"Alerts fired {count} time{'' if len(fired.items) == 1 else 's'}: {named}.")
    kept = sentences[: MOST_FINDINGS - len(extra)]
    return [Text(text=f"– {sentence}") for sentence in [*kept, *extra]]


def _weight(summary: MetricSummary) -> int:
    change = summary.change
    if change is None or change.absolute is None or not change.before_n:
        return 2
    return 0 if change.inside_noise is False and change.direction == "worse" else 1 if not change.inside_noise else 2


def finding(summary: MetricSummary, period: Period) -> str:
    """A metric in a sentence: number and n, change against which number and n, and what to think of it."""
    is_count = summary.n == summary.value
    size = "" if is_count else f" (n={summary.n:,})"
    start = f"{summary.title}: {format_value(summary.value, summary.unit)}{size}"
    change = summary.change
    if change is None or change.before is None or not change.before_n:
        return f"{start}."
    before = format_value(change.before, summary.unit)
    then = f"{before} at {_PERIODS[period]}" if is_count else f"{before} at {_PERIODS[period]} (n={change.before_n:,})"
    if change.absolute == 0:
        return f"{start}, unchanged from {then}."
    way = "up" if (change.absolute or 0.0) > 0 else "down"
    size = f" {format_value(abs(change.relative), 'ratio')}" if change.relative is not None else ""
    return f"{start}, {way}{size} from {then}{_judged(change)}."


def _judged(change: Change) -> str:
    if change.inside_noise is None:
        return ""
    if change.inside_noise:
        return "; the difference is within noise"
    certain = "its 95 % interval excludes no change"
    return f"; {certain}" if change.direction in ("neutral", "same") else f"; that is {change.direction}, {certain}"


def _charts(material: Material, seen: Traffic, window: Window) -> list[Part]:
    marks = marks_of(material, window)
    return [
        *guarded(lambda: [latency_chart(material, seen, marks)]),
        volume_chart(seen),
        *errors_chart(seen, marks),
        *by_day(material, window),
    ]


def _worst(material: Material, window: Window) -> list[Part]:
    slowest = material.analytics.worst("slowest", window, limit=WORST)
    failed = material.analytics.worst("errors", window, limit=WORST)
    tables: list[Part] = []
    if slowest:
        tables.append(worst_table("slowest", "Slowest queries", slowest, "", short=True))
    if failed:
        tables.append(worst_table("errors", "Newest errors", failed, ""))
    return tables


def _method(material: Material, seen: Traffic, window: Window, period: Period) -> list[Part]:
    """What the numbers rest on, so that somebody else can make them again."""
    start, end = material.local(window.start), material.local(min(window.end, material.now()))
    complete = material.local(material.reader.watermark())
    account = ", ".join(f"{count:,} {name}" for name, count in material.account.items())
    lines = [
        f"Time: {start:%Y-%m-%d %H:%M:%S} up to {end:%Y-%m-%d %H:%M:%S %Z} ({material.settings.timezone}); data "
        f"complete to {complete:%Y-%m-%d %H:%M:%S}. Project {shorten(material.settings.project, 60)}, no filter; "
        f"n={counted(seen.total, 'query', 'queries')}.",
        f"Compared with {_PERIODS[period]}. Noise is judged by 95 % intervals: of two shares by Newcombe's method, of "
        "the rest over pieces of both periods.",
        "Percentiles are merged from sketches (relative error 1 % at most), rates are ratios of sums, and what was not "
        "measured is left out, not zero.",
        *([f"Events of callers since the beginning: {account}."] if account else []),
        *(f"Mind: {line}" for line in (*material.health, material.retired_note(window)) if line),
        f"Made by Barograph {__version__} at {material.local(material.now()):%Y-%m-%d %H:%M:%S %Z}; the same again: "
        f"barograph report --hours {window.seconds / 3600:g}",
    ]
    return [Text(text=line, tone="muted") for line in lines] + modelled_line(material)
