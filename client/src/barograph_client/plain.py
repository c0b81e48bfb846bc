"""Whatever a program hands in, as plain dicts, lists, texts and numbers, within bounds, or an InvalidEvent.

The way of ``validate`` for input that is not plain already: numpy's numbers, Decimal, enums, UUIDs, tuples, mappings.
Also turns values into the text of a tag, and a refused input into the text that ``rejected/`` keeps.
"""

from __future__ import annotations

import json
import math
from collections import deque
from collections.abc import Iterable, Mapping, Set
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from enum import Enum
from typing import Any, cast
from uuid import UUID

import msgspec

from barograph_client.errors import InvalidEvent, shorten
from barograph_client.limits import MAX_LINE

MAX_DEPTH = 32  # levels of nesting; no field of ours has more than three
MAX_VALUES = 50_000  # values in one event, counted through all levels
_MAX_DIGITS = 1_000  # of a whole number; longer ones cost quadratic time to print

_SCALARS = frozenset((str, int, float, bool, type(None)))  # the exact types, which hold no surprises

Plain = None | bool | int | float | str | datetime | list["Plain"] | dict[str, "Plain"]


def plain(value: object) -> Plain:
    """The value in builtin types; times stay datetimes. Raises InvalidEvent with the path of what cannot be."""
    return _Reader().read(value, "", 0)


class _Reader:
    def __init__(self) -> None:
        self._left = MAX_VALUES

    def read(self, value: object, path: str, depth: int) -> Plain:
        kind = type(value)
        if kind in _SCALARS:
            return cast("Plain", value)
        if depth > MAX_DEPTH:
            raise InvalidEvent(path, f"is nested deeper than {MAX_DEPTH} levels", hint="Flatten it, or send it as text")
        self._left -= 1
        if kind is dict:
            return self._mapping(cast("dict[Any, object]", value), path, depth)
        if kind.__module__.partition(".")[0] == "numpy":
            return self._from_numpy(value, path, depth)
        if isinstance(value, Mapping):
            return self._mapping(value, path, depth)
        if isinstance(value, list | tuple | Set | deque):
            return self._sequence(value, path, depth)
        if isinstance(value, msgspec.Struct):
            return self._mapping(msgspec.structs.asdict(value), path, depth)
        return self._one(value, path, depth)

    def _mapping(self, value: Mapping[Any, object], path: str, depth: int) -> dict[str, Plain]:
        self._spend(len(value), path)
        result: dict[str, Plain] = {}
        for key, item in value.items():
            if not isinstance(key, str):
                raise InvalidEvent(path, f"has a key that is not text but {type(key).__name__}", value=key)
            name = str.__str__(key)
            if type(item) in _SCALARS:
                result[name] = cast("Plain", item)
            else:
                result[name] = self.read(item, f"{path}.{name}" if path else name, depth + 1)
        return result

    def _sequence(self, value: Iterable[object], path: str, depth: int) -> list[Plain]:
        result: list[Plain] = []
        for i, item in enumerate(value):
            self._spend(1, path)
            result.append(self.read(item, f"{path}[{i}]", depth + 1))
        return result

    def _spend(self, values: int, path: str) -> None:
        self._left -= values
        if self._left < 0:
            raise InvalidEvent(path, f"holds more than {MAX_VALUES:,} values")

    def _from_numpy(self, value: object, path: str, depth: int) -> Plain:
        size = getattr(value, "size", 1)
        if isinstance(size, int):
            self._spend(size, path)
        whole = getattr(value, "tolist", None) or getattr(value, "item", None)
        if whole is None:
            raise _unusable(value, path)
        made = whole()
        if type(made).__module__.partition(".")[0] == "numpy":  # what numpy itself cannot say in builtin types
            raise _unusable(value, path)
        return self.read(made, path, depth + 1)

    def _one(self, value: object, path: str, depth: int) -> Plain:
        if isinstance(value, Enum):
            return self.read(value.value, path, depth + 1)
        if isinstance(value, str):
            return str.__str__(value)
        if isinstance(value, int):
            return int.__index__(value)
        if isinstance(value, float):
            return float.__float__(value)
        if isinstance(value, Decimal):
            return _from_decimal(value)
        if isinstance(value, UUID):
            return str(value)
        if isinstance(value, datetime):
            return value
        if isinstance(value, date | time):
            return value.isoformat()
        if isinstance(value, bytes | bytearray | memoryview):
            return _decoded(bytes(value), path)
        raise _unusable(value, path)


