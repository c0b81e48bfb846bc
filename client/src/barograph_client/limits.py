"""The bounds that whoever sends events and whoever takes them share; docs/events.md lists them."""

from __future__ import annotations

MAX_SPOOL_DAYS = 8  # that a batch may wait on disk; a server knows it again for a day longer
MAX_LINE = 1_048_576  # bytes of one event as JSON
MAX_VARIANTS = 64  # experiments whose arms one event carries
