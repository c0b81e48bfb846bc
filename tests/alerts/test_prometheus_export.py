"""Rules of ours as a rule file: Prometheus loads it, the same expressions are read back, and the rest is told."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any

import pytest
from tests.support.promtool import PROMTOOL

from barograph.alerts.default_rules import default_rules
from barograph.alerts.prometheus.export import export, expression
from barograph.alerts.prometheus.rules import read_groups
from barograph.alerts.prometheus.text import write
from barograph.alerts.rule import ThresholdRule, make_rule
from barograph.alerts.rule_set import RuleSet
from barograph.core.metric import Catalogue
from barograph.core.settings import RuleSettings, Settings

CATALOGUE = Catalogue()


def rule(metric: str = "response_time.p95", above: float | None = 5.0, **settings: Any) -> ThresholdRule:
    return make_rule(RuleSettings(name="it", metric=metric, above=above, **settings), CATALOGUE)


@pytest.mark.parametrize(
    ("made", "text"),
    [
        (
            rule(by=("pipeline",), where=("tag.tier:eq:gold", "model:in:a.b,c")),
            "histogram_quantile(0.95, sum by (le, pipeline) (rate(barograph_query_response_time_seconds_bucket"
            '{tag_tier="gold",model=~"a\\\\.b|c"}[5m]))) > 5',
        ),
        (
            rule("error_rate", 0.1, window="10m", minimum=20),
            '((sum(increase(barograph_query_total{status="error"}[10m])) / sum(increase(barograph_query_total[10m])))'
            " > 0.1) and (sum(increase(barograph_query_total[10m])) >= 20)",
        ),
        (
            rule("cost_per_query", 0.5),
            "(sum(increase(barograph_query_cost_usd_sum[5m])) / sum(increase(barograph_query_cost_usd_count[5m])))"
            " > 0.5",
        ),
        (rule("queries_per_minute", 90.0), "(sum(increase(barograph_query_total[5m])) / 5) > 90"),
        (rule("system.disk", 90.0), "avg(last_over_time(barograph_system_disk_percent[5m])) > 90"),
        (rule("metric.index-size", 1e6), "avg(avg_over_time(index_size[5m])) > 1e+06"),
        (
            rule("metric.load", 9.0, below=1.0),
            "(avg(avg_over_time(load[5m])) > 9) or (avg(avg_over_time(load[5m])) < 1)",
        ),
    ],
)
def test_a_rule_asks_prometheus_the_same(made: ThresholdRule, text: str) -> None:
    assert write(expression(made)) == text


@pytest.mark.parametrize(
    ("made", "reason"),
    [
        (rule("active_users", 9.0), "active_users is a distinct"),
        (rule(resolve=4.0), "no resolve threshold"),
        (rule(where=("response_time:gte:1",)), "response_time:gte asks for more than a label"),
        (rule(where=("variant.ranker:eq:new",)), "asks for more than a label"),
    ],
)
def test_a_rule_without_an_equivalent_is_left_out_with_the_reason(made: ThresholdRule, reason: str) -> None:
    text, (refusal,) = export([made])
    assert reason in refusal.reason
    assert f"# Not exported: it: {refusal.reason}." in text


def test_the_file_is_loaded_by_prometheus_and_read_back_here(tmp_path: Path) -> None:
    yaml = pytest.importorskip("yaml")
    rules = list(RuleSet(CATALOGUE, default=default_rules(Settings())).rules)
    for metric in CATALOGUE:
        limits: dict[str, Any] = {"above": 0.5} if metric.unit != "rating" else {"above": None, "below": 3.0}
        rules.append(
            make_rule(
                RuleSettings(
                    name=f'{metric.name} "é" {{{{x}}}}', metric=metric.name, by=("model", "tag.team-a"), minimum=3,
                    for_="90s", keep_firing_for="1h", message="{{ off }}",
                    where=("pipeline:match:^a+$", "status:has:o.k", "user_id:exists"), **limits,
                ),
                CATALOGUE,
            )
        )  # fmt: skip
    text, refusals = export(rules)
    assert {refusal.rule.split()[0] for refusal in refusals} == {"active_users", "sessions"}
    document = yaml.safe_load(text)
    groups, refused = read_groups(document)
    assert [one.reason for one in refused if "template" not in one.reason] == []
    assert len(document["groups"][0]["rules"]) == len(rules) - 2
    assert {write(one.asks) for one in groups[0].rules} <= {one["expr"] for one in document["groups"][0]["rules"]}
    if PROMTOOL is None:
        pytest.skip("promtool is not installed: read back here only")
    (tmp_path / "rules.yml").write_text(text, encoding="utf-8")
    done = subprocess.run(
        [PROMTOOL, "check", "rules", "rules.yml"], cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False
    )
    assert "SUCCESS" in done.stdout, done.stdout + done.stderr
