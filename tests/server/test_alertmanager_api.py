"""What speaks to Alertmanager can speak to us: the same script for both, with the same answers.

What Alertmanager 0.25 answered is recorded in ``tests/data/alertmanager_api_0.25.json`` and holds always; where
Debian's ``prometheus-alertmanager`` (with ``amtool``) or ``prometheus`` is installed, the real ones are asked too.
"""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import quote

import pytest
from tests.server.access_support import make_key
from tests.support.alertmanager import Alertmanager, needed
from tests.support.serving import Serving

RECORDED = Path(__file__).parents[1] / "data" / "alertmanager_api_0.25.json"
AMTOOL, PROMETHEUS = shutil.which("amtool"), shutil.which("prometheus")
OURS = """
[collect]
sampler_seconds = 0
[[receivers]]
name = "hook"
[[receivers]]
name = "log"
targets = []
[routing.route]
group_by = ["alertname"]
group_wait = "0s"
group_interval = "1s"
repeat_interval = "1h"
routes = [{ matchers = ["severity=page"], receiver = "hook" }]
[[routing.inhibitions]]
source = ["severity=critical"]
target = ["severity=warning"]
equal = ["pair"]
"""
THEIRS = """
route:
  receiver: log
  group_by: [alertname]
  group_wait: 0s
  group_interval: 1s
  repeat_interval: 1h
  routes:
  - {receiver: hook, matchers: ['severity="page"']}
receivers: [{name: hook}, {name: log}]
inhibit_rules:
- {source_matchers: ['severity="critical"'], target_matchers: ['severity="warning"'], equal: [pair]}
"""
BEGIN = datetime.now(UTC)
ALERTS = [
    {"labels": {"alertname": "page", "severity": "page", "job": "a"}, "annotations": {"summary": "x y"},
     "startsAt": BEGIN.isoformat(), "endsAt": (BEGIN + timedelta(minutes=9)).isoformat(), "generatorURL": "http://p/g"},
    {"labels": {"alertname": "source", "severity": "critical", "pair": "1"}},
    {"labels": {"alertname": "target", "severity": "warning", "pair": "1"}, "startsAt": "0001-01-01T00:00:00Z",
     "endsAt": "0001-01-01T00:00:00Z"},
    {"labels": {"alertname": "quiet"}},
    {"labels": {"alertname": "over"}, "endsAt": (BEGIN - timedelta(minutes=9)).isoformat()},
]  # fmt: skip
QUESTIONS = (
    "alerts", "alerts?filter=alertname%3Dpage", f"alerts?filter={quote('alertname=~.*e.*')}&filter=severity!%3Dpage",
    "alerts?receiver=ho.*", "alerts?receiver=ho", "alerts?active=false", "alerts?silenced=false&inhibited=false",
    "alerts?inhibited=false", "alerts/groups", "alerts/groups?receiver=hook", "receivers", "silences",
    "silences?filter=alertname%3Dquiet", "silences?filter=alertname%3Dother",
)  # fmt: skip
REFUSED = {  # both say what is wrong in a sentence, with this status, ours in its own words
    "alerts?filter=bad": 400, "alerts?receiver=(": 400, "silences?filter=bad": 400,
}  # fmt: skip


