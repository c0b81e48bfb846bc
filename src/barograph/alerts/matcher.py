"""Label matchers: ``severity="critical"``, ``pipeline=~"faq|search"``, with ``=``, ``!=``, ``=~`` and ``!~``.

Read by the route tree, inhibition, silences and maintenance windows. The semantics are Alertmanager's: a label that
is not there is the empty text, and a regular expression matches all of the value.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Literal, cast

from barograph.alerts.pattern import Pattern
from barograph_client.errors import InvalidInput

Operator = Literal["=", "!=", "=~", "!~"]
VALUE_LENGTH = 4096  # characters of a label's value that an expression looks at

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_.:-]{0,127}")
_TEXT = re.compile(rf"\s*({_NAME.pattern})\s*(=~|!~|!=|=)\s*(.*?)\s*", re.DOTALL)
_ESCAPE = re.compile(r"\\(.)", re.DOTALL)
_HINT = 'Write name="value", name!="value", name=~"expression" or name!~"expression".'


class Matcher:
    """One matcher. Raises InvalidInput for a name or an expression that cannot be used."""

    def __init__(self, name: str, operator: Operator, value: str) -> None:
        if not _NAME.fullmatch(name):
            raise InvalidInput("a matcher has the name of a label", hint=_HINT, value=name)
        self.name, self.operator, self.value = name, operator, value
        self._pattern = Pattern(value) if operator in ("=~", "!~") else None

    def matches(self, labels: Mapping[str, str]) -> bool:
        """Whether the labels are such."""
        value = labels.get(self.name, "")
        if self._pattern is None:
            return (value == self.value) == (self.operator == "=")
        return self._pattern.matches(value[:VALUE_LENGTH]) == (self.operator == "=~")

    @property
    def matches_absence(self) -> bool:
        """Whether labels without that name match too."""
        return self.matches({})

    def __str__(self) -> str:
        quoted = self.value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
        return f'{self.name}{self.operator}"{quoted}"'

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Matcher) and str(self) == str(other)

    def __hash__(self) -> int:
        return hash(str(self))


def parse_matcher(text: str) -> Matcher:
    """The matcher of a text such as ``severity="critical"``; quotes may be left out. Raises InvalidInput."""
    found = _TEXT.fullmatch(text)
    if found is None:
        raise InvalidInput("not a matcher", hint=_HINT, value=text)
    name, operator, value = found.groups()
    if value.startswith("="):  # a habit of programming languages, and hardly what a label's value begins with
        rest = value.strip('= "')
        hint = f'Write {name}{operator}"{rest}"; a value that begins with = stands in quotes.'
        raise InvalidInput("a matcher has one =", hint=hint, value=text)
    if value.startswith('"'):
        if len(value) < 2 or not re.fullmatch(r'"(?:[^"\\]|\\.)*"', value, re.DOTALL):
            raise InvalidInput("a matcher's value has a quote too many or too few", hint=_HINT, value=text)
        value = _ESCAPE.sub(lambda escaped: _unescape(escaped[1]), value[1:-1])
    elif '"' in value:
        raise InvalidInput("a matcher's value has a quote too many or too few", hint=_HINT, value=text)
    return Matcher(name, cast("Operator", operator), value)


def _unescape(character: str) -> str:
    return {"n": "\n", '"': '"', "\\": "\\"}.get(character, "\\" + character)


def parse_matchers(texts: Iterable[str]) -> tuple[Matcher, ...]:
    """The matchers of those texts, in their order. Raises InvalidInput."""
    return tuple(parse_matcher(text) for text in texts)


def all_match(matchers: Iterable[Matcher], labels: Mapping[str, str]) -> bool:
    """Whether every matcher matches; of none this is true."""
    return all(matcher.matches(labels) for matcher in matchers)
