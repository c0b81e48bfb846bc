"""The bounds that whoever sends events and whoever takes them share; docs/events.md lists them."""

from __future__ import annotations

MAX_LINE = 1_048_576  # bytes of one event as JSON
