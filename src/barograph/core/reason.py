"""What msgspec says of a value that it would not take, in words that need no knowledge of Python.

``collect/explain`` says so of events, ``mistakes`` of settings.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping

from msgspec import Struct

from barograph_client.errors import shorten

WORDS: Mapping[str, str] = {
    "str": "text",
    "int": "a whole number",
    "float": "a number",
    "bool": "true or false",
    "array": "a list",
    "object": "a mapping",
    "datetime": "a time",
    "date": "a date",
    "null": "nothing",
}
_BOUND = re.compile(r"Expected `(int|float)` (>=|<=|>|<) (\S+)")
_LENGTH = re.compile(r"Expected `(str|array|object)` of length (>=|<=) (\d+)")
_PATTERN = re.compile(r"Expected `str` matching regex '(.*)'")
_WRONG = re.compile(r"Expected `([^`]+)`, got `([^`]+)`")
_COMPARE = {">=": "at least", "<=": "at most", ">": "above", "<": "below"}
_UNITS = {"str": "characters", "array": "items", "object": "entries"}


class Reason(Struct, frozen=True):
    """``says`` follows the name of what is wrong. ``expected`` and ``got`` are types, as keys of ``WORDS``, where a
    type is wrong; ``too_long`` is whether there is too much of it."""

    says: str
    expected: str = ""
    got: str = ""
    too_long: bool = False


def reason(message: str, value: object, words: Mapping[str, str] = WORDS) -> Reason:
    """The reason for msgspec's message, which has no place at its end any more, about that value."""
    if isinstance(value, float) and not math.isfinite(value):
        return Reason("must be a finite number")
    if bound := _BOUND.search(message):
        return Reason(f"must be {_COMPARE[bound[2]]} {_number(bound[3])}")
    if length := _LENGTH.search(message):
        unit, limit = _UNITS[length[1]], int(length[3])
        if length[2] == "<=":
            return Reason(f"has more than {limit:,} {unit}", too_long=True)
        return Reason("must not be empty" if limit == 1 else f"has fewer than {limit:,} {unit}")
    if pattern := _PATTERN.search(message):
        return Reason(f"must match the regular expression {pattern[1]}")
    if wrong := _WRONG.search(message):
        expected, got = wrong[1].split(" | ")[0], wrong[2]
        return Reason(f"must be {words.get(expected, expected)}, not {words.get(got, got)}", expected, got)
    if message.startswith("Invalid enum value"):
        return Reason("is not one of the values it may have")
    return Reason(shorten(message[:1].lower() + message[1:], 200))


def _number(text: str) -> str:
    try:
        return f"{float(text):,.6g}" if abs(float(text)) >= 1e15 else f"{float(text):,g}"
    except ValueError:
        return text
