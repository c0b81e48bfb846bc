"""Templates of labels and annotations: the part of Prometheus' templates that needs nothing but the alert itself.

``$value`` and ``.Value``, ``$labels.name`` and ``.Labels.name``, ``printf`` with one number or text, ``humanize``,
``humanizePercentage``, ``toUpper`` and ``toLower``, with and without pipes. Read by the rules.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping
from decimal import Decimal

from barograph_client.errors import InvalidRule

_PART = re.compile(r"\{\{(-?)\s*(.*?)\s*(-?)\}\}", re.DOTALL)
_LABEL = re.compile(r"(?:\$labels|\.Labels)\.([a-zA-Z_]\w*)", re.ASCII)
_PRINTF = re.compile(r'printf\s+"([^"\\%]*)%(\.\d{1,2})?([fegs])([^"\\%]*)"(?:\s+(\S+))?', re.ASCII)
_LARGE = ("", "k", "M", "G", "T", "P", "E", "Z", "Y")
_SMALL = ("", "m", "u", "n", "p", "f", "a", "z", "y")

Datum = str | float
Expression = Callable[[Mapping[str, str], float], Datum]


class Template:
    """One text, ready to be filled in. Raises InvalidRule for what cannot be filled in here."""

    def __init__(self, text: str) -> None:
        self.text = text
        self._parts: list[str | Expression] = []
        at = 0
        for found in _PART.finditer(text):
            before = text[at : found.start()]
            self._parts += [before.rstrip() if found[1] else before, _expression(found[2])]
            at = found.end()
            if found[3]:
                at += len(text[at:]) - len(text[at:].lstrip())
        if "{{" in text[at:]:
            raise _refused(text[at:])
        self._parts.append(text[at:])

    def fill(self, labels: Mapping[str, str], value: float) -> str:
        """The text for an element with those labels and that value."""
        parts = (part if isinstance(part, str) else part(labels, value) for part in self._parts)
        return "".join(part if isinstance(part, str) else go_number(part) for part in parts)


def labels_in(text: str) -> list[str]:
    """The labels that a template names."""
    return [name for part in _PART.finditer(text) for name in _LABEL.findall(part[2])]


def _refused(text: str) -> InvalidRule:
    return InvalidRule(
        "a template that is not known here", hint="Use $value, $labels.name, printf or humanize.", value=text
    )


def _expression(text: str) -> Expression:
    first, *pipes = (part.strip() for part in text.split("|"))
    words = first.split(None, 1)
    if len(words) == 2 and words[0] in _PIPES:  # a function before its argument
        first, pipes = words[1], [words[0], *pipes]
    printf = _PRINTF.fullmatch(first)
    if printf and printf[5]:
        first, pipes = printf[5], [first[: printf.start(5)].strip(), *pipes]
    label = _LABEL.fullmatch(first)
    if label is None and first not in ("$value", ".Value"):
        raise _refused(text)
    steps = [_pipe(pipe) for pipe in pipes]

    def expression(labels: Mapping[str, str], value: float) -> Datum:
        datum: Datum = value if label is None else labels.get(label[1], "")
        for step in steps:
            datum = step(datum)
        return datum

    return expression


def _pipe(text: str) -> Callable[[Datum], Datum]:
    if text in _PIPES:
        return _PIPES[text]
    found = _PRINTF.fullmatch(text)
    if not found or found[5]:
        raise _refused(text)
    before, precision, verb, after = found[1], found[2] or "", found[3], found[4]
    return lambda datum: f"{before}{_printed(datum, precision, verb)}{after}"


def _printed(datum: Datum, precision: str, verb: str) -> str:
    if isinstance(datum, str) != (verb == "s"):
        shown = f"string={datum}" if isinstance(datum, str) else f"float64={go_number(datum)}"
        return f"%!{verb}({shown})"
    if isinstance(datum, str):
        return datum[: int(precision[1:])] if precision else datum
    if not math.isfinite(datum):
        return go_number(datum)
    return go_number(datum) if verb == "g" and not precision else format(datum, precision + verb)


def go_number(value: float) -> str:
    """A number as Go prints it: the fewest digits that tell it, with an exponent from a million on and below 1e-4."""
    if math.isnan(value):
        return "NaN"
    if math.isinf(value):
        return "+Inf" if value > 0 else "-Inf"
    sign, digits, exponent = Decimal(repr(value)).normalize().as_tuple()
    assert isinstance(exponent, int)
    place = len(digits) - 1 + exponent if any(digits) else 0
    minus = "-" if sign else ""
    if -4 <= place < 6:
        return minus + format(Decimal((0, digits, exponent)), "f")
    text = "".join(map(str, digits))
    tail = f".{text[1:]}" if len(text) > 1 else ""
    return f"{minus}{text[0]}{tail}e{place:+03d}"


def _humanize(datum: Datum) -> str:
    value = _number(datum)
    if value == 0 or not math.isfinite(value):
        return _four(value)
    prefix = ""
    large = abs(value) >= 1
    for name in (_LARGE if large else _SMALL)[1:]:
        if abs(value) < 1000 if large else abs(value) >= 1:
            break
        prefix, value = name, value / 1000 if large else value * 1000
    return f"{_four(value)}{prefix}"


def _percentage(datum: Datum) -> str:
    return f"{_four(_number(datum) * 100)}%"


def _four(value: float) -> str:
    return f"{value:.4g}" if math.isfinite(value) else go_number(value)


def _number(datum: Datum) -> float:
    try:
        return float(datum)
    except ValueError:
        raise InvalidRule("a template takes a text for a number", value=datum) from None


_PIPES: dict[str, Callable[[Datum], Datum]] = {
    "humanize": _humanize,
    "humanizePercentage": _percentage,
    "toUpper": lambda datum: str(datum).upper(),
    "toLower": lambda datum: str(datum).lower(),
}
