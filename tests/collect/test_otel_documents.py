"""Documents keep their id, rank and score, whatever the dialect lists them in."""

from __future__ import annotations

import json

import pytest
from otel_support import QUESTION, Trace, event, listed

from barograph.core.event import MAX_DOCUMENTS, Document


def retrieved(values: dict[str, object], **more: object) -> list[Document] | None:
    trace = Trace()
    root = trace.kind("CHAIN", values={"input.value": QUESTION})
    trace.kind("RETRIEVER", "shelves", values, inside=root, **more)
    return trace.query().documents


def places(documents: list[Document] | None) -> list[tuple[str, str, int | None, float | None]]:
    assert documents is not None
    return [(document.id, document.text, document.rank, document.score) for document in documents]


LOANS_AND_ROOMS = [("loans", "Twenty books.", 1, 0.75), ("rooms", "Two hours.", 2, 0.5)]
NODES = [
    {"node": {"id_": "loans", "text": "Twenty books.", "class_name": "TextNode"}, "score": 0.75},
    {"node": {"id_": "rooms", "text": "Two hours.", "class_name": "TextNode"}, "score": 0.5},
]
PASSAGES = [
    {"id": "loans", "page_content": "Twenty books.", "metadata": {"score": 0.75}, "type": "Document"},
    {"id": "rooms", "page_content": "Two hours.", "metadata": {"score": 0.5}, "type": "Document"},
]
SERIALIZED = [
    {"lc": 1, "type": "constructor", "id": ["langchain", "schema", "document", "Document"], "kwargs": passage}
    for passage in PASSAGES
]


@pytest.mark.parametrize(
    "values",
    [
        listed(
            "retrieval.documents",
            {"id": "loans", "content": "Twenty books.", "score": 0.75},
            {"id": "rooms", "content": "Two hours.", "score": 0.5},
        ),
        listed(
            "retrieval.documents",
            {"content": "Twenty books.", "metadata": json.dumps({"doc_id": "loans", "score": 0.75})},
            {"content": "Two hours.", "metadata": json.dumps({"doc_id": "rooms", "score": 0.5})},
        ),
        {
            **listed(
                "retrieval.documents",
                {"content": "Twenty books.", "metadata": json.dumps({"score": 0.75})},
                {"content": "Two hours.", "metadata": json.dumps({"score": 0.5})},
            ),
            "output.value": json.dumps({"documents": PASSAGES}),
        },
        {
            "gen_ai.retrieval.documents": [
                {"id": "loans", "content": "Twenty books.", "score": 0.75},
                {"id": "rooms", "content": "Two hours.", "score": 0.5},
            ]
        },
        {"output.value": json.dumps({"documents": PASSAGES})},
        {"output.value": json.dumps(SERIALIZED)},
        {"output.value": json.dumps(NODES)},
        {"traceloop.entity.output": json.dumps([json.dumps(node) for node in NODES])},
        {"traceloop.entity.output": json.dumps({"documents": PASSAGES, "count": 2})},
        {"documents": [{"id": "loans", "text": "Twenty books.", "score": 0.75}, {**NODES[1]}]},
        {
            "haystack.component.output": {
                "documents": [
                    {"id": "loans", "content": "Twenty books.", "score": 0.75, "meta": {}},
                    {"id": "rooms", "content": "Two hours.", "score": 0.5, "meta": {"file_path": ""}},
                ]
            }
        },
    ],
)
def test_documents_are_found_in_every_dialect(values: dict[str, object]) -> None:
    assert places(retrieved(values)) == LOANS_AND_ROOMS


@pytest.mark.parametrize("name", ["db.query.result", "db.search.result"])
def test_documents_are_found_in_the_events_of_a_vector_store(name: str) -> None:
    events = [
        event("db.query.embeddings", {"db.query.embeddings.vector": "[0.1]"}),
        event(name, {f"{name}.id": "loans", f"{name}.distance": 0.25, f"{name}.document": "Twenty books."}),
        event(name, {f"{name}.id": "rooms", f"{name}.score": 0.5, f"{name}.document": "Two hours."}),
    ]
    trace = Trace()
    root = trace.kind("CHAIN", values={"input.value": QUESTION})
    trace.span("chroma.query", {"db.system": "chroma", "db.operation": "query"}, inside=root, events=events)
    assert places(trace.query().documents) == LOANS_AND_ROOMS


def test_documents_are_found_in_events_written_by_hand() -> None:
    events = [
        event(
            "retrieved document", {"document.id": "loans", "document.content": "Twenty books.", "document.score": 0.75}
        ),
        event("retrieved document", {"id": "rooms", "content": "Two hours.", "score": 0.5}),
    ]
    assert places(retrieved({}, events=events)) == LOANS_AND_ROOMS


@pytest.mark.parametrize(
    "values",
    [
        {"output.value": "[]"},
        {"output.value": '{"documents": []}'},
        {"gen_ai.retrieval.documents": []},
        {"traceloop.entity.output": '{"documents": [], "count": 0}'},
        {"db.system": "qdrant", "db.response.returned_rows": 0},
    ],
)
def test_an_empty_retrieval_is_an_empty_list(values: dict[str, object]) -> None:
    assert retrieved(values) == []


