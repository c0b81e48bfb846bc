"""Commands that ask: ``status``, ``show``, ``report``, ``query``, ``metrics``."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated, cast

import typer

from barograph.analytics.period import recent
from barograph.cli.desk import Drawing, Question, Span, desk_of
from barograph.cli.options import (
    DEFAULT_DIRECTORY,
    Charset,
    DataDir,
    Exit,
    Form,
    From,
    Json,
    Last,
    ProjectName,
    To,
    Width,
    existing,
    window_of,
)
from barograph.cli.output import draw, note, print_json
from barograph.core.metric import FAMILIES, Catalogue
from barograph.core.query import Calendar, parse_duration
from barograph.core.settings import load_settings
from barograph.core.zone import local_time, zone_of
from barograph.visualize.chart import Column, Page, Table, Text
from barograph_client.clock import SystemClock
from barograph_client.errors import InvalidQuery

PAGES = ("overview", "queries", "quality", "retrieval", "cost", "users", "experiments", "alerts", "system")
CALENDAR = ("day", "week", "month")
COMPARE = ("previous", "day", "week")


def status(project: ProjectName = None, data_dir: DataDir = Path(DEFAULT_DIRECTORY), json: Json = False) -> None:
    """Healthy, warning, critical or no data, with the reasons. Exit code 1 when critical."""
    with desk_of(existing(data_dir), project) as desk:
        found = desk.status()
    if json:
        print_json(found)
    else:
        aside = f"data complete to {local_time(found.complete_to, zone_of(found.timezone))}"
        parts: list[Text] = [Text(text=sentence) for sentence in found.sentences()]
        counts = " + ".join(f"{name} {found.account[name]}" for name in ("stored", "rejected", "duplicate"))
        parts.append(Text(text=f"Events: received {found.account['received']} = {counts}", tone="muted"))
        draw(Page(title=f"System Status: {found.state.upper()}", aside=aside, parts=parts))
    if found.state == "critical":
        raise typer.Exit(Exit.FOUND)


def show(
    page: Annotated[str, typer.Argument(help=f"{', '.join(PAGES)}.")] = "overview",
    last: Last = None,
    start: From = None,
    end: To = None,
    experiment: Annotated[
        str, typer.Option("--experiment", metavar="KEY", help="On the page experiments: that one, in full.")
    ] = "",
    format: Form = "text",
    charset: Charset = None,
    width: Width = None,
    project: ProjectName = None,
    data_dir: DataDir = Path(DEFAULT_DIRECTORY),
    json: Json = False,
) -> None:
    """Draw a page of the dashboard."""
    window_of(last, start, end)
    with desk_of(existing(data_dir), project) as desk:
        drawing = Drawing(format="json" if json else format, charset=charset, width=width)
        print(desk.page(page, Span(last=last, start=start, end=end), experiment, drawing).rstrip("\n"))


def trace(
    wanted: Annotated[str, typer.Argument(help="A trace's id or a query event's, or its beginning.", metavar="ID")],
    format: Form = "text",
    charset: Charset = None,
    width: Width = None,
    project: ProjectName = None,
    data_dir: DataDir = Path(DEFAULT_DIRECTORY),
    json: Json = False,
) -> None:
    """One query: question, answer, where the time went, its passages, what was said of it."""
    with desk_of(existing(data_dir), project) as desk:
        drawing = Drawing(format="json" if json else format, charset=charset, width=width)
        print(desk.trace(wanted, drawing).rstrip("\n"))


def report(
    hours: Annotated[float, typer.Option("--hours", help="How far back.", min=0.1, max=24 * 366)] = 24.0,
    format: Form = "text",
    charset: Charset = None,
    width: Width = None,
    project: ProjectName = None,
    data_dir: DataDir = Path(DEFAULT_DIRECTORY),
    json: Json = False,
) -> None:
    """A report: findings, key numbers, charts, the experiment, the worst queries."""
    with desk_of(existing(data_dir), project) as desk:
        print(desk.report(hours, Drawing(format="json" if json else format, charset=charset, width=width)).rstrip("\n"))


def query(
    metric: Annotated[str, typer.Argument(help="A metric's name; `barograph metrics` lists them.")],
    last: Last = None,
    start: From = None,
    end: To = None,
    by: Annotated[list[str] | None, typer.Option("--by", help="Group by a dimension or tag.<name>.")] = None,
    every: Annotated[
        str | None,
        typer.Option(
            "--every", help="Buckets: 5m, 1h; day, week, month in your zone (1d is 24 h in UTC).", metavar="BUCKET"
        ),
    ] = None,
    where: Annotated[
        list[str] | None, typer.Option("--where", "-w", help="A filter, field:op:value, as model:eq:gpt-5.")
    ] = None,
    compare: Annotated[str | None, typer.Option(help="An earlier period: previous, day or week.")] = None,
    limit: Annotated[int, typer.Option(help="Groups at most.", min=1, max=1000)] = 50,
    charset: Charset = None,
    width: Width = None,
    project: ProjectName = None,
    data_dir: DataDir = Path(DEFAULT_DIRECTORY),
    json: Json = False,
) -> None:
    """One metric over a window, whole or in buckets, by group, filtered.

    \b
    barograph query response_time.p95 --last 24h --every 1h
    barograph query cost --last 7d --by model --compare previous
    barograph query error_rate --where pipeline:eq:support --json
    """
    from barograph.cli.answer import picture
    from barograph.dashboard.asked import document

    if compare is not None and compare not in COMPARE:
        raise InvalidQuery("no such comparison", hint=f"Use one of {', '.join(COMPARE)}.", value=compare)
    window = window_of(last, start, end) or recent("24h", SystemClock().now())
    question = Question(
        metric=metric,
        window=(window.start, window.end),
        every=_bucket(every),
        by=by or [],
        where=where or [],
        compare=compare,
        limit=limit,
    )
    with desk_of(existing(data_dir), project) as desk:
        answer, asked = desk.query(question)
    if json:
        print_json(document(answer, asked))
        return
    draw(picture(answer, asked), charset, width, asked.zone.key)
    for sentence in (*answer.notes, *filter(None, [asked.missing])):
        note(sentence)
    note(f"data complete to {local_time(answer.complete_to, asked.zone)}")


def metrics(data_dir: DataDir = Path(DEFAULT_DIRECTORY), json: Json = False) -> None:
    """List the metrics: name, unit, which way is better, what it means."""
    catalogue = Catalogue()
    for own in load_settings(data_dir, os.environ).metrics:
        from barograph.dashboard.assembly import metric_of

        catalogue.add(metric_of(own))
    if json:
        print_json([
            {"name": m.name, "title": m.title, "unit": m.unit, "aggregation": m.aggregation, "better": m.better,
             "sentence": m.sentence, "user_defined": m.user_defined}
            for m in catalogue
        ])  # fmt: skip
        return
    rows: list[tuple[str, str, str, str]] = [(m.name, m.unit, m.better, m.sentence) for m in catalogue]
    rows += [(f"{family}.<name>", "", "", sentence) for family, sentence in FAMILIES.items()]
    columns = [
        Column(title="name"),
        Column(title="unit"),
        Column(title="better"),
        Column(title="means", most=160, wraps=True),
    ]
    draw(Table(title="Metrics", columns=columns, rows=rows))


def _bucket(text: str | None) -> float | Calendar | None:
    if text is None or text in CALENDAR:
        return cast("Calendar | None", text)
    return parse_duration(text)
