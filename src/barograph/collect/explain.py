"""Why msgspec would not take an event, as field, reason and value in words for whoever sent it.

``validate`` comes here after a conversion or an encoding has failed; nothing here is on the fast path.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping

import msgspec

from barograph.core.event import Label, Name
from barograph_client.errors import InvalidEvent, shorten

_TYPES = {
    "str": "text",
    "int": "a whole number",
    "float": "a number",
    "bool": "true or false",
    "array": "a list",
    "object": "a mapping",
    "datetime": "a time",
    "null": "nothing",
}
_AT = re.compile(r" - at (`key` in )?`\$\.?([^`]*)`$")
_STEP = re.compile(r"([^.\[\]]+)|\[(\d+)\]")
_BOUND = re.compile(r"Expected `(int|float)` (>=|<=|>|<) (\S+)")
_LENGTH = re.compile(r"Expected `(str|array|object)` of length (>=|<=) (\d+)")
_WRONG = re.compile(r"Expected `([^`]+)`, got `([^`]+)`")
_MISSING = re.compile(r"Object missing required field `([^`]+)`")
_COMPARE = {">=": "at least", "<=": "at most", ">": "above", "<": "below"}
_UNITS = {"str": "characters", "array": "items", "object": "entries"}


def explain(error: Exception, fields: Mapping[str, object]) -> InvalidEvent:
    """The InvalidEvent that says what ``error``, raised when ``fields`` were converted, was about."""
    message = str(error)
    path, of_key = "", False
    if place := _AT.search(message):
        message, of_key, path = message[: place.start()], bool(place[1]), place[2]
    if missing := _MISSING.search(message):
        name = f"{path}.{missing[1]}" if path else missing[1]
        return InvalidEvent(name, "is required", hint="See docs/events.md for the fields of each kind")
    if of_key or path.endswith("[...]"):
        return _in_mapping(path.removesuffix("[...]"), fields)
    value = find(fields, path)
    if path == "kind":
        return InvalidEvent(path, "is another kind than the one that is recorded", value=value)
    reason, hint = _reason(message, value)
    return InvalidEvent(path, reason, hint=hint, value=value)


def find(fields: object, path: str) -> object:
    """The value at a path such as ``documents[3].score``; None where there is none."""
    value = fields
    for name, index in _STEP.findall(path):
        if index and isinstance(value, list | tuple) and int(index) < len(value):
            value = value[int(index)]
        elif name and isinstance(value, Mapping):
            value = value.get(name)
        else:
            return None
    return value


def _reason(message: str, value: object) -> tuple[str, str]:
    if isinstance(value, float) and not math.isfinite(value):
        return "must be a finite number", "Leave it out when it is unknown"
    if bound := _BOUND.search(message):
        return f"must be {_COMPARE[bound[2]]} {_number(bound[3])}", ""
    if length := _LENGTH.search(message):
        unit, limit = _UNITS[length[1]], int(length[3])
        if length[2] == "<=":
            return f"has more than {limit:,} {unit}", "Shorten it, or leave it out"
        return "must not be empty" if limit == 1 else f"has fewer than {limit:,} {unit}", ""
    if wrong := _WRONG.search(message):
        expected, got = wrong[1].split(" | ")[0], wrong[2]
        hint = ""
        if got == "str" and expected in ("int", "float"):
            hint = "Send the number itself, not its digits as text"
        elif expected == "str" and got in ("int", "float", "bool"):
            hint = "Send it as text"
        elif expected == "int" and got == "float":
            hint = "Send it without a fraction"
        return f"must be {_TYPES.get(expected, expected)}, not {_TYPES.get(got, got)}", hint
    if message.startswith("Invalid enum value"):
        return "is not one of the values it may have", "See docs/events.md for the values"
    return shorten(message[:1].lower() + message[1:], 200), ""


def _number(text: str) -> str:
    try:
        return f"{float(text):,.6g}" if abs(float(text)) >= 1e15 else f"{float(text):,g}"
    except ValueError:
        return text


def _in_mapping(path: str, fields: Mapping[str, object]) -> InvalidEvent:
    """Which entry of a mapping of texts is at fault."""
    for key, value in entries.items() if isinstance(entries := find(fields, path), Mapping) else ():
        try:
            msgspec.convert(key, Name)
        except msgspec.ValidationError as error:
            reason, hint = _reason(str(error), key)
            return InvalidEvent(path, f"has a name that {reason}", hint=hint, value=key)
        try:
            msgspec.convert(value, Label)
        except msgspec.ValidationError as error:
            reason, hint = _reason(str(error), value)
            return InvalidEvent(f"{path}.{key}", reason, hint=hint, value=value)
    return InvalidEvent(path, "must be a mapping of names to texts", value=find(fields, path))
