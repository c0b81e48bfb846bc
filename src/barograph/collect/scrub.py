"""Redaction and hashing for what was refused: its original is kept in ``rejected/``, and holds the same secrets.

Used by ``intake``. A refused input never became an event, so the processors cannot see it; here their rules are
applied to its text: to every string of the JSON where it is JSON, else to the text as it stands.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Sequence

from barograph.collect.processors import HashUsers
from barograph.collect.redact import Redact

# Under which names a user's id is sent, in any kind and at any depth. More is hashed than need be: it was refused.
_USER_NAMES = ("user_id", "user", "unit_id", "unit", "user.id", "enduser.id")
_USER_IN_TEXT = re.compile(
    r"""(["'](?:{})["']\s*:\s*)(?:"((?:[^"\\]|\\.)*+)"?|'((?:[^'\\]|\\.)*+)'?|([^\s,}}"']++))""".format(
        "|".join(re.escape(name) for name in _USER_NAMES)
    )
)
_LONG_NUMBER = 10**7  # shorter numbers are nobody's phone and no card

Original = bytes | str


class Scrub:
    """Makes the original of a refused input fit to be kept, by the redaction and hashing among the processors."""

    def __init__(self, processors: Sequence[object]) -> None:
        self._redact = [processor.text for processor in processors if isinstance(processor, Redact)]
        self._hash: Callable[[str], str] | None = next(
            (processor.hash for processor in processors if isinstance(processor, HashUsers)), None
        )

    def __call__(self, original: Original) -> Original:
        """The original without what is not to be kept; the same object when there was nothing."""
        if not self._redact and self._hash is None:
            return original
        if isinstance(original, str):
            after = self._json(original)
            return original if after == original else after
        try:
            before = original.decode("utf-8")
            after = self._json(before)
        except UnicodeDecodeError:  # surrogateescape has a character for each byte that is no UTF-8
            before = original.decode("utf-8", "surrogateescape")
            after = self._plain(before)
        return original if after == before else after.encode("utf-8", "surrogateescape")

    def _json(self, text: str) -> str:
        try:
            read = json.loads(text)
            clean = self._value(read)
            return text if clean == read else json.dumps(clean, separators=(",", ":"))
        except (ValueError, RecursionError):  # no JSON, or nothing that can be walked
            return self._plain(text)

    def _plain(self, text: str) -> str:
        return self._text(self._users_in(text))

    def _value(self, value: object) -> object:
        if isinstance(value, str):
            return self._text(value)
        if isinstance(value, dict):
            return {self._text(name): self._field(name, item) for name, item in value.items()}
        if isinstance(value, list):
            return [self._value(item) for item in value]
        if isinstance(value, int) and abs(value) >= _LONG_NUMBER:
            digits = str(value)
            return value if (after := self._text(digits)) == digits else after
        return value

    def _field(self, name: str, value: object) -> object:
        if self._hash is None or name not in _USER_NAMES or value is None:
            return self._value(value)
        return self._hash(value if isinstance(value, str) else json.dumps(value))

    def _users_in(self, text: str) -> str:
        hashed = self._hash
        if hashed is None:
            return text
        return _USER_IN_TEXT.sub(lambda found: f'{found[1]}"{hashed(found[2] or found[3] or found[4] or "")}"', text)

    def _text(self, text: str) -> str:
        for redact in self._redact:
            text = redact(text)
        return text
