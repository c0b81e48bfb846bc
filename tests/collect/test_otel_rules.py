"""What real traces teach: what counts once, what is no query, which error is one."""

from __future__ import annotations

import pytest
from otel_support import ANSWER, QUESTION, Trace, event, exception, listed, query

from barograph.collect.otel import NotAQuery, is_root, query_of
from barograph_client.identifiers import derived_id

CHAIN = {"input.value": QUESTION, "output.value": ANSWER}
USAGE = {"llm.token_count.prompt": 700, "llm.token_count.completion": 200, "llm.cost.total": 0.02}


def test_a_trace_is_one_query_with_all_that_its_spans_say() -> None:
    trace = Trace(**{"deployment.environment.name": "production", "service.version": "1.4"})
    root = trace.kind("CHAIN", "ask", {**CHAIN, "user.id": "ada", "session.id": "s1"}, took=1.5, status="ok")
    documents = listed("retrieval.documents", {"id": "loans", "content": "Twenty books.", "score": 0.9})
    trace.kind("RETRIEVER", "shelves", {"input.value": QUESTION, **documents}, inside=root, at=0.1, took=0.2)
    trace.kind("LLM", "model", {**USAGE, "llm.model_name": "m1", "llm.provider": "p"}, inside=root, at=0.3, took=1.1)

    made = trace.query()

    assert made.event_id == derived_id(f"default/{root.trace_id}", "query")
    assert (made.origin, made.project, made.trace_id, made.time) == ("internal", "default", root.trace_id, root.time)
    assert (made.query, made.answer, made.status) == (QUESTION, ANSWER, "ok")
    assert (made.pipeline, made.environment, made.tags["service.version"]) == ("library", "production", "1.4")
    assert (made.user_id, made.session_id, made.model, made.provider) == ("ada", "s1", "m1", "p")
    assert (made.response_time, made.retrieval_time, made.generation_time) == (1.5, 0.2, 1.1)
    assert (made.input_tokens, made.output_tokens, made.cost) == (700, 200, 0.02)
    assert made.embedding_time is made.rerank_time is made.cached_tokens is made.time_to_first_token is None
    assert made.documents is not None
    assert made.document_count == 1
    (document,) = made.documents
    assert (document.id, document.text, document.rank, document.score) == ("loans", "Twenty books.", 1, 0.9)
    assert document.retriever == "shelves"


# tokens and cost


def test_tokens_are_counted_once_though_parent_and_child_both_report_them() -> None:
    trace = Trace()
    root = trace.kind("CHAIN", values={**CHAIN, **USAGE})
    outer = trace.kind("LLM", values=USAGE, inside=root)
    trace.kind("LLM", values=USAGE, inside=outer)
    made = trace.query()
    assert (made.input_tokens, made.output_tokens, made.cost) == (700, 200, 0.02)


def test_the_calls_of_an_agent_add_up_and_its_own_total_is_not_added() -> None:
    trace = Trace()
    agent = trace.kind("AGENT", values={"llm.token_count.prompt": 300, "llm.token_count.completion": 30})
    for prompt, completion in ((100, 10), (200, 20)):
        trace.kind(
            "LLM", inside=agent, values={"llm.token_count.prompt": prompt, "llm.token_count.completion": completion}
        )
    made = trace.query()
    assert (made.input_tokens, made.output_tokens) == (300, 30)


def test_cost_that_only_the_root_tells_goes_with_tokens_that_only_the_model_tells() -> None:
    trace = Trace()
    root = trace.kind("CHAIN", values={**CHAIN, "llm.cost.total": 0.5})
    trace.kind("LLM", inside=root, values={"llm.token_count.prompt": 7})
    made = trace.query()
    assert (made.cost, made.input_tokens, made.output_tokens) == (0.5, 7, None)


def test_a_wrapper_marked_as_a_model_adds_nothing() -> None:
    trace = Trace()
    root = trace.kind("CHAIN", values=CHAIN)
    trace.kind("LLM", "prompt builder", inside=root, took=0.0)
    zero = trace.kind("LLM", "predict", {"llm.token_count.prompt": 5}, inside=root, at=0.1, took=0.5)
    trace.kind("LLM", "stream", {"llm.token_count.prompt": 0}, inside=zero, at=0.1, took=0.5)
    made = trace.query()
    assert made.input_tokens == 5
    assert made.generation_time == 0.5


