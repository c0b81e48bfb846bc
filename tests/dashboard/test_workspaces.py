"""Projects on one open directory: each records, counts, asks and is watched for itself, and nothing of it leaks."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from barograph.control.database import CONTROL, ControlPlane
from barograph.control.projects import ProjectRepository
from barograph.core.query import EventQuery, Window
from barograph.dashboard import workspace
from barograph.dashboard.dashboard_interface import DashboardInterface
from barograph.experiments.design import Experiment, Guardrail, equal_variants
from barograph_client.clock import ManualClock, SystemClock
from barograph_client.errors import InvalidEvent, InvalidInput, JournalClosed

START = datetime(2026, 11, 24, 9, 0, tzinfo=UTC)
LATELY = Window(START - timedelta(hours=1), START + timedelta(hours=1))
RULE = {"name": "slow", "metric": "response_time.mean", "above": 5.0, "window": "5m"}
GUARDED = Experiment(
    key="chunks",
    variants=equal_variants("control", "small"),
    primary_metric="satisfaction",
    guardrails=(Guardrail(metric="error_rate", margin=0.1),),
)
Open = Callable[..., DashboardInterface]


@pytest.fixture
def open_dashboard(tmp_path: Path) -> Iterator[Open]:
    opened: list[DashboardInterface] = []

    def open_it(**options: object) -> DashboardInterface:
        options = {"clock": ManualClock(START), "background": False, "rules": [RULE], **options}
        opened.append(DashboardInterface(tmp_path, environment={}, **options))  # type: ignore[arg-type]
        return opened[-1]

    yield open_it
    for dashboard in opened:
        dashboard.close()


def asked(dashboard: DashboardInterface) -> int:
    dashboard.flush()
    return dashboard.query("queries", last="1h").n


def query(**more: object) -> dict[str, object]:
    return {"query": "What is RAG?", "response_time": 1.0, **more}


class TestTwoProjects:
    def test_see_their_own_events_alone(self, open_dashboard: Open) -> None:
        ours = open_dashboard()
        ours.parts.projects.create("shop", actor="ann")
        shop = ours.for_project("shop")
        for _ in range(3):
            shop.record_query_execution(query(cost=2.0))
        ours.record_query_execution(query(cost=0.5))
        assert (asked(ours), asked(shop)) == (1, 3)
        assert shop.query("cost", last="1h").value == 6.0
        assert shop.settings.project == "shop"
        assert "$6" in shop.render("cost")
        assert "$6" not in ours.render("cost")
        assert "Project shop" in shop.report(1)
        assert (shop.status().queries, ours.status().queries) == (3, 1)

    def test_have_accounts_of_their_own_that_add_up_to_the_whole(self, open_dashboard: Open) -> None:
        ours = open_dashboard()
        ours.parts.projects.create("shop", actor="ann")
        shop = ours.for_project("shop")
        for dashboard, times in ((ours, 2), (shop, 3)):
            for _ in range(times):
                dashboard.record_query_execution(query(event_id="same"))
            with pytest.raises(InvalidEvent):
                dashboard.record_query_execution(query(cost=-1))
        assert ours.account() == {"received": 3, "stored": 1, "rejected": 1, "duplicate": 1, "internal": {}}
        assert shop.account() == {"received": 4, "stored": 1, "rejected": 1, "duplicate": 2, "internal": {}}
        whole = ours.parts.journal.account()
        assert (whole.received, whole.stored, whole.rejected, whole.duplicate) == (7, 2, 2, 3)

    def test_do_not_learn_which_ids_the_other_sent(self, open_dashboard: Open) -> None:
        ours = open_dashboard()
        ours.parts.projects.create("shop", actor="ann")
        shop = ours.for_project("shop")
        assert ours.record_query_execution(query(event_id="one")) == "one"
        assert shop.collector.record_many([query(event_id="one")]) == ["one"]
        assert shop.account()["duplicate"] == 0
        assert (asked(ours), asked(shop)) == (1, 1)

    def test_cannot_send_to_each_other_by_naming_the_other(self, open_dashboard: Open) -> None:
        ours = open_dashboard()
        ours.parts.projects.create("shop", actor="ann")
        shop = ours.for_project("shop")
        for sender, other in ((ours, "shop"), (shop, "default"), (shop, "nowhere")):
            with pytest.raises(InvalidEvent, match="this goes to the project") as refused:
                sender.record_query_execution(query(project=other))
            assert refused.value.field == "project"
        assert shop.collector.record_many([query(project="shop"), query()])
        assert (ours.account()["rejected"], shop.account()["rejected"]) == (1, 2)
        assert (asked(ours), asked(shop)) == (0, 2)

    def test_have_alerts_and_experiments_of_their_own(self, open_dashboard: Open) -> None:
        ours = open_dashboard()
        ours.parts.projects.create("shop", actor="ann")
        shop = ours.for_project("shop")
        shop.record_query_execution(query(response_time=9.0))
        ours.record_query_execution(query(response_time=1.0))
        ours.flush()
        assert ours.check_alerts() == []
        assert [alert.rule for alert in shop.check_alerts()] == ["slow"]
        assert shop.account()["internal"] == {"alert": 1}
        assert ours.account()["internal"] == {}
        assert ours.for_project("shop").alerts is shop.alerts

    @pytest.mark.parametrize("restart", [False, True], ids=["at once", "after a restart"])
    def test_find_the_queries_of_their_own_feedback_though_all_ids_are_the_same(
        self, open_dashboard: Open, restart: bool
    ) -> None:
        first = open_dashboard()
        first.parts.projects.create("shop", actor="ann")
        if not restart:
            first.flush()  # from here on what is loaded is attributed from memory
        for dashboard in (first, first.for_project("shop")):
            dashboard.record_query_execution(query(event_id="q", trace_id="t", pipeline=dashboard.project))
            dashboard.record_feedback({"event_id": "f", "trace_id": "t", "rating": 4})
        if restart:
            first.close()
        ours = open_dashboard() if restart else first
        for project in ("default", "shop"):
            view = ours.for_project(project)
            view.flush()
            found = view.store.events(EventQuery(kind="attribution", window=LATELY, project=project)).items
            assert [(one["subject_id"], one["pipeline"], one["found"]) for one in found] == [("f", project, True)]

    def test_stand_as_they_stood_after_a_restart(self, open_dashboard: Open) -> None:
        first = open_dashboard()
        first.parts.projects.create("shop", actor="ann")
        shop = first.for_project("shop")
        shop.record_query_execution(query(event_id="one", response_time=9.0))
        first.flush()
        shop.check_alerts()
        account = shop.account()
        first.close()
        again = open_dashboard().for_project("shop")
        assert again.account() == account
        assert [alert.rule for alert in again.alerts.active()] == ["slow"]
        again.record_query_execution(query(event_id="one"))
        assert again.account()["duplicate"] == 1

    def test_a_directory_of_a_project_of_its_own_has_default_beside_it(self, open_dashboard: Open) -> None:
        own = open_dashboard(project="Our Shop")
        own.record_query_execution(query())
        assert own.account()["stored"] == 1
        assert own.for_project("Our Shop").account()["stored"] == 1
        assert own.for_project("default").account()["received"] == 0


class TestAView:
    def test_of_a_project_that_is_missing_tells_the_way_out(self, open_dashboard: Open) -> None:
        with pytest.raises(InvalidInput, match="barograph project create shop"):
            open_dashboard().for_project("shop")

    def test_closes_nothing_that_others_use(self, open_dashboard: Open) -> None:
        ours = open_dashboard()
        with ours.for_project("default") as view:
            view.record_query_execution(query())
            queued = view.background_collector()
            queued.record_query_execution(query())
        ours.record_query_execution(query())
        assert queued.counts.stored == 1
        assert ours.account()["stored"] == 3

    def test_that_was_left_open_loses_nothing_that_it_queued(self, open_dashboard: Open) -> None:
        ours = open_dashboard()
        ours.parts.projects.create("shop", actor="ann")
        queued = ours.for_project("shop").background_collector()
        for _ in range(100):
            queued.record_query_execution(query())
        ours.close()
        assert queued.counts.stored == 100
        with pytest.raises(JournalClosed):
            ours.for_project("shop").record_query_execution(query())

    def test_asked_for_by_many_threads_at_once_is_of_one_workspace(self, open_dashboard: Open) -> None:
        ours = open_dashboard()
        ours.parts.projects.create("shop", actor="ann")
        found: list[object] = []
        threads = [threading.Thread(target=lambda: found.append(ours.for_project("shop").collector)) for _ in range(16)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len(found) == 16
        assert len(set(map(id, found))) == 1


class TestTheWatch:
    def test_takes_up_a_project_that_another_process_made_meanwhile(
        self, open_dashboard: Open, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(workspace, "LOOK_SECONDS", 0.05)
        dashboard = open_dashboard(
            clock=SystemClock(),
            background=True,
            collect={"sampler_seconds": 0},
            experiments={"guardrail_seconds": 1},
        )
        with ControlPlane(tmp_path / CONTROL, SystemClock()) as plane:
            ProjectRepository(plane).create("shop", actor="ann")
        deadline = time.monotonic() + 20
        while "shop" not in dashboard.parts.workspaces._made and time.monotonic() < deadline:
            time.sleep(0.02)
        alerts = dashboard.parts.workspaces._made["shop"].alerts  # made by nobody's asking
        while not alerts.counters.ticks and time.monotonic() < deadline:
            time.sleep(0.02)
        assert alerts.counters.ticks
        experiments = dashboard.parts.workspaces._made["shop"].experiments
        experiments.create(GUARDED)
        experiments.start("chunks")
        while not dashboard.parts.guardrails.counts.checked and time.monotonic() < deadline:
            time.sleep(0.02)
        assert (dashboard.parts.guardrails.counts.checked > 0, dashboard.parts.guardrails.problem("shop")) == (True, "")
        dashboard.close()
        assert [thread.name for thread in threading.enumerate() if thread.name.startswith("barograph-")] == []
