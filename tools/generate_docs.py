"""Writes the pages of docs/ that are made from the code: events.md, metrics.md and settings.md.

Reads the descriptions and bounds in ``barograph.core``, where validation reads them too, so a page cannot say
anything else than the code does. ``--check`` writes nothing and fails when a page is not up to date.
"""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import msgspec

from barograph.core import event as events
from barograph.core.metric import BUILT_IN, FAMILIES, Measure, Metric
from barograph.core.settings import PREFIX, Settings
from barograph_client.aliases import ALIASES
from barograph_client.limits import MAX_LINE

DOCS = Path(__file__).resolve().parent.parent / "docs"
MADE = "<!-- Made by `make docs` from src/barograph/core/{source}; edit that, not this. -->\n"
Schema = Mapping[str, Any]

EVENTS_HEAD = """\
# Events

An event is one JSON object of a kind. Times are ISO 8601 with a zone and are kept in UTC; durations are seconds; money
is USD; what is absent is unknown, never zero. Numbers must be finite. A field that breaks its bounds rejects that one
event, with the field and the reason; a field that is not listed here is kept as a tag. One event has at most
{most:,} bytes as JSON.

`event_id` and `time` are made when the event is recorded, where the caller leaves them out. A time may also be given as
a datetime (without a zone it is UTC) or as seconds since 1970. Nothing (`null`, `None`) is the same as leaving a field
out. A text of digits is not a number, and a truth value is not one either. Of each kind some other names are taken, as
listed below it; a name beside the one it stands for refuses the event. A query with an error's type or message and no
status has the status `error`. Of a document, entries of `metadata` are read as if they stood beside it, and what is not
listed is kept in the query's tags, as `documents.<name>`, one value a document. Fields that hold nothing are left out
of the journal's lines; `received_at` is added there, by the journal.

A tag's text has at most 65,536 characters; numbers and truth values become text, lists and mappings JSON.
"""
METRICS_HEAD = """\
# Metrics

Each is defined once and known by its name to questions, alerts, experiments and charts. A ratio is a ratio of sums, a
quantile comes from merged sketches (relative error at most 1 %), and what was not measured is absent, not zero. Your
own: see `[[metrics]]` in [settings](settings.md).

"""
SETTINGS_HEAD = """\
# Settings

They are read from `barograph.toml` in the data directory, then from the environment, then from arguments; the later
wins. An unknown or unusable setting stops the start and is named. None is needed: all have defaults.

In the file a number stands without quotes: `daily = 5.0`. A variable is read as the type of its setting; a list or a
table is written in it as JSON, as in `BAROGRAPH_COLLECT__REDACT='["email", "phone"]'`. One entry of a table can be set
alone (`BAROGRAPH_COLLECT__TAGS__TEAM=search`), and `BAROGRAPH_RULES` and `BAROGRAPH_METRICS`
replace those of the file.

"""
EXAMPLE_HEAD = """
## A whole barograph.toml

Every setting with its default; one example each of what may be repeated.

"""


