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


def test_rules_are_kept_listed_with_their_source_and_removed(rules: Path, tmp_path: Path) -> None:
    directory, good = str(tmp_path / "data"), tmp_path / "good.toml"
    assert barograph("init", "-d", directory).returncode == 0
    (tmp_path / "data" / "barograph.toml").write_text(
        '[[rules]]\nname = "slow"\nmetric = "response_time.mean"\nabove = 5.0\n'
        '[[rules]]\nname = "coded"\nkind = "function"\nfunction = "no_such_module:rule"\n'  # only the server has it
    )
    good.write_text(
        '[[rules]]\nname = "many"\nmetric = "queries"\nabove = 9\n[[rules]]\nname = "no answers"\nenabled = false\n'
    )
    code = tmp_path / "code.toml"
    code.write_text('[[rules]]\nname = "code"\nkind = "function"\nfunction = "json:loads"\n')
    blind = tmp_path / "blind.toml"  # of two the second cannot be evaluated
    blind.write_text(
        '[[rules]]\nname = "one"\nmetric = "queries"\nabove = 9\n'
        '[[rules]]\nname = "two"\nmetric = "queries"\nabove = 9\nwhere = ["nonsense:eq:1"]\n'
    )
    taken = tmp_path / "taken.toml"
    taken.write_text(blind.read_text().replace('"two"', '"slow"').replace('where = ["nonsense:eq:1"]', ""))
    wrong, function, unanswerable, elsewhere, added, listed, removed, again, after = several(
        [
            ["alerts", "add", str(rules), "-d", directory],
            ["alerts", "add", str(code), "-d", directory],
            ["alerts", "add", str(blind), "-d", directory],
            ["alerts", "add", str(taken), "-d", directory],
            ["alerts", "add", str(good), "-d", directory],
            ["alerts", "rules", "--json", "-d", directory],
            ["alerts", "remove", "no answers", "-d", directory],
            ["alerts", "remove", "slow", "-d", directory],
            ["alerts", "rules", "-d", directory],
        ]
    )
    assert wrong.returncode == Exit.INPUT
    assert "line 14: mis-typed: no such metric" in wrong.stderr
    assert "names no code to run" in function.stderr
    assert "blind.toml, line 5" in unanswerable.stderr
    assert "nonsense" in unanswerable.stderr
    assert "taken.toml, line 5: that rule stands in barograph.toml" in elsewhere.stderr
    assert unanswerable.stdout == elsewhere.stdout == ""
    assert added.stdout == "many is in force.\nno answers is switched off.\n"
    sources = {one["name"]: one["source"] for one in json.loads(listed.stdout)}
    wanted = {"slow": "file", "coded": "file", "many": "kept", "slow responses": "default", "errors": "default"}
    assert sources.items() >= wanted.items()
    assert "one" not in sources
    assert [(one["name"], one["source"]) for one in json.loads(listed.stdout) if one["off"]] == [("no answers", "kept")]
    assert "default rule of that name is in force" in removed.stdout
    assert "stands in barograph.toml" in again.stderr
    assert "no answers" in after.stdout


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
    assert told.stdout.startswith("4 problems; 1 rule in order")
    place = f"{rules}:14"  # where an editor opens it
    assert f"{place}mis-typed:nosuchmetric(goterror_rat)." in "".join(told.stdout.split())
    assert "Did you mean error_rate" in told.stdout
    problems = json.loads(as_json.stdout)["problems"]
    lines = RULES.splitlines()
    assert [(one["rule"], one["place"], lines[one["line"] - 1].replace(" ", "")) for one in problems] == [
        ("mis-typed", "rules[1]", "[[rules]]"),
        ("never", "rules[2]", "[[rules]]"),
        ("own metric", "rules[3].windw", 'windw="5m"'),
        ("slow", "rules[4]", "[[rules]]"),
    ]
    assert [one["line"] for one in problems] == sorted(one["line"] for one in problems)
    assert "windw" in problems[2]["problem"]
    assert all(one["hint"] for one in problems)
    right = tmp_path / "right.toml"
    right.write_text(RULES.partition('[[rules]]\nname = "mis')[0], encoding="utf-8")
    fine = barograph("alerts", "check", right)
    assert (fine.returncode, fine.stderr) == (0, "")
    assert "1 rule, nothing wrong." in " ".join(fine.stdout.split())


