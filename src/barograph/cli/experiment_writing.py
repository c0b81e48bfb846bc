"""Commands that write the definition of an experiment: ``create`` and ``revise``, by a file or by options."""

from __future__ import annotations

import sys
from pathlib import Path
from shlex import quote
from typing import TYPE_CHECKING, Annotated, Any

import typer

from barograph.cli.desk import desk_of
from barograph.cli.experiment_plan import method_of, share_of, spending_of
from barograph.cli.options import DEFAULT_DIRECTORY, DataDir, Json, ProjectName, existing
from barograph.cli.output import print_json, say
from barograph_client.errors import InvalidExperiment, InvalidInput, shorten

if TYPE_CHECKING:
    from barograph.experiments.design import Experiment

_LONGEST_FILE = 4 * 2**20  # bytes


def create(
    file: Annotated[
        str, typer.Argument(metavar="FILE", help="A definition in TOML or JSON; - reads standard input.")
    ] = "",
    key: Annotated[str, typer.Option("--key", help="Without a file: its key.")] = "",
    arms: Annotated[
        str, typer.Option("--arms", help="Its arms, the control first: plain,reranked, or plain:0.9,reranked:0.1.")
    ] = "",
    metric: Annotated[str, typer.Option("--metric", help="What the verdict goes by; `barograph metrics` lists.")] = "",
    better: Annotated[str, typer.Option("--better", help="higher or lower, where the metric does not say.")] = "",
    unit: Annotated[str, typer.Option("--unit", help="user, session, tenant, …")] = "user",
    days: Annotated[
        float | None,
        typer.Option("--days", help="The planned end; without one it is decided at any time, by wider intervals."),
    ] = None,
    units: Annotated[
        int | None, typer.Option("--units", help="How many are planned, of all arms; the end waits for them too.")
    ] = None,
    coverage: Annotated[str, typer.Option("--coverage", help="The share of units that takes part.")] = "100%",
    method: Annotated[
        str,
        typer.Option(
            "--method",
            help="fixed-horizon, always-valid or group-sequential; if absent, the first where an end is planned, else "
            "the second.",
        ),
    ] = "",
    looks: Annotated[
        int | None, typer.Option("--looks", help="How many are planned, if group-sequential; 4 if absent.")
    ] = None,
    spending: Annotated[
        str, typer.Option("--spending", help="Of alpha over the looks: obrien-fleming, next to none early, or pocock.")
    ] = "",
    effect: Annotated[str, typer.Option("--effect", help="The relative change worth finding: 5% or 0.05.")] = "5%",
    alpha: Annotated[str, typer.Option("--alpha", help="How often one may be found that is not there.")] = "5%",
    power: Annotated[str, typer.Option("--power", help="How often it is to be found, where it is there.")] = "80%",
    pre_days: Annotated[
        int, typer.Option("--pre-days", help="Adjusts for what units did in so many days before (CUPED).")
    ] = 0,
    guardrail: Annotated[
        list[str] | None,
        typer.Option("--guardrail", metavar="METRIC:MARGIN", help="Must not get worse by more than that share."),
    ] = None,
    sticky: Annotated[
        bool, typer.Option("--sticky", help="A unit keeps its arm whatever the shares become, as `reallocate` needs.")
    ] = False,
    hypothesis: Annotated[str, typer.Option("--hypothesis", help="What is expected, and why.")] = "",
    begin: Annotated[bool, typer.Option("--start", help="Start it at once.")] = False,
    project: ProjectName = None,
    data_dir: DataDir = Path(DEFAULT_DIRECTORY),
    json: Json = False,
) -> None:
    """Make an experiment. It is a draft until `barograph experiment start KEY`.

    \b
    barograph experiment create rerank.toml
    barograph experiment create --key rerank --arms plain,reranked \\
      --metric satisfaction --days 14 --guardrail response_time.mean:0.1

    A file says all of it, such as the configuration that each arm stands for:

    \b
    key = "rerank"
    primary_metric = "satisfaction"
    planned_days = 14
    [[variants]]
    key = "plain"
    weight = 0.5
    [[variants]]
    key = "reranked"
    weight = 0.5
    payload = { reranker = "cross-encoder", top_k = 20 }
    [[guardrails]]
    metric = "response_time.mean"
    margin = 0.1
    """
    if bool(file) == bool(key):
        raise InvalidInput(
            "name a file, or give --key, --arms and --metric",
            hint="`barograph experiment create --help` has both.",
        )
    if file:
        tree = _read(file)
    else:
        tree = {
            **_simple(key, arms, metric, guardrail or []),
            "unit_kind": unit,
            "coverage": share_of(coverage, "coverage"),
            "minimum_effect": share_of(effect, "effect"),
            "alpha": share_of(alpha, "alpha"),
            "power": share_of(power, "power"),
            "pre_days": pre_days,
            "sticky": sticky,
            "hypothesis": hypothesis,
            **({"better": better} if better else {}),
            **({} if days is None else {"planned_days": days}),
            **({} if units is None else {"planned_units": units}),
            **({"method": method_of(method)} if method else {}),
            **({} if looks is None else {"looks": looks}),
            **({"spending": spending_of(spending)} if spending else {}),
        }
    with desk_of(existing(data_dir), project) as desk:
        made = desk.experiments.create(tree)
        if begin:
            made = desk.experiments.move(made.key, "start")
    tell(made, json, f"{shorten(made.key)} is {'running' if begin else 'made, as a draft'}.")


