"""What commands for keys, projects and silences share: they open ``control.db`` alone, and work while a server runs."""

from __future__ import annotations

import contextlib
import getpass
import os
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple
from zoneinfo import ZoneInfo

from barograph.cli.options import existing
from barograph.core.settings import load_settings
from barograph.core.zone import zone_of
from barograph_client.clock import SystemClock

if TYPE_CHECKING:  # the help does not wait for the database's library
    from barograph.control.keys import KeyRepository
    from barograph.control.projects import ProjectRepository
    from barograph.control.silences import SilenceRepository


class Decisions(NamedTuple):
    """The keys, projects and silences of a directory; ``own`` is the project and ``zone`` the zone of its settings."""

    keys: KeyRepository
    projects: ProjectRepository
    silences: SilenceRepository
    own: str
    zone: ZoneInfo


@contextlib.contextmanager
def control_of(directory: Path) -> Iterator[Decisions]:
    """A data directory's control plane, without its lock and without an engine. Raises InvalidInput, ControlError."""
    from barograph.control.database import CONTROL, ControlPlane
    from barograph.control.keys import KeyRepository
    from barograph.control.projects import ProjectRepository
    from barograph.control.silences import SilenceRepository

    settings = load_settings(existing(directory), os.environ)
    own, zone = settings.project, zone_of(settings.timezone)
    with ControlPlane(directory / CONTROL, SystemClock()) as plane:
        yield Decisions(KeyRepository(plane), ProjectRepository(plane, own), SilenceRepository(plane), own, zone)


def actor() -> str:
    """Who gives the command, for the audit log."""
    try:
        return f"{getpass.getuser()} (command line)"
    except (OSError, KeyError, ImportError):  # a user id without a name, as in containers
        return f"user {os.getuid()} (command line)"
