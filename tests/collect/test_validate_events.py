"""Validation: good input becomes the event it means, bad input is refused with its field and a reason."""

from __future__ import annotations

import enum
import uuid
from collections import UserDict, deque
from datetime import UTC, date, datetime, timedelta, timezone
from decimal import Decimal

import numpy as np
import pytest
from collect_support import SEED, START, line_of, made, validator

from barograph.collect.validate import decode, encode
from barograph.core.event import CALLER_KINDS, Document, Feedback, Metric, Query
from barograph_client.errors import InvalidEvent, shorten
from barograph_client.limits import MAX_LINE


class Thing:
    """An object of a program's own, called the same in every process that collects these tests."""

    def __repr__(self) -> str:
        return "<a thing>"


class TestGoodInput:
    def test_the_short_dict_of_the_design_is_accepted_as_it_stands(self):
        event = made(SEED)
        assert isinstance(event, Query)
        assert {name: getattr(event, name) for name in SEED} == SEED
        assert event.tags == {}
        assert event.status == "ok"

    def test_the_input_is_not_changed(self):
        raw = {**SEED, "documents": [{"content": "a", "page": 1}], "tags": {"n": 1}, "extra": [1]}
        before = repr(raw)
        made(raw)
        assert repr(raw) == before

    def test_a_missing_id_and_time_are_filled_in(self):
        event = made(SEED)
        assert uuid.UUID(event.event_id).version == 7
        assert event.time == START
        assert made(SEED | {"event_id": "mine"}).event_id == "mine"

    def test_the_project_is_the_collectors_unless_given(self):
        assert validator("shop").event("query", SEED).project == "shop"
        assert validator("shop").event("query", SEED | {"project": "other"}).project == "other"
        assert made(SEED).project == "default"

    def test_a_line_has_the_kind_first_and_the_id_second_and_only_what_was_given(self):
        line = line_of(made({"event_id": "a", "cost": 0.0}))
        assert list(line.items()) == [
            ("kind", "query"), ("event_id", "a"), ("time", "2026-11-24T09:00:00Z"), ("cost", 0.0),
        ]  # fmt: skip

    @pytest.mark.parametrize("given", [None, "documents"], ids=["absent", "empty"])
    def test_documents_are_counted_only_when_they_are_given(self, given: str | None):
        event = made({} if given is None else {given: []})
        assert event.document_count == (None if given is None else 0)
        assert made({"documents": [{"id": "a"}, {"id": "b"}]}).document_count == 2
        assert made({"documents": [{"id": "a"}], "document_count": 40}).document_count == 40

    def test_nothing_is_the_same_as_absent(self):
        assert made(dict.fromkeys(Query.__struct_fields__) | {"event_id": "a"}) == made({"event_id": "a"})

    def test_a_query_with_an_error_and_no_status_has_failed(self):
        assert made({"error_type": "Timeout"}).status == "error"
        assert made({"error_message": "boom"}).status == "error"
        assert made({"error_message": "recovered", "status": "ok"}).status == "ok"
        assert made({"error_message": ""}).status == "ok"

    def test_a_null_byte_is_a_character_like_others(self):
        assert line_of(made({"query": "a\0b"}))["query"] == "a\0b"


