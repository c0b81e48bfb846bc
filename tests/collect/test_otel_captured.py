"""Traces of real programs, as their instrumentation sent them: question, answer, stages, documents, tokens, user."""

from __future__ import annotations

import random
from collections.abc import Sequence

import pytest
from otel_support import captured, query

from barograph.collect.otel import NotAQuery, query_of
from barograph.core.event import Query, Span

LOANS = "You may borrow twenty books at a time, each for four weeks."
RENEWAL = "A loan can be renewed twice online, unless somebody else has reserved the book."
SUNDAY = "On Sunday only the reading room is open, from 13 to 17, without the desk."
NOTHING = "I found nothing about that in the leaflet."
ASKED = [
    ("How many books may I borrow?", "ada", "ada-monday"),
    ("Can a loan be renewed online?", "ada", "ada-monday"),
    ("Is the reading room open on Sunday?", "grace", "grace-monday"),
    ("How heavy does a blue whale get?", "grace", "grace-monday"),
    ("Combien de livres puis-je emprunter ?", "simone", "simone-monday"),
    ("Where does the fax stand?", "edsger", "edsger-monday"),
]
ANSWERED = [LOANS, RENEWAL, SUNDAY, NOTHING, NOTHING, ""]
TIMEOUT = ("error", "TimeoutError", "generation", "the model did not answer within 30 seconds")
KNOWN_USERS = ["llama_index", "langchain", "openllmetry_langchain", "genai_semconv", "plain_opentelemetry"]
PROGRAMS = [*KNOWN_USERS, "openllmetry_llama_index"]


def traces(program: str) -> list[list[Span]]:
    """The traces of its six questions, in their order."""
    return [spans for spans in captured(program) if not isinstance(query_of(spans), NotAQuery)]


def queries(program: str) -> list[Query]:
    return [query(spans) for spans in traces(program)]


def found(made: Query) -> list[str]:
    """The documents' ids; by the first word of their text where the instrumentation leaves the ids out."""
    assert made.documents is not None
    return [document.id or document.text.split(".")[0].lower() for document in made.documents]


def _tells(span: Span) -> bool:
    return "barograph.status" in span.attributes


def took(spans: Sequence[Span], *names: str) -> float:
    """How long the first span of one of these names took."""
    durations = [span.duration for span in spans if span.name in names]
    assert durations[0] is not None
    return durations[0]


@pytest.mark.parametrize("program", PROGRAMS)
def test_each_question_is_one_query_and_the_index_that_is_built_is_none(program: str) -> None:
    others = [query_of(spans) for spans in captured(program)]
    reasons = [other.reason for other in others if isinstance(other, NotAQuery)]
    assert reasons == (["embedding only"] if "llama_index" in program else [])
    assert [made.query for made in queries(program)] == [question for question, _, _ in ASKED]


@pytest.mark.parametrize("program", KNOWN_USERS)
def test_user_and_session_are_known(program: str) -> None:
    assert [(made.query, made.user_id, made.session_id) for made in queries(program)] == ASKED


@pytest.mark.parametrize("program", ["langchain", "openllmetry_langchain", "genai_semconv", "plain_opentelemetry"])
def test_answers_are_what_the_model_said(program: str) -> None:
    spans = traces(program)
    made = [query(one) for one in spans]
    assert [one.answer for one in made] == ANSWERED
    statuses = ["ok"] * 5 + ["error"]
    for place, one in enumerate(spans):  # a program may say it itself
        statuses[place] = next((span.attributes["barograph.status"] for span in one if _tells(span)), statuses[place])
    assert [one.status for one in made] == statuses


def test_llama_index_gives_no_answer_when_nothing_was_retrieved() -> None:
    made = queries("llama_index")
    assert [one.answer for one in made] == [LOANS, RENEWAL, SUNDAY, "", "", ""]
    assert [one.status for one in made] == ["ok", "ok", "ok", "no_answer", "no_answer", "error"]


@pytest.mark.parametrize("program", KNOWN_USERS)
def test_a_timeout_of_the_model_is_an_error_of_the_generation(program: str) -> None:
    last = queries(program)[-1]
    assert (last.status, last.error_type, last.error_stage, last.error_message) == TIMEOUT
    assert last.generation_time is not None
    assert last.output_tokens is None


