"""The OpenFeature SDK and its provider for the Remote Evaluation Protocol ask the server, and get what is true.

https://github.com/open-feature/protocol/blob/main/service/openapi.yaml
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from openfeature import api
from openfeature.client import OpenFeatureClient
from openfeature.contrib.provider.ofrep import OFREPProvider
from openfeature.evaluation_context import EvaluationContext
from openfeature.exception import ErrorCode
from openfeature.flag_evaluation import Reason
from tests.server.access_support import make_key, token_of
from tests.support.serving import Reply, Serving

from barograph.experiments.design import Experiment, Variant
from barograph.server.ofrep import all_flags, ofrep_problem
from barograph.server.problems import Problem
from barograph_client.experiments.assignment import Decision, Payload

DOCUMENT = (Path(__file__).resolve().parents[2] / "docs" / "experiments.md").read_text(encoding="utf-8")
FLAGS = "/ofrep/v1/evaluate/flags"
PAYLOADS = {
    "plain": {"top_k": 5, "prompt": "é"},
    "reranked": {"top_k": 20, "prompt": None, "of": [1, {"a": 2.5}]},
}
ARMS = [{"key": key, "weight": 0.5, "payload": payload} for key, payload in PAYLOADS.items()]


class Site:
    def __init__(self, server: Serving) -> None:
        self.server = server
        self.admin = make_key(server.directory, "admin")
        self.ingest = make_key(server.directory, "ingest")

    def experiment(self, key: str, moves: tuple[str, ...] = ("start",), **more: object) -> None:
        body = {"key": key, "variants": ARMS, "primary_metric": "satisfaction", "planned_days": 14, **more}
        assert self.server.ask("/api/v1/experiments", body, key=self.admin).status == 200
        for move in moves:
            assert self.server.ask(f"/api/v1/experiments/{key}/{move}", {}, key=self.admin).status == 200

    def ask(self, key: str = "", context: object = None, body: object = None, **headers: str) -> Reply:
        path = f"{FLAGS}/{key}" if key else FLAGS
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        return self.server.ask(path, body if body is not None else {"context": context}, named, key=self.ingest)

    def arm(self, key: str, unit: str, kind: str = "user") -> str | None:
        """What the server's own API says."""
        found = self.server.ask(f"/api/v1/experiments/{key}/assignment?{kind}={unit}", key=self.admin).json["arm"]
        assert found is None or isinstance(found, str)
        return found

    def exposures(self, experiment: str) -> list[str]:
        where = f"kind=exposure&fresh=true&limit=1000&where=experiment:eq:{experiment}"
        return sorted(
            one["unit_id"] for one in self.server.ask(f"/api/v1/events?{where}", key=self.admin).json["items"]
        )

    @contextmanager
    def client(self, **headers: str) -> Iterator[OpenFeatureClient]:
        """The SDK's client over its OFREP provider."""
        sent = {"Authorization": f"Bearer {self.ingest}", **headers}
        provider = OFREPProvider(self.server.url, headers_factory=lambda: sent, timeout=30)
        api.set_provider(provider, "tests")
        try:
            yield api.get_client("tests")
        finally:
            api.clear_providers()
            provider.session.close()


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    with Serving(tmp_path_factory.mktemp("ofrep") / "data", toml="default_rules = false\n") as running:
        made = Site(running)
        made.experiment("rerank", coverage=0.6, condition={"plan": {"$ne": "free"}}, forced={"me": "reranked"})
        made.experiment("paused", ("start", "pause"))
        made.experiment("draft", ())
        made.experiment("sessions", unit_kind="session")
        made.experiment("backtracks", condition={"mail": {"$regex": "^(a|a)+$"}})
        yield made
        assert "a fault while answering" not in running.errors()


