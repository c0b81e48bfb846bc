"""Timelines of alerts are those of real Prometheus 2.42, for every rule whose expression can be translated.

What cannot be is decided by translating it, told with the reason, and never by a name. Where Prometheus reports an
error its test run ends and gives no timeline: then the same rule must fail at the same tick. The environment variable
BAROGRAPH_RULES_ORACLE names another file of the same form.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest
from tests.support.series_rules import Refusal, read_groups
from tests.support.series_watch import run

SHIPPED = Path(__file__).parents[1] / "data" / "prometheus_rules_2.42.json"
ORACLE = Path(os.environ.get("BAROGRAPH_RULES_ORACLE", SHIPPED))
Case = dict[str, Any]
CASES: dict[str, Case] = json.loads(ORACLE.read_text(encoding="utf-8"))
_ERROR = re.compile(r"rule: (.*?), time: (\S+), err: .*", re.DOTALL)
_PARTS = re.compile(r"(\d+(?:\.\d+)?)(ms|h|m|s)")
_SECONDS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0}


def told(case: Case) -> list[tuple[str, float]]:
    """The errors that Prometheus gave: rule, and seconds since the start."""
    found = [_ERROR.fullmatch(text) for text in case["errors"]]
    assert all(found), case["errors"]
    return [
        (one[1], sum(float(digits) * _SECONDS[unit] for digits, unit in _PARTS.findall(one[2]))) for one in found if one
    ]


def expected(case: Case, refusals: list[Refusal], ours: Iterable[str] = ()) -> dict[str, str]:
    """The timelines of the alerts whose rules were translated.

    Two rules may have one name: an alert is of one that was refused where its labels are those that this one gives,
    unless one that was translated gives the same alert.
    """
    alerts = {json.dumps(json.loads(labels), sort_keys=True): line for labels, line in case["alerts"].items()}
    of_refused = {labels for labels in alerts if any(_may_be_of(one, json.loads(labels)) for one in refusals)}
    return {labels: line for labels, line in alerts.items() if labels not in of_refused or labels in ours}


def _may_be_of(refused: Refusal, labels: dict[str, str]) -> bool:
    fixed = {name: text for name, text in refused.labels.items() if "{{" not in text and name != "alertname"}
    if refused.records or labels["alertname"] != refused.rule:
        return False
    return all(labels.get(name, "") == text for name, text in fixed.items())


@pytest.mark.parametrize("name", CASES)
def test_the_timeline_is_that_of_prometheus(name: str) -> None:
    case = CASES[name]
    timelines, errors, refusals = run(case)
    if refusals and (case["errors"] or len(refusals) == sum(len(g["rules"]) for g in case["rules"]["groups"])):
        pytest.skip("; ".join(f"rule {refusal.rule}: {refusal.reason}" for refusal in refusals))
    assert errors == told(case)
    assert timelines == expected(case, refusals, timelines)


def test_what_is_translated_and_what_not_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    lines = []
    for name, case in CASES.items():
        refusals = read_groups(case["rules"])[1]
        verdict = "; ".join(f"not translated: {r.rule}: {r.reason}" for r in refusals) or "translated"
        lines.append(f"{name:40} {verdict}")
    with capsys.disabled():
        if ORACLE != SHIPPED:
            print("", *lines, sep="\n")
    assert len(lines) == len(CASES)
    assert any(sum(map(len, (group.rules for group in read_groups(case["rules"])[0]))) for case in CASES.values()), (
        "no rule of the file was translated: nothing was compared"
    )
    if ORACLE == SHIPPED:
        assert [line for line in lines if not line.endswith(" translated")] == []


def _case(*rules: Case) -> Case:
    return {
        "rules": {"groups": [{"name": "g", "rules": list(rules)}]},
        "series": [{"series": 'q{pod="x"}', "values": "1 9 9 1"}],
        "interval_s": 60,
        "ticks": 4,
        "alerts": {},
        "errors": [],
    }


def test_of_two_rules_with_one_name_the_one_that_was_translated_is_compared() -> None:
    case = _case(
        {"alert": "Z", "expr": "q > 5", "labels": {"severity": "w"}},
        {"alert": "Z", "expr": "topk(1, q) > 5", "labels": {"severity": "c"}},
    )
    ours, theirs = ({"alertname": "Z", "pod": "x", "severity": severity} for severity in "wc")
    case["alerts"] = {json.dumps(ours): ".FF.", json.dumps(theirs): ".FF."}
    timelines, _, refusals = run(case)
    assert [refusal.rule for refusal in refusals] == ["Z"]
    assert timelines == expected(case, refusals, timelines) == {json.dumps(ours, sort_keys=True): ".FF."}


@pytest.mark.parametrize(
    ("asks", "refused"),
    [
        ('{__name__=~"ALERTS"} == 1', True),
        ('{__name__=~"ALERTS.*",alertname=~"T.*"} > 0', True),
        ('{pod="x"} == 1', True),
        ('ALERTS{alertname="Top"} == 1', True),
        ('ALERTS{alertname="Other"} == 1', False),
        ('{__name__!="ALERTS",__name__=~"q|ALERTS"} > 5', False),
        ("Top > 1", False),
    ],
)
def test_what_may_be_asked_of_a_refused_rule_is_refused_too_wherever_it_stands(asks: str, refused: bool) -> None:
    top, other = {"alert": "Top", "expr": "topk(1, q) > 5"}, {"alert": "Dep", "expr": asks}
    chain = {"alert": "Chain", "expr": 'ALERTS{alertname="Dep"} == 1'}
    for rules in ((top, other, chain), (chain, other, top)):
        told = {refusal.rule for refusal in run(_case(*rules))[2]}
        assert told == ({"Top", "Dep", "Chain"} if refused else {"Top"})
