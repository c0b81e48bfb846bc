"""Fixtures of the client's tests."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from client_support import Open
from scripted_server import ScriptedServer

from barograph_client import Client
from barograph_client.backoff import Pace


@pytest.fixture
def server() -> Iterator[ScriptedServer]:
    """A server that does as it is told."""
    made = ScriptedServer()
    yield made
    made.stop()


@pytest.fixture
def open_client(server: ScriptedServer, tmp_path: Path) -> Iterator[Open]:
    """Opens clients of the server, impatient ones, and closes them."""
    opened: list[Client] = []

    def open_it(**options: object) -> Client:
        chosen: dict[str, Any] = {
            "url": server.url,
            "spool": tmp_path / "spool",
            "environment": {},
            "pace": Pace(first=0.02, longest=0.1, slow=0.2, adopt=0.1, refresh=0.1),
            "timeout": 5.0,
            **options,
        }
        opened.append(Client(**chosen))
        return opened[-1]

    yield open_it
    for client in opened:
        client.close(5.0)
