"""The command for the history of alerts: what fired, for how long, and how soon it was over."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from barograph.analytics.period import recent
from barograph.cli.desk import desk_of
from barograph.cli.options import DEFAULT_DIRECTORY, DataDir, From, Json, Last, ProjectName, To, existing, window_of
from barograph.cli.output import draw, print_json
from barograph.core.unit import counted, format_value
from barograph.core.zone import local_time, zone_of
from barograph.visualize.chart import Page, Part, Text
from barograph_client.clock import SystemClock
from barograph_client.errors import shorten

if TYPE_CHECKING:
    from barograph.alerts.incidents import History, RuleHistory

USUAL = "7d"
LOOKED_INTO = 3  # of the newest incidents the queries behind them are shown


def history(
    last: Last = None,
    start: From = None,
    end: To = None,
    limit: Annotated[int, typer.Option("--limit", min=1, max=1000, help="Incidents at most, the newest.")] = 20,
    project: ProjectName = None,
    data_dir: DataDir = Path(DEFAULT_DIRECTORY),
    json: Json = False,
) -> None:
    """List the incidents of a time: when each fired, for how long, and the mean time to resolve. 7 days unless asked.

    Behind the newest ones stand the queries that made them fire: `barograph trace ID` opens one.

    \b
    barograph alerts history --last 30d
    """
    window = window_of(last, start, end) or recent(USUAL, SystemClock().now())
    with desk_of(existing(data_dir), project) as desk:
        found, timezone = desk.history((window.start, window.end), limit)
    if json:
        print_json(found)
    else:
        draw(Page(title="Incidents", parts=_parts(found, timezone)), timezone=timezone)


def _parts(found: History, timezone: str) -> list[Part]:
    from barograph.dashboard.page.incidents import incident_table, query_parts

    zone = zone_of(timezone)

    def clock(moment: datetime) -> str:
        return local_time(moment, zone)

    over = f"{clock(found.window.start)} to {clock(min(found.window.end, SystemClock().now()))}"
    if not found.total.count:
        return [Text(text="No alert has fired."), Text(text=over, tone="muted")]
    told = counted(found.total.count, "incident")
    parts: list[Part] = [Text(text=f"{told}. {_resolved(found.total)}"), Text(text=over, tone="muted")]
    more = found.total.count - len(found.incidents)
    note = f"the newest {len(found.incidents)}; {more:,} more" if more else ""
    parts.append(incident_table(found.incidents, note=note))
    if len(found.rules) > 1:
        parts += [Text(text=f"{shorten(one.rule)}: {counted(one.count, 'incident')}. {_resolved(one)}", tone="muted")
                  for one in found.rules]  # fmt: skip
    if found.cut:
        parts.append(Text(text="There were more changes than are read: older incidents are missing.", tone="warning"))
    return parts + query_parts(found, zone, LOOKED_INTO)


def _resolved(one: RuleHistory) -> str:
    """How soon they were over, and how many are not counted in."""
    from barograph.dashboard.page.incidents import left_out

    still = f" {left_out(one)}, not counted." if left_out(one) else ""
    if one.mean_seconds_to_resolve is None:
        return f"None is resolved yet.{still}"
    mean = format_value(one.mean_seconds_to_resolve, "s")
    return f"Mean time to resolve {mean}, {format_value(one.resolved_seconds, 's')} in all.{still}"
