"""One query and all that is known of it: its event, the spans of its trace, what was said of it.

``trace_of`` gathers it for programs, ``trace_page`` makes a page of it: the question and the answer, where the time
went, the passages, the judgements. Asked by the server and the command line by a trace's or an event's id.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

from msgspec import Struct

from barograph.core.event import EARLIEST
from barograph.core.query import EventQuery, Filter, Window
from barograph.core.reader import Reader
from barograph.core.unit import counted, format_value
from barograph.core.zone import local_time, zone_of
from barograph.visualize.chart import Column, Page, Panel, Part, Table, Text
from barograph_client.errors import InvalidQuery

_BEFORE, _AFTER = timedelta(days=1), timedelta(days=8)  # where spans and judgements of a query are looked for
_UNROOTED = timedelta(days=30)  # and those of a trace that has no query
MOST_SPANS = 1_000
_TEXT = 2_000  # characters of a question or an answer that a page shows
LEAST_PREFIX = 6  # characters of an id that may stand for the whole of it
_NAMED = 5  # ids that an ambiguous beginning is told with
_LOOKED_AT = 50  # rows that are read for them: a query may have come twice, a trace has many spans
_WHOLE = re.compile(r"[0-9a-f]{32}|[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.IGNORECASE)  # of nothing longer
_LONGEST = 100  # characters of a beginning: escaped they fit into a pattern
_LANE = 24  # cells of the picture of when a span ran

Row = dict[str, Any]


class Trace(Struct, frozen=True, kw_only=True):
    """``query`` is None for a trace that is no query, or not yet. Spans are in the order of their start.

    A span that came after its trace was decided is marked ``late``: no number of the query is of it.
    """

    trace_id: str
    query: Row | None
    spans: tuple[Row, ...]
    feedback: tuple[Row, ...]
    scores: tuple[Row, ...]
    complete_to: datetime


def trace_of(reader: Reader, project: str, wanted: str, now: datetime) -> Trace | None:
    """The trace of that id, or that of the query event of that id; None where there is neither.

    An id may be written in any case, and from ``LEAST_PREFIX`` characters on its beginning will do: of those of the
    last 30 days. Raises InvalidQuery where several begin so.
    """
    for spelled in dict.fromkeys((wanted, wanted.lower())):
        found = _exactly(reader, project, spelled, now)
        if found is not None:
            return found
    may_begin = LEAST_PREFIX <= len(wanted) < _LONGEST and wanted.isprintable() and not _WHOLE.fullmatch(wanted)
    whole = _completed(reader, project, wanted, now) if may_begin else None
    return _exactly(reader, project, whole, now) if whole else None


def _exactly(reader: Reader, project: str, wanted: str, now: datetime) -> Trace | None:
    query = _query(reader, project, wanted, now)
    if query and not query["documents"] and query["document_count"] is None:
        query["documents"] = None  # the engine has no list that is absent
    trace_id = query["trace_id"] if query else wanted
    moment: datetime = query["time"] if query else now
    window = Window(moment - (_BEFORE if query else _UNROOTED), min(moment + _AFTER, now + _BEFORE))
    spans = _rows(reader, project, "span", trace_id, window)
    if query is None and not spans:
        return None
    decided = query["received_at"] if query and query["origin"] == "internal" else None
    for span in spans:
        span["late"] = decided is not None and span["received_at"] > decided
    spans.sort(key=lambda span: (span["time"], span["span_id"]))
    return Trace(
        trace_id=trace_id,
        query=query,
        spans=tuple(spans),
        feedback=tuple(_rows(reader, project, "feedback", trace_id, window)),
        scores=tuple(_rows(reader, project, "score", trace_id, window)),
        complete_to=reader.watermark(),
    )


def _query(reader: Reader, project: str, wanted: str, now: datetime) -> Row | None:
    """By the trace's id, which leads there at once; else by the event's."""
    everything = Window(EARLIEST, now + _BEFORE)
    for name in ("trace_id", "event_id"):
        where = (Filter(name, "eq", (wanted,)),)
        page = reader.events(EventQuery(kind="query", window=everything, where=where, limit=1, project=project))
        if page.items:
            return page.items[0]
    return None


def _completed(reader: Reader, project: str, beginning: str, now: datetime) -> str | None:
    """The one id that begins so, in any case: a trace's, else a query event's, else that of a trace without a query."""
    window = Window(now - _UNROOTED, now + _BEFORE)
    pattern = f"(?i)^{re.escape(beginning)}"
    for kind, name in (("query", "trace_id"), ("query", "event_id"), ("span", "trace_id")):
        where = (Filter(name, "match", (pattern,)),)
        page = reader.events(EventQuery(kind=kind, window=window, where=where, limit=_LOOKED_AT, project=project))
        ids = list(dict.fromkeys(item[name] for item in page.items))
        if len(ids) > 1:
            more = ", …" if len(ids) > _NAMED or page.cursor else ""
            raise InvalidQuery(
                f"several ids begin so: {', '.join(ids[:_NAMED])}{more}",
                hint="Write more of the one that is meant.",
                value=beginning,
            )
        if ids:
            return str(ids[0])
    return None


def _rows(reader: Reader, project: str, kind: str, trace_id: str, window: Window) -> list[Row]:
    """What names the trace, oldest first; what came again after the journal had forgotten it is one all the same."""
    if not trace_id:
        return []
    where = (Filter("trace_id", "eq", (trace_id,)),)
    page = reader.events(EventQuery(kind=kind, window=window, where=where, limit=MOST_SPANS, project=project))
    once: dict[str, Row] = {}
    for item in reversed(page.items):
        once.setdefault(item["event_id"], item)
    return list(once.values())


def trace_page(trace: Trace, timezone: str) -> Page:
    """The trace for people."""
    query = trace.query or {}
    parts: list[Part] = [*_head(trace, timezone)]
    texts = (("Question", query.get("query")), ("Answer", query.get("answer")), ("Error", _error(query)))
    parts += [Panel(title=title, parts=[Text(text=_cut(text))]) for title, text in texts if text]
    if trace.spans:
        parts.append(_spans(trace.spans))
    if query.get("documents"):
        parts.append(_documents(query["documents"]))
    if trace.feedback or trace.scores:
        parts.append(_judgements(trace))
    return Page(title=f"Trace {trace.trace_id or query.get('event_id', '')}", parts=parts)


def _head(trace: Trace, timezone: str) -> list[Part]:
    query = trace.query
    if query is None:
        return [Text(text="No query event: the trace is no query, or still coming in.", tone="muted")]
    moment = local_time(query["time"], zone_of(timezone))
    stages = [
        f"{name.removesuffix('_time').replace('_', ' ')} {format_value(query[name], 's')}"
        for name in ("embedding_time", "retrieval_time", "rerank_time", "generation_time", "time_to_first_token")
        if query[name] is not None
    ]
    taken = "" if query["response_time"] is None else f" in {format_value(query['response_time'], 's')}"
    spent = [
        f"{format_value(query[name], unit)} {what}"
        for name, unit, what in (
            ("input_tokens", "1", "tokens in"), ("output_tokens", "1", "out"), ("cost", "USD", ""),
        )
        if query[name] is not None
    ]  # fmt: skip
    who = [
        f"{what} {query[name]}"
        for name, what in (("pipeline", "pipeline"), ("model", "model"), ("user_id", "user"), ("session_id", "session"))
        if query[name]
    ]
    lines = [f"{query['status']}{taken}, {moment}", ", ".join(stages), ", ".join(spent).rstrip(), ", ".join(who)]
    incomplete = query["tags"].get("incomplete")
    if incomplete:
        lines.append(f"Incomplete: {incomplete}.")
    return [Text(text=line) for line in lines if line]


def _error(query: Row) -> str:
    """What failed, in which stage, and what it said."""
    stage = f"in {query['error_stage']}" if query.get("error_stage") else ""
    what = " ".join(filter(None, [query.get("error_type"), stage]))
    return ": ".join(filter(None, [what, query.get("error_message")]))


def _spans(spans: Sequence[Row]) -> Table:
    start = min(span["time"] for span in spans)
    length = max((_offset(span, start) + (span["duration"] or 0.0) for span in spans), default=0.0) or 1.0
    depths = _depths(spans)
    flags = {
        span["span_id"]: ", ".join(name for name, there in (
            ("error", span["status"] == "error"), ("late", span["late"])) if there)
        for span in spans
    }  # fmt: skip
    flagged = any(flags.values())
    columns = [
        Column(title="span", most=36),
        Column(title="kind", most=10),
        Column(title="from", unit="s"),
        Column(title="took", unit="s"),
        Column(title="", most=_LANE, align="left"),
        *([Column(title="", most=16)] if flagged else []),
    ]
    rows = [
        [
            "  " * min(depths[span["span_id"]], 8) + span["name"],
            span["span_kind"].lower(),
            _offset(span, start),
            span["duration"],
            _lane(_offset(span, start), span["duration"] or 0.0, length),
            *([flags[span["span_id"]]] if flagged else []),
        ]
        for span in spans
    ]
    late = sum(span["late"] for span in spans)
    note = f"{counted(late, 'span')} came after the query event was made; no number is of them." if late else ""
    cut = f"the first {MOST_SPANS:,} of more" if len(spans) == MOST_SPANS else counted(len(spans), "span")
    return Table(title="Where the time went", subtitle=cut, columns=columns, rows=rows, note=note)


def _offset(span: Row, start: datetime) -> float:
    seconds: float = (span["time"] - start).total_seconds()
    return seconds


def _lane(offset: float, duration: float, length: float) -> str:
    begin = min(int(offset / length * _LANE), _LANE - 1)
    width = max(1, round(duration / length * _LANE))
    return "." * begin + "#" * min(width, _LANE - begin)


def _depths(spans: Sequence[Row]) -> dict[str, int]:
    """How deep each span lies under those that are there; a circle, which nobody should send, ends somewhere."""
    parents = {span["span_id"]: span["parent_span_id"] for span in spans}
    depths: dict[str, int] = {}
    for one in parents:
        path: list[str] = []
        at = one
        while at in parents and at not in depths and at not in path:
            path.append(at)
            at = parents[at]
        base = depths.get(at, -1)
        depths |= {name: depth for depth, name in enumerate(reversed(path), base + 1)}
    return depths


def _documents(documents: Sequence[Row]) -> Table:
    columns = [
        Column(title="rank"), Column(title="id", most=24), Column(title="score", unit="score"),
        Column(title="reranked", unit="score"), Column(title="retriever", most=16), Column(title="text", most=40),
    ]  # fmt: skip
    rows = [
        [one["rank"], one["id"] or one["source"], one["score"], one["rerank_score"], one["retriever"],
         one["text"].replace("\n", " ")]
        for one in documents
    ]  # fmt: skip
    return Table(title="Passages", subtitle=counted(len(documents), "passage"), columns=columns, rows=rows)


def _judgements(trace: Trace) -> Table:
    columns = [Column(title="what", most=24), Column(title="value"), Column(title="by", most=20),
               Column(title="comment", most=50)]  # fmt: skip
    rows = [["rating", one["rating"], one["user_id"], one["comment"]] for one in trace.feedback]
    rows += [[one["name"], one["value"], one["judge"], one["comment"]] for one in trace.scores]
    return Table(title="Said of it", columns=columns, rows=rows)


def _cut(text: str) -> str:
    return text if len(text) <= _TEXT else f"{text[:_TEXT]}… ({len(text):,} characters)"
