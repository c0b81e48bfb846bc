"""Exported rules and a real server: it serves each series that they name, and Prometheus' alerts are then its own."""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from tests.support.promtool import PROMTOOL
from tests.support.serving import Serving

from barograph.alerts.prometheus.expression import NAME, selectors
from barograph.alerts.prometheus.parser import parse
from barograph.dashboard.dashboard_interface import DashboardInterface
from barograph.dashboard.rule_file import export_rules

TOML = """
default_rules = false
[collect]
sampler_seconds = 0
[[rules]]
name = "slow"
metric = "response_time.p95"
above = 5.0
resolve = 4.0
window = "1h"
by = ["pipeline", "tag.team-a"]
labels = { team = "search" }
annotations = { what = "{{ $labels.pipeline }} of {{ $labels.team }}: {{ $value }}" }
[[rules]]
name = "errors"
metric = "error_rate"
above = 0.1
window = "1h"
[[rules]]
name = "dear"
kind = "budget"
period = "month"
metric = "cost"
above = 100.0
[[rules]]
name = "silent \\"one\\""
kind = "absence"
metric = "queries"
window = "1h"
[[rules]]
name = "odd"
kind = "anomaly"
metric = "queries"
window = "1m"
[[rules]]
name = "dear session"
kind = "ratio"
metric = "queries"
per = "sessions"
above = 1.5
window = "1h"
[[rules]]
name = "both"
kind = "expression"
expression = "response_time_p95 > 5 and on () queries > 1"
window = "1h"
by = ["pipeline", "tag.team-a"]
"""
NAMES = ("slow", "errors", "dear", 'silent "one"', "odd", "dear session", "both", "guardrail breached")
QUICK = """
from functools import partial
from barograph.alerts import alert_manager
from barograph.cli.main import main
from barograph.dashboard import assembly
assembly.AlertManager = partial(alert_manager.AlertManager, interval=1.0, delay=0.0)
main()
"""
_LINE = re.compile(r"(barograph_(?:alert_rule|metric)_\w+)\{(.*)\} (\S+)")
_LABEL = re.compile(r'(\w+)="((?:[^"\\]|\\.)*)"')


class Told(NamedTuple):
    """The exported file, and what the server told a moment later."""

    rules: str
    metrics: str
    alerts: list[dict[str, Any]]


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Told]:
    directory = tmp_path_factory.mktemp("exported") / "data"
    query = {"query": "why?", "session_id": "s", "cost": 60.0, "tags": {"team-a": 'a "b"\\'}}
    slow, quick = {"pipeline": "slow", "response_time": 9.0}, {"pipeline": "quick", "response_time": 1.0}
    now = datetime.now(UTC)
    minutes = [now - timedelta(seconds=30 + 60 * minute) for minute in range(3)]  # one is in each
    earlier = [{"query": "why?", "session_id": "s", "time": at} for at in minutes]
    with DashboardInterface(directory) as dashboard:  # before the first look: what comes later is late for a detector
        for event in (query | slow, query | quick, *earlier):
            dashboard.record_query_execution(event)
        dashboard.flush()
    with Serving(directory, toml=TOML, program=("-c", QUICK)) as running:

        def measured() -> str:
            """What is served, once every rule was evaluated."""
            metrics = running.ask("/metrics").body.decode()
            return metrics if {labels["rule"] for _, labels, _ in series(metrics)} >= set(NAMES) else ""

        metrics = running.until(measured)
        assert metrics, running.ask("/metrics").body.decode()
        yield Told(
            rules=export_rules(running.directory / "barograph.toml"),
            metrics=metrics,
            alerts=running.ask("/api/v1/alerts").json["data"]["alerts"],
        )


def series(metrics: str) -> list[tuple[str, dict[str, str], float]]:
    found = [_LINE.fullmatch(line) for line in metrics.splitlines()]
    return [
        (
            one[1],
            {name: text.replace(r"\"", '"').replace(r"\\", "\\") for name, text in _LABEL.findall(one[2])},
            float(one[3]),
        )
        for one in found
        if one
    ]


def exported(told: Told) -> list[dict[str, Any]]:
    yaml = pytest.importorskip("yaml")
    return list(yaml.safe_load(told.rules)["groups"][0]["rules"])


def test_every_series_that_an_exported_rule_names_is_served(told: Told) -> None:
    there = series(told.metrics)
    rules = exported(told)
    assert {rule["alert"] for rule in rules} == set(NAMES)
    for rule in rules:
        for asked in selectors(parse(rule["expr"])):
            wanted = {matcher.name: matcher.value for matcher in asked.matchers}
            if wanted[NAME] != "ALERTS":  # Prometheus' own
                found = [
                    labels for name, labels, _ in there if name == wanted[NAME] and labels["rule"] == wanted["rule"]
                ]
                assert found, rule["expr"]
    assert {"pipeline": "slow", "tag_team_a": 'a "b"\\', "rule": "slow", "project": "default"} in [
        labels for _, labels, _ in there
    ]


@pytest.mark.skipif(PROMTOOL is None, reason="promtool is not installed (Debian's package prometheus)")
def test_prometheus_loads_both_and_fires_the_same_alerts(told: Told, tmp_path: Path) -> None:
    (tmp_path / "rules.yml").write_text(told.rules, encoding="utf-8")
    ours = {one["labels"]["alertname"]: one["labels"] for one in told.alerts if one["state"] == "firing"}
    assert {"slow", "dear", "dear session", "both"} == ours.keys()
    assert ours["slow"]["pipeline"] == ours["both"]["pipeline"] == "slow"
    firing = [
        {"eval_time": "1m", "alertname": rule["alert"], "exp_alerts": _expected(rule, told, ours)}
        for rule in exported(told)
    ]
    inputs = [
        {"series": f"{name}{{{','.join(f'{key}={json.dumps(text)}' for key, text in labels.items())}}}",
         "values": f"{value}x3"}
        for name, labels, value in series(told.metrics)
    ]  # fmt: skip
    test = {"interval": "30s", "input_series": inputs, "alert_rule_test": firing}
    (tmp_path / "test.yml").write_text(json.dumps({"rule_files": ["rules.yml"], "tests": [test]}), encoding="utf-8")
    for command in (["check", "rules", "rules.yml"], ["test", "rules", "test.yml"]):
        done = subprocess.run(
            [str(PROMTOOL), *command], cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False
        )
        assert "SUCCESS" in done.stdout, done.stdout + done.stderr
    done = subprocess.run(
        [str(PROMTOOL), "check", "metrics"], input=told.metrics, capture_output=True, text=True, timeout=60, check=False
    )
    assert "barograph_alert_rule" not in done.stdout + done.stderr
    assert "barograph_metric" not in done.stdout + done.stderr


def _expected(rule: dict[str, Any], told: Told, ours: dict[str, dict[str, str]]) -> list[dict[str, Any]]:
    """What Prometheus should fire of a rule: the series that are broken there, with the texts of the file."""
    if rule["alert"] not in ours:
        return []
    group = {key: text for key, text in ours[rule["alert"]].items() if key == "pipeline"}
    (labels, value) = next(
        (labels, value)
        for _, labels, value in series(told.metrics)
        if labels["rule"] == rule["alert"] and group.items() <= labels.items()
    )
    annotations = dict(rule["annotations"])
    if "what" in annotations:
        annotations["what"] = f"slow of search: {value:g}"
    return [{"exp_labels": {**labels, **rule["labels"]}, "exp_annotations": annotations}]
