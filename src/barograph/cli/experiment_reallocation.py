"""``barograph experiment reallocate``: new shares for the arms, by how likely each is the best."""

from __future__ import annotations

from pathlib import Path
from shlex import quote
from typing import TYPE_CHECKING, Annotated

import typer

from barograph.cli.desk import desk_of
from barograph.cli.experiment_plan import share_of
from barograph.cli.options import DEFAULT_DIRECTORY, Charset, DataDir, Json, ProjectName, Width, existing
from barograph.cli.output import draw, print_json
from barograph.core.unit import format_value
from barograph.visualize.chart import Cell, Column, Page, Table, Text
from barograph_client.errors import shorten

if TYPE_CHECKING:
    from barograph.experiments.reallocation import Reallocation


def reallocate(
    key: Annotated[str, typer.Argument(metavar="KEY", help="Its key, which `barograph experiment list` shows.")],
    exploration: Annotated[
        str, typer.Option("--exploration", help="The least share of an arm, however bad it looks: 5% or 0.05.")
    ] = "5%",
    charset: Charset = None,
    width: Width = None,
    project: ProjectName = None,
    data_dir: DataDir = Path(DEFAULT_DIRECTORY),
    json: Json = False,
) -> None:
    """Share later units out by how likely each arm is the best on the primary metric (Thompson sampling).

    For one that runs and is sticky (`sticky = true` in its file, or `create --sticky`): whoever has an arm keeps it.
    The time before is analysed apart, so that a comparison stays valid. Once a day is enough.

    \b
    barograph experiment reallocate prompts
    barograph experiment reallocate prompts --exploration 10%
    """
    least = share_of(exploration, "exploration")
    with desk_of(existing(data_dir), project) as desk:
        found = desk.experiments.reallocate(key, least)
    print_json(found) if json else draw(picture(found, least), charset, width)


def picture(found: Reallocation, exploration: float) -> Page:
    """Each arm with its chance to be the best, and its share of later units, before and now."""
    from barograph.dashboard.page.experiments.words import likelihood

    experiment, kind = found.experiment, f"{found.experiment.unit_kind}s"
    rows: list[list[Cell]] = [
        [arm.key, likelihood(found.chances[arm.key]) if arm.key in found.chances else None,
         found.before[arm.key], arm.weight]
        for arm in experiment.variants
    ]  # fmt: skip
    columns = [
        Column(title="Arm", most=40), Column(title="Chance to be best", align="right"),
        Column(title="Share before", unit="ratio"), Column(title="Share now", unit="ratio"),
    ]  # fmt: skip
    if all(found.before[arm.key] == arm.weight for arm in experiment.variants):
        said = f"The shares of the {kind} who come stay as they are."
    else:
        said = f"The {kind} who come from now on are shared out anew."
    return Page(title=f"Shares of {shorten(experiment.name)}", parts=[
        Text(text=f"{said} Whoever has an arm keeps it."),
        Table(title="", columns=columns, rows=rows, note=f"Best by {experiment.primary_metric}. No arm has less than "
              f"{format_value(exploration, 'ratio')} (--exploration)."),
        Text(text=f"Next: the same again in a day, when there is more to learn from; `barograph experiment show "
                  f"{quote(experiment.key)}` compares the arms."),
    ])  # fmt: skip
