"""The moment at which tests of the control plane begin; with microseconds, which must survive."""

from __future__ import annotations

from datetime import UTC, datetime

START = datetime(2026, 11, 28, 9, 0, 0, 123456, tzinfo=UTC)
