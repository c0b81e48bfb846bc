"""From errors in the treatment to somebody who is told: journal, engine, watch, control plane, rule and webhook."""

from __future__ import annotations

import shutil
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from tests.support.receivers import HttpReceiver, until

from barograph.alerts.rules.guardrail import GUARDRAIL
from barograph.core.query import Window
from barograph.dashboard.dashboard_interface import DashboardInterface
from barograph.dashboard.doctor import findings
from barograph.dashboard.incident_history import incident_history
from barograph.experiments.design import Experiment, Guardrail, Variant
from barograph_client.clock import Clock, ManualClock, SystemClock

UNITS = 60  # all within the first hours
CHUNKS = Experiment(
    key="chunks",
    variants=(
        Variant(key="control", weight=0.5, payload={"size": 512}),
        Variant(key="small", weight=0.5, payload={"size": 64}),
    ),
    primary_metric="response_time.mean",
    guardrails=(Guardrail(metric="error_rate", margin=0.05, relative=False),),
)


def opened(directory: Path, clock: Clock, hook: HttpReceiver) -> DashboardInterface:
    return DashboardInterface(
        directory,
        clock=clock,
        environment={},
        background=False,
        default_rules=False,
        journal={"durability": "interval"},
        receivers=[{"name": "on call", "targets": [{"type": "webhook", "url": hook.url}]}],
        routing={"route": {"receiver": "on call", "group_wait": "0s", "group_interval": "1s"}},
        delivery={"interval": 0.02},
    )


def visit(dashboard: DashboardInterface, number: int) -> None:
    """A new user asks once; nothing works in the treatment, and everything in the control."""
    unit = f"user-{number}"
    failed = dashboard.experiments.expose("chunks", unit) != "control"
    dashboard.record_query_execution(
        {"query": "?", "response_time": 1.0, "user_id": unit, "status": "error" if failed else "ok"}
    )


def test_a_treatment_that_fails_is_stopped_and_told_though_the_process_is_killed_in_between(tmp_path: Path) -> None:
    clock = ManualClock(datetime.now(UTC) - timedelta(days=2))
    with HttpReceiver() as hook:
        with opened(tmp_path / "data", clock, hook) as dashboard:
            dashboard.experiments.create(CHUNKS)
            dashboard.experiments.start("chunks")
            for number in range(UNITS):
                visit(dashboard, number)
            clock.advance(2 * 3600)
            dashboard.flush()
            watched = {one.about: one for one in findings(dashboard)}["guardrails are watched"]
            assert watched.says == "1 running experiment would be stopped by one"
            dashboard.parts.guardrails.look()
            stopped = dashboard.experiments.get("chunks")
            assert (stopped.state, stopped.breached) == ("stopped", ("error_rate",))
            # what a kill leaves at this moment: the stop is on disk, and no rule has been looked at since
            shutil.copytree(tmp_path / "data", tmp_path / "killed", ignore=shutil.ignore_patterns("engine"))
        assert hook.posts == []
        with opened(tmp_path / "killed", SystemClock(), hook) as dashboard:
            dashboard.flush()
            assert dashboard.experiments.decide("chunks", {"user": "user-1"}).payload["size"] == 512
            dashboard.parts.delivery.start()
            (active,) = dashboard.check_alerts()
            assert (active.rule, stopped.stop_reason in active.sentence) == (GUARDRAIL, True)
            until(lambda: len(hook.posts) == 1)
            (told,) = body(hook)["alerts"]
            assert (told["status"], told["labels"]["experiment"]) == ("firing", "chunks")
            assert stopped.stop_reason in told["annotations"]["summary"]
            dashboard.experiments.archive("chunks")
            assert dashboard.check_alerts() == []
            until(lambda: body(hook)["status"] == "resolved")
            dashboard.flush()
            now = datetime.now(UTC)
            history = incident_history(dashboard, Window(now - timedelta(hours=1), now), now, limit=5, each=1)
            assert [(one.rule, one.labels) for one in history.incidents] == [(GUARDRAIL, {"experiment": "chunks"})]


def body(hook: HttpReceiver) -> Any:
    return hook.posts[-1].json
