"""What a rule over series asks: a small tree of selectors, functions over a window, sums by label and comparisons.

Made by ``parser`` from the text of a Prometheus expression, or by ``export`` from a threshold rule; evaluated by
``kernel`` over samples, and written back as text by ``export``. Nothing here knows where samples come from.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Literal, get_args

from msgspec import Struct
from msgspec.structs import replace

from barograph.alerts.matcher import Matcher

NAME = "__name__"  # the label that holds the name of a series

OverFunction = Literal[
    "rate", "increase", "delta", "irate", "idelta", "avg_over_time", "sum_over_time", "min_over_time",
    "max_over_time", "count_over_time", "last_over_time", "present_over_time", "changes", "resets", "deriv",
    "stddev_over_time", "stdvar_over_time", "quantile_over_time", "predict_linear",
]  # fmt: skip
PlainFunction = Literal["abs", "ceil", "floor", "sqrt", "exp", "ln", "clamp_min", "clamp_max", "sgn", "round"]
Aggregation = Literal["sum", "avg", "min", "max", "count", "group", "stddev", "stdvar", "quantile"]
Arithmetic = Literal["+", "-", "*", "/", "%", "^"]
Comparison = Literal["==", "!=", ">", "<", ">=", "<="]
SetOperator = Literal["and", "or", "unless"]
BinaryOperator = Arithmetic | Comparison | SetOperator
Side = Literal["", "left", "right"]

COMPARISONS: tuple[str, ...] = get_args(Comparison)
FIRST = ("quantile_over_time",)  # functions whose number stands before the series
SET_OPERATORS: tuple[str, ...] = get_args(SetOperator)


class Selector(Struct, frozen=True, kw_only=True):
    """The latest sample of each series whose labels all matchers match, ``offset`` seconds ago."""

    matchers: tuple[Matcher, ...]
    offset: float = 0.0


class Over(Struct, frozen=True, kw_only=True):
    """A function of each series' samples in a window of so many seconds that ends now (or ``offset`` ago).

    With a ``step`` the samples are what another expression gives at every multiple of so many seconds. ``argument``
    is the level of ``quantile_over_time``, or how many seconds ahead ``predict_linear`` looks.
    """

    function: OverFunction
    of: Node
    seconds: float
    step: float = 0.0
    argument: float | None = None


class Absent(Struct, frozen=True, kw_only=True):
    """One element of value 1 where the operand has none; its labels are those that the selector demands.

    ``over_time`` asks for a series that has no sample in a whole window.
    """

    of: Node
    over_time: bool = False


class Plain(Struct, frozen=True, kw_only=True):
    """A function of each value; ``limit`` is that of ``clamp_min`` and ``clamp_max``, or what ``round`` goes to."""

    function: PlainFunction
    of: Node
    limit: float | None = None


class BucketQuantile(Struct, frozen=True, kw_only=True):
    """A quantile of a histogram whose cumulative buckets are series with the label ``le``."""

    level: float
    of: Node


class Number(Struct, frozen=True):
    """A number, the same for every series."""

    value: float


class AsSeries(Struct, frozen=True):
    """A number as one element without labels."""

    of: Node


class Now(Struct, frozen=True):
    """The moment of the evaluation, in seconds since the Unix epoch."""


class Negative(Struct, frozen=True):
    """The operand with its sign changed."""

    of: Node


class Aggregate(Struct, frozen=True, kw_only=True):
    """One number for each group of elements that have the same ``labels`` (or the same others, with ``without``).

    ``level`` is that of ``quantile``.
    """

    operator: Aggregation
    of: Node
    labels: tuple[str, ...] = ()
    without: bool = False
    level: float | None = None


class Matching(Struct, frozen=True, kw_only=True):
    """By which labels the two sides of an operator find each other: only ``labels``, or all but these.

    ``many`` is the side that may have several elements beside one of the other; these are given the ``included``
    labels of the one.
    """

    labels: tuple[str, ...] = ()
    on: bool = False
    many: Side = ""
    included: tuple[str, ...] = ()


class Binary(Struct, frozen=True, kw_only=True):
    """Two operands. A comparison keeps the elements of the left for which it holds; ``as_number`` gives 0 or 1."""

    operator: BinaryOperator
    left: Node
    right: Node
    matching: Matching = Matching()
    as_number: bool = False


Node = Selector | Over | Absent | Plain | BucketQuantile | AsSeries | Now | Number | Negative | Aggregate | Binary


def is_scalar(node: Node) -> bool:
    """Whether it is one number without labels, whatever the series are."""
    if isinstance(node, Number | Now):
        return True
    if isinstance(node, Negative):
        return is_scalar(node.of)
    return isinstance(node, Binary) and is_scalar(node.left) and is_scalar(node.right)


def operands(node: Node) -> Iterator[Node]:
    """What stands directly below the node."""
    if isinstance(node, Binary):
        yield node.left
        yield node.right
    elif not isinstance(node, Selector | Number | Now):
        yield node.of


def selectors(node: Node) -> Iterator[Selector]:
    """Every selector in the expression, from left to right."""
    if isinstance(node, Selector):
        yield node
    for below in operands(node):
        yield from selectors(below)


def with_selectors(node: Node, change: Callable[[Selector], Selector]) -> Node:
    """The expression with each selector changed."""
    if isinstance(node, Selector):
        return change(node)
    if isinstance(node, Binary):
        return replace(node, left=with_selectors(node.left, change), right=with_selectors(node.right, change))
    return node if isinstance(node, Number | Now) else replace(node, of=with_selectors(node.of, change))


def reach(node: Node, lookback: float) -> float:
    """For how many seconds before its evaluation an expression needs samples."""
    if isinstance(node, Selector):
        return node.offset + lookback
    if isinstance(node, Over) and isinstance(node.of, Selector) and not node.step:
        return node.seconds + node.of.offset
    below = max((reach(one, lookback) for one in operands(node)), default=0.0)
    return below + node.seconds if isinstance(node, Over) else below


def cost(node: Node, step: float) -> float:
    """How many samples of a series, ``step`` seconds apart, one evaluation reads; a subquery's moment counts as ten."""
    if isinstance(node, Selector):
        return 1.0
    if isinstance(node, Over) and isinstance(node.of, Selector) and not node.step:
        return node.seconds // step + 1
    below = sum(cost(one, step) for one in operands(node))
    return (node.seconds // node.step + 1) * (10 + below) if isinstance(node, Over) else below


def element_labels(node: Node, series: frozenset[str]) -> frozenset[str]:
    """The labels that an element may have, where each series has ``series``."""
    if isinstance(node, Selector):
        return series
    if isinstance(node, Absent):
        selector = node.of.of if node.over_time and isinstance(node.of, Over) else node.of
        asked = selector.matchers if isinstance(selector, Selector) else ()
        return frozenset(one.name for one in asked if one.operator == "=" and one.name != NAME)
    if isinstance(node, Aggregate):
        of, named = element_labels(node.of, series), frozenset(node.labels)
        return of - named if node.without else of & named
    if isinstance(node, Binary):
        return _joint_labels(node, element_labels(node.left, series), element_labels(node.right, series))
    return frozenset() if isinstance(node, Number | Now | AsSeries) else element_labels(node.of, series)


def _joint_labels(node: Binary, left: frozenset[str], right: frozenset[str]) -> frozenset[str]:
    matching, named = node.matching, frozenset(node.matching.labels)
    if is_scalar(node.left) or is_scalar(node.right):
        return left | right
    if node.operator in SET_OPERATORS:
        return left | right if node.operator == "or" else left
    if matching.many:
        return (right if matching.many == "right" else left) | frozenset(matching.included)
    return left & named if matching.on else left - named


def named_labels(node: Node) -> Iterator[str]:
    """Every label that the expression names, but for the names of series."""
    named: tuple[str, ...] = ()
    if isinstance(node, Selector):
        named = tuple(one.name for one in node.matchers)
    elif isinstance(node, Aggregate):
        named = node.labels
    elif isinstance(node, Binary):
        named = (*node.matching.labels, *node.matching.included)
    elif isinstance(node, BucketQuantile):
        named = ("le",)
    yield from (label for label in named if label != NAME)
    for below in operands(node):
        yield from named_labels(below)
