"""Pages as texts, and the check that no text of a user can act in any form of them."""

from __future__ import annotations

import csv
import json
import re

from wcwidth import wcswidth

from barograph.visualize.charset import CharsetName
from barograph.visualize.chart import Page
from barograph.visualize.visualizer import Visualizer

HOSTILE = '=HYPERLINK("http://x")\x1b[2J\x1b]0;title\x07\u202egnp\u0000\r\n| col |\u200b 用户 ' + "e\u0301" * 3
_ACTS = re.compile(r"[\x00-\x09\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")


def text_of(page: Page, charset: CharsetName = "unicode", width: int = 80, timezone: str = "UTC") -> str:
    return Visualizer(charset=charset, width=width, timezone=timezone).draw(page)


def plain(text: str) -> str:
    """With the narrow spaces and line ends that a reader does not see as single spaces."""
    return re.sub(r"\s+", " ", text)


def check_harmless(page: Page, charset: CharsetName, width: int) -> None:
    """Nothing in the page steers a terminal or a spreadsheet, and no line is wider than asked for."""
    text = text_of(page, charset, width)
    assert not _ACTS.search(text)
    assert max(wcswidth(line) for line in text.splitlines()) <= width
    if charset == "ascii":
        assert text.isascii()
    assert not _ACTS.search(json.dumps(json.loads(Visualizer().draw(page, "json")), ensure_ascii=True))
    cells = [cell for row in csv.reader(Visualizer().draw(page, "csv").splitlines()) for cell in row]
    assert not [cell for cell in cells if cell.startswith(("=", "@"))]