def test_export_writes_the_rules_for_prometheus_over_what_the_server_serves(rules: Path, tmp_path: Path) -> None:
    right = tmp_path / "right.toml"
    right.write_text(
        RULES.partition('[[rules]]\nname = "mis')[0]
        + '[[rules]]\nname = "people"\nmetric = "active_users"\nbelow = 3\n'
        + '[[rules]]\nname = "queue"\nmetric = "queue"\nabove = 10\n'
        + '[[rules]]\nname = "coded"\nkind = "function"\nfunction = "no_such_module:rule"\n',
        encoding="utf-8",
    )
    written, wrong, formless = several([
        ["alerts", "export", "--prometheus", right],
        ["alerts", "export", "--prometheus", rules],
        ["alerts", "export", right],
    ])  # fmt: skip
    assert (written.returncode, wrong.returncode, formless.returncode) == (0, Exit.INPUT, 0)
    for expression in (
        '{rule=\\"queue\\"} > 10',
        '{rule=\\"people\\"} < 3',
        '{rule=\\"slow\\"} > ',
        '{rule=\\"coded\\"} > ',
    ):
        assert f'expr: "barograph_alert_rule_value{expression}' in written.stdout
    assert "Did you mean error_rate" in wrong.stderr
    assert formless.stdout == written.stdout


def test_a_rule_of_a_file_is_tried_on_what_is_stored_also_by_a_server(rules: Path, tmp_path: Path) -> None:
    directory = tmp_path / "rag-data"
    recorded = barograph("record", "-d", directory, stdin=history())
    assert recorded.returncode == 0, recorded.stderr
    asked = ["alerts", "test", "slow", "--file", rules, "--last", "2h", "-d", directory]
    code = tmp_path / "code.toml"
    code.write_text('[[rules]]\nname = "code"\nkind = "function"\nfunction = "operator:truth"\n', encoding="utf-8")
    played = ["alerts", "test", "code", "--file", code, "--last", "5m", "--json", "-d", directory]
    text, own, unknown, refused, long, ran = several([
        asked,
        [*asked, "--json"],
        ["alerts", "test", "nothing of that name", "-d", directory],
        ["alerts", "test", "mis-typed", "--file", rules, "-d", directory],
        ["alerts", "test", "slow", "--file", rules, "--last", "100d", "-d", directory],
        played,
    ])  # fmt: skip
    assert (text.returncode, ran.returncode) == (0, 0), text.stderr + ran.stderr
    assert len(json.loads(ran.stdout)["firings"]) == 1
    assert "It would have fired 1 time" in text.stdout
    assert "response_time.mean above 5 s over 1 min" in text.stdout
    assert max(map(len, text.stdout.splitlines())) <= 80
    (firing,) = json.loads(own.stdout)["firings"]
    assert firing["worst"] == 9.0
    fired, resolved = (datetime.fromisoformat(firing[name]) for name in ("fired_at", "resolved_at"))
    assert timedelta(minutes=9) < resolved - fired < timedelta(minutes=11)
    assert (unknown.returncode, refused.returncode, long.returncode) == (Exit.INPUT,) * 3
    assert "slow responses" in unknown.stderr  # which there is
    assert "draft.toml, line 14" in refused.stderr
    assert "92 days at most" in long.stderr
    with Serving(directory) as serving:
        served, unknown, code_refused = several([
            [*asked, "--json"],
            ["alerts", "test", "nothing of that name", "-d", directory],
            played,
        ])  # fmt: skip
        assert (served.returncode, unknown.returncode) == (0, Exit.INPUT), served.stderr
        assert "runs no code that somebody sends it" in code_refused.stderr
        (again,) = json.loads(served.stdout)["firings"]
        assert again == firing
        assert serving.stop() == 0


