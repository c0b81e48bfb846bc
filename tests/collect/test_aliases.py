"""Aliases: the names that RAG programs use lead to our fields, with our units, and never hide a value."""

from __future__ import annotations

from pathlib import Path

import pytest
from collect_support import made

from barograph.core.event import CALLER_KINDS, Document
from barograph_client.aliases import ALIASES, Alias
from barograph_client.errors import InvalidEvent

STRUCTS = {**CALLER_KINDS, "document": Document}
EACH = [(kind, alias) for kind, aliases in ALIASES.items() for alias in aliases]
IDS = [f"{kind}.{alias.name}" for kind, alias in EACH]


@pytest.mark.parametrize(("kind", "alias"), EACH, ids=IDS)
def test_an_alias_stands_for_a_field_and_hides_none(kind: str, alias: Alias):
    names = STRUCTS[kind].__struct_fields__
    assert alias.field in names
    assert alias.name not in names
    assert [other.name for other in ALIASES[kind]].count(alias.name) == 1
    assert alias.note or alias.convert is None


@pytest.mark.parametrize(("kind", "alias"), EACH, ids=IDS)
def test_docs_list_it(kind: str, alias: Alias):
    page = (Path(__file__).parents[2] / "docs" / "events.md").read_text(encoding="utf-8")
    section = page.split(f"\n## {kind}\n")[1].split("\n## ")[0]
    assert f"| `{alias.name}` | `{alias.field}` |" in section


@pytest.mark.parametrize(
    ("kind", "raw", "expected"),
    [
        ("query", {"latency_ms": 1250}, {"response_time": 1.25}),
        ("query", {"latency": 1.5}, {"response_time": 1.5}),
        ("query", {"prompt_tokens": 7, "completion_tokens": 9}, {"input_tokens": 7, "output_tokens": 9}),
        ("query", {"question": "q", "response": "a"}, {"query": "q", "answer": "a"}),
        ("query", {"model_name": "m", "user": "u", "session": "s"}, {"model": "m", "user_id": "u", "session_id": "s"}),
        ("query", {"error": "boom"}, {"error_message": "boom", "status": "error"}),
        ("query", {"success": True}, {"status": "ok"}),
        ("query", {"success": False}, {"status": "error"}),
        ("query", {"contexts": ["a"]}, {"documents": [Document(text="a")], "document_count": 1}),
        (
            "query",
            {"retrieved_documents": [{"doc_id": "d", "content": "t", "similarity": 0.5}]},
            {"documents": [Document(id="d", text="t", score=0.5)], "document_count": 1},
        ),
        (
            "query",
            {"source_documents": [{"page_content": "t", "metadata": {"source": "s.pdf", "page": 3}}]},
            {"documents": [Document(text="t", source="s.pdf")], "tags": {"documents.page": "[3]"}},
        ),
        ("feedback", {"thumbs_up": True, "query_id": "t"}, {"rating": 5.0, "trace_id": "t"}),
        ("feedback", {"thumbs_up": False}, {"rating": 1.0}),
        ("feedback", {"thumbs_down": True}, {"rating": 1.0}),
        ("score", {"metric_name": "faithfulness", "score": 0.9}, {"name": "faithfulness", "value": 0.9}),
        ("system", {"cpu_usage": 12.5, "hostname": "a"}, {"cpu_percent": 12.5, "host": "a"}),
        ("exposure", {"experiment": "e", "variant": "b", "user_id": "u"}, {"arm": "b", "unit_id": "u"}),
        ("span", {"trace_id": "t", "span_id": "s", "duration_ms": 40}, {"duration": 0.04}),
    ],
    ids=str,
)  # fmt: skip
def test_theirs_becomes_ours(kind: str, raw: dict[str, object], expected: dict[str, object]):
    event = made(raw, kind)
    assert {name: getattr(event, name) for name in expected} == expected
    assert event.tags == expected.get("tags", {})


@pytest.mark.parametrize(
    ("raw", "names"),
    [
        ({"question": "a", "query": "b"}, ("question", "query")),
        ({"query": "b", "question": "a"}, ("question", "query")),
        ({"latency_ms": 5, "duration": 0.005}, ("latency_ms", "duration")),
        ({"timestamp": 1795507200, "time": 1795507200}, ("timestamp", "time")),
        ({"contexts": ["a"], "documents": []}, ("contexts", "documents")),
    ],
    ids=str,
)
def test_two_names_for_one_field_are_refused_and_both_are_named(raw: dict[str, object], names: tuple[str, str]):
    with pytest.raises(InvalidEvent) as caught:
        made(raw)
    assert all(name in caught.value.reason for name in names)


def test_an_alias_that_holds_nothing_is_in_nobodys_way():
    assert made({"latency_ms": None, "response_time": 2.0}).response_time == 2.0


@pytest.mark.parametrize(
    ("kind", "raw"),
    [
        ("query", {"latency_ms": "12"}),
        ("query", {"latency_ms": True}),
        ("query", {"latency_ms": 10**400}),
        ("query", {"success": 1}),
        ("query", {"contexts": "a"}),
        ("feedback", {"thumbs_up": "yes"}),
    ],
    ids=lambda value: str(value)[:40],
)
def test_a_value_that_cannot_be_converted_is_refused_under_the_callers_name(kind: str, raw: dict[str, object]):
    with pytest.raises(InvalidEvent) as caught:
        made(raw, kind)
    assert caught.value.field == next(iter(raw))


def test_bounds_hold_after_the_conversion():
    with pytest.raises(InvalidEvent, match="at least 0") as caught:
        made({"latency_ms": -1})
    assert caught.value.field == "response_time"
