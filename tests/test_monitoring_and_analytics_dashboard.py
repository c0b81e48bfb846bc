"""Acceptance: each of the seven components does, through its public name, what its users were promised."""

from __future__ import annotations

import json
import math
import os
import re
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from msgspec import structs
from tests.cli.cli_support import several
from tests.support import forked

import barograph
from barograph.core.metric import Measure, Metric
from barograph.core.query import MetricQuery, Window
from barograph.core.settings import RuleSettings
from barograph.core.units import UnitQuery
from barograph.experiments.design import Experiment, equal_variants
from barograph.testing import temporary_dashboard
from barograph_client.clock import ManualClock
from barograph_client.experiments.sticky import StickyFile

NOW = datetime(2026, 11, 22, 14, 5, tzinfo=UTC)
SEED = {
    "query": "What is machine learning?",
    "response_time": 2.3,
    "retrieval_time": 0.8,
    "generation_time": 1.5,
    "cost": 0.02,
    "user_id": "user123",
    "accuracy_score": 0.85,
}


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock(NOW)


@pytest.fixture
def dashboard(clock: ManualClock) -> Iterator[barograph.DashboardInterface]:
    with temporary_dashboard(clock) as opened:
        yield opened


@pytest.fixture(scope="class")  # a process has one embedded engine at a time
def shared() -> Iterator[barograph.DashboardInterface]:
    """For tests that need no directory of their own."""
    with temporary_dashboard(ManualClock(NOW)) as opened:
        yield opened


@pytest.fixture(scope="class")
def crowded() -> Iterator[barograph.DashboardInterface]:
    """Fifty hours of queries whose texts are wide, long and hostile."""
    with temporary_dashboard(ManualClock(NOW)) as opened:
        for i in range(50):
            opened.record_query_execution({**SEED, "timestamp": ago(hours=i), "query": "\x1b[31mred\x1b[0m 用户\n" * 9})
        opened.flush()
        yield opened


def ago(**units: float) -> datetime:
    return NOW - timedelta(**units)


def command(directory: Path, *words: str, stdin: str | None = None) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "BAROGRAPH_DATA_DIR": str(directory), "COLUMNS": "80"}
    return forked.run([sys.executable, "-m", "barograph", *words], input=stdin or "", env=environment, timeout=120)


class TestBadInput:
    @pytest.mark.parametrize(
        ("change", "field"),
        [
            ({"response_time": math.nan}, "response_time"),
            ({"response_time": math.inf}, "response_time"),
            ({"response_time": -1.0}, "response_time"),
            ({"response_time": "fast"}, "response_time"),
            ({"accuracy_score": 1.5}, "accuracy_score"),
            ({"query": "half a \ud800 character"}, "query"),
            ({"query": "x" * 2_000_000}, "query"),
            ({"timestamp": "1999-12-31T23:59:59Z"}, "timestamp"),
            ({"timestamp": (NOW + timedelta(minutes=11)).isoformat()}, "timestamp"),
            ({"documents": [{"score": "high"}]}, "documents"),
        ],
    )
    def test_is_refused_with_its_field_and_costs_nothing_else(
        self, shared: barograph.DashboardInterface, change: dict[str, object], field: str
    ) -> None:
        before = shared.account()
        shared.record_query_execution(SEED)
        with pytest.raises(barograph.errors.InvalidEvent) as refused:
            shared.record_query_execution({**SEED, **change})
        assert refused.value.field.startswith(field) or refused.value.field == "time"
        assert refused.value.reason
        after = shared.account()
        assert {name: after[name] - before[name] for name in ("received", "stored", "rejected", "duplicate")} == {
            "received": 2, "stored": 1, "rejected": 1, "duplicate": 0
        }  # fmt: skip
        shared.flush()
        assert shared.query("queries").value == after["stored"]


