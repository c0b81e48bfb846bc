"""Arize Phoenix with its default store, SQLite. It answers when spans wait in memory; a task writes them afterwards."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import TypeVar

import msgspec
from msgspec import Struct

from bench.peers.environment import Environment
from bench.peers.system import Refused, System, free_port, rows, window
from bench.peers.traces import PROJECT

T = TypeVar("T")

ENVIRONMENT = Environment("arize-phoenix", "20.26.1")
_PROJECTS = "{projects{edges{node{id name recordCount}}}}"
_HOURLY = (
    "query($id:ID!,$range:TimeRange!,$bins:TimeBinConfig){node(id:$id){...on Project{"
    "traceLatencyMsPercentileTimeSeries(timeRange:$range,timeBinConfig:$bins){data{timestamp p50 p95 p99}}}}}"
)


class _Project(Struct, rename="camel"):
    id: str
    name: str
    record_count: int


class _Edge(Struct):
    node: _Project


class _Edges(Struct):
    edges: list[_Edge]


class _Projects(Struct):
    projects: _Edges


class _Point(Struct):
    p95: float | None


class _Points(Struct):
    data: list[_Point]


class _Series(Struct):
    series: _Points = msgspec.field(name="traceLatencyMsPercentileTimeSeries")


class _Hourly(Struct):
    node: _Series


class _Answer(Struct):
    data: msgspec.Raw = msgspec.Raw(b"null")
    errors: msgspec.Raw = msgspec.Raw(b"")


class Phoenix(System):
    """Its server in the environment of its own."""

    health = "/healthz"

    @property
    def _file(self) -> Path:
        return self.directory / "phoenix.db"

    def command(self, port: int) -> Sequence[str]:
        return [str(ENVIRONMENT.python), "-m", "phoenix.server.main", "serve"]

    def environment(self, port: int) -> dict[str, str]:
        return {
            "PHOENIX_HOST": "127.0.0.1",
            "PHOENIX_PORT": str(port),
            "PHOENIX_GRPC_PORT": str(free_port()),
            "PHOENIX_WORKING_DIR": str(self.directory),
            "PHOENIX_SQL_DATABASE_URL": f"sqlite:///{self._file}",
            "PHOENIX_TELEMETRY_ENABLED": "false",
            "PHOENIX_ALLOW_EXTERNAL_RESOURCES": "false",
            "PHOENIX_DISABLE_AGENT_ASSISTANT": "true",
            "PHOENIX_LOGGING_LEVEL": "warning",
        }

    def durable(self) -> int:
        return int(str(rows(self._file, "SELECT count(*) FROM spans")[0][0]))

    def kept(self) -> Counter[str]:
        question = "SELECT t.trace_id, count(*) FROM spans s JOIN traces t ON t.id = s.trace_rowid GROUP BY 1"
        return Counter({str(trace_id): int(str(count)) for trace_id, count in rows(self._file, question)})

    def visible(self) -> int:
        project = self._project()
        return project.record_count if project else 0

    def hourly(self, end: datetime) -> int:
        project = self._project()
        if project is None:
            return 0
        start, stop = window(end)
        variables = {
            "id": project.id,
            "range": {"start": start.isoformat(), "end": stop.isoformat()},
            "bins": {"scale": "HOUR", "utcOffsetMinutes": 0},
        }
        points = self._graphql(_HOURLY, variables, _Hourly).node.series.data
        return sum(point.p95 is not None for point in points)

    def _project(self) -> _Project | None:
        edges = self._graphql(_PROJECTS, {}, _Projects).projects.edges
        return next((edge.node for edge in edges if edge.node.name == PROJECT), None)

    def _graphql(self, query: str, variables: Mapping[str, object], kind: type[T]) -> T:
        answer = msgspec.json.decode(self.ask("/graphql", {"query": query, "variables": variables}), type=_Answer)
        if bytes(answer.errors) not in (b"", b"null"):
            raise Refused(f"GraphQL: {bytes(answer.errors)[:300].decode('utf-8', 'replace')}")
        return msgspec.json.decode(answer.data, type=kind)