@pytest.mark.parametrize("values", [{}, {"output.value": "__REDACTED__"}, {"output.value": "three passages"}])
def test_a_retrieval_that_does_not_tell_is_unknown(values: dict[str, object]) -> None:
    assert retrieved(values) is None


def test_a_document_says_where_it_comes_from() -> None:
    found = retrieved(
        listed(
            "retrieval.documents",
            {"id": "a", "metadata": json.dumps({"source": "leaflet.pdf", "page": 3})},
            {"id": "b", "metadata": json.dumps({"file_name": "rules.md"})},
            {"id": "c", "url": "https://library.example/c"},
            {"id": "d", "metadata": "no JSON"},
        )
    )
    assert found is not None
    assert [document.source for document in found] == ["leaflet.pdf", "rules.md", "https://library.example/c", ""]


def test_a_number_that_was_left_out_keeps_the_ranks_of_the_others() -> None:
    attributes = listed("retrieval.documents", {"id": "a"}, {}, {}, {"id": "d"})
    found = retrieved(attributes)
    assert found is not None
    assert [(document.id, document.rank) for document in found] == [("a", 1), ("d", 4)]


def test_there_are_never_more_documents_than_an_event_holds() -> None:
    many = [{"id": f"d{i}"} for i in range(MAX_DOCUMENTS + 50)]
    for values in (listed("retrieval.documents", *many), {"output.value": json.dumps(many)}):
        found = retrieved(values)
        assert found is not None
        assert len(found) == MAX_DOCUMENTS
        assert [document.rank for document in found[:3]] == [1, 2, 3]


def test_what_a_wrapper_and_the_search_inside_it_list_is_one_document() -> None:
    trace = Trace()
    root = trace.kind("CHAIN", values={"input.value": QUESTION})
    passages = listed("retrieval.documents", {"content": "Twenty books."}, {"content": "Two hours."})
    outer = trace.kind("RETRIEVER", "shelves", passages, inside=root)
    result = "db.query.result"
    events = [
        event(result, {f"{result}.id": "loans", f"{result}.score": 0.75, f"{result}.document": "Twenty books."}),
        event(result, {f"{result}.id": "rooms", f"{result}.score": 0.5, f"{result}.document": "Two hours."}),
    ]
    trace.span("qdrant.query", {"db.system": "qdrant"}, inside=outer, events=events)
    found = trace.query().documents
    assert places(found) == LOANS_AND_ROOMS
    assert {document.retriever for document in found or []} == {"shelves"}


def test_the_legs_of_a_hybrid_retrieval_stay_apart_and_their_fusion_is_the_order_after_reranking() -> None:
    trace = Trace()
    root = trace.kind("CHAIN", values={"input.value": QUESTION})
    fused = listed("retrieval.documents", {"id": "b", "score": 0.03}, {"id": "a", "score": 0.02})
    fusion = trace.kind("RETRIEVER", "fusion", fused, inside=root)
    dense = listed("retrieval.documents", {"id": "a", "score": 0.9}, {"id": "b", "score": 0.8})
    trace.kind("RETRIEVER", "dense", dense, inside=fusion, at=0.0, took=0.5)
    sparse = listed("retrieval.documents", {"id": "b", "score": 12.0}, {"id": "c", "score": 7.0})
    trace.kind("RETRIEVER", "sparse", sparse, inside=fusion, at=0.1, took=0.5)

    found = trace.query().documents

    assert found is not None
    assert [(d.retriever, d.id, d.rank, d.score, d.rerank_rank, d.rerank_score) for d in found] == [
        ("dense", "a", 1, 0.9, 2, 0.02),
        ("dense", "b", 2, 0.8, 1, 0.03),
        ("sparse", "b", 1, 12.0, 1, 0.03),
        ("sparse", "c", 2, 7.0, None, None),
    ]


def test_nodes_that_a_fusion_of_llama_index_only_prints_are_known_by_their_ids() -> None:
    trace = Trace()
    root = trace.kind("CHAIN", values={"input.value": QUESTION})
    printed = json.dumps(
        [f"<NodeWithScore(node=TextNode(id_={name}), score={score})>" for name, score in (("b", 0.03), ("a", 0.02))]
    )
    fusion = trace.kind("RETRIEVER", "fusion", {"output.value": printed}, inside=root)
    for at, name in ((0.0, "a"), (0.5, "b")):
        found = listed("retrieval.documents", {"id": name, "content": name, "score": 1.0})
        trace.kind("RETRIEVER", "shelves", found, inside=fusion, at=at, took=0.25)
    documents = trace.query().documents
    assert documents is not None
    assert [(d.id, d.rank, d.score, d.rerank_rank, d.rerank_score) for d in documents] == [
        ("a", 1, 1.0, 2, 0.02),
        ("b", 1, 1.0, 1, 0.03),
    ]


