"""What a trace's spans measured: time by stage, tokens, cost, and the first token.

``otel`` asks for them. A moment counts for one stage only: the innermost that it lies in, so the embedding inside
a retriever is embedding, and the retriever's time is the rest; spans of one stage that overlap count once. Tokens
and cost are summed over the innermost spans that report them; a span around them repeats what they say.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from barograph.collect.otel_tree import Node, Tree
from barograph.collect.otel_values import Attributes, number
from barograph.core.event import MAX_SECONDS

_INPUT = (
    "llm.token_count.prompt", "gen_ai.usage.input_tokens", "gen_ai.usage.prompt_tokens", "llm.usage.prompt_tokens",
)  # fmt: skip
_OUTPUT = (
    "llm.token_count.completion", "gen_ai.usage.output_tokens", "gen_ai.usage.completion_tokens",
    "llm.usage.completion_tokens",
)  # fmt: skip
_CACHED = (
    "llm.token_count.prompt_details.cache_read", "gen_ai.usage.cache_read.input_tokens",
    "gen_ai.usage.cache_read_input_tokens", "llm.token_count.prompt_details.cache_input",
)  # fmt: skip
_COST = ("llm.cost.total", "gen_ai.usage.cost", "gen_ai.usage.total_cost", "barograph.cost")
_COST_PARTS = ("llm.cost.prompt", "llm.cost.completion")
_FIRST_CHUNK = "gen_ai.response.time_to_first_chunk"
_NO_TOKENS = frozenset(("EMBEDDING", "RETRIEVER", "RERANKER"))  # what they spend is not the model's
_MAX_TOKENS = 1_000_000_000
_MAX_DOLLARS = 1_000_000.0
_STAGES_DEEP = 64  # a stage inside more stages than this is nobody's program
_DIGITS = 9  # sums of floats, without their noise


class Usage(NamedTuple):
    """What the models used, in the whole trace."""

    input_tokens: int | None = None
    output_tokens: int | None = None
    cached_tokens: int | None = None
    cost: float | None = None


_Reported = tuple[float | None, float | None, float | None, float | None]
_Report = tuple[Node, _Reported]


def usage_of(nodes: Iterable[Node]) -> Usage:
    """Tokens and cost, each counted once."""
    reports: list[_Report] = []
    for node in nodes:
        if node.inside != "evaluation":
            if "token" not in node.names and "cost" not in node.names:
                continue
            said = _reported(node.attributes, node.kind not in _NO_TOKENS)
            if said is not None:
                reports.append((node, said))
    if not reports:
        return Usage()
    reports.sort(key=_deepest_first)
    sums = reports[0][1] if len(reports) == 1 else [_sum(reports, field) for field in range(4)]
    given, made, cached, cost = sums
    return Usage(
        None if given is None else min(int(given), _MAX_TOKENS),
        None if made is None else min(int(made), _MAX_TOKENS),
        None if cached is None else min(int(cached), _MAX_TOKENS),
        None if cost is None else min(cost, _MAX_DOLLARS),
    )


def _deepest_first(report: _Report) -> int:
    return -report[0].depth


def _reported(attributes: Attributes, tokens: bool) -> _Reported | None:
    get = attributes.get
    found: list[float | None] = [None, None, None, None]
    said = False
    if tokens:
        for place, names in enumerate((_INPUT, _OUTPUT, _CACHED)):
            for name in names:
                text = get(name)
                if text is not None:
                    count = number(text, _MAX_TOKENS)
                    if count is not None and count >= 0:
                        found[place] = count
                        said = True
                        break
    for name in _COST:
        text = get(name)
        if text is not None:
            found[3] = number(text, _MAX_DOLLARS)
            break
    else:
        parts = [number(get(name), _MAX_DOLLARS) for name in _COST_PARTS if name in attributes]
        if parts and None not in parts:
            found[3] = math.fsum(part for part in parts if part is not None)
    if found[3] is not None and found[3] < 0:
        found[3] = None
    if found[3] is None and not said:
        return None
    return found[0], found[1], found[2], found[3]


def _sum(reports: Sequence[_Report], field: int) -> float | None:
    """The sum over the innermost that report more than nothing."""
    counted: list[float] = []
    known = False
    covered: set[int] = set()
    for node, said in reports:
        value = said[field]
        if value is None:
            continue
        known = True
        if value > 0 and id(node) not in covered:
            counted.append(value)
            for ancestor in node.ancestors():
                if id(ancestor) in covered:
                    break
                covered.add(id(ancestor))
    return math.fsum(counted) if known else None


def stage_times(nodes: Iterable[Node]) -> dict[str, float]:
    """Seconds by stage: embedding, retrieval, rerank, generation."""
    spans: dict[str, list[Node]] = {}
    holes: dict[int, list[tuple[float, float]]] = {}
    for node in nodes:
        stage = node.stage
        if not stage or node.seconds is None:
            continue
        spans.setdefault(stage, []).append(node)
        around = node.above
        for _ in range(_STAGES_DEEP):
            if around is None:
                break
            if around.stage != stage:
                holes.setdefault(id(around), []).append((node.start, node.end))
            around = around.above
    times = {}
    for stage, members in spans.items():
        if len(members) == 1 and id(members[0]) not in holes:
            times[stage] = round(members[0].seconds or 0.0, _DIGITS)
        else:
            times[stage] = _covered(members, holes)
    return times


def _covered(members: Sequence[Node], holes: dict[int, list[tuple[float, float]]]) -> float:
    pieces: list[tuple[float, float]] = []
    for node in members:
        start = node.start
        for hole_start, hole_end in [*sorted(holes.get(id(node), ())), (node.end, node.end)]:
            end = min(hole_start, node.end)  # a child may begin, or go on, after the end of what called it
            if start < end:
                pieces.append((start, end))
            start = max(start, hole_end)
    total = 0.0
    reached = -math.inf
    for start, end in sorted(pieces):
        if end > reached:
            total += end - max(start, reached)
            reached = end
    return min(round(total, _DIGITS), MAX_SECONDS)


def first_token(tree: Tree) -> float | None:
    """Seconds from the request to the first token of the last generation that tells."""
    said = tree.top.first_token()
    if said is None:
        for node in reversed(tree.nodes):
            if node.generates:
                said = _first_of(node)
                if said is not None:
                    break
    if said is None:
        return None
    seconds = round(said - tree.top.start, _DIGITS)
    return seconds if 0 <= seconds <= MAX_SECONDS else None


def _first_of(node: Node) -> float | None:
    text = node.attributes.get(_FIRST_CHUNK)
    if text is not None:
        seconds = number(text, MAX_SECONDS)
        if seconds is not None and seconds >= 0:
            return node.start + seconds
    return node.first_token()
