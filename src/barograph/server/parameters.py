"""What the routes that answer questions take: parameters of the address and bodies, each a struct with its text.

The same annotations check a request and describe it in the OpenAPI document. A parameter nobody knows is ignored; a
bad one is told by its name.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Sequence
from datetime import datetime
from typing import Annotated as A
from typing import Any, Literal, TypeVar

import msgspec
from msgspec import Meta as M
from msgspec import Struct
from starlette.datastructures import QueryParams
from starlette.requests import ClientDisconnect, Request

from barograph.analytics.period import recent
from barograph.core.event import CALLER_KINDS
from barograph.core.mistakes import Mistake, mistakes
from barograph.core.query import OPS, Calendar, Filter, Period, Window, parse_duration, parse_moment
from barograph.core.settings import RuleSettings
from barograph.core.toml_lines import dotted
from barograph.dashboard.open_alerts import Choice, Chosen
from barograph.server.problems import DESCRIBED, Problem
from barograph_client.aliases import ALIASES
from barograph_client.errors import InvalidEvent, InvalidQuery

P = TypeVar("P", bound=Struct)
B = TypeVar("B")

# The patterns are for who reads the document; what does not fit is refused by what reads it, with a better hint.
_A_DURATION = r"\d+(\.\d+)?(ms|s|m|h|d|w)"
_MOMENTS = {"pattern": rf"^(now|-{_A_DURATION}|\d{{4}}.+)$", "examples": ["2026-11-22T14:05Z", "2026-11-22", "-7d"]}
_DURATIONS = {"pattern": f"^{_A_DURATION}$", "examples": ["24h", "90s"]}
_FILTERS = {"pattern": f"^[^:]+:({'|'.join(OPS)})(:.*)?$", "examples": ["status:eq:error", "response_time:gte:3"]}

Moment = A[str, M(max_length=64, description="ISO 8601 (no zone is UTC), now, or a duration ago such as -7d",
                  extra_json_schema=_MOMENTS)]  # fmt: skip
Duration = A[str, M(max_length=32, description="A number and ms, s, m, h, d or w, up to now, such as 24h",
                    extra_json_schema=_DURATIONS)]  # fmt: skip
Where = A[list[A[str, M(max_length=4096, extra_json_schema=_FILTERS)]],
          M(max_length=32, description=f"Filters field:op:value; op is {', '.join(OPS)}")]  # fmt: skip
Matchers = A[list[A[str, M(max_length=4096)]],
             M(max_length=50, description='On labels: severity="info", with =, !=, =~ or !~; all match')]  # fmt: skip
Fresh = A[bool, M(description="Load what is durable first, so that what was just sent is in the answer")]
LONGEST_BODY = 256 * 1024  # bytes of a question


Beginning = A[Moment | None, M(description="The window's beginning")]
End = A[Moment | None, M(description="Its end; now if absent")]
Length = A[Duration | None, M(description="Or its length up to now")]


class Windowed:
    """What has a window of time in three fields."""

    from_: str | None
    to: str | None
    last: str | None

    def window(self, now: datetime, usual: str) -> Window:
        """The window that is asked for, or the usual one. Raises InvalidQuery."""
        if self.from_ is None and self.to is None:
            return recent(usual if self.last is None else self.last, now)
        if self.last is not None:
            raise InvalidQuery("last and from/to exclude each other", hint="Use one of them.")
        if self.from_ is None:
            raise InvalidQuery("to needs from", hint="Say where the window begins.")
        return Window(parse_moment(self.from_, now), parse_moment(self.to or "now", now))


class Span(Struct, Windowed, kw_only=True, rename={"from_": "from"}):
    """A window of time."""

    from_: Beginning = None
    to: End = None
    last: Length = None


class SearchParameters(Span, kw_only=True):
    """A page of events."""

    f: Where = []
    where: Where = []
    order: A[
        str, M(min_length=1, max_length=64, description="time, or a number of the event such as response_time")
    ] = "time"
    ascending: bool = False
    limit: A[int, M(ge=1, le=1000, description="Rows of a page")] = 50
    cursor: A[str, M(max_length=2048, description="From the page before, as it was given")] = ""
    fresh: Fresh = False


_Number = A[int, M(ge=0, le=100_000)]


class AlertParameters(Struct, kw_only=True):
    """Which open alerts: all, unless something is said."""

    rule: A[str, M(max_length=128, description="Those of this rule, or of this alertname")] = ""
    state: A[Chosen | None, M(description="Those that wait, that fire, or that are held back")] = None
    filter: Matchers = []
    limit: A[_Number | None, M(description="The worst, so many at most; the counts are of all")] = None
    each: A[_Number | None, M(description="So many of one alertname at most")] = None

    def choice(self) -> Choice:
        """As it is asked."""
        return Choice(rule=self.rule, state=self.state, matchers=self.filter, limit=self.limit, each=self.each)


class IncidentParameters(Span, kw_only=True):
    """Incidents of a window, seven days unless asked."""

    limit: A[int, M(ge=1, le=1000, description="Incidents told one by one, the newest")] = 50
    queries: A[int, M(ge=0, le=20, description="Queries behind each of the newest five, 3 unless asked")] = 3
    fresh: Fresh = False


class EventSearchParameters(SearchParameters, kw_only=True):
    """A page of events of any kind."""

    kind: A[str, M(description="The kind of event", extra_json_schema={"enum": list(CALLER_KINDS)})] = "query"


def caller_kind(text: str) -> str:
    """A kind of event that callers send. Raises Problem 400."""
    if text not in CALLER_KINDS:
        raise Problem(400, "invalid-input", "there is no such kind of event", field="kind",
                      hint=f"It is one of {', '.join(CALLER_KINDS)}.")  # fmt: skip
    return text


class FreshParameters(Struct, kw_only=True):
    """An answer as of now."""

    fresh: Fresh = False


class Drawn(Struct, kw_only=True):
    """How an answer is drawn."""

    format: Literal["text", "json", "csv"] = "text"
    charset: Literal["ascii", "unicode", "braille"] = "unicode"
    width: A[int, M(ge=20, le=500, description="Columns")] = 80
    colour: A[bool, M(description="Escape sequences for a terminal")] = False
    fresh: Fresh = False


class PageParameters(Drawn, Windowed, kw_only=True, rename={"from_": "from"}):
    """A drawn page, over its usual window or another."""

    from_: Beginning = None
    to: End = None
    last: Length = None
    experiment: A[str, M(max_length=128, description="On the page experiments: the key of one, which is then shown in "
                  "full")] = ""  # fmt: skip


class TraceParameters(Drawn, kw_only=True):
    """A trace: as JSON unless another form is asked for."""

    format: Literal["text", "json", "csv"] = "json"


class ReportParameters(Drawn, kw_only=True):
    """A report on the last hours."""

    hours: A[float, M(ge=0.1, le=24 * 366, description="How far back")] = 24.0


MetricName = A[str, M(min_length=1, max_length=256)]


class MetricQuestion(Span, kw_only=True, forbid_unknown_fields=True):
    """One metric over a window, whole or in buckets, by group, filtered, beside an earlier period."""

    metric: A[
        MetricName | A[list[MetricName], M(min_length=1, max_length=20)],
        M(description="A metric's name, or several, answered together; GET /api/v1/metrics lists them"),
    ]
    every: A[float | Calendar | A[str, M(max_length=32)] | None, M(description="Buckets: seconds, 5m, 1h; day, week, "
             "month in the time zone")] = None  # fmt: skip
    by: A[list[A[str, M(max_length=256)]], M(max_length=8, description="Group by dimensions or tag.<name>")] = []
    where: Where = []
    compare: A[Period | None, M(description="An earlier period beside it")] = None
    timezone: A[str, M(max_length=64, description="Whose days; the settings' if absent")] = ""
    limit: A[int, M(ge=1, le=1000, description="Groups at most")] = 50
    fresh: Fresh = False

    def bucket(self) -> float | Calendar | None:
        """The bucket in seconds, or the calendar's. Raises InvalidQuery."""
        match self.every:
            case "day" | "week" | "month" | float() | int() | None as bucket:
                return bucket
            case duration:
                return parse_duration(duration)


