"""The question and the answer are found wherever a program put them."""

from __future__ import annotations

import json

import pytest
from otel_support import ANSWER, QUESTION, Trace, event

from barograph.core.event import Query

PROMPT = f"Context:\nTwenty books.\n\nQuestion: {QUESTION}"
MESSAGES = [
    {"role": "system", "content": "Be brief."},
    {"role": "user", "content": "Hello"},
    {"role": "assistant", "content": "Hi, what do you want to know?"},
    {"role": "user", "content": QUESTION},
]


def constructor(kind: str, content: str) -> dict[str, object]:
    """A message as LangChain writes it down."""
    path = ["langchain", "schema", "messages", kind]
    return {"lc": 1, "type": "constructor", "id": path, "kwargs": {"content": content}}


def graph(kind: str, content: str) -> dict[str, object]:
    """A message as LangGraph writes it down."""
    return {"type": kind, "data": {"content": content, "type": kind, "name": None, "tool_calls": []}}


LANGCHAIN = [constructor("SystemMessage", "Be brief."), constructor("HumanMessage", QUESTION)]


def with_root(values: dict[str, object]) -> Query:
    trace = Trace()
    root = trace.kind("CHAIN", "ask", values)
    trace.kind("LLM", inside=root, values={"llm.input_messages.0.message.content": "another text"})
    return trace.query()


@pytest.mark.parametrize(
    "given",
    [
        QUESTION,
        json.dumps(QUESTION),
        {"question": QUESTION},
        {"input": QUESTION, "chat_history": []},
        {"input": {"question": QUESTION}},
        {"inputs": {"query": QUESTION}, "tags": [], "metadata": {}, "kwargs": {"name": "chain"}},
        {"inputs": QUESTION, "tags": ["a"]},
        {"args": [QUESTION, 5], "kwargs": {}},
        {"args": [], "kwargs": {"question": QUESTION}},
        {"query_bundle": {"query_str": QUESTION, "image_path": None}},
        {"str_or_query_bundle": QUESTION},
        {"user_msg": QUESTION, "ctx": None},
        {"only": QUESTION},
        {"messages": MESSAGES},
        {"messages": [LANGCHAIN]},
        {"messages": [["user", QUESTION]]},
        {"messages": [graph("human", QUESTION), graph("ai", "Let me look."), graph("tool", "Twenty books.")]},
        {"messages": [{"type": "human", "content": QUESTION}]},
        {"messages": [{"role": "user", "content": [{"type": "text", "text": QUESTION}]}]},
        {"messages": [{"role": "user", "parts": [{"type": "text", "content": QUESTION}]}]},
        MESSAGES,
    ],
)
def test_a_question_is_found_inside_json(given: object) -> None:
    text = given if isinstance(given, str) else json.dumps(given)
    assert with_root({"input.value": text}).query == QUESTION


@pytest.mark.parametrize(
    "given",
    [
        ANSWER,
        json.dumps(ANSWER),
        {"answer": ANSWER, "context": [{"page_content": "Twenty books."}]},
        {"output": ANSWER},
        {"outputs": {"result": ANSWER}, "kwargs": {}},
        {"response": ANSWER, "source_nodes": ["<NodeWithScore(node=TextNode(id_=loans))>"]},
        {"result": ANSWER, "source_documents": []},
        {"generations": [[{"text": ANSWER, "type": "Generation"}]], "llm_output": None},
        {"choices": [{"index": 0, "message": {"role": "assistant", "content": ANSWER}}]},
        {"messages": [graph("human", QUESTION), graph("ai", ""), graph("tool", "Twenty."), graph("ai", ANSWER)]},
        {"messages": [*MESSAGES, {"role": "assistant", "content": ANSWER}]},
        {"messages": [{"type": "human", "content": QUESTION}, {"type": "ai", "content": ANSWER}]},
        {"replies": [ANSWER]},
    ],
)
def test_an_answer_is_found_inside_json(given: object) -> None:
    text = given if isinstance(given, str) else json.dumps(given)
    assert with_root({"input.value": QUESTION, "output.value": text}).answer == ANSWER


def test_json_that_nobody_explains_is_kept_as_it_is() -> None:
    made = with_root({"input.value": '{"a": 1, "b": 2}', "output.value": '{"x": [1], "y": 2}'})
    assert (made.query, made.answer) == ("another text", '{"x": [1], "y": 2}')


