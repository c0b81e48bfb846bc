"""The load of the comparison is what it says, and its page tells figures, ratios, goals and failures rightly."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from bench.peers.__main__ import main
from bench.peers.environment import reason
from bench.peers.measure import Loss, Round
from bench.peers.report import RATE, ROWS, Result, page, table, times_better, write
from bench.peers.traces import DOCUMENTS, PROJECT, Batch, batches, some_of
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, KeyValue
from opentelemetry.proto.trace.v1.trace_pb2 import Span, Status

from barograph_client.clock import ManualClock

ROOT = Path(__file__).resolve().parent.parent.parent
END = datetime(2026, 11, 24, 12, tzinfo=UTC)


def decoded(batch: Batch) -> list[Span]:
    request = ExportTraceServiceRequest.FromString(batch.body)
    (resource,) = request.resource_spans
    assert attributes(resource.resource.attributes)["openinference.project.name"] == PROJECT
    return [span for scope in resource.scope_spans for span in scope.spans]


def attributes(pairs: Iterable[KeyValue]) -> dict[str, str | int | float]:
    def plain(value: AnyValue) -> str | int | float:
        found = getattr(value, str(value.WhichOneof("value")))
        assert isinstance(found, str | int | float)
        return found

    return {pair.key: plain(pair.value) for pair in pairs}


def traces(load: list[Batch]) -> Iterator[tuple[Span, Span, Span]]:
    for batch in load:
        spans = decoded(batch)
        for place in range(0, len(spans), 3):
            root, retriever, llm = spans[place : place + 3]
            yield root, retriever, llm


class TestLoad:
    def test_a_trace_is_a_chain_with_a_retriever_of_five_documents_and_an_llm_call(self) -> None:
        for root, retriever, llm in traces(batches(40, END, per_batch=20)):
            kinds = [attributes(span.attributes)["openinference.span.kind"] for span in (root, retriever, llm)]
            assert kinds == ["CHAIN", "RETRIEVER", "LLM"]
            assert root.trace_id == retriever.trace_id == llm.trace_id
            assert not root.parent_span_id
            assert retriever.parent_span_id == llm.parent_span_id == root.span_id
            assert (len(root.trace_id), len(root.span_id)) == (16, 8)
            assert root.start_time_unix_nano < retriever.start_time_unix_nano
            assert retriever.end_time_unix_nano <= llm.start_time_unix_nano
            assert llm.end_time_unix_nano <= root.end_time_unix_nano
            chain, found, call = (attributes(span.attributes) for span in (root, retriever, llm))
            assert {"input.value", "output.value", "session.id", "user.id"} <= chain.keys()
            assert json.loads(str(chain["metadata"])).keys() == {"variant", "tenant"}
            assert chain["input.value"] == call["llm.input_messages.0.message.content"]
            for rank in range(DOCUMENTS):
                document = {
                    name: found[f"retrieval.documents.{rank}.document.{name}"] for name in ("id", "content", "score")
                }
                assert all(document.values())
            assert f"retrieval.documents.{DOCUMENTS}.document.id" not in found
            assert call["llm.token_count.total"] == (
                int(call["llm.token_count.prompt"]) + int(call["llm.token_count.completion"])
            )

    def test_a_trace_takes_about_five_point_nine_kilobytes(self) -> None:
        load = batches(500, END)
        assert sum(len(batch.body) for batch in load) / 500 == pytest.approx(5900, rel=0.03)

    def test_ids_are_all_different_and_told_beside_the_body(self) -> None:
        load = batches(300, END)
        roots = [root.trace_id.hex() for root, _, _ in traces(load)]
        assert roots == [trace_id for batch in load for trace_id in batch.trace_ids]
        assert len(set(roots)) == 300
        assert len({span.span_id for batch in load for span in decoded(batch)}) == 900
        assert sum(batch.spans for batch in load) == 900

    def test_the_same_arguments_give_the_same_bytes_and_another_seed_others(self) -> None:
        assert batches(60, END) == batches(60, END)
        assert batches(60, END) != batches(60, END, seed=12)

    def test_traces_begin_evenly_over_the_last_24_hours_oldest_first(self) -> None:
        begins = [root.start_time_unix_nano / 1e9 for root, _, _ in traces(batches(240, END))]
        assert begins == sorted(begins)
        assert begins[0] == (END - timedelta(hours=24)).timestamp()
        by_hour = [int((begin - begins[0]) // 3600) for begin in begins]
        assert all(by_hour.count(hour) == 10 for hour in range(24))

    def test_some_end_with_an_error_and_some_hold_what_redaction_looks_for(self) -> None:
        roots = [root for root, _, _ in traces(batches(2000, END))]
        failed = sum(root.status.code == Status.STATUS_CODE_ERROR for root in roots)
        mails = sum("@example.org" in str(attributes(root.attributes)["input.value"]) for root in roots)
        assert 15 <= failed <= 70
        assert 15 <= mails <= 70

    def test_a_peer_gets_some_of_the_same_batches_over_the_same_hours(self) -> None:
        whole = batches(1000, END, per_batch=10)
        some = some_of(whole, 200)
        assert len(some) == 20
        assert [batch for batch in whole if batch in some] == some
        begins = [root.start_time_unix_nano / 1e9 for root, _, _ in traces(some)]
        assert begins[0] == (END - timedelta(hours=24)).timestamp()
        assert END.timestamp() - begins[-1] < 2 * 3600
        assert some_of(whole, 5000) == whole
        assert len(some_of(whole, 1)) == 2


def a_round(rate: float, *, visible: float = 0.5, queries: float | None = None, hourly: float = 0.01) -> Round:
    return Round(
        start_seconds=2.0,
        load_seconds=3.0,
        idle_bytes=300e6,
        peak_bytes=600e6,
        spans_per_second=rate,
        server_seconds=50 / rate,
        sender_seconds=0.01,
        visible_seconds=visible,
        queries_seconds=queries,
        hourly_seconds=hourly,
        trace_bytes=4000.0,
        busy=0,
    )


def a_loss(lost: int, acknowledged: int = 1000, twice: int = 0) -> Loss:
    return Loss(acknowledged=acknowledged, lost=lost, twice=twice, queries_off=0, ending_seconds=0.5)


OURS = Result(
    name="barograph",
    title="Barograph",
    peer=False,
    traces=20_000,
    rounds=(a_round(19_000, queries=0.3), a_round(24_000, queries=0.4), a_round(22_000, queries=1.2)),
    killed=a_loss(0, 90_000),
    terminated=a_loss(0, 80_000),
)
SLOW = Result(
    name="slow",
    title="Slow 1.0",
    peer=True,
    traces=2_500,
    rounds=(a_round(110, visible=55.0, hourly=0.02),),
    killed=a_loss(600),
    terminated=a_loss(0, twice=3),
)
FAST = Result(name="fast", title="Fast 2.0", peer=True, traces=6_000, rounds=(a_round(500, visible=0.01),))
GONE = Result(name="gone", title="Gone 3.0", peer=True, failure="gone==3.0 is not installed")


def cells(text: str, begin: str = "| Figure") -> dict[str, list[str]]:
    """The rows of a table by their first cell; all must have as many cells as the header."""
    lines = text[text.index(begin) :].split("\n\n")[0].splitlines()
    rows = [[cell.strip() for cell in line.strip().strip("|").split("|")] for line in lines]
    assert len({len(row) for row in rows}) == 1
    assert len({len(line) for line in lines}) == 1, "columns are not aligned"
    return {row[0]: row[1:] for row in (rows[0], *rows[2:])}


class TestPage:
    def test_a_column_a_system_with_medians_spreads_and_ratios(self) -> None:
        rows = cells(table([OURS, SLOW, FAST]))
        assert rows["Figure"] == [
            "Barograph", "Slow 1.0", "Fast 2.0", "times better than Slow 1.0", "times better than Fast 2.0"
        ]  # fmt: skip
        assert rows["durable spans/s"] == ["22,000 (19,000 – 24,000)", "110", "500", "200 ×", "44.0 ×"]
        assert rows["hourly p50, p95, p99 over 24 hours, ms"][3:] == ["2.00 ×", "1.00 ×"]
        assert rows["memory, idle, MB"][:3] == ["300 (300 – 300)", "300", "300"]

    def test_a_peer_that_is_better_has_a_ratio_below_one(self) -> None:
        rows = cells(table([OURS, SLOW, FAST]))
        assert rows["last acknowledgement to all spans visible, s"][3:] == ["110 ×", "0.0200 ×"]

    def test_losses_are_told_with_what_was_acknowledged_and_what_came_twice(self) -> None:
        rows = cells(table([OURS, SLOW, FAST]))
        assert rows["acknowledged spans lost, SIGKILL"][:3] == ["0 of 90,000", "600 of 1,000 (60.0 %)", "–"]
        assert rows["acknowledged spans lost, SIGTERM"][:3] == ["0 of 80,000", "0 of 1,000, 3 twice", "–"]

    def test_what_a_system_does_not_have_is_a_dash_and_no_ratio(self) -> None:
        rows = cells(table([OURS, SLOW]))
        (queries,) = (row for name, row in rows.items() if "query events" in name)
        assert queries == ["0.400 (0.300 – 1.20)", "–", ""]
        assert all(times_better(OURS, GONE, row) is None for row in ROWS)

    def test_goals_are_held_against_the_median_and_the_faster_peer(self) -> None:
        text = page([OURS, SLOW, FAST], "make bench-peers", END, 5900.0, 4)
        goals = cells(text, "| Goal")
        assert goals["≥ 20,000 durable spans/s"] == ["Barograph", "22,000", "yes"]
        assert goals["≥ 40 times the faster peer"] == ["Barograph", "44.0", "yes"]
        assert goals["spans visible ≤ 1 s"] == ["Barograph", "0.500", "yes"]
        assert goals["SIGKILL: no span lost or twice, each trace a query"] == ["Barograph", "0", "yes"]
        missed = Result(name="barograph", title="B", peer=False, rounds=(a_round(1000, visible=2.0),), killed=a_loss(1))
        goals = cells(page([missed, FAST], "make bench-peers", END, 5900.0, 4), "| Goal")
        assert {row[-1] for name, row in goals.items() if name != "Goal"} == {"**no**"}

    def test_a_peer_that_is_not_there_keeps_its_column_and_the_page_says_why(self) -> None:
        text = page([OURS, GONE, FAST], "make bench-peers", END, 5900.0, 4)
        rows = cells(text)
        assert rows["durable spans/s"][:3] == ["22,000 (19,000 – 24,000)", "–", "500"]
        assert "Gone 3.0 was not measured in full: gone==3.0 is not installed." in text

    def test_the_page_says_the_command_the_machine_and_the_sizes(self) -> None:
        text = page([OURS, SLOW], "make bench-peers", END, 5923.0, 4)
        assert "`make bench-peers` on 2026-11-24 12:00 UTC" in text
        assert re.search(r"\d+ cores .+ GiB memory", text)
        assert (
            "5,923 bytes; 4 connections. Barograph: 20,000 traces, 3 rounds; Slow 1.0: 2,500 traces, 1 round." in text
        )

    def test_a_page_replaces_the_one_before_as_a_whole(self, tmp_path: Path) -> None:
        path = tmp_path / "peers.md"
        for text in ("one\n", "two\n"):
            write(path, text)
        assert path.read_text(encoding="utf-8") == "two\n"
        assert list(tmp_path.iterdir()) == [path]

    def test_losses_of_several_kills_add_up(self) -> None:
        both = a_loss(1, 10, 2) + Loss(acknowledged=20, lost=3, twice=4, queries_off=5, ending_seconds=2.0)
        assert both == Loss(acknowledged=30, lost=4, twice=6, queries_off=5, ending_seconds=2.0)

    def test_without_barograph_or_with_its_redaction_alone_nothing_is_compared(self) -> None:
        redacting = Result(name="barograph-redacting", title="R", peer=False, rounds=(a_round(9000),))
        text = page([redacting, FAST], "make bench-peers", END, 5900.0, 4)
        assert cells(text)["Figure"] == ["R", "Fast 2.0"]
        assert set(cells(text, "| Goal")) == {"Goal", "spans visible ≤ 1 s"}
        assert "| Goal" not in page([FAST], "make bench-peers", END, 5900.0, 4)

    def test_the_ratio_of_the_rate_is_ours_over_theirs(self) -> None:
        assert times_better(OURS, FAST, RATE) == 44.0


class TestCommand:
    @pytest.mark.slow
    def test_barograph_is_measured_over_http_and_loses_nothing(self, tmp_path: Path) -> None:
        data, results = tmp_path / "data", tmp_path / "peers.md"
        size = ["--traces", "300", "--rounds", "1", "--dir", str(data), "--results", str(results)]
        done = subprocess.run(
            [sys.executable, "-m", "bench.peers", "--only", "barograph", *size],
            cwd=ROOT,
            capture_output=True,
            text=True,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        assert results.read_text(encoding="utf-8") == done.stdout.removesuffix("\n")
        goals = cells(done.stdout, "| Goal")
        for signal in ("SIGKILL", "SIGTERM"):
            assert goals[f"{signal}: no span lost or twice, each trace a query"] == ["Barograph", "0", "yes"]
        measured = [row[0] for name, row in cells(done.stdout).items() if name != "Figure"]
        assert "–" not in measured
        assert list(data.iterdir()) == []

    def test_a_peer_whose_environment_is_absent_is_told_and_nothing_is_written(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        monkeypatch.setattr("bench.peers.environment.HOME", tmp_path)
        assert main(["--only", "mlflow", "--skip-install", "--traces", "200"], ManualClock(END)) == 1
        shown = capsys.readouterr().out
        assert re.search(r"MLflow \S+ was not measured in full: mlflow==\S+ is not installed\.", shown)
        assert list(tmp_path.iterdir()) == []

    def test_a_name_nobody_has_is_refused_with_those_there_are(self) -> None:
        done = subprocess.run(
            [sys.executable, "-m", "bench.peers", "--only", "nobody"], cwd=ROOT, capture_output=True, text=True
        )
        assert done.returncode == 2
        assert "barograph-redacting" in done.stderr

    def test_the_reason_of_a_failed_installation_is_its_error_without_addresses(self) -> None:
        said = "WARNING: a\nERROR: Could not find x==1 at https://host.example/simple (from /a/b)\nnotice: more\n"
        assert reason(said) == "ERROR: Could not find x==1 at … (from …"
        assert reason("") == ""
