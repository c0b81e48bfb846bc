"""Processors: hashing, tags, sampling, and the list that settings make of them."""

from __future__ import annotations

import hashlib
import os
import stat
import threading
from datetime import UTC, datetime
from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from barograph.collect.otel import query_of
from barograph.collect.processors import (
    KEY_FILE,
    AddTags,
    HashUsers,
    Redact,
    Sample,
    from_settings,
    user_hash_key,
)
from barograph.core.event import (
    EPOCH,
    MAX_TAGS,
    Annotation,
    Attribution,
    Event,
    Exposure,
    Feedback,
    Metric,
    Query,
    Score,
    Span,
    SpanEvent,
    Status,
    System,
)
from barograph.core.settings import CollectSettings
from barograph_client.errors import InvalidSettings, JournalError

NOW = datetime(2026, 11, 24, 9, 0, tzinfo=UTC)
KEY = bytes(range(32))


def query(number: int = 0, trace_id: str = "", status: Status = "ok") -> Query:
    return Query(event_id=f"e{number}", time=NOW, trace_id=trace_id, status=status)


# hashing


def test_a_user_gets_the_keyed_hash_in_every_kind_that_names_one() -> None:
    expected = hashlib.blake2b(b"alice", key=KEY, digest_size=16).hexdigest()
    processor = HashUsers(KEY)
    assert len(expected) == 32
    events: list[Event] = [
        Query(event_id="e", time=NOW, user_id="alice", session_id="s"),
        Feedback(event_id="e", time=NOW, user_id="alice"),
        Score(event_id="e", time=NOW, user_id="alice", name="n", value=1),
    ]
    for event in events:
        after = processor(event)
        assert isinstance(after, Query | Feedback | Score)
        assert (after.user_id, after.event_id) == (expected, "e")
    exposed = processor(Exposure(event_id="e", time=NOW, experiment="x", arm="a", unit_id="alice"))
    assert isinstance(exposed, Exposure)
    assert exposed.unit_id == expected  # so that an experiment finds the user's queries
    span = processor(
        Span(
            event_id="e",
            time=NOW,
            trace_id="t",
            span_id="s",
            attributes={"user.id": "alice", "enduser.id": "", "m": "x"},
        )
    )
    assert isinstance(span, Span)
    assert span.attributes == {"user.id": expected, "enduser.id": "", "m": "x"}
    assert processor.hash("alice") == expected


def test_what_is_no_user_is_not_hashed() -> None:
    processor = HashUsers(KEY)
    for event in (
        Query(event_id="e", time=NOW),
        Exposure(event_id="e", time=NOW, experiment="x", arm="a", unit_id="s1", unit_kind="session"),
        Span(event_id="e", time=NOW, trace_id="t", span_id="s", attributes={"user.name": "x"}),
        System(event_id="e", time=NOW),
    ):
        assert processor(event) is event


def test_a_derived_line_is_not_hashed_a_second_time() -> None:
    event = Attribution(
        event_id="e", time=NOW, origin="internal", subject="feedback", subject_id="f", name="rating", user_id="hashed"
    )
    assert HashUsers(KEY)(event) is event


def test_another_key_gives_another_hash() -> None:
    assert HashUsers(KEY).hash("alice") != HashUsers(bytes(32)).hash("alice")


@pytest.mark.parametrize("length", [0, 15, 65])
def test_a_key_that_is_too_short_or_too_long_is_refused(length: int) -> None:
    with pytest.raises(InvalidSettings, match=f"{length} bytes"):
        HashUsers(bytes(length))


# the key's file


def test_the_key_is_made_once_and_only_its_owner_may_read_it(tmp_path: Path) -> None:
    path = tmp_path / KEY_FILE
    before = os.umask(0)
    try:
        key = user_hash_key(path, lambda length: b"\x07" * length)
    finally:
        os.umask(before)
    assert key == b"\x07" * 32
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert user_hash_key(path) == key
    assert [entry.name for entry in tmp_path.iterdir()] == [KEY_FILE]