class Side(NamedTuple):
    """One of the two, and how to wait until it says something."""

    url: str

    def ask(self, path: str, body: object = None, method: str | None = None) -> tuple[int, Any]:
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(
            f"{self.url}/api/v2/{path}", data, {"Content-Type": "application/json"}, method=method
        )
        try:
            with urllib.request.urlopen(request, timeout=20) as reply:
                return reply.status, json.loads(reply.read() or b"null")
        except urllib.error.HTTPError as error:
            with error:
                return error.code, json.loads(error.read() or b"null")

    def get(self, path: str) -> Any:
        status, found = self.ask(path)
        assert status == 200, found
        return found

    def until(self, true: Callable[[], bool]) -> None:
        for _ in range(200):
            if true():
                return
            time.sleep(0.05)
        raise AssertionError(self.get("alerts"))

    def amtool(self, *words: str) -> str:
        told = subprocess.run(
            [str(AMTOOL), f"--alertmanager.url={self.url}", *words], capture_output=True, text=True, check=False
        )
        assert told.returncode == 0, told.stderr
        return plain(told.stdout + told.stderr)

    def answers(self) -> dict[str, Any]:
        """What it answers to the script: alerts and silences are made, looked at, changed and ended."""
        assert self.ask("alerts", ALERTS)[0] == 200
        silence = {
            "matchers": [
                {"name": "alertname", "value": "quiet", "isRegex": False, "isEqual": True},
                {"name": "job", "value": "b|c", "isRegex": True, "isEqual": False},
            ],
            "startsAt": (BEGIN - timedelta(days=1)).isoformat(), "endsAt": (BEGIN + timedelta(hours=2)).isoformat(),
            "createdBy": "ann", "comment": "index rebuild",
        }  # fmt: skip
        later = {
            **silence, "matchers": [{"name": "alertname", "value": "x.*", "isRegex": True}],
            "startsAt": (BEGIN + timedelta(hours=1)).isoformat(),
        }  # fmt: skip
        ids = [self.ask("silences", one)[1]["silenceID"] for one in (silence, later)]
        self.until(lambda: sum(one["status"]["state"] == "suppressed" for one in self.get("alerts")) == 2)
        found = {question: self.get(question) for question in QUESTIONS}
        assert [one["fingerprint"] for one in found["alerts"]] == sorted(one["fingerprint"] for one in found["alerts"])
        (quiet,) = [one for one in found["alerts"] if one["labels"]["alertname"] == "quiet"]
        (target,) = [one for one in found["alerts"] if one["labels"]["alertname"] == "target"]
        (source,) = [one for one in found["alerts"] if one["labels"]["alertname"] == "source"]
        assert quiet["status"]["silencedBy"] == [ids[0]]
        assert target["status"]["inhibitedBy"] == [source["fingerprint"]]
        assert found["silences"] == [self.get(f"silence/{one}") for one in ids]
        replaced = self.ask("silences", {**silence, "id": ids[0], "comment": "longer"})[1]["silenceID"]
        found["replaced"] = self.get(f"silence/{replaced}")
        for one in (replaced, ids[1]):
            assert self.ask(f"silence/{one}", method="DELETE")[0] == 200
        found["ended"] = [self.get(f"silence/{one}") for one in (replaced, ids[1])]
        self.until(lambda: sum(one["status"]["state"] == "suppressed" for one in self.get("alerts")) == 1)
        found["status"] = self.get("status")
        return {name: shape(answer) for name, answer in found.items()}


def shape(answer: Any) -> Any:
    """Without what differs from run to run: times, ids, versions, the order of lists; ours without its project."""
    if isinstance(answer, list):
        return sorted((shape(one) for one in answer), key=json.dumps)
    if isinstance(answer, dict):
        if "versionInfo" in answer:
            members = {name: sorted(answer[name]) for name in ("cluster", "config", "versionInfo")}
            return {**members, "cluster": answer["cluster"], "version": answer["versionInfo"]["version"]}
        return {name: shape(one) for name, one in sorted(answer.items()) if (name, one) != ("project", "default")}
    if isinstance(answer, str):
        if re.fullmatch(r"\d{4}-\d\d-\d\dT[\d:.]+Z", answer):
            return "a time"
        return re.sub(r"^([0-9a-f]{16}|[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12})$", "an id", answer)
    return answer


def plain(text: str) -> str:
    """What amtool prints, without times, ids and the width of columns."""
    for pattern, told in (
        (r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}|\b[0-9a-f]{16}\b", "ID"),
        (r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d UTC", "TIME"),
        (r' project="default"', ""),
    ):
        text = re.sub(pattern, told, text)
    return "\n".join(" ".join(line.split()) for line in text.splitlines())


@pytest.fixture(scope="module")
def serving(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Serving]:
    with Serving(tmp_path_factory.mktemp("alertmanager") / "data", toml=OURS) as running:
        yield running


@pytest.fixture(scope="module")
def ours(serving: Serving) -> Side:
    return Side(serving.url)


@pytest.fixture(scope="module")
def theirs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Side]:
    with Alertmanager(tmp_path_factory.mktemp("real"), THEIRS) as real:
        yield Side(real.url)