def revise(
    file: Annotated[str, typer.Argument(metavar="FILE", help="The new definition; - reads standard input.")],
    project: ProjectName = None,
    data_dir: DataDir = Path(DEFAULT_DIRECTORY),
    json: Json = False,
) -> None:
    """Put another definition in the place of the one with its key.

    Of a draft all may be changed; afterwards only what moves no unit and no goal: coverage, texts, secondary metrics.

    \b
    barograph experiment show rerank --definition > rerank.json
    barograph experiment revise rerank.json
    """
    tree = _read(file)
    with desk_of(existing(data_dir), project) as desk:
        known = {one.key: one for one in desk.experiments.all()}
        revised = desk.experiments.revise(tree)
    same = revised == known.get(revised.key)
    told = "is as it was: the definition changes nothing" if same else "is revised"
    more = "" if same else f"; `barograph experiment history {quote(revised.key)}` tells what changed"
    tell(revised, json, f"{shorten(revised.key)} {told}{more}.")


def tell(experiment: Experiment, json: bool, sentence: str) -> None:
    """Say what was done and, of a draft, what may be done next; or the experiment as JSON."""
    from barograph.cli.experiment_pages import next_steps

    if json:
        print_json(experiment)
        return
    say(sentence)
    if experiment.state == "draft":
        for line in next_steps(experiment, None):
            say(line)


def _read(file: str) -> dict[str, Any]:
    """The definition of a file, looked at before anything is opened. Raises InvalidExperiment or InvalidInput."""
    from barograph.experiments.written import from_file

    name = "standard input" if file == "-" else file
    try:
        raw = sys.stdin.buffer.read(_LONGEST_FILE + 1) if file == "-" else Path(file).read_bytes()[: _LONGEST_FILE + 1]
        if len(raw) > _LONGEST_FILE:
            raise InvalidInput(f"{name} is longer than {_LONGEST_FILE:,} bytes")
        text = raw.decode()
    except OSError as error:
        raise InvalidInput(f"{name} cannot be read: {error.strerror}", hint="Name a file, or - for a pipe.") from None
    except UnicodeDecodeError:
        raise InvalidInput(f"{name} is no text in UTF-8") from None
    return from_file(text, name)


def _simple(key: str, arms: str, metric: str, guardrails: list[str]) -> dict[str, Any]:
    """The part of a definition without which there is none, as the options say it. Raises InvalidExperiment."""
    for name, value in (("--arms", arms), ("--metric", metric)):
        if not value:
            raise InvalidExperiment(f"{name} is missing", hint="--key, --arms and --metric go together.")
    names = [one.strip() for one in arms.split(",")]
    weighed = any(":" in one for one in names)
    pairs = [_weight(one, "--arms") if weighed else (one, 1 / len(names)) for one in names]
    return {
        "key": key,
        "variants": [{"key": name, "weight": weight} for name, weight in pairs],
        "primary_metric": metric,
        "guardrails": [
            {"metric": name, "margin": margin} for name, margin in (_weight(one, "--guardrail") for one in guardrails)
        ],
    }


def _weight(text: str, option: str) -> tuple[str, float]:
    """A name and a share. Raises InvalidExperiment."""
    name, _, share = text.rpartition(":")
    try:
        if name:
            return name.strip(), float(share)
    except ValueError:
        pass
    raise InvalidExperiment(f"{option}: {shorten(text)} has no share", hint="Write name:share, such as name:0.1.")
