"""MetricsCollector in synchronous mode on a real journal: what returns is durable, what is refused is told and kept."""

from __future__ import annotations

import json
import random
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest
from collect_support import SEED, START, Open, rejected, stored

from barograph.collect.metrics_collector import BATCH, MetricsCollector
from barograph.collect.sinks import JournalSink
from barograph.core.event import Attribution, Event, Query, System
from barograph.core.settings import CollectSettings, JournalSettings
from barograph.journal.journal import Journal
from barograph_client.clock import ManualClock
from barograph_client.errors import InvalidEvent, JournalClosed
from barograph_client.identifiers import IdentifierSource


class TestOneEvent:
    def test_an_event_is_on_disk_when_its_id_is_returned(self, open_collector: Open, tmp_path: Path):
        event_id = open_collector().record_query_execution(SEED)
        (line,) = stored(tmp_path / "data", "query")
        assert line["event_id"] == event_id
        assert {name: line[name] for name in SEED} == SEED

    def test_each_record_method_writes_its_kind(self, open_collector: Open, tmp_path: Path):
        collector = open_collector()
        collector.record_query_execution({"trace_id": "t"})
        collector.record_feedback({"trace_id": "t", "rating": 4, "comment": "good"})
        collector.record_score({"trace_id": "t", "name": "faithfulness", "value": 0.9})
        collector.record_system({"cpu_percent": 12.5})
        collector.record_exposure({"experiment": "e", "arm": "b", "unit_id": "u"})
        collector.record("depth", 3, {"queue": "q", "shard": 2}, unit="items", pipeline="p")
        collector.annotate("v2 is live", "deploy", "new prompt", "https://example.org", START, "production")
        collector.record_event("span", {"trace_id": "t", "span_id": "s"})
        lines = {str(line["kind"]): line for line in stored(tmp_path / "data")}
        assert set(lines) == {"query", "feedback", "score", "system", "exposure", "metric", "annotation", "span"}
        assert lines["metric"]["tags"] == {"queue": "q", "shard": "2"}
        assert (lines["metric"]["value"], lines["metric"]["unit"], lines["metric"]["pipeline"]) == (3.0, "items", "p")
        assert lines["annotation"] == lines["annotation"] | {
            "title": "v2 is live", "category": "deploy", "text": "new prompt", "link": "https://example.org",
            "time": "2026-11-24T09:00:00Z", "environment": "production",
        }  # fmt: skip

    def test_a_refused_event_is_told_and_its_original_kept(self, open_collector: Open, tmp_path: Path):
        collector = open_collector()
        with pytest.raises(InvalidEvent, match="cost: must be a finite number"):
            collector.record_query_execution({"cost": float("nan"), "query": "q"})
        (line,) = rejected(tmp_path / "data")
        assert (line["kind"], line["field"], line["reason"]) == ("query", "cost", "must be a finite number")
        assert line["original"] == '{"cost":NaN,"query":"q"}'
        assert stored(tmp_path / "data") == []

    def test_a_retry_returns_the_id_and_is_counted_once(self, open_collector: Open, journal: Journal, tmp_path: Path):
        collector = open_collector()
        assert [collector.record_query_execution(SEED | {"event_id": "a"}) for _ in range(3)] == ["a"] * 3
        assert len(stored(tmp_path / "data")) == 1
        assert (journal.account().stored, journal.account().duplicate) == (1, 2)

    def test_what_cannot_be_made_durable_raises(self, open_collector: Open, journal: Journal):
        collector = open_collector()
        journal.close()
        with pytest.raises(JournalClosed):
            collector.record_query_execution(SEED)
        assert collector.counts.received == 0

    def test_derived_kinds_and_internal_origin_are_refused_from_callers(self, open_collector: Open):
        collector = open_collector()
        with pytest.raises(InvalidEvent, match="not a kind"):
            collector.record_event("attribution", {"subject": "score", "subject_id": "a", "name": "b"})
        with pytest.raises(InvalidEvent, match="Barograph's own"):
            collector.record_system({"origin": "internal"})

    def test_events_belong_to_the_collectors_project(self, open_collector: Open, tmp_path: Path):
        open_collector(project="shop").record_query_execution(SEED)
        assert stored(tmp_path / "data")[0]["project"] == "shop"

    def test_a_query_can_be_timed(self, open_collector: Open, tmp_path: Path):
        collector = open_collector()

        @collector.timed(pipeline="decorated")
        def answer(question: str) -> str:
            return question.upper()

        assert answer("why") == "WHY"
        with collector.query(pipeline="block") as query:
            query.answer = "because"
        lines = {line["pipeline"]: line for line in stored(tmp_path / "data", "query")}
        assert (lines["decorated"]["query"], lines["decorated"]["answer"]) == ("why", "WHY")
        assert lines["block"]["answer"] == "because"
        assert lines["block"]["response_time"] >= 0


