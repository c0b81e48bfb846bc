"""Routes for experiments: define, start, stop, compare, and what programs must know to assign arms themselves.

An experiment's ``ETag`` stands for its definition and its state; a change with ``If-Match`` is made only while it is
what was seen (RFC 9110, section 13.1.1).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated as A
from typing import Any, TypeVar

import msgspec
from msgspec import Meta as M
from msgspec import Struct
from starlette.requests import Request
from starlette.responses import Response

from barograph.dashboard.dashboard_interface import DashboardInterface
from barograph.experiments.design import LONGEST_TEXT, Experiment
from barograph.experiments.preview import expose, preview
from barograph.experiments.reallocation import LEAST_EXPLORATION, Reallocation
from barograph.experiments.written import LONGEST_DEFINITION, from_tree
from barograph.server.access import Caller
from barograph.server.answers import ExperimentHistory, Experiments
from barograph.server.asking import answer, ask
from barograph.server.attributes import LONGEST_ATTRIBUTES, checked
from barograph.server.etags import etag_of, names, tagged
from barograph.server.parameters import FreshParameters, body_of, from_address, from_body, no_json
from barograph.server.problems import Problem
from barograph.server.site import Site
from barograph.stats.bandit import EXPLORATION
from barograph_client.experiments.definition import LONGEST_UNIT_ID

T = TypeVar("T")
_UnitId = A[str, M(max_length=LONGEST_UNIT_ID)]


class StopBody(Struct, kw_only=True, forbid_unknown_fields=True):
    """Why an experiment is stopped."""

    reason: A[str, M(max_length=LONGEST_TEXT, description="Kept with it, and in its history")] = ""


class ReallocateBody(Struct, kw_only=True, forbid_unknown_fields=True):
    """How much is left to arms that are not likely the best."""

    exploration: A[
        float, M(description=f"The least share of an arm, from {LEAST_EXPLORATION} to an equal share of all")
    ] = EXPLORATION


class HistoryParameters(Struct, kw_only=True):
    """How far back."""

    limit: A[int, M(ge=1, le=1000, description="The last so many changes")] = 100


class AssignmentParameters(Struct, kw_only=True):
    """Who it is: an id by the experiment's unit kind, under its name."""

    user: _UnitId = ""
    session: _UnitId = ""
    tenant: _UnitId = ""
    attributes: A[
        str,
        M(max_length=LONGEST_ATTRIBUTES, description="What its targeting condition asks for, as a JSON object",
          extra_json_schema={"pattern": r"^\{.*\}$", "examples": ['{"plan":"paid"}']}),
    ] = "{}"  # fmt: skip


class ExposureBody(Struct, kw_only=True, forbid_unknown_fields=True):
    """Who is exposed: ids by the kind of unit, and the attributes that a targeting condition asks for."""

    units: A[dict[str, A[str, M(max_length=LONGEST_UNIT_ID)]], M(description='Such as {"user": "u1"}')]
    attributes: A[dict[str, Any], M(description='Such as {"plan": "paid"}')] = {}


async def experiments(site: Site, caller: Caller, request: Request) -> Response:
    """All experiments of the project."""
    found = await ask(site, caller, False, lambda dashboard: dashboard.experiments.list())
    return answer(Experiments(experiments=found))


async def experiment(site: Site, caller: Caller, request: Request) -> Response:
    """One experiment, with its ETag; 304 where the caller has it already."""
    key = request.path_params["key"]
    return tagged(await ask(site, caller, False, lambda dashboard: dashboard.experiments.get(key)), request)


async def create(site: Site, caller: Caller, request: Request) -> Response:
    """Keep a new experiment, as a draft."""
    tree = await _tree(site, request)

    def work(dashboard: DashboardInterface) -> Experiment:
        return dashboard.experiments.create(from_tree(tree, caller.project), actor=caller.actor)

    return tagged(await ask(site, caller, False, work))


async def revise(site: Site, caller: Caller, request: Request) -> Response:
    """Put another definition in the place of an experiment's."""
    tree = await _tree(site, request)

    def change(dashboard: DashboardInterface, known: Experiment) -> Experiment:
        wanted = from_tree(tree, caller.project, known)
        if wanted.key != known.key:
            raise Problem(400, "invalid-input", "key: it is another than that of the address", field="key",
                          hint="An experiment keeps its key; POST /api/v1/experiments makes a new one.")  # fmt: skip
        return dashboard.experiments.revise(wanted, actor=caller.actor)

    return await _changed(site, caller, request, change)


async def start(site: Site, caller: Caller, request: Request) -> Response:
    """Begin it, or go on after a pause."""
    return await _changed(
        site, caller, request, lambda dashboard, known: dashboard.experiments.start(known.key, actor=caller.actor)
    )


async def pause(site: Site, caller: Caller, request: Request) -> Response:
    """Assign nobody until it is started again."""
    return await _changed(
        site, caller, request, lambda dashboard, known: dashboard.experiments.pause(known.key, actor=caller.actor)
    )


async def stop(site: Site, caller: Caller, request: Request) -> Response:
    """End it for good."""
    body = await from_body(request, StopBody, site.settings.body_seconds)

    def change(dashboard: DashboardInterface, known: Experiment) -> Experiment:
        return dashboard.experiments.stop(known.key, reason=body.reason, actor=caller.actor)

    return await _changed(site, caller, request, change)


