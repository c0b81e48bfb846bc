"""Keys and projects of a data directory, made as the command line makes them; a server may be running or not."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path

from tests.support.serving import Serving

from barograph.control.database import ControlPlane
from barograph.control.keys import KeyRepository, Scope
from barograph.control.projects import ProjectRepository
from barograph_client.clock import SystemClock


@contextmanager
def control(directory: Path) -> Iterator[ControlPlane]:
    plane = ControlPlane(directory / "control.db", SystemClock())
    try:
        yield plane
    finally:
        plane.close()


def make_key(directory: Path, scope: Scope, project: str = "default", expires_at: datetime | None = None) -> str:
    """The text of a new key."""
    with control(directory) as plane:
        return KeyRepository(plane).create(project=project, scope=scope, actor="test", expires_at=expires_at)[1]


def revoke(directory: Path, text: str) -> None:
    """Let a key open nothing from now on."""
    with control(directory) as plane:
        keys = KeyRepository(plane)
        found = keys.find(text)
        assert found is not None
        keys.revoke(found.id, "test")


def make_project(directory: Path, name: str) -> None:
    with control(directory) as plane:
        ProjectRepository(plane).create(name, actor="test")


def token_of(server: Serving) -> str:
    """The token of the server's own command line."""
    return str(json.loads((server.directory / "lock").read_bytes())["token"])