def _unusable(value: object, path: str) -> InvalidEvent:
    what = type(value).__name__
    hint = "Give it in seconds, as a number" if isinstance(value, timedelta) else "Give a text, a number or a list"
    return InvalidEvent(path, f"is of the type {what}, which cannot be recorded", hint=hint)


def _from_decimal(value: Decimal) -> int | float:
    _, digits, exponent = value.as_tuple()
    return int(value) if exponent == 0 and len(digits) <= _MAX_DIGITS else float(value)


def _decoded(data: bytes, path: str) -> str:
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError as error:
        raise InvalidEvent(path, f"is not UTF-8: {error.reason} at byte {error.start}", value=data[:64]) from None


def tag_text(value: Plain, path: str) -> str:
    """A plain value as the text of a tag: numbers and truth values as JSON writes them, nested ones as JSON."""
    if isinstance(value, str):
        return value
    if isinstance(value, datetime):
        return value.isoformat()
    if isinstance(value, int) and value.bit_length() > _MAX_DIGITS * 3:
        raise InvalidEvent(path, f"has more than {_MAX_DIGITS:,} digits", hint="Send it as text")
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int):
        return str(value)
    if isinstance(value, float):
        if not math.isfinite(value):
            raise InvalidEvent(path, "must be finite", value=value)
        return repr(value)
    try:
        return json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":"), default=_iso)
    except ValueError:
        raise InvalidEvent(path, "holds a number that is not finite, or that has too many digits") from None


def _iso(value: object) -> str:
    return value.isoformat() if isinstance(value, datetime) else shorten(value)


def original(value: object) -> bytes | str:
    """What was refused, as it came where it is text, else as JSON or its repr; at most ``MAX_LINE`` long."""
    if isinstance(value, bytes | bytearray | memoryview):
        return bytes(value)
    if isinstance(value, str):
        return str.__str__(value)
    try:
        return json.dumps(_Sketch().draw(value, 0), separators=(",", ":"))
    except Exception:  # the last resort for an object that does not want to be read
        return shorten(value, 2000)


class _Sketch:
    """A copy for people: what is too deep, too much or unreadable is described instead."""

    def __init__(self) -> None:
        self._left = MAX_VALUES
        self._room = MAX_LINE

    def draw(self, value: object, depth: int) -> object:
        self._left -= 1
        if self._left < 0 or self._room < 0 or depth > MAX_DEPTH:
            return "…"
        kind = type(value)
        if value is None or kind is bool or kind is float:
            return value
        if kind is str:
            return self._text(cast(str, value))
        if kind is int:
            number = cast(int, value)
            return number if number.bit_length() <= 4096 else f"<a number of {number.bit_length()} bits>"
        if isinstance(value, dict):
            return {self._key(key): self.draw(item, depth + 1) for key, item in self._items(value)}
        if isinstance(value, list | tuple):
            return [self.draw(item, depth + 1) for item in self._some(value)]
        return self._text(shorten(value, 2000))

    def _items(self, mapping: dict[Any, object]) -> Iterable[tuple[object, object]]:
        for pair in dict.items(mapping):
            if self._left < 0:
                return
            yield pair

    def _some(self, items: Iterable[object]) -> Iterable[object]:
        for item in items:
            if self._left < 0:
                return
            yield item

    def _key(self, key: object) -> str:
        return self._text(key if type(key) is str else shorten(key))

    def _text(self, text: str) -> str:
        cut = text if len(text) <= max(self._room, 0) else text[: max(self._room, 0)] + "…"
        self._room -= len(cut)
        return cut
