"""Commands for experiments: start, stop, and read what they have shown; all of them are in ``VERBS``."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from shlex import quote
from typing import TYPE_CHECKING, Annotated, cast

import typer

from barograph.cli.desk import desk_of
from barograph.cli.experiment_plan import plan
from barograph.cli.experiment_reallocation import reallocate
from barograph.cli.experiment_writing import create, revise, tell
from barograph.cli.options import DEFAULT_DIRECTORY, Charset, DataDir, Json, ProjectName, Width, existing
from barograph.cli.output import draw, note, print_json, say
from barograph.core.settings import load_settings
from barograph.core.zone import local_time, zone_of
from barograph_client.errors import InvalidInput, shorten

if TYPE_CHECKING:
    from zoneinfo import ZoneInfo

    from barograph.cli.experiment_desk import Move

Key = Annotated[str, typer.Argument(metavar="KEY", help="Its key, which `barograph experiment list` shows.")]
_STATES = ("draft", "running", "paused", "stopped", "archived")


def listed(
    state: Annotated[str, typer.Option("--state", help="Only those that are draft, running, …")] = "",
    project: ProjectName = None,
    data_dir: DataDir = Path(DEFAULT_DIRECTORY),
    json: Json = False,
) -> None:
    """List the experiments, those that run first.

    \b
    barograph experiment list --state running
    """
    from barograph.cli.experiment_pages import listing

    if state and state not in _STATES:
        raise InvalidInput("there is no such state", hint=f"Write one of {', '.join(_STATES)}.", value=state)
    with desk_of(existing(data_dir), project) as desk:
        found = [one for one in desk.experiments.all() if state in ("", one.state)]
    print_json(found) if json else draw(listing(found))


def show(
    key: Key,
    definition: Annotated[
        bool, typer.Option("--definition", help="Only what it says, as JSON that `revise` and `create` take.")
    ] = False,
    details: Annotated[
        bool, typer.Option("--details", help="All of it: the effect over time, slices, how arms spread, other methods.")
    ] = False,
    examples: Annotated[
        bool, typer.Option("--examples", help="Questions that were asked in several arms, with an answer of each.")
    ] = False,
    charset: Charset = None,
    width: Width = None,
    project: ProjectName = None,
    data_dir: DataDir = Path(DEFAULT_DIRECTORY),
    json: Json = False,
) -> None:
    """Show what an experiment has shown: the verdict, the sample ratio, every metric, the guardrails, what is next.

    \b
    barograph experiment show rerank
    barograph experiment show rerank --details --examples
    barograph experiment show rerank --definition > rerank.json
    """
    from barograph.cli.experiment_pages import shown
    from barograph.experiments.written import definition_fields

    with desk_of(existing(data_dir), project) as desk:
        experiment = desk.experiments.get(key)
        started = experiment.started_at is not None and not definition
        found = desk.experiments.compare(key) if started else None
        more = desk.experiments.details(key) if started and details else None
        read = desk.experiments.examples(key) if started and examples else None
    if definition:
        print_json(definition_fields(experiment))
    elif json:
        print_json({"experiment": experiment, "comparison": found, "details": more, "examples": read})
    else:
        draw(shown(experiment, found, more, read), charset, width)
        if found is not None:
            note(f"data complete to {local_time(found.complete_to, _zone(data_dir))}")


def start(
    key: Key, project: ProjectName = None, data_dir: DataDir = Path(DEFAULT_DIRECTORY), json: Json = False
) -> None:
    """Start an experiment, or go on after a pause: from now on units get arms.

    \b
    barograph experiment start rerank
    """
    _move(key, "start", project, data_dir, json, "is running")


def pause(
    key: Key, project: ProjectName = None, data_dir: DataDir = Path(DEFAULT_DIRECTORY), json: Json = False
) -> None:
    """Give nobody an arm until it is started again; who was in one comes back to it.

    \b
    barograph experiment pause rerank
    """
    _move(key, "pause", project, data_dir, json, "is paused: everybody gets the control's configuration")


def stop(
    key: Key,
    reason: Annotated[str, typer.Option("--reason", "-m", help="Why, for those who read it later.")] = "",
    project: ProjectName = None,
    data_dir: DataDir = Path(DEFAULT_DIRECTORY),
    json: Json = False,
) -> None:
    """End an experiment for good: everybody gets the control's configuration. It can still be read.

    \b
    barograph experiment stop rerank --reason "reranking is worth its 80 ms"
    """
    with desk_of(existing(data_dir), project) as desk:
        stopped = desk.experiments.stop(key, reason)
    tell(stopped, json, f"{shorten(key)} is stopped; `barograph experiment show {quote(key)}` has the verdict.")


def archive(
    key: Key, project: ProjectName = None, data_dir: DataDir = Path(DEFAULT_DIRECTORY), json: Json = False
) -> None:
    """Put a draft or a stopped experiment away, once no program asks for it any more. Its key stays taken.

    A stopped one gives everybody the control's configuration. One that is put away is unknown to programs: those that
    still ask for it get their own default.

    \b
    barograph experiment archive rerank
    """
    _move(key, "archive", project, data_dir, json, "is put away: a program that still asks for it gets its own default")


def history(
    key: Key,
    limit: Annotated[int, typer.Option("--limit", min=1, max=1000, help="Changes at most, the last ones.")] = 100,
    project: ProjectName = None,
    data_dir: DataDir = Path(DEFAULT_DIRECTORY),
    json: Json = False,
) -> None:
    """List who changed an experiment and how, newest first.

    \b
    barograph experiment history rerank
    barograph experiment history rerank --limit 10
    """
    from barograph.cli.experiment_pages import history_page

    with desk_of(existing(data_dir), project) as desk:
        found = desk.experiments.history(key, limit)
    print_json(found.entries) if json else draw(history_page(key, found.entries, _zone(data_dir)))
    if found.more:
        note(f"the last {len(found.entries):,} of more: --limit")


def assign(
    key: Key,
    user: Annotated[str, typer.Option("--user", help="A user's id.")] = "",
    session: Annotated[str, typer.Option("--session", help="A session's id.")] = "",
    tenant: Annotated[str, typer.Option("--tenant", help="A tenant's id.")] = "",
    unit: Annotated[list[str] | None, typer.Option("--unit", metavar="KIND=ID", help="An id of another kind.")] = None,
    attribute: Annotated[
        list[str] | None,
        typer.Option("--attribute", "-a", metavar="NAME=VALUE", help="What its condition asks for; JSON or text."),
    ] = None,
    project: ProjectName = None,
    data_dir: DataDir = Path(DEFAULT_DIRECTORY),
    json: Json = False,
) -> None:
    """Show which arm a unit gets, and why. Nothing is recorded, so a draft can be tried.

    \b
    barograph experiment assign rerank --user u-1 -a plan=paid
    """
    from barograph.cli.experiment_pages import told_assignment

    ids = {"user": user, "session": session, "tenant": tenant, **_pairs(unit or [], "--unit")}
    given = {kind: unit_id for kind, unit_id in ids.items() if unit_id}
    if not given:
        raise InvalidInput("say who it is", hint="Give --user ID, or the id of the experiment's kind of unit.")
    attributes = {name: _value(text) for name, text in _pairs(attribute or [], "--attribute").items()}
    with desk_of(existing(data_dir), project) as desk:
        found = desk.experiments.preview(key, given, attributes)
    if json:
        print_json(found)
    else:
        for line in told_assignment(found):
            say(line)


VERBS: dict[str, Callable[..., None]] = {
    "create": create, "list": listed, "show": show, "start": start, "pause": pause, "stop": stop, "archive": archive,
    "revise": revise, "reallocate": reallocate, "history": history, "assign": assign, "plan": plan,
}  # fmt: skip


def _move(key: str, move: Move, project: str | None, data_dir: Path, json: bool, says: str) -> None:
    with desk_of(existing(data_dir), project) as desk:
        moved = desk.experiments.move(key, move)
    tell(moved, json, f"{shorten(key)} {says}.")


def _zone(data_dir: Path) -> ZoneInfo:
    return zone_of(load_settings(data_dir, os.environ).timezone)


def _pairs(texts: list[str], option: str) -> dict[str, str]:
    pairs = {}
    for text in texts:
        name, equals, value = text.partition("=")
        if not name or not equals:
            raise InvalidInput(f"{option}: {shorten(text)} is no pair", hint="Write name=value.")
        pairs[name] = value
    return pairs


def _value(text: str) -> object:
    """JSON where it is some, else text."""
    import msgspec

    try:
        return cast("object", msgspec.json.decode(text))
    except (msgspec.DecodeError, UnicodeError, RecursionError):
        return text