class TestTimes:
    @pytest.mark.parametrize(
        "given",
        [
            "2026-11-24T08:00:00Z",
            "2026-11-24 08:00:00",
            "2026-11-24T09:00:00+01:00",
            "2026-11-24T08:00",
            datetime(2026, 11, 24, 8),
            datetime(2026, 11, 24, 8, tzinfo=UTC),
            datetime(2026, 11, 24, 13, 30, tzinfo=timezone(timedelta(hours=5, minutes=30))),
            1795507200,
            1795507200.0,
            Decimal(1795507200),
            np.int64(1795507200),
            np.datetime64("2026-11-24T08:00:00"),
        ],
        ids=shorten,
    )
    @pytest.mark.parametrize("name", ["time", "timestamp"])
    def test_every_way_to_say_a_time_is_the_same_time(self, name: str, given: object):
        time = made({name: given}).time
        assert (time, time.tzinfo) == (datetime(2026, 11, 24, 8, tzinfo=UTC), UTC)
        assert type(time) is datetime

    def test_milliseconds_are_taken_under_their_own_name(self):
        assert made({"timestamp_ms": 1795507200250}).time == datetime(2026, 11, 24, 8, 0, 0, 250_000, UTC)

    @pytest.mark.parametrize("offset", [timedelta(seconds=600), timedelta(0)])
    def test_the_window_ends_ten_minutes_ahead(self, offset: timedelta):
        assert made({"time": START + offset}).time == START + offset
        assert made({"time": (START + offset).timestamp()}).time == START + offset

    @pytest.mark.parametrize(
        "given",
        [
            START + timedelta(seconds=600, microseconds=1),
            (START + timedelta(seconds=601)).timestamp(),
            "1999-12-31T23:59:59.999999Z",
            datetime(1, 1, 1),
            datetime(9999, 12, 31, 23, tzinfo=timezone(timedelta(hours=-5))),
            datetime(1, 1, 1, tzinfo=timezone(timedelta(hours=5))),
            1795507200250,
            0,
            -1,
            10**4000,
            float("nan"),
            float("inf"),
        ],
        ids=shorten,
    )
    def test_a_time_outside_the_window_is_refused(self, given: object):
        with pytest.raises(InvalidEvent, match="lies outside 2000-01-01 to 10 minutes ahead") as caught:
            made({"time": given})
        assert caught.value.field == "time"

    @pytest.mark.parametrize("given", ["yesterday", "1795507200", "", "2026-13-01", "2026-11-24T25:00", "9" * 10_000])
    def test_a_text_that_is_no_time_is_refused(self, given: str):
        with pytest.raises(InvalidEvent, match="is not an ISO 8601 time"):
            made({"time": given})

    @pytest.mark.parametrize("given", [True, [2026], {"year": 2026}, object()], ids=["bool", "list", "dict", "object"])
    def test_what_is_neither_is_refused(self, given: object):
        with pytest.raises(InvalidEvent) as caught:
            made({"time": given})
        assert caught.value.field == "time"


class TestTags:
    def test_unknown_fields_are_kept_as_tags_with_their_values_as_text(self):
        raw = {
            "region": "eu", "attempt": 3, "cache": True, "share": 0.25, "parts": [1, {"a": "é"}],
            "at": date(2026, 1, 2),
        }  # fmt: skip
        assert made(SEED | raw).tags == {
            "region": "eu", "attempt": "3", "cache": "true", "share": "0.25", "parts": '[1,{"a":"é"}]',
            "at": "2026-01-02",
        }  # fmt: skip

    def test_they_join_the_tags_that_are_given(self):
        assert made({"tags": {"a": "1", "n": 2, "gone": None}, "b": True}).tags == {"a": "1", "n": "2", "b": "true"}
        assert made({"tags": {"a": "1"}, "a": 1}).tags == {"a": "1"}

    def test_two_values_for_one_tag_are_refused(self):
        with pytest.raises(InvalidEvent, match="is in the tags too, with another value") as caught:
            made({"tags": {"a": "1"}, "a": 2})
        assert caught.value.field == "a"

    @pytest.mark.parametrize(
        ("raw", "field"),
        [
            ({"tags": {"a": "x" * 65_537}}, "tags.a"),
            ({"tags": {"": "x"}}, "tags"),
            ({"tags": {"n" * 129: "x"}}, "tags"),
            ({"tags": {1: "x"}}, "tags"),
            ({"tags": {str(n): "x" for n in range(65)}}, "tags"),
            ({f"field {n}": "x" for n in range(65)}, "tags"),
            ({"extra": "x" * 65_537}, "extra"),
            ({"n" * 129: "x"}, "n" * 119 + "…"),
            ({"tags": "a"}, "tags"),
            ({"tags": ["a"]}, "tags"),
            ({"tags": {"a": float("nan")}}, "tags.a"),
            ({"extra": [float("inf")]}, "extra"),
            ({"extra": 10**5000}, "extra"),
            ({"extra": Thing()}, "extra"),
        ],
        ids=lambda value: shorten(value, 40),
    )
    def test_a_tag_that_cannot_be_kept_is_refused_not_cut(self, raw: dict[str, object], field: str):
        with pytest.raises(InvalidEvent) as caught:
            made(raw)
        assert caught.value.field.strip("…") == field.strip("…")

    def test_the_longest_and_the_most_are_kept(self):
        tags = {f"{n:0128}": "x" * 4096 for n in range(64)}
        assert made({"tags": tags}).tags == tags

    def test_attributes_of_a_span_become_text_as_well(self):
        span = made({"trace_id": "t", "span_id": "s", "attributes": {"top_k": 5, "on": True}}, "span")
        assert span.attributes == {"top_k": "5", "on": "true"}

    def test_what_a_document_has_besides_becomes_one_tag_a_name(self):
        event = made({"documents": [{"id": "a", "page": 3}, {"id": "b"}, {"id": "c", "page": 9, "lang": "de"}]})
        assert event.documents == [Document(id="a"), Document(id="b"), Document(id="c")]
        assert event.tags == {"documents.page": "[3,null,9]", "documents.lang": '[null,null,"de"]'}