async def reallocate(site: Site, caller: Caller, request: Request) -> Response:
    """Share later units out by how likely each arm is the best. The ETag is that of the experiment in the answer."""
    body = await from_body(request, ReallocateBody, site.settings.body_seconds)
    fresh = from_address(request.query_params, FreshParameters).fresh

    def change(dashboard: DashboardInterface, known: Experiment) -> Reallocation:
        return dashboard.experiments.reallocate(known.key, exploration=body.exploration, actor=caller.actor)

    found = await _in_turn(site, caller, request, change, fresh=fresh)
    return tagged(found, of=found.experiment)


async def archive(site: Site, caller: Caller, request: Request) -> Response:
    """Put it away."""
    return await _changed(
        site, caller, request, lambda dashboard, known: dashboard.experiments.archive(known.key, actor=caller.actor)
    )


async def comparison(site: Site, caller: Caller, request: Request) -> Response:
    """The arms compared, with the verdict. What is infinite is null: msgspec writes it so."""
    return await _told(site, caller, request, lambda dashboard, key: dashboard.experiments.compare(key))


async def details(site: Site, caller: Caller, request: Request) -> Response:
    """Courses, slices, the arms' spread, second opinions."""
    return await _told(site, caller, request, lambda dashboard, key: dashboard.experiments.details(key))


async def examples(site: Site, caller: Caller, request: Request) -> Response:
    """Questions of several arms, with an answer of each."""
    return await _told(site, caller, request, lambda dashboard, key: dashboard.experiments.examples(key))


async def _told(
    site: Site, caller: Caller, request: Request, work: Callable[[DashboardInterface, str], object]
) -> Response:
    key = request.path_params["key"]
    fresh = from_address(request.query_params, FreshParameters).fresh
    return answer(await ask(site, caller, fresh, lambda dashboard: work(dashboard, key)))


async def history(site: Site, caller: Caller, request: Request) -> Response:
    """Who changed it and how, newest first."""
    key = request.path_params["key"]
    limit = from_address(request.query_params, HistoryParameters).limit
    return answer(
        await ask(site, caller, False, lambda dashboard: ExperimentHistory.of(dashboard.experiments, key, limit))
    )


async def assignment(site: Site, caller: Caller, request: Request) -> Response:
    """What it is, or would be, for a unit, and why; nothing is recorded or kept."""
    key = request.path_params["key"]
    parameters = from_address(request.query_params, AssignmentParameters)
    try:
        attributes = msgspec.json.decode(parameters.attributes, type=dict[str, Any])
    except (msgspec.MsgspecError, ValueError, RecursionError) as error:
        raise Problem(400, "invalid-input", f"parameter attributes: it is no JSON object: {error}", field="attributes",
                      hint='Write it as {"plan":"paid"}, percent-encoded.') from None  # fmt: skip
    ids = {kind: unit_id for kind, unit_id in request.query_params.items() if kind not in ("attributes", "project")}

    checked(attributes, "attributes")
    return answer(await site.decide(caller.project, lambda framework: preview(framework, key, ids, attributes)))


async def exposure(site: Site, caller: Caller, request: Request) -> Response:
    """What it is for a unit, which is exposed to it: the exposure is in the journal when the answer comes."""
    key = request.path_params["key"]
    body = await from_body(request, ExposureBody, site.settings.body_seconds, LONGEST_ATTRIBUTES)
    checked(body.attributes, "attributes")
    return answer(
        await site.decide(caller.project, lambda framework: expose(framework, key, body.units, body.attributes))
    )


async def definitions(site: Site, caller: Caller, request: Request) -> Response:
    """The definitions of a project in one document; 304 where the caller has it already (RFC 9110, section 13.1.2)."""
    return tagged(await ask(site, caller, False, lambda dashboard: dashboard.experiments.definitions()), request)


async def _tree(site: Site, request: Request) -> object:
    body = await body_of(request, site.settings.body_seconds, LONGEST_DEFINITION)
    try:
        return msgspec.json.decode(body)
    except (msgspec.MsgspecError, ValueError, RecursionError) as error:
        raise no_json(error) from None


async def _changed(
    site: Site, caller: Caller, request: Request, change: Callable[[DashboardInterface, Experiment], Experiment]
) -> Response:
    """The experiment of the address after a change, with its ETag. Raises Problem 412."""
    return tagged(await _in_turn(site, caller, request, change))


async def _in_turn(
    site: Site, caller: Caller, request: Request, change: Callable[[DashboardInterface, Experiment], T], *,
    fresh: bool = False,
) -> T:  # fmt: skip
    """One change of the experiment of the address, after those that came before it. Raises Problem 412."""
    key, wanted = request.path_params["key"], request.headers.get("if-match")

    def work(dashboard: DashboardInterface) -> T:
        known = dashboard.experiments.get(key)
        if wanted is not None and wanted.strip() != "*" and not names(wanted, etag_of(msgspec.json.encode(known))):
            raise Problem(412, "changed-meanwhile", "the experiment is not what If-Match names any more",
                          hint="Read it again, and decide on what it is now.")  # fmt: skip
        return change(dashboard, known)

    async with site.turn(f"experiments of {caller.project}"):
        return await ask(site, caller, fresh, work)