class TestInternalEvents:
    def test_they_are_kept_apart_and_not_counted_as_received(
        self, open_collector: Open, journal: Journal, tmp_path: Path
    ):
        collector = open_collector()
        event = System(event_id="a", time=START, cpu_percent=3.0)
        assert collector.record_internal(event) == "stored"
        assert collector.record_internal(event) == "duplicate"
        derived = Attribution(event_id="b", time=START, subject="score", subject_id="s", name="n")
        assert collector.record_internal(derived) == "stored"
        assert stored(tmp_path / "data") == []
        assert journal.account().internal == {"attribution": 1, "system": 1}
        assert (journal.account().received, collector.counts.received) == (0, 0)
        text = next((tmp_path / "data").glob("journal/system/*/*-internal.jsonl")).read_text()
        assert json.loads(text)["origin"] == "internal"

    @pytest.mark.parametrize("wrong", [{"cpu_percent": float("nan")}, {"host": "x" * 300}, {"host": "\ud800"}], ids=str)
    def test_a_wrong_one_is_refused(self, open_collector: Open, journal: Journal, wrong: dict[str, object]):
        event = msgspec.structs.replace(System(event_id="a", time=START), **wrong)
        with pytest.raises(InvalidEvent):
            open_collector().record_internal(event)
        assert journal.account().internal == {}


class TestProcessors:
    def test_each_sees_what_the_one_before_it_made(self, open_collector: Open, tmp_path: Path):
        def shout(event: Event) -> Event:
            assert isinstance(event, Query)
            return msgspec.structs.replace(event, query=event.query.upper())

        def mark(event: Event) -> Event:
            assert isinstance(event, Query)
            return msgspec.structs.replace(event, query=event.query + "!")

        open_collector(processors=[shout, mark]).record_query_execution({"query": "why"})
        assert stored(tmp_path / "data")[0]["query"] == "WHY!"

    def test_a_sampled_out_event_is_counted_and_leaves_only_its_id(
        self, open_collector: Open, journal: Journal, tmp_path: Path
    ):
        collector = open_collector(processors=[lambda event: None if event.event_id == "a" else event])
        assert collector.record_query_execution(SEED | {"event_id": "a"}) == "a"
        assert collector.record_many([SEED | {"event_id": "b"}, SEED | {"event_id": "a"}]) == ["b", "a"]
        assert [line["event_id"] for line in stored(tmp_path / "data")] == ["b"]
        for line in rejected(tmp_path / "data"):
            assert (line["field"], line["reason"], line["original"]) == ("sample", "sampled out", '{"event_id":"a"}')
        counts, account = collector.counts, journal.account()
        assert (counts.received, counts.stored, counts.rejected, counts.sampled) == (3, 1, 2, 2)
        assert (account.received, account.stored, account.rejected) == (3, 1, 2)

    def test_one_that_fails_refuses_the_event_and_keeps_the_original(self, open_collector: Open, tmp_path: Path):
        def broken(event: Event) -> Event:
            raise KeyError("no such thing")

        collector = open_collector(processors=[broken])
        with pytest.raises(InvalidEvent, match="the processor broken failed with KeyError"):
            collector.record_query_execution(SEED)
        assert rejected(tmp_path / "data")[0]["original"] == json.dumps(SEED, separators=(",", ":"))

    def test_half_a_surrogate_pair_that_breaks_one_is_told_as_what_it_is(self, open_collector: Open):
        def hashing(event: Event) -> Event:
            assert isinstance(event, Query)
            event.user_id.encode()
            return event

        with pytest.raises(InvalidEvent, match="user_id: holds half a surrogate pair"):
            open_collector(processors=[hashing]).record_query_execution({"user_id": "\ud800"})


