"""Whether a trace failed, and where.

``otel`` asks for it. The root's status decides: what failed inside and was caught, such as a model's call that was
tried again, is no error of the query. Only a root that leaves its status open and has no answer fails with its
last step. The cause is the innermost failed span that the error came up from.
"""

from __future__ import annotations

import math
from typing import NamedTuple

from barograph.collect.otel_tree import Node, Tree
from barograph.collect.otel_values import LABEL, TEXT, cut
from barograph.core.event import SpanEvent

_STAGES = frozenset(("embedding", "retrieval", "rerank", "generation"))


class Failure(NamedTuple):
    """What went wrong; ``stage`` is empty when it was none of the stages."""

    type: str
    stage: str
    message: str


def failure_of(tree: Tree, answered: bool) -> Failure | None:
    """What made the query fail; none when it did not."""
    top = tree.top
    status = top.span.status
    if status == "error":
        return _failure(_cause(top), top)
    if status == "ok" or answered:
        return None
    failed = _last_step(tree)
    return None if failed is None else _failure(_cause(failed), failed)


def _last_step(tree: Tree) -> Node | None:
    """The step that should have given the answer, if it failed: the last generation, without one the last retrieval."""
    for stage in ("generation", "retrieval"):
        steps = [node for node in tree.nodes if node.stage == stage]
        if steps:
            last = max(steps, key=lambda node: (node.start, node.span.span_id))
            return last if last.span.status == "error" else None
    return None


def _cause(node: Node) -> Node:
    """Down through the failed children, past those after which the same was done again with success."""
    while True:
        failed = _failed(node)
        if not failed:
            return node
        node = max(failed, key=lambda child: (child.end, child.start, child.span.span_id))


def _failed(node: Node) -> list[Node]:
    """The failed children after which none of the same kind and name began that did not fail."""
    began: dict[tuple[str, str], float] = {}
    for child in node.children:
        if child.span.status != "error":
            same = (child.kind, child.span.name)
            began[same] = max(child.start, began.get(same, child.start))
    return [
        child
        for child in node.children
        if child.span.status == "error" and began.get((child.kind, child.span.name), -math.inf) < child.start
    ]


def _failure(cause: Node, top: Node) -> Failure:
    stage = cause.inside if cause.inside in _STAGES else ""
    type_ = message = ""
    for node in (cause, top):
        exception = _exception(node)
        if exception is not None:
            type_ = type_ or exception.attributes.get("exception.type", "")
            message = message or exception.attributes.get("exception.message", "")
        type_ = type_ or node.attributes.get("error.type", "")
        message = message or node.span.status_message or node.attributes.get("error.message", "")
    if type_:  # a status says both in one text
        message = message.removeprefix(f"{type_.rpartition('.')[2]}: ")
    return Failure(cut(type_, LABEL), stage, cut(message, TEXT))


def _exception(node: Node) -> SpanEvent | None:
    exceptions = [event for event in node.span.events if event.name == "exception"]
    return max(exceptions, key=lambda event: (event.time, repr(event))) if exceptions else None
