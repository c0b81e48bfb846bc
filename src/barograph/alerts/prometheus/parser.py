"""Reads a Prometheus expression as far as our rules can say it, and gives the reason where they cannot.

Takes the words from ``tokens``, hands an ``expression.Node`` to ``rules.expression``. Precedence and the forms of label
sets are those of Prometheus' documentation ("Querying basics" and "Operators", version 2.42).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import cast, get_args

from msgspec.structs import replace

from barograph.alerts.matcher import Matcher, Operator, all_match
from barograph.alerts.prometheus.expression import (
    COMPARISONS,
    FIRST,
    NAME,
    SET_OPERATORS,
    Absent,
    Aggregate,
    Aggregation,
    AsSeries,
    Binary,
    BinaryOperator,
    BucketQuantile,
    Matching,
    Negative,
    Node,
    Now,
    Number,
    Over,
    OverFunction,
    Plain,
    PlainFunction,
    Selector,
    Side,
    is_scalar,
)
from barograph.alerts.prometheus.tokens import Token, number, parse_seconds, refused, tokens, unquoted
from barograph_client.errors import InvalidInput, InvalidRule

DEEPEST = 64  # brackets in brackets
MOST_OPERATORS = 100  # between operands: a chain of them is a tree as deep

_PRECEDENCE = {
    "or": 1, "and": 2, "unless": 2, **dict.fromkeys(COMPARISONS, 3), "+": 4, "-": 4, "*": 5, "/": 5, "%": 5, "^": 7,
}  # fmt: skip
_SIGN = 6  # of a sign before an operand: looser than ^, tighter than *
_OVER = get_args(OverFunction)
_PLAIN = get_args(PlainFunction)
_AGGREGATIONS = get_args(Aggregation)
_REFUSED = {
    "topk": "which series it keeps changes from tick to tick, and with it the alerts",
    "bottomk": "which series it keeps changes from tick to tick, and with it the alerts",
    "count_values": "it makes labels of values",
    "label_replace": "labels are kept as they were recorded",
    "label_join": "labels are kept as they were recorded",
}


def parse(text: str) -> Node:
    """The tree of an expression. Raises InvalidRule with the reason why it has no equivalent here."""
    reader = _Reader(text)
    node = reader.expression(0)
    if reader.token.kind != "end":
        raise reader.refused(f"{reader.token.text!r} is not expected there")
    return node


class _Reader:
    """Reads one expression from left to right."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._tokens = tokens(text)
        self._next = 0
        self._depth = 0
        self._operators = 0

    def refused(self, reason: str, hint: str = "", at: Token | None = None) -> InvalidRule:
        return refused(self._text, (at or self.token).at, reason, hint)

    @property
    def token(self) -> Token:
        return self._tokens[self._next]

    def _take(self) -> Token:
        token = self.token
        if token.kind != "end":
            self._next += 1
        return token

    def _has(self, *texts: str) -> bool:
        return self.token.kind in ("operator", "name") and self.token.text.lower() in texts

    def _took(self, *texts: str) -> bool:
        if self._has(*texts):
            self._take()
            return True
        return False

    def _need(self, text: str) -> None:
        if not self._took(text):
            raise self.refused(f"{self.token.text!r} stands where {text!r} should")

    def expression(self, least: int) -> Node:
        """An operand and the operators after it that bind at least as tightly."""
        self._depth += 1
        if self._depth > DEEPEST:
            raise self.refused("it is nested too deeply")
        left = self._operand()
        while True:
            operator = self.token.text.lower() if self.token.kind in ("operator", "name") else ""
            precedence = _PRECEDENCE.get(operator, -1)
            if precedence < max(least, 0):
                break
            self._take()
            left = self._binary(cast(BinaryOperator, operator), left, precedence)
        self._depth -= 1
        return left

    def _binary(self, operator: BinaryOperator, left: Node, precedence: int) -> Node:
        at = self._tokens[self._next - 1]
        self._operators += 1
        if self._operators > MOST_OPERATORS:
            raise self.refused(f"it has more than {MOST_OPERATORS} operators", at=at)
        as_number = self._took("bool")
        if as_number and operator not in COMPARISONS:
            raise self.refused("bool stands after an operator that does not compare", at=at)
        matching = self._matching()
        right = self.expression(precedence if operator == "^" else precedence + 1)
        scalars = is_scalar(left) + is_scalar(right)
        if operator in SET_OPERATORS and scalars:
            raise self.refused(f"{operator} joins series, not numbers", at=at)
        if matching.many and operator in SET_OPERATORS:
            raise self.refused(f"{operator} joins many series with many", at=at)
        if operator in COMPARISONS and scalars == 2 and not as_number:
            raise self.refused("a comparison of two numbers needs bool", at=at)
        if matching != Matching() and scalars:
            raise self.refused("on and ignoring stand between series only", at=at)
        return Binary(operator=operator, left=left, right=right, matching=matching, as_number=as_number)

    def _matching(self) -> Matching:
        on = self._has("on")
        if not self._took("on", "ignoring"):
            return Matching()
        labels = self._labels()
        if not self._has("group_left", "group_right"):
            return Matching(labels=labels, on=on)
        many = cast(Side, self._take().text.removeprefix("group_").lower())
        included = self._labels() if self._has("(") else ()
        return Matching(labels=labels, on=on, many=many, included=included)

    def _labels(self) -> tuple[str, ...]:
        self._need("(")
        labels: list[str] = []
        while not self._took(")"):
            token = self._take()
            if token.kind != "name" or ":" in token.text:
                raise self.refused(f"{token.text!r} is no label", at=token)
            labels.append(token.text)
            if not self._took(","):
                self._need(")")
                break
        return tuple(labels)

    def _operand(self, ranged: bool = False) -> Node:
        """A number, a series, a function or brackets; ``ranged`` where a window of samples may follow."""
        node = self._plain_operand()
        if not ranged and self._has("["):
            raise self.refused("a window of samples stands outside of a function")
        if not isinstance(node, Selector) and self._has("offset", "@"):
            raise self.refused(f"{self.token.text} of anything but a series")
        return node

    def _plain_operand(self) -> Node:
        token = self.token
        if self._took("-", "+"):
            node = self.expression(_SIGN)
            return Negative(node) if token.text == "-" else node
        if self._took("("):
            node = self.expression(0)
            self._need(")")
            return node
        if token.kind == "number":
            return Number(self._number())
        if token.kind == "name" and self._tokens[self._next + 1].text in ("(", "by", "without"):
            return self._call()
        if token.kind == "name" or self._has("{"):
            return self._selector()
        if token.kind == "string":
            raise self.refused("a text is no number")
        raise self.refused(f"{token.text!r} stands where a series or number should")

    def _number(self) -> float:
        return number(self._take().text)

    def _selector(self) -> Selector:
        matchers: list[Matcher] = []
        if self.token.kind == "name":
            matchers.append(Matcher(NAME, "=", self._take().text))
        if self._took("{"):
            while not self._took("}"):
                matchers.append(self._matcher())
                if not self._took(","):
                    self._need("}")
                    break
        if all_match(matchers, {}):
            raise self.refused("a selector that every series matches", "Name a metric.")
        return Selector(matchers=tuple(matchers), offset=self._offset())

    def _matcher(self) -> Matcher:
        label, operator, value = self._take(), self._take(), self._take()
        if label.kind != "name" or operator.text not in get_args(Operator) or value.kind != "string":
            raise self.refused(f"{label.text}{operator.text}{value.text} is no condition on a label", at=label)
        text = unquoted(value.text)
        try:
            return Matcher(label.text, cast(Operator, operator.text), text)
        except InvalidInput as error:
            raise self.refused(error.message, error.hint, value) from None

    def _offset(self) -> float:
        if self._has("@"):
            raise self.refused("@ asks for a fixed time")
        if not self._took("offset"):
            return 0.0
        if self._has("-"):
            raise self.refused("an offset into the future")
        return self._duration()

    def _duration(self) -> float:
        token = self._take()
        if token.kind != "duration":
            raise self.refused(f"{token.text!r} is no duration", at=token)
        return parse_seconds(token.text)

    def _call(self) -> Node:
        called = self._take()
        name = called.text
        if name.lower() in _AGGREGATIONS:
            return self._aggregate(cast(Aggregation, name.lower()))
        kinds: tuple[tuple[tuple[str, ...], Callable[[str], Node]], ...] = (
            (_OVER, self._over), (_PLAIN, self._plain), (("absent", "absent_over_time"), self._absent),
            (("histogram_quantile",), self._quantile), (("time",), lambda name: Now()),
            (("vector",), self._as_series), (("clamp",), self._clamp),
        )  # fmt: skip
        for names, make in kinds:
            if name in names:
                self._need("(")
                node = make(name)
                self._need(")")
                return node
        raise self.refused(f"{name}: {_REFUSED.get(name, 'there is no such function here')}", at=called)

    def _over(self, name: str) -> Node:
        function = cast(OverFunction, name)
        if name in FIRST:
            argument = self._constant(name)
            self._need(",")
            return self._window(name, function, argument)
        over = self._window(name, function, None)
        if name != "predict_linear":
            return over
        self._need(",")
        return replace(over, argument=self._constant(name))

    def _window(self, name: str, function: OverFunction, argument: float | None) -> Over:
        """The samples of a series in a window, or those of an expression at steps."""
        of = self._inner_series(name)
        if not self._took("["):
            raise self.refused(f"{name} needs a window of samples, as in {name}(series[5m])")
        seconds, step = self._duration(), 0.0
        if self._took(":"):
            if self._has("]"):
                raise self.refused("a subquery without its step")
            step = self._duration()
        self._need("]")
        offset = self._offset()
        if isinstance(of, Selector) and not step:
            if of.offset:
                raise self.refused("offset stands before the window")
            of = Selector(matchers=of.matchers, offset=offset)
        elif offset or not step:
            raise self.refused("the window of an expression needs a step, and has no offset here")
        return Over(function=function, of=of, seconds=seconds, step=step, argument=argument)

    def _inner_series(self, name: str) -> Node:
        """What stands before a window: a selector, a function, or an expression in brackets."""
        of = self._operand(ranged=True)
        if is_scalar(of):
            raise self.refused(f"{name} of a number instead of series")
        return of

    def _constant(self, name: str) -> float:
        sign = -1.0 if self._took("-") else 1.0
        if self.token.kind != "number":
            raise self.refused(f"{name} needs a number that does not change")
        return sign * self._number()

    def _plain(self, name: str) -> Node:
        of = self._series(name)
        if name not in ("clamp_min", "clamp_max") and not (name == "round" and self._has(",")):
            return Plain(function=cast(PlainFunction, name), of=of)
        self._need(",")
        return Plain(function=cast(PlainFunction, name), of=of, limit=self._constant(name))

    def _clamp(self, name: str) -> Node:
        of = self._series(name)
        self._need(",")
        low = self._constant(name)
        self._need(",")
        high = self._constant(name)
        if high < low:
            raise self.refused("clamp to nothing")
        return Plain(function="clamp_min", of=Plain(function="clamp_max", of=of, limit=high), limit=low)

    def _as_series(self, name: str) -> Node:
        of = self.expression(0)
        if not is_scalar(of):
            raise self.refused(f"{name} of series instead of a number")
        return AsSeries(of)

    def _absent(self, name: str) -> Node:
        if name == "absent":
            return Absent(of=self._series(name))
        return Absent(of=self._window(name, "present_over_time", None), over_time=True)

    def _quantile(self, name: str) -> Node:
        level = self._constant(name)
        self._need(",")
        return BucketQuantile(level=level, of=self._series(name))

    def _series(self, name: str) -> Node:
        of = self.expression(0)
        if is_scalar(of):
            raise self.refused(f"{name} of a number instead of series")
        return of

    def _aggregate(self, operator: Aggregation) -> Node:
        grouped = self._grouping()
        self._need("(")
        level = None
        if operator == "quantile":
            level = self._constant(operator)
            self._need(",")
        of = self._series(operator)
        self._need(")")
        if grouped is None:
            grouped = self._grouping()
        labels, without = grouped or ((), False)
        return Aggregate(operator=operator, of=of, labels=labels, without=without, level=level)

    def _grouping(self) -> tuple[tuple[str, ...], bool] | None:
        without = self._has("without")
        if not self._took("by", "without"):
            return None
        return self._labels(), without