class TestMetricsCollector:
    def test_the_seed_example_is_accepted_as_it_stands(self, dashboard: barograph.DashboardInterface) -> None:
        event_id = dashboard.record_query_execution(SEED)
        dashboard.flush()
        (row,) = dashboard.store.events(_events("query")).items
        assert row["event_id"] == event_id
        assert {name: row[name] for name in SEED} == SEED

    def test_a_feedback_that_says_nothing_is_refused(self, dashboard: barograph.DashboardInterface) -> None:
        with pytest.raises(barograph.errors.InvalidEvent, match="rating"):
            dashboard.record_feedback({"trace_id": "t"})

    def test_received_is_stored_and_rejected_and_duplicate_and_survives_a_restart(self, tmp_path: Path) -> None:
        for _ in range(2):
            with barograph.DashboardInterface(tmp_path, background=False) as opened:
                opened.record_query_execution({**SEED, "event_id": "the-same"})
                with pytest.raises(barograph.errors.InvalidEvent):
                    opened.record_feedback({"rating": 9})
                opened.record_system({"cpu_percent": 12.5})
        with barograph.DashboardInterface(tmp_path, background=False) as opened:
            account = opened.account()
        assert account == {"received": 6, "stored": 3, "rejected": 2, "duplicate": 1, "internal": {}}

    def test_unknown_fields_become_tags(self, dashboard: barograph.DashboardInterface) -> None:
        dashboard.record_query_execution({**SEED, "tenant": "acme", "beta": True})
        dashboard.flush()
        answer = dashboard.query("queries", by=["tag.tenant"])
        assert [(row.group, row.n) for row in answer.rows] == [({"tag.tenant": "acme"}, 1)]

    def test_a_background_collector_neither_blocks_nor_raises(self, tmp_path: Path) -> None:
        with barograph.DashboardInterface(tmp_path, background=False) as opened:
            collector = opened.background_collector()
            for _ in range(500):
                collector.record_query_execution(SEED)
            collector.record_query_execution({"response_time": "not a number"})
            assert collector.flush(10)
            account = opened.account()
            collector.record_query_execution(SEED)
        with barograph.DashboardInterface(tmp_path, background=False) as opened:
            assert opened.account()["stored"] == 501
        assert (account["stored"], account["rejected"]) == (500, 1)

    def test_a_rag_function_times_itself(self, dashboard: barograph.DashboardInterface, clock: ManualClock) -> None:
        with dashboard.collector.query(query="How?", user_id="u1") as execution:
            with execution.stage("retrieval"):
                clock.advance(0.5)
            with execution.stage("generation"):
                clock.advance(1.5)
            execution.answer = "So."
        dashboard.flush()
        (row,) = dashboard.store.events(_events("query", NOW + timedelta(minutes=1))).items
        assert (row["response_time"], row["retrieval_time"], row["generation_time"]) == (2.0, 0.5, 1.5)

    def test_texts_are_redacted_before_they_are_kept(self, clock: ManualClock) -> None:
        with temporary_dashboard(clock, collect={"redact": ["email"]}) as opened:
            opened.record_query_execution({"query": "mail me at jane.doe@example.com"})
            kept = b"".join(path.read_bytes() for path in opened.parts.directory.rglob("*.jsonl"))
        assert b"jane.doe" not in kept
        assert b"mail me at" in kept