def test_tokens_of_an_embedding_are_not_the_models_but_their_cost_is_a_cost() -> None:
    trace = Trace()
    root = trace.kind("CHAIN", values=CHAIN)
    trace.kind("EMBEDDING", inside=root, values={"llm.token_count.prompt": 9, "llm.cost.total": 0.25})
    trace.kind("LLM", inside=root, values={**USAGE, "llm.cost.total": 0.5})
    made = trace.query()
    assert (made.input_tokens, made.cost) == (700, 0.75)


def test_the_cost_of_prompt_and_completion_is_the_cost() -> None:
    trace = Trace()
    trace.kind("LLM", values={"llm.cost.prompt": 0.25, "llm.cost.completion": 0.5})
    assert trace.query().cost == 0.75


@pytest.mark.parametrize("text", ["-1", "NaN", "Infinity", "1e999", "twelve", "", "[]", "true"])
def test_a_number_that_is_none_is_unknown(text: str) -> None:
    trace = Trace()
    trace.kind("LLM", values={"llm.token_count.prompt": text, "llm.cost.total": text, "output.value": "yes"})
    made = trace.query()
    assert (made.input_tokens, made.cost) == (None, None)


# what is no query


def test_no_spans_are_no_query() -> None:
    assert query_of([]) == NotAQuery("no spans")


def test_filling_the_knowledge_base_is_no_query() -> None:
    trace = Trace()
    root = trace.kind("CHAIN", "IngestionPipeline.run")
    trace.kind("EMBEDDING", inside=root)
    trace.kind("LLM", "SummaryExtractor", USAGE, inside=root)
    assert trace.reason() == "indexing"

    trace = Trace()
    root = trace.span("nightly")
    trace.kind("EMBEDDING", inside=root)
    trace.span("qdrant.upsert", {"db.system": "qdrant", "db.operation": "upsert"}, inside=root)
    assert trace.reason() == "indexing"


def test_embedding_alone_is_no_query() -> None:
    trace = Trace()
    trace.kind("EMBEDDING")
    assert trace.reason() == "embedding only"


def test_what_neither_retrieves_nor_generates_is_no_query() -> None:
    trace = Trace()
    root = trace.span("GET /health", {"http.request.method": "GET"})
    trace.span("SELECT accounts", {"db.system.name": "postgresql", "db.query.text": "SELECT 1"}, inside=root)
    assert trace.reason() == "no retrieval and no generation"


def test_to_make_an_agent_is_no_query() -> None:
    trace = Trace()
    trace.span("create_agent librarian", {"gen_ai.operation.name": "create_agent"})
    assert trace.reason() == "no retrieval and no generation"


def test_a_judge_by_itself_is_no_query_and_inside_a_query_it_is_not_the_generation() -> None:
    trace = Trace()
    judge = trace.kind("EVALUATOR")
    trace.kind("LLM", values=USAGE, inside=judge)
    assert trace.reason() == "evaluation only"

    trace = Trace()
    root = trace.kind("CHAIN", values=CHAIN, took=3.0)
    trace.kind("LLM", values={"llm.token_count.prompt": 3, "llm.model_name": "small"}, inside=root)
    judge = trace.kind("EVALUATOR", inside=root, at=1.0)
    trace.kind("LLM", values={**USAGE, "llm.model_name": "large"}, inside=judge, at=1.0)
    made = trace.query()
    assert (made.model, made.input_tokens, made.generation_time) == ("small", 3, 1.0)


def test_a_retrieval_without_a_model_is_a_query_without_an_answer_text() -> None:
    trace = Trace()
    found = listed("retrieval.documents", {"id": "a"})
    trace.kind("RETRIEVER", values={"input.value": QUESTION, "output.value": '[{"id": "a"}]', **found})
    made = trace.query()
    assert (made.query, made.answer, made.status, made.document_count) == (QUESTION, "", "ok", 1)