def test_alerts_are_listed_held_back_and_taken_care_of(tmp_path: Path) -> None:
    directory = tmp_path / "rag-data"
    toml = (
        '[[rules]]\nname = "slow"\nmetric = "response_time.mean"\nabove = 5\nwindow = "1h"\nseverity = "critical"\n'
        '[routing.route]\ngroup_wait = "1s"\ngroup_interval = "1s"\n'
    )
    with Serving(directory, toml=toml) as serving:
        empty, recorded, asked = several([
            ["alerts", "list", "-d", directory],
            ["record", "query=why", "response_time=9", "-d", directory],
            ["status", "-d", directory],
        ])  # fmt: skip
        assert "Nothing waits or fires." in empty.stdout
        assert (recorded.returncode, asked.returncode) == (0, Exit.FOUND)

        def listed() -> dict[str, object]:
            finished = barograph("alerts", "list", "--json", "-d", directory)
            assert finished.returncode == 0, finished.stderr
            (found,) = json.loads(finished.stdout)["alerts"]
            return dict(found)

        serving.until(lambda: listed()["told"][0]["told"])  # type: ignore[index]
        fingerprint = str(listed()["fingerprint"])
        text, made, everything, acked, unknown, short, wrong, unacked, again = several([
            ["alerts", "list", "-d", directory],
            ["alerts", "silence", "alertname=slow", "--for", "2h", "-m", "index rebuild", "--json", "-d", directory],
            ["alerts", "silence", "alertname=~.*", "-d", directory],
            ["alerts", "ack", fingerprint[:4].upper(), "-m", "on it", "-d", directory],
            ["alerts", "ack", "0" * 16, "-d", directory],
            ["alerts", "ack", fingerprint[:3], "-d", directory],
            ["alerts", "list", "--rule", "slwo", "-d", directory],
            ["alerts", "unack", fingerprint[:4], "-d", directory],
            ["alerts", "unack", fingerprint, "-d", directory],
        ])  # fmt: skip
        assert "FIRING slow: Response time exceeded 5 s threshold" in text.stdout
        assert fingerprint in text.stdout
        assert max(map(len, text.stdout.splitlines())) <= 80
        assert (made.returncode, acked.returncode) == (0, 0), made.stderr + acked.stderr
        assert {one.returncode for one in (everything, unknown, short, wrong, again)} == {Exit.INPUT}
        assert (
            "1 open alert of 1 is such."
            in barograph("alerts", "silence", "alertname=slow", "--for", "1s", "-d", directory).stdout
        )
        assert "4 digits or more" in short.stderr
        assert "Did you mean slow?" in wrong.stderr
        assert (unacked.returncode, f"slow, {fingerprint}," in unacked.stdout) == (0, True), unacked.stderr
        serving.until(lambda: listed()["heldBy"] == "silence")
        silence = json.loads(made.stdout)["id"]
        before, ended, after = several([
            ["alerts", "silences", "-d", directory],
            ["alerts", "unsilence", silence[:6], "-d", directory],
            ["alerts", "silences", "-d", directory],
        ])  # fmt: skip
        assert f"{silence}  in force until " in before.stdout
        assert "index rebuild" in before.stdout
        assert ended.returncode == 0
        assert f"{silence}  over" in after.stdout
        serving.until(lambda: not listed()["heldBy"])
        assert serving.stop() == 0


def test_of_a_rule_with_many_groups_the_worst_are_shown_and_all_are_counted(tmp_path: Path) -> None:
    directory = tmp_path / "rag-data"
    directory.mkdir()
    (directory / "barograph.toml").write_text(
        '[[rules]]\nname = "slow"\nmetric = "response_time.mean"\nabove = 2\nwindow = "1h"\nby = ["model"]\n'
        '[[rules]]\nname = "few"\nmetric = "queries"\nabove = 1\nwindow = "1h"\n',
        encoding="utf-8",
    )
    slow = [json.dumps({"query": "why", "model": f"m{n:03}", "response_time": 3 + n % 7}) for n in range(60)]
    recorded = barograph("record", "-d", directory, stdin="\n".join(slow))
    assert recorded.returncode == 0, recorded.stderr
    text, one, as_json, limited, such, none = several([
        ["alerts", "list", "--state", "firing", "-d", directory],
        ["alerts", "list", "--rule", "slow", "-d", directory],
        ["alerts", "list", "--json", "--state", "firing", "-d", directory],
        ["alerts", "list", "--json", "--state", "firing", "--limit", "3", "-d", directory],
        ["alerts", "list", "model=~m00[0-2]", "--state", "firing", "-d", directory],
        ["alerts", "list", "severity=info", "-d", directory],
    ])  # fmt: skip
    assert text.returncode == 0, text.stderr
    lines = text.stdout.splitlines()
    assert "61 alerts fire." in lines
    assert any(line.startswith("slow: 60 fire  the worst 5, warning") for line in lines)
    assert [line.split()[3:5] for line in lines if "model=m" in line] == [["9", "s"]] * 5
    assert any(line.startswith("FIRING few: ") for line in lines)
    assert any(line.startswith("55 more: ") for line in lines)
    assert "nobody is told until `barograph serve` runs" in text.stdout
    assert max(map(len, lines)) <= 80
    assert sum("model=m" in line for line in one.stdout.splitlines()) == 20
    everything, three = json.loads(as_json.stdout), json.loads(limited.stdout)
    assert (len(everything["alerts"]), everything["total"]) == (61, 61)
    assert (len(three["alerts"]), three["total"], three["byName"]) == (3, 61, everything["byName"])
    assert [(count["alertname"], count["firing"]) for count in three["byName"]] == [("slow", 60), ("few", 1)]
    assert [(float(alert["value"]), alert["unit"]) for alert in three["alerts"]] == [(9.0, "s")] * 3
    assert such.stdout.count("FIRING slow: ") == 3
    assert "No such alert waits or fires." in none.stdout


