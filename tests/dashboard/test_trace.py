"""One query and its trace: found by either id, late spans told, whatever the spans hold."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest

from barograph.dashboard.dashboard_interface import DashboardInterface
from barograph.dashboard.trace import Trace, trace_of, trace_page
from barograph.visualize.visualizer import Visualizer
from barograph_client.clock import SystemClock
from barograph_client.errors import InvalidQuery


def looked_up(dashboard: DashboardInterface, wanted: str) -> Trace:
    found = trace_of(dashboard.store, dashboard.project, wanted, SystemClock().now())
    assert found is not None
    return found


@pytest.fixture
def dashboard(tmp_path: Path) -> DashboardInterface:
    return DashboardInterface(tmp_path / "data", background=False, environment={})


def test_a_query_is_found_by_its_trace_and_by_its_event_with_all_that_was_said_of_it(
    dashboard: DashboardInterface,
) -> None:
    with dashboard:
        event_id = dashboard.record_query_execution({
            "query": "What is RAG?", "answer": "Retrieval first.", "trace_id": "t1", "response_time": 2.0,
            "retrieval_time": 0.5, "user_id": "ann", "documents": [{"id": "d1", "rank": 1, "score": 0.9, "text": "A"}],
        })  # fmt: skip
        dashboard.record_feedback({"trace_id": "t1", "rating": 5, "comment": "good"})
        dashboard.record_score({"trace_id": "t1", "name": "faithfulness", "value": 0.8, "judge": "model"})
        dashboard.record_query_execution({"query": "another", "trace_id": "t2"})
        dashboard.flush()
        by_trace, by_event = looked_up(dashboard, "t1"), looked_up(dashboard, event_id)
        assert by_trace.query is not None
        assert by_trace.query == by_event.query
        assert [one["rating"] for one in by_trace.feedback] == [5.0]
        assert [one["name"] for one in by_trace.scores] == ["faithfulness"]
        assert trace_of(dashboard.store, "default", "t3", SystemClock().now()) is None
        text = Visualizer("ascii", 80).draw(trace_page(by_trace, "UTC"))
    for part in ("Trace t1", "ok in 2 s", "retrieval 500 ms", "What is RAG?", "Retrieval first.", "d1", "faithfulness"):
        assert part in text
    assert max(map(len, text.splitlines())) <= 80


def test_spans_in_a_circle_orphans_and_escape_sequences_are_drawn_all_the_same(dashboard: DashboardInterface) -> None:
    now = SystemClock().now()
    with dashboard:
        for name, parent in (("a", "b"), ("b", "a"), ("c", "gone"), ("d", "c"), ("e", "")):
            dashboard.collector.record_event(
                "span",
                {
                    "trace_id": "t", "span_id": name, "parent_span_id": parent, "name": f"\x1b[31m{name}",
                    "duration": 1.0,
                    "time": now - timedelta(seconds=9), "status": "error" if name == "d" else "ok",
                },
            )  # fmt: skip
        dashboard.flush()
        found = looked_up(dashboard, "t")
        text = Visualizer("ascii", 80).draw(trace_page(found, "UTC"))
    assert found.query is None
    assert len(found.spans) == 5
    assert "\x1b" not in text
    assert "no query, or still coming in" in text
    assert "error" in text


def test_an_id_may_be_of_any_case_and_its_beginning_will_do_where_only_one_begins_so(
    dashboard: DashboardInterface,
) -> None:
    with dashboard:
        for trace_id in ("abcdef0011", "abcdef0022", "short", "Mixed.Case", "a.b*c+d"):
            dashboard.record_query_execution({"query": f"of {trace_id}", "trace_id": trace_id})
        event_id = dashboard.record_query_execution({"query": "without a trace"})
        span = {"trace_id": "5pan0nly77", "span_id": "s", "name": "alone", "time": SystemClock().now()}
        dashboard.collector.record_event("span", span)
        dashboard.flush()
        for wanted, found in (
            ("ABCDEF0011", "abcdef0011"), ("abcdef002", "abcdef0022"), ("mixed.", "Mixed.Case"), ("a.b*c+", "a.b*c+d"),
            ("SHORT", "short"), ("5PAN0N", "5pan0nly77"),
        ):  # fmt: skip
            assert looked_up(dashboard, wanted).trace_id == found
        by_event = looked_up(dashboard, event_id[:-3].upper()).query
        assert by_event is not None
        assert by_event["query"] == "without a trace"
        with pytest.raises(InvalidQuery, match=r"several ids begin so: abcdef00(11, abcdef0022|22, abcdef0011)"):
            looked_up(dashboard, "abcdef")
        for unknown in ("abcde", "shor", "axb*c+", "gone" * 80, "0" * 32):
            assert trace_of(dashboard.store, "default", unknown, SystemClock().now()) is None


def test_an_error_is_shown_with_its_type_and_stage(dashboard: DashboardInterface) -> None:
    with dashboard:
        for trace_id, fields in (
            ("t1", {"error_type": "Timeout", "error_stage": "retrieval", "error_message": "took too long"}),
            ("t2", {"error_stage": "rerank"}),
        ):
            dashboard.record_query_execution({"query": "q", "trace_id": trace_id, "status": "error", **fields})
        dashboard.flush()
        one, two = (Visualizer("ascii", 80).draw(trace_page(looked_up(dashboard, t), "UTC")) for t in ("t1", "t2"))
    assert "Timeout in retrieval: took too long" in one
    assert "in rerank" in two
