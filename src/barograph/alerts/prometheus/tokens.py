"""The words of a Prometheus expression: numbers, texts, durations, names and operators, and where each stands.

``parser`` makes a tree of them. Their forms are those of Prometheus' documentation ("Querying basics", version 2.42).
"""

from __future__ import annotations

import ast
import re
from typing import NamedTuple, cast

from barograph_client.errors import InvalidRule

_TOKEN = re.compile(
    r"""\s+ | \#[^\n]*
    | (?P<string>"(?:\\.|[^"\\\n])*"|'(?:\\.|[^'\\\n])*'|`[^`]*`)
    | (?P<duration>(?:\d+(?:ms|[smhdwy]))+(?![\w.]))
    | (?P<number>0[xX][0-9a-fA-F]+|(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?(?!\w)|(?i:inf|nan)\b(?!\s*[({:]))
    | (?P<name>[a-zA-Z_][\w:]*)
    | (?P<operator>==|!=|=~|!~|>=|<=|[-+*/%^(){}\[\],=<>@:])""",
    re.VERBOSE | re.ASCII,
)
_UNITS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0, "w": 604800.0, "y": 31536000.0}
_DURATION = re.compile(r"(?:(\d+)y)?(?:(\d+)w)?(?:(\d+)d)?(?:(\d+)h)?(?:(\d+)m(?!s))?(?:(\d+)s)?(?:(\d+)ms)?", re.ASCII)


class Token(NamedTuple):
    """One word of an expression, and where it stands."""

    kind: str
    text: str
    at: int


def tokens(text: str) -> list[Token]:
    """The words of an expression, without comments; the last one is its end. Raises InvalidRule for anything else."""
    found, at = [], 0
    while at < len(text):
        match = _TOKEN.match(text, at)
        if not match:
            raise refused(text, at, f"{text[at]!r} is not part of an expression")
        if match.lastgroup:
            found.append(Token(match.lastgroup, match.group(), at))
        at = match.end()
    return [*found, Token("end", "the end", at)]


def refused(text: str, at: int, reason: str, hint: str = "") -> InvalidRule:
    """Why an expression has no equivalent here, and at which character that was found."""
    line, column = text.count("\n", 0, at), at - text.rfind("\n", 0, at)
    place = f"line {line + 1}, character {column}" if line else f"character {column}"
    return InvalidRule(f"the expression cannot be translated: {reason} ({place})", hint=hint, value=text)


def number(text: str) -> float:
    """The value of a number's token, which may be hexadecimal."""
    return float(int(text, 16)) if text[:2].lower() == "0x" else float(text)


def unquoted(text: str) -> str:
    """What stands between the quotes of a text's token."""
    if text[0] == "`":
        return text[1:-1]
    return cast(str, ast.literal_eval(text))  # Go's escapes are a subset of Python's


def parse_seconds(text: str) -> float:
    """Seconds of a duration in Prometheus' form, such as ``90s`` or ``1h30m``; ``0`` too. Raises InvalidRule."""
    text = text.strip()
    found = _DURATION.fullmatch(text)
    if text == "0":
        return 0.0
    if not found or not text:
        raise InvalidRule("not a duration of Prometheus", hint="Write 90s, 5m or 1h30m, longest first.", value=text)
    sizes = ("y", "w", "d", "h", "m", "s", "ms")
    return sum(int(digits) * _UNITS[unit] for digits, unit in zip(found.groups(), sizes, strict=True) if digits)
