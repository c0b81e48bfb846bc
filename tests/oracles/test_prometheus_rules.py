"""Timelines of alerts are those of real Prometheus 2.42, for every rule whose expression can be translated.

What cannot be is decided by translating it, told with the reason, and never by a name. Where Prometheus reports an
error its test run ends and gives no timeline: then the same rule must fail at the same tick. The environment variable
BAROGRAPH_RULES_ORACLE names another file of the same form.
"""

from __future__ import annotations

import json
import os
import re
from pathlib import Path
from typing import Any

import pytest
from tests.support.series_watch import run

from barograph.alerts.prometheus.rules import Refusal, read_groups

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


def expected(case: Case, refusals: list[Refusal]) -> dict[str, str]:
    """The timelines of the alerts whose rules were translated."""
    refused = {refusal.rule for refusal in refusals}
    alerts = ((json.loads(labels), line) for labels, line in case["alerts"].items())
    return {json.dumps(a, sort_keys=True): line for a, line in alerts if a["alertname"] not in refused}


@pytest.mark.parametrize("name", CASES)
def test_the_timeline_is_that_of_prometheus(name: str) -> None:
    case = CASES[name]
    timelines, errors, refusals = run(case)
    if refusals and (case["errors"] or len(refusals) == sum(len(g["rules"]) for g in case["rules"]["groups"])):
        pytest.skip("; ".join(f"rule {refusal.rule}: {refusal.reason}" for refusal in refusals))
    assert errors == told(case)
    assert timelines == expected(case, refusals)


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
    if ORACLE == SHIPPED:
        assert [line for line in lines if not line.endswith(" translated")] == []
