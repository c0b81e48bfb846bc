"""The programs in ``examples/`` run offline as they are, and the server holds what they really did."""

from __future__ import annotations

import re
import sys
from collections import Counter
from typing import Any

import msgspec
import pytest
from tests.examples.expected import PROGRAMS, Program, library, seconds
from tests.examples.running_server import ROOT, Finished, RunningServer, run

from barograph.core.event import Span

CAPTURES = {"llama_index_rag": "llama_index", "langchain_rag": "langchain",
            "custom_pipeline_opentelemetry": "plain_opentelemetry"}  # fmt: skip
ASKED = len(library.QUESTIONS)
FAILED = ASKED - 1
every_program = pytest.mark.parametrize("program", PROGRAMS, ids=[program.name for program in PROGRAMS])
Finishes = dict[str, Finished]


def lines(program: Program, finished: Finishes) -> list[str]:
    """What the program printed for each question."""
    return [line for line in finished[program.name].stdout.splitlines() if " -> " in line]


def recorded(program: Program, server: RunningServer) -> list[dict[str, Any]]:
    return server.queries(program.pipeline, ASKED)


@every_program
def test_a_program_ends_well_and_says_what_it_did(program: Program, finished: Finishes) -> None:
    assert finished[program.name].code == 0, finished[program.name].stderr
    assert len(lines(program, finished)) == ASKED
    assert "Traceback" not in finished[program.name].stderr
    assert "failed: the model did not answer" in lines(program, finished)[FAILED]


@every_program
def test_question_answer_user_and_session_are_the_programs_own(
    program: Program, finished: Finishes, server: RunningServer
) -> None:
    printed = lines(program, finished)
    for number, (query, question) in enumerate(zip(recorded(program, server), library.QUESTIONS, strict=True)):
        assert query["query"] == question.text
        assert (query["user_id"], query["session_id"]) == (question.user, question.session)
        assert query["tags"]["language"] == question.language
        assert query["environment"] == program.environment
        assert query["status"] == program.statuses[number], query["query"]
        if query["answer"]:
            assert f"{question.user}: {question.text} -> {query['answer']}" in printed[number]
        else:  # LlamaIndex answers nothing with a phrase of its own
            assert number == FAILED or "Empty Response" in printed[number]


@every_program
def test_the_stages_are_told_apart_and_fit_into_the_whole(
    program: Program, finished: Finishes, server: RunningServer
) -> None:
    for number, query in enumerate(recorded(program, server)):
        generated = query["input_tokens"] is not None or number == FAILED
        for stage in ("embedding", "retrieval", "rerank", "generation"):
            expected = stage in program.stages and (stage != "generation" or generated)
            assert (query[f"{stage}_time"] is not None) == expected, (stage, query["query"])
        spent = sum(query[f"{stage}_time"] or 0.0 for stage in ("embedding", "retrieval", "rerank", "generation"))
        assert 0 < spent <= query["response_time"]
        if "embedding" in program.stages:
            assert query["embedding_time"] >= seconds["EMBEDDING_SECONDS"]
        if generated:
            assert query["generation_time"] >= seconds["THINKING_SECONDS"]
        assert (query["time_to_first_token"] is not None) == (number in program.first_token), query["query"]
        if number in program.first_token:
            assert seconds["THINKING_SECONDS"] <= query["time_to_first_token"] <= query["response_time"]


@every_program
def test_documents_have_the_ids_the_scores_and_the_order_of_the_retriever(
    program: Program, finished: Finishes, server: RunningServer
) -> None:
    for number, query in enumerate(recorded(program, server)):
        documents, wanted = query["documents"], program.retrieved(number)
        assert query["document_count"] == len(documents) == len(wanted), query["query"]
        assert [one["score"] for one in documents] == pytest.approx([score for _, score in wanted])
        for document, (name, score) in zip(documents, wanted, strict=True):
            if score > 0:  # those that are alike in nothing come in any order
                assert document["id"] == name
            assert document["text"] == library.PASSAGES[document["id"]]
        if "rerank" in program.stages:
            assert [one["rerank_rank"] for one in documents] == list(range(1, len(documents) + 1))
            assert [one["rerank_score"] for one in documents] == pytest.approx(
                [score + 1 / len(library.PASSAGES[name]) for name, score in wanted]
            )


