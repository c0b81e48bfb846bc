"""What the journal's tests share: events in short, and a reader that looks at the files as any user would."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, datetime

from barograph.journal.entry import Entry
from barograph.journal.journal import Journal

Open = Callable[..., Journal]
START = datetime(2026, 11, 24, 9, 0, tzinfo=UTC)


def entry(event_id: str, kind: str = "query", *, internal: bool = False, text: str = "") -> Entry:
    """An entry as the collector makes it."""
    body = json.dumps({"kind": kind, "event_id": event_id, "query": text}, separators=(",", ":"), ensure_ascii=False)
    return Entry(kind, event_id, body[:-1].encode(), internal)


def entries(first: int, count: int, **options: object) -> list[Entry]:
    """Some entries with ids that are UUIDs, numbered."""
    return [entry(uuid(n), **options) for n in range(first, first + count)]  # type: ignore[arg-type]


def uuid(number: int) -> str:
    """A UUID in its usual form."""
    digits = f"{number:032x}"
    return f"{digits[:8]}-{digits[8:12]}-{digits[12:16]}-{digits[16:20]}-{digits[20:]}"


def served(journal: Journal) -> list[dict[str, str]]:
    """All events that readers are given, in the order of the segments."""
    lines = []
    for segment in journal.snapshot().segments:
        data = journal.read(segment, 0, segment.size)
        assert data == b"" or data.endswith(b"\n")
        lines += [json.loads(line) for line in data.splitlines()]
    return lines


def served_ids(journal: Journal) -> list[str]:
    """Their ids."""
    return [line["event_id"] for line in served(journal)]


def crash(journal: Journal) -> None:
    """Leave the directory as SIGKILL leaves it: what was written stands there, nothing was closed."""
    journal._writer.close()
    journal._owner.release(clean=False)
