"""Writes an expression as Prometheus reads it, and a rule file as YAML; ``parser`` reads back the same tree.

Called by ``export``. Every text in the file is double-quoted, so that none can be taken for something else.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence

from barograph.alerts.prometheus.expression import (
    FIRST,
    NAME,
    Absent,
    Aggregate,
    AsSeries,
    Binary,
    BucketQuantile,
    Negative,
    Node,
    Now,
    Number,
    Over,
    Plain,
    Selector,
)
from barograph.alerts.prometheus.template import go_number

Yaml = str | int | Sequence["Yaml"] | Mapping[str, "Yaml"]

_NO_TEXTS = ("y", "n", "yes", "no", "true", "false", "on", "off", "null")  # what YAML takes for something else
_UNITS = (("h", 3600_000), ("m", 60_000), ("s", 1000), ("ms", 1))


def write(node: Node) -> str:
    """The text of the expression, in brackets wherever they could matter."""
    if isinstance(node, Number):
        return go_number(node.value)
    if isinstance(node, Now):
        return "time()"
    if isinstance(node, Selector):
        return f"{_selected(node)}{_offset(node)}"
    if isinstance(node, Over):
        return _over(node)
    if isinstance(node, Absent) and isinstance(node.of, Over) and node.over_time:
        return _over(node.of).replace(node.of.function, "absent_over_time", 1)
    if isinstance(node, Absent):
        return f"absent({write(node.of)})"
    if isinstance(node, Plain):
        limit = "" if node.limit is None else f", {go_number(node.limit)}"
        return f"{node.function}({write(node.of)}{limit})"
    if isinstance(node, BucketQuantile):
        return f"histogram_quantile({go_number(node.level)}, {write(node.of)})"
    if isinstance(node, AsSeries):
        return f"vector({write(node.of)})"
    if isinstance(node, Negative):
        return f"-{_inner(node.of)}"
    if isinstance(node, Aggregate):
        word = "without" if node.without else "by"
        grouped = f" {word} ({', '.join(node.labels)}) " if node.labels or node.without else ""
        level = "" if node.level is None else f"{go_number(node.level)}, "
        return f"{node.operator}{grouped}({level}{write(node.of)})"
    return _binary(node)


def _over(node: Over) -> str:
    if isinstance(node.of, Selector) and not node.step:
        window = f"{_selected(node.of)}[{duration(node.seconds)}]{_offset(node.of)}"
    else:
        window = f"{_inner(node.of)}[{duration(node.seconds)}:{duration(node.step)}]"
    if node.argument is None:
        return f"{node.function}({window})"
    number = go_number(node.argument)
    return f"{node.function}({number}, {window})" if node.function in FIRST else f"{node.function}({window}, {number})"


def _binary(node: Binary) -> str:
    words: list[str] = [node.operator]
    if node.as_number:
        words.append("bool")
    if node.matching.on or node.matching.labels:
        words.append(f"{'on' if node.matching.on else 'ignoring'} ({', '.join(node.matching.labels)})")
    if node.matching.many:
        words.append(f"group_{node.matching.many} ({', '.join(node.matching.included)})")
    return f"{_inner(node.left)} {' '.join(words)} {_inner(node.right)}"


def _inner(node: Node) -> str:
    negative = isinstance(node, Number) and go_number(node.value).startswith("-")
    return f"({write(node)})" if negative or isinstance(node, Binary | Negative) else write(node)


def _selected(selector: Selector) -> str:
    matchers = list(selector.matchers)
    name = ""
    if matchers and matchers[0].name == NAME and matchers[0].operator == "=":
        name = matchers.pop(0).value
    inside = ",".join(map(str, matchers))
    return f"{name}{{{inside}}}" if inside or not name else name


def _offset(selector: Selector) -> str:
    return f" offset {duration(selector.offset)}" if selector.offset else ""


def duration(seconds: float) -> str:
    """A duration in Prometheus' form: ``1h30m``; to the millisecond."""
    left, text = round(seconds * 1000), ""
    for unit, length in _UNITS:
        count, left = divmod(left, length)
        text += f"{count}{unit}" if count else ""
    return text or "0s"


def write_yaml(document: Mapping[str, Yaml], notes: Sequence[str] = ()) -> str:
    """A YAML document; the notes stand above it as comments."""
    head = [f"# {line}" for note in notes for line in _one_line(note)]
    return "\n".join([*head, *_lines(document, ""), ""])


def _one_line(note: str) -> list[str]:
    return ["".join(character if character.isprintable() else " " for character in note)]


def _lines(value: Yaml, indent: str) -> Iterator[str]:
    if isinstance(value, Mapping):
        for key, inner in value.items():
            name = key if key.isidentifier() and key.lower() not in _NO_TEXTS else _quoted(key)
            if isinstance(inner, str | int):
                yield f"{indent}{name}: {_scalar(inner)}"
            else:
                yield f"{indent}{name}:{'' if inner else ' []'}"
                yield from _lines(inner, indent + "  ")
    elif not isinstance(value, str | int):
        for inner in value:
            first, *rest = _lines(inner, "") if not isinstance(inner, str | int) else [_scalar(inner)]
            yield f"{indent}- {first}"
            yield from (f"{indent}  {line}" for line in rest)


def _scalar(value: str | int) -> str:
    return _quoted(value) if isinstance(value, str) else str(value)


def _quoted(text: str) -> str:
    """A double-quoted YAML text: JSON's escapes, and one for every character that cannot be printed."""
    plain = json.dumps(text, ensure_ascii=False)
    return "".join(character if character.isprintable() else f"\\U{ord(character):08x}" for character in plain)