def test_the_history_tells_incidents_and_the_mean_time_to_resolve_with_and_without_a_server(tmp_path: Path) -> None:
    directory = tmp_path / "rag-data"
    begin = datetime.now(UTC) - timedelta(hours=5)
    changes = [(0, "firing", "pending"), (12, "resolved", "firing"), (60, "firing", "pending")]
    lines = [
        json.dumps({
            "kind": "alert", "rule": "slow\x1b[2J", "labels": {"model": "small", "made up": "x"},
            "metric": "response_time.p95", "state": state, "previous": previous,
            "time": (begin + timedelta(minutes=minute)).isoformat(), "value": 7.0,
        })
        for minute, state, previous in changes
    ]  # fmt: skip
    recorded = barograph("record", "-d", directory, stdin="\n".join(lines))
    assert recorded.returncode == 0, recorded.stderr
    text, own, before, wrong, page = several([
        ["alerts", "history", "--last", "7d", "-d", directory],
        ["alerts", "history", "--json", "--limit", "1", "-d", directory],
        ["alerts", "history", "--from=-20d", "--to=-10d", "-d", directory],
        ["alerts", "history", "--last", "soon", "-d", directory],
        ["show", "alerts", "-d", directory],
    ])  # fmt: skip
    assert (text.returncode, wrong.returncode) == (0, Exit.INPUT), text.stderr
    assert "2 incidents. Mean time to resolve 12 min, 12 min in all. 1 open, not counted." in text.stdout
    assert "4 h, open" in text.stdout
    assert "model small" in text.stdout
    assert "\x1b[2J" not in text.stdout
    assert max(map(len, text.stdout.splitlines())) <= 80
    assert "No alert has fired." in before.stdout
    assert page.returncode == 0, page.stderr
    assert "its queries cannot be asked for" in " ".join(page.stdout.split())
    found = json.loads(own.stdout)
    assert (found["total"]["count"], len(found["incidents"])) == (2, 1)
    assert found["incidents"][0]["resolved_at"] is None
    with Serving(directory) as serving:
        served = barograph("alerts", "history", "--json", "-d", directory)
        assert served.returncode == 0, served.stderr
        again = json.loads(served.stdout)
        assert (again["total"], again["rules"]) == (found["total"], found["rules"])
        assert [one["resolved_at"] is None for one in again["incidents"]] == [True, False]
        assert serving.stop() == 0


def test_check_looks_at_receivers_routes_and_expressions_too(tmp_path: Path) -> None:
    wrong = {
        "no such receiver": '[routing.route]\nreceiver = "nobody"\n',
        "not a matcher": '[routing.route]\nroutes = [{ matchers = ["severity"], receiver = "log" }]\n',
        "regular expression": '[[rules]]\nname = "a"\nmetric = "queries"\nabove = 1\nwhere = ["model:match:(["]\n',
        "nowhere": '[[receivers]]\nname = "a"\ntargets = [{ type = "nowhere" }]\n',
    }
    paths = []
    for number, text in enumerate(wrong.values()):
        paths.append(tmp_path / f"{number}.toml")
        paths[-1].write_text(text, encoding="utf-8")
    for said, told in zip(wrong, several([["alerts", "check", path] for path in paths]), strict=True):
        assert told.returncode == Exit.FOUND, said
        assert said.split()[-1] in told.stdout, told.stdout


def test_who_only_records_needs_no_secret_of_a_receiver(tmp_path: Path) -> None:
    directory = tmp_path / "rag-data"
    directory.mkdir()
    toml = '[[receivers]]\nname = "chat"\ntargets = [{ type = "slack", url_env = "NO_SUCH_URL" }]\n'
    (directory / "barograph.toml").write_text(toml, encoding="utf-8")
    recorded, listed = several([
        ["record", "query=why", "response_time=1", "-d", directory],
        ["alerts", "list", "-d", directory],
    ])  # fmt: skip
    assert (recorded.returncode, listed.returncode) == (0, 0), recorded.stderr + listed.stderr
    served = barograph("serve", "-d", directory, "--port", "0")
    assert served.returncode == Exit.INPUT
    assert "NO_SUCH_URL" in served.stderr