class TestSdk:
    def test_a_flag_is_the_configuration_of_the_arm_and_outside_of_it_the_controls(self, site: Site) -> None:
        reasons = set()
        with site.client() as client:
            for unit in (f"user-{n}" for n in range(30)):
                found = client.get_object_details("rerank", {}, EvaluationContext(unit))
                arm = site.arm("rerank", unit)
                assert (found.variant, found.value) == (arm or "plain", PAYLOADS[arm or "plain"])
                assert found.reason == (Reason.DEFAULT if arm is None else Reason.SPLIT)
                assert found.flag_metadata["inExperiment"] is (arm is not None)
                reasons.add(found.flag_metadata["why"])
            assert reasons == {"assigned", "not covered"}
            free = client.get_object_details("rerank", {}, EvaluationContext("user-1", {"plan": "free"}))
            assert (free.reason, free.variant, free.flag_metadata["why"]) == (Reason.DEFAULT, "plain", "not targeted")
            me = client.get_object_details("rerank", {}, EvaluationContext("me"))
            assert (me.reason, me.variant) == (Reason.TARGETING_MATCH, "reranked")
            off = client.get_object_details("paused", {}, EvaluationContext("user-1"))
            assert (off.reason, off.variant, off.value) == (Reason.DISABLED, "plain", PAYLOADS["plain"])
        assert site.exposures("rerank") == []

    def test_what_cannot_be_evaluated_gives_the_programs_own_default_and_says_why(self, site: Site) -> None:
        someone = EvaluationContext("user-1")
        with site.client() as client:
            for key, context, code in (
                ("nobody", someone, ErrorCode.FLAG_NOT_FOUND), ("draft", someone, ErrorCode.FLAG_NOT_FOUND),
                ("rerank", EvaluationContext(), ErrorCode.TARGETING_KEY_MISSING),
                ("rerank", EvaluationContext("u" * 300), ErrorCode.INVALID_CONTEXT),
                ("rerank", EvaluationContext("u1", {"user": 7}), ErrorCode.INVALID_CONTEXT),
            ):  # fmt: skip
                found = client.get_object_details(key, {"own": True}, context)
                assert (found.value, found.error_code, found.reason) == ({"own": True}, code, Reason.ERROR), key
                assert found.error_message
            wrong_type = client.get_boolean_details("rerank", True, someone)
            assert (wrong_type.value, wrong_type.error_code) == (True, ErrorCode.TYPE_MISMATCH)
        with site.client(Authorization="Bearer no-key") as client:
            assert client.get_object_details("rerank", {}, someone).error_code == ErrorCode.GENERAL

    def test_only_an_evaluation_that_takes_effect_exposes_and_once_a_unit(self, site: Site) -> None:
        site.experiment("exposed", forced={"me": "reranked"})
        units = [f"user-{n}" for n in range(5)]
        with site.client() as client:
            assert (
                client.get_object_details("exposed", {}, EvaluationContext("other")).flag_metadata["exposed"] is False
            )
        with site.client(**{"Barograph-Expose": "true"}) as client:
            for unit in [*units, *units, "me"]:
                found = client.get_object_details("exposed", {}, EvaluationContext(unit))
                assert found.flag_metadata["exposed"] is (unit != "me")
        assert site.exposures("exposed") == units

    def test_the_program_of_the_documents_runs(self, site: Site) -> None:
        (program,) = [one for one in re.findall(r"```python\n(.*?)```", DOCUMENT, re.DOTALL) if "openfeature" in one]
        names: dict[str, Any] = {"key": site.ingest, "url": site.server.url}
        exec(program, names)
        provider = names["api"].get_client().provider
        provider.session.close()
        api.clear_providers()
        assert names["settings"] in PAYLOADS.values()


