"""Is it healthy now, and what changed? The six lines, then the trends behind them.

Asks ``analytics`` for the facts and the series, ``experiments`` for what runs, the reader for annotations and for
what is modelled; some thirty questions in all, whatever the window.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta

from barograph.alerts.active_alert import ActiveAlert
from barograph.analytics.cost import Spend
from barograph.analytics.overview import Overview
from barograph.analytics.status import Status
from barograph.core.query import Window
from barograph.core.unit import counted, format_value
from barograph.dashboard.material import Material
from barograph.dashboard.page.experiments.intervals import interval_plot
from barograph.dashboard.page.experiments.page import comparison_of
from barograph.dashboard.page.experiments.words import progress_note
from barograph.dashboard.page.shapes import (
    DAY,
    calendar_bars,
    calendar_for,
    guarded,
    marks_of,
    span_text,
    tile_of,
    worst_table,
    zoned,
)
from barograph.dashboard.page.traffic import Traffic, errors_chart, latency_chart, traffic, volume_chart
from barograph.dashboard.page.welcome import welcome
from barograph.experiments.comparison import Comparison
from barograph.experiments.design import Experiment
from barograph.visualize.chart import Page, Panel, Part, Text, Tile, Tiles, Tone

MOST_ALERTS = 8
MOST_EXPERIMENTS = 3
WORST = 8
NEWEST = 100  # queries looked at for fields that are modelled

_TONES: dict[str, Tone] = {"healthy": "good", "warning": "warning", "critical": "critical", "no data": "title"}

Running = Sequence[tuple[Experiment, Comparison | None]]


def overview_page(material: Material, window: Window) -> Page:
    """The whole page; a directory without a query gets a first step instead of zeros."""
    alerts = material.alerts.active()
    facts = material.analytics.overview(alerts, facts=material.facts)
    head = Page(
        title=f"System Status: {facts.status.state.upper()}",
        aside=_as_of(material, facts),
        tone=_TONES[facts.status.state],
        parts=(),
    )
    if facts.status.last_query is None:
        return Page(
            title=head.title,
            aside=head.aside,
            tone=head.tone,
            parts=[*_reasons(facts.status), *welcome(material.account)],
        )
    known = material.experiments.list("running")
    running = [(one, comparison_of(material, one.key)) for one in known[:MOST_EXPERIMENTS]]
    parts: list[Part] = [
        *_reasons(facts.status),
        Tiles(tiles=[*_lines(material, facts), *_experiments(running, len(known))]),
        *_alerts(alerts, material),
        *modelled_line(material),
        *_trends(material, window, facts),
        *_experiment(running),
    ]
    return Page(title=head.title, aside=head.aside, tone=head.tone, parts=parts)


def _as_of(material: Material, facts: Overview) -> str:
    now, complete = material.local(facts.at), material.local(facts.complete_to)
    form = "%H:%M:%S" if now.date() == complete.date() else "%Y-%m-%d %H:%M:%S"
    return f"{now:%Y-%m-%d %H:%M %Z} · data complete to {complete.strftime(form)}"


def _reasons(status: Status) -> list[Part]:
    """Why it is not healthy. Alerts have a line of their own below."""
    tones: dict[str, Tone] = {"warning": "warning", "critical": "critical"}
    return [
        Text(text=f"– {reason.sentence}", tone=tones[reason.level])
        for reason in status.reasons
        if reason.level != "healthy" and reason.about != "alert"
    ]


def _lines(material: Material, facts: Overview) -> list[Tile]:
    """Response time, satisfaction and cost, a line each."""
    return [_response_time(material, facts), _satisfaction(facts), _cost(facts.cost.day)]


def _response_time(material: Material, facts: Overview) -> Tile:
    mean = tile_of(facts.response_time, against="yesterday")
    if facts.response_time.n:
        note = f"p95 {format_value(facts.response_time_p95.value, 's', headed=True)}   errors {_rate(facts)}"
    elif facts.queries.n:
        note = f"no query of the last 24 h says how long it took   errors {_rate(facts)}"
    else:
        last = facts.status.last_query
        note = "no query in the last 24 h" + (f", the last one was at {zoned(material, last)}" if last else "")
    return Tile(
        title="Average Response Time", value=mean.value, unit="s", delta=mean.delta,
        delta_absolute=mean.delta_absolute, delta_against=mean.delta_against, note=note,
    )  # fmt: skip


def _rate(facts: Overview) -> str:
    return format_value(facts.error_rate.value if facts.error_rate.n else None, "ratio", headed=True, ascii_only=True)


def _satisfaction(facts: Overview) -> Tile:
    tile = tile_of(facts.satisfaction, against="last week")
    return Tile(
        title="User Satisfaction", value=tile.value, unit="rating", delta=tile.delta,
        delta_absolute=tile.delta_absolute, delta_against=tile.delta_against, n=tile.n,
        note="" if tile.n else "no rating in the last 7 d",
    )  # fmt: skip


def _cost(day: Spend) -> Tile:
    limit = format_value(day.budget, "USD")
    aside = {
        "within": f"within budget {limit}",
        "likely over": f"within budget {limit} so far",
        "over": f"over budget {limit}",
        "no budget": "no budget set",
        "no data": "no priced query today",
    }[day.state]
    notes = []
    if day.state == "likely over":
        notes.append(f"heading for {format_value(day.forecast, 'USD')}")
    if day.unpriced:
        some = f"{day.unpriced:,} of {counted(day.queries, 'query', 'queries')}"
        notes.append(f"{some} {'has' if day.unpriced == 1 else 'have'} no price")
    return Tile(title="Daily Cost", value=day.spent, unit="USD", aside=aside, note="   ".join(notes))


def _experiments(running: Running, known: int) -> list[Tile]:
    """The experiments that were compared, of so many that run."""
    if not running:
        return [Tile(title="Active A/B Test", value="none")]
    tiles = [
        Tile(title="Active A/B Test", value=one.name, aside=_split(one), note=progress_note(compared))
        for one, compared in running
    ]
    more = known - len(running)
    return [*tiles, Tile(title="Active A/B Test", value=f"and {more} more")] if more > 0 else tiles


def _split(experiment: Experiment) -> str:
    return "interleaved" if experiment.kind == "interleaving" else f"{experiment.split} split"


def _alerts(alerts: Sequence[ActiveAlert], material: Material) -> list[Part]:
    if not alerts:
        rules = len(material.alerts.rules())
        return [Text(text=f"No alert is active; {counted(rules, 'rule is', 'rules are')} watched.",
                     tone="muted")]  # fmt: skip
    tones: dict[str, Tone] = {"critical": "critical", "warning": "warning"}
    told: list[Part] = [
        Text(text=alert.sentence, tone="muted" if alert.kept_back else tones.get(alert.severity, "plain"))
        for alert in alerts[:MOST_ALERTS]
    ]
    more = len(alerts) - MOST_ALERTS
    return [*told, Text(text=f"{more} more active: see the alerts page.", tone="warning")] if more > 0 else told


def modelled_line(material: Material) -> list[Part]:
    """Which fields of the newest queries were modelled, not measured: said wherever they are shown."""
    fields: set[str] = set()
    for item in material.events("query", material.always(), limit=NEWEST).items:
        names = item.get("modelled")
        if isinstance(names, list | tuple):
            fields.update(str(name) for name in names)
    if not fields:
        return []
    named = ", ".join(sorted(fields)[:12])
    return [Text(text=f"Modelled, not measured: {named}.", tone="muted")]


def _trends(material: Material, window: Window, facts: Overview) -> list[Part]:
    """What changed, and the charts behind it, over the page's window."""
    seen = traffic(material, window)
    if seen.total == 0:
        return [Text(text=f"No query in the {span_text(material, window)}: a longer time shows older ones.",
                     tone="muted")]  # fmt: skip
    marks = marks_of(material, window)
    parts: list[Part] = [
        Panel(title="What changed, last 24 h", parts=[Tiles(tiles=_changes(material, facts, seen))]),
        Panel(
            title=f"Trends, {span_text(material, window)}",
            parts=[
                *guarded(lambda: [latency_chart(material, seen, marks)]),
                volume_chart(seen),
                *errors_chart(seen, marks),
            ],
        ),
    ]
    parts += by_day(material, window)
    parts += guarded(lambda: _worst(material, window))
    return parts