class TestForeignTypes:
    def test_numbers_of_numpy_and_decimal_are_numbers(self):
        event = made(
            {
                "cost": Decimal("0.25"), "response_time": np.float64(1.5), "retrieval_time": np.float32(0.5),
                "input_tokens": np.int64(7), "output_tokens": Decimal(9), "generation_time": np.array(2.0),
                "documents": [{"score": np.float32(0.5), "cited": np.bool_(True)}],
            }
        )  # fmt: skip
        assert (event.cost, event.response_time, event.retrieval_time, event.generation_time) == (0.25, 1.5, 0.5, 2.0)
        assert (event.input_tokens, event.output_tokens) == (7, 9)
        assert event.documents == [Document(score=0.5, cited=True)]
        assert encode(event)

    def test_mappings_sequences_enums_and_uuids_are_what_they_hold(self):
        class Model(enum.Enum):
            SMALL = "small"

        class Status(enum.StrEnum):
            NONE = "no_answer"

        event_id = uuid.UUID(int=5)
        event = made(
            UserDict(
                event_id=event_id, model=Model.SMALL, status=Status.NONE, documents=deque([Document(id="a")]),
                variants=UserDict(layout="b"), parts=(1, 2), query=b"caf\xc3\xa9",
            )
        )  # fmt: skip
        assert (event.event_id, event.model, event.status) == (str(event_id), "small", "no_answer")
        assert event.documents == [Document(id="a")]
        assert event.variants == {"layout": "b"}
        assert event.tags == {"parts": "[1,2]"}
        assert event.query == "café"
        assert type(event.status) is str


BAD = [
    ({"cost": float("nan")}, "cost", "finite"),
    ({"cost": float("inf")}, "cost", "finite"),
    ({"cost": float("-inf")}, "cost", "finite"),
    ({"cost": Decimal("NaN")}, "cost", "finite"),
    ({"cost": Decimal("1E+999999")}, "cost", "finite"),
    ({"cost": np.float64("nan")}, "cost", "finite"),
    ({"response_time": -0.001}, "response_time", "at least 0"),
    ({"response_time": 10**400}, "response_time", "range"),
    ({"input_tokens": 10**400}, "input_tokens", "at most"),
    ({"input_tokens": 1.5}, "input_tokens", "a whole number, not a number"),
    ({"input_tokens": True}, "input_tokens", "a whole number, not true or false"),
    ({"cost": True}, "cost", "a number, not true or false"),
    ({"cost": "0.02"}, "cost", "a number, not text"),
    ({"cost": np.bool_(True)}, "cost", "a number, not true or false"),
    ({"cost": [1]}, "cost", "a number, not a list"),
    ({"cost": {}}, "cost", "a number, not a mapping"),
    ({"cost": timedelta(seconds=1)}, "cost", "timedelta"),
    ({"cost": 1j}, "cost", "complex"),
    ({"user_id": 7}, "user_id", "text, not a whole number"),
    ({"user_id": "u" * 257}, "user_id", "more than 256 characters"),
    ({"query": "q" * 262_145}, "query", "more than 262,144 characters"),
    ({"query": b"\xff\xfe"}, "query", "not UTF-8"),
    ({"status": "fine"}, "status", "one of the values"),
    ({"accuracy_score": 1.01}, "accuracy_score", "at most 1"),
    ({"event_id": ""}, "event_id", "must not be empty"),
    ({"project": ""}, "project", "must not be empty"),
    ({"kind": "feedback"}, "kind", "another kind"),
    ({"kind": "k" * 100_000}, "kind", "another kind"),
    ({"origin": "internal"}, "origin", "Barograph's own"),
    ({"documents": "d"}, "documents", "must be a list"),
    ({"documents": ["d"]}, "documents[0]", "must be a mapping"),
    ({"documents": [{}] * 201}, "documents", "more than 200 items"),
    ({"documents": [{}, {}, {}, {"score": "high"}]}, "documents[3].score", "a number, not text"),
    ({"documents": [{}, {"score": float("nan")}]}, "documents[1].score", "finite"),
    ({"documents": [{"text": "a", "content": "b"}]}, "documents[0].text", "as text and as content"),
    ({"documents": [{"rank": -1}]}, "documents[0].rank", "at least 0"),
    ({"variants": {"layout": 1}}, "variants.layout", "text, not a whole number"),
    ({"variants": {"": "a"}}, "variants", "must not be empty"),
    ({"variants": ["a"]}, "variants", "a mapping, not a list"),
    ({"modelled": ["cost", ""]}, "modelled[1]", "must not be empty"),
    ({1: 2}, "", "a key that is not text but int"),
    ({"documents": [{None: 2}]}, "documents[0]", "a key that is not text but NoneType"),
]


