"""Why msgspec would not take an event, as field, reason and value in words for whoever sent it.

``validate`` comes here after a conversion or an encoding has failed; nothing here is on the fast path.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping

import msgspec

from barograph.core.event import Label, Name
from barograph.core.reason import reason
from barograph_client.errors import InvalidEvent

_AT = re.compile(r" - at (`key` in )?`\$\.?([^`]*)`$")
_STEP = re.compile(r"([^.\[\]]+)|\[(\d+)\]")
_MISSING = re.compile(r"Object missing required field `([^`]+)`")


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
    says, hint = _reason(message, value)
    return InvalidEvent(path, says, hint=hint, value=value)


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
    """What is wrong with the value, and what to send instead."""
    found = reason(message, value)
    hint = ""
    if isinstance(value, float) and not math.isfinite(value):
        hint = "Leave it out when it is unknown"
    elif found.too_long:
        hint = "Shorten it, or leave it out"
    elif found.got == "str" and found.expected in ("int", "float"):
        hint = "Send the number itself, not its digits as text"
    elif found.expected == "str" and found.got in ("int", "float", "bool"):
        hint = "Send it as text"
    elif (found.expected, found.got) == ("int", "float"):
        hint = "Send it without a fraction"
    elif message.startswith("Invalid enum value"):
        hint = "See docs/events.md for the values"
    return found.says, hint


def _in_mapping(path: str, fields: Mapping[str, object]) -> InvalidEvent:
    """Which entry of a mapping of texts is at fault."""
    for key, value in entries.items() if isinstance(entries := find(fields, path), Mapping) else ():
        try:
            msgspec.convert(key, Name)
        except msgspec.ValidationError as error:
            says, hint = _reason(str(error), key)
            return InvalidEvent(path, f"has a name that {says}", hint=hint, value=key)
        try:
            msgspec.convert(value, Label)
        except msgspec.ValidationError as error:
            says, hint = _reason(str(error), value)
            return InvalidEvent(f"{path}.{key}", says, hint=hint, value=value)
    return InvalidEvent(path, "must be a mapping of names to texts", value=find(fields, path))
