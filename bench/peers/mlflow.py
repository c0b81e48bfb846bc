"""MLflow's tracking server with its default store, SQLite, and one worker. It writes spans before it answers."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import ClassVar

import msgspec
from msgspec import Struct

from bench.peers.environment import Environment
from bench.peers.system import System, rows, window

ENVIRONMENT = Environment("mlflow", "3.17.2")
_METRICS = "/api/3.0/mlflow/traces/metrics"
_EXPERIMENT = "0"


class _Point(Struct):
    values: dict[str, float | None] = msgspec.field(default_factory=dict)


class _Points(Struct):
    data_points: list[_Point] = msgspec.field(default_factory=list)


class MLflow(System):
    """Its server in the environment of its own. Background jobs, which score traces, are off."""

    health = "/health"
    headers: ClassVar[dict[str, str]] = {"X-MLflow-Experiment-Id": _EXPERIMENT}

    @property
    def _file(self) -> Path:
        return self.directory / "mlflow.db"

    def command(self, port: int) -> Sequence[str]:
        address = ["--host", "127.0.0.1", "--port", str(port), "--workers", "1"]
        store = ["--backend-store-uri", f"sqlite:///{self._file}", "--default-artifact-root", str(self.directory / "a")]
        return [str(ENVIRONMENT.python), "-m", "mlflow", "server", *address, *store]

    def environment(self, port: int) -> dict[str, str]:
        path = f"{ENVIRONMENT.python.parent}:/usr/local/bin:/usr/bin:/bin"  # it starts its web server by name
        return {"PATH": path, "MLFLOW_DISABLE_TELEMETRY": "true", "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"}

    def durable(self) -> int:
        return int(str(rows(self._file, "SELECT count(*) FROM spans")[0][0]))

    def kept(self) -> Counter[str]:
        found = rows(self._file, "SELECT trace_id, count(*) FROM spans GROUP BY 1")
        return Counter({str(trace_id).removeprefix("tr-"): int(str(count)) for trace_id, count in found})

    def visible(self) -> int:
        question = {
            "experiment_ids": [_EXPERIMENT],
            "view_type": "SPANS",
            "metric_name": "span_count",
            "aggregations": [{"aggregation_type": "COUNT"}],
        }
        points = self._points(question)
        return int(sum(value or 0 for point in points for value in point.values.values()))

    def hourly(self, end: datetime) -> int:
        start, stop = window(end)
        levels = (50, 95, 99)
        question = {
            "experiment_ids": [_EXPERIMENT],
            "view_type": "TRACES",
            "metric_name": "latency",
            "aggregations": [{"aggregation_type": "PERCENTILE", "percentile_value": level} for level in levels],
            "time_interval_seconds": 3600,
            "start_time_ms": int(start.timestamp() * 1000),
            "end_time_ms": int(stop.timestamp() * 1000),
        }
        points = self._points(question)
        return sum(
            len([value for value in point.values.values() if value is not None]) == len(levels) for point in points
        )

    def _points(self, question: Mapping[str, object]) -> list[_Point]:
        return msgspec.json.decode(self.ask(_METRICS, question), type=_Points).data_points
