"""Single events a line each: filtered, ordered, in the settings' zone, whoever reads them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from tests.cli.cli_support import barograph, several

from barograph.cli.listing import SHOWN
from barograph.cli.options import Exit
from barograph.core.event import CALLER_KINDS

LINES = "".join(
    json.dumps({
        "query": f"What is question {i} about, and why does it take so long to answer it?\x1b[2J\nAnd then?",
        "response_time": 1 + i / 10, "trace_id": f"{i:02x}" * 16, "model": "small" if i % 2 else "large",
        "pipeline": "support", "cost": 0.01 * i, "status": "error" if i == 7 else "ok",
    })
    + "\n"
    for i in range(30)
)  # fmt: skip


@pytest.fixture(scope="module")
def listed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("listing") / "data"
    assert barograph("init", "-d", directory).returncode == 0
    assert barograph("record", "-d", directory, stdin=LINES).returncode == 0
    assert barograph("record", "-d", directory, "--kind", "feedback", "trace_id=t1", "rating=2").returncode == 0
    return directory


def test_queries_are_lines_that_fit_eighty_columns_and_whose_ids_lead_on(listed: Path) -> None:
    table, slowest, failed = several([
        ["queries", "-d", listed, "--width", "80"],
        ["queries", "-d", listed, "--order", "response_time", "--limit", "1", "--width", "80"],
        ["queries", "-d", listed, "--where", "status:eq:error", "--where", "latency_ms:gte:1000"],
    ], BAROGRAPH_TIMEZONE="Asia/Tokyo")  # fmt: skip
    assert [one.returncode for one in (table, slowest, failed)] == [0] * 3, table.stderr
    assert "Asia/Tokyo" in table.stdout
    assert max(map(len, table.stdout.splitlines())) <= 80
    assert table.stdout.count("What is question") == 20
    assert "\x1b" not in table.stdout
    assert "Pipeline: support" in table.stdout
    assert "1d1d1d1d  ok" in slowest.stdout
    assert failed.stdout.count("What is question") == 1
    shown = barograph("trace", "1d1d1d1d", "-d", listed)
    assert "What is question 29" in shown.stdout, shown.stderr


def test_json_has_the_whole_rows(listed: Path) -> None:
    found = json.loads(barograph("queries", "-d", listed, "--json", "--limit", "3", "--order", "cost").stdout)
    assert [row["cost"] for row in found["items"]] == pytest.approx([0.29, 0.28, 0.27])
    assert found["items"][0]["query"].endswith("And then?")
    assert found["more"] is True
    assert found["complete_to"].endswith("Z")


def test_another_order_is_a_column_of_its_own_and_may_ascend(listed: Path) -> None:
    found = barograph("queries", "-d", listed, "--order", "cost", "--ascending", "--limit", "2", "--width", "100")
    assert "cost" in found.stdout
    assert found.stdout.index("question 0 ") < found.stdout.index("question 1 ")


def test_nothing_found_says_what_to_do(listed: Path) -> None:
    finished = barograph("queries", "-d", listed, "--where", "model:eq:none", "--last", "1h")
    assert finished.returncode == 0
    assert finished.stdout.startswith("No queries from ")
    assert "--last 30d" in finished.stderr
    assert "--where" in finished.stderr


def test_events_of_every_kind_are_listed(listed: Path) -> None:
    assert set(SHOWN) == set(CALLER_KINDS)
    for kind, columns in SHOWN.items():
        assert set(columns) <= set(CALLER_KINDS[kind].__struct_fields__)
    *all_kinds, feedback = several([
        *(["queries", "-d", listed, "--kind", kind] for kind in SHOWN),
        ["queries", "-d", listed, "--kind", "feedback", "--width", "60"],
    ])  # fmt: skip
    assert [one.returncode for one in all_kinds] == [0] * len(SHOWN), [one.stderr for one in all_kinds]
    assert "Rating" in feedback.stdout
    assert "t1" in feedback.stdout


def test_what_cannot_be_asked_is_refused(listed: Path) -> None:
    wrong = [["--kind", "attribution"], ["--order", "nonsense"], ["--where", "cost"], ["--to", "now"]]
    for finished in several([["queries", "-d", listed, *words] for words in wrong]):
        assert finished.returncode == Exit.INPUT, finished
        assert len(finished.stderr.splitlines()) == 1
