"""Segments: the names and paths of the journal's files, and what is known of each while the journal is open.

A ``Segment`` is what readers see, a ``Snapshot`` all of them at one moment; a ``LogFile`` is the mutable record
behind one file that only grows. Read by ``catalogue``, ``writer``, ``archive`` and the store's loader.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from datetime import date, datetime
from pathlib import Path

from msgspec import Struct

from barograph.journal.disk import read_range

KIND = re.compile(r"[a-z][a-z0-9_]{0,63}")
_FILE = re.compile(r"(\d{6,})(-internal)?\.jsonl")
_DAY = re.compile(r"\d{4}-\d\d-\d\d")
_CHUNK = 1 << 22

Lines = dict[str, int]  # lines by project, but for those of the default project, which are the rest


class Segment(Struct, frozen=True, kw_only=True):
    """One file of event lines, as it stood at a moment; ``size`` counts its durable, uncompressed bytes."""

    kind: str
    day: date
    number: int
    internal: bool
    size: int
    archived: bool = False

    @property
    def name(self) -> str:
        """``query/2026-11-24/000001``: unique in a journal and the same for ever, compressed or not."""
        return f"{self.kind}/{self.day}/{file_stem(self.number, self.internal)}"


class Snapshot(Struct, frozen=True, kw_only=True):
    """The durable journal at one moment.

    Every event with ``received_at`` up to ``complete_to`` lies in these bytes, and none that is written later
    has a ``received_at`` as early. Segments of one kind and origin stand in the order they were written.
    """

    segments: tuple[Segment, ...]
    complete_to: datetime


@dataclass(slots=True, eq=False)
class LogFile:
    """A file of lines that only grows. ``size`` and ``added`` change under the journal's lock alone.

    Lines that stood in it when it was first seen are counted when somebody asks, later ones as they come.
    """

    path: Path
    day: date
    size: int = 0  # durable bytes
    first_size: int = 0  # durable bytes when this process first saw it
    first_lines: int | None = None  # lines in those; None until counted
    added: int = 0  # durable lines since
    first_of: Lines | None = None  # whose the first lines are; None until counted
    added_of: Lines = field(default_factory=dict)  # whose those since are
    sealed: bool = False  # takes no more lines

    def count_first(self) -> int:
        """The lines that stood in it when it was first seen; reads the file once."""
        if self.first_lines is None:
            ends = range(_CHUNK, self.first_size + _CHUNK, _CHUNK)
            chunks = (read_range(self.path, end - _CHUNK, min(end, self.first_size)) for end in ends)
            try:
                self.first_lines = sum(chunk.count(b"\n") for chunk in chunks)
            except FileNotFoundError:
                if self.first_lines is None:  # else it was archived meanwhile, which counted it
                    raise
        return self.first_lines


class Packed(Struct, frozen=True, kw_only=True):
    """An archived segment as ``index.json`` tells of it.

    ``bytes`` and ``sha256`` are those of the plain lines. ``frames`` are the lengths of the zstd frames, each of
    which holds ``frame_bytes`` of the plain file (the last one fewer), so that a range is read without the rest.
    """

    segment: str  # 000001 or 000001-internal
    lines: int
    bytes: int
    sha256: str
    frame_bytes: int
    frames: tuple[int, ...]
    projects: Lines | None = None  # lines by project but for the default; None in an index that does not tell


@dataclass(slots=True, eq=False, kw_only=True)
class SegmentFile(LogFile):
    """A segment's file: plain at ``path``, or compressed in the archive once ``packed`` is there."""

    kind: str
    number: int
    internal: bool
    packed: Packed | None = None
    view: Segment | None = field(default=None, repr=False)

    def segment(self) -> Segment:
        """What readers see of it now."""
        archived = self.packed is not None
        if self.view is None or self.view.size != self.size or self.view.archived != archived:
            self.view = Segment(
                kind=self.kind,
                day=self.day,
                number=self.number,
                internal=self.internal,
                size=self.size,
                archived=archived,
            )
        return self.view


def file_stem(number: int, internal: bool) -> str:
    """``000001`` or ``000001-internal``."""
    return f"{number:06d}-internal" if internal else f"{number:06d}"


def parse_file_name(name: str) -> tuple[int, bool] | None:
    """Number and origin from ``000001-internal.jsonl``; None for a file that is not a segment."""
    match = _FILE.fullmatch(name)
    return (int(match[1]), match[2] is not None) if match else None


def parse_day(name: str) -> date | None:
    """The day from a folder's name; None for a folder that is not a day."""
    try:
        return date.fromisoformat(name) if _DAY.fullmatch(name) else None
    except ValueError:
        return None
