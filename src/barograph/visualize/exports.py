"""The same charts as data: JSON with all that was specified, CSV with the numbers behind the picture.

Reads the chart specification; hands texts to ``Visualizer``. Numbers are written in full; times as ISO 8601
with their offset in the shown zone; a missing value is ``null``, in CSV an empty cell. Both are read in terminals
too: what would steer one is escaped in JSON, where the value stays the same, and replaced in CSV.
"""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime

import msgspec

from barograph.core.zone import zone_of
from barograph.visualize.chart import (
    BarChart,
    Chart,
    Heatmap,
    Histogram,
    IntervalPlot,
    LineChart,
    Page,
    Panel,
    Part,
    Sparkline,
    Table,
    Text,
    Tile,
    Tiles,
)
from barograph.visualize.hostile import JOINERS, STEERING, csv_cells, encodable

Line = Sequence[object]

_IN_JSON = re.compile(f"[{STEERING}{JOINERS}]")


def to_json(chart: Chart) -> str:
    """The specification as indented JSON; ``type`` names the kind of chart."""
    return json_text(chart)


def json_text(value: object) -> str:
    """Indented JSON in which no character steers a terminal or changes the order of reading; the values stay."""
    try:
        encoded = msgspec.json.encode(value)
    except UnicodeEncodeError:  # a lone surrogate in some text
        encoded = msgspec.json.encode(_encodable(msgspec.to_builtins(value)))
    return _IN_JSON.sub(_escape, msgspec.json.format(encoded, indent=2).decode())  # none can stand outside a string


def _escape(found: re.Match[str]) -> str:
    units = found[0].encode("utf-16-be")
    return "".join(f"\\u{units[at]:02x}{units[at + 1]:02x}" for at in range(0, len(units), 2))


def _encodable(value: object) -> object:
    if isinstance(value, str):
        return encodable(value)
    if isinstance(value, dict):
        return {encodable(str(key)): _encodable(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_encodable(item) for item in value]
    return value


def to_csv(chart: Chart, timezone: str = "UTC") -> str:
    """The numbers as CSV with a header; a page or a panel gives one table a part, a blank line between."""
    tables = [_written(lines, timezone) for lines in _tables(chart)]
    return "\n".join(tables)


def _written(lines: Iterator[Line], timezone: str) -> str:
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    for line in lines:
        writer.writerow(csv_cells(_iso(cell, timezone) for cell in line))
    return buffer.getvalue()


def _iso(cell: object, timezone: str) -> object:
    if isinstance(cell, datetime):
        zone = UTC if timezone == "UTC" else zone_of(timezone)
        return cell.astimezone(zone).isoformat()
    return cell


def _tables(chart: Chart) -> Iterator[Iterator[Line]]:
    match chart:
        case Page() | Panel():
            for part in chart.parts:
                yield from _tables(part)
        case Text():
            return
        case _:
            yield _lines(chart)


def _lines(chart: Part) -> Iterator[Line]:
    match chart:
        case LineChart():
            yield from _line_chart(chart)
        case BarChart():
            yield ("label", f"value ({chart.unit})", "low", "high", "n")
            yield from ((bar.label, bar.value, bar.low, bar.high, bar.n) for bar in chart.bars)
        case Histogram():
            yield (f"from ({chart.unit})", f"to ({chart.unit})", "count")
            yield from zip(chart.edges, chart.edges[1:], chart.counts, strict=False)
        case Sparkline():
            yield ("index", f"{chart.title} ({chart.unit})")
            yield from enumerate(chart.values)
        case Table():
            yield [column.title for column in chart.columns]
            yield from chart.rows
        case Tile():
            yield from _tile_lines([chart])
        case Tiles():
            yield from _tile_lines(chart.tiles)
        case IntervalPlot():
            yield ("label", f"estimate ({chart.unit})", "low", "high", "verdict", "limit")
            yield from ((row.label, row.estimate, row.low, row.high, row.verdict, row.limit) for row in chart.rows)
        case Heatmap():
            yield ("", *chart.columns)
            yield from ((label, *values) for label, values in zip(chart.rows, chart.values, strict=True))
        case Text() | Panel():
            return


def _tile_lines(tiles: Sequence[Tile]) -> Iterator[Line]:
    yield ("title", "value", "unit", "delta", "delta_absolute", "delta_against", "n")
    for tile in tiles:
        yield (tile.title, tile.value, tile.unit, tile.delta, tile.delta_absolute, tile.delta_against, tile.n)


def _line_chart(chart: LineChart) -> Iterator[Line]:
    """A row for each x that any series has; a series without a value there leaves its cells empty."""
    header: list[object] = ["x"]
    columns: list[dict[datetime | float, object]] = []
    for one in chart.series:
        xs = [x for x, _ in one.points]
        header.append(f"{one.name} ({chart.unit})")
        columns.append(dict(one.points))
        if one.band:
            header += [f"{one.name} low", f"{one.name} high"]
            columns += [dict(zip(xs, ends, strict=True)) for ends in zip(*one.band, strict=True)]
        if any(n is not None for n in one.n):
            header.append(f"{one.name} n")
            columns.append(dict(zip(xs, one.n, strict=True)))
    yield header
    positions = {x for column in columns for x in column}
    for x in sorted(positions, key=lambda x: x.timestamp() if isinstance(x, datetime) else x):
        yield [x, *(column.get(x) for column in columns)]
