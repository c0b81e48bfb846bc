"""Who uses it, and who is unhappy? Active users and sessions by day, and the users with the most queries."""

from __future__ import annotations

from barograph.core.query import Filter, Window
from barograph.core.unit import counted
from barograph.dashboard.material import Material
from barograph.dashboard.page.shapes import calendar_bars, framed, guarded, nothing_yet, span_text, tiles_of
from barograph.visualize.chart import Cell, Column, Page, Panel, Part, Table, Text

LISTED = 12
_BESIDE = (("response_time.mean", "Response", "s"), ("error_rate", "Errors", "ratio"), ("cost", "Cost", "USD"),
           ("satisfaction", "Rating", "rating"))  # fmt: skip


def users_page(material: Material, window: Window) -> Page:
    """How many users and sessions there are, and the busiest users."""
    if not material.analytics.summary("queries", window, compare=None).n:
        return framed(material, "Users", window, nothing_yet(material, "query", "queries", window))
    active = material.analytics.summary("active_users", window, compare=None)
    if not active.value:
        told = Text(text="No query says who asked: record queries with user_id (a hash will do) to see users here.")
        return framed(material, "Users", window, [told])
    bars = [
        *guarded(lambda: [calendar_bars(material, "active_users", "Active users", window, counted=False,
                                        subtitle="different users")]),
        *guarded(lambda: [calendar_bars(material, "sessions", "Sessions", window, counted=False)]),
    ]  # fmt: skip
    parts: list[Part] = [
        tiles_of(material, window, ("active_users", "sessions", "queries", "satisfaction")),
        Panel(title="", parts=bars, side_by_side=True),
        *guarded(lambda: _busiest(material, window)),
    ]
    return framed(material, "Users", window, parts)


def _busiest(material: Material, window: Window) -> list[Part]:
    """The users with the most queries, and how each of them fares. Their ids are as they were sent."""
    found = material.analytics.breakdown("queries", "user_id", window, top=LISTED)
    named = [part for part in found.parts if part.key and not part.is_other]
    if not named:
        return []
    these = (Filter("user_id", "in", tuple(part.key for part in named)),)
    columns = [Column(title="User", most=32), Column(title="Queries"), Column(title="Share", unit="ratio")]
    rows: list[list[Cell]] = [[part.key, part.n, part.share] for part in named]
    for metric, title, unit in _BESIDE:
        values = material.analytics.breakdown(metric, "user_id", window, top=LISTED, where=these)
        known = {part.key: part.value for part in values.parts if not part.is_other}
        if any(value is not None for value in known.values()):
            columns.append(Column(title=title, unit=unit))
            for row, part in zip(rows, named, strict=True):
                row.append(known.get(part.key))
    others = sum(part.n for part in found.parts) - sum(part.n for part in named)
    note = f"{counted(others, 'more query', 'more queries')} by others, or by nobody named." if others else ""
    return [Table(title="Busiest users", subtitle=span_text(material, window), columns=columns, rows=rows, note=note)]
