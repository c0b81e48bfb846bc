"""Routes that any OpenFeature provider can ask: experiments as flags, by the OpenFeature Remote Evaluation Protocol.

https://github.com/open-feature/protocol, service/openapi.yaml. A flag is an experiment, its value the payload of the
unit's arm. To evaluate is not to expose: a provider may evaluate long before, or without, any effect; the header
``Barograph-Expose: true`` says of a single evaluation that it takes effect now.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated as A
from typing import Any

import msgspec
from msgspec import UNSET, Struct, UnsetType
from msgspec import Meta as M
from starlette.requests import Request
from starlette.responses import Response

from barograph.experiments.ab_test_framework import ABTestFramework
from barograph.experiments.assignment import SERVED
from barograph.experiments.design import Experiment
from barograph.experiments.preview import configuration
from barograph.server.access import Caller
from barograph.server.asking import answer
from barograph.server.attributes import LONGEST_ATTRIBUTES, checked
from barograph.server.etags import tagged
from barograph.server.parameters import from_body
from barograph.server.problems import Problem
from barograph.server.site import Site
from barograph_client.errors import ConditionUndecided, InvalidExperiment, shorten
from barograph_client.experiments.assignment import Reason

EXPOSE_HEADER = "Barograph-Expose"
MOST_BYTES = 8 * 2**20  # of all flags together: as much as our own client takes of definitions
_TARGETING_KEY = "targetingKey"
_REASONS: dict[Reason, str] = {  # https://openfeature.dev/specification/types#resolution-reason; else DEFAULT
    "assigned": "SPLIT",
    "sticky": "SPLIT",
    "forced": "TARGETING_MATCH",
    "not running": "DISABLED",
}
_CODES = {  # https://openfeature.dev/specification/types#error-code, by what a problem is; else GENERAL
    "invalid-json": "PARSE_ERROR",
    "unknown-content-type": "PARSE_ERROR",
    "cut-off": "PARSE_ERROR",
    "too-large": "PARSE_ERROR",
    "invalid-input": "INVALID_CONTEXT",
    "unknown-experiment": "FLAG_NOT_FOUND",
    "no-targeting-key": "TARGETING_KEY_MISSING",
}


class EvaluationRequest(Struct, kw_only=True):
    """For whom flags are evaluated: ``targetingKey`` is the unit's id, everything else an attribute."""

    context: A[dict[str, Any], M(description='Such as {"targetingKey": "u1", "plan": "paid"}; an id of a further kind '
               "of unit stands under its name")] = {}  # fmt: skip


class Evaluation(Struct, kw_only=True, rename="camel"):
    """What a flag is for somebody. Outside of the experiment it is the control's; ``metadata`` says why."""

    key: str
    value: dict[str, Any]
    variant: str
    reason: str
    metadata: dict[str, str | bool]


class EvaluationFailure(Struct, kw_only=True, rename="camel"):
    """Why a flag cannot be evaluated; ``key`` where one was named."""

    error_code: str
    error_details: str
    key: str | UnsetType = UNSET


class Evaluations(Struct, kw_only=True):
    """All flags: those of experiments that run, are paused or were stopped."""

    flags: A[list[dict[str, Any]], M(description="Each an Evaluation, or an EvaluationFailure with its key")]


async def evaluate(site: Site, caller: Caller, request: Request) -> Response:
    """One flag."""
    context = await _context(site, request)
    key, exposing = request.path_params["key"], _exposes(request)

    def work(framework: ABTestFramework) -> Evaluation:
        found = next((one for one in framework.known() if one.key == key and one.state in SERVED), None)
        if found is None:
            raise Problem(404, "unknown-experiment", "no experiment of that key runs, is paused or is stopped")
        return _evaluation(framework, found, context, exposing)

    return answer(await site.decide(caller.project, work))


async def evaluate_all(site: Site, caller: Caller, request: Request) -> Response:
    """Every flag, with an ETag; 304 where the caller has it already."""
    context = await _context(site, request)
    if _exposes(request):
        raise Problem(
            400, "invalid-input", "many flags are evaluated together before any takes effect, so this exposes nobody",
            hint=f"Leave {EXPOSE_HEADER} out, and call POST /api/v1/experiments/KEY/expose where one takes effect.",
        )  # fmt: skip

    return await site.decide(
        caller.project, lambda framework: tagged({"flags": all_flags(framework, context)}, request)
    )


