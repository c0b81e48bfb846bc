"""Problem documents (RFC 9457): what went wrong, as JSON, with a hint at what to do next.

Every answer of the server that is not a success is made here, from an error of ours or from a ``Problem`` that a
handler raises.
"""

from __future__ import annotations

import math
from http import HTTPStatus

import msgspec
from starlette.responses import Response

from barograph_client.errors import (
    BarographError,
    ChangedMeanwhile,
    ConditionUndecided,
    ControlError,
    DiskFull,
    EngineError,
    EngineUnavailable,
    InvalidEvent,
    InvalidExperiment,
    InvalidInput,
    InvalidQuery,
    JournalError,
    QueryTooExpensive,
    UnknownExperiment,
    UnknownMetric,
)

CONTENT_TYPE = "application/problem+json"
RETRY_SECONDS = 1.0  # when the queue is full
SLOW_RETRY_SECONDS = 10.0  # when a disk or an engine has to come back first


class Problem(Exception):
    """An answer that is no success. ``more`` are members of the document besides those of the RFC."""

    def __init__(
        self, status: int, kind: str, detail: str, *, hint: str = "", retry_after: float | None = None, **more: object
    ) -> None:
        self.status = status
        self.kind = kind
        self.detail = detail
        self.hint = hint
        self.retry_after = retry_after
        self.more = more
        super().__init__(detail)

    @property
    def headers(self) -> dict[str, str]:
        """Headers that belong to the status."""
        found: dict[str, str] = {}
        if self.retry_after is not None:
            found["Retry-After"] = str(max(1, math.ceil(self.retry_after)))
        if self.status == HTTPStatus.UNAUTHORIZED:
            found["WWW-Authenticate"] = 'Bearer realm="barograph"'
        return found

    def response(self) -> Response:
        """The problem document."""
        document = {
            "type": f"urn:barograph:problem:{self.kind}",
            "title": self.kind.replace("-", " ").capitalize(),
            "status": self.status,
            "detail": self.detail,
            **({"hint": self.hint} if self.hint else {}),
            **self.more,
        }
        body = msgspec.json.encode(document)
        return Response(body, self.status, headers={**self.headers, "Content-Type": CONTENT_TYPE})

    def sentence(self) -> Response:
        """Detail and hint as one text in JSON, which is what Alertmanager's clients show."""
        text = f"{self.detail}. {self.hint}" if self.hint else self.detail
        return Response(msgspec.json.encode(text), self.status, headers=self.headers, media_type="application/json")


DESCRIBED = "GET /api/v1/openapi.json describes what can be sent and asked."
_USUAL_HINTS = {
    400: DESCRIBED,
    404: DESCRIBED,
    422: DESCRIBED,
    503: "Send it again after the seconds in Retry-After.",
    507: "Free some space; then send it again.",
}

# The first that an error is an instance of: the status, the kind, the seconds after which to try again.
_KNOWN: tuple[tuple[type[BarographError], int, str, float | None], ...] = (
    (InvalidEvent, 422, "invalid-event", None),
    (UnknownMetric, 404, "unknown-metric", None),
    (UnknownExperiment, 404, "unknown-experiment", None),
    (ConditionUndecided, 422, "condition-undecided", None),
    (InvalidExperiment, 400, "invalid-experiment", None),
    (InvalidQuery, 400, "invalid-query", None),
    (InvalidInput, 400, "invalid-input", None),
    (DiskFull, 507, "disk-full", SLOW_RETRY_SECONDS),
    (JournalError, 503, "not-durable", SLOW_RETRY_SECONDS),
    (QueryTooExpensive, 422, "query-too-expensive", None),
    (EngineUnavailable, 503, "engine-unavailable", SLOW_RETRY_SECONDS),
    (EngineError, 503, "engine-error", SLOW_RETRY_SECONDS),
    (ChangedMeanwhile, 409, "changed-meanwhile", None),
    (ControlError, 503, "control-plane-error", SLOW_RETRY_SECONDS),
)


def problem_of(error: BarographError) -> Problem:
    """What an error of ours is to a caller."""
    known = (row[1:] for row in _KNOWN if isinstance(error, row[0]))
    status, name, retry = next(known, (500, "fault", None))
    more: dict[str, object] = {}
    if isinstance(error, InvalidEvent):
        more = {**({"field": error.field} if error.field else {}), "reason": error.reason}
    elif isinstance(error, InvalidExperiment) and error.field:
        more = {"field": error.field}
    if error.value is not None:
        more["value"] = error.value
    return Problem(
        status, name, error.message, hint=error.hint or _USUAL_HINTS.get(status, ""), retry_after=retry, **more
    )


def fault() -> Problem:
    """Something that nobody foresaw; what it was stands in the server's log and nowhere else."""
    return Problem(500, "fault", "something went wrong in the server", hint="Its log on standard error tells what.")