def test_a_key_that_a_copy_opened_to_others_is_closed_again(tmp_path: Path) -> None:
    path = tmp_path / KEY_FILE
    key = user_hash_key(path)
    path.chmod(0o644)
    assert user_hash_key(path) == key
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


@pytest.mark.parametrize("content", [b"", b"00ff", b"zz" * 32, b"\xff" * 64, b"00" * 33])
def test_a_damaged_key_is_said_and_never_replaced(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / KEY_FILE
    path.write_bytes(content)
    with pytest.raises(InvalidSettings, match="does not hold a key") as caught:
        user_hash_key(path)
    assert "backup" in caught.value.hint
    assert path.read_bytes() == content


def test_those_who_make_the_key_at_once_get_the_same(tmp_path: Path) -> None:
    path = tmp_path / KEY_FILE
    start = threading.Barrier(8)
    keys: list[bytes] = []

    def make() -> None:
        start.wait(10)
        keys.append(user_hash_key(path))

    threads = [threading.Thread(target=make) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(10)
    assert len(keys) == 8
    assert len(set(keys)) == 1
    assert [entry.name for entry in tmp_path.iterdir()] == [KEY_FILE]


def test_a_key_that_cannot_be_written_is_an_error_with_a_hint(tmp_path: Path) -> None:
    with pytest.raises(JournalError, match=KEY_FILE) as caught:
        user_hash_key(tmp_path / "missing" / KEY_FILE)
    assert caught.value.hint


# tags


def test_tags_are_added_and_the_events_own_win() -> None:
    event = Metric(event_id="e", time=NOW, name="n", value=1, tags={"region": "north", "own": "x"})
    assert AddTags({"region": "south", "team": "a"})(event).tags == {"region": "north", "own": "x", "team": "a"}
    assert AddTags({"team": "a"})(Annotation(event_id="e", time=NOW, title="t")).tags == {"team": "a"}


@given(st.integers(0, MAX_TAGS), st.integers(0, MAX_TAGS))
def test_an_event_never_gets_more_tags_than_it_may_have_and_loses_none(own: int, added: int) -> None:
    mine = {f"own{i}": "x" for i in range(own)}
    tags = AddTags({f"added{i}": "y" for i in range(added)})(Query(event_id="e", time=NOW, tags=mine)).tags
    assert len(tags) == min(MAX_TAGS, own + added)
    assert tags.items() >= mine.items()


@pytest.mark.parametrize("tags", [{"": "x"}, {"a": "x" * 65_537}, {"a": "\ud83d"}, {f"t{i}": "" for i in range(65)}])
def test_tags_that_no_event_may_have_are_refused_at_the_start(tags: dict[str, str]) -> None:
    with pytest.raises(InvalidSettings, match="tags"):
        AddTags(tags)


# sampling


def test_errors_queries_without_an_answer_and_other_kinds_are_all_kept() -> None:
    sample = Sample(1e-9)
    kept: list[Event] = [
        query(status="error"),
        query(status="no_answer"),
        Feedback(event_id="e", time=NOW, rating=5),
        System(event_id="e", time=NOW),
        Span(event_id="e", time=NOW, trace_id="t", span_id="s"),
    ]
    assert [sample(event) for event in kept] == kept
    assert sample(query()) is None


def test_a_rate_of_one_keeps_all() -> None:
    assert all(Sample(1)(query(number)) for number in range(1000))


@pytest.mark.parametrize("rate", [0.05, 0.5, 0.9])
def test_the_share_that_is_kept_is_the_rate(rate: float) -> None:
    total = 20_000
    kept = sum(Sample(rate)(query(trace_id=f"trace-{number}")) is not None for number in range(total))
    # Ids are fixed, so the count is too: within five standard deviations of a fair draw.
    assert abs(kept - rate * total) < 5 * (total * rate * (1 - rate)) ** 0.5


@given(st.text(min_size=1), st.floats(0.01, 1), st.floats(0.01, 1))
def test_a_trace_is_kept_or_left_out_as_a_whole_and_more_keeps_what_less_kept(
    trace: str, one: float, two: float
) -> None:
    low, high = sorted((one, two))
    decisions = {Sample(low)(query(number, trace_id=trace)) is not None for number in range(5)}
    assert len(decisions) == 1
    if decisions == {True}:
        assert Sample(high)(query(trace_id=trace)) is not None


def test_without_a_trace_each_query_is_decided_by_its_own_id() -> None:
    kept = [Sample(0.5)(query(number)) is not None for number in range(100)]
    assert 20 < sum(kept) < 80


@pytest.mark.parametrize("rate", [0.0, -1.0, 1.5, float("nan")])
def test_a_rate_that_is_no_share_is_refused(rate: float) -> None:
    with pytest.raises(InvalidSettings, match="rate"):
        Sample(rate)


# settings


def test_the_settings_make_the_processors_in_their_order(tmp_path: Path) -> None:
    everything = CollectSettings(
        hash_users=True, redact=("email",), redact_patterns={"order": "ORD-[0-9]+"}, tags={"team": "a"}, sample=0.5
    )
    processors = from_settings(everything, tmp_path / KEY_FILE)
    assert [type(one) for one in processors] == [HashUsers, Redact, AddTags, Sample]
    event: Event | None = Query(
        event_id="e", time=NOW, status="error", user_id="alice", query="ORD-17 of a@b.co", answer="+4930123456"
    )
    for processor in processors:
        assert event is not None
        event = processor(event)
    assert isinstance(event, Query)
    assert (event.query, event.answer, event.tags) == ("[order] of [email]", "+4930123456", {"team": "a"})
    assert event.user_id == HashUsers(user_hash_key(tmp_path / KEY_FILE)).hash("alice")


def test_settings_that_ask_for_nothing_make_no_processor_and_no_key(tmp_path: Path) -> None:
    assert from_settings(CollectSettings(), tmp_path / KEY_FILE) == []
    assert list(tmp_path.iterdir()) == []


def test_an_own_pattern_alone_redacts() -> None:
    (redact,) = from_settings(CollectSettings(redact_patterns={"order": "ORD-[0-9]+"}), None)
    event = redact(Query(event_id="e", time=NOW, query="ORD-1 a@b.co"))
    assert isinstance(event, Query)
    assert event.query == "[order] a@b.co"


def test_hashing_without_a_place_for_the_key_is_refused() -> None:
    with pytest.raises(InvalidSettings, match="hash_users"):
        from_settings(CollectSettings(hash_users=True), None)


class TestSpans:
    def test_a_user_is_hashed_wherever_a_query_event_would_find_one(self) -> None:
        span = Span(
            event_id="s", time=EPOCH, trace_id="t", span_id="a",
            attributes={
                "user.id": "ann", "traceloop.association.properties.user_id": "ann",
                "metadata": '{"user_id":"ann","tenant":"t1","user":7}', "input.value": "hello",
            },
        )  # fmt: skip
        hashing = HashUsers(b"0123456789abcdef")
        kept = hashing(span)
        assert isinstance(kept, Span)
        assert "ann" not in str(kept.attributes)
        metadata = msgspec.json.decode(kept.attributes["metadata"])
        assert metadata == {"user_id": hashing.hash("ann"), "tenant": "t1", "user": hashing.hash("7")}
        assert kept.attributes["user.id"] == hashing.hash("ann")
        found = query_of([kept])
        assert not isinstance(found, Query) or found.user_id == hashing.hash("ann")

    def test_what_happened_inside_a_span_is_redacted_too(self) -> None:
        inner = SpanEvent(time=EPOCH, name="exception", attributes={"exception.message": "mail ann@example.org"})
        span = Span(event_id="s", time=EPOCH, trace_id="t", span_id="a", events=[inner])
        kept = Redact()(span)
        assert isinstance(kept, Span)
        assert kept.events[0].attributes == {"exception.message": "mail [email]"}
