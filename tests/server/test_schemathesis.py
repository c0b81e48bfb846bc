"""Every route against its own description: generated requests, good and bad, to a real server process.

schemathesis makes them from the OpenAPI document, and checks that each answer has a status, a content type and a body
that the document tells, and that none is a fault of the server. What the document forbids must be refused; in a list
of events, item by item. What it allows is taken, or refused with a reason that no schema could tell.
"""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest
import schemathesis
from hypothesis import HealthCheck, assume, settings
from schemathesis import BaseSchema, Case, CheckContext, Response
from schemathesis.config import GenerationConfig, SchemathesisConfig
from schemathesis.specs.openapi.checks import negative_data_rejection, positive_data_acceptance
from schemathesis.specs.openapi.definitions import OPENAPI_31_VALIDATOR
from tests.support.serving import Serving
from tests.support.soak import LONG, times

from barograph.server.openapi import document
from barograph.server.routes import ROUTES

LONGEST_ADDRESS = 20_000  # longer ones end at the door, before any route; test_bounds has them
DOCUMENT = document(ROUTES)
TAKES = {(route.method, route.path): route.takes for route in ROUTES}
REFUSES = {(route.method, route.path): route.refuses for route in ROUTES}
FORMS = {"problem": "application/problem+json", "sentence": "application/json", "ofrep": "application/json"}

# Where every bound of every field would be thousands of requests, or a request takes long: drawn at random only.
SAMPLED = {("POST", "/api/v1/events"), ("POST", "/v1/metrics"), ("GET", "/api/v1/report"), ("GET", "/api/v1/events"),
           ("POST", "/api/v1/care/rebuild"), ("POST", "/api/v1/rules"), ("POST", "/api/v1/experiments"),
           ("PUT", "/api/v1/experiments/{key}")}  # fmt: skip
if not LONG:  # these are hundreds of requests each
    SAMPLED |= {("POST", "/v1/traces"), ("POST", "/v1/logs")}


def schema_of(sampled: bool) -> BaseSchema:
    config = SchemathesisConfig()
    config.projects.default.generation = GenerationConfig(deterministic=True)
    config.projects.default.phases.coverage.enabled = not sampled
    config.projects.default.phases.coverage.unexpected_methods = {"put", "options"}
    whole = schemathesis.openapi.from_dict(DOCUMENT, config=config)
    return whole.include(
        lambda context: ((context.operation.method.upper(), context.operation.path) in SAMPLED) is sampled
    )


@schemathesis.serializer("application/x-ndjson", "application/x-protobuf")
def as_it_is(context: schemathesis.SerializationContext, value: object) -> object:
    """Texts and anything else as bytes that are hardly ever what they should be."""
    return value if isinstance(value, bytes) else value.encode() if isinstance(value, str) else json.dumps(value)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Serving]:
    with Serving(tmp_path_factory.mktemp("schemathesis") / "data") as running:
        assert running.until(lambda: running.ask("/readyz").status == 200), running.errors()
        yield running
        assert "a fault while answering" not in running.errors()


@pytest.fixture(scope="module")
def authorization(server: Serving) -> dict[str, str]:
    """The token of the command line, which every route takes."""
    token = json.loads((server.directory / "lock").read_bytes())["token"]
    return {"Authorization": f"Bearer {token}"}


def refused_with_a_reason(context: CheckContext, response: Response, case: Case) -> None:
    """What the schema allows and the server does not take is told: which part, why, and what to do."""
    if case.meta is None or case.meta.generation.mode.is_negative or response.status_code < 400:
        return
    assert response.status_code in (400, 404, 415, 422)
    match REFUSES.get((case.method, case.path)):
        case "sentence":
            assert response.json()
        case "ofrep":
            assert response.json()["errorDetails"]
        case "problem":
            told = response.json()
            assert told["detail"]
            assert told["hint"]


def bad_events_are_told(context: CheckContext, response: Response, case: Case) -> None:
    """Of a list with a bad event at least that one is rejected, with its field or a reason."""
    if case.media_type == "application/x-ndjson" or case.meta is None or case.meta.generation.mode.is_positive:
        return  # lines that are bad texts and good events
    if response.status_code == 200:
        answer = response.json()
        assert answer["rejected"] >= 1, answer
        assert all(one["reason"] for one in answer["results"] if one["outcome"] == "rejected")


def ask_and_check(case: Case, server: Serving, authorization: dict[str, str]) -> None:
    assume(len(str(case.query)) < LONGEST_ADDRESS)
    excluded, additional = [positive_data_acceptance], [refused_with_a_reason]
    if TAKES.get((case.method, case.path)) not in ("", "otlp", None):
        excluded.append(negative_data_rejection)
        additional.append(bad_events_are_told)
    case.call_and_validate(
        base_url=server.url, headers=authorization, excluded_checks=excluded, additional_checks=additional
    )


@schema_of(sampled=False).parametrize()
@settings(max_examples=times(5, 20), suppress_health_check=list(HealthCheck))
def test_a_route_answers_as_it_is_described(case: Case, server: Serving, authorization: dict[str, str]) -> None:
    ask_and_check(case, server, authorization)


@schema_of(sampled=True).parametrize()
@settings(max_examples=times(15, 60), suppress_health_check=list(HealthCheck))
def test_a_large_route_answers_as_it_is_described(case: Case, server: Serving, authorization: dict[str, str]) -> None:
    ask_and_check(case, server, authorization)


class TestDocument:
    def test_what_is_served_is_what_was_checked(self, server: Serving) -> None:
        assert server.ask("/api/v1/openapi.json").json == json.loads(json.dumps(DOCUMENT))

    def test_it_is_openapi_3_1(self) -> None:
        assert DOCUMENT["openapi"] == "3.1.0"
        assert [error.message for error in OPENAPI_31_VALIDATOR.iter_errors(DOCUMENT)] == []

    def test_every_reference_leads_somewhere(self) -> None:
        def references(node: object) -> Iterator[str]:
            for value in node.values() if isinstance(node, dict) else node if isinstance(node, list) else ():
                yield from references(value)
            if isinstance(node, dict) and isinstance(node.get("$ref"), str):
                yield node["$ref"]

        schemas = DOCUMENT["components"]["schemas"]
        assert {one.removeprefix("#/components/schemas/") for one in references(DOCUMENT)} <= schemas.keys()

    def test_every_route_is_in_it_under_a_name_of_its_own(self) -> None:
        described = {(method.upper(), path) for path, item in DOCUMENT["paths"].items() for method in item}
        assert described == {(route.method, route.path) for route in ROUTES}
        names = [one["operationId"] for item in DOCUMENT["paths"].values() for one in item.values()]
        assert len(set(names)) == len(ROUTES)

    def test_every_refusal_is_a_problem_document_or_what_the_clients_of_the_route_read(self) -> None:
        for route in ROUTES:
            responses = DOCUMENT["paths"][route.path][route.method.lower()]["responses"]
            for status, response in responses.items():
                if status != "200" and route.refuses != "otlp" and route.path != "/readyz":
                    assert list(response["content"]) == [FORMS[route.refuses]], (route.path, status)