class BacktestQuestion(Span, kw_only=True, forbid_unknown_fields=True):
    """A rule to be tried on the events of a window: one in use by its name, or one that is only defined."""

    rule: A[str, M(max_length=128, description="The name of a rule in use")] = ""
    definition: A[RuleSettings | None, M(description="Or a rule as [[rules]] has it")] = None
    fresh: Fresh = False


class PruneBody(Struct, kw_only=True, forbid_unknown_fields=True):
    """What to retire."""

    older_than: Duration
    kinds: A[list[str], M(max_length=16)] = []


class RebuildBody(Struct, kw_only=True, forbid_unknown_fields=True):
    """What to make again."""

    day: A[A[str, M(max_length=10)] | None, M(description="One day of arrival, YYYY-MM-DD; all of them if absent")] = (
        None
    )


def from_address(parameters: QueryParams, kind: type[P]) -> P:
    """The parameters of the address. Raises Problem 400, which names the one at fault."""
    fields = {field.encode_name: field for field in msgspec.structs.fields(kind)}
    given: dict[str, Any] = {}
    for name in parameters:
        if name in fields:
            several = fields[name].type in (Where, Matchers)
            given[name] = parameters.getlist(name) if several else parameters[name]
    try:
        return msgspec.convert(given, kind, strict=False)
    except msgspec.ValidationError as error:
        raise _bad(error, "parameter", mistakes(given, kind, strict=False)) from None


