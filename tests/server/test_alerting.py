"""Alerts over HTTP: Prometheus' shapes, alerts from outside, silences, and who may do what."""

from __future__ import annotations

import json
import signal
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from tests.server.access_support import make_key
from tests.support.serving import Serving

from barograph.alerts.alert import fingerprint
from barograph.dashboard.open_alerts import SHORTEST

TOML = """
[collect]
sampler_seconds = 0
[routing.route]
group_wait = "1s"
group_interval = "1s"
repeat_interval = "1h"
[[rules]]
name = "slow"
metric = "response_time.mean"
above = 5.0
window = "1h"
severity = "critical"
"""
AT = datetime.now(UTC)


@pytest.fixture(scope="module")
def serving(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Serving]:
    with Serving(tmp_path_factory.mktemp("alerting") / "data", toml=TOML) as running:
        running.ask("/api/v1/events", [{"query": "why?", "response_time": 9.0}])
        running.ask("/api/v1/status?fresh=true")  # which looks at the rules, before the watch has come as far
        yield running


def post(serving: Serving, *alerts: dict[str, Any]) -> int:
    return serving.ask("/api/v2/alerts", list(alerts)).status


def named(serving: Serving, name: str) -> dict[str, Any]:
    alerts = serving.ask("/api/v1/alerts").json["data"]["alerts"]
    (found,) = [one for one in alerts if one["labels"]["alertname"] == name]
    return dict(found)


def test_55_alerts_and_rules_have_the_shapes_of_prometheus(serving: Serving) -> None:
    answer = serving.ask("/api/v1/alerts").json
    assert answer["status"] == "success"
    slow = named(serving, "slow")
    assert slow.keys() >= {"activeAt", "annotations", "labels", "state", "value"}
    assert (slow["state"], slow["value"]) == ("firing", "9.0")
    assert slow["labels"] == {"alertname": "slow", "severity": "critical", "project": "default"}
    assert slow["annotations"]["summary"].startswith("Response time exceeded 5 s threshold")
    (group,) = serving.ask("/api/v1/rules").json["data"]["groups"]
    assert group.keys() >= {"name", "file", "interval", "rules"}
    rule, *default = group["rules"]
    assert {one["source"] for one in default} == {"default"}
    assert (rule["name"], rule["type"], rule["state"], rule["health"]) == ("slow", "alerting", "firing", "ok")
    assert rule["query"] == "response_time.mean above 5 s over 60 min"
    assert [one["fingerprint"] for one in rule["alerts"]] == [slow["fingerprint"]]


def test_incidents_are_told_with_their_times_and_the_mean_time_to_resolve(serving: Serving) -> None:
    begin = AT - timedelta(days=1)
    alert = {"kind": "alert", "rule": "theirs", "labels": {"model": "small"}, "severity": "warning"}
    serving.ask(
        "/api/v1/events",
        [
            {**alert, "time": begin.isoformat(), "state": "firing", "previous": "pending", "value": 7.0},
            {**alert, "time": (begin + timedelta(minutes=12)).isoformat(), "state": "resolved", "previous": "firing"},
        ],
    )
    serving.until(lambda: "slow" in serving.ask("/api/v1/incidents?fresh=true").body.decode())
    found = serving.ask("/api/v1/incidents?fresh=true").json
    (theirs,) = [one for one in found["incidents"] if one["rule"] == "theirs"]
    assert (theirs["seconds"], theirs["labels"], theirs["worst"]) == (720.0, {"model": "small"}, 7.0)
    assert datetime.fromisoformat(theirs["fired_at"]) == begin
    (slow,) = [one for one in found["incidents"] if one["rule"] == "slow"]
    assert (slow["resolved_at"], slow["worst"]) == (None, 9.0)
    assert found["incidents"][0] == slow  # the newest first
    total = found["total"]
    assert (total["count"], total["open"], total["mean_seconds_to_resolve"]) == (2, 1, 720.0)
    assert {one["rule"]: one["open"] for one in found["rules"]} == {"slow": 1, "theirs": 0}
    one = serving.ask("/api/v1/incidents?limit=1").json
    assert (len(one["incidents"]), one["total"]["count"]) == (1, 2)
    assert serving.ask("/api/v1/incidents?last=1h").json["total"]["count"] == 1
    for wrong in ("limit=0", "limit=1001", "last=soon", "to=now"):
        assert serving.ask(f"/api/v1/incidents?{wrong}").status == 400, wrong


