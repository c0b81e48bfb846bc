"""Reading what instrumentation wrote: every attribute is text, and may be anything.

Used by the modules around ``otel``. Nothing here raises: what cannot be read is none.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import msgspec

Attributes = Mapping[str, str]
Json = None | bool | int | float | str | list["Json"] | dict[str, "Json"]

LABEL = 256  # the longest label or identifier, as ``core.event`` has it
TEXT = 262_144  # the longest text
HIDDEN = "__REDACTED__"  # what OpenInference writes in the place of a text that it was told to hide

_decode = msgspec.json.Decoder().decode
_BLANK = frozenset(("", "null", "None", '""', "{}", "[]"))


def first(attributes: Attributes, names: Iterable[str]) -> str:
    """The first of the attributes that says something."""
    for name in names:
        text = attributes.get(name)
        if text and text != HIDDEN:
            return text
    return ""


def blank(text: str) -> bool:
    """Whether a text says that there is nothing."""
    return text in _BLANK or not text.strip()


def json_of(text: str) -> Json:
    """What a text of JSON holds; none when it is no JSON."""
    try:
        value: Json = _decode(text)
    except (msgspec.MsgspecError, ValueError, RecursionError):
        return None
    return value


def structure_of(text: str) -> Json:
    """What a text holds if it is a JSON object, list or string; none when it is just a text."""
    start = text[:64].lstrip()[:1]
    return json_of(text) if start and start in '{["' else None


def number(value: object, limit: float) -> float | None:
    """A number from -limit to limit, out of a text or a JSON value."""
    if not isinstance(value, str | int | float) or isinstance(value, bool):
        return None
    try:
        found = float(value)
    except (ValueError, OverflowError):
        return None
    return found if -limit <= found <= limit else None  # what is no number is not between them


def label(value: object) -> str:
    """A short text out of a JSON value: strings as they are, numbers in digits."""
    if isinstance(value, str):
        return value if len(value) <= LABEL else value[:LABEL]
    if isinstance(value, bool) or not isinstance(value, int | float):
        return ""
    try:
        return str(value)[:LABEL]
    except ValueError:  # more digits than Python wants to print
        return ""


def cut(text: str, limit: int) -> str:
    """At most so many characters of a text."""
    return text if len(text) <= limit else text[:limit]
