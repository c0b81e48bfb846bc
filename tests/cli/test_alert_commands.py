"""A rule can be tried before it wakes anybody, and a file of rules is looked at as a whole."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from tests.cli.cli_support import barograph, several
from tests.support.serving import Serving

from barograph.cli.options import Exit

RULES = """
timezone = "Europe/Berlin"

[[metrics]]
name = "queue"
of = "metric.queue_depth"

[[rules]]
name = "slow"
metric = "response_time.mean"
above = 5.0
window = "1m"

[[rules]]
name = "mis-typed"
metric = "error_rat"
above = 0.1

[[ rules ]]
name = "never"
metric = "error_rate"
above = 5

[[rules]]
name = "own metric"
metric = "queue"
above = 10
windw = "5m"

[[rules]]
name = "slow"
metric = "queue"
below = 1
"""


@pytest.fixture
def rules(tmp_path: Path) -> Path:
    path = tmp_path / "draft.toml"
    path.write_text(RULES, encoding="utf-8")
    return path


def history() -> str:
    """An hour of queries, one each half minute; those of ten minutes, half an hour ago, were slow."""
    now = datetime.now(UTC).replace(second=0, microsecond=0)
    return "\n".join(
        json.dumps({
            "query": f"question {n}",
            "time": (now - timedelta(seconds=30 * n + 15)).isoformat(),
            "response_time": 9.0 if 60 <= n < 80 else 1.0,
        })
        for n in range(120)
    )  # fmt: skip


def test_check_tells_every_wrong_rule_with_its_line_and_the_way_out(rules: Path, tmp_path: Path) -> None:
    told, as_json, broken, absent = several([
        ["alerts", "check", rules],
        ["alerts", "check", rules, "--json"],
        ["alerts", "check", tmp_path / "no.toml"],
        ["alerts", "check", "-d", tmp_path],
    ])  # fmt: skip
    assert (told.returncode, broken.returncode, absent.returncode) == (Exit.FOUND, Exit.INPUT, Exit.INPUT)
    assert "4 rules wrong, 1 right" in told.stdout
    assert "Did you mean error_rate" in told.stdout
    problems = json.loads(as_json.stdout)["problems"]
    lines = RULES.splitlines()
    assert [(one["rule"], lines[one["line"] - 1].replace(" ", "")) for one in problems] == [
        (name, "[[rules]]") for name in ("mis-typed", "never", "own metric", "slow")
    ]
    assert [one["line"] for one in problems] == sorted(one["line"] for one in problems)
    assert "windw" in problems[2]["problem"]
    assert all(one["hint"] for one in problems)
    right = tmp_path / "right.toml"
    right.write_text(RULES.partition('[[rules]]\nname = "mis')[0], encoding="utf-8")
    fine = barograph("alerts", "check", right)
    assert (fine.returncode, fine.stderr) == (0, "")
    assert "1 rule, nothing wrong." in " ".join(fine.stdout.split())


def test_a_rule_of_a_file_is_tried_on_what_is_stored_also_by_a_server(rules: Path, tmp_path: Path) -> None:
    directory = tmp_path / "rag-data"
    recorded = barograph("record", "-d", directory, stdin=history())
    assert recorded.returncode == 0, recorded.stderr
    asked = ["alerts", "test", "slow", "--file", rules, "--last", "2h", "-d", directory]
    text, own, unknown, refused, long = several([
        asked,
        [*asked, "--json"],
        ["alerts", "test", "nothing of that name", "-d", directory],
        ["alerts", "test", "mis-typed", "--file", rules, "-d", directory],
        ["alerts", "test", "slow", "--file", rules, "--last", "100d", "-d", directory],
    ])  # fmt: skip
    assert text.returncode == 0, text.stderr
    assert "It would have fired 1 time" in text.stdout
    assert "response_time.mean above 5 s over 1 min" in text.stdout
    assert max(map(len, text.stdout.splitlines())) <= 80
    (firing,) = json.loads(own.stdout)["firings"]
    assert firing["worst"] == 9.0
    fired, resolved = (datetime.fromisoformat(firing[name]) for name in ("fired_at", "resolved_at"))
    assert resolved - fired == timedelta(minutes=10)
    assert (unknown.returncode, refused.returncode, long.returncode) == (Exit.INPUT,) * 3
    assert "slow responses" in unknown.stderr  # which there is
    assert "draft.toml, line 14" in refused.stderr
    assert "92 days at most" in long.stderr
    with Serving(directory) as serving:
        served, unknown = several([[*asked, "--json"], ["alerts", "test", "nothing of that name", "-d", directory]])
        assert (served.returncode, unknown.returncode) == (0, Exit.INPUT), served.stderr
        (again,) = json.loads(served.stdout)["firings"]
        assert again == firing
        assert serving.stop() == 0