BEHIND: dict[str, tuple[float, float, dict[str, Any], str, float | None]] = {
    # a metric, its value and its limit; what stands behind it, beside a query that does not; what it is; its value
    "generation_time.p95": (9, 5, {"generation_time": 8.0}, "Highest generation time", 8.0),
    "response_time.mean": (1, 2, {"response_time": 0.5}, "Fastest queries", 0.5),
    "cost": (9, 5, {"cost": 4.0}, "Dearest queries", 4.0),
    "tokens.output": (9, 5, {"output_tokens": 500}, "Highest output tokens", 500),
    "accuracy": (0.1, 0.5, {"accuracy_score": 0.1}, "Lowest scores", 0.1),
    "error_rate": (0.5, 0.1, {"status": "error", "error_type": "Timeout"}, "Newest errors", None),
    "no_answer_rate": (0.5, 0.1, {"status": "no_answer"}, "Newest without an answer", None),
    "retrieval.empty_rate": (0.5, 0.1, {"documents": []}, "Newest that found nothing", None),
    "retrieval.top_score": (0.1, 0.5, {"documents": [{"id": "d", "score": 0.1}]}, "Lowest top score", 0.1),
    "queries": (900, 100, {}, "Newest queries", None),
    "low_rating_rate": (0.5, 0.1, {"kind": "feedback", "rating": 1}, "Lowest ratings", 1),
    "satisfaction": (2, 3, {"kind": "feedback", "rating": 1}, "Lowest ratings", 1),
    "score.faithfulness": (0.1, 0.5, {"kind": "score", "name": "faithfulness", "value": 0.1}, "Lowest scores", 0.1),
}


def test_an_incident_tells_which_queries_stand_behind_it_whatever_its_metric(serving: Serving) -> None:
    usual = {"query": "well", "response_time": 1.0, "generation_time": 0.1, "cost": 0.1, "output_tokens": 5,
             "accuracy_score": 0.9, "documents": [{"id": "d", "score": 0.9}], "status": "ok"}  # fmt: skip
    events: list[dict[str, Any]] = []
    fired = {metric: AT - timedelta(days=9, hours=number) for number, metric in enumerate(BEHIND)}
    for metric, at in fired.items():
        value, threshold, culprit, _, _ = BEHIND[metric]
        alert = {"kind": "alert", "rule": f"of {metric}", "metric": metric, "value": value, "threshold": threshold}
        trace = f"{list(BEHIND).index(metric):032x}"
        within, before = ((at + timedelta(minutes=minutes)).isoformat() for minutes in (2, 1))
        events += [
            {**alert, "time": at.isoformat(), "state": "firing", "previous": "pending"},
            {**alert, "time": (at + timedelta(minutes=5)).isoformat(), "state": "resolved", "previous": "firing"},
            {**usual, "time": before, "trace_id": "f" + trace[1:]},
            {**usual, "query": "culprit", **(culprit if "kind" not in culprit else {}), "time": within,
             "trace_id": trace},
        ]  # fmt: skip
        if "kind" in culprit:
            good = {**culprit, **({"rating": 5} if "rating" in culprit else {"value": 0.9})}
            events += [{**culprit, "time": within, "trace_id": trace},
                       {**good, "time": within, "trace_id": "f" + trace[1:]}]  # fmt: skip
    assert serving.ask("/api/v1/events", events).json["rejected"] == 0
    serving.ask("/api/v1/status?fresh=true")
    for metric, at in fired.items():
        span = f"from={at:%Y-%m-%dT%H:%M:%SZ}&to={at + timedelta(minutes=4):%Y-%m-%dT%H:%M:%SZ}"
        (incident,) = serving.ask(f"/api/v1/incidents?{span}&queries=1").json["incidents"]
        _, _, _, title, value = BEHIND[metric]
        (query,) = incident["queries"]
        assert (incident["queries_are"], query["value"]) == (title, value), metric
        assert query["trace_id"] == f"{list(BEHIND).index(metric):032x}", metric
        assert serving.ask(f"/api/v1/queries/{query['trace_id']}").json["query"]["query"] == "culprit"
        assert serving.ask(f"/api/v1/incidents?{span}&queries=0").json["incidents"][0]["queries"] == []


