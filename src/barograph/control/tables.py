"""The tables of the control plane, and the migrations that make them, oldest first.

Read by the repositories of this folder and by ``database``, which applies what is missing at start. A migration
is never edited once released: a change is a new one at the end. ``tests/control`` checks that the migrations
together make exactly the tables described here.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import datetime
from typing import NamedTuple

from sqlalchemy import Column, Connection, Dialect, Float, Integer, MetaData, Table, Text
from sqlalchemy.types import TypeDecorator

from barograph.control.pauses import pauses_from_audit
from barograph_client.clock import as_utc

JsonObject = dict[str, object]


class SafeText(TypeDecorator[str]):
    """Text from anywhere: what UTF-8 cannot hold (lone surrogates) is kept as its escape."""

    impl = Text
    cache_ok = True

    def process_bind_param(self, value: str | None, dialect: Dialect) -> str | None:
        return None if value is None else value.encode("utf-8", "backslashreplace").decode("utf-8")


class Moment(TypeDecorator[datetime]):
    """A time in UTC as ISO 8601 text with microseconds: a person can read it, and it sorts as time does."""

    impl = Text
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> str | None:
        return None if value is None else as_utc(value).isoformat(timespec="microseconds").replace("+00:00", "Z")

    def process_result_value(self, value: str | None, dialect: Dialect) -> datetime | None:
        return None if value is None else as_utc(datetime.fromisoformat(value))


class JsonText(TypeDecorator[JsonObject]):
    """A JSON object as text, in ASCII (so that any string can be kept) and without NaN, which JSON does not have."""

    impl = Text
    cache_ok = True

    def process_bind_param(self, value: JsonObject | None, dialect: Dialect) -> str | None:
        return None if value is None else json.dumps(value, allow_nan=False, separators=(",", ":"))

    def process_result_value(self, value: str | None, dialect: Dialect) -> JsonObject | None:
        if value is None:
            return None
        found: JsonObject = json.loads(value)
        return found


metadata = MetaData()

schema_version = Table(
    "schema_version",
    metadata,
    Column("version", Integer, primary_key=True, autoincrement=False),
    Column("name", Text, nullable=False),
    Column("applied_at", Moment, nullable=False),
)

experiments = Table(
    "experiments",
    metadata,
    Column("project", SafeText, primary_key=True),
    Column("key", SafeText, primary_key=True),
    Column("definition", JsonText, nullable=False),
    Column("state", Text, nullable=False),
    Column("version", Integer, nullable=False),
    Column("created_at", Moment, nullable=False),
    Column("updated_at", Moment, nullable=False),
)

audit = Table(
    "audit",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("time", Moment, nullable=False),
    Column("project", SafeText, nullable=False),
    Column("actor", SafeText, nullable=False),
    Column("action", Text, nullable=False),
    Column("subject", SafeText, nullable=False),
    Column("detail", JsonText, nullable=False),
)

alert_states = Table(
    "alert_states",
    metadata,
    Column("project", SafeText, primary_key=True),
    Column("rule", SafeText, primary_key=True),
    Column("fingerprint", Text, primary_key=True),
    Column("labels", JsonText, nullable=False),
    Column("state", Text, nullable=False),
    Column("active_at", Moment),
    Column("fired_at", Moment),
    Column("value", Float),
    Column("updated_at", Moment, nullable=False),
    Column("since", Moment),
    Column("seen_at", Moment),
    Column("gone_since", Moment),
    Column("clear_since", Moment),
    Column("threshold", Float),
    Column("worst", Float),
)

detectors = Table(
    "detectors",
    metadata,
    Column("project", SafeText, primary_key=True),
    Column("rule", SafeText, primary_key=True),
    Column("fingerprint", Text, primary_key=True),
    Column("labels", JsonText, nullable=False),
    Column("state", SafeText, nullable=False),
    Column("updated_at", Moment, nullable=False),
)

projects = Table(
    "projects",
    metadata,
    Column("name", Text, primary_key=True),
    Column("created_at", Moment, nullable=False),
    Column("created_by", SafeText, nullable=False),
)

api_keys = Table(
    "api_keys",
    metadata,
    Column("id", Text, primary_key=True),
    Column("project", SafeText, nullable=False),
    Column("scope", Text, nullable=False),
    Column("name", SafeText, nullable=False),
    Column("hash", Text, nullable=False),
    Column("created_at", Moment, nullable=False),
    Column("created_by", SafeText, nullable=False),
    Column("expires_at", Moment),
    Column("revoked_at", Moment),
    Column("last_used_at", Moment),
)

outbox = Table(
    "outbox",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("key", SafeText, nullable=False),
    Column("project", SafeText, nullable=False),
    Column("group_key", SafeText, nullable=False),
    Column("receiver", SafeText, nullable=False),
    Column("target", SafeText, nullable=False),
    Column("body", JsonText, nullable=False),
    Column("attempts", Integer, nullable=False),
    Column("next_at", Moment, nullable=False),
    Column("state", Text, nullable=False),
    Column("last_error", SafeText, nullable=False),
    Column("created_at", Moment, nullable=False),
    Column("ended_at", Moment),
)

changes = Table(
    "changes",
    metadata,
    Column("subject", Text, primary_key=True),
    Column("number", Integer, nullable=False),
)

rules = Table(
    "rules",
    metadata,
    Column("project", SafeText, primary_key=True),
    Column("name", SafeText, primary_key=True),
    Column("definition", JsonText, nullable=False),
    Column("author", SafeText, nullable=False),
    Column("updated_at", Moment, nullable=False),
)

silences = Table(
    "silences",
    metadata,
    Column("id", Text, primary_key=True),
    Column("project", SafeText, nullable=False),
    Column("matchers", JsonText, nullable=False),
    Column("starts_at", Moment, nullable=False),
    Column("ends_at", Moment, nullable=False),
    Column("author", SafeText, nullable=False),
    Column("comment", SafeText, nullable=False),
    Column("created_at", Moment, nullable=False),
    Column("ended_at", Moment),
    Column("ended_by", SafeText),
)


router_states = Table(
    "router_states",
    metadata,
    Column("project", SafeText, primary_key=True),
    Column("state", JsonText, nullable=False),
    Column("updated_at", Moment, nullable=False),
)

outside_alerts = Table(
    "outside_alerts",
    metadata,
    Column("project", SafeText, primary_key=True),
    Column("fingerprint", Text, primary_key=True),
    Column("labels", JsonText, nullable=False),
    Column("annotations", JsonText, nullable=False),
    Column("starts_at", Moment, nullable=False),
    Column("ends_at", Moment, nullable=False),
    Column("updated_at", Moment, nullable=False),
    Column("generator_url", SafeText, nullable=False),
)


class Migration(NamedTuple):
    """One step of the schema. ``{identity}`` stands for a number that the database counts up by itself.

    ``change`` is what no statement can say: it is called after them, in the same transaction.
    """

    version: int
    name: str
    statements: tuple[str, ...]
    change: Callable[[Connection], None] | None = None


MIGRATIONS: tuple[Migration, ...] = (
    Migration(
        1,
        "experiments, audit log, alert states",
        (
            """CREATE TABLE experiments (
                project TEXT NOT NULL, key TEXT NOT NULL, definition TEXT NOT NULL, state TEXT NOT NULL,
                version INTEGER NOT NULL, created_at TEXT NOT NULL, updated_at TEXT NOT NULL,
                PRIMARY KEY (project, key))""",
            """CREATE TABLE audit (
                id {identity}, time TEXT NOT NULL, project TEXT NOT NULL, actor TEXT NOT NULL,
                action TEXT NOT NULL, subject TEXT NOT NULL, detail TEXT NOT NULL)""",
            "CREATE INDEX audit_by_subject ON audit (project, subject, id)",
            """CREATE TABLE alert_states (
                project TEXT NOT NULL, rule TEXT NOT NULL, fingerprint TEXT NOT NULL, labels TEXT NOT NULL,
                state TEXT NOT NULL, active_at TEXT, fired_at TEXT, value FLOAT, updated_at TEXT NOT NULL,
                PRIMARY KEY (project, rule, fingerprint))""",
        ),
    ),
    Migration(
        2,
        "projects, API keys",
        (
            """CREATE TABLE projects (
                name TEXT NOT NULL PRIMARY KEY, created_at TEXT NOT NULL, created_by TEXT NOT NULL)""",
            """CREATE TABLE api_keys (
                id TEXT NOT NULL PRIMARY KEY, project TEXT NOT NULL, scope TEXT NOT NULL, name TEXT NOT NULL,
                hash TEXT NOT NULL, created_at TEXT NOT NULL, created_by TEXT NOT NULL, expires_at TEXT,
                revoked_at TEXT, last_used_at TEXT)""",
            "CREATE INDEX api_keys_by_project ON api_keys (project, created_at)",
        ),
    ),
    Migration(
        3,
        "alert states with all that the state machine needs",
        (
            "ALTER TABLE alert_states ADD COLUMN since TEXT",
            "ALTER TABLE alert_states ADD COLUMN seen_at TEXT",
            "ALTER TABLE alert_states ADD COLUMN gone_since TEXT",
            "ALTER TABLE alert_states ADD COLUMN clear_since TEXT",
            "ALTER TABLE alert_states ADD COLUMN threshold FLOAT",
        ),
    ),
    Migration(
        4,
        "outbox of notifications",
        (
            """CREATE TABLE outbox (
                id {identity}, key TEXT NOT NULL, group_key TEXT NOT NULL, receiver TEXT NOT NULL,
                target TEXT NOT NULL, body TEXT NOT NULL, attempts INTEGER NOT NULL, next_at TEXT NOT NULL,
                state TEXT NOT NULL, last_error TEXT NOT NULL, created_at TEXT NOT NULL, ended_at TEXT)""",
            "CREATE UNIQUE INDEX outbox_by_key ON outbox (key, target)",
            "CREATE INDEX outbox_by_state ON outbox (state, target, group_key, id)",
        ),
    ),
    Migration(
        5,
        "silences",
        (
            """CREATE TABLE silences (
                id TEXT NOT NULL PRIMARY KEY, project TEXT NOT NULL, matchers TEXT NOT NULL,
                starts_at TEXT NOT NULL, ends_at TEXT NOT NULL, author TEXT NOT NULL, comment TEXT NOT NULL,
                created_at TEXT NOT NULL, ended_at TEXT, ended_by TEXT)""",
            "CREATE INDEX silences_by_project ON silences (project, ends_at)",
        ),
    ),
    Migration(
        6,
        "state of routing, alerts from outside",
        (
            """CREATE TABLE router_states (
                project TEXT NOT NULL PRIMARY KEY, state TEXT NOT NULL, updated_at TEXT NOT NULL)""",
            """CREATE TABLE outside_alerts (
                project TEXT NOT NULL, fingerprint TEXT NOT NULL, labels TEXT NOT NULL, annotations TEXT NOT NULL,
                starts_at TEXT NOT NULL, ends_at TEXT NOT NULL, updated_at TEXT NOT NULL,
                generator_url TEXT NOT NULL, PRIMARY KEY (project, fingerprint))""",
        ),
    ),
    Migration(
        7,
        "what detectors have learned",
        (
            """CREATE TABLE detectors (
                project TEXT NOT NULL, rule TEXT NOT NULL, fingerprint TEXT NOT NULL, labels TEXT NOT NULL,
                state TEXT NOT NULL, updated_at TEXT NOT NULL, PRIMARY KEY (project, rule, fingerprint))""",
        ),
    ),
    Migration(
        8,
        "how often silences changed, projects of the outbox",
        (
            "CREATE TABLE changes (subject TEXT NOT NULL PRIMARY KEY, number INTEGER NOT NULL)",
            "INSERT INTO changes (subject, number) VALUES ('silences', 0)",
            "ALTER TABLE outbox ADD COLUMN project TEXT NOT NULL DEFAULT ''",
            "CREATE INDEX outbox_by_group ON outbox (group_key, target, id)",
            "CREATE INDEX outbox_by_project ON outbox (state, target, project, id)",
        ),
    ),
    Migration(
        9,
        "alert rules that are kept here",
        (
            """CREATE TABLE rules (
                project TEXT NOT NULL, name TEXT NOT NULL, definition TEXT NOT NULL, author TEXT NOT NULL,
                updated_at TEXT NOT NULL, PRIMARY KEY (project, name))""",
            "INSERT INTO changes (subject, number) VALUES ('rules', 0)",
        ),
    ),
    Migration(10, "the worst value since an alert fired", ("ALTER TABLE alert_states ADD COLUMN worst FLOAT",)),
    Migration(
        11, "how often experiments changed", ("INSERT INTO changes (subject, number) VALUES ('experiments', 0)",)
    ),
    Migration(12, "when experiments were paused, not only for how long", (), pauses_from_audit),
)

IDENTITY: dict[str, str] = {
    "sqlite": "INTEGER PRIMARY KEY AUTOINCREMENT NOT NULL",  # AUTOINCREMENT: an audit number is never used again
    "postgresql": "INTEGER GENERATED ALWAYS AS IDENTITY PRIMARY KEY",
}