def test_the_answers_are_those_of_alertmanager(ours: Side) -> None:
    recorded = json.loads(RECORDED.read_text(encoding="utf-8"))
    found = ours.answers()
    assert found.keys() == recorded.keys()
    for question, answer in found.items():
        assert answer == recorded[question], question


@needed
def test_alertmanager_answers_what_is_recorded(theirs: Side) -> None:
    assert theirs.answers() == json.loads(RECORDED.read_text(encoding="utf-8"))
    assert {path: theirs.ask(path)[0] for path in REFUSED} == REFUSED


@pytest.mark.parametrize(("path", "status"), REFUSED.items())
def test_what_cannot_be_read_is_refused_in_a_sentence(ours: Side, path: str, status: int) -> None:
    told = ours.ask(path)
    assert told[0] == status
    assert isinstance(told[1], str)


def test_one_alert_that_is_wrong_holds_up_no_other_of_its_request(ours: Side) -> None:
    wrong = [{"labels": {}}, {"labels": {"alertname": "x" * 5000}}, {"labels": {"alertname": "late"}, "endsAt": "soon"},
             {"labels": {"alertname": "late", "bad name": "x"}}]  # fmt: skip
    status, told = ours.ask("alerts", [wrong[0], {"labels": {"alertname": "kept"}}, *wrong[1:]])
    assert (status, told.partition(":")[0]) == (400, "4 of 5 alerts refused; the other 1 are kept. [0]")
    assert [one["labels"]["alertname"] for one in ours.get("alerts?filter=alertname%3D~kept|late")] == ["kept"]


def test_a_silence_that_there_is_not_is_told_as_such(ours: Side) -> None:
    silence = {"matchers": [{"name": "a", "value": "b", "isRegex": False}], "comment": "", "createdBy": "",
               "startsAt": BEGIN.isoformat(), "endsAt": (BEGIN + timedelta(hours=1)).isoformat()}  # fmt: skip
    for path, body, method in (
        ("silence/none", None, "GET"), ("silence/none", None, "DELETE"),
        ("silences", {**silence, "id": "none"}, "POST"),
    ):  # fmt: skip
        assert ours.ask(path, body, method)[0] == 404
    assert all(one["matchers"][0]["name"] != "a" for one in ours.get("silences"))


def test_a_silence_that_is_over_is_made_again_under_a_new_id(ours: Side) -> None:
    silence = {"matchers": [{"name": "b", "value": "c", "isRegex": False}], "comment": "", "createdBy": "ann",
               "startsAt": BEGIN.isoformat(), "endsAt": (BEGIN + timedelta(hours=1)).isoformat()}  # fmt: skip
    first = ours.ask("silences", silence)[1]["silenceID"]
    assert [ours.ask(f"silence/{first}", method="DELETE")[0] for _ in range(2)] == [200, 200]  # over is over
    status, made = ours.ask("silences", {**silence, "id": first})
    assert (status, made["silenceID"] != first) == (200, True)
    assert [one["id"] for one in ours.get("silences?filter=b=c")] == [made["silenceID"], first]


