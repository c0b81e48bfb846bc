"""Settings: one frozen tree, from ``barograph.toml``, then ``BAROGRAPH_…`` variables, then arguments.

Every setting is documented by its annotation; ``docs/settings.md`` is checked against this file. An unknown
name or a wrong type is an error that names the setting, never silently ignored. A variable is a text, which is read
as the setting's type; in the file and in arguments a number in quotes is refused.
"""

from __future__ import annotations

import contextlib
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated as A
from typing import Any, Literal, cast

import msgspec
from msgspec import Meta as M
from msgspec import Struct, field

from barograph.core.mistakes import SEE, Mistake, mistakes
from barograph.core.receiver_settings import DeliverySettings, ReceiverSettings
from barograph.core.routing_settings import RoutingSettings
from barograph.core.toml_lines import TomlLines, dotted
from barograph_client.errors import InvalidSettings

FILE_NAME = "barograph.toml"
PREFIX = "BAROGRAPH_"


class JournalSettings(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How the journal keeps events."""

    durability: A[
        Literal["fsync", "interval"],
        M(description="fsync: on disk before the acknowledgement. interval: synced every sync_interval seconds"),
    ] = "fsync"
    sync_interval: A[float, M(gt=0, le=60, description="Seconds between syncs in interval mode")] = 0.2
    segment_bytes: A[int, M(ge=4096, description="A segment is closed at this size")] = 64 * 2**20
    low_disk_bytes: A[int, M(ge=0, description="Warn when the disk has less free than this")] = 2**30
    duplicate_window: A[int, M(ge=1000, description="Event ids remembered at least, to know a retry")] = 1_000_000
    duplicate_seconds: A[float, M(ge=0, description="And at least for so long, up to four times as many ids")] = 3600.0


class EngineSettings(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Where the engine is and what a question may cost."""

    address: A[
        str, M(description="chdb:// (in the data directory), chdb:///path or clickhouse://user:password@host")
    ] = "chdb://"
    database: A[str, M(pattern="^[A-Za-z_][A-Za-z0-9_]{0,62}$", description="The database's name")] = "barograph"
    load_interval: A[float, M(gt=0, le=60, description="Seconds between looks at the journal")] = 0.25
    query_seconds: A[float, M(gt=0, description="A question's time limit")] = 30.0
    query_memory: A[int, M(ge=2**20, description="A question's memory limit, bytes")] = 2 * 2**30
    query_rows: A[int, M(ge=1, description="Most rows that an answer may have")] = 100_000


class CollectSettings(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What happens to an event before it is kept."""

    redact: A[tuple[str, ...], M(description="What to blank in texts: email, phone, card, key")] = ()
    redact_patterns: A[dict[str, str], M(description="Own patterns: name to regular expression")] = field(
        default_factory=dict
    )
    hash_users: A[bool, M(description="Replace user ids by a keyed hash")] = False
    sample: A[
        float,
        M(
            gt=0,
            le=1,
            description="Share of ok queries to keep; errors are all kept. Counts and rates are then of the sample",
        ),
    ] = 1.0
    tags: A[dict[str, str], M(description="Added to every event")] = field(default_factory=dict)
    queue: A[int, M(ge=1, description="Events that wait in background mode before drops are counted")] = 10_000
    sampler_seconds: A[float, M(ge=0, description="Seconds between system samples; 0 switches them off")] = 60.0


class BudgetSettings(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What may be spent, in USD."""

    daily: A[A[float, M(gt=0)] | None, M(description="A day, in the display time zone")] = None
    monthly: A[A[float, M(gt=0)] | None, M(description="A calendar month")] = None


class RuleSettings(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, rename={"for_": "for"}):
    """One alert rule. What it compares with its limits depends on its kind; for most it is the metric itself."""

    name: A[str, M(min_length=1, max_length=128, description="Unique")]
    enabled: A[bool, M(description="One that is not holds its name, also that of a default rule, and does nothing")] = (
        True
    )
    metric: A[str, M(description="A metric of the catalogue; function, expression: whose unit the number has")] = ""
    kind: A[
        Literal[
            "threshold",
            "ratio",
            "change",
            "absence",
            "burn_rate",
            "budget",
            "unseen",
            "anomaly",
            "function",
            "expression",
        ],
        M(
            description="The metric; over `per`; its rise since `compare`; none of it; against `objective`; "
            "in `period`; what is not seen any more; against its own past; what `function` returns; what "
            "`expression` gives"
        ),
    ] = "threshold"
    above: A[float | None, M(description="Fires when the metric is greater")] = None
    below: A[float | None, M(description="Fires when the metric is less")] = None
    window: A[str, M(description="The time the metric is taken over; `5m`, of burn_rate `1h`, of unseen `7d`")] = ""
    interval: A[
        str,
        M(
            description="How often it is looked at: a multiple of 15 s, `5m` at most; unless given every 15 s, and "
            "less often where `window` is longer than an hour"
        ),
    ] = ""
    for_: A[str, M(description="How long it must hold before it fires")] = "0s"
    resolve: A[
        float | None, M(description="A firing alert is resolved only when the metric is back at this, not at the limit")
    ] = None
    keep_firing_for: A[str, M(description="How long it must be clear before it is resolved")] = "0s"
    severity: A[Literal["info", "warning", "critical"], M(description="How bad")] = "warning"
    by: A[tuple[str, ...], M(description="One alert a group")] = ()
    where: A[tuple[str, ...], M(description="Filters, field:op:value")] = ()
    minimum: A[int, M(ge=1, description="Fewer events than this in the window say nothing")] = 1
    per: A[str, M(description="ratio: the metric to divide by")] = ""
    compare: A[
        Literal["previous", "day", "week"] | None,
        M(description="change: the window before, or the same one a day or a week ago; 0.5 is half more"),
    ] = None
    objective: A[
        float | None, M(description="burn_rate: the share of good events; `above` is how many times the budget burns")
    ] = None
    short_window: A[str, M(description="burn_rate: must burn too; a twelfth of `window` unless given")] = ""
    period: A[Literal["day", "month"] | None, M(description="budget: what `above` is the amount for")] = None
    forecast: A[bool, M(description="budget: of what the period comes to, not of what was spent")] = False
    timezone: A[str, M(description="budget: the zone of the calendar")] = "UTC"
    known: A[int, M(ge=0, description="unseen: how many different ones there are; else those of `lookback` before")] = 0
    false_alarms: A[
        float, M(description="anomaly: so many a week are expected of a group; `window` is the time of one point")
    ] = 1.0
    function: A[
        str, M(description="function: a Python function of your own, `package.module:name`; see docs/alerting.md")
    ] = ""
    expression: A[
        str,
        M(
            max_length=4096,
            description="expression: of Prometheus, over metrics of the catalogue as series; see docs/alerting.md",
        ),
    ] = ""
    no_data: A[
        Literal["nodata", "alerting", "ok", "keep"],
        M(description="What a window that says nothing means: a state of its own, a breach, no breach, no change"),
    ] = "nodata"
    missing: A[
        Literal["prometheus", "keep", "nodata"],
        M(description="What a group that vanished means: its last value holds, no change, a state of its own"),
    ] = "nodata"
    lookback: A[
        str, M(description="How long `missing` holds before the group is clear; `5m` for prometheus, else `1h`")
    ] = ""
    message: A[str, M(description="Said instead of the generated sentence")] = ""
    labels: A[
        dict[str, A[str, M(max_length=1024)]],
        M(max_length=32, description="Labels of its alerts beside those of the group, for routes and silences"),
    ] = field(default_factory=dict)
    annotations: A[
        dict[str, A[str, M(max_length=4096)]],
        M(max_length=32, description="Said with its alerts; {{ $value }} and {{ $labels.model }} are filled in"),
    ] = field(default_factory=dict)
    runbook: A[str, M(max_length=2048, description="Where to read what to do: an address, http or https")] = ""


class MetricSettings(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A metric of the user's own, from a recorded number, a score or a query's number."""

    name: A[str, M(min_length=1, max_length=128, description="Unique in the catalogue")]
    of: A[str, M(description="metric.<name>, score.<name>, or query., feedback. or system.<number>")]
    aggregation: A[
        Literal["count", "rate", "sum", "mean", "last", "min", "max", "quantile"], M(description="How it adds up")
    ] = "mean"
    level: A[A[float, M(gt=0, lt=1)] | None, M(description="For a quantile")] = None
    unit: A[str, M(description="s, USD, ratio, 1, tokens, rating, score, %, B, 1/min")] = "1"
    better: A[Literal["lower", "higher", "neutral"], M(description="Which way is better")] = "neutral"
    title: A[str, M(description="Shown to people")] = ""
    sentence: A[str, M(description="What it means")] = ""


class StatusSettings(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """When the overview says warning or critical. Times are p95 of the last window."""

    window: A[str, M(description="The time looked at")] = "15m"
    minimum: A[int, M(ge=1, description="Fewer queries than this say nothing")] = 20
    error_rate_warning: A[float, M(gt=0, le=1, description="Share of queries")] = 0.05
    error_rate_critical: A[float, M(gt=0, le=1, description="Share of queries")] = 0.2
    response_time_warning: A[float, M(gt=0, description="Seconds, p95")] = 10.0
    response_time_critical: A[float, M(gt=0, description="Seconds, p95")] = 30.0


class TraceSettings(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How long the spans of a trace are waited for before its query event is made, in seconds."""

    grace: A[float, M(ge=0, le=3600, description="After the root ended, when all spans come from one instance")] = 2.0
    distributed_grace: A[float, M(ge=0, le=3600, description="After the root ended, when several instances send")] = 8.0
    rootless: A[float, M(gt=0, le=86_400, description="After the last span, when no root comes: incomplete")] = 120.0


class ExperimentSettings(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How experiments are watched."""

    guardrail_seconds: A[
        float, M(ge=1, le=86_400, description="Between looks at the guardrails that stop running experiments")
    ] = 300.0


class ServerSettings(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What ``barograph serve`` listens on, and what it bounds."""

    host: A[str, M(min_length=1, description="The address to listen on; anything but loopback needs a key")] = (
        "127.0.0.1"
    )
    port: A[int, M(ge=0, le=65535, description="0 takes a free one. 4318 is where OpenTelemetry sends to")] = 4318
    grpc_port: A[
        int,
        M(ge=0, le=65535, description="A port for OTLP/gRPC too (extra `grpc`); 4317 is the usual one, 0 for none"),
    ] = 0
    root_path: A[str, M(pattern="^(/[A-Za-z0-9._~-]+)*$", description="The path that a proxy puts in front")] = ""
    certificate: A[str, M(description="TLS: the certificate chain's file, PEM")] = ""
    private_key: A[str, M(description="TLS: the private key's file, PEM")] = ""
    names: A[tuple[str, ...], M(description="Names under which it is reached without a key, beside localhost")] = ()
    origins: A[
        tuple[str, ...], M(description="Web origins that may call it from a browser (CORS); none by default")
    ] = ()
    body_bytes: A[int, M(ge=1024, description="Most bytes of a body as it is sent")] = 16 * 2**20
    plain_bytes: A[int, M(ge=1024, description="And once it is decompressed")] = 64 * 2**20
    batch_events: A[int, M(ge=1, description="Most events or spans in a request")] = 50_000
    requests: A[
        int, M(ge=1, description="Requests that send events and are worked on at a time; more are told to wait")
    ] = 64
    waiting_bytes: A[int, M(ge=2**20, description="Most bytes of bodies held at a time; more are told to wait")] = (
        256 * 2**20
    )
    questions: A[int, M(ge=1, description="Questions answered at a time; more wait their turn")] = 4
    connections: A[int, M(ge=1, description="Open connections")] = 4096
    header_seconds: A[float, M(gt=0, description="A request's head must be there within")] = 10.0
    body_seconds: A[float, M(gt=0, description="And its body within")] = 60.0
    idle_seconds: A[float, M(gt=0, description="A connection without a request is closed after")] = 75.0
    stop_seconds: A[float, M(gt=0, description="How long requests under way may take when it stops")] = 10.0
    lag_seconds: A[float, M(gt=0, description="Not ready while the engine is further behind the journal")] = 60.0


class Settings(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """All of it."""

    project: A[str, M(min_length=1, max_length=128, description="The project events belong to by default")] = "default"
    timezone: A[str, M(description="In which days begin and times are shown")] = "UTC"
    journal: JournalSettings = field(default_factory=JournalSettings)
    engine: EngineSettings = field(default_factory=EngineSettings)
    collect: CollectSettings = field(default_factory=CollectSettings)
    budget: BudgetSettings = field(default_factory=BudgetSettings)
    status: StatusSettings = field(default_factory=StatusSettings)
    traces: TraceSettings = field(default_factory=TraceSettings)
    experiments: ExperimentSettings = field(default_factory=ExperimentSettings)
    server: ServerSettings = field(default_factory=ServerSettings)
    metrics: A[tuple[MetricSettings, ...], M(description="Own metrics, as [[metrics]]")] = ()
    rules: A[tuple[RuleSettings, ...], M(description="Alert rules, as [[rules]]")] = ()
    default_rules: A[
        bool, M(description="Barograph's own rules are in force too; one of yours with the same name takes its place")
    ] = True
    receivers: A[
        tuple[ReceiverSettings, ...], M(description="Who is told of alerts, as [[receivers]]; log is always one")
    ] = ()
    routing: RoutingSettings = field(default_factory=RoutingSettings)
    delivery: DeliverySettings = field(default_factory=DeliverySettings)


def load_settings(directory: Path, environment: Mapping[str, str], **overrides: Any) -> Settings:
    """The settings of a data directory.

    ``BAROGRAPH_JOURNAL__DURABILITY=interval`` sets ``journal.durability``; ``overrides`` are nested
    dictionaries and win. Raises InvalidSettings, which names the setting at fault.
    """
    tree = read_file(directory / FILE_NAME)
    for name, text in environment.items():
        keys = name.removeprefix(PREFIX).lower().split("__")
        if name.startswith(PREFIX) and keys[0] in Settings.__struct_fields__:
            tree = _merge(tree, _from_variable(name, keys, text))
    return _checked(_merge(tree, overrides), "settings")


def read_file(path: Path) -> dict[str, Any]:
    """What the file sets, which can be used; nothing if it is not there. Raises InvalidSettings."""
    if not path.is_file():
        return {}
    text, tree = read_tree(path)
    _checked(tree, str(path), text)
    return tree


def read_tree(path: Path) -> tuple[str, dict[str, Any]]:
    """A file's text, and what it says, not looked at yet. Raises InvalidSettings where it is no TOML."""
    try:
        text = path.read_text(encoding="utf-8-sig")  # editors of Windows begin a file with a mark
        return text, tomllib.loads(text)
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise InvalidSettings(f"{path}: {error}", hint="See docs/settings.md for a whole example.") from None
    except OSError as error:
        raise InvalidSettings(
            f"{path} cannot be read: {error.strerror}", hint="Name one that is there and may be read."
        ) from None


def _checked(tree: dict[str, Any], source: str, text: str = "") -> Settings:
    """The tree as settings: a number is a number and not a text that looks like one. Raises InvalidSettings."""
    try:
        return msgspec.convert(tree, Settings)
    except msgspec.ValidationError:
        lines, found = TomlLines(text), mistakes(tree, Settings)
        first = min(found, key=lambda one: lines.of(one.at))
        line = lines.of(first.at)
        more = f" `barograph alerts check` tells of {len(found) - 1} more." if len(found) > 1 else ""
        raise InvalidSettings(
            f"{source}{f', line {line}' if line else ''}: {dotted(first.at)}: {first.says}",
            hint=first.instead + more,
            value=first.value,
        ) from None


def _from_variable(name: str, keys: list[str], text: str) -> dict[str, Any]:
    """The tree that a variable sets: its text as the setting's type, a list or a table from JSON."""
    found = mistakes(_nested(keys, text), Settings, strict=False)
    if found:
        value = _from_json(name, keys, text, found[0])
    else:
        value = msgspec.convert(_nested(keys, text), Settings, strict=False)
    for key in keys:
        value = value[key] if isinstance(value, dict) else getattr(value, key)
    return _nested(keys, msgspec.to_builtins(value))


def _from_json(name: str, keys: list[str], text: str, refused: Mistake) -> Any:
    """Settings with what a variable sets, from JSON where a list or a table is wanted. Raises InvalidSettings."""
    is_list = refused.expected in ("array", "object")
    hint = f"A list or a table is written as JSON: {name}='[\"…\"]'." if is_list else refused.near or SEE
    wrong = refused
    if is_list:
        with contextlib.suppress(msgspec.DecodeError):
            tree = _nested(keys, msgspec.json.decode(text))
            found = mistakes(tree, Settings, strict=False)
            if not found:
                return msgspec.convert(tree, Settings, strict=False)
            wrong = found[0]
    raise InvalidSettings(f"{name}: {wrong.says}", hint=hint, value=text)


def _nested(keys: list[str], value: object) -> dict[str, Any]:
    for key in reversed(keys):
        value = {key: value}
    return cast("dict[str, Any]", value)


def _merge(base: dict[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    merged = dict(base)
    for key, value in over.items():
        old = merged.get(key)
        merged[key] = _merge(old, value) if isinstance(old, dict) and isinstance(value, Mapping) else value
    return merged