def table(head: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> str:
    """A Markdown table."""
    lines = [head, tuple("---" for _ in head), *rows]
    return "".join("| " + " | ".join(map(cell, line)) + " |\n" for line in lines)


def cell(text: str) -> str:
    """The text so that Markdown shows it as it is: no new column, and no tag outside of code."""
    parts = text.replace("|", "\\|").split("`")
    return "`".join(part if i % 2 else part.replace("<", "&lt;") for i, part in enumerate(parts))


def describe(schema: Schema) -> str:
    """What values a schema takes, in words: 'number, 0 to 1'."""
    if "discriminator" in schema:
        return "table with a `type`: " + ", ".join(f"`{kind}`" for kind in schema["discriminator"]["mapping"])
    if "anyOf" in schema:
        return " or ".join(describe(option) for option in schema["anyOf"] if option.get("type") != "null")
    if "$ref" in schema:
        name = str(schema["$ref"]).rsplit("/", 1)[-1]
        return "table" if name.endswith("Settings") else f"[{name.lower()}](#{name.lower()})"
    if "enum" in schema:
        return " or ".join(f"`{value}`" for value in schema["enum"])
    kind = str(schema.get("type", "value"))
    if kind == "array":
        text = f"list of {describe(schema['items'])}"
    elif kind == "object":
        text = "table of texts"
    elif schema.get("format") == "date-time":
        return "time"
    else:
        text = {"string": "text", "integer": "whole number", "boolean": "true or false"}.get(kind, kind)
    return text + "".join(f", {part}" for part in bounds(schema))


def bounds(schema: Schema) -> list[str]:
    """The bounds of a schema in words."""
    low, high = schema.get("minimum"), schema.get("maximum")
    above, under = schema.get("exclusiveMinimum"), schema.get("exclusiveMaximum")
    parts = []
    if low is not None and high is not None:
        parts.append(f"{number(low)} to {number(high)}")
    elif above is not None and (high or under) is not None:
        parts.append(f"above {number(above)}, {'at most' if high is not None else 'below'} {number(high or under)}")
    elif low is not None or above is not None:
        parts.append(f"at least {number(low)}" if low is not None else f"above {number(above)}")
    least, most = schema.get("minLength"), schema.get("maxLength")
    if most is not None:
        parts.append(
            f"{number(least or 0)} to {number(most)} characters" if least else f"up to {number(most)} characters"
        )
    if schema.get("maxItems") is not None:
        parts.append(f"up to {number(schema['maxItems'])}")
    if schema.get("maxProperties") is not None:
        parts.append(f"up to {number(schema['maxProperties'])}")
    return parts


def number(value: Any) -> str:
    """A bound as people write it."""
    if abs(value) >= 1e15:
        return f"2^{int(value).bit_length() - 1}" if isinstance(value, int) else f"{value:g}"
    return f"{int(value):,}" if value == int(value) else f"{value:g}"


def schemas(*types: type[msgspec.Struct]) -> dict[str, Schema]:
    """The JSON schema of each struct and of whatever it holds, by its name."""
    return dict(msgspec.json.schema_components(types)[1])


def fields_of(schema: Schema, leave_out: Iterable[str] = ()) -> list[tuple[str, ...]]:
    """A row a field: name, values, description; a required one says so."""
    left_out, required = set(leave_out), set(schema.get("required", ()))
    return [
        (f"`{name}`" + (" (required)" if name in required else ""), describe(part), str(part.get("description", "")))
        for name, part in schema["properties"].items()
        if name not in left_out
    ]


def events_page() -> str:
    """docs/events.md."""
    known = schemas(*events.KINDS.values(), events.Document)
    head = ("Field", "Values", "Meaning")
    common = list(events.Event.__struct_fields__)
    shared = fields_of(known["Query"], _all_but(known["Query"], common))
    parts = [
        MADE.format(source="event.py"),
        EVENTS_HEAD.format(most=MAX_LINE),
        "\n## Every kind\n\n",
        table(head, [("`kind`", "text", "One of the names below"), *shared]),
    ]
    for title, kinds in (("", events.CALLER_KINDS), ("derived", events.DERIVED_KINDS)):
        for kind, struct in kinds.items():
            mark = " (derived, written by Barograph itself)" if title else ""
            parts.append(f"\n## {kind}\n\n{_first_line(struct)}{mark}\n\n")
            parts.append(table(head, fields_of(known[struct.__name__], ["kind", *common])))
            parts.append(aliases_of(kind))
    parts.append(f"\n## document\n\n{_first_line(events.Document)} Part of a query.\n\n")
    parts.append(table(head, fields_of(known["Document"])))
    parts.append(aliases_of("document"))
    return "".join(parts)


def aliases_of(kind: str) -> str:
    """The table of a kind's aliases, if it has any."""
    rows = [(f"`{alias.name}`", f"`{alias.field}`", alias.note) for alias in ALIASES.get(kind, ())]
    return "\nAlso taken:\n\n" + table(("Name", "Is kept as", "Value"), rows) if rows else ""


def _all_but(schema: Schema, kept: Iterable[str]) -> list[str]:
    return [name for name in schema["properties"] if name not in set(kept)]


def _first_line(struct: type) -> str:
    return (struct.__doc__ or "").strip().splitlines()[0]


def metrics_page() -> str:
    """docs/metrics.md."""
    rows = [
        (f"`{m.name}`", m.title, "" if m.unit == "1" else m.unit, m.better, computed(m), m.sentence) for m in BUILT_IN
    ]
    families = [(f"`{name}.<name>`", sentence) for name, sentence in FAMILIES.items()]
    return "".join((
        MADE.format(source="metric.py"),
        METRICS_HEAD,
        table(("Name", "Title", "Unit", "Better", "Computed as", "Meaning"), rows),
        "\n## Families\n\nThese exist for every name that was recorded.\n\n",
        table(("Name", "Meaning"), families),
    ))  # fmt: skip


def computed(metric: Metric) -> str:
    """How a metric is computed, in words."""
    of = measured(metric.of)
    match metric.aggregation:
        case "ratio" if metric.per is not None:
            return f"{of} / {measured(metric.per)}"
        case "quantile":
            return f"{metric.level:g} quantile of {of}"
        case "rate":
            return f"{of} / minutes"
        case "count":
            return f"count of {of}"
        case "distinct":
            return f"distinct {of}"
        case aggregation:
            return f"{aggregation} of {of}"


def measured(measure: Measure) -> str:
    """What a measure reads, in words."""
    text = f"`{measure.kind}.{measure.field}`" if measure.field else f"`{measure.kind}` events"
    where = f" where {measure.where[0]} is {measure.where[1]}" if measure.where else ""
    return text + where


GROUPS = ("rules", "metrics", "receivers")  # settings that may be given several times
EXAMPLES: dict[str, dict[str, Any]] = {
    "rules": {
        "name": "slow answers", "metric": "response_time.p95", "above": 5.0, "window": "5m", "for": "2m",
        "severity": "critical", "by": ["pipeline"], "where": ["environment:eq:production"], "minimum": 20,
        "message": "Answers are slow",
    },
    "metrics": {
        "name": "faithfulness.p10", "of": "score.faithfulness", "aggregation": "quantile", "level": 0.1,
        "unit": "score", "better": "higher", "title": "Faithfulness p10",
        "sentence": "One answer in ten is less faithful than this.",
    },
    "receivers": {
        "name": "on call",
        "targets": [
            {"type": "slack", "url_env": "SLACK_URL"},
            {"type": "webhook", "url": "https://example.org/hook", "secret_env": "HOOK_SECRET"},
        ],
    },
    "routing": {
        "route": {
            "receiver": "log", "group_by": ["alertname"], "group_wait": "30s", "group_interval": "5m",
            "repeat_interval": "4h", "routes": [{"matchers": ["severity=critical"], "receiver": "on call"}],
        },
    },
}  # fmt: skip


def settings_page() -> str:
    """docs/settings.md."""
    known = schemas(Settings)
    plain, groups, lists = [], [], []
    for name, part in known["Settings"]["properties"].items():
        if name in GROUPS:
            lists.append((name, known[_item(part)]))
        elif "$ref" in part or "allOf" in part or _reference(part):
            groups.append((name, known[_reference(part)]))
        else:
            plain.append(name)
    head = ("Setting", "Values", "Default", "Meaning", "Environment")
    top = {"properties": {name: known["Settings"]["properties"][name] for name in plain}}
    parts = [MADE.format(source="settings.py"), SETTINGS_HEAD, table(head, settings_rows(top, ""))]
    for name, schema in groups:
        inner = _inner(known, schema)
        parts.append(f"\n## [{name}]\n\n{schema.get('description', '')}\n\n")
        parts.append(table(head[:4] if inner else head, _rows(schema, name, inner)))
        parts += sections(known, name, inner, frozenset())
    for name, schema in lists:
        parts.append(f"\n## [[{name}]]\n\n{schema.get('description', '')} May be given several times.\n\n")
        inner = _inner(known, schema)
        parts.append(table(head[:4], [row[:4] for row in settings_rows(schema, name)]))
        parts += sections(known, name, inner, frozenset())
    parts += [EXAMPLE_HEAD, f"```toml\n{example(plain, groups, lists)}```\n"]
    return "".join(parts)


def sections(known: Schema, path: str, inner: Mapping[str, list[str]], above: frozenset[str]) -> list[str]:
    """A section for each struct that stands inside another one, however deep; ``above`` are those around it."""
    parts: list[str] = []
    for name, structs in inner.items():
        for struct in (one for one in structs if one not in above):
            schema = known[struct]
            kind = schema["properties"].get("type", {}).get("enum", [""])[0]
            title = f"{path}.{name}" + (f', type = "{kind}"' if kind else "")
            rows = [row[:4] for row in settings_rows(schema, path) if row[0] != "`type`"]
            parts.append(f"\n### {title}\n\n{schema.get('description', '')}\n\n")
            parts.append(table(("Setting", "Values", "Default", "Meaning"), rows))
            parts += sections(known, f"{path}.{name}", _inner(known, schema), above | {struct})
    return parts


def _rows(schema: Schema, name: str, inner: Mapping[str, list[str]]) -> list[tuple[str, ...]]:
    """Rows of a group; one with groups inside is written in the file, as no variable is so deep."""
    rows = settings_rows(schema, name)
    return [row[:4] for row in rows] if inner else rows


def _inner(known: Schema, schema: Schema) -> dict[str, list[str]]:
    """The settings that are structs, or lists of them, and the names of these."""
    found = {}
    for name, part in schema["properties"].items():
        text = msgspec.json.encode({key: value for key, value in part.items() if key != "default"}).decode()
        referred = dict.fromkeys(re.findall(r'"\$ref":"[^"]*/([^"/]+)"', text))
        names = [name_ for name_ in referred if "properties" in known[name_]]
        if names:
            found[name] = names
    return found


def settings_rows(schema: Schema, group: str) -> list[tuple[str, ...]]:
    """A row a setting."""
    rows: list[tuple[str, ...]] = []
    required = set(schema.get("required", ()))
    for name, part in schema["properties"].items():
        value = part.get("default")
        default = "(required)" if name in required else "none" if value is None else f"`{toml(value)}`"
        if isinstance(value, dict) and value:
            default = "below"
        variable = "`" + PREFIX + "__".join(filter(None, (group, name))).upper() + "`"
        rows.append((f"`{name}`", describe(part), default, str(part.get("description", "")), variable))
    return rows


def _reference(part: Schema) -> str:
    found = part.get("$ref") or next(
        (option["$ref"] for option in part.get("anyOf", part.get("allOf", ())) if "$ref" in option), ""
    )
    return str(found).rsplit("/", 1)[-1]


def _item(part: Schema) -> str:
    return str(part["items"]["$ref"]).rsplit("/", 1)[-1]


def example(plain: list[str], groups: list[tuple[str, Schema]], lists: list[tuple[str, Schema]]) -> str:
    """A barograph.toml with every setting."""
    defaults = msgspec.to_builtins(Settings())
    lines = [f"{name} = {toml(defaults[name])}" for name in plain]
    for name, _ in groups:
        if name in EXAMPLES:
            for inner, value in EXAMPLES[name].items():
                lines += ["", f"[{name}.{inner}]", *(f"{key} = {toml(one)}" for key, one in value.items())]
            continue
        lines += ["", f"[{name}]"]
        for key, value in defaults[name].items():
            lines.append(f"# {key} is not set" if value is None else f"{key} = {toml(value)}")
    for name, _ in lists:
        lines += ["", f"[[{name}]]", *(f"{key} = {toml(value)}" for key, value in EXAMPLES[name].items())]
    return "\n".join(lines) + "\n"


def toml(value: object) -> str:
    """A value as TOML writes it."""
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{key} = {toml(one)}" for key, one in value.items()) + "}"
    if isinstance(value, str | bool | list | tuple):
        if isinstance(value, list | tuple):
            return "[" + ", ".join(map(toml, value)) + "]"
        return msgspec.json.encode(value).decode()
    return str(value)


PAGES = {"events.md": events_page, "metrics.md": metrics_page, "settings.md": settings_page}


def main() -> int:
    parser = argparse.ArgumentParser(description="Write the pages of docs/ that are made from the code.")
    parser.add_argument("--check", action="store_true", help="write nothing; fail when a page is not up to date")
    check = parser.parse_args().check
    stale = []
    for name, page in PAGES.items():
        path, text = DOCS / name, page()
        if path.is_file() and path.read_text(encoding="utf-8") == text:
            continue
        stale.append(name)
        if not check:
            path.write_text(text, encoding="utf-8")
            print(f"docs/{name} written")
    if check and stale:
        print(f"not up to date: {', '.join(stale)}. Run `make docs`.", file=sys.stderr)
    return 1 if check and stale else 0


if __name__ == "__main__":
    sys.exit(main())
