"""OTLP over HTTP: ``/v1/traces``, ``/v1/metrics``, ``/v1/logs``, as protobuf or JSON; what gRPC does too is used by
``otlp_grpc``.

An acknowledgement says that everything is durable or told as rejected. Where it cannot be, the status is one that
exporters try again (429 or 503, with Retry-After); what trying again cannot help is 400, 413 or 415. Errors are a
google.rpc.Status in the request's own format, as OTLP asks for.
https://opentelemetry.io/docs/specs/otlp/#otlphttp-response
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from itertools import chain
from typing import Any, NamedTuple

from starlette.requests import Request
from starlette.responses import Response

from barograph.collect import otlp
from barograph.collect.intake import Taken
from barograph.collect.otlp_answers import answer, failure
from barograph.collect.otlp_crowd import TooManyRecords
from barograph.collect.otlp_logs import take_records
from barograph.collect.otlp_messages import Form, Signal
from barograph.collect.otlp_metrics import take_points
from barograph.collect.otlp_spans import take_spans
from barograph.core.settings import ServerSettings
from barograph.server.access import Caller
from barograph.server.bodies import read_body
from barograph.server.problems import Problem, problem_of
from barograph.server.site import Site
from barograph_client.errors import BarographError

MEDIA: dict[Form, str] = {"protobuf": "application/x-protobuf", "json": "application/json"}
_FORMS: dict[str, Form] = {"application/x-protobuf": "protobuf", "application/protobuf": "protobuf",
                           "application/json": "json"}  # fmt: skip
_RETRYABLE = (429, 502, 503, 504)  # what OTLP exporters try again
_CODES = {400: 3, 401: 16, 403: 7, 404: 5, 408: 4, 413: 3, 415: 3, 429: 8, 500: 13, 503: 14}  # google.rpc.Code
_UNKNOWN = 2
_MOST_REASONS = 5


class Decoded(NamedTuple):
    """The events of a request; ``rejected`` counts its records (spans, points) that are none, by reason."""

    taken: list[Taken]
    rejected: Counter[str]


async def take_otlp(site: Site, caller: Caller, request: Request, signal: Signal) -> Response:
    """Keep a request's records. Raises Problem."""
    form = form_of(request)
    if form is None:
        raise Problem(415, "unknown-content-type", "OTLP comes as application/x-protobuf or application/json")
    async with site.admission.request() as admitted:
        body = await read_body(request, site.settings, admitted)
        kept = await keep_records(site, caller, signal, form, body)
    return Response(kept, media_type=MEDIA[form])


async def keep_records(site: Site, caller: Caller, signal: Signal, form: Form, body: bytes) -> bytes:
    """Keep the records of a body; the answer's body, once they are durable. Raises Problem or JournalError."""
    decoded, _ = await site.keep(lambda: _decode(site, caller.project, signal, form, body))
    return answer(signal, form, decoded.rejected.total(), _reasons(decoded.rejected))


def form_of(request: Request) -> Form | None:
    """How the body is encoded."""
    return _FORMS.get(request.headers.get("content-type", "").partition(";")[0].strip().lower())


class Refusal(NamedTuple):
    """Why a request was not taken: the HTTP status, the google.rpc.Code, a text, and when to try again, if ever."""

    status: int
    code: int
    text: str
    retry_after: float | None


def refusal_of(problem: Problem) -> Refusal:
    """What a problem is to an exporter. A full disk is told as 503: exporters give up on a 507."""
    status = 503 if problem.status == 507 else problem.status
    text = f"{problem.detail}. {problem.hint}" if problem.hint else problem.detail
    return Refusal(status, _CODES.get(status, _UNKNOWN), text, problem.retry_after if status in _RETRYABLE else None)


def otlp_problem(problem: Problem, form: Form | None) -> Response:
    """The answer to a request that was not taken."""
    status, code, text, _ = refusal_of(problem)
    headers = problem.headers if status in _RETRYABLE or status == 401 else {}
    return Response(failure(form or "json", code, text), status, headers=headers, media_type=MEDIA[form or "json"])


def _decode(site: Site, project: str, signal: Signal, form: Form, body: bytes) -> Decoded:
    try:
        message = otlp.read(signal, body, form, most=site.settings.batch_events)
    except TooManyRecords:
        raise _too_many(site.settings) from None
    except BarographError as error:
        raise problem_of(error) from None
    try:
        return _records(message, site, project, signal)
    except (ValueError, OverflowError) as error:  # of a number, which JSON may write as text
        raise Problem(400, "invalid-input", f"the body is no OTLP {form}: {error}",
                      hint="Write numbers of 64 bits as integers or as their digits.") from None  # fmt: skip


def _records(message: Any, site: Site, project: str, signal: Signal) -> Decoded:
    intake, now = site.intake(project), site.clock.now()
    if signal == "traces":
        return _gather(([one] for one in take_spans(message, intake, project, now)), site.settings)
    if signal == "metrics":
        return _gather(take_points(message, intake, project, now), site.settings)
    return _gather(([one] for one in take_records(message, intake, project, now)), site.settings)


def _gather(records: Iterable[list[Taken]], settings: ServerSettings) -> Decoded:
    """All events; a record one of whose events is refused counts as rejected once."""
    rejected: Counter[str] = Counter()
    kept: list[list[Taken]] = []
    for record in records:
        kept.append(record)
        if len(kept) > settings.batch_events:
            raise _too_many(settings)
        error = next((taken.error for taken in record if taken.error is not None), None)
        if error is not None:
            rejected[str(error)] += 1
    return Decoded(list(chain.from_iterable(kept)), rejected)


def _too_many(settings: ServerSettings) -> Problem:
    return Problem(413, "too-many-records", f"a request has at most {settings.batch_events:,} records",
                   hint="Lower the exporter's batch size.")  # fmt: skip


def _reasons(rejected: Counter[str]) -> str:
    """Why, the most frequent first."""
    told = [f"{count} x {reason}" for reason, count in rejected.most_common(_MOST_REASONS)]
    more = len(rejected) - len(told)
    return "; ".join([*told, *([f"and {more} other reasons"] if more > 0 else [])])