@every_program
def test_a_retrieval_that_finds_nothing_is_an_empty_list_and_not_unknown(
    program: Program, finished: Finishes, server: RunningServer
) -> None:
    foreign = next(i for i, question in enumerate(library.QUESTIONS) if question.language != "en")
    query = recorded(program, server)[foreign]
    assert query["documents"] == []
    assert query["document_count"] == 0
    assert query["retrieval_time"] is not None


@every_program
def test_tokens_are_those_of_prompt_and_answer_counted_once(
    program: Program, finished: Finishes, server: RunningServer
) -> None:
    for number, query in enumerate(recorded(program, server)):
        if query["status"] == "error" or not query["answer"]:
            assert query["input_tokens"] is query["output_tokens"] is None
            continue
        assert query["input_tokens"] == program.input_tokens(number)
        assert query["output_tokens"] == library.count_tokens(query["answer"])
        assert query["model"] == library.MODEL
        assert query["provider"] == program.model_side


@every_program
def test_an_error_has_its_type_its_stage_and_its_message(
    program: Program, finished: Finishes, server: RunningServer
) -> None:
    query = recorded(program, server)[FAILED]
    assert (query["status"], query["error_type"], query["error_stage"]) == ("error", "TimeoutError", "generation")
    assert query["error_message"] == "the model did not answer within 30 seconds"
    assert query["model"] == library.MODEL
    assert query["documents"]
    assert not query["answer"]


@pytest.mark.parametrize("name", CAPTURES)
def test_the_captured_traces_are_what_the_programs_still_send(
    name: str, finished: Finishes, server: RunningServer
) -> None:
    program = next(one for one in PROGRAMS if one.name == name)
    captured: dict[str, list[Span]] = {}
    text = (ROOT / "tests" / "data" / "otel" / f"{CAPTURES[name]}.jsonl").read_bytes()
    for line in text.splitlines():
        span = msgspec.json.decode(line, type=Span)
        captured.setdefault(span.trace_id, []).append(span)
    traces = sorted(captured.values(), key=lambda spans: min(span.time for span in spans))[-ASKED:]
    for query, spans in zip(recorded(program, server), traces, strict=True):
        shapes = Counter((span.name, span.status, tuple(sorted(span.attributes))) for span in spans)
        sent = server.detail(query["trace_id"])["spans"]
        assert Counter((one["name"], one["status"], tuple(sorted(one["attributes"]))) for one in sent) == shapes


def test_no_span_is_refused_or_late_and_the_index_being_built_is_no_query(
    finished: Finishes, server: RunningServer
) -> None:
    for program in PROGRAMS:
        for query in recorded(program, server):
            assert not any(span["late"] for span in server.detail(query["trace_id"])["spans"])
    account = server.get("/api/v1/stats")
    assert account["rejected"] == account["duplicate"] == 0


def test_the_trace_id_that_a_program_prints_is_the_querys(finished: Finishes, server: RunningServer) -> None:
    program = next(one for one in PROGRAMS if one.name == "custom_pipeline_opentelemetry")
    printed = [found[1] for line in lines(program, finished) if (found := re.search(r"\(([0-9a-f]{32})\)$", line))]
    assert printed == [query["trace_id"] for query in recorded(program, server)][:FAILED]


def test_feedback_and_scores_find_their_query_by_the_trace_id(finished: Finishes, server: RunningServer) -> None:
    program = next(one for one in PROGRAMS if one.name == "plain_python")
    for number, query in enumerate(recorded(program, server)):
        found = server.detail(query["trace_id"])
        if number == FAILED:
            assert found["feedback"] == found["scores"] == []
            continue
        (feedback,), (score,) = found["feedback"], found["scores"]
        assert feedback["rating"] == (2 if query["status"] == "no_answer" else 5)
        assert feedback["user_id"] == query["user_id"]
        assert (score["name"], score["judge"]) == ("groundedness", "words")
        assert 0 <= score["value"] <= 1
    assert "rejected=0" in finished[program.name].stdout


def test_the_command_of_the_guides_shows_them_while_the_server_runs(finished: Finishes, server: RunningServer) -> None:
    for program in PROGRAMS:
        recorded(program, server)
    ask = [sys.executable, "-m", "barograph", "query", "queries", "--last", "1h", "--by", "pipeline", "--json"]
    asked = run([*ask, "--data-dir", str(server.directory)])
    assert asked.code == 0, asked.stderr
    shown = run([sys.executable, "-m", "barograph", "show", "queries", "--data-dir", str(server.directory)])
    assert shown.code == 0, shown.stderr
    for program in PROGRAMS:
        assert program.pipeline in asked.stdout
    assert "TimeoutError" in shown.stdout
