"""Fields of a definition: which one an error is about, for whoever has a form to show it in; how deep one may be."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager

from barograph_client.errors import InvalidExperiment

DEEPEST = 64  # levels of a payload or of a group: every program that reads it goes down them one inside the other


@contextmanager
def about(field: str) -> Iterator[None]:
    """An InvalidExperiment from inside that names no field names this one."""
    try:
        yield
    except InvalidExperiment as error:
        error.field = error.field or field
        raise


def too_deep(value: object) -> bool:
    """Whether lists and objects are nested in more than ``DEEPEST`` levels."""
    level = [value]
    for _ in range(DEEPEST):
        level = [inner for one in level for inner in _inside(one) if isinstance(inner, dict | list | tuple)]
        if not level:
            return False
    return True


def _inside(value: object) -> Iterable[object]:
    if isinstance(value, dict):
        return value.values()
    return value if isinstance(value, list | tuple) else ()