class TestManyEvents:
    def test_a_bad_item_does_not_hold_up_the_others(self, open_collector: Open, tmp_path: Path):
        items: list[object] = [
            SEED | {"event_id": "a"},
            b'{"event_id": "b", "question": "q"}',
            '{"event_id": "c", "kind": "feedback", "rating": 5}',
            b"{broken",
            {"cost": -1},
            None,
            {"kind": "attribution"},
            {"kind": 5},
            b"\xff",
        ]
        results = open_collector().record_many(items)
        assert results[:3] == ["a", "b", "c"]
        assert all(isinstance(result, InvalidEvent) for result in results[3:])
        assert {line["event_id"]: line["kind"] for line in stored(tmp_path / "data")} == {
            "a": "query", "b": "query", "c": "feedback",
        }  # fmt: skip
        kept = rejected(tmp_path / "data")
        assert [line.get("original") for line in kept[:2]] == ["{broken", '{"cost":-1}']
        assert kept[-1]["original_base64"] == "/w=="
        assert len(kept) == 6

    def test_a_refused_line_is_kept_as_it_came(self, open_collector: Open, tmp_path: Path):
        line = b'{ "cost" : -1.50 , "query":"\xc3\xa9"}'
        (result,) = open_collector().record_many([line])
        assert isinstance(result, InvalidEvent)
        assert rejected(tmp_path / "data")[0]["original"] == line.decode()

    def test_a_kind_that_is_named_for_all_must_be_that_of_each(self, open_collector: Open):
        results = open_collector().record_many([{"rating": 4}, {"rating": 4, "kind": "query"}], "feedback")
        assert isinstance(results[0], str)
        assert isinstance(results[1], InvalidEvent)
        assert results[1].field == "kind"

    @pytest.mark.parametrize("seed", range(3))
    def test_any_split_of_a_stream_comes_to_the_same(self, open_collector: Open, tmp_path: Path, seed: int):
        chance = random.Random(seed)
        items = [{"event_id": str(chance.randrange(1500)), "cost": chance.choice([1, -1])} for _ in range(2500)]
        collector = open_collector()
        results = []
        while len(results) < len(items):
            size = chance.randrange(1, 2 * BATCH + 100)
            results += collector.record_many(items[len(results) : len(results) + size])
        good = [item["event_id"] for item in items if item["cost"] == 1]
        assert [result for result in results if isinstance(result, str)] == good
        assert [line["event_id"] for line in stored(tmp_path / "data")] == list(dict.fromkeys(good))
        counts = collector.counts
        assert (counts.received, counts.stored, counts.rejected, counts.duplicate) == (
            2500, len(set(good)), 2500 - len(good), len(good) - len(set(good)),
        )  # fmt: skip

    def test_a_batch_of_the_stream_is_durable_when_it_is_given_out(self, open_collector: Open, tmp_path: Path):
        seen = 0
        for results in open_collector().stream({"event_id": str(n)} for n in range(7 * BATCH + 1)):
            seen += len(results)
            assert len(stored(tmp_path / "data")) >= seen
        assert seen == 7 * BATCH + 1

    def test_whoever_stops_in_the_middle_leaves_the_counts_right(self, open_collector: Open, journal: Journal):
        collector = open_collector()
        batches = collector.stream(SEED for _ in range(20 * BATCH))
        next(batches)
        batches.close()  # type: ignore[attr-defined]
        assert collector.counts.stored == journal.account().stored > BATCH

        def broken() -> Iterator[object]:
            for _ in range(3 * BATCH):
                yield SEED
            raise OSError("the file is gone")

        with pytest.raises(OSError, match="the file is gone"):
            collector.record_many(broken())
        assert collector.counts.stored == journal.account().stored

    def test_nothing_to_record_is_nothing(self, open_collector: Open):
        collector = open_collector()
        assert collector.record_many([]) == []
        assert collector.counts.received == 0

    def test_a_journal_that_fails_is_told(self, open_collector: Open, journal: Journal):
        collector = open_collector()
        journal.close()
        with pytest.raises(JournalClosed):
            collector.record_many([SEED])


class TestCounts:
    def test_threads_that_share_a_collector_lose_and_double_nothing(
        self, open_collector: Open, journal: Journal, tmp_path: Path
    ):
        collector = open_collector()

        def work(worker: int) -> None:
            for n in range(60):
                collector.record_query_execution({"event_id": f"{worker} {n // 2}"})
                with pytest.raises(InvalidEvent):
                    collector.record_feedback({"rating": 9})

        threads = [threading.Thread(target=work, args=(n,)) for n in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        counts, account = collector.counts, journal.account()
        assert (counts.stored, counts.duplicate, counts.rejected) == (240, 240, 480)
        assert (account.stored, account.duplicate, account.rejected) == (240, 240, 480)
        assert counts.received == account.received == 960
        assert len({line["event_id"] for line in stored(tmp_path / "data")}) == 240


def test_time_and_ids_come_from_what_is_passed_in(tmp_path: Path):
    clock = ManualClock(START)
    ids = IdentifierSource(clock, random.Random(1).randbytes)
    with Journal(tmp_path / "data", clock, JournalSettings()) as journal:
        made = MetricsCollector(JournalSink(journal), clock, ids, CollectSettings()).record_query_execution(SEED)
    same = IdentifierSource(clock, random.Random(1).randbytes)
    assert made == same.new()
    assert stored(tmp_path / "data")[0]["time"] == "2026-11-24T09:00:00Z"


def test_the_collector_loads_no_engine_no_numbers_and_no_sampler():
    code = "import sys, barograph.collect.metrics_collector; print(*sys.modules)"
    loaded = set(
        subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    )
    assert "barograph.collect.metrics_collector" in loaded
    assert not loaded & {"numpy", "psutil", "scipy", "chdb", "clickhouse_connect", "sqlalchemy", "rich", "typer"}


def test_closing_twice_or_without_use_does_nothing(open_collector: Open):
    with open_collector() as collector:
        collector.record("a", 1)
    collector.close()
    assert collector.flush(0) is True
