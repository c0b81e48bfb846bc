"""Do we find the right text? Empty retrievals, scores, and which documents are found, used and never cited.

What is said of documents rests on the newest queries, looked at one by one; the page says how many.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from barograph.analytics.worst import time_of
from barograph.core.query import Filter, Window
from barograph.core.unit import counted
from barograph.dashboard.material import Material
from barograph.dashboard.page.shapes import (
    framed,
    guarded,
    line_chart,
    line_of,
    marks_of,
    nothing_yet,
    number_in,
    span_text,
    step_for,
    step_text,
    text_in,
    tiles_of,
)
from barograph.dashboard.page.traffic import latency_chart, traffic
from barograph.visualize.chart import Cell, Column, Page, Panel, Part, Table, Text

NEWEST = 200  # queries whose documents are looked at
LISTED = 12
SAY_WHAT_THEY_FOUND = (Filter("document_count", "exists"),)
SEEN_TWICE = 2  # a document retrieved once and not cited says little


@dataclass
class Found:
    """One document over the queries looked at; ``judged`` counts the times citing was known."""

    source: str = ""
    times: int = 0
    judged: int = 0
    cited: int = 0
    used: int = 0
    ranks: list[float] = field(default_factory=list)
    scores: list[float] = field(default_factory=list)


def retrieval_page(material: Material, window: Window) -> Page:
    """Rates and scores over time, then the documents."""
    newest = material.events("query", window, where=SAY_WHAT_THEY_FOUND, limit=NEWEST).items
    if not newest:
        told = nothing_yet(material, "query", "queries with documents", window, where=SAY_WHAT_THEY_FOUND)
        return framed(material, "Retrieval", window, told)
    marks = marks_of(material, window)
    seen = traffic(material, window, compare=None)
    parts: list[Part] = [
        tiles_of(
            material, window, ("retrieval.empty_rate", "retrieval.top_score", "retrieval.documents",
                               "retrieval_time.mean", "retrieval_time.p95")
        ),
        *guarded(lambda: _over_time(material, window, "retrieval.empty_rate", "Empty retrievals", True)),
        *guarded(lambda: _over_time(material, window, "retrieval.top_score", "Top score", False)),
        *guarded(lambda: [latency_chart(material, seen, marks, "retrieval_time", "Retrieval time")]),
        *_documents(newest),
        *guarded(lambda: _empty(material, window)),
    ]  # fmt: skip
    return framed(material, "Retrieval", window, parts)


def _over_time(material: Material, window: Window, metric: str, title: str, from_zero: bool) -> list[Part]:
    step = step_for(window, 30)
    found = material.analytics.series(metric, window, every=step)
    total = sum(row.n for row in found.rows)
    if not total or (from_zero and not any(row.value for row in found.rows)):
        return []  # a share that is zero all the time is told by its tile
    line = line_of(title.lower(), found.rows)
    statistic = "share of queries" if metric.endswith("rate") else "mean of the best document"
    subtitle = f"{statistic} · {step_text(step)} · n={total:,}"
    return [line_chart(title, subtitle, found.unit, [line], window, incomplete=found.incomplete, from_zero=from_zero)]


def _documents(queries: Sequence[dict[str, object]]) -> list[Part]:
    """The most retrieved documents, and those that nobody's answer used."""
    found: dict[str, Found] = {}
    holding = 0
    for query in queries:
        documents = query.get("documents")
        if not isinstance(documents, list | tuple):
            continue
        holding += bool(documents)
        for document in documents:
            if isinstance(document, dict):
                _count(found, document)
    if not found:
        return [Text(text="The queries say how many documents they found, but not which.", tone="muted")]
    basis = f"newest {counted(len(queries), 'query', 'queries')}"
    often = sorted(found.items(), key=lambda item: (-item[1].times, item[0]))
    unused = [item for item in often if item[1].judged >= SEEN_TWICE and item[1].cited == 0]
    tables: list[Part] = [_table("Most retrieved documents", often[:LISTED], basis, holding)]
    if unused:
        tables.append(_table("Retrieved, never cited", unused[:LISTED], basis, holding))
    elif any(one.judged for one in found.values()):
        tables.append(Text(text=f"Every document retrieved twice or more was cited at least once ({basis}).",
                           tone="muted"))  # fmt: skip
    else:
        tables.append(Text(text="Nothing says which documents were cited: give documents `cited` to find unused ones.",
                           tone="muted"))  # fmt: skip
    return [Panel(title="Documents", parts=tables)]


def _count(found: dict[str, Found], document: dict[str, object]) -> None:
    key = text_in(document, "id") or text_in(document, "source")
    if not key:
        return
    one = found.setdefault(key, Found())
    one.times += 1
    one.source = one.source or text_in(document, "source")
    cited, used = document.get("cited"), document.get("in_context")
    one.judged += cited is not None
    one.cited += bool(cited)
    one.used += bool(used)
    rank, score = number_in(document, "rank"), number_in(document, "score")
    one.ranks += [rank] if rank is not None else []
    one.scores += [score] if score is not None else []


def _table(title: str, documents: Sequence[tuple[str, Found]], basis: str, queries: int) -> Table:
    rows: list[list[Cell]] = [
        [key, one.times, one.times / queries if queries else None, one.cited if one.judged else None,
         _mean(one.ranks), _mean(one.scores), one.source if one.source != key else None]
        for key, one in documents
    ]  # fmt: skip
    columns = [
        Column(title="Document", most=40), Column(title="Times"), Column(title="Of queries", unit="ratio"),
        Column(title="Cited"), Column(title="Mean rank", unit=""), Column(title="Mean score", unit="score"),
        Column(title="Source", most=40),
    ]  # fmt: skip
    kept = [i for i in range(len(columns)) if i < 4 or any(row[i] is not None for row in rows)]
    return Table(
        title=title, subtitle=basis, columns=[columns[i] for i in kept], rows=[[row[i] for i in kept] for row in rows]
    )


def _mean(values: Sequence[float]) -> float | None:
    return sum(values) / len(values) if values else None


def _empty(material: Material, window: Window) -> list[Part]:
    """Questions that the knowledge base had nothing for."""
    nothing = (Filter("document_count", "eq", ("0",)),)
    items = material.events("query", window, where=nothing, limit=LISTED).items
    if not items:
        return []
    rows: list[list[Cell]] = [
        [time_of(item), text_in(item, "query") or None, text_in(item, "pipeline") or None,
         text_in(item, "status").replace("_", " ") or None]
        for item in items
    ]  # fmt: skip
    columns = [Column(title="Time"), Column(title="Query", most=60), Column(title="Pipeline", most=20),
               Column(title="Status", most=9)]  # fmt: skip
    return [Table(title="Newest questions that found nothing", subtitle=span_text(material, window), columns=columns,
                  rows=rows)]  # fmt: skip