def all_flags(
    framework: ABTestFramework, context: Mapping[str, object], most_bytes: int = MOST_BYTES
) -> list[msgspec.Raw]:
    """Each served experiment as JSON of an Evaluation or an EvaluationFailure.

    Raises Problem 422 where they are too large together: an answer with some would be taken for all there are.
    """
    flags: list[msgspec.Raw] = []
    size = 0
    for one in framework.known():
        if one.state not in SERVED:
            continue
        flags.append(msgspec.Raw(msgspec.json.encode(_evaluation_or_failure(framework, one, context))))
        size += len(flags[-1])
        if size > most_bytes:
            raise Problem(422, "too-large", f"all flags together have more than {most_bytes:,} bytes",
                          hint="Archive the stopped experiments that no program asks for any more.")  # fmt: skip
    return flags


def ofrep_problem(problem: Problem, key: str | None) -> Response:
    """What went wrong, as the protocol tells it."""
    body = msgspec.json.encode(_failure(problem, key))
    return Response(body, problem.status, headers=problem.headers, media_type="application/json")


async def _context(site: Site, request: Request) -> Mapping[str, Any]:
    body = await from_body(request, EvaluationRequest, site.settings.body_seconds, LONGEST_ATTRIBUTES)
    return checked(body.context, "context")


def _exposes(request: Request) -> bool:
    return request.headers.get(EXPOSE_HEADER, "").strip().lower() in ("true", "1")


def _evaluation_or_failure(
    framework: ABTestFramework, experiment: Experiment, context: Mapping[str, object]
) -> Evaluation | EvaluationFailure:
    try:
        return _evaluation(framework, experiment, context, exposing=False)
    except Problem as problem:
        return _failure(problem, experiment.key)


def _evaluation(
    framework: ABTestFramework, experiment: Experiment, context: Mapping[str, object], exposing: bool
) -> Evaluation:
    """Raises Problem 400 for a context without an id that can be used."""
    ids = _unit_ids(experiment, context)
    decide = framework.decide_and_expose if exposing else framework.decide
    try:
        decision = decide(experiment.key, ids, context)
    except ConditionUndecided as error:
        raise Problem(400, "condition-undecided", error.message, hint=error.hint) from None
    except InvalidExperiment as error:
        raise Problem(400, "invalid-input", str(error)) from None
    if decision.reason == "no unit":
        raise Problem(
            400, "no-targeting-key", f"the context has no id of a {experiment.unit_kind}",
            hint=f"Put it in {_TARGETING_KEY}, or in {experiment.unit_kind}.",
        )  # fmt: skip
    return Evaluation(
        key=experiment.key,
        value=configuration(experiment, decision.arm),
        variant=decision.arm or experiment.control,
        reason=_REASONS.get(decision.reason, "DEFAULT"),
        metadata={
            "inExperiment": decision.in_experiment,
            "why": decision.reason,
            "unitKind": decision.unit_kind,
            "exposed": exposing and decision.counted,
        },
    )


def _unit_ids(experiment: Experiment, context: Mapping[str, object]) -> dict[str, str]:
    """Ids by kind: what stands under the kind's own name, or for the experiment's kind the targeting key."""
    ids: dict[str, str] = {}
    for kind in filter(None, (experiment.unit_kind, experiment.fallback_unit_kind)):
        named, unit_id = kind, context.get(kind)
        if unit_id is None and kind == experiment.unit_kind:
            named, unit_id = _TARGETING_KEY, context.get(_TARGETING_KEY)
        if isinstance(unit_id, str):
            ids[kind] = unit_id
        elif unit_id is not None:
            raise Problem(400, "invalid-input", f"context.{named} must be text (got {shorten(unit_id)})",
                          hint="It is an id.")  # fmt: skip
    return ids


def _failure(problem: Problem, key: str | None) -> EvaluationFailure:
    details = f"{problem.detail}. {problem.hint}" if problem.hint else problem.detail
    return EvaluationFailure(
        error_code=_CODES.get(problem.kind, "GENERAL"), error_details=details, key=UNSET if key is None else key
    )
