"""The spans of one trace as a tree, each with the stage of the query that its time belongs to.

Made by ``otel``, read by the modules around it. The order in which spans come and how often each comes make no
difference. Parents that are missing, or that go round in a circle, make their children top-most.

A span's stage is its kind's, with these exceptions: a model called inside a retriever (to rewrite the question) or
a reranker works for it, and so does an embedding inside a reranker; what lies inside a guardrail or an evaluator
belongs to no stage.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from barograph.collect.otel_kinds import KINDS, kind_of_span
from barograph.core.event import Span

STAGES = {"EMBEDDING": "embedding", "RETRIEVER": "retrieval", "RERANKER": "rerank", "LLM": "generation"}
_NO_PARENT = frozenset(("", "0000000000000000"))
_WORK_FOR = {("generation", "retrieval"), ("generation", "rerank"), ("embedding", "rerank")}
_UNSEEN, _SEEN = -1, -2  # a node's depth before it is known


class Node:
    """A span in its trace. ``start`` and ``end`` are seconds from the first span, ``seconds`` is what it took.

    ``above`` is the nearest span around it that has a stage, ``names`` are its attributes' names in one text, which is
    searched faster than they are.
    """

    __slots__ = (
        "above",
        "attributes",
        "children",
        "depth",
        "end",
        "inside",
        "kind",
        "names",
        "parent",
        "seconds",
        "span",
        "stage",
        "start",
    )

    def __init__(self, span: Span, start: float) -> None:
        kind = span.span_kind
        if kind not in KINDS or not kind:
            kind = kind.upper()
            if kind not in KINDS or not kind:
                kind = kind_of_span(span.name, span.attributes, span.scope)
        self.span = span
        self.attributes = span.attributes
        self.names = "\n".join(span.attributes)
        self.kind = kind
        self.start = start
        self.seconds = span.duration
        self.end = start + (span.duration or 0.0)
        self.parent: Node | None = None
        self.above: Node | None = None
        self.children: list[Node] = []
        self.depth = _UNSEEN
        self.stage = ""
        self.inside = ""  # the stage, guardrail or evaluation that the children lie in

    def settle(self) -> None:
        """Depth and stage, once the parent's are known."""
        parent = self.parent
        around = ""
        if parent is not None:
            parent.children.append(self)
            self.above = parent if parent.stage else parent.above
            self.depth = parent.depth + 1
            around = parent.inside
        else:
            self.depth = 0
        if around == "evaluation" or self.kind == "EVALUATOR":
            self.inside = "evaluation"
        elif around == "guardrail" or self.kind == "GUARDRAIL":
            self.inside = "guardrail"
        else:
            stage = STAGES.get(self.kind, "")
            self.stage = around if (stage, around) in _WORK_FOR else stage
            self.inside = self.stage or around

    def stretch(self) -> None:
        """A stream goes on after the call that opened it: to the end of the step that waited for its first token."""
        token = self.first_token()
        if token is not None and token > self.end:
            self.end = next((node.end for node in self.ancestors() if node.end >= token), token)
            self.seconds = self.end - self.start

    def first_token(self) -> float | None:
        """When the first event came that tells of a first token, or of a piece of the answer."""
        moments = [event.time for event in self.span.events if _tells_token(event.name)]
        return self.start + (min(moments) - self.span.time).total_seconds() if moments else None

    @property
    def generates(self) -> bool:
        """Whether it is a model's call for the answer, not for another stage."""
        return self.stage == "generation"

    def ancestors(self) -> Iterable[Node]:
        """Its parent, that one's parent, and so on."""
        node = self.parent
        while node is not None:
            yield node
            node = node.parent


class Tree:
    """``nodes`` by start, ``levels`` from the top down. ``root`` has no parent; ``top`` stands in for a missing one."""

    __slots__ = ("levels", "nodes", "root", "top")

    def __init__(self, spans: Sequence[Span]) -> None:
        unique = _unique(spans)
        unique.sort(key=_moment)
        origin = unique[0].time
        by_id: dict[str, Node] = {}
        for span in unique:
            by_id[span.span_id] = Node(span, (span.time - origin).total_seconds())
        self.nodes = list(by_id.values())
        self.root: Node | None = None
        for node in self.nodes:
            parent = node.span.parent_span_id
            if parent not in _NO_PARENT:
                node.parent = by_id.get(parent)
            elif self.root is None:
                self.root = node
        for node in self.nodes:
            if node.depth == _UNSEEN:
                _settle(node)
        for node in self.nodes:
            if node.generates and node.span.events:
                node.stretch()
        self.levels = sorted(self.nodes, key=_depth)
        self.top = self.root or self.levels[0]

    @property
    def extent(self) -> float:
        """Seconds from the first start to the last end."""
        return max(node.end for node in self.nodes)


def is_root(span: Span) -> bool:
    """Whether it is the first span of its trace."""
    return span.parent_span_id in _NO_PARENT


def _tells_token(name: str) -> bool:
    name = name.lower()
    return ("first" in name and ("token" in name or "chunk" in name)) or name.endswith("completion.chunk")


def _settle(node: Node) -> None:
    path = []
    current: Node | None = node
    while current is not None and current.depth == _UNSEEN:
        current.depth = _SEEN
        path.append(current)
        current = current.parent
    if current is not None and current.depth == _SEEN:  # a circle: it is opened where it closes
        path[-1].parent = None
    while path:
        path.pop().settle()


def _unique(spans: Sequence[Span]) -> list[Span]:
    found: dict[str, Span] = {}
    for span in spans:
        other = found.setdefault(span.span_id, span)
        if other is not span and other != span:
            found[span.span_id] = max(other, span, key=_fullness)
    return list(found.values())


def _fullness(span: Span) -> tuple[float, int, int, str]:
    return span.duration or -1.0, len(span.attributes), len(span.events), repr(span)


def _moment(span: Span) -> tuple[object, str]:
    return span.time, span.span_id


def _depth(node: Node) -> int:
    return node.depth