@pytest.mark.parametrize("program", PROGRAMS)
def test_documents_are_known_with_their_ranks_and_scores(program: str) -> None:
    made = queries(program)
    for one in made:
        assert one.documents is not None
        assert one.document_count == len(one.documents)
        assert [document.rank for document in one.documents] == list(range(1, len(one.documents) + 1))
        scores = [document.score for document in one.documents if document.score is not None]
        assert len(scores) == len(one.documents)
        assert scores == sorted(scores, reverse=True)
    assert [found(one)[0] for one in made[:3]] == ["loans", "renewal", "sunday"]
    assert found(made[4]) == []
    assert found(made[5])[0] == "printing"


@pytest.mark.parametrize("program", ["llama_index", "langchain", "openllmetry_langchain", "plain_opentelemetry"])
def test_passages_come_with_their_text(program: str) -> None:
    (document, *_) = queries(program)[0].documents or ()
    assert document.text == f"Loans. {LOANS}"


@pytest.mark.parametrize("program", KNOWN_USERS)
def test_model_and_tokens_are_known(program: str) -> None:
    made = queries(program)[:3]
    assert {one.model for one in made} == {"library-mock-1"}
    assert [one.output_tokens for one in made] == [12, 14, 15]  # the stand-in counts words
    assert all(one.input_tokens is not None and 20 < one.input_tokens < 100 for one in made)


def test_the_calls_of_llama_index_inside_each_other_count_once() -> None:
    spans = traces("llama_index")[0]
    made = query(spans)
    assert made.generation_time == pytest.approx(took(spans, "LibraryModel.predict"))
    assert made.embedding_time == pytest.approx(took(spans, "WordEmbedding.get_query_embedding"))
    retriever = took(spans, "VectorIndexRetriever.retrieve")
    assert made.retrieval_time == pytest.approx(retriever - (made.embedding_time or 0.0), abs=1e-6)
    assert made.response_time == took(spans, "RetrieverQueryEngine.query")


def test_a_stream_of_llama_index_is_timed_to_its_end() -> None:
    spans = traces("llama_index")[2]
    made = query(spans)
    opened = took(spans, "LibraryModel.stream")
    assert made.time_to_first_token is not None
    assert made.response_time is not None
    assert made.generation_time is not None
    assert opened < made.time_to_first_token < made.generation_time < made.response_time


def test_a_pipeline_of_ones_own_shows_every_stage() -> None:
    spans = traces("plain_opentelemetry")[0]
    made = query(spans)
    assert made.embedding_time == took(spans, "Embedder")
    assert made.retrieval_time == took(spans, "Retriever")
    assert made.rerank_time == took(spans, "Ranker")
    assert made.generation_time == took(spans, "Generator")
    assert made.documents is not None
    assert [document.rerank_rank for document in made.documents] == [1, 2, 3]
    assert (made.environment, made.tags["language"]) == ("production", "en")


def test_a_web_application_is_read_below_its_web_server() -> None:
    spans = traces("genai_semconv")[0]
    made = query(spans)
    assert (made.tags["operation"], made.tags["http.route"], made.environment) == ("POST /ask", "/ask", "staging")
    assert (made.provider, made.cached_tokens) == ("library", 5)
    assert made.response_time == took(spans, "POST /ask")
    assert made.generation_time == took(spans, "chat library-mock-1")


def test_what_was_never_sent_is_marked() -> None:
    made = queries("openllmetry_llama_index")  # this instrumentation loses the root of a stream, and of an error
    assert [one.tags.get("incomplete", "") for one in made] == ["", "", "no root span", "", "", "no root span"]
    assert [one.answer for one in made] == [LOANS, RENEWAL, "", "", "", ""]


@pytest.mark.parametrize("program", PROGRAMS)
def test_the_order_in_which_real_spans_come_makes_no_difference(program: str) -> None:
    chance = random.Random(7)
    for spans in traces(program):
        made = query(spans)
        for _ in range(3):
            shuffled = spans + chance.choices(spans, k=3)
            chance.shuffle(shuffled)
            assert query(shuffled) == made
