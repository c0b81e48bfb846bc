"""One value against one operand, as JavaScript compares: the operators of a targeting condition.

Each operator makes a function of its operand once, so that what the operand needs (a set, a pattern, a version) is not
made again for each unit. Used by ``conditions``.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import Final

Test = Callable[[object], bool]

LONGEST_PATTERN = 1_000  # characters
_LONGEST_NUMBER = 100  # digits of a part of a version
_NUMBER = re.compile(r"[+-]?(\d+\.?\d*([eE][+-]?\d+)?|\.\d+([eE][+-]?\d+)?|Infinity)")
_NO_VERSION = re.compile(r"^v|\+.*$")
_VERSION_SPLIT = re.compile(r"[-.]")
_RELEASE: Final = (2, 0, "")  # after the three numbers of a version: later than any pre-release of it
_KINDS: Final[tuple[tuple[type | tuple[type, ...], str], ...]] = (
    (bool, "boolean"), ((int, float), "number"), (str, "string"), ((list, tuple), "array"), (Mapping, "object"),
    (type(None), "null"),
)  # fmt: skip


def strictly(one: object, other: object) -> bool:
    """JavaScript's ``===``: numbers of any kind are one type, and truth values are none of them."""
    if isinstance(one, bool) or isinstance(other, bool):
        return one is other
    if isinstance(one, int | float) and isinstance(other, int | float):
        return one == other
    return type(one) is type(other) and not isinstance(one, list | tuple | Mapping) and one == other


def same(one: object, other: object) -> bool:
    """Equal as JSON is: the same shape, and strictly the same values."""
    if isinstance(one, Mapping) and isinstance(other, Mapping):
        return one.keys() == other.keys() and all(same(one[name], other[name]) for name in one)
    if isinstance(one, list | tuple) and isinstance(other, list | tuple):
        return len(one) == len(other) and all(map(same, one, other))
    return strictly(one, other)


def truth(value: object) -> bool:
    """JavaScript's: lists and objects are true, even empty ones, and what is no number is not."""
    if isinstance(value, float) and math.isnan(value):
        return False
    return True if isinstance(value, list | tuple | Mapping) else bool(value)


def text(value: object) -> object:
    """A number or truth value as JavaScript writes it; anything else as it is."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float) and value.is_integer() and abs(value) < 1e21:
        return str(int(value))
    return repr(value) if isinstance(value, int | float) and number(value) < 1e300 else value


def number(value: object) -> float:
    """JavaScript's ``Number``; NaN for what is none."""
    if value is None:
        return 0.0
    try:
        if isinstance(value, int | float):
            return float(value)
        if isinstance(value, str):
            stripped = value.strip()
            return float(stripped or "0") if not stripped or _NUMBER.fullmatch(stripped) else math.nan
    except (OverflowError, ValueError):
        pass
    return math.nan


def version(value: object) -> list[tuple[int, int, str]]:
    """A version's parts as what compares like them: numbers before words, a release after its pre-releases.

    https://semver.org, section 11; what follows a plus sign does not count. What is neither text nor a number is 0.
    """
    told = None if isinstance(value, bool) else text(value)
    written = _NO_VERSION.sub("", told if isinstance(told, str) and told else "0")
    parts = [
        (0, int(part), "") if part.isdecimal() and len(part) <= _LONGEST_NUMBER else (1, 0, part)
        for part in _VERSION_SPLIT.split(written)
    ]
    return [*parts, _RELEASE] if len(parts) == 3 else parts


@lru_cache(maxsize=256)
def _made(expression: str, fold: bool) -> re.Pattern[str] | None:
    try:
        return re.compile(expression, re.IGNORECASE if fold else 0)
    except (re.error, RecursionError, OverflowError):
        return None


def pattern(operand: object, fold: bool) -> re.Pattern[str] | None:
    """The regular expression, or None when it is none, or too long."""
    return _made(operand, fold) if isinstance(operand, str) and len(operand) <= LONGEST_PATTERN else None


def is_in(among: object, holds: bool = True, fold: bool = False) -> Test:
    """Whether a value, or one of a list, is among the operand's; ``fold`` is without regard to case."""
    if not isinstance(among, list | tuple):
        return lambda actual: False
    wanted = [_folded(one) for one in among] if fold else list(among)
    texts = frozenset(one for one in wanted if isinstance(one, str))
    others = [one for one in wanted if not isinstance(one, str)]

    def found(one: object) -> bool:
        if isinstance(one, str):
            return (one.lower() if fold else one) in texts
        return any(strictly(one, other) for other in others)

    def test(actual: object) -> bool:
        return (any(map(found, actual)) if isinstance(actual, list | tuple) else found(actual)) is holds

    return test


def _folded(value: object) -> object:
    return value.lower() if isinstance(value, str) else value


def _units(value: str) -> bytes:
    return value.encode("utf-16-be", "surrogatepass")


def _ordered(holds: Callable[[float, float], bool]) -> Callable[[object], Test]:
    """A comparison as JavaScript makes it: two texts by their code units, all else as numbers."""

    def made(operand: object) -> Test:
        bound, units = number(operand), _units(operand) if isinstance(operand, str) else None

        def test(actual: object) -> bool:
            if units is not None and isinstance(actual, str):
                own = _units(actual)
                return holds((own > units) - (own < units), 0)
            return holds(number(actual), bound)

        return test

    return made


def _versioned(holds: Callable[[int], bool]) -> Callable[[object], Test]:
    def made(operand: object) -> Test:
        bound = version(operand)

        def test(actual: object) -> bool:
            own = version(actual)
            return holds((own > bound) - (own < bound))

        return test

    return made


def _searched(fold: bool) -> Callable[[object], Test]:
    def made(operand: object) -> Test:
        expression = pattern(operand, fold)

        def test(actual: object) -> bool:
            written = text(actual)
            return expression is not None and isinstance(written, str) and expression.search(written) is not None

        return test

    return made


def _kind(value: object) -> str:
    return next((name for kind, name in _KINDS if isinstance(value, kind)), "unknown")


COMPARISONS: Final[Mapping[str, Callable[[object], Test]]] = {
    "$eq": lambda operand: lambda actual: strictly(actual, operand),
    "$ne": lambda operand: lambda actual: not strictly(actual, operand),
    "$lt": _ordered(lambda one, other: one < other),
    "$lte": _ordered(lambda one, other: one <= other),
    "$gt": _ordered(lambda one, other: one > other),
    "$gte": _ordered(lambda one, other: one >= other),
    "$exists": lambda operand: lambda actual: (actual is not None) is truth(operand),
    "$in": is_in,
    "$nin": lambda operand: is_in(operand, holds=False),
    "$ini": lambda operand: is_in(operand, fold=True),
    "$nini": lambda operand: is_in(operand, holds=False, fold=True),
    "$regex": _searched(False),
    "$regexi": _searched(True),
    "$type": lambda operand: lambda actual: _kind(actual) == operand,
    "$veq": _versioned(lambda order: order == 0),
    "$vne": _versioned(lambda order: order != 0),
    "$vgt": _versioned(lambda order: order > 0),
    "$vgte": _versioned(lambda order: order >= 0),
    "$vlt": _versioned(lambda order: order < 0),
    "$vlte": _versioned(lambda order: order <= 0),
}
