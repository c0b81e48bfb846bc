"""results.md: a section for the default run and one for the large run, and in each a table a question.

``write`` replaces only what was measured anew: the other section stays, and within a section the questions that did not
run stay with their own date. Figures of another machine do not stay: a section is of one machine.
"""

from __future__ import annotations

import os
import platform
import re
import sys
from collections.abc import Sequence
from datetime import datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import psutil
from msgspec import Struct

from bench.figure import Figure, readable

INTRODUCTION = """\
# What was measured

Written by `make bench`; [README.md](README.md) says what runs and how. A figure is the median of its rounds, the spread
is the least and the greatest round. Goals are those of the design; a figure without one is there to be compared with.
"""
SECTIONS = ("Default run", "Large run")
HEADER = ("Figure", "Median", "Spread", "Rounds", "Goal", "Met")
_LIBRARIES = ("barograph", "chdb-core", "clickhouse-connect", "msgspec", "numpy", "sqlalchemy", "zstandard")


class Block(Struct, frozen=True, kw_only=True):
    """The answer to one question: its figures, or why there are none."""

    title: str
    about: str
    at: datetime
    seconds: float
    load: float
    figures: tuple[Figure, ...]
    failure: str = ""

    def text(self) -> str:
        """The question's part of the section, in Markdown."""
        when = f"{self.at:%Y-%m-%d %H:%M} UTC, {self.seconds:.0f} s; load average before: {self.load:.1f}."
        if self.failure:
            return f"### {self.title}\n\n{self.about} Measured {when}\n\nIt could not be measured: {self.failure}\n"
        return f"### {self.title}\n\n{self.about} Measured {when}\n\n{table(self.figures)}"


def table(figures: Sequence[Figure]) -> str:
    """The figures as a Markdown table with aligned columns."""
    rows = [HEADER, *(_row(figure) for figure in figures)]
    widths = [max(len(row[place]) for row in rows) for place in range(len(HEADER))]
    numbers = (1, 2, 3)
    lines = [
        "| "
        + " | ".join(
            cell.rjust(width) if place in numbers else cell.ljust(width)
            for place, (cell, width) in enumerate(zip(row, widths, strict=True))
        )
        + " |"
        for row in rows
    ]
    rule = [("-" * (width - 1) + ":") if place in numbers else "-" * width for place, width in enumerate(widths)]
    return "\n".join([lines[0], "| " + " | ".join(rule) + " |", *lines[1:]]) + "\n"


def _row(figure: Figure) -> tuple[str, ...]:
    unit = f" {figure.unit}" if figure.unit else ""
    spread = f"{readable(min(figure.samples))} – {readable(max(figure.samples))}" if len(figure.samples) > 1 else ""
    goal = ""
    if figure.at_most is not None:
        goal = f"≤ {figure.at_most:,g}{unit}"
    elif figure.at_least is not None:
        goal = f"≥ {figure.at_least:,g}{unit}"
    met = {True: "yes", False: "**no**", None: ""}[figure.met]
    cells = (figure.name, readable(figure.median) + unit, spread, str(len(figure.samples)), goal, met)
    return tuple(cell.replace("|", "/") for cell in cells)


def machine() -> str:
    """What the figures depend on, in one paragraph: cores, memory, system, Python, libraries."""
    memory = psutil.virtual_memory().total / 2**30
    libraries = ", ".join(f"{name} {_version(name)}" for name in _LIBRARIES)
    return (
        f"{os.cpu_count()} cores ({_processor()}), {memory:.0f} GiB memory, {platform.system()} {platform.machine()}; "
        f"Python {platform.python_version()}; {libraries}.\n"
    )


def _processor() -> str:
    try:
        found = re.search(r"^model name\s*:\s*(.+)$", Path("/proc/cpuinfo").read_text(encoding="utf-8"), re.MULTILINE)
    except OSError:
        found = None
    return found[1] if found else platform.processor() or "unknown"


def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return "absent"


def write(path: Path, section: str, blocks: Sequence[Block], order: Sequence[str]) -> None:
    """Put the blocks into the section of that name; ``order`` is that of the titles."""
    sections = _read(path)
    facts = machine()
    kept_facts, kept = sections.get(section, (facts, {}))
    if kept_facts != facts and kept:
        print(f"{path.name}: the figures of another machine or other versions are left out", file=sys.stderr)
        kept = {}
    kept = {**kept, **{block.title: block.text() for block in blocks}}
    sections[section] = facts, {title: kept[title] for title in order if title in kept}
    parts = [INTRODUCTION]
    for name in SECTIONS:
        if name in sections:
            facts, texts = sections[name]
            parts += [f"## {name}\n", facts, *texts.values()]
    temporary = path.with_suffix(".tmp")
    temporary.write_text("\n".join(parts), encoding="utf-8")
    temporary.replace(path)


def _read(path: Path) -> dict[str, tuple[str, dict[str, str]]]:
    """The sections of a results file: the machine's facts, and each question's text by its title."""
    text = path.read_text(encoding="utf-8") if path.exists() else ""
    found = {}
    for part in re.split(r"^## ", text, flags=re.MULTILINE)[1:]:
        name, _, rest = part.partition("\n")
        facts, *questions = re.split(r"^### ", rest, flags=re.MULTILINE)
        texts = {question.partition("\n")[0]: f"### {question.strip()}\n" for question in questions}
        found[name] = facts.strip() + "\n", texts
    return found
