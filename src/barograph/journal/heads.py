"""What a line tells of itself: its id, when it arrived, whose it is, and whether it is whole.

A line without a project belongs to ``default``, and most lines have none, so what costs is to see that: one search
over the bytes. Used by ``recovery`` (what is a whole line), ``duplicates`` (an id is known by project), ``archive`` and
``accounts`` (how many lines of a file belong to which project).
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable
from datetime import datetime

import msgspec

from barograph.journal.entry import DEFAULT_PROJECT
from barograph.journal.segment import Lines
from barograph_client.clock import as_utc

MARK = b'"project"'  # a line that names a project has it; inside a text the quotes are escaped

# The beginning of our own lines: project follows time. A line that was edited by hand is parsed.
_head = re.compile(rb'\{"kind":"[a-z0-9_]*","event_id":"[^"\\]*","time":"[^"\\]*","project":"([^"\\]*)"').match


class LineHead(msgspec.Struct, frozen=True):
    """What makes a line an event line: without the first two it is damaged."""

    event_id: str
    received_at: datetime
    project: str = DEFAULT_PROJECT


class _Record(msgspec.Struct, frozen=True):
    project: str = DEFAULT_PROJECT


_record = msgspec.json.Decoder(_Record)
_event_line = msgspec.json.Decoder(LineHead)
_record_line = msgspec.json.Decoder(dict[str, msgspec.Raw])


def event_head(line: bytes) -> LineHead | None:
    """The id, the arrival and the project of a whole event line; None if it is damaged."""
    try:
        head = _event_line.decode(line.decode("utf-8"))
        return LineHead(head.event_id, as_utc(head.received_at), head.project)
    except (msgspec.DecodeError, ValueError, OverflowError, RecursionError):
        return _lenient_head(line)


def _lenient_head(line: bytes) -> LineHead | None:
    """The same by the standard library, which takes more (such as lone surrogates): no whole line may be cut off."""
    try:
        record = json.loads(line)
        event_id, arrival = record["event_id"], datetime.fromisoformat(record["received_at"])
        project = record.get("project")
        if not isinstance(event_id, str):
            return None
        return LineHead(event_id, as_utc(arrival), project if isinstance(project, str) else DEFAULT_PROJECT)
    except (ValueError, KeyError, TypeError, OverflowError, RecursionError):
        return None


def is_event(line: bytes) -> bool:
    """Whether the line is a whole event line."""
    return event_head(line) is not None


def is_record(line: bytes) -> bool:
    """Whether the line is a JSON object, as those of ``rejected/`` are."""
    try:
        return _record_line.decode(line.decode("utf-8")) is not None
    except (msgspec.DecodeError, ValueError, RecursionError):
        return False


def project_of_event(line: bytes) -> str:
    """The project of an event line; a damaged one counts for ``default``."""
    if MARK not in line:
        return DEFAULT_PROJECT
    match = _head(line)
    if match is not None:
        return match[1].decode("utf-8", "replace")
    head = event_head(line)
    return head.project if head is not None else DEFAULT_PROJECT


def project_of_record(line: bytes) -> str:
    """The project of a line of ``rejected/``."""
    try:
        return _record.decode(line).project
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return DEFAULT_PROJECT


def count_projects(parts: Iterable[bytes], project_of: Callable[[bytes], str]) -> Lines:
    """The lines of a file, read in parts, by project, but for those of the default one."""
    found: Lines = {}
    rest = b""
    for part in parts:
        data = rest + part
        whole = data.rfind(b"\n") + 1
        at = data.find(MARK, 0, whole)
        while at >= 0:
            end = data.index(b"\n", at)
            project = project_of(data[data.rfind(b"\n", 0, at) + 1 : end])
            if project != DEFAULT_PROJECT:
                found[project] = found.get(project, 0) + 1
            at = data.find(MARK, end, whole)
        rest = data[whole:]
    return found