def test_55_prometheus_can_send_here_and_it_stands_beside_ours(serving: Serving) -> None:
    end = (AT + timedelta(hours=1)).isoformat()
    sent = {"labels": {"alertname": "node down", "empty": ""}, "annotations": {"summary": "<b>gone</b>"},
            "startsAt": AT.isoformat(), "endsAt": end, "generatorURL": "http://prometheus/graph"}  # fmt: skip
    assert post(serving, sent) == 200
    theirs = named(serving, "node down")
    assert theirs["fromOutside"] is True
    assert theirs["labels"] == {"alertname": "node down", "project": "default"}
    listed = serving.ask("/api/v2/alerts").json
    (found,) = [one for one in listed if one["labels"]["alertname"] == "node down"]
    assert found.keys() == {
        "annotations", "endsAt", "fingerprint", "generatorURL", "labels", "receivers", "startsAt", "status",
        "updatedAt",
    }  # fmt: skip
    assert found["status"] == {"state": "active", "silencedBy": [], "inhibitedBy": []}
    assert found["receivers"] == [{"name": "log"}]
    assert {one["labels"]["alertname"] for one in listed} == {"node down", "slow"}
    zero = "0001-01-01T00:00:00Z"  # how Go writes no time
    assert post(serving, {"labels": {"alertname": "endless"}, "startsAt": zero, "endsAt": zero}) == 200
    assert named(serving, "endless")["state"] == "firing"
    over = {"labels": {"alertname": "endless"}, "endsAt": (AT - timedelta(seconds=1)).isoformat()}
    assert post(serving, over) == 200
    assert "endless" not in serving.ask("/api/v1/alerts").body.decode()


def test_open_alerts_are_chosen_limited_and_counted_honestly(serving: Serving) -> None:
    def data(asked: str) -> dict[str, Any]:
        return dict(serving.ask(f"/api/v1/alerts?{asked}").json["data"])

    many = [{"labels": {"alertname": "many", "host": f"h{n}", "severity": "info"}} for n in range(7)]
    assert post(serving, *many) == 200
    few = data("rule=many&limit=2")
    assert (len(few["alerts"]), few["total"]) == (2, 7)
    assert few["byName"] == [{"alertname": "many", "pending": 0, "firing": 7, "held": 0}]
    assert [one["labels"]["host"] for one in data("filter=host%3D~h[12]&state=firing")["alerts"]] == ["h1", "h2"]
    each = data("each=1")
    assert len(each["alerts"]) == len(each["byName"]) < each["total"] == data("limit=0")["total"]
    assert data("state=pending")["alerts"] == data("state=held")["alerts"] == data("rule=slow&filter=a%3Db")["alerts"]
    for wrong in ("state=odd", "limit=-1", "filter=x", "rule=nothing+of+that+name"):
        reply = serving.ask(f"/api/v1/alerts?{wrong}")
        assert (reply.status, bool(reply.json["hint"])) == (400, True), wrong
    over = [{**one, "endsAt": (AT - timedelta(seconds=1)).isoformat()} for one in many]
    assert post(serving, *over) == 200


def test_a_notification_reaches_the_log_and_the_alert_says_so(serving: Serving) -> None:
    serving.until(lambda: named(serving, "slow")["told"][0]["told"])
    (told,) = named(serving, "slow")["told"]
    assert told["receiver"] == "log"
    assert told["why"]
    assert told["nextAt"]
    serving.until(lambda: "Response time exceeded 5 s threshold" in serving.errors())


def test_what_became_of_messages_is_counted_for_prometheus(serving: Serving) -> None:
    def all_sent() -> bool:
        lines = serving.ask("/metrics").body.decode().splitlines()
        numbers = {
            state: f'barograph_notifications_{state}{{target="log/log"}} 0' for state in ("sent", "waiting", "failed")
        }
        return numbers["sent"] not in lines and {numbers["waiting"], numbers["failed"]} <= set(lines)

    serving.until(all_sent)