def by_day(material: Material, window: Window) -> list[Part]:
    """Satisfaction and cost by day, beside each other where there is room; nothing for a window within a day."""
    if window.seconds <= DAY:
        return []
    limit = material.settings.budget.daily
    budget = f"budget {format_value(limit, 'USD')} a day" if limit else ""
    bars = [
        *guarded(lambda: [calendar_bars(material, "satisfaction", "Satisfaction", window, subtitle="mean rating")]),
        *guarded(lambda: [calendar_bars(material, "cost", "Cost", window, subtitle=budget, counted=False)]),
    ]
    return [Panel(title=f"By {calendar_for(window)}", parts=bars, side_by_side=True)]


def _changes(material: Material, facts: Overview, seen: Traffic) -> list[Tile]:
    """The day against yesterday (ratings: the week against the last), with the verdict and the way there."""
    since = seen.window.end - timedelta(seconds=DAY)
    lately = [value for (start, _), value in zip(seen.times, seen.counts, strict=True) if start >= since]
    return [
        tile_of(facts.queries, against="yesterday", spark=lately),
        tile_of(facts.response_time_p95, against="yesterday"),
        tile_of(facts.error_rate, against="yesterday"),
        tile_of(material.analytics.summary("cost", "24h", compare="day"), against="yesterday"),
        tile_of(facts.satisfaction, against="last week", title="User satisfaction, 7 d"),
    ]


def _worst(material: Material, window: Window) -> list[Part]:
    slowest = material.analytics.worst("slowest", window, limit=WORST)
    return (
        [worst_table("slowest", "Slowest queries", slowest, span_text(material, window), short=True)] if slowest else []
    )


def _experiment(running: Running) -> list[Part]:
    """The running experiments' intervals."""
    parts: list[Part] = []
    for _, compared in running:
        if compared is not None:
            parts.append(
                Panel(
                    title=f"Experiment: {compared.title}",
                    parts=[Text(text=compared.verdict.sentence), *interval_plot(compared, short=True)],
                )
            )
    return parts
