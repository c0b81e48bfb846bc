"""Commands for projects: ``project create``, ``project list``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import msgspec
import typer

from barograph.cli.control import actor, control_of
from barograph.cli.options import DEFAULT_DIRECTORY, DataDir, Json
from barograph.cli.output import draw, print_json, say
from barograph.visualize.chart import Column, Table


def create(
    name: Annotated[str, typer.Argument(help="Lower-case letters, digits, dots, hyphens and underscores.")],
    data_dir: DataDir = Path(DEFAULT_DIRECTORY),
    json: Json = False,
) -> None:
    """Make a project: events, keys, alerts and experiments of its own. A running server takes it up by itself."""
    with control_of(data_dir) as control:
        project = control.projects.create(name, actor=actor())
    if json:
        print_json(msgspec.structs.asdict(project))
        return
    say(f"{name} is there. A key to send to it: barograph key create --scope ingest --project {name}")


def listed(data_dir: DataDir = Path(DEFAULT_DIRECTORY), json: Json = False) -> None:
    """List the projects."""
    with control_of(data_dir) as control:
        projects, own = control.projects.list(), control.own
    if json:
        print_json([{**msgspec.structs.asdict(project), "own": project.name == own} for project in projects])
        return
    columns = [Column(title="name"), Column(title="made"), Column(title="by")]
    rows = [
        (one.name, f"{one.created_at:%Y-%m-%d %H:%M}" if one.created_at else "always there", one.created_by)
        for one in projects
    ]
    draw(Table(title="Projects", columns=columns, rows=rows, note=f"Without --project, commands mean {own}."))
