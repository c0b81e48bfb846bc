"""A value reads the same everywhere, in characters that the place can show."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from barograph.core.unit import counted, format_value

UNITS = ("s", "USD", "ratio", "1", "tokens", "rating", "score", "%", "B", "1/min")


@pytest.mark.parametrize(
    ("value", "unit", "text"),
    [
        (7.2, "s", "7.2 s"),
        (5, "s", "5 s"),
        (0.85, "s", "850 ms"),
        (0.9999, "s", "1 s"),
        (0.00012, "s", "120 us"),
        (60, "s", "1 min"),
        (105.4, "s", "1 min 45 s"),
        (125, "s", "2 min 5 s"),
        (7300, "s", "2 h 2 min"),
        (0.004, "ratio", "0.4 %"),
        (1, "ratio", "100 %"),
        (85.5, "%", "85.5 %"),
        (15.32, "USD", "$15.32"),
        (0.0012, "USD", "$0.0012"),
        (0, "USD", "$0.00"),
        (1234567.5, "USD", "$1.23 M"),
        (-3, "USD", "-$3.00"),
        (4.2, "rating", "4.2/5.0"),
        (0.85, "score", "0.85"),
        (0.001, "score", "0.001"),
        (318, "1", "318"),
        (19366, "tokens", "19.4 k tokens"),
        (1.5e9, "B", "1.5 GB"),
        (3.25, "1/min", "3.25/min"),
        (math.inf, "s", "inf"),
        (None, "s", "no data"),
        (math.nan, "USD", "no data"),
    ],
)
def test_a_value_is_shown_with_its_unit(value: float | None, unit: str, text: str) -> None:
    assert format_value(value, unit, ascii_only=True) == text


def test_outside_ascii_the_minus_is_a_minus_and_the_percent_sign_keeps_its_distance() -> None:
    assert format_value(-0.05, "ratio") == "\u22125\u202f%"


def test_precise_tells_apart_what_would_read_the_same() -> None:
    assert format_value(5.004, "s") == format_value(5, "s")
    assert format_value(5.004, "s", precise=True) == "5.004 s"


def test_a_unit_from_outside_cannot_carry_an_escape_to_the_terminal() -> None:
    assert "\x1b" not in format_value(3, "\x1b[2J" + "x" * 500)
    assert len(format_value(3, "x" * 500)) < 30


@given(st.floats(), st.sampled_from(UNITS), st.booleans())
def test_every_number_in_every_unit_is_short_and_can_be_encoded_as_ascii(
    value: float, unit: str, precise: bool
) -> None:
    text = format_value(value, unit, precise=precise, ascii_only=True)
    text.encode("ascii")
    assert 0 < len(text) <= 32


@given(st.floats(min_value=1e-4, max_value=1e9), st.sampled_from(("s", "ratio", "USD", "1")))
def test_the_sign_is_never_lost(value: float, unit: str) -> None:
    assert format_value(-value, unit, ascii_only=True) == "-" + format_value(value, unit, ascii_only=True)


@pytest.mark.parametrize(
    ("number", "text"), [(0, "0 queries"), (1, "1 query"), (2, "2 queries"), (1234, "1,234 queries")]
)
def test_one_is_not_many(number: int, text: str) -> None:
    assert counted(number, "query", "queries") == text
    assert counted(number, "event") == text.replace("queries", "events").replace("query", "event")
