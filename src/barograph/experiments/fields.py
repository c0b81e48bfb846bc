"""Which field of a definition an error is about, for whoever has a form to show it in."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from barograph_client.errors import InvalidExperiment


@contextmanager
def about(field: str) -> Iterator[None]:
    """An InvalidExperiment from inside that names no field names this one."""
    try:
        yield
    except InvalidExperiment as error:
        error.field = error.field or field
        raise
