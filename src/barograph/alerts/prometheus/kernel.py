"""Evaluates an expression over samples at one moment: series in, elements (labels and a value) out.

Reads ``Samples`` and an ``expression.Node``; an expression rule (``rules.expression``) calls it at each tick. It knows
no engine, no clock and no state: the same samples and the same moment give the same elements. Semantics are those of
Prometheus 2.42.
"""

from __future__ import annotations

import math
import operator
from collections.abc import Callable, Iterable, Mapping
from typing import NamedTuple

from barograph.alerts.lifecycle import LOOKBACK_SECONDS
from barograph.alerts.prometheus import functions
from barograph.alerts.prometheus.expression import (
    COMPARISONS,
    NAME,
    SET_OPERATORS,
    Absent,
    Aggregate,
    AsSeries,
    Binary,
    BucketQuantile,
    Matching,
    Negative,
    Node,
    Now,
    Number,
    Over,
    Plain,
    Selector,
    is_scalar,
)
from barograph.alerts.prometheus.samples import Samples
from barograph_client.errors import InvalidRule

Key = tuple[tuple[str, str], ...]


class Element(NamedTuple):
    """One value and the labels it belongs to."""

    labels: dict[str, str]
    value: float


Vector = list[Element]

_ARITHMETIC: dict[str, Callable[[float, float], float]] = {
    "+": operator.add,
    "-": operator.sub,
    "*": operator.mul,
    "/": functions.divided,
    "%": functions.remainder,
    "^": functions.power,
}
_COMPARE: dict[str, Callable[[float, float], bool]] = {
    "==": operator.eq,
    "!=": operator.ne,
    ">": operator.gt,
    "<": operator.lt,
    ">=": operator.ge,
    "<=": operator.le,
}


def evaluate(node: Node, samples: Samples, at: float, lookback: float = LOOKBACK_SECONDS) -> Vector:
    """The elements of the expression at ``at`` (seconds since the Unix epoch); a number is one without labels.

    Raises InvalidRule where the series do not fit together: two with the same labels, or two beside one.
    """
    if is_scalar(node):
        return [Element({}, _scalar(node, at))]
    return _Moment(samples, at, lookback).vector(node)


def _scalar(node: Node, at: float) -> float:
    if isinstance(node, Number):
        return node.value
    if isinstance(node, Now):
        return at
    if isinstance(node, Negative):
        return -_scalar(node.of, at)
    assert isinstance(node, Binary)
    left, right = _scalar(node.left, at), _scalar(node.right, at)
    if node.operator in COMPARISONS:
        return float(_COMPARE[node.operator](left, right))
    return _ARITHMETIC[node.operator](left, right)


