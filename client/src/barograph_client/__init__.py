"""What of Barograph runs inside other people's programs. It needs msgspec and nothing else.

``Client`` sends events to a Barograph server; ``stage`` and ``current_query`` reach the query that is being timed.
All are loaded when first used.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from barograph_client import errors
    from barograph_client.client import Client
    from barograph_client.timed_query import current_query, stage

__version__ = "0.1.0"

_HOMES = {
    "Client": "barograph_client.client",
    "current_query": "barograph_client.timed_query",
    "stage": "barograph_client.timed_query",
}
__all__ = ["Client", "__version__", "current_query", "errors", "stage"]


def __getattr__(name: str) -> object:
    if name in _HOMES:
        return getattr(import_module(_HOMES[name]), name)
    if name == "errors":
        return import_module("barograph_client.errors")
    raise AttributeError(f"module 'barograph_client' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