def spoken(side: Side) -> dict[str, str]:
    """What amtool prints of a few alerts and silences of its own; the ids of silences as they are."""
    alert = "alertname=~tool.*"
    side.amtool("alert", "add", "tool", "severity=page", "job=a", "--annotation=summary=x y")
    side.amtool("alert", "add", "alertname=tool2", "severity=info")
    found = "alerts?filter=alertname%3D~tool.*"  # a silence of before is over with the next look
    side.until(lambda: [one["status"]["state"] for one in side.get(found)] == ["active", "active"])
    told = {"query": side.amtool("alert", "query", alert), "one": side.amtool("alert", "query", "tool"),
            "extended": side.amtool("alert", "query", "-o", "extended", "tool"),
            "hook": side.amtool("alert", "query", "--receiver=hook", alert)}  # fmt: skip
    made = subprocess.run(
        [str(AMTOOL), f"--alertmanager.url={side.url}", "silence", "add", "tool", "job!=b", "-c", "why", "-a", "ann"],
        capture_output=True, text=True, check=True,
    ).stdout.strip()  # fmt: skip
    side.until(lambda: side.get("alerts?filter=alertname%3Dtool")[0]["status"]["silencedBy"] == [made])
    told["silenced"] = side.amtool("alert", "query", "--silenced", alert)
    told["active"] = side.amtool("alert", "query", alert)
    told["silences"] = side.amtool("silence", "query", "tool")
    side.amtool("silence", "update", "-d", "3h", "-c", "longer", made)
    told["updated"] = side.amtool("silence", "query", "tool")
    now = [one["id"] for one in side.get("silences?filter=alertname%3Dtool") if one["status"]["state"] == "active"]
    side.amtool("silence", "expire", *now)
    told["expired"] = side.amtool("silence", "query", "tool")
    told["tree"] = side.amtool("config", "routes", "show")
    told["route"] = side.amtool("config", "routes", "test", "severity=page")
    return told


@pytest.mark.skipif(AMTOOL is None, reason="amtool (Debian's prometheus-alertmanager) is not there")
def test_amtool_asks_adds_silences_and_expires(ours: Side, serving: Serving, tmp_path: Path) -> None:
    told = spoken(ours)
    assert "tool TIME x y active\ntool2 TIME active" in told["query"]
    assert told["silenced"].endswith("tool TIME x y suppressed")
    assert told["silences"].endswith('ID alertname="tool" job!="b" TIME ann why')
    assert told["updated"].endswith("ann longer")
    assert told["expired"] == "ID Matchers Ends At Created By Comment"
    assert told["route"] == "hook"
    assert "different" not in "".join(told.values())  # it compares its version with that of the server


@needed
@pytest.mark.skipif(AMTOOL is None, reason="amtool (Debian's prometheus-alertmanager) is not there")
def test_amtool_prints_of_ours_what_it_prints_of_alertmanager(ours: Side, theirs: Side) -> None:
    assert spoken(ours) == spoken(theirs)


@pytest.mark.skipif(PROMETHEUS is None, reason="Debian's prometheus is not there")
def test_prometheus_sends_its_alerts_here_with_a_key(tmp_path: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    with Serving(tmp_path_factory.mktemp("sent") / "data", toml=OURS) as running:
        (tmp_path / "key").write_text(make_key(running.directory, "ingest", "default"), encoding="utf-8")
        reader = make_key(running.directory, "read", "default")
        target = running.url.removeprefix("http://")
        (tmp_path / "rules.yml").write_text(
            "groups: [{name: g, interval: 1s, rules: [{alert: always, expr: vector(1) > 0, "
            "labels: {severity: page}, annotations: {summary: 'is {{ $value }}'}}]}]",
            encoding="utf-8",
        )
        (tmp_path / "prometheus.yml").write_text(
            f"rule_files: [rules.yml]\nalerting: {{alertmanagers: [{{authorization: {{credentials_file: key}}, "
            f"static_configs: [{{targets: ['{target}']}}]}}]}}\n",
            encoding="utf-8",
        )
        with (tmp_path / "log").open("wb") as log:
            process = subprocess.Popen(
                [str(PROMETHEUS), f"--config.file={tmp_path / 'prometheus.yml'}", "--web.listen-address=127.0.0.1:0",
                 f"--storage.tsdb.path={tmp_path / 'tsdb'}", "--rules.alert.resend-delay=1s"], stdout=log, stderr=log,
            )  # fmt: skip
        try:
            found = running.until(lambda: running.ask("/api/v2/alerts?filter=alertname=always", key=reader).json)
        finally:
            process.kill()
            process.wait(20)
        assert found, (tmp_path / "log").read_text(encoding="utf-8")
        assert len(found) == 1, found
        (alert,) = found
        assert alert["labels"] == {"alertname": "always", "severity": "page", "project": "default"}
        assert alert["annotations"] == {"summary": "is 1"}
        assert alert["generatorURL"].endswith("g0.tab=1")
        assert [one["name"] for one in alert["receivers"]] == ["hook"]