class _Moment:
    """One evaluation."""

    def __init__(self, samples: Samples, at: float, lookback: float) -> None:
        self._samples = samples
        self._at = at
        self._lookback = lookback

    def vector(self, node: Node) -> Vector:
        if isinstance(node, Selector):
            return self._selected(node)
        if isinstance(node, Over):
            return _distinct(self._over(node))
        if isinstance(node, Absent):
            return self._absent(node)
        if isinstance(node, Plain):
            values = ((e, functions.plain(node.function, e.value, node.limit)) for e in self.vector(node.of))
            return _distinct(Element(_nameless(e.labels), value) for e, value in values)
        if isinstance(node, AsSeries):
            return [Element({}, _scalar(node.of, self._at))]
        if isinstance(node, BucketQuantile):
            return _quantiles(node.level, self.vector(node.of))
        if isinstance(node, Negative):
            return _distinct(Element(_nameless(e.labels), -e.value) for e in self.vector(node.of))
        if isinstance(node, Aggregate):
            return _aggregated(node, self.vector(node.of))
        assert isinstance(node, Binary)
        return _distinct(self._binary(node))

    def _selected(self, selector: Selector) -> Vector:
        at = self._at - selector.offset
        found = (
            (series.labels, series.latest(at, self._lookback)) for series in self._samples.select(selector.matchers)
        )
        return [Element(labels, value) for labels, value in found if value is not None]

    def _over(self, node: Over) -> Iterable[Element]:
        end = self._at - (node.of.offset if isinstance(node.of, Selector) and not node.step else 0.0)
        start = end - node.seconds
        for labels, points in self._points(node, start, end):
            value = functions.over(node.function, points, start, end, node.argument)
            if value is not None:
                kept = node.function == "last_over_time"  # the value is the series' own
                yield Element(labels if kept else _nameless(labels), value)

    def _points(self, node: Over, start: float, end: float) -> Iterable[tuple[dict[str, str], functions.Points]]:
        """The samples of each series in a window; of an expression what it gives at the multiples of the step."""
        if isinstance(node.of, Selector) and not node.step:
            for series in self._samples.select(node.of.matchers):
                yield series.labels, series.window(start, end)
            return
        found: dict[Key, list[tuple[float, float]]] = {}
        moment = math.ceil(start / node.step) * node.step
        while moment <= end:
            for element in _Moment(self._samples, moment, self._lookback).vector(node.of):
                found.setdefault(tuple(sorted(element.labels.items())), []).append((moment, element.value))
            moment += node.step
        yield from ((dict(key), points) for key, points in found.items())

    def _absent(self, node: Absent) -> Vector:
        if self.vector(node.of):
            return []
        labels: dict[str, str] = {}
        demanded: set[str] = set()
        selector = node.of.of if node.over_time and isinstance(node.of, Over) else node.of
        for matcher in selector.matchers if isinstance(selector, Selector) else ():
            if matcher.name == NAME:
                continue
            if matcher.operator == "=" and matcher.name not in demanded:
                labels[matcher.name] = matcher.value
                demanded.add(matcher.name)
            else:  # asked for twice, or not for one value: no label says it
                labels.pop(matcher.name, None)
        return [Element({name: value for name, value in labels.items() if value}, 1.0)]

    def _binary(self, node: Binary) -> Iterable[Element]:
        if is_scalar(node.right):
            number = _scalar(node.right, self._at)
            return _with_number(node, self.vector(node.left), lambda value: (value, number))
        if is_scalar(node.left):
            number = _scalar(node.left, self._at)
            return _with_number(node, self.vector(node.right), lambda value: (number, value))
        left, right = self.vector(node.left), self.vector(node.right)
        if node.operator in SET_OPERATORS:
            return _joined(node, left, right)
        return _matched(node, left, right)


def _with_number(node: Binary, vector: Vector, pair: Callable[[float], tuple[float, float]]) -> Iterable[Element]:
    for element in vector:
        a, b = pair(element.value)
        if node.operator not in COMPARISONS:
            yield Element(_nameless(element.labels), _ARITHMETIC[node.operator](a, b))
        elif node.as_number:
            yield Element(_nameless(element.labels), float(_COMPARE[node.operator](a, b)))
        elif _COMPARE[node.operator](a, b):
            yield element


def _joined(node: Binary, left: Vector, right: Vector) -> Iterable[Element]:
    """``and``, ``or`` and ``unless``: which elements stay depends on whether there is one on the other side."""
    if node.operator == "or":
        there = {_signature(e.labels, node.matching) for e in left}
        return [*left, *(e for e in right if _signature(e.labels, node.matching) not in there)]
    there = {_signature(e.labels, node.matching) for e in right}
    return [e for e in left if (_signature(e.labels, node.matching) in there) == (node.operator == "and")]