@pytest.mark.parametrize(
    "text", ["<generator object answer at 0x7f01>", '{"response_gen": "<generator object>", "n": 1}']
)
def test_a_generator_is_not_the_answer_that_comes_out_of_it(text: str) -> None:
    trace = Trace()
    root = trace.kind("CHAIN", values={"input.value": QUESTION, "output.value": text})
    trace.kind("LLM", inside=root, values={"output.value": ANSWER})
    assert trace.query().answer == ANSWER


def test_a_web_servers_root_leaves_the_question_to_the_step_below_it() -> None:
    trace = Trace()
    root = trace.span("POST /ask", {"http.request.method": "POST", "http.route": "/ask"}, took=3.0)
    step = trace.kind("CHAIN", "engine", {"input.value": QUESTION, "output.value": ANSWER}, inside=root, took=3.0)
    trace.kind("CHAIN", "inner", {"input.value": "inner", "output.value": "inner"}, inside=step, took=3.0)
    trace.kind("LLM", inside=step, at=1.0, values={"llm.input_messages.0.message.content": PROMPT})
    made = trace.query()
    assert (made.query, made.answer, made.tags["http.route"]) == (QUESTION, ANSWER, "/ask")


def test_a_step_before_the_generation_does_not_hold_the_answer() -> None:
    trace = Trace()
    root = trace.span("ask", took=3.0)
    trace.kind("CHAIN", "gather", {"input.value": QUESTION, "output.value": "passages"}, inside=root, took=1.0)
    trace.kind("LLM", inside=root, at=1.0, took=1.0, values={"output.value": ANSWER})
    made = trace.query()
    assert (made.query, made.answer) == (QUESTION, ANSWER)


def test_without_steps_the_last_user_message_and_the_last_generation_tell() -> None:
    trace = Trace()
    root = trace.span("ask", took=4.0)
    for i, (asked, answered) in enumerate((("plan?", "search"), (QUESTION, ANSWER))):
        messages = {
            "llm.input_messages.0.message.role": "user",
            "llm.input_messages.0.message.content": "earlier",
            "llm.input_messages.1.message.role": "assistant",
            "llm.input_messages.1.message.content": "yes",
            "llm.input_messages.2.message.role": "user",
            "llm.input_messages.2.message.contents.0.message_content.text": asked,
            "llm.output_messages.0.message.role": "assistant",
            "llm.output_messages.0.message.content": answered,
        }
        trace.kind("LLM", inside=root, at=float(i), values=messages)
    made = trace.query()
    assert (made.query, made.answer) == (QUESTION, ANSWER)


def test_the_question_that_was_searched_for_is_told_apart_from_the_prompt_around_it() -> None:
    trace = Trace()
    root = trace.span("ask", took=4.0)
    trace.kind("RETRIEVER", values={"input.value": QUESTION}, inside=root)
    messages = {"llm.input_messages.0.message.role": "user", "llm.input_messages.0.message.content": PROMPT}
    trace.kind("LLM", inside=root, at=1.0, values=messages)
    assert trace.query().query == QUESTION


def test_what_failed_has_no_answer_made_of_half_finished_things() -> None:
    trace = Trace()
    root = trace.kind("CHAIN", values={"input.value": QUESTION}, took=3.0, status="error")
    trace.kind("CHAIN", "prompt", {"output.value": PROMPT}, inside=root, took=3.0)
    trace.kind("LLM", inside=root, status="error")
    assert trace.query().answer == ""


def test_messages_of_events_are_read_in_the_order_of_their_time() -> None:
    trace = Trace()
    events = [
        event("gen_ai.choice", {"index": 0, "message": {"role": "assistant", "content": ANSWER}}, at=0.9),
        event("gen_ai.user.message", {"content": QUESTION}, at=0.2),
        event("gen_ai.user.message", {"gen_ai.event.content": {"role": "user", "content": "Hello"}}, at=0.1),
        event("gen_ai.system.message", {"content": "Be brief."}, at=0.0),
    ]
    trace.span("chat m1", {"gen_ai.operation.name": "chat"}, events=events)
    made = trace.query()
    assert (made.query, made.answer) == (QUESTION, ANSWER)
