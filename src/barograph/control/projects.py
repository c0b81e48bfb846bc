"""The projects: which there are beside the two that always exist, and what a project may be called.

A project separates events, keys, alerts and experiments; every event, table and answer carries its name. Read by
``dashboard`` (which opens a workspace for one) and by the command line.
"""

from __future__ import annotations

import re
from datetime import datetime

from msgspec import Struct, structs
from sqlalchemy import insert, select

from barograph.control.audit import write_audit
from barograph.control.database import ControlPlane
from barograph.control.tables import projects
from barograph_client.errors import InvalidInput

DEFAULT = "default"
NAME_LENGTH = 64
_NAME = re.compile(rf"[a-z0-9][a-z0-9._-]{{0,{NAME_LENGTH - 1}}}")


class Project(Struct, frozen=True, kw_only=True):
    """A project. One that always exists was made by nobody at no time."""

    name: str
    created_at: datetime | None = None
    created_by: str = ""


class ProjectRepository:
    """Creates and lists projects; safe to share between threads. All methods may raise ControlError.

    ``own`` is the project of the settings: it exists without being created, as ``default`` does.
    """

    def __init__(self, plane: ControlPlane, own: str = DEFAULT) -> None:
        self._plane = plane
        self._always = dict.fromkeys((DEFAULT, own))

    def create(self, name: str, *, actor: str) -> Project:
        """Keep a new project. Raises InvalidInput for a name that cannot be one or is taken."""
        valid_name(name)
        project = Project(name=name, created_at=self._plane.clock.now(), created_by=actor)
        with self._plane.writing() as connection:  # holds the write lock: nobody can create the same name between
            found = connection.execute(select(projects.c.name).where(projects.c.name == name)).first()
            if found is not None or name in self._always:
                raise InvalidInput(
                    "a project of that name exists already", hint="`barograph project list` shows them.", value=name
                )
            connection.execute(insert(projects).values(structs.asdict(project)))
            write_audit(
                connection, time=self._plane.clock.now(), project=name, actor=actor, action="create",
                subject=f"project:{name}", detail={},
            )  # fmt: skip
        return project

    def list(self) -> list[Project]:
        """All projects: those that always exist, then the others by name."""
        with self._plane.reading() as connection:
            made = [Project(**row) for row in connection.execute(select(projects).order_by(projects.c.name)).mappings()]
        names = {project.name for project in made}
        return [*(Project(name=name) for name in self._always if name not in names), *made]

    def exists(self, name: str) -> bool:
        """Whether there is such a project."""
        if name in self._always:
            return True
        with self._plane.reading() as connection:
            return connection.execute(select(projects.c.name).where(projects.c.name == name)).first() is not None

    def require(self, name: str) -> None:
        """Raises InvalidInput, with the way out, when there is no such project."""
        if not self.exists(name):
            known = bool(_NAME.fullmatch(name))
            raise InvalidInput(
                "there is no such project",
                hint=f"Make it with `barograph project create {name}`." if known else _RULE,
                value=name,
            )


_RULE = (
    f"A project's name has 1 to {NAME_LENGTH} lower-case letters, digits, dots, hyphens and underscores, "
    "and begins with a letter or a digit."
)


def valid_name(name: str) -> None:
    """A name that is the same in a URL, a header, a file name and a shell. Raises InvalidInput for any other."""
    if not _NAME.fullmatch(name):
        raise InvalidInput("a project cannot be called that", hint=_RULE, value=name)