class TestHostilePattern:
    """``^(a|a)+$`` takes 2^n steps for n letters and something else; no Python thread runs meanwhile."""

    HOSTILE = "a" * 60 + "!"

    def test_the_caller_is_told_and_nobody_else_waits(self, site: Site) -> None:
        with ThreadPoolExecutor(1) as pool:
            asked = pool.submit(site.ask, "backtracks", {"targetingKey": "u1", "mail": self.HOSTILE})
            while not asked.done():
                assert site.server.ask("/healthz", timeout=10).status == 200
            told = asked.result()
        assert (told.status, told.json["errorCode"], told.json["key"]) == (400, "GENERAL", "backtracks")
        assert "0.25 s" in told.json["errorDetails"]
        fits = site.ask("backtracks", {"targetingKey": "u1", "mail": "aaaa"}).json
        assert (fits["reason"], fits["metadata"]["why"]) == ("SPLIT", "assigned")
        assert site.ask("backtracks", {"targetingKey": "u1", "mail": "b"}).json["metadata"]["why"] == "not targeted"

    def test_other_flags_of_the_same_request_are_evaluated(self, site: Site) -> None:
        flags = {one["key"]: one for one in site.ask("", {"targetingKey": "u1", "mail": self.HOSTILE}).json["flags"]}
        assert flags["backtracks"]["errorCode"] == "GENERAL"
        assert flags["rerank"]["variant"] in PAYLOADS

    def test_the_providers_own_default_holds_with_the_reason(self, site: Site) -> None:
        with site.client(**{"Barograph-Expose": "true"}) as client:
            found = client.get_object_details("backtracks", {"own": 1}, EvaluationContext("u1", {"mail": self.HOSTILE}))
        assert (found.value, found.error_code) == ({"own": 1}, ErrorCode.GENERAL)
        assert "0.25 s" in (found.error_message or "")

    def test_previews_and_exposures_are_refused_and_counted(self, site: Site) -> None:

        def undecided() -> float:
            lines = site.server.ask("/metrics", key=token_of(site.server)).body.decode().split("\n")
            (line,) = [one for one in lines if one.startswith("barograph_conditions_undecided_total ")]
            return float(line.split()[1])

        before, path = undecided(), "/api/v1/experiments/backtracks"
        attributes = quote(json.dumps({"mail": self.HOSTILE}))
        preview = site.server.ask(f"{path}/assignment?user=u1&attributes={attributes}", key=site.admin)
        body = {"units": {"user": "u1"}, "attributes": {"mail": self.HOSTILE}}
        exposed = site.server.ask(f"{path}/expose", body, key=site.ingest)
        for refused in (preview, exposed):
            assert (refused.status, refused.json["type"]) == (422, "urn:barograph:problem:condition-undecided")
        assert undecided() == before + 2
        assert site.exposures("backtracks") == []


class TestAllFlags:
    """How much they may be together, as far as it is the same for any server."""

    class Framework:
        def __init__(self) -> None:
            arms = tuple(Variant(key=key, weight=0.5, payload={"text": "x" * 100}) for key in ("control", "treated"))
            self._known = [Experiment(key=f"e{n}", variants=arms, control="control", state="stopped") for n in range(4)]

        def known(self) -> list[Experiment]:
            return self._known

        def decide(self, key: str, ids: object, context: object) -> Decision[Payload]:
            return Decision(key, None, {}, "not running", "user", "u")

    @pytest.fixture
    def framework(self) -> Any:
        return self.Framework()

    def test_together_they_have_a_bounded_size_and_none_is_left_out_in_silence(self, framework: Any) -> None:
        whole = sum(map(len, all_flags(framework, {"targetingKey": "u"})))
        assert len(all_flags(framework, {"targetingKey": "u"}, most_bytes=whole)) == 4
        with pytest.raises(Problem, match="all flags together") as refused:
            all_flags(framework, {"targetingKey": "u"}, most_bytes=whole - 1)
        assert ofrep_problem(refused.value, None).status_code == 422