def test_a_silence_holds_an_alert_and_says_by_whom_until_it_is_ended(serving: Serving) -> None:
    made = serving.ask(
        "/api/v1/silences", {"matchers": ["alertname=slow"], "lasts": "2h", "comment": "index rebuild", "author": "ann"}
    ).json
    assert (made["state"], made["matchers"], made["author"]) == ("active", ['alertname="slow"'], "ann")
    serving.until(lambda: named(serving, "slow")["heldBy"] == "silence")
    assert "index rebuild" in named(serving, "slow")["told"][0]["why"]
    (suppressed,) = [one for one in serving.ask("/api/v2/alerts").json if one["labels"]["alertname"] == "slow"]
    assert suppressed["status"]["state"] == "suppressed"
    assert serving.ask("/api/v1/silences/end", {"id": made["id"]}).json["state"] == "expired"
    serving.until(lambda: named(serving, "slow")["heldBy"] == "")
    assert [one["state"] for one in serving.ask("/api/v1/silences").json["silences"]] == ["expired"]


def test_an_acknowledged_alert_says_who_takes_care(serving: Serving) -> None:
    serving.until(lambda: named(serving, "slow")["told"][0]["told"])
    about = {"fingerprint": named(serving, "slow")["fingerprint"], "author": "ben"}
    assert serving.ask("/api/v1/alerts/acknowledge", about).status == 200
    serving.until(lambda: "ben" in named(serving, "slow")["told"][0]["why"])  # the silence before may yet be ending
    assert serving.ask("/api/v1/alerts/acknowledge", {"fingerprint": "0" * 16}).status == 400


def test_an_acknowledgement_is_withdrawn_and_the_beginning_of_a_fingerprint_will_do(serving: Serving) -> None:
    whole = named(serving, "slow")["fingerprint"]
    about, words = {"fingerprint": whole[:5], "author": "ben"}, "slow"
    assert serving.ask("/api/v1/alerts/acknowledge", about).json == {"fingerprint": whole, "alert": words}
    assert "acknowledged" in named(serving, "slow")["told"][0]["why"]
    assert serving.ask("/api/v1/alerts/unacknowledge", about).json == {"fingerprint": whole, "alert": words}
    assert "acknowledged" not in named(serving, "slow")["told"][0]["why"]
    assert serving.ask("/api/v1/alerts/unacknowledge", about).status == 400


def test_a_beginning_that_several_alerts_have_is_refused_with_the_candidates(serving: Serving) -> None:
    known: dict[str, dict[str, str]] = {}
    for number in range(10_000):  # two of some hundreds begin alike
        labels = {"alertname": "alike", "host": f"h{number}", "project": "default"}
        other = known.setdefault(fingerprint(labels)[:SHORTEST], labels)
        if other is not labels:
            break
    two = [{"labels": one} for one in (other, labels)]
    assert post(serving, *two) == 200
    told = serving.ask("/api/v1/alerts/acknowledge", {"fingerprint": fingerprint(labels)[:SHORTEST]}).json
    assert told["detail"] == "2 alerts have a fingerprint that begins so"
    for one in (other, labels):
        assert f"{fingerprint(one)} alike (host={one['host']})" in told["hint"]
    assert post(serving, *({**one, "endsAt": (AT - timedelta(seconds=1)).isoformat()} for one in two)) == 200


