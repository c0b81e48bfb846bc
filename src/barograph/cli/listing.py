"""The command that lists single events: ``queries``, a line each, and with ``--kind`` the events of another kind."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import Annotated, Any

import typer

from barograph.analytics.period import recent
from barograph.cli.desk import Listed, Search, desk_of
from barograph.cli.options import (
    DEFAULT_DIRECTORY,
    Charset,
    DataDir,
    From,
    Json,
    Last,
    ProjectName,
    To,
    Width,
    existing,
    window_of,
)
from barograph.cli.output import draw, note, print_json, say
from barograph.core.zone import local_time, zone_of
from barograph.visualize.charset import choose
from barograph.visualize.chart import Cell, Column, Table
from barograph_client.clock import SystemClock
from barograph_client.errors import InvalidQuery

ID = (8, 13)  # characters of an id that are shown: 13 of a UUIDv7 are its millisecond
BOTH_FROM = 100  # columns from which on a pipeline and a model stand beside the question

_TEXT = 200
_MODEL = Column(title="Model", most=14)
_PIPELINE = Column(title="Pipeline", most=14)
# What is shown of a kind: fields and their columns, the text that gives way to the width last.
SHOWN: dict[str, dict[str, Column]] = {
    "query": {
        "status": Column(title="Status", most=9), "response_time": Column(title="Took", unit="s"), "model": _MODEL,
        "pipeline": _PIPELINE, "query": Column(title="Question", most=_TEXT),
    },
    "feedback": {
        "rating": Column(title="Rating", unit="rating"), "user_id": Column(title="User", most=12), "model": _MODEL,
        "pipeline": _PIPELINE, "comment": Column(title="Comment", most=_TEXT),
    },
    "score": {
        "name": Column(title="Name", most=20), "value": Column(title="Value", unit="score"),
        "judge": Column(title="Judge", most=14), "comment": Column(title="Comment", most=_TEXT),
    },
    "annotation": {
        "category": Column(title="Category", most=10), "title": Column(title="Title", most=40),
        "text": Column(title="Text", most=_TEXT),
    },
    "span": {
        "status": Column(title="Status"), "duration": Column(title="Took", unit="s"),
        "span_kind": Column(title="Kind", most=10), "name": Column(title="Name", most=_TEXT),
    },
    "metric": {
        "value": Column(title="Value"), "unit": Column(title="Unit", most=10), "name": Column(title="Name", most=_TEXT),
    },
    "exposure": {
        "arm": Column(title="Arm", most=16), "unit_id": Column(title="Unit", most=20),
        "experiment": Column(title="Experiment", most=_TEXT),
    },
    "alert": {
        "state": Column(title="State", most=9), "severity": Column(title="Severity", most=9),
        "rule": Column(title="Rule", most=24), "message": Column(title="Message", most=_TEXT),
    },
    "system": {
        "cpu_percent": Column(title="CPU", unit="%"), "memory_percent": Column(title="Memory", unit="%"),
        "disk_percent": Column(title="Disk", unit="%"), "host": Column(title="Host", most=_TEXT),
    },
}  # fmt: skip
PLURAL = {"query": "queries", "feedback": "feedback"}


def queries(
    last: Last = None,
    start: From = None,
    end: To = None,
    where: Annotated[
        list[str] | None, typer.Option("--where", "-w", help="A filter, field:op:value, as status:eq:error.")
    ] = None,
    order: Annotated[
        str, typer.Option("--order", help="Newest first, or by a number of the event: response_time, cost.")
    ] = "time",
    ascending: Annotated[bool, typer.Option("--ascending", help="The oldest or smallest first.")] = False,
    limit: Annotated[int, typer.Option("--limit", "-n", help="Rows at most.", min=1, max=1000)] = 20,
    kind: Annotated[str, typer.Option("--kind", help=f"{', '.join(SHOWN)}.")] = "query",
    charset: Charset = None,
    width: Width = None,
    project: ProjectName = None,
    data_dir: DataDir = Path(DEFAULT_DIRECTORY),
    json: Json = False,
) -> None:
    """List single queries: when, which, how it ended, how long it took, what was asked.

    \b
    barograph queries --last 1h --where status:eq:error
    barograph queries --last 7d --order response_time --limit 5
    barograph queries --kind feedback --where rating:lte:2
    """
    if kind not in SHOWN:
        raise InvalidQuery("there is no such kind of event", hint=f"Use one of {', '.join(SHOWN)}.", value=kind)
    window = window_of(last, start, end) or recent("24h", SystemClock().now())
    asked = Search(
        kind=kind, window=(window.start, window.end), where=where or [], order=order, ascending=ascending, limit=limit
    )  # fmt: skip
    with desk_of(existing(data_dir), project) as desk:
        found = desk.events(asked)
    if json:
        print_json({"items": found.items, "more": found.more, "complete_to": found.complete_to})
        return
    zone = zone_of(found.timezone)
    name = PLURAL.get(kind, f"{kind} events")
    span = " to ".join(f"{moment.astimezone(zone):%Y-%m-%d %H:%M}" for moment in asked.window)
    if found.items:
        columns = choose(sys.stdout, os.environ, charset=charset, width=width).width
        table = _table(found, asked, f"{name[0].upper()}{name[1:]}", f"{span} {zone.key}", columns)
        draw(table, charset, width, found.timezone)
        if kind == "query":
            note("`barograph trace ID` shows all that is known of one.")
    else:
        say(f"No {name} from {span} {zone.key}{' that pass the filters' if asked.where else ''}.")
        loosen = ", leave a --where out" if asked.where else ""
        note(f"Look further back (--last 30d){loosen}, or record some: `barograph record --help`.")
    note(f"data complete to {local_time(found.complete_to, zone)}")


def _table(found: Listed, asked: Search, title: str, span: str, width: int) -> Table:
    """The rows. A column in which nothing is known is left out; a model that is the same in all rows is told below."""
    columns = dict(SHOWN[asked.kind])
    if asked.order != "time" and asked.order not in columns:
        text = list(columns)[-1]
        columns = {**columns, asked.order: Column(title=asked.order, most=20), text: columns.pop(text)}
    told = {name: [_cell(item.get(name), name) for item in found.items] for name in columns}
    names = [name for name in columns if any(cell is not None for cell in told[name])]
    single = [name for name in names if name in ("model", "pipeline")]
    same = [name for name in single if len(found.items) > 2 and len(set(told[name])) == 1]
    notes = [f"{columns[name].title}: {told[name][0]}" for name in same]
    if len(single) - len(same) == 2 and width < BOTH_FROM:
        same.append("pipeline")
        notes.append("pipelines on a wider screen")
    if found.more:
        notes.append(f"the first {len(found.items):,} of more: --limit")
    names = [name for name in names if name not in same]
    ids = _short([item.get("trace_id") or item["event_id"] for item in found.items])
    return Table(
        title=title,
        subtitle=span,
        note="; ".join(notes),
        columns=[Column(title="Time"), Column(title="ID", most=ID[1]), *(columns[name] for name in names)],
        rows=[
            [_moment(item["time"]), ids[index], *(told[name][index] for name in names)]
            for index, item in enumerate(found.items)
        ],
    )


def _short(ids: Sequence[str]) -> list[str]:
    """Their beginnings: as many characters as tell them apart, within bounds."""
    different = len(set(ids))
    enough = next((length for length in range(*ID) if len({one[:length] for one in ids}) == different), ID[1])
    return [one[:enough] for one in ids]


def _cell(value: Any, name: str) -> Cell:
    if name == "status":
        return str(value).replace("_", " ")
    if isinstance(value, str):
        return " ".join(value.split()) or None
    return value if isinstance(value, int | float) else None


def _moment(time: datetime | str) -> datetime:
    return datetime.fromisoformat(time) if isinstance(time, str) else time