# stages


def test_stages_sum_up_and_time_that_overlaps_counts_once() -> None:
    trace = Trace()
    root = trace.kind("CHAIN", values=CHAIN, took=5.0)
    trace.kind("RETRIEVER", "dense", inside=root, at=0.0, took=1.0)
    trace.kind("RETRIEVER", "sparse", inside=root, at=0.5, took=1.0)
    trace.kind("RETRIEVER", "again", inside=root, at=3.0, took=0.25)
    trace.kind("RERANKER", inside=root, at=1.5, took=0.5)
    trace.kind("LLM", inside=root, at=2.0, took=1.0)
    trace.kind("LLM", inside=root, at=3.5, took=1.0)
    made = trace.query()
    assert (made.retrieval_time, made.rerank_time, made.generation_time) == (1.75, 0.5, 2.0)


def test_a_retriever_inside_a_retriever_and_a_model_inside_an_agent_count_once() -> None:
    trace = Trace()
    agent = trace.kind("AGENT", values=CHAIN, took=4.0)
    outer = trace.kind("RETRIEVER", inside=agent, at=0.0, took=1.0)
    trace.kind("RETRIEVER", inside=outer, at=0.25, took=0.5)
    predict = trace.kind("LLM", inside=agent, at=1.0, took=2.0)
    trace.kind("LLM", inside=predict, at=1.5, took=1.0)
    made = trace.query()
    assert (made.retrieval_time, made.generation_time) == (1.0, 2.0)


def test_a_moment_counts_for_the_innermost_stage() -> None:
    trace = Trace()
    root = trace.kind("CHAIN", values=CHAIN, took=4.0)
    outer = trace.kind("RETRIEVER", inside=root, at=0.0, took=1.0)
    inner = trace.kind("RETRIEVER", inside=outer, at=0.0, took=1.0)
    trace.kind("EMBEDDING", inside=inner, at=0.25, took=0.5)
    made = trace.query()
    assert (made.embedding_time, made.retrieval_time) == (0.5, 0.5)


def test_a_model_that_calls_its_tools_does_not_count_what_they_retrieve() -> None:
    trace = Trace()
    model = trace.kind("LLM", values=CHAIN, took=3.0)
    tool = trace.kind("TOOL", inside=model, at=1.0, took=1.0)
    trace.kind("RETRIEVER", inside=tool, at=1.0, took=1.0)
    made = trace.query()
    assert (made.retrieval_time, made.generation_time) == (1.0, 2.0)


def test_what_goes_on_or_begins_after_the_end_of_its_caller_takes_no_time_from_it() -> None:
    trace = Trace()
    root = trace.kind("CHAIN", values=CHAIN, took=4.0)
    model = trace.kind("LLM", inside=root, at=0.0, took=1.0)
    trace.kind("RETRIEVER", inside=model, at=0.75, took=0.5)
    trace.kind("RETRIEVER", inside=model, at=2.0, took=0.25)
    made = trace.query()
    assert (made.retrieval_time, made.generation_time) == (0.75, 0.75)


def test_a_model_inside_a_retriever_or_a_reranker_works_for_it() -> None:
    trace = Trace()
    root = trace.kind("CHAIN", values=CHAIN, took=4.0)
    retriever = trace.kind("RETRIEVER", "multi query", inside=root, at=0.0, took=1.0)
    trace.kind("LLM", values={"llm.model_name": "rewriter"}, inside=retriever, at=0.0, took=0.5)
    reranker = trace.kind("RERANKER", inside=root, at=1.0, took=1.0)
    trace.kind("LLM", values={"llm.model_name": "judge"}, inside=reranker, at=1.0, took=1.0)
    trace.kind("LLM", values={"llm.model_name": "writer"}, inside=root, at=2.0, took=1.0)
    made = trace.query()
    assert (made.retrieval_time, made.rerank_time, made.generation_time) == (1.0, 1.0, 1.0)
    assert made.model == "writer"


def test_a_stage_that_did_not_happen_is_unknown_not_zero() -> None:
    trace = Trace()
    trace.kind("LLM", values=CHAIN)
    made = trace.query()
    assert made.retrieval_time is None
    assert made.documents is None
    assert made.document_count is None