class TestBadInput:
    @pytest.mark.parametrize(("raw", "field", "reason"), BAD, ids=[shorten(case[0], 60) for case in BAD])
    def test_a_bad_field_is_named_with_the_reason(self, raw: dict[str, object], field: str, reason: str):
        with pytest.raises(InvalidEvent) as caught:
            made(raw)
        assert caught.value.field == field
        assert reason in caught.value.reason
        assert len(str(caught.value)) < 600

    @pytest.mark.parametrize("raw", [None, 5, "text", b"bytes", [], [("a", 1)], {1}, Thing(), dict], ids=shorten)
    def test_what_is_no_mapping_is_refused(self, raw: object):
        with pytest.raises(InvalidEvent) as caught:
            made(raw)
        assert caught.value.field == ""

    @pytest.mark.parametrize(
        ("kind", "missing"),
        [
            ("score", "name"), ("exposure", "experiment"), ("metric", "name"), ("annotation", "title"),
            ("span", "trace_id"), ("alert", "rule"),
        ],
    )  # fmt: skip
    def test_a_missing_field_is_named(self, kind: str, missing: str):
        with pytest.raises(InvalidEvent, match="is required") as caught:
            made({}, kind)
        assert caught.value.field == missing

    def test_every_kind_of_callers_is_taken_and_no_other(self):
        assert isinstance(made({"comment": "good"}, "feedback"), Feedback)
        assert made({"name": "depth", "value": 3}, "metric") == Metric(
            event_id=made({}).event_id, time=START, name="depth", value=3.0
        )
        for kind in ("attribution", "Query", "", "../query", None, ["query"]):
            with pytest.raises(InvalidEvent):
                made(SEED, kind)  # type: ignore[arg-type]
        assert "attribution" not in CALLER_KINDS

    @pytest.mark.parametrize(
        ("raw", "field"),
        [
            ({"query": "a\ud800"}, "query"),
            ({"extra": "\udfff"}, "tags.extra"),
            ({"tags": {"\ud800": "a"}}, "tags"),
            ({"documents": [{}, {"text": "\ud800"}]}, "documents[1].text"),
            ({"variants": {"a": "\ud800"}}, "variants.a"),
            ({"event_id": "\ud800"}, "event_id"),
        ],
        ids=shorten,
    )
    def test_half_a_surrogate_pair_is_found_where_it_is(self, raw: dict[str, object], field: str):
        with pytest.raises(InvalidEvent, match="half a surrogate pair") as caught:
            encode(made(raw))
        assert caught.value.field == field

    @pytest.mark.parametrize("levels", [40, 5_000, 200_000])
    def test_deep_nesting_is_refused_before_it_is_followed(self, levels: int):
        for wrap in (lambda inner: [inner], lambda inner: {"a": inner}):
            nested: object = 1
            for _ in range(levels):
                nested = wrap(nested)
            with pytest.raises(InvalidEvent, match="nested deeper than 32 levels"):
                made({"extra": nested})

    def test_a_structure_that_holds_itself_is_refused(self):
        loop: list[object] = []
        loop += [loop, loop]
        with pytest.raises(InvalidEvent, match="nested deeper"):
            made({"extra": loop})

    def test_a_structure_that_unfolds_without_end_is_refused(self):
        wide: list[object] = [1] * 100
        for _ in range(20):
            wide = [wide] * 100
        with pytest.raises(InvalidEvent, match="holds more than 50,000 values"):
            made({"extra": wide})

    def test_an_event_longer_than_a_line_is_refused(self):
        documents = [{"text": "x" * 260_000}] * 5
        with pytest.raises(InvalidEvent, match="at most 1,048,576 bytes"):
            encode(made({"documents": documents}))
        assert len(encode(made({"documents": documents[:4]}))) < MAX_LINE


class TestLines:
    @pytest.mark.parametrize(
        ("line", "reason"),
        [
            (b"", "cannot be read"),
            (b"{", "cannot be read"),
            (b'{"query": "\xff"}', "not UTF-8"),
            ('{"query": "\ud800"}', "not UTF-8"),
            (b"[" * 100_000, "nested too deep"),
            (b" " * (MAX_LINE + 1), "at most 1,048,576 bytes"),
        ],
        ids=lambda value: shorten(value, 40),
    )
    def test_a_line_that_is_no_json_is_refused_with_the_reason(self, line: bytes | str, reason: str):
        with pytest.raises(InvalidEvent) as caught:
            decode(line)
        assert reason in caught.value.reason

    def test_a_byte_order_mark_does_no_harm(self):
        assert decode(b'\xef\xbb\xbf{"cost": 1}') == {"cost": 1}
