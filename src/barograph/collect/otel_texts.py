"""The question and the answer of a trace, out of whatever its spans hold.

``otel`` asks for them. The root says best what went in and out; where it says nothing (a web server's span), the
top-most steps do, and last the models' own messages. A text may be JSON: a chain's inputs, a decorated function's
arguments, a list of messages.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple

from barograph.collect.otel_tree import Node, Tree
from barograph.collect.otel_values import HIDDEN, Attributes, Json, blank, first, json_of, structure_of

_INPUTS = (
    "input.value", "traceloop.entity.input", "gen_ai.task.input", "gen_ai.retrieval.query.text", "reranker.query",
    "barograph.query", "rag.query", "rag.question", "query", "question", "input", "user_input", "prompt",
    "haystack.pipeline.input_data", "haystack.component.input",
)  # fmt: skip
_OUTPUTS = (
    "output.value", "traceloop.entity.output", "gen_ai.task.output", "barograph.answer", "rag.answer", "answer",
    "response", "output", "completion", "haystack.pipeline.output_data", "haystack.component.output",
)  # fmt: skip
_QUESTION_KEYS = (
    "question", "query", "query_str", "str_or_query_bundle", "query_bundle", "user_query", "user_msg", "user_input",
    "user_message", "input", "inputs", "prompt", "messages", "chat_history", "message", "text", "content", "value",
    "args", "kwargs", "parts",
)  # fmt: skip
_ANSWER_KEYS = (
    "answer", "output", "outputs", "response", "result", "output_text", "final_answer", "generations", "choices",
    "messages", "message", "content", "text", "completion", "replies", "value", "kwargs", "parts",
)  # fmt: skip
_USER = frozenset(("user", "human", "HumanMessage", "HumanMessageChunk"))
_ASSISTANT = frozenset(("assistant", "ai", "model", "chatbot", "AIMessage", "AIMessageChunk"))
_STEPS = frozenset(("CHAIN", "AGENT", ""))
_CONTENT_EVENTS = frozenset(("gen_ai.client.inference.operation.details",))
_SAYING = frozenset(("content", "parts", "kwargs", "data"))  # where a message has its text
_MESSAGES = 1000  # of one conversation that are looked at
_NO_ANSWERS = frozenset(("RETRIEVER", "RERANKER", "EMBEDDING"))
_DEPTH = 8  # of JSON inside JSON
_FILTERED = ("content_filter", "refusal", "SAFETY", "safety")
_EMPTY_RESPONSE = "Empty Response"  # what LlamaIndex answers when nothing was retrieved


class Side(NamedTuple):
    """One side of a conversation: where it stands, and how it is told from the other."""

    question: bool
    attributes: Sequence[str]
    keys: Sequence[str]  # of JSON
    roles: frozenset[str]
    indexed: Sequence[tuple[str, str, str, str]]  # prefix, then the ends of the names of role, text and parts
    lists: Sequence[str]  # attributes that hold messages
    events: Sequence[str]


QUESTION = Side(
    question=True,
    attributes=_INPUTS,
    keys=_QUESTION_KEYS,
    roles=_USER,
    indexed=(
        ("llm.input_messages.", ".message.role", ".message.content", ".message.contents."),
        ("gen_ai.prompt.", ".role", ".content", ""),
        ("llm.prompts.", ".role", ".content", ""),
    ),
    lists=("gen_ai.input.messages", "gen_ai.prompt", "llm.prompts"),
    events=("gen_ai.user.message", "gen_ai.content.prompt"),
)
ANSWER = Side(
    question=False,
    attributes=_OUTPUTS,
    keys=_ANSWER_KEYS,
    roles=_ASSISTANT,
    indexed=(
        ("llm.output_messages.", ".message.role", ".message.content", ".message.contents."),
        ("gen_ai.completion.", ".role", ".content", ""),
        ("llm.completions.", ".role", ".content", ""),
    ),
    lists=("gen_ai.output.messages", "gen_ai.completion", "llm.completions"),
    events=("gen_ai.choice", "gen_ai.content.completion"),
)


def question_of(tree: Tree) -> str:
    """What was asked, as far as the trace tells."""
    text = said(tree.top, QUESTION) or _of_steps(tree, QUESTION, _any)
    if text:
        return text
    searched = next((found for node in tree.nodes if node.stage == "retrieval" and (found := said(node, QUESTION))), "")
    for node in reversed(tree.nodes):
        if node.generates:
            prompt = said(node, QUESTION)
            if prompt:  # a prompt mostly wraps the question, and the retriever got it bare
                return searched if searched and searched in prompt else prompt
    return (
        searched or next((found for node in tree.nodes if (found := said(node, QUESTION))), "") or _raw(tree, _INPUTS)
    )


def answer_of(tree: Tree) -> str | None:
    """What was answered; empty when the trace says that nothing was, none when it does not tell."""
    top = tree.top
    lists = top.kind in _NO_ANSWERS  # its output is no answer
    text = None if lists else said(top, ANSWER)
    if text or text == "" or top.span.status == "error":  # of what failed, the steps hold only half-finished things
        return "" if text == _EMPTY_RESPONSE else text
    generations = [node for node in tree.nodes if node.generates]
    text = _of_steps(tree, ANSWER, _after(tree, generations))
    for node in reversed(generations):
        if text or node.span.status == "error":  # what an earlier call said is not the answer that failed
            break
        text = said(node, ANSWER)
        if any(word in node.attributes.get("gen_ai.response.finish_reasons", "") for word in _FILTERED):
            return text or ""
    if text == _EMPTY_RESPONSE:
        return ""
    return text or (None if lists else _raw(tree, _OUTPUTS) or None)


def _after(tree: Tree, generations: Sequence[Node]) -> Callable[[Node], bool]:
    """Which steps may hold the answer: those that end with the last generation or later, else those around a stage."""
    if generations:
        end = max(node.end for node in generations)
        return lambda step: step.end >= end
    around: set[int] = set()
    for node in tree.nodes:
        if node.stage:
            for step in node.ancestors():
                if id(step) in around:
                    break
                around.add(id(step))
    return lambda step: id(step) in around


def _any(step: Node) -> bool:
    return True


def _of_steps(tree: Tree, side: Side, holds: Callable[[Node], bool]) -> str | None:
    """What the highest steps below a root that says nothing say: the first one's input, the last one's output."""
    depth = -1
    found: str | None = None
    for node in tree.levels:
        if node is tree.top or node.kind not in _STEPS or node.inside or not holds(node):
            continue
        if found and node.depth > depth:
            break
        text = said(node, side)
        if text:
            found, depth = text, node.depth
            if side.question:
                break
    return found


def _raw(tree: Tree, names: Sequence[str]) -> str:
    """The root's input or output as it is: JSON that nobody's convention explains."""
    text = first(tree.top.attributes, names)
    return "" if blank(text) or _is_object(text) or '"response_gen"' in text else text


def said(node: Node, side: Side) -> str | None:
    """One side of what a span holds; empty when it holds an empty one, none when it holds none."""
    attributes = node.attributes
    if node.kind == "LLM":  # its input as a value is a whole request, or its messages with their roles in the text
        return _of_messages(node, side) or _of_values(attributes, side)
    text = _of_values(attributes, side)
    return text or _of_messages(node, side) or text


def _of_values(attributes: Attributes, side: Side) -> str | None:
    found = None
    for name in side.attributes:
        text = attributes.get(name)
        if text is None or text == HIDDEN:
            continue
        read = _read(text, side)
        if read:
            return read
        found = read if found is None else found
    return found


def _read(text: str, side: Side) -> str | None:
    """The text, or the part of its JSON that is meant."""
    value = structure_of(text)
    part = text if value is None else pick(value, side, 0)
    if part is None or _is_object(part):
        return "" if blank(text) else None
    return "" if blank(part) else part


def _is_object(text: str) -> bool:
    """Whether it is what Python prints of an object, such as a generator that the answer comes out of."""
    return text[:1] == "<" and text[-1:] == ">" and " object" in text[:200]


def pick(value: Json, side: Side, depth: int) -> str | None:
    """The text in a JSON value that is one side of a conversation; none when it has no such part."""
    if isinstance(value, str):
        return value
    if depth > _DEPTH:
        return None
    if isinstance(value, list):
        return _pick_item(value, side, depth)
    if not isinstance(value, dict):
        return None
    role = _role(value)
    if role and role not in side.roles and not _SAYING.isdisjoint(value):
        return None
    found = None
    for key in side.keys:
        if key in value:
            part = pick(value[key], side, depth + 1)
            if part:
                return part
            if part is not None or value[key] is None:
                found = ""
    if found is None:  # of an only entry, or of components, as a Haystack pipeline has them
        for key, inner in value.items():
            named = isinstance(inner, dict) and not inner.keys().isdisjoint(side.keys)
            if key not in side.keys and (named or len(value) == 1):
                part = pick(inner, side, depth + 1)
                if part:
                    return part
                found = part if found is None else found
    return found


def _pick_item(items: list[Json], side: Side, depth: int) -> str | None:
    """The last message of this side; of plain texts the first as a question, the last as an answer."""
    if not items:
        return ""
    if all(isinstance(item, dict) and _is_part(item) for item in items):
        texts = [text for item in items if isinstance(item, dict) and (text := item.get("text") or item.get("content"))]
        return "\n".join(text for text in texts if isinstance(text, str))
    if len(items) == 2 and isinstance(items[0], str) and items[0] in _USER | _ASSISTANT and isinstance(items[1], str):
        return items[1] if items[0] in side.roles else None  # a message as a pair of role and text
    plain = [item for item in items if isinstance(item, str)]
    if len(plain) == len(items):
        return plain[0 if side.question else -1]
    for item in reversed(items[-_MESSAGES:]):
        part = pick(item, side, depth + 1)
        if part:
            return part
    return None


def _is_part(item: dict[str, Json]) -> bool:
    return "role" not in item and item.get("type") in ("text", "output_text", "input_text", "reasoning", "tool_call")


def _role(message: dict[str, Json]) -> str:
    for name in ("role", "type"):
        role = message.get(name)
        if isinstance(role, str) and role != "constructor":
            return role if name == "role" or role in _ROLES else ""
    path = message.get("id")
    if isinstance(path, list) and path and isinstance(path[-1], str) and path[-1] in _ROLES:
        return path[-1]
    return ""


_ROLES = _USER | _ASSISTANT | frozenset(("system", "tool", "function", "SystemMessage", "ToolMessage", "developer"))


def _of_messages(node: Node, side: Side) -> str | None:
    attributes = node.attributes
    for prefix, role, content, parts in side.indexed:
        if f"{prefix}0{role}" in attributes or f"{prefix}0{content}" in attributes:
            text = _of_indexed(attributes, side, prefix, role, content, parts)
            if text:
                return text
    for name in side.lists:
        listed = attributes.get(name)
        if listed and listed != HIDDEN:
            text = _read_messages(listed, side)
            if text:
                return text
    return _of_events(node, side) if node.span.events else None


def _of_indexed(attributes: Attributes, side: Side, prefix: str, role: str, content: str, parts: str) -> str | None:
    found = None
    for i in range(_MESSAGES):
        who = attributes.get(f"{prefix}{i}{role}")
        text = attributes.get(f"{prefix}{i}{content}")
        if text is None and parts:
            pieces = [attributes.get(f"{prefix}{i}{parts}{j}.message_content.text") for j in range(8)]
            text = "\n".join(piece for piece in pieces if piece) or None
        if who is None and text is None:
            break
        if text and text != HIDDEN and (who in side.roles or not who):
            found = text
    return None if found is None else _read_messages(found, side)


def _read_messages(text: str, side: Side) -> str:
    """Messages as JSON, the parts of one message, or just its text."""
    value = structure_of(text)
    if isinstance(value, list | dict):
        part = pick(value, side, 0)
        return "" if part is None or blank(part) else part
    return "" if blank(text) else text


def _of_events(node: Node, side: Side) -> str | None:
    found = None
    for event in sorted(node.span.events, key=lambda event: (event.time, event.name)):
        if event.name in _CONTENT_EVENTS:
            for name in side.lists:
                listed = event.attributes.get(name)
                if listed:
                    found = _read_messages(listed, side) or found
        elif event.name in side.events:
            text = _first_content(event.attributes, side.lists)
            if text:
                value = json_of(text) if text[:1] in "{[" else None
                part = None if value is None else pick(value, side, 0)
                found = part or (text if value is None else found)
    return found


def _first_content(attributes: Attributes, names: Iterable[str]) -> str:
    for name in ("content", "gen_ai.event.content", "message", *names, "message.content"):
        text = attributes.get(name)
        if text and text != HIDDEN:
            return text
    return ""
