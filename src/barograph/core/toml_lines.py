"""At which line of a TOML file something stands: ``tomllib`` reads files, and does not tell."""

from __future__ import annotations

import tomllib
from typing import Any

Place = tuple[str | int, ...]  # keys and numbers in lists, from the root: ("rules", 2, "above")


def dotted(place: Place) -> str:
    """The place as people write it: ``rules[2].above``."""
    parts = (f"[{part}]" if isinstance(part, int) else f".{part}" for part in place)
    return "".join(parts).removeprefix(".")


class TomlLines:
    """Where each part of a file begins. The text must be valid TOML.

    The file is taken apart into statements, which are the shortest runs of lines that are TOML by themselves.
    """

    def __init__(self, text: str) -> None:
        self._lines: dict[Place, int] = {}
        self._items: dict[Place, int] = {}  # so far, of each list of tables
        table: Place = ()
        begin, statement, items = 0, "", 0
        for number, line in enumerate(text.split("\n"), 1):
            if not statement:
                if not line.strip() or line.lstrip().startswith("#"):
                    continue
                begin, items = number, 0
            statement += line + "\n"
            found = _read(statement)
            if found is None:
                items = self._note_items(table, _read(statement + "]"), items, number)
                continue
            if statement.lstrip().startswith("["):
                table = self._table(found)
                self._note(table, begin)
            else:
                self._note((*table, *_keys(found)), begin)
            statement = ""

    def of(self, place: Place) -> int:
        """The line where it begins, or what it is in; 0 where the file has nothing of it."""
        while place and place not in self._lines:
            place = place[:-1]
        return self._lines.get(place, 0)

    def _note(self, place: Place, line: int) -> None:
        for length in range(1, len(place) + 1):
            self._lines.setdefault(place[:length], line)

    def _note_items(self, table: Place, open_list: dict[str, Any] | None, known: int, line: int) -> int:
        """Those items of a list over several lines that are whole since this line; how many there are."""
        if open_list is None:
            return known
        keys = _keys(open_list)
        value: Any = open_list
        for key in keys:
            value = value[key]
        for number in range(known, len(value)):
            self._note((*table, *keys, number), line)
        return len(value)

    def _table(self, header: dict[str, Any]) -> Place:
        """The table that a header begins, with the numbers of the lists it is in."""
        place: Place = ()
        keys = _keys(header)
        value: Any = header
        for key in keys:
            value, place = value[key], (*place, key)
            if isinstance(value, list):
                self._items[place] = self._items.get(place, 0) + 1
            if place in self._items:
                place = (*place, self._items[place] - 1)
        return place


def _read(text: str) -> dict[str, Any] | None:
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError:
        return None


def _keys(tree: Any) -> list[str]:
    """The one key at each depth, to the first value that is none or several of them."""
    keys = []
    while isinstance(tree, dict) and len(tree) == 1:
        key, tree = next(iter(tree.items()))
        keys.append(key)
    return keys