# the first token


def test_the_first_token_is_timed_from_the_request() -> None:
    trace = Trace()
    root = trace.kind("CHAIN", values=CHAIN, took=4.0)
    trace.kind("LLM", "plan", inside=root, at=0.0, took=0.5, events=[event("First Token Stream Event", at=0.25)])
    chunks = [event("gen_ai.content.completion.chunk", at=moment) for moment in (2.0, 1.5, 2.5)]
    trace.kind("LLM", "answer", inside=root, at=1.0, took=2.0, events=chunks)
    assert trace.query().time_to_first_token == 1.5


def test_the_time_to_the_first_chunk_is_counted_from_its_own_span() -> None:
    trace = Trace()
    root = trace.kind("CHAIN", values=CHAIN, took=4.0)
    attributes = {"gen_ai.operation.name": "chat", "gen_ai.response.time_to_first_chunk": 0.5}
    trace.span("chat m1", attributes, inside=root, at=1.0, took=2.0)
    assert trace.query().time_to_first_token == 1.5


def test_a_stream_goes_on_after_the_call_that_opened_it() -> None:
    trace = Trace()
    root = trace.kind("CHAIN", values={"input.value": QUESTION}, took=4.0)
    step = trace.kind("CHAIN", inside=root, at=0.5, took=3.0)
    opening = trace.kind("LLM", inside=step, at=0.5, took=0.001)
    trace.kind("LLM", inside=opening, at=0.5, took=0.0, events=[event("First Token Stream Event", at=1.0)])
    made = trace.query()
    assert (made.time_to_first_token, made.generation_time) == (1.0, 3.0)


# errors


def test_an_error_that_was_caught_is_no_error_of_the_query() -> None:
    trace = Trace()
    root = trace.kind("CHAIN", values=CHAIN, took=3.0, status="ok")
    trace.kind("LLM", "chat", inside=root, at=0.0, status="error", events=[exception("RateLimitError", "slow down")])
    trace.kind("LLM", "chat", inside=root, at=1.0, status="ok")
    made = trace.query()
    assert (made.status, made.error_type, made.error_stage, made.error_message) == ("ok", "", "", "")


def test_the_roots_status_decides_even_when_every_step_went_well() -> None:
    trace = Trace()
    root = trace.kind("CHAIN", values=CHAIN, status="error", message="the answer broke a rule")
    trace.kind("LLM", inside=root, status="ok")
    made = trace.query()
    assert (made.status, made.error_stage, made.error_message) == ("error", "", "the answer broke a rule")


@pytest.mark.parametrize(
    ("kind", "stage"),
    [
        ("RETRIEVER", "retrieval"),
        ("EMBEDDING", "embedding"),
        ("RERANKER", "rerank"),
        ("LLM", "generation"),
        ("TOOL", ""),
    ],
)
def test_the_stage_of_an_error_is_where_it_came_up_from(kind: str, stage: str) -> None:
    trace = Trace()
    root = trace.kind("CHAIN", took=5.0, status="error")
    trace.kind("RETRIEVER", inside=root, took=0.5)
    step = trace.kind("CHAIN", inside=root, at=1.0, status="error")
    events = [exception("builtins.TimeoutError", "no reply")]
    trace.kind(kind, inside=step, at=1.0, status="error", message="TimeoutError: no reply", events=events)
    made = trace.query()
    assert (made.status, made.error_type, made.error_stage) == ("error", "builtins.TimeoutError", stage)
    assert made.error_message == "no reply"


def test_a_failed_call_that_was_tried_again_is_not_the_cause_of_a_later_failure() -> None:
    trace = Trace()
    root = trace.kind("CHAIN", took=5.0, status="error", events=[exception("KeyError", "'user'")])
    trace.kind("LLM", "chat", inside=root, at=0.0, status="error", events=[exception("RateLimitError", "slow")])
    trace.kind("LLM", "chat", inside=root, at=1.0)
    made = trace.query()
    assert (made.error_type, made.error_stage, made.error_message) == ("KeyError", "", "'user'")