def test_objects_that_python_prints_are_no_documents() -> None:
    assert retrieved({"output.value": '["<Document object at 0x7f>"]'}) is None


def test_legs_side_by_side_are_listed_one_after_the_other() -> None:
    trace = Trace()
    root = trace.kind("CHAIN", values={"input.value": QUESTION})
    trace.kind("RETRIEVER", "sparse", listed("retrieval.documents", {"id": "b"}), inside=root, at=0.2)
    trace.kind("RETRIEVER", "dense", listed("retrieval.documents", {"id": "a"}, {"id": "b"}), inside=root, at=0.1)
    found = trace.query().documents
    assert found is not None
    assert [(d.retriever, d.id, d.rank) for d in found] == [("dense", "a", 1), ("dense", "b", 2), ("sparse", "b", 1)]


def test_an_agent_that_searches_twice_lists_what_the_second_search_adds() -> None:
    trace = Trace()
    agent = trace.kind("AGENT", values={"input.value": QUESTION})
    for at, ids in ((0.1, ("a", "b")), (0.5, ("b", "c"))):
        tool = trace.kind("TOOL", inside=agent, at=at, took=0.2)
        documents = listed("retrieval.documents", *({"id": name} for name in ids))
        trace.kind("RETRIEVER", "shelves", documents, inside=tool, at=at, took=0.2)
    found = trace.query().documents
    assert found is not None
    assert [(document.id, document.rank) for document in found] == [("a", 1), ("b", 2), ("c", 2)]


def test_a_reranker_says_where_its_documents_went() -> None:
    trace = Trace()
    root = trace.kind("CHAIN", values={"input.value": QUESTION})
    documents = ({"id": "a", "content": "A", "score": 0.9}, {"content": "B", "score": 0.8}, {"id": "c", "score": 0.7})
    trace.kind("RETRIEVER", "shelves", listed("retrieval.documents", *documents), inside=root)
    moved = listed("reranker.output_documents", {"id": "c", "score": 5.5}, {"id": "b", "content": "B", "score": 1.5})
    trace.kind("RERANKER", values=moved, inside=root, at=1.0)
    found = trace.query().documents
    assert found is not None
    assert [(d.id, d.rank, d.score, d.rerank_rank, d.rerank_score) for d in found] == [
        ("a", 1, 0.9, None, None),
        ("b", 2, 0.8, 2, 1.5),
        ("c", 3, 0.7, 1, 5.5),
    ]


def test_of_two_rerankers_the_last_one_decides() -> None:
    trace = Trace()
    root = trace.kind("CHAIN", values={"input.value": QUESTION})
    trace.kind("RETRIEVER", values=listed("retrieval.documents", {"id": "a"}, {"id": "b"}), inside=root)
    first = listed("reranker.output_documents", {"id": "a", "score": 1.0}, {"id": "b", "score": 0.5})
    trace.kind("RERANKER", values=first, inside=root, at=1.0)
    trace.kind("RERANKER", values=listed("reranker.output_documents", {"id": "b", "score": 2.0}), inside=root, at=2.0)
    found = trace.query().documents
    assert found is not None
    assert [(d.id, d.rerank_rank, d.rerank_score) for d in found] == [("a", None, None), ("b", 1, 2.0)]


def test_a_rerankers_input_stands_for_a_retriever_that_nobody_saw() -> None:
    trace = Trace()
    root = trace.kind("CHAIN", values={"input.value": QUESTION})
    values = {
        **listed("reranker.input_documents", {"id": "a", "score": 0.2}, {"id": "b", "score": 0.1}),
        **listed("reranker.output_documents", {"id": "b", "score": 3.0}),
    }
    trace.kind("RERANKER", values=values, inside=root)
    found = trace.query().documents
    assert found is not None
    assert [(d.id, d.rank, d.score, d.rerank_rank, d.rerank_score) for d in found] == [
        ("a", 1, 0.2, None, None),
        ("b", 2, 0.1, 1, 3.0),
    ]


def test_what_a_reranker_alone_lists_has_no_rank_before_it() -> None:
    trace = Trace()
    root = trace.kind("CHAIN", values={"input.value": QUESTION})
    trace.kind("RERANKER", values=listed("reranker.output_documents", {"id": "a", "score": 3.0}), inside=root)
    (document,) = trace.query().documents or ()
    assert (document.rank, document.score, document.rerank_rank, document.rerank_score) == (None, None, 1, 3.0)


def test_a_component_names_its_retriever() -> None:
    trace = Trace()
    root = trace.span("haystack.pipeline.run", {"haystack.pipeline.input_data": {"bm25": {"query": QUESTION}}})
    component = {"haystack.component.name": "bm25", "haystack.component.type": "InMemoryBM25Retriever"}
    output = {"haystack.component.output": {"documents": [{"id": "a", "content": "A", "score": 1.5}]}}
    trace.span("haystack.component.run", {**component, **output}, inside=root)
    made = trace.query()
    (document,) = made.documents or ()
    assert (made.query, document.retriever, document.id, document.score) == (QUESTION, "bm25", "a", 1.5)