async def body_of(request: Request, seconds: float, longest: int = LONGEST_BODY) -> bytes:
    """The body of a question as it came, within so many seconds. Raises Problem 400, 408, 413 or 415."""
    media = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if media != "application/json":
        raise Problem(
            415, "unknown-content-type", "the body comes as JSON", hint="Send Content-Type: application/json."
        )
    body = b""
    try:
        async with asyncio.timeout(seconds):
            async for part in request.stream():
                body += part
                if len(body) > longest:
                    raise Problem(
                        413, "too-large", f"the body has at most {longest:,} bytes", hint="Send less at a time."
                    )
    except TimeoutError:
        raise Problem(408, "too-slow", f"the body did not come within {seconds:g} s", hint="Ask again.") from None
    except ClientDisconnect:
        raise Problem(400, "cut-off", "the connection ended before the body did") from None
    return body or b"{}"


async def from_body(request: Request, kind: type[B], seconds: float, longest: int = LONGEST_BODY) -> B:
    """The body of a question, checked. Raises as ``body_of`` does."""
    body = await body_of(request, seconds, longest)
    try:
        return msgspec.json.decode(body, type=kind)
    except msgspec.ValidationError as error:
        found: list[Mistake] = []
        with contextlib.suppress(msgspec.MsgspecError, ValueError, RecursionError):
            found = mistakes(msgspec.json.decode(body), kind)
        raise _bad(error, "field", found) from None
    except (msgspec.MsgspecError, ValueError, RecursionError) as error:
        raise no_json(error) from None


def no_json(error: Exception) -> Problem:
    """The answer to a body that cannot be read."""
    return Problem(400, "invalid-json", f"the body is no JSON: {error}", hint=DESCRIBED)


def _bad(error: msgspec.ValidationError, what: str, found: Sequence[Mistake]) -> Problem:
    """The first of what is wrong, in words; what msgspec says where looking again has found nothing."""
    first = found[0] if found else Mistake(at=(), says=str(error))
    name = dotted(first.at)
    hint = first.near or DESCRIBED
    if not name:
        return Problem(400, "invalid-input", first.says, hint=hint)
    return Problem(400, "invalid-input", f"{what} {name}: {first.says}", hint=hint, field=name)


def filters(texts: list[str], kind: str) -> tuple[Filter, ...]:
    """The filters of their texts; a field may have another name that events have too. Raises InvalidQuery."""
    return tuple(_by_our_name(Filter.parse(text), kind) for text in texts)


def _by_our_name(given: Filter, kind: str) -> Filter:
    """``latency_ms:gte:3000`` is ``response_time:gte:3``."""
    alias = next((one for one in ALIASES.get(kind, ()) if one.name == given.field), None)
    if alias is None:
        return given
    if alias.convert is None or given.op in ("has", "match", "exists"):
        return msgspec.structs.replace(given, field=alias.field)
    try:
        values = tuple(str(alias.convert(msgspec.json.decode(value), given.field)) for value in given.values)
    except (InvalidEvent, msgspec.MsgspecError):
        raise InvalidQuery(f"{given.field} is not compared with that", value=given.values) from None
    return msgspec.structs.replace(given, field=alias.field, values=values)
