"""The page of the statistics names what is there."""

from __future__ import annotations

import importlib
import re
from pathlib import Path
from types import ModuleType

PAGE = Path(__file__).parents[2] / "docs" / "statistics.md"
TAKEN = re.compile(r"^\| (?!Question)[^|]*\|([^|]*)\|", re.MULTILINE)  # the second cell of a row
# a function, with its module where that is not the one before
NAME = re.compile(r"`((?:sequential\.)?\w+)(?:\.(\w+))?`")
ARGUMENTS = {"clusters", "clock"}


def test_every_function_that_the_page_names_is_there_and_explained() -> None:
    found = 0
    for cell in TAKEN.findall(PAGE.read_text(encoding="utf-8")):
        module: ModuleType | None = None
        for first, second in NAME.findall(cell):
            if second or module is None:
                module = importlib.import_module(f"barograph.stats.{first}")
            name = second or first
            if name not in ARGUMENTS and not module.__name__.endswith(f".{name}"):
                assert getattr(module, name).__doc__, name
                found += 1
    assert found > 25
