"""Whom a query belongs to, and what one filters it by."""

from __future__ import annotations

import json

import pytest
from otel_support import Trace

from barograph.core.event import MAX_TAGS

LLM = {"openinference.span.kind": "LLM"}


@pytest.mark.parametrize(
    "values",
    [
        {"user.id": "ada", "session.id": "s1"},
        {"enduser.id": "ada", "gen_ai.conversation.id": "s1"},
        {"traceloop.association.properties.user_id": "ada", "traceloop.association.properties.session_id": "s1"},
        {"langfuse.user.id": "ada", "langfuse.session.id": "s1"},
        {"metadata": json.dumps({"user_id": "ada", "thread_id": "s1"})},
    ],
)
def test_user_and_session_come_from_the_root_or_whichever_span_has_them(values: dict[str, object]) -> None:
    trace = Trace()
    trace.span("ask", {**LLM, **values})
    at_root = trace.query()

    trace = Trace()
    root = trace.span("POST /ask", {"http.request.method": "POST"})
    chain = trace.kind("CHAIN", values=values, inside=root)
    trace.span("call", LLM, inside=chain)
    below = trace.query()

    for made in (at_root, below):
        assert (made.user_id, made.session_id) == ("ada", "s1")


def test_the_roots_user_comes_before_those_below_it() -> None:
    trace = Trace()
    root = trace.span("ask", {**LLM, "user.id": "ada"})
    trace.span("call", {**LLM, "user.id": "service account"}, inside=root)
    assert trace.query().user_id == "ada"


def test_metadata_and_tag_lists_become_tags_without_a_frameworks_own_notes() -> None:
    metadata = {
        "tenant": "north", "beta": True, "step": 3, "nothing": None, "ls_provider": "x", "langgraph_step": 1,
        "user_id": "ada", "session_id": "s1",
    }  # fmt: skip
    trace = Trace(**{"service.version": "1.4"})
    trace.span("ask", {**LLM, "metadata": json.dumps(metadata), "tag.tags": ["a", "b"]})
    assert trace.query().tags == {
        "operation": "ask",
        "service.version": "1.4",
        "tags": '["a", "b"]',
        "tenant": "north",
        "beta": "true",
        "step": "3",
    }


def test_tags_are_bounded_in_number_and_length() -> None:
    metadata = {f"key{i}": "x" * 100_000 for i in range(500)} | {"k" * 1000: "v", "": "v"}
    trace = Trace()
    trace.span("ask", {**LLM, "metadata": json.dumps(metadata)})
    tags = trace.query().tags
    assert 32 < len(tags) <= MAX_TAGS
    assert max(map(len, tags.values())) <= 1024


def test_experiments_arms_are_named_by_attributes_or_metadata() -> None:
    trace = Trace()
    root = trace.span("ask", {**LLM, "barograph.variant.prompt": "short"})
    more = {
        "barograph.variant.reranker": "large",
        "barograph.variant.prompt": "long",
        "traceloop.association.properties.barograph.variant.store": "new",
        "metadata": json.dumps({"barograph.variant.model": "m2"}),
    }
    trace.span("call", {**LLM, **more}, inside=root)
    made = trace.query()
    assert made.variants == {"prompt": "short", "reranker": "large", "store": "new", "model": "m2"}
    assert not [name for name in made.tags if "variant" in name]


@pytest.mark.parametrize(
    ("resource", "pipeline"),
    [
        ({"service.name": "library"}, "library"),
        ({"service.name": "unknown_service:python", "openinference.project.name": "desk"}, "desk"),
        ({"openinference.project.name": "desk"}, "desk"),
        ({"service.name": "unknown_service"}, ""),
    ],
)
def test_the_pipeline_is_the_service(resource: dict[str, str], pipeline: str) -> None:
    trace = Trace()
    trace.resource = resource
    trace.span("ask", LLM)
    assert trace.query().pipeline == pipeline


@pytest.mark.parametrize("name", ["deployment.environment.name", "deployment.environment"])
def test_the_environment_is_where_it_is_deployed(name: str) -> None:
    trace = Trace(**{name: "staging"})
    trace.span("ask", LLM)
    assert trace.query().environment == "staging"


@pytest.mark.parametrize(
    ("values", "model", "version"),
    [
        ({"gen_ai.request.model": "m1", "gen_ai.response.model": "m1-2026"}, "m1", "m1-2026"),
        ({"gen_ai.request.model": "m1"}, "m1", ""),
        ({"gen_ai.response.model": "m1-2026"}, "m1-2026", "m1-2026"),
        ({"gen_ai.request.model": "unknown", "gen_ai.response.model": "unknown"}, "", ""),
    ],
)
def test_a_model_has_the_name_it_was_asked_for_by_so_that_its_failures_have_it_too(
    values: dict[str, object], model: str, version: str
) -> None:
    trace = Trace()
    trace.span("chat", {"gen_ai.operation.name": "chat", **values})
    made = trace.query()
    assert (made.model, made.tags.get("response_model", "")) == (model, version)
