"""Text from data cannot harm a terminal, a layout or a spreadsheet."""

from __future__ import annotations

import csv
import io
import json
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st
from wcwidth import wcswidth

from barograph.visualize.chart import Column, Table
from barograph.visualize.exports import to_csv, to_json
from barograph.visualize.hostile import clean, csv_cell, display_width, pad, wrap


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("a\nb\r\n\tc", "a b c"), ("\x1b[31mred", "␛[31mred"), ("\x07\x7f", "␇␡"), ("\x9b2J", "\ufffd2J"),
        ("\u202eabc\u2066", "\ufffdabc\ufffd"), ("👩\u200d🔬", "👩🔬"), ("👍🏽", "👍"), ("🇩🇪", "DE"),
        ("a\u200bb\ufeff", "ab"),
        ("\u0301x", "x"), ("e" + "\u0301" * 9, "e\u0301\u0301"), ("\ud800", "\ufffd"), ("日本語", "日本語"),
    ],
)  # fmt: skip
def test_what_could_harm_is_made_visible_or_removed(text: str, shown: str) -> None:
    assert clean(text) == shown


@pytest.mark.parametrize(
    ("text", "shown"),
    [("Größe – 5 €", "Grosse - 5 EUR"), ("日本", "??"), ("“a”…", '"a"...'), ("½", "1/2"), ("\x1b[0m", "?[0m")],
)
def test_ascii_keeps_what_can_be_said_in_ascii(text: str, shown: str) -> None:
    assert clean(text, ascii_only=True) == shown


@given(st.text(), st.integers(0, 60), st.booleans())
def test_a_cleaned_text_fits_and_is_measured_as_a_terminal_does(text: str, width: int, ascii_only: bool) -> None:
    shown = clean(text, width, ascii_only=ascii_only)
    assert wcswidth(shown) <= display_width(shown) <= width
    if not any(unicodedata.category(c) == "Mc" for c in shown):  # vowel signs, about which terminals disagree
        assert wcswidth(shown) == display_width(shown)
        assert wcswidth(pad(shown, width)) == width
    assert all(unicodedata.category(c) not in ("Cc", "Cf", "Cs", "Zl", "Zp") for c in shown)
    assert shown.isascii() or not ascii_only


@given(st.text(), st.integers(2, 40))
def test_wrapped_lines_fit_and_lose_no_word(text: str, width: int) -> None:
    shown = clean(text)
    lines = wrap(shown, width)
    assert all(wcswidth(line) <= width for line in lines)
    assert "".join(lines).replace(" ", "") == shown.replace(" ", "")


def test_a_cut_text_says_so_and_keeps_wide_characters_whole() -> None:
    assert clean("日本語テキスト", 8) == "日本語…"
    assert clean("a long text", 8) == "a long…"
    assert clean("a long text", 8, ascii_only=True) == "a lon..."


@pytest.mark.parametrize("text", ["=1+1", "+1+1", "-cmd", "@SUM(A1)", "\tx", "\n=1", "  =1+1", "＝1", "-1|calc"])
def test_a_spreadsheet_runs_no_cell(text: str) -> None:
    assert csv_cell(text) == "'" + text


def test_a_carriage_return_cannot_end_a_row_of_csv() -> None:
    assert csv_cell("\r=1+1") == "'\n=1+1"
    assert csv_cell("a\r\nb") == "a\nb"


def test_no_character_of_json_or_csv_steers_a_terminal_and_json_keeps_the_value() -> None:
    text = "a\x9b2J\u202eb\U000e0041c\x7fd\x1be\u200df"
    table = Table(title=text, columns=[Column(title="c")], rows=[[text]])
    assert json.loads(to_json(table))["title"] == text
    assert to_json(table).isascii()
    assert to_csv(table) == "c\na\ufffd2J\ufffdb\ufffdc\ufffdd\ufffde\u200df\n"


@pytest.mark.parametrize("cell", [-5, 1.5, None, "-5", "+1.5e3", "-0.25", "text", ""])
def test_numbers_stay_numbers_in_csv(cell: object) -> None:
    assert csv_cell(cell) == cell


@given(st.lists(st.one_of(st.text(), st.floats(allow_nan=False, allow_infinity=False), st.integers()), min_size=1))
def test_a_csv_reader_gets_back_what_was_written(cells: list[str | float | int]) -> None:
    table = Table(title="t", columns=[Column(title=f"c{index}") for index in range(len(cells))], rows=[cells])
    text = to_csv(table)
    text.encode("utf-8")
    _, row = csv.reader(io.StringIO(text, newline=""))
    for cell, read in zip(cells, row, strict=True):
        if isinstance(cell, str):
            assert read == csv_cell(cell)
        else:
            assert type(cell)(read) == cell