def _matched(node: Binary, left: Vector, right: Vector) -> Iterable[Element]:
    """Arithmetic and comparisons between series: for the same labels one on each side, or many beside one."""
    if not left or not right:
        return
    swapped = node.matching.many == "right"
    many, one = (right, left) if swapped else (left, right)
    others: dict[Key, Element] = {}
    for element in one:
        signature = _signature(element.labels, node.matching)
        if signature in others:
            raise InvalidRule(
                f"two series beside {node.operator} have the same labels", hint="Sum them by these labels."
            )
        others[signature] = element
    taken: set[Key] = set()
    for element in many:
        signature = _signature(element.labels, node.matching)
        other = others.get(signature)
        if other is None:
            continue
        value = _together(node, *((other, element) if swapped else (element, other)))
        if value is None:
            continue
        labels = _result_labels(node, element.labels, other.labels)
        key = tuple(sorted(labels.items())) if node.matching.many else signature
        if key in taken:
            raise InvalidRule(f"two series beside {node.operator} give the same one", hint="Sum them by its labels.")
        taken.add(key)
        yield Element(labels, value)


def _together(node: Binary, left: Element, right: Element) -> float | None:
    """The value of two elements; None where a comparison does not hold."""
    if node.operator not in COMPARISONS:
        return _ARITHMETIC[node.operator](left.value, right.value)
    holds = _COMPARE[node.operator](left.value, right.value)
    if node.as_number:
        return float(holds)
    return left.value if holds else None


def _result_labels(node: Binary, labels: Mapping[str, str], other: Mapping[str, str]) -> dict[str, str]:
    matching = node.matching
    dropped = set(matching.labels) if not matching.on and not matching.many else set()
    if node.operator not in COMPARISONS or node.as_number:
        dropped.add(NAME)
    kept = {name: value for name, value in labels.items() if name not in dropped}
    if matching.many:
        given = {name: other.get(name, "") for name in matching.included}
        return {name: value for name, value in (kept | given).items() if value}
    if matching.on:
        return {name: value for name, value in kept.items() if name in matching.labels}
    return kept


def _quantiles(level: float, vector: Vector) -> Vector:
    """A quantile for each set of labels beside ``le``, the upper bound of a bucket; what has no bound is left out."""
    groups: dict[Key, list[tuple[float, float]]] = {}
    for element in vector:
        try:
            bound = float(element.labels.get("le", ""))
        except ValueError:
            continue
        groups.setdefault(_signature(element.labels, Matching(labels=("le",))), []).append((bound, element.value))
    return [Element(dict(key), functions.bucket_quantile(level, buckets)) for key, buckets in groups.items()]


def _aggregated(node: Aggregate, vector: Vector) -> Vector:
    groups: dict[Key, list[float]] = {}
    for element in vector:
        groups.setdefault(_signature(element.labels, Matching(labels=node.labels, on=not node.without)), []).append(
            element.value
        )
    if node.level is not None:
        return [Element(dict(key), functions.quantile(node.level, values)) for key, values in groups.items()]
    return [Element(dict(key), _AGGREGATE[node.operator](values)) for key, values in groups.items()]


def _added(values: list[float]) -> float:
    result = values[0]
    for value in values[1:]:
        result += value
    return result


_AGGREGATE: dict[str, Callable[[list[float]], float]] = {
    "sum": _added,
    "avg": functions.running_mean,
    "min": functions.least,
    "max": functions.greatest,
    "count": lambda values: float(len(values)),
    "group": lambda values: 1.0,
    "stdvar": functions.running_variance,
    "stddev": lambda values: math.sqrt(functions.running_variance(values)),
}


def _signature(labels: Mapping[str, str], matching: Matching) -> Key:
    """The labels by which elements find each other."""
    if matching.on:
        return tuple(sorted((name, value) for name, value in labels.items() if name in matching.labels))
    return tuple(sorted((n, value) for n, value in labels.items() if n != NAME and n not in matching.labels))


def _nameless(labels: Mapping[str, str]) -> dict[str, str]:
    return {name: value for name, value in labels.items() if name != NAME}


def _distinct(elements: Iterable[Element]) -> Vector:
    vector = list(elements)
    if len({tuple(sorted(element.labels.items())) for element in vector}) < len(vector):
        raise InvalidRule("two series have the same labels without their names", hint="Name one metric.")
    return vector
