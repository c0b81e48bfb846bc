"""Which queries, and why this one? Volume by status, where the time goes, and the queries worth looking at."""

from __future__ import annotations

from functools import partial

from barograph.analytics.worst import Concern
from barograph.core.query import Filter, Window
from barograph.dashboard.material import Material
from barograph.dashboard.page.shapes import (
    breakdown_table,
    framed,
    guarded,
    marks_of,
    nothing_yet,
    span_text,
    tiles_of,
    worst_table,
)
from barograph.dashboard.page.traffic import latency_chart, status_chart, traffic
from barograph.visualize.chart import Bar, BarChart, Page, Panel, Part

STAGES = {
    "embedding_time": "embedding",
    "retrieval_time": "retrieval",
    "rerank_time": "reranking",
    "generation_time": "generation",
    "time_to_first_token": "to first token",
}
LISTED = 10
_LISTS: tuple[tuple[Concern, str], ...] = (
    ("slowest", "Slowest"), ("errors", "Newest errors"), ("no_answer", "Newest without an answer"),
    ("dearest", "Dearest"),
)  # fmt: skip


def queries_page(material: Material, window: Window) -> Page:
    """Counts, latency, stages, errors by type, and four lists of queries."""
    seen = traffic(material, window, compare=None)
    if seen.total == 0:
        return framed(material, "Queries", window, nothing_yet(material, "query", "queries", window))
    marks = marks_of(material, window)
    parts: list[Part] = [
        tiles_of(material, window, ("queries", "response_time.mean", "response_time.p95", "error_rate",
                                    "no_answer_rate")),
        status_chart(seen, marks),
        *guarded(lambda: [latency_chart(material, seen, marks)]),
        *guarded(lambda: _stages(material, window)),
        *guarded(lambda: _by_pipeline(material, window)),
        *guarded(lambda: _errors(material, window)),
    ]  # fmt: skip
    for concern, title in _LISTS:
        parts += guarded(partial(_list, material, window, concern, title))
    return framed(material, "Queries", window, parts)


def _stages(material: Material, window: Window) -> list[Part]:
    """Mean seconds of each stage that anything was measured of."""
    bars = []
    for stage, name in STAGES.items():
        summary = material.analytics.summary(f"{stage}.mean", window, compare=None)
        if summary.n:
            bars.append(Bar(label=name, value=summary.value, n=summary.n))
    if not bars:
        return []
    return [BarChart(title="Where the time goes", subtitle="mean of a query", unit="s", bars=bars)]


def _by_pipeline(material: Material, window: Window) -> list[Part]:
    tables: list[Part] = []
    for by, what in (("pipeline", "Pipeline"), ("model", "Model")):
        found = material.analytics.breakdown("response_time.p95", by, window)
        if len(found.parts) > 1:
            tables.append(breakdown_table(found, f"Response time by {by}", what, "p95"))
    return [Panel(title="", parts=tables, side_by_side=True)] if tables else []


def _errors(material: Material, window: Window) -> list[Part]:
    failed = (Filter("status", "eq", ("error",)),)
    found = material.analytics.breakdown("queries", "error_type", window, where=failed)
    return [breakdown_table(found, "Errors by type", "Error", "Queries", counts=True)] if found.parts else []


def _list(material: Material, window: Window, concern: Concern, title: str) -> list[Part]:
    found = material.analytics.worst(concern, window, limit=LISTED)
    if not found:
        return []
    return [worst_table(concern, title, found, span_text(material, window))]
