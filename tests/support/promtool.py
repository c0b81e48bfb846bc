"""Asks Prometheus' own ``promtool`` whether its alerts have the timelines that are expected."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

PROMTOOL = shutil.which("promtool")
WORD = {"P": "pending", "F": "firing"}

_FAILED = re.compile(r'expr: "ALERTS\{alertname=~\\"(\w+?)_')
_ERROR = re.compile(r"rule: (\w+), time: (\S+), err: (.*)")
_PARTS = re.compile(r"(\d+(?:\.\d+)?)(ms|h|m|s)")
_SECONDS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0}


def seconds(text: str) -> float:
    """Seconds of a duration as Go prints it: ``1h2m0s``."""
    return sum(float(digits) * _SECONDS[unit] for digits, unit in _PARTS.findall(text))


def differences(
    cases: Mapping[str, Mapping[str, Any]], timelines: Mapping[str, Mapping[str, str]], folder: Path
) -> tuple[set[str], list[tuple[str, float]], str]:
    """The cases (their alerts are named ``<case>_…``) whose timelines are not those expected; the errors; the output.

    All cases must have the same interval and number of ticks.
    """
    some = next(iter(cases.values()))
    interval, ticks = some["interval_s"], some["ticks"]
    groups = [group for case in cases.values() for group in case["rules"]["groups"]]
    expressions = [
        {
            "expr": f'ALERTS{{alertname=~"{name}_.*"}}',
            "eval_time": f"{tick * interval}s",
            "exp_samples": [
                {"labels": _as_series(labels, line[tick]), "value": 1}
                for labels, line in timelines[name].items()
                if line[tick] in WORD
            ],
        }
        for name in cases
        for tick in range(ticks)
    ]
    test = {
        "interval": f"{interval}s",
        "input_series": [series for case in cases.values() for series in case["series"]],
        "promql_expr_test": expressions,
    }
    output = _run(folder, {"groups": groups}, test, f"{interval}s")
    errors = [(rule, seconds(time)) for rule, time, _ in _ERROR.findall(output)]
    return set(_FAILED.findall(output)), errors, output


def _as_series(labels: str, letter: str) -> str:
    inside = {**json.loads(labels), "alertstate": WORD[letter]}
    return "ALERTS{" + ",".join(f"{name}={json.dumps(value)}" for name, value in sorted(inside.items())) + "}"


def _run(folder: Path, rules: object, test: Mapping[str, Any], interval: str) -> str:
    assert PROMTOOL
    (folder / "rules.yml").write_text(json.dumps(rules), encoding="utf-8")  # JSON is YAML
    document: Sequence[object] | dict[str, object] = {
        "rule_files": ["rules.yml"],
        "evaluation_interval": interval,
        "tests": [test],
    }
    (folder / "test.yml").write_text(json.dumps(document), encoding="utf-8")
    done = subprocess.run(
        [PROMTOOL, "test", "rules", "test.yml"], cwd=folder, capture_output=True, text=True, timeout=120, check=False
    )
    return done.stdout + done.stderr
