"""What a page says while there is nothing to show: how to record a first event, never zeros."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from barograph.core.unit import counted
from barograph.visualize.chart import Panel, Part, Text


class Example(NamedTuple):
    """The event that would fill the page: as a call, as a command, and what to show then."""

    call: str
    command: str
    page: str


FIRST: dict[str, Example] = {
    "queries": Example(
        'rag.record_query_execution({"query": "What is RAG?", "response_time": 1.2})',
        'barograph record "query=What is RAG?" response_time=1.2',
        "overview",
    ),
    "ratings or scores": Example(
        'rag.record_feedback({"trace_id": "t1", "user_id": "u1", "rating": 4})',
        "barograph record --kind feedback trace_id=t1 user_id=u1 rating=4",
        "quality",
    ),
    "queries with documents": Example(
        'rag.record_query_execution({"query": "?", "documents": [{"id": "d1"}]})',
        """echo '{"query": "?", "documents": [{"id": "d1"}]}' | barograph record""",
        "retrieval",
    ),
}


def welcome(account: Mapping[str, int], what: str = "queries") -> list[Part]:
    """The first steps, in Python and on the command line, and a way to see what it will look like."""
    first = FIRST[what]
    rejected = account.get("rejected", 0)
    parts: list[Part] = []
    if rejected:
        parts.append(
            Text(
                text=f"{counted(rejected, 'event was', 'events were')} rejected: field and reason stand "
                "beside the originals in rejected/ of the data directory.",
                tone="warning",
            )
        )
    missing = "No query has" if what == "queries" else f"No {what} have"
    python = ("import barograph", 'rag = barograph.DashboardInterface("./rag-data")', first.call)
    commands = ("export BAROGRAPH_DATA_DIR=./rag-data", first.command, f"barograph show {first.page}")
    return [
        *parts,
        Text(text=f"{missing} been recorded yet. Nothing is shown as zero; the first event fills this page:"),
        Panel(title="In Python", parts=[Text(text=line) for line in python]),
        Panel(title="On the command line", parts=[Text(text=line) for line in commands]),
        Text(
            text="To look around first: `barograph demo` plays a replay of real data into a directory of its own.",
            tone="muted",
        ),
    ]