class TestDataStore:
    def test_a_new_engine_made_from_the_journal_gives_the_same_answers(
        self, dashboard: barograph.DashboardInterface
    ) -> None:
        for i in range(200):
            dashboard.record_query_execution(
                {**SEED, "timestamp": ago(minutes=i * 7), "response_time": 0.1 + i / 50, "model": f"m{i % 3}"}
            )
        dashboard.flush()
        names = [metric.name for metric in dashboard.parts.catalogue if metric.of.kind != "system"]
        before = [dashboard.query(name, by=["model"], every=3600).rows for name in names]
        assert dashboard.store.rebuild().ok
        assert [dashboard.query(name, by=["model"], every=3600).rows for name in names] == before

    def test_rollups_and_raw_rows_agree(self, dashboard: barograph.DashboardInterface) -> None:
        for i in range(300):
            dashboard.record_query_execution({**SEED, "timestamp": ago(minutes=i * 3), "response_time": 1.01**i})
        dashboard.flush()
        for metric in ("queries", "cost", "response_time.mean", "response_time.p95"):
            question = MetricQuery(metric=metric, window=Window(ago(hours=15.123), NOW))
            rolled, raw = dashboard.store.query(question), dashboard.store.query_raw(question)
            assert rolled.n == raw.n
            assert rolled.value == pytest.approx(raw.value, rel=0.01 if metric.endswith("p95") else 1e-9)

    def test_feedback_finds_the_query_it_is_about(self, dashboard: barograph.DashboardInterface) -> None:
        dashboard.record_query_execution({**SEED, "trace_id": "t1", "model": "small"})
        dashboard.record_feedback({"trace_id": "t1", "rating": 5})
        dashboard.record_feedback({"trace_id": "nobody knows", "rating": 1})
        dashboard.flush()
        assert dashboard.query("satisfaction").value == 3.0
        by_model = dashboard.query("satisfaction", by=["model"])
        assert {row.group["model"]: row.value for row in by_model.rows} == {"small": 5.0, "": 1.0}

    def test_feedback_keeps_its_own_tags_and_rating_when_it_is_asked_for_by_them(
        self, dashboard: barograph.DashboardInterface
    ) -> None:
        for channel, rating in (("web", 5), ("web", 3), ("mail", 1)):
            dashboard.record_feedback({"rating": rating, "channel": channel})
        dashboard.flush()
        by_channel = dashboard.query("satisfaction", by=["tag.channel"])
        assert {row.group["tag.channel"]: row.value for row in by_channel.rows} == {"web": 4.0, "mail": 1.0}
        assert dashboard.query("satisfaction", where=["tag.channel:eq:web"]).n == 2
        assert dashboard.query("satisfaction", where=["rating:gte:3"]).value == 4.0
        with pytest.raises(barograph.errors.InvalidQuery, match="feedback events have no dimension status"):
            dashboard.query("satisfaction", by=["status"])

    def test_feedback_that_was_only_journaled_is_attributed_at_the_next_start(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("barograph.store.attribution.PAGE", 7)
        with barograph.DashboardInterface(tmp_path, background=False) as opened:
            opened.collector.record_many([{"trace_id": f"t{i}", "model": "small"} for i in range(30)])
            opened.collector.record_many([{"trace_id": f"t{i}", "rating": 4} for i in range(30)], "feedback")
        with barograph.DashboardInterface(tmp_path, background=False) as opened:
            opened.flush()
            rows = opened.query("satisfaction", by=["model"]).rows
            assert [(row.group["model"], row.n) for row in rows] == [("small", 30)]
            assert opened.account()["internal"] == {"attribution": 30}

    def test_a_metric_of_ones_own_is_asked_for_like_any_other(self, dashboard: barograph.DashboardInterface) -> None:
        dashboard.add_metric(
            Metric(name="queue.longest", title="Longest queue", unit="1", aggregation="max", better="lower",
                   sentence="The longest queue.", of=Measure("metric", "value", name="queue"), user_defined=True)
        )  # fmt: skip
        for depth in (3, 9, 4):
            dashboard.record("queue", depth)
        dashboard.flush()
        assert dashboard.query("queue.longest").value == 9
        with pytest.raises(barograph.errors.InvalidSettings, match="nonsense"):
            dashboard.add_metric(
                Metric(name="bad", title="", unit="1", aggregation="mean", better="lower", sentence="",
                       of=Measure("query", "nonsense"), user_defined=True)
            )  # fmt: skip
        with pytest.raises(barograph.errors.UnknownMetric):
            dashboard.query("bad")

    def test_journal_and_engine_are_compared(self, dashboard: barograph.DashboardInterface) -> None:
        dashboard.record_query_execution(SEED)
        report = dashboard.store.verify()
        assert report.ok
        assert report.journal == report.engine == {"query": 1}

    def test_missing_is_not_zero(self, dashboard: barograph.DashboardInterface) -> None:
        dashboard.record_query_execution({"query": "unpriced"})
        dashboard.flush()
        assert dashboard.query("queries").value == 1
        assert dashboard.query("cost").value is None
        assert dashboard.query("satisfaction").value is None


class TestAlertManager:
    def test_a_threshold_is_told_as_it_was_asked_for(self, clock: ManualClock) -> None:
        rule = {"name": "slow", "metric": "response_time.mean", "above": 5.0, "window": "5m"}
        with temporary_dashboard(clock, rules=[rule]) as opened:
            opened.record_query_execution({**SEED, "response_time": 7.2})
            opened.flush()
            (alert,) = opened.check_alerts()
            assert alert.sentence == "ALERT: Response time exceeded 5 s threshold (current: 7.2 s)"
            assert alert.sentence in opened.render("overview")

    def test_an_alert_resolves_and_its_transitions_are_events(self, clock: ManualClock) -> None:
        rule = {"name": "slow", "metric": "response_time.mean", "above": 5.0, "window": "5m"}
        with temporary_dashboard(clock, rules=[rule]) as opened:
            opened.record_query_execution({**SEED, "response_time": 7.2})
            opened.flush()
            assert opened.check_alerts()
            clock.advance(600)
            opened.record_query_execution({**SEED, "response_time": 1.0})
            opened.flush()
            clock.advance(1)
            assert opened.check_alerts() == []
            opened.flush()
            states = [row["state"] for row in opened.store.events(_events("alert", clock.now())).items]
            assert set(states) >= {"firing", "resolved"}
            assert opened.account()["internal"]["alert"] == len(states)  # type: ignore[index]

    def test_a_rule_that_cannot_be_asked_is_refused_when_it_is_loaded(self, tmp_path: Path) -> None:
        for more in ({"by": ["status"]}, {"where": ["nosuch:eq:2"]}):
            rule = {"name": "nonsense", "metric": "satisfaction", "below": 3.0, **more}
            with pytest.raises(barograph.errors.InvalidRule, match="nonsense"):
                barograph.DashboardInterface(tmp_path, background=False, rules=[rule])

    def test_a_rule_of_the_file_that_cannot_hold_is_told_with_its_line(self, tmp_path: Path) -> None:
        (tmp_path / "barograph.toml").write_text(
            '[[rules]]\nname = "good"\nmetric = "queries"\nabove = 1\n\n[[rules]]\nname = "bad"\nmetric = "cost"\n'
        )
        with pytest.raises(barograph.errors.InvalidRule, match=r"barograph\.toml, line 6: rule bad: it has no limit"):
            barograph.DashboardInterface(tmp_path, background=False)

    def test_a_function_of_ones_own_is_a_rule(self, clock: ManualClock) -> None:
        with temporary_dashboard(clock, default_rules=False) as opened:
            opened.record_query_execution({**SEED, "response_time": 7.2})
            opened.flush()
            rule = RuleSettings(name="slow", kind="function", above=5.0)
            opened.add_rule(rule, lambda at: at.value("response_time.mean"))
            (alert,) = opened.check_alerts()
            assert (alert.rule, alert.value) == ("slow", 7.2)

    def test_a_rule_that_cannot_hold_is_refused_by_name(self, tmp_path: Path) -> None:
        with pytest.raises(barograph.errors.InvalidRule, match="nonsense"):
            barograph.DashboardInterface(tmp_path, background=False, rules=[{"name": "nonsense", "metric": "cost"}])
        with barograph.DashboardInterface(tmp_path, background=False):  # and the directory is free again
            pass


class TestAnalyticsEngine:
    def test_status_is_healthy_warning_or_critical_with_reasons(self, clock: ManualClock) -> None:
        for share, state in ((0, "healthy"), (3, "warning"), (12, "critical")):
            with temporary_dashboard(clock) as opened:
                for i in range(40):
                    failed = {"status": "error", "error_type": "Timeout"} if i < share else {}
                    opened.record_query_execution({**SEED, "timestamp": ago(seconds=10 + i), **failed})
                opened.flush()
                status = opened.status()
                assert status.state == state, status
                assert "Error rate" in status.reasons[0].sentence

    def test_a_change_is_told_against_yesterday(self, dashboard: barograph.DashboardInterface) -> None:
        for hours, seconds in ((30, 2.0), (3, 1.0)):
            for i in range(30):
                dashboard.record_query_execution(
                    {**SEED, "timestamp": ago(hours=hours, minutes=i), "response_time": seconds}
                )
        dashboard.flush()
        summary = dashboard.analytics.summary("response_time.mean", "24h", compare="day")
        assert summary.value == pytest.approx(1.0)
        assert summary.change is not None
        assert summary.change.relative == pytest.approx(-0.5)
        assert summary.change.direction == "better"

    def test_cost_is_held_against_the_budget_and_unpriced_is_not_free(self, clock: ManualClock) -> None:
        with temporary_dashboard(clock, budget={"daily": 1.0}) as opened:
            for i in range(60):
                opened.record_query_execution({**SEED, "timestamp": ago(minutes=i)})
            opened.record_query_execution({"query": "unpriced"})
            opened.flush()
            day = opened.analytics.cost().day
            assert day.spent == pytest.approx(1.2)
            assert (day.state, day.unpriced) == ("over", 1)

    def test_by_model_pipeline_and_user(self, dashboard: barograph.DashboardInterface) -> None:
        for i in range(10):
            dashboard.record_query_execution(
                {**SEED, "model": f"m{i % 2}", "pipeline": "docs", "user_id": f"u{i % 5}", "cost": 0.1}
            )
        dashboard.flush()
        for dimension, groups in (("model", 2), ("pipeline", 1), ("user_id", 5)):
            found = dashboard.analytics.breakdown("cost", dimension, "1h")
            assert len(found.parts) == groups
            assert sum(part.value or 0 for part in found.parts) == pytest.approx(1.0)


class TestABTestFramework:
    def test_assignment_is_sticky_and_split_as_asked(self, dashboard: barograph.DashboardInterface) -> None:
        experiments = dashboard.experiments
        experiments.create(_experiment())
        experiments.start("reranker")
        arms = [experiments.assign("reranker", f"u{i}") for i in range(2000)]
        assert arms == [experiments.assign("reranker", f"u{i}") for i in range(2000)]
        assert arms.count("A") == pytest.approx(1000, abs=150)

    def test_sticky_arms_are_kept_in_the_directory(self, dashboard: barograph.DashboardInterface) -> None:
        dashboard.experiments.create(structs.replace(_experiment(), sticky=True))
        dashboard.experiments.start("reranker")
        arm = dashboard.experiments.assign("reranker", "u")
        (path,) = (dashboard.parts.directory / "sticky").glob("*.db")
        kept = StickyFile(path)
        assert kept.of("user", "u") == {"reranker__0": arm}
        kept.close()

    def test_the_better_arm_is_found_per_unit(
        self, dashboard: barograph.DashboardInterface, clock: ManualClock
    ) -> None:
        experiments = dashboard.experiments
        experiments.create(_experiment())
        experiments.start("reranker")
        clock.advance(60)
        events: list[dict[str, object]] = []
        for i in range(400):
            user = f"u{i}"
            arm = experiments.expose("reranker", user)
            score = 0.6 if arm == "A" else 0.8
            events += [{"user_id": user, "accuracy_score": score + (i * 7 + j) % 10 / 100} for j in range(1 + i % 4)]
        clock.advance(60)
        dashboard.collector.record_many(events)
        clock.advance(2 * 86_400)  # what runs without a planned end counts days of units
        dashboard.flush()
        found = experiments.compare("reranker")
        assert found.verdict.finding == "better", found.verdict
        (estimate,) = found.estimates
        assert estimate.absolute is not None
        assert estimate.absolute.value == pytest.approx(0.2, abs=0.02)
        assert found.sample_ratio.p_value is not None
        assert found.sample_ratio.p_value > 0.001

    def test_a_unit_seen_in_two_arms_is_excluded_and_counted(
        self, dashboard: barograph.DashboardInterface, clock: ManualClock
    ) -> None:
        for arm, user in (("A", "u1"), ("B", "u1"), ("A", "u2")):
            dashboard.collector.record_exposure({"experiment": "e", "arm": arm, "unit_id": user})
        dashboard.flush()
        answer = dashboard.store.units(
            UnitQuery(experiment="e", metric="queries", window=Window(ago(hours=1), NOW + timedelta(hours=1)))
        )
        assert answer.contaminated == 1
        assert [(arm.arm, arm.units) for arm in answer.arms] == [("A", 1)]


class TestVisualizer:
    @pytest.mark.parametrize("charset", ["ascii", "unicode", "braille"])
    @pytest.mark.parametrize("width", [40, 80, 120])
    def test_nothing_is_wider_than_the_screen(
        self, crowded: barograph.DashboardInterface, charset: str, width: int
    ) -> None:
        crowded.draw_with(barograph.Visualizer(charset=charset, width=width))  # type: ignore[arg-type]
        text = crowded.render("overview")
        assert max(len(line) for line in text.splitlines()) <= width
        assert "\x1b" not in text
        if charset == "ascii":
            text.encode("ascii")


class TestDashboardInterface:
    def test_the_overview_says_what_was_promised(self, clock: ManualClock) -> None:
        with temporary_dashboard(clock, budget={"daily": 40.0}) as opened:
            for i in range(100):
                opened.record_query_execution({**SEED, "timestamp": ago(minutes=i), "trace_id": f"t{i}"})
                opened.record_feedback({"trace_id": f"t{i}", "rating": 4 + i % 2})
            opened.flush()
            text = opened.render("overview")
        assert re.search(r"System Status: HEALTHY .*2026-11-22 14:05 UTC", text)
        assert re.search(r"data complete to 1\d:\d\d:\d\d", text)
        assert re.search(r"Average Response Time: 2\.3.s", text)
        assert re.search(r"User Satisfaction: 4\.5/5\.0", text)
        assert re.search(r"Daily Cost: \$\d+\.\d\d \(within budget \$40\.00\)", text)

    def test_a_clock_that_stands_still_runs_no_threads(self, tmp_path: Path, clock: ManualClock) -> None:
        with pytest.raises(barograph.errors.InvalidSettings, match="background"):
            barograph.DashboardInterface(tmp_path, clock=clock)
        with barograph.DashboardInterface(tmp_path, clock=clock, background=False):
            pass

    def test_an_empty_directory_says_how_to_begin(self, dashboard: barograph.DashboardInterface) -> None:
        text = dashboard.render("overview")
        assert "barograph record" in text
        assert "0.0 s" not in text

    def test_a_program_that_changes_its_directory_goes_on_recording(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.chdir(tmp_path)
        (tmp_path / "elsewhere").mkdir()
        with barograph.DashboardInterface("rag-data", background=False) as opened:
            monkeypatch.chdir(tmp_path / "elsewhere")
            opened.record_query_execution(SEED)
            opened.flush()
            assert opened.query("queries").value == 1
        assert (tmp_path / "rag-data" / "journal").is_dir()

    def test_others_on_the_machine_have_no_look_at_what_users_asked(self, tmp_path: Path) -> None:
        with barograph.DashboardInterface(tmp_path / "data", background=False):
            assert (tmp_path / "data").stat().st_mode & 0o077 == 0

    def test_a_second_process_is_told_who_has_the_directory(self, tmp_path: Path) -> None:
        with barograph.DashboardInterface(tmp_path, background=False) as opened:
            opened.record_query_execution(SEED)
            refused = command(tmp_path, "status")
        assert refused.returncode == 4
        assert str(os.getpid()) in refused.stderr
        assert command(tmp_path, "status").returncode == 0

    def test_eight_writers_and_two_readers_at_once(self, tmp_path: Path) -> None:
        failures: list[BaseException] = []
        done = threading.Event()
        with barograph.DashboardInterface(tmp_path) as opened:

            def write(number: int) -> None:
                try:
                    for i in range(40):
                        opened.record("balance", 1.0, {"writer": number})
                        opened.record_query_execution({**SEED, "user_id": f"{number}-{i}"})
                except BaseException as error:
                    failures.append(error)

            def read() -> None:
                last = 0.0
                try:
                    while not done.is_set():
                        spent = opened.query("cost", last="1h")
                        assert spent.value is None or abs(spent.value - 0.02 * spent.n) < 1e-9
                        assert opened.query("metric.balance", last="1h").value in (None, 1.0)
                        value = opened.query("queries", last="1h").value or 0.0
                        assert last <= value <= 320
                        last = value
                        time.sleep(0.02)
                except BaseException as error:
                    failures.append(error)

            writers = [threading.Thread(target=write, args=(number,)) for number in range(8)]
            readers = [threading.Thread(target=read) for _ in range(2)]
            for thread in (*readers, *writers):
                thread.start()
            for thread in writers:
                thread.join()
            opened.flush()
            done.set()
            for thread in readers:
                thread.join()
            assert failures == []
            assert opened.query("queries", last="1h").value == 320
            account = opened.account()
            assert (account["received"], account["stored"]) == (640, 640)
            assert opened.store.verify().ok

    def test_the_command_line_takes_json_lines_and_answers_in_json(self, tmp_path: Path) -> None:
        lines = [json.dumps({**SEED, "event_id": f"e{i}"}) for i in range(50)]
        recorded = command(tmp_path, "record", "--json", stdin="\n".join([*lines, lines[0], "not json"]))
        assert recorded.returncode == 3, recorded.stderr
        assert json.loads(recorded.stdout) == {"received": 52, "stored": 50, "rejected": 1, "duplicate": 1}
        asked = command(tmp_path, "query", "queries", "--last", "7d", "--json")
        document = json.loads(asked.stdout)
        assert set(document) == {"metric", "unit", "rows", "complete_to"}
        (row,) = document["rows"]
        assert (row["value"], row["n"]) == (50, 50)
        assert set(row) == {"from", "to", "value", "n"}

    def test_every_command_speaks_json(self, tmp_path: Path) -> None:
        commands = (
            ["init"],
            ["record", "query=Why?", "response_time=1.5"],
            ["status"],
            ["show", "overview"],
            ["report"],
            ["query", "response_time.mean", "--by", "model"],
            ["metrics"],
            ["verify"],
            ["rebuild"],
            ["prune", "--older-than", "30d"],
            ["compress"],
            ["annotate", "deploy 1.2"],
            ["doctor"],
        )
        for finished in several([[*words, "--json"] for words in commands], BAROGRAPH_DATA_DIR=str(tmp_path)):
            assert finished.returncode == 0, (finished.args, finished.stderr)
            json.loads(finished.stdout)

    def test_an_unknown_metric_is_told_with_what_may_have_been_meant(self, tmp_path: Path) -> None:
        command(tmp_path, "init")
        refused = command(tmp_path, "query", "eror_rate")
        assert refused.returncode == 3
        assert "error_rate" in refused.stderr
        assert "Traceback" not in refused.stderr


def _events(kind: str, end: datetime = NOW) -> object:
    from barograph.core.query import EventQuery

    return EventQuery(kind=kind, window=Window(end - timedelta(days=30), end + timedelta(seconds=1)))


def _experiment() -> Experiment:
    return Experiment(key="reranker", variants=equal_variants("A", "B"), primary_metric="accuracy")