def test_error_type_says_what_no_exception_event_says() -> None:
    trace = Trace()
    root = trace.span("POST /ask", {"http.request.method": "POST", "error.type": "500"}, status="error")
    attributes = {"gen_ai.operation.name": "chat", "error.type": "timeout"}
    trace.span("chat m1", attributes, inside=root, status="error", message="upstream")
    made = trace.query()
    assert (made.error_type, made.error_stage, made.error_message) == ("timeout", "generation", "upstream")


def test_a_root_that_leaves_its_status_open_fails_with_its_last_generation() -> None:
    trace = Trace()
    root = trace.span("POST /ask", {"http.request.method": "POST"}, took=3.0)
    trace.kind("LLM", inside=root, at=0.0, values={"output.value": "first search the leaflet"})
    trace.kind("LLM", inside=root, at=1.0, status="error", events=[exception("TimeoutError", "no reply")])
    made = trace.query()
    assert (made.status, made.error_type, made.error_stage) == ("error", "TimeoutError", "generation")
    assert made.answer == ""


def test_a_failed_leg_is_no_error_when_there_is_an_answer() -> None:
    trace = Trace()
    root = trace.span("ask", took=3.0)
    trace.kind("RETRIEVER", inside=root, status="error")
    trace.kind("LLM", inside=root, at=1.0, values={"output.value": ANSWER})
    assert trace.query().status == "ok"


@pytest.mark.parametrize("nothing", ["", "  ", "null", '""', '{"answer": ""}', '{"answer": null}', "Empty Response"])
def test_an_answer_that_is_empty_is_no_answer(nothing: str) -> None:
    trace = Trace()
    root = trace.kind("CHAIN", values={"input.value": QUESTION, "output.value": nothing})
    trace.kind("RETRIEVER", inside=root)
    made = trace.query()
    assert (made.status, made.answer) == ("no_answer", "")


def test_an_answer_that_is_not_told_is_not_a_missing_one() -> None:
    trace = Trace()
    root = trace.kind("CHAIN", values={"input.value": "__REDACTED__", "output.value": "__REDACTED__"})
    trace.kind("LLM", inside=root, values=USAGE)
    made = trace.query()
    assert (made.status, made.query, made.answer) == ("ok", "", "")


def test_a_model_that_was_filtered_gave_no_answer() -> None:
    trace = Trace()
    trace.span("chat m1", {"gen_ai.operation.name": "chat", "gen_ai.response.finish_reasons": ["content_filter"]})
    assert trace.query().status == "no_answer"


def test_a_program_may_say_its_status_itself() -> None:
    trace = Trace()
    trace.kind("LLM", values={"output.value": "I do not know.", "barograph.status": "no_answer"})
    assert trace.query().status == "no_answer"


# without a root


def test_without_a_root_the_extent_is_what_was_seen() -> None:
    trace = Trace()
    root = trace.kind("CHAIN", values=CHAIN)
    step = trace.kind("CHAIN", "step", {"input.value": QUESTION, "user.id": "ada"}, inside=root, at=1.0, took=3.0)
    trace.kind("RETRIEVER", inside=step, at=1.0, took=1.0)
    trace.kind("LLM", inside=step, at=2.0, took=2.5, values={"output.value": ANSWER})
    spans = trace.spans[1:]
    made = query(spans)
    assert made.tags["incomplete"] == "no root span"
    assert (made.time, made.response_time) == (step.time, 3.5)
    assert (made.query, made.answer, made.user_id) == (QUESTION, ANSWER, "ada")


def test_a_trace_that_was_given_up_says_so() -> None:
    trace = Trace()
    trace.kind("LLM", values=CHAIN)
    made = query_of(trace.spans, incomplete=True)
    assert not isinstance(made, NotAQuery)
    assert made.tags["incomplete"] == "spans are missing"
    assert "incomplete" not in trace.query().tags


def test_the_root_is_the_span_without_a_parent() -> None:
    trace = Trace()
    root = trace.span("a")
    assert is_root(root)
    assert not is_root(trace.span("b", inside=root))
