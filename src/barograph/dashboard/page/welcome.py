"""What a page says while there is nothing to show: how to record a first event, never zeros."""

from __future__ import annotations

from barograph.dashboard.material import Material
from barograph.visualize.chart import Panel, Part, Text

PYTHON = (
    "import barograph",
    'dashboard = barograph.DashboardInterface("./rag-data")',
    'dashboard.record_query_execution({"query": "What is RAG?", "response_time": 1.2})',
)
COMMANDS = (
    "export BAROGRAPH_DATA_DIR=./rag-data",
    """echo '{"query": "What is RAG?", "response_time": 1.2}' | barograph record""",
    "barograph show overview",
)


def welcome(material: Material, what: str = "queries") -> list[Part]:
    """The first steps, in Python and on the command line, and a way to see what it will look like."""
    rejected = material.account.get("rejected", 0)
    parts: list[Part] = []
    if rejected:
        parts.append(
            Text(
                text=f"{rejected:,} {'event was' if rejected == 1 else 'events were'} rejected: field and reason stand "
                "beside the originals in rejected/ of the data directory.",
                tone="warning",
            )
        )
    missing = "No query has" if what == "queries" else f"No {what} have"
    parts += [
        Text(text=f"{missing} been recorded yet. The first fills this page; until then nothing is shown as zero."),
        Panel(title="In Python", parts=[Text(text=line) for line in PYTHON]),
        Panel(title="On the command line", parts=[Text(text=line) for line in COMMANDS]),
        Text(text="To look around first: `barograph demo` plays a replay of real data into a directory of its own.",
             tone="muted"),
    ]  # fmt: skip
    return parts