class TestProtocol:
    def test_ids_of_other_kinds_stand_under_their_names(self, site: Site) -> None:
        for context in ({"targetingKey": "s7"}, {"session": "s7"}, {"targetingKey": "u1", "session": "s7"}):
            found = site.ask("sessions", context).json
            assert (found["variant"], found["metadata"]["unitKind"]) == (
                site.arm("sessions", "s7", "session"),
                "session",
            )

    def test_a_unit_without_an_id_is_known_by_its_other_one(self, site: Site) -> None:
        site.experiment("either", sticky=True, fallback_unit_kind="session")
        found = site.ask("either", {"session": "s7"}).json
        assert (found["metadata"]["unitKind"], found["variant"]) == ("session", site.arm("either", "s7", "session"))
        assert site.ask("either", {"targetingKey": "u7", "session": "s8"}).json["metadata"]["unitKind"] == "user"
        nobody = site.ask("either", {"user": "", "targetingKey": "u7"})  # which is no id of a session
        assert (nobody.status, nobody.json["errorCode"]) == (400, "TARGETING_KEY_MISSING")

    def test_all_flags_come_together_and_are_not_sent_again(self, site: Site) -> None:
        first = site.ask("", {"session": "s7"})
        flags = {one["key"]: one for one in first.json["flags"]}
        assert "draft" not in flags
        assert flags["sessions"] == site.ask("sessions", {"session": "s7"}).json
        assert flags["rerank"]["errorCode"] == "TARGETING_KEY_MISSING"
        again = site.ask("", {"session": "s7"}, If_None_Match=first.headers["etag"])
        assert (again.status, again.body) == (304, b"")
        assert site.ask("", {"session": "s8"}, If_None_Match=first.headers["etag"]).status in (200, 304)
        whole = site.ask("", {"targetingKey": "user-1"})
        assert all({"key", "value", "variant", "reason", "metadata"} == set(one) for one in whole.json["flags"])
        assert whole.headers["etag"] != first.headers["etag"]

    @pytest.mark.parametrize("key", ["rerank", ""])
    def test_a_request_that_cannot_be_read_is_told_as_the_protocol_has_it(self, site: Site, key: str) -> None:
        bad: list[tuple[Callable[[], Reply], int, str]] = [
            (lambda: site.ask(key, body=b"{"), 400, "PARSE_ERROR"),
            (lambda: site.ask(key, body=[1]), 400, "INVALID_CONTEXT"),
            (lambda: site.ask(key, body={"context": 7}), 400, "INVALID_CONTEXT"),
            (lambda: site.ask(key, {"targetingKey": "u"}, Content_Type="text/plain"), 415, "PARSE_ERROR"),
            (lambda: site.ask(key, {"targetingKey": "u", "more": "x" * 300_000}), 413, "PARSE_ERROR"),
        ]
        for ask, status, code in bad:
            reply = ask()
            told: dict[str, Any] = reply.json
            assert (reply.status, told["errorCode"]) == (status, code), reply.body
            assert told["errorDetails"]
            assert told.get("key", "") == key

    def test_all_flags_together_expose_nobody(self, site: Site) -> None:
        reply = site.ask("", {"targetingKey": "u"}, Barograph_Expose="true")
        assert (reply.status, reply.json["errorCode"]) == (400, "INVALID_CONTEXT")
        assert "/expose" in reply.json["errorDetails"]
        assert "Leave Barograph-Expose out" in reply.json["errorDetails"]  # as the guide spells it

    def test_rankers_that_are_interleaved_are_one_arm_with_the_configuration_of_the_control(self, site: Site) -> None:
        site.experiment("ranking", kind="interleaving", primary_metric="")
        found = site.ask("ranking", {"targetingKey": "user-1"}).json
        assert (found["variant"], found["value"]) == ("interleaved", PAYLOADS["plain"])
        assert site.arm("ranking", "user-1") == "interleaved"

    def test_a_context_is_bounded_in_size_and_depth(self, site: Site) -> None:
        deep: dict[str, Any] = {"targetingKey": "u"}
        for _ in range(70):
            deep = {"targetingKey": "u", "in": deep}
        for key in ("rerank", ""):
            long = site.ask(key, {"targetingKey": "u", "more": "x" * 20_000})
            assert (long.status, long.json["errorCode"]) == (413, "PARSE_ERROR")
            nested = site.ask(key, deep)
            assert (nested.status, nested.json["errorCode"]) == (400, "INVALID_CONTEXT")
            assert "64 levels" in nested.json["errorDetails"]
        exposed = site.server.ask(
            "/api/v1/experiments/rerank/expose", {"units": {"user": "u"}, "attributes": deep}, key=site.ingest
        )
        assert (exposed.status, exposed.json["field"]) == (400, "attributes")

    def test_only_a_key_that_may_send_evaluates(self, site: Site) -> None:
        reader = make_key(site.server.directory, "read")
        refused = site.server.ask(f"{FLAGS}/rerank", {"context": {"targetingKey": "u"}}, key=reader)
        assert (refused.status, refused.json["errorCode"], refused.json["key"]) == (403, "GENERAL", "rerank")
        assert site.server.ask(FLAGS, {"context": {}}).status == 401
