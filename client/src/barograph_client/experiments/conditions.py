"""Targeting conditions: whether a unit's attributes fit what a definition asks for.

The language of GrowthBook's SDK specification, which is MongoDB's query language with comparisons as JavaScript makes
them: https://docs.growthbook.io/lib/build-your-own, "evalCondition". A missing attribute is null. ``compiled`` makes a
function of a condition, once a definition; the function raises nothing, and what cannot be compared does not fit.
``condition_fault`` finds, before a definition is used, what would never fit. Patterns are Python's regular
expressions, with ``search``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Final

from barograph_client.experiments.comparisons import (
    COMPARISONS,
    LONGEST_PATTERN,
    is_in,
    number,
    pattern,
    same,
    text,
    truth,
)

Attributes = Mapping[str, object]
Groups = Mapping[str, Sequence[object]]
Test = Callable[[object], bool]  # of one value
Fits = Callable[[Attributes], bool]

MOST_DEPTH = 20  # levels of nesting in a condition
_NOTHING: Groups = {}
_JOINS: Final = frozenset(("$and", "$or", "$nor", "$not"))
_STRUCTURAL: Final = frozenset(("$not", "$size", "$elemMatch", "$all", "$alli", "$inGroup", "$notInGroup"))
_LISTED: Final = frozenset(("$in", "$nin", "$ini", "$nini", "$all", "$alli"))
_PATTERNS: Final = frozenset(("$regex", "$regexi"))


def compiled(condition: Mapping[str, object], groups: Groups = _NOTHING) -> Fits:
    """The function that says whether attributes fit. ``groups`` are lists of values that ``$inGroup`` names."""
    tests = [_joined(name, asked, groups) or _attribute(name, asked, groups) for name, asked in condition.items()]
    if len(tests) == 1:
        return tests[0]
    return lambda attributes: all(test(attributes) for test in tests)


def condition_fault(condition: object, depth: int = 0) -> str:
    """Why a condition can never be meant as it stands, in a few words; empty when it can."""
    if not isinstance(condition, Mapping):
        return "a condition is an object of attributes and what they must be"
    if depth > MOST_DEPTH:
        return f"it is nested deeper than {MOST_DEPTH} levels"
    for name, asked in condition.items():
        if name in ("$and", "$or", "$nor"):
            if not isinstance(asked, list | tuple):
                return f"{name} takes a list of conditions"
            fault = next((found for one in asked if (found := condition_fault(one, depth + 1))), "")
        elif name == "$not":
            fault = condition_fault(asked, depth + 1)
        elif isinstance(name, str) and name.startswith("$"):
            fault = f"{name} is no way to join conditions: $and, $or, $nor and $not are"
        else:
            fault = _value_fault(asked, depth + 1)
        if fault:
            return fault
    return ""


def _value_fault(asked: object, depth: int) -> str:
    if depth > MOST_DEPTH:
        return f"it is nested deeper than {MOST_DEPTH} levels"
    if not _is_operators(asked):
        return ""
    assert isinstance(asked, Mapping)
    for name, operand in asked.items():
        if name not in COMPARISONS and name not in _STRUCTURAL:
            return f"there is no operator {name}"
        if name in _LISTED and not isinstance(operand, list | tuple):
            return f"{name} takes a list"
        if name in _PATTERNS and pattern(operand, name == "$regexi") is None:
            return f"{name} takes a regular expression of up to {LONGEST_PATTERN:,} characters"
        inner = name in ("$not", "$size", "$elemMatch") and isinstance(operand, Mapping)
        if name == "$elemMatch" and not _is_operators(operand):
            fault = condition_fault(operand, depth + 1)
        else:
            fault = _value_fault(operand, depth + 1) if inner else ""
        if fault:
            return fault
    return ""


# -- conditions joined ------------------------------------------------------------------------------------------------


def _joined(name: str, asked: object, groups: Groups) -> Fits | None:
    """What a name that joins conditions makes of them; None when it is an attribute's name."""
    if name not in _JOINS:
        return None
    listed = [asked] if name == "$not" else asked if isinstance(asked, list | tuple) else []
    tests = [compiled(one, groups) if isinstance(one, Mapping) else _never for one in listed]
    if name == "$and":
        return lambda attributes: all(test(attributes) for test in tests)
    if name == "$or":
        return lambda attributes: not tests or any(test(attributes) for test in tests)
    return lambda attributes: not any(test(attributes) for test in tests) and bool(tests)


def _never(_: object) -> bool:
    return False


def _attribute(name: str, asked: object, groups: Groups) -> Fits:
    """The test of the attribute at a path with dots; what is not there is None."""
    test = _test(asked, groups)
    first, *rest = name.split(".")
    if not rest:
        return lambda attributes: test(attributes.get(first))

    def nested(attributes: Attributes) -> bool:
        value: object = attributes.get(first)
        for step in rest:
            value = value.get(step) if isinstance(value, Mapping) else None
        return test(value)

    return nested


# -- one value --------------------------------------------------------------------------------------------------------


def _is_operators(asked: object) -> bool:
    return isinstance(asked, Mapping) and bool(asked) and all(str(name).startswith("$") for name in asked)


def _test(asked: object, groups: Groups) -> Test:
    if isinstance(asked, Mapping) and _is_operators(asked):
        tests = [_operator(name, operand, groups) for name, operand in asked.items()]
        return tests[0] if len(tests) == 1 else lambda actual: all(test(actual) for test in tests)
    if isinstance(asked, str):
        return lambda actual: actual == asked if type(actual) is str else actual is not None and text(actual) == asked
    if isinstance(asked, bool):
        return lambda actual: actual is not None and truth(actual) is asked
    if isinstance(asked, int | float):
        return lambda actual: actual is not None and number(actual) == asked
    return partial(same, asked)


def _operator(name: str, operand: object, groups: Groups) -> Test:
    if name in COMPARISONS:
        return COMPARISONS[name](operand)
    if name == "$not":
        inner = _test(operand, groups)
        return lambda actual: not inner(actual)
    if name == "$size":
        length = _test(operand, groups)
        return lambda actual: isinstance(actual, list | tuple) and length(len(actual))
    if name == "$elemMatch":
        element = _element(operand, groups)
        return lambda actual: isinstance(actual, list | tuple) and any(map(element, actual))
    if name in ("$all", "$alli") and isinstance(operand, list | tuple):
        return _holding(operand, groups, name == "$alli")
    if name in ("$inGroup", "$notInGroup") and isinstance(operand, str):
        member, wanted = is_in(groups.get(operand, ())), name == "$inGroup"
        return lambda actual: member(actual) is wanted
    return _never


def _element(operand: object, groups: Groups) -> Test:
    if _is_operators(operand) or not isinstance(operand, Mapping):
        return _test(operand, groups) if isinstance(operand, Mapping) else _never
    fits = compiled(operand, groups)
    return lambda one: isinstance(one, Mapping) and fits(one)


def _holding(operand: Sequence[object], groups: Groups, fold: bool) -> Test:
    tests = [is_in((one,), fold=True) if fold else _test(one, groups) for one in operand]
    return lambda actual: isinstance(actual, list | tuple) and all(any(map(test, actual)) for test in tests)