def test_a_rule_is_kept_fires_without_a_restart_and_is_gone_when_it_is_removed(serving: Serving) -> None:
    rule = {"name": "any", "metric": "queries", "above": 0, "window": "1d", "labels": {"team": "search"}}
    assert serving.ask("/api/v1/rules", rule).json == {"name": "any", "source": "kept"}
    (group,) = serving.ask("/api/v1/rules").json["data"]["groups"]
    sources = {one["name"]: one["source"] for one in group["rules"]}
    assert (sources["slow"], sources["any"], sources["no answers"]) == ("file", "kept", "default")
    assert serving.until(lambda: '"any"' in serving.ask("/api/v1/alerts").body.decode())
    assert named(serving, "any")["labels"]["team"] == "search"
    assert serving.ask("/api/v1/rules", {"name": "no answers", "enabled": False}).json["source"] is None
    assert serving.ask("/api/v1/rules/remove", {"name": "no answers"}).json["source"] == "default"
    assert serving.ask("/api/v1/rules/remove", {"name": "any"}).json["source"] is None
    assert '"any"' not in serving.ask("/api/v1/alerts").body.decode()


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/api/v1/rules", {"name": "x", "metric": "querys", "above": 1}),
        ("/api/v1/rules", {"name": "slow", "metric": "queries", "above": 1}),
        ("/api/v1/rules", {"name": "code", "kind": "function", "function": "os:abort"}),
        ("/api/v1/rules/remove", {"name": "slow"}),
        ("/api/v1/alerts/test", {"definition": {"name": "code", "kind": "function", "function": "os:abort"}}),
        ("/api/v2/alerts", [{"labels": {}}]),
        ("/api/v2/alerts", [{"labels": {"alertname": ""}}]),
        ("/api/v2/alerts", [{"labels": {"": "x"}}]),
        ("/api/v2/alerts", {"labels": {"alertname": "x"}}),
        ("/api/v2/alerts", [{"labels": {"alertname": "x"}, "startsAt": "yesterday"}]),
        ("/api/v2/alerts", [{"labels": {"alertname": "x" * 5000}}]),
        ("/api/v2/alerts", [{"labels": {"alertname": "x"}, "annotations": {f"a{n}": "x" * 4000 for n in range(9)}}]),
        ("/api/v2/alerts", [{"labels": {"alertname": "x"}, "endsAt": "9999-12-31T23:30:00-05:00"}]),
        ("/api/v1/silences", {"matchers": []}),
        ("/api/v1/silences", {"matchers": ["alertname=~(("]}),
        ("/api/v1/silences", {"matchers": ['alertname=~".*"']}),
        ("/api/v1/silences", {"matchers": ["a=b"], "lasts": "10y"}),
        ("/api/v1/silences/end", {"id": "none"}),
    ],
)
def test_what_is_wrong_is_refused_with_a_hint_and_changes_nothing(serving: Serving, path: str, body: object) -> None:
    before = serving.ask("/api/v2/alerts").json, serving.ask("/api/v1/silences").json
    reply = serving.ask(path, body)
    assert reply.status == 400, reply.body
    told = json.loads(reply.body)
    assert told if path.startswith("/api/v2/") else told["hint"]
    assert (serving.ask("/api/v2/alerts").json, serving.ask("/api/v1/silences").json) == before


def test_a_rule_with_a_setting_that_there_is_not_is_refused_with_its_name_and_the_likely_one(serving: Serving) -> None:
    for wrong, said in (
        ({"sevrity": "info"}, "Did you mean severity?"),
        ({"severity": "crit"}, "must be one of info, warning, critical"),
        ({"above": "5"}, "must be a number, not text"),
    ):
        reply = serving.ask("/api/v1/rules", {"name": "x", "metric": "queries", **wrong})
        told = json.loads(reply.body)
        assert (reply.status, told["field"]) == (400, *wrong)
        assert said in told["detail"] + told["hint"]


def test_alerts_silences_and_acknowledgements_survive_a_kill(tmp_path_factory: pytest.TempPathFactory) -> None:
    directory = tmp_path_factory.mktemp("killed") / "data"
    with Serving(directory, toml=TOML) as running:
        assert post(running, {"labels": {"alertname": "theirs"}, "endsAt": "2100-01-01T00:00:00Z"}) == 200
        silence = running.ask("/api/v1/silences", {"matchers": ["alertname=theirs"], "lasts": "1d"}).json
        running.stop(signal.SIGKILL)
    with Serving(directory) as again:
        assert named(again, "theirs")["state"] == "firing"
        again.until(lambda: named(again, "theirs")["heldBy"] == "silence")
        assert [one["id"] for one in again.ask("/api/v1/silences").json["silences"]] == [silence["id"]]


def test_an_ingest_key_may_send_alerts_and_no_more(tmp_path_factory: pytest.TempPathFactory) -> None:
    directory = tmp_path_factory.mktemp("scopes") / "data"
    with Serving(directory, toml=TOML) as running:
        keys = {scope: make_key(directory, scope, "default") for scope in ("ingest", "read", "admin")}
        may = {
            "/api/v2/alerts": ([{"labels": {"alertname": "x"}}], {"ingest", "admin"}),
            "/api/v1/silences": ({"matchers": ["a=b"]}, {"admin"}),
            "/api/v1/alerts": (None, {"read", "admin"}),
        }
        for path, (body, scopes) in may.items():
            for scope, key in keys.items():
                assert (running.ask(path, body, key=key).status == 200) == (scope in scopes), (path, scope)
